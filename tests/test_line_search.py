"""The line search of `auto`: the strong Wolfe conditions, the bracket, and what ends it."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nadam_numba.minimize import line_search
from nadam_numba.minimize.auto_state import NUMBERS
from nadam_numba.minimize.line_search import DECREASE, is_found, is_hopeless, open_search

EPS = np.finfo(np.float64).eps
LONGEST = line_search._LONGEST_SEARCH


def search(fun, first_rate, slope_left=0.9, tolerance=0.0, gradient_above=True):
    """Drive a search along `fun`, which returns value and slope; (rates, whether one was found, record)."""
    numbers = np.zeros(1, NUMBERS)
    record = numbers[0]
    value_0, slope_0 = fun(0.0)
    record["value"] = value_0
    open_search(record, slope_0, first_rate)
    rates = []
    while True:
        rate = float(record["rate"])
        low, high = float(record["low_rate"]), float(record["high_rate"])
        assert low < rate < high
        if np.isfinite(high):
            margin = 0.0999 * (high - low)
            assert low + margin <= rate <= high - margin
        value, slope = fun(rate)
        rates.append(rate)
        record["change"] = rate * slope_0
        record["trials"] += 1
        if not gradient_above and value > value_0 + tolerance * abs(value_0):
            slope = math.nan
        if not (math.isfinite(value) and (math.isfinite(slope) or value > value_0)):
            value = slope = math.nan
        if is_found(record, value, slope, slope_left, tolerance):
            return rates, True, record
        if is_hopeless(record, EPS):
            return rates, False, record


def wiggle(waves, slope_0):
    """A parabola with waves, whose slope at 0 is `slope_0`."""

    def fun(t):
        value, slope = 0.05 * t * t, 0.1 * t
        for height, frequency, phase in waves:
            value += height * math.sin(frequency * t + phase)
            slope += height * frequency * math.cos(frequency * t + phase)
        return value + tilt * t, slope + tilt

    tilt = 0.0
    tilt = slope_0 - fun(0.0)[1]
    return fun


WAVES = st.lists(st.tuples(st.floats(0.0, 2.0), st.floats(0.1, 5.0), st.floats(0.0, 6.3)), max_size=3)


@settings(max_examples=300, deadline=None)
@given(
    waves=WAVES,
    slope_0=st.floats(-10.0, -1e-2),
    first_rate=st.floats(1e-3, 1e3),
    slope_left=st.sampled_from([0.9, 0.1]),
    gradient_above=st.booleans(),
)
def test_what_is_found_meets_the_strong_wolfe_conditions(waves, slope_0, first_rate, slope_left, gradient_above):
    fun = wiggle(waves, slope_0)
    rates, found, _ = search(fun, first_rate, slope_left, gradient_above=gradient_above)
    assert len(rates) <= LONGEST
    if found:
        (value_0, slope_0), (value, slope) = fun(0.0), fun(rates[-1])
        assert value <= value_0 + DECREASE * rates[-1] * slope_0 or (value <= value_0 and slope <= -0.8 * slope_0)
        assert abs(slope) <= -slope_left * slope_0


@settings(max_examples=200, deadline=None)
@given(slope_0=st.floats(-1e3, -1e-3), bend=st.floats(1e-3, 1e3), first_rate=st.floats(1e-6, 1e6))
def test_parabolas_take_few_trials(slope_0, bend, first_rate):
    rates, found, _ = search(lambda t: (slope_0 * t + 0.5 * bend * t * t, slope_0 + bend * t), first_rate)
    assert found
    # Growth by ten for each trial that is far too short, shrinking by ten for each that is far too long.
    assert len(rates) <= 3 + abs(math.log10(first_rate * bend / -slope_0))


@settings(max_examples=200, deadline=None)
@given(
    minimum=st.floats(-5.0, 5.0),
    distance=st.floats(0.1, 10.0),
    height=st.floats(0.1, 10.0),
    a=st.floats(-5.0, 5.0),
    width=st.floats(0.1, 10.0),
    is_mirrored=st.booleans(),
    is_reversed=st.booleans(),
)
def test_cubic_minimum_is_exact_for_cubics(minimum, distance, height, a, width, is_mirrored, is_reversed):
    # The slope vanishes at the minimum, and at the maximum beside it.
    maximum = minimum + distance if is_mirrored else minimum - distance
    slope = (-height if is_mirrored else height) * np.polynomial.Polynomial.fromroots([minimum, maximum])
    cubic = slope.integ()
    a, b = (a + width, a) if is_reversed else (a, a + width)
    guess = line_search._cubic_minimum(a, cubic(a), slope(a), b, cubic(b), slope(b))
    assert guess == pytest.approx(minimum, rel=1e-5, abs=1e-5)


def test_no_cubic_minimum_is_nan():
    assert math.isnan(line_search._cubic_minimum(0.0, 0.0, math.nan, 1.0, 1.0, 1.0))
    # x + (x - 1/2)**3 rises everywhere.
    assert math.isnan(line_search._cubic_minimum(0.0, -0.125, 1.75, 1.0, 1.125, 1.75))


@pytest.mark.parametrize("wall", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("position", [1e-3, 0.5, 0.99])
def test_walls_are_stepped_back_from(wall, position):
    def fun(t):
        if t >= position:
            return wall, math.nan
        # A log barrier, with its minimum at half of the way to the wall.
        return -math.log(position - t) - math.log(t + position) * 3.0, 1 / (position - t) - 3.0 / (t + position)

    rates, found, _ = search(fun, 1.0, 0.1)
    assert found
    assert rates[-1] < position
    assert len(rates) <= LONGEST


def test_a_gigantic_rise_is_a_wall():
    def rates(wall, slope):
        return search(lambda t: (-t, -1.0) if t < 0.03 else (wall, slope), 1.0)[0]

    assert rates(1e200, 1e203) == rates(math.inf, math.nan)


def test_a_slope_that_is_not_finite_is_a_wall():
    rates, found, _ = search(lambda t: (-t, -1.0 if t < 0.1 else math.nan), 1.0)
    assert not found
    assert len(rates) == LONGEST
    assert rates[-1] <= 0.11


def test_without_a_lower_end_the_search_grows_and_gives_up():
    rates, found, record = search(lambda t: (-t, -1.0), 1.0)
    assert not found
    assert rates == [4.0**k for k in range(LONGEST)]
    assert record["high_rate"] == np.inf


def test_a_narrow_bracket_is_hopeless():
    # The value jumps up right behind the origin.
    rates, found, _ = search(lambda t: (0.0 if t == 0.0 else 1.0, -1.0), 1.0)
    assert not found
    assert len(rates) <= LONGEST
    assert rates == sorted(rates, reverse=True)


def test_values_that_rounding_hides_are_told_by_slopes():
    # Everywhere else the value is higher by rounding: only the slope tells where the minimum is.
    def fun(t):
        return 1.0 + (1e-13 if t > 0.0 else 0.0), 2e-18 * (t - 1.0)

    for first_rate, trials in ((1.7, 1), (1.79, 1), (1.85, 2), (0.15, 1), (0.05, 2)):
        rates, found, _ = search(fun, first_rate, 0.9, 1e-10)
        assert found
        assert len(rates) == trials
    _, found, _ = search(fun, 1.7, 0.9, 1e-14)
    assert not found
