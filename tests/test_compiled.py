"""Compiled functions: results of the transforms, from recordings made when they must be."""

from __future__ import annotations

import argparse
import array
import asyncio
import collections
import copy
import functools
import gc
import math
import pickle
import random
import threading
import types
import warnings
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.sparse

import pyad
from pyad.compiled import _recordings

SCALE = 2.0
WEIGHTS = np.array([1.0, 2.0, 3.0])
SETTINGS = {"power": 2.0, "list": [1.0, 2.0]}


def rosenbrock(x: Any) -> Any:
    return sum(100.0 * (x[i + 1] - x[i] ** 2) ** 2 + (1 - x[i]) ** 2 for i in range(len(x) - 1))


def mixed(x: Any) -> Any:
    y = np.exp(-x * x) * np.sin(x)
    return y.sum() * x[0] if x[0] > 0 else np.log(1 + y @ y)


def close(got: Any, expected: Any) -> None:
    """Equal in structure and types, and in numbers to the last few ulps."""
    assert type(got) is type(expected), (got, expected)
    if isinstance(expected, dict):
        assert list(got) == list(expected)
        got, expected = list(got.values()), list(expected.values())
    if isinstance(expected, (list, tuple)):
        assert len(got) == len(expected)
        for a, b in zip(got, expected, strict=True):
            close(a, b)
    elif hasattr(expected, "toarray"):
        assert got.shape == expected.shape
        np.testing.assert_array_equal(got.indptr, expected.indptr)
        np.testing.assert_array_equal(got.indices, expected.indices)
        np.testing.assert_allclose(got.data, expected.data, rtol=1e-13, atol=1e-13)
    elif isinstance(expected, np.ndarray):
        assert (got.shape, got.dtype) == (expected.shape, expected.dtype)
        np.testing.assert_allclose(got, expected, rtol=1e-13, atol=1e-13)
    elif isinstance(expected, float):
        assert got == pytest.approx(expected, rel=1e-13, abs=1e-13, nan_ok=True)
    else:
        assert got == expected


def recorded(p: Any) -> int:
    return int(p.stats()["recorded"])


@pytest.fixture(autouse=True)
def _clean() -> Any:
    yield
    assert not pyad._handle._is_guarding()
    assert len(pyad.current_tape()) == 0


# ---- every derivative ------------------------------------------------------------------------


@pytest.mark.parametrize("f", [rosenbrock, mixed])
def test_derivatives_are_those_of_the_transforms(f: Callable[..., Any]) -> None:
    p, rng = pyad.compile(f), np.random.default_rng(0)
    for _ in range(6):
        x, v = rng.normal(size=(2, 5))
        close(p(x), float(f(x)))
        close(p.grad(x), pyad.grad(f)(x))
        close(p.value_and_grad(x), pyad.value_and_grad(f)(x))
        close(p.jacobian(x), pyad.jacobian(f)(x))
        close(p.hessian(x), pyad.hessian(f)(x))
        close(p.hvp(x, v), pyad.hvp(f, x, v))
        close(p.jvp((x,), (v,)), pyad.jvp(f, (x,), (v,)))
        value, pullback = p.vjp(x)
        expected, expected_pullback = pyad.vjp(f, x)
        close(value, expected)
        close(pullback(2.5), expected_pullback(2.5))
        close(p.sparse_hessian(x), pyad.sparse_hessian(f, x))
    assert recorded(p) <= 8


def stencil(x: Any) -> Any:
    return x[1:] * x[:-1] ** 2 - (x[1:] if x[0] > 0 else x[:-1])


def wide(x: Any) -> Any:
    """A result that depends on everything, beside others that do not."""
    return [x.sum(), {"a": x[:2] * x[2], "b": (x[0] * 3.0, 1.5)}]


@pytest.mark.parametrize("f", [stencil, wide, lambda x: np.outer(x, x)[::2]])
def test_jacobians(f: Callable[..., Any]) -> None:
    p, rng = pyad.compile(f), np.random.default_rng(1)
    for _ in range(4):
        x, v = rng.normal(size=(2, 4))
        close(p.jacobian(x), pyad.jacobian(f)(x))
        close(p.sparse_jacobian(x), pyad.sparse_jacobian(f, x))
        close(p.jvp((x,), (v,)), pyad.jvp(f, (x,), (v,)))
        value, pullback = p.vjp(x)
        expected, expected_pullback = pyad.vjp(f, x)
        close(value, expected)
        close(pullback(value), expected_pullback(expected))
    assert p.stats()["eager"] == 0


def test_a_pattern_is_found_for_each_recording() -> None:
    def f(x: Any) -> Any:
        return x[0] * x[1] ** 2 if x[2] > 0 else x[1] * x[2] ** 3

    p = pyad.compile(f)
    for x in ([1.0, 2, 3], [1.0, 2, -3], [4.0, 5, 6], [3.0, 1, -1]):
        close(p.sparse_hessian(np.array(x)), pyad.sparse_hessian(f, np.array(x)))
    assert recorded(p) == 2


def test_a_gradient_that_depends_on_nothing() -> None:
    p = pyad.compile(lambda x: 3)
    close(p.value_and_grad(2.0), (3.0, 0.0))
    close(p.hessian(np.ones(2)), np.zeros((2, 2)))
    close(pyad.compile(lambda x: 2.5).grad(np.ones(2)), np.zeros(2))


def test_second_derivatives_have_guards_too() -> None:
    def f(x: Any) -> Any:
        return x**3 if x > 1 else pyad.sin(x) * x

    p = pyad.compile(f)
    for x in (2.0, 0.5, 3.0, 0.25):
        close(p.hessian(x), pyad.hessian(f)(x))
        close(p.hvp(x, 2.0), pyad.hvp(f, x, 2.0))
    assert recorded(p) == 2


