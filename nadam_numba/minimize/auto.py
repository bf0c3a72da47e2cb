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

The loop calls the user's functions between kernels, which set the next point and take what was found there. It is
written once: run as it stands for Python objectives, compiled for ``@njit`` objectives. The references stand in
`line_search` and `secants`.
"""

import math
from typing import NamedTuple

import numpy as np

from nadam_numba import cpu, jit, pointers
from nadam_numba.cpu import copy_into
from nadam_numba.minimize import (
    auto_state,
    bounds,
    differences,
    lent,
    line_search,
    objective,
    result,
    returned,
    scaling,
    secants,
)
from nadam_numba.minimize.auto_state import (
    BEST_GRADIENT,
    BEST_X,
    DIRECTION,
    FIRST_STEP,
    GRADIENT,
    METRIC,
    TRIAL,
    TRIAL_GRADIENT,
    X,
    make_state,
)
from nadam_numba.minimize.bounds import projected_norm
from nadam_numba.minimize.drivers import loop_for
from nadam_numba.minimize.lent import is_kept, make_room
from nadam_numba.minimize.line_search import DECREASE, is_found, is_hopeless, open_search
from nadam_numba.minimize.result import Stop
from nadam_numba.minimize.secants import open_memory, remember, set_metric, turn_with_momentum, turn_with_pairs
from nadam_numba.pointers import borrowed

# The first step in units of x, and where a variable starts at 0; and the most that it takes of the way between bounds.
_FIRST_STEP = 0.1
_LARGEST_SHARE = 0.5
# A start counts for 0 if it is less than this times the largest one: it tells no scale.
_RELATIVE_ZERO = 1e-16
# A few more secant pairs than there are variables tell all there is to tell of a curvature.
SPARE_PAIRS = 2
# The slope that a line search may leave, with secant pairs and without.
_SLOPE_LEFT, _SLOPE_LEFT_BY_MOMENTUM = 0.9, 0.1
# Values that differ by less, in units of the square root of eps, are told apart by their slopes.
_LEVEL = 0.01
# Values below the least number by no more than this factor stand for those without bound.
_UNBOUNDED_VALUE = 1e-8
# The decrease that is still to be had, as the last direction tells it, at which the run ends: in units of eps times the
# value, and, for values that fall to 0, of eps times the decrease so far.
_LAST_DECREASE, _LAST_SHARE = 0.02, 1e-18
# The gradient, relative to the largest one, at which a promise is believed: at kinks promises are small without reason.
SMALL_NORM = 1e-3
# How much more than promised the value may change in the last step.
_KEPT_PROMISE = 10.0
# Times these, the decrease that rounding explains where a line search finds none.
_EXPLAINED = 1e4
# The default of gtol, as a power of eps.
_GTOL_EXPONENT, _GTOL_EXPONENT_OF_DIFFERENCES = 2 / 3, 1 / 3

_RUNNING, _GRADIENT_STOP, _FTOL, _TARGET = (Stop[name].code for name in ("RUNNING", "GRADIENT", "FTOL", "TARGET"))
_PATIENCE, _EVALUATION_LIMIT, _UNBOUNDED = Stop.PATIENCE.code, Stop.EVALUATION_LIMIT.code, Stop.UNBOUNDED.code
_PRECISION, _PRECISION_LOSS, _NONFINITE = Stop.PRECISION.code, Stop.PRECISION_LOSS.code, Stop.NONFINITE.code

# What the loop is made of, beside this file; and the way to evaluate an objective, which is bound to it.
SOURCES = (
    auto_state,
    bounds,
    cpu,
    differences,
    lent,
    line_search,
    objective,
    pointers,
    result,
    returned,
    scaling,
    secants,
)
_evaluate = None


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
        The start, within the bounds, and the gradient there.
    value : float
    has_gradient : bool
        Whether `gradient` is that: none is taken where the value is NaN.
    lower, upper : ndarray, shape (n,), or None

    Returns
    -------
    state : auto_state.State
    advance : function
        As `run` calls it.
    """
    state = make_state(x, gradient, min(options.memory, x.size + SPARE_PAIRS))
    tests = Tests(
        options.gtol,
        options.ftol,
        options.f_target,
        options.patience,
        options.maxfev,
        objective.values_per_gradient,
    )
    arrays = state.vectors, state.pairs, state.numbers
    open_run(*arrays, lower, upper, value, has_gradient, tests)
    variant = (lower is not None,)
    loop, functions = loop_for(iterate, objective, x, _example, variant, SOURCES)

    def advance(iterations, evaluations):
        loop(*functions, *arrays, lower, upper, tests, iterations, evaluations)

    return state, advance


