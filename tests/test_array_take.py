"""Arrays of whole numbers and masks as keys, read: as NumPy reads arrays of ids."""

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import pyad

SHAPES = [(4,), (3, 4), (2, 3, 4), (5, 1), (0, 3), (3, 0)]

VIEWS: dict[str, Callable[[Any], Any]] = {
    "whole": lambda a: a,
    "transposed": lambda a: a.T,
    "reversed": lambda a: a[::-1],
    "every second": lambda a: a[..., ::2],
    "joined": lambda a: np.concatenate([a[:1], a[1:]]),
}


def keys(shape: tuple[int, ...], rng: np.random.Generator) -> list[Any]:
    """Keys of every kind that array_take.c reads, next to some that it leaves to NumPy."""

    def index(side: int, *of: int) -> Any:
        return rng.integers(-side, side, size=of) if side else np.zeros((0, *of[1:]), int)

    first = shape[0]
    found: list[Any] = [
        index(first, 3),
        index(first, 2, 3),
        index(first, 0),
        index(first, 2).astype(np.int8),
        index(first, 2).astype(">i4"),
        np.abs(index(first, 2)).astype(np.uint64),
        index(first, 2).tolist(),
        rng.random(first) > 0.5,
        rng.random(shape) > 0.5,
        np.zeros(shape, bool),
        (rng.random(first) > 0.5, ...),
    ]
    if first:
        found += [np.array(first - 1), np.array([first]), np.array([-first - 1])]
    if len(shape) > 1:
        second = shape[1]
        found += [
            (index(first, 2), index(second, 2)),
            (index(first, 2, 1), index(second, 3)),
            (index(first, 2), 0),
            (0, index(second, 2)),
            (slice(None), index(second, 2)),
            (index(first, 2), index(second, 3)),
            (0, np.zeros(0, int)),
        ]
    return found


def outcome(a: Any, key: Any) -> Any:
    try:
        return a[key]
    except IndexError as refused:
        return refused


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("shape", SHAPES)
def test_keys(shape: tuple[int, ...], view: str) -> None:
    rng = np.random.default_rng(len(shape))
    values = rng.normal(size=shape)
    ids = VIEWS[view](np.arange(values.size).reshape(shape))
    for key in keys(ids.shape, rng):
        x = pyad.array(values)
        wanted = outcome(ids, key)
        found = outcome(VIEWS[view](x * 1.0), key)
        if isinstance(wanted, IndexError):
            assert isinstance(found, IndexError), key
            continue
        np.testing.assert_array_equal(found.value, values.ravel()[wanted])
        with pyad.no_grad():
            constant = VIEWS[view](x)[key]
        np.testing.assert_array_equal(constant.value, found.value)
        if np.size(wanted):
            weights = rng.normal(size=np.shape(wanted))
            np.sum(found * weights).backward()
            gradient = np.zeros(values.size)
            np.add.at(gradient, wanted, weights)
            np.testing.assert_allclose(x.grad, gradient.reshape(shape), rtol=1e-14)


def test_a_key_that_indexes_with_duplicates_twice_over() -> None:
    x = pyad.array([1.0, 2.0, 3.0])
    np.sum(x[[0, 0, 2]][[0, 1, 1]] * [1.0, 10.0, 100.0]).backward()
    np.testing.assert_array_equal(x.grad, [111.0, 0.0, 0.0])


def test_a_few_elements_of_a_large_array_cost_a_few() -> None:
    def seconds(size: int) -> float:
        x = pyad.array(np.ones(size)) * 1.0
        index, best = np.array([1, 3, 1]), float("inf")
        for _ in range(20):
            start = time.perf_counter()
            for _ in range(50):
                x[index]
            best = min(best, time.perf_counter() - start)
        return best

    assert seconds(10**6) < 20 * seconds(10)  # 10 000 times as much if all of it were read
