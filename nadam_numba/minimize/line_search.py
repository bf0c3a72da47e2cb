"""The line search of `auto`: the strong Wolfe conditions, met by cubic interpolation of values and slopes.

It works on the numbers of `auto_state` alone. Rates are lengths along the direction, slopes derivatives along it.

References
----------
J. Nocedal, S. J. Wright, "Numerical Optimization", 2nd ed., Springer 2006, algorithms 3.5 and 3.6.
W. W. Hager, H. Zhang, "A new conjugate gradient method with guaranteed descent and an efficient line search",
SIAM J. Optim. 16 (2005) 170-192: the approximate Wolfe conditions.
"""

import math

import numpy as np

from nadam_numba import jit
from nadam_numba.minimize.scaling import power_of_two_near_inverse

# The decrease of the value that is asked for, relative to the slope.
DECREASE = 1e-4
# Where values are the same to rounding, the slope may rise to this share of what it fell.
_LEVEL_SLOPE = 0.8
# A step that is too short grows by at most this factor, and the next trial keeps this share away from both ends.
_LARGEST_GROWTH = 10.0
_GROWTH_WITHOUT_CURVATURE = 4.0
_MARGIN = 0.1
_LONGEST_SEARCH = 25
# A value that rises by more than this, in units of the fall that the slope promised, follows no cubic: it is taken for
# an infinite one.
_STEEPEST_RISE = 1e10


def _open_search(record, slope, rate):
    """Begin at the iterate, whose slope is `slope`, with a first rate."""
    record["slope"] = slope
    record["rate"] = rate
    record["low_rate"] = 0.0
    record["low_value"] = record["value"]
    record["low_slope"] = slope
    record["high_rate"] = np.inf


def _is_found(record, value, slope, slope_left, tolerance):
    """Whether the trial point will do; if not, narrow the bracket and choose the next rate.

    Parameters
    ----------
    record : record of `auto_state.NUMBERS`
    value, slope : float
        At the trial point; both NaN if either is not finite, or `slope` alone if it was not taken.
    slope_left : float
        The share of the first slope that may be left.
    tolerance : float
        Relative difference of values that are the same to rounding.
    """
    is_lower = value <= record["value"] + DECREASE * record["change"] and value <= record["low_value"]
    is_level = value <= record["value"] + tolerance * abs(record["value"])
    is_fit = is_lower or (is_level and slope <= -_LEVEL_SLOPE * record["slope"])
    if is_fit and abs(slope) <= -slope_left * record["slope"]:
        return True
    rate = record["rate"]
    if is_fit and slope < 0.0:
        longer = _longer_rate(record["low_rate"], record["low_value"], record["low_slope"], rate, value, slope)
        record["low_rate"] = rate
        record["low_value"] = value
        record["low_slope"] = slope
        if record["high_rate"] == np.inf:
            record["rate"] = longer
            return False
    else:
        record["high_rate"] = rate
        record["high_value"] = value
        record["high_slope"] = slope
    record["rate"] = _rate_between(
        record["low_rate"],
        record["low_value"],
        record["low_slope"],
        record["high_rate"],
        record["high_value"],
        record["high_slope"],
    )
    return False


def _is_hopeless(record, eps):
    """Whether to end without a point that will do."""
    width = record["high_rate"] - record["low_rate"]
    is_narrow = record["high_rate"] < np.inf and width <= eps * record["high_rate"]
    return record["trials"] >= _LONGEST_SEARCH or is_narrow or not math.isfinite(record["rate"])


def _longer_rate(last_rate, last_value, last_slope, rate, value, slope):
    """The next rate where the slope at `rate` still points downwards."""
    if slope <= last_slope:
        return _GROWTH_WITHOUT_CURVATURE * rate
    guess = _cubic_minimum(last_rate, last_value, last_slope, rate, value, slope)
    if not guess > rate:
        guess = rate - slope * (rate - last_rate) / (slope - last_slope)
    return min(max(guess, rate + _MARGIN * (2.0 * rate - last_rate)), _LARGEST_GROWTH * rate)


def _rate_between(low_rate, low_value, low_slope, high_rate, high_value, high_slope):
    """The next rate within a bracket, away from its ends."""
    width = high_rate - low_rate
    if not high_value - low_value <= -_STEEPEST_RISE * low_slope * width:
        return low_rate + _MARGIN * width
    guess = _cubic_minimum(low_rate, low_value, low_slope, high_rate, high_value, high_slope)
    if not math.isfinite(guess):
        bend = high_value - low_value - low_slope * width
        guess = low_rate - 0.5 * low_slope * width * width / bend if bend > 0.0 else low_rate + 0.5 * width
    return min(max(guess, low_rate + _MARGIN * width), high_rate - _MARGIN * width)


def _cubic_minimum(a, value_a, slope_a, b, value_b, slope_b):
    """Where the cubic through two values with their slopes is least; NaN if nowhere, or if a slope is NaN."""
    bend = slope_a + slope_b - 3.0 * (value_a - value_b) / (a - b)
    largest = max(abs(bend), abs(slope_a), abs(slope_b))
    if not largest < np.inf:
        return np.nan
    factor = power_of_two_near_inverse(largest)
    square = (factor * bend) * (factor * bend) - (factor * slope_a) * (factor * slope_b)
    if not square >= 0.0:
        return np.nan
    root = math.sqrt(square) / factor if b > a else -math.sqrt(square) / factor
    return b - (b - a) * (slope_b + root - bend) / (slope_b - slope_a + 2.0 * root)


_cubic_minimum = jit.scalar(_cubic_minimum)
_longer_rate = jit.scalar(_longer_rate)
_rate_between = jit.scalar(_rate_between)
open_search = jit.scalar(_open_search)
is_found = jit.scalar(_is_found)
is_hopeless = jit.scalar(_is_hopeless)
