/* The sweeps: products with the recorded matrix and its transpose. They read indices and
 * weights only, never the operation. Blocks, between scalar nodes, see blocks/sweep.c. */
#include <math.h>
#include <string.h>

#include "blocks/life.h"
#include "blocks/pending.h"
#include "buffer.h"
#include "rows.h"

/* ---- one seed --------------------------------------------------------------------- */

/* A zero adjoint is skipped: quicker, and a branch not taken (0) times an infinite weight
 * stays 0. */
INLINED void reverse_one(const pyad_tape *tape, size_t from, size_t low, size_t end,
                         double *adjoint)
{
    const uint32_t *first = tape->first, *indices = tape->indices;
    const uint32_t start = (uint32_t)from, count = count_of(from, end);
    const double *weights = tape->weights;
    for (size_t i = end; i-- > low;) {
        double own = adjoint[i - from + 1];
        if (own == 0)
            continue;
        for (size_t k = first[i]; k < first[i + 1]; k++)
            adjoint[row_of(indices[k], start, count)] += own * weights[k];
    }
}

/* ---- several seeds ---------------------------------------------------------------- */

INLINED void reverse_rows(const pyad_tape *tape, size_t from, size_t low, size_t end,
                          size_t seeds, double *rows)
{
    const uint32_t start = (uint32_t)from, count = count_of(from, end);
    for (size_t i = end; i-- > low;) {
        const double *own = rows + (i - from + 1) * seeds;
        if (is_zero(seeds, own))
            continue;
        for (size_t k = tape->first[i]; k < tape->first[i + 1]; k++)
            add_scaled(seeds, tape->weights[k], own,
                       rows + row_of(tape->indices[k], start, count) * seeds);
    }
}

INLINED void forward_rows(const pyad_tape *tape, size_t from, size_t low, size_t end,
                          size_t seeds, double *rows)
{
    const uint32_t start = (uint32_t)from, count = count_of(from, end);
    for (size_t i = low; i < end; i++)
        for (size_t k = tape->first[i]; k < tape->first[i + 1]; k++)
            add_scaled(seeds, tape->weights[k],
                       rows + row_of(tape->indices[k], start, count) * seeds,
                       rows + (i - from + 1) * seeds);
}

/* Loops of a known width take a third of the time of one that has to count. */
WIDEST_LANES
static void reverse_many(const pyad_sweep *s, size_t low, size_t end)
{
    if (s->seeds == 4)
        reverse_rows(s->tape, s->from, low, end, 4, s->rows);
    else if (s->seeds == 8)
        reverse_rows(s->tape, s->from, low, end, 8, s->rows);
    else
        reverse_rows(s->tape, s->from, low, end, s->seeds, s->rows);
}

WIDEST_LANES
static void forward_many(const pyad_sweep *s, size_t low, size_t end)
{
    if (s->seeds == 4)
        forward_rows(s->tape, s->from, low, end, 4, s->rows);
    else if (s->seeds == 8)
        forward_rows(s->tape, s->from, low, end, 8, s->rows);
    else
        forward_rows(s->tape, s->from, low, end, s->seeds, s->rows);
}

/* ---- scalar nodes and blocks ------------------------------------------------------ */

/* Nodes low ... end - 1, none of them in a block. */
static void reverse_scalars(const pyad_sweep *s, size_t low, size_t end)
{
    if (s->seeds != 1)
        reverse_many(s, low, end);
    else if (s->from == 0)
        reverse_one(s->tape, 0, low, end, s->rows);
    else
        reverse_one(s->tape, s->from, low, end, s->rows);
}

static void forward_scalars(const pyad_sweep *s, size_t low, size_t end)
{
    if (s->seeds != 1)
        forward_many(s, low, end);
    else if (s->from == 0)
        forward_rows(s->tape, 0, low, end, 1, s->rows);
    else
        forward_rows(s->tape, s->from, low, end, 1, s->rows);
}

static size_t end_of(const pyad_block *block)
{
    return (size_t)block->start + block->count;
}

/* From node `end` - 1 down; `end` is not inside of a block. */
static int reverse(const pyad_sweep *s, size_t end)
{
    uint32_t block = pyad_tape_blocks_below(s->tape, end);
    while (block > s->first_block) {
        reverse_scalars(s, end_of(&s->tape->blocks[--block]), end);
        int status = pyad_blocks_reverse(s, &block);
        if (status)
            return status;
        end = s->tape->blocks[block].start;
    }
    reverse_scalars(s, s->from, end);
    return PYAD_OK;
}

static int forward(const pyad_sweep *s)
{
    size_t low = s->from;
    for (uint32_t b = s->first_block; b < s->tape->block_count; b++) {
        const pyad_block *block = &s->tape->blocks[b];
        forward_scalars(s, low, block->start);
        int status = pyad_blocks_forward(s, b);
        if (status)
            return status;
        low = end_of(block);
    }
    forward_scalars(s, low, s->tape->length);
    return PYAD_OK;
}

