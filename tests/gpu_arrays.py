"""Arrays on a GPU for tests: a card's where there is one, the simulator's where NUMBA_ENABLE_CUDASIM is set."""

import sys

import numpy as np
import pytest
from numba import config, cuda  # noqa: TID251

from nadam_numba import gpu

SIMULATES = bool(config.ENABLE_CUDASIM)


def skip_without_gpu():
    """Skip the module that calls it where there is no GPU."""
    missing = gpu.missing()
    if missing is not None:
        pytest.skip(f"neither a GPU nor its simulator, NUMBA_ENABLE_CUDASIM=1: {missing}", allow_module_level=True)


@pytest.fixture
def quick_simulator():
    """Threads of the simulator wait for each other by turns of the interpreter, whose usual length is 5 ms."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


def on_gpu(array):
    """A copy of an array on the GPU, in the same layout."""
    return cuda.to_device(array)


def on_host(array):
    cuda.synchronize()
    return array.copy_to_host()


def gradients_on_gpu(gradients):
    """The gradients of a step: None, arrays, and pairs of indices and rows, on the GPU."""
    return [
        None if g is None else (g[0], on_gpu(g[1])) if isinstance(g, tuple) else on_gpu(np.asarray(g))
        for g in gradients
    ]


def errors_in_ulp(array, expected):
    """The differences in units of the last place of the largest number."""
    unit = np.spacing(np.abs(expected).max().astype(array.dtype)) if expected.size else 1.0
    return np.abs(array.astype(np.float64) - expected).max(initial=0.0) / float(unit)


class Foreign:
    """Memory on the GPU as another library's arrays show it: by the CUDA array interface alone.

    In the simulator the memory is NumPy's.
    """

    def __init__(self, array, stream=None, **changes):
        self.held = array if SIMULATES else on_gpu(array)
        interface = array.__array_interface__ if SIMULATES else self.held.__cuda_array_interface__
        described = {key: interface[key] for key in ("shape", "strides", "typestr", "data")}
        self.__cuda_array_interface__ = described | {"version": 3, "stream": stream} | changes

    # Which classes have the interface tells what may be on a GPU.
    __cuda_array_interface__ = None

    def on_host(self):
        return self.held if SIMULATES else on_host(self.held)
