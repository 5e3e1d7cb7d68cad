/* Special functions and accurate reductions: double in, double out.
 *
 * All are pure: no state, no errno promised, any thread. NaN in, NaN out. "ulp" below and
 * in the sources is the worst error measured against Arb at 300 bits, in units of the
 * last place of the result.
 *
 *   special.c   gamma family      normal.c    error function and normal distribution
 *   logspace.c  logistic family   accurate.c  sums, dot products, norms
 */
#ifndef PYAD_SPECIAL_H
#define PYAD_SPECIAL_H

#include <stddef.h>

/* special.c */
double pyad_gamma(double x);               /* +-inf at +-0, NaN at negative integers */
double pyad_lgamma(double x);              /* log|gamma(x)|; +inf at poles */
double pyad_digamma(double x);             /* -+inf at +-0, NaN at negative integers */
double pyad_polygamma(double n, double x); /* n = 0, 1, ...; other n give NaN */

/* normal.c */
double pyad_erfinv(double y);   /* +-inf at +-1, NaN outside */
double pyad_ndtr(double x);     /* Phi(x), the standard normal distribution */
double pyad_log_ndtr(double x); /* log Phi(x) */
double
pyad_ndtr_excess(double x); /* x + phi(x)/Phi(x), positive and decreasing at x < 0 */

/* logspace.c */
double pyad_expit(double x);               /* 1/(1 + exp(-x)) */
double pyad_logit(double p);               /* log(p/(1 - p)), NaN outside [0, 1] */
double pyad_softplus(double x);            /* log(1 + exp(x)) */
double pyad_logaddexp(double a, double b); /* log(exp(a) + exp(b)) */
double pyad_xlogy(double x, double y);     /* x*log(y), and 0 if x = 0 and y is not NaN */
double pyad_logsumexp(const double *x, size_t n); /* -inf if n = 0 */

/* accurate.c: x and y are borrowed and may be NULL if n = 0 (result 0). */
double pyad_compensated_sum(const double *x, size_t n);
double pyad_compensated_dot(const double *x, const double *y, size_t n);
double pyad_norm2(const double *x, size_t n); /* Euclidean norm */

/* many.c: the value, and the partials in dx and dy. Only a dot has y and dy. */
double pyad_many_sum(size_t n, const double *x, const double *y, double *dx, double *dy);
double pyad_many_dot(size_t n, const double *x, const double *y, double *dx, double *dy);
double pyad_many_prod(size_t n, const double *x, const double *y, double *dx, double *dy);
double pyad_many_logsumexp(size_t n, const double *x, const double *y, double *dx,
                           double *dy);
double pyad_many_norm(size_t n, const double *x, const double *y, double *dx, double *dy);

#endif
