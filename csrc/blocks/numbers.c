/* Recorded numbers by the block: see numbers.h. */
#include "numbers.h"

#include <string.h>

#include "../buffer.h"
#include "../structure.h"
#include "pending.h"

/* ---- constants -------------------------------------------------------------------- */

/* Buffers that hang together: the first word of each is the next one. They live as long
 * as the sweep, since numbers are copied freely; blocks keep copies of their own. */
typedef struct {
    _Alignas(16) void *next;
} link;

double *pyad_numbers_room(graph *g, size_t count)
{
    link *fresh = NULL;
    if (g->status)
        return NULL;
    if (count <= SIZE_MAX / 4 / sizeof(double))
        fresh = pyad_buffer_new(sizeof(link) + count * sizeof(double));
    if (!fresh) {
        g->status = PYAD_ERROR_NO_MEMORY;
        return NULL;
    }
    fresh->next = g->pool;
    g->pool = fresh;
    return (double *)(fresh + 1);
}

void pyad_numbers_release(graph *g)
{
    while (g->pool) {
        link *head = g->pool;
        g->pool = head->next;
        pyad_buffer_release(head);
    }
}

pyad_numbers pyad_numbers_of_room(double *constants, size_t count)
{
    size_t i = 1;
    if (!constants || count == 0)
        return pyad_numbers_uniform((double)NAN, count);
    while (i < count && memcmp(&constants[i], &constants[0], sizeof(double)) == 0)
        i++;
    if (i == count)
        return pyad_numbers_uniform(constants[0], count);
    return (pyad_numbers){.node = PYAD_CONSTANT,
                          .block = PYAD_NO_BLOCK,
                          .step = 1,
                          .count = count,
                          .constants = constants};
}

/* ---- what stands there already ---------------------------------------------------- */

const double *pyad_numbers_values(const graph *g, const pyad_numbers *x)
{
    if (x->node != PYAD_CONSTANT && x->block != PYAD_NO_BLOCK)
        pyad_block_values(g->tape, x->block);
    if (x->node != PYAD_CONSTANT)
        return g->tape->values + x->node;
    if (x->step == 0)
        return &x->value;
    return x->stored ? (const double *)pyad_store_at(g->tape, x->data) : x->constants;
}

pyad_numbers pyad_numbers_same(const graph *g, pyad_operand x, size_t count)
{
    if (x.node == PYAD_CONSTANT)
        return pyad_numbers_uniform(x.value, count);
    return (pyad_numbers){
        .node = x.node, .block = pyad_tape_block_of(g->tape, x.node), .count = count};
}

static pyad_numbers nodes_of(const graph *g, uint32_t block)
{
    const pyad_block *b = &g->tape->blocks[block];
    return (pyad_numbers){.node = b->start, .block = block, .step = 1, .count = b->count};
}

pyad_numbers pyad_numbers_of_source(const graph *g, const pyad_source *x, size_t count)
{
    if (x->node != PYAD_CONSTANT)
        return (pyad_numbers){
            .node = x->node, .block = x->block, .step = x->step, .count = count};
    if (x->step == 0)
        return pyad_numbers_uniform(*(const double *)pyad_store_at(g->tape, x->data),
                                    count);
    return (pyad_numbers){.node = PYAD_CONSTANT,
                          .block = PYAD_NO_BLOCK,
                          .step = 1,
                          .stored = 1,
                          .count = count,
                          .data = x->data};
}

pyad_numbers pyad_numbers_slice(const graph *g, pyad_numbers x, size_t offset,
                                uint32_t step, size_t count)
{
    x.count = count;
    if (x.step == 0)
        return x;
    if (x.node == PYAD_CONSTANT && step == 0)
        return pyad_numbers_uniform(pyad_numbers_values(g, &x)[offset], count);
    if (x.node != PYAD_CONSTANT)
        x.node += (uint32_t)offset;
    else if (x.stored)
        x.data += offset * sizeof(double);
    else
        x.constants += offset;
    x.step = step;
    return x;
}

/* Whether a node is a sum of nothing, and so a constant: what nobody passed anything to.
 */
static int is_empty_row(const pyad_tape *tape, uint32_t block, uint32_t node)
{
    if (block == PYAD_NO_BLOCK || tape->blocks[block].kind != PYAD_BLOCK_LINEAR)
        return 0;
    const pyad_linear *l = pyad_store_at(tape, tape->blocks[block].data);
    if (l->first == SIZE_MAX)
        return 0;
    const uint32_t *first = pyad_store_at(tape, l->first);
    const size_t i = node - tape->blocks[block].start;
    return first[i] == first[i + 1];
}

