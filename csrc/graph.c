/* Recorded sweeps: a sweep over a stretch of the tape whose every step is itself
 * recorded, so that derivatives nest to any order. Slower than the sweeps of sweep.c, and
 * used only where somebody is going to differentiate the result. Partials come from the
 * same rows, in the tape's number system. */
#include "blocks/graph.h"
#include "number_tape.h"
#include "tape.h"

#include <string.h>

#include "buffer.h"

/* ---- what depends on what --------------------------------------------------------- */

/* Goes through the stretch from end to end, blocks as a whole: `visit` gets a node and
 * PYAD_NO_BLOCK, or the first node of a block and the block. */
typedef void visitor(pyad_recorded *s, uint32_t node, uint32_t block);

static void go_forward(pyad_recorded *s, visitor *visit)
{
    size_t i = s->from, end = s->from + s->count;
    for (uint32_t b = 0; b <= s->block_count && !s->g.status; b++) {
        const uint32_t block = s->first_block + b;
        const size_t stop = b < s->block_count ? s->g.tape->blocks[block].start : end;
        for (; i < stop && !s->g.status; i++)
            visit(s, (uint32_t)i, PYAD_NO_BLOCK);
        if (b < s->block_count && !s->g.status) {
            visit(s, (uint32_t)i, block);
            i += s->g.tape->blocks[block].count;
        }
    }
}

static void go_back(pyad_recorded *s, visitor *visit)
{
    size_t i = s->from + s->count;
    for (uint32_t b = s->block_count + 1; b-- > 0 && !s->g.status;) {
        const uint32_t block = s->first_block + b - 1; /* the one below, if b > 0 */
        const size_t start = b ? s->g.tape->blocks[block].start : s->from;
        const size_t stop = b ? start + s->g.tape->blocks[block].count : s->from;
        while (i > stop && !s->g.status)
            visit(s, (uint32_t)--i, PYAD_NO_BLOCK);
        i = start;
        if (b && !s->g.status)
            visit(s, (uint32_t)start, block);
    }
}

static void note_dependent(pyad_recorded *s, uint32_t argument, uint32_t in, void *data)
{
    *(uint8_t *)data |= *pyad_recorded_depends(s, argument, in);
}

/* Marks a node that is computed from one that is marked. */
static void mark_dependent(pyad_recorded *s, uint32_t node, uint32_t block)
{
    const pyad_tape *tape = s->g.tape;
    uint8_t *depends = pyad_recorded_depends(s, node, block);
    if (*depends)
        return;
    if (block != PYAD_NO_BLOCK) {
        pyad_recorded_arguments(s, block, note_dependent, depends);
        return;
    }
    for (size_t k = tape->first[node]; k < tape->first[node + 1]; k++) {
        const uint32_t to = tape->indices[k];
        if (pyad_recorded_active(s, to, pyad_recorded_find(s, to)))
            *depends = 1;
    }
}

static void mark_dependents(pyad_recorded *s, size_t count, const uint32_t *variables)
{
    for (size_t i = 0; i < count; i++)
        if (pyad_recorded_inside(s, variables[i]))
            *pyad_recorded_depends(s, variables[i], pyad_recorded_find(s, variables[i])) =
                1;
    go_forward(s, mark_dependent);
}

/* Bit 1 of `depends` says that a result is computed from the node. */
enum { DEPENDS = 1, NEEDED = 2 };

static void note_needed(pyad_recorded *s, uint32_t argument, uint32_t in, void *data)
{
    (void)data;
    *pyad_recorded_depends(s, argument, in) |= NEEDED;
}

static void keep_needed(pyad_recorded *s, uint32_t node, uint32_t block)
{
    const pyad_tape *tape = s->g.tape;
    uint8_t *depends = pyad_recorded_depends(s, node, block);
    const int needed = *depends & NEEDED;
    *depends = *depends == (DEPENDS | NEEDED);
    if (needed && block != PYAD_NO_BLOCK)
        pyad_recorded_arguments(s, block, note_needed, NULL);
    else if (needed)
        for (size_t k = tape->first[node]; k < tape->first[node + 1]; k++)
            if (pyad_recorded_inside(s, tape->indices[k]))
                note_needed(s, tape->indices[k], pyad_recorded_find(s, tape->indices[k]),
                            NULL);
}

/* Unmarks every node from which no result is computed. */
static void keep_ancestors(pyad_recorded *s, size_t count, const uint32_t *results)
{
    for (size_t i = 0; i < count; i++)
        if (pyad_recorded_inside(s, results[i]))
            note_needed(s, results[i], pyad_recorded_find(s, results[i]), NULL);
    go_back(s, keep_needed);
}

/* ---- partials of scalar nodes ----------------------------------------------------- */

static pyad_operand argument(const pyad_tape *tape, size_t k)
{
    uint32_t node = tape->indices[k];
    return (pyad_operand){node == PYAD_CONSTANT ? tape->weights[k] : tape->values[node],
                          node};
}

/* The product of all factors but one. Quadratic if it is asked for each; that it is right
 * where factors are 0 matters more in what is differentiated again. */
