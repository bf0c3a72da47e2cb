"""What is checked at the door: every message names the argument, its value and what is allowed."""

import math

import numpy as np
import pytest

from nadam_numba.hyperparameters import Hyperparameters

OUT_OF_RANGE = [
    ("learning_rate", [-1e-9, math.nan, math.inf], "a finite number >= 0"),
    ("beta_1", [-0.1, 1.0, 1.5, math.nan], "a number in [0, 1)"),
    ("beta_2", [-0.1, 1.0, math.nan, math.inf], "a number in [0, 1)"),
    ("epsilon", [-1e-8, math.nan, math.inf], "a finite number >= 0"),
    ("momentum_decay", [-1.0, math.nan], "a number >= 0"),
]


@pytest.mark.parametrize(
    ("name", "value", "allowed"), [(name, value, allowed) for name, values, allowed in OUT_OF_RANGE for value in values]
)
def test_out_of_range(name, value, allowed):
    with pytest.raises(ValueError, match=name) as error:
        Hyperparameters(**{name: value})
    assert repr(value) in str(error.value)
    assert allowed in str(error.value)


@pytest.mark.parametrize("name", [name for name, *_ in OUT_OF_RANGE])
@pytest.mark.parametrize("value", ["0.1", None, True, 1j, [0.1], np.ones(1)], ids=repr)
def test_not_a_number(name, value):
    with pytest.raises(TypeError, match=name):
        Hyperparameters(**{name: value})


@pytest.mark.parametrize("value", [0, np.float32(0.5), np.float64(0.5), np.int64(0)], ids=repr)
def test_any_real_number_becomes_a_float(value):
    for name, *_ in OUT_OF_RANGE:
        stored = getattr(Hyperparameters(**{name: value}), name)
        assert type(stored) is float
        assert stored == value


def test_edges_of_the_ranges_are_allowed():
    Hyperparameters(learning_rate=0.0, beta_1=0.0, beta_2=0.0, epsilon=0.0, momentum_decay=0.0)
    Hyperparameters(momentum_decay=math.inf)


def test_learning_rate_at_a_step():
    assert Hyperparameters(learning_rate=0.5).learning_rate_at(7) == 0.5
    assert Hyperparameters(learning_rate=lambda step: 1 / (1 + step)).learning_rate_at(1) == 0.5
    assert Hyperparameters(learning_rate=lambda step: np.float32(0.5)).learning_rate_at(1) == 0.5


@pytest.mark.parametrize(("rate", "error"), [(-1.0, ValueError), (math.nan, ValueError), ("x", TypeError)])
def test_schedule_that_returns_nonsense_is_named_with_its_step(rate, error):
    hyper = Hyperparameters(learning_rate=lambda step: rate if step == 3 else 0.1)
    with pytest.raises(error, match=r"learning_rate\(3\)"):
        hyper.learning_rate_at(3)


def test_an_integer_beyond_floats():
    with pytest.raises(ValueError, match="learning_rate is beyond the range of floats"):
        Hyperparameters(learning_rate=10**400)
