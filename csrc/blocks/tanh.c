/* The hyperbolic tangent in vector lanes: every lane goes the same way, without a branch.
 * With m = expm1(-2|x|), tanh|x| = -m / (2 + m). The argument of expm1 is reduced by
 * multiples of log 2 as in fdlibm (s_expm1.c); the series is evaluated there, and what
 * two of the sums round off is put back. No fused multiply-add. With AVX2 3.1 ns a number
 * where NumPy's loop takes 8.7; with AVX-512 NumPy's is quicker. */
#include "tanh.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

#include "lanes.h"

#define SIGN (UINT64_C(1) << 63)
#define LOG2E 0x1.71547652b82fep+0
/* log 2 in two parts, the first of 32 bits: its product with a small whole number is
 * exact. */
#define LOG2_1 0x1.62e42feep-1
#define LOG2_2 0x1.a39ef35793c76p-33
/* Added and taken away again, this rounds to a whole number and leaves its last bits at
 * the end of the significand. */
#define ROUND 0x1.8p52
#define LARGEST 20.0 /* from 19.1 on it is 1 */

/* 1/2!, 1/3! ... 1/13! */
#define SERIES(R)                                                                        \
    (0x1p-1 +                                                                            \
     (R) *                                                                               \
         (0x1.5555555555555p-3 +                                                         \
          (R) *                                                                          \
              (0x1.5555555555555p-5 +                                                    \
               (R) *                                                                     \
                   (0x1.1111111111111p-7 +                                               \
                    (R) *                                                                \
                        (0x1.6c16c16c16c17p-10 +                                         \
                         (R) *                                                           \
                             (0x1.a01a01a01a01ap-13 +                                    \
                              (R) *                                                      \
                                  (0x1.a01a01a01a01ap-16 +                               \
                                   (R) *                                                 \
                                       (0x1.71de3a556c734p-19 +                          \
                                        (R) *                                            \
                                            (0x1.27e4fb7789f5cp-22 +                     \
                                             (R) *                                       \
                                                 (0x1.ae64567f544e4p-26 +                \
                                                  (R) *                                  \
                                                      (0x1.1eed8eff8d898p-29 +           \
                                                       (R) *                             \
                                                           0x1.6124613a86d09p-33)))))))))))

static inline uint64_t bits_of(double x)
{
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static inline double with_bits(uint64_t bits)
{
    double x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static inline double hyperbolic_tangent(double x)
{
    const uint64_t sign = bits_of(x) & SIGN;
    const double size = with_bits(bits_of(x) ^ sign);
    const double u = -2.0 * (size > LARGEST ? LARGEST : size); /* NaN stays NaN */
    const double shifted = u * LOG2E + ROUND, k = shifted - ROUND;
    const double t = u - k * LOG2_1, w = k * LOG2_2;
    const double r = t - w, over = (t - r) - w;
    const double q = r + (r * r * SERIES(r) + over);
    const double power = with_bits((bits_of(shifted) + 1023) << 52); /* 2^k */
    const double m = power * q + (power - 1.0), m_over = power * q - (m - (power - 1.0));
    const double d = 2.0 + m, d_over = (m - (d - 2.0)) + m_over;
    const double y = -m / d, about = 1.457 - 0.5 * d; /* 1/d, to 5 % */
    return with_bits((bits_of(y - (y * d_over + m_over) * about) & ~SIGN) | sign);
}

int pyad_tanh_is_quick(void)
{
#if defined(__x86_64__) && defined(__GNUC__)
    return !__builtin_cpu_supports("avx512f");
#else
    return 0;
#endif
}

WIDEST_LANES
void pyad_tanh_values(size_t count, const double *restrict a, double *restrict out)
{
    for (size_t i = 0; i < count; i++)
        out[i] = hyperbolic_tangent(a[i]);
}
