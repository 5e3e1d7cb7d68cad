/* Every allocation of the C library fails once: compiled together with its sources, whose
 * malloc, calloc and realloc are the functions below. Each call either succeeds or leaves
 * the tape as it was, and works when it is made again. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ops.h"
#include "pyad.h"

static long countdown = -1; /* the allocation that fails; -1: none */
static long failures;

static int fails(void)
{
    if (countdown < 0 || countdown-- > 0)
        return 0;
    failures++;
    return 1;
}

void *failing_malloc(size_t bytes) { return fails() ? NULL : malloc(bytes); }
void *failing_calloc(size_t count, size_t bytes)
{
    return fails() ? NULL : calloc(count, bytes);
}
void *failing_realloc(void *old, size_t bytes)
{
    return fails() ? NULL : realloc(old, bytes);
}

#define NEED(CONDITION)                                                                  \
    do {                                                                                 \
        if (!(CONDITION)) {                                                              \
            fprintf(stderr, "line %d: %s\n", __LINE__, #CONDITION);                      \
            exit(1);                                                                     \
        }                                                                                \
    } while (0)

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

enum { MANY = 3000 };

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
    default:
        *result = x;
        return pyad_tape_backward(tape, x.node, 1);
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
            NEED(kind > 5 || (result.value == 7 && result.node == 7));
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
    countdown = 0;
    NEED(pyad_tape_new(0) == NULL);
    countdown = -1;
    const size_t nodes[] = {1, 2, 511, 512, 1023, 1024, 2048}; /* around the doublings */
    for (size_t i = 0; i < sizeof nodes / sizeof *nodes; i++)
        for (int kind = 0; kind <= 6; kind++)
            for (int pinned = 0; pinned < 2; pinned++)
                try_all(nodes[i], kind, pinned);
    puts("ok");
    return 0;
}
