"""The checks behind `pyad.testing`: a function of trees as one of vectors, and its derivatives."""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from pyad._binding import error
from pyad._differences import FIRST, Estimate, along, column, scales
from pyad._suspects import explain, infinite
from pyad.transforms._trees import Array, Branch, Shape, flatten, split, values_of
from pyad.transforms.jacobians import jvp, vjp

__all__ = ["MODES", "Check", "Problem", "first_step", "problem_of"]

Floats = npt.NDArray[np.float64]

_ENTRIES = (16, 4)
"""Numbers up to which each is checked by itself: in first derivatives, in later ones."""
_DIRECTIONS = (4, 2)
"""Random directions otherwise."""
_ROWS = 32
"""Results up to which reverse mode is checked for each; otherwise for random sums of them."""
_NARROWED = 64
"""Directions that are tried one by one to name both entries of a second derivative."""
_LISTED = 3
"""Entries that a message names."""
_AGAIN = 0.3, 3.0
"""Part of the first step, and ratio, of the differences that have to confirm a disagreement."""

MODES = {"fwd": "forward mode (jvp)", "rev": "reverse mode (vjp)"}
_VERBS = ("is wrong", "is not finite", "cannot be checked")
_NO_LIMIT = "a kink, a jump, the end of a domain or noise"


# ---- the function as one of vectors --------------------------------------------------------------


def first_step(eps: float | None) -> float:
    if eps is not None and not 0 < eps < 1:
        raise error("ARGUMENTS", f"eps is a part of each number, between 0 and 1, not {eps}")
    return FIRST if eps is None else float(eps)


def _place(shape: Shape, i: int) -> str:
    """Where number `i` of a tree stands, as an index expression; "" for a number by itself."""
    if isinstance(shape, Branch):
        for k, child in enumerate(shape.children):
            if i < child.size:
                key = shape.keys[k] if shape.keys is not None else k
                return f"[{key!r}]{_place(child, i)}"
            i -= child.size
    if isinstance(shape, Array) and shape.shape:
        return f"[{', '.join(str(int(k)) for k in np.unravel_index(i, shape.shape))}]"
    return ""


def _vector(tree: Any, what: str) -> tuple[Floats, Shape]:
    """The numbers of a tree one after the other, as floats, and its shape."""
    leaves, shape = flatten(tree, what)
    parts = [np.asarray(values_of(leaf), dtype=np.float64).reshape(-1) for leaf in leaves]
    return np.concatenate(parts) if parts else np.empty(0), shape


@dataclass
class Problem:
    """A function of a tuple of trees, seen as one from vectors to vectors."""

    f: Callable[..., Any]  # of the chosen arguments
    name: str  # what it is called in a message
    labels: list[str]  # of the chosen arguments
    shape: Branch  # of the tuple of them
    x: Floats
    sizes: Floats
    first: float
    level: int = 0  # how many derivatives it is
    is_gradient: bool = False  # the results are places of the arguments
    out: Shape | None = None

    def build(self, numbers: Floats) -> Any:
        """The arguments from numbers; they may be changed by whoever gets them."""
        return split(self.shape, np.array(numbers))

    def at_home(self) -> Any:
        """The arguments at the point itself."""
        return self.build(self.x)

    def results(self, given: Any) -> tuple[Floats, Shape]:
        """The results of the function as floats, and their structure."""
        return _vector(self.f(*given), "the result of a differentiated function")

    def at(self, steps: Floats) -> Floats:
        """The results away from the point; NaN where the function is not defined."""
        try:
            with np.errstate(all="ignore"):
                found, out = self.results(self.build(self.x + steps))
        except (ArithmeticError, ValueError):
            found, out = np.empty(0), None
        assert self.out is not None
        return found if out == self.out else np.full(self.out.size, np.nan)

    def column(self, i: int, again: bool = False) -> Estimate:
        """Finite differences of the results in number `i`; again, with other steps."""
        if self.out is None:
            self.out = self.results(self.at_home())[1]
        return column(self.at, i, float(self.sizes[i]), len(self.x), *self._steps(again))

    def along(self, v: Floats, again: bool = False) -> Estimate:
        """The same in a direction."""
        return along(lambda t: self.at(t * v), *self._steps(again))

    def _steps(self, again: bool) -> tuple[float, float]:
        return (_AGAIN[0] * self.first, _AGAIN[1]) if again else (self.first, 4.0)

    def argument(self, i: int) -> str:
        """What number `i` of the arguments is called."""
        for label, child in zip(self.labels, self.shape.children, strict=True):
            if i < child.size:
                entry = _place(child, i)
                return f"{label}, entry {entry}" if entry else label
            i -= child.size
        raise IndexError(i)

    def result(self, j: int) -> str:
        """What number `j` of the results is called; "" if there is but one."""
        assert self.out is not None
        if self.is_gradient:
            return f"its part in {self.argument(j)}" if len(self.x) > 1 else ""
        place = _place(self.out, j)
        return f"its result {place}" if place else ""


