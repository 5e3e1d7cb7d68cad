"""Guards: at another point they hold exactly where the function takes the same way there.

A function is recorded at a point with its guards. A small interpreter replays the recording, every
block written out, at other points; there the function is recorded anew, and the two are compared.
"""

from __future__ import annotations

import copy
import itertools
import math
import pickle
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import pyad
from pyad import _handle
from pyad import math as pmath
from pyad._binding import OPERATIONS, ffi, lib
from pyad.scipy import stats
from pyad.tape import CONSTANT

LINEAR = [i for i, row in enumerate(OPERATIONS) if row.name in ("given", "lincomb")]
RELATIONS: list[Callable[[Any, Any], Any]] = [np.less, np.less_equal, np.equal, np.not_equal]


# ---- recording and replaying -----------------------------------------------------------------


def flat(x: Any) -> list[float]:
    return [float(x)] if np.ndim(x) == 0 else np.ravel(x).tolist()


class Recorded:
    """A function at a point: its recording written out, its guards, and what came of it."""

    def __init__(self, f: Callable[..., Any], *args: Any) -> None:
        tape, start = _handle._enter()
        mark = _handle._guarding(tape, True)
        try:
            aliases, places = _handle._aliases(tape, [copy.deepcopy(x) for x in args])
            try:
                self.outcome = f(*aliases)
            except Exception as raised:
                self.outcome = type(raised)
            guards = _handle._guards(tape, mark)
            self.numbers, self.arrays, self.reads, self.line = guards
            expanded, places_of = _handle._expand(tape, start)
            self.result, rows = _nodes_of(self.outcome, tape)
            self.before = tape.values[start:].copy()
        finally:
            _handle._guarding(tape, False)
            _handle._leave(tape, False)
        self.start, self.where = start, np.frombuffer(places_of, np.uint32)
        self.rows = [self.place(row) for row in rows]
        self.inputs = [self.place(first + i) for first, count in places for i in range(abs(count))]
        self.ops, self.first = expanded.ops.copy(), expanded.first.copy()
        self.indices, self.weights = expanded.indices.copy(), expanded.weights.copy()

    def place(self, node: int) -> int:
        return CONSTANT if node == CONSTANT else int(self.where[node - self.start])

    def way(self) -> Any:
        """What two recordings that went the same way have in common."""
        constants = np.where(self.indices == CONSTANT, self.weights, 0.0)
        outcome = self.outcome if isinstance(self.outcome, type) else self.result
        parts = (self.ops, self.first, self.indices, constants, np.array(self.rows, np.uint32))
        return [part.tobytes() for part in parts], repr(outcome)

    def replay(self, *args: Any) -> list[float]:
        given = iter([x for arg in args for x in flat(arg)])
        values: list[float] = []
        for node, op in enumerate(self.ops.tolist()):
            part = slice(int(self.first[node]), int(self.first[node + 1]))
            pairs = list(zip(self.indices[part].tolist(), self.weights[part].tolist(), strict=True))
            if node in self.inputs:
                values.append(next(given))
            elif op in LINEAR:
                values.append(math.fsum(w * values[k] for k, w in pairs if k != CONSTANT))
            else:
                values.append(_value(op, [w if k == CONSTANT else values[k] for k, w in pairs]))
        return values

    def holds(self, *args: Any) -> bool:
        """Whether every guard comes out at this point as it did."""
        values = self.replay(*args)

        def at(node: int, number: float) -> float:
            place = self.place(node)
            if place != CONSTANT:
                return values[place]
            return number if node == CONSTANT else float(self.before[node - self.start])

        for relation, a, x, b, y, outcome in zip(*self.numbers, strict=True):
            if bool(RELATIONS[relation](at(a, x), at(b, y))) != outcome:
                return False
        for relation, left, right, outcomes in self.arrays:
            sides = []
            for node, step, constants in (left, right):
                numbers = [
                    constants[i * step] if constants is not None else at(node + i * step, 0.0)
                    for i in range(len(outcomes))
                ]
                sides.append(np.array(numbers))
            if (RELATIONS[relation](*sides) != outcomes.astype(bool)).any():
                return False
        return True

    def value(self, *args: Any) -> list[float]:
        values = self.replay(*args)
        return [values[row] for row in self.rows if row != CONSTANT]


