/* The operation table at work: value and partials of every row, and the library's own
 * recording functions. The handle in python/ expands the same rows into code without this
 * dispatch. */
#include "record.h"

#include <string.h>

#include "number.h"

/* ---- the table as data ------------------------------------------------------------ */

static const pyad_op_info infos[] = {
#define UNARY(ENUM, NAME, NUMPY, VALUE, DA, DAA, DOMAIN, TEXT)                           \
    {#NAME, NUMPY, TEXT, DOMAIN, "", 1},
#define BINARY(ENUM, NAME, NUMPY, VALUE, DA, DB, DAA, DAB, DBB, DOMAIN_A, DOMAIN_B,      \
               TEXT)                                                                     \
    {#NAME, NUMPY, TEXT, DOMAIN_A, DOMAIN_B, 2},
#define NARY(ENUM, NAME, TEXT) {#NAME, "", TEXT, "", "", -1},
#include "ops.def"
#undef UNARY
#undef BINARY
#undef NARY
};
_Static_assert(sizeof infos / sizeof *infos == PYAD_OP_COUNT, "one row per operation");

int pyad_op_count(void) { return PYAD_OP_COUNT; }

const pyad_op_info *pyad_op_describe(int op)
{
    return op >= 0 && op < PYAD_OP_COUNT ? &infos[op] : NULL;
}

/* ---- one row at one point --------------------------------------------------------- */

int pyad_op_partials(int op, double a, double b, pyad_partials *result)
{
    const double A = a, B = b;
    double V;
    switch (op) {
#define UNARY(ENUM, NAME, NUMPY, VALUE, DA, DAA, DOMAIN, TEXT)                           \
    case PYAD_OP_##ENUM:                                                                 \
        V = VALUE;                                                                       \
        *result = (pyad_partials){.value = V, .da = DA, .daa = DAA};                     \
        return PYAD_OK;
#define BINARY(ENUM, NAME, NUMPY, VALUE, DA, DB, DAA, DAB, DBB, DOMAIN_A, DOMAIN_B,      \
               TEXT)                                                                     \
    case PYAD_OP_##ENUM:                                                                 \
        V = VALUE;                                                                       \
        *result = (pyad_partials){V, DA, DB, DAA, DAB, DBB};                             \
        return PYAD_OK;
#define NARY(ENUM, NAME, TEXT)
#include "ops.def"
#undef UNARY
#undef BINARY
#undef NARY
    default:
        return PYAD_ERROR_OPERATION_UNKNOWN;
    }
}

double pyad_op_value(int op, double a, double b)
{
    double value = PYAD_NAN;
    if (op >= 0 && op < PYAD_OP_COUNT && infos[op].arguments > 0)
        pyad_op_values(op, 1, &a, 0, &b, 0, &value);
    return value;
}

int pyad_op_values(int op, size_t count, const double *x, size_t step_x, const double *y,
                   size_t step_y, double *result)
{
    switch (op) {
#define UNARY(ENUM, NAME, NUMPY, VALUE, DA, DAA, DOMAIN, TEXT)                           \
    case PYAD_OP_##ENUM:                                                                 \
        for (size_t i = 0; i < count; i++) {                                             \
            const double a = x[i * step_x];                                              \
            result[i] = VALUE;                                                           \
        }                                                                                \
        return PYAD_OK;
#define BINARY(ENUM, NAME, NUMPY, VALUE, DA, DB, DAA, DAB, DBB, DOMAIN_A, DOMAIN_B,      \
               TEXT)                                                                     \
    case PYAD_OP_##ENUM:                                                                 \
        for (size_t i = 0; i < count; i++) {                                             \
            const double a = x[i * step_x], b = y[i * step_y];                           \
            result[i] = VALUE;                                                           \
        }                                                                                \
        return PYAD_OK;
#define NARY(ENUM, NAME, TEXT)
#include "ops.def"
#undef UNARY
#undef BINARY
#undef NARY
    default:
        return PYAD_ERROR_OPERATION_UNKNOWN;
    }
}

/* ---- recording one and two arguments ---------------------------------------------- */

static int on_tape(const pyad_tape *tape, pyad_operand x)
{
    return x.node < tape->length || x.node == PYAD_CONSTANT;
}

int pyad_tape_leaf(pyad_tape *tape, double value, pyad_operand *result)
{
    int status = pyad_tape_reserve(tape, 1, 0);
    if (status)
        return status;
    *result = (pyad_operand){value, pyad_push_node(tape, PYAD_OP_LEAF, value, 0)};
    return PYAD_OK;
}

int pyad_tape_apply(pyad_tape *tape, int op, pyad_operand a, pyad_operand b,
                    pyad_operand *result)
{
    const pyad_op_info *info = pyad_op_describe(op);
    if (!info || info->arguments < 1)
        return PYAD_ERROR_OPERATION_UNKNOWN;
    if (info->arguments == 1)
        b = (pyad_operand){0, PYAD_CONSTANT};
    if (!on_tape(tape, a) || !on_tape(tape, b))
        return PYAD_ERROR_NODE_RANGE;
    int constant = a.node == PYAD_CONSTANT && b.node == PYAD_CONSTANT;
    int status = constant ? PYAD_OK : pyad_tape_reserve(tape, 1, (size_t)info->arguments);
    if (status)
        return status;
    pyad_partials p;
    pyad_op_partials(op, a.value, b.value, &p);
    uint32_t node = PYAD_CONSTANT;
    if (!constant && info->arguments == 1)
        node = pyad_push_unary(tape, op, p.value, a.node, p.da);
    else if (!constant)
        node = pyad_push_binary(tape, op, p.value, a.node,
                                a.node == PYAD_CONSTANT ? a.value : p.da, b.node,
                                b.node == PYAD_CONSTANT ? b.value : p.db);
    *result = (pyad_operand){p.value, node};
    return PYAD_OK;
}
