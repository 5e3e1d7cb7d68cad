"""Calls with floats and arrays of shapes that were seen before, answered with little ado."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from pyad._binding import ffi, lib
from pyad.compiled._arguments import NUMBER, Layout, Shaped
from pyad.compiled._program import DOUBLES, Program

__all__ = ["Position", "Quick", "key_of", "put"]

Position = int | tuple[int, ...]

SHORTCUTS = 256
"""Shapes of arguments for which there is a short way."""
_FLOAT64 = np.dtype(np.float64)
_from_buffer = ffi.from_buffer
_value = lib.pyad_program_value
_value_gradient = lib.pyad_program_value_gradient


class Quick:
    """A program for calls with floats and arrays of one set of shapes, called with little ado."""

    def __init__(self, program: Program, argnums: Position, args: tuple[Any, ...]) -> None:
        self.program, self.core, self.rooms = program, program.core, program.rooms
        self.outputs: Layout = program.outputs
        self.is_scalar = program.outputs is NUMBER or program.outputs == Shaped(())
        self.result_shape = None if program.outputs is NUMBER else program.outputs.shape
        self.is_tuple = isinstance(argnums, tuple)
        # Of each argument: where its numbers begin and end, and its shape or None.
        self.spans: list[tuple[int, int, Any]] = []
        start = 0
        for x in args:
            size = x.size if type(x) is np.ndarray else 1
            self.spans.append((start, start + size, x.shape if type(x) is np.ndarray else None))
            start += size
        chosen = argnums if isinstance(argnums, tuple) else (argnums,)
        within = all(-len(args) <= i < len(args) for i in chosen)
        self.chosen = [self.spans[i] for i in chosen] if within else []
        self.is_scalar = self.is_scalar and within
        self.one_array = len(args) == 1 and type(args[0]) is np.ndarray and not self.is_tuple
        self.shape = args[0].shape if self.one_array else ()

    def _fill(self, room: Any, args: tuple[Any, ...]) -> None:
        for x, (start, end, shape) in zip(args, self.spans, strict=True):
            if shape is None:
                room.given[start] = x
            else:
                room.given_at[start:end] = x.reshape(-1)

    def value(self, args: tuple[Any, ...]) -> Any:
        """The result, or None if a guard answers otherwise."""
        rooms = self.rooms
        room = self.program.take()
        self._fill(room, args)
        status = _value(self.core, room.numbers, room.given, room.outputs, room.holds)
        found = None
        if not status and room.holds[0]:
            room.runs += 1
            if self.result_shape is None:
                found = room.outputs[0]
            else:
                found = room.results[: self.program.count].reshape(self.result_shape).copy()
        rooms.append(room)
        return found

    def value_and_grad(self, args: tuple[Any, ...]) -> Any:
        """(value, gradient), or None if a guard answers otherwise."""
        rooms = self.rooms
        try:
            room = rooms.pop()
        except IndexError:
            room = self.program.take()
        if self.one_array:
            gradient: Any = np.empty(self.shape)
            x = args[0]
            if x.flags.c_contiguous:
                given = _from_buffer(DOUBLES, x)
            else:
                self._fill(room, args)
                given = room.given
            into = _from_buffer(DOUBLES, gradient)
        else:
            self._fill(room, args)
            given, into = room.given, room.slopes
        status = _value_gradient(
            self.core, room.numbers, given, room.seeds, room.outputs, into, room.holds
        )
        if status or not room.holds[0]:
            rooms.append(room)
            return None
        room.runs += 1
        value = room.outputs[0]
        if not self.one_array:
            found = [
                into[start] if shape is None else room.slopes_at[start:end].reshape(shape).copy()
                for start, end, shape in self.chosen
            ]
            gradient = tuple(found) if self.is_tuple else found[0]
        rooms.append(room)
        return value, gradient


def key_of(args: Sequence[Any]) -> Any:
    """Types and shapes of floats and arrays of floats; None if there is anything else."""
    key: list[Any] = []
    for x in args:
        if type(x) is float:
            key.append(float)
        elif type(x) is np.ndarray and x.dtype is _FLOAT64:
            key.append(x.shape)
        else:
            return None
    return key[0] if len(key) == 1 else tuple(key)


def put(shortcuts: dict[Any, Any], key: Any, item: Any) -> None:
    """Remember an item; they are found again, so that all may be forgotten."""
    if len(shortcuts) >= SHORTCUTS:
        shortcuts.clear()
    shortcuts[key] = item
