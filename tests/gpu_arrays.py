"""Arrays on a GPU for tests: a card's where Numba finds one, the simulator's where it simulates."""

import numpy as np
from numba import cuda  # noqa: TID251


def on_gpu(array):
    """A copy of an array on the GPU."""
    return cuda.to_device(array)


def on_host(array):
    """A copy of an array that `on_gpu` made."""
    cuda.synchronize()
    return array.copy_to_host()


def write(array, values):
    """Overwrite an array that `on_gpu` made."""
    array.copy_to_device(np.ascontiguousarray(values))
