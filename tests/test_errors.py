"""Every row of csrc/errors.def is raised by a call, has its class and code, and names a remedy."""

from __future__ import annotations

import pickle
import sys
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import pyad
from pyad import _binding, errors
from pyad.compiled import _files
from pyad.transforms import _sparsity


def full_tape() -> Any:
    with pyad.Tape(max_bytes=1000):
        y = pyad.var(1.0)
        for _ in range(100):
            y = y * 2
    return y


def too_many_arguments() -> None:
    """Ask the C library for more nodes than it can number; nothing of that size is allocated."""
    lib, ffi = _binding.lib, _binding.ffi
    tape = ffi.gc(lib.pyad_tape_new(0), lib.pyad_tape_free)
    one = ffi.new("pyad_operand *")
    _binding.check(lib.pyad_tape_leaf(tape, 1.0, one))
    few = ffi.new("double[]", [1.0])
    _binding.check(lib.pyad_tape_given(tape, 1.0, 2**32, one, few, one))


def unknown_operation() -> None:
    lib, ffi = _binding.lib, _binding.ffi
    _binding.check(lib.pyad_op_partials(9999, 1.0, 1.0, ffi.new("pyad_partials *")))


def leaf() -> pyad.Var:
    return pyad.var(1.0)


def stale() -> pyad.Var:
    y = leaf() * 2
    y.backward()
    return y


def elsewhere() -> pyad.Var:
    with pyad.Tape():
        return leaf() * 2


def changed() -> pyad.Var:
    x = leaf()
    y = x * x
    x.value = 2.0
    return y


def busy() -> None:
    """Use a tape in the hands of another thread."""
    tape = pyad.Tape()
    tape._hold()
    try:
        with tape:
            leaf() * 2
    finally:
        tape._release()


def needs_recording() -> None:
    """The transforms catch this status; whoever calls the C library without them gets it so."""
    _binding.check(_binding.status_of("NEEDS_RECORDING"))


def damaged_file() -> None:
    _files.restore(b"not a file of compiled functions at all")


def other_version() -> None:
    p = pyad.compile(lambda x: x * x)
    p(1.0)
    data = bytearray(_files.dump(p))
    data[8] += 1
    _files.restore(bytes(data))


def rule_in_file() -> None:
    p = pyad.compile(lambda x: np.linalg.slogdet(x)[1])
    p(np.eye(2))
    _files.dump(p)


def no_recording() -> None:
    p = pyad.compile(lambda x: x * x)
    p(1.0)
    _files.restore(_files.dump(p))(np.ones(2))


def rule_failed() -> None:
    """What the rule raised is raised instead, unless sweeps of two threads fail at once."""
    _binding.check(_binding.status_of("RULE_FAILED"))


def array() -> pyad.Array:
    return pyad.array([[1.0, 2.0], [3.0, 4.0]])


def bad_value() -> None:
    with pyad.detect_anomaly():
        pyad.log(leaf() - 1.0)


def bad_adjoint() -> None:
    with pyad.detect_anomaly():
        pyad.sqrt(leaf() - 1.0).backward()


def bad_tangent() -> None:
    with pyad.detect_anomaly():
        pyad.jvp(lambda x: pyad.sqrt(x - 1.0), (1.0,), (1.0,))


def bad_second() -> None:
    with pyad.detect_anomaly():
        pyad.hessian(lambda x: x**1.5)(0.0)


def seed_is_variable() -> None:
    x = leaf()
    pyad.gradient(x * x, x, seed=x)


def clearing(x: Any) -> Any:
    pyad.current_tape().clear()
    return x


def given(x: Any) -> Any:
    return pyad.from_partials(x.value, [x], [1.0])


def open_function(x: Any) -> Any:
    return [leaf() * x[0]]


