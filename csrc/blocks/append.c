/* Copying a stretch of one tape to the end of another. What it uses of nodes below it
 * becomes constant: arguments of scalar nodes where they stand, operands of blocks in the
 * store, rows of a LINEAR block at 0. */
#include <string.h>

#include "life.h"
#include "pending.h"

typedef struct {
    pyad_tape *to;
    const pyad_tape *of;
    size_t from;
    uint32_t first_block; /* of those copied */
    size_t store;         /* where their stretch of the store begins */
    uint32_t shift;       /* of node numbers, modulo 2**32 */
    size_t moved;         /* of offsets in the store, modulo 2**64 */
} copying;

/* Whether the numbers of an operand have to be copied on their own. */
static int stands_apart(const copying *c, const pyad_source *s)
{
    return s->node == PYAD_CONSTANT ? s->data < c->store : s->node < c->from;
}

static size_t bytes_apart(const copying *c)
{
    size_t bytes = 0, first = c->of->source_count;
    if (c->first_block < c->of->block_count)
        first = c->of->blocks[c->first_block].first_source;
    for (size_t i = first; i < c->of->source_count; i++)
        if (stands_apart(c, &c->of->sources[i]))
            bytes += c->of->sources[i].count * sizeof(double);
    return bytes;
}

static pyad_source copy_source(const copying *c, const pyad_source *s, uint32_t block)
{
    pyad_source copied = *s;
    if (stands_apart(c, s)) {
        copied.node = PYAD_CONSTANT;
        copied.block = PYAD_NO_BLOCK;
        copied.data = c->to->store_length;
        memcpy(c->to->store + copied.data, pyad_source_values(c->of, s),
               s->count * sizeof(double));
        c->to->store_length += s->count * sizeof(double);
    } else if (s->node == PYAD_CONSTANT) {
        copied.data += c->moved;
    } else {
        copied.node += c->shift;
        copied.block = s->block == PYAD_NO_BLOCK ? PYAD_NO_BLOCK : s->block + block;
    }
    return copied;
}

/* What becomes constant goes into the base, if there is one. */
static void move_linear(const copying *c, pyad_linear *linear, uint32_t count)
{
    uint32_t *rows = (uint32_t *)(void *)(c->to->store + linear->rows + c->moved);
    linear->rows += c->moved;
    linear->first += linear->first == SIZE_MAX ? 0 : c->moved;
    linear->weights += linear->weights == SIZE_MAX ? 0 : c->moved;
    linear->base += linear->base == SIZE_MAX ? 0 : c->moved;
    const unsigned char *store = c->to->store;
    const uint32_t *first =
        linear->first == SIZE_MAX ? NULL : (const void *)(store + linear->first);
    const double *weights =
        linear->weights == SIZE_MAX ? NULL : (const void *)(store + linear->weights);
    double *base =
        linear->base == SIZE_MAX ? NULL : (void *)(c->to->store + linear->base);
    for (uint32_t i = 0; i < count; i++)
        for (size_t k = first ? first[i] : i; k < (first ? first[i + 1] : i + 1); k++) {
            const double value = rows[k] ? c->of->values[rows[k] - 1] : 0;
            if (base && rows[k] <= c->from && value != 0)
                base[i] += weights ? weights[k] * value : value;
            rows[k] = rows[k] <= c->from ? 0 : rows[k] + c->shift;
        }
}

/* The stretch of the store as it is, then the blocks with what has moved. */
static void copy_blocks(copying *c)
{
    pyad_tape *to = c->to;
    const pyad_tape *of = c->of;
    const uint32_t renumber = (uint32_t)to->block_count - c->first_block;
    if (c->first_block == of->block_count)
        return;
    c->moved = to->store_length - c->store;
    const size_t store = to->store_length;
    if (of->store_length > c->store)
        memcpy(to->store + store, of->store + c->store, of->store_length - c->store);
    to->store_length += of->store_length - c->store;
    for (size_t b = c->first_block; b < of->block_count; b++) {
        pyad_block block = of->blocks[b];
        const pyad_source *sources = of->sources + block.first_source;
        block.first_source = (uint32_t)to->source_count;
        for (size_t i = 0; i < block.source_count; i++)
            to->sources[to->source_count++] = copy_source(c, &sources[i], renumber);
        block.start += c->shift;
        block.arguments += to->arguments - of->first[c->from];
        block.data += c->moved;
        if (block.kind == PYAD_BLOCK_MAP)
            block.batch =
                (block.batch > c->first_block ? block.batch : c->first_block) + renumber;
        block.store = SIZE_MAX; /* below, when the end is known */
        if (block.kind == PYAD_BLOCK_LINEAR)
            move_linear(c, (pyad_linear *)(void *)(to->store + block.data), block.count);
        if (block.rule)
            block.rule = block.rule->retain(block.rule);
        to->blocks[to->block_count++] = block;
    }
    /* The first of them gives back the whole copied store, the others nothing. */
    for (size_t b = c->first_block; b < of->block_count; b++)
        to->blocks[(uint32_t)b + renumber].store =
            b == c->first_block ? store : to->store_length;
}

static void copy_scalars(const copying *c, size_t start, size_t arguments)
{
    pyad_tape *to = c->to;
    const pyad_tape *of = c->of;
    const size_t nodes = of->length - c->from;
    memcpy(to->ops + to->length, of->ops + c->from, nodes);
    memcpy(to->values + to->length, of->values + c->from, nodes * sizeof(double));
    for (size_t i = 0; i < nodes; i++)
        to->first[to->length + i + 1] =
            (uint32_t)(of->first[c->from + i + 1] - start + to->arguments);
    for (size_t k = 0; k < arguments; k++) {
        uint32_t index = of->indices[start + k];
        int inside = index != PYAD_CONSTANT && index >= c->from;
        int outside = index != PYAD_CONSTANT && index < c->from;
        to->indices[to->arguments + k] = inside ? index + c->shift : PYAD_CONSTANT;
        to->weights[to->arguments + k] =
            outside ? of->values[index] : of->weights[start + k];
    }
}

int pyad_tape_append(pyad_tape *tape, const pyad_tape *other, size_t from)
{
    copying c = {.to = tape, .of = other, .from = from};
    if (from >= other->length)
        return from == other->length ? PYAD_OK : PYAD_ERROR_NODE_RANGE;
    if (!pyad_tape_is_boundary(other, from))
        return PYAD_ERROR_NODE_RANGE;
    pyad_tape_store_values(other);
    pyad_tape_settle(tape);
    c.first_block = pyad_tape_blocks_below(other, from);
    c.store = c.first_block < other->block_count ? other->blocks[c.first_block].store
                                                 : other->store_length;
    c.shift = (uint32_t)tape->length - (uint32_t)from;
    size_t start = other->first[from], arguments = other->arguments - start;
    pyad_room more = {other->length - from, arguments, other->block_count - c.first_block,
                      other->source_count,
                      other->store_length - c.store + bytes_apart(&c)};
    int status = pyad_tape_make_room(tape, &more);
    if (status)
        return status;
    pyad_tape_fill_blocks(other);
    copy_scalars(&c, start, arguments);
    copy_blocks(&c);
    tape->length += more.nodes;
    tape->arguments += arguments;
    return PYAD_OK;
}
