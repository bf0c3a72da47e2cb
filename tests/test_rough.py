"""Where line searches find nothing: noise, kinks and wrong gradients are told apart, with one warning each."""

import warnings

import numpy as np
import pytest
import scipy.optimize
from marks import MEMORIES, WRAPS
from problems import rosenbrock, rosenbrock_gradient, sphere, sphere_gradient

from nadam_numba import minimize

START = np.array([-1.2, 1.0])


def run(fun, x0, jac, **options):
    """The result, and the messages of the warnings."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        result = minimize(fun, x0, jac=jac, options=options)
    assert all(warning.category is RuntimeWarning for warning in caught)
    assert all(warning.filename == __file__ for warning in caught)
    return result, [str(warning.message) for warning in caught]


# Wrong gradients


@WRAPS
@pytest.mark.parametrize("maxfev", [100, 1000])
@MEMORIES
def test_a_gradient_of_the_wrong_sign(wrap, maxfev, memory):
    slope = wrap(sphere_gradient)
    result, messages = run(wrap(sphere), [5.0, 5.0], wrap(lambda x: -slope(x)), maxfev=maxfev, memory=memory)
    assert (result.status, result.success) == (2, False)
    assert result.message == "The objective does not change as its gradient says."
    assert result.fun == sphere(result.x) <= sphere(np.array([5.0, 5.0]))
    assert len(messages) == 1
    assert "check the gradient" in messages[0]


def test_no_diagnosis_without_evaluations_left():
    result, messages = run(sphere, [5.0, 5.0], lambda x: -sphere_gradient(x), maxfev=30)
    assert not result.success
    assert not messages
    assert result.nfev <= 30


@pytest.mark.parametrize("factor", [0.5, 2.0, 0.1, 10.0])
@MEMORIES
def test_a_gradient_off_by_a_factor_will_do(factor, memory):
    result, messages = run(rosenbrock, START, lambda x: factor * rosenbrock_gradient(x), memory=memory)
    assert result.success
    assert not messages
    np.testing.assert_allclose(result.x, 1.0, atol=1e-5)


@pytest.mark.parametrize("fun", ["rosenbrock", "sphere"])
def test_one_wrong_component(fun):
    fun, gradient = {"rosenbrock": (rosenbrock, rosenbrock_gradient), "sphere": (sphere, sphere_gradient)}[fun]
    signs = np.array([1.0, -1.0])
    result, messages = run(fun, [-1.2, 1.5], lambda x: signs * gradient(x))
    assert not result.success
    assert len(messages) == 1
    assert result.fun <= fun(np.array([-1.2, 1.5]))


# Noise


def test_additive_noise():
    rng = np.random.default_rng(0)
    result, messages = run(
        lambda x: rosenbrock(x) + 1e-3 * rng.standard_normal(),
        START,
        lambda x: rosenbrock_gradient(x) + 1e-2 * rng.standard_normal(2),
    )
    assert not result.success
    assert len(messages) == 1
    assert "noisy" in messages[0]
    np.testing.assert_allclose(result.x, 1.0, atol=0.05)


def minibatch(start, seed):
    """A regression whose residuals are drawn anew at each call: the run, and how far it is from the solution."""
    rng = np.random.default_rng(seed)
    matrix = rng.standard_normal((1000, 5))
    right = matrix @ np.arange(1.0, 6.0) + 0.1 * rng.standard_normal(1000)
    solution = np.linalg.lstsq(matrix, right)[0]

    def fun(x):
        rows = rng.integers(0, 1000, 32)
        residual = matrix[rows] @ x - right[rows]
        return 0.5 * (residual @ residual) / 32, matrix[rows].T @ residual / 32

    result, messages = run(fun, np.full(5, start), True)
    return result, messages, np.abs(result.x - solution).max()


@pytest.mark.parametrize(("start", "seed"), [(0.0, 0), (0.0, 1), (1.0, 0), (1.0, 1), (0.0, 15), (0.0, 28), (1.0, 29)])
def test_minibatches_end_near_the_solution_of_all(start, seed):
    result, messages, error = minibatch(start, seed)
    assert not result.success
    assert len(messages) == 1
    assert "noisy" in messages[0]
    assert error < 0.02


def test_noise_under_differences_does_not_lead_away():
    rng = np.random.default_rng(1)
    result, messages = run(lambda x: sphere(x) + 1e-3 * rng.standard_normal(), [5.0, 5.0], None)
    assert len(messages) <= 1
    assert sphere(result.x) <= sphere(np.array([5.0, 5.0]))


def test_roughness_of_the_values_alone():
    result, _ = run(lambda x: sphere(x) + 1e-6 * np.sin(1e8 * x).sum(), [5.0, 5.0], sphere_gradient)
    np.testing.assert_allclose(result.x, [0.0, 1.0], atol=1e-3)


def test_values_of_single_precision():
    result, _ = run(lambda x: float(np.float32(rosenbrock(x))), START, rosenbrock_gradient)
    np.testing.assert_allclose(result.x, 1.0, atol=1e-3)


# Rounding, which is no noise


@pytest.mark.parametrize("size", [1e2, 1e4, 1e6])
def test_rounding_is_no_noise(size):
    center = size * np.array([1.0, 2.0, 3.0])
    for x0 in (np.ones(3), 1.01 * center):
        result, messages = run(lambda x: x @ x - 2.0 * (center @ x) + center @ center, x0, lambda x: 2.0 * (x - center))
        assert result.success
        assert not messages
        np.testing.assert_allclose(result.x, center, rtol=1e-6)


@pytest.mark.parametrize("n", [5, 20, 50])
def test_rounding_of_terms_that_cancel_is_no_noise(n):
    rng = np.random.default_rng(5)
    matrix = rng.standard_normal((2 * n, n)) * np.logspace(0, 3, n)
    right = matrix @ rng.standard_normal(n)
    square, product, constant = matrix.T @ matrix, matrix.T @ right, right @ right
    _, messages = run(
        lambda x: x @ square @ x - 2.0 * (product @ x) + constant, np.ones(n), lambda x: 2.0 * (square @ x - product)
    )
    assert not messages


# Kinks


def test_a_distance():
    result, _ = run(lambda x: abs(x[0] - 0.3), [1.0], lambda x: np.sign(x - 0.3))
    assert result.fun < 1e-6


def largest_gradient(x):
    gradient = np.zeros_like(x)
    index = np.argmax(np.abs(x))
    gradient[index] = np.sign(x[index])
    return gradient


@MEMORIES
def test_the_largest_magnitude(memory):
    result, messages = run(lambda x: np.abs(x).max(), np.arange(1.0, 6.0), largest_gradient, memory=memory)
    assert result.fun < 1e-2
    assert len(messages) <= 1


# What goes on


def test_the_run_goes_on_with_its_counts_callbacks_and_history():
    rng, seen, calls = np.random.default_rng(0), [], []

    def fun(x):
        calls.append(x)
        return sphere(x) + 1e-2 * rng.standard_normal(), sphere_gradient(x) + rng.standard_normal(x.size)

    with pytest.warns(RuntimeWarning, match="noisy"):
        result = minimize(
            fun,
            np.full(4, 9.0),
            jac=True,
            callback=lambda intermediate_result: seen.append(intermediate_result),
            options={"maxiter": 300, "history": 1, "return_all": True},
        )
    assert [r.nit for r in seen] == list(range(1, result.nit + 1))
    assert len(result.allvecs) == len(result.history["nit"]) == result.nit + 1
    assert result.nfev == len(calls)
    assert result.nit == 300
    assert np.all(np.diff([r.nfev for r in seen]) > 0)
    np.testing.assert_allclose(result.x, np.arange(4), atol=0.5)


def test_a_run_that_has_met_kinks_is_no_success():
    # The default of gtol is relative to the start in one method, and must be so in the other.
    unit = 1e-8
    signs = np.array([1.0, -1.0])
    result, messages = run(lambda x: unit * rosenbrock(x), START, lambda x: unit * signs * rosenbrock_gradient(x))
    assert len(messages) == 1
    assert not result.success


def test_kinks_are_no_success():
    for seed in (0, 5, 8):
        rng = np.random.default_rng(seed)
        matrix, right = rng.normal(size=(50, 3)), rng.normal(size=50)
        result, messages = run(
            lambda x, a=matrix, b=right: np.abs(a @ x - b).sum(),
            rng.normal(size=3),
            lambda x, a=matrix, b=right: a.T @ np.sign(a @ x - b),
        )
        assert not result.success
        assert len(messages) == 1
        # The least absolute deviations, as a linear program in x and the deviations.
        identity = np.eye(50)
        exact = scipy.optimize.linprog(
            np.r_[np.zeros(3), np.ones(50)],
            np.block([[matrix, -identity], [-matrix, -identity]]),
            np.r_[right, -right],
            bounds=[(None, None)] * 3 + [(0, None)] * 50,
        )
        assert exact.fun <= result.fun * (1.0 + 1e-12)
        assert result.fun <= exact.fun * (1.0 + 1e-2)


@pytest.mark.parametrize("offset", [0.0, 1.0, 1000.0])
def test_a_start_at_the_minimum_is_success_without_warning(offset):
    x = START
    for _ in range(3):
        result, messages = run(lambda x: offset + rosenbrock(x), x, rosenbrock_gradient)
        assert result.success
        assert not messages
        x = result.x


def test_polishing_makes_no_success_of_noise():
    rng = np.random.default_rng(0)
    result, _ = run(
        lambda x: rosenbrock(x) + 1e-3 * rng.standard_normal(), START, rosenbrock_gradient, polish=True, maxiter=2000
    )
    assert not result.success
