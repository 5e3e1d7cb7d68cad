"""Colourings: valid, few, and found in work that grows with the matrix."""

from __future__ import annotations

from collections import Counter

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sparsity_programs import arrow, band, entries, pattern_of

from pyad.transforms._sparsity import (
    HessianPattern,
    JacobianPattern,
)

# ---- colourings --------------------------------------------------------------------------------


def check_jacobian_colouring(pattern: JacobianPattern) -> None:
    """Columns (rows) of one colour have no common row (column); colours are 0, 1, 2 ..."""
    lines, coloured = pattern.rows, pattern.indices
    if pattern.by_rows:
        lines, coloured = coloured, lines
    seen = list(zip(lines.tolist(), pattern.colours[coloured].tolist(), strict=True))
    assert len(set(seen)) == len(seen)
    if seen:
        assert set(pattern.colours.tolist()) == set(range(pattern.colour_count))
    else:
        assert pattern.colour_count == 0


def check_hessian_colouring(pattern: HessianPattern) -> None:
    """Entry (i, j) or (j, i) is the only one of its row whose column has its colour."""
    colour = pattern.colours.tolist()
    found = entries(pattern)
    alone = Counter((i, colour[j]) for i, j in found)
    for i, j in found:
        assert alone[i, colour[j]] == 1 or alone[j, colour[i]] == 1


@st.composite
def matrices(draw: st.DrawFn, square: bool = False) -> npt.NDArray[np.float64]:
    sizes = st.one_of(st.integers(0, 14), st.integers(65, 150))  # dense rows are kept as bits
    rows = draw(sizes)
    columns = rows if square else draw(sizes)
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    density = draw(st.sampled_from([0.0, 0.05, 0.15, 0.3, 0.6, 1.0]))
    return rng.normal(size=(rows, columns)) * (rng.random((rows, columns)) < density)


@settings(deadline=None, max_examples=300)
@given(matrices())
def test_jacobian_colouring_gives_the_matrix_back(matrix: npt.NDArray[np.float64]) -> None:
    pattern = pattern_of(JacobianPattern, matrix)
    check_jacobian_colouring(pattern)
    data = pattern.decompress(pattern.compress(matrix))
    assert np.array_equal(pattern.to_scipy(data).toarray(), matrix)


@settings(deadline=None, max_examples=300)
@given(matrices(square=True))
def test_hessian_colouring_gives_the_matrix_back(matrix: npt.NDArray[np.float64]) -> None:
    matrix = matrix + matrix.T
    pattern = pattern_of(HessianPattern, matrix)
    check_hessian_colouring(pattern)
    data = pattern.decompress(pattern.compress(matrix))
    assert np.array_equal(pattern.to_scipy(data).toarray(), matrix)


@pytest.mark.parametrize(
    ("matrix", "colours", "by_rows"),
    [
        (band(40, 1), 3, False),
        (band(40, 4), 9, False),
        (arrow(40, column=True), 2, False),
        (arrow(40, row=True), 2, True),
        (np.kron(np.eye(8), np.ones((3, 3))), 3, False),
        (np.kron(np.eye(8), np.ones((2, 5))), 2, True),
        (np.ones((6, 9)), 6, True),
        (np.ones((9, 6)), 6, False),
        (np.zeros((5, 7)), 0, False),
        (np.zeros((0, 0)), 0, False),
        (np.eye(9), 1, False),
    ],
)
def test_colours_of_known_jacobians(
    matrix: npt.NDArray[np.float64], colours: int, by_rows: bool
) -> None:
    pattern = pattern_of(JacobianPattern, matrix)
    check_jacobian_colouring(pattern)
    assert (pattern.colour_count, pattern.by_rows) == (colours, by_rows)
    assert pattern.seeds().shape == (matrix.shape[0 if by_rows else 1], colours)


@pytest.mark.parametrize(
    ("matrix", "colours"),
    [
        (band(40, 1), 3),
        (band(40, 2), 5),
        (arrow(40, row=True, column=True), 2),
        (np.kron(np.eye(8), np.ones((3, 3))), 3),
        (np.ones((9, 9)), 9),
        (np.zeros((5, 5)), 0),
        (np.zeros((0, 0)), 0),
        (np.eye(9), 1),
    ],
)
def test_colours_of_known_hessians(matrix: npt.NDArray[np.float64], colours: int) -> None:
    pattern = pattern_of(HessianPattern, matrix)
    check_hessian_colouring(pattern)
    assert pattern.colour_count <= colours


def grid_laplacian(n: int) -> npt.NDArray[np.float64]:
    line = band(n, 1) - np.eye(n)
    return np.kron(np.eye(n), line) + np.kron(line, np.eye(n)) + np.eye(n * n)


def test_colours_of_a_grid() -> None:
    """Five points and nine: 5 and 9 colours are possible for the Jacobian; few are found."""
    five = grid_laplacian(15)
    assert pattern_of(JacobianPattern, five).colour_count <= 7
    assert pattern_of(HessianPattern, five).colour_count <= 6
    nine = np.kron(band(15, 1), band(15, 1))
    assert pattern_of(JacobianPattern, nine).colour_count == 9
    assert pattern_of(HessianPattern, nine).colour_count == 9


def test_matrix_that_is_nearly_dense_is_coloured() -> None:
    rng = np.random.default_rng(0)
    half = rng.random((1500, 1500)) < 0.3
    first = pattern_of(JacobianPattern, half)
    second = pattern_of(HessianPattern, half | half.T)
    check_jacobian_colouring(first)
    check_hessian_colouring(second)


@pytest.mark.parametrize("hub", [0, 50_000, 99_999])
def test_a_vertex_of_very_many_neighbours_is_coloured(hub: int) -> None:
    n = 100_000
    others = np.delete(np.arange(n), hub)
    counts = np.full(n, 2)
    counts[hub] = n
    indices = np.empty(3 * n - 2, np.int64)
    indptr = np.concatenate([[0], np.cumsum(counts)])
    indices[indptr[others]] = np.minimum(others, hub)
    indices[indptr[others] + 1] = np.maximum(others, hub)
    indices[indptr[hub] : indptr[hub + 1]] = np.arange(n)
    assert HessianPattern((n, n), indptr, indices).colour_count == 2
