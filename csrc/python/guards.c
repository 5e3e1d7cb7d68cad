/* Guards as the handles keep them: what Python decided by a recorded value, and which
 * values it took out of a recording. See ../guard.h. */
#include "../guard.h"

#include <math.h>
#include <string.h>

#include "array.h"
#include "dual.h"

int guarding_tapes;

/* ---- reads ------------------------------------------------------------------------ */

/* An exception that is being raised stays. */
int guard_note_line(TapeObject *tape)
{
    static PyObject *find;
    PyObject *type, *value, *trace;
    if (tape->read_line || !pyad_tape_reads(tape->core))
        return 0;
    PyErr_Fetch(&type, &value, &trace);
    if (python_function(&find, "pyad.modes", "user_line"))
        tape->read_line = PyObject_CallNoArgs(find);
    int status = tape->read_line ? 0 : -1;
    if (type) {
        PyErr_Clear();
        PyErr_Restore(type, value, trace);
        return 0;
    }
    return status;
}

int guard_read_tape(TapeObject *tape)
{
    if (!tape->core->guards)
        return 0;
    pyad_tape_read(tape->core);
    return guard_note_line(tape);
}

/* The tape on which leaves register, if it guards: *tape, or NULL. */
static int tape_of_leaves(TapeObject **tape)
{
    *tape = tape_here();
    if (!*tape)
        return -1;
    if (!(*tape)->core->guards)
        *tape = NULL;
    return 0;
}

/* The tape that must know of what is done with the value of something of this generation:
 * *tape, or NULL. What is left of a recording that ended before the guarding began is as
 * good as a constant. */
static int guarding_tape(uint64_t generation, TapeObject *of, TapeObject **tape)
{
    *tape = NULL;
    if (generation == CONSTANT_GENERATION)
        return 0;
    if (generation == LEAF_GENERATION)
        return tape_of_leaves(tape);
    if (of->core->guards &&
        (tape_knows(of, generation) || generation > of->guard_generation))
        *tape = of;
    return 0;
}

int guard_read(PyObject *x)
{
    TapeObject *tape;
    if (!guarding_tapes || !is_var(x))
        return 0;
    VarObject *v = (VarObject *)x;
    if (guarding_tape(v->generation, v->tape, &tape) < 0)
        return -1;
    return tape ? guard_read_tape(tape) : 0;
}

int guard_read_array(const ArrayObject *a)
{
    TapeObject *tape;
    const Storage *s = a->storage;
    if (!guarding_tapes || a->size == 0)
        return 0;
    if (guarding_tape(s->generation, s->tape, &tape) < 0)
        return -1;
    return tape ? guard_read_tape(tape) : 0;
}

/* ---- numbers ---------------------------------------------------------------------- */

static int guard_status(int status)
{
    if (status)
        raise_error(status);
    return status ? -1 : 0;
}

/* Comparisons of Python's: the relation, and whether the operands change places. */
static const struct {
    int relation, swapped;
} relations[] = {[Py_LT] = {PYAD_LESS, 0},  [Py_LE] = {PYAD_LESS_EQUAL, 0},
                 [Py_EQ] = {PYAD_EQUAL, 0}, [Py_NE] = {PYAD_NOT_EQUAL, 0},
                 [Py_GT] = {PYAD_LESS, 1},  [Py_GE] = {PYAD_LESS_EQUAL, 1}};

/* The operand that a handle is on `tape`, where it has a node: 0, or -1 with an
 * exception. */
static int operand_on(TapeObject *tape, PyObject *x, pyad_operand *operand)
{
    VarObject *v = (VarObject *)x;
    if (!x || !is_var(x) || v->generation == CONSTANT_GENERATION)
        return 0;
    if (v->generation == LEAF_GENERATION) {
        if (v->tape != tape && tape_make_room(tape, 1, 0) < 0)
            return -1;
        operand->node = v->tape == tape ? v->node : tape_register(tape, v);
        return 0;
    }
    if (v->tape != tape)
        return guard_read(x);
    if (!tape_knows(tape, v->generation))
        return v->generation > tape->guard_generation ? guard_read_tape(tape) : 0;
    operand->node = v->node;
    return 0;
}

