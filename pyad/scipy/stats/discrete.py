"""Discrete distributions."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from pyad._binding import error
from pyad.array._rules import (
    extended,
    holds_variables,
    plain,
    select,
    shape_of,
)
from pyad.scipy.stats._common import (
    INF,
    Function,
    betainc,
    exp,
    expm1,
    gammaincc,
    lgamma,
    log,
    xlog1py,
    xlogy,
)
from pyad.scipy.stats._family import Family

__all__ = [
    "bernoulli",
    "binom",
    "geom",
    "nbinom",
    "poisson",
]


class _Discrete(Family):
    """A distribution on whole numbers, whose methods are differentiable in the parameters."""

    variable = "k"
    defaults: ClassVar[dict[str, float]] = {"loc": 0.0}

    def __init__(
        self,
        name: str,
        shapes: str,
        log: Function,
        cdf: Function,
        support: Function,
        allowed: Function,
        whole: tuple[str, ...] = (),
    ) -> None:
        super().__init__(name, shapes)
        self._log, self._cdf, self._support = log, cdf, support
        self._allowed, self._whole = allowed, whole

    def _bind(self, method: str, args: tuple[Any, ...], named: dict[str, Any]) -> list[Any]:
        """Operands; what is a whole number must be no variable."""
        given = self._given(method, args, named)
        for n in ("k", "loc", *self._whole):
            if getattr(given[n], "requires_grad", False):
                raise error(
                    "ARGUMENTS",
                    f"scipy.stats.{self.name}.{method} has no derivative in {n}, which is a whole "
                    f"number: give {n}.value",
                )
        return list(given.values())

    def logpmf(self, *args: Any, **named: Any) -> Any:
        """The logarithm of the probability."""
        if not holds_variables(*args, *named.values()):
            return self._theirs("logpmf")(*args, **named)
        return self._evaluate("logpmf", args, named)

    def cdf(self, *args: Any, **named: Any) -> Any:
        """The distribution function."""
        if not holds_variables(*args, *named.values()):
            return self._theirs("cdf")(*args, **named)
        return self._evaluate("cdf", args, named)

    def logcdf(self, *args: Any, **named: Any) -> Any:
        """The logarithm of the distribution function."""
        if not holds_variables(*args, *named.values()):
            return self._theirs("logcdf")(*args, **named)
        return log(self.cdf(*args, **named))

    def _evaluate(self, method: str, args: tuple[Any, ...], named: dict[str, Any]) -> Any:
        """`logpmf` or `cdf`: the formula in the support, constants beside it."""
        k, *shapes, loc = self._bind(method, args, named)
        shape = np.broadcast_shapes(*(shape_of(v) for v in (k, *shapes, loc)))
        numbers = [np.asarray(plain(v)) for v in shapes]
        places = np.broadcast_to(plain(k) - plain(loc), shape)
        with np.errstate(all="ignore"):
            allowed = np.broadcast_to(self._allowed(*numbers), shape) & ~np.isnan(places)
            low, high = self._support(*numbers)
            whole = np.floor(places)
            if method == "cdf":
                within = allowed & (whole >= low) & (whole < high)
                outside = np.where(whole < low, 0.0, 1.0)
            else:
                within = allowed & (places >= low) & (places <= high) & (places == whole)
                outside = np.full(shape, -INF)
        formula = self._log if method == "logpmf" else self._cdf
        shapes = [extended(v, shape) for v in shapes]
        if np.all(within):
            return extended(formula(whole, *shapes), shape)
        # a point and parameters that are allowed, where the result is not taken
        kept = [select(within, v, np.full(shape, 0.5)) for v in shapes]
        inner = formula(np.where(within, whole, 1.0), *kept)
        return select(within, extended(inner, shape), np.where(allowed, outside, np.nan))

    def pmf(self, *args: Any, **named: Any) -> Any:
        """The probability."""
        if not holds_variables(*args, *named.values()):
            return self._theirs("pmf")(*args, **named)
        return exp(self.logpmf(*args, **named))


def _unit(p: Any) -> Any:
    return (p >= 0) & (p <= 1)


def _log_choices(n: Any, k: Any) -> Any:
    return lgamma(n + 1.0) - lgamma(k + 1.0) - lgamma(n - k + 1.0)


poisson = _Discrete(
    "poisson", "mu", lambda k, mu: xlogy(k, mu) - lgamma(k + 1.0) - mu,
    lambda k, mu: gammaincc(k + 1.0, mu),
    lambda mu: (0.0, INF), lambda mu: mu >= 0,
)  # fmt: skip


binom = _Discrete(
    "binom", "n p",
    lambda k, n, p: _log_choices(plain(n), k) + xlogy(k, p) + xlog1py(plain(n) - k, -p),
    lambda k, n, p: betainc(plain(n) - k, k + 1.0, 1.0 - p),
    lambda n, p: (0.0, n), lambda n, p: (n >= 0) & (n == np.floor(n)) & _unit(p), ("n",),
)  # fmt: skip


nbinom = _Discrete(
    "nbinom", "n p",
    lambda k, n, p: (
        lgamma(n + k) - lgamma(k + 1.0) - lgamma(n) + n * log(p) + xlog1py(k, -p)
    ),
    lambda k, n, p: betainc(n, k + 1.0, p),
    lambda n, p: (0.0, INF), lambda n, p: (n > 0) & (p > 0) & (p <= 1),
)  # fmt: skip


geom = _Discrete(
    "geom", "p", lambda k, p: xlog1py(k - 1.0, -p) + log(p),
    lambda k, p: -expm1(xlog1py(k, -p)),
    lambda p: (1.0, INF), lambda p: (p > 0) & (p <= 1),
)  # fmt: skip


bernoulli = _Discrete(
    "bernoulli", "p", lambda k, p: xlogy(k, p) + xlog1py(1.0 - k, -p), lambda k, p: 1.0 - p,
    lambda p: (0.0, 1.0), _unit,
)  # fmt: skip
