/* The normal distribution and the inverse error function.
 *
 * Everything rests on the scaled tail M(z) = exp(z^2/2) Phi(-z), z >= 0 (Mills' ratio
 * over sqrt(2 pi); DLMF 7.8), which falls smoothly from 1/2 and so needs no care about
 * range: exp(-z^2/2) is put on with the rounding of z^2 kept. The coefficients are
 * Chebyshev interpolants computed with mpmath at 60 digits and converted to powers of t.
 * Complex arguments and quantiles of the normal (use sqrt(2) erfinv(2p - 1)) are not
 * here.
 */
#include "special.h"
#include "twofold.h"

/* (z + 3/2) M(z) in powers of t = (z - 4)/(z + 4), which takes [0, inf] to [-1, 1];
 * the constant term is split in two. Truncation 1e-18. */
static const double MILLS_0[] = {0.5192585271608291, 5.433272290131585e-17};
static const double MILLS[] = {
    -0.1819023381007535,     0.0761892623940561,      -0.007253339615319989,
    -0.016765435374865377,   0.01369004973870272,     -0.004748597554934241,
    3.378382637075308e-05,   0.0006013049864914027,   -0.00011720768557717179,
    -7.352912768188364e-05,  2.3565728905796715e-05,  1.1475605865147148e-05,
    -3.846477977311623e-06,  -2.283647931191219e-06,  5.062527716028009e-07,
    5.07772200102559e-07,    -2.254844042127581e-08,  -1.0986816763298048e-07,
    -1.6991118900720044e-08, 2.045265658796005e-08,   7.620947676195414e-09,
    -2.8034699079160155e-09, -1.7314507268976111e-09, 2.056680819929304e-10,
    1.8365581162111757e-10,
};

/* (z + 3/2) (phi(z)/Phi(-z) - z), likewise. */
static const double EXCESS_0[] = {1.240839294692091, -7.718476235915132e-17};
static const double EXCESS[] = {
    -0.2487477335708272,     -0.09309367285799254,    0.172030045386404,
    -0.0739299854157483,     -0.020023882077647187,   0.032296258782811386,
    -0.004407647456058265,   -0.009586047408481001,   0.004070785356179683,
    0.00223109967257195,     -0.00182572452564776,    -0.000367841311927112,
    0.0006434056465892836,   9.059442885416106e-06,   -0.00019370687704166806,
    2.51845951540974e-05,    5.0260790735479146e-05,  -1.3901243980013072e-05,
    -1.0716168923009858e-05, 5.262229942155489e-06,   1.525787729940113e-06,
    -1.6504245211789885e-06, 5.984104150798688e-08,   4.4357965693189287e-07,
    -1.3360187223714603e-07, -9.809788169883731e-08,  5.0273667005503696e-08,
    1.5685677453368855e-08,  -1.0406176785062103e-08, -1.31810942998751e-09,
    9.996981632582554e-10,
};

/* erfinv(y)/y in powers of y^2, |y| <= 17/32. */
static const double ERFINV_0[] = {0.886226925452758, -3.660524747609491e-17};
static const double ERFINV[] = {
    0.23201366653465177,  0.12755617530631158, 0.08655212916798605,   0.06495962170791392,
    0.051731153793661014, 0.04283941788378843, 0.03642719382049325,   0.03207964354941419,
    0.025176268767680275, 0.03935615821074546, -0.028765152119340637, 0.144923337650979,
    -0.16818392053593587, 0.15987782964179378,
};

/* erfinv(y)/(s + 2) in powers of (s - 2)/(s + 2), s = sqrt(-log(1 - y)), y in [.5, 1):
 * a first guess, to 3e-7. */
static const double ERFINV_GUESS[] = {
    0.417047132275311,     0.6325051274270422,  0.003566745967396486,
    -0.11085575445716861,  0.1046503969128414,  -0.06182184867043691,
    0.0017389906731276408, 0.04165622223278547, -0.03376320591815677,
};

#define SQRT_2PI 2.5066282746310007
#define SQRT_2PI_LO (-1.8328579980459167e-16)
#define SQRT_2 1.4142135623730951
#define SQRT_2_LO (-9.667293313452913e-17)
#define HALF_SQRT_PI 0.886226925452758
#define FAR 1e10 /* z beyond which the leading terms of the expansions at infinity do */

/* The value at t of a series with a split constant term, divided by s.hi + s.lo. */
static inline pyad_pair series_over(const double *c0, const double *c, int n, double t,
                                    pyad_pair s)
{
    double tail = t * pyad_poly(c, n, t);
    double g = c0[0] + tail;
    pyad_pair numerator = {g, ((c0[0] - g) + tail) + c0[1]};
    return pyad_pair_div(numerator, s);
}

/* M(z), 0 <= z <= FAR, with less than 1 ulp of error. */
static inline pyad_pair scaled_tail(double z)
{
    return series_over(MILLS_0, MILLS, PYAD_COUNT(MILLS), (z - 4.0) / (z + 4.0),
                       pyad_two_sum(z, 1.5));
}

