"""`create_graph=True`: eager sweeps that are themselves recorded."""

from __future__ import annotations

from typing import Any

import numpy as np

from pyad import _handle
from pyad._binding import error
from pyad._handle import Array, Var
from pyad.tape import Tape
from pyad.transforms._trees import Numbers, Rows, Shape, flatten, numbers_of, variables_of

__all__ = ["backward", "gradient"]


def _start(y: Any, what: str) -> tuple[Tape, int]:
    """The tape of a result, and its node."""
    if not isinstance(y, Var):
        raise error("NOT_A_VAR", what, type(y).__name__)
    if not y.requires_grad:
        raise error("NO_GRADIENT")
    y = +y if y.is_leaf else y  # a leaf registers itself
    if y.tape is None or y.node is None:
        raise error("STALE", repr(y.value))
    return y.tape, y.node


def _sweep(tape: Tape, node: int, variables: Rows, seed: Any) -> Numbers:
    given = numbers_of([1.0 if seed is None else seed], tape, "the seed of a sweep")
    nodes = np.array([node], np.uint32)
    return Numbers(*_handle._record_reverse(tape, 0, nodes, *given, variables))


def _differs(a: float, b: float) -> bool:
    """Whether a leaf was assigned since it was recorded; NaN is itself."""
    return a != b and not (a != a and b != b)


def _run(start: int, size: int) -> Rows:
    return np.arange(start, start + size, dtype=np.uint32)


def _nodes_of_number(x: Any, tape: Tape) -> list[Rows]:
    if not isinstance(x, Var):
        raise error("NOT_A_VAR", "pyad.gradient", type(x).__name__)
    if not x.requires_grad:
        raise error("CONSTANT_GIVEN")
    if x.is_leaf:
        found = [place for leaf, place in tape._leaves() if leaf is x]
        if any(_differs(x.value, tape.values[node]) for node in found):
            raise error("LEAF_CHANGED", repr(x))
        return [_run(node, 1) for node in found]
    if x.node is None:
        raise error("STALE", repr(x.value))
    if x.tape is not tape:
        raise error("OTHER_TAPE")
    return [_run(x.node, 1)]


def _nodes_of(x: Any, tape: Tape) -> list[Rows]:
    """The nodes whose adjoints add up to the derivative in `x`: several if it was re-registered."""
    if not isinstance(x, Array):
        return _nodes_of_number(x, tape)
    if not x.requires_grad:
        raise error("CONSTANT_GIVEN")
    if x.is_leaf:
        places = x._places(tape)
        if any(changed for _, changed in places):
            raise error("LEAF_CHANGED", "an array")
        return [nodes for nodes, _ in places]
    _, rows, found = _handle._array_parts(x)
    if rows is None or found is not tape:
        raise error("OTHER_TAPE")
    return [rows.ravel() - np.uint32(1)]


def gradient(y: Any, xs: Any, seed: Any) -> Any:
    """`pyad.gradient(..., create_graph=True)`; the recording stays."""
    tape, node = _start(y, "pyad.gradient")
    leaves, shape = flatten(xs, "pyad.gradient")
    groups = [_nodes_of(x, tape) for x in leaves]
    nodes = [run for group in groups for run in group]
    variables = np.concatenate(nodes) if nodes else np.empty(0, np.uint32)
    adjoints = _sweep(tape, node, variables, seed)
    start, totals = 0, []
    for x, group in zip(leaves, groups, strict=True):
        parts = []
        for run in group:
            part = adjoints.part(start, start + len(run))
            start += len(run)
            parts.append(variables_of(_shape_of(x), part, tape)[0])
        totals.append(_total(parts, x))
    return shape.build(iter(totals))


def _shape_of(x: Any) -> Shape:
    return flatten(x, "pyad.gradient")[1]


def _total(parts: list[Any], x: Any) -> Any:
    if not parts:
        return np.zeros(x.shape) if isinstance(x, Array) else 0.0
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return total


def backward(y: Any, seed: Any) -> None:
    """`Var.backward(create_graph=True)`: `.grad` of the leaves become variables; it stays, too."""
    tape, node = _start(y, "backward")
    leaves: list[tuple[Any, Rows]] = [(leaf, _run(place, 1)) for leaf, place in tape._leaves()]
    leaves += [(a, _run(place, a.size)) for a, place, _ in _handle._array_leaves(tape)]
    runs = [run for _, run in leaves]
    variables = np.concatenate(runs) if runs else np.empty(0, np.uint32)
    adjoints = _sweep(tape, node, variables, seed)
    start = 0
    for leaf, run in leaves:
        part = adjoints.part(start, start + len(run))
        start += len(run)
        adjoint = variables_of(_shape_of(leaf), part, tape)[0]
        leaf.grad = adjoint if leaf.grad is None else leaf.grad + adjoint
