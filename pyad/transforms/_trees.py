"""Arguments and results of functions as flat lists of numbers, and back again.

A tree is a number, an array, or a list, tuple, named tuple or dict of trees. Its `Shape` remembers
everything but the numbers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from numbers import Real
from typing import Any, TypeGuard

import numpy as np

from pyad import _handle
from pyad._binding import error
from pyad._handle import Dual, Var

__all__ = ["Array", "Branch", "Scalar", "Shape", "flatten", "flatten_like", "is_flat"]


@dataclass(frozen=True)
class Scalar:
    """One number."""

    size = 1
    shape: tuple[int, ...] = ()

    def build(self, numbers: Iterator[Any]) -> Any:
        """The next number."""
        return next(numbers)


@dataclass(frozen=True)
class Array:
    """An array of numbers."""

    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """How many numbers it holds."""
        return int(np.prod(self.shape, dtype=np.int64))

    def build(self, numbers: Iterator[Any]) -> Any:
        """An array of the next numbers: of floats, or of objects if variables are among them."""
        return as_array(list(islice(numbers, self.size)), self.shape)


@dataclass(frozen=True)
class Branch:
    """A list, tuple, named tuple or dict (`keys`) of trees."""

    kind: type
    children: tuple[Shape, ...]
    keys: tuple[Any, ...] | None = None

    @property
    def size(self) -> int:
        """How many numbers it holds."""
        return sum(child.size for child in self.children)

    def build(self, numbers: Iterator[Any]) -> Any:
        """The same structure with other numbers."""
        return self.join([child.build(numbers) for child in self.children])

    def join(self, items: Sequence[Any]) -> Any:
        """The same structure around given items."""
        if self.keys is not None:
            return dict(zip(self.keys, items, strict=True))
        if hasattr(self.kind, "_make"):
            return self.kind._make(items)
        return self.kind(items)


Shape = Scalar | Array | Branch


def is_flat(shape: Shape) -> TypeGuard[Branch]:
    """True for a list, tuple or dict of numbers."""
    return isinstance(shape, Branch) and all(type(child) is Scalar for child in shape.children)


def as_array(numbers: list[Any], shape: tuple[int, ...]) -> Any:
    """An array of floats, or of objects if any of them is no float."""
    if all(type(x) is float for x in numbers):
        return np.array(numbers, dtype=np.float64).reshape(shape)
    array = np.empty(len(numbers), dtype=object)
    array[:] = numbers
    return array.reshape(shape)


def flatten(tree: Any, what: str) -> tuple[list[Any], Shape]:
    """The numbers of a tree in order, and its shape; `what` names it in an error."""
    numbers: list[Any] = []
    return numbers, _flatten(tree, what, numbers)


def _flatten(tree: Any, what: str, numbers: list[Any]) -> Shape:
    if isinstance(tree, Real):  # Var is registered as one
        numbers.append(tree)
        return Scalar()
    if isinstance(tree, np.ndarray) and tree.dtype.kind in "biufO":
        numbers.extend(tree.ravel().tolist())
        return Array(tree.shape)
    if isinstance(tree, (list, tuple)):
        kind = type(tree) if hasattr(tree, "_make") else list if isinstance(tree, list) else tuple
        return Branch(kind, tuple(_flatten(item, what, numbers) for item in tree))
    if isinstance(tree, Mapping):
        children = tuple(_flatten(item, what, numbers) for item in tree.values())
        return Branch(dict, children, tuple(tree))
    _handle._refuse(what, tree)


def flatten_like(tree: Any, shape: Shape, what: str) -> list[Any]:
    """The numbers of a tree in the order of `shape`, which it must have: keys, lengths, shapes."""
    if isinstance(shape, Branch):
        items: list[Any] | None = None
        if shape.keys is not None:
            if isinstance(tree, Mapping) and set(tree) == set(shape.keys):
                items = [tree[key] for key in shape.keys]
        elif isinstance(tree, (list, tuple, np.ndarray)) and len(tree) == len(shape.children):
            items = list(tree)
        if items is None:
            wanted = f"of a {shape.kind.__name__} with {len(shape.children)} entries"
            raise error("ARGUMENT_SHAPE", what, wanted, f"that of {tree!r:.60}")
        pairs = zip(items, shape.children, strict=True)
        return [x for item, child in pairs for x in flatten_like(item, child, what)]
    numbers, given = flatten(np.asarray(tree) if shape.shape else tree, what)
    found = given.shape if not isinstance(given, Branch) else (given.size,)
    if isinstance(given, Branch) or found != shape.shape:
        raise error("ARGUMENT_SHAPE", what, str(shape.shape), str(found))
    return numbers


def values_of(tree: Any) -> Any:
    """The tree with the values of its variables; what is no number stays."""
    if isinstance(tree, (Var, Dual)):
        return tree.value
    if isinstance(tree, np.ndarray) and tree.dtype == object:
        return as_array([values_of(x) for x in tree.ravel().tolist()], tree.shape)
    if isinstance(tree, tuple) and hasattr(tree, "_make"):
        return type(tree)._make(values_of(x) for x in tree)
    if isinstance(tree, (list, tuple)):
        return type(tree)(values_of(x) for x in tree)
    if isinstance(tree, dict):
        return {key: values_of(x) for key, x in tree.items()}
    return tree
