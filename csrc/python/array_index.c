/* Indexing and item assignment: NumPy's own, carried out on the values and, where nodes
 * move, in the same way on the rows. One element is a Var; a slice is a view. */
#include "array.h"

#include <string.h>

/* ---- kinds of keys ---------------------------------------------------------------- */

static int is_whole(PyObject *key)
{
    return PyLong_CheckExact(key) ||
           (PyArray_IsScalar(key, Integer) && !PyArray_IsScalar(key, Bool));
}

/* True if a key gives a view, by NumPy's rules. */
static int is_basic(PyObject *key)
{
    return is_whole(key) || PySlice_Check(key) || key == Py_None || key == Py_Ellipsis;
}

static int is_basic_tuple(PyObject *key, int *ellipsis)
{
    *ellipsis = 0;
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(key); i++) {
        *ellipsis |= PyTuple_GET_ITEM(key, i) == Py_Ellipsis;
        if (!is_basic(PyTuple_GET_ITEM(key, i)))
            return 0;
    }
    return 1;
}

/* A whole number within the side: the position, or -1 with an exception. */
static Py_ssize_t position(PyObject *key, Py_ssize_t side, int axis)
{
    Py_ssize_t given = PyNumber_AsSsize_t(key, PyExc_IndexError), i = given;
    if (given == -1 && PyErr_Occurred())
        return -1;
    if (i < 0)
        i += side;
    if (i >= 0 && i < side)
        return i;
    raise_error(PYAD_ERROR_INDEX, given, axis, side);
    return -1;
}

/* The place of one element, if the key is as many whole numbers as there are dimensions;
 * -1 if it is not, -2 with an exception. */
static Py_ssize_t place_of(ArrayObject *a, PyObject *key)
{
    Py_ssize_t place = a->offset;
    if (a->ndim == 1 && is_whole(key)) {
        Py_ssize_t i = position(key, array_shape(a)[0], 0);
        return i < 0 ? -2 : place + i * array_strides(a)[0];
    }
    if (!PyTuple_CheckExact(key) || PyTuple_GET_SIZE(key) != a->ndim)
        return -1;
    for (int k = 0; k < a->ndim; k++)
        if (!is_whole(PyTuple_GET_ITEM(key, k)))
            return -1;
    for (int k = 0; k < a->ndim; k++) {
        Py_ssize_t i = position(PyTuple_GET_ITEM(key, k), array_shape(a)[k], k);
        if (i < 0)
            return -2;
        place += i * array_strides(a)[k];
    }
    return place;
}

/* ---- reading ---------------------------------------------------------------------- */

static PyObject *row_of_first(ArrayObject *a, PyObject *key)
{
    Py_ssize_t i = position(key, array_shape(a)[0], 0);
    if (i < 0)
        return NULL;
    return (PyObject *)array_new(storage_retain(a->storage), a->ndim - 1,
                                 array_shape(a) + 1, array_strides(a) + 1,
                                 a->offset + i * array_strides(a)[0]);
}

static PyObject *slice_of_vector(ArrayObject *a, PyObject *key)
{
    Py_ssize_t start, stop, step;
    if (PySlice_Unpack(key, &start, &stop, &step) < 0)
        return NULL;
    Py_ssize_t count = PySlice_AdjustIndices(array_shape(a)[0], &start, &stop, step);
    Py_ssize_t stride = array_strides(a)[0];
    Py_ssize_t sides[2] = {count, stride * step};
    return (PyObject *)array_new(storage_retain(a->storage), 1, sides, sides + 1,
                                 a->offset + start * stride);
}

/* What a key that NumPy answers with a view shows. */
static PyObject *view_at(ArrayObject *a, PyObject *key)
{
    int elsewhere;
    PyArrayObject *values = array_values_view(a);
    PyObject *found = values ? PyObject_GetItem((PyObject *)values, key) : NULL;
    PyObject *result = NULL;
    if (found && PyArray_Check(found))
        result = array_of_view(a, (PyArrayObject *)found, &elsewhere);
    Py_XDECREF(found);
    Py_XDECREF(values);
    return result;
}

