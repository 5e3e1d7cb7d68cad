"""Compiled functions over the table of array functions: as the transforms, at several points."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from array_cases import CASES, Case, leaves_of

import pyad

PARTS = 24
NOT_REPLAYED = (
    "take_along_axis",
)  # fmt: skip
"""Functions that take values out of the recording."""


def total(case: Case, *args: Any) -> Any:
    """A weighted sum of all floats among the results."""
    result: Any = 0.0
    for k, y in enumerate(leaves_of(case.function(*args))):
        kind = y.dtype.kind if isinstance(y, np.ndarray) else "f"
        if np.size(y) and kind in "fO" and not isinstance(y, (int, np.integer, complex)):
            weights = np.cos(np.arange(np.size(y)) + k).reshape(np.shape(y))
            result = result + np.sum(y * weights)
    return result


def assert_close(got: Any, expected: Any, rtol: float) -> None:
    size = np.max(np.abs(expected), initial=1.0, where=np.isfinite(expected))
    np.testing.assert_allclose(got, expected, rtol=rtol, atol=rtol * size)


@pytest.mark.parametrize("part", range(PARTS))
def test_compiled_as_eager(part: int) -> None:
    rng = np.random.default_rng(part)
    for case in CASES[part::PARTS]:
        args = case.inputs()
        places = [
            i for i, a in enumerate(args) if isinstance(a, np.ndarray) and a.dtype.kind == "f"
        ]
        if not places:
            continue

        def f(*args: Any, case: Case = case) -> Any:
            return total(case, *args)

        eager = pyad.value_and_grad(f, tuple(places))
        compiled = pyad.compile(f, argnums=tuple(places))
        with warnings.catch_warnings(record=True) as said, np.errstate(all="ignore"):
            warnings.simplefilter("always")
            for step in (0.0, 0.01):
                moved = [np.asarray(a * (1 + step * rng.random(a.shape))) if i in places else a
                         for i, a in enumerate(args)]  # fmt: skip
                value, slopes = eager(*moved)
                got_value, got_slopes = compiled.value_and_grad(*moved)
                assert_close(got_value, value, 1e-12)
                for got, slope in zip(got_slopes, slopes, strict=True):
                    assert_close(got, slope, 1e-11)
            if case.smooth and len(places) == 1:
                v = np.asarray(rng.normal(size=args[places[0]].shape))
                product = pyad.hessian_vector_product(f, places[0])(*moved, v)
                second = pyad.compile(f, argnums=places[0])
                second.hvp(*args, v)
                assert_close(second.hvp(*moved, v), product, 1e-9)
        evaluated = any("recorded at every call" in str(w.message) for w in said)
        assert evaluated <= (case.name.startswith((*NOT_REPLAYED, "sinc near 0"))), case.name


def test_constants_beside_large_terms_are_kept() -> None:
    """What a sum holds beside its variables cannot be read off its value."""

    def slope(x: Any) -> Any:
        return pyad.grad(lambda y: np.sum(y * y) * 0.0 + y[0] * 1e-9 + 1e15 * y[0] ** 2 + y[2])(x)

    def mixed(x: Any) -> Any:
        return np.stack([x[0] * 1e20, 1.0, x[1], 1e-9])

    def stretches(x: Any) -> Any:
        return np.add.reduceat(mixed(x), [0, 2])

    def bins(x: Any) -> Any:
        return np.bincount(np.array([0, 0, 1, 1]), mixed(x))

    for f in (slope, stretches, bins):
        compiled = pyad.compile(f)
        compiled(np.array([1.0, 1e15, 3.0]))
        for x in ([0.0, 0.0, 0.0], [1e-20, -1e-12, 2.0]):
            np.testing.assert_array_max_ulp(compiled(np.array(x)), f(np.array(x)), 2)
        assert compiled.stats()["recorded"] == 1
