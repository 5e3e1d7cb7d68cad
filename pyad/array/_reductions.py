"""Reductions along axes: sums, products, extremes, quantiles, and running sums and products.

Composed of operations on arrays, so that derivatives of every order follow. Ties of `max` and
`min` share the derivative equally, as `pyad.maximum` has it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from pyad import _handle
from pyad._handle import Array
from pyad.array._common import (
    apply,
    check_float,
    choose_rows,
    into,
    lifted,
    normal_axes,
    normal_axis,
    only_default,
    scalar,
    values,
)
from pyad.array._convert import parts_of
from pyad.array._guards import (
    decide_extreme,
    decide_ranks,
    guarding,
    is_finite,
    is_nan,
    kept,
    peek,
    truth,
)
from pyad.array._structure import rearranged, viewed

__all__ = ["FUNCTIONS", "logsumexp", "shift_of", "sum"]

_MISSING = np._NoValue


def _given(x: Any) -> bool:
    return x is not _MISSING and x is not None


def _masked(a: Array, where: Any, fill: float) -> Array:
    """`a` where the mask holds, elsewhere the constant `fill`."""
    mask = np.broadcast_to(truth(where), a.shape)
    return choose_rows(mask, a, fill)  # type: ignore[no-any-return]


# ---- sums and means ------------------------------------------------------------------------------


def sum(
    a: Any,
    axis: Any = None,
    dtype: Any = None,
    out: Any = None,
    keepdims: Any = False,
    initial: Any = None,
    where: Any = True,
) -> Any:
    """`np.sum`."""
    if out is None and dtype is None and (where is True or where is _MISSING):
        if type(a) is not Array:
            a = lifted(a, "np.sum")
        keep = keepdims is not False and keepdims is not _MISSING and bool(keepdims)
        result = _handle._array_sum(a, axis, keep)
        return result if not _given(initial) else result + initial
    check_float(dtype, "np.sum")
    a = lifted(a, "np.sum")
    if where is not _MISSING and where is not True:
        a = _masked(a, where, 0.0)
    return into(out, sum(a, axis, None, None, keepdims, initial))


def _count(a: Array, axis: Any, keepdims: Any, where: Any) -> Any:
    """How many elements each reduction is over: a number, or an ndarray of them."""
    if where is _MISSING or where is True:
        count = 1
        for k in normal_axes(axis, a.ndim):
            count *= a.shape[k]
        return count
    mask = np.broadcast_to(truth(where), a.shape)
    return mask.sum(axis=axis, keepdims=keepdims is not _MISSING and bool(keepdims))


def _ratio(total: Any, count: Any) -> Any:
    """Nan, with NumPy's warning, where there is nothing to divide."""
    if isinstance(count, int) and count:
        return total / count
    empty = np.asarray(count) <= 0
    if np.any(empty):
        np.mean(np.empty(0))  # warns as NumPy does
        count = np.where(empty, np.nan, count)
    return total / count


def mean(
    a: Any,
    axis: Any = None,
    dtype: Any = None,
    out: Any = None,
    keepdims: Any = False,
    *,
    where: Any = True,
) -> Any:
    """`np.mean`."""
    if axis is None and dtype is None and out is None and keepdims in (False, _MISSING):
        if type(a) is not Array:
            a = lifted(a, "np.mean")
        if a.size and (where is True or where is _MISSING):
            return _handle._array_sum(a) / a.size
    check_float(dtype, "np.mean")
    a = lifted(a, "np.mean")
    total = sum(a, axis, None, None, keepdims, None, where)
    return into(out, _ratio(total, _count(a, axis, keepdims, where)))


