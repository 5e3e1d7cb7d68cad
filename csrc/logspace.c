/* The logistic function and its relatives, and sums of numbers held as logarithms.
 *
 * Each result is formed so that no step cancels: exp is only taken of numbers <= 0, log1p
 * is used where the argument of log is near 1. The one sum that must cancel (logaddexp
 * near 0) is done in twofold arithmetic. Does not use long double, so all platforms
 * agree.
 */
#include "special.h"
#include "twofold.h"

/* e/(1 + e), e = exp(-|x|). 2.1 ulp. */
double pyad_expit(double x)
{
    double e = exp(-fabs(x));
    return (x < 0.0 ? e : 1.0) / (1.0 + e);
}

/* 2p - 1 and, above 1/2, 1 - p are exact. 1.6 ulp. */
double pyad_logit(double p)
{
    if (p >= 0.25 && p <= 0.75)
        return 2.0 * atanh(2.0 * p - 1.0);
    return log(p / (1.0 - p));
}

/* max(x, 0) + log(1 + exp(-|x|)). 1.4 ulp. */
double pyad_softplus(double x)
{
    double t = log1p(exp(-fabs(x)));
    return x > 0.0 ? x + t : t;
}

/* exp(x) and exp(x) - 1 for x <= 0, both to about 2^-100: Taylor series of expm1 for a
 * 256th of the reduced argument, doubled eight times by y -> y (2 + y). */
static pyad_pair exp_pair(double x, pyad_pair *minus1)
{
    const double ln2_a = 0x1.62e42fefa3800p-1, ln2_b = 0x1.ef35793c76000p-45,
                 ln2_c = 0x1.cc01f97b57a08p-87; /* the first two have 42 bits */
    double k = rint(x * 1.4426950408889634);
    pyad_pair r = pyad_two_sum(x - k * ln2_a, -k * ln2_b);
    r = pyad_two_sum(r.hi, r.lo - k * ln2_c);
    r.hi *= 0x1p-8;
    r.lo *= 0x1p-8;
    pyad_pair y = {1.0 + r.hi / 7.0 * (1.0 + r.hi / 8.0 * (1.0 + r.hi / 9.0)), 0.0};
    for (int n = 6; n >= 1; n--) {
        pyad_pair one = {1.0, 0.0}, divisor = {n, 0.0};
        pyad_pair term = pyad_pair_div(pyad_pair_mul(r, y), divisor);
        y = n > 1 ? pyad_pair_add(one, term) : term;
    }
    for (int i = 0; i < 8; i++) {
        pyad_pair twice = {2.0 * y.hi, 2.0 * y.lo};
        y = pyad_pair_add(twice, pyad_pair_mul(y, y));
    }
    pyad_pair one = {1.0, 0.0};
    pyad_pair e = pyad_pair_add(one, y);
    e.hi = ldexp(e.hi, (int)k);
    e.lo = ldexp(e.lo, (int)k);
    pyad_pair minus = {-1.0, 0.0};
    *minus1 = k < 0.0 ? pyad_pair_add(e, minus) : y;
    return e;
}

/* max + log1p(exp(-|a - b|)), the rounding of a - b put back; where max < 0 cancels
 * against the rest, log1p of the pair (exp(max) - 1) + exp(min) instead. 2 ulp, also for
 * a = log(p), b = log(1 - p) down to results of 1e-17; below, an absolute 1e-32. */
double pyad_logaddexp(double a, double b)
{
    double top = a > b ? a : b, low = a > b ? b : a;
    if (a == b && isinf(a))
        return a;
    pyad_pair d = pyad_two_sum(low, -top);
    double e = exp(d.hi), t = log1p(e);
    if (e > 0.0)
        t += e / (1.0 + e) * d.lo;
    double r = top + t;
    if (!(top < 0.0 && t > fabs(r)))
        return r;
    pyad_pair s, unused;
    exp_pair(top, &s);
    s = pyad_pair_add(s, exp_pair(low, &unused));
    return log1p(s.hi) + s.lo / (1.0 + s.hi);
}

/* The product of log's result: 1.4 ulp. NaN if y is NaN or negative, but 0 if x = 0 and
 * y is anything but NaN. */
double pyad_xlogy(double x, double y) { return x == 0.0 && y == y ? 0.0 : x * log(y); }

/* max + log1p(the other terms), shifted by max. The error of each shift is put back and
 * the sum compensated (Neumaier), so the length does not matter: 2.6 ulp, unless the
 * result cancels to near 0 (then 2 ulp of max). */
double pyad_logsumexp(const double *x, size_t n)
{
    double top = -INFINITY;
    size_t at = 0;
    for (size_t i = 0; i < n; i++) {
        if (x[i] != x[i])
            return x[i];
        if (x[i] > top) {
            top = x[i];
            at = i;
        }
    }
    if (isinf(top))
        return top;
    double sum = 0.0, err = 0.0;
    for (size_t i = 0; i < n; i++) {
        if (i == at)
            continue;
        pyad_pair d = pyad_two_sum(x[i], -top);
        double e = exp(d.hi);
        if (e > 0.0) {
            pyad_pair s = pyad_two_sum(sum, e);
            sum = s.hi;
            err += s.lo + e * d.lo;
        }
    }
    return top + log1p(sum + err);
}
