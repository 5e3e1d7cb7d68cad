"""Differences, integrals, interpolation, convolution, covariance, polynomials."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from pyad import _handle
from pyad._handle import Array
from pyad.array._common import (
    check_float,
    choose_rows,
    lifted,
    normal_axes,
    normal_axis,
    scalar,
    values,
)
from pyad.array._convert import parts_of
from pyad.array._guards import decide_order, decide_search, kept, peek
from pyad.array._reductions import mean
from pyad.array._rules import Rule, plus
from pyad.array._structure import rearranged, viewed

__all__ = ["FUNCTIONS"]

_missing = np._NoValue


def _at(ndim: int, axis: int, key: Any) -> tuple[Any, ...]:
    """The key that is `key` along one axis, and all along the others."""
    return (*[slice(None)] * axis, key, *[slice(None)] * (ndim - axis - 1))


# ---- differences ---------------------------------------------------------------------------------


def diff(
    a: Any, n: Any = 1, axis: Any = -1, prepend: Any = _missing, append: Any = _missing
) -> Any:
    """`np.diff`."""
    if n == 0:
        return a
    if n < 0:
        raise ValueError(f"order must be non-negative but got {n!r}")
    a = lifted(a, "np.diff")
    if a.ndim == 0:
        raise ValueError("diff requires input that is at least one dimensional")
    k = normal_axis(axis, a.ndim)
    parts = [a]
    sides = tuple(1 if i == k else side for i, side in enumerate(a.shape))
    for given, place in ((prepend, 0), (append, 2)):
        if given is not _missing:
            end = lifted(given, "np.diff")
            parts.insert(place, end if end.ndim else viewed(np.broadcast_to, end, sides))
    if len(parts) > 1:
        a = _handle._array_concatenate(parts, k)
    later, earlier = _at(a.ndim, k, slice(1, None)), _at(a.ndim, k, slice(None, -1))
    for _ in range(n):
        a = a[later] - a[earlier]
    return a


def ediff1d(ary: Any, to_end: Any = None, to_begin: Any = None) -> Any:
    """`np.ediff1d`."""
    a = lifted(ary, "np.ediff1d").reshape(-1)
    parts = [a[1:] - a[:-1]]
    if to_begin is not None:
        parts.insert(0, lifted(to_begin).reshape(-1))
    if to_end is not None:
        parts.append(lifted(to_end).reshape(-1))
    return parts[0] if len(parts) == 1 else _handle._array_concatenate(parts, 0)


def gradient(f: Any, *varargs: Any, axis: Any = None, edge_order: Any = 1) -> Any:
    """`np.gradient`: second order inside; spacings may be variables."""
    f = lifted(f, "np.gradient")
    axes = normal_axes(axis, f.ndim)
    if not varargs:
        spacings: list[Any] = [1.0] * len(axes)
    elif len(varargs) == 1 and np.ndim(varargs[0]) == 0:
        spacings = [varargs[0]] * len(axes)
    elif len(varargs) == len(axes):
        spacings = list(varargs)
    else:
        raise TypeError("invalid number of arguments")
    if edge_order not in (1, 2):
        raise ValueError("'edge_order' greater than 2 not supported")
    made = [_slope(f, k, h, edge_order) for k, h in zip(axes, spacings, strict=True)]
    return made[0] if len(made) == 1 else tuple(made)


def _slope(f: Array, k: int, spacing: Any, edge_order: int) -> Array:
    count = f.shape[k]
    if count < edge_order + 1:
        raise ValueError(
            "Shape of array too small to calculate a numerical gradient, at least "
            "(edge_order + 1) elements are required."
        )

    def at(key: Any) -> Any:
        return f[_at(f.ndim, k, key)]

    result = lifted(np.zeros(f.shape))

    def put(key: Any, value: Any) -> None:
        result[_at(f.ndim, k, key)] = value

    if np.ndim(spacing) == 0:
        h: Any = scalar(lifted(spacing))
        put(slice(1, -1), (at(slice(2, None)) - at(slice(None, -2))) / (2.0 * h))
        if edge_order == 1:
            put(0, (at(1) - at(0)) / h)
            put(-1, (at(-1) - at(-2)) / h)
        else:
            put(0, (-1.5 * at(0) + 2.0 * at(1) - 0.5 * at(2)) / h)
            put(-1, (0.5 * at(-3) - 2.0 * at(-2) + 1.5 * at(-1)) / h)
        return result
    x = lifted(spacing, "np.gradient")
    if x.ndim != 1:
        raise ValueError("distances must be either scalars or 1d")
    if x.size != count:
        raise ValueError("when 1d, distances must match the length of the corresponding dimension")
    step = x[1:] - x[:-1]
    before, after = step[:-1], step[1:]
    line = tuple(-1 if i == k else 1 for i in range(f.ndim))
    of_low = -after / (before * (before + after))
    of_middle = (after - before) / (before * after)
    of_high = before / (after * (before + after))
    put(
        slice(1, -1),
        of_low.reshape(line) * at(slice(None, -2))
        + of_middle.reshape(line) * at(slice(1, -1))
        + of_high.reshape(line) * at(slice(2, None)),
    )
    if edge_order == 1:
        put(0, (at(1) - at(0)) / step[0])
        put(-1, (at(-1) - at(-2)) / step[-1])
        return result
    d1, d2 = step[0], step[1]
    put(
        0,
        -(2.0 * d1 + d2) / (d1 * (d1 + d2)) * at(0)
        + (d1 + d2) / (d1 * d2) * at(1)
        - d1 / (d2 * (d1 + d2)) * at(2),
    )
    d1, d2 = step[-2], step[-1]
    put(
        -1,
        d2 / (d1 * (d1 + d2)) * at(-3)
        - (d2 + d1) / (d1 * d2) * at(-2)
        + (2.0 * d2 + d1) / (d2 * (d1 + d2)) * at(-1),
    )
    return result


def trapezoid(y: Any, x: Any = None, dx: Any = 1.0, axis: Any = -1) -> Any:
    """`np.trapezoid`."""
    y = lifted(y, "np.trapezoid")
    k = normal_axis(axis, y.ndim)
    if x is None:
        step: Any = dx
    else:
        x = lifted(x, "np.trapezoid")
        step = diff(x, axis=axis if x.ndim > 1 else -1)
        if x.ndim == 1:
            step = step.reshape(tuple(-1 if i == k else 1 for i in range(y.ndim)))
    later, earlier = _at(y.ndim, k, slice(1, None)), _at(y.ndim, k, slice(None, -1))
    return _handle._array_sum(lifted(step * (y[later] + y[earlier]) / 2.0), k)


def interp(
    x: Any, xp: Any, fp: Any, left: Any = None, right: Any = None, period: Any = None
) -> Any:
    """`np.interp`: differentiable in `x`, `xp`, `fp`; at a node the slope is that on its right."""
    x, xp, fp = (lifted(a, "np.interp") for a in (x, xp, fp))
    if xp.ndim != 1 or fp.ndim != 1:
        raise ValueError("Data points must be 1-D sequences")
    if xp.size != fp.size:
        raise ValueError("fp and xp are not of the same length.")
    if xp.size == 0:
        raise ValueError("array of sample points is empty")
    if period is not None:
        if period == 0:
            raise ValueError("period must be a non-zero value")
        period, left, right = abs(period), None, None
        x, xp = lifted(x % period), xp % period
        order = np.argsort(peek(xp), kind="stable")
        decide_order(xp, order)
        xp, fp = xp[order], fp[order]
        xp = _handle._array_concatenate([xp[-1:] - period, xp, xp[:1] + period], 0)
        fp = _handle._array_concatenate([fp[-1:], fp, fp[:1]], 0)
    at, nodes, count = peek(x), peek(xp), xp.size
    first = fp[0] if left is None else left
    last = fp[-1] if right is None else right
    if count == 1:
        result = lifted(viewed(np.broadcast_to, fp, x.shape) if x.ndim else fp[0])
        inside = kept("==", x, xp[0])
        if not np.all(inside):
            kept("<", x, xp[0])
    else:
        found = np.searchsorted(nodes, at, side="right")
        decide_search(xp, x, found, "right")
        i = np.clip(found - 1, 0, count - 2)
        x0, f0 = xp[i], fp[i]
        slope = (fp[i + 1] - f0) / (xp[i + 1] - x0)
        result = f0 + slope * (x - x0)
        exact = kept("==", x, xp[-1])
        if np.any(exact):  # the last node, whose value is to be met exactly
            ends = fp[-1] + (fp[-1] - fp[-2]) / (xp[-1] - xp[-2]) * (x - xp[-1])
            result = choose_rows(exact, ends, result)
        inside = (at >= nodes[0]) & (at <= nodes[-1]) | np.isnan(at)
    if not np.all(inside):
        result = choose_rows(at < nodes[0], first, choose_rows(inside, result, last))
    return scalar(result)


# ---- convolution ---------------------------------------------------------------------------------


def _convolve_vjp(adjoints: Any, outputs: Any, inputs: Any) -> Any:
    a, v = inputs
    g = adjoints[0]
    return np.convolve(g, v[::-1], "valid"), np.convolve(g, a[::-1], "valid")


def _convolve_jvp(tangents: Any, outputs: Any, inputs: Any) -> Any:
    (a, v), (da, dv) = inputs, tangents
    one = None if da is None else np.convolve(da, v)
    other = None if dv is None else np.convolve(a, dv)
    return [plus(one, other)]


_CONVOLVE = Rule(_convolve_vjp, _convolve_jvp)


def _mode_number(mode: Any) -> str:
    modes = ("valid", "same", "full")
    if mode in (0, 1, 2):
        return modes[mode]
    if not isinstance(mode, str) or mode[:1].lower() not in "vsf":
        raise ValueError(f"mode must be one of 'valid', 'same', or 'full' (got {mode!r})")
    return {"v": "valid", "s": "same", "f": "full"}[mode[0].lower()]


def convolve(a: Any, v: Any, mode: Any = "full") -> Any:
    """`np.convolve`."""
    a, v = lifted(a, "np.convolve"), lifted(v, "np.convolve")
    mode = _mode_number(mode)
    a, v = (x.reshape(-1) if x.ndim == 0 else x for x in (a, v))
    if a.ndim != 1 or v.ndim != 1 or not a.size or not v.size:
        np.convolve(peek(a), peek(v))  # raises what NumPy does
    if v.size > a.size:
        a, v = v, a
    product = np.convolve(peek(a), peek(v))
    (full,) = _handle._array_call(
        "convolve", (product,), lambda a, v: (np.convolve(a, v),), _CONVOLVE, (a, v)
    )
    full = lifted(full)
    if mode == "full":
        return full
    if mode == "valid":
        return full[v.size - 1 : a.size]
    start = (v.size - 1) // 2
    return full[start : start + a.size]


def correlate(a: Any, v: Any, mode: Any = "valid") -> Any:
    """`np.correlate`."""
    a, v = lifted(a, "np.correlate"), lifted(v, "np.correlate")
    mode = _mode_number(mode)
    if a.ndim != 1 or v.ndim != 1 or not a.size or not v.size:
        np.correlate(peek(a), peek(v))  # raises what NumPy does
    if a.size < v.size:  # as NumPy does: the other way round, and back
        return correlate(v, a, mode)[::-1]
    full = convolve(a, v[::-1], "full")
    if mode == "full":
        return full
    if mode == "valid":
        return full[v.size - 1 : a.size]
    start = v.size - 1 - v.size // 2
    return full[start : start + a.size]


# ---- statistics ----------------------------------------------------------------------------------


def cov(
    m: Any,
    y: Any = None,
    rowvar: bool = True,
    bias: bool = False,
    ddof: Any = None,
    fweights: Any = None,
    aweights: Any = None,
    *,
    dtype: Any = None,
) -> Any:
    """`np.cov`."""
    check_float(dtype, "np.cov")
    x = _observations(m, rowvar)
    if y is not None:
        x = _handle._array_concatenate([x, _observations(y, rowvar)], 0)
    ddof = (0 if bias else 1) if ddof is None else ddof
    weights: Any = None
    if fweights is not None:
        weights = np.asarray(values(fweights), np.float64)
    if aweights is not None:
        given = aweights if isinstance(aweights, Array) else np.asarray(aweights, np.float64)
        weights = given if weights is None else given * weights
    if weights is None:
        centred = x - mean(x, 1, None, None, True)
        scale: Any = x.shape[1] - ddof
        weighted = centred
    else:
        total = np.sum(weights)
        centred = x - (x @ weights / total).reshape(-1, 1)
        if ddof == 0:
            scale = total
        elif aweights is None:
            scale = total - ddof
        else:
            scale = total - ddof * np.sum(weights * aweights) / total
        weighted = centred * weights
    if np.any(kept("<=", scale, 0.0)):
        np.cov(np.zeros((1, 1)))  # warns as NumPy does
        scale = 0.0
    product = centred @ weighted.T
    product = product * (1.0 / scale) if scale != 0 else product * np.inf
    return scalar(viewed(np.squeeze, product))


def _observations(m: Any, rowvar: bool) -> Array:
    x = lifted(m, "np.cov")
    if x.ndim > 2:
        raise ValueError("m has more than 2 dimensions")
    if x.ndim < 2:
        return x.reshape((1, -1))
    turned = x.shape[0] > 1 or np.lib.NumpyVersion(np.__version__) >= "2.2.0"
    return x.T if turned and not rowvar else x


def corrcoef(
    x: Any, y: Any = None, rowvar: bool = True, *, dtype: Any = None, **options: Any
) -> Any:
    """`np.corrcoef`."""
    check_float(dtype, "np.corrcoef")
    c = cov(x, y, rowvar)
    if np.ndim(c) == 0:
        return c / c
    spread = np.sqrt(viewed(np.diagonal, c))
    return np.clip(c / spread[:, None] / spread[None, :], -1, 1)


def bincount(x: Any, /, weights: Any = None, minlength: Any = 0) -> Any:
    """`np.bincount`: sums of the weights that belong together."""
    places = np.asarray(values(x))
    if weights is None:
        return np.bincount(places, minlength=minlength)
    found, rows, tape = parts_of(lifted(weights, "np.bincount"), "np.bincount")
    sums = np.bincount(places, found, minlength)
    if rows is None:
        return lifted(sums)
    order = np.argsort(places, kind="stable")
    first = np.concatenate([[0], np.cumsum(np.bincount(places, minlength=minlength))])
    base = np.bincount(places, np.where(rows == 0, found, 0.0), minlength)
    return _handle._array_linear(sums, first, rows[order], None, tape, base)


# ---- polynomials, grids --------------------------------------------------------------------------


def polyval(p: Any, x: Any) -> Any:
    """`np.polyval`, by Horner's rule."""
    p = lifted(p, "np.polyval")
    x = lifted(x, "np.polyval")
    total: Any = lifted(np.zeros(x.shape))
    for k in range(p.size):
        total = total * x + p[k]
    return scalar(total) if isinstance(total, Array) else total


