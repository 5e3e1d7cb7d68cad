"""Value and gradient of a compiled function, and the gradient alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyad
from pyad.compiled import _batch
from pyad.compiled._arguments import NUMBER, Branch, Shaped
from pyad.compiled._evaluator import Evaluator, split_numbers

__all__ = ["Gradient", "ValueAndGrad"]


class ValueAndGrad:
    """(value, gradient) of a compiled function: `p.value_and_grad`."""

    def __init__(self, compiled: Evaluator) -> None:
        self.compiled = compiled
        self._has_aux = compiled.has_aux
        self._quick = compiled._quick

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """(value, gradient); with `has_aux` ((value, aux), gradient)."""
        if not kwargs and not self._has_aux:
            quick = self._quick(args)
            if quick is not None and quick.is_scalar:
                found = quick.value_and_grad(args)
                if found is not None:
                    return found
        p = self.compiled
        shortcuts = p._state.quick
        call = p._call(args, kwargs)
        run = p._run("value", call, args, kwargs)
        if run is None:
            return self._eagerly(args, kwargs)
        with run:
            outputs = run.program.outputs
            if p.has_aux:
                if (
                    type(outputs) is not Branch
                    or outputs.kind is not tuple
                    or len(outputs.children) != 2
                ):
                    return self._eagerly(args, kwargs)
                outputs = outputs.children[0]
            if outputs is not NUMBER and outputs != Shaped(()):
                return self._eagerly(args, kwargs)  # raises, unless it is a whole number
            shape, index = p._selected(run.program, args)
            gradient = split_numbers(shape, run.gradient()[index])
            value: Any = float(run.values[0])
            if p.has_aux:
                value = value, run.program.result(run.room)[1]
            else:
                p._remember(shortcuts, args, kwargs, run.program)
        return value, gradient

    def batch(
        self,
        *args: Any,
        threads: int | None = None,
        reduce: str | None = None,
        shared: Any = (),
        **kwargs: Any,
    ) -> Any:
        """(values, gradients) of many rows, as `Compiled.batch` takes them.

        Values have the shape (rows,), gradients that of the arguments with a leading axis of rows;
        also those in arguments that all rows share. With `reduce="sum"` both belong to the sum of
        the values: one number, and in shared arguments the sum of the gradients of all rows.

        >>> import numpy as np
        >>> import pyad
        >>> @pyad.compile
        ... def loss(w, x, y):
        ...     return (np.dot(w, x) - y) ** 2
        >>> w, X, y = np.array([1.0, 2.0]), np.eye(2), np.array([0.5, 0.0])
        >>> loss.value_and_grad.batch(w, X, y, shared=0)
        (array([0.25, 4.  ]), array([[1., 0.],
               [0., 4.]]))
        >>> loss.value_and_grad.batch(w, X, y, shared=0, reduce="sum")
        (4.25, array([1., 4.]))
        """
        return _batch.gradients(self.compiled, args, kwargs, threads, reduce, shared)

    def _eagerly(self, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        p = self.compiled
        return pyad.value_and_grad(p.f, p.argnums, p.has_aux)(*args, **kwargs)

    def __repr__(self) -> str:
        return f"{self.compiled!r}.value_and_grad"


class Gradient:
    """The gradient of a compiled function: `p.grad`."""

    def __init__(self, value_and_grad: ValueAndGrad) -> None:
        self.compiled, self._both = value_and_grad.compiled, value_and_grad

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """The gradient; with `has_aux` (gradient, aux)."""
        value, slope = self._both(*args, **kwargs)
        return (slope, value[1]) if self.compiled.has_aux else slope

    def batch(
        self,
        *args: Any,
        threads: int | None = None,
        reduce: str | None = None,
        shared: Any = (),
        **kwargs: Any,
    ) -> Any:
        """The gradients of many rows, as `p.value_and_grad.batch` gives them.

        With `has_aux` (gradients, aux).
        """
        value, slope = self._both.batch(
            *args, threads=threads, reduce=reduce, shared=shared, **kwargs
        )
        return (slope, value[1]) if self.compiled.has_aux else slope

    def __repr__(self) -> str:
        return f"{self.compiled!r}.grad"
