"""`scipy.stats`: densities and distribution functions of the common distributions.

`norm.logpdf(x, loc, scale)` and its like take Arrays and variables in every real argument: the
point, the shapes, `loc` and `scale`. Values are SciPy's, outside the support too: there the density
is 0 (its logarithm -inf) with derivative 0, and parameters that are not allowed give NaN. At the
ends of the support the derivative is the one from inside. Given plain numbers, these are SciPy's
own methods.

A distribution function that has no closed derivative in a shape (`gamma.cdf` in `a`) refuses a
variable there. The points of a discrete distribution are whole numbers, and constant.
"""

from __future__ import annotations

from pyad.scipy.stats.continuous import (
    beta,
    cauchy,
    chi2,
    expon,
    f,
    gamma,
    gumbel_l,
    gumbel_r,
    halfcauchy,
    halfnorm,
    invgamma,
    laplace,
    logistic,
    lognorm,
    norm,
    pareto,
    rayleigh,
    skewnorm,
    t,
    truncnorm,
    uniform,
    vonmises,
    weibull_min,
)
from pyad.scipy.stats.discrete import bernoulli, binom, geom, nbinom, poisson
from pyad.scipy.stats.vectors import dirichlet, multinomial, multivariate_normal

__all__ = [
    "bernoulli",
    "beta",
    "binom",
    "cauchy",
    "chi2",
    "dirichlet",
    "expon",
    "f",
    "gamma",
    "geom",
    "gumbel_l",
    "gumbel_r",
    "halfcauchy",
    "halfnorm",
    "invgamma",
    "laplace",
    "logistic",
    "lognorm",
    "multinomial",
    "multivariate_normal",
    "nbinom",
    "norm",
    "pareto",
    "poisson",
    "rayleigh",
    "skewnorm",
    "t",
    "truncnorm",
    "uniform",
    "vonmises",
    "weibull_min",
]
