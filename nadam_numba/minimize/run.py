"""The run around the loops: goes on in chunks, lets others look on in between, and finds the reason to end.

What a loop offers is a pair, made by its function ``prepare(objective, hyper, options, x, value, gradient,
has_gradient, lower, upper)``, as in `textbook`:

- `state`, a NamedTuple as the module `state` describes it, which stands at the start point and is changed in place;
- ``advance(iterations, evaluations)``, which goes on for at most so many further iterations, and returns soon after
  so many further evaluations, in the midst of an iteration if need be. It ends earlier where a test holds, with the
  code of the reason in ``numbers["stop"]``: gtol, ftol, f_target, patience, maxfev and what is not finite are the
  loop's matter. The limits of iterations and of time, the callback and interrupts are matters of this module.

An observer is a function of the state that is called when the number of iterations has grown. It returns True to stop.
"""

import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from nadam_numba.minimize.result import STOPS, Stop, count_values, optimize_result

# Without an observer of each iteration, a run returns to Python between chunks, where an interrupt from the keyboard
# and the end of the time are noticed. Chunks grow until they take this many seconds, which hides what returning costs.
_CHUNK_SECONDS = 0.05
# So many times longer than the one before is a chunk at most while it is small; then twice, for the evaluations to come
# may be slow, and nobody can interrupt them.
_FASTEST_GROWTH, _SMALL_CHUNK = 16, 1024
_LONGEST_CHUNK = 2**30
# Evaluations of the first chunk at most: those to come may take longer than the one at the start.
_LONGEST_FIRST_CHUNK = 64


class Observer(NamedTuple):
    """A function of the state, and every how many iterations it wants to be called; None for now and then."""

    observe: Callable
    stride: int | None


def solve(state, advance, maxiter, deadline, observers, chunk=1, longest_chunk=None):
    """Advance `state` to its end.

    Parameters
    ----------
    state, advance
        Of a loop.
    maxiter : int
        Largest number of iterations.
    deadline : float
        Value of `time.perf_counter` at which the time is over.
    observers : list of Observer
    chunk : int
        How many evaluations go by before the first return to Python, at least; from what one has taken.
    longest_chunk : int, optional
        How many may go by later.

    Returns
    -------
    Stop
        The reason. An exception of the user's functions propagates, but for KeyboardInterrupt.
    """
    numbers = state.numbers
    strides = [observer.stride for observer in observers if observer.stride]
    stride = int(np.gcd.reduce(strides)) if strides else 0
    longest_chunk = longest_chunk or _LONGEST_CHUNK
    chunk = min(chunk, longest_chunk)
    try:
        while numbers["stop"][0] == Stop.RUNNING.code:
            done = int(numbers["iterations"][0])
            begin = time.perf_counter()
            if done >= maxiter:
                return Stop.ITERATION_LIMIT
            if begin >= deadline:
                return Stop.TIME_LIMIT
            advance(min(maxiter - done, stride - done % stride if stride else maxiter), chunk)
            chunk = min(_next_chunk(chunk, time.perf_counter() - begin), longest_chunk)
            if numbers["iterations"][0] > done and _wants_to_stop(state, observers):
                return Stop.CALLBACK
    except KeyboardInterrupt:
        return Stop.INTERRUPTED
    return STOPS[numbers["stop"][0]]


def first_chunk(seconds):
    """How many evaluations a run may begin with, where the first one took so long."""
    return int(min(max(_CHUNK_SECONDS / max(seconds, 1e-6), 1), _LONGEST_FIRST_CHUNK))


def _next_chunk(chunk, seconds):
    """How many evaluations come next, after so many in so many seconds: more if these were few, and fewer if not."""
    if seconds > _CHUNK_SECONDS:
        return max(chunk // 2, 1)
    if seconds * _FASTEST_GROWTH > _CHUNK_SECONDS:
        return 2 * chunk
    return max(2 * chunk, min(_FASTEST_GROWTH * chunk, _SMALL_CHUNK))


def _wants_to_stop(state, observers):
    """Call the observers whose turn it is, all of them."""
    iterations = state.numbers["iterations"][0]
    wants = [
        observer.observe(state) for observer in observers if not observer.stride or iterations % observer.stride == 0
    ]
    return any(wants)


def callback_observer(callback, values_per_gradient):
    """Show each iterate to a callback made by `callback.make_callback`."""

    def observe(state):
        numbers = state.numbers[0]
        return callback(
            optimize_result(
                x=state.x.copy(),
                fun=float(numbers["value"]),
                jac=state.gradient.copy(),
                nit=int(numbers["iterations"]),
                nfev=count_values(numbers, values_per_gradient),
                njev=int(numbers["gradients"]),
                learning_rate=float(numbers["learning_rate"]),
            )
        )

    return Observer(observe, 1)


def points_observer(points):
    """Append a copy of each iterate to a list."""

    def observe(state):
        points.append(state.x.copy())

    return Observer(observe, 1)


_HISTORY = {"nit": "iterations", "fun": "value", "gradient_norm": "norm", "learning_rate": "learning_rate"}


def history_observer(rows, stride):
    """Append the numbers of every so many iterations to a list, for `make_history`."""

    def observe(state):
        rows.append(_history_row(state))

    return Observer(observe, stride)


def _history_row(state):
    return tuple(state.numbers[name][0] for name in _HISTORY.values())


def make_history(rows, state):
    """The recorded numbers as arrays, and those of the last iteration."""
    last = _history_row(state)
    return _as_columns(rows if rows[-1][0] == last[0] else [*rows, last])


def make_fixed_history(value):
    """The history where the bounds leave no choice."""
    return _as_columns([(0, value, 0.0, np.nan)])


def _as_columns(rows):
    return {name: np.array(column) for name, column in zip(_HISTORY, zip(*rows, strict=True), strict=True)}


def progress_observer(show):
    """Move a bar of `progress.progress_bar`."""

    def observe(state):
        numbers = state.numbers[0]
        show(int(numbers["iterations"]), float(numbers["best_value"]), float(numbers["norm"]))

    return Observer(observe, None)
