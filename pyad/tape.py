"""`Tape`: what a recording looks like from outside, through views of its flat arrays."""

from __future__ import annotations

import bisect
import contextlib
from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from pyad import _handle
from pyad._binding import OPERATIONS, check, error, ffi, lib
from pyad.errors import Error

__all__ = ["CONSTANT", "Block", "Rows", "Tape", "Written"]

CONSTANT = 2**32 - 1
"""The index of an argument that is a constant; its weight is the constant itself."""

_SHOWN = 400
"""Lines of a tape that `print` shows; of a longer one the first and the last half of them."""
_SMALL = 32
"""Results and operands of an array operation that is shown element by element."""
_ARGUMENTS = 64
"""Arguments that a line shows."""


class Written(NamedTuple):
    """Nodes of a stretch, array operations element by element, as a sparse matrix in CSR form."""

    ops: npt.NDArray[np.uint8]
    first: npt.NDArray[np.uint32]  # of the arguments, from 0 on
    indices: npt.NDArray[np.uint32]  # nodes of the tape, or CONSTANT
    weights: npt.NDArray[np.float64]


class Block(NamedTuple):
    """An array operation on the tape."""

    name: str
    start: int
    size: int
    operands: tuple[tuple[int, int], ...]  # (first node or CONSTANT, count) of each

    @property
    def stop(self) -> int:
        """One more than its last node."""
        return self.start + self.size

    @property
    def is_small(self) -> bool:
        """Whether it is shown element by element."""
        return self.size + sum(count for _, count in self.operands) <= _SMALL


