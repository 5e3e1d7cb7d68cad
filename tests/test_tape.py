"""`pyad.Tape`: blocks, views, sweeps with many seeds, limits, pictures, long recordings."""

from __future__ import annotations

import copy
import gc
import tracemalloc
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

import pyad
from pyad.tape import CONSTANT

Unchanged = Callable[..., AbstractContextManager[None]]


def example() -> tuple[pyad.Tape, list[pyad.Var]]:
    """Return a recording of x * y + 1 and sin of it, and its variables."""
    with pyad.Tape() as tape:
        x, y = pyad.var(2.0, name="x"), pyad.var(5.0)
        z = x * y + 1
        w = pyad.sin(z)
    return tape, [x, y, z, w]


# ---- where variables are recorded --------------------------------------------------------------


def test_blocks_nest_and_keep_their_recording() -> None:
    x = pyad.var(2.0)
    default = pyad.current_tape()
    with pyad.Tape() as outer:
        assert pyad.current_tape() is outer
        y = x * 2
        with pyad.Tape() as inner:
            z = x * 3
            y = y * 2  # a result stays with its tape
            with outer:
                x = x * 5
        assert pyad.current_tape() is outer
    assert pyad.current_tape() is default
    assert (len(outer), len(inner), len(default)) == (5, 2, 0)
    assert (y.tape, z.tape, x.tape) == (outer, inner, outer)
    y.backward()
    assert (len(outer), len(inner)) == (0, 2)
    z.backward()


def test_a_tape_can_be_entered_again() -> None:
    tape, (x, y, *_) = example()
    with tape, tape:
        z = x * y
    assert z.tape is tape
    assert pyad.gradient(z, [x, y]) == [5.0, 2.0]
    assert pyad.current_tape() is not tape


def test_blocks_must_be_left_in_order() -> None:
    outer, inner = pyad.Tape(), pyad.Tape()
    with pytest.raises(RuntimeError, match="innermost"):
        outer.__exit__(None, None, None)
    outer.__enter__()
    inner.__enter__()
    with pytest.raises(RuntimeError, match="in the order in which they were entered"):
        outer.__exit__(None, None, None)
    assert pyad.current_tape() is inner
    inner.__exit__(None, None, None)
    outer.__exit__(None, None, None)


def test_a_block_ends_with_an_exception() -> None:
    before = pyad.current_tape()
    with pytest.raises(ZeroDivisionError), pyad.Tape():
        raise ZeroDivisionError
    assert pyad.current_tape() is before


def test_clear() -> None:
    tape, (x, _, z, _) = example()
    tape.clear()
    tape.clear()
    assert (len(tape), tape.nbytes, x.node, z.node, z.value) == (0, 0, None, None, 11.0)
    with pytest.raises(RuntimeError, match="has ended"):
        z.backward()
    assert pyad.gradient(x * x, x) == 4.0


def test_a_tape_lives_as_long_as_its_results() -> None:
    _, (x, _, z, _) = example()
    gc.collect()
    assert pyad.gradient(z, x) == 5.0


def test_a_leaf_used_on_several_tapes() -> None:
    x = pyad.var(3.0)
    y = x * x
    with pyad.Tape():
        z = x * 2
        w = y * x  # both on the tape of y
    assert w.tape is y.tape
    assert pyad.gradient(z, x) == 2.0
    assert pyad.gradient(w, x) == 27.0


# ---- limits ------------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", [0, -1, "a", 1.5, 2**70, [], float("nan")])
def test_a_limit_is_a_positive_number_of_bytes(limit: Any) -> None:
    with pytest.raises(pyad.Error, match="max_bytes"):
        pyad.Tape(max_bytes=limit)


def fill(function: Callable[[Any], Any], y: pyad.Var) -> None:
    while True:
        y = function(y)


