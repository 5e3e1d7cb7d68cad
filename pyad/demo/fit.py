"""Least squares: SciPy's minimizer, with gradients from `pyad`.

The sum of squares has other valleys than the deepest: a model that runs out of step with the data
fits best by hardly moving. So the fit starts from several guesses, each read off the data, on the
first few cycles only, and then follows the best of them along the whole series.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

import pyad
from pyad.demo.lotka_volterra import (
    PARAMETERS,
    STEPS_PER_YEAR,
    Table,
    residual_sum_of_squares,
    residuals,
)

__all__ = ["Fit", "FitError", "Progress", "fit", "starting_points"]

Vector = npt.NDArray[np.float64]

PERIOD_FACTORS = (0.7, 0.8, 0.9, 1.0, 1.15)
"""Tried times the period of the data: a large cycle is slower than 2 pi / sqrt(alpha gamma)."""

FIRST_CYCLES = 2.5  # cycles in the first window: longer ones hold more false valleys
WINDOW_GROWTH = 1.6  # each later window over the one before


class FitError(ValueError):
    """No starting point gives a simulation without overflow."""


class Progress(NamedTuple):
    """What a caller hears after each iteration of the minimizer."""

    stage: str
    iteration: int
    residual_sum: float


class Fit(NamedTuple):
    """The minimum and what it took; vectors are in the order of `PARAMETERS`."""

    table: Table
    log_parameters: tuple[float, ...]
    log_errors: tuple[float, ...]  # standard errors of the logarithms; NaN if not determined
    residual_sum: float
    iterations: int
    gradients: int
    starts: int
    seconds: float
    converged: bool

    @property
    def parameters(self) -> tuple[float, ...]:
        """The parameters themselves."""
        return tuple(math.exp(p) for p in self.log_parameters)

    @property
    def standard_errors(self) -> tuple[float, ...]:
        """To first order: d exp(p) = exp(p) dp."""
        pairs = zip(self.parameters, self.log_errors, strict=True)
        return tuple(parameter * error for parameter, error in pairs)

    @property
    def resolved(self) -> bool:
        """Whether a step of the integration is short against the times 1/alpha and 1/gamma."""
        alpha, _, gamma, *_ = self.parameters
        return max(alpha, gamma) < STEPS_PER_YEAR

    @property
    def degrees_of_freedom(self) -> int:
        """Numbers in the table less parameters."""
        return 2 * len(self.table.year) - len(PARAMETERS)

    @property
    def residual_sd(self) -> float:
        """The residual standard deviation, in units of the natural logarithm."""
        return math.sqrt(self.residual_sum / self.degrees_of_freedom)


class _Objective:
    """The residual sum of squares and its gradient, as `minimize(..., jac=True)` wants them.

    Where the simulation overflows or a population crosses zero, the value is a finite wall higher
    than the start, and flat: a line search interpolates back from it, where an infinity would
    turn its next step into NaN.
    """

    def __init__(self, table: Table, start: Vector) -> None:
        self.table = table
        self.leaves = pyad.vars(start.tolist())
        self.calls = 0
        self.lowest = self.wall = math.inf
        at_start, _ = self(start)
        self.wall = 10.0 * at_start + 10.0

    def __call__(self, log_parameters: Vector) -> tuple[float, Vector]:
        self.calls += 1
        for leaf, value in zip(self.leaves, log_parameters.tolist(), strict=True):
            leaf.value = value
        total = residual_sum_of_squares(self.leaves, self.table, pyad.math)
        gradient = np.array(pyad.gradient(total, self.leaves))  # frees the recording, so always
        value = float(total.value)
        if not (value < self.wall and np.isfinite(gradient).all()):
            return self.wall, np.zeros_like(gradient)
        self.lowest = min(self.lowest, value)
        return value, gradient


class _Minimizer:
    """Runs of SciPy's BFGS, counted together and reported on."""

    def __init__(self, progress: Callable[[Progress], None] | None) -> None:
        self.progress = progress
        self.iterations = 0
        self.gradients = 0

    def __call__(self, table: Table, start: Vector, tolerance: float, stage: str) -> Any:
        """SciPy's result from `start`, or None where the start itself has no finite value."""
        from scipy.optimize import minimize

        objective = _Objective(table, start)
        if not math.isfinite(objective.lowest):
            return None
        iteration = 0

        def callback(_: Vector) -> None:
            nonlocal iteration
            iteration += 1
            if self.progress is not None:
                self.progress(Progress(stage, iteration, objective.lowest))

        result = minimize(
            objective,
            start,
            jac=True,
            method="BFGS",
            callback=callback,
            options={"gtol": tolerance, "maxiter": 200},
        )
        self.iterations += result.nit
        self.gradients += objective.calls
        return result


