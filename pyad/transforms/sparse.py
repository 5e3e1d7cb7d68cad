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
    Scalars,
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
            scalars = Scalars(recording.tape, recording.start)
            inputs = scalars.nodes(np.array(recording.variables, dtype=np.uint32))
            outputs = scalars.nodes(self._outputs(recording))
            if self.pattern is not None:
                try:
                    return self._matrix(self.pattern, recording, scalars, inputs, outputs)
                except Error as changed:
                    if changed.code != "PATTERN_CHANGED":
                        raise
            self.pattern = self._find(scalars, inputs, outputs)
            return self._matrix(self.pattern, recording, scalars, inputs, outputs)

    def _matrix(
        self, pattern: P, recording: Recording, scalars: Scalars, inputs: Any, outputs: Any
    ) -> Any:
        values = self._values(pattern, scalars, inputs, outputs)
        if is_watching() and not np.all(np.isfinite(values)):
            self._watch(pattern, recording, int(np.flatnonzero(~np.isfinite(values))[0]))
        return pattern.to_scipy(values)

    def _outputs(self, recording: Recording) -> Any:
        """The nodes of the result."""
        raise NotImplementedError

    def _find(self, scalars: Scalars, inputs: Any, outputs: Any) -> P:
        raise NotImplementedError

    def _values(self, pattern: P, scalars: Scalars, inputs: Any, outputs: Any) -> Any:
        raise NotImplementedError

    def _watch(self, pattern: P, recording: Recording, entry: int) -> None:
        """Sweep for an entry that is not finite once more; raises, with the operation."""
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
        return np.array(recording.outputs()[2], dtype=np.uint32)

    def _find(self, scalars: Scalars, inputs: Any, outputs: Any) -> JacobianPattern:
        return jacobian_pattern(scalars.tape, scalars.start, inputs, outputs)

    def _values(self, pattern: JacobianPattern, scalars: Scalars, inputs: Any, outputs: Any) -> Any:
        return jacobian_values(pattern, scalars.tape, scalars.start, inputs, outputs)

    def _watch(self, pattern: JacobianPattern, recording: Recording, entry: int) -> None:
        row = int(np.searchsorted(pattern.indptr, entry, side="right")) - 1
        recording.jacobian_by_rows(self._outputs(recording)[row : row + 1])


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

    def _outputs(self, recording: Recording) -> Any:
        output = recording.node_of(recording.scalar("sparse_hessian"))
        return np.array([output], dtype=np.uint32)

    def _find(self, scalars: Scalars, inputs: Any, outputs: Any) -> HessianPattern:
        return hessian_pattern(scalars.tape, scalars.start, inputs, int(outputs[0]))

    def _values(self, pattern: HessianPattern, scalars: Scalars, inputs: Any, outputs: Any) -> Any:
        return hessian_values(pattern, scalars.tape, scalars.start, inputs, int(outputs[0]))

    def _watch(self, pattern: HessianPattern, recording: Recording, entry: int) -> None:
        direction = np.zeros((len(recording.variables), 1))
        direction[int(pattern.indices[entry])] = 1.0
        recording.second(recording.output, direction)


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
