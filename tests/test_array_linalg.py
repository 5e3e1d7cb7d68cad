"""np.linalg of arrays: values, derivatives in every mode, decisions at degenerate points."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from array_checks import check

import pyad

L = np.linalg


def matrix(*shape: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).normal(size=shape)


def regular(*shape: int, seed: int = 0) -> Any:
    return matrix(*shape, seed=seed) + 3 * np.eye(shape[-1])


def definite(*shape: int, seed: int = 0) -> Any:
    x = matrix(*shape, seed=seed)
    return x @ np.swapaxes(x, -1, -2) + np.eye(shape[-1])


def symmetric(x: Any) -> Any:
    return 0.5 * (x + np.swapaxes(x, -1, -2))


STACKS = [(), (2,), (2, 1)]
NUMPY_1 = np.lib.NumpyVersion(np.__version__) < "2.0.0"


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ((3, 3), (3,)),
        ((3, 3), (3, 2)),
        ((1, 1), (1, 1)),
        ((2, 3, 3), (2, 3, 2)),
        ((2, 3, 3), (3, 2)),
        ((3, 3), (2, 3, 2)),
        ((2, 1, 3, 3), (4, 3, 1)),
        ((2, 3, 3), (3,)),
    ],
)
def test_solve(a: Any, b: Any) -> None:
    if NUMPY_1 and 2 < len(a) > len(b):
        pytest.skip("NumPy 1 takes such a right side for a stack of vectors")
    check(L.solve, regular(*a), matrix(*b))


@pytest.mark.parametrize("stack", STACKS)
def test_inverse_and_determinants(stack: Any) -> None:
    a = regular(*stack, 3, 3)
    check(L.inv, a)
    check(L.det, a)
    check(lambda x: L.slogdet(x)[1], a)
    check(lambda x: L.matrix_power(x, 3), a)
    check(lambda x: L.matrix_power(x, -2), a)
    check(lambda x: L.matrix_power(x, 1), a)
    for p in (None, 2, -2, 1, -1, np.inf, "fro"):
        check(lambda x, p=p: L.cond(x, p), a, rtol=1e-6)
    assert L.slogdet(pyad.array(-a)).sign == pytest.approx(L.slogdet(-a).sign)


@pytest.mark.parametrize("stack", STACKS)
@pytest.mark.parametrize("sides", [(3, 3), (4, 2), (2, 4)])
def test_pseudoinverse(stack: Any, sides: Any) -> None:
    check(L.pinv, matrix(*stack, *sides), rtol=1e-6, step=1e-4)


def test_pseudoinverse_of_lower_rank() -> None:
    u, v = matrix(4, 2), matrix(2, 3, seed=1)
    check(lambda u, v: L.pinv(u @ v, 1e-10), u, v, rtol=1e-6, step=1e-4)


@pytest.mark.parametrize("sides", [(3, 3), (5, 2), (2, 4)])
@pytest.mark.parametrize("columns", [(), (2,)])
def test_lstsq(sides: Any, columns: Any) -> None:
    a, b = matrix(*sides), matrix(sides[0], *columns, seed=1)
    check(lambda a, b: L.lstsq(a, b, rcond=None)[0], a, b, rtol=1e-6, step=1e-4)
    check(lambda a, b: L.lstsq(a, b, rcond=None)[1::2], a, b, rtol=1e-6, step=1e-4)
    assert L.lstsq(pyad.array(a), b)[2] == L.lstsq(a, b, rcond=None)[2]


@pytest.mark.parametrize("stack", STACKS)
def test_cholesky(stack: Any) -> None:
    a = definite(*stack, 3, 3)
    check(L.cholesky, a, vary=symmetric)
    check(lambda x: L.cholesky(x @ np.swapaxes(x, -1, -2)), regular(*stack, 3, 3))
    if np.lib.NumpyVersion(np.__version__) >= "2.0.0":
        check(lambda x: L.cholesky(x, upper=True), a, vary=symmetric)
    slope = pyad.grad(lambda x: np.sum(L.cholesky(x)))(a)
    np.testing.assert_allclose(slope, np.swapaxes(slope, -1, -2))


@pytest.mark.parametrize("stack", STACKS)
@pytest.mark.parametrize("sides", [(3, 3), (4, 2), (2, 4), (1, 1)])
def test_qr(stack: Any, sides: Any) -> None:
    a = matrix(*stack, *sides) + np.eye(*sides)
    check(L.qr, a, rtol=1e-6, step=2e-4)
    check(lambda x: L.qr(x, "r"), a, rtol=1e-6, step=2e-4)

    def complete(x: Any) -> Any:  # the columns that are added span a space
        q, r = L.qr(x, "complete")
        rest = q[..., :, sides[1] :]
        return q[..., :, : sides[1]], r, rest @ np.swapaxes(rest, -1, -2)

    check(complete, a, rtol=1e-6, step=2e-4)
    if sides == (3, 3) and not stack:
        with pytest.raises(TypeError, match="mode='raw'"):
            L.qr(pyad.array(a), "raw")


@pytest.mark.parametrize("stack", STACKS)
def test_symmetric_eigenvalues(stack: Any) -> None:
    a = symmetric(matrix(*stack, 3, 3)) + np.diag([0.0, 3.0, 6.0])
    for uplo in "LU":
        check(lambda x, u=uplo: L.eigh(x, u), a, vary=symmetric, rtol=1e-6)
        check(lambda x, u=uplo: L.eigvalsh(x, u), a, vary=symmetric)


@pytest.mark.parametrize("stack", STACKS)
def test_real_eigenvalues(stack: Any) -> None:
    a = 0.3 * matrix(*stack, 3, 3) + np.diag([0.0, 3.0, 6.0])
    check(L.eig, a, rtol=1e-6)
    check(L.eigvals, a, rtol=1e-6)


def test_complex_eigenvalues_are_refused() -> None:
    a = pyad.array([[0.0, 1.0], [-1.0, 0.0]])
    with pytest.raises(TypeError, match="real eigenvalues"):
        L.eigvals(a)
    assert len(pyad.current_tape()) == 0


@pytest.mark.parametrize("stack", STACKS)
@pytest.mark.parametrize("sides", [(3, 3), (4, 2), (2, 4)])
def test_svd(stack: Any, sides: Any) -> None:
    k = min(sides)
    a = 0.3 * matrix(*stack, *sides)
    a[..., range(k), range(k)] += np.arange(1.0, k + 1)
    check(lambda x: L.svd(x, full_matrices=False), a, rtol=1e-6)
    check(lambda x: L.svd(x, compute_uv=False), a, rtol=1e-6)

    def full(x: Any) -> Any:
        u, s, vh = L.svd(x)
        more, most = u[..., :, k:], vh[..., k:, :]
        return (
            (u[..., :, :k], s, vh[..., :k, :])
            + ((more @ np.swapaxes(more, -1, -2),) if more.shape[-1] else ())
            + ((np.swapaxes(most, -1, -2) @ most,) if most.shape[-2] else ())
        )

    check(full, a, rtol=1e-6)


@pytest.mark.parametrize("order", [None, 0, 1, 2, -1, -2, 3, 2.5, 0.5, np.inf, -np.inf])
def test_vector_norms(order: Any) -> None:
    x = matrix(3, 4)
    check(lambda x: L.norm(x, order), x[0], rtol=1e-6)
    for axis in (0, 1, -1):
        for keepdims in (False, True):
            check(lambda x, a=axis, k=keepdims: L.norm(x, order, a, k), x, rtol=1e-6)
    if hasattr(L, "vector_norm") and order is not None:
        check(lambda x: L.vector_norm(x, ord=order), x, rtol=1e-6)
        check(
            lambda x: L.vector_norm(x, ord=order, axis=(0, 2), keepdims=True),
            matrix(2, 3, 2),
            rtol=1e-6,
        )


@pytest.mark.parametrize("order", [None, "fro", "nuc", 1, -1, 2, -2, np.inf, -np.inf])
def test_matrix_norms(order: Any) -> None:
    x = matrix(3, 4)
    check(lambda x: L.norm(x, order), x, rtol=1e-6)
    check(lambda x: L.norm(x, order, keepdims=True), x, rtol=1e-6)
    for axis in ((0, 1), (2, 0)):
        for keepdims in (False, True):
            check(lambda x, a=axis, k=keepdims: L.norm(x, order, a, k), matrix(2, 3, 4), rtol=1e-6)
    if hasattr(L, "matrix_norm") and order is not None:
        check(lambda x: L.matrix_norm(x, ord=order), matrix(2, 3, 4), rtol=1e-6)


def test_norm_of_any_dimension() -> None:
    check(L.norm, matrix(2, 3, 4))
    check(lambda x: L.norm(x, keepdims=True), matrix(2, 3, 4))


@pytest.mark.parametrize("order", [None, 0, 1, 2, 3, 0.5, np.inf, -np.inf, "fro", "nuc", -2])
def test_norm_at_zero_has_derivative_zero(order: Any) -> None:
    zero = np.zeros((2, 2)) if order in ("fro", "nuc", -2) else np.zeros(3)
    np.testing.assert_array_equal(pyad.grad(lambda x: L.norm(x, order))(zero), 0 * zero)
    np.testing.assert_array_equal(
        pyad.jvp(lambda x: L.norm(x, order), (zero,), (zero + 1,))[1], 0.0
    )


def test_products() -> None:
    a, b, c = matrix(2, 5), matrix(5, 3, seed=1), matrix(3, 4, seed=2)
    check(lambda a, b, c: L.multi_dot([a, b, c]), a, b, c)
    check(lambda a, b, c: L.multi_dot([a[0], b, c[:, 0]]), a, b, c)
    check(lambda a, b, c: L.multi_dot([a[0], b, c]), a, b, c)
    check(lambda a, b, c: L.multi_dot([a, b, c[:, 0]]), a, b, c)
    check(lambda a: L.tensorinv(a, 1), regular(4, 4).reshape(4, 2, 2))
    check(lambda a, b: L.tensorsolve(a, b), regular(4, 4).reshape(2, 2, 4), matrix(2, 2))
    check(lambda a, b: L.tensorsolve(a, b, (1,)), regular(4, 4).reshape(2, 4, 2), matrix(2, 2))
    if np.lib.NumpyVersion(np.__version__) < "2.0.0":
        return
    check(L.matmul, matrix(2, 3, 4), matrix(4, 2))
    check(L.outer, matrix(3), matrix(4))
    check(L.cross, matrix(2, 3), matrix(3))
    check(lambda a, b: L.cross(a, b, axis=0), matrix(3, 2), matrix(3, 2))
    check(L.vecdot, matrix(2, 3), matrix(2, 3))
    check(lambda a, b: L.vecdot(a, b, axis=0), matrix(2, 3), matrix(2, 3))
    check(L.trace, matrix(2, 3, 4))
    check(lambda a: L.trace(a, offset=1), matrix(3, 4))
    check(L.diagonal, matrix(2, 3, 4))
    check(lambda a: L.diagonal(a, offset=-1), matrix(3, 4))
    check(L.matrix_transpose, matrix(2, 3, 4))
    check(L.svdvals, matrix(3, 2), rtol=1e-6)


# ---- degenerate points -------------------------------------------------------------------------


@pytest.mark.parametrize("function", [L.inv, lambda a: L.solve(a, np.ones(2)), L.cholesky])
def test_singular_matrix_leaves_the_tape_unchanged(function: Any, unchanged: Any) -> None:
    a = pyad.array([[1.0, 2.0], [2.0, 4.0]])
    with unchanged(), pytest.raises(L.LinAlgError):
        function(a)


def test_derivative_that_needs_the_inverse_of_a_singular_matrix() -> None:
    a = pyad.array([[1.0, 2.0], [2.0, 4.0]])
    y = L.slogdet(a)[1]
    with pytest.raises(L.LinAlgError):
        pyad.gradient(y, a)


@pytest.mark.parametrize("stack", STACKS)
def test_determinant_of_singular_matrix(stack: Any) -> None:
    a = matrix(*stack, 3, 3)
    a[..., 2, :] = a[..., 0, :] + a[..., 1, :]
    check(L.det, a, rtol=1e-6)
    np.testing.assert_allclose(pyad.grad(L.det)(np.zeros((3, 3))), 0.0)
    np.testing.assert_allclose(
        pyad.grad(L.det)(np.array([[0.0, 2.0], [0.0, 5.0]])), [[5.0, 0.0], [-2.0, 0.0]], atol=1e-12
    )


def test_repeated_eigenvalues() -> None:
    """Functions of the space of a repeated eigenvalue have their derivative."""
    q = L.qr(matrix(4, 4))[0]
    a = q @ np.diag([1.0, 1.0, 1.0, 3.0]) @ q.T

    def low_part(x: Any) -> Any:
        v = L.eigh(x)[1][:, :3]
        return v @ v.T

    check(low_part, a, order=1, vary=symmetric, rtol=1e-6)
    check(lambda x: np.sum(L.eigvalsh(x) ** 3), a, order=1, vary=symmetric, rtol=1e-6)

    def left_part(x: Any) -> Any:
        u = L.svd(x, full_matrices=False)[0][:, 1:]
        return u @ u.T

    check(left_part, a, order=1, rtol=1e-6)
    assert np.all(np.isfinite(pyad.grad(lambda x: np.sum(L.eigh(x)[1]))(np.eye(3))))
    assert np.all(np.isfinite(pyad.grad(lambda x: sum(map(np.sum, L.svd(x))))(np.eye(3))))


def test_rank_is_plain() -> None:
    rank = L.matrix_rank(pyad.array(np.ones((3, 3))))
    assert rank == 1
    assert isinstance(rank, (int, np.integer))


def test_inside_no_grad_and_constants() -> None:
    a = pyad.array(regular(3, 3))
    with pyad.no_grad():
        y = L.inv(a)
    assert isinstance(y, pyad.Array)
    assert not y.requires_grad
    assert not L.inv(a.detach()).requires_grad


def test_lists_of_variables() -> None:
    x = pyad.var(2.0)
    y = L.det(pyad.array([[x, 1.0], [1.0, x]]))
    assert pyad.gradient(y, x) == pytest.approx(4.0)


# ---- accuracy ----------------------------------------------------------------------------------


def test_hessian_of_the_logarithm_of_the_determinant() -> None:
    """d2 log det / da_ij da_kl = -(a^-1)_jk (a^-1)_li."""
    a = definite(6, 6)
    inverse = L.inv(a)
    expected = -np.einsum("jk,li->ijkl", inverse, inverse)
    found = pyad.hessian(lambda a: L.slogdet(a)[1])(a)
    assert np.max(np.abs(found - expected)) <= 1e-10 * np.max(np.abs(expected))


def test_gradients_against_differences_in_many_digits() -> None:
    mpmath = pytest.importorskip("mpmath")
    a, b = regular(4, 4), matrix(4)
    with mpmath.workdps(50):
        h = mpmath.mpf(10) ** -20

        def slope(f: Any, i: int, j: int) -> float:
            ends = []
            for sign in (1, -1):
                moved = mpmath.matrix(a.tolist())
                moved[i, j] += sign * h
                ends.append(f(moved))
            return float((ends[0] - ends[1]) / (2 * h))

        for ours, exact in (
            (lambda x: L.det(x), mpmath.det),
            (lambda x: np.sum(L.inv(x)), lambda x: sum(x**-1)),
            (lambda x: np.sum(L.solve(x, b)), lambda x: sum(mpmath.lu_solve(x, b.tolist()))),
            (lambda x: np.sum(pyad.linalg.expm(x)), lambda x: sum(mpmath.expm(x, method="taylor"))),
            (lambda x: L.norm(x), lambda x: mpmath.norm(x, 2)),
        ):
            found = pyad.grad(ours)(a)
            expected = np.array([[slope(exact, i, j) for j in range(4)] for i in range(4)])
            np.testing.assert_allclose(found, expected, rtol=1e-11, atol=1e-12 * np.max(expected))


# ---- functions of matrices ---------------------------------------------------------------------


@pytest.mark.parametrize("size", [1e-9, 1e-2, 0.2, 0.8, 2.0, 5.0, 40.0])
def test_exponential(size: float) -> None:
    """Every approximant, and squarings; the value against the eigenvalues of a normal matrix."""
    a = symmetric(matrix(4, 4))
    a = a * (size / L.norm(a, 1))
    w, v = L.eigh(a)
    np.testing.assert_allclose(
        pyad.linalg.expm(a), (v * np.exp(w)) @ v.T, rtol=1e-12, atol=1e-13 * np.exp(w[-1])
    )
    # the derivative in a direction that commutes is the product
    _, tangent = pyad.jvp(pyad.linalg.expm, (a,), (1e9 * a,))
    expected = 1e9 * a @ pyad.linalg.expm(a)
    np.testing.assert_allclose(tangent, expected, rtol=1e-10, atol=1e-12 * np.max(abs(expected)))


@pytest.mark.parametrize("shape", [(3, 3), (2, 3, 3), (1, 1), (2, 1, 2, 2)])
def test_derivatives_of_the_exponential(shape: Any) -> None:
    check(pyad.linalg.expm, matrix(*shape))
    check(pyad.linalg.expm, np.zeros(shape))
    check(pyad.linalg.expm, np.zeros(shape) + np.diag(np.arange(shape[-1])))


def test_exponential_of_what_is_no_matrix() -> None:
    for bad in (np.ones(3), np.ones((2, 3))):
        with pytest.raises(L.LinAlgError):
            pyad.linalg.expm(pyad.array(bad))
    assert pyad.linalg.expm(pyad.array(np.ones((0, 0)))).shape == (0, 0)
    assert pyad.linalg.expm(np.ones((0, 2, 2))).shape == (0, 2, 2)
    assert np.all(np.isnan(pyad.linalg.expm(np.array([[np.nan, 0.0], [0.0, 1.0]]))))
    x = pyad.var(0.5)
    y = pyad.linalg.expm([[0.0, x], [-x, 0.0]])
    assert pyad.gradient(y[0, 1], x) == pytest.approx(np.cos(0.5))


def test_names_of_numpy_stand_in_the_namespace() -> None:
    assert pyad.linalg.inv(np.eye(2) * 4.0).tolist() == [[0.25, 0.0], [0.0, 0.25]]
    assert "slogdet" in dir(pyad.linalg)
    with pytest.raises(AttributeError, match="no attribute 'inverse'"):
        _ = pyad.linalg.inverse


# ---- a variable that is an element of a block --------------------------------------------------


@pytest.mark.parametrize(
    "f",
    [
        lambda q: np.sum((np.exp(q) / np.sum(np.exp(q))) ** 2),
        lambda q: np.sum((q * np.sum(q)) ** 2),
        lambda q: np.sum((q / q[0]) ** 2),
        lambda q: np.sum((np.ones(3) / np.sum(q)) ** 2),
        lambda q: np.sum((q - np.mean(q)) ** 4),
    ],
)
def test_second_derivatives_through_one_number_for_all(f: Any) -> None:
    check(f, np.array([0.5, 0.9, 1.3]), rtol=1e-6)
