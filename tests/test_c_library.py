"""The C library alone: programs that are built from `csrc/` without Python, and run."""

from __future__ import annotations

import math
import os
import re
import shlex
import subprocess
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PROGRAMS = ROOT / "tests" / "c"
WARNINGS = ["-Wall", "-Wextra", "-Wshadow", "-Wconversion", "-Werror"]
FLAGS = [
    "-std=c11",
    "-O1",
    "-g",
    "-ffp-contract=off",
    "-fno-math-errno",
    "-fno-trapping-math",
    *WARNINGS,
]
if "asan" in os.environ.get("LD_PRELOAD", ""):  # .ci/run sanitizes Python; so these programs, too
    FLAGS += ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
COMPILER = shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")[:1]


def library(*suffixes: str) -> list[Path]:
    """The files of the C library, without its Python half."""
    folders = (ROOT / "csrc", ROOT / "csrc" / "blocks", ROOT / "csrc" / "program")
    return sorted(path for f in folders for path in f.glob("*.*") if path.suffix in suffixes)


def run(command: list[str]) -> str:
    environment = {key: value for key, value in os.environ.items() if key != "LD_PRELOAD"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, f"{shlex.join(command)}\n{done.stdout}{done.stderr}"
    assert done.stderr == ""
    return done.stdout


def build(tmp_path: Path, program: str, *flags: str) -> str:
    """Build the library's sources with `flags`, and a program of tests/c, and return its path."""
    objects = []
    for number, source in enumerate([*library(".c"), PROGRAMS / program]):
        own = flags if source.parent != PROGRAMS else ()
        objects.append(str(tmp_path / f"{number}.o"))
        include = f"-I{ROOT / 'csrc'}"
        run([*COMPILER, *FLAGS, *own, include, "-c", str(source), "-o", objects[-1]])
    binary = str(tmp_path / "program")
    run([*COMPILER, *FLAGS, *objects, "-o", binary, "-lm"])
    return binary


def test_a_program_computes_gradients(tmp_path: Path) -> None:
    lines = run([build(tmp_path, "gradient.c")]).splitlines()
    value, dx, dy = map(float, lines[0].split())
    assert value == pytest.approx(math.log(2) + 10 - math.sin(5), rel=1e-15)
    assert dx == 5.5
    assert dy == pytest.approx(2 - math.cos(5), rel=1e-15)
    assert list(map(float, lines[1].split())) == [dx, dy, 10 * dx, pytest.approx(10 * dy)]
    assert list(map(float, lines[2].split())) == [dx, dy]
    assert lines[3] == "NODE_RANGE: IndexError"
    assert list(map(float, lines[4].split())) == [20.0, 4.0, 5.0]
    assert list(map(float, lines[5].split())) == [42.0, 1.0, -1.0]
    assert len(lines) == 6


def test_sweeps_of_blocks(tmp_path: Path) -> None:
    assert run([build(tmp_path, "blocks_tape.c")]) == "ok\n"


def test_recorded_sweeps_and_expansion_of_blocks(tmp_path: Path) -> None:
    assert run([build(tmp_path, "blocks_graph.c"), "300"]) == "ok\n"


def test_every_allocation_may_fail(tmp_path: Path) -> None:
    instead = [f"-D{name}=failing_{name}" for name in ("malloc", "calloc", "realloc")]
    assert run([build(tmp_path, "failing_malloc.c", *instead)]) == "ok\n"


def test_every_allocation_of_recorded_sweeps_may_fail(tmp_path: Path) -> None:
    instead = [f"-D{name}=failing_{name}" for name in ("malloc", "calloc", "realloc")]
    assert run([build(tmp_path, "failing_graph.c", *instead)]) == "ok\n"


def test_one_file_holds_the_door_to_the_allocator() -> None:
    door = re.compile(r"\b(malloc|calloc|realloc|free)\(")
    users = {path.name for path in library(".c") if door.search(path.read_text())}
    assert users == {"buffer.c", "tape.c"}  # tape.c: the struct itself


def test_the_library_knows_neither_python_nor_a_terminal() -> None:
    for path in library(".c", ".h"):
        assert not re.search(r"Python\.h|\bprintf\(|\bexit\(|\babort\(", path.read_text()), path


def test_programs_survive_failing_allocations(tmp_path: Path) -> None:
    names = ("malloc", "calloc", "realloc")
    binary = build(tmp_path, "programs.c", *(f"-D{name}=failing_{name}" for name in names))
    value, dx, dy = map(float, run([binary]).split())
    assert value == pytest.approx(4 * 3.25 + math.sin(3.25), rel=1e-14)
    assert dx == pytest.approx(4 + math.cos(3.25), rel=1e-14)
    assert dy == 13.0
