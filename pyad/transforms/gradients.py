"""Derivatives of functions that return one number: `grad` and what is made of it."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from pyad import _handle
from pyad._binding import error
from pyad._handle import Var
from pyad.transforms._recording import Recording, check_function, position_of
from pyad.transforms._trees import Numbers, flatten, values_of

__all__ = ["derivative", "elementwise_grad", "grad", "stop_gradient", "value_and_grad"]

Position = int | tuple[int, ...]


def grad(
    f: Callable[..., Any],
    argnums: Position = 0,
    has_aux: bool = False,
    *,
    argnum: Position | None = None,
) -> Callable[..., Any]:
    """The function that computes the gradient of `f` in the argument(s) at `argnums`.

    The argument may be a number, an array, or nested lists, tuples and dicts of them, and the
    gradient has its structure; a tuple of positions gives a tuple. `f` returns one number, or with
    `has_aux` a pair of it and anything else, which is passed through with variables replaced by
    their values: then the result is (gradient, aux).

    Gradients nest: `grad(grad(f))`, and functions that call `grad` inside. A gradient that depends
    on variables from outside `f` is a variable itself.

    Raises `TypeError` if `f` returns no single number or an argument is none. Reverse mode:
    Griewank and Walther, *Evaluating Derivatives* (2nd ed., 2008), chapter 3.

    >>> import pyad
    >>> pyad.grad(lambda x: x**3)(2.0)
    12.0
    >>> pyad.grad(pyad.grad(lambda x: x**3))(2.0)
    12.0
    >>> pyad.grad(lambda p: p["a"] * p["b"])({"a": 2.0, "b": 3.0})
    {'a': 3.0, 'b': 2.0}
    """
    check_function(f, "grad")
    position = position_of(argnums, argnum)

    @functools.wraps(f, updated=())
    def gradient(*args: Any, **kwargs: Any) -> Any:
        if has_aux:
            (_, aux), slope = _with_aux(f, position, args, kwargs)
            return slope, aux
        return _handle._slope(f, position, args, kwargs)[1]

    return gradient


def value_and_grad(
    f: Callable[..., Any],
    argnums: Position = 0,
    has_aux: bool = False,
    *,
    argnum: Position | None = None,
) -> Callable[..., Any]:
    """The function that computes (value, gradient) of `f`, as `grad` does.

    With `has_aux` the result is ((value, aux), gradient).

    >>> import pyad
    >>> pyad.value_and_grad(lambda x: x * x)(3.0)
    (9.0, 6.0)
    """
    check_function(f, "value_and_grad")
    position = position_of(argnums, argnum)

    @functools.wraps(f, updated=())
    def value_and_gradient(*args: Any, **kwargs: Any) -> Any:
        call = _with_aux if has_aux else _handle._slope
        return call(f, position, args, kwargs)

    return value_and_gradient


def _with_aux(f: Callable[..., Any], position: Position, args: Any, kwargs: Any) -> Any:
    """((value, aux), gradient) of a function that returns (value, aux)."""
    aux: list[Any] = []

    def value(*args: Any, **kwargs: Any) -> Any:
        both = f(*args, **kwargs)
        if not isinstance(both, tuple) or len(both) != 2:
            given = "with has_aux=True the function returns a pair (value, aux)"
            raise error("ARGUMENTS", given)
        y, rest = both
        aux.append(values_of(rest))
        return y

    y, gradient = _handle._slope(value, position, args, kwargs)
    return (y, *aux), gradient


def elementwise_grad(
    f: Callable[..., Any], argnums: Position = 0, *, argnum: Position | None = None
) -> Callable[..., Any]:
    """The function that computes the gradient of `sum(f(x))`: each f', if f is elementwise.

    >>> import numpy as np
    >>> import pyad
    >>> pyad.elementwise_grad(pyad.sin)(np.array([0.0, np.pi])).round(12)
    array([ 1., -1.])
    """
    check_function(f, "elementwise_grad")

    @functools.wraps(f, updated=())
    def total(*args: Any, **kwargs: Any) -> Any:
        leaves, _ = flatten(f(*args, **kwargs), "the result of a differentiated function")
        return _handle.sum([x if isinstance(x, (float, Var)) else np.sum(x) for x in leaves])

    return grad(total, argnums, argnum=argnum)


def derivative(f: Callable[..., Any], n: int = 1) -> Callable[..., Any]:
    """The function that computes the n-th derivative of a scalar function of a scalar.

    By n recorded forward sweeps over one recording. The recording grows with each, so that high
    orders of long functions are costly.

    >>> import pyad
    >>> pyad.derivative(lambda x: x**5, 3)(2.0)
    240.0
    """
    check_function(f, "derivative")
    if not isinstance(n, int) or n < 0:
        raise error("ARGUMENTS", "the order of a derivative is a whole number, 0 or more")

    @functools.wraps(f, updated=())
    def nth(x: Any, *args: Any, **kwargs: Any) -> Any:
        with Recording(f, 0, (x, *args), kwargs) as recording:
            if len(recording.variables) != 1:
                raise error("NOT_A_SCALAR", "derivative", "a function of more than one number")
            y = recording.scalar("derivative")
            node = recording.node_of(y)
            if recording.open:
                recording.keep()
                y = recording.handle(y, node)
            for _ in range(n):
                one = Numbers(np.ones(1), np.zeros(1, np.uint32))
                slope = recording.recorded_forward(np.array([node], np.uint32), one)
                node = int(recording.frame_nodes(slope)[0])
                y = recording.handle(float(slope.values[0]), node)
            return y if recording.open else values_of(float(y) if isinstance(y, int) else y)

    return nth


def stop_gradient(x: Any) -> Any:
    """The value of `x` without derivative; `x` may be a number, array, list, tuple or dict.

    >>> import pyad
    >>> pyad.grad(lambda x: x * pyad.stop_gradient(x))(3.0)
    3.0
    """
    return values_of(x)
