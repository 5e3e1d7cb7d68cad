"""XAD: a C++ tape behind pybind11."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bench.problems import namespace
from bench.tools.base import Recorder, relu

__all__ = ["XadTape"]


class XadTape(Recorder):
    """A tape of its own, active from `begin` to `sweep`, and cleared for each recording.

    `newRecording` alone would spare the new leaves, but keeps some bytes of every earlier recording
    and takes longer each time. What lives on the tape must go while the tape is active.
    """

    name = "XAD"
    package = "xad"

    def __init__(self, start: Sequence[float]) -> None:
        import xad.adj_1st
        import xad.math

        self.functions = namespace(xad.math, relu=relu)
        self.start = start
        self.leaf = xad.adj_1st.Real
        self.tape = xad.adj_1st.Tape()

    def begin(self) -> list[Any]:
        self.tape.activate()
        self.tape.clearAll()
        self.leaves = [self.leaf(value) for value in self.start]
        self.tape.registerInputs(self.leaves)
        self.tape.newRecording()
        return self.leaves

    def sweep(self, y: Any) -> list[float]:
        self.tape.registerOutput(y)
        y.setDerivative(1.0)
        self.tape.computeAdjoints()
        derivatives = [leaf.getDerivative() for leaf in self.leaves]
        del y, self.leaves
        self.tape.deactivate()
        return derivatives
