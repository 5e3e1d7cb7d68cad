"""NumPy's functions on Arrays: each row of `array_cases.CASES`, its value and its derivatives."""

from __future__ import annotations

import functools
import importlib.util
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from array_cases import (
    CASES,
    Case,
    check_constant,
    check_derivatives,
    check_value,
    leaves_of,
    names_called,
)

import pyad
from pyad.array._coverage import covered, name_of

OF_NUMPY_1 = {"np.in1d", "np.trapz"}
"""What the page does not name, since NumPy 2 has it under another name."""

STRUCTURE = [case for case in CASES if case.exact]


@pytest.mark.parametrize("case", CASES, ids=repr)
def test_value(case: Case) -> None:
    check_value(case)


@pytest.mark.parametrize("case", CASES, ids=repr)
def test_constants_give_constants(case: Case) -> None:
    check_constant(case)


@pytest.mark.parametrize("case", CASES, ids=repr)
def test_derivatives(case: Case) -> None:
    check_derivatives(case)


def rows(x: Any) -> Any:
    """Which node each element is, counted from 1; 0 for a constant."""
    if isinstance(x, pyad.Var):
        return np.array(x.node + 1 if x.requires_grad and x.node is not None else 0)
    found = pyad._handle._array_parts(x)[1]
    return np.zeros(x.shape, int) if found is None else found


@pytest.mark.parametrize("case", STRUCTURE, ids=repr)
def test_structure_moves_nodes_with_their_values(case: Case) -> None:
    leaves = [pyad.array(x) for x in case.inputs()]
    results = [leaf for leaf in leaves_of(case.function(*leaves)) if hasattr(leaf, "tape")]
    known = {
        value: row
        for leaf in leaves
        for value, row in zip(leaf.value.ravel().tolist(), rows(leaf).ravel().tolist(), strict=True)
    }
    last = max(known.values(), default=0)
    for result in results:
        for value, row in zip(np.ravel(result.value), np.ravel(rows(result)), strict=True):
            if row <= last:
                assert row == known.get(value, 0)


# ---- functions of values -------------------------------------------------------------------------

M = np.array([[2.0, -1.0, 0.5], [0.0, 3.0, 0.5]])
L = np.array([0.5, 1.0, 2.0])
ONE = [
    "all", "any", "argmax", "argmin", "argsort", "argwhere", "array2string", "array_repr",
    "array_str", "common_type", "count_nonzero", "diag_indices_from", "flatnonzero",
    "histogram", "histogram_bin_edges", "iscomplex", "iscomplexobj", "isfinite", "isinf",
    "isnan", "isneginf", "isposinf", "isreal", "isrealobj", "lexsort", "logical_not",
    "min_scalar_type", "nanargmax", "nanargmin", "ndim", "nonzero", "result_type", "shape",
    "signbit", "size", "tril_indices_from", "triu_indices_from",
]  # fmt: skip
TWO = [
    "allclose", "array_equal", "array_equiv", "equal", "greater", "greater_equal", "isclose",
    "isin", "less", "less_equal", "logical_and", "logical_or", "logical_xor",
    "may_share_memory", "not_equal", "shares_memory",
]  # fmt: skip
OTHERS: dict[str, Any] = {
    "argpartition": lambda x, y: np.argpartition(x, 1),
    "can_cast": lambda x, y: np.can_cast(x, np.float32),
    "digitize": lambda x, y: np.digitize(x, y),
    "einsum_path": lambda x, y: np.einsum_path("ij,j->i", x, y),
    "histogram2d": lambda x, y: np.histogram2d(x[0], y, bins=2),
    "histogramdd": lambda x, y: np.histogramdd(x, bins=2),
    "ix_": lambda x, y: np.ix_(x[0] > 0, y > 1),
    "packbits": lambda x, y: np.packbits(x > 0),
    "searchsorted": lambda x, y: np.searchsorted(y, x),
    "empty_like": lambda x, y: np.empty_like(x).shape,
    "ones_like": lambda x, y: np.ones_like(x) == 1,
    "zeros_like": lambda x, y: np.zeros_like(x, shape=3) == 0,
    "like of whole numbers": lambda x, y: np.ones_like(x, dtype=int),
    "comparisons": lambda x, y: [x > y, x >= 1, x > 1, x == y, x != M, x <= y, bool(y[0] < 1)],
}


def agree(got: Any, expected: Any) -> None:
    """Plain results, equal in type and value."""
    if isinstance(expected, (list, tuple)):
        assert len(got) == len(expected)
        for g, e in zip(got, expected, strict=True):
            agree(g, e)
        return
    assert not isinstance(got, (pyad.Array, pyad.Var))
    assert type(got) is type(expected)
    assert getattr(got, "dtype", None) == getattr(expected, "dtype", None)
    np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("name", [*ONE, *TWO, *OTHERS])
