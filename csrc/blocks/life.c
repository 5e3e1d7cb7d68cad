/* The life of blocks on a tape. A block owns the stretch of the store from `store` on and
 * a reference to its rule; dropping blocks goes back to what was before the first. */
#include "life.h"

#include <string.h>

#include "../guard.h"

uint32_t pyad_tape_blocks_below(const pyad_tape *tape, size_t node)
{
    size_t low = 0, high = tape->block_count;
    if (high && tape->blocks[high - 1].start < node)
        return (uint32_t)high;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (tape->blocks[middle].start < node)
            low = middle + 1;
        else
            high = middle;
    }
    return (uint32_t)low;
}

uint32_t pyad_tape_block_of(const pyad_tape *tape, uint32_t node)
{
    uint32_t above = pyad_tape_blocks_below(tape, (size_t)node + 1);
    if (!above)
        return PYAD_NO_BLOCK;
    const pyad_block *block = &tape->blocks[above - 1];
    return node - block->start < block->count ? above - 1 : PYAD_NO_BLOCK;
}

int pyad_tape_is_boundary(const pyad_tape *tape, size_t node)
{
    uint32_t above = pyad_tape_blocks_below(tape, node);
    if (!above)
        return 1;
    const pyad_block *block = &tape->blocks[above - 1];
    return (size_t)block->start + block->count <= node;
}

void pyad_tape_fill_blocks(const pyad_tape *tape)
{
    for (size_t b = 0; b < tape->block_count; b++) {
        const pyad_block *block = &tape->blocks[b];
        memset(tape->ops + block->start, block->op, block->count);
        for (size_t i = 0; i < block->count; i++)
            tape->first[block->start + i] = (uint32_t)block->arguments;
    }
}

void pyad_tape_truncate(pyad_tape *tape, size_t length, size_t arguments)
{
    if (tape->guards)
        pyad_guards_truncate(tape, length, 0);
    while (tape->block_count && tape->blocks[tape->block_count - 1].start >= length) {
        const pyad_block *block = &tape->blocks[--tape->block_count];
        if (tape->pending)
            tape->pending--;
        else if (block->flags & PYAD_BLOCK_UNSTORED)
            tape->unstored--;
        tape->source_count = block->first_source;
        tape->store_length = block->store;
        if (block->rule)
            block->rule->release(block->rule);
    }
    tape->length = length;
    tape->arguments = arguments;
}
