"""nadam_numba.compat.torch on arrays beside what torch.optim.NAdam gave: tests/reference/torch.npz."""

import os
import sys

import numpy as np
import pytest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "peers"))

import cases
import recorded

from nadam_numba.compat.torch import NAdam, Parameter

RECORDS = recorded.records("torch")


@pytest.mark.parametrize("name", RECORDS)
def test_recorded_trajectory(name):
    case, points, _ = RECORDS[name]
    params, gradients = cases.data(case, max(points))
    parameters = [Parameter(p) for p in params]
    scalar_dtype = "float64" if case["floatx"] == "float64" else None
    optimizer = NAdam(parameters, **case["options"], scalar_dtype=scalar_dtype)
    for step, step_gradients in enumerate(gradients, 1):
        for p, gradient in zip(parameters, step_gradients, strict=True):
            p.grad = gradient
        optimizer.step()
        if step in points:
            for p, expected in zip(parameters, points[step], strict=True):
                assert (np.abs(p.data - expected) <= 1e-15 + 1e-14 * np.abs(expected)).all()
    assert len(points) == 7
