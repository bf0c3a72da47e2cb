"""Batches of compiled objectives: threads of Python that take rows from a counter and solve them in compiled code.

These threads leave Numba's alone, so that none of its threading layers can abort: batches may run inside each other,
in threads, and in processes however they were started.
"""

import functools
import math
import threading
import time

import numba
import numpy as np

from nadam_numba import jit
from nadam_numba.batch.problem import args_of_row, bounds_of_row, keep_exception
from nadam_numba.batch.rows import DONE, IS_SUSPENDED, Rows, functions_for, solver_for, store
from nadam_numba.minimize import rough, whole
from nadam_numba.minimize.differences import Differences
from nadam_numba.minimize.frontend import gradient_kind
from nadam_numba.minimize.objective import make_objective
from nadam_numba.minimize.result import STOPS, Stop
from nadam_numba.minimize.run import Observer

# A thread takes rows for about so long at a time, and never so many that the others would wait for it in the end.
_CHUNK_SECONDS = 0.02
_SHARE_OF_THE_REST = 0.25
# How often Python looks at the clock, at the keyboard and at the progress.
_LOOK_SECONDS = 0.05


def make_objective_of_rows(problem, row=0):
    """The objective of a row, as if it had no bounds: differences find theirs in each row."""
    return make_objective(
        problem.fun,
        gradient_kind(problem.jac, problem.options),
        args_of_row(problem, row),
        problem.x0s[row],
        relative_step=problem.options.finite_diff_rel_step,
    )


def compile_functions(problem, objective):
    """The functions of `make_objective_of_rows` for `solve_in_threads`; None where that has to be left to Python.

    Raises
    ------
    numba.NumbaError
        If they do not compile for these arguments.
    """
    if objective.compiled is None:
        return None
    *_, args = objective.compiled
    return functions_for(objective, problem.x0s[0], args)


def count_threads(fun, workers):
    """How many threads of Python may call a compiled function."""
    if fun.targetoptions.get("parallel", False):
        return 1  # it has threads of its own, of which some layers allow no more
    if workers is None:
        return numba.get_num_threads() if jit.threads_have_started() else numba.config.NUMBA_NUM_THREADS
    return numba.config.NUMBA_NUM_THREADS if workers == -1 else workers


def solve_in_threads(problem, objective, functions, outcome, exceptions, threads, watch):
    """Solve all rows of a batch.

    Parameters
    ----------
    problem : Problem
    objective : Objective
    functions : Functions
        From `compile_functions`.
    outcome : Outcome
        Is filled.
    exceptions : dict
        Is filled by the exceptions of rows.
    threads : int
    watch : Watch

    Returns
    -------
    Stop or None
        Why it ended before all rows were done.
    """
    count = len(problem.x0s)
    signal = np.zeros(1, np.int64)
    make_worker = functools.partial(_make_worker, problem, objective, functions, outcome, exceptions, signal)
    first = make_worker()  # compiles, here where an exception is the caller's
    threads = max(1, min(threads, count))
    take = _counter(count, threads)
    failures, finished, running, all_ended = [], [0] * threads, [None] * threads, threading.Event()

    def work(number):
        try:
            solve = make_worker() if number else first
            chunk = 1
            while signal[0] == Stop.RUNNING.code and (indices := take(chunk)).size:
                begin = time.perf_counter()
                solve(indices)
                finished[number] += indices.size
                seconds = max(time.perf_counter() - begin, 1e-6)
                chunk = int(min(max(_CHUNK_SECONDS / seconds * indices.size, 1), 4 * chunk))
        except BaseException as error:
            failures.append(error)
            signal[0] = Stop.INTERRUPTED.code
        finally:
            running.pop()
            if not running:
                all_ended.set()

    for number in range(threads):
        threading.Thread(target=work, args=(number,), daemon=True).start()
    try:
        # Not by Thread.join: an interrupt in its midst makes Python 3.11 take a thread for ended that is not.
        while not all_ended.wait(_LOOK_SECONDS):
            watch.show(sum(finished))
            if time.perf_counter() >= watch.deadline:
                signal[0] = Stop.TIME_LIMIT.code
    except KeyboardInterrupt:
        signal[0] = Stop.INTERRUPTED.code
        while running:  # the interrupt may have left the lock of the event taken
            time.sleep(_LOOK_SECONDS)
    watch.show(sum(finished))
    if failures:
        raise failures[0]
    return None if signal[0] == Stop.RUNNING.code else STOPS[signal[0]]


