"""Trees of arguments in `grad` and `value_and_grad`: structure, leaves, ownership, errors."""

from __future__ import annotations

import collections
import gc
import sys
from collections.abc import Callable, Iterator, Mapping
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np
import pytest

import pyad


class Pair(NamedTuple):
    a: Any
    b: Any


class Single(NamedTuple):
    a: Any


class Subclass(np.ndarray):
    """An ndarray by another name."""


class ReadOnly(Mapping[str, Any]):
    """A mapping that is no dict."""

    def __init__(self, items: dict[str, Any]) -> None:
        self.items_inside = items

    def __getitem__(self, key: str) -> Any:
        return self.items_inside[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self.items_inside)

    def __len__(self) -> int:
        return len(self.items_inside)


def squares(tree: Any) -> Any:
    """The sum of the squares of all leaves, whose gradient is twice the tree."""
    if isinstance(tree, dict):
        return sum(map(squares, tree.values()), 0.0)
    if isinstance(tree, (list, tuple)):
        return sum(map(squares, tree), 0.0)
    return np.sum(tree * tree)


def same(x: Any, y: Any) -> bool:
    """Whether two trees have one structure, types of leaves and numbers."""
    if isinstance(x, np.ndarray) or isinstance(y, np.ndarray):
        return type(x) is type(y) and x.shape == y.shape and x.dtype == y.dtype and (x == y).all()
    if type(x) is not type(y):
        return False
    if isinstance(x, dict):
        return list(x) == list(y) and all(same(x[k], y[k]) for k in x)
    if isinstance(x, (list, tuple)):
        return len(x) == len(y) and all(map(same, x, y))
    return bool(x == y)


# ---- structure ---------------------------------------------------------------------------

TREES: list[tuple[Any, Any]] = [
    ([1.0, 2, True], [2.0, 4.0, 2.0]),
    ((1.0, (2.0, [3.0])), (2.0, (4.0, [6.0]))),
    ({"b": 1.0, 2: {"a": [2.0]}}, {"b": 2.0, 2: {"a": [4.0]}}),
    (Pair(1.0, {"x": Pair(2.0, [])}), Pair(2.0, {"x": Pair(4.0, [])})),
    (collections.OrderedDict(b=1.0, a=2.0), {"b": 2.0, "a": 4.0}),
    (ReadOnly({"b": 1.0, "a": (2.0,)}), {"b": 2.0, "a": (4.0,)}),
    ([Fraction(1, 2), np.float32(1.5), np.int8(2)], [1.0, 3.0, 4.0]),
    ([[], (), {}], [[], (), {}]),
    ([float(i) for i in range(100)], [2.0 * i for i in range(100)]),
    ((np.ones((1, 2, 1, 1, 3)),) * 5, (np.full((1, 2, 1, 1, 3), 2.0),) * 5),
]


@pytest.mark.parametrize(("tree", "expected"), TREES)
def test_the_gradient_has_the_structure_of_the_argument(tree: Any, expected: Any) -> None:
    assert same(pyad.grad(squares)(tree), expected)
    value, gradient = pyad.value_and_grad(squares)(tree)
    assert type(value) is float
    assert value == squares(expected) / 4
    assert same(gradient, expected)


ARRAYS: dict[str, np.ndarray[Any, Any]] = {
    "no dimensions": np.array(3.0),
    "empty": np.empty((0, 3)),
    "transposed": np.arange(6.0).reshape(2, 3).T,
    "backwards": np.arange(10.0)[::-2],
    "float32": np.arange(3, dtype=np.float32),
    "float16": np.arange(3, dtype=np.float16),
    "long double": np.arange(3, dtype=np.longdouble),
    "integers": np.arange(3),
    "booleans": np.array([True, False]),
    "the other byte order": np.arange(3.0).astype(">f8"),
    "subclass": np.arange(3.0).view(Subclass),
    "objects": np.array([1.0, 2], dtype=object),
    "read-only": np.broadcast_to(2.0, (2, 3)),
    "misaligned": np.frombuffer(b"\0" * 25, np.uint8)[1:].view(np.float64),
}


