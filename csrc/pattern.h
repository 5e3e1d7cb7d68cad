/* Building sparse patterns: growing lists, and runs of entries that become the rows of a
 * pyad_pattern. All memory through buffer.h. */
#pragma once
#include "ops.h"
#include "pyad.h"

/* ---- a growing list --------------------------------------------------------------- */

typedef struct {
    uint32_t *items; /* a buffer */
    size_t count, capacity;
} pyad_list;

/* Room for `more` more items: the cold half of pyad_list_reserve. */
int pyad_list_grow(pyad_list *list, size_t more);

static inline int pyad_list_reserve(pyad_list *list, size_t more)
{
    return more <= list->capacity - list->count ? PYAD_OK : pyad_list_grow(list, more);
}

static inline int pyad_list_push(pyad_list *list, uint32_t item)
{
    int status = pyad_list_reserve(list, 1);
    if (!status)
        list->items[list->count++] = item;
    return status;
}

/* ---- runs ------------------------------------------------------------------------- */

/* Entries in the order in which they were found: run r belongs to row lines[r] and holds
 * the next lengths[r] of `entries`. A row may have several runs, which follow each other
 * in it; no column may be in two of them. */
typedef struct {
    pyad_list lines, lengths, entries;
} pyad_runs;

void pyad_runs_free(pyad_runs *runs);
/* Close a run for row `line` with the `length` entries that were pushed last. */
int pyad_runs_close(pyad_runs *runs, size_t line, size_t length);
/* The rows that the runs describe, each in the order of its runs. */
int pyad_runs_pattern(const pyad_runs *runs, size_t rows, size_t columns,
                      pyad_pattern *result);
