"""minimize: one trajectory through every path, honest results, clear errors, the user's own flags and exceptions."""

import math
from fractions import Fraction

import numba.core.event
import numpy as np
import pytest
import scipy.optimize
from marks import COMPILES, WRAPS, compiled, needs_compiler
from naive import nadam_step
from numba import jit as jit_in_object_mode
from numba import njit
from numba.extending import is_jitted
from problems import PROBLEMS, Problem, rosenbrock, rosenbrock_gradient, sphere, sphere_gradient

from nadam_numba import NAdam, jit, minimize, schedules
from nadam_numba.minimize import auto, objective, run, textbook
from nadam_numba.minimize.drivers import loop_for
from nadam_numba.minimize.objective import make_objective

SCHEDULE = schedules.cosine_decay(0.05, 300)
DTYPES = [np.float32, np.float64]


def recorded_run(fun, x0, **arguments):
    """The result, and all iterates as the callback saw them."""
    points = []

    def record(intermediate_result):
        points.append(intermediate_result.x)

    result = minimize(fun, x0, callback=record, **arguments)
    return result, np.array(points)


def reference_run(problem, x0, steps, learning_rate):
    p, m, v, mu_product = x0.copy(), np.zeros_like(x0), np.zeros_like(x0), 1.0
    points = []
    for t in range(1, steps + 1):
        p, m, v, mu_product = nadam_step(p, m, v, problem.gradient(p), t, mu_product, lr=learning_rate(t - 1))
        points.append(p)
    return np.array(points)


def optimizer_run(problem, x0, steps, learning_rate):
    p = x0.copy()
    optimizer = NAdam(p, learning_rate)
    points = []
    for _ in range(steps):
        optimizer.step(problem.gradient(p))
        points.append(p.copy())
    return np.array(points)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("problem", PROBLEMS, ids=lambda problem: problem.name)
def test_every_path_makes_the_same_iterates(problem, dtype):
    x0 = problem.start.astype(dtype)
    expected = reference_run(problem, x0, 300, SCHEDULE)
    np.testing.assert_array_equal(optimizer_run(problem, x0, 300, SCHEDULE), expected, strict=True)

    options = {"learning_rate": SCHEDULE, "maxiter": 300, "gtol": 0.0}
    ways = [
        (problem.fun, problem.gradient),
        (problem.pair(), True),
        (compiled(problem.fun), compiled(problem.gradient)),
        (problem.pair(compiled), True),
        (compiled(problem.fun), problem.gradient),
    ]
    values = [problem.fun(p) for p in (x0, *expected)]
    best = int(np.argmin(values))
    # The last steps of a rate that falls to 0 may lead nowhere.
    evaluations = 1 + int(np.any(np.diff((x0, *expected), axis=0) != 0.0, axis=1).sum())
    for fun, jac in ways:
        result, points = recorded_run(fun, x0, jac=jac, options=options)
        np.testing.assert_array_equal(points, expected, strict=True)
        without_callback = minimize(fun, x0, jac=jac, options=options)
        for res in (result, without_callback):
            np.testing.assert_array_equal(res.x, (x0, *expected)[best], strict=True)
            assert res.fun == values[best]
            assert (res.nit, res.nfev, res.njev) == (300, evaluations, evaluations)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("problem", PROBLEMS, ids=lambda problem: problem.name)
def test_forward_differences_are_the_same_in_both_loops(problem, dtype):
    x0 = problem.start.astype(dtype)
    options = {"learning_rate": 0.01, "maxiter": 50, "gtol": 0.0}
    _, points = recorded_run(problem.fun, x0, options=options)
    result, compiled_points = recorded_run(compiled(problem.fun), x0, jac="2-point", options=options)
    np.testing.assert_array_equal(compiled_points, points, strict=True)
    assert result.nfev == 51 * (1 + x0.size)
    assert result.njev == 51


