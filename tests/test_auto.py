"""`learning_rate="auto"`: one trajectory on every path, the minimum without tuning, honest stops, hard arithmetic."""

import _thread
import functools
import math
import os
import subprocess
import sys

import numpy as np
import pytest
import scipy.optimize
from marks import COMPILES, MEMORIES, WRAPS, compiled, needs_compiler
from numba import njit
from problems import PROBLEMS, beale, rosenbrock, rosenbrock_gradient, sphere, sphere_gradient

from nadam_numba import minimize

START = np.array([-1.2, 1.0])


class Watched:
    """A Python objective that keeps all it was asked and all it answered; ``jac=True``."""

    def __init__(self, fun, gradient):
        self.fun, self.gradient = fun, gradient
        self.points, self.values = [], []

    def __call__(self, x):
        self.points.append(x.copy())
        self.values.append(float(self.fun(x)))
        return self.values[-1], self.gradient(x)


def check(result, watched, may_be_above=0.0):
    """What holds however a run has ended."""
    finite = [value for value in watched.values if math.isfinite(value)]
    assert result.success == (result.status == 0)
    assert result.nfev == result.njev == len(watched.values)
    if finite:
        assert min(finite) <= result.fun <= min(finite) + may_be_above
        assert result.fun == watched.fun(result.x)
        np.testing.assert_array_equal(result.jac, watched.gradient(result.x))
    repeated = [np.array_equal(a, b) for a, b in zip(watched.points, watched.points[1:], strict=False)]
    assert not any(repeated)


def run(fun, gradient, x0, bounds=None, may_be_above=0.0, **options):
    watched = Watched(fun, gradient)
    result = minimize(watched, x0, jac=True, bounds=bounds, options=options)
    check(result, watched, may_be_above)
    return result


# The first step


@pytest.mark.parametrize(
    ("x0", "bounds", "lengths"),
    [
        ([2.0, -30.0, 0.0, 1e-5], None, [0.2, 3.0, 0.1, 1e-6]),
        ([2.0, 4.0, 0.0, 8.0], [(1.9, 2.1), (None, 5), (-1, 1), (8, 8)], [0.1, 0.4, 0.1, 0.0]),
    ],
)
def test_the_first_step_is_nadams(x0, bounds, lengths):
    signs = np.array([1.0, -1.0, 1.0, -1.0])
    watched = Watched(lambda x: 1e3 * (signs @ x), lambda x: 1e3 * signs)
    minimize(watched, x0, jac=True, bounds=bounds, options={"maxfev": 2})
    np.testing.assert_allclose(watched.points[1] - x0, -signs * lengths, rtol=1e-9, atol=1e-16)


# One trajectory on every path


@functools.cache
def with_argument(function):
    return njit(lambda x, factor: function(x))


@needs_compiler
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("problem", PROBLEMS, ids=lambda problem: problem.name)
@MEMORIES
@pytest.mark.filterwarnings("ignore:The objective does not fall:RuntimeWarning")  # that is tested further below
def test_python_and_compiled_loops_make_the_same_bits(problem, dtype, memory):
    fun, gradient = problem.fun, problem.gradient
    compiled_fun, compiled_gradient = compiled(fun), compiled(gradient)
    ways = [
        {"fun": fun, "jac": gradient},
        {"fun": compiled_fun, "jac": compiled_gradient},
        {"fun": compiled_fun, "jac": gradient},
        {"fun": with_argument(compiled_fun), "jac": with_argument(compiled_gradient), "args": (1.0,)},
    ]
    in_pairs = [{"fun": problem.pair(), "jac": True}, {"fun": problem.pair(compiled), "jac": True}]
    x0, options = problem.start.astype(dtype), {"memory": memory}
    for group in (ways, in_pairs):
        expected = minimize(**group[0], x0=x0, options={**options, "return_all": True})
        for way in group:
            points = []
            watched = minimize(**way, x0=x0, options=options, callback=points.append)
            np.testing.assert_array_equal(points, expected.allvecs[1:], strict=True)
            for result in (watched, minimize(**way, x0=x0, options=options)):
                for name in ("x", "fun", "jac", "nit", "nfev", "njev", "message"):
                    np.testing.assert_array_equal(result[name], expected[name], err_msg=name)


