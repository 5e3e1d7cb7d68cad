"""`Array.__array_ufunc__` for all that is not a plain call of an operation of the table."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from pyad import _handle
from pyad._binding import OPERATIONS, error
from pyad._handle import Array, Dual, Var
from pyad.array import _choices, _products, _reductions
from pyad.array._common import (
    apply,
    check_float,
    check_out,
    choose_rows,
    into,
    is_variable,
    lifted,
    normal_axis,
    scalar,
    values,
)
from pyad.array._complex import ComplexArray
from pyad.array._convert import parts_of
from pyad.array._guards import (
    decide_running,
    decide_scale,
    decide_ufunc,
    kept,
    peek,
    truth,
)
from pyad.array._structure import viewed
from pyad.scipy import form_of_ufunc

__all__ = ["CALLS", "OF_VALUES", "array_ufunc"]


# ---- calls ---------------------------------------------------------------------------------------


def _heaviside(x1: Any, x2: Any) -> Any:
    """`np.heaviside`: it depends on `x2`, where `x1` is 0, and its derivative in `x1` is 0."""
    zero = kept("==", x1, 0.0)
    step = apply("sign", lifted(x1)) * 0.5 + 0.5
    return scalar(choose_rows(zero, x2, step))


def _modf(x: Any) -> Any:
    """`np.modf`: the fractional part has the derivative, the whole part has 0."""
    x = lifted(x)
    part = apply("fmod", x, 1.0)
    infinite = np.asarray(kept("==", x, np.inf)) | np.asarray(kept("==", x, -np.inf))
    if infinite.any():  # which have no fraction
        part = choose_rows(~infinite, part, 0.0)
    return scalar(lifted(part)), apply("trunc", x)


def _frexp(x: Any) -> Any:
    """`np.frexp`: the exponents are plain whole numbers."""
    x = lifted(x)
    exponent = np.frexp(peek(x))[1]
    decide_scale(x, exponent)
    return x * np.ldexp(1.0, -exponent), exponent


def _ldexp(x1: Any, x2: Any) -> Any:
    """`np.ldexp`, in two steps, so that neither factor overflows alone."""
    exponent = np.asarray(values(x2))
    half = exponent // 2
    return lifted(x1) * np.ldexp(1.0, half) * np.ldexp(1.0, exponent - half)


def _logaddexp2(x1: Any, x2: Any) -> Any:
    two = float(np.log(2.0))
    return apply("logaddexp", lifted(x1) * two, lifted(x2) * two) / two


def _divmod(x1: Any, x2: Any) -> Any:
    return apply("floordiv", x1, x2), apply("mod", x1, x2)


def _named(name: str) -> Callable[..., Any]:
    return functools.partial(apply, name)


CALLS: dict[Any, Callable[..., Any]] = {
    **{getattr(np, row.numpy): _named(row.name) for row in OPERATIONS if row.numpy},
    np.fabs: _named("abs"),
    np.deg2rad: _named("radians"),
    np.rad2deg: _named("degrees"),
    np.float_power: np.power,
    np.conjugate: _named("positive"),
    np.logaddexp2: _logaddexp2,
    np.heaviside: _heaviside,
    np.divmod: _divmod,
    np.modf: _modf,
    np.frexp: _frexp,
    np.ldexp: _ldexp,
    np.matmul: _products.matmul,
}
"""Ufuncs that are differentiated, and how."""
for _name in ("vecdot", "matvec", "vecmat"):
    if hasattr(np, _name):
        CALLS[getattr(np, _name)] = getattr(_products, _name)

_GENERALIZED = {u for u in CALLS if getattr(u, "signature", None) is not None}

OF_VALUES = {
    np.equal, np.not_equal, np.less, np.less_equal, np.greater, np.greater_equal,
    np.isnan, np.isinf, np.isfinite, np.signbit,
    np.logical_and, np.logical_or, np.logical_xor, np.logical_not,
}  # fmt: skip
"""Ufuncs whose answer is no number: they look at the values and give plain bools."""


def _call(ufunc: Any, inputs: Any, out: Any, where: Any, options: dict[str, Any]) -> Any:
    form = CALLS.get(ufunc) or form_of_ufunc(ufunc)
    if form is None:
        raise error("NO_UFUNC", ufunc.__name__, "")
    if ufunc in _GENERALIZED:
        return form(*inputs, out=out, **options)
    check_float(options.pop("dtype", None), f"np.{ufunc.__name__}")
    for name in ("casting", "order", "subok"):
        options.pop(name, None)
    if options:
        raise error("ARGUMENTS", f"np.{ufunc.__name__} of an Array takes no {sorted(options)}")
    if out is not None:
        check_out(out, *inputs, shape=np.broadcast_shapes(*map(np.shape, inputs)))
    found = form(*inputs)
    if found is NotImplemented:
        for x in inputs:
            if not isinstance(x, (Array, Var)):
                _handle._refuse(f"np.{ufunc.__name__}", x)
    several = isinstance(found, tuple)
    results = list(found) if several else [found]
    targets = list(out) if isinstance(out, tuple) else [out] * len(results)
    if where is not True:
        mask = truth(where)
        before = [0.0 if target is None else target for target in targets]
        results = [scalar(choose_rows(mask, r, b)) for r, b in zip(results, before, strict=True)]
    results = [into(target, r) for target, r in zip(targets, results, strict=True)]
    return tuple(results) if several else results[0]


# ---- methods -------------------------------------------------------------------------------------

_REDUCE: dict[Any, Callable[..., Any]] = {
    np.add: _reductions.sum,
    np.multiply: _reductions.prod,
    np.maximum: _reductions.max_,
    np.minimum: _reductions.min_,
    np.fmax: _reductions.FUNCTIONS[np.nanmax],
    np.fmin: _reductions.FUNCTIONS[np.nanmin],
    np.logaddexp: _reductions.logsumexp,
}


def _reduce(ufunc: Any, a: Any, axis: Any = 0, dtype: Any = None, out: Any = None,
            keepdims: Any = False, initial: Any = None, where: Any = True) -> Any:  # fmt: skip
    check_float(dtype, f"np.{ufunc.__name__}.reduce")
    options: dict[str, Any] = {}
    if initial is not None and initial is not np._NoValue:
        options["initial"] = initial
    if where is not True:
        options["where"] = where
    if isinstance(out, tuple):
        (out,) = out
    return _REDUCE[ufunc](a, axis=axis, out=out, keepdims=keepdims, **options)


def _running_extreme(ufunc: Any, a: Any, axis: Any) -> Any:
    """Structure: of equal elements the first counts."""
    found, rows, tape = parts_of(lifted(a), f"np.{ufunc.__name__}.accumulate")
    best = ufunc.accumulate(found, axis=axis)
    if rows is None:
        return lifted(best)
    k = normal_axis(axis, found.ndim)
    at = np.arange(found.shape[k]).reshape(tuple(-1 if i == k else 1 for i in range(found.ndim)))
    before = np.take(best, np.maximum(np.arange(found.shape[k]) - 1, 0), axis=k)
    new = (best != before) & ~(np.isnan(best) & np.isnan(before))
    place = np.maximum.accumulate(np.where(new, at, 0), axis=k)
    rows = np.take_along_axis(rows, place, axis=k)
    result = _reductions.parted(best, rows, best.shape, tape)
    decide_running(lifted(a), result, k, largest=ufunc is np.maximum)
    return result


def _accumulate(ufunc: Any, a: Any, axis: Any = 0, dtype: Any = None, out: Any = None) -> Any:
    check_float(dtype, f"np.{ufunc.__name__}.accumulate")
    if ufunc is np.add:
        result = _reductions.cumsum(a, axis)
    elif ufunc is np.multiply:
        result = _reductions.cumprod(a, axis)
    elif ufunc in (np.maximum, np.minimum):
        result = _running_extreme(ufunc, a, axis)
    else:
        raise error("NO_UFUNC", ufunc.__name__, ".accumulate")
    return into(out, result)


def _reduceat(ufunc: Any, a: Any, indices: Any, axis: Any = 0, dtype: Any = None,
              out: Any = None) -> Any:  # fmt: skip
    """Sums of stretches: differences of running sums would lose digits, so each adds its own."""
    check_float(dtype, "np.add.reduceat")
    if ufunc is not np.add:
        raise error("NO_UFUNC", ufunc.__name__, ".reduceat")
    a = lifted(a, "np.add.reduceat")
    k = normal_axis(axis, a.ndim)
    places = np.asarray(values(indices), np.intp)
    found, rows, tape = parts_of(viewed(lambda v: np.moveaxis(v, k, 0), a), "np.add.reduceat")
    sums = np.add.reduceat(found, places, axis=0)
    if rows is None or sums.size == 0:
        made = lifted(sums)
    else:
        ends = np.append(places[1:], found.shape[0])
        count = np.maximum(ends - places, 1)
        starts = np.concatenate([[0], np.cumsum(count)])
        member = np.arange(starts[-1]) - np.repeat(starts[:-1] - places, count)
        width = sums[0].size
        lines = rows.reshape(rows.shape[0], width)[member]  # (entries of all stretches, width)
        owner = np.repeat(np.arange(places.size), count)
        order = np.argsort((owner[:, None] * width + np.arange(width)).ravel(), kind="stable")
        first = np.concatenate([[0], np.cumsum(np.repeat(count, width))])
        base = np.add.reduceat(np.where(rows == 0, found, 0.0), places, axis=0)
        made = _handle._array_linear(sums, first, lines.ravel()[order], None, tape, base)
    return into(out, viewed(lambda v: np.moveaxis(v, 0, k), made))


def _outer(ufunc: Any, a: Any, b: Any, **options: Any) -> Any:
    a, b = lifted(a), lifted(b)
    left = a.reshape(tuple(a.shape) + (1,) * b.ndim)
    return array_ufunc(ufunc, "__call__", left, b, **options)


def _at(ufunc: Any, target: Any, indices: Any, b: Any = None) -> None:
    """`ufunc.at`: places that are named twice are changed twice."""
    if not isinstance(target, Array):
        if is_variable(b):
            raise error("WOULD_LOSE_DERIVATIVE")
        ufunc.at(target, values(indices), values(b))
        return
    key = tuple(map(values, indices)) if isinstance(indices, tuple) else values(indices)
    places = np.arange(target.size).reshape(target.shape)[key]
    flat = np.ravel(places)
    given = None
    if b is not None:
        given = lifted(viewed(np.broadcast_to, lifted(b), np.shape(places))).reshape(-1)
    target = target.reshape(-1) if target.ndim == 0 else target
    if ufunc in (np.add, np.subtract):
        _sum_at(ufunc, target, flat, given)
        return
    for turn in _turns(flat):
        at = np.unravel_index(flat[turn], target.shape)
        more = () if given is None else (given[turn],)
        target[at] = ufunc(target[at], *more)


def _turns(places: Any) -> Sequence[Any]:
    """Positions in `places`, those that name a place for the first time, the second time ..."""
    order = np.argsort(places, kind="stable")
    new = np.ones(places.size, bool)
    new[1:] = places[order][1:] != places[order][:-1]
    start = np.maximum.accumulate(np.where(new, np.arange(places.size), 0))
    rank = np.empty(places.size, int)
    rank[order] = np.arange(places.size) - start
    return np.split(np.argsort(rank, kind="stable"), np.cumsum(np.bincount(rank))[:-1])


def _sum_at(ufunc: Any, target: Array, places: Any, given: Any) -> None:
    """`np.add.at`, `np.subtract.at`: what goes to one place is summed first."""
    named, owner = np.unique(places, return_inverse=True)
    at = np.unravel_index(named, target.shape)
    target[at] = ufunc(target[at], _bincount(owner, given, named.size))


def _bincount(places: Any, weights: Array, size: int) -> Any:
    from pyad.array._calculus import bincount

    if places.size == 0:
        return np.zeros(size)
    return bincount(places, weights, size)


def array_ufunc(ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
    """What NumPy calls for a ufunc when an Array is among its arguments."""
    if any(isinstance(x, Dual) for x in inputs):
        _handle._refuse_dual(next(x for x in inputs if isinstance(x, Dual)))
    if any(isinstance(x, ComplexArray) for x in inputs):
        return NotImplemented
    if ufunc in OF_VALUES:
        return _of_values(ufunc, method, inputs, options)
    check_out(options.get("out"), *inputs)
    if method == "__call__":
        if getattr(ufunc, "__name__", "") == "clip" and ufunc not in CALLS:
            return _choices.clip(*inputs, **options)
        out, where = options.pop("out", None), options.pop("where", True)
        return _call(ufunc, inputs, out, where, options)
    if method == "reduce" and ufunc in _REDUCE:
        return _reduce(ufunc, *inputs, **options)
    if method == "accumulate":
        return _accumulate(ufunc, *inputs, **options)
    if method == "reduceat":
        return _reduceat(ufunc, *inputs, **options)
    if method == "outer":
        return _outer(ufunc, *inputs, **options)
    if method == "at":
        return _at(ufunc, *inputs)
    raise error("NO_UFUNC", ufunc.__name__, f".{method}")


def _of_values(ufunc: Any, method: str, inputs: Any, options: dict[str, Any]) -> Any:
    if "where" in options:
        options["where"] = truth(options["where"])
    decide_ufunc(ufunc, method, inputs)
    target = options.pop("out", None)
    if isinstance(target, tuple) and any(isinstance(t, Array) for t in target):
        found = getattr(ufunc, method)(*map(peek, inputs), **options)
        return into(target, np.asarray(found, np.float64))
    if target is not None:
        options["out"] = target
    return getattr(ufunc, method)(*map(peek, inputs), **options)
