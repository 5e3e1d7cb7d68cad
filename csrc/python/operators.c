/* The operations on handles: one function per row of ops.def, in three tiers. The first
 * takes results of one live recording and floats, and is all that most operations see;
 * the second adds leaves and ints; the rest goes to operand.c. Room on the tape and the
 * new handle are made first; after that nothing can fail, and until then nothing has
 * changed, so a tier that cannot simply leaves the operation to the next one. */
#include "handle.h"

#include "number.h"

/* ---- first tier ------------------------------------------------------------------- */

/* X_IS_VAR and Y_IS_VAR are 0 or 1 where this is expanded: the partial in a number is not
 * computed, its weight is the number itself. */
#define RECORD(OP, VALUE, DA, DB, TAPE, X, I, X_IS_VAR, Y, J, Y_IS_VAR)                  \
    do {                                                                                 \
        VarObject *handle;                                                               \
        if (!tape_has_room(TAPE, 0, 2) || !(handle = var_reuse()))                       \
            break;                                                                       \
        const double a = X, b = Y, A = a, B = b, V = VALUE;                              \
        (void)A, (void)B;                                                                \
        uint32_t node = pyad_push_binary((TAPE)->core, OP, V, I, X_IS_VAR ? DA : a, J,   \
                                         Y_IS_VAR ? DB : b);                             \
        return var_finish(handle, TAPE, V, node);                                        \
    } while (0)

/* ---- second tier ------------------------------------------------------------------ */

typedef struct {
    TapeObject *tape;
    VarObject *x, *y; /* NULL for a number */
    double a, b;
} quick_pair;

/* The tape on which an operation on `x` can be recorded at once, or NULL. */
static inline TapeObject *quick_tape(const VarObject *x)
{
    if (x->generation == x->tape->live)
        return x->tape;
    return x->generation == LEAF_GENERATION ? fast_tape_here() : NULL;
}

static inline int belongs_to(const VarObject *x, const TapeObject *tape)
{
    return x->generation == tape->live || x->generation == LEAF_GENERATION;
}

/* Finds the tape of an operation on Vars, floats and ints; 0 if it is for the slow way.
 */
static int quick_operands(PyObject *x, PyObject *y, quick_pair *p)
{
    p->x = is_var(x) ? (VarObject *)x : NULL;
    p->y = is_var(y) ? (VarObject *)y : NULL;
    if (p->x)
        p->a = p->x->value;
    else if (!quick_number(x, &p->a))
        return 0;
    if (p->y)
        p->b = p->y->value;
    else if (!quick_number(y, &p->b))
        return 0;
    p->tape = p->x ? quick_tape(p->x) : NULL;
    if (p->y && (!p->tape || !belongs_to(p->y, p->tape)))
        p->tape = quick_tape(p->y);
    return p->tape && (!p->x || belongs_to(p->x, p->tape)) &&
           (!p->y || belongs_to(p->y, p->tape)) && tape_has_room(p->tape, 2, 2);
}

/* The node of an operand, PYAD_CONSTANT for a number. A leaf registers itself on first
 * use. */
static inline uint32_t quick_node(TapeObject *tape, VarObject *x)
{
    if (!x)
        return PYAD_CONSTANT;
    if (x->generation != LEAF_GENERATION || x->tape == tape)
        return x->node;
    return tape_register(tape, x);
}

/* ---- the functions ---------------------------------------------------------------- */

