"""Functions on arrays, with inputs to try them on, and what is checked of each.

`CASES` is one table of (name, function, inputs); a function takes ndarrays as well as Arrays. The
references are NumPy's values, and differences of these as `array_checks` takes them.
"""

from __future__ import annotations

import types
import zlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from array_checks import check, value_of

import pyad

__all__ = [
    "CASES",
    "Case",
    "check_constant",
    "check_derivatives",
    "check_value",
    "in_domain",
    "leaves_of",
    "names_called",
]


class Case(NamedTuple):
    """A function, and the arrays that it is given."""

    name: str
    function: Callable[..., Any]
    inputs: Callable[[], tuple[Any, ...]]
    smooth: bool = True  # second derivatives exist, and are checked
    exact: bool = False  # structure: equal to the last bit, and checked on ids

    def __repr__(self) -> str:
        return self.name


# ---- inputs --------------------------------------------------------------------------------------


class in_domain(NamedTuple):  # noqa: N801
    """An input of this shape, its numbers between two bounds."""

    shape: tuple[int, ...]
    low: float
    high: float


def make_inputs(name: str, specs: tuple[Any, ...]) -> tuple[Any, ...]:
    """Arrays for shapes, always the same for a case."""
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    made = []
    for spec in specs:
        if isinstance(spec, in_domain):
            made.append(rng.uniform(spec.low, spec.high, spec.shape))
        elif isinstance(spec, tuple):
            made.append(rng.standard_normal(spec))
        else:
            made.append(np.array(spec, dtype=float))
    return tuple(made)


CASES: list[Case] = []


def case(
    name: str, function: Callable[..., Any], *specs: Any, smooth: bool = True, exact: bool = False
) -> None:
    """One more row of the table."""
    if any(c.name == name for c in CASES):
        name = f"{name} #{sum(c.name.startswith(name) for c in CASES)}"
    CASES.append(Case(name, function, lambda: make_inputs(name, specs), smooth, exact))


# ---- checks --------------------------------------------------------------------------------------


def leaves_of(result: Any) -> list[Any]:
    """The arrays in a result, which may be a list or tuple of them."""
    if isinstance(result, (list, tuple)):
        return [leaf for item in result for leaf in leaves_of(item)]
    return [result]


def is_float(x: Any) -> bool:
    return np.asarray(value_of(x)).dtype.kind == "f"


def check_value(case: Case) -> None:
    """NumPy's value, in NumPy's shape, and a variable where NumPy gives a scalar."""
    inputs = case.inputs()
    given = [x.copy() for x in inputs]
    expected = leaves_of(case.function(*inputs))
    got = leaves_of(case.function(*map(pyad.array, given)))
    assert len(expected) == len(got)
    for e, g in zip(expected, got, strict=True):
        assert np.shape(e) == np.shape(value_of(g))
        if is_float(e):
            assert isinstance(g, (pyad.Array, pyad.Var)), type(g)
            assert isinstance(g, pyad.Var) or not np.isscalar(e), "an Array for a scalar"
        else:
            assert not isinstance(g, (pyad.Array, pyad.Var))
        if case.exact:
            np.testing.assert_array_equal(value_of(g), e)
        else:
            np.testing.assert_allclose(value_of(g), e, rtol=1e-12, atol=1e-13)


def check_constant(case: Case) -> None:
    """Constants give constants, and so does no_grad, views excepted: they are what they show."""
    inputs = case.inputs()
    results = leaves_of(case.function(*(pyad.array(x, requires_grad=False) for x in inputs)))
    arrays = [pyad.array(x) for x in inputs]
    with pyad.no_grad():
        for result in leaves_of(case.function(*arrays)):
            if not any(pyad._handle._array_shares(result, x) for x in arrays if is_array(result)):
                results.append(result)
    for result in results:
        assert not getattr(result, "requires_grad", False)


def is_array(x: Any) -> bool:
    return isinstance(x, pyad.Array)


def check_derivatives(case: Case) -> None:
    """In every mode, up to the second order where it exists."""

    def differentiable(*xs: Any) -> list[Any]:
        arrays = [pyad.array(x) if isinstance(x, pyad.Var) else x for x in xs]
        return [y for y in leaves_of(case.function(*arrays)) if is_float(y)]

    check(differentiable, *case.inputs(), order=2 if case.smooth else 1, rtol=1e-8, precise=True)


# ---- which functions a case calls ----------------------------------------------------------------


def _names_in(x: Any) -> Iterator[str]:
    """The names that a function, or what it holds, mentions."""
    if isinstance(x, types.FunctionType):
        yield from _names_in(x.__code__)
        for held in (
            *(x.__defaults__ or ()),
            *(cell.cell_contents for cell in x.__closure__ or ()),
        ):
            yield from _names_in(held)
        yield x.__name__
    elif isinstance(x, types.CodeType):
        yield from x.co_names
        for constant in x.co_consts:
            yield from _names_in(constant)
    elif callable(x):
        yield getattr(x, "__name__", "")
    elif isinstance(x, str):
        yield x