def _nodes_of(outcome: Any, tape: Any) -> tuple[Any, list[int]]:
    """What is plain in a result, and the nodes of what is recorded."""
    nodes: list[int] = []

    def walk(x: Any) -> Any:
        if isinstance(x, (tuple, list)):
            return [walk(y) for y in x]
        if isinstance(x, (pyad.Var, pyad.Array)):
            values, rows = _handle._flat(tape, [x], "a result", False)
            nodes.extend((rows - np.uint32(1)).tolist())
            return np.where(rows == 0, values, 0.0).tolist()
        return np.asarray(x).tolist() if isinstance(x, np.ndarray) else x

    return walk(outcome), nodes


def _value(op: int, xs: list[float]) -> float:
    if OPERATIONS[op].arguments in (1, 2):
        return float(lib.pyad_op_value(op, xs[0], xs[-1]))
    operands = ffi.new("pyad_operand[]", max(len(xs), 1))
    for operand, x in zip(operands, xs, strict=False):
        operand.value, operand.node = x, 0
    value, partials = ffi.new("double *"), ffi.new("double[]", max(len(xs), 1))
    assert lib.pyad_op_many(op, len(xs), operands, value, partials) == 0
    return float(value[0])


def check(f: Callable[..., Any], points: list[Any], *, loose: bool = False) -> int:
    """Each point's recording against each other point; gives the number of different ways.

    `loose`: guards may fail where the way is the same.
    """
    points = [p if isinstance(p, tuple) else (p,) for p in points]
    recorded = [Recorded(f, *p) for p in points]
    held = 0
    for here, mine in zip(points, recorded, strict=True):
        assert mine.reads == 0, mine.line
        assert mine.holds(*here)
        for there, other in zip(points, recorded, strict=True):
            same, holds = mine.way() == other.way(), mine.holds(*there)
            held += holds
            assert same or not holds, (here, there)
            assert loose or holds or not same, (here, there)
            if holds:
                np.testing.assert_allclose(
                    mine.value(*there), other.value(*there), rtol=1e-13, atol=1e-300
                )
    return len({repr(r.way()) for r in recorded})


def numbers(count: int = 12, seed: int = 0) -> list[float]:
    special = [0.0, -0.0, 1.0, -1.0, 0.5, 2.5, math.nan, math.inf, -math.inf]
    return [*special, *(3 * np.random.default_rng(seed).normal(size=count)).tolist()]


