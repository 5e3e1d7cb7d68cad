/* The tape's number system: what the operators in the rows of ops.def mean where a
 * partial is itself to be recorded. A number is a pyad_operand; every operator records a
 * node, or folds constants (graph.h). They expect a `graph *g` in scope. */
#pragma once
#include "graph.h"
#include "number.h"

#undef K
#undef VAL
#undef FIXED
#undef ADD
#undef SUB
#undef MUL
#undef DIV
#undef POW
#undef XLOGY
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
#define FIXED(X) ((X).node == PYAD_CONSTANT)
#define ADD(X, Y) graph_add(g, X, Y)
#define SUB(X, Y) graph_apply(g, PYAD_OP_SUB, X, Y)
#define MUL(X, Y) graph_mul(g, X, Y)
#define DIV(X, Y) graph_apply(g, PYAD_OP_DIV, X, Y)
#define POW(X, Y) graph_apply(g, PYAD_OP_POW, X, Y)
#define XLOGY(X, Y) graph_apply(g, PYAD_OP_XLOGY, X, Y)
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