# ---- arguments ---------------------------------------------------------------------------------


def several(a: Any, b: Any, c: Any = 1.0, *, k: int = 2, name: str = "", d: Any = 0.0) -> Any:
    total = np.sum(a) * b["w"] + c * d
    for i in range(k):
        total = total + b["list"][i] ** 2 if name != "minus" else total - b["list"][i]
    return total * np.sum(a * a)


@pytest.mark.parametrize("argnums", [0, 1, 2, -1, (0,), (1, 0), (0, 1, 2), (2, -2)])
def test_argnums(argnums: Any) -> None:
    p = pyad.compile(several, argnums=argnums)
    rng = np.random.default_rng(2)
    for _ in range(3):
        a, w, (x, y, c, d) = rng.normal(size=3), 1.5, rng.normal(size=4).tolist()
        args = a, {"w": w, "list": [x, y]}, c
        for kwargs in ({}, {"k": 1}, {"name": "minus", "d": d}):
            close(
                p.value_and_grad(*args, **kwargs),
                pyad.value_and_grad(several, argnums)(*args, **kwargs),
            )
            close(p.hessian(*args, **kwargs), pyad.hessian(several, argnums)(*args, **kwargs))
            close(p.jacobian(*args, **kwargs), pyad.jacobian(several, argnums)(*args, **kwargs))
            close(p(*args, **kwargs), float(several(*args, **kwargs)))
    stats = p.stats()
    assert (stats["recorded"], stats["rerecorded"], stats["eager"]) == (6, 0, 0)


def test_argnum_is_an_alias() -> None:
    assert pyad.compile(lambda x, y: x * y, argnum=1).grad(2.0, 3.0) == 2.0


@pytest.mark.parametrize("result", [3.0, np.arange(3.0)])
def test_derivatives_of_what_depends_on_nothing(result: Any) -> None:
    p = pyad.compile(lambda x: result)
    x = np.ones(2)
    close(p.sparse_jacobian(x), pyad.SparseJacobian(p.f)(x))
    close(p.jacobian(x), pyad.jacobian(p.f)(x))
    close(p.jacobian(np.ones(0)), pyad.jacobian(p.f)(np.ones(0)))


def test_keyword_arguments_keep_their_order() -> None:
    p = pyad.compile(lambda x, **names: x * next(iter(names.values())))
    assert [p(1.0, a=2.0, b=3.0), p(1.0, b=3.0, a=2.0), p(1.0, a=5.0, b=3.0)] == [2.0, 3.0, 5.0]


def test_columns_where_there_are_few_arguments() -> None:
    def f(data: Any, x: Any, y: Any, *, power: float) -> Any:
        return [data * x**power, data * y + x]

    p = pyad.compile(f, argnums=(2, 1))
    for x in (1.5, 2.5):
        args = np.arange(4.0), x, [0.5]

        def g(data: Any, x: Any, y: Any, *, power: float) -> Any:
            return f(data, x, y[0], power=power)

        q = pyad.compile(g, argnums=(2, 1))
        expected = pyad.jacobian(g, (2, 1))(*args, power=x)
        close(q.jacobian(*args, power=x), expected)
        close(
            p.jacobian(*args[:2], 0.5, power=x), pyad.jacobian(f, (2, 1))(*args[:2], 0.5, power=x)
        )
    assert recorded(p) == 2


def test_decorator_with_and_without_arguments() -> None:
    @pyad.compile
    def f(x: Any) -> Any:
        """Say what f is."""
        return x * x

    @pyad.compile(argnums=1, has_aux=True)
    def g(x: Any, y: Any) -> Any:
        return x * y, {"sum": x + y, "kind": "text"}

    assert (f.__name__, f.__doc__, f(3.0), f.grad(3.0)) == ("f", "Say what f is.", 9.0, 6.0)
    assert g(2.0, 3.0) == (6.0, {"sum": 5.0, "kind": "text"})
    assert g.grad(2.0, 3.0) == (2.0, {"sum": 5.0, "kind": "text"})
    assert g.value_and_grad(4.0, 3.0) == ((12.0, {"sum": 7.0, "kind": "text"}), 4.0)
    assert (g.jacobian(4.0, 3.0), g.hessian(4.0, 3.0), g.hvp(4.0, 3.0, 1.0)) == (4.0, 0.0, 0.0)
    assert g.stats()["eager"] == 0


Point = collections.namedtuple("Point", "x y")


@pytest.mark.parametrize(
    "x",
    [
        2.0,
        np.float64(2.0),
        np.float32(2.0),
        3,
        True,
        np.int64(4),
        np.array(2.0),
        np.array([1.0, 2.0], np.float32),
        np.array([1, 2]),
        np.array([True, False]),
        np.arange(6.0).reshape(2, 3).T,
        np.arange(6.0)[::-2],
        np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        np.empty(0),
        np.empty((0, 3)),
        np.array([1.0, 2], dtype=object),
        [1.0, 2.0],
        (1.0, [2, 3.0]),
        {"a": 1.0, "b": {"c": np.ones(2), 1: (2.0,)}},
        Point(1.0, np.array([2.0, 3.0])),
        [],
    ],
    ids=repr,
)
def test_kinds_of_arguments(x: Any) -> None:
    def total(x: Any) -> Any:
        if isinstance(x, dict):
            return total(list(x.values()))
        if isinstance(x, (list, tuple)):
            return sum((total(item) for item in x), 0.0)
        return np.sum(x * x) if np.ndim(x) else x * x

    p = pyad.compile(total)
    for _ in range(2):
        close(p.value_and_grad(x), pyad.value_and_grad(total)(x))
        close(p.hessian(x), pyad.hessian(total)(x))
        assert p(x) == pytest.approx(float(total(x)))
    assert (recorded(p), p.stats()["eager"]) == (2, 0)


