/* Storages: numbers and the nodes that hold them, see array.h. */
#include <string.h>

#include "../buffer.h"
#include "array.h"

/* ---- life ------------------------------------------------------------------------- */

static Storage *free_storages; /* linked by `older` */
static int free_storage_count;
enum { FREE_STORAGES_KEPT = 256 };

static Storage *storage_allocate(size_t size)
{
    Storage *s = free_storages;
    if (s) {
        free_storages = s->older;
        free_storage_count--;
    } else {
        s = PyMem_Malloc(sizeof *s);
    }
    if (!s)
        return (Storage *)raise_error(PYAD_ERROR_NO_MEMORY);
    *s = (Storage){.references = 1,
                   .size = size,
                   .generation = CONSTANT_GENERATION,
                   .tape = &no_tape,
                   .start = PYAD_CONSTANT,
                   .block = PYAD_NO_BLOCK};
    return s;
}

Storage *storage_new(size_t size)
{
    Storage *s = storage_allocate(size);
    if (s && !(s->values = pyad_buffer_new((size ? size : 1) * sizeof(double)))) {
        storage_release(s);
        return (Storage *)raise_error(PYAD_ERROR_NO_MEMORY);
    }
    return s;
}

static void link_run(Storage *s)
{
    s->newer = NULL;
    s->older = s->tape->runs;
    if (s->older)
        s->older->newer = s;
    s->tape->runs = s;
}

/* Its values are not asked for through it any more. */
static void unlink_run(Storage *s)
{
    if (s->block != PYAD_NO_BLOCK)
        pyad_block_drop(s->tape->core, s->block);
    if (s->newer)
        s->newer->older = s->older;
    else
        s->tape->runs = s->older;
    if (s->older)
        s->older->newer = s->newer;
    s->older = s->newer = NULL;
}

static int is_linked(const Storage *s)
{
    return storage_is_recorded(s) && !s->values && !s->lost;
}

Storage *storage_of_run(TapeObject *tape, uint32_t block, uint32_t start, size_t size)
{
    Storage *s = storage_allocate(size);
    if (!s)
        return NULL;
    s->generation = tape->generation;
    s->tape = (TapeObject *)Py_NewRef((PyObject *)tape);
    s->start = start;
    s->block = block;
    link_run(s);
    return s;
}

void storage_release(Storage *s)
{
    if (!s || --s->references)
        return;
    if (is_linked(s))
        unlink_run(s);
    pyad_buffer_release(s->values);
    pyad_buffer_release(s->rows);
    if (storage_is_recorded(s))
        Py_DECREF((PyObject *)s->tape);
    Py_XDECREF(s->gradient);
    Py_XDECREF(s->name);
    if (free_storage_count < FREE_STORAGES_KEPT) {
        s->older = free_storages;
        free_storages = s;
        free_storage_count++;
    } else {
        PyMem_Free(s);
    }
}

int storage_check(const Storage *s)
{
    if (s->lost)
        raise_error(PYAD_ERROR_NO_MEMORY);
    else if (storage_is_ended(s))
        raise_error(PYAD_ERROR_STALE, "of an array");
    else if (storage_is_recorded(s) && s->tape->busy)
        raise_error(PYAD_ERROR_TAPE_BUSY);
    else
        return 0;
    return -1;
}

/* ---- the end of a recording ------------------------------------------------------- */

void storages_settle(TapeObject *tape, size_t length)
{
    for (Storage *s = tape->runs, *older; s; s = older) {
        older = s->older;
        if (s->start < length)
            continue;
        double *kept = pyad_buffer_new((s->size ? s->size : 1) * sizeof(double));
        if (kept)
            memcpy(kept, storage_values(s), s->size * sizeof(double));
        unlink_run(s);
        s->lost = !kept;
        s->values = kept;
        if (length) /* taken back, while its recording goes on */
            s->generation = FIRST_GENERATION;
    }
}

void storages_hold(TapeObject *tape)
{
    for (const Storage *s = tape->runs; s; s = s->older)
        if (s->block != PYAD_NO_BLOCK)
            pyad_block_hold(tape->core, s->block);
}

/* ---- leaves ----------------------------------------------------------------------- */

