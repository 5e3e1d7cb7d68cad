/* Sums, dot products and norms whose rounding errors do not grow with the length.
 *
 * Each keeps the errors of its additions, sums those with their errors kept too, and adds
 * everything once at the end (SumK with K = 3: Ogita, Rump and Oishi, "Accurate sum and
 * dot product", 2005; the second level is hidden behind the latency of the first).
 * Infinities and NaN give what plain IEEE addition from left to right gives. No
 * reordering.
 */
#include "special.h"
#include "twofold.h"

#include <float.h>

/* The sum so far is sum + err + err2. */
typedef struct {
    double sum, err, err2;
} accumulator;

static inline void add_error(accumulator *a, double e)
{
    pyad_pair c = pyad_two_sum(a->err, e);
    a->err = c.hi;
    a->err2 += c.lo;
}

static inline void add(accumulator *a, double v)
{
    pyad_pair s = pyad_two_sum(a->sum, v);
    a->sum = s.hi;
    add_error(a, s.lo);
}

static inline double total(const accumulator *a)
{
    pyad_pair s = pyad_two_sum(a->sum, a->err);
    return s.hi + (s.lo + a->err2);
}

/* 0.5 ulp up to a condition number sum|x|/|sum x| of 1e15 and far beyond it
 * (bound: u + n^3 u^3 cond). */
double pyad_compensated_sum(const double *x, size_t n)
{
    accumulator a = {0.0, 0.0, 0.0};
    for (size_t i = 0; i < n; i++)
        add(&a, x[i]);
    double r = total(&a);
    if (isfinite(r))
        return r;
    r = 0.0;
    for (size_t i = 0; i < n; i++)
        r += x[i];
    return r;
}

/* As the sum; the products enter with their errors (Dot2, same paper). Exact products
 * need results above 2^-969: below, the absolute error is some 2^-1074 for each term. */
double pyad_compensated_dot(const double *x, const double *y, size_t n)
{
    accumulator a = {0.0, 0.0, 0.0};
    for (size_t i = 0; i < n; i++) {
        pyad_pair p = pyad_two_prod(x[i], y[i]);
        add(&a, p.hi);
        add_error(&a, p.lo);
    }
    double r = total(&a);
    if (isfinite(r))
        return r;
    r = 0.0;
    for (size_t i = 0; i < n; i++)
        r += x[i] * y[i];
    return r;
}

/* The squares are summed as pairs after a scaling by a power of two, which is exact and
 * skipped when no square can over- or underflow; the root is corrected by Newton.
 * 0.6 ulp. A NaN wins over an infinity. */
double pyad_norm2(const double *x, size_t n)
{
    double top = 0.0, nans = 0.0;
    for (size_t i = 0; i < n; i++) {
        double v = fabs(x[i]);
        top = v > top ? v : top;
        nans += v != v;
    }
    if (nans > 0.0)
        return NAN;
    if (top == 0.0 || top > DBL_MAX)
        return top;
    double down = 1.0, up = 1.0;
    if (top > 0x1p+400) {
        down = 0x1p-700;
        up = 0x1p+700;
    } else if (top < 0x1p-400) {
        down = 0x1p+600;
        up = 0x1p-600;
    }
    accumulator a = {0.0, 0.0, 0.0};
    for (size_t i = 0; i < n; i++) {
        pyad_pair p = pyad_two_prod(x[i] * down, x[i] * down);
        add(&a, p.hi);
        add_error(&a, p.lo);
    }
    pyad_pair s = pyad_two_sum(a.sum, a.err);
    double r = sqrt(s.hi);
    pyad_pair square = pyad_two_prod(r, r);
    r += (((s.hi - square.hi) - square.lo) + s.lo) / (2.0 * r);
    return r * up;
}