@needs_compiler
def test_objectives_with_and_without_arguments_take_turns():
    # In a process of its own: what was compiled before, and what lies in the cache, would hide it.
    source = """
from numba import njit
from nadam_numba import minimize
for _ in range(2):
    assert minimize(njit(lambda x: x[0] * x[0]), [1.0], jac=njit(lambda x: 2.0 * x)).success
    assert minimize(njit(lambda x, c: c * x[0] * x[0]), [1.0], jac=njit(lambda x, c: 2.0 * c * x), args=(2.0,)).success
"""
    environment = {**os.environ, "NADAM_NUMBA_CACHE": "0"}
    subprocess.run([sys.executable, "-c", source], check=True, env=environment)


@needs_compiler
@pytest.mark.parametrize("scheme", ["2-point", "3-point"])
def test_differences_are_the_same_bits(scheme):
    expected = minimize(rosenbrock, START, jac=scheme)
    result = minimize(compiled(rosenbrock), START, jac=scheme)
    np.testing.assert_array_equal(result.x, expected.x)
    assert (result.nit, result.nfev) == (expected.nit, expected.nfev)


@WRAPS
@MEMORIES
def test_a_run_is_the_start_of_a_longer_one(wrap, memory):
    fun, gradient = wrap(rosenbrock), wrap(rosenbrock_gradient)
    options = {"memory": memory, "return_all": True}
    whole = minimize(fun, START, jac=gradient, options=options)
    for maxiter in (0, 1, 2, 7, whole.nit - 1):
        part = minimize(fun, START, jac=gradient, options={**options, "maxiter": maxiter})
        assert (part.nit, part.status) == (maxiter, 1)
        np.testing.assert_array_equal(part.allvecs, whole.allvecs[: maxiter + 1])


@MEMORIES
def test_single_precision_ends_in_success(memory):
    rng = np.random.default_rng(0)
    for _ in range(150 if COMPILES else 40):
        x0 = rng.uniform(-2.0, 2.0, rng.integers(2, 9)).astype(np.float32)
        result = minimize(rosenbrock, x0, jac=rosenbrock_gradient, options={"memory": memory})
        assert result.success
        assert np.abs(result.jac).max() < 0.3


# Units


@MEMORIES
@pytest.mark.parametrize(
    "units",
    [
        (4.0, 0.5),
        (1024.0, 1024.0),
        (2.0**-10, 2.0**10),
        (2.0**20, 2.0**-30),
    ],
)
def test_the_units_of_variables_do_not_matter(units, memory):
    units = np.array(units)
    options = {"gtol": 0.0, "history": 1, "memory": memory, "maxiter": 200}
    expected = minimize(rosenbrock, START, jac=rosenbrock_gradient, options=options)
    result = minimize(
        lambda z: rosenbrock(units * z),
        START / units,
        jac=lambda z: units * rosenbrock_gradient(units * z),
        options=options,
    )
    np.testing.assert_array_equal(result.history["fun"], expected.history["fun"])
    np.testing.assert_array_equal(result.x * units, expected.x)


@MEMORIES
@pytest.mark.parametrize("unit", [2.0**-300, 2.0**-66, 2.0**30, 2.0**66, 2.0**300])
def test_the_unit_of_the_objective_does_not_matter(unit, memory):
    options = {"gtol": 0.0, "return_all": True, "memory": memory}
    expected = minimize(rosenbrock, START, jac=rosenbrock_gradient, options=options)
    result = minimize(
        lambda x: unit * rosenbrock(x), START, jac=lambda x: unit * rosenbrock_gradient(x), options=options
    )
    np.testing.assert_array_equal(result.allvecs, expected.allvecs)


@pytest.mark.parametrize(
    ("dtype", "unit"),
    [
        (np.float64, 1e-300),
        (np.float64, 1e-20),
        (np.float64, 1e20),
        (np.float64, 1e150),
        (np.float64, 1e200),
        (np.float32, 1e-30),
        (np.float32, 1e-15),
        (np.float32, 1e15),
        (np.float32, 1e20),
    ],
)
def test_tiny_and_huge_objectives_are_minimised(dtype, unit):
    unit = dtype(unit)
    # Uncompiled kernels tell of what overflows.
    with np.errstate(all="ignore"):
        result = minimize(
            lambda x: unit * rosenbrock(x), START.astype(dtype), jac=lambda x: unit * rosenbrock_gradient(x)
        )
    assert result.success
    np.testing.assert_allclose(result.x, 1.0, rtol=1e-6 if dtype is np.float64 else 1e-2)


