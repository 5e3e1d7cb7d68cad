/* Allocations that fail when they are told to, for programs that are compiled together
 * with the sources of the library, whose malloc, calloc and realloc these then are. */
#pragma once
#include <stdio.h>
#include <stdlib.h>

#include "blocks/record.h"

static long countdown = -1; /* the allocation that fails; -1: none */
static long failures;

static int fails(void)
{
    if (countdown < 0 || countdown-- > 0)
        return 0;
    failures++;
    return 1;
}

void *failing_malloc(size_t bytes) { return fails() ? NULL : malloc(bytes); }
void *failing_calloc(size_t count, size_t bytes)
{
    return fails() ? NULL : calloc(count, bytes);
}
void *failing_realloc(void *old, size_t bytes)
{
    return fails() ? NULL : realloc(old, bytes);
}

#define NEED(CONDITION)                                                                  \
    do {                                                                                 \
        if (!(CONDITION)) {                                                              \
            fprintf(stderr, "line %d: %s\n", __LINE__, #CONDITION);                      \
            exit(1);                                                                     \
        }                                                                                \
    } while (0)

/* The nodes of a block as an operand. */
static inline pyad_vector whole(const pyad_tape *tape, uint32_t block)
{
    const pyad_block *b = &tape->blocks[block];
    return (pyad_vector){tape->values + b->start, b->start, block, 1, b->count};
}
