/* pyad._handle: the module that holds the handle types and the functions on them. */
#include "handle.h"

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
    PyObject *items = PyUnicode_Check(values) ? NULL : PySequence_Fast(values, "");
    if (!items) {
        if (PyErr_Occurred() && !PyErr_ExceptionMatches(PyExc_TypeError))
            return NULL;
        PyErr_Clear();
        return raise_error(PYAD_ERROR_NOT_A_SEQUENCE, "pyad.vars",
                           Py_TYPE(values)->tp_name);
    }
    Py_ssize_t count = PySequence_Fast_GET_SIZE(items);
    PyObject *result = PyList_New(count);
    for (Py_ssize_t i = 0; result && i < count; i++) {
        PyObject *item = PySequence_Fast_GET_ITEM(items, i), *leaf = NULL;
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

/* set_mode(recording, anomaly) -> the modes before; None leaves one as it is. */
static PyObject *set_mode(PyObject *module, PyObject *args)
{
    PyObject *recording, *anomaly;
    thread_state *thread = thread_here();
    (void)module;
    if (!thread || !PyArg_ParseTuple(args, "OO", &recording, &anomaly))
        return NULL;
    PyObject *before = Py_BuildValue("(NN)", PyBool_FromLong(!thread->no_grad),
                                     PyBool_FromLong(thread->anomaly));
    if (!before)
        return NULL;
    if (recording != Py_None)
        thread->no_grad = recording == Py_False;
    if (anomaly != Py_None)
        thread->anomaly = anomaly == Py_True;
    thread_refresh(thread);
    return before;
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
    {"_set_mode", set_mode, METH_VARARGS, NULL},
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
    Var_Type.tp_methods = var_methods();
    if (PyType_Ready(&Var_Type) < 0 || PyType_Ready(&Tape_Type) < 0)
        return NULL;
    PyObject *module = PyModule_Create(&definition);
    if (module &&
        (PyModule_AddType(module, &Var_Type) < 0 ||
         PyModule_AddType(module, &Tape_Type) < 0 || functions_add_to(module) < 0))
        Py_CLEAR(module);
    return module;
}
