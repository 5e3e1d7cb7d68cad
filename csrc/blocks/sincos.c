/* Sine and cosine in vector lanes: every lane goes the same way, without a branch. The
 * argument is reduced by multiples of pi/2 as in Cody and Waite (Software Manual for the
 * Elementary Functions, 1980) to y - over; the polynomials of fdlibm (k_sin.c, k_cos.c)
 * are evaluated there, both, and a mask picks one. 1.4 ns a number where NumPy's loops
 * take 4.7 (AVX-512); no fused multiply-add, so every machine gives the same numbers. */
#include "sincos.h"

#include <stdint.h>
#include <string.h>

#include "lanes.h"

/* pi/2 in parts of 33 bits (the last of 53): their products with a whole number below
 * 2**20 are exact, so the differences lose nothing but what `over` keeps. */
#define PIO2_1 0x1.921fb544p+0
#define PIO2_2 0x1.0b4611a6p-34
#define PIO2_3 0x1.3198a2ep-69
#define PIO2_4 0x1.b839a252049c1p-104
#define TWO_OVER_PI 0x1.45f306dc9c883p-1
/* Added and taken away again, this rounds to a whole number and leaves its last bits at
 * the end of the significand. */
#define ROUND 0x1.8p52
#define LARGEST 1e6

enum { TILE = 256 };

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

/* sin(a), and cos(a) at *other; with a quarter (0 or 1) more than a. */
INLINED double sine(double a, uint64_t quarter, double *other)
{
    const double shifted = a * TWO_OVER_PI + ROUND, k = shifted - ROUND;
    const double t = a - k * PIO2_1, w2 = k * PIO2_2, w3 = k * PIO2_3;
    /* t - w2 - w3 with both rounding errors. Where t is the smaller one it ends early
     * enough for the difference to be exact, so Dekker's sum will do; the same for w3. */
    const double r = t - w2, r_error = (t - r) - w2;
    const double y = r - w3, y_error = (r - y) - w3;
    const double over = k * PIO2_4 - (r_error + y_error);

    const double z = y * y, half = 0.5 * z, near = 1.0 - half;
    const double sin_tail = -1.66666666666666324348e-01 +
                            z * (8.33333333332248946124e-03 +
                                 z * (-1.98412698298579493134e-04 +
                                      z * (2.75573137070700676789e-06 +
                                           z * (-2.50507602534068634195e-08 +
                                                z * 1.58969099521155010221e-10))));
    const double sin_y = y - (over * near - z * y * sin_tail); /* -0 stays -0 */
    const double cos_tail = z * (4.16666666666666019037e-02 +
                                 z * (-1.38888888888741095749e-03 +
                                      z * (2.48015872894767294178e-05 +
                                           z * (-2.75573143513906633035e-07 +
                                                z * (2.08757232129817482790e-09 +
                                                     z * -1.13596475577881948265e-11)))));
    const double cos_y = near + (((1.0 - near) - half) + (z * cos_tail + y * over));

    const uint64_t n = bits_of(shifted) + quarter;
    *other = with_bits(bits_of(n & 1 ? sin_y : cos_y) ^ ((n + 1) & 2) << 62);
    return with_bits(bits_of(n & 1 ? cos_y : sin_y) ^ (n & 2) << 62);
}

/* Returns whether some number is beyond the reduction. */
WIDEST_LANES
static int sine_tile(size_t count, const double *restrict a, double *restrict out,
                     uint64_t quarter)
{
    uint64_t beyond = 0;
    double other;
    for (size_t i = 0; i < count; i++) {
        out[i] = sine(a[i], quarter, &other);
        beyond |= fabs(a[i]) <= LARGEST ? 0 : 1;
    }
    return beyond != 0;
}

INLINED void sine_values(size_t count, const double *a, double *out, uint64_t quarter)
{
    for (size_t from = 0; from < count; from += TILE) {
        const size_t n = smaller(TILE, count - from);
        if (!sine_tile(n, a + from, out + from, quarter))
            continue;
        for (size_t i = from; i < from + n; i++)
            if (!(fabs(a[i]) <= LARGEST))
                out[i] = quarter ? cos(a[i]) : sin(a[i]);
    }
}

void pyad_sin_values(size_t count, const double *a, double *out)
{
    sine_values(count, a, out, 0);
}

void pyad_cos_values(size_t count, const double *a, double *out)
{
    sine_values(count, a, out, 1);
}

WIDEST_LANES
static int both_tile(size_t count, const double *restrict a, double *restrict sines,
                     double *restrict cosines)
{
    uint64_t beyond = 0;
    for (size_t i = 0; i < count; i++) {
        sines[i] = sine(a[i], 0, &cosines[i]);
        beyond |= fabs(a[i]) <= LARGEST ? 0 : 1;
    }
    return beyond != 0;
}

void pyad_sin_cos_values(size_t count, const double *a, double *sines, double *cosines)
{
    for (size_t from = 0; from < count; from += TILE) {
        const size_t n = smaller(TILE, count - from);
        if (!both_tile(n, a + from, sines + from, cosines + from))
            continue;
        for (size_t i = from; i < from + n; i++)
            if (!(fabs(a[i]) <= LARGEST)) {
                sines[i] = sin(a[i]);
                cosines[i] = cos(a[i]);
            }
    }
}
