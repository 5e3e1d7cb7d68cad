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

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from pyad import linalg as _matrices
from pyad._binding import error
from pyad.array import _linalg
from pyad.array._linalg import square
from pyad.array._rules import (
    Rule,
    apply,
    holds_variables,
    operand,
    plain,
    plus,
    shape_of,
    total,
    transposed,
    unbroadcast,
)
from pyad.array._structure import rearranged
from pyad.scipy import required

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

_T = transposed
_Function = Callable[..., Any]


def _scipy(name: str) -> Any:
    return getattr(required("scipy.linalg", f"pyad.scipy.linalg.{name}"), name)


def _of_variables(function: _Function) -> _Function:
    """SciPy's function for plain numbers, this one if variables are among the arguments."""
    name = function.__name__

    @functools.wraps(function)
    def chosen(*args: Any, **options: Any) -> Any:
        if not holds_variables(*args, *options.values()):
            return _scipy(name)(*args, **options)
        return function(*args, **options)

    return chosen


def _refuse(name: str, option: str, remedy: str) -> Any:
    return error("ARGUMENTS", f"scipy.linalg.{name} of variables has no {option}: {remedy}")


def _mirror_rule() -> Rule:
    return Rule(
        lambda g, out, given: [0.5 * (g[0] + _T(g[0]))],
        lambda t, out, given: [0.5 * (t[0] + _T(t[0]))],
    )


def _symmetric_from(a: Any, lower: bool, name: str) -> Any:
    """The symmetric matrix of which one triangle is read."""

    def mirrored(x: Any) -> Any:
        half = np.tril(x, -1) if lower else np.triu(x, 1)
        return half + _T(half) + x * np.eye(x.shape[-1])

    return apply(name, mirrored, _mirror_rule(), square(a, f"scipy.linalg.{name}"))[0]


# ---- solving and factorizations ------------------------------------------------------------------


@_of_variables
def solve(
    a: Any, b: Any, lower: bool = False, overwrite_a: Any = False, overwrite_b: Any = False,
    check_finite: bool = True, assume_a: Any = None, transposed: bool = False,
) -> Any:  # fmt: skip
    """`scipy.linalg.solve`; what `assume_a` says of the matrix decides which part is read."""
    what = "scipy.linalg.solve"
    a = square(a, what)
    kind = {"positive definite": "pos", "symmetric": "sym", "hermitian": "sym", "her": "sym"}.get(
        assume_a, assume_a
    )
    if kind in ("upper triangular", "lower triangular"):
        return solve_triangular(a, b, 1 if transposed else 0, kind[:5] == "lower")
    if kind == "pos":
        _scipy("cholesky")(plain(a), lower)  # refuses what is not positive definite
    if kind in ("pos", "sym"):
        a = _symmetric_from(a, lower, "solve")
    elif kind not in (None, "gen", "general"):
        raise _refuse("solve", f"assume_a={assume_a!r}", "leave it out")
    return _linalg.solve(_T(a) if transposed else a, operand(b, what))


@_of_variables
def inv(
    a: Any, overwrite_a: Any = False, check_finite: bool = True, *, assume_a: Any = None,
    lower: bool = False,
) -> Any:  # fmt: skip
    """`scipy.linalg.inv`."""
    if assume_a not in (None, "gen", "general"):
        raise _refuse("inv", f"assume_a={assume_a!r}", "leave it out")
    return _linalg.inv(square(a, "scipy.linalg.inv"))


@_of_variables
def det(a: Any, overwrite_a: Any = False, check_finite: bool = True) -> Any:
    """`scipy.linalg.det`."""
    return _linalg.det(square(a, "scipy.linalg.det"))


@_of_variables
def cholesky(
    a: Any, lower: bool = False, overwrite_a: Any = False, check_finite: bool = True
) -> Any:
    """`scipy.linalg.cholesky`: the upper factor, unless `lower`."""
    factor = _linalg.cholesky(_symmetric_from(a, lower, "cholesky"))
    return factor if lower else _T(factor)


@_of_variables
def cho_factor(
    a: Any, lower: bool = False, overwrite_a: Any = False, check_finite: bool = True
) -> Any:
    """`scipy.linalg.cho_factor`; the triangle that SciPy leaves undefined holds zeros."""
    return cholesky(a, lower), lower


