"""A compiled function as C11 source, for use without Python.

Each recording becomes a static function that computes the values, checks the guards, and sweeps
back; the public one tries them in turn. Operations are written out from the rows of `csrc/ops.def`,
and what they need of the library comes with them, so that the result needs a C compiler and libm
only.
"""

from __future__ import annotations

import keyword
import math
import re
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, TypeGuard

from pyad._binding import OPERATIONS, error, ffi, lib
from pyad.compiled._arguments import NUMBER, Branch, Layout, Shaped, shapes_in
from pyad.compiled._files import name_of, sites_of
from pyad.compiled._helpers import HELPERS
from pyad.compiled._listing import Block, Group, Guard, Instruction, Listing, Reduction, Run, Step

if TYPE_CHECKING:
    from pyad.compiled._compiled import Compiled

__all__ = ["source"]

_C_WORDS = frozenset(keyword.kwlist) | {
    "auto", "case", "char", "const", "default", "do", "double", "enum", "extern", "float", "goto",
    "inline", "int", "long", "main", "register", "restrict", "short", "signed", "sizeof", "static",
    "struct", "switch", "typedef", "union", "unsigned", "void", "volatile",
}  # fmt: skip
_TAKEN = _C_WORDS | set(dir(math)) | set(HELPERS)
_PARTS = ("", "_da", "_db", "_daa", "_dab", "_dbb")
_INLINE = {
    "add": "{0} + {1}",
    "sub": "{0} - {1}",
    "mul": "{0} * {1}",
    "div": "{0} / {1}",
    "neg": "-{0}",
    "square": "{0} * {0}",
    "muladd": "{0} * {1} + {2}",
    "mulsub": "{0} * {1} - {2}",
    "submul": "{2} - {0} * {1}",
}
_SLOPES = {  # of those: the factors of the operands
    "add": ("1", "1"),
    "sub": ("1", "-1"),
    "mul": ("{1}", "{0}"),
    "neg": ("-1",),
    "square": ("2 * {0}",),
    "muladd": ("{1}", "{0}", "1"),
    "mulsub": ("{1}", "{0}", "-1"),
    "submul": ("-{1}", "-{0}", "1"),
}
_NUMBERS = {row.name: number for number, row in enumerate(OPERATIONS)}


def source(compiled: Compiled, name: str = "f", layout: Layout = None) -> str:
    """C for the value and the gradient, of the recordings of one layout."""
    if not re.fullmatch(r"[A-Za-z]\w*", name, re.ASCII) or name in _TAKEN:
        raise error("ARGUMENTS", f"to_c expects the name of a C function, not {name!r}")
    known = {program.inputs: site for site in sites_of(compiled) for program in site.programs
             if site.kind == "value"}  # fmt: skip
    if layout is None and len(known) == 1:
        layout = next(iter(known))
    if layout is None or layout not in known:
        what = "it has recordings for several kinds of arguments; choose one: p.to_c(args=(x, ...))"
        if not known or layout is not None:
            what = "it has no recording for such arguments; call it once with them"
        raise error("CANNOT_SAVE", f"the compiled function {name_of(compiled)}", what)
    programs = known[layout].programs
    for program in programs:
        if not _is_number(program.outputs, compiled.has_aux):
            raise error("NOT_A_SCALAR", "to_c", "an array or several numbers")
    writer = _Writer(name)
    bodies = [writer.function(k, Listing(program.core)) for k, program in enumerate(programs)]
    room = writer.room
    calls = "\n".join(
        f"    if (failed)\n        failed = {name}_{k}(x, value, gradient, room);"
        for k in range(len(programs))
    )
    main = f"""{_comment(compiled, name, layout, programs[0].outputs)}
int {name}(const double *x, double *value, double *gradient);
int {name}(const double *x, double *value, double *gradient)
{{
    double *room = malloc({room} * sizeof *room);
    int failed = 1;
    if (!room)
        return 2;
{calls}
    free(room);
    return failed;
}}"""
    head = (
        "#define _DEFAULT_SOURCE /* lgamma_r */\n#define _REENTRANT 1\n"
        if writer.is_gamma()
        else ""
    )
    headers = ("float.h", "math.h", "stddef.h", "stdlib.h", "string.h")
    includes = "\n".join(f"#include <{header}>" for header in headers)
    return "\n\n".join([head + includes, *writer.helpers(), *bodies, main]) + "\n"


