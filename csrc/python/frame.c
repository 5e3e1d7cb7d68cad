/* Frames: stretches of a recording that transforms make and leave. grad(f)(x) enters one,
 * gives f an alias of x that is a node of its own, and so never confuses it with a
 * variable of a transform around it; what f uses of the recording below is a constant to
 * the sweep. If f used nothing from outside, the sweep is native, the result a float, and
 * the frame is taken back; else the sweep is recorded and the frame stays part of the
 * recording around it. Handles of a frame that was left are stale. */
#include <math.h>
#include <string.h>

#include "array.h"
#include "dual.h"

/* ---- entering and leaving
 * --------------------------------------------------------------------- */

static int frame_enter(TapeObject *tape, thread_state *thread)
{
    if (tape_check_idle(tape) < 0 || tape_check_owner(tape, thread) < 0)
        return -1;
    if (tape->depth == tape->frame_capacity) {
        size_t capacity = 2 * tape->frame_capacity + 4;
        tape_frame *grown = PyMem_Realloc(tape->frames, capacity * sizeof *grown);
        if (!grown) {
            raise_error(PYAD_ERROR_NO_MEMORY);
            return -1;
        }
        tape->frames = grown;
        tape->frame_capacity = capacity;
    }
    tape->frames[tape->depth++] =
        (tape_frame){tape->generation, tape->core->length, tape->core->arguments,
                     tape->leaf_count, thread->no_grad};
    thread->no_grad = 0;
    tape->owner = thread;
    tape->generation = tape_new_generation();
    thread_refresh(thread);
    return 0;
}

/* Leave the innermost frame; what it recorded stays if `keep`. */
static void frame_leave(TapeObject *tape, thread_state *thread, int keep)
{
    tape_frame frame = tape->frames[--tape->depth];
    if (!keep)
        tape_take_back(tape, frame.length, frame.arguments, frame.leaf_count);
    tape->generation = frame.generation;
    thread->no_grad = frame.no_grad;
    thread_refresh(thread);
}

/* True if the innermost frame used something from outside that requires a gradient. */
static int frame_is_open(const TapeObject *tape)
{
    const tape_frame *frame = &tape->frames[tape->depth - 1];
    size_t arrays = tape->array_leaf_count;
    return !frame->no_grad &&
           (tape->leaf_count > frame->leaf_count ||
            (arrays && tape->array_leaves[arrays - 1].start >= frame->length) ||
            pyad_tape_touches(tape->core, frame->length));
}

static PyObject *enter(PyObject *module, PyObject *unused)
{
    thread_state *thread = thread_here();
    (void)module, (void)unused;
    if (!thread || frame_enter(thread->tape, thread) < 0)
        return NULL;
    return Py_BuildValue("(On)", thread->tape, (Py_ssize_t)thread->tape->core->length);
}

/* The tape given, if it has a frame to leave. */
static TapeObject *framed(PyObject *tape)
{
    if (PyObject_TypeCheck(tape, &Tape_Type) && ((TapeObject *)tape)->depth)
        return (TapeObject *)tape;
    return (TapeObject *)raise_error(PYAD_ERROR_ARGUMENTS,
                                     "the tape has no frame to leave");
}

static PyObject *leave(PyObject *module, PyObject *args)
{
    PyObject *given;
    int keep;
    thread_state *thread = thread_here();
    (void)module;
    if (!thread || !PyArg_ParseTuple(args, "Op", &given, &keep) || !framed(given))
        return NULL;
    TapeObject *tape = (TapeObject *)given;
    tape_frame frame = tape->frames[tape->depth - 1];
    frame_leave(tape, thread, keep);
    return Py_BuildValue("(Knnn)", (unsigned long long)frame.generation,
                         (Py_ssize_t)frame.length, (Py_ssize_t)frame.arguments,
                         (Py_ssize_t)frame.leaf_count);
}

