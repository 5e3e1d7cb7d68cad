"""Sweeps for several seeds at once: they solve with the recorded matrix and its transpose."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import pyad
from pyad.tape import CONSTANT

Unchanged = Callable[..., AbstractContextManager[None]]


def example() -> tuple[pyad.Tape, pyad.Var]:
    """Return a recording of five nodes, and its leaf."""
    with pyad.Tape() as tape:
        x = pyad.var(2.0)
        _ = pyad.sin(x * 5.0 + 1) * x
    return tape, x


def matrix(tape: pyad.Tape) -> np.typing.NDArray[np.float64]:
    """Return the recording as the dense matrix that it stands for."""
    dense = np.zeros((len(tape), len(tape)))
    for node in range(len(tape)):
        for index, weight in tape.arguments(node):
            if index != CONSTANT:
                dense[node, index] += weight
    return dense


UNARY = [pyad.sin, pyad.tanh, pyad.square, pyad.expit, abs, lambda x: 1.0 - x, lambda x: x / 3]
BINARY = [
    *(lambda x, y: x * y, lambda x, y: x - 2 * y, pyad.hypot, pyad.maximum, pyad.logaddexp),
    *(lambda x, y: pyad.sum([x, y, x]), lambda x, y: pyad.dot([x, 2.0], [y, y])),
]


def random_program(choices: list[tuple[int, int, int]]) -> pyad.Tape:
    with pyad.Tape() as tape:
        nodes = pyad.vars([0.5, -1.25, 2.0])
        for kind, i, j in choices:
            x, y = nodes[i % len(nodes)], nodes[j % len(nodes)]
            kind %= len(UNARY) + len(BINARY)
            unary = kind < len(UNARY)
            nodes.append(UNARY[kind](x) if unary else BINARY[kind - len(UNARY)](x, y))
    return tape


NUMBERS = st.integers(0, 1000)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(NUMBERS, NUMBERS, NUMBERS), min_size=1, max_size=30), st.integers(1, 9))
def test_sweeps_solve_with_the_matrix_and_its_transpose(
    choices: list[tuple[int, int, int]], width: int
) -> None:
    tape = random_program(choices)
    system = np.eye(len(tape)) - matrix(tape)
    random = np.random.default_rng(len(choices))
    u, v = random.normal(size=(2, len(tape), width))
    tangents, adjoints = tape.forward(u), tape.reverse(v)
    np.testing.assert_allclose(tangents, np.linalg.solve(system, u), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(adjoints, np.linalg.solve(system.T, v), rtol=1e-9, atol=1e-9)
    for k in range(width):  # forward equals reverse
        np.testing.assert_allclose(v[:, k] @ tangents[:, k], u[:, k] @ adjoints[:, k], rtol=1e-9)
    np.testing.assert_array_equal(tape.forward(u[:, 0]), tangents[:, 0])
    np.testing.assert_array_equal(tape.reverse(v[:, 0]), adjoints[:, 0])


@pytest.mark.parametrize("shape", [(5, 0), (5, 1), (5, 8), (5,)])
def test_shapes_of_seeds(shape: tuple[int, ...]) -> None:
    tape, _ = example()
    for sweep in (tape.reverse, tape.forward):
        assert sweep(np.ones(shape)).shape == shape
    assert pyad.Tape().reverse(np.ones((0, 3))).shape == (0, 3)
    assert pyad.Tape().forward([]).shape == (0,)


def test_wrong_seeds(unchanged: Unchanged) -> None:
    tape, x = example()
    with unchanged(x, tape=tape):
        for wrong in (1.0, [1.0], np.ones((5, 2, 2)), np.ones((2, 5)), []):
            with pytest.raises(ValueError, match=r"shape \(5,\) or \(5, k\), not"):
                tape.reverse(wrong)
        for text in ("a", ["a"] * 5, [[1.0], 2.0, 3.0, 4.0, 5.0], [x] * 5, [1j] * 5):
            with pytest.raises(TypeError):
                tape.forward(text)


def test_a_branch_not_taken_stays_zero() -> None:
    with pyad.Tape() as tape:
        x = pyad.var(0.0)
        _ = pyad.sqrt(x), x * 2
    assert tape.weights.tolist() == [np.inf, 2.0, 2.0]
    assert tape.reverse([[0.0], [0.0], [1.0]])[0, 0] == 2.0
    both = tape.reverse([[0.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    assert both[0].tolist() == [2.0, np.inf]
    assert tape.forward([0.0, 1.0, 1.0]).tolist() == [0.0, 1.0, 1.0]
