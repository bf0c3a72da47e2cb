"""Bounds: SciPy's two forms and its messages, points that stay inside, and the projected gradient."""

import math

import numpy as np
import pytest
import scipy.optimize
import scipy.sparse
from marks import WRAPS
from problems import rosenbrock, rosenbrock_gradient, sphere, sphere_gradient
from scipy.optimize import Bounds

from nadam_numba import minimize
from nadam_numba.minimize.bounds import clip, make_bounds, projected_norm

RATE = {"learning_rate": 0.05}
X = np.zeros(2)


@pytest.mark.parametrize(
    ("bounds", "lower", "upper"),
    [
        ([(0, 1), (2, 3)], [0, 2], [1, 3]),
        ([(None, 1), (2, None)], [-np.inf, 2], [1, np.inf]),
        (((0, np.array(1.0)), [np.array([2]), np.float32(3)]), [0, 2], [1, 3]),
        (np.array([[0.0, 1.0], [2.0, 3.0]]), [0, 2], [1, 3]),
        ([(2, 5)], [2, 2], [5, 5]),
        (iter([(0, 1), (2, 3)]), [0, 2], [1, 3]),
        (zip((0, 2), (1, 3), strict=True), [0, 2], [1, 3]),
        (Bounds([0, 2], [1, 3]), [0, 2], [1, 3]),
        (Bounds(0, [1, 3]), [0, 0], [1, 3]),
        (Bounds(0, 1, keep_feasible=True), [0, 0], [1, 1]),
        (Bounds(lb=[1, 2]), [1, 2], [np.inf, np.inf]),
        ([(True, 2), (0, 2)], [1, 0], [2, 2]),
        ([(1, 1), (0, 2)], [1, 0], [1, 2]),
    ],
)
def test_forms(bounds, lower, upper):
    ends = make_bounds(bounds, X)
    for end, expected in zip(ends, (lower, upper), strict=True):
        np.testing.assert_array_equal(end, np.array(expected, np.float64), strict=True)
        assert end.flags.c_contiguous
        assert end.flags.writeable


@pytest.mark.parametrize("bounds", [None, Bounds(), [(None, None)], [(None, math.inf), (-math.inf, None)]])
def test_no_bounds(bounds):
    assert make_bounds(bounds, X) == (None, None)


def sparse_attribute():
    bounds = Bounds(0, 1)
    bounds.lb = scipy.sparse.csr_array([[0.0, 0.0]])
    return bounds


MESSAGES = [
    ([(1, 0), (0, 1)], ValueError, "An upper bound is less than the corresponding lower bound."),
    (Bounds([0, 1], [1, 0]), ValueError, "An upper bound is less than the corresponding lower bound."),
    ([(0, 1)] * 3, ValueError, "The number of bounds is not compatible with the length of `x0`."),
    (Bounds([0, 1, 2], 5), ValueError, "The number of bounds is not compatible with the length of `x0`."),
]


@pytest.mark.parametrize(("bounds", "error", "message"), MESSAGES)
def test_messages_are_scipys(bounds, error, message):
    for minimizer, method in ((minimize, "nadam"), (scipy.optimize.minimize, "L-BFGS-B")):
        with pytest.raises(error) as raised:
            minimizer(sphere, [0.0, 0.0], bounds=bounds, method=method)
        assert str(raised.value) == message


@pytest.mark.parametrize(
    ("bounds", "error", "message"),
    [
        ([(math.nan, 1), (0, 1)], ValueError, "the lower bound of variable 0 is nan"),
        ([(0, 1), (0, math.nan)], ValueError, "the upper bound of variable 1 is nan"),
        (Bounds(0, [1, math.nan]), ValueError, "the upper bound of variable 1 is nan"),
        ([(math.inf, None)], ValueError, "the lower bound of variable 0 is inf"),
        ([(0, 1), (None, -math.inf)], ValueError, "the upper bound of variable 1 is -inf"),
        ([(0, 1), (0, 1, 2)], ValueError, r"bounds\[1\]=\(0, 1, 2\): it must be a pair"),
        ([(0, 1), (0, 1j)], TypeError, r"bounds\[1\] has the entry 1j"),
        ([(0, "1"), (0, 1)], TypeError, r"bounds\[0\] has the entry '1'"),
        ([(0, [1, 2]), (0, 1)], TypeError, r"bounds\[0\] has the entry \[1, 2\]"),
        (3, TypeError, "bounds=3"),
        ([1, 2], TypeError, r"bounds=\[1, 2\]"),
        ([], ValueError, "The number of bounds is not compatible"),
        (scipy.sparse.csr_array([[0.0, 1.0], [0.0, 1.0]]), ValueError, "must be dense arrays"),
        (sparse_attribute(), ValueError, "must be dense arrays"),
    ],
    ids=str,
)
def test_bad_bounds(bounds, error, message):
    with pytest.raises(error, match=message):
        minimize(sphere, [0.0, 0.0], bounds=bounds)


