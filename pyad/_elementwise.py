"""Operations on what is neither a number nor a `Var`: arrays and lists, and NumPy's ufuncs on them.

The C code comes here when an operand is unknown to it. Numbers run through the C library along
the whole array; arrays of variables element by element.
"""

from __future__ import annotations

import functools
import operator
from numbers import Real
from typing import Any

import numpy as np

from pyad import _handle
from pyad._binding import OPERATIONS, check, error, ffi, lib
from pyad._handle import Dual, Var

__all__ = ["apply", "array_ufunc", "as_array"]


def as_array(x: Any, what: str) -> Any:
    """`x` as an array of floats or of objects; refused if it is no array of numbers."""
    if isinstance(x, (Var, Dual)):
        result = np.empty((), dtype=object)
        result[()] = x
        return result
    if isinstance(x, (str, bytes, dict, set)) or x is None or callable(x):
        _handle._refuse(what, x)
    try:
        array = np.asarray(x)
    except ValueError as cause:  # nested lists of different lengths
        raise error("NOT_A_NUMBER", what, type(x).__name__, f": {cause}") from cause
    if array.dtype.kind in "biuf":
        return array.astype(np.float64, copy=False)
    if array.dtype != object:
        remedy = ": convert it with array.astype(float), or take its real part"
        raise error("NOT_A_NUMBER", what, f"an array of {array.dtype}", remedy)
    for item in array.flat:  # all of them before anything is recorded
        if not isinstance(item, (Real, np.bool_)):
            _handle._refuse(what, item)
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
    arrays = [as_array(x, f"pyad.{name}") for x in operands]
    if all(array.dtype != object for array in arrays):
        return _along(op, *arrays)
    return _along_objects(name, len(arrays))(*arrays)


@functools.cache
def _along_objects(name: str, count: int) -> Any:
    """An operation as a ufunc on object arrays."""
    return np.frompyfunc(getattr(_handle, name), count, 1)


# ---- ufuncs ------------------------------------------------------------------------------------

_BY_UFUNC = {getattr(np, row.numpy): row.name for row in OPERATIONS if row.numpy}
_BY_UFUNC |= {np.fabs: "abs", np.deg2rad: "radians", np.rad2deg: "degrees", np.float_power: "pow"}

_OF_VALUES = {
    np.equal, np.not_equal, np.less, np.less_equal, np.greater, np.greater_equal,
    np.isnan, np.isinf, np.isfinite, np.signbit,
    np.logical_and, np.logical_or, np.logical_xor, np.logical_not,
}  # fmt: skip
"""Ufuncs whose answer is no number: they look at the values."""


_FORMS = {ufunc: _along_objects(name, ufunc.nin) for ufunc, name in _BY_UFUNC.items()} | {
    np.divmod: np.frompyfunc(divmod, 2, 2),
    np.conjugate: np.frompyfunc(operator.pos, 1, 1),
    np.matmul: np.matmul,
}
"""For each supported ufunc the one that does on objects what it does on floats."""

_value = np.frompyfunc(_handle._peek, 1, 1)


def _as_values(x: Any) -> Any:
    """The values of variables, as floats where nothing else is among them."""
    if not isinstance(x, (Var, Dual)) and np.asarray(x).dtype != object:
        return x
    values = np.asarray(_value(x if isinstance(x, np.ndarray) else as_array(x, "a comparison")))
    try:
        return values.astype(np.float64)
    except (TypeError, ValueError):
        return values


def _is_numbers(array: Any) -> bool:
    """Whether variables cannot be written to `array` without losing their derivative."""
    return isinstance(array, np.ndarray) and array.dtype.kind in "iufc"


def _as_floats(x: Any) -> Any:
    """Variables as floats: constants become them, others refuse."""
    return (
        np.asarray(x, np.float64)
        if isinstance(x, (Var, Dual)) or np.asarray(x).dtype == object
        else x
    )


def array_ufunc(ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
    """`Var.__array_ufunc__` for all that is not a plain call on scalars."""
    if ufunc in _OF_VALUES:
        if _handle._is_guarding():
            from pyad.array._guards import decide_ufunc

            decide_ufunc(ufunc, method, inputs)
        return getattr(ufunc, method)(*map(_as_values, inputs), **options)
    what = f"np.{ufunc.__name__}"
    form = _FORMS.get(ufunc)
    if form is None and method == "__call__" and not options:
        from pyad.scipy import form_of_ufunc

        form_of_scipy = form_of_ufunc(ufunc)
        if form_of_scipy is not None:
            return form_of_scipy(*inputs)
    if form is None:
        from pyad.array import _ufuncs

        if ufunc in _ufuncs.CALLS:
            return _ufuncs.array_ufunc(ufunc, method, *inputs, **options)
        raise error("NO_UFUNC", ufunc.__name__, f".{method}" if method != "__call__" else "")
    target = inputs[:1] if method == "at" else options.get("out", ())
    if any(map(_is_numbers, target)):
        return getattr(ufunc, method)(*map(_as_floats, inputs), **options)
    if method == "at":
        return ufunc.at(*inputs[:2], *(as_array(x, what) for x in inputs[2:]))
    count = 1 if method in ("reduce", "accumulate", "reduceat") else len(inputs)
    operands = [as_array(x, what).astype(object) for x in inputs[:count]]
    options.pop("dtype", None)
    return getattr(form, method)(*operands, *inputs[count:], **options)