int guard_compare(PyObject *x, double a, PyObject *y, double b, int comparison)
{
    TapeObject *tape = NULL;
    PyObject *handles[2] = {x, y};
    for (int leaves = 0; leaves < 2 && !tape; leaves++)
        for (int i = 0; i < 2 && !tape; i++) {
            VarObject *v = (VarObject *)handles[i];
            if (!v || !is_var(handles[i]) || leaves != (v->generation == LEAF_GENERATION))
                continue;
            if (guarding_tape(v->generation, v->tape, &tape) < 0)
                return -1;
        }
    if (!tape)
        return 0;
    if (tape_check_idle(tape) < 0)
        return -1;
    pyad_operand p = {a, PYAD_CONSTANT}, q = {b, PYAD_CONSTANT};
    if (operand_on(tape, x, &p) < 0 || operand_on(tape, y, &q) < 0)
        return -1;
    const int swapped = relations[comparison].swapped;
    return guard_status(pyad_tape_guard(tape->core, relations[comparison].relation,
                                        swapped ? q : p, swapped ? p : q));
}

static int guard_number(PyObject *x, int comparison, double number)
{
    return guard_compare(x, handle_value(x), NULL, number, comparison);
}

/* Numbers so large that all of them are whole, infinities and NaN stand for themselves.
 */
static int guard_exactly(PyObject *x)
{
    const double value = handle_value(x);
    return value != value ? guard_compare(x, value, x, value, Py_NE)
                          : guard_number(x, Py_EQ, value);
}

int guard_whole(PyObject *x, int rounding)
{
    static const double ALL_WHOLE = 2251799813685248.0; /* 2**51 */
    const double value = handle_value(x);
    if (!(fabs(value) < ALL_WHOLE))
        return guard_exactly(x);
    if (rounding == 't')
        rounding = value >= 1 ? 'f' : value <= -1 ? 'c' : '0';
    double low = -1, high = 1;
    int lower = Py_GT, upper = Py_LT;
    if (rounding == 'f') {
        low = floor(value), high = low + 1;
        lower = Py_GE;
    } else if (rounding == 'c') {
        high = ceil(value), low = high - 1;
        upper = Py_LE;
    } else if (rounding == 'r') { /* halves belong to the even number */
        const double whole = rint(value);
        low = whole - 0.5, high = whole + 0.5;
        if (fmod(whole, 2) == 0)
            lower = Py_GE, upper = Py_LE;
    }
    return guard_number(x, lower, low) < 0 ? -1 : guard_number(x, upper, high);
}

int guard_is_integer(PyObject *x)
{
    TapeObject *tape;
    VarObject *v = (VarObject *)x;
    const double value = handle_value(x);
    if (!is_var(x))
        return 0;
    if (!isfinite(value))
        return guard_exactly(x);
    if (guarding_tape(v->generation, v->tape, &tape) < 0 || !tape)
        return tape ? -1 : 0;
    PyObject *whole = unary_floor(x);
    int status = whole ? guard_compare(x, value, whole, floor(value), Py_EQ) : -1;
    Py_XDECREF(whole);
    if (status == 0 && floor(value) != value) /* nor does NaN */
        status = guard_compare(x, value, x, value, Py_EQ);
    if (status == 0 && floor(value) == value) /* infinities equal their floor as well */
        status = guard_number(x, Py_LT, (double)INFINITY) < 0
                     ? -1
                     : guard_number(x, Py_GT, -(double)INFINITY);
    return status;
}

/* ---- arrays ----------------------------------------------------------------------- */

/* Whether a guard can have the nodes of an operand: 1; 0 if its value is a constant to
 * it; -1 with an exception. *stale = 1 if there are no nodes any more. */