def test_forward_differences_are_scipys():
    x0 = np.array([-1.2, 30.0, 0.0, 1e-5])
    result = minimize(sphere, x0, options={"maxiter": 0})
    # SciPy's derivatives take the same relative step, sqrt(eps) * max(1, |x|), in the direction of the sign of x.
    expected = scipy.optimize._numdiff.approx_derivative(sphere, x0, method="2-point")
    np.testing.assert_allclose(result.jac, expected, rtol=1e-12)
    np.testing.assert_allclose(result.jac, sphere_gradient(x0), rtol=1e-5)


@pytest.mark.parametrize("jac", ["exact", None])
@pytest.mark.parametrize("problem", PROBLEMS, ids=lambda problem: problem.name)
def test_default_options_converge(problem, jac):
    fun, gradient = compiled(problem.fun), compiled(problem.gradient) if jac else None
    options = {} if COMPILES else {"maxiter": 2000}
    result = minimize(fun, problem.start, jac=gradient, options=options)
    assert isinstance(result, scipy.optimize.OptimizeResult)
    assert result.fun == fun(result.x)
    assert result.fun < fun(problem.start)
    if COMPILES:
        np.testing.assert_allclose(result.x, problem.minimum, atol=1e-4)
    if result.success:
        assert np.abs(result.jac).max() <= (1e-6 if jac else 6.06e-6)


def test_start_at_the_minimum():
    result = minimize(sphere, [0.0, 1.0], jac=sphere_gradient)
    assert (result.success, result.nit, result.nfev, result.fun) == (True, 0, 1, 0.0)


def test_best_point_is_returned_not_the_last():
    values = []

    def watched(x):
        values.append(rosenbrock(x))
        return values[-1]

    result = minimize(watched, [-1.2, 1.0], jac=rosenbrock_gradient, options={"learning_rate": 0.5, "maxiter": 200})
    assert result.fun == min(values)
    assert result.fun == rosenbrock(result.x)
    assert values[-1] > min(values)
    np.testing.assert_array_equal(result.jac, rosenbrock_gradient(result.x))


def plateau(x):
    """A slope to a minimum at 1, beyond a cliff a flat plane far above it."""
    return ((x[0] - 1.0) ** 2, np.array([2.0 * (x[0] - 1.0)])) if x[0] < 1.5 else (100.0, np.zeros(1))


@WRAPS
def test_a_flat_point_above_the_best_is_not_convergence(wrap):
    result = minimize(wrap(plateau), [0.0], jac=True, options={"learning_rate": 1.6, "maxiter": 20})
    assert not result.success
    assert result.fun == 1.0


@WRAPS
def test_arguments_are_passed_on(wrap):
    def fun(x, center, scale):
        return scale * (x[0] - center[0]) ** 2 + (x[1] - center[1]) ** 2

    def gradient(x, center, scale):
        return np.array([2.0 * scale * (x[0] - center[0]), 2.0 * (x[1] - center[1])])

    center = np.array([1.0, -2.0])
    for jac in (wrap(gradient), None):
        result = minimize(wrap(fun), [0.0, 0.0], args=(center, 3), jac=jac, options={"learning_rate": 0.05})
        np.testing.assert_allclose(result.x, center, atol=1e-4)


@WRAPS
def test_arguments_are_values_of_the_call_not_constants(wrap):
    fun = wrap(lambda x, c: ((x[0] - c[0]) ** 2, 2.0 * (x - c)))
    center = np.array([1.0])
    first = minimize(fun, [0.0], args=center, jac=True, options={"learning_rate": 0.05})
    center[0] = -1.0
    second = minimize(fun, [0.0], args=center, jac=True, options={"learning_rate": 0.05})
    np.testing.assert_allclose([first.x, second.x], [[1.0], [-1.0]], atol=1e-4)


