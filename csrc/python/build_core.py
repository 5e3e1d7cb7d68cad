"""Builds pyad._core: the C library behind cffi, in API mode. The header itself is the cdef."""

import re
from pathlib import Path

from cffi import FFI

CSRC = Path(__file__).resolve().parent.parent
FOLDERS = [CSRC, CSRC / "blocks", CSRC / "program"]
FLAGS = [
    "-O3",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-ffp-contract=off",
    "-fvisibility=hidden",
]


def files(*suffixes: str) -> list[str]:
    """The sources of the library with these suffixes, as paths from the root of the tree."""
    found = (path for folder in FOLDERS for path in folder.glob("*.*") if path.suffix in suffixes)
    return sorted(path.relative_to(CSRC.parent).as_posix() for path in found)


def declarations() -> str:
    """`pyad.h` without its preprocessor lines, which a cdef cannot take."""
    return re.sub(r"^#.*$", "", (CSRC / "pyad.h").read_text(encoding="utf-8"), flags=re.MULTILINE)


ffi = FFI()
ffi.cdef(declarations())
ffi.set_source(
    "pyad._core",
    '#include "pyad.h"',
    sources=files(".c"),
    include_dirs=["csrc"],
    extra_compile_args=FLAGS,
    libraries=["m"],
    depends=files(".h", ".def"),
)
