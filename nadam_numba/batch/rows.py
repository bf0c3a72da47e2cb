"""Rows of a batch solved one after the other in compiled code, which is compiled once for all objectives of a type.

The user's functions are compiled apart, with their own flags, and called by their addresses: see `jit.address_driver`.
An exception of theirs ends the call, which goes on from the next row when it is made again.
"""

import functools
from typing import NamedTuple

import numba
import numpy as np
from numba.extending import overload

from nadam_numba import jit
from nadam_numba.minimize import differences, objective, returned, whole
from nadam_numba.minimize.addresses import Functions, functions_at, holds_a_function
from nadam_numba.minimize.bounds import count_free
from nadam_numba.minimize.differences import Differences
from nadam_numba.minimize.objective import evaluate_complex_step
from nadam_numba.minimize.result import Stop

_RUNNING, _PRECISION_LOSS = Stop.RUNNING.code, Stop.PRECISION_LOSS.code

# Places in `Rows.progress`: how many rows are done, and whether the next one waits for Python to end it.
DONE, IS_SUSPENDED = range(2)

# What is bound to `solve_rows`.
_evaluate = _run = _fit = None


class Rows(NamedTuple):
    """Some rows of a batch, and where one thread stands with them."""

    indices: np.ndarray
    progress: np.ndarray
    signal: np.ndarray  # of all threads: the code of a `Stop` that ends their runs


def solve_rows(fun, jac, args, batch_args, x0s, lower, upper, row_lower, row_upper, state, plan, limits, rows, outcome):
    """Minimise for row after row, until all are done, one wants an end that Python has to find, or a signal comes.

    The names `_evaluate`, `_run` and `_fit` are bound: see `solver_for`.

    Parameters
    ----------
    fun, jac, args
        Of an `Objective`, whose args follow those of the row.
    batch_args : tuple of ndarrays, shape (B, ...)
    x0s : ndarray, shape (B, n)
    lower, upper : ndarray, shape (n,), or None
        The bounds of all rows; or room for those of a row.
    row_lower, row_upper : ndarray, shape (B, n), or None
    state, plan : NamedTuple of arrays
        Of the run: see `whole`.
    limits : Limits
    rows : Rows
    outcome : Outcome
        Is filled.
    """
    point = state.x
    progress, signal = rows.progress, rows.signal
    progress[IS_SUSPENDED] = 0
    for k in range(progress[DONE], rows.indices.size):
        if signal[0] != _RUNNING:
            return
        row = rows.indices[k]
        for i in range(point.size):
            point[i] = x0s[row, i]
        if row_lower is not None:
            for i in range(point.size):
                lower[i], upper[i] = row_lower[row, i], row_upper[row, i]
        row_jac, free = _fit(jac, lower, upper, point.size)
        stop = _run(fun, row_jac, row_of(batch_args, row) + args, state, plan, lower, upper, free, limits, signal)
        if stop == _PRECISION_LOSS:
            progress[IS_SUSPENDED] = 1
            return
        store(outcome, row, state, limits.values_per_variable * free, stop)
        if limits.values_per_variable > 0:
            hide_fixed(outcome, row, lower, upper)
        progress[DONE] = k + 1


def _store(outcome, row, state, values_per_gradient, stop):
    """Write down how the run of a row has ended."""
    record = state.numbers[0]
    for i in range(outcome.x.shape[1]):
        outcome.x[row, i] = state.best_x[i]
        outcome.jac[row, i] = state.best_gradient[i]
    outcome.fun[row] = record["best_value"]
    outcome.nit[row] = record["iterations"]
    outcome.nfev[row] = record["values"] + values_per_gradient * record["gradients"]
    outcome.njev[row] = record["gradients"]
    outcome.stop[row] = stop


def _hide_fixed(outcome, row, lower, upper):
    """Take away the derivatives by variables that bounds fix, along which no differences are taken."""
    if lower is not None:
        for i in range(lower.size):
            if lower[i] == upper[i]:
                outcome.jac[row, i] = np.nan


store, hide_fixed = jit.kernel(_store), jit.scalar(_hide_fixed)


def row_of(arrays, row):
    """The entries of several arrays in one row."""
    return tuple(array[row] for array in arrays)


@overload(row_of)
def _compiled_row_of(arrays, row):
    if len(arrays) == 0:
        return lambda arrays, row: ()
    return lambda arrays, row: (arrays[0][row], *row_of(arrays[1:], row))


def _fit_exact(jac, lower, upper, size):
    """The gradient's function as it is, and how many variables are free."""
    return jac, count_free(lower, upper, size)


def _fit_differences(jac, lower, upper, size):
    """The data of differences within the bounds of a row, and how many variables are free; `jac` gives the room."""
    free = 0
    for i in range(size):
        if lower is not None:
            jac.lower[i], jac.upper[i] = lower[i], upper[i]
        if jac.lower[i] != jac.upper[i]:
            jac.free[free] = i
            free += 1
    return Differences(jac.lower, jac.upper, jac.relative_step, jac.free[:free]), free


_fit_exact = jit.scalar(_fit_exact, makes_arrays=True)
fit_differences = jit.scalar(_fit_differences, makes_arrays=True)


def functions_for(objective, x, args):
    """Compile the user's functions for the types of x and of a row's args.

    Parameters
    ----------
    objective : Objective
        With compiled functions.
    x : ndarray, shape (n,)
    args : tuple
        Of a row, with those of all rows.

    Returns
    -------
    Functions or None
        None if the functions return what compiled code cannot read.

    Raises
    ------
    numba.NumbaError
        If they do not compile.
    """
    evaluate, fun, jac, _ = objective.compiled
    if objective.evaluate is evaluate_complex_step:  # calls the function at points of two types
        return Functions(evaluate, jit.present(fun), jac, (fun,))
    return functions_at(objective.evaluate, fun, jac, numba.typeof(x).dtype, tuple(map(numba.typeof, args)))


def solver_for(functions, run, arguments):
    """`solve_rows` compiled for functions of these types, or taken from the cache on disk.

    Parameters
    ----------
    functions : Functions
    run : function
        Of `whole`.
    arguments : tuple
        Of `solve_rows`.
    """
    signature = tuple(map(numba.typeof, arguments))
    has_addresses = isinstance(functions.fun, int)
    is_shared = has_addresses and not any(map(holds_a_function, signature[2].types))
    return _solver(functions.evaluate, run, signature, _is_differences(signature[1]), is_shared)


def _is_differences(kind):
    return getattr(kind, "instance_class", None) is Differences


@functools.cache
def _solver(evaluate, run, signature, has_differences, is_shared):
    fit = fit_differences if has_differences else _fit_exact
    bound = {"_evaluate": evaluate, "_run": whole.compiled(run, evaluate), "_fit": fit}
    if is_shared:
        return jit.address_driver(solve_rows, signature, *_SOURCES, nogil=True, **bound)
    return numba.njit(nogil=True)(jit.bind(solve_rows, **bound))


_SOURCES = *whole.SOURCES, whole, differences, objective, returned
