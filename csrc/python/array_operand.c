/* Operands of array operations: arrays, variables, numbers and whatever NumPy takes for
 * an array of numbers; the tape that they decide; and their numbers as a kernel wants
 * them: contiguous, of the shape of the result. An operation that fails leaves the tape
 * as it was. */
#include <math.h>
#include <string.h>

#include "../buffer.h"
#include "array.h"
#include "dual.h"

/* ---- reading ---------------------------------------------------------------------- */

static int operand_of_array(array_operand *x, ArrayObject *a)
{
    x->array = a;
    x->ndim = a->ndim;
    x->shape = array_shape(a);
    return 1;
}

/* What NumPy takes for an array of real numbers, as floats. */
static int operand_of_plain(array_operand *x, PyObject *given, const char *what)
{
    PyArrayObject *plain = (PyArrayObject *)PyArray_FROM_O(given);
    if (!plain)
        return -1;
    int type = PyArray_TYPE(plain);
    if (type == NPY_OBJECT) {
        ArrayObject *a = array_from((PyObject *)plain, what);
        Py_DECREF(plain);
        return a ? operand_of_array(x, a) : -1;
    }
    if (!PyTypeNum_ISBOOL(type) && !PyTypeNum_ISINTEGER(type) &&
        !PyTypeNum_ISFLOAT(type)) {
        PyObject *name = PyObject_Str((PyObject *)PyArray_DESCR(plain));
        PyErr_Clear();
        PyObject *text = PyUnicode_FromFormat("an array of %s", message_text(name));
        raise_error(PYAD_ERROR_NOT_A_NUMBER, what, message_text(text),
                    ": convert it with array.astype(float), or take its real part");
        Py_XDECREF(name);
        Py_XDECREF(text);
        Py_DECREF(plain);
        return -1;
    }
    x->plain = (PyArrayObject *)PyArray_FROMANY(
        (PyObject *)plain, NPY_DOUBLE, 0, 0,
        NPY_ARRAY_CARRAY_RO | NPY_ARRAY_FORCECAST | NPY_ARRAY_ENSUREARRAY);
    Py_DECREF(plain);
    if (!x->plain)
        return -1;
    x->ndim = PyArray_NDIM(x->plain);
    x->shape = PyArray_DIMS(x->plain);
    return 1;
}

int array_operand_read(array_operand *x, PyObject *given, const char *what)
{
    *x = (array_operand){.shape = NULL};
    if (is_array(given))
        return operand_of_array(x, (ArrayObject *)Py_NewRef(given));
    if (quick_number(given, &x->number))
        return 1;
    if (is_var(given)) {
        x->var = (VarObject *)given;
        x->number = x->var->value;
        return 1;
    }
    if (is_dual(given)) {
        dual_refuse(given, what);
        return -1;
    }
    if (PyArray_Check(given) || PyArray_IsScalar(given, Generic) || PyList_Check(given) ||
        PyTuple_Check(given))
        return operand_of_plain(x, given, what);
    return number_as_double(given, what, &x->number);
}

void array_operand_release(array_operand *x)
{
    Py_XDECREF((PyObject *)x->array);
    Py_XDECREF((PyObject *)x->plain);
}

/* ---- the tape --------------------------------------------------------------------- */

static int take_tape(array_operands *o, TapeObject *tape)
{
    if (o->tape && o->tape != tape) {
        raise_error(PYAD_ERROR_MIXED_TAPES, o->name);
        return -1;
    }
    o->tape = tape;
    return 0;
}

