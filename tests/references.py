"""What the operations are to compute: one row per operation, in mpmath, 50 digits and more.

A row of `REFERENCES` gives the value, the first and the second partials of an operation of one or
two arguments; `test_operations.py` measures the C library against it and the rows themselves
against numerical differentiation. A partial that vanishes where its terms cancel, and only there,
has a scale: the size of these terms.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from mpmath import mp, mpf

__all__ = ["DIGITS", "REFERENCES", "SCALES", "Reference", "unknown"]

DIGITS = 50

Formula = Callable[..., Any]


class Reference(NamedTuple):
    """The value of an operation and its partials, in the order of `pyad_partials`."""

    value: Formula
    partials: Sequence[Formula]
    digits: int = DIGITS

    @property
    def names(self) -> tuple[str, ...]:
        return ("da", "daa") if len(self.partials) == 2 else ("da", "db", "daa", "dab", "dbb")


# ---- functions that mpmath does not have, or not for all arguments -------------------------------


def exp(x: Any) -> Any:
    """Beyond +-1e6 the result is 0 or infinite to a double, whatever x is."""
    return mp.exp(min(max(x, mpf(-(10**6))), mpf(10**6)))


def cbrt(x: Any) -> Any:
    return mp.sign(x) * mp.cbrt(abs(x))


def expit(x: Any) -> Any:
    return 1 / (1 + exp(-x))


def logaddexp(x: Any, y: Any) -> Any:
    return max(x, y) + mp.log1p(exp(-abs(x - y)))


def density(x: Any) -> Any:
    return exp(-x * x / 2) / mp.sqrt(2 * mp.pi)


def ndtr(x: Any) -> Any:
    return mp.ncdf(min(max(x, mpf(-1000)), mpf(1000)))


def log_ndtr(x: Any) -> Any:
    """Far out by the first terms of the asymptotic series, whose error is below 1e-19."""
    if x < -1e10:
        return -x * x / 2 - mp.log(-x * mp.sqrt(2 * mp.pi)) - 1 / (x * x)
    return mp.log(mp.ncdf(x)) if x < 0 else mp.log1p(-ndtr(-x))


def hazard(x: Any) -> Any:
    """density(x) / ndtr(x); far out as in `log_ndtr`."""
    if x < -1e10:
        return -x / (1 - 1 / (x * x))
    if x > 1000:
        return density(x)
    return mp.npdf(x) / mp.ncdf(x)


def excess(x: Any) -> Any:
    return -1 / x if x < -1e10 else x + hazard(x)


def psi(n: int, x: Any) -> Any:
    return mp.psi(n, x)


# ---- rows ----------------------------------------------------------------------------------------


def zero(*_: Any) -> Any:
    return mpf(0)


def one(*_: Any) -> Any:
    return mpf(1)


def unknown(*_: Any) -> Any:
    return mp.nan


def unary(value: Formula, da: Formula, daa: Formula) -> Reference:
    return Reference(value, (da, daa))


def binary(
    value: Formula, da: Formula, db: Formula, daa: Formula, dab: Formula, dbb: Formula
) -> Reference:
    return Reference(value, (da, db, daa, dab, dbb))


def stepwise(value: Formula) -> Reference:
    return unary(value, zero, zero)


def choice(value: Formula, da: Formula, db: Formula) -> Reference:
    return binary(value, da, db, zero, zero, zero)


def division(quotient: Callable[[Any], Any]) -> Reference:
    """A remainder a - b * quotient(a / b), with digits enough for any quotient of two doubles."""
    return Reference(
        lambda a, b: a - b * quotient(a / b),
        (one, lambda a, b: -quotient(a / b), zero, zero, zero),
        digits=1300,
    )


def truncate(x: Any) -> Any:
    return mp.sign(x) * mp.floor(abs(x))


def step(x: Any) -> Any:
    """1 above 0, 0 below, 1/2 at a tie."""
    return (1 + mp.sign(x)) / 2


LN2, LN10 = (lambda: mp.log(2)), (lambda: mp.log(10))

REFERENCES: dict[str, Reference] = {
    # arithmetic
    "add": binary(lambda a, b: a + b, one, one, zero, zero, zero),
    "sub": binary(lambda a, b: a - b, one, lambda a, b: -one(), zero, zero, zero),
    "mul": binary(lambda a, b: a * b, lambda a, b: b, lambda a, b: a, zero, one, zero),
    "div": binary(
        lambda a, b: a / b,
        lambda a, b: 1 / b,
        lambda a, b: -a / b**2,
        zero,
        lambda a, b: -1 / b**2,
        lambda a, b: 2 * a / b**3,
    ),
    "pow": binary(
        lambda a, b: exp(b * mp.log(a)),
        lambda a, b: b * exp((b - 1) * mp.log(a)),
        lambda a, b: mp.log(a) * exp(b * mp.log(a)),
        lambda a, b: b * (b - 1) * exp((b - 2) * mp.log(a)),
        lambda a, b: (1 + b * mp.log(a)) * exp((b - 1) * mp.log(a)),
        lambda a, b: mp.log(a) ** 2 * exp(b * mp.log(a)),
    ),
    "floordiv": Reference(lambda a, b: mp.floor(a / b), [zero] * 5, digits=1300),
    "mod": division(mp.floor),
    "fmod": division(truncate),
    "remainder": division(mp.nint),
    "neg": unary(lambda a: -a, lambda a: -one(), zero),
    "positive": unary(lambda a: a, one, zero),
    "square": unary(lambda a: a * a, lambda a: 2 * a, lambda a: mpf(2)),
    "reciprocal": unary(lambda a: 1 / a, lambda a: -1 / a**2, lambda a: 2 / a**3),
    # choice and rounding
    "abs": unary(abs, mp.sign, zero),
    "sign": stepwise(mp.sign),
    "copysign": choice(
        lambda a, b: abs(a) if b >= 0 else -abs(a),
        lambda a, b: mp.sign(a) if b >= 0 else -mp.sign(a),
        zero,
    ),
    "maximum": choice(max, lambda a, b: step(a - b), lambda a, b: step(b - a)),
    "minimum": choice(min, lambda a, b: step(b - a), lambda a, b: step(a - b)),
    "fmax": choice(max, lambda a, b: step(a - b), lambda a, b: step(b - a)),
    "fmin": choice(min, lambda a, b: step(b - a), lambda a, b: step(a - b)),
    "relu": unary(lambda a: max(a, zero()), lambda a: mpf(a > 0), zero),
    "floor": stepwise(mp.floor),
    "ceil": stepwise(mp.ceil),
    "trunc": stepwise(truncate),
    "rint": stepwise(mp.nint),
    # roots, exponentials, logarithms
    "sqrt": unary(mp.sqrt, lambda a: 1 / (2 * mp.sqrt(a)), lambda a: -1 / (4 * a * mp.sqrt(a))),
    "cbrt": unary(cbrt, lambda a: 1 / (3 * cbrt(a) ** 2), lambda a: -2 / (9 * a * cbrt(a) ** 2)),
    "exp": unary(exp, exp, exp),
    "exp2": unary(
        lambda a: exp(a * LN2()),
        lambda a: exp(a * LN2()) * LN2(),
        lambda a: exp(a * LN2()) * LN2() ** 2,
    ),
    "expm1": unary(mp.expm1, exp, exp),
    "log": unary(mp.log, lambda a: 1 / a, lambda a: -1 / a**2),
    "log2": unary(
        lambda a: mp.log(a) / LN2(), lambda a: 1 / (a * LN2()), lambda a: -1 / (a**2 * LN2())
    ),
    "log10": unary(
        lambda a: mp.log(a) / LN10(), lambda a: 1 / (a * LN10()), lambda a: -1 / (a**2 * LN10())
    ),
    "log1p": unary(mp.log1p, lambda a: 1 / (1 + a), lambda a: -1 / (1 + a) ** 2),
    "logaddexp": binary(
        logaddexp,
        lambda a, b: expit(a - b),
        lambda a, b: expit(b - a),
        lambda a, b: expit(a - b) * expit(b - a),
        lambda a, b: -expit(a - b) * expit(b - a),
        lambda a, b: expit(a - b) * expit(b - a),
    ),
    "xlogy": binary(
        lambda a, b: a * mp.log(b),
        lambda a, b: mp.log(b),
        lambda a, b: a / b,
        zero,
        lambda a, b: 1 / b,
        lambda a, b: -a / b**2,
    ),
    # trigonometric and hyperbolic
    "sin": unary(mp.sin, mp.cos, lambda a: -mp.sin(a)),
    "cos": unary(mp.cos, lambda a: -mp.sin(a), lambda a: -mp.cos(a)),
    "tan": unary(mp.tan, lambda a: mp.sec(a) ** 2, lambda a: 2 * mp.tan(a) * mp.sec(a) ** 2),
    "asin": unary(mp.asin, lambda a: 1 / mp.sqrt(1 - a * a), lambda a: a / mp.sqrt(1 - a * a) ** 3),
    "acos": unary(
        mp.acos, lambda a: -1 / mp.sqrt(1 - a * a), lambda a: -a / mp.sqrt(1 - a * a) ** 3
    ),
    "atan": unary(mp.atan, lambda a: 1 / (1 + a * a), lambda a: -2 * a / (1 + a * a) ** 2),
    "atan2": binary(
        mp.atan2,
        lambda a, b: b / (a * a + b * b),
        lambda a, b: -a / (a * a + b * b),
        lambda a, b: -2 * a * b / (a * a + b * b) ** 2,
        lambda a, b: (a - b) * (a + b) / (a * a + b * b) ** 2,
        lambda a, b: 2 * a * b / (a * a + b * b) ** 2,
    ),
    "hypot": binary(
        lambda a, b: mp.sqrt(a * a + b * b),
        lambda a, b: a / mp.sqrt(a * a + b * b),
        lambda a, b: b / mp.sqrt(a * a + b * b),
        lambda a, b: b * b / mp.sqrt(a * a + b * b) ** 3,
        lambda a, b: -a * b / mp.sqrt(a * a + b * b) ** 3,
        lambda a, b: a * a / mp.sqrt(a * a + b * b) ** 3,
    ),
    "sinh": unary(mp.sinh, mp.cosh, mp.sinh),
    "cosh": unary(mp.cosh, mp.sinh, mp.cosh),
    "tanh": unary(
        mp.tanh,
        lambda a: 1 / mp.cosh(min(abs(a), mpf(10**6))) ** 2,
        lambda a: -2 * mp.tanh(a) / mp.cosh(min(abs(a), mpf(10**6))) ** 2,
    ),
    "asinh": unary(
        mp.asinh, lambda a: 1 / mp.sqrt(1 + a * a), lambda a: -a / mp.sqrt(1 + a * a) ** 3
    ),
    "acosh": unary(
        mp.acosh, lambda a: 1 / mp.sqrt(a * a - 1), lambda a: -a / mp.sqrt(a * a - 1) ** 3
    ),
    "atanh": unary(mp.atanh, lambda a: 1 / (1 - a * a), lambda a: 2 * a / (1 - a * a) ** 2),
    "radians": unary(lambda a: a * mp.pi / 180, lambda a: mp.pi / 180, zero),
    "degrees": unary(lambda a: a * 180 / mp.pi, lambda a: 180 / mp.pi, zero),
    # error function, normal and logistic distributions
    "erf": unary(
        mp.erf,
        lambda a: 2 * exp(-a * a) / mp.sqrt(mp.pi),
        lambda a: -4 * a * exp(-a * a) / mp.sqrt(mp.pi),
    ),
    "erfc": unary(
        lambda a: mp.erfc(min(a, mpf(1000))),
        lambda a: -2 * exp(-a * a) / mp.sqrt(mp.pi),
        lambda a: 4 * a * exp(-a * a) / mp.sqrt(mp.pi),
    ),
    "erfinv": unary(
        mp.erfinv,
        lambda a: mp.sqrt(mp.pi) / 2 * exp(mp.erfinv(a) ** 2),
        lambda a: mp.pi / 2 * mp.erfinv(a) * exp(2 * mp.erfinv(a) ** 2),
    ),
    "ndtr": unary(ndtr, density, lambda a: -a * density(a)),
    "log_ndtr": unary(log_ndtr, hazard, lambda a: -hazard(a) * excess(a)),
    "ndtr_excess": unary(
        excess,
        lambda a: 1 - excess(a) * hazard(a),
        lambda a: hazard(a) * (excess(a) * (excess(a) + hazard(a)) - 1),
    ),
    "expit": unary(
        expit,
        lambda a: expit(a) * expit(-a),
        lambda a: -expit(a) * expit(-a) * mp.tanh(a / 2),
    ),
    "logit": unary(
        lambda a: mp.log(a / (1 - a)),
        lambda a: 1 / (a * (1 - a)),
        lambda a: (2 * a - 1) / (a * (1 - a)) ** 2,
    ),
    "softplus": unary(
        lambda a: max(a, zero()) + mp.log1p(exp(-abs(a))),
        expit,
        lambda a: expit(a) * expit(-a),
    ),
    # gamma family
    "gamma": unary(
        mp.gamma,
        lambda a: mp.gamma(a) * psi(0, a),
        lambda a: mp.gamma(a) * (psi(0, a) ** 2 + psi(1, a)),
    ),
    "lgamma": unary(mp.loggamma, lambda a: psi(0, a), lambda a: psi(1, a)),
    "digamma": unary(lambda a: psi(0, a), lambda a: psi(1, a), lambda a: psi(2, a)),
    "polygamma": binary(
        lambda n, b: psi(int(n), b),
        unknown,
        lambda n, b: psi(int(n) + 1, b),
        unknown,
        unknown,
        lambda n, b: psi(int(n) + 2, b),
    ),
}

SCALES: dict[tuple[str, str], Formula] = {
    ("pow", "dab"): lambda a, b: (1 + abs(b * mp.log(a))) * exp((b - 1) * mp.log(a)),
    ("atan2", "dab"): lambda a, b: 1 / (a * a + b * b),
    # gamma(a) digamma(a) by reflection
    ("gamma", "da"): lambda a: (
        abs(mp.gamma(a)) * (psi(0, 1 - a) + abs(mp.pi * mp.cot(mp.pi * a)) if a < 0 else 0)
    ),
}
"""The size of the terms that cancel where the partial vanishes; the others keep their digits."""