def _example(has_bounds):
    """Arguments of `iterate` after those of the objective."""
    vector = np.zeros(1)
    state = make_state(vector, vector, 1)
    bound = vector if has_bounds else None
    tests = Tests(gtol=0.0, ftol=0.0, f_target=0.0, patience=0, maxfev=0, values_per_gradient=0)
    return state.vectors, state.pairs, state.numbers, bound, bound, tests, 0, 0


def default_gtol(objective, x, gradient, lower, upper):
    """Next to nothing, for the run ends where nothing is left to gain; no less than what differences can tell.

    Relative to the first gradient, so that an objective in small units is minimised, too.
    """
    norm = projected_norm(x, gradient, lower, upper)
    return gtol_factor(objective.has_exact_gradient, x.dtype) * min(1.0, norm) if math.isfinite(norm) else 0.0


def gtol_factor(has_exact_gradient, dtype):
    """The default of gtol, relative to the first gradient."""
    exponent = _GTOL_EXPONENT if has_exact_gradient else _GTOL_EXPONENT_OF_DIFFERENCES
    return np.finfo(dtype).eps ** exponent


def iterate(fun, jac, args, vectors, pairs, numbers, lower, upper, tests, iterations, evaluations):
    """Go on for so many further iterations or evaluations, or fewer if a test holds; the arrays are changed in place.

    The name `_evaluate` is bound to the objective's way to be evaluated.

    Parameters
    ----------
    fun, jac, args
        Of an `Objective`.
    vectors, pairs, numbers : ndarray
        Of an `auto_state.State`.
    lower, upper : ndarray, shape (n,), or None
    tests : Tests
    iterations, evaluations : int
        At least 1.
    """
    record = numbers[0]
    last_iteration, last_value = record["iterations"] + iterations, record["values"] + evaluations
    trial, trial_gradient = borrowed(vectors[TRIAL]), borrowed(vectors[TRIAL_GRADIENT])
    goes_on = True
    while goes_on:
        room = make_room(trial)
        is_free = True
        while goes_on and is_free:
            _propose(vectors, pairs, numbers, lower, upper, tests)
            if record["is_placed"]:
                value, has_gradient = _evaluate(fun, jac, args, trial, trial_gradient, record["limit"], room)
                _digest(vectors, pairs, numbers, lower, upper, value, has_gradient, tests)
            if record["is_found"]:
                _accept(vectors, pairs, numbers, tests)
            has_more = record["iterations"] < last_iteration and record["values"] < last_value
            goes_on = has_more and record["stop"] == _RUNNING
            is_free = not is_kept(room)


def _open_run(vectors, pairs, numbers, lower, upper, value, has_gradient, tests):
    """Take the start for the first iterate, and see whether there is anything to do."""
    record = numbers[0]
    norm = projected_norm(vectors[X], vectors[GRADIENT], lower, upper) if has_gradient else np.nan
    record["value"] = value
    record["best_value"] = value
    record["start_value"] = value
    record["norm"] = norm
    record["best_norm"] = norm
    record["largest_norm"] = norm
    record["learning_rate"] = np.nan
    record["values"] = 1
    record["gradients"] = 1 if has_gradient else 0
    record["promise"] = np.inf
    _set_first_steps(vectors, lower, upper)
    if not (math.isfinite(value) and math.isfinite(norm)):
        record["stop"] = _NONFINITE
        return
    open_memory(vectors, numbers)
    if norm <= tests.gtol:
        record["stop"] = _GRADIENT_STOP
    elif value <= tests.f_target:
        record["stop"] = _TARGET