def test_functions_of_values_give_what_they_give_for_numbers(name: str) -> None:
    function = OTHERS.get(name) or getattr(np, name)
    inputs = (M[:, :2] if name.startswith(("diag", "tri")) else M, L)[: 1 if name in ONE else 2]
    agree(function(*map(pyad.array, inputs)), function(*inputs))


def test_a_histogram_has_no_derivative_in_its_weights() -> None:
    x, w = pyad.array(L), pyad.array(L)
    for call in (
        lambda: np.histogram(x, weights=w),
        lambda: np.histogram(L, 10, None, None, w),
        lambda: np.histogram2d(x, x, weights=w),
        lambda: np.histogramdd(M, weights=w[:2]),
    ):
        with pytest.raises(TypeError, match=r"np\.bincount"):
            call()
    agree(np.histogram(x, weights=w.value), np.histogram(L, weights=L))


# ---- coverage ------------------------------------------------------------------------------------

AUTOGRAD = [
    "abs", "absolute", "add", "amax", "amin", "angle", "append", "arccos", "arccosh", "arcsin",
    "arcsinh", "arctan", "arctan2", "arctanh", "array_split", "atleast_1d", "atleast_2d",
    "atleast_3d", "broadcast_to", "clip", "column_stack", "concatenate", "conj", "conjugate",
    "cos", "cosh", "cross", "cumsum", "deg2rad", "degrees", "diag", "diagonal", "diff",
    "divide", "dot", "dsplit", "dstack", "einsum", "exp", "exp2", "expand_dims", "expm1",
    "fabs", "fliplr", "flipud", "fmax", "fmin", "full_like", "gradient", "hsplit", "hstack",
    "imag", "inner", "kron", "linspace", "log", "log10", "log1p", "log2", "logaddexp",
    "logaddexp2", "matmul", "max", "maximum", "mean", "min", "minimum", "mod", "moveaxis",
    "multiply", "nan_to_num", "negative", "outer", "pad", "partition", "power", "prod",
    "rad2deg", "radians", "ravel", "real", "real_if_close", "reciprocal", "remainder", "repeat",
    "reshape", "roll", "rollaxis", "rot90", "select", "sign", "sin", "sinc", "sinh", "sort",
    "split", "sqrt", "square", "squeeze", "stack", "std", "subtract", "sum", "swapaxes", "tan",
    "tanh", "tensordot", "tile", "trace", "transpose", "tril", "triu", "true_divide", "var",
    "vsplit", "vstack", "where", "all", "allclose", "any", "argmax", "argmin", "argpartition",
    "argsort", "argwhere", "around", "array_equal", "array_equiv", "ceil", "count_nonzero",
    "equal", "fix", "flatnonzero", "floor", "floor_divide", "greater", "greater_equal",
    "isclose", "iscomplex", "iscomplexobj", "isfinite", "isinf", "isnan", "isneginf",
    "isposinf", "isreal", "less", "less_equal", "logical_and", "logical_not", "logical_or",
    "logical_xor", "ndim", "nonzero", "not_equal", "ones_like", "result_type", "rint", "round",
    "searchsorted", "shape", "size", "trunc", "zeros_like", "linalg.cholesky", "linalg.det",
    "linalg.eig", "linalg.eigh", "linalg.inv", "linalg.norm", "linalg.pinv", "linalg.slogdet",
    "linalg.solve", "linalg.svd",
]  # fmt: skip
"""The functions for which HIPS autograd has a rule, its `array`, `full` and `fft` excepted."""

WISHED = [
    "cbrt", "copysign", "heaviside", "fmod", "float_power", "positive", "vecdot", "interp",
    "cumprod", "linalg.qr", "linalg.eigh", "linalg.lstsq", "linalg.matrix_power",
    "linalg.multi_dot", "linalg.cond", "linalg.matrix_rank", "einsum", "tensordot", "kron",
    "outer", "inner", "matmul", "where", "select", "piecewise", "clip", "maximum", "diff",
    "gradient", "trapezoid", "convolve", "sort", "partition", "unique",
]  # fmt: skip
"""What users miss there."""


def found(name: str) -> Any:
    *modules, short = name.split(".")
    return getattr(functools.reduce(getattr, modules, np), short, None)


@pytest.mark.parametrize("name", [*AUTOGRAD, *WISHED])
def test_functions_of_other_libraries_are_covered(name: str) -> None:
    if found(name) is None:
        pytest.skip("not in this NumPy")
    assert name_of(found(name)) in covered()


def test_every_covered_function_has_a_case() -> None:
    known = names_called() | {*ONE, *TWO, *OTHERS}
    for page in Path(__file__).parent.glob("test_array_*.py"):  # those of linalg and fft
        text = page.read_text(encoding="utf-8")
        known |= set(re.findall(r"\b(?:L|F|linalg|fft)\.(\w+)", text))
        known |= set(re.findall(r'"(\w*fft)"', text))
    missing = {name for name in covered() if name.rpartition(".")[2] not in known}
    assert missing <= OF_NUMPY_1


