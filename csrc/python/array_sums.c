/* Operations that are linear: sums along axes, running sums, sums of nodes with
 * weights. */
#include "array.h"

#include <string.h>

#include "array_functions.h"

/* Which axes: a bit each; None means all. -1 with an exception. */
static int read_axes(PyObject *given, int ndim, char *reduced)
{
    memset(reduced, given == Py_None, NPY_MAXDIMS);
    if (given == Py_None)
        return 0;
    PyObject *axes = PyTuple_Check(given) ? Py_NewRef(given) : PyTuple_Pack(1, given);
    int status = axes ? 0 : -1;
    for (Py_ssize_t i = 0; status == 0 && i < PyTuple_GET_SIZE(axes); i++) {
        Py_ssize_t axis = PyNumber_AsSsize_t(PyTuple_GET_ITEM(axes, i), NULL);
        Py_ssize_t k = axis < 0 ? axis + ndim : axis;
        if (ndim == 0 && axes != given && (axis == 0 || axis == -1) && !PyErr_Occurred())
            continue; /* as ufuncs have it */
        if ((axis == -1 && PyErr_Occurred()) || k < 0 || k >= ndim || reduced[k]) {
            if (!PyErr_Occurred())
                raise_error(PYAD_ERROR_AXIS, axis, ndim);
            status = -1;
        } else {
            reduced[k] = 1;
        }
    }
    Py_XDECREF(axes);
    return status;
}

static PyObject *sum_recorded(array_operands *o, ArrayObject *a, const char *reduced,
                              int ndim, const Py_ssize_t *shape)
{
    int64_t sides[NPY_MAXDIMS], strides[NPY_MAXDIMS], step = 1;
    pyad_vector v;
    void *scratch = NULL;
    uint32_t block = 0;
    for (int i = a->ndim; i-- > 0;) {
        sides[i] = array_shape(a)[i];
        strides[i] = reduced[i] ? 0 : step;
        step *= reduced[i] ? 1 : sides[i];
    }
    int status = array_operand_vector(o, &o->x[0], a->ndim, array_shape(a), &v, &scratch);
    if (status == 0) {
        v.step = 1;
        status = pyad_block_collect(o->tape->core, v, (size_t)a->ndim, sides, strides, 0,
                                    (size_t)shape_size(ndim, shape), &block);
    }
    Py_XDECREF(scratch);
    return array_operands_finish(o, status, block, ndim, shape);
}

static PyObject *sum_over(ArrayObject *a, PyObject *axes, int keepdims)
{
    char reduced[NPY_MAXDIMS];
    Py_ssize_t shape[NPY_MAXDIMS];
    int ndim = 0;
    if (read_axes(axes, a->ndim, reduced) < 0)
        return NULL;
    for (int i = 0; i < a->ndim; i++)
        if (!reduced[i] || keepdims)
            shape[ndim++] = reduced[i] ? 1 : array_shape(a)[i];
    array_operand x = {.array = a, .ndim = a->ndim, .shape = array_shape(a)};
    array_operands o = {.name = "sum", .count = 1, .x = &x};
    if (array_operands_open(&o) < 0)
        return NULL;
    if (o.tape && a->size && shape_size(ndim, shape))
        return sum_recorded(&o, a, reduced, ndim, shape);
    array_operands_undo(&o);
    if (o.tape && ndim == 0)
        return var_of_empty_sum(o.tape);
    if (o.tape && shape_size(ndim, shape) == 0)
        return array_empty(o.tape, ndim, shape);
    PyArrayObject *values = array_values_view(a);
    PyObject *sum =
        values ? PyObject_CallMethod((PyObject *)values, "sum", "(O)", axes) : NULL;
    PyArrayObject *floats =
        sum ? (PyArrayObject *)PyArray_FROMANY(sum, NPY_DOUBLE, 0, 0, NPY_ARRAY_CARRAY_RO)
            : NULL;
    PyObject *result = NULL;
    if (floats && ndim == 0) {
        result = var_new(*(double *)PyArray_DATA(floats), CONSTANT_GENERATION);
    } else if (floats) {
        Storage *s = storage_new((size_t)PyArray_SIZE(floats));
        if (s)
            memcpy(s->values, PyArray_DATA(floats), s->size * sizeof(double));
        result = (PyObject *)array_new(s, ndim, shape, NULL, 0);
    }
    Py_XDECREF((PyObject *)floats);
    Py_XDECREF(sum);
    Py_XDECREF((PyObject *)values);
    return result;
}

/* _array_sum(a, axes=None, keepdims=False) */
PyObject *array_sum(PyObject *module, PyObject *args)
{
    PyObject *x, *axes = Py_None;
    int keepdims = 0;
    (void)module;
    if (!PyArg_ParseTuple(args, "O!|Op", &Array_Type, &x, &axes, &keepdims))
        return NULL;
    return sum_over((ArrayObject *)x, axes, keepdims);
}

PyObject *array_method_sum(PyObject *self, PyObject *args, PyObject *kwargs)
{
    static PyObject *elsewhere;
    if (PyTuple_GET_SIZE(args) == 0 && (!kwargs || !PyDict_GET_SIZE(kwargs)))
        return sum_over((ArrayObject *)self, Py_None, 0);
    if (!python_function(&elsewhere, "pyad.array._reductions", "sum"))
        return NULL;
    PyObject *first = PyTuple_Pack(1, self);
    PyObject *all = first ? PySequence_Concat(first, args) : NULL;
    PyObject *result = all ? PyObject_Call(elsewhere, all, kwargs) : NULL;
    Py_XDECREF(first);
    Py_XDECREF(all);
    return result;
}

