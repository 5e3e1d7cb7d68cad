"""Sparsity patterns, colourings and sparse derivatives."""

from __future__ import annotations

import itertools
import os
import pickle
import subprocess
import sys
import sysconfig
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import pyad
from pyad._binding import OPERATIONS, check, ffi, lib
from pyad.tape import CONSTANT
from pyad.transforms._sparsity import (
    HessianPattern,
    JacobianPattern,
    SparsityPattern,
    hessian_pattern,
    hessian_values,
    jacobian_pattern,
    jacobian_values,
)

ROOT = Path(__file__).resolve().parent.parent
OP = {operation.name: number for number, operation in enumerate(OPERATIONS)}
IN_A, IN_B, AA, AB, BB = 1, 2, 4, 8, 16

Entries = set[tuple[int, int]]


def entries(pattern: SparsityPattern) -> Entries:
    """Return the pattern as a set; and see that it is in order."""
    rows = pattern.rows
    found = list(zip(rows.tolist(), pattern.indices.tolist(), strict=True))
    assert found == sorted(set(found))
    assert pattern.indptr[0] == 0
    assert pattern.indptr[-1] == len(found)
    return set(found)


def pattern_of(kind: type[SparsityPattern], matrix: npt.ArrayLike) -> Any:
    """Return the pattern of the nonzeros of a dense matrix."""
    dense = np.asarray(matrix) != 0
    indptr = np.concatenate([[0], np.cumsum(dense.sum(axis=1))])
    return kind(dense.shape, indptr, np.nonzero(dense)[1])


def nodes(variables: Sequence[Any]) -> npt.NDArray[np.uint32]:
    return np.array([getattr(v, "node", CONSTANT) for v in variables], dtype=np.uint32)


# ---- random programs ---------------------------------------------------------------------------


class Program(NamedTuple):
    """A recording: its tape, where it starts, and its inputs and outputs."""

    tape: pyad.Tape
    start: int
    inputs: list[int]
    outputs: list[int]


