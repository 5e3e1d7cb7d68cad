"""Random recordings, and their patterns by plain loops: the reference of the sparsity tests."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from hypothesis import strategies as st

import pyad
from pyad._binding import OPERATIONS, check, ffi, lib
from pyad.tape import CONSTANT
from pyad.transforms._sparsity import (
    SparsityPattern,
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


def dense_jacobian(program: Program) -> npt.NDArray[np.float64]:
    """Return the Jacobian by one tangent for each input, in plain loops."""
    tape, start, inputs, outputs = program
    tangents = np.zeros((len(tape) - start + 1, len(inputs)))
    for node in range(start, len(tape)):
        row = tangents[node - start]
        row += np.array(inputs) == node
        for index, weight in tape.arguments(node):
            other = tangents[index - start if start <= index != CONSTANT else -1]
            if weight != 0:  # floordiv of NaN passes nothing on
                row[other != 0] += weight * other[other != 0]
    return tangents[[o - start if start <= o != CONSTANT else -1 for o in outputs]]


# ---- matrices ---------------------------------------------------------------------------------


def band(n: int, width: int) -> npt.NDArray[np.float64]:
    i = np.arange(n)
    return (np.abs(i[:, None] - i) <= width).astype(float)


def arrow(n: int, row: bool = False, column: bool = False) -> npt.NDArray[np.float64]:
    matrix = np.eye(n)
    matrix[n // 2] += row
    matrix[:, n // 2] += column
    return matrix