/* Masks and arrays of positions: a new array, whose elements are the same nodes. */
static PyObject *copy_at(ArrayObject *a, PyObject *key)
{
    TapeObject *tape = storage_is_recorded(a->storage) ? a->storage->tape : tape_here();
    thread_state *thread = thread_here();
    PyArrayObject *values, *rows;
    PyObject *result;
    if (!thread)
        return NULL;
    if (array_take(a, key, thread->no_grad ? NULL : tape, &result))
        return result;
    if (array_parts(a, thread->no_grad ? NULL : tape, &values, &rows) < 0)
        return NULL;
    PyObject *v = PyObject_GetItem((PyObject *)values, key), *r = NULL;
    if (v && rows)
        r = PyObject_GetItem((PyObject *)rows, key);
    if (v && PyArray_Check(v) && (!rows || r)) {
        PyObject *flat = (PyObject *)PyArray_GETCONTIGUOUS((PyArrayObject *)v);
        PyObject *flat_rows =
            r ? (PyObject *)PyArray_GETCONTIGUOUS((PyArrayObject *)r) : NULL;
        if (flat && (!r || flat_rows))
            result =
                array_of_parts(tape, (PyArrayObject *)flat, (PyArrayObject *)flat_rows);
        Py_XDECREF(flat);
        Py_XDECREF(flat_rows);
    } else if (v && (!rows || r)) { /* one element, by an array without dimensions */
        double value = PyFloat_AsDouble(v);
        Py_ssize_t row = r ? PyNumber_AsSsize_t(r, NULL) : 0;
        uint64_t generation = row == ENDED_ROW                  ? FIRST_GENERATION
                              : storage_is_recorded(a->storage) ? a->storage->generation
                                                                : tape->generation;
        if (!PyErr_Occurred())
            result = row ? var_of_node(tape, generation, value, (uint32_t)row - 1)
                         : var_new(value, CONSTANT_GENERATION);
    }
    Py_XDECREF(v);
    Py_XDECREF(r);
    Py_DECREF(values);
    Py_XDECREF((PyObject *)rows);
    return result;
}

/* A key that is an Array (a mask computed from one is an ndarray already) counts by its
 * values. */
PyObject *array_subscript(PyObject *self, PyObject *key)
{
    ArrayObject *a = (ArrayObject *)self;
    int ellipsis = 0;
    Py_ssize_t place = place_of(a, key);
    if (place >= 0)
        return array_element(a, place);
    if (place == -2)
        return NULL;
    if (a->ndim && is_whole(key))
        return row_of_first(a, key);
    if (a->ndim == 1 && PySlice_Check(key))
        return slice_of_vector(a, key);
    if (is_basic(key))
        return view_at(a, key);
    if (!PyTuple_Check(key) || !is_basic_tuple(key, &ellipsis))
        return copy_at(a, key);
    return view_at(a, key);
}

/* ---- assigning -------------------------------------------------------------------- */

static int refuse_assignment(ArrayObject *a)
{
    if (a->storage->generation == LEAF_GENERATION) {
        raise_error(PYAD_ERROR_LEAF_ITEM);
        return -1;
    }
    return 0;
}

/* Make room for rows on `tape` in the storage: 0, or -1 with an exception. `tape` NULL
 * for constants. */
static int prepare(ArrayObject *a, TapeObject *tape)
{
    Storage *s = a->storage;
    if (s->lost) {
        raise_error(PYAD_ERROR_NO_MEMORY);
        return -1;
    }
    if (!storage_is_recorded(s))
        s->version++; /* of a leaf that counts as constant now */
    if (!tape && !storage_is_recorded(s))
        return 0;
    if (storage_is_recorded(s) && !storage_is_ended(s) && tape && s->tape != tape) {
        raise_error(PYAD_ERROR_MIXED_TAPES, "item assignment");
        return -1;
    }
    int ended = storage_is_ended(s);
    if (storage_scatter(s) < 0)
        return -1;
    if (!tape)
        return 0;
    if (!storage_is_recorded(s) || s->tape != tape) {
        Py_INCREF((PyObject *)tape);
        if (storage_is_recorded(s))
            Py_DECREF((PyObject *)s->tape);
        s->tape = tape;
        s->generation = tape->generation;
    } else if (ended || tape->depth) {
        s->generation = tape->generation;
    }
    return 0;
}

static int store_number(ArrayObject *a, Py_ssize_t place, double value)
{
    if (prepare(a, NULL) < 0)
        return -1;
    a->storage->values[place] = value;
    if (a->storage->rows)
        a->storage->rows[place] = 0;
    return 0;
}

