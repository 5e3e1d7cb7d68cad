"""Arguments and results of a compiled function: numbers on one side, all else on the other.

The *layout* of something is its structure without its numbers: which containers, which shapes, and
the values of what is no number (ints, strings, flags). Layouts are hashable; calls of one layout
share recordings. The numbers, floats and arrays of floats, are inputs, one after the other.
"""

from __future__ import annotations

import collections
import datetime
import decimal
import enum
import fractions
import itertools
import math
import types
from collections.abc import Iterator, Mapping, Sequence
from numbers import Real
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from pyad._handle import Array, Dual, Var
from pyad.transforms import _trees

__all__ = [
    "NUMBER",
    "Branch",
    "Layout",
    "Opaque",
    "Plain",
    "Role",
    "Shaped",
    "all_in",
    "build",
    "flat",
    "has_opaque",
    "is_numeric",
    "layout_of",
    "pieces",
    "shape_of",
    "size_of",
]

Floats = npt.NDArray[np.float64]


class Role(enum.Enum):
    """What something is to the function."""

    DIFFERENTIATED = 1
    """All numbers are inputs, whole ones too, in the structure that transforms know."""
    DATA = 2
    """Floats are inputs; whole numbers, which may be sizes and indices, belong to the layout."""
    CONSTANT = 3
    """Floats belong to the layout, too."""
    RESULT = 4


class Shaped(NamedTuple):
    """An array of floats."""

    shape: tuple[int, ...]


class Plain(NamedTuple):
    """What is no number, by its value; `text` where equal values may differ."""

    kind: type
    value: Any
    text: str | None = None


class Opaque:
    """An object whose state cannot be followed; equal to itself only."""

    def __init__(self, value: Any) -> None:
        self.value = value


class Branch(NamedTuple):
    """A container of layouts; `keys` of a mapping, with their types; or the shape of an array."""

    kind: type
    children: tuple[Any, ...]
    keys: tuple[Any, ...] | None = None
    key_types: tuple[type, ...] | None = None


NUMBER = "number"
"""The layout of one number."""
Layout = Any
"""NUMBER, or one of the classes above."""

_BY_VALUE = (int, str, bytes, type(None), type(Ellipsis), range, enum.Enum, np.dtype, type)
"""Types of values that never change, and are the same where they are equal."""
_BY_TEXT = (
    complex, np.generic, fractions.Fraction, decimal.Decimal,
    datetime.date, datetime.time, datetime.timedelta,
)  # fmt: skip
"""The same, but equal ones may differ: 0j and -0j, or times in different zones."""
_FUNCTIONS = (types.FunctionType, types.BuiltinFunctionType, np.ufunc, types.ModuleType)
"""By identity; the numbers around functions are watched."""


def layout_of(x: Any, numbers: list[Any], role: Role) -> Layout:
    """The layout of `x`, its numbers appended to `numbers`: variables as they are."""
    kind = type(x)
    if isinstance(x, (Var, Dual, Array)):
        numbers.append(x)
        return Shaped(x.shape) if isinstance(x, Array) else NUMBER
    if kind is float or isinstance(x, (float, np.floating)):
        if role is Role.CONSTANT:
            return Plain(kind, x, repr(x))
        numbers.append(x)
        return NUMBER
    if isinstance(x, np.ndarray):
        return _layout_of_array(x, numbers, role)
    if role is Role.DIFFERENTIATED and isinstance(x, Real):
        numbers.append(float(x))
        return NUMBER
    if isinstance(x, (list, tuple)):
        return _layout_of_sequence(x, numbers, role)
    if isinstance(x, Mapping):
        if role is not Role.DIFFERENTIATED and kind not in (dict, collections.OrderedDict):
            return Opaque(x)
        children = tuple([layout_of(item, numbers, role) for item in x.values()])
        kind = dict if role is Role.DIFFERENTIATED else kind
        return Branch(kind, children, tuple(x), tuple(map(type, x)))
    if isinstance(x, slice):
        return Branch(
            slice, tuple([layout_of(i, numbers, role) for i in (x.start, x.stop, x.step)])
        )
    if isinstance(x, _BY_VALUE):
        return Plain(kind, x)
    if isinstance(x, _BY_TEXT):
        return Plain(kind, x, repr(x))
    if isinstance(x, _FUNCTIONS) and role is not Role.RESULT:
        owner = getattr(x, "__self__", None)  # of a builtin method: rng.random, list.append
        if owner is None or isinstance(owner, (types.ModuleType, type)):
            return Plain(kind, x)
    return Opaque(x)


def _layout_of_sequence(x: Any, numbers: list[Any], role: Role) -> Layout:
    kind = type(x)
    if kind not in (list, tuple) and not hasattr(kind, "_make"):
        if role is not Role.DIFFERENTIATED:
            return Opaque(x)
        kind = list if isinstance(x, list) else tuple
    if role is not Role.CONSTANT and set(map(type, x)) == {float}:
        numbers.extend(x)
        return Branch(kind, (NUMBER,) * len(x))
    return Branch(kind, tuple([layout_of(item, numbers, role) for item in x]))


