"""The functions of the operation table, and those that are made of them in a line or two.

Each takes floats (and gives a float), variables (and gives a variable) and arrays of either (and
gives an array). Results at poles and outside the domain are those of IEEE 754 and NumPy, infinities
and NaN, not exceptions; `docs/edges.md` lists them.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from pyad import _handle
from pyad._binding import OPERATIONS, Operation
from pyad._elementwise import as_array
from pyad._handle import *  # noqa: F403  (the rows of the operation table)
from pyad._handle import (
    Array,
    Dual,
    Var,
    dot,
    expit,
    from_partials,
    lincomb,
    logsumexp,
    maximum,
    minimum,
    norm,
    prod,
    sum,
)

__all__ = [
    "clip",
    "dot",
    "from_partials",
    "lincomb",
    "logsumexp",
    "norm",
    "operations",
    "prod",
    "sigmoid",
    "sum",
    "where",
]
__all__ += _handle.__all__

sigmoid = expit
"""The logistic function, under its other name."""


def operations() -> tuple[Operation, ...]:
    """The operation table; the place of a row is its number in `Tape.ops`."""
    return OPERATIONS


def where(condition: Any, x: Any, y: Any) -> Any:
    """`x` where the condition holds, else `y`; the other one gets derivative 0, never NaN.

    >>> import pyad
    >>> x = pyad.var(0.0)
    >>> y = pyad.where(x > 0, pyad.sqrt(x), 0 * x)
    >>> pyad.gradient(y, x)
    0.0
    """
    if any(isinstance(operand, Array) for operand in (condition, x, y)):
        return np.where(condition, x, y)
    if any(isinstance(operand, (np.ndarray, list, tuple)) for operand in (condition, x, y)):
        return np.where(condition, *(as_array(z, "pyad.where") for z in (x, y)))
    x, y = (z if isinstance(z, (Var, Dual)) else _handle.positive(z) for z in (x, y))
    return x if condition else y


def clip(x: Any, low: Any = None, high: Any = None) -> Any:
    """`x` held between `low` and `high`; None is no bound. At a bound both share the derivative.

    >>> import pyad
    >>> pyad.clip(3.0, 0.0, 1.0)
    1.0
    """
    for bound in (low, high):  # all of them before anything is recorded
        if bound is not None and not isinstance(bound, (Var, Array, float, int)):
            as_array(bound, "pyad.clip")
    if low is not None:
        x = maximum(x, low)
    return x if high is None else minimum(x, high)