/* _take_back(tape, mark): all that was recorded since a frame was entered, which was
 * kept, if the recording around it is the innermost one still. */
static PyObject *take_back(PyObject *module, PyObject *args)
{
    PyObject *given;
    unsigned long long generation;
    Py_ssize_t length, arguments, leaf_count;
    (void)module;
    if (!PyArg_ParseTuple(args, "O!(Knnn)", &Tape_Type, &given, &generation, &length,
                          &arguments, &leaf_count))
        return NULL;
    TapeObject *tape = (TapeObject *)given;
    if (tape->generation == generation && !tape->busy &&
        (size_t)length <= tape->core->length)
        tape_take_back(tape, (size_t)length, (size_t)arguments, (size_t)leaf_count);
    Py_RETURN_NONE;
}

/* What this thread does: whether it records, and whether it watches for anomalies. */
static PyObject *is_recording(PyObject *module, PyObject *unused)
{
    thread_state *thread = thread_here();
    (void)module, (void)unused;
    return thread ? PyBool_FromLong(!thread->no_grad) : NULL;
}

static PyObject *is_watching(PyObject *module, PyObject *unused)
{
    thread_state *thread = thread_here();
    (void)module, (void)unused;
    return thread ? PyBool_FromLong(thread->anomaly) : NULL;
}

/* _refuse_dual(x): a result that carries the tangents of a transform around this one. */
static PyObject *refuse_dual(PyObject *module, PyObject *x)
{
    (void)module;
    return is_dual(x) ? dual_refuse(x, "a transform") : Py_NewRef(Py_None);
}

/* _is_nested(): whether a transform is recording on the tape of this thread. */
static PyObject *is_nested(PyObject *module, PyObject *unused)
{
    TapeObject *tape = tape_here();
    (void)module, (void)unused;
    return tape ? PyBool_FromLong(tape->depth > 0) : NULL;
}

static PyObject *is_open(PyObject *module, PyObject *given)
{
    (void)module;
    return framed(given) ? PyBool_FromLong(frame_is_open((TapeObject *)given)) : NULL;
}

/* ---- aliases
 * ---------------------------------------------------------------------------------------
 */

/* A node of its own for a number or a variable: new reference to its handle. */
static PyObject *alias_of(TapeObject *tape, PyObject *x)
{
    double value;
    if (is_dual(x))
        return dual_refuse(x, "a transform");
    if (is_var(x) && is_intermediate((VarObject *)x) && ((VarObject *)x)->tape != tape)
        return raise_error(PYAD_ERROR_OTHER_TAPE);
    if (is_var(x) && ((VarObject *)x)->generation != CONSTANT_GENERATION)
        return unary_positive(x);
    if (need_number(x, "a differentiated argument", &value) < 0 ||
        tape_make_room(tape, 0, 0) < 0)
        return NULL;
    VarObject *handle = var_allocate();
    if (!handle)
        return PyErr_NoMemory();
    uint32_t node = pyad_push_node(tape->core, PYAD_OP_LEAF, value, 0);
    return var_finish(handle, tape, value, node);
}

/* New variables with the values of a contiguous array of doubles; released. */
static PyObject *variables_of(TapeObject *tape, PyArrayObject *values, uint32_t *start)
{
    uint32_t block;
    PyObject *alias = NULL;
    int status = values ? pyad_block_leaf(tape->core, (size_t)PyArray_SIZE(values),
                                          PyArray_DATA(values), &block)
                        : -1;
    if (status > 0) {
        raise_error(status);
    } else if (status == 0) {
        const pyad_block *b = &tape->core->blocks[block];
        *start = b->start;
        alias =
            (PyObject *)array_new(storage_of_run(tape, block, b->start, b->count),
                                  PyArray_NDIM(values), PyArray_DIMS(values), NULL, 0);
    }
    Py_XDECREF(values);
    return alias;
}

