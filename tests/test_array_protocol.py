"""Arrays behave as ndarrays: attributes, methods, operators, views, stores; values and gradients.

A *program* is a function of one array that runs on an ndarray of any type as well as on an Array.
Its values on numbers are the reference; that of its gradient are complex steps.
"""

from __future__ import annotations

import copy
import operator
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from array_checks import check as check_derivatives
from hypothesis import given, settings
from hypothesis import strategies as st

import pyad
import pyad.numpy as pnp

Program = Callable[[Any], Any]
A = np.array([[1.5, -0.5, 2.0], [0.25, 3.0, -1.0]])
STEP = 1e-30


def value_of(x: Any) -> Any:
    return x.value if isinstance(x, (pyad.Array, pyad.Var)) else x


def complex_step(program: Program, x: Any, weights: Any) -> Any:
    """The gradient of sum(weights * program(x)), for programs of analytic operations."""
    result = np.zeros(x.shape)
    for place in np.ndindex(*x.shape):
        moved = x.astype(complex)
        moved[place] += 1j * STEP
        result[place] = np.sum(weights * program(moved)).imag / STEP
    return result


def check(program: Program, x: Any = A) -> None:
    """Values, gradient (eager, in reverse and in forward mode) against NumPy's of a copy."""
    expected = np.asarray(program(x.copy()))
    weights = np.random.default_rng(3).uniform(0.5, 1.5, expected.shape)
    slope = complex_step(program, x, weights)

    def total(x: Any) -> Any:
        return np.sum(weights * program(x))

    given = x.copy()
    got = program(pyad.array(given).copy())
    assert np.shape(got) == expected.shape
    np.testing.assert_allclose(value_of(got), expected, rtol=1e-13, atol=1e-13)
    gradient = pyad.grad(total)(given)
    np.testing.assert_allclose(gradient, slope, rtol=1e-11, atol=1e-11)
    np.testing.assert_array_equal(given, x)
    leaf = pyad.array(given)
    total(leaf.copy()).backward()
    np.testing.assert_allclose(leaf.grad, gradient, rtol=1e-14, atol=1e-14)
    v = np.random.default_rng(4).normal(size=x.shape)
    _, tangent = pyad.jvp(total, (given,), (v,))
    np.testing.assert_allclose(tangent, np.sum(slope * v), rtol=1e-11, atol=1e-11)


# ---- attributes and methods ----------------------------------------------------------------------

ATTRIBUTES = ["shape", "ndim", "size", "dtype", "itemsize", "nbytes", "strides"]


@pytest.mark.parametrize("name", ATTRIBUTES)
@pytest.mark.parametrize(
    "view", [lambda a: a, lambda a: a.T, lambda a: a[:, ::-2], lambda a: a[:0]]
)
def test_attributes(name: str, view: Program) -> None:
    assert getattr(view(pyad.array(A)), name) == getattr(view(A.copy()), name)


METHODS: dict[str, Program] = {
    "T": lambda a: a.T,
    "mT": lambda a: np.swapaxes(a, 0, 1) if not hasattr(a, "mT") else a.mT,
    "real": lambda a: a.real if isinstance(a, pyad.Array) else a + 0,
    "flat": lambda a: a.flat[::2],
    "reshape": lambda a: a.reshape(3, 2) + a.reshape((3, -1)),
    "reshape F": lambda a: a.T.reshape(-1, 3) * 2,
    "ravel": lambda a: a.ravel(),
    "ravel F": lambda a: a.ravel(order="F"),
    "flatten": lambda a: a.flatten() * a.flatten("F"),
    "squeeze": lambda a: a[None].squeeze() + a[None].squeeze(0),
    "transpose": lambda a: a.transpose() * a.transpose(1, 0) + a.transpose((1, 0)),
    "swapaxes": lambda a: a.swapaxes(0, 1),
    "copy": lambda a: a.copy(),
    "astype": lambda a: a.astype(a.dtype),
    "item": lambda a: a[0, 0] * a.item(3) + a.item((1, 2)) + a.item(0, 1),
    "sum": lambda a: a.sum() + a.sum(axis=1, keepdims=True) + a.sum(0),
    "mean": lambda a: a.mean() + a.mean(axis=(0, 1)) + a.mean(-1, keepdims=True),
    "prod": lambda a: a.prod() + a.prod(0),
    "cumsum": lambda a: a.cumsum(0) + a.cumsum().reshape(2, 3),
    "cumprod": lambda a: a.cumprod(1) + a.cumprod().reshape(2, 3),
    "dot": lambda a: a.dot(a.T) + a.dot(np.ones((3, 2))),
    "trace": lambda a: a.trace() + a.trace(1),
    "diagonal": lambda a: a.diagonal() * a.diagonal(1),
    "repeat": lambda a: a.repeat(2, axis=0),
    "take": lambda a: a.take([0, 5, 5]) * a.take([0, 1, 1], axis=1)[0],
    "compress": lambda a: a.compress([True, False, True], axis=1),
    "tolist": lambda a: pnp.array(a.tolist()) if isinstance(a, pyad.Array) else a,
    "conj": lambda a: a.conj() if isinstance(a, pyad.Array) else a,
    "matmul": lambda a: a @ a.T @ a,
    "iteration": lambda a: sum((row * row[0] for row in a), start=np.zeros(3)),
    "unpacking": lambda a: [x * y + z for x, y, z in [a[0], a[1]]][1] + 0 * a[0],
    "pow": lambda a: a**2 + a**-1 + 2.0**a,
    "negative": lambda a: -a + +a * 3,
    "reflected": lambda a: (1 - a) / (2 + a * a) + (3.0 / a) + [1.0, 2.0, 3.0] * a - np.ones(3) * a,
    "broadcast": lambda a: a[:, :, None] * a[0] - a[:, 0].reshape(2, 1, 1),
}


