/* Recorded sweeps, expansion and second order over blocks, in random programs of blocks
 * and scalar nodes. Everything is done twice, on the tape with its blocks and on the
 * expanded one, and again by differences of gradients. Prints "ok", or the seed of the
 * first program that goes wrong. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "blocks/record.h"
#include "ops.h"
#include "pyad.h"

#define NEED(CONDITION)                                                                  \
    do {                                                                                 \
        if (!(CONDITION)) {                                                              \
            fprintf(stderr, "seed %u, line %d: %s\n", program_seed, __LINE__,            \
                    #CONDITION);                                                         \
            exit(1);                                                                     \
        }                                                                                \
    } while (0)
#define OK(CALL) NEED((CALL) == PYAD_OK)

enum { ARRAYS = 40, SCALARS = 40, VARIABLES = 16, LARGEST = 12 };

/* ---- chance --------------------------------------------------------------------------
 */

static unsigned program_seed;
static uint64_t state;

static unsigned chance(unsigned n)
{
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)(state >> 33) % n;
}
static double uniform(double low, double high)
{
    return low + (high - low) * (double)chance(1000000) / 1e6;
}

/* ---- a program in the making ---------------------------------------------------------
 */

typedef struct {
    pyad_tape *tape;
    size_t arrays, scalars, variables;
    uint32_t array[ARRAYS]; /* blocks */
    uint32_t scalar[SCALARS];
    uint32_t variable[VARIABLES];
    uint32_t result;
    int has_call, has_partial;
} program;

static const pyad_block *block_of(const program *p, size_t i)
{
    return &p->tape->blocks[p->array[i]];
}

static void keep(program *p, uint32_t block)
{
    NEED(p->arrays < ARRAYS);
    p->array[p->arrays++] = block;
}
static void keep_scalar(program *p, pyad_operand x)
{
    NEED(p->scalars < SCALARS);
    if (x.node != PYAD_CONSTANT)
        p->scalar[p->scalars++] = x.node;
}

static pyad_vector run_of(const program *p, size_t i, size_t offset, size_t count)
{
    const pyad_block *b = block_of(p, i);
    return (pyad_vector){p->tape->values + b->start + offset, b->start + (uint32_t)offset,
                         p->array[i], 1, count};
}
static pyad_vector whole(const program *p, size_t i)
{
    return run_of(p, i, 0, block_of(p, i)->count);
}

/* Any array with at least so many numbers, and a run of them. */
static pyad_vector any_run(const program *p, size_t count)
{
    size_t i = chance((unsigned)p->arrays);
    while (block_of(p, i)->count < count)
        i = (i + 1) % p->arrays;
    return run_of(p, i, chance((unsigned)(block_of(p, i)->count - count + 1)), count);
}

static pyad_vector one_number(const program *p)
{
    if (chance(2)) {
        uint32_t node = p->scalar[chance((unsigned)p->scalars)];
        return (pyad_vector){p->tape->values + node, node, PYAD_NO_BLOCK, 0, 1};
    }
    pyad_vector x = any_run(p, 1);
    x.step = 0;
    return x;
}

static double constants[64];
static pyad_vector constant(size_t count, int one)
{
    for (size_t i = 0; i < count; i++)
        constants[i] = uniform(0.4, 2.0) * (chance(3) ? 1 : -1);
    return (pyad_vector){constants, PYAD_CONSTANT, PYAD_NO_BLOCK, !one, one ? 1 : count};
}

/* An element as an operand of scalar nodes. */
static pyad_operand element(const program *p)
{
    pyad_vector x = one_number(p);
    if (x.block != PYAD_NO_BLOCK)
        pyad_block_mark(p->tape, x.block);
    return (pyad_operand){p->tape->values[x.node], x.node};
}

/* ---- a rule: out[k] = x[k] * y[k]
 * ------------------------------------------------------ */

