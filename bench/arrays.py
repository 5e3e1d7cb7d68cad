"""The tables of arrays: `python -m bench.arrays [--tiny] [--tools NAME ...] [--json FILE]`.

Every entry is the time of value and gradient as a multiple of evaluating the same NumPy code on
plain arrays, in the same run and the same round: the median over the rounds and, in parentheses,
shortest time over shortest time. Every gradient is checked before it is timed. One thread.

The verdict is on the medians: `met`, or what was missed: the limit of the problem, or at most 1.1
times the faster of autograd and PyTorch, where one of them is installed.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench.array_problems import ArrayProblem, check, headline, sizes
from bench.array_tools import TOOLS, ArrayTool, Autograd, Pyad, PyTorch, available_tools
from bench.measure import Effort, Ratio, interleaved, machine

__all__ = ["main", "verdict"]

PEERS = (Autograd.name, PyTorch.name)
AGAINST_PEERS = 1.1  # times the faster of them


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print the tables, and write them to a file if one is named."""
    options = _parse(arguments)
    effort = Effort.of(tiny=options.tiny)
    tools = [t for t in available_tools() if not options.tools or t.name in options.tools]
    tables = {"limits": headline(tiny=options.tiny), "sizes": sizes(tiny=options.tiny)}
    result: dict[str, Any] = {"machine": machine()}
    print(*(f"{key}: {value}" for key, value in result["machine"].items()), sep="\n")
    for title, problems in tables.items():
        if options.table not in (None, title):
            continue
        chosen = [p for p in problems if not options.only or options.only in p.name]
        print(f"\n{title}: value and gradient as a multiple of plain NumPy, median (best)\n")
        result[title] = _print_table(chosen, tools, effort)
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n")
    return 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.arrays", description=__doc__)
    parser.add_argument("--tiny", action="store_true", help="small problems, few rounds")
    names = [tool.name for tool in TOOLS]
    parser.add_argument("--tools", nargs="+", choices=names, metavar="NAME", help=", ".join(names))
    parser.add_argument("--table", choices=("limits", "sizes"), help="this one alone")
    parser.add_argument("--only", metavar="TEXT", help="problems whose name contains TEXT")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to FILE, too")
    return parser.parse_args(arguments)


def _print_table(
    problems: Iterable[ArrayProblem], tools: Sequence[type[ArrayTool]], effort: Effort
) -> dict[str, dict[str, Any]]:
    """One row a problem; at the end pyad against the faster of autograd and PyTorch."""
    names = [tool.name for tool in tools]
    _print_row("problem", "NumPy (us)", *names, "limit", "pyad / faster peer", "verdict")
    print("|---" + "|--:" * (len(names) + 4) + "|")
    result = {}
    for problem in problems:
        ratios, seconds = _measure(problem, tools, effort)
        cells = [str(ratios[name]) if name in ratios else "" for name in names]
        limit = "" if problem.limit is None else f"{problem.limit:g}"
        row = (f"{1e6 * seconds:.1f}", *cells, limit, _against_peers(ratios))
        _print_row(problem.name, *row, verdict(problem.limit, ratios))
        result[problem.name] = {name: asdict(ratio) for name, ratio in ratios.items()}
        result[problem.name]["verdict"] = verdict(problem.limit, ratios)
    return result


def _measure(
    problem: ArrayProblem, tools: Sequence[type[ArrayTool]], effort: Effort
) -> tuple[dict[str, Ratio], float]:
    """The ratios of one problem, and the seconds of plain NumPy; gradients are checked, twice."""
    able = [tool for tool in tools if tool.assigns or not problem.assigns]
    contenders = {tool.name: tool.prepare(problem) for tool in able}
    for call in contenders.values():
        check(problem, call())
        check(problem, call())  # the second recording may differ from the first
    ratios = interleaved(problem.plainly, contenders, effort)
    return ratios, min((r.seconds / r.best for r in ratios.values()), default=0.0)


def _of_faster_peer(ratios: dict[str, Ratio]) -> tuple[float, float] | None:
    """Times of pyad over those of the faster peer: the medians', and the shortest times'."""
    peers = [ratios[name] for name in PEERS if name in ratios]
    if not peers or Pyad.name not in ratios:
        return None
    own = ratios[Pyad.name]
    return (
        own.median / min(peer.median for peer in peers),
        own.seconds / min(peer.seconds for peer in peers),
    )


def _against_peers(ratios: dict[str, Ratio]) -> str:
    of_peer = _of_faster_peer(ratios)
    return f"{of_peer[0]:.2f} ({of_peer[1]:.2f})" if of_peer else ""


def verdict(limit: float | None, ratios: dict[str, Ratio]) -> str:
    """Whether pyad keeps what is asked of it; empty if nothing is."""
    of_peer = _of_faster_peer(ratios)
    if Pyad.name not in ratios or (limit is None and of_peer is None):
        return ""
    missed = []
    if limit is not None and ratios[Pyad.name].median > limit:
        missed.append("limit")
    if of_peer is not None and of_peer[0] > AGAINST_PEERS:
        missed.append("peer")
    return "missed: " + ", ".join(missed) if missed else "met"


def _print_row(*cells: str) -> None:
    """A row of a Markdown table, at once: some rows take seconds."""
    first, *others = cells
    print(f"| {first:<28} |", " | ".join(f"{cell:>18}" for cell in others), "|", flush=True)


if __name__ == "__main__":
    sys.exit(main())
