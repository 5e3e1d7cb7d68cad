"""Calls of transforms that go wrong, or nearly: one named test for each that once did."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np
import pytest

import pyad


def caught(call: Callable[[], Any]) -> pyad.Error:
    with pytest.raises(pyad.Error) as error:
        call()
    return error.value


# ---- dual numbers ----------------------------------------------------------------------------


@pytest.fixture
def leaked() -> Any:
    """Return the dual number of a transform that has returned."""
    kept: list[Any] = []

    def f(x: Any) -> Any:
        kept.append(x)
        return x

    pyad.jvp(f, (2.0,), (1.0,))
    return kept[0]


def test_a_dual_that_outlived_its_transform_raises_no_retrace(leaked: Any) -> None:
    w = pyad.var(3.0)
    assert caught(lambda: leaked * w).code == "DUAL_WITH_VAR"
    assert caught(lambda: pyad.grad(lambda x: x * leaked)(1.0)).code == "DUAL_WITH_VAR"
    assert caught(lambda: pyad.grad(lambda x: leaked)(1.0)).code == "DUAL_WITH_VAR"
    assert caught(lambda: pyad.jvp(lambda x: x * leaked, (1.0,), (1.0,))).code == "MIXED_TANGENTS"
    assert caught(lambda: pyad.jvp(lambda x: w * leaked, (1.0,), (1.0,))).code == "DUAL_WITH_VAR"
    with pytest.raises(AttributeError):
        leaked.backward()


def test_a_bare_except_does_not_swallow_the_retrace() -> None:
    w = pyad.var(3.0)

    def gives_up(x: Any) -> Any:
        try:
            return x * w.detach() if isinstance(x, float) else x * w
        except:  # noqa: E722
            return 0.0 * x

    def complains(x: Any) -> Any:
        try:
            return x * w
        except:  # noqa: E722
            raise ValueError from None

    for f in (gives_up, complains):
        value, tangent = pyad.jvp(f, (2.0,), (1.0,))
        assert (value.value, tangent.value) == (6.0, 3.0)

    def tries_a_transform(x: Any) -> Any:
        with suppress(BaseException):
            return pyad.grad(lambda y: x * y)(1.0)
        return 0.0

    assert pyad.jvp(tries_a_transform, (2.0,), (1.0,)) == (2.0, 1.0)


def test_gradient_and_backward_inside_jvp() -> None:
    assert pyad.jvp(lambda x: pyad.gradient(x**3, x), (2.0,), (1.0,)) == (12.0, 12.0)
    assert pyad.jvp(lambda x: pyad.gradient(x**3, [x])[0] * x, (2.0,), (1.0,)) == (24.0, 36.0)
    assert pyad.jvp(lambda x: x if x.requires_grad else 0.0, (2.0,), (1.0,)) == (2.0, 1.0)
    assert caught(lambda: pyad.gradient(pyad.Dual(1.0, 1.0), [])).code == "NOT_A_VAR"
    with pytest.raises(AttributeError):
        pyad.Dual(1.0, 1.0).backward()  # type: ignore[attr-defined]


# ---- results and seeds -----------------------------------------------------------------------


@pytest.mark.parametrize("result", [np.int64(3), np.float32(2.5), np.array(2.5), np.array(3), 3])
def test_the_quick_way_of_grad_takes_every_number(result: Any) -> None:
    value, slope = pyad.value_and_grad(lambda x: result)(2.0)
    assert (value, slope) == (float(result), 0.0)
    assert type(value) is float
    assert pyad.value_and_grad(lambda x: result)([2.0]) == (float(result), [0.0])


def test_the_quick_way_of_grad_takes_an_array_of_one_variable() -> None:
    w = pyad.var(5.0)

    def f(x: Any, scale: Any = 1.0) -> Any:
        result = np.empty((), dtype=object)
        result[()] = x * x * scale
        return result

    assert pyad.grad(f)(3.0) == 6.0
    assert pyad.grad(f)(3.0, w).value == 30.0
    assert caught(lambda: pyad.grad(lambda x: np.array([1.0, 2.0]))(1.0)).code == "NOT_A_SCALAR"


def test_a_seed_that_is_a_variable() -> None:
    w = pyad.var(2.0)
    assert caught(lambda: pyad.gradient(w * w, w, seed=w)).code == "SEED_IS_VARIABLE"
    assert caught(lambda: (w * w).backward(seed=w)).code == "SEED_IS_VARIABLE"
    assert pyad.gradient(w * w, w, seed=w.detach()) == 8.0
    assert pyad.gradient(w * w, w, seed=w, create_graph=True).value == 8.0


def test_tangents_inside_no_grad_are_numbers(unchanged: Any) -> None:
    w = pyad.var(2.0)
    with unchanged(w), pyad.no_grad():
        assert pyad.jvp(lambda x: x * x, (2.0,), (w,)) == (4.0, 8.0)
        assert pyad.jvp(lambda x: x * w, (w,), (w,)) == (4.0, 4.0)
        assert pyad.hvp(lambda x: x[0] * x[0], [2.0], [w]) == [4.0]
        assert pyad.vjp(lambda x: x * x, 2.0)[1](w) == (8.0,)
        for number in pyad.jvp(lambda x: x * x, (2.0,), (w,)):
            assert type(number) is float


# ---- messages --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "transform",
    [
        pyad.grad, pyad.value_and_grad, pyad.elementwise_grad, pyad.derivative, pyad.jacobian,
        pyad.jacfwd, pyad.jacrev, pyad.hessian, pyad.hessian_vector_product, pyad.make_jvp,
        pyad.make_vjp, pyad.make_hvp, pyad.SparseJacobian, pyad.SparseHessian,
        lambda f: pyad.jvp(f, (1.0,), (1.0,)), lambda f: pyad.vjp(f, 1.0),
        lambda f: pyad.hvp(f, 1.0, 1.0), lambda f: pyad.sparse_jacobian(f, [1.0]),
        lambda f: pyad.sparse_hessian(f, [1.0]),
    ],
)  # fmt: skip
def test_what_is_no_function(transform: Callable[..., Any]) -> None:
    for given in ("a", 3):
        error = caught(lambda given=given: transform(given))  # type: ignore[misc]
        assert error.code == "NOT_A_FUNCTION"
        assert repr(given) in str(error)
        assert "the function itself" in str(error)


@pytest.mark.parametrize("transform", [pyad.grad, pyad.value_and_grad, pyad.jacobian, pyad.hessian])
def test_an_argument_given_by_keyword(transform: Callable[..., Any]) -> None:
    def f(x: Any) -> Any:
        return x * x

    for call in (lambda: transform(f)(x=2.0), lambda: transform(f)()):
        error = caught(call)
        assert isinstance(error, TypeError)
        assert "by position" in str(error)


def test_arguments_that_are_no_numbers_name_a_remedy() -> None:
    f = pyad.grad(lambda x: x)
    assert "convert it with float" in str(caught(lambda: f("a")))
    assert "their real and imaginary parts" in str(caught(lambda: f(1j)))
    assert "lack its return" in str(caught(lambda: pyad.jacobian(lambda x: None)(1.0)))


def test_positions_that_are_none() -> None:
    assert "argnums is" in str(caught(lambda: pyad.SparseJacobian(len, "a")))  # type: ignore[arg-type]
    make = pyad.make_jvp(lambda x: x, 3)
    assert "argnums names argument 3" in str(caught(lambda: make(1.0)))


# ---- what is left on the tape ----------------------------------------------------------------


def given(x: Any) -> Any:
    return pyad.from_partials(pyad.stop_gradient(x), [x], [1.0])


@pytest.mark.parametrize(
    "call",
    [
        lambda w: pyad.grad(lambda x: w * given(x))(2.0),
        lambda w: pyad.grad(lambda x: w * given(x[0]))([2.0]),
        lambda w: pyad.jacobian(lambda x: [w * x[0], w * given(x[0])])([2.0]),
        lambda w: pyad.jacfwd(lambda x: [w * x[0], w * given(x[0])])([2.0]),
        lambda w: pyad.hessian(lambda x: w * given(x[0]) * x[0])([2.0]),
        lambda w: pyad.jvp(lambda x: w * given(x), (2.0,), (1.0,)),
        lambda w: pyad.derivative(lambda x: w * given(x))(2.0),
        lambda w: pyad.hvp(lambda x: w * given(x) * x, 2.0, 1.0),
    ],
)
def test_a_recorded_sweep_that_fails_leaves_no_frame(
    call: Callable[[Any], Any], unchanged: Any
) -> None:
    w = pyad.var(3.0)
    y = w * 2
    for variable in (y, w):
        with unchanged(w):
            assert caught(lambda variable=variable: call(variable)).code == "GIVEN_SECOND"  # type: ignore[misc]
    assert pyad.gradient(y, w) == 2.0
    with unchanged(w):
        assert caught(lambda: call(w)).code == "GIVEN_SECOND"


# ---- what docs/limits.md says of NumPy -------------------------------------------------------


def test_numpy_takes_one_of_two_equal_elements_where_pyad_shares() -> None:
    for clip, expected in ((np.clip, [1.0, 1.0, 0.0]), (pyad.clip, [0.5, 0.5, 0.0])):
        x = np.array(pyad.vars([0.0, 1.0, 2.0]))
        assert pyad.gradient(np.sum(clip(x, 0.0, 1.0)), x).tolist() == expected
    counts = np.zeros(2, int)
    counts[0] = pyad.var(2.5)
    assert counts.tolist() == [2, 0]
