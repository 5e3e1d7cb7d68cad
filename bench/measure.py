"""Timing on a noisy machine: contenders take turns, and every sample has its own unit beside it.

A machine that is shared slows down and speeds up within a second. So in every round each contender
is timed right after the unit (the same function on plain floats), and what counts is the ratio of
neighbours; the median over the rounds is reported.

Nobody pays for the turn of another. The garbage collector runs as it does for users, but what the
others left behind is collected first. And each turn begins untimed: since version 3.11 CPython
rewrites the bytecode of a loop for the types that it meets there. Coming from floats, the first
gradient of Lotka-Volterra takes 1.6 times as long as the following ones; coming from variables, the
first seven values on plain floats take 1.3 times as long. No user alternates between the two.
"""

from __future__ import annotations

import gc
import importlib.metadata
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["Effort", "Ratio", "interleaved", "machine", "seconds_per_call", "settle"]

Call = Callable[[], Any]

PACKAGES = ("pyad-autodiff", "xad", "micrograd", "autograd", "torch", "jax", "casadi", "numpy")
SAMPLE = 2e-3  # seconds that one sample should take at least: ten thousand ticks of the clock
SETTLE = 8e-3  # seconds without timing before it


@dataclass(frozen=True)
class Effort:
    """How long to measure: at most `rounds`, and no contender longer than `budget` seconds."""

    rounds: int = 31
    budget: float = 3.0

    @classmethod
    def of(cls, *, tiny: bool) -> Effort:
        """Two rounds where only the code is to be exercised."""
        return cls(rounds=2, budget=0.5) if tiny else cls()


@dataclass(frozen=True)
class Ratio:
    """What a contender costs: a multiple of the unit, and the seconds of one call."""

    median: float
    """The median over the rounds of its time over the unit's time in the same round."""
    best: float
    """Its shortest time over the shortest of the unit's samples beside it."""
    seconds: float
    """Its shortest time."""
    rounds: int

    def __str__(self) -> str:
        return f"{_short(self.median)} ({_short(self.best)})"


def _short(x: float) -> str:
    """Three digits."""
    return f"{x:.0f}" if x >= 100 else f"{x:.3g}"


def interleaved(unit: Call, contenders: Mapping[str, Call], effort: Effort) -> dict[str, Ratio]:
    """The cost of each contender as a multiple of `unit`."""
    unit_calls = _calls_per_sample(unit)
    calls = {name: _calls_per_sample(call) for name, call in contenders.items()}
    times: dict[str, list[float]] = {name: [] for name in contenders}
    units: dict[str, list[float]] = {name: [] for name in contenders}
    spent = dict.fromkeys(contenders, 0.0)
    gc.collect()
    gc.freeze()
    for _ in range(effort.rounds):
        for name, call in contenders.items():
            if times[name] and spent[name] >= effort.budget:
                continue
            gc.collect()
            settle(unit)
            units[name].append(seconds_per_call(unit, unit_calls))
            settle(call)
            times[name].append(seconds_per_call(call, calls[name]))
            spent[name] += times[name][-1] * calls[name]
    gc.unfreeze()
    return {
        name: Ratio(
            median=statistics.median(t / u for t, u in zip(taken, units[name], strict=True)),
            best=min(taken) / min(units[name]),
            seconds=min(taken),
            rounds=len(taken),
        )
        for name, taken in times.items()
    }


def seconds_per_call(call: Call, calls: int = 1) -> float:
    """The mean time of some calls in succession."""
    began = time.perf_counter()
    for _ in range(calls):
        call()
    return (time.perf_counter() - began) / calls


def settle(call: Call) -> None:
    """Run for a while, so that bytecode and caches get used to it."""
    end = time.perf_counter() + SETTLE
    while time.perf_counter() < end:
        call()


def _calls_per_sample(call: Call) -> int:
    """Enough calls to fill `SAMPLE`; also warms up."""
    calls = 1
    while (taken := seconds_per_call(call, calls)) * calls < SAMPLE and calls < 1_000_000:
        calls = max(2 * calls, min(10 * calls, int(SAMPLE / max(taken, 1e-9)) + 1))
    return calls


def machine() -> dict[str, str]:
    """What the figures depend on."""
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "machine": f"{platform.system()} {platform.machine()}",
        "packages": ", ".join(f"{name} {version}" for name, version in versions.items()),
    }
