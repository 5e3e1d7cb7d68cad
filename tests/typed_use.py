"""What a user's type checker sees of pyad: `.ci/run` gives this file to mypy, nothing runs it."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
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

    a = pyad.array([1.0, 2.0], name="a")
    floats = np.ones(2)
    assert_type(a, pyad.Array)
    for y in (a + 1.0, 1.0 - a, a * a, a / floats, a**2, -a, abs(a), a + x, x * a, a // 2, a % 2.0):
        assert_type(y, pyad.Array)
    assert_type(x * floats, pyad.Array)
    assert_type(a[1:], pyad.Array)
    assert_type(a[[0, 1]], pyad.Array)
    assert_type(a[a > 1.0], pyad.Array)
    assert_type(a < 2.0, npt.NDArray[np.bool_])
    assert_type(a == a, npt.NDArray[np.bool_])
    assert_type(a.T.reshape(2, 1).ravel(), pyad.Array)
    assert_type(a.shape, tuple[int, ...])
    assert_type(a.value, npt.NDArray[np.float64])
    assert_type(pyad.exp(a), pyad.Array)
    assert_type(pyad.exp(floats), npt.NDArray[Any])
    assert_type(pyad.hypot(a, 1.0), pyad.Array)
    assert_type(pyad.gradient(pyad.sum(a), a), npt.NDArray[np.float64])
    assert_type(pyad.gradient(x, [a]), list[npt.NDArray[np.float64]])
    a.value -= 0.1 * a.grad
    a.grad = None
    a.backward(floats, retain_graph=True)
    b = a.copy()
    b[0] = x
    b[1:] = floats[1:]
    b += floats
    b.sum(axis=0).backward()
    loss = np.sum(np.exp(a) @ floats) + np.linalg.norm(a)  # NumPy's functions take it
    pyad.check_grads(lambda v: np.sin(v), floats)
    first, second = a
    assert_type(float(a.detach()), float)
