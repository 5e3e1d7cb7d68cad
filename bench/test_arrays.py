"""Arrays, problem x tool: the gradient is right, and then how long it takes."""

from __future__ import annotations

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from bench import arrays
from bench.array_problems import ArrayProblem, check, headline
from bench.array_tools import ArrayTool, Pyad
from bench.measure import Effort, Ratio, seconds_per_call


def test_array_gradient(
    benchmark: BenchmarkFixture,
    array_problem: ArrayProblem,
    array_tool: type[ArrayTool],
    effort: Effort,
) -> None:
    benchmark.group = str(array_problem)
    call = array_tool.prepare(array_problem)
    check(array_problem, call())
    check(array_problem, call())  # the second recording may differ from the first
    rounds = min(effort.rounds, max(3, int(effort.budget / seconds_per_call(call))))
    check(array_problem, benchmark.pedantic(call, rounds=rounds))


def test_array_value(
    benchmark: BenchmarkFixture, array_problem: ArrayProblem, effort: Effort
) -> None:
    """The unit of the ratios, in the same groups."""
    benchmark.group = str(array_problem)
    benchmark.pedantic(array_problem.plainly, rounds=effort.rounds, warmup_rounds=1)


@pytest.mark.parametrize("number", range(len(headline(tiny=True))))
def test_check_rejects_a_wrong_element(number: int) -> None:
    """The check sees one derivative that is wrong, wherever it stands."""
    problem = headline(tiny=True)[number]
    right = [np.array(g) for g in Pyad.prepare(problem)()]
    for which in range(len(right)):
        for i in {0, right[which].size // 3, right[which].size - 1}:
            wrong = [g.copy() for g in right]
            wrong[which].flat[i] += 1e-4 * max(1.0, max(np.abs(g).max() for g in right))
            with pytest.raises(AssertionError, match="derivative"):
                check(problem, wrong)


def test_tables_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert arrays.main(["--tiny", "--tools", "pyad", "--only", "Rosenbrock"]) == 0
    assert "| Rosenbrock (10)" in capsys.readouterr().out


def test_verdicts() -> None:
    def ratio(median: float) -> Ratio:
        return Ratio(median=median, best=median, seconds=median, rounds=1)

    ratios = {"pyad": ratio(2.0), "autograd": ratio(9.0), "PyTorch": ratio(1.9)}
    assert arrays.verdict(2.5, ratios) == arrays.verdict(None, ratios) == "met"
    assert arrays.verdict(1.9, ratios) == "missed: limit"
    ratios["PyTorch"] = ratio(1.8)
    assert arrays.verdict(None, ratios) == "missed: peer"
    assert arrays.verdict(1.0, ratios) == "missed: limit, peer"
    assert arrays.verdict(2.0, {"pyad": ratio(2.0)}) == "met"
    assert arrays.verdict(None, {"pyad": ratio(2.0)}) == arrays.verdict(1.0, {}) == ""