@WRAPS
def test_objective_may_overwrite_its_argument(wrap):
    def careless(x):
        value, gradient = sphere_like(x), 2.0 * x
        x[:] = 1e9
        return value, gradient

    sphere_like = njit(lambda x: x[0] * x[0] + x[1] * x[1])
    result = minimize(wrap(careless), [1.0, 2.0], jac=True, options={"learning_rate": 0.02})
    assert result.success
    np.testing.assert_allclose(result.x, 0.0, atol=1e-5)


@WRAPS
def test_objective_and_gradient_may_overwrite_their_arguments(wrap):
    def careless(x):
        value = x[0] * x[0] + x[1] * x[1]
        x[:] = 1e9
        return value

    def careless_gradient(x):
        x[:] = 2.0 * x
        return x

    for jac in (wrap(careless_gradient), None):
        result = minimize(wrap(careless), [1.0, 2.0], jac=jac, options={"learning_rate": 0.02})
        assert result.success
        np.testing.assert_allclose(result.x, 0.0, atol=1e-5)


@WRAPS
@pytest.mark.parametrize("size", [0, 1, 3])
def test_gradient_that_changes_its_size_is_an_error(wrap, size):
    def gradient(x):
        return np.ones(2) if x[0] > 0.5 else np.ones(size)

    def value(x):
        return x[0] + x[1]

    separate = wrap(value), wrap(gradient)
    pair = wrap(lambda x: (x[0] + x[1], np.ones(2) if x[0] > 0.5 else np.ones(size)))
    for fun, jac in (separate, (pair, True)):
        with pytest.raises(ValueError, match="gradient"):
            minimize(fun, [1.0, 1.0], jac=jac, options={"learning_rate": 0.1})


def test_success_means_the_gradient_returned_meets_gtol():
    # Far from 0 the values about the minimum differ by rounding alone, and do not tell which point is the best.
    center = 135.0
    for offset in np.random.default_rng(0).uniform(2.0, 5.0, 20):
        result = minimize(
            lambda x: (x[0] * x[0] - 2.0 * center * x[0], 2.0 * x - 2.0 * center),
            [center + offset],
            jac=True,
            options={"learning_rate": 0.05},
        )
        assert result.success
        assert abs(result.jac[0]) <= 1e-6
        assert result.jac[0] == 2.0 * result.x[0] - 2.0 * center


def test_of_equal_values_the_flatter_point_is_the_better():
    def floor(x):
        return max(abs(x[0]), 0.5), np.array([x[0]])

    result, points = recorded_run(floor, [1.0], jac=True, options={"learning_rate": 0.1, "maxiter": 8, "gtol": 0.0})
    assert result.fun == 0.5
    assert np.sum(np.abs(points) < 0.5) > 1
    assert abs(result.x[0]) == np.abs(points).min()


def test_schedule_that_ends_before_it_is_needed_no_more():
    rates = [0.1] * 500
    result = minimize(
        sphere, [1.0, 1.0], jac=sphere_gradient, options={"learning_rate": rates.__getitem__, "gtol": 0.1}
    )
    assert result.success
    with pytest.raises(IndexError):
        minimize(sphere, [1.0, 1.0], options={"learning_rate": rates.__getitem__, "gtol": 0.0})


def test_values_of_any_real_type_and_tuples_with_more_entries():
    assert minimize(lambda x: 10**20, [1.0], jac=lambda x: np.zeros(1)).fun == 1e20
    assert minimize(lambda x: Fraction(1, 2), [1.0], jac=lambda x: np.zeros(1)).fun == 0.5
    assert minimize(sphere, [0.0, 1.0], jac=lambda x: [Fraction(0), 0]).success
    assert minimize(lambda x: x[0] ** 2, [1.0], jac=lambda x: 2 * x[0], options={"learning_rate": 0.05}).success
    for wrap in (lambda f: f, njit):
        result = minimize(wrap(lambda x: (x[0] ** 2, 2.0 * x, 7)), [1.0], jac=True, options={"learning_rate": 0.05})
        assert result.success


