"""Arrays as handles: leaves, gradients, ended recordings, copies, pickles, threads, conversions."""

from __future__ import annotations

import copy
import math
import pickle
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import pyad

MATRIX = np.array([[1.0, 2.0], [3.0, 4.0]])


def leaf(name: str | None = None) -> pyad.Array:
    return pyad.array(MATRIX, name=name)


def ended() -> pyad.Array:
    y = leaf() * 3
    y.sum().backward()
    return y


def code_of(call: Callable[[], Any]) -> str:
    with pytest.raises(pyad.Error) as caught:
        call()
    return caught.value.code


# ---- what it says of itself --------------------------------------------------------------------


def test_repr_str_and_format() -> None:
    a = leaf("W")
    assert repr(a) == "Array([[1., 2.],\n       [3., 4.]], name='W')"
    assert repr(a.detach()).endswith("requires_grad=False)")
    assert repr(a * 2).endswith("8.]], recorded)")
    assert repr(ended()).endswith(", of an ended recording)")
    assert str(a) == f"{a}" == str(MATRIX)
    assert f"{pyad.array(3.0):.2f}" == "3.00"
    assert code_of(lambda: f"{a:.2f}") == "ARGUMENTS"
    assert repr((a * 2)[0, 1]) == "Var(4.0, of='mul')"
    assert repr(a[0, 1]) == "Var(2.0, of='leaf')"


def test_leaves_and_results_know_what_they_are() -> None:
    a = leaf()
    y = a * 2
    assert (a.is_leaf, a.requires_grad, a.T.is_leaf) == (True, True, True)
    assert (y.is_leaf, y.requires_grad, y.tape) == (False, True, pyad.current_tape())
    constant = pyad.array(MATRIX, requires_grad=False)
    assert (constant.is_leaf, constant.requires_grad, constant.tape) == (True, False, None)
    assert not (constant * 2).requires_grad
    constant.requires_grad = True
    assert pyad.gradient(np.sum(constant * 2), constant).tolist() == [[2.0, 2.0], [2.0, 2.0]]
    assert code_of(lambda: setattr(y, "requires_grad", False)) == "NOT_ASSIGNABLE"
    assert code_of(lambda: setattr(y, "name", "y")) == "ARGUMENTS"


def test_making_arrays() -> None:
    x = pyad.var(2.0)
    y = pyad.array([x, 1.0])
    assert (y.is_leaf, pyad.gradient(y[0] * 3, x)) == (False, 3.0)
    again = pyad.array(y := leaf() * 2)
    again[0, 0] = 0.0
    assert y.value[0, 0] == 2.0
    fresh = pyad.array(a := leaf("a"))
    assert (fresh.name, fresh.is_leaf) == (None, True)
    assert pyad.gradient(np.sum(fresh * a), fresh).tolist() == MATRIX.tolist()
    assert not pyad.array(leaf() * 2, requires_grad=False).requires_grad
    for wrong in ("x", [1j], None, [[1.0, 2.0], [3.0]], {"a": 1.0}, ["a"]):
        assert code_of(lambda wrong=wrong: pyad.array(wrong)) == "NOT_A_NUMBER"
    assert code_of(lambda: pyad.array([1.0], name=3)) == "ARGUMENTS"  # type: ignore[call-overload]
    assert code_of(lambda: pyad.array(leaf() * 2, name="y")) == "ARGUMENTS"


def test_the_data_given_stay_as_they_are() -> None:
    data = MATRIX.copy()
    a = pyad.array(data)
    y = a * data
    data[:] = 0.0
    assert a.value.tolist() == MATRIX.tolist()
    assert pyad.gradient(y.sum(), a).tolist() == MATRIX.tolist()
    a.value[:] = 9.0  # a copy
    assert a.value.tolist() == MATRIX.tolist()


# ---- conversions that would lose the derivative ------------------------------------------------


def _fill(array: Any, x: Any) -> None:
    array[...] = x


LOSING: dict[str, Callable[[Any], Any]] = {
    "np.asarray": np.asarray,
    "np.array of a list": lambda a: np.array([a, a]),
    "into floats": lambda a: _fill(np.zeros((2, 2)), a),
    "row into floats": lambda a: _fill(np.zeros(2), a[0]),
    "element into floats": lambda a: _fill(np.zeros(2), a[0, 0]),
    "floats += a": lambda a: np.zeros((2, 2)).__iadd__(a),
    "out=": lambda a: np.exp(a, out=np.zeros((2, 2))),
    "out= of a function": lambda a: np.sum(a, axis=0, out=np.zeros(2)),
    "astype(np.float32)": lambda a: a.astype(np.float32),
    "value of a leaf": lambda a: setattr(leaf(), "value", a),
}


