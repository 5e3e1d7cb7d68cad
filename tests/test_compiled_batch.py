"""Batches of compiled functions: many rows at once are what they are one by one."""

from __future__ import annotations

import collections
import sys
import threading
import tracemalloc
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import pyad
from pyad.compiled import _batch


def close(got: Any, expected: Any) -> None:
    """Equal in structure and shapes, and in numbers to the last few ulps."""
    if isinstance(expected, dict):
        assert type(got) is type(expected)
        assert list(got) == list(expected)
        got, expected = list(got.values()), list(expected.values())
    if isinstance(expected, (list, tuple)):
        assert type(got) is type(expected)
        assert len(got) == len(expected)
        for a, b in zip(got, expected, strict=True):
            close(a, b)
    elif isinstance(expected, np.ndarray):
        assert isinstance(got, np.ndarray)
        assert (got.shape, got.dtype) == (expected.shape, expected.dtype)
        if expected.dtype.kind == "f":
            np.testing.assert_allclose(got, expected, rtol=1e-12, atol=1e-12)
        else:
            np.testing.assert_array_equal(got, expected)
    elif isinstance(expected, float):
        assert type(got) is float
        assert got == pytest.approx(expected, rel=1e-12, abs=1e-12, nan_ok=True)
    else:
        assert got == expected


def stacked(rows: list[Any]) -> Any:
    """Results row by row, with a leading axis."""
    first = rows[0]
    if isinstance(first, dict):
        return {key: stacked([row[key] for row in rows]) for key in first}
    if isinstance(first, tuple) and hasattr(first, "_make"):
        return type(first)._make(stacked(list(column)) for column in zip(*rows, strict=True))
    if isinstance(first, (list, tuple)):
        return type(first)(stacked(list(column)) for column in zip(*rows, strict=True))
    return None if first is None else np.array(rows)


def check(f: Callable[..., Any], args: Any, shared: Any = (), **settings: Any) -> Any:
    """The batch of a function against its rows, values and gradients; the compiled function."""
    p = pyad.compile(f, **settings)
    fixed = {i % len(args) for i in (shared if isinstance(shared, tuple) else (shared,))}
    count = next(
        len(x)
        for i, x in enumerate(args)
        if i not in fixed and isinstance(x, np.ndarray) and x.ndim
    )
    rows = [
        [x[r] if i not in fixed and np.ndim(x) else x for i, x in enumerate(args)]
        for r in range(count)
    ]
    transform = pyad.value_and_grad(f, **settings)
    expected = stacked([transform(*row) for row in rows])
    for threads in (None, 3):
        close(p.value_and_grad.batch(*args, shared=shared, threads=threads), expected)
        close(p.batch(*args, shared=shared, threads=threads), expected[0])
    values, slopes = expected
    got = p.grad.batch(*args, shared=shared)
    close(got, (slopes, values[1]) if settings.get("has_aux") else slopes)
    return p


@pytest.fixture(autouse=True)
def _clean() -> Any:
    yield
    assert not pyad._handle._is_guarding()
    assert len(pyad.current_tape()) == 0


RNG = np.random.default_rng(7)


# ---- rows ------------------------------------------------------------------------------------


def rosenbrock(x: Any) -> Any:
    return sum(100.0 * (x[i + 1] - x[i] ** 2) ** 2 + (1 - x[i]) ** 2 for i in range(len(x) - 1))


def mixed(x: Any, w: Any) -> Any:
    y = np.exp(-x * x) * np.sin(x) + w[0]
    return y.sum() * x[0] if x[0] > 0 else np.log(1 + y @ y) * pyad.sqrt(w[1])


def ladder(x: Any, w: Any) -> Any:
    """Takes one of many ways."""
    total, a = 0.0, x[0] * w[0]
    while abs(a) > 0.5:
        total, a = total + pyad.sin(a), a * 0.5
    return total + max(x[1], x[2]) * w[1]


@pytest.mark.parametrize("rows", [1, 2, 7, 8, 9, 100])
@pytest.mark.parametrize("f", [mixed, ladder])
def test_a_batch_is_its_rows(f: Callable[..., Any], rows: int) -> None:
    x, w = RNG.normal(size=(rows, 4)) * 3, RNG.uniform(0.5, 2.0, 2)
    check(f, (x, w), shared=1)
    check(f, (x, w), shared=(-1,), argnums=1)
    check(f, (x, w), shared=1, argnums=(1, 0))
    check(f, (x, RNG.uniform(0.5, 2.0, (rows, 2))), argnums=(0, 1))


