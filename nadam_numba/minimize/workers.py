"""SciPy's `workers`: a number of processes, or a function like `map`."""

import multiprocessing
import operator
import os
import sys
from collections.abc import Callable
from typing import NamedTuple


class Workers(NamedTuple):
    """What applies a function to several points, and how to let go of it."""

    map: Callable
    close: Callable


def nothing():
    """Close what needs no closing."""


def checked_workers(workers):
    """`workers` as None, a function like `map`, -1 for all cores, or a positive number.

    Raises
    ------
    TypeError, ValueError
        If it is none of these.
    """
    if workers is None or callable(workers):
        return workers
    try:
        number = operator.index(workers)
    except TypeError:
        raise TypeError(
            f"workers={workers!r} is a {type(workers).__name__}: it must be an int or a function like map"
        ) from None
    if number != -1 and number < 1:
        raise ValueError(f"workers={workers!r}: it must be -1 (all cores), at least 1, or a function like map")
    return number


def make_workers(workers):
    """Start what `checked_workers` returned; None for a single process, which is the caller's own."""
    if workers is None or workers == 1:
        return None
    if callable(workers):
        return Workers(workers, nothing)
    pool = multiprocessing.get_context(_start_method()).Pool(None if workers == -1 else workers)

    def close():
        pool.terminate()
        pool.join()

    return Workers(pool.map, close)


def apply(map_function, function, points, count):
    """The `count` results of `function` at `points`, as a list.

    Raises
    ------
    TypeError
        If `map_function` does not take a function and an iterable.
    ValueError
        If it returns another number of results.
    """
    try:
        results = list(map_function(function, points))
    except TypeError as error:
        raise TypeError("The map-like callable must be of the form f(func, iterable)") from error
    if len(results) != count:
        raise ValueError(f"workers={map_function!r} returned {len(results)} results for {count} points")
    return results


def _start_method():
    """The user's choice; without one not fork, Python's own before 3.14, which copies locks that threads hold."""
    method = multiprocessing.get_start_method(allow_none=True)
    if method is None and os.name == "posix" and sys.version_info < (3, 14):
        return "forkserver"
    return method
