"""Sparse derivatives: where they can be other than zero, found once; their values at any point.

A pattern comes from a recording and holds at every point at which the function makes the same
recording. Its columns (or rows) are coloured so that those of one colour are found by one sweep.

Sources: A. R. Curtis, M. J. D. Powell, J. K. Reid, "On the estimation of sparse Jacobian
matrices", IMA J. Appl. Math. 13 (1974); T. F. Coleman, J. J. Moré, "Estimation of sparse Hessian
matrices and graph coloring problems", Math. Program. 28 (1984); A. H. Gebremedhin, F. Manne,
A. Pothen, "What color is your Jacobian?", SIAM Review 47 (2005).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from pyad import _handle
from pyad._binding import check, error, ffi, lib
from pyad.tape import CONSTANT, Tape

__all__ = [
    "HessianPattern",
    "JacobianPattern",
    "Scalars",
    "SparsityPattern",
    "hessian_pattern",
    "hessian_values",
    "jacobian_pattern",
    "jacobian_values",
]

Floats = npt.NDArray[np.float64]
Nodes = npt.NDArray[np.uint32]
Ints = npt.NDArray[Any]

_WIDTHS = (1, 4, 8)
"""Seeds of one sweep: widths with loops of their own; 8 doubles are a cache line a node."""


class SparsityPattern:
    """Where a matrix of derivatives can be other than zero, and colours for its columns or rows.

    A pattern is made from its CSR form: row i has entries in the columns
    `indices[indptr[i]:indptr[i + 1]]`, in increasing order. It never changes, can be pickled, and
    serves all later points: `seeds()` is the matrix S of one column a colour, `decompress` turns
    the product with it into the entries, `to_scipy` makes a `scipy.sparse.csr_array` of them.
    """

    __slots__ = (
        "_lanes",
        "_lines",
        "_order",
        "colour_count",
        "colours",
        "fingerprint",
        "indices",
        "indptr",
        "shape",
    )

    shape: tuple[int, int]
    """Rows and columns."""
    indptr: Ints
    """Where the entries of each row start, and the last ones end. Shape (rows + 1,)."""
    indices: Ints
    """The column of each entry. Shape (entries,)."""
    colours: Nodes
    """The colour of each column, or row, from 0 on."""
    colour_count: int
    """How many colours there are: the sweeps that a derivative takes."""
    fingerprint: int | None
    """Of the recording it was found in: another one with the same number has the same pattern."""
    _lines: Ints  # where the product with the seeds has each entry: line ...
    _lanes: Ints  # ... and lane, a colour
    _order: Ints | None  # the entries by lane, once that has been asked for

    def __init__(
        self,
        shape: tuple[int, int],
        indptr: npt.ArrayLike,
        indices: npt.ArrayLike,
        fingerprint: int | None = None,
    ) -> None:
        self.shape = (int(shape[0]), int(shape[1]))
        starts, columns = np.asarray(indptr), np.asarray(indices)
        _check_csr(self.shape, starts, columns)
        # What SciPy would choose, so that it takes the arrays over as they are.
        large = max(*self.shape, columns.size) > np.iinfo(np.int32).max
        dtype = np.int64 if large else np.int32
        self.indptr, self.indices = _frozen(starts.astype(dtype)), _frozen(columns.astype(dtype))
        self.fingerprint = fingerprint
        self._order = None
        self._colour()

    def _colour(self) -> None:
        """Set the colours, and for each entry its line and its lane (colour) when compressed."""
        raise NotImplementedError

    @property
    def nnz(self) -> int:
        """The number of entries."""
        return int(self.indices.size)

    @property
    def rows(self) -> Ints:
        """The row of each entry. Shape (entries,)."""
        counts = np.diff(self.indptr)
        return np.repeat(np.arange(self.shape[0], dtype=self.indices.dtype), counts)

    def seeds(self) -> Floats:
        """The matrix S: 1 where the column (or row) has the colour. Shape (len(colours), colours).

        A product with every column of it costs as many sweeps as there are colours, however large
        the matrix.
        """
        seeds = np.zeros((self.colours.size, self.colour_count))
        if self.colour_count:
            seeds[np.arange(self.colours.size), self.colours] = 1.0
        return seeds

    def compress(self, matrix: Any) -> Floats:
        """The product of a matrix (dense or sparse) of this shape with the seeds."""
        return np.asarray(matrix @ self.seeds(), dtype=np.float64)

    def decompress(self, compressed: npt.ArrayLike) -> Floats:
        """The entries, in the order of `indices`, from a product with the seeds."""
        return np.asarray(compressed, dtype=np.float64)[self._lines, self._lanes]

    def to_scipy(self, data: npt.ArrayLike) -> Any:
        """A `scipy.sparse.csr_array` with these entries; it shares `indptr` and `indices`."""
        try:
            from scipy.sparse import csr_array
        except ImportError:
            raise error("NEEDS_EXTRA", "a sparse derivative", "SciPy", "scipy") from None
        matrix = csr_array((data, self.indices, self.indptr), shape=self.shape)
        matrix.has_sorted_indices = matrix.has_canonical_format = True
        return matrix

    def contains(self, other: SparsityPattern) -> bool:
        """Whether every entry of another pattern of this shape is one of this pattern, too."""
        if self.shape != other.shape:
            return False
        places, wanted = (p.rows.astype(np.int64) * p.shape[1] + p.indices for p in (self, other))
        found = np.searchsorted(places, wanted)
        return bool(np.all(found < places.size) and np.all(places[found] == wanted))

    def _blocks(self, width: int) -> Iterator[tuple[int, Any]]:
        """Stretches of `width` colours: the first of them, and which entries they have."""
        if self.colour_count <= width:
            yield 0, slice(None)
            return
        if self._order is None:
            self._order = np.argsort(self._lanes, kind="stable")
        starts = np.arange(0, self.colour_count + width, width)
        ends = np.searchsorted(self._lanes, starts, sorter=self._order)
        for start, first, last in zip(starts.tolist(), ends[:-1], ends[1:], strict=False):
            yield start, self._order[first:last]

    def __reduce__(self) -> Any:
        return type(self), (self.shape, self.indptr, self.indices, self.fingerprint)

    def __repr__(self) -> str:
        return (
            f"<{type(self).__name__} of shape {self.shape}: {self.nnz} entries, "
            f"{self.colour_count} colours>"
        )


class JacobianPattern(SparsityPattern):
    """The pattern of a Jacobian: a row for each output, a column for each input.

    Columns without a common row may share a colour, and each colour takes a tangent (forward
    sweep); or rows without a common column, with an adjoint (reverse sweep) for each colour:
    `by_rows` tells which of them took fewer colours.

    >>> pattern = JacobianPattern((3, 3), [0, 2, 5, 7], [0, 1, 0, 1, 2, 1, 2])
    >>> pattern
    <JacobianPattern of shape (3, 3): 7 entries, 3 colours of columns>
    >>> matrix = np.array([[1.0, 2, 0], [3, 4, 5], [0, 6, 7]])
    >>> pattern.decompress(pattern.compress(matrix))
    array([1., 2., 3., 4., 5., 6., 7.])
    """

    __slots__ = ("by_rows",)

    by_rows: bool
    """Whether rows have the colours; otherwise columns have."""

    def _colour(self) -> None:
        colours, count = np.zeros(max(self.shape), np.uint32), ffi.new("size_t *")
        by_rows = ffi.new("int *")
        with _borrowed(self.shape, self.indptr, self.indices) as pattern:
            into = ffi.from_buffer("uint32_t[]", colours)
            check(lib.pyad_colour_jacobian(pattern, into, by_rows, count))
        self.by_rows, self.colour_count = bool(by_rows[0]), count[0]
        self.colours = _frozen(colours[: self.shape[0 if self.by_rows else 1]].copy())
        line, other = (self.indices, self.rows) if self.by_rows else (self.rows, self.indices)
        self._lines, self._lanes = _frozen(line), _frozen(self.colours[other])

    def compress(self, matrix: Any) -> Floats:
        """The product of a matrix (dense or sparse), or its transpose, with the seeds."""
        return super().compress(matrix.T if self.by_rows else matrix)

    def __repr__(self) -> str:
        return f"{super().__repr__()[:-1]} of {'rows' if self.by_rows else 'columns'}>"


class HessianPattern(SparsityPattern):
    """The symmetric pattern of a Hessian, with a star colouring of its columns.

    Each colour takes a Hessian-vector product. Of the entries (i, j) and (j, i) one can be read
    off from it directly, and stands for both.

    >>> pattern = HessianPattern((3, 3), [0, 2, 4, 7], [0, 2, 1, 2, 0, 1, 2])
    >>> pattern
    <HessianPattern of shape (3, 3): 7 entries, 2 colours>
    >>> matrix = np.array([[1.0, 0, 2], [0, 3, 4], [2, 4, 5]])
    >>> pattern.decompress(pattern.compress(matrix))
    array([1., 2., 3., 4., 2., 4., 5.])
    """

    __slots__ = ()

    def _colour(self) -> None:
        colours, flips = np.zeros(self.shape[1], np.uint32), np.zeros(self.nnz, np.uint8)
        count = ffi.new("size_t *")
        with _borrowed(self.shape, self.indptr, self.indices) as pattern:
            _check_symmetric(pattern)
            into = ffi.from_buffer("uint32_t[]", colours), ffi.from_buffer("uint8_t[]", flips)
            check(lib.pyad_colour_hessian(pattern, *into, count))
        self.colours, self.colour_count = _frozen(colours), count[0]
        flipped, rows = flips.astype(bool), self.rows
        self._lines = _frozen(np.where(flipped, self.indices, rows))
        self._lanes = _frozen(colours[np.where(flipped, rows, self.indices)])


# ---- recordings of scalar nodes -----------------------------------------------------------------


class Scalars:
    """A recording from one node on, in which every array operation is written out.

    That is the recording itself if it has none, else a copy: patterns and colours are of nodes
    one by one, and so are the sweeps for the values. `nodes` gives the numbers of nodes here.
    """

    def __init__(self, tape: Tape, from_: int) -> None:
        self.tape, self.start = tape, from_
        self._from, self._map = from_, None
        with tape._held() as core:
            has_blocks = lib.pyad_tape_blocks(core, from_) > 0
        if has_blocks:
            self.tape, places = _handle._expand(tape, from_)
            self.start, self._map = 0, np.frombuffer(places, np.uint32)

    def nodes(self, nodes: npt.ArrayLike) -> Nodes:
        """The same nodes here; those that are constant, or before the recording, are `CONSTANT`."""
        known = _nodes(nodes)
        if self._map is None:
            return known
        found = np.full(known.shape, CONSTANT, np.uint32)
        inside = (known != CONSTANT) & (known >= self._from)
        found[inside] = self._map[known[inside] - self._from]
        return found


# ---- patterns of recordings -------------------------------------------------------------------


def jacobian_pattern(
    tape: Tape, from_: int, inputs: npt.ArrayLike, outputs: npt.ArrayLike
) -> JacobianPattern:
    """The pattern of the derivatives of output nodes in input nodes of a recording.

    Nodes below `from_` count as constants, as in a sweep, and so does an output `CONSTANT`.
    """
    ins, outs = _nodes(inputs), _nodes(outputs)

    def find(core: Any, result: Any) -> int:
        pointers = ins.size, _pointer(ins), outs.size, _pointer(outs)
        return int(lib.pyad_jacobian_pattern(core, from_, *pointers, result))

    return JacobianPattern(*_found(tape, from_, find, np.concatenate([ins, outs])))


def hessian_pattern(tape: Tape, from_: int, inputs: npt.ArrayLike, output: int) -> HessianPattern:
    """The pattern of the second derivatives of one output node in input nodes of a recording.

    An entry stands for two inputs that meet in an operation with a second derivative: A. Walther,
    "Computing sparse Hessians with automatic differentiation", ACM TOMS 34 (2008).
    """
    ins = _nodes(inputs)

    def find(core: Any, result: Any) -> int:
        return int(lib.pyad_hessian_pattern(core, from_, ins.size, _pointer(ins), output, result))

    return HessianPattern(*_found(tape, from_, find, np.append(ins, np.uint32(output))))


def jacobian_values(
    pattern: JacobianPattern, tape: Tape, from_: int, inputs: npt.ArrayLike, outputs: npt.ArrayLike
) -> Floats:
    """The entries of a Jacobian, in the order of `pattern.indices`, from a recording at any point.

    Takes a sweep for each colour, up to eight at once, and memory for as many numbers a node. If
    the recording is another than the one of the pattern, its own has to lie within the pattern.
    """
    ins, outs = _nodes(inputs), _nodes(outputs)
    if not _is_of(pattern, tape, from_, np.concatenate([ins, outs])):
        _check_contained(pattern, jacobian_pattern(tape, from_, ins, outs))
    seeded, read = (outs, ins) if pattern.by_rows else (ins, outs)
    seed_rows, read_rows = _rows_of(seeded, from_), _rows_of(read, from_)[pattern._lines]
    sweep = lib.pyad_tape_reverse if pattern.by_rows else lib.pyad_tape_forward
    data = np.zeros(pattern.nnz)
    rows = _new_rows(tape, from_, pattern)
    width = rows.shape[1]
    with tape._held() as core:
        for start, entries in pattern._blocks(width):
            _seed(rows, pattern, seed_rows, start)
            check(sweep(core, from_, width, ffi.from_buffer("double[]", rows)))
            data[entries] = rows[read_rows[entries], pattern._lanes[entries] - start]
    return data


def hessian_values(
    pattern: HessianPattern, tape: Tape, from_: int, inputs: npt.ArrayLike, output: int
) -> Floats:
    """The entries of a Hessian, in the order of `pattern.indices`, from a recording at any point.

    Takes a Hessian-vector product for each colour, up to eight at once, and memory for twice as
    many numbers a node. If the recording is another than the one of the pattern, its own has to
    lie within the pattern.
    """
    ins = _nodes(inputs)
    if not _is_of(pattern, tape, from_, np.append(ins, np.uint32(output))):
        _check_contained(pattern, hessian_pattern(tape, from_, ins, output))
    data = np.zeros(pattern.nnz)
    if output == CONSTANT or output < from_:
        return data
    seed_rows = _rows_of(ins, from_)
    read_rows = seed_rows[pattern._lines]
    tangents = _new_rows(tape, from_, pattern)
    second, adjoints = np.zeros_like(tangents), np.zeros(len(tangents))
    width = tangents.shape[1]
    with tape._held() as core:
        for start, entries in pattern._blocks(width):
            _seed(tangents, pattern, seed_rows, start)
            if start:
                second[:] = 0.0
                adjoints[:] = 0.0
            adjoints[output - from_ + 1] = 1.0
            rows = (ffi.from_buffer("double[]", x) for x in (tangents, adjoints, second))
            check(lib.pyad_tape_second(core, from_, width, *rows))
            data[entries] = second[read_rows[entries], pattern._lanes[entries] - start]
    return data


# ---- between NumPy and C ------------------------------------------------------------------------


def _frozen(array: Ints) -> Ints:
    array.flags.writeable = False
    return array


def _nodes(nodes: npt.ArrayLike) -> Nodes:
    return np.ascontiguousarray(nodes, dtype=np.uint32).ravel()


def _pointer(nodes: Nodes) -> Any:
    return ffi.from_buffer("uint32_t[]", nodes)


class _borrowed:  # noqa: N801  (a context manager, used as a function)
    """A `pyad_pattern` over NumPy arrays, for as long as the block lasts."""

    def __init__(self, shape: tuple[int, int], indptr: Ints, indices: Ints) -> None:
        self.first = indptr.astype(np.uintp)
        self.indices = indices.astype(np.uint32)
        first = ffi.from_buffer("size_t[]", self.first)
        self.pattern = ffi.new(
            "pyad_pattern *", (*shape, indices.size, first, _pointer(self.indices))
        )

    def __enter__(self) -> Any:
        return self.pattern

    def __exit__(self, *_: object) -> None:
        del self.pattern


def _arrays(pattern: Any) -> tuple[Ints, Ints]:
    """Copies of the two arrays of a `pyad_pattern`."""
    first = np.frombuffer(ffi.buffer(pattern.first, (pattern.rows + 1) * 8), np.uint64)
    indices = np.frombuffer(ffi.buffer(pattern.indices, pattern.entries * 4), np.uint32)
    return first.astype(np.int64), indices.copy()


def _found(
    tape: Tape, from_: int, find: Callable[[Any, Any], int], nodes: Nodes
) -> tuple[tuple[int, int], Ints, Ints, int]:
    """The arguments of a pattern's constructor, as `find` gives them from the C tape."""
    result = ffi.new("pyad_pattern *")
    with tape._held() as core:
        check(find(core, result))
        fingerprint = lib.pyad_tape_fingerprint(core, from_, nodes.size, _pointer(nodes))
    try:
        return (result.rows, result.columns), *_arrays(result), fingerprint
    finally:
        lib.pyad_pattern_free(result)


