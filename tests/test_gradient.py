"""`backward` and `pyad.gradient`: accumulation, structures, errors that change nothing, modes."""

from __future__ import annotations

import gc
from collections import OrderedDict, defaultdict, namedtuple
from collections.abc import Callable
from contextlib import AbstractContextManager
from fractions import Fraction
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest

import pyad

Unchanged = Callable[..., AbstractContextManager[None]]


def test_the_example_of_the_interface_page() -> None:
    x, y = pyad.var(2.0), pyad.var(5.0)
    z = pyad.log(x) + x * y - pyad.sin(y)
    z.backward()
    assert z.value == pytest.approx(11.652071455223084, rel=1e-15)
    assert x.grad == 5.5
    assert y.grad == pytest.approx(1.7163378145367738, rel=1e-15)


# ---- backward ------------------------------------------------------------------------------


def test_backward_accumulates() -> None:
    x, y = pyad.var(2.0), pyad.var(3.0)
    assert x.grad is None
    (x * y).backward()
    (x * x).backward()
    assert (x.grad, y.grad) == (7.0, 2.0)
    x.zero_grad()
    (x * y).backward(seed=10)
    assert (x.grad, y.grad) == (30.0, 22.0)
    (x * y).backward(Fraction(1, 2))
    assert x.grad == 31.5


def test_backward_reaches_only_what_was_recorded_since() -> None:
    x, y = pyad.var(2.0), pyad.var(3.0)
    (x * 2).backward()
    assert y.grad is None
    dead = x * y
    (x * 3).backward()
    assert (x.grad, y.grad) == (5.0, 0.0)
    assert dead.value == 6.0


def test_a_retained_recording_can_be_swept_again() -> None:
    x = pyad.var(3.0)
    y = x * x
    z = y * 2
    z.backward(retain_graph=True)
    assert (x.grad, y.grad, z.grad) == (12.0, 2.0, 1.0)
    y.backward(seed=1.0, retain_graph=True)
    assert (x.grad, y.grad) == (18.0, 1.0)
    w = z + y
    assert w.grad is None  # younger than the sweep
    w.backward()
    assert x.grad == 36.0
    assert (y.grad, z.grad) == (3.0, 1.0)  # still known until the next sweep
    (x * 1).backward()
    assert (y.grad, z.grad) == (None, None)


def test_a_leaf_is_its_own_derivative() -> None:
    x = pyad.var(3.0)
    x.backward()
    x.backward(2.0)
    assert x.grad == 3.0
    assert len(pyad.current_tape()) == 0
    assert pyad.gradient(x, x) == 1.0
    assert pyad.gradient(x, [x, pyad.var(1.0)], seed=5) == [5.0, 0.0]


def test_a_leaf_assigned_between_recordings_sums_its_parts() -> None:
    x = pyad.var(3.0)
    y = x * x
    x.value = 3.0  # leaves the recording; its next use is another node
    z = y + x
    assert len(pyad.current_tape()) == 4
    assert pyad.gradient(z, [x, x], retain_graph=True) == [7.0, 7.0]
    z.backward()
    assert x.grad == 7.0


@pytest.mark.parametrize("seed", [np.float64(2), np.float32(2), 2, np.array(2.0), Fraction(2)])
def test_seeds(seed: Any) -> None:
    x = pyad.var(3.0)
    assert pyad.gradient(x * x, x, seed=seed) == 12.0
    assert pyad.gradient(x * x, x, seed=None) == 6.0
    assert pyad.gradient(x * x, x, seed=pyad.var(0.5).detach()) == 3.0


# ---- structures ----------------------------------------------------------------------------

Pair = namedtuple("Pair", ["a", "b"])


def test_structures() -> None:
    x, y, z = pyad.vars([2.0, 3.0, 5.0])
    w = x * y * 2
    top = w + z

    def gradient(xs: Any) -> Any:
        return pyad.gradient(top, xs, retain_graph=True)

    assert gradient(x) == 6.0
    assert gradient([]) == []
    assert gradient(()) == ()
    assert gradient({}) == {}
    assert gradient([x, (y, {"z": z, "w": [w]})]) == [6.0, (4.0, {"z": 1.0, "w": [1.0]})]
    assert gradient(Pair(x, Pair(y, z))) == Pair(6.0, Pair(4.0, 1.0))
    ordered = gradient(OrderedDict(b=y, a=x))
    assert type(ordered) is OrderedDict
    assert list(ordered.items()) == [("b", 4.0), ("a", 6.0)]
    default = gradient(defaultdict(list, a=[x]))
    assert type(default) is defaultdict
    assert default == {"a": [6.0]}
    assert gradient(MappingProxyType({"a": x})) == {"a": 6.0}
    array = gradient(np.array([[x, y], [z, w]], dtype=object))
    assert array.dtype == np.float64
    assert array.tolist() == [[6.0, 4.0], [1.0, 1.0]]
    assert gradient(np.array(x, dtype=object)).shape == ()
    assert gradient(np.empty((0, 3), dtype=object)).shape == (0, 3)
    assert gradient([x, x, top, top]) == [6.0, 6.0, 1.0, 1.0]
    assert type(gradient(x)) is float


