"""A function recorded at a point: what every transform starts from."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from pyad import _handle
from pyad._binding import check, error, ffi, lib, status_of
from pyad._handle import Var
from pyad.tape import CONSTANT, Tape
from pyad.transforms._trees import Numbers, Rows, Shape, flatten, numbers_of, values_of
from pyad.transforms._watch import (
    is_watching,
    lines_of,
    refuse_adjoints,
    refuse_second,
    refuse_tangents,
)

__all__ = ["Recording", "as_numbers", "as_scalar", "check_function", "check_places", "position_of"]

Matrix = npt.NDArray[np.float64]

_BLOCK = 8
"""Seeds that share a sweep of a long recording: one vector of the widest machines."""

_IN_CACHE = 2**17
"""Numbers of a sweep, a megabyte, up to which more seeds share it."""

_NEEDS_RECORDING = status_of("NEEDS_RECORDING")


def position_of(argnums: int | tuple[int, ...], argnum: int | tuple[int, ...] | None) -> Any:
    """`argnums`, or its alias `argnum`; refused if it is neither an int nor a tuple of them."""
    chosen = argnums if argnum is None else argnum
    ints = chosen if isinstance(chosen, tuple) else (chosen,)
    if not ints or not all(isinstance(i, int) and not isinstance(i, bool) for i in ints):
        raise error("ARGUMENTS", "argnums is the position of an argument, or a tuple of positions")
    return chosen


def check_function(f: Any, transform: str) -> None:
    """Refuse what cannot be called, where it is given."""
    if not callable(f):
        raise error("NOT_A_FUNCTION", f"pyad.{transform}", f"{type(f).__name__} {f!r:.40}")


def check_places(argnums: int | tuple[int, ...], args: Sequence[Any]) -> None:
    """Refuse positions at which there is no argument, and one that is named twice."""
    places = argnums if isinstance(argnums, tuple) else (argnums,)
    for i in places:
        if not -len(args) <= i < len(args):
            given = f"argnums names argument {i}, and {len(args)} positional ones were given"
            remedy = "give what is differentiated by position; keywords are passed on as constants"
            raise error("ARGUMENTS", f"{given}: {remedy}")
    if len({i % len(args) for i in places}) < len(places):
        raise error("ARGUMENTS", f"argnums {argnums} names an argument twice")


def as_scalar(output: Any, transform: str) -> Any:
    """A result that must be one number: NumPy's, and arrays without dimensions, among them."""
    y = output
    if isinstance(y, (np.ndarray, _handle.Array)) and y.shape == ():
        y = y[()]
    _handle._refuse_dual(y)
    if not isinstance(y, (Var, float, int, np.floating, np.integer)):
        raise error("NOT_A_SCALAR", transform, type(output).__name__)
    return y if isinstance(y, (Var, float, int)) else y.item()


