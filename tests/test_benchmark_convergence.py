"""The benchmark of convergence: how it counts, what it calls solved, the cases that it makes, and a run of it."""

import argparse
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest
from scipy.optimize import rosen, rosen_der

# At the end, where the checkout does not hide an installed nadam_numba.
sys.path.append(str(pathlib.Path(__file__).parents[1]))

from benchmarks import convergence
from benchmarks.data_profiles import peers, solvers, study, tables, timing
from benchmarks.data_profiles.cases import Box, Case, Units, make_box, make_cases, make_units
from benchmarks.data_profiles.profiles import (
    data_profile,
    evaluations_to_reach,
    halves,
    share_solved,
    target_value,
)
from benchmarks.data_profiles.record import BudgetSpent, History, Recorder
from benchmarks.problems.in_numpy import uncompiled

PROBLEMS = study.all_problems()


def history(*improvements):
    evaluations, values = zip(*improvements, strict=True) if improvements else ((), ())
    return History(np.array(evaluations, int), np.array(values, float))


def in_own_units(n):
    return Units(np.zeros(n), np.ones(n))


def replay(values, box=None, budget=10):
    """A recorder that has been asked for these values, at the points 1, 2, ..."""
    remaining = iter(values)
    recorder = Recorder(lambda x: (next(remaining), np.ones(1)), in_own_units(1), box, budget)
    for place in range(len(values)):
        recorder(np.array([place + 1.0]))
    return recorder


def test_target_is_that_of_more_and_wild():
    assert target_value(110.0, 10.0, 0.1) == pytest.approx(20.0)
    assert target_value(3.0, -1.0, 1e-3) == pytest.approx(-1.0 + 4e-3)


def test_evaluations_to_reach_counts_to_the_first_value_at_the_target():
    found = history((1, 9.0), (4, 3.0), (7, 2.0))
    assert evaluations_to_reach(found, 9.0) == 1
    assert evaluations_to_reach(found, 8.9) == 4
    assert evaluations_to_reach(found, 2.0) == 7
    assert evaluations_to_reach(found, 1.9) == np.inf
    assert evaluations_to_reach(history(), 1.9) == np.inf


def test_profile_steps_where_a_problem_is_solved_and_ends_at_the_share_solved():
    costs = [5.0, np.inf, 2.0, 5.0]
    moments, shares = data_profile(costs)
    np.testing.assert_array_equal(moments, [2.0, 5.0, 5.0])
    np.testing.assert_array_equal(shares, [0.25, 0.5, 0.75])
    assert [share_solved(costs, budget) for budget in (1, 2, 5, 100)] == [0.0, 0.25, 0.75, 0.75]


def test_halves_keep_the_starts_of_one_problem_together():
    first, second = halves(["A", "B", "C, start 1", "C, start 2", "D, start 1", "D, start 2"])
    assert first.tolist() == [0, 2, 3]
    assert second.tolist() == [1, 4, 5]


def test_recorder_counts_every_call_and_keeps_improvements():
    recorder = replay([5.0, 6.0, 4.0, 4.0, 3.0])
    assert recorder.count == 5
    assert recorder.history.evaluations.tolist() == [1, 3, 5]
    assert recorder.history.values.tolist() == [5.0, 4.0, 3.0]
    assert recorder.best_value == 3.0
    assert recorder.best_x.tolist() == [5.0]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_no_improvement(value):
    recorder = replay([value, 5.0, value])
    assert recorder.history.evaluations.tolist() == [2]
    assert recorder.count == 3


def test_points_outside_the_bounds_are_no_improvement():
    box = Box(np.array([-np.inf]), np.array([2.0]))
    recorder = replay([5.0, 4.0, 3.0], box)
    assert recorder.history.evaluations.tolist() == [1, 2]
    assert recorder.count == 3


def test_budget_ends_a_run_before_a_further_evaluation():
    with pytest.raises(BudgetSpent):
        replay([3.0, 2.0, 1.0], budget=2)


