"""What the functions share: SciPy's where no variable is given, triangles, refusals."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from pyad._binding import error
from pyad.array._linalg import square
from pyad.array._rules import (
    Rule,
    apply,
    holds_variables,
    shape_of,
    transposed,
)
from pyad.scipy import required

__all__ = [
    "Function",
    "T",
    "of_variables",
    "refuse",
    "symmetric_from",
    "theirs",
    "triangle",
]

T = transposed
Function = Callable[..., Any]


def theirs(name: str) -> Any:
    return getattr(required("scipy.linalg", f"pyad.scipy.linalg.{name}"), name)


def of_variables(function: Function) -> Function:
    """SciPy's function for plain numbers, this one if variables are among the arguments."""
    name = function.__name__

    @functools.wraps(function)
    def chosen(*args: Any, **options: Any) -> Any:
        if not holds_variables(*args, *options.values()):
            return theirs(name)(*args, **options)
        return function(*args, **options)

    return chosen


def refuse(name: str, option: str, remedy: str) -> Any:
    return error("ARGUMENTS", f"scipy.linalg.{name} of variables has no {option}: {remedy}")


def _mirror_rule() -> Rule:
    return Rule(
        lambda g, out, given: [0.5 * (g[0] + T(g[0]))],
        lambda t, out, given: [0.5 * (t[0] + T(t[0]))],
    )


def symmetric_from(a: Any, lower: bool, name: str) -> Any:
    """The symmetric matrix of which one triangle is read."""

    def mirrored(x: Any) -> Any:
        half = np.tril(x, -1) if lower else np.triu(x, 1)
        return half + T(half) + x * np.eye(x.shape[-1])

    return apply(name, mirrored, _mirror_rule(), square(a, f"scipy.linalg.{name}"))[0]


def triangle(x: Any, lower: bool, unit: bool) -> Any:
    sides = np.ones(shape_of(x)[-2:])
    return x * (np.tril(sides, -1 if unit else 0) if lower else np.triu(sides, 1 if unit else 0))
