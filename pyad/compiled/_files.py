"""Compiled functions as files: their recordings, without the Python code.

    magic 8 bytes, version u32, length of the JSON u32, length of all u64, little-endian
    JSON: what belongs to the function, and of each recording the layouts and the program's length
    the programs, one after the other (csrc/program/file.c)
    CRC-32 of all before it, u32

The layouts are JSON of a few known types, never pickle: nothing of a file is executed.
"""

from __future__ import annotations

import collections
import json
import os
import re
import struct
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np

import pyad
from pyad._binding import check, error, ffi, lib
from pyad.compiled._arguments import (
    NUMBER,
    Branch,
    Layout,
    Plain,
    Role,
    Shaped,
    layout_of,
    size_of,
)
from pyad.compiled._listing import Listing, program_bytes
from pyad.compiled._program import Program

if TYPE_CHECKING:
    from pyad.compiled._compiled import Compiled
    from pyad.compiled._recordings import Site

__all__ = ["Loaded", "dump", "load", "restore", "save"]

_MAGIC = b"\x89pyadF\r\n"
_VERSION = 1
_HEAD = struct.Struct("<8sIIQ")
_MOST = 2**32


class Loaded:
    """The place of a function whose code is elsewhere; a call says so."""

    def __init__(self, name: str) -> None:
        self.__name__ = self.__qualname__ = name

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Raise an error: there is no code to record."""
        raise error("NO_RECORDING", self.__name__)


def save(compiled: Compiled, path: str | os.PathLike[str]) -> None:
    """Write the recordings to a file that `pyad.load` reads."""
    data = dump(compiled)
    with open(path, "wb") as file:
        file.write(data)


def load(path: str | os.PathLike[str]) -> Compiled:
    """A compiled function from a file of `Compiled.save`, without its Python code.

    It works for arguments of the layouts that were recorded, at points where the guards of a
    recording hold; elsewhere it raises a `pyad.Error`. A file may come from anywhere: one that is
    damaged or made up raises a `pyad.Error`, and nothing of it is executed.

    >>> import os, tempfile
    >>> p = pyad.compile(lambda x: pyad.sin(x) * x)
    >>> value = p(2.0)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     p.save(os.path.join(folder, "wave.pyad"))
    ...     q = pyad.load(os.path.join(folder, "wave.pyad"))
    >>> q(2.0) == value
    True
    """
    with open(path, "rb") as file:
        return restore(file.read())


def text(compiled: Compiled) -> str:
    """The recordings, one line for each instruction."""
    lines = [f"compiled function {name_of(compiled)}"]
    for site in sites_of(compiled):
        lines += [f"{site.kind}: {Listing(program.core).text()}" for program in site.programs]
    return "\n".join(lines)


def sites_of(compiled: Compiled) -> list[Site]:
    """What has recordings."""
    return [site for site in list(compiled._state.sites.values()) if site.programs]


# ---- writing ---------------------------------------------------------------------------------


def name_of(compiled: Compiled) -> str:
    """What messages call a function."""
    return str(getattr(compiled.f, "__qualname__", type(compiled.f).__name__))


def dump(compiled: Compiled) -> bytes:
    """The recordings as bytes."""
    programs: list[bytes] = []
    recordings: list[Any] = []
    for site in sites_of(compiled):
        for program in site.programs:
            programs.append(program_bytes(program.core, rules=False))
            layouts = [_encode(layout) for layout in (program.inputs, program.outputs)]
            recordings.append([site.kind, *layouts, len(programs[-1])])
    if not programs:
        raise error(
            "CANNOT_SAVE",
            f"the compiled function {name_of(compiled)}",
            "it has no recordings yet; call it once with arguments of each kind it is to work for",
        )
    head = {
        "name": name_of(compiled),
        "argnums": compiled.argnums,
        "has_aux": bool(compiled.has_aux),
        "data": compiled._state.data.name,
        "recordings": recordings,
    }
    text = json.dumps(head, separators=(",", ":")).encode()
    length = _HEAD.size + len(text) + sum(map(len, programs)) + 4
    data = _HEAD.pack(_MAGIC, _VERSION, len(text), length) + text + b"".join(programs)
    return data + struct.pack("<I", zlib.crc32(data))


_CONTAINERS: dict[str, type] = {
    "tuple": tuple,
    "list": list,
    "dict": dict,
    "OrderedDict": collections.OrderedDict,
    "ndarray": np.ndarray,
    "slice": slice,
}
_NAMES = {kind: name for name, kind in _CONTAINERS.items()}


def _encode(layout: Layout) -> Any:
    if layout is NUMBER:
        return 0
    if isinstance(layout, Shaped):
        return {"shape": layout.shape}
    if isinstance(layout, Branch) and layout.kind in _NAMES:
        keys = None
        if layout.kind is np.ndarray:
            keys = layout.keys
        elif layout.keys is not None:
            keys = tuple(_encode_plain(key) for key in layout.keys)
        children = [_encode(child) for child in layout.children]
        return {"in": _NAMES[layout.kind], "children": children, "keys": keys}
    if isinstance(layout, Plain):
        if layout.kind is np.ndarray:
            dtype, shape, raw = layout.value
            return {"is": "ndarray", "value": [dtype, shape, raw.hex()]}
        return _encode_plain(layout.value)
    kind = getattr(layout, "kind", type(getattr(layout, "value", layout)))
    raise _cannot_save(kind)


def _encode_plain(x: Any) -> Any:
    kind = type(x)
    if x is None or kind in (bool, int, str):
        return {"is": kind.__name__, "value": x}
    if kind is float:
        return {"is": "float", "value": x.hex()}
    if kind is bytes:
        return {"is": "bytes", "value": x.hex()}
    if kind is complex:
        return {"is": "complex", "value": [x.real.hex(), x.imag.hex()]}
    if kind is range:
        return {"is": "range", "value": [x.start, x.stop, x.step]}
    if kind is tuple:
        return {"is": "tuple", "value": [_encode_plain(item) for item in x]}
    if x is Ellipsis:
        return {"is": "ellipsis", "value": None}
    if isinstance(x, np.generic) and x.dtype.kind in "biufcSU":
        return {"is": "generic", "value": [x.dtype.str, [], x.tobytes().hex()]}
    if isinstance(x, np.dtype) and x.kind in "biufcSU":
        return {"is": "dtype", "value": x.str}
    raise _cannot_save(kind)


def _cannot_save(kind: type) -> Exception:
    known = "numbers, arrays, str, bytes, None, range, slice, tuple, list and dict"
    name = getattr(kind, "__qualname__", repr(kind))
    return error(
        "CANNOT_SAVE",
        f"a {name} among the arguments or results",
        f"a file holds {known}; pass these, or pickle the function",
    )


# ---- reading ---------------------------------------------------------------------------------


def restore(data: bytes) -> Compiled:
    """The compiled function of such bytes."""
    if len(data) < _HEAD.size + 4:
        raise error("BAD_FILE")
    magic, version, size, length = _HEAD.unpack_from(data)
    if magic != _MAGIC:
        raise error("BAD_FILE")
    if version != _VERSION:
        raise error("FILE_VERSION")
    (crc,) = struct.unpack("<I", data[-4:])
    if length != len(data) or size > length - _HEAD.size - 4 or crc != zlib.crc32(data[:-4]):
        raise error("BAD_FILE")
    start = _HEAD.size + size
    try:
        head = json.loads(data[_HEAD.size : start])
        return _restore(head, memoryview(data)[start:-4])
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError) as problem:
        if isinstance(problem, pyad.Error):
            raise
        raise error("BAD_FILE") from problem


def _restore(head: Any, programs: memoryview) -> Compiled:
    from pyad.compiled._compiled import Compiled
    from pyad.compiled._recordings import Site

    argnums = head["argnums"]
    if isinstance(argnums, list):
        argnums = tuple(argnums)
    for i in argnums if isinstance(argnums, tuple) else (argnums,):
        _expect(type(i) is int and abs(i) < _MOST)
    _expect(isinstance(head["name"], str) and isinstance(head["has_aux"], bool))
    compiled = Compiled(Loaded(head["name"]), argnums, head["has_aux"])
    state = compiled._state
    state.data = Role[head["data"]]
    start = 0
    for kind, inputs, outputs, size in head["recordings"]:
        _expect(isinstance(kind, str) and type(size) is int and 0 < size <= len(programs) - start)
        program = _program(_decode(inputs), _decode(outputs), programs[start : start + size])
        site = state.sites.setdefault((kind, program.inputs), Site(kind, program.inputs))
        site.programs += (program,)
        start += size
    _expect(start == len(programs))
    return compiled


def _program(inputs: Layout, outputs: Layout, data: memoryview) -> Program:
    result = ffi.new("pyad_program **")
    with pyad.Tape() as tape, tape._held() as core:
        status = lib.pyad_program_load(core, len(data), ffi.from_buffer(data), result)
    check(status)
    owned = ffi.gc(result[0], lib.pyad_program_free)
    given, gives = size_of(inputs), size_of(outputs)
    _expect(given == lib.pyad_program_inputs(owned) and gives == lib.pyad_program_outputs(owned))
    positional = inputs.children if isinstance(inputs, Branch) else ()
    _expect([getattr(child, "kind", None) for child in positional[:2]] == [tuple, dict])
    return Program.of(owned, inputs, outputs)


def _expect(holds: bool) -> None:
    if not holds:
        raise error("BAD_FILE")


def _decode(x: Any) -> Layout:
    if type(x) is int and x == 0:
        return NUMBER
    _expect(isinstance(x, dict))
    if "shape" in x:
        return Shaped(_shape(x["shape"]))
    if "in" not in x:
        return _decode_plain(x)
    kind = _CONTAINERS[x["in"]]
    children = tuple([_decode(child) for child in x["children"]])
    keys: Any = None
    key_types = None
    if kind is np.ndarray:
        keys = _shape(x["keys"])
        _expect(_size(keys) == len(children))
    elif issubclass(kind, dict):
        keys = tuple([_value(key) for key in x["keys"]])
        key_types = tuple(map(type, keys))
        _expect(len(set(keys)) == len(keys) == len(children))
    if kind is slice:
        _expect(len(children) == 3)
    return Branch(kind, children, keys, key_types)


def _decode_plain(x: Any) -> Layout:
    if x["is"] == "ndarray":
        dtype, shape, raw = x["value"]
        shape, content = _shape(shape), bytes.fromhex(raw)
        _expect(_size(shape) * _dtype(dtype).itemsize == len(content))
        value = np.frombuffer(content, _dtype(dtype)).reshape(shape)
    else:
        value = _value(x)
    leaves: list[Any] = []
    layout = layout_of(value, leaves, Role.CONSTANT)
    _expect(not leaves and isinstance(layout, Plain))
    return layout


def _value(x: Any) -> Any:
    kind, value = x["is"], x["value"]
    if kind in ("bool", "int", "str", "NoneType"):
        _expect(type(value).__name__ == kind)
        return value
    if kind == "float":
        return float.fromhex(value)
    if kind == "bytes":
        return bytes.fromhex(value)
    if kind == "complex":
        real, imag = value
        return complex(float.fromhex(real), float.fromhex(imag))
    if kind == "range":
        _expect(all(type(i) is int for i in value))
        return range(*value)
    if kind == "tuple":
        return tuple([_value(item) for item in value])
    if kind == "ellipsis":
        return Ellipsis
    if kind == "generic":
        dtype, shape, raw = value
        content = bytes.fromhex(raw)
        _expect(shape == [] and _dtype(dtype).itemsize == len(content) > 0)
        return np.frombuffer(content, _dtype(dtype))[0]
    _expect(kind == "dtype")
    return _dtype(value)


def _dtype(name: Any) -> np.dtype[Any]:
    _expect(isinstance(name, str) and re.fullmatch(r"[<>|=]?[biufcSU]\d{1,6}", name) is not None)
    found: np.dtype[Any] = np.dtype(name)
    return found


def _shape(x: Any) -> tuple[int, ...]:
    _expect(isinstance(x, list) and len(x) <= 64)
    _expect(all(type(n) is int and 0 <= n < _MOST for n in x) and _size(x) < _MOST)
    return tuple(x)


def _size(shape: Any) -> int:
    size = 1
    for n in shape:
        size *= n
    return size
