"""`python -m pyad`: fits the Lotka-Volterra model to a century-old table of pelts.

Progress goes to stderr, the report to stdout. Exit codes: 0; 2 for a command line, table, PNG
path or environment that will not do (one line on stderr); 130 after Ctrl-C.
"""

from __future__ import annotations

import argparse
import io
import math
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import pyad
from pyad.demo.lotka_volterra import PARAMETERS, STEPS_PER_YEAR, Table, TableError, read_table

if TYPE_CHECKING:
    from pyad.demo.cost import Cost
    from pyad.demo.fit import Fit, Progress

UNITS_AND_MEANINGS = {
    "alpha": ("1/year", "growth of hares without lynxes"),
    "beta": ("1/year/thousand", "loss of hares to lynxes"),
    "gamma": ("1/year", "death of lynxes without hares"),
    "delta": ("1/year/thousand", "gain of lynxes from hares"),
    "hare0": ("thousand pelts", "hares in {:g}"),
    "lynx0": ("thousand pelts", "lynxes in {:g}"),
}


class _UserError(Exception):
    """What the user can mend; the message is one line."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line `argv`, and return the exit code."""
    arguments = _parser().parse_args(argv)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a file name may hold what it cannot encode
            stream.reconfigure(errors="backslashreplace")
    try:
        _run(arguments.data, arguments.png)
        print(end="", flush=True)
    except _UserError as error:
        print(f"pyad: error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\npyad: interrupted", file=sys.stderr)
        return 130
    except OSError as error:  # from stdout: every other file is dealt with where it is used
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for the flush at exit
        if isinstance(error, BrokenPipeError):  # `| head`: nobody reads on, which is no error
            return 1
        print(f"pyad: error: the report cannot be written: {error.strerror}", file=sys.stderr)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m pyad",
        description="Fit the Lotka-Volterra model to lynx and hare pelts, with SciPy's minimizer "
        "and gradients from pyad, and show what a gradient costs.",
    )
    parser.add_argument(
        "--data",
        metavar="FILE",
        help="a CSV table with the columns year, hare and lynx (default: the Hudson's Bay "
        "Company's pelts, 1900 to 1920)",
    )
    parser.add_argument("--png", metavar="FILE", help="draw data and fit to this file")
    parser.add_argument("--version", action="version", version=f"pyad {pyad.__version__}")
    return parser


def _run(data: str | None, png: str | None) -> None:
    """Check everything that can be checked, fit, draw, report."""
    try:
        table = read_table(data)
    except TableError as error:
        raise _UserError(str(error)) from error
    _check_imports(png is not None)
    if png is not None:
        _check_writable(png)
    from pyad.demo.cost import gradient_costs
    from pyad.demo.fit import FitError, fit

    ticker = _Ticker(sys.stderr or io.StringIO())  # None where it was closed beforehand
    try:
        result = fit(table, ticker.update)
    except FitError as error:
        raise _UserError(f"{data or 'the packaged table'}: {error}") from error
    finally:
        ticker.clear()
    ticker.say("measuring the cost of a gradient ...")
    costs = gradient_costs(result.log_parameters, table)
    ticker.clear()
    if png is not None:  # before the report, whose reader may leave early
        from pyad.demo.chart import draw_png

        try:
            draw_png(png, result)
        except OSError as error:
            raise _UserError(f"{png}: cannot be written: {error.strerror or error}") from error
    _report(result, costs, data, png)


def _check_imports(drawing: bool) -> None:
    """Find a missing extra now, not after the fit."""
    name = "SciPy"
    try:
        import scipy.optimize  # noqa: F401  (only whether it can be imported)

        if drawing:
            name = "matplotlib"
            import matplotlib.figure  # noqa: F401
    except ImportError as error:
        remedy = 'pip install "pyad-autodiff[demo]"'
        raise _UserError(f"{name} is needed and cannot be imported ({error}): {remedy}") from error


