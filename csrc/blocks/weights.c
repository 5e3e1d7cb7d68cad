/* The weights of a map, tile by tile, and what they do to adjoints. A weight is stored
 * nowhere: it is the same number everywhere (add), or stands on the tape already as an
 * operand's value or the result (mul, exp), or is computed from them into scratch. */
#include <ctype.h>
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

/* The part of the operation that is the partial of a map in an operand. */
static enum pyad_part part_of(const pyad_block *map, int operand)
{
    static const enum pyad_part parts[3][2] = {
        {PYAD_DA, PYAD_DB}, {PYAD_DAA, PYAD_DAB}, {PYAD_DAB, PYAD_DBB}};
    return parts[map->order][operand];
}

/* What a row names of A, B and V; all of them where a name stands for more than it says,
 * or loops of its own may look at more (partials.c). */
static int names_of(int op, enum pyad_part part)
{
    static const uint8_t by_loops[PYAD_OP_COUNT][PYAD_DBB + 1] = {
#define ROW(ENUM, PART, ...) [PYAD_OP_##ENUM][PART] = 1,
#include "partials.def"
#undef ROW
    };
    const char *text = texts[op][part], *letters = "ABV";
    int names = 0;
    for (size_t i = 0; text && text[i]; i++) {
        const int alone = !(i && isalnum((unsigned char)text[i - 1])) &&
                          !isalnum((unsigned char)text[i + 1]) && text[i + 1] != '_';
        const char *at = alone ? strchr(letters, text[i]) : NULL;
        names |= at ? 1 << (at - letters) : 0;
    }
    const int hidden = text && (strchr(text, '_') || strstr(text, "DEFINED"));
    return hidden || by_loops[op][part] ? PYAD_TAKES_A | PYAD_TAKES_B | PYAD_TAKES_V
                                        : names;
}

int pyad_map_takes(const pyad_tape *tape, const pyad_block *map, int operand)
{
    const enum pyad_part part = part_of(map, operand);
    const pyad_source *x = tape->sources + map->first_source;
    if (map->op == PYAD_OP_POW && part == PYAD_DA && x[1].step == 0 &&
        *pyad_source_values(tape, x + 1) == 2) /* a square, see pyad_map_part */
        return PYAD_TAKES_A;
    return map->order ? PYAD_TAKES_A | PYAD_TAKES_B : names_of(map->op, part);
}

pyad_weights pyad_tile_weights(const pyad_tiles *t, const pyad_block *map, int operand,
                               size_t at, size_t count, double *scratch)
{
    const pyad_tape *tape = t->tape;
    const enum pyad_part part = part_of(map, operand);
    const pyad_source *source = tape->sources + map->first_source;
    const pyad_loops *loops = tape->loops;
    const int op = map->op, what = reference_of(op, part);
    const double *tile = pyad_tile_of(t, (uint32_t)(map - tape->blocks));
    size_t step_a = source->step, step_b = 0;
    const double *a = pyad_tile_source(t, source, at), *b = NULL;
    const double *v = tile ? tile : tape->values + map->start + at;
    if (map->source_count > 1) {
        step_b = source[1].step;
        b = pyad_tile_source(t, source + 1, at);
    }
    const double *partial = pyad_tile_of_partial(t, (uint32_t)(map - tape->blocks));
    if (partial)
        return (pyad_weights){partial, 1};
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

pyad_weights pyad_map_weights(const pyad_tape *tape, const pyad_block *map, int operand,
                              size_t at, size_t count, double *scratch)
{
    const pyad_tiles on_tape = {.tape = tape};
    return pyad_tile_weights(&on_tape, map, operand, at, count, scratch);
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
