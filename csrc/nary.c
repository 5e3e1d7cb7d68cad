/* Operations of any number of arguments: sum, dot, lincomb, prod, logsumexp, norm, and
 * nodes whose partials the caller gives. One node however long the operation, so a sweep
 * passes it as one row. */
#include "buffer.h"
#include "record.h"
#include "special.h"

/* Scratch of one recording: `count` numbers x (and y, for pairs), partials in dx (and
 * dy). */
typedef struct {
    size_t count;
    double *x, *y, *dx, *dy;
} terms;

static int terms_new(terms *t, size_t count, const pyad_operand *arguments, int pairs)
{
    if (count > SIZE_MAX / 64)
        return PYAD_ERROR_NO_MEMORY;
    t->count = pairs ? count / 2 : count;
    t->x = pyad_buffer_new((2 * count + 1) * sizeof(double));
    if (!t->x)
        return PYAD_ERROR_NO_MEMORY;
    t->y = t->x + t->count;
    t->dx = t->x + count;
    t->dy = t->dx + t->count;
    for (size_t i = 0; i < t->count; i++) {
        t->x[i] = arguments[pairs ? 2 * i : i].value;
        if (pairs)
            t->y[i] = arguments[2 * i + 1].value;
    }
    return PYAD_OK;
}

/* ---- value and partials ----------------------------------------------------------- */

static double evaluate(int op, terms *t)
{
    switch (op) {
    case PYAD_OP_SUM:
        return pyad_many_sum(t->count, t->x, t->y, t->dx, t->dy);
    case PYAD_OP_PROD:
        return pyad_many_prod(t->count, t->x, t->y, t->dx, t->dy);
    case PYAD_OP_LOGSUMEXP:
        return pyad_many_logsumexp(t->count, t->x, t->y, t->dx, t->dy);
    case PYAD_OP_NORM:
        return pyad_many_norm(t->count, t->x, t->y, t->dx, t->dy);
    default:
        return pyad_many_dot(t->count, t->x, t->y, t->dx, t->dy);
    }
}

static int takes_pairs(int op) { return op == PYAD_OP_DOT || op == PYAD_OP_LINCOMB; }

static int count_fits(int op, size_t count)
{
    return op >= PYAD_OP_SUM && op <= PYAD_OP_NORM && !(takes_pairs(op) && count % 2);
}

int pyad_op_many(int op, size_t count, const pyad_operand *arguments, double *value,
                 double *partials)
{
    int pairs = takes_pairs(op);
    terms t;
    int status = count_fits(op, count) ? terms_new(&t, count, arguments, pairs)
                                       : PYAD_ERROR_OPERATION_UNKNOWN;
    if (status)
        return status;
    *value = evaluate(op, &t);
    for (size_t i = 0; i < t.count; i++) {
        partials[pairs ? 2 * i : i] = t.dx[i];
        if (pairs)
            partials[2 * i + 1] = t.dy[i];
    }
    pyad_buffer_release(t.x);
    return PYAD_OK;
}

/* ---- recording -------------------------------------------------------------------- */

/* Checks the count, and every node number; *variable tells whether any argument is a
 * variable. */
static int check(const pyad_tape *tape, size_t count, const pyad_operand *arguments,
                 int *variable)
{
    *variable = 0;
    if (count > UINT32_MAX - tape->arguments)
        return PYAD_ERROR_TAPE_FULL;
    for (size_t i = 0; i < count; i++) {
        if (arguments[i].node == PYAD_CONSTANT)
            continue;
        if (arguments[i].node >= tape->length)
            return PYAD_ERROR_NODE_RANGE;
        *variable = 1;
    }
    return PYAD_OK;
}

static void write_argument(pyad_tape *tape, size_t k, pyad_operand x, double partial)
{
    tape->indices[tape->arguments + k] = x.node;
    tape->weights[tape->arguments + k] = x.node == PYAD_CONSTANT ? x.value : partial;
}

/* A lincomb keeps its x only, the coefficients are the weights; a constant x leaves its
 * whole term. */
static void write_arguments(pyad_tape *tape, int op, const terms *t,
                            const pyad_operand *x)
{
    for (size_t i = 0; i < t->count; i++) {
        if (op == PYAD_OP_DOT) {
            write_argument(tape, 2 * i, x[2 * i], t->dx[i]);
            write_argument(tape, 2 * i + 1, x[2 * i + 1], t->dy[i]);
        } else if (op == PYAD_OP_LINCOMB) {
            pyad_operand term = {t->x[i] * t->y[i], x[2 * i + 1].node};
            write_argument(tape, i, term, t->x[i]);
        } else {
            write_argument(tape, i, x[i], t->dx[i]);
        }
    }
}

/* A lincomb with a variable coefficient is a dot. */
static int operation_for(int op, size_t count, const pyad_operand *arguments)
{
    for (size_t i = 0; op == PYAD_OP_LINCOMB && i < count; i += 2)
        if (arguments[i].node != PYAD_CONSTANT)
            return PYAD_OP_DOT;
    return op;
}

int pyad_tape_apply_many(pyad_tape *tape, int op, size_t count,
                         const pyad_operand *arguments, pyad_operand *result)
{
    int pairs = takes_pairs(op);
    int variable;
    if (!count_fits(op, count))
        return PYAD_ERROR_OPERATION_UNKNOWN;
    int status = check(tape, count, arguments, &variable);
    op = operation_for(op, count, arguments);
    size_t kept = op == PYAD_OP_LINCOMB ? count / 2 : count;
    if (!status && variable)
        status = pyad_tape_reserve(tape, 1, kept);
    terms t;
    if (!status)
        status = terms_new(&t, count, arguments, pairs);
    if (status)
        return status;
    *result = (pyad_operand){evaluate(op, &t), PYAD_CONSTANT};
    if (variable) {
        write_arguments(tape, op, &t, arguments);
        result->node = pyad_push_node(tape, op, result->value, kept);
    }
    pyad_buffer_release(t.x);
    return PYAD_OK;
}

int pyad_tape_given(pyad_tape *tape, double value, size_t count,
                    const pyad_operand *arguments, const double *partials,
                    pyad_operand *result)
{
    int variable;
    int status = check(tape, count, arguments, &variable);
    if (!status && variable)
        status = pyad_tape_reserve(tape, 1, count);
    if (status)
        return status;
    for (size_t i = 0; variable && i < count; i++)
        write_argument(tape, i, arguments[i], partials[i]);
    uint32_t node =
        variable ? pyad_push_node(tape, PYAD_OP_GIVEN, value, count) : PYAD_CONSTANT;
    *result = (pyad_operand){value, node};
    return PYAD_OK;
}
