"""What only a card can show: streams, graphs, memory that runs out or is freed. Run with ``pytest -m gpu``."""

import math

import numpy as np
import pytest
from gpu_arrays import SIMULATES, on_gpu, on_host, skip_without_gpu
from numba import njit

from nadam_numba import NAdam, minimize_batch

skip_without_gpu()
if SIMULATES:
    pytest.skip("the simulator has neither streams nor graphs: NUMBA_ENABLE_CUDASIM is set", allow_module_level=True)
pytestmark = pytest.mark.gpu


def test_a_large_array_of_many_chunks():
    generator = np.random.default_rng(0)
    p, g = (generator.standard_normal(3_000_001).astype(np.float32) for _ in range(2))
    array, expected = on_gpu(p), p.copy()
    settings = {"global_clipnorm": 1.0, "amsgrad": True, "learning_rate": 0.1}
    optimizer, reference = NAdam(array, **settings), NAdam(expected, **settings)
    for _ in range(3):
        optimizer.step(on_gpu(g))
        reference.step(g)
    np.testing.assert_allclose(on_host(array), expected, rtol=1e-6, atol=1e-6)


def test_many_fits_in_their_threads():
    rates = np.random.default_rng(0).uniform(0.5, 2.0, 300_000)

    @njit
    def misfit(x, gradient, rate):
        distance = math.exp(-x[0]) - math.exp(-rate)
        gradient[0] = -2.0 * distance * math.exp(-x[0])
        return distance * distance

    result = minimize_batch(misfit, np.ones((rates.size, 1)), (), rates, jac=True, device="cuda")
    assert result.success.all()
    np.testing.assert_allclose(result.x[:, 0], rates, rtol=1e-5)


def test_a_recorded_step_is_replayed():
    torch = pytest.importorskip("torch")
    array, gradient = torch.ones(1000, device="cuda"), torch.full((1000,), 0.5, device="cuda")
    optimizer = NAdam(array, capturable=True, global_clipnorm=2.0)
    optimizer.step(gradient)
    graph = torch.cuda.CUDAGraph()
    torch.cuda.synchronize()
    with torch.cuda.graph(graph):
        optimizer.step(gradient)
    before = optimizer.iterations
    for _ in range(5):
        graph.replay()
    optimizer.learning_rate = 0.1
    graph.replay()
    assert optimizer.iterations - before == 6
    expected = np.ones(1000, np.float32)
    reference = NAdam(expected, global_clipnorm=2.0)
    for number in range(optimizer.iterations):
        reference.learning_rate = 0.1 if number == optimizer.iterations - 1 else 2e-3
        reference.step(np.full(1000, 0.5, np.float32))
    np.testing.assert_allclose(array.cpu().numpy(), expected, rtol=1e-5)


def test_steps_are_made_on_the_stream_of_cupy():
    cupy = pytest.importorskip("cupy")
    stream = cupy.cuda.Stream(non_blocking=True)
    with stream:
        array = cupy.zeros(10**6, cupy.float32)
        optimizer = NAdam(array, learning_rate=0.1, momentum_decay=float("inf"))
        gradient = cupy.zeros_like(array)
        for _ in range(50):
            gradient[...] = 1.0
            optimizer.step(gradient)
            gradient[...] = -1.0  # after the step, on the same stream
        found = cupy.asnumpy(array)
    expected = np.zeros(10, np.float32)
    reference = NAdam(expected, learning_rate=0.1, momentum_decay=float("inf"))
    for _ in range(50):
        reference.step(np.ones(10, np.float32))
    np.testing.assert_allclose(found, expected[0], rtol=1e-5)


def test_arrays_with_gaps():
    cupy = pytest.importorskip("cupy")
    base = cupy.arange(60, dtype=cupy.float32).reshape(5, 12)
    array, gradient = base[1:4, ::3], cupy.ones((3, 4), cupy.float32)
    expected = cupy.asnumpy(array)
    NAdam(array).step(gradient)
    NAdam(expected).step(np.ones((3, 4), np.float32))
    np.testing.assert_allclose(cupy.asnumpy(array), expected, rtol=1e-6)
    assert float(base[0, 1]) == 1.0


def test_out_of_memory_leaves_all_as_it_was():
    cupy = pytest.importorskip("cupy")
    array = on_gpu(np.ones(1000, np.float32))
    optimizer = NAdam(array)
    free, _ = cupy.cuda.runtime.memGetInfo()
    hog = cupy.cuda.alloc(free // 2 + free // 4)
    large = cupy.cuda.alloc((free - hog.size) // 2)
    shape = (large.size // 4,)
    with pytest.raises(MemoryError, match=r"params needs \d+ more bytes on GPU 0"):
        NAdam(cupy.ndarray(shape, cupy.float32, large))
    del hog, large
    cupy.get_default_memory_pool().free_all_blocks()
    optimizer.step(on_gpu(np.ones(1000, np.float32)))
    assert optimizer.iterations == 1


def test_memory_that_is_none_of_a_gpu():
    class Freed:
        __cuda_array_interface__ = None

        def __init__(self, address):
            data = (address, False)
            self.__cuda_array_interface__ = {"shape": (4,), "typestr": "<f4", "data": data, "version": 3}

    host = np.ones(4, np.float32)
    with pytest.raises(ValueError, match=r"params is at .*, which is no memory of a GPU"):
        NAdam(Freed(host.ctypes.data))
    array = on_gpu(host)
    with pytest.raises(ValueError, match=r"grads is at .*, which is no memory of a GPU"):
        NAdam(array).step(Freed(host.ctypes.data))
    assert on_host(array).tolist() == [1.0] * 4
