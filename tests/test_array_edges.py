"""Arguments at the edges of what NumPy's functions take: a test for each that once went wrong."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import pyad

X = np.array([[1.5, -0.5, 2.0], [0.5, 3.0, -1.0]])


def value_of(x: Any) -> Any:
    return x.value if isinstance(x, (pyad.Array, pyad.Var)) else x


# ---- reductions --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["sum", "prod", "max", "min", "nansum", "nanprod", "nanmax"])
def test_an_array_without_dimensions_is_reduced_along_its_first_and_last_axis(name: str) -> None:
    function, x = getattr(np, name), np.array(1.5)
    for options in ({"axis": 0}, {"axis": -1}, {"axis": 0, "keepdims": True}, {"axis": ()}):
        got = function(pyad.array(x), **options)
        assert value_of(got) == function(x, **options)
        assert pyad.grad(lambda x, options=options: function(x, **options))(x) == 1.0
    for axis in (1, (0,)):
        with pytest.raises(ValueError, match="out of bounds"):
            function(x, axis=axis)
        with pytest.raises(ValueError, match="out of bounds"):
            function(pyad.array(x), axis=axis)


def test_running_sums_of_an_array_without_dimensions_have_one_axis() -> None:
    for function in (np.cumsum, np.cumprod, np.nancumsum):
        with pytest.raises(ValueError, match="out of bounds"):
            function(pyad.array(1.5), axis=1)
        np.testing.assert_array_equal(value_of(function(pyad.array(1.5), axis=-1)), [1.5])


@pytest.mark.parametrize("name", ["max", "min", "nanmax", "nanmin"])
def test_the_initial_value_of_an_extreme_is_an_element_more(name: str) -> None:
    function = getattr(np, name)
    sign = 1.0 if name.endswith("max") else -1.0

    def f(x: Any, start: Any) -> Any:
        return np.sum(function(sign * x, axis=1, initial=sign * start) * np.array([1.0, 10.0]))

    of_x, of_start = pyad.grad(f, (0, 1))(X, 2.5)
    np.testing.assert_array_equal(of_x, sign * np.array([[0.0, 0, 0], [0, 10, 0]]))
    assert of_start == sign * 1.0
    of_x, of_start = pyad.grad(f, (0, 1))(X, 2.0)  # a tie is shared
    np.testing.assert_array_equal(of_x, sign * np.array([[0.0, 0, 0.5], [0, 10, 0]]))
    assert of_start == sign * 0.5
    empty = np.zeros((0, 2))
    got = function(pyad.array(empty), axis=0, initial=0.7)
    np.testing.assert_array_equal(value_of(got), function(empty, axis=0, initial=0.7))
    some = function(pyad.array(X) * 1.0, initial=sign * -9.0, where=X * sign > 5.0)
    assert value_of(some) == sign * -9.0


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_variance_without_degrees_of_freedom() -> None:
    for function in (np.var, np.std, np.nanvar, np.nanstd):
        got = function(pyad.array(X), axis=0, ddof=2)
        np.testing.assert_array_equal(value_of(got), function(X, axis=0, ddof=2))


@pytest.mark.parametrize("name", ["quantile", "percentile", "nanquantile", "nanpercentile"])
def test_quantiles_refuse_what_they_do_not_differentiate(name: str) -> None:
    function = getattr(np, name)
    with pytest.raises(TypeError, match=f"np\\.{name} has no derivative in q"):
        pyad.grad(lambda q: function(X[0], q))(0.3)
    assert function(pyad.array(X[0]), pyad.var(0.5, requires_grad=False)).requires_grad
    with pytest.raises(TypeError, match="weights"):
        function(pyad.array(X[0]), 0.3, weights=np.ones(3), method="inverted_cdf")


# ---- structure, statistics -----------------------------------------------------------------------


def test_an_axis_that_is_no_whole_number() -> None:
    for function in (np.diff, np.trapezoid if hasattr(np, "trapezoid") else np.trapz):
        for axis in (None, (0,), 0.5):
            with pytest.raises(TypeError):
                function(X, axis=axis)
            with pytest.raises(TypeError):
                function(pyad.array(X), axis=axis)


def test_observations_in_the_rows_of_one_row() -> None:
    for x in (X, X[:1], X[:, :1], X[0]):
        with np.errstate(all="ignore"):
            expected = np.cov(x, rowvar=False, bias=True)
            got = np.cov(pyad.array(x), rowvar=False, bias=True)
        assert np.shape(got) == np.shape(expected)
        np.testing.assert_allclose(value_of(got), expected)


# ---- linear algebra ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "shape"),
    [
        (np.linalg.norm, (0,)),
        (np.linalg.norm, (2, 0, 3)),
        (np.linalg.det, (0, 0)),
        (np.linalg.det, (2, 0, 0)),
        (lambda a: np.linalg.slogdet(a)[1], (0, 0)),
        (lambda a: np.linalg.cond(a, "fro"), (0, 3, 3)),
        (lambda a: np.linalg.tensorsolve(a, np.ones(0)), (0, 0)),
    ],
)
def test_linear_algebra_without_elements(call: Any, shape: tuple[int, ...]) -> None:
    x = np.zeros(shape)
    got = call(pyad.array(x) * 1.0)
    np.testing.assert_array_equal(value_of(got), call(x))
    assert pyad.grad(lambda x: np.sum(call(x)))(x).shape == shape


@pytest.mark.parametrize(
    ("call", "shape"),
    [
        (lambda a: np.linalg.cond(a, 1), (0, 0)),
        (lambda a: np.linalg.multi_dot([a, a, a]), (2, 3, 3)),
        (lambda a: np.linalg.tensorsolve(a, np.ones(3)), (3, 4)),
    ],
)
def test_linear_algebra_refuses_what_numpy_refuses(call: Any, shape: tuple[int, ...]) -> None:
    for x in (np.ones(shape), pyad.array(np.ones(shape))):
        with pytest.raises(np.linalg.LinAlgError):
            call(x)


# ---- one element -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "call",
    [
        lambda x: (x**2).sum(),
        lambda x: x.mean() * x.max() + x.min() * x.prod(),
        lambda x: x.reshape(1, 1) * 3.0,
        lambda x: x.ravel() * x.flatten(),
        lambda x: x.astype(float) * x.copy(),
        lambda x: x.clip(0.0, 1.0) + x.squeeze(),
        lambda x: x.std() + x.var() + x.round(1),
        lambda x: x.repeat(3) * x.cumsum(),
        lambda x: x * x.conj() + x.transpose(),
    ],
)
def test_one_element_has_the_methods_of_numbers_of_numpy(call: Any) -> None:
    x = np.float64(1.72)
    expected = call(x)
    got = call(pyad.array([1.5, 1.72])[1])
    assert np.shape(got) == np.shape(expected)
    np.testing.assert_allclose(value_of(got), expected)

    def total(x: Any) -> Any:
        return np.sum(call(x))

    slope = (total(x + 1e-6) - total(x - 1e-6)) / 2e-6
    assert pyad.grad(total)(1.72) == pytest.approx(slope, rel=1e-6)
    assert pyad.jvp(total, (1.72,), (1.0,))[1] == pytest.approx(slope, rel=1e-6)
    assert pyad.grad(pyad.grad(total))(1.72) == pytest.approx(
        (pyad.grad(total)(1.7201) - pyad.grad(total)(1.7199)) / 2e-4, abs=1e-6
    )


def test_one_element_as_a_plain_number_of_another_type_is_refused() -> None:
    with pytest.raises(TypeError, match=r"float64|x\.value"):
        pyad.grad(lambda x: x.astype(np.float32))(1.5)
