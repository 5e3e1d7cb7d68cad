/* Operands, the slow way: numbers of every kind, constants, leaves, no_grad,
 * detect_anomaly and every error. An operation that fails here leaves the tape as it was.
 */
#include <math.h>

#include "dual.h"

/* ---- numbers ---------------------------------------------------------------------- */

/* True for numbers.Real, which NumPy's scalars and fractions are. */
static int is_real_number(PyObject *x)
{
    static PyObject *real;
    return python_function(&real, "numbers", "Real") ? PyObject_IsInstance(x, real) : -1;
}

int number_as_double(PyObject *x, const char *what, double *value)
{
    if (PyFloat_Check(x)) {
        *value = PyFloat_AS_DOUBLE(x);
        return 1;
    }
    if (!PyLong_Check(x)) {
        int real = is_handle(x) ? 0 : is_real_number(x);
        if (real <= 0)
            return real;
    }
    *value = PyLong_Check(x) ? PyLong_AsDouble(x) : PyFloat_AsDouble(x);
    if (*value == -1 && PyErr_Occurred()) {
        if (PyErr_ExceptionMatches(PyExc_OverflowError)) {
            PyErr_Clear();
            raise_error(PYAD_ERROR_TOO_LARGE, what);
        }
        return -1;
    }
    return 1;
}

/* A 0-d array and anything else that NumPy takes for one number: new reference to a
 * float, or NULL, with an exception if looking failed. */
static PyObject *single_number(PyObject *x)
{
    PyObject *shape = PyObject_GetAttrString(x, "shape");
    int single = shape && PyTuple_Check(shape) && PyTuple_GET_SIZE(shape) == 0;
    Py_XDECREF(shape);
    PyObject *item = single ? PyObject_CallMethod(x, "item", NULL) : NULL;
    if (PyErr_Occurred() && PyErr_ExceptionMatches(PyExc_AttributeError))
        PyErr_Clear();
    return item;
}

int need_number(PyObject *x, const char *what, double *value)
{
    int known = number_as_double(x, what, value);
    if (known == 0 && !is_handle(x)) {
        PyObject *item = single_number(x);
        known = item ? number_as_double(item, what, value) : PyErr_Occurred() ? -1 : 0;
        Py_XDECREF(item);
    }
    if (known == 0 && is_handle(x) &&
        (is_dual(x) || ((VarObject *)x)->generation != CONSTANT_GENERATION))
        raise_error(PYAD_ERROR_WOULD_LOSE_DERIVATIVE);
    else if (known == 0 && is_var(x))
        *value = ((VarObject *)x)->value, known = 1;
    else if (known == 0)
        raise_not_a_number(what, x);
    return known > 0 ? 0 : -1;
}

PyObject *items_of(PyObject *x, const char *what)
{
    if (PyList_CheckExact(x) || PyTuple_CheckExact(x))
        return PySequence_Tuple(x);
    PyObject *iterator = PyUnicode_Check(x) || is_var(x) ? NULL : PyObject_GetIter(x);
    if (!iterator) {
        if (PyErr_Occurred() && !PyErr_ExceptionMatches(PyExc_TypeError))
            return NULL;
        PyErr_Clear();
        return raise_error(PYAD_ERROR_NOT_A_SEQUENCE, what, Py_TYPE(x)->tp_name);
    }
    PyObject *items = PySequence_Tuple(iterator);
    Py_DECREF(iterator);
    return items;
}

/* ---- reading ---------------------------------------------------------------------- */

int raise_stale(const VarObject *x)
{
    PyObject *value = PyFloat_FromDouble(x->value);
    PyObject *text = value ? PyObject_Repr(value) : NULL;
    if (text)
        raise_error(PYAD_ERROR_STALE, message_text(text));
    Py_XDECREF(value);
    Py_XDECREF(text);
    return -1;
}

/* An intermediate result decides the tape. */
static int take_intermediate(operands *o, const VarObject *x)
{
    if (!tape_knows(x->tape, x->generation))
        return raise_stale(x);
    if (o->tape && o->tape != x->tape) {
        raise_error(PYAD_ERROR_MIXED_TAPES, o->name);
        return -1;
    }
    o->tape = x->tape;
    return 0;
}

/* Numbers come first: one of the user's own class runs code of the user's, which may end
 * the recording that variables were seen in. */
static int read_numbers(operands *o, size_t *unknown)
{
    for (size_t i = 0; i < o->count; i++) {
        o->values[i].node = PYAD_CONSTANT;
        *unknown = i;
        int known =
            is_var(o->x[i]) ? 1 : number_as_double(o->x[i], o->name, &o->values[i].value);
        if (known <= 0)
            return known;
    }
    return 1;
}

/* The values of the variables, and the tape that they decide. Counts the leaves. */
static int read_variables(operands *o, size_t *leaves)
{
    thread_state *thread = thread_here();
    if (!thread)
        return -1;
    for (size_t i = 0; i < o->count; i++) {
        VarObject *x = (VarObject *)o->x[i];
        if (!is_var(o->x[i]))
            continue;
        o->any_var = 1;
        o->values[i].value = x->value;
        if (thread->no_grad) {
            if (guarding_tapes && guard_read((PyObject *)x) < 0)
                return -1;
            continue;
        }
        if (is_intermediate(x) && take_intermediate(o, x) < 0)
            return -1;
        *leaves += x->generation == LEAF_GENERATION;
    }
    if (*leaves && !o->tape)
        o->tape = thread->tape;
    return 1;
}

