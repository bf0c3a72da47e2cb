"""What an evaluation costs in the compiled loops of minimize: "auto" beside a fixed learning rate.

    python benchmarks/minimize_speed.py

The Rosenbrock function with its gradient, compiled; the two loops in turn, and the best of many runs of each. What a
run costs before and after its iterations stands apart, as the time of a run that ends at x0.
"""

import time

import numpy as np
from numba import njit

from nadam_numba import minimize

REPEATS = 300
# From far away, so that "auto" takes many evaluations.
START = {2: [-50.0, 60.0], 20: [-1.2, 1.0] * 10, 100: [-1.2, 1.0] * 50}


@njit
def rosenbrock(x):
    value, gradient = 0.0, np.zeros(x.size)
    for i in range(x.size - 1):
        bend, slack = x[i + 1] - x[i] * x[i], 1.0 - x[i]
        value += 100.0 * bend * bend + slack * slack
        gradient[i] += -400.0 * bend * x[i] - 2.0 * slack
        gradient[i + 1] += 200.0 * bend
    return value, gradient


def seconds_and_evaluations(start, options):
    begin = time.perf_counter()
    result = minimize(rosenbrock, start, jac=True, options=options)
    return time.perf_counter() - begin, result.nfev


def best(start, options):
    """The shortest time of a run, and its evaluations."""
    return min(seconds_and_evaluations(start, options) for _ in range(REPEATS // 10))


def main():
    print(f"{'n':>4} {'fixed rate':>12} {'auto':>12} {'auto / fixed':>13} {'evaluations':>12} {'before and after':>17}")
    for n, start in START.items():
        runs = {"fixed": {"learning_rate": 1e-3, "maxiter": 1000, "gtol": 0.0}, "auto": {}, "none": {"maxiter": 0}}
        shortest = {name: best(start, options) for name, options in runs.items()}
        for _ in range(9):
            shortest = {name: min(shortest[name], best(start, options)) for name, options in runs.items()}
        overhead = shortest["none"][0]
        costs = {name: (shortest[name][0] - overhead) / shortest[name][1] for name in ("fixed", "auto")}
        fixed, auto = 1e9 * costs["fixed"], 1e9 * costs["auto"]
        print(
            f"{n:4d} {fixed:9.0f} ns {auto:9.0f} ns {auto / fixed:13.2f} "
            f"{shortest['auto'][1]:12d} {1e6 * overhead:14.0f} us"
        )


if __name__ == "__main__":
    main()
