/* Values and rows of an Array as ndarrays, in which NumPy's own functions rearrange
 * them; and arrays of such parts. */
#include "array.h"

#include <string.h>

#include "../buffer.h"
#include "array_functions.h"
#include "dual.h"

/* ---- views through NumPy ---------------------------------------------------------- */

PyArrayObject *array_view_of(ArrayObject *a, int type, void *data)
{
    npy_intp strides[NPY_MAXDIMS];
    npy_intp width = type == NPY_DOUBLE ? sizeof(double) : sizeof(uint32_t);
    for (int i = 0; i < a->ndim; i++)
        strides[i] = array_strides(a)[i] * width;
    return (PyArrayObject *)PyArray_New(&PyArray_Type, a->ndim, array_shape(a), type,
                                        strides, (char *)data + a->offset * width, 0,
                                        NPY_ARRAY_WRITEABLE, NULL);
}

PyArrayObject *array_values_view(ArrayObject *a)
{
    if (a->storage->lost)
        return (PyArrayObject *)raise_error(PYAD_ERROR_NO_MEMORY);
    return array_view_of(a, NPY_DOUBLE, storage_values(a->storage));
}

PyArrayObject *array_rows_view(ArrayObject *a)
{
    return array_view_of(a, NPY_UINT32, a->storage->rows);
}

PyObject *array_values(ArrayObject *a)
{
    PyArrayObject *view = array_values_view(a);
    PyObject *copy = view ? PyArray_NewCopy(view, NPY_CORDER) : NULL;
    Py_XDECREF(view);
    return copy;
}

PyObject *array_of_view(ArrayObject *a, PyArrayObject *view, int *elsewhere)
{
    const double *start = storage_values(a->storage), *data = PyArray_DATA(view);
    Py_ssize_t strides[NPY_MAXDIMS];
    *elsewhere = 0;
    if (PyArray_SIZE(view) == 0)
        return (PyObject *)array_new(storage_retain(a->storage), PyArray_NDIM(view),
                                     PyArray_DIMS(view), NULL, 0);
    if (data < start || data >= start + a->storage->size ||
        PyArray_TYPE(view) != NPY_DOUBLE) {
        *elsewhere = 1;
        return NULL;
    }
    for (int i = 0; i < PyArray_NDIM(view); i++)
        strides[i] = PyArray_STRIDE(view, i) / (npy_intp)sizeof(double);
    return (PyObject *)array_new(storage_retain(a->storage), PyArray_NDIM(view),
                                 PyArray_DIMS(view), strides, data - start);
}

PyObject *array_element(ArrayObject *a, Py_ssize_t place)
{
    Storage *s = a->storage;
    thread_state *thread = thread_here();
    if (!thread || s->lost)
        return thread ? raise_error(PYAD_ERROR_NO_MEMORY) : NULL;
    double value = storage_values(s)[place];
    if (thread->no_grad || s->generation == CONSTANT_GENERATION)
        return guarding_tapes && guard_read_array(a) < 0
                   ? NULL
                   : var_new(value, CONSTANT_GENERATION);
    if (s->generation == LEAF_GENERATION) {
        if (storage_register(s, thread->tape) < 0)
            return NULL;
        pyad_block_mark(thread->tape->core, s->block);
        return var_of_node(thread->tape, thread->tape->generation, value,
                           s->start + (uint32_t)place);
    }
    if (!s->rows) {
        if (!storage_is_ended(s))
            pyad_block_mark(s->tape->core, s->block);
        return var_of_node(s->tape, s->generation, value, s->start + (uint32_t)place);
    }
    uint32_t row = s->rows[place];
    if (row == 0)
        return var_new(value, CONSTANT_GENERATION);
    return var_of_node(s->tape, row == ENDED_ROW ? FIRST_GENERATION : s->generation,
                       value, row - 1);
}

/* ---- parts ------------------------------------------------------------------------ */

int array_prepare_read(ArrayObject *a, TapeObject *tape)
{
    Storage *s = a->storage;
    if (guarding_tapes && !tape && guard_read_array(a) < 0)
        return -1; /* what was recorded becomes constant */
    if (a->size && s->generation == LEAF_GENERATION && tape &&
        storage_register(s, tape) < 0)
        return -1;
    if (tape && storage_check(s) < 0)
        return -1;
    if (tape && storage_is_recorded(s) && s->tape != tape) {
        raise_error(PYAD_ERROR_MIXED_TAPES, "an array operation");
        return -1;
    }
    if (s->lost)
        raise_error(PYAD_ERROR_NO_MEMORY);
    return s->lost ? -1 : 0;
}