static int has_nodes(PyObject *x, int *stale)
{
    TapeObject *tape;
    const VarObject *v = (VarObject *)x;
    const Storage *s = is_array(x) ? ((ArrayObject *)x)->storage : NULL;
    const uint64_t generation = s           ? s->generation
                                : is_var(x) ? v->generation
                                            : CONSTANT_GENERATION;
    TapeObject *of = s ? s->tape : is_var(x) ? v->tape : NULL;
    if (guarding_tape(generation, of, &tape) < 0)
        return -1;
    *stale |= generation >= FIRST_GENERATION && !tape_knows(of, generation);
    if (PyArray_Check(x) && PyArray_TYPE((PyArrayObject *)x) == NPY_OBJECT)
        return 1; /* variables, maybe */
    if (PyList_Check(x) || PyTuple_Check(x))
        return 1;
    return tape != NULL;
}

static int read_any(PyObject *x)
{
    if (PyObject_TypeCheck(x, &Tape_Type))
        return guard_read_tape((TapeObject *)x);
    return is_array(x) ? guard_read_array((ArrayObject *)x) : guard_read(x);
}

/* Record the comparison of operands that have been read; NULL without an exception if
 * they are constants. */
static PyObject *compare_operands(array_operands *o, int comparison)
{
    Py_ssize_t shape[NPY_MAXDIMS];
    int ndim;
    if (broadcast_shapes(2, o->x, &ndim, shape) < 0 || array_operands_open(o) < 0)
        return NULL;
    if (!o->tape || !o->tape->core->guards)
        return NULL;
    PyObject *outcomes = PyArray_SimpleNew(ndim, shape, NPY_BOOL);
    Py_ssize_t size = shape_size(ndim, shape);
    if (!outcomes || size == 0)
        return outcomes;
    void *scratch[2] = {NULL, NULL};
    pyad_vector v[2];
    int status = 0;
    for (int i = 0; i < 2 && status == 0; i++)
        status = array_operand_vector(o, &o->x[i], ndim, shape, &v[i], &scratch[i]);
    const int swapped = relations[comparison].swapped;
    if (status == 0)
        status = guard_status(pyad_tape_guard_block(
            o->tape->core, relations[comparison].relation, (size_t)size, v[swapped],
            v[!swapped], PyArray_DATA((PyArrayObject *)outcomes)));
    Py_XDECREF(scratch[0]);
    Py_XDECREF(scratch[1]);
    if (status < 0) {
        array_operands_undo(o);
        Py_CLEAR(outcomes);
    }
    return outcomes;
}

PyObject *guard_arrays(PyObject *x, PyObject *y, int comparison)
{
    int stale = 0, of_x = has_nodes(x, &stale), of_y = has_nodes(y, &stale);
    thread_state *thread = thread_here();
    if (!thread || of_x < 0 || of_y < 0)
        return NULL;
    if (!of_x && !of_y)
        return NULL;
    PyObject *outcomes = NULL;
    if (!stale && !thread->no_grad) {
        array_operand operand[2] = {{.shape = NULL}, {.shape = NULL}};
        array_operands o = {.name = "a comparison", .count = 2, .x = operand};
        int known = array_operand_read(&operand[0], x, o.name);
        if (known > 0)
            known = array_operand_read(&operand[1], y, o.name);
        if (known > 0)
            outcomes = compare_operands(&o, comparison);
        array_operand_release(&operand[0]);
        array_operand_release(&operand[1]);
        if (outcomes)
            return PyArray_Return((PyArrayObject *)outcomes);
        if (known > 0 && !PyErr_Occurred())
            return NULL;
        if (PyErr_Occurred() && PyErr_ExceptionMatches(PyExc_MemoryError))
            return NULL;
        PyErr_Clear(); /* NumPy says what it thinks of the operands */
    }
    if (read_any(x) < 0 || read_any(y) < 0)
        return NULL;
    return NULL;
}

/* ---- for the Python layer --------------------------------------------------------- */

void guards_forget(TapeObject *tape)
{
    if (tape->core && tape->core->guards)
        guarding_tapes--;
    Py_CLEAR(tape->read_line);
}

int guards_end_recording(TapeObject *tape)
{
    return tape->core->guards ? guard_read_tape(tape) : 0;
}

