"""Checking derivatives against finite differences, for test suites.

Installing pyad gives pytest the fixture `check_grads`, which is the function of this module.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from pyad._binding import error
from pyad._checking import MODES, Check, first_step, problem_of
from pyad.modes import no_grad

__all__ = ["check_grads", "numerical_gradient"]


def numerical_gradient(f: Callable[[Any], Any], x: Any, eps: float | None = None) -> Any:
    """The gradient of `f` at `x` by finite differences, in the structure in which `grad` gives it.

    Central differences at steps that shrink from `eps` (1/8) times the size of each number, or
    from `eps` at 0 where all are 0, extrapolated to a step of 0; each entry takes the extrapolation
    that agrees best with its neighbours. Ten digits of a derivative are usual where `f` is smooth
    and computed to full precision; fewer where `f` itself is a difference of large numbers. An
    entry is NaN if `f` is not defined on both sides of it. `f` is evaluated 8 to 64 times a
    number, on floats.

    Raises `TypeError` if `f` does not return one number. Source: C. J. F. Ridders, "Accurate
    computation of F'(x) and F'(x)F''(x)", Advances in Engineering Software 4 (1982).

    >>> import pyad
    >>> gradient = pyad.numerical_gradient(lambda p: p["a"] ** 2 * p["b"], {"a": 3.0, "b": 2.0})
    >>> {key: round(slope, 9) for key, slope in gradient.items()}
    {'a': 12.0, 'b': 9.0}
    """
    with no_grad():
        problem = problem_of(f, (x,), None, {}, first_step(eps))
        value = problem.results(problem.at_home())[0]
        if len(value) != 1:
            raise error("NOT_A_SCALAR", "numerical_gradient", f"{len(value)} numbers")
        slopes = np.array([problem.column(i).value[0] for i in range(len(problem.x))])
        return problem.build(slopes)[0]


def check_grads(
    f: Callable[..., Any],
    *args: Any,
    modes: Sequence[str] = ("fwd", "rev"),
    order: int = 2,
    argnums: int | tuple[int, ...] | None = None,
    kwargs: dict[str, Any] | None = None,
    atol: float = 1e-12,
    rtol: float = 1e-6,
    eps: float | None = None,
    seed: int = 0,
) -> None:
    """Raise `AssertionError` if derivatives of `f` at `args` disagree with finite differences.

    `f` takes numbers, arrays, and nested lists, tuples and dicts of them, and returns such.
    Every argument is checked, or those at `argnums`: name them if others are no numbers to
    differentiate in, such as a count. `kwargs` are passed on to `f`.

    `modes` are "fwd" (`jvp`) and "rev" (`vjp`, which `grad` shares). `order=2` checks derivatives
    of derivatives too, every mode over every other one; any order is possible, and each doubles
    the work of the one before. Nodes of `pyad.from_partials` have first derivatives only: check
    them with `order=1`. Up to 16 numbers (4 in second derivatives) are checked one by one,
    more of them along random directions, which `seed` decides; then an error is missed in an
    entry whose share in the change of `f` is less than `rtol`.

    Two derivatives agree within `atol + rtol * (the larger)`, and ten times the error that the
    differences estimate for themselves. `eps` is the first step of the differences, as in
    `numerical_gradient`. Points at kinks, jumps and ends of domains are no points to check.

    The message names argument, entry, both numbers, and what in the recording disagrees with
    its own finite differences: operations, partials given by the caller, or values that were
    taken out of the computation.

    >>> import pyad
    >>> pyad.check_grads(lambda x, y: pyad.sin(x) * y["scale"], 0.5, {"scale": 3.0})
    >>> def square(x):
    ...     value = pyad.stop_gradient(x)
    ...     return pyad.from_partials(value**2, [x], [3 * value])
    >>> pyad.check_grads(square, 5.0, order=1)
    Traceback (most recent call last):
        ...
    AssertionError: the derivative of square in argument 0 (x) is wrong:
        15.0 by forward mode (jvp)
        10 by finite differences (which may be off by ...)
    partials given by the caller (pyad.from_partials) are suspect:
      node 1, given(5), at <doctest ...>:3: partial 15 given, 10 by finite differences
    """
    __tracebackhide__ = True
    chosen = (modes,) if isinstance(modes, str) else tuple(modes)
    if not chosen or not set(chosen) <= set(MODES):
        raise error("ARGUMENTS", f"modes are 'fwd' and 'rev', at least one of them, not {modes!r}")
    if not isinstance(order, int) or order < 1:
        raise error("ARGUMENTS", f"order is a whole number, 1 or more, not {order!r}")
    given = {} if kwargs is None else kwargs
    with no_grad():
        problem = problem_of(f, args, argnums, given, first_step(eps))
        message = Check(chosen, atol, rtol, seed).failure(problem, order)
    if message is not None:
        raise AssertionError(message)