int operands_read(operands *o, size_t *unknown)
{
    size_t leaves = 0;
    o->tape = NULL;
    o->any_var = 0;
    int known = read_numbers(o, unknown);
    if (known > 0)
        known = read_variables(o, &leaves);
    if (known <= 0)
        return known;
    if (!o->tape)
        return 1;
    if (tape_check_idle(o->tape) < 0 || tape_make_room(o->tape, leaves, 2 * o->count) < 0)
        return -1;
    o->length = o->tape->core->length;
    o->arguments = o->tape->core->arguments;
    o->leaf_count = o->tape->leaf_count;
    for (size_t i = 0; i < o->count; i++) {
        VarObject *x = (VarObject *)o->x[i];
        if (!is_var(o->x[i]) || x->generation == CONSTANT_GENERATION)
            continue;
        int registered = is_intermediate(x) || x->tape == o->tape;
        o->values[i].node = registered ? x->node : tape_register(o->tape, x);
    }
    return 1;
}

/* ---- detect_anomaly --------------------------------------------------------------- */

/* "file:line" of the innermost frame outside this package: new reference. */
static PyObject *user_line(void)
{
    static PyObject *find;
    return python_function(&find, "pyad.modes", "user_line") ? PyObject_CallNoArgs(find)
                                                             : NULL;
}

static PyObject *float_text(double value)
{
    PyObject *number = PyFloat_FromDouble(value);
    PyObject *text = number ? PyObject_Repr(number) : NULL;
    Py_XDECREF(number);
    return text;
}

/* Under detect_anomaly: raise on a value that is not finite, remember where the node came
 * from, and the leaves that were registered for it. */
static int watch(operands *o, pyad_operand result, const char *operation)
{
    PyObject *line = user_line();
    int status = line && (!o->tape || guard_read_tape(o->tape) == 0) ? 0 : -1;
    if (line && !isfinite(result.value)) {
        PyObject *text = float_text(result.value);
        if (text)
            raise_error(PYAD_ERROR_BAD_VALUE, operation, message_text(text),
                        message_text(line));
        Py_XDECREF(text);
        status = -1;
    }
    if (!status && o->tape && !o->tape->origins && !(o->tape->origins = PyDict_New()))
        status = -1;
    for (size_t i = o->length; !status && o->tape && i <= result.node; i++) {
        PyObject *node = PyLong_FromSize_t(i);
        if (!node || PyDict_SetItem(o->tape->origins, node, line) < 0)
            status = -1;
        Py_XDECREF(node);
    }
    Py_XDECREF(line);
    return status;
}

/* ---- finishing -------------------------------------------------------------------- */

PyObject *operands_finish(operands *o, int status, pyad_operand result,
                          const char *operation)
{
    thread_state *thread = thread_here();
    if (status && thread)
        raise_error(status);
    else if (!thread || (thread->anomaly && watch(o, result, operation) < 0))
        status = -1;
    PyObject *handle = NULL;
    if (!status && result.node != PYAD_CONSTANT) {
        VarObject *x = var_allocate();
        handle = x ? var_finish(x, o->tape, result.value, result.node) : PyErr_NoMemory();
    } else if (!status) {
        handle = o->any_var ? var_new(result.value, CONSTANT_GENERATION)
                            : PyFloat_FromDouble(result.value);
    }
    if (!handle && o->tape)
        tape_take_back(o->tape, o->length, o->arguments, o->leaf_count);
    return handle;
}

int mark_set(mark *m, PyObject *x, PyObject *y)
{
    if (is_var(x) && is_intermediate((VarObject *)x))
        m->tape = ((VarObject *)x)->tape;
    else if (is_var(y) && is_intermediate((VarObject *)y))
        m->tape = ((VarObject *)y)->tape;
    else if (!(m->tape = tape_here()))
        return -1;
    m->generation = m->tape->generation;
    m->length = m->tape->core->length;
    m->arguments = m->tape->core->arguments;
    m->leaf_count = m->tape->leaf_count;
    return 0;
}

void mark_take_back(const mark *m)
{
    if (m->tape->generation == m->generation && !m->tape->busy)
        tape_take_back(m->tape, m->length, m->arguments, m->leaf_count);
}

PyObject *apply_slowly(int op, PyObject *x, PyObject *y)
{
    if (is_dual(x) || (y && is_dual(y)))
        return dual_apply(op, x, y);
    PyObject *xs[2] = {x, y};
    pyad_operand values[2] = {{0, PYAD_CONSTANT}, {0, PYAD_CONSTANT}};
    pyad_operand result;
    operands o = {.name = pyad_op_describe(op)->name,
                  .count = y ? 2 : 1,
                  .x = xs,
                  .values = values};
    size_t unknown;
    int known = operands_read(&o, &unknown);
    if (known <= 0)
        return known ? NULL : Py_NewRef(Py_NotImplemented);
    int status = PYAD_OK;
    if (o.tape)
        status = pyad_tape_apply(o.tape->core, op, values[0], values[1], &result);
    else
        result = (pyad_operand){pyad_op_value(op, values[0].value, values[1].value),
                                PYAD_CONSTANT};
    return operands_finish(&o, status, result, o.name);
}

PyObject *record_given(VarObject *x, double value, double partial)
{
    PyObject *xs[1] = {(PyObject *)x};
    pyad_operand argument, result = {value, PYAD_CONSTANT};
    operands o = {.name = "given", .count = 1, .x = xs, .values = &argument};
    size_t unknown;
    if (operands_read(&o, &unknown) < 0 || (o.tape && guard_read_tape(o.tape) < 0))
        return NULL;
    int status =
        o.tape ? pyad_tape_given(o.tape->core, value, 1, &argument, &partial, &result)
               : 0;
    return operands_finish(&o, status, result, o.name);
}
