"""Continuous distributions."""

from __future__ import annotations

from typing import Any

import numpy as np

import pyad.functions as _native
from pyad.array._rules import (
    seen,
    select,
    shape_of,
)
from pyad.scipy.stats._common import (
    INF,
    LOG_2,
    LOG_PI,
    LOG_ROOT_2PI,
    betainc,
    betaln,
    erf,
    exp,
    expit,
    expm1,
    gammainc,
    gammaincc,
    i0e,
    lgamma,
    log,
    log1p,
    log_ndtr,
    ndtr,
    poch,
    softplus,
    square,
    stdtr,
    xlog1py,
    xlogy,
)
from pyad.scipy.stats._family import Distribution

__all__ = [
    "beta",
    "cauchy",
    "chi2",
    "expon",
    "f",
    "gamma",
    "gumbel_l",
    "gumbel_r",
    "halfcauchy",
    "halfnorm",
    "invgamma",
    "laplace",
    "logistic",
    "lognorm",
    "norm",
    "pareto",
    "rayleigh",
    "skewnorm",
    "t",
    "truncnorm",
    "uniform",
    "vonmises",
    "weibull_min",
]


def _norm_log(z: Any) -> Any:
    return -0.5 * square(z) - LOG_ROOT_2PI


norm = Distribution(
    "norm", "", _norm_log, cdf=ndtr, logcdf=log_ndtr, sf=lambda z: ndtr(-z),
    logsf=lambda z: log_ndtr(-z),
)  # fmt: skip


def _t_log(z: Any, df: Any) -> Any:
    endless = np.isinf(seen(df))
    if np.any(endless):
        finite = select(endless, np.ones(shape_of(df)), df)
        return select(endless, _norm_log(z), _t_log(z, finite))
    return (
        log(poch(0.5 * df, 0.5)) - 0.5 * (log(df) + LOG_PI)
        - 0.5 * (df + 1.0) * log1p(square(z) / df)
    )  # fmt: skip


t = Distribution("t", "df", _t_log, cdf=lambda z, df: stdtr(df, z), sf=lambda z, df: stdtr(df, -z))


gamma = Distribution(
    "gamma", "a", lambda z, a: xlogy(a - 1.0, z) - z - lgamma(a), (0.0, INF),
    cdf=lambda z, a: gammainc(a, z), sf=lambda z, a: gammaincc(a, z), inside=1.0,
)  # fmt: skip


beta = Distribution(
    "beta", "a b",
    lambda z, a, b: xlog1py(b - 1.0, -z) + xlogy(a - 1.0, z) - betaln(a, b), (0.0, 1.0),
    cdf=lambda z, a, b: betainc(a, b, z), sf=lambda z, a, b: betainc(b, a, 1.0 - z), inside=0.5,
)  # fmt: skip


expon = Distribution(
    "expon", "", lambda z: -z, (0.0, INF), inside=1.0, cdf=lambda z: -expm1(-z),
    sf=lambda z: exp(-z), logsf=lambda z: -z,
)  # fmt: skip


def _lognorm_log(z: Any, s: Any) -> Any:
    at_end = np.asarray(seen(z) == 0)
    if np.any(at_end):
        inner = _lognorm_log(select(at_end, np.ones(shape_of(z)), z), s)
        return select(at_end, np.full(shape_of(z), -INF), inner)
    logarithm = log(z)
    return -0.5 * square(logarithm / s) - log(s) - logarithm - LOG_ROOT_2PI


lognorm = Distribution(
    "lognorm", "s", _lognorm_log, (0.0, INF), inside=1.0,
    cdf=lambda z, s: ndtr(log(z) / s), logcdf=lambda z, s: log_ndtr(log(z) / s),
    sf=lambda z, s: ndtr(-log(z) / s), logsf=lambda z, s: log_ndtr(-log(z) / s),
)  # fmt: skip


def _laplace_cdf(z: Any) -> Any:
    half = 0.5 * exp(-abs(z))
    return select(seen(z) > 0, 1.0 - half, half)


def _laplace_logcdf(z: Any) -> Any:
    return select(seen(z) > 0, log1p(-0.5 * exp(-abs(z))), -abs(z) - LOG_2)


laplace = Distribution(
    "laplace", "", lambda z: -LOG_2 - abs(z), cdf=_laplace_cdf,
    sf=lambda z: _laplace_cdf(-z), logcdf=_laplace_logcdf, logsf=lambda z: _laplace_logcdf(-z),
)  # fmt: skip


logistic = Distribution(
    "logistic", "", lambda z: -softplus(z) - softplus(-z), cdf=expit,
    sf=lambda z: expit(-z), logcdf=lambda z: -softplus(-z), logsf=lambda z: -softplus(z),
)  # fmt: skip


cauchy = Distribution(
    "cauchy", "", lambda z: -LOG_PI - log1p(square(z)),
    cdf=lambda z: _native.atan2(1.0, -z) / np.pi, sf=lambda z: _native.atan2(1.0, z) / np.pi,
)  # fmt: skip


chi2 = Distribution(
    "chi2", "df",
    lambda z, df: xlogy(0.5 * df - 1.0, z) - 0.5 * z - lgamma(0.5 * df) - 0.5 * LOG_2 * df,
    (0.0, INF), cdf=lambda z, df: gammainc(0.5 * df, 0.5 * z),
    sf=lambda z, df: gammaincc(0.5 * df, 0.5 * z), inside=1.0,
)  # fmt: skip


