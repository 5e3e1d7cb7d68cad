"""Compiled functions through pytest-benchmark; the tables are `python -m bench.compiled`."""

from __future__ import annotations

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from bench.array_problems import ArrayProblem, check, headline
from bench.compiled import batches, compiled, compiled_arrays, first_call
from bench.measure import Effort
from bench.problems import Problem, check_gradient


def test_compiled(benchmark: BenchmarkFixture, problem: Problem, effort: Effort) -> None:
    call = compiled(problem)
    check_gradient(problem, list(call()))
    gradient = benchmark.pedantic(call, rounds=effort.rounds, warmup_rounds=1)
    check_gradient(problem, list(gradient))


@pytest.mark.parametrize("arrays", headline(tiny=True), ids=str)
def test_compiled_arrays(benchmark: BenchmarkFixture, arrays: ArrayProblem, effort: Effort) -> None:
    call = compiled_arrays(arrays)
    check(arrays, call())
    check(arrays, benchmark.pedantic(call, rounds=effort.rounds, warmup_rounds=1))


def test_batches(benchmark: BenchmarkFixture, problem: Problem, effort: Effort) -> None:
    _, made = batches(problem, 17)
    values, slopes = benchmark.pedantic(made["2 threads"], rounds=effort.rounds, warmup_rounds=1)
    assert values.shape == (17,)
    assert slopes.shape == (17, len(problem.start))


def test_the_first_call_records(problem: Problem) -> None:
    assert first_call(lambda: compiled(problem), 2) > 0.0
