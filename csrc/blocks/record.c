/* Recording blocks: check, make room for everything, compute the values where they stand,
 * push. Nothing can fail once there is room, so that on failure the tape is as it was.
 *
 * A constant array that the tape has copied lately is not copied again: x = A @ x a
 * thousand times keeps one A. */
#include "record.h"

#include <string.h>

#include "life.h"
#include "pending.h"

enum {
    SHARED_FROM = 64, /* numbers: below, a copy is cheaper than looking for one */
    LOOK_BACK = 32,   /* sources */
};

/* ---- operands --------------------------------------------------------------------- */

/* Where the arrays of the tape stood before it grew. */
typedef struct {
    uintptr_t values, store;
    size_t values_bytes, store_bytes;
} bases;

static bases bases_of(const pyad_tape *tape)
{
    return (bases){(uintptr_t)tape->values, (uintptr_t)tape->store,
                   tape->length * sizeof(double), tape->store_length};
}

/* A pointer as good as before the tape grew, wherever it points to. */
static const void *rebased(const pyad_tape *tape, const bases *before, const void *p)
{
    size_t in_values = (uintptr_t)p - before->values;
    size_t in_store = (uintptr_t)p - before->store;
    if (before->values && in_values < before->values_bytes)
        return (const char *)tape->values + in_values;
    if (before->store && in_store < before->store_bytes)
        return tape->store + in_store;
    return p;
}

/* The offset of these numbers in the store, if they stand there already; or SIZE_MAX. */
static size_t find_copy(const pyad_tape *tape, const double *values, size_t count)
{
    size_t offset = (uintptr_t)values - (uintptr_t)tape->store;
    size_t bytes = count * sizeof(double), seen = SIZE_MAX;
    if (tape->store && offset < tape->store_length && offset % sizeof(double) == 0 &&
        bytes <= tape->store_length - offset)
        return offset;
    for (size_t i = 0; count >= SHARED_FROM && i < LOOK_BACK && i < tape->source_count;
         i++) {
        const pyad_source *s = &tape->sources[tape->source_count - 1 - i];
        if (s->node != PYAD_CONSTANT || s->count != count || s->data == seen)
            continue;
        seen = s->data;
        if (memcmp(pyad_store_at(tape, seen), values, bytes) == 0)
            return seen;
    }
    return SIZE_MAX;
}

static int is_on_tape(const pyad_tape *tape, const pyad_vector *x)
{
    return x->node == PYAD_CONSTANT ||
           (x->node < tape->length && x->count <= tape->length - x->node &&
            (x->block == PYAD_NO_BLOCK || x->block < tape->block_count));
}

/* ---- a block in the making -------------------------------------------------------- */

typedef struct {
    pyad_tape *tape;
    size_t sources;
    const pyad_vector *x;
    int joins; /* what is pending may stay so */
    pyad_block block;
    bases before;
} making;

/* What is to be read from the tape is there. */
static void settle(const making *m)
{
    if (!m->joins)
        pyad_tape_settle(m->tape);
    for (size_t i = 0; !m->joins && i < m->sources; i++)
        if (m->x[i].node != PYAD_CONSTANT && m->x[i].block != PYAD_NO_BLOCK)
            pyad_block_values(m->tape, m->x[i].block);
}

/* Make room: nodes, `sources` operands, their constants, and `bytes` of data (returned at
 * *data). The sources are written, but not yet counted. */
