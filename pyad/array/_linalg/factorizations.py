"""Cholesky and QR factorizations, bases of orthogonal complements."""

from __future__ import annotations

from typing import Any

import numpy as np

from pyad import _handle
from pyad._binding import error
from pyad.array._guards import guarding, read
from pyad.array._linalg._common import (
    T,
    eye_like,
    known,
    matrix,
    symmetric,
)
from pyad.array._linalg.solving import solve
from pyad.array._rules import (
    Rule,
    apply,
    is_variable,
    shape_of,
)
from pyad.array._structure import rearranged

__all__ = [
    "beside",
    "cholesky",
    "complement",
    "qr",
]


def _lower(x: Any, k: int = 0) -> Any:
    """The lower triangle, by a mask."""
    return x * np.tril(np.ones(shape_of(x)[-2:]), k)


def _half_lower(x: Any) -> Any:
    """The lower triangle with half the diagonal: Phi of Murray."""
    mask = np.tril(np.ones(shape_of(x)[-2:]))
    np.fill_diagonal(mask, 0.5)
    return x * mask


def _cholesky_vjp(g: Any, out: Any, given: Any) -> Any:
    factor = out[0]
    upper = T(factor)
    middle = _half_lower(upper @ g[0])
    return [symmetric(solve(upper, T(solve(upper, T(middle)))))]


def _cholesky_jvp(t: Any, out: Any, given: Any) -> Any:
    factor = out[0]
    return [factor @ _half_lower(solve(factor, T(solve(factor, symmetric(t[0])))))]


_CHOLESKY = Rule(_cholesky_vjp, _cholesky_jvp)


def cholesky(a: Any, /, *, upper: bool = False) -> Any:
    """The lower (or upper) factor (Murray, sections 3.1 and 3.3); the adjoint is symmetric."""
    a = matrix(a, "np.linalg.cholesky")
    if upper:
        return T(cholesky(T(a)))
    return apply("cholesky", np.linalg.cholesky, _CHOLESKY, a)[0]


def _qr_vjp(g: Any, out: Any, given: Any) -> Any:
    q, r = out
    m = r @ T(g[1]) - T(g[0]) @ q
    low = _lower(m, -1)
    share = g[0] + q @ (low + T(low) + m * eye_like(m))
    return [T(solve(r, T(share)))]


def _qr_jvp(t: Any, out: Any, given: Any) -> Any:
    q, r = out
    c = T(solve(T(r), T(t[0])))
    x = T(q) @ c
    low = _lower(x, -1)
    upper = x - low + T(low)
    return [c - q @ upper, upper @ r]


_QR = Rule(_qr_vjp, _qr_jvp)


def _complement_vjp(g: Any, out: Any, given: Any) -> Any:
    return [-(out[0] @ (T(g[0]) @ given[0]))]


def _complement_jvp(t: Any, out: Any, given: Any) -> Any:
    return [-(given[0] @ (T(t[0]) @ out[0]))]


_COMPLEMENT = Rule(_complement_vjp, _complement_jvp)


def complement(u: Any, values: Any) -> Any:
    """A basis of the space orthogonal to the columns of u.

    It turns with that space and not within it: dw = -u @ du.T @ w keeps [u, w] orthogonal.
    """
    if guarding():
        read(u)  # the basis is known here only
    return apply("complement", lambda _: values, _COMPLEMENT, u)[0]


def beside(x: Any, y: Any, axis: int = -1) -> Any:
    return rearranged(lambda a, b: np.concatenate([a, b], axis=axis), x, y)


def qr(a: Any, mode: Any = "reduced") -> Any:
    """Q and R (Walter and Lehmann 2010; wide matrices by their leading square)."""
    a = matrix(a, "np.linalg.qr")
    if mode not in ("reduced", "complete", "r"):
        raise error(
            "ARGUMENTS",
            f"np.linalg.qr of a variable has no mode={mode!r}: use 'reduced', 'complete' or 'r'",
        )
    if not is_variable(a):
        return np.linalg.qr(a, mode)
    m, n = shape_of(a)[-2:]
    k = min(m, n)
    values = np.linalg.qr(_handle._peek(a), "complete" if mode == "complete" else "reduced")
    q_values, r_values = values
    found = q_values[..., :k], r_values[..., :k, :k]
    q, r = apply("qr", known(found, lambda x: tuple(np.linalg.qr(x))), _QR, a[..., :k])
    if n > m:
        rest = T(q) @ a[..., k:]
        r = beside(r, rest)
    if mode == "r":
        return r
    if mode == "complete" and m > n:
        q = beside(q, complement(q, q_values[..., k:]))
        r = beside(r, np.zeros((*shape_of(a)[:-2], m - k, n)), -2)
    return type(values)(q, r)
