"""The small costs: one operation, one small gradient, leaves, recording and sweeping."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

import pyad
from bench.measure import Effort
from bench.problems import Problem, check_gradient
from bench.scalars import SMALL, operation_timer
from bench.tools import PyadEager, Tool


def test_operation(benchmark: BenchmarkFixture, tool: type[Tool], effort: Effort) -> None:
    """Some thousand products `x * y`."""
    benchmark.group = "one operation"
    with operation_timer(tool) as seconds:
        taken = benchmark.pedantic(seconds, rounds=effort.rounds, warmup_rounds=1)
    assert taken > 0.0
    benchmark.extra_info["nanoseconds"] = 1e9 * taken


def test_small_gradient(
    benchmark: BenchmarkFixture, differentiator: type[Tool], effort: Effort
) -> None:
    benchmark.group = SMALL.name
    call = differentiator.prepare(SMALL)
    check_gradient(SMALL, call())
    gradient = benchmark.pedantic(call, rounds=effort.rounds, iterations=100, warmup_rounds=1)
    check_gradient(SMALL, gradient)


@pytest.mark.parametrize("make", [pyad.vars, lambda values: list(map(abs, values))])
def test_leaves(
    benchmark: BenchmarkFixture, make: Callable[[list[float]], list[Any]], effort: Effort
) -> None:
    """Leaves in one call, beside as many new floats."""
    benchmark.group = "1000 leaves"
    values = [float(i) for i in range(1000)]
    leaves = benchmark.pedantic(
        make, args=(values,), rounds=effort.rounds, iterations=10, warmup_rounds=1
    )
    assert [float(getattr(leaf, "value", leaf)) for leaf in leaves] == values


def test_record(benchmark: BenchmarkFixture, problem: Problem, effort: Effort) -> None:
    """Recording alone; the sweep that ends it is not timed."""
    benchmark.group = f"pyad, {problem}"
    recorder = PyadEager(problem.start)
    recorded: list[Any] = []

    def end_recording() -> None:
        for y in recorded:
            check_gradient(problem, recorder.sweep(y))
        recorded.clear()

    def record() -> None:
        recorded.append(problem.function(recorder.begin(), recorder.functions))

    benchmark.pedantic(record, setup=end_recording, rounds=effort.rounds)
    end_recording()


def test_sweep(benchmark: BenchmarkFixture, problem: Problem, effort: Effort) -> None:
    """The sweep alone, over and over on one recording."""
    benchmark.group = f"pyad, {problem}"
    recorder = PyadEager(problem.start)
    y = problem.function(recorder.begin(), recorder.functions)
    gradient = benchmark.pedantic(
        lambda: pyad.gradient(y, recorder.leaves, retain_graph=True),
        rounds=effort.rounds,
        warmup_rounds=1,
    )
    check_gradient(problem, gradient)
    check_gradient(problem, recorder.sweep(y))
