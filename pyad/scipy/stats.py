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

from collections.abc import Callable
from typing import Any

import numpy as np

import pyad.functions as _native
from pyad._binding import error
from pyad.array import _linalg
from pyad.array._guards import guarding
from pyad.array._rules import (
    constant,
    extended,
    holds_variables,
    operand,
    plain,
    seen,
    select,
    shape_of,
    total,
    transposed,
)
from pyad.scipy import required
from pyad.scipy import special as _special

_Function = Callable[..., Any]

_exp, _log, _log1p, _expm1 = _native.exp, _native.log, _native.log1p, _native.expm1
_ndtr, _log_ndtr, _lgamma = _native.ndtr, _native.log_ndtr, _native.lgamma
_softplus, _expit, _erf, _erfc = _native.softplus, _native.expit, _native.erf, _native.erfc
_xlogy = _native.xlogy
_LOG_2 = float(np.log(2.0))
_LOG_PI = float(np.log(np.pi))
_LOG_ROOT_2PI = 0.5 * (_LOG_2 + _LOG_PI)
_INF = float("inf")


def _square(x: Any) -> Any:
    return x * x


def _special_function(name: str) -> _Function:
    return lambda *xs: getattr(_special, name)(*xs)


_betaln, _xlog1py, _gammainc, _gammaincc, _betainc, _poch, _i0e, _stdtr = map(
    _special_function,
    ("betaln", "xlog1py", "gammainc", "gammaincc", "betainc", "poch", "i0e", "stdtr"),
)