def problem_of(
    f: Callable[..., Any],
    args: Sequence[Any],
    argnums: int | tuple[int, ...] | None,
    kwargs: dict[str, Any],
    first: float,
) -> Problem:
    if not callable(f):
        raise error("ARGUMENTS", f"a function is checked, not a {type(f).__name__}")
    places = tuple(range(len(args))) if argnums is None else argnums
    places = places if isinstance(places, tuple) else (places,)
    if not all(isinstance(i, int) and -len(args) <= i < len(args) for i in places):
        given = f"argnums is {argnums}, and {len(args)} arguments to check were given"
        raise error("ARGUMENTS", given)
    if not places:
        raise error("ARGUMENTS", "give the arguments at which to check after the function")
    places = tuple(i % len(args) for i in places)
    plain = [values_of(x) for x in args]

    def of_chosen(*chosen: Any) -> Any:
        full = list(plain)
        for i, item in zip(places, chosen, strict=True):
            full[i] = item
        return f(*full, **kwargs)

    x, shape = _vector(tuple(plain[i] for i in places), "an argument of check_grads")
    assert isinstance(shape, Branch)
    ends = np.cumsum([0, *(child.size for child in shape.children)])
    sizes = [scales(x[a:b]) for a, b in itertools.pairwise(ends.tolist())]
    names = _parameters(f)
    labels = [f"argument {i}" + (f" ({names[i]})" if i < len(names) else "") for i in places]
    name = str(getattr(f, "__name__", type(f).__name__))
    return Problem(of_chosen, name, labels, shape, x, np.concatenate(sizes), first)


def _parameters(f: Callable[..., Any]) -> list[str]:
    try:
        parameters = inspect.signature(f).parameters.values()
    except (TypeError, ValueError):
        return []
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return [p.name for p in parameters if p.kind in positional]


# ---- derivatives by the modes --------------------------------------------------------------------


def _tangent(problem: Problem, v: Floats) -> tuple[Any, Any]:
    return jvp(problem.f, problem.at_home(), problem.build(v))


def _floats(tree: Any) -> Floats:
    return _vector(tree, "a derivative")[0]


def _derived(problem: Problem, mode: str, seed: Floats, named: str) -> Problem:
    """The function that computes the derivative of another one: along or pulled back by a seed."""
    out = problem.out
    assert out is not None
    if mode == "fwd":
        tangents = problem.build(seed)

        def f(*chosen: Any) -> Any:
            return jvp(problem.f, chosen, tangents)[1]

    else:
        cotangent = split(out, seed)

        def f(*chosen: Any) -> Any:
            return vjp(problem.f, *chosen)[1](cotangent)

    name = f"(the derivative of {problem.name}{named} by {MODES[mode]})"
    level, reverse = problem.level + 1, mode == "rev"
    return replace(problem, f=f, name=name, level=level, is_gradient=reverse, out=None)


# ---- the check -----------------------------------------------------------------------------------


@dataclass
class _Compared:
    """Derivatives by a mode beside finite differences: rows are directions, columns results."""

    computed: Floats
    found: Estimate
    wrong: npt.NDArray[np.bool_]
    blind: npt.NDArray[np.bool_]

    def kind(self, k: int, j: int) -> int:
        """What is wrong: a place in `_VERBS`."""
        return 1 if not np.isfinite(self.computed[k, j]) else 2 * int(self.blind[k, j])

    def numbers(self, k: int, j: int, mode: str) -> list[str]:
        """Both numbers of one place, in lines."""
        a, d, e = (float(x[k, j]) for x in (self.computed, *self.found[:2]))
        found = f"{d:.12g} by finite differences (which may be off by {e:.1g})"
        if self.blind[k, j]:
            found = f"finite differences do not settle: {_NO_LIMIT}"
        return [f"    {a!r} by {MODES[mode]}", f"    {found}"]


