"""Which function of NumPy or SciPy asked an Array for what it cannot give, as users know it.

NumPy asks an Array first (`__array_function__`) for most of its functions. The others, and SciPy's,
come to `np.asarray` or to an attribute at last; the error then names them, and not that.
"""

from __future__ import annotations

import importlib
import itertools
import operator
import sys
from typing import Any

from pyad._binding import error
from pyad.array._coverage import HINTS

__all__ = ["module_of", "refuse_caller", "way_of_caller"]


def module_of(frame: Any) -> str:
    """The module whose code a frame runs."""
    return str(frame.f_globals.get("__name__", ""))


def refuse_caller(frame: Any) -> None:
    """Raise the TypeError that names ours, if this frame runs a function of NumPy's or SciPy's."""
    found = way_of_caller(frame)
    if found is not None:
        raise error("NO_FUNCTION", *found)


def way_of_caller(frame: Any) -> tuple[str, str] | None:
    """(name, hint) of NumPy's or SciPy's function that this frame runs; None if it runs none."""
    called = None
    while frame is not None and module_of(frame).partition(".")[0] in ("numpy", "scipy"):
        called = _called(frame) or called
        frame = frame.f_back
    if called is None:
        return None
    module, function = called
    if module.startswith("numpy"):
        return _way_in_numpy(module, function)
    if _is_ours(module, function):
        hint = f"use pyad.{module}.{function}, which takes them"
    elif module == "scipy.stats":
        hint = "use the distributions of pyad.scipy.stats, as in pyad.scipy.stats.norm.logpdf"
    elif module.startswith("scipy.sparse"):
        hint = "write A @ x or x @ A, which are, and A.toarray() for all else"
    else:
        hint = "pyad.scipy.linalg, pyad.scipy.special and pyad.scipy.stats hold what takes them"
    return f"{module}.{function}", hint


def _is_ours(module: str, function: str) -> bool:
    try:
        operator.attrgetter(function)(importlib.import_module(f"pyad.{module}"))
    except (ImportError, AttributeError, TypeError):
        return False
    return True


_INNER = ("core", "lib", "matrixlib")
"""Parts of NumPy that are not where users find what is in them."""


def _called(frame: Any) -> tuple[str, str] | None:
    """(module, function) as users know them, of a frame in NumPy or SciPy; None if they do not."""
    module, name, local = module_of(frame), frame.f_code.co_name, frame.f_locals
    owner = local.get("self")
    if name in ("__init__", "__new__", "__call__"):
        name = getattr(local.get("cls") or type(owner), "__name__", name)
    place = _place(module, name)
    if place is not None:
        return place, name
    kind = str(getattr(owner, "name", type(owner).__name__.removesuffix("_gen")))
    place = _place(module, kind)  # of a method of one of SciPy's distributions
    if place is not None and not name.startswith("_"):
        return place, f"{kind}.{name}"
    for inner in local.values():  # a decorator, which knows what it decorates
        name = getattr(inner, "__name__", "") if callable(inner) else ""
        place = _place(module, name) or _place(str(getattr(inner, "__module__", "")), name)
        if place is not None:
            return place, name
    return None


def _place(module: str, name: str) -> str | None:
    """Where users find what a module of NumPy or SciPy defines; None if nowhere."""
    parts = module.split(".")
    if parts[0] not in ("numpy", "scipy") or not name or name.startswith("_"):
        return None
    parts = list(itertools.takewhile(lambda part: part not in _INNER and part[0] != "_", parts))
    for n in range(min(len(parts), 2), len(parts) + 1):
        if hasattr(sys.modules.get(".".join(parts[:n])), name):
            return ".".join(parts[:n])
    return None


def _way_in_numpy(module: str, function: str) -> tuple[str, str]:
    """The name and the hint for a function of NumPy's that does not ask an Array."""
    hint = HINTS.get(function)
    if module == "numpy.ma":
        hint = "Arrays have no masks: choose elements by x[mask], or take np.where"
    elif module.startswith("numpy.polynomial"):
        hint = "take np.polyval, whose coefficients begin with that of the highest power"
    return module.replace("numpy", "np", 1) + "." + function, hint or (
        "compose it of functions that are (see docs/numpy.md)"
    )
