"""Compiled functions as files, as text and as C."""

from __future__ import annotations

import ctypes
import pickle
import random
import shlex
import struct
import subprocess
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_c_library import COMPILER, build, run

import pyad
from pyad.compiled import _files

UNIT = np.array([0.3, 0.5, 0.7, 0.45])


def branches(x: Any) -> Any:
    total = 0.0
    for i in range(3):
        total = total + x[i] * x[i + 1] if x[i] > x[i + 1] else total - pyad.sin(x[i]) ** 2.5
    return total


def loops(x: Any) -> Any:
    terms = [x[i] * pyad.exp(x[j]) for i in range(4) for j in range(4)]
    return sum(terms) + pyad.hypot(x[0], x[1]) - x[2] * x[3] + 3.0 * x[1] * x[0]


def blocks(x: Any) -> Any:
    a = np.outer(x, np.sin(x)) @ np.arange(8.0).reshape(4, 2)
    b = np.cumsum(a.T.reshape(2, 4), axis=1)[:, ::-1] + np.cumsum(a)[:4]
    c = np.concatenate([b[0], b[1, 1:3]])[np.array([0, 3, 3, 5])]
    d = np.broadcast_to(x, (3, 4)) @ a + np.broadcast_to(x[:1], (3, 4)) @ a * x[2]
    return np.sum(c * x) + np.max(b) + np.mean(b, axis=0) @ x + np.sum(np.tanh(d))


def specials(x: Any) -> Any:
    y = pyad.lgamma(x[0]) + pyad.digamma(x[1]) + pyad.erfinv(x[2]) + pyad.log_ndtr(x[3])
    y = y + pyad.logaddexp(x[0], x[1]) + pyad.maximum(x[0], x[1]) + x[0] % x[3] + x[3] ** x[2]
    y = y + pyad.expit(x[0]) + pyad.softplus(x[1]) + pyad.logit(x[2]) + pyad.atan2(x[0], x[3])
    return y + pyad.tanh(x[1]) + pyad.xlogy(x[0], x[2]) + pyad.asin(x[3]) + pyad.polygamma(1, x[0])


FUNCTIONS: list[Callable[[Any], Any]] = [branches, loops, blocks, specials]


def points(count: int) -> list[Any]:
    return list(np.random.default_rng(3).uniform(0.05, 0.95, (count, 4)))


def known(p: Any, count: int = 40) -> Any:
    """The function after calls at some points."""
    for x in points(count):
        p.value_and_grad(x)
    return p


def small() -> bytes:
    p = pyad.compile(lambda x, n: pyad.sin(x) * x + n if x > 1.0 else x)
    p(2.0, 3)
    return _files.dump(p)


def repaired(data: bytes) -> bytes:
    return data[:-4] + struct.pack("<I", zlib.crc32(data[:-4]))


# ---- round trips -------------------------------------------------------------------------------


@pytest.mark.parametrize("f", FUNCTIONS)
def test_a_loaded_function_computes_the_same_numbers(f: Any, tmp_path: Path) -> None:
    p = known(pyad.compile(f))
    p.save(tmp_path / "f.pyad")
    q = pyad.load(tmp_path / "f.pyad")
    for x in points(40):
        value, slope = q.value_and_grad(x)
        expected, expected_slope = p.value_and_grad(x)
        assert value == expected == q(x)
        assert np.array_equal(slope, expected_slope)
        assert np.array_equal(q.grad(x), expected_slope)
    assert str(q) == str(p)
    assert _files.dump(q) == _files.dump(_files.restore(_files.dump(q)))


def test_derivatives_that_were_recorded_are_in_the_file(tmp_path: Path) -> None:
    p = pyad.compile(loops)
    p.hessian(UNIT)
    p.save(tmp_path / "f.pyad")
    q = pyad.load(tmp_path / "f.pyad")
    assert np.array_equal(q.hessian(UNIT), p.hessian(UNIT))