class _Distribution:
    """One of SciPy's distributions, by formulas of the standard variable z = (x - loc) / scale."""

    discrete = False

    def __init__(
        self,
        name: str,
        shapes: str,
        log: _Function,
        support: Any = (-_INF, _INF),
        allowed: _Function | None = None,
        inside: Any = 0.0,
        **functions: _Function,
    ) -> None:
        self.name = name
        self.shapes = shapes.split()
        self._log, self._functions = log, functions
        self._support = support if callable(support) else lambda *shapes: support
        self._allowed = allowed or (lambda *shapes: np.logical_and.reduce([p > 0 for p in shapes]))
        # a point of the support, at which the formulas are evaluated in place of those outside
        self._point = inside if callable(inside) else lambda *shapes: inside

    def __repr__(self) -> str:
        return f"pyad.scipy.stats.{self.name}"

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        raise (
            error(
                "ARGUMENTS",
                f"pyad.scipy.stats.{self.name} has {', '.join(self._names())}, and not {name}: use "
                f"scipy.stats.{self.name}.{name} with plain numbers, x.value",
            )
            if name in _METHODS
            else AttributeError(f"{self!r} has no attribute {name!r}")
        )

    def _names(self) -> list[str]:
        return [m for m in _METHODS if m in type(self).__dict__ and self._knows(m)]

    def _knows(self, method: str) -> bool:
        return True

    # ---- arguments -----------------------------------------------------------------------------

    def _bind(self, method: str, args: tuple[Any, ...], named: dict[str, Any]) -> list[Any]:
        """x, the shapes, loc and scale as operands."""
        what = f"scipy.stats.{self.name}.{method}"
        names = [*self.shapes, "loc", *([] if self.discrete else ["scale"])]
        given = dict(zip(["x", *names], args, strict=False))
        if self.discrete and "k" in named:
            named = {"x": named["k"], **{n: v for n, v in named.items() if n != "k"}}
        wrong = [n for n in named if n in given or n not in ("x", *names)]
        missing = [n for n in ("x", *self.shapes) if n not in given and n not in named]
        if len(args) > len(names) + 1 or wrong or missing:
            raise error(
                "ARGUMENTS",
                f"{what} takes ({', '.join(['x', *names])}): "
                + (f"{', '.join(missing)} missing" if missing else f"not {', '.join(wrong)}"
                   if wrong else f"{len(args)} arguments were given"),
            )  # fmt: skip
        given = {"loc": 0.0, "scale": 1.0, **given, **named}
        return [operand(given[n], what) for n in ("x", *names)]

    def _theirs(self, method: str) -> Any:
        return getattr(getattr(required("scipy.stats", "pyad.scipy.stats"), self.name), method)

    def _evaluate(
        self, method: str, args: tuple[Any, ...], named: dict[str, Any], formula: _Function,
        below: float, above: float, scaled: bool = False,
    ) -> Any:  # fmt: skip
        """`formula(z, *shapes)` in the support, the constants beside it, NaN where not allowed."""
        if not holds_variables(*args, *named.values()):
            return self._theirs(method)(*args, **named)
        x, *shapes, loc, scale = self._bind(method, args, named)
        shape = np.broadcast_shapes(*(shape_of(v) for v in (x, *shapes, loc, scale)))
        numbers = [seen(v) if guarding() else np.asarray(plain(v)) for v in shapes]
        with np.errstate(all="ignore"):
            at = (seen(x) - seen(loc)) / seen(scale)
            low, high = self._support(*numbers)
            allowed = np.asarray(self._allowed(*numbers)) & np.asarray(seen(scale) > 0)
            allowed = allowed & ~np.asarray(np.isnan(at))
            under, over = (at < low) | (at == -_INF), (at > high) | (at == _INF)
            if method not in ("logpdf", "pdf"):  # SciPy: open, for distribution functions
                under, over = at <= low, at >= high
            under, over = np.asarray(under), np.asarray(over)
            within = allowed & ~under & ~over
            outside = np.where(allowed, np.where(under, below, above), np.nan)
        x, loc, scale = (extended(v, shape) for v in (x, loc, scale))
        shapes = [extended(v, shape) for v in shapes]
        within, outside = np.broadcast_to(within, shape), np.broadcast_to(outside, shape)
        if not np.all(within):  # what is not taken must be harmless, in warnings too
            if not np.any(within):
                return constant(outside)
            safe = [np.where(within, plain(v), 1.0) for v in numbers]
            point = np.broadcast_to(self._point(*safe), shape)
            x, loc, scale = (
                select(within, v, w)
                for v, w in ((x, point), (loc, np.zeros(shape)), (scale, np.ones(shape)))
            )
            shapes = [select(within, v, np.ones(shape)) for v in shapes]
        z = (x - loc) / scale
        result = formula(z, *shapes)
        if scaled:
            result = result - _log(scale)
        if np.all(within):
            return extended(result, shape)
        return select(within, extended(result, shape), outside)

    # ---- methods -------------------------------------------------------------------------------

    def logpdf(self, *args: Any, **named: Any) -> Any:
        """The logarithm of the density."""
        return self._evaluate("logpdf", args, named, self._log, -_INF, -_INF, scaled=True)

    def pdf(self, *args: Any, **named: Any) -> Any:
        """The density."""
        if not holds_variables(*args, *named.values()):
            return self._theirs("pdf")(*args, **named)
        return _exp(self.logpdf(*args, **named))

    def _tail(self, method: str, args: Any, named: Any) -> Any:
        ends = {"cdf": (0.0, 1.0), "sf": (1.0, 0.0), "logcdf": (-_INF, 0.0), "logsf": (0.0, -_INF)}
        formula = self._functions.get(method)
        if formula is None:
            base = self._functions.get(method.removeprefix("log"))
            other = self._functions.get({"cdf": "sf", "sf": "cdf"}[method.removeprefix("log")])
            if base is not None:
                formula = lambda *v: _log(base(*v))  # noqa: E731
            elif other is not None and not method.startswith("log"):
                formula = lambda *v: 1.0 - other(*v)  # noqa: E731
            elif other is not None:
                formula = lambda *v: _log1p(-other(*v))  # noqa: E731
            else:
                raise error(
                    "ARGUMENTS",
                    f"pyad.scipy.stats.{self.name} has no {method} of variables: give numbers",
                )
        return self._evaluate(method, args, named, formula, *ends[method])

    def cdf(self, *args: Any, **named: Any) -> Any:
        """The distribution function."""
        return self._tail("cdf", args, named)

    def sf(self, *args: Any, **named: Any) -> Any:
        """1 - cdf."""
        return self._tail("sf", args, named)

    def logcdf(self, *args: Any, **named: Any) -> Any:
        """The logarithm of the distribution function."""
        return self._tail("logcdf", args, named)

    def logsf(self, *args: Any, **named: Any) -> Any:
        """The logarithm of 1 - cdf."""
        return self._tail("logsf", args, named)