def _layout_of_array(x: Any, numbers: list[Any], role: Role) -> Layout:
    differentiated = role is Role.DIFFERENTIATED
    if type(x) is not np.ndarray and not differentiated:
        return Opaque(x)
    if x.dtype.kind == "O":
        items = x.ravel().tolist()
        if differentiated and all(
            isinstance(item, Real) and not isinstance(item, (Var, Dual)) for item in items
        ):
            numbers.append(np.array(items, np.float64).reshape(x.shape))
            return Shaped(x.shape)
        return Branch(
            np.ndarray, tuple([layout_of(item, numbers, role) for item in items]), x.shape
        )
    if (x.dtype.kind == "f" and role is not Role.CONSTANT) or (
        differentiated and x.dtype.kind in "biu"
    ):
        numbers.append(x)
        return Shaped(x.shape)
    if x.dtype.hasobject:
        return Opaque(x)
    return Plain(np.ndarray, (x.dtype.str, x.shape, x.tobytes()), str(x.dtype))


def build(layout: Layout, numbers: Iterator[Any]) -> Any:
    """What has this layout, around other numbers."""
    if layout is NUMBER or type(layout) is Shaped:
        return next(numbers)
    if type(layout) is Opaque:
        return layout.value
    if type(layout) is Plain:
        return _plain(layout)
    if is_flat(layout):
        items = list(itertools.islice(numbers, len(layout.children)))
    else:
        items = [build(child, numbers) for child in layout.children]
    if layout.kind is np.ndarray:
        if all(type(item) is float for item in items):
            return np.array(items, np.float64).reshape(layout.keys)
        array = np.empty(len(items), dtype=object)
        array[:] = items
        return array.reshape(layout.keys)
    if layout.keys is not None:
        return layout.kind(zip(layout.keys, items, strict=True))
    if layout.kind is slice:
        return slice(*items)
    if hasattr(layout.kind, "_make"):
        return layout.kind._make(items)
    return layout.kind(items)


def _plain(layout: Plain) -> Any:
    if layout.kind is np.ndarray:
        dtype, shape, raw = layout.value
        return np.frombuffer(raw, np.dtype(dtype)).reshape(shape).copy()
    return layout.value


# ---- looking into layouts ------------------------------------------------------------------------


def all_in(layout: Layout) -> Iterator[Any]:
    """The leaves of a layout: NUMBER, Shaped, Plain and Opaque."""
    if is_flat(layout):
        yield from layout.children
    elif type(layout) is Branch:
        for child in layout.children:
            yield from all_in(child)
    else:
        yield layout


def is_flat(layout: Layout) -> bool:
    """Whether it is a container of single numbers: looked at in one go, since it may be long."""
    return type(layout) is Branch and layout.children.count(NUMBER) == len(layout.children)


def shapes_in(layout: Layout) -> Iterator[tuple[int, ...] | None]:
    """The shape of each input, None of a single number."""
    for leaf in all_in(layout):
        if leaf is NUMBER:
            yield None
        elif type(leaf) is Shaped:
            yield leaf.shape


def size_of(layout: Layout) -> int:
    """How many numbers there are in all."""
    if is_flat(layout):
        return len(layout.children)
    if type(layout) is Branch:
        return sum(map(size_of, layout.children))
    return sum(1 if shape is None else _size(shape) for shape in shapes_in(layout))


def is_numeric(layout: Layout) -> bool:
    """Whether there is nothing but numbers."""
    if is_flat(layout):
        return True
    if type(layout) is Branch:
        return all(map(is_numeric, layout.children))
    return layout is NUMBER or type(layout) is Shaped


def has_opaque(layout: Layout) -> bool:
    """Whether there is an object whose state cannot be followed."""
    if type(layout) is Branch:
        return not is_flat(layout) and any(map(has_opaque, layout.children))
    return type(layout) is Opaque


def shape_of(layout: Layout) -> _trees.Shape:
    """The same as transforms have it, of a numeric layout."""
    if layout is NUMBER:
        return _trees.SCALAR
    if type(layout) is Shaped:
        return _trees.Array(layout.shape)
    if layout.kind is np.ndarray:
        return _trees.Array(layout.keys)
    kind = dict if layout.keys is not None else layout.kind
    return _trees.Branch(kind, tuple(map(shape_of, layout.children)), layout.keys)


def layout_of_shape(shape: _trees.Shape) -> Layout:
    """The reverse of `shape_of`."""
    if isinstance(shape, _trees.Scalar):
        return NUMBER
    if isinstance(shape, _trees.Array):
        return Shaped(shape.shape)
    if shape.is_flat:
        children: tuple[Any, ...] = (NUMBER,) * len(shape.children)
    else:
        children = tuple(map(layout_of_shape, shape.children))
    types_of_keys = None if shape.keys is None else tuple(map(type, shape.keys))
    return Branch(shape.kind, children, shape.keys, types_of_keys)


# ---- numbers -------------------------------------------------------------------------------------


def flat(numbers: Sequence[Any]) -> Floats:
    """Numbers and arrays, one after the other."""
    if len(numbers) == 1:
        return np.ascontiguousarray(numbers[0], dtype=np.float64).reshape(-1)
    if set(map(type, numbers)) <= {float}:
        return np.array(numbers, np.float64)
    return np.concatenate([np.asarray(x, dtype=np.float64).reshape(-1) for x in numbers])


def pieces(layout: Layout, values: Floats) -> Iterator[Any]:
    """The reverse of `flat`: floats, and arrays of their own."""
    if is_flat(layout):
        yield from values.tolist()
        return
    start = 0
    for shape in shapes_in(layout):
        if shape is None:
            yield float(values[start])
            start += 1
        else:
            size = _size(shape)
            yield values[start : start + size].reshape(shape).copy()
            start += size


def _size(shape: tuple[int, ...]) -> int:
    return math.prod(shape)
