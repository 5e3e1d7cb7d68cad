/* Frames: stretches of a recording that transforms make and leave. grad(f)(x) enters one,
 * gives f an alias of x that is a node of its own, and so never confuses it with a
 * variable of a transform around it; what f uses of the recording below is a constant to
 * the sweep. If f used nothing from outside, the sweep is native, the result a float, and
 * the frame is taken back; else the sweep is recorded and the frame stays part of the
 * recording around it. Handles of a frame that was left are stale. */
#include <string.h>

#include "dual.h"
#include "frame.h"

/* ---- entering and leaving ---------------------------------------------------------- */

int frame_enter(TapeObject *tape, thread_state *thread)
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
    if (thread->no_grad && guard_read_tape(tape) < 0)
        return -1; /* its results are constants */
    tape->frames[tape->depth++] =
        (tape_frame){tape->generation, tape->core->length, tape->core->arguments,
                     tape->leaf_count, thread->no_grad};
    thread->no_grad = 0;
    tape->owner = thread;
    tape->generation = tape_new_generation();
    thread_refresh(thread);
    return 0;
}

void frame_leave(TapeObject *tape, thread_state *thread, int keep)
{
    tape_frame frame = tape->frames[--tape->depth];
    if (!keep)
        tape_take_back(tape, frame.length, frame.arguments, frame.leaf_count);
    tape->generation = frame.generation;
    thread->no_grad = frame.no_grad;
    thread_refresh(thread);
}

int frame_is_open(const TapeObject *tape)
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

TapeObject *frame_check(PyObject *tape)
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
    if (!thread || !PyArg_ParseTuple(args, "Op", &given, &keep) || !frame_check(given))
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
    return frame_check(given) ? PyBool_FromLong(frame_is_open((TapeObject *)given))
                              : NULL;
}

/* ---- aliases ----------------------------------------------------------------------- */

PyObject *frame_alias(TapeObject *tape, PyObject *x)
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

PyObject *frame_array_alias(TapeObject *tape, PyObject *x, uint32_t *start)
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

/* _aliases(tape, [number or array, ...]): their handles, and an ndarray of a row (node,
 * count) for each, with count -1 for a number. */
static PyObject *aliases(PyObject *module, PyObject *args)
{
    PyObject *given, *xs;
    (void)module;
    if (!PyArg_ParseTuple(args, "OO!", &given, &PyList_Type, &xs) || !frame_check(given))
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
        PyObject *alias =
            array ? frame_array_alias(tape, x, &node) : frame_alias(tape, x);
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
    {"_at", frame_at, METH_VARARGS, NULL},
    {"_copy", frame_copy, METH_VARARGS, NULL},
    {"_expand", frame_expand, METH_VARARGS, NULL},
    {"_flat", frame_flat, METH_VARARGS, NULL},
    {"_array_leaves", frame_array_leaves, METH_O, NULL},
    {"_gradient", frame_gradient, METH_VARARGS, NULL},
    {"_record_reverse", frame_record_reverse, METH_VARARGS, NULL},
    {"_record_forward", frame_record_forward, METH_VARARGS, NULL},
    {"_slope", (PyCFunction)(void (*)(void))frame_slope, METH_FASTCALL, NULL},
    {NULL, NULL, 0, NULL},
};
