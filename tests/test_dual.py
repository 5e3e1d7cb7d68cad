"""`pyad.Dual`, the type: making, reading, copying, errors, levels, memory."""

from __future__ import annotations

import contextlib
import copy
import gc
import math
import pickle
import tracemalloc
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

import pyad
from pyad import Dual, _handle, errors, modes

COUNTS = (1, 2, 3, 4, 5, 8, 9, 33, 70)
"""Numbers of tangents: below, at and above whole blocks, and more than the free lists keep."""


def tangents(count: int) -> list[float]:
    """Different ones, among them a zero."""
    return [1.5, 0.0, -2.0, 0.25, 3.0, *range(1, 66)][:count]


def same(got: Any, value: float, *tangent: float) -> None:
    """`got` is this Dual, bit by bit but for the sign of zeros."""
    assert type(got) is Dual
    np.testing.assert_array_equal(got.value, value)
    np.testing.assert_array_equal(got.tangents, tangent)


def caught(call: Callable[[], Any]) -> BaseException:
    with pytest.raises(BaseException) as information:
        call()
    return information.value


# ---- making and reading ------------------------------------------------------------------------


def test_making_and_reading() -> None:
    x = Dual(2.0, 1.0)
    assert (x.value, x.tangent, x.tangents) == (2.0, 1.0, (1.0,))
    assert repr(x) == "Dual(2.0, 1.0)"
    assert type(x.tangent) is float
    y = Dual(2, [1.0, 0])
    assert (y.value, y.tangent, y.tangents) == (2.0, (1.0, 0.0), (1.0, 0.0))
    assert repr(y) == "Dual(2.0, (1.0, 0.0))"
    assert repr(eval(repr(y))) == repr(y)
    assert (y.real, y.imag, y.conjugate()) == (y, 0.0, y)
    assert repr(Dual(value=1.0, tangent=2.0)) == "Dual(1.0, 2.0)"


@pytest.mark.parametrize(
    "given_", [(1, 2), [1.0, 2.0], np.array([1, 2]), np.array([1.0, 2.0]), range(1, 3)]
)
def test_tangents_of_any_sequence(given_: Any) -> None:
    assert Dual(0.5, given_).tangents == (1.0, 2.0)


@pytest.mark.parametrize("one", [3, np.float32(3.0), np.array(3.0), Fraction(3), True + 2])
def test_one_tangent_of_any_number(one: Any) -> None:
    assert repr(Dual(one, one)) == "Dual(3.0, 3.0)"
    assert Dual(1.0, [3.0]).tangent == 3.0


def test_it_never_changes() -> None:
    x = Dual(2.0, 1.0)
    for name in ("value", "tangent", "tangents", "anything"):
        with pytest.raises(AttributeError):
            setattr(x, name, 3.0)
    with pytest.raises(TypeError):
        type("Sub", (Dual,), {})


def test_formatting() -> None:
    x = Dual(math.pi, 1.0)
    assert f"{x:.3f}" == "3.142"
    assert f"{x}" == repr(x)


def test_copies() -> None:
    x = Dual(2.0, [1.0, 0.1, 3.0])
    assert copy.copy(x) is x
    assert copy.deepcopy([x])[0] is x
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        same(pickle.loads(pickle.dumps(x, protocol)), 2.0, 1.0, 0.1, 3.0)
    (y,) = _handle._duals([1.0], [2.0], 7)
    assert pickle.loads(pickle.dumps(y))._level == 7


def test_hash_is_by_identity_and_equality_by_value() -> None:
    x, y = Dual(2.0, 1.0), Dual(2.0, 5.0)
    assert x == y
    assert len({x, y}) == 2
    assert x in {x: 1}


def test_detach_gives_a_constant() -> None:
    y = Dual(2.0, 1.0).detach()
    assert isinstance(y, pyad.Var)
    assert float(y) == 2.0
    same(y * Dual(3.0, 1.0), 6.0, 2.0)


# ---- by value ---------------------------------------------------------------------------------


def test_comparisons_are_plain_bools_of_values() -> None:
    x, y = Dual(2.0, 1.0), Dual(3.0, [1.0, 2.0])
    (z,) = _handle._duals([2.0], [1.0], 5)
    for other in (y, 3.0, 3, Fraction(3), Decimal(3), np.float64(3.0), pyad.var(3.0)):
        assert (x < other) is True
        assert (x <= other) is True
        assert (x == other) is False
        assert (x != other) is True
        assert (x > other) is False
        assert other >= x
    assert x == z
    assert x != "a"
    assert x is not None
    assert bool(x) is True
    assert not Dual(0.0, 1.0)
    assert sorted([y, x])[0] is x
    assert max(x, y) is y


def test_whole_numbers() -> None:
    x = Dual(2.567, [1.0, 2.0])
    assert [int(x), round(x), math.floor(x), math.ceil(x), math.trunc(x)] == [2, 3, 2, 3, 2]
    same(round(x, 1), 2.6, 0.0, 0.0)
    same(pyad.floor(x), 2.0, 0.0, 0.0)
    assert Dual(2.0, 1.0).is_integer()
    assert not x.is_integer()


