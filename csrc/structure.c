/* What the rows of ops.def say about an operation at every point: which partials are
 * always 0. Read off the text of a partial, K(0), never off its value at one point: a
 * sparsity pattern must hold at later points too. An operation of any number of arguments
 * has no partials in its row; it counts as curved in all of them unless it is named
 * below. */
#include "structure.h"

#include <string.h>

#include "pyad.h"

static const struct {
    const char *da, *db, *daa, *dab, *dbb;
} partials[] = {
#define UNARY(ENUM, NAME, NUMPY, VALUE, DA, DAA, ...) {#DA, "K(0)", #DAA, "K(0)", "K(0)"},
#define BINARY(ENUM, NAME, NUMPY, VALUE, DA, DB, DAA, DAB, DBB, ...)                     \
    {#DA, #DB, #DAA, #DAB, #DBB},
#define NARY(ENUM, NAME, TEXT) {"", "", "", "", ""},
#include "ops.def"
#undef UNARY
#undef BINARY
#undef NARY
};
_Static_assert(sizeof partials / sizeof *partials == PYAD_OP_COUNT, "one row per op");

static int unless_zero(const char *text, int flag)
{
    return strcmp(text, "K(0)") == 0 ? 0 : flag;
}

int pyad_op_structure(int op)
{
    if (op < 0 || op >= PYAD_OP_COUNT)
        return -1;
    switch (op) {
    case PYAD_OP_LEAF:
        return 0;
    case PYAD_OP_SUM:
    case PYAD_OP_LINCOMB:
        return PYAD_IN_A | PYAD_IN_B;
    case PYAD_OP_DOT:
        return PYAD_IN_A | PYAD_IN_B | PYAD_CURVED_AB;
    default:
        return unless_zero(partials[op].da, PYAD_IN_A) |
               unless_zero(partials[op].db, PYAD_IN_B) |
               unless_zero(partials[op].daa, PYAD_CURVED_AA) |
               unless_zero(partials[op].dab, PYAD_CURVED_AB) |
               unless_zero(partials[op].dbb, PYAD_CURVED_BB);
    }
}

int pyad_op_partial_name(int op, int which)
{
    const char *text = which ? partials[op].db : partials[op].da;
    return text[0] && !text[1] ? text[0] : 0;
}
