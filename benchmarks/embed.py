"""What a step costs inside ``@njit`` code: `nadam_step` beside a loop of NAdam written out by hand.

    python benchmarks/embed.py

Both take the same steps, in one thread, and end at the same point; they take turns.
"""

import argparse
import math
import statistics
import time

import numba
import numpy as np
from numba import njit

from nadam_numba import info
from nadam_numba.embed import nadam_init, nadam_step


@njit
def by_nadam_step(x, gradient, steps):
    state = nadam_init(x)
    for _ in range(steps):
        nadam_step(x, gradient, state)


@njit(error_model="numpy")
def by_hand(x, gradient, steps):
    learning_rate, beta_1, beta_2, epsilon, momentum_decay = 2e-3, 0.9, 0.999, 1e-8, 4e-3
    first_moment, second_moment = np.zeros_like(x), np.zeros_like(x)
    product = 1.0
    for step in range(1, steps + 1):
        mu = beta_1 * (1.0 - 0.5 * 0.96 ** (step * momentum_decay))
        mu_next = beta_1 * (1.0 - 0.5 * 0.96 ** ((step + 1) * momentum_decay))
        product *= mu
        gradient_weight = (1.0 - mu) / (1.0 - product)
        momentum_weight = mu_next / (1.0 - product * mu_next)
        # Not by an integer, whose power Numba takes by multiplications: it rounds otherwise.
        correction = 1.0 / (1.0 - beta_2 ** float(step))
        for i in range(x.size):
            first_moment[i] = beta_1 * first_moment[i] + (1.0 - beta_1) * gradient[i]
            second_moment[i] = beta_2 * second_moment[i] + (1.0 - beta_2) * gradient[i] * gradient[i]
            rate = learning_rate / (math.sqrt(second_moment[i] * correction) + epsilon)
            x[i] -= gradient_weight * gradient[i] * rate + momentum_weight * first_moment[i] * rate


def measure(size, rounds):
    """Seconds of a step, of each way, medians; and the median of the ratios."""
    steps = max(100, 200_000 // size)
    gradient = np.linspace(-1.0, 2.0, size)
    ends = []
    for run in (by_nadam_step, by_hand):  # compiles
        x = np.linspace(1.0, 2.0, size)
        run(x, gradient, steps)
        ends.append(x)
    np.testing.assert_allclose(*ends, rtol=1e-12)
    samples = {by_nadam_step: [], by_hand: []}
    for _ in range(rounds):
        for run, seconds in samples.items():
            x = np.linspace(1.0, 2.0, size)
            begin = time.perf_counter()
            run(x, gradient, steps)
            seconds.append((time.perf_counter() - begin) / steps)
    ratios = [ours / theirs for ours, theirs in zip(*samples.values(), strict=True)]
    return *map(statistics.median, samples.values()), statistics.median(ratios)


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=101)
    rounds = parser.parse_args().rounds
    print(f"{info.cpu_name()}, one thread, load before {info.load()}, numba {numba.__version__}\n")
    print("| elements, float64 | nadam_step | by hand | nadam_step / by hand |\n| ---: | ---: | ---: | ---: |")
    for size in (2, 10, 100, 1_000, 10_000):
        ours, theirs, ratio = measure(size, rounds)
        print(f"| {size:,} | {ours * 1e9:,.0f} ns | {theirs * 1e9:,.0f} ns | {ratio:.2f} |")


if __name__ == "__main__":
    main()
