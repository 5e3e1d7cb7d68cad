"""Reverse-mode differentiation in pure Python: the whole idea of a tape on one page.

A recording is a list with one row `(i, wi, j, wj)` for each node: the indices of its arguments and
its weights, the local partial derivatives. An argument always precedes its node, so one pass over
the rows from the last to the first gives every derivative. Row 0 stands for all that is constant.
This is what pyad is measured against, so it is as fast as plain Python allows: rows are tuples of
numbers, which the garbage collector soon ignores, operators are written out, and nothing recurses.

>>> x, y = Node(2.0), Node(5.0)
>>> z = log(x) + x * y - sin(y)
>>> round(z.value, 6), [round(derivative, 6) for derivative in gradient(z, [x, y])]
(11.652071, [5.5, 1.716338])
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from typing import Any, final

__all__ = ["Node", "cos", "exp", "gradient", "log", "sin", "sqrt", "tanh"]

_CONSTANT = (0, 0.0, 0, 0.0)
_latest = [_CONSTANT]
_new = object.__new__


def _comparison(compare: Callable[[float, float], bool]) -> Callable[[Node, Any], bool]:
    return lambda self, other: compare(self.value, getattr(other, "value", other))


@final
class Node:
    """A number that records what is computed with it. A new leaf joins the latest recording."""

    __slots__ = ("index", "tape", "value")

    def __init__(self, value: float) -> None:
        self.value, self.tape, self.index = float(value), _latest, len(_latest)
        _latest.append(_CONSTANT)

    def __add__(self, other: Node | float) -> Node:
        node, tape = _new(Node), self.tape
        node.tape, node.index = tape, len(tape)
        if type(other) is Node:
            node.value = self.value + other.value
            tape.append((self.index, 1.0, other.index if other.tape is tape else _mixed(), 1.0))
        else:
            node.value = self.value + other
            tape.append((self.index, 1.0, 0, 0.0))
        return node

    def __sub__(self, other: Node | float) -> Node:
        if type(other) is not Node:
            return self + -other
        return _node(self.value - other.value, self, 1.0, other, -1.0)

    def __mul__(self, other: Node | float) -> Node:
        node, tape, x = _new(Node), self.tape, self.value
        node.tape, node.index = tape, len(tape)
        if type(other) is Node:
            node.value = x * other.value
            j = other.index if other.tape is tape else _mixed()
            tape.append((self.index, other.value, j, x))
        else:
            node.value = x * other
            tape.append((self.index, other, 0, 0.0))
        return node

    def __truediv__(self, other: Node | float) -> Node:
        if type(other) is not Node:
            return _node(self.value / other, self, 1.0 / other)
        quotient = self.value / other.value
        return _node(quotient, self, 1.0 / other.value, other, -quotient / other.value)

    def __pow__(self, other: Node | float) -> Any:
        if type(other) is Node:
            return exp(other * log(self))
        return _node(self.value**other, self, other * self.value ** (other - 1) if other else 0.0)

    def __rsub__(self, other: float) -> Node:
        return _node(other - self.value, self, -1.0)

    def __rtruediv__(self, other: float) -> Node:
        return _node(other / self.value, self, -other / self.value**2)

    def __rpow__(self, other: float) -> Any:
        return exp(self * math.log(other))

    def __neg__(self) -> Node:
        return _node(-self.value, self, -1.0)

    def __abs__(self) -> Node:
        return -self if self.value < 0.0 else self

    def __bool__(self) -> bool:
        return self.value != 0.0

    __radd__, __rmul__, __eq__ = __add__, __mul__, _comparison(operator.eq)
    __lt__, __le__ = _comparison(operator.lt), _comparison(operator.le)
    __gt__, __ge__ = _comparison(operator.gt), _comparison(operator.ge)


def _node(value: float, x: Node, x_weight: float, y: Node | None = None, weight: float = 0) -> Node:
    node, tape = _new(Node), x.tape
    node.value, node.tape, node.index = value, tape, len(tape)
    j = 0 if y is None else y.index if y.tape is tape else _mixed()
    tape.append((x.index, x_weight, j, weight))
    return node


def _mixed() -> int:
    raise ValueError("nodes of two recordings: after gradient(...) start again from new leaves")


def _function(f: Callable[[float], float], weight: Callable[[float, float], float]) -> Any:
    """`f` for floats and nodes; `weight` gives its derivative from x and f(x)."""

    def function(x: Any) -> Any:
        if type(x) is not Node:
            return f(x)
        y = f(x.value)
        return _node(y, x, weight(x.value, y))

    return function


exp = _function(math.exp, lambda x, y: y)
log = _function(math.log, lambda x, y: 1.0 / x)
sqrt = _function(math.sqrt, lambda x, y: 0.5 / y)
sin = _function(math.sin, lambda x, y: math.cos(x))
cos = _function(math.cos, lambda x, y: -math.sin(x))
tanh = _function(math.tanh, lambda x, y: 1.0 - y * y)


def gradient(y: Node, xs: Sequence[Node]) -> list[float]:
    """The derivatives of `y` with respect to `xs`. After it, record again from new leaves."""
    global _latest
    if y.tape is _latest:
        _latest = [_CONSTANT]
    adjoints = [0.0] * len(y.tape)
    adjoints[y.index] = 1.0
    # Reversed lists are read as the loop goes, so each adjoint is complete when its turn comes.
    for adjoint, (i, wi, j, wj) in zip(reversed(adjoints), reversed(y.tape), strict=True):
        if adjoint:
            adjoints[i] += adjoint * wi
            adjoints[j] += adjoint * wj
    return [adjoints[x.index] for x in xs]