int storage_register(Storage *s, TapeObject *tape)
{
    if (s->tape == tape)
        return 0;
    if (tape->array_leaf_count == tape->array_leaf_capacity) {
        size_t capacity = 2 * tape->array_leaf_capacity + 8;
        array_leaf *grown =
            PyMem_Realloc(tape->array_leaves, capacity * sizeof *tape->array_leaves);
        if (!grown) {
            raise_error(PYAD_ERROR_NO_MEMORY);
            return -1;
        }
        tape->array_leaves = grown;
        tape->array_leaf_capacity = capacity;
    }
    if (tape_check_idle(tape) < 0)
        return -1;
    uint32_t block;
    int status = pyad_block_leaf(tape->core, s->size, s->values, &block);
    if (status) {
        raise_error(status);
        return -1;
    }
    s->tape = tape;
    s->block = block;
    s->start = tape->core->blocks[block].start;
    tape->array_leaves[tape->array_leaf_count++] =
        (array_leaf){storage_retain(s), s->start, s->version};
    return 0;
}

void storages_unregister(TapeObject *tape, size_t length)
{
    while (tape->array_leaf_count &&
           tape->array_leaves[tape->array_leaf_count - 1].start >= length) {
        Storage *s = tape->array_leaves[--tape->array_leaf_count].storage;
        if (s->tape == tape && s->start >= length)
            s->tape = &no_tape;
        storage_release(s);
    }
}

int storage_add_gradient(Storage *s, const double *adjoints)
{
    npy_intp size = (npy_intp)s->size;
    if (s->gradient && PyArray_Check(s->gradient)) {
        double *sum = PyArray_DATA((PyArrayObject *)s->gradient);
        for (npy_intp i = 0; i < size; i++)
            sum[i] += adjoints[i];
        return 0;
    }
    PyObject *fresh = PyArray_SimpleNew(1, &size, NPY_DOUBLE);
    if (!fresh)
        return -1;
    memcpy(PyArray_DATA((PyArrayObject *)fresh), adjoints, s->size * sizeof(double));
    if (s->gradient) { /* a variable, after backward(create_graph=True) */
        PyObject *before = array_values((ArrayObject *)s->gradient);
        if (!before) {
            Py_DECREF(fresh);
            return -1;
        }
        const double *old = PyArray_DATA((PyArrayObject *)before);
        double *sum = PyArray_DATA((PyArrayObject *)fresh);
        for (npy_intp i = 0; i < size; i++)
            sum[i] += old[i];
        Py_DECREF(before);
    }
    Py_XSETREF(s->gradient, fresh);
    return 0;
}

/* ---- single positions ------------------------------------------------------------- */

/* A recording has gone on to another generation: what is left of the old one can no
 * longer be differentiated, and says so when it is used. */
static void end_rows(Storage *s)
{
    for (size_t i = 0; i < s->size; i++)
        if (s->rows[i])
            s->rows[i] = ENDED_ROW;
}

int storage_scatter(Storage *s)
{
    int ended = storage_is_ended(s);
    if (s->rows && !ended)
        return 0;
    size_t count = s->size ? s->size : 1;
    uint32_t *rows = s->rows ? s->rows : pyad_buffer_new(count * sizeof *rows);
    double *values = s->values ? s->values : pyad_buffer_new(count * sizeof *values);
    if (!rows || !values) {
        if (!s->rows)
            pyad_buffer_release(rows);
        if (!s->values)
            pyad_buffer_release(values);
        raise_error(PYAD_ERROR_NO_MEMORY);
        return -1;
    }
    if (!s->values) {
        memcpy(values, storage_values(s), s->size * sizeof *values);
        unlink_run(s);
    }
    if (!s->rows) {
        int nodes = storage_is_recorded(s);
        for (size_t i = 0; i < s->size; i++)
            rows[i] = nodes ? s->start + (uint32_t)i + 1 : 0;
        if (nodes && !ended)
            pyad_block_mark(s->tape->core, s->block);
    }
    s->rows = rows;
    s->values = values;
    if (ended)
        end_rows(s);
    return 0;
}

void storage_become_run(Storage *s, TapeObject *tape, uint32_t block, uint32_t start)
{
    if (is_linked(s))
        unlink_run(s);
    if (!storage_is_recorded(s) || s->tape != tape) {
        Py_INCREF((PyObject *)tape);
        if (storage_is_recorded(s))
            Py_DECREF((PyObject *)s->tape);
        s->tape = tape;
    }
    pyad_buffer_release(s->values);
    pyad_buffer_release(s->rows);
    s->values = NULL;
    s->rows = NULL;
    s->lost = 0;
    s->generation = tape->generation;
    s->start = start;
    s->block = block;
    link_run(s);
}
