"""Structure: functions that rearrange elements. Views where NumPy has views, else new mappings.

None of them has a derivative rule: they are NumPy's functions, carried out on the values and on
the rows (which node stands where), and cost no tape.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from pyad import _handle
from pyad._binding import error
from pyad._handle import Array, Var
from pyad.array._common import (
    check_float,
    first_name,
    into,
    lifted,
    normal_axis,
    scalar,
    values,
)
from pyad.array._convert import parts_of

__all__ = ["FUNCTIONS", "concatenate", "joined", "rearranged", "reshape", "viewed"]

Table = dict[Any, Callable[..., Any]]


def viewed(function: Callable[..., Any], a: Array, *rest: Any) -> Any:
    """What `function(values, *rest)` shows of `a`: views of it, or where NumPy copies a copy."""
    result = _handle._array_view(a, function, *rest)
    if result is NotImplemented:
        result = rearranged(lambda x: function(x, *rest), a)
    return result


def rearranged(
    function: Callable[..., Any], *arrays: Any, of_rows: Callable[..., Any] | None = None
) -> Any:
    """An array whose elements stand where `function` puts them: called on values, and on rows.

    What `function` fills in on its own must be 0, which in rows is a constant; or `of_rows` does
    the same to the rows, and fills in zeros.
    """
    parts = [parts_of(a, getattr(function, "__name__", "a rearrangement")) for a in arrays]
    tape = tape_of(parts)
    found = function(*(value for value, _, _ in parts))
    if tape is None:
        rows: Any = None
    else:
        rows = (of_rows or function)(
            *(np.zeros(value.shape, np.uint32) if row is None else row for value, row, _ in parts)
        )
    return joined(found, rows, tape)


def tape_of(parts: list[tuple[Any, Any, Any]]) -> Any:
    """The one tape on which any of the parts has nodes; None if all are constants."""
    tapes = [tape for _, rows, tape in parts if rows is not None]
    if any(tape is not tapes[0] for tape in tapes):
        raise error("MIXED_TAPES", "arrays")
    return tapes[0] if tapes else None


def joined(found: Any, rows: Any, tape: Any) -> Any:
    """Arrays of values and rows, in the lists or tuples in which they are."""
    if isinstance(found, (list, tuple)):
        lines = rows if rows is not None else [None] * len(found)
        items = [joined(v, r, tape) for v, r in zip(found, lines, strict=True)]
        return tuple(items) if isinstance(found, tuple) else items
    made = _handle._array_of_parts(found, rows, tape or _handle.current_tape())
    return made[()] if isinstance(found, np.generic) else made


def reshape(a: Array, shape: Any) -> Any:
    """`a.reshape(shape)`, when the quick way in C does not know how."""
    return viewed(lambda x: x.reshape(shape), a)


# ---- of one array --------------------------------------------------------------------------------


def _of_first(
    numpy_function: Callable[..., Any], carry: Callable[[Callable[..., Any], Array], Any]
) -> Callable[..., Any]:
    """`numpy_function` on the values, and so on the rows, of its first argument."""
    name = first_name(numpy_function)
    what = f"np.{numpy_function.__name__}"

    def function(*args: Any, **options: Any) -> Any:
        if not args:
            return carry(lambda v: numpy_function(v, **options), lifted(options.pop(name), what))
        rest = args[1:]
        if rest or options:
            return carry(lambda v: numpy_function(v, *rest, **options), lifted(args[0], what))
        return carry(numpy_function, lifted(args[0], what))

    function.__name__ = numpy_function.__name__
    return function


def _existing(*names: str) -> list[Callable[..., Any]]:
    """NumPy's functions of these names, as far as this NumPy has them."""
    return [getattr(np, name) for name in names if hasattr(np, name)]


_VIEWS: Table = {
    function: _of_first(function, viewed)
    for function in [
        *_existing(
            "transpose", "permute_dims", "matrix_transpose", "swapaxes", "moveaxis", "rollaxis",
            "squeeze", "expand_dims", "broadcast_to", "flip", "fliplr", "flipud", "rot90",
            "diagonal", "split", "array_split", "hsplit", "vsplit", "dsplit", "ravel", "unstack",
        ),
        np.lib.stride_tricks.sliding_window_view,
        *(getattr(np.linalg, n) for n in ("diagonal", "matrix_transpose") if hasattr(np.linalg, n)),
    ]
}  # fmt: skip

_COPIES: Table = {
    function: _of_first(function, rearranged)
    for function in _existing(
        "roll", "tile", "repeat", "diag", "diagflat", "tril", "triu", "delete", "resize"
    )
}


def _real(val: Any) -> Any:
    """`np.real`: what it is given, which is real."""
    return val if isinstance(val, Var) else viewed(np.real, lifted(val, "np.real"))