def test_what_is_no_number_raises_as_in_the_transforms() -> None:
    p = pyad.compile(lambda x: 1.0 if x is None else x * 2.0)
    assert p(None) == 1.0
    for x in (None, "text", 1j, object()):
        with pytest.raises(TypeError) as expected:
            pyad.grad(lambda x: 1.0)(x)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with pytest.raises(TypeError) as got:
                p.grad(x)
        assert str(got.value) == str(expected.value)
    with pytest.raises(TypeError, match="argnums names argument 1"):
        pyad.compile(lambda x: x, argnums=1).grad(2.0)
    with pytest.raises(TypeError, match="one number"):
        pyad.compile(lambda x: x).grad(np.ones(2))
    with pytest.raises(TypeError, match="hessian expects a function that returns one number"):
        pyad.compile(lambda x: x).hessian(np.ones(2))
    with pytest.raises(TypeError, match="pair"):
        pyad.compile(lambda x: x, has_aux=True).grad(2.0)
    with pytest.raises(TypeError, match="the vector comes last"):
        p.hvp(2.0)
    with pytest.raises(ValueError, match="shape"):
        pyad.compile(np.sum).hvp(np.ones(2), np.ones(3))
    with pytest.raises(ValueError, match="shape"):
        p.jvp((np.ones(2),), (np.ones(3),))


def test_arguments_are_not_changed_and_results_are_new() -> None:
    def f(x: Any) -> Any:
        x[0] = x[0] * 2.0
        return x

    p, x = pyad.compile(f), np.array([1.0, 2.0])
    x.flags.writeable = False
    first, second = p(x), p(x)
    close(first, np.array([2.0, 2.0]))
    first[:] = 0.0
    close(second, np.array([2.0, 2.0]))
    close(p(x), second)


def test_data_are_inputs() -> None:
    def loss(w: Any, data: Any, targets: Any, rate: float) -> Any:
        return np.mean((data @ w - targets) ** 2) * rate

    p, rng = pyad.compile(loss), np.random.default_rng(3)
    for _ in range(5):
        args = rng.normal(size=3), rng.normal(size=(7, 3)), rng.normal(size=7), rng.normal()
        close(p.value_and_grad(*args), pyad.value_and_grad(loss)(*args))
    assert recorded(p) == 1


def test_data_that_must_be_plain_floats_belong_to_the_layout() -> None:
    def f(x: Any, grid: Any, t: float) -> Any:
        k = int(np.frombuffer(grid.tobytes())[0])
        return x * math.sqrt(t) * [1.0, 2.0, 3.0][k]

    p = pyad.compile(f)
    for x, grid, t in [(1.0, [1.0], 4.0), (2.0, [1.0], 4.0), (2.0, [2.0], 9.0), (1.0, [1.0], 4.0)]:
        args = x, np.array(grid), t
        close(p.value_and_grad(*args), pyad.value_and_grad(f)(*args))
    assert (recorded(p), p.stats()["eager"]) == (2, 0)


def test_flags_and_whole_numbers_belong_to_the_layout() -> None:
    def f(x: Any, n: int, how: Any, index: Any, z: complex = 0j) -> Any:
        y = x[index] * (2.0 if how is None or how == "up" else -1.0)
        return np.sum(sum((y * i for i in range(n)), 0.0)) * math.copysign(1.0, z.imag)

    p, x = pyad.compile(f), np.arange(1.0, 5.0)
    calls = [
        (2, None, np.array([0, 1])), (3, None, np.array([0, 1])), (3, "up", np.array([0, 1])),
        (3, "down", np.array([0, 1])), (3, "down", np.array([2, 1])), (True, "down", [0, 1]),
        (1, "down", [0, 1]), (2, 1.5, slice(0, 2)), (2, 2.5, slice(1, 3)), (2, "", slice(None)),
        (2, "", 1, 0j), (2, "", 1, -0j), (2, "", 1, complex(0.0, -0.0)),
    ]  # fmt: skip
    for call in calls * 2:
        close(p.value_and_grad(x, *call), pyad.value_and_grad(f)(x, *call))
    assert recorded(p) == 13


def test_functions_as_arguments() -> None:
    factor = 2.0

    def g(t: Any) -> Any:
        return t * factor

    def f(x: Any, how: Any) -> Any:
        return how(x) * x

    p = pyad.compile(f)
    for how in (pyad.sin, np.tanh, g, g):
        close(p.grad(0.5, how), pyad.grad(f)(0.5, how))
    assert recorded(p) == 3
    factor = 5.0
    close(p.grad(0.5, g), 5.0)


def test_results_of_all_kinds() -> None:
    def f(x: Any) -> Any:
        return {
            "array": x * 2,
            "none": None,
            "text": "a",
            "count": len(x),
            "tuple": (x[0], [x.sum()]),
            "point": Point(x[1], 1.0),
            "objects": np.array([x[0], x[1]]),
            "whole": np.arange(2),
            "flag": bool(x[0] > 0),
        }

    p = pyad.compile(f)
    for x in (np.array([1.0, 2.0]), np.array([-1.0, 3.0]), np.array([2.0, 3.0])):
        got, expected = p(x), f(x)
        assert list(got) == list(expected)
        close(got["array"], expected["array"])
        close(got["objects"], expected["objects"])
        close(got["tuple"], (float(x[0]), [float(x.sum())]))
        assert (got["none"], got["text"], got["count"]) == (None, "a", 2)
        assert got["flag"] is expected["flag"]
        assert got["point"] == expected["point"]
        assert type(got["point"]) is Point
        close(got["whole"], expected["whole"])
    assert recorded(p) == 2


