/* Random programs that mix scalar nodes and blocks of every kind, recorded twice: as
 * blocks, and number by number. */
#pragma once
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "blocks/life.h"
#include "blocks/pending.h"
#include "blocks/record.h"
#include "record.h"

#define NEED(CONDITION)                                                                  \
    do {                                                                                 \
        if (!(CONDITION)) {                                                              \
            fprintf(stderr, "line %d, program %u: %s\n", __LINE__, program, #CONDITION); \
            exit(1);                                                                     \
        }                                                                                \
    } while (0)

static unsigned program; /* number of the random program, for messages */
static uint64_t state;

static uint32_t draw(uint32_t below)
{
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(state >> 33) % below;
}
static double uniform(void) { return (double)draw(1u << 30) / (1u << 30); }

static const pyad_operand none = {0, PYAD_CONSTANT};

static int near(double x, double y)
{
    return fabs(x - y) <= 1e-9 * (1 + fabs(x) + fabs(y));
}

/* ---- the two recordings ----------------------------------------------------------- */

/* An array on `blocks`: a run of nodes, or constants; and the same numbers on `scalars`.
 */
typedef struct {
    size_t count;
    uint32_t node, block;
    double *constants;
    pyad_operand *numbers;
} array;

enum { MOST = 200, PROGRAMS = 400 };
typedef struct {
    pyad_tape *blocks, *scalars;
    array arrays[MOST];
    uint32_t count;
    size_t tapes_from[2]; /* where a stretch of each begins */
} pair;

static pyad_vector vector(const pair *p, const array *a, size_t offset, size_t count)
{
    if (a->node == PYAD_CONSTANT)
        return (pyad_vector){a->constants + offset, PYAD_CONSTANT, PYAD_NO_BLOCK, 1,
                             count};
    return (pyad_vector){p->blocks->values + a->node + offset, a->node + (uint32_t)offset,
                         a->block, 1, count};
}

/* Values are looked at where they are on the tape; where maps wait, half of the results
 * are dropped. */
static void check_values(const pair *p, const array *a)
{
    for (size_t i = 0; a->block != PYAD_NO_BLOCK && i < a->count; i++)
        NEED(near(p->blocks->values[a->node + i], a->numbers[i].value));
}

/* One number of an array for all elements. */
static pyad_vector number(const pair *p, const array *a, size_t i)
{
    pyad_vector x = vector(p, a, i, 1);
    x.step = 0;
    return x;
}

static array *array_new(pair *p, size_t count)
{
    NEED(p->count < MOST);
    array *a = &p->arrays[p->count++];
    a->count = count;
    a->node = PYAD_CONSTANT;
    a->block = PYAD_NO_BLOCK;
    a->constants = NULL;
    a->numbers = calloc(count, sizeof *a->numbers);
    NEED(a->numbers);
    return a;
}

static void of_block(pair *p, array *a, uint32_t block)
{
    const pyad_block *b = &p->blocks->blocks[block];
    NEED(b->count == a->count);
    a->block = block;
    a->node = b->start;
    if (!(b->flags & PYAD_BLOCK_UNSTORED))
        check_values(p, a);
    else if (draw(2))
        pyad_block_drop(p->blocks, block);
}

static pyad_operand apply(pair *p, int op, pyad_operand a, pyad_operand b)
{
    pyad_operand result;
    NEED(pyad_tape_apply(p->scalars, op, a, b, &result) == PYAD_OK);
    return result;
}

static pyad_operand add(pair *p, pyad_operand a, pyad_operand b)
{
    return apply(p, PYAD_OP_ADD, a, b);
}

static void leaf(pair *p, size_t count)
{
    array *a = array_new(p, count);
    double *values = malloc(count * sizeof *values);
    uint32_t block;
    NEED(values);
    for (size_t i = 0; i < count; i++) {
        values[i] = 0.2 + uniform();
        NEED(pyad_tape_leaf(p->scalars, values[i], &a->numbers[i]) == PYAD_OK);
    }
    NEED(pyad_block_leaf(p->blocks, count, values, &block) == PYAD_OK);
    of_block(p, a, block);
    free(values);
}

static void constant(pair *p, size_t count)
{
    array *a = array_new(p, count);
    a->constants = malloc(count * sizeof(double));
    NEED(a->constants);
    for (size_t i = 0; i < count; i++) {
        a->constants[i] = 0.2 + uniform();
        a->numbers[i] = (pyad_operand){a->constants[i], PYAD_CONSTANT};
    }
}

static array *any(pair *p) { return &p->arrays[draw(p->count)]; }

static array *any_on_tape(pair *p)
{
    for (;;) {
        array *a = any(p);
        if (a->node != PYAD_CONSTANT)
            return a;
    }
}

/* ---- one block of each kind ------------------------------------------------------- */

/* Operations that stay within bounds, whatever is composed of them. */
static const int unary[] = {PYAD_OP_SIN, PYAD_OP_TANH, PYAD_OP_NEG,     PYAD_OP_EXPIT,
                            PYAD_OP_ABS, PYAD_OP_ATAN, PYAD_OP_SOFTPLUS};
static const int binary[] = {PYAD_OP_ADD,     PYAD_OP_SUB,       PYAD_OP_HYPOT,
                             PYAD_OP_MAXIMUM, PYAD_OP_LOGADDEXP, PYAD_OP_MUL};

static void map(pair *p)
{
    array *x = any_on_tape(p), *y = any(p);
    size_t count = x->count, from = 0, most = count < y->count ? count : y->count;
    int how = (int)draw(4), two = (int)draw(3) > 0;
    int op = two ? binary[draw(6)] : unary[draw(7)];
    pyad_vector a = vector(p, x, 0, count), b = {0};
    if (how == 0 && most < count) { /* a part of the longer one */
        from = draw((uint32_t)(x->count - most) + 1);
        count = most;
        a = vector(p, x, from, count);
    }
    size_t step = y->count >= count ? 1 : 0;
    size_t at = step ? draw((uint32_t)(y->count - count) + 1) : draw((uint32_t)y->count);
    if (y->count == count)
        at = 0;
    if (two)
        b = step ? vector(p, y, at, count) : number(p, y, at);
    uint32_t block;
    array *r = array_new(p, count);
    for (size_t i = 0; i < count; i++)
        r->numbers[i] =
            apply(p, op, x->numbers[from + i], two ? y->numbers[at + step * i] : none);
    if (two && draw(2)) { /* the same with the operands exchanged */
        for (size_t i = 0; i < count; i++)
            r->numbers[i] = apply(p, op, y->numbers[at + step * i], x->numbers[from + i]);
        pyad_vector c = a;
        a = b;
        b = c;
    }
    NEED(pyad_block_map(p->blocks, op, 0, count, a, b, &block) == PYAD_OK);
    of_block(p, r, block);
}

/* The partial of sin, of hypot or of mul as a value. */
static void partial(pair *p)
{
    array *x = any_on_tape(p), *r;
    size_t count = x->count;
    pyad_vector a = vector(p, x, 0, count), b = number(p, x, count / 2);
    pyad_operand middle = x->numbers[count / 2];
    int kind = (int)draw(3);
    uint32_t block;
    r = array_new(p, count);
    for (size_t i = 0; i < count; i++) {
        pyad_operand u = x->numbers[i], two = {2, PYAD_CONSTANT};
        if (kind == 0) { /* d sin = cos */
            r->numbers[i] = apply(p, PYAD_OP_COS, u, none);
        } else if (kind == 1) { /* d/db hypot(a, b) = b / hypot(a, b), at (u, 2) */
            r->numbers[i] = apply(p, PYAD_OP_DIV, two, apply(p, PYAD_OP_HYPOT, u, two));
        } else { /* d/da of a * b = b */
            r->numbers[i] = apply(p, PYAD_OP_POSITIVE, middle, none);
        }
    }
    const double two = 2;
    const pyad_vector twos = {&two, PYAD_CONSTANT, PYAD_NO_BLOCK, 0, 1};
    int status =
        kind == 0   ? pyad_block_map(p->blocks, PYAD_OP_SIN, 1, count, a, b, &block)
        : kind == 1 ? pyad_block_map(p->blocks, PYAD_OP_HYPOT, 2, count, a, twos, &block)
                    : pyad_block_map(p->blocks, PYAD_OP_MUL, 1, count, a, b, &block);
    NEED(status == PYAD_OK);
    of_block(p, r, block);
}

/* A view of x as (rows, columns), transposed and repeated; or sums of it. */
static void spread(pair *p)
{
    array *x = any_on_tape(p);
    size_t rows = 1 + draw(x->count < 4 ? (uint32_t)x->count : 4);
    size_t columns = x->count / rows, offset = x->count - rows * columns;
    const int64_t shape[] = {(int64_t)columns, 2, 1, (int64_t)rows};
    const int64_t stride[] = {1, 0, 77, (int64_t)columns};
    uint32_t block;
    array *r = array_new(p, 2 * rows * columns);
    for (size_t j = 0, k = 0; j < columns; j++)
        for (int twice = 0; twice < 2; twice++)
            for (size_t i = 0; i < rows; i++, k++)
                r->numbers[k] = apply(p, PYAD_OP_POSITIVE,
                                      x->numbers[offset + i * columns + j], none);
    NEED(pyad_block_spread(p->blocks, vector(p, x, 0, x->count), 4, shape, stride,
                           (int64_t)offset, &block) == PYAD_OK);
    of_block(p, r, block);
}

static void collect(pair *p)
{
    array *x = any_on_tape(p);
    size_t rows = 1 + draw(x->count < 4 ? (uint32_t)x->count : 4);
    size_t columns = x->count / rows, from = x->count - rows * columns;
    int along = (int)draw(3); /* sums of rows, of columns, of everything */
    const int64_t shape[] = {(int64_t)rows, (int64_t)columns};
    const int64_t strides[3][2] = {{1, 0}, {0, 1}, {0, 0}};
    const size_t counts[] = {rows, columns, 1};
    uint32_t block;
    array *r = array_new(p, counts[along]);
    for (size_t i = 0; i < rows; i++)
        for (size_t j = 0; j < columns; j++) {
            pyad_operand u = x->numbers[from + i * columns + j];
            pyad_operand *to = &r->numbers[along == 0 ? i : along == 1 ? j : 0];
            int begins = along == 0 ? j == 0 : along == 1 ? i == 0 : i + j == 0;
            *to = begins ? apply(p, PYAD_OP_POSITIVE, u, none) : add(p, *to, u);
        }
    NEED(pyad_block_collect(p->blocks, vector(p, x, from, rows * columns), 2, shape,
                            strides[along], 0, counts[along], &block) == PYAD_OK);
    of_block(p, r, block);
}

/* Rows of up to three entries, of any nodes. */
static void linear(pair *p)
{
    size_t count = 1 + draw(30), entries = 0;
    int one_each = (int)draw(2), weighted = (int)draw(2);
    uint32_t first[32] = {0}, rows[96], block;
    double weights[96], values[32];
    array *r = array_new(p, count);
    for (size_t i = 0; i < count; i++) {
        pyad_operand sum = {0, PYAD_CONSTANT};
        for (uint32_t n = one_each ? 1 : draw(4); n-- > 0; entries++) {
            array *x = any_on_tape(p);
            while (x == r)
                x = any_on_tape(p);
            size_t k = draw((uint32_t)x->count);
            pyad_operand weight = {weighted ? uniform() : 1, PYAD_CONSTANT};
            int is_constant = draw(5) == 0;
            rows[entries] = is_constant ? 0 : x->node + (uint32_t)k + 1;
            weights[entries] = weight.value;
            if (!is_constant && x->block != PYAD_NO_BLOCK)
                pyad_block_mark(p->blocks, x->block);
            sum = add(
                p, sum,
                apply(p, PYAD_OP_MUL, weight,
                      is_constant ? (pyad_operand){1, PYAD_CONSTANT} : x->numbers[k]));
        }
        first[i + 1] = (uint32_t)entries;
        values[i] = sum.value;
        r->numbers[i] = sum;
    }
    NEED(pyad_block_linear(p->blocks, count, values, one_each ? NULL : first, entries,
                           rows, weighted ? weights : NULL, &block) == PYAD_OK);
    of_block(p, r, block);
}

/* (m, k) @ (k, n), the second one as its transpose. */
static void product(pair *p)
{
    array *x = any_on_tape(p), *y = any(p);
    size_t k = 1 + draw(3), m = x->count / k, n = y->count / k;
    m = m > 4 ? 4 : m;
    n = n > 3 ? 3 : n;
    if (m == 0 || n == 0)
        return;
    const pyad_product product = {
        1, m, k, n, {0, 0, (int64_t)k, 1}, {0, 0, 1, (int64_t)k}};
    uint32_t block;
    array *r = array_new(p, m * n);
    for (size_t i = 0; i < m; i++)
        for (size_t j = 0; j < n; j++) {
            pyad_operand sum = {0, PYAD_CONSTANT};
            for (size_t l = 0; l < k; l++)
                sum = add(
                    p, sum,
                    apply(p, PYAD_OP_MUL, x->numbers[i * k + l], y->numbers[j * k + l]));
            r->numbers[i * n + j] = apply(p, PYAD_OP_POSITIVE, sum, none);
        }
    NEED(pyad_block_product(p->blocks, &product, vector(p, x, 0, x->count),
                            vector(p, y, 0, y->count), &block) == PYAD_OK);
    of_block(p, r, block);
}

static void cumsum(pair *p)
{
    array *x = any_on_tape(p);
    size_t n = x->count % 2 ? x->count : x->count / 2, inner = x->count / n;
    const pyad_cumsum c = {1, n, inner, (int)draw(2)};
    uint32_t block;
    array *r = array_new(p, n * inner);
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < inner; j++) {
            size_t at = (c.from_end ? n - 1 - i : i) * inner + j;
            size_t last = c.from_end ? at + inner : at - inner;
            r->numbers[at] = i == 0 ? apply(p, PYAD_OP_POSITIVE, x->numbers[at], none)
                                    : add(p, r->numbers[last], x->numbers[at]);
        }
    NEED(pyad_block_cumsum(p->blocks, &c, vector(p, x, 0, n * inner), &block) == PYAD_OK);
    of_block(p, r, block);
}