@MEMORIES
@pytest.mark.parametrize(
    ("dtype", "exponents"), [(np.float64, (-900, -600, 600, 900)), (np.float32, (-60, -40, 40, 60))]
)
def test_the_unit_of_the_objective_changes_no_bit(dtype, exponents, memory):
    def iterates(unit):
        def fun(x):
            return unit * float(rosenbrock(x)), dtype(unit) * rosenbrock_gradient(x)

        options = {"gtol": 0.0, "return_all": True, "memory": memory, "maxiter": 20}
        return minimize(fun, START.astype(dtype), jac=True, options=options).allvecs

    expected = iterates(1.0)
    assert len(expected) == 21
    for exponent in exponents:
        np.testing.assert_array_equal(iterates(2.0**exponent), expected)


@pytest.mark.parametrize(
    "unit",
    [1e-50, 1e-150, 1e50, 1e100, 1e150],
)
def test_tiny_and_huge_variables(unit):
    result = minimize(
        lambda x: sphere(x / unit - 3.0),
        unit * np.array([1.0, 2.0]),
        jac=lambda x: sphere_gradient(x / unit - 3.0) / unit,
    )
    assert result.success
    np.testing.assert_allclose(result.x, unit * np.array([3.0, 4.0]), rtol=1e-6)


# The minimum, without tuning


def wood(x):
    a, b, c, d = x
    valleys = 100.0 * (b - a * a) ** 2 + (1.0 - a) ** 2 + 90.0 * (d - c * c) ** 2 + (1.0 - c) ** 2
    return valleys + 10.1 * ((b - 1.0) ** 2 + (d - 1.0) ** 2) + 19.8 * (b - 1.0) * (d - 1.0)


def booth(x):
    return (x[0] + 2.0 * x[1] - 7.0) ** 2 + (2.0 * x[0] + x[1] - 5.0) ** 2


def trid(x):
    return np.sum((x - 1.0) ** 2) - np.sum(x[1:] * x[:-1])


def helix(x):
    angle = np.arctan2(x[1].real, x[0].real) / (2.0 * np.pi)
    if np.iscomplexobj(x):
        angle = angle + 1j * ((x[0] * x[1].imag - x[1] * x[0].imag) / (x[0] ** 2 + x[1] ** 2)).real / (2.0 * np.pi)
    return 100.0 * ((x[2] - 10.0 * angle) ** 2 + (np.sqrt(x[0] ** 2 + x[1] ** 2) - 1.0) ** 2) + x[2] ** 2


CURVATURES = np.logspace(0.0, 4.0, 12)
MIXING = np.linalg.qr(np.random.default_rng(0).standard_normal((12, 12)))[0]


def rotated_bowl(x):
    y = MIXING @ (x - 1.0)
    return 0.5 * np.sum(CURVATURES * y * y)


SMOOTH = {
    "rosenbrock 2": (rosenbrock, START, np.ones(2)),
    "rosenbrock 4": (rosenbrock, np.tile(START, 2), np.ones(4)),
    "rosenbrock 20": (rosenbrock, np.tile(START, 10), np.ones(20)),
    "beale": (beale, np.ones(2), [3.0, 0.5]),
    "wood": (wood, [-3.0, -1.0, -3.0, -1.0], np.ones(4)),
    "booth": (booth, np.zeros(2), [1.0, 3.0]),
    "trid": (trid, np.zeros(6), [6.0, 10.0, 12.0, 12.0, 10.0, 6.0]),
    "helix": (helix, [-1.0, 0.0, 0.0], [1.0, 0.0, 0.0]),
    "bowl": (rotated_bowl, np.zeros(12), np.ones(12)),
    "bowl from afar": (rotated_bowl, np.full(12, 1e3), np.ones(12)),
}


def complex_steps(fun):
    """The gradient, exact to rounding."""

    def gradient(x):
        return np.array([fun(x + 1e-40j * axis).imag / 1e-40 for axis in np.eye(x.size)])

    return gradient