def test_recording_beyond_the_limit_leaves_everything_as_it_was(unchanged: Unchanged) -> None:
    tape = pyad.Tape(max_bytes=60_000)
    with tape:
        xs = pyad.vars([1.0] * 100)
        y = x = pyad.var(1.0)
        while tape.nbytes < 40_000:
            y = y * 1.0
        for function in (lambda y: y * 1.0, pyad.sin):
            with pytest.raises(MemoryError, match="max_bytes"):
                fill(function, y)
        assert 45_000 < tape.nbytes <= tape.stats()["reserved_bytes"] <= 60_000
        for call in (
            lambda: y * 2,
            lambda: pyad.sin(y),
            lambda: xs[0] * y,
            lambda: pyad.sum([*xs, y]),
            lambda: pyad.from_partials(1.0, [*xs, y], [1.0] * 101),
            lambda: divmod(y, 2),
        ):
            with unchanged(x, *xs, tape=tape), pytest.raises(MemoryError):
                call()
        y.backward()  # what could be recorded can be swept
        assert tape.stats()["reserved_bytes"] <= 60_000
        (x * 3).backward()
    assert x.grad is not None


# ---- views -------------------------------------------------------------------------------------

VIEWS = {
    "ops": np.uint8,
    "first": np.uint32,
    "indices": np.uint32,
    "weights": np.float64,
    "values": np.float64,
    "adjoints": np.float64,
}


def test_views() -> None:
    tape, (x, _, _, w) = example()
    names = [pyad.operations()[op].name for op in tape.ops]
    assert names == ["leaf", "leaf", "mul", "add", "sin"]
    assert tape.first.tolist() == [0, 0, 0, 2, 4, 5]
    assert tape.indices.tolist() == [0, 1, 2, CONSTANT, 3]
    assert tape.weights.tolist() == [5.0, 2.0, 1.0, 1.0, np.cos(11.0)]
    assert tape.values.tolist() == [2.0, 5.0, 10.0, 11.0, np.sin(11.0)]
    assert tape.adjoints.size == 0
    w.backward()
    slope = np.cos(11.0)
    assert tape.adjoints.tolist() == [5 * slope, 2 * slope, slope, slope, 1.0]
    assert x.grad == 5 * slope


@pytest.mark.parametrize("name", VIEWS)
def test_views_are_read_only(name: str) -> None:
    used, (*_, w) = example()
    w.backward(retain_graph=True)
    for tape in (pyad.Tape(), used):
        view = getattr(tape, name)
        assert view.dtype == VIEWS[name]
        if view.base is None:  # of a tape that has no such array yet
            continue
        with pytest.raises(ValueError, match="read-only"):
            view[...] = 0
        with pytest.raises(ValueError, match="WRITEABLE"):
            view.flags.writeable = True
        with pytest.raises(AttributeError):
            setattr(tape, name, view)


def test_views_stay_as_they_are_whatever_becomes_of_the_tape() -> None:
    tape, (x, _, _, w) = example()
    w.backward(retain_graph=True)
    views = {name: getattr(tape, name) for name in VIEWS}
    before = {name: view.tolist() for name, view in views.items()}

    def unchanged() -> bool:
        return all(view.tolist() == before[name] for name, view in views.items())

    with tape:
        y = w
        for _ in range(5000):  # the arrays grow
            y = y * 2.0
        assert unchanged()
        y.backward()  # the tape starts again
        assert unchanged()
        for _ in range(100):
            y = x * x
        y.backward()
        assert unchanged()
    tape.clear()
    del tape, w, x, y
    gc.collect()
    junk = [np.full(1000, 7.0) for _ in range(100)]
    assert unchanged()
    assert len(junk) == 100


def test_arguments_of_a_node() -> None:
    tape, _ = example()
    assert tape.arguments(0) == []
    assert tape.arguments(2) == [(0, 5.0), (1, 2.0)]
    assert tape.arguments(np.int64(3)) == [(2, 1.0), (CONSTANT, 1.0)]
    for huge in (5, -1, 2**32, 10**30):
        with pytest.raises(IndexError, match=r"below len\(tape\)"):
            tape.arguments(huge)


