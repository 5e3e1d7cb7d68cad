"""The rest of the protocol of an ndarray: methods and attributes that the C type is given."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from pyad import _handle
from pyad._binding import error
from pyad._handle import Array
from pyad.array import _choices, _products, _reductions, _structure, _sweeps
from pyad.array._callers import module_of, refuse_caller, way_of_caller
from pyad.array._common import (
    apply,
    lifted,
    objects,
    scalar,
)
from pyad.array._guards import truth
from pyad.array._structure import rearranged, viewed

__all__ = ["ABSENT", "OF_SCALARS", "install"]


# ---- structure -----------------------------------------------------------------------------------


def _ravel(self: Array, order: str = "C") -> Any:
    if order == "C":
        return self.reshape(-1)
    return viewed(lambda v: v.ravel(order=order), self)


def _flatten(self: Array, order: str = "C") -> Any:
    return _handle._array_copy(_ravel(self, order))


def _copy(self: Array, order: str = "C") -> Any:
    """An array of the same elements, to which items can be assigned."""
    return _handle._array_copy(self)


def _squeeze(self: Array, axis: Any = None) -> Any:
    return viewed(np.squeeze, self, axis)


def _transpose(self: Array, *axes: Any) -> Any:
    if not axes or axes == (None,):
        return self.T
    return viewed(lambda v: v.transpose(*axes), self)


def _swapaxes(self: Array, axis1: Any, axis2: Any) -> Any:
    return viewed(np.swapaxes, self, axis1, axis2)


def _diagonal(self: Array, offset: Any = 0, axis1: Any = 0, axis2: Any = 1) -> Any:
    return viewed(np.diagonal, self, offset, axis1, axis2)


def _repeat(self: Array, repeats: Any, axis: Any = None) -> Any:
    return rearranged(lambda v: v.repeat(repeats, axis), self)


def _take(self: Array, indices: Any, axis: Any = None, out: Any = None, mode: str = "raise") -> Any:
    return _structure.FUNCTIONS[np.take](self, indices, axis, out, mode)


def _compress(self: Array, condition: Any, axis: Any = None, out: Any = None) -> Any:
    return _structure.FUNCTIONS[np.compress](condition, self, axis, out)


def _put(self: Array, indices: Any, values: Any, mode: str = "raise") -> None:
    _structure.FUNCTIONS[np.put](self, indices, values, mode)


def _fill(self: Array, value: Any) -> None:
    self[...] = value


def _item(self: Array, *args: Any) -> Any:
    """One element, as a variable."""
    if not args:
        if self.size != 1:
            raise error("ARGUMENT_SHAPE", "an array in item()", "of one element", str(self.shape))
        return self.reshape(-1)[0]
    if len(args) == 1 and not isinstance(args[0], tuple):
        return self.reshape(-1)[args[0]]
    return self[tuple(args[0]) if len(args) == 1 else args]


def _tolist(self: Array) -> Any:
    """Nested lists of variables."""
    if self.ndim == 0:
        return self[()]
    if self.ndim == 1:
        return list(self)
    return [_tolist(row) for row in self]


def _sort(
    self: Array, axis: Any = -1, kind: Any = None, order: Any = None, *, stable: Any = None
) -> None:
    self[...] = _choices.sort(self, axis, kind, order)


def _partition(self: Array, kth: Any, axis: Any = -1, kind: Any = None, order: Any = None) -> None:
    self[...] = _choices.partition(self, kth, axis)


def _astype(
    self: Array,
    dtype: Any,
    order: str = "K",
    casting: str = "unsafe",
    subok: bool = True,
    copy: bool = True,
) -> Any:
    """A copy; whole numbers and truth values are plain, as those of a comparison.

    Other types of numbers are for constants, which become plain ndarrays.
    """
    wanted = np.dtype(dtype)
    if wanted == np.float64:
        return _handle._array_copy(self) if copy else self
    if wanted.kind == "O":
        return objects(self)
    if self.requires_grad and wanted.kind not in "biu":
        raise error("WOULD_LOSE_DERIVATIVE")
    return self.value.astype(wanted)


# ---- of values -----------------------------------------------------------------------------------


def _of_values(name: str) -> Callable[..., Any]:
    function = _choices.FUNCTIONS[getattr(np, name)]

    def method(self: Array, *args: Any, **options: Any) -> Any:
        return function(self, *args, **options)

    method.__name__ = name
    return method


def _absent(name: str, hint: str) -> property:
    """An attribute of ndarrays that an Array has not: who asks for it is named, and told why."""

    def get(self: Array) -> Any:
        found = way_of_caller(sys._getframe(1))
        raise error("NO_ATTRIBUTE", *(found or (f"Array.{name}", hint)))

    return property(get)


_MEMORY = "its elements are nodes of a tape, and not bytes"
ABSENT = {
    "base": "np.shares_memory tells whether one is a view of another",
    "byteswap": "it is of float64, in the order of the machine",
    "choose": "take np.take, or np.choose with plain numbers for the first argument",
    "resize": "take np.resize",
    "view": "take x[...] for a view, or x.astype(dtype)",
    "__dlpack__": _MEMORY,
    **dict.fromkeys(("ctypes", "data", "dump", "dumps", "flags", "getfield", "setfield",
                     "setflags", "tobytes", "tofile"), _MEMORY),
}  # fmt: skip
"""Attributes of ndarrays that an Array has not, each with what to do instead."""


# ---- conversions ---------------------------------------------------------------------------------


def _array(self: Array, dtype: Any = None, copy: Any = None) -> Any:
    """An ndarray of a constant, or of variables if dtype=object asks for it; else refused.

    Sparse matrices of SciPy try `np.asanyarray` on the other operand of `@`, and leave the product
    to that operand when they get an object array without dimensions.
    """
    caller = sys._getframe(1)
    if "mul_dispatch" in caller.f_code.co_name and module_of(caller).startswith("scipy.sparse"):
        return _boxed(self)
    if dtype is not None and np.dtype(dtype) == object:
        return objects(self)
    if self.requires_grad:
        refuse_caller(caller)
        raise error("AS_NDARRAY")
    return self.value if dtype is None else self.value.astype(dtype)


def _boxed(self: Array) -> Any:
    box = np.empty((), dtype=object)
    box[()] = self
    return box


def _format(self: Array, spec: str) -> str:
    if self.ndim == 0:
        return format(float(self.value), spec)
    if spec:
        raise error("ARGUMENTS", f"the format {spec!r} is for one number: format its elements")
    return str(self)


def _repr_svg(self: Array) -> str | None:
    """A picture of how it was computed, in a notebook."""
    from pyad import drawing

    return drawing.svg_of(self)


def _clone(self: Array, memo: Any = None) -> Any:
    """`copy.copy` and `copy.deepcopy`: a leaf gives a leaf, and anything else shares its nodes."""
    if self.is_leaf:
        return _restore(*_state(self))
    return _handle._array_copy(self)


def _state(self: Array) -> tuple[Any, ...]:
    grad = self.grad
    if isinstance(grad, Array):
        grad = grad.value
    return self.value, self.requires_grad, self.name, None if grad is None else np.array(grad)


def _restore(value: Any, requires_grad: bool, name: Any, grad: Any) -> Array:
    made = _handle.array(value, requires_grad, name)
    if grad is not None:
        made.grad = grad
    return made


def _reduce(self: Array) -> Any:
    if not self.is_leaf:
        raise error("NO_PICKLE", "an array operation")
    return _restore, _state(self)


class _Flat:
    """`a.flat`: the elements one after the other, to be read, iterated over and assigned."""

    __slots__ = ("_of",)

    def __init__(self, of: Array) -> None:
        self._of = of

    def __len__(self) -> int:
        return int(self._of.size)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._of.reshape(-1))

    def __getitem__(self, key: Any) -> Any:
        found = self._of.reshape(-1)[key]
        return _handle._array_copy(found) if isinstance(found, Array) else found

    def __setitem__(self, key: Any, value: Any) -> None:
        places = np.arange(self._of.size)[key]
        if np.ndim(places) == 0:
            self._of[np.unravel_index(places, self._of.shape)] = scalar(
                lifted(value).reshape(-1)[0]
            )
        elif np.size(places):
            given = _structure._repeated(value, np.size(places))
            self._of[np.unravel_index(places.ravel(), self._of.shape)] = given


def _set_flat(self: Array, value: Any) -> None:
    _Flat(self)[:] = value


# ---- attributes ----------------------------------------------------------------------------------


def _matrix_transposed(self: Array) -> Any:
    if self.ndim < 2:
        raise ValueError("matrix transpose with ndim < 2 is undefined")
    return viewed(np.swapaxes, self, -1, -2)


def _set_real(self: Array, value: Any) -> None:
    self[...] = value


def _strides(self: Array) -> tuple[int, ...]:
    return tuple(8 * step for step in self._strides)


def _all(
    self: Array, axis: Any = None, out: Any = None, keepdims: bool = False, *, where: Any = True
) -> Any:
    return np.all(truth(self), axis, out, keepdims, where=where)


def _any(
    self: Array, axis: Any = None, out: Any = None, keepdims: bool = False, *, where: Any = True
) -> Any:
    return np.any(truth(self), axis, out, keepdims, where=where)


def _conjugate(self: Array) -> Any:
    return apply("positive", self)


METHODS: dict[str, Any] = {
    "backward": _sweeps.backward,
    "ravel": _ravel,
    "flatten": _flatten,
    "copy": _copy,
    "squeeze": _squeeze,
    "transpose": _transpose,
    "swapaxes": _swapaxes,
    "diagonal": _diagonal,
    "repeat": _repeat,
    "take": _take,
    "compress": _compress,
    "put": _put,
    "fill": _fill,
    "item": _item,
    "tolist": _tolist,
    "sort": _sort,
    "partition": _partition,
    "astype": _astype,
    "mean": _reductions.mean,
    "prod": _reductions.prod,
    "std": _reductions.std,
    "var": _reductions.var,
    "max": _reductions.max_,
    "min": _reductions.min_,
    "cumsum": _reductions.cumsum,
    "cumprod": _reductions.cumprod,
    "trace": _reductions.trace,
    "dot": _products.dot,
    "clip": _choices.clip,
    "round": _choices.round_,
    "conj": _conjugate,
    "conjugate": _conjugate,
    "all": _all,
    "any": _any,
    **{
        name: _of_values(name)
        for name in ("argmax", "argmin", "argsort", "argpartition", "nonzero", "searchsorted")
    },
    **{name: _absent(name, hint) for name, hint in ABSENT.items()},
    "device": property(lambda self: "cpu", doc="Where it is: 'cpu'."),
    "flat": property(_Flat, _set_flat, doc="The elements one after the other."),
    "mT": property(_matrix_transposed, doc="The last two dimensions exchanged, a view."),
    "real": property(lambda self: self[...], _set_real, doc="The array itself, a view."),
    "imag": property(lambda self: lifted(np.zeros(self.shape)), doc="Zeros."),
    "itemsize": property(lambda self: 8, doc="Bytes of an element."),
    "nbytes": property(lambda self: 8 * self.size, doc="Bytes of the values."),
    "strides": property(_strides, doc="Bytes from one element to the next along each dimension."),
    "__array__": _array,
    "__array_priority__": 1000.0,
    "__format__": _format,
    "_repr_svg_": _repr_svg,
    "__copy__": _clone,
    "__deepcopy__": _clone,
    "__reduce__": _reduce,
}


def _of_scalar(name: str) -> Callable[..., Any]:
    def method(self: Any, *args: Any, **options: Any) -> Any:
        return getattr(lifted(self), name)(*args, **options)

    method.__name__ = name
    method.__doc__ = f"As `Array.{name}`, of an array without dimensions."
    return method


OF_SCALARS = (
    "reshape", "ravel", "flatten", "squeeze", "transpose", "astype", "copy", "sum", "mean", "prod",
    "max", "min", "std", "var", "round", "clip", "conj", "tolist", "cumsum", "cumprod",
    "repeat",
)  # fmt: skip
"""Methods of NumPy's scalars, which one element of an Array has too."""


def install() -> None:
    """Put them into the types."""
    _handle._add_methods(Array, METHODS)
    scalars = {name: _of_scalar(name) for name in OF_SCALARS}
    for kind in (_handle.Var, _handle.Dual):
        _handle._add_methods(kind, scalars)