@pytest.mark.parametrize("n", [2, 40, 3000])
def test_long_runs(n: int) -> None:
    def f(x: Any, w: Any) -> Any:
        return np.sum(np.exp(-x * x / 2) * np.sin(w * x)) if x[0] > 0 else np.sum(x * x) / w

    p = check(f, (RNG.normal(size=(20, n)), RNG.uniform(1, 2, 20)), argnums=(1, 0))
    assert p.stats()["recorded"] == 2


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_random_programs_with_branches(data: Any) -> None:
    rows = data.draw(st.integers(1, 40), "rows")
    plan = data.draw(
        st.lists(st.tuples(st.integers(0, 6), st.integers(0, 9)), min_size=1, max_size=12)
    )
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1), "seed"))

    def f(x: Any, s: Any, w: Any) -> Any:
        known = [x[0], x[1], s, w[0], w[1], np.sum(x * w)]
        for what, which in plan:
            a, b = known[which % len(known)], known[(which * 7 + 3) % len(known)]
            if what == 0:
                c = a * b
            elif what == 1:
                c = pyad.sin(a) - b
            elif what == 2:
                c = a if a > b else b * 0.5
            elif what == 3:
                c = pyad.tanh(a) / (2.0 + b * b)
            elif what == 4:
                c = a + round(float(0)) + (1.0 if b > 0 else -1.0)
            elif what == 5:
                c = np.max(x * a) * 0.25
            else:
                c = pyad.exp(-a * a) + (int(b) if abs(b) < 2 else 0)
            known.append(c)
        return known[-1] + known[len(plan)]

    args = rng.normal(size=(rows, 2)), rng.normal(size=rows), rng.normal(size=2)
    p = check(f, args, shared=2, argnums=(0, 2))
    expected = p.value_and_grad.batch(*args, shared=2)
    value, (dx, dw) = p.value_and_grad.batch(*args, shared="w", reduce="sum")
    close(value, float(np.sum(expected[0])))
    close(dx, expected[1][0])
    close(dw, np.sum(expected[1][1], axis=0))


def test_rows_that_need_another_recording_get_it() -> None:
    def f(x: Any) -> Any:
        return x**2 if x > 0 else -x

    p = pyad.compile(f)
    x = np.array([1.0, -1.0, 2.0, np.nan, -3.0, 0.0, np.inf])
    value, slope = p.value_and_grad.batch(x)
    np.testing.assert_array_equal(value, [1, 1, 4, np.nan, 3, 0, np.inf])
    np.testing.assert_array_equal(slope, [2, -1, 4, -1, -1, -1, np.inf])
    stats = p.stats()
    assert (stats["recorded"], stats["recordings"], stats["eager"]) == (2, 2, 0)
    assert stats["hits"] == len(x) - 2
    p.batch(x)
    assert p.stats()["hits"] == 2 * len(x) - 2
    assert p.stats()["recorded"] == 2


def test_a_row_of_a_batch_and_a_call_share_recordings() -> None:
    p = pyad.compile(rosenbrock)
    x = RNG.normal(size=(5, 3))
    close(p.batch(x), np.array([p(row) for row in x]))
    p.grad(x[0])
    assert p.stats()["recorded"] == 1


def test_recordings_stay_bounded() -> None:
    def f(x: Any) -> Any:
        return x * int(x)

    p = pyad.compile(f)
    x = np.arange(400.0) + 0.5
    with pytest.warns(RuntimeWarning, match="another way at nearly every call"):
        close(p.batch(x), x * np.floor(x))
    assert p.stats()["recordings"] <= 64
    assert p.stats()["recorded"] < 400