def names_called() -> set[str]:
    """The last parts of the names of the functions that the cases call."""
    return {name for case in CASES for name in _names_in(case.function)}


# ---- structure -----------------------------------------------------------------------------------


def structure(name: str, function: Callable[..., Any], *specs: Any) -> None:
    case(name, function, *specs, exact=True)


def _structures() -> None:
    s, n = structure, np
    for shape in [(), (3,), (2, 3), (2, 1, 3), (0,), (2, 0, 3), (2, 2, 2)]:
        t = str(shape)
        s(f"ravel {t}", lambda x: n.ravel(x), shape)
        s(f"ravel F {t}", lambda x: n.ravel(x, order="F"), shape)
        s(f"transpose {t}", lambda x: n.transpose(x), shape)
        s(f"T.reshape {t}", lambda x: x.T.reshape(-1), shape)
        s(f"flip {t}", lambda x: n.flip(x), shape)
        s(f"squeeze {t}", lambda x: n.squeeze(x), shape)
        s(f"expand_dims {t}", lambda x: n.expand_dims(x, -1), shape)
        s(f"atleast_1d {t}", lambda x: n.atleast_1d(x), shape)
        s(f"atleast_2d {t}", lambda x: n.atleast_2d(x), shape)
        s(f"atleast_3d {t}", lambda x: n.atleast_3d(x), shape)
        s(f"broadcast_to {t}", lambda x: n.broadcast_to(x, (4, *x.shape)), shape)
        s(f"repeat {t}", lambda x: n.repeat(x, 2), shape)
        s(f"tile {t}", lambda x: n.tile(x, (2, 1)), shape)
        s(f"copy {t}", lambda x: n.copy(x), shape)
        s(f"concatenate None {t}", lambda x: n.concatenate([x, x * 1.0], axis=None), shape)
        s(f"stack {t}", lambda x: n.stack([x, x], axis=-1), shape)
        s(f"append {t}", lambda x: n.append(x, 2.0), shape)
        s(f"resize {t}", lambda x: n.resize(x, (3, 2)), shape)
        s(f"flatten {t}", lambda x: x.flatten(), shape)
        s(f"getitem newaxis {t}", lambda x: x[None, ..., None], shape)
    for shape in [(3,), (2, 3), (2, 3, 2)]:
        t = str(shape)
        for axis in range(-len(shape), len(shape)):
            s(f"flip {axis} {t}", lambda x, axis=axis: n.flip(x, axis), shape)
            s(f"roll {axis} {t}", lambda x, axis=axis: n.roll(x, 1, axis), shape)
            s(f"repeat {axis} {t}", lambda x, axis=axis: n.repeat(x, 2, axis), shape)
            s(
                f"repeat each {axis} {t}",
                lambda x, axis=axis: n.repeat(x, n.arange(x.shape[axis]), axis),
                shape,
            )
            s(f"take {axis} {t}", lambda x, axis=axis: n.take(x, [1, 0, 1], axis), shape)
            s(f"delete {axis} {t}", lambda x, axis=axis: n.delete(x, 1, axis), shape)
            s(f"insert {axis} {t}", lambda x, axis=axis: n.insert(x, 1, 5.0, axis), shape)
            s(
                f"concatenate {axis} {t}",
                lambda x, y, axis=axis: n.concatenate([x, y, x], axis),
                shape,
                shape,
            )
            s(f"append {axis} {t}", lambda x, y, axis=axis: n.append(x, y, axis), shape, shape)
            s(f"stack {axis} {t}", lambda x, y, axis=axis: n.stack([x, y], axis), shape, shape)
            s(f"array_split {axis} {t}", lambda x, axis=axis: n.array_split(x, 2, axis), shape)
            s(f"split {axis} {t}", lambda x, axis=axis: n.split(x, [1], axis), shape)
            s(
                f"compress {axis} {t}",
                lambda x, axis=axis: n.compress([False, True], x, axis),
                shape,
            )
            s(f"moveaxis {axis} {t}", lambda x, axis=axis: n.moveaxis(x, axis, 0), shape)
            s(f"rollaxis {axis} {t}", lambda x, axis=axis: n.rollaxis(x, axis), shape)
            s(f"swapaxes {axis} {t}", lambda x, axis=axis: n.swapaxes(x, axis, 0), shape)
        s(f"roll {t}", lambda x: n.roll(x, 2), shape)
        s(f"take flat {t}", lambda x: n.take(x, [[0, 2], [1, 1]]), shape)
        s(f"take one {t}", lambda x: n.take(x, 1), shape)
        s(f"take clip {t}", lambda x: n.take(x, [0, 99], mode="clip"), shape)
        s(f"delete flat {t}", lambda x: n.delete(x, [0, 2]), shape)
        s(f"insert flat {t}", lambda x: n.insert(x, [0, 1], x.ravel()[:2]), shape)
        s(f"extract {t}", lambda x: n.extract(n.arange(x.size).reshape(x.shape) % 2 == 0, x), shape)
        for mode in ("edge", "reflect", "symmetric", "wrap", "constant"):
            s(f"pad {mode} {t}", lambda x, mode=mode: n.pad(x, 1, mode), shape)
        s(f"pad constants {t}", lambda x: n.pad(x, (1, 2), constant_values=(3.0, 4.0)), shape)
        s(f"ediff {t}", lambda x: x[..., ::-1][..., 1:], shape)
        s(f"reversed {t}", lambda x: x[::-1], shape)
        s(f"mask {t}", lambda x: x[n.arange(x.size).reshape(x.shape) % 3 != 1], shape)
        s(f"fancy {t}", lambda x: x[[1, 0, 1]], shape)
        s(
            f"trim_zeros {t}",
            lambda x: n.trim_zeros(n.concatenate([n.zeros(2), x.ravel(), n.zeros(1)])),
            shape,
        )
        s(
            f"broadcast_arrays {t}",
            lambda x, y: n.broadcast_arrays(x, y),
            shape,
            (2, *([1] * len(shape))),
        )
        s(f"meshgrid {t}", lambda x, y: n.meshgrid(x, y), shape, (2,))
        s(
            f"meshgrid ij {t}",
            lambda x, y: n.meshgrid(x, y, indexing="ij", sparse=True),
            shape,
            (2,),
        )
        s(
            f"take_along_axis {t}",
            lambda x: n.take_along_axis(x, n.argsort(value_of(x), -1), -1),
            shape,
        )
        s(f"flat {t}", lambda x: x.flat[1:], shape)
    for shape in [(2, 3), (3, 3), (2, 3, 2)]:
        t = str(shape)
        s(f"diagonal {t}", lambda x: n.diagonal(x), shape)
        s(f"diagonal 1 {t}", lambda x: n.diagonal(x, 1, -1, 0), shape)
        s(f"tril {t}", lambda x: n.tril(x), shape)
        s(f"triu {t}", lambda x: n.triu(x, 1), shape)
        s(f"rot90 {t}", lambda x: n.rot90(x), shape)
        s(f"rot90 3 {t}", lambda x: n.rot90(x, 3, (1, 0)), shape)
        s(f"fliplr {t}", lambda x: n.fliplr(x), shape)
        s(f"flipud {t}", lambda x: n.flipud(x), shape)
        s(f"hsplit {t}", lambda x: n.hsplit(x, [1]), shape)
        s(f"vsplit {t}", lambda x: n.vsplit(x, [1]), shape)
        s(f"ellipsis {t}", lambda x: x[..., 0], shape)
        s(f"mixed key {t}", lambda x: x[[1, 0], 1:], shape)
        s(f"transpose axes {t}", lambda x: n.transpose(x, (*range(1, x.ndim), 0)), shape)
        s(f"mT {t}", lambda x: x.swapaxes(-1, -2), shape)
        s(f"windows {t}", lambda x: n.lib.stride_tricks.sliding_window_view(x, 2, axis=-1), shape)
    s("dsplit", lambda x: n.dsplit(x, [1]), (2, 3, 2))
    s("diag of vector", lambda x: n.diag(x, 1), (3,))
    s("diag of matrix", lambda x: n.diag(x), (3, 3))
    s("diagflat", lambda x: n.diagflat(x, -1), (2, 2))
    s("vstack", lambda x, y: n.vstack([x, y]), (3,), (2, 3))
    s("hstack", lambda x, y: n.hstack([x, y]), (3,), (2,))
    s("dstack", lambda x, y: n.dstack([x, y]), (2, 3), (2, 3))
    s("column_stack", lambda x, y: n.column_stack([x, y]), (3,), (3, 2))
    s("block", lambda x, y: n.block([[x, n.zeros((2, 1))], [n.ones((1, 3)), y]]), (2, 3), (1, 1))
    s("stack with constants", lambda x: n.stack([x, n.arange(3.0)]), (3,))
    s("concatenate lists", lambda x: n.concatenate([x, [1.0, 2.0]]), (3,))
    s("choose", lambda x, y: n.choose([0, 1, 0], [x, y]), (3,), (3,))
    s("where", lambda x, y: n.where([True, False, True], x, y), (3,), (2, 1))
    s("where scalar", lambda x: n.where(x > 0, x, 0.0), (2, 3))
    s("select", lambda x, y: n.select([x > 0.5, x < -0.5], [x, y], 2.0), (5,), (5,))
    s("piecewise", lambda x: n.piecewise(x, [x < 0, x >= 0], [lambda t: -t, 3.0]), (5,))
    s("piecewise else", lambda x: n.piecewise(x, [x < 0], [lambda t: -t, lambda t: t]), (5,))
    s("sort", lambda x: n.sort(x), (2, 4))
    s("sort 0", lambda x: n.sort(x, axis=0), (4, 2))
    s("sort None", lambda x: n.sort(x, axis=None), (4, 2))
    s("unique", lambda x: n.unique(x), [3.0, 1.0, 2.0, 5.0])
    s(
        "unique inverse",
        lambda x: n.unique(x, return_inverse=True, return_counts=True),
        [3.0, 1.0, 2.0],
    )
    s("unique axis", lambda x: n.unique(x, axis=0), (3, 2))
    s("nan_to_num", lambda x: n.nan_to_num(x), (3,))
    s("unstack", lambda x: n.unstack(x) if hasattr(n, "unstack") else list(x), (3, 2))
    s("ix_", lambda x: x[n.ix_([0, 2], [1, 0])], (3, 2))
    s("real", lambda x: n.real(x), (3,))
    s("astype", lambda x: x.astype(x.dtype), (3,))
    s("iterate", lambda x: list(x), (3, 2))
    s("tolist", lambda x: x.tolist(), (2, 2))
    s("apply_along_axis", lambda x: n.apply_along_axis(lambda t: t[::-1], 0, x), (3, 2))
    s("copysign of structure", lambda x: n.reshape(x, (3, -1)), (2, 3))
    s("reshape F", lambda x: n.reshape(x, (3, 2), order="F"), (2, 3))
    s("polyadd", lambda x, y: n.polyadd(x, y), (3,), (2,))
    s("full_like", lambda x: n.full_like(x, 3.0) * 0.0 + x, (2, 3))
    s("imag", lambda x: n.imag(x), (3,))
    s("real_if_close", lambda x: n.real_if_close(x), (3,))
    if hasattr(n, "matrix_transpose"):
        s("matrix_transpose", lambda x: n.matrix_transpose(x), (2, 3, 2))
        s("unique_values", lambda x: n.sort(n.unique_values(x)), [3.0, 1.0, 2.0])
    if hasattr(n, "astype"):
        s("astype function", lambda x: n.astype(x, float), (3,))
    for name, store in _STORES.items():
        for shape in [(2, 3), (3, 3)]:
            s(f"{name} {shape}", lambda x, v, store=store: _stored(store, x, v), shape, (2,))


