"""Products of matrices and vectors, diagonals, transposes."""

from __future__ import annotations

from typing import Any

import numpy as np

from pyad._binding import error
from pyad._handle import Array
from pyad.array._linalg._common import (
    eye_like,
    matrix,
    moved,
)
from pyad.array._linalg.solving import inv
from pyad.array._rules import (
    constant,
    is_variable,
    operand,
    shape_of,
    total,
    transposed,
)
from pyad.array._structure import viewed

__all__ = [
    "cross",
    "diagonal",
    "matmul",
    "matrix_power",
    "matrix_transpose",
    "multi_dot",
    "outer",
    "tensordot",
    "trace",
    "vecdot",
]


def matrix_power(a: Any, n: int) -> Any:
    """A @ a @ ..., n times; of the inverse if n is negative."""
    a = matrix(a, "np.linalg.matrix_power")
    if not is_variable(a):
        return np.linalg.matrix_power(a, n)
    try:
        n = int(n.__index__())
    except AttributeError as cause:
        raise TypeError("exponent must be an integer") from cause
    if n == 0:
        return constant(np.broadcast_to(eye_like(a), shape_of(a)).copy())
    if n < 0:
        return matrix_power(inv(a), -n)
    given, result = a, None  # type: Any, Any
    while n:  # binary powers
        if n & 1:
            result = a if result is None else result @ a
        n >>= 1
        if n:
            a = a @ a
    return +result if result is given else result


def multi_dot(arrays: Any, *, out: Any = None) -> Any:
    """The product of several matrices, in the order of fewest multiplications."""
    xs = [operand(x, "np.linalg.multi_dot") for x in arrays]
    if out is not None:
        raise error("ARGUMENTS", "np.linalg.multi_dot of variables has no out=: assign the result")
    if len(xs) < 2:
        raise ValueError("Expecting at least two arrays.")
    first, last = len(shape_of(xs[0])) == 1, len(shape_of(xs[-1])) == 1
    if first:
        xs[0] = xs[0][None, :]
    if last:
        xs[-1] = xs[-1][:, None]
    for x in xs:
        if len(shape_of(x)) != 2:
            raise np.linalg.LinAlgError(
                f"{len(shape_of(x))}-dimensional array given. Array must be two-dimensional"
            )
    sides = [shape_of(x)[0] for x in xs] + [shape_of(xs[-1])[1]]
    n = len(xs)
    cost = [[0.0] * n for _ in range(n)]
    split = [[0] * n for _ in range(n)]
    for length in range(1, n):  # Cormen et al., Introduction to Algorithms, 15.2
        for i in range(n - length):
            j = i + length
            cost[i][j], split[i][j] = min(
                (cost[i][k] + cost[k + 1][j] + float(sides[i] * sides[k + 1] * sides[j + 1]), k)
                for k in range(i, j)
            )

    def product(i: int, j: int) -> Any:
        return xs[i] if i == j else product(i, split[i][j]) @ product(split[i][j] + 1, j)

    result = product(0, n - 1)
    if first and last:
        return result[0, 0]
    return result[0] if first else result[:, 0] if last else result


def outer(x1: Any, x2: Any, /) -> Any:
    """`np.linalg.outer`."""
    x1, x2 = operand(x1, "np.linalg.outer"), operand(x2, "np.linalg.outer")
    if len(shape_of(x1)) != 1 or len(shape_of(x2)) != 1:
        raise ValueError("Input arrays must be one-dimensional")
    return x1[:, None] * x2[None, :]


def cross(x1: Any, x2: Any, /, *, axis: int = -1) -> Any:
    """`np.linalg.cross`, of vectors of three numbers."""
    a, b = operand(x1, "np.linalg.cross"), operand(x2, "np.linalg.cross")
    if shape_of(a)[axis] != 3 or shape_of(b)[axis] != 3:
        raise ValueError("Both input arrays must be (arrays of) 3-dimensional vectors")
    a, b = moved(a, (axis,)), moved(b, (axis,))
    c = a[..., [1, 2, 0]] * b[..., [2, 0, 1]] - a[..., [2, 0, 1]] * b[..., [1, 2, 0]]
    return viewed(np.moveaxis, c, -1, axis) if isinstance(c, Array) else np.moveaxis(c, -1, axis)


def matmul(x1: Any, x2: Any, /) -> Any:
    """`np.linalg.matmul`."""
    return operand(x1, "np.linalg.matmul") @ operand(x2, "np.linalg.matmul")


def vecdot(x1: Any, x2: Any, /, *, axis: int = -1) -> Any:
    """`np.linalg.vecdot`."""
    return total(operand(x1, "np.linalg.vecdot") * operand(x2, "np.linalg.vecdot"), axis)


def tensordot(x1: Any, x2: Any, /, *, axes: Any = 2) -> Any:
    """`np.linalg.tensordot`."""
    return np.tensordot(x1, x2, axes)


def diagonal(x: Any, /, *, offset: int = 0) -> Any:
    """`np.linalg.diagonal`, of the last two axes."""
    x = matrix(x, "np.linalg.diagonal")
    if isinstance(x, Array):
        return viewed(lambda a: np.diagonal(a, offset, -2, -1), x)
    return np.diagonal(x, offset, -2, -1)


def trace(x: Any, /, *, offset: int = 0, dtype: Any = None) -> Any:
    """`np.linalg.trace`, of the last two axes."""
    return total(diagonal(x, offset=offset), -1)


def matrix_transpose(x: Any, /) -> Any:
    """The last two axes exchanged, a view."""
    return transposed(matrix(x, "np.linalg.matrix_transpose"))
