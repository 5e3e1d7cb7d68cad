"""`ComplexArray`: what the Fourier transforms give, a pair of real arrays.

The tape knows real numbers only. A complex array is its real and its imaginary part, both on the
tape, and derivatives are those of real functions of the two. Everything that reaches a real number
through `.real`, `.imag`, `abs`, `np.angle` or an inverse transform can be differentiated.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NoReturn

import numpy as np

from pyad._binding import error
from pyad._handle import Array, Var
from pyad.array._convert import as_array
from pyad.array._rules import plain, shape_of

__all__ = ["FUNCTIONS", "ComplexArray"]

_numpy: Any = np  # whose types know nothing of a ComplexArray

_KNOWN = (
    ".real, .imag, conj, abs, np.abs, np.angle, np.exp, + - * / @, whole powers, indexing, sum, "
    "mean, rearrangements (reshape, concatenate, roll ...) and np.fft"
)


def _refused(what: str) -> NoReturn:
    raise error(
        "ARGUMENTS",
        f"{what} is not supported for complex arrays of variables, which have {_KNOWN}: write the "
        "rest in x.real and x.imag, or use x.value where no derivative is wanted",
    )


def _parts(x: Any) -> tuple[Any, Any] | None:
    """Real and imaginary part, the latter None if x is real; None if x is no such thing."""
    if isinstance(x, ComplexArray):
        return x.real, x.imag
    if isinstance(x, (Array, Var, float, int, np.floating, np.integer)):
        return x, None
    if isinstance(x, (complex, np.complexfloating)):
        return float(x.real), float(x.imag)
    if isinstance(x, np.ndarray) and x.dtype.kind in "biuf":
        return x, None
    if isinstance(x, np.ndarray) and x.dtype.kind == "c":
        return x.real.copy(), x.imag.copy()
    return None


class ComplexArray:
    """An array of complex numbers: `x.real + 1j * x.imag`, both Arrays (Vars, of one element).

    >>> import numpy as np
    >>> import pyad
    >>> def power(x):
    ...     return np.sum(np.abs(np.fft.rfft(x)) ** 2)
    >>> pyad.grad(power)(np.array([1.0, 2.0, 3.0]))
    array([ 9., 12., 15.])
    """

    __slots__ = ("_imag", "_real")
    __array_priority__ = 1001.0
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, real: Any, imag: Any) -> None:
        if not isinstance(real, (Array, Var)):
            real = as_array(real, "a complex array")
        if not isinstance(imag, (Array, Var)):
            imag = as_array(imag, "a complex array")
        if shape_of(real) != shape_of(imag):
            raise error("ARGUMENT_SHAPE", "imag", str(real.shape), str(imag.shape))
        self._real, self._imag = real, imag

    # ---- what it is ----------------------------------------------------------------------------

    @property
    def real(self) -> Any:
        """The real part, an Array."""
        return self._real

    @property
    def imag(self) -> Any:
        """The imaginary part, an Array."""
        return self._imag

    @property
    def value(self) -> Any:
        """The numbers, a complex ndarray."""
        return np.asarray(plain(self._real)) + 1j * np.asarray(plain(self._imag))

    @property
    def shape(self) -> tuple[int, ...]:
        """The lengths along each axis."""
        return shape_of(self._real)

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """The number of elements."""
        return int(np.prod(self.shape))

    @property
    def dtype(self) -> Any:
        """Always complex128."""
        return np.dtype(np.complex128)

    @property
    def requires_grad(self) -> bool:
        """Whether a part depends on a variable."""
        return bool(self._real.requires_grad or self._imag.requires_grad)

    @property
    def T(self) -> Any:  # noqa: N802  (NumPy's name)
        """The axes reversed; not conjugated."""
        return _numpy.transpose(self)

    def detach(self) -> ComplexArray:
        """The same numbers without derivatives."""
        return ComplexArray(self._real.detach(), self._imag.detach())

    def __repr__(self) -> str:
        return (
            f"ComplexArray({np.array2string(self.value, separator=', ', prefix='ComplexArray(')})"
        )

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("len() of unsized object")
        return self.shape[0]

    def __iter__(self) -> Iterator[Any]:
        return (self[i] for i in range(len(self)))

    def __getitem__(self, key: Any) -> ComplexArray:
        if not self.shape and key not in ((), ...):
            raise IndexError("too many indices for a complex array of no dimensions")
        return ComplexArray(self._real[key], self._imag[key]) if self.shape else self

    def __setitem__(self, key: Any, value: Any) -> NoReturn:
        _refused("item assignment")

    def __bool__(self) -> bool:
        return bool(self.value)

    def __complex__(self) -> NoReturn:
        raise error("WOULD_LOSE_DERIVATIVE")

    __float__ = __int__ = __complex__

    def __array__(self, dtype: Any = None, copy: Any = None) -> NoReturn:
        raise error("AS_NDARRAY")

    # ---- arithmetic ----------------------------------------------------------------------------

    def __pos__(self) -> ComplexArray:
        return ComplexArray(+self._real, +self._imag)

    def __neg__(self) -> ComplexArray:
        return ComplexArray(-self._real, -self._imag)

    def __abs__(self) -> Any:
        return np.hypot(self._real, self._imag)

    def conj(self) -> ComplexArray:
        """The complex conjugate."""
        return ComplexArray(self._real, -self._imag)

    conjugate = conj

    def __add__(self, other: Any) -> Any:
        given = _parts(other)
        if given is None:
            return NotImplemented
        c, d = given
        return _made(self._real + c, self._imag if d is None else self._imag + d)

    __radd__ = __add__

    def __sub__(self, other: Any) -> Any:
        given = _parts(other)
        if given is None:
            return NotImplemented
        c, d = given
        return _made(self._real - c, self._imag if d is None else self._imag - d)

    def __rsub__(self, other: Any) -> Any:
        result = self.__sub__(other)
        return result if result is NotImplemented else -result

    def __mul__(self, other: Any) -> Any:
        return self._product(other, lambda x, y: x * y)

    __rmul__ = __mul__

    def __matmul__(self, other: Any) -> Any:
        return self._product(other, lambda x, y: x @ y)

    def __rmatmul__(self, other: Any) -> Any:
        return self._product(other, lambda x, y: y @ x)

    def _product(self, other: Any, times: Callable[[Any, Any], Any]) -> Any:
        given = _parts(other)
        if given is None:
            return NotImplemented
        (a, b), (c, d) = (self._real, self._imag), given
        if d is None:
            return ComplexArray(times(a, c), times(b, c))
        return ComplexArray(times(a, c) - times(b, d), times(a, d) + times(b, c))

    def __truediv__(self, other: Any) -> Any:
        given = _parts(other)
        if given is None:
            return NotImplemented
        c, d = given
        if d is None:
            return ComplexArray(self._real / c, self._imag / c)
        return self * _inverse(c, d)

    def __rtruediv__(self, other: Any) -> Any:
        if _parts(other) is None:
            return NotImplemented
        return _inverse(self._real, self._imag) * other

    def __pow__(self, n: Any) -> Any:
        if not isinstance(n, (int, float, np.integer, np.floating)) or n != int(n):
            _refused("a power that is no whole number")
        n = int(n)
        if n < 0:
            return _inverse(self._real, self._imag) ** -n
        result: Any = None
        base: Any = self
        while n:
            if n & 1:
                result = base if result is None else result * base
            n >>= 1
            base = base * base if n else base
        if result is None:
            ones = np.ones(self.shape)
            return ComplexArray(ones, 0 * ones)
        return result

    def __rpow__(self, other: Any) -> NoReturn:
        _refused("a complex exponent")

    def __eq__(self, other: Any) -> Any:
        return self.value == _number(other)

    def __ne__(self, other: Any) -> Any:
        return self.value != _number(other)

    # ---- methods -------------------------------------------------------------------------------

    def sum(self, axis: Any = None, keepdims: bool = False) -> Any:
        """The sum over axes."""
        return _numpy.sum(self, axis=axis, keepdims=keepdims)

    def mean(self, axis: Any = None, keepdims: bool = False) -> Any:
        """The mean over axes."""
        return _numpy.mean(self, axis=axis, keepdims=keepdims)

    def reshape(self, *shape: Any) -> Any:
        """The elements in another shape."""
        return _numpy.reshape(self, shape[0] if len(shape) == 1 else shape)

    def ravel(self) -> Any:
        """The elements one after the other."""
        return self.reshape(-1)

    flatten = ravel

    def copy(self) -> Any:
        """A copy."""
        return _numpy.copy(self)

    # ---- NumPy's protocols ---------------------------------------------------------------------

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        ours = _UFUNCS.get(ufunc)
        if method == "reduce" and ufunc is np.add:
            return np.sum(inputs[0], **{"axis": 0, **options})
        if ours is None or method != "__call__" or options:
            _refused(f"np.{ufunc.__name__}{'' if method == '__call__' else '.' + method}")
        result = ours(*inputs)
        if result is NotImplemented:
            _refused(f"np.{ufunc.__name__} with {type(inputs[-1]).__name__}")
        return result

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        ours = FUNCTIONS.get(function)
        if ours is None:
            from pyad.array._coverage import name_of

            _refused(name_of(function))
        return ours(*args, **kwargs)


def _made(real: Any, imag: Any) -> ComplexArray:
    shape = shape_of(real)
    if shape_of(imag) != shape:
        imag = imag + np.zeros(shape)
    if shape_of(imag) != shape:
        real = real + np.zeros(shape_of(imag))
    return ComplexArray(real, imag)


def _number(x: Any) -> Any:
    return x.value if isinstance(x, (ComplexArray, Array, Var)) else x


def _inverse(c: Any, d: Any) -> ComplexArray:
    """1 / (c + 1j d), scaled (by constants) so that no square overflows or underflows."""
    scale = np.maximum(np.abs(plain(c)), np.abs(plain(d)))
    scale = np.where((scale == 0) | ~np.isfinite(scale), 1.0, scale)
    c, d = c / scale, d / scale
    size = (c * c + d * d) * scale
    return ComplexArray(c / size, -d / size)


# ---- functions -----------------------------------------------------------------------------------


def _angle(z: Any, deg: bool = False) -> Any:
    angle = np.arctan2(z.imag, z.real)
    return angle * (180 / np.pi) if deg else angle


def _exp(z: Any) -> Any:
    size = np.exp(z.real)
    return ComplexArray(size * np.cos(z.imag), size * np.sin(z.imag))


def _on_values(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *xs: function(*map(_number, xs))


_UFUNCS: dict[Any, Callable[..., Any]] = {
    np.add: lambda x, y: x + y if isinstance(x, ComplexArray) else y + x,
    np.subtract: lambda x, y: x - y if isinstance(x, ComplexArray) else y.__rsub__(x),
    np.multiply: lambda x, y: x * y if isinstance(x, ComplexArray) else y * x,
    np.true_divide: lambda x, y: x / y if isinstance(x, ComplexArray) else y.__rtruediv__(x),
    np.matmul: lambda x, y: x @ y if isinstance(x, ComplexArray) else y.__rmatmul__(x),
    np.power: lambda x, n: x**n,
    np.negative: lambda x: -x,
    np.positive: lambda x: +x,
    np.square: lambda x: x * x,
    np.reciprocal: lambda x: x**-1,
    np.conjugate: lambda x: x.conj(),
    np.absolute: abs,
    np.exp: _exp,
    **{f: _on_values(f) for f in (np.equal, np.not_equal, np.isnan, np.isinf, np.isfinite)},
}


def _part(x: Any, name: str) -> Any:
    """The part of this name of all that is in an argument."""
    if isinstance(x, (list, tuple)) and any(map(_is_part, x)):
        return type(x)(_part(item, name) for item in x)
    if isinstance(x, ComplexArray) or (isinstance(x, np.ndarray) and x.dtype.kind == "c"):
        return getattr(x, name)
    if isinstance(x, (Array, np.ndarray)) and x.dtype.kind == "f" and name == "imag":
        return np.zeros(x.shape)
    return x


def _is_part(x: Any) -> bool:
    return isinstance(x, (ComplexArray, Array, np.ndarray)) or (
        isinstance(x, (list, tuple)) and any(map(_is_part, x))
    )


def _in_parts(function: Callable[..., Any]) -> Callable[..., Any]:
    """A linear function, of both parts."""

    def ours(*args: Any, **options: Any) -> Any:
        real, imag = (
            function(
                *(_part(x, name) for x in args), **{k: _part(x, name) for k, x in options.items()}
            )
            for name in ("real", "imag")
        )
        return ComplexArray(real, imag)

    return ours


_LINEAR = (
    "sum", "mean", "reshape", "ravel", "transpose", "swapaxes", "moveaxis", "squeeze",
    "expand_dims", "broadcast_to", "flip", "roll", "concatenate", "stack", "hstack", "vstack",
    "tile", "repeat", "take", "diff", "cumsum", "copy", "diagonal", "trace", "tril", "triu",
    "pad", "delete", "rot90", "fliplr", "flipud",
)  # fmt: skip
FUNCTIONS: dict[Any, Callable[..., Any]] = {
    **{getattr(np, name): _in_parts(getattr(np, name)) for name in _LINEAR},
    np.real: lambda x: x.real,
    np.imag: lambda x: x.imag,
    np.angle: _angle,
    np.shape: lambda x: x.shape,
    np.ndim: lambda x: x.ndim,
    np.size: lambda x, axis=None: x.size if axis is None else x.shape[axis],
    np.iscomplexobj: lambda x: True,
    np.iscomplex: lambda x: np.iscomplex(x.value),
    np.isreal: lambda x: np.isreal(x.value),
    np.allclose: lambda *xs, **o: np.allclose(*map(_number, xs), **o),
    np.array_equal: lambda *xs: np.array_equal(*map(_number, xs)),
}
"""What NumPy's functions become for a ComplexArray; `_fft` adds the transforms."""