class Tape(_handle.Tape):
    """A recording: nodes with values, and for each the indices and weights of its arguments.

    Each thread has a tape of its own, on which variables are recorded; `with Tape() as tape:`
    records on another one. A sweep (`backward`, `pyad.gradient`) ends the recording unless
    `retain_graph=True`, and the tape starts again from zero nodes.

    `max_bytes` limits the memory of the recording and of its adjoints; an operation that would
    need more raises `MemoryError`. Leaving the block keeps the recording. A tape is not
    thread-safe; give each thread its own.

    The views `ops`, `first`, `indices`, `weights`, `values`, `adjoints` are read-only NumPy arrays
    of what is recorded when they are taken; later recordings do not change them. The layout is
    that of a sparse matrix in CSR form: Griewank and Walther, *Evaluating Derivatives* (2nd ed.,
    2008), section 4.1, call it the extended Jacobian. An array operation is one instruction that
    makes a run of nodes, and keeps no indices and weights for them: of a tape with arrays `ops`,
    `first`, `indices` and `weights` are written out for the reader, at each call, and take the
    memory that as many scalar operations would (2k arguments for each element of a product over k,
    i for a running sum over i).

    >>> import pyad
    >>> with pyad.Tape() as tape:
    ...     x, y = pyad.var(2.0, name="x"), pyad.var(5.0, name="y")
    ...     z = x * y + 1
    >>> print(tape)
    node  operation    value    adjoint  argument (weight)
       0  leaf x           2          -
       1  leaf y           5          -
       2  mul             10          -  0 (5)  1 (2)
       3  add             11          -  2 (1)  constant 1
    >>> len(tape), tape.nbytes
    (4, 100)
    >>> tape.weights
    array([5., 2., 1., 1.])
    """

    __slots__ = ()

    @contextlib.contextmanager
    def _held(self) -> Iterator[Any]:
        """The C tape; meanwhile no other thread can record on it, since cffi lets them run.

        Blocks around it are short: out of memory, CPython 3.11 never leaves a `with` block from
        beyond the 256th instruction of a function.
        """
        address = self._hold()
        try:
            yield ffi.cast("pyad_tape *", address)
        finally:
            self._release()

    @staticmethod
    def _view(pointer: Any, count: int, dtype: npt.DTypeLike) -> npt.NDArray[Any]:
        """A read-only array over a pinned buffer, which it releases in the end."""
        if pointer == ffi.NULL:
            view = np.empty(0, dtype)
        else:
            owner = ffi.gc(pointer, lib.pyad_buffer_release)
            buffer = ffi.buffer(owner, count * np.dtype(dtype).itemsize)
            view = np.frombuffer(memoryview(buffer).toreadonly(), dtype)
        view.flags.writeable = False
        return view

    def _written(self, start: int = 0, stop: int | None = None, max_bytes: int = 0) -> Written:
        """The nodes `start` ... `stop` - 1, between array operations; 0 bytes are no limit."""
        end = len(self) if stop is None else stop
        with self._held() as core:
            return self._read(core, start, end, max_bytes)

    def _read(self, core: Any, start: int, stop: int, max_bytes: int) -> Written:
        if not lib.pyad_tape_blocks(core, 0):
            ops, first, indices, weights = self._arrays(core, len(self))
            first = first[start : stop + 1]
            own = slice(int(first[0]), int(first[-1]))
            first = first - first[0] if own.start else first
            return Written(ops[start:stop], first, indices[own], weights[own])
        rows = ffi.gc(lib.pyad_tape_new(max_bytes), lib.pyad_tape_free)
        if rows == ffi.NULL:
            raise error("NO_MEMORY")
        check(lib.pyad_tape_write(rows, core, start, stop))
        return self._arrays(rows, stop - start)

    def _arrays(self, core: Any, length: int) -> Written:
        arguments = lib.pyad_tape_arguments(core)
        first = self._view(lib.pyad_tape_pin_first(core), length + 1, np.uint32)
        if not first.size:
            first = np.zeros(1, np.uint32)
            first.flags.writeable = False
        return Written(
            self._view(lib.pyad_tape_pin_ops(core), length, np.uint8),
            first,
            self._view(lib.pyad_tape_pin_indices(core), arguments, np.uint32),
            self._view(lib.pyad_tape_pin_weights(core), arguments, np.float64),
        )

    def _blocks(self) -> list[Block]:
        """The array operations, in the order of their nodes."""
        with self._held() as core:
            return _blocks_of(core)

    @property
    def ops(self) -> npt.NDArray[np.uint8]:
        """The operation of each node: its place in `pyad.operations()`. Shape (len,).

        An element of a view (a slice, a transpose, a broadcast) is `positive`; one of a gather, of
        an operation with a rule of its own (`np.linalg.solve`) and of a recorded sweep is `given`.
        """
        return self._written().ops

    @property
    def first(self) -> npt.NDArray[np.uint32]:
        """Where the arguments of each node start, and the last ones end. Shape (len + 1,)."""
        return self._written().first

    @property
    def indices(self) -> npt.NDArray[np.uint32]:
        """The nodes that are arguments, or `pyad.tape.CONSTANT`. Shape (arguments,)."""
        return self._written().indices

    @property
    def weights(self) -> npt.NDArray[np.float64]:
        """The partial derivative in each argument, or the constant itself. Shape (arguments,)."""
        _handle._note_read(self)
        return self._written().weights

    @property
    def values(self) -> npt.NDArray[np.float64]:
        """The value of each node. Shape (len,)."""
        _handle._note_read(self)
        with self._held() as core:
            return self._values(core)

    def _values(self, core: Any) -> npt.NDArray[np.float64]:
        return self._view(lib.pyad_tape_pin_values(core), len(self), np.float64)

    @property
    def adjoints(self) -> npt.NDArray[np.float64]:
        """The adjoints of the last sweep, also after its recording has ended; else empty.

        Of a recording with arrays they are kept with `retain_graph=True` only.
        """
        count = ffi.new("size_t *")
        with self._held() as core:
            pointer = lib.pyad_tape_pin_adjoints(core, count)
        return self._view(pointer, count[0], np.float64)[1:]

    # ---- sweeps ------------------------------------------------------------------------------

    def reverse(self, seeds: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Adjoints of every node for given seeds on every node, several sweeps at once.

        `seeds` has shape (len,) or (len, k); so has the result. The recording stays.

        >>> import pyad
        >>> with pyad.Tape() as tape:
        ...     x = pyad.var(3.0)
        ...     y = x * x
        >>> tape.reverse([0.0, 1.0])
        array([6., 1.])
        """
        return self._sweep(lib.pyad_tape_reverse, seeds)

    def forward(self, seeds: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Tangents of every node for given seeds on every node, several sweeps at once.

        `seeds` has shape (len,) or (len, k); so has the result. The recording stays.
        """
        return self._sweep(lib.pyad_tape_forward, seeds)

    def _sweep(self, sweep: Any, seeds: npt.ArrayLike) -> npt.NDArray[np.float64]:
        given = self._seeds(seeds)
        with self._held() as core:
            if given.ndim not in (1, 2) or given.shape[0] != len(self):
                wanted = f"({len(self)},) or ({len(self)}, k)"
                raise error("ARGUMENT_SHAPE", "seeds", wanted, str(given.shape))
            width = given[0].size if len(given) else 1
            rows = np.zeros((len(self) + 1, width))
            rows[1:] = given.reshape(len(self), width)
            check(sweep(core, 0, width, ffi.from_buffer("double[]", rows)))
        return rows[1:].reshape(given.shape)

    @staticmethod
    def _seeds(seeds: npt.ArrayLike) -> npt.NDArray[np.float64]:
        try:
            return np.asarray(seeds, dtype=np.float64)
        except Error:
            raise
        except (TypeError, ValueError) as cause:
            raise error("NOT_A_NUMBER", "seeds", type(seeds).__name__, f": {cause}") from cause

    # ---- inspection ----------------------------------------------------------------------------

    def stats(self) -> dict[str, Any]:
        """Counts and bytes of the recording, and how often each operation occurs.

        "operations" counts nodes, which are the elements of arrays; "blocks" counts array
        operations. "arguments" are those kept, which array operations do without.
        """
        blocks = self._blocks()
        with self._held() as core:
            arguments = lib.pyad_tape_arguments(core)
            reserved = lib.pyad_tape_reserved(core)
            ops = self._view(lib.pyad_tape_pin_ops(core), len(self), np.uint8)
        scalar = np.ones(len(ops), bool)
        for block in blocks:
            scalar[block.start : block.stop] = False
        found = np.bincount(ops[scalar], minlength=len(OPERATIONS)).tolist()
        counts = Counter({OPERATIONS[op].name: n for op, n in enumerate(found) if n})
        for block in blocks:
            counts[block.name] += block.size
        return {
            "nodes": len(self),
            "arguments": arguments,
            "nbytes": self.nbytes,
            "reserved_bytes": reserved,
            "operations": dict(counts),
            "blocks": dict(Counter(block.name for block in blocks)),
        }

    def arguments(self, node: int) -> list[tuple[int, float]]:
        """(index, weight) of each argument of a node; index `CONSTANT` for a constant."""
        if not 0 <= node < len(self):
            raise error("NODE_RANGE")
        return Rows(self).arguments(node)

    def _names(self) -> dict[int, str]:
        names = {node: leaf.name for leaf, node in self._leaves()}
        names |= {node: leaf.name for leaf, node, _ in _handle._array_leaves(self)}
        return {node: name for node, name in names.items() if name is not None}

    def to_dot(self) -> str:
        """The recording as a graph in the DOT language of Graphviz."""
        from pyad import drawing

        return drawing.to_dot(self)

    def _repr_svg_(self) -> str | None:
        from pyad import drawing

        return drawing.svg(self, None)

    def __repr__(self) -> str:
        return f"<Tape of {len(self)} nodes, {self.nbytes} bytes>"

    def __str__(self) -> str:
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        rows = Rows(self)
        adjoints = self.adjoints if self._has_adjoints else np.empty(0)
        places, half = rows.places(), _SHOWN // 2
        length, width = len(places), max([4, *(len(rows.span(p)) for p in rows.large)])
        yield f"{'node':>{width}}  operation    value    adjoint  argument (weight)"
        for place in places if length <= _SHOWN else places[:half]:
            yield rows.line(int(place), adjoints, width)
        if length > _SHOWN:
            yield f" ...  ({places[length - half] - places[half]} nodes more)"
            for place in places[length - half :]:
                yield rows.line(int(place), adjoints, width)


def _block_of(core: Any, i: int) -> Block:
    info, node, count = ffi.new("pyad_block_info *"), ffi.new("uint32_t *"), ffi.new("size_t *")
    check(lib.pyad_tape_block(core, i, info))
    operands = []
    for k in range(info.operands):
        check(lib.pyad_tape_block_operand(core, i, k, node, count))
        operands.append((node[0], count[0]))
    name = str(ffi.string(info.name), "utf-8")
    name = f"partial of {name}" if info.is_partial else name
    return Block(name, info.start, info.count, tuple(operands))


def _blocks_of(core: Any) -> list[Block]:
    return [_block_of(core, i) for i in range(lib.pyad_tape_blocks(core, 0))]


class Rows:
    """A recording to be read node by node, before anything else is recorded.

    A *place* is a node that is shown by itself, or the first node of an array operation that is
    shown as one.
    """

    def __init__(self, tape: Tape) -> None:
        self._tape, self.names = tape, tape._names()
        with tape._held() as core:  # all at once: another thread may be recording
            self.values, self._blocks = tape._values(core), _blocks_of(core)
            self._kept = tape._arrays(core, len(tape))
        self._starts = [block.start for block in self._blocks]
        self.large = {block.start: block for block in self._blocks if not block.is_small}
        self._open: tuple[int, Written] | None = None  # the block written last

    def places(self) -> npt.NDArray[np.intp]:
        """All places, in order."""
        shown = np.ones(len(self._kept.ops), bool)
        for block in self.large.values():
            shown[block.start + 1 : block.stop] = False
        return np.flatnonzero(shown)

    def block_of(self, node: int) -> Block | None:
        """The array operation that made a node."""
        k = bisect.bisect_right(self._starts, node) - 1
        return self._blocks[k] if k >= 0 and node < self._blocks[k].stop else None

    def place_of(self, node: int) -> int:
        """The place at which a node is shown."""
        block = self.block_of(node)
        return block.start if block is not None and block.start in self.large else node

    def operation(self, node: int) -> str:
        """The name of the operation."""
        block = self.block_of(node)
        return OPERATIONS[int(self._kept.ops[node])].name if block is None else block.name

    def name(self, node: int) -> str | None:
        """The name of a leaf; of an element of one its place, too."""
        block = self.block_of(node)
        if block is None or block.start in self.large or block.name != "leaf":
            return self.names.get(node)
        name = self.names.get(block.start)
        return name and f"{name}[{node - block.start}]"

    def arguments(self, node: int) -> list[tuple[int, float]]:
        """(index, weight) of each argument."""
        block = self.block_of(node)
        if block is None:
            return self._row(self._kept, node)
        return self._row(self._of_block(block), node - block.start)

    def _of_block(self, block: Block) -> Written:
        if self._open is None or self._open[0] != block.start:
            self._open = block.start, self._tape._written(block.start, block.stop)
        return self._open[1]

    @staticmethod
    def _row(rows: Written, k: int) -> list[tuple[int, float]]:
        own = slice(*rows.first[k : k + 2])
        return list(zip(rows.indices[own].tolist(), rows.weights[own].tolist(), strict=True))

    def operands(self, block: Block) -> list[tuple[int, int]]:
        """(first node or `CONSTANT`, count) of the runs that an array operation is made of."""
        if block.operands or block.name == "leaf":
            return list(block.operands)
        nodes = np.unique(self._of_block(block).indices).astype(np.intp)
        runs = np.split(nodes, np.flatnonzero(np.diff(nodes) != 1) + 1)
        return [(int(run[0]), len(run)) for run in runs if len(run)]

    def sources(self, place: int) -> list[tuple[int, float | None]]:
        """The places that a place is computed from, each with its weight if it is one number."""
        block = self.large.get(place)
        if block is None:
            return [
                (i, weight)
                if i == CONSTANT or (self.place_of(i) == i and i not in self.large)
                else (self.place_of(i), None)
                for i, weight in self.arguments(place)
            ]
        found: dict[int, None] = {}
        for node, count in self.operands(block):
            while node != CONSTANT and count > 0:
                start = self.place_of(node)
                stop = self.large[start].stop if start in self.large else start + 1
                found[start] = None
                node, count = stop, count - (stop - node)
        return [(start, None) for start in found]

    def span(self, place: int) -> str:
        """The nodes of a place."""
        block = self.large.get(place)
        return f"{place}-{block.stop - 1}" if block is not None and block.size > 1 else f"{place}"

    def line(self, place: int, adjoints: npt.NDArray[np.float64], width: int = 4) -> str:
        """The place as `print` shows it."""
        what = " ".join([self.operation(place), *filter(None, [self.name(place)])])
        more = " ..." if "-" in self.span(place) else ""
        value = f"{self.values[place]:.5g}{more}"
        adjoint = f"{adjoints[place]:.5g}{more}" if place < len(adjoints) else "-"
        row = f"{self.span(place):>{width}}  {what:9} {value:>8} {adjoint:>10}"
        return "  ".join([row, *self._argument_texts(place)])

    def _argument_texts(self, place: int) -> list[str]:
        block = self.large.get(place)
        if block is not None:
            texts = [
                f"{count} constants"
                if node == CONSTANT
                else f"{node}-{node + count - 1}"
                if count > 1
                else f"{node}"
                for node, count in self.operands(block)
            ]
        else:
            texts = [
                f"constant {weight:.5g}" if index == CONSTANT else f"{index} ({weight:.5g})"
                for index, weight in self.arguments(place)
            ]
        if len(texts) <= _ARGUMENTS:
            return texts
        return [*texts[:_ARGUMENTS], f"... ({len(texts) - _ARGUMENTS} more)"]
