/* The life of blocks on a tape: room for them, dropping them, what they say per node. */
#pragma once
#include "block.h"

/* Room for so much more of everything; on failure the tape is as it was. Arrays of the
 * tape may move, so that pointers into them are to be read again. */
typedef struct {
    size_t nodes, arguments, blocks, sources, store; /* store: bytes */
} pyad_room;
int pyad_tape_make_room(pyad_tape *tape, const pyad_room *more);

/* The number of blocks that start below a node; the first block from there on. */
uint32_t pyad_tape_blocks_below(const pyad_tape *tape, size_t node);
/* Whether a stretch can begin at this node: it is not inside of a block. */
int pyad_tape_is_boundary(const pyad_tape *tape, size_t node);

/* Write `ops` and `first` for the nodes of all blocks: their operation, no arguments. For
 * whoever goes through the tape node by node. */
void pyad_tape_fill_blocks(const pyad_tape *tape);

/* Bytes in the store that `bytes` take. */
static inline size_t pyad_store_round(size_t bytes) { return (bytes + 7) / 8 * 8; }

static inline const pyad_source *pyad_block_sources(const pyad_tape *tape,
                                                    const pyad_block *block)
{
    return tape->sources + block->first_source;
}

/* As pyad_tape_backward; but of blocks, the adjoints are kept only of leaves, of those
 * that were held (blocks/record.h) and of those marked as elements. The others are never
 * written to memory, which is half of the work where arrays are large. */
int pyad_tape_backward_lean(pyad_tape *tape, uint32_t node, double seed);