# ---- errors ------------------------------------------------------------------------------------

ONE, TWO = Dual(2.0, 1.0), Dual(2.0, [1.0, 0.0])
WRONG: dict[str, tuple[str, type[Exception], Callable[[], Any]]] = {
    "counts": ("MIXED_TANGENTS", ValueError, lambda: ONE * TWO),
    "counts in a function": ("MIXED_TANGENTS", ValueError, lambda: pyad.hypot(TWO, ONE)),
    "counts in a sum": ("MIXED_TANGENTS", ValueError, lambda: pyad.sum([TWO, 1.0, ONE])),
    "a var": ("DUAL_WITH_VAR", TypeError, lambda: ONE * pyad.var(1.0)),
    "a var first": ("DUAL_WITH_VAR", TypeError, lambda: pyad.var(1.0) - ONE),
    "a result": ("DUAL_WITH_VAR", TypeError, lambda: pyad.atan2(pyad.var(1.0) * 2, ONE)),
    "a var in a sum": ("DUAL_WITH_VAR", TypeError, lambda: pyad.sum([pyad.var(1.0), ONE])),
    "a var in partials": (
        *("DUAL_WITH_VAR", TypeError),
        lambda: pyad.from_partials(1.0, [ONE, pyad.var(1.0)], [1.0, 1.0]),
    ),
    "no tangent": ("NO_TANGENT", ValueError, lambda: Dual(1.0, [])),
    "tangent": ("NOT_A_NUMBER", TypeError, lambda: Dual(1.0, "a")),
    "tangents": ("NOT_A_NUMBER", TypeError, lambda: Dual(1.0, [1.0, None])),
    "matrix": ("NOT_A_NUMBER", TypeError, lambda: Dual(1.0, np.eye(2))),
    "value": ("NOT_A_NUMBER", TypeError, lambda: Dual("2", 1.0)),
    "value too large": ("TOO_LARGE", ValueError, lambda: Dual(10**400, 1.0)),
    "dual value": ("WOULD_LOSE_DERIVATIVE", TypeError, lambda: Dual(ONE, 1.0)),
    "dual tangent": ("WOULD_LOSE_DERIVATIVE", TypeError, lambda: Dual(1.0, ONE)),
    "float": ("WOULD_LOSE_DERIVATIVE", TypeError, lambda: float(ONE)),
    "math.sin": ("WOULD_LOSE_DERIVATIVE", TypeError, lambda: math.sin(ONE)),
    "var of it": ("WOULD_LOSE_DERIVATIVE", TypeError, lambda: pyad.var(ONE)),
    "float array": ("WOULD_LOSE_DERIVATIVE", TypeError, lambda: np.zeros(2).__setitem__(0, ONE)),
    "power": ("NOT_A_NUMBER", TypeError, lambda: ONE ** "a"),
    "string first": ("NOT_A_NUMBER", TypeError, lambda: "a" + ONE),
    "list": ("NOT_A_NUMBER", TypeError, lambda: ONE * [1.0]),
    "complex": ("NOT_A_NUMBER", TypeError, lambda: ONE * 1j),
    "none": ("NOT_A_NUMBER", TypeError, lambda: ONE + None),
    "large": ("TOO_LARGE", ValueError, lambda: ONE + 10**400),
    "order": ("NOT_A_NUMBER", TypeError, lambda: ONE < "a"),
    "sum": ("NOT_A_NUMBER", TypeError, lambda: pyad.sum([ONE, "a"])),
    "partials": ("NOT_A_NUMBER", TypeError, lambda: pyad.from_partials(1, [ONE, "a"], [1, 1])),
    "modulo": ("POW_MODULO", TypeError, lambda: pow(ONE, 2, 3)),
    "matmul": ("ARGUMENTS", TypeError, lambda: ONE @ ONE),
    "ufunc": ("NO_UFUNC", TypeError, lambda: np.spacing(ONE)),
    "rows": ("ARGUMENTS", TypeError, lambda: _handle._duals([1.0], [1.0, 2.0], 1)),
    "matrix of ints": (
        "ARGUMENTS",
        TypeError,
        lambda: _handle._duals([1], np.eye(1, dtype=int), 1),
    ),
    "matrix shape": ("ARGUMENTS", TypeError, lambda: _handle._duals([1.0], np.eye(2), 1)),
    "matrix value": ("NOT_A_NUMBER", TypeError, lambda: _handle._duals(["a"], np.eye(1), 1)),
}


@pytest.mark.parametrize("case", WRONG)
def test_errors(case: str) -> None:
    code, builtin, call = WRONG[case]
    error = caught(call)
    assert isinstance(error, pyad.Error)
    assert isinstance(error, builtin)
    assert error.code == code


def test_what_is_refused_leaves_the_tape_as_it_was() -> None:
    leaf = pyad.var(1.0)
    result = leaf * 2
    nodes = len(pyad.current_tape())
    for x in (pyad.var(1.0), leaf, result):
        for call in (
            lambda x: x * ONE,
            lambda x: ONE / x,
            lambda x: divmod(x, ONE),
            lambda x: pyad.hypot(ONE, x),
            lambda x: pyad.sum([x, x, ONE]),
            lambda x: pyad.from_partials(1.0, [x, ONE], [1.0, 1.0]),
        ):
            assert caught(lambda: call(x)).code == "DUAL_WITH_VAR"  # type: ignore[attr-defined]  # noqa: B023
    assert len(pyad.current_tape()) == nodes


