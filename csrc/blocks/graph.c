/* The numbers of a recorded sweep: of scalar nodes one by one, of blocks as a whole and
 * in pieces. See graph.h. */
#include "graph.h"

#include <string.h>

#include "../buffer.h"
#include "pending.h"

/* ---- the stretch ------------------------------------------------------------------ */

/* The nodes of blocks are left out, so that long ones cost neither time nor memory. */
static void clear_scalars(pyad_recorded *s)
{
    size_t i = s->from, end = s->from + s->count;
    for (uint32_t b = 0; b <= s->block_count; b++) {
        const pyad_block *block = s->g.tape->blocks + s->first_block + b;
        size_t stop = b < s->block_count ? block->start : end;
        memset(s->depends + (i - s->from), 0, stop - i);
        for (; i < stop; i++)
            s->number[i - s->from] = graph_constant(0);
        if (b < s->block_count) {
            s->depends[block->start - s->from] = 0;
            i = (size_t)block->start + block->count;
        }
    }
}

int pyad_recorded_new(pyad_recorded *s, pyad_tape *tape, size_t from, size_t results,
                      const uint32_t *nodes)
{
    size_t end = from, blocks = tape->block_count, first;
    *s = (pyad_recorded){.g = {.tape = tape}, .from = from};
    for (size_t i = 0; i < results; i++) {
        if (nodes[i] != PYAD_CONSTANT && nodes[i] >= tape->length)
            return PYAD_ERROR_NODE_RANGE;
        if (nodes[i] != PYAD_CONSTANT && nodes[i] >= end)
            end = (size_t)nodes[i] + 1;
    }
    if (from > tape->length)
        return PYAD_ERROR_NODE_RANGE;
    pyad_tape_store_values(tape);
    while (blocks && tape->blocks[blocks - 1].start >= end)
        blocks--;
    for (first = blocks; first && tape->blocks[first - 1].start >= from; first--)
        ;
    if (blocks > first) {
        const pyad_block *last = &tape->blocks[blocks - 1];
        size_t beyond = (size_t)last->start + last->count;
        end = beyond > end ? beyond : end;
    }
    s->count = end - from;
    s->first_block = s->found = (uint32_t)first;
    s->block_count = (uint32_t)(blocks - first);
    s->depends = pyad_buffer_new(s->count + 1);
    s->number = pyad_buffer_new((s->count + 1) * sizeof *s->number);
    s->blocks = pyad_buffer_new((s->block_count + 1) * sizeof *s->blocks);
    if (!s->depends || !s->number || !s->blocks)
        return PYAD_ERROR_NO_MEMORY;
    for (uint32_t b = 0; b < s->block_count; b++)
        s->blocks[b] = (pyad_block_number){
            pyad_numbers_uniform(0, tape->blocks[first + b].count), PYAD_NO_PIECE};
    clear_scalars(s);
    return PYAD_OK;
}

void pyad_recorded_free(pyad_recorded *s)
{
    pyad_buffer_release(s->depends);
    pyad_buffer_release(s->number);
    pyad_buffer_release(s->blocks);
    pyad_buffer_release(s->pieces);
    pyad_numbers_release(&s->g);
}

uint32_t pyad_recorded_look_up(pyad_recorded *s, uint32_t node)
{
    const pyad_block *last = &s->g.tape->blocks[s->found];
    if (node >= last->start && node - last->start < last->count)
        return s->found;
    uint32_t block = pyad_tape_block_of(s->g.tape, node);
    if (block != PYAD_NO_BLOCK)
        s->found = block;
    return block;
}

/* ---- giving ----------------------------------------------------------------------- */

static void push_piece(pyad_recorded *s, pyad_block_number *to, pyad_piece piece)
{
    /* Powers of 2: the room is full whenever the count is one. */
    if ((s->piece_count & (s->piece_count - 1)) == 0) {
        size_t capacity = s->piece_count ? 2 * s->piece_count : 1;
        pyad_piece *grown =
            capacity > SIZE_MAX / 4 / sizeof *grown
                ? NULL
                : pyad_buffer_resize(s->pieces, s->piece_count * sizeof *grown,
                                     capacity * sizeof *grown);
        if (!grown || s->piece_count >= PYAD_NO_PIECE) {
            s->g.status = PYAD_ERROR_NO_MEMORY;
            return;
        }
        s->pieces = grown;
    }
    piece.next = to->piece;
    to->piece = (uint32_t)s->piece_count;
    s->pieces[s->piece_count++] = piece;
}