static pyad_source rule_source(const pyad_tape *tape, uint32_t block, int i)
{
    return tape->sources[tape->blocks[block].first_source + (uint32_t)i];
}
static int rule_reverse(pyad_rule *rule, const pyad_tape *tape, uint32_t block,
                        const double *own, double *const *shares)
{
    (void)rule;
    for (int i = 0; i < 2; i++) {
        pyad_source other = rule_source(tape, block, 1 - i);
        for (size_t k = 0; shares[i] && k < tape->blocks[block].count; k++)
            shares[i][k] += own[k] * pyad_source_values(tape, &other)[k];
    }
    return PYAD_OK;
}
static int rule_forward(pyad_rule *rule, const pyad_tape *tape, uint32_t block,
                        const double *const *tangents, double *result)
{
    (void)rule;
    memset(result, 0, tape->blocks[block].count * sizeof *result);
    for (int i = 0; i < 2; i++) {
        pyad_source other = rule_source(tape, block, 1 - i);
        for (size_t k = 0; tangents[i] && k < tape->blocks[block].count; k++)
            result[k] += tangents[i][k] * pyad_source_values(tape, &other)[k];
    }
    return PYAD_OK;
}
static pyad_operand rule_operand(pyad_tape *tape, const pyad_source *x, size_t k)
{
    if (x->node == PYAD_CONSTANT)
        return (pyad_operand){pyad_source_values(tape, x)[k], PYAD_CONSTANT};
    if (x->block != PYAD_NO_BLOCK)
        pyad_block_mark(tape, x->block);
    return (pyad_operand){tape->values[x->node + k], x->node + (uint32_t)k};
}
static int rule_record_reverse(pyad_rule *rule, pyad_tape *tape, uint32_t block,
                               const pyad_operand *own, pyad_operand *const *shares)
{
    int status = PYAD_OK;
    (void)rule;
    for (int i = 0; i < 2; i++) {
        pyad_source other = rule_source(tape, block, 1 - i);
        for (size_t k = 0; shares[i] && !status && k < tape->blocks[block].count; k++)
            status = pyad_tape_apply(tape, PYAD_OP_MUL, own[k],
                                     rule_operand(tape, &other, k), &shares[i][k]);
    }
    return status;
}
static int rule_record_forward(pyad_rule *rule, pyad_tape *tape, uint32_t block,
                               const pyad_operand *const *tangents, pyad_operand *result)
{
    int status = PYAD_OK;
    (void)rule;
    for (size_t k = 0; !status && k < tape->blocks[block].count; k++) {
        result[k] = (pyad_operand){0, PYAD_CONSTANT};
        for (int i = 0; i < 2 && !status; i++) {
            pyad_source other = rule_source(tape, block, 1 - i);
            pyad_operand share;
            if (!tangents[i])
                continue;
            status = pyad_tape_apply(tape, PYAD_OP_MUL, tangents[i][k],
                                     rule_operand(tape, &other, k), &share);
            if (!status)
                status = pyad_tape_apply(tape, PYAD_OP_ADD, result[k], share, &result[k]);
        }
    }
    return status;
}
static int rule_references;
static pyad_rule *rule_retain(pyad_rule *rule)
{
    rule_references++;
    return rule;
}
static void rule_release(pyad_rule *rule)
{
    (void)rule;
    rule_references--;
}
static pyad_rule rule = {.reverse = rule_reverse,
                         .forward = rule_forward,
                         .record_reverse = rule_record_reverse,
                         .record_forward = rule_record_forward,
                         .retain = rule_retain,
                         .release = rule_release,
                         .name = "rule"};

/* ---- steps of a program ------------------------------------------------------------ */

static int all_above(pyad_vector x, size_t count, double bound, int size)
{
    for (size_t i = 0; i < count; i++) {
        double value = x.values[i * x.step];
        if (!((size ? fabs(value) : value) > bound) || fabs(value) > 20)
            return 0;
    }
    return 1;
}

static void add_unary(program *p)
{
    static const int ops[] = {
        PYAD_OP_SIN,      PYAD_OP_COS, PYAD_OP_TANH,   PYAD_OP_EXPIT, PYAD_OP_ATAN,
        PYAD_OP_SOFTPLUS, PYAD_OP_NEG, PYAD_OP_SQUARE, PYAD_OP_ABS,   PYAD_OP_RELU};
    static const int positive[] = {PYAD_OP_LOG, PYAD_OP_SQRT, PYAD_OP_RECIPROCAL};
    const size_t count = 1 + chance(LARGEST);
    pyad_vector x = any_run(p, count < 6 ? count : block_of(p, 0)->count);
    uint32_t block;
    int op = ops[chance(sizeof ops / sizeof *ops)];
    int order = chance(8) == 0;
    if (!all_above(x, x.count, -20, 0))
        op = PYAD_OP_TANH;
    else if (all_above(x, x.count, 0.1, 0))
        op = chance(3) ? positive[chance(3)] : op;
    else if (chance(8) == 0)
        op = PYAD_OP_EXP, x.count = x.count < 3 ? x.count : 3;
    if (op == PYAD_OP_EXP && !all_above(x, x.count, -20, 0))
        op = PYAD_OP_TANH;
    p->has_partial |= order;
    OK(pyad_block_map(p->tape, op, order, x.count, x, x, &block));
    keep(p, block);
}

