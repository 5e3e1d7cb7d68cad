/* The operations on Duals: the rows of ops.def again, in three tiers as in operators.c.
 * The first takes Duals of one kind and floats, and memory that is free; the second adds
 * ints and new memory; the slow way adds every other number and every error. */
#include "dual.h"

#include "number.h"

/* ---- tangents --------------------------------------------------------------------- */

/* 0 * inf is 0. */
static inline double term(double partial, double tangent)
{
    return tangent == 0 ? 0 : partial * tangent;
}

/* What is left to do of the two functions below if there are several tangents: calls in
 * the last place, for which the first tier saves no register. Among finite partials the
 * rule for 0 holds by itself, and a loop without it runs in vector lanes. */
static NOT_INLINE PyObject *several_of_one(DualObject *r, const DualObject *u, double da)
{
    double *restrict to = r->tangents;
    const double *restrict x = u->tangents;
    if (isfinite(da))
        for (size_t k = 0; k < r->count; k += DUAL_BLOCK)
            for (size_t j = k; j < k + DUAL_BLOCK; j++)
                to[j] = da * x[j];
    else
        for (size_t k = 0; k < r->count; k += DUAL_BLOCK)
            for (size_t j = k; j < k + DUAL_BLOCK; j++)
                to[j] = term(da, x[j]);
    return (PyObject *)r;
}

static NOT_INLINE PyObject *several_of_two(DualObject *r, const DualObject *u, double da,
                                           const DualObject *v, double db)
{
    double *restrict to = r->tangents;
    const double *restrict x = u->tangents, *restrict y = v->tangents;
    if (isfinite(da) && isfinite(db))
        for (size_t k = 0; k < r->count; k += DUAL_BLOCK)
            for (size_t j = k; j < k + DUAL_BLOCK; j++)
                to[j] = da * x[j] + db * y[j];
    else
        for (size_t k = 0; k < r->count; k += DUAL_BLOCK)
            for (size_t j = k; j < k + DUAL_BLOCK; j++)
                to[j] = term(da, x[j]) + term(db, y[j]);
    return (PyObject *)r;
}

static inline PyObject *finish_one(DualObject *r, double value, const DualObject *u,
                                   double da)
{
    r->value = value;
    if (u->count > 1)
        return several_of_one(r, u, da);
    r->tangents[0] = term(da, u->tangents[0]);
    return (PyObject *)r;
}

static inline PyObject *finish_two(DualObject *r, double value, const DualObject *u,
                                   double da, const DualObject *v, double db)
{
    r->value = value;
    if (u->count > 1)
        return several_of_two(r, u, da, v, db);
    r->tangents[0] = term(da, u->tangents[0]) + term(db, v->tangents[0]);
    return (PyObject *)r;
}

static inline int alike(const DualObject *u, const DualObject *v)
{
    return u->level == v->level && u->count == v->count;
}

/* ---- the slow way ----------------------------------------------------------------- */

int dual_retrace(uint64_t level)
{
    static PyObject *ask;
    if (level == 0)
        return 0;
    PyObject *answer = python_function(&ask, "pyad.modes", "ask_retrace")
                           ? PyObject_CallFunction(ask, "K", (unsigned long long)level)
                           : NULL;
    Py_XDECREF(answer);
    return answer ? 0 : -1;
}

/* No Dual can hold the result of these operands. A transform that is running is asked to
 * evaluate on the tape instead; otherwise it is an error: the user made them, or kept
 * them beyond the transform. Always -1. */
static int cannot_hold(uint64_t level, int error, const char *operation)
{
    if (dual_retrace(level) == 0)
        raise_error(error, operation);
    return -1;
}

PyObject *dual_refuse(PyObject *x, const char *operation)
{
    cannot_hold(((DualObject *)x)->level, PYAD_ERROR_DUAL_WITH_VAR, operation);
    return NULL;
}

