"""`np.fft` of Arrays: real and complex transforms, each with its adjoint.

A transform is a linear map of real and imaginary parts. Its tangent is the map itself, and its
adjoint the conjugate transform: that of `fft` is `ifft` with the scaling of the other direction,
and what was cut off or filled up with zeros for `n=` is filled up or cut off again.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from pyad._handle import Array
from pyad.array import _complex
from pyad.array._complex import ComplexArray
from pyad.array._convert import as_array
from pyad.array._rules import Rule, apply, shape_of

__all__ = ["FUNCTIONS"]

_Map = Callable[..., Any]

_OTHER: dict[Any, Any] = {
    None: "forward",
    "backward": "forward",
    "forward": "backward",
    "ortho": "ortho",
}
"""The scaling of the adjoint, which goes the other way and has the same factor."""


# ---- linear maps of real and imaginary parts -----------------------------------------------------


def _linear(name: str, there: _Map, back: _Map, parts: tuple[Any, ...]) -> tuple[Any, ...]:
    """`there(*parts)`, one or two arrays; `back` is its adjoint."""

    def vjp(g: Any, out: Any, given: Any) -> Any:
        return _linear(name, back, there, g)

    def jvp(t: Any, out: Any, given: Any) -> Any:
        moved = [np.zeros(shape_of(x)) if s is None else s for s, x in zip(t, given, strict=True)]
        return _linear(name, there, back, tuple(moved))

    return apply(name, there, Rule(vjp, jvp), *parts)


def _joined(parts: tuple[Any, ...]) -> Any:
    """The complex numbers of two parts, and the real ones of one."""
    if len(parts) == 1:
        return parts[0]
    z = np.empty(np.shape(parts[0]), np.complex128)
    z.real, z.imag = parts
    return z


def _split(z: Any, count: int) -> tuple[Any, ...]:
    """Two parts, or the real one."""
    return (z.real,) if count == 1 else (z.real, z.imag)


def _transform(name: str, there: _Map, back: _Map, x: Any, real_result: bool = False) -> Any:
    """A transform of an Array or ComplexArray; `there` and `back` are maps of ndarrays."""
    if isinstance(x, ComplexArray):
        parts: tuple[Any, ...] = (x.real, x.imag)
    else:
        parts = (x if isinstance(x, Array) else as_array(x, name),)
    given, made = len(parts), 1 if real_result else 2
    results = _linear(
        name,
        lambda *p: _split(there(_joined(p)), made),
        lambda *p: _split(back(_joined(p)), given),
        parts,
    )
    return results[0] if real_result else ComplexArray(*results)


# ---- one-dimensional maps and their adjoints, of ndarrays ----------------------------------------


def _fitted(z: Any, n: int, axis: int) -> Any:
    """Cut off or filled up with zeros to the length n."""
    length = z.shape[axis]
    if length == n:
        return z
    key: list[Any] = [slice(None)] * z.ndim
    key[axis] = slice(min(n, length))
    if n < length:
        return z[tuple(key)]
    shape = list(z.shape)
    shape[axis] = n
    result = np.zeros(shape, z.dtype)
    result[tuple(key)] = z
    return result


def _halves(n: int, factor: float, ndim: int, axis: int) -> Any:
    """1 at the frequencies that a real signal has once, `factor` at those it has twice."""
    weight = np.full(n // 2 + 1, factor)
    weight[0] = 1.0
    if n % 2 == 0:
        weight[-1] = 1.0
    return weight.reshape([-1 if k == axis % ndim else 1 for k in range(ndim)])


def _complex_maps(axis: int, n: int, length: int, norm: Any, inverse: bool) -> tuple[_Map, _Map]:
    """`fft` or `ifft` along an axis, from `length` to `n` numbers, and its adjoint."""
    there, back = (np.fft.ifft, np.fft.fft) if inverse else (np.fft.fft, np.fft.ifft)
    return (
        lambda z: there(z, n, axis, norm),
        lambda g: _fitted(back(g, n, axis, _OTHER[norm]), length, axis),
    )


def _rfft_maps(axis: int, n: int, length: int, norm: Any) -> tuple[_Map, _Map]:
    def back(g: Any) -> Any:
        weighted = g * _halves(n, 0.5, g.ndim, axis)
        return _fitted(np.fft.irfft(weighted, n, axis, _OTHER[norm]), length, axis)

    return lambda z: np.fft.rfft(z, n, axis, norm), back


def _irfft_maps(axis: int, n: int, length: int, norm: Any) -> tuple[_Map, _Map]:
    def back(g: Any) -> Any:
        made = np.fft.rfft(g, n, axis, _OTHER[norm]) * _halves(n, 2.0, g.ndim, axis)
        return _fitted(made, length, axis)

    return lambda z: np.fft.irfft(z, n, axis, norm), back


def _chain(maps: list[tuple[_Map, _Map]]) -> tuple[_Map, _Map]:
    """One map after the other; the adjoint goes back through their adjoints."""

    def there(z: Any) -> Any:
        return functools.reduce(lambda y, pair: pair[0](y), maps, z)

    def back(g: Any) -> Any:
        return functools.reduce(lambda y, pair: pair[1](y), reversed(maps), g)

    return there, back


# ---- np.fft --------------------------------------------------------------------------------------


def _checked(a: Any, what: str, n: Any, axis: Any, norm: Any) -> tuple[tuple[int, ...], int]:
    """The shape, and the axis from the front; refuses what NumPy refuses."""
    shape = a.shape if isinstance(a, ComplexArray) else shape_of(a)
    if norm not in _OTHER:
        raise ValueError(f'Invalid norm value {norm}; should be "backward", "ortho" or "forward".')
    k = int(axis)
    if not -len(shape) <= k < len(shape):
        raise np.exceptions.AxisError(k, len(shape))
    if n is not None and n < 1:
        raise ValueError(f"Invalid number of FFT data points ({n}) specified.")
    return shape, k % len(shape)


def _lifted(a: Any, what: str) -> Any:
    return a if isinstance(a, (ComplexArray, Array)) else as_array(a, what)


def _stored(out: Any, what: str) -> None:
    if out is not None:
        from pyad._binding import error

        raise error("ARGUMENTS", f"{what} of variables has no out=: assign the result")


def _one(name: str, a: Any, n: Any, axis: Any, norm: Any, out: Any) -> Any:
    what = f"np.fft.{name}"
    _stored(out, what)
    a = _lifted(a, what)
    shape, k = _checked(a, what, n, axis, norm)
    length = shape[k]
    inverse = name == "ifft"
    count = length if n is None else int(n)
    if count < 1:
        raise ValueError(f"Invalid number of FFT data points ({count}) specified.")
    if name == "rfft":
        if isinstance(a, ComplexArray):
            raise TypeError("np.fft.rfft is for real input: use np.fft.fft")
        return _transform(what, *_rfft_maps(k, count, length, norm), a)
    return _transform(what, *_complex_maps(k, count, length, norm, inverse), a)


def fft(a: Any, n: Any = None, axis: Any = -1, norm: Any = None, out: Any = None) -> Any:
    """`np.fft.fft`: a ComplexArray."""
    return _one("fft", a, n, axis, norm, out)


def ifft(a: Any, n: Any = None, axis: Any = -1, norm: Any = None, out: Any = None) -> Any:
    """`np.fft.ifft`: a ComplexArray."""
    return _one("ifft", a, n, axis, norm, out)


def rfft(a: Any, n: Any = None, axis: Any = -1, norm: Any = None, out: Any = None) -> Any:
    """`np.fft.rfft`: a ComplexArray."""
    return _one("rfft", a, n, axis, norm, out)


def irfft(a: Any, n: Any = None, axis: Any = -1, norm: Any = None, out: Any = None) -> Any:
    """`np.fft.irfft`: a real Array."""
    _stored(out, "np.fft.irfft")
    a = _lifted(a, "np.fft.irfft")
    shape, k = _checked(a, "np.fft.irfft", n, axis, norm)
    count = 2 * (shape[k] - 1) if n is None else int(n)
    if count < 1:
        raise ValueError(f"Invalid number of FFT data points ({count}) specified.")
    maps = _irfft_maps(k, count, shape[k], norm)
    return _transform("np.fft.irfft", *maps, a, real_result=True)


def hfft(a: Any, n: Any = None, axis: Any = -1, norm: Any = None, out: Any = None) -> Any:
    """`np.fft.hfft`: a real Array."""
    _checked(_lifted(a, "np.fft.hfft"), "np.fft.hfft", n, axis, norm)
    return irfft(np.conj(a), n, axis, _OTHER[norm], out)


def ihfft(a: Any, n: Any = None, axis: Any = -1, norm: Any = None, out: Any = None) -> Any:
    """`np.fft.ihfft`: a ComplexArray."""
    _checked(_lifted(a, "np.fft.ihfft"), "np.fft.ihfft", n, axis, norm)
    return rfft(a, n, axis, _OTHER[norm], out).conj()


def _sizes(
    what: str, shape: tuple[int, ...], s: Any, axes: Any, norm: Any, halved: bool = False
) -> tuple[list[int], list[int]]:
    """Axes and lengths as NumPy reads `s` and `axes`; -1 in `s` leaves a length as it is."""
    if axes is None:
        chosen = list(range(len(shape))) if s is None else list(range(-len(s), 0))
    else:
        chosen = [int(k) for k in axes]
    if s is not None and len(s) != len(chosen):
        raise ValueError("Shape and axes have different lengths.")
    default = [shape[k] for k in chosen]
    if halved and chosen and (s is None or s[-1] == -1):
        default[-1] = 2 * (default[-1] - 1)
    given = default if s is None else s
    sides = [d if n == -1 else int(n) for n, d in zip(given, default, strict=True)]
    return [k % len(shape) for k in chosen], sides


def _several(name: str, a: Any, s: Any, axes: Any, norm: Any, out: Any) -> Any:
    """`fftn`, `ifftn`, `rfftn`, `irfftn`: one axis after the other, in NumPy's order."""
    what = f"np.fft.{name}"
    _stored(out, what)
    a = _lifted(a, what)
    shape = list(a.shape)
    if axes is not None:
        for k in axes:
            _checked(a, what, None, k, norm)
    chosen, sides = _sizes(what, tuple(shape), s, axes, norm, name == "irfftn")
    for n in sides:
        if n < 1:
            raise ValueError(f"Invalid number of FFT data points ({n}) specified.")
    pairs = list(zip(chosen, sides, strict=True))
    maps: list[tuple[_Map, _Map]] = []
    if name == "irfftn":
        for k, n in pairs[:-1]:
            maps.append(_complex_maps(k, n, shape[k], norm, True))
            shape[k] = n
        k, n = pairs[-1]
        return _transform(what, *_chain([*maps, _irfft_maps(k, n, shape[k], norm)]), a, True)
    if name == "rfftn":
        if isinstance(a, ComplexArray):
            raise TypeError("np.fft.rfftn is for real input: use np.fft.fftn")
        k, n = pairs.pop()
        maps.append(_rfft_maps(k, n, shape[k], norm))
        shape[k] = n // 2 + 1
    else:
        pairs.reverse()
    for k, n in pairs:
        maps.append(_complex_maps(k, n, shape[k], norm, name == "ifftn"))
        shape[k] = n
    if not maps:
        return _as_complex(a)
    return _transform(what, *_chain(maps), a)