/* _array_cumsum(a, axis) */
PyObject *array_cumsum(PyObject *module, PyObject *args)
{
    PyObject *given;
    int axis;
    (void)module;
    if (!PyArg_ParseTuple(args, "O!i", &Array_Type, &given, &axis))
        return NULL;
    ArrayObject *a = (ArrayObject *)given;
    if (axis < -a->ndim || axis >= a->ndim)
        return raise_error(PYAD_ERROR_AXIS, (Py_ssize_t)axis, a->ndim);
    axis += axis < 0 ? a->ndim : 0;
    pyad_cumsum c = {1, (size_t)array_shape(a)[axis], 1, 0};
    for (int i = 0; i < a->ndim; i++)
        *(i < axis ? &c.outer : &c.inner) *= i == axis ? 1 : (size_t)array_shape(a)[i];
    array_operand x = {.array = a, .ndim = a->ndim, .shape = array_shape(a)};
    array_operands o = {.name = "cumsum", .count = 1, .x = &x};
    pyad_vector v;
    void *scratch = NULL;
    uint32_t block = 0;
    if (array_operands_open(&o) < 0)
        return NULL;
    if (a->size == 0) {
        array_operands_undo(&o);
        return array_empty(o.tape, a->ndim, array_shape(a));
    }
    int status = array_operand_vector(&o, &x, a->ndim, array_shape(a), &v, &scratch);
    v.step = 1;
    PyObject *result = NULL;
    if (o.tape) {
        if (status == 0)
            status = pyad_block_cumsum(o.tape->core, &c, v, &block);
        result = array_operands_finish(&o, status, block, a->ndim, array_shape(a));
    } else if (status == 0) {
        Storage *s = storage_new((size_t)a->size);
        if (s)
            pyad_cumsum_value(&c, v.values, s->values);
        result = (PyObject *)array_new(s, a->ndim, array_shape(a), NULL, 0);
    }
    Py_XDECREF(scratch);
    return result;
}

/* _array_linear(values, first or None, rows, weights or None, tape, base=None): nodes
 * with these values, each a sum of weights * (nodes of the rows), and of `base`, which
 * its constant terms come to (None: what the value leaves for it). */
PyObject *array_linear(PyObject *module, PyObject *args)
{
    PyObject *given[5] = {NULL, NULL, NULL, NULL, Py_None}, *tape_given, *result = NULL;
    PyArrayObject *array[5] = {NULL};
    static const int types[5] = {NPY_DOUBLE, NPY_UINT32, NPY_UINT32, NPY_DOUBLE,
                                 NPY_DOUBLE};
    int status = 0;
    uint32_t block;
    (void)module;
    if (!PyArg_ParseTuple(args, "OOOOO!|O", &given[0], &given[1], &given[2], &given[3],
                          &Tape_Type, &tape_given, &given[4]))
        return NULL;
    TapeObject *tape = (TapeObject *)tape_given;
    for (int i = 0; i < 5 && status == 0; i++)
        if (given[i] != Py_None) {
            array[i] = (PyArrayObject *)PyArray_FROMANY(
                given[i], types[i], 0, 0, NPY_ARRAY_CARRAY_RO | NPY_ARRAY_FORCECAST);
            status = array[i] ? 0 : -1;
        }
    size_t count = status == 0 ? (size_t)PyArray_SIZE(array[0]) : 0;
    size_t entries = status == 0 && array[2] ? (size_t)PyArray_SIZE(array[2]) : 0;
    const uint32_t *rows = entries ? PyArray_DATA(array[2]) : NULL;
    const uint32_t *first = array[1] ? PyArray_DATA(array[1]) : NULL;
    if (status == 0 && ((!first && entries != count) ||
                        (first && ((size_t)PyArray_SIZE(array[1]) != count + 1 ||
                                   first[count] != entries)) ||
                        (array[3] && (size_t)PyArray_SIZE(array[3]) != entries) ||
                        (array[4] && (size_t)PyArray_SIZE(array[4]) != count))) {
        raise_error(PYAD_ERROR_ARGUMENTS, "_array_linear: the parts do not fit together");
        status = -1;
    }
    if (status == 0)
        status = array_check_rows(entries, rows);
    if (status == 0 && count && tape_check_idle(tape) == 0) {
        int failed =
            pyad_block_affine(tape->core, count, PyArray_DATA(array[0]), first, entries,
                              rows, array[3] ? PyArray_DATA(array[3]) : NULL,
                              array[4] ? PyArray_DATA(array[4]) : NULL, &block);
        if (failed)
            raise_error(failed);
        else
            result = array_of_block(tape, block, PyArray_NDIM(array[0]),
                                    PyArray_DIMS(array[0]));
    } else if (status == 0 && !count) {
        result = array_of_parts(tape, array[0], NULL);
    }
    for (int i = 0; i < 5; i++)
        Py_XDECREF((PyObject *)array[i]);
    return result;
}