_METHODS = (
    "logpdf", "pdf", "cdf", "sf", "logcdf", "logsf", "logpmf", "pmf", "ppf", "isf", "rvs", "mean",
    "var", "std", "stats", "entropy", "fit", "interval", "median", "moment",
)  # fmt: skip


# ---- continuous distributions --------------------------------------------------------------------


def _norm_log(z: Any) -> Any:
    return -0.5 * _square(z) - _LOG_ROOT_2PI


norm = _Distribution(
    "norm", "", _norm_log, cdf=_ndtr, logcdf=_log_ndtr, sf=lambda z: _ndtr(-z),
    logsf=lambda z: _log_ndtr(-z),
)  # fmt: skip


def _t_log(z: Any, df: Any) -> Any:
    endless = np.isinf(seen(df))
    if np.any(endless):
        finite = select(endless, np.ones(shape_of(df)), df)
        return select(endless, _norm_log(z), _t_log(z, finite))
    return (
        _log(_poch(0.5 * df, 0.5)) - 0.5 * (_log(df) + _LOG_PI)
        - 0.5 * (df + 1.0) * _log1p(_square(z) / df)
    )  # fmt: skip


t = _Distribution(
    "t", "df", _t_log, cdf=lambda z, df: _stdtr(df, z), sf=lambda z, df: _stdtr(df, -z)
)

gamma = _Distribution(
    "gamma", "a", lambda z, a: _xlogy(a - 1.0, z) - z - _lgamma(a), (0.0, _INF),
    cdf=lambda z, a: _gammainc(a, z), sf=lambda z, a: _gammaincc(a, z), inside=1.0,
)  # fmt: skip
beta = _Distribution(
    "beta", "a b",
    lambda z, a, b: _xlog1py(b - 1.0, -z) + _xlogy(a - 1.0, z) - _betaln(a, b), (0.0, 1.0),
    cdf=lambda z, a, b: _betainc(a, b, z), sf=lambda z, a, b: _betainc(b, a, 1.0 - z), inside=0.5,
)  # fmt: skip
expon = _Distribution(
    "expon", "", lambda z: -z, (0.0, _INF), inside=1.0, cdf=lambda z: -_expm1(-z),
    sf=lambda z: _exp(-z), logsf=lambda z: -z,
)  # fmt: skip


def _lognorm_log(z: Any, s: Any) -> Any:
    at_end = np.asarray(seen(z) == 0)
    if np.any(at_end):
        inner = _lognorm_log(select(at_end, np.ones(shape_of(z)), z), s)
        return select(at_end, np.full(shape_of(z), -_INF), inner)
    logarithm = _log(z)
    return -0.5 * _square(logarithm / s) - _log(s) - logarithm - _LOG_ROOT_2PI


lognorm = _Distribution(
    "lognorm", "s", _lognorm_log, (0.0, _INF), inside=1.0,
    cdf=lambda z, s: _ndtr(_log(z) / s), logcdf=lambda z, s: _log_ndtr(_log(z) / s),
    sf=lambda z, s: _ndtr(-_log(z) / s), logsf=lambda z, s: _log_ndtr(-_log(z) / s),
)  # fmt: skip


def _laplace_cdf(z: Any) -> Any:
    half = 0.5 * _exp(-abs(z))
    return select(seen(z) > 0, 1.0 - half, half)


def _laplace_logcdf(z: Any) -> Any:
    return select(seen(z) > 0, _log1p(-0.5 * _exp(-abs(z))), -abs(z) - _LOG_2)


laplace = _Distribution(
    "laplace", "", lambda z: -_LOG_2 - abs(z), cdf=_laplace_cdf,
    sf=lambda z: _laplace_cdf(-z), logcdf=_laplace_logcdf, logsf=lambda z: _laplace_logcdf(-z),
)  # fmt: skip
logistic = _Distribution(
    "logistic", "", lambda z: -_softplus(z) - _softplus(-z), cdf=_expit,
    sf=lambda z: _expit(-z), logcdf=lambda z: -_softplus(-z), logsf=lambda z: -_softplus(z),
)  # fmt: skip
cauchy = _Distribution(
    "cauchy", "", lambda z: -_LOG_PI - _log1p(_square(z)),
    cdf=lambda z: _native.atan2(1.0, -z) / np.pi, sf=lambda z: _native.atan2(1.0, z) / np.pi,
)  # fmt: skip
chi2 = _Distribution(
    "chi2", "df",
    lambda z, df: _xlogy(0.5 * df - 1.0, z) - 0.5 * z - _lgamma(0.5 * df) - 0.5 * _LOG_2 * df,
    (0.0, _INF), cdf=lambda z, df: _gammainc(0.5 * df, 0.5 * z),
    sf=lambda z, df: _gammaincc(0.5 * df, 0.5 * z), inside=1.0,
)  # fmt: skip


