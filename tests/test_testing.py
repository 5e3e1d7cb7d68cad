"""`check_grads` and `numerical_gradient`: what they accept, what they find, and what they say."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import pyad
from pyad import _binding
from pyad.array._rules import Rule, apply
from pyad.testing import check_grads, numerical_gradient

ROOT = Path(__file__).resolve().parent.parent
MAGNITUDES = (1e-8, 1e-4, 1.0, 1e4, 1e8)


class Pair(NamedTuple):
    a: Any
    b: Any


def wrong_square(x: Any) -> Any:
    """Square x, with a partial that is half as large again."""
    value = pyad.stop_gradient(x)
    return pyad.from_partials(value * value, [x], [3 * value])


def lost_second(x: Any) -> Any:
    """Square x, with the right derivative, of which the derivative is lost."""
    return pyad.stop_gradient(2 * x) * x - pyad.stop_gradient(x * x)


def poked(y: Any) -> Any:
    """A result whose first weight was recorded wrong, as a wrong row of the table would do it."""
    if isinstance(y, pyad.Var) and y.tape is not None and y.node is not None:
        tape = y.tape
        with tape._held() as core:
            pinned = _binding.lib.pyad_tape_pin_weights(core)
            weights = _binding.ffi.cast("double *", pinned)
        weights[int(tape.first[y.node])] *= 1.001
        _binding.lib.pyad_buffer_release(pinned)
    return y


def message(f: Callable[..., Any], *args: Any, **options: Any) -> str:
    with pytest.raises(AssertionError) as caught:
        check_grads(f, *args, **options)
    return str(caught.value)


# ---- what is right passes --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("f", "args"),
    [
        (pyad.sin, (0.5,)),
        (lambda n: n * n, (3,)),
        (lambda x: 5.0, (1.0,)),
        (lambda x, y: [x * y, {"r": x / y}], (2.0, 3.0)),
        (lambda p: p["a"] * p["b"][1] + p["b"][0][0] ** 2, ({"a": 2.0, "b": ([1.0], 3)},)),
        (lambda p: p.a**p.b, (Pair(2.0, 3.0),)),
        (lambda x: np.sin(x) * np.roll(x, 1), (np.linspace(-1.0, 1.0, 6).reshape(2, 3),)),
        (lambda x: np.sum(np.exp(x) * x), (np.linspace(-1.0, 1.0, 50),)),
        (lambda x: np.cumsum(x * x), (np.linspace(0.5, 1.0, 40),)),
        (lambda x: np.sum(x), (np.zeros(0),)),
        (lambda x: x * 0.1 + x * 0.2 - x * 0.3, (1.0,)),
        (lambda x: pyad.relu(x) * x, (1e-3,)),
        (lambda x: pyad.clip(x, 0.0, 1.0) ** 2, (0.95,)),
        (lambda x: x * pyad.grad(lambda y: x * y**3)(x), (1.5,)),
        (lambda x: pyad.sum(x) * pyad.norm(x) + pyad.prod(x), ([1.0, 2.0, -3.0],)),
    ],
)
def test_right_derivatives_pass(f: Callable[..., Any], args: tuple[Any, ...]) -> None:
    check_grads(f, *args)


@pytest.mark.parametrize("size", MAGNITUDES)
def test_arguments_and_results_of_every_magnitude(size: float) -> None:
    check_grads(pyad.sin, size)
    check_grads(lambda x: pyad.sin(x) + 1.0, size)
    check_grads(lambda x: pyad.sin(x / size) * size, 0.7 * size)
    check_grads(lambda x: pyad.log(x) * size, 0.7 / size)
    check_grads(lambda x: [x[0] * x[1], x[1] / x[0], pyad.exp(x[0] / size)], [size, 1 / size])
    check_grads(lambda x: np.sum(x * x), size * np.linspace(-1.0, 1.0, 21))


@pytest.mark.parametrize("size", MAGNITUDES)
@pytest.mark.parametrize("mode", ["fwd", "rev"])
def test_a_wrong_rule_is_found_at_every_magnitude(size: float, mode: str) -> None:
    def f(x: Any) -> Any:
        value = pyad.stop_gradient(x)
        return pyad.from_partials(np.sin(value / size) * size, [x], [1.0001 * np.cos(value / size)])

    assert "is wrong" in message(f, 0.7 * size, modes=[mode], order=1)


@given(st.lists(st.floats(-3.0, 3.0), min_size=1, max_size=5), st.integers(1, 3))
def test_random_programs_pass(x: list[float], order: int) -> None:
    def f(x: Any) -> Any:
        total = 0.25
        for a in x:
            total = pyad.sin(total * a) + pyad.exp(0.3 * a) / (2.0 + total * total)
        return total

    check_grads(f, x, order=order if len(x) < 3 else 1, seed=order)


def test_arguments_that_are_no_numbers() -> None:
    def f(x: Any, kind: str, n: int, *, scale: float = 1.0) -> Any:
        return scale * x**n if kind == "power" else range(n)

    check_grads(f, 2.0, "power", 3, argnums=0)
    check_grads(f, 2.0, "power", 3, argnums=(-3,), kwargs={"scale": 2.0})
    with pytest.raises(TypeError, match="an argument of check_grads"):
        check_grads(f, 2.0, "power", 3)


def test_nothing_is_left_behind(unchanged: Any) -> None:
    w = pyad.var(2.0)
    y = w * 3
    with unchanged(w):
        check_grads(lambda x: x * w * y, 2.0)
        numerical_gradient(lambda x: x * w * y, 2.0)
        message(lambda x: wrong_square(x) * w * y, 2.0, order=1)
    assert pyad.gradient(y, w) == 3.0


def test_the_outcome_is_the_same_every_time() -> None:
    x = np.linspace(0.5, 1.0, 40)

    def f(x: Any) -> Any:
        return [x[i] * x[i - 1] for i in range(39)] + [wrong_square(x[27])]

    first = message(f, x, order=1)
    assert first == message(f, x, order=1)
    assert "argument 0 (x), entry [27], its result [39], is wrong" in first


# ---- what is wrong is found ------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["fwd", "rev"])
def test_a_wrong_first_derivative(mode: str) -> None:
    def f(first: Any, p: Any) -> Any:
        return first * p["q"][0][0] + wrong_square(p["q"][1])

    text = message(f, 2.0, {"p": 1.0, "q": [np.ones(2), 4.0]}, modes=[mode], order=1)
    assert text.startswith("the derivative of f in argument 1 (p), entry ['q'][1], is wrong:\n")
    name = {"fwd": "forward mode (jvp)", "rev": "reverse mode (vjp)"}[mode]
    assert f"\n    12.0 by {name}\n    8 by finite differences" in text
    assert "partials given by the caller (pyad.from_partials) are suspect" in text
    assert re.search(r"given\(4\), at .*test_testing.py:\d+: partial 12 given, 8 by finite", text)


@pytest.mark.parametrize("n", [1, 3, 40])
@pytest.mark.parametrize("mode", ["fwd", "rev"])
def test_a_wrong_second_derivative(mode: str, n: int) -> None:
    x = np.linspace(0.5, 1.0, n)
    check_grads(lambda x: np.sum(x * x) + lost_second(x[-1]), x, order=1)
    text = message(lambda x: np.sum(x * x) + lost_second(x[-1]), x, modes=mode)
    assert "the derivative of (the derivative of <lambda>" in text
    assert f"in argument 0 (x), entry [{n - 1}]" in text
    assert "a value was probably taken out of the computation" in text


def test_a_wrong_third_derivative() -> None:
    def f(x: Any) -> Any:
        return (
            pyad.stop_gradient(x) ** 3 / 3
            - pyad.stop_gradient(x) ** 2 * x
            + (pyad.stop_gradient(x) * x * x)
        )

    check_grads(f, 1.5)
    assert "(the derivative of (the derivative of f" in message(f, 1.5, order=3)


def test_an_operation_with_a_wrong_weight() -> None:
    text = message(lambda x: 3.0 * poked(pyad.exp(x * x)), 0.5, modes=["rev"], order=1)
    assert "operations on the path that disagree with their own finite differences" in text
    assert "exp(0.25), at " in text
    assert re.search(r"test_testing.py:\d+: weight 1\.2853\d+ recorded, 1\.2840\d+ by finite", text)
    assert "taken out" not in text


@pytest.mark.parametrize("name", ["prod", "logsumexp", "norm", "dot"])
def test_operations_of_many_arguments_are_searched_too(name: str) -> None:
    def f(x: Any, touch: Callable[[Any], Any] = lambda y: y) -> Any:
        xs = [x[1], x[0], 2.0]
        y = pyad.dot(xs, xs[::-1]) if name == "dot" else getattr(pyad, name)(xs)
        return touch(y) * pyad.sum(x)

    check_grads(f, [0.5, 0.8])
    text = message(lambda x: f(x, poked), [0.5, 0.8], modes=["rev"], order=1)
    assert f"{name}(0.8, " in text
    assert "weight in its argument 0 " in text
    assert " sum(" not in text


@pytest.mark.parametrize(
    ("f", "said"),
    [
        (lambda x: pyad.stop_gradient(2 * x) * x, "its constant 6 changes with the argument"),
        (lambda x: pyad.var(pyad.stop_gradient(x)) * x, "a variable of its own"),
        (lambda x: pyad.stop_gradient(x) ** 2, "a result is a plain number"),
    ],
)
def test_a_value_that_was_taken_out(f: Callable[[Any], Any], said: str) -> None:
    text = message(f, 3.0, order=1)
    assert "no operation on the path disagrees" in text
    assert "so a value was probably taken out" in text
    assert "x.value" in text
    assert said in text


def test_a_kink_is_named() -> None:
    text = message(lambda x: pyad.relu(x) + x, 0.0)
    assert "relu(0), at " in text
    assert "weight 0 recorded, 0.5 by finite differences" in text
    assert "at a kink or a jump" in text


def test_derivatives_that_are_not_finite() -> None:
    text = message(lambda x: pyad.sqrt(x[0]) + x[1], [0.0, 1.0])
    assert "entry [0], is not finite" in text
    assert "inf by forward mode" in text
    assert "sqrt(0), at " in text
    assert "is -inf here: check at a point where it is finite" in message(pyad.log, 0.0)
    assert "is nan here" in message(lambda x: [x, x * float("nan")], 1.0)


def test_functions_that_cannot_be_checked() -> None:
    states = iter(range(100))
    assert "for the same arguments" in message(lambda x: x * next(states), 2.0)
    assert "do not settle" in message(lambda x: abs(x), 0.0)
    assert "on floats" in message(lambda x: x if isinstance(x, float) else x * x, 3.0)
    with pytest.raises(pyad.Error, match="no second derivative"):
        check_grads(lambda x: pyad.from_partials(pyad.stop_gradient(x), [x], [1.0]), 2.0)


def test_many_wrong_entries_are_counted() -> None:
    text = message(lambda x: [wrong_square(a) for a in x], [1.0, 2.0, 3.0, 4.0, 5.0], order=1)
    assert text.count("is wrong:") == 3
    assert "\nand 2 more\n" in text


def test_the_function_may_run_in_anomaly_mode_and_in_transforms() -> None:
    def f(x: Any) -> Any:
        with pyad.no_grad():
            shift = x * 0.0
        return x * x + shift

    check_grads(f, 2.0)
    with pyad.detect_anomaly():
        check_grads(f, 2.0)


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: check_grads(pyad.sin, 1.0, modes=["forward"]), "modes are"),
        (lambda: check_grads(pyad.sin, 1.0, modes=[]), "modes are"),
        (lambda: check_grads(pyad.sin, 1.0, order=0), "order is"),
        (lambda: check_grads(pyad.sin), "give the arguments"),
        (lambda: check_grads(1.0, 1.0), "a function is checked"),  # type: ignore[arg-type]
        (lambda: check_grads(pyad.sin, 1.0, argnums=2), "argnums is 2"),
        (lambda: check_grads(pyad.sin, 1.0, eps=0.0), "eps is"),
        (lambda: numerical_gradient(lambda x: [x, x], 1.0), "returns one number"),
    ],
)
def test_calls_that_make_no_sense(call: Callable[[], Any], text: str) -> None:
    with pytest.raises(pyad.Error, match=text):
        call()


# ---- numerical_gradient ----------------------------------------------------------------------


def test_numerical_gradient_has_the_structure_and_the_digits_of_the_gradient() -> None:
    def f(p: Any) -> Any:
        return np.sum(np.exp(p["a"])) * p["b"][0] + pyad.sin(p["b"][1]) * p["a"][0, 1]

    p = {"a": np.array([[0.5, -2.0], [0.0, 1.0]]), "b": (3, 1e3)}
    found, exact = numerical_gradient(f, p), pyad.grad(f)(p)
    np.testing.assert_allclose(found["a"], exact["a"], rtol=1e-10)
    assert isinstance(found["b"], tuple)
    assert found["b"] == pytest.approx(exact["b"], rel=1e-9)
    assert numerical_gradient(lambda x: x * x, 3.0, eps=1e-3) == pytest.approx(6.0, rel=1e-11)
    assert np.isnan(numerical_gradient(lambda x: pyad.sqrt(x), 0.0))


def test_numerical_gradient_where_a_neighbour_raises() -> None:
    import math

    assert numerical_gradient(math.log, 1e-3) == pytest.approx(1e3, rel=1e-9)
    assert numerical_gradient(lambda x: 1.0 / (x - 1.0), 1.001) == pytest.approx(-1e6, rel=1e-8)


# ---- the plugin ------------------------------------------------------------------------------

PROJECT = """
    import sys

    def test_right(check_grads):
        check_grads(lambda x: x * x, 3.0)

    def test_wrong(check_grads):
        check_grads(lambda x: x if isinstance(x, float) else 2 * x, 3.0)
