"""Karpathy's micrograd: objects and closures in pure Python."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

from bench.problems import namespace
from bench.tools.base import Recorder

__all__ = ["Micrograd"]

RECURSION_LIMIT = 1_000_000  # its topological order recurses as deep as the recording is long


class Micrograd(Recorder):
    """Leaves made once, their gradients set to zero for each recording."""

    name = "micrograd"
    package = "micrograd.engine"

    def __init__(self, start: Sequence[float]) -> None:
        from micrograd.engine import Value

        sys.setrecursionlimit(RECURSION_LIMIT)
        self.functions = _functions(Value)
        self.leaves = [Value(value) for value in start]

    def begin(self) -> list[Any]:
        for leaf in self.leaves:
            leaf.grad = 0
        return self.leaves

    def sweep(self, y: Any) -> list[float]:
        y.backward()
        return [leaf.grad for leaf in self.leaves]


def _functions(value_type: Any) -> ModuleType:
    """Its own `relu`, and the others written in its manner."""

    def operation(
        name: str, f: Callable[[float], float], weight: Callable[[float, float], float]
    ) -> Callable[[Any], Any]:
        def function(x: Any) -> Any:
            out = value_type(f(x.data), (x,), name)

            def _backward() -> None:
                x.grad += weight(x.data, out.data) * out.grad

            out._backward = _backward
            return out

        return function

    return namespace(
        None,
        exp=operation("exp", math.exp, lambda x, y: y),
        log=operation("log", math.log, lambda x, y: 1.0 / x),
        sqrt=operation("sqrt", math.sqrt, lambda x, y: 0.5 / y),
        sin=operation("sin", math.sin, lambda x, y: math.cos(x)),
        cos=operation("cos", math.cos, lambda x, y: -math.sin(x)),
        tanh=operation("tanh", math.tanh, lambda x, y: 1.0 - y * y),
        relu=value_type.relu,
    )