def changed_pattern() -> None:
    """Ask for the values of one recording with the pattern of another."""
    found = []
    for indices in ((0, 0), (0, 1)):
        with pyad.Tape() as tape:
            xs = [+x for x in pyad.vars([1.0, 2.0])]
            y = xs[indices[0]] * xs[indices[1]]
        found.append((tape, [x.node for x in xs], [y.node]))
    tape, ins, outs = found[0]
    pattern = _sparsity.jacobian_pattern(tape, 0, ins, outs)
    tape, ins, outs = found[1]
    _sparsity.jacobian_values(pattern, tape, 0, ins, outs)


def without_scipy() -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "scipy", None)
        patch.setitem(sys.modules, "scipy.sparse", None)
        pyad.sparse_jacobian(lambda x: [x[0]], [1.0])


def mixed_duals() -> Any:
    return pyad.Dual(1.0, 1.0) * pyad.Dual(1.0, [1.0, 0.0])


RAISES: dict[str, tuple[Callable[[], Any], str]] = {
    "NO_MEMORY": (full_tape, "raise max_bytes"),
    "TAPE_FULL": (too_many_arguments, "sweep in shorter stretches"),
    "NODE_RANGE": (lambda: pyad.current_tape().arguments(5), "below len(tape)"),
    "NEEDS_RECORDING": (needs_recording, "record the gradient"),
    "RULE_FAILED": (rule_failed, "sweep again"),
    "OPERATION_UNKNOWN": (unknown_operation, "pyad.operations()"),
    "NOT_A_NUMBER": (lambda: leaf() * "2", "float(...)"),
    "TOO_LARGE": (lambda: leaf() + 10**400, "float('inf')"),
    "NOT_A_VAR": (lambda: pyad.gradient(1.0, []), "pyad.var(...)"),
    "NOT_A_FUNCTION": (lambda: pyad.grad(3.0), "pyad.grad(f)(x)"),  # type: ignore[arg-type]
    "NOT_A_SEQUENCE": (lambda: pyad.sum(leaf()), "a sequence of numbers"),
    "LENGTHS_DIFFER": (lambda: pyad.dot([leaf()], []), "of one length, not 1 and 0"),
    "ARGUMENT_SHAPE": (lambda: pyad.Tape().reverse(np.ones(3)), "(0,) or (0, k)"),
    "ARGUMENTS": (lambda: pyad.atan2(leaf()), "takes two arguments"),
    "BROADCAST": (lambda: array() + np.ones(3), "(2, 2) and (3,)"),
    "ARRAY_TOO_BIG": (
        lambda: np.broadcast_to(array()[:1, :1], (1 << 59, 1)) + np.ones((1, 4)),
        "(576460752303423488, 4)",
    ),
    "MATMUL": (lambda: array() @ np.ones(3), "(2, 2) @ (3,)"),
    "INDEX": (lambda: array()[0, 2], "for axis 1 with size 2"),
    "AXIS": (lambda: array().sum(axis=2), "axis 2 is out of bounds"),
    "AMBIGUOUS": (lambda: bool(array()), "(a > b).any()"),
    "LEAF_ITEM": (lambda: array().__setitem__(0, 1.0), "y = x.copy()"),
    "NO_FUNCTION": (lambda: np.polyfit(array()[0], array()[1], 1), "np.linalg.lstsq"),
    "AS_NDARRAY": (lambda: np.asarray(array()), "x.value"),
    "POW_MODULO": (lambda: pow(leaf(), 2, 3), "pyad.fmod"),
    "WOULD_LOSE_DERIVATIVE": (lambda: float(leaf()), "x.detach()"),
    "NO_UFUNC": (lambda: np.spacing(leaf()), "x.value"),
    "NO_PICKLE": (lambda: pickle.dumps(leaf() * 2), "x.detach()"),
    "STALE": (lambda: stale() * 2, "retain_graph=True"),
    "MIXED_TAPES": (lambda: leaf() * 2 + elsewhere(), "within one 'with tape:' block"),
    "TAPE_BUSY": (busy, "a tape of its own"),
    "NO_GRADIENT": (lambda: leaf().detach().backward(), "from pyad.var(...)"),
    "LEAF_CHANGED": (lambda: changed().backward(), "compute the result again"),
    "CONSTANT_GIVEN": (lambda: pyad.gradient(leaf(), leaf().detach()), "Set requires_grad"),
    "OTHER_TAPE": (lambda: pyad.gradient(leaf() * 2, elsewhere()), "from one recording"),
    "NOT_ASSIGNABLE": (lambda: setattr(leaf() * 2, "value", 1.0), "assign to the leaves"),
    "TAPE_IN_USE": (lambda: pyad.Tape().__exit__(None, None, None), "in the order in which"),
    "TAPE_IN_FRAME": (lambda: pyad.grad(clearing)(1.0), "when the transform has returned"),
    "NOT_A_SCALAR": (lambda: pyad.grad(lambda x: [x])(1.0), "use jacobian"),
    "GIVEN_SECOND": (lambda: pyad.hessian(given)(1.0), "compose it of operations"),
    "SEED_IS_VARIABLE": (seed_is_variable, "create_graph=True"),
    "NO_TANGENT": (lambda: pyad.Dual(1.0, []), "a sequence that is not empty"),
    "MIXED_TANGENTS": (mixed_duals, "same number of tangents"),
    "DUAL_WITH_VAR": (lambda: pyad.Dual(1.0, 1.0) * leaf(), "x.detach()"),
    "BAD_FILE": (damaged_file, "save the function again"),
    "FILE_VERSION": (other_version, "save the function again"),
    "RULE_IN_FILE": (rule_in_file, "pickle the function"),
    "NO_RECORDING": (no_recording, "save it again"),
    "BATCH": (lambda: pyad.compile(lambda x: x).batch(1.0), "give arrays with a leading axis"),
    "CANNOT_SAVE": (lambda: _files.dump(pyad.compile(lambda x: x)), "call it once"),
    "SPARSE_OPEN": (lambda: pyad.sparse_jacobian(open_function, [1.0]), "use jacobian"),
    "PATTERN_CHANGED": (changed_pattern, "again"),
    "NEEDS_EXTRA": (without_scipy, "pip install"),
    "BAD_VALUE": (bad_value, __file__),
    "BAD_ADJOINT": (bad_adjoint, __file__),
    "BAD_TANGENT": (bad_tangent, __file__),
    "BAD_SECOND": (bad_second, __file__),
}


