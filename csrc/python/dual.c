/* Dual, the type: making, reading, copying. Its arithmetic is in dual_operators.c. */
#include <string.h>

#include "dual.h"

dual_list free_duals[DUAL_LISTS];

/* ---- making and freeing ----------------------------------------------------------- */

static size_t padded(size_t count)
{
    return count == 1 ? 1 : (count + DUAL_BLOCK - 1) / DUAL_BLOCK * DUAL_BLOCK;
}

/* A new Dual, its tangents 0; NULL with an exception. */
static DualObject *dual_new(size_t count, uint64_t level)
{
    size_t length = padded(count), blocks = count == 1 ? 0 : length / DUAL_BLOCK;
    DualObject key = {.count = (uint32_t)count, .level = level};
    key.list = (uint32_t)(blocks < DUAL_LISTS ? blocks : DUAL_LISTS - 1);
    DualObject *x = count <= UINT32_MAX ? dual_reuse(&key) : NULL;
    if (!x) {
        if (count > UINT32_MAX ||
            !(x = PyObject_Malloc(sizeof *x + length * sizeof(double))))
            return (DualObject *)PyErr_NoMemory();
        PyObject_Init((PyObject *)x, &Dual_Type);
        x->count = key.count;
        x->list = key.list;
        x->level = level;
    }
    memset(x->tangents, 0, length * sizeof(double));
    return x;
}

DualObject *dual_like(const DualObject *like)
{
    DualObject *x = dual_reuse(like);
    return x ? x : dual_new(like->count, like->level);
}

PyObject *dual_flat(const DualObject *like, double value)
{
    DualObject *x = dual_new(like->count, like->level);
    if (x)
        x->value = value;
    return (PyObject *)x;
}

static void dual_dealloc(DualObject *x)
{
    dual_list *list = &free_duals[x->list];
    if (list->count < DUALS_KEPT && x->list < DUAL_LISTS - 1) {
        x->level = (uint64_t)(uintptr_t)list->first;
        list->first = x;
        list->count++;
    } else {
        PyObject_Free(x);
    }
}

/* ---- from Python's numbers -------------------------------------------------------- */

/* A list, a tuple, an array; not a string, nor an array without dimensions, which is one
 * number. */
static int is_sequence(PyObject *x)
{
    if (PyUnicode_Check(x) || PyBytes_Check(x) || !PySequence_Check(x))
        return 0;
    Py_ssize_t size = PySequence_Size(x);
    if (size < 0)
        PyErr_Clear();
    return size >= 0;
}

static PyObject *dual_from(PyObject *value, PyObject *tangent, uint64_t level)
{
    double number;
    if (need_number(value, "pyad.Dual", &number) < 0)
        return NULL;
    PyObject *items =
        is_sequence(tangent) ? items_of(tangent, "pyad.Dual") : PyTuple_Pack(1, tangent);
    if (!items)
        return NULL;
    size_t count = (size_t)PyTuple_GET_SIZE(items);
    DualObject *x =
        count ? dual_new(count, level) : (DualObject *)raise_error(PYAD_ERROR_NO_TANGENT);
    if (x)
        x->value = number;
    for (size_t k = 0; x && k < count; k++)
        if (need_number(PyTuple_GET_ITEM(items, (Py_ssize_t)k), "the tangent of a Dual",
                        &x->tangents[k]) < 0)
            Py_CLEAR(x);
    Py_DECREF(items);
    return (PyObject *)x;
}

static PyObject *dual_type_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"value", "tangent", NULL};
    PyObject *value, *tangent;
    (void)type;
    return PyArg_ParseTupleAndKeywords(args, kwargs, "OO:Dual", names, &value, &tangent)
               ? dual_from(value, tangent, 0)
               : NULL;
}

/* _dual(value, tangents, level): what a pickled one becomes again. */
static PyObject *restore(PyObject *module, PyObject *args)
{
    PyObject *value, *tangents;
    unsigned long long level;
    (void)module;
    return PyArg_ParseTuple(args, "OOK", &value, &tangents, &level)
               ? dual_from(value, tangents, level)
               : NULL;
}

