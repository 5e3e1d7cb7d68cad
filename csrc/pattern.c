/* Sparse patterns in CSR form: from runs of entries, and transposed. Linear in entries
 * and rows. */
#include "pattern.h"

#include <string.h>

#include "buffer.h"

int pyad_list_grow(pyad_list *list, size_t more)
{
    size_t needed = list->count + more, capacity = 2 * list->capacity + 64;
    if (needed < more || needed > SIZE_MAX / 4 / sizeof *list->items)
        return PYAD_ERROR_NO_MEMORY;
    capacity = capacity < needed ? needed : capacity;
    uint32_t *grown = pyad_buffer_resize(list->items, list->count * sizeof *list->items,
                                         capacity * sizeof *list->items);
    if (!grown)
        return PYAD_ERROR_NO_MEMORY;
    list->items = grown;
    list->capacity = capacity;
    return PYAD_OK;
}

/* ---- runs ------------------------------------------------------------------------- */

void pyad_runs_free(pyad_runs *runs)
{
    pyad_buffer_release(runs->lines.items);
    pyad_buffer_release(runs->lengths.items);
    pyad_buffer_release(runs->entries.items);
    *runs = (pyad_runs){0};
}

int pyad_runs_close(pyad_runs *runs, size_t line, size_t length)
{
    if (length == 0)
        return PYAD_OK;
    int status = pyad_list_push(&runs->lines, (uint32_t)line);
    return status ? status : pyad_list_push(&runs->lengths, (uint32_t)length);
}

/* ---- patterns --------------------------------------------------------------------- */

void pyad_pattern_free(pyad_pattern *pattern)
{
    pyad_buffer_release(pattern->first);
    pyad_buffer_release(pattern->indices);
    *pattern = (pyad_pattern){0};
}

/* A pattern of zeroed `first` and room for its entries. */
static int pattern_new(size_t rows, size_t columns, size_t entries, pyad_pattern *result)
{
    pyad_pattern fresh = {.rows = rows, .columns = columns, .entries = entries};
    if (rows > SIZE_MAX / 4 / sizeof *fresh.first ||
        entries > SIZE_MAX / 4 / sizeof *fresh.indices)
        return PYAD_ERROR_NO_MEMORY;
    fresh.first = pyad_buffer_new((rows + 1) * sizeof *fresh.first);
    fresh.indices = pyad_buffer_new(entries * sizeof *fresh.indices);
    if (!fresh.first || !fresh.indices) {
        pyad_pattern_free(&fresh);
        return PYAD_ERROR_NO_MEMORY;
    }
    memset(fresh.first, 0, (rows + 1) * sizeof *fresh.first);
    *result = fresh;
    return PYAD_OK;
}

/* Counts of row i in first[i + 1] become the place where row i starts, which filling the
 * row moves to its end: so afterwards first[i + 1] is right, and first[0] is 0. */
static void starts_from_counts(pyad_pattern *pattern)
{
    size_t start = 0;
    for (size_t i = 1; i <= pattern->rows; i++) {
        size_t count = pattern->first[i];
        pattern->first[i] = start;
        start += count;
    }
}

int pyad_runs_pattern(const pyad_runs *runs, size_t rows, size_t columns,
                      pyad_pattern *result)
{
    int status = pattern_new(rows, columns, runs->entries.count, result);
    if (status)
        return status;
    const uint32_t *lines = runs->lines.items, *lengths = runs->lengths.items;
    const uint32_t *entries = runs->entries.items;
    for (size_t r = 0; r < runs->lines.count; r++)
        result->first[lines[r] + 1] += lengths[r];
    starts_from_counts(result);
    for (size_t r = 0; r < runs->lines.count; entries += lengths[r++]) {
        size_t *end = &result->first[lines[r] + 1];
        memcpy(result->indices + *end, entries, lengths[r] * sizeof *entries);
        *end += lengths[r];
    }
    return PYAD_OK;
}

int pyad_pattern_transpose(const pyad_pattern *pattern, pyad_pattern *result)
{
    int status = pattern_new(pattern->columns, pattern->rows, pattern->entries, result);
    if (status)
        return status;
    for (size_t k = 0; k < pattern->entries; k++)
        result->first[pattern->indices[k] + 1]++;
    starts_from_counts(result);
    for (size_t i = 0; i < pattern->rows; i++)
        for (size_t k = pattern->first[i]; k < pattern->first[i + 1]; k++)
            result->indices[result->first[pattern->indices[k] + 1]++] = (uint32_t)i;
    return PYAD_OK;
}
