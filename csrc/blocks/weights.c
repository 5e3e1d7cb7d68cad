/* The weights of a map, tile by tile, and what they do to adjoints. A weight is stored
 * nowhere: it is the same number everywhere (add), or stands on the tape already as an
 * operand's value or the result (mul, exp), or is computed from them into scratch. */
#include <string.h>

#include "../rows.h"
#include "sweep.h"

/* ---- where a weight stands -------------------------------------------------------- */

/* The partials of the rows as they are written: "A", "B" and "V" are numbers that exist.
 */
static const char *const texts[PYAD_OP_COUNT][6] = {
#define UNARY(ENUM, NAME, NUMPY, VALUE, DA, DAA, ...)                                    \
    [PYAD_OP_##ENUM] = {[PYAD_DA] = #DA, [PYAD_DAA] = #DAA},
#define BINARY(ENUM, NAME, NUMPY, VALUE, DA, DB, DAA, DAB, DBB, ...)                     \
    [PYAD_OP_##ENUM] = {"", #DA, #DB, #DAA, #DAB, #DBB},
#define NARY(ENUM, NAME, TEXT)
#include "../ops.def"
#undef UNARY
#undef BINARY
#undef NARY
};

/* 'A', 'B' or 'V' if that is the partial; else 0. */
static int reference_of(int op, enum pyad_part part)
{
    const char *text = texts[op][part];
    return text && text[0] && !text[1] ? text[0] : 0;
}

/* A division by one number is a multiplication by one number. */
static int is_reciprocal(int op, enum pyad_part part)
{
    const char *text = texts[op][part];
    return text && strcmp(text, "DIV(K(1), B)") == 0;
}

pyad_weights pyad_map_weights(const pyad_tape *tape, const pyad_block *map, int operand,
                              size_t at, size_t count, double *scratch)
{
    static const enum pyad_part parts[3][2] = {
        {PYAD_DA, PYAD_DB}, {PYAD_DAA, PYAD_DAB}, {PYAD_DAB, PYAD_DBB}};
    const enum pyad_part part = parts[map->order][operand];
    const pyad_source *source = tape->sources + map->first_source;
    const pyad_loops *loops = tape->loops;
    const int op = map->op, what = reference_of(op, part);
    size_t step_a = source->step, step_b = 0;
    const double *a = pyad_source_values(tape, source) + at * step_a, *b = NULL;
    const double *v = tape->values + map->start + at;
    if (map->source_count > 1) {
        step_b = source[1].step;
        b = pyad_source_values(tape, source + 1) + at * step_b;
    }
    if (pyad_map_constant_part(op, part, scratch))
        return (pyad_weights){scratch, 0};
    if (what == 'A')
        return (pyad_weights){a, step_a};
    if (what == 'B')
        return (pyad_weights){b, step_b};
    if (what == 'V' && map->order == 0)
        return (pyad_weights){v, 1};
    if (step_b == 0 && is_reciprocal(op, part)) {
        scratch[0] = 1 / b[0];
        return (pyad_weights){scratch, 0};
    }
    if (map->order > 0) { /* the node's value is a partial: the operation's own again */
        double *own = scratch + PYAD_TILE;
        pyad_map_part(loops, op, PYAD_VALUE, count, a, step_a, b, step_b, NULL, own);
        v = own;
    }
    pyad_map_part(loops, op, part, count, a, step_a, b, step_b, v, scratch);
    return (pyad_weights){scratch, 1};
}

/* ---- shares ----------------------------------------------------------------------- */

static inline double scaled(double own, double weight)
{
    double share = own * weight;
    return own == 0 ? 0 : share;
}

INLINED void share_set(size_t count, const double *restrict own, const double *restrict w,
                       size_t step, double *restrict to)
{
    for (size_t i = 0; i < count; i++)
        to[i] = scaled(own[i], w[i * step]);
}

INLINED void share_add(size_t count, const double *restrict own, const double *restrict w,
                       size_t step, double *restrict to)
{
    for (size_t i = 0; i < count; i++)
        to[i] += scaled(own[i], w[i * step]);
}

/* Eight partial sums: lanes, and an error that grows with an eighth of the tile. */
INLINED double share_sum(size_t count, const double *restrict own,
                         const double *restrict w, size_t step)
{
    double sums[8] = {0};
    size_t i = 0;
    for (; i + 8 <= count; i += 8)
        for (size_t lane = 0; lane < 8; lane++)
            sums[lane] += scaled(own[i + lane], w[(i + lane) * step]);
    for (; i < count; i++)
        sums[0] += scaled(own[i], w[i * step]);
    return ((sums[0] + sums[1]) + (sums[2] + sums[3])) +
           ((sums[4] + sums[5]) + (sums[6] + sums[7]));
}

WIDEST_LANES
static void share_vectors(enum pyad_mode mode, size_t count, const double *own,
                          const double *w, double *to)
{
    if (mode == PYAD_SET)
        share_set(count, own, w, 1, to);
    else if (mode == PYAD_ADD)
        share_add(count, own, w, 1, to);
    else
        *to += share_sum(count, own, w, 1);
}

WIDEST_LANES
static void share_number(enum pyad_mode mode, size_t count, const double *own, double w,
                         double *to)
{
    if (mode == PYAD_SET)
        share_set(count, own, &w, 0, to);
    else if (mode == PYAD_ADD)
        share_add(count, own, &w, 0, to);
    else
        *to += share_sum(count, own, &w, 0);
}

void pyad_share(enum pyad_mode mode, size_t count, const double *own, pyad_weights w,
                double *to)
{
    if (mode == PYAD_SET && w.step == 0 && w.at[0] == 1)
        memcpy(to, own, count * sizeof(double));
    else if (w.step)
        share_vectors(mode, count, own, w.at, to);
    else
        share_number(mode, count, own, w.at[0], to);
}

WIDEST_LANES
void pyad_share_number(enum pyad_mode mode, size_t count, double value, double *to)
{
    for (size_t i = 0; mode == PYAD_SET && i < count; i++)
        to[i] = value;
    for (size_t i = 0; mode == PYAD_ADD && i < count; i++)
        to[i] += value;
}

WIDEST_LANES
void pyad_share_rows(size_t seeds, size_t count, const double *of, size_t step_of,
                     pyad_weights w, double *to, size_t step_to)
{
    for (size_t i = 0; i < count; i++) {
        const double *row = of + i * step_of * seeds;
        if (!is_zero(seeds, row))
            add_scaled(seeds, w.at[i * w.step], row, to + i * step_to * seeds);
    }
}
