"""Functions of SciPy that take Arrays and variables: `special`, `linalg` and `stats`.

The names, arguments and values are SciPy's, which must be installed. Given plain numbers they are
SciPy's functions themselves.

>>> import numpy as np
>>> import pyad
>>> from pyad.scipy.stats import norm
>>> data = np.array([1.0, 2.0, 6.0])
>>> pyad.grad(lambda mean: np.sum(norm.logpdf(data, mean, 2.0)))(0.0)
2.25
"""

from __future__ import annotations

import importlib
import sys
from typing import Any

import numpy as np

from pyad._binding import error

__all__ = ["linalg", "special", "stats"]


def required(name: str, what: str) -> Any:
    """A module of SciPy; where it is missing, the error says how to get it."""
    try:
        return importlib.import_module(name)
    except ImportError:
        raise error("NEEDS_EXTRA", what, "SciPy", "scipy") from None


def form_of_ufunc(ufunc: Any) -> Any:
    """What a ufunc of `scipy.special` becomes for variables; None if it is none of SciPy's."""
    theirs = sys.modules.get("scipy.special")
    name = getattr(ufunc, "__name__", "")
    places = (theirs, getattr(theirs, "_ufuncs", None))
    if not any(getattr(place, name, None) is ufunc for place in places if place is not None):
        return None
    if getattr(np, name, None) is ufunc:
        return None
    from pyad.scipy import special

    if name not in special.__all__:
        hint = f"pyad.scipy.special has {', '.join(special.__all__)}"
        raise error("NO_FUNCTION", f"scipy.special.{name.lstrip('_')}", hint)
    return getattr(special, name)


def __getattr__(name: str) -> Any:
    if name in __all__:
        return importlib.import_module(f"pyad.scipy.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