def _stored(store: Callable[..., None], x: Any, v: Any) -> Any:
    y = np.copy(x)
    store(y, v)
    return y


_STORES: dict[str, Callable[..., None]] = {
    "put": lambda y, v: np.put(y, [4, 0, -1], v),
    "put clip": lambda y, v: np.put(y, [4, 99], v, mode="clip"),
    "put_along_axis": lambda y, v: np.put_along_axis(y[:2], np.array([[1], [0]]), v[:, None], 1),
    "place": lambda y, v: np.place(y, np.arange(y.size).reshape(y.shape) % 2 == 0, v),
    "putmask": lambda y, v: np.putmask(y, np.arange(y.size).reshape(y.shape) % 2 == 0, v),
    "copyto": lambda y, v: np.copyto(y, v[0]),
    "copyto where": lambda y, v: np.copyto(y[:2], v[:, None], where=[True, False, True]),
    "fill_diagonal": lambda y, v: np.fill_diagonal(y, v),
    "out=": lambda y, v: np.concatenate([y[:1], y[:1]], out=y[:2]),
}


# ---- ufuncs --------------------------------------------------------------------------------------

_UNARY = {
    "negative": (-2, 2), "positive": (-2, 2), "absolute": (0.1, 2), "fabs": (-2, -0.1),
    "sign": (0.1, 2),
    "square": (-2, 2), "reciprocal": (0.5, 2), "sqrt": (0.3, 2), "cbrt": (0.3, 2), "exp": (-1, 1),
    "exp2": (-1, 1), "expm1": (-1, 1), "log": (0.4, 2), "log2": (0.4, 2), "log10": (0.4, 2),
    "log1p": (-0.4, 1), "sin": (-2, 2), "cos": (-2, 2), "tan": (-0.9, 0.9), "arcsin": (-0.8, 0.8),
    "arccos": (-0.8, 0.8), "arctan": (-2, 2), "sinh": (-1, 1), "cosh": (-1, 1), "tanh": (-1, 1),
    "arcsinh": (-2, 2), "arccosh": (1.4, 2), "arctanh": (-0.7, 0.7), "deg2rad": (-2, 2),
    "rad2deg": (-2, 2), "radians": (-2, 2), "degrees": (-2, 2), "conjugate": (-2, 2),
    "floor": (0.1, 0.8), "ceil": (0.1, 0.8), "trunc": (0.1, 0.8), "rint": (0.1, 0.4),
    "sinc": (-2, 2), "fix": (0.1, 0.8), "round": (0.1, 0.4), "angle": (0.1, 2),
    "nan_to_num": (-2, 2),
}  # fmt: skip
_BINARY = {
    "add": (-2, 2), "subtract": (-2, 2), "multiply": (-2, 2), "divide": (0.5, 2), "power": (0.5, 2),
    "float_power": (0.5, 2), "arctan2": (0.5, 2), "hypot": (0.5, 2), "maximum": (-2, 2),
    "minimum": (-2, 2), "fmax": (-2, 2), "fmin": (-2, 2), "copysign": (0.2, 2),
    "logaddexp": (-1, 1),
    "logaddexp2": (-1, 1), "heaviside": (0.2, 2),
}  # fmt: skip


