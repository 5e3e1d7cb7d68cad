/* The double number system: what the operators in the rows of ops.def mean on plain
 * doubles, and the partials that are too long for their row. Another number system (dual
 * numbers, tape nodes) is another header with the same names. Included only where rows
 * are expanded, since the names are short. */
#pragma once
#include <math.h>

#include "special.h"

#define PYAD_PI 3.14159265358979323846
#define PYAD_LN2 0.69314718055994530942
#define PYAD_LN10 2.30258509299404568402
#define PYAD_SQRT_PI 1.77245385090551602730
#define PYAD_SQRT_2PI 2.50662827463100050242
#define PYAD_NAN ((double)NAN)
#define PYAD_INFINITY ((double)INFINITY)

/* ---- operators on doubles --------------------------------------------------------- */
#define K(CONSTANT) ((double)(CONSTANT))
#define VAL(X) (X)
/* False where a number is a variable, so that a partial that is the same everywhere has a
 * derivative in it all the same. */
#define FIXED(X) 1
#define SELECT(CONDITION, X, Y) ((CONDITION) ? (X) : (Y))
#define ADD(X, Y) ((X) + (Y))
#define SUB(X, Y) ((X) - (Y))
#define MUL(X, Y) ((X) * (Y))
#define DIV(X, Y) ((X) / (Y))
#define POW(X, Y) pyad_pow(X, Y)
#define XLOGY(X, Y) pyad_xlogy(X, Y)
#define NEG(X) (-(X))
#define SQUARE(X) ((X) * (X))
#define SIGN(X) pyad_sign(X)
#define COPYSIGN(X, Y) copysign(X, Y)
#define RINT(X) rint(X)
#define SQRT(X) sqrt(X)
#define EXP(X) exp(X)
#define LOG(X) log(X)
#define SIN(X) sin(X)
#define COS(X) cos(X)
#define SINH(X) sinh(X)
#define COSH(X) cosh(X)
#define TANH(X) tanh(X)
#define HYPOT(X, Y) hypot(X, Y)
#define EXPIT(X) pyad_expit(X)
#define NDTR(X) pyad_ndtr(X)
#define NDTR_EXCESS(X) pyad_ndtr_excess(X)
#define DIGAMMA(X) pyad_digamma(X)
#define POLYGAMMA(N, X) pyad_polygamma(N, X)

/* ---- partials named in ops.def, in the same operators ----------------------------- */

/* Outside the domain the partial is NaN, as the value is, though its formula goes on. */
#define DEFINED(X) SELECT(VAL(V) == VAL(V), X, V)

/* c / x where x has no business below 0: infinite at both zeros (x - -0.0 is 0.0 at
 * both), NaN below. */
#define DIV_POSITIVE(C, X)                                                               \
    SELECT(VAL(X) > 0, DIV(C, X),                                                        \
           SELECT(VAL(X) == 0, DIV(C, SUB(X, K(-0.0))), DIV(K(PYAD_NAN), X)))

/* a ** b: b * (v / a) is as accurate as b * a ** (b - 1) and costs no second pow; it
 * fails only where a is 0 or v has left the normal range. There F * G * a ** e is formed
 * with two halves of a ** e, which stay in range wherever the partial does. */
#define POW_NORMAL pyad_is_normal(VAL(V))
#define POW_SAFE (POW_NORMAL && pyad_is_normal(VAL(V) / VAL(A)))
#define POW_VERY_SAFE (POW_SAFE && pyad_is_normal(VAL(V) / VAL(A) / VAL(A)))
#define POW_LESS(N) SUB(B, K(N))
#define POW_HALF(E) POW(A, MUL(K(0.5), E))
#define POW_FAR(F, G, E)                                                                 \
    SELECT(VAL(A) > 0, MUL(MUL(F, POW_HALF(E)), MUL(G, POW_HALF(E))),                    \
           MUL(MUL(F, G), POW(A, E)))
