"""How a compiled function answers: by a recording that fits, or evaluated as it is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

import pyad
from pyad import _handle
from pyad._binding import error
from pyad.compiled._arguments import (
    NUMBER,
    Role,
    Shaped,
    build,
    flat,
    has_opaque,
    is_numeric,
    layout_of,
    layout_of_shape,
    size_of,
)
from pyad.compiled._program import Program
from pyad.compiled._quick import Position, Quick, key_of, put
from pyad.compiled._recordings import Call, Recordings, Run
from pyad.errors import Error
from pyad.tape import CONSTANT
from pyad.transforms._recording import Recording, as_scalar, check_places
from pyad.transforms._sparsity import Scalars, hessian_pattern, jacobian_pattern
from pyad.transforms._trees import Shape, flatten, is_flat, split, values_of
from pyad.transforms._watch import is_watching

__all__ = ["Evaluator", "have_variables", "split_numbers"]

Floats = npt.NDArray[np.float64]

_SHORT = frozenset({"value", "main", "gradient"})
"""Kinds of results that take no more than the arguments."""
_FLOAT64 = np.dtype(np.float64)
_is_nested = _handle._is_nested


class Evaluator:
    """A function, what is differentiated in it, and its recordings."""

    def __init__(self, f: Callable[..., Any], argnums: Position, has_aux: bool) -> None:
        self.f, self.argnums, self.has_aux = f, argnums, has_aux
        self._state = Recordings()

    def _main(self, *args: Any, **kwargs: Any) -> Any:
        """The function without `aux`."""
        if not self.has_aux:
            return self.f(*args, **kwargs)
        output = self.f(*args, **kwargs)
        if not isinstance(output, tuple) or len(output) != 2:
            raise error("ARGUMENTS", "with has_aux=True the function returns a pair (value, aux)")
        return output[0]

    def _scalar(self, *args: Any, **kwargs: Any) -> Any:
        """The function without `aux`, which must give one number."""
        return as_scalar(self._main(*args, **kwargs), "hessian")

    def _evaluate(self, kind: str, args: Any, kwargs: Any, more: Sequence[Any]) -> Any:
        """What is recorded for a kind of result."""
        if kind in ("value", "vjp"):
            return self.f(*args, **kwargs)
        if kind == "main":
            return self._main(*args, **kwargs)
        if kind == "gradient":
            return pyad.grad(self._scalar, self.argnums)(*args, **kwargs)
        if kind == "jvp":
            return pyad.jvp(self.f, args, tuple(more[0]))
        places = self.argnums if isinstance(self.argnums, tuple) else (self.argnums,)

        def of_chosen(*chosen: Any) -> Any:
            full = list(args)
            for i, item in zip(places, chosen, strict=True):
                full[i] = item
            return self._main(*full, **kwargs)

        tangents = more[0] if isinstance(self.argnums, tuple) else (more[0],)
        return pyad.jvp(of_chosen, [args[i] for i in places], tangents)[1]

    def _call(self, args: Sequence[Any], kwargs: dict[str, Any], strict: bool = True) -> Call:
        """Split the arguments; without `strict` it may be that there is nothing at `argnums`."""
        if strict:
            check_places(self.argnums, args)
        chosen = self.argnums if isinstance(self.argnums, tuple) else (self.argnums,)
        places = {i + len(args) if i < 0 else i for i in chosen}
        data = self._state.data
        roles = [Role.DIFFERENTIATED if i in places else data for i in range(len(args))]
        call = Call(args, roles, kwargs, data)
        if strict and not all(is_numeric(call.layout.children[0].children[i]) for i in places):
            flatten([args[i] for i in chosen], "a differentiated argument")  # raises
        return call

    def _run(
        self, kind: str, call: Call, args: Sequence[Any], kwargs: dict[str, Any]
    ) -> Run | None:
        """A recording that fits, evaluated; None where the function is to be evaluated as it is.

        So it is where variables of a recording around it are among the arguments, or may be
        reached otherwise.
        """
        if call.has_variables or _is_nested() or is_watching():
            return None
        shortcuts = self._state.quick
        run = self._run_any(kind, call, args, kwargs)
        key = None if run is None or kwargs or kind not in _SHORT else key_of(args)
        if run is not None and key is not None and run.program.serves(args):
            put(shortcuts, (kind, key), run.program)
        return run

    def _run_any(
        self, kind: str, call: Call, args: Sequence[Any], kwargs: dict[str, Any]
    ) -> Run | None:

        def evaluate(given: Any) -> Any:
            return self._evaluate(kind, given[0], given[1], given[2:])

        state = self._state
        if state.data is Role.CONSTANT or all(call.active) or kind == "vjp" or kind == "jvp":
            return state.run(self.f, kind, evaluate, call)
        try:
            return state.run(self.f, kind, evaluate, call)
        except (TypeError, AttributeError):  # of data that a function wants as plain floats
            state.data = Role.CONSTANT
            try:
                constant = self._call(args, kwargs)
                if kind == "push":
                    raise
                return state.run(self.f, kind, evaluate, constant)
            except BaseException:
                state.data = Role.DATA
                raise

    def _run_short(self, kind: str, args: Sequence[Any], kwargs: dict[str, Any]) -> Run | None:
        """The run of the last program for floats and arrays of these shapes, if it fits."""
        key = None if kwargs else key_of(args)
        program = None if key is None else self._state.quick.get((kind, key))
        if program is None or _is_nested() or is_watching() or not self._is_calm():
            return None
        x = flat(args)
        room = program.take()
        if program.run(room, x):
            return Run(program, room, x.size)
        program.rooms.append(room)
        return None

    def _is_calm(self) -> bool:
        """Whether what is around the function is known, and as it was."""
        around = self._state.around
        return around is not None and around.are_as_they_were()

    def _derived(self, kind: str, args: Sequence[Any], kwargs: dict[str, Any]) -> Run | None:
        """A run for a derivative, the short way if there is one."""
        short = self._run_short(kind, args, kwargs)
        return short or self._run(kind, self._call(args, kwargs), args, kwargs)

    def _selected(self, program: Program, args: Sequence[Any]) -> tuple[Shape, Any]:
        """The shape of what is differentiated, and its places among the inputs."""
        if program.selected is None:
            chosen = self.argnums if isinstance(self.argnums, tuple) else (self.argnums,)
            items = [args[i] for i in chosen]
            selected = tuple(items) if isinstance(self.argnums, tuple) else items[0]
            shape = flatten(selected, "a differentiated argument")[1]
            ends = np.cumsum([0, *(size_of(c) for c in program.inputs.children[0].children)])
            where = [i % len(args) for i in chosen]
            index: Any = slice(int(ends[where[0]]), int(ends[where[0] + 1]))
            if len(where) > 1:
                index = np.concatenate([np.arange(ends[i], ends[i + 1]) for i in where])
            program.selected = shape, index
        return program.selected  # type: ignore[no-any-return]

    def _push(
        self,
        call: Call,
        args: Sequence[Any],
        kwargs: dict[str, Any],
        shape: Shape,
        tangents: Floats,
        rows: int,
    ) -> Floats | None:
        """The Jacobian times tangents: (rows, tangents)."""
        product = np.empty((rows, len(tangents)))
        for k, row in enumerate(tangents):
            given = flatten(split(shape, np.ascontiguousarray(row)), "a tangent")[0]
            extended = Call.extended(call, layout_of_shape(shape), given)
            run = self._run("push", extended, args, kwargs)
            if run is None:
                return None
            with run:
                product[:, k] = run.values
        return product

    def _pattern(
        self, kind: str, program: Program, args: Sequence[Any], kwargs: dict[str, Any]
    ) -> Any:
        """The sparsity pattern of a program, found by recording the function once more."""
        pattern = program.patterns.get(kind)
        if pattern is None:
            with Recording(self._main, self.argnums, args, kwargs) as recording:
                scalars = Scalars(recording.tape, recording.start)
                inputs = scalars.nodes(np.array(recording.variables, dtype=np.uint32))
                where = scalars.tape, scalars.start, inputs
                if kind == "hessian":
                    y = recording.node_of(recording.scalar("sparse_hessian"))
                    node = scalars.nodes(np.array([y], dtype=np.uint32))[0]
                    pattern = hessian_pattern(*where, int(node))
                else:
                    nodes = np.array(recording.outputs()[2], dtype=np.uint32)
                    pattern = jacobian_pattern(*where, scalars.nodes(nodes))
            program.patterns[kind] = pattern
        return pattern

    # ---- what cannot be replayed --------------------------------------------------------

    def _value_eagerly(self, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        """The value by evaluating the function: on variables, whose methods it may use."""
        leaves: list[Any] = []
        layout_of([list(args), kwargs], leaves, Role.DATA)
        if have_variables(leaves) or _is_nested():
            return self.f(*args, **kwargs)
        chosen = self.argnums if isinstance(self.argnums, tuple) else (self.argnums,)
        try:
            check_places(self.argnums, args)
            flatten([args[i] for i in chosen], "a differentiated argument")
        except Error:
            return self.f(*args, **kwargs)
        with Recording(self.f, self.argnums, args, kwargs) as recording:
            leaves = []
            layout = layout_of(recording.output, leaves, Role.RESULT)
            if not has_opaque(layout):
                numbers, nodes = recording.nodes_of(leaves)
                if not recording.open:
                    if not any(_is_outer(x, node) for x, node in zip(leaves, nodes, strict=False)):
                        return values_of(recording.output)
                    return recording.output
                recording.keep()
                return build(layout, iter(recording.handles(leaves, numbers, nodes)))
        return self.f(*args, **kwargs)

    # ---- the quick way ------------------------------------------------------------------

    def _quick(self, args: tuple[Any, ...]) -> Quick | None:
        """What answered the last call with numbers and arrays of these shapes."""
        state = self._state
        if len(args) == 1:
            x = args[0]
            if type(x) is np.ndarray:
                quick = state.quick.get(x.shape) if x.dtype is _FLOAT64 else None
            else:
                quick = state.quick.get(type(x))
        else:
            quick = state.quick.get(key_of(args))
        if quick is None or _is_nested() or is_watching():
            return None
        return quick if self._is_calm() else None

    def _remember(
        self,
        shortcuts: dict[Any, Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        program: Program,
    ) -> None:
        """Answer the next call with such arguments by this program first."""
        if kwargs:
            return
        key = key_of(args)
        if key is None or not (program.outputs is NUMBER or type(program.outputs) is Shaped):
            return
        if not program.serves(args):
            return
        put(shortcuts, key, Quick(program, self.argnums, args))


def have_variables(leaves: Sequence[Any]) -> bool:
    return any(
        isinstance(x, (pyad.Var, pyad.Dual, pyad.Array))
        or (isinstance(x, np.ndarray) and x.dtype == object)
        for x in leaves
    )


def split_numbers(shape: Shape, values: Floats) -> Any:
    """Numbers in the structure of an argument."""
    if is_flat(shape):
        return shape.join(values.tolist())
    return split(shape, np.ascontiguousarray(values))


def _is_outer(x: Any, node: int) -> bool:
    """Whether a result is a variable from outside of the function."""
    return isinstance(x, (pyad.Var, pyad.Array)) and x.requires_grad and node == CONSTANT