# ---- arguments ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "turn",
    [
        lambda x: x[::2],
        lambda x: x[::-1],
        lambda x: np.asfortranarray(x),
        lambda x: x.astype(np.float32),
        lambda x: np.round(x * 3).astype(np.int64),
        lambda x: x > 0,
        lambda x: np.broadcast_to(x[0], x.shape),
        lambda x: x[:, ::-1],
        lambda x: x.astype(object),
        lambda x: np.concatenate([x, np.full_like(x, np.nan)]),
    ],
)
def test_any_array_of_numbers(turn: Callable[[Any], Any]) -> None:
    x = turn(RNG.normal(size=(30, 3)))
    p = pyad.compile(rosenbrock)
    expected = [pyad.value_and_grad(rosenbrock)(np.array(row, np.float64)) for row in x]
    before = x.copy()
    close(p.value_and_grad.batch(x), stacked(expected))
    np.testing.assert_array_equal(x, before)


Point = collections.namedtuple("Point", "x y")


def test_structures() -> None:
    def f(a: Any, data: Any, *, scale: float = 1.0, offset: Any = None) -> Any:
        out = a["p"].x * data[0] + np.sum(a["q"] * data[1]) * scale
        if offset is not None:
            out = out + offset
        return {"value": [out, a["q"] * out], "pair": Point(out**2, 2.0)}

    rows = 11
    a = {"p": Point(RNG.normal(size=rows), 3.0), "q": RNG.normal(size=(rows, 2, 2))}
    data = (RNG.normal(size=rows), RNG.normal(size=(2, 2)))
    offset = RNG.normal(size=rows)
    p = pyad.compile(f)
    with pytest.raises(ValueError, match="argument 1 has arrays of 11 and 2 rows"):
        p.batch(a, data)
    full = (data[0], np.broadcast_to(data[1], (rows, 2, 2)))
    got = p.batch(a, full, scale=2.0, offset=offset)
    close(
        got,
        stacked(
            [
                f(
                    {"p": Point(a["p"].x[r], 3.0), "q": a["q"][r]},
                    (data[0][r], data[1]),
                    scale=2.0,
                    offset=offset[r],
                )
                for r in range(rows)
            ]
        ),
    )
    loss = pyad.compile(lambda a, data: f(a, data)["value"][0])
    slopes = loss.grad.batch(a, full)
    assert type(slopes["p"]) is Point
    close(slopes["p"].x, data[0])
    close(slopes["p"].y, np.zeros(rows))
    close(slopes["q"], full[1])


def test_numbers_and_texts_are_shared() -> None:
    def f(x: Any, power: int, kind: str, scale: float, none: None = None) -> Any:
        return (x**power).sum() * scale if kind == "sum" and none is None else scale

    x = RNG.normal(size=(6, 2))
    p = pyad.compile(f, argnums=(0, 3))
    value, (dx, ds) = p.value_and_grad.batch(x, 3, "sum", 2.0, none=None)
    close(value, (x**3).sum(axis=1) * 2)
    close(dx, 6 * x**2)
    close(ds, (x**3).sum(axis=1))


def test_keyword_arguments_in_any_order() -> None:
    p = pyad.compile(lambda x, **data: x * data["b"] - data["a"])
    x, a, b = RNG.normal(size=(3, 5))
    close(p.batch(x, b=b, a=a), x * b - a)
    close(p.batch(x, a=a, b=b), x * b - a)
    close(p.batch(x, b=2.0, a=a), x * 2 - a)


def test_whole_numbers_that_are_not_differentiated_belong_to_the_layout() -> None:
    def f(w: Any, label: Any, name: Any) -> Any:
        return w[label] * (2.0 if name == "b" else 1.0)

    w, label = np.array([1.0, 10.0, 100.0]), np.array([2, 0, 1, 0, 2, 2])
    p = pyad.compile(f)
    name = np.array(["a", "a", "b", "b", "a", "a"])
    value, slope = p.value_and_grad.batch(w, label, name, shared=0)
    factor = np.array([1.0, 1, 2, 2, 1, 1])
    close(value, w[label] * factor)
    close(slope, np.eye(3)[label] * factor[:, None])
    assert p.stats()["recorded"] == 4
    close(p.grad.batch(w, label, name, shared=(0,), reduce="sum"), np.array([3.0, 2.0, 3.0]))


def test_data_that_are_wanted_as_plain_floats() -> None:
    import math

    p = pyad.compile(lambda x, t: x * math.sqrt(t))
    x, t = RNG.normal(size=5), np.array([1.0, 4.0, 9.0, 4.0, 1.0])
    close(p.value_and_grad.batch(x, t), (x * np.sqrt(t), np.sqrt(t)))
    close(p.batch(x, t, reduce="sum"), float(np.sum(x * np.sqrt(t))))
    assert p.stats()["recorded"] <= 4