@pytest.mark.parametrize("way", LOSING)
def test_never_loses_a_derivative_silently(way: str) -> None:
    a = leaf()
    y = a * 2
    before = len(pyad.current_tape())
    for x in (a, y):
        with pytest.raises(pyad.Error) as caught:
            LOSING[way](x)
        assert isinstance(caught.value, TypeError)
        assert caught.value.code in ("AS_NDARRAY", "WOULD_LOSE_DERIVATIVE")
        assert "x.value" in str(caught.value)
    assert len(pyad.current_tape()) == before
    LOSING[way](a.detach())
    with pyad.no_grad():
        LOSING[way](pyad.array(MATRIX, requires_grad=False) * 1.0)


def test_one_number() -> None:
    z, x = pyad.array(0.5), pyad.array([[0.5]])
    for a in (z, x):
        for losing in (float, math.sin, complex):
            assert code_of(lambda a=a, losing=losing: losing(a)) == "WOULD_LOSE_DERIVATIVE"
        assert (int(a), bool(a), float(a.detach())) == (0, True, 0.5)
        assert type(a.item()) is pyad.Var
    assert pyad.gradient(z * 3, z) == 3.0
    with pytest.raises((TypeError, ValueError)) as caught:
        np.zeros(2)[0] = z  # NumPy words this one
    assert isinstance(caught.value.__cause__ or caught.value, pyad.Error)
    assert code_of(lambda: len(z)) == "ARGUMENTS"
    assert code_of(lambda: list(z)) == "ARGUMENTS"
    assert code_of(lambda: float(leaf())) == "ARGUMENTS"
    assert code_of(lambda: leaf().item()) == "ARGUMENT_SHAPE"


def test_truth_is_that_of_one_element() -> None:
    assert bool(pyad.array([2.0]))
    assert not bool(pyad.array(0.0))
    for ambiguous in (leaf(), pyad.array([])):
        assert code_of(lambda a=ambiguous: bool(a)) == "AMBIGUOUS"
    assert 3.0 in leaf()
    assert 5.0 not in leaf()
    assert pyad.var(3.0) in leaf()
    with pytest.raises(TypeError, match="unhashable"):
        hash(leaf())
    assert (leaf() == MATRIX).all()


def test_object_arrays_hold_variables() -> None:
    a = leaf()
    boxed = np.asarray(a, dtype=object)
    assert type(boxed[0, 1]) is pyad.Var
    assert pyad.gradient(boxed[0, 1] * 2, a).tolist() == [[0.0, 2.0], [0.0, 0.0]]


# ---- copies ------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", [copy.copy, copy.deepcopy, lambda a: pickle.loads(pickle.dumps(a))])
def test_copies_of_leaves(way: Callable[[Any], Any]) -> None:
    a = leaf("W")
    np.sum(a * a).backward()
    b = way({"W": a})["W"] if way is copy.deepcopy else way(a)
    assert (b.name, b.is_leaf, b.value.tolist()) == ("W", True, MATRIX.tolist())
    assert b.grad.tolist() == a.grad.tolist()
    b.value = 0 * MATRIX
    b.zero_grad()
    assert (a.value == MATRIX).all()
    assert (a.grad == 2 * MATRIX).all()
    constant = way(pyad.array(MATRIX, requires_grad=False))
    assert (constant.requires_grad, constant.grad) == (False, None)


def test_copies_of_results() -> None:
    a = leaf()
    y = a * 2
    for z in (copy.copy(y), copy.deepcopy(y)):
        z[0, 0] = 0.0
        assert pyad.gradient(z.sum(), a, retain_graph=True).tolist() == [[0.0, 2.0], [2.0, 2.0]]
    assert y.value[0, 0] == 2.0
    assert code_of(lambda: pickle.dumps(y)) == "NO_PICKLE"
    assert pickle.loads(pickle.dumps(y.detach())).value.tolist() == y.value.tolist()


# ---- gradients ---------------------------------------------------------------------------------


def test_backward_accumulates() -> None:
    w, x = leaf("W"), pyad.array([1.0, -1.0])
    for turn in (1, 2):
        np.sum((w @ x) ** 2).backward()
        assert (w.grad == turn * np.outer(2 * MATRIX @ x.value, x.value)).all()
        assert (x.grad == turn * 2 * MATRIX.T @ MATRIX @ x.value).all()
    w.zero_grad()
    x.grad = None
    assert (w.grad.tolist(), x.grad) == ([[0.0, 0.0], [0.0, 0.0]], None)


