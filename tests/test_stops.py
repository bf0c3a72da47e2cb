"""Each way for a run of minimize to end: the status, honest success, and the best point whatever happens."""

import _thread
import itertools
import math
import time

import numpy as np
import pytest
from marks import WRAPS, compiled
from problems import PROBLEMS, rosenbrock, rosenbrock_gradient, sphere, sphere_gradient

from nadam_numba import minimize, schedules
from nadam_numba.minimize.result import STOPS, Stop

RATE = {"learning_rate": 0.05}


def run(wrap, options, fun=rosenbrock, gradient=rosenbrock_gradient, x0=(-1.2, 1.0), **arguments):
    result = minimize(wrap(fun), x0, jac=wrap(gradient), options={**RATE, **options}, **arguments)
    assert type(result.success) is bool
    assert type(result.status) is int
    assert type(result.message) is str
    assert result.success == (result.status == 0)
    if math.isfinite(result.fun):
        assert result.fun == fun(result.x)
        np.testing.assert_array_equal(result.jac, gradient(result.x))
    return result


def iterates(options, **arguments):
    """The values and gradient norms of all iterations, with the start."""
    result = run(compiled, {**options, "history": 1}, **arguments)
    return result.history["fun"], result.history["gradient_norm"]


def test_codes_are_places_in_one_list():
    assert [STOPS[stop.code] for stop in Stop] == list(Stop)
    assert len({stop.message for stop in Stop}) == len(Stop)
    assert [stop.name for stop in Stop if stop.is_success] == ["GRADIENT", "FTOL", "PRECISION", "TARGET", "FIXED"]


@WRAPS
def test_gradient(wrap):
    result = run(wrap, {"gtol": 1e-2})
    assert (result.status, result.message) == (0, "Optimization terminated successfully.")
    _, norms = iterates({"gtol": 0.0, "maxiter": result.nit})
    assert norms[-1] <= 1e-2
    assert np.abs(result.jac).max() == norms[-1]


@WRAPS
def test_ftol_demands_ten_still_iterations(wrap):
    ftol = 1e-4
    result = run(wrap, {"gtol": 0.0, "ftol": ftol})
    assert result.status == 0
    assert "ftol" in result.message
    values, _ = iterates({"gtol": 0.0, "maxiter": result.nit + 5})
    still = [
        max(values[k - 10 : k + 1]) - min(values[: k + 1]) <= ftol * max(abs(values[k - 10 : k + 1]).max(), 1.0)
        for k in range(10, len(values))
    ]
    assert result.nit == 10 + still.index(True)


@WRAPS
def test_two_equal_values_of_an_oscillation_are_no_convergence(wrap):
    # Steps of 1 forth and back: values 0.25, 0.25, ... on the way, and the next ones differ.
    result = run(wrap, {"learning_rate": 1.0, "ftol": 1e-3, "maxiter": 8, "gtol": 0.0})
    assert result.status == 1


@WRAPS
def test_ftol_is_not_met_on_a_plane_above_the_best_point(wrap):
    def fun(x):
        return (x[0] - 1.0) ** 2 if x[0] < 1.5 else 100.0

    def gradient(x):
        return np.array([2.0 * (x[0] - 1.0)]) if x[0] < 1.5 else np.zeros(1)

    options = {"learning_rate": 1.6, "maxiter": 50, "ftol": 1e-6, "gtol": 0.0}
    assert run(wrap, options, fun, gradient, [0.0]).status == 1


def constant(x):
    return 3.0


@WRAPS
def test_ftol_0_is_met_by_a_constant(wrap):
    result = run(wrap, {"gtol": 0.0, "ftol": 0.0}, constant, lambda x: np.ones_like(x), [1.0])
    assert (result.status, result.nit) == (0, 10)


