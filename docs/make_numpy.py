"""Writes docs/numpy.md from the tables of `pyad.array`: `python docs/make_numpy.py`.

The tests compare the page with `page()`, and evaluate the rows of `KINKS`.
"""

from pathlib import Path

import numpy as np

import pyad
import pyad.numpy
from pyad.array._coverage import groups, ways
from pyad.array._methods import ABSENT

NUMPY = ".".join(np.__version__.split(".")[:2])

HEAD = f"""\
# NumPy's functions on Arrays

Made from the tables of `pyad/array/` by `docs/make_numpy.py` with NumPy {NUMPY}; do not edit.
Programs keep their plain `import numpy as np`: an `Array` answers to these functions, its operators
and its methods as an ndarray of floats does, and the results carry derivatives of every order. A
function that is not named here raises a `TypeError` that names it and the nearest way; none falls
back to arrays of objects, or loses a derivative silently.

Values are NumPy's, of `float64`. `out=` takes an `Array`, `where=` plain truth values, and `dtype=`
nothing but `float`. Comparisons and the functions of values give plain arrays.
"""

KINKS: list[tuple[str, object, object, str]] = [
    ("np.where(x > 0, np.sqrt(x), 0.0)", [0.0, 4.0], [0.0, 0.25], "what is not chosen has slope 0"),
    ("np.abs(x)", [0.0, -0.0], [0.0, 0.0], "subgradient of smallest norm"),
    ("np.sign(x)", [0.0], [0.0], "constant on both sides"),
    ("np.maximum(x, 0.0)", [0.0, 1.0], [0.5, 1.0], "equal operands share"),
    ("np.fmin(x, 0.0)", [0.0, 1.0], [0.5, 0.0], "the same"),
    ("np.clip(x, 0.0, 1.0)", [0.0, 1.0, 2.0], [0.5, 0.5, 0.0], "the same: shared with the bound"),
    ("np.max(x)", [1.0, 3.0, 3.0], [0.0, 0.5, 0.5], "equal elements share"),
    ("np.min(x, axis=0)", [[1.0, 2.0], [1.0, 3.0]], [[0.5, 1.0], [0.5, 0.0]], "the same"),
    ("np.nanmax(x)", [np.nan, 2.0, 2.0], [0.0, 0.5, 0.5], "the same"),
    ("np.ptp(x)", [1.0, 1.0], [0.0, 0.0], "the same, and they cancel"),
    ("np.maximum.accumulate(x)", [1.0, 1.0, 0.0], [3.0, 0.0, 0.0], "of equal elements the first"),
    ("np.sort(x) * [1.0, 2.0, 3.0]", [2.0, 1.0, 1.0], [3.0, 1.0, 2.0], "stable, whatever `kind`"),
    ("np.median(x)", [1.0, 1.0, 1.0], [0.0, 1.0, 0.0], "the middle one of a stable sort"),
    ("np.quantile(x, 0.25)", [1.0, 1.0, 1.0], [0.5, 0.5, 0.0], "between two of a stable sort"),
    ("np.unique(x)", [2.0, 1.0, 1.0], [1.0, 1.0, 0.0], "of equal elements the first"),
    ("np.linalg.norm(x)", [0.0, 0.0], [0.0, 0.0], "subgradient of smallest norm"),
    ("np.hypot(x[0], x[1])", [0.0, 0.0], [0.0, 0.0], "the same"),
    ("np.std(x)", [1.0, 1.0], [0.0, 0.0], "the same"),
    ("np.var(x)", [1.0, 1.0], [0.0, 0.0], "smooth"),
    ("np.prod(x)", [2.0, 0.0, 3.0], [0.0, 6.0, 0.0], "smooth: the product of the others"),
    ("np.prod(x)", [0.0, 0.0, 3.0], [0.0, 0.0, 0.0], "the same"),
    ("np.cumprod(x)", [2.0, 0.0, 3.0], [1.0, 8.0, 0.0], "the same"),
    ("x ** 0.0", [0.0, 2.0], [0.0, 0.0], "constant"),
    ("x ** 1.0", [0.0, -2.0], [1.0, 1.0], "smooth"),
    ("x ** 2.0", [0.0, -2.0], [0.0, -4.0], "smooth"),
    ("0.0 ** x", [0.0, 2.0], [0.0, 0.0], "as `pyad.pow`, see edges.md"),
    ("np.sinc(x)", [0.0], [0.0], "smooth"),
    ("np.interp(x, [0.0, 1.0, 2.0], [0.0, 1.0, 4.0])", [1.0, 2.0, 3.0], [3.0, 3.0, 0.0],
     "at a node the slope on its right, at the last node that on its left"),
    ("np.heaviside(x, 0.5)", [0.0, 1.0], [0.0, 0.0], "constant pieces"),
    ("np.round(x) + np.floor(x)", [0.5, 2.0], [0.0, 0.0], "constant pieces"),
    ("np.nan_to_num(x)", [np.nan, 2.0, np.inf], [0.0, 1.0, 0.0], "what is put in is a constant"),
]  # fmt: skip
"""(expression, x, the gradient of its sum, why)"""