@pytest.mark.parametrize("name", METHODS)
def test_methods(name: str) -> None:
    check(METHODS[name])


REAL: dict[str, Program] = {
    "std": lambda a: a.std(axis=0, ddof=1),
    "var": lambda a: a.var(axis=1, keepdims=True),
    "max": lambda a: a.max(axis=1) + a.max(),
    "min": lambda a: a.min(axis=0),
    "clip": lambda a: a.clip(-0.4, 1.8),
    "round": lambda a: (a + 0.01).round(1) + (a + 0.01).round(),
    "abs": lambda a: abs(a),
    "mod": lambda a: a % 0.7 + a // 0.7,
    "divmod": lambda a: divmod(a, 0.7)[1],
    "sort": lambda a: _in_place(a, "sort"),
    "sort axis": lambda a: _in_place(a, "sort", 0),
    "partition": lambda a: _in_place(a, "partition", 1),
    "fill": lambda a: _in_place(a[0], "fill", 2.0),
    "put": lambda a: _in_place(a, "put", [0, -1], 7.0),
}


def _in_place(a: Any, name: str, *args: Any) -> Any:
    b = a.copy()
    assert getattr(b, name)(*args) is None
    return b


@pytest.mark.parametrize("name", REAL)
def test_methods_that_look_at_values(name: str) -> None:
    expected = REAL[name](A.copy())
    got = REAL[name](pyad.array(A))
    np.testing.assert_allclose(got.value, expected, rtol=1e-14)
    check_derivatives(REAL[name], A, order=1)


@pytest.mark.parametrize(
    "call",
    [
        lambda a: a.argmax(),
        lambda a: a.argmin(axis=1),
        lambda a: a.argsort(axis=0),
        lambda a: a.argpartition(1),
        lambda a: a.nonzero(),
        lambda a: a[0].searchsorted([0.0, 1.0], sorter=[1, 0, 2]),
        lambda a: (a > 0).all(axis=1),
        lambda a: a.all(),
        lambda a: a.any(axis=0),
        lambda a: len(a),
        lambda a: a.astype(int),
        lambda a: a.astype(bool),
        lambda a: 3.0 in a,
        lambda a: 7.0 in a,
        lambda a: [a < 1, a <= 1, a == 3.0, a != 3.0, a > a.T.reshape(2, 3), a <= 1],
        lambda a: (a[0] == a[0]).dtype,
        lambda a: bool(a[0, 0] > 1),
        lambda a: bool(a[:1, :1]),
        lambda a: a is None or a.shape,
        lambda a: f"{a[0, 0].item() if isinstance(a, np.ndarray) else a[0, 0]:.2f}",
    ],
)
def test_what_has_no_derivative_is_plain(call: Program) -> None:
    got, expected = call(pyad.array(A)), call(A.copy())
    if not isinstance(expected, (list, tuple)):
        got, expected = [got], [expected]
    for g, e in zip(got, expected, strict=True):
        assert type(g) is type(e)
        np.testing.assert_array_equal(g, e)


