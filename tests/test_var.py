"""`pyad.Var` as a number: making, showing, converting, comparing, assigning, copying."""

from __future__ import annotations

import copy
import json
import math
import pickle
from collections.abc import Callable
from contextlib import AbstractContextManager
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

import pyad

Unchanged = Callable[..., AbstractContextManager[None]]

# ---- making ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "number",
    [
        *(2.0, 2, True, 2**60, float("inf"), -0.0, Fraction(3, 2), np.array(2.0), np.array(2)),
        *(np.float64(2), np.float32(2), np.int64(2), np.uint8(2), np.bool_(True)),
    ],
)
def test_makes_a_variable_of_any_real_number(number: Any) -> None:
    x = pyad.var(number)
    assert type(x.value) is float
    assert x.value == float(number)
    assert math.copysign(1, x.value) == math.copysign(1, float(number))
    assert (x.grad, x.name, x.node, x.tape, x.requires_grad) == (None, None, None, None, True)


@pytest.mark.parametrize(
    ("thing", "remedy"),
    [
        ("2.0", "float(...)"),
        (b"2", "float(...)"),
        (None, "return"),
        (2 + 1j, "real and imaginary"),
        ([2.0], "pyad.vars"),
        ((2.0,), "pyad.vars"),
        (np.ones(1), "one by one"),
        (Decimal(2), "float(...)"),
        (math.sin, "call it"),
        ({}, "float"),
        (object(), "float"),
    ],
)
def test_refuses_what_is_no_real_number(thing: Any, remedy: str) -> None:
    with pytest.raises(pyad.Error, match=r"pyad\.var expects a real number, not") as caught:
        pyad.var(thing)
    assert isinstance(caught.value, TypeError)
    assert remedy in str(caught.value)


def test_refuses_a_whole_number_beyond_floats() -> None:
    with pytest.raises(ValueError, match=r"float\('inf'\)"):
        pyad.var(10**400)


def test_refuses_a_variable_but_takes_a_constant() -> None:
    x = pyad.var(2.0)
    with pytest.raises(TypeError, match="losing its derivative"):
        pyad.var(x)
    assert pyad.var(x.detach()).value == 2.0


def test_vars_makes_leaves_of_every_iterable() -> None:
    for values in ([1, 2.0], (1, 2.0), np.array([1.0, 2.0]), iter([1, 2]), {1: 0, 2: 0}):
        assert [x.value for x in pyad.vars(values)] == [1.0, 2.0]
    assert pyad.vars([]) == []
    for wrong in (5, "12", None, pyad.var(1.0)):
        with pytest.raises(TypeError, match=r"pyad\.vars expects a sequence"):
            pyad.vars(wrong)
    with pytest.raises(TypeError, match="not str"):
        pyad.vars([1.0, "2"])


def test_an_error_within_the_iterable_given_is_shown() -> None:
    with pytest.raises(TypeError, match="unsupported operand"):
        pyad.vars(1 + None for _ in range(3))  # type: ignore[operator]
    with pytest.raises(ZeroDivisionError):
        pyad.sum(1 / 0 for _ in range(3))


def test_vars_survives_a_list_that_shrinks_while_it_is_read() -> None:
    class Shrinking(Fraction):
        def __float__(self) -> float:
            values.clear()
            return 1.0

    values: list[Any] = [Shrinking(1), *range(1000)]
    assert len(pyad.vars(values)) == 1001


def test_name_and_requires_grad() -> None:
    x = pyad.var(1, name="x", requires_grad=False)
    assert (x.name, x.requires_grad, x.is_leaf) == ("x", False, True)
    x.name = None
    x.requires_grad = True
    assert (x.name, x.requires_grad) == (None, True)
    with pytest.raises(TypeError, match="string"):
        pyad.var(1.0, name=5)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="string"):
        x.name = 5  # type: ignore[assignment]


# ---- showing -----------------------------------------------------------------------------------


def test_repr_tells_kind_and_value() -> None:
    x = pyad.var(0.1)
    y = x * 3
    assert repr(x) == "Var(0.1)"
    assert repr(pyad.var(1, name="rate")) == "Var(1.0, name='rate')"
    assert repr(x.detach()) == "Var(0.1, requires_grad=False)"
    assert repr(y) == str(y) == f"{y}" == "Var(0.30000000000000004, of='mul')"
    y.backward()
    assert repr(y) == "Var(0.30000000000000004, of='an ended recording')"
    assert f"{x:.3f}|{x:8.1e}|{x:>5}" == "0.100| 1.0e-01|  0.1"
    with pytest.raises(ValueError, match="format code"):
        format(x, "d")


def test_hash_is_by_identity() -> None:
    x, y = pyad.var(1.0), pyad.var(1.0)
    assert x == y
    assert {x: "x", y: "y"}[y] == "y"


# ---- converting --------------------------------------------------------------------------------


def _fill(array: Any, x: Any) -> None:
    array[0] = x