/* An Array of nodes of its own for an array, and the first of them. */
static PyObject *alias_of_array(TapeObject *tape, PyObject *x, uint32_t *start)
{
    const tape_frame *frame = &tape->frames[tape->depth - 1];
    *start = 0;
    if (PyArray_CheckExact(x) && PyArray_TYPE((PyArrayObject *)x) == NPY_DOUBLE &&
        PyArray_ISCARRAY_RO((PyArrayObject *)x) && PyArray_SIZE((PyArrayObject *)x))
        return variables_of(tape, (PyArrayObject *)Py_NewRef(x), start);
    ArrayObject *a = array_from(x, "a differentiated argument");
    if (!a)
        return NULL;
    Storage *s = a->storage;
    if (storage_is_recorded(s) && s->tape != tape) {
        Py_DECREF(a);
        return raise_error(PYAD_ERROR_OTHER_TAPE);
    }
    PyObject *alias = NULL;
    if (a->size == 0) {
        alias = array_empty(tape, a->ndim, array_shape(a));
    } else if (s->generation != CONSTANT_GENERATION && !frame->no_grad) {
        PyObject *flat = PyObject_CallMethod((PyObject *)a, "reshape", "(n)", a->size);
        PyObject *copied = flat ? array_apply(PYAD_OP_POSITIVE, flat, NULL) : NULL;
        if (copied)
            alias =
                (PyObject *)array_new(storage_retain(((ArrayObject *)copied)->storage),
                                      a->ndim, array_shape(a), NULL, 0);
        Py_XDECREF(flat);
        Py_XDECREF(copied);
    } else {
        alias = variables_of(tape, (PyArrayObject *)array_values(a), start);
    }
    if (alias && a->size)
        *start = ((ArrayObject *)alias)->storage->start;
    Py_DECREF(a);
    return alias;
}

static int is_array_like(PyObject *x) { return is_array(x) || PyArray_Check(x); }

/* _aliases(tape, [number or array, ...]): their handles, and an ndarray of a row (node,
 * count) for each, with count -1 for a number. */
static PyObject *aliases(PyObject *module, PyObject *args)
{
    PyObject *given, *xs;
    (void)module;
    if (!PyArg_ParseTuple(args, "OO!", &given, &PyList_Type, &xs) || !framed(given))
        return NULL;
    TapeObject *tape = (TapeObject *)given;
    Py_ssize_t count = PyList_GET_SIZE(xs);
    PyObject *handles = PyList_New(count), *both = NULL;
    PyObject *places = PyArray_SimpleNew(2, ((npy_intp[]){count, 2}), NPY_INT64);
    for (Py_ssize_t i = 0; handles && places && i < count; i++) {
        PyObject *x = PyList_GET_ITEM(xs, i);
        int64_t *place = (int64_t *)PyArray_DATA((PyArrayObject *)places) + 2 * i;
        uint32_t node = 0;
        int array = is_array_like(x);
        PyObject *alias = array ? alias_of_array(tape, x, &node) : alias_of(tape, x);
        if (!alias) {
            Py_CLEAR(handles);
            break;
        }
        place[0] = array ? node : ((VarObject *)alias)->node;
        place[1] = array ? ((ArrayObject *)alias)->size : -1;
        PyList_SET_ITEM(handles, i, alias);
    }
    if (handles && places)
        both = PyTuple_Pack(2, handles, places);
    Py_XDECREF(handles);
    Py_XDECREF(places);
    return both;
}

/* ---- the native gradient
 * ------------------------------------------------------------------------- */

/* A result of a recording that has ended, which must not count as a constant. */
static int is_stale(const VarObject *y)
{
    return is_intermediate(y) && !tape_knows(y->tape, y->generation);
}

