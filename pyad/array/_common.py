"""What the functions on arrays share: operands, values, `dtype=`, `out=` and `where=`."""

from __future__ import annotations

import inspect
import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from pyad import _handle
from pyad._binding import OPERATIONS, error
from pyad._handle import Array, Dual, Var
from pyad.array._convert import as_array

__all__ = [
    "OPERATION",
    "apply",
    "check_float",
    "check_out",
    "choose_rows",
    "first_name",
    "holds_variables",
    "into",
    "is_variable",
    "lifted",
    "normal_axes",
    "normal_axis",
    "only_default",
    "reduced_axes",
    "scalar",
    "values",
]

OPERATION = {row.name: number for number, row in enumerate(OPERATIONS)}
"""The number of each operation of the table."""


def apply(name: str, *operands: Any) -> Any:
    """An operation of the table, element by element."""
    return _handle._array_apply(OPERATION[name], *operands)


def lifted(x: Any, what: str = "an array") -> Array:
    """`x` as an `Array`: itself, or made of numbers and variables."""
    return x if isinstance(x, Array) else as_array(x, what)


def values(x: Any) -> Any:
    """The numbers of `x` as NumPy has them; what holds no variables is returned as it is.

    Where guards are kept they count as read: see _guards.py for other ways to look at them.
    """
    if isinstance(x, Array):
        return x.value
    if isinstance(x, (Var, Dual)):
        return x.value
    if isinstance(x, np.ndarray):
        return as_array(x, "a function of values").value if x.dtype == object else x
    if isinstance(x, (list, tuple)) and holds_variables(x):
        return as_array(x, "a function of values").value
    return x


def holds_variables(items: Any) -> bool:
    """Whether an Array or a variable is in these nested lists."""
    return any(
        isinstance(item, (Array, Var))
        or (isinstance(item, (list, tuple)) and holds_variables(item))
        for item in items
    )


def is_variable(x: Any) -> bool:
    """Whether there are derivatives in `x` that could get lost."""
    if isinstance(x, (Array, Var)):
        return bool(x.requires_grad)
    if isinstance(x, np.ndarray):
        return x.dtype == object and bool(lifted(x).requires_grad)
    return isinstance(x, (list, tuple)) and holds_variables(x) and lifted(x).requires_grad


def scalar(a: Any) -> Any:
    """The variable that a 0-d array holds; anything else as it is."""
    return a[()] if isinstance(a, Array) and a.ndim == 0 else a


def check_float(dtype: Any, what: str) -> None:
    """Accept a `dtype` that is float64 (or not given); all else is refused."""
    if dtype is not None and dtype is not float and np.dtype(dtype) != np.float64:
        raise error(
            "ARGUMENTS",
            f"{what} of an Array gives float64, not {np.dtype(dtype)}: leave dtype out, or convert "
            "the values, x.value",
        )


def into(out: Any, result: Any) -> Any:
    """Assign to what was given as `out`, and return that; the result itself if nothing was."""
    if isinstance(out, tuple):
        out = out[0] if len(out) == 1 else out
    if out is None:
        return result
    if isinstance(out, Array):
        shape = np.shape(result)
        if out.shape != shape:
            raise error("ARGUMENT_SHAPE", "out", str(shape), str(out.shape))
        out[...] = result
        return out
    if not isinstance(out, np.ndarray):
        raise error("NOT_A_NUMBER", "out", type(out).__name__, ": give an Array")
    if out.dtype == object:
        out[...] = objects(result)
        return out
    if is_variable(result):
        raise error("WOULD_LOSE_DERIVATIVE")
    np.copyto(out, values(result), casting="same_kind")
    return out


def check_out(out: Any, *inputs: Any, shape: tuple[int, ...] | None = None) -> None:
    """Refuse, before anything is recorded, an `out` that cannot take a result of the inputs."""
    for target in out if isinstance(out, tuple) else (out,):
        if isinstance(target, Array):
            if shape is not None and target.shape != shape:
                raise error("ARGUMENT_SHAPE", "out", str(shape), str(target.shape))
            if target.is_leaf and target.requires_grad:
                raise error("LEAF_ITEM")
        elif (
            isinstance(target, np.ndarray)
            and target.dtype.kind in "biuf"
            and _handle._is_recording()
            and any(map(is_variable, inputs))
        ):
            raise error("WOULD_LOSE_DERIVATIVE")


def objects(a: Any) -> Any:
    """The elements as variables in an object ndarray."""
    if not isinstance(a, Array):
        return a
    made = np.empty(a.size, dtype=object)
    flat = a.reshape(-1)
    for i in range(a.size):
        made[i] = flat[i]
    return made.reshape(a.shape)


def normal_axis(axis: Any, ndim: int) -> int:
    """An axis counted from the front."""
    k = operator.index(axis)
    if not -ndim <= k < ndim:
        raise np.exceptions.AxisError(k, ndim)
    return k % ndim


def normal_axes(axis: Any, ndim: int) -> tuple[int, ...]:
    """Axes counted from the front; None means all of them."""
    if axis is None:
        return tuple(range(ndim))
    given = axis if isinstance(axis, (tuple, list)) else (axis,)
    axes = tuple(normal_axis(k, ndim) for k in given)
    if len(set(axes)) != len(axes):
        raise ValueError("duplicate value in 'axis'")
    return axes


def reduced_axes(axis: Any, ndim: int) -> tuple[int, ...]:
    """As `normal_axes`; ufuncs, and what is made of them, reduce 0-d arrays along 0 and -1 too."""
    return () if ndim == 0 and axis in (0, -1) else normal_axes(axis, ndim)


def only_default(what: str, **options: Any) -> None:
    """Refuse options that are not supported: each is given with its only value."""
    for name, (given, default) in options.items():
        if given is not default and (np.ndim(given) or given != default):
            raise error("ARGUMENTS", f"{what} of an Array takes {name}={default!r} only")


def choose_rows(condition: Any, x: Any, y: Any) -> Any:
    """`np.where` as structure; an Array, also if it is 0-d."""
    return _handle._array_where(condition, lifted(x), lifted(y))


def first_name(function: Callable[..., Any], fallback: str = "a") -> str:
    """The name of the first parameter of a NumPy function."""
    try:
        return next(iter(inspect.signature(function).parameters))
    except (TypeError, ValueError):
        return fallback
