/* Rows of a sweep over the stretch [from, length) of a tape: row i - from + 1 belongs to
 * node i, row 0 to the constants and to the nodes below `from`, which count as constants.
 * Several numbers of one node lie side by side, so the inner loops are over them and run
 * in vector lanes. */
#pragma once
#include <math.h>

#include "tape.h"

/* The widest set of instructions of the machine is chosen at load time. */
#if defined(__x86_64__) && defined(__GLIBC__) && defined(__GNUC__) &&                    \
    !defined(__clang__) && !defined(__SANITIZE_ADDRESS__)
#define WIDEST_LANES __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define WIDEST_LANES
#endif

/* Inlined where `width` is a constant, so that each width has loops of its own. */
#if defined(__GNUC__)
#define INLINED static inline __attribute__((always_inline))
#define NOT_INLINED static __attribute__((noinline))
#else
#define INLINED static inline
#define NOT_INLINED static
#endif

/* The index of a constant, 2**32 - 1, and those below `from` wrap round to a row beyond
 * the last. A mask, not a choice: which arguments are constants cannot be predicted. */
static inline size_t row_of(uint32_t index, uint32_t from, uint32_t count)
{
    uint32_t row = index - from + 1;
    return row & (0 - (uint32_t)(row <= count));
}

/* The `count` for row_of. From 0 on only the constants wrap round, and to row 0, whatever
 * the count: where the compiler knows `from` to be 0, the mask costs nothing. */
static inline uint32_t count_of(size_t from, size_t end)
{
    return from == 0 ? UINT32_MAX : (uint32_t)(end - from);
}

/* The rare cases are calls: inlined, their branches would break up the vector loops. */
NOT_INLINED int is_zero_beyond_first(size_t width, const double *row)
{
    for (size_t s = 1; s < width; s++)
        if (row[s] != 0)
            return 0;
    return 1;
}

NOT_INLINED void add_scaled_nonzero(size_t width, double weight, const double *from,
                                    double *to)
{
    for (size_t s = 0; s < width; s++)
        if (from[s] != 0)
            to[s] += weight * from[s];
}

INLINED int is_zero(size_t width, const double *row)
{
    return width == 0 ||
           (row[0] == 0 && (width == 1 || is_zero_beyond_first(width, row)));
}

/* to += weight * from, where infinity * 0 is 0. */
INLINED void add_scaled(size_t width, double weight, const double *restrict from,
                        double *restrict to)
{
    if (!isfinite(weight))
        add_scaled_nonzero(width, weight, from, to);
    else
        for (size_t s = 0; s < width; s++)
            to[s] += weight * from[s];
}