def test_what_an_array_cannot_do_says_so() -> None:
    a = pyad.array(A)
    for call, text in [
        (lambda: bool(a), "ambiguous"),
        (lambda: a[0, 0] if a else 0, "ambiguous"),
        (lambda: np.asarray(a), "pyad.numpy.array"),
        (lambda: np.array([a, a]), "stack"),
        (lambda: a.astype(complex), "x.value"),
        (lambda: a.astype(np.float32), "x.value"),
        (lambda: np.add(a, 1, dtype=np.float32), "float64"),
        (lambda: np.add(a, a, out=np.zeros(A.shape)), "x.value"),
        (lambda: np.sum(a, dtype=int), "float64"),
        (lambda: a.byteswap(), "float64"),
        (lambda: a + "x", "str"),
        (lambda: a @ 2.0, "operand|matmul|scalar"),
        (lambda: a + 1j, "imag|complex"),
        (lambda: a[0.5], "ind"),
        (lambda: len(a[0, 0]), "len"),
        (lambda: hash(a), "hash"),
        (lambda: float(a), "array|one element"),
    ]:
        with pytest.raises((TypeError, ValueError, IndexError), match=text):
            call()
    with pytest.raises(TypeError):
        len(pyad.array(2.0))
    with pytest.raises(TypeError):
        iter(pyad.array(2.0))
    with pytest.raises(IndexError):
        a[2]
    with pytest.raises(IndexError):
        a.copy()[:, 3] = 0.0
    with pytest.raises(ValueError, match="broadcast"):
        a + np.ones(4)
    with pytest.raises(ValueError, match="broadcast"):
        a.copy()[0] = np.ones(2)


def test_constants_become_plain_arrays() -> None:
    a = pyad.array(A, requires_grad=False)
    assert type(np.asarray(a)) is np.ndarray
    np.testing.assert_array_equal(np.asarray(a), A)
    assert a.astype(int).dtype == int
    assert type(pyad.array(A).detach() + 1) is pyad.Array
    plain = np.zeros(A.shape)
    np.add(a, 1.0, out=plain)
    np.testing.assert_array_equal(plain, A + 1)


def test_copies_and_pickles() -> None:
    leaf = pyad.array(A, name="W")
    leaf.grad = np.ones(A.shape)
    for twin in (copy.copy(leaf), copy.deepcopy(leaf), pickle.loads(pickle.dumps(leaf))):
        assert twin.is_leaf
        assert twin.name == "W"
        np.testing.assert_array_equal(twin.value, A)
        np.testing.assert_array_equal(twin.grad, np.ones(A.shape))
    with pytest.raises(TypeError, match=r"pickle x\.value"):
        pickle.dumps(leaf * 2)


# ---- in place ------------------------------------------------------------------------------------

IN_PLACE = {
    "iadd": operator.iadd,
    "isub": operator.isub,
    "imul": operator.imul,
    "itruediv": operator.itruediv,
    "ipow": operator.ipow,
}


@pytest.mark.parametrize("name", IN_PLACE)
@pytest.mark.parametrize("other", [2.0, np.array([1.0, 2.0, 3.0]), "itself", "row", "element"])
def test_operators_in_place(name: str, other: Any) -> None:
    def program(a: Any) -> Any:
        b = a.copy()
        view = b[:, ::-1]
        kept = b
        with_ = {"itself": a, "row": b[1], "element": a[0, 1]}.get(other, other) if isinstance(
            other, str
        ) else other  # fmt: skip
        b = IN_PLACE[name](b, with_)
        assert b is kept
        return b * view

    check(program, np.abs(A))


@pytest.mark.parametrize("name", ["ifloordiv", "imod"])
def test_operators_in_place_with_jumps(name: str) -> None:
    def program(a: Any) -> Any:
        b = a.copy()
        b[1:] = getattr(operator, name)(b[1:], 0.7)
        return b

    np.testing.assert_allclose(program(pyad.array(A)).value, program(A.copy()), rtol=1e-15)
    check_derivatives(program, A, order=1)


def test_matmul_in_place() -> None:
    def program(a: Any) -> Any:
        b = a[:, :2].copy()
        b @= a[:, 1:]
        return b

    check(lambda a: _matmul_by_hand(a) if not isinstance(a, pyad.Array) else program(a))


def _matmul_by_hand(a: Any) -> Any:
    return a[:, :2] @ a[:, 1:]


def test_operators_in_place_keep_the_shape() -> None:
    b = pyad.array(A).copy()
    with pytest.raises(ValueError, match=r"shape|broadcast"):
        b += np.ones((4, 2, 3))


# ---- ufuncs --------------------------------------------------------------------------------------