pyad_operand pyad_numbers_at(graph *g, const pyad_numbers *x, size_t i)
{
    double value = pyad_numbers_values(g, x)[i * x->step];
    uint32_t node = x->node + (uint32_t)i * x->step;
    if (x->node == PYAD_CONSTANT || is_empty_row(g->tape, x->block, node))
        return graph_constant(value);
    if (x->block != PYAD_NO_BLOCK)
        pyad_block_mark(g->tape, x->block);
    return (pyad_operand){value, node};
}

/* As an operand of the functions of record.h. */
static pyad_vector vector_of(const graph *g, const pyad_numbers *x)
{
    const int constant = x->node == PYAD_CONSTANT;
    return (pyad_vector){.values = constant ? pyad_numbers_values(g, x) : NULL,
                         .node = x->node,
                         .block = x->block,
                         .step = x->step,
                         .count = x->step ? x->count : 1};
}

/* The numbers of a block that was recorded just now. */
static pyad_numbers recorded(graph *g, int status, uint32_t block, size_t count)
{
    if (status)
        g->status = status;
    return status ? pyad_numbers_uniform((double)NAN, count) : nodes_of(g, block);
}

/* One number for all, written out where a kernel wants them in a row. */
static pyad_numbers in_a_row(graph *g, pyad_numbers x)
{
    const int64_t shape = (int64_t)x.count, stride = 0;
    uint32_t block = 0;
    if (g->status || x.step || (x.count == 1 && x.node != PYAD_CONSTANT))
        return x;
    if (x.node != PYAD_CONSTANT) {
        int status =
            pyad_block_spread(g->tape, vector_of(g, &x), 1, &shape, &stride, 0, &block);
        return recorded(g, status, block, x.count);
    }
    double *room = pyad_numbers_room(g, x.count);
    for (size_t i = 0; room && i < x.count; i++)
        room[i] = x.value;
    if (!room)
        return x;
    x.step = 1;
    x.constants = room;
    return x;
}

/* ---- elementwise ------------------------------------------------------------------ */

static int is_unary(int op) { return pyad_op_describe(op)->arguments == 1; }

/* All operands are one number each. */
static pyad_numbers map_one(graph *g, int op, int order, pyad_numbers a, pyad_numbers b)
{
    pyad_operand x = pyad_numbers_at(g, &a, 0), y = pyad_numbers_at(g, &b, 0);
    pyad_operand result = graph_apply(g, op, x, y);
    if (order)
        result = pyad_graph_part(g, op, order == 1 ? PYAD_DA : PYAD_DB, x, y, result);
    return pyad_numbers_same(g, result, a.count);
}

/* A part of an operation at values alone. */
static pyad_numbers map_values(graph *g, int op, enum pyad_part part,
                               const pyad_numbers *a, const pyad_numbers *b)
{
    double *room = pyad_numbers_room(g, a->count);
    const double *x = pyad_numbers_values(g, a);
    const double *y = is_unary(op) ? NULL : pyad_numbers_values(g, b);
    if (!room)
        return pyad_numbers_uniform((double)NAN, a->count);
    pyad_map_part(g->tape->loops, op, PYAD_VALUE, a->count, x, a->step, y, b->step, NULL,
                  room);
    if (part != PYAD_VALUE)
        pyad_map_part(g->tape->loops, op, part, a->count, x, a->step, y, b->step, room,
                      room);
    return pyad_numbers_of_room(room, a->count);
}

pyad_numbers pyad_numbers_map(graph *g, int op, int order, pyad_numbers a, pyad_numbers b)
{
    uint32_t block = 0;
    if (is_unary(op))
        b = pyad_numbers_uniform(0, a.count);
    if (g->status)
        return pyad_numbers_uniform((double)NAN, a.count);
    if (a.step == 0 && b.step == 0)
        return map_one(g, op, order, a, b);
    if (pyad_numbers_constant(&a) && pyad_numbers_constant(&b))
        return map_values(g, op, (enum pyad_part)order, &a, &b);
    int status = pyad_block_map(g->tape, op, order, a.count, vector_of(g, &a),
                                vector_of(g, &b), &block);
    return recorded(g, status, block, a.count);
}