@WRAPS
def test_target(wrap):
    result = run(wrap, {"f_target": 1.0})
    values, _ = iterates({"gtol": 0.0, "maxiter": result.nit})
    assert result.success
    assert "f_target" in result.message
    assert result.fun == values[-1] <= 1.0 < min(values[:-1])
    at_start = run(wrap, {"f_target": 100.0})
    assert (at_start.success, at_start.nit, at_start.nfev) == (True, 0, 1)


@WRAPS
def test_iteration_limit(wrap):
    result = run(wrap, {"maxiter": 3})
    assert (result.status, result.nit, result.nfev, result.njev) == (1, 3, 4, 4)
    assert result.message == "Maximum number of iterations has been exceeded."


@pytest.mark.parametrize("maxiter", [0, -1, 0.5, -math.inf])
def test_no_iterations(maxiter):
    result = run(compiled, {"maxiter": maxiter})
    assert (result.status, result.nit, result.nfev) == (1, 0, 1)
    assert result.x.tolist() == [-1.2, 1.0]


def test_unlimited_iterations_end_by_another_test():
    assert run(compiled, {"maxiter": math.inf, "gtol": 1.0}).success


def counted(x, evaluations):
    evaluations[0] += 1
    return (1.0 - x[0]) ** 2 + 10.0 * (x[1] - x[0] ** 2) ** 2


def gradient_of_counted(x, evaluations):
    bend = x[1] - x[0] ** 2
    return np.array([-2.0 * (1.0 - x[0]) - 40.0 * bend * x[0], 20.0 * bend])