/* A rule: x[i] * y[i], and how often it is held. */
typedef struct {
    pyad_rule rule;
    int held;
} counted_rule;

static int rule_reverse(pyad_rule *rule, const pyad_tape *tape, uint32_t block,
                        const double *own, double *const *shares)
{
    const pyad_source *s = tape->sources + tape->blocks[block].first_source;
    (void)rule;
    for (size_t i = 0; i < tape->blocks[block].count; i++)
        for (int k = 0; k < 2; k++)
            if (shares[k])
                shares[k][i] += own[i] * pyad_source_values(tape, s + 1 - k)[i];
    return PYAD_OK;
}

static int rule_forward(pyad_rule *rule, const pyad_tape *tape, uint32_t block,
                        const double *const *tangents, double *result)
{
    const pyad_source *s = tape->sources + tape->blocks[block].first_source;
    (void)rule;
    for (size_t i = 0; i < tape->blocks[block].count; i++) {
        result[i] = 0;
        for (int k = 0; k < 2; k++)
            if (tangents[k])
                result[i] += tangents[k][i] * pyad_source_values(tape, s + 1 - k)[i];
    }
    return PYAD_OK;
}

static pyad_rule *rule_retain(pyad_rule *rule)
{
    ((counted_rule *)rule)->held++;
    return rule;
}
static void rule_release(pyad_rule *rule) { ((counted_rule *)rule)->held--; }
static counted_rule rule = {
    {.reverse = rule_reverse,
     .forward = rule_forward,
     .retain = rule_retain,
     .release = rule_release},
    0,
};