def test_single_precision_rounds_to_the_inside():
    lower, upper = make_bounds([(0.1, 0.3), (1.0 / 3.0, 0.7)], np.zeros(2, np.float32))
    assert lower.dtype == upper.dtype == np.float32
    assert np.all(lower.astype(np.float64) >= [0.1, 1.0 / 3.0])
    assert np.all(upper.astype(np.float64) <= [0.3, 0.7])
    np.testing.assert_allclose(lower, [0.1, 1.0 / 3.0], rtol=1.2e-7)
    np.testing.assert_allclose(upper, [0.3, 0.7], rtol=1.2e-7)
    lower, upper = make_bounds([(0.1, 0.1), (-1e300, 2.0)], np.zeros(2, np.float32))
    assert lower[0] == upper[0] == np.float32(0.1)
    assert lower[1] < -1e38


def test_the_users_bounds_are_not_changed():
    bounds = Bounds(0.0, 3.0)
    minimize(sphere, [5.0, 5.0], bounds=bounds, options={"maxiter": 3})
    assert (bounds.lb.tolist(), bounds.ub.tolist()) == ([0.0], [3.0])
    pairs = [(0, 3), [None, 4]]
    minimize(sphere, [5.0, 5.0], bounds=pairs, options={"maxiter": 3})
    assert pairs == [(0, 3), [None, 4]]


def test_clip_and_norm_of_the_projected_gradient():
    generator = np.random.default_rng(0)
    for dtype in (np.float32, np.float64):
        for _ in range(50):
            x, gradient, ends = (generator.standard_normal(shape).astype(dtype) for shape in (5, 5, (2, 5)))
            lower, upper = ends.min(axis=0), ends.max(axis=0)
            lower[0], upper[1] = -np.inf, np.inf
            clipped = x.copy()
            clip(clipped, lower, upper)
            np.testing.assert_array_equal(clipped, np.clip(x, lower, upper))
            expected = np.abs(clipped - np.clip(clipped - gradient, lower, upper)).max()
            assert projected_norm(clipped, gradient, lower, upper) == pytest.approx(expected, rel=1e-5, abs=1e-6)
            assert projected_norm(x, gradient, None, None) == np.abs(gradient).max()
            gradient[3] = np.nan
            assert np.isnan(projected_norm(clipped, gradient, lower, upper))
            assert np.isnan(projected_norm(clipped, gradient, None, None))


def test_norm_of_a_small_gradient_far_from_0():
    # As x - clip(x - gradient) it would be rounded to 0.
    x, gradient = np.array([1e10]), np.array([1e-8])
    assert projected_norm(x, gradient, np.array([0.0]), np.array([np.inf])) == 1e-8


