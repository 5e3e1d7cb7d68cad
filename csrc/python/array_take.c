/* Arrays of whole numbers as keys, one for each of the leading dimensions: x[i], x[i, j];
 * and masks, which stand for those that np.nonzero gives. Only what they name is read, so
 * that a few elements of a large array cost a few. */
#include "array.h"

enum { MOST = 8 }; /* dimensions that are indexed; others are rare */

/* ---- keys ------------------------------------------------------------------------- */

static void indices_release(PyArrayObject **index)
{
    for (int k = 0; k < MOST; k++)
        Py_XDECREF((PyObject *)index[k]);
}

/* One index as an array of npy_intp; NULL without an exception if it is of another kind.
 */
static PyArrayObject *index_of(PyObject *item)
{
    PyObject *array = PyList_CheckExact(item) || PyLong_CheckExact(item)
                          ? PyArray_FROM_O(item)
                      : PyArray_CheckExact(item) ? Py_NewRef(item)
                                                 : NULL;
    PyArrayObject *index = NULL;
    if (array && PyArray_ISINTEGER((PyArrayObject *)array))
        index =
            (PyArrayObject *)PyArray_FROMANY(array, NPY_INTP, 0, 0, NPY_ARRAY_CARRAY_RO);
    Py_XDECREF(array);
    PyErr_Clear(); /* NumPy says what is wrong with the key */
    return index;
}

/* The indices that a mask of the leading dimensions stands for; any other key itself. */
static PyObject *unmasked(ArrayObject *a, PyObject *key)
{
    PyArrayObject *mask = (PyArrayObject *)key;
    if (!PyArray_CheckExact(key) || PyArray_TYPE(mask) != NPY_BOOL ||
        PyArray_NDIM(mask) == 0 || PyArray_NDIM(mask) > a->ndim ||
        !PyArray_CompareLists(PyArray_DIMS(mask), array_shape(a), PyArray_NDIM(mask)))
        return Py_NewRef(key);
    return PyArray_Nonzero(mask);
}

/* How many dimensions the key indexes in this way; 0 if it is of another kind. */
static int read_key(const ArrayObject *a, PyObject *key, PyArrayObject **index)
{
    PyObject *const *items = PyTuple_CheckExact(key) ? &PyTuple_GET_ITEM(key, 0) : &key;
    Py_ssize_t count = PyTuple_CheckExact(key) ? PyTuple_GET_SIZE(key) : 1;
    if (count > a->ndim || count > MOST)
        return 0;
    for (Py_ssize_t k = 0; k < count; k++)
        if (!(index[k] = index_of(items[k])))
            return 0;
    return (int)count;
}

/* -1 with an exception if one is out of bounds. */
static int check_bounds(ArrayObject *a, int count, PyArrayObject **index)
{
    for (int k = 0; k < count; k++) {
        const npy_intp *given = PyArray_DATA(index[k]), size = PyArray_SIZE(index[k]);
        const Py_ssize_t side = array_shape(a)[k];
        for (npy_intp j = 0; j < size; j++)
            if (given[j] < -side || given[j] >= side) {
                raise_error(PYAD_ERROR_INDEX, given[j], k, side);
                return -1;
            }
    }
    return 0;
}

/* All of one shape, contiguous: 0, -1 if they do not broadcast. */
static int broadcast_indices(int count, PyArrayObject **index)
{
    int same = 1;
    for (int k = 1; k < count; k++)
        same &= PyArray_SAMESHAPE(index[0], index[k]);
    if (same)
        return 0;
    PyArrayMultiIterObject *all = (PyArrayMultiIterObject *)PyArray_MultiIterFromObjects(
        (PyObject **)index, count, 0);
    for (int k = 0; all && k < count; k++) {
        PyObject *full = PyArray_SimpleNew(all->nd, all->dimensions, NPY_INTP);
        if (!full || PyArray_CopyInto((PyArrayObject *)full, index[k]) < 0) {
            Py_XDECREF(full);
            Py_CLEAR(all);
            break;
        }
        Py_SETREF(index[k], (PyArrayObject *)full);
    }
    int status = all ? 0 : -1;
    Py_XDECREF((PyObject *)all);
    PyErr_Clear();
    return status;
}

/* ---- places ----------------------------------------------------------------------- */

/* Where the parts that the indices name start: an array of the indices' shape, or NULL.
 */
