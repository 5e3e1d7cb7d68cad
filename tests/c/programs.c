/* Programs without Python, and every allocation failing once: a call either succeeds or
 * says NO_MEMORY, and works when it is made again. Prints value and derivatives. */
#include <math.h>
#include <stdint.h>

#include "failing.h"
#include "ops.h"
#include "pyad.h"

/* The call again and again, until none of its allocations fails. */
#define WITH_FAILURES(STATUS, CALL)                                                      \
    for (long turn = 0;; turn++) {                                                       \
        countdown = turn;                                                                \
        STATUS = CALL;                                                                   \
        const int done = countdown >= 0;                                                 \
        countdown = -1;                                                                  \
        if (done)                                                                        \
            break;                                                                       \
        NEED(STATUS == PYAD_ERROR_NO_MEMORY);                                            \
    }

enum { ROWS = 11 };

/* x * y + sin(x) + prod(x, y, 3), where x > y. */
static pyad_program *recorded(pyad_tape *tape)
{
    pyad_operand x, y, a, b;
    const pyad_operand none = {0, PYAD_CONSTANT}, three = {3, PYAD_CONSTANT};
    NEED(pyad_tape_leaf(tape, 2, &x) == PYAD_OK &&
         pyad_tape_leaf(tape, 1, &y) == PYAD_OK);
    NEED(pyad_tape_guard_begin(tape) == PYAD_OK);
    NEED(pyad_tape_guard(tape, PYAD_LESS, y, x) == PYAD_OK);
    NEED(pyad_tape_apply(tape, PYAD_OP_MUL, x, y, &a) == PYAD_OK);
    NEED(pyad_tape_apply(tape, PYAD_OP_SIN, x, none, &b) == PYAD_OK);
    NEED(pyad_tape_apply(tape, PYAD_OP_ADD, a, b, &a) == PYAD_OK);
    const pyad_operand factors[] = {x, y, three};
    NEED(pyad_tape_apply_many(tape, PYAD_OP_PROD, 3, factors, &b) == PYAD_OK);
    NEED(pyad_tape_apply(tape, PYAD_OP_ADD, a, b, &a) == PYAD_OK);
    const pyad_input inputs[] = {{x.node, 1, 1}, {y.node, 1, 1}};
    pyad_program *program;
    int status;
    WITH_FAILURES(status, pyad_program_new(tape, 0, 2, inputs, 1, &a, &program))
    NEED(status == PYAD_OK);
    pyad_tape_guard_end(tape);
    return program;
}

static int near(double a, double b) { return fabs(a - b) <= 1e-14 * (1 + fabs(b)); }

int main(void)
{
    pyad_tape *tape = pyad_tape_new(SIZE_MAX);
    NEED(tape);
    pyad_program *program = recorded(tape);
    pyad_tape_free(tape); /* the program needs it no longer */
    double *room = malloc(pyad_program_room(program) * sizeof *room);
    NEED(room);
    pyad_program_prepare(program, room);
    double x[ROWS], y = 1, value, slope[2], seed = 1;
    double values[ROWS] = {0}, dx[ROWS] = {0}, dy[ROWS] = {0};
    int holds, status;
    unsigned char all[ROWS];
    for (int i = 0; i < ROWS; i++)
        x[i] = 0.75 + 0.25 * i;
    const pyad_batch_input inputs[] = {{x, 1, 1, dx, 1}, {&y, 1, 0, dy, 1}};
    const pyad_batch batch = {.inputs = 2,
                              .input = inputs,
                              .outputs = values,
                              .output_step = 1,
                              .seeds = &seed,
                              .holds = all};
    WITH_FAILURES(status, pyad_program_batch(program, &batch, 0, ROWS))
    NEED(status == PYAD_OK && failures > 10);
    for (int i = 0; i < ROWS; i++) {
        const double at[] = {x[i], y};
        WITH_FAILURES(status, pyad_program_value(program, room, at, &value, &holds))
        NEED(status == PYAD_OK && holds == (x[i] > y) && all[i] == holds);
        if (!holds)
            continue;
        WITH_FAILURES(status, pyad_program_gradient(program, room, &seed, slope))
        NEED(near(value, x[i] * y + sin(x[i]) + x[i] * y * 3) && near(value, values[i]));
        NEED(near(slope[0], y + cos(x[i]) + 3 * y) && near(slope[0], dx[i]));
        NEED(near(slope[1], 4 * x[i]) && near(slope[1], dy[i]));
    }
    printf("%.17g %.17g %.17g\n", value, slope[0], slope[1]);
    free(room);
    pyad_program_free(program);
    return 0;
}
