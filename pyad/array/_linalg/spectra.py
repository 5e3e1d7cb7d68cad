"""Eigenvalues and singular values, with their vectors."""

from __future__ import annotations

from typing import Any

import numpy as np

from pyad import _handle
from pyad._binding import error
from pyad.array._guards import guarding, read
from pyad.array._linalg._common import (
    EPS,
    T,
    diagonal_matrix,
    diagonal_of,
    gaps,
    known,
    largest_of,
    matrix,
    reciprocal,
    symmetric,
)
from pyad.array._linalg.factorizations import beside, complement
from pyad.array._linalg.solving import solve
from pyad.array._rules import (
    Rule,
    apply,
    equals,
    is_variable,
    seen,
    shape_of,
    total,
)

__all__ = [
    "EIGH",
    "eig",
    "eigh",
    "eigvals",
    "eigvalsh",
    "svd",
    "svdvals",
]


def _eigh_vjp(g: Any, out: Any, given: Any) -> Any:
    w, v = out
    f = gaps(w, largest_of(w))
    return [symmetric(v @ (diagonal_matrix(g[0]) + f * (T(v) @ g[1])) @ T(v))]


def _eigh_jvp(t: Any, out: Any, given: Any) -> Any:
    w, v = out
    p = T(v) @ symmetric(t[0]) @ v
    return [diagonal_of(p), v @ (gaps(w, largest_of(w)) * p)]


EIGH = Rule(_eigh_vjp, _eigh_jvp)


def eigh(a: Any, UPLO: Any = "L") -> Any:  # noqa: N803  (NumPy's name)
    """Eigenvalues and vectors of a symmetric matrix (Giles 3.1); see the head for repeated ones."""
    a = matrix(a, "np.linalg.eigh")
    values = np.linalg.eigh(_handle._peek(a), UPLO)
    value = known(tuple(values), lambda x: tuple(np.linalg.eigh(x, UPLO)))
    return type(values)(*apply("eigh", value, EIGH, a))


def _eigvalsh_vjp(g: Any, out: Any, given: Any, uplo: str) -> Any:
    v = eigh(given[0], uplo)[1]
    return [(v * g[0][..., None, :]) @ T(v)]


def _eigvalsh_jvp(t: Any, out: Any, given: Any, uplo: str) -> Any:
    v = eigh(given[0], uplo)[1]
    return [total(v * (symmetric(t[0]) @ v), -2)]


def eigvalsh(a: Any, UPLO: Any = "L") -> Any:  # noqa: N803
    """Eigenvalues of a symmetric matrix, ascending."""
    rule = Rule(
        lambda g, out, given: _eigvalsh_vjp(g, out, given, UPLO),
        lambda t, out, given: _eigvalsh_jvp(t, out, given, UPLO),
    )
    a = matrix(a, "np.linalg.eigvalsh")
    return apply("eigvalsh", lambda x: np.linalg.eigvalsh(x, UPLO), rule, a)[0]


def _eig_vjp(g: Any, out: Any, given: Any) -> Any:
    w, v = out
    free = g[1] - v * total(v * g[1], -2, True)
    f = gaps(w, largest_of(w))
    return [solve(T(v), (diagonal_matrix(g[0]) + f * (T(v) @ free)) @ T(v))]


def _eig_jvp(t: Any, out: Any, given: Any) -> Any:
    w, v = out
    p = solve(v, t[0] @ v)
    d = v @ (gaps(w, largest_of(w)) * p)
    return [diagonal_of(p), d - v * total(v * d, -2, True)]


_EIG = Rule(_eig_vjp, _eig_jvp)


def eig(a: Any) -> Any:
    """Eigenvalues and vectors (of length 1) of a matrix whose eigenvalues are real (Giles 3.1)."""
    a = matrix(a, "np.linalg.eig")
    values = np.linalg.eig(_handle._peek(a))
    if not is_variable(a):
        return values
    if np.iscomplexobj(values[0]):
        if guarding():
            read(a)
        raise error(
            "ARGUMENTS",
            "np.linalg.eig of a variable is for matrices with real eigenvalues, and these are "
            "complex: use functions of the matrix (trace, det, solve), or svd, or x.value",
        )
    value = known(
        tuple(values), lambda x: tuple(np.linalg.eig(x)), lambda w: not np.iscomplexobj(w[0])
    )
    return type(values)(*apply("eig", value, _EIG, a))


