/* The hyperbolic tangent of many numbers, in vector lanes: 1.8 ulp. */
#pragma once
#include <stddef.h>

/* Whether it is quicker than NumPy's loop on this machine. */
int pyad_tanh_is_quick(void);
/* `out` must not be `a`. */
void pyad_tanh_values(size_t count, const double *a, double *out);
