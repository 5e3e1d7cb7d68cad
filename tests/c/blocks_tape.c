/* Blocks on a tape: random programs that mix scalar nodes and blocks of every kind are
 * recorded twice, as blocks and number by number, and swept both ways; then what the
 * life of a tape does to blocks. Prints "ok", or ends with 1 at the first difference. */
#include "blocks_pair.h"

/* ---- sweeps of a program ---------------------------------------------------------- */

typedef struct {
    size_t from[2], seeds;
    double *rows[2]; /* of blocks, of scalars */
} swept;

static swept rows_new(const pair *p, size_t seeds, int from_start)
{
    swept s = {.seeds = seeds};
    const pyad_tape *tapes[] = {p->blocks, p->scalars};
    for (int t = 0; t < 2; t++) {
        s.from[t] = from_start ? 0 : p->tapes_from[t];
        s.rows[t] = calloc((tapes[t]->length - s.from[t] + 1) * seeds, sizeof(double));
        NEED(s.rows[t]);
    }
    return s;
}

static double *row(const swept *s, int t, size_t node)
{
    return s->rows[t] + (node - s->from[t] + 1) * s->seeds;
}

static int takes_part(const swept *s, const array *a)
{
    return a->node != PYAD_CONSTANT && a->node >= s->from[0];
}

/* Seeds on random numbers of random arrays; a number is seeded once, for what stands on
 * one node of `scalars` may stand on two of `blocks`. */
static void seed(const pair *p, const swept *s, uint32_t first, uint32_t last)
{
    for (int n = 0; n < 20; n++) {
        const array *a = &p->arrays[first + draw(last - first)];
        size_t i = draw((uint32_t)a->count), k = draw((uint32_t)s->seeds);
        if (!takes_part(s, a) || a->numbers[i].node == PYAD_CONSTANT)
            continue;
        double x = uniform();
        row(s, 0, a->node + i)[k] += x;
        row(s, 1, a->numbers[i].node)[k] += x;
    }
}

static void compare(const pair *p, const swept *s, uint32_t count)
{
    for (uint32_t n = 0; n < count; n++) {
        const array *a = &p->arrays[n];
        for (size_t i = 0; takes_part(s, a) && i < a->count; i++)
            for (size_t k = 0; k < s->seeds; k++)
                NEED(near(row(s, 0, a->node + i)[k], row(s, 1, a->numbers[i].node)[k]));
    }
}

static void rows_free(const swept *s)
{
    free(s->rows[0]);
    free(s->rows[1]);
}

static void sweep(const pair *p, size_t seeds, int from_start)
{
    swept s = rows_new(p, seeds, from_start);
    seed(p, &s, 0, p->count);
    NEED(pyad_tape_reverse(p->blocks, s.from[0], seeds, s.rows[0]) == PYAD_OK);
    NEED(pyad_tape_reverse(p->scalars, s.from[1], seeds, s.rows[1]) == PYAD_OK);
    if (from_start)
        compare(p, &s, 4);
    rows_free(&s);
    s = rows_new(p, seeds, from_start);
    /* seeds on a linear combination of constants stand on no scalar node: leaves only */
    seed(p, &s, 0, from_start ? 4 : p->count);
    NEED(pyad_tape_forward(p->blocks, s.from[0], seeds, s.rows[0]) == PYAD_OK);
    NEED(pyad_tape_forward(p->scalars, s.from[1], seeds, s.rows[1]) == PYAD_OK);
    for (uint32_t n = 0; from_start && n < p->count; n++) {
        const array *a = &p->arrays[n];
        for (size_t i = 0; takes_part(&s, a) && i < a->count; i++)
            for (size_t k = 0; k < seeds; k++)
                NEED(near(row(&s, 0, a->node + i)[k],
                          a->numbers[i].node == PYAD_CONSTANT
                              ? 0
                              : row(&s, 1, a->numbers[i].node)[k]));
    }
    rows_free(&s);
}

