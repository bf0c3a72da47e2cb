"""minimize inside @njit code: the bits of minimize in Python."""

from collections import namedtuple

import numpy as np
import pytest
from marks import needs_compiler
from numba import njit, prange
from numba.core.errors import TypingError

from nadam_numba import minimize

# The same bits in Python and compiled.


@njit
def value(x, target):
    total = 0.0
    for i in range(x.size):
        square = (x[i] - target) * (x[i] - target)
        total += square + square * square
    return total


@njit
def gradient(x, target):
    result = np.empty_like(x)
    for i in range(x.size):
        square = (x[i] - target) * (x[i] - target)
        result[i] = (2.0 + 4.0 * square) * (x[i] - target)
    return result


@njit
def pair(x, target):
    return value(x, target), gradient(x, target)


@njit
def in_place(x, out, target):
    out[:] = gradient(x, target)
    return value(x, target)


START = np.array([-1.2, 1.0, 0.3])
BOUNDS = np.array([[-2.0, 0.5], [0.0, np.inf], [0.25, 0.25]])
Named = namedtuple("Named", ["learning_rate", "maxiter", "weight_decay"])


@njit
def by_pair(x0):
    return minimize(pair, x0, args=(0.7,), jac=True)


@njit
def by_function(x0):
    return minimize(value, x0, 0.7, jac=gradient, bounds=BOUNDS, tol=1e-3)


@njit
def by_differences(x0):
    return minimize(value, x0, (0.7,), options={"maxiter": 4, "finite_diff": "3-point"})


@njit
def at_a_rate(x0):
    return minimize(in_place, x0, (0.7,), "adam", True, options={"learning_rate": 0.05, "gtol": 1e-3})


@njit
def with_named_options(x0):
    bounds = ((-2.0, 0.5), (0.0, np.inf), (0.25, 0.25))
    return minimize(pair, x0, (0.7,), "nadamw", True, bounds=bounds, options=Named(0.05, 60, 0.01))


CASES = {
    by_pair: {"fun": pair, "jac": True},
    by_function: {"fun": value, "jac": gradient, "bounds": BOUNDS, "tol": 1e-3},
    by_differences: {"fun": value, "options": {"maxiter": 4, "finite_diff": "3-point"}},
    at_a_rate: {
        "fun": in_place,
        "jac": True,
        "method": "adam",
        "options": {"learning_rate": 0.05, "gtol": 1e-3},
    },
    with_named_options: {
        "fun": pair,
        "jac": True,
        "method": "nadamw",
        "bounds": BOUNDS,
        "options": {"learning_rate": 0.05, "maxiter": 60, "weight_decay": 0.01},
    },
}


@needs_compiler
@pytest.mark.parametrize("call", CASES, ids=lambda call: call.__name__)
def test_the_result_is_that_of_minimize(call):
    result = call(START)
    expected = minimize(x0=START, args=(0.7,), **CASES[call])
    for name in ("x", "fun", "jac", "nit", "nfev", "status", "success"):
        np.testing.assert_array_equal(getattr(result, name), expected[name], err_msg=name)
    assert result._fields == ("x", "fun", "jac", "nit", "nfev", "status", "success")
    assert START.tolist() == [-1.2, 1.0, 0.3]


@needs_compiler
def test_in_parallel_loops():
    @njit(parallel=True)
    def solve_all(targets):
        ends = np.empty(targets.size)
        for i in prange(targets.size):
            ends[i] = minimize(pair, START, args=(targets[i],), jac=True).x[0]
        return ends

    targets = np.linspace(-1.0, 2.0, 20)
    expected = [minimize(pair, START, args=(target,), jac=True).x[0] for target in targets]
    assert solve_all(targets).tolist() == expected


@needs_compiler
def test_float32_and_integers():
    @njit
    def solve(x0):
        return minimize(value, x0, (1.0,), jac=gradient)

    single = solve(START.astype(np.float32))
    assert single.x.dtype == np.float32
    assert single.x.tolist() == minimize(value, START.astype(np.float32), (1.0,), jac=gradient).x.tolist()
    assert solve(np.array([3, 4])).x.tolist() == minimize(value, [3, 4], (1.0,), jac=gradient).x.tolist()


@needs_compiler
def test_ends_that_are_no_success():
    @njit
    def bad(x):
        return np.nan

    @njit
    def wrong(x):
        return np.sum(x * x), -x

    @njit
    def solve(x0):
        return minimize(bad, x0), minimize(wrong, x0, jac=True)

    first, second = solve(START)
    assert (first.status, first.success) == (3, False)
    assert (second.status, second.success) == (2, False)


@needs_compiler
def test_exceptions_of_the_objective_keep_their_type():
    @njit
    def raises(x):
        if x[0] < 0.0:
            raise KeyError("no such key")
        return x[0]

    @njit
    def solve(x0):
        return minimize(raises, x0).fun

    with pytest.raises(KeyError):
        solve(START)


@needs_compiler
def test_errors_of_arguments():
    def call(**arguments):
        names = ", ".join(f"{name}={text}" for name, text in arguments.items())
        scope = {"minimize": minimize, "pair": pair, "np": np, "function": len}
        return njit(eval(f"lambda x0: minimize(pair, x0, (1.0,), {names})", scope))

    for arguments, error, message in (
        ({"jac": "True", "hess": "pair"}, TypingError, "hess"),
        ({"jac": "True", "method": "'BFGS'"}, TypingError, "BFGS"),
        ({"jac": "'4-point'"}, TypingError, "4-point"),
        ({"jac": "True", "options": "{'maxiter': 3, 'nonsense': '1'}"}, TypingError, "nonsense"),
        ({"jac": "True", "options": "{'nonsense': 1.0}"}, ValueError, "nopython"),
        ({"jac": "True", "options": "{'gtol': -1.0}"}, ValueError, "gtol"),
        ({"jac": "True", "options": "{'learning_rate': 0.1, 'beta_1': 1.0, 'maxiter': 3}"}, ValueError, "beta_1 .*1.0"),
        ({"jac": "True", "bounds": "((0.0, 1.0),)"}, ValueError, "number of bounds"),
        ({"jac": "True", "bounds": "((1.0, 0.0),) * 3"}, ValueError, "upper bound"),
    ):
        with pytest.raises(error, match=message):
            call(**arguments)(START)