static void call(pair *p)
{
    array *x = any_on_tape(p), *y = any(p);
    size_t count = x->count < y->count ? x->count : y->count;
    const pyad_vector operands[] = {vector(p, x, 0, count), vector(p, y, 0, count)};
    double *values = malloc(count * sizeof *values);
    uint32_t block;
    array *r = array_new(p, count);
    NEED(values);
    for (size_t i = 0; i < count; i++) {
        r->numbers[i] = apply(p, PYAD_OP_MUL, x->numbers[i], y->numbers[i]);
        values[i] = r->numbers[i].value;
    }
    NEED(pyad_block_call(p->blocks, &rule.rule, count, values, 2, operands, &block) ==
         PYAD_OK);
    of_block(p, r, block);
    free(values);
}

/* A scalar node of numbers of two arrays: an array of one. */
static void scalar(pair *p)
{
    array *x = any_on_tape(p), *y = any(p), *r = array_new(p, 1);
    size_t i = draw((uint32_t)x->count), j = draw((uint32_t)y->count);
    pyad_operand a = {x->numbers[i].value, x->node + (uint32_t)i};
    pyad_operand b = {y->numbers[j].value,
                      y->node == PYAD_CONSTANT ? y->node : y->node + (uint32_t)j};
    pyad_operand result;
    int op = binary[draw(6)];
    if (x->block != PYAD_NO_BLOCK)
        pyad_block_mark(p->blocks, x->block);
    if (y->block != PYAD_NO_BLOCK)
        pyad_block_mark(p->blocks, y->block);
    NEED(pyad_tape_apply(p->blocks, op, a, b, &result) == PYAD_OK);
    r->numbers[0] = apply(p, op, x->numbers[i], y->numbers[j]);
    r->node = result.node;
}

