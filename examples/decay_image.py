"""Fit a decay to every pixel of an image stack: 262,144 fits in some seconds, each with a status of its own.

    python examples/decay_image.py [FOLDER FOR THE FIGURE] [--size 512]

The stack is made here, so that the answer is known: noise of standard deviation s leaves errors that the Fisher
information foretells, and the fits must show just these.
"""

import argparse
import pathlib
import time

import numpy as np
from numba import njit

from nadam_numba import minimize_batch

TIMES = np.linspace(0.0, 3.0, 16)
NOISE = 0.02


@njit
def misfit(parameters, data, times):
    height, rate, offset = parameters
    value, gradient = 0.0, np.zeros(3)
    for i in range(times.size):
        decay = np.exp(-rate * times[i])
        residual = height * decay + offset - data[i]
        value += 0.5 * residual * residual
        gradient[0] += residual * decay
        gradient[1] -= residual * height * decay * times[i]
        gradient[2] += residual
    return value, gradient


def make_stack(size):
    """The true parameters of each pixel, and the images at `TIMES`."""
    y, x = np.mgrid[0:size, 0:size] / size
    height = 2.0 + np.sin(6.0 * x) * np.cos(4.0 * y)
    rate = 0.6 + 1.2 * np.exp(-8.0 * ((x - 0.5) ** 2 + (y - 0.5) ** 2))
    truth = np.stack([height, rate, 0.2 + 0.2 * x], axis=-1)
    clean = truth[..., :1] * np.exp(-truth[..., 1:2] * TIMES) + truth[..., 2:]
    return truth, clean + NOISE * np.random.default_rng(0).standard_normal(clean.shape)


def expected_errors(truth):
    """The standard deviations that the noise leaves, from the Fisher information of each pixel."""
    decay = np.exp(-truth[:, 1:2] * TIMES)
    jacobian = np.stack([decay, -truth[:, :1] * TIMES * decay, np.ones_like(decay)], axis=-1)
    covariance = np.linalg.inv(np.swapaxes(jacobian, 1, 2) @ jacobian) * NOISE**2
    return np.sqrt(np.diagonal(covariance, axis1=1, axis2=2))


def draw(folder, truth, fitted):
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.2), layout="constrained")
    for axes, image, title in zip(figure.subplots(1, 2), (truth, fitted), ("true rate", "fitted rate"), strict=True):
        figure.colorbar(axes.imshow(image[..., 1], vmin=0.5, vmax=2.0), ax=axes)
        axes.set_title(title)
    figure.savefig(pathlib.Path(folder) / "decay_image.png", dpi=120)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?")
    parser.add_argument("--size", type=int, default=512)
    arguments = parser.parse_args()
    truth, stack = make_stack(arguments.size)
    data, parameters = stack.reshape(-1, TIMES.size), truth.reshape(-1, 3)
    starts = np.column_stack([data[:, 0] - data[:, -1], np.ones(len(data)), data[:, -1]])
    minimize_batch(misfit, starts[:10], TIMES, data[:10], jac=True)  # compiles
    begin = time.perf_counter()
    result = minimize_batch(misfit, starts, TIMES, data, jac=True)
    seconds = time.perf_counter() - begin
    scaled = (result.x - parameters) / expected_errors(parameters)
    spread = np.sqrt(np.mean(scaled**2, axis=0))
    print(f"{len(data)} fits in {seconds:.2f} s; {result.success.mean():.3%} ended successfully")
    print(f"errors in units of those that the noise explains: {spread.round(3)} (1 is the best that can be)")
    if arguments.folder:
        draw(arguments.folder, truth, result.x.reshape(truth.shape))
    if result.success.mean() < 0.999 or np.any(np.abs(spread - 1.0) > 0.05):
        raise SystemExit("the fits are not what the noise explains")


if __name__ == "__main__":
    main()