"""


def run_pytest(path: Path, *options: str) -> str:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options, str(path)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTEST_ADDOPTS": ""}
    run = subprocess.run(command, cwd=path, env=environment, capture_output=True, text=True)
    return run.stdout + run.stderr


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "test_it.py").write_text(textwrap.dedent(PROJECT), encoding="utf-8")
    (tmp_path / "pytest.ini").write_text("[pytest]\nfilterwarnings = error\n", encoding="utf-8")
    return tmp_path


def test_the_fixture_in_a_project(project: Path) -> None:
    output = run_pytest(project, "-p", "pytest_pyad")
    assert "1 failed, 1 passed" in output, output
    assert "it must compute the same on both" in output
    assert "_failure" not in output  # the traceback ends in the test


def test_the_plugin_loaded_twice(project: Path) -> None:
    (project / "conftest.py").write_text('pytest_plugins = ["pytest_pyad"]\n', encoding="utf-8")
    assert "1 failed, 1 passed" in run_pytest(project, "-p", "pytest_pyad", "-p", "pytest_pyad")


def test_the_plugin_in_several_processes(project: Path) -> None:
    pytest.importorskip("xdist")
    assert "1 failed, 1 passed" in run_pytest(project, "-p", "pytest_pyad", "-n", "2")


def test_the_plugin_imports_nothing_at_start_up(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(
        "import sys\n\ndef test_it():\n    assert not {'pyad', 'numpy'} & set(sys.modules)\n",
        encoding="utf-8",
    )
    code = "import sys, pytest_pyad; assert not {'pyad', 'numpy', 'cffi'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
    assert "1 passed" in run_pytest(tmp_path, "-p", "pytest_pyad", "-p", "no:benchmark")


def test_pyad_may_be_imported_before_pytest(project: Path) -> None:
    """Pytest warns of modules of a plugin's project that were imported too early to rewrite."""
    entry = project / "site" / "pyad_autodiff-0.dist-info"
    entry.mkdir(parents=True)
    (entry / "METADATA").write_text("Name: pyad-autodiff\nVersion: 0\n", encoding="utf-8")
    text = "[pytest11]\npytest_pyad = pytest_pyad\n"
    (entry / "entry_points.txt").write_text(text, encoding="utf-8")
    files = "pyad/__init__.py,,\npytest_pyad.py,,\n"
    (entry / "RECORD").write_text(files, encoding="utf-8")
    code = "import pyad, pytest; pytest.main(['-q', '-p', 'no:cacheprovider', 'test_it.py'])"
    path = f"{project / 'site'}:{ROOT}"
    command = [sys.executable, "-c", code]
    environment = {**os.environ, "PYTHONPATH": path, "PYTEST_ADDOPTS": ""}
    run = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True)
    assert "1 failed, 1 passed" in run.stdout, run.stdout + run.stderr


