/* Partials whose cost is a function that has a loop of its own: see partials.def. */
#pragma once
#include "block.h"

/* As pyad_map_part, of at most PYAD_TILE numbers side by side; b is never NULL. 1 if it
 * was done; 0 if there is no such loop, or a number is an odd case that is left to the
 * row. */
int pyad_partial_by_loops(const pyad_loops *loops, int op, enum pyad_part part,
                          size_t count, const double *a, const double *b, const double *v,
                          double *out);