/* ---- programs --------------------------------------------------------------------- */

static void record(pair *p, uint32_t steps)
{
    static void (*const kinds[])(pair *) = {map,     map,    map,     map,    map,
                                            partial, spread, collect, linear, product,
                                            cumsum,  call,   scalar,  map};
    for (uint32_t i = 0; i < steps && p->count + 2 < MOST; i++) {
        if (p->blocks->length > 40000)
            break;
        kinds[draw(sizeof kinds / sizeof *kinds)](p);
    }
}

static void pair_new(pair *p)
{
    *p = (pair){.blocks = pyad_tape_new(0), .scalars = pyad_tape_new(0)};
    NEED(p->blocks && p->scalars);
    p->blocks->waits_from = program % 2;
}

static void pair_free(pair *p)
{
    for (uint32_t i = 0; i < p->count; i++) {
        free(p->arrays[i].constants);
        free(p->arrays[i].numbers);
    }
    pyad_tape_free(p->blocks);
    pyad_tape_free(p->scalars);
    NEED(rule.held == 0);
}

static uint32_t size_of_leaf(void)
{
    static const uint32_t sizes[] = {1, 2, 5, 12, 60, 1023, 1024, 1025, 2500};
    return sizes[draw(draw(3) ? 5 : 9)];
}

static void write_program(pair *p, uint32_t steps)
{
    pair_new(p);
    leaf(p, size_of_leaf());
    leaf(p, p->arrays[0].count);
    constant(p, p->arrays[0].count);
    leaf(p, 1 + draw(6));
    constant(p, 1 + draw(6));
    p->tapes_from[0] = p->blocks->length;
    p->tapes_from[1] = p->scalars->length;
    record(p, steps);
}
