/* The gamma family: gamma and log-gamma from libm, digamma and polygamma of our own.
 *
 * Each function is reduced to a region where one series is good to the last bit, by exact
 * shifts (x - rint(x), two_sum) so that no step amplifies a rounding. The coefficients
 * are Chebyshev interpolants computed with mpmath at 60 digits and converted to powers.
 * Complex arguments and the sign of gamma are not here.
 */
#define _DEFAULT_SOURCE /* lgamma_r in glibc and musl */
#define _REENTRANT 1    /* lgamma_r in macOS */
#include "special.h"
#include "twofold.h"

#include <string.h>

/* libm's, but at 0 and the poles the same on all platforms. glibc 2.36: 5.3 ulp. */
double pyad_gamma(double x)
{
    if (x == 0.0)
        return 1.0 / x;
    if (x < 0.0 && x == rint(x))
        return NAN;
    return tgamma(x);
}

/* libm's, without a write to the global signgam where that can be avoided. glibc 2.36:
 * 2.2 ulp at x > 0, 5.7 ulp at x < 0 (near -10). */
double pyad_lgamma(double x)
{
#ifdef _WIN32
    return lgamma(x);
#else
    int sign;
    return lgamma_r(x, &sign);
#endif
}

/* The positive zero of digamma as a sum of three doubles. */
static const double ROOT[] = {1.4616321449683622, 9.549995429965697e-17,
                              2.89392992820415e-33};

/* digamma(x)/(x - root) in powers of x - root, x in [1, 2]. Truncation 1e-18. */
static const double NEAR_ROOT_0[] = {0.9676722454476212, -3.14953513333812e-17};
static const double NEAR_ROOT[] = {
    -0.4427631689835921,    0.25849976095564847,    -0.16394270544240616,
    0.1078240506917075,     -0.07219956125665858,   0.04880428813365283,
    -0.03316112645381418,   0.022597649301924122,   -0.01542476685873698,
    0.010538769794780604,   -0.007204510808598274,  0.004927056979848529,
    -0.0033701507146317476, 0.002302922747890853,   -0.0015737131414440247,
    0.0010898128486362363,  -0.0007567031090072166, 0.0004732647063387656,
    -0.0002806747589560104, 0.00027693602473687583, -0.00028170381355064114,
    0.00012241591000024265,
};

/* y^2 (digamma(y + 1/2) - log y) in powers of 4.5/y^2 - 1, y >= 3/2. Truncation 1e-17 of
 * a term that is itself at most 0.04 of the result. */
static const double FAR_TAIL[] = {
    0.04020273053863049,     -0.001332817532976912,   0.00011146749365672866,
    -1.5565555268864116e-05, 3.0220225415859037e-06,  -7.375690530105276e-07,
    2.128846831512479e-07,   -6.983800172637687e-08,  2.5344507852124427e-08,
    -1.0026116745853658e-08, 4.260891153212058e-09,   -1.739885087893331e-09,
    7.168161084419623e-10,   -7.732906534597038e-10,  5.811519969917538e-10,
    4.1628808926995783e-10,  -4.5506085787801464e-10, -5.503189452037555e-10,
    4.864533462517709e-10,   2.7904774176367505e-10,  -2.392639260765217e-10,
    -7.966660248200038e-11,  6.241629602002711e-11,
};

/* y^3 (1/y - trigamma(y + 1/2)) likewise. */
static const double TRIGAMMA[] = {
    0.07773982601130755,     -0.004885400157283551,  0.0005754116302256065,
    -0.00010034826163802224, 2.28445392875891e-05,   -6.296215362867161e-06,
    2.002579589114457e-06,   -7.11881936128013e-07,  2.763649042020517e-07,
    -1.152567588554107e-07,  5.2306897864215815e-08, -2.5321819636838927e-08,
    8.284208145454185e-09,   -1.870445992484322e-09, 1.0632451633293286e-08,
    -9.829005388934989e-09,  -9.747962095673303e-09, 1.0174200878568553e-08,
    9.924373729601155e-09,   -9.17921760625974e-09,  -4.922281780201052e-09,
    4.3561479824340854e-09,  1.2572828703961279e-09, -1.0299295373953859e-09,
};

