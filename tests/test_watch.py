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
POINT = np.array([[4.0, 2.0], [1.0, 3.0]])  # a root of 0 at [1, 0]


def eager() -> None:
    y = root(pyad.array(POINT))
    np.sum(y * 2.0).backward()


OF_ARRAYS: dict[str, Callable[[], Any]] = {
    "backward": eager,
    "gradient": lambda: pyad.gradient(np.sum(root(u := pyad.array(POINT))), u, create_graph=True),
    "grad": lambda: pyad.grad(lambda x: np.sum(root(x)))(POINT),
    "grad, open": lambda: pyad.grad(lambda x: W * np.sum(root(x)))(POINT),
    "grad of grad": lambda: pyad.grad(lambda x: np.sum(pyad.grad(lambda y: np.sum(root(y)))(x)))(
        POINT
    ),
    "one element": lambda: pyad.grad(lambda x: root(x)[1, 0])(POINT),
    "product": lambda: pyad.grad(lambda x: np.sum(root(x) @ np.ones((2, 2))))(POINT),
    "jacrev": lambda: pyad.jacrev(root)(POINT),
    "hessian": lambda: pyad.hessian(lambda x: np.sum(root(x)))(POINT),
    "hvp": lambda: pyad.hvp(lambda x: np.sum(root(x)), POINT, POINT),
    "vjp": lambda: pyad.vjp(root, POINT)[1](POINT),
    "jacfwd": lambda: pyad.jacfwd(root)(POINT),
    "jvp": lambda: pyad.jvp(root, (POINT,), (POINT,)),
    "sparse": lambda: pyad.sparse_jacobian(root, POINT.ravel()),
}

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


@pytest.mark.parametrize("name", OF_ARRAYS)
def test_a_derivative_of_an_array_that_is_not_finite(name: str) -> None:
    if name == "sparse":
        pytest.importorskip("scipy")
    error = caught(OF_ARRAYS[name])
    assert error.code == ("BAD_TANGENT" if name in ("jacfwd", "jvp") else "BAD_ADJOINT")
    place = "[2]" if name == "sparse" else "[1, 0]"
    assert f"the derivative of sqrt in element {place} is not finite" in str(error)
    assert f"{__file__}:{LINE}" in str(error)
    OF_ARRAYS[name]()


def test_a_value_of_an_array_that_is_not_finite(unchanged: Any) -> None:
    a = pyad.array(POINT)
    b = a * 1.0
    calls: dict[str, Callable[[], Any]] = {
        "log gives -inf in element [1, 0] in the": lambda: np.log(b - 1.0 + 0.0),
        "matmul gives inf in element [0, 1] in the": lambda: b @ np.array([[1, 1e308], [1, 1e308]]),
        "sum gives inf in element [1] in the": lambda: np.sum(
            np.array([[1.0], [5e307]]) * b, axis=1
        ),
        "cumsum gives inf in element [1] in the": lambda: np.cumsum(b[0][::-1] * 4e307),
    }
    for text, call in calls.items():
        error = caught(call)
        assert error.code == "BAD_VALUE"
        assert text in str(error)
        assert f"{__file__}:" in str(error)
    zeros = b * 0.0
    with unchanged():
        caught(lambda: np.log(zeros))
    assert pyad.gradient(np.sum(b), a).tolist() == [[1.0, 1.0], [1.0, 1.0]]


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