# ---- what is not covered -------------------------------------------------------------------------

PRINTS_OR_SETS = {
    "bmat", "fromfile", "get_include", "info", "load", "mintypecode", "printoptions", "save",
    "savetxt", "savez",
    "savez_compressed", "set_printoptions", "setbufsize", "seterr", "seterrcall", "show_config",
    "show_runtime", "test",
    "deprecate", "deprecate_with_doc", "disp", "get_array_wrap", "lookfor", "maximum_sctype",
    "obj2sctype", "set_numeric_ops", "source",  # of NumPy 1
}  # fmt: skip
NOT_COVERED = sorted(
    f"{prefix}{name}"
    for module, prefix in ((np, ""), (np.linalg, "linalg."))
    for name in dir(module)
    if not name.startswith("_")
    and name not in PRINTS_OR_SETS
    and callable(f := getattr(module, name))
    and not isinstance(f, type)
    and name_of(f) not in covered()
)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::PendingDeprecationWarning")
@pytest.mark.parametrize("name", NOT_COVERED)
def test_other_functions_lose_no_derivative(name: str) -> None:
    """They raise, or say something of a type; never an ndarray or a number."""
    a, m = pyad.array(L), pyad.array(M[:, :2])
    for args in ((a,), (m,), (a, a), (m, m), (a, 2), ([a],), (a, L, 2)):
        try:
            result = found(name)(*args)
        except (TypeError, ValueError, AttributeError, IndexError, RuntimeError):
            continue
        assert isinstance(result, (pyad.Array, pyad.Var, bool, str, type(np.dtype(float)))), result


@pytest.mark.parametrize(
    ("name", "args", "way"),
    [
        ("polyfit", (L, L, 1), "lstsq"),
        ("union1d", (L, L), "unique"),
        ("nextafter", (L, L), "compose it"),
        ("intersect1d", (L, L), "isin"),
        ("polydiv", (L, L), "convolve"),
        ("i0", (L,), "special"),
        ("full", (3, L), "pyad.numpy.full"),
        ("ndenumerate", (L,), "np.ndindex"),
        ("asarray_chkfinite", (L,), "compose it"),
        ("isfortran", (L,), "compose it"),
        ("ma.average", (L,), "x\\[mask\\]"),
        ("ma.sort", (L,), "x\\[mask\\]"),
        ("polynomial.Polynomial", (L,), "np.polyval"),
        ("polynomial.polynomial.polyval", (L, L), "np.polyval"),
    ],
)
def test_a_refusal_names_the_function_and_another_way(name: str, args: Any, way: str) -> None:
    with pytest.raises(TypeError, match=f"np\\.{name}.*{way}") as raised:
        found(name)(*(pyad.array(x) if isinstance(x, np.ndarray) else x for x in args))
    assert isinstance(raised.value, pyad.Error)


def test_attributes_that_an_array_has_not_name_another_way() -> None:
    a = pyad.array(L)
    assert not hasattr(a, "view")
    assert getattr(a, "flags", None) is None
    with pytest.raises(AttributeError, match=r"Array\.view.*astype"):
        a.view(int)
    with pytest.raises(TypeError, match=r"np\.vectorize.*apply_along_axis"):
        np.vectorize(float)(a)


# ---- the page ------------------------------------------------------------------------------------


def load_page() -> Any:
    source = Path(__file__).parent.parent / "docs" / "make_numpy.py"
    spec = importlib.util.spec_from_file_location("make_numpy", source)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


MAKE = load_page()


def test_the_page_is_that_of_the_tables() -> None:
    page = (Path(__file__).parent.parent / "docs" / "numpy.md").read_text(encoding="utf-8")
    if f"NumPy {MAKE.NUMPY};" in page:
        assert page == MAKE.page(), "run: python docs/make_numpy.py"
    assert {name for name in covered() if f"`{name}`" not in page} <= OF_NUMPY_1


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize(("expression", "x", "gradient", "reason"), MAKE.KINKS, ids=str)
def test_kinks(expression: str, x: Any, gradient: Any, reason: str) -> None:
    def f(x: Any) -> Any:
        return np.sum(eval(expression, {"np": np, "x": x}))

    np.testing.assert_array_equal(pyad.grad(f)(np.array(x)), gradient)
    assert reason
    # the second derivative is finite where the first one is
    if not np.isnan(x).any() and "hypot" not in expression and "norm" not in expression:
        again = pyad.grad(lambda x: np.sum(pyad.grad(f)(x)))(np.array(x))
        assert np.isfinite(again).all()
