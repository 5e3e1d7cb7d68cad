/* Colourings of sparsity patterns: columns of one colour are found by one sweep.
 *
 * Jacobian: columns without a common row may share a colour, and each entry is then read
 * off directly (Curtis, Powell and Reid 1974; as colouring of the columns' intersection
 * graph, Coleman and More 1983). Hessian: a star colouring (Coleman and More 1984).
 * Survey: Gebremedhin, Manne and Pothen, "What color is your Jacobian?", SIAM Review 47
 * (2005).
 *
 * Greedy, in several orders, of which the best counts; colours in use are kept as bits
 * where there are many, so that a dense matrix takes (entries times n / 64) steps. */
#include <string.h>

#include "buffer.h"
#include "colouring.h"

uint32_t *pyad_new_items(size_t count, int byte)
{
    uint32_t *items = count > SIZE_MAX / 4 / sizeof *items
                          ? NULL
                          : pyad_buffer_new(count * sizeof *items);
    if (items)
        memset(items, byte, count * sizeof *items);
    return items;
}

size_t pyad_largest_degree(const pyad_pattern *pattern)
{
    size_t largest = 0;
    for (size_t i = 0; i < pattern->rows; i++)
        largest = pyad_degree(pattern, i) > largest ? pyad_degree(pattern, i) : largest;
    return largest;
}

int pyad_order_by_weight(size_t count, const size_t *weights, uint32_t *order)
{
    uint32_t *places = pyad_new_items(count + 2, 0);
    if (!places)
        return PYAD_ERROR_NO_MEMORY;
    for (int placing = 0; placing < 2; placing++) {
        for (size_t j = 0; j < count; j++) {
            size_t rank = weights[j] > count ? 0 : count - weights[j];
            if (placing)
                order[places[rank]++] = (uint32_t)j;
            else
                places[rank + 1]++;
        }
        for (size_t rank = 0; !placing && rank <= count; rank++)
            places[rank + 1] += places[rank];
    }
    pyad_buffer_release(places);
    return PYAD_OK;
}

/* ---- Jacobian --------------------------------------------------------------------- */

/* Bits of colours: those that a column must not have, and those in use in each dense row,
 * of at least n / 64 entries: no more memory than the entries take, and quicker than
 * looking at the columns of the row. */
typedef struct {
    size_t words;        /* of a set of colours */
    uint64_t *forbidden; /* one set, the first word of the others, which are ... */
    size_t *places;      /* ... from this word on, or 0 if the row is not dense */
} used;

static int used_new(used *u, const pyad_pattern *by_row, size_t columns)
{
    size_t total = columns / 64 + 1;
    *u = (used){.words = total,
                .places = pyad_buffer_new(by_row->rows * sizeof *u->places)};
    for (size_t i = 0; u->places && i < by_row->rows; i++) {
        int dense = pyad_degree(by_row, i) >= u->words && u->words > 1;
        u->places[i] = dense ? total : 0;
        total += dense ? u->words : 0;
    }
    u->forbidden = pyad_buffer_new(total * sizeof *u->forbidden);
    if (u->places && u->forbidden) {
        memset(u->forbidden, 0, total * sizeof *u->forbidden);
        return PYAD_OK;
    }
    pyad_buffer_release(u->places);
    pyad_buffer_release(u->forbidden);
    return PYAD_ERROR_NO_MEMORY;
}

/* Adds the colours of the columns of a row, all below `count`. */
static void forbid_row(const used *u, const pyad_pattern *by_row, size_t row,
                       const uint32_t *colours, size_t count)
{
    const uint64_t *set = u->forbidden + u->places[row];
    if (u->places[row]) {
        for (size_t w = 0; w < (count + 63) / 64; w++)
            u->forbidden[w] |= set[w];
        return;
    }
    for (size_t k = by_row->first[row]; k < by_row->first[row + 1]; k++)
        if (colours[by_row->indices[k]] != NO_COLOUR)
            pyad_use_colour(u->forbidden, colours[by_row->indices[k]]);
}

/* Greedy distance-2 colouring of the columns. `order` may be NULL: from the first to the
 * last. */