static pyad_operand product_of_others(graph *g, size_t node, size_t which)
{
    size_t start = g->tape->first[node], end = g->tape->first[node + 1];
    pyad_operand product = graph_constant(1);
    for (size_t k = start; k < end; k++)
        if (k - start != which)
            product = graph_mul(g, product, argument(g->tape, k));
    return product;
}

/* The partial of `node` in its argument number `which`. */
static pyad_operand partial(graph *g, size_t node, size_t which)
{
    const pyad_tape *tape = g->tape;
    size_t start = tape->first[node];
    pyad_operand x = argument(tape, start + which);
    pyad_operand v = {tape->values[node], (uint32_t)node};
    switch (tape->ops[node]) {
    case PYAD_OP_SUM:
        return graph_constant(1);
    case PYAD_OP_LINCOMB:
        return graph_constant(tape->weights[start + which]);
    case PYAD_OP_DOT:
        return argument(tape, start + (which ^ 1));
    case PYAD_OP_PROD:
        return product_of_others(g, node, which);
    case PYAD_OP_LOGSUMEXP:
        return GRAPH_1(EXP, SUB(x, v));
    case PYAD_OP_NORM:
        g->status = g->status
                        ? g->status
                        : pyad_tape_guard(g->tape, PYAD_EQUAL, v, graph_constant(0));
        return v.value == 0 ? graph_constant(0) : DIV(x, v);
    default: {
        int binary = tape->first[node + 1] - start == 2;
        pyad_operand a = argument(tape, start);
        pyad_operand b = binary ? argument(tape, start + 1) : graph_constant(0);
        return pyad_graph_part(g, tape->ops[node], which ? PYAD_DB : PYAD_DA, a, b, v);
    }
    }
}

/* ---- the sweeps ------------------------------------------------------------------- */

static void reverse_node(pyad_recorded *s, uint32_t node, uint32_t block)
{
    if (block != PYAD_NO_BLOCK) {
        pyad_recorded_reverse(s, block);
        return;
    }
    const pyad_tape *tape = s->g.tape;
    const pyad_operand own = s->number[node - s->from];
    if (!s->depends[node - s->from] || graph_is(own, 0))
        return;
    const size_t start = tape->first[node], arguments = tape->first[node + 1] - start;
    for (size_t k = 0; k < arguments; k++) {
        const uint32_t to = tape->indices[start + k];
        const uint32_t in = pyad_recorded_find(s, to);
        if (!pyad_recorded_active(s, to, in))
            continue;
        pyad_operand share = graph_mul(&s->g, own, partial(&s->g, node, k));
        pyad_operand *sum = &s->number[to - s->from];
        if (in == PYAD_NO_BLOCK)
            *sum = graph_add(&s->g, *sum, share);
        else
            pyad_recorded_give(s, to, in, 1, pyad_numbers_same(&s->g, share, 1));
    }
}

static void forward_node(pyad_recorded *s, uint32_t node, uint32_t block)
{
    if (block != PYAD_NO_BLOCK) {
        pyad_recorded_forward(s, block);
        return;
    }
    const pyad_tape *tape = s->g.tape;
    if (!s->depends[node - s->from])
        return;
    const size_t start = tape->first[node], arguments = tape->first[node + 1] - start;
    pyad_operand sum = s->number[node - s->from];
    for (size_t k = 0; k < arguments; k++) {
        const pyad_operand moved = pyad_recorded_at(s, tape->indices[start + k]);
        if (!graph_is(moved, 0))
            sum = graph_add(&s->g, sum, graph_mul(&s->g, partial(&s->g, node, k), moved));
    }
    s->number[node - s->from] = sum;
}

/* The numbers that were asked for. */
static int finish(pyad_recorded *s, int status, size_t count, const uint32_t *nodes,
                  pyad_operand *numbers)
{
    status = status ? status : s->g.status;
    for (size_t i = 0; !status && i < count; i++)
        numbers[i] = pyad_recorded_at(s, nodes[i]);
    pyad_recorded_free(s);
    return status;
}

int pyad_tape_record_reverse(pyad_tape *tape, size_t from, size_t seeds,
                             const uint32_t *seed_nodes, const pyad_operand *seed_values,
                             size_t count, const uint32_t *variables,
                             pyad_operand *adjoints)
{
    pyad_recorded s;
    int status = pyad_recorded_new(&s, tape, from, seeds, seed_nodes);
    if (!status) {
        mark_dependents(&s, count, variables);
        pyad_recorded_give_all(&s, seeds, seed_nodes, seed_values);
        go_back(&s, reverse_node);
    }
    return finish(&s, status, count, variables, adjoints);
}

int pyad_tape_record_forward(pyad_tape *tape, size_t from, size_t count,
                             const uint32_t *variables, const pyad_operand *seeds,
                             size_t results, const uint32_t *result_nodes,
                             pyad_operand *tangents)
{
    pyad_recorded s;
    int status = pyad_recorded_new(&s, tape, from, results, result_nodes);
    if (!status) {
        mark_dependents(&s, count, variables);
        keep_ancestors(&s, results, result_nodes);
        pyad_recorded_give_all(&s, count, variables, seeds);
        go_forward(&s, forward_node);
    }
    return finish(&s, status, results, result_nodes, tangents);
}
