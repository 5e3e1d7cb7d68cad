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

from pyad import _handle
from pyad._binding import error
from pyad._handle import Array, Var
from pyad.array._guards import guarding, kept, read
from pyad.array._rules import (
    Rule,
    apply,
    constant,
    equals,
    extended,
    is_variable,
    operand,
    plain,
    plus,
    seen,
    shape_of,
    total,
    transposed,
    unbroadcast,
)
from pyad.array._structure import rearranged, viewed

__all__ = ["FUNCTIONS", "square"]

T = transposed
_EPS = np.finfo(np.float64).eps


def _matrix(x: Any, what: str) -> Any:
    """An operand of at least two dimensions."""
    x = operand(x, what)
    if len(shape_of(x)) < 2:
        raise np.linalg.LinAlgError(
            f"{len(shape_of(x))}-dimensional array given. Array must be at least two-dimensional"
        )
    return x


def square(x: Any, what: str) -> Any:
    """An operand whose last two axes have the same length."""
    x = _matrix(x, what)
    if shape_of(x)[-1] != shape_of(x)[-2]:
        raise np.linalg.LinAlgError("Last 2 dimensions of the array must be square")
    return x


def _eye(x: Any) -> Any:
    return np.eye(shape_of(x)[-1])


def _symmetric(x: Any) -> Any:
    return 0.5 * (x + T(x))


def _diagonal(x: Any) -> Any:
    return total(x * _eye(x), -1)


def _diagonal_matrix(v: Any) -> Any:
    return v[..., None] * np.eye(shape_of(v)[-1])


def _lower(x: Any, k: int = 0) -> Any:
    """The lower triangle, by a mask."""
    return x * np.tril(np.ones(shape_of(x)[-2:]), k)


def _upper(x: Any, k: int = 0) -> Any:
    return x * np.triu(np.ones(shape_of(x)[-2:]), k)


def _half_lower(x: Any) -> Any:
    """The lower triangle with half the diagonal: Phi of Murray."""
    mask = np.tril(np.ones(shape_of(x)[-2:]))
    np.fill_diagonal(mask, 0.5)
    return x * mask


def _reciprocal(x: Any, zero: Any = None) -> Any:
    """1 / x, and 0 where x is 0 (or where `zero` says so)."""
    if zero is None:
        zero = equals(x, 0.0)
    return (1.0 - zero) / (x + zero)


def _gaps(w: Any, scale: Any) -> Any:
    """F[i, j] = 1 / (w[j] - w[i]), and 0 where they agree up to rounding of `scale`."""
    values = seen(w)
    tolerance = 4 * _EPS * shape_of(w)[-1] * scale
    equal = np.abs(values[..., None, :] - values[..., :, None]) <= tolerance
    return _reciprocal(w[..., None, :] - w[..., :, None], equal)


def _largest(x: Any) -> Any:
    if shape_of(x)[-1] == 0:
        return np.zeros((*shape_of(x)[:-1], 1, 1))
    return np.max(np.abs(seen(x)), axis=-1, keepdims=True)[..., None]


