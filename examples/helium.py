"""The ground state of helium by variational Monte Carlo: NAdam on a noisy gradient, all in one `@njit` function.

    python examples/helium.py [FOLDER FOR THE FIGURE]

The trial function exp(-a (r1 + r2)) exp(r12 / (2 (1 + b r12))) has two parameters. Walkers sample its square by
Metropolis' rule; the energy and its gradient are means over them, with noise. A falling learning rate averages it out.
The check: the energy must come out between -2.895 and -2.885 hartree, where its minimum over both parameters lies
(-2.891, at a = 1.84, b = 0.35), and above that of the exact wave function, -2.9037, as the variational principle says.
"""

import argparse
import pathlib
import time

import numpy as np
from numba import njit

from nadam_numba.embed import nadam_init, nadam_step

CHARGE, EXACT = 2.0, -2.903724
WALKERS, ITERATIONS, SWEEPS, STEP, RATE = 400, 600, 10, 0.6, 0.03


@njit
def distances(walker):
    """Of both electrons from the nucleus, and from each other."""
    first, second, between = 0.0, 0.0, 0.0
    for i in range(3):
        first += walker[i] ** 2
        second += walker[3 + i] ** 2
        between += (walker[i] - walker[3 + i]) ** 2
    return np.sqrt(first), np.sqrt(second), np.sqrt(between)


@njit
def log_density(walker, a, b):
    r1, r2, r12 = distances(walker)
    return 2.0 * (-a * (r1 + r2) + 0.5 * r12 / (1.0 + b * r12))


@njit
def local_energy(walker, a, b):
    r1, r2, r12 = distances(walker)
    product = walker[0] * walker[3] + walker[1] * walker[4] + walker[2] * walker[5]
    damping = 1.0 / (1.0 + b * r12)
    alone = (a - CHARGE) * (1.0 / r1 + 1.0 / r2) + 1.0 / r12 - a * a
    bracket = a * (r1 + r2) / r12 * (1.0 - product / (r1 * r2)) - 0.5 * damping**2 - 2.0 / r12 + 2.0 * b * damping
    return alone + 0.5 * damping**2 * bracket


@njit
def sweep(rng, walkers, a, b):
    """Propose a move of each walker, and accept it by Metropolis' rule."""
    moved = np.empty(6)
    for w in range(walkers.shape[0]):
        for i in range(6):
            moved[i] = walkers[w, i] + STEP * (rng.random() - 0.5)
        if np.log(rng.random()) < log_density(moved, a, b) - log_density(walkers[w], a, b):
            walkers[w] = moved


@njit
def energy_and_gradient(walkers, a, b):
    """The mean of the local energy, and twice its covariance with the derivatives of the logarithm of the function."""
    count = walkers.shape[0]
    energy, mean, cross = 0.0, np.zeros(2), np.zeros(2)
    for w in range(count):
        r1, r2, r12 = distances(walkers[w])
        local = local_energy(walkers[w], a, b)
        derivatives = (-(r1 + r2), -0.5 * (r12 / (1.0 + b * r12)) ** 2)
        energy += local / count
        for i in range(2):
            mean[i] += derivatives[i] / count
            cross[i] += local * derivatives[i] / count
    return energy, 2.0 * (cross - energy * mean)


@njit
def optimise(rng, parameters):
    """Optimise in place; return the energy at each iteration."""
    walkers = rng.standard_normal((WALKERS, 6))
    for _ in range(200):
        sweep(rng, walkers, parameters[0], parameters[1])
    state = nadam_init(parameters, RATE)
    energies = np.empty(ITERATIONS)
    for k in range(ITERATIONS):
        state.learning_rate[0] = 0.5 * RATE * (1.0 + np.cos(np.pi * k / ITERATIONS))
        for _ in range(SWEEPS):
            sweep(rng, walkers, parameters[0], parameters[1])
        energies[k], gradient = energy_and_gradient(walkers, parameters[0], parameters[1])
        nadam_step(parameters, gradient, state)
    return energies


@njit
def measure(rng, parameters, sweeps):
    """The energy at fixed parameters, from many more samples, and its standard error from blocks of 100 sweeps."""
    walkers = rng.standard_normal((WALKERS, 6))
    for _ in range(500):
        sweep(rng, walkers, parameters[0], parameters[1])
    blocks = np.zeros(sweeps // 100)
    for k in range(blocks.size * 100):
        sweep(rng, walkers, parameters[0], parameters[1])
        blocks[k // 100] += energy_and_gradient(walkers, parameters[0], parameters[1])[0] / 100
    return np.mean(blocks), np.std(blocks) / np.sqrt(blocks.size)


def draw(folder, energies):
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 3.5), layout="constrained")
    axes = figure.subplots()
    axes.plot(energies, lw=0.7)
    axes.axhline(EXACT, color="k", ls=":", label="exact")
    axes.set_xlabel("iteration")
    axes.set_ylabel("energy / hartree")
    axes.legend()
    figure.savefig(pathlib.Path(folder) / "helium.png", dpi=120)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?")
    arguments = parser.parse_args()
    begin = time.perf_counter()
    rng, parameters = np.random.default_rng(1), np.array([2.2, 0.8])
    energies = optimise(rng, parameters)
    energy, error = measure(rng, parameters, 5000)
    print(f"a = {parameters[0]:.3f}, b = {parameters[1]:.3f} after {time.perf_counter() - begin:.1f} s")
    print(f"energy {energy:.4f} +- {error:.4f} hartree; exact {EXACT:.4f}")
    if arguments.folder:
        draw(arguments.folder, energies)
    if not -2.895 < energy < -2.885:
        raise SystemExit("this is not the minimum of the energy")


if __name__ == "__main__":
    main()
