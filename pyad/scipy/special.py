"""`scipy.special` for Arrays and variables: values, derivatives of any order.

The functions of the operation table (`erf`, `gammaln`, `expit`, `ndtr` ...) run natively. The
others take their values from SciPy, and their derivatives are written in functions of this module,
which have derivatives themselves. An argument in which no derivative is known in closed form (the
order of a Bessel function, the shape of `gammainc`) must be a plain number; a variable there is
refused. Formulas: NIST Digital Library of Mathematical Functions, the chapter of each function.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import pyad.functions as _native
from pyad._binding import error
from pyad.array._common import normal_axes
from pyad.array._convert import as_array
from pyad.array._reductions import logsumexp as _logsumexp
from pyad.array._reductions import shift_of
from pyad.array._rules import elementwise, extended, holds_variables, operand, plain, total
from pyad.array._rules import select as _select
from pyad.array._rules import shape_of as _shape_of
from pyad.scipy import required

_Function = Callable[..., Any]
_PI = float(np.pi)
_ROOT_PI = float(np.sqrt(np.pi))
_ROOT_2PI = float(np.sqrt(2 * np.pi))
_LOG_ROOT_2PI = float(0.5 * np.log(2 * np.pi))

_exp, _log = _native.exp, _native.log


def _scipy(name: str) -> Any:
    return getattr(required("scipy.special", f"scipy.special.{name}"), name)


def _check(name: str, args: Sequence[Any], count: int, options: dict[str, Any]) -> None:
    if len(args) != count or options:
        raise error(
            "ARGUMENTS",
            f"scipy.special.{name} of variables takes {count} positional argument"
            f"{'s' if count > 1 else ''} and no options"
            f", not {len(args)}{' and ' + ', '.join(options) if options else ''}",
        )


# ---- functions of the operation table ------------------------------------------------------------


def _of_table(name: str, operation: str, count: int) -> _Function:
    ours = getattr(_native, operation)

    def function(*args: Any, **options: Any) -> Any:
        if not holds_variables(*args):
            return _scipy(name)(*args, **options)
        _check(name, args, count, options)
        if any(isinstance(x, (list, tuple, np.ndarray)) for x in args):
            args = tuple(as_array(x, f"scipy.special.{name}") for x in args)
        return ours(*args)

    return _named(function, name)


def _named(function: _Function, name: str) -> _Function:
    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"`scipy.special.{name}`."
    return function


_TABLE = {
    "erf": ("erf", 1), "erfc": ("erfc", 1), "erfinv": ("erfinv", 1), "ndtr": ("ndtr", 1),
    "log_ndtr": ("log_ndtr", 1), "expit": ("expit", 1), "logit": ("logit", 1),
    "gamma": ("gamma", 1), "gammaln": ("lgamma", 1), "psi": ("digamma", 1),
    "digamma": ("digamma", 1), "xlogy": ("xlogy", 2), "cbrt": ("cbrt", 1), "exp2": ("exp2", 1),
    "expm1": ("expm1", 1), "log1p": ("log1p", 1), "polygamma": ("polygamma", 2),
}  # fmt: skip

# ---- functions by their partial derivatives ------------------------------------------------------


def _by_partials(name: str, partials: Sequence[_Function | None]) -> _Function:
    def function(*args: Any, **options: Any) -> Any:
        value = _scipy(name)
        if not holds_variables(*args):
            return value(*args, **options)
        _check(name, args, len(partials), options)
        return elementwise(f"scipy.special.{name}", value, partials, *args)

    return _named(function, name)


def _zero(*xs: Any) -> Any:
    return np.zeros(np.broadcast_shapes(*map(_shape_of, xs)))


def _call(name: str) -> _Function:
    """A function of this module, found when it is called."""
    return lambda *xs: globals()[name](*xs)


_gamma, _gammaln, _psi, _rgamma = map(_call, ("gamma", "gammaln", "psi", "rgamma"))
_beta, _betaln, _erfcx, _hyp1f1 = map(_call, ("beta", "betaln", "erfcx", "hyp1f1"))
_jv, _yv, _iv, _ive, _kv, _kve = map(_call, ("jv", "yv", "iv", "ive", "kv", "kve"))
_xlogy, _xlog1py = map(_call, ("xlogy", "xlog1py"))


def _reciprocal_gamma_slope(x: Any) -> Any:
    """-psi / gamma; at the poles of gamma their limit, (-1)^n n!."""
    values = plain(x)
    pole = (values <= 0) & (values == np.floor(values))
    if not np.any(pole):
        return -_psi(x) * _rgamma(x)
    n = np.where(pole, -values, 0.0)
    limit = np.where(n % 2 == 0, 1.0, -1.0) * _scipy("gamma")(n + 1)
    safe = _select(pole, np.ones(_shape_of(x)), x)
    return _select(pole, limit, -_psi(safe) * _rgamma(safe))


def _gammainc_slope(a: Any, x: Any) -> Any:
    return _exp(_xlogy(a - 1.0, x) - x - _gammaln(a))


def _betainc_slope(a: Any, b: Any, x: Any) -> Any:
    return _exp(_xlogy(a - 1.0, x) + _xlog1py(b - 1.0, -x) - _betaln(a, b))


def _expn_slope(n: Any, x: Any) -> Any:
    """-E_(n-1), where E_0 = exp(-x) / x and E_-1 = exp(-x) (1 + 1/x) / x."""
    order = np.asarray(plain(n))
    first, zeroth = -_exp(-x) / x, -_exp(-x) * (1.0 + 1.0 / x) / x
    higher = globals()["expn"](np.maximum(order - 1, 1), x)
    return _select(order >= 2, -higher, _select(order == 1, first, zeroth))


def _binom_slopes() -> tuple[_Function, _Function]:
    binom = _call("binom")
    return (
        lambda n, k: binom(n, k) * (_psi(n + 1.0) - _psi(n - k + 1.0)),
        lambda n, k: binom(n, k) * (_psi(n - k + 1.0) - _psi(k + 1.0)),
    )


def _log_expit_slope(x: Any) -> Any:
    return _native.expit(-x)


def _sign(x: Any) -> Any:
    return np.sign(x)


def _half(f: _Function, sign: float = 1.0) -> _Function:
    """Half of f_(v-1) + sign f_(v+1)."""
    return lambda v, x: 0.5 * (f(v - 1.0, x) + sign * f(v + 1.0, x))


def _boxcox_slope(x: Any, k: Any) -> Any:
    logarithm = _log(x)
    return logarithm * logarithm * 0.5 * _hyp1f1(2.0, 3.0, k * logarithm)


def _t_density(df: Any, t: Any) -> Any:
    return _exp(
        _gammaln(0.5 * df + 0.5) - _gammaln(0.5 * df) - 0.5 * _log(df * _PI)
        - (0.5 * df + 0.5) * _native.log1p(t * t / df)
    )  # fmt: skip


def _root(d: Any, r: Any) -> Any:
    return np.sqrt(1.0 + (r / d) * (r / d))


def _huber_over(d: Any, r: Any) -> Any:
    """sqrt(1 + (r/d)^2) - 1, without cancellation."""
    square = (r / d) * (r / d)
    return square / (1.0 + np.sqrt(1.0 + square))


_PARTIALS: dict[str, Sequence[_Function | None]] = {
    # ---- gamma and beta
    "loggamma": (_psi,),
    "rgamma": (_reciprocal_gamma_slope,),
    "gammasgn": (_zero,),
    "beta": (
        lambda a, b: _beta(a, b) * (_psi(a) - _psi(a + b)),
        lambda a, b: _beta(a, b) * (_psi(b) - _psi(a + b)),
    ),
    "betaln": (lambda a, b: _psi(a) - _psi(a + b), lambda a, b: _psi(b) - _psi(a + b)),
    "binom": _binom_slopes(),
    "poch": (
        lambda z, m: _call("poch")(z, m) * (_psi(z + m) - _psi(z)),
        lambda z, m: _call("poch")(z, m) * _psi(z + m),
    ),
    "gammainc": (None, _gammainc_slope),
    "gammaincc": (None, lambda a, x: -_gammainc_slope(a, x)),
    "gammaincinv": (None, lambda a, y: 1.0 / _gammainc_slope(a, _call("gammaincinv")(a, y))),
    "gammainccinv": (None, lambda a, y: -1.0 / _gammainc_slope(a, _call("gammainccinv")(a, y))),
    "betainc": (None, None, _betainc_slope),
    "betaincc": (None, None, lambda a, b, x: -_betainc_slope(a, b, x)),
    "betaincinv": (
        None, None, lambda a, b, y: 1.0 / _betainc_slope(a, b, _call("betaincinv")(a, b, y)),
    ),
    "betainccinv": (
        None, None, lambda a, b, y: -1.0 / _betainc_slope(a, b, _call("betainccinv")(a, b, y)),
    ),
    "zeta": (None, lambda x, q: -x * _call("zeta")(x + 1.0, q)),
    # ---- error functions and the normal distribution
    "erfcinv": (lambda y: -0.5 * _ROOT_PI * _exp(_call("erfcinv")(y) ** 2),),
    "erfcx": (lambda x: 2.0 * x * _erfcx(x) - 2.0 / _ROOT_PI,),
    "erfi": (lambda x: _exp(x * x) * (2.0 / _ROOT_PI),),
    "dawsn": (lambda x: 1.0 - 2.0 * x * _call("dawsn")(x),),
    "ndtri": (lambda y: _ROOT_2PI * _exp(0.5 * _call("ndtri")(y) ** 2),),
    "ndtri_exp": (lambda y: _exp(y + 0.5 * _call("ndtri_exp")(y) ** 2 + _LOG_ROOT_2PI),),
    "owens_t": (
        lambda h, a: _native.erf(a * h * np.sqrt(0.5)) * _exp(-0.5 * h * h) * (-0.5 / _ROOT_2PI),
        lambda h, a: _exp(-0.5 * h * h * (1.0 + a * a)) / (1.0 + a * a) * (0.5 / _PI),
    ),
    "stdtr": (None, _t_density),
    "stdtrit": (None, lambda df, p: 1.0 / _t_density(df, _call("stdtrit")(df, p))),
    # ---- entropy and logarithms
    "log_expit": (_log_expit_slope,),
    "xlog1py": (
        lambda x, y: _native.log1p(y),
        lambda x, y: x / (1.0 + y),
    ),
    "entr": (lambda x: -_log(x) - 1.0,),
    "rel_entr": (lambda x, y: _log(x / y) + 1.0, lambda x, y: -x / y),
    "kl_div": (lambda x, y: _log(x / y), lambda x, y: 1.0 - x / y),
    "huber": (
        lambda d, r: _select(abs(plain(r)) <= plain(d), 0.0 * r, abs(r) - d),
        lambda d, r: _select(abs(plain(r)) <= plain(d), r, d * _sign(r)),
    ),
    "pseudo_huber": (
        lambda d, r: _huber_over(d, r) * (2.0 * d) - r * r / d / _root(d, r),
        lambda d, r: r / _root(d, r),
    ),
    "boxcox": (lambda x, k: _native.pow(x, k - 1.0), _boxcox_slope),
    "exp10": (lambda x: _call("exp10")(x) * float(np.log(10.0)),),
    "exprel": (lambda x: 0.5 * _hyp1f1(2.0, 3.0, x),),
    "cosm1": (lambda x: -np.sin(x),),
    # ---- Bessel functions (DLMF 10.6, 10.29)
    "j0": (lambda x: -_call("j1")(x),),
    "j1": (lambda x: 0.5 * (_call("j0")(x) - _jv(2.0, x)),),
    "jv": (None, _half(_jv, -1.0)),
    "jn": (None, _half(_jv, -1.0)),
    "jve": (None, _half(_call("jve"), -1.0)),
    "y0": (lambda x: -_call("y1")(x),),
    "y1": (lambda x: _call("y0")(x) - _call("y1")(x) / x,),
    "yn": (None, lambda n, x: 0.5 * (_yv(n - 1.0, x) - _yv(n + 1.0, x))),
    "yv": (None, _half(_yv, -1.0)),
    "yve": (None, _half(_call("yve"), -1.0)),
    "i0": (lambda x: _call("i1")(x),),
    "i1": (lambda x: 0.5 * (_call("i0")(x) + _iv(2.0, x)),),
    "iv": (None, _half(_iv)),
    "i0e": (lambda x: _call("i1e")(x) - _sign(x) * _call("i0e")(x),),
    "i1e": (lambda x: 0.5 * (_call("i0e")(x) + _ive(2.0, x)) - _sign(x) * _call("i1e")(x),),
    "ive": (None, lambda v, x: _half(_ive)(v, x) - _sign(x) * _ive(v, x)),
    "k0": (lambda x: -_call("k1")(x),),
    "k1": (lambda x: -_call("k0")(x) - _call("k1")(x) / x,),
    "kn": (None, lambda v, x: -_half(_kv)(v, x)),
    "kv": (None, lambda v, x: -_half(_kv)(v, x)),
    "k0e": (lambda x: _call("k0e")(x) - _call("k1e")(x),),
    "k1e": (lambda x: _call("k1e")(x) * (1.0 - 1.0 / x) - _call("k0e")(x),),
    "kve": (None, lambda v, x: _kve(v, x) - _half(_kve)(v, x)),
    # ---- integrals
    "expn": (None, _expn_slope),
    "exp1": (lambda x: -_exp(-x) / x,),
    "expi": (lambda x: _exp(x) / x,),
    "spence": (lambda x: -_call("hyp2f1")(1.0, 1.0, 2.0, 1.0 - x),),
    "ellipk": (lambda m: _PI / 8 * _call("hyp2f1")(1.5, 1.5, 2.0, m),),
    "ellipe": (lambda m: -_PI / 8 * _call("hyp2f1")(0.5, 1.5, 2.0, m),),
    # ---- hypergeometric functions, in their last argument
    "hyp0f1": (None, lambda v, z: _call("hyp0f1")(v + 1.0, z) / v),
    "hyp1f1": (None, None, lambda a, b, z: _hyp1f1(a + 1.0, b + 1.0, z) * (a / b)),
    "hyp2f1": (
        None, None, None,
        lambda a, b, c, z: _call("hyp2f1")(a + 1.0, b + 1.0, c + 1.0, z) * (a * b / c),
    ),
}  # fmt: skip
"""{name: the derivative in each argument, None where none is known in closed form}"""


globals().update({name: _of_table(name, *row) for name, row in _TABLE.items()})
globals().update({name: _by_partials(name, row) for name, row in _PARTIALS.items()})


# ---- functions made of others --------------------------------------------------------------------


def multigammaln(a: Any, d: Any) -> Any:
    """`scipy.special.multigammaln`."""
    d = plain(d)
    if not holds_variables(a):
        return _scipy("multigammaln")(a, d)
    a = operand(a, "scipy.special.multigammaln")
    _scipy("multigammaln")(plain(a), d)  # what SciPy refuses
    result = d * (d - 1) * 0.25 * float(np.log(np.pi))
    for k in range(int(d)):
        result = _gammaln(a - 0.5 * k) + result
    return result


def factorial(n: Any, exact: bool = False) -> Any:
    """`scipy.special.factorial`: gamma(n + 1), and 0 for negative n."""
    if not holds_variables(n):
        return _scipy("factorial")(n, exact)
    if exact:
        raise error("ARGUMENTS", "scipy.special.factorial of a variable takes exact=False only")
    n = operand(n, "scipy.special.factorial")
    negative = plain(n) < 0
    return _select(negative, _zero(n), _gamma(n * ~negative + 1.0))


def comb(N: Any, k: Any, *, exact: bool = False, repetition: bool = False) -> Any:  # noqa: N803
    """`scipy.special.comb`: `binom(N, k)` where 0 <= k <= N, else 0."""
    if not holds_variables(N, k):
        return _scipy("comb")(N, k, exact=exact, repetition=repetition)
    if exact:
        raise error("ARGUMENTS", "scipy.special.comb of variables takes exact=False only")
    N, k = operand(N, "scipy.special.comb"), operand(k, "scipy.special.comb")  # noqa: N806
    if repetition:
        return comb(N + k - 1.0, k)
    inside = (plain(k) <= plain(N)) & (plain(N) >= 0) & (plain(k) >= 0)
    found = _call("binom")(N, k)
    return _select(inside, found, _zero(found))


def logsumexp(
    a: Any, axis: Any = None, b: Any = None, keepdims: bool = False, return_sign: bool = False
) -> Any:
    """`scipy.special.logsumexp`; with `return_sign` the sign is an ndarray: it is constant."""
    if not holds_variables(a, b):
        return _scipy("logsumexp")(a, axis, b, keepdims, return_sign)
    a = operand(a, "scipy.special.logsumexp")
    if b is None:
        found = _logsumexp(a, axis=axis, keepdims=keepdims)
        return (found, np.ones(_shape_of(found))[()]) if return_sign else found
    b = operand(b, "scipy.special.logsumexp")
    shape = np.broadcast_shapes(_shape_of(a), _shape_of(b))
    a, b = extended(a, shape), extended(b, shape)
    sides = axis if axis is not None else tuple(range(len(shape)))
    top = np.max(
        np.where(plain(b) != 0, plain(a), -np.inf), axis=sides, keepdims=True, initial=-np.inf
    )
    shift = np.where(np.isfinite(top), top, 0.0)
    terms = _select(np.broadcast_to(plain(b) != 0, shape), b * _exp(a - shift), np.zeros(shape))
    added = total(terms, sides, keepdims)
    shift = np.sum(shift, axis=sides, keepdims=keepdims)
    sign = np.sign(plain(added))
    if return_sign:
        return _log(added * sign) + shift, sign
    return _log(added) + shift


def softmax(x: Any, axis: Any = None) -> Any:
    """`scipy.special.softmax`."""
    if not holds_variables(x):
        return _scipy("softmax")(x, axis)
    return _exp(log_softmax(x, axis))


def log_softmax(x: Any, axis: Any = None) -> Any:
    """`scipy.special.log_softmax`."""
    if not holds_variables(x):
        return _scipy("log_softmax")(x, axis)
    x = operand(x, "scipy.special.log_softmax")
    if not _shape_of(x):
        return x - x
    shifted = x - shift_of(x, normal_axes(axis, len(_shape_of(x))))  # as SciPy: few digits get lost
    return shifted - _log(total(_exp(shifted), axis, True))


def sinc(x: Any) -> Any:
    """`scipy.special.sinc`, which is NumPy's."""
    return np.sinc(operand(x, "scipy.special.sinc") if holds_variables(x) else x)


_MADE = ("multigammaln", "factorial", "comb", "logsumexp", "softmax", "log_softmax", "sinc")
__all__ = sorted({*_TABLE, *_PARTIALS, *_MADE})
