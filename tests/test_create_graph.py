"""`create_graph=True`: eager sweeps that can be differentiated again."""

from __future__ import annotations

import pytest

import pyad


def test_gradients_of_gradients() -> None:
    x = pyad.var(2.0)
    first = pyad.gradient(x**4, x, create_graph=True)
    second = pyad.gradient(first, [x], create_graph=True)
    assert (first.value, second[0].value) == (32.0, 48.0)
    assert pyad.gradient(second[0], x) == 48.0


def test_structure_and_unused_leaves() -> None:
    x, y, unused = pyad.vars([2.0, 3.0, 4.0])
    found = pyad.gradient(x * y * y, {"x": x, "rest": [y, unused]}, create_graph=True)
    assert found["x"].value == 9.0
    assert found["rest"][0].value == 12.0
    assert found["rest"][1] == 0.0
    assert pyad.gradient(found["rest"][0], (x, y)) == (6.0, 4.0)


def test_backward_accumulates_variables() -> None:
    x = pyad.var(2.0)
    (x**3).backward(create_graph=True)
    assert isinstance(x.grad, pyad.Var)
    assert x.grad.value == 12.0
    penalty = x.grad**2
    penalty.backward()
    assert x.grad == 12.0 + 2 * 12.0 * 12.0
    x.zero_grad()
    assert x.grad == 0.0


def test_backward_twice_adds_up() -> None:
    x = pyad.var(2.0)
    y = x * x
    y.backward(create_graph=True)
    y.backward(create_graph=True)
    assert x.grad.value == 8.0
    assert pyad.gradient(x.grad, x) == 4.0


def test_seed_may_be_a_variable() -> None:
    x, s = pyad.var(2.0), pyad.var(5.0)
    slope = pyad.gradient(x * x, x, seed=s, create_graph=True)
    assert slope.value == 20.0
    assert pyad.gradient(slope, [x, s]) == [10.0, 4.0]


def test_a_leaf_of_which_nothing_was_computed() -> None:
    x = pyad.var(2.0)
    assert pyad.gradient(x, x, create_graph=True) == 1.0


def test_a_leaf_that_was_assigned_counts_all_its_nodes() -> None:
    x = pyad.var(2.0)
    y = x * 3.0
    x.value = 2.0
    assert pyad.gradient(y + x * x, x, create_graph=True).value == 7.0


def test_within_a_transform_gradient_is_recorded_unasked() -> None:
    def f(t: pyad.Var) -> pyad.Var:
        u = t * 1.0
        return pyad.gradient(u**3, u) * t

    assert pyad.grad(f)(2.0) == 36.0


def test_errors() -> None:
    x = pyad.var(2.0)
    stale = x * x
    stale.backward()
    y = x * 3.0
    with pyad.Tape():
        other = pyad.var(1.0) * 2.0
    for bad in (1.0, x.detach(), stale, other):
        with pytest.raises(pyad.Error):
            pyad.gradient(y, bad, create_graph=True)
    with pytest.raises(pyad.Error):
        pyad.gradient(stale, x, create_graph=True)
    with pytest.raises(pyad.Error):
        x.detach().backward(create_graph=True)
    assert pyad.gradient(y, x) == 3.0
