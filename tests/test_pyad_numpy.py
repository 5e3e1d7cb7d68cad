"""`import pyad.numpy as np`: the namespace, and programs written for HIPS autograd as they are."""

from __future__ import annotations

import importlib
import itertools
from typing import Any

import numpy
import pytest
from array_checks import check

import pyad
import pyad.numpy as np
import pyad.numpy.random as npr
from pyad import grad, jacobian, value_and_grad

RNG = numpy.random.default_rng(0)

# ---- the namespace -------------------------------------------------------------------------------


def test_what_is_not_made_here_is_that_of_numpy() -> None:
    assert np.pi == numpy.pi
    assert np.float64 is numpy.float64
    assert np.sin is numpy.sin
    assert np.linalg.solve is numpy.linalg.solve
    assert np.newaxis is None
    assert np.random.RandomState is npr.RandomState is numpy.random.RandomState
    assert npr.randn is numpy.random.randn
    assert np.fft.rfft is numpy.fft.rfft
    assert np.lib.stride_tricks is numpy.lib.stride_tricks
    assert importlib.import_module("pyad.numpy.linalg").norm is numpy.linalg.norm
    with pytest.raises(AttributeError, match=r"pyad\.numpy.*no attribute 'sine'"):
        np.sine  # noqa: B018
    assert set(dir(np)) >= {"array", "zeros", "sin", "linalg", "float64", "pi", "einsum"}
    assert [name for name in dir(np) if not hasattr(np, name)] == []
    assert not {"Any", "Callable", "functools", "Array"} & set(dir(np))


CONSTRUCTORS: dict[str, Any] = {
    "arange": lambda n: n.arange(0.0, 1.0, 0.25),
    "array": lambda n: n.array([[1.0, 2], [3, 4]]),
    "array ndmin": lambda n: n.array(1.0, ndmin=2),
    "asarray": lambda n: n.asarray([1.0, 2.0]),
    "asanyarray": lambda n: n.asanyarray([1.0, 2.0]),
    "ascontiguousarray": lambda n: n.ascontiguousarray([1.0, 2.0]),
    "copy": lambda n: n.copy(numpy.ones(2)),
    "diag": lambda n: n.diag([1.0, 2.0], 1),
    "empty": lambda n: n.empty(3) * 0 + 1,
    "empty_like": lambda n: n.empty_like(numpy.ones(2)) * 0 + 1,
    "eye": lambda n: n.eye(2, 3, k=1),
    "full": lambda n: n.full((2, 2), 7.5),
    "full_like": lambda n: n.full_like(numpy.ones(2), 3.0),
    "geomspace": lambda n: n.geomspace(1.0, 8.0, 4),
    "identity": lambda n: n.identity(3),
    "linspace": lambda n: n.linspace(0, 1, 5),
    "logspace": lambda n: n.logspace(0, 1, 3),
    "ones": lambda n: n.ones((2, 1)),
    "ones_like": lambda n: n.ones_like([1.0, 2.0]),
    "tri": lambda n: n.tri(3),
    "vander": lambda n: n.vander([1.0, 2.0], 3),
    "zeros": lambda n: n.zeros(shape=(0, 2)),
    "zeros float32": lambda n: n.zeros(2, dtype=float),
    "zeros_like": lambda n: n.zeros_like(numpy.ones((2, 2))),
}


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("name", CONSTRUCTORS)
def test_constructors_make_arrays_that_take_variables(name: str) -> None:
    expected, made = CONSTRUCTORS[name](numpy), CONSTRUCTORS[name](np)
    assert type(made) is pyad.Array
    assert not made.requires_grad
    assert made.shape == expected.shape
    if not name.startswith("empty"):
        numpy.testing.assert_array_equal(made.value, expected)
    if made.size:
        x = pyad.var(2.0)
        made[(0,) * made.ndim] = x * x
        made.sum().backward()
        assert x.grad == 4.0


def test_every_constructor_is_tried() -> None:
    assert {name.split()[0] for name in CONSTRUCTORS} == set(np._CONSTRUCTORS)


