"""What one call of a compiled function costs where there is next to nothing to compute.

The function of two variables x*x + x*y, its value and gradient; the unit is `np.add(x, x)` on the
same array of two numbers. JAX's compiled function takes that array, too, and its results are waited
for; CasADi's is called with it as users do, and through its buffer interface.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any

import numpy as np

import pyad

__all__ = ["calls", "unit"]

Call = Callable[[], Any]
START = np.array([1.5, -2.0])


def function(x: Any) -> Any:
    """Of two variables."""
    return x[0] * x[0] + x[0] * x[1]


def unit() -> Any:
    """The least that NumPy does with such an array."""
    return np.add(START, START)


def calls() -> dict[str, Call]:
    """By name, each checked; those of packages that are not installed are left out."""
    made = _pyad()
    if importlib.util.find_spec("casadi"):
        made |= _casadi()
    if importlib.util.find_spec("jax"):
        made |= _jax()
    for name, call in made.items():
        for _ in range(2):
            value, gradient = call()
            found = [float(value), *np.asarray(gradient, np.float64).ravel()]
            assert np.allclose(found, [-0.75, 1.0, 1.5], rtol=1e-6), f"{name}: {found}"
    return made


def _pyad() -> dict[str, Call]:
    p, q = pyad.compile(function), pyad.compile(function)
    named = pyad.compile(lambda x, *, scale: function(x) * scale)
    numbers = START.tolist()
    return {
        "pyad, array": lambda: p.value_and_grad(START),
        "pyad, list": lambda: q.value_and_grad(numbers),
        "pyad, array and keyword": lambda: named.value_and_grad(START, scale=1.0),
    }


def _casadi() -> dict[str, Call]:
    import casadi

    x = casadi.SX.sym("x", 2)
    y = function(x)
    f = casadi.Function("f", [x], [y, casadi.gradient(y, x)])
    buffer: Any
    buffer, evaluate = f.buffer()
    value, gradient = np.zeros(1), np.zeros(2)
    buffer.set_arg(0, memoryview(START))
    buffer.set_res(0, memoryview(value))
    buffer.set_res(1, memoryview(gradient))

    def filled() -> Any:
        evaluate()
        return value[0], gradient

    filled.keep_alive = f, buffer  # type: ignore[attr-defined]
    return {"CasADi": lambda: f(START), "CasADi, buffers": filled}


def _jax() -> dict[str, Call]:
    import jax

    jax.config.update("jax_enable_x64", True)
    both = jax.jit(jax.value_and_grad(function))
    return {"JAX, jit": lambda: jax.block_until_ready(both(START))}
