/* A recording becomes a draft: constants are folded, equal nodes shared. */
#include <math.h>
#include <stddef.h>
#include <string.h>

#include "../blocks/life.h"
#include "../buffer.h"
#include "build.h"

int draft_operands(int op)
{
    return op >= PROGRAM_MULADD ? 3 : pyad_op_describe(op)->arguments;
}

static uint64_t mixed(uint64_t h, uint64_t x)
{
    h ^= x + 0x9e3779b97f4a7c15u + (h << 6) + (h >> 2);
    return h * 0xff51afd7ed558ccdu ^ (h >> 29);
}

static uint64_t bits_of(double x)
{
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

/* The number of a constant; room has been made. */
static uint32_t constant(draft *d, double x)
{
    const uint64_t bits = bits_of(x);
    size_t at = mixed(0, bits) & (d->constant_table_size - 1);
    for (; d->constant_table[at]; at = (at + 1) & (d->constant_table_size - 1))
        if (bits_of(d->constants[d->constant_table[at] - 1]) == bits)
            return (d->constant_table[at] - 1) | CONSTANT_BIT;
    d->constants[d->constant_count++] = x;
    d->constant_table[at] = (uint32_t)d->constant_count;
    return (uint32_t)(d->constant_count - 1) | CONSTANT_BIT;
}

/* ---- nodes ------------------------------------------------------------------------ */

/* A new node for the next elements. */
static draft_node *append(draft *d, enum draft_kind kind, int op, size_t count)
{
    draft_node *n = &d->nodes[d->count];
    *n = (draft_node){.kind = (uint8_t)kind,
                      .op = (uint8_t)op,
                      .operands = kind == DRAFT_ONE || kind == DRAFT_MAP
                                      ? (uint8_t)draft_operands(op)
                                      : 0,
                      .first = (uint32_t)d->elements,
                      .count = (uint32_t)count};
    for (size_t i = 0; i < count; i++)
        d->owner[d->elements + i] = (uint32_t)d->count;
    d->count++;
    d->elements += count;
    return n;
}

/* The element of this operation on these operands: an equal one, or a new one. */
static uint32_t shared(draft *d, int op, uint32_t a, uint32_t b)
{
    if ((op == PYAD_OP_ADD || op == PYAD_OP_MUL) && a > b) { /* a + b == b + a */
        const uint32_t swap = a;
        a = b;
        b = swap;
    }
    size_t at = mixed(mixed((uint64_t)op, a), b) & (d->table_size - 1);
    for (; d->table[at]; at = (at + 1) & (d->table_size - 1)) {
        const draft_node *n = &d->nodes[d->table[at] - 1];
        if (n->kind == DRAFT_ONE && n->op == op && n->a == a && n->b == b)
            return n->first;
    }
    d->table[at] = (uint32_t)d->count + 1;
    draft_node *n = append(d, DRAFT_ONE, op, 1);
    n->a = a;
    n->b = b;
    return n->first;
}

static int is_number(const draft *d, uint32_t id, double x)
{
    return is_constant(id) && constant_of(d, id) == x;
}

/* The operand whose value is the result, bit for bit; or NOTHING. */
static uint32_t same_as(const draft *d, int op, uint32_t a, uint32_t b)
{
    switch (op) {
    case PYAD_OP_POSITIVE:
        return a;
    case PYAD_OP_MUL:
        return is_number(d, b, 1) ? a : is_number(d, a, 1) ? b : NOTHING;
    case PYAD_OP_DIV:
    case PYAD_OP_POW:
        return is_number(d, b, 1) ? a : NOTHING;
    case PYAD_OP_SUB:
        return is_number(d, b, 0) && bits_of(constant_of(d, b)) == 0 ? a : NOTHING;
    default:
        return NOTHING;
    }
}

/* Division by a power of two is multiplication, bit for bit. */
static uint32_t turned_over(draft *d, int op, uint32_t b)
{
    int exponent;
    if (op != PYAD_OP_DIV || !is_constant(b) ||
        fabs(frexp(constant_of(d, b), &exponent)) != 0.5 || exponent < -1000 ||
        exponent > 1000)
        return NOTHING;
    return constant(d, 1 / constant_of(d, b));
}

static uint32_t simplified(draft *d, int op, uint32_t a, uint32_t b)
{
    const int unary = draft_operands(op) == 1;
    if (is_constant(a) && (unary || is_constant(b)))
        return constant(
            d, pyad_op_value(op, constant_of(d, a), unary ? 0 : constant_of(d, b)));
    const uint32_t same = same_as(d, op, a, b);
    if (same != NOTHING)
        return same;
    const uint32_t inverse = turned_over(d, op, b);
    if (inverse != NOTHING)
        return shared(d, PYAD_OP_MUL, a, inverse);
    if ((op == PYAD_OP_POW && is_number(d, b, 2)) || (op == PYAD_OP_MUL && a == b))
        return shared(d, PYAD_OP_SQUARE, a, 0);
    return shared(d, op, a, unary ? 0 : b);
}

/* ---- the tape --------------------------------------------------------------------- */

uint32_t draft_find(const draft *d, uint32_t node) { return d->now[node - d->from]; }

static uint32_t operand(draft *d, uint32_t node, double constant_value)
{
    if (node == PYAD_CONSTANT)
        return constant(d, constant_value);
    return node < d->from ? constant(d, d->tape->values[node]) : draft_find(d, node);
}

static void append_many(draft *d, int op, uint32_t node, size_t count)
{
    draft_node *n = append(d, DRAFT_MANY, op, 1);
    n->a = (uint32_t)d->argument_count;
    n->b = (uint32_t)count;
    d->argument_count += count;
    d->now[node - d->from] = n->first;
}

/* A dot with constants: the tape has the coefficients as weights, and of a constant term
 * all of it. */
static int import_lincomb(draft *d, uint32_t node)
{
    const pyad_tape *tape = d->tape;
    const size_t first = tape->first[node], count = tape->first[node + 1] - first;
    uint32_t *x = d->arguments + d->argument_count;
    for (size_t k = 0; k < count; k++) {
        const uint32_t index = tape->indices[first + k];
        x[2 * k] = constant(d, tape->weights[first + k]);
        x[2 * k + 1] = operand(d, index, 1);
    }
    append_many(d, PYAD_OP_DOT, node, 2 * count);
    return PYAD_OK;
}

static int import_scalar(draft *d, uint32_t node)
{
    const pyad_tape *tape = d->tape;
    const size_t first = tape->first[node], count = tape->first[node + 1] - first;
    const int op = tape->ops[node], operands = draft_operands(op);
    uint32_t *x = d->arguments + d->argument_count;
    if (op == PYAD_OP_LINCOMB)
        return import_lincomb(d, node);
    for (size_t k = 0; k < count; k++)
        x[k] = operand(d, tape->indices[first + k], tape->weights[first + k]);
    uint32_t *now = &d->now[node - d->from];
    if (op == PYAD_OP_LEAF) {
        *now = constant(d, tape->values[node]);
    } else if (op == PYAD_OP_GIVEN) {
        return PYAD_ERROR_GIVEN_SECOND;
    } else if (operands > 0) {
        *now = simplified(d, op, x[0], operands > 1 ? x[1] : 0);
    } else {
        append_many(d, op, node, count);
    }
    return PYAD_OK;
}

/* The first operand of the run that a source is: its elements follow each other;
 * constants get a run of their own. */
static uint32_t run_of(draft *d, const pyad_source *x, const double *values)
{
    if (x->node != PYAD_CONSTANT && x->node >= d->from && x->count &&
        !is_constant(draft_find(d, x->node)))
        return draft_find(d, x->node);
    if (!x->step)
        return constant(d, *values);
    const uint32_t first = (uint32_t)d->constant_count | CONSTANT_BIT;
    memcpy(d->constants + d->constant_count, values, x->count * sizeof(double));
    d->constant_count += x->count;
    return first;
}

uint32_t draft_run_of(draft *d, const pyad_source *x)
{
    return run_of(d, x, pyad_source_values(d->tape, x));
}

uint32_t draft_guarded_run(draft *d, const pyad_source *x)
{
    return run_of(d, x, pyad_guard_values(d->tape, x));
}

uint32_t draft_operand(draft *d, pyad_operand x) { return operand(d, x.node, x.value); }

size_t draft_data_size(const pyad_tape *tape, const pyad_block *b)
{
    switch (b->kind) {
    case PYAD_BLOCK_SPREAD:
    case PYAD_BLOCK_COLLECT: {
        const pyad_layout *layout = pyad_store_at(tape, b->data);
        return sizeof *layout + 2 * layout->ndim * sizeof(int64_t);
    }
    case PYAD_BLOCK_PRODUCT:
        return sizeof(pyad_product);
    case PYAD_BLOCK_CUMSUM:
        return sizeof(pyad_cumsum);
    default:
        return 0;
    }
}

/* Where the numbers of a source are results: their first element, or NOTHING. */
static uint32_t element_of(const draft *d, const pyad_source *x)
{
    const int outside = x->node == PYAD_CONSTANT || x->node < d->from || !x->count ||
                        is_constant(draft_find(d, x->node));
    return outside ? NOTHING : draft_find(d, x->node);
}

static uint64_t source_hash(const draft *d, const pyad_source *x)
{
    uint64_t hash = mixed(x->step, x->count);
    if (element_of(d, x) != NOTHING)
        return mixed(hash, element_of(d, x));
    for (size_t i = 0; i < x->count; i++)
        hash = mixed(hash, bits_of(pyad_source_values(d->tape, x)[i]));
    return hash;
}

/* Whether two sources are the same results, or constants of the same bits. */
static int is_equal_source(const draft *d, const pyad_source *x, const pyad_source *y)
{
    if (x->step != y->step || x->count != y->count ||
        element_of(d, x) != element_of(d, y))
        return 0;
    return element_of(d, x) != NOTHING ||
           memcmp(pyad_source_values(d->tape, x), pyad_source_values(d->tape, y),
                  x->count * sizeof(double)) == 0;
}

static int is_equal_block(const draft *d, const pyad_block *b, const pyad_block *other)
{
    const pyad_source *x = pyad_block_sources(d->tape, b),
                      *y = pyad_block_sources(d->tape, other);
    size_t bytes = draft_data_size(d->tape, b);
    if (b->kind == PYAD_BLOCK_CUMSUM) /* without what the compiler fills it up with */
        bytes = offsetof(pyad_cumsum, from_end) + sizeof(int);
    if (b->kind != other->kind || b->op != other->op || b->order != other->order ||
        b->count != other->count || b->source_count != other->source_count)
        return 0;
    if (draft_data_size(d->tape, b) != draft_data_size(d->tape, other) ||
        (bytes && memcmp(pyad_store_at(d->tape, b->data),
                         pyad_store_at(d->tape, other->data), bytes)))
        return 0;
    for (uint32_t i = 0; i < b->source_count; i++)
        if (!is_equal_source(d, &x[i], &y[i]))
            return 0;
    return 1;
}

/* The first node of the run of an equal block, or NOTHING and this block is remembered as
 * that of the next node. Sums of any nodes and rules are not compared. */
static uint32_t find_equal_block(draft *d, uint32_t block)
{
    const pyad_block *b = &d->tape->blocks[block];
    const pyad_source *x = pyad_block_sources(d->tape, b);
    if (b->kind == PYAD_BLOCK_LINEAR || b->kind == PYAD_BLOCK_CALL)
        return NOTHING;
    uint64_t hash = mixed(mixed(b->kind, b->op), b->count);
    for (uint32_t i = 0; i < b->source_count; i++)
        hash = mixed(hash, source_hash(d, &x[i]));
    size_t at = hash & (d->table_size - 1);
    for (; d->table[at]; at = (at + 1) & (d->table_size - 1)) {
        const draft_node *n = &d->nodes[d->table[at] - 1];
        if ((n->kind == DRAFT_MAP || n->kind == DRAFT_BLOCK) &&
            is_equal_block(d, b, &d->tape->blocks[n->block]))
            return n->first;
    }
    d->table[at] = (uint32_t)d->count + 1;
    return NOTHING;
}

static void import_block(draft *d, uint32_t block)
{
    const pyad_tape *tape = d->tape;
    const pyad_block *b = &tape->blocks[block];
    const pyad_source *x = pyad_block_sources(tape, b);
    draft_node *n;
    const uint32_t equal =
        b->kind == PYAD_BLOCK_LEAF ? NOTHING : find_equal_block(d, block);
    if (equal != NOTHING) {
        for (uint32_t i = 0; i < b->count; i++)
            d->now[b->start + i - d->from] = equal + i;
        return;
    }
    if (b->kind == PYAD_BLOCK_MAP) {
        n = append(d, DRAFT_MAP, b->op, b->count);
        n->order = b->order;
        n->a = draft_run_of(d, &x[0]);
        n->b = b->source_count > 1 ? draft_run_of(d, &x[1]) : 0;
        for (uint32_t i = 0; i < b->source_count; i++)
            n->steps |= (uint8_t)(x[i].step << i);
        const uint32_t inverse =
            n->order || n->steps & 2 ? NOTHING : turned_over(d, n->op, n->b);
        if (inverse != NOTHING) {
            n->op = PYAD_OP_MUL; /* of two operands, too */
            n->b = inverse;
        }
    } else if (b->kind == PYAD_BLOCK_LEAF) { /* of somebody else: numbers */
        for (uint32_t i = 0; i < b->count; i++)
            d->now[b->start + i - d->from] = constant(d, tape->values[b->start + i]);
        return;
    } else {
        n = append(d, DRAFT_BLOCK, PYAD_OP_GIVEN, b->count);
    }
    n->block = block;
    for (uint32_t i = 0; i < b->count; i++)
        d->now[b->start + i - d->from] = n->first + i;
}

/* ---- room ------------------------------------------------------------------------- */

static size_t table_size(size_t count)
{
    size_t size = 64;
    while (size < 2 * count)
        size *= 2;
    return size;
}

/* Arguments of the nodes of the stretch; a tape without nodes may have no table of them.
 */
static size_t count_arguments(const draft *d)
{
    const pyad_tape *tape = d->tape;
    return tape->length > d->from ? tape->arguments - tape->first[d->from] : 0;
}

/* Scalars that the blocks and inputs do not take, and constants of blocks. */
static void count_all(const draft *d, size_t *scalars, size_t *constants)
{
    const pyad_tape *tape = d->tape;
    *scalars = tape->length - d->from;
    *constants = 2 * count_arguments(d) + 2 * *scalars + d->output_count;
    *constants +=
        tape->guards ? 2 * (tape->guards->count + tape->guards->block_count) : 0;
    for (uint32_t b = pyad_tape_blocks_below(tape, d->from); b < tape->block_count; b++) {
        const pyad_source *x = pyad_block_sources(tape, &tape->blocks[b]);
        *scalars -= tape->blocks[b].count - 1;
        for (uint32_t i = 0; i < tape->blocks[b].source_count; i++)
            *constants += x[i].count;
        if (tape->blocks[b].kind == PYAD_BLOCK_LEAF)
            *constants += tape->blocks[b].count;
    }
}

static int make_room(draft *d)
{
    const size_t elements = d->tape->length - d->from + 1;
    size_t scalars, constants;
    count_all(d, &scalars, &constants);
    d->recorded = scalars - d->inputs;
    const size_t arguments = count_arguments(d);
    d->table_size = table_size(scalars);
    d->constant_table_size = table_size(constants);
    d->nodes = pyad_buffer_new((scalars + d->inputs + 1) * sizeof *d->nodes);
    d->owner = pyad_buffer_new((elements + d->inputs) * sizeof *d->owner);
    d->now = pyad_buffer_new(elements * sizeof *d->now);
    d->constants = pyad_buffer_new((constants + 1) * sizeof *d->constants);
    d->arguments =
        pyad_buffer_new((2 * arguments + 2 * scalars + 2) * sizeof *d->arguments);
    d->table = pyad_buffer_new(d->table_size * sizeof *d->table);
    d->constant_table = pyad_buffer_new(d->constant_table_size * sizeof(uint32_t));
    if (!d->nodes || !d->owner || !d->now || !d->constants || !d->arguments ||
        !d->table || !d->constant_table)
        return PYAD_ERROR_NO_MEMORY;
    memset(d->table, 0, d->table_size * sizeof *d->table);
    memset(d->constant_table, 0, d->constant_table_size * sizeof(uint32_t));
    for (size_t i = 0; i < elements; i++)
        d->now[i] = NOTHING;
    return PYAD_OK;
}

int draft_import(draft *d, const pyad_input *inputs, const pyad_operand *outputs)
{
    const pyad_tape *tape = d->tape;
    int status = make_room(d);
    if (status)
        return status;
    for (size_t i = 0; i < d->inputs; i++) {
        draft_node *n = append(d, DRAFT_INPUT, 0, inputs[i].count);
        n->active = (uint8_t)inputs[i].active;
        for (uint32_t k = 0; k < inputs[i].count; k++)
            d->now[inputs[i].node + k - d->from] = n->first + k;
    }
    uint32_t block = pyad_tape_blocks_below(tape, d->from);
    for (size_t node = d->from; node < tape->length && !status;) {
        if (block < tape->block_count && tape->blocks[block].start == node) {
            if (d->now[node - d->from] == NOTHING)
                import_block(d, block);
            node += tape->blocks[block++].count;
        } else {
            if (d->now[node - d->from] == NOTHING)
                status = import_scalar(d, (uint32_t)node);
            node++;
        }
    }
    for (size_t i = 0; i < d->output_count; i++)
        d->outputs[i] = operand(d, outputs[i].node, outputs[i].value);
    return status;
}
