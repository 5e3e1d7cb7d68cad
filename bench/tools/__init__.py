"""One small adapter for each tool; `available_tools()` lists those that can be imported here."""

from __future__ import annotations

from bench.tools.autograd import Autograd
from bench.tools.base import Recorder, Tool
from bench.tools.casadi_sx import CasadiSX
from bench.tools.micrograd import Micrograd
from bench.tools.plain import Plain
from bench.tools.pure_python import PurePython
from bench.tools.pyad_eager import PyadEager
from bench.tools.pytorch import PyTorch
from bench.tools.xad_tape import XadTape

__all__ = ["TOOLS", "Plain", "PyadEager", "Recorder", "Tool", "available_tools"]

TOOLS: tuple[type[Tool], ...] = (
    Plain,
    PyadEager,
    PurePython,
    XadTape,
    Micrograd,
    Autograd,
    PyTorch,
    CasadiSX,
)


def available_tools() -> list[type[Tool]]:
    """The tools whose packages are installed, plain floats first."""
    return [tool for tool in TOOLS if tool.available()]
