"""NumPy's namespace with constructors whose results may be assigned variables.

`import pyad.numpy as np` runs programs written for `autograd.numpy`, and more: what `zeros`,
`ones`, `empty`, `full`, `array`, `eye` ... give is a `pyad.Array`, whose items may be assigned
variables. Everything else is NumPy's own, which knows what to do with an `Array`. Arrays of whole
numbers, truth values and other kinds stay NumPy's arrays: nothing in them is differentiable.

>>> import pyad
>>> import pyad.numpy as np
>>> def f(x):
...     y = np.zeros(3)
...     y[0] = x
...     for i in range(1, 3):
...         y[i] = y[i - 1] * x
...     return np.sum(y)
>>> pyad.grad(f)(2.0)
17.0
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as _numpy

from pyad import _handle
from pyad._binding import error
from pyad._handle import Array, Dual, Var
from pyad.array._convert import as_array
from pyad.numpy import fft as fft
from pyad.numpy import linalg as linalg
from pyad.numpy import random as random

_CONSTRUCTORS = (
    "arange", "array", "asanyarray", "asarray", "ascontiguousarray", "copy", "diag", "empty",
    "empty_like", "eye", "full", "full_like", "geomspace", "identity", "linspace", "logspace",
    "ones", "ones_like", "tri", "vander", "zeros", "zeros_like",
)  # fmt: skip
"""What makes arrays: here an `Array` where NumPy makes one of floats."""


def _holds_variables(x: Any) -> bool:
    """Whether an `Array`, a variable, or a list of them is to become (part of) an array."""
    if isinstance(x, (Var, Dual, Array)):
        return True
    if isinstance(x, _numpy.ndarray):
        return bool(x.dtype == object)
    return isinstance(x, (list, tuple)) and any(map(_holds_variables, x))


def _constant(made: Any) -> Any:
    """What NumPy made, as an `Array` without derivative if it is an array of floats."""
    if isinstance(made, _numpy.ndarray) and made.dtype.kind == "f":
        return _handle.array(made, requires_grad=False)
    return made


def _constructor(name: str) -> Callable[..., Any]:
    function = getattr(_numpy, name)

    @functools.wraps(function)
    def construct(*args: Any, **kwargs: Any) -> Any:
        return _constant(function(*args, **kwargs))

    return construct


def array(object: Any, dtype: Any = None, **options: Any) -> Any:
    """`numpy.array`, also of variables and arrays of them, nested in lists as you like.

    >>> import pyad
    >>> import pyad.numpy as np
    >>> pyad.jacobian(lambda x: np.array([x, x**2]))(3.0)
    array([1., 6.])
    """
    if not _holds_variables(object):
        return _constant(_numpy.array(object, dtype=dtype, **options))
    _check_dtype(dtype)
    made = as_array(object, "pyad.numpy.array")
    result = made.copy() if made is object else made
    missing = options.get("ndmin", 0) - result.ndim
    return result.reshape((1,) * missing + result.shape) if missing > 0 else result


def asarray(object: Any, dtype: Any = None, **options: Any) -> Any:
    """`numpy.asarray`; an `Array` stays what it is."""
    if not _holds_variables(object):
        return _constant(_numpy.asarray(object, dtype=dtype, **options))
    _check_dtype(dtype)
    if isinstance(object, Array) and not options.get("copy"):
        return object
    return as_array(object, "pyad.numpy.asarray")


def full(shape: Any, fill_value: Any, dtype: Any = None, **options: Any) -> Any:
    """`numpy.full`, also with a variable."""
    if not _holds_variables(fill_value):
        return _constant(_numpy.full(shape, fill_value, dtype=dtype, **options))
    _check_dtype(dtype)
    result = _handle.array(_numpy.empty(shape), requires_grad=False)
    result[...] = fill_value
    return result


def _check_dtype(dtype: Any) -> None:
    if dtype is not None and _numpy.dtype(dtype).kind not in "fO":
        raise error("WOULD_LOSE_DERIVATIVE")


_OWN: dict[str, Callable[..., Any]] = {
    name: _constructor(name) for name in _CONSTRUCTORS if name not in globals()
} | {"asanyarray": asarray, "ascontiguousarray": asarray}


def __getattr__(name: str) -> Any:
    if name in _OWN:
        return _OWN[name]
    try:
        return getattr(_numpy, name)
    except AttributeError:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}, as NumPy") from None


def __dir__() -> list[str]:
    return sorted({*dir(_numpy), *_CONSTRUCTORS})
