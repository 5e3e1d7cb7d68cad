"""Linear systems, inverses, Cholesky and LU factorizations."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

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
    unbroadcast,
)
from pyad.scipy.linalg._common import (
    T,
    of_variables,
    refuse,
    symmetric_from,
    theirs,
    triangle,
)

__all__ = [
    "cho_factor",
    "cho_solve",
    "cholesky",
    "det",
    "inv",
    "lu",
    "lu_factor",
    "lu_solve",
    "solve",
    "solve_triangular",
    "solved_triangular",
]


@of_variables
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
        theirs("cholesky")(plain(a), lower)  # refuses what is not positive definite
    if kind in ("pos", "sym"):
        a = symmetric_from(a, lower, "solve")
    elif kind not in (None, "gen", "general"):
        raise refuse("solve", f"assume_a={assume_a!r}", "leave it out")
    return _linalg.solve(T(a) if transposed else a, operand(b, what))


@of_variables
def inv(
    a: Any, overwrite_a: Any = False, check_finite: bool = True, *, assume_a: Any = None,
    lower: bool = False,
) -> Any:  # fmt: skip
    """`scipy.linalg.inv`."""
    if assume_a not in (None, "gen", "general"):
        raise refuse("inv", f"assume_a={assume_a!r}", "leave it out")
    return _linalg.inv(square(a, "scipy.linalg.inv"))


@of_variables
def det(a: Any, overwrite_a: Any = False, check_finite: bool = True) -> Any:
    """`scipy.linalg.det`."""
    return _linalg.det(square(a, "scipy.linalg.det"))


@of_variables
def cholesky(
    a: Any, lower: bool = False, overwrite_a: Any = False, check_finite: bool = True
) -> Any:
    """`scipy.linalg.cholesky`: the upper factor, unless `lower`."""
    factor = _linalg.cholesky(symmetric_from(a, lower, "cholesky"))
    return factor if lower else T(factor)


@of_variables
def cho_factor(
    a: Any, lower: bool = False, overwrite_a: Any = False, check_finite: bool = True
) -> Any:
    """`scipy.linalg.cho_factor`; the triangle that SciPy leaves undefined holds zeros."""
    return cholesky(a, lower), lower


def cho_solve(c_and_lower: Any, b: Any, overwrite_b: Any = False, check_finite: bool = True) -> Any:
    """`scipy.linalg.cho_solve`."""
    c, lower = c_and_lower
    if not holds_variables(c, b):
        return theirs("cho_solve")(c_and_lower, b, overwrite_b, check_finite)
    first, second = (0, 1) if lower else (1, 0)
    return solve_triangular(c, solve_triangular(c, b, first, lower), second, lower)


def solved_triangular(a: Any, b: Any, turned: bool, lower: bool, unit: bool) -> Any:
    """X of op(a) @ x = b, b a matrix (or a stack of them)."""

    def value(a: Any, b: Any) -> Any:
        solve = functools.partial(
            theirs("solve_triangular"), trans=int(turned), lower=lower, unit_diagonal=unit
        )
        if a.ndim == b.ndim == 2:
            return solve(a, b)
        return np.vectorize(solve, signature="(n,n),(n,k)->(n,k)")(a, b)

    def vjp(g: Any, out: Any, given: Any) -> Any:
        a, b = given
        share = solved_triangular(a, g[0], not turned, lower, unit)
        slope = -(out[0] @ T(share)) if turned else -(share @ T(out[0]))
        slope = unbroadcast(triangle(slope, lower, unit), shape_of(a))
        return slope, unbroadcast(share, shape_of(b))

    def jvp(t: Any, out: Any, given: Any) -> Any:
        right = t[1]
        if t[0] is not None:
            change = triangle(t[0], lower, unit)
            right = plus(right, -((T(change) if turned else change) @ out[0]))
        if shape_of(right) != shape_of(out[0]):
            right = right + np.zeros(shape_of(out[0]))
        return [solved_triangular(given[0], right, turned, lower, unit)]

    return apply("solve_triangular", value, Rule(vjp, jvp), a, b)[0]


@of_variables
def solve_triangular(
    a: Any, b: Any, trans: Any = 0, lower: bool = False, unit_diagonal: bool = False,
    overwrite_b: Any = False, check_finite: bool = True,
) -> Any:  # fmt: skip
    """`scipy.linalg.solve_triangular`; the other triangle is not read and has derivative 0."""
    what = "scipy.linalg.solve_triangular"
    a, b = square(a, what), operand(b, what)
    turned = {"N": False, "T": True, "C": True}.get(trans, bool(trans))
    if len(shape_of(b)) == 1:
        return solved_triangular(a, b[:, None], turned, lower, unit_diagonal)[..., 0]
    return solved_triangular(a, b, turned, lower, unit_diagonal)


def _lu_vjp(g: Any, out: Any, given: Any) -> Any:
    lower, upper = out  # of the rows in the order of the pivots
    core = triangle(T(lower) @ g[0], True, True) + triangle(g[1] @ T(upper), False, False)
    right = T(_linalg.solve(upper, T(core)))
    return [_linalg.solve(T(lower), right)]


def _lu_jvp(t: Any, out: Any, given: Any) -> Any:
    lower, upper = out
    core = T(_linalg.solve(T(upper), T(_linalg.solve(lower, t[0]))))
    return [lower @ triangle(core, True, True), triangle(core, False, False) @ upper]


_LU = Rule(_lu_vjp, _lu_jvp)


def _lu_of(a: Any, name: str) -> tuple[Any, Any, Any]:
    """(L, U, pivots) of one square matrix."""
    a = square(a, f"scipy.linalg.{name}")
    if len(shape_of(a)) != 2:
        raise refuse(name, "stacks of matrices", "take them one by one")
    packed, pivots = theirs("lu_factor")(plain(a))
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


@of_variables
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


@of_variables
def lu_factor(a: Any, overwrite_a: Any = False, check_finite: bool = True) -> Any:
    """`scipy.linalg.lu_factor` of a square matrix."""
    lower, upper, pivots = _lu_of(a, "lu_factor")
    return triangle(lower, True, True) + upper, pivots


def lu_solve(
    lu_and_piv: Any, b: Any, trans: int = 0, overwrite_b: Any = False, check_finite: bool = True
) -> Any:
    """`scipy.linalg.lu_solve`."""
    packed, pivots = lu_and_piv
    if not holds_variables(packed, b):
        return theirs("lu_solve")(lu_and_piv, b, trans, overwrite_b, check_finite)
    order = _order(pivots)
    b = operand(b, "scipy.linalg.lu_solve")
    if not trans:
        y = solve_triangular(packed, b[order], 0, True, True)
        return solve_triangular(packed, y)
    y = solve_triangular(packed, b, 1)
    return solve_triangular(packed, y, 1, True, True)[np.argsort(order)]
