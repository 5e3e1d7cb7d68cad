"""Determinants."""

from __future__ import annotations

from typing import Any

import numpy as np

from pyad import _handle
from pyad.array._guards import guarding, kept
from pyad.array._linalg._common import (
    T,
    for_each,
    known,
    matrix,
)
from pyad.array._linalg.solving import inv
from pyad.array._linalg.spectra import svd
from pyad.array._rules import (
    Rule,
    apply,
    plain,
    plus,
    seen,
    shape_of,
    total,
)

__all__ = [
    "det",
    "slogdet",
]


def _cofactors(a: Any) -> Any:
    """D det / da: det * inv.T, and from the singular values where a matrix is singular."""
    rows = np.sqrt(np.sum(seen(a) ** 2, axis=-1))
    lengths = np.prod(rows, axis=-1)  # Hadamard's bound
    if np.all(np.abs(np.linalg.det(seen(a))) > 1e-12 * lengths):
        return for_each(det(a)) * T(inv(a))
    u, s, vh = svd(a, full_matrices=False)
    n = shape_of(a)[-1]
    sign = np.round(np.linalg.det(plain(u)) * np.linalg.det(plain(vh)))
    columns = []
    for i in range(n):  # products without one factor, where division is impossible
        product = sign
        for j in range(n):
            if j != i:
                product = product * s[..., j]
        columns.append(for_each(product) * (u[..., :, i, None] * vh[..., i, None, :]))
    return plus(*columns)


_DET = Rule(
    lambda g, out, given: [for_each(g[0]) * _cofactors(given[0])],
    lambda t, out, given: [total(t[0] * _cofactors(given[0]), (-1, -2))],
)


def det(a: Any) -> Any:
    """The determinant; its derivative is the matrix of cofactors (Giles 2.2.4)."""
    return apply("det", np.linalg.det, _DET, matrix(a, "np.linalg.det"))[0]


_LOGDET = Rule(
    lambda g, out, given: [for_each(g[1]) * T(inv(given[0]))],
    lambda t, out, given: [0.0 * out[0], total(t[0] * T(inv(given[0])), (-1, -2))],
)


def slogdet(a: Any) -> Any:
    """Sign (plain numbers: it is constant) and logarithm of the determinant."""
    a = matrix(a, "np.linalg.slogdet")
    values = np.linalg.slogdet(_handle._peek(a))
    value = known(tuple(values), lambda x: tuple(np.linalg.slogdet(x)))
    sign, log = apply("slogdet", value, _LOGDET, a)
    if guarding():
        kept("==", sign, values[0])
    return type(values)(values[0], log)
