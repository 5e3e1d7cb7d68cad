/* Every allocation of the sparsity functions fails once, in turn: the status says so,
 * nothing is leaked, nothing written, and the next call succeeds. Linked with
 * --wrap=malloc,--wrap=realloc,--wrap=free. */
#include <stdio.h>
#include <stdlib.h>

#include "ops.h"
#include "pyad.h"

void *__real_malloc(size_t bytes);
void *__real_realloc(void *old, size_t bytes);
void __real_free(void *memory);
void *__wrap_malloc(size_t bytes);
void *__wrap_realloc(void *old, size_t bytes);
void __wrap_free(void *memory);

static long alive;           /* blocks that are not freed */
static long until_fail = -1; /* allocations that still succeed; -1: all */

static int fails(void) { return until_fail >= 0 && until_fail-- == 0; }

void *__wrap_malloc(size_t bytes)
{
    void *memory = fails() ? NULL : __real_malloc(bytes);
    alive += memory != NULL;
    return memory;
}

void *__wrap_realloc(void *old, size_t bytes)
{
    void *memory = fails() ? NULL : __real_realloc(old, bytes);
    alive += memory != NULL && old == NULL;
    return memory;
}

void __wrap_free(void *memory)
{
    alive -= memory != NULL;
    __real_free(memory);
}

enum { MOST = 700 };
static uint32_t inputs[MOST], outputs[MOST], colours[MOST];
static uint8_t flips[MOST * MOST];
static pyad_tape *tape;

static pyad_operand apply(int op, pyad_operand a, pyad_operand b)
{
    pyad_operand result;
    if (pyad_tape_apply(tape, op, a, b, &result))
        abort();
    return result;
}

/* n inputs, n outputs and one result: of a stencil, or of prefix sums, whose sets grow
 * too large. */
static uint32_t record(size_t n, int dense)
{
    pyad_operand x[MOST], sum = {0, PYAD_CONSTANT}, prefix = sum;
    for (size_t i = 0; i < n; i++) {
        if (pyad_tape_leaf(tape, 0.5, &x[i]))
            abort();
        inputs[i] = x[i].node;
    }
    for (size_t i = 0; i < n; i++) {
        prefix = apply(PYAD_OP_ADD, prefix, x[i]);
        pyad_operand out = apply(PYAD_OP_MUL, dense ? prefix : x[i], x[(i + 1) % n]);
        outputs[i] = out.node;
        sum = apply(PYAD_OP_ADD, sum, apply(PYAD_OP_SQUARE, out, out));
    }
    return sum.node;
}

static int run(size_t n, uint32_t result, int hessian, pyad_pattern *pattern)
{
    size_t count;
    int by_rows;
    int status = hessian ? pyad_hessian_pattern(tape, 0, n, inputs, result, pattern)
                         : pyad_jacobian_pattern(tape, 0, n, inputs, n, outputs, pattern);
    if (status)
        return status;
    status = hessian ? pyad_colour_hessian(pattern, colours, flips, &count)
                     : pyad_colour_jacobian(pattern, colours, &by_rows, &count);
    if (status)
        pyad_pattern_free(pattern);
    return status;
}

int main(void)
{
    const struct {
        size_t n;
        int dense;
    } cases[] = {{5, 0}, {100, 0}, {650, 1}};
    for (int c = 0; c < 6; c++) {
        size_t n = cases[c / 2].n;
        tape = pyad_tape_new(0);
        uint32_t result = record(n, cases[c / 2].dense);
        long before = alive, failures = 0;
        pyad_pattern pattern = {0};
        for (;; failures++) {
            until_fail = failures;
            int status = run(n, result, c % 2, &pattern);
            int done = until_fail >= 0;
            until_fail = -1;
            if (done && status == PYAD_OK)
                break;
            if (status != PYAD_ERROR_NO_MEMORY || alive != before || pattern.first) {
                printf("case %d, allocation %ld: status %d, %ld blocks leaked\n", c,
                       failures, status, alive - before);
                return 1;
            }
        }
        printf("case %d: %ld allocations, %zu entries\n", c, failures, pattern.entries);
        pyad_pattern_free(&pattern);
        if (alive != before)
            return 1;
        pyad_tape_free(tape);
    }
    return 0;
}
