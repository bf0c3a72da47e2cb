"""nadam_numba.compat.optax, run on the shared cases as `real_optax` runs the real one."""

import math

import numpy as np
from cases import resolve

from nadam_numba.compat import optax


def exponential_decay(rate, steps, factor):
    """As optax computes it: in single precision."""
    rate, steps, factor = map(np.float32, (rate, steps, factor))

    def schedule(count):
        return rate * np.float32(float(factor) ** float(np.float32(count) / steps))

    return schedule


def cosine_decay(rate, steps, alpha):
    def schedule(count):
        cosine = 0.5 * (1.0 + math.cos(math.pi * min(int(count), steps) / steps))
        return rate * ((1.0 - alpha) * cosine + alpha)

    return schedule


SCHEDULES = {"exponential_decay": exponential_decay, "cosine_decay": cosine_decay}


def run(case, params, gradients):
    """As `real_optax.run`."""
    params = [p.copy() for p in params]
    solver = getattr(optax, case["optimizer"])(**resolve(case["options"], SCHEDULES))
    state = solver.init(params)
    points = []
    for step_gradients in gradients:
        updates, state = solver.update(step_gradients, state, params)
        optax.apply_updates(params, updates)
        points.append([p.copy() for p in params])
    return {"points": points}
