"""The operation table against mpmath: value, first and second partials of every row.

A value may be 2 ulp off, or as many as the libm that computes it (`LIBM_ULPS`). A partial may be
off by 1e-13 of itself or, where its terms cancel, of their size (`references.SCALES`); by 1e-320,
which is what the other factors may make of the rounding of a denormal one; and it is infinite
where it is beyond the largest float. A denormal operand has fewer digits, and so have its
partials. Kinks, poles and NaN are rows of `docs/edges.md`, tested by `test_edges.py`.
"""

from __future__ import annotations

import math
import operator
import random
from collections.abc import Callable
from itertools import product
from typing import Any, NamedTuple

import numpy as np
import pytest
from mpmath import mp, mpf
from references import REFERENCES, SCALES, unknown
from samples import LARGEST, Point, is_inside, parse_domain, points

import pyad
from pyad._binding import OPERATIONS, Operation, check, ffi, lib

ROWS = [row for row in OPERATIONS if row.arguments > 0]

ULPS = 2.0
LIBM_ULPS = {"cbrt": 4.0, "erfc": 5.0, "gamma": 10.0, "lgamma": 4.0}
"""glibc's manual, "Known Maximum Errors in Math Functions", where these are above 2."""
FLOORS = {"logaddexp": 1e-32}
"""The error of a value that is 0 or nearly so by cancellation of terms of size 1."""
RELATIVE = 1e-13
UNDERFLOW = 1e-320

Evaluate = Callable[[Operation, Point], dict[str, float]]


# ---- the checker ---------------------------------------------------------------------------------


def by_library(row: Operation, point: Point) -> dict[str, float]:
    """Value and partials as the C library has them, by name."""
    result = ffi.new("pyad_partials *")
    check(lib.pyad_op_partials(OPERATIONS.index(row), point[0], point[-1], result))
    return {name: getattr(result, name) for name in ("value", "da", "db", "daa", "dab", "dbb")}


def allowed(name: str, part: str, true: Any, arguments: list[Any]) -> float:
    """The error that is allowed, of a true value within the range of floats."""
    if part == "value":
        size = min(abs(float(true)), LARGEST)
        return LIBM_ULPS.get(name, ULPS) * math.ulp(size) + FLOORS.get(name, 0.0)
    scale = abs(true)
    if (name, part) in SCALES:
        scale = max(scale, SCALES[name, part](*arguments))
    relative = max([RELATIVE, *(math.ulp(x) / abs(x) for x in map(float, arguments) if x)])
    return relative * float(min(scale, mpf(LARGEST))) + UNDERFLOW


def miss(got: float, true: Any, allowance: float) -> float:
    """How far off a number is, in units of what is allowed."""
    if mp.isnan(true) or math.isnan(got):
        return 0.0 if mp.isnan(true) and math.isnan(got) else math.inf
    if math.isinf(got):
        return 0.0 if got * mp.sign(true) > 0 and abs(true) + allowance > LARGEST else math.inf
    return float(abs(got - true) / allowance)


def misses(row: Operation, point: Point, evaluate: Evaluate) -> dict[str, float]:
    """`miss` of the value and of each partial; nothing at a pole."""
    reference = REFERENCES[row.name]
    got = evaluate(row, point)
    with mp.workdps(reference.digits):
        arguments = [mpf(x) for x in point]
        formulas = dict(
            zip(("value", *reference.names), (reference.value, *reference.partials), strict=True)
        )
        try:
            true = {part: formula(*arguments) for part, formula in formulas.items()}
        except (ZeroDivisionError, ValueError):
            return {}
        return {
            part: miss(got[part], true[part], allowed(row.name, part, true[part], arguments))
            for part in true
        }


def worst(
    row: Operation, evaluate: Evaluate = by_library, density: int = 1
) -> dict[str, tuple[float, Point]]:
    """The largest `miss` of the value and of each partial over the row's domain, and where."""
    found: dict[str, tuple[float, Point]] = {}
    for point in points(row, density):
        for part, value in misses(row, point, evaluate).items():
            if part not in found or value > found[part][0]:
                found[part] = value, point
    return found


# ---- rows of one and two arguments ---------------------------------------------------------------


def test_every_row_has_a_reference() -> None:
    missing = [row.name for row in ROWS if row.name not in REFERENCES]
    missing += [
        row.name for row in OPERATIONS if row.arguments < 0 and row.name not in {*MANY, "leaf"}
    ]
    assert not missing, (
        f"no reference for {', '.join(missing)}: add a line to REFERENCES in tests/references.py, "
        "value and partials in mpmath; for a row of any number of arguments, to MANY in this file"
    )
    assert not set(REFERENCES) - {row.name for row in ROWS}, "a reference without a row"