static void add_binary(program *p)
{
    static const int ops[] = {PYAD_OP_ADD, PYAD_OP_SUB,       PYAD_OP_MUL,
                              PYAD_OP_MUL, PYAD_OP_LOGADDEXP, PYAD_OP_MAXIMUM};
    size_t count = 1 + chance(6);
    pyad_vector x[2];
    uint32_t block;
    const unsigned steady = chance(2);
    for (unsigned i = 0; i < 2; i++) {
        unsigned what = i == steady ? 0 : chance(5);
        x[i] = what == 1   ? one_number(p)
               : what == 2 ? constant(count, 0)
               : what == 3 ? constant(count, 1)
                           : any_run(p, count);
    }
    int op = ops[chance(sizeof ops / sizeof *ops)], order = 0;
    if (!all_above(x[0], count, -20, 0) || !all_above(x[1], count, -20, 0))
        op = PYAD_OP_LOGADDEXP;
    else if (all_above(x[0], count, 0.2, 0) && all_above(x[1], count, 0.2, 0))
        op = chance(3) ? PYAD_OP_POW : chance(2) ? PYAD_OP_HYPOT : PYAD_OP_ATAN2;
    else if (all_above(x[1], count, 0.3, 1))
        op = PYAD_OP_DIV;
    if (op == PYAD_OP_POW && !(all_above(x[1], count, -3, 0) && x[0].values[0] < 4))
        op = PYAD_OP_LOGADDEXP;
    if (chance(8) == 0)
        order = 1 + (int)chance(2);
    p->has_partial |= order;
    OK(pyad_block_map(p->tape, op, order, count, x[0], x[1], &block));
    keep(p, block);
}

static void add_spread(program *p)
{
    pyad_vector x = whole(p, chance((unsigned)p->arrays));
    const int64_t n = (int64_t)x.count;
    int64_t shape[3], stride[3], low = 0, high = 0;
    size_t ndim = 1 + chance(3);
    uint32_t block;
    for (size_t d = 0; d < ndim; d++) {
        shape[d] = 1 + chance(3);
        stride[d] = (int64_t)chance(5) - 2;
        int64_t reach = (shape[d] - 1) * stride[d];
        if (high - low + llabs(reach) >= n)
            stride[d] = reach = 0;
        low += reach < 0 ? reach : 0;
        high += reach > 0 ? reach : 0;
    }
    int64_t offset = -low + chance((unsigned)(n - (high - low)));
    if (chance(4) == 0) {
        x = one_number(p);
        memset(stride, 0, sizeof stride);
        offset = 0;
    }
    OK(pyad_block_spread(p->tape, x, ndim, shape, stride, offset, &block));
    keep(p, block);
}

static void add_collect(program *p)
{
    pyad_vector x = any_run(p, 4);
    static const int64_t cases[][6] = {
        /* shape, stride, offset, count */
        {2, 2, 1, 0, 0, 1},  {2, 2, 0, 1, 0, 2}, {2, 2, 2, 1, 1, 6},
        {2, 2, -1, 2, 1, 5}, {4, 1, 0, 0, 0, 1}, {4, 1, 1, 0, 0, 4},
        {4, 1, -1, 0, 3, 4}, {4, 1, 0, 0, 2, 3}, {2, 2, 1, 0, 0, 2},
    };
    const int64_t *c = cases[1 + chance(8)];
    uint32_t block;
    OK(pyad_block_collect(p->tape, x, 2, c, c + 2, c[4], (size_t)c[5], &block));
    keep(p, block);
}

static void add_linear(program *p)
{
    uint32_t first[LARGEST + 1], rows[4 * LARGEST], block;
    double weights[4 * LARGEST], values[LARGEST];
    size_t count = 1 + chance(6), entries = 0;
    const int weighted = chance(2) == 0, simple = chance(3) == 0,
              aligned = chance(3) == 0;
    const pyad_vector run = any_run(p, count < 4 ? count : 4);
    for (size_t i = 0; i < count; i++) {
        first[i] = (uint32_t)entries;
        values[i] = 0;
        for (size_t n = simple ? 1 : chance(4); n-- > 0;) {
            pyad_operand x = element(p);
            if (aligned) {
                x.node = run.node + (uint32_t)(i % run.count);
                x.value = p->tape->values[x.node];
                pyad_block_mark(p->tape, run.block);
            }
            rows[entries] = x.node + 1;
            weights[entries] = weighted ? uniform(-1, 1) : 1;
            values[i] += weights[entries++] * x.value;
        }
    }
    first[count] = (uint32_t)entries;
    OK(pyad_block_linear(p->tape, count, values, simple ? NULL : first, entries, rows,
                         weighted ? weights : NULL, &block));
    keep(p, block);
}