/* ---- many at once ----------------------------------------------------------------- */

/* Row i of a matrix as the tangents of number i: new reference. */
static PyObject *dual_from_row(PyObject *value, const Py_buffer *matrix, Py_ssize_t i,
                               uint64_t level)
{
    size_t count = (size_t)matrix->shape[1];
    double number;
    if (need_number(value, "pyad._handle._duals", &number) < 0)
        return NULL;
    DualObject *x = dual_new(count, level);
    if (x) {
        x->value = number;
        memcpy(x->tangents, (const double *)matrix->buf + (size_t)i * count,
               count * sizeof(double));
    }
    return (PyObject *)x;
}

/* Takes over `list`, which is being filled; NULL if the item is. */
static PyObject *with_item(PyObject *list, Py_ssize_t i, PyObject *item)
{
    if (item)
        PyList_SET_ITEM(list, i, item);
    else
        Py_CLEAR(list);
    return list;
}

static PyObject *duals_from_matrix(PyObject *values, PyObject *tangents, uint64_t level)
{
    Py_buffer matrix;
    Py_ssize_t count = PyTuple_GET_SIZE(values);
    if (PyObject_GetBuffer(tangents, &matrix, PyBUF_C_CONTIGUOUS | PyBUF_FORMAT) < 0)
        return NULL;
    int fits = matrix.ndim == 2 && strcmp(matrix.format, "d") == 0 &&
               matrix.shape[0] == count && matrix.shape[1] > 0;
    PyObject *list = fits ? PyList_New(count)
                          : raise_error(PYAD_ERROR_ARGUMENTS,
                                        "_duals takes a float64 array of one row of "
                                        "tangents for each value");
    for (Py_ssize_t i = 0; list && i < count; i++)
        list = with_item(list, i,
                         dual_from_row(PyTuple_GET_ITEM(values, i), &matrix, i, level));
    PyBuffer_Release(&matrix);
    return list;
}

static PyObject *duals_from_rows(PyObject *values, PyObject *tangents, uint64_t level)
{
    PyObject *rows = items_of(tangents, "_duals");
    if (!rows)
        return NULL;
    Py_ssize_t count = PyTuple_GET_SIZE(values);
    PyObject *list =
        PyTuple_GET_SIZE(rows) == count
            ? PyList_New(count)
            : raise_error(PYAD_ERROR_ARGUMENTS, "_duals takes a tangent for each value");
    for (Py_ssize_t i = 0; list && i < count; i++)
        list = with_item(
            list, i,
            dual_from(PyTuple_GET_ITEM(values, i), PyTuple_GET_ITEM(rows, i), level));
    Py_DECREF(rows);
    return list;
}

static PyObject *duals(PyObject *module, PyObject *args)
{
    PyObject *given, *tangents;
    unsigned long long level;
    (void)module;
    if (!PyArg_ParseTuple(args, "OOK", &given, &tangents, &level))
        return NULL;
    PyObject *values = items_of(given, "_duals");
    if (!values)
        return NULL;
    PyObject *list = PyObject_CheckBuffer(tangents)
                         ? duals_from_matrix(values, tangents, level)
                         : duals_from_rows(values, tangents, level);
    Py_DECREF(values);
    return list;
}

PyMethodDef dual_functions[] = {
    {"_dual", restore, METH_VARARGS, NULL},
    {"_duals", duals, METH_VARARGS,
     "_duals(values, tangents, level, /)\n--\n\n"
     "A list of Duals of a transform: tangents are the rows of a float64 array, or a "
     "sequence of what\n"
     "Dual takes."},
    {NULL, NULL, 0, NULL},
};

/* ---- reading and copying ---------------------------------------------------------- */