int array_operands_open(array_operands *o)
{
    thread_state *thread = thread_here();
    size_t leaves = 0, var_leaves = 0;
    o->tape = NULL;
    if (!thread)
        return -1;
    for (size_t i = 0; i < o->count && thread->no_grad && guarding_tapes; i++)
        if ((o->x[i].array && guard_read_array(o->x[i].array) < 0) ||
            (o->x[i].var && guard_read((PyObject *)o->x[i].var) < 0))
            return -1; /* the result is a constant */
    for (size_t i = 0; i < o->count && !thread->no_grad; i++) {
        const array_operand *x = &o->x[i];
        if (x->array) {
            const Storage *s = x->array->storage;
            if (storage_is_recorded(s)) {
                if (storage_check(s) < 0 || take_tape(o, s->tape) < 0)
                    return -1;
            } else if (s->lost) {
                raise_error(PYAD_ERROR_NO_MEMORY);
                return -1;
            }
            leaves += s->generation == LEAF_GENERATION;
        } else if (x->var) {
            if (is_intermediate(x->var)) {
                if (!tape_knows(x->var->tape, x->var->generation))
                    return raise_stale(x->var);
                if (take_tape(o, x->var->tape) < 0)
                    return -1;
            }
            var_leaves += x->var->generation == LEAF_GENERATION;
        }
    }
    if ((leaves || var_leaves) && !o->tape)
        o->tape = thread->tape;
    if (!o->tape)
        return 0;
    if (tape_check_idle(o->tape) < 0 || tape_make_room(o->tape, var_leaves, 0) < 0)
        return -1;
    o->length = o->tape->core->length;
    o->arguments = o->tape->core->arguments;
    o->leaf_count = o->tape->leaf_count;
    for (size_t i = 0; i < o->count; i++) {
        const array_operand *x = &o->x[i];
        if (x->var && x->var->generation == LEAF_GENERATION && x->var->tape != o->tape)
            tape_register(o->tape, x->var);
    }
    return 0;
}

void array_operands_undo(array_operands *o)
{
    if (o->tape)
        tape_take_back(o->tape, o->length, o->arguments, o->leaf_count);
}

/* ---- shapes ----------------------------------------------------------------------- */

static int raise_shapes(size_t count, const array_operand *x)
{
    PyObject *text = PyUnicode_FromString("");
    for (size_t i = 0; text && i < count; i++) {
        PyObject *shape = shape_tuple(x[i].ndim, x[i].shape);
        PyObject *longer =
            shape ? PyUnicode_FromFormat("%U%s%R", text, i ? " and " : "", shape) : NULL;
        Py_XDECREF(shape);
        Py_SETREF(text, longer);
    }
    if (text)
        raise_error(PYAD_ERROR_BROADCAST, message_text(text));
    Py_XDECREF(text);
    return -1;
}

int broadcast_shapes(size_t count, const array_operand *x, int *ndim, Py_ssize_t *shape)
{
    *ndim = 0;
    for (size_t i = 0; i < count; i++)
        *ndim = x[i].ndim > *ndim ? x[i].ndim : *ndim;
    for (int k = 0; k < *ndim; k++)
        shape[k] = 1;
    for (size_t i = 0; i < count; i++)
        for (int k = 0; k < x[i].ndim; k++) {
            Py_ssize_t *side = &shape[*ndim - x[i].ndim + k], given = x[i].shape[k];
            if (*side == 1)
                *side = given;
            else if (given != 1 && given != *side)
                return raise_shapes(count, x);
        }
    return shape_check(*ndim, shape);
}

static int same_shape(const array_operand *x, int ndim, const Py_ssize_t *shape)
{
    for (int i = 0; x->ndim == ndim && i < ndim; i++)
        if (x->shape[i] != shape[i])
            return 0;
    return x->ndim == ndim;
}

/* ---- vectors ---------------------------------------------------------------------- */

/* All of a block. */
static pyad_vector vector_of_block(const TapeObject *tape, uint32_t block)
{
    const pyad_block *b = &tape->core->blocks[block];
    return (pyad_vector){.node = b->start, .block = block, .step = 1, .count = b->count};
}

/* Strides of an array seen as of the shape it broadcasts to. */
static void broadcast_strides(const ArrayObject *a, int ndim, int64_t *strides)
{
    ArrayObject *view = (ArrayObject *)a;
    for (int i = 0; i < ndim; i++) {
        int k = i - (ndim - a->ndim);
        int spread = k < 0 || array_shape(view)[k] == 1;
        strides[i] = spread ? 0 : array_strides(view)[k];
    }
}

static int is_whole(const ArrayObject *a)
{
    return a->contiguous && (size_t)a->size == a->storage->size;
}

/* The block that was made of the same storage for another operand, or PYAD_NO_BLOCK. */
static uint32_t gathered_before(const array_operands *o, const ArrayObject *a)
{
    for (size_t i = 0; i < o->count; i++)
        if (o->x[i].gathered && o->x[i].array->storage == a->storage)
            return o->x[i].block;
    return PYAD_NO_BLOCK;
}

/* Nodes one by one: a LINEAR block makes a run of them. If that is the whole storage, the
 * storage becomes the run when the operation has been recorded. */
