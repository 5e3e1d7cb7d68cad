"""Calls that C answers: arguments read, results built, and what is around the function compared."""

from __future__ import annotations

import collections
import copy
import gc
import math
import pickle
import threading
import types
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import pyad


def same(got: Any, expected: Any) -> None:
    """Equal in structure and types, and in numbers to the last few ulps."""
    assert type(got) is type(expected), (got, expected)
    if isinstance(expected, dict):
        assert list(got) == list(expected)
        same(list(got.values()), list(expected.values()))
    elif isinstance(expected, (list, tuple)):
        assert len(got) == len(expected)
        for x, y in zip(got, expected, strict=True):
            same(x, y)
    elif isinstance(expected, np.ndarray):
        assert got.shape == expected.shape
        assert got.dtype == expected.dtype
        np.testing.assert_allclose(got, expected, rtol=1e-14)
    else:
        assert got == pytest.approx(expected, rel=1e-14, nan_ok=True)


def numbers_in(x: Any) -> list[Any]:
    if isinstance(x, dict):
        x = list(x.values())
    if isinstance(x, (list, tuple)):
        return [number for item in x for number in numbers_in(item)]
    return list(x.ravel()) if hasattr(x, "ravel") else [x]


def squares(x: Any) -> Any:
    return sum((k + 1.0) * v * v for k, v in enumerate(numbers_in(x)))


def quick(p: Any) -> Any:
    """The same function, unable to answer where C does not."""

    def fail(*args: Any, **kwargs: Any) -> Any:
        raise AssertionError("this call was not answered in C")

    p._slowly = p.value_and_grad._slowly = p.grad._slowly = fail
    return p


Named = collections.namedtuple("Named", "a b")

ANSWERED = {
    "float": (1.5, -2.5),
    "numpy.float64": (1.5, np.float64(-2.5)),
    "int": (1.5, -3),
    "bool": (1.5, True),
    "list": ([1.0, 2.0, 3.0], [3.0, -1.0, 0.5]),
    "list, long": ([0.5] * 1000, [k / 7.0 for k in range(1000)]),
    "list, mixed": ([1.0, 2.0, 3.0], [3, np.float64(-1.0), False]),
    "tuple": ((1.0, 2.0), (3.0, -1.0)),
    "nested lists": ([[1.0, 2.0], [3.0]], [[0.5, 0.25], [-3.0]]),
    "dict": ({"a": 1.0, "b": [2.0, (3.0,)]}, {"a": -1.0, "b": [4.0, (7.0,)]}),
    "dict by numbers": ({1: 1.0, 2: 3.0}, {1: -1.0, 2: 5.0}),
    "array": (np.array([1.0, 2.0]), np.array([-1.0, 4.0])),
    "array, strided": (np.arange(3.0), np.arange(6.0)[::-2]),
    "array, two axes": (np.arange(6.0).reshape(2, 3), np.arange(6.0).reshape(3, 2).T),
    "list of arrays": ([np.arange(3.0), 1.0], [np.arange(6.0)[::2], 2.0]),
}


@pytest.mark.parametrize(("first", "second"), ANSWERED.values(), ids=ANSWERED.keys())
def test_answered_in_c(first: Any, second: Any) -> None:
    p = pyad.compile(squares)
    same(p.value_and_grad(first), pyad.value_and_grad(squares)(first))
    p(first)
    quick(p)
    same(p.value_and_grad(second), pyad.value_and_grad(squares)(second))
    same(p.grad(second), pyad.grad(squares)(second))
    assert float(p(second)) == pytest.approx(float(squares(second)), rel=1e-14)
    assert p.stats()["recorded"] == 1