/* (1/r - pi cot(pi r))/r in powers of r^2, |r| <= 1/4. */
static const double COT[] = {
    3.289868133696453,  2.164646467422292,  2.034686123960753,  2.0081547140556175,
    2.001988978760628,  2.0005023291473747, 1.9997575963678793, 2.008096818865649,
    1.8935261735077165, 2.755221118929638,
};

/* pi tan(pi g)/g in powers of g^2, 0 <= g <= 1/4; the constant term is split in two. */
static const double TAN_0[] = {9.869604401089358, 6.179363416470132e-16};
static const double TAN[] = {
    32.46969701133422, 128.1852258099466,   512.079451710931,   2048.0348867795287,
    8192.017792285242, 32767.748813475664,  131091.56839092867, 523233.8427396659,
    2138241.836670261, 7222173.20972902,    57556819.77639175,  -217174522.16133237,
    4051628230.518343, -19939625493.616333, 79402200629.82555,
};

/* B_2j/(2j)!, j = 1 ... */
static const double EULER_MACLAURIN[] = {
    0.08333333333333333,    -0.001388888888888889,   3.306878306878307e-05,
    -8.267195767195768e-07, 2.08767569878681e-08,    -5.284190138687493e-10,
    1.3382536530684679e-11, -3.3896802963225827e-13, 8.586062056277845e-15,
    -2.174868698558062e-16, 5.5090028283602295e-18,  -1.3954464685812522e-19,
    3.534707039629467e-21,  -8.953517427037546e-23,
};

/* Stirling's series for n!/(sqrt(2 pi n) (n/e)^n) in powers of 1/n (DLMF 5.11.4). */
static const double STIRLING[] = {
    0.0,
    1.0 / 12.0,
    1.0 / 288.0,
    -139.0 / 51840.0,
    -571.0 / 2488320.0,
    163879.0 / 209018880.0,
};

/* digamma(x + shift), result in [1, 2]; ROOT[0] - shift is exact for shift 0 and 1. */
static double digamma_near_root(double x, double shift)
{
    pyad_pair d = pyad_two_sum(x - (ROOT[0] - shift), -ROOT[1]);
    double tail =
        d.hi * pyad_poly(NEAR_ROOT, PYAD_COUNT(NEAR_ROOT), d.hi) + NEAR_ROOT_0[1];
    pyad_pair p = pyad_two_prod(d.hi, NEAR_ROOT_0[0]);
    return p.hi + (p.lo + (d.lo - ROOT[2]) * (NEAR_ROOT_0[0] + tail) + d.hi * tail);
}

/* pi cot(pi r), 1/4 <= |r| <= 1/2, as pi tan(pi (1/2 - |r|)): accurate at its zero. */
static double pi_cot(double r)
{
    double g = 0.5 - fabs(r), v = g * g;
    double tail = TAN_0[1] + v * pyad_poly(TAN, PYAD_COUNT(TAN), v);
    return copysign(g * (TAN_0[0] + tail), r);
}

/* digamma(x), x >= 1. Above 2: log y + 1/(24 y^2) - ..., y = x - 1/2 (DLMF 5.11.2 with
 * Bernoulli polynomials at 1/2), as a polynomial in 1/y^2. */
static double digamma_above_1(double x)
{
    if (x <= 2.0)
        return digamma_near_root(x, 0.0);
    double y = x - 0.5, v = 1.0 / y / y;
    return log(y) + v * pyad_poly(FAR_TAIL, PYAD_COUNT(FAR_TAIL), 4.5 * v - 1.0);
}

/* Below 1 by recurrence, below 0 by reflection (DLMF 5.5.2, 5.5.4), where pi cot(pi r)
 * near the poles is 1/r as a pair and a series. x > 0: 1.2 ulp. x < 0: 1.7 ulp where
 * the two terms have one sign, else an absolute 4 * 2^-53 of the larger: fewer digits
 * near the zeros, of which there is one between any two poles. */
