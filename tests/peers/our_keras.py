"""nadam_numba.compat.keras.Nadam, run on the shared cases as `real_keras` runs the real one."""

import warnings

import numpy as np
from cases import Rows, resolve

from nadam_numba import schedules
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
    dtype = np.dtype(floatx).type

    def exponential_decay(rate, steps, factor):
        # TensorFlow makes tensors of single precision of all constants, whatever floatx is.
        factor = np.float32(factor) if backend == "tensorflow" else factor
        return lambda step: float(dtype(rate) * dtype(factor) ** (dtype(step) / dtype(steps)))

    return {
        "constant": lambda rate: lambda: rate,
        "exponential_decay": exponential_decay,
        "cosine_decay": schedules.cosine_decay,
    }
