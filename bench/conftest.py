"""The option `--tiny`, and the parametrisation over problems and available tools."""

from __future__ import annotations

import pytest

from bench import array_tools
from bench.array_problems import headline
from bench.measure import Effort
from bench.problems import problems
from bench.tools import Plain, available_tools


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--tiny`: small problems and few rounds, so that CI can run every bench."""
    parser.addoption("--tiny", action="store_true", help="small problems, few rounds")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Problems in the size asked for; tools that are installed: nothing is skipped."""
    if "problem" in metafunc.fixturenames:
        chosen = problems(tiny=metafunc.config.getoption("--tiny"))
        metafunc.parametrize("problem", chosen, ids=[problem.name for problem in chosen])
    if "array_problem" in metafunc.fixturenames:
        array_problems = headline(tiny=metafunc.config.getoption("--tiny"))
        pairs = [
            (problem, tool)
            for problem in array_problems
            for tool in array_tools.available_tools(problem)
        ]
        if "array_tool" in metafunc.fixturenames:
            names = [f"{problem}-{tool.name}" for problem, tool in pairs]
            metafunc.parametrize(("array_problem", "array_tool"), pairs, ids=names)
        else:
            metafunc.parametrize("array_problem", array_problems, ids=str)
    tools = available_tools()
    if "differentiator" in metafunc.fixturenames:
        tools = [tool for tool in tools if tool is not Plain]
        metafunc.parametrize("differentiator", tools, ids=[tool.name for tool in tools])
    if "tool" in metafunc.fixturenames:
        metafunc.parametrize("tool", tools, ids=[tool.name for tool in tools])


@pytest.fixture
def effort(request: pytest.FixtureRequest) -> Effort:
    """How many rounds, and how long at most."""
    return Effort.of(tiny=request.config.getoption("--tiny"))