def record(
    before: int, inputs: int, steps: Sequence[tuple[int, list[int], float]], ends: Sequence[int]
) -> Program:
    """Record steps (operation, operands, a number); operands count from the last node back.

    `before` leaves stand before the start: constants, for whoever differentiates.
    """
    tape = pyad.Tape()
    made = []
    result = ffi.new("pyad_operand *")
    with tape._held() as core:
        for i in range(before + inputs):
            check(lib.pyad_tape_leaf(core, 0.4 + 0.1 * i, result))
            made.append((result.value, result.node))
        for op, places, number in steps:
            constant = (number, CONSTANT)
            operands = [made[-1 - p] if p < len(made) else constant for p in places]
            count = OPERATIONS[op].arguments
            if count > 0:
                pair = [ffi.new("pyad_operand *", x)[0] for x in (operands * 2)[:2]]
                check(lib.pyad_tape_apply(core, op, *pair, result))
            elif op == OP["given"]:
                array = ffi.new("pyad_operand[]", operands)
                partials = ffi.new("double[]", [number] * len(operands))
                check(lib.pyad_tape_given(core, number, len(operands), array, partials, result))
            else:
                even = operands[: len(operands) // 2 * 2]
                if op == OP["lincomb"]:
                    even[::2] = [constant] * len(even[::2])
                chosen = even if op in (OP["dot"], OP["lincomb"]) else operands
                array = ffi.new("pyad_operand[]", chosen)
                check(lib.pyad_tape_apply_many(core, op, len(chosen), array, result))
            if result.node != CONSTANT:
                made.append((result.value, result.node))
    outputs = [made[-1 - e][1] if e < len(made) else CONSTANT for e in ends]
    return Program(tape, before, list(range(before, before + inputs)), outputs)


NOT_SMOOTH = {"leaf", "given", "floor", "ceil", "trunc", "rint", "sign", "floordiv", "polygamma"}
SMOOTH = [name for name in OP if name not in NOT_SMOOTH]
ALL = [name for name in OP if name != "leaf"]


def programs(names: Sequence[str]) -> st.SearchStrategy[Program]:
    step = st.tuples(
        st.sampled_from([OP[name] for name in names]),
        st.lists(st.integers(0, 14), min_size=1, max_size=5),
        st.floats(0.3, 2.0),
    )
    return st.builds(
        record,
        st.integers(0, 3),
        st.integers(1, 6),
        st.lists(step, max_size=25),
        st.lists(st.integers(0, 12), min_size=1, max_size=6),
    )


class Structure:
    """What depends on what in a recording, by sets and loops that are plainly right."""

    def __init__(self, program: Program) -> None:
        tape, self.start = program.tape, program.start
        self.ops, self.first, self.indices = tape.ops, tape.first, tape.indices
        self.inputs = program.inputs
        self.depends: dict[int, set[int]] = {}
        for node in range(self.start, len(tape)):
            own = {j for j, x in enumerate(program.inputs) if x == node}
            self.depends[node] = own.union(*(self.depends[a] for a in self.active(node)))

    def arguments(self, node: int) -> list[int]:
        return self.indices[self.first[node] : self.first[node + 1]].tolist()

    def active(self, node: int) -> list[int]:
        bits = lib.pyad_op_structure(self.ops[node])
        return [
            a
            for k, a in enumerate(self.arguments(node))
            if bits & (IN_B if k % 2 else IN_A) and self.start <= a != CONSTANT
        ]

    def jacobian(self, outputs: Sequence[int]) -> Entries:
        return {(i, j) for i, node in enumerate(outputs) for j in self.depends.get(node, set())}

    def crossed(self, node: int) -> list[tuple[int, int]]:
        bits = lib.pyad_op_structure(self.ops[node])
        arguments = self.arguments(node)
        if OPERATIONS[self.ops[node]].arguments == 1:
            return [(arguments[0], arguments[0])] if bits & AA else []
        if bits & (AA | AB | BB) == AA | AB | BB:
            return list(itertools.product(arguments, arguments))
        pairs = []
        for a, b in zip(arguments[::2], arguments[1::2], strict=False):
            pairs += [(a, a)] * bool(bits & AA) + [(b, b)] * bool(bits & BB)
            pairs += [(a, b)] * bool(bits & AB)
        return pairs

    def hessian(self, output: int) -> Entries:
        found = set()
        live = {output}
        for node in range(max(self.depends, default=0), self.start - 1, -1):
            if node not in live or node == CONSTANT:
                continue
            live.update(self.active(node))
            for a, b in self.crossed(node):
                for i in self.depends.get(a, set()):
                    for j in self.depends.get(b, set()):
                        found |= {(i, j), (j, i)}
        return found


def pad(program: Program, count: int) -> Program:
    """Return the program with unused inputs, and constant outputs, up to `count` of them.

    More than 64 are tried by sets first; fewer go by bits.
    """
    result = ffi.new("pyad_operand *")
    inputs = list(program.inputs)
    with program.tape._held() as core:
        while len(inputs) < count:
            check(lib.pyad_tape_leaf(core, 1.0, result))
            inputs.append(result.node)
    outputs = program.outputs + [CONSTANT] * (count - len(program.outputs))
    return program._replace(inputs=inputs, outputs=outputs)


@settings(deadline=None)
@given(programs(ALL), st.booleans())
def test_patterns_are_those_of_plain_loops(program: Program, by_sets: bool) -> None:
    if by_sets:
        program = pad(program, 70)
    structure = Structure(program)
    tape, start, inputs, outputs = program
    pattern = jacobian_pattern(tape, start, inputs, outputs)
    assert pattern.shape == (len(outputs), len(inputs))
    assert entries(pattern) == structure.jacobian(outputs)
    for output in outputs[:2]:
        second = hessian_pattern(tape, start, inputs, output)
        assert second.shape == (len(inputs), len(inputs))
        assert entries(second) == structure.hessian(output)


@settings(deadline=None)
@given(programs(ALL), st.data())
def test_inputs_may_be_any_nodes_even_twice(program: Program, data: st.DataObject) -> None:
    tape, start = program.tape, program.start
    picked = data.draw(st.lists(st.integers(start, len(tape) - 1), min_size=1, max_size=6))
    for padded in (0, 70):
        at_any = pad(program._replace(inputs=picked), padded)
        structure = Structure(at_any)
        pattern = jacobian_pattern(tape, start, at_any.inputs, at_any.outputs)
        assert entries(pattern) == structure.jacobian(at_any.outputs)
        second = entries(hessian_pattern(tape, start, at_any.inputs, at_any.outputs[0]))
        plain = structure.hessian(at_any.outputs[0])
        # By sets, an input that is a curved operation itself meets what it depends on.
        assert second >= plain if padded else second == plain
        assert second == {(j, i) for i, j in second}


def dense_jacobian(program: Program) -> npt.NDArray[np.float64]:
    """Return the Jacobian by one tangent for each input, in plain loops."""
    tape, start, inputs, outputs = program
    tangents = np.zeros((len(tape) - start + 1, len(inputs)))
    for node in range(start, len(tape)):
        row = tangents[node - start]
        row += np.array(inputs) == node
        for index, weight in tape.arguments(node):
            other = tangents[index - start if start <= index != CONSTANT else -1]
            row[other != 0] += weight * other[other != 0]
    return tangents[[o - start if start <= o != CONSTANT else -1 for o in outputs]]


@settings(deadline=None)
@given(programs(ALL))
def test_no_derivative_lies_outside_the_pattern(program: Program) -> None:
    found = entries(jacobian_pattern(*program))
    with np.errstate(all="ignore"):
        dense = dense_jacobian(program)
    assert set(zip(*map(np.ndarray.tolist, np.nonzero(dense)), strict=True)) <= found


# ---- facts of the operations -------------------------------------------------------------------


@pytest.mark.parametrize("op", [op for op in OP.values() if OPERATIONS[op].arguments > 0])
def test_partial_that_is_said_to_be_zero_is_zero(op: int) -> None:
    """The dangerous direction: a partial that is not 0 must not be left out."""
    bits = lib.pyad_op_structure(op)
    partials = ffi.new("pyad_partials *")
    rng = np.random.default_rng(op)
    values = np.concatenate([rng.normal(size=40) * 3, rng.uniform(0, 1, 20), [0, 1, 2, -1, 0.5]])
    for a, b in zip(values, rng.permutation(values), strict=True):
        check(lib.pyad_op_partials(op, a, b, partials))
        for bit, name in ((IN_A, "da"), (IN_B, "db"), (AA, "daa"), (AB, "dab"), (BB, "dbb")):
            if not bits & bit:
                assert getattr(partials, name) == 0
    assert not bits & (AA | AB) or bits & IN_A
    assert not bits & (AB | BB) or bits & IN_B


def test_structure_of_operations() -> None:
    def structure(name: str) -> int:
        return int(lib.pyad_op_structure(OP[name]))

    for name in ("floor", "ceil", "trunc", "rint", "sign", "floordiv", "leaf"):
        assert structure(name) == 0
    for name in ("neg", "positive", "abs", "relu", "radians"):
        assert structure(name) == IN_A
    for name in ("add", "sub", "maximum", "sum", "lincomb", "mod"):
        assert structure(name) == IN_A | IN_B
    for name in ("mul", "dot"):
        assert structure(name) == IN_A | IN_B | AB
    assert structure("copysign") == IN_A
    assert structure("sin") == IN_A | AA
    assert structure("div") == structure("xlogy") == IN_A | IN_B | AB | BB
    for name in ("pow", "hypot", "given", "prod", "logsumexp", "norm"):
        assert structure(name) == IN_A | IN_B | AA | AB | BB
    assert lib.pyad_op_structure(-1) == lib.pyad_op_structure(len(OPERATIONS)) == -1


def test_zero_weights_count_unless_the_operation_is_flat() -> None:
    """A pattern has to hold at other points, too."""
    with pyad.Tape() as tape:
        x, y = pyad.var(0.0), pyad.var(0.0)
        results = [x * y, x**2, pyad.floor(x) * y, pyad.sign(y), pyad.maximum(x, y + 1)]
    found = entries(jacobian_pattern(tape, 0, nodes([x, y]), nodes(results)))
    assert found == {(0, 0), (0, 1), (1, 0), (2, 1), (4, 0), (4, 1)}
    assert hessian_pattern(tape, 0, nodes([x, y]), results[2].node).nnz == 0


def test_linear_operations_make_no_second_derivatives() -> None:
    with pyad.Tape() as tape:
        x = pyad.vars([1.0, 2.0, 3.0])
        y = 3 * x[0] - x[1] / 2 + pyad.maximum(x[1], x[2]) + abs(x[0]) + x[2] * 4
        z = y + x[0] * x[1] + pyad.exp(x[2])
    assert hessian_pattern(tape, 0, nodes(x), y.node).nnz == 0
    assert entries(hessian_pattern(tape, 0, nodes(x), z.node)) == {(0, 1), (1, 0), (2, 2)}


# ---- sets that grow ----------------------------------------------------------------------------


def prefix_sums(n: int) -> tuple[pyad.Tape, list[Any], list[Any], Any]:
    with pyad.Tape() as tape:
        x = pyad.vars([0.5] * n)
        sums = list(itertools.accumulate(x))
        total = sum(s * s for s in sums)
    return tape, x, sums, total


@pytest.mark.parametrize("n", [3, 63, 65, 600])
def test_triangular_jacobian_and_full_hessian(n: int) -> None:
    """600 sets of growing length: bit vectors take over."""
    tape, x, sums, total = prefix_sums(n)
    pattern = jacobian_pattern(tape, 0, nodes(x), nodes(sums))
    assert np.array_equal(pattern.indptr, np.cumsum([0, *range(1, n + 1)]))
    assert pattern.colour_count == n
    second = hessian_pattern(tape, 0, nodes(x), total.node)
    assert second.nnz == n * n
    assert second.colour_count == n


@pytest.mark.parametrize("used_twice", [False, True])
def test_sum_over_a_loop_takes_linear_work(used_twice: bool) -> None:
    n = 20_000
    with pyad.Tape() as tape:
        x = pyad.vars([0.5] * n)
        total: Any = 0.0
        for a, b in itertools.pairwise(x):
            total = total + a * b + (total * 1e-3 if used_twice else 0.0)
        out = [*(a * b for a, b in itertools.pairwise(x)), total]
    begin = time.perf_counter()
    pattern = jacobian_pattern(tape, 0, nodes(x), nodes(out))
    second = hessian_pattern(tape, 0, nodes(x), total.node)
    assert time.perf_counter() - begin < 2
    assert pattern.nnz == 2 * (n - 1) + n
    assert pattern.by_rows
    assert pattern.colour_count == 3
    assert second.nnz == 2 * (n - 1)


def test_many_nodes_of_few_inputs_share_their_sets() -> None:
    with pyad.Tape() as tape:
        x = pyad.vars([0.5 + i / 100 for i in range(100)])
        state = [pyad.sin(a) * b for a, b in itertools.pairwise(x)]
        mixed = [pyad.logsumexp(state) * s for s in state]
        for _ in range(300):
            mixed = [a * b for a, b in zip(mixed, mixed[1:] + mixed[:1], strict=True)]
    begin = time.perf_counter()
    assert jacobian_pattern(tape, 0, nodes(x), nodes(mixed)).nnz == 99 * 100
    assert hessian_pattern(tape, 0, nodes(x), mixed[0].node).nnz == 100 * 100
    assert time.perf_counter() - begin < 2


def test_sets_of_equal_hash_are_told_apart() -> None:
    """The hash of a set is the sum of its mixed elements (csrc/index_sets.c)."""
    n = 2000
    x = np.arange(n, dtype=np.uint32)
    x = (x ^ x >> 16) * np.uint32(0x85EBCA6B)
    x = (x ^ x >> 13) * np.uint32(0xC2B2AE35)
    x ^= x >> 16
    rows, columns = np.triu_indices(n, 1)
    sums = x[rows] + x[columns]
    order = np.argsort(sums)
    twins = np.flatnonzero(sums[order][1:] == sums[order][:-1])
    wanted = [(rows[order[k]], columns[order[k]]) for t in twins[:20] for k in (t, t + 1)]
    assert wanted
    with pyad.Tape() as tape:
        variables = [+v for v in pyad.vars([0.5] * n)]
        out = [variables[i] * variables[j] for i, j in wanted]
    out += [5.0] * 100
    pattern = jacobian_pattern(tape, 0, nodes(variables), nodes(out))
    assert pattern.indices.reshape(-1, 2).tolist() == [list(map(int, pair)) for pair in wanted]


# ---- colourings --------------------------------------------------------------------------------


def check_jacobian_colouring(pattern: JacobianPattern) -> None:
    """Columns (rows) of one colour have no common row (column); colours are 0, 1, 2 ..."""
    lines, coloured = pattern.rows, pattern.indices
    if pattern.by_rows:
        lines, coloured = coloured, lines
    seen = list(zip(lines.tolist(), pattern.colours[coloured].tolist(), strict=True))
    assert len(set(seen)) == len(seen)
    if seen:
        assert set(pattern.colours.tolist()) == set(range(pattern.colour_count))
    else:
        assert pattern.colour_count == 0


def check_hessian_colouring(pattern: HessianPattern) -> None:
    """Entry (i, j) or (j, i) is the only one of its row whose column has its colour."""
    colour = pattern.colours.tolist()
    found = entries(pattern)
    alone = Counter((i, colour[j]) for i, j in found)
    for i, j in found:
        assert alone[i, colour[j]] == 1 or alone[j, colour[i]] == 1


@st.composite
def matrices(draw: st.DrawFn, square: bool = False) -> npt.NDArray[np.float64]:
    sizes = st.one_of(st.integers(0, 14), st.integers(65, 150))  # dense rows are kept as bits
    rows = draw(sizes)
    columns = rows if square else draw(sizes)
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    density = draw(st.sampled_from([0.0, 0.05, 0.15, 0.3, 0.6, 1.0]))
    return rng.normal(size=(rows, columns)) * (rng.random((rows, columns)) < density)


@settings(deadline=None, max_examples=300)
@given(matrices())
def test_jacobian_colouring_gives_the_matrix_back(matrix: npt.NDArray[np.float64]) -> None:
    pattern = pattern_of(JacobianPattern, matrix)
    check_jacobian_colouring(pattern)
    data = pattern.decompress(pattern.compress(matrix))
    assert np.array_equal(pattern.to_scipy(data).toarray(), matrix)


@settings(deadline=None, max_examples=300)
@given(matrices(square=True))
def test_hessian_colouring_gives_the_matrix_back(matrix: npt.NDArray[np.float64]) -> None:
    matrix = matrix + matrix.T
    pattern = pattern_of(HessianPattern, matrix)
    check_hessian_colouring(pattern)
    data = pattern.decompress(pattern.compress(matrix))
    assert np.array_equal(pattern.to_scipy(data).toarray(), matrix)


def band(n: int, width: int) -> npt.NDArray[np.float64]:
    i = np.arange(n)
    return (np.abs(i[:, None] - i) <= width).astype(float)


def arrow(n: int, row: bool = False, column: bool = False) -> npt.NDArray[np.float64]:
    matrix = np.eye(n)
    matrix[n // 2] += row
    matrix[:, n // 2] += column
    return matrix


@pytest.mark.parametrize(
    ("matrix", "colours", "by_rows"),
    [
        (band(40, 1), 3, False),
        (band(40, 4), 9, False),
        (arrow(40, column=True), 2, False),
        (arrow(40, row=True), 2, True),
        (np.kron(np.eye(8), np.ones((3, 3))), 3, False),
        (np.kron(np.eye(8), np.ones((2, 5))), 2, True),
        (np.ones((6, 9)), 6, True),
        (np.ones((9, 6)), 6, False),
        (np.zeros((5, 7)), 0, False),
        (np.zeros((0, 0)), 0, False),
        (np.eye(9), 1, False),
    ],
)
def test_colours_of_known_jacobians(
    matrix: npt.NDArray[np.float64], colours: int, by_rows: bool
) -> None:
    pattern = pattern_of(JacobianPattern, matrix)
    check_jacobian_colouring(pattern)
    assert (pattern.colour_count, pattern.by_rows) == (colours, by_rows)
    assert pattern.seeds().shape == (matrix.shape[0 if by_rows else 1], colours)


@pytest.mark.parametrize(
    ("matrix", "colours"),
    [
        (band(40, 1), 3),
        (band(40, 2), 5),
        (arrow(40, row=True, column=True), 2),
        (np.kron(np.eye(8), np.ones((3, 3))), 3),
        (np.ones((9, 9)), 9),
        (np.zeros((5, 5)), 0),
        (np.zeros((0, 0)), 0),
        (np.eye(9), 1),
    ],
)
def test_colours_of_known_hessians(matrix: npt.NDArray[np.float64], colours: int) -> None:
    pattern = pattern_of(HessianPattern, matrix)
    check_hessian_colouring(pattern)
    assert pattern.colour_count <= colours


def grid_laplacian(n: int) -> npt.NDArray[np.float64]:
    line = band(n, 1) - np.eye(n)
    return np.kron(np.eye(n), line) + np.kron(line, np.eye(n)) + np.eye(n * n)


def test_colours_of_a_grid() -> None:
    """Five points and nine: 5 and 9 colours are possible for the Jacobian; few are found."""
    five = grid_laplacian(15)
    assert pattern_of(JacobianPattern, five).colour_count <= 7
    assert pattern_of(HessianPattern, five).colour_count <= 6
    nine = np.kron(band(15, 1), band(15, 1))
    assert pattern_of(JacobianPattern, nine).colour_count == 9
    assert pattern_of(HessianPattern, nine).colour_count == 9


def test_matrix_that_is_nearly_dense_is_coloured_in_time() -> None:
    rng = np.random.default_rng(0)
    half = rng.random((1500, 1500)) < 0.3
    begin = time.perf_counter()
    first = pattern_of(JacobianPattern, half)
    second = pattern_of(HessianPattern, half | half.T)
    assert time.perf_counter() - begin < 8
    check_jacobian_colouring(first)
    check_hessian_colouring(second)


@pytest.mark.parametrize("hub", [0, 50_000, 99_999])
def test_a_vertex_of_very_many_neighbours_is_coloured_in_time(hub: int) -> None:
    n = 100_000
    others = np.delete(np.arange(n), hub)
    counts = np.full(n, 2)
    counts[hub] = n
    indices = np.empty(3 * n - 2, np.int64)
    indptr = np.concatenate([[0], np.cumsum(counts)])
    indices[indptr[others]] = np.minimum(others, hub)
    indices[indptr[others] + 1] = np.maximum(others, hub)
    indices[indptr[hub] : indptr[hub + 1]] = np.arange(n)
    begin = time.perf_counter()
    assert HessianPattern((n, n), indptr, indices).colour_count == 2
    assert time.perf_counter() - begin < 2


# ---- values ------------------------------------------------------------------------------------


def tridiagonal(x: Sequence[Any]) -> list[Any]:
    """Broyden's residual."""
    n = len(x)
    return [
        (3 - 2 * x[i]) * x[i] - (x[i - 1] if i else 0) - (2 * x[i + 1] if i + 1 < n else 0) + 1
        for i in range(n)
    ]


def chained_rosenbrock(x: Sequence[Any]) -> Any:
    total: Any = 0.0
    for a, b in itertools.pairwise(x):
        total = total + 100 * (b - a**2) ** 2 + (1 - a) ** 2
    return total


def rosenbrock_hessian(x: npt.NDArray[np.float64]) -> tuple[Any, Any]:
    """Return its diagonal and the one beside it."""
    diagonal = np.zeros(x.size)
    diagonal[:-1] = 1200 * x[:-1] ** 2 - 400 * x[1:] + 2
    diagonal[1:] += 200
    return diagonal, -400 * x[:-1]


def at(f: Callable[..., Any], point: npt.ArrayLike, before: int = 3) -> tuple[Any, ...]:
    """Record f, with a few nodes before it. Return the tape, the start, inputs and results."""
    with pyad.Tape() as tape:
        _ = [v * v for v in pyad.vars([2.0] * before)]
        start = len(tape)
        x = [+v for v in pyad.vars(np.asarray(point).tolist())]
        return tape, start, nodes(x), f(x)


def finite(program: Program) -> bool:
    tape = program.tape
    return bool(np.all(np.abs(tape.values) < 1e6) and np.all(np.abs(tape.weights) < 1e6))


@settings(deadline=None)
@given(programs(SMOOTH), st.booleans())
def test_jacobian_values_are_those_of_the_dense_one(program: Program, padded: bool) -> None:
    assume(finite(program))
    if padded:
        program = pad(program, 70)
    pattern = jacobian_pattern(*program)
    data = jacobian_values(pattern, *program)
    dense = dense_jacobian(program)
    assert np.allclose(pattern.to_scipy(data).toarray(), dense, rtol=1e-9, atol=1e-9)


@settings(deadline=None)
@given(programs(SMOOTH), st.booleans())
def test_hessian_values_are_those_of_the_dense_one(program: Program, padded: bool) -> None:
    assume(finite(program))
    if padded:
        program = pad(program, 70)
    tape, start, inputs, outputs = program
    arguments = tape, start, inputs, outputs[0]
    pattern = hessian_pattern(*arguments)
    data = hessian_values(pattern, *arguments)
    full = pattern_of(HessianPattern, np.ones((len(inputs), len(inputs))))
    dense = hessian_values(full, *arguments).reshape(full.shape)
    assume(np.all(np.abs(dense) < 1e9))
    scale = 1e-9 * (1 + np.abs(dense).max(initial=0))
    assert np.allclose(pattern.to_scipy(data).toarray(), dense, atol=scale)


@pytest.mark.parametrize("n", [1, 2, 3, 50])
def test_tridiagonal_jacobian_at_several_points(n: int) -> None:
    tape, start, inputs, out = at(tridiagonal, np.linspace(-1, 1, n))
    pattern = jacobian_pattern(tape, start, inputs, nodes(out))
    assert pattern.colour_count == min(n, 3)
    assert pattern.nnz == 3 * n - 2
    for point in (np.linspace(-1, 1, n), np.full(n, 0.3)):
        # Another stretch of another tape, but the same recording.
        tape, start, inputs, out = at(tridiagonal, point, before=7)
        data = jacobian_values(pattern, tape, start, inputs, nodes(out))
        matrix = pattern.to_scipy(data).toarray()
        expected = np.diag(3 - 4 * point) - np.eye(n, k=-1) - 2 * np.eye(n, k=1)
        assert np.allclose(matrix, expected, rtol=1e-14, atol=0)


def test_chained_rosenbrock_hessian() -> None:
    point = np.linspace(-1, 1, 50)
    tape, start, inputs, out = at(chained_rosenbrock, point)
    pattern = hessian_pattern(tape, start, inputs, out.node)
    assert pattern.colour_count == 3
    matrix = pattern.to_scipy(hessian_values(pattern, tape, start, inputs, out.node))
    diagonal, beside = rosenbrock_hessian(point)
    assert np.allclose(matrix.diagonal(), diagonal)
    assert np.allclose(matrix.diagonal(1), beside)
    assert abs(matrix - matrix.T).max() == 0


def test_more_colours_than_one_sweep_takes() -> None:
    def f(x: Sequence[Any]) -> list[Any]:
        product = pyad.prod(x)
        return [product * a for a in x]

    point = np.linspace(0.9, 1.1, 21)
    tape, start, inputs, out = at(f, point)
    pattern = jacobian_pattern(tape, start, inputs, nodes(out))
    assert pattern.colour_count == 21
    data = jacobian_values(pattern, tape, start, inputs, nodes(out))
    expected = np.prod(point) * (point[:, None] / point + np.eye(21))
    assert np.allclose(pattern.to_scipy(data).toarray(), expected)
    second = hessian_pattern(tape, start, inputs, out[0].node)
    data = hessian_values(second, tape, start, inputs, out[0].node)
    counts = np.ones(21) + (np.arange(21) == 0)
    expected = out[0].value * (np.outer(counts, counts) - np.diag(counts))
    expected /= np.outer(point, point)
    assert np.allclose(second.to_scipy(data).toarray(), expected)


def test_constant_and_repeated_outputs_and_unused_inputs() -> None:
    tape, start, inputs, (a, b, c) = at(lambda x: (x[0] * x[1], 5.0, x[2]), [2.0, 3.0, 4.0, 5.0])
    out = nodes([b, a, a, c, b])
    out = np.append(out, np.uint32(0))  # a node before the start
    pattern = jacobian_pattern(tape, start, inputs, out)
    assert entries(pattern) == {(1, 0), (1, 1), (2, 0), (2, 1), (3, 2)}
    matrix = pattern.to_scipy(jacobian_values(pattern, tape, start, inputs, out)).toarray()
    expected = [[0] * 4, [3, 2, 0, 0], [3, 2, 0, 0], [0, 0, 1, 0], [0] * 4, [0] * 4]
    assert np.array_equal(matrix, expected)
    for output in (CONSTANT, 0):
        second = hessian_pattern(tape, start, inputs, output)
        assert second.nnz == second.colour_count == 0
        assert hessian_values(second, tape, start, inputs, output).size == 0


def test_no_inputs_no_outputs_no_nodes() -> None:
    tape = pyad.Tape()
    assert jacobian_pattern(tape, 0, [], []).shape == (0, 0)
    assert jacobian_pattern(tape, 0, [], [CONSTANT]).shape == (1, 0)
    assert hessian_pattern(tape, 0, [], CONSTANT).shape == (0, 0)
    empty = jacobian_pattern(tape, 0, [], [CONSTANT])
    assert jacobian_values(empty, tape, 0, [], [CONSTANT]).size == 0


# ---- another recording -------------------------------------------------------------------------


def branching(x: Sequence[Any]) -> list[Any]:
    return [x[0] * x[1] if x[0] > 0 else x[0] * 2, x[1]]


def test_recording_within_the_pattern_is_taken() -> None:
    tape, start, inputs, out = at(branching, [1.0, 5.0])
    pattern = jacobian_pattern(tape, start, inputs, nodes(out))
    tape, start, inputs, out = at(branching, [-1.0, 5.0])
    data = jacobian_values(pattern, tape, start, inputs, nodes(out))
    assert np.array_equal(pattern.to_scipy(data).toarray(), [[2, 0], [0, 1]])


def test_recording_outside_the_pattern_is_refused() -> None:
    tape, start, inputs, out = at(branching, [-1.0, 5.0])
    pattern = jacobian_pattern(tape, start, inputs, nodes(out))
    second = hessian_pattern(tape, start, inputs, out[0].node)
    tape, start, inputs, out = at(branching, [1.0, 5.0])
    with pytest.raises(ValueError, match="another branch") as caught:
        jacobian_values(pattern, tape, start, inputs, nodes(out))
    assert isinstance(caught.value, pyad.Error)
    assert caught.value.code == "PATTERN_CHANGED"
    with pytest.raises(ValueError, match="another branch"):
        hessian_values(second, tape, start, inputs, out[0].node)


def test_other_outputs_of_the_same_tape_are_another_recording() -> None:
    tape, start, inputs, out = at(lambda x: (x[0] * x[0], x[0] * x[1]), [1.0, 2.0])
    pattern = jacobian_pattern(tape, start, inputs, nodes(out[:1]))
    with pytest.raises(ValueError, match="another branch"):
        jacobian_values(pattern, tape, start, inputs, nodes(out[1:]))


# ---- the object --------------------------------------------------------------------------------


def test_pattern_is_pickled_with_its_colours() -> None:
    for pattern in (
        pattern_of(JacobianPattern, arrow(9, row=True)),
        pattern_of(HessianPattern, band(9, 2)),
    ):
        copy = pickle.loads(pickle.dumps(pattern))
        assert type(copy) is type(pattern)
        assert repr(copy) == repr(pattern)
        assert entries(copy) == entries(pattern)
        assert np.array_equal(copy.colours, pattern.colours)
        assert not copy.indices.flags.writeable


def test_contains() -> None:
    wide, narrow = (pattern_of(JacobianPattern, band(9, w)) for w in (2, 1))
    empty = pattern_of(JacobianPattern, np.zeros((9, 9)))
    assert wide.contains(narrow)
    assert wide.contains(wide)
    assert narrow.contains(empty)
    assert empty.contains(empty)
    assert not narrow.contains(wide)
    assert not empty.contains(narrow)
    assert not wide.contains(pattern_of(JacobianPattern, np.zeros((9, 8))))


def test_scipy_takes_the_arrays_over() -> None:
    pattern = pattern_of(JacobianPattern, band(9, 1))
    matrix = pattern.to_scipy(np.arange(float(pattern.nnz)))
    assert np.shares_memory(matrix.indices, pattern.indices)
    assert (matrix @ matrix).shape == (9, 9)


def test_missing_scipy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "scipy.sparse", None)
    pattern = pattern_of(JacobianPattern, band(3, 1))
    with pytest.raises(RuntimeError, match=r"pip install 'pyad-autodiff\[scipy\]'") as caught:
        pattern.to_scipy(np.ones(pattern.nnz))
    assert caught.value.code == "NEEDS_EXTRA"  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("shape", "indptr", "indices"),
    [
        ((2, 2), [0, 1], [0]),
        ((2, 2), [0, 2, 1], [0]),
        ((2, 2), [0, 1, 2], [0, 2]),
        ((2, 2), [0, 1, 2], [0, -1]),
        ((2, 2), [0, 2, 2], [1, 0]),
        ((2, 2), [0, 2, 2], [1, 1]),
        ((2, 2), [1, 1, 1], [0]),
        ((2, 2), [0, 1, 2], [0.0, 1.0]),
        ((2, 2), [0, 0, 3], [0, 1]),
    ],
)
def test_what_is_no_csr_matrix_is_refused(
    shape: tuple[int, int], indptr: list[int], indices: list[Any]
) -> None:
    with pytest.raises(pyad.Error, match="csr_array"):
        JacobianPattern(shape, indptr, indices)


@pytest.mark.parametrize("matrix", [[[1, 1], [0, 1]], [[1, 0]]])
def test_hessian_pattern_has_to_be_symmetric(matrix: Any) -> None:
    with pytest.raises(pyad.Error, match="symmetric"):
        pattern_of(HessianPattern, matrix)


@pytest.mark.parametrize(
    ("start", "inputs", "outputs"),
    [(0, [2], [1]), (0, [0], [2]), (1, [0], [1]), (3, [], []), (0, [CONSTANT], [1])],
)
def test_nodes_out_of_range_are_refused(start: int, inputs: list[int], outputs: list[int]) -> None:
    with pyad.Tape() as tape:
        x = pyad.var(1.0)
        _ = x * x
    with pytest.raises(IndexError, match="no such node"):
        jacobian_pattern(tape, start, inputs, outputs)
    with pytest.raises(IndexError, match="no such node"):
        hessian_pattern(tape, start, inputs, [*outputs, 1][0])


# ---- large problems ----------------------------------------------------------------------------

MEASURED = """
import resource, time
import numpy as np
from test_sparsity import *

n = 100_000
f = {f}
tape, start, inputs, out = at(f, np.linspace(-1, 1, n))
wanted = {wanted}
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + {megabytes} * 2**20,) * 2)
begin = time.perf_counter()
pattern = {pattern}(tape, start, inputs, wanted)
found = time.perf_counter()
data = {values}(pattern, tape, start, inputs, wanted)
print(pattern.colour_count, pattern.nnz, data.size, found - begin, time.perf_counter() - found)
"""


@pytest.mark.skipif(
    sys.platform != "linux" or "asan" in os.environ.get("LD_PRELOAD", ""),
    reason="limits the address space, by /proc and RLIMIT_AS",
)
@pytest.mark.parametrize(
    "problem",
    [
        {
            "f": "tridiagonal",
            "wanted": "nodes(out)",
            "pattern": "jacobian_pattern",
            "values": "jacobian_values",
            "megabytes": 120,
        },
        {
            "f": "chained_rosenbrock",
            "wanted": "out.node",
            "pattern": "hessian_pattern",
            "values": "hessian_values",
            "megabytes": 160,
        },
    ],
    ids=["tridiagonal", "chained Rosenbrock"],
)
def test_large_problem_takes_three_colours_little_memory_and_time(problem: dict[str, Any]) -> None:
    """Of 8 * 10**5 nodes: 150 to 200 bytes of memory a node, with the sweeps."""
    command = [sys.executable, "-c", MEASURED.format(**problem)]
    path = {"PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"}
    run = subprocess.run(
        command, capture_output=True, text=True, check=False, env=os.environ | path
    )
    assert run.returncode == 0, run.stderr
    colours, nnz, size, finding, evaluating = map(float, run.stdout.split())
    assert colours == 3
    assert nnz == size == 299_998
    assert finding < 2
    assert evaluating < 2


def test_failing_allocations(tmp_path: Path) -> None:
    """Each one of a C program fails once."""
    program = tmp_path / "program"
    compiler = (sysconfig.get_config_var("CC") or "cc").split()
    sources = [str(ROOT / "tests/c/test_sparsity.c"), *map(str, (ROOT / "csrc").glob("*.c"))]
    wrapped = "-Wl,--wrap=malloc,--wrap=realloc,--wrap=free"
    options = ["-std=c11", "-O1", f"-I{ROOT / 'csrc'}", "-o", str(program)]
    subprocess.run([*compiler, *options, *sources, "-lm", wrapped], check=True)
    run = subprocess.run([str(program)], check=False, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout
    assert len(run.stdout.splitlines()) == 6
