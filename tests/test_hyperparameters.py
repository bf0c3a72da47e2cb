"""What is checked at the door: every message names the argument, its value and what is allowed."""

import math
from functools import partial

import numpy as np
import pytest
from numba import njit

from nadam_numba.hyperparameters import Hyperparameters
from nadam_numba.schedules import rate_at

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
    assert rate_at(Hyperparameters(learning_rate=0.5).schedule, 7) == 0.5
    assert rate_at(Hyperparameters(learning_rate=lambda step: 1 / (1 + step)).schedule, 1) == 0.5
    assert rate_at(Hyperparameters(learning_rate=lambda step: np.float32(0.5)).schedule, 1) == 0.5


@pytest.mark.parametrize("function", [lambda: 0.25, njit(lambda: 0.25), partial(float, "0.25"), float("0.25").__abs__])
def test_functions_without_arguments(function):
    hyper = Hyperparameters(learning_rate=function)
    assert hyper.learning_rate is function
    assert rate_at(hyper.schedule, 7) == 0.25


@pytest.mark.parametrize(
    "function", [lambda step=3: float(step), njit(lambda step: 1.0 * step), float, lambda *a: a[0]]
)
def test_functions_that_can_take_the_step_get_it(function):
    assert rate_at(Hyperparameters(learning_rate=function).schedule, 7) == 7.0


@pytest.mark.parametrize(("rate", "error"), [(-1.0, ValueError), (math.nan, ValueError), ("x", TypeError)])
def test_schedule_that_returns_nonsense_is_named_with_its_step(rate, error):
    hyper = Hyperparameters(learning_rate=lambda step: rate if step == 3 else 0.1)
    with pytest.raises(error, match=r"learning_rate\(3\)"):
        rate_at(hyper.schedule, 3)


def test_an_integer_beyond_floats():
    with pytest.raises(ValueError, match="learning_rate is beyond the range of floats"):
        Hyperparameters(learning_rate=10**400)
