"""The data and the fitted curves: as text for a terminal, and as a PNG by matplotlib."""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from pyad.demo.fit import Fit
from pyad.demo.lotka_volterra import STEPS_PER_YEAR, simulate

__all__ = ["ASCII", "UNICODE", "Style", "draw_png", "terminal_chart"]

Vector = npt.NDArray[np.float64]

HEIGHT = 7  # character rows of a panel
LABEL_WIDTH = 8
OVERSAMPLING = 8  # points of the curve in a column of dots, so that no peak is missed
MAX_POINTS = 20_000  # of the curve


class Style(NamedTuple):
    """The characters of a chart. A character cell holds `dots`, as numbers to add up."""

    dots: tuple[tuple[int, ...], ...]  # [row][column]
    point: str
    vertical: str
    corner: str
    horizontal: str

    def cell(self, total: int) -> str:
        """Give the character for the dots that are set."""
        if total == 0:
            return " "
        return "." if len(self.dots) == 1 else chr(0x2800 + total)  # U+2800: Braille patterns


UNICODE = Style(((1, 8), (2, 16), (4, 32), (64, 128)), "●", "│", "└", "─")
ASCII = Style(((1,),), "o", "|", "+", "-")


class Curves(NamedTuple):
    """The fitted model at every step of its integration."""

    year: Vector
    hare: Vector
    lynx: Vector


def fitted_curves(fit: Fit) -> Curves:
    """Simulate the fitted model between the rows too; at the rows it is what was fitted."""
    years = [fit.table.year[0]]
    span = fit.table.year[-1] - fit.table.year[0]
    stride = max(1, math.ceil(span * STEPS_PER_YEAR / MAX_POINTS))  # steps from point to point
    for earlier, later in itertools.pairwise(fit.table.year):
        steps = max(1, round(STEPS_PER_YEAR * (later - earlier)))
        step = (later - earlier) / steps
        years += [earlier + step * i for i in range(stride, steps, stride)]
        years.append(later)
    hares, lynxes = simulate(fit.log_parameters, years, math)
    return Curves(np.array(years), np.array(hares), np.array(lynxes))


def terminal_chart(fit: Fit, width: int = 80, style: Style = UNICODE) -> str:
    """Two panels, hares over lynxes, `width` columns wide (but 50 to 100)."""
    columns = min(max(width, 50), 100) - LABEL_WIDTH - 5  # 3 for the end of the last year
    curves = fitted_curves(fit)
    lines: list[str] = []
    for name, data, curve in (
        ("hare", fit.table.hare, curves.hare),
        ("lynx", fit.table.lynx, curves.lynx),
    ):
        top = max(*data, float(curve.max()))
        cells = _dots(curves.year, curve / top, columns, style)
        down = len(style.dots)
        for year, value in zip(fit.table.year, data, strict=True):
            row = round((1 - value / top) * (HEIGHT * down - 1)) // down
            cells[row][_position(year, curves.year, columns)] = style.point
        labels = [f"{top:.3g}", *[""] * (HEIGHT - 2), "0"]
        lines.append(f"{name:>{LABEL_WIDTH}} {style.point} data, curve: fit (thousand pelts)")
        for label, line in zip(labels, cells, strict=True):
            lines.append(f"{label:>{LABEL_WIDTH}} {style.vertical}{''.join(line)}".rstrip())
    lines.append(" " * LABEL_WIDTH + f" {style.corner}{style.horizontal * columns}")
    lines.append(" " * (LABEL_WIDTH + 2) + _year_labels(curves.year, columns))
    return "\n".join(lines)


def _dots(year: Vector, heights: Vector, columns: int, style: Style) -> list[list[str]]:
    """Character cells with the curve; `heights` are between 0 and 1.

    Each column of dots is filled from the lowest to the highest point of the curve within it.
    """
    down, across = len(style.dots), len(style.dots[0])
    rows, samples = HEIGHT * down, columns * across * OVERSAMPLING
    curve = np.interp(np.linspace(year[0], year[-1], samples + 1), year, heights)
    row_of = np.rint((1 - curve) * (rows - 1)).astype(int)
    totals = [[0] * columns for _ in range(HEIGHT)]
    for x in range(columns * across):
        within = row_of[x * OVERSAMPLING : (x + 1) * OVERSAMPLING + 1]
        for y in range(int(within.min()), int(within.max()) + 1):
            totals[y // down][x // across] |= style.dots[y % down][x % across]
    return [[style.cell(total) for total in row] for row in totals]


def _position(year: float, years: Vector, columns: int) -> int:
    """Give the column of a year."""
    return min(int((year - years[0]) / (years[-1] - years[0]) * columns), columns - 1)


def _year_labels(years: Vector, columns: int) -> str:
    """Round years under their columns, as many as fit."""
    first, last = float(years[0]), float(years[-1])
    least = (last - first) * 10 / columns
    power = 10.0 ** math.floor(math.log10(least))
    step = next(n * power for n in (1, 2, 5, 10, 20) if n * power >= least)
    text = ""
    for i in range(math.ceil(first / step), math.floor(last / step) + 1):
        label, column = f"{i * step:.6g}", _position(i * step, years, columns)
        if column >= len(text) and column + len(label) <= columns + 3:
            text = text.ljust(column) + label + " "
    return text.rstrip()


def draw_png(path: str | os.PathLike[str], fit: Fit) -> None:
    """Both species over the years, and against each other, to the file `path`.

    Needs matplotlib; leaves its global state alone. Raises `OSError` as `open` does.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    curves, table = fitted_curves(fit), fit.table
    figure = Figure(figsize=(11, 5), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(2, 2, width_ratios=(1.7, 1))
    series: tuple[tuple[str, str, Sequence[float], Vector], ...] = (
        ("hare", "tab:brown", table.hare, curves.hare),
        ("lynx", "tab:blue", table.lynx, curves.lynx),
    )
    for row, (name, color, data, curve) in enumerate(series):
        axes = figure.add_subplot(grid[row, 0])
        axes.plot(curves.year, curve, color=color, label="fitted model")
        axes.plot(table.year, data, "o", color=color, mfc="white", label="data")
        axes.set_ylabel(f"{name}, thousand pelts")
        axes.set_ylim(bottom=0)
        axes.xaxis.set_major_locator(MaxNLocator(steps=[1, 2, 5, 10]))
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1), frameon=False, ncols=2)
    axes.set_xlabel("year")
    axes = figure.add_subplot(grid[:, 1])
    axes.plot(curves.hare, curves.lynx, color="tab:green", label="fitted model")
    axes.plot(table.hare, table.lynx, "o:", color="0.5", mfc="white", lw=0.8, label="data")
    axes.set_xlabel("hare, thousand pelts")
    axes.set_ylabel("lynx, thousand pelts")
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), frameon=False, ncols=2)
    figure.suptitle(
        f"Lotka-Volterra, least squares on logarithms "
        f"(residual standard deviation {fit.residual_sd:.3f})"
    )
    figure.savefig(path, format="png")