def test_sizes() -> None:
    tape = pyad.Tape()
    with tape:
        x, y = pyad.var(1.0), pyad.var(2.0)
        _ = x * y
        sizes = [tape.nbytes]
        for function in (lambda: x * y, lambda: x * 2.0, lambda: pyad.sin(x)):
            before = tape.nbytes
            function()
            sizes.append(tape.nbytes - before)
    assert sizes == [63, 37, 37, 25]
    stats = tape.stats()
    assert stats["nodes"] == len(tape) == 6
    assert stats["arguments"] == 7
    assert stats["operations"] == {"leaf": 2, "mul": 3, "sin": 1}
    assert stats["nbytes"] == sum(sizes) <= stats["reserved_bytes"]
    for duplicate in (copy.copy, copy.deepcopy):
        with pytest.raises(TypeError):
            duplicate(tape)


# ---- showing -----------------------------------------------------------------------------------


def test_print() -> None:
    tape, (*_, w) = example()
    lines = str(tape).splitlines()
    assert len(lines) == 6
    assert lines[1].split() == ["0", "leaf", "x", "2", "-"]
    assert lines[4].split() == ["3", "add", "11", "-", "2", "(1)", "constant", "1"]
    w.backward(retain_graph=True)
    assert str(tape).splitlines()[5].split()[1:] == ["sin", "-0.99999", "1", "3", "(0.0044257)"]
    assert repr(tape) == "<Tape of 5 nodes, 125 bytes>"
    assert len(str(pyad.Tape()).splitlines()) == 1
    with tape:
        for _ in range(1000):
            w = w * 2
    lines = str(tape).splitlines()
    assert len(lines) == 402
    assert lines[201].split() == ["...", "(605", "nodes", "more)"]
    assert lines[-1].split()[0] == "1004"


def test_drawings() -> None:
    tape, (x, _, z, w) = example()
    x.name = 'a "quoted" & <named> \\ leaf'
    dot = tape.to_dot()
    assert dot.count("->") == 5
    assert '\\"quoted\\"' in dot
    for picture, nodes in ((tape._repr_svg_(), 5), (z._repr_svg_(), 4), (w._repr_svg_(), 5)):
        assert picture is not None
        root = ElementTree.fromstring(picture)
        assert sum(element.tag.endswith("rect") for element in root) == nodes
    with tape:
        for _ in range(100):
            w = w * 2
    assert w._repr_svg_() is None
    assert tape._repr_svg_() is None
    assert pyad.var(1.0)._repr_svg_() is None
    assert pyad.Tape()._repr_svg_() is None


# ---- long recordings, many recordings ----------------------------------------------------------


def test_a_deep_chain() -> None:
    x = y = pyad.var(1.0)
    for _ in range(1_000_000):
        y = y * 0.9999999
    assert len(pyad.current_tape()) == 1_000_001
    y.backward()
    assert x.grad == y.value
    assert len(pyad.current_tape()) == 0


def test_many_turns_take_constant_memory() -> None:
    weights, tape = pyad.vars([1.0] * 50), pyad.Tape()

    def turn() -> None:
        loss = pyad.sum([w * w for w in weights]) + weights[0] * 2
        loss.backward()
        for w in weights:
            w.value -= 0.1 * (w.grad or 0.0)
            w.zero_grad()

    with tape:
        for _ in range(3):
            turn()
        reserved = tape.stats()["reserved_bytes"]
        tracemalloc.start()
        turn()
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(300):
            turn()
        after = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        assert tape.stats()["reserved_bytes"] == reserved
    assert after - before < 4000


def test_evaluations_without_a_sweep_do_not_fill_the_memory_of_a_thread() -> None:
    def evaluate() -> tuple[int, Any]:
        x = pyad.var(1.0)
        for _ in range(1100):
            pyad.sum([x] * 1000) * 2
            for _ in range(1000):
                x * 2
        return len(pyad.current_tape()), pyad.gradient(x * x, x)

    with ThreadPoolExecutor(1) as thread:  # nothing that another test left alive is on its tape
        length, slope = thread.submit(evaluate).result()
    assert length < 1_100_000
    assert slope == 2.0
