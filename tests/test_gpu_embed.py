"""NAdam in the user's own CUDA kernels: one element at a time, and the example, with one problem per thread."""

import runpy
from pathlib import Path

import numpy as np
import pytest
from gpu_arrays import on_gpu, on_host, skip_without_gpu
from numba import cuda  # noqa: TID251

from nadam_numba import NAdam

skip_without_gpu()
EXAMPLE = Path(__file__).parent.parent / "examples" / "one_problem_per_thread.py"


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_each_thread_takes_the_steps_of_the_optimizer(dtype):
    from nadam_numba.embed import cuda_nadam_update, cuda_nadam_weights

    @cuda.jit
    def descend(x, m, v, steps, learning_rate):
        i = cuda.grid(1)
        if i < x.size:
            product = 1.0
            for step in range(1, steps + 1):
                weights = cuda_nadam_weights(step, product, 0.8, 0.99, 1.0)
                product = weights[0]
                cuda_nadam_update(x, m, v, i, x[i] * x[i] - x[i], weights, learning_rate, 0.8, 0.99, 1e-6)

    start = np.linspace(0.5, 2.0, 5).astype(dtype)
    arrays = [on_gpu(start), on_gpu(np.zeros_like(start)), on_gpu(np.zeros_like(start))]
    descend[2, 3](*arrays, 30, 0.02)
    expected = start.copy()
    optimizer = NAdam(expected, 0.02, 0.8, 0.99, 1e-6, momentum_decay=1.0)
    for _ in range(30):
        optimizer.step(expected * expected - expected)
    np.testing.assert_allclose(on_host(arrays[0]), expected, rtol=30 * 4 * np.finfo(dtype).eps)


def test_example():
    main = runpy.run_path(str(EXAMPLE))["main"]
    assert main(count=2, steps=400) < 1e-6


def test_unknown_names_are_unknown():
    from nadam_numba import embed

    with pytest.raises(AttributeError, match="cuda_nadam"):
        embed.cuda_nadam  # noqa: B018