def _reshape(
    a: Any, shape: Any = None, order: Any = "C", *, newshape: Any = None, copy: Any = None
) -> Any:
    a = lifted(a, "np.reshape")
    sides = shape if shape is not None else newshape
    result = (
        a.reshape(sides) if order == "C" else viewed(lambda v: v.reshape(sides, order=order), a)
    )
    if copy is False and a.size and not _handle._array_shares(a, result):
        raise ValueError("Unable to avoid creating a copy while reshaping.")
    return _copy(result) if copy else result


def _copy(a: Any, order: Any = "K", subok: bool = False) -> Array:
    return _handle._array_copy(lifted(a, "np.copy"))


def _at_least(ndim: int) -> Callable[..., Any]:
    numpy_function = (None, np.atleast_1d, np.atleast_2d, np.atleast_3d)[ndim]

    def function(*arrays: Any) -> Any:
        made = tuple(viewed(numpy_function, lifted(a)) for a in arrays)  # type: ignore[arg-type]
        return made[0] if len(made) == 1 else made

    return function


def _broadcast_arrays(*arrays: Any, subok: bool = False) -> Any:
    shape = np.broadcast_shapes(*(np.shape(a) for a in arrays))
    return tuple(viewed(np.broadcast_to, lifted(a), shape) for a in arrays)


def _meshgrid(*xi: Any, copy: bool = True, sparse: bool = False, indexing: str = "xy") -> Any:
    if indexing not in ("xy", "ij"):
        raise ValueError("Valid values for `indexing` are 'xy' and 'ij'.")
    lines = [lifted(x, "np.meshgrid").reshape(-1) for x in xi]
    count, sides = len(lines), [line.size for line in lines]
    places = list(range(count))
    if indexing == "xy" and count > 1:
        places[:2] = 1, 0
        sides[:2] = sides[1], sides[0]
    made = []
    for line, place in zip(lines, places, strict=True):
        grid = line.reshape(tuple(-1 if k == place else 1 for k in range(count)))
        if not sparse:
            grid = viewed(np.broadcast_to, grid, tuple(sides))
        made.append(_copy(grid) if copy else grid)
    return tuple(made)


def _ix_(*args: Any) -> Any:
    count = len(args)
    return tuple(
        (lifted(x) if isinstance(x, Array) else np.asarray(x)).reshape(
            tuple(-1 if k == i else 1 for k in range(count))
        )
        for i, x in enumerate(args)
    )


def _trim_zeros(filt: Any, trim: str = "fb", axis: Any = None) -> Any:
    filt = lifted(filt, "np.trim_zeros")
    nonzero = _truth(filt)
    keep = []
    axes = range(filt.ndim) if axis is None else [normal_axis(axis, filt.ndim)]
    for k in range(filt.ndim):
        places = np.flatnonzero(nonzero.any(axis=tuple(i for i in range(filt.ndim) if i != k)))
        first, last = (places[0], places[-1] + 1) if places.size else (filt.shape[k], 0)
        start = first if "f" in trim.lower() and k in axes else 0
        stop = last if "b" in trim.lower() and k in axes else filt.shape[k]
        keep.append(slice(int(start), int(max(start, stop))))
    return filt[tuple(keep)]


# ---- of several arrays -------------------------------------------------------------------------


def _in_list(numpy_function: Callable[..., Any]) -> Callable[..., Any]:
    """A function whose first argument is a list of arrays."""
    what = f"np.{numpy_function.__name__}"

    def function(
        arrays: Any,
        *args: Any,
        out: Any = None,
        dtype: Any = None,
        casting: Any = None,
        **options: Any,
    ) -> Any:
        check_float(dtype, what)
        arrays = [*arrays]
        if not arrays:
            raise ValueError("need at least one array to concatenate")
        if len(args) > 1:  # concatenate(arrays, axis, out), stack(arrays, axis, out)
            args, out = args[:1], args[1]
        result = rearranged(lambda *parts: numpy_function(parts, *args, **options), *arrays)
        return into(out, result)

    function.__name__ = numpy_function.__name__
    return function


def concatenate(
    arrays: Any, axis: Any = 0, out: Any = None, dtype: Any = None, casting: Any = "same_kind"
) -> Any:
    """`np.concatenate`."""
    if dtype is not None:
        check_float(dtype, "np.concatenate")
    result = _handle._array_concatenate(arrays, axis)
    return result if out is None else into(out, result)


def _block(arrays: Any) -> Array:
    leaves: list[Any] = []

    def numbered(item: Any) -> Any:
        if isinstance(item, list):
            return [numbered(i) for i in item]
        leaves.append(item)
        return len(leaves) - 1

    nest = numbered(arrays)

    def arranged(*parts: Any) -> Any:
        def filled(item: Any) -> Any:
            return [filled(i) for i in item] if isinstance(item, list) else parts[item]

        return np.block(filled(nest))

    return rearranged(arranged, *leaves)  # type: ignore[no-any-return]


