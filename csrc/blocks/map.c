/* Maps: the value of an operation, or one of its partials, along arrays. Partials come
 * from the rows of ops.def, tile by tile, in loops without a branch where the row has
 * none; those whose cost is an exponential, a sine ... take it from a loop of its own
 * (partials.c). No state, no allocation. */
#include <string.h>

#include "../number.h"
#include "lanes.h"
#include "partials.h"
#include "sincos.h"
#include "tanh.h"

/* ---- partials that are the same everywhere ----------------------------------------- */

static const char *const texts[][PYAD_DBB + 1] = {
#define UNARY(ENUM, NAME, NUMPY, VALUE, DA, DAA, ...)                                    \
    {"", #DA, "K(0)", #DAA, "K(0)", "K(0)"},
#define BINARY(ENUM, NAME, NUMPY, VALUE, DA, DB, DAA, DAB, DBB, ...)                     \
    {"", #DA, #DB, #DAA, #DAB, #DBB},
#define NARY(ENUM, NAME, TEXT) {"", "", "", "", "", ""},
#include "../ops.def"
#undef UNARY
#undef BINARY
#undef NARY
};
_Static_assert(sizeof texts / sizeof *texts == PYAD_OP_COUNT, "one row per operation");

/* Read off the text of the row, K(c) with a c that does not look at the operands. */
int pyad_map_constant_part(int op, enum pyad_part part, double *value)
{
    const char *text = texts[op][part];
    if (strncmp(text, "K(", 2) != 0 || strstr(text, "VAL("))
        return 0;
    pyad_partials p;
    pyad_op_partials(op, 1, 1, &p);
    const double parts[] = {p.value, p.da, p.db, p.daa, p.dab, p.dbb};
    *value = parts[part];
    return 1;
}

/* ---- the rows ---------------------------------------------------------------------- */

/* One loop per row and part: a jump finds it, so that one function, compiled for each set
 * of lanes, holds them all. Operands are contiguous. */
#define LOOP(ENUM, PART, EXPRESSION)                                                     \
    case PYAD_OP_##ENUM *(PYAD_DBB + 1) + PART:                                          \
        ANY_ORDER                                                                        \
        for (size_t i = 0; i < count; i++) {                                             \
            const double A = a[i], B = b[i], V = v[i];                                   \
            (void)A, (void)B, (void)V;                                                   \
            out[i] = EXPRESSION;                                                         \
        }                                                                                \
        return;

WIDEST_LANES
static void run_partial(int op, enum pyad_part part, size_t count, const double *a,
                        const double *b, const double *v, double *out)
{
    switch (op * (PYAD_DBB + 1) + (int)part) {
#define UNARY(ENUM, NAME, NUMPY, VALUE, DA, DAA, ...)                                    \
    LOOP(ENUM, PYAD_DA, DA)                                                              \
    LOOP(ENUM, PYAD_DAA, DAA)
#define BINARY(ENUM, NAME, NUMPY, VALUE, DA, DB, DAA, DAB, DBB, ...)                     \
    LOOP(ENUM, PYAD_DA, DA)                                                              \
    LOOP(ENUM, PYAD_DB, DB)                                                              \
    LOOP(ENUM, PYAD_DAA, DAA)                                                            \
    LOOP(ENUM, PYAD_DAB, DAB)                                                            \
    LOOP(ENUM, PYAD_DBB, DBB)
#define NARY(ENUM, NAME, TEXT)
#include "../ops.def"
#undef UNARY
#undef BINARY
#undef NARY
    default: /* the partials of one argument in the other */
        memset(out, 0, count * sizeof *out);
    }
}

/* ---- values ------------------------------------------------------------------------ */

static void fill(size_t count, double number, double *out)
{
    for (size_t i = 0; i < count; i++)
        out[i] = number;
}

typedef void own_values(size_t count, const double *a, double *out);

/* Loops of our own that are quicker than NumPy's, or NULL. */
static own_values *quick_values(int op)
{
    switch (op) {
    case PYAD_OP_SIN:
        return pyad_sin_values;
    case PYAD_OP_COS:
        return pyad_cos_values;
    case PYAD_OP_TANH:
        return pyad_tanh_is_quick() ? pyad_tanh_values : NULL;
    default:
        return NULL;
    }
}

static void run_value(const pyad_loops *loops, int op, size_t count, const double *a,
                      size_t step_a, const double *b, size_t step_b, double *out)
{
    const intptr_t size = sizeof(double), counts[] = {(intptr_t)count};
    own_values *quick = quick_values(op);
    if (quick) {
        const size_t apart = step_a ? count : 1;
        quick(apart, a, out);
        if (apart < count)
            fill(count, out[0], out);
    } else if (!loops || !loops->values[op].run) {
        pyad_op_values(op, count, a, step_a, b, step_b, out);
    } else if (b) {
        char *arrays[] = {(char *)(uintptr_t)a, (char *)(uintptr_t)b, (char *)out};
        const intptr_t steps[] = {(intptr_t)step_a * size, (intptr_t)step_b * size, size};
        loops->values[op].run(arrays, counts, steps, loops->values[op].data);
    } else {
        char *arrays[] = {(char *)(uintptr_t)a, (char *)out};
        const intptr_t steps[] = {(intptr_t)step_a * size, size};
        loops->values[op].run(arrays, counts, steps, loops->values[op].data);
    }
}

/* Values that neither NumPy has a loop for nor the compiler makes a good one of; and
 * x ** 0.5, where NumPy's loop for one exponent gives NaN at -inf. */
static int has_own_value(int op, const double *b, size_t step_b)
{
    if (op == PYAD_OP_POW)
        return step_b == 0 && *b == 0.5;
    return op == PYAD_OP_EXPIT || op == PYAD_OP_SOFTPLUS || op == PYAD_OP_RELU;
}

/* ---- by tiles ---------------------------------------------------------------------- */

/* An operand that is one number fills a tile of its own, so that the loops know one step
 * only. x ** 2 is common, and its row simpler under its other name. */
void pyad_map_part(const pyad_loops *loops, int op, enum pyad_part part, size_t count,
                   const double *a, size_t step_a, const double *b, size_t step_b,
                   const double *v, double *out)
{
    double filled_a[PYAD_TILE], filled_b[PYAD_TILE];
    if (count == 0)
        return;
    if (op == PYAD_OP_POW && step_b == 0 && *b == 2 &&
        (part == PYAD_VALUE || part == PYAD_DA || part == PYAD_DAA)) {
        op = PYAD_OP_SQUARE;
        b = NULL;
    }
    double reciprocal;
    if (part == PYAD_VALUE && op == PYAD_OP_DIV && step_b == 0 &&
        has_exact_reciprocal(*b, &reciprocal)) {
        op = PYAD_OP_MUL;
        b = &reciprocal;
    }
    if (part == PYAD_VALUE && !has_own_value(op, b, step_b)) {
        run_value(loops, op, count, a, step_a, b, step_b, out);
        return;
    }
    if (step_a == 0 && count > 1) {
        fill(smaller(count, PYAD_TILE), *a, filled_a);
        a = filled_a;
    }
    if (b && step_b == 0 && count > 1) {
        fill(smaller(count, PYAD_TILE), *b, filled_b);
        b = filled_b;
    }
    for (size_t from = 0; from < count; from += PYAD_TILE) {
        const size_t n = smaller(PYAD_TILE, count - from);
        const double *x = a + from * step_a, *y = b ? b + from * step_b : x;
        const double *z = v ? v + from : x;
        if (!pyad_partial_by_loops(loops, op, part, n, x, y, z, out + from))
            run_partial(op, part, n, x, y, z, out + from);
    }
}
