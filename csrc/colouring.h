/* Between the colourings of Jacobians (colouring.c) and of Hessians (star_colouring.c).
 */
#pragma once
#include <string.h>

#include "pattern.h"

enum { NO_COLOUR = UINT32_MAX };

static inline size_t pyad_degree(const pyad_pattern *pattern, size_t row)
{
    return pattern->first[row + 1] - pattern->first[row];
}

/* ---- sets of colours, as bits -------------------------------------------------------
 */

static inline void pyad_use_colour(uint64_t *set, uint32_t colour)
{
    set[colour / 64] |= (uint64_t)1 << colour % 64;
}

static inline int pyad_has_colour(const uint64_t *set, uint32_t colour)
{
    return set[colour / 64] >> colour % 64 & 1;
}

/* The smallest colour not in the set, which is cleared; its elements are below `count`.
 */
static inline uint32_t pyad_take_smallest(uint64_t *set, size_t count)
{
    uint32_t colour = 0;
    while (set[colour / 64] == UINT64_MAX)
        colour += 64;
    while (set[colour / 64] >> colour % 64 & 1)
        colour++;
    memset(set, 0, (count + 63) / 64 * sizeof *set);
    return colour;
}

/* ---- shared --------------------------------------------------------------------------
 */

size_t pyad_largest_degree(const pyad_pattern *pattern);
/* A new buffer of `count` items, every byte of them set; NULL if there is no memory. */
uint32_t *pyad_new_items(size_t count, int byte);
/* Numbers 0 ... count - 1 by falling weight, equal ones in their order. A weight counts
 * as `count` if it is larger. */
int pyad_order_by_weight(size_t count, const size_t *weights, uint32_t *order);
/* Colours such that no two columns of one colour have an entry in a common row. */
int pyad_colour_columns(const pyad_pattern *by_row, const pyad_pattern *by_column,
                        uint32_t *colours, size_t *count);
/* Where there is no entry there is nothing to sweep for. */
int pyad_no_colours(size_t length, uint32_t *colours, size_t *count);
