"""What transforms cost: each as a multiple of a unit beside it, mostly one gradient."""

from __future__ import annotations

import contextlib
import functools
import importlib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

import pyad
from bench.measure import Effort, Ratio, interleaved
from pyad.demo.lotka_volterra import read_table, residual_sum_of_squares

__all__ = ["Case", "cases", "measure"]

Call = Callable[[], Any]

POINT = [math.log(p) for p in (0.55, 0.028, 0.84, 0.026, 33.0, 6.0)]
FIRST = [1.0, 0.0, 0.0, 0.0, 0.0, 0.0]


@dataclass(frozen=True)
class Case:
    """A transform, the unit it is measured in, and a check of its result."""

    name: str
    unit_name: str
    unit: Call
    call: Call
    check: Callable[[Any], bool]


def rosenbrock(x: Any) -> Any:
    """The sum over a chain, as a Python loop."""
    total = 0.0
    for i in range(len(x) - 1):
        total = total + 100.0 * (x[i + 1] - x[i] ** 2) ** 2 + (1.0 - x[i]) ** 2
    return total


def brown(x: Any) -> list[Any]:
    """Brown's almost-linear function, n to n (Moré, Garbow and Hillstrom, 1981, no. 27)."""
    n, total, product = len(x), sum(x), 1.0
    for a in x:
        product = product * a
    return [a + total - (n + 1) for a in x[:-1]] + [product - 1.0]


def brown_squared(x: Any) -> Any:
    """The sum of squares of `brown`."""
    return sum(residual * residual for residual in brown(x))


def _empty(x: float) -> None:
    """Nothing: the unit of overhead."""


def _close(found: Any, expected: Any) -> bool:
    return bool(np.allclose(found, expected, rtol=1e-8, atol=1e-8))


def _overhead(tool: str, grad: Callable[..., Any]) -> Case:
    """What a transform of `x * x` costs beside the function."""
    return Case(
        f"grad(f)(2.0), f = x * x, {tool}",
        "empty call",
        functools.partial(_empty, 2.0),
        functools.partial(grad(lambda x: x * x), 2.0),
        lambda found: float(found) == 4.0,
    )


def _peers() -> Iterator[Case]:
    for tool in ("autograd", "jax"):
        with contextlib.suppress(ImportError):
            yield _overhead(tool, importlib.import_module(tool).grad)


def cases(*, tiny: bool) -> list[Case]:
    """Every case; `tiny` shortens the chains."""
    table = read_table()
    length = 20 if tiny else 1000
    chain, fifty = [0.5] * length, [0.5] * 50

    def model(p: Any) -> Any:
        return residual_sum_of_squares(p, table, pyad.math)

    def plain() -> float:
        return float(residual_sum_of_squares(POINT, table, math))

    def six() -> Any:
        return model([pyad.Dual(p, row) for p, row in zip(POINT, np.eye(6), strict=True)]).tangents

    gradient, hessian = pyad.grad(model)(POINT), pyad.jacobian(pyad.grad(model))(POINT)
    banded, small = pyad.hessian(rosenbrock)(np.array(chain[:50])), pyad.grad(rosenbrock)
    lengths = str(length)
    return [
        Case(
            "jvp, Lotka-Volterra",
            "plain floats",
            plain,
            lambda: pyad.jvp(model, (POINT,), (FIRST,))[1],
            lambda found: _close(found, gradient[0]),
        ),
        Case("six tangents of it", "plain floats", plain, six, lambda t: _close(t, gradient)),
        Case(
            "hvp, Lotka-Volterra",
            "gradient",
            lambda: pyad.grad(model)(POINT),
            lambda: pyad.hvp(model, POINT, FIRST),
            lambda found: _close(found, hessian[0]),
        ),
        Case(
            f"hvp, Rosenbrock {lengths}",
            "gradient",
            lambda: small(chain),
            lambda: pyad.hvp(rosenbrock, chain, chain),
            lambda found: _close(found[:20], (banded @ chain[:50])[:20]) if length > 20 else True,
        ),
        Case(
            "hessian, Rosenbrock 50",
            "gradient",
            lambda: small(fifty),
            lambda: pyad.hessian(rosenbrock)(fifty),
            lambda found: _close(found, pyad.jacobian(small)(np.array(fifty))),
        ),
        Case(
            "jacobian, Brown 50 to 50",
            "gradient",
            lambda: pyad.grad(brown_squared)(fifty),
            lambda: pyad.jacobian(brown)(fifty),
            lambda found: _close(found[:-1], np.eye(50)[:-1] + 1.0),
        ),
        _overhead("pyad", pyad.grad),
        *_peers(),
    ]


def measure(case: Case, effort: Effort) -> Ratio:
    """The cost of a case in its unit; the result is checked first."""
    if not case.check(case.call()):
        raise AssertionError(f"{case.name} gives a wrong result")
    return interleaved(case.unit, {case.name: case.call}, effort)[case.name]
