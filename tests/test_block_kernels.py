"""The kernels of blocks: a program built from `csrc/` without Python or NumPy, and run."""

from __future__ import annotations

from pathlib import Path

from test_c_library import build, run


def test_kernels_follow_their_definitions(tmp_path: Path) -> None:
    assert run([build(tmp_path, "blocks.c")]) == "ok\n"
