/* Recording blocks. Each function computes the values of a block, pushes it, and gives
 * its number; on failure the tape is as it was. Counts are never 0: an empty array has
 * nothing to differentiate. */
#pragma once
#include "block.h"

/* An operand: numbers, and where they stand on the tape if they do. Constants are copied
 * to the tape's store; `values` may point into the tape's own arrays. */
typedef struct {
    const double *values; /* `count` of them */
    uint32_t node;        /* the first node; PYAD_CONSTANT: constants */
    uint32_t block;       /* that the nodes lie in; PYAD_NO_BLOCK: one scalar node */
    uint32_t step;        /* 1, or 0: the one number stands for all elements */
    size_t count;
} pyad_vector;

int pyad_block_leaf(pyad_tape *tape, size_t count, const double *values, uint32_t *block);
/* `order` as in pyad_block; b is not looked at by operations of one argument. At least
 * one operand is on the tape. */
int pyad_block_map(pyad_tape *tape, int op, int order, size_t count, pyad_vector a,
                   pyad_vector b, uint32_t *block);
/* Shapes and strides as they come; they are simplified here. `x` is on the tape. */
int pyad_block_spread(pyad_tape *tape, pyad_vector x, size_t ndim, const int64_t *shape,
                      const int64_t *stride, int64_t offset, uint32_t *block);
int pyad_block_collect(pyad_tape *tape, pyad_vector x, size_t ndim, const int64_t *shape,
                       const int64_t *stride, int64_t offset, size_t count,
                       uint32_t *block);
/* `first` NULL: one entry for each node; `weights` NULL: all 1. Every block that a row
 * refers to must have been marked. */
int pyad_block_linear(pyad_tape *tape, size_t count, const double *values,
                      const uint32_t *first, size_t entries, const uint32_t *rows,
                      const double *weights, uint32_t *block);
/* The same with the constant part of each sum (NULL: what the values leave for it). */
int pyad_block_affine(pyad_tape *tape, size_t count, const double *values,
                      const uint32_t *first, size_t entries, const uint32_t *rows,
                      const double *weights, const double *base, uint32_t *block);
int pyad_block_product(pyad_tape *tape, const pyad_product *product, pyad_vector a,
                       pyad_vector b, uint32_t *block);
int pyad_block_cumsum(pyad_tape *tape, const pyad_cumsum *cumsum, pyad_vector x,
                      uint32_t *block);
/* The rule is retained. */
int pyad_block_call(pyad_tape *tape, pyad_rule *rule, size_t count, const double *values,
                    size_t sources, const pyad_vector *x, uint32_t *block);

/* Scalar nodes or rows are going to refer to nodes of this block one by one. */
static inline void pyad_block_mark(pyad_tape *tape, uint32_t block)
{
    tape->blocks[block].flags |= PYAD_BLOCK_ELEMENTS;
}

/* The adjoints of this block are going to be read after pyad_tape_backward_lean. */
static inline void pyad_block_hold(pyad_tape *tape, uint32_t block)
{
    tape->blocks[block].flags |= PYAD_BLOCK_HELD;
}

/* Take back every node from `length` on, and the blocks among them. */
void pyad_tape_truncate(pyad_tape *tape, size_t length, size_t arguments);
