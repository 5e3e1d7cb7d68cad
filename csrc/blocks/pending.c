/* Pending maps, evaluated together: see pending.h. */
#include "pending.h"

#include <stdatomic.h>

#include "lanes.h"
#include "life.h"
#include "sincos.h"

/* ---- recording -------------------------------------------------------------------- */

static int is_of_block(const pyad_vector *x)
{
    return x->node != PYAD_CONSTANT && x->block != PYAD_NO_BLOCK;
}

uint32_t pyad_map_batch(const pyad_tape *tape, size_t count, size_t operands,
                        const pyad_vector *x)
{
    const uint32_t next = (uint32_t)tape->block_count;
    const pyad_block *last = next ? &tape->blocks[next - 1] : NULL;
    if (!last || last->kind != PYAD_BLOCK_MAP || last->count != count ||
        (size_t)last->start + count != tape->length || next - last->batch == PYAD_RUN)
        return next;
    for (size_t i = 0; i < operands; i++)
        if (is_of_block(&x[i]) && x[i].block >= last->batch &&
            (x[i].step != 1 || x[i].node != tape->blocks[x[i].block].start))
            return next;
    return last->batch;
}

int pyad_map_can_join(const pyad_tape *tape, uint32_t map_batch, size_t operands,
                      const pyad_vector *x)
{
    const size_t first = tape->block_count - tape->pending;
    if (!tape->pending || tape->blocks[tape->block_count - 1].batch != map_batch)
        return 0;
    for (size_t i = 0; i < operands; i++)
        if (is_of_block(&x[i]) && x[i].block < first &&
            tape->blocks[x[i].block].flags & PYAD_BLOCK_UNSTORED)
            return 0;
    return 1;
}

int pyad_is_last_pending(const pyad_tape *tape, uint32_t node, size_t count)
{
    if (!tape->pending)
        return 0;
    const pyad_block *last = &tape->blocks[tape->block_count - 1];
    return last->start == node && last->count == count;
}

/* ---- evaluating ------------------------------------------------------------------- */

static void compute_both(int op, size_t count, const double *a, double *out,
                         double *partial)
{
    if (op == PYAD_OP_SIN) {
        pyad_sin_cos_values(count, a, out, partial);
        return;
    }
    pyad_sin_cos_values(count, a, partial, out);
    for (size_t i = 0; i < count; i++)
        partial[i] = -partial[i];
}

void pyad_tile_compute(const pyad_tiles *t, const pyad_block *map, size_t at,
                       size_t count, double *out)
{
    const pyad_source *x = pyad_block_sources(t->tape, map);
    const double *a = pyad_tile_source(t, x, at);
    const double *b = map->source_count > 1 ? pyad_tile_source(t, x + 1, at) : NULL;
    double *partial = pyad_tile_of_partial(t, (uint32_t)(map - t->tape->blocks));
    if (partial && x->step) {
        compute_both(map->op, count, a, out, partial);
        return;
    }
    pyad_map_part(t->tape->loops, map->op, PYAD_VALUE, count, a, x->step, b,
                  b ? x[1].step : 0, NULL, out);
}

/* Whether computing a number again takes less time than writing and reading it. */
static int is_cheap(const pyad_tape *tape, const pyad_block *map)
{
    const pyad_source *x = pyad_block_sources(tape, map);
    switch (map->op) {
    case PYAD_OP_POW: /* by one number: NumPy's quick cases */
        return x[1].node == PYAD_CONSTANT && x[1].step == 0 &&
               *pyad_source_values(tape, x + 1) == 2;
    case PYAD_OP_ADD:
    case PYAD_OP_SUB:
    case PYAD_OP_MUL:
    case PYAD_OP_DIV:
    case PYAD_OP_NEG:
    case PYAD_OP_POSITIVE:
    case PYAD_OP_SQUARE:
    case PYAD_OP_ABS:
    case PYAD_OP_MAXIMUM:
    case PYAD_OP_MINIMUM:
    case PYAD_OP_RELU:
    case PYAD_OP_SIN: /* a sweep needs the other one anyway, and both come at once */
    case PYAD_OP_COS:
        return 1;
    default:
        return 0;
    }
}

/* Maps that are evaluated together, and for each the tile that its values stay in. */
typedef struct {
    pyad_tiles values;
    double *tile[PYAD_RUN]; /* NULL: they are stored */
} group;

static void compute_tile(const group *b, size_t at, size_t count)
{
    const pyad_tape *tape = b->values.tape;
    const pyad_block *map = &tape->blocks[b->values.first];
    for (uint32_t i = 0; i < b->values.maps; i++, map++)
        pyad_tile_compute(&b->values, map, at, count,
                          b->tile[i] ? b->tile[i] : tape->values + map->start + at);
}

