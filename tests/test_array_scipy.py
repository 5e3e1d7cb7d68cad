"""pyad.scipy: values equal to SciPy's, derivatives in every mode, decisions at the edges."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from array_checks import check

import pyad

special = pytest.importorskip("scipy.special")
sl = pytest.importorskip("scipy.linalg")
integrate = pytest.importorskip("scipy.integrate")
interpolate = pytest.importorskip("scipy.interpolate")
stats = pytest.importorskip("scipy.stats")
ours = pytest.importorskip("pyad.scipy.special")
mine = pytest.importorskip("pyad.scipy.linalg")

X = np.array([0.3, 0.9, 1.7])
UNIT = np.array([0.15, 0.5, 0.85])
SIGNED = np.array([-1.3, -0.4, 0.6, 2.1])

# ---- special -----------------------------------------------------------------------------------

CASES: dict[str, tuple[Any, ...]] = {
    "erf": (SIGNED,), "erfc": (SIGNED,), "erfinv": (UNIT - 0.5,), "ndtr": (SIGNED,),
    "log_ndtr": (SIGNED,), "expit": (SIGNED,), "logit": (UNIT,), "gamma": (SIGNED,),
    "gammaln": (X,), "psi": (X,), "digamma": (X,), "xlogy": (SIGNED, 1.3), "cbrt": (X,),
    "exp2": (SIGNED,), "expm1": (SIGNED,), "log1p": (X,), "loggamma": (X,), "rgamma": (SIGNED,),
    "beta": (X, np.array([[0.7], [2.0]])), "betaln": (X, 1.4), "binom": (X + 3, X),
    "poch": (X, 1.6), "gammasgn": (SIGNED,), "erfcinv": (UNIT,), "erfcx": (SIGNED,),
    "erfi": (X,), "dawsn": (SIGNED,), "ndtri": (UNIT,), "ndtri_exp": (-X,),
    "owens_t": (SIGNED, 0.7), "log_expit": (SIGNED,), "xlog1py": (SIGNED, 0.7), "entr": (X,),
    "rel_entr": (X, 1.1), "kl_div": (X, 1.1), "boxcox": (X, 0.4), "exp10": (SIGNED,),
    "exprel": (SIGNED,), "cosm1": (SIGNED,), "huber": (0.8, SIGNED),
    "pseudo_huber": (0.8, SIGNED), "j0": (SIGNED,), "j1": (SIGNED,), "y0": (X,), "y1": (X,),
    "i0": (SIGNED,), "i1": (SIGNED,), "i0e": (SIGNED,), "i1e": (SIGNED,), "k0": (X,), "k1": (X,),
    "k0e": (X,), "k1e": (X,), "exp1": (X,), "expi": (SIGNED,), "spence": (X,), "ellipk": (UNIT,),
    "ellipe": (UNIT,), "sinc": (SIGNED,), "factorial": (X,), "comb": (X + 3, X),
    "softmax": (SIGNED,), "log_softmax": (SIGNED,), "logsumexp": (SIGNED,),
}  # fmt: skip
"""Arguments in all of which there is a derivative."""

FIXED: dict[str, tuple[tuple[Any, ...], Any]] = {
    "polygamma": ((1,), X), "gammainc": ((1.7,), X), "gammaincc": ((1.7,), X),
    "gammaincinv": ((1.7,), UNIT), "gammainccinv": ((1.7,), UNIT), "betainc": ((1.2, 2.3), UNIT),
    "betaincc": ((1.2, 2.3), UNIT), "betaincinv": ((1.2, 2.3), UNIT),
    "betainccinv": ((1.2, 2.3), UNIT), "zeta": ((2.5,), X), "stdtr": ((3.5,), SIGNED),
    "stdtrit": ((3.5,), UNIT), "jv": ((1.5,), X), "jn": ((2,), SIGNED), "jve": ((1.5,), X),
    "yn": ((1,), X), "yv": ((0.5,), X), "yve": ((0.5,), X), "iv": ((1.5,), X), "ive": ((1.5,), X),
    "kn": ((2,), X), "kv": ((0.5,), X), "kve": ((0.5,), X), "expn": ((3,), X),
    "hyp0f1": ((1.5,), SIGNED), "hyp1f1": ((0.7, 1.9), SIGNED),
    "hyp2f1": ((0.7, 1.1, 1.9), UNIT), "multigammaln": ((), X + 2),
}  # fmt: skip
"""Constant arguments, then the one that varies."""


def test_every_function_has_a_case() -> None:
    assert set(CASES) | set(FIXED) == set(ours.__all__)
    assert all(hasattr(special, name) for name in ours.__all__)


@pytest.mark.parametrize("name", CASES)
def test_special(name: str) -> None:
    check(getattr(ours, name), *CASES[name], reference=getattr(special, name), rtol=3e-6)


@pytest.mark.parametrize("name", FIXED)
def test_special_in_the_last_argument(name: str) -> None:
    constants, x = FIXED[name]
    if name == "multigammaln":
        check(lambda x: ours.multigammaln(x, 3), x, reference=lambda x: special.multigammaln(x, 3))
        return
    check(
        lambda x: getattr(ours, name)(*constants, x),
        x,
        reference=lambda x: getattr(special, name)(*constants, x),
        rtol=3e-6,
    )


# ---- linalg ------------------------------------------------------------------------------------


def matrix(*shape: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).normal(size=shape)


def symmetric(x: Any) -> Any:
    return 0.5 * (x + np.swapaxes(x, -1, -2))


A = matrix(4, 4) + 4 * np.eye(4)
S = A @ A.T / 4
B = matrix(4, 2, seed=1)


def same(name: str, *args: Any, rtol: float = 1e-6, vary: Any = None, **options: Any) -> None:
    """Values of SciPy's, derivatives of ours."""
    check(
        lambda *xs: getattr(mine, name)(*xs, **options),
        *args,
        reference=lambda *xs: getattr(sl, name)(*xs, **options),
        rtol=rtol,
        vary=vary,
    )


