/* Blocks as a reader of the tape sees them: what each is, and its nodes one by one with
 * their indices and weights, as scalar nodes have them. Weights of maps are those that a
 * sweep uses. Nothing here records or sweeps. */
#include <string.h>

#include "../buffer.h"
#include "../record.h"
#include "life.h"
#include "pending.h"

/* ---- what a block is -------------------------------------------------------------- */

static const char *name_of(const pyad_block *b)
{
    static const char *const names[] = {
        [PYAD_BLOCK_LEAF] = "leaf",      [PYAD_BLOCK_SPREAD] = "view",
        [PYAD_BLOCK_COLLECT] = "sum",    [PYAD_BLOCK_LINEAR] = "gather",
        [PYAD_BLOCK_PRODUCT] = "matmul", [PYAD_BLOCK_CUMSUM] = "cumsum",
        [PYAD_BLOCK_CALL] = "call",
    };
    if (b->kind == PYAD_BLOCK_MAP)
        return pyad_op_describe(b->op)->name;
    return b->rule && b->rule->name ? b->rule->name : names[b->kind];
}

int pyad_tape_block(const pyad_tape *tape, size_t block, pyad_block_info *info)
{
    if (block >= tape->block_count)
        return PYAD_ERROR_NODE_RANGE;
    const pyad_block *b = &tape->blocks[block];
    *info = (pyad_block_info){.name = name_of(b),
                              .start = b->start,
                              .count = b->count,
                              .is_partial = b->kind == PYAD_BLOCK_MAP && b->order > 0,
                              .operands = b->source_count};
    return PYAD_OK;
}

int pyad_tape_block_operand(const pyad_tape *tape, size_t block, size_t operand,
                            uint32_t *node, size_t *count)
{
    if (block >= tape->block_count || operand >= tape->blocks[block].source_count)
        return PYAD_ERROR_NODE_RANGE;
    const pyad_source *x = pyad_block_sources(tape, &tape->blocks[block]) + operand;
    *node = x->node;
    *count = x->count;
    return PYAD_OK;
}

/* ---- its nodes one by one --------------------------------------------------------- */

typedef struct {
    pyad_tape *rows; /* to which the nodes are appended */
    const pyad_tape *tape;
    const pyad_block *b;
    const pyad_source *x;
    size_t arguments; /* of the node being written */
    int status;
} writer;

/* Room for the arguments of the next node. */
static int node_room(writer *w, size_t count)
{
    if (!w->status)
        w->status = pyad_tape_reserve(w->rows, 1, count);
    w->arguments = 0;
    return !w->status;
}

static void write_argument(writer *w, uint32_t index, double weight)
{
    size_t k = w->rows->arguments + w->arguments++;
    w->rows->indices[k] = index;
    w->rows->weights[k] = weight;
}

/* Number i of a source, with its weight; a constant has its own value. */
static void write_number(writer *w, const pyad_source *x, size_t i, double weight)
{
    if (x->node == PYAD_CONSTANT)
        write_argument(w, PYAD_CONSTANT, pyad_source_values(w->tape, x)[i * x->step]);
    else
        write_argument(w, x->node + (uint32_t)i * x->step, weight);
}

/* The arguments written make node i of the block. */
static void end_node(writer *w, int op, size_t i)
{
    pyad_push_node(w->rows, op, w->tape->values[w->b->start + i], w->arguments);
}

static void *room(writer *w, size_t count, size_t size)
{
    void *buffer = count > SIZE_MAX / 4 / size ? NULL : pyad_buffer_new(count * size + 1);
    if (!buffer && !w->status)
        w->status = PYAD_ERROR_NO_MEMORY;
    return buffer;
}

static void write_leaf(writer *w)
{
    for (size_t i = 0; i < w->b->count && node_room(w, 0); i++)
        end_node(w, PYAD_OP_LEAF, i);
}