def _check_csr(shape: tuple[int, int], indptr: Ints, indices: Ints) -> None:
    """Raise unless this is a matrix in CSR form with increasing columns in each row."""
    good = (
        indptr.shape == (shape[0] + 1,)
        and indices.ndim == 1
        and all(array.dtype.kind in "iu" or array.size == 0 for array in (indptr, indices))
        and indptr[0] == 0
        and indptr[-1] == indices.size
        and bool(np.all(np.diff(indptr.astype(np.int64)) >= 0))
    )
    if good and indices.size:
        columns = indices.astype(np.int64)
        begins_row = np.zeros(indices.size, bool)
        begins_row[indptr[:-1][indptr[:-1] < indices.size]] = True
        rises = bool(np.all(begins_row[1:] | (np.diff(columns) > 0)))
        good = rises and int(columns.min()) >= 0 and int(columns.max()) < shape[1]
    if not good:
        raise error(
            "ARGUMENTS",
            "a sparsity pattern is given as in a csr_array of its shape: indptr, and indices of "
            "columns that increase in each row",
        )


def _check_symmetric(pattern: Any) -> None:
    transposed = ffi.new("pyad_pattern *")
    symmetric = pattern.rows == pattern.columns
    if symmetric:
        check(lib.pyad_pattern_transpose(pattern, transposed))
        pairs = zip(_arrays(pattern), _arrays(transposed), strict=True)
        symmetric = all(np.array_equal(a, b) for a, b in pairs)
        lib.pyad_pattern_free(transposed)
    if not symmetric:
        raise error("ARGUMENTS", "the sparsity pattern of a Hessian is symmetric, and this is not")


