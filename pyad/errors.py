"""The exceptions of pyad: each derives from `Error` and from a builtin.

Their texts are the rows of `csrc/errors.def`, each of which names its builtin.
"""

from __future__ import annotations

__all__ = [
    "ArgumentTypeError",
    "ArgumentValueError",
    "Error",
    "MissingAttributeError",
    "OutOfMemoryError",
    "PositionError",
    "TapeError",
]


class Error(Exception):
    """Any error raised by pyad. `code` is the name of its row in `csrc/errors.def`."""

    code = ""


class ArgumentTypeError(Error, TypeError):
    """Something of a wrong type was given, or a derivative would have been lost."""


class ArgumentValueError(Error, ValueError):
    """Something of the right type but with an impossible value was given."""


class TapeError(Error, RuntimeError):
    """The recording does not allow this (now): it has ended, is another one, or is being swept."""


class OutOfMemoryError(Error, MemoryError):
    """There is no memory for the recording; what was recorded is as it was."""


class PositionError(Error, IndexError):
    """There is no such node or element."""


class MissingAttributeError(Error, AttributeError, TypeError):
    """An attribute of ndarrays that an Array cannot have; `hasattr` answers no."""


class Retrace(BaseException):
    """Dual numbers of a transform met what they cannot be combined with: evaluate on the tape.

    Private to the transforms: each catches its own `level`, and evaluates its function again. No
    `Exception`, so that a handler in the user's function lets it pass; if a bare `except:` does
    not, `modes.was_asked` tells.
    """

    def __init__(self, level: int) -> None:
        super().__init__(level)
        self.level = level


_KINDS: tuple[type[Error], ...] = (
    ArgumentTypeError,
    ArgumentValueError,
    MissingAttributeError,
    OutOfMemoryError,
    PositionError,
    TapeError,
)
_BY_BUILTIN = {kind.__mro__[2].__name__: kind for kind in _KINDS}


def class_of(builtin: str) -> type[Error]:
    """The pyad exception that derives from the builtin of this name."""
    return _BY_BUILTIN[builtin]


def build(code: str, message: str) -> Error:
    """The exception for a row of the error table; the C code raises what this returns."""
    from pyad._binding import error_builtin

    error = class_of(error_builtin(code))(message)
    error.code = code
    return error
