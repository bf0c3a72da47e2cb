"""The interface of optax against what optax gave once, with the same tolerance as beside it."""

import math
import pathlib
import sys

import numpy as np
import pytest

from nadam_numba.compat import optax

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "peers"))

import cases
import recorded

RECORDS = recorded.records("optax")


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


@pytest.mark.parametrize("name", RECORDS)
def test_same_numbers_as_recorded(name):
    case, points = RECORDS[name].case, RECORDS[name].points
    params, gradients = cases.data(case, max(points))
    solver = getattr(optax, case["optimizer"])(**cases.resolve(case["options"], SCHEDULES))
    state = solver.init(params)
    for step, step_gradients in enumerate(gradients, start=1):
        updates, state = solver.update(step_gradients, state, params)
        optax.apply_updates(params, updates)
        for ours, theirs in zip(params, points.get(step, params), strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-14, atol=1e-15, err_msg=f"after step {step}")
