/* Structure that must be quick: concatenate, where, copy; NumPy's own functions on values
 * and rows, without Python in between. */
#include "array.h"

#include "array_functions.h"

/* Parts of several arrays, for a function of NumPy's that rearranges them. */
typedef struct {
    TapeObject *tape;        /* borrowed; NULL: all are constants */
    PyObject *values, *rows; /* lists; rows NULL if there is no tape */
} parts_list;

static void parts_release(parts_list *p)
{
    Py_XDECREF(p->values);
    Py_XDECREF(p->rows);
}

/* Of a tuple or list of Arrays; -1 with an exception. */
static int parts_read(parts_list *p, PyObject *const *arrays, Py_ssize_t count,
                      const char *what)
{
    thread_state *thread = thread_here();
    *p = (parts_list){.values = PyList_New(count)};
    if (!thread || !p->values)
        return -1;
    int leaves = 0;
    for (Py_ssize_t i = 0; i < count && !thread->no_grad; i++) {
        const Storage *s = ((ArrayObject *)arrays[i])->storage;
        leaves |= s->generation == LEAF_GENERATION;
        if (!storage_is_recorded(s))
            continue;
        if (p->tape && p->tape != s->tape) {
            raise_error(PYAD_ERROR_MIXED_TAPES, what);
            return -1;
        }
        p->tape = s->tape;
    }
    if (leaves && !p->tape)
        p->tape = thread->tape;
    if (p->tape && !(p->rows = PyList_New(count)))
        return -1;
    for (Py_ssize_t i = 0; i < count; i++) {
        ArrayObject *a = (ArrayObject *)arrays[i];
        PyArrayObject *values, *rows;
        int constant = a->storage->generation == CONSTANT_GENERATION;
        if (array_parts(a, constant ? NULL : p->tape, &values, &rows) < 0)
            return -1;
        if (p->rows && !rows)
            rows = (PyArrayObject *)PyArray_ZEROS(a->ndim, array_shape(a), NPY_UINT32, 0);
        PyList_SET_ITEM(p->values, i, (PyObject *)values);
        if (p->rows) {
            if (!rows)
                return -1;
            PyList_SET_ITEM(p->rows, i, (PyObject *)rows);
        }
    }
    return 0;
}

/* The array of what a function gave for values and for rows (taken over). */
static PyObject *array_of_found(const parts_list *p, PyObject *values, PyObject *rows)
{
    PyObject *result = NULL, *v = NULL, *r = NULL;
    if (values && (rows || !p->rows)) {
        v = PyArray_FROMANY(values, NPY_DOUBLE, 0, 0, NPY_ARRAY_CARRAY_RO);
        r = rows ? PyArray_FROMANY(rows, NPY_UINT32, 0, 0, NPY_ARRAY_CARRAY_RO) : NULL;
        if (v && (r || !rows))
            result = array_of_parts(p->tape, (PyArrayObject *)v, (PyArrayObject *)r);
    }
    Py_XDECREF(values);
    Py_XDECREF(rows);
    Py_XDECREF(v);
    Py_XDECREF(r);
    return result;
}

/* _array_concatenate(arrays, axis): axis None joins them flat. */
PyObject *array_concatenate(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    (void)module;
    if (count != 2)
        return raise_error(PYAD_ERROR_ARGUMENTS, "_array_concatenate(arrays, axis)");
    int axis = NPY_RAVEL_AXIS;
    if (args[1] != Py_None) {
        Py_ssize_t given = PyNumber_AsSsize_t(args[1], PyExc_ValueError);
        if (given == -1 && PyErr_Occurred())
            return NULL;
        axis = given < -NPY_MAXDIMS || given > NPY_MAXDIMS ? NPY_MAXDIMS : (int)given;
    }
    PyObject *arrays = PySequence_List(args[0]), *result = NULL;
    if (!arrays)
        return NULL;
    Py_ssize_t n = PyList_GET_SIZE(arrays);
    parts_list p = {NULL, NULL, NULL};
    for (Py_ssize_t i = 0; i < n; i++) {
        ArrayObject *a = array_from(PyList_GET_ITEM(arrays, i), "np.concatenate");
        if (!a) {
            Py_DECREF(arrays);
            return NULL;
        }
        PyList_SetItem(arrays, i, (PyObject *)a);
    }
    if (parts_read(&p, ((PyListObject *)arrays)->ob_item, n, "np.concatenate") == 0) {
        PyObject *values = PyArray_Concatenate(p.values, axis);
        PyObject *rows = values && p.rows ? PyArray_Concatenate(p.rows, axis) : NULL;
        result = array_of_found(&p, values, rows);
    }
    parts_release(&p);
    Py_DECREF(arrays);
    return result;
}

