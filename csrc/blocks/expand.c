/* A recording with its blocks written out as scalar nodes: for what goes through a tape
 * node by node (sparsity patterns), and to test the sweeps over blocks against. What only
 * rearranges makes no nodes: `map` then names the same node twice. */
#include <string.h>

#include "../buffer.h"
#include "../graph.h"
#include "../record.h"
#include "block.h"
#include "life.h"
#include "pending.h"

typedef struct {
    graph g; /* of the tape appended to */
    const pyad_tape *from_tape;
    size_t from;
    uint32_t *map;
} expansion;

/* A node of the other tape, with the value that it has there. */
static pyad_operand operand_of(const expansion *e, uint32_t node)
{
    const double value = e->from_tape->values[node];
    return (pyad_operand){value, node < e->from ? PYAD_CONSTANT : e->map[node - e->from]};
}

/* Number i of a source. */
static pyad_operand source_operand(const expansion *e, const pyad_source *x, size_t i)
{
    if (x->node == PYAD_CONSTANT)
        return graph_constant(pyad_source_values(e->from_tape, x)[i * x->step]);
    return operand_of(e, x->node + (uint32_t)i * x->step);
}

/* Node i of a block is this one. Its value stays what it was: kernels round in other
 * ways, and a LINEAR block may have constant terms. */
static void set(expansion *e, const pyad_block *b, size_t i, pyad_operand x)
{
    const double value = e->from_tape->values[b->start + i];
    if (!e->g.status && x.node != PYAD_CONSTANT && x.value != value)
        e->g.tape->values[x.node] = value;
    e->map[b->start + i - e->from] = x.node;
}

/* An operation of any number of arguments as a node, or as a constant; none for no
 * arguments, and one that stands alone is that one. */
static pyad_operand many(expansion *e, int op, size_t count,
                         const pyad_operand *arguments)
{
    pyad_operand result = graph_constant(0);
    if (op == PYAD_OP_SUM && count == 1)
        return arguments[0];
    if (!e->g.status && count)
        e->g.status = pyad_tape_apply_many(e->g.tape, op, count, arguments, &result);
    return result;
}

static void *room(expansion *e, size_t count, size_t size)
{
    void *buffer = count > SIZE_MAX / 4 / size ? NULL : pyad_buffer_new(count * size);
    if (!buffer && !e->g.status)
        e->g.status = PYAD_ERROR_NO_MEMORY;
    return buffer;
}

/* ---- scalar nodes ----------------------------------------------------------------- */

static void expand_node(expansion *e, uint32_t node)
{
    const pyad_tape *other = e->from_tape;
    pyad_tape *tape = e->g.tape;
    const size_t start = other->first[node], count = other->first[node + 1] - start;
    e->g.status = pyad_tape_reserve(tape, 1, count);
    if (e->g.status)
        return;
    for (size_t k = 0; k < count; k++) {
        const uint32_t index = other->indices[start + k];
        const pyad_operand x =
            index == PYAD_CONSTANT ? graph_constant(0) : operand_of(e, index);
        const int became = index != PYAD_CONSTANT && x.node == PYAD_CONSTANT;
        tape->indices[tape->arguments + k] = x.node;
        tape->weights[tape->arguments + k] = became ? x.value : other->weights[start + k];
    }
    e->map[node - e->from] =
        pyad_push_node(tape, other->ops[node], other->values[node], count);
}

/* ---- maps ------------------------------------------------------------------------- */

/* A node also where all operands are constants: it may be a variable. */
static pyad_operand push_map(expansion *e, int op, int arguments, pyad_operand a,
                             pyad_operand b)
{
    pyad_tape *tape = e->g.tape;
    pyad_partials p;
    e->g.status = pyad_tape_reserve(tape, 1, (size_t)arguments);
    if (e->g.status)
        return graph_constant(0);
    pyad_op_partials(op, a.value, b.value, &p);
    const double da = a.node == PYAD_CONSTANT ? a.value : p.da;
    const double db = b.node == PYAD_CONSTANT ? b.value : p.db;
    return (pyad_operand){
        p.value, arguments == 1
                     ? pyad_push_unary(tape, op, p.value, a.node, da)
                     : pyad_push_binary(tape, op, p.value, a.node, da, b.node, db)};
}

static void expand_map(expansion *e, const pyad_block *b)
{
    const pyad_source *x = pyad_block_sources(e->from_tape, b);
    const int arguments = (int)b->source_count;
    for (size_t i = 0; i < b->count && !e->g.status; i++) {
        pyad_operand p = source_operand(e, x, i);
        pyad_operand q = arguments == 2 ? source_operand(e, x + 1, i) : graph_constant(0);
        if (b->order == 0) {
            set(e, b, i, push_map(e, b->op, arguments, p, q));
            continue;
        }
        pyad_operand v = graph_apply(&e->g, b->op, p, q);
        pyad_operand part =
            pyad_graph_part(&e->g, b->op, b->order == 1 ? PYAD_DA : PYAD_DB, p, q, v);
        e->map[b->start + i - e->from] = part.node;
    }
}

