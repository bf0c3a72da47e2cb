"""Callbacks: SciPy's two signatures, what they see, and how they end a run."""

import functools

import numpy as np
import pytest
import scipy.optimize
from marks import WRAPS
from numba import njit
from problems import rosenbrock, rosenbrock_gradient, sphere, sphere_gradient

from nadam_numba import minimize, nadam

RATE = {"learning_rate": 0.01}


def run(callback, options, wrap=njit, method="nadam"):
    arguments = {"jac": wrap(rosenbrock_gradient), "callback": callback, "options": options, "method": method}
    return minimize(wrap(rosenbrock), [-1.2, 1.0], **arguments)


class Watcher:
    """Callbacks of all kinds of signature; `seen` has what each was called with."""

    def __init__(self):
        self.seen = []

    def new(self, intermediate_result):
        self.seen.append(intermediate_result)

    def new_keyword(self, *, intermediate_result):
        self.seen.append(intermediate_result)

    def old(self, x):
        self.seen.append(x)

    def old_variable(self, *args):
        self.seen.append(*args)

    def old_default(self, intermediate_result, extra=1):
        self.seen.append(intermediate_result)

    def two(self, extra, intermediate_result):
        self.seen.append(intermediate_result)

    def __call__(self, intermediate_result):
        self.seen.append(intermediate_result)


def kinds(watcher):
    return {
        "method": watcher.new,
        "keyword only": watcher.new_keyword,
        "object": watcher,
        "old": watcher.old,
        "variable": watcher.old_variable,
        "with a default": watcher.old_default,
        "partial": functools.partial(watcher.new),
        "partial by keyword": functools.partial(watcher.old_default, extra=2),
        "partial by position": functools.partial(watcher.two, 1),
        "lambda": lambda intermediate_result: watcher.seen.append(intermediate_result),
    }


@pytest.mark.parametrize("kind", kinds(Watcher()))
def test_the_signature_decides_as_in_scipy(kind):
    ours, scipys = Watcher(), Watcher()
    error = None
    try:
        scipy.optimize.minimize(rosenbrock, [-1.2, 1.0], callback=kinds(scipys)[kind], options={"maxiter": 2})
    except TypeError as raised:
        error = raised
    if error is None:
        run(kinds(ours)[kind], {**RATE, "maxiter": 2})
    else:
        with pytest.raises(TypeError):
            run(kinds(ours)[kind], {**RATE, "maxiter": 2})
    assert [type(seen) for seen in ours.seen] == [type(seen) for seen in scipys.seen]


def test_list_append_and_builtins_without_signature_are_of_the_old_style():
    points = []
    assert run(points.append, {**RATE, "maxiter": 3}).nit == len(points) == 3
    assert isinstance(points[0], np.ndarray)
    assert run(max, {**RATE, "maxiter": 1}).nit == 1

    class Secretive:
        __signature__ = "secret"

        def __call__(self, x):
            points.append(x)

    assert run(Secretive(), {**RATE, "maxiter": 1}).nit == 1
    assert len(points) == 4


@WRAPS
def test_compiled_callback(wrap):
    @wrap
    def callback(x):
        x[:] = 0.0

    plain, watched = run(None, {**RATE, "maxiter": 5}), run(callback, {**RATE, "maxiter": 5})
    np.testing.assert_array_equal(plain.x, watched.x)


@WRAPS
def test_intermediate_result_tells_all_of_the_iterate(wrap):
    watcher = Watcher()
    rates = [0.01, 0.02, 0.03, 0.04]
    result = run(watcher.new, {"learning_rate": rates.__getitem__, "maxiter": 4}, wrap)
    assert isinstance(watcher.seen[0], scipy.optimize.OptimizeResult)
    for number, seen in enumerate(watcher.seen, start=1):
        assert set(seen) == {"x", "fun", "jac", "nit", "nfev", "njev", "learning_rate"}
        assert type(seen.fun) is float
        assert seen.fun == rosenbrock(seen.x)
        np.testing.assert_array_equal(seen.jac, rosenbrock_gradient(seen.x))
        assert (seen.nit, seen.nfev, seen.njev) == (number, number + 1, number + 1)
        assert seen.learning_rate == rates[number - 1]
    assert (result.nit, result.nfev) == (4, 5)


def test_evaluations_count_those_of_differences():
    counts, watcher = [0], Watcher()

    def counted(x):
        counts[0] += 1
        return rosenbrock(x)

    def callback(intermediate_result):
        watcher.new(intermediate_result)
        assert intermediate_result.nfev == counts[0]

    result = minimize(counted, [-1.2, 1.0], callback=callback, options={**RATE, "maxiter": 5})
    assert len(watcher.seen) == 5
    assert result.nfev == counts[0]
    assert result.njev == 6