def test_layouts_of_arguments_and_results_survive() -> None:
    def f(x: Any, data: Any, *, scale: Any, names: Any = None) -> Any:
        y = x["a"] * data[0] + np.sum(x["b"] * data[1]) * scale
        return {"value": y, "parts": (np.exp(x["b"]), [names, 2, b"x", None, True, 1j])}

    p = pyad.compile(f, has_aux=False)
    x = {"a": 1.5, "b": np.array([[1.0, 2.0]])}
    data = (2.0, np.array([3.0, 4.0]), np.arange(3), slice(1, None), range(3), ...)
    q = pickle.loads(pickle.dumps(_files.restore(_files.dump(given(p, x, data)))))
    found, expected = q(x, data, scale=0.5, names="n"), p(x, data, scale=0.5, names="n")
    assert found["value"] == expected["value"] == f(x, data, scale=0.5)["value"]
    assert np.array_equal(found["parts"][0], expected["parts"][0])
    assert found["parts"][1] == ["n", 2, b"x", None, True, 1j]
    for other in ({"names": "m"}, {"names": "n", "scale": 1}):
        with pytest.raises(pyad.Error, match="loaded from a file"):
            q(x, data, **{"scale": 0.5, **other})


def given(p: Any, x: Any, data: Any) -> Any:
    p(x, data, scale=0.5, names="n")
    return p


def test_where_no_recording_fits_it_says_so() -> None:
    q = _files.restore(small())
    assert q(3.0, 3) == pyad.sin(3.0) * 3.0 + 3
    for call in (
        lambda: q(0.5, 3),
        lambda: q(3.0, 4),
        lambda: q.hessian(3.0, 3),
        lambda: q(pyad.var(3.0), 3),
    ):
        with pytest.raises(pyad.Error, match="none of its recordings fits") as caught:
            call()
        assert caught.value.code == "NO_RECORDING"
    assert q(3.0, 3) == pyad.sin(3.0) * 3.0 + 3


def test_what_cannot_be_saved() -> None:
    with pytest.raises(pyad.Error, match="no recordings yet"):
        _files.dump(pyad.compile(branches))
    p = pyad.compile(lambda a: np.linalg.slogdet(a)[1])
    p(np.eye(2))
    with pytest.raises(pyad.Error, match="Python code") as caught:
        _files.dump(p)
    assert caught.value.code == "RULE_IN_FILE"
    with pytest.raises(pyad.Error, match="Python code"):
        p.to_c()
    assert "call(" in str(p)
    q = pyad.compile(lambda x, f: f(x))
    q(1.0, pyad.sin)
    with pytest.raises(pyad.Error, match="among the arguments"):
        _files.dump(q)


# ---- damage ------------------------------------------------------------------------------------


def refused(data: bytes) -> None:
    with pytest.raises(pyad.Error) as caught:
        _files.restore(data)
    assert caught.value.code in ("BAD_FILE", "FILE_VERSION", "RULE_IN_FILE")


def test_a_file_cut_short_at_any_length_is_refused() -> None:
    data = small()
    for length in range(len(data)):
        refused(data[:length])
    refused(data + b"\0")


