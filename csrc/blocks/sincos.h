/* Sine and cosine of many numbers, in vector lanes: 0.8 ulp, and libm's beyond a million,
 * at infinities and NaN. `out` must not be `a`. */
#pragma once
#include <stddef.h>

void pyad_sin_values(size_t count, const double *a, double *out);
void pyad_cos_values(size_t count, const double *a, double *out);
/* Both, the same numbers in hardly more time than one of them. */
void pyad_sin_cos_values(size_t count, const double *a, double *sines, double *cosines);