def _as_complex(a: Any) -> Any:
    return +a if isinstance(a, ComplexArray) else ComplexArray(+a, np.zeros(a.shape))


def fftn(a: Any, s: Any = None, axes: Any = None, norm: Any = None, out: Any = None) -> Any:
    """`np.fft.fftn`: a ComplexArray."""
    return _several("fftn", a, s, axes, norm, out)


def ifftn(a: Any, s: Any = None, axes: Any = None, norm: Any = None, out: Any = None) -> Any:
    """`np.fft.ifftn`: a ComplexArray."""
    return _several("ifftn", a, s, axes, norm, out)


def rfftn(a: Any, s: Any = None, axes: Any = None, norm: Any = None, out: Any = None) -> Any:
    """`np.fft.rfftn`: a ComplexArray."""
    return _several("rfftn", a, s, axes, norm, out)


def irfftn(a: Any, s: Any = None, axes: Any = None, norm: Any = None, out: Any = None) -> Any:
    """`np.fft.irfftn`: a real Array."""
    return _several("irfftn", a, s, axes, norm, out)


def fft2(a: Any, s: Any = None, axes: Any = (-2, -1), norm: Any = None, out: Any = None) -> Any:
    """`np.fft.fft2`: a ComplexArray."""
    return _several("fftn", a, s, axes, norm, out)