def vectors(size: int, count: int = 10, seed: int = 1) -> list[Any]:
    """Random vectors, some with ties, with NaN and with infinities."""
    rng = np.random.default_rng(seed)
    made = [rng.normal(size=size) for _ in range(count)]
    made += [np.round(rng.normal(size=size)) for _ in range(count // 2)]
    made += [np.zeros(size), made[0].copy(), made[0] + 1e-3]
    for special in (math.nan, math.inf, -math.inf):
        x = rng.normal(size=size)
        x[rng.integers(size)] = special
        made.append(x)
    return made


# ---- scalars ---------------------------------------------------------------------------------


def branch(x: Any) -> Any:
    return pyad.sin(x) if x > 0 else x * x


def nested(x: Any) -> Any:
    if x < -1:
        return -x
    if x <= 0 or x == 0.5:
        return 2 * x
    return pyad.exp(-x) if x != 1 else x


def swapped(x: Any) -> Any:
    return x if 1 >= x and -1 < x else 1 / x  # noqa: SIM300


def counted(x: Any) -> Any:
    y, turns = abs(x), 0
    while y > 0.3 and turns < 12:
        y = y / 2
        turns += 1
    return y * turns


def recursive(x: Any, depth: int = 0) -> Any:
    return x if depth > 6 or not x < 1 else recursive(x + 0.4, depth + 1) * 1.5


def by_whole(x: Any) -> Any:
    return sum((x * k for k in range(abs(int(x)) + 1)), 0 * x)


def by_rounding(x: Any) -> Any:
    return x * round(x) + math.floor(x) - math.ceil(x) + math.trunc(x) * x


def by_quotient(x: Any) -> Any:
    quotient, rest = divmod(x, 0.7)
    return quotient + rest if rest > 0.2 else quotient


def by_parts(x: Any) -> Any:
    fraction, whole = pmath.modf(x)
    mantissa, exponent = pmath.frexp(x)
    return fraction * 2 + whole, pmath.ldexp(mantissa, 3) * exponent


def truthy(x: Any) -> Any:
    return 1 / x if x else x + 1


def whole(x: Any) -> Any:
    return x if x.is_integer() else x * 2


def raising(x: Any) -> Any:
    if x > 1:
        raise ValueError("large")
    try:
        return x * int(x)
    except (ValueError, OverflowError):
        return x + 1


def classified(x: Any) -> Any:
    if pmath.isnan(x):
        return x
    return x * 2 if pmath.isinf(x) else x * 3 if pmath.isfinite(x) else 0


def with_fractions(x: Any) -> Any:
    return (x < 1, x == np.float32(0.5), x >= np.int64(-1), np.float64(2.5) > x, x in [1, 2.5])


# Some decisions of these lead to the same operations.
DECIDED_TWICE = (nested, swapped, by_rounding, with_fractions, whole, raising, classified, by_parts)
SCALARS = [branch, nested, swapped, counted, recursive, by_rounding, by_quotient, by_parts, truthy,
           whole, raising, classified, with_fractions]  # fmt: skip


@pytest.mark.parametrize("f", SCALARS, ids=lambda f: f.__name__)
def test_scalar_functions(f: Callable[..., Any]) -> None:
    assert check(f, numbers(), loose=f in DECIDED_TWICE) > 1


def test_whole_numbers() -> None:
    points = [0.0, -0.0, 0.3, -0.3, 0.99, 1.0, -1.0, 1.5, 2.5, -2.5, 3.5, -0.5, 0.5, 7.2, -6.8]
    check(by_whole, points, loose=True)
    for function in (int, round, math.floor, math.ceil, math.trunc):
        check(lambda x, function=function: (x + 0.0, function(x)), points)
        large = [2.0**51, 2.0**51 + 1, -(2.0**53), 1e300]
        check(lambda x, function=function: function(x), large)


@pytest.mark.parametrize(
    "f",
    [
        lambda x, y: max(x, y) * min(x, y),
        lambda x, y: x if x == y else y,
        lambda x, y: sorted([x, y, x * y])[1],
        lambda x, y: pyad.where(x < y, x, y) + pyad.where(y, x, 0.0),
        lambda x, y: x if pmath.isclose(x, y, rel_tol=0.3, abs_tol=0.1) else y,
    ],
)
def test_two_variables(f: Callable[..., Any]) -> None:
    pairs = list(zip(numbers(seed=1), numbers(seed=2)[::-1], strict=True))
    check(f, [*pairs, (1.0, 1.1), (1.0, 1.0), (0.0, 0.05)], loose=True)


def test_nan_is_a_way_of_its_own() -> None:
    at_nan, at_one = Recorded(branch, math.nan), Recorded(branch, 1.0)
    assert at_nan.holds(math.nan)
    assert not at_one.holds(math.nan)
    assert not at_nan.holds(1.0)
    assert at_nan.holds(-1.0)  # not x > 0, as well


def test_guards_of_derivatives() -> None:
    """What a recorded sweep chooses by values is an instruction, or has a guard."""
    slope = pyad.grad(lambda t: pyad.log(t) + abs(t) * pyad.relu(t - 1) + pyad.maximum(t, 2.0))
    found = Recorded(slope, 0.5)
    assert found.reads == 0
    assert found.holds(3.0)
    assert not found.holds(-1.0)  # the logarithm's


def guarded(f: Callable[..., Any], *args: Any) -> Any:
    """The value of a function that is recorded with guards."""
    tape, _ = _handle._enter()
    _handle._guarding(tape, True)
    try:
        result = f(*_handle._aliases(tape, list(args))[0])
        return _handle._flat(tape, [result], "a result", False)[0]
    finally:
        _handle._guarding(tape, False)
        _handle._leave(tape, False)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("row", [row for row in OPERATIONS if row.arguments in (1, 2)], ids=str)
def test_derivatives_are_the_same_with_guards(row: Any) -> None:
    """Of scalars and arrays, to the second order, on both sides of every kink."""
    operation = getattr(pyad, row.name)
    if row.name == "polygamma":
        operation = lambda a, b: pyad.polygamma(1.0, b) + 0 * a  # noqa: E731
    points = np.array([0.3, 0.9, 2.5, -0.4, -3.0, 0.0, 1.0])
    for x, y in itertools.product(points, points if row.arguments == 2 else [1.0]):

        def f(t: Any, x: float = x, y: float = y) -> Any:
            return operation(t) if row.arguments == 1 else operation(x + t, y - t * 2)

        at = x if row.arguments == 1 else 0.0
        slope = pyad.grad(f)(at)
        np.testing.assert_allclose(guarded(pyad.grad(f), at), slope, rtol=1e-12)
        second = pyad.hessian(f)(at)  # by a native sweep
        if np.isfinite([slope, second]).all():
            found = guarded(pyad.grad(pyad.grad(f)), at)
            np.testing.assert_allclose(found, second, rtol=1e-11, atol=1e-14)

    def total(v: Any) -> Any:
        return operation(v).sum() if row.arguments == 1 else operation(v, v[::-1] * 2).sum()

    first = pyad.grad(total)
    np.testing.assert_allclose(guarded(first, points), first(points), rtol=1e-12)
    twice = pyad.grad(lambda v: (pyad.grad(total)(v) * points).sum())
    np.testing.assert_allclose(guarded(twice, points), twice(points), rtol=1e-12)


# ---- arrays ----------------------------------------------------------------------------------


def first_positive(x: Any) -> Any:
    for i in range(len(x)):
        if x[i] > 0:
            return x[i]
    return x.sum()


def masked(x: Any) -> Any:
    y = x.copy()
    y[y < 0] = 0.0
    return y[x > 0.5].sum() + np.where(x <= -0.5, x, x * x).sum()


def assigned(x: Any) -> Any:
    y = np.zeros_like(x)
    for i in range(1, len(x)):
        y[i] = y[i - 1] + x[i] if x[i] >= x[i - 1] else x[i] * 2
    return y.sum()


EXACT: dict[str, Callable[[Any], Any]] = {
    "first_positive": first_positive,
    "masked": masked,
    "assigned": assigned,
    "sort": lambda x: np.sort(x) * 2.0,
    "method_sort": lambda x: x[x.argsort(kind="stable")],
    "argsort_axis": lambda x: np.sort(x.reshape(2, -1), axis=0).ravel(),
    "argmax": lambda x: (np.argmax(x), x[np.argmin(x)]),
    "argmax_axis": lambda x: x.reshape(2, -1).argmax(axis=0),
    "nonzero": lambda x: (np.nonzero(x), np.count_nonzero(x)),
    "isnan": lambda x: x[np.isnan(x)].sum() + x[np.isfinite(x)].sum(),
    "isinf": lambda x: (np.isinf(x), np.signbit(x)),
    "comparisons": lambda x: [np.less(x, 0), np.greater_equal(x, x[0]), x == x[1], x != 0],
    "searchsorted": lambda x: np.searchsorted([-1.0, 0.0, 1.0], x),
    "searchsorted_right": lambda x: np.searchsorted([-1.0, 0.0, 1.0], x, side="right"),
    "digitize": lambda x: np.digitize(x, [1.0, 0.0, -1.0]),
    "interp": lambda x: np.interp(x, [-1.0, 0.0, 1.0], [3.0, 1.0, 2.0]),
    "nansum": lambda x: np.nansum(x),
    "nan_to_num": lambda x: np.nan_to_num(x, nan=7.0, posinf=8.0),
    "heaviside": lambda x: np.heaviside(x, x * 2),
    "sinc": lambda x: np.sinc(x / 4),
    "select": lambda x: np.select([x > 1, x < -1], [x, -x], 0.0),
    "piecewise": lambda x: np.piecewise(x, [x < 0, x > 1], [lambda v: -v, lambda v: v * v, 0.0]),
    "objects": lambda x: np.less(np.array([x[0], x[1], 2.0], dtype=object), x[2]).tolist(),
    "closures": lambda x: [v for v in x if v > 0.2],
    "modf": lambda x: np.modf(x),
    "frexp": lambda x: np.frexp(x),
}  # fmt: skip

LOOSE: dict[str, Callable[[Any], Any]] = {
    "trim_zeros": lambda x: np.trim_zeros(x).sum(),
    "equal": lambda x: (np.array_equal(x[:2], x[2:4]), 1.0 in x),
    "logical": lambda x: np.logical_and(x, x > 1).tolist(),
    "max": lambda x: np.max(x) + x.min(),
    "max_axis": lambda x: x.reshape(2, -1).max(axis=1),
    "ptp": lambda x: np.ptp(x),
    "any_all": lambda x: x.sum() if (x > 0).any() and np.all(x) else x[0],
    "median": lambda x: np.median(x),
    "quantile": lambda x: np.quantile(x, [0.1, 0.5, 0.75]),
    "nanmedian": lambda x: np.nanmedian(x),
    "argsort": lambda x: np.argsort(x),
    "argpartition": lambda x: x[np.argpartition(x, 2)],
    "unique": lambda x: np.unique(x, return_counts=True),
    "unique_inverse": lambda x: np.unique(x, return_inverse=True, return_index=True),
    "lexsort": lambda x: np.lexsort((x[:3], x[3:6])),
    "isin": lambda x: np.isin(x, x[:2]),
    "allclose": lambda x: np.allclose(x[:2], x[2:4], atol=0.5),
    "nanargmax": lambda x: np.nanargmax(x),
    "sorted_variables": lambda x: np.searchsorted(np.sort(x[:3]), x),
    "std": lambda x: np.std(x),
    "average": lambda x: np.average(x[:2], weights=x[2:4]),
    "logaddexp": lambda x: np.logaddexp.reduce(x),
    "running_max": lambda x: np.maximum.accumulate(x),
    "running_min": lambda x: np.minimum.accumulate(x.reshape(2, 3), axis=1),
    "max_initial": lambda x: np.max(x[:1], initial=0.5),
    "max_where": lambda x: np.min(x[:2], where=[True, False], initial=0.0),
    "histogram": lambda x: np.histogram(x, [-1.0, 0.0, 1.0])[0],
    "max_where_axis": lambda x: np.max(x.reshape(2, 3), 1, where=x.reshape(2, 3) < 1, initial=-2.0),
    "unwrap": lambda x: np.unwrap(4 * x),
    "unwrap_discont": lambda x: np.unwrap(x.reshape(2, 3), 1.5, axis=1, period=2.3),
    "unique_axis": lambda x: np.unique(np.stack([x[:2], x[2:4], x[:2]]), axis=0),
}


# Where a value is NaN, np.min and np.max look at more than their result shows.
@pytest.mark.parametrize("name", EXACT)
def test_array_functions(name: str) -> None:
    with np.errstate(all="ignore"):
        assert check(EXACT[name], vectors(6)) > 1


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("name", LOOSE)
def test_array_functions_with_stricter_guards(name: str) -> None:
    points = vectors(6)
    if name in ("lexsort", "unwrap", "unwrap_discont", "unique_axis"):  # with NaN a read
        points = [x for x in points if np.isfinite(x).all()]
    with np.errstate(all="ignore"):
        check(LOOSE[name], points, loose=True)


def test_guards_hold_nearby() -> None:
    """Also the stricter guards hold where nothing at all changes its place."""
    x = np.array([0.3, -1.2, 2.2, 0.9, -0.4, 1.4])
    for f in (EXACT | LOOSE).values():
        assert Recorded(f, x).holds(x * (1 + 1e-9))


@pytest.mark.parametrize(
    "f",
    [
        lambda a: np.linalg.eigh(a @ a.T)[0].sum(),
        lambda a: np.linalg.svd(a)[1].sum() + np.linalg.qr(a)[1].sum(),
        lambda a: np.linalg.slogdet(a)[1] + np.linalg.norm(a) + np.linalg.norm(a, np.inf),
        lambda a: np.linalg.lstsq(a, a[0])[0].sum() + np.linalg.solve(a, a[1]).sum(),
        lambda a: stats.norm.logpdf(a, a[0], abs(a[1])).sum() + stats.gamma.logpdf(a, 2.0).sum(),
        lambda a: np.fft.rfft(a).real.sum() + abs(np.fft.fft(a)).sum(),
        lambda a: np.convolve(a[0], a[1]).sum() + np.einsum("ij,jk,kl->il", a, a, a).sum(),
        lambda a: pyad.grad(lambda b: np.linalg.norm(b) + (b * b).mean())(a).sum(),
    ],
)
def test_rules_decide_nothing(f: Callable[..., Any]) -> None:
    a = np.random.default_rng(4).normal(size=(3, 3)) + 3 * np.eye(3)
    tape, _ = _handle._enter()
    mark = _handle._guarding(tape, True)
    try:
        f(_handle._aliases(tape, [a])[0][0])
        assert _handle._guards(tape, mark)[2:] == (0, None)
    finally:
        _handle._guarding(tape, False)
        _handle._leave(tape, False)


# ---- reads -----------------------------------------------------------------------------------

READS: dict[str, Callable[[Any], Any]] = {
    "value": lambda x: x[0].value,
    "array_value": lambda x: x.value.sum(),
    "detach": lambda x: x[0].detach() * 2,
    "array_detach": lambda x: x.detach().sum(),
    "stop_gradient": lambda x: pyad.stop_gradient(x),
    "repr": lambda x: repr(x[0]),
    "str": lambda x: str(x),
    "format": lambda x: f"{x[0]:.3f}",
    "array_repr": lambda x: repr(x),
    "round_digits": lambda x: round(x[0], 2),
    "no_grad": lambda x: in_no_grad(lambda: x[0] * 2),
    "no_grad_array": lambda x: in_no_grad(lambda: x * 2),
    "no_grad_item": lambda x: in_no_grad(lambda: x[0]),
    "no_grad_mask": lambda x: in_no_grad(lambda: x[np.array([True, False, True])]),
    "no_grad_grad": lambda x: in_no_grad(lambda: pyad.grad(pyad.sin)(x[0])),
    "from_partials": lambda x: pyad.from_partials(1.0, [x[0]], [2.0]),
    "ulp": lambda x: pmath.ulp(x[0]),
    "histogram": lambda x: np.histogram(x, bins=3)[0],
    "matrix_rank": lambda x: np.linalg.matrix_rank(x.reshape(1, 3)),
    "unwrap_nan": lambda x: np.unwrap(x * [1.0, np.nan, 1.0]),

    "array2string": lambda x: np.array2string(x),
    "fraction": lambda x: x[0] < __import__("fractions").Fraction(1, 3),
    "grad": lambda x: x.grad,
    "values_of_the_tape": lambda x: pyad.current_tape().values,
    "from_outside": lambda x: pyad.grad(lambda t: x[0])(2.0),
    "anomaly": lambda x: under_anomaly(lambda: x[0] * 2),
}  # fmt: skip


def in_no_grad(f: Callable[[], Any]) -> Any:
    with pyad.no_grad():
        return f()


def under_anomaly(f: Callable[[], Any]) -> Any:
    with pyad.detect_anomaly():
        return f()


@pytest.mark.parametrize("name", READS)
def test_reads_are_noted(name: str) -> None:
    found = Recorded(READS[name], np.array([0.5, 1.5, -2.5]))
    assert found.reads > 0
    assert found.line is not None
    assert found.line.startswith(__file__ + ":")


def test_a_read_names_the_first_line() -> None:
    def f(x: Any) -> Any:
        y = x * 2
        float(y.value)
        return y.value

    found = Recorded(f, 1.0)
    line = f.__code__.co_firstlineno + 2
    assert (found.reads, found.line) == (2, f"{__file__}:{line}")


def test_what_is_no_read() -> None:
    """Constants, structure, identity, and derivatives at constant points."""
    outside = (pyad.var(1.0) * 2, pyad.var(3.0, requires_grad=False), pyad.array([1.0], False))
    pyad.current_tape().clear()

    def f(x: Any) -> Any:
        total = sum(y.value for y in outside[:2]) + float(outside[2].value[0])
        hash(x[0]), x.shape, len(x), x[0].requires_grad, np.shape(x), x.T, x[::2].copy()
        copy.copy(x[0]), pickle.dumps(outside[1])
        total += pyad.grad(pyad.exp)(1.0) + pyad.value_and_grad(np.sum)(np.ones(2))[0]
        return x.sum() * total

    assert Recorded(f, np.ones(3)).reads == 0


# ---- the stretch -----------------------------------------------------------------------------


def inner(x: Any) -> Any:
    return pyad.grad(lambda t: t * t if t > x else t * 3)(2.0) * x


def caught(x: Any) -> Any:
    def g(t: Any) -> Any:
        if t * x > 1:
            raise ValueError
        return t

    try:
        return pyad.grad(g)(1.0) + x
    except ValueError:
        return x * 5


def test_guards_outlive_a_frame_that_is_taken_back() -> None:
    assert check(inner, [1.0, 3.0, 2.0, -1.0]) == 2
    assert Recorded(caught, 2.0).reads > 0  # what was decided on has been taken back
    assert Recorded(caught, 0.5).reads == 0


def test_guarding_nests_and_ends() -> None:
    tape = pyad.current_tape()
    x = pyad.var(1.0) * 2
    outer = _handle._guarding(tape, True)
    assert x > 1
    mark = _handle._guarding(tape, True)
    assert (outer, mark) == ((0, 0, 0), (1, 0, 0))
    assert x < 5
    assert len(_handle._guards(tape, mark)[0][0]) == 1
    assert len(_handle._guards(tape, outer)[0][0]) == 2
    _handle._guarding(tape, False)
    assert _handle._is_guarding()
    _handle._guarding(tape, False)
    assert not _handle._is_guarding()
    assert x < 5
    assert len(_handle._guards(tape)[0][0]) == 0


def test_a_leaf_is_guarded_by_its_node() -> None:
    w = pyad.var(4.0)
    found = Recorded(lambda x: x if x < w else w, 1.0)
    assert found.numbers[1].tolist() != found.numbers[3].tolist()
    assert CONSTANT not in (*found.numbers[1], *found.numbers[3])


def test_backward_within_is_a_read() -> None:
    tape = pyad.current_tape()
    _handle._guarding(tape, True)
    try:
        (pyad.var(1.0) * 2).backward()
        assert _handle._guards(tape)[2] > 0
    finally:
        _handle._guarding(tape, False)


@pytest.fixture(autouse=True)
def _not_guarding() -> Iterator[None]:
    yield
    assert not _handle._is_guarding()