static void compute(const group *b, size_t count)
{
    for (size_t at = 0; at < count; at += PYAD_TILE)
        compute_tile(b, at, smaller(PYAD_TILE, count - at));
}

/* As the sum of all numbers at once is made: of halves of halves, a multiple of 8 long,
 * here down to parts that fit in a tile. A recursion 50 calls deep at the most. */
static double compute_sum(const group *b, size_t at, size_t count)
{
    if (count > PYAD_TILE) {
        size_t half = count / 2;
        half -= half % 8;
        double sum = compute_sum(b, at, half);
        return sum + compute_sum(b, at + half, count - half);
    }
    const pyad_tape *tape = b->values.tape;
    const uint32_t last = b->values.maps - 1;
    const double *values = tape->values + tape->blocks[b->values.first + last].start + at;
    compute_tile(b, at, count);
    return pyad_sum_values(tape->loops, count, b->tile[last] ? b->tile[last] : values);
}

/* ---- settling --------------------------------------------------------------------- */

/* What is pending. Tiles for values that need not be stored: of what is cheap
 * and dropped, and of the last map if it is summed, which is often the last use of it. */
static void group_of_pending(group *b, pyad_tape *tape, int summed,
                             double (*tiles)[PYAD_TILE])
{
    const uint32_t maps = (uint32_t)tape->pending;
    const uint32_t first = (uint32_t)(tape->block_count - tape->pending);
    uint32_t used = 0, before = 0;
    for (uint32_t i = tape->blocks[first].batch; i < first; i++)
        before += tape->blocks[i].flags & PYAD_BLOCK_UNSTORED ? 1 : 0;
    b->values = (pyad_tiles){tape, first, maps, b->tile, NULL};
    for (uint32_t i = 0; i < maps; i++) {
        const pyad_block *map = &tape->blocks[first + i];
        const int needless =
            (map->flags & PYAD_BLOCK_DROPPED) || (summed && i + 1 == maps);
        b->tile[i] = needless && before + used < PYAD_UNSTORED && is_cheap(tape, map)
                         ? tiles[used++]
                         : NULL;
    }
    for (uint32_t i = 0; i < maps; i++) {
        pyad_block *map = &tape->blocks[first + i];
        if (!b->tile[i])
            map->flags &= (uint8_t)~PYAD_BLOCK_UNSTORED;
    }
    tape->unstored += used;
    tape->pending = 0;
}

static double settle_pending(pyad_tape *tape, int summed)
{
    double tiles[PYAD_UNSTORED][PYAD_TILE];
    const size_t count = tape->blocks[tape->block_count - 1].count;
    group b;
    group_of_pending(&b, tape, summed, tiles);
    if (summed)
        return compute_sum(&b, 0, count);
    compute(&b, count);
    return 0;
}

double pyad_tape_settle_sum(pyad_tape *tape) { return settle_pending(tape, 1); }

static pyad_tape *writable(const pyad_tape *tape) { return (pyad_tape *)(uintptr_t)tape; }

void pyad_tape_settle(const pyad_tape *tape)
{
    if (tape->pending)
        settle_pending(writable(tape), 0);
}

/* ---- storing ---------------------------------------------------------------------- */

/* The values of a batch that are not on the tape, computed there. The flags go last: a
 * sweep in another thread goes by them, and by its own tiles as long as they stand. */
static void store_batch(pyad_tape *tape, uint32_t first)
{
    const pyad_tiles on_tape = {.tape = tape};
    const size_t count = tape->blocks[first].count;
    uint32_t end = first;
    while (end < tape->block_count && tape->blocks[end].batch == first)
        end++;
    for (size_t at = 0; at < count; at += PYAD_TILE)
        for (uint32_t i = first; i < end; i++) {
            const pyad_block *map = &tape->blocks[i];
            if (map->flags & PYAD_BLOCK_UNSTORED)
                pyad_tile_compute(&on_tape, map, at, smaller(PYAD_TILE, count - at),
                                  tape->values + map->start + at);
        }
    atomic_thread_fence(memory_order_release);
    for (uint32_t i = first; i < end; i++)
        if (tape->blocks[i].flags & PYAD_BLOCK_UNSTORED) {
            tape->blocks[i].flags &= (uint8_t)~PYAD_BLOCK_UNSTORED;
            tape->unstored--;
        }
}

void pyad_block_store_values(const pyad_tape *tape, uint32_t block)
{
    pyad_tape_settle(tape);
    if (tape->blocks[block].flags & PYAD_BLOCK_UNSTORED)
        store_batch(writable(tape), tape->blocks[block].batch);
}

void pyad_tape_store_values(const pyad_tape *tape)
{
    pyad_tape_settle(tape);
    for (size_t b = tape->block_count; tape->unstored && b-- > 0;)
        if (tape->blocks[b].flags & PYAD_BLOCK_UNSTORED)
            store_batch(writable(tape), tape->blocks[b].batch);
}
