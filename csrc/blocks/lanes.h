/* What the loops of the kernels share. */
#pragma once
#include "../rows.h"

/* Before a loop whose turns may run in any order although its pointers may be equal: out
 * and v are either the same array or apart. */
#if defined(__GNUC__) && !defined(__clang__)
#define ANY_ORDER _Pragma("GCC ivdep")
#else
#define ANY_ORDER
#endif

static inline size_t smaller(size_t a, size_t b) { return a < b ? a : b; }
