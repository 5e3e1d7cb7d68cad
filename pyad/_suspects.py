"""Why a derivative disagrees with finite differences: a recording, searched for the operation.

Two tests, each over all nodes at once, array operations element by element. The *own* one compares
the weights of a node with finite differences of its operation at the values of its arguments; it
knows every operation but those whose partials the caller gave, and array operations with a rule of
their own. The one *along* a direction records the function again at points of a line, and so has
finite differences of every node and of every constant: the weights of a node must turn those of its
arguments into its own, and a constant must not change.
"""

from __future__ import annotations

import bisect
import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pyad._binding import OPERATIONS, check, ffi, lib
from pyad._differences import Estimate, along, column, scales
from pyad.errors import Error
from pyad.modes import detect_anomaly, element_text
from pyad.tape import CONSTANT, Block
from pyad.transforms._recording import Recording
from pyad.transforms._watch import Lines, lines_of

__all__ = ["explain", "infinite"]

Floats = npt.NDArray[np.float64]

_SHOWN = 8
"""Nodes that a message names."""
_EVALUATIONS = 100_000
"""How often operations of any number of arguments are evaluated at most."""
_MOST_BYTES = 2**28
"""Of a recording that is searched."""
_CLOSE = 1e-5
"""Weights this close, relatively, agree: the differences of one operation are good to 1e-8."""

_NUMBER = {row.name: op for op, row in enumerate(OPERATIONS)}
_LEAF, _GIVEN = _NUMBER["leaf"], _NUMBER["given"]
_OF_MANY = {_NUMBER[name] for name in ("sum", "prod", "logsumexp", "norm", "dot")}
_LINEAR = _NUMBER["lincomb"]


@dataclass
class _Run:
    """One evaluation: the nodes of its frame, numbered from 0. Arguments are those of the tape."""

    ops: npt.NDArray[np.uint8]
    first: npt.NDArray[np.int64]
    indices: npt.NDArray[np.int64]  # -1 for a constant
    weights: Floats
    values: Floats
    variables: list[int]
    outputs: list[int]  # -1 for a constant
    blocks: list[Block]  # array operations, numbered as the nodes
    lines: Lines

    def block_of(self, node: int) -> Block | None:
        """The array operation that made a node."""
        k = bisect.bisect_right(self.blocks, node, key=lambda block: block.start) - 1
        return self.blocks[k] if k >= 0 and node < self.blocks[k].stop else None

    def is_gather(self, node: int) -> bool:
        """Whether a node only picks or adds others of the tape."""
        block = self.block_of(node)
        return block is not None and block.name == "gather"

    def same_structure(self, other: _Run) -> bool:
        """Whether the other one has the same operations on the same arguments."""
        pairs = ((self.ops, other.ops), (self.first, other.first), (self.indices, other.indices))
        return all(np.array_equal(a, b) for a, b in pairs)

    def arguments(self, node: int) -> range:
        """Where the arguments of a node stand in `indices` and `weights`."""
        return range(int(self.first[node]), int(self.first[node + 1]))

    def argument_values(self) -> Floats:
        """The value of each argument: of its node, or the constant itself."""
        constant = self.indices < 0
        values = np.append(self.values, 0.0)  # -1 is the last
        found: Floats = np.where(constant, self.weights, values[self.indices])
        return found

    def path(self) -> npt.NDArray[np.bool_]:
        """Which nodes depend on the variables and lead to a result."""
        count = len(self.ops)
        first, indices = self.first.tolist(), self.indices.tolist()
        depends, needed = bytearray(count + 1), bytearray(count + 1)  # the last: of the constants
        for node in self.variables:
            depends[node] = 1
        for node in range(count):
            if not depends[node]:
                own = indices[first[node] : first[node + 1]]
                depends[node] = any(depends[i] for i in own)
        for node in self.outputs:
            needed[node] = 1
        for node in reversed(range(count)):
            if needed[node]:
                for i in indices[first[node] : first[node + 1]]:
                    needed[i] = 1
        both = np.frombuffer(depends, np.uint8) & np.frombuffer(needed, np.uint8)
        return both[:count].astype(bool)

    def place(self, node: int) -> str:
        """The number of a node, its operation on its arguments, and the user's line if known."""
        block, element = self.block_of(node), ""
        name = OPERATIONS[int(self.ops[node])].name if block is None else block.name
        line = self.lines.get(node if block is None else block.start)
        if block is not None and isinstance(line, tuple):
            line, name, shapes, _ = line
            element = element_text(shapes, node - block.start)
        elif block is not None and block.size > 1:
            element = f" in element [{node - block.start}]"
        own = self.arguments(node)
        values = self.argument_values()
        shown = [f"{values[k]:.6g}" for k in own[:4]] + (["..."] if len(own) > 4 else [])
        where = f", at {line}" if line else ""
        return f"node {node}, {name}({', '.join(shown)}){element}{where}"


