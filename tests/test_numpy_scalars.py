"""Variables under NumPy: ufuncs on them and on object arrays of them, mixed with float arrays."""

from __future__ import annotations

import operator
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import pytest

import pyad

Unchanged = Callable[..., AbstractContextManager[None]]

ROWS = [row for row in pyad.operations() if row.numpy]
NAMES = {row.numpy: row.name for row in ROWS}
NAMES |= {"fabs": "abs", "deg2rad": "radians", "rad2deg": "degrees", "float_power": "pow"}
UNARY = [name for name in NAMES if getattr(np, name).nin == 1]
BINARY = [name for name in NAMES if getattr(np, name).nin == 2]
POINTS = np.array([0.3, 0.6])
ABOVE_ONE = POINTS + 1.5


def points(name: str) -> Any:
    return ABOVE_ONE if name == "arccosh" else POINTS


def values(results: Any) -> list[float]:
    return [float(getattr(x, "value", x)) for x in np.ravel(results)]


def objects(numbers: Any) -> tuple[list[pyad.Var], Any]:
    """Leaves of these values, and the object array of them."""
    xs = pyad.vars(np.ravel(numbers))
    return xs, np.array(xs, dtype=object).reshape(np.shape(numbers))


# ---- ufuncs ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", UNARY)
def test_unary_ufuncs(name: str) -> None:
    ufunc, function, a = getattr(np, name), getattr(pyad, NAMES[name]), points(name)
    xs, array = objects(a)
    result = ufunc(array)
    assert result.shape == a.shape
    np.testing.assert_allclose(values(result), ufunc(a), rtol=4e-16)
    one = ufunc(xs[0])
    assert type(one) is pyad.Var
    assert one.value == function(a[0])
    slope = pyad.gradient(function(xs[0]), xs[0], retain_graph=True)
    assert getattr(xs[0], name)().value == one.value
    assert pyad.gradient(one, xs[0]) == slope
    if isinstance(result[0], pyad.Var):  # NumPy's own loops over objects give ints for floor
        _, array = objects(a)
        assert pyad.gradient(ufunc(array)[0], array[0]) == slope
    else:
        assert slope == 0.0


@pytest.mark.parametrize("name", BINARY)
def test_binary_ufuncs(name: str) -> None:
    ufunc, function = getattr(np, name), getattr(pyad, NAMES[name])
    x, y = pyad.var(0.3), pyad.var(0.7)
    want = ufunc(0.3, 0.7)
    for left, right in ((x, y), (x, 0.7), (0.3, y), (x, np.float64(0.7)), (np.float64(0.3), y)):
        result = ufunc(left, right)
        assert type(result) is pyad.Var
        assert abs(result.value - want) <= 4e-16
    slopes = pyad.gradient(function(x, y), [x, y])
    assert pyad.gradient(ufunc(x, y), [x, y]) == slopes
    np.testing.assert_allclose(values(ufunc(POINTS, y)), ufunc(POINTS, 0.7), rtol=4e-16)
    np.testing.assert_allclose(values(ufunc(x, POINTS)), ufunc(0.3, POINTS), rtol=4e-16)
    assert getattr(x, NAMES[name])(y).value == pytest.approx(want, abs=4e-16)
    assert ufunc(np.array(0.3), y).value == pytest.approx(want, abs=4e-16)
    if "OO->O" not in ufunc.types:  # NumPy asks no element of two arrays
        return
    left, right = objects(POINTS)[1], objects(POINTS[:, None])[1]
    grid = ufunc(left, right)
    assert grid.shape == (2, 2)
    np.testing.assert_allclose(values(grid), ufunc(POINTS, POINTS[:, None]).ravel(), rtol=4e-16)


@pytest.mark.parametrize("name", BINARY)
def test_methods_of_binary_ufuncs(name: str, unchanged: Unchanged) -> None:
    ufunc = getattr(np, name)
    x = pyad.var(0.7)
    assert ufunc.reduce(x) is x
    outer = ufunc.outer(POINTS, x)
    np.testing.assert_allclose(values(outer), ufunc.outer(POINTS, 0.7), rtol=4e-16)
    assert ufunc.outer(x, np.ones((2, 3))).shape == (2, 3)
    result = np.zeros(2, dtype=object)
    assert ufunc(x, POINTS, out=result) is result
    assert type(result[0]) is pyad.Var
    with unchanged(x), pytest.raises(pyad.Error, match=r"x\.detach\(\)"):
        ufunc(x, POINTS, out=np.zeros(2))
    into = np.zeros(2)
    ufunc(x.detach(), POINTS, out=into)
    np.testing.assert_allclose(into, ufunc(0.7, POINTS), rtol=4e-16)


