"""A function with its recordings, and the derivatives that are made of them."""

from __future__ import annotations

import functools
import os
import sys
import threading
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

import pyad
from pyad._binding import error
from pyad.compiled import _batch, _files, _to_c
from pyad.compiled._arguments import Role, flat, is_numeric, layout_of_shape, shape_of
from pyad.compiled._evaluator import Evaluator, have_variables, split_numbers
from pyad.compiled._gradients import Gradient, ValueAndGrad
from pyad.compiled._quick import Position
from pyad.compiled._recordings import Call, Recordings
from pyad.transforms._recording import as_numbers
from pyad.transforms._trees import flatten, flatten_like, split
from pyad.transforms.jacobians import assemble

__all__ = ["Compiled"]


class Compiled(Evaluator):
    """A function that is recorded once and replayed natively; made by `pyad.compile`."""

    def __init__(self, f: Callable[..., Any], argnums: Position = 0, has_aux: bool = False) -> None:
        super().__init__(f, argnums, has_aux)
        self._bound: dict[int, Any] = {}
        self._lock = threading.Lock()
        functools.update_wrapper(self, f, updated=())
        self.__wrapped__ = f

    @functools.cached_property
    def value_and_grad(self) -> ValueAndGrad:
        """The function that computes (value, gradient), as `pyad.value_and_grad(f)` does."""
        return ValueAndGrad(self)

    @functools.cached_property
    def grad(self) -> Gradient:
        """The function that computes the gradient, as `pyad.grad(f)` does."""
        return Gradient(self.value_and_grad)

    # ---- the function -------------------------------------------------------------------

    def _slowly(self, *args: Any, **kwargs: Any) -> Any:
        """The value of the function, where no plan answers the call (csrc/python/calls.c)."""
        plans = self._state.calls.plans
        call = self._call(args, kwargs, strict=False)
        run = self._run("value", call, args, kwargs)
        if run is None:
            return self._value_eagerly(args, kwargs)
        with run:
            self._remember(plans, run.program)
            return run.program.result(run.room)

    def batch(
        self,
        *args: Any,
        threads: int | None = None,
        reduce: str | None = None,
        shared: Any = (),
        **kwargs: Any,
    ) -> Any:
        """The value of the function at each of many rows, computed side by side.

        Every array among the arguments has a leading axis of rows, in lists, tuples and dicts too,
        except those of the arguments named in `shared` (positions or names). What has no axis (a
        number, a text, None) is the same for all rows. Results are those of `p` at each row,
        stacked along a leading axis: (rows,) for a number, (rows, *shape) for an array.
        `reduce="sum"` gives their sum over the rows instead, in memory that does not grow with
        them. `threads` share the work (None: one); results do not depend on their number.

        Guards are asked in each row; rows that need another recording get it, and functions that
        cannot be replayed are evaluated row by row. Raises `pyad.Error` (a ValueError) where it is
        not clear what the rows are, or their numbers or results differ; an exception of the
        function has a note that names the row.

        >>> import numpy as np
        >>> import pyad
        >>> p = pyad.compile(lambda x: x[0] * x[1] if x[0] > 0 else x[1])
        >>> p.batch(np.array([[2.0, 3.0], [-1.0, 4.0], [5.0, 6.0]]))
        array([ 6.,  4., 30.])
        >>> p.grad.batch(np.array([[2.0, 3.0], [-1.0, 4.0], [5.0, 6.0]]))
        array([[3., 2.],
               [0., 1.],
               [6., 5.]])
        >>> p.batch(np.ones((1000, 2)), reduce="sum")
        1000.0
        """
        return _batch.values(self, args, kwargs, threads, reduce, shared)

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
        directions = np.eye(columns.size)
        matrix = self._push(self._call(args, kwargs), args, kwargs, columns, directions, rows.size)
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
            if have_variables(leaves):
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
        if not have_variables(leaves):
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
            rows = run.program.count
            pushed = self._push(call, args, kwargs, columns, pattern.seeds().T, rows)
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
                if not have_variables(leaves):
                    product = run.pull(_numbers(leaves).reshape(1, -1))[0]
                    return split_numbers(shape, product[index])
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
        bound: Compiled = type(self).__new__(type(self))
        bound.__dict__.update(self.__dict__)
        bound.__dict__.pop("value_and_grad", None)
        bound.__dict__.pop("grad", None)
        bound.f = bound.__wrapped__ = self.f.__get__(owner)
        bound.__self__ = owner
        bound._state = self._state_of(owner)
        bound._answer_with(bound._state.calls, "value")
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


def _as_float(x: Any) -> Any:
    return np.asarray(x, np.float64) if isinstance(x, np.ndarray) else float(x)


def _numbers(leaves: Sequence[Any]) -> npt.NDArray[np.float64]:
    return flat(leaves) if leaves else np.empty(0)


def _forget(compiled: Any, owner: int, reference: Any) -> None:
    p = compiled()
    if p is not None and p._bound.get(owner, (None,))[0] is reference:
        del p._bound[owner]


def _restore(f: Callable[..., Any], argnums: Position, has_aux: bool) -> Compiled:
    return Compiled(f, argnums, has_aux)
