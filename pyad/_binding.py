"""The one place that imports the C library, and that turns its statuses into exceptions."""

from __future__ import annotations

from typing import Any, NamedTuple

from pyad import errors
from pyad._core import ffi, lib

__all__ = [
    "OPERATIONS",
    "Operation",
    "check",
    "error_builtin",
    "error_codes",
    "ffi",
    "lib",
    "status_of",
]


class Operation(NamedTuple):
    """A row of the operation table, `csrc/ops.def`."""

    name: str
    numpy: str
    text: str
    domain_a: str
    domain_b: str
    arguments: int  # 1, 2, or -1 for any number


def _text(pointer: Any) -> str:
    return str(ffi.string(pointer), "utf-8")


def _read_operation(op: int) -> Operation:
    row = lib.pyad_op_describe(op)
    return Operation(
        _text(row.name),
        _text(row.numpy),
        _text(row.text),
        _text(row.domain_a),
        _text(row.domain_b),
        row.arguments,
    )


OPERATIONS = tuple(_read_operation(op) for op in range(lib.pyad_op_count()))
"""The operation table; the place of a row is its number on the tape."""

_BUILTINS = {
    _text(lib.pyad_error_name(status)): _text(lib.pyad_error_builtin(status))
    for status in range(1, lib.pyad_error_count())
}


def error_codes() -> tuple[str, ...]:
    """The names of the rows of the error table."""
    return tuple(_BUILTINS)


def error_builtin(code: str) -> str:
    """The builtin exception named by a row of the error table."""
    return _BUILTINS[code]


def status_of(code: str) -> int:
    """The status that a row of the error table stands for."""
    return list(_BUILTINS).index(code) + 1


def error(code: str, *given: str) -> errors.Error:
    """The exception of a row of the error table, its text filled in."""
    return errors.build(code, _text(lib.pyad_error_text(status_of(code))) % given)


def check(status: int) -> None:
    """Raise the exception that belongs to a status of the C library, if it is one."""
    if status:
        name = _text(lib.pyad_error_name(status))
        if name == "RULE_FAILED":  # what the rule raised says more
            from pyad import _handle

            _handle._rule_error()
        raise error(name)