def cho_solve(c_and_lower: Any, b: Any, overwrite_b: Any = False, check_finite: bool = True) -> Any:
    """`scipy.linalg.cho_solve`."""
    c, lower = c_and_lower
    if not holds_variables(c, b):
        return _scipy("cho_solve")(c_and_lower, b, overwrite_b, check_finite)
    first, second = (0, 1) if lower else (1, 0)
    return solve_triangular(c, solve_triangular(c, b, first, lower), second, lower)


def _triangle(x: Any, lower: bool, unit: bool) -> Any:
    sides = np.ones(shape_of(x)[-2:])
    return x * (np.tril(sides, -1 if unit else 0) if lower else np.triu(sides, 1 if unit else 0))


def _solve_triangular(a: Any, b: Any, turned: bool, lower: bool, unit: bool) -> Any:
    """X of op(a) @ x = b, b a matrix (or a stack of them)."""

    def value(a: Any, b: Any) -> Any:
        solve = functools.partial(
            _scipy("solve_triangular"), trans=int(turned), lower=lower, unit_diagonal=unit
        )
        if a.ndim == b.ndim == 2:
            return solve(a, b)
        return np.vectorize(solve, signature="(n,n),(n,k)->(n,k)")(a, b)

    def vjp(g: Any, out: Any, given: Any) -> Any:
        a, b = given
        share = _solve_triangular(a, g[0], not turned, lower, unit)
        slope = -(out[0] @ _T(share)) if turned else -(share @ _T(out[0]))
        slope = unbroadcast(_triangle(slope, lower, unit), shape_of(a))
        return slope, unbroadcast(share, shape_of(b))

    def jvp(t: Any, out: Any, given: Any) -> Any:
        right = t[1]
        if t[0] is not None:
            change = _triangle(t[0], lower, unit)
            right = plus(right, -((_T(change) if turned else change) @ out[0]))
        if shape_of(right) != shape_of(out[0]):
            right = right + np.zeros(shape_of(out[0]))
        return [_solve_triangular(given[0], right, turned, lower, unit)]

    return apply("solve_triangular", value, Rule(vjp, jvp), a, b)[0]


@_of_variables
def solve_triangular(
    a: Any, b: Any, trans: Any = 0, lower: bool = False, unit_diagonal: bool = False,
    overwrite_b: Any = False, check_finite: bool = True,
) -> Any:  # fmt: skip
    """`scipy.linalg.solve_triangular`; the other triangle is not read and has derivative 0."""
    what = "scipy.linalg.solve_triangular"
    a, b = square(a, what), operand(b, what)
    turned = {"N": False, "T": True, "C": True}.get(trans, bool(trans))
    if len(shape_of(b)) == 1:
        return _solve_triangular(a, b[:, None], turned, lower, unit_diagonal)[..., 0]
    return _solve_triangular(a, b, turned, lower, unit_diagonal)


def _lu_vjp(g: Any, out: Any, given: Any) -> Any:
    lower, upper = out  # of the rows in the order of the pivots
    core = _triangle(_T(lower) @ g[0], True, True) + _triangle(g[1] @ _T(upper), False, False)
    right = _T(_linalg.solve(upper, _T(core)))
    return [_linalg.solve(_T(lower), right)]


def _lu_jvp(t: Any, out: Any, given: Any) -> Any:
    lower, upper = out
    core = _T(_linalg.solve(_T(upper), _T(_linalg.solve(lower, t[0]))))
    return [lower @ _triangle(core, True, True), _triangle(core, False, False) @ upper]


_LU = Rule(_lu_vjp, _lu_jvp)


def _lu_of(a: Any, name: str) -> tuple[Any, Any, Any]:
    """(L, U, pivots) of one square matrix."""
    a = square(a, f"scipy.linalg.{name}")
    if len(shape_of(a)) != 2:
        raise _refuse(name, "stacks of matrices", "take them one by one")
    packed, pivots = _scipy("lu_factor")(plain(a))
    order = _order(pivots)
    n = len(order)
    lower, upper = apply(
        name, lambda _: (np.tril(packed, -1) + np.eye(n), np.triu(packed)), _LU, a[order]
    )
    return lower, upper, pivots


