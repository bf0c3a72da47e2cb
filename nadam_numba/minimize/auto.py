"""The policy of ``learning_rate="auto"``: what NAdam does by fixed numbers, chosen at each step from what was seen.

1. The first step is NAdam's own: against the sign of the gradient, in units of each variable: a tenth of ``|x0|``.
2. The metric is NAdam's, a root of second moments for each variable, in units that make it indifferent to how
   variables are scaled: the moving average of the squared changes of the gradient over that of the squared steps.
3. In place of the fixed momentum, the last pairs of steps and changes of the gradient correct the direction (two-loop
   recursion of L-BFGS). With ``memory=0`` it is the momentum of Hager and Zhang.
4. In place of a fixed rate, a line search: cubic interpolation until the strong Wolfe conditions hold, or, where the
   objective no longer resolves them, the approximate ones of Hager and Zhang.
5. Bounds: variables that are held back by a bound sit out; the others move along the projected path.
6. It ends where the gradient is small, or where the decrease that is still to be had lies below the rounding of the
   objective.

The loop calls the user's functions between two kernels: `_propose` sets the next point, `_digest` takes what was found
there. It is written once: run as it stands for Python objectives, compiled for ``@njit`` objectives.

References
----------
J. Nocedal, S. J. Wright, "Numerical Optimization", 2nd ed., Springer 2006, algorithms 3.5, 3.6, 7.4.
W. W. Hager, H. Zhang, "A new conjugate gradient method with guaranteed descent and an efficient line search",
SIAM J. Optim. 16 (2005) 170-192.
"""

import functools
import math
from typing import NamedTuple

import numba
import numpy as np

from nadam_numba import cpu, jit
from nadam_numba.cpu import copy_into
from nadam_numba.minimize import bounds, differences, objective, returned
from nadam_numba.minimize.bounds import projected_norm
from nadam_numba.minimize.objective import as_first_class
from nadam_numba.minimize.result import Stop
from nadam_numba.minimize.state import COMMON_NUMBERS

# The first step in units of x, and where a variable starts at 0.
_FIRST_STEP = 0.1
# Of the width between two bounds, the most that the first step takes.
_FIRST_SHARE = 0.5
# Of the moving averages that make the metric.
_METRIC_DECAY = 0.9
# The smallest gradient, relative to the largest, that counts for the first step of a variable.
_SMALLEST_GRADIENT = 1e-14
# Wolfe conditions: the decrease, relative to the slope, and the slope that may be left, with secant pairs and without.
_DECREASE, _SLOPE_LEFT, _SLOPE_LEFT_OF_MOMENTUM = 1e-4, 0.9, 0.1
# Approximate Wolfe conditions: how far the value may rise, in units of the square root of eps times its size.
_VALUE_TOLERANCE = 0.01
# A step that is too short grows by at most this factor, and the next trial keeps this share away from both ends.
_LARGEST_GROWTH = 10.0
_MARGIN = 0.1
_LONGEST_SEARCH = 25
# What the loop is made of, beside this file.
_SOURCES = cpu, bounds, differences, objective, returned
_evaluate = None
# Values below the least number by no more than this factor stand for those without bound.
_UNBOUNDED_VALUE = 1e-8
_SPARE_PAIRS = 2
# Secant pairs whose curvature is less, relative to their lengths, tell nothing.
_SMALLEST_CURVATURE = 1e-12
# The decrease that is still to be had, as the metric tells it, at which the run ends: in units of eps times the value,
# and, for values that fall to 0, of eps times the first decrease.
_LAST_DECREASE, _LAST_SHARE = 0.02, 1e-10
# The same, where a line search finds no decrease: within this, rounding explains it.
_EXPLAINED_DECREASE = 1e4