def _counter(count, threads):
    """A function that hands out the rows, each of them once: as many as asked for, fewer towards the end."""
    lock, taken = threading.Lock(), 0

    def take(chunk):
        nonlocal taken
        with lock:
            fair = int((count - taken) * _SHARE_OF_THE_REST / threads)
            begin, taken = taken, min(taken + min(chunk, max(fair, 1)), count)
            return np.arange(begin, taken)

    return take


def _make_worker(problem, objective, functions, outcome, exceptions, signal):
    """A function that solves the rows of some indices, with arrays of its own."""
    x = problem.x0s[0].copy()
    lower, upper = bounds_of_row(problem, 0)
    row_bounds = (problem.lower, problem.upper) if lower is not None and problem.lower.ndim == 2 else (None, None)
    run, state, plan, limits = whole.make_run(objective, problem.switches, problem.options, x)
    jac = functions.jac
    if isinstance(jac, Differences):
        jac = jac._replace(lower=jac.lower.copy(), upper=jac.upper.copy(), free=jac.free.copy())
    *_, args = objective.compiled
    args = args[len(problem.batch_args) :]
    progress = np.zeros(2, np.int64)

    def arguments(indices):
        rows = Rows(indices, progress, signal)
        given = problem.batch_args, problem.x0s, lower, upper, *row_bounds
        return functions.fun, jac, args, *given, state, plan, limits, rows, outcome

    solver = solver_for(functions, run, arguments(np.arange(0)))

    def solve(indices):
        progress[DONE] = 0
        everything = arguments(indices)
        while progress[DONE] < indices.size and signal[0] == Stop.RUNNING.code:
            try:
                solver(*everything)
            except Exception as error:
                row = indices[progress[DONE]]
                keep_exception(exceptions, int(row), error.with_traceback(None))
                _store_failure(problem, row, outcome, state, limits)
                progress[DONE] += 1
                continue
            if progress[IS_SUSPENDED]:
                _end_in_python(problem, indices[progress[DONE]], outcome, exceptions, state, plan, limits, signal)
                progress[DONE] += 1

    return solve


def _store_failure(problem, row, outcome, state, limits):
    """Write down the best point that a row had seen before an exception, or where it began."""
    lower, upper = bounds_of_row(problem, row)
    free = state.x.size if lower is None else int(np.sum(lower != upper))
    if state.numbers["values"][0] > 0:
        store(outcome, row, state, limits.values_per_variable * free, Stop.RAISED.code)
    else:
        outcome.x[row] = state.x
        outcome.stop[row] = Stop.RAISED.code


def _end_in_python(problem, row, outcome, exceptions, state, plan, limits, signal):
    """Find out why the line search of a row has found nothing, and go on as `minimize` does."""
    lower, upper = bounds_of_row(problem, row)
    options = problem.options._replace(gtol=float(plan.gtol[0]))
    objective = make_objective(
        problem.fun,
        gradient_kind(problem.jac, options),
        args_of_row(problem, row),
        state.x,
        lower=lower,
        upper=upper,
        relative_step=options.finite_diff_rel_step,
    )
    observers = [Observer(lambda state: signal[0] != Stop.RUNNING.code, None)]
    bounds = lower, upper
    try:
        state, stop = rough.go_on(
            objective, problem.switches, options, state, *bounds, math.inf, observers, warn=_say_nothing
        )
    except Exception as error:
        keep_exception(exceptions, int(row), error)
        stop = Stop.RAISED
    if stop is Stop.CALLBACK:  # the observer is none of the user's
        stop = STOPS[signal[0]]
    store(outcome, row, state, objective.values_per_gradient, stop.code)
    if lower is not None and not objective.has_exact_gradient:
        outcome.jac[row, lower == upper] = np.nan


def _say_nothing(message, category):
    """Warn of nothing: the status of the row tells it, and a batch has many rows."""
