"""Builds pyad._core: the C library behind cffi, in API mode. The header itself is the cdef."""

import re
from pathlib import Path

from cffi import FFI

CSRC = Path(__file__).resolve().parent.parent
SOURCES = sorted(path.name for path in CSRC.glob("*.c"))
FLAGS = ["-O3", "-fno-math-errno", "-ffp-contract=off", "-fvisibility=hidden"]


def declarations() -> str:
    """`pyad.h` without its preprocessor lines, which a cdef cannot take."""
    return re.sub(r"^#.*$", "", (CSRC / "pyad.h").read_text(encoding="utf-8"), flags=re.MULTILINE)


ffi = FFI()
ffi.cdef(declarations())
ffi.set_source(
    "pyad._core",
    '#include "pyad.h"',
    sources=[f"csrc/{name}" for name in SOURCES],
    include_dirs=["csrc"],
    extra_compile_args=FLAGS,
    libraries=["m"],
    depends=[f"csrc/{path.name}" for path in CSRC.glob("*.*") if path.suffix in (".h", ".def")],
)
