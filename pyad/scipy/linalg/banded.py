"""Banded systems."""

from __future__ import annotations

from typing import Any

import numpy as np

from pyad.array._rules import (
    Rule,
    apply,
    operand,
    plain,
    plus,
    shape_of,
    total,
)
from pyad.scipy.linalg._common import (
    of_variables,
    theirs,
)

__all__ = [
    "solve_banded",
    "solveh_banded",
]


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
        return theirs("solve_banded")((below, above), ab, b) if value is None else value

    return apply("solve_banded", solved, Rule(vjp, jvp), ab, b)[0]


@of_variables
def solve_banded(
    l_and_u: Any, ab: Any, b: Any, overwrite_ab: Any = False, overwrite_b: Any = False,
    check_finite: bool = True,
) -> Any:  # fmt: skip
    """`scipy.linalg.solve_banded`; entries of `ab` outside the matrix have derivative 0."""
    what = "scipy.linalg.solve_banded"
    below, above = (int(k) for k in l_and_u)
    ab, b = operand(ab, what), operand(b, what)
    theirs("solve_banded")(l_and_u, plain(ab), plain(b))  # what SciPy refuses
    if len(shape_of(b)) == 1:
        return _solve_band(ab, b[:, None], below, above)[:, 0]
    return _solve_band(ab, b, below, above)


@of_variables
def solveh_banded(
    ab: Any, b: Any, overwrite_ab: Any = False, overwrite_b: Any = False, lower: bool = False,
    check_finite: bool = True,
) -> Any:  # fmt: skip
    """`scipy.linalg.solveh_banded`: derivatives in the diagonals that are given."""
    what = "scipy.linalg.solveh_banded"
    ab, b = operand(ab, what), operand(b, what)
    value = theirs("solveh_banded")(plain(ab), plain(b), lower=lower)
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