@WRAPS
@pytest.mark.parametrize("has_gradient", [True, False])
@pytest.mark.parametrize("maxfev", [1, 2, 3, 4, 30, 31, 32, 30.5])
def test_evaluation_limit_is_exact(wrap, has_gradient, maxfev):
    evaluations = np.zeros(1)
    arguments = {"args": (evaluations,), "jac": wrap(gradient_of_counted) if has_gradient else None}
    result = minimize(wrap(counted), [-1.2, 1.0], options={**RATE, "maxfev": maxfev}, **arguments)
    assert (result.success, result.status) == (False, 1)
    assert result.message == "Maximum number of function evaluations has been exceeded."
    assert result.nfev == evaluations[0] <= maxfev
    per_iteration = 1 if has_gradient else 3
    assert result.nfev == (math.floor(maxfev) // per_iteration * per_iteration or 1)
    if result.njev == 0:
        assert np.isnan(result.jac).all()
        assert result.x.tolist() == [-1.2, 1.0]
    assert result.fun == counted(result.x, evaluations)


@WRAPS
def test_patience(wrap):
    result = run(wrap, {"learning_rate": 1.0, "patience": 15, "gtol": 0.0})
    assert result.status == 6
    values, _ = iterates({"learning_rate": 1.0, "gtol": 0.0, "maxiter": result.nit})
    since = len(values) - 1 - int(np.argmin(values))
    assert since == 15
    assert result.fun == values.min()
    for end in range(15, len(values) - 1):
        assert end - int(np.argmin(values[: end + 1])) < 15


@WRAPS
def test_time_limit(wrap):
    result = run(wrap, {"learning_rate": 1e-9, "maxiter": math.inf, "gtol": 0.0, "max_time": 0.0})
    assert (result.status, result.nit) == (5, 0)
    assert result.message == "Maximum time has been exceeded."
    later = run(wrap, {"learning_rate": 1e-9, "maxiter": math.inf, "gtol": 0.0, "max_time": 0.2})
    assert later.status == 5
    assert later.fun <= rosenbrock(np.array([-1.2, 1.0]))


def test_slow_objectives_are_asked_once_after_the_time_at_most():
    ends = []

    def slow(x):
        time.sleep(0.06)
        ends.append(time.perf_counter())
        return x[0], np.ones(1)

    begin = time.perf_counter()
    result = minimize(slow, [1.0], jac=True, options={**RATE, "max_time": 0.5})
    assert result.status == 5
    assert sum(end - begin > 0.5 for end in ends) <= 1


@WRAPS
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_nonfinite_later(wrap, bad):
    def value_breaks(x):
        return (x[0] if x[0] > 0.5 else bad), np.ones(1)

    def gradient_breaks(x):
        return x[0], np.full(1, 1.0 if x[0] > 0.5 else bad)

    for fun in (value_breaks, gradient_breaks):
        result = minimize(wrap(fun), [1.0], jac=True, options={"learning_rate": 0.2})
        assert (result.success, result.status, result.message) == (False, 3, "NaN result encountered.")
        assert 0.5 < result.x[0] < 1.0
        assert result.fun == result.x[0]
        at_start = minimize(wrap(fun), [0.25], jac=True, options={"learning_rate": 0.2})
        assert (at_start.success, at_start.status, at_start.nit, at_start.x[0]) == (False, 3, 0, 0.25)
        np.testing.assert_equal(at_start.fun, float(fun([0.25])[0]))


@WRAPS
@pytest.mark.parametrize("x0", [math.nan, math.inf])
def test_start_that_is_not_finite(wrap, x0):
    result = minimize(wrap(sphere), [x0, 1.0], jac=wrap(sphere_gradient), options=RATE)
    assert (result.status, result.nit) == (3, 0)
    np.testing.assert_equal(result.x, [x0, 1.0])


@WRAPS
def test_wrong_sign_of_the_gradient_gives_no_worse_point_than_the_start(wrap):
    def uphill(x):
        return -1.0 * x

    def fun(x):
        return 0.5 * x[0] ** 2

    result = run(wrap, {"maxiter": 200, "gtol": 1e-6}, fun, lambda x: x, [1.0], bounds=None)
    assert result.success
    wrong = minimize(wrap(fun), [1.0], jac=wrap(uphill), options={**RATE, "maxiter": 200})
    assert (wrong.success, wrong.x[0], wrong.fun) == (False, 1.0, 0.5)


@WRAPS
def test_flat_function(wrap):
    result = run(wrap, {}, constant, lambda x: np.zeros_like(x), [1.0, 2.0])
    assert (result.success, result.nit, result.fun, result.x.tolist()) == (True, 0, 3.0, [1.0, 2.0])


@WRAPS
def test_unbounded_function_ends_at_the_iteration_limit(wrap):
    result = run(wrap, {"maxiter": 100}, lambda x: -x[0], lambda x: -np.ones_like(x), [1.0])
    assert not result.success
    assert result.fun < -1.0


@WRAPS
def test_no_variables(wrap):
    result = minimize(wrap(lambda x: 7.0), np.zeros(0), jac=wrap(lambda x: np.zeros(0)))
    assert (result.success, result.fun, result.x.shape, result.nfev) == (True, 7.0, (0,), 1)
    result = minimize(wrap(lambda x: 7.0), [], bounds=[], options={"polish": True})
    assert (result.success, result.fun, result.x.shape, result.nfev) == (True, 7.0, (0,), 1)


# Interrupts from the keyboard


def interrupting(number):
    """A function that interrupts at its call of that number."""
    calls = itertools.count(1)

    def interrupt():
        if next(calls) == number:
            raise KeyboardInterrupt

    return interrupt


def assert_interrupted(result, values):
    assert (result.success, result.status, result.message) == (False, 98, "Interrupted from the keyboard.")
    assert result.fun == min(values)
    assert result.fun == rosenbrock(result.x)


def interrupted_rosenbrock(number):
    """The function, interrupted at its call of that number, and the values that it has returned."""
    values, interrupt = [], interrupting(number)

    def fun(x):
        interrupt()
        values.append(rosenbrock(x))
        return values[-1]

    return fun, values


def test_interrupt_within_the_objective():
    fun, values = interrupted_rosenbrock(30)
    result = minimize(fun, [-1.2, 1.0], jac=rosenbrock_gradient, options=RATE)
    assert_interrupted(result, values)
    assert (result.nit, result.nfev) == (28, 29)


@WRAPS
def test_interrupt_within_the_callback(wrap):
    values, interrupt = [rosenbrock(np.array([-1.2, 1.0]))], interrupting(30)

    def callback(intermediate_result):
        values.append(intermediate_result.fun)
        interrupt()

    result = run(wrap, {"polish": True}, callback=callback)
    assert_interrupted(result, values)
    assert result.nit == 30


@WRAPS
def test_interrupt_between_chunks(wrap):
    # As the interpreter delivers it: between two instructions of Python, here while the schedule is asked.
    calls = itertools.count(1)

    def schedule(step):
        if next(calls) == 40:
            _thread.interrupt_main()
        return 0.05

    result = run(wrap, {"learning_rate": schedule, "gtol": 0.0})
    assert result.status == 98
    values, _ = iterates({"gtol": 0.0, "maxiter": max(result.nit, 1)})
    assert result.fun == values[: result.nit + 1].min()


def test_interrupt_of_the_first_evaluation_propagates():
    def fun(x):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        minimize(fun, [1.0], options=RATE)


def test_interrupt_while_polishing():
    fun, values = interrupted_rosenbrock(13)
    result = minimize(fun, [-1.2, 1.0], jac=rosenbrock_gradient, options={**RATE, "maxiter": 5, "polish": True})
    assert not result.success
    assert "interrupted from the keyboard" in result.message
    assert result.fun == min(values) == rosenbrock(result.x)


# Records of the run


@WRAPS
@pytest.mark.parametrize("every", [1, 3, 7, 1000])
def test_history(wrap, every):
    schedule = schedules.cosine_decay(0.05, 50)
    options = {"learning_rate": schedule, "maxiter": 50, "gtol": 0.0}
    everything = run(wrap, {**options, "return_all": True})
    result = run(wrap, {**options, "history": every})
    nit = sorted({*range(0, 51, every), 50})
    assert set(result.history) == {"nit", "fun", "gradient_norm", "learning_rate"}
    np.testing.assert_array_equal(result.history["nit"], nit)
    points = [everything.allvecs[k] for k in nit]
    np.testing.assert_array_equal(result.history["fun"], [rosenbrock(x) for x in points])
    np.testing.assert_array_equal(
        result.history["gradient_norm"], [np.abs(rosenbrock_gradient(x)).max() for x in points]
    )
    np.testing.assert_array_equal(result.history["learning_rate"], [schedule(k - 1) if k else np.nan for k in nit])
    np.testing.assert_array_equal(result.x, everything.x)


def test_history_of_a_run_without_iterations():
    history = run(compiled, {"maxiter": 0, "history": 5}).history
    assert history["nit"].tolist() == [0]
    assert history["fun"].tolist() == [rosenbrock(np.array([-1.2, 1.0]))]


@WRAPS
def test_return_all_keeps_copies_of_all_iterates(wrap):
    points = []
    result = run(wrap, {"maxiter": 6, "return_all": True}, callback=points.append)
    assert type(result.allvecs) is list
    np.testing.assert_array_equal(result.allvecs, [[-1.2, 1.0], *points])
    assert "allvecs" not in run(wrap, {"maxiter": 6})


# Polishing


@WRAPS
@pytest.mark.parametrize("problem", PROBLEMS, ids=lambda problem: problem.name)
@pytest.mark.parametrize("with_gradient", [True, False])
def test_polish_ends_at_the_minimum(wrap, problem, with_gradient):
    gradient = wrap(problem.gradient) if with_gradient else None
    arguments = {"x0": problem.start, "jac": gradient}
    options = {**RATE, "maxiter": 40}
    plain = minimize(wrap(problem.fun), **arguments, options=options)
    result = minimize(wrap(problem.fun), **arguments, options={**options, "polish": True})
    assert result.success is True
    assert result.status == 0
    assert result.message.startswith(plain.message + " Polished by L-BFGS-B: CONVERGENCE")
    assert result.fun == problem.fun(result.x) < plain.fun
    assert result.nfev > plain.nfev
    assert result.njev > plain.njev
    np.testing.assert_allclose(result.x, problem.minimum, atol=1e-3)


def test_polish_counts_exactly_and_keeps_to_the_limits():
    for maxfev in (5, 7, 20, 21, 22):
        calls = []

        def fun(x, calls=calls):
            calls.append(x)
            return rosenbrock(x)

        options = {**RATE, "maxiter": 2, "maxfev": maxfev, "polish": True}
        result = minimize(fun, [-1.2, 1.0], options=options)
        assert result.nfev == len(calls) <= maxfev
        assert result.success is False
        assert result.fun == rosenbrock(result.x)


def test_polish_takes_nothing_that_is_not_lower_and_keeps_a_success():
    result = minimize(sphere, [0.0, 1.0], jac=sphere_gradient, options={"polish": True})
    assert (result.success, result.fun, result.x.tolist()) == (True, 0.0, [0.0, 1.0])


def test_polish_makes_no_success_of_a_failure():
    def gradient(x):
        return 2.0 * (x - 1.0) if x[0] > 2.0 else np.nan * x

    result = minimize(
        lambda x: sphere(x - 1.0), [3.0, 4.0], jac=gradient, bounds=[(-50.0, 50.0)] * 2, options={"polish": True}
    )
    assert (result.success, result.status) == (False, 3)


def test_an_interrupt_of_polish_has_its_status():
    calls = []

    def fun(x):
        calls.append(x.copy())
        if len(calls) == stop:
            raise KeyboardInterrupt
        return rosenbrock(x)

    stop = 0
    options = {"gtol": 1.0, "polish": True}
    before = minimize(fun, [-1.2, 1.0], jac=rosenbrock_gradient, options=options | {"polish": False}).nfev
    calls.clear()
    stop = before + 2
    result = minimize(fun, [-1.2, 1.0], jac=rosenbrock_gradient, options=options)
    assert (result.status, result.success) == (98, False)
    assert result.fun == min(map(rosenbrock, calls[:-1]))


def test_a_result_keeps_no_more_memory_than_it_shows():
    result = minimize(sphere, np.ones(100), jac=sphere_gradient)
    assert (result.x.base, result.jac.base) == (None, None)


def test_time_is_kept_where_evaluations_begin_to_take_long():
    def fun(x):
        if x[0] < 2.97:
            time.sleep(0.01)
        return (x[0] - 1.0) ** 2

    def gradient(x):
        return 2.0 * (x - 1.0)

    options = {"learning_rate": 0.01, "maxiter": 500, "max_time": 0.2}
    minimize(fun, [3.0], jac=gradient, options=options | {"maxiter": 1})
    result = minimize(fun, [3.0], jac=gradient, options=options)
    assert result.status == 5
    assert result.nfev < 60


def test_polish_does_not_help_an_objective_without_value():
    result = minimize(lambda x: math.nan, [1.0], options={"polish": True})
    assert (result.success, result.status, result.nfev) == (False, 3, 1)
    assert "Polished" not in result.message


def test_polish_survives_points_without_value():
    def fun(x):
        return x[0] - math.log(x[0]) if x[0] > 0.0 else math.nan

    def gradient(x):
        return 1.0 - 1.0 / x

    options = {"learning_rate": 1e-3, "maxiter": 2, "polish": True}
    result = minimize(fun, [100.0], jac=gradient, options=options)
    assert math.isfinite(result.fun)
    assert result.fun == fun(result.x) < fun([99.9])
    np.testing.assert_array_equal(result.jac, gradient(result.x))


def test_polish_of_single_precision():
    result = minimize(sphere, np.array([5.0, 5.0], np.float32), jac=sphere_gradient, options={**RATE, "polish": True})
    assert result.x.dtype == result.jac.dtype == np.float32
    assert result.success