ASIDE = {
    "longer": ([1.0, 2.0], [1.0, 2.0, 3.0]),
    "tuple for a list": ([1.0, 2.0], (1.0, 2.0)),
    "number for a list": ([1.0, [2.0]], [1.0, 2.0]),
    "order of keys": ({"a": 1.0, "b": 2.0}, {"b": 2.0, "a": 1.0}),
    "types of keys": ({1: 1.0, 2: 2.0}, {True: 1.0, 2: 2.0}),
    "a key more": ({"a": 1.0}, {"a": 1.0, "b": 2.0}),
    "named tuple": ((1.0, 2.0), Named(1.0, 2.0)),
    "ordered dict": ({"a": 1.0}, collections.OrderedDict(a=3.0)),
    "whole numbers": (np.array([1.0, 2.0]), np.array([3, 4])),
    "single precision": (np.array([1.0, 2.0]), np.array([3, 4], np.float32)),
    "foreign order of bytes": (np.array([1.0, 2.0]), np.array([3.0, 4.0], ">f8")),
    "numpy.float32": ([1.0, 2.0], [np.float32(3.0), 4.0]),
    "numpy.int64": ([1.0, 2.0], [np.int64(3), 4.0]),
    "shape": (np.ones((2, 3)), np.ones((3, 2))),
}


@pytest.mark.parametrize(("first", "second"), ASIDE.values(), ids=ASIDE.keys())
def test_other_arguments_are_not_taken_for_these(first: Any, second: Any) -> None:
    p = pyad.compile(squares)
    for x in (first, first, second, second, first):
        same(p.value_and_grad(x), pyad.value_and_grad(squares)(x))


def test_too_large_whole_numbers_raise_as_in_the_transforms() -> None:
    p = pyad.compile(squares)
    p.value_and_grad([1.0, 2.0])
    for f in (p.value_and_grad, pyad.value_and_grad(squares)):
        with pytest.raises((OverflowError, pyad.Error)):
            f([1.0, 10**400])


def test_data_and_keywords() -> None:
    def f(x: Any, n: Any, *, shift: Any = 0.0, mode: str = "plain") -> Any:
        y = sum(v * n for v in x) + shift
        return y * y if mode == "square" else y

    p = pyad.compile(f)
    calls: list[tuple[tuple[Any, ...], dict[str, Any]]] = [
        (([1.0, 2.0], 3), {}),
        (([1.0, 2.0], 4), {}),
        (([1.0, 2.0], 4.0), {}),
        (([1.0, 2.0], True), {}),
        (([1.0, 2.0], 3), {"shift": 2.0}),
        (([1.0, 2.0], 3), {"shift": 2}),
        (([1.0, 2.0], 3), {"mode": "square", "shift": 2.0}),
        (([1.0, 2.0], 3), {"shift": 2.5, "mode": "square"}),
        (([1.0, 2.0], 3), {"shift": 2.5, "mode": "plain"}),
    ]
    for _ in range(3):
        for args, kwargs in calls:
            expected = pyad.value_and_grad(f)(*args, **kwargs)
            same(p.value_and_grad(*args, **kwargs), expected)
            assert p(*args, **kwargs) == expected[0]
    p.value_and_grad([1.0, 2.0], 3, shift=1.0, mode="square")
    with pytest.raises(TypeError, match="other"):
        p.value_and_grad([1.0, 2.0], 3, other=1.0)
    with pytest.raises(TypeError, match="argument"):
        p.value_and_grad([1.0, 2.0])
    quick(p)
    mode = "".join(["squ", "are"])  # another object
    same(
        p.value_and_grad([2.0, 2.0], 3, mode=mode, shift=-1.0),
        pyad.value_and_grad(f)([2.0, 2.0], 3, mode=mode, shift=-1.0),
    )


def test_results_in_containers() -> None:
    p = pyad.compile(lambda x: {"sum": x[0] + x[1], "all": [x[0] * x[1], (x[1], "text", 3)]})
    p([1.0, 2.0])
    assert quick(p)([3.0, 4.0]) == {"sum": 7.0, "all": [12.0, (4.0, "text", 3)]}
    q = pyad.compile(lambda x: np.outer(x, x))
    q(np.ones(2))
    found = quick(q)(np.array([1.0, 2.0]))
    again = q(np.array([3.0, 3.0]))
    same(found, np.array([[1.0, 2.0], [2.0, 4.0]]))
    same(again, np.full((2, 2), 9.0))


def test_several_arguments_are_differentiated() -> None:
    def f(a: Any, b: Any, c: Any) -> Any:
        return (a * b).sum() * c + c

    p = pyad.compile(f, argnums=(2, 0))
    x, y = np.array([1.0, 2.0]), np.array([3.0, 4.0])
    p.value_and_grad(x, y, 2.0)
    expected = pyad.value_and_grad(f, argnums=(2, 0))(y, x, -1.5)
    same(quick(p).value_and_grad(y, x, -1.5), expected)


