"""Pictures of a recording: DOT text for Graphviz, and a small SVG of its own for notebooks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from html import escape
from itertools import islice
from typing import TYPE_CHECKING

from pyad.tape import CONSTANT, Rows, Tape

if TYPE_CHECKING:
    from pyad._handle import Var

__all__ = ["svg", "svg_of", "to_dot"]

MOST_DRAWN = 60
"""Nodes that a picture holds; larger recordings are not drawn."""

WIDTH, HEIGHT, GAP_X, GAP_Y = 108, 34, 14, 34


def _label(rows: Rows, node: int) -> str:
    return f"{rows.names.get(node) or rows.operation(node)} = {rows.values[node]:.5g}"


def to_dot(tape: Tape) -> str:
    """The whole recording in the DOT language; edges carry the weights."""
    rows = Rows(tape)
    lines = ["digraph tape {", "  rankdir=LR; node [shape=box];"]
    for node in range(len(rows.ops)):
        label = _label(rows, node).replace("\\", "\\\\").replace('"', '\\"')
        lines.append(f'  n{node} [label="{label}"];')
        for place, (index, weight) in enumerate(rows.arguments(node)):
            if index == CONSTANT:
                constant = f"c{node}_{place}"
                lines.append(f'  {constant} [label="{weight:.5g}", shape=plaintext];')
                lines.append(f"  {constant} -> n{node};")
            else:
                lines.append(f'  n{index} -> n{node} [label="{weight:.5g}"];')
    return "\n".join([*lines, "}"])


def _ancestors(rows: Rows, node: int) -> set[int] | None:
    """The nodes that `node` is computed from, and itself; None if they are too many to draw."""
    found, waiting = {node}, [node]
    while waiting:
        for index, _ in rows.arguments(waiting.pop()):
            if index != CONSTANT and index not in found:
                found.add(index)
                waiting.append(index)
        if len(found) > MOST_DRAWN:
            return None
    return found


def svg_of(result: Var) -> str | None:
    """A picture of how a result was computed; None if it has no recording, or too large a one."""
    tape, node = result.tape, result.node
    if tape is None or node is None:
        return None
    nodes = _ancestors(Rows(tape), node)
    return None if nodes is None else svg(tape, nodes)


def svg(tape: Tape, nodes: Iterable[int]) -> str | None:
    """These nodes of a tape, one layer for each depth, in SVG; None if they are too many."""
    rows, drawn = Rows(tape), sorted(islice(nodes, MOST_DRAWN + 1))
    if not 0 < len(drawn) <= MOST_DRAWN:
        return None
    layer: dict[int, int] = {}
    place: dict[int, tuple[int, int]] = {}
    filled: dict[int, int] = {}
    for node in drawn:
        below = (layer[i] for i, _ in rows.arguments(node) if i in layer)
        depth = layer[node] = 1 + max(below, default=-1)
        column = filled.get(depth, 0)
        filled[depth] = column + 1
        place[node] = (GAP_X + column * (WIDTH + GAP_X), GAP_X + depth * (HEIGHT + GAP_Y))
    width = GAP_X + max(filled.values()) * (WIDTH + GAP_X)
    height = GAP_X + len(filled) * (HEIGHT + GAP_Y)
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}"'
    style = 'font-family="sans-serif" font-size="11" text-anchor="middle"'
    return "\n".join([f"{head} {style}>", *_shapes(rows, place), "</svg>"])


def _shapes(rows: Rows, place: dict[int, tuple[int, int]]) -> Iterator[str]:
    for node, (x, y) in place.items():
        for index, weight in rows.arguments(node):
            if index in place:
                from_x, from_y = place[index][0] + WIDTH // 2, place[index][1] + HEIGHT
                to_x = x + WIDTH // 2
                yield f'<path d="M{from_x} {from_y}L{to_x} {y}" stroke="#999"/>'
                middle_x, middle_y = (from_x + to_x) // 2, (from_y + y) // 2
                yield f'<text x="{middle_x}" y="{middle_y}" fill="#666">{weight:.4g}</text>'
    for node, (x, y) in place.items():
        yield (
            f'<rect x="{x}" y="{y}" width="{WIDTH}" height="{HEIGHT}" rx="5"'
            ' fill="#eef4fb" stroke="#4a7ab5"/>'
        )
        label = escape(_label(rows, node))
        yield f'<text x="{x + WIDTH // 2}" y="{y + HEIGHT // 2 + 4}">{label}</text>'
