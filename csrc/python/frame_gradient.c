/* The gradient of a frame by a native sweep, and grad(f)(x) as a whole. See frame.h. */
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

/* ---- grad(f)(x) -------------------------------------------------------------------- */

/* (value, gradient) of a frame that is open, which is left here: both variables of the
 * recording around. */
static PyObject *slope_of_open(TapeObject *tape, thread_state *thread, VarObject *y,
                               frame_tree *x)
{
    tape_frame frame = tape->frames[tape->depth - 1];
    int depends = y->generation == tape->generation;
    pyad_operand result = {y->value, depends ? y->node : PYAD_CONSTANT};
    const pyad_operand seed = {1, PYAD_CONSTANT};
    if (thread->anomaly && frame_sweep(tape, (PyObject *)y, 1.0) < 0) {
        frame_leave(tape, thread, 0);
        return NULL;
    }
    uint32_t *nodes = PyMem_Malloc((x->numbers + 1) * sizeof *nodes);
    pyad_operand *adjoints = PyMem_Calloc(x->numbers + 1, sizeof *adjoints);
    frame_leave(tape, thread, 1);
    int status = nodes && adjoints ? PYAD_OK : PYAD_ERROR_NO_MEMORY;
    if (!status) {
        frame_tree_nodes(x, nodes);
        status = pyad_tape_record_reverse(tape->core, frame.length, 1, &result.node,
                                          &seed, x->numbers, nodes, adjoints);
    }
    PyObject *value = NULL, *gradient = NULL;
    if (status)
        raise_error(status);
    else if (guard_note_line(tape) == 0)
        value = depends ? frame_handle_of(tape, result) : Py_NewRef((PyObject *)y);
    if (value && frame_tree_set_operands(x, tape, adjoints) == 0)
        gradient = frame_tree_build(x);
    PyObject *both = gradient ? PyTuple_Pack(2, value, gradient) : NULL;
    PyMem_Free(nodes);
    PyMem_Free(adjoints);
    Py_XDECREF(value);
    Py_XDECREF(gradient);
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

/* (value, gradient) of y by a native sweep. */
static PyObject *slope_of_closed(TapeObject *tape, PyObject *y, frame_tree *x)
{
    const size_t from = tape->frames[tape->depth - 1].length;
    if (frame_sweep(tape, y, 1.0) < 0 ||
        frame_tree_set_rows(x, tape->scratch + 1, from) < 0)
        return NULL;
    PyObject *value, *gradient, *both;
    if (is_var(y) && ((VarObject *)y)->generation != tape->generation)
        value = handle_get_value(y, NULL); /* a variable from outside */
    else
        value =
            is_var(y) ? PyFloat_FromDouble(((VarObject *)y)->value) : PyNumber_Float(y);
    gradient = value ? frame_tree_build(x) : NULL;
    both = gradient ? PyTuple_Pack(2, value, gradient) : NULL;
    Py_XDECREF(value);
    Py_XDECREF(gradient);
    return both;
}

/* (value, gradient) of what f returned; leaves the frame. */
static PyObject *slope_of(TapeObject *tape, thread_state *thread, PyObject *returned,
                          frame_tree *x)
{
    PyObject *both = NULL, *y = one_number(returned);
    if (y && is_var(y) && !frame_is_stale((VarObject *)y) && frame_is_open(tape)) {
        both = slope_of_open(tape, thread, (VarObject *)y, x);
        Py_DECREF(y);
        return both;
    }
    if (y && is_dual(y))
        dual_refuse(y, "grad");
    else if (y)
        both = slope_of_closed(tape, y, x); /* which refuses a stale variable */
    Py_XDECREF(y);
    frame_leave(tape, thread, 0);
    return both;
}

/* The place that argnums names among `count` arguments; -1 if there is none. */
static Py_ssize_t place_of(PyObject *argnum, Py_ssize_t count)
{
    Py_ssize_t i = PyLong_AsSsize_t(argnum);
    if (i == -1 && PyErr_Occurred())
        PyErr_Clear(); /* larger than any place */
    else if (-count <= i && i < count)
        return i < 0 ? i + count : i;
    return -1;
}

/* Whether argnums, an int or a tuple of ints, names arguments, and none of them twice. */
static int are_places(PyObject *argnums, Py_ssize_t count)
{
    if (!PyTuple_Check(argnums))
        return place_of(argnums, count) >= 0;
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(argnums); i++) {
        const Py_ssize_t place = place_of(PyTuple_GET_ITEM(argnums, i), count);
        for (Py_ssize_t j = 0; place >= 0 && j < i; j++)
            if (place_of(PyTuple_GET_ITEM(argnums, j), count) == place)
                return 0;
        if (place < 0)
            return 0;
    }
    return 1;
}

