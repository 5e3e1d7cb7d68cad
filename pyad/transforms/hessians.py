"""Second derivatives: Hessians and products with them, by forward-over-reverse sweeps."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from pyad import _handle
from pyad._binding import error
from pyad.transforms._recording import Recording, as_numbers, check_function, position_of
from pyad.transforms._trees import flatten_like, numbers_of, split, split_variables
from pyad.transforms.gradients import grad
from pyad.transforms.jacobians import assemble, make_vjp, stacked

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
        """The Hessian at these arguments."""
        with Recording(f, position, args, kwargs) as recording:
            y, shape = recording.scalar("hessian"), recording.shape
            n = len(recording.variables)
            if not recording.open:
                return assemble(recording.second(y, np.eye(n)), shape, shape)
            node = recording.node_of(y)
            recording.keep()
            slopes = recording.frame_nodes(recording.recorded_gradient(node))
            rows = [recording.recorded_gradient(int(slope)) for slope in slopes]
            return assemble(stacked(rows, n, recording), shape, shape)

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
        """The Hessian at these arguments, times the vector given last."""
        if len(args) < 2:
            raise error("ARGUMENTS", "the vector comes last, after the arguments of the function")
        *points, v = args
        recorded = _handle._is_recording()
        with Recording(f, position, points, kwargs) as recording:
            y, shape = recording.scalar("hvp"), recording.shape
            leaves = as_numbers(flatten_like(v, shape, "the vector of hvp(f, x, v)"), recorded)
            vector = numbers_of(leaves, recording.tape, "the vector of hvp(f, x, v)")
            if not recording.open and not vector.any_variable:
                products = recording.second(y, vector.values.reshape(-1, 1))[:, 0]
                return split(shape, np.ascontiguousarray(products))
            node = recording.node_of(y)
            recording.keep()
            slopes = recording.frame_nodes(recording.recorded_gradient(node))
            result = recording.recorded_reverse(slopes, vector)
            return split_variables(shape, result, recording.tape)

    return product


def make_hvp(
    f: Callable[..., Any], argnums: Position = 0, *, argnum: Position | None = None
) -> Callable[..., Any]:
    """As in autograd: `make_hvp(f)(*args)` gives (v -> Hessian times v, the gradient)."""
    position = position_of(argnums, argnum)
    return make_vjp(grad(f, position), position)
