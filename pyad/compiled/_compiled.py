"""`pyad.compile`: a function with its recordings, and the derivatives that are made of them."""

from __future__ import annotations

import functools
import inspect
import os
import sys
import threading
import weakref
from collections.abc import Callable, Sequence
from typing import Any, overload

import numpy as np
import numpy.typing as npt

import pyad
from pyad import _handle
from pyad._binding import error, ffi, lib
from pyad.compiled import _files, _to_c
from pyad.compiled._arguments import (
    NUMBER,
    Branch,
    Layout,
    Role,
    Shaped,
    build,
    flat,
    has_opaque,
    is_numeric,
    layout_of,
    layout_of_shape,
    shape_of,
    size_of,
)
from pyad.compiled._program import DOUBLES, Program
from pyad.compiled._recordings import Call, Recordings, Run
from pyad.errors import Error
from pyad.tape import CONSTANT
from pyad.transforms._recording import (
    Recording,
    as_numbers,
    as_scalar,
    check_function,
    check_places,
    position_of,
)
from pyad.transforms._sparsity import Scalars, hessian_pattern, jacobian_pattern
from pyad.transforms._trees import Shape, flatten, flatten_like, is_flat, split, values_of
from pyad.transforms._watch import is_watching
from pyad.transforms.jacobians import assemble

__all__ = ["Compiled", "ValueAndGrad", "compile"]

Floats = npt.NDArray[np.float64]
Position = int | tuple[int, ...]

SHORTCUTS = 256
"""Shapes of arguments for which there is a short way."""
_SHORT = frozenset({"value", "main", "gradient"})
"""Kinds of results that take no more than the arguments."""
_FLOAT64 = np.dtype(np.float64)
_is_nested = _handle._is_nested
_from_buffer = ffi.from_buffer
_value = lib.pyad_program_value
_value_gradient = lib.pyad_program_value_gradient