/* The sweeps whose rows hold nothing at first are the same to the bit or nearly so. */
static void sweep_runs(const pair *p, size_t from)
{
    size_t length = p->blocks->length, rows = length - from + 1;
    double *expected = calloc(rows, sizeof(double));
    double *all = malloc(2 * rows * sizeof(double)), *found = all;
    uint32_t nodes[40];
    double seeds[40];
    NEED(expected && all);
    for (int n = 0; n < 40; n++) {
        nodes[n] = n % 7 == 3 ? PYAD_CONSTANT : draw((uint32_t)length);
        seeds[n] = uniform();
        if (nodes[n] != PYAD_CONSTANT && nodes[n] >= from)
            expected[nodes[n] - from + 1] += seeds[n];
    }
    for (size_t i = 0; i < 2 * rows; i++)
        found[i] = NAN;
    for (int keep_all = 0; keep_all < 2; keep_all++)
        NEED(pyad_tape_reverse_run(p->blocks, from, 40, nodes, seeds,
                                   found + (size_t)keep_all * rows, keep_all) == PYAD_OK);
    NEED(pyad_tape_reverse(p->blocks, from, 1, expected) == PYAD_OK);
    for (int keep_all = 0; keep_all < 2; keep_all++, found += rows) {
        for (size_t i = from; i < length; i++) {
            uint32_t block = pyad_tape_block_of(p->blocks, (uint32_t)i);
            if (keep_all || block == PYAD_NO_BLOCK ||
                p->blocks->blocks[block].kind == PYAD_BLOCK_LEAF)
                NEED(near(found[i - from + 1], expected[i - from + 1]));
        }
        NEED(found[0] == 0);
    }
    if (from == 0) {
        NEED(pyad_tape_backward_run(p->blocks, 40, nodes, seeds) == PYAD_OK);
        for (size_t i = 0; i < length; i++)
            NEED(near(pyad_tape_adjoint(p->blocks, (uint32_t)i), expected[i + 1]));
        NEED(pyad_tape_bad_adjoint(p->blocks, (uint32_t)length - 1) == PYAD_CONSTANT);
    }
    free(expected);
    free(all);
}

/* <seeds, J t> == <J^T seeds, t>, on the blocks alone, for any seeds on any node. */
static void dual(const pair *p, size_t from)
{
    size_t rows = p->blocks->length - from + 1;
    double *t = calloc(rows, sizeof(double)), *g = calloc(rows, sizeof(double));
    double *jt = malloc(rows * sizeof(double)), *jg = malloc(rows * sizeof(double));
    double left = 0, right = 0, size = 0;
    NEED(t && g && jt && jg);
    for (size_t i = 1; i < rows; i++) {
        t[i] = uniform() - 0.5;
        g[i] = uniform() - 0.5;
    }
    memcpy(jt, t, rows * sizeof(double));
    memcpy(jg, g, rows * sizeof(double));
    NEED(pyad_tape_forward(p->blocks, from, 1, jt) == PYAD_OK);
    NEED(pyad_tape_reverse(p->blocks, from, 1, jg) == PYAD_OK);
    for (size_t i = 1; i < rows; i++) {
        left += g[i] * jt[i];
        right += jg[i] * t[i];
        size += fabs(g[i] * jt[i]) + fabs(jg[i] * t[i]);
    }
    NEED(fabs(left - right) <= 1e-9 * (1 + size));
    free(t);
    free(g);
    free(jt);
    free(jg);
}

/* ---- append, truncate, touches ----------------------------------------------------- */

/* A copy of a stretch, behind a few nodes of its own, has the adjoints of the stretch. */
static void append(const pair *p, size_t from)
{
    pyad_tape *copy = pyad_tape_new(0);
    pyad_operand x;
    uint32_t block;
    const double values[] = {1, 2, 3};
    NEED(copy && pyad_tape_leaf(copy, 1, &x) == PYAD_OK);
    NEED(pyad_tape_apply(copy, PYAD_OP_SIN, x, x, &x) == PYAD_OK);
    NEED(pyad_block_leaf(copy, 3, values, &block) == PYAD_OK);
    size_t to = copy->length, rows = p->blocks->length - from + 1;
    int before = rule.held;
    NEED(pyad_tape_append(copy, p->blocks, from) == PYAD_OK);
    NEED(copy->length - to == rows - 1 && rule.held >= before);
    NEED(!pyad_tape_touches(copy, to));
    for (size_t i = 0; i + 1 < rows; i++)
        NEED(copy->values[to + i] == p->blocks->values[from + i]);
    for (int forward = 0; forward < 2; forward++) {
        double *expected = calloc(rows, sizeof(double));
        double *found = calloc(rows, sizeof(double));
        NEED(expected && found);
        for (size_t i = 1; i < rows; i++)
            expected[i] = found[i] = uniform();
        NEED((forward ? pyad_tape_forward : pyad_tape_reverse)(p->blocks, from, 1,
                                                               expected) == PYAD_OK);
        NEED((forward ? pyad_tape_forward : pyad_tape_reverse)(copy, to, 1, found) ==
             PYAD_OK);
        for (size_t i = 0; i < rows; i++)
            NEED(near(expected[i], found[i]));
        free(expected);
        free(found);
    }
    /* what is left when some of it is dropped still works */
    if (copy->block_count > 2) {
        size_t keep = copy->blocks[copy->block_count / 2].start;
        double *rest = calloc(keep + 1, sizeof(double));
        NEED(rest);
        rest[keep] = 1;
        pyad_tape_truncate(copy, keep, copy->blocks[copy->block_count / 2].arguments);
        NEED(pyad_tape_reverse(copy, 0, 1, rest) == PYAD_OK);
        free(rest);
    }
    pyad_tape_free(copy);
    NEED(rule.held == before);
}

