/* pyad._handle: the module that holds the handle types and the functions on them. */
#define PYAD_IMPORTS_NUMPY
#include "array.h"
#include "dual.h"
#include "form.h"

/* ---- making variables ------------------------------------------------------------- */

static PyObject *var(PyObject *module, PyObject *args, PyObject *kwargs)
{
    (void)module;
    return Var_Type.tp_new(&Var_Type, args, kwargs);
}

/* vars(values): a list of leaves, made in one call. */
static PyObject *vars(PyObject *module, PyObject *values)
{
    (void)module;
    PyObject *items = items_of(values, "pyad.vars");
    if (!items)
        return NULL;
    Py_ssize_t count = PyTuple_GET_SIZE(items);
    PyObject *result = PyList_New(count);
    for (Py_ssize_t i = 0; result && i < count; i++) {
        PyObject *item = PyTuple_GET_ITEM(items, i), *leaf = NULL;
        double value;
        if (PyFloat_CheckExact(item))
            leaf = var_new(PyFloat_AS_DOUBLE(item), LEAF_GENERATION);
        else if (need_number(item, "pyad.vars", &value) == 0)
            leaf = var_new(value, LEAF_GENERATION);
        if (leaf)
            PyList_SET_ITEM(result, i, leaf);
        else
            Py_CLEAR(result);
    }
    Py_DECREF(items);
    return result;
}

/* _restore(value, requires_grad, name, grad): what a pickled leaf becomes again. */
static PyObject *restore(PyObject *module, PyObject *args)
{
    double value;
    int requires_grad;
    PyObject *name, *grad;
    (void)module;
    if (!PyArg_ParseTuple(args, "dpOO", &value, &requires_grad, &name, &grad))
        return NULL;
    PyObject *x = var_new(value, requires_grad ? LEAF_GENERATION : CONSTANT_GENERATION);
    if (x && (PyObject_SetAttrString(x, "name", name) < 0 ||
              PyObject_SetAttrString(x, "grad", grad) < 0))
        Py_CLEAR(x);
    return x;
}

/* ---- what this thread is doing ---------------------------------------------------- */

/* _refuse(what, x): raises what `what` raises when it is given `x` for a number. */
static PyObject *refuse(PyObject *module, PyObject *args)
{
    const char *what;
    PyObject *x;
    (void)module;
    return PyArg_ParseTuple(args, "sO", &what, &x) ? raise_not_a_number(what, x) : NULL;
}

static PyObject *current_tape(PyObject *module, PyObject *unused)
{
    (void)module, (void)unused;
    return Py_XNewRef((PyObject *)tape_here());
}

/* ---- the module ------------------------------------------------------------------- */

#define KEYWORDS(FUNCTION)                                                               \
    (PyCFunction)(void (*)(void)) FUNCTION, METH_VARARGS | METH_KEYWORDS
static PyMethodDef module_functions[] = {
    {"var", KEYWORDS(var),
     "var(value, requires_grad=True, name=None)\n--\n\n"
     "A new independent variable (leaf), or a constant if requires_grad is False."},
    {"vars", vars, METH_O,
     "vars(values, /)\n--\n\nA list of new independent variables, made in one call."},
    {"gradient", KEYWORDS(gradient),
     "gradient(y, xs, seed=None, retain_graph=False, create_graph=False)\n--\n\n"
     "The derivatives of y in the structure of xs: a variable, or a list, tuple or dict "
     "of them, nested\n"
     "as you like. Accumulates nothing; frees the recording unless retained."},
    {"_restore", restore, METH_VARARGS, NULL},
    {"_refuse", refuse, METH_VARARGS, NULL},
    {"current_tape", current_tape, METH_NOARGS,
     "current_tape()\n--\n\nThe tape on which this thread records: the innermost 'with "
     "tape:', or its own."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "pyad._handle",
    .m_doc = "The handle types of pyad, in C.",
    .m_size = -1,
    .m_methods = module_functions,
};

PyMODINIT_FUNC PyInit__handle(void);
PyMODINIT_FUNC PyInit__handle(void)
{
    import_array();
    if (numpy_loops_load() < 0)
        return NULL;
    Var_Type.tp_methods = var_methods();
    Dual_Type.tp_methods = dual_methods();
    if (PyType_Ready(&Var_Type) < 0 || PyType_Ready(&Dual_Type) < 0 ||
        PyType_Ready(&Array_Type) < 0 || PyType_Ready(&Tape_Type) < 0 ||
        PyType_Ready(&Mode_Type) < 0)
        return NULL;
    PyTypeObject *const of_calls[] = {&Form_Type, &Watch_Type, &Room_Type,
                                      &Plan_Type, &Calls_Type, &Replay_Type};
    PyObject *module = PyModule_Create(&definition);
    if (module &&
        (PyModule_AddType(module, &Var_Type) < 0 ||
         PyModule_AddType(module, &Dual_Type) < 0 ||
         PyModule_AddType(module, &Array_Type) < 0 ||
         PyModule_AddType(module, &Tape_Type) < 0 ||
         PyModule_AddType(module, &Mode_Type) < 0 || functions_add_to(module) < 0))
        Py_CLEAR(module);
    for (size_t i = 0; module && i < sizeof of_calls / sizeof *of_calls; i++)
        if (PyModule_AddType(module, of_calls[i]) < 0)
            Py_CLEAR(module);
    return module;
}
