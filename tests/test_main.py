"""`python -m pyad` and the modules under `pyad.demo`."""

from __future__ import annotations

import cmath
import io
import math
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

import pyad
from pyad.__main__ import _Ticker, main
from pyad.demo import chart, cost, fit
from pyad.demo.lotka_volterra import (
    PARAMETERS,
    Table,
    TableError,
    read_table,
    residual_sum_of_squares,
    simulate,
)

OPTIMUM = (0.5402, 0.02717, 0.7964, 0.02369, 34.60, 5.845)
"""Of the packaged table: least squares by another implementation (SciPy on dual numbers)."""

RESIDUAL_SUM = 2.018661195528  # there

ROWS = "1900,30,4\n1901,47.2,6.1\n1902,70.2,9.8\n1903,77.4,35.2\n1904,36.3,59.4\n"
GOOD = "year,hare,lynx\n" + ROWS

Writer = Callable[[str | bytes], Path]


@pytest.fixture
def write(tmp_path: Path) -> Writer:
    """Return a function that writes a table to a file."""

    def write(content: str | bytes) -> Path:
        path = tmp_path / "table.csv"
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write


class Run(NamedTuple):
    """A finished `python -m pyad --png FILE`."""

    code: int
    output: str
    progress: str
    png: bytes


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Run the command as a user does."""
    png = tmp_path_factory.mktemp("main") / "fit.png"
    command = [sys.executable, "-X", "utf8", "-m", "pyad", "--png", str(png)]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", check=False)
    return Run(done.returncode, done.stdout, done.stderr, png.read_bytes())


def numbers_after(name: str, output: str) -> list[float]:
    """Return the numbers in the line of the report that begins with `name`."""
    line = next(line for line in output.splitlines() if line.strip().startswith(name))
    found = []
    for word in line.strip()[len(name) :].split():
        try:
            found.append(float(word.strip("(),")))
        except ValueError:
            continue
    return found


def one_line_of_error(capsys: pytest.CaptureFixture[str]) -> str:
    """Return what stderr holds: one line; stdout is empty."""
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("pyad: error: ")
    assert captured.err.count("\n") == 1
    return captured.err


# The command


def test_run_finds_the_optimum(run: Run) -> None:
    assert run.code == 0
    for name, expected in zip(PARAMETERS, OPTIMUM, strict=True):
        value, error = numbers_after(name, run.output)[:2]
        assert value == pytest.approx(expected, rel=1e-3)
        assert 0 < error < value / 3
    sd = numbers_after("residual standard deviation", run.output)[0]
    assert sd == pytest.approx(math.sqrt(RESIDUAL_SUM / 36), rel=1e-3)
    assert numbers_after("iterations", run.output)[0] > 10


def test_run_measures_one_gradient(run: Run) -> None:
    assert numbers_after("plain floats, value only", run.output)[1] == 1.0
    for way in ("pyad", "central finite differences", "pure-Python tape"):
        assert numbers_after(way, run.output)[1] > 0.0  # what it is belongs to bench/
    assert numbers_after("pure-Python tape", run.output)[2] < 1e-10
    assert numbers_after("central finite differences", run.output)[2] < 1e-6


def test_run_shows_progress_and_a_short_report(run: Run) -> None:
    assert "iteration 11: residual sum of squares" in run.progress
    assert "Traceback" not in run.progress
    lines = run.output.splitlines()
    assert len(lines) <= 60
    assert max(map(len, lines[:-1])) <= 80
    assert sum("●" in line for line in lines) > 8


def test_run_writes_a_png(run: Run) -> None:
    assert run.png.startswith(b"\x89PNG\r\n\x1a\n")
    assert run.png.rstrip(b"\0").endswith(b"IEND\xaeB`\x82")
    width, height = (int.from_bytes(run.png[i : i + 4], "big") for i in (16, 20))
    assert (width, height) == (1320, 600)


def test_closed_pipe_is_no_traceback() -> None:
    command = [sys.executable, "-m", "pyad"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        errors = process.stderr.read().decode()
    assert process.returncode == 1
    assert "Error" not in errors


def test_other_data(
    write: Writer, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cost, "MAX_ROUNDS", 5)
    assert main(["--data", str(write(GOOD))]) == 0
    output = capsys.readouterr().out
    assert "table.csv: 5 rows, 1900 to 1904" in output
    assert "(4 degrees of freedom)" in output
    assert numbers_after("hare0", output)[0] == pytest.approx(30, rel=0.2)


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--version"])
    assert caught.value.code == 0
    assert capsys.readouterr().out == f"pyad {pyad.__version__}\n"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("", "the file is empty"),
        ("# only a comment\n\n", "the file is empty"),
        ("year,hare,lynx\n", "no rows of numbers"),
        ("year,hare\n1900,30\n", "line 1: column lynx is missing"),
        ("30,4,1900\n", "column year is missing"),
        ("year,hare,lynx,Hare\n" + ROWS, "column hare occurs more than once"),
        (GOOD + "1905,20,-3\n", "line 7, column lynx: '-3' is negative"),
        (GOOD + "1905,0,3\n", "line 7, column hare: zero has no logarithm"),
        (GOOD + "1905,,3\n", "line 7, column hare: a number is missing"),
        (GOOD + "1905,20\n", "line 7, column lynx: a number is missing"),
        (GOOD + "1905,NaN,3\n", "line 7, column hare: a number is missing"),
        (GOOD + "\n# note\n1905,20,inf\n", "line 9, column lynx: 'inf' is not finite"),
        (GOOD + "1905,1e999,3\n", "column hare: '1e999' is not finite"),
        (GOOD + "1905,1e-200,3\n", "column hare: '1e-200' is out of range"),
        (GOOD + "1905,many,3\n", "line 7, column hare: 'many' is not a number"),
        (GOOD + "1905,\x1b[31m\x07,3\n", r"'\x1b[31m\x07' is not a number"),
        (GOOD + "1905," + "9x" * 900 + ",3\n", "...' is not a number"),
        (GOOD + "1904,20,3\n", "column year: 1904 does not come after 1904"),
        (GOOD + "9000,20,3\n", "column year: more than 2000 years"),
        (GOOD[:39], "2 rows of numbers; six parameters need at least 4 rows"),
        (b"year,hare,lynx\n1900,\xff,4\n", "is not a text file in UTF-8"),
        (GOOD.encode("utf-16"), "is not a text file in UTF-8"),
    ],
)
def test_bad_table(
    write: Writer, capsys: pytest.CaptureFixture[str], content: str | bytes, expected: str
) -> None:
    path = write(content)
    assert main(["--data", str(path)]) == 2
    error = one_line_of_error(capsys)
    assert str(path) in error
    assert expected in error


@pytest.mark.parametrize("name", ["absent.csv", ".", "nul\0.csv", "two\nlines.csv"])
def test_unreadable_table(tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    assert main(["--data", str(tmp_path / name)]) == 2
    assert "cannot be read" in one_line_of_error(capsys)


@pytest.mark.parametrize("name", ["absent/fit.png", ".", "nul\0.png"])
def test_unwritable_png(tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    assert main(["--png", str(tmp_path / name)]) == 2
    assert "cannot be written" in one_line_of_error(capsys)


@pytest.mark.parametrize(("module", "name"), [("scipy", "SciPy"), ("matplotlib", "matplotlib")])
def test_missing_extra(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    module: str,
    name: str,
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    png = tmp_path / "fit.png"
    assert main(["--png", str(png)]) == 2
    error = one_line_of_error(capsys)
    assert f"{name} is needed" in error
    assert 'pip install "pyad-autodiff[demo]"' in error
    assert not png.exists()


def test_interrupt(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(fit, "fit", interrupted)
    assert main([]) == 130
    assert capsys.readouterr().out == ""


def test_overflowing_table_is_an_error(
    write: Writer, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fit, "starting_points", lambda _: [np.full(6, 300.0)])
    assert main(["--data", str(write(GOOD))]) == 2
    assert "overflows from every starting point" in capsys.readouterr().err


def test_progress_on_a_terminal_is_rewritten_in_place() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    ticker = _Ticker(terminal)
    for iteration in range(1, 4):
        ticker.update(fit.Progress("start 1 of 6", iteration, 3.0))
    ticker.clear()
    assert "\n" not in terminal.getvalue()
    assert terminal.getvalue().count("iteration") == 3
    assert terminal.getvalue().endswith("\r")


# The table


def test_table_in_another_form_is_the_same(write: Writer) -> None:
    rows = [line.split(",") for line in ROWS.split()]
    lines = ["# a comment", "Lynx; note, LYNX ,note, Year,hare", ""]
    lines += [f'x,{lynx},"a, b", {year},"{hare}"' for year, hare, lynx in rows]
    other = read_table(write(b"\xef\xbb\xbf" + "\r\n".join(lines).encode()))
    assert other == read_table(write(GOOD))
    assert other.lynx == (4.0, 6.1, 9.8, 35.2, 59.4)


def test_table_error_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="cannot be read"):
        read_table("absent.csv")
    assert issubclass(TableError, ValueError)


# The model


def test_simulation_keeps_the_constant_of_motion() -> None:
    alpha, beta, gamma, delta = OPTIMUM[:4]
    years = (1900.0, 1901.0, 1901.5, 1905.0, 1920.0)
    hares, lynxes = simulate([math.log(p) for p in OPTIMUM], years, math)
    constants = [
        delta * u - gamma * math.log(u) + beta * v - alpha * math.log(v)
        for u, v in zip(hares, lynxes, strict=True)
    ]
    assert constants == pytest.approx([constants[0]] * len(years), abs=1e-6)


def test_gradient_agrees_with_the_complex_step() -> None:
    """Squire and Trapp (1998): Im f(x + ih) / h has no cancellation, so h may be tiny."""
    table = read_table()
    point = [math.log(p) + 0.05 for p in OPTIMUM]
    leaves = pyad.vars(point)
    total = residual_sum_of_squares(leaves, table, pyad.math)
    assert total.value == pytest.approx(residual_sum_of_squares(point, table, math), rel=1e-13)
    expected = []
    for i in range(6):
        shifted = [x + (1e-30j if j == i else 0) for j, x in enumerate(point)]
        expected.append(residual_sum_of_squares(shifted, table, cmath).imag / 1e-30)
    assert pyad.gradient(total, leaves) == pytest.approx(expected, rel=1e-10)
    assert cost.central_differences(point, table) == pytest.approx(expected, rel=1e-6)


# The fit


def simulated(truth: tuple[float, ...], years: int, noise: float) -> Table:
    """Make a table from the model, with lognormal noise."""
    generator = random.Random(1)
    year = tuple(1900.0 + i for i in range(years))
    populations = simulate([math.log(p) for p in truth], year, math)
    hare, lynx = (
        tuple(n * math.exp(generator.gauss(0, noise)) for n in column) for column in populations
    )
    return Table(year, hare, lynx)


@pytest.mark.parametrize(
    ("truth", "years"),
    [
        ((0.55, 0.028, 0.8, 0.024, 33.0, 6.0), 21),
        ((0.9, 0.3, 0.4, 0.002, 150.0, 1.0), 40),
        ((0.3, 1e-4, 0.5, 1e-3, 900.0, 1500.0), 15),
    ],
)
def test_fit_recovers_the_parameters(truth: tuple[float, ...], years: int) -> None:
    exact = fit.fit(simulated(truth, years, 0.0))
    assert exact.converged
    assert exact.parameters == pytest.approx(truth, rel=1e-4)
    noisy = fit.fit(simulated(truth, years, 0.1))
    assert noisy.converged
    assert noisy.residual_sd == pytest.approx(0.1, rel=0.5)
    pairs = zip(noisy.parameters, truth, noisy.standard_errors, strict=True)
    assert all(abs(found - true) < 4 * error for found, true, error in pairs)


def test_fit_of_what_does_not_oscillate() -> None:
    """A population that does not move determines no rates; nothing warns or raises."""
    year = tuple(map(float, range(8)))
    result = fit.fit(Table(year, (5.0,) * 8, (3.0,) * 8))
    assert result.residual_sum == pytest.approx(0.0, abs=1e-9)
    assert result.parameters[4:] == pytest.approx((5.0, 3.0))


def test_fit_of_what_the_model_cannot_do_says_so() -> None:
    """Here the hares follow the lynxes, which no positive rates explain."""
    table = read_table()
    result = fit.fit(Table(table.year, table.lynx, table.hare))
    assert not (result.converged and result.resolved)
    assert result.residual_sd > 0.4


def test_objective_is_finite_where_the_model_is_not() -> None:
    start = np.log(OPTIMUM)
    objective = fit._Objective(read_table(), start)
    for far in (start + 5.0, start + 300.0, start + 800.0, np.full(6, np.nan)):
        value, gradient = objective(far)
        assert value == objective.wall > objective(start)[0]
        assert not gradient.any()


# The chart


def test_chart_in_ascii_and_any_width() -> None:
    log_parameters = tuple(math.log(p) for p in OPTIMUM)
    result = fit.Fit(read_table(), log_parameters, (0.1,) * 6, RESIDUAL_SUM, 1, 1, 1, 0.1, True)
    for width in (1, 60, 80, 1000):
        text = chart.terminal_chart(result, width, chart.ASCII)
        assert text.isascii()
        assert max(map(len, text.splitlines())) <= min(max(width, 50), 100)
        assert "1900" in text
        assert text.count("o data") == 2
    assert "1920" in chart.terminal_chart(result, 80)
