"""Functions recorded once and replayed natively.

A call evaluates the function on variables, as a transform does, and keeps the recording as a
program of the C library (`csrc/program/`): without what is not needed, equal operations shared, and
like ones grouped into loops over arrays. A later call with arguments of the same layout runs the
program. Every decision that Python took on a value (a comparison, a branch, `int`, a sort order) is
a *guard* of the program, checked at each run: where one comes out differently, the function is
recorded again, and both recordings are kept.

Where a recording cannot be used again (a value was taken out of it: `x.value`, `print(x)`; an
argument whose state cannot be followed), the function is evaluated as the transforms do at every
call; a warning says so, once.

Reading path: `_arguments` (layouts), `_program` (one recording), `_recordings` (which of them
fits), `_evaluator` (how a call is answered), `_compiled` (the derivatives), `_batch` (many rows),
`_surroundings` (what else a recording depends on).
"""

from __future__ import annotations

from pyad.compiled._compile import compile
from pyad.compiled._compiled import Compiled
from pyad.compiled._files import load

__all__ = ["Compiled", "compile", "load"]