def _append(arr: Any, values: Any, axis: Any = None) -> Any:
    return rearranged(lambda a, v: np.append(a, v, axis), arr, values)


def _insert(arr: Any, obj: Any, values: Any, axis: Any = None) -> Any:
    return rearranged(lambda a, v: np.insert(a, obj, v, axis), arr, values)


# ---- padding -----------------------------------------------------------------------------------

_MOVING_PADS = ("edge", "reflect", "symmetric", "wrap")


def _pad(array: Any, pad_width: Any, mode: Any = "constant", **options: Any) -> Any:
    array = lifted(array, "np.pad")
    if mode == "empty":
        mode, options = "constant", {}
    if mode == "constant":
        return _pad_constant(array, pad_width, **options)
    if mode not in _MOVING_PADS or options.get("reflect_type", "even") != "even":
        text = f"mode={mode!r}" if isinstance(mode, str) else "mode=function"
        if mode in _MOVING_PADS:
            text += f", reflect_type={options['reflect_type']!r}"
        raise error(
            "ARGUMENTS",
            f"np.pad of an Array does not support {text}: it has constant, edge, reflect, "
            "symmetric, wrap; compose others with np.concatenate",
        )
    return rearranged(lambda v: np.pad(v, pad_width, mode, **options), array)


def _pad_constant(array: Array, pad_width: Any, constant_values: Any = 0) -> Any:
    if not isinstance(constant_values, Array) and not _any_variable(constant_values):
        return rearranged(
            lambda v: np.pad(v, pad_width, constant_values=constant_values),
            array,
            of_rows=lambda v: np.pad(v, pad_width),
        )
    fill = lifted(constant_values, "np.pad")
    return rearranged(lambda v, c: np.pad(v, pad_width, constant_values=c), array, fill)


def _any_variable(x: Any) -> bool:
    if isinstance(x, (list, tuple)):
        return any(_any_variable(item) for item in x)
    if isinstance(x, np.ndarray):
        return bool(x.dtype == object)
    return isinstance(x, (Array, _handle.Var))


def _truth(x: Any) -> Any:
    from pyad.array._guards import truth  # which is made of functions of this module

    return truth(x)


# ---- picking -----------------------------------------------------------------------------------


def _take(a: Any, indices: Any, axis: Any = None, out: Any = None, mode: Any = "raise") -> Any:
    places = values(indices)
    result = rearranged(lambda v: np.take(v, places, axis=axis, mode=mode), a)
    return into(out, scalar(result))


def _take_along_axis(arr: Any, indices: Any, axis: Any = -1) -> Any:
    return rearranged(lambda v: np.take_along_axis(v, values(indices), axis=axis), arr)


def _compress(condition: Any, a: Any, axis: Any = None, out: Any = None) -> Any:
    mask = _truth(condition)
    return into(out, rearranged(lambda v: np.compress(mask, v, axis=axis), a))


def _extract(condition: Any, arr: Any) -> Any:
    mask = _truth(condition)
    return rearranged(lambda v: np.extract(mask, v), arr)


def _choose(a: Any, choices: Any, out: Any = None, mode: Any = "raise") -> Any:
    places = values(a)
    result = rearranged(lambda *parts: np.choose(places, parts, mode=mode), *choices)
    return into(out, scalar(result))


# ---- in place ------------------------------------------------------------------------------------


def _need_target(a: Any, what: str, source: Any) -> Any:
    """Whether elements are to be assigned to an Array: else to an ndarray, values only."""
    if isinstance(a, Array):
        return True
    if isinstance(a, np.ndarray) and a.dtype == object:
        raise error("ARGUMENTS", f"{what} assigns to an Array: make one of the object array first")
    if lifted(source).requires_grad:
        raise error("WOULD_LOSE_DERIVATIVE")
    return False


def _put(a: Any, ind: Any, v: Any, mode: Any = "raise") -> None:
    if not _need_target(a, "np.put", v):
        np.put(a, values(ind), values(v), mode=mode)
        return
    places = np.asarray(values(ind)).ravel()
    if mode != "raise":
        places = np.clip(places, 0, a.size - 1) if mode == "clip" else places % a.size
    elif places.size and not (-a.size <= places.min() and places.max() < a.size):
        np.put(_handle._peek(a), places, 0.0)  # raises what NumPy does
    if places.size:
        a[np.unravel_index(places % a.size, a.shape)] = _repeated(v, places.size)


def _repeated(v: Any, count: int) -> Any:
    v = lifted(v).reshape(-1)
    return v if v.size == count else rearranged(lambda x: np.resize(x, count), v)


