"""`no_grad`, `enable_grad` and `detect_anomaly`: as blocks, as decorators, with generators."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import pytest

import pyad

Unchanged = Callable[..., AbstractContextManager[None]]


def recording() -> bool:
    return bool((pyad.var(1.0) * 2).requires_grad)


def line() -> int:
    """Return the line that this is called from."""
    return sys._getframe(1).f_lineno


# ---- no_grad, enable_grad --------------------------------------------------------------------


def test_nothing_is_recorded_inside_no_grad(unchanged: Unchanged) -> None:
    x = pyad.var(2.0)
    y = x * x
    with unchanged(x), pyad.no_grad():
        z = pyad.sin(x * y) + pyad.sum([x, y]) + x**2 - pyad.from_partials(1.0, [x], [1.0])
        z += np.exp(x)
        assert (z.requires_grad, z.tape) == (False, None)
        for sweep in (z.backward, lambda: pyad.gradient(z, x)):
            with pytest.raises(RuntimeError, match=r"inside no_grad\(\)"):
                sweep()
    with pyad.no_grad():
        assert pyad.gradient(y, x) == 4.0  # sweeping is allowed


def test_blocks_nest() -> None:
    assert recording()
    with pyad.no_grad():
        assert not recording()
        with pyad.enable_grad():
            assert recording()
            with pyad.no_grad(), pyad.no_grad():
                assert not recording()
            assert recording()
        assert not recording()
    assert recording()
    mode = pyad.no_grad()
    with mode:
        with mode:
            assert not recording()
        assert not recording()
    assert recording()


def test_blocks_end_with_an_exception() -> None:
    with pytest.raises(ZeroDivisionError), pyad.no_grad():
        raise ZeroDivisionError
    assert recording()
    with pytest.raises(TypeError), pyad.no_grad(), pyad.detect_anomaly():
        pyad.sin("a")
    assert recording()
    assert pyad.log(pyad.var(0.0)).value == -np.inf


def test_decorators() -> None:
    @pyad.no_grad()
    def value(x: Any, *, scale: float = 1.0) -> Any:
        """Scale."""
        assert not recording()
        if x is None:
            raise ZeroDivisionError
        return pyad.enable_grad()(lambda: x * scale)() if scale > 1 else x * scale

    assert value.__name__ == "value"
    assert value.__doc__ == "Scale."
    x = pyad.var(2.0)
    assert not value(x).requires_grad
    assert value(x, scale=2.0).requires_grad
    with pytest.raises(ZeroDivisionError):
        value(None)
    assert recording()


def test_a_decorated_function_may_call_itself() -> None:
    @pyad.no_grad()
    def depth(n: int) -> bool:
        return depth(n - 1) if n else recording()

    assert depth(5) is False
    assert recording()


def test_decorated_generators_leave_their_mode_between_steps() -> None:
    @pyad.no_grad()
    def steps() -> Any:
        assert not recording()
        try:
            given = yield recording()
            assert given == "sent"
            yield recording()
        except KeyError:
            yield "thrown"
        finally:
            closed.append(recording())
        return "end"

    closed: list[bool] = []
    generator = steps()
    assert next(generator) is False
    assert recording()
    assert generator.send("sent") is False
    assert recording()
    assert generator.throw(KeyError) == "thrown"
    assert recording()
    with pytest.raises(StopIteration, match="end"):
        next(generator)
    generator = steps()
    next(generator)
    generator.close()
    assert closed == [False, False]
    assert recording()


def test_async_functions_are_refused() -> None:
    async def step() -> None: ...

    async def steps() -> Any:
        yield 1

    for function in (step, steps):
        with pytest.raises(TypeError, match="'with' block between two awaits"):
            pyad.no_grad()(function)


def test_a_mode_is_of_its_thread() -> None:
    seen: list[bool] = []
    with pyad.no_grad():
        thread = threading.Thread(target=lambda: seen.append(recording()))
        thread.start()
        thread.join()
        assert not recording()
    assert seen == [True]


# ---- detect_anomaly ----------------------------------------------------------------------------

VALUES: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "log": ("log gives -inf", lambda x: pyad.log(x)),
    "method": ("log gives -inf", lambda x: x.log()),
    "div": ("div gives inf", lambda x: 1 / x),
    "operator": ("pow gives inf", lambda x: x**-1),
    "mul": ("mul gives nan", lambda x: x * float("inf")),
    "sum": ("sum gives nan", lambda x: pyad.sum([x, float("nan")])),
    "given": ("given gives inf", lambda x: pyad.from_partials(float("inf"), [x], [1.0])),
    "sqrt": ("sqrt gives nan", lambda x: np.sqrt(x - 1)),
    "array": ("log gives -inf", lambda x: np.log(np.array([x, x], dtype=object))),
    "numpy": ("div gives nan", lambda x: np.mean(np.array([x * 0 / 1, x / 0], dtype=object))),
    "sum numpy": ("add gives inf", lambda x: np.sum(np.array([x + 1e308] * 2, dtype=object))),
    "constants": ("log gives -inf", lambda x: pyad.log(x.detach())),
}


@pytest.mark.parametrize("name", VALUES)
def test_the_first_bad_value_names_operation_and_line(name: str, unchanged: Unchanged) -> None:
    text, function = VALUES[name]
    x = pyad.var(0.0)
    where = f"{__file__}:{function.__code__.co_firstlineno}"
    with pyad.detect_anomaly(), pytest.raises(RuntimeError) as caught:
        function(x)
    assert str(caught.value).startswith(text)
    assert str(caught.value).endswith(where)
    with unchanged(x), pyad.detect_anomaly(), pytest.raises(RuntimeError, match="forward"):
        pyad.log(x)
    with np.errstate(all="ignore"):
        function(x)  # is fine outside


def test_the_first_bad_adjoint_names_operation_and_line() -> None:
    x = pyad.var(0.0, name="x")
    with pyad.detect_anomaly():
        root, here = pyad.sqrt(x), line()
        y = root * 2 + x
        for sweep in (y.backward, lambda: pyad.gradient(y, x)):
            with pytest.raises(RuntimeError) as caught:
                sweep()
            assert "derivative of sqrt is not finite" in str(caught.value)
            assert str(caught.value).endswith(f"{__file__}:{here}")
            assert x.grad is None
        assert pyad.gradient(y, x, seed=0.0) == 0.0


def test_an_adjoint_that_grows_too_large_names_the_line_of_its_leaf() -> None:
    x = pyad.var(1e-10)
    with pyad.detect_anomaly():
        y, here = x * 1e308 + x * 1e308, line()
        with pytest.raises(RuntimeError, match=f"derivative of leaf .*inf, at .*:{here}$"):
            y.backward()


def test_an_adjoint_recorded_outside() -> None:
    x = pyad.var(0.0)
    y = pyad.sqrt(x)
    with pyad.detect_anomaly(), pytest.raises(RuntimeError, match="outside detect_anomaly"):
        y.backward(retain_graph=True)
    y.backward()
    assert x.grad == np.inf


def test_an_unused_branch_is_no_anomaly() -> None:
    x = pyad.var(0.0)
    with pyad.detect_anomaly():
        root = pyad.sqrt(x)
        assert pyad.gradient(pyad.where(x > 0, root, x), x) == 1.0


def test_a_line_of_a_file_whose_name_is_no_text() -> None:
    code = compile("pyad.log(pyad.var(0.0))", "\udcff.py", "exec")
    with pyad.detect_anomaly(), pytest.raises(RuntimeError, match=r"\\udcff\.py:1"):
        exec(code, {"pyad": pyad})


@pyad.detect_anomaly()
def _checked() -> Iterator[Any]:
    yield pyad.log(pyad.var(0.0))


def test_as_decorator_of_a_generator() -> None:
    with pytest.raises(RuntimeError, match="log gives -inf"):
        next(_checked())
    assert pyad.log(pyad.var(0.0)).value == -np.inf