def _order(pivots: Any) -> Any:
    """The rows as the pivots have exchanged them."""
    order = np.arange(len(pivots))
    for i, k in enumerate(pivots):
        order[[i, k]] = order[[k, i]]
    return order


@_of_variables
def lu(
    a: Any, permute_l: bool = False, overwrite_a: Any = False, check_finite: bool = True,
    p_indices: bool = False,
) -> Any:  # fmt: skip
    """`scipy.linalg.lu` of a square matrix; the permutation is constant."""
    lower, upper, pivots = _lu_of(a, "lu")
    order = _order(pivots)
    back = np.argsort(order)
    if permute_l:
        return lower[back], upper
    return (back if p_indices else np.eye(len(order))[back]), lower, upper


@_of_variables
def lu_factor(a: Any, overwrite_a: Any = False, check_finite: bool = True) -> Any:
    """`scipy.linalg.lu_factor` of a square matrix."""
    lower, upper, pivots = _lu_of(a, "lu_factor")
    return _triangle(lower, True, True) + upper, pivots


def lu_solve(
    lu_and_piv: Any, b: Any, trans: int = 0, overwrite_b: Any = False, check_finite: bool = True
) -> Any:
    """`scipy.linalg.lu_solve`."""
    packed, pivots = lu_and_piv
    if not holds_variables(packed, b):
        return _scipy("lu_solve")(lu_and_piv, b, trans, overwrite_b, check_finite)
    order = _order(pivots)
    b = operand(b, "scipy.linalg.lu_solve")
    if not trans:
        y = solve_triangular(packed, b[order], 0, True, True)
        return solve_triangular(packed, y)
    y = solve_triangular(packed, b, 1)
    return solve_triangular(packed, y, 1, True, True)[np.argsort(order)]


# ---- banded matrices -----------------------------------------------------------------------------


def _entries(x: Any, rows: Any, columns: Any, inside: Any) -> Any:
    """`x[rows, columns]`, and 0 where the mask says so."""
    return x[np.where(inside, rows, 0), np.where(inside, columns, 0)] * inside


def _turned_band(ab: Any, below: int, above: int) -> Any:
    """The band of the transposed matrix."""
    n = shape_of(ab)[1]
    r, j = np.indices((below + above + 1, n))
    i = r - below + j
    return _entries(ab, below + above - r, i, (i >= 0) & (i < n))


def _band_times(ab: Any, x: Any, below: int, above: int) -> Any:
    n = shape_of(ab)[1]
    r, i = np.indices((below + above + 1, n))
    j = i + above - r
    inside = (j >= 0) & (j < n)
    return total(_entries(ab, r, j, inside)[..., None] * x[np.where(inside, j, 0)], 0)


def _solve_band(ab: Any, b: Any, below: int, above: int, value: Any = None) -> Any:
    """X of the banded system, b a matrix."""

    def vjp(g: Any, out: Any, given: Any) -> Any:
        ab, x = given[0], out[0]
        share = _solve_band(_turned_band(ab, below, above), g[0], above, below)
        n = shape_of(ab)[1]
        r, j = np.indices((below + above + 1, n))
        i = r - above + j
        inside = (i >= 0) & (i < n)
        slope = -total(share[np.where(inside, i, 0)] * x[j], -1) * inside
        return slope, share

    def jvp(t: Any, out: Any, given: Any) -> Any:
        right = t[1]
        if t[0] is not None:
            right = plus(right, -_band_times(t[0], out[0], below, above))
        return [_solve_band(given[0], right, below, above)]

    def solved(ab: Any, b: Any) -> Any:
        return _scipy("solve_banded")((below, above), ab, b) if value is None else value

    return apply("solve_banded", solved, Rule(vjp, jvp), ab, b)[0]


@_of_variables
def solve_banded(
    l_and_u: Any, ab: Any, b: Any, overwrite_ab: Any = False, overwrite_b: Any = False,
    check_finite: bool = True,
) -> Any:  # fmt: skip
    """`scipy.linalg.solve_banded`; entries of `ab` outside the matrix have derivative 0."""
    what = "scipy.linalg.solve_banded"
    below, above = (int(k) for k in l_and_u)
    ab, b = operand(ab, what), operand(b, what)
    _scipy("solve_banded")(l_and_u, plain(ab), plain(b))  # what SciPy refuses
    if len(shape_of(b)) == 1:
        return _solve_band(ab, b[:, None], below, above)[:, 0]
    return _solve_band(ab, b, below, above)