def test_whole_numbers_among_results() -> None:
    def f(x: Any) -> Any:
        return [int(x), x * 2]

    p = pyad.compile(f)
    close(p(2.5), [2, 5.0])
    close(p.jacobian(2.5), pyad.jacobian(f)(2.5))
    close(p.jvp((2.5,), (1.0,)), pyad.jvp(f, (2.5,), (1.0,)))
    close(p.vjp(2.5)[1]([1.0, 1.0]), pyad.vjp(f, 2.5)[1]([1.0, 1.0]))


# ---- surroundings ------------------------------------------------------------------------------


def with_global(x: Any) -> Any:
    return x * SCALE


def with_arrays(x: Any) -> Any:
    return x * WEIGHTS[0] ** SETTINGS["power"] * SETTINGS["list"][1]  # type: ignore[index]


def test_changed_globals(monkeypatch: pytest.MonkeyPatch) -> None:
    p, q = pyad.compile(with_global), pyad.compile(with_arrays)
    for _ in range(2):
        assert (p(3.0), q(3.0)) == (6.0, 6.0)
    monkeypatch.setitem(globals(), "SCALE", 5.0)
    assert (p(3.0), p.grad(3.0), p.value_and_grad(3.0)) == (15.0, 5.0, (15.0, 5.0))
    monkeypatch.setitem(globals(), "WEIGHTS", np.array([2.0]))
    assert q(3.0) == 24.0
    WEIGHTS[0] = 3.0
    assert q(3.0) == 54.0
    monkeypatch.setitem(SETTINGS, "power", 1.0)
    assert q(3.0) == 18.0
    SETTINGS["list"][1] = 10.0  # type: ignore[index]
    assert q(3.0) == 90.0
    before = recorded(q)
    monkeypatch.setitem(SETTINGS, "power", 1.0)
    assert q(4.0) == 120.0
    assert recorded(q) == before


@pytest.fixture(autouse=True)
def _restored() -> Any:
    yield
    WEIGHTS[0] = 1.0
    SETTINGS["list"] = [1.0, 2.0]


def negated(t: Any) -> Any:
    return -t


def test_changed_closures_and_defaults() -> None:
    a, items, inner = 2.0, [1.0, [2.0]], {"k": np.ones(2)}

    def helper(t: Any) -> Any:
        return t * items[1][0]  # type: ignore[index]

    def f(x: Any, b: float = 3.0) -> Any:
        return helper(x) * a * b * inner["k"][0]

    p = pyad.compile(f)
    assert p(1.0) == 12.0
    a = 3.0
    assert p(1.0) == 18.0
    items[1][0] = 1.0  # type: ignore[index]
    assert p(1.0) == 9.0
    inner["k"][0] = 2.0
    assert p(1.0) == 18.0
    f.__defaults__ = (1.0,)
    assert p(1.0) == 6.0

    helper = negated  # noqa: F811
    assert p(1.0) == -6.0
    assert recorded(p) == 6


class Settings:
    def __init__(self) -> None:
        self.rate = 2.0
        self.table = [np.array([1.0, 2.0])]


def test_changed_attributes() -> None:
    settings = Settings()
    p = pyad.compile(lambda x: x * settings.rate + settings.table[0][1])
    assert p(1.0) == 4.0
    settings.rate = 3.0
    assert p(1.0) == 5.0
    settings.table[0][1] = 0.0
    assert p(1.0) == 3.0
    q = pyad.compile(functools.partial(lambda x, k: x * k[0], k=(list_ := [2.0])))
    assert q(1.0) == 2.0
    list_[0] = 3.0
    assert q(1.0) == 3.0


def test_changed_attributes_and_defaults_of_functions() -> None:
    def f(x: Any, *, k: float = 2.0) -> Any:
        return x * k * f.scale  # type: ignore[attr-defined]

    f.scale = 1.0  # type: ignore[attr-defined]
    p = pyad.compile(f)
    assert p(1.0) == 2.0
    f.__kwdefaults__ = {"k": 3.0}
    assert p(1.0) == 3.0
    f.scale = 2.0  # type: ignore[attr-defined]
    assert p(1.0) == 6.0


class Table:
    @functools.cached_property
    def cached(self) -> float:
        return float(WEIGHTS[0])

    def __getitem__(self, i: int) -> float:
        return float(WEIGHTS[i])

    def __rmul__(self, x: Any) -> Any:
        return x * float(WEIGHTS[1])


@pytest.mark.parametrize(
    "f", [lambda x, t: x * t[0] * t[1], lambda x, t: x * t * t[0], lambda x, t: x * t.cached * 2]
)
def test_changes_that_special_methods_see(f: Callable[..., Any]) -> None:
    table = Table()
    p = pyad.compile(lambda x: f(x, table))
    assert p(1.0) == p(1.0) == 2.0
    WEIGHTS[0] = 5.0
    vars(table).clear()
    assert p(1.0) == 10.0


class Scaled:
    def __init__(self, k: float) -> None:
        self.k = k

    def __call__(self, x: Any) -> Any:
        return x * self.k


def test_a_changed_object_that_is_called() -> None:
    scaled = Scaled(2.0)
    p = pyad.compile(scaled)
    assert p(1.0) == 2.0
    scaled.k = 3.0
    assert (p(1.0), p.grad(1.0)) == (3.0, 3.0)