/* _array_where(condition, x, y) */
PyObject *array_where(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    PyObject *condition = NULL, *result = NULL, *operand[2] = {NULL, NULL};
    parts_list p = {NULL, NULL, NULL};
    (void)module;
    if (count != 3)
        return raise_error(PYAD_ERROR_ARGUMENTS, "_array_where(condition, x, y)");
    if (is_array(args[0]) || is_var(args[0])) {
        PyObject *zero = PyLong_FromLong(0);
        condition = zero ? PyObject_RichCompare(args[0], zero, Py_NE) : NULL;
        Py_XDECREF(zero);
        if (condition)
            Py_SETREF(condition, PyArray_FROM_O(condition));
    } else {
        condition = PyArray_FROM_O(args[0]);
    }
    for (int i = 0; i < 2 && condition; i++) {
        operand[i] = (PyObject *)array_from(args[1 + i], "np.where");
        if (!operand[i])
            goto done;
    }
    if (condition && parts_read(&p, operand, 2, "np.where") == 0) {
        PyObject *values = PyArray_Where(condition, PyList_GET_ITEM(p.values, 0),
                                         PyList_GET_ITEM(p.values, 1));
        PyObject *rows = values && p.rows
                             ? PyArray_Where(condition, PyList_GET_ITEM(p.rows, 0),
                                             PyList_GET_ITEM(p.rows, 1))
                             : NULL;
        result = array_of_found(&p, values, rows);
    }
done:
    parts_release(&p);
    Py_XDECREF(condition);
    Py_XDECREF(operand[0]);
    Py_XDECREF(operand[1]);
    return result;
}

/* _array_copy(a): the same elements in a storage of its own. A contiguous part of a run
 * is a run again, until items are assigned to it: no row is made. */
PyObject *array_copy(PyObject *module, PyObject *x)
{
    (void)module;
    if (!is_array(x))
        return raise_error(PYAD_ERROR_ARGUMENTS, "_array_copy takes an Array");
    ArrayObject *a = (ArrayObject *)x;
    Storage *s = a->storage;
    thread_state *thread = thread_here();
    if (!thread)
        return NULL;
    TapeObject *tape = thread->no_grad || s->generation == CONSTANT_GENERATION ? NULL
                       : storage_is_recorded(s) ? s->tape
                                                : thread->tape;
    if (tape && s->generation == LEAF_GENERATION && a->size &&
        storage_register(s, tape) < 0)
        return NULL;
    if (tape && storage_check(s) < 0)
        return NULL;
    if (tape && a->size && a->contiguous && !s->rows &&
        (s->generation == LEAF_GENERATION || !s->values)) {
        Storage *run = storage_of_run(tape, s->block, s->start + (uint32_t)a->offset,
                                      (size_t)a->size);
        return (PyObject *)array_new(run, a->ndim, array_shape(a), NULL, 0);
    }
    PyArrayObject *values, *rows;
    if (array_parts(a, tape, &values, &rows) < 0)
        return NULL;
    PyObject *result = array_of_parts(tape, values, rows);
    Py_DECREF(values);
    Py_XDECREF((PyObject *)rows);
    return result;
}

/* _array_shares(a, b): whether both show one storage. */
PyObject *array_shares(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    (void)module;
    if (count != 2 || !is_array(args[0]) || !is_array(args[1]))
        return raise_error(PYAD_ERROR_ARGUMENTS, "_array_shares takes two Arrays");
    return PyBool_FromLong(((ArrayObject *)args[0])->storage ==
                           ((ArrayObject *)args[1])->storage);
}
