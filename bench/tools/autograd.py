"""HIPS autograd, which wraps NumPy: not made for loops over scalars, but much used for them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from bench.problems import Problem, namespace
from bench.tools.base import Tool, relu

__all__ = ["Autograd"]


class Autograd(Tool):
    """`autograd.grad` of the function of one array; lists of scalars are slower."""

    name = "autograd"
    package = "autograd"

    @classmethod
    def prepare(cls, problem: Problem) -> Callable[[], list[float]]:
        import autograd
        import autograd.numpy
        import numpy

        functions = namespace(autograd.numpy, relu=relu)
        gradient = autograd.grad(lambda x: problem.function(x, functions))
        start = numpy.array(problem.start)
        return lambda: gradient(start).tolist()

    @classmethod
    @contextmanager
    def operands(cls, x: float, y: float) -> Iterator[tuple[Any, Any]]:
        from autograd.core import VJPNode
        from autograd.tracer import new_box, trace_stack

        with trace_stack.new_trace() as trace:
            yield new_box(x, trace, VJPNode.new_root()), new_box(y, trace, VJPNode.new_root())
