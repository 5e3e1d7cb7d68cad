"""`pyad.math`: every name of the standard module, the same values, and derivatives."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

import pyad
from pyad import math as pm

UNARY = [
    *("acos", "acosh", "asin", "asinh", "atan", "atanh", "cbrt", "ceil", "cos", "cosh"),
    *("degrees", "erf", "erfc", "exp", "exp2", "expm1", "fabs", "floor", "frexp", "gamma"),
    *("isfinite", "isinf", "isnan", "lgamma", "log", "log10", "log1p", "log2", "modf"),
    *("radians", "sin", "sinh", "sqrt", "tan", "tanh", "trunc", "ulp"),
]
BINARY = ["atan2", "copysign", "fmod", "hypot", "isclose", "log", "nextafter", "pow", "remainder"]
POINTS = [0.0, -0.0, 0.25, 0.5, 1.0, 1.5, 2.0, 3.75, 10.0, 170.0, 1e-300, 5e-324, 1e300]
POINTS += [-x for x in POINTS]
POINTS += [math.inf, -math.inf, math.nan]
STANDARD = [name for name in UNARY + BINARY if hasattr(math, name)]  # cbrt, exp2: Python 3.11


def same(got: Any, want: Any, ulps: float = 2) -> bool:
    """Whether numbers, or tuples of them, agree to some units in the last place."""
    if isinstance(want, tuple):
        return len(got) == len(want) and all(map(same, got, want))
    if isinstance(want, (bool, int)):
        return type(got) is type(want) and got == want
    if math.isnan(want) or math.isinf(want):
        return str(float(got)) == str(want)
    if want == 0:
        return got == 0 and math.copysign(1, got) == math.copysign(1, want)
    return abs(got - want) <= ulps * math.ulp(want)


def plain(x: Any) -> Any:
    """Values in place of variables."""
    if isinstance(x, tuple):
        return tuple(map(plain, x))
    return x.value if isinstance(x, pyad.Var) else x


def test_every_name_of_the_standard_module_is_there() -> None:
    names = {name for name in dir(math) if not name.startswith("_")}
    assert names <= set(dir(pm))
    assert names <= set(pm.__all__)
    assert len(set(pm.__all__)) == len(pm.__all__)
    assert all(hasattr(pm, name) for name in pm.__all__)
    for constant in ("pi", "e", "tau", "inf"):
        assert getattr(pm, constant) == getattr(math, constant)
    assert math.isnan(pm.nan)


@pytest.mark.parametrize("name", [name for name in UNARY if name in STANDARD])
def test_values_of_one_argument(name: str) -> None:
    standard, ours = getattr(math, name), getattr(pm, name)
    ulps = 16 if name in ("gamma", "lgamma") else 2  # CPython's own are no better
    for x in POINTS:
        try:
            want = standard(x)
        except (ValueError, OverflowError):
            continue
        assert same(ours(x), want, ulps), x
        assert same(plain(ours(pyad.var(x))), want, ulps), x
        if type(want) is float and name != "ulp":
            assert isinstance(ours(pyad.var(x)), pyad.Var)


@pytest.mark.parametrize("name", [name for name in BINARY if name in STANDARD])
def test_values_of_two_arguments(name: str) -> None:
    standard, ours = getattr(math, name), getattr(pm, name)
    for x in POINTS:
        for y in POINTS:
            try:
                want = standard(x, y)
            except (ValueError, OverflowError, ZeroDivisionError):
                continue
            assert same(ours(x, y), want), (x, y)
            for a, b in ((pyad.var(x), y), (x, pyad.var(y)), (pyad.var(x), pyad.var(y))):
                assert same(plain(ours(a, b)), want), (x, y)


@pytest.mark.parametrize("name", UNARY)
def test_where_the_standard_module_raises_is_a_number(name: str) -> None:
    standard, ours = getattr(math, name, None), getattr(pm, name)
    if name in ("ceil", "floor", "trunc"):  # whole numbers: there is none
        return
    for x in POINTS:
        try:
            if standard:
                standard(x)
        except (ValueError, OverflowError):
            assert not math.isfinite(ours(x))


# ---- derivatives -----------------------------------------------------------------------------

DIFFERENTIABLE: dict[str, tuple[Callable[..., Any], tuple[float, ...]]] = {
    **{
        name: (getattr(pm, name), (0.4,))
        for name in UNARY
        if name not in ("acosh", "frexp", "modf", "ulp", "isfinite", "isinf", "isnan")
        if name not in ("ceil", "floor", "trunc")
    },
    "acosh": (pm.acosh, (1.4,)),
    **{name: (getattr(pm, name), (3.3, 0.7)) for name in BINARY if name != "isclose"},
    "log to base": (pm.log, (3.3, 2.5)),
    "hypot of 1": (pm.hypot, (-2.0,)),
    "hypot of 3": (pm.hypot, (1.0, -2.0, 3.0)),
    "dist": (lambda *x: pm.dist(x[:2], x[2:]), (1.0, 2.0, -3.0, 5.0)),
    "dist to a point": (lambda *x: pm.dist(x, (0.5, 0.25, 0.125)), (1.0, 2.0, -3.0)),
    "fsum": (lambda *x: pm.fsum(iter(x)), (1.0, 2.0, 3.0)),
    "prod": (lambda *x: pm.prod(x, start=2), (1.5, -2.0, 3.0)),
    "prod from": (lambda *x: pm.prod([2.0, 3.0], start=x[0]), (1.5,)),
    "sumprod": (lambda *x: pm.sumprod(x[:2], x[2:]), (1.0, 2.0, -3.0, 5.0)),
    "sumprod with numbers": (lambda *x: pm.sumprod(iter(x), [5.0, 6.0]), (1.0, 2.0)),
    "fma": (pm.fma, (2.0, 3.0, 5.0)),
    "ldexp": (lambda x: pm.ldexp(x, 5), (1.3,)),
    "frexp": (lambda x: pm.frexp(x)[0], (13.0,)),
    "modf": (lambda x: pm.modf(x)[0], (13.3,)),
    "modf whole": (lambda x: pm.modf(x)[1], (13.3,)),
}


@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_derivatives_agree_with_finite_differences(name: str) -> None:
    function, point = DIFFERENTIABLE[name]
    xs = pyad.vars(point)
    slopes = pyad.gradient(function(*xs), xs)
    if name == "nextafter":
        assert slopes == [1.0, 0.0]
        return
    for k, x in enumerate(point):
        step = 1e-5 * max(1.0, abs(x))

        def moved(s: float, k: int = k, step: float = step) -> float:
            return float(function(*(v + s * step * (i == k) for i, v in enumerate(point))))

        slope = (8 * (moved(1) - moved(-1)) - (moved(2) - moved(-2))) / (12 * step)
        assert slopes[k] == pytest.approx(slope, rel=1e-8, abs=1e-9)


# ---- the special ones --------------------------------------------------------------------------


def test_whole_numbers_are_those_of_the_standard_module() -> None:
    for name in ("comb", "factorial", "gcd", "isqrt", "lcm", "perm"):
        assert getattr(pm, name) is getattr(math, name)
    x = pyad.var(2.7)
    assert (pm.floor(x), pm.ceil(x), pm.trunc(x)) == (2, 3, 2)
    with pytest.raises(TypeError):
        pm.factorial(x)


def test_sums_round_once() -> None:
    random.seed(5)
    for count in (0, 1, 2, 3, 10, 100, 1000):
        numbers = [random.gauss(0, 1) * 10 ** random.uniform(-12, 12) for _ in range(count)]
        others = [random.gauss(0, 1) * 10 ** random.uniform(-12, 12) for _ in range(count)]
        numbers += [-x for x in numbers[::2]]
        others += others[::2]
        exact = sum(map(Fraction, numbers), Fraction(0))
        product = sum((Fraction(x) * Fraction(y) for x, y in zip(numbers, others, strict=True)), 0)
        assert same(pm.fsum(numbers), math.fsum(numbers), 1)
        assert same(pm.fsum(pyad.vars(numbers)).value if count else 0.0, float(exact), 1)
        assert pm.sumprod(numbers, others) == pytest.approx(float(product), rel=1e-15, abs=1e-300)
    assert pm.fsum([0.1] * 10) == 1.0
    assert pm.fsum([1e100, 1.0, -1e100]) == 1.0
    assert pm.sumprod([1e16, 1.0, -1e16], [1.0, 1.0, 1.0]) == 1.0
    assert pm.fma(1 + 2.0**-30, 1 - 2.0**-30, -1.0) == -(2.0**-60)


def test_empty_ones() -> None:
    assert (pm.fsum([]), pm.prod([]), pm.sumprod([], []), pm.hypot(), pm.dist([], [])) == (
        *(0.0, 1, 0.0, 0.0, 0.0),
    )


def test_extremes_of_ldexp_and_frexp() -> None:
    x = pyad.var(0.75)
    assert pm.ldexp(x, 2000).value == math.inf
    assert pm.ldexp(pyad.var(-1.0), 2000).value == -math.inf
    assert pm.ldexp(x, -2000).value == 0.0
    assert pyad.gradient(pm.ldexp(x, 3), x) == 8.0
    for value in (5e-324, 1e308, -0.3, 0.0, math.inf):
        mantissa, exponent = pm.frexp(pyad.var(value))
        assert (mantissa.value, exponent) == math.frexp(value)
        assert type(exponent) is int


def test_distances_of_large_and_equal_points() -> None:
    assert same(pm.hypot(3e200, 4e200), 5e200)
    assert same(pm.hypot(3e-200, 4e-200, 0.0), 5e-200)
    x = pyad.vars([1.0, 2.0, 3.0])
    assert pyad.gradient(pm.dist(x, [1.0, 2.0, 3.0]), x) == [0.0, 0.0, 0.0]
    for p, q in (([1.0], [1.0, 2.0]), (x, [])):
        with pytest.raises(ValueError, match="one length"):
            pm.dist(p, q)


def test_questions_answer_by_value() -> None:
    x = pyad.var(1.0)
    assert pm.isclose(x, 1.0 + 1e-12)
    assert pm.isclose(x, pyad.var(1.1), rel_tol=0.2)
    assert not pm.isclose(1.0, x + 1, abs_tol=0.5)
    assert pm.isnan(pyad.var(math.nan))
    assert pm.ulp(x) == math.ulp(1.0)


def test_arrays_are_welcome() -> None:
    a = np.array([0.25, 0.5])
    assert pm.sin(a).shape == (2,)
    assert pm.fabs(-a).tolist() == a.tolist()


def test_scalar_code_becomes_differentiable() -> None:
    code = "def f(x):\n    return math.exp(-math.pow(x, 2)) * math.log(x, 2) if x > 1 else x"
    ordinary: dict[str, Any] = {"math": math}
    ours: dict[str, Any] = {"math": pm}
    exec(code, ordinary)
    exec(code, ours)
    x = pyad.var(1.7)
    y = ours["f"](x)
    assert y.value == pytest.approx(ordinary["f"](1.7), rel=1e-15)
    step = 1e-6
    slope = (ordinary["f"](1.7 + step) - ordinary["f"](1.7 - step)) / (2 * step)
    assert pyad.gradient(y, x) == pytest.approx(slope, rel=1e-8)
