/* Recorded sweeps over a frame, and numbers and variables as flat vectors, as Python
 * gives and takes them. See frame.h. */
#include <math.h>
#include <string.h>

#include "dual.h"
#include "frame.h"

/* ---- handles of nodes -------------------------------------------------------------- */

PyObject *frame_handle_of(TapeObject *tape, pyad_operand x)
{
    if (x.node == PYAD_CONSTANT)
        return PyFloat_FromDouble(x.value);
    uint32_t block = pyad_tape_block_of(tape->core, x.node);
    if (block != PYAD_NO_BLOCK)
        pyad_block_mark(tape->core, block);
    VarObject *handle = var_allocate();
    return handle ? var_finish(handle, tape, x.value, x.node) : PyErr_NoMemory();
}

/* _at(tape, node): a handle of a node that stands on the tape. */
PyObject *frame_at(PyObject *module, PyObject *args)
{
    PyObject *given;
    unsigned int node;
    (void)module;
    if (!PyArg_ParseTuple(args, "O!I", &Tape_Type, &given, &node))
        return NULL;
    TapeObject *tape = (TapeObject *)given;
    if (node >= tape->core->length)
        return raise_error(PYAD_ERROR_NODE_RANGE);
    pyad_tape_store_values(tape->core);
    return frame_handle_of(tape, (pyad_operand){tape->core->values[node], node});
}

/* ---- numbers as flat vectors ------------------------------------------------------ */

/* How many numbers an item stands for. */
static Py_ssize_t item_size(PyObject *x)
{
    return is_array(x)        ? ((ArrayObject *)x)->size
           : PyArray_Check(x) ? PyArray_SIZE((PyArrayObject *)x)
                              : 1;
}

/* The value and the row of a number or variable. What belongs to another tape counts as a
 * constant, or is an error if `strict`. */
static int read_number(TapeObject *tape, PyObject *x, const char *what, int strict,
                       double *value, uint32_t *row)
{
    VarObject *v = (VarObject *)x;
    *row = 0;
    if (is_dual(x)) {
        dual_refuse(x, what);
        return -1;
    }
    if (!is_var(x))
        return need_number(x, what, value);
    *value = v->value;
    if (v->generation == CONSTANT_GENERATION)
        return 0;
    if (is_intermediate(v)) {
        if (!tape_knows(v->tape, v->generation))
            return raise_stale(v);
        if (v->tape == tape)
            *row = v->node + 1;
        else if (strict)
            raise_error(PYAD_ERROR_OTHER_TAPE);
        if (*row)
            array_mark_node(tape, v->node);
        return PyErr_Occurred() ? -1 : 0;
    }
    if (strict && v->tape != tape) {
        if (tape_make_room(tape, 1, 0) < 0)
            return -1;
        tape_register(tape, v);
    }
    if (v->tape == tape)
        *row = v->node + 1;
    return 0;
}

static int read_array(TapeObject *tape, PyObject *x, const char *what, int strict,
                      double *values, uint32_t *rows)
{
    ArrayObject *a = array_from(x, what);
    if (!a)
        return -1;
    const Storage *s = a->storage;
    int ours = storage_is_recorded(s)
                   ? s->tape == tape
                   : s->generation == LEAF_GENERATION && (strict || s->tape == tape);
    PyArrayObject *v = NULL, *r = NULL;
    int status = -1;
    if (storage_is_recorded(s) && storage_check(s) < 0)
        ;
    else if (storage_is_recorded(s) && !ours && strict)
        raise_error(PYAD_ERROR_OTHER_TAPE);
    else
        status = array_parts(a, ours ? tape : NULL, &v, &r);
    if (status == 0 && a->size) {
        memcpy(values, PyArray_DATA(v), (size_t)a->size * sizeof *values);
        if (r)
            memcpy(rows, PyArray_DATA(r), (size_t)a->size * sizeof *rows);
        else
            memset(rows, 0, (size_t)a->size * sizeof *rows);
    }
    Py_XDECREF((PyObject *)v);
    Py_XDECREF((PyObject *)r);
    Py_DECREF(a);
    return status;
}

