"""What one gradient costs: `pyad`, finite differences and a pure-Python tape, side by side.

The unit is one evaluation of the model on plain floats in the same run. The contenders take turns
within every round, so that a machine that slows down half-way slows all of them, and the median
over the rounds is taken.
"""

from __future__ import annotations

import math
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import pyad
from pyad.demo import pure_tape
from pyad.demo.lotka_volterra import Table, residual_sum_of_squares

__all__ = ["Cost", "central_differences", "gradient_costs"]

Gradient = Callable[[Sequence[float]], list[float]]

AWAY = 0.01  # from the optimum, where all gradients are zero and nothing could be compared
MIN_ROUNDS, MAX_ROUNDS = 5, 201
SETTLE = 8e-3  # seconds


class Cost(NamedTuple):
    """One row of the table; `multiple` is of plain floats, `difference` relative to pyad's."""

    name: str
    seconds: float
    multiple: float
    difference: float | None


def gradient_costs(
    log_parameters: Sequence[float], table: Table, budget: float = 1.5
) -> list[Cost]:
    """Plain floats (the value alone), then each way to a gradient, near `log_parameters`.

    Takes about `budget` seconds, more where five rounds take longer. The difference is the largest
    over the six derivatives, relative to the largest derivative.
    """
    point = [p + AWAY for p in log_parameters]
    if math.isnan(_on_floats(point, table)):
        point = list(log_parameters)
    contenders: dict[str, Gradient] = {
        "pyad": _by_pyad(point, table),
        "central finite differences": lambda x: central_differences(x, table),
        "pure-Python tape": lambda x: _by_pure_tape(x, table),
    }
    gradients = {name: contender(point) for name, contender in contenders.items()}
    plain: list[float] = []
    times: dict[str, list[float]] = {name: [] for name in contenders}
    deadline = time.perf_counter() + budget
    while len(plain) < MIN_ROUNDS or (time.perf_counter() < deadline and len(plain) < MAX_ROUNDS):
        plain.append(_timed(lambda x: [_on_floats(x, table)], point))
        for name, contender in contenders.items():
            times[name].append(_timed(contender, point))
    unit = statistics.median(plain)
    costs = [Cost("plain floats, value only", unit, 1.0, None)]
    for name, taken in times.items():
        seconds = statistics.median(taken)
        difference = None if name == "pyad" else _difference(gradients[name], gradients["pyad"])
        costs.append(Cost(name, seconds, seconds / unit, difference))
    return costs


def central_differences(log_parameters: Sequence[float], table: Table) -> list[float]:
    """(f(x + h) - f(x - h)) / 2h for each parameter: twelve evaluations on plain floats.

    h is the cube root of the machine epsilon, which balances truncation against rounding (Press et
    al., *Numerical Recipes*, 3rd ed., section 5.7).
    """
    gradient = []
    for i, x in enumerate(log_parameters):
        h = sys.float_info.epsilon ** (1 / 3) * max(1.0, abs(x))
        above, below = list(log_parameters), list(log_parameters)
        above[i], below[i] = x + h, x - h
        rise = _on_floats(above, table) - _on_floats(below, table)
        gradient.append(rise / (above[i] - below[i]))
    return gradient


def _on_floats(log_parameters: Sequence[float], table: Table) -> float:
    """Evaluate the residual sum of squares; NaN where `math` refuses a logarithm."""
    try:
        return float(residual_sum_of_squares(log_parameters, table, math))
    except (ValueError, OverflowError):
        return math.nan


def _by_pyad(start: Sequence[float], table: Table) -> Gradient:
    """Record and sweep, with the leaves made once, as in the fit."""
    leaves = pyad.vars(list(start))

    def gradient(log_parameters: Sequence[float]) -> list[float]:
        for leaf, value in zip(leaves, log_parameters, strict=True):
            leaf.value = value
        total = residual_sum_of_squares(leaves, table, pyad.math)
        return list(pyad.gradient(total, leaves))

    return gradient


def _by_pure_tape(log_parameters: Sequence[float], table: Table) -> list[float]:
    """Record and sweep in Python."""
    leaves = [pure_tape.Node(p) for p in log_parameters]
    return pure_tape.gradient(residual_sum_of_squares(leaves, table, pure_tape), leaves)


def _timed(call: Gradient, point: Sequence[float]) -> float:
    """Measure the seconds of one call, after some that let CPython adapt its bytecode to it."""
    settled = time.perf_counter() + SETTLE
    while time.perf_counter() < settled:
        call(point)
    began = time.perf_counter()
    call(point)
    return time.perf_counter() - began


def _difference(gradient: Sequence[float], reference: Sequence[float]) -> float:
    """Give the largest difference, relative to the largest derivative."""
    largest = max(abs(g - r) for g, r in zip(gradient, reference, strict=True))
    return largest / max(max(map(abs, reference)), sys.float_info.min)