class Slots:
    __slots__ = ("__hidden", "k")

    def __init__(self, k: float) -> None:
        self.k, self.__hidden = k, k

    @property
    def hidden(self) -> float:
        return self.__hidden

    def hide(self, value: float) -> None:
        self.__hidden = value


def _put(holder: Any, key: Any, value: Any) -> None:
    holder[key] = value


CONTAINERS: dict[str, tuple[Any, Callable[[Any], Any], Callable[[Any], Any]]] = {
    "deque": (collections.deque([2.0]), lambda c: c[0], lambda c: _put(c, 0, 3.0)),
    "bytearray": (bytearray(b"\x02"), lambda c: c[0], lambda c: _put(c, 0, 3)),
    "array": (array.array("d", [2.0]), lambda c: c[0], lambda c: _put(c, 0, 3.0)),
    "Counter": (collections.Counter(a=2), lambda c: c["a"], lambda c: c.update("a")),
    "UserDict": (collections.UserDict(a=2.0), lambda c: c["a"], lambda c: _put(c, "a", 3.0)),
    "ChainMap": (collections.ChainMap({"a": 2.0}), lambda c: c["a"], lambda c: _put(c, "a", 3.0)),
    "UserList": (collections.UserList([2.0]), lambda c: c[0], lambda c: _put(c, 0, 3.0)),
    "Namespace": (argparse.Namespace(a=2.0), lambda c: c.a, lambda c: setattr(c, "a", 3.0)),
    "slots": (Slots(2.0), lambda c: c.k, lambda c: setattr(c, "k", 3.0)),
    "hidden": (Slots(2.0), lambda c: c.hidden, lambda c: c.hide(3.0)),
    "mappingproxy": (
        types.MappingProxyType(SHARED := {"a": 2.0}),
        lambda c: c["a"],
        lambda c: _put(SHARED, "a", 3.0),
    ),
    "Polynomial": (
        np.polynomial.Polynomial([2.0]),
        lambda c: c.coef[0],
        lambda c: _put(c.coef, 0, 3.0),
    ),
    "sparse": (
        scipy.sparse.csr_array(np.eye(1) * 2),
        lambda c: (c @ np.ones(1))[0],
        lambda c: _put(c.data, 0, 3.0),
    ),
}


@pytest.mark.parametrize("name", CONTAINERS)
def test_changed_containers(name: str) -> None:
    holder, read, change = CONTAINERS[name]
    holder = copy.copy(holder) if name != "mappingproxy" else holder
    p = pyad.compile(lambda x: x * read(holder))
    assert (p(2.0), p(3.0)) == (4.0, 6.0)
    assert recorded(p) == 1
    change(holder)
    assert (p(2.0), p.grad(2.0)) == (6.0, 3.0)


def test_a_global_by_its_name_in_a_string(monkeypatch: pytest.MonkeyPatch) -> None:
    p = pyad.compile(lambda x: x * globals()["SCALE"])
    assert p(1.0) == 2.0
    monkeypatch.setitem(globals(), "SCALE", 5.0)
    assert p(1.0) == 5.0


GENERATOR, OLD = np.random.default_rng(0), np.random.RandomState(0)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize(
    "draw",
    [
        lambda: GENERATOR.normal(),
        lambda: OLD.normal(),
        lambda: np.random.normal(),
        lambda: random.random(),
        lambda: random.Random.gauss(RANDOM, 0, 1),
        lambda: bound_draw(),
        lambda: uniform(0, 1),
    ],
)
def test_random_numbers_are_drawn_at_every_call(draw: Callable[[], float]) -> None:
    p = pyad.compile(lambda x: x * draw())
    assert len({p(1.0) for _ in range(5)} | {p.grad(1.0) for _ in range(5)}) == 10


RANDOM = random.Random(1)
bound_draw, uniform = GENERATOR.normal, random.uniform


def test_random_numbers_are_named() -> None:
    p = pyad.compile(lambda x: x * RANDOM.random())
    with pytest.warns(RuntimeWarning, match="generator of random numbers"):  # noqa: PT031
        for _ in range(12):
            p(1.0)


def test_more_around_than_can_be_watched() -> None:
    objects = [[float(i)] for i in range(30_000)]
    p = pyad.compile(lambda x: x * objects[-1][0])
    with pytest.warns(RuntimeWarning, match="than can be watched"):
        assert p.grad(1.0) == 29_999.0
    objects[-1][0] = 1.0
    assert p.grad(1.0) == 1.0


def test_a_surrounding_that_always_changes_is_named() -> None:
    count = 0

    def f(x: Any) -> Any:
        nonlocal count
        count += 1
        return x * count

    p = pyad.compile(f)
    with pytest.warns(RuntimeWarning, match="closure changes between calls") as found:  # noqa: PT031
        for k in range(1, 20):
            assert p.grad(2.0) == k
    assert len(found) == 1


def test_variables_from_outside_keep_their_derivatives() -> None:
    w = pyad.var(3.0)
    p = pyad.compile(lambda x: x * x * w)
    with pytest.warns(RuntimeWarning, match="variables from outside"):
        y = p(2.0)
    assert isinstance(y, pyad.Var)
    y.backward()
    assert w.grad == 4.0
    w.zero_grad()
    p.grad(2.0).backward()
    assert w.grad == 4.0
    made = pyad.var(2.0) * 3
    q = pyad.compile(lambda x: x * made)
    with pytest.warns(RuntimeWarning, match="outside"):
        assert q(2.0).value == 12.0
    r = pyad.compile(lambda x: made)
    with pytest.warns(RuntimeWarning, match="outside"):
        assert r(2.0) is made
    pyad.current_tape().clear()