MASK = np.array([[True, False, True], [False, True, True]])
UFUNCS: dict[str, Program] = {
    "out": lambda a: _out(a, lambda b: np.multiply(a, a, out=b)),
    "out of itself": lambda a: _out(a, lambda b: np.exp(b, out=b)),
    "out view": lambda a: _out(a, lambda b: np.sin(a[0], out=b[1])),
    "out overlapping": lambda a: _out(a, lambda b: np.multiply(b[:, :-1], 2.0, out=b[:, 1:])),
    "where": lambda a: _out(a, lambda b: np.multiply(a, 3.0, out=b, where=MASK)),
    "where of two": lambda a: _out(a, lambda b: np.add(a, a[0], where=MASK, out=b)),
    "add.reduce": lambda a: np.add.reduce(a) + np.add.reduce(a, axis=1, keepdims=True),
    "add.reduce all": lambda a: np.add.reduce(a, axis=None) + np.add.reduce(a, axis=(0, 1)),
    "add.reduce where": lambda a: np.add.reduce(a, axis=0, where=MASK, initial=1.0),
    "multiply.reduce": lambda a: np.multiply.reduce(a, axis=1),
    "add.accumulate": lambda a: np.add.accumulate(a, axis=1),
    "multiply.accumulate": lambda a: np.multiply.accumulate(a),
    "multiply.outer": lambda a: np.multiply.outer(a, a[0]),
    "add.outer": lambda a: np.add.outer([1.0, 2.0], a),
    "power.outer": lambda a: np.power.outer(2.0, a),
    "add.at": lambda a: _out(a, lambda b: np.add.at(b, ([0, 0, 1], [1, 1, 2]), a[0])),
    "add.at one": lambda a: _out(a, lambda b: np.add.at(b, 0, 5.0)),
    "subtract.at": lambda a: _out(a, lambda b: np.subtract.at(b, [0, 0], a)),
    "add.at slice": lambda a: _out(a, lambda b: np.add.at(b, (slice(None), [0, 0]), 2 * a[:, :2])),
    "add.at nothing": lambda a: _out(a, lambda b: np.add.at(b, [], a[:0])),
    "add.at 0-d": lambda a: a * _out(a[0, 0:1].reshape(()), lambda b: np.add.at(b, (), 2.0)),
    "multiply.at": lambda a: _out(a, lambda b: np.multiply.at(b, ([0, 0, 1], [1, 1, 2]), a[0])),
    "multiply.at 0-d": lambda a: (
        a * _out(a[0, 0:1].reshape(()), lambda b: np.multiply.at(b, (), 2.0))
    ),
    "divide.at many": lambda a: _out(
        a, lambda b: np.divide.at(b, [0, 1, 0, 1, 0], 2.0 + np.vstack([a, a, a[:1]]) ** 2)
    ),
    "sin.at": lambda a: _out(a, lambda b: np.sin.at(b, [0, 0, 1])),
    "negative.at mask": lambda a: _out(a, lambda b: np.negative.at(b, MASK)),
    "maximum.at": lambda a: _out(a, lambda b: np.maximum.at(b, (..., [0, 0]), a[:, 1:] * 1.5)),
    "power.at": lambda a: _out(a, lambda b: np.power.at(b, [[0, 0], [1, 0]], 2.0)),
    "add.reduceat": lambda a: np.add.reduceat(a, [0, 2, 1], axis=1),
}


def _out(a: Any, fill: Callable[[Any], Any]) -> Any:
    b = a.copy()
    result = fill(b)
    assert result is None or result is b or result.shape != b.shape
    return b * a


@pytest.mark.parametrize("name", UFUNCS)
def test_ufunc_methods(name: str) -> None:
    check(UFUNCS[name])


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda a: np.subtract.reduce(a), "subtract"),
        (lambda a: np.power.accumulate(a), "power"),
        (lambda a: np.multiply.reduceat(a, [0]), "multiply"),
        (lambda a: np.gcd.at(a.copy(), 0, 2.0), "gcd"),
        (lambda a: np.gcd(a, a), "gcd"),
    ],
)
def test_ufunc_methods_without_support(call: Program, name: str) -> None:
    with pytest.raises(TypeError, match=rf"np\.{name}"):
        call(pyad.array(A))


def test_out_that_would_lose_a_derivative() -> None:
    a = pyad.array(A)
    for out in (np.zeros(A.shape), np.zeros((2, 4))):
        with pytest.raises(TypeError, match="losing its derivative"):
            np.exp(a, out=out)
    with pytest.raises(ValueError, match="shape"):
        np.exp(a, out=pyad.array(np.zeros(3)).copy())
    with pytest.raises(ValueError, match="copy"):
        np.exp(a, out=pyad.array(A))
    mask = np.zeros(A.shape, bool)
    np.greater(a, 0.0, out=mask)
    np.testing.assert_array_equal(mask, A > 0)


# ---- views ---------------------------------------------------------------------------------------

