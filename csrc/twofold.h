/* Twofold arithmetic: a number as an unevaluated sum hi + lo of two doubles.
 *
 * Private to the numerical files of csrc/. The error-free steps are those of Dekker
 * (1971), Knuth (TAOCP 2, 4.2.2) and Ogita, Rump and Oishi (2005). They need
 * round-to-nearest and no contraction (-ffp-contract=off), and are exact unless something
 * over- or underflows.
 */
#ifndef PYAD_TWOFOLD_H
#define PYAD_TWOFOLD_H

#include <math.h>

/* |lo| <= ulp(hi)/2 after each function that returns one. */
typedef struct {
    double hi, lo;
} pyad_pair;

/* A call of fma() without the instruction costs more than Dekker's 16 operations. */
#if defined(FP_FAST_FMA) || defined(__FMA__) || defined(__aarch64__) || defined(_M_ARM64)
#define PYAD_FAST_FMA 1
#else
#define PYAD_FAST_FMA 0
#endif

/* a + b exactly (Knuth's TwoSum: no condition on the magnitudes). */
static inline pyad_pair pyad_two_sum(double a, double b)
{
    double s = a + b, t = s - a;
    pyad_pair r = {s, (a - (s - t)) + (b - t)};
    return r;
}

/* a * b exactly. Dekker's halves overflow beyond 2^996, which shows as NaN: then fma. */
static inline pyad_pair pyad_two_prod(double a, double b)
{
    double p = a * b;
#if PYAD_FAST_FMA
    pyad_pair r = {p, fma(a, b, -p)};
#else
    const double split = 134217729.0; /* 2^27 + 1 */
    double ta = split * a, tb = split * b;
    double ah = ta - (ta - a), bh = tb - (tb - b);
    double al = a - ah, bl = b - bh;
    pyad_pair r = {p, ((ah * bh - p) + ah * bl + al * bh) + al * bl};
    if (r.lo != r.lo)
        r.lo = fma(a, b, -p);
#endif
    return r;
}

/* Sums and products of pairs: relative error about 2^-104, if nothing cancels in a sum.
 */
static inline pyad_pair pyad_pair_add(pyad_pair a, pyad_pair b)
{
    pyad_pair s = pyad_two_sum(a.hi, b.hi);
    return pyad_two_sum(s.hi, s.lo + (a.lo + b.lo));
}

static inline pyad_pair pyad_pair_mul(pyad_pair a, pyad_pair b)
{
    pyad_pair p = pyad_two_prod(a.hi, b.hi);
    return pyad_two_sum(p.hi, p.lo + (a.hi * b.lo + a.lo * b.hi));
}

/* a / b as a pair: one division, its remainder divided again. */
static inline pyad_pair pyad_pair_div(pyad_pair a, pyad_pair b)
{
    double q = a.hi / b.hi;
    pyad_pair p = pyad_two_prod(q, b.hi);
    return pyad_two_sum(q, (((a.hi - p.hi) - p.lo) + (a.lo - q * b.lo)) / b.hi);
}

/* c[0] + c[1] t + ... + c[n-1] t^(n-1); four Horner chains in t^4 hide the latency. */
static inline double pyad_poly(const double *c, int n, double t)
{
    double t2 = t * t, t4 = t2 * t2, s[4] = {0.0, 0.0, 0.0, 0.0};
    int i = n & ~3;
    for (int k = 0; k < n - i; k++)
        s[k] = c[i + k];
    for (i -= 4; i >= 0; i -= 4)
        for (int k = 0; k < 4; k++)
            s[k] = s[k] * t4 + c[i + k];
    return (s[0] + s[1] * t) + (s[2] + s[3] * t) * t2;
}

#define PYAD_COUNT(ARRAY) ((int)(sizeof(ARRAY) / sizeof((ARRAY)[0])))

#endif
