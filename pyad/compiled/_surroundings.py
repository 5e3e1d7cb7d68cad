"""What a function takes from its surroundings, which a recording of it holds as constants.

`Surroundings` remembers numbers, arrays and containers in closures, defaults, globals, attributes
of modules, and of objects with a `__dict__` that are found there (`self` of a method among them),
for the function and for the functions that it calls; so that a change is noticed before the next
replay. What else a function reads (files, the time, random numbers, objects of C types) cannot be
seen from here.
"""

from __future__ import annotations

import array
import collections
import copy
import dis
import functools
import inspect
import random
import sys
import types
from collections.abc import Mapping
from operator import is_
from typing import Any

import numpy as np

from pyad import _handle
from pyad._handle import Array, Dual, Var

__all__ = ["Surroundings"]

_MISSING = object()
_ATOMS = (int, float, complex, bool, str, bytes, np.generic)
"""Replaced by an equal one, nothing has changed."""
_LIBRARIES = frozenset({"numpy", "scipy", "pyad", *sys.stdlib_module_names}) - {"__main__", "test"}
"""Not looked into."""
_HOLDERS = ("argparse", "collections", "types", "scipy.sparse", "scipy.interpolate", "numpy.lib",
            "numpy.polynomial")  # fmt: skip
"""Except for attributes of objects of classes that stand there, which hold what users put in."""
_GENERATORS = (np.random.Generator, np.random.RandomState, random.Random)
"""Who draws from them never computes the same again."""
_MOST = 20_000
"""Containers and objects that can be watched."""


def _is_library(name: str | None) -> bool:
    return (name or "").partition(".")[0] in _LIBRARIES


