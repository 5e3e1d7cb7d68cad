"""What a user's type checker sees of pyad: `.ci/run` gives this file to mypy, nothing runs it."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing_extensions import assert_type

    import pyad
    from pyad import math

    x = pyad.var(1.0, name="x")
    assert_type(x * 2.0, pyad.Var)
    assert_type(2.0 * x, pyad.Var)
    assert_type(-x, pyad.Var)
    assert_type(x < 2.0, bool)
    assert_type(x.value, float)
    assert_type(pyad.sin(x), pyad.Var)
    assert_type(pyad.sin(1.0), float)
    assert_type(pyad.atan2(x, 1.0), pyad.Var)
    assert_type(math.exp(x), pyad.Var)
    assert_type(x.exp(), pyad.Var)
    assert_type(pyad.vars([1.0, 2.0]), list[pyad.Var])
    assert_type(pyad.gradient(x, x), float)
    assert_type(pyad.gradient(x, [x]), list[float])
    with pyad.Tape() as tape:
        assert_type(len(tape), int)
