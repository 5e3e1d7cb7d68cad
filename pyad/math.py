"""The names of the standard module `math`, differentiable.

`from pyad import math` in place of `import math` makes scalar code differentiable. Results outside
a domain and beyond the largest float are NaN and infinities where the standard module raises;
functions that give whole numbers (`floor`, `gcd`, ...) give them, and their derivative is 0.
"""

from __future__ import annotations

import math as _math
from collections.abc import Iterable, Sequence
from math import (
    ceil,
    comb,
    e,
    factorial,
    floor,
    gcd,
    inf,
    isqrt,
    lcm,
    nan,
    perm,
    pi,
    tau,
    trunc,
)
from typing import Any

from pyad import _handle
from pyad._binding import error
from pyad._elementwise import as_array
from pyad._handle import (
    Dual,
    Var,
    acos,
    acosh,
    asin,
    asinh,
    atan,
    atan2,
    atanh,
    cbrt,
    copysign,
    cos,
    cosh,
    degrees,
    dot,
    erf,
    erfc,
    exp,
    exp2,
    expm1,
    fmod,
    from_partials,
    gamma,
    lgamma,
    log1p,
    log2,
    log10,
    pow,
    radians,
    remainder,
    sin,
    sinh,
    sqrt,
    tan,
    tanh,
)

# fmt: off
__all__ = [  # noqa: RUF022  (many to a line)
    "acos", "acosh", "asin", "asinh", "atan", "atan2", "atanh", "cbrt", "ceil", "comb",
    "copysign", "cos", "cosh", "degrees", "dist", "e", "erf", "erfc", "exp", "exp2", "expm1",
    "fabs", "factorial", "floor", "fma", "fmod", "frexp", "fsum", "gamma", "gcd", "hypot",
    "inf", "isclose", "isfinite", "isinf", "isnan", "isqrt", "lcm", "ldexp", "lgamma", "log",
    "log10", "log1p", "log2", "modf", "nan", "nextafter", "perm", "pi", "pow", "prod",
    "radians", "remainder", "sin", "sinh", "sqrt", "sumprod", "tan", "tanh", "tau", "trunc",
    "ulp",
]
# fmt: on

fabs = _handle.abs
log = _handle._log_to_base


def _value(x: Any) -> Any:
    return x.value if isinstance(x, (Var, Dual)) else x


def fsum(xs: Iterable[Any], /) -> Any:
    """The sum with compensated rounding, as one node."""
    return _handle.sum(list(xs))


def prod(xs: Iterable[Any], /, *, start: Any = 1) -> Any:
    """The product, as one node; `start` is one more factor."""
    return _handle.prod([start, *xs])


def sumprod(p: Iterable[Any], q: Iterable[Any], /) -> Any:
    """p1*q1 + p2*q2 + ... with compensated rounding, as one node."""
    return dot(list(p), list(q))


def fma(x: Any, y: Any, z: Any, /) -> Any:
    """One multiplication and addition, x*y + z, rounded (nearly) once."""
    return dot([x, z], [y, 1.0])


def hypot(*coordinates: Any) -> Any:
    """The Euclidean norm of the coordinates; its derivative at the origin is 0."""
    if len(coordinates) == 2:
        return _handle.hypot(*coordinates)
    return _handle.norm(coordinates)


def dist(p: Sequence[Any], q: Sequence[Any], /) -> Any:
    """The Euclidean distance of two points of one dimension."""
    a, b = (as_array(list(point), "math.dist") for point in (p, q))
    if len(a) != len(b):
        raise error("LENGTHS_DIFFER", "math.dist", str(len(a)), str(len(b)))
    return hypot(*(a - b))


def ldexp(x: Any, i: int, /) -> Any:
    """The number x * 2**i; infinite where that is too large."""
    if not isinstance(x, (Var, Dual)):
        return _scaled(x, i)
    return _moved(x, max(-2200, min(2200, i)))


def _moved(x: Any, i: int) -> Any:
    """Multiply by 2**i in steps, none of which is too large on its own."""
    for step in (i // 3, i // 3, i - 2 * (i // 3)):
        x = x * _scaled(1.0, step)
    return x


def _scaled(x: float, i: int) -> float:
    try:
        return _math.ldexp(x, i)
    except OverflowError:
        return _math.copysign(_math.inf, x)


def frexp(x: Any, /) -> tuple[Any, int]:
    """(m, e) with x == m * 2**e and 0.5 <= abs(m) < 1; e is a whole number."""
    if not isinstance(x, (Var, Dual)):
        return _math.frexp(x)
    value: float = _handle._peek(x)
    exponent = _math.frexp(value)[1]
    size: Any = abs(x)
    if not _scaled(0.5, exponent) <= size < _scaled(1.0, exponent):
        _ = x == value or x != x  # 0, an infinity or NaN, which a recording has to know
    return _moved(x, -exponent), exponent


def modf(x: Any, /) -> tuple[Any, Any]:
    """The fractional part, which has the derivative, and the whole part, which has none."""
    if not isinstance(x, (Var, Dual)):
        return _math.modf(x)
    if abs(x) == _math.inf:  # which has no fraction
        return (0.0 if x > 0 else -0.0), _handle.trunc(x)
    return _handle.fmod(x, 1.0), _handle.trunc(x)


def nextafter(x: Any, y: Any, /) -> Any:
    """The next float after x towards y; its derivative is that of x."""
    value = _math.nextafter(_value(x), _value(y))
    return from_partials(value, [x], [1.0]) if isinstance(x, (Var, Dual)) else value


def ulp(x: Any, /) -> float:
    """The unit in the last place of the value."""
    return _math.ulp(_value(x))


def isnan(x: Any, /) -> bool:
    """Whether the value is NaN."""
    return bool(x != x) if isinstance(x, (Var, Dual)) else _math.isnan(x)


def isinf(x: Any, /) -> bool:
    """Whether the value is infinite."""
    return bool(x == inf or x == -inf) if isinstance(x, (Var, Dual)) else _math.isinf(x)


def isfinite(x: Any, /) -> bool:
    """Whether the value is neither infinite nor NaN."""
    return bool(-inf < x < inf) if isinstance(x, (Var, Dual)) else _math.isfinite(x)


def isclose(a: Any, b: Any, *, rel_tol: float = 1e-09, abs_tol: float = 0.0) -> bool:
    """Whether the values are close, as `math.isclose` has it."""
    if _handle._is_guarding() and any(isinstance(x, (Var, Dual)) for x in (a, b)):
        return _is_close(a, b, rel_tol, abs_tol)
    return _math.isclose(_value(a), _value(b), rel_tol=rel_tol, abs_tol=abs_tol)


def _is_close(a: Any, b: Any, rel_tol: float, abs_tol: float) -> bool:
    """The same in comparisons of variables, which a recording keeps."""
    _math.isclose(0.0, 0.0, rel_tol=rel_tol, abs_tol=abs_tol)  # refuses tolerances below 0
    if a == b:
        return True
    if isinf(a) or isinf(b):
        return False
    distance = fabs(b - a)
    return bool(
        distance <= fabs(rel_tol * b) or distance <= fabs(rel_tol * a) or distance <= abs_tol
    )