static int begin(making *m, size_t count, size_t bytes, void **data)
{
    pyad_tape *tape = m->tape;
    size_t constants = 0;
    bytes = pyad_store_round(bytes);
    pyad_room room = {count, 0, 1, m->sources, bytes};
    for (size_t i = 0; i < m->sources; i++)
        if (!is_on_tape(tape, &m->x[i]))
            return PYAD_ERROR_NODE_RANGE;
    settle(m);
    m->before = bases_of(tape);
    int status = pyad_tape_make_room(tape, &room);
    if (status)
        return status;
    for (size_t i = 0; i < m->sources; i++) {
        const pyad_vector *x = &m->x[i];
        pyad_source *s = &tape->sources[tape->source_count + i];
        *s = (pyad_source){x->node, x->block, x->step, x->count, SIZE_MAX};
        if (x->node != PYAD_CONSTANT)
            continue;
        s->block = PYAD_NO_BLOCK;
        s->data = find_copy(tape, rebased(tape, &m->before, x->values), x->count);
        constants += s->data == SIZE_MAX ? x->count * sizeof(double) : 0;
    }
    room.store += constants;
    status = constants ? pyad_tape_make_room(tape, &room) : PYAD_OK;
    if (status)
        return status;
    m->block = (pyad_block){
        .start = (uint32_t)tape->length,
        .count = (uint32_t)count,
        .op = PYAD_OP_GIVEN,
        .first_source = (uint32_t)tape->source_count,
        .source_count = (uint32_t)m->sources,
        .batch = PYAD_NO_BLOCK,
        .arguments = tape->arguments,
        .store = tape->store_length,
        .data = tape->store_length,
    };
    if (data)
        *data = tape->store + tape->store_length;
    size_t end = tape->store_length + bytes;
    for (size_t i = 0; i < m->sources; i++) {
        pyad_source *s = &tape->sources[tape->source_count + i];
        if (s->node != PYAD_CONSTANT || s->data != SIZE_MAX)
            continue;
        s->data = end;
        memcpy(tape->store + end, rebased(tape, &m->before, m->x[i].values),
               s->count * sizeof(double));
        end += s->count * sizeof(double);
    }
    tape->store_length = end;
    return PYAD_OK;
}

/* The values of operand i, and of the result, once there is room. */
static const double *operand(const making *m, size_t i)
{
    return pyad_source_values(m->tape, &m->tape->sources[m->block.first_source + i]);
}
static double *result(const making *m) { return m->tape->values + m->block.start; }

static int push(making *m, enum pyad_block_kind kind, uint32_t *number)
{
    pyad_tape *tape = m->tape;
    m->block.kind = (uint8_t)kind;
    *number = (uint32_t)tape->block_count;
    tape->blocks[tape->block_count++] = m->block;
    tape->source_count += m->sources;
    tape->length += m->block.count;
    tape->first[tape->length] = (uint32_t)tape->arguments;
    return PYAD_OK;
}

/* ---- leaves, maps ----------------------------------------------------------------- */

int pyad_block_leaf(pyad_tape *tape, size_t count, const double *values, uint32_t *block)
{
    making m = {.tape = tape};
    int status = begin(&m, count, 0, NULL);
    if (status)
        return status;
    memcpy(result(&m), rebased(tape, &m.before, values), count * sizeof(double));
    m.block.op = PYAD_OP_LEAF;
    return push(&m, PYAD_BLOCK_LEAF, block);
}

int pyad_block_map(pyad_tape *tape, int op, int order, size_t count, pyad_vector a,
                   pyad_vector b, uint32_t *block)
{
    const pyad_op_info *info = pyad_op_describe(op);
    if (!info || info->arguments < 1 || order < 0 || order > info->arguments)
        return PYAD_ERROR_OPERATION_UNKNOWN;
    pyad_vector x[2] = {a, b};
    making m = {.tape = tape, .sources = (size_t)info->arguments, .x = x};
    for (size_t i = 0; i < m.sources; i++) {
        if (count == 1 && x[i].block != PYAD_NO_BLOCK)
            x[i].step = 1; /* as good as 0, and lines up with the block it is of */
        if (x[i].count < (x[i].step ? count : 1))
            return PYAD_ERROR_NODE_RANGE;
        x[i].count = x[i].step ? count : 1;
    }
    const int waits = order == 0 && tape->waits_from && count >= tape->waits_from;
    const uint32_t batch = pyad_map_batch(tape, count, m.sources, x);
    m.joins = waits && pyad_map_can_join(tape, batch, m.sources, x);
    int status = begin(&m, count, 0, NULL);
    if (status)
        return status;
    m.block.batch = batch;
    if (waits) {
        m.block.op = (uint8_t)op;
        m.block.flags = PYAD_BLOCK_UNSTORED;
        tape->pending++;
        return push(&m, PYAD_BLOCK_MAP, block);
    }
    const double *p = operand(&m, 0), *q = m.sources > 1 ? operand(&m, 1) : NULL;
    double *out = result(&m);
    pyad_map_part(tape->loops, op, PYAD_VALUE, count, p, x[0].step, q, x[1].step, NULL,
                  out);
    if (order)
        pyad_map_part(tape->loops, op, order == 1 ? PYAD_DA : PYAD_DB, count, p,
                      x[0].step, q, x[1].step, out, out);
    m.block.op = (uint8_t)op;
    m.block.order = (uint8_t)order;
    return push(&m, PYAD_BLOCK_MAP, block);
}

