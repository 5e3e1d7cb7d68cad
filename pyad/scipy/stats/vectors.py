"""Distributions of vectors."""

from __future__ import annotations

from typing import Any

import numpy as np

from pyad._binding import error
from pyad.array import _linalg
from pyad.array._rules import (
    extended,
    holds_variables,
    operand,
    plain,
    select,
    shape_of,
    total,
    transposed,
)
from pyad.scipy import required
from pyad.scipy.stats._common import (
    LOG_ROOT_2PI,
    exp,
    lgamma,
    log,
    missing_method,
    square,
    xlogy,
)

__all__ = [
    "dirichlet",
    "multinomial",
    "multivariate_normal",
]


class _MultivariateNormal:
    """`scipy.stats.multivariate_normal`; the covariance must be positive definite."""

    def __repr__(self) -> str:
        return "pyad.scipy.stats.multivariate_normal"

    def __getattr__(self, name: str) -> Any:
        raise missing_method(self, name)

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
        x = operand(x, what)
        mean, cov = _parameters(mean, cov, what)
        (n,) = shape_of(mean)
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
        half = total(log(_linalg.diagonal_of(factor)), -1)
        result = -0.5 * total(square(y), 0) - half - n * LOG_ROOT_2PI
        shape = shape_of(x)[:-1]
        if len(given) <= 1 and n == 1 and given:
            shape = given
        return result.reshape(shape) if shape else result[0]

    def pdf(self, *args: Any, **named: Any) -> Any:
        """The density."""
        if not holds_variables(*args, *named.values()):
            theirs = required("scipy.stats", "pyad.scipy.stats").multivariate_normal
            return theirs.pdf(*args, **named)
        return exp(self.logpdf(*args, **named))

    def entropy(self, mean: Any = None, cov: Any = 1) -> Any:
        """The differential entropy, which does not depend on the mean."""
        if not holds_variables(mean, cov):
            theirs = required("scipy.stats", "pyad.scipy.stats").multivariate_normal
            return theirs.entropy(mean, cov)
        mean, cov = _parameters(mean, cov, "scipy.stats.multivariate_normal.entropy")
        return 0.5 * shape_of(mean)[0] - self.logpdf(mean, mean, cov)


def _parameters(mean: Any, cov: Any, what: str) -> tuple[Any, Any]:
    """The mean as a vector, and the covariance as a matrix that fits it."""
    cov = operand(cov, what)
    sides = shape_of(cov)
    mean = np.zeros(sides[-1:] or 1) if mean is None else operand(mean, what)
    (n,) = shape_of(mean)[-1:] or sides[-1:] or (1,)
    if len(sides) < 2:
        cov = extended(cov, (n,))[:, None] * np.eye(n)
    if shape_of(cov) != (n, n):
        raise error("ARGUMENT_SHAPE", "cov", str((n, n)), str(sides))
    return extended(mean, (n,)), cov


class _Dirichlet:
    """`scipy.stats.dirichlet`."""

    def __repr__(self) -> str:
        return "pyad.scipy.stats.dirichlet"

    def __getattr__(self, name: str) -> Any:
        raise missing_method(self, name)

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
            inner = total(xlogy(weight - 1.0, x), 0) + xlogy(alpha[-1] - 1.0, last)
        else:
            weight = alpha.reshape(-1, *(1,) * (len(shape_of(x)) - 1))
            inner = total(xlogy(weight - 1.0, x), 0)
        return inner + lgamma(total(alpha)) - total(lgamma(alpha))

    def pdf(self, x: Any, alpha: Any) -> Any:
        """The density."""
        if not holds_variables(x, alpha):
            return required("scipy.stats", "pyad.scipy.stats").dirichlet.pdf(x, alpha)
        return exp(self.logpdf(x, alpha))


class _Multinomial:
    """`scipy.stats.multinomial`."""

    def __repr__(self) -> str:
        return "pyad.scipy.stats.multinomial"

    def __getattr__(self, name: str) -> Any:
        raise missing_method(self, name)

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
        inner = total(xlogy(counts[..., :-1], first), -1) + xlogy(counts[..., -1], last)
        inner = inner + (lgamma(np.asarray(n, float) + 1.0) - np.sum(lgamma(counts + 1.0), -1))
        within = np.isfinite(value)
        if np.all(within):
            return extended(inner, value.shape)
        return select(within, extended(inner, value.shape), value)

    def pmf(self, x: Any, n: Any, p: Any) -> Any:
        """The probability."""
        if not holds_variables(x, n, p):
            return required("scipy.stats", "pyad.scipy.stats").multinomial.pmf(x, n, p)
        return exp(self.logpmf(x, n, p))


multivariate_normal = _MultivariateNormal()


dirichlet = _Dirichlet()


multinomial = _Multinomial()