def test_what_another_class_makes_of_a_dual() -> None:
    class Other:
        __array_ufunc__ = None

        def __radd__(self, other: Any) -> str:
            return "mine"

    assert ONE + Other() == "mine"
    with pytest.raises(TypeError):
        ONE * Other()


# ---- levels ------------------------------------------------------------------------------------


@pytest.mark.parametrize("matrix", [[[1.0, 2.0], (3.0, 4)], np.array([[1.0, 2.0], [3.0, 4.0]])])
def test_duals_of_a_transform(matrix: Any) -> None:
    for values in ([5.0, 6], np.array([5.0, 6.0])):
        x, y = _handle._duals(values, matrix, 2**63 + 1)
        same(x, 5.0, 1.0, 2.0)
        same(y, 6.0, 3.0, 4.0)
        assert x._level == 2**63 + 1
        results = [x * y, 2 * x, x**2, -x, pyad.sum([x, 1]), round(x, 1), pyad.floor(y)]
        assert {z._level for z in results} == {2**63 + 1}
    assert _handle._duals([], np.zeros((0, 3)), 1) == []
    assert [z.tangent for z in _handle._duals([1.0], [2.0], 1)] == [2.0]


def test_retrace_asks_the_outer_transform(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(modes._levels, "active", [3, 8])
    (outer,), (inner,) = _handle._duals([2.0], [1.0], 3), _handle._duals([2.0], [1.0], 8)
    (wide,) = _handle._duals([2.0], [[1.0, 0.0]], 8)
    x = pyad.var(1.0)
    for level, call in [
        (3, lambda: outer * inner),
        (3, lambda: inner + outer),
        (3, lambda: pyad.sum([1.0, inner, outer])),
        (3, lambda: pyad.from_partials(1.0, [inner, outer], [1.0, 1.0])),
        (8, lambda: inner * wide),
        (8, lambda: inner * x),
        (8, lambda: x * inner),
        (8, lambda: pyad.hypot(x, inner)),
        (8, lambda: np.hypot(inner, x)),
        (8, lambda: pyad.sum([x, inner])),
    ]:
        error = caught(call)
        assert type(error) is errors.Retrace
        assert error.level == level
        assert not isinstance(error, Exception)  # the user's handlers let it pass
    assert caught(lambda: inner * ONE).code == "MIXED_TANGENTS"  # type: ignore[attr-defined]


def test_variables_without_derivative_are_numbers() -> None:
    (inner,) = _handle._duals([2.0], [1.0], 8)
    same(inner * pyad.var(3.0, requires_grad=False), 6.0, 3.0)
    x = pyad.var(3.0)
    with pyad.no_grad():
        same(inner * x, 6.0, 3.0)
        same(x * inner, 6.0, 3.0)
        same(pyad.sum([x, ONE]), 5.0, 1.0)


# ---- memory ------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 6, 50])
def test_memory_is_constant(count: int) -> None:
    seed = tangents(count)
    array = np.array([seed])

    def work(loops: int) -> None:
        x = Dual(0.5, seed)
        for _ in range(loops):
            x = pyad.sin(x * 1.5 + x) / (2 + x**2) + abs(-x) * 0.1
            y = pyad.sum([x, 1.0, x]) + pyad.from_partials(x.value, [x], [1.0])
            x = x + 0 * max(y, x)
            _handle._duals([1.0], array, 3)
            for wrong in ([*seed, 10**400], [*seed, 1.0]):
                with contextlib.suppress(errors.Error):  # pytest.raises would keep cycles
                    x * Dual(1.0, wrong)
        pickle.loads(pickle.dumps(x))

    work(200)
    gc.collect()
    tracemalloc.start()
    try:
        work(200)
        gc.collect()
        before = tracemalloc.get_traced_memory()[0]
        work(1000)
        gc.collect()
        assert tracemalloc.get_traced_memory()[0] - before < 20_000  # a byte an operation
    finally:
        tracemalloc.stop()


def test_a_long_loop_takes_no_memory_and_no_tape() -> None:
    nodes = len(pyad.current_tape())
    x, y = Dual(0.5, [1.0, 2.0]), Dual(0.25, [0.0, 1.0])
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(20_000):
            x = x * 0.5 + y * x + 2 * y - y / 3.0
        now, peak = tracemalloc.get_traced_memory()
        assert now - before < 5_000
        assert peak - before < 10_000
    finally:
        tracemalloc.stop()
    assert len(pyad.current_tape()) == nodes


def test_many_duals_alive() -> None:
    for count in COUNTS:
        xs = _handle._duals(np.arange(5000.0), np.ones((5000, count)), 1)
        ys = [x * x for x in xs]
        assert ys[3999].tangents == (2 * 3999.0,) * count
        del xs, ys
