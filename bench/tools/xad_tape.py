"""XAD: a C++ tape behind pybind11."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bench.problems import namespace
from bench.tools.base import Recorder, relu

__all__ = ["XadTape"]


class XadTape(Recorder):
    """A tape of its own, active from `begin` to `sweep`; leaves registered once."""

    name = "XAD"
    package = "xad"

    def __init__(self, start: Sequence[float]) -> None:
        import xad.adj_1st
        import xad.math

        self.functions = namespace(xad.math, relu=relu)
        self.leaves = [xad.adj_1st.Real(value) for value in start]
        self.tape = xad.adj_1st.Tape()
        with self.tape:
            for leaf in self.leaves:
                self.tape.registerInput(leaf)

    def begin(self) -> list[Any]:
        self.tape.activate()
        self.tape.newRecording()
        return self.leaves

    def sweep(self, y: Any) -> list[float]:
        self.tape.registerOutput(y)
        y.setDerivative(1.0)
        self.tape.computeAdjoints()
        derivatives = [leaf.getDerivative() for leaf in self.leaves]
        self.tape.deactivate()
        return derivatives
