"""What is covered, and what a function without support answers."""

from __future__ import annotations

import difflib
import functools
import re
from collections.abc import Iterable
from typing import Any, NoReturn

import numpy as np

from pyad._binding import OPERATIONS, error

__all__ = [
    "covered",
    "groups",
    "name_of",
    "refuse",
    "ways",
]

HINTS = {
    "polyfit": "take np.linalg.lstsq of np.vander(x, deg + 1)",
    "poly": "multiply out with np.convolve",
    "polydiv": "compose it of np.convolve and differences",
    "roots": "take the eigenvalues of the companion matrix, np.linalg.eigvals",
    "i0": "take pyad.scipy.special.i0",
    "kaiser": "make it of numbers",
    "logspace": "take 10.0 ** np.linspace(start, stop, num)",
    "geomspace": "take np.exp(np.linspace(np.log(start), np.log(stop), num))",
    "sort_complex": "take np.sort",
    "setdiff1d": "take x[~np.isin(x, y)], and np.unique of it",
    "intersect1d": "take np.unique(x[np.isin(x, y)])",
    "union1d": "take np.unique(np.concatenate([x, y]))",
    "setxor1d": "compose it of np.isin and np.concatenate",
    "unique_all": "take np.unique with return_index and its like",
    "unique_counts": "take np.unique(x, return_counts=True)",
    "unique_inverse": "take np.unique(x, return_inverse=True)",
    "full": "take pyad.numpy.full, or np.full_like",
    "vectorize": "call the function with the whole Array, or take np.apply_along_axis",
    "ndenumerate": "iterate over np.ndindex(x.shape)",
    "asmatrix": "an Array of two dimensions has `@`",
    "save": "save x.value",
    "savez": "save x.value",
    "savez_compressed": "save x.value",
    "savetxt": "save x.value",
}
"""For functions that users reach for, by what they are replaced."""


def name_of(function: Any) -> str:
    """The name under which users know a NumPy function: np.linalg.solve."""
    module = getattr(function, "__module__", None) or "numpy"
    name = getattr(function, "__name__", repr(function))
    prefix = module.replace("numpy.", "np.", 1) if module.startswith("numpy.") else "np"
    if prefix.startswith(("np.core", "np._core", "np.lib")):
        prefix = "np"
    return f"{prefix}.{name}"


def _note(name: str, doc: str | None) -> str:
    """What a docstring says of a function beyond its name, in one line."""
    text = " ".join((doc or "").strip().partition("\n\n")[0].split())
    short = re.sub(r"^`np\.[\w.]+`[.,:;]?\s*", "", text)
    return short if short == text else short[:1].upper() + short[1:]


def groups() -> list[tuple[str, str, dict[str, str]]]:
    """(title, text, {name: note}) of the functions that take Arrays, for docs/numpy.md."""
    from pyad.array import _calculus, _choices, _products, _reductions, _structure, _ufuncs
    from pyad.array._functions import TABLE

    rest = dict(TABLE)

    def taken(chosen: Iterable[Any]) -> dict[str, str]:
        known = {name_of(f): _note(name_of(f), rest.pop(f).__doc__) for f in [*chosen] if f in rest}
        return dict(sorted(known.items()))

    def within(prefix: str) -> dict[str, str]:
        return taken([f for f in rest if name_of(f).startswith(prefix)])

    of_values = [*_choices.OF_VALUES, np.shape, np.ndim, np.size, np.shares_memory]
    linalg, fft = within("np.linalg."), within("np.fft.")
    plain = taken([*of_values, np.may_share_memory, np.histogram, np.histogram2d, np.histogramdd])
    structure = taken(_structure.FUNCTIONS)
    made = [
        ("Ufuncs", _UFUNCS, _ufunc_notes()),
        ("Structure", _STRUCTURE, structure),
        ("Reductions", "", taken(_reductions.FUNCTIONS)),
        ("Choices", _CHOICES, taken(_choices.FUNCTIONS)),
        ("Products", "", taken(_products.FUNCTIONS)),
        ("Calculus, statistics, polynomials", "", taken(_calculus.FUNCTIONS)),
        ("Linear algebra", "", linalg),
        ("Fourier transforms", "", fft),
        ("Others", "", taken(list(rest))),
        ("Functions of values", _OF_VALUES, dict(sorted((plain | {
            name_of(f): "" for f in _ufuncs.OF_VALUES
        }).items()))),
    ]  # fmt: skip
    return [group for group in made if group[2]]


_UFUNCS = """\
Also with `out=` and `where=`; `outer` of all of two arguments; `reduce` of `add`, `multiply`,
`maximum`, `minimum`, `fmax`, `fmin`, `logaddexp`; `accumulate` of `add`, `multiply`, `maximum`,
`minimum`; `reduceat` of `add`; `at` of `add` and `subtract`. Single operations are those of
[operations.md](operations.md)."""
_CHOICES = "Decided by values; the result holds the elements chosen."
_STRUCTURE = """\
Without derivative rules: the elements of the result are those of the arguments, in another order.
Views where NumPy gives views."""
_OF_VALUES = "Their answers have no derivative: they give what they give for the numbers."


def _ufunc_notes() -> dict[str, str]:
    from pyad.array._ufuncs import CALLS

    single = {getattr(np, row.numpy): f"`pyad.{row.name}`" for row in OPERATIONS if row.numpy}
    notes = {
        name_of(u): single.get(u) or _note(name_of(u), getattr(ours, "__doc__", ""))
        for u, ours in CALLS.items()
        if not isinstance(ours, (np.ufunc, functools.partial)) or u in single
    }
    notes |= {name_of(u): "" for u in CALLS if name_of(u) not in notes}
    return dict(sorted(notes.items()))


def ways() -> dict[str, str]:
    """By what functions without support are replaced."""
    return dict(sorted(HINTS.items()))


def covered() -> dict[str, str]:
    """The names of the NumPy functions that take Arrays, each with what there is to say of it."""
    every = {name: note for _, _, names in groups() for name, note in names.items()}
    return dict(sorted(every.items()))


def refuse(function: Any, args: Any = (), kwargs: Any = None) -> NoReturn:
    """Raise the TypeError that names the function and the nearest way that is supported."""
    name = name_of(function)
    short = name.rpartition(".")[2]
    hint = HINTS.get(short)
    if hint is None:
        names = list(covered())
        same = [other for other in names if other.rpartition(".")[2] == short]
        near = same or difflib.get_close_matches(name, names, n=3, cutoff=0.75)
        hint = f"the nearest that is: {', '.join(near)}" if near else (
            "compose it of functions that are (see docs/numpy.md)"
        )  # fmt: skip
    raise error("NO_FUNCTION", name, hint)