@pytest.mark.parametrize("name", SMOOTH)
@MEMORIES
def test_default_options_find_the_minimum(name, memory):
    fun, x0, minimum = SMOOTH[name]
    result = minimize(fun, x0, jac=complex_steps(fun), options={"memory": memory})
    assert result.success
    np.testing.assert_allclose(result.x, minimum, atol=1e-6)


@pytest.mark.parametrize("name", SMOOTH)
@pytest.mark.parametrize("scheme", ["3-point", "cs"])
def test_differences_find_the_minimum(name, scheme):
    fun, x0, minimum = SMOOTH[name]
    result = minimize(fun, x0, jac=scheme)
    assert result.success
    # The gradient is followed down to eps**(1/3).
    np.testing.assert_allclose(result.x, minimum, atol=1e-5)


@needs_compiler
def test_a_million_variables():
    n = 10**6

    @njit
    def bowl(x):
        value, gradient = 0.0, np.empty_like(x)
        for i in range(n):
            gradient[i] = (1.0 + 99.0 * i / n) * (x[i] - 1.0)
            value += 0.5 * gradient[i] * (x[i] - 1.0)
        return value, gradient

    result = minimize(bowl, np.zeros(n), jac=True, options={"memory": 0})
    assert result.success
    assert np.abs(result.x - 1.0).max() < 1e-6


@pytest.mark.parametrize("n", [0, 1])
def test_few_variables(n):
    result = minimize(lambda x: (float(x @ x) + 3.0, 2.0 * x), np.ones(n), jac=True)
    assert result.success
    assert result.fun == 3.0


# The best point, and exact counts, wherever a run is cut off


@WRAPS
@pytest.mark.parametrize("per_gradient", [0, 2, 4])
def test_maxfev_is_kept_at_any_number(wrap, per_gradient):
    jac = {0: wrap(rosenbrock_gradient), 2: "2-point", 4: "3-point"}[per_gradient]
    fun = wrap(rosenbrock)
    last = math.inf
    for maxfev in range(1, 61):
        result = minimize(fun, START, jac=jac, options={"maxfev": maxfev})
        assert result.fun == fun(result.x) <= last
        assert result.nfev <= maxfev
        assert result.success or result.status == 1
        last = result.fun


def test_counts_and_the_best_point_are_exact_at_any_maxfev():
    for problem in PROBLEMS:
        for maxfev in range(1, 61):
            run(problem.fun, problem.gradient, problem.start, maxfev=maxfev)


@MEMORIES
def test_counts_and_the_best_point_are_exact_with_a_separate_gradient(memory):
    values, gradients = [], []

    def fun(x):
        values.append(rosenbrock(x))
        return values[-1]

    def gradient(x):
        gradients.append(x)
        return rosenbrock_gradient(x)

    result = minimize(fun, START, jac=gradient, options={"memory": memory})
    assert (result.nfev, result.njev) == (len(values), len(gradients))
    assert result.njev < result.nfev
    assert result.fun == min(values)


def test_exceptions_of_the_user_keep_their_type():
    class Mine(Exception):
        pass

    for count in range(1, 30):
        watched = Watched(rosenbrock, rosenbrock_gradient)

        def fun(x, watched=watched, count=count):
            if len(watched.values) == count:
                raise Mine
            return watched(x)

        with pytest.raises(Mine):
            minimize(fun, START, jac=True)


@WRAPS
def test_exceptions_in_the_middle_of_a_run(wrap):
    inner = wrap(rosenbrock)

    def fun(x):
        if x[0] > 0.0:
            raise ArithmeticError("hole")
        return inner(x)

    with pytest.raises(ArithmeticError, match="hole"):
        minimize(wrap(fun), START, jac=wrap(rosenbrock_gradient))


def test_interrupts_in_a_line_search_leave_the_best_point():
    for count in range(2, 40):
        watched = Watched(rosenbrock, rosenbrock_gradient)

        def fun(x, watched=watched, count=count):
            pair = watched(x)
            if len(watched.values) == count:
                _thread.interrupt_main()
                # The signal is noticed at the next call in Python.
                for _ in range(1000):
                    pass
            return pair

        result = minimize(fun, START, jac=True)
        assert result.status == 98
        # The evaluation that was interrupted does not count.
        assert result.nfev == count - 1
        assert result.fun == min(watched.values[:-1]) == rosenbrock(result.x)


