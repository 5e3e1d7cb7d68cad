"""Norms of vectors and matrices, condition numbers, ranks."""

from __future__ import annotations

from typing import Any

import numpy as np

from pyad._handle import Var
from pyad.array._linalg._common import (
    for_each,
    matrix,
    moved,
    reciprocal,
)
from pyad.array._linalg.solving import inv
from pyad.array._linalg.spectra import svdvals
from pyad.array._rules import (
    Rule,
    apply,
    constant,
    equals,
    extended,
    is_variable,
    operand,
    plain,
    shape_of,
    total,
)

__all__ = [
    "cond",
    "matrix_norm",
    "matrix_rank",
    "norm",
    "vector_norm",
]


def _length(x: Any) -> Any:
    """The 2-norm along the last axis, with derivative 0 at 0."""

    def vjp(g: Any, out: Any, given: Any) -> Any:
        return [given[0] * for_each(g[0] * reciprocal(out[0]), 1)]

    def jvp(t: Any, out: Any, given: Any) -> Any:
        return [total(given[0] * t[0], -1) * reciprocal(out[0])]

    def value(a: Any) -> Any:
        return np.linalg.norm(a, axis=-1)

    return apply("norm", value, Rule(vjp, jvp), x)[0]


def _length_p(x: Any, p: float) -> Any:
    """The p-norm along the last axis, p finite and not 0."""

    def slopes(a: Any, n: Any) -> Any:
        zero = equals(a, 0.0)
        n = n + equals(n, 0.0)
        ratio = (abs(a) + zero) / for_each(n, 1)
        return np.sign(a) * ratio ** (p - 1.0)

    def vjp(g: Any, out: Any, given: Any) -> Any:
        return [slopes(given[0], out[0]) * for_each(g[0], 1)]

    def jvp(t: Any, out: Any, given: Any) -> Any:
        return [total(slopes(given[0], out[0]) * t[0], -1)]

    def value(a: Any) -> Any:
        return np.linalg.norm(a, p, axis=-1)

    return apply("norm", value, Rule(vjp, jvp), x)[0]


def _extreme(x: Any, largest: bool) -> Any:
    """The largest or smallest along the last axis; ties share the derivative."""

    def shares(a: Any, out: Any) -> Any:
        ties = equals(a, for_each(out, 1))
        return ties / np.sum(ties, axis=-1, keepdims=True)

    def vjp(g: Any, out: Any, given: Any) -> Any:
        return [shares(given[0], out[0]) * for_each(g[0], 1)]

    def jvp(t: Any, out: Any, given: Any) -> Any:
        return [total(shares(given[0], out[0]) * t[0], -1)]

    def value(a: Any) -> Any:
        return a.max(axis=-1) if largest else a.min(axis=-1)

    return apply("max" if largest else "min", value, Rule(vjp, jvp), x)[0]


def _vector_norm(x: Any, order: Any) -> Any:
    """Along the last axis."""
    if order is None or order == 2:
        return _length(x)
    if order == np.inf or order == -np.inf:
        return _extreme(abs(x), order > 0)
    if order == 0:
        return constant(np.sum(~equals(x, 0.0), axis=-1).astype(np.float64))
    if order == 1:
        return total(abs(x), -1)
    return _length_p(x, float(order))


def _matrix_norm(x: Any, order: Any) -> Any:
    """Over the last two axes."""
    if order in (None, "fro", "f"):
        return _length(x.reshape(*shape_of(x)[:-2], -1))
    if order == "nuc":
        return total(svdvals(x), -1)
    if order in (2, -2):
        return _extreme(svdvals(x), order > 0)
    if order in (1, -1):
        return _extreme(total(abs(x), -2), order > 0)
    if order in (np.inf, -np.inf):
        return _extreme(total(abs(x), -1), order > 0)
    raise ValueError("Invalid norm order for matrices.")


def norm(x: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Any:
    """Norms of vectors and matrices, every order of NumPy's; derivative 0 at 0."""
    x = operand(x, "np.linalg.norm")
    ord = plain(ord)
    if not is_variable(x):
        return np.linalg.norm(x, ord, axis, keepdims)
    ndim = len(shape_of(x))
    if isinstance(x, Var):
        return abs(x)
    if axis is None and (
        ord is None or (ord in ("f", "fro") and ndim == 2) or (ord == 2 and ndim == 1)
    ):
        result = _length(x.reshape(-1))
        return _kept(result, (1,) * ndim) if keepdims else result
    np.linalg.norm(np.empty((1,) * ndim), ord, axis)  # what NumPy refuses
    axes = tuple(range(ndim)) if axis is None else axis if isinstance(axis, tuple) else (axis,)
    axes = tuple(int(k) % ndim for k in axes)
    y = moved(x, axes)
    if shape_of(y)[-1] == 0 or (len(axes) == 2 and shape_of(y)[-2] == 0):
        return constant(np.linalg.norm(plain(x), ord, axis, keepdims))
    result = _vector_norm(y, ord) if len(axes) == 1 else _matrix_norm(y, ord)
    if keepdims:
        return _kept(result, tuple(1 if i in axes else n for i, n in enumerate(shape_of(x))))
    return result


def _kept(x: Any, shape: tuple[int, ...]) -> Any:
    if isinstance(x, Var):
        return extended(x, shape)
    return x.reshape(shape)


def matrix_norm(x: Any, /, *, keepdims: bool = False, ord: Any = "fro") -> Any:
    """`np.linalg.matrix_norm`."""
    return norm(matrix(x, "np.linalg.matrix_norm"), ord, (-2, -1), keepdims)


def vector_norm(x: Any, /, *, axis: Any = None, keepdims: bool = False, ord: Any = 2) -> Any:
    """`np.linalg.vector_norm`."""
    x = operand(x, "np.linalg.vector_norm")
    shape = shape_of(x)
    if axis is None:
        result = norm(x.reshape(-1), ord, 0)
        return _kept(result, (1,) * len(shape)) if keepdims else result
    if not isinstance(axis, tuple):
        return norm(x, ord, axis, keepdims)
    axes = tuple(int(k) % len(shape) for k in axis)
    y = moved(x, axes)
    result = norm(y.reshape(*shape_of(y)[: len(shape) - len(axes)], -1), ord, -1)
    return (
        _kept(result, tuple(1 if i in axes else n for i, n in enumerate(shape)))
        if keepdims
        else result
    )


def cond(x: Any, p: Any = None) -> Any:
    """The condition number, by singular values or by norms of the matrix and its inverse."""
    x = matrix(x, "np.linalg.cond")
    if not is_variable(x):
        return np.linalg.cond(x, p)
    if 0 in shape_of(x):
        return constant(np.linalg.cond(plain(x), p))
    if p is None or p in (2, -2):
        s = svdvals(x)
        return s[..., -1] / s[..., 0] if p == -2 else s[..., 0] / s[..., -1]
    return norm(x, p, (-2, -1)) * norm(inv(x), p, (-2, -1))


def matrix_rank(a: Any, *args: Any, **options: Any) -> Any:
    """The rank: plain whole numbers, it has no derivative."""
    return np.linalg.matrix_rank(plain(operand(a, "np.linalg.matrix_rank")), *args, **options)