_NUMBERS = np.dtype(
    [
        *COMMON_NUMBERS,
        ("start_value", np.float64),
        # The line search: slope at its origin, predicted change of the value at the trial point, and the largest
        # value at which the gradient is worth taking there.
        ("slope", np.float64),
        ("change", np.float64),
        ("limit", np.float64),
        # Its bracket, rates with values and slopes; high_rate is infinite as long as nothing is too far.
        ("low_rate", np.float64),
        ("low_value", np.float64),
        ("low_slope", np.float64),
        ("high_rate", np.float64),
        ("high_value", np.float64),
        ("high_slope", np.float64),
        ("rate", np.float64),
        ("trials", np.int64),
        ("is_placed", np.int64),
        # The memory: how many pairs, the place of the newest, and the scale of the metric that it tells.
        ("pairs", np.int64),
        ("newest", np.int64),
        ("metric_scale", np.float64),
        # What is kept of the last direction, without pairs.
        ("momentum", np.float64),
        # Decrease that the last direction with a memory promised.
        ("promise", np.float64),
    ]
)
_RUNNING, _GRADIENT, _PRECISION, _FTOL = Stop.RUNNING.code, Stop.GRADIENT.code, Stop.PRECISION.code, Stop.FTOL.code
_TARGET, _PATIENCE, _PRECISION_LOSS = Stop.TARGET.code, Stop.PATIENCE.code, Stop.PRECISION_LOSS.code
_NONFINITE, _UNBOUNDED = Stop.NONFINITE.code, Stop.UNBOUNDED.code
_EVALUATION_LIMIT = Stop.EVALUATION_LIMIT.code


class State(NamedTuple):
    """All that changes from evaluation to evaluation, in place; the first five are those that `state` describes."""

    x: np.ndarray
    gradient: np.ndarray
    best_x: np.ndarray
    best_gradient: np.ndarray
    numbers: np.ndarray
    trial: np.ndarray
    trial_gradient: np.ndarray
    direction: np.ndarray
    metric: np.ndarray
    scale: np.ndarray  # of each variable, the length of its first step
    squared_steps: np.ndarray
    squared_changes: np.ndarray
    steps: np.ndarray  # shape (memory, n), as are the changes of the gradient
    changes: np.ndarray
    inverse_products: np.ndarray  # of steps and changes; 0 where they tell nothing
    weights: np.ndarray


class Tests(NamedTuple):
    """When to stop."""

    gtol: float
    ftol: float  # negative: no such test
    f_target: float
    patience: int
    maxfev: int
    values_per_gradient: int


def prepare(objective, options, x, value, gradient, has_gradient, lower, upper):
    """Make the state at the start, and the function that goes on from it.

    Parameters
    ----------
    objective : Objective
    options : Options
    x, gradient : ndarray, shape (n,)
        The start, within the bounds, and the gradient there; the loop takes them over.
    value : float
    has_gradient : bool
        Whether `gradient` is that: none is taken where the value is NaN.
    lower, upper : ndarray, shape (n,), or None

    Returns
    -------
    state : State
    advance : function
        As `run` calls it.
    """
    # A few more than there are variables tell all there is to tell of a curvature.
    memory = min(options.memory, x.size + _SPARE_PAIRS)
    state = State(
        x=x,
        gradient=gradient,
        best_x=x.copy(),
        best_gradient=gradient.copy(),
        numbers=np.zeros(1, _NUMBERS),
        trial=x.copy(),
        trial_gradient=np.empty_like(x),
        direction=np.zeros_like(x),
        metric=np.zeros_like(x),
        scale=first_steps(x, lower, upper),
        squared_steps=np.zeros_like(x),
        squared_changes=np.zeros_like(x),
        steps=np.zeros((memory, x.size), x.dtype),
        changes=np.zeros((memory, x.size), x.dtype),
        inverse_products=np.zeros(memory),
        weights=np.zeros(memory),
    )
    tests = Tests(
        options.gtol,
        options.ftol,
        options.f_target,
        options.patience,
        options.maxfev,
        objective.values_per_gradient,
    )
    _start(state, lower, upper, value, has_gradient, tests)
    loop, functions = _loop_and_functions(objective, state, lower, upper, tests)

    def advance(iterations, evaluations):
        loop(*functions, state, lower, upper, tests, iterations, evaluations)

    return state, advance