double pyad_digamma(double x)
{
    if (x >= 1.0)
        return digamma_above_1(x);
    if (fabs(x) < 1e-20)
        return -1.0 / x;
    pyad_pair one = {1.0, 0.0};
    if (x > 0.0) {
        pyad_pair inverse = pyad_pair_div(one, (pyad_pair){x, 0.0});
        return (digamma_near_root(x, 1.0) - inverse.lo) - inverse.hi;
    }
    double r = x - rint(x);
    if (!(fabs(r) > 0.0))
        return NAN;
    pyad_pair mirror = pyad_two_sum(1.0, -x);
    double other = digamma_above_1(mirror.hi) + mirror.lo / (mirror.hi - 0.5);
    if (fabs(r) > 0.25)
        return other - pi_cot(r);
    pyad_pair inverse = pyad_pair_div(one, (pyad_pair){r, 0.0});
    other += r * pyad_poly(COT, PYAD_COUNT(COT), r * r) - inverse.lo;
    return other - inverse.hi;
}

/* Trigamma (n = 1), x > 0: below 2 by recurrence, two positive terms at most; above, 1/y
 * - 1/(12 y^3) + ..., y = x - 1/2, as a polynomial in 1/y^2. 1.8 ulp. */
static double trigamma(double x)
{
    double below = 0.0;
    if (x < 1.0) {
        below = 1.0 / x / x;
        x += 1.0;
    }
    double middle = 0.0;
    if (x < 2.0) {
        middle = 1.0 / x / x;
        x += 1.0;
    }
    double inverse = 1.0 / (x - 0.5), v = inverse * inverse;
    double tail = v * pyad_poly(TRIGAMMA, PYAD_COUNT(TRIGAMMA), 4.5 * v - 1.0);
    return below + (middle + (inverse - inverse * tail));
}

/* x^s zeta(s, x), s = n + 1 >= 2, x > 0: terms (1 + k/x)^-s up to a = x + k >= 12 + s or
 * until they vanish, then the Euler-Maclaurin tail (DLMF 25.11.7).
 * At most some 40 terms at any n and x. */
static pyad_pair hurwitz_scaled(double n, double x)
{
    double s = n + 1.0, weight = 1.0, a = x, lowest = 12.0 + s;
    pyad_pair sum = {0.0, 0.0};
    for (double k = 1.0; a < lowest; k += 1.0) {
        sum = pyad_pair_add(sum, (pyad_pair){weight, 0.0});
        weight = exp(-s * log1p(k / x));
        if (weight < 1e-19)
            return sum;
        a = x + k;
    }
    double rest = 0.0, term = s / a;
    for (int j = 0; j < PYAD_COUNT(EULER_MACLAURIN); j++) {
        double part = term * EULER_MACLAURIN[j];
        rest += part;
        if (fabs(part) < 1e-18)
            break;
        term *= (s + 2.0 * j + 1.0) / a * ((s + 2.0 * j + 2.0) / a);
    }
    pyad_pair head = pyad_pair_div((pyad_pair){a, 0.0}, (pyad_pair){n, 0.0});
    head = pyad_pair_add(head, pyad_two_sum(0.5, rest));
    return pyad_pair_add(sum, pyad_pair_mul(head, (pyad_pair){weight, 0.0}));
}

/* n! zeta(n + 1, x), x > 0: the magnitude of polygamma. n <= 170: n! as a pair times a
 * power of the mantissa of x, so that only the result can over- or underflow. Above:
 * Stirling's series (STIRLING), (n/(e x))^n with the base as a pair; from n = 1e15 on
 * only its limits 0 and inf are told apart. */
static double factorial_zeta(double n, double x)
{
    if (n == 1.0)
        return trigamma(x);
    if (isinf(x) || (x > 0x1p+1000 && n <= 170.0))
        return 0.0; /* underflows; the pairs below would overflow */
    pyad_pair h = hurwitz_scaled(n, x);
    if (n <= 170.0) {
        pyad_pair f = {1.0, 0.0};
        for (double k = 2.0; k <= n; k += 1.0)
            f = pyad_pair_mul(f, (pyad_pair){k, 0.0});
        int ex, ef, eh;
        double m = frexp(x, &ex);
        if (m < 0.5 * 1.4142135623730951) {
            m *= 2.0;
            ex -= 1;
        }
        double hi = frexp(f.hi, &ef);
        f = (pyad_pair){hi, ldexp(f.lo, -ef)};
        hi = frexp(h.hi, &eh);
        h = (pyad_pair){hi, ldexp(h.lo, -eh)};
        f = pyad_pair_mul(pyad_pair_mul(f, h), (pyad_pair){pow(m, -n - 1.0), 0.0});
        return ldexp(f.hi, ef + eh - ex * ((int)n + 1));
    }
    pyad_pair e = {2.718281828459045, 1.4456468917292502e-16};
    pyad_pair ex = pyad_pair_mul(e, (pyad_pair){x, 0.0});
    pyad_pair b = pyad_pair_div((pyad_pair){n, 0.0}, ex);
    if (n > 1e15 || !isfinite(ex.hi) || !(b.hi > 0.0) || !isfinite(b.lo))
        return n > ex.hi ? INFINITY : 0.0;
    double root = pow(b.hi, 0.5 * n);
    double front = sqrt(6.283185307179586 * n) / x * h.hi * exp(n * (b.lo / b.hi));
    front += front * pyad_poly(STIRLING, PYAD_COUNT(STIRLING), 1.0 / n);
    return front * root * root;
}

