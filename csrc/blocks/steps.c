/* The steps of a recorded sweep over blocks: each is recorded as operations on blocks, so
 * that a recorded gradient of array code costs a small multiple of the native one. The
 * kinds come in pairs that are each other's adjoint: SPREAD and COLLECT, a LINEAR and its
 * transpose, a running sum and the one from the other end. */
#include <string.h>

#include "../buffer.h"
#include "graph.h"

static const pyad_block *block_at(const pyad_recorded *s, uint32_t block)
{
    return &s->g.tape->blocks[block];
}

/* Copies: what they are copied from moves when something is recorded. */
static pyad_source source_at(const pyad_recorded *s, const pyad_block *b, uint32_t i)
{
    return s->g.tape->sources[b->first_source + i];
}

static int is_active(pyad_recorded *s, const pyad_source *x)
{
    return pyad_recorded_active(s, x->node, x->block);
}

/* ---- rows of a LINEAR block ------------------------------------------------------- */

typedef struct {
    const pyad_tape *tape;
    pyad_linear head;
} linear;

static linear linear_of(const pyad_recorded *s, const pyad_block *b)
{
    return (linear){s->g.tape, *(const pyad_linear *)pyad_store_at(s->g.tape, b->data)};
}

static size_t row_start(const linear *l, size_t i)
{
    return l->head.first == SIZE_MAX
               ? i
               : ((const uint32_t *)pyad_store_at(l->tape, l->head.first))[i];
}

/* The node of an entry; a constant's row 0 becomes PYAD_CONSTANT. */
static uint32_t entry_node(const linear *l, size_t k)
{
    return ((const uint32_t *)pyad_store_at(l->tape, l->head.rows))[k] - 1;
}

static double entry_weight(const linear *l, size_t k)
{
    return l->head.weights == SIZE_MAX
               ? 1
               : ((const double *)pyad_store_at(l->tape, l->head.weights))[k];
}

/* ---- what a block refers to ------------------------------------------------------- */

void pyad_recorded_arguments(pyad_recorded *s, uint32_t block,
                             void (*visit)(pyad_recorded *s, uint32_t node, uint32_t in,
                                           void *data),
                             void *data)
{
    const pyad_block *b = block_at(s, block);
    for (uint32_t i = 0; i < b->source_count; i++) {
        pyad_source x = source_at(s, b, i);
        if (pyad_recorded_inside(s, x.node))
            visit(s, x.node, x.block, data);
    }
    if (b->kind != PYAD_BLOCK_LINEAR)
        return;
    const linear l = linear_of(s, b);
    for (size_t k = 0; k < l.head.entries; k++) {
        uint32_t node = entry_node(&l, k);
        if (pyad_recorded_inside(s, node))
            visit(s, node, pyad_recorded_find(s, node), data);
    }
}

/* ---- between blocks and their sources --------------------------------------------- */

/* The share of a source: what one number stands for all elements of gets their sum. */
void pyad_recorded_give_source(pyad_recorded *s, const pyad_source *x, pyad_numbers share)
{
    if (x->step == 0)
        share = pyad_numbers_sum(&s->g, share);
    pyad_recorded_give(s, x->node, x->block, 1, share);
}

/* The tangents of a source, for `count` elements. */
pyad_numbers pyad_recorded_tangent(pyad_recorded *s, const pyad_source *x, size_t count)
{
    if (!is_active(s, x))
        return pyad_numbers_uniform(0, count);
    if (x->block == PYAD_NO_BLOCK)
        return pyad_numbers_same(&s->g, s->number[x->node - s->from], count);
    return pyad_numbers_slice(&s->g, s->blocks[x->block - s->first_block].whole,
                              x->node - block_at(s, x->block)->start, x->step, count);
}

/* Layouts with sides of their own: those of a block move. */
static pyad_layout *new_layout(graph *g, size_t ndim)
{
    size_t bytes = sizeof(pyad_layout) + 2 * ndim * sizeof(int64_t);
    void *room = pyad_numbers_room(g, bytes / sizeof(double) + 1);
    return room;
}

