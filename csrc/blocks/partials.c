/* The rows of partials.def: an argument, a function in a loop of its own, and what is
 * done with its result. A tile where an odd case occurs, a power that has left the normal
 * range, a hypot that overflowed, is left to the row of ops.def, whose branches are for
 * that. */
#include "partials.h"

#include <float.h>

#include "../number.h"
#include "lanes.h"

/* ---- the operators of number.h, read with E -----------------------------------------
 */

/* exp(-|X|) is E, for all X that a row asks for. */
INLINED double expit_with(double x, double e) { return (x < 0 ? e : 1) / (1 + e); }

/* As hypot to an ulp, and without a call; it is asked for hypot(1, a) only, see is_plain.
 */
INLINED double hypot_1(double a) { return fabs(a) < 1e150 ? sqrt(1 + a * a) : fabs(a); }

#undef EXP
#undef LOG
#undef EXPIT
#undef POW
#undef HYPOT
#undef POW_NORMAL
#undef POW_SAFE
#undef POW_VERY_SAFE
#define EXP(X) E
#define LOG(X) E
#define EXPIT(X) expit_with(X, E)
#define POW(X, Y) PYAD_NAN
#define HYPOT(X, Y) hypot_1(Y)
#define POW_NORMAL 1
#define POW_SAFE 1
#define POW_VERY_SAFE 1

enum { NO_ROW = -1, NO_FUNCTION = -2 };

#define KEY(ENUM, PART) PYAD_OP_##ENUM *(PYAD_DBB + 1) + PART

/* The function of the row; e[i] = its argument. */
WIDEST_LANES
static int set_arguments(int op, enum pyad_part part, size_t count, const double *a,
                         const double *b, const double *v, double *restrict e)
{
    switch (op * (PYAD_DBB + 1) + (int)part) {
#define ROW(ENUM, PART, FUNCTION, ARGUMENT, EXPRESSION)                                  \
    case KEY(ENUM, PART):                                                                \
        for (size_t i = 0; (int)FUNCTION != NO_FUNCTION && i < count; i++) {             \
            const double A = a[i], B = b[i], V = v[i];                                   \
            (void)A, (void)B, (void)V;                                                   \
            e[i] = ARGUMENT;                                                             \
        }                                                                                \
        return FUNCTION;
#include "partials.def"
#undef ROW
    default:
        return NO_ROW;
    }
}

WIDEST_LANES
static void set_results(int op, enum pyad_part part, size_t count, const double *a,
                        const double *b, const double *v, const double *restrict e,
                        double *out)
{
    switch (op * (PYAD_DBB + 1) + (int)part) {
#define ROW(ENUM, PART, FUNCTION, ARGUMENT, EXPRESSION)                                  \
    case KEY(ENUM, PART):                                                                \
        ANY_ORDER                                                                        \
        for (size_t i = 0; i < count; i++) {                                             \
            const double A = a[i], B = b[i], V = v[i], E = e[i];                         \
            (void)A, (void)B, (void)V, (void)E;                                          \
            out[i] = EXPRESSION;                                                         \
        }                                                                                \
        return;
#include "partials.def"
#undef ROW
    default:
        return;
    }
}

INLINED int is_odd(double x) { return !(fabs(x) >= DBL_MIN && fabs(x) <= DBL_MAX); }

/* No number of the tile takes a rare branch of its row. */
WIDEST_LANES
static int is_plain(int op, enum pyad_part part, size_t count, const double *a,
                    const double *v)
{
    uint64_t odd = 0;
    if (op == PYAD_OP_HYPOT)
        for (size_t i = 0; i < count; i++)
            odd |= v[i] < PYAD_INFINITY ? 0 : 1;
    else if (op == PYAD_OP_POW && (part == PYAD_DB || part == PYAD_DBB))
        for (size_t i = 0; i < count; i++)
            odd |= is_odd(v[i]) ? 1 : 0;
    else if (op == PYAD_OP_POW)
        for (size_t i = 0; i < count; i++) {
            const double once = v[i] / a[i], twice = once / a[i];
            odd |=
                is_odd(v[i]) | is_odd(once) | (part == PYAD_DAA && is_odd(twice)) ? 1 : 0;
        }
    return odd == 0;
}

static void run(const pyad_loops *loops, int function, size_t count, const double *from,
                double *to)
{
    pyad_map_part(loops, function, PYAD_VALUE, count, from, 1, NULL, 0, NULL, to);
}

int pyad_partial_by_loops(const pyad_loops *loops, int op, enum pyad_part part,
                          size_t count, const double *a, const double *b, const double *v,
                          double *out)
{
    double arguments[PYAD_TILE], results[PYAD_TILE];
    if (part != PYAD_VALUE && !is_plain(op, part, count, a, v))
        return 0;
    int function = set_arguments(op, part, count, a, b, v, arguments);
    if (function == NO_ROW)
        return 0;
    if (function != NO_FUNCTION)
        run(loops, function, count, arguments, results);
    const double *e = results;
    if (op == PYAD_OP_SOFTPLUS && part == PYAD_VALUE) { /* alone takes two functions */
        run(loops, PYAD_OP_LOG1P, count, results, arguments);
        e = arguments;
    }
    set_results(op, part, count, a, b, v, e, out);
    return 1;
}
