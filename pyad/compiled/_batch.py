"""One call of a compiled function over many rows: `p.batch`, `p.value_and_grad.batch`.

Rows of one layout go through the recordings of that layout, many side by side in C, in parts whose
bounds depend on the recording only; so do results, however many threads share the parts. Rows whose
guards fail go to the next recording; those that fit none are recorded, the first one first, and the
new recording is tried on all that are left. What cannot be replayed is evaluated row by row.
"""

from __future__ import annotations

import collections
import contextlib
import operator
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

import pyad
from pyad import _handle
from pyad._binding import check, error, ffi, lib
from pyad.compiled._arguments import (
    NUMBER,
    Branch,
    Layout,
    Plain,
    Role,
    Shaped,
    flat,
    layout_of,
    size_of,
)
from pyad.compiled._evaluator import Evaluator, have_variables
from pyad.compiled._program import DOUBLES, Program
from pyad.compiled._recordings import Call, Site
from pyad.compiled._rows import Input, Rows
from pyad.compiled._stack import Results, Sum, joined
from pyad.transforms._trees import Branch as TreeBranch
from pyad.transforms._trees import Shape, flatten
from pyad.transforms._watch import is_watching

__all__ = ["gradients", "values"]

Floats = npt.NDArray[np.float64]
Index = npt.NDArray[np.intp]

AT_ONCE = 2**16
"""Rows that are brought to their end before the next ones: what is kept in mind of rows that need
another recording is no more than this."""
LANES = 8
"""Rows side by side in C (csrc/program/batch.c)."""
_PART = 2**23
"""Numbers of working memory times rows of a part."""


def values(
    p: Evaluator,
    args: Sequence[Any],
    kwargs: dict[str, Any],
    threads: Any,
    reduce: Any,
    shared: Any,
) -> Any:
    """The value of the function in each row."""
    return _Batch(p, Rows(p.f, args, kwargs, shared), threads, reduce, slopes=False).run()[0]


def gradients(
    p: Evaluator,
    args: Sequence[Any],
    kwargs: dict[str, Any],
    threads: Any,
    reduce: Any,
    shared: Any,
) -> tuple[Any, Any]:
    """(value, gradient) of each row."""
    return _Batch(p, Rows(p.f, args, kwargs, shared), threads, reduce, slopes=True).run()


class _Variables(Exception):  # noqa: N818  (no fault, and never seen by users)
    """A result is a variable from outside of the function."""


class _Part(NamedTuple):
    """What one run of C gave: which rows hold; results and gradients, or the sums of those rows."""

    rows: Index
    holds: npt.NDArray[np.bool_]
    outputs: Floats
    slopes: list[Floats]
    rests: list[Floats]
    """Of the outputs and of each of the slopes what the sum lacks to be exact."""