class Check:
    """One call of `check_grads`: what it wants, and its random numbers."""

    def __init__(self, modes: tuple[str, ...], atol: float, rtol: float, seed: int) -> None:
        self.modes, self.atol, self.rtol = modes, atol, rtol
        self.rng = np.random.default_rng(seed)

    def failure(self, problem: Problem, order: int) -> str | None:
        """What is wrong, or None."""
        wrong = self._value(problem)
        if wrong is not None or not len(problem.x) or not self.y.size:
            return wrong
        y = self.y
        directions, found = self._differences(problem)
        for mode in self.modes:
            wrong = self._first(problem, mode, y, directions, found)
            if wrong is not None:
                return wrong
        for mode in self.modes if order > 1 else ():
            wrong = self._further(problem, mode, order)
            if wrong is not None:
                return wrong
        return None

    def _value(self, problem: Problem) -> str | None:
        """Sets y; the function must have a value, and the same one every time."""
        self.y, problem.out = problem.results(problem.at_home())
        again = problem.results(problem.at_home())[0]
        for j, y in enumerate(self.y.tolist()):
            what = ", ".join(filter(None, [problem.name, problem.result(j)]))
            if not np.isfinite(y):
                return f"{what}, is {y!r} here: check at a point where it is finite"
            if len(again) != len(self.y) or y != again[j]:
                then = again[j].item() if len(again) == len(self.y) else f"{len(again)} numbers"
                return (
                    f"{what}, is {y!r} and then {then!r} for the same arguments, so that it has no "
                    "derivative: take random numbers and state out of it"
                )
        return None

    def _differences(self, problem: Problem) -> tuple[Floats, Estimate]:
        """Directions as rows, and finite differences along them, a row for each."""
        n, deep = len(problem.x), int(problem.level > 0)
        if n <= _ENTRIES[deep]:
            rows = [problem.column(i) for i in range(n)]
            directions = np.eye(n)
        else:
            parts = self.rng.uniform(0.25, 1.0, (_DIRECTIONS[deep], n))
            signs = self.rng.choice([-1.0, 1.0], parts.shape)
            directions = parts * signs * problem.sizes
            rows = [problem.along(v) for v in directions]
        return directions, Estimate(*(np.array(field) for field in zip(*rows, strict=True)))

    def _compare(self, computed: Floats, found: Estimate) -> _Compared:
        with np.errstate(invalid="ignore"):
            larger = np.fmax(np.abs(computed), np.abs(found.value))
            limit = self.atol + self.rtol * larger + 10 * found.error
            off = ~(np.abs(computed - found.value) <= limit)
            blind = ~(100 * found.error <= np.fmax(larger, found.size) + 100 * self.atol)
        return _Compared(computed, found, off | blind | ~np.isfinite(computed), blind)

    def _computed(self, problem: Problem, mode: str, directions: Floats) -> tuple[Floats, Floats]:
        """(values, derivatives along the directions) of the results."""
        assert problem.out is not None
        if mode == "fwd":
            both = [_tangent(problem, v) for v in directions]
            return _floats(both[0][0]), np.array([_floats(tangent) for _, tangent in both])
        value, pullback = vjp(problem.f, *problem.at_home())
        eye = np.eye(problem.out.size)
        rows = [_floats(pullback(split(problem.out, u))) for u in eye]
        return _floats(value), _product(directions, np.array(rows))

    def _first(
        self, problem: Problem, mode: str, y: Floats, directions: Floats, found: Estimate
    ) -> str | None:
        """Compare the first derivatives of the problem by a mode."""
        assert problem.out is not None
        summed = mode == "rev" and problem.out.size > _ROWS
        if summed:
            weights = self._weights(found)
            value, pullback = vjp(problem.f, *problem.at_home())
            rows = [_floats(pullback(split(problem.out, u))) for u in weights]
            values, computed = _floats(value), _product(directions, np.array(rows))
            found = Estimate(found.value @ weights.T, *(x @ np.abs(weights).T for x in found[1:]))
        else:
            values, computed = self._computed(problem, mode, directions)
        size = float(np.max(np.abs(y)))
        if not np.allclose(values, y, rtol=self.rtol, atol=self.atol + 1e-3 * self.rtol * size):
            j = int(np.argmax(np.abs(values - y)))
            return (
                f"{problem.name} gives {values[j].item()!r} while it is differentiated by "
                f"{MODES[mode]}, and {y[j].item()!r} on floats: it must compute the same on both"
            )
        compared = self._compare(computed, found)
        if not compared.wrong.any():
            return None
        return self._located(problem, mode, directions, compared, summed)

    def _weights(self, found: Estimate) -> Floats:
        """Random sums of the results, each of a size that the others do not drown."""
        usual = np.nanmax(np.abs(found.value), axis=0)
        usual = np.where((usual > 0) & np.isfinite(usual), usual, 1.0)
        parts: Floats = self.rng.uniform(0.25, 1.0, (_DIRECTIONS[0], len(usual)))
        signed: Floats = parts * self.rng.choice([-1.0, 1.0], parts.shape) / usual
        return signed

    def _located(
        self, problem: Problem, mode: str, directions: Floats, compared: _Compared, summed: bool
    ) -> str | None:
        """The message, unless other steps of the differences see no fault."""
        n = len(problem.x)
        by_entry = len(directions) == n and np.array_equal(directions, np.eye(n)) and not summed
        suspects = np.flatnonzero(compared.wrong.any(axis=1)) if by_entry else np.arange(n)
        places: list[tuple[int, int, _Compared]] = []
        for i, compared_here in self._columns(problem, mode, suspects.tolist()):
            places += [(i, int(j), compared_here) for j in np.flatnonzero(compared_here.wrong[0])]
            if len(places) >= _LISTED and not by_entry:
                break
        if places:
            return self._message(problem, mode, places)
        if by_entry:
            return None
        again = [problem.along(v, again=True) for v in directions]
        found = Estimate(*(np.array(field) for field in zip(*again, strict=True)))
        compared = self._compare(self._computed(problem, mode, directions)[1], found)
        if not compared.wrong.any():
            return None
        k, j = (int(i[0]) for i in np.nonzero(compared.wrong))
        head = f"the derivative of {problem.name} is wrong along a random direction (no entry is):"
        numbers = compared.numbers(k, j, mode)
        return "\n".join([head, *numbers, *_explanation(problem, directions[k])])

    def _columns(
        self, problem: Problem, mode: str, entries: Sequence[int]
    ) -> Iterator[tuple[int, _Compared]]:
        """Entry by entry, against differences with other steps."""
        n = len(problem.x)
        jacobian = None if mode == "fwd" else self._computed(problem, mode, np.eye(n))[1]
        for i in entries:
            own = np.eye(1, n, i)
            computed = (
                self._computed(problem, mode, own)[1] if jacobian is None else jacobian[i : i + 1]
            )
            found = problem.column(i, again=True)
            yield i, self._compare(computed, Estimate(*(field[None] for field in found)))

    def _message(
        self, problem: Problem, mode: str, places: Sequence[tuple[int, int, _Compared]]
    ) -> str:
        lines = []
        for number, (i, j, compared) in enumerate(places[:_LISTED]):
            where = ", ".join(filter(None, [problem.argument(i), problem.result(j)]))
            end = "," if "," in where else ""
            head = f"the derivative of {problem.name} in {where}{end}"
            verb = _VERBS[compared.kind(0, j)]
            lines.append(f"{'and ' if number else ''}{head} {verb}:")
            lines += compared.numbers(0, j, mode)
        if len(places) > _LISTED:
            lines.append(f"and {len(places) - _LISTED} more")
        i, j, compared = places[0]
        if compared.kind(0, j) == 1:
            lines += _infinite(problem)
        elif compared.kind(0, j) == 0:
            lines += _explanation(problem, problem.sizes[i] * np.eye(1, len(problem.x), i)[0])
        return "\n".join(lines)

    def _further(self, problem: Problem, mode: str, order: int) -> str | None:
        """Check the derivative of the problem by a mode as a function of its own."""
        assert problem.out is not None
        forward = mode == "fwd"
        count = len(problem.x) if forward else problem.out.size
        seed = self.rng.uniform(0.25, 1.0, count) * self.rng.choice([-1.0, 1.0], count)
        named = " along a random direction" if forward else ", a random sum of its results,"
        if count == 1:
            seed, named = np.ones(1), ""
        elif forward:
            seed = seed * problem.sizes
        wrong = self.failure(_derived(problem, mode, seed, named), order - 1)
        if wrong is None or count == 1:
            return wrong
        for k in range(min(count, _NARROWED)):
            named = f" in {problem.argument(k)}," if forward else f", {problem.result(k)},"
            single = _derived(problem, mode, np.eye(1, count, k)[0], named)
            narrower = self.failure(single, order - 1)
            if narrower is not None:
                return narrower
        return wrong


def _product(directions: Floats, rows: Floats) -> Floats:
    """Rows of a Jacobian along directions; an infinite entry counts where it is touched only."""
    with np.errstate(all="ignore"):
        if np.all(np.isfinite(rows)):
            product: Floats = directions @ rows.T
        else:
            terms = np.where(directions[:, None, :] == 0, 0.0, directions[:, None, :] * rows[None])
            product = np.sum(terms, axis=2)
    return product


def _explanation(problem: Problem, direction: Floats) -> list[str]:
    """What the recording says; nothing more if the function cannot be recorded again."""

    def line(t: float) -> Any:
        return problem.build(problem.x + t * direction)

    return _searched(lambda: explain(problem.f, line))


def _infinite(problem: Problem) -> list[str]:
    return _searched(lambda: infinite(problem.f, problem.at_home()))


def _searched(search: Callable[[], list[str]]) -> list[str]:
    try:
        return search()
    except Exception as cause:
        return [f"the recording could not be searched for the cause: {cause}"]