def _loop_and_functions(objective, state, lower, upper, tests):
    """`iterate` in the form that suits an objective, and the arguments of it that stand for the objective."""
    if objective.compiled is None:
        return _python_loop(objective.evaluate), (objective.fun, objective.jac, objective.args)
    first_class = as_first_class(objective, state.x)
    if first_class is None:
        evaluate, *functions = objective.compiled
        return _compiled_loop(evaluate), functions
    types = *first_class.types, *map(numba.typeof, (state, lower, upper, tests, 0, 0))
    functions = first_class.fun, first_class.jac, first_class.args
    return _first_class_loop(first_class.evaluate, types), functions


@functools.cache
def _python_loop(evaluate):
    return jit.bind(iterate, _evaluate=evaluate)


@functools.cache
def _compiled_loop(evaluate):
    return jit.driver(iterate, _evaluate=evaluate)


@functools.cache
def _first_class_loop(evaluate, types):
    return jit.first_class_driver(iterate, types, *_SOURCES, _evaluate=evaluate)


def first_steps(x, lower, upper):
    """The length of the first step of each variable: a tenth of its size, and no more than half of what bounds leave."""
    lengths = np.where(x == 0.0, x.dtype.type(_FIRST_STEP), x.dtype.type(_FIRST_STEP) * np.abs(x))
    if lower is None:
        return lengths
    with np.errstate(over="ignore"):
        widths = x.dtype.type(_FIRST_SHARE) * (upper - lower)
    return np.where(widths > 0.0, np.minimum(lengths, widths), lengths)


def iterate(fun, jac, args, state, lower, upper, tests, iterations, evaluations):
    """Go on for so many further iterations or evaluations, or fewer if a test holds; `state` is changed in place.

    The name `_evaluate` is bound to the objective's way to be evaluated.

    Parameters
    ----------
    fun, jac, args
        Of an `Objective`.
    state : State
    lower, upper : ndarray, shape (n,), or None
    tests : Tests
    iterations, evaluations : int
    """
    record = state.numbers[0]
    last = record["iterations"] + iterations
    if record["iterations"] < last:
        _propose(state, lower, upper, tests)
    for _ in range(evaluations):
        if record["stop"] != _RUNNING or record["iterations"] >= last:
            break
        value, has_gradient = _evaluate(fun, jac, args, state.trial, state.trial_gradient, record["limit"])
        _advance(state, lower, upper, value, has_gradient, tests, last)


def _advance(state, lower, upper, value, has_gradient, tests, last):
    """Take what was found at the trial point, and set the next one unless the iteration `last` is over.

    All in one kernel, which an interrupt from the keyboard cannot divide.
    """
    _digest(state, lower, upper, value, has_gradient, tests)
    if state.numbers[0]["iterations"] < last:
        _propose(state, lower, upper, tests)


def _start(state, lower, upper, value, has_gradient, tests):
    """Take the start for the first iterate, and see whether there is anything to do."""
    record = state.numbers[0]
    norm = projected_norm(state.x, state.gradient, lower, upper) if has_gradient else np.nan
    record["value"] = record["best_value"] = record["start_value"] = value
    record["norm"] = record["best_norm"] = norm
    record["learning_rate"] = np.nan
    record["values"] = 1
    record["gradients"] = 1 if has_gradient else 0
    record["metric_scale"] = 1.0
    record["promise"] = np.inf
    record["newest"] = -1
    if not (np.isfinite(value) and np.isfinite(norm)):
        record["stop"] = _NONFINITE
    elif norm <= tests.gtol:
        record["stop"] = _GRADIENT
    elif value <= tests.f_target:
        record["stop"] = _TARGET


def _propose(state, lower, upper, tests):
    """Set the trial point: the first of a new line search, or a further one."""
    record = state.numbers[0]
    if record["is_placed"]:
        return
    while record["stop"] == _RUNNING:
        calls = 1 + tests.values_per_gradient
        if record["values"] + tests.values_per_gradient * record["gradients"] + calls > tests.maxfev:
            record["stop"] = _EVALUATION_LIMIT
            return
        if record["trials"] == 0:
            _aim(state, lower, upper)
            if record["stop"] != _RUNNING:
                return
        if _place_trial(state, lower, upper):
            record["is_placed"] = 1
            return
        # Too short a step for the numbers to tell.
        before = record["iterations"]
        _give_up(state, lower, upper, tests)
        if record["iterations"] != before:
            return