static int store_var(ArrayObject *a, Py_ssize_t place, VarObject *x)
{
    thread_state *thread = thread_here();
    if (!thread)
        return -1;
    if (guarding_tapes && thread->no_grad && guard_read((PyObject *)x) < 0)
        return -1; /* it becomes a constant */
    if (thread->no_grad || x->generation == CONSTANT_GENERATION)
        return store_number(a, place, x->value);
    TapeObject *tape = is_intermediate(x) ? x->tape : thread->tape;
    if (is_intermediate(x) && !tape_knows(tape, x->generation))
        return raise_stale(x);
    if (tape_check_idle(tape) < 0)
        return -1;
    if (x->generation == LEAF_GENERATION && x->tape != tape) {
        if (tape_make_room(tape, 1, 0) < 0)
            return -1;
        tape_register(tape, x);
    }
    double value = x->value;
    uint32_t row = x->node + 1;
    if (prepare(a, tape) < 0)
        return -1;
    a->storage->values[place] = value;
    a->storage->rows[place] = row;
    return 0;
}

static int set_items(ArrayObject *a, int rows, PyObject *key, PyObject *items)
{
    PyArrayObject *view = rows ? array_rows_view(a) : array_values_view(a);
    int status = view ? PyObject_SetItem((PyObject *)view, key, items) : -1;
    Py_XDECREF(view);
    return status;
}

static int store_array(ArrayObject *a, PyObject *key, ArrayObject *from)
{
    thread_state *thread = thread_here();
    if (!thread)
        return -1;
    const Storage *s = from->storage;
    TapeObject *tape = thread->no_grad || s->generation == CONSTANT_GENERATION ? NULL
                       : storage_is_recorded(s) ? s->tape
                                                : thread->tape;
    PyArrayObject *values, *rows;
    if (from->size == 0)
        tape = NULL;
    if (array_parts(from, tape, &values, &rows) < 0)
        return -1;
    PyObject *zero = rows ? NULL : PyLong_FromLong(0);
    int status = (rows || zero) && prepare(a, tape) == 0 ? 0 : -1;
    if (status == 0 && !a->storage->values) /* a run that only constants are stored to */
        status = storage_scatter(a->storage);
    if (status == 0)
        status = set_items(a, 0, key, (PyObject *)values);
    if (status == 0 && a->storage->rows)
        status = set_items(a, 1, key, rows ? (PyObject *)rows : zero);
    Py_XDECREF(zero);
    Py_DECREF(values);
    Py_XDECREF((PyObject *)rows);
    return status;
}

int array_assign(PyObject *self, PyObject *key, PyObject *value)
{
    ArrayObject *a = (ArrayObject *)self;
    double number;
    if (!value) {
        PyErr_SetString(PyExc_ValueError, "cannot delete array elements");
        return -1;
    }
    if (refuse_assignment(a) < 0)
        return -1;
    Py_ssize_t place = place_of(a, key);
    if (place == -2)
        return -1;
    if (place >= 0 && is_var(value))
        return store_var(a, place, (VarObject *)value);
    if (place >= 0 && quick_number(value, &number))
        return store_number(a, place, number);
    ArrayObject *from = array_from(value, "item assignment");
    if (!from)
        return -1;
    int status = store_array(a, key, from);
    Py_DECREF(from);
    return status;
}

int array_store(ArrayObject *a, PyObject *value)
{
    Storage *s = a->storage;
    if (refuse_assignment(a) < 0)
        return -1;
    if (is_array(value)) {
        ArrayObject *from = (ArrayObject *)value;
        const Storage *t = from->storage;
        int same =
            from->ndim == a->ndim && memcmp(array_shape(from), array_shape(a),
                                            (size_t)a->ndim * sizeof(Py_ssize_t)) == 0;
        if (!same) {
            raise_error(PYAD_ERROR_BROADCAST, "the result of an operation in place and "
                                              "the array on its left");
            return -1;
        }
        /* The whole of a storage becomes the result's run: no rows. */
        if (a->contiguous && (size_t)a->size == s->size && storage_is_recorded(t) &&
            !t->rows && !t->values && from->contiguous && (size_t)from->size == t->size &&
            (!storage_is_recorded(s) || s->tape == t->tape) &&
            t->generation == t->tape->generation) {
            storage_become_run(s, t->tape, t->block, t->start);
            return 0;
        }
    }
    return array_assign((PyObject *)a, Py_Ellipsis, value);
}
