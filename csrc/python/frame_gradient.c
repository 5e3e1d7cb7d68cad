/* The gradient of a frame by a native sweep, and the quick way of grad(f)(x), all of it
 * in C. See frame.h. */
#include <math.h>
#include <string.h>

#include "dual.h"
#include "frame.h"

/* ---- the native gradient ----------------------------------------------------------- */

int frame_is_stale(const VarObject *y)
{
    return is_intermediate(y) && !tape_knows(y->tape, y->generation);
}

double *frame_scratch(TapeObject *tape, size_t count)
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

int frame_check_adjoints(TapeObject *tape, size_t from, const double *rows)
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
int frame_check_tangent(TapeObject *tape, size_t from, const double *rows, uint32_t node)
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

int frame_sweep(TapeObject *tape, PyObject *y, double seed)
{
    size_t from = tape->frames[tape->depth - 1].length;
    size_t count = tape->core->length - from;
    double *rows = frame_scratch(tape, count + 1);
    if (!rows)
        return -1;
    if (is_var(y) && frame_is_stale((VarObject *)y))
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
           : has_node && thread->anomaly ? frame_check_adjoints(tape, from, rows)
                                         : 0;
}

PyObject *frame_adjoint(const TapeObject *tape, uint32_t node, npy_intp count)
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
PyObject *frame_gradient(PyObject *module, PyObject *args)
{
    PyObject *given, *y, *places;
    double seed;
    (void)module;
    if (!PyArg_ParseTuple(args, "OOO!d", &given, &y, &PyArray_Type, &places, &seed) ||
        !frame_check(given))
        return NULL;
    TapeObject *tape = (TapeObject *)given;
    if (frame_sweep(tape, y, seed) < 0)
        return NULL;
    const int64_t *place = PyArray_DATA((PyArrayObject *)places);
    Py_ssize_t count = PyArray_DIM((PyArrayObject *)places, 0);
    PyObject *result = PyList_New(count);
    for (Py_ssize_t i = 0; result && i < count; i++, place += 2) {
        PyObject *adjoint = frame_adjoint(tape, (uint32_t)place[0], (Py_ssize_t)place[1]);
        if (adjoint)
            PyList_SET_ITEM(result, i, adjoint);
        else
            Py_CLEAR(result);
    }
    return result;
}

/* ---- the quick way of grad --------------------------------------------------------- */

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
    x->alias =
        array ? frame_array_alias(tape, given, &x->node) : frame_alias(tape, given);
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
    if (thread->anomaly && frame_sweep(tape, (PyObject *)y, 1.0) < 0) {
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
    else if (guard_note_line(tape) == 0)
        value = depends ? frame_handle_of(tape, result) : Py_NewRef((PyObject *)y);
    if (value)
        derivative = x->count < 0 ? frame_handle_of(tape, adjoints[0])
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
    PyObject *flat_adjoint = frame_adjoint(tape, x->node, x->count);
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
    } else if (is_var(y) && frame_is_stale((VarObject *)y)) {
        raise_stale((VarObject *)y);
    } else if (is_var(y) && frame_is_open(tape)) {
        both = slope_of_open(tape, thread, (VarObject *)y, x);
        Py_DECREF(y);
        return both;
    } else if (frame_sweep(tape, y, 1.0) == 0) {
        PyObject *value = NULL;
        if (is_var(y) && ((VarObject *)y)->generation != tape->generation)
            value = handle_get_value(y, NULL); /* a variable from outside */
        else
            value = is_var(y) ? PyFloat_FromDouble(((VarObject *)y)->value)
                              : PyNumber_Float(y);
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
PyObject *frame_slope(PyObject *module, PyObject *const *args, Py_ssize_t count,
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