@pytest.mark.parametrize("name", ARRAYS)
def test_arrays_of_every_kind_are_leaves(name: str) -> None:
    x = ARRAYS[name]
    before = x.copy()
    expected = 2.0 * np.asarray(x, dtype=np.float64)
    for gradient in (
        pyad.grad(squares)(x),
        pyad.grad(squares)((x, 1.0))[0],
        pyad.grad(lambda a, b: squares(a) + b, argnums=(1, 0))(x, 1.0)[1],
    ):
        assert type(gradient) is np.ndarray
        assert gradient.dtype == np.float64
        assert gradient.flags.writeable
        assert gradient.flags.owndata
        np.testing.assert_array_equal(gradient, expected, strict=True)
    np.testing.assert_array_equal(x, before)


@pytest.mark.parametrize(
    ("x", "text"),
    [
        (np.ma.array([1.0, 2.0], mask=[False, True]), "not a MaskedArray: give x.filled"),
        (np.array([[1.0, 2.0]]).view(np.matrix), "not a matrix: give np.asarray"),
        (np.array([1j]), "not an array of complex128"),
        ("abc", "not str"),
        (None, "not NoneType"),
    ],
)
def test_what_is_no_leaf_is_refused(x: Any, text: str) -> None:
    for tree in (x, [1.0, x], {"x": (x,)}):
        with pytest.raises(TypeError, match=text):
            pyad.grad(squares)(tree)
    assert pyad.grad(squares)(1.0) == 2.0


@pytest.mark.parametrize(
    "x", [np.ma.array([1.0, 2.0], mask=[False, True]), np.array([[1.0, 2.0]]).view(np.matrix)]
)
def test_arrays_with_operators_of_their_own_are_refused_as_constants(x: Any) -> None:
    with pytest.raises(TypeError, match="expects a real number, not a"):
        pyad.grad(lambda y: (y * x).sum())(np.ones(2))


def test_a_tree_that_contains_itself() -> None:
    tree: list[Any] = [1.0]
    tree.append(tree)
    with pytest.raises(RecursionError):
        pyad.grad(squares)(tree)
    assert pyad.grad(squares)([1.0]) == [2.0]


# ---- positions and keywords ----------------------------------------------------------------


def test_positions_and_keywords() -> None:
    def f(a: Any, b: Any, *, c: Any = 1.0) -> Any:
        return a["x"] * np.sum(b[0] * b[1]) * c

    a, b = {"x": 2.0}, (np.array([1.0, 2.0]), np.array([3.0, 4.0]))
    of_b = (6.0 * b[1], 6.0 * b[0])
    assert same(pyad.grad(f)(a, b, c=3.0), {"x": 33.0})
    assert same(pyad.grad(f, argnums=-1)(a, b, c=3.0), of_b)
    assert same(pyad.grad(f, argnums=(1, 0))(a, b, c=3.0), (of_b, {"x": 33.0}))
    assert same(pyad.grad(f, argnums=(0,))(a, b), ({"x": 11.0},))
    assert same(pyad.value_and_grad(f, argnums=(-1, 0))(a, b)[1][1], {"x": 11.0})


@pytest.mark.parametrize("argnums", [2, -3, (0, 2), 10**30, (0, 0), (1, -1)])
def test_positions_that_are_wrong_leave_nothing_behind(argnums: Any) -> None:
    with pytest.raises(TypeError, match="argnums"):
        pyad.grad(lambda x, y: x * y, argnums=argnums)(2.0, 3.0)
    assert not pyad._handle._is_nested()


def test_an_auxiliary_result_beside_a_tree() -> None:
    def f(p: Any) -> Any:
        return p["a"] * p["b"], {"sum": p["a"] + p["b"], "text": "kept"}

    p = {"a": 2.0, "b": 3.0}
    aux = {"sum": 5.0, "text": "kept"}
    assert pyad.grad(f, has_aux=True)(p) == ({"a": 3.0, "b": 2.0}, aux)
    assert pyad.value_and_grad(f, has_aux=True)(p) == ((6.0, aux), {"a": 3.0, "b": 2.0})
    with pytest.raises(TypeError, match="pair"):
        pyad.grad(lambda p: p["a"], has_aux=True)(p)


