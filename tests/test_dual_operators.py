"""Operations on `pyad.Dual`: what the table says, for every operand."""

from __future__ import annotations

import cmath
import itertools
import math
import operator
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_dual import COUNTS, same, tangents

import pyad
from pyad import Dual
from pyad._binding import Operation, ffi, lib
from pyad.demo.lotka_volterra import read_table, residual_sum_of_squares

OPERATIONS = {row.name: (op, row) for op, row in enumerate(pyad.operations())}
UNARY = [row for row in pyad.operations() if row.arguments == 1]
BINARY = [row for row in pyad.operations() if row.arguments == 2]
CANDIDATES = (-2.3, -1.5, -0.6, 0.1, 0.3, 0.8, 1.0, 1.2, 3.7)


def points(domain: str) -> list[float]:
    """Some points inside a domain of the table: "(low, high)" or "{a, b, ...}"."""
    ends = [float(end) for end in domain[1:-1].split(",")]
    if domain[0] == "{":
        return ends
    return [x for x in CANDIDATES if ends[0] < x < ends[1]]


def partials(name: str, a: float, b: float = 0.0) -> Any:
    """Value and partials that the table has."""
    result = ffi.new("pyad_partials *")
    assert lib.pyad_op_partials(OPERATIONS[name][0], a, b, result) == 0
    return result


# ---- the operation table -----------------------------------------------------------------------


@pytest.mark.parametrize("row", UNARY, ids=lambda row: row.name)
@pytest.mark.parametrize("count", COUNTS)
def test_unary_tangents_are_partial_times_tangent(row: Operation, count: int) -> None:
    for a in points(row.domain_a):
        p, given_ = partials(row.name, a), tangents(count)
        want = [p.da * t for t in given_]
        x = Dual(a, given_)
        same(getattr(pyad, row.name)(x), p.value, *want)
        same(getattr(x, row.name)(), p.value, *want)
        if row.numpy:
            same(getattr(np, row.numpy)(x), p.value, *want)
            same(getattr(x, row.numpy)(), p.value, *want)


@pytest.mark.parametrize("row", BINARY, ids=lambda row: row.name)
@pytest.mark.parametrize("count", COUNTS)
def test_binary_tangents_are_sums_over_the_operands(row: Operation, count: int) -> None:
    function = getattr(pyad, row.name)
    for a in points(row.domain_a):
        for b in points(row.domain_b):
            p, s = partials(row.name, a, b), tangents(count)
            t = s[::-1]
            x, y = Dual(a, s), Dual(b, t)
            in_a = [p.da * s[k] if s[k] else 0.0 for k in range(count)]
            in_b = [p.db * t[k] if t[k] else 0.0 for k in range(count)]
            in_both = [in_a[k] + in_b[k] for k in range(count)]
            calls = [function, lambda a, b: getattr(pyad.math, row.name, function)(a, b)]
            if row.numpy:
                calls.append(getattr(np, row.numpy))
            for call in calls:
                same(call(x, y), p.value, *in_both)
                same(call(x, b), p.value, *in_a)
                same(call(a, y), p.value, *in_b)
            same(getattr(x, row.name)(y), p.value, *in_both)
            same(getattr(x, row.name)(b), p.value, *in_a)


def test_aliases_and_derived_functions() -> None:
    x = Dual(0.5, 2.0)
    same(pyad.sigmoid(x), pyad.expit(0.5), 2 * partials("expit", 0.5).da)
    same((-x).fabs(), 0.5, 2.0)
    same(x.deg2rad(), *(partials("radians", t).value for t in (0.5, 2.0)))
    same(pyad.math.log(x, 2), math.log(0.5) / math.log(2), 4 / math.log(2))


# ---- operators ---------------------------------------------------------------------------------

OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    "add": operator.add,
    "sub": operator.sub,
    "mul": operator.mul,
    "div": operator.truediv,
    "floordiv": operator.floordiv,
    "mod": operator.mod,
    "pow": operator.pow,
}
NUMBERS = [
    *(3.0, 3, True, Fraction(7, 2), np.float64(1.75), np.float32(2.25), np.int64(3)),
    *(np.uint8(2), pyad.var(3.0, requires_grad=False), type("F", (float,), {})(2.5)),
]


@pytest.mark.parametrize("name", OPERATORS)
@pytest.mark.parametrize("number", NUMBERS, ids=lambda x: type(x).__name__)
def test_operators_with_a_number(name: str, number: Any) -> None:
    apply, c = OPERATORS[name], float(number)
    right, left = partials(name, 1.7, c), partials(name, c, 1.7)
    same(apply(Dual(1.7, [1.0, 2.0]), number), right.value, right.da, 2 * right.da)
    same(apply(number, Dual(1.7, [1.0, 2.0])), left.value, left.db, 2 * left.db)
    same(apply(Dual(1.7, 1.0), number), right.value, right.da)
    same(apply(number, Dual(1.7, 1.0)), left.value, left.db)