/* A Dual among the operands: all are of one kind. Of two transforms the outer one, whose
 * level is the lower, evaluates again. */
static int take_dual(const char *name, const DualObject *x, const DualObject **like)
{
    if (*like && !alike(*like, x))
        return cannot_hold(x->level < (*like)->level ? x->level : (*like)->level,
                           PYAD_ERROR_MIXED_TANGENTS, name);
    *like = x;
    return 1;
}

/* Whether a Var has a derivative to lose: 1, 0, or -1 with an exception. */
static int has_derivative(const VarObject *x)
{
    if (x->generation == CONSTANT_GENERATION)
        return 0;
    thread_state *thread = thread_here();
    return thread ? !thread->no_grad : -1;
}

/* Reads operands among which is a Dual (*like is one): 1, or 0 if o->x[*unknown] is
 * neither number nor handle, or -1. */
static int read_operands(operands *o, const DualObject **like, size_t *unknown)
{
    int variable = 0;
    *like = NULL;
    for (size_t i = 0; i < o->count; i++) {
        PyObject *x = o->x[i];
        int known = 1;
        *unknown = i;
        o->values[i] = (pyad_operand){0, PYAD_CONSTANT};
        if (is_dual(x))
            known = take_dual(o->name, (DualObject *)x, like);
        else if (!is_var(x))
            known = number_as_double(x, o->name, &o->values[i].value);
        else if (!variable && (variable = has_derivative((VarObject *)x)) < 0)
            return -1;
        if (known <= 0)
            return known;
        if (is_handle(x))
            o->values[i].value = handle_value(x);
    }
    return variable ? cannot_hold((*like)->level, PYAD_ERROR_DUAL_WITH_VAR, o->name) : 1;
}

/* The result of operands that were read. */
static PyObject *finish(const operands *o, const DualObject *like, double value,
                        const double *partials)
{
    DualObject *r = (DualObject *)dual_flat(like, value);
    for (size_t i = 0; r && i < o->count; i++) {
        const DualObject *x = (DualObject *)o->x[i];
        for (size_t k = 0; is_dual(o->x[i]) && k < r->count; k++)
            r->tangents[k] += term(partials[i], x->tangents[k]);
    }
    return (PyObject *)r;
}

static PyObject *slowly(int op, PyObject *x, PyObject *y)
{
    PyObject *xs[2] = {x, y};
    pyad_operand values[2];
    const DualObject *like;
    size_t unknown;
    operands o = {
        .name = pyad_op_describe(op)->name, .count = 2, .x = xs, .values = values};
    int known = read_operands(&o, &like, &unknown);
    if (known <= 0)
        return known ? NULL : Py_NewRef(Py_NotImplemented);
    pyad_partials p;
    pyad_op_partials(op, values[0].value, values[1].value, &p);
    const double partials[2] = {p.da, p.db};
    return finish(&o, like, p.value, partials);
}

PyObject *dual_given(operands *o, double value, const double *partials)
{
    const DualObject *like;
    size_t unknown;
    int known = read_operands(o, &like, &unknown);
    if (known == 0)
        raise_not_a_number(o->name, o->x[unknown]);
    return known > 0 ? finish(o, like, value, partials) : NULL;
}

PyObject *dual_apply_many(int op, operands *o)
{
    const DualObject *like;
    size_t unknown;
    double value;
    int known = read_operands(o, &like, &unknown);
    if (known == 0)
        raise_not_a_number(o->name, o->x[unknown]);
    double *partials = known > 0 ? PyMem_Calloc(o->count, sizeof *partials) : NULL;
    int status = partials ? pyad_op_many(op, o->count, o->values, &value, partials)
                          : PYAD_ERROR_NO_MEMORY;
    PyObject *result = status ? NULL : finish(o, like, value, partials);
    if (status && known > 0)
        raise_error(status);
    PyMem_Free(partials);
    return result;
}

