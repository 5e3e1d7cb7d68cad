/* Every allocation of the C library fails once: compiled together with its sources, whose
 * malloc, calloc and realloc are the functions below. Each call either succeeds or leaves
 * the tape as it was, and works when it is made again. */
#include <string.h>

#include "failing.h"
#include "guard.h"
#include "ops.h"
#include "pyad.h"

typedef struct {
    size_t length, arguments, nbytes;
    double sum;
} state;

static state state_of(const pyad_tape *tape)
{
    state s = {pyad_tape_length(tape), pyad_tape_arguments(tape), pyad_tape_nbytes(tape),
               0};
    size_t adjoints;
    const double *values = pyad_tape_pin_values(tape),
                 *weights = pyad_tape_pin_weights(tape);
    const double *adjoint = pyad_tape_pin_adjoints(tape, &adjoints);
    for (size_t i = 0; i < s.length; i++)
        s.sum += values[i];
    for (size_t i = 0; i < s.arguments; i++)
        s.sum += 3 * weights[i];
    for (size_t i = 1; i < adjoints; i++)
        s.sum += 7 * adjoint[i];
    pyad_buffer_release(values);
    pyad_buffer_release(weights);
    pyad_buffer_release(adjoint);
    return s;
}

enum { MANY = 3000, KINDS = 15, LAST_BLOCK = 10 };

static double ones[MANY];

/* A block of each kind that needs something of its own, and one after it. */
static int call_block(pyad_tape *tape, int kind, pyad_operand x, pyad_operand *result)
{
    const pyad_vector all = {ones, PYAD_CONSTANT, PYAD_NO_BLOCK, 1, MANY};
    const pyad_vector one = {tape->values + x.node, x.node, PYAD_NO_BLOCK, 0, 1};
    const int64_t shape[] = {MANY}, nothing[] = {0};
    const uint32_t row = x.node + 1, first[] = {0, 1};
    const pyad_product outer = {1, MANY, 1, 1, {0, 0, 1, 0}, {0, 0, 0, 0}};
    uint32_t block;
    int status =
        kind == 6   ? pyad_block_leaf(tape, MANY, ones, &block)
        : kind == 7 ? pyad_block_map(tape, PYAD_OP_MUL, 0, MANY, one, all, &block)
        : kind == 8 ? pyad_block_spread(tape, one, 1, shape, nothing, 0, &block)
        : kind == 9 ? pyad_block_linear(tape, 1, ones, first, 1, &row, ones, &block)
                    : pyad_block_product(tape, &outer, all, one, &block);
    if (!status) {
        uint32_t node = tape->blocks[block].start;
        *result = (pyad_operand){tape->values[node], node};
    }
    return status;
}

/* A sweep through a transposition, a sum along an axis and a product. */
static int call_sweep(int seeds)
{
    enum { ROWS = 40, COLUMNS = 50, COUNT = ROWS * COLUMNS };
    static double rows[4 * (3 * COUNT + COLUMNS + 2) * 3];
    const int64_t shape[] = {COLUMNS, ROWS}, back[] = {1, COLUMNS}, along[] = {1, 0};
    const pyad_product square = {1,       COLUMNS,         ROWS,
                                 COLUMNS, {0, 0, ROWS, 1}, {0, 0, 1, ROWS}};
    uint32_t x, y, sums, node;
    long kept = countdown;
    countdown = -1; /* the recording is not what is tried */
    pyad_tape *tape = pyad_tape_new(0);
    NEED(tape && pyad_block_leaf(tape, COUNT, ones, &x) == PYAD_OK);
    NEED(pyad_block_spread(tape, whole(tape, x), 2, shape, back, 0, &y) == PYAD_OK);
    NEED(pyad_block_collect(tape, whole(tape, y), 2, shape, along, 0, COLUMNS, &sums) ==
         PYAD_OK);
    NEED(pyad_block_product(tape, &square, whole(tape, y), whole(tape, y), &y) ==
         PYAD_OK);
    node = (uint32_t)tape->length - 1;
    NEED(pyad_tape_backward(tape, node, 1) == PYAD_OK);
    memset(rows, 0, sizeof rows);
    countdown = kept;
    if (!seeds) {
        int status = pyad_tape_backward(tape, node, 1);
        NEED(!status || pyad_tape_adjoint(tape, node) == 0);
        pyad_tape_free(tape);
        return status;
    }
    rows[(node + 1) * 3] = rows[(tape->blocks[sums].start + 1) * 3 + 1] = 1;
    int status = pyad_tape_reverse(tape, 0, 3, rows);
    if (!status)
        status = pyad_tape_forward(tape, 0, 3, rows);
    pyad_tape_free(tape);
    return status;
}

/* Blocks written out for a reader. */
static int call_write(void)
{
    const int64_t shape[] = {1, MANY}, along[] = {0, 1};
    uint32_t x, y;
    long kept = countdown;
    countdown = -1; /* the recording is not what is tried */
    pyad_tape *tape = pyad_tape_new(0);
    NEED(tape && pyad_block_leaf(tape, MANY, ones, &x) == PYAD_OK);
    NEED(pyad_block_map(tape, PYAD_OP_MUL, 0, MANY, whole(tape, x), whole(tape, x), &y) ==
         PYAD_OK);
    NEED(pyad_block_collect(tape, whole(tape, y), 2, shape, along, 0, MANY, &y) ==
         PYAD_OK);
    countdown = kept;
    pyad_tape *rows = pyad_tape_new(0);
    int status =
        rows ? pyad_tape_write(rows, tape, 0, tape->length) : PYAD_ERROR_NO_MEMORY;
    pyad_tape_free(rows);
    pyad_tape_free(tape);
    return status;
}