def test_unused_leaves_have_derivative_zero() -> None:
    x, unused, elsewhere = pyad.vars([2.0, 3.0, 5.0])
    with pyad.Tape():
        _ = elsewhere * 2
    assert pyad.gradient(x * x, [x, unused, elsewhere]) == [4.0, 0.0, 0.0]


def test_gradient_accumulates_nothing_and_frees_the_recording() -> None:
    x = pyad.var(2.0)
    y = x * x
    assert pyad.gradient(y, x) == 4.0
    assert x.grad is None
    assert len(pyad.current_tape()) == 0
    with pytest.raises(RuntimeError, match="retain_graph=True"):
        pyad.gradient(y, x)


def test_a_list_that_changes_while_it_is_read() -> None:
    x = pyad.var(2.0)

    class Sly(dict):  # type: ignore[type-arg]
        def items(self) -> Any:
            xs.clear()
            gc.collect()
            return super().items()

    xs: list[Any] = [Sly(a=x), *(x * k for k in range(50))]
    assert len(pyad.gradient(x * x, xs)) in (0, 51)


# ---- errors change nothing -------------------------------------------------------------------


def failing() -> dict[str, tuple[str, Callable[[pyad.Var, pyad.Var], Any]]]:
    """Calls that fail on a recording y of x: the text of the error, and the call."""
    gradient, var = pyad.gradient, pyad.var
    other = pyad.Tape()
    with other:
        z = var(1.0) * 2
    return {
        "seed": ("not str", lambda x, y: y.backward("1")),
        "seed variable": ("derivative would be lost", lambda x, y: y.backward(x)),
        "keyword": ("retain", lambda x, y: y.backward(retain=True)),
        "constant": ("requires a gradient", lambda x, y: y.detach().backward()),
        "constant gradient": ("requires a gradient", lambda x, y: gradient(y.detach(), x)),
        "float": ("expects pyad variables, not float", lambda x, y: gradient(1.0, x)),
        "array": ("not numpy.ndarray", lambda x, y: gradient(np.array([y]), x)),
        "wrt number": ("not int", lambda x, y: gradient(y, [x, 3])),
        "wrt text": ("not str", lambda x, y: gradient(y, "x")),
        "wrt None": ("not NoneType", lambda x, y: gradient(y, None)),
        "wrt set": ("not set", lambda x, y: gradient(y, {x})),
        "wrt floats": ("not numpy.ndarray", lambda x, y: gradient(y, np.ones(2))),
        "wrt generator": ("not generator", lambda x, y: gradient(y, (v for v in [x]))),
        "wrt constant": ("Set requires_grad", lambda x, y: gradient(y, {"c": x.detach()})),
        "wrt other tape": ("another tape", lambda x, y: gradient(y, [x, z])),
        "new leaf wrt": ("not int", lambda x, y: gradient(var(1.0), 3)),
        "new leaf wrt other": ("another tape", lambda x, y: gradient(var(1.0), z)),
        "new leaf seed": ("not str", lambda x, y: var(1.0).backward("1")),
        "mixed": ("two different tapes", lambda x, y: y * z),
        "mixed sum": ("two different tapes", lambda x, y: pyad.sum([x, y, z])),
        "partials": ("one length", lambda x, y: pyad.from_partials(1.0, [x, y], [1.0])),
        "partial": ("not str", lambda x, y: pyad.from_partials(1.0, [x], ["1"])),
        "value": ("losing its der", lambda x, y: pyad.from_partials(x, [x], [1.0])),
        "argument": ("not str", lambda x, y: pyad.from_partials(1.0, [var(1.0), "x"], [1, 1])),
        "sum": ("not str", lambda x, y: pyad.sum([var(1.0), x, "a"])),
        "sum of one": ("expects a sequence", lambda x, y: pyad.sum(x)),
        "dot": ("one length", lambda x, y: pyad.dot([x], [])),
        "dot of one": ("two sequences", lambda x, y: pyad.dot([x])),
        "unary": ("not str", lambda x, y: pyad.sin("x")),
        "binary": ("two arguments", lambda x, y: pyad.atan2(x)),
        "binary operand": ("not str", lambda x, y: pyad.atan2(var(1.0), "x")),
        "operator": ("not str", lambda x, y: var(1.0) ** "a"),
        "divmod": ("not str", lambda x, y: divmod(y, "a")),
        "log base": ("not str", lambda x, y: pyad.math.log(x, "a")),
    }  # fmt: skip