def fit(table: Table, progress: Callable[[Progress], None] | None = None) -> Fit:
    """Find the parameters with the least sum of squared residuals of the logarithms.

    Needs SciPy. Raises `FitError` when no starting point can be simulated.
    """
    began = time.perf_counter()
    minimizer = _Minimizer(progress)
    sizes = list(_windows(table))
    starts = starting_points(table)
    window = _head(table, sizes[0])
    results = [
        minimizer(window, start, 1e-2, f"start {number} of {len(starts)}")
        for number, start in enumerate(starts, start=1)
    ]
    results = [result for result in results if result is not None]
    if not results:
        raise FitError("the model overflows from every starting point that the data suggest")
    best = min(results, key=lambda result: float(result.fun))
    for size in sizes[1:-1]:
        longer = minimizer(_head(table, size), best.x, 1e-2, f"first {size} rows")
        best = longer if longer is not None else best
    final = minimizer(table, best.x, 1e-7, "all rows" if len(sizes) > 1 else "best start")
    if final is None:
        raise FitError("the model fits the first rows only and overflows on all of them")
    return Fit(
        table=table,
        log_parameters=tuple(final.x.tolist()),
        log_errors=_log_errors(final.x, float(final.fun), table),
        residual_sum=float(final.fun),
        iterations=minimizer.iterations,
        gradients=minimizer.gradients,
        starts=len(starts),
        seconds=time.perf_counter() - began,
        converged=bool(np.abs(final.jac).max() < 1e-4 * max(1.0, final.fun)),
    )


def starting_points(table: Table) -> list[Vector]:
    """Guesses of the log-parameters, read off the data.

    Over whole cycles the means are the equilibrium: hares gamma/delta, lynxes alpha/beta
    (Volterra's second law). A small cycle has the period 2 pi / sqrt(alpha gamma), and the
    variances of the logarithms stand as alpha to gamma. Another guess comes from regressing the
    growth of one species on the mean of the other between two rows, for
    d log u / dt = alpha - beta v is linear.
    """
    year, hare, lynx = (np.array(column) for column in table)
    span = year[-1] - year[0]
    hares, lynxes = (np.diff(year) @ (n[1:] + n[:-1]) / (2 * span) for n in (hare, lynx))
    spread = np.var(np.log(hare)) / max(float(np.var(np.log(lynx))), 1e-12)
    ratio = math.sqrt(min(max(float(spread), 0.1), 10.0))
    points = []
    for factor in PERIOD_FACTORS:
        frequency = 2 * math.pi / (factor * _period(table))
        alpha, gamma = frequency * ratio, frequency / ratio
        points.append([alpha, alpha / lynxes, gamma, gamma / hares, hare[0], lynx[0]])
    alpha, minus_beta = _growth(year, hare, lynx)
    minus_gamma, delta = _growth(year, lynx, hare)
    regressed = [alpha, -minus_beta, -minus_gamma, delta, hare[0], lynx[0]]
    if min(regressed) > 0:
        points.insert(0, regressed)
    return [np.log(point) for point in points]


def _growth(year: Vector, one: Vector, other: Vector) -> tuple[float, float]:
    """Intercept and slope of d log(one)/dt on `other`, by least squares over the gaps."""
    gaps = np.diff(year)
    design = np.stack([gaps, gaps * (other[1:] + other[:-1]) / 2], axis=1)
    solution, *_ = np.linalg.lstsq(design, np.diff(np.log(one)), rcond=None)
    return float(solution[0]), float(solution[1])


def _period(table: Table) -> float:
    """Find the period whose sine and cosine explain most of the logarithms' variance.

    The least-squares periodogram (Lomb, "Least-squares frequency analysis of unequally spaced
    data", 1976), which unlike an autocorrelation does not need equal gaps between the years.
    """
    year = np.array(table.year)
    logs = np.log(np.array([table.hare, table.lynx])).T
    span = table.year[-1] - table.year[0]
    shortest = 3 * span / (len(year) - 1)  # three rows a cycle
    best, best_period = math.inf, span
    for frequency in np.linspace(0.7 / span, 1 / shortest, 4 * len(year)):
        phase = 2 * math.pi * frequency * (year - year[0])
        design = np.stack([np.ones_like(phase), np.cos(phase), np.sin(phase)], axis=1)
        solution, *_ = np.linalg.lstsq(design, logs, rcond=None)
        unexplained = float(np.sum((logs - design @ solution) ** 2))
        if unexplained < best:
            best, best_period = unexplained, float(1 / frequency)
    return best_period


def _windows(table: Table) -> Iterator[int]:
    """Numbers of leading rows to fit in turn; the last is all of them."""
    first = table.year[0]
    span = FIRST_CYCLES * _period(table)
    while True:
        rows = sum(year - first <= span for year in table.year)
        if rows >= 8 or rows == len(table.year):
            yield rows
        if rows == len(table.year):
            return
        span *= WINDOW_GROWTH


def _head(table: Table, rows: int) -> Table:
    """Cut the table after its first rows."""
    return Table(*(column[:rows] for column in table))


def _log_errors(log_parameters: Sequence[float], total: float, table: Table) -> tuple[float, ...]:
    """Estimate standard errors: the square roots of the diagonal of s^2 (J^T J)^-1.

    J is the Jacobian of the residuals: one recording, swept once for each of them (Seber and Wild,
    *Nonlinear Regression*, 1989, section 2.1).
    """
    leaves = pyad.vars([float(p) for p in log_parameters])
    rows = residuals(leaves, table, pyad.math)
    jacobian = np.array([pyad.gradient(row, leaves, retain_graph=True) for row in rows[:-1]])
    jacobian = np.vstack([jacobian, pyad.gradient(rows[-1], leaves)])
    _, singular, directions = np.linalg.svd(jacobian, full_matrices=False)
    if not singular[-1] > 1e-10 * singular[0]:
        return (math.nan,) * len(leaves)
    variance = total / (len(rows) - len(leaves))
    return tuple(np.sqrt(variance * np.sum((directions.T / singular) ** 2, axis=1)).tolist())