@_of_variables
def solveh_banded(
    ab: Any, b: Any, overwrite_ab: Any = False, overwrite_b: Any = False, lower: bool = False,
    check_finite: bool = True,
) -> Any:  # fmt: skip
    """`scipy.linalg.solveh_banded`: derivatives in the diagonals that are given."""
    what = "scipy.linalg.solveh_banded"
    ab, b = operand(ab, what), operand(b, what)
    value = _scipy("solveh_banded")(plain(ab), plain(b), lower=lower)
    width, n = shape_of(ab)
    u = width - 1
    r, j = np.indices((2 * u + 1, n))
    i = r - u + j
    mirrored = r < u if lower else r > u
    rows = abs(r - u) if lower else u - abs(r - u)
    full = _entries(ab, rows, np.where(mirrored, i, j), (i >= 0) & (i < n))
    if len(shape_of(b)) == 1:
        return _solve_band(full, b[:, None], u, u, value[:, None])[:, 0]
    return _solve_band(full, b, u, u, value)


# ---- structured matrices -------------------------------------------------------------------------


def _line(x: Any, name: str) -> Any:
    x = operand(x, f"scipy.linalg.{name}")
    if len(shape_of(x)) > 1:
        raise _refuse(name, "arrays of several dimensions", "give it one line")
    return x.reshape(-1) if shape_of(x) else rearranged(np.atleast_1d, x)


def _joined(x: Any, y: Any) -> Any:
    return rearranged(lambda a, b: np.concatenate([a, b]), x, y)


@_of_variables
def toeplitz(c: Any, r: Any = None) -> Any:
    """`scipy.linalg.toeplitz`: first column `c`, first row `r`."""
    c = _line(c, "toeplitz")
    r = c if r is None else _line(r, "toeplitz")
    m, n = shape_of(c)[0], shape_of(r)[0]
    place = np.arange(m)[:, None] - np.arange(n)
    return _joined(c, r)[np.where(place >= 0, place, m - place)]


@_of_variables
def circulant(c: Any) -> Any:
    """`scipy.linalg.circulant`."""
    c = _line(c, "circulant")
    n = shape_of(c)[0]
    return c[(np.arange(n)[:, None] - np.arange(n)) % max(n, 1)]


@_of_variables
def hankel(c: Any, r: Any = None) -> Any:
    """`scipy.linalg.hankel`: first column `c`, last row `r`."""
    c = _line(c, "hankel")
    m = shape_of(c)[0]
    r = np.zeros(m) if r is None else _line(r, "hankel")
    place = np.arange(m)[:, None] + np.arange(shape_of(r)[0])
    return _joined(c, r)[np.where(place < m, place, place + 1)]


@_of_variables
def block_diag(*arrs: Any) -> Any:
    """`scipy.linalg.block_diag`."""
    return rearranged(_scipy("block_diag"), *(operand(x, "scipy.linalg.block_diag") for x in arrs))


# ---- eigenvalues, singular values, least squares, norms ------------------------------------------


@_of_variables
def eigh(
    a: Any, b: Any = None, *, lower: bool = True, eigvals_only: bool = False,
    overwrite_a: Any = False, overwrite_b: Any = False, type: int = 1, check_finite: bool = True,
    subset_by_index: Any = None, subset_by_value: Any = None, driver: Any = None,
) -> Any:  # fmt: skip
    """`scipy.linalg.eigh`, also of a @ v = w * (b @ v); a subset is cut out of all of them."""
    if type != 1 or subset_by_value is not None:
        raise _refuse("eigh", "type or subset_by_value", "use type 1 and subset_by_index")
    a = _symmetric_from(a, lower, "eigh")
    if len(shape_of(a)) != 2:
        raise _refuse("eigh", "stacks of matrices", "use np.linalg.eigh, which takes them")
    if b is None:
        values = _scipy("eigh")(plain(a), lower=lower)
        w, v = apply("eigh", lambda _: values, _linalg.EIGH, a)
    else:
        b = _symmetric_from(b, lower, "eigh")
        values = _scipy("eigh")(plain(a), plain(b), lower=lower)
        factor = _linalg.cholesky(b)
        half = _solve_triangular(factor, a, False, True, False)
        w, v = _linalg.eigh(_solve_triangular(factor, _T(half), False, True, False))
        v = _solve_triangular(factor, v, True, True, False)
        v = v * np.where(np.sum(plain(v) * (plain(b) @ values[1]), axis=0) < 0, -1.0, 1.0)
    if subset_by_index is not None:
        first, last = subset_by_index
        w, v = w[first : last + 1], v[:, first : last + 1]
    return w if eigvals_only else (w, v)