def test_shared_by_name() -> None:
    def f(x: Any, w: Any, *, b: Any) -> Any:
        return x @ w + b.sum()

    x, w, b = RNG.normal(size=(3, 3)), RNG.normal(size=3), RNG.normal(size=3)
    p = pyad.compile(f, argnums=1)
    close(p.batch(x, w, b=b, shared=("w", "b")), x @ w + b.sum())
    close(p.batch(x, w, b=b, shared={1, "b"}), x @ w + b.sum())
    close(p.grad.batch(x, w, b=b, shared=["w", "b"], reduce="sum"), x.sum(axis=0))


def test_a_method() -> None:
    class Model:
        def __init__(self, scale: float) -> None:
            self.scale = scale

        @pyad.compile
        def loss(self, x: Any) -> Any:
            return (x * self.scale).sum()

    model, x = Model(2.0), RNG.normal(size=(4, 2))
    close(model.loss.batch(x), 2 * x.sum(axis=1))
    close(model.loss.grad.batch(x), np.full((4, 2), 2.0))
    model.scale = 3.0
    close(model.loss.batch(x), 3 * x.sum(axis=1))
    close(model.loss.grad.batch(x), np.full((4, 2), 3.0))


# ---- results -----------------------------------------------------------------------------------


def test_has_aux() -> None:
    def f(x: Any) -> Any:
        return x.sum() ** 2, {"x2": x * x, "steps": 3 if x[0] > 0 else 4, "none": None}

    x = RNG.normal(size=(9, 2))
    p = check(f, (x,), has_aux=True)
    (value, aux), slope = p.value_and_grad.batch(x, reduce="sum")
    close(value, float((x.sum(axis=1) ** 2).sum()))
    close(aux["x2"], (x * x).sum(axis=0))
    assert aux["steps"] == int(np.where(x[:, 0] > 0, 3, 4).sum())
    assert aux["none"] is None
    close(slope, np.repeat(2 * x.sum(axis=1)[:, None], 2, axis=1))


def test_whole_numbers_and_flags_of_results_are_stacked_in_their_kind() -> None:
    def f(x: Any) -> Any:
        return [x * 2.0, x > 0, 1 if x > 0 else 2, "up" if x > 0 else "down", np.array([1, 2])]

    p = pyad.compile(f)
    double, flag, number, text, array = p.batch(np.array([1.0, -1.0, 2.0]))
    close(double, np.array([2.0, -2.0, 4.0]))
    close(flag, np.array([True, False, True]))
    close(number, np.array([1, 2, 1]))
    assert text.tolist() == ["up", "down", "up"]
    close(array, np.array([[1, 2]] * 3))
    with pytest.raises(ValueError, match=r'reduce="sum" adds up all .* a str is no number'):
        p.batch(np.array([1.0, -1.0]), reduce="sum")


def test_a_branch_that_returns_a_whole_number() -> None:
    p = pyad.compile(lambda x: 0 if x < 0 else x * x)
    x = np.array([1.0, -1.0, 3.0, -2.0])
    close(p.batch(x), np.array([1.0, 0.0, 9.0, 0.0]))
    close(p.value_and_grad.batch(x), (np.array([1.0, 0, 9, 0]), np.array([2.0, 0, 6, 0])))
    close(p.value_and_grad.batch(-x * x), (np.zeros(4), np.zeros(4)))
    close(p.batch(x, reduce="sum"), 10.0)
    assert p.stats()["recorded"] == 2


@pytest.mark.parametrize(
    "f",
    [
        lambda x: x[: 1 + int(x[0] > 0)],
        lambda x: x[:2] if x[0] > 0 else x,
        lambda x: x.sum() if x[0] > 0 else x,
        lambda x: (x, x) if x[0] > 0 else x,
        lambda x: (x, x) if x[0] > 0 else [x, x],
        lambda x: (x, x) if x[0] > 0 else (x, x, x),
        lambda x: None if x[0] > 0 else x[0],
        lambda x: {"a": x} if x[0] > 0 else {"b": x},
    ],
)
def test_rows_of_different_structure_are_refused(f: Callable[..., Any]) -> None:
    p = pyad.compile(f)
    x = np.array([[1.0, 2.0, 3.0], [-1.0, 2.0, 3.0]])
    with pytest.raises(ValueError, match="results of one structure and shape"):
        p.batch(x)
    with pytest.raises(ValueError, match="results of one structure and shape"):
        p.batch(x, reduce="sum")
    close(p.batch(x[:1]), stacked([f(x[0])]))


