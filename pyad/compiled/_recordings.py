"""The recordings of a function: which of them fits a call, and when a new one is made."""

from __future__ import annotations

import collections
import functools
import inspect
import itertools
import os
import threading
import types
import warnings
import weakref
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from pyad import _handle
from pyad._handle import Array, Dual, Var
from pyad.compiled._arguments import (
    Branch,
    Layout,
    Plain,
    Role,
    all_in,
    flat,
    has_opaque,
    layout_of,
    size_of,
)
from pyad.compiled._program import Evaluate, NotReplayed, Program, Room
from pyad.compiled._surroundings import Surroundings, changed
from pyad.errors import Error

__all__ = ["Call", "Recordings", "Run", "Site", "warn"]

Floats = npt.NDArray[np.float64]

PROGRAMS = 64
"""Recordings kept for one layout, those used last."""
MEMORY = 1 << 30
"""Bytes that they may take together, beyond which those used longest ago are forgotten."""
SITES = 256
"""Layouts that are remembered, those used last."""
HOPELESS = 3
"""Recordings of a layout that could not be used again, after which more and more calls pass before
the next one is made: another way, or a point without NaN, may allow it."""
UNSTEADY = 2 * PROGRAMS
"""Recordings of a layout that were forgotten, after which it is looked at whether they serve."""
WORTH = 4
"""Calls that a recording has to answer on the average, for it costs several evaluations."""

_HANDLES = frozenset((Var, Dual, Array))
_HERE = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep


class Call:
    """The arguments of a call: their layout and their numbers.

    `parts` are the positional arguments, the keyword arguments, and what else the derivative
    takes; `roles` of the positional ones.
    """

    __slots__ = ("active", "layout", "numbers", "spans")

    def __init__(
        self, args: Sequence[Any], roles: Sequence[Role], kwargs: dict[str, Any], data: Role
    ) -> None:
        numbers: list[Any] = []
        self.active: list[bool] = []
        children = []
        for x, role in zip(args, roles, strict=True):
            children.append(layout_of(x, numbers, role))
            more = len(numbers) - len(self.active)
            self.active += [role is Role.DIFFERENTIATED] * more
        names = tuple(kwargs)  # in their order, which **kwargs shows
        named = tuple([layout_of(kwargs[name], numbers, data) for name in names])
        self.active += [False] * (len(numbers) - len(self.active))
        self.numbers = numbers
        keywords = Branch(dict, named, names, (str,) * len(names))
        self.layout: Layout = Branch(tuple, (Branch(tuple, tuple(children)), keywords))

    @classmethod
    def extended(cls, call: Call, layout: Layout, numbers: list[Any]) -> Call:
        """The same call with one more part."""
        new = object.__new__(cls)
        new.layout = Branch(tuple, (*call.layout.children, layout))
        new.numbers = call.numbers + numbers
        new.active = call.active + [False] * len(numbers)
        return new

    @property
    def has_variables(self) -> bool:
        """Whether variables of somebody else are among the numbers."""
        return not _HANDLES.isdisjoint(map(type, self.numbers))

    @property
    def is_opaque(self) -> bool:
        """Whether there are objects whose state cannot be followed."""
        return has_opaque(self.layout)

    def ranges(self) -> list[tuple[int, int]]:
        """Of each positional argument where its numbers begin and end."""
        found, start = [], 0
        for child in self.layout.children[0].children:
            end = start + size_of(child)
            found.append((start, end))
            start = end
        return found


class Run(NamedTuple):
    """One evaluation: `program` ran in `room`, where a sweep goes on from."""

    program: Program
    room: Room
    inputs: int

    def __enter__(self) -> Run:
        return self

    def __exit__(self, *exception: object) -> None:
        self.program.rooms.append(self.room)

    @property
    def values(self) -> Floats:
        """The numbers of the result, valid until the end."""
        return self.room.results[: self.program.count]

    def gradient(self) -> Floats:
        """Derivatives of the first number of the result in all inputs."""
        found = np.empty(self.inputs)
        self.program.sweep(self.room, found)
        return found

    def pull(self, seeds: Floats) -> Floats:
        """For rows of seeds the derivatives of the results so weighted: (rows, inputs)."""
        found = np.empty((len(seeds), self.inputs))
        given = self.room.seed_at[: self.program.count]
        try:
            for row, into in zip(seeds, found, strict=True):
                given[:] = row
                self.program.sweep(self.room, into)
        finally:
            given[:] = 0.0
            self.room.seed_at[0] = 1.0
        return found