/* Room for so many numbers, which hold anything. */
static double *scratch(TapeObject *tape, size_t count)
{
    if (count > tape->scratch_capacity) {
        double *fresh =
            count > SIZE_MAX / 16 ? NULL : PyMem_RawMalloc(count * sizeof(double));
        if (!fresh)
            return (double *)raise_error(PYAD_ERROR_NO_MEMORY);
        PyMem_RawFree(tape->scratch);
        tape->scratch = fresh;
        tape->scratch_capacity = count;
    }
    return tape->scratch;
}

/* Under detect_anomaly: raise if an adjoint that a reverse sweep from `from` on left in
 * rows, or what it passed on, is not finite. */
static int check_adjoints(TapeObject *tape, size_t from, const double *rows)
{
    const pyad_tape *core = tape->core;
    pyad_tape_fill_blocks(core);
    for (size_t i = core->length; i-- > from;) {
        double own = rows[i - from + 1];
        int bad = !isfinite(own);
        for (size_t k = core->first[i]; own != 0 && k < core->first[i + 1]; k++)
            bad |= core->indices[k] != PYAD_CONSTANT && core->indices[k] >= from &&
                   !isfinite(own * core->weights[k]);
        if (bad && core->block_count)
            return raise_array_anomaly("blame_adjoint", tape, from, rows + 1,
                                       (uint32_t)i);
        if (bad)
            return raise_anomaly(tape, PYAD_ERROR_BAD_ADJOINT, (uint32_t)i, own);
    }
    return 0;
}

/* Likewise of a forward sweep, for one result: what does not lead to it may be what it
 * is. */
static int check_tangent(TapeObject *tape, size_t from, const double *rows, uint32_t node)
{
    const pyad_tape *core = tape->core;
    if (isfinite(rows[node - from + 1]))
        return 0;
    if (core->block_count)
        return raise_array_anomaly("blame_tangent", tape, from, rows + 1, node);
    for (size_t k = core->first[node]; k < core->first[node + 1]; k++) {
        uint32_t i = core->indices[k];
        if (i != PYAD_CONSTANT && i >= from && !isfinite(rows[i - from + 1])) {
            node = i;
            k = core->first[node] - (size_t)1; /* go on among its arguments */
        }
    }
    return raise_anomaly(tape, PYAD_ERROR_BAD_TANGENT, node, rows[node - from + 1]);
}

/* Adjoints of the innermost frame, in tape->scratch from row 1 on; -1 with an exception.
 * A result that is no node of the frame does not depend on its aliases. */
static int sweep_frame(TapeObject *tape, PyObject *y, double seed)
{
    size_t from = tape->frames[tape->depth - 1].length;
    size_t count = tape->core->length - from;
    double *rows = scratch(tape, count + 1);
    if (!rows)
        return -1;
    if (is_var(y) && is_stale((VarObject *)y))
        return raise_stale((VarObject *)y);
    thread_state *thread = thread_here();
    if (!thread)
        return -1;
    int has_node = is_var(y) && ((VarObject *)y)->generation == tape->generation;
    uint32_t node = has_node ? ((VarObject *)y)->node : PYAD_CONSTANT;
    int status, all = thread->anomaly;
    tape_hold(tape);
    if (count < SWEEP_HOLDS_LOCK) {
        status = pyad_tape_reverse_run(tape->core, from, 1, &node, &seed, rows, all);
    } else {
        Py_BEGIN_ALLOW_THREADS
            status = pyad_tape_reverse_run(tape->core, from, 1, &node, &seed, rows, all);
        Py_END_ALLOW_THREADS
    }
    tape_release(tape);
    if (status)
        raise_error(status);
    return status                        ? -1
           : has_node && thread->anomaly ? check_adjoints(tape, from, rows)
                                         : 0;
}

/* The adjoint in tape->scratch of a node, or of a run of `count` as an ndarray. */
static PyObject *adjoint_at(const TapeObject *tape, uint32_t node, npy_intp count)
{
    const double *row = tape->scratch + node - tape->frames[tape->depth - 1].length + 1;
    if (count < 0)
        return PyFloat_FromDouble(*row);
    PyObject *array = PyArray_SimpleNew(1, &count, NPY_DOUBLE);
    if (array && count)
        memcpy(PyArray_DATA((PyArrayObject *)array), row, (size_t)count * sizeof *row);
    return array;
}

