"""What it tells in a step where the moments lie: at the next cache line, or apart from the parameter in their pages.

    NUMBA_NUM_THREADS=1 python benchmarks/places.py

Two optimizers take turns at the same parameter and gradient, which are NumPy's arrays. The moments of one begin with a
cache line wherever memory is given out, as aligned allocation has it; those of the other are as `NAdam` lays them.
Places are in bytes, from that of the parameter, modulo the page of 4,096.
"""

import time

import numba
import numpy as np

from nadam_numba import NAdam, info
from nadam_numba.arrays import zeros

SIZES = (10_000, 100_000, 1_000_000, 10_000_000)
WARM_UP, PAGE = 3, 4096


def seconds(optimizer, gradient, repetitions):
    begin = time.perf_counter()
    for _ in range(repetitions):
        optimizer.step(gradient)
    return (time.perf_counter() - begin) / repetitions


def with_aligned_moments(parameter):
    """An optimizer whose moments begin with any cache line."""
    optimizer = NAdam(parameter)
    (state,) = optimizer.states
    state.first_moment, state.second_moment = (zeros(parameter.size, parameter.dtype) for _ in range(2))
    return optimizer


def places(optimizer):
    (state,) = optimizer.states
    moments = state.first_moment, state.second_moment
    return " and ".join(str((moment.ctypes.data - state.leaf.array.ctypes.data) % PAGE) for moment in moments)


def main():
    threads = numba.get_num_threads()
    print(f"{info.cpu_name()}, {threads} thread(s), load before {info.load()}, numba {numba.__version__}")
    print(f"{'dtype':8} {'size':>10} {'aligned':>10} {'apart':>10}   aligned / apart (quartiles)   places of both")
    for dtype in (np.float32, np.float64):
        for size in SIZES:
            gradient = np.random.default_rng(0).standard_normal(size).astype(dtype)
            parameter = np.ones(size, dtype)
            optimizers = with_aligned_moments(parameter), NAdam(parameter)
            repetitions = max(1, 1_000_000 // size)
            rounds = max(40, min(200, 10**9 // (size * repetitions)))
            times = [[seconds(each, gradient, repetitions) for each in optimizers] for _ in range(rounds + WARM_UP)]
            times = np.array(times[WARM_UP:])
            low, middle, high = np.percentile(times[:, 0] / times[:, 1], [25, 50, 75])
            theirs, ours = (f"{1e3 * value:7.3f} ms" for value in np.median(times, axis=0))
            ratio = f"{middle:.2f} ({low:.2f} to {high:.2f})"
            where = "; ".join(map(places, optimizers))
            print(f"{dtype.__name__:8} {size:10,} {theirs:>10} {ours:>10}   {ratio:28} {where}")


if __name__ == "__main__":
    main()
