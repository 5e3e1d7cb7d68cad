/* The second-order sweep over blocks: what csrc/second.c calls between two stretches of
 * scalar nodes. */
#pragma once
#include "block.h"

/* Rows as in pyad_tape_second; the tangents are those of the forward half. */
typedef struct {
    const pyad_tape *tape;
    size_t from, directions;
    const double *tangents;
    double *adjoints, *second;
} pyad_second;

/* PYAD_OK, or PYAD_ERROR_NEEDS_RECORDING where a block has no second partials: a rule of
 * the caller, or a map that is a partial itself. */
int pyad_second_check(const pyad_tape *tape, size_t from);
/* The reverse step of one block. A status. */
int pyad_second_block(const pyad_second *s, uint32_t block);