def _f_log(z: Any, n: Any, m: Any) -> Any:
    return (
        0.5 * m * _log(m) + 0.5 * n * _log(n) + _xlogy(0.5 * n - 1.0, z)
        - 0.5 * (n + m) * _log(m + n * z) - _betaln(0.5 * n, 0.5 * m)
    )  # fmt: skip


f = _Distribution(
    "f", "dfn dfd", _f_log, (0.0, _INF), inside=1.0,
    cdf=lambda z, n, m: _betainc(0.5 * n, 0.5 * m, n * z / (n * z + m)),
    sf=lambda z, n, m: _betainc(0.5 * m, 0.5 * n, m / (n * z + m)),
)  # fmt: skip
uniform = _Distribution(
    "uniform", "", lambda z: 0.0 * z, (0.0, 1.0), inside=0.5, cdf=lambda z: +z,
    sf=lambda z: 1.0 - z,
)  # fmt: skip
weibull_min = _Distribution(
    "weibull_min", "c", lambda z, c: _log(c) + _xlogy(c - 1.0, z) - _power(z, c), (0.0, _INF),
    inside=1.0, cdf=lambda z, c: -_expm1(-_power(z, c)), sf=lambda z, c: _exp(-_power(z, c)),
    logsf=lambda z, c: -_power(z, c),
)  # fmt: skip


def _power(z: Any, c: Any) -> Any:
    return _native.pow(z, c)


pareto = _Distribution(
    "pareto", "b", lambda z, b: _log(b) - (b + 1.0) * _log(z), (1.0, _INF), inside=2.0,
    cdf=lambda z, b: -_expm1(-b * _log(z)), sf=lambda z, b: _exp(-b * _log(z)),
    logsf=lambda z, b: -b * _log(z),
)  # fmt: skip
gumbel_r = _Distribution(
    "gumbel_r", "", lambda z: -z - _exp(-z),
    cdf=lambda z: _exp(-_exp(-z)), logcdf=lambda z: -_exp(-z), sf=lambda z: -_expm1(-_exp(-z)),
)  # fmt: skip
gumbel_l = _Distribution(
    "gumbel_l", "", lambda z: z - _exp(z),
    cdf=lambda z: -_expm1(-_exp(z)), sf=lambda z: _exp(-_exp(z)), logsf=lambda z: -_exp(z),
)  # fmt: skip


def _invgamma_log(z: Any, a: Any) -> Any:
    at_end = np.asarray(seen(z) == 0)
    if np.any(at_end):
        inner = _invgamma_log(select(at_end, np.ones(shape_of(z)), z), a)
        return select(at_end, np.full(shape_of(z), -_INF), inner)
    return -(a + 1.0) * _log(z) - _lgamma(a) - 1.0 / z


invgamma = _Distribution(
    "invgamma", "a", _invgamma_log, (0.0, _INF), inside=1.0,
    cdf=lambda z, a: _gammaincc(a, 1.0 / z), sf=lambda z, a: _gammainc(a, 1.0 / z),
)  # fmt: skip
halfnorm = _Distribution(
    "halfnorm", "", lambda z: _norm_log(z) + _LOG_2, (0.0, _INF), inside=1.0,
    cdf=lambda z: _erf(z * np.sqrt(0.5)), sf=lambda z: 2.0 * _ndtr(-z),
    logsf=lambda z: _LOG_2 + _log_ndtr(-z),
)  # fmt: skip
halfcauchy = _Distribution(
    "halfcauchy", "", lambda z: _LOG_2 - _LOG_PI - _log1p(_square(z)), (0.0, _INF),
    inside=1.0, cdf=lambda z: _native.atan(z) * (2 / np.pi),
    sf=lambda z: _native.atan2(1.0, z) * (2 / np.pi),
)  # fmt: skip
rayleigh = _Distribution(
    "rayleigh", "", lambda z: _log(z) - 0.5 * _square(z), (0.0, _INF), inside=1.0,
    cdf=lambda z: -_expm1(-0.5 * _square(z)), sf=lambda z: _exp(-0.5 * _square(z)),
    logsf=lambda z: -0.5 * _square(z),
)  # fmt: skip


