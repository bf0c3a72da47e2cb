"""SciPy's global optimizers with `nadam` for their local searches."""

import inspect
from functools import partial

import numpy as np
import pytest
import scipy.optimize
from marks import WRAPS

from nadam_numba import minimize, nadam, schedules

RATE = {"learning_rate": schedules.cosine_decay(0.05, 300), "maxiter": 300, "gtol": 1e-3}
BOUNDS = [(-2.0, 2.0), (-1.5, 1.5)]
# SciPy 1.15 renamed the argument.
SEED = {"rng" if "rng" in inspect.signature(scipy.optimize.basinhopping).parameters else "seed": 1}
takes_polish = pytest.mark.skipif(
    "polish : {bool, callable}" not in scipy.optimize.differential_evolution.__doc__,
    reason="this SciPy takes no function for polish",
)


def camel(x):
    """Six-hump camel back: minima of -1.0316284535 at +-(0.0898, -0.7127), and four others."""
    return (4.0 - 2.1 * x[0] ** 2 + x[0] ** 4 / 3.0) * x[0] ** 2 + x[0] * x[1] + (4.0 * x[1] ** 2 - 4.0) * x[1] ** 2


def camel_gradient(x):
    slope = 8.0 * x[0] - 8.4 * x[0] ** 3 + 2.0 * x[0] ** 5 + x[1]
    return np.array([slope, x[0] - 8.0 * x[1] + 16.0 * x[1] ** 3])


def camel_pair(x):
    return camel(x), camel_gradient(x)


def assert_minimum(result, atol=1e-3):
    assert result.fun == pytest.approx(-1.0316284535, abs=1e-5)
    np.testing.assert_allclose(np.abs(result.x), [0.0898, 0.7127], atol=atol)
    assert camel(result.x) == result.fun


@WRAPS
def test_basinhopping(wrap):
    local = {"method": nadam, "jac": wrap(camel_gradient), "options": RATE, "bounds": BOUNDS}
    result = scipy.optimize.basinhopping(wrap(camel), [1.5, 1.0], niter=8, minimizer_kwargs=local, **SEED)
    assert_minimum(result)
    assert result.minimization_failures == 0
    assert result.njev > 9


def test_basinhopping_with_a_pair_and_honest_failures():
    local = {"method": nadam, "jac": True, "options": {**RATE, "maxiter": 2}}
    result = scipy.optimize.basinhopping(camel_pair, [1.5, 1.0], niter=3, minimizer_kwargs=local, **SEED)
    assert result.minimization_failures == 4


def test_dual_annealing():
    local = {"method": nadam, "jac": camel_gradient, "options": RATE, "bounds": BOUNDS}
    result = scipy.optimize.dual_annealing(camel, BOUNDS, maxiter=20, minimizer_kwargs=local, **SEED)
    assert_minimum(result)
    assert result.success


def test_dual_annealing_with_differences():
    local = {"method": nadam, "options": RATE, "bounds": BOUNDS}
    result = scipy.optimize.dual_annealing(camel, BOUNDS, maxiter=5, minimizer_kwargs=local, **SEED)
    assert_minimum(result)


def test_shgo():
    method = partial(nadam, **RATE)
    method.lower = nadam.lower
    local = {"method": method, "jac": camel_gradient}
    result = scipy.optimize.shgo(camel, BOUNDS, n=32, minimizer_kwargs=local)
    assert_minimum(result)
    assert result.success


def test_shgo_with_the_default_options():
    result = scipy.optimize.shgo(
        camel, [(0.0, 0.5), (-1.0, -0.5)], n=8, minimizer_kwargs={"method": nadam, "jac": camel_gradient}
    )
    assert_minimum(result)


POLISHES = {
    "scipy.optimize.minimize": partial(scipy.optimize.minimize, method=nadam, options=RATE),
    "minimize": partial(minimize, options=RATE),
    "minimize with the method": partial(minimize, method=nadam, options=RATE),
    "nadam": partial(nadam, **RATE),
    "minimize with the gradient": partial(minimize, jac=camel_gradient, options=RATE),
}


@takes_polish
@pytest.mark.parametrize("polish", POLISHES.values(), ids=POLISHES)
def test_differential_evolution(polish):
    calls = []

    def watched(fun, x, **arguments):
        assert set(arguments) == {"bounds", "constraints"}
        calls.append((x, polish(fun, x, **arguments)))
        return calls[-1][1]

    result = scipy.optimize.differential_evolution(camel, BOUNDS, maxiter=8, tol=0.0, polish=watched, **SEED)
    ((start, polished),) = calls
    assert polished.success
    assert polished.fun < camel(start)
    assert result.fun == polished.fun
    np.testing.assert_array_equal(result.x, polished.x)
    assert_minimum(result)


@takes_polish
def test_differential_evolution_ends_exactly_within():
    # The least value lies at a corner whose bounds are no round numbers.
    bounds = [(0.1 + 0.2, 1.0), (0.7, 1.1)]
    polish = partial(minimize, options=RATE)
    arguments = {"maxiter": 3, "tol": 0.0, **SEED}
    result = scipy.optimize.differential_evolution(lambda x: x[0] + x[1], bounds, polish=polish, **arguments)
    assert result.x.tolist() == [0.1 + 0.2, 0.7]


@takes_polish
def test_a_polish_that_runs_out_of_iterations_is_no_success():
    polish = partial(minimize, options={**RATE, "maxiter": 2})
    arguments = {"maxiter": 3, "tol": 0.0, **SEED}
    result = scipy.optimize.differential_evolution(camel, BOUNDS, polish=polish, **arguments)
    without = scipy.optimize.differential_evolution(camel, BOUNDS, polish=False, **arguments)
    np.testing.assert_array_equal(result.x, without.x)
