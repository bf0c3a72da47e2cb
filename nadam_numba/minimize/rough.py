"""What to do where a line search finds nothing: tell noise and kinks from wrong gradients, and go on without it."""

from typing import NamedTuple

import numpy as np

from nadam_numba.minimize import textbook
from nadam_numba.minimize.auto import SMALL_NORM
from nadam_numba.minimize.bounds import clip, projected_norm
from nadam_numba.minimize.objective import evaluated
from nadam_numba.minimize.options import make_hyperparameters
from nadam_numba.minimize.result import Stop, count_values
from nadam_numba.minimize.run import solve
from nadam_numba.minimize.warn import warn_user
from nadam_numba.schedules import cosine_decay

# Two values at the same point that differ by more, in units of eps times their size, are noise.
ROUNDING = 100.0
# Steps at which values are held against the gradient, relative to the first step of each variable.
_STEPS = (1.0, 1e-1, 1e-2, 1e-3, 1e-4)
# How far the change of the values may be from what the gradient says of it, as a factor.
_AGREEMENT = 3.0
_LONGEST_SCHEDULE = 10_000
# How little the gradient says of the rise of the values around a smooth minimum.
_FLAT = 1e-3
# The decrease still to be had, relative to that so far, that rounding of large terms explains.
_RESOLVED = 1e-8


# Values that fall this far below the size of the first one have no bound that their rounding would let tell.
_FALL_WITHOUT_END = 1e30


class Diagnosis(NamedTuple):
    """Why a line search found nothing."""

    noise: float  # by how much two values at the same point differ
    holds_ahead: bool  # whether values change as the gradient says, over some distance
    holds_behind: bool  # whether they do on the way to the point
    is_minimum: bool  # whether values rise on both sides, by far more than the gradient says
    is_complete: bool  # False where `maxfev` has left no room


def go_on(objective, switches, options, state, lower, upper, deadline, observers, warn=warn_user):
    """Find out why a line search of `auto` has found nothing, and go on by the textbook method if that can help.

    Parameters
    ----------
    objective : Objective
    switches : Method
    options : Options
    state : auto_state.State
        Where the run has stopped; its counts go on.
    lower, upper : ndarray, shape (n,), or None
    deadline, observers
        Of `run.solve`.
    warn : callable
        Told what is wrong with the objective, and that this is a RuntimeWarning.

    Returns
    -------
    state : NamedTuple
        As the module `state` describes it.
    stop : Stop
    """
    record = state.numbers[0]
    if record["value"] < -_FALL_WITHOUT_END * max(abs(record["start_value"]), 1.0):
        return state, Stop.UNBOUNDED
    try:
        diagnosis = _diagnose(objective, state, lower, upper, options.maxfev)
    except KeyboardInterrupt:
        return state, Stop.INTERRUPTED
    # Where the gradient is right and the point no kink, what is left to gain can be lost in rounding of large terms.
    decrease = float(record["start_value"]) - float(record["value"])
    is_small = record["norm"] <= SMALL_NORM * record["largest_norm"]
    is_resolved = is_small and diagnosis.holds_ahead and record["promise"] <= _RESOLVED * decrease
    if not diagnosis.noise and (record["is_explained"] or diagnosis.is_minimum or is_resolved):
        return state, Stop.PRECISION
    if not diagnosis.is_complete or not (diagnosis.noise or objective.has_exact_gradient):
        # Differences are not exact enough to tell more, nor to go on with.
        return state, Stop.PRECISION_LOSS
    if not (diagnosis.holds_ahead or diagnosis.holds_behind):
        warn(
            "The objective does not change as its gradient says, at any distance from where the run has stopped: check "
            "the gradient, for instance with scipy.optimize.check_grad.",
            RuntimeWarning,
        )
        return state, Stop.WRONG_GRADIENT
    reason = (
        f"is noisy (two values at the same point differ by {diagnosis.noise:.2g})"
        if diagnosis.noise
        else "does not fall where its gradient points (it has kinks, or noise)"
    )
    warn(
        f"The objective {reason}: line searches are of no use. The run goes on at a learning rate that falls to 0; "
        "give the option `learning_rate` a number or a schedule to choose it yourself.",
        RuntimeWarning,
    )
    start_value = float(record["start_value"])
    state, advance, limit = _prepare(objective, switches, options, state, lower, upper)
    stop = solve(state, advance, limit, deadline, observers)
    if diagnosis.noise and state.numbers["value"][0] <= start_value + diagnosis.noise:
        _keep_last(state)
    return state, Stop.ROUGH if stop is Stop.ITERATION_LIMIT and limit < options.maxiter else stop


