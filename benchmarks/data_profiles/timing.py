"""What a solve costs: to begin, and for each evaluation with the solver's own work."""

import time
import warnings

import numpy as np

from ..problems.in_numpy import uncompiled
from . import solvers
from .cases import make_cases, make_units
from .study import all_problems, box_of, scipy_bounds

# Of the two solves that are timed: SciPy's methods count iterations, ours evaluations.
_LIMITS = (1, 200)
_REPETITIONS = 5


def seconds_of_solves(places, progress=iter):
    """Time every solver on the problems at `places`, in their own units, with and without bounds.

    A problem's solvers take turns, so that what slows the machine slows them all.

    Returns
    -------
    dict
        ``[kind of objective][solver]``: a list over the problems without bounds, and then with, of seconds to begin and
        seconds for each evaluation.
    """
    times = {"compiled": {}, "NumPy": {}}
    for is_bounded in (False, True):
        for place in progress(places):
            for (kind, name), seconds in _time_problem(place, is_bounded).items():
                times[kind].setdefault(name, {})[is_bounded, place] = seconds
    order = [(is_bounded, place) for is_bounded in (False, True) for place in places]
    return {
        kind: {name: [found.get(key) for key in order] for name, found in by_solver.items()}
        for kind, by_solver in times.items()
    }


def _time_problem(place, is_bounded):
    problem = all_problems()[place]
    box = box_of(place) if is_bounded else None
    bounds = scipy_bounds(make_units(make_cases(1, 0)[0], problem), box)
    objectives = {"compiled": problem.objective, "NumPy": uncompiled(problem.objective)}
    turns = {
        (kind, solver.name): (solver, objective, problem, bounds)
        for kind, objective in objectives.items()
        for solver in solvers.solvers_for(is_bounded)
    }
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        counts = {key: [_count(*turn, limit) for limit in _LIMITS] for key, turn in turns.items()}
        for turn in turns.values():
            _solve(*turn, _LIMITS[0])  # what is compiled at the first call
        samples = [
            {key: [_duration(*turn, limit) for limit in _LIMITS] for key, turn in turns.items()}
            for _ in range(_REPETITIONS)
        ]
    # The least: what else the machine does only adds.
    durations = {key: np.min([sample[key] for sample in samples], axis=0) for key in turns}
    return {key: begin_and_slope(counts[key], durations[key]) for key in turns}


def begin_and_slope(counts, durations):
    """Seconds to begin and for each evaluation, from a short and a long solve."""
    if counts[1] == counts[0]:
        return [0.0, float(durations[1] / counts[1])]
    slope = max(float(durations[1] - durations[0]) / (counts[1] - counts[0]), 0.0)
    begin = max(float(durations[0]) - counts[0] * slope, 0.0)
    return [float(f"{begin:.3e}"), float(f"{slope:.3e}")]


def _count(solver, objective, problem, bounds, limit):
    """How often the solver calls the objective, in Python: the same as where it is compiled."""
    count = 0

    def counted(z, *args):
        nonlocal count
        count += 1
        return objective(z, *args)

    _solve(solver, counted, problem, bounds, limit)
    return count


def _duration(solver, objective, problem, bounds, limit):
    """Of a solve right after one like it: else it would matter who has had the processor's caches before."""
    _solve(solver, objective, problem, bounds, limit)
    begin = time.perf_counter()
    _solve(solver, objective, problem, bounds, limit)
    return time.perf_counter() - begin


def _solve(solver, objective, problem, bounds, limit):
    solver.minimize(objective, problem.x0, problem.args, bounds, limit)