def _record(f: Callable[..., Any], args: Sequence[Any], lines: bool) -> _Run:
    """Evaluate `f` on the tape, under `detect_anomaly` for the lines of the nodes."""
    watch: Any = detect_anomaly() if lines else contextlib.nullcontext()
    with watch, Recording(f, tuple(range(len(args))), args, {}) as recording:
        tape, start = recording.tape, recording.start
        outputs = recording.outputs()[2].tolist()
        ops, first, indices, weights = tape._written(start, max_bytes=_MOST_BYTES)
        known = indices.astype(np.int64)
        inside = (known != CONSTANT) & (known >= start)
        blocks = [block for block in tape._blocks() if block.start >= start]
        return _Run(
            ops.copy(),
            first.astype(np.int64),
            np.where(inside, known - start, -1),
            weights.copy(),
            tape.values[start:].copy(),
            [node - start for node in recording.variables.tolist()],
            [-1 if node == CONSTANT else node - start for node in outputs],
            [block._replace(start=block.start - start) for block in blocks],
            lines_of(tape, start),
        )


def _base(f: Callable[..., Any], args: Sequence[Any]) -> _Run:
    try:
        return _record(f, args, True)
    except Error as bad:
        if bad.code != "BAD_VALUE":  # an infinite value that does no harm, such as log(0)
            raise
    return _record(f, args, False)


# ---- the own test --------------------------------------------------------------------------------


def _agree(weight: Any, found: Estimate) -> npt.NDArray[np.bool_]:
    """Whether weights are those found; without finite differences nothing is said against them."""
    size = np.maximum(np.abs(weight), np.abs(found.value))
    close = np.abs(weight - found.value) <= _CLOSE * size + 10 * found.error + 1e-300
    same: npt.NDArray[np.bool_] = close | ~np.isfinite(found.error)
    return same


def _values(op: int, a: Floats, b: Floats) -> Floats:
    result = np.empty(len(a))
    buffers = [ffi.from_buffer("double[]", np.ascontiguousarray(x)) for x in (a, b)]
    out = ffi.from_buffer("double[]", result, require_writable=True)
    check(lib.pyad_op_values(op, len(a), buffers[0], 1, buffers[1], 1, out))
    return result


def _own_of_two(run: _Run, path: npt.NDArray[np.bool_]) -> Iterator[tuple[int, str]]:
    """Operations of one or two arguments, all nodes of an operation along two arrays."""
    values = run.argument_values()
    for op in np.unique(run.ops[path]).tolist():
        count = OPERATIONS[op].arguments
        if count not in (1, 2):
            continue
        nodes = np.flatnonzero(path & (run.ops == op))
        starts = run.first[nodes]
        operands = [values[starts + k] for k in range(count)]
        for k in range(count):
            step = scales(operands[k])

            def phi(t: float, op: int = op, k: int = k, xs: Any = operands, s: Any = step) -> Any:
                moved = [x + t * s if i == k else x for i, x in enumerate(xs)]
                return _values(op, moved[0], moved[-1])

            found = along(phi).scaled(1 / step)
            weights = run.weights[starts + k]
            wrong = (run.indices[starts + k] >= 0) & ~_agree(weights, found)
            for i in np.flatnonzero(wrong):
                yield int(nodes[i]), _numbers(k, count, weights[i], found.value[i])


