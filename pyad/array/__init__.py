"""Arrays: NumPy code, unchanged, on the tape. The type itself is in C, csrc/python/array.h."""

from pyad._handle import Array, array
from pyad.array import _functions, _methods

__all__ = ["Array", "array"]

_methods.install()
_functions.install()
