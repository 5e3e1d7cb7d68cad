"""The small costs: one operation, one small gradient, making leaves, recording and sweeping."""

from __future__ import annotations

import statistics
import time
import timeit
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from bench.measure import Effort, Ratio, interleaved, seconds_per_call, settle
from bench.problems import Problem, check_gradient
from bench.tools import Plain, PyadEager, Tool

__all__ = [
    "SMALL",
    "Phases",
    "make_leaves",
    "operation_nanoseconds",
    "operation_timer",
    "phases",
    "small_gradients",
]

STATEMENTS = 20  # products in a row, so that the loop around them does not count
LOOPS = 200
CYCLES = 5  # gradients in one sample of the phases


def _small(variables: Sequence[Any], m: Any) -> Any:
    x, y = variables
    return m.log(x) + x * y - m.sin(y)


SMALL = Problem("log(x) + x y - sin(y)", 2, [2.0, 5.0], _small)
"""The function of the README."""


@contextmanager
def operation_timer(tool: type[Tool]) -> Iterator[Callable[[], float]]:
    """A function that gives the seconds of one product `x * y`; recordings end with the block."""
    with tool.operands(2.0, 5.0) as (x, y):
        timer = timeit.Timer(
            "; ".join(["x * y"] * STATEMENTS), "x, y = operands", globals={"operands": (x, y)}
        )
        yield lambda: timer.timeit(LOOPS) / (LOOPS * STATEMENTS)


def operation_nanoseconds(tools: list[type[Tool]], effort: Effort) -> dict[str, float]:
    """The time of `x * y` on two scalars of each tool: the shortest of several samples."""
    times: dict[str, list[float]] = {tool.name: [] for tool in tools}
    for _ in range(effort.rounds):
        for tool in tools:
            with operation_timer(tool) as seconds:
                seconds()
                times[tool.name].append(seconds())
    return {name: 1e9 * min(taken) for name, taken in times.items()}


def small_gradients(tools: list[type[Tool]], effort: Effort) -> dict[str, Ratio]:
    """Value and gradient of `SMALL`, as multiples of its value on plain floats."""
    contenders = {}
    for tool in tools:
        if tool is not Plain:
            contenders[tool.name] = tool.prepare(SMALL)
            check_gradient(SMALL, contenders[tool.name]())
    return interleaved(Plain.prepare(SMALL), contenders, effort)


def make_leaves(effort: Effort, n: int = 1000) -> Ratio:
    """`pyad.vars` of n floats, as a multiple of `list(map(abs, floats))`: as many new floats."""
    import pyad

    values = [float(i) for i in range(n)]
    contenders = {"vars": lambda: pyad.vars(values)}
    return interleaved(lambda: list(map(abs, values)), contenders, effort)["vars"]


@dataclass(frozen=True)
class Phases:
    """Where the time of a gradient goes, as multiples of the value on plain floats."""

    nodes: int
    record: float
    sweep: float
    record_nanoseconds: float
    """Per node, of which the interpreter has its share."""
    sweep_nanoseconds: float
    """Per node."""


def phases(problem: Problem, effort: Effort) -> Phases:
    """The recording and the sweep of pyad, timed separately."""
    value = Plain.prepare(problem)
    recorder = PyadEager(problem.start)
    nodes = 0

    def gradient() -> tuple[float, float]:
        nonlocal nodes
        began = time.perf_counter()
        y = problem.function(recorder.begin(), recorder.functions)
        recorded = time.perf_counter()
        nodes = len(y.tape)
        resumed = time.perf_counter()
        recorder.sweep(y)
        return recorded - began, time.perf_counter() - resumed

    times: list[tuple[float, float, float]] = []
    for _ in range(effort.rounds):
        settle(value)
        unit = seconds_per_call(value, CYCLES)
        settle(gradient)
        cycles = [gradient() for _ in range(CYCLES)]
        record, sweep = (sum(column) / CYCLES for column in zip(*cycles, strict=True))
        times.append((unit, record, sweep))
    return Phases(
        nodes=nodes,
        record=statistics.median(record / unit for unit, record, _ in times),
        sweep=statistics.median(sweep / unit for unit, _, sweep in times),
        record_nanoseconds=1e9 * min(record for _, record, _ in times) / nodes,
        sweep_nanoseconds=1e9 * min(sweep for _, _, sweep in times) / nodes,
    )
