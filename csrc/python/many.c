/* Operations of any number of arguments on handles: sum, dot, lincomb, prod, logsumexp,
 * norm, and from_partials, a node whose value and partials the user computed. */
#include "array.h"
#include "dual.h"

/* Scratch for `count` operands: the sequence(s) laid side by side, and their values. */
typedef struct {
    PyObject **x;
    pyad_operand *values;
} scratch;

static int scratch_new(scratch *s, size_t count)
{
    s->x = PyMem_Calloc(count + 1, sizeof *s->x);
    s->values = PyMem_Calloc(count + 1, sizeof *s->values);
    if (s->x && s->values)
        return 0;
    PyMem_Free(s->x);
    PyMem_Free(s->values);
    raise_error(PYAD_ERROR_NO_MEMORY);
    return -1;
}

static void scratch_free(scratch *s)
{
    PyMem_Free(s->x);
    PyMem_Free(s->values);
}

/* Record `op` on the operands o->x, whose values are filled in here; the caller keeps
 * both arrays. */
static PyObject *apply_many(int op, operands *o)
{
    pyad_operand result;
    size_t unknown;
    int known = operands_read(o, &unknown);
    if (known == 0 && is_dual(o->x[unknown]))
        return dual_apply_many(op, o);
    if (known <= 0)
        return known ? NULL : raise_not_a_number(o->name, o->x[unknown]);
    /* The core computes the value of constants too; without a tape of its own it needs
     * some tape. */
    TapeObject *tape = o->tape ? o->tape : tape_here();
    if (!tape)
        return NULL;
    int status = pyad_tape_apply_many(tape->core, op, o->count, o->values, &result);
    return operands_finish(o, status, result, pyad_op_describe(op)->name);
}

/* An Array goes to NumPy's function of the same meaning, as one block. */
static PyObject *apply_to_arrays(const char *what, PyObject *const *args,
                                 Py_ssize_t count)
{
    static PyObject *reduce;
    PyObject *name = PyUnicode_FromString(what), *result = NULL;
    if (name && python_function(&reduce, "pyad.array._functions", "reduce")) {
        PyObject *given[] = {name, args[0], count > 1 ? args[1] : NULL};
        result = PyObject_Vectorcall(reduce, given, (size_t)count + 1, NULL);
    }
    Py_XDECREF(name);
    return result;
}

static PyObject *apply_to_one(int op, const char *what, PyObject *x)
{
    if (is_array(x))
        return apply_to_arrays(what, &x, 1);
    scratch s;
    PyObject *items = items_of(x, what);
    if (!items)
        return NULL;
    size_t count = (size_t)PyTuple_GET_SIZE(items);
    PyObject *result = NULL;
    if (scratch_new(&s, count) == 0) {
        for (size_t i = 0; i < count; i++)
            s.x[i] = PyTuple_GET_ITEM(items, (Py_ssize_t)i);
        operands o = {.name = what, .count = count, .x = s.x, .values = s.values};
        result = apply_many(op, &o);
        scratch_free(&s);
    }
    Py_DECREF(items);
    return result;
}

static PyObject *lengths_differ(const char *what, Py_ssize_t n, Py_ssize_t m)
{
    PyObject *left = PyUnicode_FromFormat("%zd", n),
             *right = PyUnicode_FromFormat("%zd", m);
    if (left && right)
        raise_error(PYAD_ERROR_LENGTHS_DIFFER, what, message_text(left),
                    message_text(right));
    Py_XDECREF(left);
    Py_XDECREF(right);
    return NULL;
}

/* The operands of a dot: x1, y1, x2, y2, ... */
static PyObject *apply_to_two(int op, const char *what, PyObject *const *args,
                              Py_ssize_t given)
{
    scratch s;
    if (given != 2)
        return raise_error(PYAD_ERROR_ARGUMENTS,
                           "pyad.dot and pyad.lincomb take two sequences");
    if (is_array(args[0]) || is_array(args[1]))
        return apply_to_arrays(what, args, 2);
    PyObject *xs = items_of(args[0], what);
    PyObject *ys = xs ? items_of(args[1], what) : NULL;
    PyObject *result = NULL;
    Py_ssize_t count = ys ? PyTuple_GET_SIZE(xs) : 0;
    if (ys && count != PyTuple_GET_SIZE(ys)) {
        lengths_differ(what, count, PyTuple_GET_SIZE(ys));
    } else if (ys && scratch_new(&s, 2 * (size_t)count) == 0) {
        for (Py_ssize_t i = 0; i < count; i++) {
            s.x[2 * i] = PyTuple_GET_ITEM(xs, i);
            s.x[2 * i + 1] = PyTuple_GET_ITEM(ys, i);
        }
        operands o = {
            .name = what, .count = 2 * (size_t)count, .x = s.x, .values = s.values};
        result = apply_many(op, &o);
        scratch_free(&s);
    }
    Py_XDECREF(xs);
    Py_XDECREF(ys);
    return result;
}