#define BINARY(ENUM, NAME, NUMPY, VALUE, DA, DB, ...)                                    \
    static NOT_INLINE PyObject *second_##NAME(PyObject *x, PyObject *y)                  \
    {                                                                                    \
        quick_pair p;                                                                    \
        VarObject *handle;                                                               \
        if (!quick_operands(x, y, &p) || !(handle = var_allocate()))                     \
            return apply_slowly(PYAD_OP_##ENUM, x, y);                                   \
        const double a = p.a, b = p.b, A = a, B = b, V = VALUE;                          \
        (void)A, (void)B;                                                                \
        uint32_t i = quick_node(p.tape, p.x), j = quick_node(p.tape, p.y);               \
        uint32_t node = pyad_push_binary(p.tape->core, PYAD_OP_##ENUM, V, i,             \
                                         p.x ? DA : a, j, p.y ? DB : b);                 \
        return var_finish(handle, p.tape, V, node);                                      \
    }                                                                                    \
    static inline PyObject *quick_##NAME(PyObject *x, PyObject *y)                       \
    {                                                                                    \
        VarObject *u = (VarObject *)x, *v = (VarObject *)y;                              \
        if (is_var(x) && u->generation == u->tape->live) {                               \
            if (is_var(y) && v->generation == u->generation)                             \
                RECORD(PYAD_OP_##ENUM, VALUE, DA, DB, u->tape, u->value, u->node, 1,     \
                       v->value, v->node, 1);                                            \
            else if (PyFloat_CheckExact(y))                                              \
                RECORD(PYAD_OP_##ENUM, VALUE, DA, DB, u->tape, u->value, u->node, 1,     \
                       PyFloat_AS_DOUBLE(y), PYAD_CONSTANT, 0);                          \
        } else if (PyFloat_CheckExact(x) && is_var(y) &&                                 \
                   v->generation == v->tape->live) {                                     \
            RECORD(PYAD_OP_##ENUM, VALUE, DA, DB, v->tape, PyFloat_AS_DOUBLE(x),         \
                   PYAD_CONSTANT, 0, v->value, v->node, 1);                              \
        }                                                                                \
        return second_##NAME(x, y);                                                      \
    }                                                                                    \
    PyObject *binary_##NAME(PyObject *x, PyObject *y) { return quick_##NAME(x, y); }
#define UNARY(ENUM, NAME, NUMPY, VALUE, DA, ...)                                         \
    PyObject *unary_##NAME(PyObject *x)                                                  \
    {                                                                                    \
        VarObject *handle;                                                               \
        TapeObject *tape = is_var(x) ? quick_tape((VarObject *)x) : NULL;                \
        if (!tape || !tape_has_room(tape, 1, 1) || !(handle = var_allocate()))           \
            return apply_slowly(PYAD_OP_##ENUM, x, NULL);                                \
        const double a = ((VarObject *)x)->value, A = a, V = VALUE;                      \
        (void)A;                                                                         \
        uint32_t i = quick_node(tape, (VarObject *)x);                                   \
        uint32_t node = pyad_push_unary(tape->core, PYAD_OP_##ENUM, V, i, DA);           \
        return var_finish(handle, tape, V, node);                                        \
    }
#define NARY(ENUM, NAME, TEXT)
#include "ops.def"
#undef BINARY
#undef UNARY
#undef NARY

/* ---- number slots ----------------------------------------------------------------- */

#define OPERATOR(NAME, WHAT, REFLECTED)                                                  \
    static PyObject *operator_##NAME(PyObject *x, PyObject *y)                           \
    {                                                                                    \
        PyObject *result = quick_##NAME(x, y);                                           \
        if (result != Py_NotImplemented)                                                 \
            return result;                                                               \
        Py_DECREF(result);                                                               \
        return handle_not_implemented(x, y, "operator " WHAT, REFLECTED);                \
    }
OPERATOR(add, "+", "__radd__")
OPERATOR(sub, "-", "__rsub__")
OPERATOR(mul, "*", "__rmul__")
OPERATOR(div, "/", "__rtruediv__")
OPERATOR(floordiv, "//", "__rfloordiv__")
OPERATOR(mod, "%", "__rmod__")
OPERATOR(pow, "**", "__rpow__")

/* x ** 2 is recorded as a square: the commonest power, and no pow in it. */
static PyObject *operator_power(PyObject *x, PyObject *y, PyObject *modulo)
{
    double exponent;
    if (modulo != Py_None)
        return raise_error(PYAD_ERROR_POW_MODULO);
    if (is_var(x) && quick_number(y, &exponent) && exponent == 2)
        return unary_square(x);
    return operator_pow(x, y);
}

/* Two operations: if the second fails, the first is taken back. */
static PyObject *operator_divmod(PyObject *x, PyObject *y)
{
    mark before;
    if (mark_set(&before, x, y) < 0)
        return NULL;
    PyObject *quotient = operator_floordiv(x, y);
    if (!quotient || quotient == Py_NotImplemented)
        return quotient;
    PyObject *rest = operator_mod(x, y);
    PyObject *both = rest ? PyTuple_Pack(2, quotient, rest) : NULL;
    if (!both)
        mark_take_back(&before);
    Py_DECREF(quotient);
    Py_XDECREF(rest);
    return both;
}

/* A result is unchangeable and may stand for itself; a leaf's value may be assigned
 * later. */
static PyObject *operator_positive(PyObject *x)
{
    return is_intermediate((VarObject *)x) ? Py_NewRef(x) : unary_positive(x);
}

/* Only where no derivative can be lost: on a constant, and inside no_grad. */
static PyObject *operator_float(PyObject *x)
{
    VarObject *v = (VarObject *)x;
    if (v->generation != CONSTANT_GENERATION) {
        thread_state *thread = thread_here();
        if (!thread)
            return NULL;
        if (!thread->no_grad)
            return raise_error(PYAD_ERROR_WOULD_LOSE_DERIVATIVE);
        if (guarding_tapes && guard_read(x) < 0)
            return NULL;
    }
    return PyFloat_FromDouble(v->value);
}

PyNumberMethods var_as_number = {
    .nb_add = operator_add,
    .nb_subtract = operator_sub,
    .nb_multiply = operator_mul,
    .nb_true_divide = operator_div,
    .nb_floor_divide = operator_floordiv,
    .nb_remainder = operator_mod,
    .nb_matrix_multiply = handle_matmul,
    .nb_divmod = operator_divmod,
    .nb_power = operator_power,
    .nb_negative = unary_neg,
    .nb_positive = operator_positive,
    .nb_absolute = unary_abs,
    .nb_bool = handle_bool,
    .nb_int = handle_int,
    .nb_float = operator_float,
};
