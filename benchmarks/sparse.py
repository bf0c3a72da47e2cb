"""What a row-sparse step costs, by the number of touched rows and the size of the table, lazy and not.

    python benchmarks/sparse.py

Prints a Markdown table of medians, in milliseconds; the runs of a row of the table take turns.
"""

import statistics
import time

import numpy as np

from nadam_numba import NAdam

WIDTH = 64
REPETITIONS = 15


def stepper(rows, touched, lazy):
    """A function that makes one step, float32."""
    generator = np.random.default_rng(0)
    table = np.zeros((rows, WIDTH), np.float32)
    optimizer = NAdam(table, lazy_sparse=lazy)
    indices = generator.choice(rows, touched, replace=False)
    values = generator.standard_normal((touched, WIDTH), np.float32)
    return lambda: optimizer.step((indices, values))


def seconds(step):
    begin = time.perf_counter()
    step()
    return time.perf_counter() - begin


def main():
    print("| touched rows | lazy, of 100,000 | lazy, of 1,000,000 | as dense, of 1,000,000 |")
    print("|---:|---:|---:|---:|")
    for touched in (100, 1_000, 10_000, 100_000):
        steps = [stepper(100_000, touched, True), stepper(1_000_000, touched, True), stepper(1_000_000, touched, False)]
        for step in steps:
            step()
        samples = [[seconds(step) for step in steps] for _ in range(REPETITIONS)]
        medians = [statistics.median(column) * 1e3 for column in zip(*samples, strict=True)]
        print(f"| {touched:,} | " + " | ".join(f"{median:.2f}" for median in medians) + " |")


if __name__ == "__main__":
    main()
