/* Guards: what a recording knows of the decisions that were taken on its values. While a
 * tape is guarding, each comparison of a recorded number is kept with its outcome, and a
 * replay at another point is right if all of them come out the same again. It is the
 * outcome that is kept, also a false one, so that NaN, for which every comparison but !=
 * is false, needs no rule of its own.
 *
 *   guards   { relation, a, b, outcome }           of two numbers
 *   blocks   { relation, a, b, count, outcomes }   element by element
 *   reads    how often a value left the recording, or was decided on in a way that no
 *            comparison describes: a recording with reads fits its own point only
 *
 * Constants and outcomes of blocks lie in `store`, addressed by offset. Guards belong to
 * nodes: those on nodes that are taken back go with them (pyad_guards_truncate). */
#pragma once
#include "blocks/record.h"

typedef struct {
    pyad_source a, b; /* `data` of constants: byte offset in the store of the guards */
    size_t count;
    size_t outcomes; /* byte offset in the store: `count` bytes, 0 or 1 */
    uint8_t relation;
} pyad_block_guard;

typedef struct pyad_guards {
    size_t depth; /* how often guarding was begun, and not yet ended */
    pyad_guard *all;
    size_t count, capacity;
    pyad_block_guard *blocks;
    size_t block_count, block_capacity;
    unsigned char *store;
    size_t store_length, store_capacity;
    size_t reads;
} pyad_guards;

/* What a comparison gives. */
static inline int pyad_guard_compare(int relation, double a, double b)
{
    switch (relation) {
    case PYAD_LESS:
        return a < b;
    case PYAD_LESS_EQUAL:
        return a <= b;
    case PYAD_EQUAL:
        return a == b;
    default:
        return a != b;
    }
}

/* Guard `count` comparisons of operands as blocks have them; outcomes[i] is set to what
 * each gives now. */
int pyad_tape_guard_block(pyad_tape *tape, int relation, size_t count, pyad_vector a,
                          pyad_vector b, uint8_t *outcomes);
/* The values of an operand of a block guard. */
const double *pyad_guard_values(const pyad_tape *tape, const pyad_source *x);

/* The nodes from `length` on are going to be taken back. A guard on them whose nodes
 * depend on nothing below is about constants from now on; any other is lost, which counts
 * as a read. `open` says that they depend on something that is no node below. */
void pyad_guards_truncate(pyad_tape *tape, size_t length, int open);
void pyad_guards_free(pyad_guards *guards);
