"""Builds the two extension modules; everything else about the package stands in pyproject.toml.

`pyad._core` is the C library behind cffi, `pyad._handle` the handle types, compiled with the same
library sources: the library has no global state, so that two copies of it do no harm. The stub of
`_handle` is completed from the operation table; `pyad.compiled._helpers` gets the library's own
functions as text.
"""

import sys
from glob import glob
from pathlib import Path

import numpy
from setuptools import Extension, setup

sys.path.insert(0, str(Path(__file__).parent / "csrc" / "python"))
import build_helpers
import build_stub
from build_core import FLAGS

build_stub.write()
build_helpers.write()

folders = ("", "blocks/", "program/", "python/")
headers = [path for f in folders for end in ("h", "def") for path in glob(f"csrc/{f}*.{end}")]

setup(
    cffi_modules=["csrc/python/build_core.py:ffi"],
    ext_modules=[
        Extension(
            "pyad._handle",
            sources=sorted(path for f in folders for path in glob(f"csrc/{f}*.c")),
            include_dirs=["csrc", numpy.get_include()],
            depends=headers,
            extra_compile_args=FLAGS,
            libraries=["m"],
        )
    ],
)