@pytest.mark.parametrize(
    "make",
    [
        lambda n: n.arange(3),
        lambda n: n.array([1, 2]),
        lambda n: n.zeros(2, dtype=int),
        lambda n: n.ones(2, dtype=bool),
        lambda n: n.array(["a"]),
        lambda n: n.eye(2, dtype=complex),
        lambda n: n.full(2, 7),
        lambda n: n.zeros_like(n.array([1, 2])),
    ],
)
def test_arrays_of_other_kinds_stay_plain(make: Any) -> None:
    made, expected = make(np), make(numpy)
    assert type(made) is numpy.ndarray
    assert made.dtype == expected.dtype
    numpy.testing.assert_array_equal(made, expected)


def test_arrays_of_variables() -> None:
    x, y = pyad.vars([2.0, 3.0])
    a = pyad.array([1.0, 2.0])
    made = {
        "nested": np.array([[x, 1], [y * x, 2.0]]),
        "arrays": np.array([a, a * x, [y, 0.0]]),
        "one": np.array(x),
        "copy": np.array(a),
        "full": np.full((2, 2), x),
        "full row": np.full((2, 2), a),
        "tuple": np.asarray((x, y)),
        "objects": np.array(numpy.array([x, y], dtype=object)),
        "ndmin": np.array([x], ndmin=2),
    }
    for array in made.values():
        assert type(array) is pyad.Array
        assert array.requires_grad
    assert made["ndmin"].shape == (1, 1)
    assert np.asarray(a) is a
    assert not numpy.shares_memory(made["copy"], a)
    numpy.testing.assert_array_equal(made["nested"].value, [[2, 1], [6, 2]])
    numpy.testing.assert_array_equal(made["arrays"].value, [[1, 2], [2, 4], [3, 0]])
    total = sum(np.sum(m) for m in made.values())
    gx, gy, ga = pyad.gradient(total, [x, y, a])
    assert (gx, gy) == (1 + 3 + 3 + 1 + 4 + 1 + 1 + 1, 2 + 1 + 1 + 1)
    numpy.testing.assert_array_equal(ga, [1 + 2 + 1 + 2] * 2)
    for call in (lambda: np.array([x], dtype=int), lambda: np.full(2, x, dtype=int)):
        with pytest.raises(TypeError, match="losing its derivative"):
            call()
    with pytest.raises(TypeError):
        np.array([[x, y], [x]])


# ---- programs ------------------------------------------------------------------------------------


def compare(f: Any, *args: Any, order: int = 2, **options: Any) -> None:
    """The program in this namespace against itself in NumPy's: values, derivatives."""

    def plain(*xs: Any) -> Any:
        global np
        np, ours = numpy, np
        try:
            return f(*xs)
        finally:
            np = ours

    check(f, *args, order=order, reference=plain, **options)


def sigmoid(x: Any) -> Any:
    return 0.5 * (np.tanh(x / 2.0) + 1)


def test_logistic_regression() -> None:
    inputs = numpy.array(
        [[0.52, 1.12, 0.77], [0.88, -1.08, 0.15], [0.52, 0.06, -1.30], [0.74, -2.49, 1.39]]
    )
    targets = numpy.array([True, True, False, True])

    def training_loss(weights: Any) -> Any:
        preds = sigmoid(np.dot(inputs, weights))
        label_probabilities = preds * targets + (1 - preds) * (1 - targets)
        return -np.sum(np.log(label_probabilities))

    compare(training_loss, numpy.array([0.1, -0.2, 0.3]))
    weights = numpy.array([0.0, 0.0, 0.0])
    start = training_loss(weights)
    for _ in range(100):
        weights -= grad(training_loss)(weights) * 0.01
    assert training_loss(weights) < 0.6 * start


def init_random_params(scale: float, layer_sizes: list[int]) -> Any:
    rs = npr.RandomState(0)
    return [
        (scale * rs.randn(m, n), scale * rs.randn(n)) for m, n in itertools.pairwise(layer_sizes)
    ]


