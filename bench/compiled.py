"""The tables of compiled functions: `python -m bench.compiled [--tiny] [--json FILE]`.

Value and gradient of `pyad.compile(f)`, as a multiple of evaluating `f` on plain floats or on plain
NumPy arrays in the same run: the median over the rounds and, in parentheses, the shortest time over
the shortest time. Scalar problems get their variables as one array. CasADi's function is called
through its buffer interface. Each gradient is checked before it is timed. The last column is what
recording and compiling cost, in eager gradients of pyad.

The last table has batches: what a row of `p.value_and_grad.batch` costs, as a multiple of one
`p.value_and_grad` in the same run.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import pyad
from bench.array_problems import ArrayProblem, check, headline
from bench.array_problems import gaussian_sine as gaussian_sine_arrays
from bench.array_problems import rosenbrock as rosenbrock_arrays
from bench.array_tools import Pyad
from bench.measure import Effort, Ratio, interleaved, machine
from bench.problems import Problem, check_gradient, lotka_volterra, namespace, problems
from bench.tools import CasadiSX, Plain, PyadEager

__all__ = ["array_problems", "batches", "compiled", "compiled_arrays", "first_call", "main"]

Call = Callable[[], Any]
COMPILED = "pyad, compiled"


def compiled(problem: Problem) -> Call:
    """The gradient of a scalar problem as an array, by a compiled function of an array."""
    function, functions = problem.function, namespace(pyad.math, relu=pyad.relu)
    program = pyad.compile(lambda x: function(list(x), functions))
    start = np.array(problem.start)
    return lambda: program.value_and_grad(start)[1]


def compiled_arrays(problem: ArrayProblem) -> Call:
    """The gradients of an array problem."""
    function, start, constants = problem.function, problem.start, problem.constants
    program = pyad.compile(lambda *arrays: function(np, *arrays), argnums=tuple(range(len(start))))
    return lambda: list(program.value_and_grad(*start, *constants)[1])


def batches(problem: Problem, rows: int) -> tuple[Call, dict[str, Call]]:
    """One replay of a scalar problem, and batches of rows near its start."""
    function, functions = problem.function, namespace(pyad.math, relu=pyad.relu)
    program = pyad.compile(lambda x: function(list(x), functions))
    both = program.value_and_grad
    start = np.array(problem.start)
    points = start + 0.01 * np.random.default_rng(0).standard_normal((rows, len(start)))
    made: dict[str, Call] = {
        "values": lambda: program.batch(points),
        "1 thread": lambda: both.batch(points),
        "2 threads": lambda: both.batch(points, threads=2),
        "sum": lambda: both.batch(points, reduce="sum"),
        "sum, 2 threads": lambda: both.batch(points, reduce="sum", threads=2),
    }
    values, slopes = made["1 thread"]()
    for r in {0, rows // 2, rows - 1}:
        value, slope = both(points[r])
        np.testing.assert_allclose(values[r], value, rtol=1e-10)
        np.testing.assert_allclose(slopes[r], slope, rtol=1e-8)
    total, slope = made["sum"]()
    np.testing.assert_allclose(total, values.sum(), rtol=1e-12)
    np.testing.assert_array_equal(slope, slopes)
    again = made["sum, 2 threads"]()
    np.testing.assert_array_equal(again[0], total)
    np.testing.assert_array_equal(again[1], slope)
    return lambda: both(start), made


def array_problems(*, tiny: bool) -> list[ArrayProblem]:
    """Those of the arrays' bench, and sizes between."""
    if tiny:
        return headline(tiny=True)
    made = (rosenbrock_arrays, gaussian_sine_arrays)
    return headline() + [make(n) for make in made for n in (100, 10**5)]


def first_call(make: Callable[[], Call], rounds: int) -> float:
    """The shortest time of recording, compiling and running for the first time."""
    seconds = []
    for _ in range(rounds):
        call = make()
        began = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - began)
    return min(seconds)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print the tables, and write them to a file if one is named."""
    parser = argparse.ArgumentParser(prog="python -m bench.compiled", description=__doc__)
    parser.add_argument("--tiny", action="store_true", help="small problems, few rounds")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to FILE, too")
    options = parser.parse_args(arguments)
    effort = Effort.of(tiny=options.tiny)
    result: dict[str, Any] = {"machine": machine()}
    print(*(f"{key}: {value}" for key, value in result["machine"].items()), sep="\n")
    names = [COMPILED, PyadEager.name] + [CasadiSX.name] * CasadiSX.available()
    _print_head("scalars, times plain floats", names)
    for problem in problems(tiny=options.tiny):
        contenders = {COMPILED: compiled(problem), PyadEager.name: PyadEager.prepare(problem)}
        if CasadiSX.available():
            contenders[CasadiSX.name] = CasadiSX.prepare(problem)
        for call in contenders.values():
            check_gradient(problem, list(call()))
            check_gradient(problem, list(call()))
        unit = Plain.prepare(problem)
        ratios = interleaved(unit, contenders, effort)
        result[str(problem)] = _print_row(str(problem), names, ratios, partial(compiled, problem))
    names = [COMPILED, Pyad.name]
    _print_head("arrays, times plain NumPy", names)
    for arrays in array_problems(tiny=options.tiny):
        contenders = {COMPILED: compiled_arrays(arrays), Pyad.name: Pyad.prepare(arrays)}
        for call in contenders.values():
            check(arrays, call())
            check(arrays, call())
        ratios = interleaved(arrays.plainly, contenders, effort)
        result[arrays.name] = _print_row(
            arrays.name, names, ratios, partial(compiled_arrays, arrays)
        )
    result.update(_print_batches(tiny=options.tiny, effort=effort))
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n")
    return 0


def _print_head(title: str, names: Sequence[str]) -> None:
    print(f"\n{title}: value and gradient, median (best)\n")
    _print_cells("problem", *names, "first call")
    print("|---" + "|--:" * (len(names) + 1) + "|")


def _print_row(
    name: str, names: Sequence[str], ratios: Mapping[str, Ratio], make: Callable[[], Call]
) -> dict[str, Any]:
    eager = ratios[names[1]].seconds
    first = first_call(make, 5) / eager
    _print_cells(name, *(str(ratios[tool]) for tool in names), f"{first:.1f} eager")
    row: dict[str, Any] = {tool: asdict(ratio) for tool, ratio in ratios.items()}
    return {**row, "first call": first}


def _print_batches(*, tiny: bool, effort: Effort) -> dict[str, Any]:
    found: dict[str, Any] = {}
    names = ["values", "1 thread", "2 threads", "sum", "sum, 2 threads"]
    print("\nbatches: a row, times one replay, median (best)\n")
    _print_cells("problem", *names)
    print("|---" + "|--:" * len(names) + "|")
    years, counts = (2, (20,)) if tiny else (20, (100, 10**4))
    for rows in counts:
        unit, calls = batches(lotka_volterra(years), rows)
        per_row = {
            name: replace(ratio, median=ratio.median / rows, best=ratio.best / rows)
            for name, ratio in interleaved(unit, calls, effort).items()
        }
        name = f"Lotka-Volterra, {rows} rows"
        _print_cells(name, *(str(per_row[column]) for column in names))
        found[f"batch: {name}"] = {column: asdict(ratio) for column, ratio in per_row.items()}
    return found


def _print_cells(*cells: str) -> None:
    """A row of a Markdown table, at once: some rows take seconds."""
    first, *others = cells
    print(f"| {first:<28} |", " | ".join(f"{cell:>18}" for cell in others), "|", flush=True)


if __name__ == "__main__":
    sys.exit(main())