def test_values_of_variables_around_are_watched() -> None:
    w = pyad.var(3.0)
    p = pyad.compile(lambda x: x * w)
    with pyad.no_grad():
        assert (p(2.0), p.grad(2.0)) == (6.0, 3.0)
        w.value = 4.0
        assert (p(2.0), p.grad(2.0)) == (8.0, 4.0)
    with pytest.warns(RuntimeWarning, match="outside"):
        assert isinstance(p.grad(2.0), pyad.Var)
    pyad.current_tape().clear()


# ---- reads and other ways out --------------------------------------------------------------------


def test_reads_are_right_and_said_once() -> None:
    seen: list[float] = []

    def f(x: Any) -> Any:
        seen.append(x.value)
        return x * seen[-1]

    p = pyad.compile(f)
    with pytest.warns(  # noqa: PT031
        RuntimeWarning, match=r"f is recorded at every call.*test_compiled\.py:\d+"
    ) as w:
        for x in range(1, 9):
            assert p.value_and_grad(float(x)) == (float(x * x), float(x))
            assert p(float(x)) == x * x
    assert len(w) == 1
    assert w[0].filename == __file__
    assert len(seen) == 16


def test_points_with_nan_do_not_end_the_recording() -> None:
    p = pyad.compile(lambda x: (np.where(x > 0, x * x, np.sin(x)) * x[::-1]).sum())
    with pytest.warns(RuntimeWarning, match="recorded at every call"):  # noqa: PT031
        for _ in range(5):
            p.hessian(np.array([math.nan, 1.0]))
    for k in range(60):
        x = np.array([1.0, 2.0 + k])
        close(p.hessian(x), pyad.hessian(p.f)(x))
    assert p.stats()["hits"] > 40


def test_a_read_on_one_way_only() -> None:
    def f(x: Any) -> Any:
        return x * 2 if x > 0 else x * x.value

    p = pyad.compile(f)
    with pytest.warns(RuntimeWarning, match="taken out"):  # noqa: PT031
        for x in (1.0, -1.0, 2.0, -2.0, 3.0, -3.0, -4.0, -5.0, 4.0):
            close(p.value_and_grad(x), pyad.value_and_grad(f)(x))
    assert p.stats()["recordings"] == 1
    before = p.stats()["hits"]
    assert p(5.0) == 10.0
    assert p.stats()["hits"] == before + 1


@pytest.mark.parametrize(
    ("f", "why"),
    [
        (lambda x: pyad.from_partials(x.value**2, [x], [2 * x.value]), "from_partials"),
        (lambda x: round(x, 2) * x, "from_partials"),
        (lambda x: Settings() and x * float(f"{x:.3f}"), "taken out"),
    ],
)
def test_what_cannot_be_replayed(f: Callable[..., Any], why: str) -> None:
    p = pyad.compile(f)
    with pytest.warns(RuntimeWarning, match=why):  # noqa: PT031
        for x in (1.25, 2.5, 3.5, 4.5, 5.5):
            close(p.value_and_grad(x), pyad.value_and_grad(f)(x))
            close(p(x), f(pyad.var(x)).value)
    pyad.current_tape().clear()
    assert p.stats()["recordings"] == 0


def test_objects_without_a_state_to_follow() -> None:
    class Model:
        def __init__(self, k: float) -> None:
            self.k = k

    def f(x: Any, model: Any) -> Any:
        return x * model.k

    p, model = pyad.compile(f), Model(2.0)
    with pytest.warns(RuntimeWarning, match="cannot be followed"):
        assert p.grad(1.0, model) == 2.0
    model.k = 3.0
    assert (p.grad(1.0, model), p(2.0, model)) == (3.0, 6.0)
    numbers = iter([1.0, 2.0])
    with pytest.warns(RuntimeWarning, match="cannot be followed"):
        assert pyad.compile(lambda x, it: x * next(it)).grad(1.0, numbers) == 1.0
    assert next(numbers) == 2.0


@pytest.mark.filterwarnings("ignore:.*recorded at every call")
def test_objects_as_results() -> None:
    class Box:
        def __init__(self, x: Any) -> None:
            self.x = x

    assert pyad.compile(Box)(2.0).x == 2.0
    assert list(pyad.compile(lambda x: (x * k for k in range(3)))(2.0)) == [0.0, 2.0, 4.0]


def test_generators_and_async_functions_are_refused() -> None:
    def steps(x: Any) -> Any:
        yield x

    async def later(x: Any) -> Any:
        await asyncio.sleep(0)

    async def both(x: Any) -> Any:
        yield x

    for f in (steps, later, both, functools.partial(later)):
        with pytest.raises(TypeError, match="before it has computed anything"):
            pyad.compile(f)
    with pytest.raises(TypeError, match="expects a function"):
        pyad.compile(2.0)
    with pytest.raises(TypeError, match="argnums"):
        pyad.compile(steps, argnums="x")


def test_exceptions_leave_nothing() -> None:
    def f(x: Any) -> Any:
        y = x * 2
        if y > 4:
            raise KeyError("too large")
        return y

    p = pyad.compile(f)
    for _ in range(2):
        with pytest.raises(KeyError, match="too large"):
            p.grad(3.0)
        assert len(pyad.current_tape()) == 0
    assert p.stats()["recordings"] == 0
    assert p.grad(1.0) == 2.0
    with pytest.raises(KeyError, match="too large"):
        p(3.0)
    assert p.stats()["recordings"] == 1


# ---- nesting -------------------------------------------------------------------------------------


