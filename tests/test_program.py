"""Programs: recordings that are replayed, one point at a time and in batches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import pyad
from pyad import _handle
from pyad._binding import OPERATIONS, check, ffi, lib
from pyad.tape import CONSTANT
from tests.sparsity_programs import OP, SMOOTH, programs
from tests.sparsity_programs import Program as Recording

Floats = npt.NDArray[np.float64]
OPERAND = np.dtype([("value", "f8"), ("node", "u4"), ("padding", "u4")])


def pointer(x: Floats | None) -> Any:
    return ffi.NULL if x is None else ffi.from_buffer("double[]", x)


class Program:
    """A program, and runs of it."""

    def __init__(
        self, core: Any, start: int, inputs: Sequence[tuple[int, int]], outputs: Floats
    ) -> None:
        self.counts = [count for _, count in inputs]
        self.inputs, self.outputs = sum(self.counts), len(outputs)
        given = ffi.new("pyad_input[]", [(node, count, 1) for node, count in inputs])
        result = ffi.new("pyad_program **")
        operands = ffi.from_buffer("pyad_operand[]", np.append(outputs, np.zeros(1, OPERAND)))
        check(lib.pyad_program_new(core, start, len(inputs), given, self.outputs, operands, result))
        self.core = ffi.gc(result[0], lib.pyad_program_free)
        self.room = np.full(lib.pyad_program_room(self.core), np.nan)
        lib.pyad_program_prepare(self.core, pointer(self.room))

    def value(self, x: Floats) -> tuple[Floats, bool]:
        outputs, holds = np.empty(self.outputs), ffi.new("int *")
        args = pointer(self.room), pointer(x), pointer(outputs), holds
        check(lib.pyad_program_value(self.core, *args))
        return outputs, bool(holds[0])

    def gradient(self, seeds: Floats) -> Floats:
        gradient = np.empty(self.inputs)
        args = pointer(self.room), pointer(seeds), pointer(gradient)
        check(lib.pyad_program_gradient(self.core, *args))
        return gradient

    def both(self, x: Floats, seeds: Floats) -> tuple[Floats, Floats, bool]:
        outputs, gradient = np.full(self.outputs, np.nan), np.full(self.inputs, np.nan)
        holds = ffi.new("int *")
        check(
            lib.pyad_program_value_gradient(
                self.core,
                pointer(self.room),
                pointer(x),
                pointer(seeds),
                pointer(outputs),
                pointer(gradient),
                holds,
            )
        )
        return outputs, gradient, bool(holds[0])

    def batch(
        self,
        xs: Sequence[Floats],
        seeds: Floats | None = None,
        *,
        summed: bool = False,
        parts: Sequence[tuple[int, int]] = (),
        rests: Floats | None = None,
    ) -> tuple[Floats, list[Floats], list[bool]]:
        """Outputs, gradients and what holds; an argument of one dimension is shared."""
        rows = max((len(x) for x in xs if x.ndim == 2), default=1)
        entries = ffi.new("pyad_batch_input[]", len(xs))
        gradients = []
        for entry, x, count in zip(entries, xs, self.counts, strict=True):
            gradients.append(np.zeros(count if summed else (rows, count)))
            entry.x, entry.count, entry.step = pointer(x), count, count if x.ndim == 2 else 0
            entry.gradient = pointer(gradients[-1]) if count else ffi.NULL
            entry.gradient_step = 0 if summed else count
        outputs = np.zeros(self.outputs if summed else (rows, self.outputs))
        holds = np.full(rows, 9, np.uint8)
        batch = ffi.new("pyad_batch *")
        batch.inputs, batch.input = len(xs), entries
        batch.outputs, batch.output_step = pointer(outputs), 0 if summed else self.outputs
        batch.seeds = pointer(seeds)
        batch.seed_step = 0 if seeds is None or seeds.ndim == 1 else self.outputs
        batch.rests = pointer(rests)
        batch.holds = ffi.from_buffer("unsigned char[]", holds)
        for first, count in parts or [(0, rows)]:
            check(lib.pyad_program_batch(self.core, batch, first, count))
        return outputs, gradients, [bool(h) for h in holds]


def program_of(f: Callable[..., Any], *args: Any) -> Program:
    """The program of a function of numbers and arrays, recorded at these."""
    with pyad.Tape() as tape, pyad.enable_grad():
        _handle._guarding(tape, True)
        frame, start = _handle._enter()
        try:
            handles, places = _handle._aliases(frame, list(args))
            result = f(*handles)
            leaves = list(result) if isinstance(result, (list, tuple)) else [result]
            values, rows = _handle._flat(frame, leaves, "the result", False)
            outputs = np.zeros(len(values), OPERAND)
            outputs["value"], outputs["node"] = values, rows - np.uint32(1)
            inputs = [(node, abs(count)) for node, count in places.tolist()]
            with frame._held() as core:
                return Program(core, start, inputs, outputs)
        finally:
            _handle._leave(frame, False)
            _handle._guarding(tape, False)


def replay(recording: Recording, x: Floats, seeds: Floats) -> tuple[Floats, Floats]:
    """Outputs of a recording at other inputs, and the gradient, node by node."""
    tape, start, inputs, outputs = recording
    values = np.array(tape.values)
    values[inputs] = x
    partials: dict[int, list[tuple[int, float]]] = {}
    for node in range(start, len(tape)):
        if node in inputs:
            continue
        op, arguments = tape.ops[node], tape.arguments(node)
        given = [(w if i == CONSTANT else values[i], CONSTANT) for i, w in arguments]
        nodes = [i for i, _ in arguments]
        if OPERATIONS[op].arguments > 0:
            a, b = (given * 2)[0][0], (given * 2)[1][0]
            found = ffi.new("pyad_partials *")
            check(lib.pyad_op_partials(op, a, b, found))
            values[node] = lib.pyad_op_value(op, a, b)
            slopes = [found.da, found.db][: len(nodes)]
        else:
            if op == OP["lincomb"]:
                pairs = [(w, 1.0 if i == CONSTANT else values[i]) for i, w in arguments]
                given = [(number, CONSTANT) for pair in pairs for number in pair]
                op, nodes = OP["dot"], [n for i in nodes for n in (CONSTANT, i)]
            value, array = ffi.new("double *"), ffi.new("double[]", max(1, len(given)))
            check(lib.pyad_op_many(op, len(given), ffi.new("pyad_operand[]", given), value, array))
            values[node], slopes = value[0], list(array)[: len(given)]
        partials[node] = list(zip(nodes, slopes, strict=True))
    adjoints = np.zeros(len(tape))
    for node, seed in zip(outputs, seeds, strict=True):
        if node != CONSTANT and node >= start:
            adjoints[node] += seed
    for node in reversed(partials):
        for i, slope in partials[node]:
            if i != CONSTANT and i >= start and adjoints[node] != 0:
                adjoints[i] += adjoints[node] * slope
    return np.array([0.0 if n == CONSTANT else values[n] for n in outputs]), adjoints[inputs]


def assert_close(found: Floats, expected: Floats) -> None:
    """Equal but for the order of additions."""
    scale = np.max(np.abs(expected), initial=1.0, where=np.isfinite(expected))
    np.testing.assert_allclose(found, expected, rtol=1e-11, atol=1e-12 * scale)


@settings(deadline=None, max_examples=200)
@given(programs([name for name in SMOOTH if name != "given"]), st.integers(1, 17), st.integers())
def test_a_program_is_its_recording(recording: Recording, rows: int, seed: int) -> None:
    generator = np.random.default_rng(abs(seed))
    tape, start, inputs, nodes = recording
    outputs = np.zeros(len(nodes), OPERAND)
    outputs["node"] = nodes
    with tape._held() as core:
        program = Program(core, start, [(node, 1) for node in inputs], outputs)
    x = generator.uniform(0.3, 0.9, (rows, len(inputs)))
    seeds = generator.choice([0.0, 1.0, -0.5], (rows, len(nodes)))
    program.counts = [len(inputs)]
    values, (gradients,), holds = program.batch([x], seeds)
    assert all(holds)
    for row in range(rows):
        expected, slope = replay(recording, x[row], seeds[row])
        assert_close(program.value(x[row])[0], expected)
        assert_close(program.gradient(seeds[row]), slope)
        value, gradient, _ = program.both(x[row], seeds[row])
        assert_close(value, expected)
        assert_close(gradient, slope)
        assert_close(values[row], expected)
        assert_close(gradients[row], slope)


def arrays(x: Any, w: Any) -> list[Any]:
    """Each kind of block, with vectors of 12 and 3."""
    a = x.reshape(3, 4)
    b = np.exp(-a * a / 2) * np.sin(a) + w[:, None]
    c = (b @ b.T)[::-1] / (1.0 + w * w)
    d = np.cumsum(np.tanh(c), axis=0)
    y = x * 1.0
    y[3] = y[2] * x[0]
    return [np.sum(d * c.T), np.max(b), y[3] * np.linalg.det(c + 3.0 * np.eye(3)), np.sum(y)]


@pytest.mark.parametrize("rows", range(1, 18))
def test_a_batch_is_its_rows(rows: int) -> None:
    generator = np.random.default_rng(rows)
    x, w = generator.uniform(-1.0, 1.0, (rows, 12)), generator.uniform(-1.0, 1.0, 3)
    program = program_of(arrays, x[0], w)
    seeds = np.array([1.0, 0.0, 0.5, -2.0])
    values, (dx, dw), holds = program.batch([x, w], seeds)
    total, (sum_x, sum_w), again = program.batch([x, w], seeds, summed=True)
    assert again == holds
    assert holds[0]
    for row in range(rows):
        expected, held = program.value(np.concatenate([x[row], w]))
        assert held == holds[row]
        if held:
            slope = program.gradient(seeds)
            np.testing.assert_allclose(values[row], expected, rtol=1e-13, atol=1e-13)
            np.testing.assert_allclose(dx[row], slope[:12], rtol=1e-12, atol=1e-12)
            np.testing.assert_allclose(dw[row], slope[12:], rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(total, values[holds].sum(axis=0), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(sum_x, dx[holds].sum(axis=0), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(sum_w, dw[holds].sum(axis=0), rtol=1e-12, atol=1e-12)


def test_parts_of_a_batch_make_the_whole() -> None:
    x = np.linspace(0.1, 2.0, 21)[:, None]
    program = program_of(lambda a: a * pyad.sin(a) - pyad.log(a), 0.5)
    whole = program.batch([x], np.ones(1))
    parts = program.batch([x], np.ones(1), parts=[(0, 5), (5, 0), (5, 1), (6, 15)])
    assert np.array_equal(whole[0], parts[0])
    assert np.array_equal(whole[1][0], parts[1][0])
    assert whole[2] == parts[2] == [True] * 21


@pytest.mark.parametrize("n", [1, 2000])
def test_what_sums_lack_is_given_on_request(n: int) -> None:
    program = program_of(lambda a, b: np.sum(a * b), np.ones(n), 1.0)
    x = np.repeat(np.array([1e16, 1.0, 1.0, 1.0, -1e16])[:, None], n, axis=1)
    args = [x, np.array([1.0 / n])]
    rests = np.zeros(1 + n + 1)
    (total,), (da, db), _ = program.batch(args, np.ones(1), summed=True, rests=rests)
    assert total + rests[0] == pytest.approx(3.0, rel=1e-10)
    assert db + rests[-1] == pytest.approx(3.0 * n, rel=1e-10)
    np.testing.assert_allclose(da + rests[1:-1], 5.0 / n, rtol=1e-14)
    whole, (_, slope), _ = program.batch(args, np.ones(1), summed=True)
    assert whole[0] == total + rests[0]
    assert slope == db + rests[-1]


def test_an_empty_batch_writes_nothing() -> None:
    program = program_of(lambda a: a * a, 0.5)
    assert program.batch([np.empty((0, 1))], np.ones(1))[2] == []


def test_guards_are_asked_in_every_row() -> None:
    program = program_of(lambda a, b: a * b if a > b else a - b, 2.0, 1.0)
    a = np.array([[2.0], [0.5], [np.nan], [3.0], [1.0]])
    values, (da, _), holds = program.batch([a, np.array([1.0])], np.ones(1))
    assert holds == [True, False, False, True, False]
    assert values[holds].ravel().tolist() == [2.0, 3.0]
    assert da[holds].ravel().tolist() == [1.0, 1.0]
    total, (da, db), _ = program.batch([a, np.array([1.0])], np.ones(1), summed=True)
    assert (total[0], da[0], db[0]) == (5.0, 2.0, 5.0)


def test_a_zero_adjoint_passes_nothing_to_an_infinite_partial() -> None:
    program = program_of(lambda a: [pyad.sqrt(a) * 2.0, a * a, a / a], 1.0)
    _, (da,), _ = program.batch([np.array([[0.0], [4.0]])], np.array([0.0, 1.0, 0.0]))
    assert da.ravel().tolist() == [0.0, 8.0]
    program.value(np.array([0.0]))
    assert program.gradient(np.array([0.0, 1.0, 0.0])).tolist() == [0.0]


def test_products_pass_adjoints_on_once_and_twice() -> None:
    generator = np.random.default_rng(0)
    a = generator.normal(size=(9, 9))

    def f(x: Any, y: Any) -> Any:
        z = x @ y  # stored; x is read again later, y by this alone
        return np.sum(np.tanh(a @ z) @ x) + np.sum(z @ z)

    x, y = generator.normal(size=(2, 9, 9))
    program = program_of(f, x, y)
    value, slopes = pyad.value_and_grad(f, (0, 1))(x, y)
    found = program.both(np.append(x, y), np.ones(1))
    np.testing.assert_allclose(found[0], value, rtol=1e-13)
    np.testing.assert_allclose(found[1], np.ravel(slopes), rtol=1e-12, atol=1e-12)
    infinite = np.full((9, 9), np.inf)
    _, slope, _ = program_of(lambda x: np.sum(infinite @ x), y).both(y.ravel(), np.zeros(1))
    assert not slope.any()


def test_a_long_sum_over_rows_loses_nothing() -> None:
    x = np.full((100_000, 1), 0.1)
    total, (slope,), _ = program_of(lambda a: a * 1.0, 0.5).batch([x], np.ones(1), summed=True)
    assert total[0] == pytest.approx(10_000.0, rel=1e-15)
    assert slope[0] == 100_000.0


LONG = 1500


def slices(x: Any) -> Any:
    return np.sum(100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2)


CHAINS: dict[str, Callable[[Any], Any]] = {
    "one pass": lambda x: np.sum(np.exp(-x * x / 2) * np.sin(x)) / 3.0 + 1.0,
    "cosines": lambda x: np.sum(np.cos(x) * np.cos(x * 2e6)),
    "slices": slices,
    "two sums": lambda x: np.sum(x * np.sin(x)) / np.sum(np.exp(x)),
    "an end that is not linear": lambda x: np.log(np.sum(np.exp(x) / 3.0)),
    "a result that is read later": lambda x: (np.exp(x) * x)[7] * np.sum(np.tanh(np.exp(x))),
    "a sum that is used again": lambda x: np.sum((x - np.sum(x * x) / LONG) ** 2 * x),
    "several": lambda x: np.sum(np.cumsum(x * x - 1.0) * np.sin(np.cumsum(x))),
    "reversed": lambda x: np.sum(np.sin(x * x)[::-1] * np.exp(x)),
    "square roots at 0": lambda x: np.sum(np.sqrt(x * x) * 0.0 + x),
    "nothing of some": lambda x: np.sum(x[3] * np.sin(x[: LONG // 2]) * 2.0),
    "columns": lambda x: np.sum(x.reshape(2, -1) ** 2 * np.array([[2.0], [3.0]])),
    "the same in two arrays": lambda x: np.sum(x / (1.0 + x * x)) - np.sum(1.0 / (2.0 + x)),
}


@pytest.mark.parametrize("f", CHAINS.values(), ids=CHAINS)
@pytest.mark.parametrize("n", [LONG, 300, 512, 1025])
def test_chains_compute_what_arrays_do(f: Callable[[Any], Any], n: int) -> None:
    generator = np.random.default_rng(n)
    if f is CHAINS["nothing of some"] or f is CHAINS["columns"]:
        n += n % 2
    program = program_of(f, generator.uniform(-1.0, 1.0, n))
    for turn in range(3):
        x = generator.uniform(-1.0, 1.0, n)
        x[0] = 0.0
        seeds = np.array([1.0, 0.0, -2.5][turn : turn + 1])
        value, slope = pyad.value_and_grad(f)(x)
        both = program.both(x, seeds)
        np.testing.assert_allclose(both[0], value, rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(both[1], seeds * slope, rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(program.value(x)[0], value, rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(program.gradient(seeds), both[1], rtol=1e-12, atol=1e-12)
        total, (batch,), _ = program.batch([np.stack([x] * 3)], seeds, summed=True)
        np.testing.assert_allclose(total, 3.0 * value, rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(batch, 3.0 * seeds * slope, rtol=1e-12, atol=1e-11)


def test_a_chain_asks_its_guards() -> None:
    program = program_of(lambda x: np.sum(np.where(x > 0.0, x * np.exp(x), x)), np.ones(LONG))
    x = np.full(LONG, 2.0)
    assert program.both(x, np.ones(1))[2]
    x[-1] = -1.0
    assert not program.both(x, np.ones(1))[2]
    assert not program.value(x)[1]


def passes_of(f: Callable[[Any], Any], x: Any) -> list[int]:
    compiled = pyad.compile(f)
    for point in (x, x * 1.5):
        value, slope = compiled.value_and_grad(point)
        expected, gradient = pyad.value_and_grad(f)(point)
        np.testing.assert_array_max_ulp(value, expected, 4)
        np.testing.assert_allclose(slope, gradient, rtol=1e-14, atol=0)
    first = compiled.stats()["programs"][0]
    names = ("recorded", "shared", "live", "summed", "combined", "steps")
    return [first[name] for name in names]


def test_each_pass_takes_away_what_it_is_for() -> None:
    def loop(x: Any) -> Any:
        total = 0.0
        for _ in range(10):
            total = total + x[0] * x[1] * 1.0
        _ = x[0] / x[1]
        return total - x[1] * x[2]

    # 41 of the loop, a division that nothing needs; a product and 10 additions
    assert passes_of(loop, np.array([1.0, 2.0, 3.0]))[1:] == [14, 13, 4, 3, 3]


def test_equal_array_operations_are_shared() -> None:
    def repeated(x: Any) -> Any:
        a = np.exp(x[::2]) * np.array([1.0, 2.0, 3.0])
        b = np.exp(x[::2]) * np.array([1.0, 2.0, 3.0])
        return np.sum(a * a) + np.sum(np.cumsum(b)) + np.sum(np.cumsum(a))

    recorded, shared, *_ = passes_of(repeated, np.linspace(0.5, 1.5, 6))
    assert recorded - shared == 5  # slice, exp, product, running sums, their sum


def test_products_of_arrays_join_additions() -> None:
    def f(x: Any) -> Any:
        y = np.sin(x)
        return np.sum(x * y + 2.0) + np.sum(y - x**2) + np.sum(y * 3.0 - x) + np.sum(x * x + 1.0)

    *_, summed, combined, _ = passes_of(f, np.linspace(-1.0, 1.0, 7))
    assert summed - combined == 4

    def parts(x: Any) -> Any:  # read in part, read twice, of another shape
        y, z = x * np.exp(x), x * np.cos(x)
        return np.sum(y[1:] + 1.0) + np.sum(z + 1.0) * z[0] + np.sum(x[0] * x[1] + x)

    *_, summed, combined, _ = passes_of(parts, np.linspace(0.5, 1.0, 7))
    assert summed - combined == 1  # the sum times z[0], of scalars
