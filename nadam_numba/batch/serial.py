"""Batches of Python objectives: `minimize` for one row after the other."""

import time

import numpy as np

from nadam_numba.batch.problem import args_of_row, bounds_of_row, keep_exception
from nadam_numba.minimize.bounds import clip
from nadam_numba.minimize.frontend import run_from
from nadam_numba.minimize.result import STOPS, Stop

_STOP_OF = {stop.message: stop for stop in STOPS}


def solve_one_by_one(problem, outcome, exceptions, watch):
    """Solve all rows of a batch in this thread.

    Parameters
    ----------
    problem : Problem
    outcome : Outcome
        Is filled.
    exceptions : dict
        Is filled by the exceptions of rows.
    watch : Watch

    Returns
    -------
    Stop or None
        Why it ended before all rows were done.
    """
    for row in range(len(problem.x0s)):
        if time.perf_counter() >= watch.deadline:
            return Stop.TIME_LIMIT
        x = problem.x0s[row].copy()
        lower, upper = bounds_of_row(problem, row)
        clip(x, lower, upper)
        outcome.x[row] = x
        try:
            stop = _solve(problem, row, x, lower, upper, outcome, watch)
        except KeyboardInterrupt:
            stop = Stop.INTERRUPTED
        except Exception as error:
            keep_exception(exceptions, row, error)
            stop = Stop.RAISED
        outcome.stop[row] = stop.code
        if stop is Stop.INTERRUPTED:
            return stop
        watch.show(row + 1)
    return None


def _solve(problem, row, x, lower, upper, outcome, watch):
    result = run_from(
        x,
        problem.fun,
        problem.jac,
        args_of_row(problem, row),
        problem.switches,
        problem.options,
        lower,
        upper,
        watch.deadline,
        warn=_say_nothing,
    )
    outcome.x[row] = result.x
    outcome.fun[row] = result.fun
    outcome.jac[row] = result.get("jac", np.nan)
    outcome.nit[row], outcome.nfev[row], outcome.njev[row] = result.nit, result.nfev, result.njev
    return _STOP_OF[result.message]


def _say_nothing(message, category):
    """Warn of nothing: the status of the row tells it, and a batch has many rows."""
