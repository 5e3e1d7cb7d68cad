"""What the rules share: operands, triangles, quotients that are 0 where nothing divides."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from pyad._handle import Array
from pyad.array._rules import (
    equals,
    operand,
    seen,
    shape_of,
    total,
    transposed,
)
from pyad.array._structure import viewed

__all__ = [
    "EPS",
    "T",
    "diagonal_matrix",
    "diagonal_of",
    "eye_like",
    "for_each",
    "gaps",
    "known",
    "largest_of",
    "matrix",
    "moved",
    "reciprocal",
    "square",
    "symmetric",
]

T = transposed
EPS = np.finfo(np.float64).eps


def matrix(x: Any, what: str) -> Any:
    """An operand of at least two dimensions."""
    x = operand(x, what)
    if len(shape_of(x)) < 2:
        raise np.linalg.LinAlgError(
            f"{len(shape_of(x))}-dimensional array given. Array must be at least two-dimensional"
        )
    return x


def square(x: Any, what: str) -> Any:
    """An operand whose last two axes have the same length."""
    x = matrix(x, what)
    if shape_of(x)[-1] != shape_of(x)[-2]:
        raise np.linalg.LinAlgError("Last 2 dimensions of the array must be square")
    return x


def eye_like(x: Any) -> Any:
    return np.eye(shape_of(x)[-1])


def symmetric(x: Any) -> Any:
    return 0.5 * (x + T(x))


def diagonal_of(x: Any) -> Any:
    return total(x * eye_like(x), -1)


def diagonal_matrix(v: Any) -> Any:
    return v[..., None] * np.eye(shape_of(v)[-1])


def reciprocal(x: Any, zero: Any = None) -> Any:
    """1 / x, and 0 where x is 0 (or where `zero` says so)."""
    if zero is None:
        zero = equals(x, 0.0)
    return (1.0 - zero) / (x + zero)


def gaps(w: Any, scale: Any) -> Any:
    """F[i, j] = 1 / (w[j] - w[i]), and 0 where they agree up to rounding of `scale`."""
    values = seen(w)
    tolerance = 4 * EPS * shape_of(w)[-1] * scale
    equal = np.abs(values[..., None, :] - values[..., :, None]) <= tolerance
    return reciprocal(w[..., None, :] - w[..., :, None], equal)


def largest_of(x: Any) -> Any:
    if shape_of(x)[-1] == 0:
        return np.zeros((*shape_of(x)[:-1], 1, 1))
    return np.max(np.abs(seen(x)), axis=-1, keepdims=True)[..., None]


def known(
    found: Any, function: Callable[..., Any], fits: Callable[..., bool] | None = None
) -> Callable[..., Any]:
    """A value function whose answer here is known, and `function` anywhere else.

    Where what was decided by the answer would come out otherwise, `fits` says so, and it raises: a
    recording does not fit there.
    """
    answers = [found]

    def value(*numbers: Any) -> Any:
        if answers:
            return answers.pop()
        there = function(*numbers)
        if fits is not None and not fits(there):
            raise np.linalg.LinAlgError("a recorded decision comes out otherwise at this point")
        return there

    return value


def for_each(g: Any, axes: int = 2) -> Any:
    """A number for each matrix (or vector), in the shape that multiplies them."""
    return g[(..., *(None,) * axes)] if shape_of(g) else g


def moved(x: Any, axes: tuple[int, ...]) -> Any:
    """These axes last."""
    targets = tuple(range(-len(axes), 0))
    if isinstance(x, Array):
        return viewed(np.moveaxis, x, axes, targets)
    return np.moveaxis(x, axes, targets)