static void add_product(program *p)
{
    uint32_t block;
    pyad_product at = {1, 2, 2, 1, {0, 0, 2, 1}, {0, 0, 1, 1}};
    pyad_vector a = any_run(p, 4), b = any_run(p, 2);
    switch (chance(5)) {
    case 0: /* transposed */
        at.a.row = 1;
        at.a.column = 2;
        break;
    case 1: /* two vectors, one backwards in memory of a matrix with gaps */
        at = (pyad_product){1, 1, 2, 1, {1, 0, 0, 2}, {0, 0, 1, 0}};
        break;
    case 2: /* a stack of two with one right side */
        at = (pyad_product){2, 1, 2, 1, {0, 2, 2, 1}, {0, 0, 1, 1}};
        break;
    case 3: /* constant */
        b = constant(2, 0);
        break;
    default: /* outer product */
        at = (pyad_product){1, 2, 1, 2, {0, 0, 1, 1}, {0, 0, 2, 1}};
        break;
    }
    if (!all_above(a, 4, -20, 0) || !all_above(b, 2, -20, 0))
        return;
    OK(pyad_block_product(p->tape, &at, a, b, &block));
    keep(p, block);
}

static void add_cumsum(program *p)
{
    pyad_vector x = any_run(p, 4);
    pyad_cumsum c = {1, 4, 1, (int)chance(2)};
    uint32_t block;
    if (chance(2))
        c.n = 2, c.inner = 2;
    else if (chance(2))
        c.n = 2, c.outer = 2;
    OK(pyad_block_cumsum(p->tape, &c, x, &block));
    keep(p, block);
}

static void add_call(program *p)
{
    pyad_vector x[2] = {any_run(p, 3), any_run(p, 3)};
    double values[3];
    uint32_t block;
    if (chance(3) == 0)
        x[1] = constant(3, 0);
    if (!all_above(x[0], 3, -20, 0) || !all_above(x[1], 3, -20, 0))
        return;
    for (size_t k = 0; k < 3; k++)
        values[k] = x[0].values[k] * x[1].values[k];
    OK(pyad_block_call(p->tape, &rule, 3, values, 2, x, &block));
    keep(p, block);
    p->has_call = 1;
}

static void add_scalar(program *p)
{
    static const int ops[] = {PYAD_OP_MUL, PYAD_OP_ADD, PYAD_OP_SUB, PYAD_OP_LOGADDEXP};
    pyad_operand x = element(p), y = element(p), z;
    if (fabs(x.value) > 20 || fabs(y.value) > 20) {
        OK(pyad_tape_apply(p->tape, PYAD_OP_TANH, x, y, &z));
    } else if (chance(3) == 0) {
        const pyad_operand many[] = {x, y, element(p), x};
        OK(pyad_tape_apply_many(p->tape, chance(2) ? PYAD_OP_DOT : PYAD_OP_LOGSUMEXP, 4,
                                many, &z));
    } else {
        OK(pyad_tape_apply(p->tape, ops[chance(4)], x, y, &z));
    }
    keep_scalar(p, z);
}