def _known(
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


# ---- solving -----------------------------------------------------------------------------------


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
    a = _matrix(a, "np.linalg.solve")
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
    return apply("inv", np.linalg.inv, _INV, _matrix(a, "np.linalg.inv"))[0]


def tensorsolve(a: Any, b: Any, axes: Any = None) -> Any:
    """X of tensordot(a, x, x.ndim) = b."""
    a, b = operand(a, "np.linalg.tensorsolve"), operand(b, "np.linalg.tensorsolve")
    if axes is not None:
        order = [k for k in range(len(a.shape)) if k not in axes] + list(axes)
        a = viewed(np.transpose, a, order) if isinstance(a, Array) else np.transpose(a, order)
    rest = shape_of(a)[len(shape_of(b)) :]
    size = int(np.prod(rest))
    return solve(a.reshape(-1, size), b.reshape(-1)).reshape(rest)


def tensorinv(a: Any, ind: int = 2) -> Any:
    """The inverse with respect to tensordot."""
    if ind <= 0:
        raise ValueError("Invalid ind argument.")
    a = operand(a, "np.linalg.tensorinv")
    shape = shape_of(a)
    size = int(np.prod(shape[ind:]))
    return inv(a.reshape(size, -1)).reshape(shape[ind:] + shape[:ind])


def _pinv_vjp(g: Any, out: Any, given: Any) -> Any:
    a, p, g = given[0], out[0], g[0]
    pt, gt = T(p), T(g)
    share = -(pt @ g @ pt)
    left, right = gt @ p @ pt, pt @ p @ gt
    return [share + left - a @ (p @ left) + right - right @ p @ a]


def _pinv_jvp(t: Any, out: Any, given: Any) -> Any:
    a, p = given[0], out[0]
    pt, s = T(p), T(t[0])
    left, right = p @ pt @ s, s @ pt @ p
    return [-(p @ t[0] @ p) + left - left @ a @ p + right - p @ (a @ right)]


_PINV = Rule(_pinv_vjp, _pinv_jvp)


def pinv(a: Any, *args: Any, **options: Any) -> Any:
    """The pseudoinverse, where the rank does not change nearby (Golub and Pereyra, 4.12)."""
    args = tuple(plain(x) for x in args)
    return apply(
        "pinv",
        lambda x: np.linalg.pinv(x, *args, **options),
        _PINV,
        _matrix(a, "np.linalg.pinv"),
    )[0]


def _lstsq_vjp(g: Any, out: Any, given: Any) -> Any:
    a, b = given
    x, p = out[0], pinv(a)
    pt = T(p)
    share = pt @ g[0]
    outside = g[0] - T(a) @ share
    a_share = (b - a @ x) @ T(p @ share) - share @ T(x) + (pt @ x) @ T(outside)
    return a_share, share


def _lstsq_jvp(t: Any, out: Any, given: Any) -> Any:
    a, b = given
    x, p = out[0], pinv(a)
    terms = [None if t[1] is None else p @ t[1]]
    if t[0] is not None:
        s = T(t[0])
        third = s @ (T(p) @ x)
        terms += [-(p @ (t[0] @ x)), p @ (T(p) @ (s @ (b - a @ x))), third, -(p @ (a @ third))]
    return [plus(*terms)]


_LSTSQ = Rule(_lstsq_vjp, _lstsq_jvp)


def lstsq(a: Any, b: Any, rcond: Any = None) -> Any:
    """Least squares: (x, residuals, rank, singular values); x = pinv(a) @ b, rank unchanged."""
    a, b = operand(a, "np.linalg.lstsq"), operand(b, "np.linalg.lstsq")
    values = np.linalg.lstsq(_handle._peek(a), _handle._peek(b), rcond=rcond)
    rank = int(values[2])
    column = b[:, None] if len(shape_of(b)) == 1 else b
    ranks: list[int] = []

    def again(m: Any, right: Any) -> Any:
        there = np.linalg.lstsq(m, right, rcond=rcond)
        ranks[:] = [int(there[2])]
        return there[0]

    first = values[0].reshape(values[0].shape[0], -1)
    (x,) = apply("lstsq", _known(first, again, lambda _: ranks == [rank]), _LSTSQ, a, column)
    if values[1].size:
        r = column - a @ x
        residuals = total(r * r, 0)
    else:
        residuals = values[1]
    s = svdvals(a)
    if guarding() and shape_of(s)[0]:  # which singular values count
        least = _EPS * max(shape_of(a)) if rcond is None or rcond == -1 else rcond
        if np.count_nonzero(kept("<", least * s[:1], s)) != rank:
            read(a)
    return (x[:, 0] if len(shape_of(b)) == 1 else x), residuals, rank, s


# ---- determinants ------------------------------------------------------------------------------


def _cofactors(a: Any) -> Any:
    """D det / da: det * inv.T, and from the singular values where a matrix is singular."""
    rows = np.sqrt(np.sum(seen(a) ** 2, axis=-1))
    lengths = np.prod(rows, axis=-1)  # Hadamard's bound
    if np.all(np.abs(np.linalg.det(seen(a))) > 1e-12 * lengths):
        return _over(det(a)) * T(inv(a))
    u, s, vh = svd(a, full_matrices=False)
    n = shape_of(a)[-1]
    sign = np.round(np.linalg.det(plain(u)) * np.linalg.det(plain(vh)))
    columns = []
    for i in range(n):  # products without one factor, where division is impossible
        product = sign
        for j in range(n):
            if j != i:
                product = product * s[..., j]
        columns.append(_over(product) * (u[..., :, i, None] * vh[..., i, None, :]))
    return plus(*columns)


def _over(g: Any, axes: int = 2) -> Any:
    """A number for each matrix (or vector), in the shape that multiplies them."""
    return g[(..., *(None,) * axes)] if shape_of(g) else g


_DET = Rule(
    lambda g, out, given: [_over(g[0]) * _cofactors(given[0])],
    lambda t, out, given: [total(t[0] * _cofactors(given[0]), (-1, -2))],
)


def det(a: Any) -> Any:
    """The determinant; its derivative is the matrix of cofactors (Giles 2.2.4)."""
    return apply("det", np.linalg.det, _DET, _matrix(a, "np.linalg.det"))[0]


_LOGDET = Rule(
    lambda g, out, given: [_over(g[1]) * T(inv(given[0]))],
    lambda t, out, given: [0.0 * out[0], total(t[0] * T(inv(given[0])), (-1, -2))],
)


def slogdet(a: Any) -> Any:
    """Sign (plain numbers: it is constant) and logarithm of the determinant."""
    a = _matrix(a, "np.linalg.slogdet")
    values = np.linalg.slogdet(_handle._peek(a))
    value = _known(tuple(values), lambda x: tuple(np.linalg.slogdet(x)))
    sign, log = apply("slogdet", value, _LOGDET, a)
    if guarding():
        kept("==", sign, values[0])
    return type(values)(values[0], log)


# ---- factorizations ----------------------------------------------------------------------------


def _cholesky_vjp(g: Any, out: Any, given: Any) -> Any:
    factor = out[0]
    upper = T(factor)
    middle = _half_lower(upper @ g[0])
    return [_symmetric(solve(upper, T(solve(upper, T(middle)))))]


def _cholesky_jvp(t: Any, out: Any, given: Any) -> Any:
    factor = out[0]
    return [factor @ _half_lower(solve(factor, T(solve(factor, _symmetric(t[0])))))]


_CHOLESKY = Rule(_cholesky_vjp, _cholesky_jvp)


def cholesky(a: Any, /, *, upper: bool = False) -> Any:
    """The lower (or upper) factor (Murray, sections 3.1 and 3.3); the adjoint is symmetric."""
    a = _matrix(a, "np.linalg.cholesky")
    if upper:
        return T(cholesky(T(a)))
    return apply("cholesky", np.linalg.cholesky, _CHOLESKY, a)[0]


def _qr_vjp(g: Any, out: Any, given: Any) -> Any:
    q, r = out
    m = r @ T(g[1]) - T(g[0]) @ q
    low = _lower(m, -1)
    share = g[0] + q @ (low + T(low) + m * _eye(m))
    return [T(solve(r, T(share)))]


def _qr_jvp(t: Any, out: Any, given: Any) -> Any:
    q, r = out
    c = T(solve(T(r), T(t[0])))
    x = T(q) @ c
    low = _lower(x, -1)
    upper = x - low + T(low)
    return [c - q @ upper, upper @ r]


_QR = Rule(_qr_vjp, _qr_jvp)


def _complement_vjp(g: Any, out: Any, given: Any) -> Any:
    return [-(out[0] @ (T(g[0]) @ given[0]))]


def _complement_jvp(t: Any, out: Any, given: Any) -> Any:
    return [-(given[0] @ (T(t[0]) @ out[0]))]


_COMPLEMENT = Rule(_complement_vjp, _complement_jvp)


def _complement(u: Any, values: Any) -> Any:
    """A basis of the space orthogonal to the columns of u.

    It turns with that space and not within it: dw = -u @ du.T @ w keeps [u, w] orthogonal.
    """
    if guarding():
        read(u)  # the basis is known here only
    return apply("complement", lambda _: values, _COMPLEMENT, u)[0]


def _beside(x: Any, y: Any, axis: int = -1) -> Any:
    return rearranged(lambda a, b: np.concatenate([a, b], axis=axis), x, y)


def qr(a: Any, mode: Any = "reduced") -> Any:
    """Q and R (Walter and Lehmann 2010; wide matrices by their leading square)."""
    a = _matrix(a, "np.linalg.qr")
    if mode not in ("reduced", "complete", "r"):
        raise error(
            "ARGUMENTS",
            f"np.linalg.qr of a variable has no mode={mode!r}: use 'reduced', 'complete' or 'r'",
        )
    if not is_variable(a):
        return np.linalg.qr(a, mode)
    m, n = shape_of(a)[-2:]
    k = min(m, n)
    values = np.linalg.qr(_handle._peek(a), "complete" if mode == "complete" else "reduced")
    q_values, r_values = values
    found = q_values[..., :k], r_values[..., :k, :k]
    q, r = apply("qr", _known(found, lambda x: tuple(np.linalg.qr(x))), _QR, a[..., :k])
    if n > m:
        rest = T(q) @ a[..., k:]
        r = _beside(r, rest)
    if mode == "r":
        return r
    if mode == "complete" and m > n:
        q = _beside(q, _complement(q, q_values[..., k:]))
        r = _beside(r, np.zeros((*shape_of(a)[:-2], m - k, n)), -2)
    return type(values)(q, r)


def _eigh_vjp(g: Any, out: Any, given: Any) -> Any:
    w, v = out
    f = _gaps(w, _largest(w))
    return [_symmetric(v @ (_diagonal_matrix(g[0]) + f * (T(v) @ g[1])) @ T(v))]


def _eigh_jvp(t: Any, out: Any, given: Any) -> Any:
    w, v = out
    p = T(v) @ _symmetric(t[0]) @ v
    return [_diagonal(p), v @ (_gaps(w, _largest(w)) * p)]


_EIGH = Rule(_eigh_vjp, _eigh_jvp)


def eigh(a: Any, UPLO: Any = "L") -> Any:  # noqa: N803  (NumPy's name)
    """Eigenvalues and vectors of a symmetric matrix (Giles 3.1); see the head for repeated ones."""
    a = _matrix(a, "np.linalg.eigh")
    values = np.linalg.eigh(_handle._peek(a), UPLO)
    value = _known(tuple(values), lambda x: tuple(np.linalg.eigh(x, UPLO)))
    return type(values)(*apply("eigh", value, _EIGH, a))


def _eigvalsh_vjp(g: Any, out: Any, given: Any, uplo: str) -> Any:
    v = eigh(given[0], uplo)[1]
    return [(v * g[0][..., None, :]) @ T(v)]


def _eigvalsh_jvp(t: Any, out: Any, given: Any, uplo: str) -> Any:
    v = eigh(given[0], uplo)[1]
    return [total(v * (_symmetric(t[0]) @ v), -2)]


def eigvalsh(a: Any, UPLO: Any = "L") -> Any:  # noqa: N803
    """Eigenvalues of a symmetric matrix, ascending."""
    rule = Rule(
        lambda g, out, given: _eigvalsh_vjp(g, out, given, UPLO),
        lambda t, out, given: _eigvalsh_jvp(t, out, given, UPLO),
    )
    a = _matrix(a, "np.linalg.eigvalsh")
    return apply("eigvalsh", lambda x: np.linalg.eigvalsh(x, UPLO), rule, a)[0]


def _eig_vjp(g: Any, out: Any, given: Any) -> Any:
    w, v = out
    free = g[1] - v * total(v * g[1], -2, True)
    f = _gaps(w, _largest(w))
    return [solve(T(v), (_diagonal_matrix(g[0]) + f * (T(v) @ free)) @ T(v))]


def _eig_jvp(t: Any, out: Any, given: Any) -> Any:
    w, v = out
    p = solve(v, t[0] @ v)
    d = v @ (_gaps(w, _largest(w)) * p)
    return [_diagonal(p), d - v * total(v * d, -2, True)]


_EIG = Rule(_eig_vjp, _eig_jvp)


def eig(a: Any) -> Any:
    """Eigenvalues and vectors (of length 1) of a matrix whose eigenvalues are real (Giles 3.1)."""
    a = _matrix(a, "np.linalg.eig")
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
    value = _known(
        tuple(values), lambda x: tuple(np.linalg.eig(x)), lambda w: not np.iscomplexobj(w[0])
    )
    return type(values)(*apply("eig", value, _EIG, a))


def eigvals(a: Any) -> Any:
    """Eigenvalues of a matrix whose eigenvalues are real."""
    a = _matrix(a, "np.linalg.eigvals")
    return eig(a)[0] if is_variable(a) else np.linalg.eigvals(a)


def _svd_vjp(g: Any, out: Any, given: Any) -> Any:
    u, s, vh = out
    v, gv = T(vh), T(g[2])
    m, n, k = shape_of(u)[-2], shape_of(v)[-2], shape_of(s)[-1]
    f = _gaps(s * s, _largest(s) ** 2)
    left, right = T(u) @ g[0], T(v) @ gv
    row, column = s[..., None, :], s[..., :, None]
    core = (f * (left - T(left))) * row + column * (f * (right - T(right)))
    share = u @ (core + _diagonal_matrix(g[1])) @ vh
    over = _reciprocal(s, seen(s) <= k * _EPS * _largest(s)[..., 0])[..., None, :]
    if m > k:
        share = share + ((g[0] - u @ left) * over) @ vh
    if n > k:
        share = share + (u * over) @ T(gv - v @ right)
    return [share]


def _svd_jvp(t: Any, out: Any, given: Any) -> Any:
    u, s, vh = out
    v = T(vh)
    m, n, k = shape_of(u)[-2], shape_of(v)[-2], shape_of(s)[-1]
    f = _gaps(s * s, _largest(s) ** 2)
    row, column = s[..., None, :], s[..., :, None]
    right, left = t[0] @ v, T(t[0]) @ u
    p = T(u) @ right
    du = u @ (f * (p * row + column * T(p)))
    dv = v @ (f * (column * p + T(p) * row))
    over = _reciprocal(s, seen(s) <= k * _EPS * _largest(s)[..., 0])[..., None, :]
    if m > k:
        du = du + (right - u @ p) * over
    if n > k:
        dv = dv + (left - v @ T(p)) * over
    return [du, _diagonal(p), T(dv)]


_SVD = Rule(_svd_vjp, _svd_jvp)


def svd(
    a: Any, full_matrices: bool = True, compute_uv: bool = True, hermitian: bool = False
) -> Any:
    """Singular values and vectors (Townsend); what `full_matrices` adds spans a space."""
    a = _matrix(a, "np.linalg.svd")
    if not compute_uv:
        return svdvals(a)
    values = np.linalg.svd(_handle._peek(a), full_matrices, True, hermitian)
    u, s, vh = values
    k = s.shape[-1]
    found = u[..., :k], s, vh[..., :k, :]
    value = _known(found, lambda x: tuple(np.linalg.svd(x, False, True, hermitian)))
    results = apply("svd", value, _SVD, a)
    if full_matrices and is_variable(a):
        first, middle, last = results
        if u.shape[-1] > k:
            first = _beside(first, _complement(first, u[..., k:]))
        if vh.shape[-2] > k:
            rest = _complement(T(last), np.swapaxes(vh[..., k:, :], -1, -2))
            last = _beside(last, T(rest), -2)
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
        _matrix(x, "np.linalg.svdvals"),
    )[0]


