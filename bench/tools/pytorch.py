"""PyTorch, with a tensor without dimensions for each scalar."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bench.problems import namespace
from bench.tools.base import Recorder

__all__ = ["PyTorch"]


class PyTorch(Recorder):
    """Leaves made once, the elements of one tensor; `torch.autograd.grad`."""

    name = "PyTorch"
    package = "torch"

    def __init__(self, start: Sequence[float]) -> None:
        import torch

        self.functions = namespace(torch)
        self.leaves = [
            torch.tensor(value, dtype=torch.float64, requires_grad=True) for value in start
        ]
        self.gradient = torch.autograd.grad

    def begin(self) -> list[Any]:
        return self.leaves

    def sweep(self, y: Any) -> list[float]:
        return [derivative.item() for derivative in self.gradient(y, self.leaves)]