def test_at() -> None:
    x = pyad.var(2.0)
    total = np.zeros(2, dtype=object)
    np.add.at(total, [0, 0, 1], x)
    assert values(total) == [4.0, 2.0]
    assert pyad.gradient(total[0], x) == 2.0
    floats = np.zeros(2)
    with pytest.raises(pyad.Error, match="losing its derivative"):
        np.add.at(floats, 0, x)
    np.add.at(floats, 0, x.detach())
    assert floats.tolist() == [2.0, 0.0]


def test_where_keyword() -> None:
    _, array = objects(POINTS)
    out = np.array([None, None])
    np.exp(array, out=out, where=np.array([True, False]))
    assert type(out[0]) is pyad.Var
    assert out[1] is None


@pytest.mark.parametrize("ufunc", [np.spacing, np.nextafter, np.gcd, np.bitwise_and, np.isnat])
def test_ufuncs_without_support_say_so(ufunc: Any, unchanged: Unchanged) -> None:
    x = pyad.var(2.0)
    calls: list[Callable[[], Any]] = [lambda: ufunc(*[x] * ufunc.nin)]
    if ufunc.nin == 2:
        calls += [lambda: ufunc(POINTS, x), lambda: ufunc.reduce(x), lambda: ufunc.outer(x, 1.0)]
    for call in calls:
        with unchanged(x), pytest.raises(TypeError, match=r"compose it of functions of pyad"):
            call()


def test_ufuncs_beyond_the_table_take_variables() -> None:
    x = pyad.var(2.5)
    step = np.heaviside(x - 2.5, x)
    assert (step.value, pyad.gradient(step, x)) == (2.5, 1.0)
    fraction, whole = np.modf(x)
    assert (fraction.value, whole.value) == (0.5, 2.0)
    assert pyad.gradient(fraction + 3.0 * whole, x) == 1.0
    mantissa, exponent = np.frexp(x)
    assert (mantissa.value, exponent) == np.frexp(2.5)
    assert pyad.gradient(mantissa, x) == 0.25
    assert pyad.gradient(np.ldexp(x, 3), x) == 8.0
    two = np.logaddexp2(x, 1.0)
    assert two.value == pytest.approx(np.logaddexp2(2.5, 1.0), rel=1e-15)
    assert pyad.gradient(two, x) == pytest.approx(1 / (1 + 2**-1.5), rel=1e-15)


def test_questions_and_comparisons_answer_by_value() -> None:
    x = pyad.var(np.nan)
    assert np.isnan(x)
    assert not np.isfinite(x)
    assert np.isinf(pyad.var(-np.inf))
    assert np.signbit(pyad.var(-0.0))
    y = pyad.var(0.5)
    for compare in (np.less, np.less_equal, np.equal, np.not_equal, np.greater, np.greater_equal):
        answer = compare(POINTS, y)
        assert answer.dtype == bool
        assert answer.tolist() == compare(POINTS, 0.5).tolist()
        assert compare(x, POINTS).tolist() == compare(np.nan, POINTS).tolist()
        out = np.empty(2, dtype=bool)
        assert compare(y, POINTS, out=out) is out
    assert np.logical_and(y, 1.0) is np.True_
    assert np.logical_or(0.0, y) is np.True_
    assert np.logical_not(y) is np.False_
    assert np.all(y)
    assert (y == np.array(["a", None], dtype=object)).tolist() == [False, False]


# ---- operators with arrays ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "apply",
    [
        *(operator.add, operator.sub, operator.mul, operator.truediv, operator.floordiv),
        *(operator.mod, operator.pow, divmod),
    ],
)
@pytest.mark.parametrize("dtype", [float, np.float32, int, bool, object])
def test_operators_with_arrays(apply: Callable[[Any, Any], Any], dtype: Any) -> None:
    x = pyad.var(2.5)
    floats = np.array([[1, 1], [1, 1]])
    array = floats.astype(dtype)
    for got, want in ((apply(x, array), apply(2.5, floats)), (apply(array, x), apply(floats, 2.5))):
        parts = (got, want) if isinstance(got, tuple) else ((got,), (want,))
        for part, expected in zip(*parts, strict=True):
            assert type(part) is (np.ndarray if dtype is object else pyad.Array)
            np.testing.assert_allclose(values(part), np.ravel(expected))
            assert np.shape(part) == np.shape(expected)