static void write_map(writer *w)
{
    const pyad_block *b = w->b;
    double *scratch = room(w, 4 * (size_t)PYAD_TILE, sizeof *scratch);
    for (size_t at = 0; !w->status && at < b->count; at += PYAD_TILE) {
        const size_t rest = b->count - at, count = rest < PYAD_TILE ? rest : PYAD_TILE;
        pyad_weights weights[2] = {{NULL, 0}, {NULL, 0}};
        for (uint32_t k = 0; k < b->source_count; k++)
            weights[k] = pyad_map_weights(w->tape, b, (int)k, at, count,
                                          scratch + k * 2 * (size_t)PYAD_TILE);
        for (size_t i = 0; i < count && node_room(w, b->source_count); i++) {
            for (uint32_t k = 0; k < b->source_count; k++)
                write_number(w, &w->x[k], at + i, weights[k].at[i * weights[k].step]);
            end_node(w, b->order ? PYAD_OP_GIVEN : b->op, at + i);
        }
    }
    pyad_buffer_release(scratch);
}

static void write_spread(writer *w)
{
    double *places = pyad_layout_places(pyad_store_at(w->tape, w->b->data), w->x->count);
    if (!places)
        w->status = PYAD_ERROR_NO_MEMORY;
    for (size_t i = 0; places && i < w->b->count && node_room(w, 1); i++) {
        write_number(w, w->x, (size_t)places[i], 1);
        end_node(w, PYAD_OP_POSITIVE, i);
    }
    pyad_buffer_release(places);
}

static void write_collect(writer *w)
{
    pyad_groups groups;
    w->status =
        pyad_layout_group(pyad_store_at(w->tape, w->b->data), w->b->count, &groups);
    const size_t *first = groups.first;
    for (size_t i = 0; !w->status && i < w->b->count; i++) {
        if (!node_room(w, first[i + 1] - first[i]))
            break;
        for (size_t k = first[i]; k < first[i + 1]; k++)
            write_number(w, w->x, groups.numbers[k], 1);
        end_node(w, PYAD_OP_SUM, i);
    }
    pyad_buffer_release(groups.first);
}

/* Constant terms are in the value only. */
static void write_linear(writer *w)
{
    const pyad_linear *l = pyad_store_at(w->tape, w->b->data);
    const uint32_t *rows = pyad_store_at(w->tape, l->rows);
    const uint32_t *first =
        l->first == SIZE_MAX ? NULL : pyad_store_at(w->tape, l->first);
    const double *weights =
        l->weights == SIZE_MAX ? NULL : pyad_store_at(w->tape, l->weights);
    for (size_t i = 0; i < w->b->count; i++) {
        size_t k = first ? first[i] : i, end = first ? first[i + 1] : i + 1;
        if (!node_room(w, end - k))
            return;
        for (; k < end; k++)
            if (rows[k])
                write_argument(w, rows[k] - 1, weights ? weights[k] : 1);
        end_node(w, PYAD_OP_GIVEN, i);
    }
}

static size_t element(const pyad_matrix *x, size_t batch, size_t i, size_t j)
{
    return (size_t)(x->offset + (int64_t)batch * x->batch_stride + (int64_t)i * x->row +
                    (int64_t)j * x->column);
}

static void write_product(writer *w)
{
    const pyad_product *p = pyad_store_at(w->tape, w->b->data);
    const double *a = pyad_source_values(w->tape, w->x);
    const double *b = pyad_source_values(w->tape, w->x + 1);
    for (size_t at = 0; at < w->b->count && node_room(w, 2 * p->k); at++) {
        const size_t column = at % p->n, row = at / p->n % p->m;
        const size_t batch = at / p->n / p->m;
        for (size_t k = 0; k < p->k; k++) {
            const size_t i = element(&p->a, batch, row, k);
            const size_t j = element(&p->b, batch, k, column);
            write_number(w, w->x, i, b[j * w->x[1].step]);
            write_number(w, w->x + 1, j, a[i * w->x[0].step]);
        }
        end_node(w, PYAD_OP_DOT, at);
    }
}