def _vonmises_log(z: Any, kappa: Any) -> Any:
    return kappa * _native.cos(z) - kappa - 2.0 * _LOG_ROOT_2PI - _log(_i0e(kappa))


vonmises = _Distribution("vonmises", "kappa", _vonmises_log, allowed=lambda kappa: kappa >= 0)
skewnorm = _Distribution(
    "skewnorm", "a", lambda z, a: _LOG_2 + _norm_log(z) + _log_ndtr(a * z), allowed=np.isfinite
)


def _log_mass(a: Any, b: Any) -> Any:
    """log(ndtr(b) - ndtr(a)), on the side where both are small."""
    turned = seen(a) > 0
    low, high = select(turned, -b, a), select(turned, -a, b)
    upper, lower = _log_ndtr(high), _log_ndtr(low)
    return upper + _log1p(-_exp(lower - upper))


truncnorm = _Distribution(
    "truncnorm", "a b", lambda z, a, b: _norm_log(z) - _log_mass(a, b),
    lambda a, b: (a, b), lambda a, b: a < b, lambda a, b: np.where(a < b, np.clip(0.0, a, b), 1.0),
    cdf=lambda z, a, b: _exp(_log_mass(a, z) - _log_mass(a, b)),
    sf=lambda z, a, b: _exp(_log_mass(z, b) - _log_mass(a, b)),
    logcdf=lambda z, a, b: _log_mass(a, z) - _log_mass(a, b),
    logsf=lambda z, a, b: _log_mass(z, b) - _log_mass(a, b),
)  # fmt: skip


# ---- discrete distributions ----------------------------------------------------------------------


class _Discrete:
    """A distribution on whole numbers: `logpmf` and `pmf`, differentiable in the parameters."""

    def __init__(
        self,
        name: str,
        shapes: str,
        log: _Function,
        support: _Function,
        allowed: _Function,
        whole: tuple[str, ...] = (),
    ) -> None:
        self.name, self.shapes = name, shapes.split()
        self._log, self._support, self._allowed, self._whole = log, support, allowed, whole

    def __repr__(self) -> str:
        return f"pyad.scipy.stats.{self.name}"

    def _bind(self, method: str, args: tuple[Any, ...], named: dict[str, Any]) -> list[Any]:
        what = f"scipy.stats.{self.name}.{method}"
        names = ["k", *self.shapes, "loc"]
        given = dict(zip(names, args, strict=False))
        wrong = [n for n in named if n in given or n not in names]
        missing = [n for n in names[:-1] if n not in given and n not in named]
        if len(args) > len(names) or wrong or missing:
            raise error("ARGUMENTS", f"{what} takes ({', '.join(names)})")
        given = {"loc": 0.0, **given, **named}
        for n in ("k", "loc", *self._whole):
            if getattr(operand(given[n], what), "requires_grad", False):
                raise error(
                    "ARGUMENTS",
                    f"{what} has no derivative in {n}, which is a whole number: give {n}.value",
                )
        return [operand(given[n], what) for n in names]

    def logpmf(self, *args: Any, **named: Any) -> Any:
        """The logarithm of the probability."""
        if not holds_variables(*args, *named.values()):
            return getattr(required("scipy.stats", "pyad.scipy.stats"), self.name).logpmf(
                *args, **named
            )
        k, *shapes, loc = self._bind("logpmf", args, named)
        shape = np.broadcast_shapes(*(shape_of(v) for v in (k, *shapes, loc)))
        numbers = [np.asarray(plain(v)) for v in shapes]
        places = np.broadcast_to(plain(k) - plain(loc), shape)
        with np.errstate(all="ignore"):
            allowed = np.broadcast_to(self._allowed(*numbers), shape) & ~np.isnan(places)
            low, high = self._support(*numbers)
            within = allowed & (places >= low) & (places <= high) & (places == np.floor(places))
        shapes = [extended(v, shape) for v in shapes]
        outside = np.where(allowed, -_INF, np.nan)
        if np.all(within):
            return extended(self._log(places, *shapes), shape)
        # a point and parameters that are allowed, where the result is not taken
        kept = [select(within, v, np.full(shape, 0.5)) for v in shapes]
        inner = self._log(np.where(within, places, 1.0), *kept)
        return select(within, extended(inner, shape), outside)

    def pmf(self, *args: Any, **named: Any) -> Any:
        """The probability."""
        if not holds_variables(*args, *named.values()):
            return getattr(required("scipy.stats", "pyad.scipy.stats"), self.name).pmf(
                *args, **named
            )
        return _exp(self.logpmf(*args, **named))


