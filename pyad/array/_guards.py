"""Decisions taken on values while a recording keeps guards.

A replay of the recording at another point is right if every decision comes out the same there. So
code that decides by numbers looks at them in one of these ways:

- by a comparison that is kept: `kept`, `truth`, the functions `decide_...`, which pin down exactly
  what was decided, and the comparisons of Arrays themselves;
- by `peek`, for what a replay computes anew (the value of an operation), or beside one of these;
- by `.value`, which notes that a value left the recording: it fits this point only.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from pyad import _handle
from pyad._handle import Array, Dual, Var
from pyad.array._common import apply, choose_rows, holds_variables, lifted
from pyad.array._convert import as_array
from pyad.array._structure import rearranged, viewed

__all__ = [
    "decide_argument",
    "decide_close",
    "decide_extreme",
    "decide_lexical",
    "decide_members",
    "decide_order",
    "decide_ranks",
    "decide_running",
    "decide_scale",
    "decide_search",
    "decide_turns",
    "decide_ufunc",
    "guarding",
    "is_finite",
    "is_nan",
    "kept",
    "peek",
    "read",
    "truth",
]

guarding = _handle._is_guarding
"""Whether any tape keeps guards. Where none does, nothing here needs to be called."""

_PAIRS = 100_000
"""Comparisons of each with each, up to which a decision is described by them."""

_RANKS = 8
"""Ranks in a sorted array, up to which each is pinned down on its own."""

_PLAIN = {"<": np.less, "<=": np.less_equal, "==": np.equal, "!=": np.not_equal}


# ---- looking -------------------------------------------------------------------------------------


def peek(x: Any) -> Any:
    """The numbers of `x` as NumPy has them; nobody is told."""
    if isinstance(x, (Array, Var, Dual)):
        return _handle._peek(x)
    if isinstance(x, np.ndarray) and x.dtype == object:
        return _handle._peek(as_array(x, "a function of values"))
    if isinstance(x, (list, tuple)) and holds_variables(x):
        return _handle._peek(as_array(x, "a function of values"))
    return x


def read(*xs: Any) -> None:
    """Note that values leave the recording."""
    for x in xs:
        if isinstance(x, (list, tuple)) or (isinstance(x, np.ndarray) and x.dtype == object):
            read(*x)
        else:
            _handle._note_read(x)


def kept(relation: str, x: Any, y: Any) -> Any:
    """The outcomes of a comparison ("<", "<=", "==", "!="), element by element, which is kept."""
    outcomes = _handle._guard(relation, x, y)
    return _PLAIN[relation](peek(x), peek(y)) if outcomes is None else outcomes


def truth(x: Any) -> Any:
    """`x` as an ndarray of bools: what is not 0."""
    if isinstance(x, (bool, np.bool_)) or (isinstance(x, np.ndarray) and x.dtype == bool):
        return np.asarray(x)
    return np.asarray(kept("!=", x, 0)) if guarding() else np.asarray(peek(x), bool)


def is_nan(x: Any) -> Any:
    """`np.isnan`."""
    return np.asarray(kept("!=", x, x)) if guarding() else np.isnan(peek(x))


def is_finite(x: Any) -> Any:
    """`np.isfinite`."""
    return np.asarray(kept("<", _size(x), np.inf)) if guarding() else np.isfinite(peek(x))


def _size(x: Any) -> Any:
    return apply("abs", lifted(x))


# ---- orders --------------------------------------------------------------------------------------


def _last(a: Any, axis: int) -> Any:
    return viewed(lambda v: np.moveaxis(v, axis, -1), a)


def _taken(a: Any, places: Any) -> Any:
    return rearranged(lambda v: np.take_along_axis(v, places, axis=-1), a)


def decide_order(a: Any, places: Any, axis: int = -1, *, stable: bool = True) -> None:
    """Keep that `places` sort `a`; if not by a stable sort, also which elements are equal."""
    if not guarding() or a.size == 0 or a.shape[axis] < 2:
        return
    a, places = _last(a, axis), np.moveaxis(places, axis, -1)
    ordered = _taken(a, places)
    low, high = ordered[..., :-1], ordered[..., 1:]
    if not np.all(kept("<=", low, high)):
        is_nan(ordered)
    strict = places[..., :-1] > places[..., 1:]
    if not stable or np.all(strict):
        kept("<", low, high)
    elif np.any(strict):
        kept("<", low[strict], high[strict])


def decide_ranks(ordered: Any, places: Any, ranks: Any) -> None:
    """Keep which elements have these ranks along the last axis of `ordered`.

    `places` are theirs in the array before it was sorted, stably. Ranks that differ from line to
    line, or many of them, keep the whole order.
    """
    if not guarding() or ordered.size == 0:
        return
    count = ordered.shape[-1]
    wanted = np.unique(ranks)
    nan = np.isnan(peek(ordered)).any()
    if count == 1 or nan:
        is_nan(ordered)
    lines = places.size // count
    if nan or len(wanted) > _RANKS or (lines > 1 and np.ptp(ranks.reshape(-1, lines), 1).any()):
        _decide_ordered(ordered, places)
        return
    for rank in wanted:
        pivot, place = ordered[..., rank : rank + 1], places[..., rank : rank + 1]
        below, above = ordered[..., :rank], ordered[..., rank + 1 :]
        _decide_side(below, pivot, places[..., :rank] > place, swapped=False)
        _decide_side(above, pivot, places[..., rank + 1 :] < place, swapped=True)


def _decide_side(side: Any, pivot: Any, strict: Any, *, swapped: bool) -> None:
    """Keep that a side of a sorted array is below (above) the pivot; equal only if before."""
    if side.size == 0:
        return
    full = viewed(np.broadcast_to, pivot, side.shape)
    kept("<=", *((full, side) if swapped else (side, full)))
    if np.any(strict):
        chosen = side[strict], full[strict]
        kept("<", *(chosen[::-1] if swapped else chosen))


def _decide_ordered(ordered: Any, places: Any) -> None:
    low, high = ordered[..., :-1], ordered[..., 1:]
    kept("<=", low, high)
    strict = places[..., :-1] > places[..., 1:]
    if np.any(strict):
        kept("<", low[strict], high[strict])


def decide_lexical(keys: Any, places: Any) -> None:
    """Keep that `places` sort the keys, the last one first, as `np.lexsort`."""
    if not guarding():
        return
    several = isinstance(keys, (list, tuple))
    lines = list(keys) if several else [lifted(keys)[i] for i in range(len(keys))]
    if np.ndim(places) != 1 or any(np.isnan(np.asarray(peek(k), float)).any() for k in lines):
        read(*lines)
        return
    for key in lines:
        ordered = lifted(key)[places]
        kept("<", ordered[:-1], ordered[1:])
        kept("==", ordered[:-1], ordered[1:])


def decide_search(a: Any, v: Any, found: Any, side: str = "left") -> None:
    """Keep that the elements `v` belong before place `found` of the sorted `a`."""
    if not guarding() or np.size(found) == 0 or np.size(a) == 0:
        return
    count = np.shape(a)[0]
    if isinstance(a, (Array, list, tuple)) and count > 1:
        a = lifted(a)
        kept("<=", a[:-1], a[1:])
    below, above = a[np.maximum(found - 1, 0)], a[np.minimum(found, count - 1)]
    kept("<" if side == "left" else "<=", below, v)
    kept("<=" if side == "left" else "<", v, above)


# ---- extremes ------------------------------------------------------------------------------------


def decide_argument(a: Any, places: Any, axis: Any, *, largest: bool) -> None:
    """Keep that `places` (with the axis kept) hold the first of the largest elements."""
    if not guarding() or a.size == 0:
        return
    if axis is None:
        a, axis, places = a.reshape(-1), 0, np.reshape(places, -1)
    a, places = _last(a, axis), np.moveaxis(places, axis, -1)
    best = viewed(np.broadcast_to, _taken(a, places), a.shape)
    if not np.all(kept("<=", *((a, best) if largest else (best, a)))):
        is_nan(a)
    before = np.arange(a.shape[-1]) < places
    if np.any(before):
        pair = a[before], best[before]
        kept("<", *(pair if largest else pair[::-1]))


def decide_extreme(lines: Any, chosen: Any, *, largest: bool) -> None:
    """Keep that of each line (the last axis) the elements `chosen` are the largest."""
    if not guarding() or lines.size == 0:
        return
    first = chosen.argmax(axis=-1)[..., None]
    best = viewed(np.broadcast_to, _taken(lines, first), lines.shape)
    kept("<", *((lines, best) if largest else (best, lines)))
    if np.any(chosen.sum(axis=-1) > 1):
        kept("==", lines, best)
    if np.isnan(peek(lines)).any():
        is_nan(lines)


def decide_running(a: Any, best: Any, axis: Any, *, largest: bool) -> None:
    """Keep at which places the running extreme `best` of `a` is a new one."""
    if not guarding() or a.size == 0 or a.shape[axis] < 2:
        return
    before, here = _last(best, axis)[..., :-1], _last(a, axis)[..., 1:]
    if not largest:
        before, here = here, before
    kept("<", before, here)
    kept("<=", here, before)
    if np.isnan(peek(best)).any():
        is_nan(a)


# ---- sets ----------------------------------------------------------------------------------------


def decide_members(elements: Any, test: Any) -> None:
    """Keep which elements equal which of `test`; a read if these are too many comparisons."""
    if not guarding():
        return
    x, y = lifted(elements).reshape(-1), lifted(test).reshape(-1)
    if x.size * y.size > _PAIRS:
        read(x, y)
    elif x.size and y.size:
        kept("==", x.reshape((-1, 1)), y.reshape((1, -1)))


def decide_close(
    a: Any, b: Any, rtol: Any = 1e-5, atol: Any = 1e-8, equal_nan: bool = False
) -> None:
    """Keep the comparisons of `np.isclose`."""
    if not guarding() or np.size(peek(a)) == 0 or np.size(peek(b)) == 0:
        return
    a, b = lifted(a), lifted(b)
    kept("<=", _size(a - b), atol + rtol * _size(b))
    kept("==", a, b)
    is_finite(b)
    if equal_nan:
        is_nan(a)
        is_nan(b)


# ---- numbers ---------------------------------------------------------------------------------


def decide_scale(x: Any, exponent: Any) -> None:
    """Keep that these are the exponents of `np.frexp(x)`."""
    if not guarding() or x.size == 0:
        return
    size = _size(x)
    low, high = (np.ldexp(1.0, exponent - k) for k in (1, 0))
    regular = kept("<=", low, size) & kept("<", size, high)
    if not np.all(regular):  # 0, infinities, NaN: and the largest, whose bound overflows
        kept("==", x, peek(x))
        is_nan(x)


def decide_turns(p: Any, correction: Any, discont: Any, axis: int, period: Any) -> None:
    """Keep that `np.unwrap` adds these corrections to `p`."""
    if not guarding() or p.size == 0 or p.shape[axis] < 2:
        return
    steps, jumps = np.diff(p, axis=axis), np.diff(correction, axis=axis)
    small = kept("<", _size(steps), period / 2 if discont is None else discont)
    if np.all(small):
        return
    near = _size((steps + jumps)[~small])
    if not np.all(kept("<", near, period / 2)):
        read(p)  # a step of half a period, or NaN


# ---- ufuncs --------------------------------------------------------------------------------------

_COMPARISONS = {
    np.less: ("<", False),
    np.less_equal: ("<=", False),
    np.greater: ("<", True),
    np.greater_equal: ("<=", True),
    np.equal: ("==", False),
    np.not_equal: ("!=", False),
}

_LOGICAL = {np.logical_and, np.logical_or, np.logical_xor, np.logical_not}


def decide_ufunc(ufunc: Any, method: str, inputs: Any) -> None:
    """Keep what a ufunc that gives bools was told by the values of its inputs."""
    if not guarding():
        return
    try:
        _decide_ufunc(ufunc, method, inputs)
    except TypeError:  # dual numbers, or nothing that is compared as a number
        read(*inputs)


def _decide_ufunc(ufunc: Any, method: str, inputs: Any) -> None:
    if ufunc in _LOGICAL and method in ("__call__", "reduce", "accumulate", "outer"):
        for x in inputs if method in ("__call__", "outer") else inputs[:1]:
            truth(x)
    elif method != "__call__":
        read(*inputs)
    elif ufunc in _COMPARISONS:
        relation, swapped = _COMPARISONS[ufunc]
        kept(relation, *(reversed(inputs) if swapped else inputs))
    elif ufunc is np.isnan:
        is_nan(*inputs)
    elif ufunc is np.isfinite:
        is_finite(*inputs)
    elif ufunc is np.isinf:
        kept("==", _size(*inputs), np.inf)
    elif ufunc is np.signbit:
        kept("<", apply("copysign", 1.0, lifted(*inputs)), 0.0)
    else:
        read(*inputs)


def without_nan(a: Any, fill: float) -> Any:
    """`a` with a constant in place of NaN."""
    return choose_rows(~is_nan(a), a, fill)