int array_parts(ArrayObject *a, TapeObject *tape, PyArrayObject **values,
                PyArrayObject **rows)
{
    Storage *s = a->storage;
    *values = *rows = NULL;
    if (array_prepare_read(a, tape) < 0)
        return -1;
    if (!(*values = (PyArrayObject *)array_values(a)))
        return -1;
    if (!tape || s->generation == CONSTANT_GENERATION)
        return 0;
    if (s->rows && a->size) {
        PyArrayObject *view = array_rows_view(a);
        *rows = view ? (PyArrayObject *)PyArray_NewCopy(view, NPY_CORDER) : NULL;
        Py_XDECREF(view);
    } else {
        *rows = (PyArrayObject *)PyArray_SimpleNew(a->ndim, array_shape(a), NPY_UINT32);
        uint32_t *row = *rows ? PyArray_DATA(*rows) : NULL;
        Py_ssize_t at[NPY_MAXDIMS] = {0}, place = a->offset;
        for (Py_ssize_t k = 0; row && k < a->size; k++, place = next_place(a, at, place))
            row[k] = s->start + (uint32_t)place + 1;
        if (row && a->size)
            pyad_block_mark(tape->core, s->block);
    }
    if (*rows)
        return 0;
    Py_CLEAR(*values);
    return -1;
}

/* The block of which rows are a run, one node after the other, or PYAD_NO_BLOCK. */
static uint32_t block_of_run(const pyad_tape *core, size_t size, const uint32_t *rows)
{
    if (size < 2 || !rows[0] || rows[size - 1] != rows[0] + (uint32_t)size - 1)
        return PYAD_NO_BLOCK;
    uint32_t block = pyad_tape_block_of(core, rows[0] - 1);
    if (block == PYAD_NO_BLOCK || rows[0] - 1 + size > (size_t)core->blocks[block].start +
                                                           core->blocks[block].count)
        return PYAD_NO_BLOCK;
    for (size_t i = 1; i < size; i++)
        if (rows[i] != rows[0] + (uint32_t)i)
            return PYAD_NO_BLOCK;
    return block;
}

PyObject *array_of_parts(TapeObject *tape, PyArrayObject *values, PyArrayObject *rows)
{
    size_t size = (size_t)PyArray_SIZE(values);
    const uint32_t *row = rows ? PyArray_DATA(rows) : NULL;
    uint32_t block = row ? block_of_run(tape->core, size, row) : PYAD_NO_BLOCK;
    if (block != PYAD_NO_BLOCK)
        return (PyObject *)array_new(storage_of_run(tape, block, row[0] - 1, size),
                                     PyArray_NDIM(values), PyArray_DIMS(values), NULL, 0);
    Storage *s = storage_new(size);
    if (!s)
        return NULL;
    memcpy(s->values, PyArray_DATA(values), size * sizeof(double));
    if (rows) {
        s->rows = pyad_buffer_new(size * sizeof(uint32_t));
        if (!s->rows) {
            storage_release(s);
            return raise_error(PYAD_ERROR_NO_MEMORY);
        }
        memcpy(s->rows, PyArray_DATA(rows), size * sizeof(uint32_t));
        s->tape = (TapeObject *)Py_NewRef((PyObject *)tape);
        s->generation = tape->generation;
    }
    return (PyObject *)array_new(s, PyArray_NDIM(values), PyArray_DIMS(values), NULL, 0);
}

int array_check_rows(size_t count, const uint32_t *rows)
{
    for (size_t i = 0; i < count; i++)
        if (rows[i] == ENDED_ROW) {
            raise_error(PYAD_ERROR_STALE, "of an element of an array");
            return -1;
        }
    return 0;
}

void array_mark_node(TapeObject *tape, uint32_t node)
{
    uint32_t block = pyad_tape_block_of(tape->core, node);
    if (block != PYAD_NO_BLOCK)
        pyad_block_mark(tape->core, block);
}

void array_mark_rows(TapeObject *tape, size_t count, const uint32_t *rows)
{
    const pyad_tape *core = tape->core;
    uint32_t start = 1, end = 0; /* rows of the block marked last */
    for (size_t i = 0; i < count; i++) {
        if (rows[i] == 0 || rows[i] == ENDED_ROW || (rows[i] >= start && rows[i] < end))
            continue;
        uint32_t block = pyad_tape_block_of(core, rows[i] - 1);
        if (block == PYAD_NO_BLOCK)
            continue;
        pyad_block_mark(tape->core, block);
        start = core->blocks[block].start + 1;
        end = start + core->blocks[block].count;
    }
}

