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


# ---- arrays on the tape ------------------------------------------------------------------------


def with_arrays() -> tuple[pyad.Tape, Any, Any]:
    """Return a recording with every kind of array operation, its leaf and its result."""
    with pyad.Tape() as tape:
        a = pyad.array(np.arange(1.0, 7.0).reshape(3, 2), name="a")
        s = pyad.var(2.0, name="s")
        product = a.T @ (np.sin(a) * s)
        running = np.cumsum(product[0]) + np.cumsum(a[::-1, 0])[:2]
        picked = a[[2, 0, 2], [1, 1, 0]] * np.array([1.0, 2.0, 3.0])
        solved = np.linalg.solve(product + 9.0 * np.eye(2), running)
        y = np.sum(solved * running) + np.sum(picked) + np.sum(a, axis=0)[1] * s
    return tape, a, y


def test_views_are_the_matrix_that_the_sweeps_use() -> None:
    tape, _, _ = with_arrays()
    n = len(tape)
    first, indices, weights = tape.first, tape.indices, tape.weights
    assert (len(tape.ops), len(tape.values), len(first)) == (n, n, n + 1)
    assert first[-1] == len(indices) == len(weights)
    owners = np.repeat(np.arange(n), np.diff(first))
    inside = indices != CONSTANT
    assert (indices[inside] < owners[inside]).all()
    matrix = np.zeros((n, n))
    np.add.at(matrix, (owners[inside], indices[inside]), weights[inside])
    inverse = np.linalg.inv(np.eye(n) - matrix)
    np.testing.assert_allclose(tape.forward(np.eye(n)), inverse, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(tape.reverse(np.eye(n)), inverse.T, rtol=1e-9, atol=1e-9)
    for node in range(n):
        own = slice(*first[node : node + 2])
        assert tape.arguments(node) == list(zip(indices[own].tolist(), weights[own], strict=True))


def test_views_agree_with_a_recording_of_scalars() -> None:
    """The expansion into scalar nodes is made by other code, and numbers them otherwise."""
    tape, _, y = with_arrays()
    expanded, places = pyad._handle._expand(tape, 0)
    where = np.frombuffer(places, np.uint32)
    np.testing.assert_array_equal(expanded.values[where], tape.values)
    seeds, other = np.zeros(len(tape)), np.zeros(len(expanded))
    seeds[y.node] = other[where[y.node]] = 1.0
    leaves = np.flatnonzero(tape.ops == tape.ops[0])
    assert len(leaves) == 7
    np.testing.assert_allclose(
        tape.reverse(seeds)[leaves], expanded.reverse(other)[where[leaves]], rtol=1e-12
    )


def test_views_of_recorded_sweeps() -> None:
    """Partials of maps and running sums from the end, which recorded sweeps make."""
    with pyad.Tape() as tape:
        a = pyad.array([0.5, 1.5, 2.5])
        y = np.sum(np.cumsum(np.tanh(a) * a) ** 3)
        pyad.gradient(y, a, create_graph=True)
    n = len(tape)
    owners = np.repeat(np.arange(n), np.diff(tape.first))
    inside = tape.indices != CONSTANT
    matrix = np.zeros((n, n))
    np.add.at(matrix, (owners[inside], tape.indices[inside]), tape.weights[inside])
    inverse = np.linalg.inv(np.eye(n) - matrix)
    np.testing.assert_allclose(tape.forward(np.eye(n)), inverse, rtol=1e-9, atol=1e-9)


def test_adjoints_of_arrays() -> None:
    tape, a, y = with_arrays()
    y.backward(retain_graph=True)
    seeds = np.zeros(len(tape))
    seeds[y.node] = 1.0
    np.testing.assert_allclose(tape.adjoints, tape.reverse(seeds), rtol=1e-12)
    np.testing.assert_allclose(tape.adjoints[:6], a.grad.ravel(), rtol=1e-12)


def test_print_with_arrays() -> None:
    with pyad.Tape() as tape:
        a = pyad.array([1.0, 2.0], name="a")
        y = np.sum(a * a * [2.0, 3.0])
        y.backward(retain_graph=True)
    assert str(tape).splitlines() == [
        "node  operation    value    adjoint  argument (weight)",
        "   0  leaf a[0]        1          4",
        "   1  leaf a[1]        2         12",
        "   2  mul              1          2  0 (1)  0 (1)",
        "   3  mul              4          3  1 (2)  1 (2)",
        "   4  mul              2          1  2 (2)  constant 2",
        "   5  mul             12          1  3 (3)  constant 3",
        "   6  sum             14          1  4 (1)  5 (1)",
    ]
    with pyad.Tape() as tape:
        b = pyad.array(np.linspace(1.0, 2.0, 100), name="b")
        y = np.sum(np.exp(b) @ np.ones((100, 100))) + b[[3, 99, 4]].sum()
    lines = [" ".join(line.split()) for line in str(tape).splitlines()]
    assert lines[1:5] == [
        "0-99 leaf b 1 ... -",
        "100-199 exp 2.7183 ... - 0-99",
        "200-299 matmul 467.46 ... - 100-199 10000 constants",
        f"300 sum {y.value - b.value[[3, 99, 4]].sum():.5g} - 200-299",
    ]
    assert lines[5].startswith("301 gather 1.0303 - 3 (1)")
    assert len(lines) == 1 + 4 + 3 + 1 + 1


def test_stats_count_array_operations() -> None:
    tape, _, _ = with_arrays()
    stats = tape.stats()
    assert stats["blocks"]["solve"] == 1
    assert stats["blocks"]["cumsum"] == 2
    assert stats["operations"]["sin"] == 6
    assert stats["operations"]["leaf"] == 7
    assert sum(stats["operations"].values()) == stats["nodes"] == len(tape)
    assert tape.nbytes == stats["nbytes"] <= stats["reserved_bytes"]
    assert pyad.Tape().stats()["blocks"] == {}


def test_pictures_with_arrays() -> None:
    tape, _, y = with_arrays()
    dot = tape.to_dot()
    assert dot.count("{") == dot.count("}") == 1
    with pyad.Tape() as tape:
        b = pyad.array(np.ones(1000), name="b")
        z = np.exp(b) * b[::-1]
    dot = tape.to_dot()
    assert 'n0 [label="b (1000 numbers)"]' in dot
    assert "n0 -> n1000;" in dot
    assert dot.count("->") == 4
    for picture, boxes in (
        (tape._repr_svg_(), 4),
        (z._repr_svg_(), 4),
        (np.exp(b)._repr_svg_(), 2),
    ):
        root = ElementTree.fromstring(picture)
        assert len(root.findall("{http://www.w3.org/2000/svg}rect")) == boxes
    assert y._repr_svg_() is not None or len(tape) > 60
    assert pyad.array([1.0])._repr_svg_() is None
    tape.clear()
    assert z._repr_svg_() is None
