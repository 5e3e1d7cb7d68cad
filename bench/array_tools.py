"""Adapters for arrays: from a problem to a call that gives its gradients.

What a user does once is not counted: leaves of pyad and PyTorch, functions made by `grad`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from types import ModuleType
from typing import Any, ClassVar

import numpy as np

from bench.array_problems import ArrayProblem
from bench.tools.base import Adapter

__all__ = ["TOOLS", "ArrayTool", "available_tools"]

Call = Callable[[], Any]


class ArrayTool(Adapter, ABC):
    """A way to differentiate a function of arrays."""

    assigns: ClassVar[bool] = False
    """Whether it can differentiate a function that assigns elements."""

    @classmethod
    @abstractmethod
    def prepare(cls, problem: ArrayProblem) -> Call:
        """A function that gives the gradients at the start point, a list."""


class Pyad(ArrayTool):
    """Leaves made once, an eager recording and `pyad.gradient`."""

    name = "pyad"
    package = "pyad"
    assigns = True

    @classmethod
    def prepare(cls, problem: ArrayProblem) -> Call:
        import pyad

        function, constants = problem.function, problem.constants
        leaves = [pyad.array(x) for x in problem.start]
        return lambda: pyad.gradient(function(np, *leaves, *constants), leaves)


class PyadGrad(ArrayTool):
    """The function made by `pyad.value_and_grad`, which takes plain arrays."""

    name = "pyad.value_and_grad"
    package = "pyad"
    assigns = True

    @classmethod
    def prepare(cls, problem: ArrayProblem) -> Call:
        import pyad

        function, start, constants = problem.function, problem.start, problem.constants
        both = pyad.value_and_grad(
            lambda *x: function(np, *x, *constants), argnums=tuple(range(len(start)))
        )
        return lambda: both(*start)[1]


class Autograd(ArrayTool):
    """HIPS autograd: `value_and_grad`."""

    name = "autograd"
    package = "autograd"

    @classmethod
    def prepare(cls, problem: ArrayProblem) -> Call:
        import autograd
        import autograd.numpy

        function, start, constants = problem.function, problem.start, problem.constants
        m = autograd.numpy
        both = autograd.value_and_grad(
            lambda *x: function(m, *x, *constants), argnum=tuple(range(len(start)))
        )
        return lambda: both(*start)[1]


class PyTorch(ArrayTool):
    """Leaves made once, `torch.autograd.grad`; one thread."""

    name = "PyTorch"
    package = "torch"

    @classmethod
    def prepare(cls, problem: ArrayProblem) -> Call:
        import torch

        torch.set_num_threads(1)
        function, gradient = problem.function, torch.autograd.grad
        m = ModuleType("functions")
        for name in ("sum", "exp", "sin", "tanh"):
            setattr(m, name, getattr(torch, name))
        leaves = [torch.tensor(x, requires_grad=True) for x in problem.start]
        constants = [torch.tensor(x) for x in problem.constants]
        return lambda: gradient(function(m, *leaves, *constants), leaves)


class Jax(ArrayTool):
    """`jax.value_and_grad`, compiled once; the results are waited for."""

    name = "JAX, compiled once"
    package = "jax"

    @classmethod
    def prepare(cls, problem: ArrayProblem) -> Call:
        import jax

        jax.config.update("jax_enable_x64", True)
        function = problem.function
        start = tuple(jax.numpy.asarray(x) for x in problem.start)
        constants = tuple(jax.numpy.asarray(x) for x in problem.constants)
        both = jax.jit(
            jax.value_and_grad(lambda *x: function(jax.numpy, *x), argnums=tuple(range(len(start))))
        )
        return lambda: jax.block_until_ready(both(*start, *constants)[1])


TOOLS: tuple[type[ArrayTool], ...] = (Pyad, PyadGrad, Autograd, PyTorch, Jax)


def available_tools(problem: ArrayProblem | None = None) -> list[type[ArrayTool]]:
    """The tools that are installed, and can differentiate this problem."""
    found = [tool for tool in TOOLS if tool.available()]
    return [tool for tool in found if problem is None or tool.assigns or not problem.assigns]