def _unit(p: Any) -> Any:
    return (p >= 0) & (p <= 1)


def _log_choices(n: Any, k: Any) -> Any:
    return _lgamma(n + 1.0) - _lgamma(k + 1.0) - _lgamma(n - k + 1.0)


poisson = _Discrete(
    "poisson", "mu", lambda k, mu: _xlogy(k, mu) - _lgamma(k + 1.0) - mu,
    lambda mu: (0.0, _INF), lambda mu: mu >= 0,
)  # fmt: skip
binom = _Discrete(
    "binom", "n p",
    lambda k, n, p: _log_choices(plain(n), k) + _xlogy(k, p) + _xlog1py(plain(n) - k, -p),
    lambda n, p: (0.0, n), lambda n, p: (n >= 0) & (n == np.floor(n)) & _unit(p), ("n",),
)  # fmt: skip
nbinom = _Discrete(
    "nbinom", "n p",
    lambda k, n, p: (
        _lgamma(n + k) - _lgamma(k + 1.0) - _lgamma(n) + n * _log(p) + _xlog1py(k, -p)
    ),
    lambda n, p: (0.0, _INF), lambda n, p: (n > 0) & (p > 0) & (p <= 1),
)  # fmt: skip
geom = _Discrete(
    "geom", "p", lambda k, p: _xlog1py(k - 1.0, -p) + _log(p),
    lambda p: (1.0, _INF), lambda p: (p > 0) & (p <= 1),
)  # fmt: skip
bernoulli = _Discrete(
    "bernoulli", "p", lambda k, p: _xlogy(k, p) + _xlog1py(1.0 - k, -p),
    lambda p: (0.0, 1.0), _unit,
)  # fmt: skip


# ---- distributions of vectors --------------------------------------------------------------------


class _MultivariateNormal:
    """`scipy.stats.multivariate_normal`; the covariance must be positive definite."""

    def __repr__(self) -> str:
        return "pyad.scipy.stats.multivariate_normal"

    def logpdf(self, x: Any, mean: Any = None, cov: Any = 1, allow_singular: bool = False) -> Any:
        """The logarithm of the density; the derivative in `cov` is symmetric."""
        what = "scipy.stats.multivariate_normal.logpdf"
        if not holds_variables(x, mean, cov):
            theirs = required("scipy.stats", "pyad.scipy.stats").multivariate_normal
            return theirs.logpdf(x, mean, cov, allow_singular)
        if allow_singular:
            raise error(
                "ARGUMENTS", f"{what} of variables takes no singular covariance: leave it out"
            )
        x, cov = operand(x, what), operand(cov, what)
        dim = (
            shape_of(operand(mean, what))[-1:] if mean is not None and np.ndim(plain(mean)) else ()
        ) or shape_of(cov)[-1:] or (1,)  # fmt: skip
        (n,) = dim
        mean = np.zeros(n) if mean is None else extended(operand(mean, what), (n,))
        sides = shape_of(cov)
        if len(sides) < 2:
            cov = extended(cov, (n,))[:, None] * np.eye(n)
        if shape_of(cov) != (n, n):
            raise error("ARGUMENT_SHAPE", "cov", str((n, n)), str(sides))
        given = shape_of(x)
        if not given:
            x = x * np.ones(1)
        elif len(given) == 1 and n == 1:
            x = x[:, None]
        if shape_of(x)[-1] != n:
            raise error("ARGUMENT_SHAPE", "the last axis of x", str((n,)), str(shape_of(x)[-1:]))
        factor = _linalg.cholesky(cov)
        rest = (x - mean).reshape(-1, n)
        from pyad.scipy.linalg import solve_triangular

        y = solve_triangular(factor, transposed(rest), lower=True)
        half = total(_log(_linalg.diagonal_of(factor)), -1)
        result = -0.5 * total(_square(y), 0) - half - n * _LOG_ROOT_2PI
        shape = shape_of(x)[:-1]
        if len(given) <= 1 and n == 1 and given:
            shape = given
        return result.reshape(shape) if shape else result[0]

    def pdf(self, *args: Any, **named: Any) -> Any:
        """The density."""
        if not holds_variables(*args, *named.values()):
            theirs = required("scipy.stats", "pyad.scipy.stats").multivariate_normal
            return theirs.pdf(*args, **named)
        return _exp(self.logpdf(*args, **named))


