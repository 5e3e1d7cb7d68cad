"""The tape in pure Python that pyad's demo is compared with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bench.problems import namespace
from bench.tools.base import Recorder, relu

__all__ = ["PurePython"]


class PurePython(Recorder):
    """New leaves for each recording, as this tape wants it."""

    name = "pure Python"
    package = "pyad.demo.pure_tape"

    def __init__(self, start: Sequence[float]) -> None:
        from pyad.demo import pure_tape

        self.functions = namespace(pure_tape, relu=relu)
        self.start = start
        self.leaf = pure_tape.Node
        self.gradient = pure_tape.gradient

    def begin(self) -> list[Any]:
        self.leaves = [self.leaf(value) for value in self.start]
        return self.leaves

    def sweep(self, y: Any) -> list[float]:
        return self.gradient(y, self.leaves)