class Compiled:
    """A function that is recorded once and replayed natively; made by `pyad.compile`."""

    def __init__(self, f: Callable[..., Any], argnums: Position = 0, has_aux: bool = False) -> None:
        check_function(f, "compile")
        _check_plain(f)
        self.f, self.argnums, self.has_aux = f, argnums, has_aux
        self._state = Recordings()
        self._bound: dict[int, Any] = {}
        self._lock = threading.Lock()
        functools.update_wrapper(self, f, updated=())
        self.__wrapped__ = f

    @functools.cached_property
    def value_and_grad(self) -> ValueAndGrad:
        """The function that computes (value, gradient), as `pyad.value_and_grad(f)` does."""
        return ValueAndGrad(self)

    # ---- the function -------------------------------------------------------------------

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """The value of the function."""
        if not kwargs:
            quick = self._quick(args)
            if quick is not None:
                found = quick.value(args)
                if found is not None:
                    return found
        state = self._state
        shortcuts = state.quick
        call = self._call(args, kwargs, strict=False)
        run = self._run("value", call, args, kwargs)
        if run is None:
            return self._value_eagerly(args, kwargs)
        with run:
            self._remember(shortcuts, args, kwargs, run.program)
            return run.program.result(run.room)

    def grad(self, *args: Any, **kwargs: Any) -> Any:
        """The gradient, as `pyad.grad(f)` computes it; with `has_aux` (gradient, aux)."""
        value, slope = self.value_and_grad(*args, **kwargs)
        return (slope, value[1]) if self.has_aux else slope

    # ---- first derivatives --------------------------------------------------------------

    def jacobian(self, *args: Any, **kwargs: Any) -> Any:
        """The Jacobian, as `pyad.jacobian(f)` computes it, of the value without `aux`."""
        run = self._derived("main" if self.has_aux else "value", args, kwargs)
        if run is None:
            return pyad.jacobian(self._main, self.argnums)(*args, **kwargs)
        with run:
            if not is_numeric(run.program.outputs):
                return pyad.jacobian(self._main, self.argnums)(*args, **kwargs)
            columns, index = self._selected(run.program, args)
            rows = shape_of(run.program.outputs)
            if rows.size <= columns.size:
                return assemble(run.pull(np.eye(rows.size))[:, index], rows, columns)
        matrix = self._push(self._call(args, kwargs), args, kwargs, columns, np.eye(columns.size))
        if matrix is None:
            return pyad.jacobian(self._main, self.argnums)(*args, **kwargs)
        return assemble(matrix, rows, columns)

    def vjp(self, *primals: Any) -> tuple[Any, Callable[[Any], Any]]:
        """(value, pullback), as `pyad.vjp(f, *primals)`; every argument takes part."""
        if not primals:
            raise error("ARGUMENTS", "vjp takes at least one primal")
        call = Call(primals, [Role.DIFFERENTIATED] * len(primals), {}, self._state.data)
        run = self._run("vjp", call, primals, {})
        if run is not None and not is_numeric(run.program.outputs):
            run.program.rooms.append(run.room)
            run = None
        if run is None:
            return pyad.vjp(self.f, *primals)
        into = flatten(tuple(primals), "a differentiated argument")[1]
        out, value, turn = (
            shape_of(run.program.outputs),
            run.program.result(run.room),
            threading.Lock(),
        )

        def pullback(cotangent: Any) -> Any:
            leaves = as_numbers(flatten_like(cotangent, out, "the cotangent of a pullback"))
            if _have_variables(leaves):
                return pyad.vjp(self.f, *primals)[1](cotangent)
            with turn:
                slopes = run.pull(_numbers(leaves).reshape(1, -1))[0]
            return split(into, slopes)

        weakref.finalize(pullback, run.program.rooms.append, run.room).atexit = False
        return value, pullback

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any]) -> tuple[Any, Any]:
        """(value, derivative in a direction), as `pyad.jvp(f, primals, tangents)`."""
        if not isinstance(primals, (tuple, list)) or not isinstance(tangents, (tuple, list)):
            raise error("ARGUMENTS", "jvp takes a tuple of primals and a tuple of tangents")
        shape = flatten(tuple(primals), "a primal")[1]
        leaves = as_numbers(flatten_like(tuple(tangents), shape, "a tangent of jvp"))
        call = Call(primals, [Role.DIFFERENTIATED] * len(primals), {}, self._state.data)
        if not _have_variables(leaves):
            call = Call.extended(call, layout_of_shape(shape), list(leaves))
            run = self._run("jvp", call, primals, {})
            if run is not None:
                with run:
                    value, tangent = run.program.result(run.room)
                    if is_numeric(run.program.outputs):
                        return value, tangent
                    results, out = flatten(value, "the result of a differentiated function")
                    return out.build(iter([_as_float(x) for x in results])), tangent
        return pyad.jvp(self.f, primals, tangents)

    def sparse_jacobian(self, *args: Any, **kwargs: Any) -> Any:
        """The Jacobian as a `scipy.sparse.csr_array`, as `pyad.SparseJacobian(f)` computes it.

        The pattern is found and coloured once for each recording.
        """
        call = self._call(args, kwargs)
        run = self._run("main" if self.has_aux else "value", call, args, kwargs)
        if run is not None:
            with run:
                columns, index = self._selected(run.program, args)
                pattern = self._pattern("jacobian", run.program, args, kwargs)
                if pattern.by_rows:
                    compressed = run.pull(np.ascontiguousarray(pattern.seeds().T))[:, index].T
                    return pattern.to_scipy(pattern.decompress(compressed))
            pushed = self._push(call, args, kwargs, columns, pattern.seeds().T)
            if pushed is not None:
                return pattern.to_scipy(pattern.decompress(pushed))
        return pyad.SparseJacobian(self._main, self.argnums)(*args, **kwargs)  # type: ignore[arg-type]

    # ---- second derivatives -------------------------------------------------------------
    # The recorded gradient is a program, too, and its Jacobian symmetric: one reverse sweep
    # gives the product of the Hessian with the seeds.

    def hessian(self, *args: Any, **kwargs: Any) -> Any:
        """The Hessian, as `pyad.hessian(f)` computes it, of the value without `aux`."""
        run = self._derived("gradient", args, kwargs)
        if run is None:
            return pyad.hessian(self._main, self.argnums)(*args, **kwargs)
        with run:
            shape, index = self._selected(run.program, args)
            return assemble(run.pull(np.eye(shape.size))[:, index], shape, shape)

    def hvp(self, *args: Any, **kwargs: Any) -> Any:
        """The Hessian times a vector, which comes last: `p.hvp(x, v)`.

        As `pyad.hessian_vector_product(f)` computes it.
        """
        if len(args) < 2:
            raise error("ARGUMENTS", "the vector comes last, after the arguments of the function")
        *points, v = args
        run = self._derived("gradient", points, kwargs)
        if run is not None:
            with run:
                shape, index = self._selected(run.program, points)
                leaves = as_numbers(flatten_like(v, shape, "the vector of hvp(f, x, v)"))
                if not _have_variables(leaves):
                    product = run.pull(_numbers(leaves).reshape(1, -1))[0]
                    return _split(shape, product[index])
        return pyad.hessian_vector_product(self._main, self.argnums)(*args, **kwargs)

    def sparse_hessian(self, *args: Any, **kwargs: Any) -> Any:
        """The Hessian as a `scipy.sparse.csr_array`, as `pyad.SparseHessian(f)` computes it."""
        run = self._derived("gradient", args, kwargs)
        if run is None:
            return pyad.SparseHessian(self._main, self.argnums)(*args, **kwargs)  # type: ignore[arg-type]
        with run:
            _, index = self._selected(run.program, args)
            pattern = self._pattern("hessian", run.program, args, kwargs)
            compressed = run.pull(np.ascontiguousarray(pattern.seeds().T))[:, index].T
            return pattern.to_scipy(pattern.decompress(compressed))

    # ---- recordings ---------------------------------------------------------------------

    def stats(self) -> dict[str, Any]:
        """What was recorded so far, and how often that served.

        `recordings` are kept now; `hits` calls were answered by one of them; `recorded` times the
        function was recorded, `rerecorded` of them because no recording of the same layout fitted;
        `forgotten` recordings are not kept any more; `eager` calls could not be answered from a
        recording. `programs` describes each that is kept: what it computes (`of`), its hits, the
        nodes on the tape, and how many operations there were before and after each pass:
        `recorded`; `shared`, constants folded and equal ones shared; `live`, without those that
        nothing needs; `summed`, chains of additions as one sum; `combined`, products and additions
        as multiply-adds; `steps`, regrouped: the instructions that run (`groups` and array
        operations, `blocks`, among them). Then `guards` and `bytes`.
        """
        state = self._state
        sites = list(state.sites.values())
        programs = [
            {"of": site.kind, "hits": program.hits, **program.describe()}
            for site in sites
            for program in site.programs
        ]
        return {
            "recordings": len(programs),
            "hits": state.count("hits"),
            "recorded": state.count("recorded"),
            "rerecorded": sum(max(0, site.recorded - 1) for site in sites),
            "forgotten": state.count("forgotten"),
            "eager": state.eager,
            "programs": programs,
        }

    def clear(self) -> None:
        """Forget all recordings."""
        self._state.clear()

    # ---- files, text --------------------------------------------------------------------

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the recordings to a file, for `pyad.load`. The Python code is not in it."""
        _files.save(self, path)

    def to_c(self, name: str = "f", args: Sequence[Any] | None = None) -> str:
        """C11 source of the value and the gradient, for use without Python.

        It is a function `int name(const double *x, double *value, double *gradient)`: x are the
        numbers of all arguments, one after the other. `args` are needed where there are recordings
        for several kinds of arguments. See `docs/compiled_files.md`.
        """
        layout = None if args is None else self._call(args, {}).layout
        return _to_c.source(self, name, layout)

    def __str__(self) -> str:
        """The recordings, one line for each instruction."""
        return _files.text(self)

    # ---- as a value ---------------------------------------------------------------------

    def __get__(self, owner: Any, kind: type | None = None) -> Any:
        """As a method: a compiled function of the arguments after `self`.

        Its recordings are those of this object, and last as long as it does; `argnums` counts
        without `self`.
        """
        if owner is None:
            return self
        bound: Compiled = object.__new__(type(self))
        bound.__dict__.update(self.__dict__)
        bound.__dict__.pop("value_and_grad", None)
        bound.f = bound.__wrapped__ = self.f.__get__(owner)
        bound.__self__ = owner
        bound._state = self._state_of(owner)
        return bound

    __self__: Any

    def _state_of(self, owner: Any) -> Recordings:
        """The recordings that belong to an object; those of one without weak references are new."""
        known = self._bound.get(id(owner))
        if known is not None and known[0]() is owner:
            return known[1]  # type: ignore[no-any-return]
        state = Recordings()
        forget = functools.partial(_forget, weakref.ref(self), id(owner))
        try:
            reference = weakref.ref(owner, forget)
        except TypeError:
            return state
        with self._lock:
            self._bound[id(owner)] = reference, state
        return state

    def __reduce__(self) -> Any:
        """By the function and the settings: recordings are made anew. Or by name, as functions.

        What was loaded from a file has its recordings only, and goes by these.
        """
        if isinstance(self.f, _files.Loaded):
            return _files.restore, (_files.dump(self),)
        owner = self.__dict__.get("__self__")
        if owner is not None:
            return getattr, (owner, self.__name__)
        found: Any = sys.modules.get(getattr(self, "__module__", None) or "")
        name = getattr(self, "__qualname__", "")
        for part in name.split("."):
            found = getattr(found, part, None)
        if found is self:
            return name
        return _restore, (self.f, self.argnums, self.has_aux)

    __name__: str

    def __copy__(self) -> Compiled:
        """The same function, without the recordings."""
        return type(self)(self.f, self.argnums, self.has_aux)

    def __repr__(self) -> str:
        name = getattr(self.f, "__qualname__", repr(self.f))
        kept = sum(len(site.programs) for site in list(self._state.sites.values()))
        return f"<compiled {name}: {kept} recording{'' if kept == 1 else 's'}>"

    # ---- evaluating ---------------------------------------------------------------------

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
        key = None if run is None or kwargs or kind not in _SHORT else _key_of(args)
        if run is not None and key is not None and run.program.serves(args):
            _put(shortcuts, (kind, key), run.program)
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
        key = None if kwargs else _key_of(args)
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
    ) -> Floats | None:
        """The Jacobian times tangents, which are rows: (results, rows)."""
        columns: list[Floats] = []
        for row in tangents:
            given = flatten(split(shape, np.ascontiguousarray(row)), "a tangent")[0]
            extended = Call.extended(call, layout_of_shape(shape), given)
            run = self._run("push", extended, args, kwargs)
            if run is None:
                return None
            with run:
                columns.append(run.values.copy())
        return np.array(columns).T

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
        if _have_variables(leaves) or _is_nested():
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

    def _quick(self, args: tuple[Any, ...]) -> _Quick | None:
        """What answered the last call with numbers and arrays of these shapes."""
        state = self._state
        if len(args) == 1:
            x = args[0]
            if type(x) is np.ndarray:
                quick = state.quick.get(x.shape) if x.dtype is _FLOAT64 else None
            else:
                quick = state.quick.get(type(x))
        else:
            quick = state.quick.get(_key_of(args))
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
        key = _key_of(args)
        if key is None or not (program.outputs is NUMBER or type(program.outputs) is Shaped):
            return
        if not program.serves(args):
            return
        _put(shortcuts, key, _Quick(program, self.argnums, args))


class ValueAndGrad:
    """(value, gradient) of a compiled function: `p.value_and_grad`."""

    def __init__(self, compiled: Compiled) -> None:
        self.compiled = compiled
        self._has_aux = compiled.has_aux
        self._quick = compiled._quick

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """(value, gradient); with `has_aux` ((value, aux), gradient)."""
        if not kwargs and not self._has_aux:
            quick = self._quick(args)
            if quick is not None and quick.is_scalar:
                found = quick.value_and_grad(args)
                if found is not None:
                    return found
        p = self.compiled
        shortcuts = p._state.quick
        call = p._call(args, kwargs)
        run = p._run("value", call, args, kwargs)
        if run is None:
            return self._eagerly(args, kwargs)
        with run:
            outputs = run.program.outputs
            if p.has_aux:
                if (
                    type(outputs) is not Branch
                    or outputs.kind is not tuple
                    or len(outputs.children) != 2
                ):
                    return self._eagerly(args, kwargs)
                outputs = outputs.children[0]
            if outputs is not NUMBER and outputs != Shaped(()):
                return self._eagerly(args, kwargs)  # raises, unless it is a whole number
            shape, index = p._selected(run.program, args)
            gradient = _split(shape, run.gradient()[index])
            value: Any = float(run.values[0])
            if p.has_aux:
                value = value, run.program.result(run.room)[1]
            else:
                p._remember(shortcuts, args, kwargs, run.program)
        return value, gradient

    def _eagerly(self, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        p = self.compiled
        return pyad.value_and_grad(p.f, p.argnums, p.has_aux)(*args, **kwargs)

    def __repr__(self) -> str:
        return f"{self.compiled!r}.value_and_grad"


class _Quick:
    """A program for calls with floats and arrays of one set of shapes, called with little ado."""

    def __init__(self, program: Program, argnums: Position, args: tuple[Any, ...]) -> None:
        self.program, self.core, self.rooms = program, program.core, program.rooms
        self.outputs: Layout = program.outputs
        self.is_scalar = program.outputs is NUMBER or program.outputs == Shaped(())
        self.result_shape = None if program.outputs is NUMBER else program.outputs.shape
        self.is_tuple = isinstance(argnums, tuple)
        # Of each argument: where its numbers begin and end, and its shape or None.
        self.spans: list[tuple[int, int, Any]] = []
        start = 0
        for x in args:
            size = x.size if type(x) is np.ndarray else 1
            self.spans.append((start, start + size, x.shape if type(x) is np.ndarray else None))
            start += size
        chosen = argnums if isinstance(argnums, tuple) else (argnums,)
        within = all(-len(args) <= i < len(args) for i in chosen)
        self.chosen = [self.spans[i] for i in chosen] if within else []
        self.is_scalar = self.is_scalar and within
        self.one_array = len(args) == 1 and type(args[0]) is np.ndarray and not self.is_tuple
        self.shape = args[0].shape if self.one_array else ()

    def _fill(self, room: Any, args: tuple[Any, ...]) -> None:
        for x, (start, end, shape) in zip(args, self.spans, strict=True):
            if shape is None:
                room.given[start] = x
            else:
                room.given_at[start:end] = x.reshape(-1)

    def value(self, args: tuple[Any, ...]) -> Any:
        """The result, or None if a guard answers otherwise."""
        rooms = self.rooms
        room = self.program.take()
        self._fill(room, args)
        status = _value(self.core, room.numbers, room.given, room.outputs, room.holds)
        found = None
        if not status and room.holds[0]:
            room.runs += 1
            if self.result_shape is None:
                found = room.outputs[0]
            else:
                found = room.results[: self.program.count].reshape(self.result_shape).copy()
        rooms.append(room)
        return found

    def value_and_grad(self, args: tuple[Any, ...]) -> Any:
        """(value, gradient), or None if a guard answers otherwise."""
        rooms = self.rooms
        try:
            room = rooms.pop()
        except IndexError:
            room = self.program.take()
        if self.one_array:
            gradient: Any = np.empty(self.shape)
            x = args[0]
            if x.flags.c_contiguous:
                given = _from_buffer(DOUBLES, x)
            else:
                self._fill(room, args)
                given = room.given
            into = _from_buffer(DOUBLES, gradient)
        else:
            self._fill(room, args)
            given, into = room.given, room.slopes
        status = _value_gradient(
            self.core, room.numbers, given, room.seeds, room.outputs, into, room.holds
        )
        if status or not room.holds[0]:
            rooms.append(room)
            return None
        room.runs += 1
        value = room.outputs[0]
        if not self.one_array:
            found = [
                into[start] if shape is None else room.slopes_at[start:end].reshape(shape).copy()
                for start, end, shape in self.chosen
            ]
            gradient = tuple(found) if self.is_tuple else found[0]
        rooms.append(room)
        return value, gradient


def _key_of(args: Sequence[Any]) -> Any:
    """Types and shapes of floats and arrays of floats; None if there is anything else."""
    key: list[Any] = []
    for x in args:
        if type(x) is float:
            key.append(float)
        elif type(x) is np.ndarray and x.dtype is _FLOAT64:
            key.append(x.shape)
        else:
            return None
    return key[0] if len(key) == 1 else tuple(key)


def _put(shortcuts: dict[Any, Any], key: Any, item: Any) -> None:
    """Remember an item; they are found again, so that all may be forgotten."""
    if len(shortcuts) >= SHORTCUTS:
        shortcuts.clear()
    shortcuts[key] = item


def _have_variables(leaves: Sequence[Any]) -> bool:
    return any(
        isinstance(x, (pyad.Var, pyad.Dual, pyad.Array))
        or (isinstance(x, np.ndarray) and x.dtype == object)
        for x in leaves
    )


def _split(shape: Shape, values: Floats) -> Any:
    """Numbers in the structure of an argument."""
    if is_flat(shape):
        return shape.join(values.tolist())
    return split(shape, np.ascontiguousarray(values))


def _as_float(x: Any) -> Any:
    return np.asarray(x, np.float64) if isinstance(x, np.ndarray) else float(x)


def _numbers(leaves: Sequence[Any]) -> Floats:
    return flat(leaves) if leaves else np.empty(0)


def _is_outer(x: Any, node: int) -> bool:
    """Whether a result is a variable from outside of the function."""
    return isinstance(x, (pyad.Var, pyad.Array)) and x.requires_grad and node == CONSTANT


def _check_plain(f: Any) -> None:
    """Refuse functions that return before they have computed anything."""
    inner = inspect.unwrap(f) if callable(f) else f
    for what, is_it in {
        "a generator": inspect.isgeneratorfunction,
        "an async function": inspect.iscoroutinefunction,
        "an async generator": inspect.isasyncgenfunction,
    }.items():
        if is_it(f) or is_it(inner):
            raise error(
                "ARGUMENTS",
                f"pyad.compile expects a function that returns its result, and {what} returns "
                "before it has computed anything: compile the function that computes the numbers",
            )


def _forget(compiled: Any, owner: int, reference: Any) -> None:
    p = compiled()
    if p is not None and p._bound.get(owner, (None,))[0] is reference:
        del p._bound[owner]


def _restore(f: Callable[..., Any], argnums: Position, has_aux: bool) -> Compiled:
    return Compiled(f, argnums, has_aux)


@overload
def compile(
    f: Callable[..., Any],
    argnums: Position = 0,
    has_aux: bool = False,
    *,
    argnum: Position | None = None,
) -> Compiled: ...


@overload
def compile(
    f: None = None,
    argnums: Position = 0,
    has_aux: bool = False,
    *,
    argnum: Position | None = None,
) -> Callable[[Callable[..., Any]], Compiled]: ...


def compile(
    f: Callable[..., Any] | None = None,
    argnums: Position = 0,
    has_aux: bool = False,
    *,
    argnum: Position | None = None,
) -> Any:
    """The same function, recorded once and replayed natively: also as a decorator.

    The first call evaluates `f` on variables and keeps the recording as a program of C; further
    calls with arguments of the same structure and shapes run the program. Every decision of `f` on
    a value (a comparison, `int`, a sort order) is checked in each run: where one comes out
    differently, `f` is recorded again, and both recordings are kept. All floats and arrays of
    floats among the arguments are inputs, and may change between calls; other values (whole
    numbers, strings, flags) belong to the structure. `argnums` says which arguments are
    differentiated; there whole numbers are inputs, too. With `has_aux` the function returns a pair
    (value, aux).

    Results are floats and float64 arrays, in the structure of the result of `f`. Numbers, arrays
    and functions in the closure, the defaults, the globals or `self` of `f` are constants; if they
    change, `f` is recorded anew. Random numbers, the time and files are not noticed: draw such
    numbers outside, and pass them as arguments. A function that takes values out of the recording
    (`x.value`, `print(x)`) is recorded at every call, with a warning.

    `p.grad`, `p.value_and_grad`, `p.jacobian`, `p.hessian`, `p.hvp`, `p.jvp`, `p.vjp`,
    `p.sparse_jacobian` and `p.sparse_hessian` compute what the transforms of the same names do;
    `p.stats()` tells how often what was recorded.

    >>> import numpy as np
    >>> import pyad
    >>> @pyad.compile
    ... def f(x):
    ...     return x[0] * x[1] if x[0] > 0 else x[1] ** 2
    >>> f(np.array([2.0, 3.0]))
    6.0
    >>> f.value_and_grad(np.array([2.0, 5.0]))
    (10.0, array([5., 2.]))
    >>> f.grad(np.array([-2.0, 5.0]))
    array([ 0., 10.])
    >>> f.hessian(np.array([2.0, 5.0]))
    array([[0., 1.],
           [1., 0.]])
    >>> f.stats()["recorded"]
    3
    """
    position = position_of(argnums, argnum)
    if f is None:
        return functools.partial(compile, argnums=position, has_aux=has_aux)
    return Compiled(f, position, has_aux)
