"""`detect_anomaly` around transforms: the first number that is not finite, and where it arose."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import pyad

LINE = sys._getframe().f_lineno + 4  # of the square root


def root(x: Any) -> Any:
    return pyad.sqrt(x - 1.0)


def caught(call: Callable[[], Any]) -> pyad.Error:
    with pyad.detect_anomaly(), pytest.raises(pyad.Error) as error:
        call()
    return error.value


W = pyad.var(3.0)

REVERSE: dict[str, Callable[[], Any]] = {
    "grad of a number": lambda: pyad.grad(root)(1.0),
    "grad of a list": lambda: pyad.grad(lambda x: root(x[0]))([1.0]),
    "grad, open": lambda: pyad.grad(lambda x: W * root(x))(1.0),
    "grad of a list, open": lambda: pyad.grad(lambda x: W * root(x[0]))([1.0]),
    "grad of grad": lambda: pyad.grad(pyad.grad(root))(1.0),
    "jacrev": lambda: pyad.jacrev(lambda x: [x[1], root(x[0])])([1.0, 2.0]),
    "jacrev, open": lambda: pyad.jacrev(lambda x: [W, W * root(x[0])])([1.0, 2.0]),
    "hessian": lambda: pyad.hessian(lambda x: root(x[0]) * x[1])([1.0, 2.0]),
    "hvp": lambda: pyad.hvp(lambda x: root(x[0]), [1.0], [1.0]),
    "vjp": lambda: pyad.vjp(root, 1.0)[1](1.0),
    "vjp, open": lambda: pyad.vjp(lambda x: W * root(x), 1.0)[1](1.0),
    "make_hvp": lambda: pyad.make_hvp(root)(1.0)[0](1.0),
    "gradient, recorded": lambda: pyad.gradient(root(u := pyad.var(1.0)), u, create_graph=True),
}
FORWARD: dict[str, Callable[[], Any]] = {
    "jvp": lambda: pyad.jvp(root, (1.0,), (1.0,)),
    "jvp, open": lambda: pyad.jvp(lambda x: W * root(x), (1.0,), (1.0,)),
    "jacfwd": lambda: pyad.jacfwd(lambda x: [x[1], root(x[0])])([1.0, 2.0]),
    "derivative": lambda: pyad.derivative(root)(1.0),
}


@pytest.mark.parametrize("name", REVERSE)
def test_an_adjoint_that_is_not_finite(name: str) -> None:
    error = caught(REVERSE[name])
    assert error.code == "BAD_ADJOINT"
    assert "the derivative of sqrt is not finite" in str(error)
    assert f"{__file__}:{LINE}" in str(error)
    if name not in ("vjp, open", "gradient, recorded"):
        assert len(pyad.current_tape()) <= 1  # the frame is gone
    REVERSE[name]()  # outside nothing is watched


@pytest.mark.parametrize("name", FORWARD)
def test_a_tangent_that_is_not_finite(name: str) -> None:
    error = caught(FORWARD[name])
    assert error.code == "BAD_TANGENT"
    assert "the derivative of sqrt is not finite" in str(error)
    assert f"{__file__}:{LINE}" in str(error)
    FORWARD[name]()


def test_sparse_derivatives() -> None:
    pytest.importorskip("scipy")
    jacobian = pyad.SparseJacobian(lambda x: [x[0], root(x[1]), x[1]])
    assert "sqrt" in str(caught(lambda: jacobian([1.0, 1.0])))
    hessian = pyad.SparseHessian(lambda x: x[0] * x[0] + (x[1] - 1.0) ** 1.5)
    assert caught(lambda: hessian([1.0, 1.0])).code == "BAD_SECOND"
    with pyad.detect_anomaly():
        jacobian([1.0, 2.0])
        hessian([1.0, 2.0])


def test_second_derivatives_that_are_not_finite() -> None:
    error = caught(lambda: pyad.hessian(lambda x: x[1] * x[0] ** 1.5)([0.0, 1.0]))
    assert error.code == "BAD_SECOND"
    assert "second derivative of pow" in str(error)
    assert __file__ in str(error)


def test_values_under_jvp() -> None:
    assert caught(lambda: pyad.jvp(pyad.log, (0.0,), (1.0,))).code == "BAD_VALUE"


@pytest.mark.parametrize(
    "transform", [pyad.grad, pyad.jacfwd, pyad.jacrev, pyad.hessian, pyad.derivative]
)
def test_a_branch_not_taken_does_no_harm(transform: Callable[..., Any]) -> None:
    def f(x: Any) -> Any:
        return pyad.where(x > 0, pyad.sqrt(x), x * x)

    with pyad.detect_anomaly():
        assert transform(f)(0.0) in (0.0, 2.0)
        assert pyad.jvp(f, (0.0,), (1.0,)) == (0.0, 0.0)


def test_finite_derivatives_are_what_they_are_without() -> None:
    x = np.linspace(0.5, 1.0, 11)

    def f(x: Any) -> Any:
        return np.sum(np.sin(x) * np.roll(x, 1))

    def g(x: Any) -> Any:
        return np.sin(x) * np.roll(x, 1)

    calls = [
        lambda: pyad.grad(f)(x),
        lambda: pyad.hessian(f)(x),
        lambda: pyad.jacfwd(g)(x),
        lambda: pyad.jacrev(g)(x),
        lambda: pyad.vjp(g, x)[1](x)[0],
        lambda: pyad.jvp(g, (x,), (x,))[1],
        lambda: pyad.hvp(f, x, x),
    ]
    for call in calls:
        expected = call()
        with pyad.detect_anomaly():
            np.testing.assert_allclose(call(), expected, rtol=1e-14)


def test_lines_of_nodes_that_were_taken_back_are_forgotten() -> None:
    with pyad.detect_anomaly():
        pyad.grad(lambda x: pyad.exp(pyad.sin(x)))(1.0)
        assert not pyad.current_tape()._origins