/* n! zeta(n + 1, a + b), a + b > 0, the rounding of a + b put back to first order. */
static double factorial_zeta_sum(double n, double a, double b)
{
    pyad_pair x = pyad_two_sum(a, b);
    double v = factorial_zeta(n, x.hi);
    return isinf(v) ? v : v * (1.0 - (n + 1.0) * (x.lo / x.hi));
}

/* n-th derivative of pi cot(pi r), even n <= MOST_COT, |r| near 1/2: pi^(n+1) Q_n(c),
 * c = cot(pi r), Q_0 = c, Q_(n+1) = (1 + c^2) Q_n' (all coefficients positive). */
#define MOST_COT 60
static double pi_cot_derivative(int n, double r)
{
    const double pi = 3.141592653589793;
    double q[2][MOST_COT + 3] = {{0.0, 1.0}}, c = pi_cot(r) / pi, sum = 0.0;
    for (int i = 0; i < n; i++) {
        double *from = q[i & 1], *to = q[~i & 1];
        memset(to, 0, sizeof q[0]);
        for (int k = 1; k <= i + 1; k++) {
            to[k - 1] += k * from[k];
            to[k + 1] += k * from[k];
        }
    }
    for (int k = n + 1; k >= 1; k -= 2)
        sum = sum * c * c + q[0][k];                       /* n is even */
    return sum * c * pow(pi, n + 1) * (1.0 + 3.9e-17 * n); /* pi is 3.9e-17 too small */
}

/* x < 0: the sum over the terms on both sides of 0 is zeta(s, r) + (-1)^s (zeta(s, 1 - r)
 * - zeta(s, 1 - x)), r the fraction of x, all of it n! times larger (DLMF 5.15.6 without
 * the derivatives of cot). For even n there is a zero between any two poles; near it left
 * - right comes from the derivative of cot (n <= MOST_COT), which keeps the digits that
 * the terms lose. x > 0: 2.5 ulp to n = 170, 5 above. x < 0: 2 ulp, even n 6 ulp, and
 * more within some 0.01 of a zero. */
double pyad_polygamma(double n, double x)
{
    if (!(n >= 0.0) || n != rint(n) || isinf(n) || x != x)
        return NAN;
    if (n == 0.0)
        return pyad_digamma(x);
    int odd = fmod(n, 2.0) != 0.0;
    if (x > 0.0)
        return odd ? factorial_zeta(n, x) : -factorial_zeta(n, x);
    if (x == 0.0)
        return odd ? INFINITY : -1.0 / x;
    double r = x - rint(x);
    if (!(fabs(r) > 0.0))
        return odd && !isinf(x) ? INFINITY : NAN;
    double outside = factorial_zeta_sum(n, 1.0, -x);
    if (!odd && n <= MOST_COT && fabs(r) > 0.5 - 0.3 / (n + 1.0))
        return -outside - pi_cot_derivative((int)n, r);
    double left = factorial_zeta_sum(n, r > 0.0 ? 0.0 : 1.0, r);
    double right = factorial_zeta_sum(n, r > 0.0 ? 1.0 : 0.0, -r);
    if (odd)
        return isinf(right) ? INFINITY : left + (right - outside);
    if (isinf(left) && isinf(right))
        return r == 0.5 || r == -0.5 ? -outside : r > 0.0 ? -INFINITY : INFINITY;
    return (right - outside) - left;
}
