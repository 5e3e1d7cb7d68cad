"""Products: `dot`, `tensordot`, `einsum` and their like, composed of matrix products."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from pyad import _handle
from pyad._handle import Array
from pyad.array._common import (
    check_float,
    into,
    lifted,
    normal_axis,
    only_default,
    scalar,
)
from pyad.array._sparse import is_sparse, sparse_product
from pyad.array._structure import viewed

__all__ = ["FUNCTIONS", "dot", "einsum", "tensordot"]


def dot(a: Any, b: Any, out: Any = None) -> Any:
    """`np.dot`."""
    if is_sparse(a) or is_sparse(b):
        return into(out, sparse_product(a, b))
    a, b = lifted(a, "np.dot"), lifted(b, "np.dot")
    if a.ndim == 0 or b.ndim == 0:
        return into(out, a * b)
    if b.ndim <= 2 and (a.ndim <= 2 or b.ndim == 1):
        return into(out, a @ b)
    return into(out, tensordot(a, b, ([-1], [-2 if b.ndim > 1 else 0])))


def inner(a: Any, b: Any, /) -> Any:
    """`np.inner`."""
    a, b = lifted(a, "np.inner"), lifted(b, "np.inner")
    if a.ndim == 0 or b.ndim == 0:
        return a * b
    return tensordot(a, b, ([-1], [-1]))


def outer(a: Any, b: Any, out: Any = None) -> Any:
    """`np.outer`."""
    a, b = lifted(a, "np.outer").reshape(-1), lifted(b, "np.outer").reshape(-1)
    return into(out, a.reshape(-1, 1) * b.reshape(1, -1) if a.size and b.size else _hollow(a, b))


def _hollow(a: Array, b: Array) -> Any:
    return a[:, None] * b[None, :]


def vdot(a: Any, b: Any, /) -> Any:
    """`np.vdot`."""
    return lifted(a, "np.vdot").reshape(-1) @ lifted(b, "np.vdot").reshape(-1)


def vecdot(
    x1: Any, x2: Any, /, out: Any = None, *, axis: Any = -1, dtype: Any = None, **options: Any
) -> Any:
    """`np.vecdot`: the products of vectors along an axis."""
    check_float(dtype, "np.vecdot")
    only_default("np.vecdot", axes=(options.get("axes"), None))
    x1, x2 = lifted(x1, "np.vecdot"), lifted(x2, "np.vecdot")
    if axis != -1:
        x1 = viewed(lambda v: np.moveaxis(v, axis, -1), x1)
        x2 = viewed(lambda v: np.moveaxis(v, axis, -1), x2)
    _same_length("np.vecdot", x1, -1, x2, -1)
    return into(out, _handle._array_sum(x1 * x2, -1))


def _same_length(what: str, a: Array, i: int, b: Array, j: int) -> None:
    if a.ndim < -i or b.ndim < -j or a.shape[i] != b.shape[j]:
        raise ValueError(f"{what}: the shapes {a.shape} and {b.shape} do not fit together")


def matvec(x1: Any, x2: Any, /, out: Any = None, **options: Any) -> Any:
    """`np.matvec`."""
    only_default("np.matvec", axes=(options.get("axes"), None))
    x1, x2 = lifted(x1, "np.matvec"), lifted(x2, "np.matvec")
    return into(out, scalar((x1 @ x2[..., None])[..., 0]))


def vecmat(x1: Any, x2: Any, /, out: Any = None, **options: Any) -> Any:
    """`np.vecmat`."""
    only_default("np.vecmat", axes=(options.get("axes"), None))
    x1, x2 = lifted(x1, "np.vecmat"), lifted(x2, "np.vecmat")
    return into(out, scalar((x1[..., None, :] @ x2)[..., 0, :]))


def matmul(x1: Any, x2: Any, /, out: Any = None, *, dtype: Any = None, **options: Any) -> Any:
    """`np.matmul`."""
    check_float(dtype, "np.matmul")
    only_default("np.matmul", axes=(options.get("axes"), None), axis=(options.get("axis"), None))
    return into(out, lifted(x1, "np.matmul") @ lifted(x2, "np.matmul"))


def tensordot(a: Any, b: Any, axes: Any = 2) -> Any:
    """`np.tensordot`."""
    a, b = lifted(a, "np.tensordot"), lifted(b, "np.tensordot")
    try:
        of_a, of_b = axes
    except TypeError:
        of_a, of_b = list(range(a.ndim - axes, a.ndim)), list(range(axes))
    of_a = [normal_axis(k, a.ndim) for k in np.atleast_1d(np.asarray(of_a, np.intp)).tolist()]
    of_b = [normal_axis(k, b.ndim) for k in np.atleast_1d(np.asarray(of_b, np.intp)).tolist()]
    if len(of_a) != len(of_b) or any(
        a.shape[i] != b.shape[j] for i, j in zip(of_a, of_b, strict=True)
    ):
        raise ValueError("shape-mismatch for sum")
    kept_a = [k for k in range(a.ndim) if k not in of_a]
    kept_b = [k for k in range(b.ndim) if k not in of_b]
    shape = tuple([a.shape[k] for k in kept_a] + [b.shape[k] for k in kept_b])
    left = viewed(lambda v: v.transpose(kept_a + of_a), a)
    right = viewed(lambda v: v.transpose(of_b + kept_b), b)
    count = _product(a.shape[k] for k in of_a)
    left = left.reshape((_product(a.shape[k] for k in kept_a), count))
    right = right.reshape((count, _product(b.shape[k] for k in kept_b)))
    return scalar((left @ right).reshape(shape))


def _product(sides: Any) -> int:
    count = 1
    for side in sides:
        count *= side
    return count


def kron(a: Any, b: Any) -> Any:
    """`np.kron`."""
    a, b = lifted(a, "np.kron"), lifted(b, "np.kron")
    ndim = max(a.ndim, b.ndim)
    if a.ndim == 0 or b.ndim == 0:
        return a * b
    of_a = (1,) * (ndim - a.ndim) + tuple(a.shape)
    of_b = (1,) * (ndim - b.ndim) + tuple(b.shape)
    left = a.reshape(tuple(s for side in of_a for s in (side, 1)))
    right = b.reshape(tuple(s for side in of_b for s in (1, side)))
    return (left * right).reshape(tuple(i * j for i, j in zip(of_a, of_b, strict=True)))


def cross(
    a: Any, b: Any, axisa: Any = -1, axisb: Any = -1, axisc: Any = -1, axis: Any = None
) -> Any:
    """`np.cross` of vectors of length 3 (or 2, as far as NumPy has it)."""
    if axis is not None:
        axisa = axisb = axisc = axis
    a = viewed(lambda v: np.moveaxis(v, axisa, -1), lifted(a, "np.cross"))
    b = viewed(lambda v: np.moveaxis(v, axisb, -1), lifted(b, "np.cross"))
    if a.shape[-1] not in (2, 3) or b.shape[-1] not in (2, 3):
        raise ValueError("incompatible dimensions for cross product\n(dimension must be 2 or 3)")
    if a.shape[-1] == 2 and b.shape[-1] == 2:
        return scalar(a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0])
    from pyad.array._structure import FUNCTIONS as STRUCTURE

    if a.shape[-1] == 2:
        a = STRUCTURE[np.pad](a, [(0, 0)] * (a.ndim - 1) + [(0, 1)])
    if b.shape[-1] == 2:
        b = STRUCTURE[np.pad](b, [(0, 0)] * (b.ndim - 1) + [(0, 1)])
    result = a[..., [1, 2, 0]] * b[..., [2, 0, 1]] - a[..., [2, 0, 1]] * b[..., [1, 2, 0]]
    return viewed(lambda v: np.moveaxis(v, -1, axisc), result)


# ---- einsum --------------------------------------------------------------------------------------

_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def _letter(k: Any) -> str:
    return "..." if k is Ellipsis else _LETTERS[k]


def _read_subscripts(operands: Any) -> tuple[list[str], str, list[Array]]:
    """Labels of each operand and of the result; `...` has become labels of its own."""
    if isinstance(operands[0], str):
        text = operands[0].replace(" ", "")
        arrays = [lifted(x, "np.einsum") for x in operands[1:]]
    else:
        pairs = list(operands)
        last = pairs.pop() if len(pairs) % 2 else None
        arrays = [lifted(x, "np.einsum") for x in pairs[::2]]
        text = ",".join("".join(map(_letter, labels)) for labels in pairs[1::2])
        if last is not None:
            text += "->" + "".join(map(_letter, last))
    left, arrow, right = text.partition("->")
    terms = left.split(",")
    if len(terms) != len(arrays):
        raise ValueError("einstein sum: the number of operands does not fit the subscripts")
    free = [c for c in map(chr, range(0x100, 0x200)) if c not in text]
    longest = 0
    for i, (term, a) in enumerate(zip(terms, arrays, strict=True)):
        named = len(term.replace("...", ""))
        if "..." in term:
            extra = a.ndim - named
            if extra < 0:
                raise ValueError("einstein sum: too many subscripts for an operand")
            longest = max(longest, extra)
        elif named != a.ndim:
            raise ValueError("einstein sum: the subscripts do not fit the dimensions of an operand")
        terms[i] = term
    dots = "".join(free[:longest])
    for i, (term, a) in enumerate(zip(terms, arrays, strict=True)):
        extra = a.ndim - len(term.replace("...", ""))
        terms[i] = term.replace("...", dots[longest - extra :])
    if arrow:
        result = right.replace("...", dots)
    else:
        every = "".join(terms)
        result = dots + "".join(
            sorted(c for c in set(every) if every.count(c) == 1 and c not in dots)
        )
    if len(set(result)) != len(result) or any(c not in "".join(terms) for c in result):
        raise ValueError(
            "einstein sum: each label of the result stands there once, and in an operand"
        )
    return terms, result, arrays


def _without_repeats(term: str, a: Array) -> tuple[str, Array]:
    """Repeated labels of one operand mean its diagonal: a view."""
    for label in dict.fromkeys(term):
        while term.count(label) > 1:
            i, j = term.index(label), term.rindex(label)
            if a.shape[i] != a.shape[j]:
                raise ValueError(f"einstein sum: the lengths for the label {label!r} differ")
            a = viewed(lambda v, i=i, j=j: v.diagonal(0, i, j), a)
            term = "".join(c for k, c in enumerate(term) if k not in (i, j)) + label
    return term, a


def _summed(term: str, a: Any, keep: set[str]) -> tuple[str, Any]:
    """Sum over the labels that stand nowhere else."""
    axes = tuple(k for k, c in enumerate(term) if c not in keep)
    if not axes:
        return term, a
    return "".join(c for c in term if c in keep), lifted(_handle._array_sum(a, axes))


def _pair(s: str, a: Array, t: str, b: Array, keep: set[str]) -> tuple[str, Array]:
    """The product of two operands, summed over the labels not to be kept."""
    # Lengths of 1 broadcast: such a label counts as missing where the other operand has it.
    for label in set(s) & set(t):
        i, j = a.shape[s.index(label)], b.shape[t.index(label)]
        if i == j:
            continue
        if i == 1:
            a, s = a[(slice(None),) * s.index(label) + (0,)], s.replace(label, "")
        elif j == 1:
            b, t = b[(slice(None),) * t.index(label) + (0,)], t.replace(label, "")
        else:
            raise ValueError(f"einstein sum: the lengths for the label {label!r} differ")
        a, b = lifted(a), lifted(b)
    s, a = _summed(s, a, keep | set(t))
    t, b = _summed(t, b, keep | set(s))
    both = [c for c in s if c in t]
    batch, inner_ = [c for c in both if c in keep], [c for c in both if c not in keep]
    only_s, only_t = [c for c in s if c not in t], [c for c in t if c not in s]
    side = {c: a.shape[s.index(c)] for c in s} | {c: b.shape[t.index(c)] for c in t}

    def sides(labels: list[str]) -> list[int]:
        return [side[c] for c in labels]

    def turned(x: Array, term: str, labels: list[str]) -> Array:
        order = [term.index(c) for c in labels]
        return x if order == list(range(x.ndim)) else viewed(lambda v: v.transpose(order), x)

    labels = "".join(batch + only_s + only_t)
    if not inner_:
        left = turned(a, s, batch + only_s).reshape((*sides(batch + only_s), *[1] * len(only_t)))
        right = turned(b, t, batch + only_t)
        right = right.reshape((*sides(batch), *[1] * len(only_s), *sides(only_t)))
        return labels, lifted(left * right)
    m, k, n = (_product(sides(c)) for c in (only_s, inner_, only_t))
    left = turned(a, s, batch + only_s + inner_).reshape((*sides(batch), m, k))
    right = turned(b, t, batch + inner_ + only_t).reshape((*sides(batch), k, n))
    made = (left @ right).reshape(tuple(sides(batch + only_s + only_t)))
    return labels, made


def einsum(
    *operands: Any,
    out: Any = None,
    dtype: Any = None,
    order: Any = "K",
    casting: Any = "safe",
    optimize: Any = False,
) -> Any:
    """`np.einsum`: operands pair by pair, in the order that `np.einsum_path` finds."""
    check_float(dtype, "np.einsum")
    terms, result, arrays = _read_subscripts(operands)
    items: list[tuple[str, Array]] = [
        _without_repeats(term, a) for term, a in zip(terms, arrays, strict=True)
    ]
    for i, j in _path(items, result):
        (t, b), (s, a) = items.pop(max(i, j)), items.pop(min(i, j))
        keep = set(result).union(*(set(term) for term, _ in items))
        items.append(_pair(s, a, t, b, keep))
    term, total = _summed(*items[0], set(result))
    turn = [term.index(c) for c in result]
    if turn != list(range(len(turn))):
        total = viewed(lambda v: v.transpose(turn), total)
    total = scalar(total)
    if len(arrays) == 1 and total is arrays[0]:
        total = viewed(lambda v: v[...], total)
    return into(out, total)


def _path(items: list[tuple[str, Array]], result: str) -> list[tuple[int, int]]:
    """Which two operands to multiply next; the product goes to the end of the list."""
    count = len(items)
    if count <= 2:
        return [(0, 1)] * (count - 1)
    names = dict(zip(dict.fromkeys("".join(term for term, _ in items)), _LETTERS, strict=False))
    if len(names) < len(set("".join(term for term, _ in items))):
        return [(0, 1)] * (count - 1)
    text = ",".join("".join(names[c] for c in term) for term, _ in items)
    shapes = [np.broadcast_to(0.0, a.shape) for _, a in items]
    path: list[tuple[int, int]] = []
    text += "->" + "".join(names[c] for c in result)
    try:
        found = np.einsum_path(text, *shapes, optimize="greedy")[0][1:]
    except (ValueError, TypeError):
        return [(0, 1)] * (count - 1)
    for step in found:
        left = count
        group = sorted(step)
        if len(group) == 1:
            continue
        while len(group) > 1:  # three at once: two, and that with the third
            i, j = group[0], group[1]
            path.append((i, j))
            left -= 1
            group = [k - 1 - (k > j) for k in group[2:]] + [left - 1]
            group.sort()
        count = left
    return path


FUNCTIONS: dict[Any, Callable[..., Any]] = {
    np.dot: dot,
    np.inner: inner,
    np.outer: outer,
    np.vdot: vdot,
    np.tensordot: tensordot,
    np.einsum: einsum,
    np.kron: kron,
    np.cross: cross,
}
_OF_LINALG: dict[str, Callable[..., Any]] = {
    "cross": lambda x1, x2, /, *, axis=-1: cross(x1, x2, axis=axis),
    "matmul": lambda x1, x2, /: matmul(x1, x2),
    "outer": lambda x1, x2, /: outer(x1, x2),
    "tensordot": lambda x1, x2, /, *, axes=2: tensordot(x1, x2, axes),
    "vecdot": lambda x1, x2, /, *, axis=-1: vecdot(x1, x2, axis=axis),
}
FUNCTIONS |= {getattr(np.linalg, n): f for n, f in _OF_LINALG.items() if hasattr(np.linalg, n)}