@pytest.mark.parametrize("name", failing())
def test_a_failed_call_changes_nothing(name: str, unchanged: Unchanged) -> None:
    text, call = failing()[name]
    x = pyad.var(2.0, name="x")
    x.grad = 7.0
    y = pyad.exp(x) * x
    y.backward(retain_graph=True)
    with unchanged(x), pytest.raises((TypeError, ValueError, RuntimeError), match=text):
        call(x, y)
    assert (x.value, x.grad, y.grad) == (2.0, 7 + 3 * np.exp(2.0), 1.0)
    assert pyad.gradient(y, x) == 3 * np.exp(2.0)


@pytest.mark.parametrize(
    "use",
    [
        lambda y: y * 2,
        lambda y: 2.0 - y,
        lambda y: -y,
        pyad.sin,
        lambda y: pyad.sum([y]),
        lambda y: pyad.maximum(y, 1.0),
        lambda y: y.backward(),
        lambda y: pyad.gradient(y, y),
        lambda y: pyad.gradient(pyad.var(1.0), y),
        lambda y: np.exp(y),
        lambda y: y + np.ones(2),
        lambda y: round(y, 1),
        lambda y: divmod(y, 2),
    ],
)
def test_a_stale_handle_says_so(use: Callable[[Any], Any], unchanged: Unchanged) -> None:
    x = pyad.var(2.0)
    y = x * x
    y.backward()
    z = x * 3
    with unchanged(x), pytest.raises(RuntimeError, match=r"Compute it again from the leaves"):
        use(y)
    assert (y.value, float(y.detach())) == (4.0, 4.0)
    with pyad.no_grad():
        assert (y * 2).value == 8.0
    assert pyad.gradient(z, x) == 3.0


def test_a_leaf_assigned_after_it_was_recorded(unchanged: Unchanged) -> None:
    x, y = pyad.var(2.0), pyad.var(3.0)
    z = x * y
    w = y * 2
    x.value = 5.0
    for sweep in (z.backward, lambda: pyad.gradient(z, [x, y])):
        with pytest.raises(RuntimeError, match=r"leaf \(Var\(5\.0\)\) was assigned after"):
            sweep()
        assert (len(pyad.current_tape()), x.grad, y.grad) == (4, None, None)
    assert pyad.gradient(w, y, retain_graph=True) == 2.0  # does not depend on it
    assert pyad.gradient(x * y, [x, y]) == [3.0, 5.0]


# ---- results with given partials, choice -------------------------------------------------------


def test_from_partials() -> None:
    x, y = pyad.var(2.0), pyad.var(3.0)
    z = pyad.from_partials(value=10, arguments=(x, y, 4.0), partials=np.array([1.5, -2.0, 9.0]))
    assert z.value == 10.0
    assert pyad.gradient(z * 2, [x, y]) == [3.0, -4.0]
    assert pyad.gradient(pyad.from_partials(1.0, [x, x], [2.0, 3.0]), x) == 5.0
    assert not isinstance(pyad.from_partials(1.0, [2.0], [3.0]), pyad.Var)
    assert not pyad.from_partials(1.0, [x.detach()], [3.0]).requires_grad


def test_where_and_clip() -> None:
    x = pyad.var(0.0)
    assert pyad.gradient(pyad.where(x > 0, pyad.sqrt(x), 0.0 * x), x) == 0.0
    assert pyad.where(True, x, 1) is x
    assert pyad.where(False, x, 1) == 1.0
    picked = pyad.where(np.array([True, False]), x, [1.0, 2.0])
    assert picked.tolist() == [x, 2.0]
    for value, slope in ((-1.0, 0.0), (0.0, 0.5), (0.5, 1.0), (1.0, 0.5), (2.0, 0.0)):
        x = pyad.var(value)
        y = pyad.clip(x, 0.0, 1.0)
        assert y.value == min(max(value, 0.0), 1.0)
        assert pyad.gradient(y, x) == slope
    assert pyad.gradient(pyad.clip(x, None, None) * 1, x) == 1.0
    assert pyad.clip(np.array([-1.0, 5.0]), 0.0, 2.0).tolist() == [0.0, 2.0]
