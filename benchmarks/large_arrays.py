"""Whether the cost of a step is linear in the number of elements, up to the memory of the machine; and its memory.

    python benchmarks/large_arrays.py                # sizes up to 10**8.5, float32 and float64; takes 13 GB
    python benchmarks/large_arrays.py --largest 8    # up to 10**8

Steps arrays of each size in turn, beside the copy kernel of the benchmark of speed, in one thread, and prints the
medians of the time per element. Then, in a process for each size, what the peak of its memory is beside the four arrays
of the design: parameters, gradients, two moments.
"""

import argparse
import pathlib
import statistics
import subprocess
import sys
import time

import numba
import numpy as np

from nadam_numba import NAdam, info
from nadam_numba.bench import copy_kernel

EXPONENTS = (7.0, 7.5, 8.0, 8.5)
REPETITIONS = 7
ARRAYS = 4  # parameters, gradients, first and second moments


def sizes(largest):
    return {f"10**{exponent:g}": int(10**exponent) for exponent in EXPONENTS if exponent <= largest}


def seconds(step):
    begin = time.perf_counter()
    step()
    return time.perf_counter() - begin


def steppers(dtype, counts):
    """For each size, a step of ours and of the copy kernel; sizes share the memory of parameters and gradients."""
    largest = max(counts)
    parameters, gradients = np.ones(largest, dtype), np.full(largest, 0.5, dtype)
    first, second = np.zeros(largest, dtype), np.zeros(largest, dtype)
    for count in counts:
        optimizer = NAdam(parameters[:count])
        arrays = parameters[:count], first[:count], second[:count], None, gradients[:count]
        yield (
            lambda optimizer=optimizer, count=count: optimizer.step(gradients[:count]),
            lambda arrays=arrays: copy_kernel.move_serial(*arrays),
        )


def measure_times(dtype, named):
    """Nanoseconds per element, ours and the copy kernel's: the medians of samples that are taken in turn."""
    steps = [step for pair in steppers(dtype, named.values()) for step in pair]
    for step in steps:
        step()
    samples = [[seconds(step) for step in steps] for _ in range(REPETITIONS)]
    medians = [statistics.median(column) for column in zip(*samples, strict=True)]
    ours = [time / count * 1e9 for time, count in zip(medians[::2], named.values(), strict=True)]
    floors = [time / count * 1e9 for time, count in zip(medians[1::2], named.values(), strict=True)]
    return ours, floors


def peak_memory():
    """The largest resident memory of this process so far, in bytes."""
    for line in pathlib.Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise SystemExit("the system does not tell the peak of a process's memory")


def peak_of_steps(count, dtype):
    """Bytes that an array and three steps of it take beyond those of one of no size."""
    small = NAdam(np.ones(1, dtype))
    small.step(np.ones(1, dtype))
    before = peak_memory()
    parameters, gradients = np.ones(count, dtype), np.ones(count, dtype)
    optimizer = NAdam(parameters)
    for _ in range(3):
        optimizer.step(gradients)
    return peak_memory() - before


def peak_in_a_process(count, dtype):
    command = [sys.executable, __file__, "--peak", str(count), dtype]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--largest", type=float, default=EXPONENTS[-1], help="exponent of the largest size")
    parser.add_argument("--peak", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    numba.set_num_threads(1)
    if options.peak:
        print(peak_of_steps(int(options.peak[0]), options.peak[1]))
        return
    named = sizes(options.largest)
    print(f"{info.cpu_name()}, one thread, load before {info.load()}, numba {numba.__version__}")
    print("dtype    size     ours ns/element   beside the first   copy kernel / ours   peak / arrays of the design")
    for dtype in ("float32", "float64"):
        ours, floors = measure_times(dtype, named)
        for (name, count), own, floor in zip(named.items(), ours, floors, strict=True):
            peak = peak_in_a_process(count, dtype) / (ARRAYS * count * np.dtype(dtype).itemsize)
            print(f"{dtype:8} {name:8} {own:15.3f} {own / ours[0]:18.3f} {floor / own:20.3f} {peak:29.4f}")


if __name__ == "__main__":
    main()