def polyder(p: Any, m: Any = 1) -> Any:
    """`np.polyder`."""
    p = lifted(p, "np.polyder")
    for _ in range(int(m)):
        p = p[:-1] * np.arange(p.size - 1, 0, -1.0)
    return p


def polyint(p: Any, m: Any = 1, k: Any = None) -> Any:
    """`np.polyint`."""
    p = lifted(p, "np.polyint")
    constants = [0.0] * m if k is None else list(np.atleast_1d(k)) * (m if np.size(k) == 1 else 1)
    for i in range(int(m)):
        p = _handle._array_concatenate([p / np.arange(p.size, 0, -1.0), [constants[i]]], 0)
    return p


def polyadd(a1: Any, a2: Any) -> Any:
    """`np.polyadd`."""
    return _polynomials(a1, a2, 1.0)


def polysub(a1: Any, a2: Any) -> Any:
    """`np.polysub`."""
    return _polynomials(a1, a2, -1.0)


def _polynomials(a1: Any, a2: Any, sign: float) -> Any:
    p, q = (lifted(a).reshape(-1) for a in (a1, a2))
    size = max(p.size, q.size)
    p, q = (
        rearranged(lambda v: np.concatenate([np.zeros(size - v.size, v.dtype), v]), a)
        for a in (p, q)
    )
    return p + q if sign > 0 else p - q