def test_object_arrays_join_computations_of_arrays() -> None:
    xs, boxed = objects(POINTS)
    a = pyad.array([2.0, 3.0])
    for joined in (boxed + a, a + boxed, np.add(boxed, a), a.copy()):
        assert type(joined) is pyad.Array
    for make in (lambda: boxed * a, lambda: a * boxed, lambda: np.stack([boxed, a]).prod(axis=0)):
        y = make()
        np.testing.assert_array_equal(y.value, POINTS * [2.0, 3.0])
        slopes = pyad.gradient(np.sum(y), [a, *xs])
        np.testing.assert_allclose(slopes[0], POINTS)
        np.testing.assert_allclose(slopes[1:], [2.0, 3.0])
    y = a.copy()
    y[...] = boxed
    assert pyad.gradient(y[1], xs) == [0.0, 1.0]
    total = np.dot(a, boxed) + a @ boxed + boxed @ a
    assert pyad.gradient(total, xs[0]) == 6.0


def test_in_place_operators() -> None:
    x = pyad.var(2.0)
    array = np.array([1.0, 2.0], dtype=object)
    array *= x
    assert pyad.gradient(array[1], x) == 2.0
    floats = np.array([1.0, 2.0])
    with pytest.raises(pyad.Error, match=r"pyad\.numpy\.zeros"):
        floats *= x
    assert floats.tolist() == [1.0, 2.0]
    floats *= x.detach()
    assert floats.tolist() == [2.0, 4.0]


def test_a_numpy_scalar_on_the_left_gives_a_variable() -> None:
    x = pyad.var(3.0)
    for number in (np.float64(2), np.float32(2), np.int64(2), np.uint8(2), np.bool_(True)):
        for y in (number * x, number + x, number - x, number / x, number**x):
            assert type(y) is pyad.Var
    assert pyad.gradient(np.float64(2.0) * x, x) == 2.0


# ---- functions of NumPy ------------------------------------------------------------------------

