"""Sparse Jacobians and Hessians: a pattern is found and coloured once, and serves later points."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

import numpy as np

from pyad._binding import error
from pyad.errors import Error
from pyad.transforms._recording import Recording, check_function, position_of
from pyad.transforms._sparsity import (
    HessianPattern,
    JacobianPattern,
    SparsityPattern,
    hessian_pattern,
    hessian_values,
    jacobian_pattern,
    jacobian_values,
)
from pyad.transforms._watch import is_watching

__all__ = ["SparseHessian", "SparseJacobian", "sparse_hessian", "sparse_jacobian"]

P = TypeVar("P", bound=SparsityPattern)


class _Sparse(Generic[P]):
    """A function together with the pattern of its derivative, found at the first point."""

    def __init__(
        self, f: Callable[..., Any], argnums: int = 0, *, pattern: P | None = None
    ) -> None:
        check_function(f, type(self).__name__)
        self.f, self.argnums = f, position_of(argnums, None)
        self.pattern = pattern
        """Pattern and colours; None before the first point. It can be pickled, and given again."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Compute the derivative at a point, a `scipy.sparse.csr_array`.

        A recording whose pattern goes beyond the one at hand (a branch taken otherwise) gets a new
        pattern.
        """
        with Recording(self.f, self.argnums, args, kwargs) as recording:
            if recording.open:
                raise error("SPARSE_OPEN")
            inputs = np.array(recording.variables, dtype=np.uint32)
            if self.pattern is not None:
                try:
                    return self.pattern.to_scipy(self._values(self.pattern, recording, inputs))
                except Error as changed:
                    if changed.code != "PATTERN_CHANGED":
                        raise
            self.pattern = self._find(recording, inputs)
            return self.pattern.to_scipy(self._values(self.pattern, recording, inputs))

    def _find(self, recording: Recording, inputs: Any) -> P:
        raise NotImplementedError

    def _values(self, pattern: P, recording: Recording, inputs: Any) -> Any:
        raise NotImplementedError


class SparseJacobian(_Sparse[JacobianPattern]):
    """The sparse Jacobian of `f`, with results and arguments in a row: shape (results, arguments).

    >>> import numpy as np
    >>> import pyad
    >>> jacobian = pyad.SparseJacobian(lambda x: x[1:] * x[:-1])
    >>> jacobian(np.array([1.0, 2.0, 3.0])).toarray()
    array([[2., 1., 0.],
           [0., 3., 2.]])
    >>> jacobian.pattern.colour_count
    2
    """

    def _outputs(self, recording: Recording) -> Any:
        return np.array(recording.outputs()[1], dtype=np.uint32)

    def _find(self, recording: Recording, inputs: Any) -> JacobianPattern:
        return jacobian_pattern(recording.tape, recording.start, inputs, self._outputs(recording))

    def _values(self, pattern: JacobianPattern, recording: Recording, inputs: Any) -> Any:
        outputs = self._outputs(recording)
        values = jacobian_values(pattern, recording.tape, recording.start, inputs, outputs)
        if is_watching() and not np.all(np.isfinite(values)):
            entry = int(np.flatnonzero(~np.isfinite(values))[0])
            row = int(np.searchsorted(pattern.indptr, entry, side="right")) - 1
            recording.jacobian_by_rows(outputs[row : row + 1])  # raises, with the operation
        return values


class SparseHessian(_Sparse[HessianPattern]):
    """The sparse Hessian of `f`, with the arguments in a row.

    >>> import numpy as np
    >>> import pyad
    >>> hessian = pyad.SparseHessian(lambda x: x[0] * x[1] ** 2)
    >>> hessian(np.array([1.0, 2.0, 3.0])).toarray()
    array([[0., 4., 0.],
           [4., 2., 0.],
           [0., 0., 0.]])
    """

    def _output(self, recording: Recording) -> int:
        return recording.node_of(recording.scalar("sparse_hessian"))

    def _find(self, recording: Recording, inputs: Any) -> HessianPattern:
        return hessian_pattern(recording.tape, recording.start, inputs, self._output(recording))

    def _values(self, pattern: HessianPattern, recording: Recording, inputs: Any) -> Any:
        output = self._output(recording)
        values = hessian_values(pattern, recording.tape, recording.start, inputs, output)
        if is_watching() and not np.all(np.isfinite(values)):
            entry = int(np.flatnonzero(~np.isfinite(values))[0])
            direction = np.zeros((len(inputs), 1))
            direction[int(pattern.indices[entry])] = 1.0
            recording.second(recording.output, direction)  # raises, with the operation
        return values


def sparse_jacobian(f: Callable[..., Any], x: Any) -> Any:
    """The Jacobian of `f` at `x` as a `scipy.sparse.csr_array` of shape (results, arguments).

    The pattern is found by propagating index sets through the recording, and coloured; one sweep
    for each colour finds the values. For several points make a `SparseJacobian`, which keeps
    both. Raises `RuntimeError` if SciPy is not installed.
    """
    return SparseJacobian(f)(x)


def sparse_hessian(f: Callable[..., Any], x: Any) -> Any:
    """The Hessian of `f` at `x` as a `scipy.sparse.csr_array`; see `sparse_jacobian`."""
    return SparseHessian(f)(x)