class Surroundings:
    """What some functions depend on beside their arguments, as it is now."""

    def __init__(self, *functions: Any) -> None:
        self._cells: list[tuple[Any, Any]] = []
        self._names: list[tuple[Any, str, Any, str]] = []
        self._functions: list[tuple[Any, Any, Any]] = []
        self._slots: list[tuple[Any, str, Any]] = []
        self._lists: list[tuple[Any, Any]] = []
        self._dicts: list[tuple[Any, Any]] = []
        self._values: list[tuple[Any, Any]] = []
        self._generators: list[tuple[Any, Any]] = []
        self._arrays: list[tuple[Any, Any]] = []
        self._seen: dict[Any, Any] = {}
        self.are_too_many = False
        """Whether there is more than can be watched."""
        for f in functions:
            self._walk_function(f)
        self._seen.clear()

    def are_as_they_were(self) -> bool:
        """False if any of them was replaced or changed in place."""
        for cell, value in self._cells:
            if _in_cell(cell) is not value and not _is_equal(_in_cell(cell), value):
                return False
        for names, name, value, _ in self._names:
            now = names.get(name, _MISSING)
            if now is not value and not _is_equal(now, value):
                return False
        for f, code, defaults in self._functions:
            if f.__code__ is not code or f.__defaults__ is not defaults:
                return False
        for x, name, value in self._slots:
            now = getattr(x, name, _MISSING)
            if now is not value and not _is_equal(now, value):
                return False
        if not (self._lists or self._dicts or self._arrays or self._values or self._generators):
            return True
        return (
            all(_is_same_list(now, before) for now, before in self._lists)
            and all(_is_same_dict(now, before) for now, before in self._dicts)
            and all(now == before for now, before in self._values)
            and all(_is_same_array(now, before) for now, before in self._arrays)
            and all(_plain(read()) == before for read, before in self._generators)
        )

    # ---- finding ------------------------------------------------------------------------

    def _is_new(self, x: Any) -> bool:
        if id(x) in self._seen:
            return False
        if len(self._seen) >= _MOST:
            self.are_too_many = True
            return False
        self._seen[id(x)] = x
        return True

    def _walk_function(self, f: Any) -> None:
        """What a callable reads that is not given to it."""
        if not self._is_new(f):
            return
        if isinstance(f, functools.partial):
            self._walk(f.args)
            self._walk(f.keywords)
            self._walk_function(f.func)
        elif isinstance(getattr(f, "__self__", None), _GENERATORS):  # rng.normal
            self._walk(f.__self__)
        elif isinstance(f, types.MethodType):
            self._walk_object(f.__self__, _names_in(getattr(f.__func__, "__code__", None)))
            self._walk_function(f.__func__)
        elif isinstance(f, types.FunctionType):
            if hasattr(f, "__wrapped__"):
                self._walk_function(f.__wrapped__)
            if not _is_library(f.__globals__.get("__name__")):
                self._walk_code(f)
        elif hasattr(f, "__wrapped__"):  # compiled, cached
            self._walk_function(f.__wrapped__)
        else:
            self._walk_object(f, frozenset())

    def _walk_code(self, f: types.FunctionType) -> None:
        names = _names_in(f.__code__)
        self._functions.append((f, f.__code__, f.__defaults__))
        self._walk(f.__defaults__, names)
        self._walk(f.__kwdefaults__, names)
        for cell in f.__closure__ or ():
            value = _in_cell(cell)
            self._cells.append((cell, value))
            self._walk(value, names)
        for name in sorted(_globals_of(f.__code__)):
            value = f.__globals__.get(name, _MISSING)
            self._names.append((f.__globals__, name, value, f"the global {name}"))
            self._walk(value, names)

    def _walk(self, x: Any, names: frozenset[str] = frozenset()) -> None:
        """What can change in `x`; `names` are attributes that the function around it asks for."""
        if x is None or isinstance(x, _ATOMS) or x is _MISSING:
            return
        if isinstance(x, types.ModuleType):
            self._walk_module(x, names)
        elif isinstance(x, type):
            self._walk_class(x, names)
        elif isinstance(x, (Var, Array)):
            if self._is_new(x):
                self._arrays.append((x, _value(x).copy()))
        elif isinstance(x, np.ndarray) and x.dtype != object:
            if self._is_new(x):
                self._arrays.append((x, x.copy()))
        elif isinstance(x, (list, tuple, collections.deque, np.ndarray)):
            if self._is_new(x):
                items = x.ravel().tolist() if isinstance(x, np.ndarray) else list(x)
                if not isinstance(x, tuple):
                    self._lists.append((x, items))
                for item in items:
                    self._walk(item, names)
        elif isinstance(x, (dict, types.MappingProxyType)):
            self._walk_dict(x, names)
        elif isinstance(x, (set, bytearray, array.array)):
            if self._is_new(x):
                self._values.append((x, copy.copy(x)))
        elif isinstance(x, _GENERATORS):
            if self._is_new(x):
                self._watch_generator(_reader(x))
        elif isinstance(x, (types.FunctionType, types.MethodType, functools.partial)) or (
            callable(x)
            and (hasattr(x, "__wrapped__") or isinstance(getattr(x, "__self__", None), _GENERATORS))
        ):
            self._walk_function(x)
        else:
            self._walk_object(x, names)

    def _walk_dict(self, x: Mapping[Any, Any], names: frozenset[str]) -> None:
        if self._is_new(x):
            self._dicts.append((x, dict(x)))
            for item in x.values():
                self._walk(item, names)

    def _walk_module(self, module: types.ModuleType, names: frozenset[str]) -> None:
        """The attributes that are asked for by name."""
        inside = vars(module)
        if _is_library(module.__name__):
            self._walk_shared_generator(module, names)
            return
        for name in sorted(names & inside.keys()):
            if (id(inside), name) in self._seen:
                continue
            self._seen[id(inside), name] = None
            self._names.append((inside, name, inside[name], f"{module.__name__}.{name}"))
            self._walk(inside[name], names)

    def _walk_shared_generator(self, module: types.ModuleType, names: frozenset[str]) -> None:
        """Those that the functions of `numpy.random` and `random` draw from."""
        if (module is np.random or (module is np and "random" in names)) and self._is_new(
            np.random
        ):
            self._watch_generator(np.random.get_state)
        elif module is random and self._is_new(random):
            self._watch_generator(random.getstate)

    def _watch_generator(self, read: Any) -> None:
        self._generators.append((read, _plain(read())))

    def _walk_class(self, kind: type, names: frozenset[str]) -> None:
        """Attributes and methods that are asked for by name, also by such methods."""
        bases = [vars(base) for base in kind.__mro__ if not _is_library(base.__module__)]
        more = names
        while more:
            found = [inside[name] for inside in bases for name in more & inside.keys()]
            inner = [_names_in(getattr(_inside(x), "__code__", None)) for x in found]
            more = frozenset().union(*inner) - names
            names |= more
        for inside in bases:
            for name in sorted(names & inside.keys()):
                if (id(inside), name) in self._seen:
                    continue
                self._seen[id(inside), name] = inside
                self._names.append((inside, name, inside[name], f"{kind.__name__}.{name}"))
                self._walk(_inside(inside[name]), names)

    def _walk_object(self, x: Any, names: frozenset[str]) -> None:
        if isinstance(x, type):
            self._walk_class(x, names)
            return
        where = type(x).__module__
        if isinstance(x, Dual) or (_is_library(where) and not where.startswith(_HOLDERS)):
            return
        inside = getattr(x, "__dict__", None)
        if isinstance(inside, dict):
            self._walk_dict(inside, names)
        self._walk_slots(x, names)
        call = inspect.getattr_static(type(x), "__call__", None)
        if isinstance(call, types.FunctionType):
            names |= {"__call__"} | _names_in(call.__code__)
        self._walk_class(type(x), names)

    def _walk_slots(self, x: Any, names: frozenset[str]) -> None:
        """Attributes of an object that are not in its `__dict__`."""
        if (id(x), "slots") in self._seen:
            return
        self._seen[id(x), "slots"] = x
        for kind in type(x).__mro__:
            inside = vars(kind)
            members = inside if "__slots__" in inside else ()
            for name in members:
                if isinstance(inside[name], types.MemberDescriptorType):
                    value = getattr(x, name, _MISSING)
                    self._slots.append((x, name, value))
                    self._walk(value, names)


