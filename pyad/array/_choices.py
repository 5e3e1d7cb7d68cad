"""Choices made on values: `where`, `clip`, sorting, sets; and functions that only look at values.

A choice is structure: the result holds the elements chosen. What was not chosen has derivative 0,
never NaN. Sorting is stable whatever `kind` says, so that of equal elements the first comes first.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

from pyad import _handle
from pyad._binding import error
from pyad._handle import Array
from pyad.array._common import (
    apply,
    check_float,
    choose_rows,
    into,
    is_variable,
    lifted,
    normal_axis,
    scalar,
    values,
)
from pyad.array._guards import (
    decide_argument,
    decide_close,
    decide_lexical,
    decide_members,
    decide_order,
    decide_search,
    decide_turns,
    guarding,
    is_finite,
    is_nan,
    kept,
    peek,
    read,
    truth,
    without_nan,
)
from pyad.array._structure import rearranged, viewed

__all__ = ["FUNCTIONS", "OF_VALUES", "clip", "nan_to_num", "sort", "where"]


def where(condition: Any, x: Any = None, y: Any = None, /) -> Any:
    """`np.where`: what is not chosen has derivative 0, never NaN."""
    if x is None and y is None:
        return np.where(truth(condition))
    return _handle._array_where(condition, x, y)


def select(condlist: Any, choicelist: Any, default: Any = 0) -> Any:
    """`np.select`."""
    conditions = [truth(c) if _is_array(c) else np.asarray(values(c)) for c in condlist]
    count = len(choicelist)

    def chosen(*parts: Any) -> Any:
        return np.select(conditions, parts[:count], parts[count])

    return rearranged(chosen, *choicelist, default)


def piecewise(x: Any, condlist: Any, funclist: Any, *args: Any, **options: Any) -> Any:
    """`np.piecewise`."""
    x = lifted(x, "np.piecewise")
    if (
        isinstance(condlist, (np.ndarray, bool, np.bool_)) and np.ndim(condlist) in (0, x.ndim)
    ) or (isinstance(condlist, (list, tuple)) and not np.ndim(peek(condlist[0])) and x.ndim):
        condlist = [condlist]
    masks = [np.broadcast_to(truth(c), x.shape) for c in condlist]
    if len(funclist) == len(masks) + 1:
        masks.append(~np.any(masks, axis=0))
    elif len(funclist) != len(masks):
        raise ValueError(
            f"with {len(masks)} condition(s), either {len(masks)} or {len(masks) + 1} functions "
            "are expected"
        )
    result = lifted(np.zeros(x.shape))
    for mask, function in zip(masks, funclist, strict=True):
        if not callable(function):
            result[mask] = function
        elif mask.any():
            result[mask] = function(x[mask], *args, **options)
    return scalar(result)


_missing = np._NoValue


def clip(
    a: Any,
    a_min: Any = _missing,
    a_max: Any = _missing,
    out: Any = None,
    *,
    min: Any = _missing,
    max: Any = _missing,
    dtype: Any = None,
    **options: Any,
) -> Any:
    """`np.clip`; at a bound it shares the derivative, as `pyad.clip`."""
    check_float(dtype, "np.clip")
    low = min if a_min is _missing else a_min
    high = max if a_max is _missing else a_max
    result = lifted(a, "np.clip")
    if low is not None and low is not _missing:
        result = apply("maximum", result, low)
    if high is not None and high is not _missing:
        result = apply("minimum", result, high)
    if result is a:
        result = apply("positive", result)
    return into(out, result)


def nan_to_num(
    x: Any, copy: bool = True, nan: Any = 0.0, posinf: Any = None, neginf: Any = None
) -> Any:
    """`np.nan_to_num`: what is replaced is a constant."""
    x = lifted(x, "np.nan_to_num")
    finite = is_finite(x)
    limits = np.finfo(np.float64)
    high = limits.max if posinf is None else posinf
    low = limits.min if neginf is None else neginf
    positive = finite if np.all(finite) else kept("<", 0.0, x)
    fill = np.where(is_nan(x), nan, np.where(positive, high, low))
    result = choose_rows(finite, x, fill)
    if not copy:
        x[...] = result
        return x
    return scalar(result)


# ---- sorting -------------------------------------------------------------------------------------


def sort(a: Any, axis: Any = -1, kind: Any = None, order: Any = None, *, stable: Any = None) -> Any:
    """`np.sort`: stable, whatever `kind` says."""
    a = lifted(a, "np.sort")
    if axis is None:
        a, axis = a.reshape(-1), 0
    if a.ndim == 0:
        raise np.exceptions.AxisError(int(axis), 0)
    places = np.argsort(peek(a), axis=axis, kind="stable")
    decide_order(a, places, axis)
    return rearranged(lambda v: np.take_along_axis(v, places, axis=axis), a)


def partition(a: Any, kth: Any, axis: Any = -1, kind: Any = None, order: Any = None) -> Any:
    """`np.partition`: of equal elements those that NumPy puts there."""
    a = lifted(a, "np.partition")
    if axis is None:
        a, axis = a.reshape(-1), 0
    places = np.argpartition(peek(a), kth, axis=axis)
    _decide_every_order(a, axis)
    return rearranged(lambda v: np.take_along_axis(v, places, axis=axis), a)


def _decide_every_order(a: Any, axis: int) -> None:
    """Keep how any two elements compare: for algorithms whose steps depend on it."""
    if guarding():
        decide_order(a, np.argsort(peek(a), axis=axis, kind="stable"), axis, stable=False)


def unique(
    ar: Any,
    return_index: bool = False,
    return_inverse: bool = False,
    return_counts: bool = False,
    axis: Any = None,
    **options: Any,
) -> Any:
    """`np.unique`: of equal elements the first stands for all of them."""
    ar = lifted(ar, "np.unique")
    if _unique_sorts():
        options["sorted"] = True
    function: Any = np.unique
    found = function(peek(ar), True, return_inverse, return_counts, axis, **options)
    if axis is None or ar.ndim == 1:
        _decide_every_order(ar.reshape(-1), 0)
    else:
        _decide_lines(ar, axis)
    first = found[1]
    if axis is None:
        result = ar.reshape(-1)[first]
    else:
        k = normal_axis(axis, ar.ndim)
        result = rearranged(lambda v: np.take(v, first, axis=k), ar)
    rest = found[1:] if return_index else found[2:]
    return (result, *rest) if rest else result


def _decide_lines(a: Any, axis: int) -> None:
    """Keep the order of the subarrays along an axis, as `np.unique` compares them."""
    if not guarding() or a.size == 0:
        return
    lines = viewed(lambda v: np.moveaxis(v, axis, 0), a).reshape(a.shape[axis], -1)
    keys = [lines[:, j] for j in reversed(range(lines.shape[1]))]
    decide_lexical(keys, np.lexsort([peek(key) for key in keys]))


def _unique_sorts() -> bool:
    """Whether this NumPy may leave unique values unsorted (2.3 and later)."""
    return "sorted" in inspect.signature(np.unique).parameters


def unique_values(x: Any) -> Any:
    """`np.unique_values`."""
    return unique(x, **({"equal_nan": False}))


def unwrap(p: Any, discont: Any = None, axis: Any = -1, *, period: Any = 2 * np.pi) -> Any:
    """`np.unwrap`: the correction is a constant."""
    p = lifted(p, "np.unwrap")
    period = values(period)
    correction = np.unwrap(peek(p), discont, axis, period=period) - peek(p)
    decide_turns(p, correction, discont, axis, period)
    return p + correction


def round_(a: Any, decimals: Any = 0, out: Any = None) -> Any:
    """`np.round`: derivative 0."""
    a = lifted(a, "np.round")
    if decimals == 0:
        return into(out, apply("rint", a))
    scale = 10.0 ** abs(int(decimals))
    if decimals > 0:
        return into(out, apply("rint", a * scale) / scale)
    return into(out, apply("rint", a / scale) * scale)


def fix(x: Any, out: Any = None) -> Any:
    """`np.fix`: derivative 0."""
    return into(out, apply("trunc", lifted(x, "np.fix")))


_PI_SERIES = (1.0, -1 / 6, 1 / 120, -1 / 5040, 1 / 362880, -1 / 39916800, 1 / 6227020800,
              -1 / 1307674368000)  # fmt: skip
"""The first coefficients of sin(y) / y in powers of y squared: all that count below 0.5."""


def sinc(x: Any) -> Any:
    """`np.sinc`; around 0 by its series, so that every derivative is right."""
    y = lifted(x, "np.sinc") * np.pi
    near = np.asarray(kept("<", apply("abs", y), 0.5))
    if not np.any(near):
        return apply("sin", y) / y
    square = apply("square", y)
    series: Any = _PI_SERIES[-1]
    for coefficient in _PI_SERIES[-2::-1]:
        series = series * square + coefficient
    if np.all(near):
        return series
    return scalar(choose_rows(near, series, apply("sin", y) / y))


def real_if_close(a: Any, tol: float = 100) -> Any:
    """`np.real_if_close`: the array itself, which is real."""
    return a


def imag(val: Any) -> Any:
    """`np.imag`: zeros."""
    return lifted(np.zeros(np.shape(val)))


def angle(z: Any, deg: bool = False) -> Any:
    """`np.angle` of real numbers: 0 or pi, with derivative 0."""
    z = lifted(z, "np.angle")
    result = (1.0 - apply("copysign", np.ones(z.shape), z)) * (90.0 if deg else np.pi / 2)
    return result


# ---- functions of values ---------------------------------------------------------------------


def _is_array(x: Any) -> bool:
    return isinstance(x, (Array, _handle.Var))


# What is kept of a decision: functions of its outcome and of what it was asked.


def _keep_argument(name: str) -> Callable[..., Any]:
    largest, skip_nan = name.endswith("max"), name.startswith("nan")
    function = np.argmax if largest else np.argmin

    def keep(found: Any, a: Any, axis: Any = None, out: Any = None, **options: Any) -> None:
        a = lifted(a)
        if skip_nan:
            a = lifted(without_nan(a, -np.inf if largest else np.inf))
        places = np.asarray(function(peek(a), axis=axis, keepdims=True))
        decide_argument(a, places, axis, largest=largest)

    return keep


def _keep_argsort(
    found: Any, a: Any, axis: Any = -1, kind: Any = None, order: Any = None, *, stable: Any = None
) -> None:
    a = lifted(a)
    if axis is None:
        a, axis = a.reshape(-1), 0
    decide_order(a, found, axis, stable=bool(stable) or kind in ("stable", "mergesort"))


def _keep_argpartition(
    found: Any, a: Any, kth: Any, axis: Any = -1, *args: Any, **options: Any
) -> None:
    a = lifted(a)
    _decide_every_order(a.reshape(-1) if axis is None else a, 0 if axis is None else axis)


def _keep_lexsort(found: Any, keys: Any, axis: Any = -1) -> None:
    decide_lexical(keys, found)


def _keep_search(found: Any, a: Any, v: Any, side: str = "left", sorter: Any = None) -> None:
    decide_search(
        a if sorter is None else lifted(a)[np.asarray(sorter)], v, np.asarray(found), side
    )


def _keep_digitize(found: Any, x: Any, bins: Any, right: Any = False) -> None:
    numbers = np.asarray(peek(bins))
    if numbers.size > 1 and numbers[0] > numbers[-1]:
        decide_search(lifted(bins)[::-1], x, numbers.size - found, "left" if right else "right")
    else:
        decide_search(bins, x, np.asarray(found), "left" if right else "right")


def _keep_histogram(
    found: Any,
    a: Any,
    bins: Any = 10,
    range: Any = None,
    density: Any = None,
    weights: Any = None,
) -> None:
    if np.ndim(bins) != 1 or is_variable(bins):
        read(a, bins, range)  # edges that depend on the values
        return
    edges, a = np.asarray(bins, np.float64), lifted(a).reshape(-1)
    decide_search(edges, a, np.searchsorted(edges, peek(a), "right"), "right")
    if a.size:
        kept("==", a, edges[-1])  # which belongs to the last bin


def _keep_truth(found: Any, a: Any, *args: Any, **options: Any) -> None:
    truth(a)
    if "where" in options:
        truth(options["where"])


def _keep_equal(found: Any, a1: Any, a2: Any, equal_nan: bool = False) -> None:
    try:
        np.broadcast_shapes(np.shape(peek(a1)), np.shape(peek(a2)))
    except ValueError:
        return
    kept("==", a1, a2)
    if equal_nan:
        is_nan(a1), is_nan(a2)


def _keep_close(found: Any, a: Any, b: Any, *args: Any, **options: Any) -> None:
    decide_close(a, b, *args, **options)


def _keep_members(
    found: Any, element: Any, test_elements: Any = (), *args: Any, **options: Any
) -> None:
    decide_members(element, options.get("ar2", test_elements))


def _keep_infinite(sign: float) -> Callable[..., Any]:
    return lambda found, x, out=None: kept("==", x, sign * np.inf)


def _keep_nothing(found: Any, *args: Any, **options: Any) -> None:
    """The answer depends on shapes and types alone."""


_KEEP: dict[str, Callable[..., Any]] = {
    **{name: _keep_argument(name) for name in ("argmax", "argmin", "nanargmax", "nanargmin")},
    "argsort": _keep_argsort,
    "argpartition": _keep_argpartition,
    "lexsort": _keep_lexsort,
    "searchsorted": _keep_search,
    "digitize": _keep_digitize,
    "histogram": _keep_histogram,
    **dict.fromkeys(
        ("nonzero", "flatnonzero", "argwhere", "count_nonzero", "all", "any"), _keep_truth
    ),
    **dict.fromkeys(("array_equal", "array_equiv"), _keep_equal),
    **dict.fromkeys(("isclose", "allclose"), _keep_close),
    **dict.fromkeys(("isin", "in1d"), _keep_members),
    "isneginf": _keep_infinite(-1.0),
    "isposinf": _keep_infinite(1.0),
    **dict.fromkeys(
        ("iscomplex", "iscomplexobj", "isreal", "isrealobj", "result_type", "can_cast",
         "min_scalar_type", "common_type", "einsum_path", "tril_indices_from",
         "triu_indices_from", "diag_indices_from"),
        _keep_nothing,
    ),
}  # fmt: skip
"""What a recording keeps of these; of the others, that values were read."""


def _of_values(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function whose answer has no derivative: it sees the values."""
    keep = _KEEP.get(function.__name__)

    def on_values(*args: Any, **options: Any) -> Any:
        look = values if keep is None or not guarding() else peek
        numbers = [look(x) for x in args]
        named = {name: look(x) for name, x in options.items()}
        if look is values:
            return function(*numbers, **named)
        try:
            found = function(*numbers, **named)
        except Exception:  # which may depend on the values
            read(*args, *options.values())
            raise
        keep(found, *args, **options)  # type: ignore[misc]
        return found

    on_values.__name__ = function.__name__
    return on_values