/* A sweep whose rows all hold numbers. */
static int sweep_rows(const pyad_tape *tape, size_t from, size_t seeds, double *rows,
                      int is_reverse)
{
    if (!pyad_tape_is_boundary(tape, from))
        return PYAD_ERROR_NODE_RANGE;
    pyad_tape_store_values(tape);
    const pyad_sweep s = {.tape = tape,
                          .from = from,
                          .seeds = seeds,
                          .rows = rows,
                          .first_block = pyad_tape_blocks_below(tape, from)};
    memset(rows, 0, seeds * sizeof(double));
    int status = is_reverse ? reverse(&s, tape->length) : forward(&s);
    memset(rows, 0, seeds * sizeof(double));
    return status;
}

int pyad_tape_reverse(const pyad_tape *tape, size_t from, size_t seeds, double *rows)
{
    return sweep_rows(tape, from, seeds, rows, 1);
}

int pyad_tape_forward(const pyad_tape *tape, size_t from, size_t seeds, double *rows)
{
    return sweep_rows(tape, from, seeds, rows, 0);
}

/* ---- one seed, in rows that hold nothing yet -------------------------------------- */

/* Blocks whose nodes scalar nodes refer to, which know nothing of `touched`, and those of
 * one number, for which it does not pay. */
static int is_cleared(const pyad_block *block)
{
    return block->count == 1 || block->flags & PYAD_BLOCK_ELEMENTS;
}

static void clear(const pyad_sweep *s, size_t low, size_t end)
{
    memset(s->rows + (low - s->from + 1), 0, (end - low) * sizeof(double));
}

static void clear_scalars(const pyad_sweep *s)
{
    size_t low = s->from;
    for (uint32_t b = s->first_block; b < s->tape->block_count; b++) {
        const pyad_block *block = &s->tape->blocks[b];
        int cleared = is_cleared(block);
        s->touched[b - s->first_block] = (unsigned char)cleared;
        if (cleared)
            continue;
        clear(s, low, block->start);
        low = end_of(block);
    }
    clear(s, low, s->tape->length);
}

/* What nobody touched has adjoint 0. */
static void clear_untouched(const pyad_sweep *s)
{
    for (uint32_t b = s->first_block; b < s->tape->block_count; b++)
        if (pyad_sweep_keeps(s, b))
            pyad_sweep_touch(s, b);
    s->rows[0] = 0;
}

/* Add the seeds; where the sweep has to begin. */
static size_t seed_nodes(const pyad_sweep *s, uint32_t count, const uint32_t *nodes,
                         const double *seeds)
{
    uint32_t block = PYAD_NO_BLOCK;
    size_t end = s->from, low = 0, high = 0; /* of what the last node stood in */
    for (uint32_t i = 0; i < count; i++) {
        uint32_t node = nodes[i];
        if (node == PYAD_CONSTANT || node < s->from)
            continue;
        if (node < low || node >= high) {
            block = pyad_tape_block_of(s->tape, node);
            low = node;
            high = (size_t)node + 1;
            if (block != PYAD_NO_BLOCK) {
                pyad_sweep_touch(s, block);
                low = s->tape->blocks[block].start;
                high = end_of(&s->tape->blocks[block]);
            }
            end = high > end ? high : end;
        }
        *pyad_sweep_row(s, node) += seeds[i];
    }
    return end;
}

static int are_nodes(const pyad_tape *tape, uint32_t count, const uint32_t *nodes)
{
    for (uint32_t i = 0; i < count; i++)
        if (nodes[i] >= tape->length && nodes[i] != PYAD_CONSTANT)
            return 0;
    return 1;
}

int pyad_tape_reverse_run(const pyad_tape *tape, size_t from, uint32_t count,
                          const uint32_t *nodes, const double *seeds, double *rows,
                          int keep_all)
{
    if (!pyad_tape_is_boundary(tape, from))
        return PYAD_ERROR_NODE_RANGE;
    if (!are_nodes(tape, count, nodes))
        return PYAD_ERROR_NODE_RANGE;
    pyad_sweep s = {.tape = tape,
                    .from = from,
                    .seeds = 1,
                    .rows = rows,
                    .first_block = pyad_tape_blocks_below(tape, from),
                    .keep_all = keep_all};
    size_t blocks = tape->block_count - s.first_block;
    pyad_tape_settle(tape);
    if (blocks && tape->blocks[s.first_block].batch < s.first_block)
        pyad_tape_store_values(tape); /* of a batch that began below */
    rows[0] = 0;
    if (blocks && !(s.touched = pyad_buffer_new(blocks)))
        return PYAD_ERROR_NO_MEMORY;
    clear_scalars(&s);
    int status = reverse(&s, seed_nodes(&s, count, nodes, seeds));
    clear_untouched(&s);
    pyad_buffer_release(s.touched);
    return status;
}

