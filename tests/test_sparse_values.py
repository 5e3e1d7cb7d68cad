"""Values of sparse derivatives by colours, and the pattern as an object."""

from __future__ import annotations

import itertools
import os
import pickle
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sparsity_programs import (
    ROOT,
    SMOOTH,
    Program,
    arrow,
    band,
    dense_jacobian,
    entries,
    nodes,
    pad,
    pattern_of,
    programs,
)

import pyad
from pyad.tape import CONSTANT
from pyad.transforms._sparsity import (
    HessianPattern,
    JacobianPattern,
    hessian_pattern,
    hessian_values,
    jacobian_pattern,
    jacobian_values,
)

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
import os, resource, sys
import numpy as np
from test_sparse_values import *

n = 100_000
f = {f}
tape, start, inputs, out = at(f, np.linspace(-1, 1, n))
wanted = {wanted}
if sys.platform == "linux" and "asan" not in os.environ.get("LD_PRELOAD", ""):
    used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + {megabytes} * 2**20,) * 2)
pattern = {pattern}(tape, start, inputs, wanted)
data = {values}(pattern, tape, start, inputs, wanted)
print(pattern.colour_count, pattern.nnz, data.size)
"""


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
def test_large_problem_takes_three_colours_and_little_memory(problem: dict[str, Any]) -> None:
    """Of 8 * 10**5 nodes: 150 to 200 bytes of memory a node, with the sweeps."""
    command = [sys.executable, "-c", MEASURED.format(**problem)]
    path = {"PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"}
    run = subprocess.run(
        command, capture_output=True, text=True, check=False, env=os.environ | path
    )
    assert run.returncode == 0, run.stderr
    colours, nnz, size = map(int, run.stdout.split())
    assert colours == 3
    assert nnz == size == 299_998


def test_failing_allocations(tmp_path: Path) -> None:
    """Each one of a C program fails once."""
    program = tmp_path / "program"
    compiler = (sysconfig.get_config_var("CC") or "cc").split()
    folders = (ROOT / "csrc", ROOT / "csrc" / "blocks")
    library = [str(path) for folder in folders for path in folder.glob("*.c")]
    sources = [str(ROOT / "tests/c/test_sparsity.c"), *library]
    wrapped = "-Wl,--wrap=malloc,--wrap=realloc,--wrap=free"
    options = ["-std=c11", "-O1", f"-I{ROOT / 'csrc'}", "-o", str(program)]
    subprocess.run([*compiler, *options, *sources, "-lm", wrapped], check=True)
    run = subprocess.run([str(program)], check=False, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout
    assert len(run.stdout.splitlines()) == 6
