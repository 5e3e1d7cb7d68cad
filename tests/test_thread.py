"""Threads: a tape for each, sweeps at the same time, one tape in two hands."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

import pyad


@contextmanager
def switch_interval(seconds: float) -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(seconds)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


def in_threads(*tasks: Callable[[], Any]) -> list[Any]:
    """Run tasks at the same time, each in a thread; return what they return, or raise."""
    results: list[Any] = [None] * len(tasks)

    def run(k: int) -> None:
        try:
            results[k] = tasks[k]()
        except BaseException as error:
            results[k] = error

    threads = [threading.Thread(target=run, args=(k,)) for k in range(len(tasks))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return results


def chain(length: int) -> tuple[pyad.Var, pyad.Var]:
    x = y = pyad.var(1.0)
    for _ in range(length):
        y = y * 1.0
    return x, y


def test_each_thread_has_a_tape_of_its_own() -> None:
    here = pyad.current_tape()
    barrier = threading.Barrier(2)

    def record() -> tuple[pyad.Tape, pyad.Tape, int]:
        mine = pyad.current_tape()
        barrier.wait()
        chain(10)
        barrier.wait()
        return mine, pyad.current_tape(), len(mine)

    (a, again, length), (b, *_) = in_threads(record, record)
    assert a is again
    assert len({id(a), id(b), id(here)}) == 3
    assert length == 11
    assert len(here) == 0


def test_results_outlive_their_thread() -> None:
    [(x, y)] = in_threads(lambda: chain(5000))
    z = y * 2  # goes to the tape of y
    assert pyad.gradient(z, x) == 2.0
    assert len(pyad.current_tape()) == 0


def test_a_block_belongs_to_its_thread() -> None:
    with pyad.Tape() as tape:
        [other] = in_threads(pyad.current_tape)
        assert other is not tape
        with pytest.raises(RuntimeError, match="in the thread that entered them"):
            in_threads(lambda: tape.__exit__(None, None, None))
        assert pyad.current_tape() is tape


def test_a_leaf_used_by_two_threads() -> None:
    x = pyad.var(3.0)

    def work() -> list[float]:
        mine = pyad.var(2.0)
        return [g for _ in range(500) for g in pyad.gradient(x * mine * x + x, [x, mine])]

    with switch_interval(1e-6):
        for result in in_threads(work, work):
            assert result == [13.0, 9.0] * 500
    assert pyad.gradient(x * x, x) == 6.0


def test_gradients_of_two_threads_add_up_in_a_shared_leaf() -> None:
    x = pyad.var(3.0)

    def work() -> None:
        for _ in range(500):
            (x * 2.0).backward()

    with switch_interval(1e-6):
        in_threads(work, work)
    assert x.grad == 2000.0


def while_sweeping(tape: pyad.Tape, sweep: Callable[[], Any], task: Callable[[], Any]) -> Any:
    """Run a task in another thread while a sweep runs in this one, and return its result.

    This thread never gives up the interpreter lock by itself, so that the other one runs within a
    sweep or not at all: were the lock not released, no number of sweeps would let it run.
    """
    seen: list[Any] = []
    go = threading.Lock()
    go.acquire()

    def wait() -> None:
        with go:
            seen.append(task())

    thread = threading.Thread(target=wait)
    thread.start()
    with switch_interval(1000.0):
        go.release()
        for _ in range(2000):
            sweep()
            if seen:
                break
        within = list(seen)
    thread.join()
    assert within
    return within[0]


def error_of(task: Callable[[], Any]) -> str:
    try:
        task()
    except pyad.Error as error:
        return error.code
    return ""


def test_sweeps_release_the_lock_and_refuse_other_uses_of_their_tape() -> None:
    x, y = chain(300_000)
    tape = y.tape
    assert tape is not None
    seeds = np.ones((len(tape), 2))
    uses: list[Callable[[], Any]] = [
        lambda: y * 2,
        lambda: pyad.sin(y),
        lambda: pyad.sum([y]),
        lambda: y.backward(),
        lambda: pyad.gradient(y, x),
        lambda: x.backward(),
        lambda: y.grad,
        lambda: tape.values,
        lambda: tape.reverse(seeds),
        lambda: str(tape),
        lambda: tape.clear(),
    ]

    def task() -> tuple[list[str], int, float, str]:
        return [error_of(use) for use in uses], len(tape), y.value, repr(y)

    for sweep in (
        lambda: y.backward(retain_graph=True),
        lambda: pyad.gradient(y, x, retain_graph=True),
        lambda: tape.reverse(seeds),
        lambda: tape.forward(seeds),
    ):
        codes, length, value, text = while_sweeping(tape, sweep, task)
        assert codes == ["TAPE_BUSY"] * len(uses)
        assert (length, value) == (300_001, 1.0)
        assert text.startswith("Var(1.0")
    assert len(tape) == 300_001
    assert pyad.gradient(y, x) == 1.0


def test_another_thread_records_and_sweeps_meanwhile() -> None:
    x, y = chain(300_000)
    tape = y.tape
    assert tape is not None

    def task() -> list[float]:
        u, v = chain(3000)
        return pyad.gradient(v * x * x, [u, x])  # the leaf x is on both tapes

    sweeps: list[None] = []
    sweep = y.backward
    got = while_sweeping(tape, lambda: sweeps.append(sweep(retain_graph=True)), task)
    assert got == [1.0, 2.0]
    assert x.grad == len(sweeps)


def test_two_sweeps_run_at_the_same_time() -> None:
    stop = threading.Event()
    tapes: list[pyad.Tape | None] = [None, None]

    def sweep(k: int) -> float:
        x, y = chain(300_000)
        tapes[k] = y.tape
        turns = 0
        while not stop.is_set():
            try:
                y.backward(retain_graph=True)
            except RuntimeError:  # the watcher holds the tape at this moment
                continue
            turns += 1
        return float(x.grad or 0) - turns

    def watch() -> bool:
        try:
            for _ in range(1_000_000):
                if all(tape and error_of(lambda t=tape: t.ops) for tape in tapes):
                    return True
            return False
        finally:
            stop.set()

    assert in_threads(lambda: sweep(0), lambda: sweep(1), watch) == [0.0, 0.0, True]


@pytest.mark.parametrize("kind", ["views", "reverse", "forward", "print", "stats"])
def test_looking_at_a_tape_that_another_thread_records_on(kind: str) -> None:
    tape = pyad.Tape()
    stop = threading.Event()

    def record() -> None:
        with tape:
            for turn in range(12):
                y = pyad.var(1.0)
                for _ in range(1000 + 500 * turn):
                    try:
                        y = y * 1.0
                    except RuntimeError:
                        continue
                error_of(tape.clear)
        stop.set()

    def look() -> None:
        while not stop.is_set():
            try:
                if kind == "views":
                    assert (tape.values == 1.0).all()
                    assert set(tape.weights.tolist()) <= {1.0}
                elif kind in ("reverse", "forward"):
                    getattr(tape, kind)(np.ones((len(tape), 4)))
                elif kind == "print":
                    str(tape)
                else:
                    tape.stats()
            except pyad.Error:
                continue

    with switch_interval(1e-6):
        in_threads(record, look)
