"""Memory: a step takes none besides the arrays of the state."""

import copy
import itertools
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
    of_python = 20_000 + 4_000 * len(arrays)  # objects that an optimizer, a step and an array make
    tracemalloc.start()
    try:
        optimizer = NAdam(arrays, **options)
        for _ in range(5):
            optimizer.step(grads)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak <= 1.01 * count * parameters.nbytes + of_python
    assert peak >= count * parameters.nbytes  # it is seen at all


def addresses(optimizer):
    (state,) = optimizer.states
    return [array.__array_interface__["data"][0] for array in (state.leaf.array, *state.arrays)]


def apart(addresses):
    """The least distance between any two places in their pages, in bytes."""
    page = 4096
    return min(min((a - b) % page, (b - a) % page) for a, b in itertools.combinations(addresses, 2))


@needs_compiler
@pytest.mark.parametrize("place", [0, 16, 1000, 2040, 4080])
@pytest.mark.parametrize(
    ("size", "at_least"),
    # Of long arrays, none comes within an eighth of a page, lines being 64 bytes; others are not moved that far.
    [(110_000, 512 - 64), (20_000, 128), (5_000, 64)],
)
def test_the_state_lies_at_cache_lines_and_apart_in_its_pages(size, at_least, place):
    memory = np.zeros(8 * size + 2 * 4096, np.uint8)
    start = -memory.ctypes.data % 4096 + place
    parameters = memory[start : start + 8 * size].view(np.float64)
    options = {"use_ema": True, "gradient_accumulation_steps": 2, "amsgrad": True}
    optimizer = NAdam(parameters, **options)
    for _ in range(2):
        optimizer.step(np.ones(size))
    taken_over = NAdam(parameters, **options)
    taken_over.load_state_dict(optimizer.state_dict())
    for each in (optimizer, taken_over, copy.copy(optimizer)):
        _, *state = addresses(each)
        assert len(state) == 5
        assert all(address % 64 == 0 for address in state)
        assert apart(addresses(each)) >= at_least


@pytest.mark.parametrize("place", range(0, 4096, 240))
def test_the_moments_of_short_arrays_lie_apart_from_the_parameter(place):
    memory = np.zeros(4 * 4096, np.uint8)
    start = -memory.ctypes.data % 4096 + place
    parameter, first, second = addresses(NAdam(memory[start : start + 5000].view(np.float32)))
    assert apart([parameter, first]) >= 256 - 64
    assert apart([parameter, second]) >= 64