static int vector_of_rows(array_operands *o, array_operand *x, pyad_vector *v)
{
    ArrayObject *a = x->array;
    PyArrayObject *values, *rows;
    uint32_t block = is_whole(a) ? gathered_before(o, a) : PYAD_NO_BLOCK;
    if (block != PYAD_NO_BLOCK) {
        *v = vector_of_block(o->tape, block);
        return 0;
    }
    if (array_parts(a, o->tape, &values, &rows) < 0)
        return -1;
    const size_t size = (size_t)a->size;
    const uint32_t *row = PyArray_DATA(rows);
    int status = array_check_rows(size, row);
    if (status == 0)
        status = pyad_block_linear(o->tape->core, size, PyArray_DATA(values), NULL, size,
                                   row, NULL, &block);
    if (status > 0)
        raise_error(status);
    Py_DECREF(values);
    Py_DECREF(rows);
    if (status)
        return -1;
    *v = vector_of_block(o->tape, block);
    x->gathered = is_whole(a);
    x->block = block;
    return 0;
}

void array_operands_keep(array_operands *o)
{
    for (size_t i = 0; i < o->count; i++) {
        const array_operand *x = &o->x[i];
        Storage *s = x->gathered ? x->array->storage : NULL;
        if (s && s->rows && s->tape == o->tape && s->generation == o->tape->generation)
            storage_become_run(s, o->tape, x->block,
                               o->tape->core->blocks[x->block].start);
    }
}

/* An array on the tape, of this shape or broadcast to it. */
static int vector_of_nodes(array_operands *o, array_operand *x, int ndim,
                           const Py_ssize_t *shape, pyad_vector *v)
{
    ArrayObject *a = x->array;
    Storage *s = a->storage;
    int64_t sides[NPY_MAXDIMS], strides[NPY_MAXDIMS];
    uint32_t block;
    if (s->generation == LEAF_GENERATION && storage_register(s, o->tape) < 0)
        return -1;
    Py_ssize_t size = shape_size(ndim, shape);
    pyad_vector whole = {
        .node = s->start, .block = s->block, .step = 1, .count = s->size};
    int64_t offset = a->offset;
    if (s->rows) {
        if (vector_of_rows(o, x, &whole) < 0)
            return -1;
        if (a->size == size) {
            *v = whole;
            return 0;
        }
        Py_ssize_t step = 1; /* what was gathered is contiguous */
        for (int i = ndim; i-- > 0;) {
            int k = i - (ndim - a->ndim);
            Py_ssize_t side = k < 0 ? 1 : array_shape(a)[k];
            strides[i] = side == 1 ? 0 : step;
            step *= side;
        }
        offset = 0;
    } else {
        if (a->contiguous && a->size == size) {
            *v = whole;
            v->node += (uint32_t)a->offset;
            v->count = (size_t)size;
            return 0;
        }
        if (a->size == 1) {
            *v = whole;
            v->node += (uint32_t)a->offset;
            v->count = 1;
            v->step = 0;
            pyad_block_mark(o->tape->core, s->block);
            return 0;
        }
        broadcast_strides(a, ndim, strides);
    }
    for (int i = 0; i < ndim; i++)
        sides[i] = shape[i];
    int status = pyad_block_spread(o->tape->core, whole, (size_t)ndim, sides, strides,
                                   offset, &block);
    if (status) {
        raise_error(status);
        return -1;
    }
    *v = vector_of_block(o->tape, block);
    return 0;
}

/* Numbers that are constants here, contiguous and of the shape. */
static int vector_of_numbers(PyArrayObject *from, int ndim, const Py_ssize_t *shape,
                             pyad_vector *v, void **scratch)
{
    PyArrayObject *full =
        (PyArrayObject *)PyArray_SimpleNew(ndim, (npy_intp *)shape, NPY_DOUBLE);
    if (!full || PyArray_CopyInto(full, from) < 0) {
        Py_XDECREF(full);
        return -1;
    }
    *scratch = full;
    *v = (pyad_vector){.values = PyArray_DATA(full),
                       .node = PYAD_CONSTANT,
                       .block = PYAD_NO_BLOCK,
                       .step = 1,
                       .count = (size_t)PyArray_SIZE(full)};
    return 0;
}