def test_recorder_differentiates_by_the_solvers_variables():
    units = Units(np.array([1.0, 2.0]), np.array([10.0, 1e-3]))
    recorder = Recorder(lambda x: (rosen(x), rosen_der(x)), units, None, 10)
    z = np.array([0.3, 400.0])
    value, gradient = recorder(z)
    assert value == rosen([4.0, 2.4])
    for i in range(2):
        step = 1e-6 * abs(z[i]) * np.eye(2)[i]
        difference = (recorder(z + step)[0] - recorder(z - step)[0]) / (2.0 * step[i])
        assert gradient[i] == pytest.approx(difference, rel=1e-6)


def test_cases_are_all_combinations():
    cases = make_cases(2, 3)
    assert len(cases) == len(set(cases)) == 2 * 2 * 5
    assert [case.seed for case in cases if case[:3] == (1, True, "rescaled")] == [0, 1, 2]


@pytest.mark.parametrize("problem", PROBLEMS, ids=lambda problem: problem.name)
def test_units_are_reproducible_and_lead_back_to_the_start(problem):
    for units in ("own", "rescaled", "from zero"):
        case = Case(0, False, units, 1)
        made, again = make_units(case, problem), make_units(case, problem)
        np.testing.assert_array_equal(made.factors, again.factors)
        z0 = made.to_solver(problem.x0)
        np.testing.assert_allclose(made.to_problem(z0), problem.x0, rtol=1e-15)
        assert np.all((made.factors >= 1e-3) & (made.factors <= 1e3))
        assert not z0.any() if units == "from zero" else np.array_equal(z0 == 0.0, problem.x0 == 0.0)
    factors = [make_units(Case(0, False, "rescaled", seed), problem).factors for seed in (0, 1)]
    assert not np.array_equal(*factors)


@pytest.mark.parametrize("problem", PROBLEMS, ids=lambda problem: problem.name)
@pytest.mark.parametrize("has_fixed", [False, True])
def test_boxes_hold_the_start_and_cut_the_minimiser_off_in_a_third(problem, has_fixed):
    x0 = problem.x0
    way = 0.5 * np.arange(1, x0.size + 1) * (-1.0) ** np.arange(x0.size)
    minimiser = x0 + way
    box = make_box(problem, minimiser, has_fixed)
    fixed = box.lower == box.upper
    assert fixed.sum() == (has_fixed and x0.size >= 3)
    np.testing.assert_array_equal(box.lower[fixed], x0[fixed])
    assert np.all((box.lower < x0) & (x0 < box.upper) | fixed)
    outside = (minimiser < box.lower) | (minimiser > box.upper)
    assert (outside & ~fixed).sum() == max(1, round(x0.size / 3))
    again = make_box(problem, minimiser + 1e-9 * way, has_fixed)
    np.testing.assert_array_equal(box, again)


@pytest.mark.parametrize("problem", PROBLEMS, ids=lambda problem: problem.name)
def test_objectives_without_the_compiler_are_the_compiled_ones(problem):
    generator = np.random.default_rng(0)
    function = uncompiled(problem.objective)
    for spread in (0.0, 0.01, 0.1):
        x = problem.x0 + spread * generator.standard_normal(problem.x0.size) * np.maximum(np.abs(problem.x0), 0.1)
        value, gradient = problem.objective(x, *problem.args)
        plain_value, plain_gradient = function(x, *problem.args)
        assert plain_value == pytest.approx(value, rel=1e-11)
        np.testing.assert_allclose(plain_gradient, gradient, rtol=1e-9, atol=1e-11 * np.abs(gradient).max())


@pytest.mark.parametrize("is_bounded", [False, True])
def test_every_solver_minimises_within_its_budget(is_bounded):
    units = in_own_units(2)
    box = Box(np.array([-2.0, -1.0]), np.array([0.5, np.inf])) if is_bounded else None
    best = 0.25 if is_bounded else 0.0
    for solver in solvers.solvers_for(is_bounded):
        recorder = Recorder(lambda x: (rosen(x), rosen_der(x)), units, box, 1000)
        start = np.array([-1.2, 1.0])
        assert solvers.run(solver, recorder, start, study.scipy_bounds(units, box), 1000) == "", solver.name
        assert recorder.count <= 1000, solver.name
        assert recorder.best_value == pytest.approx(best, abs=1e-3), solver.name