static PyArrayObject *places_of(ArrayObject *a, int count, PyArrayObject **index)
{
    PyArrayObject *places = (PyArrayObject *)PyArray_SimpleNew(
        PyArray_NDIM(index[0]), PyArray_DIMS(index[0]), NPY_INTP);
    npy_intp size = places ? PyArray_SIZE(places) : 0;
    npy_intp *place = places ? PyArray_DATA(places) : NULL;
    for (npy_intp j = 0; j < size; j++)
        place[j] = a->offset;
    for (int k = 0; places && k < count; k++) {
        const npy_intp *given = PyArray_DATA(index[k]);
        const Py_ssize_t side = array_shape(a)[k], stride = array_strides(a)[k];
        for (npy_intp j = 0; j < size; j++)
            place[j] += (given[j] + (given[j] < 0 ? side : 0)) * stride;
    }
    return places;
}

/* Where the elements of one of those parts stand, seen from its start. */
static PyArrayObject *places_within(ArrayObject *a, int count)
{
    ArrayObject *part = array_new(storage_retain(a->storage), a->ndim - count,
                                  array_shape(a) + count, array_strides(a) + count, 0);
    PyArrayObject *places = part ? (PyArrayObject *)array_positions_of(part) : NULL;
    Py_XDECREF((PyObject *)part);
    return places;
}

/* ---- reading ---------------------------------------------------------------------- */

/* The elements at starts[j] + within[i]; `tape` NULL: as constants. */
static PyObject *read_places(ArrayObject *a, TapeObject *tape, int ndim,
                             const Py_ssize_t *shape, PyArrayObject *starts,
                             PyArrayObject *within)
{
    const Storage *s = a->storage;
    const int nodes = tape && s->generation != CONSTANT_GENERATION;
    PyArrayObject *values =
        (PyArrayObject *)PyArray_SimpleNew(ndim, (npy_intp *)shape, NPY_DOUBLE);
    PyArrayObject *rows =
        nodes ? (PyArrayObject *)PyArray_SimpleNew(ndim, (npy_intp *)shape, NPY_UINT32)
              : NULL;
    PyObject *result = NULL;
    if (values && (rows || !nodes)) {
        const npy_intp count = PyArray_SIZE(starts), length = PyArray_SIZE(within);
        const npy_intp *start = PyArray_DATA(starts);
        const int64_t *place = PyArray_DATA(within);
        const double *from = count && length ? storage_values(s) : NULL;
        double *value = PyArray_DATA(values);
        uint32_t *row = rows ? PyArray_DATA(rows) : NULL;
        for (npy_intp j = 0; j < count; j++)
            for (npy_intp i = 0; i < length; i++, value++) {
                const npy_intp at = start[j] + (npy_intp)place[i];
                *value = from[at];
                if (row)
                    *row++ = s->rows ? s->rows[at] : s->start + (uint32_t)at + 1;
            }
        if (nodes && from && !s->rows)
            pyad_block_mark(tape->core, s->block);
        result = array_of_parts(tape, values, rows);
    }
    Py_XDECREF((PyObject *)values);
    Py_XDECREF((PyObject *)rows);
    return result;
}

int array_take(ArrayObject *a, PyObject *key, TapeObject *tape, PyObject **result)
{
    PyArrayObject *index[MOST] = {NULL}, *starts = NULL, *within = NULL;
    Py_ssize_t shape[NPY_MAXDIMS];
    int count = 0, ndim = 0;
    *result = NULL;
    if (!(key = unmasked(a, key)))
        return 1;
    count = read_key(a, key, index);
    Py_DECREF(key);
    if (check_bounds(a, count, index) < 0) {
        indices_release(index);
        return 1;
    }
    if (count && broadcast_indices(count, index) == 0)
        ndim = PyArray_NDIM(index[0]) + a->ndim - count;
    if (ndim == 0 || ndim > NPY_MAXDIMS) {
        indices_release(index);
        return 0;
    }
    for (int i = 0; i < ndim; i++)
        shape[i] = i < PyArray_NDIM(index[0])
                       ? PyArray_DIM(index[0], i)
                       : array_shape(a)[count + i - PyArray_NDIM(index[0])];
    if (shape_check(ndim, shape) == 0 && array_prepare_read(a, tape) == 0)
        starts = places_of(a, count, index);
    if (starts)
        within = places_within(a, count);
    if (within)
        *result = read_places(a, tape, ndim, shape, starts, within);
    Py_XDECREF((PyObject *)starts);
    Py_XDECREF((PyObject *)within);
    indices_release(index);
    return 1;
}
