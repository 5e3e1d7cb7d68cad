"""The problems, each written once as ordinary Python on floats.

A function takes the variables and a namespace `m` that holds exp, log, sqrt, sin, cos, tanh and
relu, so that every tool can bring its own. None of them branches on a variable: a tool that records
symbols (CasADi) can take them all. Data are made here from fixed seeds.

`check_gradient` compares a tool's answer with the complex-step derivative (Squire and Trapp, "Using
complex variables to estimate derivatives of real functions", 1998), which is exact to rounding and
needs no differentiation tool.
"""

from __future__ import annotations

import cmath
import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from types import ModuleType
from typing import Any

from pyad.demo.lotka_volterra import Table, read_table, residual_sum_of_squares

__all__ = ["FUNCTIONS", "Problem", "check_gradient", "namespace", "problems"]

Function = Callable[[Sequence[Any], Any], Any]
Sample = tuple[tuple[float, float], int]

FUNCTIONS = ("exp", "log", "sqrt", "sin", "cos", "tanh", "relu")
"""What a namespace `m` holds."""

STEP = 1e-100  # of the complex step: its square vanishes beside any number that occurs here
TOLERANCE = 1e-9  # relative to the largest derivative; what the tools show is 1e-13 and better
COORDINATES = 8  # checked one by one; a random direction covers the others


@dataclass(frozen=True)
class Problem:
    """A scalar function of several variables, and the point at which to differentiate it."""

    name: str
    size: int
    start: list[float]
    function: Function

    def __str__(self) -> str:
        return f"{self.name} ({self.size})"


def problems(*, tiny: bool = False) -> list[Problem]:
    """All problems, in the size that is measured or in one that only exercises the code."""
    return [
        rosenbrock(20 if tiny else 1000),
        lotka_volterra(2 if tiny else 20),
        garch(20 if tiny else 1000),
        network(2 if tiny else 10),
    ]


def rosenbrock(n: int) -> Problem:
    """Rosenbrock's valley in n variables, summed in a loop."""

    def function(x: Sequence[Any], m: Any) -> Any:
        total = 0.0
        for i in range(len(x) - 1):
            total = total + 100.0 * (x[i + 1] - x[i] ** 2) ** 2 + (1.0 - x[i]) ** 2
        return total

    return Problem("Rosenbrock", n, [math.sin(i) for i in range(n)], function)


def lotka_volterra(years: int) -> Problem:
    """The fit of the demo: 20 Runge-Kutta steps a year, and the sum of squared log residuals."""
    table = Table(*(column[: years + 1] for column in read_table()))
    start = [math.log(p) for p in (0.55, 0.028, 0.84, 0.026, 30.0, 4.0)]
    return Problem(
        "Lotka-Volterra",
        years,
        start,
        lambda x, m: residual_sum_of_squares(x, table, m),
    )


def garch(n: int) -> Problem:
    """The negative log-likelihood of n returns in Bollerslev's GARCH(1,1) model (1986)."""
    generator = random.Random(20)
    omega, alpha, beta = 0.02, 0.08, 0.9
    returns = []
    variance = omega / (1.0 - alpha - beta)
    for _ in range(n):
        returns.append(math.sqrt(variance) * generator.gauss(0.0, 1.0))
        variance = omega + alpha * returns[-1] ** 2 + beta * variance

    def function(x: Sequence[Any], m: Any) -> Any:
        omega, alpha, beta = x
        total = 0.0
        h = omega / (1.0 - alpha - beta)
        for r in returns:
            total = total + m.log(h) + r**2 / h
            h = omega + alpha * r**2 + beta * h
        return 0.5 * total

    return Problem("GARCH(1,1)", n, [0.03, 0.1, 0.85], function)


def network(samples: int) -> Problem:
    """The demo of micrograd, scalar by scalar: a 2-16-16-1 network, max-margin loss, two moons."""
    widths = (2, 16, 16, 1)
    generator = random.Random(1337)
    start: list[float] = []
    for inputs, outputs in pairwise(widths):
        for _ in range(outputs):
            start += [generator.uniform(-1.0, 1.0) for _ in range(inputs)] + [0.0]
    points = _two_moons(samples, generator)

    def score(x: Sequence[Any], point: Sequence[float], m: Any) -> Any:
        weights = iter(x)
        values: Sequence[Any] = point
        for width in widths[1:]:
            outputs = []
            for _ in range(width):
                total = sum(next(weights) * value for value in values) + next(weights)
                outputs.append(total if width == widths[-1] else m.relu(total))
            values = outputs
        return values[0]

    def function(x: Sequence[Any], m: Any) -> Any:
        losses = [m.relu(1.0 - label * score(x, point, m)) for point, label in points]
        return sum(losses) * (1.0 / len(losses)) + 1e-4 * sum(weight * weight for weight in x)

    return Problem("network 2-16-16-1", samples, start, function)


def _two_moons(n: int, generator: random.Random) -> list[Sample]:
    """Points of two interleaved half circles, with noise, labelled 1 and -1 in turn."""
    points: list[Sample] = []
    for i in range(n):
        angle = generator.uniform(0.0, math.pi)
        x, y = math.cos(angle), math.sin(angle)
        if i % 2:
            x, y = 1.0 - x, 0.5 - y
        point = (x + generator.gauss(0.0, 0.1), y + generator.gauss(0.0, 0.1))
        points.append((point, -1 if i % 2 else 1))
    return points


def namespace(source: Any, **functions: Callable[[Any], Any]) -> ModuleType:
    """A namespace `m`: each of `FUNCTIONS` from `functions`, else from `source`.

    It is a module, as `math` is, because the interpreter looks up `m.log` faster in a module than
    in any other object, and no tool is to profit from that alone.
    """
    module = ModuleType("functions")
    for name in FUNCTIONS:
        setattr(module, name, functions[name] if name in functions else getattr(source, name))
    return module


def check_gradient(problem: Problem, gradient: Sequence[float]) -> None:
    """Raise `AssertionError`, naming the variable, unless `gradient` is right.

    Some coordinates are compared one by one, all of them together along a random direction.
    """
    n = len(problem.start)
    assert len(gradient) == n, f"{problem}: {len(gradient)} derivatives of {n} variables"
    scale = max(1.0, max(map(abs, gradient)))
    for i in sorted({j * (n - 1) // (COORDINATES - 1) for j in range(COORDINATES)}):
        expected = _complex_step(problem, [float(j == i) for j in range(n)])
        assert abs(gradient[i] - expected) <= TOLERANCE * scale, (
            f"{problem}: derivative {i} is {expected!r}, given {gradient[i]!r}"
        )
    generator = random.Random(3)
    direction = [generator.uniform(-1.0, 1.0) for _ in range(n)]
    expected = _complex_step(problem, direction)
    given = math.fsum(g * d for g, d in zip(gradient, direction, strict=True))
    assert abs(given - expected) <= TOLERANCE * scale * math.sqrt(n), (
        f"{problem}: derivative along a random direction is {expected!r}, given {given!r}"
    )


def _complex_step(problem: Problem, direction: Sequence[float]) -> float:
    """The derivative along `direction`: the imaginary part of f(start + ih direction) / h."""
    point = [complex(x, STEP * d) for x, d in zip(problem.start, direction, strict=True)]
    value = problem.function(point, namespace(cmath, relu=_complex_relu))
    return float(value.imag) / STEP


def _complex_relu(x: complex) -> complex:
    return x if x.real > 0.0 else 0.0
