"""Sparse transforms: equal to the dense ones, reusable, and never silently short of an entry."""

from __future__ import annotations

import pickle
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

import pyad


def residual(x: Any) -> Any:
    """Tridiagonal: each entry meets its neighbours."""
    y = x * x * 3.0
    y[1:] = y[1:] - x[:-1]
    y[:-1] = y[:-1] + np.sin(x[1:])
    return y


def chained(x: Any) -> Any:
    total = 0.0
    for a, b in pairwise(x):
        total = total + 100.0 * (b - a**2) ** 2 + (1.0 - a) ** 2
    return total


def test_sparse_equals_dense() -> None:
    x = np.linspace(-1.0, 1.0, 12)
    sparse = pyad.sparse_jacobian(residual, x)
    np.testing.assert_allclose(sparse.toarray(), pyad.jacobian(residual)(x), rtol=1e-14)
    assert sparse.nnz == 3 * 12 - 2
    sparse = pyad.sparse_hessian(chained, x)
    np.testing.assert_allclose(sparse.toarray(), pyad.hessian(chained)(x), rtol=1e-13)


def test_three_colours_for_a_long_chain() -> None:
    x = np.linspace(-1.0, 1.0, 20_000)
    jacobian = pyad.SparseJacobian(residual)
    assert jacobian(x).shape == (20_000, 20_000)
    assert jacobian.pattern is not None
    assert jacobian.pattern.colour_count == 3
    hessian = pyad.SparseHessian(chained)
    assert hessian(x).nnz == 3 * 20_000 - 2
    assert hessian.pattern is not None
    assert hessian.pattern.colour_count == 3


def test_pattern_serves_later_points_and_can_be_kept() -> None:
    x = np.linspace(-1.0, 1.0, 12)
    first = pyad.SparseHessian(chained)
    first(x)
    kept = pickle.loads(pickle.dumps(first.pattern))
    again = pyad.SparseHessian(chained, pattern=kept)
    np.testing.assert_allclose(again(2 * x).toarray(), pyad.hessian(chained)(2 * x), rtol=1e-13)
    assert again.pattern is kept


def test_a_branch_taken_otherwise_gets_a_new_pattern() -> None:
    def branching(x: Any) -> Any:
        return [x[0] * x[1], x[2] * x[3]] if x[0] > 0 else [x[0] * x[3], x[1] * x[2]]

    jacobian = pyad.SparseJacobian(branching)
    for point in ([1.0, 2.0, 3.0, 4.0], [-1.0, 2.0, 3.0, 4.0], [1.0, 5.0, 6.0, 7.0]):
        expected = np.array(pyad.jacobian(branching)(np.array(point)))
        np.testing.assert_array_equal(jacobian(np.array(point)).toarray(), expected)


def test_argument_position_and_lists() -> None:
    jacobian = pyad.SparseJacobian(lambda k, x: [k * x[0], x[1] ** 2], 1)
    np.testing.assert_array_equal(jacobian(3.0, [1.0, 2.0]).toarray(), [[3.0, 0.0], [0.0, 4.0]])


def test_variables_from_outside_are_refused() -> None:
    w = pyad.var(2.0)
    with pytest.raises(pyad.Error, match="from outside"):
        pyad.sparse_jacobian(lambda x: w * x, np.ones(3))
