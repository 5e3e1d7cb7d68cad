"""Kinks, poles, infinities, NaN and denormal numbers: each row of `docs/edges.md` is a test."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from samples import parse_domain

import pyad
from pyad._binding import OPERATIONS

PAGE = Path(__file__).resolve().parent.parent / "docs" / "edges.md"

NAMES = {name: getattr(pyad, name) for name in [*pyad.__all__, "abs", "sum"]}

OPERATORS = {"+": "add", "-": "sub", "*": "mul", "/": "div", "//": "floordiv", "%": "mod"}
OPERATORS["**"] = "pow"


class Edge(NamedTuple):
    """A row of the page."""

    expression: str
    point: list[float]
    value: float
    partials: list[float]
    reason: str

    @property
    def operation(self) -> str:
        """The operation that the row is about: that of its function, or of its operator."""
        call = re.match(r"(\w+)\(", self.expression)
        operator = re.match(r"\S+ (\S+) \S+$", self.expression)
        return call[1] if call else OPERATORS[operator[1]] if operator else "neg"


def numbers(cell: str) -> list[float]:
    return [float(number) for number in cell.strip("`").split(",") if number.strip()]


def edges() -> list[Edge]:
    found = []
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        if line.startswith("| `"):
            expression, point, value, partials, reason = (x.strip() for x in line[1:-1].split("|"))
            (number,) = numbers(value)
            found.append(
                Edge(expression.strip("`"), numbers(point), number, numbers(partials), reason)
            )
    return found


EDGES = edges()


def evaluate(expression: str, operands: list[Any]) -> Any:
    return eval(expression, dict(NAMES), dict(zip("xyz", operands, strict=False)))


def same(got: float, expected: float) -> bool:
    """Equal, with the sign of a zero, to a few roundings; a NaN is equal to a NaN."""
    if math.isnan(expected) or expected == 0:
        return repr(got) == repr(expected)
    return math.isclose(got, expected, rel_tol=1e-14)


@pytest.mark.parametrize("edge", EDGES, ids=lambda edge: f"{edge.expression} at {edge.point}")
def test_the_row_says_what_happens(edge: Edge) -> None:
    xs = pyad.vars(edge.point)
    y = evaluate(edge.expression, xs)
    variable = isinstance(y, pyad.Var) and y.requires_grad
    assert same(y.value if isinstance(y, pyad.Var) else y, edge.value)
    got = pyad.gradient(y, xs) if variable else [0.0] * len(xs)
    assert len(got) == len(edge.partials)
    for partial, expected in zip(got, edge.partials, strict=True):
        assert same(partial, expected), f"{got} is not {edge.partials}"


@pytest.mark.parametrize(
    "edge",
    [edge for edge in EDGES if re.match(r"\w+\([\w., ]*\)$", edge.expression)],
    ids=lambda edge: f"{edge.expression} at {edge.point}",
)
def test_a_plain_float_gives_the_same_value(edge: Edge) -> None:
    assert same(evaluate(edge.expression, edge.point), edge.value)


def test_every_row_has_a_reason() -> None:
    assert len(EDGES) > 200
    assert [edge for edge in EDGES if not edge.reason] == []


def test_no_two_rows_are_about_the_same() -> None:
    seen = [(edge.expression, repr(edge.point)) for edge in EDGES]
    assert len(seen) == len(set(seen))


def test_every_operation_that_ends_somewhere_is_on_the_page() -> None:
    """All whose domain is not the whole line."""
    named = {edge.operation for edge in EDGES}
    for row in OPERATIONS:
        for domain in filter(None, (row.domain_a, row.domain_b)):
            if parse_domain(domain) != (-math.inf, math.inf):
                assert row.name in named, f"{row.name} needs rows in docs/edges.md"


@pytest.mark.parametrize(
    "row", [row for row in OPERATIONS if row.arguments > 0], ids=lambda r: r.name
)
def test_nan_gives_nan_but_where_the_page_says_otherwise(row: Any) -> None:
    nan = math.nan
    exceptions = {
        edge.operation
        for edge in EDGES
        if any(map(math.isnan, edge.point)) and not math.isnan(edge.value)
    }
    assert exceptions == {"pow", "hypot", "fmax", "fmin", "copysign", "where"}
    if row.arguments == 1:
        assert math.isnan(NAMES[row.name](nan))
    elif row.name not in exceptions:
        for other in (0.0, -0.0, 1.0, 2.5, math.inf, -math.inf, nan):
            assert math.isnan(NAMES[row.name](nan, other))
            assert math.isnan(NAMES[row.name](other, nan))


def test_a_wrong_row_would_fail() -> None:
    wrong = Edge("log(x)", [-1.0], math.nan, [-1.0], "1 / x")
    with pytest.raises(AssertionError):
        test_the_row_says_what_happens(wrong)
    assert not same(0.0, -0.0)
    assert not same(math.inf, -math.inf)
    assert not same(1.0, math.nan)
