"""Lynx and hare: the table, the Lotka-Volterra model, and the sum of squares that joins them.

The model is Lotka's (*Elements of Physical Biology*, 1925) and Volterra's ("Fluctuations in the
abundance of a species considered mathematically", *Nature* 118, 1926): hares u, lynxes v,

    du/dt = (alpha - beta v) u        dv/dt = (delta u - gamma) v

The packaged table counts the pelts that the Hudson's Bay Company bought (Hewitt, *The Conservation
of the Wild Life of Canada*, 1921; tabulated by Howard, 2009; the same numbers are fitted in
Carpenter's Stan case study "Predator-Prey Population Dynamics", 2018).

Nothing here knows about derivatives: the functions take floats and `pyad.Var` alike, and get `exp`
and `log` from the namespace `m` (`math`, `pyad.math`, or any other with these two functions).
"""

from __future__ import annotations

import csv
import itertools
import math
import os
from collections.abc import Iterator, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple, Protocol

__all__ = [
    "PARAMETERS",
    "STEPS_PER_YEAR",
    "Scalar",
    "Table",
    "TableError",
    "read_table",
    "residual_sum_of_squares",
    "residuals",
    "simulate",
]

STEPS_PER_YEAR = 20
COLUMNS = ("year", "hare", "lynx")
PARAMETERS = ("alpha", "beta", "gamma", "delta", "hare0", "lynx0")
"""The parameters in the order of every vector of them in this package."""

MIN_ROWS = 4  # two numbers a row; six parameters leave two degrees of freedom
MAX_SPAN = 2000.0  # years; a tape of about 100 MB. More is a wrong column, not a long series.
LARGEST = 1e100  # so that products of means and rates are far from overflow

Scalar = Any
"""A float or a `pyad.Var`: mypy has no name for "closed under arithmetic, also with floats"."""


class MathNamespace(Protocol):
    """The two functions that the model needs; the modules `math` and `pyad.math` fit."""

    def exp(self, x: Any, /) -> Any: ...
    def log(self, x: Any, /) -> Any: ...


class Table(NamedTuple):
    """Pelts in thousands, one entry per row; years increase."""

    year: tuple[float, ...]
    hare: tuple[float, ...]
    lynx: tuple[float, ...]


class TableError(ValueError):
    """A table that cannot be fitted. The message is one line: file, line, column, reason."""


def simulate(
    log_parameters: Sequence[Scalar], years: Sequence[float], m: MathNamespace
) -> tuple[list[Scalar], list[Scalar]]:
    """Integrate the model from the first of `years`: hares and lynxes at each of them.

    `log_parameters` are the logarithms of `PARAMETERS`, so that every rate and population is
    positive whatever a minimizer tries. The classic Runge-Kutta method (Kutta, 1901) takes
    `STEPS_PER_YEAR` steps a year, also across gaps between the years.

    >>> import math
    >>> still = [math.log(p) for p in (0.5, 0.025, 0.8, 0.02, 40.0, 20.0)]  # an equilibrium
    >>> hares, lynxes = simulate(still, (1900.0, 1901.0), math)
    >>> round(hares[1], 6), round(lynxes[1], 6)
    (40.0, 20.0)
    """
    alpha, beta, gamma, delta, u, v = (m.exp(p) for p in log_parameters)
    hares, lynxes = [u], [v]
    for earlier, later in itertools.pairwise(years):
        steps = max(1, round(STEPS_PER_YEAR * (later - earlier)))
        h = (later - earlier) / steps
        half, sixth = h / 2, h / 6
        for _ in range(steps):
            du1 = (alpha - beta * v) * u
            dv1 = (delta * u - gamma) * v
            u2 = u + half * du1
            v2 = v + half * dv1
            du2 = (alpha - beta * v2) * u2
            dv2 = (delta * u2 - gamma) * v2
            u3 = u + half * du2
            v3 = v + half * dv2
            du3 = (alpha - beta * v3) * u3
            dv3 = (delta * u3 - gamma) * v3
            u4 = u + h * du3
            v4 = v + h * dv3
            du4 = (alpha - beta * v4) * u4
            dv4 = (delta * u4 - gamma) * v4
            u = u + sixth * (du1 + 2 * (du2 + du3) + du4)
            v = v + sixth * (dv1 + 2 * (dv2 + dv3) + dv4)
        hares.append(u)
        lynxes.append(v)
    return hares, lynxes


def residuals(log_parameters: Sequence[Scalar], table: Table, m: MathNamespace) -> list[Scalar]:
    """Return log(model / data): of the hares year by year, then of the lynxes.

    Where the parameters make a population overflow or cross zero there is no logarithm: `math`
    raises `ValueError` or `OverflowError`, `pyad.math` gives an infinity or NaN.
    """
    hares, lynxes = simulate(log_parameters, table.year, m)
    pairs = zip(hares + lynxes, table.hare + table.lynx, strict=True)
    return [m.log(population) - math.log(pelts) for population, pelts in pairs]