static const pyad_layout *layout_of(pyad_recorded *s, const pyad_block *b)
{
    const pyad_layout *stored = pyad_store_at(s->g.tape, b->data);
    pyad_layout *own = new_layout(&s->g, stored->ndim);
    stored = pyad_store_at(s->g.tape, b->data);
    if (own)
        memcpy(own, stored, sizeof *own + 2 * stored->ndim * sizeof(int64_t));
    return own;
}

/* Where the elements of a stack of matrices stand, in as few dimensions as it takes. */
static const pyad_layout *layout_of_matrix(graph *g, const pyad_matrix *x, size_t batch,
                                           size_t rows, size_t columns)
{
    const int64_t shape[] = {(int64_t)batch, (int64_t)rows, (int64_t)columns};
    const int64_t stride[] = {x->batch_stride, x->row, x->column};
    int64_t lengths[3], strides[3];
    size_t kept = 0;
    for (size_t d = 0; d < 3; d++) {
        if (shape[d] == 1)
            continue;
        if (kept && strides[kept - 1] == stride[d] * shape[d]) {
            lengths[kept - 1] *= shape[d];
            strides[kept - 1] = stride[d];
        } else {
            lengths[kept] = shape[d];
            strides[kept++] = stride[d];
        }
    }
    pyad_layout *own = new_layout(g, kept);
    if (!own)
        return NULL;
    own->ndim = kept;
    own->offset = x->offset;
    for (size_t d = 0; d < kept; d++) {
        own->sides[d] = lengths[d];
        own->sides[kept + d] = strides[d];
    }
    return own;
}

/* ---- rows ------------------------------------------------------------------------- */

/* The block that all entries in the stretch refer to, or PYAD_NO_BLOCK. */
static uint32_t only_block(pyad_recorded *s, const linear *l)
{
    uint32_t only = PYAD_NO_BLOCK;
    for (size_t k = 0; k < l->head.entries; k++) {
        uint32_t node = entry_node(l, k);
        if (!pyad_recorded_inside(s, node))
            continue;
        uint32_t block = pyad_recorded_find(s, node);
        if (block == PYAD_NO_BLOCK || (only != PYAD_NO_BLOCK && block != only))
            return PYAD_NO_BLOCK;
        only = block;
    }
    return only;
}

/* Entries from k on, one for each node and of weight 1, that follow each other in a
 * block: how many. */
static size_t run_at(pyad_recorded *s, const linear *l, size_t k, uint32_t block)
{
    const pyad_block *b = block_at(s, block);
    const uint32_t node = entry_node(l, k);
    size_t run = 1, most = b->count - (node - b->start);
    if (l->head.first != SIZE_MAX || l->head.weights != SIZE_MAX)
        return 1;
    most = most < l->head.entries - k ? most : l->head.entries - k;
    while (run < most && entry_node(l, k + run) == node + run)
        run++;
    return run;
}

/* All entries transposed, as rows of the one block that they refer to. */
static void give_transposed(pyad_recorded *s, const pyad_block *b, const linear *l,
                            uint32_t to, pyad_numbers own)
{
    const uint32_t start = block_at(s, to)->start;
    pyad_rows rows;
    pyad_rows_new(&rows, &s->g, block_at(s, to)->count);
    for (size_t i = 0; i < b->count; i++)
        for (size_t k = row_start(l, i); k < row_start(l, i + 1); k++)
            if (pyad_recorded_inside(s, entry_node(l, k)))
                pyad_rows_count(&rows, entry_node(l, k) - start, &own);
    pyad_rows_start(&rows);
    for (size_t i = 0; i < b->count; i++)
        for (size_t k = row_start(l, i); k < row_start(l, i + 1); k++)
            if (pyad_recorded_inside(s, entry_node(l, k)))
                pyad_rows_add(&rows, entry_node(l, k) - start, &own, i,
                              entry_weight(l, k));
    pyad_recorded_give(s, start, to, 1, pyad_rows_finish(&rows));
}

