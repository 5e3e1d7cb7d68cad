"""Sparsity patterns: equal to those of plain loops, and never short of a derivative."""

from __future__ import annotations

import itertools
import time
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sparsity_programs import (
    AA,
    AB,
    ALL,
    BB,
    IN_A,
    IN_B,
    OP,
    Program,
    Structure,
    dense_jacobian,
    entries,
    nodes,
    pad,
    programs,
)

import pyad
from pyad._binding import OPERATIONS, check, ffi, lib
from pyad.transforms._sparsity import (
    hessian_pattern,
    jacobian_pattern,
)


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