def test_a_missing_reference_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(REFERENCES, "sin")
    with pytest.raises(AssertionError, match=r"no reference for sin: add a line"):
        test_every_row_has_a_reference()


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_value_and_partials_agree_with_mpmath(row: Operation) -> None:
    found = worst(row)
    assert found.keys() == {"value", *REFERENCES[row.name].names}
    for part, (value, point) in found.items():
        assert value <= 1, f"{part} of {row.name}{point} is off by {value:.3g} of what is allowed"


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_the_references_are_the_derivatives_of_their_values(row: Operation) -> None:
    """At moderate points, where numerical differentiation at 50 digits can be trusted."""
    reference = REFERENCES[row.name]
    low, high = (-0.7, 0.8) if row.domain_a == "(-1, 1)" else (-19.3, 4.7)
    inside = [x for x in (low, 0.3, 0.6, 1.3, high) if is_inside(x, row.domain_a)]
    inside = inside or [0.0, 2.0]
    for a, b in product(inside, (0.4, 1.9)):
        point = (mpf(a), mpf(b))[: row.arguments]
        for name, partial in zip(reference.names, reference.partials, strict=True):
            if partial is unknown:
                continue
            order = (name.count("a"), name.count("b"))[: row.arguments]
            with mp.workdps(60):
                expected = mp.diff(reference.value, point, order)
                assert mp.almosteq(partial(*point), expected, 1e-15, 1e-15), (name, point)


# ---- the checker itself --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "part", "wrong"),
    [
        ("sin", "da", lambda x: -x),
        ("atan2", "db", lambda x: -x),
        ("exp", "daa", lambda x: 2 * x),
        ("mul", "dab", lambda x: 0.0),
        ("div", "dbb", lambda x: x * (1 + 1e-12)),
        ("log", "da", lambda x: x * (1 + 1e-12)),
        ("digamma", "da", lambda x: x * (1 - 1e-12)),
        ("pow", "dab", lambda x: x * (1 + 1e-12)),
        ("tan", "value", lambda x: x * (1 + 1e-15)),
        ("expm1", "value", lambda x: x + 1e-17),
        ("hypot", "da", lambda x: math.nan),
        ("reciprocal", "daa", lambda x: math.copysign(min(abs(x), LARGEST), x)),
        ("expit", "da", lambda x: x if x > 1e-30 else 0.0),
    ],
    ids=lambda part: part if isinstance(part, str) else "",
)
def test_the_checker_fails_on_a_wrong_rule(
    name: str, part: str, wrong: Callable[[float], float]
) -> None:
    def broken(row: Operation, point: Point) -> dict[str, float]:
        right = by_library(row, point)
        return {**right, part: wrong(right[part])}

    row = next(row for row in ROWS if row.name == name)
    found = {part: value for part, (value, _) in worst(row, broken).items()}
    assert found.pop(part) > 1
    assert max(found.values()) <= 1


def test_the_error_is_measured_in_what_is_allowed() -> None:
    assert miss(1.5, mpf(1), 0.25) == 2
    assert miss(math.inf, mpf("1e309"), 1e295) == 0
    assert miss(-math.inf, mpf("1e309"), 1e295) == math.inf
    assert miss(LARGEST, mpf("1e309"), 1e295) > 1
    assert miss(math.inf, mpf(1), 0.25) == math.inf
    assert miss(math.nan, mpf(1), 0.25) == math.inf
    assert miss(0.0, mp.nan, 0.25) == math.inf
    assert miss(math.nan, mp.nan, 0.25) == 0


@pytest.mark.parametrize("text", ["(0, inf", "[0, 1]", "0", "(0, 1, 2)"])
def test_a_domain_is_an_interval_or_a_set(text: str) -> None:
    with pytest.raises((AssertionError, ValueError)):
        parse_domain(text)


# ---- any number of arguments ---------------------------------------------------------------------


class Many(NamedTuple):
    """An operation of any number of arguments: as the user calls it, and in mpmath."""

    call: Callable[[list[Any]], Any]
    value: Callable[[list[Any]], Any]
    partials: Callable[[list[Any]], list[Any]]


def coefficients(count: int) -> list[float]:
    return [1.25 * (-1) ** i / (i + 1) for i in range(count)]


def mp_logsumexp(xs: list[Any]) -> Any:
    return mp.log(mp.fsum(map(mp.exp, xs))) if xs else -mp.inf


def mp_softmax(xs: list[Any]) -> list[Any]:
    value = mp_logsumexp(xs)
    return [mp.exp(x - value) for x in xs]


def mp_norm(xs: list[Any]) -> Any:
    return mp.sqrt(mp.fsum(x * x for x in xs))


