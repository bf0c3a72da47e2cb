"""The contenders that minimise: the Rosenbrock function of two variables, with its gradient."""

import functools

import numpy as np
from numba import njit

from nadam_numba.bench import jax_peers, torch_peer
from nadam_numba.bench.contender import (
    BETA_1,
    BETA_2,
    EPSILON,
    LEARNING_RATE,
    OPTAX_DECAY,
    OURS,
    TORCH_DECAY,
    Contender,
)
from nadam_numba.minimize import minimize
from nadam_numba.optimizer import NAdam

START = np.array([-1.2, 1.0])
MINIMUM = np.ones(2)
# Where Python is called in each iteration, fewer of them tell as much.
_COMPILED_ITERATIONS, _PYTHON_ITERATIONS = 12_000, 500
# Two ways to the same minimum, which each method leaves where its own stops say.
_AT_MINIMUM = 1e-3


def rosenbrock(x):
    """Value and gradient."""
    bend, slack = x[1] - x[0] * x[0], 1.0 - x[0]
    gradient = np.empty(2)
    gradient[0] = -400.0 * bend * x[0] - 2.0 * slack
    gradient[1] = 200.0 * bend
    return slack * slack + 100.0 * bend * bend, gradient


def rosenbrock_in_place(x, gradient):
    """The value; the gradient is written into an array."""
    bend, slack = x[1] - x[0] * x[0], 1.0 - x[0]
    gradient[0] = -400.0 * bend * x[0] - 2.0 * slack
    gradient[1] = 200.0 * bend
    return slack * slack + 100.0 * bend * bend


def contenders(case, available, threads):
    """Ours with a compiled objective first, then ours in Python, then the peers.

    Yields
    ------
    Contender
    """
    compiled = njit(rosenbrock)
    if case.name == "fixed rate":
        yield from _at_fixed_rate(compiled, available, threads)
    else:
        yield from _to_the_minimum(compiled)


def _at_fixed_rate(compiled, available, threads):
    yield _ours(f"{OURS}, @njit objective", compiled, _COMPILED_ITERATIONS)
    in_place = njit(rosenbrock_in_place)
    yield _ours(f"{OURS}, @njit objective in place", in_place, _COMPILED_ITERATIONS)
    yield _ours(f"{OURS}, Python objective", rosenbrock, _PYTHON_ITERATIONS)
    if "optax" in available:
        yield jax_peers.make_optax_solve(
            START, LEARNING_RATE, _COMPILED_ITERATIONS, functools.partial(_stepped, OPTAX_DECAY, _COMPILED_ITERATIONS)
        )
    if "torch" in available:
        yield torch_peer.make_solve(
            START,
            LEARNING_RATE,
            lambda x: rosenbrock(x)[1],
            _PYTHON_ITERATIONS,
            functools.partial(_stepped, TORCH_DECAY, _PYTHON_ITERATIONS),
            threads,
        )


def _ours(name, objective, iterations):
    options = {
        "learning_rate": LEARNING_RATE,
        "beta_1": BETA_1,
        "beta_2": BETA_2,
        "epsilon": EPSILON,
        "momentum_decay": TORCH_DECAY,
        "maxiter": iterations,
        "gtol": 0.0,
    }
    expected = functools.partial(_stepped, TORCH_DECAY, iterations)
    return _solver(name, functools.partial(minimize, objective, START, jac=True, options=options), expected, None)


def _to_the_minimum(compiled):
    import scipy.optimize

    objectives = {"@njit objective": compiled, "Python objective": rosenbrock}
    methods = {
        f"{OURS}, auto": minimize,
        "SciPy L-BFGS-B": functools.partial(scipy.optimize.minimize, method="L-BFGS-B"),
    }
    for name, method in methods.items():
        for kind, objective in objectives.items():
            solve = functools.partial(method, objective, START, jac=True)
            yield _solver(f"{name}, {kind}", solve, lambda: [MINIMUM], _AT_MINIMUM)


def _solver(name, solve, expected, tolerance):
    """A contender of a function that returns SciPy's result."""
    state = [START]

    def step():
        state[0] = solve().x

    return Contender(name, step, lambda: list(state), expected, iterations=solve().nit, tolerance=tolerance)


def _stepped(momentum_decay, iterations):
    """Where the stateful optimizer goes, given the gradients one by one."""
    x = START.copy()
    optimizer = NAdam(x, LEARNING_RATE, BETA_1, BETA_2, EPSILON, momentum_decay=momentum_decay)
    for _ in range(iterations):
        optimizer.step(rosenbrock(x)[1])
    return [x]