@_of_variables
def eigvalsh(a: Any, b: Any = None, *, lower: bool = True, **options: Any) -> Any:
    """`scipy.linalg.eigvalsh`."""
    if b is None and not options:
        return _linalg.eigvalsh(square(a, "scipy.linalg.eigvalsh"), "L" if lower else "U")
    return eigh(a, b, lower=lower, eigvals_only=True, **options)


@_of_variables
def eig(a: Any, b: Any = None, left: bool = False, right: bool = True, **options: Any) -> Any:
    """`scipy.linalg.eig` of a matrix whose eigenvalues are real; they are given as real numbers."""
    if b is not None or left or not right:
        raise _refuse("eig", "b=, left= or right=False", "take solve(b, a), or the transpose")
    return tuple(_linalg.eig(square(a, "scipy.linalg.eig")))


@_of_variables
def eigvals(a: Any, b: Any = None, **options: Any) -> Any:
    """`scipy.linalg.eigvals` of a matrix whose eigenvalues are real."""
    if b is not None:
        raise _refuse("eigvals", "b=", "take solve(b, a)")
    return _linalg.eigvals(square(a, "scipy.linalg.eigvals"))


@_of_variables
def svd(
    a: Any, full_matrices: bool = True, compute_uv: bool = True, overwrite_a: Any = False,
    check_finite: bool = True, lapack_driver: str = "gesdd",
) -> Any:  # fmt: skip
    """`scipy.linalg.svd`."""
    found = _linalg.svd(a, full_matrices, compute_uv)
    return tuple(found) if compute_uv else found


@_of_variables
def svdvals(a: Any, overwrite_a: Any = False, check_finite: bool = True) -> Any:
    """`scipy.linalg.svdvals`."""
    return _linalg.svdvals(a)


@_of_variables
def qr(
    a: Any, overwrite_a: Any = False, lwork: Any = None, mode: str = "full",
    pivoting: bool = False, check_finite: bool = True,
) -> Any:  # fmt: skip
    """`scipy.linalg.qr` without pivoting."""
    if pivoting or mode not in ("full", "economic", "r"):
        raise _refuse("qr", f"pivoting or mode={mode!r}", "use mode 'full', 'economic' or 'r'")
    q, r = _linalg.qr(a, "reduced" if mode == "economic" else "complete")
    return (r,) if mode == "r" else (q, r)


@_of_variables
def polar(a: Any, side: str = "right") -> Any:
    """`scipy.linalg.polar`, by singular values."""
    if side not in ("right", "left"):
        raise ValueError("`side` must be either 'right' or 'left'")
    u, s, vh = _linalg.svd(a, full_matrices=False)
    if side == "right":
        return u @ vh, (_T(vh) * s[..., None, :]) @ vh
    return u @ vh, (u * s[..., None, :]) @ _T(u)


@_of_variables
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


@_of_variables
def lstsq(
    a: Any, b: Any, cond: Any = None, overwrite_a: Any = False, overwrite_b: Any = False,
    check_finite: bool = True, lapack_driver: Any = None,
) -> Any:  # fmt: skip
    """`scipy.linalg.lstsq`: (x, residuals, rank, singular values)."""
    if lapack_driver not in (None, "gelsd"):
        raise _refuse("lstsq", f"lapack_driver={lapack_driver!r}", "leave it out")
    x, residuals, rank, s = _linalg.lstsq(a, b, np.finfo(float).eps if cond is None else cond)
    if len(shape_of(b)) == 1 and shape_of(residuals) == (1,):
        residuals = residuals[0]
    return x, residuals, rank, s


@_of_variables
def norm(
    a: Any, ord: Any = None, axis: Any = None, keepdims: bool = False, check_finite: bool = True
) -> Any:
    """`scipy.linalg.norm`; derivative 0 at 0."""
    return _linalg.norm(a, ord, axis, keepdims)