#define POW_DAB_FAR(HALF) MUL(ADD(HALF, MUL(MUL(B, HALF), LOG(A))), HALF)
#define POW_DA                                                                           \
    SELECT(VAL(B) == 0 && (FIXED(B) || !POW_SAFE), K(0),                                 \
           SELECT(POW_SAFE, MUL(B, DIV(V, A)), POW_FAR(B, K(1), POW_LESS(1))))
#define POW_DB                                                                           \
    SELECT(VAL(A) == 0 && VAL(B) >= 0,                                                   \
           SELECT(FIXED(A) || VAL(B) > 1 || VAL(B) == 0, K(0), XLOGY(V, A)),             \
           SELECT(POW_NORMAL, MUL(V, LOG(A)), POW_FAR(LOG(A), K(1), B)))
#define POW_DAA                                                                          \
    SELECT((VAL(B) == 0 || VAL(B) == 1) && (FIXED(B) || !POW_VERY_SAFE), K(0),           \
           SELECT(VAL(B) == 2 && (FIXED(B) || !POW_VERY_SAFE), K(2),                     \
                  SELECT(POW_VERY_SAFE, MUL(MUL(B, POW_LESS(1)), DIV(DIV(V, A), A)),     \
                         POW_FAR(B, POW_LESS(1), POW_LESS(2)))))
#define POW_DAB                                                                          \
    SELECT(VAL(A) == 0 && VAL(B) > 1, K(0),                                              \
           SELECT(POW_SAFE, MUL(DIV(V, A), ADD(K(1), MUL(B, LOG(A)))),                   \
                  SELECT(VAL(A) > 0, POW_DAB_FAR(POW_HALF(POW_LESS(1))),                 \
                         MUL(POW(A, POW_LESS(1)), ADD(K(1), MUL(B, LOG(A)))))))
#define POW_DBB                                                                          \
    SELECT(VAL(A) == 0 && VAL(B) >= 0, K(0),                                             \
           SELECT(POW_NORMAL, MUL(MUL(V, LOG(A)), LOG(A)), POW_FAR(LOG(A), LOG(A), B)))

/* Both quotients apart: v - a overflows where a and b are large and of opposite signs. */
#define MOD_DB RINT(SUB(DIV(V, B), DIV(A, B)))

/* Equal infinities share. */
#define LOGADDEXP_TIE (VAL(A) == VAL(B) && isinf(VAL(A)))
#define LOGADDEXP_DA SELECT(LOGADDEXP_TIE, K(0.5), EXPIT(SUB(A, B)))
#define LOGADDEXP_DB SELECT(LOGADDEXP_TIE, K(0.5), EXPIT(SUB(B, A)))
#define LOGADDEXP_DAA MUL(LOGADDEXP_DA, LOGADDEXP_DB)
#define ASIN_DA DIV(K(1), SQRT(MUL(SUB(K(1), A), ADD(K(1), A))))
#define ATAN_DA                                                                          \
    SELECT(VAL(A) * VAL(A) < 1e300, DIV(K(1), ADD(K(1), SQUARE(A))), DIV(DIV(K(1), A), A))

/* f * x / (x*x + y*y), |x| >= |y|; halves keep the divisor below the largest float. */
#define ATAN2_OVER(F, X, Y)                                                              \
    DIV(MUL(K(0.5), F), MUL(X, ADD(K(0.5), MUL(K(0.5), SQUARE(DIV(Y, X))))))
#define ATAN2_CROSS(X, Y)                                                                \
    MUL(ATAN2_OVER(SUB(K(1), DIV(Y, X)), X, Y), ATAN2_OVER(ADD(K(1), DIV(Y, X)), X, Y))
#define ATAN2_STEEP (fabs(VAL(A)) > fabs(VAL(B)))
#define ATAN2_DA SELECT(ATAN2_STEEP, ATAN2_OVER(DIV(B, A), A, B), ATAN2_OVER(K(1), B, A))
#define ATAN2_DB                                                                         \
    NEG(SELECT(ATAN2_STEEP, ATAN2_OVER(K(1), A, B), ATAN2_OVER(DIV(A, B), B, A)))
