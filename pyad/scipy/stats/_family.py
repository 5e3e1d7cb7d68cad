"""What distributions share, and a continuous one by formulas of its standard variable."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from pyad._binding import error
from pyad.array._guards import guarding
from pyad.array._rules import (
    constant,
    extended,
    holds_variables,
    operand,
    plain,
    seen,
    select,
    shape_of,
)
from pyad.scipy import required
from pyad.scipy.stats._common import (
    INF,
    Function,
    exp,
    log,
    log1p,
    missing_method,
)

__all__ = ["Distribution", "Family"]


class Family:
    """Name and arguments of a distribution of SciPy: a variable, shapes, loc (and scale)."""

    variable = "x"
    defaults: ClassVar[dict[str, float]] = {"loc": 0.0, "scale": 1.0}

    def __init__(self, name: str, shapes: str) -> None:
        self.name = name
        self.shapes = shapes.split()

    def __repr__(self) -> str:
        return f"pyad.scipy.stats.{self.name}"

    def __getattr__(self, name: str) -> Any:
        raise missing_method(self, name)

    def _given(self, method: str, args: tuple[Any, ...], named: dict[str, Any]) -> dict[str, Any]:
        """All arguments as operands, in the order of SciPy."""
        what = f"scipy.stats.{self.name}.{method}"
        needed = [self.variable, *self.shapes]
        names = [*needed, *self.defaults]
        given = dict(zip(names, args, strict=False))
        wrong = [n for n in named if n in given or n not in names]
        missing = [n for n in needed if n not in given and n not in named]
        if len(args) > len(names) or wrong or missing:
            raise error(
                "ARGUMENTS",
                f"{what} takes ({', '.join(names)}): "
                + (f"{', '.join(missing)} missing" if missing else f"not {', '.join(wrong)}"
                   if wrong else f"{len(args)} arguments were given"),
            )  # fmt: skip
        given = {**self.defaults, **given, **named}
        return {n: operand(given[n], what) for n in names}

    def _theirs(self, method: str) -> Any:
        return getattr(getattr(required("scipy.stats", "pyad.scipy.stats"), self.name), method)


class Distribution(Family):
    """One of SciPy's distributions, by formulas of the standard variable z = (x - loc) / scale."""

    def __init__(
        self,
        name: str,
        shapes: str,
        log: Function,
        support: Any = (-INF, INF),
        allowed: Function | None = None,
        inside: Any = 0.0,
        **functions: Function,
    ) -> None:
        super().__init__(name, shapes)
        self._log, self._functions = log, functions
        self._support = support if callable(support) else lambda *shapes: support
        self._allowed = allowed or (lambda *shapes: np.logical_and.reduce([p > 0 for p in shapes]))
        # a point of the support, at which the formulas are evaluated in place of those outside
        self._point = inside if callable(inside) else lambda *shapes: inside

    def _evaluate(
        self, method: str, args: tuple[Any, ...], named: dict[str, Any], formula: Function,
        below: float, above: float, scaled: bool = False,
    ) -> Any:  # fmt: skip
        """`formula(z, *shapes)` in the support, the constants beside it, NaN where not allowed."""
        if not holds_variables(*args, *named.values()):
            return self._theirs(method)(*args, **named)
        x, *shapes, loc, scale = self._given(method, args, named).values()
        shape = np.broadcast_shapes(*(shape_of(v) for v in (x, *shapes, loc, scale)))
        numbers = [seen(v) if guarding() else np.asarray(plain(v)) for v in shapes]
        with np.errstate(all="ignore"):
            at = (seen(x) - seen(loc)) / seen(scale)
            low, high = self._support(*numbers)
            allowed = np.asarray(self._allowed(*numbers)) & np.asarray(seen(scale) > 0)
            allowed = allowed & ~np.asarray(np.isnan(at))
            under, over = (at < low) | (at == -INF), (at > high) | (at == INF)
            if method not in ("logpdf", "pdf"):  # SciPy: open, for distribution functions
                under, over = at <= low, at >= high
            under, over = np.asarray(under), np.asarray(over)
            within = allowed & ~under & ~over
            outside = np.where(allowed, np.where(under, below, above), np.nan)
        x, loc, scale = (extended(v, shape) for v in (x, loc, scale))
        shapes = [extended(v, shape) for v in shapes]
        within, outside = np.broadcast_to(within, shape), np.broadcast_to(outside, shape)
        if not np.all(within):  # what is not taken must be harmless, in warnings too
            if not np.any(within):
                return constant(outside)
            safe = [np.where(within, plain(v), 1.0) for v in numbers]
            point = np.broadcast_to(self._point(*safe), shape)
            x, loc, scale = (
                select(within, v, w)
                for v, w in ((x, point), (loc, np.zeros(shape)), (scale, np.ones(shape)))
            )
            shapes = [select(within, v, np.ones(shape)) for v in shapes]
        z = (x - loc) / scale
        result = formula(z, *shapes)
        if scaled:
            result = result - log(scale)
        if np.all(within):
            return extended(result, shape)
        return select(within, extended(result, shape), outside)

    # ---- methods -------------------------------------------------------------------------------

    def logpdf(self, *args: Any, **named: Any) -> Any:
        """The logarithm of the density."""
        return self._evaluate("logpdf", args, named, self._log, -INF, -INF, scaled=True)

    def pdf(self, *args: Any, **named: Any) -> Any:
        """The density."""
        if not holds_variables(*args, *named.values()):
            return self._theirs("pdf")(*args, **named)
        return exp(self.logpdf(*args, **named))

    def _tail(self, method: str, args: Any, named: Any) -> Any:
        ends = {"cdf": (0.0, 1.0), "sf": (1.0, 0.0), "logcdf": (-INF, 0.0), "logsf": (0.0, -INF)}
        formula = self._functions.get(method)
        if formula is None:
            base = self._functions.get(method.removeprefix("log"))
            other = self._functions.get({"cdf": "sf", "sf": "cdf"}[method.removeprefix("log")])
            if base is not None:
                formula = lambda *v: log(base(*v))  # noqa: E731
            elif other is not None and not method.startswith("log"):
                formula = lambda *v: 1.0 - other(*v)  # noqa: E731
            elif other is not None:
                formula = lambda *v: log1p(-other(*v))  # noqa: E731
            else:
                raise error(
                    "ARGUMENTS",
                    f"pyad.scipy.stats.{self.name} has no {method} of variables: give numbers",
                )
        return self._evaluate(method, args, named, formula, *ends[method])

    def cdf(self, *args: Any, **named: Any) -> Any:
        """The distribution function."""
        return self._tail("cdf", args, named)

    def sf(self, *args: Any, **named: Any) -> Any:
        """1 - cdf."""
        return self._tail("sf", args, named)

    def logcdf(self, *args: Any, **named: Any) -> Any:
        """The logarithm of the distribution function."""
        return self._tail("logcdf", args, named)

    def logsf(self, *args: Any, **named: Any) -> Any:
        """The logarithm of 1 - cdf."""
        return self._tail("logsf", args, named)
