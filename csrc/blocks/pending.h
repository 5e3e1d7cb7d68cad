/* Pending maps. Where arrays are large, memory is the cost of an elementwise operation.
 * So a MAP of many elements is only written down when it is recorded; its nodes are
 * reserved. Maps that follow each other are evaluated together, tile by tile, as soon as
 * anything needs a value of them: the numbers of a tile stay in the first cache from one
 * operation to the next.
 *
 *   a batch   maps of one length that follow each other node by node, PYAD_RUN at the
 *             most, and use each other element by element: block->batch is the first of
 *             them. A reverse sweep takes them together, too (map_sweep.c)
 *   pending   the last tape->pending blocks, of one batch: their values are nowhere yet
 *   unstored  a cheap operation whose result nobody held when it was evaluated: its
 *             values were never written, and a sweep computes them again in a tile of
 *             its own; at most PYAD_UNSTORED of a batch
 *
 * Invariant: a block without values on the tape is an operand of maps of its own batch
 * only, and of the sum that ends it; whoever refers to it later stores it first. Values
 * are the same, to the last bit, as those of maps evaluated one by one, and so are the
 * adjoints: batches do not depend on what waits. Evaluating allocates nothing and cannot
 * fail. */
#pragma once
#include "record.h"
#include "sweep.h"

/* The doors to tape->values. The tape is const where it counts as unchanged: what they
 * write is what was recorded. */

/* Evaluate what is pending. */
void pyad_tape_settle(const pyad_tape *tape);
/* All values are on the tape. */
void pyad_tape_store_values(const pyad_tape *tape);
/* Those of a block are. */
void pyad_block_store_values(const pyad_tape *tape, uint32_t block);
/* The values of a block, all of them. */
static inline const double *pyad_block_values(const pyad_tape *tape, uint32_t block)
{
    if (tape->blocks[block].flags & PYAD_BLOCK_UNSTORED)
        pyad_block_store_values(tape, block);
    return tape->values + tape->blocks[block].start;
}

/* Nobody holds the result any longer: while it is pending, it need not be stored. */
static inline void pyad_block_drop(pyad_tape *tape, uint32_t block)
{
    if (block < tape->block_count && tape->block_count - block <= tape->pending)
        tape->blocks[block].flags |= PYAD_BLOCK_DROPPED;
}

/* For recording a map of `count` elements of these operands, which are on the tape: its
 * batch, and whether it can be evaluated together with what is pending. */
uint32_t pyad_map_batch(const pyad_tape *tape, size_t count, size_t operands,
                        const pyad_vector *x);
int pyad_map_can_join(const pyad_tape *tape, uint32_t map_batch, size_t operands,
                      const pyad_vector *x);
/* Whether the nodes are the whole of the last map, which is pending. */
int pyad_is_last_pending(const pyad_tape *tape, uint32_t node, size_t count);
/* Evaluate what is pending, and the sum of the last map in NumPy's order. */
double pyad_tape_settle_sum(pyad_tape *tape);
