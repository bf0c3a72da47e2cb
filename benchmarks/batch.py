"""How many fits a second: minimize_batch beside loops of SciPy, and jax.vmap of an optax loop where it is installed.

    OPENBLAS_NUM_THREADS=1 python benchmarks/batch.py [--rows 262144] [--json FILE]

The problem, that of examples/decay_image.py: decays ``a exp(-k t) + c`` of 16 samples with noise, 3 parameters, one fit
for each pixel of a 512 x 512 image. All start from (1, 1, 0); all but the plain least_squares have the gradient or the
Jacobian; all run in one process, one after the other, on the cores that it has. The slow ones fit a sample of the rows.
The yardstick of accuracy is least_squares at tolerances of 1e-15.
"""

import argparse
import json
import os
import pathlib
import platform
import sys
import time

import numpy as np
from numba import njit
from scipy.optimize import least_squares
from scipy.optimize import minimize as scipy_minimize

sys.path.append(str(pathlib.Path(__file__).parents[1]))

from examples.decay_image import TIMES, misfit
from nadam_numba import info, minimize_batch

START = np.array([1.0, 1.0, 0.0])
TOLERANCE = 1e-6


@njit
def residuals(parameters, data, times):
    return parameters[0] * np.exp(-parameters[1] * times) + parameters[2] - data


@njit
def jacobian(parameters, data, times):
    decay = np.exp(-parameters[1] * times)
    result = np.ones((times.size, 3))
    result[:, 0] = decay
    result[:, 1] = -parameters[0] * times * decay
    return result


def make_data(rows):
    rng = np.random.default_rng(0)
    height, rate, offset = rng.uniform(1, 3, rows), rng.uniform(0.5, 2, rows), rng.uniform(0, 0.5, rows)
    clean = height[:, None] * np.exp(-rate[:, None] * TIMES) + offset[:, None]
    return clean + 0.02 * rng.standard_normal(clean.shape)


def by_batch(data, workers=None):
    starts = np.tile(START, (len(data), 1))
    return minimize_batch(misfit, starts, TIMES, data, jac=True, workers=workers).x


def by_plain_least_squares(data):
    """As most write it: residuals in NumPy, and differences."""

    def plain(parameters, row):
        return parameters[0] * np.exp(-parameters[1] * TIMES) + parameters[2] - row

    return np.array([least_squares(plain, START, args=(row,)).x for row in data])


def by_least_squares(data):
    return np.array([least_squares(residuals, START, jacobian, args=(row, TIMES)).x for row in data])


def exactly(data):
    tight = {"xtol": 1e-15, "ftol": 1e-15, "gtol": 1e-15}
    return np.array([least_squares(residuals, START, jacobian, args=(row, TIMES), **tight).x for row in data])


def by_lbfgsb(data):
    tight = {"ftol": 1e-15, "gtol": 1e-10}
    return np.array(
        [scipy_minimize(misfit, START, args=(row, TIMES), jac=True, method="L-BFGS-B", options=tight).x for row in data]
    )


def make_by_optax():
    """Fits by jax.vmap of an optax.nadam loop at the rate and the length that bring most rows within the tolerance."""
    import jax
    import jax.numpy as jnp
    import optax

    jax.config.update("jax_enable_x64", True)
    times, steps = jnp.asarray(TIMES), 3000
    optimizer = optax.nadam(optax.cosine_decay_schedule(0.1, steps))

    def loss(parameters, row):
        residual = parameters[0] * jnp.exp(-parameters[1] * times) + parameters[2] - row
        return 0.5 * jnp.sum(residual**2)

    def fit(row):
        def step(_, carry):
            parameters, state = carry
            updates, state = optimizer.update(jax.grad(loss)(parameters, row), state, parameters)
            return optax.apply_updates(parameters, updates), state

        start = jnp.asarray(START)
        return jax.lax.fori_loop(0, steps, step, (start, optimizer.init(start)))[0]

    compiled = jax.jit(jax.vmap(fit))
    return lambda data: np.asarray(compiled(data))


def measure(fit, data, repeats):
    """Fits per second, microseconds of all cores per fit, each the best of some; the parameters. The first compiles."""
    fit(data[:64])
    walls, cores = [], []
    for _ in range(repeats):
        begin, begin_of_cores = time.perf_counter(), time.process_time()
        parameters = fit(data)
        walls.append(time.perf_counter() - begin)
        cores.append(time.process_time() - begin_of_cores)
    return len(data) / min(walls), 1e6 * min(cores) / len(data), parameters


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=262_144)
    parser.add_argument("--sample", type=int, default=1_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json")
    arguments = parser.parse_args()
    data = make_data(arguments.rows)
    sample = data[:: max(arguments.rows // arguments.sample, 1)][: arguments.sample]
    exact = exactly(sample)
    ways = {
        "minimize_batch": (by_batch, data),
        "minimize_batch, 1 thread": (lambda rows: by_batch(rows, 1), data),
        "least_squares, NumPy": (by_plain_least_squares, sample),
        "least_squares, @njit": (by_least_squares, sample),
        "L-BFGS-B, @njit": (by_lbfgsb, sample),
    }
    try:
        ways["jax.vmap of optax.nadam"] = (make_by_optax(), sample)
    except ImportError:
        print("jax or optax is not installed: left out")
    rates, costs, shares = {}, {}, {}
    for name, (fit, rows) in ways.items():
        rates[name], costs[name], parameters = measure(fit, rows, arguments.repeats)
        if rows is data:
            parameters = parameters[:: max(arguments.rows // arguments.sample, 1)][: arguments.sample]
        shares[name] = float(
            np.mean(np.all(np.abs(parameters - exact) <= TOLERANCE * np.maximum(1, abs(exact)), axis=1))
        )
    print(f"{platform.machine()}, {os.cpu_count()} cores, {time.strftime('%Y-%m-%d')}; {arguments.rows} rows")
    # Where other processes hold the cores, the time of the cores still tells what a fit costs.
    print(f"{'':28}{'fits per second':>16}{'ours / theirs':>15}{'core us per fit':>17}{'within 1e-6':>13}")
    for name, rate in rates.items():
        print(f"{name:28}{rate:16.0f}{rates['minimize_batch'] / rate:15.1f}{costs[name]:17.2f}{shares[name]:13.2%}")
    if arguments.json:
        with open(arguments.json, "w") as file:
            report = {
                "date": time.strftime("%Y-%m-%d"),
                "machine": {"CPU": info.cpu_name(), "cores": info.usable_cores(), "load": info.load()},
                "versions": info.versions(("jax", "optax")),
                "rows": arguments.rows,
                "rates": rates,
                "core microseconds": costs,
                "within tolerance": shares,
            }
            json.dump(report, file, indent=1)


if __name__ == "__main__":
    main()