VIEWS: dict[str, Program] = {
    "slice": lambda b: b[:, 1:],
    "step": lambda b: b[:, ::2],
    "negative": lambda b: b[::-1, ::-1],
    "row": lambda b: b[1],
    "newaxis": lambda b: b[None, ..., None],
    "ellipsis": lambda b: b[...],
    "transpose": lambda b: b.T,
    "reshape": lambda b: b.reshape(3, 2),
    "ravel": lambda b: b.ravel(),
    "flat reshape": lambda b: b.reshape(-1)[1:4],
    "diagonal": lambda b: b[:2, :2].T[::-1],
    "swapaxes": lambda b: b.swapaxes(0, 1)[1:],
    "squeeze": lambda b: b[:, :1].squeeze(),
    "split": lambda b: np.split(b, [1], axis=1)[1],
    "flip": lambda b: np.flip(b, 1),
    "moveaxis": lambda b: np.moveaxis(b, 0, 1),
    "rot90": lambda b: np.rot90(b),
    "expand_dims": lambda b: np.expand_dims(b, 0),
    "atleast_3d": lambda b: np.atleast_3d(b),
}
COPIES: dict[str, Program] = {
    "ravel of a transpose": lambda b: b.T.ravel(),
    "reshape of a transpose": lambda b: b.T.reshape(-1),
    "flatten": lambda b: b.flatten(),
    "copy": lambda b: b.copy(),
    "mask": lambda b: b[b > 0],
    "integers": lambda b: b[[0, 1]],
    "take": lambda b: b.take([0, 1], axis=1),
    "arithmetic": lambda b: b + 0.0,
    "repeat": lambda b: b.repeat(1),
}


@pytest.mark.parametrize("name", [*VIEWS, *COPIES])
def test_views_alias_and_copies_do_not(name: str) -> None:
    view = (VIEWS | COPIES)[name]
    base = A.copy()
    b = pyad.array(A).copy()
    assert np.shares_memory(b, view(b)) == np.shares_memory(base, view(base)) == (name in VIEWS)

    def through_the_view(a: Any) -> Any:
        b = a * a
        v = view(b)
        v[...] = 2 * v + 1
        v *= a[0, 0]
        return b * b

    def through_the_base(a: Any) -> Any:
        b = a + 1
        v = view(b)
        b[:, 1] = a[:, 0] * 3
        b[0] += v.sum()
        before = v * v
        b[1, 2] = a[0, 0]  # after the recording of `before`
        return np.stack([before, v])

    # signs are those of A: masks of complex numbers are not used
    check(lambda a: through_the_view(a) if name != "mask" else view_of_mask(a))
    if name != "mask":
        check(through_the_base)


def view_of_mask(a: Any) -> Any:
    b = a * a
    v = b[MASK]
    v *= 5
    return b


def test_views_of_views_and_stores_through_both() -> None:
    def program(a: Any) -> Any:
        b = a.copy()
        v = b.T[1:]
        w = v[::-1, :1]
        w[...] = w * a[0, 1]
        v += b[0, 0]
        b[0] = w[0]
        b[0, 0], b[1, 1] = b[1, 1], b[0, 0]
        return [b, v, w][0] + v.sum() * w.sum()

    check(program)


def test_a_store_into_what_is_read() -> None:
    def program(a: Any) -> Any:
        b = a.copy()
        b[:, 1:] = b[:, :-1]
        b[:, ::-1] = b
        b[0] = b[1]
        b[...] = b.reshape(3, 2).T.reshape(2, 3)
        return b * a

    check(program)


# ---- items ---------------------------------------------------------------------------------------

KEYS: dict[str, Any] = {
    "int": 1,
    "negative int": -2,
    "two ints": (1, -1),
    "numpy int": np.int64(1),
    "slice": slice(0, 1),
    "steps": (slice(None, None, -1), slice(None, None, 2)),
    "empty slice": slice(2, 2),
    "ellipsis": Ellipsis,
    "ellipsis and int": (..., 0),
    "newaxis": (None, 0, None),
    "mask": MASK,
    "mask of rows": np.array([False, True]),
    "mask and slice": (np.array([True, False]), slice(1, None)),
    "empty mask": np.zeros((2, 3), bool),
    "true": True,
    "integers": [1, 0],
    "duplicates": [0, 0, 1],
    "integer arrays": (np.array([0, 1, 1]), np.array([2, 0, 2])),
    "broadcast": (np.array([[0], [1]]), np.array([2, 0])),
    "mixed": (1, [0, 2]),
    "slice and integers": (slice(None), [2, 0]),
    "integers apart": ([0, 1], None, slice(None)),
    "empty list": [],
    "empty tuple": (),
    "2d integers": np.array([[0, 1], [1, 1]]),
}