def _set_first_steps(vectors, lower, upper):
    """The length of each variable's first step: a tenth of its size, and no more than half of what bounds leave."""
    info = np.finfo(vectors.dtype)
    zero = max(_RELATIVE_ZERO * cpu.largest_magnitude(vectors[X]), info.tiny / info.eps)
    for i in range(vectors.shape[1]):
        size = abs(vectors[X, i])
        length = _FIRST_STEP * (size if size > zero else 1.0)
        if lower is not None:
            width = _LARGEST_SHARE * upper[i] - _LARGEST_SHARE * lower[i]
            if width > 0.0:
                length = min(length, width)
        vectors[FIRST_STEP, i] = length


def _propose(vectors, pairs, numbers, lower, upper, tests):
    """Set the trial point, unless the run is over, or the step too short for the numbers to tell."""
    record = numbers[0]
    if record["is_placed"]:
        return
    if record["trials"] == 0:
        _aim(vectors, pairs, numbers, lower, upper)
    if record["stop"] != _RUNNING:
        return
    values = record["values"] + tests.values_per_gradient * record["gradients"]
    if values + 1 + tests.values_per_gradient > tests.maxfev:
        record["stop"] = _EVALUATION_LIMIT
    elif not _place_trial(vectors, numbers, lower, upper):
        _give_up(vectors, numbers)


def _aim(vectors, pairs, numbers, lower, upper):
    """Begin a line search: set its direction, and the first rate."""
    record = numbers[0]
    memory = pairs.shape[1]
    set_metric(vectors, numbers, lower, upper)
    slope = 0.0
    while not -np.inf < slope < 0.0:
        if memory > 0:
            turn_with_pairs(vectors, pairs, numbers, lower)
        else:
            turn_with_momentum(vectors, numbers)
        slope = _slope_within_bounds(vectors, lower, upper)
        if not -np.inf < slope < 0.0:
            if record["remembered"] == 0:
                record["stop"] = _PRECISION_LOSS
                return
            record["remembered"] = 0
    rate = 1.0
    record["is_last_look"] = 0
    if record["remembered"] > 0:
        if memory == 0:
            # The same change, to first order, as that of the last step.
            rate = record["learning_rate"] * record["slope"] / slope
        record["promise"] = -slope if memory > 0 else _promise_of_metric(vectors)
        is_known = record["remembered"] >= min(2, memory)
        if is_known and record["promise"] <= _negligible(record, vectors, 1.0):
            record["is_last_look"] = 1
    open_search(record, slope, rate)


def _promise_of_metric(vectors):
    """The decrease that is to be had if the metric tells all of the curvature."""
    promise = 0.0
    for i in range(vectors.shape[1]):
        promise += vectors[GRADIENT, i] * vectors[METRIC, i] * vectors[GRADIENT, i]
    return promise


def _slope_within_bounds(vectors, lower, upper):
    """Take from the direction what bounds cut off at once, and return its slope."""
    slope = 0.0
    for i in range(vectors.shape[1]):
        direction = vectors[DIRECTION, i]
        if lower is not None:
            x = vectors[X, i]
            if (x <= lower[i] and direction < 0.0) or (x >= upper[i] and direction > 0.0):
                direction *= 0.0
                vectors[DIRECTION, i] = direction
        slope += vectors[GRADIENT, i] * direction
    return slope


