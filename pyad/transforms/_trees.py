"""Arguments and results of functions as lists of leaves, and back again.

A tree is a leaf (a number or an array), or a list, tuple, named tuple or dict of trees. Its `Shape`
remembers everything but the numbers. One after the other, the numbers of all leaves make a vector.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any, NamedTuple, TypeGuard

import numpy as np
import numpy.typing as npt

from pyad import _handle
from pyad._binding import error
from pyad._handle import Dual, Var

__all__ = [
    "Array",
    "Branch",
    "Numbers",
    "Scalar",
    "Shape",
    "flatten",
    "flatten_like",
    "is_flat",
    "numbers_of",
    "values_of",
]

Floats = npt.NDArray[np.float64]
Rows = npt.NDArray[np.uint32]


class Numbers(NamedTuple):
    """A vector of numbers and variables: values, and of each the node on a tape + 1, or 0."""

    values: Floats
    rows: Rows

    def part(self, start: int, end: int) -> Numbers:
        """Those from `start` to before `end`."""
        return Numbers(self.values[start:end], self.rows[start:end])

    @property
    def any_variable(self) -> bool:
        """True if any of them is a variable."""
        return bool(self.rows.any())


@dataclass(frozen=True)
class Scalar:
    """One number."""

    size = 1
    shape: tuple[int, ...] = ()

    def build(self, leaves: Iterator[Any]) -> Any:
        """The next leaf."""
        return next(leaves)


SCALAR = Scalar()
"""The only one of its kind that trees are made of."""


@dataclass(frozen=True)
class Array:
    """An array of numbers."""

    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """How many numbers it holds."""
        return int(np.prod(self.shape, dtype=np.int64))

    def build(self, leaves: Iterator[Any]) -> Any:
        """The next leaf, in this shape."""
        return next(leaves).reshape(self.shape)


array_of = functools.lru_cache(maxsize=256)(Array)
"""`Array`, made once for each of the shapes in use."""


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

    @property
    def is_flat(self) -> bool:
        """True if all children are numbers."""
        children = self.children
        return not children or (children[0] is SCALAR and children.count(SCALAR) == len(children))

    def build(self, leaves: Iterator[Any]) -> Any:
        """The same structure with other leaves."""
        if self.is_flat:
            return self.join(list(itertools.islice(leaves, len(self.children))))
        return self.join([child.build(leaves) for child in self.children])

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
    return isinstance(shape, Branch) and shape.is_flat


def leaf_shapes(shape: Shape) -> Iterator[Scalar | Array]:
    """The shapes of the leaves, in order."""
    if not isinstance(shape, Branch):
        yield shape
    elif shape.is_flat:
        yield from shape.children  # type: ignore[misc]  # numbers all of them
    else:
        for child in shape.children:
            yield from leaf_shapes(child)


def split(shape: Shape, values: Floats) -> Any:
    """A vector of floats in the structure of `shape`."""
    return shape.build(_pieces(shape, values))


def _pieces(shape: Shape, values: Floats) -> Iterator[Any]:
    if is_flat(shape):
        yield from values.tolist()
        return
    start = 0
    for leaf in leaf_shapes(shape):
        if isinstance(leaf, Scalar):
            yield float(values[start])
            start += 1
        else:
            yield values[start : start + leaf.size]
            start += leaf.size


def split_variables(shape: Shape, numbers: Numbers, tape: Any) -> Any:
    """A vector of numbers and variables of a tape in the structure of `shape`."""
    return shape.build(iter(variables_of(shape, numbers, tape)))


def variables_of(shape: Shape, numbers: Numbers, tape: Any) -> list[Any]:
    """The leaves that the vector holds: floats and Vars, flat Arrays."""
    start = 0
    leaves: list[Any] = []
    values, rows = numbers
    for leaf in leaf_shapes(shape):
        part = slice(start, start + leaf.size)
        start += leaf.size
        if isinstance(leaf, Array):
            given = rows[part] if rows[part].any() else None
            leaves.append(_handle._array_of_parts(values[part], given, tape))
        else:
            row = int(rows[part][0])
            leaves.append(_handle._at(tape, row - 1) if row else float(values[part][0]))
    return leaves


def numbers_of(leaves: list[Any], tape: Any, what: str, *, strict: bool = True) -> Numbers:
    """The leaves as a vector; variables of another tape are refused, or constants."""
    return Numbers(*_handle._flat(tape, leaves, what, strict))


def flatten(tree: Any, what: str) -> tuple[list[Any], Shape]:
    """The leaves of a tree in order, and its shape; `what` names it in an error."""
    leaves: list[Any] = []
    return leaves, _flatten(tree, what, leaves)


_NUMBERS = frozenset((float, int, Var))
"""The types of most leaves that are one number."""


def _flatten(tree: Any, what: str, leaves: list[Any]) -> Shape:
    if type(tree) in _NUMBERS:
        leaves.append(tree)
        return SCALAR
    if isinstance(tree, _handle.Array) or (
        isinstance(tree, np.ndarray) and tree.dtype.kind in "biufO"
    ):
        leaves.append(tree)
        return array_of(tree.shape)
    if isinstance(tree, (list, tuple)):
        kind = type(tree) if hasattr(tree, "_make") else list if isinstance(tree, list) else tuple
        if _NUMBERS.issuperset(map(type, tree)):
            leaves.extend(tree)
            return Branch(kind, (SCALAR,) * len(tree))
        return Branch(kind, tuple(_flatten(item, what, leaves) for item in tree))
    if isinstance(tree, Real):  # Var and Dual are registered as such
        leaves.append(tree)
        return SCALAR
    if isinstance(tree, Mapping):
        children = tuple(_flatten(item, what, leaves) for item in tree.values())
        return Branch(dict, children, tuple(tree))
    _handle._refuse(what, tree)


def number_or_dict(x: Any, what: str) -> Any:
    """A real number of any type as it is, a mapping as a dict; `what` names it in an error."""
    if isinstance(x, Mapping):
        return dict(zip(x, x.values(), strict=True))
    if not isinstance(x, Real):
        _handle._refuse(what, x)
    return x


def flatten_like(tree: Any, shape: Shape, what: str) -> list[Any]:
    """The leaves of a tree in the order of `shape`, which it must have: keys, lengths, shapes."""
    if isinstance(shape, Branch):
        items: list[Any] | None = None
        if shape.keys is not None:
            if isinstance(tree, Mapping) and set(tree) == set(shape.keys):
                items = [tree[key] for key in shape.keys]
        elif isinstance(tree, (list, tuple, np.ndarray, _handle.Array)) and len(tree) == len(
            shape.children
        ):
            items = list(tree)
        if items is None:
            wanted = f"of a {shape.kind.__name__} with {len(shape.children)} entries"
            raise error("ARGUMENT_SHAPE", what, wanted, f"that of {tree!r:.60}")
        if shape.is_flat and _NUMBERS.issuperset(map(type, items)):
            return items
        pairs = zip(items, shape.children, strict=True)
        return [x for item, child in pairs for x in flatten_like(item, child, what)]
    if shape.shape and not isinstance(tree, _handle.Array):
        tree = np.asarray(tree)
    leaves, given = flatten(tree, what)
    found = given.shape if not isinstance(given, Branch) else (given.size,)
    if isinstance(given, Branch) or found != shape.shape:
        raise error("ARGUMENT_SHAPE", what, str(shape.shape), str(found))
    return leaves


def values_of(tree: Any) -> Any:
    """The tree with the values of its variables; what is no number stays."""
    if isinstance(tree, (Var, Dual, _handle.Array)):
        return tree.value
    if isinstance(tree, np.ndarray) and tree.dtype == object:
        return np.array([values_of(x) for x in tree.ravel()], np.float64).reshape(tree.shape)
    if isinstance(tree, tuple) and hasattr(tree, "_make"):
        return type(tree)._make(values_of(x) for x in tree)
    if isinstance(tree, (list, tuple)):
        return type(tree)(values_of(x) for x in tree)
    if isinstance(tree, dict):
        return {key: values_of(x) for key, x in tree.items()}
    return tree