def test_gradients_are_arrays_of_their_own() -> None:
    p = pyad.compile(lambda x, w: (x @ w).sum(), argnums=(0, 1))
    x, w = np.arange(6.0).reshape(2, 3), np.arange(12.0).reshape(3, 4)
    p.value_and_grad(x, w)
    first = p.value_and_grad(x, w)[1]
    kept = [g.copy() for g in first]
    p.value_and_grad(x + 1.0, w * 3.0)
    same(list(first), kept)
    first[0][:] = 7.0
    same(p.value_and_grad(x, w)[1][0], kept[0])


def network(x: Any, w: Any, b: Any, scale: Any) -> Any:
    return (np.tanh(x @ w + b) * scale).sum()


@pytest.mark.parametrize("argnums", [0, 1, (0, 1), (1, 2, 0), (0, 1, 2, 3)], ids=str)
def test_large_products_run_after_run(argnums: Any) -> None:
    generator = np.random.default_rng(2)
    x, w, b = generator.normal(size=(40, 30)), generator.normal(size=(30, 50)), np.ones(50)
    p, eager = pyad.compile(network, argnums), pyad.value_and_grad(network, argnums)
    p.value_and_grad(x, w, b, 2.0)
    quick(p)
    kept: list[Any] = []
    for scale in (1.5, 0.0, -2.0):  # without adjoints nothing is left of the run before
        for a, c in ((x, w), (x[::-1], w), (np.asfortranarray(x), w[:, ::-1]), (x, w)):
            got, expected = p.value_and_grad(a, c, b, scale), eager(a, c, b, scale)
            assert got[0] == pytest.approx(expected[0], rel=1e-12)
            found, known = (g[1] if isinstance(argnums, tuple) else g[1:] for g in (got, expected))
            for g, h in zip(found, known, strict=True):
                np.testing.assert_allclose(g, h, rtol=1e-11, atol=1e-11)
            kept += [(g, np.array(g)) for g in found]
    for g, before in kept:
        np.testing.assert_array_equal(g, before)


@pytest.mark.parametrize("argnums", [0, (0,)], ids=str)
def test_the_only_gradient_is_an_array_of_its_own(argnums: Any) -> None:
    p = pyad.compile(lambda x: np.sum(np.exp(-x * x / 2) * np.sin(x)), argnums)
    points = np.random.default_rng(6).normal(size=(4, 1000))
    found = [p.value_and_grad(x)[1] for x in points]
    for x, slope in zip(points, found, strict=True):
        slope = slope[0] if isinstance(argnums, tuple) else slope
        expected = np.exp(-x * x / 2) * (np.cos(x) - x * np.sin(x))
        np.testing.assert_allclose(slope, expected, rtol=1e-12, atol=1e-15)


def test_a_product_of_one_array_with_itself() -> None:
    x = np.random.default_rng(3).normal(size=(30, 30))
    for f in (lambda a, c: np.tanh(a @ c).sum(), lambda a, c: np.tanh(a @ a.T @ c).sum() + a.sum()):
        p, eager = pyad.compile(f, (0, 1)), pyad.value_and_grad(f, (0, 1))
        for _ in range(3):
            got, expected = p.value_and_grad(x, x), eager(x, x)
            for g, h in zip(got[1], expected[1], strict=True):
                np.testing.assert_allclose(g, h, rtol=1e-10, atol=1e-10)


def test_sweeps_with_other_seeds_after_a_call() -> None:
    def f(x: Any, w: Any) -> Any:
        return np.tanh(x @ w)[:2, :2].sum(axis=0)

    x, w = np.random.default_rng(4).normal(size=(2, 30, 30))
    p = pyad.compile(f, (0, 1))
    p(x, w)
    expected = pyad.jacobian(f, (0, 1))(x, w)
    for _ in range(2):
        p(w, x)
        for g, h in zip(p.jacobian(x, w), expected, strict=True):
            np.testing.assert_allclose(g, h, rtol=1e-10, atol=1e-12)
        pullback = p.vjp(x, w)[1]
        for seed in ([1.0, 0.0], [0.0, 0.0], [0.0, 1.0]):
            for g, h in zip(pullback(np.array(seed)), expected, strict=True):
                np.testing.assert_allclose(g, np.tensordot(seed, h, 1), rtol=1e-10, atol=1e-12)