MATRIX = np.array([[1.0, 2.0], [3.0, 5.0]])
FUNCTIONS: dict[str, Callable[[Any], Any]] = {
    "sum": np.sum,
    "sum axis": lambda a: np.sum(a, axis=0),
    "method": lambda a: a.sum(axis=1),
    "mean": np.mean,
    "prod": np.prod,
    "cumsum": np.cumsum,
    "cumprod": lambda a: np.cumprod(a, axis=1),
    "var": np.var,
    "std": np.std,
    "max": lambda a: np.max(a, axis=0),
    "min": np.min,
    "median": np.median,
    "sort": np.sort,
    "dot": lambda a: np.dot(a, MATRIX),
    "dot vector": lambda a: np.dot(a[0], a[1]),
    "matmul": lambda a: a @ MATRIX,
    "rmatmul": lambda a: MATRIX @ a,
    "vdot": lambda a: np.inner(a, a),
    "outer": lambda a: np.outer(a[0], MATRIX[0]),
    "trace": np.trace,
    "diff": np.diff,
    "norm": np.linalg.norm,
    "stack": lambda a: np.stack([a, MATRIX]),
    "where": lambda a: np.where(MATRIX > 2, a, 0.0),
    "einsum": lambda a: np.einsum("ij,jk->ik", a, MATRIX),
    "polynomial": lambda a: np.polyval([2.0, 3.0, 4.0], a),
    "round": lambda a: np.round(a, 1),
    "clip": lambda a: np.clip(a, 1.5, 4.0),
    "accumulate": np.add.accumulate,
    "reduceat": lambda a: np.add.reduceat(a, [0, 1]),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_on_arrays_of_variables(name: str) -> None:
    function = FUNCTIONS[name]
    xs, array = objects(MATRIX)
    got, want = function(array), function(MATRIX)
    assert np.shape(got) == np.shape(want)
    np.testing.assert_allclose(values(got), np.ravel(want), rtol=1e-15)
    step = 1e-6
    for k, y in enumerate(np.ravel(got)):
        if not isinstance(y, pyad.Var):
            continue
        slopes = pyad.gradient(y, xs, retain_graph=True)
        for j in range(4):
            shift = np.zeros(4)
            shift[j] = step
            above, below = (function(MATRIX + s * shift.reshape(2, 2)) for s in (1, -1))
            slope = (np.ravel(above)[k] - np.ravel(below)[k]) / (2 * step)
            assert name == "round" or abs(slopes[j] - slope) < 1e-7


def test_reductions_of_one_variable() -> None:
    x = pyad.var(2.0)
    for reduction in (np.sum, np.prod, np.max, np.min, np.mean):
        y = reduction(x)
        assert type(y) is pyad.Var
        assert (y.value, pyad.gradient(y, x)) == (2.0, 1.0)


def test_what_fails_fails_clearly(unchanged: Unchanged) -> None:
    xs, array = objects(MATRIX)
    with unchanged(*xs):
        for wrong in (np.linalg.solve, np.linalg.inv, np.linalg.eig):
            with pytest.raises(TypeError):
                wrong(*[array] * (2 if wrong is np.linalg.solve else 1))
        for losing in (np.float64, lambda a: np.array(a, float), lambda a: a.astype(float)):
            with pytest.raises(pyad.Error, match="losing its derivative"):
                losing(array)
    y = np.interp(xs[0] / 2, [0.0, 1.0], [0.0, 3.0])
    assert pyad.gradient(y, xs[0]) == 1.5


# ---- pyad's functions on arrays ----------------------------------------------------------------


@pytest.mark.parametrize(
    "array",
    [
        *(np.array([0.1, 0.2]), np.array(0.5), np.empty(0), np.empty((2, 0)), np.array([1, 2])),
        *(np.array([True, False]), np.float32([0.5, 0.25]), np.arange(12.0)[::3]),
        *(np.arange(6.0).reshape(2, 3).T, np.asfortranarray(np.ones((2, 3))), np.ones((1, 2, 3))),
    ],
    ids=lambda a: f"{a.dtype}{a.shape}",
)
def test_functions_on_arrays_of_numbers(array: Any) -> None:
    for got, want in (
        (pyad.exp(array), np.exp(array.astype(float))),
        (pyad.atan2(array, 0.5), np.arctan2(array.astype(float), 0.5)),
        (pyad.maximum(0.3, array), np.maximum(0.3, array.astype(float))),
    ):
        assert isinstance(got, np.ndarray)
        assert got.dtype == np.float64
        np.testing.assert_allclose(got, want, rtol=4e-16)
        assert np.shape(got) == np.shape(want)


def test_functions_on_lists_and_broadcast_arrays() -> None:
    assert pyad.square([1, 2.0, 3]).tolist() == [1.0, 4.0, 9.0]
    column, row = np.array([[1.0], [2.0]]), np.array([3.0, 4.0, 5.0])
    np.testing.assert_array_equal(pyad.hypot(column, row), np.hypot(column, row))
    x = pyad.var(2.0)
    mixed = pyad.exp([1.0, x, np.bool_(True)])
    assert mixed.dtype == object
    assert pyad.gradient(mixed[1], x) == np.exp(2.0)
    assert pyad.pow(row, x).shape == (3,)
    assert x.pow(row).shape == (3,)
    with pytest.raises(ValueError, match="broadcast"):
        pyad.hypot(np.ones(2), np.ones(3))


@pytest.mark.parametrize(
    "thing",
    [
        *("a", b"a", None, {}, set(), object(), 1j, np.array([1j]), np.array(["a"]), [[1.0], 2.0]),
        *(["a", 1.0], [None], np.array([object()]), (i for i in [1]), np.datetime64("2020-01-01")),
    ],
    ids=repr,
)
def test_functions_refuse_what_is_no_number(thing: Any, unchanged: Unchanged) -> None:
    x = pyad.var(0.5)
    with unchanged(x):
        for call in (
            lambda: pyad.sin(thing),
            lambda: pyad.atan2(x, thing),
            lambda: pyad.atan2(thing, x),
            lambda: x.atan2(thing),
            lambda: pyad.exp([x, thing]),
            lambda: pyad.where(True, x, thing),
            lambda: pyad.clip(x, 0.0, "a" if thing is None else thing),
            lambda: pyad.clip(x, "a" if thing is None else thing),
        ):
            with pytest.raises(TypeError):
                call()
