"""Linear algebra beyond `np.linalg`: functions of matrices.

`np.linalg` itself takes Arrays, and its functions stand here too. `expm` is the matrix exponential,
on ndarrays, Arrays and nested lists of variables, and on stacks of matrices.

The derivative of a function of matrices is read off a block matrix: f([[A, E], [0, A]]) has f(A) on
its diagonal and the derivative of f at A in the direction E above it (R. Mathias, "A chain rule for
matrix functions and applications", SIAM J. Matrix Anal. Appl. 17 (1996)). Its adjoint is the
derivative at A.T, so that the rule repeats at every order.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from pyad.array._common import lifted
from pyad.array._guards import guarding, kept, peek
from pyad.array._linalg import FUNCTIONS as _NUMPY
from pyad.array._linalg import square
from pyad.array._rules import (
    Rule,
    apply,
    holds_variables,
    shape_of,
    transposed,
)
from pyad.array._structure import rearranged

__all__ = ["expm", "matrix_function"]
__all__ += sorted({f.__name__ for f in _NUMPY})

# (degree, the largest 1-norm that it serves) of the approximants: N. J. Higham, "The scaling and
# squaring method for the matrix exponential revisited", SIAM J. Matrix Anal. Appl. 26 (2005).
_BOUNDS = (
    (3, 1.495585217958292e-2),
    (5, 2.539398330063230e-1),
    (7, 9.504178996162932e-1),
    (9, 2.097847961257068),
    (13, 5.371920351148152),
)


def _coefficients(degree: int) -> list[float]:
    """Those of the numerator of the diagonal Pade approximant, up to a common factor."""
    row = [1]
    for k in range(degree):  # c[k + 1] / c[k] = (m - k) / ((2m - k) (k + 1)), as whole numbers
        row = [c * (2 * degree - k) * (k + 1) for c in row] + [row[-1] * (degree - k)]
    return [float(c) / float(row[-1]) for c in row]


_PADE = {degree: _coefficients(degree) for degree, _ in _BOUNDS}


def _expm_of_one(a: Any) -> Any:
    """exp(a) of one matrix by scaling and squaring, the diagonal shifted out (Higham 2005)."""
    n = a.shape[-1]
    if n == 0:
        return a.copy()
    if not np.all(np.isfinite(a)):
        return np.full_like(a, np.nan)
    if not np.any(a[~np.eye(n, dtype=bool)]):
        return np.diag(np.exp(np.diagonal(a)))
    shift = float(np.trace(a)) / n
    one = np.eye(n)
    a = a - shift * one
    size = float(np.abs(a).sum(axis=0).max())
    degree = next((m for m, bound in _BOUNDS if size <= bound), 13)
    squarings = 0
    if size > _BOUNDS[-1][1]:
        squarings = max(0, math.ceil(math.log2(size / _BOUNDS[-1][1])))
        a = a / 2.0**squarings
    c = _PADE[degree]
    a2 = a @ a
    if degree < 13:
        power, odd, even = one, c[1] * one, c[0] * one
        for k in range(2, degree, 2):
            power = power @ a2
            odd, even = odd + c[k + 1] * power, even + c[k] * power
        odd = a @ odd
    else:
        a4 = a2 @ a2
        a6 = a4 @ a2
        odd = a @ (
            a6 @ (c[13] * a6 + c[11] * a4 + c[9] * a2)
            + c[7] * a6
            + c[5] * a4
            + c[3] * a2
            + c[1] * one
        )
        even = (
            a6 @ (c[12] * a6 + c[10] * a4 + c[8] * a2)
            + c[6] * a6
            + c[4] * a4
            + c[2] * a2
            + c[0] * one
        )
    result = np.linalg.solve(even - odd, even + odd)
    for _ in range(squarings):
        result = result @ result
    return result * np.exp(shift)


def _expm_slope_of_one(a: Any, e: Any) -> Any:
    """The derivative of exp at one matrix in the direction e: scaling and squaring differentiated.

    A. H. Al-Mohy and N. J. Higham, "Computing the Frechet derivative of the matrix exponential",
    SIAM J. Matrix Anal. Appl. 30 (2009), with the approximant of degree 13. Three times the cost
    of the value, where the block matrix takes eight.
    """
    n = a.shape[-1]
    if n == 0 or not (np.all(np.isfinite(a)) and np.all(np.isfinite(e))):
        return np.full_like(a, np.nan)
    shift = float(np.trace(a)) / n
    a = a - shift * np.eye(n)
    size = float(np.abs(a).sum(axis=0).max())
    squarings = max(0, math.ceil(math.log2(size / 4.74))) if size > 4.74 else 0
    a, e = a / 2.0**squarings, e / 2.0**squarings
    c = _PADE[13]
    a2 = a @ a
    a4 = a2 @ a2
    a6 = a4 @ a2
    e2 = a @ e + e @ a
    e4 = a2 @ e2 + e2 @ a2
    e6 = a4 @ e2 + e4 @ a2
    one = np.eye(n)
    high, top = c[13] * a6 + c[11] * a4 + c[9] * a2, c[12] * a6 + c[10] * a4 + c[8] * a2
    inner = a6 @ high + c[7] * a6 + c[5] * a4 + c[3] * a2 + c[1] * one
    odd = a @ inner
    even = a6 @ top + c[6] * a6 + c[4] * a4 + c[2] * a2 + c[0] * one
    inner_slope = a6 @ (c[13] * e6 + c[11] * e4 + c[9] * e2) + e6 @ high
    inner_slope = inner_slope + c[7] * e6 + c[5] * e4 + c[3] * e2
    odd_slope = a @ inner_slope + e @ inner
    even_slope = a6 @ (c[12] * e6 + c[10] * e4 + c[8] * e2) + e6 @ top
    even_slope = even_slope + c[6] * e6 + c[4] * e4 + c[2] * e2
    result = np.linalg.solve(even - odd, even + odd)
    right = odd_slope + even_slope + (odd_slope - even_slope) @ result
    slope = np.linalg.solve(even - odd, right)
    for _ in range(squarings):
        slope = result @ slope + slope @ result
        result = result @ result
    return slope * np.exp(shift)


def _stacked(function: Callable[[Any], Any], a: Any) -> Any:
    """A function of one matrix on each of a stack."""
    if a.ndim == 2:
        return function(a)
    made = [function(x) for x in a.reshape(-1, *a.shape[-2:])]
    return np.stack(made).reshape(a.shape) if made else np.zeros(a.shape)


def _blocks(a: Any, e: Any) -> Any:
    """The matrix [[a, e], [0, a]]."""

    def put(x: Any, y: Any) -> Any:
        n = x.shape[-1]
        made = np.zeros((*x.shape[:-2], 2 * n, 2 * n), x.dtype)
        made[..., :n, :n] = made[..., n:, n:] = x
        made[..., :n, n:] = y
        return made

    return rearranged(put, a, e) if holds_variables(a, e) else put(a, e)


def matrix_function(
    name: str,
    function: Callable[[Any], Any],
    a: Any,
    derivative: Callable[[Any, Any], Any] | None = None,
) -> Any:
    """f(a) of square matrices, f analytic at their eigenvalues, with its derivatives of any order.

    `function` computes f of one ndarray. What it computes must be f itself, also of block
    triangular matrices with repeated eigenvalues. `derivative(x, e)` gives the derivative of f at
    one ndarray in a direction, if there is a quicker way than the block matrix.
    """

    def slope(x: Any, direction: Any) -> Any:
        n = shape_of(x)[-1]
        if derivative is not None and not holds_variables(x, direction):
            pairs = zip(x.reshape(-1, n, n), direction.reshape(-1, n, n), strict=True)
            return np.reshape([derivative(y, e) for y, e in pairs], x.shape)
        sides = (-2, -1)
        given = np.max(np.abs(peek(direction)), axis=sides, keepdims=True, initial=0.0)
        wanted = np.max(np.abs(peek(x)), axis=sides, keepdims=True, initial=0.0)
        # it is linear in the direction: a large one must not lead to more squarings
        wanted = np.where(wanted > 0, wanted, 1.0)
        scale = np.where(given > 0, given, 1.0) / wanted
        if guarding():  # a replay has the same scale
            most = 1024.0 * scale * wanted
            kept("<=", lifted(direction), most)
            kept("<=", -most, lifted(direction))
        made = matrix_function(name, function, _blocks(x, direction / scale), derivative)
        return made[..., :n, n:] * scale

    rule = Rule(
        lambda g, out, given: [slope(transposed(given[0]), g[0])],
        lambda t, out, given: [slope(given[0], t[0])],
    )
    return apply(name, lambda x: _stacked(function, x), rule, square(a, name))[0]


def expm(a: Any) -> Any:
    """The matrix exponential, of ndarrays, Arrays and lists of variables, and of stacks of them.

    >>> import numpy as np
    >>> import pyad
    >>> pyad.grad(lambda t: pyad.linalg.expm(t * np.array([[0.0, 1.0], [1.0, 0.0]]))[0, 0])(0.0)
    0.0
    """
    return matrix_function("expm", _expm_of_one, a, _expm_slope_of_one)


def __getattr__(name: str) -> Any:
    """NumPy's functions, by its names."""
    for numpy_function, ours in _NUMPY.items():
        if numpy_function.__name__ == name:
            return ours
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