/* Phi(-z) for z >= 0. Where exp(-z^2/2) nears the denormals it is computed 2^64 times
 * larger, so that the only coarse rounding is the last. */
static inline pyad_pair lower_tail(double z)
{
    pyad_pair zero = {0.0, 0.0};
    if (z > 40.0)
        return zero;
    pyad_pair h = pyad_two_prod(z, z), m = scaled_tail(z);
    h.hi *= 0.5;
    h.lo *= 0.5;
    double scale = 1.0;
    if (h.hi > 600.0) {
        pyad_pair log_scale = {-44.3614195558365, -1.4841899608616317e-15}; /* 64 log 2 */
        h = pyad_pair_add(h, log_scale);
        scale = 0x1p-64;
    }
    double e = exp(-h.hi);
    pyad_pair p = pyad_two_prod(e, m.hi);
    p = pyad_two_sum(p.hi, p.lo + e * (m.lo - m.hi * h.lo));
    p.hi *= scale;
    p.lo *= scale;
    return p;
}

/* 2.0 ulp (99 in 100 below 1.2), denormal results included; beyond |x| = 40 the limits.
 */
double pyad_ndtr(double x)
{
    if (x != x)
        return x;
    pyad_pair p = lower_tail(fabs(x));
    return x < 0.0 ? p.hi : (1.0 - p.hi) - p.lo;
}

/* x <= 0: log M(-x) - x^2/2, two terms of one sign. x > 0: log1p(-Phi(-x)),
 * but log, the more accurate of the two, where little cancels. 2.1 ulp. */
double pyad_log_ndtr(double x)
{
    if (x > 0.0) {
        pyad_pair p = lower_tail(x);
        if (x < 2.0) {
            pyad_pair s = pyad_two_sum(1.0, -p.hi);
            return log(s.hi) + (s.lo - p.lo) / s.hi;
        }
        return log1p(-p.hi) - p.lo / (1.0 - p.hi);
    }
    if (x < -FAR)
        return -0.5 * x * x;
    pyad_pair h = pyad_two_prod(x, x), m = scaled_tail(-x);
    return (log(m.hi) + (m.lo / m.hi - 0.5 * h.lo)) - 0.5 * h.hi;
}

/* x <= 0: its own series, since x cancels (the excess is about -1/x). x > 0: as written,
 * phi and Phi as pairs, since they are as large as x. 1.2 ulp. */
double pyad_ndtr_excess(double x)
{
    if (x > 40.0)
        return x;
    if (x > 0.0) {
        pyad_pair p = lower_tail(x), h = pyad_two_prod(x, x);
        pyad_pair upper = pyad_two_sum(1.0, -p.hi), root = {SQRT_2PI, SQRT_2PI_LO};
        upper.lo -= p.lo;
        double e = exp(-0.5 * h.hi);
        pyad_pair grown = {e, -0.5 * h.lo * e};
        pyad_pair ratio = pyad_pair_div(grown, pyad_pair_mul(upper, root));
        pyad_pair s = pyad_two_sum(x, ratio.hi);
        return s.hi + (s.lo + ratio.lo);
    }
    if (x < -FAR)
        return -1.0 / x;
    double t = (-x - 4.0) / (-x + 4.0);
    return series_over(EXCESS_0, EXCESS, PYAD_COUNT(EXCESS), t, pyad_two_sum(-x, 1.5)).hi;
}

/* |y| <= 17/32: a power series. Otherwise a guess to 3e-7 and one step of Halley's method
 * for erfc(x) = 1 - |y| (exact), whose error, about (x^2 + 1)/3 of the guess's cubed, is
 * below 1e-17. The residual is formed with exp(x^2) multiplied in: sqrt(pi)/2 ((1 - |y|)
 * exp(x^2)
 * - 2 M(x sqrt 2)). 1.3 ulp. */
double pyad_erfinv(double y)
{
    double a = fabs(y);
    if (a <= 0.53125) {
        double v = y * y;
        return y * (ERFINV_0[0] +
                    (ERFINV_0[1] + v * pyad_poly(ERFINV, PYAD_COUNT(ERFINV), v)));
    }
    if (!(a < 1.0))
        return a == 1.0 ? copysign(INFINITY, y) : NAN;
    double q = 1.0 - a, s = sqrt(-log(q));
    double x = (s + 2.0) *
               pyad_poly(ERFINV_GUESS, PYAD_COUNT(ERFINV_GUESS), (s - 2.0) / (s + 2.0));
    pyad_pair square = pyad_two_prod(x, x), z = pyad_two_prod(x, SQRT_2);
    z.lo += x * SQRT_2_LO;
    pyad_pair m = scaled_tail(z.hi);
    double slope = z.hi * m.hi - 1.0 / SQRT_2PI; /* M' */
    pyad_pair grown = pyad_two_prod(q, exp(square.hi));
    grown.lo += grown.hi * square.lo - 2.0 * (m.lo + slope * z.lo);
    double u = HALF_SQRT_PI * ((grown.hi - 2.0 * m.hi) + grown.lo);
    x -= u / (1.0 + x * u);
    return copysign(x, y);
}
