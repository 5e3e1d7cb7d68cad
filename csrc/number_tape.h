/* The tape's number system: what the operators in the rows of ops.def mean where a
 * partial is itself to be recorded. A number is a pyad_operand; every operator records a
 * node, or folds constants. They expect a `graph *g` in scope, whose status tells in the
 * end whether all of them could be recorded. */
#pragma once
#include "number.h"
#include "pyad.h"
#include "ops.h"

typedef struct {
    pyad_tape *tape;
    int status; /* of the first operation that failed */
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
    pyad_operand result = graph_constant(PYAD_NAN);
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

#undef K
#undef VAL
#undef ADD
#undef SUB
#undef MUL
#undef DIV
#undef POW
#undef NEG
#undef SQUARE
#undef SIGN
#undef COPYSIGN
#undef RINT
#undef SQRT
#undef EXP
#undef LOG
#undef SIN
#undef COS
#undef SINH
#undef COSH
#undef TANH
#undef HYPOT
#undef EXPIT
#undef NDTR
#undef NDTR_EXCESS
#undef DIGAMMA
#undef POLYGAMMA

#define GRAPH_1(OP, X) graph_apply(g, PYAD_OP_##OP, X, graph_constant(0))
#define K(CONSTANT) graph_constant((double)(CONSTANT))
#define VAL(X) ((X).value)
#define ADD(X, Y) graph_add(g, X, Y)
#define SUB(X, Y) graph_apply(g, PYAD_OP_SUB, X, Y)
#define MUL(X, Y) graph_mul(g, X, Y)
#define DIV(X, Y) graph_apply(g, PYAD_OP_DIV, X, Y)
#define POW(X, Y) graph_apply(g, PYAD_OP_POW, X, Y)
#define NEG(X) GRAPH_1(NEG, X)
#define SQUARE(X) GRAPH_1(SQUARE, X)
#define SIGN(X) GRAPH_1(SIGN, X)
#define COPYSIGN(X, Y) graph_apply(g, PYAD_OP_COPYSIGN, X, Y)
#define RINT(X) GRAPH_1(RINT, X)
#define SQRT(X) GRAPH_1(SQRT, X)
#define EXP(X) GRAPH_1(EXP, X)
#define LOG(X) GRAPH_1(LOG, X)
#define SIN(X) GRAPH_1(SIN, X)
#define COS(X) GRAPH_1(COS, X)
#define SINH(X) GRAPH_1(SINH, X)
#define COSH(X) GRAPH_1(COSH, X)
#define TANH(X) GRAPH_1(TANH, X)
#define HYPOT(X, Y) graph_apply(g, PYAD_OP_HYPOT, X, Y)
#define EXPIT(X) GRAPH_1(EXPIT, X)
#define NDTR(X) GRAPH_1(NDTR, X)
#define NDTR_EXCESS(X) GRAPH_1(NDTR_EXCESS, X)
#define DIGAMMA(X) GRAPH_1(DIGAMMA, X)
#define POLYGAMMA(N, X) graph_apply(g, PYAD_OP_POLYGAMMA, N, X)
