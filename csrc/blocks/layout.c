/* Layouts: copies between a contiguous array and a strided view of another, and sums into
 * such a view. The last dimension and one more, picked so that memory is walked in order
 * on both sides, are left to a kernel of two loops; the others are counted up around it.
 * Sums over the last dimension are pairwise (Higham, SIAM J. Sci. Comput. 14, 1993), with
 * the blocks of NumPy: the same numbers in the same order. */
#include <stdlib.h>
#include <string.h>

#include "block.h"
#include "lanes.h"

enum {
    MOST_DIMENSIONS = 64,
    BLOCK = 32,   /* rows and columns of a block of a transposition */
    FOLDED = 128, /* numbers that short rows are summed into, several rows at once */
};

/* Two dimensions of a layout: n0 rows of n1 numbers. c0 is the step from row to row on
 * the contiguous side, where a row lies side by side; x0 and x1 are the steps in x. */
typedef struct {
    size_t n0, n1;
    ptrdiff_t c0, x0, x1;
} plane;

size_t pyad_layout_size(const pyad_layout *layout)
{
    size_t size = 1;
    for (size_t i = 0; i < layout->ndim; i++)
        size *= (size_t)layout->sides[i];
    return size;
}

/* ---- sums of a row ----------------------------------------------------------------- */

/* Numbers up to 128: eight sums, as NumPy has them. */
INLINED double sum_block(size_t count, const double *in)
{
    double sums[8];
    size_t i = 8;
    if (count < 8) {
        double sum = -0.0;
        for (i = 0; i < count; i++)
            sum += in[i];
        return sum;
    }
    for (size_t k = 0; k < 8; k++)
        sums[k] = in[k];
    for (; i + 8 <= count; i += 8)
        for (size_t k = 0; k < 8; k++)
            sums[k] += in[i + k];
    double sum = ((sums[0] + sums[1]) + (sums[2] + sums[3])) +
                 ((sums[4] + sums[5]) + (sums[6] + sums[7]));
    for (; i < count; i++)
        sum += in[i];
    return sum;
}

/* Halves of halves, so the error grows with the logarithm of the length. A recursion 60
 * calls deep at the most. */
static double sum_row(size_t count, const double *in)
{
    if (count <= 128)
        return sum_block(count, in);
    size_t half = count / 2;
    half -= half % 8;
    return sum_row(half, in) + sum_row(count - half, in + half);
}

/* NumPy's loop does the same and is quicker. */
double pyad_sum_values(const pyad_loops *loops, size_t count, const double *x)
{
    double sum = 0;
    if (!loops || !loops->sum.run)
        return sum + sum_row(count, x);
    char *arrays[] = {(char *)&sum, (char *)(uintptr_t)x, (char *)&sum};
    const intptr_t counts[] = {(intptr_t)count}, steps[] = {0, sizeof(double), 0};
    loops->sum.run(arrays, counts, steps, loops->sum.data);
    return sum;
}

/* ---- kernels of two loops ---------------------------------------------------------- */

WIDEST_LANES
static void read_rows(plane p, const double *x, double *out)
{
    for (size_t i = 0; i < p.n0; i++, x += p.x0, out += p.c0) {
        if (p.x1 == 1 && p.n1 >= 64)
            memcpy(out, x, p.n1 * sizeof *out);
        else if (p.x1 == 1)
            for (size_t j = 0; j < p.n1; j++)
                out[j] = x[j];
        else if (p.x1 == 0)
            for (size_t j = 0; j < p.n1; j++)
                out[j] = *x;
        else
            for (size_t j = 0; j < p.n1; j++)
                out[j] = x[(ptrdiff_t)j * p.x1];
    }
}

WIDEST_LANES
static void add_rows(plane p, const double *in, double *x)
{
    for (size_t i = 0; i < p.n0; i++, x += p.x0, in += p.c0) {
        if (p.x1 == 1)
            for (size_t j = 0; j < p.n1; j++)
                x[j] += in[j];
        else
            for (size_t j = 0; j < p.n1; j++)
                x[(ptrdiff_t)j * p.x1] += in[j];
    }
}

static void add_row_sums(plane p, const double *in, double *x)
{
    for (size_t i = 0; i < p.n0; i++, x += p.x0, in += p.c0)
        *x += sum_row(p.n1, in);
}

/* Rows that all go to the same numbers: four at a time, so that these are read and
 * written less often. */
WIDEST_LANES
static void add_rows_together(plane p, const double *restrict in, double *restrict x)
{
    size_t i = 0;
    for (; i + 4 <= p.n0; i += 4, in += 4 * p.c0) {
        const double *second = in + p.c0, *third = second + p.c0, *last = third + p.c0;
        for (size_t j = 0; j < p.n1; j++)
            x[(ptrdiff_t)j * p.x1] += (in[j] + second[j]) + (third[j] + last[j]);
    }
    for (; i < p.n0; i++, in += p.c0)
        for (size_t j = 0; j < p.n1; j++)
            x[(ptrdiff_t)j * p.x1] += in[j];
}

/* The same where rows are short and follow each other: several are taken as one long row
 * and summed as such; its parts are added up at the end. */
WIDEST_LANES
static void add_short_rows(plane p, const double *in, double *x)
{
    double sums[FOLDED] = {0};
    const size_t rows = FOLDED / p.n1, width = rows * p.n1;
    size_t i = 0;
    for (; i + rows <= p.n0; i += rows, in += width)
        for (size_t j = 0; j < width; j++)
            sums[j] += in[j];
    for (size_t j = 0; j < (p.n0 - i) * p.n1; j++)
        sums[j] += in[j];
    p.n0 = rows;
    add_rows_together(p, sums, x);
}

