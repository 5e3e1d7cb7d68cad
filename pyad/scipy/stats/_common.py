"""The functions that densities are written in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import pyad.functions as _native
from pyad._binding import error
from pyad.scipy import special as _special

__all__ = [
    "INF",
    "LOG_2",
    "LOG_PI",
    "LOG_ROOT_2PI",
    "Function",
    "betainc",
    "betaln",
    "erf",
    "erfc",
    "exp",
    "expit",
    "expm1",
    "gammainc",
    "gammaincc",
    "i0e",
    "lgamma",
    "log",
    "log1p",
    "log_ndtr",
    "missing_method",
    "ndtr",
    "poch",
    "softplus",
    "square",
    "stdtr",
    "xlog1py",
    "xlogy",
]

Function = Callable[..., Any]


exp, log, log1p, expm1 = _native.exp, _native.log, _native.log1p, _native.expm1
ndtr, log_ndtr, lgamma = _native.ndtr, _native.log_ndtr, _native.lgamma
softplus, expit, erf, erfc = _native.softplus, _native.expit, _native.erf, _native.erfc
xlogy = _native.xlogy


LOG_2 = float(np.log(2.0))
LOG_PI = float(np.log(np.pi))


LOG_ROOT_2PI = 0.5 * (LOG_2 + LOG_PI)
INF = float("inf")


def square(x: Any) -> Any:
    return x * x


def _special_function(name: str) -> Function:
    return lambda *xs: getattr(_special, name)(*xs)


betaln, xlog1py, gammainc, gammaincc, betainc, poch, i0e, stdtr = map(
    _special_function,
    ("betaln", "xlog1py", "gammainc", "gammaincc", "betainc", "poch", "i0e", "stdtr"),
)


_METHODS = (
    "logpdf", "pdf", "cdf", "sf", "logcdf", "logsf", "logpmf", "pmf", "ppf", "isf", "rvs", "mean",
    "var", "std", "stats", "entropy", "fit", "interval", "median", "moment",
)  # fmt: skip


def missing_method(distribution: Any, name: str) -> Exception:
    """The error for an attribute that is not there: of a method of SciPy's it says what is."""
    if name not in _METHODS:
        return AttributeError(f"{distribution!r} has no attribute {name!r}")
    known = ", ".join(m for m in _METHODS if m in type(distribution).__dict__)
    theirs = repr(distribution).removeprefix("pyad.")
    return error(
        "ARGUMENTS",
        f"{distribution!r} has {known}, and not {name}: use {theirs}.{name} with plain numbers, "
        "x.value",
    )
