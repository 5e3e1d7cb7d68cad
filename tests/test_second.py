"""The second-order sweep and the sweeps over a stretch of a tape.

References are second differences of the same program in mpmath, at 100 digits with a step of 1e-25:
their error is 1e-50, and they use the values of the operations only, no derivative rule.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from itertools import pairwise, product
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st
from mpmath import mp, mpf
from references import REFERENCES
from samples import parse_domain

import pyad
from pyad._binding import OPERATIONS, check, ffi, lib
from pyad.demo.lotka_volterra import Table, read_table, residual_sum_of_squares

Matrix = npt.NDArray[np.float64]
Function = Callable[[Sequence[Any], Any], Any]

ROWS = [row for row in OPERATIONS if row.arguments > 0]
TOLERANCE = 1e-11  # of the largest entry
WIDTHS = (1, 2, 3, 4, 5, 7, 8, 9, 17)


# ---- the sweep, and the reference ----------------------------------------------------------------


def doubles(array: Matrix) -> Any:
    return ffi.from_buffer("double[]", array)


def sweep(
    y: pyad.Var, xs: Sequence[pyad.Var], directions: npt.ArrayLike, start: int = 0
) -> tuple[Matrix, Matrix]:
    """Gradient, shape (n,), and Hessian times each of the columns of `directions`, (n, k)."""
    columns = np.asarray(directions, dtype=float)
    rows = [x.node - start + 1 for x in xs]
    shape = (len(y.tape) - start + 1, columns.shape[1])
    tangents, adjoints, second = np.zeros(shape), np.zeros(shape[0]), np.zeros(shape)
    tangents[rows] = columns
    adjoints[y.node - start + 1] = 1.0
    with y.tape._held() as core:
        check(
            lib.pyad_tape_second(
                core, start, shape[1], doubles(tangents), doubles(adjoints), doubles(second)
            )
        )
    assert not tangents[0].any()
    assert not adjoints[0]
    assert not second[0].any()
    return adjoints[rows], second[rows]


class ByPyad:
    """The operations on variables: rows by name, and those of any number of arguments."""

    sum, prod, norm, logsumexp = pyad.sum, pyad.prod, pyad.norm, pyad.logsumexp
    dot, lincomb, exp, log = pyad.dot, pyad.lincomb, pyad.exp, pyad.log

    @staticmethod
    def apply(name: str, *x: Any) -> Any:
        return getattr(pyad, name)(*x)


class ByMpmath:
    """The same in mpmath, as `pyad.math` and `math` are namespaces of the same functions."""

    sum, prod, exp, log = mp.fsum, mp.fprod, mp.exp, mp.log

    @staticmethod
    def apply(name: str, *x: Any) -> Any:
        return REFERENCES[name].value(*map(mpf, x))

    @staticmethod
    def dot(x: Sequence[Any], y: Sequence[Any]) -> Any:
        return mp.fsum(a * b for a, b in zip(x, y, strict=True))

    lincomb = dot

    @staticmethod
    def norm(x: Sequence[Any]) -> Any:
        return mp.sqrt(mp.fsum(a * a for a in x))

    @staticmethod
    def logsumexp(x: Sequence[Any]) -> Any:
        top = max(x)
        return top + mp.log(mp.fsum(mp.exp(a - top) for a in x))


def reference(f: Function, point: Sequence[float]) -> Matrix:
    """The Hessian by second differences."""
    n = len(point)
    hessian = np.empty((n, n))
    with mp.workdps(100):
        h = mpf(10) ** -25

        def moved(*steps: tuple[int, int]) -> Any:
            x = [mpf(p) for p in point]
            for i, sign in steps:
                x[i] += sign * h
            return f(x, ByMpmath)

        for i, j in product(range(n), range(n)):
            if i <= j:
                terms = (s * t * moved((i, s), (j, t)) for s, t in product((1, -1), repeat=2))
                hessian[i, j] = hessian[j, i] = float(mp.fsum(terms) / (4 * h * h))
    return hessian


def record(f: Function, point: Sequence[float]) -> tuple[pyad.Var, list[pyad.Var]]:
    """The function recorded on a tape of its own, all variables on it."""
    with pyad.Tape():
        xs = pyad.vars(list(point))
        used = pyad.sum(xs)
        y = f(xs, ByPyad)
        return y if isinstance(y, pyad.Var) else y + 0 * used, xs


def hessian_of(f: Function, point: Sequence[float]) -> Matrix:
    y, xs = record(f, point)
    return sweep(y, xs, np.eye(len(xs)))[1]


def assert_close(found: Matrix, expected: Matrix, tolerance: float = TOLERANCE) -> None:
    scale = np.abs(expected).max()
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * (scale or 1.0))


# ---- every operation -----------------------------------------------------------------------------


def squash(x: Any, domain: str, m: Any) -> Any:
    """`x` moved smoothly into a moderate part of the domain of an operation."""
    low, high = parse_domain(domain)
    low, high = max(low, -2.0), min(high, low + 4.0 if low > -2.0 else 2.0)
    margin = (high - low) / 16
    return low + margin + (high - low - 2 * margin) * m.apply("expit", x)


def operate(row: Any, x: Any, y: Any, m: Any, order: int = 1) -> Any:
    """The operation on two results, in its domain."""
    domains = {"floordiv": "(0.5, 4)", "div": "(0.5, 4)", "gamma": "(0.2, 4)"}
    domain = domains.get(row.name, row.domain_b or row.domain_a)
    if row.arguments == 1:
        return m.apply(row.name, squash(x, domain, m))
    if row.name == "polygamma":
        return m.apply(row.name, float(order % 4), squash(y, domain, m))
    return m.apply(row.name, squash(x, row.domain_a, m), squash(y, domain, m))


@pytest.mark.parametrize("row", ROWS, ids=[row.name for row in ROWS])
def test_every_operation_in_a_composition(row: Any) -> None:
    def f(x: Sequence[Any], m: Any) -> Any:
        inner = operate(row, x[0] * x[1] + x[2], x[1] - x[2] * x[2], m)
        again = operate(row, inner, x[0] / x[2], m)
        return inner * inner * x[0] + m.apply("exp", again) * inner

    for point in ([0.3, -1.2, 0.7], [1.1, 0.4, -0.6]):
        assert_close(hessian_of(f, point), reference(f, point))


@pytest.mark.parametrize("row", ROWS, ids=[row.name for row in ROWS])
def test_every_operation_with_constants_and_with_one_argument_twice(row: Any) -> None:
    def f(x: Sequence[Any], m: Any) -> Any:
        total = x[0] * x[1]
        if row.arguments == 2 and row.name != "polygamma":
            total = total + operate(row, x[0] * x[0], mpf(0.3) if m is ByMpmath else 0.3, m)
            total = total * operate(row, -0.4, x[1] * x[0], m)
        return total * operate(row, x[0] * x[1], x[0] * x[1], m, order=2)

    assert_close(hessian_of(f, [0.8, -1.3]), reference(f, [0.8, -1.3]))


SEVERAL = (
    lambda x, y, m: m.sum([x, y, 0.5, x]),
    lambda x, y, m: m.prod([x, y, 0.5, x]),
    lambda x, y, m: m.logsumexp([x, y, 0.5, x]),
    lambda x, y, m: m.norm([x, y, 0.5, x]),
    lambda x, y, m: m.dot([x, y, 0.5], [1.5, x, y]),
    lambda x, y, m: m.lincomb([2.0, -1.0, 3.0], [x, y, 0.5]),
)

NUMBERS = st.integers(0, 10**6)


@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(NUMBERS, NUMBERS, NUMBERS), min_size=1, max_size=12), NUMBERS)
def test_random_programs(choices: list[tuple[int, int, int]], seed: int) -> None:
    def f(x: Sequence[Any], m: Any) -> Any:
        nodes = list(x)
        for op, i, j in choices:
            a, b = nodes[i % len(nodes)], nodes[j % len(nodes)]
            row = (*SEVERAL, *ROWS)[op % (len(SEVERAL) + len(ROWS))]
            result = row(a, b, m) if callable(row) else operate(row, a, b, m, order=i)
            nodes.append(m.apply("tanh", result))
        return m.dot(nodes, nodes)

    rng = random.Random(seed)
    point = [rng.uniform(-1.5, 1.5) for _ in range(3)]
    y, xs = record(f, point)
    directions = np.array([[rng.uniform(-1, 1) for _ in range(2)] for _ in xs])
    gradient, found = sweep(y, xs, np.hstack([np.eye(3), directions]))
    try:
        expected = reference(f, point)
    except ZeroDivisionError:  # a remainder by 0 has no derivatives to compare
        reject()
    assert_close(found[:, :3], expected)
    assert_close(found[:, 3:], expected @ directions)
    assert_close(found[:, :3], found[:, :3].T, 1e-13)
    np.testing.assert_array_equal(gradient, y.tape.reverse(np.eye(len(y.tape))[y.node])[:3])


# ---- operations of any number of arguments -------------------------------------------------------


@pytest.mark.parametrize(
    "point", [[0.5, -1.5, 2.0, 0.25], [0.0, 2.0, 3.0, -1.0], [0.0, 0.0, 3.0, 4.0], [0.0] * 4]
)
def test_prod_is_right_where_factors_are_zero(point: list[float]) -> None:
    def f(x: Sequence[Any], m: Any) -> Any:
        return m.prod([x[0], 3.0, x[1], x[2], x[1], x[3]]) * (x[0] + 2) + x[0] * x[1]

    assert_close(hessian_of(f, point), reference(f, point))


@pytest.mark.parametrize("name", ["logsumexp", "norm"])
def test_means_keep_their_digits_where_one_argument_outweighs_the_others(name: str) -> None:
    def f(x: Sequence[Any], m: Any) -> Any:
        return getattr(m, name)([x[0], 0.5, x[1], x[2], x[0]])

    for far in (1.0, 10.0, 30.0):
        point = [0.5, far, -0.25]
        np.testing.assert_allclose(hessian_of(f, point), reference(f, point), rtol=1e-12)


def test_logsumexp_with_an_infinite_argument() -> None:
    y, xs = record(lambda x, m: m.logsumexp([x[0], x[1]]), [math.inf, 1.0])
    assert not sweep(y, xs, np.eye(2))[1].any()


def test_norm_at_the_origin_is_flat_as_hypot_is() -> None:
    y, xs = record(lambda x, m: m.norm(x), [0.0, 0.0])
    assert not sweep(y, xs, np.eye(2))[1].any()


# ---- whole functions -----------------------------------------------------------------------------


def rosenbrock(x: Sequence[Any], m: Any = None) -> Any:
    total = 0.0
    for a, b in pairwise(x):
        total = total + 100.0 * (b - a**2) ** 2 + (1.0 - a) ** 2
    return total


def test_rosenbrock() -> None:
    point = [math.sin(i) for i in range(6)]
    expected = np.zeros((6, 6))
    for i, (a, b) in enumerate(pairwise(point)):
        expected[i, i] += 1200 * a * a - 400 * b + 2
        expected[i + 1, i + 1] += 200
        expected[i, i + 1] = expected[i + 1, i] = -400 * a
    assert_close(hessian_of(rosenbrock, point), expected, 1e-14)


def test_lotka_volterra() -> None:
    table = Table(*(column[:4] for column in read_table()))
    start = [math.log(p) for p in (0.55, 0.028, 0.84, 0.026, 30.0, 4.0)]

    def f(x: Sequence[Any], m: Any) -> Any:
        return residual_sum_of_squares(x, table, m)

    found = hessian_of(f, start)
    assert_close(found, reference(f, start))
    assert_close(found, found.T, 1e-14)


def test_several_directions_are_as_one_by_one() -> None:
    y, xs = record(lambda x, m: rosenbrock(x) / pyad.norm(x) + pyad.prod(x), [0.3, -1.2, 0.7, 2.0])
    rng = np.random.default_rng(1)
    for width in WIDTHS:
        directions = rng.normal(size=(4, width)) * rng.integers(0, 2, size=(4, width))
        together = sweep(y, xs, directions)[1]
        for k in range(width):
            alone = sweep(y, xs, directions[:, k : k + 1])[1]
            np.testing.assert_array_equal(together[:, k : k + 1], alone)


def test_no_direction_is_the_gradient() -> None:
    y, xs = record(rosenbrock, [0.5, 2.0])
    gradient, second = sweep(y, xs, np.empty((2, 0)))
    assert gradient.tolist() == pyad.gradient(y, xs)
    assert second.shape == (2, 0)


def test_derivatives_of_the_seeds_come_in_by_second() -> None:
    """With y seeded 1 + e, the first-order part of the adjoints is the gradient once more."""
    y, (x,) = record(lambda x, m: pyad.exp(x[0] * 3), [0.5])
    rows = len(y.tape) + 1
    tangents, adjoints, second = np.zeros((rows, 1)), np.zeros(rows), np.zeros((rows, 1))
    adjoints[-1] = second[-1] = 1.0
    with y.tape._held() as core:
        args = doubles(tangents), doubles(adjoints), doubles(second)
        check(lib.pyad_tape_second(core, 0, 1, *args))
    np.testing.assert_array_equal(second[:, 0], adjoints)
    assert adjoints[x.node + 1] == pytest.approx(3 * math.exp(1.5), rel=1e-15)


# ---- what is zero, infinite or unknown -----------------------------------------------------------


@pytest.mark.parametrize("width", WIDTHS)
def test_a_branch_that_was_not_taken_stays_out(width: int) -> None:
    with pyad.Tape():
        x, z = pyad.var(0.0), pyad.var(3.0)
        root = pyad.sqrt(x) * pyad.log(x) + pyad.hypot(x, 0.0 * x) / x
        y = pyad.where(x > 0, root, x * x * z) + z * z
    _, second = sweep(y, [x, z], np.ones((2, width)))
    assert second.tolist() == [[6.0] * width, [2.0] * width]


@pytest.mark.parametrize("width", WIDTHS)
def test_zero_times_infinity_is_zero(width: int) -> None:
    """At a zero residual only the derivative of the adjoint goes down, and is 0 in some lanes."""
    with pyad.Tape():
        x, z = pyad.var(0.0), pyad.var(3.0)
        _ = x + z
        residual = z - 3.0
        y = residual * residual + pyad.sqrt(x) * z
    directions = np.zeros((2, width))
    directions[1, -1] = 1.0
    _, second = sweep(y, [x, z], directions)
    assert second[1].tolist() == [0.0] * (width - 1) + [2.0]
    assert second[0].tolist() == [0.0] * (width - 1) + [math.inf]


def test_the_adjoint_of_a_product_may_be_zero() -> None:
    with pyad.Tape():
        x, z = pyad.var(2.0), pyad.var(5.0)
        product = x * z - 10.0
        y = product * product
    _, second = sweep(y, [x, z], np.eye(2))
    assert second.tolist() == [[50.0, 20.0], [20.0, 8.0]]


def test_infinite_operands_do_not_spoil_other_directions() -> None:
    with pyad.Tape():
        x, z = pyad.var(math.inf), pyad.var(2.0)
        y = x * z
    _, second = sweep(y, [x, z], [[1.0, 0.0], [0.0, 1.0]])
    assert second.tolist() == [[0.0, 1.0], [1.0, 0.0]]


def test_polygamma_has_no_derivative_in_its_order_and_says_so_only_if_asked() -> None:
    with pyad.Tape():
        n, x = pyad.var(1.0), pyad.var(2.5)
        _ = n + x
        y = pyad.polygamma(n, x)
    _, second = sweep(y, [n, x], np.eye(2))
    assert math.isnan(second[0, 0])
    assert math.isnan(second[1, 0])
    assert second[1, 1] == pytest.approx(pyad.polygamma(3.0, 2.5), rel=1e-14)


def test_a_given_node_has_no_second_derivative() -> None:
    with pyad.Tape():
        x, z = pyad.var(2.0), pyad.var(5.0)
        given = pyad.from_partials(4.0, [x], [4.0])
        y = given * z
    with pytest.raises(pyad.Error, match="compose it of operations") as caught:
        sweep(y, [x, z], np.eye(2))
    assert caught.value.code == "GIVEN_SECOND"
    # Where its argument does not move none is asked for, but its adjoint's derivative is.
    assert sweep(y, [x, z], [[0.0], [1.0]])[1].tolist() == [[4.0], [0.0]]


def test_a_given_node_that_does_not_count_is_let_pass() -> None:
    with pyad.Tape():
        x = pyad.var(2.0)
        unused = round(x * x, 1) + pyad.from_partials(4.0, [x], [4.0])
        y = pyad.where(x > 5, unused, x * x * x)
    assert sweep(y, [x], [[1.0]])[1].tolist() == [[12.0]]


# ---- a stretch of a tape -------------------------------------------------------------------------


def inner_function(xs: Sequence[Any], outer: Sequence[Any]) -> Any:
    x, y = xs
    p, q = outer
    total = pyad.sin(x * p) * y + q / x + pyad.pow(y, p) + 3.0 * x
    total = total + pyad.prod([x, p, y, q]) + pyad.norm([x, 2.0, p, y]) + pyad.logsumexp([p, x, q])
    return total + pyad.dot([x, p, 1.5], [q, y, y]) + pyad.lincomb([2.0, 3.0], [p, x]) * y


@pytest.mark.parametrize("width", WIDTHS)
def test_outer_nodes_are_as_constants(width: int) -> None:
    values, outside = [0.7, 1.9], [1.25, 2.5]
    with pyad.Tape() as tape:
        outer = [pyad.var(v) * 1.0 for v in outside]
        start = len(tape)
        xs = pyad.vars(values)
        _ = xs[0] + xs[1]
        y = inner_function(xs, outer)
        _ = y * outer[0]
    with pyad.Tape() as alone:
        us = pyad.vars(values)
        _ = us[0] + us[1]
        z = inner_function(us, outside)
    directions = np.random.default_rng(2).normal(size=(2, width))
    gradient, second = sweep(y, xs, directions, start)
    expected_gradient, expected_second = sweep(z, us, directions)
    np.testing.assert_allclose(gradient, expected_gradient, rtol=1e-14)
    np.testing.assert_allclose(second, expected_second, rtol=1e-13)

    rows = np.zeros((len(tape) - start + 1, width))
    rows[y.node - start + 1] = directions[0]
    rows[0] = np.nan  # whatever the slot of the constants held
    seeds = np.zeros((len(alone), width))
    seeds[z.node] = directions[0]
    with tape._held() as core:
        lib.pyad_tape_reverse(core, start, width, doubles(rows))
    assert not rows[0].any()
    found, expected = rows[[x.node - start + 1 for x in xs]], alone.reverse(seeds)
    np.testing.assert_allclose(found, expected[[u.node for u in us]], rtol=1e-14)

    rows[:], seeds[:] = 0.0, 0.0
    rows[[x.node - start + 1 for x in xs]] = directions
    seeds[[u.node for u in us]] = directions
    with tape._held() as core:
        lib.pyad_tape_forward(core, start, width, doubles(rows))
    assert not rows[0].any()
    np.testing.assert_allclose(rows[y.node - start + 1], alone.forward(seeds)[z.node], rtol=1e-14)


def test_an_empty_stretch() -> None:
    with pyad.Tape() as tape:
        _ = pyad.var(1.0) * 2.0
    for held in (tape, pyad.Tape()):
        rows = np.ones((1, 3))
        with held._held() as core:
            lib.pyad_tape_reverse(core, len(held), 3, doubles(rows))
            lib.pyad_tape_forward(core, len(held), 1, doubles(rows))
            row = doubles(rows)
            assert lib.pyad_tape_second(core, len(held), 1, row, doubles(np.ones(1)), row) == 0
            assert not lib.pyad_tape_touches(core, len(held))


def test_touches_tells_whether_a_stretch_uses_what_is_below_it() -> None:
    with pyad.Tape() as tape:
        p, x = pyad.var(2.0), pyad.var(3.0)
        outer = p * 2.0
        start = len(tape)
        y = x * 3.0
        for _ in range(5000):
            y = 1.0 + y * x
        end = len(tape)
        y = y * outer
        _ = x + y
    with tape._held() as core:
        assert not lib.pyad_tape_touches(core, 0)
        assert lib.pyad_tape_touches(core, start)
        assert lib.pyad_tape_touches(core, end)
        assert lib.pyad_tape_touches(core, len(tape) - 1)
    with pyad.Tape() as apart:
        _ = pyad.var(2.0) * 2.0
        start = len(apart)
        x = pyad.var(3.0)
        y = x * 3.0
        for _ in range(5000):
            y = 1.0 + y * x
    with apart._held() as core:
        assert not lib.pyad_tape_touches(core, start)
        assert lib.pyad_tape_touches(core, start + 1)