def _ufuncs() -> None:
    for name, (low, high) in _UNARY.items():
        f = getattr(np, name)
        for shape in [(3,), (2, 2), (), (0, 2)]:
            case(f"{name} {shape}", f, in_domain(shape, low, high))
    for name, (low, high) in _BINARY.items():
        f = getattr(np, name)
        for a, b in [((3,), (3,)), ((2, 1), (3,)), ((), (2,)), ((2, 0), (1,)), ((), ())]:
            case(f"{name} {a} {b}", f, in_domain(a, low, high), in_domain(b, low, high))
    for name in ("mod", "remainder", "fmod", "floor_divide"):
        f = getattr(np, name)
        case(name, f, [5.3, 7.1, -3.2], [2.0, 1.5, 2.1])
    case("divmod", np.divmod, [5.3, 7.1, -3.2], [2.0, 1.5, 2.1])
    case("modf", np.modf, [1.3, -2.4])
    case("frexp", np.frexp, [1.3, -2.4])
    case("ldexp", lambda x: np.ldexp(x, [1, -2]), [1.3, -2.4])
    case(
        "operators",
        lambda x, y: (x + y) * (x - y) / (y + 3) - (-x) ** 2 + x**3 + 2.0**x,
        (2, 3),
        in_domain((3,), 0, 1),
    )
    case("reflected", lambda x: 1 - 2 / x + 3 * x + [1.0, 2.0, 3.0] * x, in_domain((3,), 1, 2))
    case("matmul operator", lambda x, y: x @ y, (2, 3), (3, 2))
    case("round 2", lambda x: np.round(x, 2), [0.123, 0.457])
    case("round -1", lambda x: np.round(x, -1), [12.3, 47.1])
    case("outer", lambda x, y: np.multiply.outer(x, y), (2, 2), (3,))
    case("subtract.outer", lambda x, y: np.subtract.outer(x, y), (2,), (3,))
    case(
        "power scalar",
        lambda x: x**2.5 + np.power(x, -1) + np.power(3.0, x) + x**0.5,
        in_domain((3,), 0.5, 2),
    )
    case(
        "where=", lambda x: np.sqrt(x, out=np.zeros_like(x), where=x > 1), in_domain((4,), 0.5, 1.9)
    )