@needs_compiler
def test_objectives_in_object_mode_run_in_the_python_loop():
    fun = jit_in_object_mode(forceobj=True)(lambda x: float(np.dot(x.tolist(), x.tolist())))
    assert minimize(fun, [1.0], options={"learning_rate": 0.05}).success


def test_python_objective_may_keep_its_argument():
    kept = []

    def fun(x):
        kept.append(x)
        return x[0] ** 2, 2.0 * x

    minimize(fun, [1.0], jac=True, options={"learning_rate": 0.1, "maxiter": 5})
    assert len({float(x[0]) for x in kept}) == 6


def test_x0_is_not_written():
    x0 = np.array([3.0, 4.0])
    minimize(sphere, x0, jac=sphere_gradient, options={"maxiter": 5})
    assert x0.tolist() == [3.0, 4.0]


def test_values_may_be_arrays_of_one_element_and_gradients_lists():
    result = minimize(lambda x: np.array([x[0] ** 2]), [1.0], jac=lambda x: [2 * x[0]], options={"learning_rate": 0.05})
    assert result.success
    assert type(result.fun) is float


def test_constant_rate_is_an_array_of_itself():
    options = {"maxiter": 50, "gtol": 0.0}
    constant = minimize(sphere, [5.0, 5.0], options={"learning_rate": 0.1, **options})
    schedule = minimize(sphere, [5.0, 5.0], options={"learning_rate": lambda step: 0.1, **options})
    np.testing.assert_array_equal(constant.x, schedule.x)


def test_schedule_is_asked_for_each_step_once_in_order():
    steps = []

    def schedule(step):
        steps.append(step)
        return 0.1

    minimize(compiled(sphere), [5.0, 5.0], options={"learning_rate": schedule, "maxiter": 3000, "gtol": 0.0})
    assert steps == list(range(3000))


def test_hyperparameters_reach_the_rule():
    options = {"learning_rate": 0.1, "beta_1": 0.5, "beta_2": 0.9, "epsilon": 0.1, "momentum_decay": 1.0}
    _, points = recorded_run(sphere, [5.0, 5.0], jac=sphere_gradient, options={**options, "maxiter": 20, "gtol": 0.0})
    p = np.array([5.0, 5.0])
    optimizer = NAdam(p, **options)
    for point in points:
        optimizer.step(sphere_gradient(p))
        np.testing.assert_array_equal(point, p)


def test_large_problem_runs_through_the_parallel_kernel(monkeypatch):
    n = 1003
    monkeypatch.setattr(jit, "PARALLEL_CROSSOVER", dict.fromkeys(jit.PARALLEL_CROSSOVER, 1000))
    problem = Problem("", sphere, sphere_gradient, np.linspace(-1.0, 1.0, n), np.arange(n))
    expected = reference_run(problem, problem.start, 3, lambda step: 0.1)
    for fun in (problem.pair(), problem.pair(compiled)):
        _, points = recorded_run(fun, problem.start, jac=True, options={"learning_rate": 0.1, "maxiter": 3})
        np.testing.assert_array_equal(points, expected)


@needs_compiler
@pytest.mark.parametrize(
    ("seconds", "evaluations_seen"),
    [(0.0, [1, 2, 3, 4, 5, 6, 7, 8]), (math.inf, [1, 1, 1, 1, 1, 1, 1, 1])],
    ids=["slow objective", "fast objective"],
)
def test_compiled_runs_return_to_python_after_each_step_only_if_that_is_cheap(seconds, evaluations_seen, monkeypatch):
    @njit
    def fun(x, evaluations):
        evaluations[0] += 1
        return x[0], np.ones(1)

    evaluations, seen = np.zeros(1), []

    def schedule(step):
        seen.append(int(evaluations[0]))
        return 0.1

    monkeypatch.setattr(run, "_CHUNK_SECONDS", seconds)
    minimize(fun, [1.0], args=evaluations, jac=True, options={"learning_rate": schedule, "maxiter": 8})
    assert seen == evaluations_seen