/* ---- layouts ---------------------------------------------------------------------- */

static void expand_spread(expansion *e, const pyad_block *b)
{
    const pyad_source *x = pyad_block_sources(e->from_tape, b);
    double *places = pyad_layout_places(pyad_store_at(e->from_tape, b->data), x->count);
    if (!places)
        e->g.status = PYAD_ERROR_NO_MEMORY;
    for (size_t i = 0; places && i < b->count; i++)
        set(e, b, i, source_operand(e, x, (size_t)places[i]));
    pyad_buffer_release(places);
}

/* Sums of the numbers of a source, as in rows of a LINEAR block. */
static void expand_collect(expansion *e, const pyad_block *b)
{
    const pyad_source *x = pyad_block_sources(e->from_tape, b);
    const pyad_layout *layout = pyad_store_at(e->from_tape, b->data);
    const size_t size = pyad_layout_size(layout);
    pyad_groups groups;
    pyad_operand *terms = room(e, size, sizeof *terms);
    if (pyad_layout_group(layout, b->count, &groups))
        e->g.status = PYAD_ERROR_NO_MEMORY;
    for (size_t i = 0; !e->g.status && i < size; i++)
        terms[i] = source_operand(e, x, groups.numbers[i]);
    const size_t *first = groups.first;
    for (size_t i = 0; !e->g.status && i < b->count; i++)
        set(e, b, i, many(e, PYAD_OP_SUM, first[i + 1] - first[i], terms + first[i]));
    pyad_buffer_release(groups.first);
    pyad_buffer_release(terms);
}

/* ---- rows ------------------------------------------------------------------------- */

/* One entry of weight 1 is that node itself, unless a constant was added to it. */
static void expand_linear(expansion *e, const pyad_block *b)
{
    const pyad_tape *other = e->from_tape;
    const pyad_linear *l = pyad_store_at(other, b->data);
    const uint32_t *rows = pyad_store_at(other, l->rows);
    const uint32_t *first = l->first == SIZE_MAX ? NULL : pyad_store_at(other, l->first);
    const double *weights =
        l->weights == SIZE_MAX ? NULL : pyad_store_at(other, l->weights);
    pyad_operand *pairs = room(e, 2 * l->entries, sizeof *pairs);
    for (size_t i = 0; i < b->count && !e->g.status; i++) {
        size_t k = first ? first[i] : i, end = first ? first[i + 1] : i + 1, count = 0;
        for (; k < end; k++) {
            if (rows[k] == 0)
                continue;
            pyad_operand x = operand_of(e, rows[k] - 1);
            if (x.node == PYAD_CONSTANT)
                continue;
            pairs[count++] = graph_constant(weights ? weights[k] : 1);
            pairs[count++] = x;
        }
        const double value = other->values[b->start + i];
        if (count == 2 && graph_is(pairs[0], 1) &&
            (pairs[1].value == value || (isnan(pairs[1].value) && isnan(value))))
            e->map[b->start + i - e->from] = pairs[1].node;
        else
            set(e, b, i, many(e, PYAD_OP_LINCOMB, count, pairs));
    }
    pyad_buffer_release(pairs);
}

/* ---- products, running sums, rules ------------------------------------------------ */

static size_t element(const pyad_matrix *x, size_t batch, size_t i, size_t j)
{
    return (size_t)(x->offset + (int64_t)batch * x->batch_stride + (int64_t)i * x->row +
                    (int64_t)j * x->column);
}

static void expand_product(expansion *e, const pyad_block *b)
{
    const pyad_source *x = pyad_block_sources(e->from_tape, b);
    const pyad_product *p = pyad_store_at(e->from_tape, b->data);
    pyad_operand *pairs = room(e, 2 * p->k, sizeof *pairs);
    for (size_t at = 0; at < b->count && !e->g.status; at++) {
        const size_t column = at % p->n, row = at / p->n % p->m;
        const size_t batch = at / p->n / p->m;
        for (size_t k = 0; k < p->k; k++) {
            pairs[2 * k] = source_operand(e, x, element(&p->a, batch, row, k));
            pairs[2 * k + 1] = source_operand(e, x + 1, element(&p->b, batch, k, column));
        }
        set(e, b, at, many(e, PYAD_OP_DOT, 2 * p->k, pairs));
    }
    pyad_buffer_release(pairs);
}

