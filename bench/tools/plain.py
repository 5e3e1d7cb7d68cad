"""Plain floats: the value alone, the unit of every ratio."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from bench.problems import Problem, namespace
from bench.tools.base import Tool, relu

__all__ = ["Plain"]


class Plain(Tool):
    """Evaluates the function with the module `math`."""

    name = "plain floats"
    package = "math"

    @classmethod
    def prepare(cls, problem: Problem) -> Callable[[], list[float]]:
        """Here the callable gives the value, in a list of one."""
        function, start, functions = problem.function, problem.start, namespace(math, relu=relu)
        return lambda: [function(start, functions)]

    @classmethod
    @contextmanager
    def operands(cls, x: float, y: float) -> Iterator[tuple[float, float]]:
        yield x, y
