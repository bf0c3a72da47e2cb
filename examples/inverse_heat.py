"""Find the diffusivity of a plate from temperatures: a 2-D heat equation in `@njit`, with its adjoint by hand.

    python examples/inverse_heat.py [FOLDER FOR THE FIGURE]

A square plate, cold at its edges, is heated in four experiments and cools down; its temperature is known at some times,
with little noise. Sought is the diffusivity of each of 24 x 24 cells. The check: the adjoint gradient agrees with
central differences, and the field that comes out agrees with the one that made the data.
"""

import argparse
import pathlib
import time

import numpy as np
from numba import njit

from nadam_numba import minimize

SIZE, STEPS, RATIO = 24, 120, 0.12
NOISE, SMOOTHING = 1e-3, 2e-4


@njit
def advance(field, conductivity, result):
    """One explicit step: the flux through a face goes with the mean conductivity of its two cells."""
    n = field.shape[0]
    for i in range(n):
        for j in range(n):
            flux = 0.0
            for di, dj in ((1, 0), (-1, 0), (0, 1), (0, -1)):
                k, m = i + di, j + dj
                if 0 <= k < n and 0 <= m < n:
                    flux += 0.5 * (conductivity[i, j] + conductivity[k, m]) * (field[k, m] - field[i, j])
                else:
                    flux -= conductivity[i, j] * field[i, j]
            result[i, j] = field[i, j] + RATIO * flux


@njit
def advance_back(field, conductivity, adjoint, result, gradient):
    """The transpose of that step, and what the step adds to the gradient."""
    n = field.shape[0]
    for i in range(n):
        for j in range(n):
            result[i, j] = adjoint[i, j]
    for i in range(n):
        for j in range(n):
            for di, dj in ((1, 0), (-1, 0), (0, 1), (0, -1)):
                k, m = i + di, j + dj
                if 0 <= k < n and 0 <= m < n:
                    weight = RATIO * 0.5 * (conductivity[i, j] + conductivity[k, m]) * adjoint[i, j]
                    result[k, m] += weight
                    result[i, j] -= weight
                    change = RATIO * 0.5 * adjoint[i, j] * (field[k, m] - field[i, j])
                    gradient[i, j] += change
                    gradient[k, m] += change
                else:
                    result[i, j] -= RATIO * conductivity[i, j] * adjoint[i, j]
                    gradient[i, j] -= RATIO * adjoint[i, j] * field[i, j]


@njit
def simulate(conductivity, start):
    n = start.shape[0]
    path = np.empty((STEPS + 1, n, n))
    path[0] = start
    for k in range(STEPS):
        advance(path[k], conductivity, path[k + 1])
    return path


@njit
def misfit(logarithms, starts, data, every):
    """Half the squares of the differences in all experiments, a penalty on roughness, and the gradient of both."""
    n = starts.shape[1]
    conductivity = np.exp(logarithms).reshape(n, n)
    gradient, value = np.zeros((n, n)), 0.0
    for e in range(starts.shape[0]):
        path = simulate(conductivity, starts[e])
        adjoint, scratch = np.zeros((n, n)), np.empty((n, n))
        for k in range(STEPS, 0, -1):
            if k % every == 0:
                difference = path[k] - data[e, k // every - 1]
                value += 0.5 * np.sum(difference * difference)
                adjoint += difference
            advance_back(path[k - 1], conductivity, adjoint, scratch, gradient)
            adjoint, scratch = scratch, adjoint
    gradient *= conductivity
    field = logarithms.reshape(n, n)
    for i in range(n):
        for j in range(n):
            for k, m in ((i + 1, j), (i, j + 1)):
                if k < n and m < n:
                    step = field[k, m] - field[i, j]
                    value += 0.5 * SMOOTHING * step * step
                    gradient[k, m] += SMOOTHING * step
                    gradient[i, j] -= SMOOTHING * step
    return value, gradient.ravel()


def make_experiments(every):
    """The field that is sought, four starts, and the noisy temperatures."""
    y, x = np.mgrid[0:SIZE, 0:SIZE] / SIZE
    conductivity = 0.6 + 0.8 * np.exp(-20.0 * ((x - 0.35) ** 2 + (y - 0.6) ** 2)) + 0.4 * (x > 0.7)
    spots = ((0.25, 0.25), (0.25, 0.75), (0.75, 0.25), (0.75, 0.75))
    starts = np.array([np.exp(-12.0 * ((x - a) ** 2 + (y - b) ** 2)) for a, b in spots])
    data = np.array([simulate(conductivity, start)[every::every] for start in starts])
    return conductivity, starts, data + NOISE * np.random.default_rng(0).standard_normal(data.shape)


def draw(folder, true, found):
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3.2), layout="constrained")
    for axes, image, title in zip(figure.subplots(1, 2), (true, found), ("true", "found"), strict=True):
        figure.colorbar(axes.imshow(image, vmin=0.5, vmax=1.8), ax=axes)
        axes.set_title(f"{title} diffusivity")
    figure.savefig(pathlib.Path(folder) / "inverse_heat.png", dpi=120)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?")
    arguments = parser.parse_args()
    every = 10
    true, starts, data = make_experiments(every)
    x0 = np.zeros(SIZE * SIZE)
    direction = np.random.default_rng(1).standard_normal(x0.size)
    ahead, behind = (misfit(x0 + sign * 1e-5 * direction, starts, data, every)[0] for sign in (1.0, -1.0))
    slope = misfit(x0, starts, data, every)[1] @ direction
    deviation = abs((ahead - behind) / 2e-5 / slope - 1.0)
    begin = time.perf_counter()
    result = minimize(misfit, x0, (starts, data, every), jac=True, options={"maxiter": 400})
    seconds = time.perf_counter() - begin
    found = np.exp(result.x).reshape(true.shape)
    error = np.sqrt(np.mean((found / true - 1.0) ** 2))
    explained = 0.5 * NOISE**2 * data.size
    print(f"adjoint against differences: {deviation:.1e}")
    print(f"{result.nit} iterations, {result.nfev} simulations in {seconds:.1f} s: {result.message}")
    print(f"misfit {result.fun:.4f}, of which the noise explains {explained:.4f}; error of the field {error:.1%}")
    if arguments.folder:
        draw(arguments.folder, true, found)
    if deviation > 1e-6 or error > 0.06:
        raise SystemExit("the field is not the one that made the data")


if __name__ == "__main__":
    main()
