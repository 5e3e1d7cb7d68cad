"""Transforms through pytest-benchmark; the table of ratios is `python -m bench.ratios`."""

from __future__ import annotations

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from bench.measure import Effort
from bench.transforms import Case, cases, measure


@pytest.mark.parametrize("case", cases(tiny=True), ids=lambda case: case.name)
def test_transform(case: Case, benchmark: BenchmarkFixture) -> None:
    assert case.check(case.call())
    benchmark.pedantic(case.call, rounds=3, warmup_rounds=1)


def test_ratio_is_measured_in_the_unit(effort: Effort) -> None:
    ratio = measure(cases(tiny=True)[-1], effort)
    assert ratio.median > 1.0
