"""The table of NumPy's functions on Arrays: what `Array.__array_function__` looks up."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from pyad import _handle
from pyad._binding import error
from pyad.array import _calculus, _choices, _fft, _linalg, _products, _reductions, _structure
from pyad.array._common import lifted

__all__ = ["TABLE", "install", "reduce"]

TABLE: dict[Any, Callable[..., Any]] = {
    **_structure.FUNCTIONS,
    **_reductions.FUNCTIONS,
    **_choices.FUNCTIONS,
    **_products.FUNCTIONS,
    **_calculus.FUNCTIONS,
    **_linalg.FUNCTIONS,
    **_fft.FUNCTIONS,
}
"""{NumPy function: what is called in its place}"""


def _product(what: str, xs: Any, ys: Any) -> Any:
    a, b = lifted(xs, what), lifted(ys, what)
    for x in (a, b):
        if x.ndim != 1:
            raise error("NOT_A_SEQUENCE", what, f"an Array of shape {x.shape}: take a @ b")
    if a.size != b.size:
        raise error("LENGTHS_DIFFER", what, str(a.size), str(b.size))
    return a @ b


_REDUCTIONS: dict[str, Callable[..., Any]] = {
    "pyad.sum": _reductions.sum,
    "pyad.prod": _reductions.prod,
    "pyad.logsumexp": lambda x: _reductions.logsumexp(x, axis=None),
    "pyad.norm": lambda x: _linalg.norm(x.reshape(-1)),
    "pyad.dot": functools.partial(_product, "pyad.dot"),
    "pyad.lincomb": functools.partial(_product, "pyad.lincomb"),
}


def reduce(what: str, *operands: Any) -> Any:
    """An operation of any number of arguments (`pyad.sum` ...) on all the elements of Arrays."""
    return _REDUCTIONS[what](*operands)


def install() -> None:
    """Hand the table to the C code."""
    _handle._array_functions(TABLE, np.matmul)