def _own_of_many(run: _Run, path: npt.NDArray[np.bool_]) -> Iterator[tuple[int, str]]:
    """Sums, products and their relatives, node by node, until that has cost enough."""
    values, left = run.argument_values(), _EVALUATIONS
    for node in np.flatnonzero(path & np.isin(run.ops, list(_OF_MANY))).tolist():
        own = run.arguments(node)
        xs, count = values[own.start : own.stop], len(own)
        left -= count
        if left < 0:
            return
        operands = ffi.new("pyad_operand[]", [(x, CONSTANT) for x in xs])
        value, partials = ffi.new("double *"), ffi.new("double[]", count)

        def at(
            steps: Floats,
            op: int = int(run.ops[node]),
            xs: Floats = xs,
            operands: Any = operands,
            value: Any = value,
            partials: Any = partials,
        ) -> Floats:
            for i, step in enumerate(steps):
                operands[i].value = xs[i] + step
            check(lib.pyad_op_many(op, len(xs), operands, value, partials))
            return np.array([value[0]])

        sizes = scales(xs)
        for i in range(count):
            left -= 16 * count
            if left < 0:
                return
            if run.indices[own[i]] >= 0:
                found = column(at, i, sizes[i], count, 0.125)
                weight = run.weights[own[i]]
                if not _agree(weight, found)[0]:
                    yield node, _numbers(i, count, weight, found.value[0])


def _numbers(k: int, count: int, weight: float, found: float) -> str:
    which = f" in its argument {k}" if count > 1 else ""
    return f"weight{which} {weight:.10g} recorded, {found:.10g} by finite differences"


# ---- the test along a direction ------------------------------------------------------------------


def _move(
    run: _Run, f: Callable[..., Any], line: Callable[[float], Sequence[Any]]
) -> Estimate | None:
    """Differences of the values of all nodes, and then of all arguments that are constants."""
    constant = run.indices < 0
    known = False

    def phi(t: float) -> Floats:
        nonlocal known
        try:
            other = _record(f, line(t), False)
        except (ArithmeticError, ValueError):
            other = None
        if other is None or not run.same_structure(other):  # it took another branch
            return np.full(len(run.ops) + int(constant.sum()), np.nan)
        known = True
        return np.concatenate([other.values, other.weights[constant]])

    estimate = along(phi)
    return estimate if known else None


def _along(
    run: _Run, path: npt.NDArray[np.bool_], moved: Estimate
) -> tuple[list[tuple[int, str]], list[tuple[int, str]]]:
    """Nodes with constants that change, and nodes whose given partials are wrong."""
    count = len(run.ops)
    constant = run.indices < 0
    slopes, errors = (np.append(x[:count], 0.0) for x in moved[:2])
    own_slopes, own_errors = slopes[run.indices], errors[run.indices]
    own_slopes[constant], own_errors[constant] = (x[count:] for x in moved[:2])
    owner = np.repeat(np.arange(count), np.diff(run.first))
    size = np.where(constant, np.abs(run.weights), 0.0)
    changes = constant & (np.abs(own_slopes) > 10 * own_errors + 1e-9 * size)
    leading = path | _leads(run)
    lost = [
        (int(owner[k]), f"its constant {run.weights[k]:.10g} changes with the argument")
        for k in np.flatnonzero(changes & leading[owner])
        if run.ops[owner[k]] != _GIVEN or run.block_of(int(owner[k])) is not None
    ]
    lost += [
        (node, f"its element {run.values[node]:.10g} changes with the argument")
        for node in np.flatnonzero(
            leading & (run.ops == _GIVEN) & (np.diff(run.first) == 0)
        ).tolist()
        if abs(slopes[node]) > 10 * errors[node] + 1e-9 * abs(run.values[node])
    ]
    named = {node for node, _ in lost}
    variables = set(run.variables)
    for node in np.flatnonzero(leading & (run.ops == _LEAF)).tolist():
        limit = 10 * errors[node] + 1e-9 * abs(run.values[node])
        if node not in variables and abs(slopes[node]) > limit:
            lost.append((node, "a variable of its own, yet its value changes with the argument"))
    wrong = []
    for node in np.flatnonzero(path & (run.ops == _GIVEN)).tolist():
        own = [k for k in run.arguments(node) if not constant[k]]
        if node in named:
            continue
        terms = run.weights[own] * own_slopes[own]
        total, found = float(np.sum(terms)), float(slopes[node])
        slack = float(np.sum(np.abs(run.weights[own]) * own_errors[own])) + errors[node]
        size_of = float(np.sum(np.abs(terms))) + abs(found)
        if abs(total - found) <= _CLOSE * size_of + 10 * slack:
            continue
        if run.block_of(node) is not None:
            text = f"weights make {total:.10g} along a direction, {found:.10g}"
        elif len(own) == 1 and own_slopes[own[0]]:
            weight = float(run.weights[own[0]])
            text = f"partial {weight:.10g} given, {found / own_slopes[own[0]]:.10g}"
        else:
            text = f"partials given make {total:.10g} along a direction, {found:.10g}"
        wrong.append((node, f"{text} by finite differences"))
    return lost, wrong