@WRAPS
@pytest.mark.parametrize("with_gradient", [True, False])
@pytest.mark.parametrize(
    ("fun", "gradient", "x0", "bounds"),
    [
        (rosenbrock, rosenbrock_gradient, [-1.2, 1.0], [(None, 0.5), (None, None)]),
        (rosenbrock, rosenbrock_gradient, [-1.2, 1.0], [(-2.0, 2.0), (1.5, 2.0)]),
        (sphere, sphere_gradient, [5.0, 5.0, 5.0], [(1.0, 2.0), (None, 0.5), (0.0, 3.0)]),
        (sphere, sphere_gradient, [5.0, 5.0, 5.0], [(1.0, 2.0), (0.5, 0.5), (0.0, None)]),
    ],
    ids=["active", "lower", "sphere", "fixed"],
)
def test_minimum_within_bounds_is_scipys(wrap, with_gradient, fun, gradient, x0, bounds):
    jac = gradient if with_gradient else None
    scipys = scipy.optimize.minimize(fun, x0, jac=jac, bounds=bounds, method="L-BFGS-B", tol=1e-12)
    result = minimize(wrap(fun), x0, jac=wrap(gradient) if with_gradient else None, bounds=bounds)
    assert result.success
    np.testing.assert_allclose(result.x, scipys.x, atol=2e-4)
    lower, upper = make_bounds(bounds, result.x)
    assert np.all((lower <= result.x) & (result.x <= upper))
    assert result.fun == fun(result.x)
    np.testing.assert_array_equal(np.isnan(result.jac), np.isnan(scipys.jac))
    free = ~np.isnan(result.jac)
    np.testing.assert_allclose(result.jac[free], gradient(result.x)[free], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(scipys.jac[free], gradient(result.x)[free], rtol=2e-3, atol=1e-3)


@WRAPS
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_textbook_step_is_clipped(wrap, dtype):
    from naive import nadam_step

    x0, lower, upper = np.array([-1.2, 1.0], dtype), np.array([-1.25, 0.0], dtype), np.array([0.5, 1.02], dtype)
    p, m, v, mu_product = x0, np.zeros_like(x0), np.zeros_like(x0), 1.0
    expected = [x0]
    for t in range(1, 101):
        p, m, v, mu_product = nadam_step(p, m, v, rosenbrock_gradient(p), t, mu_product, lr=0.02)
        p = np.clip(p, lower, upper)
        expected.append(p)
    options = {"learning_rate": 0.02, "maxiter": 100, "gtol": 0.0, "return_all": True}
    bounds = Bounds(lower, upper)
    result = minimize(wrap(rosenbrock), x0, jac=wrap(rosenbrock_gradient), bounds=bounds, options=options)
    np.testing.assert_array_equal(result.allvecs, expected)


@WRAPS
def test_infinite_bounds_change_nothing(wrap):
    options = {**RATE, "maxiter": 50, "gtol": 0.0}
    arguments = {"jac": wrap(rosenbrock_gradient), "options": options}
    free = minimize(wrap(rosenbrock), [-1.2, 1.0], **arguments)
    bounded = minimize(wrap(rosenbrock), [-1.2, 1.0], bounds=[(-1e9, None), (None, 1e9)], **arguments)
    np.testing.assert_array_equal(free.x, bounded.x)


@WRAPS
def test_start_is_clipped(wrap):
    x0 = np.array([5.0, -7.0])
    result = minimize(wrap(sphere), x0, bounds=[(-1, 1), (-2, 2)], options={"maxiter": 0})
    assert result.x.tolist() == [1.0, -2.0]
    assert x0.tolist() == [5.0, -7.0]


def test_the_objective_sees_points_within_only():
    lower, upper = np.array([0.2, -1.0]), np.array([0.5, 0.5])
    points = []

    def fun(x):
        points.append(x)
        return rosenbrock(x)

    minimize(fun, [0.4, 0.0], jac=rosenbrock_gradient, bounds=Bounds(lower, upper), options={"polish": True})
    assert all(np.all((lower <= x) & (x <= upper)) for x in points)


@WRAPS
def test_gradient_is_projected_in_the_test(wrap):
    # The minimum lies at the corner, where the gradient is far from 0.
    result = minimize(
        wrap(sphere), [5.0, 5.0], jac=wrap(sphere_gradient), bounds=[(2.0, 6.0), (3.0, 6.0)], options=RATE
    )
    assert (result.success, result.x.tolist(), result.jac.tolist()) == (True, [2.0, 3.0], [4.0, 4.0])


@WRAPS
@pytest.mark.parametrize("jac", [None, "gradient", True])
def test_all_variables_fixed(wrap, jac):
    bounds = [(2.0, 2.0), (-1.0, -1.0)]

    def run(minimizer, wrap, method):
        value, slope = wrap(sphere), wrap(sphere_gradient)
        pair = wrap(lambda x, scale: (scale * value(x), scale * slope(x)))
        fun = pair if jac is True else wrap(lambda x, scale: scale * value(x))
        gradient = wrap(lambda x, scale: scale * slope(x)) if jac == "gradient" else jac
        return minimizer(fun, [0.0, 0.0], args=(3.0,), jac=gradient, bounds=bounds, method=method)

    result = run(minimize, wrap, "nadam")
    scipys = run(scipy.optimize.minimize, lambda f: f, "L-BFGS-B")
    assert set(result) == set(scipys) | {"status", "nit"}
    for field in scipys:
        np.testing.assert_array_equal(result[field], scipys[field])
    assert (result.success, result.status, result.nit) == (True, 0, 0)
    assert type(result.fun) is float


def test_all_variables_fixed_where_there_is_no_value():
    result = minimize(lambda x: math.nan, [0.0], bounds=[(2.0, 2.0)])
    assert (result.success, result.status) == (False, 3)


def test_all_variables_fixed_with_history():
    options = {"history": 1, "return_all": True}
    result = minimize(sphere, [0.0, 0.0], bounds=[(2.0, 2.0), (3.0, 3.0)], options=options)
    assert {name: column.tolist() for name, column in result.history.items() if name != "learning_rate"} == {
        "nit": [0],
        "fun": [sphere(np.array([2.0, 3.0]))],
        "gradient_norm": [0.0],
    }
    assert np.isnan(result.history["learning_rate"]).tolist() == [True]
    assert [point.tolist() for point in result.allvecs] == [[2.0, 3.0]]


def test_other_methods_get_the_bounds_as_they_are():
    result = minimize(sphere, [5.0, 5.0], method="L-BFGS-B", bounds=[(2, 6), (3, 6)])
    np.testing.assert_allclose(result.x, [2.0, 3.0])
