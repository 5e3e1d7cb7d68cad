"""Least squares and the pseudoinverse."""

from __future__ import annotations

from typing import Any

import numpy as np

from pyad import _handle
from pyad.array._guards import guarding, kept, read
from pyad.array._linalg._common import (
    EPS,
    T,
    known,
    matrix,
)
from pyad.array._linalg.spectra import svdvals
from pyad.array._rules import (
    Rule,
    apply,
    operand,
    plain,
    plus,
    shape_of,
    total,
)

__all__ = [
    "lstsq",
    "pinv",
]


def _pinv_vjp(g: Any, out: Any, given: Any) -> Any:
    a, p, g = given[0], out[0], g[0]
    pt, gt = T(p), T(g)
    share = -(pt @ g @ pt)
    left, right = gt @ p @ pt, pt @ p @ gt
    return [share + left - a @ (p @ left) + right - right @ p @ a]


def _pinv_jvp(t: Any, out: Any, given: Any) -> Any:
    a, p = given[0], out[0]
    pt, s = T(p), T(t[0])
    left, right = p @ pt @ s, s @ pt @ p
    return [-(p @ t[0] @ p) + left - left @ a @ p + right - p @ (a @ right)]


_PINV = Rule(_pinv_vjp, _pinv_jvp)


def pinv(a: Any, *args: Any, **options: Any) -> Any:
    """The pseudoinverse, where the rank does not change nearby (Golub and Pereyra, 4.12)."""
    args = tuple(plain(x) for x in args)
    return apply(
        "pinv",
        lambda x: np.linalg.pinv(x, *args, **options),
        _PINV,
        matrix(a, "np.linalg.pinv"),
    )[0]


def _lstsq_vjp(g: Any, out: Any, given: Any) -> Any:
    a, b = given
    x, p = out[0], pinv(a)
    pt = T(p)
    share = pt @ g[0]
    outside = g[0] - T(a) @ share
    a_share = (b - a @ x) @ T(p @ share) - share @ T(x) + (pt @ x) @ T(outside)
    return a_share, share


def _lstsq_jvp(t: Any, out: Any, given: Any) -> Any:
    a, b = given
    x, p = out[0], pinv(a)
    terms = [None if t[1] is None else p @ t[1]]
    if t[0] is not None:
        s = T(t[0])
        third = s @ (T(p) @ x)
        terms += [-(p @ (t[0] @ x)), p @ (T(p) @ (s @ (b - a @ x))), third, -(p @ (a @ third))]
    return [plus(*terms)]


_LSTSQ = Rule(_lstsq_vjp, _lstsq_jvp)


def lstsq(a: Any, b: Any, rcond: Any = None) -> Any:
    """Least squares: (x, residuals, rank, singular values); x = pinv(a) @ b, rank unchanged."""
    a, b = operand(a, "np.linalg.lstsq"), operand(b, "np.linalg.lstsq")
    values = np.linalg.lstsq(_handle._peek(a), _handle._peek(b), rcond=rcond)
    rank = int(values[2])
    column = b[:, None] if len(shape_of(b)) == 1 else b
    ranks: list[int] = []

    def again(m: Any, right: Any) -> Any:
        there = np.linalg.lstsq(m, right, rcond=rcond)
        ranks[:] = [int(there[2])]
        return there[0]

    first = values[0].reshape(values[0].shape[0], -1)
    (x,) = apply("lstsq", known(first, again, lambda _: ranks == [rank]), _LSTSQ, a, column)
    if values[1].size:
        r = column - a @ x
        residuals = total(r * r, 0)
    else:
        residuals = values[1]
    s = svdvals(a)
    if guarding() and shape_of(s)[0]:  # which singular values count
        least = EPS * max(shape_of(a)) if rcond is None or rcond == -1 else rcond
        if np.count_nonzero(kept("<", least * s[:1], s)) != rank:
            read(a)
    return (x[:, 0] if len(shape_of(b)) == 1 else x), residuals, rank, s