static size_t start_of(PyObject *start, int i)
{
    size_t number = PyTuple_Check(start) && PyTuple_GET_SIZE(start) == 3
                        ? PyLong_AsSize_t(PyTuple_GET_ITEM(start, i))
                        : 0;
    if (number == (size_t)-1 && PyErr_Occurred()) {
        PyErr_Clear();
        return 0;
    }
    return number;
}

/* _guarding(tape, on): begins (True) or ends the keeping of guards; pairs nest. Gives how
 * many guards on numbers, on arrays, and reads there are, from which to take them. */
static PyObject *guarding(PyObject *module, PyObject *args)
{
    PyObject *given;
    int on;
    (void)module;
    if (!PyArg_ParseTuple(args, "O!p", &Tape_Type, &given, &on))
        return NULL;
    TapeObject *tape = (TapeObject *)given;
    if (tape_check_idle(tape) < 0)
        return NULL;
    if (on && !tape->core->guards) {
        int status = pyad_tape_guard_begin(tape->core);
        if (status)
            return raise_error(status);
        guarding_tapes++;
        tape->guard_generation = tape_new_generation();
    } else if (on) {
        pyad_tape_guard_begin(tape->core);
    } else if (tape->core->guards) {
        pyad_tape_guard_end(tape->core);
        if (!tape->core->guards) {
            guarding_tapes--;
            Py_CLEAR(tape->read_line);
        }
    }
    const pyad_guards *g = tape->core->guards;
    return Py_BuildValue("(nnn)", (Py_ssize_t)(g ? g->count : 0),
                         (Py_ssize_t)(g ? g->block_count : 0),
                         (Py_ssize_t)(g ? g->reads : 0));
}

static PyObject *is_guarding(PyObject *module, PyObject *unused)
{
    (void)module, (void)unused;
    return PyBool_FromLong(guarding_tapes > 0);
}

/* The guards on numbers: relation, node and value of a, of b, outcome; in arrays. */
static PyObject *number_guards(const pyad_guards *g, size_t from)
{
    static const int types[6] = {NPY_UINT8,  NPY_UINT32, NPY_DOUBLE,
                                 NPY_UINT32, NPY_DOUBLE, NPY_UINT8};
    npy_intp count = g && g->count > from ? (npy_intp)(g->count - from) : 0;
    PyObject *all = PyTuple_New(6);
    void *data[6] = {NULL};
    for (int i = 0; all && i < 6; i++) {
        PyObject *array = PyArray_SimpleNew(1, &count, types[i]);
        if (!array) {
            Py_DECREF(all);
            return NULL;
        }
        data[i] = PyArray_DATA((PyArrayObject *)array);
        PyTuple_SET_ITEM(all, i, array);
    }
    for (npy_intp i = 0; all && i < count; i++) {
        const pyad_guard *guard = &g->all[from + (size_t)i];
        ((uint8_t *)data[0])[i] = guard->relation;
        ((uint32_t *)data[1])[i] = guard->a.node;
        ((double *)data[2])[i] = guard->a.value;
        ((uint32_t *)data[3])[i] = guard->b.node;
        ((double *)data[4])[i] = guard->b.value;
        ((uint8_t *)data[5])[i] = guard->outcome;
    }
    return all;
}

/* (node, step, constants or None) of an operand. */
static PyObject *source_tuple(const pyad_tape *core, const pyad_source *x)
{
    npy_intp count = (npy_intp)x->count;
    if (x->node != PYAD_CONSTANT)
        return Py_BuildValue("(IIO)", x->node, x->step, Py_None);
    PyObject *values = PyArray_SimpleNew(1, &count, NPY_DOUBLE);
    if (!values)
        return NULL;
    memcpy(PyArray_DATA((PyArrayObject *)values), pyad_guard_values(core, x),
           x->count * sizeof(double));
    return Py_BuildValue("(IIN)", x->node, x->step, values);
}