/* The point is moved by `step` along a direction of its own. */
static void record(program *p, unsigned seed, int calls, double step)
{
    double values[LARGEST], moves[VARIABLES];
    uint32_t block;
    state = program_seed = seed;
    *p = (program){.tape = pyad_tape_new(0)};
    NEED(p->tape);
    for (size_t i = 0; i < VARIABLES; i++)
        moves[i] = uniform(-1, 1);
    for (size_t n = 0; n < 2; n++) {
        pyad_operand x;
        OK(pyad_tape_leaf(p->tape, uniform(0.3, 1.5) + step * moves[p->variables], &x));
        p->variable[p->variables++] = x.node;
        keep_scalar(p, x);
        size_t count = n ? 3 : 6;
        for (size_t i = 0; i < count; i++)
            values[i] = uniform(-1.5, 1.5) + step * moves[p->variables + i];
        OK(pyad_block_leaf(p->tape, count, values, &block));
        keep(p, block);
        for (size_t i = 0; i < count; i++)
            p->variable[p->variables++] = block_of(p, n)->start + (uint32_t)i;
    }
    for (unsigned n = 6 + chance(14); n-- > 0;)
        switch (chance(calls ? 13 : 12)) {
        case 0:
        case 1:
            add_unary(p);
            break;
        case 2:
        case 3:
        case 4:
            add_binary(p);
            break;
        case 5:
            add_spread(p);
            break;
        case 6:
            add_collect(p);
            break;
        case 7:
            add_linear(p);
            break;
        case 8:
            add_product(p);
            break;
        case 9:
            add_cumsum(p);
            break;
        case 12:
            add_call(p);
            break;
        default:
            add_scalar(p);
        }
    /* The result: a weighted sum of all that was made, squeezed. */
    pyad_operand terms[4 * ARRAYS], y;
    size_t count = 0;
    for (size_t i = 2; i < p->arrays; i++) {
        pyad_block_mark(p->tape, p->array[i]);
        uint32_t node = block_of(p, i)->start + chance(block_of(p, i)->count);
        terms[count++] = (pyad_operand){uniform(-1, 1), PYAD_CONSTANT};
        terms[count++] = (pyad_operand){p->tape->values[node], node};
    }
    for (size_t i = 2; i < p->scalars; i++) {
        terms[count++] = (pyad_operand){uniform(-1, 1), PYAD_CONSTANT};
        terms[count++] = (pyad_operand){p->tape->values[p->scalar[i]], p->scalar[i]};
    }
    OK(pyad_tape_apply_many(p->tape, PYAD_OP_LINCOMB, count, terms, &y));
    OK(pyad_tape_apply(p->tape, PYAD_OP_SIN, y, y, &y));
    p->result = y.node;
}

/* ---- a tape with variables and a result -------------------------------------------- */

typedef struct {
    pyad_tape *tape;
    size_t variables;
    uint32_t variable[VARIABLES];
    uint32_t result;
} function;

static function function_of(const program *p)
{
    function f = {p->tape, p->variables, {0}, p->result};
    memcpy(f.variable, p->variable, sizeof f.variable);
    return f;
}

static function expanded(const function *of)
{
    function f = {pyad_tape_new(0), of->variables, {0}, 0};
    uint32_t *map = malloc(pyad_tape_length(of->tape) * sizeof *map);
    NEED(f.tape && map);
    OK(pyad_tape_expand(f.tape, of->tape, 0, map));
    NEED(pyad_tape_blocks(f.tape, 0) == 0 && pyad_tape_blocks(of->tape, 0) > 0);
    for (size_t i = 0; i < f.variables; i++)
        f.variable[i] = map[of->variable[i]];
    f.result = map[of->result];
    free(map);
    return f;
}

/* The same with every block written out for a reader: from node 0 on the indices are
 * those of the rows themselves, so that these can be swept here. In two stretches, the
 * second from a block on. */
static function written(const function *of)
{
    function f = *of;
    pyad_block_info last;
    const size_t length = pyad_tape_length(of->tape);
    OK(pyad_tape_block(of->tape, pyad_tape_blocks(of->tape, 0) - 1, &last));
    f.tape = pyad_tape_new(0);
    NEED(f.tape && last.name[0] && last.count > 0);
    OK(pyad_tape_write(f.tape, of->tape, 0, last.start));
    OK(pyad_tape_write(f.tape, of->tape, last.start, length));
    NEED(pyad_tape_length(f.tape) == length && pyad_tape_blocks(f.tape, 0) == 0);
    NEED(memcmp(f.tape->values, of->tape->values, length * sizeof(double)) == 0);
    NEED(pyad_tape_write(f.tape, of->tape, 0, length + 1) == PYAD_ERROR_NODE_RANGE);
    if (last.count > 1)
        NEED(pyad_tape_write(f.tape, of->tape, last.start + 1, length) ==
             PYAD_ERROR_NODE_RANGE);
    return f;
}

static double *rows_of(const function *f, size_t width)
{
    double *rows = calloc((pyad_tape_length(f->tape) + 1) * width, sizeof *rows);
    NEED(rows);
    return rows;
}

