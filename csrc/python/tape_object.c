/* Tape, the Python type: owns a recording and the register of its leaves. The Python
 * class pyad.Tape adds inspection to it. */
#include "guard.h"
#include "array.h"

/* A thread's own tape grows no further than this while nobody can reach what is recorded
 * on it. */
static const size_t ABANDONED_LENGTH = 1 << 20;

/* Elements from which on an elementwise operation waits to be evaluated with those that
 * follow it: where its arrays leave the second cache. */
static size_t waits_from = 16384;

uint64_t tape_new_generation(void)
{
    static uint64_t last = FIRST_GENERATION;
    return ++last;
}

/* ---- life ------------------------------------------------------------------------- */

static PyObject *tape_type_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"max_bytes", NULL};
    PyObject *limit = Py_None;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|O:Tape", names, &limit))
        return NULL;
    size_t max_bytes = limit == Py_None ? 0 : PyLong_AsSize_t(limit);
    if (PyErr_Occurred() || (limit != Py_None && max_bytes == 0)) {
        PyErr_Clear();
        return raise_error(PYAD_ERROR_ARGUMENTS,
                           "max_bytes of a Tape is a positive whole number, or None");
    }
    TapeObject *tape = (TapeObject *)type->tp_alloc(type, 0);
    if (!tape)
        return NULL;
    tape->core = pyad_tape_new(max_bytes);
    if (!tape->core) {
        Py_DECREF(tape);
        return raise_error(PYAD_ERROR_NO_MEMORY);
    }
    tape->core->loops = &numpy_loops;
    tape->core->waits_from = waits_from;
    tape->generation = tape_new_generation();
    return (PyObject *)tape;
}

TapeObject *tape_new(void)
{
    static PyObject *class;
    if (!python_function(&class, "pyad.tape", "Tape"))
        return NULL;
    return (TapeObject *)PyObject_CallNoArgs(class);
}

TapeObject *tape_new_default(void)
{
    TapeObject *tape = tape_new();
    if (tape)
        tape->is_default = 1;
    return tape;
}

/* Unregister the leaves from number `from` on. */
static void unregister(TapeObject *tape, size_t from)
{
    while (tape->leaf_count > from) {
        VarObject *leaf = tape->leaves[--tape->leaf_count].leaf;
        leaf->registrations--;
        if (leaf->tape == tape)
            leaf->tape = &no_tape;
        Py_DECREF(leaf);
    }
}

void tape_end(TapeObject *tape)
{
    if (guards_end_recording(tape) < 0)
        PyErr_Clear();
    storages_settle(tape, 0);
    pyad_tape_clear(tape->core);
    tape->duplicates = 0;
    tape->generation = tape_new_generation();
    if (tape->live)
        tape->live = tape->generation;
    Py_CLEAR(tape->origins);
    unregister(tape, 0);
    storages_unregister(tape, 0);
}

static void tape_dealloc(TapeObject *tape)
{
    guards_forget(tape);
    if (tape->core)
        tape_end(tape);
    PyMem_Free(tape->leaves);
    PyMem_Free(tape->array_leaves);
    PyMem_Free(tape->frames);
    PyMem_RawFree(tape->scratch);
    pyad_tape_free(tape->core);
    Py_TYPE(tape)->tp_free((PyObject *)tape);
}

/* ---- recording -------------------------------------------------------------------- */

int tape_check_idle(const TapeObject *tape)
{
    if (!tape->busy)
        return 0;
    raise_error(PYAD_ERROR_TAPE_BUSY); /* runs Python code: it may be idle by now */
    return -1;
}

int tape_check_owner(const TapeObject *tape, const thread_state *thread)
{
    if (tape->depth && tape->owner != thread) {
        raise_error(PYAD_ERROR_TAPE_BUSY);
        return -1;
    }
    return 0;
}

int tape_make_room(TapeObject *tape, size_t leaves, size_t count)
{
    /* With no handle of it alive the thread alone holds the tape: nothing recorded can be
     * reached. */
    if (tape->is_default && Py_REFCNT(tape) == 1 &&
        tape->core->length >= ABANDONED_LENGTH)
        tape_end(tape);
    if (tape->leaf_count + leaves > tape->leaf_capacity) {
        size_t capacity = 2 * tape->leaf_capacity + leaves + 64;
        leaf_entry *grown = capacity > SIZE_MAX / 4 / sizeof *grown
                                ? NULL
                                : PyMem_Realloc(tape->leaves, capacity * sizeof *grown);
        if (!grown) {
            raise_error(PYAD_ERROR_NO_MEMORY);
            return -1;
        }
        tape->leaves = grown;
        tape->leaf_capacity = capacity;
    }
    int status = pyad_tape_reserve(tape->core, leaves + 1, count);
    if (status)
        raise_error(status);
    return status ? -1 : 0;
}

