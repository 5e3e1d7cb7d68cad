/* Recording, inline: reserve, then push. A push cannot fail and costs a few stores, so
 * whatever can go wrong (memory, a handle for the result) goes wrong before the tape is
 * touched. */
#pragma once
#include "tape.h"

/* Make sure that `nodes` nodes with `count` arguments in all can be pushed. */
static inline int pyad_tape_reserve(pyad_tape *tape, size_t nodes, size_t count)
{
    if (tape->length + nodes <= tape->node_capacity &&
        tape->arguments + count <= tape->argument_capacity)
        return PYAD_OK;
    return pyad_tape_grow(tape, nodes, count);
}

/* The reserved node whose arguments are the last `count` written. The byte goes last: a
 * store through a character type makes the compiler read every field again. */
static inline uint32_t pyad_push_node(pyad_tape *tape, int op, double value, size_t count)
{
    size_t node = tape->length, end = tape->arguments + count;
    uint8_t *ops = tape->ops;
    tape->values[node] = value;
    tape->first[node + 1] = (uint32_t)end;
    tape->arguments = end;
    tape->length = node + 1;
    ops[node] = (uint8_t)op;
    return (uint32_t)node;
}

static inline uint32_t pyad_push_unary(pyad_tape *tape, int op, double value, uint32_t a,
                                       double da)
{
    size_t k = tape->arguments;
    tape->indices[k] = a;
    tape->weights[k] = da;
    return pyad_push_node(tape, op, value, 1);
}

static inline uint32_t pyad_push_binary(pyad_tape *tape, int op, double value, uint32_t a,
                                        double da, uint32_t b, double db)
{
    size_t k = tape->arguments;
    tape->indices[k] = a;
    tape->weights[k] = da;
    tape->indices[k + 1] = b;
    tape->weights[k + 1] = db;
    return pyad_push_node(tape, op, value, 2);
}
