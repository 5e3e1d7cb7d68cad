"""What can become an `Array`: numbers, variables, nested lists and object arrays of them."""

from __future__ import annotations

from typing import Any

import numpy as np

from pyad import _handle
from pyad._binding import error
from pyad._handle import Array, Dual, Var

__all__ = ["as_array", "as_gradient", "parts_of", "text_of"]


def _objects(x: Any, what: str) -> Any:
    """Nested lists of numbers, variables and arrays as one object array of numbers."""
    if isinstance(x, Array):
        values, rows, tape = _handle._array_parts(x)
        if rows is None:
            return values.astype(object)
        places = np.empty(values.shape, object)
        places[...] = np.frompyfunc(lambda v, r: _Place(v, r, tape), 2, 1)(values, rows)
        return places
    if isinstance(x, (list, tuple)):
        items = [_objects(item, what) for item in x]
        try:
            return np.stack(items).astype(object) if items else np.empty(0, object)
        except ValueError as cause:
            raise error("NOT_A_NUMBER", what, type(x).__name__, f": {cause}") from cause
    if isinstance(x, np.ndarray):
        return x.astype(object)
    single = np.empty((), dtype=object)
    single[()] = x
    return single


class _Place:
    """An element of an array on its way into another one."""

    __slots__ = ("row", "tape", "value")

    def __init__(self, value: float, row: int, tape: Any) -> None:
        self.value, self.row, self.tape = value, row, tape


def parts_of(x: Any, what: str) -> tuple[Any, Any, Any]:
    """(values, rows or None, tape or None) of anything that can become an array."""
    if isinstance(x, Array):
        return _handle._array_parts(x)
    if isinstance(x, (Var, float, int)):
        row, tape = _handle._array_row(x)
        single = np.asarray(_handle._peek(x), dtype=np.float64)
        return single, (np.asarray(row, np.uint32) if row else None), tape
    if isinstance(x, Dual):
        _handle._refuse_dual(x)
    if isinstance(x, (str, bytes, dict, set)) or x is None or callable(x):
        _handle._refuse(what, x)
    if isinstance(x, (np.ma.MaskedArray, np.matrix)):  # their operators mean something else
        masked = isinstance(x, np.ma.MaskedArray)
        remedy = ": give x.filled(...), or x.data" if masked else ": give np.asarray(x)"
        raise error("NOT_A_NUMBER", what, f"a {type(x).__name__}", remedy)
    array = _objects(x, what) if isinstance(x, (list, tuple)) else np.asarray(x)
    if array.dtype.kind in "biuf":
        return array.astype(np.float64, order="C"), None, None
    if array.dtype != object:
        remedy = ": convert it with array.astype(float), or take its real part"
        raise error("NOT_A_NUMBER", what, f"an array of {array.dtype}", remedy)
    values = np.empty(array.shape)
    rows = np.zeros(array.shape, dtype=np.uint32)
    tape = None
    flat_values, flat_rows = values.reshape(-1), rows.reshape(-1)
    number: float
    for i, item in enumerate(array.ravel().tolist()):
        if isinstance(item, _Place):
            number, row, found = item.value, item.row, item.tape
        elif isinstance(item, (Var, Dual)):
            _handle._refuse_dual(item)
            number, (row, found) = _handle._peek(item), _handle._array_row(item)
        else:
            number, row, found = _number(item, what), 0, None
        if row and tape is not None and found is not tape:
            raise error("MIXED_TAPES", what)
        flat_values[i], flat_rows[i] = number, row
        tape = found if row else tape
    return values, (rows if tape is not None else None), tape


def _number(item: Any, what: str) -> float:
    if isinstance(item, (float, int, np.floating, np.integer, np.bool_)):
        return float(item)
    if hasattr(item, "__float__") and not isinstance(item, (str, complex, np.complexfloating)):
        return float(item)
    _handle._refuse(what, item)


def as_array(x: Any, what: str) -> Array:
    """`x` as an `Array`: a constant if no variable is in it, else one that depends on them."""
    values, rows, tape = parts_of(x, what)
    return _handle._array_of_parts(values, rows, tape if tape is not None else _any_tape())


def _any_tape() -> Any:
    return _handle.current_tape()


def as_gradient(a: Array, value: Any) -> Any:
    """What is assigned to `.grad` of a leaf: flat floats, or an `Array` that is recorded."""
    if isinstance(value, Array) and value.requires_grad:
        if value.shape != a.shape:
            raise error("ARGUMENT_SHAPE", "the gradient", str(a.shape), str(value.shape))
        return value.reshape(-1)
    given = np.asarray(value.value if isinstance(value, Array) else value, dtype=np.float64)
    if given.shape != a.shape:
        raise error("ARGUMENT_SHAPE", "the gradient", str(a.shape), str(given.shape))
    return given.ravel().copy()


def text_of(a: Array) -> str:
    """`repr` of an array: that of its values, and what it is."""
    values = np.array2string(a.value, separator=", ", prefix="Array(")
    if a._is_ended:
        kind = ", of an ended recording"
    elif not a.requires_grad:
        kind = ", requires_grad=False"
    else:
        kind = "" if a.is_leaf else ", recorded"
    name = f", name={a.name!r}" if a.name is not None else ""
    return f"Array({values}{name}{kind})"