static void reverse_linear(pyad_recorded *s, const pyad_block *b, pyad_numbers own)
{
    const linear l = linear_of(s, b);
    const uint32_t only = only_block(s, &l);
    if (l.head.entries == 0)
        return;
    if (only != PYAD_NO_BLOCK && run_at(s, &l, 0, only) < l.head.entries) {
        if (*pyad_recorded_depends(s, block_at(s, only)->start, only))
            give_transposed(s, b, &l, only, own);
        return;
    }
    for (size_t i = 0; i < b->count && !s->g.status;) {
        size_t step = 1;
        for (size_t k = row_start(&l, i); k < row_start(&l, i + 1); k++) {
            uint32_t node = entry_node(&l, k), block;
            if (!pyad_recorded_inside(s, node))
                continue;
            block = pyad_recorded_find(s, node);
            if (block != PYAD_NO_BLOCK)
                step = run_at(s, &l, k, block);
            if (*pyad_recorded_depends(s, node, block))
                pyad_recorded_give(s, node, block, entry_weight(&l, k),
                                   pyad_numbers_slice(&s->g, own, i, step > 1, step));
        }
        i += step;
    }
}

static pyad_numbers forward_linear(pyad_recorded *s, const pyad_block *b)
{
    const linear l = linear_of(s, b);
    pyad_rows rows;
    pyad_rows_new(&rows, &s->g, b->count);
    for (int filling = 0; filling < 2; filling++) {
        for (size_t i = 0; i < b->count && !s->g.status; i++)
            for (size_t k = row_start(&l, i); k < row_start(&l, i + 1); k++) {
                uint32_t node = entry_node(&l, k);
                if (!pyad_recorded_inside(s, node))
                    continue;
                pyad_source x = {.node = node, .block = pyad_recorded_find(s, node)};
                pyad_numbers tangent = pyad_recorded_tangent(s, &x, 1);
                if (filling)
                    pyad_rows_add(&rows, i, &tangent, 0, entry_weight(&l, k));
                else
                    pyad_rows_count(&rows, i, &tangent);
            }
        if (!filling)
            pyad_rows_start(&rows);
    }
    return pyad_rows_finish(&rows);
}

/* ---- products --------------------------------------------------------------------- */

static pyad_matrix transposed(const pyad_matrix *x)
{
    return (pyad_matrix){x->offset, x->batch_stride, x->column, x->row};
}

/* ga = g @ b^T and gb = a^T @ g, and then each element to its place. */
static void reverse_product(pyad_recorded *s, const pyad_block *b, pyad_numbers own)
{
    graph *g = &s->g;
    const pyad_product p = *(const pyad_product *)pyad_store_at(g->tape, b->data);
    const pyad_matrix rows = {0, (int64_t)(p.m * p.n), (int64_t)p.n, 1};
    const pyad_source x = source_at(s, b, 0), y = source_at(s, b, 1);
    if (is_active(s, &x)) {
        const pyad_product of_a = {p.batch, p.m, p.n, p.k, rows, transposed(&p.b)};
        pyad_numbers share =
            pyad_numbers_product(g, &of_a, own, pyad_numbers_of_source(g, &y, y.count));
        const pyad_layout *place = layout_of_matrix(g, &p.a, p.batch, p.m, p.k);
        if (place)
            pyad_recorded_give(s, x.node, x.block, 1,
                               pyad_numbers_collect(g, share, place, x.count));
    }
    if (is_active(s, &y)) {
        const pyad_product of_b = {p.batch, p.k, p.m, p.n, transposed(&p.a), rows};
        pyad_numbers share =
            pyad_numbers_product(g, &of_b, pyad_numbers_of_source(g, &x, x.count), own);
        const pyad_layout *place = layout_of_matrix(g, &p.b, p.batch, p.k, p.n);
        if (place)
            pyad_recorded_give(s, y.node, y.block, 1,
                               pyad_numbers_collect(g, share, place, y.count));
    }
}