def test_retain_graph() -> None:
    a = leaf()
    y = np.sum(np.exp(a))
    y.backward(retain_graph=True)
    y.backward()
    np.testing.assert_allclose(a.grad, 2 * np.exp(MATRIX))
    assert code_of(y.backward) == "STALE"
    assert len(pyad.current_tape()) == 0


def test_backward_of_an_array_takes_a_seed() -> None:
    a = leaf()
    seed = np.array([[1.0, 0.0], [2.0, 0.0]])
    (a * a).backward(seed)
    assert a.grad.tolist() == [[2.0, 0.0], [12.0, 0.0]]
    (a[:1, :1] * 5.0).backward()  # one element needs none
    assert a.grad[0, 0] == 7.0
    y = a * 2
    assert code_of(y.backward) == "ARGUMENTS"
    assert code_of(lambda: y.backward(np.ones(3))) == "ARGUMENT_SHAPE"
    assert code_of(lambda: a.detach().backward()) == "NO_GRADIENT"


def test_gradients_of_intermediate_results() -> None:
    a = leaf()
    y = np.sin(a)
    z = y * y
    z.sum().backward()
    np.testing.assert_allclose(y.grad, 2 * np.sin(MATRIX))
    np.testing.assert_allclose(z.grad, np.ones((2, 2)))
    np.testing.assert_allclose(y[0].grad, 2 * np.sin(MATRIX[0]))
    assert (a * 2).grad is None
    assert code_of(lambda: setattr(y, "grad", MATRIX)) == "NOT_ASSIGNABLE"
    assert code_of(y.zero_grad) == "NOT_ASSIGNABLE"


def test_assigned_gradients() -> None:
    a = leaf()
    a.grad = MATRIX
    np.sum(a).backward()
    assert (a.grad == MATRIX + 1).all()
    assert (a[0].grad == MATRIX[0] + 1).all()
    assert code_of(lambda: setattr(a, "grad", np.ones(3))) == "ARGUMENT_SHAPE"


def test_an_optimization_loop_runs_in_constant_memory() -> None:
    w = leaf()
    target = np.eye(2)
    sizes = set()
    for _ in range(200):
        loss = np.sum((w - target) ** 2)
        loss.backward()
        w.value -= 0.1 * w.grad
        w.zero_grad()
        sizes.add(pyad.current_tape().stats()["reserved_bytes"])
    np.testing.assert_allclose(w.value, target, atol=1e-12)
    assert len(sizes) == 1


def test_a_leaf_assigned_after_it_was_recorded() -> None:
    a = leaf()
    y = np.sum(a * a)
    a.value = 2 * MATRIX
    assert code_of(y.backward) == "LEAF_CHANGED"
    pyad.current_tape().clear()
    assert pyad.gradient(np.sum(a * a), a).tolist() == (4 * MATRIX).tolist()
    a[0]  # a view of a leaf assigns its part
    a[0].value = [9.0, 9.0]
    assert a.value.tolist() == [[9.0, 9.0], [6.0, 8.0]]
    assert code_of(lambda: setattr(a, "value", np.ones(3))) == "ARGUMENT_SHAPE"
    assert code_of(lambda: setattr(a * 2, "value", MATRIX)) == "NOT_ASSIGNABLE"
    assert code_of(lambda: _fill(a, 0.0)) == "LEAF_ITEM"


def test_gradient_in_the_structure_of_the_arguments() -> None:
    w, s = leaf(), pyad.var(2.0)
    y = np.tanh(w) * s
    loss = np.sum(y * y)
    found = pyad.gradient(loss, {"W": w, "rest": [s, (y, w[0])]})
    slope = 2 * np.tanh(MATRIX) * 2.0
    np.testing.assert_allclose(found["rest"][1][0], slope)
    np.testing.assert_allclose(found["W"], slope * 2.0 * (1 - np.tanh(MATRIX) ** 2))
    np.testing.assert_allclose(found["rest"][1][1], found["W"][0])
    assert found["rest"][0] == pytest.approx(np.sum(slope * np.tanh(MATRIX)))
    assert (w.grad, s.grad) == (None, None)
    assert len(pyad.current_tape()) == 0


def test_gradient_refuses() -> None:
    a = leaf()
    y = np.sum(a * 2)
    assert code_of(lambda: pyad.gradient(y, a.detach())) == "CONSTANT_GIVEN"
    with pyad.Tape():
        other = leaf() * 2
    assert code_of(lambda: pyad.gradient(y, other)) == "OTHER_TAPE"
    assert code_of(lambda: pyad.gradient(a.detach().sum(), a)) == "NO_GRADIENT"
    assert code_of(lambda: pyad.gradient(y, MATRIX)) == "NOT_A_VAR"
    assert pyad.gradient(y, a).tolist() == [[2.0, 2.0], [2.0, 2.0]]


