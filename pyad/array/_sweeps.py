"""Sweeps from arrays: an array of results with a seed counts as the sum of their products."""

from __future__ import annotations

from typing import Any

import numpy as np

from pyad import _handle
from pyad._binding import error
from pyad._handle import Array

__all__ = ["backward", "gradient"]


def _total(y: Array, seed: Any, what: str) -> Any:
    if not y.requires_grad:
        raise error("NO_GRADIENT")
    if seed is None:
        if y.size != 1:
            raise error(
                "ARGUMENTS",
                f"{what} of an array of shape {y.shape} takes a seed of that shape: the "
                "derivative of sum(seed * y) is found; or take the sum first",
            )
        return _handle._array_sum(y)
    if not isinstance(seed, Array):
        seed = np.asarray(seed)
    if seed.shape != y.shape:
        raise error("ARGUMENT_SHAPE", f"the seed of {what}", str(y.shape), str(seed.shape))
    return _handle._array_sum(y * seed)


def backward(
    self: Array, seed: Any = None, retain_graph: bool = False, create_graph: bool = False
) -> None:
    """Reverse sweep from this array; `seed` has its shape, and may be left out for one element.

    Adds the derivatives of `sum(seed * self)` into the `.grad` of the leaves, then frees the
    recording unless retained.
    """
    total = _total(self, seed, "backward")
    total.backward(retain_graph=retain_graph, create_graph=create_graph)


def gradient(
    y: Array, xs: Any, seed: Any = None, retain_graph: bool = False, create_graph: bool = False
) -> Any:
    """`pyad.gradient` of an array of results."""
    total = _total(y, seed, "pyad.gradient")
    return _handle.gradient(total, xs, None, retain_graph, create_graph)
