"""`Tape`: what a recording looks like from outside, through views of its flat arrays."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from pyad import _handle
from pyad._binding import OPERATIONS, error, ffi, lib
from pyad.errors import Error

__all__ = ["CONSTANT", "Tape"]

CONSTANT = 2**32 - 1
"""The index of an argument that is a constant; its weight is the constant itself."""

_SHOWN = 400
"""Lines of a tape that `print` shows; of a longer one the first and the last half of them."""


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
    2008), section 4.1, call it the extended Jacobian.

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
        """The C tape; meanwhile no other thread can record on it, since cffi lets them run."""
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

    @property
    def ops(self) -> npt.NDArray[np.uint8]:
        """The operation of each node: its place in `pyad.operations()`. Shape (len,)."""
        with self._held() as core:
            return self._view(lib.pyad_tape_pin_ops(core), len(self), np.uint8)

    @property
    def first(self) -> npt.NDArray[np.uint32]:
        """Where the arguments of each node start, and the last ones end. Shape (len + 1,)."""
        with self._held() as core:
            view = self._view(lib.pyad_tape_pin_first(core), len(self) + 1, np.uint32)
        if not view.size:
            view = np.zeros(1, np.uint32)
            view.flags.writeable = False
        return view

    @property
    def indices(self) -> npt.NDArray[np.uint32]:
        """The nodes that are arguments, or `pyad.tape.CONSTANT`. Shape (arguments,)."""
        with self._held() as core:
            count = lib.pyad_tape_arguments(core)
            return self._view(lib.pyad_tape_pin_indices(core), count, np.uint32)

    @property
    def weights(self) -> npt.NDArray[np.float64]:
        """The partial derivative in each argument, or the constant itself. Shape (arguments,)."""
        with self._held() as core:
            count = lib.pyad_tape_arguments(core)
            return self._view(lib.pyad_tape_pin_weights(core), count, np.float64)

    @property
    def values(self) -> npt.NDArray[np.float64]:
        """The value of each node. Shape (len,)."""
        with self._held() as core:
            return self._view(lib.pyad_tape_pin_values(core), len(self), np.float64)

    @property
    def adjoints(self) -> npt.NDArray[np.float64]:
        """The adjoints of the last sweep, also after its recording has ended; else empty."""
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
            sweep(core, 0, width, ffi.from_buffer("double[]", rows))
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
        """Counts and bytes of the recording, and how often each operation occurs."""
        counts = Counter(self.ops.tolist())
        with self._held() as core:
            arguments = lib.pyad_tape_arguments(core)
            reserved = lib.pyad_tape_reserved(core)
        return {
            "nodes": len(self),
            "arguments": arguments,
            "nbytes": self.nbytes,
            "reserved_bytes": reserved,
            "operations": {OPERATIONS[op].name: n for op, n in sorted(counts.items())},
        }

    def arguments(self, node: int) -> list[tuple[int, float]]:
        """(index, weight) of each argument of a node; index `CONSTANT` for a constant."""
        if not 0 <= node < len(self):
            raise error("NODE_RANGE")
        return Rows(self).arguments(node)

    def _names(self) -> dict[int, str]:
        return {node: leaf.name for leaf, node in self._leaves() if leaf.name is not None}

    def to_dot(self) -> str:
        """The recording as a graph in the DOT language of Graphviz."""
        from pyad import drawing

        return drawing.to_dot(self)

    def _repr_svg_(self) -> str | None:
        from pyad import drawing

        return drawing.svg(self, range(len(self)))

    def __repr__(self) -> str:
        return f"<Tape of {len(self)} nodes, {self.nbytes} bytes>"

    def __str__(self) -> str:
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        rows = Rows(self)
        adjoints = self.adjoints if self._has_adjoints else np.empty(0)
        half, length = _SHOWN // 2, len(rows.ops)
        yield "node  operation    value    adjoint  argument (weight)"
        for node in range(length) if length <= _SHOWN else range(half):
            yield rows.line(node, adjoints)
        if length > _SHOWN:
            yield f" ...  ({length - _SHOWN} nodes more)"
            for node in range(length - half, length):
                yield rows.line(node, adjoints)


class Rows:
    """A recording as it was when this was made, to be read node by node."""

    def __init__(self, tape: Tape) -> None:
        self.ops, self.values, self.names = tape.ops, tape.values, tape._names()
        self._first, self._indices, self._weights = tape.first, tape.indices, tape.weights

    def operation(self, node: int) -> str:
        """The name of the operation."""
        return OPERATIONS[int(self.ops[node])].name

    def arguments(self, node: int) -> list[tuple[int, float]]:
        """(index, weight) of each argument."""
        own = slice(*self._first[node : node + 2])
        return list(zip(self._indices[own].tolist(), self._weights[own].tolist(), strict=True))

    def line(self, node: int, adjoints: npt.NDArray[np.float64]) -> str:
        """The node as `print` shows it."""
        what = " ".join([self.operation(node), *filter(None, [self.names.get(node)])])
        adjoint = f"{adjoints[node]:.5g}" if node < len(adjoints) else "-"
        row = f"{node:4}  {what:9} {self.values[node]:8.5g} {adjoint:>10}"
        arguments = [
            f"constant {weight:.5g}" if index == CONSTANT else f"{index} ({weight:.5g})"
            for index, weight in self.arguments(node)
        ]
        return "  ".join([row, *arguments])