/* _flat(tape, [number or array, ...], what, strict): (values, rows) of all of them, one
 * after the other; a row is a node of the tape + 1, or 0. */
PyObject *frame_flat(PyObject *module, PyObject *args)
{
    PyObject *given, *items;
    const char *what;
    int strict;
    npy_intp total = 0;
    (void)module;
    if (!PyArg_ParseTuple(args, "O!O!sp", &Tape_Type, &given, &PyList_Type, &items, &what,
                          &strict))
        return NULL;
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(items); i++)
        total += item_size(PyList_GET_ITEM(items, i));
    PyObject *values = PyArray_SimpleNew(1, &total, NPY_DOUBLE);
    PyObject *rows = PyArray_SimpleNew(1, &total, NPY_UINT32);
    int status = values && rows ? 0 : -1;
    double *value = status == 0 ? PyArray_DATA((PyArrayObject *)values) : NULL;
    uint32_t *row = status == 0 ? PyArray_DATA((PyArrayObject *)rows) : NULL;
    for (Py_ssize_t i = 0; status == 0 && i < PyList_GET_SIZE(items); i++) {
        PyObject *x = PyList_GET_ITEM(items, i);
        Py_ssize_t size = item_size(x);
        status = is_array_like(x)
                     ? read_array((TapeObject *)given, x, what, strict, value, row)
                     : read_number((TapeObject *)given, x, what, strict, value, row);
        value += size;
        row += size;
    }
    PyObject *both = status == 0 ? PyTuple_Pack(2, values, rows) : NULL;
    Py_XDECREF(values);
    Py_XDECREF(rows);
    return both;
}

/* ---- recorded sweeps -------------------------------------------------------------- */

/* Flat vectors as Python gives and takes them: nodes (uint32), and numbers as values
 * (float64) and rows (uint32). */
typedef struct {
    TapeObject *tape;
    size_t from, count, seeds; /* of `nodes`, and of the seeds */
    PyArrayObject *nodes, *seed_nodes, *seed_values, *seed_rows;
    pyad_operand *numbers; /* the seeds */
} sweep_request;

static PyArrayObject *vector(PyObject *given, int type)
{
    return (PyArrayObject *)PyArray_FROMANY(given, type, 1, 1, NPY_ARRAY_CARRAY_RO);
}

static void request_free(sweep_request *r)
{
    Py_XDECREF((PyObject *)r->nodes);
    Py_XDECREF((PyObject *)r->seed_nodes);
    Py_XDECREF((PyObject *)r->seed_values);
    Py_XDECREF((PyObject *)r->seed_rows);
    PyMem_Free(r->numbers);
}

/* From (tape, from, nodes of the seeds, their values, their rows, nodes asked for); -1
 * with an exception and nothing to free. */
static int request_read(sweep_request *r, PyObject *args)
{
    PyObject *given, *seed_nodes, *values, *rows, *nodes;
    Py_ssize_t from;
    *r = (sweep_request){.tape = NULL};
    if (!PyArg_ParseTuple(args, "O!nOOOO", &Tape_Type, &given, &from, &seed_nodes,
                          &values, &rows, &nodes))
        return -1;
    r->tape = (TapeObject *)given;
    r->from = (size_t)from;
    r->nodes = vector(nodes, NPY_UINT32);
    r->seed_nodes = vector(seed_nodes, NPY_UINT32);
    r->seed_values = vector(values, NPY_DOUBLE);
    r->seed_rows = vector(rows, NPY_UINT32);
    int status = r->nodes && r->seed_nodes && r->seed_values && r->seed_rows ? 0 : -1;
    if (status == 0) {
        r->count = (size_t)PyArray_SIZE(r->nodes);
        r->seeds = (size_t)PyArray_SIZE(r->seed_nodes);
        r->numbers = PyMem_Calloc(r->seeds + 1, sizeof *r->numbers);
        if ((size_t)PyArray_SIZE(r->seed_values) != r->seeds ||
            (size_t)PyArray_SIZE(r->seed_rows) != r->seeds || !r->numbers) {
            raise_error(PYAD_ERROR_ARGUMENTS, "a seed for each of its nodes");
            status = -1;
        }
    }
    for (size_t i = 0; status == 0 && i < r->seeds; i++) {
        uint32_t row = ((const uint32_t *)PyArray_DATA(r->seed_rows))[i];
        r->numbers[i] = (pyad_operand){((const double *)PyArray_DATA(r->seed_values))[i],
                                       row ? row - 1 : PYAD_CONSTANT};
    }
    if (status < 0)
        request_free(r);
    return status;
}