def test_results_are_arrays_of_their_own() -> None:
    p = pyad.compile(lambda x: (x * 2.0, x.sum()))
    x = np.ones((4, 3))
    a, b = p.batch(x)
    a[:] = 0.0
    close(b, np.full(4, 3.0))
    close(p.batch(x)[0], np.full((4, 3), 2.0))
    close(x, np.ones((4, 3)))


def test_no_rows() -> None:
    p = pyad.compile(lambda x, w: x @ w if x[0] > 0 else w[0])
    none, w = np.empty((0, 2)), np.ones(2)
    close(p.batch(none, w, shared=1), np.empty(0))
    value, slope = p.value_and_grad.batch(none, w, shared=1)
    close((value, slope), (np.empty(0), np.empty((0, 2))))
    q = pyad.compile(lambda x, w: x @ w, argnums=1)
    close(q.value_and_grad.batch(none, w, shared=1, reduce="sum"), (0.0, np.zeros(2)))
    pair = pyad.compile(lambda x: (x[0], {"aux": x}), has_aux=True)
    pair(np.ones(2))
    (value, aux), slope = pair.value_and_grad.batch(none)
    close((value, aux["aux"], slope), (np.empty(0), np.empty((0, 2)), np.empty((0, 2))))

    def refuses(x: Any) -> Any:
        raise ZeroDivisionError

    with pytest.raises(ValueError, match="no rows, and what the function returns is not known"):
        pyad.compile(refuses).batch(none)


def test_rows_without_numbers() -> None:
    p = pyad.compile(lambda x: np.sum(x) + 1.0)
    close(p.value_and_grad.batch(np.empty((3, 0))), (np.ones(3), np.empty((3, 0))))


# ---- sums ------------------------------------------------------------------------------------


def likelihood(w: Any, x: Any, y: Any) -> Any:
    z = np.dot(w, x)
    return pyad.softplus(-z) if y > 0.5 else pyad.softplus(z)


def test_a_sum_is_that_of_the_rows_whatever_the_number_of_threads() -> None:
    rows = 30_000
    w, x = RNG.normal(size=3), RNG.normal(size=(rows, 3)) * 10.0 ** RNG.integers(-6, 6, (rows, 1))
    y = RNG.integers(0, 2, rows).astype(float)
    p = pyad.compile(likelihood, argnums=(0, 1))
    value, (dw, dx) = p.value_and_grad.batch(w, x, y, shared=0)
    one = p.value_and_grad.batch(w, x, y, shared=0, reduce="sum")
    assert one[0] == pytest.approx(float(np.sum(value)), rel=1e-14)
    np.testing.assert_allclose(one[1][0], dw.sum(axis=0), rtol=1e-12)
    np.testing.assert_array_equal(one[1][1], dx)
    for threads in (2, 5):
        again = p.value_and_grad.batch(w, x, y, shared=0, reduce="sum", threads=threads)
        assert again[0] == one[0]
        np.testing.assert_array_equal(again[1][0], one[1][0])
        np.testing.assert_array_equal(again[1][1], one[1][1])
        more = p.value_and_grad.batch(w, x, y, shared=0, threads=threads)
        np.testing.assert_array_equal(more[0], value)
        np.testing.assert_array_equal(more[1][0], dw)


def test_a_sum_loses_nothing_to_its_length() -> None:
    p = pyad.compile(lambda x: x * 1.0)
    x = np.concatenate([[1e16], np.ones(100_000), [-1e16]])
    assert p.batch(x, reduce="sum") == 100_000.0
    assert p.batch(x, reduce="sum", threads=2) == 100_000.0
    assert np.isnan(p.batch(np.append(x, np.nan), reduce="sum"))
    assert p.batch(np.append(x, np.inf), reduce="sum") == np.inf