def test_every_row_is_raised_here() -> None:
    assert set(_binding.error_codes()) == set(RAISES)


@pytest.mark.parametrize("code", RAISES)
def test_a_row(code: str) -> None:
    call, remedy = RAISES[code]
    with pytest.raises(pyad.Error) as caught:
        call()
    error = caught.value
    assert error.code == code
    assert type(error).__module__ == "pyad.errors"
    assert _binding.error_builtin(code) in {base.__name__ for base in type(error).__mro__}
    assert remedy in str(error)
    assert "%" not in str(error).replace(__file__, "")


def test_a_class_for_each_builtin() -> None:
    builtins = {_binding.error_builtin(code) for code in _binding.error_codes()}
    assert builtins <= {"TypeError", "ValueError", "RuntimeError", "MemoryError", "IndexError"}
    for name in builtins:
        kind = errors.class_of(name)
        assert issubclass(kind, pyad.Error)
        assert kind.__name__ in errors.__all__
        assert any(base.__name__ == name for base in kind.__mro__)


def test_statuses_outside_the_table() -> None:
    lib = _binding.lib
    for status in (-1, 0, lib.pyad_error_count(), 10**6):
        assert _binding.ffi.string(lib.pyad_error_name(status)) == b"OK"
    _binding.check(0)


def test_an_error_travels_between_processes_and_threads() -> None:
    with pytest.raises(pyad.Error) as caught:
        float(leaf())
    back = pickle.loads(pickle.dumps(caught.value))
    assert type(back) is type(caught.value)
    assert (str(back), back.code) == (str(caught.value), "WOULD_LOSE_DERIVATIVE")
    seen: list[str] = []

    def work() -> None:
        try:
            float(leaf())
        except pyad.Error as error:
            seen.append(error.code)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == ["WOULD_LOSE_DERIVATIVE"]