#define OF_ONE(ENUM, NAME)                                                               \
    static PyObject *many_##NAME(PyObject *module, PyObject *x)                          \
    {                                                                                    \
        (void)module;                                                                    \
        return apply_to_one(PYAD_OP_##ENUM, "pyad." #NAME, x);                           \
    }
#define OF_TWO(ENUM, NAME)                                                               \
    static PyObject *many_##NAME(PyObject *module, PyObject *const *args, Py_ssize_t n)  \
    {                                                                                    \
        (void)module;                                                                    \
        return apply_to_two(PYAD_OP_##ENUM, "pyad." #NAME, args, n);                     \
    }
OF_ONE(SUM, sum)
OF_ONE(PROD, prod)
OF_ONE(LOGSUMEXP, logsumexp)
OF_ONE(NORM, norm)
OF_TWO(DOT, dot)
OF_TWO(LINCOMB, lincomb)

/* ---- nodes with given partials ---------------------------------------------------- */

static int read_partials(PyObject *partials, double *numbers)
{
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(partials); i++)
        if (need_number(PyTuple_GET_ITEM(partials, i), "pyad.from_partials",
                        &numbers[i]) < 0)
            return -1;
    return 0;
}

static PyObject *record_partials(double value, PyObject *arguments, PyObject *partials)
{
    size_t count = (size_t)PyTuple_GET_SIZE(arguments), unknown;
    scratch s;
    if (scratch_new(&s, count) < 0)
        return NULL;
    double *numbers = PyMem_Calloc(count + 1, sizeof *numbers);
    PyObject *result = NULL;
    pyad_operand node = {value, PYAD_CONSTANT};
    operands o = {
        .name = "pyad.from_partials", .count = count, .x = s.x, .values = s.values};
    for (size_t i = 0; i < count; i++)
        s.x[i] = PyTuple_GET_ITEM(arguments, (Py_ssize_t)i);
    if (!numbers) {
        raise_error(PYAD_ERROR_NO_MEMORY);
    } else if (read_partials(partials, numbers) == 0) {
        int known = operands_read(&o, &unknown);
        if (known > 0 && o.tape && guard_read_tape(o.tape) < 0)
            known = -1; /* how the value was computed is not recorded */
        int status = known > 0 && o.tape ? pyad_tape_given(o.tape->core, value, count,
                                                           s.values, numbers, &node)
                                         : PYAD_OK;
        if (known > 0)
            result = operands_finish(&o, status, node, "given");
        else if (known == 0 && is_dual(o.x[unknown]))
            result = dual_given(&o, value, numbers);
        else if (known == 0)
            raise_not_a_number(o.name, o.x[unknown]);
    }
    PyMem_Free(numbers);
    scratch_free(&s);
    return result;
}

static PyObject *from_partials(PyObject *module, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"value", "arguments", "partials", NULL};
    PyObject *number, *xs, *ds;
    double value;
    (void)module;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OOO:from_partials", names, &number,
                                     &xs, &ds) ||
        need_number(number, "pyad.from_partials", &value) < 0)
        return NULL;
    PyObject *arguments = items_of(xs, "pyad.from_partials");
    PyObject *partials = arguments ? items_of(ds, "pyad.from_partials") : NULL;
    PyObject *result = NULL;
    if (partials && PyTuple_GET_SIZE(arguments) != PyTuple_GET_SIZE(partials))
        lengths_differ("pyad.from_partials", PyTuple_GET_SIZE(arguments),
                       PyTuple_GET_SIZE(partials));
    else if (partials)
        result = record_partials(value, arguments, partials);
    Py_XDECREF(arguments);
    Py_XDECREF(partials);
    return result;
}

#define FAST(FUNCTION) (PyCFunction)(void (*)(void)) FUNCTION
PyMethodDef many_functions[] = {
    {"sum", many_sum, METH_O,
     "sum(xs, /)\n--\n\nThe sum of a sequence, as one node, with compensated rounding."},
    {"prod", many_prod, METH_O,
     "prod(xs, /)\n--\n\nThe product of a sequence, as one node."},
    {"logsumexp", many_logsumexp, METH_O,
     "logsumexp(xs, /)\n--\n\nlog(exp(x1) + exp(x2) + ...), safe from overflow."},
    {"norm", many_norm, METH_O,
     "norm(xs, /)\n--\n\nThe Euclidean norm, safe from overflow."},
    {"dot", FAST(many_dot), METH_FASTCALL,
     "dot(xs, ys, /)\n--\n\nx1*y1 + x2*y2 + ..., as one node, with compensated "
     "rounding."},
    {"lincomb", FAST(many_lincomb), METH_FASTCALL,
     "lincomb(coefficients, xs, /)\n--\n\nc1*x1 + c2*x2 + ..., as one node."},
    {"from_partials", FAST(from_partials), METH_VARARGS | METH_KEYWORDS,
     "from_partials(value, arguments, partials)\n--\n\n"
     "A result whose value and partial derivatives, one per argument, you computed "
     "yourself."},
    {NULL, NULL, 0, NULL},
};