def test_names_are_those_of_scipy() -> None:
    assert all(hasattr(sl, name) and hasattr(mine, name) for name in mine.__all__)


@pytest.mark.parametrize("b", [B, B[:, 0]])
def test_solvers(b: Any) -> None:
    same("solve", A, b)
    same("solve", A, b, transposed=True)
    for trans in (0, 1):
        for lower in (False, True):
            for unit in (False, True):
                same("solve_triangular", A, b, trans=trans, lower=lower, unit_diagonal=unit)
    for trans in (0, 1):
        check(
            lambda a, b, t=trans: mine.lu_solve(mine.lu_factor(a), b, t),
            A[::-1],
            b,
            reference=lambda a, b, t=trans: sl.lu_solve(sl.lu_factor(a), b, t),
        )
    for lower in (False, True):
        check(
            lambda a, b, lower=lower: mine.cho_solve(mine.cho_factor(a, lower), b),
            S,
            b,
            reference=lambda a, b, lower=lower: sl.cho_solve(sl.cho_factor(a, lower), b),
            vary=lambda v: symmetric(v) if v.shape == (4, 4) else v,
        )
        for kind in ("pos", "sym"):
            same("solve", S, b, assume_a=kind, lower=lower,
                 vary=lambda v: symmetric(v) if v.shape == (4, 4) else v)  # fmt: skip


def test_stacks_of_triangular_systems() -> None:
    a, b = matrix(2, 1, 3, 3) + 3 * np.eye(3), matrix(4, 3, 2, seed=1)
    check(
        lambda a, b: mine.solve_triangular(a, b, lower=True),
        a,
        b,
        reference=lambda a, b: np.linalg.solve(np.tril(a), b[None]),
    )


def test_factorizations() -> None:
    for name in ("lu", "lu_factor", "inv", "det", "qr", "svdvals", "norm", "pinv"):
        if name != "lu_factor":
            same(name, A[[2, 0, 1, 3]] if name == "lu" else A)
    check(lambda a: mine.lu_factor(a)[0], A[[2, 0, 1, 3]], reference=lambda a: sl.lu_factor(a)[0])
    same("lu", A[[2, 0, 1, 3]], permute_l=True)
    same("qr", B, mode="economic", rtol=1e-5)
    for lower in (False, True):
        same("cholesky", S, lower=lower, vary=symmetric)
    d = np.diag([1.0, 3.0, 6.0, 10.0]) + 0.3 * S
    for more, options in (((), {}), ((S,), {}), ((), {"subset_by_index": [1, 2]})):

        def unsigned(f: Any, *xs: Any, lower: bool, options: Any = options) -> Any:
            w, v = f(*xs, lower=lower, **options)  # signs of SciPy's vectors change nearby
            return w, v * v

        for lower in (True, False):
            check(
                lambda *xs, u=unsigned, lower=lower: u(mine.eigh, *xs, lower=lower),
                d,
                *more,
                reference=lambda *xs, u=unsigned, lower=lower: u(sl.eigh, *xs, lower=lower),
                vary=symmetric,
                rtol=1e-5,
            )
    same("eigvalsh", d, S, vary=symmetric)
    same("eigvalsh", d, lower=False, vary=symmetric)
    same("svd", 0.3 * B + np.eye(4, 2) * [1, 3], full_matrices=False)
    same("polar", A)
    same("polar", A, side="left")
    check(lambda a: mine.eigvals(a), np.diag([1.0, 3, 6]) + 0.2 * matrix(3, 3),
          reference=lambda a: sl.eigvals(a).real)  # fmt: skip
    check(lambda a, b: mine.lstsq(a, b)[:2], B, A[:, 0], reference=lambda a, b: sl.lstsq(a, b)[:2],
          rtol=1e-5, step=1e-4)  # fmt: skip