def _is_number(outputs: Layout, has_aux: bool) -> bool:
    """Whether the value is one number."""
    if has_aux and isinstance(outputs, Branch):
        outputs = outputs.children[0]
    return outputs is NUMBER or outputs == Shaped(())


def _comment(compiled: Compiled, name: str, layout: Layout, outputs: Layout) -> str:
    given, gives = _described(layout), _described(outputs)
    code = re.sub(r"[^\w.<>]", "_", name_of(compiled), flags=re.ASCII)
    return f"""/* {code}, compiled by pyad.
 *   x         its numbers, one after the other:{_wrapped(given)}
 *   value     its result:{_wrapped(gives)}
 *   gradient  of value[0] in all of x; NULL if it is not wanted. What is not differentiated
 *             (argnums) gets 0.
 * Returns 0; 1 if the code took another branch here than where it was recorded (nothing is
 * written then); 2 without memory. */"""


def _described(layout: Layout) -> list[str]:
    """The numbers of a layout, in order."""
    found, at = [], 0
    for shape in shapes_in(layout):
        size = 1 if shape is None else math.prod(shape)
        found.append(f"[{at}]" if size == 1 else f"[{at}] ... [{at + size - 1}]")
        at += size
    return found


def _wrapped(items: list[str]) -> str:
    shown = items[:6] + ([f"... {len(items) - 6} more"] if len(items) > 6 else [])
    return " " + (", ".join(shown) or "none")


def _is_many(item: Instruction) -> TypeGuard[Reduction]:
    """Whether it is a reduction that needs its arguments side by side."""
    return isinstance(item, Reduction) and item.op != "fold"


def _size_of(item: Reduction) -> int:
    """How many arguments a reduction has."""
    return len(item.slots) + sum(run.length for run in item.runs)


def _literal(x: float) -> str:
    if math.isnan(x):
        return "NAN"
    if math.isinf(x):
        return "INFINITY" if x > 0 else "-INFINITY"
    text = repr(x) if x == int(x) and abs(x) < 1e6 else x.hex()
    return f"({text})" if text.startswith("-") else text


def _table(kind: str, name: str, items: Iterable[str]) -> str:
    lines, line = [], "       "
    for item in items:
        if len(line) + len(item) > 88:
            lines.append(line)
            line = "       "
        line += f" {item},"
    return "\n".join([f"    static const {kind} {name}[] = {{", *lines, line, "    };"])