@pytest.mark.parametrize("name", KEYS)
def test_items(name: str) -> None:
    key = KEYS[name]
    check(lambda a: a[key])
    check(lambda a: (a * a)[key])

    def assigned(of: Program) -> Program:
        def program(a: Any) -> Any:
            b = a * 1.0
            b[key] = of(b[key] * 2.0 + 1.0) if of is not a_number else 3.0
            return b * a

        return program

    if name == "duplicates":  # which of them stays is the last one, as in NumPy

        def last(a: Any) -> Any:
            b = a * 1.0
            b[key] = np.stack([a[0], a[1] * 2, a[0] * 3])
            return b

        check(last)
    check(assigned(lambda x: x))
    check(assigned(a_number))

    def added(a: Any) -> Any:
        b = a.copy()
        b[key] += a[0, 0]
        b[key] *= 2.0
        return b

    check(added)


def a_number(x: Any) -> Any:
    raise AssertionError


def test_duplicates_count_once_in_place_as_in_numpy() -> None:
    b = pyad.array([1.0, 2.0]).copy()
    b[[0, 0]] += 1
    np.testing.assert_array_equal(b.value, [2.0, 2.0])
    np.add.at(b, [0, 0], 1.0)
    np.testing.assert_array_equal(b.value, [4.0, 2.0])


def test_what_can_be_assigned() -> None:
    def program(a: Any) -> Any:
        b = a.copy()
        b[0] = a[1, 0]  # a variable to a row
        b[1] = [a[0, 0], 2.0, a[0, 1]]  # a list of variables
        b[:, 0] = a[0, :2]  # an array
        b[0, 1] = 4
        b[1, 1:] = np.array([7.0, 8.0])
        b[:, 2] = a[:, 2] if a.dtype == complex else np.array([a[0, 2], a[1, 2]], dtype=object)
        b[0, :2] = np.float64(2.5)
        return b * a

    check(program)


def test_zero_dimensional_and_empty_arrays() -> None:
    a = pyad.array(2.0)
    assert a.shape == ()
    assert type(a[()]) is pyad.Var
    assert type(a[...]) is pyad.Array
    b = a.copy()
    b[()] = a[()] * a[()]
    b[...] += 1.0
    assert b.item().value == 5.0
    b[()].backward()
    assert a.grad == 4.0
    check(lambda a: a[()] * a[None], np.array([3.0]))
    for shape in [(0,), (0, 3), (2, 0)]:
        e = pyad.array(np.zeros(shape))
        for result in (e * 2, e + e, e.T, e.reshape(-1), e[...], e.copy(), np.exp(e), e.cumsum(0)):
            assert result.size == 0
        assert e.sum().value == 0.0
        assert list(e.reshape(-1)) == []
        c = e.copy()
        c[...] = 5.0
        c[e.value > 0] = 1.0
        assert c.shape == shape
        np.testing.assert_array_equal(pyad.grad(np.sum)(np.zeros(shape)), np.zeros(shape))


def test_a_leaf_is_not_assigned_item_by_item() -> None:
    a = pyad.array(A)

    def out(x: Any) -> None:
        np.exp(x, out=x)

    for store in [
        lambda: operator.setitem(a, 0, 1.0),
        lambda: operator.setitem(a, ..., a * 2),
        lambda: operator.setitem(a[0], slice(None), 1.0),
        lambda: operator.setitem(a.T, 0, 1.0),
        lambda: operator.iadd(a, 1.0),
        lambda: a.fill(0.0),
        lambda: a.sort(),
        lambda: np.put(a, 0, 1.0),
        lambda: np.copyto(a, 0.0),
        lambda: np.fill_diagonal(a, 0.0),
        lambda: np.add.at(a, 0, 1.0),
        lambda: out(a),
        lambda: setattr(a, "flat", 0.0),
    ]:
        with pytest.raises(ValueError, match=r"y = x\.copy\(\).*x\.value = "):
            store()
    np.testing.assert_array_equal(a.value, A)
    a.value = A + 1
    np.testing.assert_array_equal(a.value, A + 1)


def test_an_argument_under_differentiation_may_be_assigned_and_the_data_stay() -> None:
    def f(x: Any) -> Any:
        x[0] = x[1] * x[1]
        x[1, 1:] += 5.0
        x *= 2.0
        x.sort()
        return np.sum(x * np.arange(6.0).reshape(2, 3))

    for transform in (
        pyad.grad(f),
        pyad.value_and_grad(f),
        pyad.jacobian(f),
        pyad.jacfwd(f),
        pyad.hessian(f),
        lambda x: pyad.jvp(f, (x,), (A,)),
    ):
        given = A.copy()
        transform(given)
        np.testing.assert_array_equal(given, A)
    moved = [f(A + h * E) for E in np.eye(6).reshape(6, 2, 3) for h in (1e-6, -1e-6)]
    differences = (np.array(moved[::2]) - np.array(moved[1::2])) / 2e-6
    np.testing.assert_allclose(pyad.grad(f)(A).ravel(), differences, rtol=1e-7, atol=1e-7)


