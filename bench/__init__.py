"""Benches: problem x tool, each gradient as a multiple of the same function evaluated plainly.

Run from the repository root; see `bench/README.md`. Not part of the installed package.

One thread for everybody: BLAS reads these variables when NumPy is imported, which happens later.
"""

import os

for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")
os.environ.setdefault(
    "XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
)
