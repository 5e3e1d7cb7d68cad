"""The arguments of a batch: arrays with a leading axis of rows, and what all rows share."""

from __future__ import annotations

import collections
import inspect
import math
from collections.abc import Callable, Iterator, Sequence
from numbers import Real
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from pyad._binding import error
from pyad._handle import Array, Dual, Var
from pyad.compiled._arguments import Opaque, Role, has_opaque, layout_of

__all__ = ["Input", "Rows"]

Floats = npt.NDArray[np.float64]

_CONTAINERS = (list, tuple, dict, collections.OrderedDict)


class Input(NamedTuple):
    """One input of a recording, over all rows."""

    array: Any
    """Its numbers, with a leading axis if it has rows; otherwise flat, as C takes them."""
    shape: tuple[int, ...]
    """Of one row."""
    has_rows: bool
    argument: int | None
    """Which of the positional arguments it belongs to, if that is differentiated."""

    @property
    def size(self) -> int:
        """Numbers in a row."""
        return math.prod(self.shape)

    def part(self, where: Any, rows: int) -> Floats:
        """The numbers of some rows, side by side."""
        given = np.ascontiguousarray(self.array[where], dtype=np.float64)
        return given.reshape(rows, self.size)


class Rows:
    """The arguments of all rows; `count` of them."""

    def __init__(
        self, f: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any], shared: Any
    ) -> None:
        places, names = _shared(shared, f, args, kwargs)
        self._has_rows: dict[int | str, bool] = {}
        self.args: list[Any] = []
        self.kwargs: dict[str, Any] = {}
        lengths: dict[int | str, int] = {}
        for i, x in enumerate(args):
            self.args.append(self._take(i, x, i not in places, lengths))
        for name, x in kwargs.items():
            self.kwargs[name] = self._take(name, x, name not in names, lengths)
        if not lengths:
            raise error(
                "BATCH",
                "no argument of the batch has rows: give arrays with a leading axis of rows, or "
                "call the function itself",
            )
        if len(set(lengths.values())) > 1:
            given = ", ".join(f"{_name(key)} has {n}" for key, n in lengths.items())
            raise error(
                "BATCH",
                "all arguments of a batch must have the same number of rows (the length of the "
                f"leading axis), and {given}: name those that all rows share, as in "
                f"shared={list(lengths)[-1]!r}",
            )
        self.count = next(iter(lengths.values()))

    def _take(self, key: int | str, x: Any, has_rows: bool, lengths: dict[int | str, int]) -> Any:
        """An argument as it is kept; the number of its rows goes to `lengths`."""
        self._has_rows[key] = has_rows
        if not has_rows:
            return x
        x = _mapped(x, lambda leaf: _as_rows(leaf, key))
        found = [len(leaf) for leaf in _leaves(x) if _is_stacked(leaf)]
        if len(set(found)) > 1:
            text = f"{_name(key)} has arrays of {' and '.join(map(str, dict.fromkeys(found)))} rows"
            raise error("BATCH", f"{text}: all must have the same number")
        if found:
            lengths[key] = found[0]
        elif isinstance(x, (list, tuple)) and any(isinstance(leaf, Real) for leaf in _leaves(x)):
            raise error(
                "BATCH",
                f"{_name(key)} is a {type(x).__name__} of numbers, which may be meant as rows or "
                f"as shared by all rows: give np.array(...) for rows, or shared={key!r}",
            )
        return x

    def row(self, r: int) -> tuple[list[Any], dict[str, Any]]:
        """The arguments of one row."""

        def at(leaf: Any) -> Any:
            return _row_of(leaf, r) if _is_stacked(leaf) else leaf

        args = [_mapped(x, at) if self._has_rows[i] else x for i, x in enumerate(self.args)]
        named = self.kwargs.items()
        return args, {k: _mapped(x, at) if self._has_rows[k] else x for k, x in named}

    def sample(self) -> tuple[list[Any], dict[str, Any]]:
        """The first row, or where there is none one of ones."""
        args = [_mapped(x, _sample_of) if self._has_rows[i] else x for i, x in enumerate(self.args)]
        named = self.kwargs.items()
        return args, {k: _mapped(x, _sample_of) if self._has_rows[k] else x for k, x in named}

    def has_rows(self, i: int) -> bool:
        """Whether rows of a positional argument differ."""
        return self._has_rows[i] and any(map(_is_stacked, _leaves(self.args[i])))

    @property
    def have_variables(self) -> bool:
        """Whether variables are among the numbers."""
        return any(
            isinstance(leaf, (Var, Dual, Array))
            or (isinstance(leaf, np.ndarray) and leaf.dtype == object)
            for x in [*self.args, *self.kwargs.values()]
            for leaf in _leaves(x)
        )

    def inputs(
        self, places: set[int], data: Role, names: Sequence[str]
    ) -> tuple[list[Input], list[Any]]:
        """The inputs of a recording, in its order; and the arrays that belong to the layout.

        `places` are differentiated; `data` is what other floats are; `names` are those of the
        keyword arguments, in the order of the layout.
        """
        inputs: list[Input] = []
        fixed: list[Any] = []
        keys: list[int | str] = [*range(len(self.args)), *names]
        for key in keys:
            x = self.args[key] if isinstance(key, int) else self.kwargs[key]
            role = Role.DIFFERENTIATED if key in places else data
            argument = key if isinstance(key, int) and key in places else None
            for leaf in _leaves(x) if self._has_rows[key] else [x]:
                numbers: list[Any] = []
                stacked = self._has_rows[key] and _is_stacked(leaf)
                layout_of(_sample_of(leaf) if stacked else leaf, numbers, role)
                if stacked and numbers:
                    inputs.append(Input(leaf, leaf.shape[1:], True, argument))
                elif stacked:
                    fixed.append(leaf)
                else:
                    for number in numbers:
                        flat = np.ascontiguousarray(number, dtype=np.float64).reshape(-1)
                        inputs.append(Input(flat, np.shape(number), False, argument))
        return inputs, fixed