def test_the_memory_of_a_sum_does_not_grow_with_the_rows() -> None:
    p = pyad.compile(likelihood)
    w = np.ones(4)

    def peak(rows: int) -> int:
        x, y = np.ones((rows, 4)), np.tile([0.0, 1.0], rows // 2)
        p.value_and_grad.batch(w, x, y, shared=0, reduce="sum")
        tracemalloc.start()
        p.value_and_grad.batch(w, x, y, shared=0, reduce="sum")
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    few, many = peak(2 * _batch.AT_ONCE), peak(8 * _batch.AT_ONCE)
    assert many < few * 1.2


# ---- what cannot be replayed -------------------------------------------------------------------


def test_values_read_out_are_evaluated_row_by_row_with_one_warning() -> None:
    def f(x: Any) -> Any:
        return x * x.value

    p = pyad.compile(f)
    x = np.arange(1.0, 9.0)
    with pytest.warns(RuntimeWarning, match="recorded at every call") as caught:
        found = p.value_and_grad.batch(x)
    close(found, (x * x, x))
    close(p.batch(x, reduce="sum"), float(np.sum(x * x)))
    assert len(caught) == 1
    assert caught[0].filename == __file__


def test_globals_that_the_function_changes() -> None:
    calls = [0.0]

    def f(x: Any) -> Any:
        calls[0] += 1.0
        return x * calls[0]

    p = pyad.compile(f)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        close(p.batch(np.ones(4)), np.array([1.0, 2.0, 3.0, 4.0]))


def test_objects_among_the_arguments() -> None:
    class Scale:
        value = 2.0

    p = pyad.compile(lambda x, s: x * s.value)
    with pytest.raises(ValueError, match="argument 1 has a Scale, of which the rows are not known"):
        p.batch(np.ones(3), Scale())
    with pytest.warns(RuntimeWarning, match="state cannot be followed"):
        close(p.batch(np.ones(3), Scale(), shared=1), np.full(3, 2.0))


def test_derivatives_nest() -> None:
    p = pyad.compile(lambda w, x: np.sum(w * x) ** 2 if x[0] > 0 else np.sum(w) * x[0])
    w, x = RNG.normal(size=2), RNG.normal(size=(5, 2))

    def total(w: Any) -> Any:
        return np.sum(p.batch(w, x, shared=0))

    def slope(w: Any) -> Any:
        return np.sum(p.grad.batch(w, x, shared=0, reduce="sum") ** 2)

    close(pyad.grad(total)(w), p.grad.batch(w, x, shared=0, reduce="sum"))
    pyad.check_grads(total, w)
    pyad.check_grads(slope, w, order=1)
    close(pyad.grad(lambda w: p.batch(w, x, shared=0, reduce="sum"))(w), pyad.grad(total)(w))


def test_a_loaded_function(tmp_path: Any) -> None:
    p = pyad.compile(lambda x: x[0] * x[1] if x[0] > 0 else x[1])
    x = RNG.normal(size=(20, 2))
    expected = p.value_and_grad.batch(x)
    p.save(tmp_path / "p.pyad")
    close(pyad.load(tmp_path / "p.pyad").value_and_grad.batch(x), expected)
    few = pyad.compile(lambda x: x[0] * x[1] if x[0] > 0 else x[1])
    few(np.array([1.0, 2.0]))
    few.save(tmp_path / "few.pyad")
    with pytest.raises(pyad.Error):
        pyad.load(tmp_path / "few.pyad").batch(x)


# ---- errors ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("args", "named", "text"),
    [
        (([[1.0, 2.0]], 1.0), {}, "argument 0 is a list of numbers.*np.array"),
        ((2.0, 1.0), {}, "no argument of the batch has rows"),
        ((np.ones(3), np.ones(4)), {}, "argument 0 has 3, argument 1 has 4.*shared=1"),
        ((np.ones(3), np.ones(4)), {"shared": 2}, "shared names argument 2, and 2 positional"),
        ((np.ones(3), np.ones(4)), {"shared": "v"}, "shared names 'v', and no argument"),
        ((np.ones(3), np.ones(4)), {"shared": (0, 1)}, "no argument of the batch has rows"),
        ((np.ones(3), {1.0}), {}, "argument 1 has a set, of which the rows are not known"),
        ((np.ones(3), np.array([{}, 1, 2])), {}, "ndarray of objects"),
        ((np.ma.array(np.ones(3)), 1.0), {}, "argument 0 has a MaskedArray"),
        ((np.ones(3), 1.0), {"threads": 0}, "threads is a whole number from 1, or None, not 0"),
        ((np.ones(3), 1.0), {"threads": 1.5}, "threads"),
        ((np.ones(3), 1.0), {"threads": True}, "threads"),
        ((np.ones(3), 1.0), {"reduce": "mean"}, "reduce is None or \"sum\", not 'mean'"),
    ],
)
def test_what_is_not_clear_is_refused(args: Any, named: Any, text: str) -> None:
    p = pyad.compile(lambda x, w: x * w)
    with pytest.raises(pyad.Error, match=text) as caught:
        p.batch(*args, **named)
    assert isinstance(caught.value, ValueError)
    with pytest.raises(pyad.Error, match=text):
        p.grad.batch(*args, **named)


