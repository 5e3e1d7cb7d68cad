/* The second-order sweep over blocks. What a block passes down is linear in its adjoint v
 * and in the derivative s of it, so both are swept as any adjoint is; maps and products
 * then add to s what comes of their own second partials,
 *
 *     s_a += v * (d2/da2 * t_a + d2/dadb * t_b). */
#include "second.h"

#include <string.h>

#include "../buffer.h"
#include "../rows.h"
#include "../structure.h"
#include "life.h"
#include "sweep.h"

int pyad_second_check(const pyad_tape *tape, size_t from)
{
    for (size_t b = pyad_tape_blocks_below(tape, from); b < tape->block_count; b++)
        if (tape->blocks[b].kind == PYAD_BLOCK_CALL || tape->blocks[b].order > 0)
            return PYAD_ERROR_NEEDS_RECORDING;
    return PYAD_OK;
}

/* The sweep of rows by this block alone: nothing before it joins in. */
static int pass_on(const pyad_second *s, uint32_t block, size_t width, double *rows)
{
    const pyad_sweep sweep = {.tape = s->tape,
                              .from = s->from,
                              .seeds = width,
                              .rows = rows,
                              .first_block = block};
    return pyad_blocks_reverse(&sweep, &block);
}

static int has(const pyad_second *s, const pyad_source *x)
{
    return x->node != PYAD_CONSTANT && x->node >= s->from;
}

static size_t row_at(const pyad_second *s, uint32_t node) { return node - s->from + 1; }

/* ---- maps ------------------------------------------------------------------------- */

/* The numbers of an operand from number `at` on, in rows of so many directions. */
typedef struct {
    const double *tangents;
    double *second;
    size_t step;
} operand;

static operand operand_at(const pyad_second *s, const pyad_source *x, size_t at)
{
    const size_t row = (row_at(s, x->node) + at * x->step) * s->directions;
    return (operand){s->tangents + row, s->second + row, x->step};
}

/* As bend_rows in one direction, in vector lanes: where all is finite. */
INLINED int bend_lanes(size_t count, const double *restrict bends,
                       const double *restrict of, double *restrict to)
{
    double check = 0;
    for (size_t i = 0; i < count; i++)
        check += 0 * bends[i] + 0 * of[i];
    if (check != 0 || check != check)
        return 0;
    for (size_t i = 0; i < count; i++)
        to[i] += bends[i] * of[i];
    return 1;
}

/* to += bends * of, where 0 stays 0 beside an infinity. */
INLINED void bend_rows(size_t width, size_t count, const double *bends, operand of,
                       operand to)
{
    if (width == 1 && of.step && to.step &&
        bend_lanes(count, bends, of.tangents, to.second))
        return;
    for (size_t i = 0; i < count; i++)
        if (bends[i] != 0)
            add_scaled(width, bends[i], of.tangents + i * of.step * width,
                       to.second + i * to.step * width);
}

WIDEST_LANES
static void bend(size_t width, size_t count, const double *bends, operand of, operand to)
{
    if (width == 1)
        bend_rows(1, count, bends, of, to);
    else if (width == 4)
        bend_rows(4, count, bends, of, to);
    else if (width == 8)
        bend_rows(8, count, bends, of, to);
    else
        bend_rows(width, count, bends, of, to);
}

/* bends = own * a second partial of the map, from number `at` on. */
static void bends_of(const pyad_second *s, const pyad_block *map, enum pyad_part part,
                     size_t at, size_t count, double *bends)
{
    const pyad_source *x = pyad_block_sources(s->tape, map);
    const double *own = s->adjoints + row_at(s, map->start) + at;
    const int two = map->source_count > 1;
    const size_t step = x[0].step, step_b = two ? x[1].step : 0;
    double value;
    if (pyad_map_constant_part(map->op, part, &value)) {
        for (size_t i = 0; i < count; i++)
            bends[i] = own[i] * value;
        return;
    }
    pyad_map_part(s->tape->loops, map->op, part, count,
                  pyad_source_values(s->tape, &x[0]) + at * step, step,
                  two ? pyad_source_values(s->tape, &x[1]) + at * step_b : NULL, step_b,
                  s->tape->values + map->start + at, bends);
    for (size_t i = 0; i < count; i++)
        bends[i] = own[i] == 0 ? 0 : own[i] * bends[i];
}