# ---- norms -------------------------------------------------------------------------------------


def _length(x: Any) -> Any:
    """The 2-norm along the last axis, with derivative 0 at 0."""

    def vjp(g: Any, out: Any, given: Any) -> Any:
        return [given[0] * _over(g[0] * _reciprocal(out[0]), 1)]

    def jvp(t: Any, out: Any, given: Any) -> Any:
        return [total(given[0] * t[0], -1) * _reciprocal(out[0])]

    def value(a: Any) -> Any:
        return np.linalg.norm(a, axis=-1)

    return apply("norm", value, Rule(vjp, jvp), x)[0]


def _length_p(x: Any, p: float) -> Any:
    """The p-norm along the last axis, p finite and not 0."""

    def slopes(a: Any, n: Any) -> Any:
        zero = equals(a, 0.0)
        n = n + equals(n, 0.0)
        ratio = (abs(a) + zero) / _over(n, 1)
        return np.sign(a) * ratio ** (p - 1.0)

    def vjp(g: Any, out: Any, given: Any) -> Any:
        return [slopes(given[0], out[0]) * _over(g[0], 1)]

    def jvp(t: Any, out: Any, given: Any) -> Any:
        return [total(slopes(given[0], out[0]) * t[0], -1)]

    def value(a: Any) -> Any:
        return np.linalg.norm(a, p, axis=-1)

    return apply("norm", value, Rule(vjp, jvp), x)[0]