# ---- reductions ----------------------------------------------------------------------------------


def _axes(ndim: int) -> Iterator[Any]:
    yield None
    yield from range(-ndim, ndim)
    if ndim > 1:
        yield (0, 1)
        yield (-1, 0)


_REDUCTIONS = ("sum", "mean", "prod", "max", "min", "amax", "ptp", "var", "std", "nansum",
               "nanmean",
               "nanprod", "nanmax", "nanmin", "nanvar", "nanstd", "median",
               "nanmedian")  # fmt: skip


MASK = np.array([[True, False, True], [True, True, False]])


def _reductions() -> None:
    for name in _REDUCTIONS:
        f = getattr(np, name)
        for shape in [(3,), (2, 3), (2, 1, 3)]:
            for axis in _axes(len(shape)):
                for keepdims in (False, True):
                    case(f"{name} {shape} axis={axis} keepdims={keepdims}",
                         lambda x, f=f, a=axis, k=keepdims: f(x, axis=a, keepdims=k),
                         shape)  # fmt: skip
        case(f"{name} of 0-d", f, ())
        case(f"{name} of 5", f, (5,))
    for name in ("sum", "prod", "nansum", "nanprod"):
        f = getattr(np, name)
        for axis in (None, 0, 1):
            case(f"{name} of nothing {axis}", lambda x, f=f, a=axis: f(x, axis=a), (0, 2))
    for name in ("sum", "mean", "prod", "max", "min", "var", "std"):
        case(f"method {name}", lambda x, name=name: getattr(x, name)(), (2, 3))
        case(f"method {name} axis", lambda x, name=name: getattr(x, name)(axis=1), (2, 3))
        more = {"initial": -9.0} if name == "max" else {"initial": 9.0} if name == "min" else {}
        case(
            f"{name} where",
            lambda x, name=name, m=more: getattr(np, name)(x, axis=1, where=MASK, **m),
            (2, 3),
        )
    for name in ("sum", "prod"):
        case(
            f"{name} initial",
            lambda x, name=name: getattr(np, name)(x, axis=0, initial=2.0),
            (2, 3),
        )
    for name in ("var", "std", "nanvar", "nanstd"):
        case(f"{name} ddof", lambda x, name=name: getattr(np, name)(x, ddof=1, axis=-1), (2, 3))
    for name in ("cumsum", "cumprod", "nancumsum", "nancumprod"):
        f = getattr(np, name)
        for n in range(1, 8):
            case(f"{name} of {n}", f, (n,))
        for axis in (None, 0, 1, -1):
            case(f"{name} axis={axis}", lambda x, f=f, a=axis: f(x, axis=a), (3, 4))
        case(f"{name} of nothing", f, (0,))
        case(f"{name} 0-d", f, ())
    for name in ("cumulative_sum", "cumulative_prod"):
        if hasattr(np, name):
            f = getattr(np, name)
            case(name, lambda x, f=f: f(x, axis=1, include_initial=True), (2, 3))
    case("prod with a zero", np.prod, [2.0, 0.0, 3.0])
    case("prod with zeros", np.prod, [2.0, 0.0, 3.0, 0.0])
    case("cumprod with a zero", np.cumprod, [2.0, 0.0, 3.0, 4.0])
    case("average", lambda x: np.average(x), (2, 3))
    case(
        "average weights",
        lambda x, w: np.average(x, axis=1, weights=w),
        (2, 3),
        in_domain((3,), 1, 2),
    )
    case(
        "average full weights",
        lambda x, w: np.average(x, weights=w, returned=True),
        (2, 3),
        in_domain((2, 3), 1, 2),
    )
    case("trace", np.trace, (3, 3))
    case("trace 3", lambda x: np.trace(x, 1, 1, 2), (2, 3, 3))
    for method in ("linear", "lower", "higher", "nearest", "midpoint", "hazen", "weibull",
                 "median_unbiased",
                   "normal_unbiased", "inverted_cdf", "averaged_inverted_cdf",
                   "closest_observation",
                   "interpolated_inverted_cdf"):  # fmt: skip
        for q in (0.3, [0.0, 0.25, 1.0]):
            case(
                f"quantile {method} {q}",
                lambda x, m=method, q=q: np.quantile(x, q, axis=1, method=m),
                (2, 5),
            )
    case("percentile", lambda x: np.percentile(x, [10, 50.0], keepdims=True), (2, 3))
    case("percentile axes", lambda x: np.percentile(x, 40.0, axis=(0, 2)), (2, 3, 2))
    case("nanquantile", lambda x: np.nanquantile(x, [0.2, 0.9], axis=1), (2, 4))
    case("around", lambda x: np.around(x, 1), [1.23, 2.37])
    case("amin", lambda x: np.amin(x, axis=0), (2, 3))
    case("nanpercentile", lambda x: np.nanpercentile(x, 40.0, axis=0), (3, 2))
    case("add.reduce", lambda x: np.add.reduce(x), (2, 3))
    case("multiply.reduce", lambda x: np.multiply.reduce(x, axis=1), (2, 3))
    case("maximum.reduce", lambda x: np.maximum.reduce(x, axis=None), (2, 3))
    case("logaddexp.reduce", lambda x: np.logaddexp.reduce(x, axis=1), (2, 3))
    case("add.accumulate", lambda x: np.add.accumulate(x), (3, 2))
    case("multiply.accumulate", lambda x: np.multiply.accumulate(x, axis=1), (3, 2))
    case("maximum.accumulate", lambda x: np.maximum.accumulate(x, axis=1), (2, 5))
    case("minimum.accumulate", lambda x: np.minimum.accumulate(x), (5,))
    case("add.reduceat", lambda x: np.add.reduceat(x, [0, 3, 1, 4]), (6,))
    case("add.reduceat 1", lambda x: np.add.reduceat(x, [0, 2], axis=1), (2, 3))


