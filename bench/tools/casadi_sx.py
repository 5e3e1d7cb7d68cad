"""CasADi: a symbolic graph of scalars (SX), built once and evaluated by its virtual machine."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from bench.problems import Problem, namespace
from bench.tools.base import Tool

__all__ = ["CasadiSX"]


class CasadiSX(Tool):
    """Value and gradient as one `Function`, through its buffer interface.

    Building the graph is not measured: this is what recording once and replaying costs. A function
    that branches on its variables cannot be built so.
    """

    name = "CasADi, built once"
    package = "casadi"

    @classmethod
    def prepare(cls, problem: Problem) -> Callable[[], list[float]]:
        import casadi

        functions = namespace(casadi, relu=lambda x: casadi.fmax(x, 0.0))
        symbols = [casadi.SX.sym("x") for _ in problem.start]
        x = casadi.vertcat(*symbols)
        y = problem.function(symbols, functions)
        function = casadi.Function("f", [x], [y, casadi.gradient(y, x)])
        buffer: Any  # its stub knows other arguments than its documentation
        buffer, evaluate = function.buffer()
        start, value = array("d", problem.start), array("d", [0.0])
        gradient = array("d", bytes(8 * len(start)))
        buffer.set_arg(0, memoryview(start))
        buffer.set_res(0, memoryview(value))
        buffer.set_res(1, memoryview(gradient))

        def call() -> list[float]:
            evaluate()
            return gradient.tolist()

        call.keep_alive = function, buffer, start, value  # type: ignore[attr-defined]
        return call

    @classmethod
    @contextmanager
    def operands(cls, x: float, y: float) -> Iterator[tuple[Any, Any]]:
        """Symbols: an operation extends the graph and computes nothing."""
        import casadi

        yield casadi.SX.sym("x"), casadi.SX.sym("y")
