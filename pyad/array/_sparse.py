"""Products with sparse matrices of SciPy, which are constant, at the cost of SciPy's product."""

from __future__ import annotations

from typing import Any

import numpy as np

from pyad._binding import error
from pyad._handle import Array, Var
from pyad.array._convert import as_array
from pyad.array._rules import Rule, apply, shape_of, transposed

__all__ = ["is_sparse", "sparse_product", "sparse_times"]


def is_sparse(x: Any) -> bool:
    """Whether this is a sparse matrix or array of SciPy."""
    return hasattr(x, "tocsr") and hasattr(x, "nnz") and hasattr(x, "shape")


def _product(matrix: Any, x: Any) -> Any:
    """`matrix @ x` of a csr or csc array and a vector or matrix; the adjoint is `matrix.T @ g`."""

    def vjp(g: Any, out: Any, given: Any) -> Any:
        return [_product(matrix.T, g[0])]

    def jvp(t: Any, out: Any, given: Any) -> Any:
        return [_product(matrix, t[0])]

    return apply("a sparse product", lambda v: matrix @ v, Rule(vjp, jvp), x)[0]


def _fixed(matrix: Any) -> Any:
    """A copy as an array of floats: what the user does to the matrix later changes nothing."""
    if np.dtype(matrix.dtype).kind not in "biuf":
        raise error("NOT_A_NUMBER", "a product with a sparse matrix", f"a matrix of {matrix.dtype}")
    if len(matrix.shape) != 2:
        raise error(
            "ARGUMENTS",
            f"a sparse array times an Array needs two dimensions, not {len(matrix.shape)}: "
            "reshape it, or use its .toarray()",
        )
    from scipy.sparse import csc_array, csr_array

    kind = csc_array if getattr(matrix, "format", "") == "csc" else csr_array
    return kind(matrix, dtype=np.float64, copy=True)


def sparse_product(x: Any, y: Any) -> Any:
    """`x @ y` where one of the two is a sparse matrix; NotImplemented if neither is."""
    if is_sparse(x):
        matrix, a = _fixed(x), y if isinstance(y, Array) else as_array(y, "a sparse product")
        shape, inner = shape_of(a), matrix.shape[1]
        if len(shape) not in (1, 2) or shape[0] != inner:
            raise error("MATMUL", f"{tuple(matrix.shape)} @ {shape}")
        return _product(matrix, a)
    if not is_sparse(y):
        return NotImplemented
    matrix, a = _fixed(y), x if isinstance(x, Array) else as_array(x, "a sparse product")
    shape, inner = shape_of(a), matrix.shape[0]
    if len(shape) not in (1, 2) or shape[-1] != inner:
        raise error("MATMUL", f"{shape} @ {tuple(matrix.shape)}")
    turned = matrix.T
    return _product(turned, a) if len(shape) == 1 else transposed(_product(turned, transposed(a)))


def sparse_times(x: Any, y: Any) -> Any:
    """`x * y`: the matrix product of SciPy's matrices; of its arrays, only with a number."""
    sparse, other = (x, y) if is_sparse(x) else (y, x)
    if not is_sparse(sparse) or not isinstance(other, (Array, Var)):
        return NotImplemented
    from scipy.sparse import spmatrix

    if isinstance(sparse, spmatrix) and isinstance(other, Array):
        return sparse_product(x, y)
    raise error(
        "ARGUMENTS",
        "a sparse array times a variable would be a sparse array of variables, which pyad does not "
        "have: multiply it where it is applied, as in A @ (s * x) or (A @ x) * s, or use "
        "A.toarray()",
    )