static void close_to(size_t count, const double *found, const double *expected,
                     double tolerance, int line)
{
    double scale = 1;
    for (size_t i = 0; i < count; i++)
        scale = fmax(scale, fabs(expected[i]));
    for (size_t i = 0; i < count; i++)
        if (!(fabs(found[i] - expected[i]) <= tolerance * scale)) {
            fprintf(stderr, "seed %u, line %d: number %zu is %.17g, not %.17g\n",
                    program_seed, line, i, found[i], expected[i]);
            exit(1);
        }
}
#define CLOSE(COUNT, FOUND, EXPECTED, TOLERANCE)                                         \
    close_to(COUNT, FOUND, EXPECTED, TOLERANCE, __LINE__)

/* ---- derivatives in every way ------------------------------------------------------ */

static void gradient(const function *f, size_t width, double *result)
{
    double *rows = rows_of(f, width);
    for (size_t d = 0; d < width; d++)
        rows[((size_t)f->result + 1) * width + d] = (double)d + 1;
    OK(pyad_tape_reverse(f->tape, 0, width, rows));
    for (size_t i = 0; i < f->variables; i++)
        result[i] =
            rows[((size_t)f->variable[i] + 1) * width + width - 1] / (double)width;
    free(rows);
}

static double direction(size_t i, size_t d) { return sin((double)(3 * i + 7 * d + 1)); }

static double *tangents(const function *f, size_t width)
{
    double *rows = rows_of(f, width);
    for (size_t i = 0; i < f->variables; i++)
        for (size_t d = 0; d < width; d++)
            rows[((size_t)f->variable[i] + 1) * width + d] = direction(i, d);
    return rows;
}

/* The tangents of operands along direction d, by a native forward sweep of everything. */
static void moved(const function *f, size_t count, const pyad_operand *x, size_t d,
                  double *result)
{
    double *rows = tangents(f, d + 1);
    OK(pyad_tape_forward(f->tape, 0, d + 1, rows));
    for (size_t i = 0; i < count; i++)
        result[i] =
            x[i].node == PYAD_CONSTANT ? 0 : rows[((size_t)x[i].node + 1) * (d + 1) + d];
    free(rows);
}

static int second(const function *f, size_t width, double *result)
{
    double *t = tangents(f, width), *adjoints = rows_of(f, 1), *s = rows_of(f, width);
    adjoints[(size_t)f->result + 1] = 1;
    int status = pyad_tape_second(f->tape, 0, width, t, adjoints, s);
    for (size_t i = 0; i < f->variables; i++)
        result[i] = s[((size_t)f->variable[i] + 1) * width + width - 1];
    free(t);
    free(adjoints);
    free(s);
    return status;
}

static void record_gradient(const function *f, size_t seeds, const uint32_t *nodes,
                            const pyad_operand *values, pyad_operand *adjoints)
{
    OK(pyad_tape_record_reverse(f->tape, 0, seeds, nodes, values, f->variables,
                                f->variable, adjoints));
    for (size_t i = 0; i < f->variables; i++)
        NEED(adjoints[i].node == PYAD_CONSTANT ||
             adjoints[i].value == f->tape->values[adjoints[i].node]);
}

static void values_of(size_t count, const pyad_operand *x, double *values)
{
    for (size_t i = 0; i < count; i++)
        values[i] = x[i].value;
}

/* Up to third derivatives by recorded sweeps; the result is f, its gradient, H u, H v and
 * third derivatives in u and v. */
typedef struct {
    double gradient[VARIABLES], tangent, hu[VARIABLES], hv[VARIABLES], third[VARIABLES],
        third_moved[VARIABLES];
} derivatives;

static void derive(const function *f, derivatives *d)
{
    const pyad_operand one = {1, PYAD_CONSTANT};
    pyad_operand adjoints[VARIABLES], products[VARIABLES], thirds[VARIABLES],
        u[VARIABLES];
    pyad_operand tangent;
    uint32_t nodes[VARIABLES];
    pyad_operand seeds[VARIABLES];
    size_t count = 0;
    for (size_t i = 0; i < f->variables; i++)
        u[i] = (pyad_operand){direction(i, 0), PYAD_CONSTANT};
    OK(pyad_tape_record_forward(f->tape, 0, f->variables, f->variable, u, 1, &f->result,
                                &tangent));
    d->tangent = tangent.value;
    /* Reverse over forward, */
    record_gradient(f, 1, &tangent.node, &one, adjoints);
    values_of(f->variables, adjoints, d->hu);
    moved(f, f->variables, adjoints, 1, d->third_moved);
    /* forward over reverse, and reverse over reverse, with several seeds. */
    record_gradient(f, 1, &f->result, &one, adjoints);
    values_of(f->variables, adjoints, d->gradient);
    moved(f, f->variables, adjoints, 1, d->hv);
    for (size_t i = 0; i < f->variables; i++)
        if (adjoints[i].node != PYAD_CONSTANT) {
            nodes[count] = adjoints[i].node;
            seeds[count++] = u[i];
        }
    record_gradient(f, count, nodes, seeds, products);
    double hu[VARIABLES];
    values_of(f->variables, products, hu);
    CLOSE(f->variables, hu, d->hu, 1e-9);
    moved(f, f->variables, products, 1, d->third);
    CLOSE(f->variables, d->third, d->third_moved, 1e-8);
    /* Once more: the same third derivatives by a recorded reverse sweep. */
    for (size_t i = count = 0; i < f->variables; i++)
        if (products[i].node != PYAD_CONSTANT) {
            nodes[count] = products[i].node;
            seeds[count++] = (pyad_operand){direction(i, 1), PYAD_CONSTANT};
        }
    record_gradient(f, count, nodes, seeds, thirds);
    double third[VARIABLES];
    values_of(f->variables, thirds, third);
    CLOSE(f->variables, third, d->third, 1e-8);
}