class Site:
    """The recordings of one layout, for one kind of result."""

    def __init__(self, kind: str, layout: Layout) -> None:
        self.kind = kind
        self.programs: tuple[Program, ...] = ()
        self.recorded = self.forgotten = self.hopeless = self.pause = 0
        self.past_runs = 0
        self.is_eager = False
        functions = [
            leaf.value
            for leaf in all_in(layout)
            if type(leaf) is Plain and isinstance(leaf.value, types.FunctionType)
        ]
        self._functions = functions
        self._around = Surroundings(*functions) if functions else None

    @property
    def hits(self) -> int:
        """How many calls were answered without recording."""
        runs = self.past_runs + sum(program.runs for program in self.programs)
        return runs - self.recorded

    def look_around(self) -> None:
        """Forget all if something changed around functions among the arguments."""
        if self._around is not None and not self._around.are_as_they_were():
            self.drop(())
            self._around = Surroundings(*self._functions)

    def may_record(self) -> bool:
        """False for the calls that pass before another attempt."""
        if self.pause:
            self.pause -= 1
            return False
        return True

    def drop(self, kept: tuple[Program, ...]) -> None:
        """Keep some of the programs only."""
        gone = [program for program in self.programs if program not in kept]
        self.past_runs += sum(program.runs for program in gone)
        self.forgotten += len(gone)
        self.programs = kept