# ---- functions of matrices -----------------------------------------------------------------------

expm = _matrices.expm


def _real(name: str, *args: Any) -> _Function:
    """SciPy's function of one matrix; refused if the result is complex."""

    def function(x: Any) -> Any:
        found = _scipy(name)(x, *args)
        if np.iscomplexobj(found):
            if np.max(np.abs(found.imag), initial=0.0) > 1e-10 * np.max(np.abs(found), initial=0.0):
                raise error(
                    "ARGUMENTS",
                    f"scipy.linalg.{name} of this matrix of variables is complex, since the matrix "
                    "has eigenvalues that are negative (or 0): it has no real derivative",
                )
            found = found.real
        return found

    return function


def _matrix_function(name: str) -> _Function:
    def function(A: Any) -> Any:  # noqa: N803  (SciPy's name)
        return _matrices.matrix_function(name, _real(name), A)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"`scipy.linalg.{name}`."
    return _of_variables(function)


cosm, sinm, coshm, sinhm = map(_matrix_function, ("cosm", "sinm", "coshm", "sinhm"))


@_of_variables
def tanm(A: Any) -> Any:  # noqa: N803
    """`scipy.linalg.tanm`."""
    return _linalg.solve(cosm(A), sinm(A))


@_of_variables
def tanhm(A: Any) -> Any:  # noqa: N803
    """`scipy.linalg.tanhm`."""
    return _linalg.solve(coshm(A), sinhm(A))


@_of_variables
def logm(A: Any, disp: bool = True) -> Any:  # noqa: N803
    """`scipy.linalg.logm` of a matrix with a real logarithm."""
    if disp is False:
        raise _refuse("logm", "disp=False", "leave it out")
    return _matrices.matrix_function("logm", _real("logm"), A)


@_of_variables
def fractional_matrix_power(A: Any, t: Any) -> Any:  # noqa: N803
    """`scipy.linalg.fractional_matrix_power`, with a constant exponent."""
    if holds_variables(t):
        raise _refuse("fractional_matrix_power", "variable exponent", "use expm(t * logm(A))")
    if t == int(t):
        return _linalg.matrix_power(square(A, "scipy.linalg.fractional_matrix_power"), int(t))
    name = "fractional_matrix_power"
    return _matrices.matrix_function(name, _real(name, t), A)


def _root_vjp(g: Any, out: Any, given: Any) -> Any:
    turned = _T(out[0])
    return [_root_slope(turned, g[0])]


def _root_slope(root: Any, q: Any) -> Any:
    """X of root @ x + x @ root = q."""
    w = np.linalg.eigvals(plain(root))
    sums = np.abs(w[..., :, None] + w[..., None, :])
    if w.shape[-1] and np.any(
        np.min(sums, axis=(-1, -2)) <= w.shape[-1] * np.finfo(float).eps * np.max(sums, (-1, -2))
    ):
        raise np.linalg.LinAlgError("sqrtm has no derivative at a singular matrix")
    return _sylvester(root, root, q)


_ROOT = Rule(_root_vjp, lambda t, out, given: [_root_slope(out[0], t[0])])


@_of_variables
def sqrtm(A: Any, disp: Any = True, blocksize: int = 64) -> Any:  # noqa: N803
    """`scipy.linalg.sqrtm` of a matrix with a real square root."""
    if disp is False:
        raise _refuse("sqrtm", "disp=False", "leave it out")
    function = _real("sqrtm")
    a = square(A, "scipy.linalg.sqrtm")
    return apply("sqrtm", lambda x: _matrices._stacked(function, x), _ROOT, a)[0]


# ---- matrix equations ----------------------------------------------------------------------------


def _sylvester_value(a: Any, b: Any, q: Any) -> Any:
    function = _scipy("solve_sylvester")
    if a.ndim == b.ndim == q.ndim == 2:
        return function(a, b, q)
    return np.vectorize(function, signature="(m,m),(n,n),(m,n)->(m,n)")(a, b, q)


def _sylvester_vjp(g: Any, out: Any, given: Any) -> Any:
    a, b, _ = given
    share = _sylvester(_T(a), _T(b), g[0])
    x = _T(out[0])
    return -(share @ x), -(x @ share), share


