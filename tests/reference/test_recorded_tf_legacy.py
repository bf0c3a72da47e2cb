"""The interfaces to TensorFlow's legacy optimizers against what those gave once, with the same tolerance as live."""

import ctypes
import math
import pathlib
import sys
import warnings

import numpy as np
import pytest

from nadam_numba.compat import tf_legacy

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "peers"))

import cases
import recorded

OPTIMIZERS = {"tf_legacy_nadam": tf_legacy.Nadam, "tf_legacy_adam": tf_legacy.Adam}
RECORDS = {(peer, name): record for peer in OPTIMIZERS for name, record in recorded.records(peer).items()}


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


def trajectory(case):
    """The parameters after each step."""
    params, gradients = cases.data(case)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "lr is deprecated|decay is ignored", UserWarning)
        optimizer = OPTIMIZERS[case["peer"]](**cases.resolve(case["options"], SCHEDULES))
    points = []
    for step_gradients in gradients:
        pairs = [tuple(g) if isinstance(g, cases.Rows) else g for g in step_gradients]
        optimizer.apply_gradients(zip(pairs, params, strict=True))
        points.append([p.copy() for p in params])
    return points


@pytest.mark.parametrize(("peer", "name"), RECORDS)
def test_same_numbers_as_recorded(peer, name):
    record = RECORDS[peer, name]
    if "_decay" in str(record.case["options"].get("learning_rate")) and sys.platform != "linux":
        pytest.skip("the schedules were computed by glibc")
    points = trajectory(record.case)
    assert record.points
    for step, expected in record.points.items():
        for ours, theirs in zip(points[step - 1], expected, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-14, atol=1e-15, err_msg=f"after step {step}")
