/* The methods of an Array that have no file of their own, and the tables of what the
 * Python layer of arrays is made of. */
#include "array.h"

#include "array_functions.h"

static PyObject *array_detach(PyObject *self, PyObject *unused)
{
    (void)unused;
    if (guarding_tapes && guard_read_array((ArrayObject *)self) < 0)
        return NULL;
    PyArrayObject *values = (PyArrayObject *)array_values((ArrayObject *)self);
    PyObject *result = values ? array_of_parts(NULL, values, NULL) : NULL;
    Py_XDECREF(values);
    return result;
}

/* _places(tape): for each time that this leaf was registered on the tape, the nodes of
 * the array (a view of it, maybe) one after the other, and whether it was assigned since.
 */
static PyObject *array_places(PyObject *self, PyObject *given)
{
    ArrayObject *a = (ArrayObject *)self;
    if (!PyObject_TypeCheck(given, &Tape_Type))
        return raise_error(PYAD_ERROR_ARGUMENTS, "_places takes a tape");
    const TapeObject *tape = (TapeObject *)given;
    PyObject *list = PyList_New(0);
    for (size_t i = 0; list && i < tape->array_leaf_count; i++) {
        const array_leaf *entry = &tape->array_leaves[i];
        if (entry->storage != a->storage)
            continue;
        npy_intp size = a->size;
        PyObject *places = array_positions_of(a), *item = NULL;
        PyObject *nodes = PyArray_SimpleNew(1, &size, NPY_UINT32);
        for (npy_intp k = 0; places && nodes && k < size; k++)
            ((uint32_t *)PyArray_DATA((PyArrayObject *)nodes))[k] =
                entry->start +
                (uint32_t)((int64_t *)PyArray_DATA((PyArrayObject *)places))[k] +
                (uint32_t)a->offset;
        if (places && nodes)
            item = Py_BuildValue("(ON)", nodes,
                                 PyBool_FromLong(entry->version != a->storage->version));
        if (!item || PyList_Append(list, item) < 0)
            Py_CLEAR(list);
        Py_XDECREF(item);
        Py_XDECREF(places);
        Py_XDECREF(nodes);
    }
    return list;
}

/* _add_methods(methods): puts functions and properties of the Python layer into the type.
 */
static PyObject *add_methods(PyObject *module, PyObject *methods)
{
    PyObject *key, *value;
    Py_ssize_t i = 0;
    (void)module;
    if (!PyDict_Check(methods))
        return raise_error(PYAD_ERROR_ARGUMENTS, "_add_methods takes a dict");
    while (PyDict_Next(methods, &i, &key, &value))
        if (PyDict_SetItem(Array_Type.tp_dict, key, value) < 0)
            return NULL;
    PyType_Modified(&Array_Type);
    Py_RETURN_NONE;
}

/* _array_apply(op, x) or (op, x, y) */
static PyObject *apply_by_number(PyObject *module, PyObject *args)
{
    int op;
    PyObject *x, *y = NULL;
    (void)module;
    if (!PyArg_ParseTuple(args, "iO|O", &op, &x, &y))
        return NULL;
    const pyad_op_info *info = pyad_op_describe(op);
    if (!info || info->arguments != (y ? 2 : 1))
        return raise_error(PYAD_ERROR_OPERATION_UNKNOWN);
    return array_apply(op, x, y);
}

PyMethodDef array_methods[] = {
    {"reshape", (PyCFunction)(void (*)(void))array_reshape, METH_FASTCALL,
     "reshape(*shape)\n--\n\nThe same elements in another shape: a view where NumPy's "
     "is."},
    {"sum", (PyCFunction)(void (*)(void))array_method_sum, METH_VARARGS | METH_KEYWORDS,
     "sum(axis=None, dtype=None, out=None, keepdims=False, initial=0, where=True)\n--\n\n"
     "The sum over axes; a variable if it is over all."},
    {"zero_grad", array_zero_grad, METH_NOARGS,
     "zero_grad()\n--\n\nSet .grad of a leaf to zeros."},
    {"_places", array_places, METH_O, NULL},
    {"detach", array_detach, METH_NOARGS,
     "detach()\n--\n\nA constant array of the same values."},
    {"__array_ufunc__", (PyCFunction)(void (*)(void))array_array_ufunc,
     METH_VARARGS | METH_KEYWORDS, NULL},
    {"__array_function__", (PyCFunction)(void (*)(void))array_function, METH_FASTCALL,
     NULL},
    {NULL, NULL, 0, NULL},
};

static PyObject *array(PyObject *module, PyObject *args, PyObject *kwargs)
{
    (void)module;
    return Array_Type.tp_new(&Array_Type, args, kwargs);
}

PyMethodDef array_functions[] = {
    {"array", (PyCFunction)(void (*)(void))array, METH_VARARGS | METH_KEYWORDS,
     "array(x, requires_grad=True, name=None)\n--\n\n"
     "A new array of independent variables (a leaf), or a constant if requires_grad is "
     "False.\nOf variables, or lists of them, an array that depends on them."},
    {"_array_view", (PyCFunction)(void (*)(void))array_view, METH_FASTCALL, NULL},
    {"_array_positions", array_positions, METH_O, NULL},
    {"_array_parts", array_get_parts, METH_O, NULL},
    {"_array_of_parts", array_from_parts, METH_VARARGS, NULL},
    {"_array_row", array_row_of, METH_O, NULL},
    {"_array_sum", array_sum, METH_VARARGS, NULL},
    {"_array_cumsum", array_cumsum, METH_VARARGS, NULL},
    {"_array_linear", array_linear, METH_VARARGS, NULL},
    {"_array_apply", apply_by_number, METH_VARARGS, NULL},
    {"_array_concatenate", (PyCFunction)(void (*)(void))array_concatenate, METH_FASTCALL,
     NULL},
    {"_array_where", (PyCFunction)(void (*)(void))array_where, METH_FASTCALL, NULL},
    {"_array_copy", array_copy, METH_O, NULL},
    {"_array_shares", (PyCFunction)(void (*)(void))array_shares, METH_FASTCALL, NULL},
    {"_array_call", array_call, METH_VARARGS, NULL},
    {"_rule_error", array_rule_error, METH_NOARGS, NULL},
    {"_array_functions", array_set_functions, METH_VARARGS, NULL},
    {"_add_methods", add_methods, METH_O, NULL},
    {NULL, NULL, 0, NULL},
};
