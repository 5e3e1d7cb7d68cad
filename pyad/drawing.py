"""Pictures of a recording: DOT text for Graphviz, and a small SVG of its own for notebooks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from html import escape

import numpy as np

from pyad import _handle
from pyad._handle import Array, Var
from pyad.tape import CONSTANT, Rows, Tape

__all__ = ["svg", "svg_of", "to_dot"]

MOST_DRAWN = 60
"""Places that a picture holds; larger recordings are not drawn."""

WIDTH, HEIGHT, GAP_X, GAP_Y = 108, 34, 14, 34


def _label(rows: Rows, place: int) -> str:
    name = rows.name(place) or rows.operation(place)
    block = rows.large.get(place)
    if block is not None and block.size > 1:
        return f"{name} ({block.size} numbers)"
    return f"{name} = {rows.values[place]:.5g}"


def to_dot(tape: Tape) -> str:
    """The whole recording in the DOT language; edges carry the weights."""
    rows = Rows(tape)
    lines = ["digraph tape {", "  rankdir=LR; node [shape=box];"]
    for node in rows.places().tolist():
        label = _label(rows, node).replace("\\", "\\\\").replace('"', '\\"')
        lines.append(f'  n{node} [label="{label}"];')
        for position, (index, weight) in enumerate(rows.sources(node)):
            shown = "" if weight is None else f' [label="{weight:.5g}"]'
            if index == CONSTANT:
                constant = f"c{node}_{position}"
                lines.append(f'  {constant} [label="{weight:.5g}", shape=plaintext];')
                lines.append(f"  {constant} -> n{node};")
            else:
                lines.append(f"  n{index} -> n{node}{shown};")
    return "\n".join([*lines, "}"])


def _ancestors(rows: Rows, nodes: Iterable[int]) -> set[int] | None:
    """The places that nodes are computed from, and their own; None if they are too many to draw."""
    found = {rows.place_of(node) for node in nodes}
    waiting = list(found)
    while waiting and len(found) <= MOST_DRAWN:
        for index, _ in rows.sources(waiting.pop()):
            if index != CONSTANT and index not in found:
                found.add(index)
                waiting.append(index)
    return None if len(found) > MOST_DRAWN else found


def svg_of(result: Var | Array) -> str | None:
    """A picture of how a result was computed; None if it has no recording, or too large a one."""
    tape = result.tape
    if tape is None:
        return None
    nodes = [result.node] if isinstance(result, Var) else _nodes_of(result)
    found = _ancestors(Rows(tape), [node for node in nodes if node is not None])
    return svg(tape, found) if found else None


def _nodes_of(result: Array) -> list[int]:
    if result._is_ended:
        return []
    rows = _handle._array_parts(result)[1]
    return [] if rows is None else [row - 1 for row in np.unique(rows).tolist() if row]


def svg(tape: Tape, places: Iterable[int] | None) -> str | None:
    """These places of a tape, or all, one layer for each depth; None if they are too many."""
    rows = Rows(tape)
    drawn = sorted(rows.places()[: MOST_DRAWN + 1].tolist() if places is None else places)
    if not 0 < len(drawn) <= MOST_DRAWN:
        return None
    layer: dict[int, int] = {}
    place: dict[int, tuple[int, int]] = {}
    filled: dict[int, int] = {}
    for node in drawn:
        below = (layer[i] for i, _ in rows.sources(node) if i in layer)
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
        for index, weight in rows.sources(node):
            if index in place:
                from_x, from_y = place[index][0] + WIDTH // 2, place[index][1] + HEIGHT
                to_x = x + WIDTH // 2
                yield f'<path d="M{from_x} {from_y}L{to_x} {y}" stroke="#999"/>'
                if weight is None:
                    continue
                middle_x, middle_y = (from_x + to_x) // 2, (from_y + y) // 2
                yield f'<text x="{middle_x}" y="{middle_y}" fill="#666">{weight:.4g}</text>'
    for node, (x, y) in place.items():
        yield (
            f'<rect x="{x}" y="{y}" width="{WIDTH}" height="{HEIGHT}" rx="5"'
            ' fill="#eef4fb" stroke="#4a7ab5"/>'
        )
        label = escape(_label(rows, node))
        yield f'<text x="{x + WIDTH // 2}" y="{y + HEIGHT // 2 + 4}">{label}</text>'
