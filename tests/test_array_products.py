"""Matrix products that are large enough for the kernel of their own: values and adjoints."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import pyad

SIDES = [
    (100, 100, 100),
    (130, 70, 131),
    (16, 500, 301),
    (257, 401, 27),
    (5, 300, 900),
    (512, 60, 100),
]


@pytest.mark.parametrize("sides", SIDES, ids=str)
@pytest.mark.parametrize("turns", range(4))
def test_large_products(sides: tuple[int, int, int], turns: int) -> None:
    m, k, n = sides
    generator = np.random.default_rng(m)
    a, b, g = (generator.normal(size=s) for s in ((m, k), (k, n), (m, n)))
    x, y = (pyad.array(v.T if turns & bit else v) for v, bit in ((a, 1), (b, 2)))
    product = (x.T if turns & 1 else x) @ (y.T if turns & 2 else y)
    np.testing.assert_allclose(product.value, a @ b, rtol=1e-12, atol=1e-12 * k)
    ga, gb = pyad.gradient(product, [x, y], seed=g)
    ga, gb = ga.T if turns & 1 else ga, gb.T if turns & 2 else gb
    np.testing.assert_allclose(ga, g @ b.T, rtol=1e-12, atol=1e-12 * n)
    np.testing.assert_allclose(gb, a.T @ g, rtol=1e-12, atol=1e-12 * m)


@pytest.mark.parametrize("shared", [False, True])
def test_stacks_and_shares(shared: bool) -> None:
    """An operand used twice adds up; one matrix for a whole stack does, too."""
    generator = np.random.default_rng(1)
    a = generator.normal(size=(3, 120, 110))
    b = generator.normal(size=(110, 100) if shared else (3, 110, 100))
    x, y = pyad.array(a), pyad.array(b)
    gx, gy = pyad.gradient(np.sum((x @ y) * 2.0) + np.sum((x @ y)[:, 5:]), [x, y])
    g = np.full((3, 120, 100), 3.0)
    g[:, :5] = 2.0
    np.testing.assert_allclose(gx, g @ np.swapaxes(b, -1, -2), rtol=1e-12, atol=1e-10)
    expected = np.swapaxes(a, -1, -2) @ g
    np.testing.assert_allclose(
        gy, expected.sum(axis=0) if shared else expected, rtol=1e-12, atol=1e-10
    )


def test_an_infinity_stays_in_its_row_and_column() -> None:
    a, b = np.ones((100, 100)), np.ones((100, 100))
    a[3, 4] = np.inf
    value = (pyad.array(a) @ b).value
    assert np.isinf(value[3]).all()
    assert (np.delete(value, 3, axis=0) == 100.0).all()


@pytest.mark.skipif("PYAD_ONE_THREAD" in os.environ, reason="it starts itself")
def test_on_one_thread() -> None:
    """Where BLAS has one thread, other code computes the same products."""
    environment = {**os.environ, "PYAD_ONE_THREAD": "1", "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", __file__]
    result = subprocess.run(
        command,
        env=environment,
        cwd=Path(__file__).parent.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout
