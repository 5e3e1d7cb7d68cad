"""Builds the two extension modules; everything else about the package stands in pyproject.toml.

`pyad._core` is the C library behind cffi, `pyad._handle` the handle types, compiled with the same
library sources: the library has no global state, so that two copies of it do no harm. The stub of
`_handle` is completed from the operation table.
"""

import sys
from glob import glob
from pathlib import Path

import numpy
from setuptools import Extension, setup

sys.path.insert(0, str(Path(__file__).parent / "csrc" / "python"))
import build_stub
from build_core import FLAGS

build_stub.write()

headers = glob("csrc/*.h") + glob("csrc/*.def") + glob("csrc/blocks/*.h") + glob("csrc/python/*.h")

setup(
    cffi_modules=["csrc/python/build_core.py:ffi"],
    ext_modules=[
        Extension(
            "pyad._handle",
            sources=sorted(glob("csrc/*.c") + glob("csrc/blocks/*.c") + glob("csrc/python/*.c")),
            include_dirs=["csrc", numpy.get_include()],
            depends=headers,
            extra_compile_args=FLAGS,
            libraries=["m"],
        )
    ],
)
