"""What to do where a line search finds nothing: tell noise and kinks from wrong gradients, and go on without it."""

from typing import NamedTuple

import numpy as np

from nadam_numba.minimize import textbook
from nadam_numba.minimize.bounds import clip
from nadam_numba.minimize.options import make_hyperparameters
from nadam_numba.minimize.result import Stop, count_values
from nadam_numba.minimize.run import solve
from nadam_numba.minimize.warn import warn_user
from nadam_numba.schedules import cosine_decay

# Two values at the same point that differ by more, in units of eps times their size, are noise.
_ROUNDING = 100.0
# Steps at which values are held against the gradient, relative to the first step of each variable.
_STEPS = (1.0, 1e-1, 1e-2, 1e-3, 1e-4)
# How far the change of the values may be from what the gradient says of it, as a factor.
_AGREEMENT = 3.0
_LONGEST_SCHEDULE = 10_000


class Diagnosis(NamedTuple):
    """Why a line search found nothing."""

    noise: float  # by how much two values at the same point differ
    is_wrong_gradient: bool


def go_on(objective, switches, options, state, lower, upper, deadline, observers):
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

    Returns
    -------
    state : NamedTuple
        As the module `state` describes it.
    stop : Stop
    """
    try:
        diagnosis = _diagnose(objective, state, lower, upper, options.maxfev)
    except KeyboardInterrupt:
        return state, Stop.INTERRUPTED
    if diagnosis is None or not (diagnosis.noise or objective.has_exact_gradient):
        # Differences are not exact enough to tell more, nor to go on with.
        return state, Stop.PRECISION_LOSS
    if diagnosis.is_wrong_gradient:
        warn_user(
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
    warn_user(
        f"The objective {reason}: line searches are of no use. The run goes on at a learning rate that falls to 0; "
        "give the option `learning_rate` a number or a schedule to choose it yourself.",
        RuntimeWarning,
    )
    state, advance, limit = _prepare(objective, switches, options, state, lower, upper)
    stop = solve(state, advance, limit, deadline, observers)
    if diagnosis.noise:
        _keep_last(state)
    return state, Stop.ROUGH if stop is Stop.ITERATION_LIMIT and limit < options.maxiter else stop


def _diagnose(objective, state, lower, upper, maxfev):
    """Evaluate the objective at the iterate once more, and around it, against what the gradient says.

    None where `maxfev` leaves no room for it.
    """
    record, x, gradient = state.numbers[0], state.x, state.gradient
    scratch = np.empty_like(x)

    def value_at(point):
        value, has_gradient = objective.evaluate(objective.fun, objective.jac, objective.args, point, scratch, -np.inf)
        record["values"] += 1
        record["gradients"] += has_gradient
        return value

    spare = maxfev - count_values(record, objective.values_per_gradient)
    if spare < 1 + 2 * len(_STEPS):
        return None
    value = float(record["value"])
    noise = abs(value_at(x) - value)
    if noise > _ROUNDING * np.finfo(x.dtype).eps * abs(value):
        return Diagnosis(noise, False)
    descent = -np.sign(gradient) * state.first_step
    for step in _STEPS:
        ahead, behind = x + x.dtype.type(step) * descent, x - x.dtype.type(step) * descent
        clip(ahead, lower, upper)
        clip(behind, lower, upper)
        value_ahead, value_behind = value_at(ahead), value_at(behind)
        # At a kink the gradient holds on one side, and under noise over long distances.
        if _agree(value_ahead - value_behind, float(gradient @ (ahead - behind))) or _agree(
            value - value_behind, float(gradient @ (x - behind))
        ):
            return Diagnosis(0.0, False)
    return Diagnosis(0.0, True)


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
        state.x.copy(),
        float(record["value"]),
        state.gradient.copy(),
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
