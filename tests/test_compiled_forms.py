"""Every derived form of compiled functions, as the transforms compute it.

Expressions of NumPy and Python that decide by values, and random programs of scalars, lists and
arrays. Points where a form is not finite are left out: zeros beside infinities are multiplied in
another order there.
"""

from __future__ import annotations

import bisect
import collections  # noqa: F401  (for expressions)
import functools
import itertools  # noqa: F401  (for expressions)
import random
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from test_compiled_torture import BINARY, TESTS, UNARY, arrays, decide

import pyad
import pyad.numpy as pnp

Function = Callable[[Any], Any]
Form = Callable[[Any, Any, Any], Any]

FORMS: dict[str, tuple[Form, Form]] = {
    "value": (lambda f, x, v: pyad.value_and_grad(f)(x)[0], lambda p, x, v: p(x)),
    "grad": (lambda f, x, v: pyad.grad(f)(x), lambda p, x, v: p.grad(x)),
    "jacobian": (lambda f, x, v: pyad.jacobian(f)(x), lambda p, x, v: p.jacobian(x)),
    "hessian": (lambda f, x, v: pyad.hessian(f)(x), lambda p, x, v: p.hessian(x)),
    "hvp": (lambda f, x, v: pyad.hessian_vector_product(f)(x, v), lambda p, x, v: p.hvp(x, v)),
    "jvp": (lambda f, x, v: pyad.jvp(f, (x,), (v,))[1], lambda p, x, v: p.jvp((x,), (v,))[1]),
    "vjp": (lambda f, x, v: pyad.vjp(f, x)[1](1.5)[0], lambda p, x, v: p.vjp(x)[1](1.5)[0]),
    "sparse_jacobian": (
        lambda f, x, v: pyad.SparseJacobian(f)(x).toarray(),
        lambda p, x, v: p.sparse_jacobian(x).toarray(),
    ),
}
SECOND = ("hessian", "hvp")


def outcome(form: Form, f: Any, x: Any, v: Any) -> Any:
    try:
        return np.asarray(form(f, x.copy(), v), float)
    except Exception as raised:
        return type(raised)


def check(f: Function, points: list[Any], forms: tuple[str, ...] = tuple(FORMS)) -> dict[str, Any]:
    """Compare at all points where the gradient is finite; gives the statistics."""
    compiled = pyad.compile(f)
    for x in points:
        slope = outcome(FORMS["grad"][0], f, x, None)
        if not isinstance(slope, type) and not np.isfinite(slope).all():
            continue
        v = np.cos(x + np.arange(x.size))
        for name in forms:
            eager, replayed = FORMS[name]
            expected, got = outcome(eager, f, x, v), outcome(replayed, compiled, x, v)
            if isinstance(expected, type):
                assert got is expected, (name, x)
            elif np.isfinite(expected).all():
                tolerance = 1e-7 if name in SECOND else 1e-10
                size = max(1.0, float(np.max(np.abs(expected), initial=0.0)))
                np.testing.assert_allclose(
                    got, expected, rtol=tolerance, atol=tolerance * size, err_msg=f"{name} at {x}"
                )
    return compiled.stats()


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore", RuntimeWarning)
        yield


# ---- expressions -----------------------------------------------------------------------------