def test_stopiteration_leaves_the_best_point():
    for count in (1, 5, 20):
        watched, points = Watched(rosenbrock, rosenbrock_gradient), []

        def callback(x, points=points, count=count):
            points.append(x)
            if len(points) == count:
                raise StopIteration

        result = minimize(watched, START, jac=True, callback=callback)
        check(result, watched)
        assert (result.status, result.nit) == (99, count)
        np.testing.assert_array_equal(result.x, points[-1])


def test_polish_does_not_go_up():
    for maxiter in (0, 3, 1000):
        options = {"maxiter": maxiter, "polish": True}
        result = minimize(rosenbrock, START, jac=rosenbrock_gradient, options=options)
        assert result.success
        assert result.fun == rosenbrock(result.x)
        np.testing.assert_allclose(result.x, 1.0, atol=1e-4)


# Bounds


def random_box(rng, kind):
    """A bounded least-squares problem: matrix, right side, bounds, start."""
    n = int(rng.integers(1, 31))
    matrix = rng.standard_normal((n + 3, n)) * 10.0 ** rng.uniform(-1.0, 1.0, n)
    lower = rng.uniform(-2.0, 0.0, n)
    upper = lower + rng.uniform(0.0, 2.0, n)
    is_fixed = rng.random(n) < 0.1
    lower[rng.random(n) < 0.2], upper[rng.random(n) < 0.2] = -np.inf, np.inf
    is_fixed &= np.isfinite(lower)
    upper[is_fixed] = lower[is_fixed]
    x0 = {
        "inside": rng.uniform(-3.0, 3.0, n),
        "lower vertex": np.where(np.isfinite(lower), lower, 0.0),
        "upper vertex": np.where(np.isfinite(upper), upper, 0.0),
    }[kind]
    return matrix, 3.0 * rng.standard_normal(n + 3), lower, upper, np.clip(x0, lower, upper)


@pytest.mark.parametrize("kind", ["inside", "lower vertex", "upper vertex"])
@MEMORIES
def test_least_squares_in_boxes(kind, memory):
    rng = np.random.default_rng(7)
    for _ in range(12):
        matrix, right, lower, upper, x0 = random_box(rng, kind)
        watched = Watched(
            lambda x, a=matrix, b=right: 0.5 * np.sum((a @ x - b) ** 2), lambda x, a=matrix, b=right: a.T @ (a @ x - b)
        )
        bounds = scipy.optimize.Bounds(lower, upper)
        result = minimize(watched, x0, jac=True, bounds=bounds, options={"memory": memory})
        check(result, watched)
        assert result.success
        assert all(np.all((lower <= x) & (x <= upper)) for x in watched.points)
        free = lower < upper
        if free.any():
            rest = right - matrix[:, ~free] @ lower[~free]
            exact = scipy.optimize.lsq_linear(
                matrix[:, free], rest, (lower[free], upper[free]), method="bvls", tol=1e-15
            )
            assert result.fun <= exact.cost + 1e-9 * max(1.0, exact.cost)
            for ends in (lower, upper):
                active = np.abs(exact.x - ends[free]) < 1e-12
                multipliers = np.abs(result.jac[free])
                clear = active & (multipliers > 1e-4)
                np.testing.assert_array_equal(result.x[free][clear], ends[free][clear])


@MEMORIES
@WRAPS
def test_bounds_are_met_like_lbfgsb(wrap, memory):
    bounds = [(-1.5, 0.5), (None, 2.0)] * 5
    x0 = np.tile(START, 5)
    scipys = scipy.optimize.minimize(rosenbrock, x0, jac=rosenbrock_gradient, bounds=bounds, tol=1e-12)
    result = minimize(wrap(rosenbrock), x0, jac=wrap(rosenbrock_gradient), bounds=bounds, options={"memory": memory})
    assert result.success
    np.testing.assert_allclose(result.x, scipys.x, atol=1e-5)


@pytest.mark.parametrize("bounds", [[(5, 6)] * 2, [(5, None)] * 2, [(5, 5), (5, 1e308)]])
def test_a_corner_that_is_pushed_into_is_the_minimum(bounds):
    result = run(sphere, sphere_gradient, [5.0, 5.0], bounds)
    assert (result.success, result.nit, result.nfev, result.x.tolist()) == (True, 0, 1, [5.0, 5.0])