AT_KINKS = """
## At kinks and ties

Decisions, each a test. The gradient is that of the sum of the elements; for single operations see
[edges.md](edges.md).

| expression | x | gradient | |
|---|---|---|---|
"""

METHODS = """
## Methods and attributes

Of ndarrays: {theirs}.

Of variables: {ours}.

Slices, `reshape`, `T` and their like are views as NumPy's are: a store through one shows in the
others. Results of operations are in C order, whatever the order of the operands. A leaf made by
`pyad.array` is not assigned to item by item: take `x.copy()`, or assign all of its numbers,
`x.value = ...`. `astype` to whole numbers or truth values gives a plain array, as comparisons do.

A function under differentiation may assign to items of its argument; the caller's array stays as
it is. Within `pyad.no_grad()` copies and results are constants; a view still shows the elements
that it is a view of.
"""

CONSTRUCTORS = """
## pyad.numpy

`import pyad.numpy as np` is NumPy's namespace, in which these give an `Array` where NumPy's give an
array of floats, so that variables can be assigned to its items: {names}.
"""

OTHERS = """
## Other ways

| not supported | instead |
|---|---|
"""


def _kink(row: tuple[str, object, object, str]) -> str:
    expression, x, gradient, reason = row
    return f"| `{expression}` | `{x}` | `{gradient}` | {reason} |\n"


def _table(title: str, text: str, names: dict[str, str]) -> str:
    noted = {name: note for name, note in names.items() if note}
    others = [f"`{name}`" for name in names if name not in noted]
    page = f"\n## {title}\n" + (f"\n{text}\n" if text else "")
    if others:
        page += "\n" + ", ".join(others) + ".\n"
    if noted:
        page += "\n| function | |\n|---|---|\n"
        page += "".join(f"| `{name}` | {note} |\n" for name, note in noted.items())
    return page


def page() -> str:
    """The text of docs/numpy.md."""
    public = [name for name in dir(pyad.Array) if not name.startswith("_") and name not in ABSENT]
    theirs = [f"`{name}`" for name in public if hasattr(np.ndarray, name)]
    ours = [f"`{name}`" for name in public if not hasattr(np.ndarray, name)]
    made = ", ".join(f"`{name}`" for name in pyad.numpy._CONSTRUCTORS)
    text = HEAD + "".join(_table(*group) for group in groups())
    text += AT_KINKS + "".join(map(_kink, KINKS))
    text += METHODS.format(theirs=", ".join(theirs), ours=", ".join(ours))
    text += CONSTRUCTORS.format(names=made)
    text += OTHERS + "".join(f"| `{name}` | {way} |\n" for name, way in ways().items())
    return text


if __name__ == "__main__":
    Path(__file__).with_name("numpy.md").write_text(page(), encoding="utf-8")