def eigvals(a: Any) -> Any:
    """Eigenvalues of a matrix whose eigenvalues are real."""
    a = matrix(a, "np.linalg.eigvals")
    return eig(a)[0] if is_variable(a) else np.linalg.eigvals(a)


def _svd_vjp(g: Any, out: Any, given: Any) -> Any:
    u, s, vh = out
    v, gv = T(vh), T(g[2])
    m, n, k = shape_of(u)[-2], shape_of(v)[-2], shape_of(s)[-1]
    f = gaps(s * s, largest_of(s) ** 2)
    left, right = T(u) @ g[0], T(v) @ gv
    row, column = s[..., None, :], s[..., :, None]
    core = (f * (left - T(left))) * row + column * (f * (right - T(right)))
    share = u @ (core + diagonal_matrix(g[1])) @ vh
    over = reciprocal(s, seen(s) <= k * EPS * largest_of(s)[..., 0])[..., None, :]
    if m > k:
        share = share + ((g[0] - u @ left) * over) @ vh
    if n > k:
        share = share + (u * over) @ T(gv - v @ right)
    return [share]


def _svd_jvp(t: Any, out: Any, given: Any) -> Any:
    u, s, vh = out
    v = T(vh)
    m, n, k = shape_of(u)[-2], shape_of(v)[-2], shape_of(s)[-1]
    f = gaps(s * s, largest_of(s) ** 2)
    row, column = s[..., None, :], s[..., :, None]
    right, left = t[0] @ v, T(t[0]) @ u
    p = T(u) @ right
    du = u @ (f * (p * row + column * T(p)))
    dv = v @ (f * (column * p + T(p) * row))
    over = reciprocal(s, seen(s) <= k * EPS * largest_of(s)[..., 0])[..., None, :]
    if m > k:
        du = du + (right - u @ p) * over
    if n > k:
        dv = dv + (left - v @ T(p)) * over
    return [du, diagonal_of(p), T(dv)]


_SVD = Rule(_svd_vjp, _svd_jvp)


def svd(
    a: Any, full_matrices: bool = True, compute_uv: bool = True, hermitian: bool = False
) -> Any:
    """Singular values and vectors (Townsend); what `full_matrices` adds spans a space."""
    a = matrix(a, "np.linalg.svd")
    if not compute_uv:
        return svdvals(a)
    values = np.linalg.svd(_handle._peek(a), full_matrices, True, hermitian)
    u, s, vh = values
    k = s.shape[-1]
    found = u[..., :k], s, vh[..., :k, :]
    value = known(found, lambda x: tuple(np.linalg.svd(x, False, True, hermitian)))
    results = apply("svd", value, _SVD, a)
    if full_matrices and is_variable(a):
        first, middle, last = results
        if u.shape[-1] > k:
            first = beside(first, complement(first, u[..., k:]))
        if vh.shape[-2] > k:
            rest = complement(T(last), np.swapaxes(vh[..., k:, :], -1, -2))
            last = beside(last, T(rest), -2)
        results = first, middle, last
    return type(values)(*(results if is_variable(a) else values))


def _svdvals_vjp(g: Any, out: Any, given: Any) -> Any:
    u, s, vh = svd(given[0], full_matrices=False)
    return [(u * (g[0] * ~equals(s, 0.0))[..., None, :]) @ vh]


def _svdvals_jvp(t: Any, out: Any, given: Any) -> Any:
    u, s, vh = svd(given[0], full_matrices=False)
    return [total(u * (t[0] @ T(vh)), -2) * ~equals(s, 0.0)]


_SVDVALS = Rule(_svdvals_vjp, _svdvals_jvp)


def svdvals(x: Any, /) -> Any:
    """The singular values, descending; a value that is 0 has derivative 0."""
    return apply(
        "svdvals",
        lambda a: np.linalg.svd(a, compute_uv=False),
        _SVDVALS,
        matrix(x, "np.linalg.svdvals"),
    )[0]