def polymul(a1: Any, a2: Any) -> Any:
    """`np.polymul`."""
    return convolve(a1, a2)


def vander(x: Any, N: Any = None, increasing: bool = False) -> Any:  # noqa: N803
    """`np.vander`."""
    x = lifted(x, "np.vander")
    if x.ndim != 1:
        raise ValueError("x must be a one-dimensional array or sequence.")
    count = x.size if N is None else N
    powers = np.arange(count, dtype=float)
    return x.reshape((-1, 1)) ** (powers if increasing else powers[::-1])


def linspace(
    start: Any,
    stop: Any,
    num: Any = 50,
    endpoint: bool = True,
    retstep: bool = False,
    dtype: Any = None,
    axis: Any = 0,
    *,
    device: Any = None,
) -> Any:
    """`np.linspace`."""
    check_float(dtype, "np.linspace")
    start, stop = lifted(start, "np.linspace"), lifted(stop, "np.linspace")
    parts = max(num - 1 if endpoint else num, 1)
    ndim = max(start.ndim, stop.ndim)
    t = (np.arange(float(num)) / parts).reshape((-1,) + (1,) * ndim)
    step = (stop - start) / parts
    result = lifted(start + t * (stop - start))
    if endpoint and num > 1:
        result[-1] = stop
    if axis != 0:
        result = viewed(lambda v: np.moveaxis(v, 0, axis), result)
    return (result, step) if retstep else result


