"""Matrices with structure: no derivative rules, entries in other places."""

from __future__ import annotations

from typing import Any

import numpy as np

from pyad.array._rules import (
    operand,
    shape_of,
)
from pyad.array._structure import rearranged
from pyad.scipy.linalg._common import (
    of_variables,
    refuse,
    theirs,
)

__all__ = [
    "block_diag",
    "circulant",
    "hankel",
    "toeplitz",
]


def _line(x: Any, name: str) -> Any:
    x = operand(x, f"scipy.linalg.{name}")
    if len(shape_of(x)) > 1:
        raise refuse(name, "arrays of several dimensions", "give it one line")
    return x.reshape(-1) if shape_of(x) else rearranged(np.atleast_1d, x)


def _joined(x: Any, y: Any) -> Any:
    return rearranged(lambda a, b: np.concatenate([a, b]), x, y)


@of_variables
def toeplitz(c: Any, r: Any = None) -> Any:
    """`scipy.linalg.toeplitz`: first column `c`, first row `r`."""
    c = _line(c, "toeplitz")
    r = c if r is None else _line(r, "toeplitz")
    m, n = shape_of(c)[0], shape_of(r)[0]
    place = np.arange(m)[:, None] - np.arange(n)
    return _joined(c, r)[np.where(place >= 0, place, m - place)]


@of_variables
def circulant(c: Any) -> Any:
    """`scipy.linalg.circulant`."""
    c = _line(c, "circulant")
    n = shape_of(c)[0]
    return c[(np.arange(n)[:, None] - np.arange(n)) % max(n, 1)]


@of_variables
def hankel(c: Any, r: Any = None) -> Any:
    """`scipy.linalg.hankel`: first column `c`, last row `r`."""
    c = _line(c, "hankel")
    m = shape_of(c)[0]
    r = np.zeros(m) if r is None else _line(r, "hankel")
    place = np.arange(m)[:, None] + np.arange(shape_of(r)[0])
    return _joined(c, r)[np.where(place < m, place, place + 1)]


@of_variables
def block_diag(*arrs: Any) -> Any:
    """`scipy.linalg.block_diag`."""
    return rearranged(theirs("block_diag"), *(operand(x, "scipy.linalg.block_diag") for x in arrs))