@WRAPS
@pytest.mark.parametrize("jac", [True, None], ids=["pair", "differences"])
def test_a_step_that_leads_nowhere_is_not_evaluated(wrap, jac):
    options = {"maxiter": 7, "gtol": 0.0, "return_all": True}
    fun = wrap(lambda x: (x[0] * x[0], 2.0 * x)) if jac else wrap(lambda x: x[0] * x[0])
    cost = 1 if jac else 2
    # No rate, a rate that comes late, and a corner of the bounds.
    result = minimize(fun, [2.0], jac=jac, options=options | {"learning_rate": 0.0})
    assert (result.nit, result.nfev, result.njev, result.fun) == (7, cost, 1, 4.0)
    late = minimize(fun, [2.0], jac=jac, options=options | {"learning_rate": lambda step: 0.1 * (step in (3, 6))})
    assert (late.nit, late.nfev, late.njev) == (7, 3 * cost, 3)
    assert late.fun == late.x[0] ** 2 < 4.0
    corner = minimize(fun, [2.0], jac=jac, bounds=[(2.0, 9.0)], options=options | {"learning_rate": 0.1})
    assert (corner.nfev, corner.x.tolist()) == (cost, [2.0])
    assert len(corner.allvecs) == corner.nit + 1


@WRAPS
def test_parameters_with_defaults_may_be_left_out(wrap):
    value = wrap(lambda x, center=2.0: (x[0] - center) ** 2)
    pair = wrap(lambda x, center=2.0: ((x[0] - center) ** 2, 2.0 * (x - center)))
    for fun, jac in ((value, None), (value, wrap(lambda x, center=2.0: 2.0 * (x - center))), (pair, True)):
        assert minimize(fun, [1.0], jac=jac).x.round(6).tolist() == [2.0]
        assert minimize(fun, [1.0], args=(3.0,), jac=jac).x.round(6).tolist() == [3.0]


# The user's functions keep their own flags and exceptions


@needs_compiler
def test_drivers_carry_no_flags_that_could_leak():
    plain = njit(lambda: 0).targetoptions
    pair = make_objective(PROBLEMS[0].pair(compiled), True, (), np.zeros(2))
    loops = [
        loop_for(loop.iterate, pair, np.zeros(2), loop._example, variant, loop.SOURCES, **bound)[0]
        for loop, at_addresses, bound in (
            (auto, (False,), {}),
            (textbook, (False, None, None), {"_move": textbook.MOVES[False]}),
        )
        for variant in (None, at_addresses)
    ]
    for function in loops:
        assert function.targetoptions == plain
    for function in objective.COMPILED.values():
        assert function.targetoptions == plain | {"inline": "always"}


@needs_compiler
def test_loops_with_other_kernels_are_filed_apart():
    pair = make_objective(PROBLEMS[0].pair(compiled), True, (), np.zeros(2))
    names = {
        loop_for(
            textbook.iterate, pair, np.zeros(2), textbook._example, (False, None, None), textbook.SOURCES, _move=move
        )[0].__qualname__
        for move in textbook.MOVES.values()
    }
    assert len(names) == 2