def _extreme(x: Any, largest: bool) -> Any:
    """The largest or smallest along the last axis; ties share the derivative."""

    def shares(a: Any, out: Any) -> Any:
        ties = equals(a, _over(out, 1))
        return ties / np.sum(ties, axis=-1, keepdims=True)

    def vjp(g: Any, out: Any, given: Any) -> Any:
        return [shares(given[0], out[0]) * _over(g[0], 1)]

    def jvp(t: Any, out: Any, given: Any) -> Any:
        return [total(shares(given[0], out[0]) * t[0], -1)]

    def value(a: Any) -> Any:
        return a.max(axis=-1) if largest else a.min(axis=-1)

    return apply("max" if largest else "min", value, Rule(vjp, jvp), x)[0]


def _vector_norm(x: Any, order: Any) -> Any:
    """Along the last axis."""
    if order is None or order == 2:
        return _length(x)
    if order == np.inf or order == -np.inf:
        return _extreme(abs(x), order > 0)
    if order == 0:
        return constant(np.sum(~equals(x, 0.0), axis=-1).astype(np.float64))
    if order == 1:
        return total(abs(x), -1)
    return _length_p(x, float(order))


def _matrix_norm(x: Any, order: Any) -> Any:
    """Over the last two axes."""
    if order in (None, "fro", "f"):
        return _length(x.reshape(*shape_of(x)[:-2], -1))
    if order == "nuc":
        return total(svdvals(x), -1)
    if order in (2, -2):
        return _extreme(svdvals(x), order > 0)
    if order in (1, -1):
        return _extreme(total(abs(x), -2), order > 0)
    if order in (np.inf, -np.inf):
        return _extreme(total(abs(x), -1), order > 0)
    raise ValueError("Invalid norm order for matrices.")