@pytest.mark.parametrize("below", [0, 1, 2])
@pytest.mark.parametrize("above", [0, 1, 3])
def test_banded(below: int, above: int) -> None:
    ab = matrix(below + above + 1, 5)
    ab[above] += 4
    for b in (matrix(5), matrix(5, 2)):
        check(
            lambda ab, b: mine.solve_banded((below, above), ab, b),
            ab,
            b,
            reference=lambda ab, b: sl.solve_banded((below, above), ab, b),
        )


@pytest.mark.parametrize("lower", [False, True])
def test_symmetric_banded(lower: bool) -> None:
    ab = 0.3 * matrix(3, 5)
    ab[0 if lower else 2] += 4
    for b in (matrix(5), matrix(5, 2)):
        same("solveh_banded", ab, b, lower=lower)
    with pytest.raises(np.linalg.LinAlgError):
        mine.solveh_banded(pyad.array(-ab), np.ones(5), lower=lower)


def test_structured_matrices() -> None:
    c, r = matrix(3), matrix(4, seed=1)
    same("toeplitz", c, r)
    same("toeplitz", c)
    same("circulant", c)
    same("hankel", c, r)
    same("hankel", c)
    same("block_diag", A, B, c)


def test_functions_of_matrices() -> None:
    for name in ("expm", "cosm", "sinm", "coshm", "sinhm", "tanm", "tanhm"):
        same(name, 0.3 * A[:3, :3])
    check(mine.sqrtm, A, reference=lambda x: np.real(sl.sqrtm(x)), rtol=1e-6)
    same("logm", A[:3, :3])
    check(lambda a: mine.fractional_matrix_power(a, 0.3), A[:3, :3],
          reference=lambda a: sl.fractional_matrix_power(a, 0.3).real)  # fmt: skip
    check(mine.sqrtm, matrix(2, 3, 3) + 4 * np.eye(3),
          reference=lambda x: np.stack([np.real(sl.sqrtm(v)) for v in x]))  # fmt: skip
    for name in ("sqrtm", "logm"):
        with pytest.raises(TypeError, match="is complex"):
            getattr(mine, name)(pyad.array(-A))
    slope = pyad.grad(lambda a: np.sum(mine.sqrtm(a)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of SciPy's
        with pytest.raises(np.linalg.LinAlgError, match="singular"):
            slope(np.diag([1.0, 0.0]))


def test_matrix_equations() -> None:
    q = matrix(4, 4, seed=2)
    same("solve_sylvester", A, matrix(2, 2) + 3 * np.eye(2), B)
    same("solve_continuous_lyapunov", A, q)
    same("solve_lyapunov", A, q)
    same("solve_discrete_lyapunov", 0.1 * A, q)
    r = np.array([[2.0, 0.3], [0.3, 1.0]])
    check(
        lambda a, b, c: mine.solve_continuous_are(a, b, c @ c.T + np.eye(4), r),
        A,
        B,
        matrix(4, 4, seed=3),
        reference=lambda a, b, c: sl.solve_continuous_are(a, b, c @ c.T + np.eye(4), r),
        rtol=1e-5,
    )


def test_functions_of_scipy_name_ours() -> None:
    a = pyad.array(A)
    for call, name in (
        (lambda: sl.expm(a), "pyad.scipy.linalg.expm"),
        (lambda: sl.inv(a), "pyad.scipy.linalg.inv"),
        (lambda: sl.solve(a, B), "pyad.scipy.linalg.solve"),
        (lambda: sl.cholesky(a), "pyad.scipy.linalg.cholesky"),
        (lambda: special.logsumexp(a), "pyad.scipy.special.logsumexp"),
        (lambda: special.spherical_jn(1, a), "scipy.special.spherical_jn"),
        (lambda: stats.norm.logpdf(a), "pyad.scipy.stats.norm.logpdf"),
        (lambda: stats.norm.ppf(a), "scipy.stats.norm.ppf is not"),
        (lambda: stats.gmean(a), "scipy.stats.gmean"),
        (lambda: stats.gaussian_kde(a), "scipy.stats.gaussian_kde"),
        (lambda: interpolate.CubicSpline([0.0, 1.0], a[:2]), "scipy.interpolate.CubicSpline"),
        (lambda: integrate.trapezoid(a), "scipy.integrate.trapezoid"),
        (lambda: sparse.linalg.spsolve(sparse.eye(3).tocsc(), a[0]), "scipy.sparse.linalg.spsolve"),
    ):
        with pytest.raises(TypeError, match=name):
            call()


# ---- stats -------------------------------------------------------------------------------------

dist = pytest.importorskip("pyad.scipy.stats")

LINE = np.array([-2.5, -0.3, 0.4, 1.9])
POSITIVE = np.array([0.2, 0.9, 1.8, 4.0])

# name: points in the support, shapes
CONTINUOUS: dict[str, tuple[Any, tuple[float, ...]]] = {
    "norm": (LINE, ()), "t": (LINE, (3.5,)), "gamma": (POSITIVE, (1.7,)),
    "beta": (np.array([0.1, 0.4, 0.9]), (1.7, 0.8)), "expon": (POSITIVE, ()),
    "lognorm": (POSITIVE, (0.7,)), "laplace": (LINE, ()), "logistic": (LINE, ()),
    "cauchy": (LINE, ()), "chi2": (POSITIVE, (3.3,)), "f": (POSITIVE, (3.0, 4.5)),
    "uniform": (np.array([0.1, 0.5]), ()), "weibull_min": (POSITIVE, (1.6,)),
    "pareto": (1 + POSITIVE, (2.2,)), "gumbel_r": (LINE, ()), "gumbel_l": (LINE, ()),
    "invgamma": (POSITIVE, (1.8,)), "halfnorm": (POSITIVE, ()), "halfcauchy": (POSITIVE, ()),
    "rayleigh": (POSITIVE, ()), "vonmises": (LINE, (1.3,)), "skewnorm": (LINE, (1.2,)),
    "truncnorm": (np.array([-0.4, 0.3, 1.0]), (-0.8, 1.5)),
}  # fmt: skip
DISCRETE: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "poisson": ([0.0, 2.0, 5.0], (2.3,)), "binom": ([0.0, 3.0, 7.0], (7, 0.3)),
    "nbinom": ([0.0, 3.0, 8.0], (3.5, 0.4)), "geom": ([1.0, 4.0], (0.3,)),
    "bernoulli": ([0.0, 1.0], (0.3,)),
}  # fmt: skip
VECTORS = {"multivariate_normal", "dirichlet", "multinomial"}


def test_every_distribution_has_a_case() -> None:
    assert set(CONTINUOUS) | set(DISCRETE) | VECTORS == set(dist.__all__)


@pytest.mark.parametrize("name", CONTINUOUS)
def test_densities(name: str) -> None:
    z, shapes = CONTINUOUS[name]
    ours, theirs = getattr(dist, name), getattr(stats, name)
    loc, scale = 0.3, 1.4
    for method in ("logpdf", "pdf"):
        check(
            lambda z, *rest, m=method: getattr(ours, m)(z * scale + loc, *rest),
            z,
            *shapes,
            loc,
            scale,
            reference=lambda z, *rest, m=method: getattr(theirs, m)(z * scale + loc, *rest),
            rtol=1e-6,
        )


@pytest.mark.parametrize("name", CONTINUOUS)
def test_distribution_functions(name: str) -> None:
    z, shapes = CONTINUOUS[name]
    ours, theirs = getattr(dist, name), getattr(stats, name)
    if name in ("vonmises", "skewnorm"):
        with pytest.raises(TypeError, match="no cdf"):
            ours.cdf(pyad.array(z), *shapes)
        return
    for method in ("cdf", "sf", "logcdf", "logsf"):
        check(
            lambda z, loc, scale, m=method: getattr(ours, m)(z, *shapes, loc, scale),
            z * 1.4 + 0.3,
            0.3,
            1.4,
            reference=lambda z, loc, scale, m=method: getattr(theirs, m)(z, *shapes, loc, scale),
            rtol=1e-5,
        )


@pytest.mark.filterwarnings("ignore:divide by zero|invalid value|overflow:RuntimeWarning")
@pytest.mark.parametrize("name", CONTINUOUS)
def test_values_outside_the_support_and_at_its_ends(name: str) -> None:
    z, shapes = CONTINUOUS[name]
    ours, theirs = getattr(dist, name), getattr(stats, name)
    x = np.array([-np.inf, -1e3, -1.0, 0.0, z[0], 1.0, 1e3, np.inf, np.nan])
    has_cdf = name not in ("vonmises", "skewnorm")
    for method in ("logpdf", "pdf", *(("cdf", "sf") if has_cdf else ())):
        if name == "vonmises":  # periodic, and without value at infinity
            x = x[np.isfinite(x)]
        with np.errstate(all="ignore"):
            expected = getattr(theirs, method)(x, *shapes)
        if method.endswith("pdf"):  # SciPy has NaN there for some, or a density that underflows
            expected = np.where(np.isinf(x), -np.inf if method == "logpdf" else 0.0, expected)
        if name == "laplace" and method == "logpdf":
            expected = np.where(np.isinf(x), -np.inf, -abs(x) - np.log(2.0))
        found = getattr(ours, method)(pyad.array(x), *shapes)
        np.testing.assert_allclose(found.value, expected, rtol=1e-9, atol=1e-300)
        one = getattr(ours, method)(pyad.var(float(x[2])), *shapes)
        np.testing.assert_allclose(one.value, expected[2], rtol=1e-9, atol=1e-300)
    gradient = pyad.grad(lambda x: np.sum(ours.pdf(x, *shapes)))(np.array([-1e3, z[0], z[1]]))
    assert name == "vonmises" or gradient[0] == pytest.approx(0.0, abs=1e-4)
    assert np.all(np.isfinite(gradient))
    for scale in (0.0, -1.0):
        assert np.isnan(ours.logpdf(pyad.array(z), *shapes, 0.0, scale).value).all()
    bad = tuple(-1.0 for _ in shapes)
    if shapes and name not in ("skewnorm",):
        assert np.isnan(ours.logpdf(pyad.array(z), *bad).value).all()


@pytest.mark.parametrize("name", DISCRETE)
def test_probabilities(name: str) -> None:
    k, shapes = DISCRETE[name]
    ours, theirs = getattr(dist, name), getattr(stats, name)
    fixed, free = (shapes[:1], shapes[1:]) if name == "binom" else ((), shapes)
    for method in ("logpmf", "pmf"):
        check(
            lambda *p, m=method: getattr(ours, m)(np.add(k, 2), *fixed, *p, 2),
            *free,
            reference=lambda *p, m=method: getattr(theirs, m)(np.add(k, 2), *fixed, *p, 2),
            rtol=1e-6,
        )
    x = np.array([-1.0, 0.0, 0.5, 1.0, 3.0, 100.0, np.nan])
    free_arrays = [pyad.array(np.full(7, p)) for p in free]
    np.testing.assert_allclose(
        ours.logpmf(x, *fixed, *free_arrays).value, theirs.logpmf(x, *shapes), rtol=1e-10
    )
    # `nbinom.cdf` and its like have a derivative in the probability only
    numbers, rate = (*fixed, *free[:-1]), free[-1]
    for method in ("cdf", "logcdf"):
        check(
            lambda p, m=method: getattr(ours, m)(np.add(k, 2.5), *numbers, p, 2),
            rate,
            reference=lambda p, m=method: getattr(theirs, m)(np.add(k, 2.5), *numbers, p, 2),
            rtol=1e-6,
        )
    with np.errstate(divide="ignore"):
        np.testing.assert_allclose(
            ours.cdf(x, *numbers, pyad.array(np.full(7, rate))).value, theirs.cdf(x, *shapes)
        )
    with pytest.raises(TypeError, match="whole number"):
        ours.logpmf(pyad.array(x), *shapes)


def test_multivariate_normal() -> None:
    mean, cov, x = matrix(3), matrix(3, 3) @ matrix(3, 3).T + np.eye(3), matrix(4, 3, seed=1)

    def vary(v: Any) -> Any:
        return symmetric(v) if v.shape == (3, 3) else v

    for point in (x, x[0], matrix(2, 2, 3)):
        for method in ("logpdf", "pdf"):
            check(
                getattr(dist.multivariate_normal, method), point, mean, cov, vary=vary,
                reference=getattr(stats.multivariate_normal, method), rtol=1e-6,
            )  # fmt: skip
    for given in (2.0, np.array([1.0, 2.0, 3.0])):
        check(lambda x, c: dist.multivariate_normal.logpdf(x, mean, c), x, given,
              reference=lambda x, c: stats.multivariate_normal.logpdf(x, mean, c))  # fmt: skip
    check(dist.multivariate_normal.logpdf, matrix(4), 0.5, 2.0,
          reference=stats.multivariate_normal.logpdf)  # fmt: skip
    check(lambda c: dist.multivariate_normal.entropy(mean, c), cov, vary=vary, rtol=1e-6,
          reference=lambda c: stats.multivariate_normal.entropy(mean, c))  # fmt: skip
    of_one = dist.multivariate_normal.entropy(None, pyad.array(2.0))
    assert of_one.value == pytest.approx(stats.multivariate_normal.entropy(None, 2.0))
    with pytest.raises(np.linalg.LinAlgError):
        dist.multivariate_normal.logpdf(pyad.array(mean), None, np.zeros((3, 3)))
    with pytest.raises(ValueError, match="shape"):
        dist.multivariate_normal.logpdf(pyad.array(mean), None, np.eye(2))


def test_distributions_of_shares() -> None:
    alpha, x = np.array([1.2, 2.3, 0.8]), np.array([0.2, 0.5, 0.3])
    check(lambda a: dist.dirichlet.logpdf(x, a), alpha, rtol=1e-6,
          reference=lambda a: stats.dirichlet.logpdf(x, a))  # fmt: skip
    check(lambda x: dist.dirichlet.logpdf(x, alpha), x[:2], rtol=1e-6,
          reference=lambda x: stats.dirichlet.logpdf(x, alpha))  # fmt: skip
    many = np.array([[0.2, 0.6], [0.5, 0.3], [0.3, 0.1]])
    check(lambda a: dist.dirichlet.pdf(many.T[0], a), alpha,
          reference=lambda a: stats.dirichlet.pdf(many.T[0], a))  # fmt: skip
    assert dist.dirichlet.logpdf(many, pyad.array(alpha)).value == pytest.approx(
        stats.dirichlet.logpdf(many, alpha)
    )
    counts = np.array([1, 3, 2])

    def share(q: Any) -> Any:  # probabilities that add up to 1
        return np.exp(q) / np.sum(np.exp(q))

    for method in ("logpmf", "pmf"):
        check(
            lambda q, m=method: getattr(dist.multinomial, m)(counts, 6, share(q)),
            x,
            reference=lambda q, m=method: getattr(stats.multinomial, m)(counts, 6, share(q)),
        )
    beside = dist.multinomial.logpmf([1, 1, 1], 6, pyad.array(x))  # not 6 of them
    assert beside.value == -np.inf


def test_arguments_by_name_and_errors() -> None:
    x = pyad.array(LINE)
    np.testing.assert_allclose(
        dist.norm.logpdf(x, scale=2.0, loc=1.0).value, stats.norm.logpdf(LINE, 1, 2)
    )
    np.testing.assert_allclose(dist.t.logpdf(x, np.inf).value, stats.norm.logpdf(LINE), rtol=1e-12)
    assert isinstance(dist.norm.logpdf(0.3), float)
    for call in (
        lambda: dist.t.logpdf(x),
        lambda: dist.norm.logpdf(x, 0, 1, 2),
        lambda: dist.norm.logpdf(x, width=2),
        lambda: dist.norm.ppf(x),
        lambda: dist.poisson.sf(x, 1.0),
        lambda: dist.dirichlet.entropy(x),
        lambda: dist.gamma.cdf(1.0, x),
    ):
        with pytest.raises(TypeError):
            call()


# ---- sparse matrices ---------------------------------------------------------------------------

sparse = pytest.importorskip("scipy.sparse")

DENSE = np.array([[0.0, 2.0, 0.0, -1.0], [0.5, 0.0, 0.0, 0.0], [0.0, 0.0, 3.0, 1.5]])
KINDS = [
    getattr(sparse, f"{k}_{t}") for k in ("csr", "csc", "coo", "dia") for t in ("array", "matrix")
]


@pytest.mark.parametrize("kind", KINDS, ids=lambda k: k.__name__)
def test_products_with_sparse_matrices(kind: Any) -> None:
    m = kind(DENSE)
    x, w = matrix(4), matrix(3)
    for b in (x, matrix(4, 2), matrix(4, 0)):
        check(lambda b: m @ b, b, reference=lambda b: DENSE @ b)
        check(lambda b: b.T @ m.T, b, reference=lambda b: b.T @ DENSE.T)
    check(lambda w: w @ m, w, reference=lambda w: w @ DENSE)
    check(lambda x, w: w @ m @ (x * x), x, w, reference=lambda x, w: w @ DENSE @ (x * x))
    check(lambda w: w.dot(m), w, reference=lambda w: w @ DENSE)
    if kind.__name__.startswith(("csr", "csc")):
        check(lambda b: m.dot(b), x, reference=lambda b: DENSE @ b)
    if kind.__name__.endswith("matrix"):
        check(lambda b: m * b, x, reference=lambda b: DENSE @ b)
        check(lambda w: w * m, w, reference=lambda w: w @ DENSE)


def test_sparse_matrix_changed_afterwards() -> None:
    m, a = sparse.csr_array(DENSE), pyad.array(np.ones(4))
    y = np.sum(m @ a)
    m.data[:] = 0
    np.testing.assert_array_equal(pyad.gradient(y, a), DENSE.sum(axis=0))


def test_what_sparse_matrices_do_not_do_with_arrays() -> None:
    m, a = sparse.csr_array(DENSE), pyad.array(np.ones(4))
    for call in (
        lambda: m * a,
        lambda: a * m,
        lambda: m + a,
        lambda: m.multiply(a),
        lambda: m * pyad.var(2.0),
        lambda: sparse.csr_array(DENSE * 1j) @ a,
        lambda: np.multiply(m, a),
    ):
        with pytest.raises(TypeError):
            call()
    for call in (lambda: m @ a[:3], lambda: a @ m, lambda: m @ pyad.array(np.ones((2, 4, 1)))):
        with pytest.raises(ValueError, match="does not fit"):
            call()


# ---- ufuncs of SciPy on variables --------------------------------------------------------------


def test_functions_of_scipy_special_take_variables() -> None:
    x = pyad.array(X)
    for name, args in CASES.items():
        function = getattr(special, name)
        if isinstance(function, np.ufunc):
            y = function(*map(pyad.array, args))
            assert isinstance(y, pyad.Array)
            np.testing.assert_allclose(y.value, function(*args), rtol=1e-12)
    np.testing.assert_allclose(
        pyad.grad(lambda x: np.sum(special.jv(1.5, x)))(X), special.jvp(1.5, X), rtol=1e-12
    )
    assert pyad.grad(special.gammaln)(2.5) == pytest.approx(special.psi(2.5))
    assert pyad.grad(special.i1)(2.5) == pytest.approx(special.ivp(1, 2.5))
    assert pyad.derivative(special.i1, 2)(2.5) == pytest.approx(special.ivp(1, 2.5, 2))
    assert pyad.jvp(special.k0, (1.5,), (2.0,))[1] == pytest.approx(-2 * special.k1(1.5))
    variables = np.array([pyad.var(0.5), pyad.var(1.5)])
    np.testing.assert_allclose(ours.erf(variables).value, special.erf([0.5, 1.5]))
    for given in (x, pyad.var(1.0)):
        with pytest.raises(TypeError, match=r"scipy.special.lambertw .* pyad.scipy.special has"):
            special.lambertw(given)
        with pytest.raises(TypeError):
            special.struve(1.0, given)
    with pytest.raises(TypeError, match="in its argument 2 only"):
        special.jv(x, 1.0)
    with pytest.raises(TypeError, match="positional"):
        ours.erf(x, out=np.zeros(3))


def test_plain_numbers_get_what_scipy_gives() -> None:
    assert ours.gammaln(3) == special.gammaln(3)
    assert ours.erf(np.float32(0.5)).dtype == np.float32
    assert ours.erf(0.5j) == special.erf(0.5j)


def test_derivatives_at_poles_and_ends() -> None:
    n = np.array([0.0, -1.0, -2.0, -3.0])
    np.testing.assert_allclose(
        pyad.grad(lambda x: np.sum(ours.rgamma(x)))(n), [1.0, -1.0, 2.0, -6.0]
    )
    assert pyad.grad(ours.exprel)(0.0) == 0.5
    assert pyad.derivative(ours.exprel, 2)(0.0) == pytest.approx(1 / 3)
    assert pyad.grad(ours.j1)(0.0) == 0.5
    assert pyad.grad(ours.spence)(1.0) == -1.0
    assert pyad.grad(ours.ellipk)(0.0) == pytest.approx(np.pi / 8)
    assert pyad.grad(ours.entr)(0.0) == np.inf
    assert pyad.grad(ours.huber, 1)(1.0, 0.0) == 0.0


def test_derivatives_in_many_digits() -> None:
    mpmath = pytest.importorskip("mpmath")
    cases: dict[str, Any] = {
        "j0": lambda x: mpmath.besselj(0, x), "k1": lambda x: mpmath.besselk(1, x),
        "i1e": lambda x: mpmath.besseli(1, x) * mpmath.exp(-abs(x)), "exp1": mpmath.e1,
        "erfcx": lambda x: mpmath.exp(x * x) * mpmath.erfc(x), "expi": mpmath.ei,
        "dawsn": lambda x: mpmath.sqrt(mpmath.pi) / 2 * mpmath.exp(-x * x) * mpmath.erfi(x),
        "rgamma": mpmath.rgamma, "exprel": lambda x: mpmath.expm1(x) / x,
        "ndtri_exp": lambda y: mpmath.sqrt(2) * mpmath.erfinv(2 * mpmath.exp(y) - 1),
        "spence": lambda x: mpmath.polylog(2, 1 - x), "ellipe": mpmath.ellipe,
    }  # fmt: skip
    for name, exact in cases.items():
        for x in (0.2, 0.7) if name in ("ellipe", "spence") else (0.3, 2.7):
            at = -x if name == "ndtri_exp" else x
            for order in (1, 2, 3):
                with mpmath.workdps(40):
                    expected = float(mpmath.re(mpmath.diff(exact, mpmath.mpf(at), order)))
                found = pyad.derivative(getattr(ours, name), order)(at)
                assert found == pytest.approx(expected, rel=1e-11 * 10**order), (name, at, order)


def test_weighted_logarithm_of_sums() -> None:
    a, b = matrix(3, 4), matrix(3, 4, seed=1) + 3
    for axis in (None, 0, (0, 1), -1):
        for keepdims in (False, True):
            for weight in (b, b[0], 2.0):
                check(
                    lambda a, b, axis=axis, k=keepdims: ours.logsumexp(a, axis, b, k),
                    a,
                    weight,
                    reference=lambda a, b, axis=axis, k=keepdims: special.logsumexp(a, axis, b, k),
                )
    check(lambda a: ours.logsumexp(a, 1, -b, return_sign=True)[0], a,
          reference=lambda a: special.logsumexp(a, 1, -b, return_sign=True)[0])  # fmt: skip
    assert ours.logsumexp(pyad.array(a), 1, -b, return_sign=True)[1].tolist() == [-1.0] * 3
    assert ours.logsumexp(pyad.array([-np.inf, -np.inf])).value == -np.inf
    assert ours.logsumexp(pyad.array([800.0, -1e5]), b=np.array([0.5, 0.0])).value == pytest.approx(
        800 - np.log(2)
    )
    for axis in (None, 0, -1):
        check(lambda a, axis=axis: ours.softmax(a, axis), 300 * a, rtol=1e-6, step=1e-3,
              reference=lambda a, axis=axis: special.softmax(a, axis))  # fmt: skip
        check(lambda a, axis=axis: ours.log_softmax(a, axis), a,
              reference=lambda a, axis=axis: special.log_softmax(a, axis))  # fmt: skip


def test_without_scipy(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    for name in ("special", "linalg", "stats"):
        monkeypatch.setitem(sys.modules, f"scipy.{name}", None)
    for call in (
        lambda: ours.j0(pyad.var(1.0)),
        lambda: mine.solve_banded((1, 1), pyad.array(np.ones((3, 2))), np.ones(2)),
        lambda: dist.gamma.cdf(pyad.var(1.0), 2.0),
        lambda: dist.norm.logpdf(1.0),
    ):
        with pytest.raises(RuntimeError, match=r"pip install 'pyad-autodiff\[scipy\]'"):
            call()
    # what the operation table has needs no SciPy
    assert ours.erf(pyad.var(0.5)).value == pytest.approx(0.5204998778130465)
    assert dist.norm.logpdf(pyad.var(0.0)).value == pytest.approx(-0.9189385332046727)