def test_within_transforms() -> None:
    p = pyad.compile(lambda x: x**3)
    assert pyad.grad(p)(2.0) == 12.0
    assert pyad.grad(p.grad)(2.0) == 12.0
    assert pyad.grad(lambda x: p.grad(x) * x)(2.0) == 36.0
    assert pyad.hessian(lambda x: p(x) * p(2.0))(1.0) == 48.0
    assert pyad.grad(lambda x: p.value_and_grad(x)[1])(2.0) == 12.0
    assert pyad.jvp(p, (2.0,), (1.0,)) == (8.0, 12.0)
    assert pyad.grad(lambda x: p.hvp(x, 1.0))(2.0) == 6.0
    assert pyad.grad(lambda x: p.hvp(2.0, x))(2.0) == 12.0
    assert pyad.grad(lambda x: p.jvp((x,), (x,))[1])(2.0) == 36.0
    assert pyad.grad(lambda x: p.vjp(x)[1](x)[0])(2.0) == 36.0
    assert pyad.grad(lambda x: pyad.compile(lambda t: t * x).grad(1.0))(2.0) == 1.0
    x = pyad.var(2.0)
    p(x).backward()
    assert x.grad == 12.0


def test_within_compiled_functions() -> None:
    @pyad.compile
    def inner(x: Any) -> Any:
        return x * x if x > 1 else x

    @pyad.compile
    def outer(x: Any) -> Any:
        return inner(x) * inner.grad(x) + inner(3.0)

    for x in (2.0, 0.5, 3.0, 0.25):
        value = (x**2 if x > 1 else x) * (2 * x if x > 1 else 1.0) + 9.0
        close(outer(x), value)
        close(outer.grad(x), 6 * x * x if x > 1 else 1.0)
    assert outer.stats()["recorded"] == 2

    @pyad.compile
    def factorial(x: Any) -> Any:
        return x * factorial(x - 1) if x > 1 else x

    close(factorial.grad(2.5), pyad.grad(lambda x: x * (x - 1) * (x - 2))(2.5))
    assert factorial(4.5) == pytest.approx(4.5 * 3.5 * 2.5 * 1.5 * 0.5)


def test_under_detect_anomaly() -> None:
    p = pyad.compile(lambda x: pyad.log(x))
    assert p(0.0) == -math.inf
    with pyad.detect_anomaly(), pytest.raises(RuntimeError, match="log gives -inf"):
        p(0.0)
    with pyad.detect_anomaly(), pytest.raises(RuntimeError, match="log"):
        p.grad(0.0)


# ---- methods, copies, threads -----------------------------------------------------------------


class Model:
    def __init__(self, k: float) -> None:
        self.k, self.data = k, np.array([1.0, 2.0])

    factor = 1.0

    @pyad.compile
    def loss(self, x: Any) -> Any:
        """Compute the loss."""
        return self.factor * self.k * np.sum((x - self.data) ** 2)

    @pyad.compile(argnums=1)
    def second(self, x: Any, y: Any) -> Any:
        return self.scaled(x) * y

    def scaled(self, x: Any) -> Any:
        return x * self.k + self.offset

    offset = 0.0

    def __eq__(self, other: object) -> bool:  # which makes it unhashable
        return isinstance(other, Model)

    __hash__ = None  # type: ignore[assignment]


def test_methods(monkeypatch: pytest.MonkeyPatch) -> None:
    a, b, x = Model(1.0), Model(2.0), np.array([2.0, 2.0])
    for _ in range(3):
        assert (a.loss(x), b.loss(x)) == (1.0, 2.0)
    close(b.loss.grad(x), np.array([4.0, 0.0]))
    close(b.loss.value_and_grad(x), (2.0, np.array([4.0, 0.0])))
    assert (a.loss.stats()["recorded"], b.loss.stats()["hits"]) == (1, 4)
    b.k = 3.0
    assert b.loss(x) == 3.0
    b.data[0] = 2.0
    assert b.loss(x) == 0.0
    assert a.second.grad(2.0, 3.0) == 2.0
    assert (a.loss.__name__, Model.loss.__doc__) == ("loss", "Compute the loss.")
    monkeypatch.setattr(Model, "factor", 10.0)
    assert a.loss(x) == 10.0
    monkeypatch.setattr(Model, "offset", 4.0)
    assert a.second.grad(2.0, 3.0) == 6.0
    monkeypatch.setattr(Model, "scaled", lambda self, x: x * 7.0)
    assert a.second.grad(2.0, 3.0) == 14.0


def test_objects_are_not_kept_alive() -> None:
    a = Model(1.0)
    a.loss(np.ones(2))
    a.loss.grad(np.ones(2))
    gone = weakref.ref(a)
    del a
    gc.collect()
    assert gone() is None


@pyad.compile(argnums=1)
def compiled_at_module_level(x: Any, y: Any) -> Any:
    return x * y * y


def test_pickle_and_copy() -> None:
    assert pickle.loads(pickle.dumps(compiled_at_module_level)) is compiled_at_module_level
    assert copy.copy(compiled_at_module_level).grad(2.0, 3.0) == 12.0
    p = pyad.compile(with_global, has_aux=False)
    p(2.0)
    for q in (pickle.loads(pickle.dumps(p)), copy.copy(p), copy.deepcopy(p)):
        assert q is not p
        assert (q.stats()["recorded"], q(2.0), q.f) == (0, 4.0, with_global)
    bound = pickle.loads(pickle.dumps(Model(4.0).loss))
    assert bound(np.array([2.0, 2.0])) == 4.0
    with pytest.raises((pickle.PicklingError, AttributeError)):
        pickle.dumps(pyad.compile(lambda x: x))


