"""The table of ratios: `python -m bench.ratios [--tiny] [--tools NAME ...] [--json FILE]`.

Every entry is the time of value and gradient as a multiple of evaluating the same function on plain
floats, in the same run and the same round: the median over the rounds and, in parentheses, shortest
time over shortest time. Every gradient is checked before it is timed.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench.measure import Effort, Ratio, interleaved, machine
from bench.problems import Problem, check_gradient, problems
from bench.scalars import SMALL, make_leaves, operation_nanoseconds, phases, small_gradients
from bench.tools import Plain, PyadEager, Tool, available_tools
from bench.transforms import cases, measure

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print the tables, and write them to a file if one is named."""
    options = _parse(arguments)
    effort = Effort.of(tiny=options.tiny)
    tools = [
        tool
        for tool in available_tools()
        if not options.tools or tool is Plain or tool.name in options.tools
    ]
    result: dict[str, Any] = {"machine": machine()}
    print(*(f"{key}: {value}" for key, value in result["machine"].items()), sep="\n")
    print("\nValue and gradient, as a multiple of the value on plain floats: median (best)\n")
    result["ratios"] = _print_ratios(problems(tiny=options.tiny), tools, effort)
    print("\nOne operation, and value and gradient of", SMALL.name, "\n")
    result["scalars"] = _print_scalars(tools, effort)
    if PyadEager in tools:
        print("\npyad: recording and sweep, as multiples of the value on plain floats\n")
        result["phases"] = _print_phases(problems(tiny=options.tiny), effort)
        print("\nTransforms, of pyad where no other is named\n")
        result["transforms"] = _print_transforms(effort, tiny=options.tiny)
        leaves = make_leaves(effort)
        print(f"\npyad.vars of 1000 floats: {leaves} times list(map(abs, floats))")
        result["vars"] = asdict(leaves)
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n")
    return 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.ratios", description=__doc__)
    parser.add_argument("--tiny", action="store_true", help="small problems, few rounds")
    names = [tool.name for tool in available_tools() if tool is not Plain]
    parser.add_argument("--tools", nargs="+", choices=names, metavar="NAME", help=", ".join(names))
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to FILE, too")
    return parser.parse_args(arguments)


def _print_ratios(
    chosen: Iterable[Problem], tools: Sequence[type[Tool]], effort: Effort
) -> dict[str, dict[str, Any]]:
    """One row a problem, one column a tool."""
    gradients = [tool for tool in tools if tool is not Plain]
    _print_row("problem", *(tool.name for tool in gradients))
    _print_rule(1 + len(gradients))
    result = {}
    for problem in chosen:
        ratios = _measure(problem, gradients, effort)
        _print_row(str(problem), *(str(ratios[tool.name]) for tool in gradients))
        result[str(problem)] = {name: asdict(ratio) for name, ratio in ratios.items()}
    return result


def _measure(problem: Problem, tools: Sequence[type[Tool]], effort: Effort) -> dict[str, Ratio]:
    """The ratios of one problem; the gradients are checked first, twice."""
    contenders = {tool.name: tool.prepare(problem) for tool in tools}
    for call in contenders.values():
        check_gradient(problem, call())
        check_gradient(problem, call())  # the second recording may differ from the first
    return interleaved(Plain.prepare(problem), contenders, effort)


def _print_scalars(tools: list[type[Tool]], effort: Effort) -> dict[str, dict[str, Any]]:
    """One row a tool."""
    operations = operation_nanoseconds(tools, effort)
    gradients = small_gradients(tools, effort)
    _print_row("tool", "x * y (ns)", "small gradient (us)", "times plain floats")
    _print_rule(4)
    result: dict[str, dict[str, Any]] = {}
    for name, nanoseconds in operations.items():
        row: dict[str, Any] = {"operation_nanoseconds": nanoseconds}
        cells = ["", ""]
        if name in gradients:
            row["small_gradient"] = asdict(gradients[name])
            cells = [f"{1e6 * gradients[name].seconds:.2f}", str(gradients[name])]
        _print_row(name, f"{nanoseconds:,.0f}", *cells)
        result[name] = row
    return result


def _print_phases(chosen: Iterable[Problem], effort: Effort) -> dict[str, dict[str, Any]]:
    """One row a problem."""
    _print_row("problem", "nodes", "record", "sweep", "record, ns a node", "sweep, ns a node")
    _print_rule(6)
    result = {}
    for problem in chosen:
        row = phases(problem, effort)
        _print_row(
            str(problem),
            str(row.nodes),
            f"{row.record:.2f}",
            f"{row.sweep:.2f}",
            f"{row.record_nanoseconds:.1f}",
            f"{row.sweep_nanoseconds:.1f}",
        )
        result[str(problem)] = asdict(row)
    return result


def _print_transforms(effort: Effort, *, tiny: bool) -> dict[str, dict[str, Any]]:
    """One row a transform."""
    _print_row("transform", "times", "unit")
    _print_rule(3)
    result = {}
    for case in cases(tiny=tiny):
        ratio = measure(case, effort)
        _print_row(case.name, str(ratio), case.unit_name)
        result[case.name] = asdict(ratio)
    return result


def _print_row(*cells: str) -> None:
    """A row of a Markdown table, at once: some rows take seconds."""
    first, *others = cells
    print(f"| {first:<24} |", " | ".join(f"{cell:>18}" for cell in others), "|", flush=True)


def _print_rule(columns: int) -> None:
    print("|---" + "|--:" * (columns - 1) + "|")


if __name__ == "__main__":
    sys.exit(main())