static int touches(const pyad_tape *tape, size_t from)
{
    for (size_t k = tape->first[from]; k < tape->arguments; k++)
        if (tape->indices[k] < from)
            return 1;
    for (size_t b = 0; b < tape->block_count; b++) {
        const pyad_block *block = &tape->blocks[b];
        if (block->start < from)
            continue;
        for (size_t i = 0; i < block->source_count; i++)
            if (tape->sources[block->first_source + i].node < from)
                return 1;
        const pyad_linear *linear = pyad_store_at(tape, block->data);
        for (size_t k = 0; block->kind == PYAD_BLOCK_LINEAR && k < linear->entries; k++) {
            uint32_t entry = ((const uint32_t *)pyad_store_at(tape, linear->rows))[k];
            if (entry && entry - 1 < from)
                return 1;
        }
    }
    return 0;
}

/* Taking back what was recorded last, and recording it again. */
static void truncate_and_go_on(pair *p)
{
    pyad_tape *tape = p->blocks;
    size_t length = tape->length, arguments = tape->arguments, store = tape->store_length;
    size_t blocks = tape->block_count, sources = tape->source_count, bytes;
    size_t end = p->scalars->length, scalar_arguments = p->scalars->arguments;
    uint32_t count = p->count;
    int held = rule.held;
    bytes = pyad_tape_nbytes(tape);
    record(p, 10);
    while (p->count > count) {
        free(p->arrays[--p->count].numbers);
        free(p->arrays[p->count].constants);
    }
    pyad_tape_truncate(tape, length, arguments);
    pyad_tape_truncate(p->scalars, end, scalar_arguments);
    NEED(tape->length == length && tape->block_count == blocks && rule.held == held);
    NEED(tape->source_count == sources && tape->store_length == store);
    NEED(tape->first[length] == arguments && pyad_tape_nbytes(tape) == bytes);
    record(p, 5);
}

static void run_program(uint32_t steps)
{
    static const size_t widths[] = {1, 2, 3, 4, 8};
    pair p;
    write_program(&p, steps);
    if (draw(3) == 0)
        truncate_and_go_on(&p);
    sweep_runs(&p, 0); /* some values are not stored yet */
    pyad_tape_store_values(p.blocks);
    for (uint32_t n = 0; n < p.count; n++)
        check_values(&p, &p.arrays[n]);
    sweep(&p, 1, 1);
    sweep(&p, widths[draw(5)], 1);
    sweep_runs(&p, 0);
    dual(&p, 0);
    for (int n = 0; n < 3; n++) {
        size_t from = draw((uint32_t)p.blocks->length);
        if (!pyad_tape_is_boundary(p.blocks, from)) {
            double unused = 0;
            NEED(pyad_tape_reverse(p.blocks, from, 1, &unused) == PYAD_ERROR_NODE_RANGE);
            NEED(pyad_tape_append(p.scalars, p.blocks, from) == PYAD_ERROR_NODE_RANGE);
            from = p.blocks->blocks[pyad_tape_block_of(p.blocks, (uint32_t)from)].start;
        }
        NEED(pyad_tape_touches(p.blocks, from) == (from > 0 && touches(p.blocks, from)));
        sweep_runs(&p, from);
        dual(&p, from);
        append(&p, from);
    }
    pair_free(&p);
}

/* ---- cases of their own ------------------------------------------------------------ */

static pyad_vector whole(const pyad_tape *tape, uint32_t block)
{
    const pyad_block *b = &tape->blocks[block];
    return (pyad_vector){tape->values + b->start, b->start, block, 1, b->count};
}