def test_neural_network_with_a_list_of_tuples() -> None:
    images, labels = RNG.normal(size=(7, 4)), numpy.eye(3)[RNG.integers(0, 3, 7)]

    def neural_net_predict(params: Any, inputs: Any) -> Any:
        for weights, bias in params:
            outputs = np.dot(inputs, weights) + bias
            inputs = np.tanh(outputs)
        return outputs - np.log(np.sum(np.exp(outputs), axis=1, keepdims=True))

    def objective(params: Any) -> Any:
        log_prior = -0.1 * sum(np.sum(w**2) + np.sum(b**2) for w, b in params)
        return -np.sum(neural_net_predict(params, images) * labels) - log_prior

    params = init_random_params(0.5, [4, 5, 3])
    value, gradient = value_and_grad(objective)(params)
    assert [tuple(g.shape for g in layer) for layer in gradient] == [((4, 5), (5,)), ((5, 3), (3,))]
    compare(lambda a, b, c, d: objective([(a, b), (c, d)]), *(x for layer in params for x in layer))
    for _ in range(30):
        gradient = grad(objective)(params)
        params = [
            (W - 0.05 * dW, b - 0.05 * db)
            for (W, b), (dW, db) in zip(params, gradient, strict=True)
        ]
    assert objective(params) < 0.5 * value


def test_gaussian_process_likelihood() -> None:
    inputs = RNG.normal(size=(6, 2))
    y = numpy.sin(inputs[:, 0])

    def rbf_covariance(kernel_params: Any, x: Any, xp: Any) -> Any:
        output_scale = np.exp(kernel_params[0])
        lengthscales = np.exp(kernel_params[1:])
        diffs = np.expand_dims(x / lengthscales, 1) - np.expand_dims(xp / lengthscales, 0)
        return output_scale * np.exp(-0.5 * np.sum(diffs**2, axis=2))

    def log_marginal_likelihood(params: Any) -> Any:
        mean, noise_scale = params[0], np.exp(params[1]) + 0.0001
        cov_y_y = rbf_covariance(params[2:], inputs, inputs) + noise_scale * np.eye(len(y))
        prior_mean = mean * np.ones(len(y))
        factor = np.linalg.cholesky(cov_y_y)
        half = np.linalg.solve(factor, y - prior_mean)
        _, logdet = np.linalg.slogdet(cov_y_y)
        by_factor = 2 * np.sum(np.log(np.diag(factor)))
        n = len(y)
        return -0.5 * (np.dot(half, half) + 0.5 * (logdet + by_factor) + n * np.log(2 * np.pi))

    compare(log_marginal_likelihood, numpy.array([0.2, -1.0, 0.3, 0.1, -0.2]))


def test_an_ode_whose_states_are_stored() -> None:
    def solve(theta: Any, start: Any) -> Any:
        t = np.linspace(0.0, 1.0, 9)
        h = t[1] - t[0]
        states = np.zeros((len(t), 2))
        states[0] = start
        for i in range(len(t) - 1):
            x, v = states[i, 0], states[i, 1]
            half = np.array([x + 0.5 * h * v, v - 0.5 * h * (theta[0] * np.sin(x) + theta[1] * v)])
            states[i + 1] = states[i] + h * np.array(
                [half[1], -theta[0] * np.sin(half[0]) - theta[1] * half[1]]
            )
        return np.sum(states[:, 0] ** 2) + states[-1, 1]

    compare(solve, numpy.array([9.0, 0.4]), numpy.array([0.5, 0.0]))