def _moved(x: Any, axes: tuple[int, ...]) -> Any:
    """These axes last."""
    targets = tuple(range(-len(axes), 0))
    if isinstance(x, Array):
        return viewed(np.moveaxis, x, axes, targets)
    return np.moveaxis(x, axes, targets)


def norm(x: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Any:
    """Norms of vectors and matrices, every order of NumPy's; derivative 0 at 0."""
    x = operand(x, "np.linalg.norm")
    ord = plain(ord)
    if not is_variable(x):
        return np.linalg.norm(x, ord, axis, keepdims)
    ndim = len(shape_of(x))
    if isinstance(x, Var):
        return abs(x)
    if axis is None and (
        ord is None or (ord in ("f", "fro") and ndim == 2) or (ord == 2 and ndim == 1)
    ):
        result = _length(x.reshape(-1))
        return _kept(result, (1,) * ndim) if keepdims else result
    np.linalg.norm(np.empty((1,) * ndim), ord, axis)  # what NumPy refuses
    axes = tuple(range(ndim)) if axis is None else axis if isinstance(axis, tuple) else (axis,)
    axes = tuple(int(k) % ndim for k in axes)
    y = _moved(x, axes)
    if shape_of(y)[-1] == 0 or (len(axes) == 2 and shape_of(y)[-2] == 0):
        return constant(np.linalg.norm(plain(x), ord, axis, keepdims))
    result = _vector_norm(y, ord) if len(axes) == 1 else _matrix_norm(y, ord)
    if keepdims:
        return _kept(result, tuple(1 if i in axes else n for i, n in enumerate(shape_of(x))))
    return result


def _kept(x: Any, shape: tuple[int, ...]) -> Any:
    if isinstance(x, Var):
        return extended(x, shape)
    return x.reshape(shape)


def matrix_norm(x: Any, /, *, keepdims: bool = False, ord: Any = "fro") -> Any:
    """`np.linalg.matrix_norm`."""
    return norm(_matrix(x, "np.linalg.matrix_norm"), ord, (-2, -1), keepdims)


def vector_norm(x: Any, /, *, axis: Any = None, keepdims: bool = False, ord: Any = 2) -> Any:
    """`np.linalg.vector_norm`."""
    x = operand(x, "np.linalg.vector_norm")
    shape = shape_of(x)
    if axis is None:
        result = norm(x.reshape(-1), ord, 0)
        return _kept(result, (1,) * len(shape)) if keepdims else result
    if not isinstance(axis, tuple):
        return norm(x, ord, axis, keepdims)
    axes = tuple(int(k) % len(shape) for k in axis)
    y = _moved(x, axes)
    result = norm(y.reshape(*shape_of(y)[: len(shape) - len(axes)], -1), ord, -1)
    return (
        _kept(result, tuple(1 if i in axes else n for i, n in enumerate(shape)))
        if keepdims
        else result
    )


def cond(x: Any, p: Any = None) -> Any:
    """The condition number, by singular values or by norms of the matrix and its inverse."""
    x = _matrix(x, "np.linalg.cond")
    if not is_variable(x):
        return np.linalg.cond(x, p)
    if p is None or p in (2, -2):
        s = svdvals(x)
        return s[..., -1] / s[..., 0] if p == -2 else s[..., 0] / s[..., -1]
    return norm(x, p, (-2, -1)) * norm(inv(x), p, (-2, -1))


def matrix_rank(a: Any, *args: Any, **options: Any) -> Any:
    """The rank: plain whole numbers, it has no derivative."""
    return np.linalg.matrix_rank(plain(operand(a, "np.linalg.matrix_rank")), *args, **options)


# ---- products ----------------------------------------------------------------------------------


def matrix_power(a: Any, n: int) -> Any:
    """A @ a @ ..., n times; of the inverse if n is negative."""
    a = _matrix(a, "np.linalg.matrix_power")
    if not is_variable(a):
        return np.linalg.matrix_power(a, n)
    try:
        n = int(n.__index__())
    except AttributeError as cause:
        raise TypeError("exponent must be an integer") from cause
    if n == 0:
        return constant(np.broadcast_to(_eye(a), shape_of(a)).copy())
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
    a, b = _moved(a, (axis,)), _moved(b, (axis,))
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
    x = _matrix(x, "np.linalg.diagonal")
    if isinstance(x, Array):
        return viewed(lambda a: np.diagonal(a, offset, -2, -1), x)
    return np.diagonal(x, offset, -2, -1)


def trace(x: Any, /, *, offset: int = 0, dtype: Any = None) -> Any:
    """`np.linalg.trace`, of the last two axes."""
    return total(diagonal(x, offset=offset), -1)


def matrix_transpose(x: Any, /) -> Any:
    """The last two axes exchanged, a view."""
    return transposed(_matrix(x, "np.linalg.matrix_transpose"))


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
