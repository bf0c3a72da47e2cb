"""Memory: a step takes none besides the arrays of the state."""

import tracemalloc

import numpy as np
import pytest
from marks import needs_compiler

from nadam_numba import NAdam

SIZE = 2**20
# Beside the parameters and gradients, which are the caller's.
KEPT_ARRAYS = {
    "none": (2, {}),
    "amsgrad": (3, {"amsgrad": True}),
    "average": (3, {"use_ema": True}),
    "accumulation": (3, {"gradient_accumulation_steps": 2}),
    "decay": (2, {"weight_decay": 0.1, "decoupled_weight_decay": True}),
    "clip": (2, {"clipvalue": 0.5, "clipnorm": 1.0}),
    "global clip": (2, {"global_clipnorm": 1.0}),
    "bfloat16": (1, {"state_dtype": "bfloat16"}),
}


@needs_compiler
@pytest.mark.parametrize("shape", [(SIZE,), (2**7, SIZE // 2**7)])
@pytest.mark.parametrize("name", KEPT_ARRAYS)
def test_steps_take_the_memory_of_the_state_and_one_percent(name, shape):
    count, options = KEPT_ARRAYS[name]
    kernels = NAdam([np.ones(2**16 + 3, np.float32)], **options)
    for _ in range(4):  # compiles
        kernels.step([np.ones(2**16 + 3, np.float32)])
    parameters, gradients = np.ones(shape, np.float32), np.ones(shape, np.float32)
    arrays = [parameters] if len(shape) == 1 else list(parameters)
    grads = [gradients] if len(shape) == 1 else list(gradients)
    per_array = 4_000 * len(arrays)  # of Python's own objects
    tracemalloc.start()
    try:
        optimizer = NAdam(arrays, **options)
        for _ in range(5):
            optimizer.step(grads)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak <= 1.01 * count * parameters.nbytes + per_array
    assert peak >= count * parameters.nbytes  # it is seen at all
