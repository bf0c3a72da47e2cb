"""The arrays that compiled objectives are handed are theirs to write to and to keep."""

import os
import subprocess
import sys

import numpy as np
import pytest
from marks import needs_compiler
from numba import njit, objmode
from numba.typed import List

from nadam_numba import minimize
from nadam_numba.minimize.lent import is_kept, make_room
from nadam_numba.minimize.objective import COMPILED, evaluate_in_place, evaluate_pair, evaluate_separately

pytestmark = needs_compiler

START = np.array([1.5, -2.0, 0.5])


@njit
def value(x):
    return x[0] * x[0] + 2.0 * x[1] * x[1] + 3.0 * x[2] * x[2]


def gradient_of(x):
    return np.array([2.0, 4.0, 6.0]) * x


@njit
def keep_both(x, gradient, points, gradients):
    for i in range(x.size):
        gradient[i] = 2.0 * (i + 1) * x[i]
    points.append(x)
    gradients.append(gradient)
    return value(x)


@njit
def keep_every_third(x, gradient, points, gradients):
    for i in range(x.size):
        gradient[i] = 2.0 * (i + 1) * x[i]
    gradients.append(gradient)
    if len(gradients) % 3 == 0:
        points.append(x)
    return value(x)


@njit
def keep_part(x, points, gradients):
    points.append(x[:])
    return value(x), np.array([2.0, 4.0, 6.0]) * x


@njit
def keep_point(x, points, gradients):
    points.append(x)
    return value(x)


@njit
def keep_and_write(x, points, gradients):
    gradients.append(x)
    for i in range(x.size):
        x[i] *= 2.0 * (i + 1)
    return x


def empty_lists():
    """Lists of vectors, and a vector in each that keeps Numba from having to ask of what they are."""
    lists = List(), List()
    for each in lists:
        each.append(np.zeros(3))
        each.pop()
    return lists


@pytest.mark.parametrize(
    ("fun", "jac"),
    [(keep_both, True), (keep_part, True), (keep_point, keep_and_write), (keep_point, None)],
)
def test_what_a_compiled_objective_keeps_stays_as_it_was(fun, jac):
    ours, expected = empty_lists(), ([], [])
    options = {"learning_rate": 0.05, "maxiter": 12}

    found = minimize(fun, START, args=ours, jac=jac, options=options)
    # Uncompiled functions get an array of their own at every call.
    plain_jac = jac.py_func if callable(jac) else jac
    reference = minimize(fun.py_func, START, args=expected, jac=plain_jac, options=options)
    assert found.x.tobytes() == reference.x.tobytes()
    for mine, theirs in zip(ours, expected, strict=True):
        assert [list(point) for point in mine] == [list(point) for point in theirs]


def test_what_python_keeps_of_a_compiled_objective_stays_as_it_was():
    kept, copies = [], []

    def keep(x, gradient):
        kept.append((x, gradient))
        copies.append((x.copy(), gradient.copy()))

    @njit
    def fun(x, gradient):
        for i in range(x.size):
            gradient[i] = 2.0 * (i + 1) * x[i]
        with objmode():
            keep(x, gradient)
        return value(x)

    minimize(fun, START, jac=True, options={"learning_rate": 0.05, "maxiter": 8})
    assert len(kept) > 2
    np.testing.assert_array_equal(kept, copies)


@njit
def own_point_for_gradient(x):
    return value(x), x


@njit
def same_array(x):
    return x


@pytest.mark.parametrize(
    ("evaluate", "fun", "jac", "args", "times_kept"),
    [
        (evaluate_pair, own_point_for_gradient, None, (), 0),
        (evaluate_separately, value, same_array, (), 0),
        (evaluate_in_place, keep_both, None, "lists", 7),
        (evaluate_in_place, keep_every_third, None, "lists", 7),
        (evaluate_pair, keep_part, None, "lists", 7),
    ],
)
def test_a_room_is_left_only_where_it_is_kept(evaluate, fun, jac, args, times_kept):
    compiled_evaluate = COMPILED[evaluate]

    @njit
    def times(fun, jac, args, x, gradient):
        room, count = make_room(x), 0
        for _ in range(7):
            if is_kept(room):
                room = make_room(x)
                count += 1
            compiled_evaluate(fun, jac, args, x, gradient, np.inf, room)
        return count + is_kept(room)

    args = empty_lists() if args == "lists" else args
    assert times(fun, jac, args, START.copy(), np.empty(3)) == times_kept


def test_a_run_goes_on_where_numba_counts_references_that_it_could_leave_out():
    source = """
from numba import njit
from nadam_numba import minimize

@njit
def fun(x, gradient):
    gradient[0] = 2.0 * x[0]
    return x[0] * x[0]

assert minimize(fun, [1.0], jac=True, options={"learning_rate": 0.1, "maxiter": 5}).nit == 5
"""
    environment = {**os.environ, "NADAM_NUMBA_CACHE": "0", "NUMBA_OPT": "0"}
    subprocess.run([sys.executable, "-c", source], check=True, env=environment, timeout=120)


@njit
def embedded_at_a_rate(x0, points, gradients):
    minimize(keep_both, x0, (points, gradients), jac=True, options={"learning_rate": 0.05, "maxiter": 6})


def test_embedded_runs_hand_out_arrays_of_their_own():
    points, gradients = empty_lists()
    embedded_at_a_rate(START, points, gradients)
    assert len(points) > 2
    assert len({point.tobytes() for point in points}) == len(points)
    np.testing.assert_array_equal(gradients, [gradient_of(point) for point in points])


def test_auto_hands_out_arrays_of_their_own():
    points, gradients = empty_lists()

    @njit
    def rosenbrock(x, points, gradients):
        bend, slack = x[1] - x[0] * x[0], 1.0 - x[0]
        gradient = np.array([-400.0 * bend * x[0] - 2.0 * slack, 200.0 * bend])
        points.append(x)
        gradients.append(gradient)
        return slack * slack + 100.0 * bend * bend, gradient

    minimize(rosenbrock, [-1.2, 1.0], args=(points, gradients), jac=True)
    x, y = np.array(list(points)).T
    assert x.size > 20
    np.testing.assert_allclose(np.array(list(gradients))[:, 1], 200.0 * (y - x * x), rtol=1e-12, atol=1e-12)