def test_many_threads() -> None:
    def f(x: Any) -> Any:
        total = 0.0
        for item in x:
            total = total + (item**2 if item > 0 else pyad.sin(item))
        return total * x[0]

    p, wrong, start = pyad.compile(f), [], threading.Barrier(6)

    def work(seed: int) -> None:
        rng = np.random.default_rng(seed)
        start.wait()
        for _ in range(150):
            x = rng.normal(size=3)
            expected = pyad.value_and_grad(f)(x)
            got = p.value_and_grad(x)
            same = got[0] == pytest.approx(expected[0], rel=1e-14)
            if not same or not np.allclose(got[1], expected[1], rtol=1e-13):
                wrong.append((x, got, expected))

    threads = [threading.Thread(target=work, args=(i,)) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    stats = p.stats()
    assert stats["recordings"] == 8
    assert stats["hits"] + stats["recorded"] == 900, stats


def test_no_lock_is_held_while_recording() -> None:
    def f(x: Any) -> Any:
        helper = threading.Thread(target=lambda: done.append(p(-1.0)))
        if x > 0:
            helper.start()
            helper.join(timeout=5)
        return x * 2

    done: list[float] = []
    p = pyad.compile(f)
    assert p(1.0) == 2.0
    assert done == [-2.0]


# ---- bounds and figures -----------------------------------------------------------------------


def test_recordings_are_bounded() -> None:
    def f(x: Any) -> Any:
        return x * int(x)

    p = pyad.compile(f)
    with pytest.warns(RuntimeWarning, match="another way at nearly every call"):  # noqa: PT031
        for k in range(300):
            assert p.grad(k + 0.5) == k
    stats = p.stats()
    assert stats["recordings"] == 64
    assert stats["recorded"] < 200
    assert stats["eager"] > 100
    before = stats["hits"]
    assert p.grad(190.5) == 190.0
    assert p.stats()["hits"] >= before

    q = pyad.compile(lambda x, n: x * n)
    for n in range(400):
        assert q.grad(1.0, n) == n
    assert q.stats()["recordings"] == 256
    assert q.stats()["forgotten"] == 144


def test_stats_and_clear() -> None:
    p = pyad.compile(lambda x: pyad.sin(x[0]) * x[1] if x[0] > 0 else x[1])
    p(np.ones(2)), p.grad(-np.ones(2)), p(np.ones(2)), p.hessian(np.ones(2))
    stats = p.stats()
    keys = ("recordings", "hits", "recorded", "rerecorded", "forgotten", "eager")
    assert [stats[key] for key in keys] == [3, 1, 3, 1, 0, 0]
    assert [q["of"] for q in stats["programs"]] == ["value", "value", "gradient"]
    first = stats["programs"][0]
    assert (first["live"], first["guards"], first["hits"]) == (2, 1, 1)
    assert {"nodes", "shared", "steps", "groups", "blocks", "bytes"} <= first.keys()
    assert repr(p).endswith(": 3 recordings>")
    p.clear()
    stats = p.stats()
    assert [stats[key] for key in keys] == [0, 1, 3, 0, 3, 0]
    assert p(np.ones(2)) == pytest.approx(math.sin(1.0))


def test_memory_is_constant() -> None:
    import tracemalloc

    p, x = pyad.compile(rosenbrock), np.linspace(0.0, 1.0, 20)

    def calls() -> None:
        for _ in range(50):
            p(x), p.grad(x), p.hvp(x, x), p.hessian(x), p.jacobian(x), p.vjp(x)[1](1.0)

    calls()
    gc.collect()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    calls()
    gc.collect()
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert grown < 20_000


def test_the_quick_way_looks_at_everything() -> None:
    """Calls with floats and arrays of known shapes, which skip most of the work."""
    k = 2.0

    def f(x: Any, t: Any) -> Any:
        return (x[0] * x[1] if x[0] > t else x[1] * 3.0) * k

    p = pyad.compile(f, argnums=(1, 0))
    rng = np.random.default_rng(5)
    for i in range(60):
        k = float(i // 20)
        x, t = rng.normal(size=(2, 2))[:, ::-1][i % 2], rng.normal()
        x = np.asfortranarray(x) if i % 3 else x[::-1]
        close(p.value_and_grad(x, t), pyad.value_and_grad(f, (1, 0))(x, t))
        assert p(x, t) == f(x, t)
        close(p.grad(x.tolist(), t), pyad.grad(f, (1, 0))(x.tolist(), t))
    q = pyad.compile(lambda x: x * x)
    assert [q.value_and_grad(x) for x in (2.0, 3.0)] == [(4.0, 4.0), (9.0, 6.0)]
    close(q(np.ones((2, 2))), np.ones((2, 2)))
    close(q(np.full((2, 2), 3.0)), np.full((2, 2), 9.0))
    close(q(np.array(2.0)), 4.0)
    close(q(np.array(3.0)), 9.0)
    close(q.value_and_grad(np.array(2.0)), pyad.value_and_grad(lambda x: x * x)(np.array(2.0)))
    close(q.value_and_grad(np.array(3.0)), pyad.value_and_grad(lambda x: x * x)(np.array(3.0)))
    close(q(np.empty(0)), np.empty(0))
    close(q(np.empty(0)), np.empty(0))


def test_large_recordings_are_kept_within_a_bound_of_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    @pyad.compile
    def f(x: Any) -> Any:
        for _ in range(int(x[0])):
            x = x * 1.5 + np.sin(x)
        return np.sum(x)

    points = [np.full(100, float(k)) for k in range(1, 21)]
    expected = [f(x) for x in points]
    assert len(f.stats()["programs"]) == 20
    for bound, fewest, most in ((300_000, 2, 19), (0, 1, 1)):
        f.clear()
        monkeypatch.setattr(_recordings, "MEMORY", bound)
        assert [f(x) for x in points] == expected
        assert fewest <= len(f.stats()["programs"]) <= most
        assert f(points[-1]) == expected[-1]