void pyad_recorded_give(pyad_recorded *s, uint32_t node, uint32_t block, double weight,
                        pyad_numbers x)
{
    graph *g = &s->g;
    if (g->status || pyad_numbers_are(&x, 0))
        return;
    if (block == PYAD_NO_BLOCK) {
        pyad_operand *to = &s->number[node - s->from];
        pyad_operand share =
            graph_mul(g, pyad_numbers_at(g, &x, 0), graph_constant(weight));
        *to = graph_add(g, *to, share);
        return;
    }
    const pyad_block *b = &g->tape->blocks[block];
    const uint32_t offset = node - b->start;
    pyad_block_number *to = &s->blocks[block - s->first_block];
    if (x.count < b->count)
        push_piece(s, to, (pyad_piece){x, weight, offset, PYAD_NO_PIECE});
    else
        to->whole = pyad_numbers_add(
            g, to->whole,
            pyad_numbers_mul(g, x, pyad_numbers_uniform(weight, x.count), NULL));
}

void pyad_recorded_give_all(pyad_recorded *s, size_t count, const uint32_t *nodes,
                            const pyad_operand *numbers)
{
    for (size_t i = 0, end; i < count && !s->g.status; i = end) {
        end = i + 1;
        if (!pyad_recorded_inside(s, nodes[i]))
            continue;
        uint32_t block = pyad_recorded_find(s, nodes[i]);
        if (block != PYAD_NO_BLOCK)
            while (end < count && nodes[end] == nodes[i] + (end - i) &&
                   pyad_recorded_find(s, nodes[end]) == block)
                end++;
        pyad_recorded_give(s, nodes[i], block, 1,
                           pyad_numbers_gather(&s->g, end - i, numbers + i));
    }
}

/* ---- taking ----------------------------------------------------------------------- */

/* A long run, which a COLLECT puts in its place quicker than rows do. */
static int is_long(const pyad_piece *piece, size_t count)
{
    return piece->x.count > 1 && piece->x.count >= count / 4;
}

static pyad_numbers placed(graph *g, const pyad_piece *piece, size_t count)
{
    struct {
        pyad_layout layout;
        int64_t sides[2];
    } run = {{1, piece->offset}, {(int64_t)piece->x.count, 1}};
    pyad_numbers x = pyad_numbers_mul(
        g, piece->x, pyad_numbers_uniform(piece->weight, piece->x.count), NULL);
    return pyad_numbers_collect(g, x, &run.layout, count);
}

/* All the others. */
static pyad_numbers together(pyad_recorded *s, uint32_t last, size_t count)
{
    pyad_rows rows;
    pyad_rows_new(&rows, &s->g, count);
    for (uint32_t p = last; p != PYAD_NO_PIECE; p = s->pieces[p].next)
        for (size_t i = 0; !is_long(&s->pieces[p], count) && i < s->pieces[p].x.count;
             i++)
            pyad_rows_count(&rows, s->pieces[p].offset + i, &s->pieces[p].x);
    pyad_rows_start(&rows);
    for (uint32_t p = last; p != PYAD_NO_PIECE; p = s->pieces[p].next)
        for (size_t i = 0; !is_long(&s->pieces[p], count) && i < s->pieces[p].x.count;
             i++)
            pyad_rows_add(&rows, s->pieces[p].offset + i, &s->pieces[p].x, i,
                          s->pieces[p].weight);
    return pyad_rows_finish(&rows);
}

pyad_numbers pyad_recorded_take(pyad_recorded *s, uint32_t block)
{
    pyad_block_number *own = &s->blocks[block - s->first_block];
    const size_t count = own->whole.count;
    const uint32_t last = own->piece;
    int others = 0;
    for (uint32_t p = last; p != PYAD_NO_PIECE; p = s->pieces[p].next)
        if (is_long(&s->pieces[p], count))
            own->whole =
                pyad_numbers_add(&s->g, own->whole, placed(&s->g, &s->pieces[p], count));
        else
            others = 1;
    if (others)
        own->whole = pyad_numbers_add(&s->g, own->whole, together(s, last, count));
    own->piece = PYAD_NO_PIECE;
    return own->whole;
}

pyad_operand pyad_recorded_in(pyad_recorded *s, uint32_t node, uint32_t block)
{
    return pyad_numbers_at(&s->g, &s->blocks[block - s->first_block].whole,
                           node - s->g.tape->blocks[block].start);
}
