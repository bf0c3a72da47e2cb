"""SciPy's L-BFGS-B from the point where a run has ended."""

import time

import numpy as np

from nadam_numba.minimize.objective import evaluated
from nadam_numba.minimize.result import Stop, count_values

# After these there is nothing left to do, or the user wanted an end.
_FINAL = {
    Stop.EVALUATION_LIMIT,
    Stop.TIME_LIMIT,
    Stop.INTERRUPTED,
    Stop.CALLBACK,
    Stop.UNBOUNDED,
    Stop.NONFINITE,
    Stop.ROUGH,
    Stop.WRONG_GRADIENT,
}


class _LimitReached(Exception):
    """No evaluation is left, or no time."""


def polish(result, stop, objective, state, lower, upper, maxfev, deadline):
    """Overwrite the fields of `result` by those of a lower point that L-BFGS-B finds, and count its evaluations.

    Parameters
    ----------
    result : OptimizeResult
        Of the run.
    stop : Stop
        How the run ended.
    objective : Objective
    state : NamedTuple
        As `state` describes it; its counts go on.
    lower, upper : ndarray, shape (n,), or None
    maxfev : int
        Largest number of calls of the objective, together with those of the run.
    deadline : float
        Value of `time.perf_counter` at which the time is over.
    """
    if stop in _FINAL or not np.isfinite(result.fun) or result.x.size == 0:
        return
    from scipy.optimize import Bounds
    from scipy.optimize import minimize as scipy_minimize

    record, value_before = state.numbers[0], result.fun
    gradient = np.empty_like(result.x)
    per_gradient = objective.values_per_gradient

    def value_and_gradient(x):
        if np.array_equal(x, result.x):  # where it begins
            return result.fun, result.jac.astype(np.float64)
        if count_values(record, per_gradient) + 1 + per_gradient > maxfev or time.perf_counter() >= deadline:
            raise _LimitReached
        point = x.astype(result.x.dtype)
        value, has_gradient = evaluated(objective, point, gradient, np.inf)
        record["values"] += 1
        record["gradients"] += has_gradient
        if not has_gradient:
            gradient.fill(np.nan)
        if value < result.fun and np.all(np.isfinite(gradient)) and _is_inside(point, lower, upper):
            result.x, result.fun, result.jac = point, value, gradient.copy()
        return value, gradient.astype(np.float64)

    bounds = None if lower is None else Bounds(lower, upper)
    message, is_converged = "stopped at a limit of this run", False
    try:
        polished = scipy_minimize(value_and_gradient, result.x, jac=True, method="L-BFGS-B", bounds=bounds)
        message, is_converged = polished.message, polished.success
    except _LimitReached:
        pass
    except KeyboardInterrupt:
        message = "interrupted from the keyboard"
        result.status, result.success = Stop.INTERRUPTED.status, False
    # Where the run has lost its way, to stay is no success.
    if is_converged and (result.fun < value_before or stop is not Stop.PRECISION_LOSS):
        result.status, result.success = 0, True
    result.message = f"{result.message} Polished by L-BFGS-B: {message}"
    result.nfev = count_values(record, per_gradient)
    result.njev = int(record["gradients"])


def _is_inside(x, lower, upper):
    return lower is None or bool(np.all((lower <= x) & (x <= upper)))