def _place_trial(state, lower, upper):
    """Move the trial point along the direction; False if it is the iterate, or the last trial point, once more."""
    record = state.numbers[0]
    x, trial, direction, gradient = state.x, state.trial, state.direction, state.gradient
    rate = record["rate"]
    moved = 0
    moved_on = 0
    change = 0.0
    for i in range(x.size):
        coordinate = x.dtype.type(x[i] + rate * direction[i])
        if lower is not None:
            coordinate = min(max(coordinate, lower[i]), upper[i])
        moved += coordinate != x[i]
        moved_on += coordinate != trial[i]
        change += float(gradient[i]) * (float(coordinate) - float(x[i]))
        trial[i] = coordinate
    value = record["value"]
    record["change"] = rate * record["slope"] if lower is None else change
    record["limit"] = value + max(_DECREASE * record["change"], _value_tolerance(x) * abs(value))
    return moved > 0 and moved_on > 0


def _value_tolerance(x):
    return _VALUE_TOLERANCE * math.sqrt(np.finfo(x.dtype).eps)


def _aim(state, lower, upper):
    """Start a line search: set its direction, and the first rate."""
    record = state.numbers[0]
    _set_metric(state, lower, upper)
    while True:
        if state.inverse_products.size == 0:
            _turn_with_momentum(state)
        else:
            _turn_with_memory(state, lower)
        slope = _head_downhill(state, lower, upper)
        if -np.inf < slope < 0.0:
            break
        if record["pairs"] == 0:
            record["stop"] = _PRECISION_LOSS
            return
        record["pairs"] = 0
    rate = 1.0
    if state.inverse_products.size == 0 and record["pairs"] > 0:
        # The same change to first order as that of the last step.
        rate = record["learning_rate"] * record["slope"] / slope
    record["slope"] = slope
    record["rate"] = rate
    record["low_rate"] = 0.0
    record["low_value"] = record["value"]
    record["low_slope"] = slope
    record["high_rate"] = np.inf
    if record["pairs"] > 0:
        record["promise"] = -rate * slope
        if record["pairs"] >= min(2, state.inverse_products.size) and record["promise"] <= _negligible(record, state.x, 1.0):
            record["stop"] = _PRECISION


def _negligible(record, x, factor):
    """The decrease that is not worth an evaluation."""
    eps = np.finfo(x.dtype).eps
    decrease = record["start_value"] - record["value"]
    return factor * eps * (_LAST_DECREASE * abs(record["value"]) + _LAST_SHARE * decrease)


def _set_metric(state, lower, upper):
    """The inverse of the metric, for each variable; 0 where a bound holds it back."""
    x, gradient, metric = state.x, state.gradient, state.metric
    smallest = _SMALLEST_GRADIENT * state.numbers[0]["norm"]
    for i in range(x.size):
        squared_step, squared_change = float(state.squared_steps[i]), float(state.squared_changes[i])
        if squared_step > 0.0 and squared_change > 0.0:
            metric[i] = math.sqrt(squared_step / squared_change)
        else:
            metric[i] = state.scale[i] / max(abs(float(gradient[i])), smallest)
        if lower is not None and (
            (x[i] <= lower[i] and gradient[i] > 0.0) or (x[i] >= upper[i] and gradient[i] < 0.0)
        ):
            metric[i] = 0.0


