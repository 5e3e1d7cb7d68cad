"""Solutions of linear systems, inverses."""

from __future__ import annotations

from typing import Any

import numpy as np

from pyad._handle import Array
from pyad.array._linalg._common import (
    T,
    matrix,
)
from pyad.array._rules import (
    Rule,
    apply,
    extended,
    is_variable,
    operand,
    plus,
    shape_of,
    unbroadcast,
)
from pyad.array._structure import viewed

__all__ = [
    "inv",
    "solve",
    "tensorinv",
    "tensorsolve",
]


def _solve_vjp(g: Any, out: Any, given: Any) -> Any:
    a, b = given
    share = solve(T(a), g[0])
    return -unbroadcast(share @ T(out[0]), shape_of(a)), unbroadcast(share, shape_of(b))


def _solve_jvp(t: Any, out: Any, given: Any) -> Any:
    right = plus(t[1], None if t[0] is None else -(t[0] @ out[0]))
    return [extended(solve(given[0], right), shape_of(out[0]))]


_SOLVE = Rule(_solve_vjp, _solve_jvp)


def solve(a: Any, b: Any) -> Any:
    """`np.linalg.solve`, x of a @ x = b.

    Adjoints: b' = solve(a.T, x'), a' = -b' @ x.T (Giles 2.3.1).
    """
    a, b = operand(a, "np.linalg.solve"), operand(b, "np.linalg.solve")
    if not is_variable(a, b):
        return np.linalg.solve(a, b)
    a = matrix(a, "np.linalg.solve")
    if len(shape_of(b)) == 1 or (
        np.lib.NumpyVersion(np.__version__) < "2.0.0" and len(shape_of(b)) == len(shape_of(a)) - 1
    ):
        (x,) = apply("solve", np.linalg.solve, _SOLVE, a, b[..., None])
        return x[..., 0]
    return apply("solve", np.linalg.solve, _SOLVE, a, b)[0]


def _inv_vjp(g: Any, out: Any, given: Any) -> Any:
    y = T(out[0])
    return [-(y @ g[0] @ y)]


_INV = Rule(_inv_vjp, lambda t, out, given: [-(out[0] @ t[0] @ out[0])])


def inv(a: Any) -> Any:
    """The inverse y: a' = -y.T @ y' @ y.T (Giles 2.2.3)."""
    return apply("inv", np.linalg.inv, _INV, matrix(a, "np.linalg.inv"))[0]


def tensorsolve(a: Any, b: Any, axes: Any = None) -> Any:
    """X of tensordot(a, x, x.ndim) = b."""
    a, b = operand(a, "np.linalg.tensorsolve"), operand(b, "np.linalg.tensorsolve")
    if axes is not None:
        order = [k for k in range(len(a.shape)) if k not in axes] + list(axes)
        a = viewed(np.transpose, a, order) if isinstance(a, Array) else np.transpose(a, order)
    rest = shape_of(a)[len(shape_of(b)) :]
    size = int(np.prod(rest))
    if int(np.prod(shape_of(a))) != size**2:
        raise np.linalg.LinAlgError(
            "Input arrays must satisfy prod(a.shape[b.ndim:]) == prod(a.shape[:b.ndim])"
        )
    return solve(a.reshape(size, size), b.reshape(size)).reshape(rest)


def tensorinv(a: Any, ind: int = 2) -> Any:
    """The inverse with respect to tensordot."""
    if ind <= 0:
        raise ValueError("Invalid ind argument.")
    a = operand(a, "np.linalg.tensorinv")
    shape = shape_of(a)
    size = int(np.prod(shape[ind:]))
    return inv(a.reshape(size, -1)).reshape(shape[ind:] + shape[:ind])