def residual_sum_of_squares(
    log_parameters: Sequence[Scalar], table: Table, m: MathNamespace
) -> Scalar:
    """Sum the squares of `residuals`: what the fit minimizes."""
    return sum(residual * residual for residual in residuals(log_parameters, table, m))


def read_table(path: str | os.PathLike[str] | None = None) -> Table:
    """Read the table in the CSV file `path`, or the packaged pelts.

    The first line names the columns; `year`, `hare` and `lynx` are needed, in any order and case,
    others are ignored. Lines that are blank or begin with `#` are skipped. Raises `TableError`.

    >>> table = read_table()
    >>> len(table.year), table.year[0], table.hare[0], table.lynx[0]
    (21, 1900.0, 30.0, 4.0)
    """
    if path is None:
        source = resources.files(__package__).joinpath("lynx_hare.csv")
        name, content = source.name, source.read_bytes()
    else:
        name = os.fspath(path)
        try:
            content = Path(path).read_bytes()
        except (OSError, ValueError) as error:  # ValueError: a NUL character in the path
            reason = getattr(error, "strerror", None) or str(error)
            raise TableError(f"{name}: cannot be read: {reason}") from error
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise TableError(f"{name}: is not a text file in UTF-8") from error
    rows = _numbered_rows(text, name)
    columns = _find_columns(rows, name)
    table: dict[str, list[float]] = {column: [] for column in COLUMNS}
    for line, cells in rows:
        for column, position in columns.items():
            cell = cells[position].strip() if position < len(cells) else ""
            table[column].append(_number(cell, column, f"{name}, line {line}, column {column}"))
        _check_years(table["year"], f"{name}, line {line}, column year")
    if len(table["year"]) < MIN_ROWS:
        found = f"{len(table['year'])} rows of numbers" if table["year"] else "no rows of numbers"
        raise TableError(f"{name}: {found}; six parameters need at least {MIN_ROWS} rows")
    return Table(*(tuple(table[column]) for column in COLUMNS))


def _numbered_rows(text: str, name: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the cells of each line that holds any, with its number."""
    for line, content in enumerate(text.splitlines(), start=1):
        if content.strip(" \t,;") and not content.lstrip().startswith("#"):
            try:
                yield line, next(csv.reader([content], skipinitialspace=True))
            except csv.Error as error:
                raise TableError(f"{name}, line {line}: {error}") from error


def _find_columns(rows: Iterator[tuple[int, list[str]]], name: str) -> dict[str, int]:
    """Find the position of each of `COLUMNS` in the first row."""
    line, cells = next(rows, (0, []))
    if not cells:
        raise TableError(f"{name}: the file is empty; it needs the columns {', '.join(COLUMNS)}")
    header = [cell.strip().lower() for cell in cells]
    for column in COLUMNS:
        if header.count(column) != 1:
            problem = "is missing" if column not in header else "occurs more than once"
            raise TableError(
                f"{name}, line {line}: column {column} {problem}; found: {_shown(', '.join(cells))}"
            )
    return {column: header.index(column) for column in COLUMNS}


def _number(cell: str, column: str, where: str) -> float:
    """Convert a cell; a count of pelts must have a logarithm."""
    if cell.lower() in ("", "na", "n/a", "nan", "null", "none"):
        raise TableError(f"{where}: a number is missing")
    try:
        number = float(cell)
    except ValueError:
        raise TableError(f"{where}: {_shown(cell)} is not a number") from None
    if not math.isfinite(number):
        raise TableError(f"{where}: {_shown(cell)} is not finite")
    if column != "year" and number < 0:
        raise TableError(f"{where}: {_shown(cell)} is negative")
    if column != "year" and number == 0:
        raise TableError(f"{where}: zero has no logarithm, and logarithms are what is fitted")
    if abs(number) > LARGEST or (column != "year" and number < 1 / LARGEST):
        raise TableError(
            f"{where}: {_shown(cell)} is out of range ({1 / LARGEST:g} to {LARGEST:g})"
        )
    return number


def _check_years(years: list[float], where: str) -> None:
    """Years, read so far, must increase, and not beyond what can be simulated."""
    if len(years) > 1 and years[-1] <= years[-2]:
        raise TableError(f"{where}: {years[-1]:g} does not come after {years[-2]:g}")
    if years[-1] - years[0] > MAX_SPAN:
        raise TableError(f"{where}: more than {MAX_SPAN:g} years after the first, {years[0]:g}")


def _shown(text: str) -> str:
    """Quote a stranger's text for a message: one line, short, escapes visible."""
    return ascii(text if len(text) <= 60 else text[:57] + "...")
