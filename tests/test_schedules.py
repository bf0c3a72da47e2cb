"""Schedules against Keras 3's published formulas, in NumPy."""

import math
import pickle

import numpy as np
import pytest

from nadam_numba import schedules

STEPS = np.arange(0, 251, 10)


def test_exponential_decay():
    rate = schedules.exponential_decay(0.3, 100, 0.7)
    np.testing.assert_allclose([rate(step) for step in STEPS], 0.3 * np.power(0.7, STEPS / 100), rtol=1e-15)


@pytest.mark.parametrize("alpha", [0.0, 0.25])
def test_cosine_decay(alpha):
    rate = schedules.cosine_decay(0.3, 200, alpha)
    cosine = 0.5 * (1 + np.cos(np.pi * np.minimum(STEPS, 200) / 200))
    np.testing.assert_allclose([rate(step) for step in STEPS], 0.3 * ((1 - alpha) * cosine + alpha), rtol=1e-14)
    assert rate(10**6) == 0.3 * alpha


@pytest.mark.parametrize("rate", [schedules.cosine_decay(0.3, 200), schedules.exponential_decay(0.3, 100, 0.7)])
def test_schedules_survive_pickling(rate):
    copy = pickle.loads(pickle.dumps(rate))
    assert [copy(step) for step in range(300)] == [rate(step) for step in range(300)]


@pytest.mark.parametrize("decay_steps", [0, -1, math.nan, math.inf])
@pytest.mark.parametrize(
    "make",
    [lambda steps: schedules.cosine_decay(0.1, steps), lambda steps: schedules.exponential_decay(0.1, steps, 0.5)],
)
def test_number_of_steps_must_be_positive(make, decay_steps):
    with pytest.raises(ValueError, match="decay_steps"):
        make(decay_steps)


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: schedules.cosine_decay(-0.1, 10), "initial_learning_rate"),
        (lambda: schedules.cosine_decay(0.1, 10, alpha=-1), "alpha"),
        (lambda: schedules.exponential_decay(math.nan, 10, 0.5), "initial_learning_rate"),
        (lambda: schedules.exponential_decay(0.1, 10, -0.5), "decay_rate"),
    ],
)
def test_rates_must_not_be_negative(make, name):
    with pytest.raises(ValueError, match=name):
        make()