@pytest.mark.parametrize("name", OPERATORS)
def test_operators_with_a_dual(name: str) -> None:
    p = partials(name, 2.5, 1.7)
    same(
        OPERATORS[name](Dual(2.5, [1.0, 0.0]), Dual(1.7, [0.0, 1.0])),
        *(p.value, p.da, p.db),
    )
    same(OPERATORS[name](Dual(2.5, 1.0), Dual(1.7, 1.0)), p.value, p.da + p.db)


def test_signs_and_divmod() -> None:
    x = Dual(-2.5, 3.0)
    same(-x, 2.5, -3.0)
    same(abs(x), 2.5, -3.0)
    assert +x is x
    quotient, rest = divmod(x, 2.0)
    same(quotient, -2.0, 0.0)
    same(rest, 1.5, 3.0)
    quotient, rest = divmod(7.0, Dual(2.0, 1.0))
    same(quotient, 3.0, 0.0)
    same(rest, 1.0, -3.0)


@pytest.mark.parametrize("two", [2, 2.0])
def test_power_of_two_is_a_square(two: float) -> None:
    same(Dual(-3.0, 1.5) ** two, 9.0, -9.0)
    same(Dual(0.0, 1.0) ** two, 0.0, 0.0)


def test_powers() -> None:
    same(Dual(0.0, 1.0) ** 1, 0.0, 1.0)
    same(Dual(0.0, 1.0) ** 0, 1.0, 0.0)
    same(Dual(-2.0, 1.0) ** 3, -8.0, 12.0)
    same(Dual(-2.0, 1.0) ** Dual(3.0, 0.0), -8.0, 12.0)  # log(-2) meets a zero tangent
    same(2 ** Dual(3.0, 1.0), 8.0, 8 * math.log(2))
    same(pow(Dual(2.0, 1.0), 3.0), 8.0, 12.0)


# ---- zeros -------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", COUNTS)
def test_a_zero_tangent_stays_zero(count: int) -> None:
    zeros = [0.0] * count
    same(pyad.sqrt(Dual(0.0, zeros)), 0.0, *zeros)
    same(Dual(0.0, zeros) ** 0.5 * 2.0, 0.0, *zeros)
    same(Dual(1.0, zeros) / Dual(0.0, zeros), math.inf, *zeros)
    same(pyad.log(Dual(0.0, [*zeros, 1.0])), -math.inf, *zeros, math.inf)
    same(pyad.hypot(Dual(math.inf, zeros), Dual(1.0, zeros)), math.inf, *zeros)
    same(pyad.sum([Dual(1.0, zeros), math.inf]), math.inf, *zeros)


def test_padding_stays_zero_and_unseen() -> None:
    for _ in range(3):
        x = pyad.log(Dual(0.0, [1.0, 0.0, 2.0, 3.0]))
        same(x * 2.0, -math.inf, math.inf, 0.0, math.inf, math.inf)
        del x
        same(Dual(3.0, [1.0, 2.0]) * 2.0, 6.0, 2.0, 4.0)


def test_where_and_clip() -> None:
    x = Dual(0.0, 1.0)
    same(pyad.where(x > 0, pyad.sqrt(x), 0 * x), 0.0, 0.0)
    assert pyad.where(True, x, 1.0) is x
    assert pyad.where(False, x, 1) == 1.0
    array = pyad.where(np.array([True, False]), x, 5.0)
    assert array[0] is x
    assert array[1] == 5.0
    same(pyad.clip(Dual(3.0, 1.0), 0.0, 1.0), 1.0, 0.0)
    same(pyad.clip(Dual(0.5, 1.0), 0.0, 1.0), 0.5, 1.0)


# ---- any number of arguments -------------------------------------------------------------------


def reverse_along(f: Callable[..., Any], xs: Sequence[float], direction: Sequence[float]) -> Any:
    """Value and directional derivative, from the tape."""
    leaves = pyad.vars(xs)
    y = f(leaves)
    gradient = pyad.gradient(y, leaves)
    return y.value, math.fsum(map(operator.mul, gradient, direction))