def _diagnose(objective, state, lower, upper, maxfev):
    """Evaluate the objective at the iterate once more and, where rounding explains nothing, around it."""
    record, x, gradient = state.numbers[0], state.x, state.gradient
    scratch = np.empty_like(x)

    def value_at(point):
        best = float(record["best_value"])
        value, has_gradient = evaluated(objective, point, scratch, best)
        record["values"] += 1
        record["gradients"] += has_gradient
        if has_gradient and value < best and np.all(np.isfinite(scratch)):
            record["best_value"], record["best_norm"] = value, projected_norm(point, scratch, lower, upper)
            state.best_x[:], state.best_gradient[:] = point, scratch
        return value

    spare = maxfev - count_values(record, objective.values_per_gradient)
    cost = 1 + objective.values_per_gradient
    if spare < cost:
        return Diagnosis(0.0, False, False, False, False)
    value = float(record["value"])
    noise = abs(value_at(x) - value)
    if noise > ROUNDING * np.finfo(x.dtype).eps * abs(value):
        return Diagnosis(noise, True, True, False, True)
    if record["is_explained"] or spare < cost * (1 + 2 * len(_STEPS)):
        return Diagnosis(0.0, False, False, False, False)
    descent = -np.sign(gradient) * state.first_step
    holds_ahead, holds_behind, is_minimum = False, False, False
    for step in _STEPS:
        ahead, behind = x + x.dtype.type(step) * descent, x - x.dtype.type(step) * descent
        clip(ahead, lower, upper)
        clip(behind, lower, upper)
        value_ahead, value_behind = value_at(ahead), value_at(behind)
        holds_ahead |= _agree(value_ahead - value_behind, float(gradient @ (ahead - behind)))
        holds_behind |= _agree(value - value_behind, float(gradient @ (x - behind)))
        rise = min(value_ahead, value_behind) - value
        is_minimum |= rise > 0.0 and abs(float(gradient @ (ahead - x))) <= _FLAT * rise
    return Diagnosis(0.0, holds_ahead, holds_behind, is_minimum, True)


def _agree(change, predicted):
    return predicted != 0.0 and 1.0 / _AGREEMENT <= change / predicted <= _AGREEMENT


def _prepare(objective, switches, options, state, lower, upper):
    """What `solve` takes, to go on from an iterate at a rate that falls from each variable's first step to 0."""
    record = state.numbers[0]
    done = int(record["iterations"])
    steps = min(options.maxiter - done, _LONGEST_SCHEDULE)
    hyper = make_hyperparameters(switches, options, cosine_decay(1.0, max(steps, 1)))
    new, advance = textbook.prepare(
        objective,
        hyper,
        options,
        state.x,
        float(record["value"]),
        state.gradient,
        True,
        lower,
        upper,
        units=state.first_step,
    )
    for name in ("values", "gradients", "iterations", "best_iteration", "best_value", "best_norm"):
        new.numbers[name] = record[name]
    new.numbers["first_iteration"] = done
    new.best_x[:], new.best_gradient[:] = state.best_x, state.best_gradient
    return new, advance, done + steps


def _keep_last(state):
    """Make the last iterate the result: under noise the lowest value is the luckiest, not the best."""
    record = state.numbers[0]
    if np.isfinite(record["value"]) and np.isfinite(record["norm"]):
        record["best_value"], record["best_norm"] = record["value"], record["norm"]
        state.best_x[:], state.best_gradient[:] = state.x, state.gradient
