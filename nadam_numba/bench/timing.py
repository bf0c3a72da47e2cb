"""Interleaved timing, and what is told of the samples."""

import math
import statistics
import time
from typing import NamedTuple


class Effort(NamedTuple):
    """How much is measured.

    Attributes
    ----------
    sample_seconds : float
        A sample repeats a step until it takes at least this long.
    case_seconds : float
        Rounds are made for about this long.
    fewest, most : int
        Rounds, whatever they take.
    pause : float
        Seconds before each sample. Threads of GNU OpenMP spin for some milliseconds after their work, on the cores that
        the next contender needs.
    """

    sample_seconds: float
    case_seconds: float
    fewest: int
    most: int
    pause: float


FULL = Effort(5e-3, 6.0, 5, 21, 0.01)
QUICK = Effort(1e-3, 0.3, 3, 7, 0.005)


def calls_per_sample(run, sample_seconds, multiple=1, clock=time.perf_counter):
    """How many steps take at least `sample_seconds`, and how long they took.

    Parameters
    ----------
    run : function
        ``run(calls)`` makes so many steps.
    sample_seconds : float
    multiple : int
        The number is one of its multiples.
    clock : function

    Returns
    -------
    calls : int
    seconds : float
    """
    calls = multiple
    while True:
        begin = clock()
        run(calls)
        seconds = clock() - begin
        if seconds >= sample_seconds:
            return calls, seconds
        # The first calls are slower than the rest: what they promise is not believed beyond a factor of ten.
        factor = min(10.0, max(2.0, 1.2 * sample_seconds / seconds if seconds > 0.0 else 10.0))
        calls = multiple * math.ceil(factor * calls / multiple)


def rounds_for(seconds_of_round, effort):
    """How many rounds fit into the time for a case."""
    wanted = int(effort.case_seconds / seconds_of_round) if seconds_of_round > 0.0 else effort.most
    return max(effort.fewest, min(effort.most, wanted))


def interleave(runs, calls, rounds, pause=0.0, clock=time.perf_counter, sleep=time.sleep):
    """Time all contenders in turn, A B C A B C ..., so that what slows the machine slows them all.

    Parameters
    ----------
    runs : list of function
        ``run(calls)`` makes so many steps, and returns when they are done.
    calls : list of int
        For each, the steps of a sample.
    rounds : int
    pause : float
        Seconds before each sample.
    clock, sleep : function

    Returns
    -------
    list of list of float
        For each contender, and each round, the seconds of a step.
    """
    samples = [[] for _ in runs]
    for _ in range(rounds):
        for run, count, column in zip(runs, calls, samples, strict=True):
            if pause:
                sleep(pause)
            run(1)  # else it would matter who has had the processor's caches before
            begin = clock()
            run(count)
            column.append((clock() - begin) / count)
    return samples


def summarise(samples, ours):
    """Of each contender's samples: median, minimum, and the ratio to ours.

    Parameters
    ----------
    samples : list of list of float
        As from `interleave`.
    ours : int
        Which of them is ours.

    Returns
    -------
    list of dict
        ``median`` and ``minimum`` in seconds; ``ratio``, the median of the ratios of the rounds, in each of which both
        have seen the same machine; ``spread``, the lower and upper quartile of these; and ``rounds``.
    """
    return [_summary(column, samples[ours]) for column in samples]


def _summary(column, ours):
    ratios = [theirs / our for theirs, our in zip(column, ours, strict=True)]
    return {
        "median": statistics.median(column),
        "minimum": min(column),
        "ratio": statistics.median(ratios),
        "spread": _quartiles(ratios),
        "rounds": len(column),
    }


def _quartiles(numbers):
    if len(numbers) == 1:
        return [numbers[0], numbers[0]]
    lower, _, upper = statistics.quantiles(numbers, n=4, method="inclusive")
    return [lower, upper]