static PyObject *block_tuple(const pyad_tape *core, const pyad_block_guard *guard)
{
    npy_intp count = (npy_intp)guard->count;
    PyObject *a = source_tuple(core, &guard->a), *b = source_tuple(core, &guard->b);
    PyObject *outcomes = PyArray_SimpleNew(1, &count, NPY_UINT8);
    if (!a || !b || !outcomes) {
        Py_XDECREF(a);
        Py_XDECREF(b);
        Py_XDECREF(outcomes);
        return NULL;
    }
    memcpy(PyArray_DATA((PyArrayObject *)outcomes), core->guards->store + guard->outcomes,
           guard->count);
    return Py_BuildValue("(iNNN)", (int)guard->relation, a, b, outcomes);
}

/* _guards(tape, start): what was kept since `start` (what _guarding gave): the guards on
 * numbers as arrays (relation, node and value of a, of b, outcome), those on arrays as a
 * list of (relation, a, b, outcomes) with operands (node, step, constants), the number of
 * reads, and the line of the first one or None. */
static PyObject *guards(PyObject *module, PyObject *args)
{
    PyObject *given, *start = Py_None;
    (void)module;
    if (!PyArg_ParseTuple(args, "O!|O", &Tape_Type, &given, &start))
        return NULL;
    TapeObject *tape = (TapeObject *)given;
    if (tape_check_idle(tape) < 0)
        return NULL;
    const pyad_guards *g = tape->core->guards;
    size_t from = start_of(start, 1), reads = start_of(start, 2);
    PyObject *numbers = number_guards(g, start_of(start, 0));
    PyObject *blocks = numbers ? PyList_New(0) : NULL;
    for (size_t i = from; blocks && g && i < g->block_count; i++) {
        PyObject *item = block_tuple(tape->core, &g->blocks[i]);
        if (!item || PyList_Append(blocks, item) < 0)
            Py_CLEAR(blocks);
        Py_XDECREF(item);
    }
    if (blocks && guard_note_line(tape) < 0)
        Py_CLEAR(blocks);
    if (!blocks) {
        Py_XDECREF(numbers);
        return NULL;
    }
    reads = g && g->reads > reads ? g->reads - reads : 0;
    return Py_BuildValue("(NNnO)", numbers, blocks, (Py_ssize_t)reads,
                         reads && tape->read_line ? tape->read_line : Py_None);
}

/* _peek(x): the value of a variable or an Array, without noting that it was read. Whoever
 * calls it keeps what he decides by it, or uses it for what a replay computes anew. */
static PyObject *peek(PyObject *module, PyObject *x)
{
    (void)module;
    if (is_array(x))
        return array_values((ArrayObject *)x);
    return is_handle(x) ? PyFloat_FromDouble(handle_value(x)) : Py_NewRef(x);
}

/* _note_read(x): a value of a variable, of an Array, or of anything on a Tape leaves the
 * recording; what is none of them is let pass. */
static PyObject *note_read(PyObject *module, PyObject *x)
{
    (void)module;
    return read_any(x) < 0 ? NULL : Py_NewRef(Py_None);
}

/* _guard(relation, x, y): compares element by element, and keeps the outcomes: "<", "<=",
 * "==" or "!=". None if neither is recorded where guards are kept. */
static PyObject *guard(PyObject *module, PyObject *args)
{
    const char *relation;
    PyObject *x, *y;
    (void)module;
    if (!PyArg_ParseTuple(args, "sOO", &relation, &x, &y))
        return NULL;
    const int equal = relation[1] == '=';
    int comparison = relation[0] == '<'   ? (equal ? Py_LE : Py_LT)
                     : relation[0] == '=' ? Py_EQ
                                          : Py_NE;
    PyObject *outcomes = guarding_tapes ? guard_arrays(x, y, comparison) : NULL;
    if (!outcomes && !PyErr_Occurred())
        Py_RETURN_NONE;
    return outcomes;
}

PyMethodDef guard_functions[] = {
    {"_guarding", guarding, METH_VARARGS, NULL},
    {"_is_guarding", is_guarding, METH_NOARGS, NULL},
    {"_guards", guards, METH_VARARGS, NULL},
    {"_guard", guard, METH_VARARGS, NULL},
    {"_peek", peek, METH_O, NULL},
    {"_note_read", note_read, METH_O, NULL},
    {NULL, NULL, 0, NULL},
};
