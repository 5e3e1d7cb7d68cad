"""pyad: derivatives of ordinary Python functions, from a compiled tape.

>>> import pyad
>>> x, y = pyad.var(2.0), pyad.var(5.0)
>>> z = pyad.log(x) + x * y - pyad.sin(y)
>>> z.backward()
>>> x.grad
5.5

For pytest, which would warn if pyad was imported before its plugin was found: PYTEST_DONT_REWRITE.
"""

from numbers import Real as _Real

from pyad import _handle, linalg, math, scipy
from pyad import functions as _functions
from pyad import transforms as _transforms
from pyad._handle import *  # noqa: F403  (the operation table)
from pyad._handle import Dual, Var, current_tape, gradient, var, vars
from pyad.array import Array, array
from pyad.compiled import compile, load
from pyad.errors import Error
from pyad.functions import *  # noqa: F403  (what is made of it)
from pyad.modes import detect_anomaly, enable_grad, no_grad
from pyad.tape import Tape
from pyad.testing import check_grads, numerical_gradient
from pyad.transforms import *  # noqa: F403

__version__ = "0.1.0"

__all__ = [
    "Array",
    "Dual",
    "Error",
    "Tape",
    "Var",
    "array",
    "check_grads",
    "compile",
    "current_tape",
    "detect_anomaly",
    "enable_grad",
    "gradient",
    "linalg",
    "load",
    "math",
    "no_grad",
    "numerical_gradient",
    "scipy",
    "var",
    "vars",
]
__all__ += _handle.__all__
__all__ += _functions.__all__
__all__ += _transforms.__all__

_Real.register(Var)
_Real.register(Dual)
