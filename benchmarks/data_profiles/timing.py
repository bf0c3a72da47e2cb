"""What an evaluation costs in a solve, with the solver's own work."""

import time
import warnings

import numpy as np

from ..problems.in_numpy import uncompiled
from . import solvers
from .cases import make_cases, make_units
from .study import all_problems, box_of, scipy_bounds

# Solves that are timed end here: SciPy's methods count iterations, ours evaluations.
_LIMIT = 200
_REPETITIONS = 5


def seconds_per_evaluation(places, progress=iter):
    """Time every solver on the problems at `places`, in their own units, with and without bounds.

    A problem's solvers take turns, so that what slows the machine slows them all.

    Returns
    -------
    dict
        ``[kind of objective][solver]``: a list over the problems without bounds, and then with, of seconds.
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
        counts = {key: _count(*turn) for key, turn in turns.items()}
        for turn in turns.values():
            _solve(*turn)  # what is compiled at the first call
        samples = [{key: _duration(*turn) for key, turn in turns.items()} for _ in range(_REPETITIONS)]
    # The least: what else the machine does only adds.
    return {key: float(f"{min(sample[key] for sample in samples) / counts[key]:.3e}") for key in turns}


def _count(solver, objective, problem, bounds):
    """How often the solver calls the objective, in Python: the same as where it is compiled."""
    count = 0

    def counted(z, *args):
        nonlocal count
        count += 1
        return objective(z, *args)

    _solve(solver, counted, problem, bounds)
    return count


def _duration(solver, objective, problem, bounds):
    """Of a solve right after one like it: else it would matter who has had the processor's caches before."""
    _solve(solver, objective, problem, bounds)
    begin = time.perf_counter()
    _solve(solver, objective, problem, bounds)
    return time.perf_counter() - begin


def _solve(solver, objective, problem, bounds):
    solver.minimize(objective, problem.x0, problem.args, bounds, _LIMIT)