@pytest.mark.parametrize("ulps", [1, 2, 3])
def test_boxes_of_some_ulps(ulps):
    upper = 1.0
    for _ in range(ulps):
        upper = math.nextafter(upper, 2.0)
    for x0 in (1.0, upper):
        fun, gradient = lambda x: x[0] + (x[1] - 3.0) ** 2, lambda x: np.array([1.0, 2.0 * x[1] - 6.0])
        result = run(fun, gradient, [x0, 1.0], [(1.0, upper), (0, 9)])
        assert result.success
        np.testing.assert_allclose(result.x, [1.0, 3.0], rtol=1e-9)


@pytest.mark.parametrize("size", [1e6, 1e200, 1.7e308])
def test_huge_boxes(size):
    result = run(sphere, sphere_gradient, [1.0, 2.0], [(-size, size)] * 2)
    assert result.success
    np.testing.assert_allclose(result.x, [0.0, 1.0], atol=1e-9)


# Stops


def test_nothing_to_do_on_a_constant():
    result = run(lambda x: 3.0, np.zeros_like, [1.0, 2.0])
    assert (result.success, result.nfev) == (True, 1)


@MEMORIES
@pytest.mark.parametrize(
    ("fun", "gradient"),
    [
        (lambda x: float(np.sum(x)), np.ones_like),
        (lambda x: -float(x @ x), lambda x: -2.0 * x),
        (lambda x: x[0] ** 3 + x[1], lambda x: np.array([3.0 * x[0] ** 2, 1.0])),
    ],
    ids=["linear", "hill", "cubic"],
)
def test_unbounded(fun, gradient, memory):
    with np.errstate(over="ignore", invalid="ignore"):
        result = minimize(lambda x: (fun(x), gradient(x)), [1.0, 2.0], jac=True, options={"memory": memory})
    assert (result.status, result.success) == (4, False)
    assert result.fun < -1e290
    assert result.nfev < 2000


def test_linear_objectives_are_unbounded_by_differences_too():
    for seed in range(5):
        slope = np.random.default_rng(seed).standard_normal(3)
        result = minimize(lambda x, slope: float(slope @ x), np.ones(3), args=(slope,))
        assert (result.status, result.success) == (4, False)
        assert result.nfev < 3000


@MEMORIES
@pytest.mark.parametrize(
    ("fun", "gradient", "tolerance"),
    [
        (lambda x: math.exp(-x[0]), lambda x: -np.exp(-x), 1e-8),
        (lambda x: x[0] ** 4, lambda x: 4.0 * x**3, 1e-12),
        (lambda x: x[0] ** 10, lambda x: 10.0 * x**9, 1e-10),
        (lambda x: abs(x[0]) ** 1.5, lambda x: 1.5 * np.abs(x) ** 0.5 * np.sign(x), 1e-12),
    ],
    ids=["exp", "x**4", "x**10", "x**1.5"],
)
def test_singular_minima_end_in_success(fun, gradient, tolerance, memory):
    result = minimize(fun, [1.5], jac=gradient, options={"memory": memory})
    assert result.success
    assert result.fun <= tolerance
    assert result.nfev < 500


def test_a_saddle_is_stationary():
    result = run(lambda x: x[0] ** 2 - x[1] ** 2, lambda x: np.array([2.0, -2.0]) * x, [1.0, 0.0])
    assert result.success


@WRAPS
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_start_without_value(wrap, value):
    result = minimize(wrap(lambda x: value + 0.0 * x[0]), [1.0], jac=wrap(lambda x: 2.0 * x))
    assert (result.status, result.success, result.nit, result.nfev) == (3, False, 0, 1)
    assert result.x.tolist() == [1.0]


@MEMORIES
@pytest.mark.parametrize("outside", [math.nan, math.inf])
@pytest.mark.parametrize("weight", [1.0, 1e-3, 1e-6])
def test_barriers(outside, weight, memory):
    # The minimum lies at `weight`, the wall at 0.
    result = run(
        lambda x: x[0] - weight * math.log(x[0]) if x[0] > 0.0 else outside,
        lambda x: 1.0 - weight / x if x[0] > 0.0 else np.full(1, np.nan),
        [5.0],
        memory=memory,
    )
    assert result.success
    np.testing.assert_allclose(result.x, weight, rtol=1e-4)