def _sylvester_jvp(t: Any, out: Any, given: Any) -> Any:
    right = plus(
        t[2],
        None if t[0] is None else -(t[0] @ out[0]),
        None if t[1] is None else -(out[0] @ t[1]),
    )
    return [_sylvester(given[0], given[1], right)]


_SYLVESTER = Rule(_sylvester_vjp, _sylvester_jvp)


def _sylvester(a: Any, b: Any, q: Any) -> Any:
    return apply("solve_sylvester", _sylvester_value, _SYLVESTER, a, b, q)[0]


@_of_variables
def solve_sylvester(a: Any, b: Any, q: Any) -> Any:
    """`scipy.linalg.solve_sylvester`: x of a @ x + x @ b = q."""
    what = "scipy.linalg.solve_sylvester"
    return _sylvester(square(a, what), square(b, what), operand(q, what))


@_of_variables
def solve_continuous_lyapunov(a: Any, q: Any) -> Any:
    """`scipy.linalg.solve_continuous_lyapunov`: x of a @ x + x @ a.T = q."""
    a = square(a, "scipy.linalg.solve_continuous_lyapunov")
    return solve_sylvester(a, _T(a), q)


@_of_variables
def solve_lyapunov(a: Any, q: Any) -> Any:
    """`scipy.linalg.solve_lyapunov`, another name of `solve_continuous_lyapunov`."""
    return solve_continuous_lyapunov(a, q)


def _stein_vjp(g: Any, out: Any, given: Any) -> Any:
    a, x = given[0], out[0]
    share = _stein(_T(a), g[0])
    return share @ a @ _T(x) + _T(share) @ a @ x, share


def _stein_jvp(t: Any, out: Any, given: Any) -> Any:
    a, x = given[0], out[0]
    right = t[1]
    if t[0] is not None:
        right = plus(right, t[0] @ x @ _T(a) + a @ x @ _T(t[0]))
    return [_stein(a, right)]


_STEIN = Rule(_stein_vjp, _stein_jvp)


def _stein(a: Any, q: Any) -> Any:
    return apply("solve_discrete_lyapunov", _scipy("solve_discrete_lyapunov"), _STEIN, a, q)[0]


@_of_variables
def solve_discrete_lyapunov(a: Any, q: Any, method: Any = None) -> Any:
    """`scipy.linalg.solve_discrete_lyapunov`: x of a @ x @ a.T - x + q = 0."""
    what = "scipy.linalg.solve_discrete_lyapunov"
    return _stein(square(a, what), square(q, what))


def _riccati_vjp(g: Any, out: Any, given: Any) -> Any:
    a, weight, _ = given
    x = out[0]
    closed = a - weight @ x
    share = _sylvester(closed, _T(closed), g[0])
    turned = _T(x)
    return -(x @ _T(share) + turned @ share), turned @ share @ turned, -share


def _riccati_jvp(t: Any, out: Any, given: Any) -> Any:
    a, weight, _ = given
    x = out[0]
    closed = a - weight @ x
    terms = [t[2]]
    if t[0] is not None:
        terms.append(_T(t[0]) @ x + x @ t[0])
    if t[1] is not None:
        terms.append(-(x @ t[1] @ x))
    return [-_sylvester(_T(closed), closed, plus(*terms))]


_RICCATI = Rule(_riccati_vjp, _riccati_jvp)


@_of_variables
def solve_continuous_are(
    a: Any, b: Any, q: Any, r: Any, e: Any = None, s: Any = None, balanced: bool = True
) -> Any:
    """`scipy.linalg.solve_continuous_are`: the Riccati equation.

    a.T @ x + x @ a - x @ b @ inv(r) @ b.T @ x + q = 0.
    """
    what = "scipy.linalg.solve_continuous_are"
    if e is not None or s is not None:
        raise _refuse("solve_continuous_are", "e= or s=", "bring it to the standard form")
    a, b, q, r = square(a, what), operand(b, what), square(q, what), square(r, what)
    x = _scipy("solve_continuous_are")(plain(a), plain(b), plain(q), plain(r), balanced=balanced)
    weight = b @ _linalg.solve(r, _T(b))
    return apply("solve_continuous_are", lambda *_: x, _RICCATI, a, weight, q)[0]
