"""Second derivatives: Hessians and products with them, by forward-over-reverse sweeps."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from pyad import _handle
from pyad._binding import error
from pyad.transforms._recording import Recording, as_numbers, check_function, is_nested, position_of
from pyad.transforms._trees import as_array, flatten_like
from pyad.transforms.gradients import grad
from pyad.transforms.jacobians import assemble, make_vjp

__all__ = ["hessian", "hessian_vector_product", "hvp", "make_hvp"]

Position = int | tuple[int, ...]


def hessian(
    f: Callable[..., Any], argnums: Position = 0, *, argnum: Position | None = None
) -> Callable[..., Any]:
    """The function that computes the Hessian of `f`, of shape `in.shape + in.shape`.

    One recording, and one forward-over-reverse sweep for every eight columns (Griewank and
    Walther, *Evaluating Derivatives*, 2nd ed., 2008, section 5.4). Of nested arguments the Hessian
    has the structure of the argument, and in each place of it that structure again.

    >>> import numpy as np
    >>> import pyad
    >>> pyad.hessian(lambda x: x[0] ** 2 * x[1])(np.array([2.0, 3.0]))
    array([[6., 4.],
           [4., 0.]])
    """
    check_function(f, "hessian")
    position = position_of(argnums, argnum)

    @functools.wraps(f, updated=())
    def compute(*args: Any, **kwargs: Any) -> Any:
        with Recording(f, position, args, kwargs) as recording:
            y, shape = recording.scalar("hessian"), recording.shape
            n = len(recording.aliases)
            if not recording.open:
                return assemble(recording.second(y, np.eye(n)), shape, shape)
            node = recording.node_of(y)
            recording.keep()
            rows = []
            for slope in recording.recorded_gradient(node):
                rows.extend(recording.recorded_gradient(recording.node_of(slope)))
            return assemble(as_array(rows, (n, n)), shape, shape)

    return compute


def hvp(f: Callable[..., Any], x: Any, v: Any) -> Any:
    """The Hessian of `f` at `x` times `v`, in the structure of `x`, without forming the Hessian.

    >>> import numpy as np
    >>> import pyad
    >>> pyad.hvp(lambda x: x[0] ** 2 * x[1], np.array([2.0, 3.0]), np.array([1.0, 0.0]))
    array([6., 4.])
    """
    return hessian_vector_product(f)(x, v)


def hessian_vector_product(
    f: Callable[..., Any], argnums: Position = 0, *, argnum: Position | None = None
) -> Callable[..., Any]:
    """The function of the arguments of `f` and then a vector that computes `hvp`."""
    check_function(f, "hessian_vector_product")
    position = position_of(argnums, argnum)

    @functools.wraps(f, updated=())
    def product(*args: Any, **kwargs: Any) -> Any:
        if len(args) < 2:
            raise error("ARGUMENTS", "the vector comes last, after the arguments of the function")
        *points, v = args
        recorded = _handle._is_recording()
        with Recording(f, position, points, kwargs) as recording:
            y, shape = recording.scalar("hvp"), recording.shape
            numbers = as_numbers(flatten_like(v, shape, "the vector of hvp(f, x, v)"), recorded)
            if not recording.open and not is_nested(numbers):
                direction = np.array([float(x) for x in numbers]).reshape(-1, 1)
                return shape.build(iter(recording.second(y, direction)[:, 0].tolist()))
            node = recording.node_of(y)
            recording.keep()
            slope = _handle.dot(recording.recorded_gradient(node), numbers)
            return shape.build(iter(recording.recorded_gradient(recording.node_of(slope))))

    return product


def make_hvp(
    f: Callable[..., Any], argnums: Position = 0, *, argnum: Position | None = None
) -> Callable[..., Any]:
    """As in autograd: `make_hvp(f)(*args)` gives (v -> Hessian times v, the gradient)."""
    position = position_of(argnums, argnum)
    return make_vjp(grad(f, position), position)