# ---- looking into arguments ------------------------------------------------------------------


def _name(key: int | str) -> str:
    return f"argument {key}" if isinstance(key, int) else f"the argument {key}="


def _is_stacked(leaf: Any) -> bool:
    return isinstance(leaf, (np.ndarray, Array)) and leaf.ndim > 0


def _row_of(leaf: Any, r: int) -> Any:
    """A row, a number as Python's."""
    x = leaf[r]
    return x.item() if isinstance(x, np.generic) else x


def _sample_of(leaf: Any) -> Any:
    """The first row, or where there is none one of ones; of what has rows."""
    if not _is_stacked(leaf):
        return leaf
    return _row_of(leaf if len(leaf) else np.ones((1, *leaf.shape[1:]), leaf.dtype), 0)


def _is_container(x: Any) -> bool:
    return type(x) in _CONTAINERS or (isinstance(x, tuple) and hasattr(x, "_make"))


def _leaves(x: Any) -> Iterator[Any]:
    if not _is_container(x):
        yield x
        return
    for item in x.values() if isinstance(x, dict) else x:
        yield from _leaves(item)


def _mapped(x: Any, function: Callable[[Any], Any]) -> Any:
    """The same structure around other leaves."""
    if not _is_container(x):
        return function(x)
    if isinstance(x, dict):
        return type(x)((key, _mapped(item, function)) for key, item in x.items())
    items = [_mapped(item, function) for item in x]
    return type(x)._make(items) if hasattr(x, "_make") else type(x)(items)


def _as_rows(leaf: Any, key: int | str) -> Any:
    """A leaf of an argument that has rows; refused if it is not known whether it has any."""
    if isinstance(leaf, np.memmap):
        leaf = np.asarray(leaf)
    if type(leaf) is np.ndarray and leaf.dtype == object:
        if any(isinstance(item, (Var, Dual, Array)) for item in leaf.ravel()):
            return leaf
        try:
            return leaf.astype(np.float64)
        except (TypeError, ValueError):
            pass
    elif type(leaf) in (np.ndarray, Array, Var, Dual):
        return leaf
    layout = layout_of(leaf, [], Role.DATA)
    if type(layout) is Opaque or has_opaque(layout) or isinstance(leaf, np.ndarray):
        kind = type(leaf).__name__
        raise error(
            "BATCH",
            f"{_name(key)} has a {kind}{' of objects' if kind == 'ndarray' else ''}, of which the "
            f"rows are not known: give an array of numbers, np.asarray(...), or shared={key!r}",
        )
    return leaf


def _shared(
    shared: Any, f: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any]
) -> tuple[set[int], set[str]]:
    """The positions and names that `shared` names."""
    if shared is None:
        return set(), set()
    items = shared if isinstance(shared, (tuple, list, set, frozenset)) else (shared,)
    places, names = set(), set()
    for item in items:
        if isinstance(item, str):
            if item in kwargs:
                names.add(item)
            else:
                places.add(_position(item, f, len(args)))
            continue
        if isinstance(item, bool) or not isinstance(item, (int, np.integer)):
            raise error(
                "ARGUMENTS",
                f"shared names arguments by position or name, and {item!r:.60} is neither",
            )
        i = int(item)
        if not -len(args) <= i < len(args):
            raise error(
                "BATCH", f"shared names argument {i}, and {len(args)} positional ones were given"
            )
        places.add(i % len(args))
    return places, names


def _position(name: str, f: Callable[..., Any], given: int) -> int:
    """The place of a positional argument of this name."""
    try:
        parameters = list(inspect.signature(f).parameters)
    except (TypeError, ValueError):
        parameters = []
    if name not in parameters[:given]:
        raise error("BATCH", f"shared names {name!r}, and no argument of that name was given")
    return parameters.index(name)
