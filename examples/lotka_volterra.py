"""Fit an ODE to data: the four rates of Lotka and Volterra's predators and prey, by a Runge-Kutta solver in `@njit`.

    python examples/lotka_volterra.py [FOLDER FOR THE FIGURE]

The gradient is exact, by complex steps through the solver (`jac="cs"`). Of 16 starts the lowest is taken; the data are
made from known rates with little noise, and the rates must come out again, within what the noise explains.
"""

import argparse
import pathlib
import time

import numpy as np
from numba import njit

from nadam_numba import best_of

RATES = np.array([1.1, 0.4, 0.1, 0.4])
START = np.array([10.0, 5.0])
STEP, STEPS, STRIDE = 0.05, 400, 10
NOISE = 0.02


@njit
def slope(prey, predators, rates):
    return rates[0] * prey - rates[1] * prey * predators, rates[2] * prey * predators - rates[3] * predators


@njit
def solve(rates, start, step, steps):
    """The classic Runge-Kutta method; real or complex, as the rates are."""
    path = np.empty((steps + 1, 2), rates.dtype)
    u, v = start[0] + 0.0 * rates[0], start[1] + 0.0 * rates[0]
    path[0, 0], path[0, 1] = u, v
    for k in range(steps):
        a, b = slope(u, v, rates)
        c, d = slope(u + 0.5 * step * a, v + 0.5 * step * b, rates)
        e, f = slope(u + 0.5 * step * c, v + 0.5 * step * d, rates)
        g, h = slope(u + step * e, v + step * f, rates)
        u = u + step / 6.0 * (a + 2.0 * c + 2.0 * e + g)
        v = v + step / 6.0 * (b + 2.0 * d + 2.0 * f + h)
        path[k + 1, 0], path[k + 1, 1] = u, v
    return path


@njit
def misfit(logarithms, data, start, step, stride):
    """The squares of the differences of the logarithms: populations are positive."""
    path = solve(np.exp(logarithms), start, step, (data.shape[0] - 1) * stride)
    total = 0.0 * logarithms[0]
    for k in range(data.shape[0]):
        for i in range(2):
            residual = np.log(path[k * stride, i]) - data[k, i]
            total += residual * residual
    return total


def draw(folder, data, rates):
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 3.5), layout="constrained")
    axes = figure.subplots()
    path, times = solve(rates, START, STEP, STEPS), STEP * np.arange(STEPS + 1)
    for i, name in enumerate(("prey", "predators")):
        axes.plot(times, path[:, i], label=name)
        axes.plot(times[::STRIDE], np.exp(data[:, i]), ".", color=f"C{i}")
    axes.legend()
    figure.savefig(pathlib.Path(folder) / "lotka_volterra.png", dpi=120)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?")
    arguments = parser.parse_args()
    rng = np.random.default_rng(0)
    data = np.log(solve(RATES, START, STEP, STEPS)[::STRIDE])
    data = data + NOISE * rng.standard_normal(data.shape)
    begin = time.perf_counter()
    bounds = [(np.log(0.05), np.log(2.0))] * 4
    result = best_of(misfit, 16, (data, START, STEP, STRIDE), jac="cs", bounds=bounds, rng=0)
    seconds = time.perf_counter() - begin
    rates = np.exp(result.x)
    lowest = np.sum(np.isclose(result.starts.fun, result.fun, rtol=1e-6))
    print(f"16 starts in {seconds:.1f} s, compilation included; {lowest} of them end at the lowest point")
    print(f"rates  {rates.round(4)}\nknown  {RATES}")
    print(f"misfit {result.fun:.5f}, of which the noise explains {NOISE**2 * (data.size - 4):.5f}")
    if arguments.folder:
        draw(arguments.folder, data, rates)
    if np.any(np.abs(rates / RATES - 1.0) > 0.01):
        raise SystemExit("the rates are not those of the data")


if __name__ == "__main__":
    main()