static PyObject *get_tangents(DualObject *x, void *closure)
{
    (void)closure;
    PyObject *all = PyTuple_New((Py_ssize_t)x->count);
    for (size_t k = 0; all && k < x->count; k++) {
        PyObject *number = PyFloat_FromDouble(x->tangents[k]);
        if (number)
            PyTuple_SET_ITEM(all, (Py_ssize_t)k, number);
        else
            Py_CLEAR(all);
    }
    return all;
}

static PyObject *get_tangent(DualObject *x, void *closure)
{
    return x->count == 1 ? PyFloat_FromDouble(x->tangents[0]) : get_tangents(x, closure);
}

static PyObject *get_level(DualObject *x, void *closure)
{
    (void)closure;
    return PyLong_FromUnsignedLongLong(x->level);
}

static PyGetSetDef dual_getset[] = {
    {"value", handle_get_value, NULL, "The value, a float.", NULL},
    {"tangent", (getter)get_tangent, NULL,
     "The tangent, a float; of several tangents the tuple of them.", NULL},
    {"tangents", (getter)get_tangents, NULL, "The tangents, a tuple of floats.", NULL},
    {"_level", (getter)get_level, NULL, "0, or the number of the transform.", NULL},
    HANDLE_GETSET,
    {NULL, NULL, NULL, NULL, NULL},
};

static PyObject *dual_repr(PyObject *self)
{
    DualObject *x = (DualObject *)self;
    PyObject *value = PyFloat_FromDouble(x->value);
    PyObject *tangent = value ? get_tangent(x, NULL) : NULL;
    PyObject *text =
        tangent ? PyUnicode_FromFormat("Dual(%R, %R)", value, tangent) : NULL;
    Py_XDECREF(value);
    Py_XDECREF(tangent);
    return text;
}

/* It never changes, so that it is its own copy. */
static PyObject *dual_copy(PyObject *self, PyObject *unused)
{
    (void)unused;
    return Py_NewRef(self);
}

static PyObject *dual_reduce(PyObject *self, PyObject *unused)
{
    static PyObject *function;
    DualObject *x = (DualObject *)self;
    (void)unused;
    return python_function(&function, "pyad._handle", "_dual")
               ? Py_BuildValue("O(dNK)", function, x->value, get_tangents(x, NULL),
                               (unsigned long long)x->level)
               : NULL;
}

/* What only variables have, such as backward() and requires_grad, sends a transform to
 * the tape, where there are variables. */
static PyObject *dual_getattro(PyObject *self, PyObject *name)
{
    PyObject *found = PyObject_GenericGetAttr(self, name);
    if (found || !PyErr_ExceptionMatches(PyExc_AttributeError) ||
        !PyDict_Contains(Var_Type.tp_dict, name))
        return found;
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    if (dual_retrace(((DualObject *)self)->level) == 0) {
        PyErr_Restore(type, value, traceback);
        return NULL;
    }
    Py_XDECREF(type);
    Py_XDECREF(value);
    Py_XDECREF(traceback);
    return NULL;
}

static PyMethodDef own_methods[] = {
    {"__copy__", dual_copy, METH_NOARGS, NULL},
    {"__deepcopy__", dual_copy, METH_O, NULL},
    {"__reduce__", dual_reduce, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

PyMethodDef *dual_methods(void)
{
    static PyMethodDef all[HANDLE_METHODS_MAX];
    return functions_as_methods(own_methods, all);
}

PyTypeObject Dual_Type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "pyad.Dual",
    .tp_doc = "Dual(value, tangent)\n--\n\n"
              "A float that carries its derivative along one direction, or along several "
              "(a sequence).",
    .tp_basicsize = sizeof(DualObject),
    .tp_flags = Py_TPFLAGS_DEFAULT,
    .tp_new = dual_type_new,
    .tp_dealloc = (destructor)dual_dealloc,
    .tp_repr = dual_repr,
    .tp_getattro = dual_getattro,
    .tp_hash = handle_hash,
    .tp_richcompare = handle_compare,
    .tp_as_number = &dual_as_number,
    .tp_getset = dual_getset,
};
