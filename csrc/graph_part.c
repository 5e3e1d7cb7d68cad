/* The partials of the rows of ops.def as recorded operations: the rows, expanded in the
 * tape's number system. Partials of operations of any number of arguments are in
 * graph.c. */
#include <string.h>

#include "blocks/record.h"
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

static pyad_operand write_out(graph *g, int op, int part, pyad_operand A, pyad_operand B,
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

/* ---- while guarding --------------------------------------------------------------- */

/* Whether the row of this partial chooses by values: its text, expanded, tells. */
static int looks_at_values(int op, int part)
{
#define TEXT_OF(...) #__VA_ARGS__
#define TEXT(X) TEXT_OF(X)
    static const char *const rows[PYAD_OP_COUNT][5] = {
#define UNARY(ENUM, NAME, NUMPY, VALUE, DA, DAA, ...)                                    \
    [PYAD_OP_##ENUM] = {TEXT(DA), "", TEXT(DAA), "", ""},
#define BINARY(ENUM, NAME, NUMPY, VALUE, DA, DB, DAA, DAB, DBB, ...)                     \
    [PYAD_OP_##ENUM] = {TEXT(DA), TEXT(DB), TEXT(DAA), TEXT(DAB), TEXT(DBB)},
#define NARY(ENUM, NAME, TEXT)
#include "ops.def"
#undef UNARY
#undef BINARY
#undef NARY
    };
    const char *row = rows[op][part - PYAD_DA];
    return row && strstr(row, ".value") != NULL;
}

static pyad_vector one_number(const pyad_tape *tape, const pyad_operand *x)
{
    uint32_t block =
        x->node == PYAD_CONSTANT ? PYAD_NO_BLOCK : pyad_tape_block_of(tape, x->node);
    return (pyad_vector){
        .values = &x->value, .node = x->node, .block = block, .count = 1};
}

/* The partial as one instruction, which chooses anew at each point. */
static pyad_operand as_instruction(graph *g, int op, int part, pyad_operand A,
                                   pyad_operand B)
{
    uint32_t block;
    if (A.node == PYAD_CONSTANT &&
        (B.node == PYAD_CONSTANT || pyad_op_describe(op)->arguments == 1)) {
        pyad_partials p;
        pyad_op_partials(op, A.value, B.value, &p);
        return graph_constant(part == PYAD_DA ? p.da : p.db);
    }
    g->status = pyad_block_map(g->tape, op, part == PYAD_DA ? 1 : 2, 1,
                               one_number(g->tape, &A), one_number(g->tape, &B), &block);
    if (g->status)
        return graph_constant(PYAD_NAN);
    uint32_t node = g->tape->blocks[block].start;
    pyad_block_mark(g->tape, block);
    return (pyad_operand){g->tape->values[node], node};
}

/* What is usually positive is guarded, so that its partial stays an expression. */
static int guard_positive(graph *g, int op, int part, pyad_operand A, pyad_operand V)
{
    const pyad_operand x = op == PYAD_OP_SQRT ? V : A;
    const int known = op == PYAD_OP_SQRT || op == PYAD_OP_LOG || op == PYAD_OP_LOG2 ||
                      op == PYAD_OP_LOG10;
    if (!known || part != PYAD_DA || !(x.value > 0))
        return 0;
    g->status = pyad_tape_guard(g->tape, PYAD_LESS, graph_constant(0), x);
    return 1;
}

/* Choices are decisions on recorded numbers, which a guard has to tell, or an instruction
 * that makes the choice itself. Of second partials there is none. */
pyad_operand pyad_graph_part(graph *g, int op, int part, pyad_operand A, pyad_operand B,
                             pyad_operand V)
{
    if (g->tape->guards && !g->status && looks_at_values(op, part) &&
        !guard_positive(g, op, part, A, V)) {
        if (part == PYAD_DA || part == PYAD_DB)
            return as_instruction(g, op, part, A, B);
        pyad_tape_read(g->tape);
    }
    return write_out(g, op, part, A, B, V);
}
