"""Under `detect_anomaly`: which operation of a native sweep gave the first number not finite.

The sweeps of one seed that C makes for `grad` look for themselves; these are for the others, whose
rows of adjoints or tangents are at hand in Python.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from pyad import _handle
from pyad._binding import OPERATIONS, error
from pyad.tape import CONSTANT, Tape

__all__ = [
    "Lines",
    "is_watching",
    "lines_of",
    "refuse_adjoints",
    "refuse_second",
    "refuse_tangents",
]

Floats = npt.NDArray[np.float64]
Lines = dict[int, str]

is_watching = _handle._is_watching


def lines_of(tape: Tape, start: int = 0) -> Lines:
    """The user's lines of the nodes from `start` on, numbered from there."""
    origins = tape._origins or {}
    return {node - start: line for node, line in origins.items() if node >= start}


def _arguments(tape: Tape, start: int) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """(owner, argument) of each argument, nodes numbered from `start`; -1 is a constant."""
    first = tape.first[start:].astype(np.intp)
    indices = tape.indices[first[0] :].astype(np.intp)
    inside = (indices != CONSTANT) & (indices >= start)
    owners = np.repeat(np.arange(len(first) - 1), np.diff(first))
    return owners, np.where(inside, indices - start, -1)


def _refuse(code: str, tape: Tape, start: int, node: int, found: Floats, lines: Lines) -> None:
    name = OPERATIONS[int(tape.ops[start + node])].name
    line = lines.get(node, "a line recorded outside detect_anomaly")
    bad = found[~np.isfinite(found)]
    number = bad[0] if bad.size else found[np.flatnonzero(found)[:1]].sum()
    shown = () if code == "BAD_SECOND" else (repr(float(number)),)
    raise error(code, name, *shown, line)


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
    owners, arguments = _arguments(tape, start)
    above = owners[(arguments == node) & active[owners]]
    node = int(above[-1]) if above.size else node
    _refuse(code, tape, start, node, rows[node], lines)


def refuse_tangents(
    tape: Tape, start: int, rows: Floats, nodes: Sequence[int], lines: Lines
) -> None:
    """Raise if a forward sweep left a row of a result that is not finite."""
    bad = np.logical_not(np.all(np.isfinite(rows), axis=1))
    results = [node - start for node in nodes if node != CONSTANT and bad[node - start]]
    if not results:
        return
    owners, arguments = _arguments(tape, start)
    node = results[0]
    while True:
        below = arguments[(owners == node) & (arguments >= 0)]
        below = below[bad[below]]
        if not below.size:
            break
        node = int(below[0])
    _refuse("BAD_TANGENT", tape, start, node, rows[node], lines)