class _Batch:
    """The rows of one call, and what is known of their results."""

    def __init__(
        self, p: Evaluator, rows: Rows, threads: Any, reduce: Any, *, slopes: bool
    ) -> None:
        self.p, self.rows, self.with_slopes = p, rows, slopes
        self.threads, self.summed = _threads(threads), _summed(reduce)
        self.results = Results(rows.count, self.summed)
        chosen = p.argnums if isinstance(p.argnums, tuple) else (p.argnums,)
        count = len(rows.args)
        self.chosen = [i + count if i < 0 else i for i in chosen]
        self.inputs: list[Input] = []
        self.fixed: list[Any] = []
        self.slopes: list[Any] = []
        """Of each differentiated input: the gradients of all rows, or a Sum."""

    def run(self) -> tuple[Any, Any]:
        """(values, gradients)."""
        p, rows = self.p, self.rows
        call = p._call(*rows.sample(), strict=self.with_slopes)  # refuses wrong arguments
        if call.has_variables or rows.have_variables or _handle._is_nested() or is_watching():
            return self._row_by_row()
        self.names = call.layout.children[1].keys
        self._look_at_inputs()
        self.sample, self.sampled = call, self.data
        if self.with_slopes:
            self.slopes = [
                Sum(x.size) if self.summed and not x.has_rows else np.empty((rows.count, x.size))
                for x in self.inputs
                if x.argument is not None
            ]
        if not rows.count:
            self._nothing(call)
        try:
            with _pool(self.threads) as self.pool:
                for start in range(0, rows.count, AT_ONCE):
                    self._run_some(np.arange(start, min(start + AT_ONCE, rows.count)))
        except _Variables:
            return self._row_by_row()
        return self._finish()

    # ---- rows of any layout -------------------------------------------------------------

    def _look_at_inputs(self) -> None:
        self.data = self.p._state.data
        self.inputs, self.fixed = self._inputs(self.data)

    def _inputs(self, data: Role) -> tuple[list[Input], list[Any]]:
        return self.rows.inputs(set(self.chosen), data, self.names)

    def _run_some(self, rows: Index) -> None:
        if self.p._state.data is not self.data:
            self._look_at_inputs()
        data = self.data
        for group in _groups(self.fixed, rows):
            if self.data is data:
                self._run_alike(group)
            else:  # no longer alike
                self._run_some(group)

    def _run_alike(self, rows: Index) -> None:
        """Rows that differ in their inputs only."""
        p, state = self.p, self.p._state
        tried: set[Program] = set()
        while rows.size:
            call = self._call_of(int(rows[0]))
            site = None if call.is_opaque else state.site("value", call.layout, p.f)
            for program in self._programs(site):
                if rows.size and program not in tried:
                    tried.add(program)
                    left = self._replay(program, rows, self.inputs)
                    if site is not None and left.size < rows.size:
                        state.used(site, program, rows.size - left.size)
                    rows = left
            if rows.size and self._run_one(int(rows[0]), tried):
                rows = rows[1:]
            if state.data is not self.data:  # another layout
                return self._run_some(rows)

    def _call_of(self, r: int) -> Call:
        if r == 0 and self.data is self.sampled:
            return self.sample
        args, kwargs = self.rows.row(r)
        return self.p._call(args, kwargs, strict=self.with_slopes)

    def _programs(self, site: Site | None) -> Sequence[Program]:
        """The recordings to be tried, in an order that sums do not owe to earlier calls."""
        found = () if site is None else site.programs
        if _handle._is_recording():
            found = tuple([program for program in found if not program.is_open])
        return sorted(found, key=lambda program: program.number) if self.summed else found

    def _run_one(self, r: int, tried: set[Program]) -> bool:
        """A row that no recording fits yet; False if it is to be tried again with a new one."""
        p, state = self.p, self.p._state
        args, kwargs = self.rows.row(r)
        with _naming(r):
            run = p._run("value", p._call(args, kwargs, strict=False), args, kwargs)
            if run is not None:
                with run:
                    inputs = self.inputs
                    if state.data is not self.data:
                        inputs = self._inputs(state.data)[0]
                    elif run.program.reason is None and run.program not in tried:
                        site = state.site("value", run.program.inputs, p.f)
                        if site is not None and run.program in site.programs:
                            state.used(site, run.program, -1)  # it runs again
                            return False
                    if not self._replay(run.program, np.array([r]), inputs).size:
                        return True
            if self.with_slopes:
                transform = pyad.value_and_grad(p.f, p.argnums, p.has_aux)
                self._place(r, *transform(*args, **kwargs))
            else:
                self._place(r, p._value_eagerly(args, kwargs), None)
        return True

    def _place(self, r: int, value: Any, slope: Any) -> None:
        """The result of one row."""
        numbers: list[Any] = []
        layout = layout_of(value, numbers, Role.RESULT)
        found = flatten(slope, "a gradient")[0] if self.with_slopes else []
        if have_variables(numbers) or have_variables(found):
            raise _Variables
        x = flat(numbers) if numbers else np.empty(0)
        if self.summed:
            self.results.add(layout, 1, x)
        else:
            self.results.matrix(x.size)[r] = x
            self.results.note(layout, r)
        for into, part in zip(self._in_order(), found, strict=True):
            if isinstance(into, Sum):
                into.add(np.ravel(part))
            else:
                into[r] = np.ravel(part)

    # ---- one recording, many rows -------------------------------------------------------

    def _replay(self, program: Program, rows: Index, inputs: list[Input]) -> Index:
        """Run it on some rows; those that do not fit it."""
        seeds = self._seeds(program)
        if not rows.size or seeds is None or sum(x.size for x in inputs) != program.size:
            return rows
        size = max(LANES, _PART // program.room_size // LANES * LANES)
        if not self.summed:
            self.results.matrix(program.count)
        parts = [rows[i : i + size] for i in range(0, rows.size, size)]
        left = []
        for part in self._in_turn([_Task(self, program, seeds, inputs, x) for x in parts]):
            good = part.rows[part.holds]
            left.append(part.rows[~part.holds])
            if self.summed:
                if good.size:
                    self.results.add(program.outputs, good.size, part.outputs, part.rests[0])
            else:
                self.results.note(program.outputs, good)
            for into, x, rest in zip(self.slopes, part.slopes, part.rests[1:], strict=True):
                if isinstance(into, Sum) and good.size:
                    into.add(x, rest)
        return np.concatenate(left)

    def _seeds(self, program: Program) -> Floats | None:
        """The adjoints of its results; None if they cannot be differentiated."""
        seeds = np.zeros(max(1, program.count))
        if self.with_slopes:
            value = _value_in(program.outputs, self.p.has_aux)
            if value is NUMBER or value == Shaped(()):
                seeds[0] = 1.0
            elif not (type(value) is Plain and isinstance(value.value, (int, np.integer))):
                return None
        return seeds

    def _in_turn(self, tasks: Sequence[Callable[[], _Part]]) -> Iterator[_Part]:
        """The results of the tasks in their order, a few of them at work at a time."""
        if self.pool is None or len(tasks) == 1:
            for task in tasks:
                yield task()
            return
        running: collections.deque[Future[_Part]] = collections.deque()
        try:
            for task in tasks:
                running.append(self.pool.submit(task))
                if len(running) > self.threads:
                    yield running.popleft().result()
            while running:
                yield running.popleft().result()
        finally:
            for future in running:
                future.cancel()

    # ---- the end ------------------------------------------------------------------------

    def _nothing(self, call: Call) -> None:
        """The structure of the result where there are no rows."""
        p = self.p
        site = None if call.is_opaque else p._state.site("value", call.layout, p.f)
        if site is not None and site.programs:
            layout = site.programs[0].outputs
        elif self.with_slopes and not p.has_aux:
            layout = NUMBER
        else:
            args, kwargs = self.rows.sample()
            try:
                layout = layout_of(p._value_eagerly(args, kwargs), [], Role.RESULT)
            except Exception as problem:
                raise error(
                    "BATCH",
                    "the batch has no rows, and what the function returns is not known: it has no "
                    f"recording yet, and a row of ones raises {type(problem).__name__}: call it "
                    "once before",
                ) from problem
        if self.summed:
            self.results.add(layout, 0, np.zeros(size_of(layout)))
        else:
            self.results.note(layout, slice(0, 0))

    def _in_order(self) -> list[Any]:
        """The gradients in the order of `argnums`."""
        inputs = [x for x in self.inputs if x.argument is not None]
        pairs = list(zip(inputs, self.slopes, strict=True)) if self.with_slopes else []
        return [into for i in self.chosen for x, into in pairs if x.argument == i]

    def _finish(self) -> tuple[Any, Any]:
        value = self.results.tree()
        if not self.with_slopes:
            return value, None
        main, *aux = value if self.p.has_aux else (value,)
        main = float(main) if self.summed else np.asarray(main, np.float64)
        args = self.rows.sample()[0]
        inputs = [x for i in self.chosen for x in self.inputs if x.argument == i]
        leaves = iter(
            [self._shaped(x, into) for x, into in zip(inputs, self._in_order(), strict=True)]
        )
        found = [_around(flatten(args[i], "an argument")[1], leaves) for i in self.chosen]
        slope = tuple(found) if isinstance(self.p.argnums, tuple) else found[0]
        return ((main, *aux) if aux else main), slope

    def _shaped(self, x: Input, into: Any) -> Any:
        if isinstance(into, Sum):
            return into.value.reshape(x.shape) if x.shape else float(into.value[0])
        return into.reshape(self.rows.count, *x.shape)

    # ---- with variables -----------------------------------------------------------------

    def _row_by_row(self) -> tuple[Any, Any]:
        """Inside of other transforms: the function on each row, derivatives nest."""
        p, found, slopes = self.p, [], []
        transform = pyad.value_and_grad(p.f, p.argnums, p.has_aux)
        for r in range(self.rows.count):
            args, kwargs = self.rows.row(r)
            with _naming(r):
                if self.with_slopes:
                    value, slope = transform(*args, **kwargs)
                    slopes.append(slope)
                else:
                    value = p.f(*args, **kwargs)
            found.append(value)
        if not found:
            raise error("BATCH", "a batch of variables needs at least one row")
        value = joined(found, self.summed)
        if not self.with_slopes:
            return value, None
        items = [slope if isinstance(p.argnums, tuple) else (slope,) for slope in slopes]
        has_rows = [self.rows.has_rows(i) for i in self.chosen]
        joint = [
            joined([item[k] for item in items], self.summed and not has_rows[k])
            for k in range(len(self.chosen))
        ]
        return value, tuple(joint) if isinstance(p.argnums, tuple) else joint[0]


class _Task:
    """A run of C over some rows, by any thread."""

    def __init__(
        self, batch: _Batch, program: Program, seeds: Floats, inputs: list[Input], rows: Index
    ) -> None:
        self.batch, self.program, self.seeds = batch, program, seeds
        self.inputs, self.rows = inputs, rows

    def __call__(self) -> _Part:
        batch, rows, size = self.batch, self.rows, self.rows.size
        first, last = int(rows[0]), int(rows[-1])
        self.where: Any = slice(first, last + 1) if last - first + 1 == size else rows
        self.kept: list[Any] = []
        """What C reads and writes."""
        self.scattered: list[tuple[Floats, Floats]] = []
        entries = ffi.new("pyad_batch_input[]", max(1, len(self.inputs)))
        slopes: list[Floats] = []
        count = self.program.count
        lost = np.zeros(count + self.program.size if batch.summed else 0)
        rests, at = [lost[:count]], count
        for entry, x in zip(entries, self.inputs, strict=False):
            given = x.part(self.where, size) if x.has_rows else x.array
            entry.count, entry.step = x.size, x.size if x.has_rows else 0
            entry.x = self._pointer(given)
            if batch.with_slopes and x.argument is not None:
                into = batch.slopes[len(slopes)]
                slopes.append(self._target(None if isinstance(into, Sum) else into, x.size))
                entry.gradient = self._pointer(slopes[-1])
                entry.gradient_step = 0 if isinstance(into, Sum) else x.size
                rests.append(lost[at : at + x.size])
            at += x.size
        job = ffi.new("pyad_batch *", {"inputs": len(self.inputs), "input": entries})
        outputs = self._target(None if batch.summed else batch.results.matrix(count), count)
        if count:
            job.outputs, job.output_step = self._pointer(outputs), 0 if batch.summed else count
        if batch.with_slopes:
            job.seeds = self._pointer(self.seeds)
        if batch.summed:
            job.rests = self._pointer(lost)
        holds = np.zeros(size, np.uint8)
        job.holds = ffi.from_buffer("unsigned char[]", holds)
        try:
            check(lib.pyad_program_batch(self.program.core, job, 0, size))
        except Exception:  # of one of the rows: which one is found row by row
            holds[:] = 0
        good = holds.astype(np.bool_)
        for into, found in self.scattered:
            into[rows[good]] = found[good]
        return _Part(rows, good, outputs, slopes, rests)

    def _pointer(self, x: Floats) -> Any:
        self.kept += [x, ffi.from_buffer(DOUBLES, x)]
        return self.kept[-1]

    def _target(self, into: Floats | None, count: int) -> Floats:
        """Where C writes `count` numbers of each row, or (None) their sums."""
        if into is None:
            return np.zeros(count)
        if isinstance(self.where, slice):
            return into[self.where]
        self.scattered.append((into, np.empty((self.rows.size, count))))
        return self.scattered[-1][1]


# ---- options -----------------------------------------------------------------------------------


def _threads(threads: Any) -> int:
    try:
        count = 1 if threads is None else operator.index(threads)
    except TypeError:
        count = 0
    if count < 1 or isinstance(threads, bool):
        raise error("BATCH", f"threads is a whole number from 1, or None, not {threads!r:.40}")
    return count


def _summed(reduce: Any) -> bool:
    if reduce is not None and reduce != "sum":
        raise error("BATCH", f'reduce is None or "sum", not {reduce!r:.40}')
    return reduce is not None


# ---- rows --------------------------------------------------------------------------------------


@contextlib.contextmanager
def _pool(threads: int) -> Iterator[ThreadPoolExecutor | None]:
    if threads == 1:
        yield None
        return
    with ThreadPoolExecutor(threads) as pool:
        yield pool


@contextlib.contextmanager
def _naming(r: int) -> Iterator[None]:
    """Say in which row an exception was raised."""
    try:
        yield
    except Exception as problem:
        text = f"in row {r} of the batch"
        if hasattr(problem, "add_note"):
            problem.add_note(text)
        elif problem.args and isinstance(problem.args[0], str):
            problem.args = (f"{problem.args[0]} ({text})", *problem.args[1:])
        raise


def _groups(fixed: Sequence[Any], rows: Index) -> Iterable[Index]:
    """The rows in groups, those of equal entries in arrays that belong to the layout."""
    if not fixed or not rows.size:
        return [rows] if rows.size else []
    found: dict[bytes, list[int]] = {}
    columns = [np.ascontiguousarray(x[rows]).reshape(rows.size, -1) for x in fixed]
    for k, r in enumerate(rows.tolist()):
        found.setdefault(b"".join(x[k].tobytes() for x in columns), []).append(r)
    return [np.array(group) for group in found.values()]


def _value_in(outputs: Layout, has_aux: bool) -> Layout:
    """The layout of what is differentiated, or None."""
    if not has_aux:
        return outputs
    pair = type(outputs) is Branch and outputs.kind is tuple and len(outputs.children) == 2
    return outputs.children[0] if pair else None


def _around(shape: Shape, leaves: Iterator[Any]) -> Any:
    """The structure of an argument around gradients of all rows."""
    if isinstance(shape, TreeBranch):
        return shape.join([_around(child, leaves) for child in shape.children])
    return next(leaves)