static pyad_numbers forward_product(pyad_recorded *s, const pyad_block *b)
{
    graph *g = &s->g;
    const pyad_product p = *(const pyad_product *)pyad_store_at(g->tape, b->data);
    const pyad_source x = source_at(s, b, 0), y = source_at(s, b, 1);
    pyad_numbers of_a = pyad_numbers_product(g, &p, pyad_recorded_tangent(s, &x, x.count),
                                             pyad_numbers_of_source(g, &y, y.count));
    pyad_numbers of_b =
        pyad_numbers_product(g, &p, pyad_numbers_of_source(g, &x, x.count),
                             pyad_recorded_tangent(s, &y, y.count));
    return pyad_numbers_add(g, of_a, of_b);
}

/* ---- rules of the caller ---------------------------------------------------------- */

/* The numbers of `count` elements, one by one. */
static void write_out(graph *g, const pyad_numbers *x, pyad_operand *operands)
{
    for (size_t i = 0; i < x->count; i++)
        operands[i] = pyad_numbers_at(g, x, i);
}

/* Operands for the result and all sources of a block, and a pointer for each source: NULL
 * where it takes no part. One buffer; NULL with a status. */
static pyad_operand *room_for_rule(pyad_recorded *s, const pyad_block *b,
                                   pyad_operand ***pointers)
{
    size_t count = b->count;
    for (uint32_t i = 0; i < b->source_count; i++)
        count += source_at(s, b, i).count;
    size_t bytes = b->source_count * sizeof(pyad_operand *);
    size_t operands = count > SIZE_MAX / 4 / sizeof(pyad_operand)
                          ? SIZE_MAX / 2
                          : count * sizeof(pyad_operand);
    pyad_operand *room = pyad_buffer_new(operands + bytes);
    if (!room) {
        s->g.status = PYAD_ERROR_NO_MEMORY;
        return NULL;
    }
    *pointers = (pyad_operand **)(room + count);
    pyad_operand *next = room + b->count;
    for (uint32_t i = 0; i < b->source_count; i++) {
        const pyad_source x = source_at(s, b, i);
        (*pointers)[i] = is_active(s, &x) ? next : NULL;
        for (size_t j = 0; j < x.count; j++)
            *next++ = graph_constant(0);
    }
    return room;
}

static void reverse_call(pyad_recorded *s, uint32_t block, pyad_numbers own)
{
    const pyad_block b = *block_at(s, block);
    pyad_operand **shares, *room = room_for_rule(s, &b, &shares);
    if (!room)
        return;
    write_out(&s->g, &own, room);
    s->g.status = b.rule->record_reverse(b.rule, s->g.tape, block, room, shares);
    for (uint32_t i = 0; i < b.source_count && !s->g.status; i++) {
        const pyad_source x = source_at(s, &b, i);
        if (shares[i])
            pyad_recorded_give(s, x.node, x.block, 1,
                               pyad_numbers_gather(&s->g, x.count, shares[i]));
    }
    pyad_buffer_release(room);
}

static pyad_numbers forward_call(pyad_recorded *s, uint32_t block)
{
    const pyad_block b = *block_at(s, block);
    pyad_numbers result = pyad_numbers_uniform((double)NAN, b.count);
    pyad_operand **tangents, *room = room_for_rule(s, &b, &tangents);
    if (!room)
        return result;
    for (uint32_t i = 0; i < b.source_count; i++) {
        const pyad_source x = source_at(s, &b, i);
        pyad_numbers tangent = pyad_recorded_tangent(s, &x, x.count);
        if (tangents[i])
            write_out(&s->g, &tangent, tangents[i]);
    }
    if (!s->g.status)
        s->g.status = b.rule->record_forward(b.rule, s->g.tape, block,
                                             (const pyad_operand *const *)tangents, room);
    if (!s->g.status)
        result = pyad_numbers_gather(&s->g, b.count, room);
    pyad_buffer_release(room);
    return result;
}

