/* __array_ufunc__: NumPy's functions on handles. A ufunc of the operation table called
 * on scalars is recorded here; arrays, out=, reduce and the rest are for the Python
 * layer. */
#include <string.h>

#include "array.h"
#include "dual.h"

/* {ufunc: operation}, made when first needed: borrowed, or NULL with an exception. */
static PyObject *operations_by_ufunc(void)
{
    static PyObject *table;
    if (table)
        return table;
    PyObject *numpy = PyImport_ImportModule("numpy");
    PyObject *made = numpy ? PyDict_New() : NULL;
    for (int op = 0; made && op < PYAD_OP_COUNT; op++) {
        const char *name = pyad_op_describe(op)->numpy;
        if (!*name)
            continue;
        PyObject *ufunc = PyObject_GetAttrString(numpy, name);
        PyObject *number = ufunc ? PyLong_FromLong(op) : NULL;
        if (!number || PyDict_SetItem(made, ufunc, number) < 0)
            Py_CLEAR(made);
        Py_XDECREF(ufunc);
        Py_XDECREF(number);
    }
    Py_XDECREF(numpy);
    return table = made;
}

int ufunc_operation(PyObject *ufunc)
{
    PyObject *table = operations_by_ufunc();
    PyObject *op = table ? PyDict_GetItemWithError(table, ufunc) : NULL;
    if (op)
        return (int)PyLong_AsLong(op);
    return PyErr_Occurred() ? -2 : -1;
}

static int is_scalar(PyObject *x)
{
    return is_handle(x) || PyFloat_Check(x) || PyLong_Check(x);
}

int is_of_objects(PyObject *x)
{
    return is_dual(x) ||
           (PyArray_Check(x) && PyArray_TYPE((PyArrayObject *)x) == NPY_OBJECT);
}

/* A variable and an array of plain numbers make an Array, not an array of objects. */
static int meets_floats(PyObject *args)
{
    int floats = 0;
    for (Py_ssize_t i = 2; i < PyTuple_GET_SIZE(args); i++) {
        PyObject *x = PyTuple_GET_ITEM(args, i);
        if (is_of_objects(x))
            return 0;
        floats |= PyArray_Check(x);
    }
    return floats;
}

PyObject *handle_array_ufunc(PyObject *self, PyObject *args, PyObject *kwargs)
{
    static PyObject *elsewhere;
    Py_ssize_t count = PyTuple_GET_SIZE(args) - 2;
    if (count < 1)
        return raise_error(PYAD_ERROR_ARGUMENTS,
                           "__array_ufunc__ takes a ufunc, a method and its inputs");
    PyObject *method = PyTuple_GET_ITEM(args, 1), *x = PyTuple_GET_ITEM(args, 2);
    PyObject *y = count > 1 ? PyTuple_GET_ITEM(args, 3) : NULL;
    int op = ufunc_operation(PyTuple_GET_ITEM(args, 0));
    if (op == -2)
        return NULL;
    for (Py_ssize_t i = 0; i < count; i++) /* arrays do it their way */
        if (is_array(PyTuple_GET_ITEM(args, 2 + i)))
            return Py_NewRef(Py_NotImplemented);
    if (op >= 0 && count <= 2 && is_scalar(x) && (!y || is_scalar(y)) &&
        (!kwargs || !PyDict_GET_SIZE(kwargs)) && PyUnicode_Check(method) &&
        PyUnicode_CompareWithASCIIString(method, "__call__") == 0)
        return function_call(op, x, y);
    if (is_var(self) && meets_floats(args))
        return array_array_ufunc(self, args, kwargs);
    if (!python_function(&elsewhere, "pyad._elementwise", "array_ufunc"))
        return NULL;
    return PyObject_Call(elsewhere, args, kwargs);
}