def _is_of(pattern: SparsityPattern, tape: Tape, from_: int, nodes: Nodes) -> bool:
    """Whether the recording is the one that the pattern is of, up to its values."""
    with tape._held() as core:
        now = lib.pyad_tape_fingerprint(core, from_, nodes.size, _pointer(nodes))
    return bool(now == pattern.fingerprint)


def _check_contained(pattern: SparsityPattern, now: SparsityPattern) -> None:
    if not pattern.contains(now):
        raise error("PATTERN_CHANGED", repr(pattern))


def _rows_of(nodes: Nodes, from_: int) -> npt.NDArray[np.intp]:
    """The row of each node in a sweep: 0 for constants."""
    rows = nodes.astype(np.intp) - (from_ - 1)
    rows[(nodes == CONSTANT) | (nodes < from_)] = 0
    return rows


def _new_rows(tape: Tape, from_: int, pattern: SparsityPattern) -> Floats:
    """Rows for a sweep with as many seeds as the pattern has colours, or as one sweep takes."""
    width = next((w for w in _WIDTHS if pattern.colour_count <= w), _WIDTHS[-1])
    return np.zeros((len(tape) - from_ + 1, width))


def _seed(rows: Floats, pattern: SparsityPattern, seed_rows: Ints, start: int) -> None:
    """Seed the nodes whose colours are in the block from `start` on; rows are fresh for 0."""
    if start:
        rows[:] = 0.0
    lanes = pattern.colours.astype(np.intp) - start
    here = (lanes >= 0) & (lanes < rows.shape[1])
    rows[seed_rows[here], lanes[here]] = 1.0