/* (values, rows) of operands; their nodes are going to be referred to one by one. */
static PyObject *vectors_of(TapeObject *tape, const pyad_operand *x, size_t count)
{
    npy_intp size = (npy_intp)count;
    PyObject *values = PyArray_SimpleNew(1, &size, NPY_DOUBLE);
    PyObject *rows = PyArray_SimpleNew(1, &size, NPY_UINT32);
    PyObject *both = values && rows ? PyTuple_Pack(2, values, rows) : NULL;
    for (size_t i = 0; both && i < count; i++) {
        ((double *)PyArray_DATA((PyArrayObject *)values))[i] = x[i].value;
        ((uint32_t *)PyArray_DATA((PyArrayObject *)rows))[i] =
            x[i].node == PYAD_CONSTANT ? 0 : x[i].node + 1;
    }
    if (both)
        array_mark_rows(tape, count, PyArray_DATA((PyArrayObject *)rows));
    Py_XDECREF(values);
    Py_XDECREF(rows);
    return both;
}

/* Under detect_anomaly a sweep is made natively before it is recorded, which names the
 * operation. */
static int watch(const sweep_request *r, int forward)
{
    thread_state *thread = thread_here();
    size_t length = r->tape->core->length, count = length - r->from + 1;
    const uint32_t *seeded = PyArray_DATA(r->seed_nodes), *nodes = PyArray_DATA(r->nodes);
    if (!thread || !thread->anomaly || r->from > length)
        return thread ? 0 : -1;
    double *rows = frame_scratch(r->tape, count);
    if (!rows)
        return -1;
    memset(rows, 0, count * sizeof *rows);
    for (size_t i = 0; i < r->seeds; i++)
        if (seeded[i] >= r->from && seeded[i] < length)
            rows[seeded[i] - r->from + 1] += r->numbers[i].value;
    int status = forward ? pyad_tape_forward(r->tape->core, r->from, 1, rows)
                         : pyad_tape_reverse(r->tape->core, r->from, 1, rows);
    if (status) {
        raise_error(status);
        return -1;
    }
    if (!forward)
        return frame_check_adjoints(r->tape, r->from, rows);
    for (size_t i = 0; i < r->count; i++)
        if (nodes[i] >= r->from && nodes[i] < length &&
            frame_check_tangent(r->tape, r->from, rows, nodes[i]) < 0)
            return -1;
    return 0;
}

/* Either sweep; what it recorded is taken back if it fails. */
static PyObject *record_sweep(PyObject *args, int forward)
{
    sweep_request r;
    if (request_read(&r, args) < 0)
        return NULL;
    if (tape_check_idle(r.tape) < 0 || watch(&r, forward) < 0) {
        request_free(&r);
        return NULL;
    }
    size_t length = r.tape->core->length, arguments = r.tape->core->arguments;
    pyad_operand *found = PyMem_Calloc(r.count + 1, sizeof *found);
    const uint32_t *nodes = PyArray_DATA(r.nodes), *seeded = PyArray_DATA(r.seed_nodes);
    int status = PYAD_ERROR_NO_MEMORY;
    if (found && forward)
        status = pyad_tape_record_forward(r.tape->core, r.from, r.seeds, seeded,
                                          r.numbers, r.count, nodes, found);
    else if (found)
        status = pyad_tape_record_reverse(r.tape->core, r.from, r.seeds, seeded,
                                          r.numbers, r.count, nodes, found);
    PyObject *result = status                        ? raise_error(status)
                       : guard_note_line(r.tape) < 0 ? NULL
                                                     : vectors_of(r.tape, found, r.count);
    if (!result)
        tape_take_back(r.tape, length, arguments, r.tape->leaf_count);
    PyMem_Free(found);
    request_free(&r);
    return result;
}

