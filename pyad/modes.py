"""What a thread records: `no_grad`, `enable_grad`, `detect_anomaly`, as blocks and decorators."""

from __future__ import annotations

import contextlib
import functools
import inspect
import itertools
import math
import os
import threading
from collections.abc import Callable, Generator, Iterator
from typing import Any, ClassVar, TypeVar, cast

import numpy as np

from pyad import _handle
from pyad._binding import error
from pyad.errors import Retrace

__all__ = [
    "detect_anomaly",
    "element_text",
    "enable_grad",
    "no_grad",
    "note_array",
    "user_line",
]

_LIBRARIES = tuple(os.path.dirname(str(module.__file__)) + os.sep for module in (_handle, np))
_DEMO = os.path.join(os.path.dirname(__file__), "demo")

F = TypeVar("F", bound=Callable[..., Any])


class _Levels(threading.local):
    """The transforms that evaluate a function on dual numbers, outermost first."""

    def __init__(self) -> None:
        self.active: list[int] = []
        self.asked: set[int] = set()


_levels = _Levels()
_new_level = itertools.count(1)


@contextlib.contextmanager
def dual_level() -> Iterator[int]:
    """A level for the dual numbers of one transform.

    Modes are for the tape: entering one inside raises `Retrace`, and the transform evaluates its
    function there.
    """
    level = next(_new_level)
    _levels.active.append(level)
    try:
        yield level
    finally:
        _levels.active.pop()
        _levels.asked.discard(level)


def ask_retrace(level: int) -> None:
    """Raise `Retrace` if the transform of this level is running; it learns of it in any case."""
    if level in _levels.active:
        _levels.asked.add(level)
        raise Retrace(level)


def was_asked(level: int) -> bool:
    """Whether the function of a level was to be evaluated on the tape, and went on nevertheless."""
    return level in _levels.asked


class _Mode(_handle.Mode):
    """A mode of the thread until the end of a `with` block; blocks nest, also of one object."""

    _recording: ClassVar[bool | None] = None
    _anomaly: ClassVar[bool | None] = None

    def __enter__(self) -> None:
        if _levels.active:
            ask_retrace(_levels.active[-1])
        super().__enter__()

    def __call__(self, function: F) -> F:
        """`function` with this mode around each of its calls."""
        if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
            raise error(
                "ARGUMENTS",
                f"{type(self).__name__}() decorates no async function, whose steps share a thread "
                "with others: use it as a 'with' block between two awaits",
            )
        wrapped = self._generator if inspect.isgeneratorfunction(function) else self._plain
        return cast(F, wrapped(function))

    def _plain(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            """The function, in this mode."""
            with type(self)():
                return function(*args, **kwargs)

        return wrapper

    def _generator(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Each step of the generator runs in the mode; what happens between the steps does not."""

        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
            """The generator, in this mode at each of its steps."""
            with type(self)():
                steps = function(*args, **kwargs)
                step, given = steps.send, None
            while True:
                try:
                    with type(self)():
                        item = step(given)
                except StopIteration as end:
                    return end.value
                try:
                    given, step = (yield item), steps.send
                except GeneratorExit:
                    with type(self)():
                        steps.close()
                    raise
                except BaseException as thrown:
                    given, step = thrown, steps.throw

        return wrapper


class no_grad(_Mode):  # noqa: N801  (the name is the interface's, as PyTorch's)
    """Inside, nothing is recorded: results are constants.

    >>> import pyad
    >>> w = pyad.var(2.0)
    >>> with pyad.no_grad():
    ...     y = 3 * w
    >>> y
    Var(6.0, requires_grad=False)
    """

    _recording = False


class enable_grad(_Mode):  # noqa: N801
    """Inside, operations are recorded again, within a `no_grad` block."""

    _recording = True


class detect_anomaly(_Mode):  # noqa: N801
    """Inside, the first value or adjoint that is NaN or infinite raises `RuntimeError`.

    The message names the operation and the user's source line. Recording is several times slower.

    >>> import pyad
    >>> x = pyad.var(0.0)
    >>> with pyad.detect_anomaly():
    ...     pyad.log(x)
    Traceback (most recent call last):
        ...
    pyad.errors.TapeError: log gives -inf in the forward evaluation, at <doctest ...>:2
    """

    _anomaly = True


def user_line() -> str:
    """Give "file:line" of the innermost running frame outside this package and NumPy."""
    frame = inspect.currentframe()
    while frame is not None:
        file = frame.f_code.co_filename
        if not file.startswith(_LIBRARIES) or file.startswith(_DEMO):
            return f"{file}:{frame.f_lineno}".encode(errors="backslashreplace").decode()
        frame = frame.f_back
    return "an unknown line"


Noted = tuple[str, str, tuple[tuple[int, ...], ...], str]
"""Of an array operation under `detect_anomaly`: line, name, shapes of its results, a text."""


def note_array(name: str, shapes: tuple[tuple[int, ...], ...], at: int, bad: float) -> Noted:
    """What the tape remembers of an array operation; and how number `at` of its results reads."""
    return user_line(), name, shapes, f"{bad!r}{element_text(shapes, at)}" if bad else ""


def element_text(shapes: tuple[tuple[int, ...], ...], at: int) -> str:
    """Where number `at` of the results of an array operation stands; "" where there is but one."""
    for k, shape in enumerate(shapes):
        size = math.prod(shape)
        if at >= size:
            at -= size
            continue
        place = ", ".join(str(int(i)) for i in np.unravel_index(at, shape)) if shape else ""
        element = f" in element [{place}]" if place else ""
        return f"{element} of result {k}" if len(shapes) > 1 else element
    raise IndexError(at)