/* ---- first and second tier -------------------------------------------------------- */

typedef struct {
    const DualObject *x, *y; /* NULL for a number */
    double a, b;
} quick_pair;

/* Reads Duals of one kind, floats and ints; 0 if it is for the slow way. */
static int quick_operands(PyObject *x, PyObject *y, quick_pair *p)
{
    p->x = is_dual(x) ? (DualObject *)x : NULL;
    p->y = is_dual(y) ? (DualObject *)y : NULL;
    if (p->x)
        p->a = p->x->value;
    else if (!quick_number(x, &p->a))
        return 0;
    if (p->y)
        p->b = p->y->value;
    else if (!quick_number(y, &p->b))
        return 0;
    return !p->x || !p->y || alike(p->x, p->y);
}

typedef PyObject *(*unary_function)(PyObject *x);
typedef PyObject *(*binary_function)(PyObject *x, PyObject *y);

/* The first tier: FINISH reads r, a Dual like LIKE, and a, b, A, B, V. Without free
 * memory it is left to the next tier. */
#define FIRST(LIKE, X, Y, VALUE, FINISH)                                                 \
    do {                                                                                 \
        DualObject *r = dual_reuse(LIKE);                                                \
        if (!r)                                                                          \
            break;                                                                       \
        const double a = X, b = Y, A = a, B = b, V = VALUE;                              \
        (void)A, (void)B;                                                                \
        return FINISH;                                                                   \
    } while (0)