/* Transpositions: block by block, so that the lines of either side stay in the cache. */
WIDEST_LANES
static void read_blocks(plane p, const double *restrict x, double *restrict out)
{
    for (size_t i0 = 0; i0 < p.n0; i0 += BLOCK)
        for (size_t j0 = 0; j0 < p.n1; j0 += BLOCK)
            for (size_t i = i0; i < smaller(i0 + BLOCK, p.n0); i++)
                for (size_t j = j0; j < smaller(j0 + BLOCK, p.n1); j++)
                    out[(ptrdiff_t)i * p.c0 + (ptrdiff_t)j] =
                        x[(ptrdiff_t)i * p.x0 + (ptrdiff_t)j * p.x1];
}

WIDEST_LANES
static void add_blocks(plane p, const double *restrict in, double *restrict x)
{
    for (size_t i0 = 0; i0 < p.n0; i0 += BLOCK)
        for (size_t j0 = 0; j0 < p.n1; j0 += BLOCK)
            for (size_t j = j0; j < smaller(j0 + BLOCK, p.n1); j++)
                for (size_t i = i0; i < smaller(i0 + BLOCK, p.n0); i++)
                    x[(ptrdiff_t)i * p.x0 + (ptrdiff_t)j * p.x1] +=
                        in[(ptrdiff_t)i * p.c0 + (ptrdiff_t)j];
}

static int is_transposition(plane p) { return p.n0 >= 4 && p.n1 >= 4 && p.x1 != 0; }

static void read_plane(plane p, const double *x, double *out)
{
    if (is_transposition(p) && llabs(p.x0) < llabs(p.x1))
        read_blocks(p, x, out);
    else
        read_rows(p, x, out);
}

static void add_plane(plane p, const double *in, double *x)
{
    if (p.x1 == 0)
        add_row_sums(p, in, x);
    else if (p.x0 == 0 && p.n1 <= FOLDED / 4 && p.c0 == (ptrdiff_t)p.n1)
        add_short_rows(p, in, x);
    else if (p.x0 == 0)
        add_rows_together(p, in, x);
    else if (is_transposition(p) && llabs(p.x0) < llabs(p.x1))
        add_blocks(p, in, x);
    else
        add_rows(p, in, x);
}

/* ---- all dimensions ---------------------------------------------------------------- */

/* Where a layout stands: a plane at the offsets x and c, and the dimensions around it. */
typedef struct {
    plane plane;
    ptrdiff_t x, c;
    size_t ndim;
    ptrdiff_t shape[MOST_DIMENSIONS], index[MOST_DIMENSIONS];
    ptrdiff_t x_step[MOST_DIMENSIONS], c_step[MOST_DIMENSIONS];
} walk;

/* The dimension that makes a plane with the last one: where numbers are added that lie on
 * each other; else the one that x is closest together along, if it is not the last; else
 * the neighbour. */
static size_t partner_of_last(const pyad_layout *layout, int adds)
{
    const size_t last = layout->ndim - 1;
    const int64_t *stride = layout->sides + layout->ndim;
    size_t best = last;
    for (size_t i = last; adds && stride[last] != 0 && i-- > 0;)
        if (stride[i] == 0)
            return i;
    for (size_t i = last; stride[last] != 0 && i-- > 0;)
        if (stride[i] != 0 && llabs(stride[i]) < llabs(stride[best]))
            best = i;
    return best < last ? best : last - 1;
}

static void walk_start(walk *w, const pyad_layout *layout, int adds)
{
    const int64_t *shape = layout->sides, *stride = shape + layout->ndim;
    const size_t last = layout->ndim - 1, partner = partner_of_last(layout, adds);
    ptrdiff_t c_step = (ptrdiff_t)shape[last];
    w->x = layout->offset;
    w->c = 0;
    w->ndim = 0;
    w->plane.n1 = (size_t)shape[last];
    w->plane.x1 = stride[last];
    for (size_t i = last; i-- > 0;) {
        if (i == partner) {
            w->plane.n0 = (size_t)shape[i];
            w->plane.x0 = stride[i];
            w->plane.c0 = c_step;
        } else {
            w->shape[w->ndim] = shape[i];
            w->x_step[w->ndim] = stride[i];
            w->c_step[w->ndim] = c_step;
            w->index[w->ndim++] = 0;
        }
        c_step *= shape[i];
    }
}

/* On to the next plane; 0 after the last. */
static int walk_on(walk *w)
{
    for (size_t i = 0; i < w->ndim; i++) {
        w->x += w->x_step[i];
        w->c += w->c_step[i];
        if (++w->index[i] < w->shape[i])
            return 1;
        w->x -= w->x_step[i] * w->shape[i];
        w->c -= w->c_step[i] * w->shape[i];
        w->index[i] = 0;
    }
    return 0;
}

/* Of at most one dimension: a plane of one row. */
static plane row_of_layout(const pyad_layout *layout)
{
    return (plane){
        .n0 = 1,
        .n1 = layout->ndim ? (size_t)layout->sides[0] : 1,
        .x1 = layout->ndim ? layout->sides[1] : 1,
    };
}

void pyad_layout_read(const pyad_layout *layout, const double *x, double *out)
{
    walk w;
    if (layout->ndim < 2) {
        read_plane(row_of_layout(layout), x + layout->offset, out);
        return;
    }
    walk_start(&w, layout, 0);
    do
        read_plane(w.plane, x + w.x, out + w.c);
    while (walk_on(&w));
}

void pyad_layout_add(const pyad_layout *layout, const double *in, double *x)
{
    walk w;
    if (layout->ndim < 2) {
        add_plane(row_of_layout(layout), in, x + layout->offset);
        return;
    }
    walk_start(&w, layout, 1);
    do
        add_plane(w.plane, in + w.c, x + w.x);
    while (walk_on(&w));
}