def _histogram(function: Callable[..., Any]) -> Callable[..., Any]:
    """Counts, and edges of bins, are of the values; weights must be numbers."""
    on_values = _of_values(function)
    parameters = list(inspect.signature(function).parameters)

    def histogram(*args: Any, **options: Any) -> Any:
        given = dict(zip(parameters, args, strict=False)) | options
        if is_variable(given.get("weights")):
            raise error(
                "NO_FUNCTION",
                f"np.{function.__name__} with weights that are variables",
                "take np.bincount(np.digitize(x, edges), weights)",
            )
        return on_values(*args, **options)

    histogram.__name__ = function.__name__
    return histogram


def _shape(a: Any) -> Any:
    return a.shape if isinstance(a, Array) else np.shape(peek(a))


def _ndim(a: Any) -> Any:
    return a.ndim if isinstance(a, Array) else np.ndim(peek(a))


def _size(a: Any, axis: Any = None) -> Any:
    if axis is None:
        return a.size
    if isinstance(axis, tuple):
        count = 1
        for k in axis:
            count *= a.shape[k]
        return count
    return a.shape[axis]


OF_VALUES = [
    getattr(np, name)
    for name in (
        "argmax", "argmin", "nanargmax", "nanargmin", "argsort", "argpartition", "lexsort",
        "searchsorted", "digitize", "nonzero", "flatnonzero", "argwhere", "count_nonzero", "all",
        "any", "array_equal", "array_equiv", "allclose", "isclose", "isin", "in1d", "iscomplex",
        "iscomplexobj", "isreal", "isrealobj", "isneginf", "isposinf", "result_type", "can_cast",
        "min_scalar_type", "common_type", "histogram_bin_edges", "array2string", "array_repr",
        "array_str", "einsum_path",
        "tril_indices_from", "triu_indices_from", "diag_indices_from", "packbits",
    )
    if hasattr(np, name)
]  # fmt: skip
"""NumPy's functions whose answer has no derivative; they give what they give for the values."""


