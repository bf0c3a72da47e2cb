"""Many small fits at once on a GPU: each thread fits the two parameters of its own curve by NAdam.

The arguments are how many fits, and how many steps. Without a card, Numba's simulator runs the same kernel, slowly:
``NUMBA_ENABLE_CUDASIM=1 python examples/one_problem_per_thread.py 4 500``
"""

import math
import sys

import numpy as np
from numba import cuda, float64

from nadam_numba.embed import cuda_nadam_update, cuda_nadam_weights

THREADS = 64


@cuda.jit
def fit_decays(times, observed, fitted, steps, learning_rate):
    """Fit ``a exp(-b t)`` to each row of `observed`, by least squares; row i of `fitted` becomes (a, b)."""
    row = cuda.grid(1)
    if row >= observed.shape[0]:
        return
    x = cuda.local.array(2, float64)
    first_moment = cuda.local.array(2, float64)
    second_moment = cuda.local.array(2, float64)
    for i in range(2):
        x[i], first_moment[i], second_moment[i] = 1.0, 0.0, 0.0
    mu_product = 1.0
    for step in range(1, steps + 1):
        by_a, by_b = 0.0, 0.0
        for k in range(times.size):
            decay = math.exp(-x[1] * times[k])
            residual = x[0] * decay - observed[row, k]
            by_a += 2.0 * residual * decay
            by_b -= 2.0 * residual * x[0] * times[k] * decay
        weights = cuda_nadam_weights(step, mu_product, 0.9, 0.999, 4e-3)
        mu_product = weights[0]
        cuda_nadam_update(x, first_moment, second_moment, 0, by_a, weights, learning_rate, 0.9, 0.999, 1e-8)
        cuda_nadam_update(x, first_moment, second_moment, 1, by_b, weights, learning_rate, 0.9, 0.999, 1e-8)
    fitted[row, 0], fitted[row, 1] = x[0], x[1]


def main(count=100_000, steps=2000):
    generator = np.random.default_rng(0)
    times = np.linspace(0.0, 2.0, 20)
    true = generator.uniform(0.5, 2.0, (count, 2))
    observed = true[:, :1] * np.exp(-true[:, 1:] * times)
    fitted = cuda.to_device(np.zeros((count, 2)))
    blocks = -(-count // THREADS)
    fit_decays[blocks, THREADS](cuda.to_device(times), cuda.to_device(observed), fitted, steps, 0.02)
    error = np.abs(fitted.copy_to_host() - true).max()
    print(f"{count} fits of {times.size} points, largest error of a parameter: {error:.1e}")
    return error


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
