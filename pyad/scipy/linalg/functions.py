"""Functions of matrices: `expm`, `logm`, `sqrtm`, powers, trigonometric ones."""

from __future__ import annotations

from typing import Any

import numpy as np

from pyad import linalg as _matrices
from pyad._binding import error
from pyad.array import _linalg
from pyad.array._linalg import square
from pyad.array._rules import (
    Rule,
    apply,
    holds_variables,
    plain,
)
from pyad.scipy.linalg._common import (
    Function,
    T,
    of_variables,
    refuse,
    theirs,
)
from pyad.scipy.linalg.equations import (
    sylvester,
)

__all__ = [
    "coshm",
    "cosm",
    "expm",
    "fractional_matrix_power",
    "logm",
    "sinhm",
    "sinm",
    "sqrtm",
    "tanhm",
    "tanm",
]

expm = _matrices.expm


def _real(name: str, *args: Any) -> Function:
    """SciPy's function of one matrix; refused if the result is complex."""

    def function(x: Any) -> Any:
        """The real result, or an error."""
        found = theirs(name)(x, *args)
        if np.iscomplexobj(found):
            if np.max(np.abs(found.imag), initial=0.0) > 1e-10 * np.max(np.abs(found), initial=0.0):
                raise error(
                    "ARGUMENTS",
                    f"scipy.linalg.{name} of this matrix of variables is complex, since the matrix "
                    "has eigenvalues that are negative (or 0): it has no real derivative",
                )
            found = found.real
        return found

    return function


def _matrix_function(name: str) -> Function:
    def function(A: Any) -> Any:  # noqa: N803  (SciPy's name)
        return _matrices.matrix_function(name, _real(name), A)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"`scipy.linalg.{name}`."
    return of_variables(function)


cosm, sinm, coshm, sinhm = map(_matrix_function, ("cosm", "sinm", "coshm", "sinhm"))


@of_variables
def tanm(A: Any) -> Any:  # noqa: N803
    """`scipy.linalg.tanm`."""
    return _linalg.solve(cosm(A), sinm(A))


@of_variables
def tanhm(A: Any) -> Any:  # noqa: N803
    """`scipy.linalg.tanhm`."""
    return _linalg.solve(coshm(A), sinhm(A))


@of_variables
def logm(A: Any, disp: bool = True) -> Any:  # noqa: N803
    """`scipy.linalg.logm` of a matrix with a real logarithm."""
    if disp is False:
        raise refuse("logm", "disp=False", "leave it out")
    return _matrices.matrix_function("logm", _real("logm"), A)


@of_variables
def fractional_matrix_power(A: Any, t: Any) -> Any:  # noqa: N803
    """`scipy.linalg.fractional_matrix_power`, with a constant exponent."""
    if holds_variables(t):
        raise refuse("fractional_matrix_power", "variable exponent", "use expm(t * logm(A))")
    if t == int(t):
        return _linalg.matrix_power(square(A, "scipy.linalg.fractional_matrix_power"), int(t))
    name = "fractional_matrix_power"
    return _matrices.matrix_function(name, _real(name, t), A)


def _root_vjp(g: Any, out: Any, given: Any) -> Any:
    turned = T(out[0])
    return [_root_slope(turned, g[0])]


def _root_slope(root: Any, q: Any) -> Any:
    """X of root @ x + x @ root = q."""
    w = np.linalg.eigvals(plain(root))
    sums = np.abs(w[..., :, None] + w[..., None, :])
    if w.shape[-1] and np.any(
        np.min(sums, axis=(-1, -2)) <= w.shape[-1] * np.finfo(float).eps * np.max(sums, (-1, -2))
    ):
        raise np.linalg.LinAlgError("sqrtm has no derivative at a singular matrix")
    return sylvester(root, root, q)


_ROOT = Rule(_root_vjp, lambda t, out, given: [_root_slope(out[0], t[0])])


@of_variables
def sqrtm(A: Any, disp: Any = True, blocksize: int = 64) -> Any:  # noqa: N803
    """`scipy.linalg.sqrtm` of a matrix with a real square root."""
    if disp is False:
        raise refuse("sqrtm", "disp=False", "leave it out")
    function = _real("sqrtm")
    a = square(A, "scipy.linalg.sqrtm")
    return apply("sqrtm", lambda x: _matrices._stacked(function, x), _ROOT, a)[0]
