/* Frames: stretches of a recording that transforms make and leave. grad(f)(x) enters one,
 * gives f an alias of x that is a node of its own, and so never confuses it with a
 * variable of a transform around it; what f uses of the recording below is a constant to
 * the sweep. If f used nothing from outside, the sweep is native, the result a float, and
 * the frame is taken back; else the sweep is recorded and the frame stays part of the
 * recording around it. Handles of a frame that was left are stale. */
#include <math.h>
#include <string.h>

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
    return !frame->no_grad && (tape->leaf_count > frame->leaf_count ||
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

static PyObject *aliases(PyObject *module, PyObject *args)
{
    PyObject *given, *xs;
    (void)module;
    if (!PyArg_ParseTuple(args, "OO!", &given, &PyList_Type, &xs) || !framed(given))
        return NULL;
    Py_ssize_t count = PyList_GET_SIZE(xs);
    PyObject *result = PyList_New(count);
    for (Py_ssize_t i = 0; result && i < count; i++) {
        PyObject *alias = alias_of((TapeObject *)given, PyList_GET_ITEM(xs, i));
        if (alias)
            PyList_SET_ITEM(result, i, alias);
        else
            Py_CLEAR(result);
    }
    return result;
}

/* ---- the native gradient
 * ------------------------------------------------------------------------- */

/* A result of a recording that has ended, which must not count as a constant. */
static int is_stale(const VarObject *y)
{
    return is_intermediate(y) && !tape_knows(y->tape, y->generation);
}

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
    memset(tape->scratch, 0, count * sizeof(double));
    return tape->scratch;
}

/* Under detect_anomaly: raise if an adjoint that a reverse sweep from `from` on left in
 * rows, or what it passed on, is not finite. */
