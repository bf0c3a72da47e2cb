"""nadam_numba.compat.keras.Nadam, run on the shared cases as `real_keras` runs the real one."""

import warnings

import numpy as np
from cases import Rows, resolve

from nadam_numba.compat.keras import Nadam

ABSOLUTE, RELATIVE = 1e-15, 1e-14


def optimizer(case, params, **own):
    """An optimizer built of `params`, with the options of a case."""
    backend = case["peer"].replace("keras_", "")
    options = resolve(case["options"], _schedules(backend, case["floatx"]))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "decay is an argument")
        made = Nadam(**options, **{"backend": backend, "floatx": case["floatx"], **own})
    made.exclude_from_weight_decay([params[i] for i in case.get("exclude_from_weight_decay", [])])
    made.build(params)
    return made


def run(case, params, gradients, **own):
    """As `real_keras.run`."""
    params = [p.copy() for p in params]
    ours = optimizer(case, params, **own)
    points = []
    for step_gradients in gradients:
        step(ours, step_gradients)
        points.append([p.copy() for p in params])
    results = {"points": points}
    if ours.use_ema:
        results["averages"] = [ours.variables[i + 2 - callable(ours._learning_rate)].copy() for i in range(len(params))]
        ours.finalize_variable_values(params)
        results["finalized"] = params
    return results


def step(ours, gradients):
    """Apply the gradients of a case."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Gradients do not exist")
        ours.apply([tuple(g) if isinstance(g, Rows) else g for g in gradients])


def excess(ours, theirs):
    """The largest deviation of arrays in lists, as a multiple of what is allowed."""
    return max(
        float(np.max(np.abs(a - b) / (ABSOLUTE + RELATIVE * np.abs(b)))) for a, b in zip(ours, theirs, strict=True)
    )


def _schedules(backend, floatx):
    """The schedules of Keras as the backend evaluates them in these tests, where JAX computes in double precision."""
    single, double = np.float32, np.float64
    by_floatx = np.dtype(floatx).type
    exponential = {"tensorflow": single, "jax": double, "torch": by_floatx}[backend]
    cosine = {"tensorflow": single, "jax": single, "torch": by_floatx}[backend]

    def exponential_decay(rate, steps, factor):
        dtype = exponential
        return lambda step: float(dtype(rate) * dtype(factor) ** (dtype(step) / dtype(steps)))

    def cosine_decay(rate, steps, alpha):
        dtype = cosine

        def schedule(step):
            fraction = dtype(min(step, steps)) / dtype(steps)
            decayed = dtype(0.5) * (dtype(1.0) + np.cos(dtype(np.pi) * fraction))
            return float(dtype(rate) * (dtype(1.0 - alpha) * decayed + dtype(alpha)))

        return schedule

    return {
        "constant": lambda rate: lambda: rate,
        "exponential_decay": exponential_decay,
        "cosine_decay": cosine_decay,
    }
