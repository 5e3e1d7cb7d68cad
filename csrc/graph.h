/* Recorded numbers: operands, and operations on them that record a node or fold
 * constants. The first operation that fails leaves its status in the graph, and all later
 * ones do nothing: so that an expression can be written as one, and asked about in the
 * end. */
#pragma once
#include <math.h>

#include "ops.h"
#include "pyad.h"

typedef struct {
    pyad_tape *tape;
    int status; /* of the first operation that failed */
    void *pool; /* constants of a sweep over blocks (blocks/numbers.h) */
} graph;

static inline pyad_operand graph_constant(double value)
{
    return (pyad_operand){value, PYAD_CONSTANT};
}

static inline int graph_is(pyad_operand x, double value)
{
    return x.node == PYAD_CONSTANT && x.value == value;
}

static inline pyad_operand graph_apply(graph *g, int op, pyad_operand x, pyad_operand y)
{
    pyad_operand result = graph_constant((double)NAN);
    if (!g->status)
        g->status = pyad_tape_apply(g->tape, op, x, y, &result);
    return result;
}

static inline pyad_operand graph_add(graph *g, pyad_operand x, pyad_operand y)
{
    if (graph_is(x, 0))
        return y;
    return graph_is(y, 0) ? x : graph_apply(g, PYAD_OP_ADD, x, y);
}

/* A zero factor gives zero also beside an infinity, as in the sweeps. */
static inline pyad_operand graph_mul(graph *g, pyad_operand x, pyad_operand y)
{
    if (graph_is(x, 0) || graph_is(y, 0))
        return graph_constant(0);
    if (graph_is(x, 1))
        return y;
    return graph_is(y, 1) ? x : graph_apply(g, PYAD_OP_MUL, x, y);
}

/* A partial of an operation, its first one in a (part PYAD_DA of blocks/block.h) to its
 * second one in b (PYAD_DBB), recorded at operands A, B and value V. */
pyad_operand pyad_graph_part(graph *g, int op, int part, pyad_operand A, pyad_operand B,
                             pyad_operand V);
