/* The tape: a recording as flat arrays.
 *
 *   node        0        1        2 ...            length nodes
 *   ops      [ leaf   ][ leaf   ][ mul    ] ...    operation, one byte
 *   values   [ 2.0    ][ 5.0    ][ 10.0   ] ...    value of the node
 *   first    [ 0      ][ 0      ][ 0      ][ 2 ]   where its arguments start; one more
 *
 *   argument    0        1
 *   indices  [ 0      ][ 1      ] ...              the node that is the argument
 *   weights  [ 5.0    ][ 2.0    ] ...              the partial derivative in it
 *
 * Invariant: indices[k] < node for every argument k of a node, or indices[k] is
 * PYAD_CONSTANT, and then weights[k] is the constant itself (a replay needs it; a sweep
 * sends its share to a slot nobody reads). A binary operation takes
 * 1 + 8 + 4 + 2 * (4 + 8) = 37 bytes, a unary one 25, a leaf 13.
 * Not here: what an operation means (ops.c), who owns a leaf (python/). */
#pragma once
#include "ops.h"
#include "pyad.h"

/* Array operations are blocks, runs of nodes that one instruction makes (blocks/block.h):
 * without arguments, and `ops` and `first` set when asked (pyad_tape_pin_ops). */
typedef struct pyad_block pyad_block;
typedef struct pyad_loops pyad_loops;

struct pyad_tape {
    size_t length;            /* nodes recorded */
    size_t arguments;         /* arguments recorded, == first[length] */
    size_t node_capacity;     /* room in ops, values and (one more) first */
    size_t argument_capacity; /* room in indices and weights */
    uint8_t *ops;
    double *values;
    uint32_t *first;
    uint32_t *indices;
    double *weights;
    double *adjoints; /* of the last sweep; adjoints[0] is the slot of the constants */
    size_t adjoint_count, adjoint_capacity; /* count: nodes that the last sweep knew */
    int adjoints_lean;           /* those of blocks that nobody holds were not kept */
    size_t max_bytes;            /* 0: no limit */
    pyad_block *blocks;          /* in the order of their nodes */
    struct pyad_source *sources; /* of the blocks */
    size_t block_count, block_capacity, source_count, source_capacity;
    unsigned char *store; /* constants, layouts, rows of the blocks */
    size_t store_length, store_capacity;
    const pyad_loops *loops;              /* borrowed; NULL: none */
    struct pyad_guards *guards;           /* guard.h; NULL: not guarding */
    size_t waits_from, pending, unstored; /* maps that wait: see blocks/pending.h */
};

/* Room for `nodes` more nodes with `count` arguments in all: the cold half of
 * pyad_tape_reserve. */
int pyad_tape_grow(pyad_tape *tape, size_t nodes, size_t count);