/* Guards on numbers and on arrays; one that is refused is not there. */
static int call_guards(void)
{
    static uint8_t outcomes[MANY];
    const pyad_vector all = {ones, PYAD_CONSTANT, PYAD_NO_BLOCK, 1, MANY};
    const pyad_operand zero = {0, PYAD_CONSTANT};
    uint32_t x;
    size_t count;
    long kept = countdown;
    countdown = -1; /* the recording is not what is tried */
    pyad_tape *tape = pyad_tape_new(0);
    NEED(tape && pyad_block_leaf(tape, MANY, ones, &x) == PYAD_OK);
    countdown = kept;
    int status = pyad_tape_guard_begin(tape);
    for (uint32_t i = 0; i < 300 && !status; i++) {
        status = pyad_tape_guard(tape, PYAD_LESS, zero, (pyad_operand){1, i});
        pyad_tape_guards(tape, &count);
        NEED(count == i + !status);
        if (!status)
            status = pyad_tape_guard_block(tape, PYAD_EQUAL, MANY, whole(tape, x), all,
                                           outcomes);
        NEED(status || (outcomes[0] == 1 && tape->guards->block_count == i + 1));
    }
    pyad_tape_guard_end(tape);
    pyad_tape_free(tape);
    return status;
}

/* One call of each kind that allocates. */
static int call(pyad_tape *tape, int kind, pyad_operand x, pyad_operand *result)
{
    static pyad_operand many[MANY];
    static double partials[MANY];
    for (int i = 0; i < MANY; i++) {
        many[i] = x;
        partials[i] = 0.5;
    }
    switch (kind) {
    case 0:
        return pyad_tape_leaf(tape, 1, result);
    case 1:
        return pyad_tape_apply(tape, PYAD_OP_SIN, x, x, result);
    case 2:
        return pyad_tape_apply(tape, PYAD_OP_MUL, x, x, result);
    case 3:
        return pyad_tape_apply_many(tape, PYAD_OP_SUM, MANY, many, result);
    case 4:
        return pyad_tape_apply_many(tape, PYAD_OP_LINCOMB, MANY, many, result);
    case 5:
        return pyad_tape_given(tape, 1, MANY, many, partials, result);
    case 11:
    case 12:
        *result = x;
        return call_sweep(kind == 12);
    case 13:
        *result = x;
        return call_write();
    case 14:
        *result = x;
        return call_guards();
    case KINDS:
        *result = x;
        return pyad_tape_backward(tape, x.node, 1);
    default:
        return call_block(tape, kind, x, result);
    }
}

/* A tape just before its arrays grow, pinned or not. */
static pyad_tape *full_tape(size_t nodes, pyad_operand *x)
{
    pyad_tape *tape = pyad_tape_new(0);
    NEED(tape && pyad_tape_leaf(tape, 1, x) == PYAD_OK);
    while (pyad_tape_length(tape) < nodes)
        NEED(pyad_tape_apply(tape, PYAD_OP_MUL, *x, *x, x) == PYAD_OK);
    return tape;
}

static void try_all(size_t nodes, int kind, int pinned)
{
    for (long n = 0, failed = 1; failed; n++) {
        pyad_operand x, result = {7, 7};
        pyad_tape *tape = full_tape(nodes, &x);
        const double *values = pinned ? pyad_tape_pin_values(tape) : NULL;
        const double *weights = pinned ? pyad_tape_pin_weights(tape) : NULL;
        state before = state_of(tape);
        failures = 0;
        countdown = n;
        int status = call(tape, kind, x, &result);
        countdown = -1;
        failed = failures;
        NEED(status == (failed ? PYAD_ERROR_NO_MEMORY : PYAD_OK));
        if (failed) {
            state after = state_of(tape);
            NEED(memcmp(&before, &after, sizeof after) == 0);
            NEED(kind > LAST_BLOCK || (result.value == 7 && result.node == 7));
            NEED(call(tape, kind, x, &result) == PYAD_OK);
        }
        NEED(pyad_tape_backward(tape, result.node, 1) == PYAD_OK);
        NEED(!values || values[0] == 1);
        pyad_tape_free(tape);
        pyad_buffer_release(values);
        pyad_buffer_release(weights);
    }
}

int main(void)
{
    for (int i = 0; i < MANY; i++)
        ones[i] = 1;
    countdown = 0;
    NEED(pyad_tape_new(0) == NULL);
    countdown = -1;
    const size_t nodes[] = {1, 2, 511, 512, 1023, 1024, 2048}; /* around the doublings */
    for (size_t i = 0; i < sizeof nodes / sizeof *nodes; i++)
        for (int kind = 0; kind <= KINDS; kind++)
            for (int pinned = 0; pinned < 2; pinned++)
                try_all(nodes[i], kind, pinned);
    puts("ok");
    return 0;
}