# ---- nesting -----------------------------------------------------------------------------


def test_a_gradient_of_a_gradient_of_a_tree() -> None:
    w, b = np.array([0.3, -0.7]), 0.2

    def f(p: Any) -> Any:
        return np.sum(np.tanh(p["w"] * p["b"][0])) + p["b"][0] ** 3

    def along(p: Any) -> Any:
        inner = pyad.grad(f)(p)
        return np.sum(inner["w"]) + inner["b"][0]

    p = {"w": w, "b": [b]}
    outer = pyad.grad(along)(p)
    step = 1e-6

    def slope(w: Any, b: Any) -> Any:
        return along({"w": w, "b": [b]})

    expected = [(slope(w + e, b) - slope(w - e, b)) / (2 * step) for e in step * np.eye(2)]
    np.testing.assert_allclose(outer["w"], expected, rtol=1e-7)
    np.testing.assert_allclose(
        outer["b"][0], (slope(w, b + step) - slope(w, b - step)) / (2 * step), rtol=1e-7
    )


def test_an_inner_gradient_with_respect_to_a_tree_around_outer_variables() -> None:
    def outer(t: Any) -> Any:
        value, (a, b) = pyad.value_and_grad(lambda p: p[0] * p[1] * t)((t, 3.0))
        assert isinstance(value, pyad.Var)
        return value + a + b  # 3 t^2 + 3 t + t^2

    assert pyad.grad(outer)(2.0) == pytest.approx(6 * 2.0 + 3 + 2 * 2.0)

    def empty(t: Any) -> Any:
        value, slopes = pyad.value_and_grad(lambda p: t * t + np.sum(p[0]))((np.zeros(0), 1.0))
        assert slopes[1] == 0.0
        assert slopes[0].shape == (0,)
        return value

    assert pyad.grad(empty)(2.0) == 4.0


# ---- ownership ---------------------------------------------------------------------------


def test_one_array_given_twice_is_two_variables() -> None:
    x = np.array([1.0, 2.0])
    left, right = pyad.grad(lambda p: np.sum(p[0] * p[0] * p[1]))((x, x))
    np.testing.assert_array_equal(left, 2 * x * x)
    np.testing.assert_array_equal(right, x * x)
    assert not np.shares_memory(left, right)


def test_views_of_one_base_are_variables_of_their_own() -> None:
    base = np.arange(4.0)

    def f(p: Any) -> Any:
        p[0][1] = 10.0  # the other view does not see it
        return np.sum(p[0] * p[1])

    left, right = pyad.grad(f)((base[:3], base[1:]))
    np.testing.assert_array_equal(left, [1.0, 0.0, 3.0])
    np.testing.assert_array_equal(right, [0.0, 10.0, 2.0])
    np.testing.assert_array_equal(base, np.arange(4.0))


def test_a_function_may_change_what_it_is_given() -> None:
    p = {"w": np.array([1.0, 2.0]), "items": [3.0, 4.0]}

    def f(p: Any) -> Any:
        total = np.sum(p["w"] ** 2) + p["items"][0] * p["items"][1]
        p["w"][...] = 0.0
        p["w"] += 1.0
        p["items"].clear()
        p["new"] = 1.0
        del p["w"]
        return total

    gradient = pyad.grad(f)(p)
    assert same(gradient, {"w": np.array([2.0, 4.0]), "items": [4.0, 3.0]})
    assert same(p, {"w": np.array([1.0, 2.0]), "items": [3.0, 4.0]})


def test_arrays_changed_by_the_function_behind_its_own_back() -> None:
    x = np.array([1.0, 2.0])

    def f(p: Any) -> Any:
        y = p[0] * p[0]
        x[:] = 100.0
        return np.sum(y)

    np.testing.assert_array_equal(pyad.grad(f)((x,))[0], [2.0, 4.0])


