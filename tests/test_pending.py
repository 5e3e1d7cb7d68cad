"""Elementwise operations that wait to be evaluated together: the same numbers, to the last bit."""

from __future__ import annotations

import copy
import gc
import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pyad

TESTS = Path(__file__).resolve().parent
NEVER, ALWAYS = 0, 1


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    before = pyad.current_tape()._waits_from(ALWAYS)
    yield
    pyad.current_tape()._waits_from(before)


def bits(result: Any) -> list[bytes]:
    """The numbers of nested lists of results, as bytes."""
    if isinstance(result, (list, tuple)):
        return [b for item in result for b in bits(item)]
    numbers = np.array(result.value if hasattr(result, "value") else result, float)
    numbers[np.isnan(numbers)] = np.nan  # of any sign
    return [numbers.tobytes()]


def both(program: Callable[[], Any]) -> None:
    """The program gives the same bits whether operations wait or not."""
    results = []
    for waits_from in (NEVER, ALWAYS):
        pyad.current_tape().clear()
        pyad.current_tape()._waits_from(waits_from)
        results.append(bits(program()))
        pyad.current_tape().clear()
    assert results[0] == results[1]


# ---- random programs ---------------------------------------------------------------------------

UNARY = [
    np.sin,
    np.exp,
    np.tanh,
    np.negative,
    np.square,
    np.abs,
    np.sqrt,
    pyad.relu,
    np.cos,
    np.positive,
]
BINARY = [np.add, np.subtract, np.multiply, np.divide, np.maximum, np.minimum, np.hypot]


def step(draw: random.Random, held: list[Any], seen: list[Any]) -> Any:
    """One operation on what is held: elementwise, a view, a store, a reduction, or a look."""
    x, y = draw.choice(held), draw.choice(held)
    kind = draw.randrange(14)
    if kind < 3:
        return draw.choice(UNARY)(x)
    if kind < 6:
        return draw.choice(BINARY)(x, y if y.shape == x.shape else draw.uniform(-2, 2))
    if kind == 6:
        return draw.choice([x**2, 1 / (x + 3), 2.5 - x, x / 7])
    if kind == 7:  # temporaries that nobody holds
        return np.exp(-x * x / 2) * np.sin(x) + (x - 1) ** 2 * (x / 3)
    if kind == 8:
        return x * x.ravel()[draw.randrange(x.size)]
    if kind == 9:
        return x[::-1] if x.ndim == 1 else x.T
    if kind == 10:
        changed = x.copy()
        changed[draw.randrange(len(x))] = draw.uniform(-1, 1)
        return changed + x
    if kind == 11:
        seen.append(np.sum(x * y) if x.shape == y.shape else np.sum(x))
        return x * seen[-1] / 1000
    if kind == 12:
        seen.append(draw.choice([x.value, np.max(x).value, x.ravel()[0].value, float(x.size)]))
        return x
    x = x + 0
    x *= 0.5
    x += x
    return x