#define BINARY(ENUM, NAME, NUMPY, VALUE, DA, DB, ...)                                    \
    static NOT_INLINE PyObject *second_##NAME(PyObject *x, PyObject *y)                  \
    {                                                                                    \
        quick_pair p;                                                                    \
        if (!quick_operands(x, y, &p))                                                   \
            return slowly(PYAD_OP_##ENUM, x, y);                                         \
        DualObject *r = dual_like(p.x ? p.x : p.y);                                      \
        if (!r)                                                                          \
            return NULL;                                                                 \
        const double a = p.a, b = p.b, A = a, B = b, V = VALUE;                          \
        (void)A, (void)B;                                                                \
        if (!p.y)                                                                        \
            return finish_one(r, V, p.x, DA);                                            \
        return p.x ? finish_two(r, V, p.x, DA, p.y, DB) : finish_one(r, V, p.y, DB);     \
    }                                                                                    \
    static inline PyObject *quick_##NAME(PyObject *x, PyObject *y, binary_function next) \
    {                                                                                    \
        const DualObject *u = (DualObject *)x, *v = (DualObject *)y;                     \
        if (is_dual(x)) {                                                                \
            if (is_dual(y) && alike(u, v))                                               \
                FIRST(u, u->value, v->value, VALUE, finish_two(r, V, u, DA, v, DB));     \
            else if (PyFloat_CheckExact(y))                                              \
                FIRST(u, u->value, PyFloat_AS_DOUBLE(y), VALUE,                          \
                      finish_one(r, V, u, DA));                                          \
        } else if (PyFloat_CheckExact(x) && is_dual(y)) {                                \
            FIRST(v, PyFloat_AS_DOUBLE(x), v->value, VALUE, finish_one(r, V, v, DB));    \
        }                                                                                \
        return next(x, y);                                                               \
    }                                                                                    \
    static PyObject *dual_##NAME(PyObject *x, PyObject *y)                               \
    {                                                                                    \
        return quick_##NAME(x, y, second_##NAME);                                        \
    }
#define UNARY(ENUM, NAME, NUMPY, VALUE, DA, ...)                                         \
    static PyObject *dual_##NAME(PyObject *x)                                            \
    {                                                                                    \
        const DualObject *u = (DualObject *)x;                                           \
        DualObject *r = dual_like(u);                                                    \
        if (!r)                                                                          \
            return NULL;                                                                 \
        const double a = u->value, A = a, V = VALUE;                                     \
        (void)A;                                                                         \
        return finish_one(r, V, u, DA);                                                  \
    }
#define NARY(ENUM, NAME, TEXT)
#include "ops.def"
#undef BINARY
#undef UNARY

static const unary_function unary_by_op[PYAD_OP_COUNT] = {
#define UNARY(ENUM, NAME, ...) [PYAD_OP_##ENUM] = dual_##NAME,
#define BINARY(ENUM, ...)
#include "ops.def"
#undef BINARY
#undef UNARY
};
static const binary_function binary_by_op[PYAD_OP_COUNT] = {
#define UNARY(ENUM, ...)
#define BINARY(ENUM, NAME, ...) [PYAD_OP_##ENUM] = dual_##NAME,
#include "ops.def"
#undef BINARY
#undef UNARY
#undef NARY
};

PyObject *dual_apply(int op, PyObject *x, PyObject *y)
{
    return y ? binary_by_op[op](x, y) : unary_by_op[op](x);
}

/* ---- number slots ----------------------------------------------------------------- */

/* What comes after the first tier is a call in the last place, too. */
#define OPERATOR(NAME, WHAT, REFLECTED)                                                  \
    static NOT_INLINE PyObject *later_##NAME(PyObject *x, PyObject *y)                   \
    {                                                                                    \
        PyObject *result = second_##NAME(x, y);                                          \
        if (result != Py_NotImplemented)                                                 \
            return result;                                                               \
        Py_DECREF(result);                                                               \
        return handle_not_implemented(x, y, "operator " WHAT, REFLECTED);                \
    }                                                                                    \
    static PyObject *operator_##NAME(PyObject *x, PyObject *y)                           \
    {                                                                                    \
        return quick_##NAME(x, y, later_##NAME);                                         \
    }
OPERATOR(add, "+", "__radd__")
OPERATOR(sub, "-", "__rsub__")
OPERATOR(mul, "*", "__rmul__")
OPERATOR(div, "/", "__rtruediv__")
OPERATOR(floordiv, "//", "__rfloordiv__")
OPERATOR(mod, "%", "__rmod__")
OPERATOR(pow, "**", "__rpow__")

/* x ** 2 is a square, here as on the tape. */
static PyObject *operator_power(PyObject *x, PyObject *y, PyObject *modulo)
{
    double exponent;
    if (modulo != Py_None)
        return raise_error(PYAD_ERROR_POW_MODULO);
    if (is_dual(x) && quick_number(y, &exponent) && exponent == 2)
        return dual_square(x);
    return operator_pow(x, y);
}

static PyObject *operator_divmod(PyObject *x, PyObject *y)
{
    PyObject *quotient = operator_floordiv(x, y);
    if (!quotient || quotient == Py_NotImplemented)
        return quotient;
    PyObject *rest = operator_mod(x, y);
    PyObject *both = rest ? PyTuple_Pack(2, quotient, rest) : NULL;
    Py_DECREF(quotient);
    Py_XDECREF(rest);
    return both;
}

static PyObject *operator_positive(PyObject *x) { return Py_NewRef(x); }

static PyObject *operator_float(PyObject *x)
{
    (void)x;
    return raise_error(PYAD_ERROR_WOULD_LOSE_DERIVATIVE);
}

PyNumberMethods dual_as_number = {
    .nb_add = operator_add,
    .nb_subtract = operator_sub,
    .nb_multiply = operator_mul,
    .nb_true_divide = operator_div,
    .nb_floor_divide = operator_floordiv,
    .nb_remainder = operator_mod,
    .nb_matrix_multiply = handle_matmul,
    .nb_divmod = operator_divmod,
    .nb_power = operator_power,
    .nb_negative = dual_neg,
    .nb_positive = operator_positive,
    .nb_absolute = dual_abs,
    .nb_bool = handle_bool,
    .nb_int = handle_int,
    .nb_float = operator_float,
};