/* _gradient(tape, y, places, seed): the adjoints of the aliases at these places, floats
 * and flat ndarrays. */
static PyObject *native_gradient(PyObject *module, PyObject *args)
{
    PyObject *given, *y, *places;
    double seed;
    (void)module;
    if (!PyArg_ParseTuple(args, "OOO!d", &given, &y, &PyArray_Type, &places, &seed) ||
        !framed(given))
        return NULL;
    TapeObject *tape = (TapeObject *)given;
    if (sweep_frame(tape, y, seed) < 0)
        return NULL;
    const int64_t *place = PyArray_DATA((PyArrayObject *)places);
    Py_ssize_t count = PyArray_DIM((PyArrayObject *)places, 0);
    PyObject *result = PyList_New(count);
    for (Py_ssize_t i = 0; result && i < count; i++, place += 2) {
        PyObject *adjoint = adjoint_at(tape, (uint32_t)place[0], (Py_ssize_t)place[1]);
        if (adjoint)
            PyList_SET_ITEM(result, i, adjoint);
        else
            Py_CLEAR(result);
    }
    return result;
}

/* ---- recorded sweeps
 * ------------------------------------------------------------------------------ */

/* A handle of what was recorded last, a float for a constant: new reference. Scalar nodes
 * may refer to it, also if it is one of an array. */
static PyObject *handle_of(TapeObject *tape, pyad_operand x)
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
static PyObject *at(PyObject *module, PyObject *args)
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
    return handle_of(tape, (pyad_operand){tape->core->values[node], node});
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
static PyObject *flat(PyObject *module, PyObject *args)
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
    double *rows = scratch(r->tape, count);
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
        return check_adjoints(r->tape, r->from, rows);
    for (size_t i = 0; i < r->count; i++)
        if (nodes[i] >= r->from && nodes[i] < length &&
            check_tangent(r->tape, r->from, rows, nodes[i]) < 0)
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
    PyObject *result = status ? raise_error(status) : vectors_of(r.tape, found, r.count);
    if (!result)
        tape_take_back(r.tape, length, arguments, r.tape->leaf_count);
    PyMem_Free(found);
    request_free(&r);
    return result;
}

/* _record_reverse(tape, from, seed nodes, seed values, seed rows, variables): (values,
 * rows) of the adjoints of the variables. */
static PyObject *record_reverse(PyObject *module, PyObject *args)
{
    (void)module;
    return record_sweep(args, 0);
}

/* _record_forward(tape, from, variables, tangent values, tangent rows, results): (values,
 * rows) of the tangents of the results. */
static PyObject *record_forward(PyObject *module, PyObject *args)
{
    (void)module;
    return record_sweep(args, 1);
}

/* _copy(tape, from): a tape of its own with the nodes from there on. */
static PyObject *copy(PyObject *module, PyObject *args)
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
static PyObject *expand(PyObject *module, PyObject *args)
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

/* ---- the quick way of grad
 * ------------------------------------------------------------------------- */

/* What the quick way differentiates in: a number, or an array. */
typedef struct {
    PyObject *alias; /* held */
    uint32_t node;
    Py_ssize_t count; /* -1 for a number */
    int ndim;
    Py_ssize_t shape[NPY_MAXDIMS];
} variable;

static int variable_new(variable *x, TapeObject *tape, PyObject *given)
{
    int array = is_array_like(given);
    x->alias = array ? alias_of_array(tape, given, &x->node) : alias_of(tape, given);
    if (!x->alias)
        return -1;
    x->count = -1;
    if (!array) {
        x->node = ((VarObject *)x->alias)->node;
        return 0;
    }
    ArrayObject *a = (ArrayObject *)x->alias;
    x->count = a->size;
    x->ndim = a->ndim;
    memcpy(x->shape, array_shape(a), (size_t)a->ndim * sizeof *x->shape);
    return 0;
}

