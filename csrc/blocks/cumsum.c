/* Running sums along the middle axis of (outer, n, inner), from either end: plain
 * additions in the order of the axis, as np.cumsum makes them. */
#include <string.h>

#include "block.h"
#include "lanes.h"

enum { LANES = 256 }; /* of the inner axis at once */

/* The step from one row of `inner` numbers to the next in the order of the sums, and the
 * first of them. */
typedef struct {
    ptrdiff_t step;
    size_t start;
} direction;

static direction direction_of(const pyad_cumsum *c, int from_end)
{
    const ptrdiff_t inner = (ptrdiff_t)c->inner;
    return from_end ? (direction){-inner, (c->n - 1) * c->inner} : (direction){inner, 0};
}

static void sum_line(size_t n, ptrdiff_t step, const double *x, double *out)
{
    double sum = -0.0;
    for (size_t i = 0; i < n; i++, x += step, out += step)
        *out = sum += *x;
}

/* Rows of `inner` numbers, each the one before it plus its own. */
WIDEST_LANES
static void sum_rows(size_t n, size_t inner, ptrdiff_t step, const double *x, double *out)
{
    memcpy(out, x, inner * sizeof *out);
    for (size_t i = 1; i < n; i++, out += step) {
        x += step;
        ANY_ORDER
        for (size_t j = 0; j < inner; j++)
            out[step + (ptrdiff_t)j] = out[j] + x[j];
    }
}

void pyad_cumsum_value(const pyad_cumsum *c, const double *x, double *out)
{
    const size_t size = c->n * c->inner;
    for (size_t k = 0; size != 0 && k < c->outer; k++) {
        const direction d = direction_of(c, c->from_end);
        const size_t at = k * size + d.start;
        if (c->inner == 1)
            sum_line(c->n, d.step, x + at, out + at);
        else
            sum_rows(c->n, c->inner, d.step, x + at, out + at);
    }
}

static void add_line(size_t n, ptrdiff_t step, const double *g, double *gx)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++, g += step, gx += step)
        *gx += sum += *g;
}

WIDEST_LANES
static void add_rows(size_t n, size_t inner, ptrdiff_t step, const double *restrict g,
                     double *restrict gx)
{
    double sums[LANES] = {0};
    for (size_t i = 0; i < n; i++, g += step, gx += step)
        for (size_t j = 0; j < inner; j++)
            gx[j] += sums[j] += g[j];
}

void pyad_cumsum_reverse(const pyad_cumsum *c, const double *g, double *gx)
{
    const size_t size = c->n * c->inner;
    for (size_t k = 0; size != 0 && k < c->outer; k++) {
        const direction d = direction_of(c, !c->from_end);
        const size_t at = k * size + d.start;
        if (c->inner == 1)
            add_line(c->n, d.step, g + at, gx + at);
        for (size_t j = 0; c->inner > 1 && j < c->inner; j += LANES)
            add_rows(c->n, smaller(LANES, c->inner - j), d.step, g + at + j, gx + at + j);
    }
}
