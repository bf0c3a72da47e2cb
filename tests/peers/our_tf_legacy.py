"""nadam_numba.compat.tf_legacy, run on the shared cases as `real_tf_legacy` runs the real ones."""

import ctypes
import math
import warnings

import numpy as np
from cases import Rows, resolve

from nadam_numba.compat import tf_legacy

OPTIMIZERS = {"tf_legacy_nadam": tf_legacy.Nadam, "tf_legacy_adam": tf_legacy.Adam}

single = np.float32  # in which Keras computes its schedules, whatever the dtype of the variables


def c_function(name, *arguments):
    """A function of the C library in single precision, which TensorFlow calls: its last bit matters here."""
    function = getattr(ctypes.CDLL("libm.so.6"), name)
    function.restype, function.argtypes = ctypes.c_float, [ctypes.c_float] * len(arguments)
    return single(function(*arguments))


def exponential_decay(rate, steps, decay):
    return lambda step: single(rate) * c_function("powf", decay, single(step) / single(steps))


def cosine_decay(rate, steps, alpha):
    def schedule(step):
        part = np.minimum(single(step), single(steps)) / single(steps)
        cosine = single(0.5) * (1 + c_function("cosf", single(math.pi) * part))
        return single(rate) * (single(1 - alpha) * cosine + single(alpha))

    return schedule


SCHEDULES = {
    "constant": lambda rate: lambda: rate,
    "exponential_decay": exponential_decay,
    "cosine_decay": cosine_decay,
}


def run(case, params, gradients):
    """As `real_tf_legacy.run`."""
    params = [p.copy() for p in params]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "lr is deprecated|decay is ignored", UserWarning)
        optimizer = OPTIMIZERS[case["peer"]](**resolve(case["options"], SCHEDULES))
    points = []
    for step_gradients in gradients:
        pairs = [tuple(g) if isinstance(g, Rows) else g for g in step_gradients]
        optimizer.apply_gradients(zip(pairs, params, strict=True))
        points.append([p.copy() for p in params])
    return {"points": points}