/* Second partials in a constant are left out: they may be costly, and are often NaN. */
static void curve_map(const pyad_second *s, const pyad_block *map)
{
    const pyad_source *x = pyad_block_sources(s->tape, map);
    const int a = has(s, &x[0]), b = map->source_count > 1 && has(s, &x[1]);
    const int curved = pyad_op_structure(map->op) &
                       ((a ? PYAD_CURVED_AA : 0) | (b ? PYAD_CURVED_BB : 0) |
                        (a && b ? PYAD_CURVED_AB : 0));
    double bends[PYAD_TILE];
    for (size_t at = 0; curved && at < map->count; at += PYAD_TILE) {
        const size_t rest = map->count - at, count = rest < PYAD_TILE ? rest : PYAD_TILE;
        const operand p = a ? operand_at(s, &x[0], at) : (operand){0};
        const operand q = b ? operand_at(s, &x[1], at) : (operand){0};
        if (curved & PYAD_CURVED_AA) {
            bends_of(s, map, PYAD_DAA, at, count, bends);
            bend(s->directions, count, bends, p, p);
        }
        if (curved & PYAD_CURVED_AB) {
            bends_of(s, map, PYAD_DAB, at, count, bends);
            bend(s->directions, count, bends, q, p);
            bend(s->directions, count, bends, p, q);
        }
        if (curved & PYAD_CURVED_BB) {
            bends_of(s, map, PYAD_DBB, at, count, bends);
            bend(s->directions, count, bends, q, q);
        }
    }
}

/* ---- products --------------------------------------------------------------------- */

/* The tangents of an operand in direction d, and 0 for what they add to `second`. */
static void read_column(const pyad_second *s, const pyad_source *x, size_t d,
                        double *tangents, double *share)
{
    const double *rows = s->tangents + row_at(s, x->node) * s->directions + d;
    for (size_t i = 0; i < x->count; i++)
        tangents[i] = rows[i * s->directions];
    memset(share, 0, x->count * sizeof *share);
}

static void add_column(const pyad_second *s, const pyad_source *x, size_t d,
                       const double *share)
{
    double *rows = s->second + row_at(s, x->node) * s->directions + d;
    for (size_t i = 0; i < x->count; i++)
        rows[i * s->directions] += share[i];
}

/* A product is linear in each operand: at the tangents instead of the operands the same
 * step gives s_a += v @ t_b^T and s_b += t_a^T @ v. */
static int curve_product(const pyad_second *s, const pyad_block *b)
{
    const pyad_source *x = pyad_block_sources(s->tape, b), *y = x + 1;
    const double *own = s->adjoints + row_at(s, b->start);
    if (!has(s, x) || !has(s, y) || is_zero(b->count, own))
        return PYAD_OK;
    double *room = pyad_buffer_new(2 * (x->count + y->count) * sizeof(double));
    if (!room)
        return PYAD_ERROR_NO_MEMORY;
    double *tx = room, *ty = tx + x->count, *sx = ty + y->count, *sy = sx + x->count;
    int status = PYAD_OK;
    for (size_t d = 0; d < s->directions && !status; d++) {
        read_column(s, x, d, tx, sx);
        read_column(s, y, d, ty, sy);
        if (is_zero(x->count + y->count, tx))
            continue;
        status = pyad_product_reverse(s->tape->loops, pyad_store_at(s->tape, b->data), tx,
                                      ty, own, sx, sy);
        add_column(s, x, d, sx);
        add_column(s, y, d, sy);
    }
    pyad_buffer_release(room);
    return status;
}

int pyad_second_block(const pyad_second *s, uint32_t block)
{
    const pyad_block *b = &s->tape->blocks[block];
    int status = pass_on(s, block, 1, s->adjoints);
    if (!status)
        status = pass_on(s, block, s->directions, s->second);
    if (status)
        return status;
    if (b->kind == PYAD_BLOCK_MAP)
        curve_map(s, b);
    return b->kind == PYAD_BLOCK_PRODUCT ? curve_product(s, b) : PYAD_OK;
}
