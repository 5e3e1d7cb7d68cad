"""One check for functions of arrays: value, derivatives in every mode up to the second order."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import pyad

STEP = 1e-3


def results_of(y: Any) -> list[Any]:
    """A result, or a tuple of them, as a list."""
    return list(y) if isinstance(y, (tuple, list)) else [y]


def value_of(x: Any) -> Any:
    return x.value if isinstance(x, (pyad.Array, pyad.Var)) else x


def slope(f: Callable[[float], float], step: float) -> float:
    """f'(0) by central differences of fourth order."""
    h = step
    return (8 * (f(h) - f(-h)) - (f(2 * h) - f(-2 * h))) / (12 * h)


def takes(f: Callable[..., Any], dtype: Any, args: tuple[Any, ...]) -> bool:
    """Whether a function of plain arrays knows this type."""
    try:
        f(*(x.astype(dtype) for x in args))
    except TypeError:
        return False
    return True


def check(
    f: Callable[..., Any],
    *args: Any,
    order: int = 2,
    rtol: float = 1e-7,
    step: float = STEP,
    reference: Callable[..., Any] | None = None,
    vary: Callable[..., Any] | None = None,
    precise: bool = False,
) -> None:
    """Compare f on variables with f on plain arrays, and its derivatives with differences.

    `reference` computes the values on plain arrays, if not f. `vary` maps directions to those that
    the function is a function of (symmetric ones).
    """
    rng = np.random.default_rng(7)
    args = tuple(np.asarray(x, dtype=float) for x in args)
    plain = f if reference is None else reference
    expected = results_of(plain(*args))
    got = results_of(f(*(pyad.array(x) for x in args)))
    assert len(got) == len(expected)
    for y, z in zip(got, expected, strict=True):
        assert np.shape(value_of(y)) == np.shape(z)
        np.testing.assert_allclose(value_of(y), z, rtol=1e-10, atol=1e-12)
    pyad.current_tape().clear()
    weights = [rng.normal(size=np.shape(z)) for z in expected]
    directions = tuple(np.asarray(rng.normal(size=x.shape)) for x in args)
    if vary is not None:
        directions = tuple(vary(v) for v in directions)

    def total(*xs: Any) -> Any:
        return sum(np.sum(w * y) for w, y in zip(weights, results_of(f(*xs)), strict=True))

    def total_plain(*xs: Any) -> Any:
        ys = results_of(plain(*xs))
        return sum(np.sum(w * y) for w, y in zip(weights, ys, strict=True))

    def moved(h: float, dtype: Any = float) -> Any:
        return tuple(x.astype(dtype) + h * v for x, v in zip(args, directions, strict=True))

    def along(gradients: Any) -> Any:
        return sum(np.sum(g * v) for g, v in zip(gradients, directions, strict=True))

    every = tuple(range(len(args)))
    gradient = pyad.grad(total, every)
    first = gradient(*args)
    for g, x in zip(first, args, strict=True):
        assert np.shape(g) == x.shape
    scale = max(1.0, *(float(np.max(np.abs(g), initial=0.0)) for g in first))
    dtype = np.longdouble if precise and takes(total_plain, np.longdouble, args) else float
    wanted = float(slope(lambda h: total_plain(*moved(h, dtype)), step))
    np.testing.assert_allclose(along(first), wanted, rtol=rtol, atol=rtol * scale)
    value, tangent = pyad.jvp(total, args, directions)
    np.testing.assert_allclose(value, total_plain(*args), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(tangent, wanted, rtol=rtol, atol=rtol * scale)
    if order < 2:
        return
    # the derivative of the gradient: recorded reverse, then native reverse and forward
    second = [
        slope(lambda h, i=i, w=w: float(np.sum(w * gradient(*moved(h))[i])), step)
        for i, w in enumerate(directions)
    ]
    bound = max(scale, *map(abs, second))
    product = pyad.grad(lambda *xs: along(gradient(*xs)), every)(*args)
    np.testing.assert_allclose(along(product), sum(second), rtol=10 * rtol, atol=10 * rtol * bound)
    _, forward = pyad.jvp(lambda *xs: along(gradient(*xs)), args, directions)
    np.testing.assert_allclose(forward, sum(second), rtol=10 * rtol, atol=10 * rtol * bound)
    # recorded forward, then native reverse and forward
    mixed = pyad.grad(lambda *xs: pyad.jvp(total, xs, directions)[1], every)(*args)
    for g, h in zip(mixed, product, strict=True):
        np.testing.assert_allclose(g, h, rtol=1e-7, atol=1e-8 * bound)
    _, twice = pyad.jvp(lambda *xs: pyad.jvp(total, xs, directions)[1], args, directions)
    np.testing.assert_allclose(twice, sum(second), rtol=10 * rtol, atol=10 * rtol * bound)