def test_ways_take_turns() -> None:
    p = pyad.compile(lambda x: x[0] * x[1] if x[0] > 0 else x[1] ** 2)
    for x in ([1.0, 2.0], [-1.0, 2.0]):
        p.value_and_grad(x)
    quick(p)
    for _ in range(3):
        same(p.value_and_grad([3.0, 2.0]), (6.0, [2.0, 3.0]))
        same(p.value_and_grad([-3.0, 2.0]), (4.0, [0.0, 4.0]))
    stats = p.stats()
    assert (stats["recorded"], stats["hits"]) == (2, 6)
    first = stats["programs"][0]["hits"], stats["programs"][1]["hits"]
    p.value_and_grad([3.0, 2.0])  # comes first again, as used last
    again = [program["hits"] for program in p.stats()["programs"]]
    assert again == [first[1] + 1, first[0]]


def test_variables_transforms_and_modes_around_a_call() -> None:
    p = pyad.compile(lambda x: x[0] * x[0] * x[1])
    p.value_and_grad([1.0, 2.0])
    same(pyad.grad(lambda a: p([a, 2.0 * a]))(3.0), 54.0)
    same(pyad.grad(lambda a: p.grad([a, 2.0 * a])[0])(3.0), 24.0)
    x = pyad.var(3.0)
    y = p([x, 2.0])
    y.backward()
    assert x.grad == 12.0
    with pyad.detect_anomaly():
        same(p.value_and_grad([2.0, 3.0]), (12.0, [12.0, 4.0]))
    with pyad.no_grad():
        same(p.value_and_grad([2.0, 3.0]), (12.0, [12.0, 4.0]))


@pyad.compile
def by_name(x: Any) -> Any:
    return x[0] * x[1]


def test_what_is_called_can_be_pickled() -> None:
    for call in (by_name, by_name.grad, by_name.value_and_grad):
        expected = call([2.0, 3.0])
        same(pickle.loads(pickle.dumps(call))([2.0, 3.0]), expected)
        same(copy.copy(call)([2.0, 3.0]), expected)


def test_no_number_is_differentiated() -> None:
    p = pyad.compile(lambda x: 1.0 if x is None else x * 2.0)
    assert p(None) == 1.0
    assert p(None) == 1.0
    with pytest.raises(TypeError):
        p.value_and_grad(None)


def test_threads_share_plans() -> None:
    p = pyad.compile(lambda x, w: np.tanh(x @ w).sum())
    w = np.random.default_rng(1).normal(size=(60, 60))
    p.value_and_grad(w, w)
    failures: list[Any] = []

    def work(seed: int) -> None:
        x = np.random.default_rng(seed).normal(size=(60, 60))
        expected = pyad.value_and_grad(p.f)(x, w)
        for _ in range(30):
            try:
                same(p.value_and_grad(x, w), expected)
            except AssertionError as failed:
                failures.append(failed)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert p.stats()["hits"] == 120


def test_plans_are_forgotten_with_their_recordings() -> None:
    p = pyad.compile(lambda x: x[0] * 2.0)
    p([1.0])
    program = weakref.ref(p._state.calls.plans[0].program)
    p.clear()
    gc.collect()
    assert program() is None
    assert p([1.0]) == 2.0
    assert p.stats()["recorded"] == 2


# ---- what is around the function ---------------------------------------------------------------


class Model:
    factor = 2.0

    def __init__(self) -> None:
        self.numbers = [float(k) for k in range(1000)]
        self.table = {"a": 1.0, "b": [2.0]}
        self.array = np.arange(4.0)
        self.turned = np.arange(6.0).reshape(2, 3).T
        self.objects = np.array([1.0, 2.0], object)
        self.names = {"on"}
        self.variable = pyad.var(2.0, requires_grad=False)
        self.weights = pyad.array([1.0, 2.0], requires_grad=False)
        self.flag = True
        self.inner = types.SimpleNamespace(value=3.0)

    def total(self) -> Any:
        on = 1.0 if "on" in self.names and self.flag else 0.0
        rest = self.turned.sum() + self.objects.sum() + self.inner.value
        parts = self.table["a"] + self.table["b"][0] + self.array.sum()
        weights = self.variable.value + self.weights.value.sum()
        return float(on + rest + parts + weights + self.factor * self.numbers[3])