def made_up_results():
    """Four cases of two problems; the second is solved by the rival alone."""
    ours = [[3.0, 5.0, 7.0], [np.inf] * 3, [3.0, 2500.0, np.inf], [4.0, 6.0, 8.0]]
    rival = [[2.0, 9.0, np.inf], [4.0] * 3, [2.0, 2.0, 2.0], [np.inf] * 3]
    names = {solvers.OURS: ours, tables.RIVAL: rival, solvers.SCIPY_DEFAULT: rival}
    return {
        "problems": [{"name": "A", "n": 2, "zeros": 0}, {"name": "B", "n": 3, "zeros": 1}],
        "cases": [[0, False, "own", 0], [1, False, "own", 0], [0, True, "own", 0], [1, True, "own", 0]],
        "evaluations": {"lowest": names, "published": {name: [*rows[:2], None, None] for name, rows in names.items()}},
        "errors": [],
        "versions": {"numpy": "2"},
        "settings": {"seeds": 0},
    }


def test_results_survive_the_file(tmp_path):
    results = made_up_results()
    convergence.write(results, tmp_path / "results.json")
    back = convergence.read(tmp_path / "results.json")
    assert back["cases"] == results["cases"]
    for solver in (solvers.OURS, tables.RIVAL):
        for tolerance in range(3):
            found = tables.costs(back, solver, [0, 1, 2, 3], tolerance)
            np.testing.assert_array_equal(found, tables.costs(results, solver, [0, 1, 2, 3], tolerance))
    assert tables.render(back) == tables.render(results)


def test_tables_tell_shares_halves_and_who_solves_what():
    results = made_up_results()
    text = tables.render(results)
    # Of the two problems without bounds ours solves one, the rival both.
    assert "| nadam_numba | 50.0 | 50.0 | 50.0 |" in text
    assert "| L-BFGS-B | **100.0** | **100.0** | **100.0** |" in text
    # With bounds at 1e-5, ours needs 2,500 evaluations for A, and the rival never solves B.
    assert "| With bounds | nadam_numba | A* |" in text
    assert "| With bounds | L-BFGS-B | B* |" in text
    assert tables.select(results, False, "own", "second") == [1]
    assert tables.select(results, True, "own", has_zeros=True) == [3]


def results_of_all_stages():
    results = made_up_results()
    results["lowest"] = [[0.0, 1.5], [0.1, 0.2]]
    results["versions"]["torch"] = "2.13"
    for columns in results["evaluations"].values():
        columns[peers.solver_name("torch", 0.1)] = [[10.0, 20.0, np.inf], [30.0] * 3, None, None]
    results["seconds"] = {"compiled": {solvers.OURS: [[1e-4, 1e-6]] * 4}, "NumPy": {}}
    return results


@pytest.fixture
def run_stage(tmp_path, monkeypatch, capsys):
    """Runs one stage on the results of all, where the count finds what is given: the results, and what is said."""
    monkeypatch.setattr(convergence, "RESULTS", tmp_path / "results.json")
    monkeypatch.setattr(convergence, "DOCS", tmp_path)
    monkeypatch.setattr(convergence.figures, "draw", lambda results, folder: [])
    monkeypatch.setattr(timing, "seconds_of_solves", lambda *_: results_of_all_stages()["seconds"])
    monkeypatch.setattr(peers, "installed", list)
    monkeypatch.setattr(study, "run_peers", lambda *_: None)

    def run(stage, **counted):
        monkeypatch.setattr(study, "run_all", lambda *_: {**made_up_results(), **counted})
        convergence.write(results_of_all_stages(), convergence.RESULTS)
        convergence.main(["--stages", stage])
        return convergence.read(convergence.RESULTS), capsys.readouterr().err

    return run


def found_by_peers(results):
    return {
        reference: {name: column for name, column in columns.items() if peers.is_peer(name)}
        for reference, columns in results["evaluations"].items()
    }


@pytest.mark.parametrize("stage", convergence.STAGES)
def test_stages_keep_what_others_found(run_stage, stage):
    results, said = run_stage(stage, lowest=[[0.0, 1.25], [0.1, 0.2]])
    before = convergence._with_nulls(results_of_all_stages())
    assert results["seconds"] == before["seconds"]
    assert found_by_peers(results) == found_by_peers(before)
    assert results["versions"]["torch"] == "2.13"
    assert said == ""