@needs_compiler
@pytest.mark.parametrize("kind", ["address", "args", "float32", "cs", "list", "separate", "in place", "textbook"])
def test_what_is_compiled_anew_is_what_runs(kind):
    center = 1.0
    value = njit(lambda x, a: (x[0] - center) ** 2 + a)
    slope = njit(lambda x, a: np.array([2.0 * (x[0] - center)]))

    def in_place(x, g, a):
        g[0] = 2.0 * (x[0] - center)
        return (x[0] - center) ** 2 + a

    fun, jac, args, x0, options = {
        "address": (njit(lambda x: ((x[0] - center) ** 2, 2.0 * (x - center))), True, (), [5.0], {}),
        "args": (value, None, (0.0,), [5.0], {}),
        "float32": (
            njit(lambda x: ((x[0] - center) ** 2, 2.0 * (x - np.float32(center)))),
            True,
            (),
            np.array([5.0], np.float32),
            {},
        ),
        "cs": (value, "cs", (0.0,), [5.0], {}),
        "list": (njit(lambda x: ((x[0] - center) ** 2, [2.0 * (x[0] - center)])), True, (), [5.0], {}),
        "separate": (value, slope, (0.0,), [5.0], {}),
        "in place": (njit(in_place), True, (0.0,), [5.0], {}),
        "textbook": (value, slope, (0.0,), [5.0], {"learning_rate": 0.5}),
    }[kind]
    for new_center in (1.0, 2.0, 3.0):
        center = new_center
        for function in (fun, jac):
            if is_jitted(function):
                function.recompile()
        result = minimize(fun, x0, args=args, jac=jac, options=options)
        np.testing.assert_allclose(result.x, new_center, rtol=1e-3)
        assert result.fun == pytest.approx(0.0, abs=1e-6)


@WRAPS
def test_flags_do_not_leak_into_the_objective(wrap):
    guarded = wrap(lambda x, d: (np.inf if np.isnan(x[0] / d) else x[0] * x[0], 2.0 * x))

    # Compiled first from within minimize: flags of the caller would stay with it.
    result = minimize(guarded, [0.5], args=(2.0,), jac=True, options={"learning_rate": 0.01})
    assert result.success
    assert guarded(np.array([np.nan]), 2.0)[0] == np.inf
    if COMPILES and is_jitted(guarded):
        with pytest.raises(ZeroDivisionError):
            guarded(np.array([1.0]), 0.0)


@WRAPS
def test_division_by_zero_in_the_objective_raises_in_the_middle_of_a_run(wrap):
    def inverse(x):
        return 1.0 / math.floor(x[0]), np.ones(1)

    with pytest.raises(ZeroDivisionError):
        minimize(wrap(inverse), [3.0], jac=True, options={"learning_rate": 0.1})


@WRAPS
def test_exceptions_of_the_objective_reach_the_caller(wrap):
    def fun(x):
        if x[0] < 0.5:
            raise ArithmeticError("too small")
        return x[0] * x[0]

    with pytest.raises(ArithmeticError, match="too small"):
        minimize(wrap(fun), [1.0], options={"learning_rate": 0.1})


@needs_compiler
def test_second_call_compiles_nothing():
    fun, gradient, pair = njit(rosenbrock), njit(rosenbrock_gradient), PROBLEMS[0].pair(njit)

    def run(x0, **options):
        for dtype in DTYPES:
            start = np.array(x0, dtype)
            minimize(fun, start, jac=gradient, options=options)
            minimize(pair, start, jac=True, options=options, callback=lambda x: None)
            minimize(fun, start, options=options)

    run([-1.2, 1.0], maxiter=10)
    run([-1.2, 1.0], maxiter=10, learning_rate=0.1)
    with numba.core.event.install_recorder("numba:compile") as recorder:
        run([2, 2, 2, 2], maxiter=20.0)
        run([2, 2, 2, 2], maxiter=20.0, learning_rate=SCHEDULE, gtol=0, beta_1=0)
        run(np.ones(4)[::2] * 3, maxiter=5, learning_rate=1, epsilon=np.float32(1e-3))
    assert not recorder.buffer


# Errors at the door