static int colour_in_order(const pyad_pattern *by_row, const pyad_pattern *by_column,
                           const uint32_t *order, uint32_t *colours, size_t *count)
{
    size_t columns = by_column->rows;
    used u;
    int status = used_new(&u, by_row, columns);
    if (status)
        return status;
    memset(colours, 0xff, columns * sizeof *colours);
    *count = 0;
    for (size_t i = 0; i < columns; i++) {
        size_t j = order ? order[i] : i;
        for (size_t k = by_column->first[j]; k < by_column->first[j + 1]; k++)
            forbid_row(&u, by_row, by_column->indices[k], colours, *count);
        colours[j] = pyad_take_smallest(u.forbidden, *count);
        *count = colours[j] >= *count ? colours[j] + 1u : *count;
        for (size_t k = by_column->first[j]; k < by_column->first[j + 1]; k++)
            if (u.places[by_column->indices[k]])
                pyad_use_colour(u.forbidden + u.places[by_column->indices[k]],
                                colours[j]);
    }
    pyad_buffer_release(u.places);
    pyad_buffer_release(u.forbidden);
    return PYAD_OK;
}

/* Columns by how many others they meet at most, the largest first; or, to improve on a
 * colouring of `count` colours, class by class from the last: that never takes more
 * (Culberson's iterated greedy, 1992). */
static int order_columns(const pyad_pattern *by_row, const pyad_pattern *by_column,
                         const uint32_t *colours, uint32_t *order)
{
    size_t columns = by_column->rows;
    size_t *weights = columns > SIZE_MAX / 4 / sizeof *weights
                          ? NULL
                          : pyad_buffer_new(columns * sizeof *weights);
    if (!weights)
        return PYAD_ERROR_NO_MEMORY;
    for (size_t j = 0; j < columns; j++) {
        weights[j] = colours ? colours[j] : 0;
        for (size_t k = by_column->first[j]; !colours && k < by_column->first[j + 1]; k++)
            weights[j] += pyad_degree(by_row, by_column->indices[k]) - 1;
    }
    int status = pyad_order_by_weight(columns, weights, order);
    pyad_buffer_release(weights);
    return status;
}

/* The best of a few orders, until one takes the fewest colours possible. */
int pyad_colour_columns(const pyad_pattern *by_row, const pyad_pattern *by_column,
                        uint32_t *colours, size_t *count)
{
    enum { ATTEMPTS = 4 };
    size_t columns = by_column->rows, least = pyad_largest_degree(by_row), found;
    uint32_t *order = pyad_new_items(columns, 0), *other = pyad_new_items(columns, 0);
    int status = order && other ? colour_in_order(by_row, by_column, NULL, colours, count)
                                : PYAD_ERROR_NO_MEMORY;
    for (int i = 1; i < ATTEMPTS && !status && *count > least; i++) {
        status = order_columns(by_row, by_column, i > 1 ? colours : NULL, order);
        if (!status)
            status = colour_in_order(by_row, by_column, order, other, &found);
        if (!status && found <= *count) {
            memcpy(colours, other, columns * sizeof *colours);
            *count = found;
        }
    }
    pyad_buffer_release(order);
    pyad_buffer_release(other);
    return status;
}

int pyad_no_colours(size_t length, uint32_t *colours, size_t *count)
{
    memset(colours, 0, length * sizeof *colours);
    *count = 0;
    return PYAD_OK;
}

/* The columns of a row all have different colours: the largest row is a lower bound, and
 * the direction with the smaller one is tried first, the other only if it can be
 * better. */
int pyad_colour_jacobian(const pyad_pattern *pattern, uint32_t *colours, int *by_rows,
                         size_t *count)
{
    size_t larger = pattern->rows > pattern->columns ? pattern->rows : pattern->columns;
    pyad_pattern transposed;
    *by_rows = 0;
    if (pattern->entries == 0)
        return pyad_no_colours(larger, colours, count);
    int status = pyad_pattern_transpose(pattern, &transposed);
    if (status)
        return status;
    const pyad_pattern *by_row = pattern, *by_column = &transposed;
    size_t bounds[2] = {pyad_largest_degree(by_row), pyad_largest_degree(by_column)},
           found;
    uint32_t *other = pyad_new_items(larger, 0);
    int rows_first = bounds[1] < bounds[0];
    status = !other       ? PYAD_ERROR_NO_MEMORY
             : rows_first ? pyad_colour_columns(by_column, by_row, colours, count)
                          : pyad_colour_columns(by_row, by_column, colours, count);
    *by_rows = rows_first;
    if (!status && bounds[!rows_first] < *count) {
        status = rows_first ? pyad_colour_columns(by_row, by_column, other, &found)
                            : pyad_colour_columns(by_column, by_row, other, &found);
        if (!status && found < *count) {
            *by_rows = !rows_first;
            *count = found;
            memcpy(colours, other, larger * sizeof *colours);
        }
    }
    pyad_buffer_release(other);
    pyad_pattern_free(&transposed);
    return status;
}
