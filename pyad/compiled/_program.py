"""A recording as a program: made of a function at a point, run at others."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

import pyad
from pyad import _handle
from pyad._binding import check, ffi, lib, status_of
from pyad._handle import Array, Var
from pyad.compiled._arguments import (
    NUMBER,
    Layout,
    Role,
    Shaped,
    build,
    form_of,
    has_opaque,
    is_numeric,
    layout_of,
    pieces,
    size_of,
)
from pyad.errors import Error

__all__ = ["DOUBLES", "NotReplayed", "Program", "Room"]

Floats = npt.NDArray[np.float64]
Evaluate = Callable[[Any], Any]
"""From the built layout of the arguments to the result."""

DOUBLES = ffi.typeof("double[]")
_OPERAND = np.dtype(
    {"names": ["value", "node"], "formats": ["f8", "u4"], "offsets": [0, 8], "itemsize": 16}
)
_LARGE = 10_000
"""Numbers of working memory from which on a run gives the interpreter lock away."""
_NUMBERS = itertools.count()
_RULE_FAILED = status_of("RULE_FAILED")
_NOT_REPLAYED = {
    "GIVEN_SECOND": "a node made by from_partials has no function that a replay could call",
    "NEEDS_RECORDING": "an operation of it cannot be replayed",
    "MIXED_TAPES": "it uses variables recorded outside of it",
}


class NotReplayed(Exception):  # noqa: N818  (no fault, and never seen by users)
    """The recording cannot become a program, for the reason given; nothing else is wrong."""


class Room(_handle._Room):
    """What one run at a time works with: numbers of all steps, buffers for C."""

    __slots__ = (
        "holds",
        "numbers",
        "outputs",
        "results",
        "seed_at",
        "seeds",
    )

    def __init__(self, program: Program) -> None:
        self.numbers = ffi.from_buffer(DOUBLES, np.empty(program.room_size))
        lib.pyad_program_prepare(program.core, self.numbers)
        self.results = np.zeros(max(1, program.count))
        self.outputs = ffi.from_buffer(DOUBLES, self.results)
        self.seed_at = np.zeros(max(1, program.count))
        self.seed_at[0] = 1.0
        self.seeds = ffi.from_buffer(DOUBLES, self.seed_at)
        """Of a sweep; the first one is 1 and the others 0 whenever the room is not in use."""
        self.holds = ffi.new("int *")
        buffers = self.numbers, self.outputs, self.seeds
        super().__init__(*[int(ffi.cast("uintptr_t", buffer)) for buffer in buffers])


class Program:
    """The recording of a function at one point. Any number of threads may run it.

    `inputs` is the layout of the arguments, `outputs` that of the result. If it fits its own point
    only, `reason` says why.
    """

    def __init__(
        self,
        evaluate: Evaluate,
        layout: Layout,
        numbers: Sequence[Any],
        active: Sequence[bool],
    ) -> None:
        self.inputs, self.size = layout, size_of(layout)
        self.selected: Any = None
        """Shape and places of what is differentiated, once it has been asked for."""
        self.patterns: dict[str, Any] = {}
        """Sparsity patterns found for it so far."""
        self.reason: str | None = None
        listens = _handle._is_recording()
        with pyad.Tape() as tape, pyad.enable_grad():
            _handle._guarding(tape, True)
            try:
                frame, start = _handle._enter()
                try:
                    self._record(evaluate, frame, start, numbers, active, listens)
                except Error as raised:
                    if raised.code not in _NOT_REPLAYED:
                        raise
                    raise NotReplayed(_NOT_REPLAYED[raised.code]) from None
                finally:
                    _handle._leave(frame, False)
            finally:
                _handle._guarding(tape, False)
        self.rooms: list[Room] = []
        self._all_rooms: list[Room] = []
        self._may_have_plan = True
        self.number = next(_NUMBERS)

    is_loaded = False
    number: int
    """Of programs in the order in which they were made."""
    rows = 0
    """Of batches that it answered."""

    @classmethod
    def of(cls, program: Any, inputs: Layout, outputs: Layout) -> Program:
        """One that was loaded, of these layouts."""
        self = cls.__new__(cls)
        self.inputs, self.size, self.outputs = inputs, size_of(inputs), outputs
        self.selected, self.patterns, self.reason = None, {}, None
        self.is_open, self.is_loaded = False, True
        self.rooms, self._all_rooms, self._may_have_plan = [], [], True
        self.core, self.room_size = program, lib.pyad_program_room(program)
        self.count = lib.pyad_program_outputs(program)
        self.number = next(_NUMBERS)
        return self

    def _record(
        self,
        evaluate: Evaluate,
        tape: Any,
        start: int,
        numbers: Sequence[Any],
        active: Sequence[bool],
        listens: bool,
    ) -> None:
        handles, places = _handle._aliases(tape, list(numbers))
        output = evaluate(build(self.inputs, iter(handles)))
        leaves: list[Any] = []
        self.outputs = layout_of(output, leaves, Role.RESULT)
        for leaf in leaves:
            _handle._refuse_dual(leaf)
        if has_opaque(self.outputs):
            raise NotReplayed("its result holds objects that are no numbers")
        values, rows = _handle._flat(tape, leaves, "the result of a compiled function", False)
        self.count = len(values)
        self.is_open = _handle._is_open(tape) or _is_foreign(leaves, rows)
        """Whether variables from outside are its constants."""
        if self.is_open and listens:
            raise NotReplayed(
                "it uses variables from outside, whose derivatives would be lost: pass them as "
                "arguments, or use x.value of them"
            )
        inputs = ffi.new("pyad_input[]", max(1, len(places)))
        for entry, (node, count), is_active in zip(inputs, places.tolist(), active, strict=False):
            entry.node, entry.count, entry.active = node, abs(count), is_active
        outputs = np.zeros(max(1, len(values)), _OPERAND)
        outputs["value"][: len(values)] = values
        outputs["node"][: len(values)] = rows - np.uint32(1)  # row 0, a constant, wraps round
        _, _, reads, line = _handle._guards(tape)
        if reads:
            self.reason = "a value was taken out of the recording" + (
                f", at {line}" if line else ""
            )
        made = ffi.new("pyad_program **")
        entries = ffi.from_buffer("pyad_operand[]", outputs)
        with tape._held() as core:
            check(
                lib.pyad_program_new(core, start, len(places), inputs, len(values), entries, made)
            )
        self.core = ffi.gc(made[0], lib.pyad_program_free)
        self.room_size = lib.pyad_program_room(self.core)

    # ---- running ------------------------------------------------------------------------

    def take(self) -> Room:
        """A room that nobody uses."""
        try:
            return self.rooms.pop()
        except IndexError:
            room = Room(self)
            self._all_rooms.append(room)
            return room

    def run(self, room: Room, x: Floats) -> bool:
        """Compute `room.results` at `x`; False if this recording does not fit there.

        A guard answers otherwise, or an operation raises (of a singular matrix): what the function
        does there has to be recorded.
        """
        given = ffi.from_buffer(DOUBLES, x)
        status = lib.pyad_program_value(self.core, room.numbers, given, room.outputs, room.holds)
        if status:
            _forgive(status)
        elif room.holds[0]:
            room.runs += 1
            return True
        return False

    def sweep(self, room: Room, into: Floats) -> None:
        """After a run, the derivatives of the results weighted by `room.seed_at`, in all inputs."""
        gradient = ffi.from_buffer(DOUBLES, into)
        status = lib.pyad_program_gradient(self.core, room.numbers, room.seeds, gradient)
        if status:
            check(status)

    def result(self, room: Room) -> Any:
        """What the function returns there, in its structure."""
        return build(self.outputs, pieces(self.outputs, room.results))

    def serves(self, args: Sequence[Any]) -> bool:
        """Whether any floats and arrays like these are inputs of it, and none its constants."""
        known = self.reason is None and not self.is_open
        return known and self.size == sum(map(np.size, args))

    def plan(self, argnums: int | tuple[int, ...]) -> _handle._Plan | None:
        """What answers calls in C, or None if the arguments or the result need Python."""
        made = self._plan(argnums) if self._may_have_plan else None
        self._may_have_plan = made is not None
        return made

    def _plan(self, argnums: int | tuple[int, ...]) -> _handle._Plan | None:
        if self.reason is not None or self.is_open or len(self.inputs.children) != 2:
            return None
        positional, keywords = self.inputs.children
        args, count = positional.children, len(positional.children)
        chosen = argnums if isinstance(argnums, tuple) else (argnums,)
        within = count > 0 and all(-count <= i < count for i in chosen)
        places = [i % count for i in chosen] if within else []
        forms = [form_of(x, i in places) for i, x in enumerate(args)]
        forms += [form_of(x) for x in keywords.children]
        result = form_of(self.outputs)
        if result is None or any(form is None for form in forms):
            return None
        starts = [0, *itertools.accumulate(map(size_of, args))]
        differentiable = (
            0 < len(places) == len(set(places))
            and all(is_numeric(args[i]) for i in places)
            and self.outputs in (NUMBER, Shaped(()))
        )
        return _handle._Plan(
            self,
            int(ffi.cast("uintptr_t", self.core)),
            self.rooms,
            tuple(forms),
            keywords.keys,
            result,
            tuple([forms[i] for i in places]) if differentiable else None,
            tuple([starts[i] for i in places]) if differentiable else (),
            isinstance(argnums, tuple),
            self.room_size > _LARGE,
        )

    # ---- figures ------------------------------------------------------------------------

    @property
    def hits(self) -> int:
        """How many runs there were at other points than its own."""
        return self.runs - (not self.is_loaded)

    @property
    def runs(self) -> int:
        """How many runs came to their end."""
        return self.rows + sum(room.runs for room in self._all_rooms)

    @property
    def memory(self) -> int:
        """Bytes of the program and of the numbers of one run."""
        return int(lib.pyad_program_describe(self.core).bytes) + 8 * int(self.room_size)

    def describe(self) -> dict[str, int]:
        """The figures of `pyad_program_info`."""
        info = lib.pyad_program_describe(self.core)
        return {name: int(getattr(info, name)) for name in dir(info)}


def _forgive(status: int) -> None:
    """Raise the exception of a status, if it is not what an operation in Python raised."""
    try:
        check(status)
    except MemoryError:
        raise
    except Exception:
        if status != _RULE_FAILED:
            raise


def _is_foreign(leaves: list[Any], rows: Any) -> bool:
    """Whether a result is a variable of somebody else, which this recording knows as a constant."""
    start = 0
    for leaf in leaves:
        size = leaf.size if isinstance(leaf, (Array, np.ndarray)) else 1
        mine = rows[start : start + size].any() or not size
        if isinstance(leaf, (Var, Array)) and leaf.requires_grad and not mine:
            return True
        start += size
    return False
