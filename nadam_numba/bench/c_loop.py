"""The plain C loop, compiled when it is needed and called through ctypes."""

import atexit
import ctypes
import functools
import pathlib
import shutil
import subprocess
import sys
import tempfile

import numpy as np

from nadam_numba.bench.contender import BETA_1, BETA_2, EPSILON, LEARNING_RATE, TORCH_DECAY, Contender
from nadam_numba.bench.memory import aligned_copy

MOMENTUM_DECAY = TORCH_DECAY
# A root that sets errno is not vectorised; that is no choice a programmer would make.
FLAGS = ("-O3", "-march=native", "-fno-math-errno")
_ROOTS = {"float32": ("float", "sqrtf"), "float64": ("double", "sqrt")}


def compiler():
    """The path of the C compiler, or None."""
    return None if sys.platform == "win32" else shutil.which("cc")


@functools.cache
def library(dtype, threads):
    """The compiled step for arrays of a dtype, which takes `threads` threads where ours does.

    Raises
    ------
    OSError
        If there is no compiler, or it fails.
    """
    folder = _folder()
    path = folder / f"{dtype}_{threads}.so"
    number, root = _ROOTS[dtype]
    with_threads = ["-fopenmp", f"-DTHREADS={threads}"] if threads > 1 else []
    source = pathlib.Path(__file__).with_suffix(".c")
    names = [f"-DTYPE={number}", f"-DROOT={root}"]
    command = [compiler() or "cc", *FLAGS, *with_threads, *names, "-shared", "-fPIC", "-o", path, source, "-lm"]
    process = subprocess.run(command, capture_output=True, text=True)
    if process.returncode:
        raise OSError(f"the C compiler failed: {process.stderr.strip()}")
    step = ctypes.CDLL(str(path)).step
    step.restype = None
    return step


@functools.cache
def _folder():
    folder = tempfile.mkdtemp(prefix="nadam_numba_bench_")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return pathlib.Path(folder)


def make(case, inputs, threads):
    """The contender, or None for options, which the loop has not."""
    if case.options:
        return None
    step = library(case.dtype, threads)
    states = [[aligned_copy(np.zeros_like(p), place) for p in inputs.parameters] for place in (1, 2)]
    arrays = [[aligned_copy(p, 0) for p in inputs.parameters], *states, inputs.gradients]
    sizes = np.array([p.size for p in inputs.parameters], ctypes.c_long)
    tables = [np.array([array.ctypes.data for array in row], np.uintp) for row in arrays]
    numbers = np.array([LEARNING_RATE, BETA_1, BETA_2, EPSILON, MOMENTUM_DECAY, 0.0, 1.0])
    addresses = [ctypes.c_void_p(table.ctypes.data) for table in (sizes, *tables, numbers)]
    call = functools.partial(step, ctypes.c_long(len(inputs.parameters)), *addresses)
    call.arrays = sizes, tables, arrays, numbers  # keeps alive what the addresses are of
    return Contender(
        "C loop", call, lambda: arrays[0], functools.partial(inputs.expected, MOMENTUM_DECAY), inputs.scale
    )
