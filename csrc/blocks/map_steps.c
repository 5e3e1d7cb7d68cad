/* The steps of a recorded sweep over maps: the number of a map times its partial, which
 * is another map (of order 1 or 2), or numbers that stand on the tape already. */
#include <string.h>

#include "../buffer.h"
#include "graph.h"

static pyad_numbers values_of(const pyad_block *b, uint32_t block)
{
    return (pyad_numbers){.node = b->start, .block = block, .step = 1, .count = b->count};
}

typedef struct {
    pyad_block b;
    pyad_source x[2];
    pyad_numbers operands[2], v;
} map;

static map map_of(pyad_recorded *s, uint32_t block)
{
    map m = {.b = s->g.tape->blocks[block]};
    m.operands[1] = pyad_numbers_uniform(0, m.b.count);
    m.x[1] = (pyad_source){.node = PYAD_CONSTANT, .block = PYAD_NO_BLOCK};
    for (uint32_t i = 0; i < m.b.source_count; i++) {
        m.x[i] = s->g.tape->sources[m.b.first_source + i];
        m.operands[i] = pyad_numbers_of_source(&s->g, &m.x[i], m.b.count);
    }
    m.v = m.b.order ? pyad_numbers_map(&s->g, m.b.op, 0, m.operands[0], m.operands[1])
                    : values_of(&m.b, block);
    return m;
}

/* numbers * the partial of a block that is itself a partial: no block can hold a second
 * one, so that it is recorded element by element. Only third derivatives come here. */
static pyad_numbers mul_second(graph *g, const map *m, uint32_t which, pyad_numbers x)
{
    const int part =
        m->b.order == 1 ? (which ? PYAD_DAB : PYAD_DAA) : (which ? PYAD_DBB : PYAD_DAB);
    const size_t count = m->b.count;
    double value;
    if (pyad_map_constant_part(m->b.op, (enum pyad_part)part, &value))
        return pyad_numbers_mul(g, x, pyad_numbers_uniform(value, count), NULL);
    pyad_operand *shares = count > SIZE_MAX / 4 / sizeof *shares
                               ? NULL
                               : pyad_buffer_new(count * sizeof *shares);
    if (!shares) {
        g->status = PYAD_ERROR_NO_MEMORY;
        return x;
    }
    for (size_t i = 0; i < count && !g->status; i++) {
        pyad_operand own = pyad_numbers_at(g, &x, i);
        shares[i] = graph_constant(0);
        if (graph_is(own, 0))
            continue;
        pyad_operand second = pyad_graph_part(
            g, m->b.op, part, pyad_numbers_at(g, &m->operands[0], i),
            pyad_numbers_at(g, &m->operands[1], i), pyad_numbers_at(g, &m->v, i));
        shares[i] = graph_mul(g, own, second);
    }
    if (!g->status)
        x = pyad_numbers_gather(g, count, shares);
    pyad_buffer_release(shares);
    return x;
}

/* Where a number is 0, and a second partial is not finite that a sweep over the product
 * would multiply it by: as an array of 0 and 1, or NULL if there is no such place. */
static uint8_t *held_of(graph *g, const map *m, uint32_t which, const pyad_numbers *x)
{
    const double *own = pyad_numbers_values(g, x);
    const pyad_numbers *a = &m->operands[0], *b = &m->operands[1];
    const double *v = pyad_numbers_values(g, &m->v);
    double partials[PYAD_TILE], value;
    uint8_t *held = NULL;
    for (size_t at = 0; at < m->b.count; at += PYAD_TILE) {
        const size_t rest = m->b.count - at, count = rest < PYAD_TILE ? rest : PYAD_TILE;
        int zeros = 0;
        for (size_t i = 0; i < count; i++)
            zeros |= own[(at + i) * x->step] == 0;
        for (uint32_t in = 0; zeros && in < 2; in++) {
            const enum pyad_part part = which + in == 0   ? PYAD_DAA
                                        : which + in == 1 ? PYAD_DAB
                                                          : PYAD_DBB;
            if (m->operands[in].node == PYAD_CONSTANT ||
                pyad_map_constant_part(m->b.op, part, &value))
                continue;
            pyad_map_part(g->tape->loops, m->b.op, part, count,
                          pyad_numbers_values(g, a) + at * a->step, a->step,
                          pyad_numbers_values(g, b) + at * b->step, b->step, v + at,
                          partials);
            for (size_t i = 0; i < count; i++) {
                if (own[(at + i) * x->step] != 0 || isfinite(partials[i]))
                    continue;
                if (!held && (held = pyad_buffer_new(m->b.count)))
                    memset(held, 0, m->b.count);
                if (held)
                    held[at + i] = 1;
                else
                    g->status = PYAD_ERROR_NO_MEMORY;
            }
        }
    }
    return held;
}

/* numbers * the partial in operand `which`. */
static pyad_numbers mul_partial(graph *g, const map *m, uint32_t which, pyad_numbers x)
{
    if (g->status || pyad_numbers_are(&x, 0))
        return x;
    if (m->b.order)
        return mul_second(g, m, which, x);
    uint8_t *held = held_of(g, m, which, &x);
    x = pyad_numbers_mul(g, x,
                         pyad_numbers_partial(g, m->b.op, (int)which, m->operands[0],
                                              m->operands[1], m->v),
                         held);
    pyad_buffer_release(held);
    return x;
}

void pyad_recorded_reverse_map(pyad_recorded *s, uint32_t block, pyad_numbers own)
{
    const map m = map_of(s, block);
    for (uint32_t i = 0; i < m.b.source_count; i++)
        if (pyad_recorded_active(s, m.x[i].node, m.x[i].block))
            pyad_recorded_give_source(s, &m.x[i], mul_partial(&s->g, &m, i, own));
}

pyad_numbers pyad_recorded_forward_map(pyad_recorded *s, uint32_t block)
{
    const map m = map_of(s, block);
    pyad_numbers sum = pyad_numbers_uniform(0, m.b.count);
    for (uint32_t i = 0; i < m.b.source_count; i++)
        sum = pyad_numbers_add(
            &s->g, sum,
            mul_partial(&s->g, &m, i, pyad_recorded_tangent(s, &m.x[i], m.b.count)));
    return sum;
}
