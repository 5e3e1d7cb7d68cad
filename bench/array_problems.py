"""The array problems, each written once as NumPy code; autograd, PyTorch and JAX take it, too.

A function takes a namespace `m` with `sum`, `exp`, `sin` and `tanh` (NumPy, or what a tool
has in its place), the arrays to differentiate in, and the constant ones. `check` compares the
gradient with complex steps, as bench/problems.py does, coordinate by coordinate and along a random
direction.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = [
    "ArrayProblem",
    "check",
    "fill",
    "gaussian_sine",
    "headline",
    "network",
    "product",
    "rosenbrock",
    "sizes",
]

STEP = 1e-100
TOLERANCE = 1e-9  # relative to the largest derivative
COORDINATES = 4  # of every array


@dataclass(frozen=True)
class ArrayProblem:
    """A number as a function of arrays, where to differentiate it, and what that may cost."""

    name: str
    start: tuple[np.ndarray, ...]
    function: Callable[..., Any]
    constants: tuple[np.ndarray, ...] = ()
    limit: float | None = None
    """At most so many times the plain evaluation (issue 3)."""
    assigns: bool = False
    """Whether it assigns elements one by one, which few can differentiate."""

    def __str__(self) -> str:
        return self.name

    def plainly(self) -> Any:
        """The value, by NumPy alone."""
        return self.function(np, *self.start, *self.constants)


def headline(*, tiny: bool = False) -> list[ArrayProblem]:
    """What has a limit."""
    if tiny:
        return [
            rosenbrock(10),
            network(4, 3, 5),
            gaussian_sine(50),
            product(6),
            fill(50),
        ]
    return [
        rosenbrock(10, limit=3.0),
        rosenbrock(1000, limit=3.0),
        network(64, 32, 64, limit=2.5),
        gaussian_sine(10**6, limit=1.3),
        product(400, limit=2.0),
        fill(10**5, limit=3.0),
    ]


def sizes(*, tiny: bool = False) -> list[ArrayProblem]:
    """From one element to ten million: never more than 1.1 times the faster of the peers."""
    if tiny:
        return [make(n) for make in (rosenbrock, gaussian_sine) for n in (1, 10)]
    powers = [10**i for i in range(8)]
    return [
        *map(rosenbrock, powers),
        *map(gaussian_sine, powers),
        *(network(n, n, n) for n in (1, 4, 16, 64, 256, 1024)),
        *(network(batch, 32, 64) for batch in (1, 8, 64, 512, 4096, 32768)),
        *map(product, (1, 4, 16, 64, 256, 1024)),
    ]


def rosenbrock(n: int, limit: float | None = None) -> ArrayProblem:
    """The chained valley, in slices."""

    def function(m: Any, x: Any) -> Any:
        return m.sum(100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2)

    return ArrayProblem(f"Rosenbrock ({n})", (np.sin(np.arange(float(n))),), function, (), limit)


def gaussian_sine(n: int, limit: float | None = None) -> ArrayProblem:
    """Elementwise functions, summed."""

    def function(m: Any, x: Any) -> Any:
        return m.sum(m.exp(-x * x / 2) * m.sin(x))

    start = np.linspace(-3.0, 3.0, n) if n > 1 else np.array([0.5])
    return ArrayProblem(f"exp(-x*x/2)*sin(x) ({n})", (start,), function, (), limit)


def network(batch: int, features: int, hidden: int, limit: float | None = None) -> ArrayProblem:
    """Mean squared error of a tanh network with one hidden layer and one output."""
    generator = np.random.default_rng(1)

    def function(m: Any, w1: Any, b1: Any, w2: Any, b2: Any, x: Any, y: Any) -> Any:
        return m.sum((m.tanh(x @ w1 + b1) @ w2 + b2 - y) ** 2) / batch

    start = (
        generator.normal(size=(features, hidden)) / np.sqrt(features),
        np.zeros(hidden),
        generator.normal(size=(hidden, 1)) / np.sqrt(hidden),
        np.zeros(1),
    )
    data = (generator.normal(size=(batch, features)), generator.normal(size=(batch, 1)))
    name = f"network {batch}x{features} -> {hidden} -> 1"
    return ArrayProblem(name, start, function, data, limit)


def product(n: int, limit: float | None = None) -> ArrayProblem:
    """A product of two square matrices, one of them constant."""
    generator = np.random.default_rng(2)

    def function(m: Any, x: Any, a: Any) -> Any:
        return m.sum(m.tanh(a @ x))

    a, x = generator.normal(size=(2, n, n)) / np.sqrt(n)
    return ArrayProblem(f"sum(tanh(A @ M)) ({n})", (x,), function, (a,), limit)


def fill(n: int, limit: float | None = None) -> ArrayProblem:
    """A recurrence that assigns one element after the other."""

    def function(m: Any, x: Any) -> Any:
        y = 1.0 * x
        for i in range(1, len(x)):
            y[i] = 0.9 * y[i - 1] + x[i]
        return m.sum(y * y)

    start = np.sin(np.arange(float(n)))
    return ArrayProblem(f"y[i] = ... ({n})", (start,), function, (), limit, assigns=True)


def check(problem: ArrayProblem, gradients: Sequence[Any]) -> None:
    """Raise `AssertionError` unless these are the derivatives in the arrays of the problem."""
    assert len(gradients) == len(problem.start), f"{problem}: {len(gradients)} gradients"
    generator = np.random.default_rng(3)
    given = [np.asarray(g) for g in gradients]
    scale = max([1.0, *(float(np.max(np.abs(g), initial=0.0)) for g in given)])
    for which, (array, gradient) in enumerate(zip(problem.start, given, strict=True)):
        assert gradient.shape == array.shape, f"{problem}: {gradient.shape} for {array.shape}"
        for i in {j * (array.size - 1) // (COORDINATES - 1) for j in range(COORDINATES)}:
            directions = [np.zeros(a.shape) for a in problem.start]
            directions[which].flat[i] = 1.0
            expected = _complex_step(problem, directions)
            assert abs(gradient.flat[i] - expected) <= TOLERANCE * scale, (
                f"{problem}: derivative {i} in array {which} is {expected!r}, "
                f"given {gradient.flat[i]!r}"
            )
    directions = [generator.uniform(-1.0, 1.0, size=a.shape) for a in problem.start]
    expected = _complex_step(problem, directions)
    total = sum(float(np.sum(g * d)) for g, d in zip(given, directions, strict=True))
    size = sum(a.size for a in problem.start)
    assert abs(total - expected) <= TOLERANCE * scale * np.sqrt(size), (
        f"{problem}: derivative along a random direction is {expected!r}, given {total!r}"
    )


def _complex_step(problem: ArrayProblem, directions: Sequence[np.ndarray]) -> float:
    points = [x + 1j * (STEP * d) for x, d in zip(problem.start, directions, strict=True)]
    return float(problem.function(np, *points, *problem.constants).imag) / STEP