def var(
    a: Any,
    axis: Any = None,
    dtype: Any = None,
    out: Any = None,
    ddof: Any = 0,
    keepdims: Any = False,
    *,
    where: Any = True,
    mean: Any = _MISSING,
    correction: Any = _MISSING,
) -> Any:
    """`np.var`."""
    check_float(dtype, "np.var")
    a = lifted(a, "np.var")
    if correction is not _MISSING:
        ddof = correction
    middle = mean if mean is not _MISSING else _mean(a, axis, None, None, True, where=where)
    squares = apply("square", a - middle)
    total = sum(squares, axis, None, None, keepdims, None, where)
    return into(out, _ratio(total, _count(a, axis, keepdims, where) - ddof))


_mean = mean


def std(
    a: Any, axis: Any = None, dtype: Any = None, out: Any = None, *args: Any, **options: Any
) -> Any:
    """`np.std`; where there is no spread its derivative is 0, a subgradient, as of a norm at 0."""
    check_float(dtype, "np.std")
    return into(out, _root(var(a, axis, None, None, *args, **options)))


def _root(square: Any) -> Any:
    """The square root, with derivative 0 at 0."""
    zero = kept("==", square, 0.0)
    if not np.any(zero):
        return apply("sqrt", square)
    return scalar(choose_rows(zero, 0.0, apply("sqrt", square)))


def average(
    a: Any, axis: Any = None, weights: Any = None, returned: bool = False, *, keepdims: Any = False
) -> Any:
    """`np.average`: differentiable in the weights too."""
    a = lifted(a, "np.average")
    if weights is None:
        result = mean(a, axis, None, None, keepdims)
        scale: Any = a.size / max(np.size(peek(result)), 1)
    else:
        w = lifted(weights, "np.average")
        if w.shape != a.shape:
            axes = normal_axes(axis, a.ndim) if axis is not None else ()
            if axis is None:
                raise TypeError("Axis must be specified when shapes of a and weights differ.")
            if w.shape != tuple(a.shape[k] for k in axes):
                raise ValueError(
                    "Shape of weights must be consistent with shape of a along specified axis."
                )
            order = np.argsort(axes)
            w = viewed(lambda v: v.transpose(order), w)
            w = w.reshape(tuple(a.shape[k] if k in axes else 1 for k in range(a.ndim)))
        full = viewed(np.broadcast_to, w, a.shape)
        scale = sum(full, axis, None, None, keepdims)
        if np.any(kept("==", scale, 0.0)):
            raise ZeroDivisionError("Weights sum to zero, can't be normalized")
        result = sum(a * w, axis, None, None, keepdims) / scale
    if not returned:
        return result
    if np.shape(scale) != np.shape(result):
        scale = np.broadcast_to(scale, np.shape(result)).copy()
    return result, scale


def trace(
    a: Any, offset: Any = 0, axis1: Any = 0, axis2: Any = 1, dtype: Any = None, out: Any = None
) -> Any:
    """`np.trace`."""
    check_float(dtype, "np.trace")
    diagonal = viewed(lambda v: v.diagonal(offset, axis1, axis2), lifted(a, "np.trace"))
    return into(out, _handle._array_sum(diagonal, -1))


# ---- products ------------------------------------------------------------------------------------


def _last_first(a: Array, axes: tuple[int, ...]) -> Array:
    """The reduced axes as the last one, so that the array is `kept shape + (n,)`."""
    kept = tuple(k for k in range(a.ndim) if k not in axes)
    order = kept + tuple(axes)
    if order != tuple(range(a.ndim)):
        a = viewed(lambda v: v.transpose(order), a)
    sides = tuple(a.shape[: len(kept)])
    count = 1
    for k in a.shape[len(kept) :]:
        count *= k
    return a.reshape((*sides, count))


def _kept_shape(a: Array, axes: tuple[int, ...], keepdims: Any) -> tuple[int, ...]:
    if keepdims is not _MISSING and keepdims:
        return tuple(1 if k in axes else side for k, side in enumerate(a.shape))
    return tuple(side for k, side in enumerate(a.shape) if k not in axes)


def _shaped(a: Any, shape: tuple[int, ...]) -> Any:
    if isinstance(a, Array):
        return scalar(a if a.shape == shape else a.reshape(shape))
    return a if shape == () else lifted(a).reshape(shape)


