"""All solvers on all cases of the problems."""

import functools
import multiprocessing

import numpy as np
from scipy.optimize import Bounds

from ..problems import more_garbow_hillstrom, nist_strd
from . import peers, solvers
from .cases import make_box, make_cases, make_units
from .profiles import evaluations_to_reach, target_value
from .record import Recorder

TOLERANCES = (1e-3, 1e-5, 1e-7)
BUDGETS = (200, 2_000, 20_000)
# By these the box of a problem is made, so that it does not depend on what is measured.
_MINIMISERS_BY = ("BFGS", "L-BFGS-B")
_FIXED_IN_EVERY = 3


@functools.cache
def all_problems():
    """The 35 problems of Moré, Garbow and Hillstrom, then NIST's 27 regressions from both starts of each."""
    return (*more_garbow_hillstrom.problems(), *nist_strd.problems())


def run_all(places, seeds, packages=(), processes=None, progress=iter):
    """Run the solvers on every case of the problems at `places`.

    Parameters
    ----------
    places : sequence of int
        Of the problems in the list.
    seeds : int
        How many random units each problem is seen in.
    packages : sequence of str
        Those of the peers that run too.
    processes : int, optional
        As many as there are cores by default.
    progress : callable
        Takes and returns an iterable over the problems.

    Returns
    -------
    dict
        Of what can be written as JSON: "problems", "cases", and for each solver and case the "evaluations" that reach
        each tolerance, None where there is nothing to tell, infinity where it is not reached.
    """
    tasks = [(place, seeds, tuple(packages)) for place in places]
    if processes == 1:
        found = list(progress(map(_run_problem, tasks)))
    else:
        # Not forked: the parent may have threads.
        with multiprocessing.get_context("spawn").Pool(processes) as pool:
            found = list(progress(pool.imap(_run_problem, tasks)))
    problems = all_problems()
    results = {
        "problems": [
            {
                "name": problems[place].name,
                "n": problems[place].x0.size,
                "zeros": int(np.sum(problems[place].x0 == 0.0)),
            }
            for place in places
        ],
        "cases": [],
        "evaluations": {"lowest": {}, "published": {}},
        "errors": [error for _, errors in found for error in errors],
    }
    for number, (rows, _) in enumerate(found):
        for case, costs in rows:
            results["cases"].append([number, case.is_bounded, case.units, case.seed])
            for reference, by_solver in costs.items():
                for name, evaluations in by_solver.items():
                    column = results["evaluations"][reference].setdefault(name, [])
                    column.extend([None] * (len(results["cases"]) - 1 - len(column)))
                    column.append(evaluations)
    for by_solver in results["evaluations"].values():
        for column in by_solver.values():
            column.extend([None] * (len(results["cases"]) - len(column)))
    return results


def boxes(place, minimisers):
    """The box of the problem at `place`, around the better of SciPy's `minimisers` (value, x)."""
    _, x = min(minimisers, key=lambda found: found[0])
    return make_box(all_problems()[place], x, has_fixed=place % _FIXED_IN_EVERY == 0)


def box_of(place):
    """The box of the problem at `place`, made anew."""
    problem = all_problems()[place]
    case = make_cases(1, 0)[0]._replace(problem=place)
    recorders = [_record(solver, problem, case, None) for solver in solvers.SOLVERS if solver.name in _MINIMISERS_BY]
    return boxes(place, [(recorder.best_value, recorder.best_x) for recorder, _ in recorders])


def scipy_bounds(units, box):
    """A box in the solver's units, as SciPy takes it."""
    return None if box is None else Bounds(units.to_solver(box.lower), units.to_solver(box.upper))


def _run_problem(task):
    """The costs of all solvers in all cases of one problem, and the exceptions that solvers raised."""
    place, seeds, packages = task
    problem = all_problems()[place]
    cases = [case._replace(problem=place) for case in make_cases(1, seeds)]
    start_value = problem.objective(problem.x0, *problem.args)[0]
    histories, errors, minimisers, box = {}, [], [], None
    for case in cases:
        if case.is_bounded and box is None:
            box = boxes(place, minimisers)
        competitors = [*solvers.solvers_for(case.is_bounded), *peers.solvers_for(case, packages)]
        for solver in competitors:
            recorder, error = _record(solver, problem, case, box if case.is_bounded else None)
            histories[case, solver.name] = recorder.history
            if error:
                errors.append(f"{problem.name}, {solver.name}: {error}")
            if not case.is_bounded and case.units == "own" and solver.name in _MINIMISERS_BY:
                minimisers.append((recorder.best_value, recorder.best_x))
    lowest = {
        is_bounded: min(
            history.values[-1]
            for (case, _), history in histories.items()
            if case.is_bounded == is_bounded and history.values.size
        )
        for is_bounded in (False, True)
    }
    return [(case, _costs(case, histories, start_value, lowest[case.is_bounded], problem)) for case in cases], errors


def _record(solver, problem, case, box):
    units = make_units(case, problem)
    recorder = Recorder(
        lambda x: problem.objective(x, *problem.args), units, box, min(BUDGETS[-1], solver.largest_budget)
    )
    z0 = units.to_solver(problem.x0)
    return recorder, solvers.run(solver, recorder, z0, scipy_bounds(units, box), BUDGETS[-1])


def _costs(case, histories, start_value, lowest, problem):
    """Evaluations of each solver to reach each tolerance, relative to the lowest value found and to the published."""
    references = {"lowest": lowest}
    if not case.is_bounded and not np.isnan(problem.minimum):
        references["published"] = problem.minimum
    return {
        name: {
            solver: [
                evaluations_to_reach(history, target_value(start_value, reference, tolerance))
                for tolerance in TOLERANCES
            ]
            for (of, solver), history in histories.items()
            if of == case
        }
        for name, reference in references.items()
    }