MANY: dict[str, Callable[[list[Any]], Any]] = {
    "sum": pyad.sum,
    "prod": pyad.prod,
    "logsumexp": pyad.logsumexp,
    "norm": pyad.norm,
    "dot": lambda xs: pyad.dot(xs, xs[::-1]),
    "dot with numbers": lambda xs: pyad.dot([1.0, 2, np.float64(3.0), Fraction(1, 2)], xs),
    "lincomb": lambda xs: pyad.lincomb([1.0, -2.0, 0.5, 3], xs),
    "lincomb of products": lambda xs: pyad.lincomb(xs[2:], xs[:2]),
    "from_partials": lambda xs: pyad.from_partials(7.0, xs, [1.0, 2.0, -1.0, 0.5]),
    "math.hypot": lambda xs: pyad.math.hypot(*xs),
    "math.dist": lambda xs: pyad.math.dist(xs[:2], xs[2:]),
    "math.fsum": lambda xs: pyad.math.fsum([*xs, 1]),
    "math.prod": lambda xs: pyad.math.prod(xs, start=2),
    "math.sumprod": lambda xs: pyad.math.sumprod(xs[:2], xs[2:]),
    "math.fma": lambda xs: pyad.math.fma(xs[0], xs[1], xs[2]),
    "math.ldexp": lambda xs: pyad.math.ldexp(xs[0], 3),
    "math.frexp": lambda xs: pyad.math.frexp(xs[1])[0],
    "math.modf": lambda xs: pyad.math.modf(xs[1])[0] + pyad.math.modf(xs[1])[1],
    "math.nextafter": lambda xs: pyad.math.nextafter(xs[1], xs[0]),
    "math.pow": lambda xs: pyad.math.pow(xs[0], xs[1]),
    "math.remainder": lambda xs: pyad.math.remainder(xs[1], xs[0]),
    "builtin sum": sum,
}


@pytest.mark.parametrize("name", MANY)
@pytest.mark.parametrize("count", [1, 2, 5])
def test_many_arguments_forward_equals_reverse(name: str, count: int) -> None:
    xs, f = [0.7, 2.6, 1.1, 3.0], MANY[name]
    directions = [[1.0, 0.0, 2.0, -1.0], [0.0, 1.0, 0.0, 0.5], *np.eye(4).tolist()][:count]
    y = f([Dual(x, [d[i] for d in directions]) for i, x in enumerate(xs)])
    assert type(y) is Dual
    for tangent, direction in zip(y.tangents, directions, strict=True):
        value, want = reverse_along(f, xs, direction)
        assert y.value == value
        assert tangent == pytest.approx(want, rel=1e-15)


def test_many_arguments_mixed_with_numbers() -> None:
    x = Dual(2.0, [1.0, 0.5])
    same(pyad.sum([1, x, Fraction(1, 2), pyad.var(1.0, requires_grad=False)]), 4.5, 1.0, 0.5)
    same(pyad.sum(np.array([x, x, 1.0])), 5.0, 2.0, 1.0)
    same(pyad.prod([x, 0.0, x]), 0.0, 0.0, 0.0)
    same(pyad.norm([0 * x]), 0.0, 0.0, 0.0)
    same(pyad.from_partials(1.0, (3.0, x), (9.0, 2.0)), 1.0, 2.0, 1.0)
    assert pyad.math.frexp(x)[1] == 2
    assert pyad.math.ulp(x) == math.ulp(2.0)
    assert pyad.math.isfinite(x)
    assert pyad.math.isclose(x, 2.0)


def test_partials_of_many_arguments_in_c() -> None:
    arguments = ffi.new("pyad_operand[4]", [(1.0, 0), (2.0, 9), (3.0, 0), (4.0, 0)])
    value, result = ffi.new("double *"), ffi.new("double[4]")
    for name, expected, want in [
        ("sum", 10.0, [1.0] * 4),
        ("prod", 24.0, [24.0, 12.0, 8.0, 6.0]),
        ("dot", 14.0, [2.0, 1.0, 4.0, 3.0]),
        ("lincomb", 14.0, [2.0, 1.0, 4.0, 3.0]),
        ("norm", math.sqrt(30), [x / math.sqrt(30) for x in (1, 2, 3, 4)]),
    ]:
        assert lib.pyad_op_many(OPERATIONS[name][0], 4, arguments, value, result) == 0
        assert (value[0], list(result)) == (expected, want)
    wrong = [(OPERATIONS["dot"][0], 3), (OPERATIONS["sin"][0], 1), (-1, 1)]
    unknown = [lib.pyad_op_many(*given_, arguments, value, result) for given_ in wrong]
    assert {ffi.string(lib.pyad_error_name(status)) for status in unknown} == {b"OPERATION_UNKNOWN"}


# ---- arrays ------------------------------------------------------------------------------------