# ---- products and the rest -----------------------------------------------------------------------


def _products() -> None:
    for a, b in [((3,), (3,)), ((2, 3), (3,)), ((3,), (3, 2)), ((2, 3), (3, 2)), ((), (3,)),
                 ((2, 2, 3), (2, 3, 2)),
                 ((2, 3), (2, 3, 2)), ((0,), (0,)), ((2, 0), (0, 3)), ((0, 2),
                 (2, 3))]:  # fmt: skip
        case(f"dot {a} {b}", np.dot, a, b)
    for a, b in [((3,), (3,)), ((2, 3), (3,)), ((2, 3), (4, 3)), ((), (2,)), ((2, 1, 3), (2, 3))]:
        case(f"inner {a} {b}", np.inner, a, b)
    for a, b in [((3,), (3,)), ((2, 3), (3,)), ((3,), (3, 2)), ((2, 3), (3, 2)), ((2, 2, 3),
                 (3, 2)), ((2, 1, 2, 3), (4, 3, 2)),
                 ((2, 2, 3), (3,)), ((2, 0), (0, 3))]:  # fmt: skip
        case(f"matmul {a} {b}", np.matmul, a, b)
    case("outer fn", np.outer, (2,), (3,))
    case("outer fn flat", np.outer, (2, 2), (0,))
    case("vdot", np.vdot, (2, 2), (2, 2))
    for name, a, b in [
        ("vecdot", (2, 3), (3,)),
        ("matvec", (2, 3), (3,)),
        ("vecmat", (2,), (2, 3)),
    ]:
        if hasattr(np, name):
            case(name, getattr(np, name), a, b)
    case(
        "vecdot axis",
        lambda x, y: np.vecdot(x, y, axis=0) if hasattr(np, "vecdot") else (x * y).sum(0),
        (3, 2),
        (3, 2),
    )
    for axes in (0, 1, 2, ([0, 1], [1, 0]), ([1], [0])):
        case(f"tensordot {axes}", lambda x, y, axes=axes: np.tensordot(x, y, axes), (3, 3), (3, 3))
    case("tensordot 3", lambda x, y: np.tensordot(x, y, ([1, 0], [0, 1])), (2, 3, 2), (3, 2, 2))
    for a, b in [((2,), (3,)), ((2, 2), (1, 3)), ((2,), (2, 2)), ((2, 1, 2), (2,))]:
        case(f"kron {a} {b}", np.kron, a, b)
    case("cross", np.cross, (3,), (3,))
    case("cross many", np.cross, (2, 3), (3,))
    case("cross axis", lambda x, y: np.cross(x, y, axis=0), (3, 2), (3, 2))
    for text, *shapes in [
        ("ij,jk->ik", (2, 3), (3, 2)), ("ij,jk", (2, 3), (3, 2)), ("ii->i", (3, 3)), ("ii", (3, 3)),
        ("ij->ji", (2, 3)), ("ji", (2, 3)), ("i,i->", (3,), (3,)), ("i,j->ij", (2,), (3,)),
        ("ij,ij->ij", (2, 3), (2, 3)),
        ("bij,bjk->bik", (2, 2, 3), (2, 3, 2)), ("...ij,...jk->...ik", (2, 2, 3), (3, 2)),
        ("ij->", (2, 3)),
        ("ij->i", (2, 3)), ("i->i", (3,)), ("ij,jk,kl->il", (2, 3), (3, 2), (2, 2)),
        ("a,b,c,d->dcba", (1,), (2,), (2,), (1,)),
        ("ijk,jil->kl", (2, 3, 2), (3, 2, 2)), ("ij,ij,ij->", (2, 2), (2, 2), (2, 2)), ("iij->ij",
        (2, 2, 3)),
        ("i...->...", (2, 3)), ("...,...->...", (2, 3), (3,)), ("ij,kj->ki", (2, 3), (2, 3)),
        ("ab,b,bc->ac", (2, 2), (2,), (2, 3)),
        ("ij,jk->ik", (1, 3), (1, 2)), ("ijj,j->i", (2, 3, 3), (3,)),
    ]:  # fmt: skip
        case(f"einsum {text} {len(shapes)}", lambda *xs, t=text: np.einsum(t, *xs), *shapes)
    case("einsum lists", lambda x, y: np.einsum(x, [0, 1], y, [1, 2], [0, 2]), (2, 3), (3, 2))
    case(
        "multi optimize",
        lambda x, y, z: np.einsum("ij,jk,kl->il", x, y, z, optimize=True),
        (2, 3),
        (3, 2),
        (2, 2),
    )


