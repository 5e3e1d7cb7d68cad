/* A dense matrix product of its own, see multiply.c. */
#pragma once
#include <stddef.h>

/* out[i * out_row + j] = the sum over l of x[i * x_row + l * x_column] * y[l * y_row + j
 * * y_column], or that added to it. Returns 0, with nothing written, where this machine
 * has no lanes for it or there is no memory. m, k and n are not 0; out lies apart from x
 * and y. */
int pyad_multiply(size_t m, size_t k, size_t n, const double *x, ptrdiff_t x_row,
                  ptrdiff_t x_column, const double *y, ptrdiff_t y_row,
                  ptrdiff_t y_column, double *out, ptrdiff_t out_row, int add);