class _Writer:
    """What the functions of a file share: the operations they use, and the room they need."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.used: dict[tuple[str, int], None] = {}
        self.reductions: dict[str, None] = {}
        self.room = 1

    # ---- operations -------------------------------------------------------------------------

    def call(self, op: str, part: int, values: Sequence[str], result: str) -> str:
        """An operation, or a part of its derivative, of these operands; `result` is its value."""
        if part == 0 and op in _INLINE:
            return _INLINE[op].format(*values)
        self.used[op, part] = None
        given = ", ".join(values if part == 0 else [*values, result])
        return f"{self.name}_op_{op}{_PARTS[part]}({given})"

    def _definition(self, op: str, part: int) -> str:
        text = lib.pyad_op_source(_NUMBERS[op], part)
        if text == ffi.NULL:
            raise error("CANNOT_SAVE", f"the operation '{op}'", "to_c knows no C for it")
        code = ffi.string(text).decode()
        names = ["a", "b"] if part == 0 else ["A", "B"]
        names = names[: OPERATIONS[_NUMBERS[op]].arguments] + ["V"] * (part > 0)
        given = ", ".join(f"double {x}" for x in names)
        unused = [f"    (void){x};\n" for x in names if not re.search(rf"\b{x}\b", code)]
        head = f"static double {self.name}_op_{op}{_PARTS[part]}({given})"
        return f"{head}\n{{\n{''.join(unused)}    return {code};\n}}"

    def _needed(self, texts: Iterable[str]) -> list[str]:
        """The definitions of the library that a text refers to, in order of use."""
        done: dict[str, None] = {}

        def visit(text: str) -> None:
            for word in re.findall(r"\b[A-Za-z_]\w*\b", text):
                if word in HELPERS and word not in done and word not in seen:
                    seen.add(word)
                    visit(HELPERS[word])
                    done[word] = None

        seen: set[str] = set()
        for text in texts:
            visit(text)
        return list(done)

    def many(self, op: str) -> str:
        """The function of any number of arguments."""
        self.reductions[f"pyad_many_{op}"] = None
        return f"pyad_many_{op}"

    def helpers(self) -> list[str]:
        """All operations that are used, behind what they need."""
        own = [self._definition(op, part) for op, part in self.used]
        return [HELPERS[name] for name in self._needed([*own, *self.reductions])] + own

    def is_gamma(self) -> bool:
        """Whether lgamma_r is among them, which the standard does not have."""
        return any("lgamma_r" in text for text in self.helpers())

    # ---- functions --------------------------------------------------------------------------

    def function(self, number: int, listing: Listing) -> str:
        """The static function of one recording."""
        for item in listing.instructions:
            if isinstance(item, Block) and item.op == "call":
                raise error("RULE_IN_FILE")
        return _Function(self, number, listing).text()


class _Function:
    """One recording; slot i is v[i], its adjoint g[i]."""

    def __init__(self, writer: _Writer, number: int, listing: Listing) -> None:
        self.writer, self.number, self.listing = writer, number, listing
        self.tables: list[str] = []
        self.shown: dict[tuple[int, ...], str] = {}
        # values, adjoints, and behind them the arguments of a reduction and its partials
        scratch = max((2 * _size_of(i) for i in listing.instructions if _is_many(i)), default=0)
        writer.room = max(writer.room, 2 * listing.slots + scratch)

    def text(self) -> str:
        listing = self.listing
        constants, inputs = len(listing.constants), listing.inputs
        values = [line for item in listing.instructions for line in self.value(item)]
        guards = [line for guard in listing.guards for line in self.guard(guard)]
        back = [line for item in reversed(listing.instructions) for line in self.adjoint(item)]
        lines = [
            f"static int {self.writer.name}_{self.number}(const double *x, double *value, "
            "double *gradient, double *v)",
            "{",
        ]
        if constants:
            lines.append(_table("double", "constants", map(_literal, listing.constants)))
        lines += self.tables
        lines.append(f"    double *g = v + {listing.slots};")
        if any(map(_is_many, listing.instructions)):
            lines.append(f"    double *many = g + {listing.slots};")
        if constants:
            lines.append("    memcpy(v, constants, sizeof constants);")
        if inputs:
            lines.append(f"    memcpy(v + {constants}, x, {inputs} * sizeof *v);")
        else:
            lines.append("    (void)x;")
        lines += values + guards
        lines += [f"    value[{i}] = v[{slot}];" for i, slot in enumerate(listing.outputs)]
        lines.append("    if (!gradient)\n        return 0;")
        lines.append(f"    memset(g, 0, {listing.slots} * sizeof *g);")
        if listing.outputs:
            lines.append(f"    g[{listing.outputs[0]}] = 1;")
        lines += back
        if inputs:
            lines.append(f"    memcpy(gradient, g + {constants}, {inputs} * sizeof *g);")
        return "\n".join([*lines, "    return 0;", "}"])

    def table(self, numbers: tuple[int, ...]) -> str:
        """The name of a table of whole numbers."""
        if numbers not in self.shown:
            self.shown[numbers] = f"t{len(self.shown)}"
            self.tables.append(_table("unsigned", self.shown[numbers], map(str, numbers)))
        return self.shown[numbers]

    def constant(self, slot: int) -> str:
        """The value of a slot."""
        constants = self.listing.constants
        return _literal(constants[slot]) if slot < len(constants) else f"v[{slot}]"

    def place(self, operand: Any) -> str:
        """The slot of element i of an operand of a group."""
        if not isinstance(operand, Run):
            return f"{self.table(operand)}[i]"
        return f"{operand.at} + i" if operand.step else f"{operand.at}"

    # ---- values -----------------------------------------------------------------------------

    def value(self, item: Instruction) -> list[str]:
        """The statements that compute a result."""
        if isinstance(item, Step):
            given = list(map(self.constant, item.operands))
            return [f"    v[{item.out}] = {self.writer.call(item.op, 0, given, '')};"]
        if isinstance(item, Group):
            given = [f"v[{self.place(operand)}]" for operand in item.operands]
            to = f"v[{item.out} + i]"
            lines = [f"{to} = {self.writer.call(item.op, 0, given, '')};"]
            if item.order:
                lines.append(f"{to} = {self.writer.call(item.op, item.order, given, to)};")
            return _loop("i", item.length, lines)
        if _is_many(item):
            return self.many(item)
        if isinstance(item, Reduction):
            lines = [f"    v[{item.out}] = 0;"]
            for count, place in self.terms(item):
                lines += _loop("i", count, [f"v[{item.out}] += v[{place}];"])
            return lines
        return self.block(item, _VALUES)

    def terms(self, item: Reduction) -> list[tuple[int, str]]:
        """The stretches of a sum: how many, and the slot of number i."""
        found = [(run.length, f"{run.at} + i") for run in item.runs]
        if item.slots:
            found.append((len(item.slots), f"{self.table(item.slots)}[i]"))
        return found

    def many(self, item: Reduction) -> list[str]:
        """The statements that compute the result of any number of arguments, and partials."""
        count = _size_of(item)
        lines = []
        for k, place, at in self.arguments(item):
            lines += _loop("i", k, [f"many[{at}] = v[{place}];"])
        half = count // 2 if item.op == "dot" else 0
        x, dx = "many", f"many + {count}"
        y, dy = (f"many + {half}", f"many + {count + half}") if half else ("many", dx)
        call = self.writer.many(item.op)
        return [*lines, f"    v[{item.out}] = {call}({half or count}, {x}, {y}, {dx}, {dy});"]

    def arguments(self, item: Reduction) -> list[tuple[int, str, str]]:
        """Stretches of arguments: how many, the slot of number i, and its place in `many`."""
        found, at = [], 0
        for count, place in self.terms(item):
            if item.op == "dot":  # x and y take turns in the listing: all of x come first here
                half = _size_of(item) // 2
                to = f"({at} + i) / 2 + ({at} + i) % 2 * {half}"
            else:
                to = f"{at} + i"
            found.append((count, place, to))
            at += count
        return found

    # ---- adjoints ---------------------------------------------------------------------------

    def adjoint(self, item: Instruction) -> list[str]:
        """The statements that pass the adjoint of a result on to its operands."""
        if not item.active:
            return []
        if isinstance(item, Step):
            given = list(map(self.constant, item.operands))
            places = list(map(str, item.operands))
            lines = self.passes(item, given, places, str(item.out))
            return _block(f"    if (g[{item.out}] != 0)", lines, 4)
        if isinstance(item, Group):
            places = list(map(self.place, item.operands))
            given = [f"v[{place}]" for place in places]
            out = f"{item.out} + i"
            inner = _block(f"if (g[{out}] != 0)", self.passes(item, given, places, out), 0)
            return _loop("i", item.length, inner)
        if _is_many(item):
            count = _size_of(item)
            lines = self.many(item)
            for k, place, at in self.arguments(item):
                passed = f"g[{place}] += g[{item.out}] * many[{count} + {at}];"
                lines += _loop("i", k, [passed])
            inner = [line.removeprefix("    ") for line in lines]
            return _block(f"    if (g[{item.out}] != 0)", inner, 4)
        if isinstance(item, Reduction):
            lines = []
            for count, place in self.terms(item):
                lines += _loop("i", count, [f"g[{place}] += g[{item.out}];"])
            return lines
        return self.block(item, _ADJOINTS)

    def passes(self, item: Any, given: list[str], places: list[str], out: str) -> list[str]:
        """Statements for each operand with a derivative."""
        lines = []
        order = getattr(item, "order", 0)
        for which, place in enumerate(places):
            if not item.active >> which & 1:
                continue
            if item.op in _SLOPES and not order:
                slope = _SLOPES[item.op][which].format(*given)
            else:  # the operation, of its partial in a, of that in b
                part = ((1, 2), (3, 4), (4, 5))[order][which]
                value = self.writer.call(item.op, 0, given, "") if order else f"v[{out}]"
                slope = self.writer.call(item.op, part, given, value)
            share = {"1": f"g[{out}]", "-1": f"-g[{out}]"}.get(slope, f"g[{out}] * ({slope})")
            lines.append(f"g[{place}] += {share};")
        return lines

    # ---- blocks -----------------------------------------------------------------------------

    def block(self, item: Block, which: dict[str, _Emitter]) -> list[str]:
        """An array operation, forwards or backwards."""
        return which[item.op](self, item)

    def spread(self, item: Block, add: Callable[[str, str], str]) -> list[str]:
        """Loops over a layout; `add` makes the statement of contiguous and strided places."""
        offset, shape, strides = item.data
        run = item.sources[0][0]
        names = [f"i{k}" for k in range(len(shape))]
        near, far = "", ""
        for name, length, stride in zip(names, shape, strides, strict=True):
            near = f"({near}) * {length} + {name}" if near else name
            if stride:
                far += f" + {stride} * {name}" if stride > 0 else f" - {-stride} * {name}"
        spread = item.op == "spread"
        whole, strided = (item.out, run.at) if spread else (run.at, item.out)
        lines = [add(f"{whole}" + (f" + {near}" if near else ""), f"{strided + offset}{far}")]
        for name, length in zip(reversed(names), reversed(shape), strict=True):
            lines = [line.removeprefix("    ") for line in _loop(name, length, lines, "int")]
        return ["    " + line for line in lines]

    def product(self, item: Block, body: Callable[[str, str, str], list[str]]) -> list[str]:
        """Loops over a stack of matrix products; `body` of the places of c, a and b."""
        batch, m, k, n = item.data[:4]
        matrices = item.data[4:8], item.data[8:]
        places = []
        for (run, _), (offset, stack, row, column), (i, j) in zip(
            item.sources, matrices, (("i", "l"), ("l", "j")), strict=True
        ):
            places.append(f"{run.at + offset} + s * {stack} + {i} * {row} + {j} * {column}")
        lines = body(f"{item.out} + (s * {m} + i) * {n} + j", *places)
        for name, length in (("l", k), ("j", n), ("i", m), ("s", batch)):
            lines = [line.removeprefix("    ") for line in _loop(name, length, lines)]
        return ["    " + line for line in lines]

    def running(self, item: Block, *, back: bool) -> list[str]:
        """Running sums along the middle axis."""
        outer, n, inner, from_end = item.data
        at = item.sources[0][0].at
        step = f"({n - 1} - i)" if bool(from_end) != back else "i"
        place = f"(s * {n} + {step}) * {inner} + j"
        if back:
            lines = [f"sum += g[{item.out} + {place}];", f"g[{at} + {place}] += sum;"]
        else:
            lines = [f"sum += v[{at} + {place}];", f"v[{item.out} + {place}] = sum;"]
        start = "double sum = 0;" if back else "double sum = -0.0;"
        lines = [start, *(line.removeprefix("    ") for line in _loop("i", n, lines))]
        for name, length in (("j", inner), ("s", outer)):
            lines = [line.removeprefix("    ") for line in _loop(name, length, lines)]
        return ["    " + line for line in lines]

    def linear(self, item: Block, *, back: bool) -> list[str]:
        """Weighted sums of single slots."""
        first, slots, weights, base = item.data
        if not slots and back:
            return []
        numbers = f"w{item.out}"
        known = f"    static const double {numbers}[]"
        if not any(known in table for table in self.tables):
            self.tables.append(_table("double", numbers, map(_literal, (*base, *weights))))
        entries = f"k = {self.table(first)}[i]; k < {self.table(first)}[i + 1]; k++"
        weight = f"{numbers}[{item.length} + k]"
        if back:
            passed = f"g[{self.table(slots)}[k]] += {weight} * g[{item.out} + i];"
            lines = [f"for (size_t {entries})", f"    {passed}"]
            return _loop("i", item.length, _block(f"if (g[{item.out} + i] != 0)", lines, 0))
        lines = [f"double sum = {numbers}[i];"]
        if slots:
            lines.append(f"for (size_t {entries})")
            lines.append(f"    sum += {weight} * v[{self.table(slots)}[k]];")
        return _loop("i", item.length, [*lines, f"v[{item.out} + i] = sum;"])

    def guard(self, guard: Guard) -> list[str]:
        """Return 1 if a comparison gives something else."""
        if len(guard.outcomes) == 1:
            test = f"{self.constant(guard.a.at)} {guard.relation} {self.constant(guard.b.at)}"
            return [f"    if (({test}) != {guard.outcomes[0]})\n        return 1;"]
        a, b = self.place(guard.a), self.place(guard.b)
        held = f"{self.table(tuple(guard.outcomes))}[i]"
        test = f"if ((v[{a}] {guard.relation} v[{b}]) != (int){held})"
        return _loop("i", len(guard.outcomes), [test, "    return 1;"])


_Emitter = Callable[[_Function, Block], list[str]]


def _collect(function: _Function, item: Block) -> list[str]:
    clear = f"    memset(v + {item.out}, 0, {item.length} * sizeof *v);"
    return [clear, *function.spread(item, lambda near, far: f"v[{far}] += v[{near}];")]


def _product_adjoint(function: _Function, item: Block) -> list[str]:
    on_a, on_b = (active for _, active in item.sources)

    def body(c: str, a: str, b: str) -> list[str]:
        passed = [f"g[{a}] += g[{c}] * v[{b}];"] if on_a else []
        return [*passed, f"g[{b}] += g[{c}] * v[{a}];"] if on_b else passed

    return function.product(item, body)


_VALUES: dict[str, _Emitter] = {
    "spread": lambda f, item: f.spread(item, lambda near, far: f"v[{near}] = v[{far}];"),
    "collect": _collect,
    "linear": lambda f, item: f.linear(item, back=False),
    "product": lambda f, item: [
        f"    memset(v + {item.out}, 0, {item.length} * sizeof *v);",
        *f.product(item, lambda c, a, b: [f"v[{c}] += v[{a}] * v[{b}];"]),
    ],
    "cumsum": lambda f, item: f.running(item, back=False),
}
_ADJOINTS: dict[str, _Emitter] = {
    "spread": lambda f, item: f.spread(item, lambda near, far: f"g[{far}] += g[{near}];"),
    "collect": lambda f, item: f.spread(item, lambda near, far: f"g[{near}] += g[{far}];"),
    "linear": lambda f, item: f.linear(item, back=True),
    "product": _product_adjoint,
    "cumsum": lambda f, item: f.running(item, back=True),
}


def _block(head: str, lines: list[str], indent: int) -> list[str]:
    """`head` over statements, in braces if there are several."""
    pad = " " * indent
    if len(lines) == 1:
        return [head, f"{pad}    {lines[0]}"]
    return [head + " {", *[f"{pad}    {line}" for line in lines], pad + "}"]


def _loop(name: str, count: int, lines: list[str], kind: str = "size_t") -> list[str]:
    return _block(f"    for ({kind} {name} = 0; {name} < {count}; {name}++)", lines, 4)