def _turn_with_memory(state, lower):
    """The direction against the gradient, as the metric and the pairs transform it: the two-loop recursion."""
    record = state.numbers[0]
    direction, metric, inverse_products, weights = state.direction, state.metric, state.inverse_products, state.weights
    steps, changes = state.steps, state.changes
    size, memory = direction.size, inverse_products.size
    for i in range(size):
        direction[i] = -state.gradient[i]
    scale = 0.0
    pair = record["newest"]
    for _ in range(record["pairs"]):
        if lower is not None:
            inverse_products[pair] = _inverse_product_of_free(steps, changes, pair, metric)
        if inverse_products[pair] > 0.0:
            if scale == 0.0:
                square = 0.0
                for i in range(size):
                    square += changes[pair, i] * metric[i] * changes[pair, i]
                scale = 1.0 / (inverse_products[pair] * square)
            product = 0.0
            for i in range(size):
                if lower is None or metric[i] > 0.0:
                    product += steps[pair, i] * direction[i]
            weight = product * inverse_products[pair]
            for i in range(size):
                direction[i] -= weight * changes[pair, i]
            weights[pair] = weight
        pair = pair - 1 if pair > 0 else memory - 1
    if scale > 0.0:
        record["metric_scale"] = scale
    for i in range(size):
        direction[i] *= record["metric_scale"] * metric[i]
    for _ in range(record["pairs"]):
        pair = pair + 1 if pair + 1 < memory else 0
        if inverse_products[pair] > 0.0:
            product = 0.0
            for i in range(size):
                product += changes[pair, i] * direction[i]
            weight = weights[pair] - product * inverse_products[pair]
            for i in range(size):
                if lower is None or metric[i] > 0.0:
                    direction[i] += weight * steps[pair, i]


def _inverse_product_of_free(steps, changes, pair, metric):
    """What a pair tells of the variables that no bound holds back."""
    product = 0.0
    for i in range(metric.size):
        if metric[i] > 0.0:
            product += steps[pair, i] * changes[pair, i]
    return 1.0 / product if product > 0.0 else 0.0


def _turn_with_momentum(state):
    """The direction against the gradient in the metric, and what is kept of the last one."""
    record = state.numbers[0]
    momentum = record["momentum"] if record["pairs"] > 0 else 0.0
    for i in range(state.direction.size):
        state.direction[i] = momentum * state.direction[i] - record["metric_scale"] * (
            state.metric[i] * state.gradient[i]
        )


def _head_downhill(state, lower, upper):
    """Take from the direction what bounds cut off at once, and return its slope."""
    x, gradient, direction = state.x, state.gradient, state.direction
    slope = 0.0
    for i in range(x.size):
        if lower is not None and (
            (x[i] <= lower[i] and direction[i] < 0.0) or (x[i] >= upper[i] and direction[i] > 0.0)
        ):
            direction[i] = 0.0
        slope += float(gradient[i]) * float(direction[i])
    return slope


def _digest(state, lower, upper, value, has_gradient, tests):
    """Take the value and the gradient of the trial point: go on with the line search, or end it.

    All in one kernel, which an interrupt from the keyboard cannot divide.
    """
    record = state.numbers[0]
    x, trial, gradient, direction = state.x, state.trial, state.trial_gradient, state.direction
    record["is_placed"] = 0
    record["values"] += 1
    record["gradients"] += 1 if has_gradient else 0
    record["trials"] += 1
    slope = np.nan
    norm = np.nan
    if has_gradient:
        slope = 0.0
        for i in range(x.size):
            component = float(gradient[i])
            if lower is None or lower[i] < trial[i] < upper[i] or component * 0.0 != 0.0:
                slope += component * float(direction[i])
            elif (direction[i] < 0.0 and trial[i] > lower[i]) or (direction[i] > 0.0 and trial[i] < upper[i]):
                slope += component * float(direction[i])
        norm = projected_norm(trial, gradient, lower, upper)
    is_finite = np.isfinite(value) and np.isfinite(norm)
    if is_finite and (value < record["best_value"] or (value == record["best_value"] and norm < record["best_norm"])):
        if value < record["best_value"]:
            record["best_iteration"] = record["iterations"] + 1
        record["best_value"] = value
        record["best_norm"] = norm
        copy_into(state.best_x, trial)
        copy_into(state.best_gradient, gradient)
    if value < -_UNBOUNDED_VALUE * np.finfo(x.dtype).max:
        record["stop"] = _UNBOUNDED
    elif (is_finite and value <= tests.f_target) or _search(state, value, slope, norm):
        _accept(state, lower, upper, trial, gradient, value, norm, tests)
    elif (
        record["trials"] >= _LONGEST_SEARCH
        or not np.isfinite(record["rate"])
        or record["high_rate"] - record["low_rate"] <= np.finfo(x.dtype).eps * record["high_rate"] < np.inf
    ):
        _give_up(state, lower, upper, tests)


