"""Transforms: structure of arguments and results, nesting to any order, properties, errors."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import pyad
from pyad.demo.lotka_volterra import read_table, residual_sum_of_squares

FLOATS = st.floats(-2.0, 2.0)


class Pair(NamedTuple):
    a: Any
    b: Any


def rosenbrock(x: Any) -> Any:
    total = 0.0
    for i in range(len(x) - 1):
        total = total + 100.0 * (x[i + 1] - x[i] ** 2) ** 2 + (1.0 - x[i]) ** 2
    return total


def branching(x: Any) -> Any:
    """Loops and branches over a list of numbers."""
    total = x[0] * 0.5
    for i, a in enumerate(x):
        if a > total:
            total = pyad.sin(total) * a + i
        else:
            total = total * a - pyad.exp(-a * a) + pyad.hypot(total, a + 3.0)
    return total


# ---- arguments and results ---------------------------------------------------------------


def test_gradient_has_the_structure_of_the_argument() -> None:
    assert pyad.grad(lambda x: x * x)(3.0) == 6.0
    assert pyad.grad(lambda x: x * x)(3) == 6.0
    assert pyad.grad(lambda p: p[0] * p[1][0])([2.0, (3.0, 4.0)]) == [3.0, (2.0, 0.0)]
    assert pyad.grad(lambda p: p["a"] * p["b"])({"a": 2.0, "b": 5}) == {"a": 5.0, "b": 2.0}
    assert pyad.grad(lambda p: p.a * p.b)(Pair(2.0, 3.0)) == Pair(3.0, 2.0)
    gradient = pyad.grad(lambda x: np.sum(x * x))(np.arange(6.0).reshape(2, 3))
    assert gradient.dtype == float
    np.testing.assert_array_equal(gradient, 2 * np.arange(6.0).reshape(2, 3))


@pytest.mark.parametrize("shape", [(), (0,), (1,), (2, 0, 3), (2, 3)])
def test_gradient_of_arrays_of_every_shape(shape: tuple[int, ...]) -> None:
    x = np.ones(shape)
    gradient = pyad.grad(lambda x: 1.0 * np.sum(x * 3.0))(x)
    assert isinstance(gradient, np.ndarray)
    assert gradient.shape == shape
    assert np.all(gradient == 3.0)


def test_argnums() -> None:
    def f(x: Any, y: Any, scale: float = 1.0) -> Any:
        return scale * x * y**2

    assert pyad.grad(f, 1)(2.0, 3.0) == 12.0
    assert pyad.grad(f, argnum=1)(2.0, 3.0) == 12.0
    assert pyad.grad(f, (0, 1))(2.0, 3.0) == (9.0, 12.0)
    assert pyad.grad(f, -1)(2.0, 3.0) == 12.0
    assert pyad.value_and_grad(f)(2.0, 3.0, scale=2.0) == (36.0, 18.0)


def test_aux_is_passed_through_without_derivatives() -> None:
    def f(x: Any) -> Any:
        return x * x, {"twice": 2 * x, "text": "kept"}

    assert pyad.grad(f, has_aux=True)(3.0) == (6.0, {"twice": 6.0, "text": "kept"})
    assert pyad.value_and_grad(f, has_aux=True)(3.0) == ((9.0, {"twice": 6.0, "text": "kept"}), 6.0)


def test_function_may_assign_into_its_argument() -> None:
    def f(x: Any) -> Any:
        x[0] = x[0] * x[1]
        return x[0] * x[0]

    given = np.array([2.0, 3.0])
    np.testing.assert_array_equal(pyad.grad(f)(given), [36.0, 24.0])
    assert given.tolist() == [2.0, 3.0]
    listed = [2.0, 3.0]
    assert pyad.grad(f)(listed) == [36.0, 24.0]
    assert listed == [2.0, 3.0]


def test_function_that_does_not_depend_on_its_argument() -> None:
    assert pyad.grad(lambda x: 5.0)(1.0) == 0.0
    assert pyad.value_and_grad(lambda x: 5)([1.0, 2.0]) == (5.0, [0.0, 0.0])
    assert pyad.hessian(lambda x: 1.0)(2.0) == 0.0
    np.testing.assert_array_equal(pyad.jacobian(lambda x: [1.0, x[0]])(np.ones(2))[0], [0.0, 0.0])


def test_jacobian_structures() -> None:
    def f(x: Any) -> Any:
        return {"sum": x[0] + x[1], "all": [x[0] * x[1], np.array([x[0], 3 * x[1]])]}

    jacobian = pyad.jacobian(f)(np.array([2.0, 3.0]))
    np.testing.assert_array_equal(jacobian["sum"], [1.0, 1.0])
    np.testing.assert_array_equal(jacobian["all"][0], [3.0, 2.0])
    np.testing.assert_array_equal(jacobian["all"][1], [[1.0, 0.0], [0.0, 3.0]])
    assert pyad.jacobian(lambda x: [x[0] * x[1], x[1]])([2.0, 3.0]) == [[3.0, 2.0], [0.0, 1.0]]


@pytest.mark.parametrize("mode", [pyad.jacobian, pyad.jacfwd, pyad.jacrev])
def test_jacobian_of_a_linear_map_is_its_matrix(mode: Callable[..., Any]) -> None:
    rng = np.random.default_rng(0)
    for shape in [(3, 20), (20, 3), (1, 1), (9, 9)]:
        matrix = rng.normal(size=shape)
        np.testing.assert_allclose(
            mode(lambda x, m=matrix: m @ x)(np.ones(shape[1])), matrix, rtol=1e-15
        )


# ---- nesting ---------------------------------------------------------------


def test_nested_calls_do_not_confuse_two_variables() -> None:
    assert pyad.grad(lambda x: x * pyad.grad(lambda y: x + y)(1.0))(5.0) == 1.0
    assert pyad.grad(lambda x: x * pyad.jvp(lambda y: x + y, (1.0,), (1.0,))[1])(5.0) == 1.0
    assert pyad.jvp(lambda x: x * pyad.grad(lambda y: x * y)(1.0), (5.0,), (1.0,)) == (25.0, 10.0)


@pytest.mark.parametrize("outer", ["grad", "jvp", "jacfwd", "jacrev", "derivative", "vjp"])
@pytest.mark.parametrize("inner", ["grad", "jvp", "jacfwd", "jacrev", "derivative", "vjp"])
def test_every_mode_over_every_mode(outer: str, inner: str) -> None:
    modes: dict[str, Callable[..., Any]] = {
        "grad": pyad.grad,
        "jvp": lambda f: lambda x: pyad.jvp(f, (x,), (1.0,))[1],
        "jacfwd": pyad.jacfwd,
        "jacrev": pyad.jacrev,
        "derivative": pyad.derivative,
        "vjp": lambda f: lambda x: pyad.vjp(f, x)[1](1.0)[0],
    }

    def f(x: Any) -> Any:
        return pyad.exp(pyad.sin(x)) * x**3

    expected = mpmath.diff(lambda x: mpmath.exp(mpmath.sin(x)) * x**3, 0.7, 2)
    assert modes[outer](modes[inner](f))(0.7) == pytest.approx(float(expected), rel=1e-13)


@pytest.mark.parametrize("order", range(11))
def test_derivatives_of_high_order(order: int) -> None:
    with mpmath.workdps(60):
        expected = mpmath.diff(lambda x: mpmath.exp(mpmath.sin(x)), mpmath.mpf(0.7), order)
    found = pyad.derivative(lambda x: pyad.exp(pyad.sin(x)), order)(0.7)
    assert found == pytest.approx(float(expected), rel=1e-12)


def test_gradients_of_gradients() -> None:
    f: Callable[..., Any] = lambda x: x**6  # noqa: E731  (wrapped again and again)
    expected = 2.0**6
    for order in range(5):
        assert f(2.0) == pytest.approx(expected)
        expected *= (6 - order) / 2.0
        f = pyad.grad(f)


def test_gradient_within_a_users_recording_carries_on() -> None:
    w = pyad.var(3.0)
    u = w * 2.0
    slope = pyad.grad(lambda x: u * x * x)(5.0)
    assert slope.value == 60.0
    slope.backward()
    assert w.grad == 20.0


def test_gradient_without_outside_variables_leaves_a_recording_alone() -> None:
    w = pyad.var(3.0)
    u = w * 2.0
    length = len(u.tape)
    assert pyad.grad(lambda x: x * x)(5.0) == 10.0
    assert len(u.tape) == length
    u.backward()
    assert w.grad == 2.0


def test_variables_of_a_transform_that_has_returned_are_stale() -> None:
    kept: list[Any] = []

    def f(x: Any) -> Any:
        kept.append(x * x)
        return kept[-1]

    pyad.grad(f)(3.0)
    with pytest.raises(pyad.Error, match="recording that has ended"):
        kept[0] + 1.0


def test_exception_in_the_function_leaves_everything_as_it_was() -> None:
    w = pyad.var(3.0)
    u = w * 2.0
    length = len(u.tape)

    def fails(x: Any) -> Any:
        y = x * u
        raise KeyError(y.value)

    for transform in (pyad.grad, pyad.jacobian, pyad.hessian, pyad.derivative):
        with pytest.raises(KeyError):
            transform(fails)(2.0)
        assert len(u.tape) == length
    assert pyad.gradient(u, w) == 2.0


def test_transforms_work_inside_no_grad() -> None:
    w = pyad.var(3.0)
    with pyad.no_grad():
        assert pyad.grad(lambda x: w.value * x * x)(5.0) == 30.0
        assert pyad.grad(lambda x: w * x * x)(5.0) == 30.0
        assert not (w * 2.0).requires_grad


# ---- properties ---------------------------------------------------------------


@given(st.lists(FLOATS, min_size=1, max_size=6))
def test_forward_equals_reverse(x: list[float]) -> None:
    backward = pyad.grad(branching)(x)
    forward = [
        pyad.jvp(branching, (x,), ([float(i == j) for j in range(len(x))],))[1]
        for i in range(len(x))
    ]
    assert backward == pytest.approx(forward, rel=1e-12, abs=1e-12)
    np.testing.assert_allclose(pyad.jacfwd(branching)(x), pyad.jacrev(branching)(x), atol=1e-12)


@given(st.lists(FLOATS, min_size=2, max_size=5), st.integers(0, 2**32))
def test_hessian_vector_product_is_hessian_times_vector(x: list[float], seed: int) -> None:
    v = np.random.default_rng(seed).normal(size=len(x))
    point = np.array(x)
    hessian = pyad.hessian(rosenbrock)(point)
    np.testing.assert_allclose(hessian, hessian.T, rtol=1e-12, atol=1e-9)
    np.testing.assert_allclose(pyad.hvp(rosenbrock, point, v), hessian @ v, rtol=1e-10, atol=1e-8)
    nested = pyad.jacobian(pyad.grad(rosenbrock))(point)
    np.testing.assert_allclose(hessian, nested, rtol=1e-12, atol=1e-9)


@given(st.lists(FLOATS, min_size=2, max_size=4))
def test_order_of_nesting_commutes(x: list[float]) -> None:
    point = np.array(x)

    def f(x: Any) -> Any:
        return branching(list(x)) + rosenbrock(x)

    forward_over_reverse = pyad.jacfwd(pyad.grad(f))(point)
    reverse_over_forward = pyad.jacrev(pyad.jacfwd(f))(point)
    native = pyad.hessian(f)(point)
    np.testing.assert_allclose(forward_over_reverse, reverse_over_forward, rtol=1e-9, atol=1e-7)
    np.testing.assert_allclose(native, reverse_over_forward, rtol=1e-9, atol=1e-7)


def test_pullback_is_the_transpose() -> None:
    def f(x: Any, y: Any) -> Any:
        return np.array([x[0] * y, pyad.sin(x[1]), x[0] - y])

    x, y = np.array([0.5, 2.0]), 1.5
    value, pullback = pyad.vjp(f, x, y)
    cotangent = np.array([1.0, 2.0, 3.0])
    jacobian = pyad.jacobian(f, (0, 1))(x, y)
    np.testing.assert_allclose(value, [0.75, np.sin(2.0), -1.0])
    np.testing.assert_allclose(pullback(cotangent)[0], cotangent @ jacobian[0])
    assert pullback(cotangent)[1] == pytest.approx(cotangent @ jacobian[1])
    assert pullback(cotangent)[1] == pullback(cotangent)[1]


def test_make_jvp_make_vjp_make_hvp() -> None:
    assert pyad.make_jvp(lambda x: x**2)(3.0)(2.0) == (9.0, 12.0)
    pullback, value = pyad.make_vjp(lambda x: x**2)(3.0)
    assert (value, pullback(1.0)) == (9.0, 6.0)
    product, gradient = pyad.make_hvp(lambda x: x**3)(2.0)
    assert (product(1.0), gradient) == (12.0, 12.0)
    assert pyad.hessian_vector_product(lambda x, y: x**3 * y)(2.0, 5.0, 1.0) == 60.0


def test_lotka_volterra_hessian_against_high_precision() -> None:
    table = read_table()
    point = [np.log(p) for p in (0.54, 0.027, 0.8, 0.024, 34.0, 5.9)]

    def f(*p: Any) -> Any:
        return residual_sum_of_squares(p, table, mpmath)

    hessian = pyad.hessian(lambda p: residual_sum_of_squares(p, table, pyad.math))(np.array(point))
    with mpmath.workdps(40):
        h = mpmath.mpf(10) ** -9
        for i, j in [(0, 0), (1, 4), (2, 5), (3, 3)]:
            shifted = []
            for a, b in [(1, 1), (1, -1), (-1, 1), (-1, -1)]:
                p = [mpmath.mpf(x) for x in point]
                p[i] += a * h
                p[j] += b * h
                shifted.append(f(*p))
            entry = (shifted[0] - shifted[1] - shifted[2] + shifted[3]) / (4 * h * h)
            assert hessian[i, j] == pytest.approx(float(entry), rel=1e-10)


# ---- errors ---------------------------------------------------------------


def bad_calls() -> dict[str, tuple[Callable[[], Any], str]]:
    """Calls that are refused, and what the message says."""
    return {
        "a list for a scalar": (lambda: pyad.grad(lambda x: [x])(1.0), "returned list: use jac"),
        "no result": (lambda: pyad.grad(lambda x: None)(1.0), "returned NoneType"),
        "a string argument": (lambda: pyad.grad(lambda x: x)("1"), "not str"),
        "no such argument": (lambda: pyad.grad(lambda x: x, 3)(1.0), "names argument 3"),
        "bad argnums": (lambda: pyad.grad(lambda x: x, "x"), "position of an argument"),
        "no aux": (lambda: pyad.grad(lambda x: x, has_aux=True)(1.0), "pair"),
        "bad order": (lambda: pyad.derivative(lambda x: x, -1), "whole number"),
        "derivative of two": (lambda: pyad.derivative(lambda x: x[0])([1.0, 2.0]), "more than one"),
        "short tangent": (
            lambda: pyad.jvp(lambda x: x, ([1.0, 2.0],), ([1.0],)),
            "must have the shape",
        ),
        "no tuple": (lambda: pyad.jvp(lambda x: x, 1.0, 1.0), "tuple of primals"),
        "short vector": (lambda: pyad.hvp(rosenbrock, [1.0, 2.0], [1.0]), "must have the shape"),
        "long cotangent": (
            lambda: pyad.vjp(lambda x: x, 1.0)[1]([1.0, 2.0]),
            "must have the shape",
        ),
        "an argument twice": (lambda: pyad.grad(lambda a: a, (0, -1))(3.0), "twice"),
        "other keys": (
            lambda: pyad.hvp(lambda d: d["a"] ** 2, {"a": 1.0}, {"b": 1.0}),
            "must have the shape",
        ),
        "clearing": (
            lambda: pyad.grad(lambda x: pyad.current_tape().clear() or x)(1.0),
            "transform",
        ),
        "given partials": (
            lambda: pyad.hessian(lambda x: pyad.from_partials(x.value**2, [x], [2 * x.value]))(3.0),
            "no second derivative",
        ),
    }


@pytest.mark.parametrize("case", bad_calls())
def test_what_is_refused(case: str) -> None:
    call, message = bad_calls()[case]
    with pytest.raises(pyad.Error, match=message):
        call()


# ---- found by breaking it ----------------------------------------------------------------


def test_dicts_are_matched_by_key() -> None:
    def f(d: Any) -> Any:
        return d["a"] * d["b"] + d["a"] ** 2

    found = pyad.hvp(f, {"a": 1.0, "b": 2.0}, {"b": 1.0, "a": 0.0})
    assert found == {"a": 1.0, "b": 0.0}
    assert pyad.jvp(f, ({"a": 1.0, "b": 2.0},), ({"b": 0.0, "a": 1.0},))[1] == 4.0
    assert pyad.vjp(lambda t: {"a": t, "b": 5 * t}, 2.0)[1]({"b": 0.0, "a": 1.0}) == (1.0,)


@pytest.mark.parametrize("transform", [pyad.grad, pyad.derivative, pyad.jacobian, pyad.hessian])
def test_variable_of_another_tape_is_refused(transform: Callable[..., Any]) -> None:
    y = pyad.var(2.0) ** 2
    with pyad.Tape(), pytest.raises(pyad.Error, match="another tape"):
        transform(lambda a: a**3)(y)


def test_pullback_of_an_ended_recording_is_stale() -> None:
    w = pyad.var(3.0)
    value, pullback = pyad.vjp(lambda x: w * x * x, 5.0)
    value.backward()
    z = w
    for _ in range(30):
        z = pyad.sin(z) * w
    with pytest.raises(pyad.Error, match="recording that has ended"):
        pullback(1.0)


@pytest.mark.parametrize("transform", [pyad.grad, pyad.derivative, pyad.jacobian, pyad.hessian])
def test_stale_result_is_no_constant(transform: Callable[..., Any]) -> None:
    def f(x: Any) -> Any:
        leak: list[Any] = []
        pyad.grad(lambda y: (leak.append(x * y), x * y)[1])(2.0)
        return leak[0]

    with pytest.raises(pyad.Error, match="recording that has ended"):
        transform(f)(3.0)


def test_backward_within_a_transform_keeps_the_derivative() -> None:
    def f(x: Any) -> Any:
        p = pyad.var(2.0)
        (p * p * x).backward()
        return p.grad * 1.0

    assert pyad.grad(f)(3.0) == 4.0


def test_gradient_of_a_leaf_is_no_leaf() -> None:
    with pytest.raises(pyad.Error):
        pyad.var(1.0).grad = pyad.var(2.0)


def test_recorded_second_derivatives_at_the_ends_of_a_domain() -> None:
    assert pyad.derivative(pyad.tanh, 3)(720.0) == 0.0
    for f in (pyad.log, pyad.sqrt, pyad.log2):
        assert np.isnan(pyad.grad(pyad.grad(f))(-3.0))


@pytest.mark.parametrize(
    "f", [pyad.log, pyad.sqrt, pyad.log2, pyad.log10], ids=lambda f: f.__name__
)
@pytest.mark.parametrize("zero", [0.0, -0.0])
def test_recorded_derivatives_of_every_order_at_the_end_of_a_domain(f: Any, zero: float) -> None:
    derivatives = [pyad.derivative(f, n)(zero) for n in (1, 2, 3, 4)]
    assert derivatives == [np.inf, -np.inf, np.inf, -np.inf]
    assert pyad.grad(pyad.grad(lambda x: f(x - 1.0)))(1.0) == -np.inf
    assert pyad.hessian(f)(zero) == -np.inf
    assert all(np.isnan(pyad.derivative(f, n)(-3.0)) for n in (1, 2, 3, 4))


POINTS = [-2.0, -1.0, -0.5, -0.0, 0.0, 0.5, 1.0, 2.0, 3.0]
"""Zeros, ties, whole numbers: where partials of the operations are chosen by the value."""


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize(
    "row", [row for row in pyad.operations() if row.arguments in (1, 2)], ids=lambda row: row.name
)
def test_second_derivatives_of_a_recorded_gradient_are_those_of_the_table(row: Any) -> None:
    function = getattr(pyad, row.name)
    for point in itertools.product(POINTS, repeat=row.arguments):
        arrays = [np.array([x, x]) for x in point]
        native = pyad.hessian(lambda x: function(*x))(list(point))
        again = pyad.jacobian(pyad.grad(lambda x: function(*x)))(list(point))
        of_arrays = pyad.jacobian(pyad.grad(lambda x: np.sum(function(*x))))(arrays)
        for i, j in itertools.product(range(row.arguments), repeat=2):
            for found in (again[i][j], of_arrays[i][j][0, 0]):
                if np.isfinite(native[i][j]) and np.isfinite(found):
                    assert found == pytest.approx(native[i][j], rel=1e-12), point


def test_leaf_assigned_since_it_was_recorded_is_refused() -> None:
    w = pyad.var(2.0)
    y = w * w
    w.value = 3.0
    with pytest.raises(pyad.Error, match="was assigned after it was recorded"):
        pyad.gradient(y, w, create_graph=True)