/* ---- layouts ---------------------------------------------------------------------- */

/* The same mapping in as few dimensions as it has: those of one are dropped, neighbours
 * that follow each other on the strided side too become one. */
static size_t simplify(size_t ndim, const int64_t *shape, const int64_t *stride,
                       int64_t *sides)
{
    size_t kept = 0;
    int64_t *lengths = sides, *strides = sides + ndim;
    for (size_t d = 0; d < ndim; d++) {
        if (shape[d] == 1)
            continue;
        if (kept && strides[kept - 1] == stride[d] * shape[d]) {
            lengths[kept - 1] *= shape[d];
            strides[kept - 1] = stride[d];
            continue;
        }
        lengths[kept] = shape[d];
        strides[kept++] = stride[d];
    }
    memmove(sides + kept, strides, kept * sizeof *sides);
    return kept;
}

static size_t layout_bytes(size_t ndim)
{
    return sizeof(pyad_layout) + 2 * ndim * sizeof(int64_t);
}

static size_t size_of(size_t ndim, const int64_t *shape)
{
    size_t size = 1;
    for (size_t d = 0; d < ndim; d++)
        size *= (size_t)shape[d];
    return size;
}

static void write_layout(making *m, pyad_layout *layout, size_t ndim,
                         const int64_t *shape, const int64_t *stride, int64_t offset)
{
    layout->offset = offset;
    layout->ndim = simplify(ndim, rebased(m->tape, &m->before, shape),
                            rebased(m->tape, &m->before, stride), layout->sides);
}

int pyad_block_spread(pyad_tape *tape, pyad_vector x, size_t ndim, const int64_t *shape,
                      const int64_t *stride, int64_t offset, uint32_t *block)
{
    void *layout;
    making m = {.tape = tape, .sources = 1, .x = &x};
    int status = begin(&m, size_of(ndim, shape), layout_bytes(ndim), &layout);
    if (status)
        return status;
    write_layout(&m, layout, ndim, shape, stride, offset);
    pyad_layout_read(layout, operand(&m, 0), result(&m));
    return push(&m, PYAD_BLOCK_SPREAD, block);
}

/* The sum of all numbers of an array. */
static int sum_all(const pyad_loops *loops, const pyad_layout *layout, const double *x,
                   double *out)
{
    if (!loops || !loops->sum.run || layout->ndim != 1 || layout->sides[1] != 0)
        return 0;
    *out = pyad_sum_values(loops, (size_t)layout->sides[0], x);
    return 1;
}

/* Whether a layout of `size` numbers is the sum of all, into the only number. */
static int is_sum_of_all(size_t ndim, const int64_t *shape, const int64_t *stride,
                         size_t size, size_t count)
{
    for (size_t d = 0; d < ndim; d++)
        if (shape[d] != 1 && stride[d] != 0)
            return 0;
    return count == 1 && size > 1 && size_of(ndim, shape) == size;
}

int pyad_block_collect(pyad_tape *tape, pyad_vector x, size_t ndim, const int64_t *shape,
                       const int64_t *stride, int64_t offset, size_t count,
                       uint32_t *block)
{
    void *data;
    making m = {.tape = tape, .sources = 1, .x = &x};
    m.joins = is_sum_of_all(ndim, shape, stride, x.count, count) &&
              pyad_is_last_pending(tape, x.node, x.count);
    int status = begin(&m, count, layout_bytes(ndim), &data);
    if (status)
        return status;
    pyad_layout *layout = data;
    write_layout(&m, layout, ndim, shape, stride, offset);
    if (m.joins) {
        *result(&m) = pyad_tape_settle_sum(tape);
        return push(&m, PYAD_BLOCK_COLLECT, block);
    }
    memset(result(&m), 0, count * sizeof(double));
    if (!sum_all(tape->loops, layout, operand(&m, 0), result(&m) + layout->offset))
        pyad_layout_add(layout, operand(&m, 0), result(&m));
    return push(&m, PYAD_BLOCK_COLLECT, block);
}