#define ATAN2_DAA MUL(K(2), MUL(ATAN2_DA, ATAN2_DB))
#define ATAN2_DAB SELECT(ATAN2_STEEP, ATAN2_CROSS(A, B), NEG(ATAN2_CROSS(B, A)))

/* x / v: at the origin 0, the smallest subgradient; from halves where v overflowed. */
#define HYPOT_OVER(X)                                                                    \
    SELECT(VAL(V) == 0, K(0),                                                            \
           SELECT(VAL(V) < PYAD_INFINITY, DIV(X, V),                                     \
                  DIV(MUL(K(0.5), X), HYPOT(MUL(K(0.5), A), MUL(K(0.5), B)))))

/* (1 - v)(1 + v) is quick and good until v comes near 1, where 1 - v loses its digits. */
#define TANH_DA                                                                          \
    SELECT(VAL(V) * VAL(V) < 0.81, MUL(SUB(K(1), V), ADD(K(1), V)),                      \
           MUL(K(4), MUL(EXPIT(MUL(K(2), A)), EXPIT(MUL(K(-2), A)))))
#define ACOSH_DA DIV(DIV(K(1), SQRT(SUB(A, K(1)))), SQRT(ADD(A, K(1))))
#define ATANH_DA DIV(K(1), MUL(SUB(K(1), A), ADD(K(1), A)))
#define ERF_DA MUL(K(2 / PYAD_SQRT_PI), EXP(NEG(SQUARE(A))))
#define ERFINV_DA MUL(K(PYAD_SQRT_PI / 2), EXP(SQUARE(V)))
#define NDTR_DA MUL(K(1 / PYAD_SQRT_2PI), EXP(MUL(K(-0.5), SQUARE(A))))
#define LOG_NDTR_DA SELECT(VAL(A) < 0, SUB(NDTR_EXCESS(A), A), DIV(NDTR_DA, NDTR(A)))
#define LOGIT_DA DIV(DIV(K(1), A), SUB(K(1), A))

/* ---- values that C does not name -------------------------------------------------- */

/* True for a finite number that carries all its digits. */
static inline int pyad_is_normal(double x) { return isnormal(x); }

/* a ** b as Python's floats compute it; a * a is exact to half an ulp and twenty times
 * quicker. */
static inline double pyad_pow(double a, double b) { return b == 2 ? a * a : pow(a, b); }

static inline double pyad_sign(double a) { return a > 0 ? 1 : a < 0 ? -1 : a; }

static inline double pyad_maximum(double a, double b) { return a >= b || a != a ? a : b; }

static inline double pyad_minimum(double a, double b) { return a <= b || a != a ? a : b; }

/* Derivative of max(a, b) in a: 1 or 0, halves at a tie, NaN beside a NaN. */
static inline double pyad_step(double a, double b)
{
    return a > b ? 1 : a < b ? 0 : a == b ? 0.5 : PYAD_NAN;
}

/* As pyad_step for fmax, which passes over a NaN. */
static inline double pyad_choice(double a, double b)
{
    return b != b ? (a != a ? 0.5 : 1) : a > b ? 1 : a == b ? 0.5 : 0;
}

static inline double pyad_relu_slope(double a)
{
    return a > 0 ? 1 : a <= 0 ? 0 : PYAD_NAN;
}

/* Python's a % b: fmod, moved to the sign of b; a zero result has the sign of b too. */
static inline double pyad_mod(double a, double b)
{
    double r = fmod(a, b);
    if (r == 0)
        return copysign(0.0, b);
    return (r < 0) != (b < 0) ? r + b : r;
}

/* Python's a // b: the quotient that belongs to pyad_mod, a whole number. By 0 it is that
 * of IEEE. */
static inline double pyad_floordiv(double a, double b)
{
    if (b == 0)
        return a / b;
    double rest = fmod(a, b), quotient = (a - rest) / b;
    if (rest != 0 && (rest < 0) != (b < 0))
        quotient -= 1;
    if (quotient == 0)
        return copysign(0.0, a / b);
    double whole = floor(quotient);
    return quotient - whole > 0.5 ? whole + 1 : whole;
}
