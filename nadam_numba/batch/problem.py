"""A batch as data: the problems of all rows, and what has become of them."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from nadam_numba.minimize.options import Method, Options
from nadam_numba.minimize.result import Stop

# Beyond so many, exceptions are told by status alone: a batch that fails in all of its rows must not fill the memory.
_MOST_EXCEPTIONS = 10_000


class Problem(NamedTuple):
    """What is to be minimised, checked: row i by ``fun(x, *[a[i] for a in batch_args], *args)`` from ``x0s[i]``.

    `lower` and `upper` are the bounds of all rows, shape (n,), or of each, shape (B, n); None where there are none. No
    row of them is without any bound.
    """

    fun: Callable
    jac: Any
    args: tuple
    batch_args: tuple
    x0s: np.ndarray
    lower: np.ndarray | None
    upper: np.ndarray | None
    switches: Method
    options: Options


class Outcome(NamedTuple):
    """The results, an entry for each row."""

    x: np.ndarray
    fun: np.ndarray
    jac: np.ndarray
    nit: np.ndarray
    nfev: np.ndarray
    njev: np.ndarray
    stop: np.ndarray  # codes of `Stop`; RUNNING where a row has not begun


class Watch(NamedTuple):
    """What looks on from outside: when the time is over, by `time.perf_counter`, and who is told of finished rows."""

    deadline: float
    show: Callable


def make_outcome(x0s):
    """Room for the results of so many rows."""
    count, size = x0s.shape
    numbers = (np.zeros(count, np.int64) for _ in range(3))
    x, jac = np.empty((count, size), x0s.dtype), np.full((count, size), np.nan, x0s.dtype)
    return Outcome(x, np.full(count, np.nan), jac, *numbers, np.zeros(count, np.int8))


def args_of_row(problem, row):
    """The arguments of `fun` in a row, after x."""
    return (*(entries[row] for entries in problem.batch_args), *problem.args)


def bounds_of_row(problem, row):
    """Lower and upper bounds of a row, copies; or None, both."""
    if problem.lower is None:
        return None, None
    is_shared = problem.lower.ndim == 1
    return tuple(np.array(end if is_shared else end[row]) for end in (problem.lower, problem.upper))


def slice_rows(problem, begin, end):
    """The batch of the rows from `begin` to before `end`, without copies."""
    lower, upper = problem.lower, problem.upper
    if lower is not None and lower.ndim == 2:
        lower, upper = lower[begin:end], upper[begin:end]
    batch_args = tuple(entries[begin:end] for entries in problem.batch_args)
    return problem._replace(x0s=problem.x0s[begin:end], batch_args=batch_args, lower=lower, upper=upper)


def select_rows(problem, rows):
    """The batch of some rows alone, whose bounds are those of each row; None if they have none."""
    lower, upper = problem.lower[rows], problem.upper[rows]
    if np.all((lower == -np.inf) & (upper == np.inf)):
        lower, upper = None, None
    batch_args = tuple(
        entries[rows] if isinstance(entries, np.ndarray) else [entries[row] for row in rows]
        for entries in problem.batch_args
    )
    return problem._replace(x0s=problem.x0s[rows], batch_args=batch_args, lower=lower, upper=upper)


def keep_exception(exceptions, row, error):
    """Keep the exception of a row, unless there are too many."""
    if len(exceptions) < _MOST_EXCEPTIONS:
        exceptions[row] = error


def end_early(problem, outcome, stop):
    """Give the rows that have not begun the reason why, and their start for a point."""
    for row in np.flatnonzero(outcome.stop == Stop.RUNNING.code):
        outcome.x[row] = problem.x0s[row]
        outcome.stop[row] = stop.code
