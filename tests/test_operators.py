"""The operators of `pyad.Var`: every kind of operand, in both orders."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from contextlib import AbstractContextManager
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

import pyad

Unchanged = Callable[..., AbstractContextManager[None]]

BINARY: dict[str, Callable[[Any, Any], Any]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "//": operator.floordiv,
    "%": operator.mod,
    "**": operator.pow,
}
IN_PLACE: dict[str, Callable[[Any, Any], Any]] = {
    "+": operator.iadd,
    "-": operator.isub,
    "*": operator.imul,
    "/": operator.itruediv,
    "//": operator.ifloordiv,
    "%": operator.imod,
    "**": operator.ipow,
}
PARTIALS: dict[str, Callable[[float, float], tuple[float, float]]] = {
    "+": lambda a, b: (1.0, 1.0),
    "-": lambda a, b: (1.0, -1.0),
    "*": lambda a, b: (b, a),
    "/": lambda a, b: (1 / b, -a / b**2),
    "//": lambda a, b: (0.0, 0.0),
    "%": lambda a, b: (1.0, float(-(a // b))),
    "**": lambda a, b: (b * a ** (b - 1), a**b * math.log(a)),
}
NUMBERS = [
    *(3.0, 3, True, Fraction(7, 2), np.float64(1.75), np.float32(2.25), np.int64(3), np.uint8(2)),
    *(np.bool_(True), np.array(2.5), 2.0, 2, 0.5, -0.5 + 2),
]


def close(got: float, want: float) -> bool:
    return math.isclose(got, want, rel_tol=1e-14, abs_tol=1e-15)


@pytest.mark.parametrize("sign", BINARY)
@pytest.mark.parametrize("number", NUMBERS, ids=lambda x: f"{type(x).__name__}-{x}")
def test_operators_with_a_number(sign: str, number: Any) -> None:
    apply, partials, c = BINARY[sign], PARTIALS[sign], float(number)
    for make in (lambda x: x, lambda x: x * 1.0):  # a leaf, a result
        x = pyad.var(5.7)
        y = apply(make(x), number)
        assert type(y) is pyad.Var
        assert close(y.value, apply(5.7, c))
        assert close(pyad.gradient(y, x), partials(5.7, c)[0])
        y = apply(number, make(x))
        assert type(y) is pyad.Var
        assert close(y.value, apply(c, 5.7))
        assert close(pyad.gradient(y, x), partials(c, 5.7)[1])


@pytest.mark.parametrize("sign", BINARY)
def test_operators_with_a_variable(sign: str) -> None:
    apply, partials = BINARY[sign], PARTIALS[sign]
    for left in (lambda x: x, lambda x: x * 1.0):
        for right in (lambda x: x, lambda x: x * 1.0):
            x, y = pyad.var(5.7), pyad.var(1.6)
            z = apply(left(x), right(y))
            assert z.value == apply(5.7, 1.6)
            assert list(map(close, pyad.gradient(z, [x, y]), partials(5.7, 1.6))) == [True, True]
            both = pyad.gradient(apply(left(x), right(x)), x)
            assert close(both, sum(partials(5.7, 5.7)))
    constant = pyad.var(1.6, requires_grad=False)
    x = pyad.var(5.7)
    assert close(pyad.gradient(apply(x, constant), x), partials(5.7, 1.6)[0])
    assert close(pyad.gradient(apply(constant, x), x), partials(1.6, 5.7)[1])
    assert not apply(constant, 2.0).requires_grad
    assert not apply(constant, constant).requires_grad


@pytest.mark.parametrize("sign", BINARY)
def test_in_place_forms_make_a_new_result(sign: str) -> None:
    x = leaf = pyad.var(5.7)
    x = IN_PLACE[sign](x, 1.6)
    assert x is not leaf
    assert leaf.value == 5.7
    assert x.value == BINARY[sign](5.7, 1.6)
    assert close(pyad.gradient(x, leaf), PARTIALS[sign](5.7, 1.6)[0])
    total = 5.7
    total = IN_PLACE[sign](total, leaf)
    assert isinstance(total, pyad.Var)


@pytest.mark.parametrize("sign", BINARY)
def test_values_are_those_of_floats(sign: str) -> None:
    for a in (5.5, -5.5, 0.0, -0.0, 1e300, -3, math.inf, -math.inf, math.nan):
        for b in (2.0, -2.0, 0.3, math.inf, -math.inf, math.nan, 3, 1e-300):
            try:
                want = BINARY[sign](a, b)
            except (OverflowError, ZeroDivisionError):  # IEEE 754 has a value there: test_edges.py
                continue
            if isinstance(want, complex):
                want = math.nan
            for got in (BINARY[sign](pyad.var(a), b).value, BINARY[sign](a, pyad.var(b)).value):
                assert got == want or (math.isnan(got) and math.isnan(want)), (a, b)
                assert want != 0 or math.copysign(1, got) == math.copysign(1, want), (a, b)


def test_unary_operators() -> None:
    for value in (2.5, -2.5):
        x = pyad.var(value)
        assert [(-x).value, (+x).value, abs(x).value] == [-value, value, 2.5]
        assert pyad.gradient(-x, x) == -1.0
        assert pyad.gradient(+x, x) == 1.0
        assert pyad.gradient(abs(x), x) == math.copysign(1.0, value)
    assert +x is not x  # a leaf may be assigned, so that its copy is a node
    y = x * 2
    assert +y is y


def test_divmod_in_both_orders() -> None:
    x = pyad.var(7.5)
    for pair, want in ((divmod(x, 2), divmod(7.5, 2)), (divmod(20, x), divmod(20, 7.5))):
        assert type(pair) is tuple
        assert [z.value for z in pair] == list(want)
    quotient, rest = divmod(x, pyad.var(2.0))
    assert pyad.gradient(quotient * 10 + rest, x) == 1.0


def test_powers() -> None:
    x = pyad.var(3.0)
    assert pyad.gradient(x**2, x) == 6.0
    assert pyad.gradient(x**2.0, x) == 6.0
    assert pyad.gradient(x**-1, x) == -1 / 9
    assert close(pyad.gradient(x**0.5, x), 0.5 / math.sqrt(3))
    assert close(pyad.gradient(2**x, x), 8 * math.log(2))
    assert close(pyad.gradient(2.0**x, x), 8 * math.log(2))
    assert close(pyad.gradient(x**x, x), 27 * (1 + math.log(3)))
    assert pyad.gradient(x**0, x) == 0.0
    assert pyad.gradient(x**True, x) == 1.0
    minus = pyad.var(-3.0)
    assert pyad.gradient(minus**3, minus) == 27.0
    assert pow(x, 2).value == 9.0
    for wrong in (lambda: pow(x, 2, 3), lambda: pow(2, x, 3), lambda: pow(2, 3, x)):
        with pytest.raises(pyad.Error, match="third argument"):
            wrong()


def test_sum_and_prod_of_the_language() -> None:
    xs = pyad.vars([1.0, 2.0, 4.0])
    assert pyad.gradient(sum(xs), xs) == [1.0, 1.0, 1.0]
    assert pyad.gradient(math.prod(xs), xs) == [8.0, 4.0, 2.0]
    assert max(xs) is xs[2]
    assert min(xs) is xs[0]
    assert sorted(xs, reverse=True) == [xs[2], xs[1], xs[0]]


WRONG = [
    "a", b"a", bytearray(b"a"), None, [1.0], (1.0,), {1.0}, frozenset({1}), {1: 2}, 1j,
    Decimal(1), object(), math.sin, range(3),
]  # fmt: skip


@pytest.mark.parametrize("sign", [*BINARY, "divmod"])
@pytest.mark.parametrize("thing", WRONG, ids=lambda x: type(x).__name__)
def test_operators_refuse_what_is_no_real_number(
    sign: str, thing: Any, unchanged: Unchanged
) -> None:
    x = pyad.var(2.0)
    y = x * 2
    apply = BINARY.get(sign, divmod)
    with unchanged(x):
        for variable in (x, y):
            with pytest.raises(pyad.Error, match=r"expects a real number, not .+: ") as caught:
                apply(variable, thing)
            assert isinstance(caught.value, TypeError)
            if sign == "%" and isinstance(thing, (str, bytes, bytearray)):
                continue  # that formats a text
            with pytest.raises(pyad.Error, match=r"expects a real number, not .+: ") as caught:
                apply(thing, variable)
            assert isinstance(caught.value, TypeError)
    assert pyad.gradient(y, x) == 2.0


def test_a_whole_number_too_large_for_a_float(unchanged: Unchanged) -> None:
    x = pyad.var(2.0)
    with unchanged(x):
        for apply in BINARY.values():
            for wrong in (lambda f=apply: f(x, 10**400), lambda f=apply: f(10**400, x)):
                with pytest.raises(ValueError, match="too large for a float"):
                    wrong()


def test_matrix_product_is_for_arrays(unchanged: Unchanged) -> None:
    x = pyad.var(2.0)
    with unchanged(x):
        for wrong in (lambda: x @ x, lambda: x @ 2.0, lambda: 2.0 @ x, lambda: x @ "a"):
            with pytest.raises(TypeError, match="@ is for arrays"):
                wrong()
        for wrong in (lambda: x @ np.ones(2), lambda: np.ones(2) @ x):
            with pytest.raises(TypeError, match="@ is for arrays"):
                wrong()
        with pytest.raises(ValueError, match="dimension"):
            np.matmul(x, [1.0])


def test_another_class_may_know_what_to_do() -> None:
    class Money:
        def __radd__(self, other: object) -> str:
            return f"{other!r} and money"

        def __mul__(self, other: object) -> str:
            return "much"

    x = pyad.var(1.0)
    assert x + Money() == "Var(1.0) and money"
    assert Money() * x == "much"
    with pytest.raises(pyad.Error, match="not Money"):
        x * Money()


class Ending(Fraction):
    """A number whose conversion runs code of the user's."""

    action: Callable[[], object] = staticmethod(lambda: None)

    def __float__(self) -> float:
        self.action()
        return 1.0


def test_a_number_that_ends_the_recording_while_it_is_read() -> None:
    x = pyad.var(1.0)
    for combine in (
        lambda y, c: y * c,
        lambda y, c: c * y,
        lambda y, c: pyad.sum([y, c]),
        lambda y, c: pyad.dot([y, y], [y, c]),
        lambda y, c: pyad.from_partials(1.0, [y, c], [1.0, 1.0]),
    ):
        y = pyad.exp(x)
        number = Ending(1)
        number.action = y.backward  # type: ignore[method-assign]
        with pytest.raises(RuntimeError, match="recording that has ended"):
            combine(y, number)
        assert len(pyad.current_tape()) == 0


def test_a_list_that_a_number_empties_while_it_is_read() -> None:
    x = pyad.var(1.0)
    xs: list[Any] = [Ending(1), *(x * 2 for _ in range(100))]
    ones: list[Any] = [Ending(1), *[1.0] * 100]
    for numbers in (xs, ones):
        numbers[0].action = lambda: (xs.clear(), ones.clear())
    assert pyad.from_partials(1.0, xs, ones).value == 1.0
    xs.extend([Ending(1), *(x * 2 for _ in range(100))])
    xs[0].action = xs.clear
    assert pyad.sum(xs).value == 201.0
