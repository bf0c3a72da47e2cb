"""A first look at nadam_numba: minimise a classic test function and fit two regressions with certified answers.

    python examples/quickstart.py

The table compares each answer with the known one: the minimum of the Rosenbrock function at (1, ..., 1), and the
least-squares parameters that NIST certifies for its regressions Misra1a and Thurber. "error" is the largest relative
error of a parameter; "time" includes compilation.
"""

import time

import numpy as np
from numba import njit

from nadam_numba import minimize
from nadam_numba.datasets import MISRA1A, THURBER


def rosenbrock(x):
    """The value and the gradient: a curved valley, steep across and almost flat along."""
    value, gradient = 0.0, np.zeros(x.size)
    for i in range(x.size - 1):
        bend, slack = x[i + 1] - x[i] * x[i], 1.0 - x[i]
        value += 100.0 * bend * bend + slack * slack
        gradient[i] += -400.0 * bend * x[i] - 2.0 * slack
        gradient[i + 1] += 200.0 * bend
    return value, gradient


# The parameters of these regressions differ by many powers of ten, which is no matter to minimize.


@njit
def misra1a(b, x, y):
    """The sum of squared residuals of ``y = b1 (1 - exp(-b2 x))``, and its gradient."""
    b1, b2 = b
    value, gradient = 0.0, np.zeros(2)
    for i in range(x.size):
        decay = np.exp(-b2 * x[i])
        residual = b1 * (1.0 - decay) - y[i]
        value += residual**2
        gradient[0] += 2.0 * residual * (1.0 - decay)
        gradient[1] += 2.0 * residual * b1 * decay * x[i]
    return value, gradient


@njit
def thurber(b, x, y):
    """The sum of squared residuals of a ratio of two cubics, and its gradient."""
    value, gradient = 0.0, np.zeros(7)
    for i in range(x.size):
        t = x[i]
        denominator = 1.0 + t * (b[4] + t * (b[5] + t * b[6]))
        model = (b[0] + t * (b[1] + t * (b[2] + t * b[3]))) / denominator
        residual = model - y[i]
        value += residual**2
        slope = 2.0 * residual / denominator
        for k in range(4):
            gradient[k] += slope * t**k
        for k in range(3):
            gradient[4 + k] -= slope * model * t ** (k + 1)
    return value, gradient


def timed(fun, x0, args=()):
    begin = time.perf_counter()
    result = minimize(fun, x0, args, jac=True)
    return result, time.perf_counter() - begin


def rosenbrock_rows():
    """Two sizes, each with a plain Python objective and with a compiled one: the iterates are the same."""
    for size in (2, 100):
        start = np.tile([-1.2, 1.0], size // 2)
        for method, fun in (("nadam, Python", rosenbrock), ("nadam, @njit", njit(rosenbrock))):
            result, seconds = timed(fun, start)
            error = np.abs(result.x - 1.0).max()
            yield f"Rosenbrock, n = {size}", method, result.fun, error, result.nit, seconds


def regression_rows():
    """Both regressions, from the starting values that NIST calls far from the answer."""
    for data, fun in ((MISRA1A, misra1a), (THURBER, thurber)):
        result, seconds = timed(fun, data.starts[0], (data.x, data.y))
        error = np.abs(result.x / data.parameters - 1.0).max()
        yield f"NIST {data.name}", "nadam, @njit", result.fun, error, result.nit, seconds


def main():
    print(f"{'problem':20} {'method':14} {'f':>16} {'error':>9} {'iterations':>11} {'time':>8}")
    for rows in (rosenbrock_rows(), regression_rows()):
        for problem, method, value, error, iterations, seconds in rows:
            print(f"{problem:20} {method:14} {value:16.9e} {error:9.1e} {iterations:11d} {seconds:6.2f} s")


if __name__ == "__main__":
    main()