/* ---- rows, products, running sums, rules ------------------------------------------ */

int pyad_block_linear(pyad_tape *tape, size_t count, const double *values,
                      const uint32_t *first, size_t entries, const uint32_t *rows,
                      const double *weights, uint32_t *block)
{
    return pyad_block_affine(tape, count, values, first, entries, rows, weights, NULL,
                             block);
}

int pyad_block_affine(pyad_tape *tape, size_t count, const double *values,
                      const uint32_t *first, size_t entries, const uint32_t *rows,
                      const double *weights, const double *base, uint32_t *block)
{
    size_t first_bytes = first ? pyad_store_round((count + 1) * sizeof *first) : 0;
    size_t row_bytes = pyad_store_round(entries * sizeof *rows);
    size_t weight_bytes = weights ? entries * sizeof *weights : 0;
    size_t base_bytes = base ? count * sizeof *base : 0;
    for (size_t k = 0; k < entries; k++)
        if (rows[k] > tape->length)
            return PYAD_ERROR_NODE_RANGE;
    void *data;
    making m = {.tape = tape};
    int status = begin(
        &m, count,
        sizeof(pyad_linear) + first_bytes + row_bytes + weight_bytes + base_bytes, &data);
    if (status)
        return status;
    size_t at = m.block.data + sizeof(pyad_linear);
    pyad_linear *linear = data;
    *linear =
        (pyad_linear){entries, first ? at : SIZE_MAX, at + first_bytes,
                      weights ? at + first_bytes + row_bytes : SIZE_MAX,
                      base ? at + first_bytes + row_bytes + weight_bytes : SIZE_MAX};
    if (first)
        memcpy(tape->store + linear->first, rebased(tape, &m.before, first),
               (count + 1) * sizeof *first);
    if (entries)
        memcpy(tape->store + linear->rows, rebased(tape, &m.before, rows),
               entries * sizeof *rows);
    if (weight_bytes)
        memcpy(tape->store + linear->weights, rebased(tape, &m.before, weights),
               weight_bytes);
    if (base_bytes)
        memcpy(tape->store + linear->base, rebased(tape, &m.before, base), base_bytes);
    memcpy(result(&m), rebased(tape, &m.before, values), count * sizeof(double));
    return push(&m, PYAD_BLOCK_LINEAR, block);
}

int pyad_block_product(pyad_tape *tape, const pyad_product *product, pyad_vector a,
                       pyad_vector b, uint32_t *block)
{
    void *data;
    const pyad_product p = *product;
    const pyad_vector x[2] = {a, b};
    making m = {.tape = tape, .sources = 2, .x = x};
    int status = begin(&m, p.batch * p.m * p.n, sizeof p, &data);
    if (status)
        return status;
    memcpy(data, &p, sizeof p);
    pyad_product_value(tape->loops, data, operand(&m, 0), operand(&m, 1), result(&m));
    return push(&m, PYAD_BLOCK_PRODUCT, block);
}

int pyad_block_cumsum(pyad_tape *tape, const pyad_cumsum *cumsum, pyad_vector x,
                      uint32_t *block)
{
    void *data;
    const pyad_cumsum c = *cumsum;
    making m = {.tape = tape, .sources = 1, .x = &x};
    int status = begin(&m, c.outer * c.n * c.inner, sizeof c, &data);
    if (status)
        return status;
    memcpy(data, &c, sizeof c);
    pyad_cumsum_value(data, operand(&m, 0), result(&m));
    return push(&m, PYAD_BLOCK_CUMSUM, block);
}

int pyad_block_call(pyad_tape *tape, pyad_rule *rule, size_t count, const double *values,
                    size_t sources, const pyad_vector *x, uint32_t *block)
{
    making m = {.tape = tape, .sources = sources, .x = x};
    int status = begin(&m, count, 0, NULL);
    if (status)
        return status;
    memcpy(result(&m), rebased(tape, &m.before, values), count * sizeof(double));
    m.block.rule = rule->retain(rule);
    return push(&m, PYAD_BLOCK_CALL, block);
}
