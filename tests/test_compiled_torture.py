"""Compiled functions that take many ways: at every point they give what the function gives there.

Each function is compiled once and called at many random points, with kinks and ties among them. The
value is compared with the function on plain numbers, the gradient with `pyad.grad`, and the number
of recordings must stay far below the number of points.
"""

from __future__ import annotations

import bisect
import functools
import heapq
import math
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import pyad
import pyad.numpy as pnp

Points = Callable[[np.random.Generator, int], list[Any]]


def vectors(size: int, scale: float = 2.0, digits: int | None = None) -> Points:
    """Random vectors; rounded ones have ties and zeros."""

    def make(rng: np.random.Generator, count: int) -> list[Any]:
        found = rng.normal(scale=scale, size=(count, size))
        return list(found if digits is None else found.round(digits))

    return make


def with_nan(points: Points) -> Points:
    """Put NaN and infinities into a third of the points."""

    def make(rng: np.random.Generator, count: int) -> list[Any]:
        found = points(rng, count)
        for i, x in enumerate(found):
            if i % 3 == 0:
                x[rng.integers(len(x))] = [np.nan, np.inf, -np.inf][i // 3 % 3]
        return found

    return make


# ---- scalar code -----------------------------------------------------------------------------


def branches(x: Any) -> Any:
    a, b, c = x[0], x[1], x[2]
    if a > b:
        return a * b if b > c else pyad.sin(a) * c
    if a + b < c:
        return c * c - a
    return a * b * c


def collatz(x: Any) -> Any:
    """A loop whose length depends on values."""
    a, steps = abs(x[0]) + 1.0, 0
    while a > 0.7 and steps < 12:
        a = a * 0.6 if a > 1.5 else a * a * 0.8
        steps += 1
    return a * steps + x[1]


def newton(x: Any) -> Any:
    """The square root by Newton's method until it stands still."""
    a = x[0] * x[0] + 0.5
    y = a
    for _ in range(60):
        following = 0.5 * (y + a / y)
        if abs(following - y) < 1e-12:
            break
        y = following
    return y * x[1]


def bisection(x: Any) -> Any:
    low, high = 0.0 * x[0], 1.0 + abs(x[0])
    for _ in range(6):
        middle = 0.5 * (low + high)
        if middle * middle * middle + middle < abs(x[1]):
            low = middle
        else:
            high = middle
    return 0.5 * (low + high) * x[1]


def recursion(x: Any, depth: int = 5) -> Any:
    if depth == 0 or x[0] * x[0] < 0.05:
        return x[1] * x[0]
    if x[0] > x[1]:
        return recursion([x[0] * 0.5, x[1] + 0.1], depth - 1) + x[0]
    return recursion([x[1] * 0.5, x[0]], depth - 1) * 1.5


def insertion_sort(x: Any) -> Any:
    items: list[Any] = []
    for item in x:
        bisect.insort(items, item)
    return sum((k + 1) * item * item for k, item in enumerate(items))


def heap(x: Any) -> Any:
    items = [x[0], x[1], x[2], x[3]]
    heapq.heapify(items)
    total = 0.0
    for k in range(4):
        total = total * 0.5 + (k + 1) * heapq.heappop(items)
    return total * x[0]


def sorted_by_key(x: Any) -> Any:
    order = sorted(range(4), key=lambda i: (x[i] - 0.5) ** 2)
    return sum(0.5**k * pyad.exp(0.3 * x[i]) for k, i in enumerate(order))


def caught(x: Any) -> Any:
    """Exceptions that the function deals with itself."""
    total = x[0] * 1.0
    for item in (x[1], x[2]):
        try:
            if item < -0.5:
                raise ValueError
            total = total + pyad.sqrt(item + 0.5)
        except ValueError:
            total = total - item * x[0]
        finally:
            total = total * 1.1
    return total


def early_return(x: Any) -> Any:
    for i, item in enumerate(x[:4]):
        if item > 1.0:
            return item * (i + 1) * x[0]
    else:
        return x[0] + x[1] * x[2]


def comparisons_with_nan(x: Any) -> Any:
    a, b = x[0], x[1]
    count = (a < b) + 2 * (a <= b) + 4 * (a == b) + 8 * (a != b) + 16 * (a > b) + 32 * (a >= b)
    if a != a:
        return b * count
    return a * count if abs(a) < math.inf else b - a


def rounding(x: Any) -> Any:
    k = int(x[0]) + round(x[1]) + math.floor(x[2]) + math.ceil(x[3])
    return x[0] * k + x[1] * (x[2] // 1.0) + x[3] % 1.5


def truth(x: Any) -> Any:
    a = x[0] * (x[1] if x[1] else 3.0)
    b = x[2] or x[0]
    c = x[3] and x[1]
    return a + b * c * 2.0 + (not x[0]) * x[3]


def minima(x: Any) -> Any:
    a, b, c, d = x[0], x[1], x[2], x[3]
    return min(a, b) * max(c, d) + max(a, b, c) * abs(d) + pyad.maximum(a, d)


def chained(x: Any) -> Any:
    """Closures made on the way, generators, comprehensions."""
    scale = x[0] if -1 < x[0] < 1 else 1.0
    functions = [lambda t, k=k: t * scale + k if t > k else t for k in range(3)]
    parts = (g(item) for g in functions for item in x if item > 0)
    return functools.reduce(lambda a, b: a + b * 0.5, parts, x[1] * 1.0)


def gradient_inside(x: Any) -> Any:
    step = pyad.grad(lambda t: t**3 if t > x[1] else t * t)(x[0])
    return step * x[1] if step > 0 else step + x[2]


def dictionary(x: Any) -> Any:
    state = {"a": x[0], "b": x[1]}
    for item in x:
        key = "a" if item > 0 else "b"
        state[key] = state[key] + item * item
    return state["a"] * state["b"]


# ---- arrays and mixtures -------------------------------------------------------------------------


def masks(x: Any) -> Any:
    return (
        x[x > 0.3].sum() * 2.0 + np.sum(np.exp(0.1 * x[~(x > 0.3)])) + np.where(x > 1, x, 0).sum()
    )


def largest(x: Any) -> Any:
    return x[np.argmax(x)] * x[np.argmin(x)] + x.max() * 2.0 + np.argmax(x) * x[0]


def sorted_array(x: Any) -> Any:
    return np.sum(np.sort(x) * np.arange(1.0, 5.0)) + np.dot(x[np.argsort(-x)][:2], x[:2])


def assigned(x: Any) -> Any:
    y = x.copy()
    y[y < 0] = 0.1 * y[y < 0]
    for i in range(1, 4):
        if y[i] > y[i - 1]:
            y[i] = y[i] * y[i - 1]
        y[0] += y[i]
    return y.sum() * y[0]


def clipped(x: Any) -> Any:
    return np.clip(x, -1.0, 1.0).sum() * np.maximum(x, 0.2).prod() + np.abs(x).sum()


def mixture(x: Any) -> Any:
    total = 0.0
    for row in np.stack([x, x[::-1] * 0.5, np.cumsum(x)]):
        norm = np.sqrt(row @ row)
        if norm > 2.0:
            total = total + norm * (row[0] if row[0] > row[1] else row.mean())
        else:
            total = total + row.max() ** 2
    return total


def any_all(x: Any) -> Any:
    if (x > 0).all():
        return np.log(x).sum()
    if (x > 1.5).any():
        return x[np.nonzero(x > 1.5)[0][0]] * x[1]
    return np.count_nonzero(x > 0) * x[0] + (x**2).mean()


def piecewise(x: Any) -> Any:
    parts = np.searchsorted(np.array([-1.0, 0.0, 1.0]), x)
    return sum((k + 1.0) * x[parts == k].sum() for k in range(4)) * x[2]


def medians(x: Any) -> Any:
    return np.median(x) * x[0] + np.partition(x, 2)[:3].sum()


def halved(x: Any) -> Any:
    """Slices whose bounds depend on values."""
    k = int(np.sum(x > 0))
    left = x[:k].sum() if k else x[0]
    return left * (x[k:] ** 2).sum() + k


FUNCTIONS: dict[str, tuple[Callable[..., Any], Points, int]] = {
    "branches": (branches, vectors(3, digits=0), 40),
    "collatz": (collatz, vectors(2, 3.0), 120),
    "newton": (newton, vectors(2), 20),
    "bisection": (bisection, vectors(2, 1.0), 120),
    "recursion": (recursion, vectors(2), 60),
    "insertion_sort": (insertion_sort, vectors(4, digits=0), 90),
    "heap": (heap, vectors(4, digits=0), 120),
    "sorted_by_key": (sorted_by_key, vectors(4), 40),
    "caught": (caught, vectors(3), 10),
    "early_return": (early_return, vectors(4), 10),
    "comparisons_with_nan": (comparisons_with_nan, with_nan(vectors(2, digits=0)), 20),
    "rounding": (rounding, vectors(4, 0.7), 400),
    "truth": (truth, vectors(4, 0.5, digits=0), 40),
    "minima": (minima, vectors(4, digits=0), 150),
    "chained": (chained, vectors(3), 160),
    "gradient_inside": (gradient_inside, vectors(3), 20),
    "dictionary": (dictionary, vectors(4), 30),
    "masks": (masks, vectors(4), 130),
    "largest": (largest, vectors(4, digits=1), 40),
    "sorted_array": (sorted_array, vectors(4), 40),
    "assigned": (assigned, vectors(4), 130),
    "clipped": (clipped, vectors(4), 200),
    "mixture": (mixture, vectors(3), 100),
    "any_all": (any_all, vectors(3), 60),
    "piecewise": (piecewise, vectors(3), 90),
    "medians": (medians, vectors(4), 150),
    "halved": (halved, vectors(3), 20),
}


def outcome(f: Callable[..., Any], x: Any) -> Any:
    """What a call gives or raises."""
    try:
        return f(x)
    except (ValueError, ZeroDivisionError, OverflowError) as raised:
        return type(raised)


def assert_close(got: Any, expected: Any, size: float = 0.0) -> None:
    if isinstance(expected, type):
        assert got is expected
    else:
        got, expected = np.asarray(got, float), np.asarray(expected, float)
        assert got.shape == expected.shape
        largest = np.max(np.abs(expected[np.isfinite(expected)]), initial=size)
        np.testing.assert_allclose(got, expected, rtol=1e-13, atol=1e-14 * (1 + largest))


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    with np.errstate(all="ignore"):
        yield


@pytest.mark.parametrize("name", FUNCTIONS)
def test_many_points(name: str) -> None:
    f, points, most = FUNCTIONS[name]
    compiled, gradient = pyad.compile(f), pyad.value_and_grad(f)
    given_points = points(np.random.default_rng(0), 1200)
    with warnings.catch_warnings():
        if most > 64:
            warnings.simplefilter("ignore", RuntimeWarning)
        for x in given_points:
            expected = outcome(gradient, x)
            got = outcome(compiled.value_and_grad, x)
            if isinstance(expected, type):
                assert got is expected
                continue
            assert_close(got[0], expected[0])
            assert_close(got[1], expected[1])
            assert_close(compiled(x), expected[0])
    stats = compiled.stats()
    assert stats["recordings"] <= 64
    assert stats["recorded"] <= most
    assert stats["recorded"] <= 193 or stats["hits"] >= 4 * (stats["recorded"] - 1)


def test_ties_of_sums_come_out_as_in_the_function() -> None:
    """A sum that decides is added in its order: 0.1 + 0.1 + ... is not always 1.0."""

    def f(x: Any) -> Any:
        total = x[0]
        for k in range(1, 10):
            total = total + x[k]
        if total >= 1.0:
            return x[0] * 2
        return x[1] if total * 10 - 9 >= 0.0 else x[2] * 3

    compiled = pyad.compile(f)
    for x in 0.1 * np.random.default_rng(0).integers(-2, 4, size=(3000, 10)):
        assert compiled(x) == f(x)
    assert compiled.stats()["recorded"] == 3


def matrix(x: Any) -> Any:
    return x.reshape(3, 3) + np.diag([3.0, 4.0, 6.0])


FACTORIZATIONS: dict[str, Callable[[Any], Any]] = {
    "solve": lambda a: np.linalg.solve(a, a[0]).sum() * np.linalg.inv(a)[0, 1],
    "det": lambda a: np.linalg.det(a) + np.linalg.slogdet(a)[1],
    "eigh": lambda a: np.linalg.eigh(a @ a.T)[0][0] + (np.linalg.eigh(a @ a.T)[1][:, 1] ** 2)[0],
    "eig": lambda a: np.linalg.eig(a @ a.T)[0].sum(),
    "svd": lambda a: np.linalg.svd(a)[1][0] + np.linalg.svd(a[:2], full_matrices=False)[1][1],
    "norms": lambda a: np.linalg.norm(a, 2) + np.linalg.norm(a, "nuc") + np.linalg.cond(a),
    "cholesky": lambda a: np.linalg.cholesky(a @ a.T)[2, 1],
    "qr": lambda a: np.linalg.qr(a)[1][0, 2] * np.linalg.qr(a)[0][1, 0],
    "lstsq": lambda a: np.linalg.lstsq(a[:, :2], a[:, 2])[0].sum() + np.linalg.pinv(a)[0, 1],
    "expm": lambda a: pyad.linalg.expm(0.1 * a).sum(),
    "convolve": lambda a: np.convolve(a[0], a[1])[2] * np.correlate(a[1], a[2])[0],
}


@pytest.mark.parametrize("name", FACTORIZATIONS)
def test_factorizations_are_replayed(name: str) -> None:
    """At other matrices they are made anew; the decisions of their derivatives are guards."""

    def f(x: Any) -> Any:
        return FACTORIZATIONS[name](matrix(x))

    compiled = pyad.compile(f)
    rng = np.random.default_rng(4)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for x in rng.normal(scale=0.5, size=(25, 9)):
            value, slope = pyad.value_and_grad(f)(x)
            got = compiled.value_and_grad(x)
            np.testing.assert_allclose(got[0], value, rtol=1e-12)
            np.testing.assert_allclose(got[1], slope, rtol=1e-9, atol=1e-11)
            second = pyad.hessian(f)(x)
            found = compiled.hessian(x)
            np.testing.assert_allclose(found, second, rtol=1e-7, atol=1e-8 * np.abs(second).max())
            v = rng.normal(size=9)
            np.testing.assert_allclose(compiled.jvp((x,), (v,))[1], slope @ v, rtol=1e-8, atol=1e-9)
    assert compiled.stats()["recorded"] <= 25
    assert compiled.stats()["eager"] == 0


def caught_singular(a: Any) -> Any:
    try:
        return np.linalg.solve(a, np.ones(2)).sum() + np.linalg.cholesky(a).sum()
    except np.linalg.LinAlgError:
        return a.sum() * a[0, 0]


def signs(a: Any) -> Any:
    sign, log = np.linalg.slogdet(a)
    return log * a[0, 0] if sign > 0 else log + a.sum() if sign < 0 else a[1, 1] * 2


def ranks(a: Any) -> Any:
    return np.linalg.lstsq(np.stack([a[0], np.ones(2)], 1), a[1] ** 2)[0].sum()


@pytest.mark.filterwarnings("ignore:caught_singular is recorded")  # the ways of its exceptions
@pytest.mark.parametrize("f", [caught_singular, signs, ranks])
def test_operations_that_raise_in_a_replay(f: Any) -> None:
    """A matrix of another kind is another way, whether the function raises or deals with it."""
    compiled = pyad.compile(f)
    for x in np.random.default_rng(2).integers(-1, 3, size=(80, 2, 2)) * 1.0:
        expected = outcome(pyad.value_and_grad(f), x)
        for _ in range(2):
            got = outcome(compiled.value_and_grad, x)
            if isinstance(expected, type):
                assert got is expected
                assert outcome(compiled, x) is expected
            else:
                assert_close(got[0], expected[0])
                assert_close(got[1], expected[1], 1.0)
                assert_close(compiled(x), expected[0])
    stats = compiled.stats()
    assert stats["hits"] > (20 if f is caught_singular else 100)


def test_exceptions_in_the_middle() -> None:
    """What a call raises the next one does not remember."""

    def f(x: Any) -> Any:
        total = x[0] * 2.0
        for item in x:
            if item < -1:
                raise ValueError("below -1")
            total = total * item if item > 0 else total + item
            if item == 0:
                return total / 0
        return [total, x[5]][total > 3]

    def kind(g: Callable[..., Any], x: Any) -> Any:
        try:
            return g(x)
        except (ValueError, ZeroDivisionError, IndexError) as raised:
            return type(raised), str(raised)

    compiled = pyad.compile(f)
    raised = 0
    for x in np.random.default_rng(1).normal(size=(400, 3)).round(1):
        expected = kind(pyad.value_and_grad(f), x)
        got = kind(compiled.value_and_grad, x)
        raised += isinstance(expected[1], str)
        if isinstance(expected[1], str):
            assert got == expected
        else:
            assert_close(got[0], expected[0])
            assert_close(got[1], expected[1])
    assert 100 < raised < 390
    assert compiled.stats()["recordings"] < 20


# ---- random programs ---------------------------------------------------------------------------

UNARY = ("sin", "tanh", "exp", "square", "abs", "sqrt", "cos")
BINARY = ("add", "sub", "mul", "maximum", "minimum", "div")
TESTS = ("<", "<=", ">", "==", "!=", "truth", "int", "argmax")

STEP = st.one_of(
    st.tuples(st.sampled_from(UNARY), st.integers(0, 30)),
    st.tuples(st.sampled_from(BINARY), st.integers(0, 30), st.integers(0, 30)),
    st.tuples(st.just("constant"), st.sampled_from([0.0, 1.0, -1.0, 0.5, 2.0])),
    st.tuples(st.just("if"), st.sampled_from(TESTS), *[st.integers(0, 30)] * 4),
    st.tuples(st.just("while"), st.integers(0, 30), st.integers(1, 4)),
    st.tuples(st.just("array"), st.sampled_from(["sort", "mask", "cumsum", "dot", "assign"])),
)


def decide(test: str, a: Any, b: Any, values: list[Any]) -> bool:
    if test == "truth":
        return bool(a)
    if test == "int":
        return abs(a) < 100 and int(a) % 2 == 0
    if test == "argmax":
        return int(np.argmax(pnp.array(values[-3:]))) == 1
    answers = {"<": a < b, "<=": a <= b, ">": a > b, "==": a == b, "!=": a != b}
    return bool(answers[test])


def run(steps: list[Any], x: Any) -> Any:
    """A straight-line program of scalars with decisions and a few arrays."""
    values: list[Any] = [x[0], x[1], x[2]]

    def at(i: int) -> Any:
        return values[i % len(values)]

    for what, *given_ in steps:
        if what in UNARY:
            a = at(given_[0])
            result = getattr(pyad, what)(a if what not in ("exp", "square") else pyad.tanh(a))
        elif what in BINARY:
            a, b = at(given_[0]), at(given_[1])
            result = getattr(pyad, what)(a, b)
        elif what == "constant":
            result = given_[0]
        elif what == "if":
            test, a, b, yes, no = given_
            result = at(yes) * 1.5 if decide(test, at(a), at(b), values) else at(no) + 0.25
        elif what == "while":
            result, turns = at(given_[0]), 0
            while abs(result) > 0.5 and turns < given_[1]:
                result, turns = result * 0.5, turns + 1
        else:
            result = arrays(given_[0], pnp.array(values[-3:]))
        values.append(result)
    return sum(0.5 ** (i % 3) * value for i, value in enumerate(values))


def arrays(what: str, a: Any) -> Any:
    if what == "sort":
        return np.sort(a)[1]
    if what == "mask":
        return a[a > 0].sum()
    if what == "cumsum":
        return np.cumsum(a)[-1] * 0.5
    if what == "dot":
        return a @ a * 0.1
    b = a.copy()
    b[0] = b[1] * b[2]
    b[b < 0] = -0.5
    return b.sum()


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@settings(max_examples=150, deadline=None)
@given(st.lists(STEP, min_size=1, max_size=25), st.integers(0, 2**32 - 1))
def test_random_programs(steps: list[Any], seed: int) -> None:
    rng = np.random.default_rng(seed)
    compiled = pyad.compile(lambda x: run(steps, x))
    for x in rng.normal(size=(12, 3)).round(rng.integers(0, 6)):
        value, slope = pyad.value_and_grad(lambda x: run(steps, x))(x)
        got = compiled.value_and_grad(x)
        assert_close(got[0], value)
        assert_close(got[1], slope)
        if not np.isfinite(slope).all():
            continue
        v = rng.normal(size=3)
        product = pyad.hvp(lambda x: run(steps, x), x, v)
        if np.isfinite(product).all() and np.abs(product).max() < 1e6:
            np.testing.assert_allclose(compiled.hvp(x, v), product, rtol=1e-9, atol=1e-9)