class _Dirichlet:
    """`scipy.stats.dirichlet`."""

    def __repr__(self) -> str:
        return "pyad.scipy.stats.dirichlet"

    def logpdf(self, x: Any, alpha: Any) -> Any:
        """The logarithm of the density; the derivative in x ignores that x adds up to 1."""
        what = "scipy.stats.dirichlet.logpdf"
        theirs = required("scipy.stats", "pyad.scipy.stats").dirichlet
        if not holds_variables(x, alpha):
            return theirs.logpdf(x, alpha)
        x, alpha = operand(x, what), operand(alpha, what)
        theirs.logpdf(plain(x), plain(alpha))  # what SciPy refuses
        (n,) = shape_of(alpha)
        if shape_of(x)[0] == n - 1:
            last = 1.0 - total(x, 0)
            weight = alpha[:-1].reshape(-1, *(1,) * (len(shape_of(x)) - 1))
            inner = total(_xlogy(weight - 1.0, x), 0) + _xlogy(alpha[-1] - 1.0, last)
        else:
            weight = alpha.reshape(-1, *(1,) * (len(shape_of(x)) - 1))
            inner = total(_xlogy(weight - 1.0, x), 0)
        return inner + _lgamma(total(alpha)) - total(_lgamma(alpha))

    def pdf(self, x: Any, alpha: Any) -> Any:
        """The density."""
        if not holds_variables(x, alpha):
            return required("scipy.stats", "pyad.scipy.stats").dirichlet.pdf(x, alpha)
        return _exp(self.logpdf(x, alpha))


class _Multinomial:
    """`scipy.stats.multinomial`."""

    def __repr__(self) -> str:
        return "pyad.scipy.stats.multinomial"

    def logpmf(self, x: Any, n: Any, p: Any) -> Any:
        """The logarithm of the probability; the last entry of p counts as 1 - the others."""
        what = "scipy.stats.multinomial.logpmf"
        theirs = required("scipy.stats", "pyad.scipy.stats").multinomial
        if not holds_variables(x, n, p):
            return theirs.logpmf(x, n, p)
        if holds_variables(x, n):
            raise error("ARGUMENTS", f"{what} has a derivative in p only: give x.value and n.value")
        p = operand(p, what)
        value = np.asarray(theirs.logpmf(x, n, plain(p)))
        counts = np.asarray(x, np.float64)
        first = p[..., :-1]  # as SciPy: the last probability is what is left
        last = 1.0 - total(first, -1)
        inner = total(_xlogy(counts[..., :-1], first), -1) + _xlogy(counts[..., -1], last)
        inner = inner + (_lgamma(np.asarray(n, float) + 1.0) - np.sum(_lgamma(counts + 1.0), -1))
        within = np.isfinite(value)
        if np.all(within):
            return extended(inner, value.shape)
        return select(within, extended(inner, value.shape), value)

    def pmf(self, x: Any, n: Any, p: Any) -> Any:
        """The probability."""
        if not holds_variables(x, n, p):
            return required("scipy.stats", "pyad.scipy.stats").multinomial.pmf(x, n, p)
        return _exp(self.logpmf(x, n, p))


multivariate_normal = _MultivariateNormal()
dirichlet = _Dirichlet()
multinomial = _Multinomial()

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