EXPRESSIONS = """
x[0] * 2 if np.array_equal(x, np.zeros(4)) else x[1]
x[x.nonzero()].sum() * x[0]
x.argmax() * x[0] + x.argsort() @ x
x.round().sum() * x[0]
int(x[0]) * x[1] + [a for a in range(abs(int(x[0])) + 1)][-1] * x[1]
np.arange(int(abs(x[0])) + 1).sum() * x[1]
sum(a * b for a, b in itertools.combinations(x, 2) if a < b)
collections.Counter(int(a) for a in x)[0] * x[1]
{int(a): a for a in x}.get(0, x[1]) * x[0]
x[0] * (1 if x[0].is_integer() else 2)
x[0] * bool(x[1]) + (not x[2]) * x[3]
max(enumerate(x), key=lambda p: p[1])[0] * x[0]
sorted(zip(x, range(4)))[0][1] * x[0] + sorted(zip(x, range(4)))[1][0]
list(x).index(min(x)) * x[0] + list(x).count(x[0]) * x[2] ** 2
x[0] * x[0] if x[1] in [x[2], x[3], 0.0] else x[1] * x[2]
x[0] * x[1] if -1 < x[0] <= x[1] < 1 else x[2] if x[0] == x[1] != x[2] else x[3] ** 2
np.max(np.abs(x)) * np.argmin(np.abs(x)) * x[0]
(x > 0).sum() * x[0] + (x > 0).astype(float) @ x
np.sign(x) @ x * x[0] + np.heaviside(x, 0.5) @ x * x[1]
np.floor_divide(x, 0.5) @ x + np.remainder(x, 0.7) @ x + np.divmod(x, 0.7)[0] @ x
np.copysign(x, x[::-1]) @ x
np.trunc(x) @ x + np.fix(x) @ x + np.rint(x) @ x
np.modf(x)[0] @ x + np.modf(x)[1].sum() + np.frexp(x)[0] @ x
np.isclose(x, x[::-1]).sum() * x[0] + np.count_nonzero(x) * x[1]
np.nanmax(np.where(x > 0, x, np.nan)) * x[0]
np.nanmedian(x) * np.nanpercentile(x, 30) + np.median(x) * x[0]
np.percentile(x, [10, 60]) @ x[:2] + np.quantile(x, 0.3, method="midpoint") * x[0]
np.quantile(x, 0.3, method="nearest") * x[0] + np.quantile(x, 0.3, method="lower") * x[1]
np.ptp(x) * x[0] + np.argpartition(x, 1)[:2].sum() * x[0] + np.partition(x, 2)[:2].sum()
np.lexsort((x, np.sign(x))) @ x
np.searchsorted(np.sort(x[:2]), x[2]) * x[0] + np.digitize(x, np.array([0.0, 1.0])) @ x
np.interp(x[:2], [-1.0, 0.0, 1.0], x[1:]).sum() * x[0]
np.unique(np.round(x)) @ np.unique(np.round(x)) * x[0]
np.isin(x, [0.0, 1.0]).sum() * x[0]
np.choose((x > 0).astype(int), [x, x * x]).sum()
np.select([x < 0, x < 1], [x, x * x], 1.0).sum() * x[0]
np.piecewise(x, [x < 0, x >= 1], [lambda v: v * v, lambda v: v**3, 0.5]).sum() * x[1]
np.take_along_axis(x, np.argsort(-x), 0)[0] * x[1]
np.diff(np.sort(x)).min() * x[0] + np.gradient(x) @ x
np.maximum.accumulate(x) @ x + np.minimum.accumulate(x).sum()
np.max(x, where=x < 1, initial=-9.0) * x[0] + np.sum(x, where=x > 0)
np.unwrap(x * 4) @ x
np.histogram(x, bins=[-9, 0.0, 9])[0] @ x[:2]
np.bincount((x > 0).astype(int), weights=x, minlength=2) @ x[:2]
np.triu(np.outer(x, x), 1).max() + np.kron(x[:2], x[2:]).max()
np.apply_along_axis(lambda r: r.max() * r[0], 1, np.outer(x, x)).sum()
np.linalg.norm(x, np.inf) * np.linalg.norm(x, -np.inf) + np.linalg.norm(x, 0) * x[0]
np.linalg.eigvalsh(np.outer(x, x) + np.diag([1.0, 2, 3, 4]))[1]
np.linalg.slogdet(np.outer(x, x) + np.diag([1.0, -2, 3, 4]))[0] * x[0]
np.abs(np.fft.rfft(x)).max() + np.argmax(np.abs(np.fft.rfft(x))) * x[0]
pyad.where(x[0] > 0, x[1], x[2]) * x[3] + pyad.clip(x[0], -1, 1) * x[1]
x[0] ** x[1] if x[0] > 0 else (-x[0]) ** 2 + x[1] ** 3
x.take([0, 1]).sum() * x[0] + x.clip(0, None) @ x + x.cumsum()[int(x[0] > 0)] * x[1]
np.linspace(x[0], x[1], int(abs(x[2])) + 2).sum() * x[0]
np.unravel_index(np.argmax(np.outer(x, x)), (4, 4))[1] * x[0]
np.roll(x, int(x[0])) @ x + np.repeat(x, np.where(x > 0, 2, 1)).sum() * x[0]
np.delete(x, np.argmin(x)).prod() + np.append(x, x.max()).sum() * x[0]
np.flatnonzero(x > x.mean()).size * x[0]
functools.reduce(lambda a, b: a if abs(a) > abs(b) else b, x)
all(x[i] <= x[i + 1] for i in range(3)) * x[0] + (x[0] < x[1] < x[2]) * x[3]
pyad.grad(lambda t: t * t * x[1] if t > x[2] else t)(x[0])
pyad.jacobian(lambda z: np.where(z > 0, z * z, z))(x).sum() * x[0]
pyad.value_and_grad(lambda z: np.max(z) * z[0])(x)[1].sum()
pyad.jvp(lambda z: (z * z).sum(), (x,), (x,))[1]
x.value[0] * x[1] + float(f"{x[2]}") * x[0]
""".strip().splitlines()


@pytest.mark.parametrize("text", EXPRESSIONS)
def test_expressions(text: str) -> None:
    f = eval(f"lambda x: {text}", globals())
    rng = np.random.default_rng(3)
    points = [*rng.normal(scale=1.5, size=(7, 4)), *rng.normal(scale=1.5, size=(7, 4)).round()]
    if text.startswith("x.value"):  # its derivatives see a constant, and a value that is read
        assert check(f, points, ("value", "grad"))["recordings"] == 0
    else:
        check(f, points)