def test_object_arrays() -> None:
    xs = np.array([Dual(1.0, [1.0, 0.0]), Dual(2.0, [0.0, 1.0])])
    assert xs.dtype == object
    e = partials("exp", 1.0).value
    same(np.exp(xs)[0], e, e, 0.0)
    same((xs @ np.array([3.0, 4.0])), 11.0, 3.0, 4.0)
    same(np.sum(xs * xs), 5.0, 2.0, 4.0)
    same(pyad.tanh(xs)[1], math.tanh(2.0), 0.0, partials("tanh", 2.0).da)
    same((2.0 * xs)[1], 4.0, 0.0, 2.0)
    same((xs[0] + np.arange(2.0))[1], 2.0, 1.0, 0.0)
    same((np.arange(2.0) - xs[0])[1], 0.0, -1.0, 0.0)
    same(np.hypot(xs[0], [3.0])[0], math.hypot(1.0, 3.0), 1 / math.hypot(1.0, 3.0), 0.0)
    assert (xs > 1.5).tolist() == [False, True]
    assert (xs[0] == np.array([1.0, 2.0])).tolist() == [True, False]
    assert np.isnan(xs[0]) == np.False_


# ---- programs ----------------------------------------------------------------------------------


def directional(f: Callable[..., Any], point: list[float], direction: list[float]) -> float:
    """The complex-step derivative (Squire and Trapp, 1998)."""
    return f([complex(p, 1e-100 * d) for p, d in zip(point, direction, strict=True)]).imag / 1e-100


def rosenbrock(x: Any, m: Any) -> Any:
    total = 0.0
    for a, b in itertools.pairwise(x):
        total = total + 100.0 * (b - a * a) ** 2 + (1 - a) ** 2
    return total


def lotka_volterra(x: Any, m: Any) -> Any:
    return residual_sum_of_squares(x, read_table(), m)


LV_START = [math.log(p) for p in (0.55, 0.028, 0.84, 0.026, 33.0, 6.0)]


@pytest.mark.parametrize(
    ("f", "point"),
    [(rosenbrock, [-1.2, 1.0, 0.3, 2.0]), (lotka_volterra, LV_START)],
    ids=["rosenbrock", "lotka_volterra"],
)
def test_directional_derivatives(f: Callable[[Any, Any], Any], point: list[float]) -> None:
    n = len(point)
    directions = [*np.eye(n).tolist(), [0.3 * i - 1 for i in range(n)]]
    want = [directional(lambda x: f(x, cmath), point, d) for d in directions]
    columns = list(zip(*directions, strict=True))
    together = f([Dual(p, c) for p, c in zip(point, columns, strict=True)], pyad.math)
    assert together.value == pytest.approx(f(point, math), rel=1e-15)
    assert together.tangents == pytest.approx(want, rel=1e-12, abs=1e-12)
    alone = [
        f([Dual(p, t) for p, t in zip(point, d, strict=True)], pyad.math).tangent
        for d in directions
    ]
    assert alone == pytest.approx(together.tangents, rel=1e-14)


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["+", "-", "*", "/", "sin", "exp", "hypot", "max", "branch", "2*", "sum"]),
        st.integers(0, 50),
        st.integers(0, 50),
    ),
    max_size=25,
)


def program(xs: list[Any], steps: list[tuple[str, int, int]]) -> Any:
    """A program of bounded values: what it does next is in `steps`."""
    pool = list(xs)
    for name, i, j in steps:
        a, b = pool[i % len(pool)], pool[j % len(pool)]
        match name:
            case "+":
                c = a + b
            case "-":
                c = a - b
            case "*":
                c = a * pyad.tanh(b)
            case "/":
                c = a / (2.0 + b * b)
            case "hypot":
                c = pyad.hypot(a, b + 1)
            case "max":
                c = pyad.maximum(a, b)
            case "branch":
                c = pyad.sin(a) if a > b else b**2 / (1 + a**2)
            case "2*":
                c = 2 * a - 1
            case "sum":
                c = pyad.sum([a, 0.5, b])
            case _:
                c = getattr(pyad, name)(-abs(a))
        pool.append(pyad.tanh(c) if abs(c) > 1e3 else c)
    return pyad.sum([*pool[len(xs) :], 0 * xs[0]])


@given(steps=STEPS, point=st.lists(st.floats(-3, 3), min_size=3, max_size=3))
def test_forward_equals_reverse(steps: list[tuple[str, int, int]], point: list[float]) -> None:
    leaves = pyad.vars(point)
    y = program(leaves, steps)
    gradient = pyad.gradient(y, leaves)
    duals = [Dual(p, row) for p, row in zip(point, np.eye(3), strict=True)]
    z = program(duals, steps)
    assert z.value == y.value
    assert z.tangents == pytest.approx(gradient, rel=1e-9, abs=1e-9)