def _negligible(record, vectors, factor):
    """The decrease that is not worth an evaluation."""
    eps = np.finfo(vectors.dtype).eps
    decrease = record["start_value"] - record["value"]
    return factor * eps * (_LAST_DECREASE * abs(record["value"]) + _LAST_SHARE * decrease)


def _level(vectors):
    """The relative difference of values that are told apart by their slopes."""
    return _LEVEL * math.sqrt(np.finfo(vectors.dtype).eps)


def _place_trial(vectors, numbers, lower, upper):
    """Move the trial point along the direction; False if it is the iterate, or the last trial point, once more."""
    record = numbers[0]
    rate = record["rate"]
    moved, moved_on = 0, 0
    change = 0.0
    for i in range(vectors.shape[1]):
        last = vectors[TRIAL, i]
        x = vectors[X, i]
        vectors[TRIAL, i] = x + rate * vectors[DIRECTION, i]
        if lower is not None:
            vectors[TRIAL, i] = min(max(vectors[TRIAL, i], lower[i]), upper[i])
        trial = vectors[TRIAL, i]
        moved += trial != x
        moved_on += trial != last
        change += vectors[GRADIENT, i] * (trial - x)
    if moved == 0 or moved_on == 0:
        return False
    value = record["value"]
    record["change"] = rate * record["slope"] if lower is None else change
    record["limit"] = value + max(DECREASE * record["change"], _level(vectors) * abs(value))
    record["is_placed"] = 1
    return True


def _digest(vectors, pairs, numbers, lower, upper, value, has_gradient, tests):
    """Take the value and the gradient of the trial point: go on with the line search, or end it."""
    record = numbers[0]
    record["is_placed"] = 0
    record["trials"] += 1
    record["values"] += 1
    slope, norm = np.nan, np.nan
    if has_gradient:
        record["gradients"] += 1
        slope = _slope_at_trial(vectors, lower, upper)
        norm = projected_norm(vectors[TRIAL], vectors[TRIAL_GRADIENT], lower, upper)
    is_finite = math.isfinite(value) and math.isfinite(norm)
    if is_finite and (value < record["best_value"] or (value == record["best_value"] and norm < record["best_norm"])):
        if value < record["best_value"]:
            record["best_iteration"] = record["iterations"] + 1
        _keep_best(vectors, numbers, TRIAL, TRIAL_GRADIENT, value, norm)
    if value < -_UNBOUNDED_VALUE * np.finfo(vectors.dtype).max:
        record["stop"] = _UNBOUNDED
        return
    if has_gradient and not is_finite:
        value, slope = np.nan, np.nan
    level = _level(vectors)
    most = level * abs(record["value"]) + _KEPT_PROMISE * record["promise"]
    has_shrunk = norm < 0.5 * record["norm"] and abs(slope) < 0.25 * abs(record["slope"])
    is_small = has_shrunk or norm <= SMALL_NORM * record["largest_norm"]
    if record["is_last_look"] and is_small and abs(value - record["value"]) <= most:
        # Noise would have shown in the value, and a kink in the gradient.
        record["stop"] = _PRECISION
        return
    record["is_last_look"] = 0
    slope_left = _SLOPE_LEFT if pairs.shape[1] > 0 else _SLOPE_LEFT_BY_MOMENTUM
    is_end = is_found(record, value, slope, slope_left, level) or (is_finite and value <= tests.f_target)
    if not is_end and is_hopeless(record, np.finfo(vectors.dtype).eps):
        # As long as no step was too long, the last one is the best.
        is_end = record["high_rate"] == np.inf and is_finite
        if not is_end:
            _give_up(vectors, numbers)
            return
    if is_end and record["best_value"] < value - level * abs(value):
        # A lower point, refused for its slope.
        _set_found(numbers, BEST_X, BEST_GRADIENT, record["best_value"], record["best_norm"])
    elif is_end:
        _set_found(numbers, TRIAL, TRIAL_GRADIENT, value, norm)


