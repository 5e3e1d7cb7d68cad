"""Eigenvalues, singular values, QR, least squares, norms."""

from __future__ import annotations

from typing import Any

import numpy as np

from pyad.array import _linalg
from pyad.array._linalg import square
from pyad.array._rules import (
    apply,
    plain,
    shape_of,
)
from pyad.scipy.linalg._common import (
    T,
    of_variables,
    refuse,
    symmetric_from,
    theirs,
)
from pyad.scipy.linalg.solving import (
    solved_triangular,
)

__all__ = [
    "eig",
    "eigh",
    "eigvals",
    "eigvalsh",
    "lstsq",
    "norm",
    "pinv",
    "polar",
    "qr",
    "svd",
    "svdvals",
]


@of_variables
def eigh(
    a: Any, b: Any = None, *, lower: bool = True, eigvals_only: bool = False,
    overwrite_a: Any = False, overwrite_b: Any = False, type: int = 1, check_finite: bool = True,
    subset_by_index: Any = None, subset_by_value: Any = None, driver: Any = None,
) -> Any:  # fmt: skip
    """`scipy.linalg.eigh`, also of a @ v = w * (b @ v); a subset is cut out of all of them."""
    if type != 1 or subset_by_value is not None:
        raise refuse("eigh", "type or subset_by_value", "use type 1 and subset_by_index")
    a = symmetric_from(a, lower, "eigh")
    if len(shape_of(a)) != 2:
        raise refuse("eigh", "stacks of matrices", "use np.linalg.eigh, which takes them")
    if b is None:
        values = theirs("eigh")(plain(a), lower=lower)
        w, v = apply("eigh", lambda _: values, _linalg.EIGH, a)
    else:
        b = symmetric_from(b, lower, "eigh")
        values = theirs("eigh")(plain(a), plain(b), lower=lower)
        factor = _linalg.cholesky(b)
        half = solved_triangular(factor, a, False, True, False)
        w, v = _linalg.eigh(solved_triangular(factor, T(half), False, True, False))
        v = solved_triangular(factor, v, True, True, False)
        v = v * np.where(np.sum(plain(v) * (plain(b) @ values[1]), axis=0) < 0, -1.0, 1.0)
    if subset_by_index is not None:
        first, last = subset_by_index
        w, v = w[first : last + 1], v[:, first : last + 1]
    return w if eigvals_only else (w, v)


@of_variables
def eigvalsh(a: Any, b: Any = None, *, lower: bool = True, **options: Any) -> Any:
    """`scipy.linalg.eigvalsh`."""
    if b is None and not options:
        return _linalg.eigvalsh(square(a, "scipy.linalg.eigvalsh"), "L" if lower else "U")
    return eigh(a, b, lower=lower, eigvals_only=True, **options)


@of_variables
def eig(a: Any, b: Any = None, left: bool = False, right: bool = True, **options: Any) -> Any:
    """`scipy.linalg.eig` of a matrix whose eigenvalues are real; they are given as real numbers."""
    if b is not None or left or not right:
        raise refuse("eig", "b=, left= or right=False", "take solve(b, a), or the transpose")
    return tuple(_linalg.eig(square(a, "scipy.linalg.eig")))


@of_variables
def eigvals(a: Any, b: Any = None, **options: Any) -> Any:
    """`scipy.linalg.eigvals` of a matrix whose eigenvalues are real."""
    if b is not None:
        raise refuse("eigvals", "b=", "take solve(b, a)")
    return _linalg.eigvals(square(a, "scipy.linalg.eigvals"))


@of_variables
def svd(
    a: Any, full_matrices: bool = True, compute_uv: bool = True, overwrite_a: Any = False,
    check_finite: bool = True, lapack_driver: str = "gesdd",
) -> Any:  # fmt: skip
    """`scipy.linalg.svd`."""
    found = _linalg.svd(a, full_matrices, compute_uv)
    return tuple(found) if compute_uv else found


@of_variables
def svdvals(a: Any, overwrite_a: Any = False, check_finite: bool = True) -> Any:
    """`scipy.linalg.svdvals`."""
    return _linalg.svdvals(a)


@of_variables
def qr(
    a: Any, overwrite_a: Any = False, lwork: Any = None, mode: str = "full",
    pivoting: bool = False, check_finite: bool = True,
) -> Any:  # fmt: skip
    """`scipy.linalg.qr` without pivoting."""
    if pivoting or mode not in ("full", "economic", "r"):
        raise refuse("qr", f"pivoting or mode={mode!r}", "use mode 'full', 'economic' or 'r'")
    q, r = _linalg.qr(a, "reduced" if mode == "economic" else "complete")
    return (r,) if mode == "r" else (q, r)


@of_variables
def polar(a: Any, side: str = "right") -> Any:
    """`scipy.linalg.polar`, by singular values."""
    if side not in ("right", "left"):
        raise ValueError("`side` must be either 'right' or 'left'")
    u, s, vh = _linalg.svd(a, full_matrices=False)
    if side == "right":
        return u @ vh, (T(vh) * s[..., None, :]) @ vh
    return u @ vh, (u * s[..., None, :]) @ T(u)


@of_variables
def pinv(
    a: Any, *, atol: Any = None, rtol: Any = None, return_rank: bool = False,
    check_finite: bool = True,
) -> Any:  # fmt: skip
    """`scipy.linalg.pinv`, where the rank does not change nearby."""
    a = _linalg.matrix(a, "scipy.linalg.pinv")
    largest = float(np.linalg.norm(plain(a), 2)) if len(shape_of(a)) == 2 else 0.0
    relative = max(shape_of(a)[-2:]) * np.finfo(float).eps if rtol is None else float(rtol)
    if atol and largest:
        relative = max(float(atol) + relative * largest, 0.0) / largest
    found = _linalg.pinv(a, relative)
    if not return_rank:
        return found
    return found, int(np.linalg.matrix_rank(plain(a), tol=relative * largest))


@of_variables
def lstsq(
    a: Any, b: Any, cond: Any = None, overwrite_a: Any = False, overwrite_b: Any = False,
    check_finite: bool = True, lapack_driver: Any = None,
) -> Any:  # fmt: skip
    """`scipy.linalg.lstsq`: (x, residuals, rank, singular values)."""
    if lapack_driver not in (None, "gelsd"):
        raise refuse("lstsq", f"lapack_driver={lapack_driver!r}", "leave it out")
    x, residuals, rank, s = _linalg.lstsq(a, b, np.finfo(float).eps if cond is None else cond)
    if len(shape_of(b)) == 1 and shape_of(residuals) == (1,):
        residuals = residuals[0]
    return x, residuals, rank, s


@of_variables
def norm(
    a: Any, ord: Any = None, axis: Any = None, keepdims: bool = False, check_finite: bool = True
) -> Any:
    """`scipy.linalg.norm`; derivative 0 at 0."""
    return _linalg.norm(a, ord, axis, keepdims)