# ---- random programs ---------------------------------------------------------------------------

ARRAYS: dict[str, Function] = {
    **{name: functools.partial(arrays, name) for name in ("sort", "mask", "dot", "assign")},
    "argmax": lambda a: a[np.argmax(a)] * np.argmin(a),
    "where": lambda a: np.where(a > a[0], a, a * a * 0.1).sum(),
    "unique": lambda a: np.unique(a).sum(),
    "median": lambda a: np.median(a),
    "search": lambda a: float(np.searchsorted(np.array([-1.0, 0, 1]), a[0])) * a[1],
    "interp": lambda a: np.interp(a[0], [-2.0, 0.0, 2.0], a),
    "running": lambda a: np.maximum.accumulate(a).sum(),
    "solve": lambda a: np.linalg.solve(4 * np.eye(3) + np.outer(np.tanh(a), np.tanh(a)), a)[0],
    "clip": lambda a: np.clip(a, -0.5, a[1] + 2.0).sum(),
    "std": lambda a: np.std(a) + np.prod(np.tanh(a)),
    "nonzero": lambda a: a[np.nonzero(a > 0)].sum(),
    "stack": lambda a: np.stack([a, a[::-1]]).max(axis=0).sum(),
    "convolve": lambda a: np.convolve(a, a[:2])[1] * 0.1,
    "partition": lambda a: np.partition(a, 1)[1],
    "any_all": lambda a: a[0] if (a > 0).any() and not (a > 1).all() else a[1],
}


def of_list(items: list[Any], what: str) -> Any:
    if what == "sorted":
        return sorted(items)[1]
    if what == "extremes":
        return min(items) * 0.5 + max(items)
    if what == "in":
        return items[0] * 2.0 if items[1] in items[2:] else items[1]
    if what == "dict":
        known = {int(max(-5.0, min(5.0, a))): a for a in items}
        return known.get(0, items[0]) * len(known)
    return items[0] * bisect.bisect([-1.0, 0.0, 1.0], items[-1])


def raising(a: Any, b: Any) -> Any:
    try:
        if a < b:
            raise KeyError
        return a * 2
    except KeyError:
        return b - 1


def program(draw: random.Random) -> list[Any]:
    """Steps: what is done, and the numbers of what it is done to."""
    kinds = {
        "unary": UNARY, "binary": BINARY, "if": TESTS, "array": tuple(ARRAYS), "raise": (None,),
        "list": ("sorted", "extremes", "in", "dict", "bisect"), "while": (1, 3), "grad": (None,),
        "constant": (0.0, 1.0, -1.0, 0.5),
    }  # fmt: skip
    weights = (25, 20, 16, 16, 5, 6, 5, 2, 5)
    steps = []
    for _ in range(draw.randint(1, 14)):
        kind = draw.choices(tuple(kinds), weights)[0]
        steps.append((kind, draw.choice(kinds[kind]), [draw.randint(0, 30) for _ in range(4)]))
    return steps


def run(steps: list[Any], x: Any) -> Any:
    values: list[Any] = [x[0], x[1], x[2]]
    for kind, what, places in steps:
        a, b, c, d = (values[i % len(values)] for i in places)
        if kind == "unary":
            a = pyad.tanh(a) if what in ("exp", "square") else abs(a) if what == "sqrt" else a
            result = getattr(pyad, what)(a)
        elif kind == "binary":
            result = a / (b * b + 0.5) if what == "div" else getattr(pyad, what)(a, b)
        elif kind == "if":
            result = c * 1.5 if decide(what, a, b, values) else d + 0.25
        elif kind == "array":
            result = ARRAYS[what](pnp.array(values[-3:]))
        elif kind == "list":
            result = of_list(values[-4:], what)
        elif kind == "raise":
            result = raising(a, b)
        elif kind == "while":
            result, turns = a, 0
            while abs(result) > 0.5 and turns < what:
                result, turns = result * 0.5, turns + 1
        elif kind == "grad":
            result = pyad.grad(lambda t, a=a: t * t * pyad.tanh(a) if t > a else pyad.sin(t) * t)(
                pyad.tanh(b)
            )
        else:
            result = what
        values.append(result)
    return sum(0.5 ** (i % 3) * value for i, value in enumerate(values))


@pytest.mark.parametrize("part", range(6))
def test_random_programs_in_every_form(part: int) -> None:
    for seed in range(part * 10, part * 10 + 10):
        steps = program(random.Random(seed))
        rng = np.random.default_rng(seed)
        points = list(rng.normal(size=(6, 3)).round(seed % 3 * 3))
        check(lambda x, steps=steps: run(steps, x), points)