PyObject *array_of_operands(TapeObject *tape, int ndim, const Py_ssize_t *shape,
                            const pyad_operand *x)
{
    PyObject *values = PyArray_SimpleNew(ndim, (npy_intp *)shape, NPY_DOUBLE);
    PyObject *rows = PyArray_SimpleNew(ndim, (npy_intp *)shape, NPY_UINT32);
    PyObject *result = NULL;
    if (values && rows) {
        double *value = PyArray_DATA((PyArrayObject *)values);
        uint32_t *row = PyArray_DATA((PyArrayObject *)rows);
        Py_ssize_t count = shape_size(ndim, shape);
        int any = 0;
        for (Py_ssize_t i = 0; i < count; i++) {
            value[i] = x[i].value;
            row[i] = x[i].node == PYAD_CONSTANT ? 0 : x[i].node + 1;
            any |= row[i] != 0;
        }
        if (any)
            array_mark_rows(tape, (size_t)count, row);
        result = array_of_parts(tape, (PyArrayObject *)values,
                                any ? (PyArrayObject *)rows : NULL);
    }
    Py_XDECREF(values);
    Py_XDECREF(rows);
    return result;
}

/* ---- parts ------------------------------------------------------------------------ */

/* _array_parts(a): (values, rows or None, tape); a leaf registers itself. */
PyObject *array_get_parts(PyObject *module, PyObject *x)
{
    PyArrayObject *values, *rows;
    thread_state *thread = thread_here();
    (void)module;
    if (!thread)
        return NULL;
    if (!is_array(x))
        return raise_error(PYAD_ERROR_ARGUMENTS, "_array_parts takes an Array");
    const Storage *s = ((ArrayObject *)x)->storage;
    TapeObject *tape = storage_is_recorded(s) ? s->tape : thread->tape;
    if (array_parts((ArrayObject *)x, thread->no_grad ? NULL : tape, &values, &rows) < 0)
        return NULL;
    PyObject *second = rows ? (PyObject *)rows : Py_NewRef(Py_None);
    return Py_BuildValue("(NNO)", values, second, tape);
}

/* _array_of_parts(values, rows or None, tape) */
PyObject *array_from_parts(PyObject *module, PyObject *args)
{
    PyObject *values, *rows, *tape;
    (void)module;
    if (!PyArg_ParseTuple(args, "OOO!", &values, &rows, &Tape_Type, &tape))
        return NULL;
    PyObject *v = PyArray_FROMANY(values, NPY_DOUBLE, 0, 0, NPY_ARRAY_CARRAY_RO);
    PyObject *r = NULL, *result = NULL;
    if (v && rows != Py_None)
        r = PyArray_FROMANY(rows, NPY_UINT32, 0, 0, NPY_ARRAY_CARRAY_RO);
    if (v && r && PyArray_SIZE((PyArrayObject *)r) != PyArray_SIZE((PyArrayObject *)v))
        raise_error(PYAD_ERROR_ARGUMENTS, "values and rows have one shape");
    if (v && !PyErr_Occurred())
        result =
            array_of_parts((TapeObject *)tape, (PyArrayObject *)v, (PyArrayObject *)r);
    Py_XDECREF(v);
    Py_XDECREF(r);
    return result;
}

/* _array_row(x): the row of a variable for the parts of an array: node + 1, 0 for a
 * constant. A leaf registers itself. And its tape, or None. */
PyObject *array_row_of(PyObject *module, PyObject *x)
{
    thread_state *thread = thread_here();
    (void)module;
    if (!thread)
        return NULL;
    VarObject *v = (VarObject *)x;
    if (is_dual(x))
        return dual_refuse(x, "an array");
    if (guarding_tapes && thread->no_grad && guard_read(x) < 0)
        return NULL; /* it becomes a constant */
    if (!is_var(x) || thread->no_grad || v->generation == CONSTANT_GENERATION)
        return Py_BuildValue("(iO)", 0, Py_None);
    if (is_intermediate(v)) {
        if (!tape_knows(v->tape, v->generation)) {
            raise_stale(v);
            return NULL;
        }
        array_mark_node(v->tape, v->node);
        return Py_BuildValue("(kO)", (unsigned long)v->node + 1, v->tape);
    }
    TapeObject *tape = thread->tape;
    if (tape_check_idle(tape) < 0 || tape_make_room(tape, 1, 0) < 0)
        return NULL;
    uint32_t node = v->tape == tape ? v->node : tape_register(tape, v);
    return Py_BuildValue("(kO)", (unsigned long)node + 1, tape);
}

PyObject *var_of_empty_sum(TapeObject *tape)
{
    if (tape_make_room(tape, 0, 0) < 0)
        return NULL;
    uint32_t node = pyad_push_node(tape->core, PYAD_OP_SUM, 0, 0);
    return var_of_node(tape, tape->generation, 0, node);
}
