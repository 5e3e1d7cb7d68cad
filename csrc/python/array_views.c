/* Views: what a function of NumPy's shows of the memory of the values, as an Array that
 * shares the storage. */
#include "array.h"

#include "array_functions.h"

int shape_read(PyObject *shape, Py_ssize_t *sides)
{
    Py_ssize_t ndim = PyTuple_Check(shape) ? PyTuple_GET_SIZE(shape) : -1;
    if (ndim < 0 || ndim > NPY_MAXDIMS) {
        raise_error(PYAD_ERROR_ARGUMENTS, "a shape is a tuple of at most 64 lengths");
        return -1;
    }
    for (Py_ssize_t i = 0; i < ndim; i++) {
        sides[i] = PyLong_AsSsize_t(PyTuple_GET_ITEM(shape, i));
        if (sides[i] == -1 && PyErr_Occurred())
            return -1;
    }
    return (int)ndim;
}

PyObject *array_positions_of(ArrayObject *a)
{
    PyObject *result = PyArray_SimpleNew(a->ndim, array_shape(a), NPY_INT64);
    int64_t *place = result ? PyArray_DATA((PyArrayObject *)result) : NULL;
    Py_ssize_t at[NPY_MAXDIMS] = {0}, here = 0;
    for (Py_ssize_t k = 0; place && k < a->size; k++, here = next_place(a, at, here))
        place[k] = here;
    return result;
}

static PyObject *convert_view(ArrayObject *a, PyObject *found, int *elsewhere)
{
    if (PyArray_Check(found))
        return array_of_view(a, (PyArrayObject *)found, elsewhere);
    if (PyArray_IsScalar(found, Generic)) { /* an element, which a view is not */
        *elsewhere = 1;
        return NULL;
    }
    if (!PyList_Check(found) && !PyTuple_Check(found))
        return Py_NewRef(found);
    PyObject *items = PySequence_List(found);
    for (Py_ssize_t i = 0; items && i < PyList_GET_SIZE(items); i++) {
        PyObject *item = convert_view(a, PyList_GET_ITEM(items, i), elsewhere);
        if (!item) {
            Py_DECREF(items);
            return NULL;
        }
        PyList_SetItem(items, i, item);
    }
    PyObject *result = items && PyTuple_Check(found) ? PySequence_Tuple(items) : items;
    if (result != items)
        Py_DECREF(items);
    return result;
}

/* _array_view(a, function, *rest): what function(values, *rest) shows of `a`, where that
 * is a view (or a list of views) of the same memory; NotImplemented if it copied. */
PyObject *array_view(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    (void)module;
    if (count < 2 || count > 8 || !is_array(args[0]))
        return raise_error(PYAD_ERROR_ARGUMENTS, "_array_view takes an Array");
    ArrayObject *a = (ArrayObject *)args[0];
    PyObject *stack[8];
    int elsewhere = 0;
    PyObject *values = (PyObject *)array_values_view(a);
    if (!values)
        return NULL;
    stack[0] = values;
    for (Py_ssize_t i = 2; i < count; i++)
        stack[i - 1] = args[i];
    PyObject *found = PyObject_Vectorcall(args[1], stack, (size_t)count - 1, NULL);
    PyObject *result = found ? convert_view(a, found, &elsewhere) : NULL;
    Py_XDECREF(found);
    Py_DECREF(values);
    if (!result && elsewhere && !PyErr_Occurred())
        return Py_NewRef(Py_NotImplemented);
    return result;
}

/* reshape to a shape that is whole already; a copy where NumPy makes one. */
PyObject *array_reshape(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    static PyObject *elsewhere;
    ArrayObject *a = (ArrayObject *)self;
    Py_ssize_t sides[NPY_MAXDIMS], size = 1, unknown = -1, ndim = count;
    PyObject *const *items = args;
    if (count == 1 && PyTuple_CheckExact(args[0])) {
        items = &PyTuple_GET_ITEM(args[0], 0);
        ndim = PyTuple_GET_SIZE(args[0]);
    }
    int quick = a->contiguous && ndim <= NPY_MAXDIMS;
    for (Py_ssize_t i = 0; quick && i < ndim; i++) {
        sides[i] = PyLong_CheckExact(items[i]) ? PyLong_AsSsize_t(items[i]) : -2;
        if (sides[i] == -1 && unknown < 0 && !PyErr_Occurred())
            unknown = i;
        else if (sides[i] < 0)
            quick = 0;
        else
            size *= sides[i];
    }
    PyErr_Clear();
    if (quick && unknown >= 0 && size > 0 && a->size % size == 0) {
        sides[unknown] = a->size / size;
        size = a->size;
    } else if (unknown >= 0) {
        quick = 0;
    }
    if (quick && size == a->size)
        return (PyObject *)array_new(storage_retain(a->storage), (int)ndim, sides, NULL,
                                     a->offset);
    if (!python_function(&elsewhere, "pyad.array._structure", "reshape"))
        return NULL;
    PyObject *shape = PyTuple_New(count), *result = NULL;
    for (Py_ssize_t i = 0; shape && i < count; i++)
        PyTuple_SET_ITEM(shape, i, Py_NewRef(args[i]));
    if (shape)
        result = PyObject_CallFunctionObjArgs(
            elsewhere, self, count == 1 ? PyTuple_GET_ITEM(shape, 0) : shape, NULL);
    Py_XDECREF(shape);
    return result;
}

PyObject *array_positions(PyObject *module, PyObject *x)
{
    (void)module;
    return is_array(x) ? array_positions_of((ArrayObject *)x)
                       : raise_error(PYAD_ERROR_ARGUMENTS, "_array_positions");
}
