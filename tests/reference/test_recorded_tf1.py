"""The interface to TensorFlow 1.13's Nadam against what that gave once; it does not run on a present Python."""

import pathlib
import sys

import numpy as np
import pytest

from nadam_numba.compat import tf1

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "peers"))

import cases
import recorded

RECORDS = recorded.records("tf1")


def trajectory(case):
    """The parameters after each step."""
    params, gradients = cases.data(case)
    optimizer = tf1.Nadam(t_offset=case["t_offset"], **case["options"])
    points = []
    for step_gradients in gradients:
        optimizer.apply_gradients(zip(step_gradients, params, strict=True))
        points.append([p.copy() for p in params])
    return points


@pytest.mark.parametrize("name", RECORDS)
def test_same_numbers_as_recorded(name):
    points = trajectory(RECORDS[name].case)
    assert RECORDS[name].points
    for step, expected in RECORDS[name].points.items():
        for ours, theirs in zip(points[step - 1], expected, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-14, atol=1e-15, err_msg=f"after step {step}")


def test_both_counts_of_steps_are_recorded():
    assert {record.case["t_offset"] for record in RECORDS.values()} == {0, 1}