pyad_numbers pyad_numbers_partial(graph *g, int op, int which, pyad_numbers a,
                                  pyad_numbers b, pyad_numbers v)
{
    const enum pyad_part part = which ? PYAD_DB : PYAD_DA;
    const int structure = pyad_op_structure(op);
    const int moves = (pyad_numbers_constant(&a) ? 0
                       : which                   ? PYAD_CURVED_AB
                                                 : PYAD_CURVED_AA) |
                      (pyad_numbers_constant(&b) ? 0
                       : which                   ? PYAD_CURVED_BB
                                                 : PYAD_CURVED_AB);
    double value;
    if (pyad_map_constant_part(op, part, &value))
        return pyad_numbers_uniform(value, a.count);
    switch (pyad_op_partial_name(op, which)) {
    case 'A':
        return a;
    case 'B':
        return b;
    case 'V':
        return v;
    default:
        break;
    }
    /* Constant between kinks: an instruction all the same where a replay may cross one.
     */
    if (g->status || (!(structure & moves) && !g->tape->guards)) {
        if (a.step == 0 && b.step == 0) { /* one number, and nothing to record */
            pyad_partials p;
            pyad_op_partials(op, *pyad_numbers_values(g, &a), *pyad_numbers_values(g, &b),
                             &p);
            return pyad_numbers_uniform(which ? p.db : p.da, a.count);
        }
        return map_values(g, op, part, &a, &b);
    }
    return pyad_numbers_map(g, op, which + 1, a, b);
}

pyad_numbers pyad_numbers_add(graph *g, pyad_numbers x, pyad_numbers y)
{
    if (pyad_numbers_are(&x, 0))
        return y;
    return pyad_numbers_are(&y, 0) ? x : pyad_numbers_map(g, PYAD_OP_ADD, 0, x, y);
}

/* ---- shares of a sweep ------------------------------------------------------------ */

/* Element i of a product, put right: a constant 0 where a factor is a constant 0. Where
 * the number is 0 beside a weight that is not finite, or that is held, the weight counts
 * as a constant and the product is 0 by decree, as in a native sweep, which goes no
 * further there. */
static pyad_operand settled(graph *g, const pyad_numbers *x, const pyad_numbers *weight,
                            const pyad_numbers *product, int held, size_t i)
{
    pyad_operand number = pyad_numbers_at(g, x, i), w = pyad_numbers_at(g, weight, i);
    pyad_operand result = pyad_numbers_at(g, product, i);
    if (!held && (!isnan(result.value) || (number.value != 0 && !graph_is(w, 0))))
        return result;
    if (graph_is(number, 0) || graph_is(w, 0))
        return graph_constant(0);
    result = graph_apply(g, PYAD_OP_MUL, number, graph_constant(w.value));
    if (!g->status && result.node != PYAD_CONSTANT)
        g->tape->values[result.node] = 0;
    result.value = 0;
    return result;
}

/* One pass without a branch, and rarely more. */
static pyad_numbers settle(graph *g, const pyad_numbers *x, const pyad_numbers *weight,
                           const uint8_t *held, pyad_numbers product)
{
    const double *values = pyad_numbers_values(g, &product);
    const size_t count = product.step ? product.count : 1;
    int bad = held != NULL;
    for (size_t i = 0; i < count; i++)
        bad |= values[i] != values[i];
    if (!bad || g->status)
        return product;
    pyad_tape_read(g->tape); /* elsewhere other elements are settled */
    if (count == 1)
        return pyad_numbers_same(g, settled(g, x, weight, &product, held && held[0], 0),
                                 product.count);
    pyad_operand *operands = count > SIZE_MAX / 4 / sizeof *operands
                                 ? NULL
                                 : pyad_buffer_new(count * sizeof *operands);
    if (!operands) {
        g->status = PYAD_ERROR_NO_MEMORY;
        return product;
    }
    for (size_t i = 0; i < count; i++)
        operands[i] = settled(g, x, weight, &product, held && held[i], i);
    product = pyad_numbers_gather(g, count, operands);
    pyad_buffer_release(operands);
    return product;
}

pyad_numbers pyad_numbers_mul(graph *g, pyad_numbers x, pyad_numbers weight,
                              const uint8_t *held)
{
    if (pyad_numbers_are(&x, 0) || pyad_numbers_are(&weight, 0))
        return pyad_numbers_uniform(0, x.count);
    if (pyad_numbers_are(&x, 1))
        return weight;
    if (pyad_numbers_are(&weight, 1))
        return x;
    if (pyad_numbers_are(&weight, -1))
        return pyad_numbers_map(g, PYAD_OP_NEG, 0, x, x);
    if (pyad_numbers_are(&x, -1))
        return pyad_numbers_map(g, PYAD_OP_NEG, 0, weight, weight);
    return settle(g, &x, &weight, held, pyad_numbers_map(g, PYAD_OP_MUL, 0, x, weight));
}

/* ---- layouts, products, running sums ---------------------------------------------- */