def test_a_file_with_any_bit_flipped_is_refused() -> None:
    data = bytearray(small())
    for bit in range(8 * len(data)):
        data[bit // 8] ^= 1 << bit % 8
        refused(bytes(data))
        data[bit // 8] ^= 1 << bit % 8


def test_random_bytes_are_refused() -> None:
    draw = random.Random(1)
    for _ in range(2000):
        data = draw.randbytes(draw.randrange(200))
        refused(data)
        refused(small()[:24] + data)


def test_another_version_is_refused_by_name() -> None:
    data = bytearray(small())
    data[8] = 2
    with pytest.raises(pyad.Error, match="another version"):
        _files.restore(bytes(data))


def inner(data: bytes) -> int:
    """Where the first program begins."""
    return data.index(b"\x89pyadP")


def test_damage_behind_right_checksums_is_refused_or_harmless() -> None:
    """Programs are damaged in tests/c/program_files.c; here it is what stands around them, too."""
    draw = random.Random(2)
    whole = small()
    start, loaded = inner(whole), 0
    for _ in range(4000):
        data = bytearray(whole)
        for _ in range(draw.randrange(1, 3)):
            at = draw.randrange(24, len(data) - 4)
            data[at] = draw.choice([0, 1, 255, data[at] ^ 1 << draw.randrange(8), 48, 57, 91, 125])
        program = repaired(bytes(data[start:-4]))
        changed = repaired(bytes(data[:start]) + program + b"\0\0\0\0")
        try:
            q = _files.restore(changed)
        except pyad.Error:
            continue
        loaded += 1
        if all(p.room_size < 10**6 for site in _files.sites_of(q) for p in site.programs):
            try:
                q.value_and_grad(3.0, 3)
            except (pyad.Error, TypeError, ValueError):
                continue
    assert loaded > 10


def test_lying_layouts_are_refused() -> None:
    whole = small()
    start = inner(whole)
    for old, new in [
        (b'"children":[0,', b'"children":[[],'),
        (b'{"is":"int","value":3}', b'{"is":"int","value":0.5}'),
        (b'{"is":"int","value":3}', b'{"is":"os","value":3}'),
        (b'{"is":"int","value":3}', b"0"),
        (b'{"is":"int","value":3}', b'{"shape":[-1]}'),
        (b'{"is":"int","value":3}', b'{"shape":[4294967295,4294967295]}'),
        (b'{"is":"int","value":3}', b"[" * 100000),
        (b'"argnums":0', b'"argnums":"0"'),
        (b'"has_aux":false', b'"has_aux":0'),
    ]:
        text = whole[24:start].replace(old, new)
        assert text != whole[24:start]
        body = text + whole[start:-4]
        refused(
            repaired(
                _files._HEAD.pack(_files._MAGIC, 1, len(text), len(body) + 28) + body + bytes(4)
            )
        )


def test_damaged_programs_do_no_harm(tmp_path: Path) -> None:
    assert run([build(tmp_path, "program_files.c"), "100", "500"]) == "ok\n"


# ---- text --------------------------------------------------------------------------------------


def test_the_text_of_a_program() -> None:
    def f(x: Any, y: Any) -> Any:
        return np.sum(np.exp(x)) * 2.5 + y if y > 0 else y

    p = pyad.compile(f, argnums=(0, 1))
    p(np.ones(3), 2.0)
    lines = str(p).splitlines()
    assert lines[0].startswith("compiled function")
    assert "4 inputs" in lines[1]
    assert "  v[0:3] = exp(x[0:3])" in lines
    assert any(line.startswith("  guard 0.0 < x[3] is True") for line in lines)
    assert lines[-1].startswith("  return v[")
    long = pyad.compile(blocks)
    long(np.ones(4))
    assert all(len(line) <= 104 for line in str(long).splitlines()[2:])


# ---- C -----------------------------------------------------------------------------------------


def compiled_c(source: str, tmp_path: Path) -> Any:
    (tmp_path / "f.c").write_text(source, encoding="utf-8")
    flags = ["-std=c11", "-O1", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC"]
    command = [*COMPILER, *flags, str(tmp_path / "f.c"), "-o", str(tmp_path / "f.so"), "-lm"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{shlex.join(command)}\n{done.stderr}"
    f = ctypes.CDLL(str(tmp_path / "f.so")).f
    f.argtypes = [np.ctypeslib.ndpointer(np.float64)] * 2 + [ctypes.c_void_p]
    return f


@pytest.mark.parametrize("f", FUNCTIONS)
def test_the_c_source_computes_value_and_gradient(f: Any, tmp_path: Path) -> None:
    p = known(pyad.compile(f))
    run_c = compiled_c(p.to_c(), tmp_path)
    value, slope = np.empty(1), np.empty(4)
    for x in points(40):
        assert run_c(x, value, slope.ctypes.data) == 0
        expected, expected_slope = p.value_and_grad(x)
        assert value[0] == pytest.approx(expected, rel=1e-13)
        np.testing.assert_allclose(slope, expected_slope, rtol=1e-12, atol=1e-13)
        assert run_c(x, value, None) == 0


def test_the_c_source_tells_where_no_recording_holds(tmp_path: Path) -> None:
    p = pyad.compile(lambda x: x[0] * x[1] if x[0] > x[1] else x[0])
    p(np.array([2.0, 1.0]))
    run_c = compiled_c(p.to_c(), tmp_path)
    value, slope = np.full(1, 7.0), np.full(2, 7.0)
    assert run_c(np.array([1.0, 2.0]), value, slope.ctypes.data) == 1
    assert value[0] == 7.0
    assert run_c(np.array([4.0, 3.0]), value, slope.ctypes.data) == 0
    assert (value[0], *slope) == (12.0, 3.0, 4.0)


def every_operation() -> list[Any]:
    """One function of all operations, and one of the partials that a recorded gradient has."""
    from pyad._binding import OPERATIONS

    rows = [row for row in OPERATIONS if row.arguments > 0]

    def one(row: Any) -> Callable[..., Any]:
        return getattr(pyad, row.name)  # type: ignore[no-any-return]

    def scalars(x: Any) -> Any:
        total = 0.0
        for row in rows:
            a = x[0] + 1.0 if row.name == "acosh" else x[0]
            total = total + (one(row)(a) if row.arguments == 1 else _pair(one(row), row, x))
        return total

    def arrays(x: Any) -> Any:
        total = 0.0
        for row in rows:
            if row.name in ("polygamma", "sign", "floor", "ceil", "trunc", "rint", "floordiv"):
                continue
            a = x + 1.0 if row.name == "acosh" else x
            f = one(row)

            def summed(z: Any, f: Any = f, row: Any = row) -> Any:
                return np.sum(f(z) if row.arguments == 1 else f(z, z[::-1] * 0.5))

            total = total + np.sum(pyad.grad(summed)(a))
        return total

    return [scalars, arrays, _of_many]


def _of_many(x: Any) -> Any:
    numbers = list(x)
    total = pyad.dot(numbers, numbers[::-1]) * pyad.prod(numbers) + pyad.logsumexp(numbers)
    total = total + pyad.norm(numbers[:3]) + pyad.lincomb([1.0, 2.0, 3.0, 4.0], numbers)
    return total + pyad.sum([2.0, *numbers]) + pyad.dot([1.0, x[0], 3.0], [x[1], x[2], x[3]])


def _pair(f: Any, row: Any, x: Any) -> Any:
    return f(1.0, x[1]) if row.name == "polygamma" else f(x[0], x[1])


@pytest.mark.parametrize("f", every_operation())
def test_every_operation_in_c(f: Any, tmp_path: Path) -> None:
    p = pyad.compile(f)
    x = np.array([0.31, 0.62, 0.47, 0.55])
    expected, expected_slope = p.value_and_grad(x)
    run_c = compiled_c(p.to_c(), tmp_path)
    value, slope = np.empty(1), np.empty(4)
    assert run_c(x, value, slope.ctypes.data) == 0
    assert value[0] == pytest.approx(expected, rel=1e-12)
    np.testing.assert_allclose(slope, expected_slope, rtol=1e-11)


def test_what_to_c_refuses() -> None:
    p = pyad.compile(lambda x: x * x)
    with pytest.raises(pyad.Error, match="call it once"):
        p.to_c()
    p(2.0)
    p(np.ones(3))
    for name in ("2f", "double", "f-g", "sin", "pyad_norm2", "add", ""):
        with pytest.raises(pyad.Error, match="name of a C function"):
            p.to_c(name)
    with pytest.raises(pyad.Error, match="choose one"):
        p.to_c()
    assert "int f(const double *x" in p.to_c(args=(2.0,))
    with pytest.raises(pyad.Error, match="one number"):
        p.to_c(args=(np.ones(3),))
