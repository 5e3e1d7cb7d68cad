/* A recorded sweep over a stretch of the tape, between graph.c, which knows the scalar
 * nodes, and the files of this folder, which know the blocks. Operations that it records
 * come after the stretch; the arrays of the tape may move with each of them. */
#pragma once
#include "numbers.h"

/* Numbers for some elements of a block, that wait for its turn: `weight * x`, from
 * element `offset` on. `next` is the piece before it for the same block, or
 * PYAD_NO_PIECE. */
typedef struct {
    pyad_numbers x;
    double weight;
    uint32_t offset, next;
} pyad_piece;
enum { PYAD_NO_PIECE = UINT32_MAX };

/* The adjoints or tangents of a block: those for all elements, and pieces. */
typedef struct {
    pyad_numbers whole;
    uint32_t piece; /* the last one */
} pyad_block_number;

/* The nodes [from, from + count). `depends` says which of them depend on the variables
 * (of a block: at its first node), `number` holds the adjoint or tangent of each scalar
 * node; both are not even cleared for the other nodes of blocks. */
typedef struct {
    graph g;
    size_t from, count;
    uint8_t *depends;
    pyad_operand *number;
    uint32_t first_block, block_count;
    pyad_block_number *blocks; /* block_count of them */
    pyad_piece *pieces;
    size_t piece_count;
    uint32_t found; /* the block that was looked up last */
} pyad_recorded;

/* ---- the stretch (graph.c) -------------------------------------------------------- */

/* The stretch from `from` to the last of these nodes, or to the end of its block. Freed
 * also if it fails. */
int pyad_recorded_new(pyad_recorded *s, pyad_tape *tape, size_t from, size_t results,
                      const uint32_t *nodes);
void pyad_recorded_free(pyad_recorded *s);

static inline int pyad_recorded_inside(const pyad_recorded *s, uint32_t node)
{
    return node != PYAD_CONSTANT && node >= s->from && node - s->from < s->count;
}

/* The block of a node of the stretch, or PYAD_NO_BLOCK. */
uint32_t pyad_recorded_look_up(pyad_recorded *s, uint32_t node);
static inline uint32_t pyad_recorded_find(pyad_recorded *s, uint32_t node)
{
    if (s->block_count == 0 || !pyad_recorded_inside(s, node))
        return PYAD_NO_BLOCK;
    return pyad_recorded_look_up(s, node);
}

/* Whether a node of the stretch depends on the variables. */
static inline uint8_t *pyad_recorded_depends(pyad_recorded *s, uint32_t node,
                                             uint32_t block)
{
    if (block != PYAD_NO_BLOCK)
        node = s->g.tape->blocks[block].start;
    return &s->depends[node - s->from];
}

static inline int pyad_recorded_active(pyad_recorded *s, uint32_t node, uint32_t block)
{
    return pyad_recorded_inside(s, node) && *pyad_recorded_depends(s, node, block);
}

/* Add numbers to those of the nodes from `node` on, which lie in one block. */
void pyad_recorded_give(pyad_recorded *s, uint32_t node, uint32_t block, double weight,
                        pyad_numbers x);
/* The same for any nodes and operands: runs of them are found. */
void pyad_recorded_give_all(pyad_recorded *s, size_t count, const uint32_t *nodes,
                            const pyad_operand *numbers);
/* The numbers of a block, whose pieces are put together. */
pyad_numbers pyad_recorded_take(pyad_recorded *s, uint32_t block);
/* One number of a block, as pyad_recorded_take left them. */
pyad_operand pyad_recorded_in(pyad_recorded *s, uint32_t node, uint32_t block);

/* The number of a node that the sweep is done with; 0 outside of the stretch. */
static inline pyad_operand pyad_recorded_at(pyad_recorded *s, uint32_t node)
{
    if (!pyad_recorded_inside(s, node))
        return graph_constant(0);
    const uint32_t block = pyad_recorded_find(s, node);
    return block == PYAD_NO_BLOCK ? s->number[node - s->from]
                                  : pyad_recorded_in(s, node, block);
}

/* ---- between blocks and their sources (steps.c) ----------------------------------- */

/* The share of a source: what one number stands for all elements of gets their sum. */
void pyad_recorded_give_source(pyad_recorded *s, const pyad_source *x,
                               pyad_numbers share);
/* The tangents of a source, for `count` elements. */
pyad_numbers pyad_recorded_tangent(pyad_recorded *s, const pyad_source *x, size_t count);

/* ---- the steps of a sweep (steps.c, map_steps.c) ----------------------------------- */

/* Calls `visit` for each node that the block refers to; for a source, with its first. */
void pyad_recorded_arguments(pyad_recorded *s, uint32_t block,
                             void (*visit)(pyad_recorded *s, uint32_t node, uint32_t in,
                                           void *data),
                             void *data);
void pyad_recorded_reverse(pyad_recorded *s, uint32_t block);
void pyad_recorded_forward(pyad_recorded *s, uint32_t block);
void pyad_recorded_reverse_map(pyad_recorded *s, uint32_t block, pyad_numbers own);
pyad_numbers pyad_recorded_forward_map(pyad_recorded *s, uint32_t block);