def test_constants_changed_after_their_use_do_not_change_the_gradient() -> None:
    for use in (
        lambda x, c: x * c,
        lambda x, c: c - x / c,
        lambda x, c: x @ c.T,
        lambda x, c: np.einsum("ij,ij->j", x, c),
        lambda x, c: np.where(c > 1, x * c, x),
        lambda x, c: np.concatenate([x, c]) ** 2,
        lambda x, c: np.maximum(x, c),
        lambda x, c: x**c,
        lambda x, c: np.convolve(x[0], c[0]),
        lambda x, c: np.linalg.solve(x[:, :2] + 5 * np.eye(2), c),
        lambda x, c: np.interp(x, c[0], c[1]),
    ):
        wanted = None
        for spoil in (False, True):
            c = np.array([[1.0, 2.0, 3.0], [0.5, 1.5, 2.5]])
            x = pyad.array(np.abs(A))
            y = np.sum(use(x, c) * 1.5)
            if spoil:
                c[...] = -7.0
            (g,) = pyad.gradient(y, [x], retain_graph=True)
            wanted = g if wanted is None else wanted
            np.testing.assert_array_equal(g, wanted)


def test_keys_and_sources_changed_after_their_use_do_not_matter() -> None:
    x = pyad.array(np.arange(3.0))
    key, mask, data = np.array([0, 2]), np.array([True, False, True]), np.array([1.0, 2.0])
    b = x.copy()
    b[key] = data
    y = np.sum(b * x) + np.sum(x[mask] ** 2) + np.sum(x[key] * data)
    key[:], mask[:], data[:] = 1, False, 9.0
    np.testing.assert_array_equal(pyad.gradient(y, x), [0.0 + 1.0 + 1.0, 2.0, 8.0])


def test_a_store_after_the_recording_leaves_it_as_it_was() -> None:
    x = pyad.array([1.0, 2.0, 3.0])
    b = x * 2
    y = np.sum(b * b)
    b[0] = 100.0
    b *= x
    z = np.sum(b)
    np.testing.assert_array_equal(pyad.gradient(y, x, retain_graph=True), 8 * x.value)
    np.testing.assert_array_equal(pyad.gradient(z, x), [100.0, 8.0, 12.0])


def test_a_recurrence_by_items() -> None:
    def program(a: Any) -> Any:
        y = np.zeros_like(a, shape=(8,))
        y[0], y[1] = a[0, 0], a[0, 1]
        for i in range(2, 8):
            y[i] = y[i - 1] * a[1, 0] - y[i - 2] / a[1, 1]
        return y

    check(program)


def test_iteration_reads_what_is_stored() -> None:
    def program(a: Any) -> Any:
        b = a.copy()
        for i, row in enumerate(b):
            row[i] = row[i] * a[1, 2]  # rows are views
        return b

    check(program)


# ---- programs ------------------------------------------------------------------------------------

VIEW_KEYS = [
    (slice(None), slice(1, None)),
    (slice(None, None, -1),),
    (slice(None), slice(None, None, -2)),
    (1,),
    (slice(None), 0),
    (..., None),
    (slice(0, 2),),
]
STORE_KEYS = [
    *VIEW_KEYS,
    ([0, 1, 0],),
    (slice(None), [2, 0]),
    (np.array([True, False, True]),),
    (2, 1),
]

STATEMENTS = st.tuples(
    st.sampled_from(
        ["view", "T", "reshape", "store", "store view", "add", "multiply", "sin", "divide", "copy",
         "at", "sum"]
    ),
    st.integers(0, 50),
    st.integers(0, 50),
    st.integers(0, 50),
)  # fmt: skip