static int check_adjoints(TapeObject *tape, size_t from, const double *rows)
{
    const pyad_tape *core = tape->core;
    for (size_t i = core->length; i-- > from;) {
        double own = rows[i - from + 1];
        int bad = !isfinite(own);
        for (size_t k = core->first[i]; own != 0 && k < core->first[i + 1]; k++)
            bad |= core->indices[k] != PYAD_CONSTANT && core->indices[k] >= from &&
                   !isfinite(own * core->weights[k]);
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
    if (!is_var(y) || ((VarObject *)y)->generation != tape->generation)
        return 0;
    thread_state *thread = thread_here();
    if (!thread)
        return -1;
    rows[((VarObject *)y)->node - from + 1] = seed;
    tape_hold(tape);
    if (count < SWEEP_HOLDS_LOCK) {
        pyad_tape_reverse(tape->core, from, 1, rows);
    } else {
        Py_BEGIN_ALLOW_THREADS
            pyad_tape_reverse(tape->core, from, 1, rows);
        Py_END_ALLOW_THREADS
    }
    tape_release(tape);
    return thread->anomaly ? check_adjoints(tape, from, rows) : 0;
}

static double adjoint_of(const TapeObject *tape, PyObject *alias)
{
    return tape
        ->scratch[((VarObject *)alias)->node - tape->frames[tape->depth - 1].length + 1];
}

/* _gradient(tape, y, aliases, seed): the adjoints of the aliases, as floats. */
static PyObject *native_gradient(PyObject *module, PyObject *args)
{
    PyObject *given, *y, *xs;
    double seed;
    (void)module;
    if (!PyArg_ParseTuple(args, "OOO!d", &given, &y, &PyList_Type, &xs, &seed) ||
        !framed(given))
        return NULL;
    TapeObject *tape = (TapeObject *)given;
    if (sweep_frame(tape, y, seed) < 0)
        return NULL;
    Py_ssize_t count = PyList_GET_SIZE(xs);
    PyObject *result = PyList_New(count);
    for (Py_ssize_t i = 0; result && i < count; i++) {
        PyObject *number = PyFloat_FromDouble(adjoint_of(tape, PyList_GET_ITEM(xs, i)));
        if (number)
            PyList_SET_ITEM(result, i, number);
        else
            Py_CLEAR(result);
    }
    return result;
}

/* ---- recorded sweeps
 * ------------------------------------------------------------------------------ */

/* A handle of what was recorded last, a float for a constant: new reference. */
static PyObject *handle_of(TapeObject *tape, pyad_operand x)
{
    if (x.node == PYAD_CONSTANT)
        return PyFloat_FromDouble(x.value);
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
    return handle_of(tape, (pyad_operand){tape->core->values[node], node});
}

/* A number or a variable of this tape as an operand. A leaf registers itself. */
static int operand_of(TapeObject *tape, PyObject *x, pyad_operand *operand)
{
    VarObject *v = (VarObject *)x;
    operand->node = PYAD_CONSTANT;
    if (is_dual(x)) {
        dual_refuse(x, "a transform");
        return -1;
    }
    if (!is_var(x) || v->generation == CONSTANT_GENERATION)
        return need_number(x, "a seed", &operand->value);
    operand->value = v->value;
    if (is_intermediate(v) && (v->tape != tape || !tape_knows(tape, v->generation))) {
        raise_error(PYAD_ERROR_OTHER_TAPE);
        return -1;
    }
    if (!is_intermediate(v) && v->tape != tape && tape_make_room(tape, 1, 0) < 0)
        return -1;
    operand->node =
        is_intermediate(v) || v->tape == tape ? v->node : tape_register(tape, v);
    return 0;
}

/* What a recorded sweep is asked for: `count` variables, seeds for each (or one), a
 * result. */
typedef struct {
    TapeObject *tape;
    size_t from, count;
    pyad_operand result;
    uint32_t *variables;
    pyad_operand *numbers; /* `count` + 1 of them */
} sweep_request;

static void request_free(sweep_request *r)
{
    PyMem_Free(r->variables);
    PyMem_Free(r->numbers);
}

/* From (tape, from, result node, [node, ...], [seed, ...]); -1 with an exception and
 * nothing to free. */
static int request_read(sweep_request *r, PyObject *args)
{
    PyObject *given, *nodes, *seeds;
    Py_ssize_t from;
    unsigned int node;
    if (!PyArg_ParseTuple(args, "O!nIO!O!", &Tape_Type, &given, &from, &node,
                          &PyList_Type, &nodes, &PyList_Type, &seeds))
        return -1;
    *r = (sweep_request){.tape = (TapeObject *)given,
                         .from = (size_t)from,
                         .count = (size_t)PyList_GET_SIZE(nodes)};
    r->result = (pyad_operand){0, node};
    if (node < r->tape->core->length)
        r->result.value = r->tape->core->values[node];
    r->variables = PyMem_Calloc(r->count + 1, sizeof *r->variables);
    r->numbers = PyMem_Calloc(r->count + 1, sizeof *r->numbers);
    int status = r->variables && r->numbers ? 0 : -1;
    if (status < 0)
        raise_error(PYAD_ERROR_NO_MEMORY);
    for (size_t i = 0; status == 0 && i < r->count; i++) {
        r->variables[i] =
            (uint32_t)PyLong_AsUnsignedLong(PyList_GET_ITEM(nodes, (Py_ssize_t)i));
        status = PyErr_Occurred() ? -1 : 0;
    }
    for (Py_ssize_t i = 0;
         status == 0 && i < PyList_GET_SIZE(seeds) && i <= (Py_ssize_t)r->count; i++)
        status = operand_of(r->tape, PyList_GET_ITEM(seeds, i), &r->numbers[i]);
    if (status < 0)
        request_free(r);
    return status;
}

/* Under detect_anomaly a sweep is made natively before it is recorded, which names the
 * operation: `forward`, or reverse with the first number for a seed. */
static int watch(const sweep_request *r, int forward)
{
    thread_state *thread = thread_here();
    size_t length = r->tape->core->length;
    uint32_t node = r->result.node;
    if (!thread || !thread->anomaly || node < r->from || node >= length)
        return thread ? 0 : -1;
    double *rows = scratch(r->tape, length - r->from + 1);
    if (!rows)
        return -1;
    if (!forward) {
        rows[node - r->from + 1] = r->numbers[0].value;
        pyad_tape_reverse(r->tape->core, r->from, 1, rows);
        return check_adjoints(r->tape, r->from, rows);
    }
    for (size_t i = 0; i < r->count; i++)
        if (r->variables[i] >= r->from && r->variables[i] < length)
            rows[r->variables[i] - r->from + 1] += r->numbers[i].value;
    pyad_tape_forward(r->tape->core, r->from, 1, rows);
    return check_tangent(r->tape, r->from, rows, node);
}

/* _record_reverse(tape, from, result, variables, [seed]): the adjoints, as variables or
 * floats. */
static PyObject *record_reverse(PyObject *module, PyObject *args)
{
    sweep_request r;
    (void)module;
    if (request_read(&r, args) < 0)
        return NULL;
    size_t length = r.tape->core->length, arguments = r.tape->core->arguments;
    pyad_operand seed = r.numbers[0];
    int bad = watch(&r, 0), status = PYAD_OK;
    if (!bad)
        status = pyad_tape_record_reverse(r.tape->core, r.from, r.result, seed, r.count,
                                          r.variables, r.numbers);
    PyObject *result = bad      ? NULL
                       : status ? raise_error(status)
                                : PyList_New((Py_ssize_t)r.count);
    for (size_t i = 0; result && i < r.count; i++) {
        PyObject *adjoint = handle_of(r.tape, r.numbers[i]);
        if (adjoint)
            PyList_SET_ITEM(result, (Py_ssize_t)i, adjoint);
        else
            Py_CLEAR(result);
    }
    if (!result)
        tape_take_back(r.tape, length, arguments, r.tape->leaf_count);
    request_free(&r);
    return result;
}

/* _record_forward(tape, from, result, variables, seeds): the tangent, as a variable or a
 * float. */
static PyObject *record_forward(PyObject *module, PyObject *args)
{
    sweep_request r;
    pyad_operand tangent;
    (void)module;
    if (request_read(&r, args) < 0)
        return NULL;
    size_t length = r.tape->core->length, arguments = r.tape->core->arguments;
    int bad = watch(&r, 1), status = PYAD_OK;
    if (!bad)
        status = pyad_tape_record_forward(r.tape->core, r.from, r.count, r.variables,
                                          r.numbers, r.result, &tangent);
    PyObject *result = bad      ? NULL
                       : status ? raise_error(status)
                                : handle_of(r.tape, tangent);
    if (!result)
        tape_take_back(r.tape, length, arguments, r.tape->leaf_count);
    request_free(&r);
    return result;
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

/* ---- the quick way of grad
 * ------------------------------------------------------------------------- */

/* (value, derivative) of a frame that is open, which is left here: both variables of the
 * recording around. */
static PyObject *slope_of_open(TapeObject *tape, thread_state *thread, VarObject *y,
                               VarObject *alias)
{
    tape_frame frame = tape->frames[tape->depth - 1];
    uint32_t variable = alias->node;
    int depends = y->generation == tape->generation;
    pyad_operand result = {y->value, depends ? y->node : PYAD_CONSTANT},
                 adjoint = {0, PYAD_CONSTANT};
    if (thread->anomaly && sweep_frame(tape, (PyObject *)y, 1.0) < 0) {
        frame_leave(tape, thread, 0);
        return NULL;
    }
    frame_leave(tape, thread, 1);
    int status = pyad_tape_record_reverse(tape->core, frame.length, result,
                                          (pyad_operand){1, PYAD_CONSTANT}, 1, &variable,
                                          &adjoint);
    if (status)
        raise_error(status);
    PyObject *value = status    ? NULL
                      : depends ? handle_of(tape, result)
                                : Py_NewRef((PyObject *)y);
    PyObject *derivative = value ? handle_of(tape, adjoint) : NULL;
    PyObject *both = derivative ? PyTuple_Pack(2, value, derivative) : NULL;
    Py_XDECREF(value);
    Py_XDECREF(derivative);
    if (!both)
        tape_take_back(tape, frame.length, frame.arguments, frame.leaf_count);
    return both;
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
                          PyObject *alias)
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
        both = slope_of_open(tape, thread, (VarObject *)y, (VarObject *)alias);
        Py_DECREF(y);
        return both;
    } else if (sweep_frame(tape, y, 1.0) == 0) {
        PyObject *value =
            is_var(y) ? PyFloat_FromDouble(((VarObject *)y)->value) : PyNumber_Float(y);
        both = value ? Py_BuildValue("(Nd)", value, adjoint_of(tape, alias)) : NULL;
    }
    Py_DECREF(y);
    frame_leave(tape, thread, 0);
    return both;
}

/* _slope(f, x, *rest, **kwargs): (value, derivative) of f in its first argument, one
 * number. */
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
    PyObject *alias = alias_of(tape, args[1]), *y = NULL, *result = NULL;
    arguments[0] = alias;
    if (alias)
        y = PyObject_Vectorcall(args[0], arguments, (size_t)count - 1, names);
    if (y)
        result = slope_of(tape, thread, y, alias);
    else
        frame_leave(tape, thread, 0);
    if (arguments != stack)
        PyMem_Free(arguments);
    Py_XDECREF(y);
    Py_XDECREF(alias);
    Py_DECREF(tape);
    return result;
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
    {"_gradient", native_gradient, METH_VARARGS, NULL},
    {"_record_reverse", record_reverse, METH_VARARGS, NULL},
    {"_record_forward", record_forward, METH_VARARGS, NULL},
    {"_slope", (PyCFunction)(void (*)(void))slope, METH_FASTCALL | METH_KEYWORDS, NULL},
    {NULL, NULL, 0, NULL},
};
