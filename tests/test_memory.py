"""Memory: every allocation may fail and nothing is lost; nothing grows over many turns."""

from __future__ import annotations

import copy
import gc
import importlib.util
import os
import pickle
import shlex
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pyad
from conftest import state

SOURCE = Path(__file__).resolve().parent / "c" / "failing_allocator.c"

# ---- failing allocations -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def attempt(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., tuple[int, Any]]:
    """Return `attempt(n, function, all)` of failing_allocator.c, which is built for it."""
    target = tmp_path_factory.mktemp("c") / "failing_allocator.so"
    compiler = shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")[:1]
    include = f"-I{sysconfig.get_path('include')}"
    undefined = ["-undefined", "dynamic_lookup"] if sys.platform == "darwin" else []
    environment = {key: value for key, value in os.environ.items() if key != "LD_PRELOAD"}
    command = [*compiler, "-shared", "-fPIC", *undefined, include, str(SOURCE), "-o", str(target)]
    subprocess.run(command, check=True, env=environment)
    spec = importlib.util.spec_from_file_location("failing_allocator", target)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    function: Callable[..., tuple[int, Any]] = module.attempt
    return function


class Case:
    """A recording, and what may be done with it."""

    def __init__(self, length: int) -> None:
        self.tape = pyad.Tape()
        with self.tape:
            self.x, self.y = pyad.var(2.0, name="x"), pyad.var(3.0)
            self.new = pyad.var(5.0)
            self.z = self.x * self.y
            while len(self.tape) < length:
                self.z = self.z * 1.0
            self.z.backward(retain_graph=True)
        self.keep = [self.x + 0.0 for _ in range(20)] if length > 1024 else []

    def state(self) -> object:
        return state(self.tape, (self.x, self.y, self.new)), self.z.grad, repr(self.z)


class Model:
    def __init__(self, x: Any) -> None:
        self.x = x


CALLS: dict[str, Callable[[Case], Any]] = {
    "var": lambda c: pyad.var(1.0, name="new"),
    "vars": lambda c: pyad.vars([1.0, 2, np.float64(3.0), np.array(4.0)] * 20),
    "unary": lambda c: pyad.sin(c.z),
    "unary leaf": lambda c: pyad.exp(c.new),
    "binary": lambda c: c.z * c.z,
    "binary leaf": lambda c: c.new * c.x,
    "binary two leaves": lambda c: c.new + 2,
    "operator with NumPy": lambda c: np.float32(2.0) * c.z,
    "power": lambda c: c.new**3,
    "divmod": lambda c: divmod(c.z, c.new),
    "log to base": lambda c: pyad.math.log(c.new, c.z),
    "comparison": lambda c: [c.z < 1, c.z == np.float32(1.0), c.z < np.ones(2)],
    "round": lambda c: round(c.z, 1),
    "sum": lambda c: pyad.sum([c.x, c.z, c.new, 1.0] * 20),
    "sum of an iterator": lambda c: pyad.sum(x for x in [c.x, c.new]),
    "dot": lambda c: pyad.dot([c.x, c.new], (c.z, 2.0)),
    "from_partials": lambda c: pyad.from_partials(1.0, [c.x, c.new], [2.0, np.float32(3)]),
    "method": lambda c: c.new.atan2(c.z),
    "ufunc": lambda c: np.arctan2(c.new, 2.0),
    "array": lambda c: np.ones(3) * c.z,
    "function of an array": lambda c: pyad.exp(np.ones(3)),
    "array of variables": lambda c: pyad.hypot([1.0, c.z], c.z),
    "where": lambda c: pyad.where(c.z > 0, c.new, 1.0),
    "clip": lambda c: pyad.clip(c.new, 0.0, c.z),
    "gradient": lambda c: pyad.gradient(c.z, c.x, retain_graph=True),
    "gradient of a leaf": lambda c: pyad.gradient(c.new, [c.new, c.x], retain_graph=True),
    "gradient of many": lambda c: pyad.gradient(
        c.z, [c.x, (c.y, {"z": c.z}), np.array([c.x, c.new])], retain_graph=True
    ),
    "backward": lambda c: c.z.backward(retain_graph=True),
    "detach": lambda c: c.z.detach(),
    "copy": lambda c: copy.copy(c.new),
    "pickle": lambda c: pickle.loads(pickle.dumps([c.x, c.x.detach()])),
    "repr": lambda c: (repr(c.z), repr(c.x), f"{c.z:.3f}", str(c.tape), repr(c.tape)),
    "views": lambda c: [
        *(c.tape.ops, c.tape.first, c.tape.indices, c.tape.weights, c.tape.values),
        c.tape.adjoints,
    ],
    "stats": lambda c: c.tape.stats(),
    "drawing": lambda c: (c.tape.to_dot(), c.z._repr_svg_()),
    "sweeps": lambda c: (c.tape.reverse(np.ones(len(c.tape))), c.tape.forward(c.tape.values)),
    "arguments": lambda c: c.tape.arguments(3),
    "tape": lambda c: pyad.Tape(max_bytes=10**6),
    "wrong operand": lambda c: pytest.raises(TypeError, lambda: c.z * "a"),
}
SWEEPING = {"gradient", "gradient of a leaf", "gradient of many", "backward"}


def check_failing(attempt: Any, case: Case, call: Callable[[Case], Any], sustained: bool) -> None:
    """Let each allocation of a call fail: a MemoryError changes nothing and the next call works."""
    before = case.state()
    for n in range(5000):
        with case.tape:
            failures, result = attempt(n, lambda: call(case), sustained)
        if failures and result is None:
            assert case.state() == before, n
        if not failures:
            return
        del result
        case.restore()
    pytest.fail("no end")


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("length", [10, 1023, 1024])
def test_every_allocation_of_a_call_may_fail(attempt: Any, name: str, length: int) -> None:
    call = CALLS[name]
    with pyad.Tape():
        call(Case(10))  # whatever is made once and kept
    done = False
    n = 0
    while not done:
        case = Case(length)
        before = case.state()
        with case.tape:
            failures, result = attempt(n, lambda case=case: call(case), False)
        done = not failures
        if failures and result is None and name not in SWEEPING:
            assert case.state() == before, n
        with case.tape:
            call(case)
            assert pyad.gradient(case.z * case.x, [case.x, case.y]) == [12.0, 4.0]
        n += 1
    assert len(pyad.current_tape()) == 0