class Recordings:
    """All recordings of one function. Any number of threads may ask; none waits for a run."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.sites: collections.OrderedDict[Any, Site] = collections.OrderedDict()
        self.quick: dict[Any, Any] = {}
        self.calls = _handle._Calls()
        self.calls.plans = []
        self.calls.used = functools.partial(_put_first, weakref.ref(self))
        self.around: Surroundings | None = None
        self.data = Role.DATA
        """What floats are that nothing is differentiated in: inputs, if that can be."""
        self.warned: set[str] = set()
        self.eager = self.changes = 0
        self.past = {"hits": 0, "recorded": 0, "forgotten": 0}

    # ---- asking -------------------------------------------------------------------------

    def run(self, f: Any, kind: str, evaluate: Evaluate, call: Call) -> Run | None:
        """A recording that fits this call, evaluated: a new one if none does.

        None if there is none that can be used: the function is to be evaluated otherwise.
        """
        self.look_around(f)
        if self.around is not None and self.around.are_too_many:
            self._explain(f, "it reads more objects from around it than can be watched")
            return None
        try:
            site = self._site(kind, call.layout)
        except TypeError:  # something that cannot be hashed
            site = None
        if site is None or call.is_opaque:
            self._explain(f, "an argument of it is an object whose state cannot be followed")
            return None
        site.look_around()
        x = flat(call.numbers) if call.numbers else np.empty(0)
        seen = site.programs
        found = self._known(site, seen, x)
        if found is None and not site.is_eager and site.may_record():
            found = self._record(f, site, evaluate, call, x, seen)
        if found is None:
            self.eager += 1
        return found

    def site(self, kind: str, layout: Layout, f: Any) -> Site | None:
        """The recordings of a layout, those that fit what is around the function now.

        None if there can be none.
        """
        self.look_around(f)
        if self.around is not None and self.around.are_too_many:
            return None
        try:
            site = self._site(kind, layout)
        except TypeError:  # something that cannot be hashed
            return None
        site.look_around()
        return site

    def used(self, site: Site, program: Program, runs: int) -> None:
        """A program of the site answered so many rows of a batch."""
        with self.lock:
            program.rows += runs
        if site.programs[:1] != (program,) and program in site.programs:
            self._keep(site, program)

    def look_around(self, f: Any) -> None:
        """Forget what was recorded with other numbers around the function."""
        around = self.around
        if around is None:
            self._look_at(f)
        elif not around.are_as_they_were():
            self.changes += 1
            if self.changes == 8 and self.changes * 2 > self.count("recorded"):
                self._explain(f, f"{changed(around)} changes between calls", often=True)
            self.clear()
            self._look_at(f)

    def _look_at(self, f: Any) -> None:
        self.around = Surroundings(f)
        self.calls.watch = self.around.watch

    def clear(self) -> None:
        """Forget all recordings."""
        with self.lock:
            for site in self.sites.values():
                self._remember(site)
            self.sites.clear()
            self._forget_shortcuts()

    def _forget_shortcuts(self) -> None:
        """Whoever still writes into the old ones does no harm."""
        self.quick, self.calls.plans = {}, []

    def _remember(self, site: Site) -> None:
        site.drop(())
        self.past["hits"] += site.past_runs - site.recorded
        self.past["recorded"] += site.recorded
        self.past["forgotten"] += site.forgotten

    def _site(self, kind: str, layout: Layout) -> Site:
        key = kind, layout
        with self.lock:
            site = self.sites.get(key)
            if site is None:
                site = self.sites[key] = Site(kind, layout)
                if len(self.sites) > SITES:
                    self._remember(self.sites.popitem(last=False)[1])
                    self._forget_shortcuts()
            else:
                self.sites.move_to_end(key)
        return site

    def _known(self, site: Site, programs: tuple[Program, ...], x: Floats) -> Run | None:
        listens = _handle._is_recording()
        for i, program in enumerate(programs):
            if program.is_open and listens:
                continue
            room = program.take()
            try:
                holds = program.run(room, x)
            except BaseException:
                program.rooms.append(room)
                raise
            if holds:
                if i:
                    self._keep(site, program)
                return Run(program, room, x.size)
            program.rooms.append(room)
        return None

    def _keep(
        self, site: Site, program: Program, expected: tuple[Program, ...] | None = None
    ) -> bool:
        """Put a program first; the last ones are forgotten. False if others came meanwhile."""
        with self.lock:
            if expected is not None and site.programs is not expected:
                return False
            others = tuple([other for other in site.programs if other is not program])
            site.programs = (program, *others)
            kept = len(site.programs) if expected is None else _how_many_fit(site.programs)
            if kept < len(site.programs):
                site.drop(site.programs[:kept])
                self._forget_shortcuts()
        return True

    # ---- recording ----------------------------------------------------------------------

    def _record(
        self,
        f: Any,
        site: Site,
        evaluate: Evaluate,
        call: Call,
        x: Floats,
        seen: tuple[Program, ...],
    ) -> Run | None:
        try:
            program = Program(evaluate, call.layout, call.numbers, call.active)
            room = program.take()
            holds = program.run(room, x)
        except NotReplayed as refused:
            site.is_eager = True
            self._explain(f, str(refused))
            return None
        except Error as raised:
            if raised.code != "NEEDS_RECORDING":
                raise
            site.is_eager = True
            self._explain(f, "an operation of it cannot be replayed")
            return None
        with self.lock:
            site.recorded += 1
        if not holds:  # a comparison that hangs on the last bit
            site.past_runs += 1
            self._give_up(site)
            return None
        if program.reason is not None:
            site.past_runs += 1
            self._give_up(site)
            self._explain(f, program.reason)
        else:
            site.hopeless //= 2
            known = self._add(site, program, x, seen)
            if known is not None:
                return known
            if site.forgotten >= UNSTEADY and site.hits < WORTH * site.recorded:
                site.is_eager = True
                self._explain(f, "it takes another way at nearly every call")
        return Run(program, room, x.size)

    def _add(
        self, site: Site, program: Program, x: Floats, seen: tuple[Program, ...]
    ) -> Run | None:
        """Keep a new program; or the run of one that another thread made since `seen`."""
        while True:
            now = site.programs
            for other in now:
                if other not in seen:
                    room = other.take()
                    if other.run(room, x):
                        return Run(other, room, x.size)
                    other.rooms.append(room)
            if self._keep(site, program, now):
                return None
            seen = now

    def _give_up(self, site: Site) -> None:
        site.hopeless += 1
        if site.hopeless >= HOPELESS:
            site.pause = 4 << min(site.hopeless - HOPELESS, 10)

    def _explain(self, f: Any, reason: str, *, often: bool = False) -> None:
        """Warn, once for a function."""
        name = getattr(f, "__qualname__", repr(f))
        if not self.warned:
            self.warned.add(reason)
            what = "recorded anew again and again" if often else "recorded at every call"
            warn(f"{name} is {what}, not replayed: {reason}")

    # ---- figures ------------------------------------------------------------------------

    def count(self, what: str) -> int:
        """hits, recorded or forgotten, of all times."""
        return self.past[what] + sum(int(getattr(s, what)) for s in list(self.sites.values()))


def _how_many_fit(programs: Sequence[Program]) -> int:
    """How many of them may be kept, from the first on: one at least."""
    totals = itertools.accumulate(program.memory for program in programs[:PROGRAMS])
    return max(1, sum(total <= MEMORY for total in totals))


def _put_first(recordings: weakref.ref[Recordings], program: Program) -> None:
    """A program was used where another one did not fit."""
    owner = recordings()
    if owner is None:
        return
    for site in list(owner.sites.values()):
        now = site.programs
        if program in now:
            owner._keep(site, program, now)


def warn(text: str) -> None:
    """A RuntimeWarning at the user's line."""
    frame, level = inspect.currentframe(), 1
    while frame is not None and frame.f_code.co_filename.startswith(_HERE):
        frame, level = frame.f_back, level + 1
    warnings.warn(text, RuntimeWarning, stacklevel=level)