def _put_along_axis(arr: Any, indices: Any, values: Any, axis: Any = -1) -> None:
    if not _need_target(arr, "np.put_along_axis", values):
        np.put_along_axis(arr, indices, lifted(values).value, axis)
        return
    if axis is None:
        arr[np.unravel_index(np.asarray(indices).ravel() % arr.size, arr.shape)] = values
        return
    indices = np.asarray(indices)
    k = normal_axis(axis, arr.ndim)
    key = [
        np.arange(arr.shape[i]).reshape(tuple(-1 if j == i else 1 for j in range(arr.ndim)))
        for i in range(arr.ndim)
    ]
    key[k] = indices
    arr[tuple(key)] = values


def _place(arr: Any, mask: Any, vals: Any) -> None:
    if not _need_target(arr, "np.place", vals):
        np.place(arr, mask, lifted(vals).value)
        return
    chosen = _truth(mask).reshape(arr.shape)
    arr[chosen] = _repeated(vals, int(chosen.sum()))


def _putmask(a: Any, mask: Any, values: Any) -> None:
    if not _need_target(a, "np.putmask", values):
        np.putmask(a, mask, lifted(values).value)
        return
    chosen = np.asarray(mask).astype(bool).reshape(a.shape)
    a[chosen] = _repeated(values, a.size)[np.flatnonzero(chosen)]


def _copyto(dst: Any, src: Any, casting: str = "same_kind", where: Any = True) -> None:
    if not _need_target(dst, "np.copyto", src):
        np.copyto(dst, values(src), casting=casting, where=values(where))  # type: ignore[arg-type]
    elif where is True:
        dst[...] = src
    else:
        mask = np.broadcast_to(_truth(where), dst.shape)
        dst[mask] = viewed(np.broadcast_to, lifted(src), dst.shape)[mask]


def _fill_diagonal(a: Any, val: Any, wrap: bool = False) -> None:
    if not _need_target(a, "np.fill_diagonal", val):
        np.fill_diagonal(a, lifted(val).value, wrap)
        return
    mask = np.zeros(a.shape, bool)
    np.fill_diagonal(mask, True, wrap)
    a[mask] = _repeated(val, int(mask.sum()))


# ---- arrays like another -------------------------------------------------------------------------


def _like(numpy_function: Callable[..., Any]) -> Callable[..., Any]:
    """A constant Array, to which variables can be assigned; an ndarray of any other dtype."""

    def function(
        a: Any,
        dtype: Any = None,
        order: Any = "K",
        subok: bool = True,
        shape: Any = None,
        *,
        device: Any = None,
    ) -> Any:
        """Of the shape of `a`, or the shape given."""
        sides = np.shape(a) if shape is None else shape
        made = numpy_function(sides, dtype or np.float64)
        return lifted(made) if made.dtype == np.float64 else made

    return function


def full_like(
    a: Any,
    fill_value: Any,
    dtype: Any = None,
    order: Any = "K",
    subok: bool = True,
    shape: Any = None,
    *,
    device: Any = None,
) -> Any:
    """`np.full_like`: the value may be a variable."""
    sides = np.shape(a) if shape is None else shape
    if dtype is not None and np.dtype(dtype) != np.float64:
        return np.full(sides, values(fill_value), dtype)
    made = lifted(np.zeros(sides))
    made[...] = fill_value
    return made


FUNCTIONS: Table = {
    **_VIEWS,
    **_COPIES,
    np.reshape: _reshape,
    np.real: _real,
    np.copy: _copy,
    np.atleast_1d: _at_least(1),
    np.atleast_2d: _at_least(2),
    np.atleast_3d: _at_least(3),
    np.broadcast_arrays: _broadcast_arrays,
    np.meshgrid: _meshgrid,
    np.ix_: _ix_,
    np.trim_zeros: _trim_zeros,
    np.concatenate: concatenate,
    np.stack: _in_list(np.stack),
    np.vstack: _in_list(np.vstack),
    np.hstack: _in_list(np.hstack),
    np.dstack: _in_list(np.dstack),
    np.column_stack: _in_list(np.column_stack),
    np.block: _block,
    np.append: _append,
    np.insert: _insert,
    np.pad: _pad,
    np.take: _take,
    np.take_along_axis: _take_along_axis,
    np.compress: _compress,
    np.extract: _extract,
    np.choose: _choose,
    np.put: _put,
    np.put_along_axis: _put_along_axis,
    np.place: _place,
    np.putmask: _putmask,
    np.copyto: _copyto,
    np.fill_diagonal: _fill_diagonal,
    np.zeros_like: _like(np.zeros),
    np.ones_like: _like(np.ones),
    np.empty_like: _like(np.zeros),
    np.full_like: full_like,
}
if hasattr(np, "astype"):
    FUNCTIONS[np.astype] = lambda x, dtype, /, *, copy=True, device=None: x.astype(dtype, copy=copy)