def _f_log(z: Any, n: Any, m: Any) -> Any:
    return (
        0.5 * m * log(m) + 0.5 * n * log(n) + xlogy(0.5 * n - 1.0, z)
        - 0.5 * (n + m) * log(m + n * z) - betaln(0.5 * n, 0.5 * m)
    )  # fmt: skip


f = Distribution(
    "f", "dfn dfd", _f_log, (0.0, INF), inside=1.0,
    cdf=lambda z, n, m: betainc(0.5 * n, 0.5 * m, n * z / (n * z + m)),
    sf=lambda z, n, m: betainc(0.5 * m, 0.5 * n, m / (n * z + m)),
)  # fmt: skip


uniform = Distribution(
    "uniform", "", lambda z: 0.0 * z, (0.0, 1.0), inside=0.5, cdf=lambda z: +z,
    sf=lambda z: 1.0 - z,
)  # fmt: skip


weibull_min = Distribution(
    "weibull_min", "c", lambda z, c: log(c) + xlogy(c - 1.0, z) - _power(z, c), (0.0, INF),
    inside=1.0, cdf=lambda z, c: -expm1(-_power(z, c)), sf=lambda z, c: exp(-_power(z, c)),
    logsf=lambda z, c: -_power(z, c),
)  # fmt: skip


def _power(z: Any, c: Any) -> Any:
    return _native.pow(z, c)


pareto = Distribution(
    "pareto", "b", lambda z, b: log(b) - (b + 1.0) * log(z), (1.0, INF), inside=2.0,
    cdf=lambda z, b: -expm1(-b * log(z)), sf=lambda z, b: exp(-b * log(z)),
    logsf=lambda z, b: -b * log(z),
)  # fmt: skip


gumbel_r = Distribution(
    "gumbel_r", "", lambda z: -z - exp(-z),
    cdf=lambda z: exp(-exp(-z)), logcdf=lambda z: -exp(-z), sf=lambda z: -expm1(-exp(-z)),
)  # fmt: skip


gumbel_l = Distribution(
    "gumbel_l", "", lambda z: z - exp(z),
    cdf=lambda z: -expm1(-exp(z)), sf=lambda z: exp(-exp(z)), logsf=lambda z: -exp(z),
)  # fmt: skip


def _invgamma_log(z: Any, a: Any) -> Any:
    at_end = np.asarray(seen(z) == 0)
    if np.any(at_end):
        inner = _invgamma_log(select(at_end, np.ones(shape_of(z)), z), a)
        return select(at_end, np.full(shape_of(z), -INF), inner)
    return -(a + 1.0) * log(z) - lgamma(a) - 1.0 / z


invgamma = Distribution(
    "invgamma", "a", _invgamma_log, (0.0, INF), inside=1.0,
    cdf=lambda z, a: gammaincc(a, 1.0 / z), sf=lambda z, a: gammainc(a, 1.0 / z),
)  # fmt: skip


halfnorm = Distribution(
    "halfnorm", "", lambda z: _norm_log(z) + LOG_2, (0.0, INF), inside=1.0,
    cdf=lambda z: erf(z * np.sqrt(0.5)), sf=lambda z: 2.0 * ndtr(-z),
    logsf=lambda z: LOG_2 + log_ndtr(-z),
)  # fmt: skip


halfcauchy = Distribution(
    "halfcauchy", "", lambda z: LOG_2 - LOG_PI - log1p(square(z)), (0.0, INF),
    inside=1.0, cdf=lambda z: _native.atan(z) * (2 / np.pi),
    sf=lambda z: _native.atan2(1.0, z) * (2 / np.pi),
)  # fmt: skip


rayleigh = Distribution(
    "rayleigh", "", lambda z: log(z) - 0.5 * square(z), (0.0, INF), inside=1.0,
    cdf=lambda z: -expm1(-0.5 * square(z)), sf=lambda z: exp(-0.5 * square(z)),
    logsf=lambda z: -0.5 * square(z),
)  # fmt: skip


def _vonmises_log(z: Any, kappa: Any) -> Any:
    return kappa * _native.cos(z) - kappa - 2.0 * LOG_ROOT_2PI - log(i0e(kappa))


vonmises = Distribution("vonmises", "kappa", _vonmises_log, allowed=lambda kappa: kappa >= 0)


skewnorm = Distribution(
    "skewnorm", "a", lambda z, a: LOG_2 + _norm_log(z) + log_ndtr(a * z), allowed=np.isfinite
)


def _log_mass(a: Any, b: Any) -> Any:
    """log(ndtr(b) - ndtr(a)), on the side where both are small."""
    turned = seen(a) > 0
    low, high = select(turned, -b, a), select(turned, -a, b)
    upper, lower = log_ndtr(high), log_ndtr(low)
    return upper + log1p(-exp(lower - upper))


truncnorm = Distribution(
    "truncnorm", "a b", lambda z, a, b: _norm_log(z) - _log_mass(a, b),
    lambda a, b: (a, b), lambda a, b: a < b, lambda a, b: np.where(a < b, np.clip(0.0, a, b), 1.0),
    cdf=lambda z, a, b: exp(_log_mass(a, z) - _log_mass(a, b)),
    sf=lambda z, a, b: exp(_log_mass(z, b) - _log_mass(a, b)),
    logcdf=lambda z, a, b: _log_mass(a, z) - _log_mass(a, b),
    logsf=lambda z, a, b: _log_mass(z, b) - _log_mass(a, b),
)  # fmt: skip
