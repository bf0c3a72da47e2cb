"""Train a small network on scikit-learn's digits, mini-batches and all, in one `@njit` function.

    python examples/digits_mlp.py [FOLDER FOR THE FIGURE]

`nadam_init` and `nadam_step` make the steps of NAdam inside the compiled loop. The check: of the 360 digits that are
held back, a network with one hidden layer of 64 units must tell at least 96 %, as scikit-learn's own does; and the
first steps have the bits of `nadam_numba.NAdam`.
"""

import argparse
import pathlib
import time

import numpy as np
from numba import njit

from nadam_numba import NAdam
from nadam_numba.embed import nadam_init, nadam_step

INPUTS, HIDDEN, CLASSES = 64, 64, 10
ENDS = np.cumsum([INPUTS * HIDDEN, HIDDEN, HIDDEN * CLASSES, CLASSES])
BATCH = 32


@njit
def forward(parameters, images):
    hidden = images @ parameters[: ENDS[0]].reshape(INPUTS, HIDDEN) + parameters[ENDS[0] : ENDS[1]]
    hidden = np.maximum(hidden, 0.0)
    return hidden, hidden @ parameters[ENDS[1] : ENDS[2]].reshape(HIDDEN, CLASSES) + parameters[ENDS[2] :]


@njit
def loss_and_gradient(parameters, images, labels):
    """The mean cross entropy, by back-propagation."""
    hidden, scores = forward(parameters, images)
    loss, count = 0.0, labels.size
    for k in range(count):
        scores[k] -= np.max(scores[k])
        weights = np.exp(scores[k])
        total = np.sum(weights)
        loss += np.log(total) - scores[k, labels[k]]
        scores[k] = weights / (total * count)
        scores[k, labels[k]] -= 1.0 / count
    gradient = np.empty_like(parameters)
    gradient[ENDS[1] : ENDS[2]] = (hidden.T @ scores).ravel()
    gradient[ENDS[2] :] = np.sum(scores, axis=0)
    back = (scores @ parameters[ENDS[1] : ENDS[2]].reshape(HIDDEN, CLASSES).T) * (hidden > 0.0)
    gradient[: ENDS[0]] = (images.T @ back).ravel()
    gradient[ENDS[0] : ENDS[1]] = np.sum(back, axis=0)
    return loss / count, gradient


@njit
def train(parameters, images, labels, order, learning_rate):
    """Train in place on the mini-batches in the rows of `order`; return the losses."""
    state = nadam_init(parameters, learning_rate)
    losses = np.empty(order.shape[0])
    for k in range(order.shape[0]):
        losses[k], gradient = loss_and_gradient(parameters, images[order[k]], labels[order[k]])
        nadam_step(parameters, gradient, state)
    return losses


def start(seed):
    rng = np.random.default_rng(seed)
    parameters = np.zeros(ENDS[-1])
    parameters[: ENDS[0]] = rng.standard_normal(ENDS[0]) * np.sqrt(2.0 / INPUTS)
    parameters[ENDS[1] : ENDS[2]] = rng.standard_normal(HIDDEN * CLASSES) * np.sqrt(2.0 / HIDDEN)
    return parameters


def has_same_bits(images, labels, order):
    """Whether the first steps are those of NAdam."""
    compiled, stepped = start(0), start(0)
    train(compiled, images, labels, order[:20], 2e-3)
    optimizer = NAdam(stepped, learning_rate=2e-3)
    for rows in order[:20]:
        optimizer.step(loss_and_gradient(stepped, images[rows], labels[rows])[1])
    return bool(np.array_equal(compiled, stepped))


def draw(folder, losses):
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 3.5), layout="constrained")
    axes = figure.subplots()
    axes.semilogy(np.convolve(losses, np.ones(45) / 45, "valid"))
    axes.set_xlabel("step")
    axes.set_ylabel("cross entropy, mean of 45 steps")
    figure.savefig(pathlib.Path(folder) / "digits_mlp.png", dpi=120)


def main():
    from sklearn.datasets import load_digits

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?")
    arguments = parser.parse_args()
    images, labels = load_digits(return_X_y=True)
    rng = np.random.default_rng(0)
    shuffled = rng.permutation(labels.size)
    images, labels = images[shuffled] / 16.0, labels[shuffled].astype(np.int64)
    count = labels.size - 360
    epochs = [rng.permutation(count)[: count // BATCH * BATCH].reshape(-1, BATCH) for _ in range(40)]
    order = np.concatenate(epochs)
    is_same = has_same_bits(images, labels, order)
    parameters = start(0)
    begin = time.perf_counter()
    losses = train(parameters, images, labels, order, 2e-3)
    seconds = time.perf_counter() - begin
    right = np.mean(np.argmax(forward(parameters, images[count:])[1], axis=1) == labels[count:])
    print(f"{len(order)} steps in {seconds:.2f} s; of the digits held back {right:.1%} are told right")
    print(f"the first steps have the bits of NAdam: {is_same}")
    if arguments.folder:
        draw(arguments.folder, losses)
    if right < 0.96 or not is_same:
        raise SystemExit("the network has not learned what it should")


if __name__ == "__main__":
    main()
