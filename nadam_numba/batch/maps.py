"""Batches by a function like `map`: chunks of rows for processes, threads, or the machines of a cluster."""

import functools
import math
import os
import time

from nadam_numba.batch.compiled import compile_functions, make_objective_of_rows, solve_in_threads
from nadam_numba.batch.problem import Watch, keep_exception, make_outcome, slice_rows
from nadam_numba.batch.serial import solve_one_by_one
from nadam_numba.minimize.result import Stop
from nadam_numba.minimize.workers import apply

# The rows go out in waves of so many chunks for each core here, as nobody tells how many workers there are; between
# waves the clock is looked at, and the progress shown. Chunks grow until a wave takes so long.
_CHUNKS_PER_CORE = 8
_WAVE_SECONDS = 2.0
_LARGEST_CHUNK = 2**14


def solve_by_map(problem, map_function, outcome, exceptions, watch):
    """Solve all rows of a batch.

    Parameters
    ----------
    problem : Problem
    map_function : callable
        ``map_function(function, iterable)``.
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
    count, chunk, done = len(problem.x0s), 1, 0
    chunks_per_wave = _CHUNKS_PER_CORE * (os.cpu_count() or 1)
    while done < count:
        begin = time.perf_counter()
        if begin >= watch.deadline:
            return Stop.TIME_LIMIT
        chunk = min(chunk, max(math.ceil((count - done) / chunks_per_wave), 1))
        ends = range(done, min(done + chunks_per_wave * chunk, count), chunk)
        parts = [slice_rows(problem, first, min(first + chunk, count)) for first in ends]
        try:
            function = functools.partial(solve_part, seconds=watch.deadline - begin)
            results = apply(map_function, function, parts, len(parts))
        except KeyboardInterrupt:
            return Stop.INTERRUPTED
        for first, (part, part_exceptions) in zip(ends, results, strict=True):
            for whole, piece in zip(outcome, part, strict=True):
                whole[first : first + len(piece)] = piece
            for row, error in part_exceptions.items():
                keep_exception(exceptions, first + row, error)
            done = first + len(part.fun)
        watch.show(done)
        seconds = time.perf_counter() - begin
        if seconds < _WAVE_SECONDS:
            chunk = min(int(chunk * min(max(_WAVE_SECONDS / seconds, 2), 8)), _LARGEST_CHUNK)
    return None


def solve_part(problem, seconds):
    """The outcome of some rows, and their exceptions: what a worker does, in one thread."""
    outcome, exceptions = make_outcome(problem.x0s), {}
    watch = Watch(time.perf_counter() + seconds, _show_nothing)
    objective = make_objective_of_rows(problem)
    functions = compile_functions(problem, objective)
    if functions is None:
        solve_one_by_one(problem, outcome, exceptions, watch)
    else:
        solve_in_threads(problem, objective, functions, outcome, exceptions, 1, watch)
    return outcome, exceptions


def _show_nothing(done):
    """Show no progress: a worker has nobody to show it to."""