def _inside(x: Any) -> Any:
    """The function of a property or method of a class, what was compiled, or `x`."""
    while isinstance(x, (property, staticmethod, classmethod)) or hasattr(x, "__wrapped__"):
        x = x.fget if isinstance(x, property) else x.__wrapped__
    return x


@functools.lru_cache(maxsize=4096)
def _names_in(code: types.CodeType | None) -> frozenset[str]:
    """All names that are asked for in a function and those defined in it: globals, attributes."""
    if code is None:
        return frozenset()
    inner = [_names_in(c) for c in code.co_consts if isinstance(c, types.CodeType)]
    return frozenset(code.co_names).union(*inner)


@functools.lru_cache(maxsize=4096)
def _globals_of(code: types.CodeType) -> frozenset[str]:
    found = {
        i.argval for i in dis.get_instructions(code) if i.opname in ("LOAD_GLOBAL", "LOAD_NAME")
    }
    if "globals" in found:  # globals()["name"]
        found.update(text for text in code.co_consts if isinstance(text, str))
    inner = [_globals_of(c) for c in code.co_consts if isinstance(c, types.CodeType)]
    return frozenset(found).union(*inner)


def _in_cell(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # empty
        return _MISSING


# ---- comparing ---------------------------------------------------------------------------------


def _is_equal(x: Any, before: Any) -> bool:
    """Whether two objects, not the same one, stand for the same number or text."""
    return type(x) is type(before) and isinstance(x, _ATOMS) and repr(x) == repr(before)


def _is_same_list(now: Any, before: list[Any]) -> bool:
    items = now.ravel().tolist() if isinstance(now, np.ndarray) else list(now)
    return len(items) == len(before) and (
        _handle._same_items(items, before)
        or all(x is y or _is_equal(x, y) for x, y in zip(items, before, strict=True))
    )


def _is_same_dict(now: Mapping[Any, Any], before: dict[Any, Any]) -> bool:
    return (
        len(now) == len(before)
        and all(map(is_, now, before))
        and _is_same_list(list(now.values()), list(before.values()))
    )


def _reader(generator: Any) -> Any:
    """What gives the state of a generator of random numbers."""
    if isinstance(generator, np.random.Generator):
        return lambda: generator.bit_generator.state
    return generator.getstate if isinstance(generator, random.Random) else generator.get_state


def _plain(state: Any) -> Any:
    """The state of a generator as what can be compared."""
    if isinstance(state, (dict, tuple, list)):
        return tuple(map(_plain, state.values() if isinstance(state, dict) else state))
    return state.tobytes() if isinstance(state, np.ndarray) else state


def _value(x: Any) -> Any:
    return np.asarray(_handle._peek(x))


def _is_same_array(now: Any, before: Any) -> bool:
    """Bit for bit."""
    x = now if isinstance(now, np.ndarray) else _value(now)
    if x.shape != before.shape or x.dtype != before.dtype:
        return False
    if x.dtype.kind == "f" and x.dtype.itemsize == 8:
        return bool((x.view(np.int64) == before.view(np.int64)).all())
    return bool(x.tobytes() == before.tobytes())


def changed(before: Surroundings) -> str:
    """What differs from what it was, in words."""
    for cell, value in before._cells:
        if _in_cell(cell) is not value and not _is_equal(_in_cell(cell), value):
            return "a variable of its closure"
    for names, name, value, text in before._names:
        now = names.get(name, _MISSING)
        if now is not value and not _is_equal(now, value):
            return text
    if any(_plain(read()) != state for read, state in before._generators):
        return "a generator of random numbers, from which it draws,"
    return "an array, list or attribute that it reads"
