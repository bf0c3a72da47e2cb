"""Where two threads start to beat one: the measurement behind ``nadam_numba.jit.PARALLEL_CROSSOVER``.

Runs the serial and the parallel kernel in turn, on arrays of each size, and prints the medians and their ratio.

    python benchmarks/crossover.py
"""

import statistics
import time

import numba
import numpy as np

from nadam_numba import cpu
from nadam_numba.rule import Scalars

REPETITIONS = 25
SECONDS_PER_SAMPLE = 2e-3
SCALARS = Scalars(1e-3, 0.9, 0.999, 1e-8, 0.5, 0.5, 2.0)


def step(update, arrays):
    p, m, v, g = arrays
    update(p, m, v, None, None, None, g, None, *SCALARS)


def seconds_per_call(update, arrays, calls):
    begin = time.perf_counter()
    for _ in range(calls):
        step(update, arrays)
    return (time.perf_counter() - begin) / calls


def medians(dtype, size):
    """Seconds per call of the serial and of the parallel kernel, from samples taken in turn."""
    arrays = [np.ones(size, dtype) for _ in range(4)]
    kernels = (cpu.update_serial, cpu.update_parallel)
    for update in kernels:
        step(update, arrays)
    calls = max(1, int(SECONDS_PER_SAMPLE / seconds_per_call(cpu.update_serial, arrays, 3)))
    samples = [[seconds_per_call(update, arrays, calls) for update in kernels] for _ in range(REPETITIONS)]
    return [statistics.median(column) for column in zip(*samples, strict=True)]


def main():
    rows = []
    for dtype in (np.float32, np.float64):
        for exponent in range(10, 23):
            serial, parallel = medians(dtype, 2**exponent)
            rows.append(f"{np.dtype(dtype).name:8} 2**{exponent:<2} {serial * 1e6:12.1f} {parallel * 1e6:12.1f}")
            rows[-1] += f" {serial / parallel:8.2f}"
    print(f"{numba.get_num_threads()} threads, layer {numba.threading_layer()}, numba {numba.__version__}")
    print(f"{'dtype':8} {'size':5} {'serial us':>12} {'parallel us':>12} {'ratio':>8}")
    print("\n".join(rows))


if __name__ == "__main__":
    main()