def _search(state, value, slope, norm):
    """Whether the trial point ends the line search; if not, narrow the bracket and choose the next rate."""
    record = state.numbers[0]
    rate, origin_slope = record["rate"], record["slope"]
    is_finite = np.isfinite(value) and np.isfinite(norm)
    is_lower = value <= record["value"] + _DECREASE * record["change"] and value <= record["low_value"]
    # Where values are the same to rounding, slopes tell more.
    is_level = value <= record["value"] + _value_tolerance(state.x) * abs(record["value"])
    is_fit = is_finite and (is_lower or (is_level and slope <= -0.8 * origin_slope))
    slope_left = _SLOPE_LEFT if state.inverse_products.size > 0 else _SLOPE_LEFT_OF_MOMENTUM
    if is_fit and abs(slope) <= -slope_left * origin_slope:
        return True
    if is_fit and slope < 0.0:
        last_rate, last_value, last_slope = record["low_rate"], record["low_value"], record["low_slope"]
        record["low_rate"], record["low_value"], record["low_slope"] = rate, value, slope
        if record["high_rate"] == np.inf:
            record["rate"] = _longer_rate(last_rate, last_value, last_slope, rate, value, slope)
            return False
    else:
        record["high_rate"] = rate
        record["high_value"] = value if is_finite else np.nan
        record["high_slope"] = slope if is_finite else np.nan
    record["rate"] = _rate_between(
        record["low_rate"],
        record["low_value"],
        record["low_slope"],
        record["high_rate"],
        record["high_value"],
        record["high_slope"],
    )
    return False


def _longer_rate(last_rate, last_value, last_slope, rate, value, slope):
    """The next rate where the slope at `rate` still points downwards."""
    guess = _cubic_minimum(last_rate, last_value, last_slope, rate, value, slope)
    if slope <= last_slope:
        guess = 4.0 * rate
    elif not guess > rate:
        guess = rate - slope * (rate - last_rate) / (slope - last_slope)
    return min(max(guess, rate + _MARGIN * (2.0 * rate - last_rate)), _LARGEST_GROWTH * rate)


def _rate_between(low_rate, low_value, low_slope, high_rate, high_value, high_slope):
    """The next rate within a bracket, away from its ends."""
    width = high_rate - low_rate
    if not np.isfinite(high_value):
        return low_rate + _MARGIN * width
    guess = _cubic_minimum(low_rate, low_value, low_slope, high_rate, high_value, high_slope)
    if not np.isfinite(guess):
        bend = high_value - low_value - low_slope * width
        guess = low_rate - 0.5 * low_slope * width * width / bend if bend > 0.0 else low_rate + 0.5 * width
    return min(max(guess, low_rate + _MARGIN * width), high_rate - _MARGIN * width)


def _cubic_minimum(a, value_a, slope_a, b, value_b, slope_b):
    """Where the cubic through two values with their slopes is least; NaN if nowhere, or if a slope is NaN."""
    bend = slope_a + slope_b - 3.0 * (value_a - value_b) / (a - b)
    square = bend * bend - slope_a * slope_b
    if not square >= 0.0:
        return np.nan
    root = math.sqrt(square) if b > a else -math.sqrt(square)
    return b - (b - a) * (slope_b + root - bend) / (slope_b - slope_a + 2.0 * root)


def _accept(state, lower, upper, point, gradient, value, norm, tests):
    """Make a point the iterate, remember the step, and see whether to stop."""
    record = state.numbers[0]
    _remember(state, point, gradient)
    decrease = record["value"] - value
    size = max(abs(record["value"]), abs(value), 1.0)
    copy_into(state.x, point)
    copy_into(state.gradient, gradient)
    record["value"] = value
    record["norm"] = norm
    record["learning_rate"] = record["rate"]
    record["iterations"] += 1
    record["trials"] = 0
    if norm <= tests.gtol:
        record["stop"] = _GRADIENT
        if record["best_norm"] > tests.gtol:
            record["best_value"] = value
            record["best_norm"] = norm
            copy_into(state.best_x, point)
            copy_into(state.best_gradient, gradient)
    elif value <= tests.f_target:
        record["stop"] = _TARGET
    elif decrease <= tests.ftol * size and tests.ftol >= 0.0:
        record["stop"] = _FTOL
    elif record["iterations"] - record["best_iteration"] >= tests.patience:
        record["stop"] = _PATIENCE