def _shares_memory(a: Any, b: Any, *args: Any, **options: Any) -> bool:
    if isinstance(a, Array) and isinstance(b, Array) and _handle._array_shares(a, b):
        return bool(
            np.intersect1d(
                np.ravel(_handle._array_positions(a)) + _offset(a),
                np.ravel(_handle._array_positions(b)) + _offset(b),
            ).size
        )
    return False


def _offset(a: Array) -> int:
    return int(a._offset)


FUNCTIONS: dict[Any, Callable[..., Any]] = {
    **{function: _of_values(function) for function in OF_VALUES},
    **{
        function: _histogram(function)
        for function in (np.histogram, np.histogram2d, np.histogramdd)
    },
    np.shape: _shape,
    np.ndim: _ndim,
    np.size: _size,
    np.shares_memory: _shares_memory,
    np.may_share_memory: _shares_memory,
    np.where: where,
    np.select: select,
    np.piecewise: piecewise,
    np.clip: clip,
    np.nan_to_num: nan_to_num,
    np.sort: sort,
    np.partition: partition,
    np.unique: unique,
    np.unwrap: unwrap,
    np.round: round_,
    np.around: round_,
    np.fix: fix,
    np.sinc: sinc,
    np.real_if_close: real_if_close,
    np.imag: imag,
    np.angle: angle,
}
if hasattr(np, "unique_values"):
    FUNCTIONS[np.unique_values] = unique_values
