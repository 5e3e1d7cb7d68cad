"""What an adapter is: `Tool`, and `Recorder` for those that record a function as it runs.

An adapter imports its package when it is used, so that those that are not installed do no harm.
"""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar

from bench.problems import Problem

__all__ = ["Adapter", "Recorder", "Tool", "relu"]


def relu(x: Any) -> Any:
    """As a user writes it who has no relu: for floats, and for variables that can be compared."""
    return x if x > 0.0 else 0.0


class Adapter:
    """What calls a package, which may not be installed."""

    name: ClassVar[str]
    package: ClassVar[str]

    @classmethod
    def available(cls) -> bool:
        """Whether the package can be imported."""
        try:
            importlib.import_module(cls.package)
        except ImportError:
            return False
        return True


class Tool(Adapter, ABC):
    """A way to differentiate a function of several scalars."""

    @classmethod
    @abstractmethod
    def prepare(cls, problem: Problem) -> Callable[[], list[float]]:
        """A function that computes the gradient at the start point, all that is needed each time.

        What a user would do once and for all (making leaves, building a symbolic graph) is done
        here and is not measured.
        """

    @classmethod
    @abstractmethod
    @contextmanager
    def operands(cls, x: float, y: float) -> Iterator[tuple[Any, Any]]:
        """Two of the tool's scalars, while it records: to measure a single operation."""


class Recorder(Tool):
    """A tool with leaves, a recording and a sweep; an instance holds the leaves of one function."""

    functions: Any
    """The namespace `m` for the problems."""

    @abstractmethod
    def __init__(self, start: Sequence[float]) -> None: ...

    @abstractmethod
    def begin(self) -> list[Any]:
        """The leaves, ready for a new recording."""

    @abstractmethod
    def sweep(self, y: Any) -> list[float]:
        """The derivatives of `y` with respect to the leaves; ends the recording."""

    @classmethod
    def prepare(cls, problem: Problem) -> Callable[[], list[float]]:
        recorder = cls(problem.start)
        begin, sweep, functions = recorder.begin, recorder.sweep, recorder.functions
        function = problem.function
        return lambda: sweep(function(begin(), functions))

    @classmethod
    @contextmanager
    def operands(cls, x: float, y: float) -> Iterator[tuple[Any, Any]]:
        recorder = cls([x, y])
        first, second = recorder.begin()
        yield first, second
        recorder.sweep(first * second)
