"""First derivatives of functions with many results: Jacobians, and products with them."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from pyad import _handle
from pyad._binding import error
from pyad._handle import Dual, Var
from pyad.errors import Retrace
from pyad.modes import dual_level, was_asked
from pyad.tape import CONSTANT
from pyad.transforms._recording import (
    Recording,
    as_numbers,
    check_function,
    check_places,
    position_of,
)
from pyad.transforms._trees import (
    Branch,
    Numbers,
    Rows,
    Shape,
    flatten,
    flatten_like,
    is_flat,
    numbers_of,
    split,
    split_variables,
)
from pyad.transforms._watch import is_watching, lines_of, refuse_adjoints

__all__ = ["assemble", "jacfwd", "jacobian", "jacrev", "jvp", "make_jvp", "make_vjp", "vjp"]

Position = int | tuple[int, ...]


def jacobian(
    f: Callable[..., Any], argnums: Position = 0, *, argnum: Position | None = None
) -> Callable[..., Any]:
    """The function that computes the Jacobian of `f`, of shape `out.shape + in.shape`.

    Results and arguments may be numbers, arrays, or nested lists, tuples and dicts of them: then
    the Jacobian has the structure of the result, and in each of its places that of the argument.
    One recording, and as many sweeps as the fewer of results and arguments.

    >>> import numpy as np
    >>> import pyad
    >>> pyad.jacobian(lambda x: x[:2] * x[1:])(np.array([1.0, 2.0, 3.0]))
    array([[2., 1., 0.],
           [0., 3., 2.]])
    """
    check_function(f, "jacobian")
    return _jacobian(f, position_of(argnums, argnum), None)


def jacrev(
    f: Callable[..., Any], argnums: Position = 0, *, argnum: Position | None = None
) -> Callable[..., Any]:
    """`jacobian` by reverse sweeps, one for each result."""
    check_function(f, "jacrev")
    return _jacobian(f, position_of(argnums, argnum), False)


def jacfwd(
    f: Callable[..., Any], argnums: Position = 0, *, argnum: Position | None = None
) -> Callable[..., Any]:
    """`jacobian` by forward sweeps, one for each argument."""
    check_function(f, "jacfwd")
    return _jacobian(f, position_of(argnums, argnum), True)


def _jacobian(f: Callable[..., Any], position: Any, forward: bool | None) -> Callable[..., Any]:
    @functools.wraps(f, updated=())
    def compute(*args: Any, **kwargs: Any) -> Any:
        """The Jacobian at these arguments."""
        with Recording(f, position, args, kwargs) as recording:
            _, _, nodes, shape = recording.outputs()
            by_columns = len(recording.variables) < len(nodes) if forward is None else forward
            matrix: Any
            if recording.open:
                recording.keep()
                matrix = _recorded(recording, nodes, by_columns)
            elif by_columns:
                matrix = recording.jacobian_by_columns(nodes)
            else:
                matrix = recording.jacobian_by_rows(nodes)
            return assemble(matrix, shape, recording.shape)

    return compute


def _recorded(recording: Recording, nodes: Rows, by_columns: bool) -> Any:
    """The Jacobian as an array of variables, each row or column by a recorded sweep."""
    n = len(recording.variables)
    if not by_columns:
        return stacked([recording.recorded_gradient(int(node)) for node in nodes], n, recording)
    zeros = np.zeros(n, np.uint32)
    columns = [recording.recorded_forward(nodes, Numbers(row, zeros)) for row in np.eye(n)]
    return stacked(columns, len(nodes), recording).T


def stacked(rows: list[Numbers], width: int, recording: Recording) -> Any:
    """Vectors of variables as the rows of an array of variables."""
    values = np.concatenate([row.values for row in rows]) if rows else np.empty(0)
    nodes = np.concatenate([row.rows for row in rows]) if rows else np.empty(0, np.uint32)
    shape = (len(rows), width)
    return _handle._array_of_parts(values.reshape(shape), nodes.reshape(shape), recording.tape)


def assemble(matrix: Any, rows: Shape, columns: Shape) -> Any:
    """A matrix in the structure of its rows, and in each place that of its columns."""
    if is_flat(rows) and is_flat(columns):
        lines = matrix.tolist() if isinstance(matrix, np.ndarray) else map(list, matrix)
        return rows.join([columns.join(row) for row in lines])
    if isinstance(rows, Branch):
        parts, start = [], 0
        for child in rows.children:
            parts.append(assemble(matrix[start : start + child.size], child, columns))
            start += child.size
        return rows.join(parts)
    if isinstance(columns, Branch):
        parts, start = [], 0
        for child in columns.children:
            parts.append(assemble(matrix[:, start : start + child.size], rows, child))
            start += child.size
        return columns.join(parts)
    block = matrix.reshape(rows.shape + columns.shape)
    return block if block.shape else _single(block)


def _single(block: Any) -> Any:
    """A derivative of one number in one number."""
    return float(block) if isinstance(block, np.ndarray) else block[()]


# ---- products --------------------------------------------------------------------------------


def jvp(f: Callable[..., Any], primals: Sequence[Any], tangents: Sequence[Any]) -> tuple[Any, Any]:
    """(f(*primals), its derivative in the direction `tangents`), both structured as the result.

    Every argument takes part; `tangents` has the structure of `primals`.

    >>> import pyad
    >>> pyad.jvp(lambda x, y: x * y, (2.0, 3.0), (1.0, 0.0))
    (6.0, 3.0)
    """
    check_function(f, "jvp")
    if not isinstance(primals, (tuple, list)) or not isinstance(tangents, (tuple, list)):
        raise error("ARGUMENTS", "jvp takes a tuple of primals and a tuple of tangents")
    points, point_shape = flatten(tuple(primals), "a primal")
    leaves = as_numbers(flatten_like(tuple(tangents), point_shape, "a tangent of jvp"))
    plain = all(isinstance(x, (float, int)) for x in points + leaves)
    if plain and not _handle._is_nested() and not is_watching():
        with dual_level() as level:
            try:
                result = _on_duals(f, points, point_shape, leaves, level)
                if not was_asked(level):
                    return result
            except Retrace as retrace:
                if retrace.level != level:
                    raise
            except Exception:
                if not was_asked(level):
                    raise
    return _on_tape(f, primals, leaves)


def _on_duals(
    f: Callable[..., Any], points: list[Any], shape: Shape, tangents: list[Any], level: int
) -> tuple[Any, Any]:
    """`jvp` in constant memory. Raises `Retrace` where dual numbers cannot do it."""
    matrix = np.array(tangents, dtype=np.float64).reshape(len(points), 1)
    duals = _handle._duals(points, matrix, level) if points else []
    results, out = flatten(f(*shape.build(iter(duals))), "the result of a differentiated function")
    values, slopes = [], []
    for y in results:
        if isinstance(y, (np.ndarray, _handle.Array)) or (isinstance(y, Var) and y.requires_grad):
            raise Retrace(level)  # an array of duals among them: the tape knows arrays
        ours = isinstance(y, Dual) and y._level == level
        if isinstance(y, Dual) and not ours:
            _handle._refuse_dual(y)
        values.append(float(y.value if isinstance(y, (Var, Dual)) else y))
        slopes.append(y.tangent if ours else 0.0)
    return out.build(iter(values)), out.build(iter(slopes))


def _on_tape(f: Callable[..., Any], primals: Sequence[Any], tangents: list[Any]) -> tuple[Any, Any]:
    """`jvp` by a forward sweep, recorded where the result may be differentiated again."""
    with Recording(f, tuple(range(len(primals))), primals, {}) as recording:
        results, numbers, nodes, out = recording.outputs()
        directions = numbers_of(tangents, recording.tape, "a tangent of jvp")
        if recording.open or directions.any_variable:
            recording.keep()
            value = out.build(iter(recording.handles(results, numbers, nodes)))
            tangent = recording.recorded_forward(nodes, directions)
            return value, split_variables(out, tangent, recording.tape)
        slopes = recording.tangents(nodes, directions.values.reshape(-1, 1))[:, 0]
        return split(out, numbers.values), split(out, np.ascontiguousarray(slopes))


def vjp(f: Callable[..., Any], *primals: Any) -> tuple[Any, Callable[[Any], Any]]:
    """(f(*primals), pullback): the pullback takes a cotangent in the structure of the result.

    It gives the tuple of its products with the Jacobian, one for each primal.

    >>> import pyad
    >>> value, pullback = pyad.vjp(lambda x, y: x * y, 2.0, 3.0)
    >>> value, pullback(1.0)
    (6.0, (3.0, 2.0))
    """
    check_function(f, "vjp")
    positions = tuple(range(len(primals)))
    if not positions:
        raise error("ARGUMENTS", "vjp takes a function and at least one primal")
    return _vjp(f, positions, primals, {})


def _vjp(
    f: Callable[..., Any], positions: Any, args: Sequence[Any], kwargs: dict[str, Any]
) -> tuple[Any, Callable[[Any], Any]]:
    with Recording(f, positions, args, kwargs) as recording:
        results, numbers, nodes, out = recording.outputs()
        into = recording.shape
        if recording.open:
            recording.keep()
            value = out.build(iter(recording.handles(results, numbers, nodes)))
            pull = _recorded_pull(recording, nodes)
        else:
            value = split(out, numbers.values)
            pull = _native_pull(recording, nodes)

    def pullback(cotangent: Any) -> Any:
        leaves = as_numbers(flatten_like(cotangent, out, "the cotangent of a pullback"))
        return pull(leaves, into)

    return value, pullback


Pull = Callable[[list[Any], Shape], Any]


def _native_pull(recording: Recording, nodes: Rows) -> Pull:
    """Sweeps over a copy of the frame, which outlives it."""
    tape = recording.copy()
    start, variables = recording.start, recording.variables - np.uint32(recording.start)
    known = nodes != CONSTANT
    rows = nodes[known] - np.uint32(start)
    lines = lines_of(recording.tape, start)

    def sweep(cotangents: Any) -> Any:
        seeds = np.zeros((len(tape), *cotangents.shape[1:]))
        np.add.at(seeds, rows, cotangents[known])
        swept = tape.reverse(seeds)
        if is_watching():
            refuse_adjoints(tape, 0, swept.reshape(len(tape), -1), lines)
        return swept[variables]

    def pull(leaves: list[Any], into: Shape) -> Any:
        """The gradients of `sum(cotangent * value)`, by a sweep over the recording."""
        here = _handle.current_tape()
        cotangents = numbers_of(leaves, here, "the cotangent of a pullback")
        if not cotangents.any_variable:
            return split(into, sweep(cotangents.values))
        # Linear in the cotangents: a product with the transposed Jacobian.
        matrix = sweep(np.eye(len(nodes)))
        product = matrix @ _handle._array_of_parts(*cotangents, here)
        given = Numbers(*_handle._flat(here, [product], "a pullback", True))
        return split_variables(into, given, here)

    return pull


def _recorded_pull(recording: Recording, nodes: Rows) -> Pull:
    """Recorded sweeps over a frame that became part of the recording around it."""

    def pull(leaves: list[Any], into: Shape) -> Any:
        """The gradients of `sum(cotangent * value)`, recorded."""
        cotangents = numbers_of(leaves, recording.tape, "the cotangent of a pullback")
        return split_variables(into, recording.recorded_reverse(nodes, cotangents), recording.tape)

    return pull


def make_vjp(
    f: Callable[..., Any], argnums: Position = 0, *, argnum: Position | None = None
) -> Callable[..., Any]:
    """As in autograd: `make_vjp(f)(*args)` gives (pullback, value), in one argument."""
    check_function(f, "make_vjp")
    position = position_of(argnums, argnum)

    @functools.wraps(f, updated=())
    def make(*args: Any, **kwargs: Any) -> tuple[Callable[[Any], Any], Any]:
        """(pullback, value) at these arguments."""
        value, pullback = _vjp(f, position, args, kwargs)
        return pullback, value

    return make


def make_jvp(
    f: Callable[..., Any], argnums: Position = 0, *, argnum: Position | None = None
) -> Callable[..., Any]:
    """As in autograd: `make_jvp(f)(*args)(v)` gives (value, derivative in the direction v)."""
    check_function(f, "make_jvp")
    position = position_of(argnums, argnum)

    @functools.wraps(f, updated=())
    def make(*args: Any, **kwargs: Any) -> Callable[[Any], tuple[Any, Any]]:
        """The function of a tangent at these arguments."""
        check_places(position, args)

        def push(tangent: Any) -> tuple[Any, Any]:
            """(value, tangent of the value)."""
            if isinstance(position, tuple):
                chosen, tangents = [args[i] for i in position], tangent
            else:
                chosen, tangents = [args[position]], [tangent]
            places = position if isinstance(position, tuple) else (position,)

            def of_chosen(*given: Any) -> Any:
                full = list(args)
                for i, item in zip(places, given, strict=True):
                    full[i] = item
                return f(*full, **kwargs)

            return jvp(of_chosen, chosen, tangents)

        return push

    return make