def test_shared_is_a_position_or_a_name() -> None:
    with pytest.raises(TypeError, match=r"by position or name, and 1\.5 is neither"):
        pyad.compile(lambda x: x).batch(np.ones(2), shared=1.5)


def test_a_gradient_needs_one_number() -> None:
    p = pyad.compile(lambda x: x * 2.0)
    with pytest.raises(TypeError):
        p.grad.batch(np.ones((3, 2)))
    with pytest.raises(TypeError, match="argnums names argument 1"):
        pyad.compile(lambda x: x, argnums=1).grad.batch(np.ones(3))


def notes(problem: BaseException) -> str:
    return " ".join([str(problem), *getattr(problem, "__notes__", [])])


def test_an_exception_names_the_row() -> None:
    def f(x: Any) -> Any:
        if x > 3:
            raise ArithmeticError("too large")
        return x * 2.0

    p = pyad.compile(f)
    with pytest.raises(ArithmeticError, match="too large") as caught:
        p.batch(np.array([1.0, 2.0, 5.0, 6.0]))
    assert "in row 2 of the batch" in notes(caught.value)
    with pytest.raises(ArithmeticError) as caught:
        p.grad.batch(np.array([1.0, 4.0]), threads=2)
    assert "in row 1 of the batch" in notes(caught.value)


def test_an_exception_of_a_replay_names_the_row() -> None:
    p = pyad.compile(lambda a: np.linalg.inv(a)[0, 0])
    a = np.array([np.eye(3)] * 20)
    close(p.batch(a), np.ones(20))
    a[13] = 0.0
    with pytest.raises(np.linalg.LinAlgError) as caught:
        p.batch(a)
    assert "in row 13 of the batch" in notes(caught.value)


def test_operations_whose_rules_are_in_python() -> None:
    def f(a: Any) -> Any:
        return np.sum(np.linalg.eigh(a + a.T)[0] ** 3) + pyad.linalg.expm(a)[0, 1]

    a = RNG.normal(size=(40, 3, 3))
    p = pyad.compile(f)
    close(p.grad.batch(a, threads=2), np.array([pyad.grad(f)(row) for row in a]))


# ---- threads -----------------------------------------------------------------------------------


def test_batches_of_several_threads_at_once() -> None:
    p = pyad.compile(ladder)
    x, w = RNG.normal(size=(3000, 3)) * 4, np.array([1.5, 0.5])
    expected = pyad.compile(ladder).value_and_grad.batch(x, w, shared=1)
    problems: list[BaseException] = []

    def work() -> None:
        try:
            for _ in range(3):
                close(p.value_and_grad.batch(x, w, shared=1, threads=2), expected)
        except BaseException as problem:
            problems.append(problem)

    crowd = [threading.Thread(target=work) for _ in range(4)]
    for thread in crowd:
        thread.start()
    for thread in crowd:
        thread.join()
    assert not problems


def test_other_threads_run_meanwhile() -> None:
    p = pyad.compile(lambda x: sum(pyad.sin(x * i) for i in range(400)))
    x = RNG.normal(size=40_000)
    p.batch(x[:9])
    ticks, done = [0], threading.Event()

    def count() -> None:
        while not done.is_set():
            ticks[0] += 1
            done.wait(0.0005)

    other = threading.Thread(target=count)
    before = sys.getswitchinterval()
    sys.setswitchinterval(10.0)  # nobody is interrupted: others run where the lock is released
    try:
        other.start()
        begun = ticks[0]
        p.grad.batch(x)
        assert ticks[0] > begun + 2
    finally:
        sys.setswitchinterval(before)
        done.set()
        other.join()