/* Replaces an item of a new tuple by its variables. */
static int read_argument(frame_tree *x, TapeObject *tape, PyObject *arguments,
                         Py_ssize_t place)
{
    PyObject *alias = frame_tree_read(x, tape, PyTuple_GET_ITEM(arguments, place));
    if (!alias)
        return -1;
    Py_DECREF(PyTuple_GET_ITEM(arguments, place));
    PyTuple_SET_ITEM(arguments, place, alias);
    return 0;
}

/* The arguments that f gets, with variables at the places of argnums: a new tuple. */
static PyObject *read_arguments(frame_tree *x, TapeObject *tape, PyObject *argnums,
                                PyObject *args)
{
    const Py_ssize_t count = PyTuple_GET_SIZE(args);
    PyObject *arguments = PyTuple_New(count);
    for (Py_ssize_t i = 0; arguments && i < count; i++)
        PyTuple_SET_ITEM(arguments, i, Py_NewRef(PyTuple_GET_ITEM(args, i)));
    int status = arguments ? 0 : -1;
    if (status == 0 && !PyTuple_Check(argnums)) {
        status = read_argument(x, tape, arguments, place_of(argnums, count));
    } else if (status == 0) {
        status = frame_tree_open(x, PyTuple_GET_SIZE(argnums));
        for (Py_ssize_t i = 0; status == 0 && i < PyTuple_GET_SIZE(argnums); i++)
            status = read_argument(x, tape, arguments,
                                   place_of(PyTuple_GET_ITEM(argnums, i), count));
    }
    if (status < 0)
        Py_CLEAR(arguments);
    return arguments;
}

/* Raises what is wrong with argnums. */
static PyObject *refuse_places(PyObject *argnums, PyObject *args)
{
    static PyObject *check;
    PyObject *nothing =
        python_function(&check, "pyad.transforms._recording", "check_places")
            ? PyObject_CallFunctionObjArgs(check, argnums, args, NULL)
            : NULL;
    Py_XDECREF(nothing);
    return NULL;
}

/* _slope(f, argnums, args, kwargs): (value, gradient) of f in the arguments at argnums.
 */
PyObject *frame_slope(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    thread_state *thread = thread_here();
    (void)module;
    if (!thread)
        return NULL;
    if (count != 4 || !PyTuple_Check(args[2]) || !PyDict_Check(args[3]))
        return raise_error(PYAD_ERROR_ARGUMENTS,
                           "_slope takes a function, argnums, a tuple and a dict");
    if (!are_places(args[1], PyTuple_GET_SIZE(args[2])))
        return refuse_places(args[1], args[2]);
    TapeObject *tape = thread->tape;
    if (frame_enter(tape, thread) < 0)
        return NULL;
    Py_INCREF(tape);
    frame_tree x;
    frame_tree_init(&x);
    PyObject *arguments = read_arguments(&x, tape, args[1], args[2]);
    PyObject *y = arguments ? PyObject_Call(args[0], arguments, args[3]) : NULL;
    PyObject *result = NULL;
    Py_XDECREF(arguments); /* their values need not outlive the frame */
    if (y)
        result = slope_of(tape, thread, y, &x);
    else
        frame_leave(tape, thread, 0);
    frame_tree_free(&x);
    Py_XDECREF(y);
    Py_DECREF(tape);
    return result;
}
