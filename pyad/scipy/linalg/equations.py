"""Matrix equations: Sylvester, Lyapunov, Riccati."""

from __future__ import annotations

from typing import Any

import numpy as np

from pyad.array import _linalg
from pyad.array._linalg import square
from pyad.array._rules import (
    Rule,
    apply,
    operand,
    plain,
    plus,
)
from pyad.scipy.linalg._common import (
    T,
    of_variables,
    refuse,
    theirs,
)

__all__ = [
    "solve_continuous_are",
    "solve_continuous_lyapunov",
    "solve_discrete_lyapunov",
    "solve_lyapunov",
    "solve_sylvester",
    "sylvester",
]


def _sylvester_value(a: Any, b: Any, q: Any) -> Any:
    function = theirs("solve_sylvester")
    if a.ndim == b.ndim == q.ndim == 2:
        return function(a, b, q)
    return np.vectorize(function, signature="(m,m),(n,n),(m,n)->(m,n)")(a, b, q)


def _sylvester_vjp(g: Any, out: Any, given: Any) -> Any:
    a, b, _ = given
    share = sylvester(T(a), T(b), g[0])
    x = T(out[0])
    return -(share @ x), -(x @ share), share


def _sylvester_jvp(t: Any, out: Any, given: Any) -> Any:
    right = plus(
        t[2],
        None if t[0] is None else -(t[0] @ out[0]),
        None if t[1] is None else -(out[0] @ t[1]),
    )
    return [sylvester(given[0], given[1], right)]


_SYLVESTER = Rule(_sylvester_vjp, _sylvester_jvp)


def sylvester(a: Any, b: Any, q: Any) -> Any:
    return apply("solve_sylvester", _sylvester_value, _SYLVESTER, a, b, q)[0]


@of_variables
def solve_sylvester(a: Any, b: Any, q: Any) -> Any:
    """`scipy.linalg.solve_sylvester`: x of a @ x + x @ b = q."""
    what = "scipy.linalg.solve_sylvester"
    return sylvester(square(a, what), square(b, what), operand(q, what))


@of_variables
def solve_continuous_lyapunov(a: Any, q: Any) -> Any:
    """`scipy.linalg.solve_continuous_lyapunov`: x of a @ x + x @ a.T = q."""
    a = square(a, "scipy.linalg.solve_continuous_lyapunov")
    return solve_sylvester(a, T(a), q)


@of_variables
def solve_lyapunov(a: Any, q: Any) -> Any:
    """`scipy.linalg.solve_lyapunov`, another name of `solve_continuous_lyapunov`."""
    return solve_continuous_lyapunov(a, q)


def _stein_vjp(g: Any, out: Any, given: Any) -> Any:
    a, x = given[0], out[0]
    share = _stein(T(a), g[0])
    return share @ a @ T(x) + T(share) @ a @ x, share


def _stein_jvp(t: Any, out: Any, given: Any) -> Any:
    a, x = given[0], out[0]
    right = t[1]
    if t[0] is not None:
        right = plus(right, t[0] @ x @ T(a) + a @ x @ T(t[0]))
    return [_stein(a, right)]


_STEIN = Rule(_stein_vjp, _stein_jvp)


def _stein(a: Any, q: Any) -> Any:
    return apply("solve_discrete_lyapunov", theirs("solve_discrete_lyapunov"), _STEIN, a, q)[0]


@of_variables
def solve_discrete_lyapunov(a: Any, q: Any, method: Any = None) -> Any:
    """`scipy.linalg.solve_discrete_lyapunov`: x of a @ x @ a.T - x + q = 0."""
    what = "scipy.linalg.solve_discrete_lyapunov"
    return _stein(square(a, what), square(q, what))


def _riccati_vjp(g: Any, out: Any, given: Any) -> Any:
    a, weight, _ = given
    x = out[0]
    closed = a - weight @ x
    share = sylvester(closed, T(closed), g[0])
    turned = T(x)
    return -(x @ T(share) + turned @ share), turned @ share @ turned, -share


def _riccati_jvp(t: Any, out: Any, given: Any) -> Any:
    a, weight, _ = given
    x = out[0]
    closed = a - weight @ x
    terms = [t[2]]
    if t[0] is not None:
        terms.append(T(t[0]) @ x + x @ t[0])
    if t[1] is not None:
        terms.append(-(x @ t[1] @ x))
    return [-sylvester(T(closed), closed, plus(*terms))]


_RICCATI = Rule(_riccati_vjp, _riccati_jvp)


@of_variables
def solve_continuous_are(
    a: Any, b: Any, q: Any, r: Any, e: Any = None, s: Any = None, balanced: bool = True
) -> Any:
    """`scipy.linalg.solve_continuous_are`: the Riccati equation.

    a.T @ x + x @ a - x @ b @ inv(r) @ b.T @ x + q = 0.
    """
    what = "scipy.linalg.solve_continuous_are"
    if e is not None or s is not None:
        raise refuse("solve_continuous_are", "e= or s=", "bring it to the standard form")
    a, b, q, r = square(a, what), operand(b, what), square(q, what), square(r, what)
    x = theirs("solve_continuous_are")(plain(a), plain(b), plain(q), plain(r), balanced=balanced)
    weight = b @ _linalg.solve(r, T(b))
    return apply("solve_continuous_are", lambda *_: x, _RICCATI, a, weight, q)[0]
