"""What every test starts from: an empty tape, recording, no gradients."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import hypothesis
import pytest

import pyad

# The same examples in every run, and no clock: a loaded machine or a sanitizer takes its time.
hypothesis.settings.register_profile("same", deadline=None, derandomize=True)
hypothesis.settings.load_profile("same")

Unchanged = Callable[..., AbstractContextManager[None]]

if (
    "PYAD_WAITS_FROM" in os.environ
):  # elementwise operations of so many elements wait, see blocks/pending.h
    pyad.current_tape()._waits_from(int(os.environ["PYAD_WAITS_FROM"]))


@pytest.fixture(autouse=True)
def _empty_tape() -> None:
    pyad.current_tape().clear()


def state(tape: pyad.Tape, leaves: tuple[pyad.Var, ...]) -> object:
    """All that can be seen of a tape and of leaves."""
    arrays = (tape.ops, tape.first, tape.indices, tape.weights, tape.values, tape.adjoints)
    seen = [(repr(x.value), repr(x.grad), x.requires_grad, x.name, x.node) for x in leaves]
    return len(tape), tape.nbytes, [array.tobytes() for array in arrays], seen


@pytest.fixture
def unchanged() -> Unchanged:
    """Return a block at whose end the tape and the leaves given are as they were before."""

    @contextmanager
    def block(*leaves: pyad.Var, tape: pyad.Tape | None = None) -> Iterator[None]:
        held = pyad.current_tape() if tape is None else tape
        before = state(held, leaves)
        yield
        assert state(held, leaves) == before

    return block
