/* Values and partials of the operations of any number of arguments, all with the same
 * parameters: the numbers x (and y, of a dot), and room for as many partials. See
 * special.h. */
#include <math.h>
#include <string.h>

#include "special.h"

double pyad_many_sum(size_t n, const double *x, const double *y, double *dx, double *dy)
{
    (void)y, (void)dy;
    for (size_t i = 0; i < n; i++)
        dx[i] = 1;
    return pyad_compensated_sum(x, n);
}

double pyad_many_dot(size_t n, const double *x, const double *y, double *dx, double *dy)
{
    memcpy(dx, y, n * sizeof(double));
    memcpy(dy, x, n * sizeof(double));
    return pyad_compensated_dot(x, y, n);
}

/* The partial is the product of all before and of all after: right where factors are 0.
 */
double pyad_many_prod(size_t n, const double *x, const double *y, double *dx, double *dy)
{
    (void)y, (void)dy;
    double before = 1, after = 1;
    for (size_t i = 0; i < n; i++) {
        dx[i] = before;
        before *= x[i];
    }
    for (size_t i = n; i-- > 0;) {
        dx[i] *= after;
        after *= x[i];
    }
    return before;
}

/* Partials exp(x - top) over their sum: exp(x - value) would have the error of a large
 * value. An infinite value is shared evenly by the arguments that have it. */
double pyad_many_logsumexp(size_t n, const double *x, const double *y, double *dx,
                           double *dy)
{
    (void)y, (void)dy;
    double value = pyad_logsumexp(x, n), top = -INFINITY;
    for (size_t i = 0; i < n; i++)
        top = x[i] > top ? x[i] : top;
    for (size_t i = 0; i < n; i++)
        dx[i] = isinf(value) ? x[i] == value : exp(x[i] - top);
    double sum = pyad_compensated_sum(dx, n);
    for (size_t i = 0; i < n; i++)
        dx[i] /= sum;
    return value;
}

/* Partials x / norm; 0 at the origin, the smallest of the subgradients. */
double pyad_many_norm(size_t n, const double *x, const double *y, double *dx, double *dy)
{
    (void)y, (void)dy;
    double value = pyad_norm2(x, n);
    for (size_t i = 0; i < n; i++)
        dx[i] = value == 0 ? 0 : x[i] / value;
    return value;
}
