"""The results of many rows put together: stacked along a leading axis, or added up."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from pyad._binding import error
from pyad._handle import Array, Var
from pyad.compiled._arguments import NUMBER, Branch, Layout, Opaque, Plain, Shaped, size_of

__all__ = ["Results", "Sum", "joined"]

Floats = npt.NDArray[np.float64]


class Sum:
    """A sum that loses nothing to its length (A. Neumaier, 1974), of vectors."""

    def __init__(self, count: int) -> None:
        self._total, self._rest = np.zeros(count), np.zeros(count)

    def add(self, x: Floats, rest: Any = 0.0) -> None:
        """Add a vector, and what it lacks to be exact."""
        with np.errstate(invalid="ignore", over="ignore"):
            before, total = self._total, self._total + x
            lost = np.where(np.abs(before) >= np.abs(x), (before - total) + x, (x - total) + before)
            self._rest += np.where(np.isfinite(total), lost, 0.0) + rest
        self._total = total

    @property
    def value(self) -> Floats:
        """What was added so far."""
        return self._total + self._rest


class Results:
    """What a function returned in each of `rows` rows, or with `summed` the sum."""

    def __init__(self, rows: int, summed: bool) -> None:
        self.rows, self.summed = rows, summed
        self._known: dict[Layout, int] = {}
        self._which: Any = None if summed else np.zeros(rows, np.int32)
        self._matrices: dict[int, Floats] = {}
        """By the count of numbers in a row: recordings of one count share one."""
        self._sums: list[Sum] = []
        self._added: list[int] = []

    def matrix(self, count: int) -> Floats:
        """Where rows of so many numbers go."""
        if count not in self._matrices:
            self._matrices[count] = np.empty((self.rows, count))
        return self._matrices[count]

    def note(self, layout: Layout, index: Any) -> None:
        """The rows `index` of the matrix are of this layout."""
        self._which[index] = self._number(layout)

    def add(self, layout: Layout, rows: int, x: Floats, rest: Any = 0.0) -> None:
        """Add the sum of some rows of this layout, and what it lacks to be exact."""
        number = self._number(layout)
        self._added[number] += rows
        self._sums[number].add(x, rest)

    def _number(self, layout: Layout) -> int:
        number = self._known.setdefault(layout, len(self._known))
        if number == len(self._sums):
            self._sums.append(Sum(size_of(layout) if self.summed else 0))
            self._added.append(0)
        return number

    def tree(self) -> Any:
        """All of them, in the structure of the result."""
        if self.summed:
            found = [
                _tree(layout, _pieces(layout, self._sums[i].value), _Times(self._added[i]))
                for layout, i in self._known.items()
            ]
            for other in found[1:]:
                found[0] = _added(found[0], other)
            return found[0]
        trees, places = [], []
        for layout, number in self._known.items():
            numbers = self.matrix(size_of(layout))
            index = None
            if len(self._known) > 1:
                index = np.flatnonzero(self._which == number)
                if not index.size and self.rows:
                    continue
                numbers = numbers[index]
            columns = _columns(layout, numbers)
            trees.append(_tree(layout, columns, _Repeated(len(numbers))))
            places.append(index)
        return trees[0] if len(trees) == 1 else _merged(trees, places, self.rows)


# ---- numbers of layouts ----------------------------------------------------------------------


def _shapes(layout: Layout) -> Iterator[tuple[int, ...]]:
    if layout is NUMBER:
        yield ()
    elif type(layout) is Shaped:
        yield layout.shape
    elif type(layout) is Branch:
        for child in layout.children:
            yield from _shapes(child)


def _columns(layout: Layout, numbers: Floats) -> Iterator[Floats]:
    """Of each number or array of the layout those of all rows, of their own."""
    start = 0
    for shape in _shapes(layout):
        end = start + math.prod(shape)
        whole = start == 0 and end == numbers.shape[1]
        part = numbers if whole else numbers[:, start:end].copy()
        yield part.reshape(len(numbers), *shape)
        start = end


def _pieces(layout: Layout, numbers: Floats) -> Iterator[Any]:
    start = 0
    for shape in _shapes(layout):
        end = start + math.prod(shape)
        yield numbers[start:end].reshape(shape).copy() if shape else float(numbers[start])
        start = end


# ---- structure -------------------------------------------------------------------------------


def _tree(layout: Layout, numbers: Iterator[Any], fixed: Callable[[Any], Any]) -> Any:
    """A structure around what stands for its numbers; `fixed` of what is no number."""
    if layout is NUMBER or type(layout) is Shaped:
        return next(numbers)
    if type(layout) is not Branch:
        return fixed(layout)
    items = [_tree(child, numbers, fixed) for child in layout.children]
    if layout.kind is np.ndarray:
        return _array_of(items, layout.keys)
    if layout.kind is slice:
        raise _refused("a slice")
    return _container(layout.kind, layout.keys, items)


def _container(kind: type, keys: Any, items: list[Any]) -> Any:
    if keys is not None:
        return kind(zip(keys, items, strict=True))
    return kind._make(items) if hasattr(kind, "_make") else kind(items)


def _array_of(items: list[Any], shape: Any) -> Any:
    """The items of an array of objects, which are numbers or stacks of them."""
    if not all(isinstance(x, float) or getattr(x, "dtype", None) == np.float64 for x in items):
        raise _refused("an array of objects")
    stacked = np.array(items, np.float64)
    return np.moveaxis(stacked, 0, -1).reshape(*stacked.shape[1:], *shape)


class _Repeated:
    """What is no number, for so many rows: whole numbers and texts as arrays, None as it is."""

    def __init__(self, rows: int) -> None:
        self.rows = rows

    def __call__(self, layout: Plain | Opaque) -> Any:
        x = _value(layout)
        if x is None:
            return None
        if isinstance(x, np.ndarray):
            return np.repeat(x[None], self.rows, axis=0)
        if isinstance(x, (bool, int, complex, str, bytes, np.generic)):
            return np.array([x] * self.rows, dtype=np.asarray(x).dtype)
        found = np.empty(self.rows, dtype=object)
        found[:] = [x] * self.rows
        return found


class _Times:
    """What is no float, added up over so many rows."""

    def __init__(self, rows: int) -> None:
        self.rows = rows

    def __call__(self, layout: Plain | Opaque) -> Any:
        x = _value(layout)
        if x is None:
            return None
        if isinstance(x, (bool, int)):
            return int(x) * self.rows
        if isinstance(x, (np.ndarray, np.generic, complex)) and np.asarray(x).dtype.kind in "biufc":
            return np.asarray(x) * self.rows if isinstance(x, np.ndarray) else x.item() * self.rows  # type: ignore[union-attr]
        raise error(
            "BATCH",
            f'reduce="sum" adds up all that the function returns, and a {type(x).__name__} is no '
            "number: return numbers and arrays only",
        )


def _value(layout: Plain | Opaque) -> Any:
    if isinstance(layout, Plain) and layout.kind is np.ndarray:
        dtype, shape, raw = layout.value
        return np.frombuffer(raw, np.dtype(dtype)).reshape(shape)
    return layout.value


def _refused(what: str) -> Exception:
    return error("BATCH", f"the rows of a batch return {what}, which cannot be put together")


# ---- rows of several layouts -----------------------------------------------------------------


def _matched(trees: Sequence[Any], leaf: Callable[[list[Any]], Any]) -> Any:
    """Trees of one structure as one; `leaf` puts their leaves together."""
    first = trees[0]
    if not isinstance(first, (list, tuple, dict)):
        if any(isinstance(tree, (list, tuple, dict)) for tree in trees):
            raise _differ(trees)
        return leaf(list(trees))
    keys = tuple(first) if isinstance(first, dict) else None
    for tree in trees:
        if type(tree) is not type(first) or len(tree) != len(first):
            raise _differ(trees)
        if keys is not None and set(tree) != set(keys):
            raise _differ(trees)
    items = [_matched([t[key] for t in trees], leaf) for key in keys or range(len(first))]
    return _container(type(first), keys, items)


def _merged(trees: Sequence[Any], places: Sequence[Any], rows: int) -> Any:
    """Stacks of some rows each as the stack of all."""

    def merge(leaves: list[Any]) -> Any:
        if all(leaf is None for leaf in leaves):
            return None
        kinds = {getattr(leaf, "dtype", np.dtype("O")).kind for leaf in leaves}
        shapes = {np.shape(leaf)[1:] for leaf in leaves}
        if (
            any(leaf is None for leaf in leaves)
            or len(shapes) > 1
            or not (kinds <= set("biufc") or len(kinds) == 1)
        ):
            raise _differ(leaves)
        found = np.empty((rows, *shapes.pop()), np.result_type(*leaves))
        for leaf, place in zip(leaves, places, strict=True):
            found[place] = leaf
        return found

    return _matched(trees, merge)


def _added(a: Any, b: Any) -> Any:
    def add(leaves: list[Any]) -> Any:
        x, y = leaves
        if x is None and y is None:
            return None
        if x is None or y is None or np.shape(x) != np.shape(y):
            raise _differ([None if leaf is None else np.asarray(leaf)[None] for leaf in leaves])
        return x + y

    return _matched([a, b], add)


def _differ(found: Sequence[Any]) -> Exception:
    texts = list(dict.fromkeys(_described(x) for x in found))
    return error(
        "BATCH",
        "the rows of a batch must return results of one structure and shape, and some return "
        f"{' and some '.join(texts[:2])}: call the function row by row",
    )


def _described(x: Any) -> str:
    """In words; arrays have a leading axis of rows."""
    if isinstance(x, np.ndarray):
        return f"an array of shape {x.shape[1:]}" if x.ndim > 1 else f"a number ({x.dtype})"
    if isinstance(x, dict):
        return f"a dict of {', '.join(map(repr, x))}"
    if isinstance(x, (list, tuple)):
        return f"a {type(x).__name__} of {len(x)}"
    return "None" if x is None else f"a {type(x).__name__}"


# ---- variables -------------------------------------------------------------------------------


def joined(trees: Sequence[Any], summed: bool) -> Any:
    """The results of rows that hold variables, stacked or added up."""
    from pyad import numpy as with_variables  # imports what imports this module

    def join(leaves: list[Any]) -> Any:
        if all(leaf is None for leaf in leaves):
            return None
        if not any(isinstance(leaf, (Var, Array)) for leaf in leaves):
            stacked: Any = np.stack([np.asarray(leaf) for leaf in leaves])
        else:
            stacked = with_variables.stack([with_variables.asarray(leaf) for leaf in leaves])
        return with_variables.sum(stacked, axis=0) if summed else stacked

    return _matched(trees, join)