MANY: dict[str, Many] = {
    "given": Many(
        lambda xs: pyad.from_partials(4.5, xs, coefficients(len(xs))),
        lambda xs: mpf(4.5),
        lambda xs: [mpf(c) for c in coefficients(len(xs))],
    ),
    "sum": Many(pyad.sum, mp.fsum, lambda xs: [mpf(1)] * len(xs)),
    # against itself, turned round: each variable stands in it twice
    "dot": Many(
        lambda xs: pyad.dot(xs, xs[::-1]),
        lambda xs: mp.fsum(map(operator.mul, xs, xs[::-1])),
        lambda xs: [2 * x for x in xs[::-1]],
    ),
    "lincomb": Many(
        lambda xs: pyad.lincomb(coefficients(len(xs)), xs),
        lambda xs: mp.fsum(map(operator.mul, coefficients(len(xs)), xs)),
        lambda xs: [mpf(c) for c in coefficients(len(xs))],
    ),
    "prod": Many(
        pyad.prod,
        mp.fprod,
        lambda xs: [mp.fprod(xs[:i] + xs[i + 1 :]) for i in range(len(xs))],
    ),
    "logsumexp": Many(pyad.logsumexp, mp_logsumexp, mp_softmax),
    "norm": Many(
        pyad.norm, mp_norm, lambda xs: [x / mp_norm(xs) if mp_norm(xs) else mpf(0) for x in xs]
    ),
}

LISTS: dict[str, list[float]] = {
    "none": [],
    "one": [-3.7],
    "two": [0.3, 5.1],
    "one zero": [2.0, 0.0, -3.0, 0.5],
    "two zeros": [2.0, 0.0, -3.0, 0.0],
    "all zero": [0.0, 0.0, 0.0],
    "equal": [1.1, 1.1, 1.1],
    "cancelling": [1e16, 1.0, -1e16, 3.0, -1.0],
    "large": [1e5, 1e5 + 0.1, -1e5, 99999.0],
    "far apart": [1e160, 1e-160, -1e-140, 3.0],
    "many": [random.Random(1).uniform(-2, 2) for _ in range(40)],
}


def swept(
    call: Callable[[list[Any]], Any], values: list[float], variable: Callable[[int], bool]
) -> tuple[float, list[float], list[float], list[float]]:
    """Value and derivatives: by `gradient`, `Tape.reverse` and `Tape.forward`; 0 for constants."""
    with pyad.Tape() as tape:
        xs = [pyad.var(x) if variable(i) else x for i, x in enumerate(values)]
        y = pyad.positive(call(xs))
    if not isinstance(y, pyad.Var):
        return y, *([0.0] * len(values) for _ in range(3))
    places = [i for i in range(len(values)) if variable(i)]
    nodes = [xs[i].node for i in places]
    seeds = np.zeros((len(tape), len(nodes)))
    seeds[nodes, range(len(nodes))] = 1.0
    adjoint = np.zeros(len(tape))
    adjoint[y.node] = 1.0
    value = y.value
    rows = [tape.forward(seeds)[y.node], tape.reverse(adjoint)[nodes]]
    rows.append(pyad.gradient(y, [xs[i] for i in places]))
    full = np.zeros((3, len(values)))
    full[:, places] = rows
    return value, *full.tolist()


@pytest.mark.parametrize("variable", [lambda i: True, lambda i: i % 2 == 0], ids=["all", "half"])
@pytest.mark.parametrize("values", LISTS.values(), ids=LISTS.keys())
@pytest.mark.parametrize("name", MANY)
def test_any_number_of_arguments(
    name: str, values: list[float], variable: Callable[[int], bool]
) -> None:
    row = MANY[name]
    value, *sweeps = swept(row.call, values, variable)
    with mp.workdps(350):  # the sum of 1e160 and 1e-160
        exact = [mpf(x) for x in values]
        true, partials = row.value(exact), row.partials(exact)
        if name == "prod":
            assert value == math.prod(values)  # rounded at each step, as the standard module's
        elif not mp.isinf(true):
            assert miss(value, true, 2 * math.ulp(float(true))) <= 1
        else:
            assert value == true
        for sweep in sweeps:
            for i, (got, partial) in enumerate(zip(sweep, partials, strict=True)):
                expected = partial if variable(i) else mpf(0)
                assert miss(got, expected, allowed(name, "dx", expected, exact)) <= 1


def test_one_variable_several_times() -> None:
    x = pyad.var(1.5)
    assert pyad.gradient(pyad.sum([x, x, 2.0, x]), x) == 3
    assert pyad.gradient(pyad.prod([x, 2.0, x]), x) == 6
    assert pyad.gradient(pyad.dot([x, x, 1.0], [x, 3.0, x]), x) == 7
    assert pyad.gradient(pyad.lincomb([2.0, -0.5], [x, x]), x) == 1.5
    assert pyad.gradient(pyad.lincomb([x, 1.0], [x, x]), x) == 4
    assert pyad.gradient(pyad.logsumexp([x, x]), x) == 1
    assert pyad.gradient(pyad.norm([x, x]), x) == pytest.approx(math.sqrt(2), rel=1e-15)
    assert pyad.gradient(pyad.from_partials(0.0, [x, x], [1.0, 2.0]), x) == 3


def test_partials_of_logsumexp_do_not_have_the_rounding_of_a_large_value() -> None:
    xs = pyad.vars([1e10, 1e10, 1e10 - 1])
    total = 2 + math.exp(-1)
    expected = [1 / total, 1 / total, math.exp(-1) / total]
    assert pyad.gradient(pyad.logsumexp(xs), xs) == pytest.approx(expected, rel=1e-15)