LOSING: dict[str, Callable[[Any], Any]] = {
    "float(x)": float,
    "math.sin(x)": math.sin,
    "complex(x)": complex,
    "'%f' % x": lambda x: "%f" % x,  # noqa: UP031
    "a[0] = x": lambda x: _fill(np.zeros(3), x),
    "a[:] = x": lambda x: np.zeros(3).__setitem__(slice(None), x),
    "a += x": lambda x: np.zeros(3).__iadd__(x),
    "np.array([x], float)": lambda x: np.array([x], float),
    "np.float64(x)": np.float64,
    "np.add(a, x, out=a)": lambda x: np.add(np.zeros(3), x, out=np.zeros(3)),
    "np.add.at(a, 0, x)": lambda x: np.add.at(np.zeros(3), 0, x),
    "math.fsum([x])": lambda x: math.fsum([x]),
    "x.value = x": lambda x: setattr(pyad.var(0.0), "value", x),
}


@pytest.mark.parametrize("way", LOSING)
def test_never_loses_a_derivative_silently(way: str, unchanged: Unchanged) -> None:
    x = pyad.var(0.5)
    for variable in (x, x * 2):
        with unchanged(x), pytest.raises(pyad.Error, match=r"x\.detach\(\)") as caught:
            LOSING[way](variable)
        assert isinstance(caught.value, TypeError)
        assert "pyad.sin(x) for math.sin(x)" in str(caught.value)
    LOSING[way](x.detach())  # the remedy
    with pyad.no_grad():
        LOSING["float(x)"](x)


def test_a_result_of_no_grad_is_an_ordinary_number() -> None:
    with pyad.no_grad():
        y = pyad.var(2.0) * 3
    assert float(y) == math.fsum([y]) == 6.0
    assert not y.requires_grad


def test_whole_numbers() -> None:
    x = pyad.var(-2.5)
    assert (int(x), math.floor(x), math.ceil(x), math.trunc(x), round(x)) == (-2, -3, -2, -2, -2)
    assert all(type(f(x)) is int for f in (int, math.floor, math.ceil, math.trunc, round))
    assert (round(pyad.var(2.5)), round(pyad.var(3.5))) == (2, 4)
    assert pyad.var(4.0).is_integer()
    assert not x.is_integer()
    assert not pyad.var(math.inf).is_integer()
    with pytest.raises(ValueError, match="NaN"):
        int(pyad.var(math.nan))
    with pytest.raises(OverflowError, match="infinity"):
        math.floor(pyad.var(math.inf))
    with pytest.raises(TypeError, match="integer"):
        range(x)  # type: ignore[call-overload]


def test_rounding_to_digits_is_a_result_of_derivative_zero() -> None:
    x = pyad.var(2.567)
    y = round(x, 1)
    assert y.value == 2.6
    assert pyad.gradient(y, x) == 0.0


def test_truth() -> None:
    assert pyad.var(0.1)
    assert pyad.var(math.nan)
    assert not pyad.var(-0.0)


def test_json_and_iteration_refuse() -> None:
    x = pyad.var(1.0)
    with pytest.raises(TypeError, match="serializable"):
        json.dumps([x])
    for wrong in (iter, len, list):
        with pytest.raises(TypeError):
            wrong(x)  # type: ignore[arg-type]
    assert x.real is x
    assert x.imag == 0.0
    assert x.conjugate() is x


# ---- comparing ---------------------------------------------------------------------------------

COMPARISONS: dict[str, Callable[[Any, Any], Any]] = {
    "<": lambda x, y: x < y,
    "<=": lambda x, y: x <= y,
    "==": lambda x, y: x == y,
    "!=": lambda x, y: x != y,
    ">": lambda x, y: x > y,
    ">=": lambda x, y: x >= y,
}
OTHERS = [
    0.5, 1, 0, True, 2**53 + 1, -(2**70), 10**400, math.nan, math.inf, Fraction(1, 2),
    Fraction(1, 3), np.float64(0.5), np.float32(0.5), np.float32(0.7), np.int64(1), np.bool_(True),
]  # fmt: skip


@pytest.mark.parametrize("sign", COMPARISONS)
def test_compares_as_its_value_does(sign: str) -> None:
    compare = COMPARISONS[sign]
    for value in (0.5, 2.0**53, math.nan, -math.inf):
        for x in (pyad.var(value), pyad.var(value) * 1, pyad.var(value).detach()):
            for other in OTHERS:
                for got, want in (
                    (compare(x, other), compare(value, other)),
                    (compare(other, x), compare(other, value)),
                ):
                    assert bool(got) is bool(want), (value, sign, other)
            assert compare(x, pyad.var(0.5)) is compare(value, 0.5)


def test_compares_with_decimals() -> None:
    x = pyad.var(0.5)
    assert x == Decimal("0.5")
    assert x < Decimal("0.7")
    assert Decimal("0.7") > x


