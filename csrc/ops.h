/* The operations by name, PYAD_OP_ADD ..., and the errors, PYAD_ERROR_NO_MEMORY ...: for
 * C callers; the binding reads both tables through the functions of pyad.h. */
#pragma once
#include <stdint.h>

#define PYAD_CONSTANT UINT32_MAX

enum pyad_op {
#define UNARY(ENUM, ...) PYAD_OP_##ENUM,
#define BINARY(ENUM, ...) PYAD_OP_##ENUM,
#define NARY(ENUM, ...) PYAD_OP_##ENUM,
#include "ops.def"
#undef UNARY
#undef BINARY
#undef NARY
    PYAD_OP_COUNT
};
_Static_assert(PYAD_OP_COUNT <= 256, "an operation is one byte on the tape");

enum pyad_error {
    PYAD_OK = 0,
#define ERROR(ENUM, BUILTIN, TEXT) PYAD_ERROR_##ENUM,
#include "errors.def"
#undef ERROR
    PYAD_ERROR_COUNT
};