/* A constant is kept once; values may be given from the tape's own arrays. */
static void constants(void)
{
    enum { N = 100 };
    double a[N], start = 0;
    uint32_t x, first;
    pyad_tape *tape = pyad_tape_new(0);
    for (int i = 0; i < N; i++)
        a[i] = i;
    NEED(tape && pyad_block_leaf(tape, N, a, &x) == PYAD_OK);
    first = tape->blocks[x].start;
    const pyad_vector constant = {a, PYAD_CONSTANT, PYAD_NO_BLOCK, 1, N};
    for (int turn = 0; turn < 1000; turn++)
        NEED(pyad_block_map(tape, PYAD_OP_MAXIMUM, 0, N, whole(tape, x), constant, &x) ==
             PYAD_OK);
    NEED(tape->store_length == N * sizeof(double));
    a[3] = -1; /* another constant: copied again */
    NEED(pyad_block_map(tape, PYAD_OP_ADD, 0, N, whole(tape, x), constant, &x) ==
         PYAD_OK);
    NEED(tape->store_length == 2 * N * sizeof(double));
    for (int turn = 0; turn < 300; turn++) { /* the arrays move while they are read */
        pyad_vector own = {tape->values + first, PYAD_CONSTANT, PYAD_NO_BLOCK, 1, 50};
        pyad_vector half = whole(tape, x);
        half.count = 50;
        NEED(pyad_block_map(tape, PYAD_OP_MAXIMUM, 0, 50, half, own, &x) == PYAD_OK);
        pyad_vector kept = {pyad_store_at(tape, 8), PYAD_CONSTANT, PYAD_NO_BLOCK, 1, 50};
        NEED(pyad_block_map(tape, PYAD_OP_MAXIMUM, 0, 50, whole(tape, x), kept, &x) ==
             PYAD_OK);
        for (int i = 0; i < 50; i++)
            start += tape->values[tape->blocks[x].start + (size_t)i];
        NEED(pyad_block_leaf(tape, 50, tape->values + first, &x) == PYAD_OK);
        NEED(tape->values[tape->blocks[x].start + 49] == 49);
    }
    NEED(start == 2449 + 299 * 1275.0);
    NEED(pyad_tape_reserved(tape) >= pyad_tape_nbytes(tape));
    pyad_tape_clear(tape);
    NEED(pyad_tape_nbytes(tape) == 0);
    pyad_tape_free(tape);
}

/* A run longer than is swept together, with more adjoints alive than have a tile, and a
 * number of x for all elements among uses of x element by element. */
static void long_run(size_t count)
{
    enum { TERMS = 14, STEPS = 90 };
    pyad_tape *tape = pyad_tape_new(0);
    uint32_t x, terms[TERMS], y, total;
    double *values = malloc(count * sizeof *values);
    NEED(tape && values);
    for (size_t i = 0; i < count; i++)
        values[i] = uniform();
    NEED(pyad_block_leaf(tape, count, values, &x) == PYAD_OK);
    for (int i = 0; i < TERMS; i++) {
        pyad_vector a = whole(tape, x), last = whole(tape, x);
        last.node += last.count > 2000 ? 2000 : 0;
        last.step = i % 3 == 1 ? 0 : 1;
        last.count = i % 3 == 1 ? 1 : count;
        last.node = i % 3 == 1 ? last.node : a.node;
        NEED(pyad_block_map(tape, i % 2 ? PYAD_OP_HYPOT : PYAD_OP_SUB, 0, count, a, last,
                            &terms[i]) == PYAD_OK);
    }
    y = terms[0];
    for (int i = 1; i < TERMS; i++)
        NEED(pyad_block_map(tape, PYAD_OP_MAXIMUM, 0, count, whole(tape, y),
                            whole(tape, terms[i]), &y) == PYAD_OK);
    for (int i = 0; i < STEPS; i++)
        NEED(pyad_block_map(tape, i % 30 ? PYAD_OP_NEG : PYAD_OP_ATAN, 0, count,
                            whole(tape, y), whole(tape, y), &y) == PYAD_OK);
    const int64_t shape[] = {(int64_t)count}, stride[] = {0};
    NEED(pyad_block_collect(tape, whole(tape, y), 1, shape, stride, 0, 1, &total) ==
         PYAD_OK);
    size_t length = tape->length;
    const uint32_t node = (uint32_t)length - 1;
    const double seed_of_sum = 0.5;
    double *expected = calloc(length + 1, sizeof(double));
    double *found = malloc((length + 1) * sizeof(double));
    NEED(expected && found);
    expected[length] = seed_of_sum;
    NEED(pyad_tape_reverse(tape, 0, 1, expected) == PYAD_OK);
    for (int keep_all = 0; keep_all < 2; keep_all++) {
        for (size_t i = 0; i <= length; i++)
            found[i] = NAN;
        NEED(pyad_tape_reverse_run(tape, 0, 1, &node, &seed_of_sum, found, keep_all) ==
             PYAD_OK);
        for (size_t i = 0; i <= (keep_all ? length : count); i++)
            NEED(near(expected[i], found[i]));
    }
    free(expected);
    free(found);
    free(values);
    pyad_tape_free(tape);
}

