"""All solvers on all cases of the problems."""

import functools
import multiprocessing

import numpy as np
from scipy.optimize import Bounds

from ..problems import more_garbow_hillstrom, nist_strd
from . import peers, solvers
from .cases import Case, make_box, make_cases, make_units
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


def run_all(places, seeds, processes=None, progress=iter):
    """Run the solvers on every case of the problems at `places`.

    Parameters
    ----------
    places : sequence of int
        Of the problems in the list.
    seeds : int
        How many random units each problem is seen in.
    processes : int, optional
        As many as there are cores by default.
    progress : callable
        Takes and returns an iterable over the problems.

    Returns
    -------
    dict
        Of what can be written as JSON: "problems"; "cases"; the "lowest" value of each problem without bounds and with;
        and for each solver and case the "evaluations" that reach each tolerance, None where there is nothing to tell,
        infinity where it is not reached.
    """
    found = _map(_run_problem, [(place, seeds) for place in places], processes, progress)
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
        "lowest": [lowest for _, lowest, _ in found],
        "evaluations": {"lowest": {}, "published": {}},
        "errors": [error for _, _, errors in found for error in errors],
    }
    results["cases"] = [
        [number, case.is_bounded, case.units, case.seed]
        for number, (rows, _, _) in enumerate(found)
        for case, _ in rows
    ]
    _file(results, [costs for rows, _, _ in found for _, costs in rows])
    return results


def run_peers(results, places, packages, processes=None, progress=iter):
    """Add what the peers need to reach the values that `run_all` has found."""
    tasks = [(place, tuple(packages), results["lowest"][number][0]) for number, place in enumerate(places)]
    found = _map(_run_problem_with_peers, tasks, processes, progress)
    by_case = [found[number].get(Case(places[number], *described), {}) for number, *described in results["cases"]]
    _file(results, by_case)


def keep_peers(results, before):
    """Add the peers of `before`, unless they were measured in other cases or against other values; False if so."""
    rows = {
        reference: {name: column for name, column in columns.items() if peers.is_peer(name)}
        for reference, columns in before["evaluations"].items()
    }
    if not any(rows.values()):
        return True
    if _what_peers_rest_on(results) != _what_peers_rest_on(before):
        return False
    for reference, columns in rows.items():
        results["evaluations"][reference].update(columns)
    results["versions"] = {**before["versions"], **results["versions"]}
    return True


def _what_peers_rest_on(results):
    return results["problems"], results["cases"], [unbounded for unbounded, _ in results["lowest"]]


def _map(function, tasks, processes, progress):
    if processes == 1:
        return list(progress(map(function, tasks)))
    # Not forked: the parent may have threads.
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        return list(progress(pool.imap(function, tasks)))


def _file(results, costs_of_cases):
    """Turn costs by case into columns by solver."""
    for place, costs in enumerate(costs_of_cases):
        for reference, by_solver in costs.items():
            columns = results["evaluations"][reference]
            for name, evaluations in by_solver.items():
                columns.setdefault(name, [None] * len(costs_of_cases))[place] = evaluations


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
    """The costs of all solvers in all cases of one problem, the lowest values, and the exceptions of solvers."""
    place, seeds = task
    problem = all_problems()[place]
    cases = [case._replace(problem=place) for case in make_cases(1, seeds)]
    histories, errors, minimisers, box = {}, [], [], None
    for case in cases:
        if case.is_bounded and box is None:
            box = boxes(place, minimisers)
        histories[case] = {}
        for solver in solvers.solvers_for(case.is_bounded):
            recorder, error = _record(solver, problem, case, box if case.is_bounded else None)
            histories[case][solver.name] = recorder.history
            if error:
                errors.append(f"{problem.name}, {solver.name}: {error}")
            if not case.is_bounded and case.units == "own" and solver.name in _MINIMISERS_BY:
                minimisers.append((recorder.best_value, recorder.best_x))
    lowest = [
        min(
            float(history.values[-1])
            for case in cases
            if case.is_bounded == is_bounded
            for history in histories[case].values()
            if history.values.size
        )
        for is_bounded in (False, True)
    ]
    return [(case, _costs(case, histories[case], lowest[case.is_bounded])) for case in cases], lowest, errors


def _run_problem_with_peers(task):
    """The costs of the peers in the cases of one problem in which they take part."""
    place, packages, lowest = task
    found = {}
    for case in (Case(place, False, "own", 0), Case(place, False, "rescaled", 0)):
        histories = {
            solver.name: _record(solver, all_problems()[place], case, None)[0].history
            for solver in peers.solvers_for(packages)
        }
        found[case] = _costs(case, histories, lowest)
    return found


def _record(solver, problem, case, box):
    units = make_units(case, problem)
    recorder = Recorder(
        lambda x: problem.objective(x, *problem.args), units, box, min(BUDGETS[-1], solver.largest_budget)
    )
    z0 = units.to_solver(problem.x0)
    return recorder, solvers.run(solver, recorder, z0, scipy_bounds(units, box), BUDGETS[-1])


def _costs(case, histories, lowest):
    """Evaluations of each solver to reach each tolerance, relative to the lowest value found and to the published."""
    problem = all_problems()[case.problem]
    start_value = problem.objective(problem.x0, *problem.args)[0]
    references = {"lowest": lowest}
    if not case.is_bounded and not np.isnan(problem.minimum):
        references["published"] = problem.minimum
    return {
        name: {
            solver: [
                evaluations_to_reach(history, target_value(start_value, reference, tolerance))
                for tolerance in TOLERANCES
            ]
            for solver, history in histories.items()
        }
        for name, reference in references.items()
    }