def _calculus() -> None:
    for n in (0, 1, 2):
        for axis in (0, -1):
            case(f"diff {n} {axis}", lambda x, n=n, a=axis: np.diff(x, n, a), (3, 4))
    case("diff ends", lambda x, y: np.diff(x, prepend=0.0, append=y), (2, 3), (2, 2))
    case("ediff1d", lambda x: np.ediff1d(x, to_end=[1.0, 2.0], to_begin=3.0), (2, 3))
    for edge in (1, 2):
        case(f"gradient {edge}", lambda x, e=edge: np.gradient(x, edge_order=e), (4, 5))
        case(
            f"gradient spaced {edge}",
            lambda x, e=edge: np.gradient(x, np.array([0.0, 1, 3, 4.5]), edge_order=e),
            (4,),
        )
        case(
            f"gradient axis {edge}",
            lambda x, e=edge: np.gradient(x, 0.5, axis=1, edge_order=e),
            (2, 4),
        )
        case(
            f"gradient in x {edge}",
            lambda f, x, e=edge: np.gradient(f, np.cumsum(x), edge_order=e),
            (4,),
            in_domain((4,), 1, 2),
        )
    trapezoid = getattr(np, "trapezoid", None) or np.trapz
    case("trapezoid", lambda y: trapezoid(y), (2, 4))
    case("trapezoid dx", lambda y: trapezoid(y, dx=0.5, axis=0), (3, 2))
    case("trapezoid x", lambda y, x: trapezoid(y, x, axis=0), (3, 2), (3,))
    case("trapezoid x full", lambda y, x: trapezoid(y, x), (2, 3), (2, 3))
    nodes, heights = [0.0, 1.0, 2.5, 4.0], [1.0, -1.0, 2.0, 0.5]
    case("interp", np.interp, [0.3, 1.7, -1.0, 3.9, 7.0], nodes, heights)
    case(
        "interp ends",
        lambda x, f: np.interp(x, nodes, f, left=-3.0, right=9.0),
        [0.3, 1.7, -1.0, 3.9, 7.0],
        heights,
    )
    case(
        "interp period",
        lambda x, xp, f: np.interp(x, xp, f, period=4.5),
        [0.3, 6.1, -1.0, 4.2],
        nodes,
        heights,
    )
    case("interp scalar", lambda x, f: np.interp(x, nodes, f), 1.3, heights)
    for mode in ("full", "same", "valid"):
        for a, b in [
            ((5,), (3,)),
            ((3,), (5,)),
            ((4,), (2,)),
            ((2,), (4,)),
            ((1,), (1,)),
            ((4,), (4,)),
        ]:
            case(f"convolve {mode} {a} {b}", lambda x, y, m=mode: np.convolve(x, y, m), a, b)
            case(f"correlate {mode} {a} {b}", lambda x, y, m=mode: np.correlate(x, y, m), a, b)
    case("cov", lambda x: np.cov(x), (2, 5))
    case("cov vector", lambda x: np.cov(x), (5,))
    case("cov two", lambda x, y: np.cov(x, y, rowvar=False, bias=True), (4, 2), (4, 1))
    case("cov weights", lambda x: np.cov(x, fweights=[1, 2, 1, 3], aweights=[0.5, 1, 2, 1]), (2, 4))
    case("cov aweights", lambda x: np.cov(x, aweights=[0.5, 1, 2, 1]), (2, 4))
    case("corrcoef", lambda x: np.corrcoef(x), (2, 5))
    case("corrcoef two", lambda x, y: np.corrcoef(x, y), (5,), (5,))
    case("unwrap", lambda x: np.unwrap(x), [0.0, 3.0, 6.5, 1.0, -4.0])
    case("clip", lambda x: np.clip(x, -0.5, 0.5), (5,))
    case("clip bounds", lambda x, lo: np.clip(x, lo, 1.0), (5,), in_domain((5,), -1, 0))
    case("clip method", lambda x: x.clip(-0.5, None), (5,))
    case("clip max", lambda x: np.clip(x, None, 0.3), (2, 3))
    case("polyval", lambda p, x: np.polyval(p, x), (4,), (3,))
    case("polyder", lambda p: np.polyder(p, 2), (5,))
    case("polyint", lambda p: np.polyint(p), (3,))
    case("polymul", lambda p, q: np.polymul(p, q), (3,), (2,))
    case("polysub", lambda p, q: np.polysub(p, q), (3,), (2,))
    case("vander", lambda x: np.vander(x, 4), (3,))
    case("vander increasing", lambda x: np.vander(x, increasing=True), (3,))
    case("linspace", lambda a, b: np.linspace(a, b, 5), (), ())
    case("linspace arrays", lambda a, b: np.linspace(a, b, 4, endpoint=False, axis=1), (2,), (2,))
    case("bincount", lambda w: np.bincount([0, 2, 2, 1, 0], w, 5), (5,))
    case("sinc near 0", np.sinc, [0.0, 1e-9, 0.1, -0.2])
    case("partition", lambda x: np.partition(x, 2)[2], (5,))
    case("apply_along_axis", lambda x: np.apply_along_axis(np.sum, 1, x * x), (2, 3))
    case("apply_over_axes", lambda x: np.apply_over_axes(np.sum, x * x, [0, 2]), (2, 3, 2))
    case("norm by hand", lambda x: np.sqrt(np.sum(x**2, axis=-1)), (2, 3))
    case(
        "softmax",
        lambda x: (
            np.exp(x - np.max(x, -1, keepdims=True))
            / np.sum(np.exp(x - np.max(x, -1, keepdims=True)), -1, keepdims=True)
        ),
        (2, 3),
    )


_structures()
_ufuncs()
_reductions()
_products()
_calculus()