uint32_t tape_register(TapeObject *tape, VarObject *leaf)
{
    if (leaf->registrations++)
        tape->duplicates = 1;
    leaf->node = pyad_push_node(tape->core, PYAD_OP_LEAF, leaf->value, 0);
    leaf->tape = tape;
    tape->leaves[tape->leaf_count++] =
        (leaf_entry){(VarObject *)Py_NewRef((PyObject *)leaf), leaf->node};
    return leaf->node;
}

/* The lines of nodes from `length` on: others may get their numbers. An exception that is
 * being raised stays. */
static void forget_origins(TapeObject *tape, size_t length)
{
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    for (size_t i = length; i < tape->core->length; i++) {
        PyObject *node = PyLong_FromSize_t(i);
        if (!node || PyDict_DelItem(tape->origins, node) < 0)
            PyErr_Clear();
        Py_XDECREF(node);
    }
    PyErr_Restore(type, value, traceback);
}

void tape_take_back(TapeObject *tape, size_t length, size_t arguments, size_t leaf_count)
{
    if (tape->origins)
        forget_origins(tape, length);
    if (tape->core->guards)
        pyad_guards_truncate(
            tape->core, length,
            tape->leaf_count > leaf_count ||
                (tape->array_leaf_count &&
                 tape->array_leaves[tape->array_leaf_count - 1].start >= length));
    storages_settle(tape, length);
    unregister(tape, leaf_count);
    storages_unregister(tape, length);
    pyad_tape_truncate(tape->core, length, arguments);
    if (guarding_tapes && guard_note_line(tape) < 0)
        PyErr_Clear();
}

/* ---- sweeping --------------------------------------------------------------------- */

void tape_hold(TapeObject *tape)
{
    pyad_tape_settle(tape->core);
    tape->busy = 1;
    tape->live = 0;
}

void tape_release(TapeObject *tape)
{
    thread_state *thread = thread_here();
    tape->busy = 0;
    if (thread && thread->tape == tape)
        thread_refresh(thread);
}

int tape_sweep(TapeObject *tape, uint32_t node, double seed, int keep_all)
{
    if (tape_check_idle(tape) < 0)
        return -1;
    int status, (*sweep)(pyad_tape *, uint32_t, double) =
                    keep_all ? pyad_tape_backward : pyad_tape_backward_lean;
    if (guard_read_tape(tape) < 0)
        return -1; /* its results are numbers */
    storages_hold(tape);
    if (node < SWEEP_HOLDS_LOCK) {
        status = sweep(tape->core, node, seed);
    } else {
        tape_hold(tape);
        Py_BEGIN_ALLOW_THREADS
            status = sweep(tape->core, node, seed);
        Py_END_ALLOW_THREADS
        tape_release(tape);
    }
    if (status)
        raise_error(status);
    else
        tape->adjoint_generation = tape->generation;
    return status ? -1 : 0;
}

/* ---- methods ---------------------------------------------------------------------- */

static PyObject *tape_enter(PyObject *self, PyObject *unused)
{
    (void)unused;
    thread_state *thread = thread_here();
    if (!thread || tape_check_owner((TapeObject *)self, thread) < 0)
        return NULL;
    if (thread->depth == thread->capacity) {
        size_t capacity = 2 * thread->capacity + 8;
        TapeObject **grown =
            PyMem_Realloc(thread->entered, capacity * sizeof *thread->entered);
        if (!grown)
            return raise_error(PYAD_ERROR_NO_MEMORY);
        thread->entered = grown;
        thread->capacity = capacity;
    }
    thread->tape->live = 0;
    thread->entered[thread->depth++] = thread->tape;
    thread->tape = (TapeObject *)Py_NewRef(self);
    thread_refresh(thread);
    return Py_NewRef(self);
}

/* Allocates nothing, so that a block can be left when memory is short. */
static PyObject *tape_exit(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    (void)args, (void)count;
    thread_state *thread = thread_here();
    if (!thread)
        return NULL;
    if (!thread->depth || (PyObject *)thread->tape != self)
        return raise_error(PYAD_ERROR_TAPE_IN_USE);
    thread->tape->live = 0;
    Py_SETREF(thread->tape, thread->entered[--thread->depth]);
    thread_refresh(thread);
    Py_RETURN_NONE;
}

static PyObject *tape_clear(PyObject *self, PyObject *unused)
{
    (void)unused;
    TapeObject *tape = (TapeObject *)self;
    if (tape_check_idle(tape) < 0)
        return NULL;
    if (tape->depth)
        return raise_error(PYAD_ERROR_TAPE_IN_FRAME);
    tape_end(tape);
    Py_RETURN_NONE;
}