/* (value, derivative) of a frame that is open, which is left here: both variables of the
 * recording around. */
static PyObject *slope_of_open(TapeObject *tape, thread_state *thread, VarObject *y,
                               const variable *x)
{
    tape_frame frame = tape->frames[tape->depth - 1];
    size_t count = x->count < 0 ? 1 : (size_t)x->count;
    int depends = y->generation == tape->generation;
    pyad_operand result = {y->value, depends ? y->node : PYAD_CONSTANT};
    const pyad_operand seed = {1, PYAD_CONSTANT};
    if (thread->anomaly && sweep_frame(tape, (PyObject *)y, 1.0) < 0) {
        frame_leave(tape, thread, 0);
        return NULL;
    }
    uint32_t *nodes = PyMem_Malloc((count + 1) * sizeof *nodes);
    pyad_operand *adjoints = PyMem_Calloc(count + 1, sizeof *adjoints);
    frame_leave(tape, thread, 1);
    int status = nodes && adjoints ? PYAD_OK : PYAD_ERROR_NO_MEMORY;
    for (size_t i = 0; !status && i < count; i++)
        nodes[i] = x->node + (uint32_t)i;
    if (!status)
        status = pyad_tape_record_reverse(tape->core, frame.length, 1, &result.node,
                                          &seed, count, nodes, adjoints);
    PyObject *value = NULL, *derivative = NULL;
    if (status)
        raise_error(status);
    else
        value = depends ? handle_of(tape, result) : Py_NewRef((PyObject *)y);
    if (value)
        derivative = x->count < 0 ? handle_of(tape, adjoints[0])
                                  : array_of_operands(tape, x->ndim, x->shape, adjoints);
    PyObject *both = derivative ? PyTuple_Pack(2, value, derivative) : NULL;
    PyMem_Free(nodes);
    PyMem_Free(adjoints);
    Py_XDECREF(value);
    Py_XDECREF(derivative);
    if (!both)
        tape_take_back(tape, frame.length, frame.arguments, frame.leaf_count);
    return both;
}

/* The adjoint in the scratch, in the shape of the variable. */
static PyObject *shaped_adjoint(const TapeObject *tape, const variable *x)
{
    PyObject *flat_adjoint = adjoint_at(tape, x->node, x->count);
    if (!flat_adjoint || x->count < 0 || x->ndim == 1)
        return flat_adjoint;
    PyArray_Dims sides = {(npy_intp *)x->shape, x->ndim};
    PyObject *shaped =
        PyArray_Newshape((PyArrayObject *)flat_adjoint, &sides, NPY_CORDER);
    Py_DECREF(flat_adjoint);
    return shaped;
}

/* What a function returned as a float, an int or a Var: new reference, or NULL with an
 * exception. NumPy's numbers and arrays of one are for the Python layer. */
static PyObject *one_number(PyObject *y)
{
    static PyObject *as_scalar;
    if (is_handle(y) || PyFloat_Check(y) || PyLong_Check(y))
        return Py_NewRef(y);
    return python_function(&as_scalar, "pyad.transforms._recording", "as_scalar")
               ? PyObject_CallFunction(as_scalar, "Os", y, "grad")
               : NULL;
}