/* _record_reverse(tape, from, seed nodes, seed values, seed rows, variables): (values,
 * rows) of the adjoints of the variables. */
PyObject *frame_record_reverse(PyObject *module, PyObject *args)
{
    (void)module;
    return record_sweep(args, 0);
}

/* _record_forward(tape, from, variables, tangent values, tangent rows, results): (values,
 * rows) of the tangents of the results. */
PyObject *frame_record_forward(PyObject *module, PyObject *args)
{
    (void)module;
    return record_sweep(args, 1);
}

/* _copy(tape, from): a tape of its own with the nodes from there on. */
PyObject *frame_copy(PyObject *module, PyObject *args)
{
    PyObject *given;
    Py_ssize_t from;
    (void)module;
    if (!PyArg_ParseTuple(args, "O!n", &Tape_Type, &given, &from))
        return NULL;
    TapeObject *fresh = tape_new();
    int status =
        fresh ? pyad_tape_append(fresh->core, ((TapeObject *)given)->core, (size_t)from)
              : 0;
    if (status) {
        Py_CLEAR(fresh);
        raise_error(status);
    }
    return (PyObject *)fresh;
}

/* _expand(tape, from): a tape of its own with the nodes from there on, every array
 * operation written out; and which node of it each of them is, 4 bytes a node. */
PyObject *frame_expand(PyObject *module, PyObject *args)
{
    PyObject *given;
    Py_ssize_t from;
    (void)module;
    if (!PyArg_ParseTuple(args, "O!n", &Tape_Type, &given, &from))
        return NULL;
    const pyad_tape *core = ((TapeObject *)given)->core;
    if (from < 0 || (size_t)from > core->length)
        return raise_error(PYAD_ERROR_NODE_RANGE);
    Py_ssize_t nodes = (Py_ssize_t)core->length - from;
    PyObject *map = PyBytes_FromStringAndSize(NULL, nodes * (Py_ssize_t)sizeof(uint32_t));
    TapeObject *fresh = map ? tape_new() : NULL;
    int status = 0;
    if (fresh)
        status = pyad_tape_expand(fresh->core, core, (size_t)from,
                                  (uint32_t *)(void *)PyBytes_AS_STRING(map));
    if (status)
        raise_error(status);
    PyObject *both = fresh && !status ? PyTuple_Pack(2, fresh, map) : NULL;
    Py_XDECREF(fresh);
    Py_XDECREF(map);
    return both;
}

/* _array_leaves(tape): for each leaf array that is registered, (the array, flat; its
 * first node; whether its value was assigned since). */
PyObject *frame_array_leaves(PyObject *module, PyObject *given)
{
    (void)module;
    if (!PyObject_TypeCheck(given, &Tape_Type))
        return raise_error(PYAD_ERROR_ARGUMENTS, "_array_leaves takes a tape");
    TapeObject *tape = (TapeObject *)given;
    PyObject *list = PyList_New((Py_ssize_t)tape->array_leaf_count);
    for (size_t i = 0; list && i < tape->array_leaf_count; i++) {
        const array_leaf *entry = &tape->array_leaves[i];
        Py_ssize_t size = (Py_ssize_t)entry->storage->size;
        ArrayObject *a = array_new(storage_retain(entry->storage), 1, &size, NULL, 0);
        PyObject *item =
            a ? Py_BuildValue("(NIN)", a, entry->start,
                              PyBool_FromLong(entry->version != entry->storage->version))
              : NULL;
        if (item)
            PyList_SET_ITEM(list, (Py_ssize_t)i, item);
        else
            Py_CLEAR(list);
    }
    return list;
}