def _leads(run: _Run) -> npt.NDArray[np.bool_]:
    """Which nodes lead to a result, whether or not they depend on the variables."""
    needed = bytearray(len(run.ops) + 1)
    for node in run.outputs:
        needed[node] = 1
    for node in reversed(range(len(run.ops))):
        if needed[node]:
            for k in run.arguments(node):
                needed[run.indices[k]] = 1
    return np.frombuffer(needed, np.uint8)[:-1].astype(bool)


# ---- the account ---------------------------------------------------------------------------------

_TAKEN = "x.value, pyad.stop_gradient, detach(), int(x), a variable made of a value"


def _listed(run: _Run, found: Sequence[tuple[int, str]]) -> list[str]:
    """A line for each node; of an array operation for the first of its elements."""
    of_block: dict[int, list[tuple[int, str]]] = {}
    for node, text in sorted(found):
        block = run.block_of(node)
        of_block.setdefault(node if block is None else block.start, []).append((node, text))
    lines = []
    for entries in list(of_block.values())[:_SHOWN]:
        node, text = entries[0]
        more = f" (and {len(entries) - 1} more of its elements)" if len(entries) > 1 else ""
        lines.append(f"  {run.place(node)}: {text}{more}")
    left = len(of_block) - len(lines)
    return [*lines, f"  and {left} more"] if left else lines


def infinite(f: Callable[..., Any], args: Sequence[Any]) -> list[str]:
    """The operations on the path whose weights are not finite, in lines."""
    run = _base(f, args)
    path = run.path()
    found = [
        (node, f"weight {run.weights[k]:g}")
        for node in np.flatnonzero(path).tolist()
        for k in run.arguments(node)
        if run.indices[k] >= 0 and not np.isfinite(run.weights[k])
    ]
    return ["it arises in:", *_listed(run, found)] if found else []


def explain(f: Callable[..., Any], line: Callable[[float], Sequence[Any]]) -> list[str]:
    """What is to be said of the recording of `f`, in lines; `line(t)` are points of a direction.

    The point itself is `line(0.0)`.
    """
    run = _base(f, line(0.0))
    path = run.path()
    own = [*_own_of_two(run, path), *_own_of_many(run, path)]
    moved = _move(run, f, line)
    lost, wrong = _along(run, path, moved) if moved is not None else ([], [])
    if moved is None:
        given = np.flatnonzero(path & (run.ops == _GIVEN)).tolist()
        wrong = [(node, "not checked") for node in given if not run.is_gather(node)]
    rules = [(node, text) for node, text in wrong if run.block_of(node) is not None]
    wrong = [(node, text) for node, text in wrong if run.block_of(node) is None]
    said: list[str] = []
    if own:
        said += ["operations on the path that disagree with their own finite differences:"]
        said += [*_listed(run, own), "(at a kink or a jump both may be right)"]
    if wrong:
        said += ["partials given by the caller (pyad.from_partials) are suspect:"]
        said += _listed(run, wrong)
    if rules:
        said += ["rules of array operations are suspect:", *_listed(run, rules)]
    if not own and not wrong and not rules:
        said.append("no operation on the path disagrees with its own finite differences:")
        said.append(f"so a value was probably taken out of the computation ({_TAKEN}), ")
        said[-1] += "or the function does not give the same result every time"
    if lost:
        said += ["a value that depends on the argument entered as a constant:", *_listed(run, lost)]
    elif -1 in run.outputs and not (own or wrong or rules):
        said.append("a result is a plain number, computed from no variable")
    return said