/* The gradient a little further along the direction of `record`, if the program is the
 * same there. */
static int gradient_at(unsigned seed, int calls, double step, size_t length,
                       double *result, double *direction_of)
{
    program p;
    record(&p, seed, calls, step);
    int same = pyad_tape_length(p.tape) == length;
    const function f = function_of(&p);
    if (same)
        gradient(&f, 1, result);
    for (size_t i = 0; i < f.variables; i++)
        direction_of[i] = p.tape->values[f.variable[i]];
    pyad_tape_free(p.tape);
    return same;
}

static int by_differences(const function *f, unsigned seed, int calls)
{
    const double h = 1e-5;
    double left[VARIABLES], right[VARIABLES], here[VARIABLES], there[VARIABLES];
    double differences[VARIABLES], products[VARIABLES], middle[VARIABLES];
    const size_t n = f->variables;
    gradient(f, 1, middle);
    if (!gradient_at(seed, calls, -h, pyad_tape_length(f->tape), left, here) ||
        !gradient_at(seed, calls, h, pyad_tape_length(f->tape), right, there))
        return 0;
    pyad_operand adjoints[VARIABLES];
    const pyad_operand one = {1, PYAD_CONSTANT};
    record_gradient(f, 1, &f->result, &one, adjoints);
    for (size_t i = 0; i < n; i++) {
        differences[i] = (right[i] - left[i]) / (2 * h);
        if (fabs(right[i] + left[i] - 2 * middle[i]) >
                1e-6 * (1 + fabs(differences[i])) ||
            fabs(differences[i]) > 1e5)
            return 0; /* a kink, or nearly one; or steep */
    }
    double *rows = rows_of(f, 1);
    for (size_t i = 0; i < n; i++)
        rows[(size_t)f->variable[i] + 1] = (there[i] - here[i]) / (2 * h);
    OK(pyad_tape_forward(f->tape, 0, 1, rows));
    for (size_t i = 0; i < n; i++)
        products[i] =
            adjoints[i].node == PYAD_CONSTANT ? 0 : rows[(size_t)adjoints[i].node + 1];
    free(rows);
    CLOSE(n, products, differences, 1e-4);
    return 1;
}

static int compared, smooth;

static void check(unsigned seed, int calls)
{
    program p;
    record(&p, seed, calls, 0);
    const function f = function_of(&p), g = expanded(&f);
    double a[VARIABLES], b[VARIABLES], c[VARIABLES];
    const size_t n = f.variables;
    gradient(&f, 1, a);
    gradient(&g, 1, b);
    CLOSE(n, a, b, 1e-10);
    gradient(&f, 3, a);
    CLOSE(n, a, b, 1e-10);
    const function rows = written(&f);
    gradient(&rows, 1, a);
    CLOSE(n, a, b, 1e-10);
    pyad_tape_free(rows.tape);
    const pyad_operand y = {0, f.result}, z = {0, g.result};
    moved(&f, 1, &y, 0, a);
    moved(&g, 1, &z, 0, c);
    CLOSE(1, a, c, 1e-10);
    int status = second(&f, 1, a);
    NEED(status == (p.has_call || p.has_partial ? PYAD_ERROR_NEEDS_RECORDING : PYAD_OK));
    const size_t widths[] = {1, 3, 4, 8};
    for (size_t w = 0; w < 4 && !status; w++) {
        OK(second(&f, widths[w], a));
        OK(second(&g, widths[w], c));
        CLOSE(n, a, c, 1e-9);
    }
    double products[VARIABLES];
    if (!status)
        OK(second(&f, 2, products));
    smooth += by_differences(&f, seed, calls);
    derivatives mine, other;
    derive(&f, &mine);
    CLOSE(n, mine.gradient, b, 1e-10);
    if (!p.has_call) {
        derive(&g, &other);
        CLOSE(1, &mine.tangent, &other.tangent, 1e-10);
        CLOSE(n, mine.hu, other.hu, 1e-9);
        CLOSE(n, mine.hv, other.hv, 1e-9);
        CLOSE(n, mine.third, other.third, 1e-8);
        compared++;
    }
    if (!status)
        CLOSE(n, mine.hv, products, 1e-9);
    pyad_tape_free(f.tape);
    pyad_tape_free(g.tape);
}

