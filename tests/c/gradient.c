/* The C library without Python: gradients of two variables, errors, several seeds, nodes
 * with given partials, a tape used again. Prints what tests/test_c_library.py compares;
 * ends with 1 at the first thing that is not as it must be. */
#include <math.h>
#include <stdio.h>

#include "ops.h"
#include "pyad.h"

#define NEED(CONDITION)                                                                  \
    do {                                                                                 \
        if (!(CONDITION)) {                                                              \
            fprintf(stderr, "line %d: %s\n", __LINE__, #CONDITION);                      \
            return 1;                                                                    \
        }                                                                                \
    } while (0)

static const pyad_operand none = {0, PYAD_CONSTANT};

/* z = log(x) + x * y - sin(y) */
static int record(pyad_tape *tape, pyad_operand x, pyad_operand y, pyad_operand *z)
{
    pyad_operand a, b, c;
    int status = pyad_tape_apply(tape, PYAD_OP_LOG, x, none, &a);
    if (!status)
        status = pyad_tape_apply(tape, PYAD_OP_MUL, x, y, &b);
    if (!status)
        status = pyad_tape_apply(tape, PYAD_OP_ADD, a, b, &a);
    if (!status)
        status = pyad_tape_apply(tape, PYAD_OP_SIN, y, none, &c);
    return status ? status : pyad_tape_apply(tape, PYAD_OP_SUB, a, c, z);
}

static int gradient(pyad_tape *tape)
{
    pyad_operand x, y, z;
    NEED(pyad_tape_leaf(tape, 2, &x) == PYAD_OK);
    NEED(pyad_tape_leaf(tape, 5, &y) == PYAD_OK);
    NEED(record(tape, x, y, &z) == PYAD_OK);
    NEED(pyad_tape_length(tape) == 7 && pyad_tape_arguments(tape) == 8);
    NEED(pyad_tape_backward(tape, z.node, 1) == PYAD_OK);
    printf("%.17g %.17g %.17g\n", z.value, pyad_tape_adjoint(tape, x.node),
           pyad_tape_adjoint(tape, y.node));
    return 0;
}

/* Row 0 belongs to the constants, row i + 1 to node i. */
static int several_seeds(pyad_tape *tape)
{
    double rows[8][2] = {{0}};
    rows[7][0] = 1;
    rows[7][1] = 10;
    pyad_tape_reverse(tape, 0, 2, &rows[0][0]);
    printf("%.17g %.17g %.17g %.17g\n", rows[1][0], rows[2][0], rows[1][1], rows[2][1]);
    double tangents[8][2] = {{0}};
    tangents[1][0] = 1;
    tangents[2][1] = 1;
    pyad_tape_forward(tape, 0, 2, &tangents[0][0]);
    printf("%.17g %.17g\n", tangents[7][0], tangents[7][1]);
    return 0;
}

static int errors(pyad_tape *tape)
{
    pyad_operand x = {1, 0}, wrong = {1, 99}, result = {7, 7};
    const double partial = 1;
    size_t length = pyad_tape_length(tape);
    NEED(pyad_tape_apply(tape, PYAD_OP_ADD, x, wrong, &result) == PYAD_ERROR_NODE_RANGE);
    NEED(pyad_tape_apply(tape, PYAD_OP_COUNT, x, x, &result) ==
         PYAD_ERROR_OPERATION_UNKNOWN);
    NEED(pyad_tape_apply(tape, -1, x, x, &result) == PYAD_ERROR_OPERATION_UNKNOWN);
    NEED(pyad_tape_apply(tape, PYAD_OP_SUM, x, x, &result) ==
         PYAD_ERROR_OPERATION_UNKNOWN);
    NEED(pyad_tape_apply_many(tape, PYAD_OP_ADD, 1, &x, &result) ==
         PYAD_ERROR_OPERATION_UNKNOWN);
    NEED(pyad_tape_apply_many(tape, PYAD_OP_DOT, 1, &x, &result) ==
         PYAD_ERROR_OPERATION_UNKNOWN);
    NEED(pyad_tape_apply_many(tape, PYAD_OP_SUM, 1, &wrong, &result) ==
         PYAD_ERROR_NODE_RANGE);
    NEED(pyad_tape_apply_many(tape, PYAD_OP_SUM, SIZE_MAX, &x, &result) ==
         PYAD_ERROR_TAPE_FULL);
    NEED(pyad_tape_given(tape, 1, 1, &wrong, &partial, &result) == PYAD_ERROR_NODE_RANGE);
    NEED(pyad_tape_given(tape, 1, (size_t)UINT32_MAX + 1, &x, &partial, &result) ==
         PYAD_ERROR_TAPE_FULL);
    NEED(pyad_tape_backward(tape, 99, 1) == PYAD_ERROR_NODE_RANGE);
    NEED(pyad_tape_backward(tape, PYAD_CONSTANT, 1) == PYAD_ERROR_NODE_RANGE);
    NEED(pyad_tape_length(tape) == length && result.value == 7 && result.node == 7);
    NEED(pyad_op_describe(-1) == NULL && pyad_op_describe(PYAD_OP_COUNT) == NULL);
    NEED(isnan(pyad_op_value(PYAD_OP_SUM, 1, 1)) && isnan(pyad_op_value(-5, 1, 1)));
    printf("%s: %s\n", pyad_error_name(PYAD_ERROR_NODE_RANGE),
           pyad_error_builtin(PYAD_ERROR_NODE_RANGE));
    return 0;
}

static int many_arguments(pyad_tape *tape)
{
    pyad_operand x, y, result;
    NEED(pyad_tape_leaf(tape, 3, &x) == PYAD_OK);
    NEED(pyad_tape_leaf(tape, 4, &y) == PYAD_OK);
    const pyad_operand both[] = {x, y}, pairs[] = {x, y, {2, PYAD_CONSTANT}, y};
    const pyad_operand constant = {5, PYAD_CONSTANT};
    const double partials[] = {0.5, -0.5};
    NEED(pyad_tape_apply_many(tape, PYAD_OP_NORM, 2, both, &result) == PYAD_OK);
    NEED(result.value == 5);
    NEED(pyad_tape_apply_many(tape, PYAD_OP_DOT, 4, pairs, &result) == PYAD_OK);
    NEED(pyad_tape_backward(tape, result.node, 1) == PYAD_OK);
    printf("%.17g %.17g %.17g\n", result.value, pyad_tape_adjoint(tape, x.node),
           pyad_tape_adjoint(tape, y.node));
    NEED(pyad_tape_given(tape, 42, 2, both, partials, &result) == PYAD_OK);
    NEED(pyad_tape_backward(tape, result.node, 2) == PYAD_OK);
    printf("%.17g %.17g %.17g\n", result.value, pyad_tape_adjoint(tape, x.node),
           pyad_tape_adjoint(tape, y.node));
    size_t length = pyad_tape_length(tape);
    NEED(pyad_tape_apply(tape, PYAD_OP_EXP, constant, none, &result) == PYAD_OK);
    NEED(result.node == PYAD_CONSTANT && pyad_tape_length(tape) == length);
    NEED(pyad_tape_apply_many(tape, PYAD_OP_SUM, 0, NULL, &result) == PYAD_OK);
    NEED(result.node == PYAD_CONSTANT && result.value == 0);
    return 0;
}

/* A pinned array stays as it is when the tape starts again, and when it is gone. */
static int use_again(pyad_tape *tape)
{
    const double *values = pyad_tape_pin_values(tape);
    const double first = values[0];
    pyad_operand y, x = {0, 0};
    for (int turn = 0; turn < 3; turn++) {
        pyad_tape_clear(tape);
        NEED(pyad_tape_length(tape) == 0 && pyad_tape_nbytes(tape) == 0);
        NEED(pyad_tape_leaf(tape, 1.5, &x) == PYAD_OK);
        y = x;
        for (int i = 0; i < 5000; i++)
            NEED(pyad_tape_apply(tape, PYAD_OP_POSITIVE, y, none, &y) == PYAD_OK);
        NEED(pyad_tape_backward(tape, y.node, 1) == PYAD_OK);
        NEED(pyad_tape_adjoint(tape, x.node) == 1);
        NEED(values[0] == first);
    }
    pyad_tape_free(tape);
    NEED(values[0] == first);
    pyad_buffer_release(values);
    return 0;
}

static int limit(void)
{
    pyad_operand x, y;
    pyad_tape *tape = pyad_tape_new(10000);
    NEED(tape && pyad_tape_leaf(tape, 1, &x) == PYAD_OK);
    int status = PYAD_OK;
    for (y = x; !status;)
        status = pyad_tape_apply(tape, PYAD_OP_ADD, y, x, &y);
    NEED(status == PYAD_ERROR_NO_MEMORY && y.value == (double)pyad_tape_length(tape));
    NEED(pyad_tape_backward(tape, y.node, 1) == PYAD_OK);
    NEED(pyad_tape_adjoint(tape, x.node) == y.value);
    NEED(pyad_tape_reserved(tape) <= 10000);
    pyad_tape_free(tape);
    pyad_tape_free(NULL);
    return 0;
}

int main(void)
{
    pyad_tape *tape = pyad_tape_new(0);
    return !tape || gradient(tape) || several_seeds(tape) || errors(tape) ||
           many_arguments(tape) || use_again(tape) || limit();
}