/* _hold() gives the address of the pyad_tape to the binding, which calls _release(). */
static PyObject *method_hold(PyObject *self, PyObject *unused)
{
    TapeObject *tape = (TapeObject *)self;
    (void)unused;
    if (tape_check_idle(tape) < 0)
        return NULL;
    PyObject *address = PyLong_FromVoidPtr(tape->core);
    if (address) {
        pyad_tape_store_values(tape->core);
        tape_hold(tape);
    }
    return address;
}

static PyObject *method_release(PyObject *self, PyObject *unused)
{
    (void)unused;
    tape_release((TapeObject *)self);
    Py_RETURN_NONE;
}

/* _leaves(): (leaf, node) for each leaf registered, in the order of their nodes. */
static PyObject *tape_leaves(PyObject *self, PyObject *unused)
{
    TapeObject *tape = (TapeObject *)self;
    PyObject *leaves = PyList_New((Py_ssize_t)tape->leaf_count);
    (void)unused;
    for (size_t i = 0; leaves && i < tape->leaf_count; i++) {
        PyObject *pair =
            Py_BuildValue("(OI)", tape->leaves[i].leaf, tape->leaves[i].node);
        if (pair)
            PyList_SET_ITEM(leaves, (Py_ssize_t)i, pair);
        else
            Py_CLEAR(leaves);
    }
    return leaves;
}

static Py_ssize_t tape_length(PyObject *self)
{
    return (Py_ssize_t)((TapeObject *)self)->core->length;
}

static PyObject *get_has_adjoints(TapeObject *tape, void *closure)
{
    (void)closure;
    return PyBool_FromLong(tape->adjoint_generation == tape->generation);
}

/* _knows(generation): whether handles of that recording stand on the tape. */
static PyObject *tape_has_generation(PyObject *self, PyObject *number)
{
    unsigned long long generation = PyLong_AsUnsignedLongLong(number);
    if (PyErr_Occurred())
        return NULL;
    return PyBool_FromLong(tape_knows((TapeObject *)self, generation));
}

static PyObject *get_generation(TapeObject *tape, void *closure)
{
    (void)closure;
    return PyLong_FromUnsignedLongLong(tape->generation);
}

/* {node: "file:line"} of what was recorded under detect_anomaly, or None. */
static PyObject *get_origins(TapeObject *tape, void *closure)
{
    (void)closure;
    return tape->origins ? PyDict_Copy(tape->origins) : Py_NewRef(Py_None);
}

static PyObject *get_nbytes(TapeObject *tape, void *closure)
{
    (void)closure;
    return PyLong_FromSize_t(pyad_tape_nbytes(tape->core));
}

/* _waits_from(count): sets from how many elements on an elementwise operation waits to be
 * evaluated, 0 for never, on this tape and all that are made from now on; gives what it
 * was. For tests. */
static PyObject *method_waits_from(PyObject *self, PyObject *count)
{
    size_t before = waits_from, given = PyLong_AsSize_t(count);
    if (PyErr_Occurred())
        return NULL;
    ((TapeObject *)self)->core->waits_from = waits_from = given;
    return PyLong_FromSize_t(before);
}

static PyMethodDef tape_methods[] = {
    {"__enter__", tape_enter, METH_NOARGS, NULL},
    {"__exit__", (PyCFunction)(void (*)(void))tape_exit, METH_FASTCALL, NULL},
    {"clear", tape_clear, METH_NOARGS,
     "clear()\n--\n\nForget the recording. Variables computed in it keep their values "
     "only."},
    {"_hold", method_hold, METH_NOARGS, NULL},
    {"_release", method_release, METH_NOARGS, NULL},
    {"_knows", tape_has_generation, METH_O, NULL},
    {"_leaves", tape_leaves, METH_NOARGS, NULL},
    {"_waits_from", method_waits_from, METH_O, NULL},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef tape_getset[] = {
    {"nbytes", (getter)get_nbytes, NULL,
     "Bytes of the recording: 37 for a binary operation, 25 for a unary one, 13 for a "
     "leaf.",
     NULL},
    {"_generation", (getter)get_generation, NULL, NULL, NULL},
    {"_origins", (getter)get_origins, NULL, NULL, NULL},
    {"_has_adjoints", (getter)get_has_adjoints, NULL, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PySequenceMethods tape_as_sequence = {.sq_length = tape_length};

PyTypeObject Tape_Type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "pyad._handle.Tape",
    .tp_basicsize = sizeof(TapeObject),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
    .tp_new = tape_type_new,
    .tp_dealloc = (destructor)tape_dealloc,
    .tp_methods = tape_methods,
    .tp_getset = tape_getset,
    .tp_as_sequence = &tape_as_sequence,
};
