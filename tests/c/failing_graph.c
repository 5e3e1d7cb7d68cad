/* Every allocation of a recorded sweep, of the expansion and of the second-order sweep
 * over blocks fails once: compiled as failing_malloc.c. A call that fails says so, and
 * works when it is made again. */

#include "failing.h"
#include "ops.h"
#include "pyad.h"

#define OK(CALL) NEED((CALL) == PYAD_OK)

enum { N = 6, MOST = 20000 };

/* A function of N variables that uses every kind of block but CALL; its node. */
static uint32_t record(pyad_tape *tape)
{
    const double values[N] = {0, 1, 2, -1, 3, 0.5};
    const int64_t shape[] = {2, 3}, stride[] = {1, 2}, zeros[] = {0, 0};
    const uint32_t rows[] = {1, 7, 9}, first[] = {0, 1, 1, 3};
    const double weights[] = {2, 3, 4};
    uint32_t x, a, b, c, sum;
    OK(pyad_block_leaf(tape, N, values, &x));
    OK(pyad_block_map(tape, PYAD_OP_TANH, 0, N, whole(tape, x), whole(tape, x), &a));
    pyad_block_mark(tape, x);
    pyad_block_mark(tape, a);
    OK(pyad_block_spread(tape, whole(tape, a), 2, shape, stride, 0, &b));
    const double *v = tape->values;
    const double given[] = {2 * v[0], 0, 3 * v[6] + 4 * v[8]};
    OK(pyad_block_linear(tape, 3, given, first, 3, rows, weights, &c));
    const pyad_product product = {1, 2, 3, 1, {0, 0, 3, 1}, {0, 0, 1, 1}};
    OK(pyad_block_product(tape, &product, whole(tape, b), whole(tape, c), &a));
    const pyad_cumsum cumsum = {1, 2, 1, 0};
    OK(pyad_block_cumsum(tape, &cumsum, whole(tape, a), &a));
    OK(pyad_block_map(tape, PYAD_OP_ATAN2, 0, 2, whole(tape, a), whole(tape, x), &a));
    OK(pyad_block_collect(tape, whole(tape, a), 1, shape, zeros, 0, 1, &sum));
    pyad_block_mark(tape, sum);
    const uint32_t node = tape->blocks[sum].start;
    pyad_operand y = {tape->values[node], node}, z = {tape->values[3], 3};
    OK(pyad_tape_apply(tape, PYAD_OP_MUL, y, z, &y));
    return y.node;
}

static int call(pyad_tape *tape, uint32_t y, int kind)
{
    static double tangents[MOST], adjoints[MOST], second[MOST];
    static uint32_t map[MOST];
    const uint32_t variables[N] = {0, 1, 2, 3, 4, 5};
    pyad_operand numbers[N], seeds[N] = {{1, 0}, {2, PYAD_CONSTANT}, {1, 1}};
    const pyad_operand one = {1, PYAD_CONSTANT};
    for (int i = 3; i < N; i++)
        seeds[i] = one;
    switch (kind) {
    case 0:
        return pyad_tape_record_reverse(tape, 0, 1, &y, &one, N, variables, numbers);
    case 1:
        return pyad_tape_record_forward(tape, 0, N, variables, seeds, 1, &y, numbers);
    case 2:
        NEED(pyad_tape_length(tape) * 2 < MOST);
        for (int i = 0; i < MOST; i++)
            tangents[i] = adjoints[i] = second[i] = i < 8;
        return pyad_tape_second(tape, 0, 2, tangents, adjoints, second);
    case 3: {
        pyad_tape *other = pyad_tape_new(0);
        int status = other ? pyad_tape_expand(other, tape, 0, map) : PYAD_ERROR_NO_MEMORY;
        pyad_tape_free(other);
        return status;
    }
    default: { /* third derivatives */
        int status =
            pyad_tape_record_reverse(tape, 0, 1, &y, &one, N, variables, numbers);
        if (!status)
            status = pyad_tape_record_reverse(tape, 0, 1, &numbers[2].node, &one, N,
                                              variables, numbers);
        return status ? status
                      : pyad_tape_record_reverse(tape, 0, 1, &numbers[2].node, &one, N,
                                                 variables, numbers);
    }
    }
}

int main(void)
{
    for (int kind = 0; kind <= 4; kind++)
        for (long n = 0, failed = 1; failed; n++) {
            pyad_tape *tape = pyad_tape_new(0);
            NEED(tape);
            const uint32_t y = record(tape);
            failures = 0;
            countdown = n;
            int status = call(tape, y, kind);
            countdown = -1;
            failed = failures;
            NEED(status == (failed ? PYAD_ERROR_NO_MEMORY : PYAD_OK));
            pyad_tape_truncate(tape, (size_t)y + 1, tape->first[y + 1]);
            OK(call(tape, y, kind));
            pyad_tape_free(tape);
        }
    puts("ok");
    return 0;
}