def test_a_gradient_that_is_not_finite_is_a_wall():
    watched = Watched(lambda x: x[0] ** 2, lambda x: 2.0 * x if x[0] > 0.5 else np.full(1, np.nan))
    result = minimize(watched, [1.0], jac=True)
    assert (result.status, result.success) == (3, False)
    assert 0.5 < result.x[0] < 0.51


@pytest.mark.parametrize("start", [1e-8, 1e-15, 1e-30, 1e-300, 5e-324])
@pytest.mark.parametrize("other", [[], [1.0]], ids=["alone", "beside"])
def test_a_start_next_to_0(start, other):
    result = run(lambda x: sphere(x - 3.0), lambda x: sphere_gradient(x - 3.0), [start, *other])
    assert result.success
    np.testing.assert_allclose(result.x, 3.0 + np.arange(len(result.x)), atol=1e-6)


def test_tests_of_the_user():
    reached = run(rosenbrock, rosenbrock_gradient, START, f_target=1.0)
    assert reached.success
    assert reached.fun <= 1.0
    assert reached.nit < run(rosenbrock, rosenbrock_gradient, START).nit
    still = run(rosenbrock, rosenbrock_gradient, START, ftol=1e-3)
    assert (still.status, "ftol" in still.message) == (0, True)
    loose = run(rosenbrock, rosenbrock_gradient, START, gtol=1e-2)
    assert loose.success
    assert 1e-12 < np.abs(loose.jac).max() <= 1e-2


# Success is honest


def waves(rng):
    """A sum of waves on a bowl, with many minima."""
    n = int(rng.integers(1, 6))
    frequencies, phases = rng.uniform(0.5, 30.0, n), rng.uniform(0.0, 6.0, n)
    return (
        lambda x: np.sum(np.sin(frequencies * x + phases)) + 0.1 * (x @ x),
        lambda x: frequencies * np.cos(frequencies * x + phases) + 0.2 * x,
        rng.uniform(-2.0, 2.0, n),
    )


@MEMORIES
def test_success_means_a_stationary_point(memory):
    for seed in range(400 if COMPILES else 100):
        fun, gradient, x0 = waves(np.random.default_rng(seed))
        result = run(fun, gradient, x0, memory=memory, may_be_above=1e-9)
        assert result.success
        assert np.abs(result.jac).max() <= 1e-5


def test_the_best_point_is_not_replaced_by_a_higher_one():
    for seed in (283, 987, 1713, 2323):
        rng = np.random.default_rng(seed)
        n = int(rng.integers(1, 4))
        frequencies, phases = rng.uniform(0.5, 30.0, n), rng.uniform(0.0, 6.0, n)
        run(
            lambda x, a=frequencies, p=phases: np.sum(np.sin(a * x + p)) + 0.1 * (x @ x),
            lambda x, a=frequencies, p=phases: a * np.cos(a * x + p) + 0.2 * x,
            rng.uniform(-2.0, 2.0, n),
            may_be_above=1e-9,
        )


@MEMORIES
@pytest.mark.parametrize("scheme", ["2-point", "3-point", "cs"])
def test_success_with_differences_means_a_stationary_point(scheme, memory):
    result = minimize(trid, np.zeros(6), jac=scheme, options={"memory": memory})
    assert result.fun == pytest.approx(-50.0, abs=1e-6) or not result.success


@pytest.mark.parametrize("offset", [1.0, 1e6, -1e6, 1e10])
def test_what_rounding_hides_is_left(offset):
    result = run(
        lambda x: offset + rosenbrock(x), rosenbrock_gradient, START, may_be_above=4 * abs(offset) * np.finfo(float).eps
    )
    assert result.success
    assert rosenbrock(result.x) <= 100.0 * np.finfo(float).eps * abs(offset)


@pytest.mark.parametrize("x0", [28.0, 2.9, 6.1, 1.0, 12.0, 19.0, 25.2, 31.0])
def test_large_offsets_do_not_lead_to_maxima(x0):
    result = minimize(lambda x: 1e10 + math.cos(x[0]), [x0], jac=lambda x: -np.sin(x))
    assert math.cos(result.x[0]) < -0.99
