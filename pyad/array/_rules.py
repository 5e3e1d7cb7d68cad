"""Operations whose adjoint is a rule: factorizations, transforms, other libraries' functions.

The values are NumPy's (or SciPy's). A rule is a pair of functions

    vjp(adjoints, outputs, inputs) -> the adjoints of the inputs (None: zero)
    jvp(tangents, outputs, inputs) -> the tangents of the outputs (of the inputs None: zero)

written in operators, the helpers below and other operations of this kind. All of these take
ndarrays (in native sweeps) and Arrays (in recorded ones), so that one rule serves every order.
A rule without `jvp` is differentiated in its adjoints, in which it is linear:
J t = d/dg <vjp(g), t>.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from pyad import _handle
from pyad._binding import error
from pyad._handle import Array, Dual, Var
from pyad.array._convert import as_array
from pyad.array._guards import guarding, kept, read
from pyad.array._structure import rearranged, viewed

__all__ = [
    "Rule",
    "apply",
    "elementwise",
    "equals",
    "extended",
    "holds_variables",
    "is_variable",
    "operand",
    "plain",
    "plus",
    "push_forward",
    "seen",
    "select",
    "shape_of",
    "total",
    "transposed",
    "unbroadcast",
]

_Tuple = tuple[Any, ...]
_Vjp = Callable[[_Tuple, _Tuple, _Tuple], Sequence[Any]]


class Rule:
    """What the tape keeps of an operation; `vjp` and `jvp` are described at the head."""

    __slots__ = ("_vjp", "jvp")

    def __init__(self, vjp: _Vjp, jvp: _Vjp | None = None) -> None:
        self._vjp = vjp
        self.jvp = jvp

    def __call__(self, adjoints: _Tuple, outputs: _Tuple, inputs: _Tuple) -> Sequence[Any]:
        if all(type(g) is np.ndarray and not g.any() for g in adjoints):
            return [None] * len(inputs)  # a sweep goes no further, be it a singular matrix
        return self._vjp(adjoints, outputs, inputs)


# ---- operands ----------------------------------------------------------------------------------


def is_variable(*xs: Any) -> bool:
    """Whether an Array or a Var is among these."""
    return any(isinstance(x, (Array, Var)) for x in xs)


def holds_variables(*xs: Any) -> bool:
    """Whether variables of any kind are among these, in lists and object arrays of them too."""
    for x in xs:
        if isinstance(x, (Array, Var, Dual)):
            return True
        if isinstance(x, (list, tuple)):
            if holds_variables(*x):
                return True
        elif isinstance(x, np.ndarray) and x.dtype == object:
            return True
    return False


def operand(x: Any, what: str) -> Any:
    """`x` as an Array, a Var or an ndarray of floats."""
    if isinstance(x, (Array, Var)):
        return x
    if isinstance(x, Dual):
        _handle._refuse_dual(x)
    if isinstance(x, np.ndarray) and x.dtype == np.float64:
        return x
    if isinstance(x, (list, tuple)) and any(is_variable(item) for item in x):
        return as_array(x, what)
    if isinstance(x, (str, bytes, dict, set)) or x is None or callable(x):
        _handle._refuse(what, x)
    array = np.asarray(x)
    if array.dtype == object:
        return as_array(x, what)
    if array.dtype.kind not in "biuf":
        remedy = ": take its real and imaginary parts" if array.dtype.kind == "c" else ""
        raise error("NOT_A_NUMBER", what, f"an array of {array.dtype}", remedy)
    return array.astype(np.float64)


def plain(x: Any) -> Any:
    """The numbers of an operand, as a float or an ndarray; a read where guards are kept."""
    return x.value if isinstance(x, (Array, Var)) else x


def seen(x: Any) -> Any:
    """What comparisons look at: the numbers; where guards are kept, the operand itself."""
    return x if guarding() else plain(x)


def shape_of(x: Any) -> tuple[int, ...]:
    """The shape of an operand; () of a variable."""
    return () if isinstance(x, Var) else np.shape(x) if not isinstance(x, Array) else x.shape


def apply(name: str, value: Callable[..., Any], rule: Rule, *inputs: Any) -> tuple[Any, ...]:
    """Compute `value(*numbers)`, an array or a tuple of them, and record it with this rule.

    Gives ndarrays if no variable is among the inputs. What `value` raises passes through; the tape
    is unchanged then.
    """
    operands = tuple([operand(x, name) for x in inputs])

    def compute(*numbers: Any) -> tuple[Any, ...]:
        values = value(*numbers)
        if type(values) is not tuple:
            values = (values,)
        return tuple([np.array(v, dtype=np.float64, order="C", ndmin=0) for v in values])

    try:
        values = compute(*[_handle._peek(x) for x in operands])
    except Exception:  # which depends on the values: who catches it has decided by them
        if guarding():
            read(*operands)
        raise
    if not is_variable(*operands):
        return tuple([v[()] for v in values])
    results = _handle._array_call(name, values, compute, rule, operands)
    if results is values:
        results = tuple([constant(v) for v in values])
    return results  # type: ignore[no-any-return]


def constant(value: Any) -> Any:
    """An ndarray as an Array that depends on nothing."""
    if np.ndim(value) == 0:
        return _handle.var(float(value), requires_grad=False)
    return _handle._array_of_parts(value, None, _handle.current_tape())


# ---- what rules are written in, beside operators -----------------------------------------------


def transposed(x: Any) -> Any:
    """The last two axes exchanged."""
    if isinstance(x, Array):
        return x.T if x.ndim == 2 else viewed(_swap, x)
    return _swap(x)


def _swap(x: Any) -> Any:
    return x.swapaxes(-1, -2)


def total(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """The sum over axes."""
    if isinstance(x, Array):
        return _handle._array_sum(x, axis, keepdims)
    return x if isinstance(x, Var) else np.sum(x, axis=axis, keepdims=keepdims)


def unbroadcast(x: Any, shape: tuple[int, ...]) -> Any:
    """The adjoint of broadcasting from `shape`: sums over the axes that were repeated."""
    given = shape_of(x)
    if given == shape:
        return x
    extra = len(given) - len(shape)
    axes = tuple(range(extra)) + tuple(
        i + extra for i, n in enumerate(shape) if n == 1 and given[i + extra] != 1
    )
    if axes:
        x = total(x, axes, keepdims=True)
    return x.reshape(shape) if shape_of(x) != shape else x


def extended(x: Any, shape: tuple[int, ...]) -> Any:
    """`x` broadcast to `shape`."""
    if shape_of(x) == shape:
        return x
    if isinstance(x, Var):
        x = as_array(x, "broadcasting")
    if isinstance(x, Array):
        return rearranged(lambda a: np.broadcast_to(a, shape), x)
    return np.broadcast_to(x, shape)


def select(condition: Any, x: Any, y: Any) -> Any:
    """`x` where the condition (plain booleans) holds, else `y`: np.where."""
    if not is_variable(x, y):
        return np.where(condition, x, y)
    if np.ndim(condition) == 0 and not (shape_of(x) or shape_of(y)):
        chosen = x if condition else y
        return chosen if is_variable(chosen) else constant(chosen)
    return rearranged(lambda a, b: np.where(condition, a, b), x, y)


def equals(x: Any, y: Any) -> Any:
    """Where two are equal, as plain booleans."""
    return np.asarray(kept("==", x, y)) if is_variable(x, y) else np.equal(x, y)


def plus(*terms: Any) -> Any:
    """The sum of what is not None."""
    result = None
    for term in terms:
        if term is not None:
            result = term if result is None else result + term
    return result


def scaled(g: Any, x: Any) -> Any:
    """`g * x`, and 0 where the adjoint `g` is 0, whatever x is."""
    if is_variable(g, x):
        return g * x
    if np.all(np.isfinite(x)):
        return g * x
    with np.errstate(invalid="ignore"):
        return np.where(np.equal(g, 0), 0.0, g * x)


# ---- elementwise functions of other libraries --------------------------------------------------


def elementwise(
    name: str, function: Callable[..., Any], partials: Sequence[Any], *inputs: Any
) -> Any:
    """`function(*inputs)`, element by element with broadcasting.

    `partials[i](*inputs)` is the derivative in input i, again made of differentiable functions;
    None if there is none that could be given: then a variable there is refused.
    """
    operands = [operand(x, name) for x in inputs]
    needed: list[Any] = []
    for x, partial in zip(operands, partials, strict=True):
        varies = bool(getattr(x, "requires_grad", False))
        if varies and partial is None:
            known = [str(i + 1) for i, p in enumerate(partials) if p is not None]
            raise error(
                "ARGUMENTS",
                f"{name} has a derivative in its argument {' and '.join(known)} only: "
                "give the others as plain numbers, x.value or x.detach()"
                if known
                else f"{name} has no derivative: give it plain numbers, x.value or x.detach()",
            )
        needed.append(partial if varies else None)

    def vjp(g: _Tuple, out: _Tuple, given: _Tuple) -> list[Any]:
        with np.errstate(all="ignore"):  # at poles the slopes are those of IEEE 754
            return [
                None if p is None else unbroadcast(scaled(g[0], p(*given)), shape_of(x))
                for p, x in zip(needed, given, strict=True)
            ]

    def jvp(t: _Tuple, out: _Tuple, given: _Tuple) -> list[Any]:
        with np.errstate(all="ignore"):
            terms = [
                scaled(s, p(*given))
                for p, s in zip(needed, t, strict=True)
                if p is not None and s is not None
            ]
            return [extended(plus(*terms), shape_of(out[0]))]

    (result,) = apply(name, function, Rule(vjp, jvp), *operands)
    return result


# ---- tangents ----------------------------------------------------------------------------------


def push_forward(rule: Any, outputs: _Tuple, inputs: _Tuple, tangents: _Tuple) -> Sequence[Any]:
    """The tangents of the outputs; None stands for tangents that are zero.

    By the forward form of the rule, where it has one. Else by differentiating <vjp(g), t> in g.
    """
    jvp = getattr(rule, "jvp", None)
    if jvp is not None:
        return jvp(tangents, outputs, inputs)  # type: ignore[no-any-return]
    recorded = is_variable(*outputs, *inputs, *tangents)
    if recorded:
        return _slope(rule, outputs, inputs, tangents, create_graph=True)
    with _handle.Tape(), _recording():
        return _slope(rule, outputs, inputs, tangents, create_graph=False)


def _recording() -> Any:
    from pyad.modes import enable_grad

    return enable_grad()


def _slope(
    rule: Any, outputs: _Tuple, inputs: _Tuple, tangents: _Tuple, create_graph: bool
) -> list[Any]:
    seeds = [_handle.array(np.zeros(shape_of(y))) for y in outputs]
    adjoints = rule(tuple(seeds), outputs, inputs)
    terms = [
        total(x * t)
        for x, t in zip(adjoints, tangents, strict=True)
        if x is not None and t is not None
    ]
    product = plus(*terms)
    if product is None or not getattr(product, "requires_grad", False):
        return [np.zeros(shape_of(y)) for y in outputs]
    return _handle.gradient(product, seeds, None, create_graph, create_graph)