/* A branch that was not taken stays out, though its partial is infinite. */
static void zero_adjoints(void)
{
    const double zeros[] = {0, 4, 0}, mask[] = {0, 1, 0};
    const pyad_vector masks = {mask, PYAD_CONSTANT, PYAD_NO_BLOCK, 1, 3};
    uint32_t x, y;
    pyad_tape *tape = pyad_tape_new(0);
    NEED(tape && pyad_block_leaf(tape, 3, zeros, &x) == PYAD_OK);
    NEED(pyad_block_map(tape, PYAD_OP_SQRT, 0, 3, whole(tape, x), masks, &y) == PYAD_OK);
    NEED(pyad_block_map(tape, PYAD_OP_MUL, 0, 3, whole(tape, y), masks, &y) == PYAD_OK);
    const uint32_t nodes[] = {6, 7, 8};
    const double seeds[] = {1, 1, 1};
    NEED(pyad_tape_backward_run(tape, 3, nodes, seeds) == PYAD_OK);
    NEED(pyad_tape_adjoint(tape, 0) == 0 && pyad_tape_adjoint(tape, 1) == 0.25);
    double rows[10 * 3] = {0};
    for (int i = 7; i < 10; i++)
        rows[i * 3] = rows[i * 3 + 2] = 1;
    NEED(pyad_tape_reverse(tape, 0, 3, rows) == PYAD_OK);
    NEED(rows[3] == 0 && rows[6] == 0.25 && rows[7] == 0 && rows[8] == 0.25);
    /* seeded where it is infinite */
    const uint32_t roots[] = {3, 4, 5};
    NEED(pyad_tape_backward_run(tape, 3, roots, seeds) == PYAD_OK);
    NEED(isinf(pyad_tape_adjoint(tape, 0)));
    NEED(pyad_tape_bad_adjoint(tape, 5) == 2);
    const uint8_t *ops = pyad_tape_pin_ops(tape);
    const uint32_t *first = pyad_tape_pin_first(tape);
    NEED(ops[0] == PYAD_OP_LEAF && ops[4] == PYAD_OP_SQRT && ops[8] == PYAD_OP_MUL);
    NEED(first[9] == 0 && first[4] == 0);
    pyad_buffer_release(ops);
    pyad_buffer_release(first);
    pyad_tape_free(tape);
}

/* Out of memory or out of range, the tape is as it was; what fits can be swept. */
static void limits(void)
{
    double values[64] = {1};
    uint32_t x, y = 0;
    int status = PYAD_OK;
    pyad_tape *tape = pyad_tape_new(40000);
    NEED(tape && pyad_block_leaf(tape, 64, values, &x) == PYAD_OK);
    const uint32_t far[] = {64, 65};
    pyad_vector wrong = whole(tape, x);
    wrong.node = 1;
    NEED(pyad_block_map(tape, PYAD_OP_SIN, 0, 64, wrong, wrong, &y) ==
         PYAD_ERROR_NODE_RANGE);
    NEED(pyad_block_map(tape, PYAD_OP_SUM, 0, 64, whole(tape, x), wrong, &y) ==
         PYAD_ERROR_OPERATION_UNKNOWN);
    NEED(pyad_block_linear(tape, 2, values, NULL, 2, far, NULL, &y) ==
         PYAD_ERROR_NODE_RANGE);
    NEED(pyad_tape_reverse_run(tape, 0, 1, far, values, values, 1) ==
         PYAD_ERROR_NODE_RANGE);
    NEED(pyad_block_leaf(tape, UINT32_MAX, values, &y) == PYAD_ERROR_TAPE_FULL);
    y = x;
    while (!status) {
        size_t length = tape->length, store = tape->store_length;
        size_t blocks = tape->block_count;
        status =
            pyad_block_map(tape, PYAD_OP_MUL, 0, 64, whole(tape, x), whole(tape, y), &y);
        if (status)
            NEED(tape->length == length && tape->store_length == store &&
                 tape->block_count == blocks);
    }
    NEED(status == PYAD_ERROR_NO_MEMORY && tape->block_count > 10);
    NEED(pyad_tape_backward(tape, (uint32_t)tape->length - 64, 1) == PYAD_OK);
    NEED(pyad_tape_reserved(tape) <= 40000);
    pyad_tape_free(tape);
}

int main(void)
{
    for (program = 0; program < PROGRAMS; program++) {
        state = program;
        run_program(3 + program % 40);
    }
    for (program = 1; program < 4000; program = program * 2 + 1)
        long_run(program);
    constants();
    zero_adjoints();
    limits();
    puts("ok");
    return 0;
}
