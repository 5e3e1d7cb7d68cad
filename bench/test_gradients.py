"""Problem x tool: the gradient is right, and then how long it takes."""

from __future__ import annotations

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from bench.measure import Effort, seconds_per_call
from bench.problems import Problem, check_gradient
from bench.tools import Plain, PyadEager, Tool


def test_gradient(
    benchmark: BenchmarkFixture, problem: Problem, differentiator: type[Tool], effort: Effort
) -> None:
    benchmark.group = str(problem)
    call = differentiator.prepare(problem)
    check_gradient(problem, call())
    check_gradient(problem, call())  # the second recording may differ from the first
    rounds = min(effort.rounds, max(3, int(effort.budget / seconds_per_call(call))))
    gradient = benchmark.pedantic(call, rounds=rounds)
    check_gradient(problem, gradient)


def test_value(benchmark: BenchmarkFixture, problem: Problem, effort: Effort) -> None:
    """The unit of the ratios, in the same groups."""
    benchmark.group = str(problem)
    benchmark.pedantic(Plain.prepare(problem), rounds=effort.rounds, warmup_rounds=1)


def test_check_rejects(problem: Problem) -> None:
    """The check of the gradients sees one derivative that is wrong, wherever it stands."""
    gradient = PyadEager.prepare(problem)()
    n = len(gradient)
    for i in {0, n // 3, n - 1}:
        wrong = list(gradient)
        wrong[i] += 1e-5 * max(1.0, max(map(abs, gradient)))
        with pytest.raises(AssertionError, match="derivative"):
            check_gradient(problem, wrong)