def _check_writable(path: str) -> None:
    """Find an impossible path now; leaves no file behind, and a file that is there alone."""
    existed = os.path.lexists(path)
    try:
        Path(path).open("ab").close()
        if not existed:
            Path(path).unlink()
    except (OSError, ValueError) as error:  # ValueError: a NUL character in the path
        reason = getattr(error, "strerror", None) or str(error)
        raise _UserError(f"{path}: cannot be written: {reason}") from error


class _Ticker:
    """Progress: one line rewritten in place on a terminal, else a line now and then."""

    EVERY = 10  # iterations, where lines stay

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self.in_place = stream.isatty()

    def update(self, progress: Progress) -> None:
        """Show an iteration of the minimizer."""
        if self.in_place or progress.iteration % self.EVERY == 1:
            self.say(
                f"{progress.stage}, iteration {progress.iteration}: "
                f"residual sum of squares {progress.residual_sum:.6g}"
            )

    def say(self, line: str) -> None:
        """Show a line; on a terminal until the next."""
        self._write(f"\r{line[:78]:<78}" if self.in_place else line + "\n")

    def clear(self) -> None:
        """Leave the terminal as if nothing had been shown."""
        if self.in_place:
            self._write(f"\r{'':78}\r")

    def _write(self, text: str) -> None:
        try:
            self.stream.write(text)
            self.stream.flush()
        except OSError:  # stderr is closed: go on without
            self.in_place = False
            self.stream = io.StringIO()


def _report(result: Fit, costs: Sequence[Cost], data: str | None, png: str | None) -> None:
    """Print what was found; at most 60 lines."""
    from pyad.demo.chart import ASCII, UNICODE, terminal_chart

    print("The Lotka-Volterra model, fitted by least squares on the logarithms")
    print()
    print(f"  data    {_described(result.table, data)}")
    print("  model   hare' = (alpha - beta lynx) hare, lynx' = (delta hare - gamma) lynx")
    print(f"  solver  Runge-Kutta, {STEPS_PER_YEAR} steps a year")
    print()
    print("          value  std. error  unit             meaning")
    rows = zip(PARAMETERS, result.parameters, result.standard_errors, strict=True)
    for name, value, error in rows:
        unit, meaning = UNITS_AND_MEANINGS[name]
        shown = "-" if math.isnan(error) else f"{error:.2g}"  # NaN: not determined by the data
        meaning = meaning.format(result.table.year[0])
        print(f"  {name} {value:>9.4g} {shown:>11}  {unit:<15}  {meaning}")
    print()
    print(
        f"  residual standard deviation  {result.residual_sd:.4g}"
        f"  ({result.degrees_of_freedom} degrees of freedom)"
    )
    print(
        f"  iterations                   {result.iterations}"
        f"  ({result.gradients} gradients, {result.starts} starts, {result.seconds:.2f} s)"
    )
    if not result.converged:
        print("  The minimizer stopped short of a minimum: the data hardly fit this model.")
    if not result.resolved:
        print("  These rates are too fast for the steps of the integration: do not trust them.")
    print()
    _report_costs(costs)
    print()
    encoding = getattr(sys.stdout, "encoding", None) or "ascii"
    try:
        "●│└─⣿".encode(encoding)
        style = UNICODE
    except (UnicodeEncodeError, LookupError):
        style = ASCII
    print(terminal_chart(result, shutil.get_terminal_size().columns, style))
    if png is not None:
        print()
        print(f"  drawn to {png}")


def _report_costs(costs: Sequence[Cost]) -> None:
    """Print the table of the cost of one gradient."""
    print("  cost of one gradient        time, ms  x plain floats  difference from pyad")
    for cost in costs:
        row = f"  {cost.name:<27}{cost.seconds * 1e3:>9.3f}{cost.multiple:>16.1f}"
        print(row if cost.difference is None else f"{row}{cost.difference:>22.0e}")


def _described(table: Table, data: str | None) -> str:
    """Describe the table in half a line."""
    source = "Hudson's Bay Company" if data is None else data
    return f"{source}: {len(table.year)} rows, {table.year[0]:g} to {table.year[-1]:g}"


if __name__ == "__main__":
    sys.exit(main())