/* Each is the sum of its terms: a sweep goes from a running sum to the operand only, not
 * over the other running sums. */
static void write_cumsum(writer *w)
{
    const pyad_cumsum *c = pyad_store_at(w->tape, w->b->data);
    for (size_t at = 0; at < w->b->count; at++) {
        const size_t i = at / c->inner % c->n;
        const size_t from = c->from_end ? i : 0, to = c->from_end ? c->n : i + 1;
        if (!node_room(w, to - from))
            return;
        for (size_t k = from; k < to; k++)
            write_number(w, w->x, at - i * c->inner + k * c->inner, 1);
        end_node(w, to - from == 1 ? PYAD_OP_POSITIVE : PYAD_OP_SUM, at);
    }
}

/* For each result what the rule gives for the adjoint 1 of that one. */
static void write_call(writer *w)
{
    const pyad_block *b = w->b;
    const uint32_t block = (uint32_t)(b - w->tape->blocks);
    size_t count = 0, next = b->count;
    for (uint32_t i = 0; i < b->source_count; i++)
        count += w->x[i].count;
    double *own = room(w, b->count + count, sizeof *own);
    double **shares = room(w, b->source_count, sizeof *shares);
    for (uint32_t i = 0; !w->status && i < b->source_count; i++) {
        shares[i] = w->x[i].node == PYAD_CONSTANT ? NULL : own + next;
        next += w->x[i].count;
    }
    for (size_t k = 0; k < b->count && node_room(w, count); k++) {
        memset(own, 0, (b->count + count) * sizeof *own);
        own[k] = 1;
        w->status = b->rule->reverse(b->rule, w->tape, block, own, shares);
        if (w->status)
            break;
        for (uint32_t i = 0; i < b->source_count; i++)
            for (size_t j = 0; j < w->x[i].count; j++)
                write_number(w, &w->x[i], j, shares[i] ? shares[i][j] : 0);
        end_node(w, PYAD_OP_GIVEN, k);
    }
    pyad_buffer_release(own);
    pyad_buffer_release(shares);
}

/* ---- all of it -------------------------------------------------------------------- */

static void write_scalar(writer *w, size_t node)
{
    const pyad_tape *tape = w->tape;
    const size_t start = tape->first[node], count = tape->first[node + 1] - start;
    if (!node_room(w, count))
        return;
    for (size_t k = 0; k < count; k++)
        write_argument(w, tape->indices[start + k], tape->weights[start + k]);
    pyad_push_node(w->rows, tape->ops[node], tape->values[node], count);
}

int pyad_tape_write(pyad_tape *rows, const pyad_tape *tape, size_t from, size_t to)
{
    static void (*const write[])(writer *) = {
        [PYAD_BLOCK_LEAF] = write_leaf,     [PYAD_BLOCK_MAP] = write_map,
        [PYAD_BLOCK_SPREAD] = write_spread, [PYAD_BLOCK_COLLECT] = write_collect,
        [PYAD_BLOCK_LINEAR] = write_linear, [PYAD_BLOCK_PRODUCT] = write_product,
        [PYAD_BLOCK_CUMSUM] = write_cumsum, [PYAD_BLOCK_CALL] = write_call,
    };
    writer w = {.rows = rows, .tape = tape};
    if (to > tape->length || from > to || !pyad_tape_is_boundary(tape, from))
        return PYAD_ERROR_NODE_RANGE;
    pyad_tape_store_values(tape);
    for (size_t block = pyad_tape_blocks_below(tape, from), i = from;
         i < to && !w.status;) {
        w.b = &tape->blocks[block];
        if (block < tape->block_count && w.b->start == i) {
            w.x = pyad_block_sources(tape, w.b);
            write[w.b->kind](&w);
            i += w.b->count;
            block++;
        } else {
            write_scalar(&w, i++);
        }
    }
    return w.status;
}