int array_operand_vector(array_operands *o, array_operand *x, int ndim,
                         const Py_ssize_t *shape, pyad_vector *v, void **scratch)
{
    *scratch = NULL;
    *v = (pyad_vector){.values = &x->number,
                       .node = PYAD_CONSTANT,
                       .block = PYAD_NO_BLOCK,
                       .step = 0,
                       .count = 1};
    if (x->plain) {
        Py_ssize_t size = PyArray_SIZE(x->plain);
        v->values = PyArray_DATA(x->plain);
        if (size == 1)
            return 0;
        v->step = 1;
        v->count = (size_t)size;
        return same_shape(x, ndim, shape)
                   ? 0
                   : vector_of_numbers(x->plain, ndim, shape, v, scratch);
    }
    if (x->array) {
        ArrayObject *a = x->array;
        if (o->tape && a->storage->generation != CONSTANT_GENERATION)
            return vector_of_nodes(o, x, ndim, shape, v);
        if (a->storage->lost) {
            raise_error(PYAD_ERROR_NO_MEMORY);
            return -1;
        }
        if (a->size == 1 || (a->contiguous && same_shape(x, ndim, shape))) {
            v->values = storage_values(a->storage) + a->offset;
            v->step = a->size != 1;
            v->count = (size_t)a->size;
            return 0;
        }
        PyArrayObject *view = array_values_view(a);
        int status = view ? vector_of_numbers(view, ndim, shape, v, scratch) : -1;
        Py_XDECREF(view);
        return status;
    }
    if (x->var && o->tape && x->var->generation != CONSTANT_GENERATION) {
        v->node = x->var->node;
        v->block = pyad_tape_block_of(o->tape->core, v->node);
    }
    return 0;
}

/* ---- finishing -------------------------------------------------------------------- */

/* The line of a node, or of a block where it starts. */
static int note_line(TapeObject *tape, size_t node, PyObject *line)
{
    PyObject *key = PyLong_FromSize_t(node);
    int status = key ? PyDict_SetItem(tape->origins, key, line) : -1;
    Py_XDECREF(key);
    return status;
}

/* Of what was registered for the operation: leaves, and the gathers of its operands. */
static int note_lines(const array_operands *o, size_t end, PyObject *line)
{
    const pyad_tape *core = o->tape->core;
    for (size_t i = o->length; i < end;) {
        uint32_t block = pyad_tape_block_of(core, (uint32_t)i);
        if (note_line(o->tape, i, line) < 0)
            return -1;
        i += block == PYAD_NO_BLOCK ? 1 : core->blocks[block].count;
    }
    return 0;
}

int array_operands_watch(array_operands *o, uint32_t block, PyObject *shapes)
{
    static PyObject *note;
    const pyad_block *b = &o->tape->core->blocks[block];
    const double *values = pyad_block_values(o->tape->core, block);
    uint32_t bad = 0, start = b->start;
    while (bad < b->count && isfinite(values[bad]))
        bad++;
    int is_bad = bad < b->count;
    if (!o->tape->origins && !(o->tape->origins = PyDict_New()))
        return -1;
    if (guard_read_tape(o->tape) < 0)
        return -1;
    if (!python_function(&note, "pyad.modes", "note_array"))
        return -1;
    PyObject *entry = PyObject_CallFunction(note, "sOId", o->name, shapes, bad,
                                            is_bad ? values[bad] : 0.0);
    PyObject *line = NULL, *text = NULL;
    int status = entry && PyArg_ParseTuple(entry, "UsOU", &line, &(const char *){NULL},
                                           &(PyObject *){NULL}, &text)
                     ? 0
                     : -1;
    if (status == 0 && is_bad) {
        raise_error(PYAD_ERROR_BAD_VALUE, o->name, message_text(text),
                    message_text(line));
        status = -1;
    }
    if (status == 0 && note_lines(o, start, line) < 0)
        status = -1;
    if (status == 0)
        status = note_line(o->tape, start, entry);
    Py_XDECREF(entry);
    return status;
}

static int watch(array_operands *o, uint32_t block, int ndim, const Py_ssize_t *shape)
{
    PyObject *sides = shape_tuple(ndim, shape);
    PyObject *shapes = sides ? PyTuple_Pack(1, sides) : NULL;
    int status = shapes ? array_operands_watch(o, block, shapes) : -1;
    Py_XDECREF(sides);
    Py_XDECREF(shapes);
    return status;
}

PyObject *array_operands_finish(array_operands *o, int status, uint32_t block, int ndim,
                                const Py_ssize_t *shape)
{
    thread_state *thread = thread_here();
    PyObject *result = NULL;
    if (status && thread) {
        if (status > 0)
            raise_error(status);
    } else if (thread && !(thread->anomaly && watch(o, block, ndim, shape) < 0)) {
        result = array_of_block(o->tape, block, ndim, shape);
    }
    if (result)
        array_operands_keep(o);
    else
        array_operands_undo(o);
    return result;
}