def prod(
    a: Any,
    axis: Any = None,
    dtype: Any = None,
    out: Any = None,
    keepdims: Any = False,
    initial: Any = None,
    where: Any = True,
) -> Any:
    """`np.prod`, by products of pairs: right for factors that are 0, in every order."""
    check_float(dtype, "np.prod")
    a = lifted(a, "np.prod")
    if where is not _MISSING and where is not True:
        a = _masked(a, where, 1.0)
    axes = normal_axes(axis, a.ndim)
    rest = _last_first(a, axes)
    count, odd = rest.shape[-1], None
    if count == 0:
        result: Any = lifted(np.ones(rest.shape[:-1]))
    while count > 1:
        half = count // 2
        if count % 2:
            odd = rest[..., -1] if odd is None else odd * rest[..., -1]
        rest, count = rest[..., :half] * rest[..., half : 2 * half], half
    if count == 1:
        result = rest[..., 0]
        if odd is not None:
            result = result * odd
    if _given(initial):
        result = result * initial
    return into(out, _shaped(result, _kept_shape(a, axes, keepdims)))


def cumsum(a: Any, axis: Any = None, dtype: Any = None, out: Any = None) -> Any:
    """`np.cumsum`."""
    check_float(dtype, "np.cumsum")
    a = lifted(a, "np.cumsum")
    if axis is None or a.ndim == 0:
        a, axis = a.reshape(-1), 0
    return into(out, _handle._array_cumsum(a, normal_axis(axis, a.ndim)))


def cumprod(a: Any, axis: Any = None, dtype: Any = None, out: Any = None) -> Any:
    """`np.cumprod`, by products of pairs, as `prod`: n - 1 products, twice."""
    check_float(dtype, "np.cumprod")
    a = lifted(a, "np.cumprod")
    if axis is None or a.ndim == 0:
        a, axis = a.reshape(-1), 0
    k = normal_axis(axis, a.ndim)
    turned = viewed(lambda v: v.swapaxes(0, k), a)
    return into(out, viewed(lambda v: v.swapaxes(0, k), _running_product(turned)))