def _set(model: Any, name: str, value: Any) -> None:
    setattr(model, name, value)


CHANGES: dict[str, Callable[[Any], Any]] = {
    "attribute": lambda m: _set(m, "flag", False),
    "item of a list": lambda m: m.numbers.__setitem__(3, 50.0),
    "list replaced": lambda m: _set(m, "numbers", [9.0] * 1000),
    "length of a list": lambda m: m.numbers.insert(0, 7.0),
    "value of a dict": lambda m: m.table.__setitem__("a", 4.0),
    "list in a dict": lambda m: m.table["b"].__setitem__(0, 4.0),
    "array in place": lambda m: m.array.__setitem__(0, 5.0),
    "array replaced": lambda m: _set(m, "array", np.arange(5.0)),
    "shape of an array": lambda m: _set(m, "array", np.arange(8.0).reshape(2, 4)),
    "transposed array": lambda m: m.turned.__setitem__((0, 0), 5.0),
    "array of objects": lambda m: m.objects.__setitem__(0, 5.0),
    "set": lambda m: m.names.clear(),
    "variable": lambda m: _set(m.variable, "value", 8.0),
    "Array": lambda m: _set(m.weights, "value", np.array([5.0, 6.0])),
    "object within": lambda m: _set(m.inner, "value", 4.0),
    "attribute that hides the class's": lambda m: _set(m, "factor", 3.0),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_noticed_in_an_object(change: Callable[[Any], Any]) -> None:
    model = Model()
    p = pyad.compile(lambda x: x * model.total())
    before = p.value_and_grad(2.0)
    same(quick(p).value_and_grad(3.0), (before[1] * 3.0, before[1]))
    del p._slowly, p.value_and_grad._slowly, p.grad._slowly
    change(model)
    after = model.total()
    assert after != before[1]
    same(p.value_and_grad(3.0), (after * 3.0, after))
    same(p(3.0), after * 3.0)
    assert p.stats()["recorded"] == 2


def test_noticed_in_a_class(monkeypatch: pytest.MonkeyPatch) -> None:
    model = Model()
    p = pyad.compile(lambda x: x * model.factor)
    assert (p(1.0), p(1.0)) == (2.0, 2.0)
    monkeypatch.setattr(Model, "factor", 5.0)
    assert p(1.0) == 5.0
    monkeypatch.delattr(Model, "factor")
    with pytest.raises(AttributeError):
        p(1.0)


def test_noticed_in_functions() -> None:
    def inner(y: Any, a: float = 2.0, *, b: float = 3.0) -> Any:
        return y * a * b

    scale = 1.0

    def f(x: Any) -> Any:
        return inner(x) * scale  # noqa: F821  (deleted below)

    p = pyad.compile(f)
    assert (p(1.0), p(1.0)) == (6.0, 6.0)
    inner.__defaults__ = (4.0,)
    assert p(1.0) == 12.0
    inner.__kwdefaults__ = {"b": 1.0}
    assert p(1.0) == 4.0
    scale = 10.0
    assert p(1.0) == 40.0
    inner.__code__ = (lambda y, a, *, b: y + a + b).__code__
    assert p(1.0) == 60.0
    del scale
    with pytest.raises(NameError):
        p(1.0)


def test_replaced_by_the_same_is_no_change() -> None:
    model, nan = Model(), math.nan
    model.numbers[5] = nan
    p = pyad.compile(lambda x: x * model.total())
    p(1.0)
    model.numbers[:] = [float(v) for v in model.numbers]
    model.numbers[5] = -nan
    model.table["a"] = float("1.0")
    model.array = model.array.copy()
    model.inner.value = 3.0
    model.names = set(model.names)
    p(1.0)
    model.table["a"] = 0.0
    p(1.0)
    recorded = p.stats()["recorded"]
    model.table["a"] = -0.0
    p(1.0)
    assert p.stats()["recorded"] == recorded + 1
