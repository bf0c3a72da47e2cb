"""What clipping by value and decoupled decay cost in a step of large arrays: the same arrays, with and without.

    NUMBA_NUM_THREADS=1 python benchmarks/same_arrays.py

Where the memory of an array happens to be can change the time of a step by more than an option does. Both options are
numbers that an optimizer may change between steps: here they are switched on and off in turn.
"""

import time

import numba
import numpy as np

from nadam_numba import NAdam, info

SIZE, ROUNDS, WARM_UP = 10_000_000, 80, 5
OPTIONS = {"clipvalue": (None, 1.0), "weight_decay": (0.0, 0.1)}


def seconds(optimizer, gradient):
    begin = time.perf_counter()
    optimizer.step(gradient)
    return time.perf_counter() - begin


def rounds(optimizer, gradient, name):
    """The times of steps without an option and with it, shape (rounds, 2)."""
    times = []
    for _ in range(ROUNDS + WARM_UP):
        for value in OPTIONS[name]:
            setattr(optimizer, name, value)
            times.append(seconds(optimizer, gradient))
    setattr(optimizer, name, OPTIONS[name][0])
    return np.array(times).reshape(-1, 2)[WARM_UP:]


def main():
    threads = numba.get_num_threads()
    print(f"{info.cpu_name()}, {threads} thread(s), load before {info.load()}, numba {numba.__version__}")
    print(f"{SIZE:,} numbers, medians of {ROUNDS} rounds")
    print(f"{'dtype':8} {'option':13} {'without':>9} {'with':>9} {'with / without (quartiles)':>30}")
    for dtype in (np.float32, np.float64):
        gradient = np.random.default_rng(0).standard_normal(SIZE).astype(dtype)
        optimizer = NAdam(np.ones(SIZE, dtype), decoupled_weight_decay=True)
        for name in OPTIONS:
            times = rounds(optimizer, gradient, name)
            low, middle, high = np.percentile(times[:, 1] / times[:, 0], [25, 50, 75])
            without, beside = 1e3 * np.median(times, axis=0)
            ratio = f"{middle:.3f} ({low:.3f} to {high:.3f})"
            print(f"{dtype.__name__:8} {name:13} {without:6.2f} ms {beside:6.2f} ms {ratio:>30}")


if __name__ == "__main__":
    main()
