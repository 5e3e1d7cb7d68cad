"""Containers of variables other than plain lists, tuples and dicts, for `pyad.gradient`."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

__all__ = ["rebuild"]


def rebuild(xs: Any, read: Callable[[Any], Any]) -> Any:
    """`xs` with `read` of every item in its place; NotImplemented if it is no such container."""
    if isinstance(xs, np.ndarray) and xs.dtype == object:
        numbers = [read(x) for x in xs.ravel()]
        return np.array(numbers, dtype=np.float64).reshape(xs.shape)
    if isinstance(xs, tuple) and hasattr(xs, "_make"):
        return type(xs)._make(read(x) for x in xs)
    if isinstance(xs, (list, tuple)):
        return (list if isinstance(xs, list) else tuple)(read(x) for x in xs)
    if isinstance(xs, dict) and type(xs) is not dict:
        result = copy.copy(xs)  # an OrderedDict stays one
        result.update({key: read(x) for key, x in xs.items()})
        return result
    if isinstance(xs, Mapping):
        return {key: read(x) for key, x in xs.items()}
    return NotImplemented
