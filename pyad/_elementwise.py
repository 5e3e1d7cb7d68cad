"""Operations on what is neither a number nor a `Var`: arrays and lists, and NumPy's ufuncs on them.

The C code comes here when an operand is unknown to it. Numbers run through the C library along
the whole array; arrays of variables element by element.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from pyad._binding import OPERATIONS, check, error, ffi, lib
from pyad._handle import Var

__all__ = ["apply", "array_ufunc"]


def _as_array(x: Any, what: str) -> Any:
    """`x` as an array of floats or of objects; refused if it is no array of numbers."""
    if isinstance(x, Var):
        result = np.empty((), dtype=object)
        result[()] = x
        return result
    if isinstance(x, (str, bytes, dict, set)) or x is None or callable(x):
        raise error("NOT_A_NUMBER", what, type(x).__name__, "")
    array = np.asarray(x)
    if array.dtype.kind in "biuf":
        return array.astype(np.float64, copy=False)
    if array.dtype != object:
        raise error("NOT_A_NUMBER", what, f"an array of {array.dtype}", "")
    return array


def _along(op: int, *arrays: Any) -> Any:
    """An operation along arrays of floats, in C."""
    shaped = np.broadcast_arrays(*arrays)
    flat = [np.ascontiguousarray(array).ravel() for array in shaped]
    result = np.empty(shaped[0].shape)
    a, b = (ffi.from_buffer("double[]", flat[i]) for i in (0, -1))
    out = ffi.from_buffer("double[]", result.reshape(-1), require_writable=True)
    check(lib.pyad_op_values(op, result.size, a, 1, b, 1, out))
    return result


def apply(op: int, *operands: Any) -> Any:
    """The operation of this number on arrays: floats give floats, variables an object array."""
    name = OPERATIONS[op].name
    arrays = [_as_array(x, f"pyad.{name}") for x in operands]
    if all(array.dtype != object for array in arrays):
        return _along(op, *arrays)
    return np.frompyfunc(_scalar_function(name), len(arrays), 1)(*arrays)


def _scalar_function(name: str) -> Callable[..., Any]:
    from pyad import _handle

    function: Callable[..., Any] = getattr(_handle, name)
    return function


# ---- ufuncs ------------------------------------------------------------------------------------

_BY_UFUNC = {getattr(np, row.numpy): row.name for row in OPERATIONS if row.numpy}

_QUESTIONS: dict[Any, Callable[[Any], bool]] = {
    np.isnan: lambda x: math.isnan(_number(x)),
    np.isinf: lambda x: math.isinf(_number(x)),
    np.isfinite: lambda x: math.isfinite(_number(x)),
    np.signbit: lambda x: math.copysign(1.0, _number(x)) < 0,
}
"""Ufuncs that ask about the value and have no loop over objects."""

_OF_OBJECTS = {
    np.equal, np.not_equal, np.less, np.less_equal, np.greater, np.greater_equal,
    np.logical_and, np.logical_or, np.logical_not, np.divmod, np.matmul,
}  # fmt: skip
"""Ufuncs whose own loop over objects does the right thing with variables."""


def _number(x: Any) -> float:
    return float(x.value if isinstance(x, Var) else x)


def _elementwise_form(ufunc: Any) -> Callable[..., Any] | None:
    """What does on objects what `ufunc` does on floats; None if nothing does."""
    if ufunc in _BY_UFUNC:
        form: Callable[..., Any]
        form = np.frompyfunc(_scalar_function(_BY_UFUNC[ufunc]), ufunc.nin, 1)
        return form
    if ufunc in _QUESTIONS:
        question = np.frompyfunc(_QUESTIONS[ufunc], 1, 1)
        return lambda x, **options: np.asarray(question(x, **options)).astype(bool)[()]
    return ufunc if ufunc in _OF_OBJECTS else None


def array_ufunc(ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
    """`Var.__array_ufunc__` for all that is not a plain call on scalars."""
    call = _elementwise_form(ufunc)
    reach = f".{method}" if method != "__call__" else ""
    if call is None:
        raise error("NO_UFUNC", ufunc.__name__, reach)
    if method == "__call__":
        arrays = [_as_array(x, f"np.{ufunc.__name__}").astype(object) for x in inputs]
        return call(*arrays, **options)
    if method == "outer" and not options:
        left, right = (_as_array(x, f"np.{ufunc.__name__}").astype(object) for x in inputs)
        return call(left.reshape(left.shape + (1,) * right.ndim), right)
    if method == "at" and len(inputs) == 3:
        array, where, operand = inputs
        if isinstance(array, np.ndarray) and array.dtype == object:
            ufunc.at(array, where, _as_array(operand, f"np.{ufunc.__name__}"))
            return None
        if isinstance(array, np.ndarray):
            raise error("WOULD_LOSE_DERIVATIVE")
    raise error("NO_UFUNC", ufunc.__name__, reach)