def run(statements: list[tuple[str, int, int, int]], x: Any) -> Any:
    """A random program: arrays that may be views of each other, and what is done to them."""
    pool = [x * 1.0]

    def fit(source: Any, shape: tuple[int, ...]) -> Any:
        """An array of this shape, made of the elements of another one."""
        places = np.arange(int(np.prod(shape))).reshape(shape) % max(source.size, 1)
        return source.reshape(-1)[places] if source.size else 0.5

    for kind, i, j, k in statements:
        a, b = pool[i % len(pool)], pool[j % len(pool)]
        if kind in ("view", "store", "at"):
            keys = VIEW_KEYS if kind == "view" else STORE_KEYS
            key = keys[k % len(keys)]
            if a.shape != (3, 3):
                key = (slice(None, None, -1),) if a.ndim else (...,)
        if kind == "view":
            pool.append(a[key])
        elif kind == "T":
            pool.append(a.T)
        elif kind == "reshape":
            pool.append(a.reshape(-1) if k % 2 else a.reshape((*a.shape, 1)))
        elif kind == "store":
            a[key] = fit(b, np.shape(np.empty(a.shape)[key])) * 0.5
        elif kind == "store view":
            a[...] = fit(b, a.shape)
        elif kind == "at" and a.ndim:
            np.add.at(a, ([0, 0, -1],), fit(b, (3, *a.shape[1:])) if a.shape[0] else 1.0)
        elif kind == "add":
            a += fit(b, a.shape) * 0.3
        elif kind == "multiply":
            a *= np.sin(fit(b, a.shape))
        elif kind == "sin":  # our results are always in C order, so that a reshape is a view
            pool.append(np.sin(a, order="C"))
        elif kind == "divide":
            pool.append(np.divide(a, 2.0 + fit(b, a.shape) ** 2 / 8, order="C"))
        elif kind == "copy":
            pool.append(a.copy())
        elif kind == "sum" and a.ndim:
            pool.append(np.sum(a, axis=0, keepdims=True).copy())
    return pool


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.lists(STATEMENTS, min_size=1, max_size=12))
def test_random_programs(statements: list[tuple[str, int, int, int]]) -> None:
    x = np.linspace(-1.2, 0.9, 9).reshape(3, 3)
    expected = run(statements, x.copy())
    got = run(statements, pyad.array(x).copy())
    for e, g in zip(expected, got, strict=True):
        np.testing.assert_allclose(value_of(g), e, rtol=1e-12, atol=1e-12)
    for i, p in enumerate(expected):
        for j, q in enumerate(expected):
            assert np.shares_memory(p, q) == np.shares_memory(got[i], got[j])
    pyad.current_tape().clear()
    weights = [np.cos(np.arange(float(e.size))).reshape(e.shape) for e in expected]

    def total(x: Any) -> Any:
        return sum(np.sum(w * y) for w, y in zip(weights, run(statements, x), strict=True))

    slope = complex_step(total, x, 1.0)
    bound = 1e-11 * max(1.0, float(np.max(np.abs(slope))))
    gradient = pyad.grad(total)(x)
    np.testing.assert_allclose(gradient, slope, rtol=1e-10, atol=bound)
    np.testing.assert_allclose(
        pyad.jvp(total, (x,), (x,))[1], np.sum(slope * x), rtol=1e-10, atol=9 * bound
    )
    # the second order along x: the recorded gradient, differentiated, against a step of gradients
    again = pyad.grad(lambda y: np.sum(pyad.grad(total)(y) * x))(x)
    h = 1e-4
    moved = [pyad.grad(total)(x * (1 + s * h)) for s in (-2, -1, 1, 2)]
    wanted = (moved[0] - 8 * moved[1] + 8 * moved[2] - moved[3]) / (12 * h)
    np.testing.assert_allclose(
        again, wanted, rtol=1e-6, atol=1e-6 * max(1.0, np.max(np.abs(wanted)))
    )


def test_an_out_that_is_refused_leaves_the_tape_as_it_was() -> None:
    a = pyad.array(A)
    b = a * 1.0
    before = len(pyad.current_tape())
    for out in (np.zeros(A.shape), np.zeros((2, 4)), a, b[0]):
        with pytest.raises(pyad.Error):
            np.exp(b, out=out)
    assert len(pyad.current_tape()) == before


# ---- errors that were there ----------------------------------------------------------------------


def test_an_element_times_an_array_in_a_recorded_sweep() -> None:
    """The element lies in the block of its leaf; its adjoint was looked for among scalars."""
    x, y = pyad.array([2.0, 3.0]), pyad.array([1.0, 2.0, 4.0])
    first = pyad.gradient(np.sum(x[0] * y * y), [x, y], create_graph=True)
    np.testing.assert_array_equal(first[0].value, [21.0, 0.0])
    np.testing.assert_array_equal(first[1].value, [4.0, 8.0, 16.0])
    second = pyad.gradient(np.sum(first[0]) + np.sum(first[1]), [x, y])
    np.testing.assert_array_equal(second[0], [14.0, 0.0])
    np.testing.assert_array_equal(second[1], [6.0, 8.0, 12.0])


def test_a_view_without_dimensions_keeps_its_derivative() -> None:
    x = pyad.array(3.0)
    y = np.flip(x)
    assert type(y) is pyad.Var
    assert pyad.gradient(y * y, x) == 6.0


def test_sums_of_constants_over_several_axes() -> None:
    a = pyad.array(A, requires_grad=False)
    assert np.sum(a, axis=(0, 1)).value == A.sum()
    np.testing.assert_array_equal(a.sum((0, 1), keepdims=True).value, A.sum(keepdims=True))