def test_the_entry_point_is_named_as_its_module() -> None:
    """Otherwise pytest refuses the plugin when it is also given by `-p`."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    found = re.search(r"\n\[project\.entry-points\.pytest11\]\n(\w+) = \"(\w+)\"", text)
    assert found is not None
    assert found.group(1) == found.group(2) == "pytest_pyad"
    assert 'py-modules = ["pytest_pyad"]' in text
    assert (ROOT / "pytest_pyad.py").exists()


# ---- functions of arrays ---------------------------------------------------------------------


def cubed(x: Any, slope: float = 3.0) -> Any:
    """x**3 as an operation with a rule of its own, which other slopes make wrong."""
    rule = Rule(lambda g, out, given: [slope * g[0] * given[0] ** 2])
    return apply("cubed", lambda v: v**3, rule, x)[0]


MATRIX = np.array([[2.0, 0.3], [0.1, 1.0]])


@pytest.mark.parametrize(
    ("f", "args"),
    [
        (np.linalg.solve, (MATRIX, np.array([[1.0], [2.0]]))),
        (lambda p: np.linalg.inv(p["w"]) @ p["b"], ({"w": MATRIX, "b": [1.0, -2.0]},)),
        (lambda x: [np.sort(x), {"s": np.sum(x**2, axis=0)}, x[::-1, 1] * x[0]], (MATRIX,)),
        (lambda x: np.where(x > 0.5, np.log(x), x**2), (np.linspace(0.1, 2.0, 40),)),
        (lambda x: np.linalg.eigh(x + x.T)[0], (MATRIX,)),
        (lambda x, n: x**n, (MATRIX, 3.0)),
        (cubed, (MATRIX,)),
    ],
)
def test_right_derivatives_of_arrays_pass(f: Callable[..., Any], args: tuple[Any, ...]) -> None:
    check_grads(f, *args)


def test_a_wrong_rule_of_an_array_operation() -> None:
    text = message(lambda a, p: np.sum(cubed(p["x"], 3.1)) * a, 2.0, {"x": MATRIX}, order=1)
    assert "in argument 1 (p), entry ['x'][0, 0], is wrong:\n    24.8 by forward" in text
    assert "24 by finite differences" in text
    assert "rules of array operations are suspect:" in text
    assert re.search(r"cubed\(2, 0.3, 0.1, 1\) in element \[0, 0\], at .*test_testing.py:\d+", text)


def test_a_wrong_row_of_the_table_in_an_array_operation(monkeypatch: Any) -> None:
    """Weights of array operations are written out as the sweeps have them; one is changed here."""
    written = pyad.Tape._written

    def wrong(self: Any, *args: Any, **options: Any) -> Any:
        found = written(self, *args, **options)
        exp = [row.name for row in pyad.operations()].index("exp")
        weights = found.weights.copy()
        weights[found.first[:-1][found.ops == exp]] *= 1.01
        return found._replace(weights=weights)

    monkeypatch.setattr(pyad.Tape, "_written", wrong)
    text = message(lambda x: np.exp(x) * pyad.stop_gradient(x), MATRIX, order=1)
    assert "operations on the path that disagree with their own finite differences" in text
    assert re.search(r"exp\(2\) in element \[0, 0\], at .*: weight 7.46", text)
    assert "(and 3 more of its elements)" in text


def test_values_taken_out_of_arrays() -> None:
    def plain(x: Any) -> Any:
        return pyad.stop_gradient(x)

    def assigned(x: Any) -> Any:
        y = np.array(x) if isinstance(x, np.ndarray) else x.copy()
        y[1, 0] = plain(x)[1, 0] ** 2
        return np.sum(y * y)

    for f, said in [
        (lambda x: x * plain(x), r"mul\(2, 2\) in element \[0, 0\], at .*: its constant 2 changes"),
        (assigned, r"gather\(\) in element \[2\], at .*: its element 0.01 changes"),
        (lambda x: np.linalg.solve(plain(x), x), r"solve\(.*its constant .* changes"),
    ]:
        text = message(f, MATRIX, order=1)
        assert "a value was probably taken out of the computation" in text
        assert re.search(said, text)


def test_an_infinite_weight_in_an_array() -> None:
    text = message(lambda x: np.sum(np.sqrt(x)), np.array([1.0, 0.0]), order=1)
    assert "entry [1], is not finite" in text
    assert re.search(r"sqrt\(0\) in element \[1\], at .*test_testing.py:\d+: weight inf", text)


def test_numerical_gradient_of_arrays() -> None:
    x = np.linspace(0.5, 1.5, 6).reshape(2, 3)
    found = numerical_gradient(lambda p: np.sum(p["x"] @ p["x"].T) * p["s"], {"x": x, "s": 2})
    exact = pyad.grad(lambda p: np.sum(p["x"] @ p["x"].T) * p["s"])({"x": x, "s": 2})
    np.testing.assert_allclose(found["x"], exact["x"], rtol=1e-9)
    assert found["s"] == pytest.approx(exact["s"], rel=1e-9)
