"""np.fft of arrays: values, derivatives in every mode, complex arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from array_checks import check
from hypothesis import given, settings
from hypothesis import strategies as st

import pyad
import pyad.numpy

F = np.fft
NORMS = st.sampled_from([None, "backward", "ortho", "forward"])


def array(*shape: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).normal(size=shape)


def parts(z: Any) -> Any:
    return z.real, z.imag


def wave(x: Any) -> Any:
    """Complex numbers of an array: NumPy's for numbers, ours for variables."""
    return F.fft(x, axis=0) * (1.5 - 0.5j)


@pytest.mark.parametrize("name", ["fft", "ifft", "rfft", "ihfft"])
@given(st.integers(1, 5), st.none() | st.integers(1, 7), st.sampled_from([0, 1, -1]), NORMS)
@settings(max_examples=12, deadline=None)
def test_to_complex(name: str, length: int, n: Any, axis: int, norm: Any) -> None:
    function = getattr(F, name)
    check(lambda x: parts(function(x, n, axis, norm)), array(3, length))
    if name in ("fft", "ifft"):
        check(lambda x: parts(function(wave(x), n, axis, norm)), array(3, length))


@pytest.mark.parametrize("name", ["irfft", "hfft"])
@given(st.integers(2, 5), st.none() | st.integers(1, 8), st.sampled_from([0, 1, -1]), NORMS)
@settings(max_examples=12, deadline=None)
def test_to_real(name: str, length: int, n: Any, axis: int, norm: Any) -> None:
    function = getattr(F, name)
    check(lambda x: function(x, n, axis, norm), array(3, length))
    check(lambda x: function(wave(x), n, axis, norm), array(3, length))


AXES = st.sampled_from(
    [
        (None, None),
        (None, (0, 2)),
        ((4, 3), (0, 1)),
        ((3, 6), (2, 0)),
        (None, (1,)),
        ((2, 4), (-2, -1)),
    ]
)


@pytest.mark.parametrize("name", ["fftn", "ifftn", "rfftn"])
@given(AXES, NORMS)
@settings(max_examples=6, deadline=None)
def test_several_axes(name: str, sides: Any, norm: Any) -> None:
    s, axes = sides
    function = getattr(F, name)
    check(lambda x: parts(function(x, s=s, axes=axes, norm=norm)), array(2, 3, 4))
    if name == "rfftn":
        check(lambda x: F.irfftn(x, s=s, axes=axes, norm=norm), array(2, 3, 4))
        check(lambda x: F.irfftn(wave(x), s=s, axes=axes, norm=norm), array(2, 3, 4))
    else:
        check(lambda x: parts(function(wave(x), s=s, axes=axes, norm=norm)), array(2, 3, 4))


def test_two_axes_and_shifts() -> None:
    x = array(3, 4)
    for function in (F.fft2, F.ifft2, F.rfft2, F.ifftn):
        check(lambda x, f=function: parts(f(x)), x)
    check(F.irfft2, x)
    check(lambda x: F.irfft2(F.rfft2(x) * np.exp(1j), s=x.shape), x)
    for axes in (None, 0, (1,), (0, 1)):
        check(lambda x, a=axes: F.fftshift(x, a), x)
        check(lambda x, a=axes: F.ifftshift(x, a), x)
        check(lambda x, a=axes: parts(F.ifftshift(wave(x), a)), x)
    np.testing.assert_array_equal(F.fftfreq(4), [0, 0.25, -0.5, -0.25])


def test_transform_of_a_stack_that_is_empty() -> None:
    z = F.rfft(pyad.array(np.ones((0, 4))))
    assert z.shape == (0, 3)
    assert F.irfft(z).shape == (0, 4)


def test_errors_are_those_of_numpy() -> None:
    x = pyad.array(array(3, 4))
    for call in (
        lambda x: F.fft(x, norm="no"),
        lambda x: F.fft(x, 0),
        lambda x: F.irfft(x[:, :1]),
        lambda x: F.rfft(x, -1),
        lambda x: F.fftn(x, (2, 3), (0,)),
        lambda x: F.fftn(x, (2, 0), (0, 1)),
        lambda x: F.fft(x, axis=2),
        lambda x: F.fftn(x, axes=(5,)),
        lambda x: F.rfft(x[:, :0]),
    ):
        with pytest.raises((ValueError, IndexError)) as theirs:
            call(x.value)
        with pytest.raises(type(theirs.value)):
            call(x)
    for real in (F.rfft, F.rfftn):
        with pytest.raises(TypeError):
            real(F.fft(x))
    has_out = np.lib.NumpyVersion(np.__version__) >= "2.0.0"
    with pytest.raises(TypeError, match="out=" if has_out else "out"):
        F.fft(x, out=np.zeros((3, 4), complex))


# ---- complex arrays ----------------------------------------------------------------------------

C = array(3, 3, seed=4) + 1j * array(3, 3, seed=5)