/* True if the other side is a run as well, or one number for all. */
static int is_simple(const pyad_layout *layout, uint32_t *step)
{
    *step = layout->ndim > 0 && layout->sides[1] == 1;
    return layout->ndim == 0 ||
           (layout->ndim == 1 && (layout->sides[1] == 0 || layout->sides[1] == 1));
}

pyad_numbers pyad_numbers_spread(graph *g, pyad_numbers x, const pyad_layout *layout)
{
    const size_t count = pyad_layout_size(layout);
    const int64_t *sides = layout->sides;
    uint32_t step = 0, block = 0;
    if (g->status || x.step == 0 || is_simple(layout, &step))
        return pyad_numbers_slice(g, x, (size_t)layout->offset, step, count);
    if (pyad_numbers_constant(&x)) {
        double *room = pyad_numbers_room(g, count);
        if (room)
            pyad_layout_read(layout, pyad_numbers_values(g, &x), room);
        return pyad_numbers_of_room(room, count);
    }
    int status = pyad_block_spread(g->tape, vector_of(g, &x), layout->ndim, sides,
                                   sides + layout->ndim, layout->offset, &block);
    return recorded(g, status, block, count);
}

pyad_numbers pyad_numbers_sum(graph *g, pyad_numbers x)
{
    const int64_t shape = (int64_t)x.count, stride = 0;
    uint32_t block = 0;
    const size_t count = x.count;
    if (g->status || count == 1)
        return x;
    if (x.step == 0) {
        x.count = 1;
        return pyad_numbers_mul(g, x, pyad_numbers_uniform((double)count, 1), NULL);
    }
    if (pyad_numbers_constant(&x)) {
        const double *values = pyad_numbers_values(g, &x);
        double sum = 0;
        for (size_t i = 0; i < count; i++)
            sum += values[i];
        return pyad_numbers_uniform(sum, 1);
    }
    int status =
        pyad_block_collect(g->tape, vector_of(g, &x), 1, &shape, &stride, 0, 1, &block);
    return recorded(g, status, block, 1);
}

pyad_numbers pyad_numbers_collect(graph *g, pyad_numbers x, const pyad_layout *layout,
                                  size_t count)
{
    const int64_t *sides = layout->sides;
    uint32_t step, block = 0;
    if (g->status || pyad_numbers_are(&x, 0))
        return pyad_numbers_uniform(0, count);
    if (count == 1)
        return pyad_numbers_sum(g, x);
    if (is_simple(layout, &step) && step && x.count == count)
        return x;
    x = in_a_row(g, x);
    if (g->status)
        return x;
    if (pyad_numbers_constant(&x)) {
        double *room = pyad_numbers_room(g, count);
        if (room) {
            memset(room, 0, count * sizeof *room);
            pyad_layout_add(layout, pyad_numbers_values(g, &x), room);
        }
        return pyad_numbers_of_room(room, count);
    }
    int status = pyad_block_collect(g->tape, vector_of(g, &x), layout->ndim, sides,
                                    sides + layout->ndim, layout->offset, count, &block);
    return recorded(g, status, block, count);
}

pyad_numbers pyad_numbers_product(graph *g, const pyad_product *product, pyad_numbers a,
                                  pyad_numbers b)
{
    const size_t count = product->batch * product->m * product->n;
    uint32_t block = 0;
    if (pyad_numbers_are(&a, 0) || pyad_numbers_are(&b, 0))
        return pyad_numbers_uniform(0, count);
    a = in_a_row(g, a);
    b = in_a_row(g, b);
    if (g->status)
        return pyad_numbers_uniform((double)NAN, count);
    if (pyad_numbers_constant(&a) && pyad_numbers_constant(&b)) {
        double *room = pyad_numbers_room(g, count);
        if (room)
            pyad_product_value(g->tape->loops, product, pyad_numbers_values(g, &a),
                               pyad_numbers_values(g, &b), room);
        return pyad_numbers_of_room(room, count);
    }
    int status =
        pyad_block_product(g->tape, product, vector_of(g, &a), vector_of(g, &b), &block);
    return recorded(g, status, block, count);
}

pyad_numbers pyad_numbers_cumsum(graph *g, const pyad_cumsum *cumsum, pyad_numbers x)
{
    uint32_t block = 0;
    if (pyad_numbers_are(&x, 0))
        return x;
    x = in_a_row(g, x);
    if (g->status)
        return x;
    if (pyad_numbers_constant(&x)) {
        double *room = pyad_numbers_room(g, x.count);
        if (room)
            pyad_cumsum_value(cumsum, pyad_numbers_values(g, &x), room);
        return pyad_numbers_of_room(room, x.count);
    }
    int status = pyad_block_cumsum(g->tape, cumsum, vector_of(g, &x), &block);
    return recorded(g, status, block, x.count);
}