def fun_of_shape(shape):
    return lambda x: np.zeros(shape)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"fun": 3}, TypeError, "fun=3 is a int"),
        ({"x0": [1j]}, TypeError, "x0 has dtype complex128"),
        ({"x0": np.array(["2020"], "datetime64[Y]")}, TypeError, "x0 has dtype datetime64"),
        ({"x0": ["a"]}, TypeError, "x0 has dtype <U1"),
        ({"x0": [None]}, TypeError, "x0 has dtype object"),
        ({"jac": "4-point"}, ValueError, "jac='4-point'"),
        ({"jac": 7}, ValueError, "jac=7"),
        ({"jac": np.zeros(2)}, ValueError, r"jac=array\(\[0., 0.\]\)"),
        ({"options": 5}, TypeError, "options=5"),
        ({"jac": fun_of_shape(3)}, ValueError, r"gradient of shape \(3,\)"),
        ({"jac": fun_of_shape(())}, ValueError, r"gradient of shape \(1,\)"),
        ({"jac": lambda x: np.ones(2) * 1j}, TypeError, "jac returned .* must return real numbers"),
        ({"jac": lambda x: [[1.0], [1.0, 2.0]]}, ValueError, "jac returned .* must return real numbers"),
        ({"jac": True}, ValueError, "must return a value and a gradient"),
        ({"fun": lambda x: x}, ValueError, "fun returned"),
        ({"fun": lambda x: None}, TypeError, "returned None"),
        ({"fun": lambda x: 1j}, TypeError, "returned 1j"),
        ({"fun": lambda x: "1"}, TypeError, "returned '1'"),
        ({"fun": lambda x: 10**400}, ValueError, "fun returned 1000"),
        ({"callback": 3}, TypeError, "callback=3"),
        ({"options": {"learning_rate": -0.1}}, ValueError, "learning_rate=-0.1"),
        ({"options": {"learning_rate": math.nan}}, ValueError, "learning_rate=nan"),
        ({"options": {"learning_rate": "fast"}}, ValueError, "learning_rate='fast': it must be 'auto'"),
        ({"options": {"learning_rate": [0.1]}}, TypeError, r"learning_rate=\[0.1\]"),
        ({"options": {"learning_rate": lambda step: -step}}, ValueError, r"learning_rate\(1\)=-1.0"),
        ({"options": {"beta_1": 1.0}}, ValueError, "beta_1=1.0"),
        ({"options": {"gtol": -1e-3}}, ValueError, "gtol=-0.001"),
        ({"tol": "tight"}, TypeError, "tol='tight'"),
        ({"progress": 1}, TypeError, "progress=1"),
        ({"options": {"maxiter": math.nan}}, ValueError, "maxiter=nan"),
        ({"options": {"maxfev": 0}}, ValueError, "maxfev=0"),
        ({"options": {"ftol": -1e-3}}, ValueError, "ftol=-0.001"),
        ({"options": {"f_target": math.nan}}, ValueError, "f_target=nan"),
        ({"options": {"patience": 0.5}}, ValueError, "patience=0.5"),
        ({"options": {"max_time": -1}}, ValueError, "max_time=-1.0"),
        ({"options": {"finite_diff": "4-point"}}, ValueError, "finite_diff='4-point'"),
        ({"options": {"history": 0}}, ValueError, "history=0"),
        ({"options": {"memory": -1}}, ValueError, "memory=-1"),
        ({"options": {"polish": "yes"}}, TypeError, "polish='yes'"),
        ({"options": {"weight_decay": -1.0}}, ValueError, "weight_decay=-1.0"),
        ({"options": {"weight_decay": 0.1}}, ValueError, "weight_decay=0.1 with learning_rate='auto'"),
    ],
    ids=str,
)
def test_bad_arguments(arguments, error, message):
    with pytest.raises(error, match=message):
        minimize(**{"fun": sphere, "x0": [5.0, 5.0], **arguments})


def test_chunks_do_not_outgrow_what_has_gone_before():
    """Evaluations may become slow at any time, and within a chunk nobody looks at the clock."""
    chunks, evaluations = [], 64
    for _ in range(30):
        chunks.append(evaluations)
        evaluations = run._next_chunk(evaluations, 1e-7 * evaluations)
    assert chunks[1] == 1024
    assert all(chunk <= 1024 or chunk <= 2 * sum(chunks[:k]) for k, chunk in enumerate(chunks))
    assert run._next_chunk(1000, 0.04) == 2000
    assert run._next_chunk(1000, 0.06) == 500
    assert run._next_chunk(1, 10.0) == 1
