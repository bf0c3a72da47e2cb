"""Moments in bfloat16 beside moments in full: the loss that training reaches, the time of a step, the bytes it keeps.

    pip install ".[test]" && python benchmarks/state_dtype.py

A perceptron with one hidden layer learns scikit-learn's digits, float32, from several seeds; both ways see the same
weights at the start and the same batches. Steps of large arrays take turns. Prints Markdown.
"""

import statistics
import time

import numba
import numpy as np
from sklearn.datasets import load_digits

from nadam_numba import NAdam, info

STATE_DTYPES = (None, "bfloat16")
HIDDEN, BATCH, EPOCHS, SEEDS = 64, 64, 20, 10
# Of 1,797 images; the others are held out.
TRAINED = 1437
SIZES = (10**6, 10**7)
REPETITIONS = 41


def images():
    """Pixels from 0 to 1 and digits, in a fixed random order."""
    pixels, digits = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(digits.size)
    return (pixels[order] / 16.0).astype(np.float32), digits[order]


def initial_parameters(generator):
    def weights(rows, columns):
        return (generator.standard_normal((rows, columns)) * np.sqrt(2.0 / rows)).astype(np.float32)

    return {
        "hidden": weights(64, HIDDEN),
        "hidden bias": np.zeros(HIDDEN, np.float32),
        "output": weights(HIDDEN, 10),
        "output bias": np.zeros(10, np.float32),
    }


def loss_and_gradients(params, pixels, digits):
    """The mean cross-entropy, and its gradients."""
    hidden = np.maximum(pixels @ params["hidden"] + params["hidden bias"], 0.0)
    scores = hidden @ params["output"] + params["output bias"]
    scores -= scores.max(axis=1, keepdims=True)
    shares = np.exp(scores)
    shares /= shares.sum(axis=1, keepdims=True)
    own = np.arange(digits.size), digits
    loss = -np.log(shares[own]).mean()
    shares[own] -= 1.0
    of_scores = shares / np.float32(digits.size)
    of_hidden = of_scores @ params["output"].T * (hidden > 0.0)
    return float(loss), {
        "hidden": pixels.T @ of_hidden,
        "hidden bias": of_hidden.sum(axis=0),
        "output": hidden.T @ of_scores,
        "output bias": of_scores.sum(axis=0),
    }


def train(state_dtype, seed, epochs=EPOCHS):
    """The mean loss on the images that were learnt and on those held out, after some passes over the former."""
    pixels, digits = images()
    generator = np.random.default_rng(seed)
    params = initial_parameters(generator)
    optimizer = NAdam(params, state_dtype=state_dtype)
    for _ in range(epochs):
        order = generator.permutation(TRAINED)
        for start in range(0, TRAINED, BATCH):
            batch = order[start : start + BATCH]
            optimizer.step(loss_and_gradients(params, pixels[batch], digits[batch])[1])
    parts = slice(TRAINED), slice(TRAINED, None)
    return [loss_and_gradients(params, pixels[part], digits[part])[0] for part in parts]


def stepper(state_dtype, size, dtype):
    """A function that makes one step, and the bytes of the moments."""
    generator = np.random.default_rng(0)
    gradient = generator.standard_normal(size, dtype)
    optimizer = NAdam(generator.standard_normal(size, dtype), state_dtype=state_dtype)
    (state,) = optimizer.states
    return lambda: optimizer.step(gradient), state.first_moment.nbytes + state.second_moment.nbytes


def seconds(step):
    begin = time.perf_counter()
    step()
    return time.perf_counter() - begin


def print_losses():
    print(f"| loss after {EPOCHS} epochs, mean of {SEEDS} seeds | in full | bfloat16 | ratio | ratios of the seeds |")
    print("|---|---:|---:|---:|---:|")
    losses = np.array([[train(state_dtype, seed) for state_dtype in STATE_DTYPES] for seed in range(SEEDS)])
    for part, name in enumerate(("learnt images", "images held out")):
        full, narrow = losses[:, :, part].T
        ratios = narrow / full
        print(
            f"| {name} | {full.mean():.5f} | {narrow.mean():.5f} | {narrow.mean() / full.mean():.4f} "
            f"| {ratios.min():.3f} to {ratios.max():.3f} |"
        )


def print_times():
    print("| step | threads | in full | bfloat16 | in full / bfloat16 | bytes of the moments |")
    print("|---|---:|---:|---:|---:|---:|")
    for threads in sorted({1, numba.config.NUMBA_NUM_THREADS}):
        numba.set_num_threads(threads)
        for dtype in (np.float32, np.float64):
            for size in SIZES:
                steps, sizes = zip(*(stepper(state_dtype, size, dtype) for state_dtype in STATE_DTYPES), strict=True)
                for step in steps * 8:  # compiled, and threads or none chosen
                    step()
                samples = np.array([[seconds(step) for step in steps] for _ in range(REPETITIONS)])
                full, narrow = (statistics.median(column) * 1e3 for column in samples.T)
                ratio = statistics.median(samples[:, 0] / samples[:, 1])
                print(
                    f"| {size:,}, {np.dtype(dtype).name} | {threads} | {full:.2f} ms | {narrow:.2f} ms | {ratio:.2f} "
                    f"| {sizes[0]:,}, {sizes[1]:,} |"
                )


def main():
    print(f"{info.cpu_name()}, {info.usable_cores()} cores, load {info.load()}, numba {numba.__version__}\n")
    print_times()
    print()
    print_losses()


if __name__ == "__main__":
    main()
