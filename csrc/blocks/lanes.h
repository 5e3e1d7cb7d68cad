/* What the loops of the kernels share. */
#pragma once
#include <stdint.h>
#include <string.h>

#include "../rows.h"

/* Before a loop whose turns may run in any order although its pointers may be equal: out
 * and v are either the same array or apart. */
#if defined(__GNUC__) && !defined(__clang__)
#define ANY_ORDER _Pragma("GCC ivdep")
#else
#define ANY_ORDER
#endif

static inline size_t smaller(size_t a, size_t b) { return a < b ? a : b; }

/* Whether dividing by x is, to the last bit, multiplying by *reciprocal: x is a power of
 * two, and so is 1/x. A product takes an eighth of the time. */
static inline int has_exact_reciprocal(double x, double *reciprocal)
{
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    const unsigned exponent = bits >> 52 & 0x7ff;
    *reciprocal = 1 / x;
    return bits << 12 == 0 && exponent > 0 && exponent < 2046;
}
