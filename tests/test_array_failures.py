"""An operation on arrays that raises leaves its operands, and the recording, as they were."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import pyad
from pyad import _handle
from pyad.array._rules import Rule

X = np.array([-1.0, 2.0, 3.0])
WEIGHTS = np.array([1.0, 10.0, 100.0])


def raising(call: Callable[[], Any]) -> None:
    """Calls what `detect_anomaly` refuses once it has been recorded."""
    with pytest.raises(pyad.Error, match="nan"), pyad.detect_anomaly():
        call()


def test_a_leaf_first_used_by_an_operation_that_failed() -> None:
    x, w = pyad.array(X), pyad.array(WEIGHTS)
    raising(lambda: np.log(x))
    np.sum(w * 3 * x).backward()
    np.testing.assert_array_equal(x.grad, 3 * WEIGHTS)
    np.testing.assert_array_equal(w.grad, 3 * X)


def test_a_leaf_assigned_and_used_by_an_operation_that_failed() -> None:
    x = pyad.array(X)
    y = np.sum(x * WEIGHTS)
    x.value = X + 1
    raising(lambda: np.log(x - 5))
    with pytest.raises(pyad.Error, match="assigned after it was recorded"):
        y.backward()
    y.tape.clear()
    np.sum(x * WEIGHTS).backward()
    np.testing.assert_array_equal(x.grad, WEIGHTS)


ROWS: dict[str, Callable[[Any], Any]] = {
    "stacked": lambda x: np.stack([x[2], x[1], x[0]]),
    "taken": lambda x: x[[2, 1, 0]],
    "assigned": lambda x: assigned(x * 1.0, x),
}


def assigned(a: Any, x: Any) -> Any:
    a[0], a[2] = x[2], x[0]
    return a


@pytest.mark.parametrize("name", ROWS)
def test_an_array_of_single_nodes_in_an_operation_that_failed(name: str) -> None:
    x = pyad.array(X)
    a = ROWS[name](x)
    raising(lambda: np.log(a))
    other = x * 7.0  # takes the place on the tape of what was taken back
    np.sum(a * WEIGHTS + 0.0 * other).backward()
    np.testing.assert_array_equal(x.grad, WEIGHTS[::-1])


@pytest.mark.parametrize("name", ROWS)
def test_an_array_of_single_nodes_when_the_tape_is_full(name: str) -> None:
    with pyad.Tape(max_bytes=20000):
        x = pyad.array(X)
        a = ROWS[name](x)
        with pytest.raises(pyad.Error, match="out of memory"):
            a + np.zeros((1000, 3))
        y = np.sum(a * WEIGHTS)
    y.backward()
    np.testing.assert_array_equal(x.grad, WEIGHTS[::-1])


@pytest.mark.parametrize("name", ROWS)
def test_both_operands_are_one_array_of_single_nodes(name: str) -> None:
    x = pyad.array(X)
    a = ROWS[name](x)
    before = len(x.tape)
    np.sum(a * a * WEIGHTS).backward(retain_graph=True)
    np.testing.assert_array_equal(x.grad, 2 * X * WEIGHTS[::-1])
    assert len(x.tape) == before + 3 + 3 + 3 + 1  # gathered once


def test_a_transform_that_failed_after_it_used_a_leaf() -> None:
    w = pyad.array(WEIGHTS)

    def fails(y: Any) -> Any:
        np.sum(w * y)
        raise ZeroDivisionError

    x = pyad.array(X)
    with pytest.raises(ZeroDivisionError):
        pyad.grad(fails)(X)
    np.sum(x * w).backward()
    np.testing.assert_array_equal(x.grad, WEIGHTS)
    np.testing.assert_array_equal(w.grad, X)


def test_a_store_that_failed_stores_nothing() -> None:
    x = pyad.array(X)
    a = x * 2.0
    for key, value in (([0, 9], x[:2]), (slice(None), np.ones(4)), ([0, 1], np.ones(3))):
        with pytest.raises((IndexError, ValueError)):
            a[key] = value
    np.testing.assert_array_equal(a.value, 2 * X)
    np.sum(a).backward()
    np.testing.assert_array_equal(x.grad, [2.0, 2.0, 2.0])


def test_a_result_with_more_elements_than_addresses() -> None:
    one = pyad.array([[1.0]])
    column, row = np.broadcast_to(one, (1 << 40, 1)), np.broadcast_to(one, (1, 1 << 40))
    for call in (lambda: column + row, lambda: column @ row, lambda: np.multiply(row, column)):
        with pytest.raises(pyad.Error, match="more elements than memory has addresses"):
            call()
    none = pyad.array(np.zeros((1, 0)))
    with pytest.raises(pyad.Error, match="more elements than memory has addresses"):
        np.broadcast_to(none, (1 << 40, 0)) @ np.broadcast_to(none.T, (0, 1 << 40))


def test_an_element_by_an_index_without_dimensions() -> None:
    x = pyad.array(X)
    assert float(x.value[np.array(2)]) == x[np.array(2)].value
    a = x[[2, 1, 0]]
    (a[np.array(0)] * 5.0 + x[np.array(0)]).backward()
    np.testing.assert_array_equal(x.grad, [1.0, 0.0, 5.0])
    a[1] = x[0]
    with pytest.raises(pyad.Error, match="recording that has ended"):
        a[np.array(0)] * 2.0


def test_items_assigned_while_a_leaf_counts_as_a_constant() -> None:
    x = pyad.array(X)
    y = x * 2.0
    x.requires_grad = False
    x[0] = 7.0
    x.requires_grad = True
    with pytest.raises(pyad.Error, match="assigned after it was recorded"):
        np.sum(y * x).backward()


def with_rule(adjoint: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """The square, with a rule that returns what `adjoint(x)` gives."""
    rule = Rule(lambda adjoints, outputs, inputs: (adjoint(inputs[0]),))

    def square(x: Any) -> Any:
        return _handle._array_call("square", (x.value**2,), lambda x: (x * x,), rule, (x,))[0]

    return square


def test_a_rule_that_returns_what_cannot_be_an_adjoint() -> None:
    with pyad.Tape():
        elsewhere = pyad.array(X) * 2.0
    x = pyad.array(X)
    ended = x * 1.0
    ended[0] = x[1] * 2.0
    np.sum(ended).backward()
    ended[1] = x[0]
    refused = {
        "two different tapes": elsewhere,
        "recording that has ended": ended,
        "another shape than its input": np.ones(5),
    }
    for message, adjoint in refused.items():
        f = with_rule(lambda x, adjoint=adjoint: adjoint)
        with pytest.raises(pyad.Error, match=message):
            np.sum(f(pyad.array(X))).backward(create_graph=True)
    f = with_rule(lambda x: 2.0 * x)
    second = pyad.grad(lambda z: np.sum(pyad.grad(lambda y: np.sum(f(y)))(z) ** 2))
    np.testing.assert_array_equal(second(X), 8.0 * X)


@pytest.mark.parametrize(
    "call",
    [
        lambda a: np.sin(a, out=a[:2]),
        lambda a: np.hypot(a, a, out=a[:2]),
        lambda a: np.sin(a, out=a, where=np.ones(7, bool)),
        lambda a: np.matmul(a, a, out=a),
        lambda a: np.multiply.accumulate(a, out=a[:2]),
    ],
)
def test_a_ufunc_that_cannot_store_its_result(call: Callable[[Any], Any]) -> None:
    x = pyad.array(X)
    a = x * WEIGHTS
    before = len(a.tape)
    with pytest.raises(ValueError):
        call(a)
    assert len(a.tape) == before
    np.sum(a * a).backward()
    np.testing.assert_array_equal(x.grad, 2.0 * X * WEIGHTS**2)


def test_the_protocols_called_by_hand() -> None:
    a = pyad.array(X) * 1.0
    for args in ((), (1, 2, 3, 4), (np.sum, (), (a,), 5), (np.sum, (), 5, {})):
        with pytest.raises(TypeError, match="func, types, args and kwargs"):
            a.__array_function__(*args)
    for args in ((), (np.add,), (np.add, "__call__")):
        with pytest.raises(TypeError, match="a ufunc, a method and its inputs"):
            a.__array_ufunc__(*args)


@pytest.mark.parametrize("name", ["value", "grad", "requires_grad", "name"])
def test_attributes_cannot_be_deleted(name: str) -> None:
    with pytest.raises(TypeError, match=r"cannot be deleted|string or None"):
        delattr(pyad.array(X), name)