def apply_along_axis(func1d: Any, axis: Any, arr: Any, *args: Any, **options: Any) -> Any:
    """`np.apply_along_axis`: one call of `func1d` for each line."""
    arr = lifted(arr, "np.apply_along_axis")
    k = normal_axis(axis, arr.ndim)
    lines = viewed(lambda v: np.moveaxis(v, k, -1), arr)
    outer = tuple(lines.shape[:-1])
    found = [lifted(func1d(lines[place], *args, **options)) for place in np.ndindex(*outer)]
    if not found:
        raise ValueError("Cannot apply_along_axis when any iteration dimensions are 0")
    inner = tuple(found[0].shape)
    made = rearranged(lambda *parts: np.stack(parts), *found).reshape(outer + inner)
    count = len(inner)
    if not count:
        return scalar(made)
    order = [*range(k), *range(len(outer), len(outer) + count), *range(k, len(outer))]
    return viewed(lambda v: v.transpose(order), made)


def apply_over_axes(func: Any, a: Any, axes: Any) -> Any:
    """`np.apply_over_axes`."""
    a = lifted(a, "np.apply_over_axes")
    for axis in np.atleast_1d(axes).tolist():
        k = normal_axis(axis, a.ndim)
        made = lifted(func(a, k))
        a = made if made.ndim == a.ndim else made.reshape((*made.shape[:k], 1, *made.shape[k:]))
    return a


FUNCTIONS: dict[Any, Callable[..., Any]] = {
    np.diff: diff,
    np.ediff1d: ediff1d,
    np.gradient: gradient,
    np.interp: interp,
    np.convolve: convolve,
    np.correlate: correlate,
    np.cov: cov,
    np.corrcoef: corrcoef,
    np.bincount: bincount,
    np.polyval: polyval,
    np.polyder: polyder,
    np.polyint: polyint,
    np.polyadd: polyadd,
    np.polysub: polysub,
    np.polymul: polymul,
    np.vander: vander,
    np.linspace: linspace,
    np.apply_along_axis: apply_along_axis,
    np.apply_over_axes: apply_over_axes,
}
for _name in ("trapezoid", "trapz"):
    if hasattr(np, _name):
        FUNCTIONS[getattr(np, _name)] = trapezoid