def _remember(state, point, gradient):
    """Store the step to a point and the change of the gradient, where they tell of curvature."""
    record = state.numbers[0]
    x, last_gradient = state.x, state.gradient
    product, step_square, change_square = 0.0, 0.0, 0.0
    for i in range(x.size):
        step = float(point[i]) - float(x[i])
        change = float(gradient[i]) - float(last_gradient[i])
        product += step * change
        step_square += step * step
        change_square += change * change
        if step != 0.0:
            state.squared_steps[i] = _METRIC_DECAY * state.squared_steps[i] + (1.0 - _METRIC_DECAY) * step * step
            state.squared_changes[i] = (
                _METRIC_DECAY * state.squared_changes[i] + (1.0 - _METRIC_DECAY) * change * change
            )
    if not product > _SMALLEST_CURVATURE * math.sqrt(step_square * change_square):
        return
    memory = state.inverse_products.size
    if memory == 0:
        _remember_direction(state, gradient)
        return
    newest = record["newest"] + 1 if record["newest"] + 1 < memory else 0
    record["newest"] = newest
    record["pairs"] = min(record["pairs"] + 1, memory)
    state.inverse_products[newest] = 1.0 / product
    for i in range(x.size):
        state.steps[newest, i] = point[i] - x[i]
        state.changes[newest, i] = gradient[i] - last_gradient[i]


def _remember_direction(state, gradient):
    """The share of the direction that the next one keeps: Hager and Zhang's, in the metric."""
    record = state.numbers[0]
    direction, metric, last_gradient = state.direction, state.metric, state.gradient
    curvature, square, cross, along, length = 0.0, 0.0, 0.0, 0.0, 0.0
    for i in range(direction.size):
        change = float(gradient[i]) - float(last_gradient[i])
        curvature += change * direction[i]
        square += change * metric[i] * change
        cross += change * metric[i] * gradient[i]
        along += float(direction[i]) * gradient[i]
        if metric[i] > 0.0:
            length += float(direction[i]) * direction[i] / metric[i]
    scale = record["metric_scale"]
    momentum = scale * (cross - 2.0 * along * square / curvature) / curvature
    smallest = 0.4 * record["slope"] * scale / length
    record["momentum"] = max(momentum, smallest)
    record["pairs"] = 1


def _give_up(state, lower, upper, tests):
    """End a line search that found no point to its liking: at the best point, with another direction, or for good."""
    record = state.numbers[0]
    if record["best_value"] < record["value"]:
        norm = record["best_norm"]
        _accept(state, lower, upper, state.best_x, state.best_gradient, record["best_value"], norm, tests)
    elif record["pairs"] > 0:
        record["pairs"] = 0
        record["trials"] = 0
    else:
        is_explained = record["promise"] <= _negligible(record, state.x, _EXPLAINED_DECREASE)
        record["stop"] = _PRECISION if is_explained else _PRECISION_LOSS


_value_tolerance = jit.piece(_value_tolerance)
_negligible = jit.piece(_negligible)
_cubic_minimum = jit.piece(_cubic_minimum)
_longer_rate = jit.piece(_longer_rate)
_rate_between = jit.piece(_rate_between)
_search = jit.piece(_search)
_remember_direction = jit.piece(_remember_direction)
_remember = jit.piece(_remember)
_accept = jit.piece(_accept)
_give_up = jit.piece(_give_up)
_set_metric = jit.piece(_set_metric)
_inverse_product_of_free = jit.piece(_inverse_product_of_free)
_turn_with_memory = jit.piece(_turn_with_memory)
_turn_with_momentum = jit.piece(_turn_with_momentum)
_head_downhill = jit.piece(_head_downhill)
_aim = jit.piece(_aim)
_place_trial = jit.piece(_place_trial)
_start = jit.kernel(_start, cpu, bounds)
_digest = jit.piece(_digest)
_advance = jit.kernel(_advance, cpu, bounds, _propose=jit.piece(_propose))
_propose = jit.kernel(_propose, cpu, bounds)