def test_create_graph() -> None:
    a = leaf()
    (slope,) = pyad.gradient(np.sum(a**3), [a], create_graph=True)
    assert type(slope) is pyad.Array
    np.testing.assert_allclose(slope.value, 3 * MATRIX**2)
    np.testing.assert_allclose(pyad.gradient(np.sum(slope * slope), a), 36 * MATRIX**3)
    np.sum(a**3).backward(create_graph=True)
    np.testing.assert_allclose(a.grad.value, 3 * MATRIX**2)
    np.testing.assert_allclose(pyad.gradient(a.grad[0, 1], a), [[0.0, 12.0], [0.0, 0.0]])


# ---- what is recorded, and where ---------------------------------------------------------------


def test_no_grad() -> None:
    a = leaf()
    with pyad.no_grad():
        y = np.exp(a) @ a
        assert (y.requires_grad, y.tape, a[0, 0].requires_grad) == (False, None, False)
        assert np.asarray(y).tolist() == (np.exp(MATRIX) @ MATRIX).tolist()
        with pyad.enable_grad():
            assert (a * 2).requires_grad
    assert len(pyad.current_tape()) > 0
    pyad.current_tape().clear()
    assert not (y * 2).requires_grad


def test_results_of_an_ended_recording() -> None:
    y = ended()
    assert y.value.tolist() == (3 * MATRIX).tolist()
    assert y.grad.tolist() == [[1.0, 1.0], [1.0, 1.0]]
    assert y.T[0].value.tolist() == [3.0, 9.0]
    stale: list[Callable[[], Any]] = [
        lambda: y + 1,
        lambda: np.sin(y),
        lambda: y[0] * 2,
        lambda: y[0, 0] * 2,
        lambda: np.sum(y),
        lambda: np.linalg.inv(y),
        lambda: np.concatenate([y, MATRIX]) * 1.0,
        lambda: y.backward(MATRIX),
        lambda: pyad.gradient(np.sum(leaf()), y),
        lambda: copy.copy(y),
        lambda: pyad.array(y),
    ]
    for use in stale:
        with pytest.raises(RuntimeError, match="recording that has ended"):
            use()
    z = leaf() * 2
    z[0] = y.value[0]
    assert (z.detach() + y.detach()).value.tolist() == [[6.0, 12.0], [15.0, 20.0]]


def test_two_tapes() -> None:
    a = leaf()
    with pyad.Tape():
        other = leaf() * 2
    for mix in (
        lambda: a * 1.0 + other,
        lambda: np.stack([a * 1.0, other]),
        lambda: (a * 1) @ other,
    ):
        assert code_of(mix) == "MIXED_TAPES"
    assert (other * a).tape is other.tape  # a leaf goes where it is used
    assert pyad.gradient(np.sum(a * other), a).tolist() == (2 * MATRIX).tolist()


def test_arrays_of_another_thread() -> None:
    a = leaf()
    y = a * 2
    seen: dict[str, Any] = {}

    def work() -> None:
        seen["own"] = pyad.gradient(np.sum(a * a), a)  # a leaf, on the tape of this thread
        z = y * 3  # on the tape of y
        seen["tape"] = z.tape is y.tape
        seen["value"] = (y.value, y.detach())
        try:
            (a * 1.0) + y
        except pyad.Error as error:
            seen["mixed"] = error.code

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen["own"].tolist() == (2 * MATRIX).tolist()
    assert seen["tape"]
    assert seen["mixed"] == "MIXED_TAPES"
    assert seen["value"][0].tolist() == (2 * MATRIX).tolist()
    assert pyad.gradient(np.sum(y), a).tolist() == [[2.0, 2.0], [2.0, 2.0]]


def test_a_tape_in_the_hands_of_another_thread() -> None:
    a = leaf()
    y = a * 2
    tape = y.tape
    assert tape is not None
    tape._hold()
    try:
        for use in (lambda: y + 1, lambda: np.sum(y).backward(), lambda: y.sum()):
            assert code_of(use) == "TAPE_BUSY"
    finally:
        tape._release()
    assert pyad.gradient(np.sum(y), a).tolist() == [[2.0, 2.0], [2.0, 2.0]]


def test_a_result_outlives_its_tape() -> None:
    with pyad.Tape():
        y = leaf() * 2
    tape = y.tape
    assert tape is not None
    tape.clear()
    del tape
    assert y.value.tolist() == (2 * MATRIX).tolist()
    assert y.tape is None or len(y.tape) == 0