@pytest.mark.parametrize(
    ("counted", "times_are_kept"),
    [
        ({"lowest": [[-1e-9, 1.5], [0.1, 0.2]]}, True),
        ({"lowest": [[0.0, 1.5], [0.1, 0.2]], "cases": [[0, False, "own", 0], [1, False, "own", 0]]}, True),
        (
            {"lowest": [[0.0, 1.5], [0.1, 0.2]], "problems": [{"name": name, "n": 2, "zeros": 0} for name in "AC"]},
            False,
        ),
    ],
    ids=["a lower value", "other cases", "other problems"],
)
def test_counts_drop_what_rested_on_others_and_say_so(run_stage, counted, times_are_kept):
    results, said = run_stage("counts", **counted)
    assert found_by_peers(results) == {"lowest": {}, "published": {}}
    assert "torch" not in results["versions"]
    assert "the rows of the peers are dropped" in said
    assert ("seconds" in results) == times_are_kept
    assert ("wall times are dropped" in said) != times_are_kept


def test_costs_of_a_solver_that_took_no_part_are_none():
    results = made_up_results()
    assert tables.costs(results, "BFGS", [0], 0) is None
    assert tables.costs(results, solvers.OURS, [0, 2], 0, "published") is None


def test_best_rates_are_the_one_that_solves_most_and_the_best_of_each_problem():
    results = made_up_results()
    slow, fast = peers.RATES[2], peers.RATES[5]
    by_solver = results["evaluations"]["lowest"]
    by_solver[peers.solver_name("torch", slow)] = [[90.0] * 3, [100.0] * 3, None, None]
    by_solver[peers.solver_name("torch", fast)] = [[10.0] * 3, [np.inf] * 3, None, None]
    rate, at_rate, per_problem = tables.best_rates(results, "torch", [0, 1], 0, 2000)
    assert rate == slow
    assert at_rate.tolist() == [90.0, 100.0]
    assert per_problem.tolist() == [10.0, 100.0]
    assert tables.best_rates(results, "optax", [0, 1], 0, 2000) == (None, None, None)
    assert "torch.optim.NAdam, best rate for each problem" in tables.render(results)


def test_smallest_margin_is_taken_over_all_times():
    ours, theirs = np.array([1.0, 3.0, np.inf]), np.array([2.0, 2.5, 4.0])
    margin, moment = tables.smallest_margin(ours, theirs)
    assert margin == pytest.approx(-1.0 / 3.0)
    assert moment in (2.5, 4.0)


def test_wall_times_are_those_to_begin_and_for_each_evaluation():
    results = made_up_results()
    seconds = [[1e-4, 1e-6], [0.0, 2e-6], [0.0, 3e-6], [1e-5, 4e-6]]
    results["seconds"] = {"compiled": {solvers.OURS: seconds}, "NumPy": {}}
    np.testing.assert_allclose(tables.times(results, "compiled", solvers.OURS, False, 0), [1.03e-4, np.inf])
    np.testing.assert_allclose(tables.times(results, "compiled", solvers.OURS, True, 0), [9e-6, 2.6e-5])


def test_a_short_and_a_long_solve_tell_what_it_takes_to_begin():
    assert timing.begin_and_slope([2, 12], [5.0, 25.0]) == [1.0, 2.0]
    assert timing.begin_and_slope([4, 4], [8.0, 8.0]) == [0.0, 2.0]


def test_options_are_those_the_docstring_names():
    with pytest.raises(SystemExit):
        convergence._parse(["--nonsense"])
    assert isinstance(convergence._parse(["--quick"]), argparse.Namespace)


@pytest.mark.skipif(os.environ.get("NUMBA_DISABLE_JIT") == "1", reason="takes minutes without the compiler")
def test_quick_run_prints_all_tables():
    command = [sys.executable, str(convergence.ROOT / "benchmarks" / "convergence.py"), "--quick"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    run = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    for title in tables.BLOCKS:
        assert f"## {title}\n" in run.stdout
    assert f"| {solvers.OURS} | " in run.stdout