/* (value, derivative) of y in the alias; leaves the frame. */
static PyObject *slope_of(TapeObject *tape, thread_state *thread, PyObject *returned,
                          const variable *x)
{
    PyObject *both = NULL, *y = one_number(returned);
    if (!y) {
        frame_leave(tape, thread, 0);
        return NULL;
    }
    if (is_dual(y)) {
        dual_refuse(y, "grad");
    } else if (is_var(y) && is_stale((VarObject *)y)) {
        raise_stale((VarObject *)y);
    } else if (is_var(y) && frame_is_open(tape)) {
        both = slope_of_open(tape, thread, (VarObject *)y, x);
        Py_DECREF(y);
        return both;
    } else if (sweep_frame(tape, y, 1.0) == 0) {
        PyObject *value =
            is_var(y) ? PyFloat_FromDouble(((VarObject *)y)->value) : PyNumber_Float(y);
        PyObject *derivative = value ? shaped_adjoint(tape, x) : NULL;
        both = derivative ? PyTuple_Pack(2, value, derivative) : NULL;
        Py_XDECREF(value);
        Py_XDECREF(derivative);
    }
    Py_DECREF(y);
    frame_leave(tape, thread, 0);
    return both;
}

/* _slope(f, x, *rest, **kwargs): (value, derivative) of f in its first argument, one
 * number or array. */
static PyObject *slope(PyObject *module, PyObject *const *args, Py_ssize_t count,
                       PyObject *names)
{
    PyObject *stack[8];
    thread_state *thread = thread_here();
    (void)module;
    if (!thread)
        return NULL;
    if (count < 2)
        return raise_error(PYAD_ERROR_ARGUMENTS, "_slope takes a function and a number");
    TapeObject *tape = thread->tape;
    size_t total = (size_t)count - 1 + (names ? (size_t)PyTuple_GET_SIZE(names) : 0);
    PyObject **arguments = total <= 8 ? stack : PyMem_Malloc(total * sizeof *arguments);
    if (!arguments)
        return PyErr_NoMemory();
    if (frame_enter(tape, thread) < 0) {
        if (arguments != stack)
            PyMem_Free(arguments);
        return NULL;
    }
    Py_INCREF(tape);
    memcpy(arguments, args + 1, total * sizeof *arguments);
    variable x = {.alias = NULL};
    PyObject *y = NULL, *result = NULL;
    if (variable_new(&x, tape, args[1]) == 0) {
        arguments[0] = x.alias;
        y = PyObject_Vectorcall(args[0], arguments, (size_t)count - 1, names);
    }
    Py_CLEAR(x.alias); /* its values need not outlive the frame */
    if (y)
        result = slope_of(tape, thread, y, &x);
    else
        frame_leave(tape, thread, 0);
    if (arguments != stack)
        PyMem_Free(arguments);
    Py_XDECREF(y);
    Py_DECREF(tape);
    return result;
}

/* _array_leaves(tape): for each leaf array that is registered, (the array, flat; its
 * first node; whether its value was assigned since). */
static PyObject *registered_arrays(PyObject *module, PyObject *given)
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

PyMethodDef frame_functions[] = {
    {"_enter", enter, METH_NOARGS, NULL},
    {"_leave", leave, METH_VARARGS, NULL},
    {"_take_back", take_back, METH_VARARGS, NULL},
    {"_is_nested", is_nested, METH_NOARGS, NULL},
    {"_is_recording", is_recording, METH_NOARGS, NULL},
    {"_is_watching", is_watching, METH_NOARGS, NULL},
    {"_refuse_dual", refuse_dual, METH_O, NULL},
    {"_is_open", is_open, METH_O, NULL},
    {"_aliases", aliases, METH_VARARGS, NULL},
    {"_at", at, METH_VARARGS, NULL},
    {"_copy", copy, METH_VARARGS, NULL},
    {"_expand", expand, METH_VARARGS, NULL},
    {"_flat", flat, METH_VARARGS, NULL},
    {"_array_leaves", registered_arrays, METH_O, NULL},
    {"_gradient", native_gradient, METH_VARARGS, NULL},
    {"_record_reverse", record_reverse, METH_VARARGS, NULL},
    {"_record_forward", record_forward, METH_VARARGS, NULL},
    {"_slope", (PyCFunction)(void (*)(void))slope, METH_FASTCALL | METH_KEYWORDS, NULL},
    {NULL, NULL, 0, NULL},
};