def test_compares_along_arrays() -> None:
    x, a = pyad.var(0.5), np.array([0.25, 0.5, 1.0])
    for compare in COMPARISONS.values():
        assert compare(x, a).tolist() == compare(0.5, a).tolist()
        assert compare(a, x).tolist() == compare(a, 0.5).tolist()
        assert compare(x, a).dtype == bool


def test_is_unequal_to_what_is_no_number_and_has_no_order_with_it(unchanged: Unchanged) -> None:
    x = pyad.var(0.5)
    with unchanged(x):
        for thing in (None, "0.5", [0.5], (0.5,), {0.5}, object(), b"", {}):
            assert x != thing
            assert not thing == x  # noqa: SIM201
            for sign in ("<", "<=", ">", ">="):
                with pytest.raises(TypeError):
                    COMPARISONS[sign](x, thing)
                with pytest.raises(TypeError):
                    COMPARISONS[sign](thing, x)
        with pytest.raises(pyad.Error, match=r"operator < expects a real number, not str: conv"):
            x < "1"  # noqa: B015


# ---- assigning ---------------------------------------------------------------------------------


def test_value_and_gradient_of_a_leaf_can_be_assigned() -> None:
    x = pyad.var(1.0)
    x.value -= 0.5
    x.grad = Fraction(1, 4)
    assert (x.value, x.grad) == (0.5, 0.25)
    x.grad = None
    assert x.grad is None
    x.zero_grad()
    assert x.grad == 0.0
    x.value = np.array(3)
    assert x.value == 3.0
    for attribute in ("value", "grad"):
        with pytest.raises(TypeError, match="not str"):
            setattr(x, attribute, "1")
        with pytest.raises(TypeError, match="cannot be deleted"):
            delattr(x, attribute)


def test_attributes_of_a_result_cannot_be_assigned(unchanged: Unchanged) -> None:
    x = pyad.var(1.0)
    y = x * 2
    assigned = {"value": 1.0, "grad": 0.0, "name": "y", "requires_grad": False}
    for attribute, value in assigned.items():
        with unchanged(x), pytest.raises(pyad.Error, match="the result of 'mul'"):
            setattr(y, attribute, value)
    with pytest.raises(pyad.Error, match="assign to the leaves"):
        y.zero_grad()
    with pytest.raises(AttributeError):
        y.node = 3  # type: ignore[misc]
    with pytest.raises(AttributeError):
        x.other = 3  # type: ignore[attr-defined]


def test_detach_and_requires_grad() -> None:
    x = pyad.var(3.0)
    d = (x * 2).detach()
    assert (d.value, d.requires_grad, d.is_leaf, d.tape) == (6.0, False, True, None)
    assert pyad.gradient(x * d, x) == 6.0
    d.requires_grad = True
    assert pyad.gradient(x * d, [x, d]) == [6.0, 3.0]
    x.requires_grad = False
    y = x * d
    assert pyad.gradient(y, d) == 3.0
    assert not (x * x).requires_grad


def test_node_and_tape() -> None:
    x = pyad.var(2.0)
    y = x * 3
    assert (x.node, y.node) == (0, 1)
    assert x.tape is y.tape is pyad.current_tape()
    assert (x.is_leaf, y.is_leaf) == (True, False)
    y.backward()
    assert (x.node, x.tape, y.node) == (None, None, None)
    assert y.value == 6.0


# ---- copying -----------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_leaves_and_constants_pickle(protocol: int) -> None:
    x = pyad.var(0.1, name="x")
    x.grad = 7.0
    _ = x * 2
    back, again, constant = pickle.loads(pickle.dumps([x, x, x.detach()], protocol))
    assert back is again
    assert (back.value, back.grad, back.name, back.requires_grad) == (0.1, 7.0, "x", True)
    assert (back.tape, back.node) == (None, None)
    assert (constant.value, constant.requires_grad, constant.grad) == (0.1, False, None)
    assert pyad.gradient(back * 3, back) == 3.0


def test_results_and_tapes_do_not_pickle(unchanged: Unchanged) -> None:
    x = pyad.var(1.0)
    y = x * 2
    with unchanged(x), pytest.raises(pyad.Error, match=r"pickle x\.value or x\.detach\(\)"):
        pickle.dumps({"loss": y})
    for way in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="cannot pickle"):
            way(pyad.Tape())


def test_a_copy_keeps_the_derivative() -> None:
    x = pyad.var(3.0)
    for duplicate in (copy.copy, copy.deepcopy):
        y = duplicate(x)
        assert y is not x
        assert pyad.gradient(y * x, x) == 6.0
        z = duplicate(x * 2)
        assert pyad.gradient(z, x) == 2.0
        assert not duplicate(x.detach()).requires_grad
    a, b, (c,) = copy.deepcopy([x, x, [x * 2]])
    assert a is b
    assert pyad.gradient(a + b + c, x) == 4.0


def test_functions_pickle() -> None:
    assert pickle.loads(pickle.dumps(pyad.sin)) is pyad.sin