class BoomError(Exception):
    """Raised on purpose."""


def boom(*_: Any) -> Any:
    raise BoomError


class BadPair(Single):
    @classmethod
    def _make(cls, items: Any) -> Any:
        raise BoomError


class BadMapping(ReadOnly):
    def __getitem__(self, key: str) -> Any:
        raise BoomError


class BadKey:
    """A key that can be looked up a few times only."""

    def __init__(self, times: int) -> None:
        self.times = times

    def __hash__(self) -> int:
        self.times -= 1
        if self.times < 0:
            raise BoomError
        return 1


FAILURES: dict[str, Callable[[], Any]] = {
    "in the function": lambda: pyad.grad(boom)((np.ones(2), [1.0])),
    "with keywords": lambda: pyad.grad(lambda x, k: boom(x, k))([np.ones(2)], k=1.0),
    "in a named tuple": lambda: pyad.grad(squares)([np.ones(2), BadPair(1.0)]),
    "in a mapping": lambda: pyad.grad(squares)([np.ones(2), BadMapping({"a": 1.0})]),
    "in a key": lambda: pyad.grad(squares)([np.ones(2), {BadKey(1): np.ones(2)}]),
    "in a key at the end": lambda: pyad.grad(squares)([np.ones(2), {BadKey(2): np.ones(2)}]),
    "after some leaves": lambda: pyad.grad(squares)([np.ones(2), 1.0, {"a": [2.0, None]}]),
    "in the result": lambda: pyad.grad(lambda p: p[0])((np.ones(2), [1.0])),
}


@pytest.mark.parametrize("name", FAILURES)
def test_an_exception_leaves_no_frame(name: str) -> None:
    nodes = len(pyad.current_tape())
    for _ in range(3):
        with pytest.raises((BoomError, TypeError)):
            FAILURES[name]()
    assert not pyad._handle._is_nested()
    assert len(pyad.current_tape()) == nodes
    assert same(pyad.grad(squares)([np.ones(2), 1.0]), [np.full(2, 2.0), 2.0])


def test_nothing_is_kept() -> None:
    class Local(NamedTuple):
        a: Any
        b: Any

    key, w, v = "a key of its own " * 3, np.ones(3), 1.5
    tree = {key: Local([w, w[1:]], (w, v)), "f": ReadOnly({key: w})}

    def calls() -> None:
        pyad.value_and_grad(squares)(tree)
        pyad.grad(lambda k, p: squares(p) * k, argnums=(0, 1))(2.0, tree)
        pyad.grad(lambda t: squares(pyad.grad(squares)(tree)) * t)(1.0)
        pyad.grad(lambda t: squares(pyad.grad(lambda p: squares(p) * t)(tree)))(1.0)
        with pytest.raises(BoomError):
            pyad.grad(boom)(tree)
        with pytest.raises(TypeError):
            pyad.grad(squares)([tree, None])

    def counts() -> list[int]:
        gc.collect()
        return [sys.getrefcount(x) for x in (key, w, v, tree, Local, calls, squares)]

    calls()
    before = counts()
    for _ in range(20):
        calls()
    assert counts() == before


def test_an_argument_that_escapes_is_stale_and_keeps_its_values() -> None:
    kept: list[Any] = []

    def f(p: Any) -> Any:
        kept.append(p)
        return squares(p)

    pyad.grad(f)([np.array([1.0, 2.0]), 3.0])
    array, number = kept[0]
    np.testing.assert_array_equal(array.value, [1.0, 2.0])
    assert number.value == 3.0
    with pytest.raises(pyad.Error):
        _ = array * 2.0


def test_another_gradient_while_the_result_is_built() -> None:
    class Busy(Single):
        @classmethod
        def _make(cls, items: Any) -> Any:
            pyad.grad(squares)([100.0] * 50)
            return cls(*items)

    tree = [Busy(1.0), 2.0, Busy(np.array([3.0]))]
    assert same(pyad.grad(squares)(tree), [Busy(2.0), 4.0, Busy(np.array([6.0]))])