@WRAPS
def test_arrays_are_never_aliased(wrap):
    points, results = [], []

    def spoil(intermediate_result):
        results.append(intermediate_result)
        points.append(intermediate_result.x.copy())
        intermediate_result.x[:] = intermediate_result.jac[:] = np.nan

    plain = minimize(wrap(rosenbrock), [-1.2, 1.0], options={**RATE, "maxiter": 5, "return_all": True})
    spoiled = minimize(wrap(rosenbrock), [-1.2, 1.0], callback=spoil, options={**RATE, "maxiter": 5})
    np.testing.assert_array_equal(points, plain.allvecs[1:])
    np.testing.assert_array_equal(spoiled.x, plain.x)
    assert len({id(result.x) for result in results}) == 5
    assert not any(np.shares_memory(result.x, spoiled.x) for result in results)


@WRAPS
@pytest.mark.parametrize("style", ["new", "old"])
def test_stop_iteration_equals_the_run_limited_to_that_many_iterations(wrap, style):
    calls = []

    def new(intermediate_result):
        old(intermediate_result.x)

    def old(x):
        calls.append(x)
        if len(calls) == 7:
            raise StopIteration

    stopped = run(new if style == "new" else old, RATE, wrap)
    limited = run(None, {**RATE, "maxiter": 7}, wrap)
    assert stopped.success is False
    assert (stopped.status, stopped.nit) == (99, 7)
    assert stopped.message == "`callback` raised `StopIteration`."
    np.testing.assert_array_equal(stopped.x, limited.x)
    np.testing.assert_array_equal(stopped.jac, limited.jac)
    assert (stopped.fun, stopped.nfev, stopped.njev) == (limited.fun, limited.nfev, limited.njev)


def stop_at_once(x):
    raise StopIteration


@pytest.mark.parametrize("minimizer", [minimize, scipy.optimize.minimize])
def test_stop_iteration_counts_even_where_the_iteration_ends_the_run(minimizer):
    # One iteration of SciPy's reaches the minimum of the sphere.
    method, options = ("nadam", {"learning_rate": 0.1, "gtol": 10.0}) if minimizer is minimize else ("BFGS", {})
    arguments = {"jac": sphere_gradient, "method": method}
    x0 = [5.0, 6.0] if method == "BFGS" else [5.05, 6.0]
    without = minimizer(sphere, x0, **arguments, options=options)
    limit = without.nit
    assert without.success

    calls = []

    def stop_at_the_last(x):
        calls.append(x)
        if len(calls) == limit:
            raise StopIteration

    stopped = minimizer(sphere, x0, **arguments, callback=stop_at_the_last, options=options)
    assert (stopped.success, stopped.status, stopped.nit) == (False, 99, limit)
    limited = minimizer(sphere, x0, **arguments, callback=stop_at_once, options={**options, "maxiter": 1})
    assert (limited.status, limited.nit) == (99, 1)


def test_returning_true_does_not_stop():
    assert run(lambda x: True, {**RATE, "maxiter": 5}).nit == 5


@WRAPS
def test_other_exceptions_of_a_callback_propagate(wrap):
    def callback(x):
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        run(callback, RATE, wrap)


@WRAPS
def test_stop_iteration_of_the_objective_is_an_error(wrap):
    def fun(x):
        if x[0] < 0.5:
            raise StopIteration("of the objective")
        return x[0]

    for options in (RATE, {**RATE, "polish": True}):
        for callback in (None, lambda x: None):
            with pytest.raises(StopIteration, match="of the objective"):
                minimize(wrap(fun), [1.0], callback=callback, options=options)


def test_callback_of_the_method_for_scipy():
    watcher = Watcher()
    arguments = {"jac": rosenbrock_gradient, "method": nadam, "options": {**RATE, "maxiter": 3}}
    result = scipy.optimize.minimize(rosenbrock, [-1.2, 1.0], callback=watcher.new, **arguments)
    assert [seen.nit for seen in watcher.seen] == [1, 2, 3]
    stopped = scipy.optimize.minimize(rosenbrock, [-1.2, 1.0], callback=stop_at_once, **arguments)
    assert (result.nit, stopped.nit, stopped.status) == (3, 1, 99)


def test_a_callback_is_callable():
    with pytest.raises(TypeError, match="callback=3 is a int"):
        run(3, RATE)
