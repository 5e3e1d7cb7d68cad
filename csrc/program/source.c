/* The rows of ops.def as C source: what the compiler makes of them, as text. */
#include "../number.h"
#include "program.h"

#define TEXT(...) #__VA_ARGS__
#define EXPANDED(...) TEXT(__VA_ARGS__)

const char *pyad_op_source(int op, int part)
{
#undef PYAD_NAN
#undef PYAD_INFINITY
#define PYAD_NAN ((0.0) / (0.0))
#define PYAD_INFINITY ((1.0) / (0.0))
    static const char *const sources[PYAD_OP_COUNT][6] = {
#define UNARY(ENUM, NAME, NUMPY, VALUE, DA, DAA, ...)                                    \
    [PYAD_OP_##ENUM] = {EXPANDED(VALUE), EXPANDED(DA), NULL, EXPANDED(DAA), NULL, NULL},
#define BINARY(ENUM, NAME, NUMPY, VALUE, DA, DB, DAA, DAB, DBB, ...)                     \
    [PYAD_OP_##ENUM] = {EXPANDED(VALUE), EXPANDED(DA),  EXPANDED(DB),                    \
                        EXPANDED(DAA),   EXPANDED(DAB), EXPANDED(DBB)},
#define NARY(...)
#include "../ops.def"
#undef UNARY
#undef BINARY
#undef NARY
    };
    return op >= 0 && op < PYAD_OP_COUNT && part >= 0 && part < 6 ? sources[op][part]
                                                                  : NULL;
}