/* ---- the adjoints of the tape ----------------------------------------------------- */

/* Room for the adjoints of all nodes. Whoever pinned the last ones keeps them. */
static int reserve_adjoints(pyad_tape *tape)
{
    size_t count = tape->length + 1;
    if (count > tape->adjoint_capacity || pyad_buffer_is_shared(tape->adjoints)) {
        size_t capacity = tape->node_capacity + 1; /* max_bytes has room for them */
        double *fresh = pyad_buffer_new(capacity * sizeof(double));
        if (!fresh)
            return PYAD_ERROR_NO_MEMORY;
        pyad_buffer_release(tape->adjoints);
        tape->adjoints = fresh;
        tape->adjoint_capacity = capacity;
    }
    return PYAD_OK;
}

static int backward_run(pyad_tape *tape, uint32_t count, const uint32_t *nodes,
                        const double *seeds, int keep_all)
{
    if (!are_nodes(tape, count, nodes))
        return PYAD_ERROR_NODE_RANGE;
    int status = reserve_adjoints(tape);
    if (status)
        return status;
    status =
        pyad_tape_reverse_run(tape, 0, count, nodes, seeds, tape->adjoints, keep_all);
    tape->adjoint_count = status ? 0 : tape->length;
    tape->adjoints_lean = !keep_all;
    return status;
}

int pyad_tape_backward_run(pyad_tape *tape, uint32_t count, const uint32_t *nodes,
                           const double *seeds)
{
    return backward_run(tape, count, nodes, seeds, 1);
}

static int backward(pyad_tape *tape, uint32_t node, double seed, int keep_all)
{
    if (node >= tape->length)
        return PYAD_ERROR_NODE_RANGE;
    if (tape->block_count)
        return backward_run(tape, 1, &node, &seed, keep_all);
    int status = reserve_adjoints(tape);
    if (status)
        return status;
    memset(tape->adjoints, 0, (tape->length + 1) * sizeof(double));
    tape->adjoint_count = tape->length;
    tape->adjoints_lean = 0;
    tape->adjoints[(size_t)node + 1] = seed;
    reverse_one(tape, 0, 0, (size_t)node + 1, tape->adjoints);
    return PYAD_OK;
}

int pyad_tape_backward(pyad_tape *tape, uint32_t node, double seed)
{
    return backward(tape, node, seed, 1);
}

int pyad_tape_backward_lean(pyad_tape *tape, uint32_t node, double seed)
{
    return backward(tape, node, seed, 0);
}

double pyad_tape_adjoint(const pyad_tape *tape, uint32_t node)
{
    return node < tape->adjoint_count ? tape->adjoints[(size_t)node + 1] : 0;
}

/* Of a block only its own adjoints are looked at: what it passes on is found at the turn
 * of whom it passes it to. */
uint32_t pyad_tape_bad_adjoint(const pyad_tape *tape, uint32_t node)
{
    pyad_tape_fill_blocks(tape);
    for (size_t i = (size_t)node + 1; i-- > 0;) {
        double own = tape->adjoints[i + 1];
        if (!isfinite(own))
            return (uint32_t)i;
        for (size_t k = tape->first[i]; own != 0 && k < tape->first[i + 1]; k++)
            if (tape->indices[k] != PYAD_CONSTANT && !isfinite(own * tape->weights[k]))
                return (uint32_t)i;
    }
    return PYAD_CONSTANT;
}

/* ---- what a stretch uses ---------------------------------------------------------- */

static int blocks_touch(const pyad_tape *tape, size_t from)
{
    for (size_t b = pyad_tape_blocks_below(tape, from); b < tape->block_count; b++) {
        const pyad_block *block = &tape->blocks[b];
        const pyad_source *x = pyad_block_sources(tape, block);
        for (size_t i = 0; i < block->source_count; i++)
            if (x[i].node < from) /* PYAD_CONSTANT is above all nodes */
                return 1;
        if (block->kind != PYAD_BLOCK_LINEAR)
            continue;
        const pyad_linear *linear = pyad_store_at(tape, block->data);
        const uint32_t *rows = pyad_store_at(tape, linear->rows);
        for (size_t k = 0; k < linear->entries; k++)
            if (rows[k] - 1 < from)
                return 1;
    }
    return 0;
}

/* In strides, each without a branch: quick in vector lanes, and an early answer if it is
 * yes. */
int pyad_tape_touches(const pyad_tape *tape, size_t from)
{
    enum { STRIDE = 4096 };
    if (from == 0 || from >= tape->length)
        return 0;
    if (blocks_touch(tape, from))
        return 1;
    for (size_t k = tape->first[from]; k < tape->arguments; k += STRIDE) {
        size_t rest = tape->arguments - k, count = rest < STRIDE ? rest : STRIDE;
        int below = 0;
        for (size_t j = 0; j < count; j++)
            below |= tape->indices[k + j] < from;
        if (below)
            return 1;
    }
    return 0;
}
