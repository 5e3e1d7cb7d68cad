/* Sums of any nodes as LINEAR blocks: the rows are counted first and then filled, so that
 * terms may come in any order. Constant terms are added up beside the rows. */
#include <string.h>

#include "../buffer.h"
#include "numbers.h"

static void *zeroed(graph *g, size_t count, size_t size)
{
    void *room = NULL;
    if (count <= SIZE_MAX / 4 / size)
        room = pyad_buffer_new(count * size);
    if (room)
        memset(room, 0, count * size);
    else if (!g->status)
        g->status = PYAD_ERROR_NO_MEMORY;
    return room;
}

void pyad_rows_new(pyad_rows *r, graph *g, size_t count)
{
    *r = (pyad_rows){.g = g, .count = count};
    r->first = zeroed(g, count + 1, sizeof *r->first);
}

void pyad_rows_count(pyad_rows *r, size_t element, const pyad_numbers *x)
{
    if (r->g->status || x->node == PYAD_CONSTANT)
        return;
    if (++r->entries > UINT32_MAX)
        r->g->status = PYAD_ERROR_TAPE_FULL;
    else
        r->first[element + 1]++;
}

/* Counts become the places where rows start; filling row i moves first[i + 1] from there
 * to its end. */
void pyad_rows_start(pyad_rows *r)
{
    uint32_t start = 0;
    r->rows = zeroed(r->g, r->entries, sizeof *r->rows);
    r->weights = zeroed(r->g, r->entries, sizeof *r->weights);
    r->base = zeroed(r->g, r->count, sizeof *r->base);
    r->values = pyad_numbers_room(r->g, r->count);
    for (size_t i = 1; !r->g->status && i <= r->count; i++) {
        uint32_t entries = r->first[i];
        r->first[i] = start;
        r->values[i - 1] = 0;
        start += entries;
    }
}

void pyad_rows_add(pyad_rows *r, size_t element, const pyad_numbers *x, size_t i,
                   double weight)
{
    if (r->g->status)
        return;
    double value = pyad_numbers_values(r->g, x)[i * x->step];
    const double term = value == 0 ? 0 : weight * value;
    r->values[element] += term;
    if (x->node == PYAD_CONSTANT) {
        r->base[element] += term;
        r->based = 1;
        return;
    }
    uint32_t k = r->first[element + 1]++;
    r->rows[k] = x->node + (uint32_t)i * x->step + 1;
    r->weights[k] = weight;
    r->weighted |= weight != 1;
    if (x->block != PYAD_NO_BLOCK)
        pyad_block_mark(r->g->tape, x->block);
}

/* Every row one entry: then they need not say where they start. */
static int one_each(const pyad_rows *r)
{
    size_t i = 0;
    while (i <= r->count && r->first[i] == i)
        i++;
    return i > r->count;
}

pyad_numbers pyad_rows_finish(pyad_rows *r)
{
    graph *g = r->g;
    pyad_numbers result = pyad_numbers_uniform((double)NAN, r->count);
    uint32_t block = 0;
    if (!g->status && r->entries == 0)
        result = pyad_numbers_of_room(r->values, r->count);
    else if (!g->status)
        g->status = pyad_block_affine(
            g->tape, r->count, r->values, one_each(r) ? NULL : r->first, r->entries,
            r->rows, r->weighted ? r->weights : NULL, r->based ? r->base : NULL, &block);
    if (!g->status && r->entries)
        result = (pyad_numbers){.node = g->tape->blocks[block].start,
                                .block = block,
                                .step = 1,
                                .count = r->count};
    pyad_buffer_release(r->first);
    pyad_buffer_release(r->rows);
    pyad_buffer_release(r->weights);
    pyad_buffer_release(r->base);
    return result;
}

/* ---- operands in a row ------------------------------------------------------------ */

static int same_operand(pyad_operand x, pyad_operand y)
{
    return x.node == y.node && (x.node != PYAD_CONSTANT || x.value == y.value ||
                                (isnan(x.value) && isnan(y.value)));
}

pyad_numbers pyad_numbers_gather(graph *g, size_t count, const pyad_operand *operands)
{
    size_t same = 1, run = 1;
    const uint32_t node = operands[0].node;
    const uint32_t block =
        node == PYAD_CONSTANT ? PYAD_NO_BLOCK : pyad_tape_block_of(g->tape, node);
    if (g->status)
        return pyad_numbers_uniform((double)NAN, count);
    while (same < count && same_operand(operands[same], operands[0]))
        same++;
    if (same == count)
        return pyad_numbers_same(g, operands[0], count);
    while (run < count && operands[run].node == node + run)
        run++;
    if (run == count && block != PYAD_NO_BLOCK &&
        node - g->tape->blocks[block].start + count <= g->tape->blocks[block].count)
        return (pyad_numbers){.node = node, .block = block, .step = 1, .count = count};
    pyad_rows rows;
    pyad_rows_new(&rows, g, count);
    for (size_t i = 0; i < count; i++) {
        pyad_numbers x = {.node = operands[i].node, .count = 1};
        pyad_rows_count(&rows, i, &x);
    }
    pyad_rows_start(&rows);
    for (size_t i = 0; i < count && !g->status; i++) {
        pyad_numbers x = pyad_numbers_same(g, operands[i], 1);
        pyad_rows_add(&rows, i, &x, 0, 1);
    }
    return pyad_rows_finish(&rows);
}
