/* The partials of the rows of ops.def as recorded operations: the rows, expanded in the
 * tape's number system. Partials of operations of any number of arguments are in
 * graph.c. */
#include "blocks/block.h"
#include "number_tape.h"

/* The chosen one alone is recorded, the others are not looked at. */
#define CHOOSE(DA, DB, DAA, DAB, DBB)                                                    \
    switch (part) {                                                                      \
    case PYAD_DA:                                                                        \
        return DA;                                                                       \
    case PYAD_DB:                                                                        \
        return DB;                                                                       \
    case PYAD_DAA:                                                                       \
        return DAA;                                                                      \
    case PYAD_DAB:                                                                       \
        return DAB;                                                                      \
    default:                                                                             \
        return DBB;                                                                      \
    }

pyad_operand pyad_graph_part(graph *g, int op, int part, pyad_operand A, pyad_operand B,
                             pyad_operand V)
{
    switch (op) {
#define UNARY(ENUM, NAME, NUMPY, VALUE, DA, DAA, ...)                                    \
    case PYAD_OP_##ENUM:                                                                 \
        CHOOSE(DA, K(0), DAA, K(0), K(0))
#define BINARY(ENUM, NAME, NUMPY, VALUE, DA, DB, DAA, DAB, DBB, ...)                     \
    case PYAD_OP_##ENUM:                                                                 \
        CHOOSE(DA, DB, DAA, DAB, DBB)
#define NARY(ENUM, NAME, TEXT)
#include "ops.def"
#undef UNARY
#undef BINARY
#undef NARY
    default:
        g->status = g->status ? g->status : PYAD_ERROR_GIVEN_SECOND;
        return graph_constant(PYAD_NAN);
    }
}