def test_fluid() -> None:
    """Advection and projection on a periodic grid, as in autograd's example."""
    rows, cols = 4, 5

    def project(vx: Any, vy: Any) -> Any:
        p = np.zeros(vx.shape)
        h = 1.0 / vx.shape[0]
        div = (
            -0.5 * h * (
                np.roll(vx, -1, axis=0) - np.roll(vx, 1, axis=0)
                + np.roll(vy, -1, axis=1) - np.roll(vy, 1, axis=1)
            )
        )  # fmt: skip
        for _ in range(3):
            p = (
                div + np.roll(p, 1, axis=0) + np.roll(p, -1, axis=0)
                + np.roll(p, 1, axis=1) + np.roll(p, -1, axis=1)
            ) / 4.0  # fmt: skip
        vx = vx - 0.5 * (np.roll(p, -1, axis=0) - np.roll(p, 1, axis=0)) / h
        vy = vy - 0.5 * (np.roll(p, -1, axis=1) - np.roll(p, 1, axis=1)) / h
        return vx, vy

    def advect(f: Any, vx: Any, vy: Any) -> Any:
        cell_ys, cell_xs = np.meshgrid(np.arange(rows), np.arange(cols), indexing="ij")
        center_xs = (cell_xs - vx).ravel()
        center_ys = (cell_ys - vy).ravel()
        left_ix, top_ix = np.floor(center_xs).astype(int), np.floor(center_ys).astype(int)
        rw, bw = center_xs - left_ix, center_ys - top_ix
        left, right = np.mod(left_ix, cols), np.mod(left_ix + 1, cols)
        top, bottom = np.mod(top_ix, rows), np.mod(top_ix + 1, rows)
        flat = (1 - rw) * ((1 - bw) * f[top, left] + bw * f[bottom, left]) + rw * (
            (1 - bw) * f[top, right] + bw * f[bottom, right]
        )
        return np.reshape(flat, (rows, cols))

    def simulate(params: Any) -> Any:
        vx, vy = np.reshape(params, (2, rows, cols))
        smoke = np.outer(np.linspace(0.0, 1.0, rows), np.ones(cols))
        for _ in range(2):
            vx, vy = project(advect(vx, vx, vy), advect(vy, vx, vy))
            smoke = advect(smoke, vx, vy)
        return np.mean((smoke - 0.5) ** 2) + np.sum(vx * vy)

    compare(simulate, 0.1 * RNG.normal(size=2 * rows * cols), step=1e-5, rtol=1e-6)


def test_recurrent_network() -> None:
    inputs = RNG.normal(size=(5, 3, 2))
    shapes = [(4,), (2 + 4 + 1, 4), (4 + 1, 2)]
    sizes = [int(numpy.prod(shape)) for shape in shapes]

    def concat_and_multiply(weights: Any, *args: Any) -> Any:
        cat_state = np.hstack((*args, np.ones((args[0].shape[0], 1))))
        return np.dot(cat_state, weights)

    def loss(flat: Any) -> Any:
        places = numpy.cumsum([0, *sizes])
        init, change, predict = (
            flat[a:b].reshape(shape)
            for a, b, shape in zip(places[:-1], places[1:], shapes, strict=True)
        )
        hiddens = np.repeat(init.reshape(1, -1), 3, axis=0)
        outputs = []
        for step in inputs:
            hiddens = sigmoid(concat_and_multiply(change, step, hiddens))
            logits = concat_and_multiply(predict, hiddens)
            top = np.max(logits, axis=1, keepdims=True)
            outputs.append(logits - top - np.log(np.sum(np.exp(logits - top), 1, keepdims=True)))
        stacked = np.stack(outputs)
        return -np.sum(stacked[:-1] * (inputs[1:] > 0)) / 5.0

    compare(loss, 0.3 * RNG.normal(size=sum(sizes)))


def test_mixture_of_gaussians_and_wrapped_normals() -> None:
    data = RNG.normal(size=(6, 2))

    def log_likelihood(weights: Any, means: Any, roots: Any) -> Any:
        scores = []
        for k in range(2):
            cov = np.dot(roots[k].T, roots[k]) + np.eye(2)
            diff = data - means[k]
            maha = np.einsum("ni,ij,nj->n", diff, np.linalg.inv(cov), diff)
            _, logdet = np.linalg.slogdet(2 * np.pi * cov)
            scores.append(-0.5 * (maha + logdet) + weights[k])
        stacked = np.vstack(scores)
        top = np.max(stacked, axis=0)
        return np.sum(top + np.log(np.sum(np.exp(stacked - top), axis=0)))

    compare(log_likelihood, RNG.normal(size=2), RNG.normal(size=(2, 2)), RNG.normal(size=(2, 2, 2)))


def test_jacobian_of_a_program_with_items() -> None:
    def f(x: Any) -> Any:
        y = np.empty(3)
        y[0], y[1:] = x[0] * x[1], x**2
        return y

    numpy.testing.assert_array_equal(jacobian(f)(numpy.array([2.0, 3.0])), [[3, 2], [4, 0], [0, 6]])
    numpy.testing.assert_array_equal(jacobian(f)(np.array([2.0, 3.0])), [[3, 2], [4, 0], [0, 6]])