def program(seed: int, size: int) -> Callable[[], Any]:
    """Views, stores, maps and reductions; what they give is held or dropped."""

    def run() -> Any:
        draw = random.Random(seed)
        shape = (size,) if seed % 3 else (size // 7, 7)
        numbers = np.random.default_rng(seed)
        leaves = [pyad.array(numbers.normal(size=shape)) for _ in range(2)]
        held: list[Any] = [leaves[0] + 0.5, leaves[1] * leaves[0]]
        seen: list[Any] = []
        for _ in range(draw.randrange(5, 60)):
            held.append(step(draw, held, seen))
            if len(held) > 3 and draw.random() < 0.6:
                del held[draw.randrange(len(held))]
        total = sum(np.sum(np.tanh(x) * x) for x in held[-3:])
        how = seed % 4
        if how == 0:
            total.backward()
            return [total, [leaf.grad for leaf in leaves], held, seen]
        if how == 1:
            gradients = pyad.gradient(total, [*leaves, *held[:2]], retain_graph=True)
            return [gradients, pyad.current_tape().values, held, seen]
        if how == 2:
            first = pyad.gradient(total, leaves, create_graph=True)
            second = pyad.gradient(np.sum(first[0] * first[0]), leaves)
            return [first, second, total]
        total.backward(retain_graph=True)
        total.backward()
        return [leaf.grad for leaf in leaves]

    return run


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("size", [14, 3500])
@pytest.mark.parametrize("part", range(4))
def test_random_programs(part: int, size: int) -> None:
    for seed in range(part * 200, part * 200 + (200 if size < 100 else 40)):
        both(program(seed, size))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("op", [*UNARY, *BINARY, np.power, np.arctan2, np.logaddexp])
def test_every_tile_is_as_all_at_once(op: Any) -> None:
    numbers = np.random.default_rng(0)
    x, y = numbers.normal(size=(2, 10_007)) * 3
    x[5000:5004] = [0.0, -0.0, np.inf, np.nan]
    unary = op in UNARY

    def run() -> Any:
        a, b = pyad.array(x), pyad.array(y)
        z = op(a * 1.5) if unary else op(a * 1.5, b)
        total = np.sum(z * a)
        return [z, total, pyad.gradient(total, a)]

    both(run)


@pytest.mark.parametrize(
    "size", [1, 7, 8, 127, 129, 511, 512, 513, 1023, 1025, 2049, 9_999, 100_003]
)
def test_sums_are_added_in_the_same_order(size: int) -> None:
    numbers = np.random.default_rng(size).normal(size=size)

    def run() -> Any:
        x = pyad.array(numbers)
        square = x * x
        return [np.sum(square), np.mean(x * 3), square, np.sum(square / 3), np.sum(-x * 0)]

    both(run)
    assert np.sum(pyad.array(numbers) * 1.1).value == np.sum(numbers * 1.1)


def test_sines_are_computed_again_with_their_cosines() -> None:
    numbers = np.append(np.random.default_rng(5).normal(size=1500), [0.0, -0.0, 2e6, -3e9])

    def run() -> Any:
        x = pyad.array(numbers)
        total = np.sum(np.sin(x) * np.cos(2 * x) + np.sin(np.cos(3 * x)) * np.sin(-x))
        return [total, pyad.gradient(total, x)]

    both(run)
    x = pyad.array(numbers)
    slope = pyad.gradient(np.sum(np.sin(x) * np.cos(2 * x)), x)
    s, c, s2, c2 = np.sin(numbers), np.cos(numbers), np.sin(2 * numbers), np.cos(2 * numbers)
    np.testing.assert_allclose(slope, c * c2 - 2 * s * s2, rtol=1e-13, atol=1e-14)


@pytest.mark.parametrize("divisor", [2.0, -0.25, 2.0**-1022, 2.0**1022, 2.0**1023, 5e-324, 3.0])
def test_quotients_are_numpys_whatever_the_divisor(divisor: float) -> None:
    numbers = np.random.default_rng(6).normal(size=1500)
    numbers[:8] = 0.0, -0.0, np.inf, -np.inf, np.nan, 5e-324, 3e-308, 1e308
    compiled = pyad.compile(lambda x: x * 1.0 / divisor)
    with np.errstate(all="ignore"):
        expected = (numbers / divisor).tobytes()
        assert (pyad.array(numbers) / divisor).value.tobytes() == expected
        for _ in range(3):
            assert compiled(numbers).tobytes() == expected


# ---- what asks for values ----------------------------------------------------------------------


def wave(x: Any) -> Any:
    return np.sum(np.exp(-x * x / 2) * np.sin(x))


POINT = np.random.default_rng(1).normal(size=37)


@pytest.mark.parametrize(
    "transform",
    [
        pyad.grad(wave),
        pyad.value_and_grad(wave),
        pyad.hessian(wave),
        pyad.jacobian(lambda x: np.exp(-x * x) * x[::-1]),
        lambda x: pyad.jvp(wave, (x,), (x,)),
        lambda x: pyad.hvp(wave, x, x),
        pyad.grad(lambda x: np.sum(pyad.grad(wave)(x * 2) * x)),
    ],
)
def test_transforms(transform: Callable[..., Any]) -> None:
    both(lambda: transform(POINT))


def test_whoever_looks_sees_the_values() -> None:
    x = pyad.array(POINT)
    y = x * x
    s = np.sum(y)  # y is not stored for it
    assert s.value == np.sum(POINT * POINT)
    assert np.array_equal(y.value, POINT * POINT)
    assert (y * 2 > POINT).tolist() == (POINT * POINT * 2 > POINT).tolist()
    assert repr(y + 1) == repr(x.detach() * x.detach() + 1).replace(
        "requires_grad=False", "recorded"
    )
    assert y[3].value == POINT[3] ** 2
    assert float((y - 1)[2].value) == POINT[2] ** 2 - 1
    z = y / 3
    np.sum(z)
    tape = pyad.current_tape()
    start = len(tape) - len(POINT) - 1
    assert np.array_equal(tape.values[start:-1], POINT * POINT / 3)
    assert copy.deepcopy(z).value.tolist() == (POINT * POINT / 3).tolist()


def test_values_outlive_the_recording() -> None:
    x = pyad.array(POINT)
    kept, summed = np.sqrt(np.abs(x)) * 2, x * 3
    total = np.sum(summed)
    later = kept - 1
    (total + np.sum(kept)).backward()
    assert np.array_equal(summed.value, POINT * 3)
    assert np.array_equal(kept.value, np.sqrt(np.abs(POINT)) * 2)
    assert np.array_equal(later.value, np.sqrt(np.abs(POINT)) * 2 - 1)


def test_a_recording_may_end_with_operations_pending() -> None:
    x = pyad.array(POINT)
    y = x * 2 + 1
    pyad.current_tape().clear()
    assert np.array_equal(y.value, POINT * 2 + 1)
    z = x * 2
    del z
    gc.collect()
    pyad.current_tape().clear()
    assert len(pyad.current_tape()) == 0


def test_adjoints_of_intermediates() -> None:
    x = pyad.array(POINT)
    y = x * x
    z = np.exp(y - 1)
    np.sum(z * x).backward(retain_graph=True)
    assert np.allclose(y.grad, np.exp(POINT**2 - 1) * POINT)


def test_a_frame_begins_among_pending_operations() -> None:
    def run() -> Any:
        x = pyad.array(POINT)
        outer = (x + 1) * (x - 1)
        inner = pyad.grad(lambda v: np.sum(np.exp(v / 9) * v * outer.value))(POINT)
        mixed = pyad.grad(lambda v: np.sum(v * v * outer))(POINT)
        return [inner, pyad.gradient(np.sum(mixed * outer), x)]

    both(run)


def test_long_chains() -> None:
    def run() -> Any:
        x = pyad.array(POINT)
        y = x
        for i in range(150):
            y = y * 0.9 + (x - i) / 50 if i % 5 else np.sin(y)
        total = np.sum(y)
        return [total, pyad.gradient(total, x)]

    both(run)


def test_operands_that_are_one_number() -> None:
    def run() -> Any:
        x, w = pyad.array(POINT), pyad.var(1.5)
        y = x * w
        z = y * pyad.var(2.0) - y[4]
        total = np.sum(z / z[0] * np.sum(z))
        return [total, pyad.gradient(total, [x, w])]

    both(run)


def test_bytes_are_those_of_the_nodes() -> None:
    sizes = []
    for waits_from in (NEVER, ALWAYS):
        tape = pyad.current_tape()
        tape.clear()
        tape._waits_from(waits_from)
        wave(pyad.array(POINT))
        sizes.append(tape.nbytes)
    assert sizes[0] == sizes[1]


def test_no_room_is_found_before_anything_waits() -> None:
    with pyad.Tape(max_bytes=20_000) as tape:
        x = pyad.array(POINT)
        terms = [x * 2]
        with pytest.raises(MemoryError):
            terms.extend(terms[-1] + x for _ in range(1000))
        assert len(terms) > 3
        assert np.allclose(terms[-1].value, POINT * (len(terms) + 1))
    assert tape.nbytes <= 20_000


def test_anomalies_are_found_at_their_line() -> None:
    with pyad.detect_anomaly(), pytest.raises(pyad.Error, match="log gives nan"):
        np.log(pyad.array(POINT) * 2 - 100)


# ---- the tests of arrays -----------------------------------------------------------------------


@pytest.mark.parametrize("name", ["test_create_graph", "test_array_handles", "test_watch"])
def test_the_tests_of_arrays_hold_where_every_operation_waits(name: str) -> None:
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-x",
        "-p",
        "no:cacheprovider",
        f"tests/{name}.py",
    ]
    environment = {**os.environ, "PYAD_WAITS_FROM": "1"}
    done = subprocess.run(
        command, cwd=TESTS.parent, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout[-3000:]