FORMS: dict[str, Any] = {
    "conj": lambda z: z.conj(),
    "np.conj": np.conj,
    "negative": lambda z: -z,
    "plus": lambda z: +z + 1.5,
    "numbers": lambda z: (2j * z + (1 - 1j)) / (3 + 1j) - 2.0,
    "numbers before": lambda z: (1 - 1j) - 1 / (z + 10j),
    "arrays": lambda z: C * z + z * C - z / (C + 5) + (C - z),
    "division of arrays": lambda z: C / (z + 20),
    "itself": lambda z: z * z.conj() * z,
    "quotient": lambda z: z / (z + 20j),
    "powers": lambda z: z**2 + z**3 + (z + 20) ** -1 + z**1,
    "real array": lambda z: z * z.real + z.imag - z / (z.real**2 + 4),
    "real array before": lambda z: z.real * z - z.imag,
    "product": lambda z: C @ z @ z,
    "real product": lambda z: z @ C.real,
    "exp": lambda z: np.exp(0.3 * z),
    "square": lambda z: np.square(z) + np.reciprocal(z + 20),
    "item": lambda z: z[1:, 0],
    "one": lambda z: z[1, 2] * 1j,
    "sum": lambda z: z.sum(0) + np.sum(z) + z.mean(axis=1),
    "structure": lambda z: np.concatenate([z.reshape(-1)[:2], z.ravel(), z.T[0]]),
    "roll": lambda z: np.roll(np.stack([z, z.conj()]), 1, 0),
    "iteration": lambda z: sum(row for row in z),
    "ufuncs": lambda z: np.add(np.multiply(z, C), np.subtract(C, z)),
}


@pytest.mark.parametrize("name", FORMS)
def test_complex_arithmetic(name: str) -> None:
    check(lambda x: parts(FORMS[name](wave(x))), array(3, 3))


def test_real_functions_of_complex_arrays() -> None:
    x = array(3, 3)
    check(lambda x: abs(wave(x)), x)
    check(lambda x: np.abs(wave(x)) ** 2, x)
    check(lambda x: np.angle(wave(x)), x)
    check(lambda x: np.angle(wave(x), deg=True) + np.real(wave(x)) * np.imag(wave(x)), x, rtol=1e-6)


def test_power_spectrum_has_the_gradient_of_parseval() -> None:
    x = array(9)
    np.testing.assert_allclose(
        pyad.grad(lambda x: np.sum(np.abs(F.fft(x)) ** 2))(x), 2 * 9 * x, rtol=1e-13
    )
    h = pyad.hessian(lambda x: np.sum(np.abs(F.rfft(x)[1:]) ** 2))(x)
    np.testing.assert_allclose(h, 9 * np.eye(9) - 1, atol=1e-12)


def test_convolution_by_transforms() -> None:
    x, kernel = array(8), array(8, seed=1)
    check(lambda x, k: F.irfft(F.rfft(x) * F.rfft(k)), x, kernel)
    check(lambda x: F.irfft(F.rfft(x) * F.rfft(kernel)), x)


def test_size_of_zero_has_derivative_zero() -> None:
    slope = pyad.grad(lambda x: np.sum(np.abs(F.rfft(x))))(np.zeros(4))
    np.testing.assert_array_equal(slope, 0.0)


def test_what_a_complex_array_is() -> None:
    x = array(3, 4)
    z, w = F.rfft(pyad.array(x)), F.rfft(x)
    assert (z.shape, z.ndim, z.size, len(z)) == (w.shape, w.ndim, w.size, len(w))
    assert (np.shape(z), np.ndim(z), np.size(z)) == (w.shape, w.ndim, w.size)
    assert z.dtype == w.dtype
    assert np.iscomplexobj(z)
    assert np.array_equal(z.value, w)
    assert np.all(z == w)
    assert not np.any(z != w)
    assert np.allclose(z, w)
    assert np.all(np.isfinite(z))
    assert np.array_equal(np.iscomplex(z), np.iscomplex(w))
    assert z.requires_grad
    assert not z.detach().requires_grad
    assert repr(z).startswith("ComplexArray([[")
    assert isinstance(z.real, pyad.Array)
    assert isinstance(z[0, 0].real, pyad.Var)
    assert np.array_equal((z**0).value, np.ones_like(w))


def test_what_is_not_supported_says_so() -> None:
    z = F.rfft(pyad.array(array(4)))
    for call, name in (
        (lambda: np.sin(z), "np.sin"),
        (lambda: np.linalg.norm(z), "np.linalg.norm"),
        (lambda: np.prod(z), "np.prod"),
        (lambda: z**0.5, "power"),
        (lambda: 2**z, "exponent"),
        (lambda: np.multiply.outer(z, z), "np.multiply.outer"),
        (lambda: z.__setitem__(0, 1.0), "item assignment"),
        (lambda: z + "a", "unsupported operand"),
        (lambda: z < z, "not supported"),
        (lambda: complex(z[0]), "plain float"),
        (lambda: float(z[0]), "plain float"),
        (lambda: np.asarray(z), "ndarray"),
        (lambda: np.vdot(z, z), "np.vdot"),
    ):
        with pytest.raises(TypeError, match=name):
            call()
    with pytest.raises(IndexError):
        z[0][0]
    with pytest.raises(TypeError, match="unsized"):
        len(z[0])


def test_in_a_function_that_was_given_a_list_of_variables() -> None:
    def f(a: Any, b: Any) -> Any:
        return np.sum(np.abs(F.fft(pyad.numpy.array([a, b, a * b]))) ** 2)

    check(f, 1.3, 0.4, reference=lambda a, b: 3 * (a**2 + b**2 + (a * b) ** 2))
