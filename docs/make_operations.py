"""Writes docs/operations.md from the operation table: `python docs/make_operations.py`.

The tests compare the page with `page()`, so that it cannot fall behind the table.
"""

from pathlib import Path

import pyad
from pyad._binding import Operation

HEAD = """\
# The operations

Made from `csrc/ops.def` by `docs/make_operations.py`; do not edit. Each operation is a function of
`pyad` (and, for one and two arguments, a method of `Var`), takes floats, variables and arrays of
either, and is differentiable. The domain is where value, first and second partials are tested
against high-precision references; what happens at its ends and beyond is in [edges.md](edges.md).

| operation | domain | NumPy | meaning |
|---|---|---|---|
"""

MADE_OF_THESE = """
## Made of these

`where(condition, x, y)`, `clip(x, low, high)`, `sigmoid` (another name of `expit`), and in
`pyad.math` the other names of the standard module: `dist`, `fma`, `frexp`, `fsum`, `hypot` of any
number of coordinates, `ldexp`, `log` to a base, `modf`, `nextafter`, `prod`, `sumprod`.
"""


CALLS = {
    "leaf": "var(value)",
    "given": "from_partials(value, arguments, partials)",
    "dot": "dot(xs, ys)",
    "lincomb": "lincomb(coefficients, xs)",
}


def _row(operation: Operation) -> str:
    calls = {1: "(a)", 2: "(a, b)", -1: "(xs)"}
    domain = operation.domain_a
    if operation.arguments == 2:
        domain = f"a: {operation.domain_a}, b: {operation.domain_b}"
    numpy = f"`{operation.numpy}`" if operation.numpy else ""
    name = CALLS.get(operation.name, operation.name + calls[operation.arguments])
    return f"| `{name}` | {domain} | {numpy} | {operation.text} |\n"


def page() -> str:
    """The text of docs/operations.md."""
    return HEAD + "".join(map(_row, pyad.operations())) + MADE_OF_THESE


if __name__ == "__main__":
    Path(__file__).with_name("operations.md").write_text(page(), encoding="utf-8")