def ifft2(a: Any, s: Any = None, axes: Any = (-2, -1), norm: Any = None, out: Any = None) -> Any:
    """`np.fft.ifft2`: a ComplexArray."""
    return _several("ifftn", a, s, axes, norm, out)


def rfft2(a: Any, s: Any = None, axes: Any = (-2, -1), norm: Any = None, out: Any = None) -> Any:
    """`np.fft.rfft2`: a ComplexArray."""
    return _several("rfftn", a, s, axes, norm, out)


def irfft2(a: Any, s: Any = None, axes: Any = (-2, -1), norm: Any = None, out: Any = None) -> Any:
    """`np.fft.irfft2`: a real Array."""
    return _several("irfftn", a, s, axes, norm, out)


def _shift(x: Any, axes: Any, direction: int) -> Any:
    ndim = len(x.shape)
    if axes is None:
        axes = tuple(range(ndim))
    chosen = (axes,) if isinstance(axes, int) else tuple(axes)
    # ifftshift takes back what fftshift does, also for odd lengths
    steps = tuple(x.shape[k] // 2 if direction > 0 else -(x.shape[k] // 2) for k in chosen)
    return np.roll(x, steps, chosen)


def fftshift(x: Any, axes: Any = None) -> Any:
    """`np.fft.fftshift`."""
    return _shift(x, axes, 1)


def ifftshift(x: Any, axes: Any = None) -> Any:
    """`np.fft.ifftshift`."""
    return _shift(x, axes, -1)


FUNCTIONS: dict[Callable[..., Any], Callable[..., Any]] = {
    getattr(np.fft, f.__name__): f
    for f in (
        fft, ifft, rfft, irfft, hfft, ihfft, fftn, ifftn, rfftn, irfftn, fft2, ifft2, rfft2,
        irfft2, fftshift, ifftshift,
    )
}  # fmt: skip
"""What `np.fft` functions become for Arrays; the functions of frequencies stay NumPy's."""

_complex.FUNCTIONS.update(FUNCTIONS)
