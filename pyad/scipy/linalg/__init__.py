"""`scipy.linalg` for Arrays and variables: values, derivatives of any order.

The names, arguments and values are SciPy's; `overwrite_...` and `check_finite` are accepted and
have no effect on variables. What can be differentiated in `numpy.linalg` is decided as there: one
triangle that is read stands for a symmetric matrix, and the derivative is that of the symmetric
part; vectors within the space of a repeated eigenvalue count as fixed; a singular matrix raises
LinAlgError. Functions of matrices (`expm`, `logm`, `sinm` ...) are differentiated by block
matrices, see `pyad.linalg`; a real matrix whose `sqrtm` or `logm` is complex is refused.
Sources: those of `numpy.linalg`'s rules, and T. Kao and G. Hennequin, "Automatic differentiation of
Sylvester, Lyapunov, and algebraic Riccati equations" (2020).
"""

from __future__ import annotations

from pyad.scipy.linalg.banded import solve_banded, solveh_banded
from pyad.scipy.linalg.equations import (
    solve_continuous_are,
    solve_continuous_lyapunov,
    solve_discrete_lyapunov,
    solve_lyapunov,
    solve_sylvester,
)
from pyad.scipy.linalg.functions import (
    coshm,
    cosm,
    expm,
    fractional_matrix_power,
    logm,
    sinhm,
    sinm,
    sqrtm,
    tanhm,
    tanm,
)
from pyad.scipy.linalg.solving import (
    cho_factor,
    cho_solve,
    cholesky,
    det,
    inv,
    lu,
    lu_factor,
    lu_solve,
    solve,
    solve_triangular,
)
from pyad.scipy.linalg.spectra import (
    eig,
    eigh,
    eigvals,
    eigvalsh,
    lstsq,
    norm,
    pinv,
    polar,
    qr,
    svd,
    svdvals,
)
from pyad.scipy.linalg.structured import block_diag, circulant, hankel, toeplitz

__all__ = [
    "block_diag",
    "cho_factor",
    "cho_solve",
    "cholesky",
    "circulant",
    "coshm",
    "cosm",
    "det",
    "eig",
    "eigh",
    "eigvals",
    "eigvalsh",
    "expm",
    "fractional_matrix_power",
    "hankel",
    "inv",
    "logm",
    "lstsq",
    "lu",
    "lu_factor",
    "lu_solve",
    "norm",
    "pinv",
    "polar",
    "qr",
    "sinhm",
    "sinm",
    "solve",
    "solve_banded",
    "solve_continuous_are",
    "solve_continuous_lyapunov",
    "solve_discrete_lyapunov",
    "solve_lyapunov",
    "solve_sylvester",
    "solve_triangular",
    "solveh_banded",
    "sqrtm",
    "svd",
    "svdvals",
    "tanhm",
    "tanm",
    "toeplitz",
]