def _running_product(x: Array) -> Array:
    """Along the first axis: that of the products of pairs, and from it those in between."""
    count = x.shape[0]
    if count < 2 or x.size == 0:
        return _handle._array_copy(x)
    pairs = _running_product(x[0 : 2 * (count // 2) : 2] * x[1::2])
    result = lifted(np.zeros(x.shape))
    result[0] = x[0]
    result[1::2] = pairs
    if count > 2:
        result[2::2] = pairs[: (count - 1) // 2] * x[2::2]
    return result


def _cumulative(function: Callable[..., Any], start: float) -> Callable[..., Any]:
    """`np.cumulative_sum`, `np.cumulative_prod`."""

    def cumulative(
        x: Any,
        /,
        *,
        axis: Any = None,
        dtype: Any = None,
        out: Any = None,
        include_initial: bool = False,
    ) -> Any:
        x = lifted(x)
        if axis is None:
            if x.ndim > 1:
                raise ValueError(
                    "For arrays which have more than one dimension ``axis`` argument is required."
                )
            axis = 0
        result = function(x, axis, dtype)
        if include_initial:
            sides = list(x.shape)
            sides[normal_axis(axis, x.ndim)] = 1
            first = lifted(np.full(sides, start))
            result = _handle._array_concatenate([first, result], axis)
        return into(out, result)

    return cumulative


# ---- extremes ------------------------------------------------------------------------------------


def _extreme(numpy_function: Callable[..., Any]) -> Callable[..., Any]:
    """`max` or `min`: the mean of the elements that attain it."""
    name = numpy_function.__name__

    def function(
        a: Any,
        axis: Any = None,
        out: Any = None,
        keepdims: Any = False,
        initial: Any = _MISSING,
        where: Any = _MISSING,
    ) -> Any:
        found, rows, tape = parts_of(a, f"np.{name}")
        if isinstance(axis, list):
            axis = tuple(axis)
        options: dict[str, Any] = {}
        if _given(initial):
            options["initial"] = values(initial)
        if where is not _MISSING and where is not True:
            options["where"] = truth(where)
        best = np.asarray(numpy_function(found, axis=axis, keepdims=True, **options))
        shape = best.shape
        if keepdims is _MISSING or not keepdims:
            axes = normal_axes(axis, found.ndim)
            shape = tuple(s for k, s in enumerate(shape) if k not in axes)
        if rows is None or best.size == 0:
            made = lifted(best.reshape(shape)) if rows is None else parted(best, best, shape, tape)
            return into(out, scalar(made))
        chosen = found == best
        if np.isnan(best).any():
            chosen |= np.isnan(best) & np.isnan(found)
        if "where" in options:
            chosen &= np.asarray(options["where"], bool)
        if guarding():
            _keep_extreme(a, best, chosen, axis, options, largest=name.endswith("max"))
        result = _mean_of_chosen(best, chosen, rows, axis, shape, tape)
        return into(out, scalar(result))

    function.__name__ = name
    function.__doc__ = "Elements that are equal share the derivative equally."
    return function


def _keep_extreme(
    a: Any, best: Any, chosen: Any, axis: Any, options: dict[str, Any], *, largest: bool
) -> None:
    a = lifted(a)
    if "where" in options:
        a = choose_rows(
            np.broadcast_to(options["where"], a.shape), a, -np.inf if largest else np.inf
        )
    axes = normal_axes(axis, a.ndim)
    lines = chosen.transpose([k for k in range(a.ndim) if k not in axes] + list(axes))
    rest = _last_first(a, axes)
    lines = lines.reshape(rest.shape)
    if "initial" in options:  # one more of each line, which wins where nothing else does
        first = np.full((*rest.shape[:-1], 1), options["initial"], np.float64)
        rest = rearranged(lambda v, w: np.concatenate([v, w], axis=-1), rest, first)
        wins = (best == options["initial"]).reshape(first.shape)
        lines = np.concatenate([lines, wins], axis=-1)
    decide_extreme(rest, lines, largest=largest)


def parted(found: Any, rows: Any, shape: tuple[int, ...], tape: Any) -> Any:
    """An Array of values and rows, in this shape."""
    rows = np.ascontiguousarray(rows, np.uint32).reshape(shape)
    return _handle._array_of_parts(found.reshape(shape), rows, tape)


def _mean_of_chosen(
    best: Any, chosen: Any, rows: Any, axis: Any, shape: tuple[int, ...], tape: Any
) -> Any:
    """The values `best`, each depending in equal parts on the elements chosen for it."""
    counts = chosen.sum(axis=axis, keepdims=True)
    if counts.max() <= 1:  # structure: no node
        return parted(best, np.where(chosen, rows, 0).max(axis=axis, keepdims=True), shape, tape)
    axes = normal_axes(axis, rows.ndim)
    kept = tuple(k for k in range(rows.ndim) if k not in axes)
    order = kept + axes
    count = counts.ravel()
    weights = np.repeat(1.0 / np.maximum(count, 1), count)
    entries = rows.transpose(order)[chosen.transpose(order)]
    first = np.concatenate([[0], np.cumsum(count)])
    made = _handle._array_linear(best.reshape(-1), first, entries, weights, tape)
    return made.reshape(shape)


def ptp(a: Any, axis: Any = None, out: Any = None, keepdims: Any = False) -> Any:
    """`np.ptp`: equal elements share, as in `max` and `min`."""
    return into(out, max_(a, axis, None, keepdims) - min_(a, axis, None, keepdims))


max_ = _extreme(np.max)
min_ = _extreme(np.min)


def shift_of(a: Any, axes: tuple[int, ...]) -> Any:
    """The largest element, on which the result does not depend: 0 where it is not finite."""
    if not guarding() or a.size == 0:
        top = np.max(peek(a), axis=axes, keepdims=True, initial=-np.inf)
        return np.where(np.isfinite(top), top, 0.0)
    lines = _last_first(a, axes)
    while lines.shape[-1] > 1:  # recorded, so that a replay has its own
        half = (lines.shape[-1] + 1) // 2
        lines = apply("maximum", lines[..., :half], lines[..., -half:])
    top = lines.reshape(_kept_shape(a, axes, True))
    finite = is_finite(top)
    return top if np.all(finite) else choose_rows(finite, top, 0.0)


def logsumexp(
    a: Any,
    axis: Any = 0,
    dtype: Any = None,
    out: Any = None,
    keepdims: Any = False,
    initial: Any = _MISSING,
    where: Any = True,
) -> Any:
    """`np.logaddexp.reduce`: the logarithm of the sum of exponentials, safe from overflow."""
    check_float(dtype, "np.logaddexp.reduce")
    a = lifted(a, "np.logaddexp.reduce")
    if where is not True and where is not _MISSING:
        a = _masked(a, where, -np.inf)
    axes = normal_axes(axis, a.ndim)
    shift = shift_of(a, axes)
    result = np.log(sum(np.exp(a - shift), axes, None, None, True)) + shift
    result = _shaped(result, _kept_shape(a, axes, keepdims))
    if _given(initial) and initial != -np.inf:
        result = apply("logaddexp", result, initial)
    return into(out, result)


# ---- without NaN ---------------------------------------------------------------------------------


def _without_nan(function: Callable[..., Any]) -> Callable[..., Any]:
    """`nanmean` of `mean` ...: NaNs count as not being there."""

    def nan_function(
        a: Any, axis: Any = None, *args: Any, where: Any = True, **options: Any
    ) -> Any:
        a = lifted(a)
        mask = ~is_nan(a)
        if where is not True and where is not _MISSING:
            mask &= truth(where)
        return function(_masked(a, mask, 0.0), axis, *args, where=mask, **options)

    return nan_function


def _nan_cumulative(function: Callable[..., Any], neutral: float) -> Callable[..., Any]:
    def nan_function(a: Any, axis: Any = None, dtype: Any = None, out: Any = None) -> Any:
        a = lifted(a)
        return function(_masked(a, ~is_nan(a), neutral), axis, dtype, out)

    return nan_function


# ---- quantiles -----------------------------------------------------------------------------------


def _quantile(
    a: Any, q: Any, axis: Any, keepdims: Any, method: str, skip_nan: bool, weights: Any, what: str
) -> Any:
    """Linear between neighbours in the sorted array: where, NumPy tells of 0, 1, 2, ...

    A quantile of `arange(n)` is the place of that quantile in any sorted array of n numbers.
    """
    only_default(what, weights=(weights, None))
    a, q = lifted(a, what), np.asarray(values(q), np.float64)
    axes = normal_axes(axis, a.ndim)
    ordered = _handle._array_copy(_last_first(a, axes))
    at = peek(ordered)
    order = np.argsort(at, axis=-1, kind="stable")
    ordered = _in_order(ordered, order)
    at, count = peek(ordered), at.shape[-1]
    unknown = np.isnan(at)
    known = count - unknown.sum(axis=-1)
    if not skip_nan:
        known = np.full_like(known, count)
    places = np.empty((*q.shape, *known.shape))
    for n in np.unique(known):
        here = (
            np.quantile(np.arange(float(n)), q, method=method)  # type: ignore[call-overload]
            if n
            else np.full(q.shape, np.nan)
        )
        places[..., known == n] = np.asarray(here)[..., None]
    if count == 0:
        np.quantile(at, q, axis=-1, method=method)  # type: ignore[call-overload]  # raises
    nothing = np.isnan(places)
    low = np.floor(np.where(nothing, 0, places)).astype(np.intp)
    part = np.where(nothing, 0, places) - low
    high = np.minimum(low + (part > 0), np.maximum(count - 1, 0))
    lines = np.indices(known.shape, sparse=True) if known.ndim else ()
    decide_ranks(ordered, order, np.stack([low, high]))
    below = ordered[(*(line for line in lines), low)]
    if np.any(part):
        above = ordered[(*(line for line in lines), high)]
        result = below + (above - below) * part
    else:
        result = below
    bad = nothing if skip_nan else np.broadcast_to(unknown.any(axis=-1), places.shape)
    if np.any(bad):
        result = choose_rows(bad, np.nan, result)
    sides = q.shape + _kept_shape(a, axes, keepdims)
    return _shaped(result, sides)


def _in_order(a: Array, order: Any) -> Array:
    """`a` in this order along its last axis."""
    from pyad.array._structure import rearranged

    return rearranged(lambda v: np.take_along_axis(v, order, axis=-1), a)  # type: ignore[no-any-return]


def _quantiles(scale: float, skip_nan: bool, what: str) -> Callable[..., Any]:
    def function(
        a: Any,
        q: Any,
        axis: Any = None,
        out: Any = None,
        overwrite_input: bool = False,
        method: str = "linear",
        keepdims: Any = False,
        *,
        weights: Any = None,
    ) -> Any:
        q = np.asarray(values(q), np.float64) / scale
        return into(out, _quantile(a, q, axis, keepdims, method, skip_nan, weights, what))

    function.__doc__ = "Every `method`; of equal elements those at their place in a stable sort."
    return function


def _medians(skip_nan: bool, what: str) -> Callable[..., Any]:
    def function(
        a: Any,
        axis: Any = None,
        out: Any = None,
        overwrite_input: bool = False,
        keepdims: Any = False,
    ) -> Any:
        a = lifted(a, what)
        if a.size == 0 or any(a.shape[k] == 0 for k in normal_axes(axis, a.ndim)):
            return into(out, mean(a, axis, None, None, keepdims))  # NaN, with its warning
        return into(out, _quantile(a, 0.5, axis, keepdims, "linear", skip_nan, None, what))

    function.__doc__ = "Of equal elements those in the middle of a stable sort."
    return function


FUNCTIONS: dict[Any, Callable[..., Any]] = {
    np.sum: sum,
    np.mean: mean,
    np.var: var,
    np.std: std,
    np.average: average,
    np.trace: trace,
    np.prod: prod,
    np.cumsum: cumsum,
    np.cumprod: cumprod,
    np.max: max_,
    np.min: min_,
    np.ptp: ptp,
    np.nansum: _without_nan(sum),
    np.nanmean: _without_nan(mean),
    np.nanvar: _without_nan(var),
    np.nanstd: _without_nan(std),
    np.nanprod: _without_nan(prod),
    np.nanmax: _extreme(np.nanmax),
    np.nanmin: _extreme(np.nanmin),
    np.nancumsum: _nan_cumulative(cumsum, 0.0),
    np.nancumprod: _nan_cumulative(cumprod, 1.0),
    np.quantile: _quantiles(1.0, False, "np.quantile"),
    np.percentile: _quantiles(100.0, False, "np.percentile"),
    np.nanquantile: _quantiles(1.0, True, "np.nanquantile"),
    np.nanpercentile: _quantiles(100.0, True, "np.nanpercentile"),
    np.median: _medians(False, "np.median"),
    np.nanmedian: _medians(True, "np.nanmedian"),
}
for _name, _function, _start in (
    ("cumulative_sum", cumsum, 0.0),
    ("cumulative_prod", cumprod, 1.0),
):
    if hasattr(np, _name):
        FUNCTIONS[getattr(np, _name)] = _cumulative(_function, _start)
if hasattr(np.linalg, "trace"):  # NumPy 2: of the last two axes
    FUNCTIONS[np.linalg.trace] = lambda x, /, *, offset=0, dtype=None: trace(
        x, offset, -2, -1, dtype
    )
for _alias, _function in (("amax", max_), ("amin", min_)):
    FUNCTIONS[getattr(np, _alias)] = _function
