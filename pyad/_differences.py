"""Derivatives by central differences at several steps, extrapolated: the check on all the others.

Source: C. J. F. Ridders, "Accurate computation of F'(x) and F'(x)F''(x)", Advances in Engineering
Software 4 (1982). His table of Richardson extrapolations is kept, and his estimate of the error:
how far neighbours in the table differ. Added are the rounding of the values, which no neighbour
shows if all share it, and a choice per number, so that one table serves a vector.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

__all__ = ["FIRST", "Estimate", "along", "column", "scales"]

Floats = npt.NDArray[np.float64]

FIRST = 0.125
"""The first step, as a part of the size of the number."""
_RATIO = 4.0
_LAST = 1e-10  # sin(1e8) changes on a scale of 1e-8 of its argument
_ORDERS = 4
_SETTLED = 1e-10
_EPS = float(np.finfo(np.float64).eps)


class Estimate(NamedTuple):
    """Derivatives and how far they may be off; NaN and infinity where there is none."""

    value: Floats
    error: Floats
    size: Floats  # of what was subtracted, in the unit of the derivative

    def scaled(self, factor: float | Floats) -> Estimate:
        """The estimate of a positive multiple."""
        return Estimate(self.value * factor, self.error * factor, self.size * factor)

    def replaced(self, where: npt.NDArray[np.bool_], other: Estimate) -> Estimate:
        """The other estimate where the mask is set."""
        return Estimate(*(np.where(where, b, a) for a, b in zip(self, other, strict=True)))


def along(phi: Callable[[float], Floats], first: float = FIRST, ratio: float = _RATIO) -> Estimate:
    """The derivative of the vector `phi(t)` at t = 0, at steps `first`, `first / ratio`, ...

    `phi` gives NaN where it is not defined. It is evaluated six to forty times: the steps end when
    the error is small, or small enough and growing, which is rounding. Errors are compared as
    parts of the derivative: steps beyond the scale of `phi` see little change, and a small error.
    """
    y = phi(0.0)
    unknown = np.full(y.shape, np.inf)
    best, best_part = Estimate(np.full(y.shape, np.nan), unknown, np.zeros(y.shape)), unknown
    above: list[Floats] = []
    t = first
    with np.errstate(all="ignore"):
        while t > _LAST:
            plus, minus = phi(t), phi(-t)
            size = np.maximum(np.abs(plus), np.abs(minus))
            best = best._replace(size=np.fmax(best.size, size))
            row, before, smallest = [(plus - minus) / (2 * t)], best_part, unknown
            for order, other in enumerate(above[: _ORDERS - 1], start=1):
                factor = ratio ** (2 * order)
                last = row[-1]
                value = (factor * last - other) / (factor - 1)
                row.append(value)
                rounding = 2 * _EPS * (size + np.abs(value)) / t
                error = np.maximum(np.abs(value - last), np.abs(value - other)) + rounding
                part = error / np.fmax(np.abs(value), 1e-6 * best.size)
                part = np.where(np.isfinite(part), part, np.where(error == 0, 0.0, np.inf))
                smallest = np.minimum(smallest, part)
                best = best.replaced(part < best_part, Estimate(value, error, best.size))
                best_part = np.minimum(best_part, part)
            above = row
            settled = best_part <= _SETTLED
            in_noise = (before <= 1e-7) & (smallest > 10 * before)
            if np.all(settled | in_noise):
                break
            t /= ratio
    return best


def scales(numbers: Floats) -> Floats:
    """The size of each number as a power of 2, by which steps are exact; that of all for a 0."""
    size = np.abs(numbers)
    known = size[(size > 0) & np.isfinite(size)]
    usual = float(np.median(known)) if known.size else 1.0
    size = np.where((size > 0) & np.isfinite(size), size, usual)
    rounded: Floats = np.exp2(np.clip(np.round(np.log2(size)), -900, 900))
    return rounded


def column(
    at: Callable[[Floats], Floats], i: int, size: float, n: int, first: float, ratio: float = _RATIO
) -> Estimate:
    """The derivative of the vector `at(steps)` in entry `i` of n, for a number of this size.

    If rounding leaves too little of it, as in sin(x) + 1 at 1e-12, once more with steps up to 1/8.
    """

    def moved(scale: float) -> Estimate:
        def phi(t: float) -> Floats:
            steps = np.zeros(n)
            steps[i] = t * scale
            return at(steps)

        return along(phi, first, ratio).scaled(1 / scale)

    estimate = moved(size)
    poor = estimate.error > 1e-6 * np.abs(estimate.value)
    if size < 1 and np.any(poor & (estimate.error > 0)):
        wide = moved(1.0)
        estimate = estimate.replaced(poor & (wide.error < 0.1 * estimate.error), wide)
    return estimate
