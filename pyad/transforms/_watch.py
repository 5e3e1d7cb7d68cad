"""Under `detect_anomaly`: which operation of a native sweep gave the first number not finite.

The sweeps of one seed that C makes for `grad` look for themselves; these are for the others, whose
rows of adjoints or tangents are at hand in Python.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from pyad import _handle
from pyad._binding import OPERATIONS, error
from pyad.modes import element_text
from pyad.tape import CONSTANT, Rows, Tape

__all__ = [
    "Lines",
    "blame_adjoint",
    "blame_tangent",
    "is_watching",
    "lines_of",
    "place_in",
    "refuse_adjoints",
    "refuse_second",
    "refuse_tangents",
]

Floats = npt.NDArray[np.float64]
Lines = dict[int, Any]
"""Of each node its line; of an array operation what `pyad.modes.note_array` gives, at its start."""

is_watching = _handle._is_watching

_OUTSIDE = "a line recorded outside detect_anomaly"
_MOST_BYTES = 2**30
"""Of a recording written out to find an operation; of a larger one a block is named as it is."""


def lines_of(tape: Tape, start: int = 0) -> Lines:
    """The user's lines of the nodes from `start` on, numbered from there."""
    origins = tape._origins or {}
    return {node - start: line for node, line in origins.items() if node >= start}


def place_in(tape: Tape, node: int, lines: Lines, start: int = 0) -> tuple[str, str, str]:
    """(operation, element of an array or "", line) of a node of the tape."""
    block = Rows(tape).block_of(node)
    if block is None:
        name = OPERATIONS[int(tape._written(node, node + 1).ops[0])].name
        return name, "", lines.get(node - start, _OUTSIDE)
    noted = lines.get(block.start - start, _OUTSIDE)
    if isinstance(noted, str):  # a leaf, or a gather
        element = f" in element [{node - block.start}]" if block.size > 1 else ""
        return block.name, element, noted
    line, name, shapes, _ = noted
    return name, element_text(shapes, node - block.start), line


def _arguments(
    tape: Tape, start: int
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp], Floats] | None:
    """(owner, argument, weight) of each argument, nodes numbered from `start`; -1 is a constant.

    None if they take too much memory.
    """
    try:
        written = tape._written(start, max_bytes=_MOST_BYTES)
    except MemoryError:
        return None
    indices = written.indices.astype(np.intp)
    inside = (indices != CONSTANT) & (indices >= start)
    owners = np.repeat(np.arange(len(written.ops)), np.diff(written.first))
    return owners, np.where(inside, indices - start, -1), written.weights


def _refuse(code: str, tape: Tape, start: int, node: int, found: Floats, lines: Lines) -> None:
    name, element, line = place_in(tape, start + node, lines, start)
    bad = found[~np.isfinite(found)]
    number = bad[0] if bad.size else found[np.flatnonzero(found)[:1]].sum()
    shown = () if code == "BAD_SECOND" else (repr(float(number)),)
    raise error(code, f"{name}{element}", *shown, line)


def blame_adjoint(tape: Tape, start: int, rows: Floats, node: int) -> None:
    """`refuse_adjoints` for a sweep of one seed made in C."""
    refuse_adjoints(tape, start, rows[:, None], lines_of(tape, start))


def blame_tangent(tape: Tape, start: int, rows: Floats, node: int) -> None:
    """`refuse_tangents` for a sweep of one seed made in C, and one result."""
    refuse_tangents(tape, start, rows[:, None], [node], lines_of(tape, start))


def refuse_adjoints(tape: Tape, start: int, rows: Floats, lines: Lines) -> None:
    """Raise if a reverse sweep left a row that is not finite; row i is that of node `start` + i."""
    _refuse_reverse("BAD_ADJOINT", tape, start, rows, np.any(rows != 0, axis=1), lines)


def refuse_second(tape: Tape, start: int, second: Floats, adjoints: Floats, lines: Lines) -> None:
    """Raise if a forward-over-reverse sweep left a second derivative that is not finite."""
    active = np.any(second != 0, axis=1) | np.any(adjoints != 0, axis=1)
    _refuse_reverse("BAD_SECOND", tape, start, second, active, lines)


def _refuse_reverse(
    code: str,
    tape: Tape,
    start: int,
    rows: Floats,
    active: npt.NDArray[np.bool_],
    lines: Lines,
) -> None:
    """Name the last operation on the last node with a bad row, of those that passed something."""
    bad = np.logical_not(np.all(np.isfinite(rows), axis=1))
    if not bad.any():
        return
    node = int(np.flatnonzero(bad)[-1])
    found = _arguments(tape, start)
    if found is not None:
        owners, arguments, weights = found
        above = np.flatnonzero((arguments == node) & active[owners])
        with np.errstate(all="ignore"):
            passed = np.isfinite(rows[owners[above]] * weights[above, None]).all(axis=1)
        above = above if passed.all() else above[~passed]
        node = int(owners[above[-1]]) if above.size else node
    _refuse(code, tape, start, node, rows[node], lines)


def refuse_tangents(
    tape: Tape, start: int, rows: Floats, nodes: npt.ArrayLike, lines: Lines
) -> None:
    """Raise if a forward sweep left a row of a result that is not finite."""
    bad = np.logical_not(np.all(np.isfinite(rows), axis=1))
    known = np.asarray(nodes, np.int64).tolist()
    results = [node - start for node in known if node != CONSTANT and bad[node - start]]
    if not results:
        return
    found, node = _arguments(tape, start), results[0]
    while found is not None:
        owners, arguments, _ = found
        below = arguments[(owners == node) & (arguments >= 0)]
        below = below[bad[below]]
        if not below.size:
            break
        node = int(below[0])
    _refuse("BAD_TANGENT", tape, start, node, rows[node], lines)
