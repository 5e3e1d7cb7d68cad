"""Linear algebra: NumPy's functions with their adjoints.

Each operation is a value from LAPACK and a rule in matrix products and solves; functions made of
others follow. Sources of the formulas: M. Giles, "Collected matrix derivative results for forward
and reverse mode algorithmic differentiation" (2008); I. Murray, "Differentiation of the Cholesky
decomposition" (2016); J. Townsend, "Differentiating the singular value decomposition" (2016);
S. F. Walter and L. Lehmann, "Algorithmic differentiation of linear algebra functions" (2010);
G. H. Golub and V. Pereyra, SIAM J. Numer. Anal. 10 (1973), for the pseudoinverse.

Decisions, where a derivative does not exist or is a matter of convention:

- `cholesky`, `eigh`, `eigvalsh` read one triangle, but mean a symmetric matrix: the derivative is
  that of the symmetric part, so it is symmetric itself.
- Repeated eigenvalues and singular values: vectors within their space count as fixed (a difference
  quotient 0/0 is 0), so functions of the space, not of its basis, get their derivative.
- Norms have derivative 0 at 0; of entries or singular values that tie for the largest, each gets
  the same share.
- A singular matrix raises NumPy's LinAlgError, when the value or when the derivative needs its
  inverse; `det` has a derivative there, the matrix of cofactors.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from pyad.array._linalg._common import diagonal_of, matrix, square
from pyad.array._linalg.determinants import det, slogdet
from pyad.array._linalg.factorizations import cholesky, qr
from pyad.array._linalg.least_squares import lstsq, pinv
from pyad.array._linalg.norms import cond, matrix_norm, matrix_rank, norm, vector_norm
from pyad.array._linalg.products import (
    cross,
    diagonal,
    matmul,
    matrix_power,
    matrix_transpose,
    multi_dot,
    outer,
    tensordot,
    trace,
    vecdot,
)
from pyad.array._linalg.solving import inv, solve, tensorinv, tensorsolve
from pyad.array._linalg.spectra import EIGH, eig, eigh, eigvals, eigvalsh, svd, svdvals

__all__ = [
    "EIGH",
    "FUNCTIONS",
    "cholesky",
    "cond",
    "cross",
    "det",
    "diagonal",
    "diagonal_of",
    "eig",
    "eigh",
    "eigvals",
    "eigvalsh",
    "inv",
    "lstsq",
    "matmul",
    "matrix",
    "matrix_norm",
    "matrix_power",
    "matrix_rank",
    "matrix_transpose",
    "multi_dot",
    "norm",
    "outer",
    "pinv",
    "qr",
    "slogdet",
    "solve",
    "square",
    "svd",
    "svdvals",
    "tensordot",
    "tensorinv",
    "tensorsolve",
    "trace",
    "vecdot",
    "vector_norm",
]

_NAMES = (
    "cholesky", "cond", "cross", "det", "diagonal", "eig", "eigh", "eigvals", "eigvalsh", "inv",
    "lstsq", "matmul", "matrix_norm", "matrix_power", "matrix_rank", "matrix_transpose",
    "multi_dot", "norm", "outer", "pinv", "qr", "slogdet", "solve", "svd", "svdvals",
    "tensordot", "tensorinv", "tensorsolve", "trace", "vecdot", "vector_norm",
)  # fmt: skip
FUNCTIONS: dict[Callable[..., Any], Callable[..., Any]] = {
    getattr(np.linalg, name): globals()[name] for name in _NAMES if hasattr(np.linalg, name)
}
if hasattr(np, "matrix_transpose"):
    FUNCTIONS[np.matrix_transpose] = matrix_transpose
"""What `np.linalg` functions become for Arrays; NumPy 1 has fewer of them."""