class Recording:
    """A frame on the tape of this thread that holds one evaluation of a function.

    A context manager: `f` runs on entering, and on leaving the frame is taken back, unless
    `keep()` has made it part of the recording around it.
    """

    def __init__(
        self,
        f: Callable[..., Any],
        argnums: int | tuple[int, ...],
        args: Sequence[Any],
        kwargs: dict[str, Any],
    ) -> None:
        self.f, self.args, self.kwargs = f, list(args), kwargs
        self.argnums = argnums
        self._left = False
        self._mark: tuple[int, int, int, int] | None = None
        check_places(argnums, args)

    def __enter__(self) -> Recording:
        selected: Any = (
            tuple(self.args[i] for i in self.argnums)
            if isinstance(self.argnums, tuple)
            else self.args[self.argnums]
        )
        leaves, self.shape = flatten(selected, "a differentiated argument")
        self.tape, self.start = _handle._enter()
        try:
            aliases, self.places = _handle._aliases(self.tape, leaves)
            # f gets containers and arrays of its own: it may assign into them.
            given = self.shape.build(iter(aliases))
            if isinstance(self.argnums, tuple):
                for i, item in zip(self.argnums, given, strict=True):
                    self.args[i] = item
            else:
                self.args[self.argnums] = given
            self.output: Any = self.f(*self.args, **self.kwargs)
            del self.args, given, aliases  # their values need not outlive the frame
            self.open: bool = _handle._is_open(self.tape)
        except BaseException:
            self._leave(keep=False)
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        if not self._left:
            self._leave(keep=False)
        elif exception[0] is not None and self._mark is not None:
            _handle._take_back(self.tape, self._mark)

    def _leave(self, *, keep: bool) -> None:
        self._left = True
        self._mark = _handle._leave(self.tape, keep)

    def keep(self) -> None:
        """Leave the frame to the recording around it; handles of the frame become stale."""
        self._leave(keep=True)
        self._generation = self.tape._generation

    def copy(self) -> Tape:
        """The frame as a tape of its own, whose node 0 is the first of the frame."""
        return _handle._copy(self.tape, self.start)

    @functools.cached_property
    def variables(self) -> Rows:
        """The nodes of the differentiated arguments, one after the other."""
        first, count = self.places[:, 0], np.abs(self.places[:, 1])  # -1 says: a number
        before = np.cumsum(count) - count
        return (np.repeat(first - before, count) + np.arange(count.sum())).astype(np.uint32)

    # ---- the result -------------------------------------------------------------------

    def scalar(self, transform: str) -> Any:
        """The output, which must be one number."""
        return as_scalar(self.output, transform)

    def nodes_of(self, leaves: list[Any]) -> tuple[Numbers, Rows]:
        """Leaves as a vector, and their nodes; `CONSTANT` for what is not of this frame."""
        numbers = numbers_of(leaves, self.tape, "the result of a function", strict=False)
        inside = numbers.rows > self.start
        return numbers, np.where(inside, numbers.rows - np.uint32(1), CONSTANT).astype(np.uint32)

    def node_of(self, y: Any) -> int:
        """The node of a result, `CONSTANT` if it does not belong to this frame."""
        return int(self.nodes_of([y])[1][0])

    def outputs(self) -> tuple[list[Any], Numbers, Rows, Shape]:
        """The leaves of the output, as a vector, their nodes, and its shape."""
        leaves, shape = flatten(self.output, "the result of a differentiated function")
        for y in leaves:
            _handle._refuse_dual(y)
        numbers, nodes = self.nodes_of(leaves)
        return leaves, numbers, nodes, shape

    # ---- native sweeps ----------------------------------------------------------------

    def gradient(self, y: Any, seed: float = 1.0) -> list[Any]:
        """The derivatives of `y` in the arguments: a float or a flat array for each."""
        return _handle._gradient(self.tape, y, self.places, seed)

    def _blocks(self, seeds: int) -> Iterator[slice]:
        """The seeds in blocks that share a sweep."""
        together = _IN_CACHE // (len(self.tape) - self.start + 1) // _BLOCK * _BLOCK
        size = max(_BLOCK, together)
        for first in range(0, seeds, size):
            yield slice(first, min(first + size, seeds))

    def _rows(self, width: int) -> Matrix:
        """Zeroed rows for a sweep, a few columns wider where that is quicker."""
        padded = width if width < 2 or width > _BLOCK else 4 if width <= 4 else 8
        return np.zeros((len(self.tape) - self.start + 1, padded))

    def _row_of(self, nodes: npt.ArrayLike) -> npt.NDArray[np.int64]:
        """Rows of nodes in an array for the sweeps; row 0 belongs to the constants."""
        known = np.asarray(nodes, dtype=np.int64)
        return np.where(known == CONSTANT, 0, known - self.start + 1)

    def _sweep(self, sweep: Any, rows: Matrix) -> None:
        with self.tape._held() as core:
            status = sweep(core, self.start, rows.shape[1], ffi.from_buffer("double[]", rows))
        check(status)

    def jacobian_by_rows(self, nodes: npt.ArrayLike) -> Matrix:
        """The Jacobian of the nodes in the aliases, by reverse sweeps, `_BLOCK` rows at a time."""
        inputs, outputs = self._row_of(self.variables), self._row_of(nodes)
        result = np.empty((len(outputs), len(inputs)))
        for part in self._blocks(len(outputs)):
            block = outputs[part]
            rows = self._rows(len(block))
            np.add.at(rows, (block, np.arange(len(block))), 1.0)
            rows[0] = 0.0
            self._sweep(lib.pyad_tape_reverse, rows)
            if is_watching():
                lines = lines_of(self.tape, self.start)
                refuse_adjoints(self.tape, self.start, rows[1:], lines)
            result[part] = rows[inputs, : len(block)].T
        return result

    def jacobian_by_columns(self, nodes: npt.ArrayLike) -> Matrix:
        """The same by forward sweeps, `_BLOCK` columns at a time."""
        inputs, outputs = self._row_of(self.variables), self._row_of(nodes)
        result = np.empty((len(outputs), len(inputs)))
        for part in self._blocks(len(inputs)):
            block = inputs[part]
            rows = self._rows(len(block))
            rows[block, np.arange(len(block))] = 1.0
            self._sweep(lib.pyad_tape_forward, rows)
            self._watch_tangents(rows, nodes)
            result[:, part] = rows[outputs, : len(block)]
        return result

    def tangents(self, nodes: npt.ArrayLike, directions: Matrix) -> Matrix:
        """Directional derivatives of the nodes: (nodes, k) for directions of shape (inputs, k)."""
        width = directions.shape[1]
        rows = self._rows(width)
        rows[self._row_of(self.variables), :width] = directions
        self._sweep(lib.pyad_tape_forward, rows)
        self._watch_tangents(rows, nodes)
        return rows[self._row_of(nodes), :width]

    def _watch_tangents(self, rows: Matrix, nodes: npt.ArrayLike) -> None:
        if is_watching():
            lines = lines_of(self.tape, self.start)
            refuse_tangents(self.tape, self.start, rows[1:], nodes, lines)

    def second(self, y: Any, directions: Matrix) -> Matrix:
        """The Hessian of `y` times directions: both of shape (inputs, k), in blocks of columns."""
        node = self.node_of(y)
        result = np.zeros(directions.shape)
        if node == CONSTANT:
            return result
        if is_watching():
            self.gradient(y)  # which raises if an adjoint is not finite
        inputs = self._row_of(self.variables)
        for part in self._blocks(directions.shape[1]):
            block = directions[:, part]
            width = block.shape[1]
            tangents, adjoints, second = self._rows(width), self._rows(1), self._rows(width)
            tangents[inputs, :width] = block
            adjoints[node - self.start + 1] = 1.0
            with self.tape._held() as core:
                arrays = (ffi.from_buffer("double[]", a) for a in (tangents, adjoints, second))
                status = lib.pyad_tape_second(core, self.start, tangents.shape[1], *arrays)
            if status == _NEEDS_RECORDING:
                return self._second_recorded(node, directions)
            check(status)
            if is_watching():
                lines = lines_of(self.tape, self.start)
                refuse_second(self.tape, self.start, second[1:], adjoints[1:], lines)
            result[:, part] = second[inputs, :width]
        return result

    def _second_recorded(self, node: int, directions: Matrix) -> Matrix:
        """`second` where an array operation knows its first derivative only.

        By a forward sweep over the recorded gradient, which is taken back with the frame.
        """
        slopes = self.frame_nodes(self.recorded_gradient(node))
        result = np.zeros(directions.shape)
        for part in self._blocks(directions.shape[1]):
            result[:, part] = self.tangents(slopes, directions[:, part])
        return result

    # ---- recorded sweeps, after keep() ------------------------------------------------

    def recorded_gradient(self, node: int, seed: float = 1.0) -> Numbers:
        """The derivatives of a node in the arguments, as variables of the recording around."""
        nodes = np.array([node], np.uint32)
        return self.recorded_reverse(nodes, Numbers(np.array([seed]), np.zeros(1, np.uint32)))

    def recorded_reverse(self, nodes: Rows, seeds: Numbers) -> Numbers:
        """The products of seeds on nodes with their Jacobian in the arguments."""
        self._check_recording()
        known = nodes != CONSTANT
        seeded = (nodes[known], seeds.values[known], seeds.rows[known])
        return Numbers(*_handle._record_reverse(self.tape, self.start, *seeded, self.variables))

    def recorded_forward(self, nodes: Rows, tangents: Numbers) -> Numbers:
        """The directional derivatives of nodes, as variables of the recording around."""
        given = (self.variables, tangents.values, tangents.rows)
        return Numbers(*_handle._record_forward(self.tape, self.start, *given, nodes))

    def _check_recording(self) -> None:
        """Refuse a pullback that outlived the recording around the frame."""
        if self._left and not self.tape._knows(self._generation):
            raise error("STALE", "of a pullback")

    def frame_nodes(self, numbers: Numbers) -> Rows:
        """The nodes of numbers that were recorded in this frame, `CONSTANT` for others."""
        inside = numbers.rows > self.start
        return np.where(inside, numbers.rows - np.uint32(1), CONSTANT).astype(np.uint32)

    def handle(self, number: Any, node: int) -> Any:
        """A result of the frame that was kept as a variable of the recording around it."""
        return number if node == CONSTANT else _handle._at(self.tape, node)

    def handles(self, leaves: list[Any], numbers: Numbers, nodes: Rows) -> list[Any]:
        """The same for all leaves of an output, whose vector and nodes are given."""
        start, results = 0, []
        for leaf in leaves:
            size = leaf.size if isinstance(leaf, (np.ndarray, _handle.Array)) else 1
            part = slice(start, start + size)
            start += size
            if not isinstance(leaf, (np.ndarray, _handle.Array)):
                results.append(self.handle(leaf, int(nodes[part][0])))
            elif (nodes[part] != CONSTANT).any():
                parts = numbers.values[part], numbers.rows[part]
                results.append(_handle._array_of_parts(*parts, self.tape).reshape(leaf.shape))
            else:
                results.append(leaf)
        return results


def as_numbers(given: list[Any], recording: bool | None = None) -> list[Any]:
    """Leaves given beside the arguments; if nothing is recorded, variables are numbers, too."""
    if _handle._is_recording() if recording is None else recording:
        return given
    return [values_of(x) for x in given]


def is_nested(leaves: Sequence[Any]) -> bool:
    """True if any leaf is a variable: then the derivative may be differentiated again."""
    return any(
        x.requires_grad if isinstance(x, (Var, _handle.Array)) else _is_objects(x) for x in leaves
    )


def _is_objects(x: Any) -> bool:
    return isinstance(x, np.ndarray) and x.dtype == object
