"""`create_graph=True`: eager sweeps that are themselves recorded."""

from __future__ import annotations

from typing import Any

from pyad import _handle
from pyad._binding import error
from pyad._handle import Var
from pyad.tape import Tape
from pyad.transforms._trees import flatten

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


def _sweep(tape: Tape, node: int, variables: list[int], seed: Any) -> list[Any]:
    return _handle._record_reverse(tape, 0, node, variables, [1.0 if seed is None else seed])


def _differs(a: float, b: float) -> bool:
    """Whether a leaf was assigned since it was recorded; NaN is itself."""
    return a != b and not (a != a and b != b)


def _nodes_of(x: Any, tape: Tape, places: dict[int, list[int]]) -> list[int]:
    """The nodes whose adjoints add up to the derivative in `x`: several if it was re-registered."""
    if not isinstance(x, Var):
        raise error("NOT_A_VAR", "pyad.gradient", type(x).__name__)
    if not x.requires_grad:
        raise error("CONSTANT_GIVEN")
    if x.is_leaf:
        found = places.get(id(x), [])
        if any(_differs(x.value, tape.values[node]) for node in found):
            raise error("LEAF_CHANGED", repr(x))
        return found
    if x.node is None:
        raise error("STALE", repr(x.value))
    if x.tape is not tape:
        raise error("OTHER_TAPE")
    return [x.node]


def gradient(y: Any, xs: Any, seed: Any) -> Any:
    """`pyad.gradient(..., create_graph=True)`; the recording stays."""
    tape, node = _start(y, "pyad.gradient")
    places: dict[int, list[int]] = {}
    for leaf, place in tape._leaves():
        places.setdefault(id(leaf), []).append(place)
    variables, shape = flatten(xs, "pyad.gradient")
    nodes = [_nodes_of(x, tape, places) for x in variables]
    adjoints = iter(_sweep(tape, node, [i for group in nodes for i in group], seed))
    totals = [[next(adjoints) for _ in group] for group in nodes]
    return shape.build(x[0] if len(x) == 1 else _handle.sum(x) for x in totals)


def backward(y: Any, seed: Any) -> None:
    """`Var.backward(create_graph=True)`: `.grad` of the leaves become variables; it stays, too."""
    tape, node = _start(y, "backward")
    leaves = tape._leaves()
    adjoints = _sweep(tape, node, [place for _, place in leaves], seed)
    for (leaf, _), adjoint in zip(leaves, adjoints, strict=True):
        leaf.grad = adjoint if leaf.grad is None else leaf.grad + adjoint