/* A branch not taken, at 0: chosen = where(x > 0, root(x), x), with root a square root,
 * whose partial is infinite there, or a power of 1.5, whose second one is; and the result
 * sum(chosen), or the sum of their squares. */
static void zero_times_infinity(int power, int squared)
{
    pyad_tape *tape = pyad_tape_new(0);
    const double values[] = {0, 4, 9}, exponent = 1.5;
    const double picked[] = {0, power ? 8 : 2, power ? 27 : 3};
    pyad_operand adjoints[3];
    uint32_t x, root, chosen, total;
    NEED(tape);
    OK(pyad_block_leaf(tape, 3, values, &x));
    const pyad_vector run = {tape->values, 0, x, 1, 3};
    const pyad_vector number = {&exponent, PYAD_CONSTANT, PYAD_NO_BLOCK, 0, 1};
    OK(pyad_block_map(tape, power ? PYAD_OP_POW : PYAD_OP_SQRT, 0, 3, run,
                      power ? number : run, &root));
    pyad_block_mark(tape, x);
    pyad_block_mark(tape, root);
    const uint32_t start = tape->blocks[root].start, rows[] = {1, start + 2, start + 3};
    OK(pyad_block_linear(tape, 3, picked, NULL, 3, rows, NULL, &chosen));
    pyad_vector y = {tape->values + tape->blocks[chosen].start,
                     tape->blocks[chosen].start, chosen, 1, 3};
    if (squared) {
        OK(pyad_block_map(tape, PYAD_OP_SQUARE, 0, 3, y, y, &chosen));
        y.node = tape->blocks[chosen].start;
        y.values = tape->values + y.node;
        y.block = chosen;
    }
    const int64_t shape = 3, stride = 0;
    OK(pyad_block_collect(tape, y, 1, &shape, &stride, 0, 1, &total));
    const function f = {tape, 3, {0, 1, 2}, tape->blocks[total].start};
    const pyad_operand one = {1, PYAD_CONSTANT};
    record_gradient(&f, 1, &f.result, &one, adjoints);
    for (size_t i = 0; i < 3; i++) {
        const double v = values[i], p = power ? 1.5 : 0.5;
        double slope = i == 0 ? 1 : p * pow(v, p - 1), curve = 0;
        if (i > 0)
            curve = p * (p - 1) * pow(v, p - 2);
        if (squared) {
            curve = 2 * slope * slope + 2 * picked[i] * curve;
            slope *= 2 * picked[i];
        }
        double *rows_here = rows_of(&f, 1), found = 0;
        rows_here[i + 1] = 1;
        OK(pyad_tape_forward(tape, 0, 1, rows_here));
        if (adjoints[i].node != PYAD_CONSTANT)
            found = rows_here[adjoints[i].node + 1];
        CLOSE(1, &adjoints[i].value, &slope, 1e-14);
        CLOSE(1, &found, &curve, 1e-14);
        free(rows_here);
    }
    pyad_tape_free(tape);
}

int main(int count, char **arguments)
{
    const unsigned programs = count > 1 ? (unsigned)atoi(arguments[1]) : 1000;
    const unsigned start = count > 2 ? (unsigned)atoi(arguments[2]) : 1;
    for (unsigned seed = start; seed < start + programs; seed++)
        check(seed, seed % 3 == 0);
    for (int i = 0; i < 4; i++)
        zero_times_infinity(i & 1, i >> 1);
    if (programs >= 100)
        NEED(compared > (int)programs / 2 && smooth > (int)programs / 2);
    NEED(rule_references == 0);
    printf("ok\n");
    return 0;
}
