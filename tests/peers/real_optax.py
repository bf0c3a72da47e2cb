"""optax.nadam and optax.nadamw, run eagerly, because jit may round otherwise. Parameters are a list of arrays."""

import platform

import jax
import numpy as np
import optax
from cases import resolve

jax.config.update("jax_enable_x64", True)

SCHEDULES = {
    "exponential_decay": optax.exponential_decay,
    "cosine_decay": optax.cosine_decay_schedule,
}


def versions():
    """What the trajectories depend on."""
    return {"optax": optax.__version__, "jax": jax.__version__, "python": platform.python_version()}


def run(case, params, gradients):
    """The parameters after each step, as ``{"points": list over steps of lists of arrays}``."""
    optimizer = getattr(optax, case["optimizer"])(**resolve(case["options"], SCHEDULES))
    values = [jax.numpy.asarray(p) for p in params]
    state = optimizer.init(values)
    points = []
    for step_gradients in gradients:
        updates, state = optimizer.update([jax.numpy.asarray(g) for g in step_gradients], state, values)
        values = optax.apply_updates(values, updates)
        points.append([np.array(value) for value in values])
    return {"points": points}


def trajectory(case, params, gradients):
    """The points of `run`."""
    return run(case, params, gradients)["points"]