def _slope_at_trial(vectors, lower, upper):
    """The derivative along the path, on which variables at a bound stay."""
    slope = 0.0
    for i in range(vectors.shape[1]):
        direction = vectors[DIRECTION, i]
        if lower is not None:
            trial = vectors[TRIAL, i]
            if (direction < 0.0 and trial <= lower[i]) or (direction > 0.0 and trial >= upper[i]):
                direction *= 0.0
        slope += vectors[TRIAL_GRADIENT, i] * direction
    return slope


def _keep_best(vectors, numbers, point, gradient, value, norm):
    """Keep the point in row `point`, with the gradient in row `gradient`, as the best one."""
    record = numbers[0]
    record["best_value"] = value
    record["best_norm"] = norm
    copy_into(vectors[BEST_X], vectors[point])
    copy_into(vectors[BEST_GRADIENT], vectors[gradient])


def _set_found(numbers, point, gradient, value, norm):
    """End a line search at the point in row `point`, with the gradient in row `gradient`."""
    record = numbers[0]
    record["is_found"] = 1
    record["found_point"] = point
    record["found_gradient"] = gradient
    record["found_value"] = value
    record["found_norm"] = norm


def _give_up(vectors, numbers):
    """End a line search without a point that will do: at the best one, with another direction, or for good."""
    record = numbers[0]
    if record["best_value"] < record["value"]:
        _set_found(numbers, BEST_X, BEST_GRADIENT, record["best_value"], record["best_norm"])
    elif record["remembered"] > 0:
        record["remembered"] = 0
        record["trials"] = 0
    elif record["high_rate"] < np.inf and not math.isfinite(record["high_value"]):
        record["stop"] = _NONFINITE
    else:
        is_small = record["norm"] <= SMALL_NORM * record["largest_norm"]
        record["is_explained"] = is_small and record["promise"] <= _negligible(record, vectors, _EXPLAINED)
        record["stop"] = _PRECISION_LOSS


def _accept(vectors, pairs, numbers, tests):
    """Make what the line search has found the iterate, learn from the step, and see whether to stop."""
    record = numbers[0]
    point, gradient = record["found_point"], record["found_gradient"]
    value, norm = record["found_value"], record["found_norm"]
    record["is_found"] = 0
    remember(vectors, pairs, numbers, point, gradient)
    decrease = record["value"] - value
    size = max(abs(record["value"]), abs(value), 1.0)
    copy_into(vectors[X], vectors[point])
    copy_into(vectors[GRADIENT], vectors[gradient])
    record["value"] = value
    record["norm"] = norm
    record["largest_norm"] = max(record["largest_norm"], norm)
    record["learning_rate"] = record["rate"]
    record["iterations"] += 1
    record["trials"] = 0
    if norm <= tests.gtol:
        record["stop"] = _GRADIENT_STOP
    elif value <= tests.f_target:
        record["stop"] = _TARGET
    elif tests.ftol >= 0.0 and decrease <= tests.ftol * size:
        record["stop"] = _FTOL
    elif record["iterations"] - record["best_iteration"] >= tests.patience:
        record["stop"] = _PATIENCE


_negligible = jit.scalar(_negligible)
_level = jit.scalar(_level)
_keep_best = jit.scalar(_keep_best)
_set_found = jit.scalar(_set_found)
_give_up = jit.scalar(_give_up)
_promise_of_metric = jit.scalar(_promise_of_metric)
_slope_within_bounds = jit.scalar(_slope_within_bounds)
_slope_at_trial = jit.scalar(_slope_at_trial)
_place_trial = jit.scalar(_place_trial)
_aim = jit.scalar(_aim)
_set_first_steps = jit.scalar(_set_first_steps)
open_run = jit.kernel(_open_run, *SOURCES)
_propose = jit.kernel(_propose, *SOURCES, is_inlined=True)
_digest = jit.kernel(_digest, *SOURCES, is_inlined=True)
_accept = jit.kernel(_accept, *SOURCES, is_inlined=True)