/* ---- all kinds -------------------------------------------------------------------- */

static pyad_numbers cumsum_of(graph *g, const pyad_block *b, int flip, pyad_numbers x)
{
    pyad_cumsum c = *(const pyad_cumsum *)pyad_store_at(g->tape, b->data);
    if (flip)
        c.from_end = !c.from_end;
    return pyad_numbers_cumsum(g, &c, x);
}

void pyad_recorded_reverse(pyad_recorded *s, uint32_t block)
{
    const pyad_block b = *block_at(s, block);
    if (!*pyad_recorded_depends(s, b.start, block))
        return;
    pyad_numbers own = pyad_recorded_take(s, block);
    const pyad_source x = b.source_count ? source_at(s, &b, 0) : (pyad_source){0};
    const pyad_layout *sides;
    if (s->g.status || pyad_numbers_are(&own, 0))
        return;
    switch ((enum pyad_block_kind)b.kind) {
    case PYAD_BLOCK_LEAF:
        break;
    case PYAD_BLOCK_MAP:
        pyad_recorded_reverse_map(s, block, own);
        break;
    case PYAD_BLOCK_SPREAD:
        if (is_active(s, &x) && (sides = layout_of(s, &b)))
            pyad_recorded_give(s, x.node, x.block, 1,
                               pyad_numbers_collect(&s->g, own, sides, x.count));
        break;
    case PYAD_BLOCK_COLLECT:
        if (is_active(s, &x) && (sides = layout_of(s, &b)))
            pyad_recorded_give(s, x.node, x.block, 1,
                               pyad_numbers_spread(&s->g, own, sides));
        break;
    case PYAD_BLOCK_LINEAR:
        reverse_linear(s, &b, own);
        break;
    case PYAD_BLOCK_PRODUCT:
        reverse_product(s, &b, own);
        break;
    case PYAD_BLOCK_CUMSUM:
        if (is_active(s, &x))
            pyad_recorded_give(s, x.node, x.block, 1, cumsum_of(&s->g, &b, 1, own));
        break;
    case PYAD_BLOCK_CALL:
        reverse_call(s, block, own);
        break;
    }
}

void pyad_recorded_forward(pyad_recorded *s, uint32_t block)
{
    const pyad_block b = *block_at(s, block);
    if (!*pyad_recorded_depends(s, b.start, block))
        return;
    const pyad_numbers seeds = pyad_recorded_take(s, block);
    const pyad_source x = b.source_count ? source_at(s, &b, 0) : (pyad_source){0};
    const pyad_layout *sides;
    pyad_numbers result = pyad_numbers_uniform(0, b.count);
    if (s->g.status)
        return;
    switch ((enum pyad_block_kind)b.kind) {
    case PYAD_BLOCK_LEAF:
        break;
    case PYAD_BLOCK_MAP:
        result = pyad_recorded_forward_map(s, block);
        break;
    case PYAD_BLOCK_SPREAD:
        if ((sides = layout_of(s, &b)))
            result =
                pyad_numbers_spread(&s->g, pyad_recorded_tangent(s, &x, x.count), sides);
        break;
    case PYAD_BLOCK_COLLECT:
        if ((sides = layout_of(s, &b)))
            result = pyad_numbers_collect(&s->g, pyad_recorded_tangent(s, &x, x.count),
                                          sides, b.count);
        break;
    case PYAD_BLOCK_LINEAR:
        result = forward_linear(s, &b);
        break;
    case PYAD_BLOCK_PRODUCT:
        result = forward_product(s, &b);
        break;
    case PYAD_BLOCK_CUMSUM:
        result = cumsum_of(&s->g, &b, 0, pyad_recorded_tangent(s, &x, x.count));
        break;
    case PYAD_BLOCK_CALL:
        result = forward_call(s, block);
        break;
    }
    s->blocks[block - s->first_block].whole = pyad_numbers_add(&s->g, seeds, result);
}
