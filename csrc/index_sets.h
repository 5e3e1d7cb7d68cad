/* Sets of small numbers, each kept once: equal sets have one name, so that a set that
 * many nodes have in common costs its memory once and a union with it next to nothing.
 * Set 0 is empty. */
#pragma once
#include "pattern.h"

/* What pyad_sets_close_union returns when the limits of the store are reached: not an
 * error, but the caller had better use bit vectors. */
enum { PYAD_SETS_FULL = -1 };

typedef struct {
    size_t universe;    /* numbers are below this */
    pyad_list elements; /* set s has elements[begin[s]] up to elements[begin[s + 1]] */
    pyad_list begin;
    pyad_list hashes;     /* of set s */
    uint32_t *buckets;    /* open addressing: names of sets, 0 for none */
    size_t bucket_count;  /* a power of 2 */
    uint32_t *marks;      /* of number e: the last union that has it */
    pyad_list marked;     /* of set s: the last union that has it */
    uint32_t stamp;       /* this union */
    uint32_t only;        /* the one set in this union so far, not yet copied, or 0 */
    uint32_t largest;     /* of the sets in this union */
    size_t work;          /* elements looked at so far */
    size_t most_work;     /* limit of work */
    size_t most_elements; /* limit of elements.count */
} pyad_sets;

int pyad_sets_open(pyad_sets *sets, size_t universe, size_t most_work,
                   size_t most_elements);
void pyad_sets_free(pyad_sets *sets);

static inline size_t pyad_set_size(const pyad_sets *sets, uint32_t set)
{
    return sets->begin.items[set + 1] - sets->begin.items[set];
}

static inline const uint32_t *pyad_set_elements(const pyad_sets *sets, uint32_t set)
{
    return sets->elements.items + sets->begin.items[set];
}

/* A union: open it, add sets and single numbers, close it for its name. */
void pyad_sets_open_union(pyad_sets *sets);
int pyad_sets_add(pyad_sets *sets, uint32_t set);
int pyad_sets_add_number(pyad_sets *sets, uint32_t number);
int pyad_sets_close_union(pyad_sets *sets, uint32_t *set);
