"""nadam_numba.compat.torch beside torch.optim.NAdam: numbers, states, errors, and what torch drives an optimizer by."""

import copy
import io
import os
import pickle
import subprocess
import sys

import numpy as np
import pytest

torch = pytest.importorskip("torch")

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import cases  # noqa: E402 - found on the path just set
import real_torch  # noqa: E402

from nadam_numba.compat.torch import NAdam, Parameter, as_tensors  # noqa: E402

STEPS = 20 if os.environ.get("NUMBA_DISABLE_JIT") == "1" else 200
CASES = cases.single_cases("torch") + [cases.random_case("torch", seed) for seed in range(50)]
NAMES = [case["name"] for case in CASES]


@pytest.fixture
def double():
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


def assert_close(ours, theirs):
    for a, b in zip(ours, theirs, strict=True):
        a, b = np.asarray(a), np.asarray(b)
        assert a.shape == b.shape
        assert (np.abs(a - b) <= 1e-15 + 1e-14 * np.abs(b)).all(), np.abs(a - b).max()


def points_of_arrays(case, params, gradients, scalar_dtype):
    parameters = [Parameter(p.copy()) for p in params]
    optimizer = NAdam(parameters, **case["options"], scalar_dtype=scalar_dtype)
    for step_gradients in gradients:
        for p, gradient in zip(parameters, step_gradients, strict=True):
            p.grad = gradient
        optimizer.step()
        yield [p.data for p in parameters]


def points_of_tensors(case, params, gradients):
    tensors = [torch.tensor(p, requires_grad=True) for p in params]
    optimizer = NAdam(tensors, **case["options"])
    for step_gradients in gradients:
        for p, gradient in zip(tensors, step_gradients, strict=True):
            p.grad = None if gradient is None else torch.tensor(gradient)
        optimizer.step()
        yield [p.detach().numpy() for p in tensors]


@pytest.mark.parametrize("case", CASES, ids=NAMES)
def test_arrays_follow_torch(case):
    params, gradients = cases.data(case, STEPS)
    theirs = real_torch.trajectory(case, params, gradients)
    scalar_dtype = "float64" if case["floatx"] == "float64" else None
    for point, expected in zip(points_of_arrays(case, params, gradients, scalar_dtype), theirs, strict=True):
        assert_close(point, expected)


@pytest.mark.parametrize("case", CASES, ids=NAMES)
def test_tensors_follow_torch(case, monkeypatch):
    params, gradients = cases.data(case, STEPS)
    theirs = real_torch.trajectory(case, params, gradients)
    before = torch.get_default_dtype()
    torch.set_default_dtype(getattr(torch, case["floatx"]))
    try:
        for point, expected in zip(points_of_tensors(case, params, gradients), theirs, strict=True):
            assert_close(point, expected)
    finally:
        torch.set_default_dtype(before)
