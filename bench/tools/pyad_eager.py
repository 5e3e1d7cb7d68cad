"""pyad as a scalar user meets it: leaves made once, a new recording for each gradient."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bench.problems import namespace
from bench.tools.base import Recorder

__all__ = ["PyadEager"]


class PyadEager(Recorder):
    """Records eagerly on the default tape and sweeps."""

    name = "pyad"
    package = "pyad"

    def __init__(self, start: Sequence[float]) -> None:
        import pyad

        self.functions = namespace(pyad.math, relu=pyad.relu)
        self.leaves = pyad.vars(list(start))
        self.gradient = pyad.gradient

    def begin(self) -> list[Any]:
        return self.leaves

    def sweep(self, y: Any) -> list[float]:
        return self.gradient(y, self.leaves)