static void expand_cumsum(expansion *e, const pyad_block *b)
{
    const pyad_source *x = pyad_block_sources(e->from_tape, b);
    const pyad_cumsum *c = pyad_store_at(e->from_tape, b->data);
    for (size_t line = 0; line < c->outer * c->inner; line++) {
        const size_t start = line / c->inner * c->n * c->inner + line % c->inner;
        pyad_operand sum = graph_constant(0);
        for (size_t i = 0; i < c->n && !e->g.status; i++) {
            size_t at = start + (c->from_end ? c->n - 1 - i : i) * c->inner;
            pyad_operand term = source_operand(e, x, at);
            sum = i == 0 ? term : graph_apply(&e->g, PYAD_OP_ADD, sum, term);
            if (i)
                set(e, b, at, sum);
            else
                e->map[b->start + at - e->from] = sum.node;
        }
    }
}

/* Partials with respect to every number of the sources: for each result what the rule
 * gives for the adjoint 1 of that one. */
static void expand_call(expansion *e, const pyad_block *b)
{
    const pyad_tape *other = e->from_tape;
    const pyad_source *x = pyad_block_sources(other, b);
    const uint32_t block = (uint32_t)(b - other->blocks);
    size_t count = 0, arguments = 0;
    for (uint32_t i = 0; i < b->source_count; i++)
        count += x[i].node == PYAD_CONSTANT || x[i].node < e->from ? 0 : x[i].count;
    double *own = room(e, b->count + count, sizeof *own);
    double **shares = room(e, b->source_count, sizeof *shares);
    pyad_operand *operands = room(e, count, sizeof *operands);
    for (uint32_t i = 0; !e->g.status && i < b->source_count; i++) {
        const int varies = x[i].node != PYAD_CONSTANT && x[i].node >= e->from;
        shares[i] = varies ? own + b->count + arguments : NULL;
        for (size_t j = 0; varies && j < x[i].count; j++)
            operands[arguments++] = source_operand(e, &x[i], j);
    }
    for (size_t k = 0; !e->g.status && k < b->count; k++) {
        pyad_operand result = graph_constant(0);
        memset(own, 0, (b->count + count) * sizeof *own);
        own[k] = 1;
        e->g.status = b->rule->reverse(b->rule, other, block, own, shares);
        if (!e->g.status)
            e->g.status = pyad_tape_given(e->g.tape, other->values[b->start + k], count,
                                          operands, own + b->count, &result);
        e->map[b->start + k - e->from] = result.node;
    }
    pyad_buffer_release(own);
    pyad_buffer_release(shares);
    pyad_buffer_release(operands);
}

static void expand_leaf(expansion *e, const pyad_block *b)
{
    e->g.status = pyad_tape_reserve(e->g.tape, b->count, 0);
    for (size_t i = 0; !e->g.status && i < b->count; i++)
        e->map[b->start + i - e->from] = pyad_push_node(
            e->g.tape, PYAD_OP_LEAF, e->from_tape->values[b->start + i], 0);
}

/* ---- all of it -------------------------------------------------------------------- */

static void expand_block(expansion *e, const pyad_block *b)
{
    static void (*const expand[])(expansion *, const pyad_block *) = {
        [PYAD_BLOCK_LEAF] = expand_leaf,     [PYAD_BLOCK_MAP] = expand_map,
        [PYAD_BLOCK_SPREAD] = expand_spread, [PYAD_BLOCK_COLLECT] = expand_collect,
        [PYAD_BLOCK_LINEAR] = expand_linear, [PYAD_BLOCK_PRODUCT] = expand_product,
        [PYAD_BLOCK_CUMSUM] = expand_cumsum, [PYAD_BLOCK_CALL] = expand_call,
    };
    expand[b->kind](e, b);
}

size_t pyad_tape_blocks(const pyad_tape *tape, size_t from)
{
    return tape->block_count - pyad_tape_blocks_below(tape, from);
}

int pyad_tape_expand(pyad_tape *tape, const pyad_tape *other, size_t from, uint32_t *map)
{
    expansion e = {.g = {.tape = tape}, .from_tape = other, .from = from, .map = map};
    size_t block = pyad_tape_blocks_below(other, from);
    if (from > other->length)
        return PYAD_ERROR_NODE_RANGE;
    pyad_tape_store_values(other);
    for (size_t i = from; i < other->length && !e.g.status;) {
        const pyad_block *b = &other->blocks[block];
        if (block < other->block_count && b->start == i) {
            expand_block(&e, b);
            i += b->count;
            block++;
        } else {
            expand_node(&e, (uint32_t)i++);
        }
    }
    return e.g.status;
}
