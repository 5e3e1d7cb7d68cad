"""`pyad.compile`."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, overload

from pyad._binding import error
from pyad.compiled._compiled import Compiled
from pyad.compiled._quick import Position
from pyad.transforms._recording import check_function, position_of

__all__ = ["compile"]


def _check_plain(f: Any) -> None:
    """Refuse functions that return before they have computed anything."""
    inner = inspect.unwrap(f) if callable(f) else f
    for what, is_it in {
        "a generator": inspect.isgeneratorfunction,
        "an async function": inspect.iscoroutinefunction,
        "an async generator": inspect.isasyncgenfunction,
    }.items():
        if is_it(f) or is_it(inner):
            raise error(
                "ARGUMENTS",
                f"pyad.compile expects a function that returns its result, and {what} returns "
                "before it has computed anything: compile the function that computes the numbers",
            )


@overload
def compile(
    f: Callable[..., Any],
    argnums: Position = 0,
    has_aux: bool = False,
    *,
    argnum: Position | None = None,
) -> Compiled: ...


@overload
def compile(
    f: None = None,
    argnums: Position = 0,
    has_aux: bool = False,
    *,
    argnum: Position | None = None,
) -> Callable[[Callable[..., Any]], Compiled]: ...


def compile(
    f: Callable[..., Any] | None = None,
    argnums: Position = 0,
    has_aux: bool = False,
    *,
    argnum: Position | None = None,
) -> Any:
    """The same function, recorded once and replayed natively: also as a decorator.

    The first call evaluates `f` on variables and keeps the recording as a program of C; further
    calls with arguments of the same structure and shapes run the program. Every decision of `f` on
    a value (a comparison, `int`, a sort order) is checked in each run: where one comes out
    differently, `f` is recorded again, and both recordings are kept. All floats and arrays of
    floats among the arguments are inputs, and may change between calls; other values (whole
    numbers, strings, flags) belong to the structure. `argnums` says which arguments are
    differentiated; there whole numbers are inputs, too. With `has_aux` the function returns a pair
    (value, aux).

    Results are floats and float64 arrays, in the structure of the result of `f`. Numbers, arrays
    and functions in the closure, the defaults, the globals or `self` of `f` are constants; if they
    change, `f` is recorded anew. Random numbers, the time and files are not noticed: draw such
    numbers outside, and pass them as arguments. A function that takes values out of the recording
    (`x.value`, `print(x)`) is recorded at every call, with a warning.

    `p.grad`, `p.value_and_grad`, `p.jacobian`, `p.hessian`, `p.hvp`, `p.jvp`, `p.vjp`,
    `p.sparse_jacobian` and `p.sparse_hessian` compute what the transforms of the same names do;
    `p.batch`, `p.grad.batch` and `p.value_and_grad.batch` compute many rows at once. `p.stats()`
    tells how often what was recorded.

    >>> import numpy as np
    >>> import pyad
    >>> @pyad.compile
    ... def f(x):
    ...     return x[0] * x[1] if x[0] > 0 else x[1] ** 2
    >>> f(np.array([2.0, 3.0]))
    6.0
    >>> f.value_and_grad(np.array([2.0, 5.0]))
    (10.0, array([5., 2.]))
    >>> f.grad(np.array([-2.0, 5.0]))
    array([ 0., 10.])
    >>> f.hessian(np.array([2.0, 5.0]))
    array([[0., 1.],
           [1., 0.]])
    >>> f.stats()["recorded"]
    3
    """
    position = position_of(argnums, argnum)
    if f is None:
        return functools.partial(compile, argnums=position, has_aux=has_aux)
    check_function(f, "compile")
    _check_plain(f)
    return Compiled(f, position, has_aux)
