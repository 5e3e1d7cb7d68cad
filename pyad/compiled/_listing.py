"""A program taken apart: its instructions as Python objects, and as text.

Read from the bytes of `pyad_program_save`, whose format stands in `csrc/program/file.c`. The bytes
come from the library itself; those of a file go to `pyad_program_load`, which trusts nothing.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from pyad._binding import check, ffi, lib

__all__ = ["Block", "Group", "Guard", "Listing", "Reduction", "Run", "Step", "program_bytes"]

_SIZES = (
    "constants", "inputs", "steps", "groups", "lists", "blocks", "sources", "places", "store",
    "outputs", "guards", "nodes", "recorded", "shared", "live", "summed", "combined",
)  # fmt: skip
_WIDTH = 100
_SHOWN = 200


class Run(NamedTuple):
    """Slots one after the other: `length` from `at` on, or with step 0 one slot again and again."""

    at: int
    length: int
    step: int = 1


Operand = Run | tuple[int, ...]
"""Of a group: a run, or the slot of each element."""


class Step(NamedTuple):
    """One result of one operation on single slots. Operand i has a derivative by active bit i."""

    op: str
    active: int
    out: int
    operands: tuple[int, ...]


class Group(NamedTuple):
    """A run of results; `order` 1 or 2: of the partial in the first or second operand."""

    op: str
    active: int
    out: int
    length: int
    order: int
    operands: tuple[Operand, ...]


class Reduction(NamedTuple):
    """One result of any number of slots, which are listed one by one or as runs."""

    op: str
    active: int
    out: int
    slots: tuple[int, ...]
    runs: tuple[Run, ...]


class Block(NamedTuple):
    """An array operation; `data` is what its kind needs (blocks/block.h), in order."""

    op: str
    active: int
    out: int
    length: int
    sources: tuple[tuple[Run, bool], ...]
    data: tuple[Any, ...]


class Guard(NamedTuple):
    """A comparison that must give `outcomes` again."""

    relation: str
    a: Run
    b: Run
    outcomes: bytes


Instruction = Step | Group | Reduction | Block


class _Reader:
    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def take(self, form: str, count: int = 1) -> tuple[Any, ...]:
        form = f"<{count}{form}" if count != 1 else f"<{form}"
        found = struct.unpack_from(form, self.data, self.at)
        self.at += struct.calcsize(form)
        return found

    def numbers(self, form: str, count: int) -> tuple[Any, ...]:
        return self.take(form, count) if count else ()


def program_bytes(program: Any, *, rules: bool) -> bytes:
    """A program of the C library as bytes; with `rules`, also one that cannot be loaded again."""
    size, data = ffi.new("size_t *"), ffi.new("unsigned char **")
    check(lib.pyad_program_save(program, rules, size, data))
    try:
        return bytes(ffi.buffer(data[0], size[0]))
    finally:
        lib.pyad_buffer_release(data[0])


class Listing:
    """The parts of a program."""

    def __init__(self, program: Any) -> None:
        r = _Reader(program_bytes(program, rules=True))
        _, _, names, _ = r.take("8sIIQ")
        self.sizes = dict(zip(_SIZES, r.take("Q", len(_SIZES)), strict=True))
        self._names = [r.take("16s")[0].rstrip(b"\0").decode() for _ in range(names)]
        self.constants: tuple[float, ...] = r.numbers("d", self.sizes["constants"])
        self.inputs: int = self.sizes["inputs"]
        self.first = len(self.constants) + self.inputs
        """The slot of the first result."""
        self.instructions: list[Instruction] = []
        out = self.first
        for _ in range(self.sizes["steps"]):
            self.instructions.append(self._instruction(r, out))
            last = self.instructions[-1]
            out += last.length if isinstance(last, (Group, Block)) else 1
        self.slots = out
        self.outputs: tuple[int, ...] = r.numbers("I", self.sizes["outputs"])
        self.guards = [self._guard(r) for _ in range(self.sizes["guards"])]

    def _instruction(self, r: _Reader, out: int) -> Instruction:
        tag, active, name = r.take("BBH")
        read: Callable[[_Reader, str, int, int], Instruction]
        read = (self._step, self._group, self._list, self._block)[tag]
        return read(r, self._names[name], active, out)

    @staticmethod
    def _step(r: _Reader, op: str, active: int, out: int) -> Step:
        return Step(op, active, out, r.take("I", operand_count(op)))

    @staticmethod
    def _group(r: _Reader, op: str, active: int, out: int) -> Group:
        order, *modes = r.take("4B")
        (count,) = r.take("I")
        operands: list[Operand] = []
        for mode in modes[: operand_count(op)]:
            if mode == 2:
                operands.append(r.numbers("I", count))
            else:
                operands.append(Run(r.take("I")[0], count, 1 - mode))
        return Group(op, active, out, count, order, tuple(operands))

    @staticmethod
    def _list(r: _Reader, op: str, active: int, out: int) -> Reduction:
        mode, count = r.take("II")
        if mode == 2:
            return Reduction(op, active, out, r.numbers("I", count), ())
        pairs = r.numbers("I", 2 * count)
        runs = tuple(map(Run, pairs[::2], pairs[1::2]))
        return Reduction(op, active, out, (), runs)

    @staticmethod
    def _block(r: _Reader, op: str, active: int, out: int) -> Block:
        count, sources = r.take("II")
        places = [r.take("III") for _ in range(sources)]
        data: tuple[Any, ...] = ()
        if op in ("@spread", "@collect"):
            ndim, offset = r.take("qq")
            data = (offset, r.numbers("q", ndim), r.numbers("q", ndim))
        elif op == "@product":
            data = r.take("q", 12)
        elif op == "@cumsum":
            data = r.take("q", 4)
        elif op == "@linear":
            first = r.take("I", count + 1) if count else r.take("I")
            data = (first, r.numbers("I", first[-1]), r.numbers("d", first[-1]))
            data += (r.numbers("d", count),)
        runs = tuple((Run(at, n), bool(on)) for at, n, on in places)
        return Block(op[1:], active, out, count, runs, data)

    @staticmethod
    def _guard(r: _Reader) -> Guard:
        relation, outcome, step_a, step_b = r.take("4B")
        a, b, count, several = r.take("4I")
        outcomes = bytes([outcome])
        if several:
            (outcomes,) = r.take(f"{count}s")
        signs = ("<", "<=", "==", "!=")
        return Guard(signs[relation], Run(a, count, step_a), Run(b, count, step_b), outcomes)

    # ---- text -------------------------------------------------------------------------------

    def text(self) -> str:
        """One line for each instruction, and for each guard."""
        lines = [
            f"{_many(self.inputs, 'input')}, {_many(len(self.constants), 'constant')}, "
            f"{_many(len(self.instructions), 'instruction')} "
            f"for {_many(self.slots - self.first, 'result')}, "
            f"{_many(len(self.outputs), 'output')}, {_many(len(self.guards), 'guard')}"
        ]
        lines += _some([self._line(item) for item in self.instructions[:_SHOWN]], self.instructions)
        lines += _some([self._guard_line(guard) for guard in self.guards[:_SHOWN]], self.guards)
        lines.append(_fit(f"return {self._slots(self.outputs)}"))
        return "\n".join(lines)

    def _line(self, item: Instruction) -> str:
        if isinstance(item, Step):
            to, given = self._slot(item.out), ", ".join(map(self._slot, item.operands))
            return _fit(f"{to} = {item.op}({given})")
        if isinstance(item, Reduction):
            given = self._slots(item.slots) + ", ".join(map(self._run, item.runs))
            return _fit(f"{self._slot(item.out)} = {item.op}({given})")
        to = self._run(Run(item.out, item.length))
        if isinstance(item, Group):
            op = item.op + ("", "_da", "_db")[item.order]
            given = ", ".join(map(self._operand, item.operands))
            return _fit(f"{to} = {op}({given})")
        given = ", ".join(self._run(run) for run, _ in item.sources)
        return _fit(f"{to} = {item.op}({given}{self._details(item)})")

    def _details(self, item: Block) -> str:
        if item.op in ("spread", "collect"):
            offset, shape, strides = item.data
            return f"; shape {shape}, strides {strides}, offset {offset}"
        if item.op == "product":
            batch, m, k, n = item.data[:4]
            stack = f"{batch} times " if batch != 1 else ""
            return f"; {stack}({m}, {k}) @ ({k}, {n})"
        if item.op == "cumsum":
            return f"; shape {item.data[:3]}, axis 1" + (", from the end" if item.data[3] else "")
        if item.op == "linear":
            return f"{_many(item.data[0][-1], 'entry', 'entries')} of {self._slots(item.data[1])}"
        return ""

    def _guard_line(self, guard: Guard) -> str:
        a, b = self._run(guard.a), self._run(guard.b)
        held = sum(guard.outcomes)
        if len(guard.outcomes) == 1:
            return _fit(f"guard {a} {guard.relation} {b} is {bool(held)}")
        return _fit(f"guard {a} {guard.relation} {b} is True for {held} of {len(guard.outcomes)}")

    def _slot(self, slot: int) -> str:
        if slot < len(self.constants):
            return repr(self.constants[slot])
        if slot < self.first:
            return f"x[{slot - len(self.constants)}]"
        return f"v[{slot - self.first}]"

    def _run(self, run: Run) -> str:
        if run.length == 1 or not run.step:
            return self._slot(run.at)
        if run.at < len(self.constants):
            some = map(repr, self.constants[run.at : run.at + min(run.length, 4)])
            return f"[{', '.join(some)}{', ...' if run.length > 4 else ''}]"
        name, start = ("x", len(self.constants)) if run.at < self.first else ("v", self.first)
        return f"{name}[{run.at - start}:{run.at - start + run.length}]"

    def _operand(self, operand: Operand) -> str:
        return self._run(operand) if isinstance(operand, Run) else f"[{self._slots(operand)}]"

    def _slots(self, slots: Sequence[int]) -> str:
        shown = ", ".join(map(self._slot, slots[:8]))
        return shown + (f", ... {len(slots) - 8} more" if len(slots) > 8 else "")


def operand_count(op: str) -> int:
    """Of a step or a group."""
    if op in ("muladd", "mulsub", "submul"):
        return 3
    return _ARGUMENTS[op]


def _arguments() -> Iterator[tuple[str, int]]:
    from pyad._binding import OPERATIONS

    for row in OPERATIONS:
        yield row.name, row.arguments


_ARGUMENTS = dict(_arguments())


def _many(count: int, one: str, several: str | None = None) -> str:
    return f"{count} {one if count == 1 else several or one + 's'}"


def _fit(line: str) -> str:
    return "  " + (line if len(line) < _WIDTH else line[: _WIDTH - 4] + " ...")


def _some(lines: list[str], items: Sequence[Any]) -> list[str]:
    left = len(items) - len(lines)
    return [*lines, f"  ... {left} more"] if left else lines
