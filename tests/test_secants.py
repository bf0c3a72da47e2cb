"""The directions of `auto` against NumPy: the two-loop recursion, the dense BFGS inverse, the momentum."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nadam_numba.minimize import auto_state, secants
from nadam_numba.minimize.auto_state import (
    DIRECTION,
    FIRST_STEP,
    GRADIENT,
    METRIC,
    TRIAL,
    TRIAL_GRADIENT,
    X,
    make_state,
)

SEEDS = st.integers(0, 2**32 - 1)


def quadratic(rng, n):
    """A random positive definite matrix of condition up to 1e4."""
    factor = rng.standard_normal((n, n))
    return factor @ np.diag(10.0 ** rng.uniform(-2, 0, n)) @ factor.T + 1e-2 * np.eye(n)


def open_state(x, gradient, first_step, memory):
    """A state that has remembered nothing yet."""
    state = make_state(x, gradient, memory)
    state.vectors[FIRST_STEP] = first_step
    secants.open_memory(state.vectors, state.numbers)
    return state


def walk(rng, n, steps, memory, matrix):
    """A state that has remembered a random walk on a quadratic, and the pairs of that walk."""
    x = rng.standard_normal(n)
    state = open_state(x, matrix @ x, 0.1 * np.abs(x), memory)
    vectors, pairs, numbers = state.vectors, state.pairs, state.numbers
    seen = []
    for _ in range(steps):
        vectors[TRIAL] = vectors[X] + rng.standard_normal(n)
        vectors[TRIAL_GRADIENT] = matrix @ vectors[TRIAL]
        seen.append((vectors[TRIAL] - vectors[X], vectors[TRIAL_GRADIENT] - vectors[GRADIENT]))
        secants.remember(vectors, pairs, numbers, TRIAL, TRIAL_GRADIENT)
        vectors[X], vectors[GRADIENT] = vectors[TRIAL], vectors[TRIAL_GRADIENT]
    numbers["norm"] = np.abs(vectors[GRADIENT]).max()
    return state, seen


def two_loops(gradient, pairs, metric):
    """Nocedal and Wright's algorithm 7.4, from a diagonal inverse that the newest pair scales."""
    q = gradient.copy()
    weights = []
    for step, change in reversed(pairs):
        weights.append((step @ q) / (step @ change))
        q = q - weights[-1] * change
    step, change = pairs[-1]
    r = (step @ change) / (change @ (metric * change)) * metric * q
    for (step, change), weight in zip(pairs, reversed(weights), strict=True):
        r = r + step * (weight - (change @ r) / (step @ change))
    return -r


def dense_inverse(pairs, metric):
    """The BFGS updates of the inverse, as matrices."""
    step, change = pairs[-1]
    inverse = (step @ change) / (change @ (metric * change)) * np.diag(metric)
    for step, change in pairs:
        left = np.eye(metric.size) - np.outer(step, change) / (step @ change)
        inverse = left @ inverse @ left.T + np.outer(step, step) / (step @ change)
    return inverse


def moving_metric(pairs):
    """The root of the averages of the squared steps over that of the squared changes."""
    step_square = change_square = 0.0
    for step, change in pairs:
        step_square = 0.9 * step_square + 0.1 * step**2
        change_square = 0.9 * change_square + 0.1 * change**2
    return np.sqrt(step_square / change_square)


@settings(max_examples=60, deadline=None)
@given(seed=SEEDS, n=st.integers(1, 9), steps=st.integers(1, 12), memory=st.integers(1, 6))
def test_direction_is_that_of_the_two_loop_recursion(seed, n, steps, memory):
    rng = np.random.default_rng(seed)
    state, seen = walk(rng, n, steps, memory, quadratic(rng, n))
    secants.set_metric(state.vectors, state.numbers, None, None)
    metric = state.vectors[METRIC]
    np.testing.assert_allclose(metric, moving_metric(seen), rtol=1e-12)
    secants.turn_with_pairs(state.vectors, state.pairs, state.numbers, None)
    kept = seen[-memory:]
    assert state.numbers["remembered"][0] == len(kept)
    expected = two_loops(state.gradient, kept, metric)
    dense = -dense_inverse(kept, metric) @ state.gradient
    size = np.abs(expected).max()
    np.testing.assert_allclose(state.vectors[DIRECTION], expected, rtol=1e-7, atol=1e-8 * size)
    np.testing.assert_allclose(state.vectors[DIRECTION], dense, rtol=1e-5, atol=1e-6 * size)
    assert state.vectors[DIRECTION] @ state.gradient < 0.0


@settings(max_examples=60, deadline=None)
@given(seed=SEEDS, n=st.integers(2, 9), steps=st.integers(1, 8))
def test_with_bounds_it_is_that_of_the_free_variables(seed, n, steps):
    rng = np.random.default_rng(seed)
    memory = 4
    state, seen = walk(rng, n, steps, memory, quadratic(rng, n))
    held = rng.random(n) < 0.5
    held[0], held[-1] = True, False
    # A bound holds back what stands on it and is pushed outwards.
    is_low = state.gradient > 0.0
    lower = np.where(held & is_low, state.x, -10.0)
    upper = np.where(held & ~is_low, state.x, 10.0)
    secants.set_metric(state.vectors, state.numbers, lower, upper)
    np.testing.assert_array_equal(state.vectors[METRIC] == 0.0, held)
    secants.turn_with_pairs(state.vectors, state.pairs, state.numbers, lower)
    direction = state.vectors[DIRECTION]
    np.testing.assert_array_equal(direction[held], 0.0)

    free = ~held
    kept = [(s[free], y[free]) for s, y in seen[-memory:] if s[free] @ y[free] > 0.0]
    metric = state.vectors[METRIC][free]
    expected = two_loops(state.gradient[free], kept, metric) if kept else -metric * state.gradient[free]
    size = np.abs(expected).max()
    np.testing.assert_allclose(direction[free], expected, rtol=1e-6, atol=1e-7 * size)
    assert direction @ state.gradient < 0.0


def test_full_memory_knows_a_quadratic():
    rng = np.random.default_rng(3)
    matrix = quadratic(rng, 4)
    x = rng.standard_normal(4)
    state = open_state(x, matrix @ x, np.ones(4), 6)
    # Steps that are conjugate: those pairs make the inverse of the matrix.
    _, axes = np.linalg.eigh(matrix)
    for axis in axes.T:
        state.vectors[TRIAL] = state.x + axis
        state.vectors[TRIAL_GRADIENT] = matrix @ state.vectors[TRIAL]
        secants.remember(state.vectors, state.pairs, state.numbers, TRIAL, TRIAL_GRADIENT)
        state.x[:], state.gradient[:] = state.vectors[TRIAL], state.vectors[TRIAL_GRADIENT]
    secants.set_metric(state.vectors, state.numbers, None, None)
    secants.turn_with_pairs(state.vectors, state.pairs, state.numbers, None)
    np.testing.assert_allclose(state.vectors[DIRECTION], -state.x, rtol=1e-9)


def test_steps_without_curvature_are_not_remembered():
    state = open_state(np.zeros(2), np.ones(2), np.ones(2), 3)
    state.vectors[TRIAL], state.vectors[TRIAL_GRADIENT] = [3.0, 1.0], [0.0, 0.5]
    secants.remember(state.vectors, state.pairs, state.numbers, TRIAL, TRIAL_GRADIENT)
    assert state.numbers["remembered"][0] == 0
    state.vectors[TRIAL_GRADIENT] = 1.0
    secants.remember(state.vectors, state.pairs, state.numbers, TRIAL, TRIAL_GRADIENT)
    assert state.numbers["remembered"][0] == 0
    # Where nothing bends, the first step of a variable grows to what was stepped.
    assert state.vectors[FIRST_STEP].tolist() == [3.0, 1.0]


def hager_zhang(direction, old, new, metric, scale):
    """The share of the last direction in the next: (1.1)-(1.3) of 2005 with the truncation of 2013, in the metric."""
    inverse = scale * metric
    change = new - old
    curvature = direction @ change
    share = (inverse * change) @ new / curvature - 2.0 * (change @ (inverse * change)) * (
        direction @ new
    ) / curvature**2
    return max(share, 0.4 * (direction @ old) / (direction @ (direction / inverse)))


@settings(max_examples=60, deadline=None)
@given(seed=SEEDS, n=st.integers(1, 9))
def test_without_pairs_it_is_hager_and_zhangs(seed, n):
    rng = np.random.default_rng(seed)
    matrix = quadratic(rng, n)
    x = rng.standard_normal(n)
    state = open_state(x, matrix @ x, 0.1 * np.abs(x), 0)
    vectors, numbers = state.vectors, state.numbers
    expected = None
    for _ in range(4):
        numbers["norm"] = np.abs(state.gradient).max()
        secants.set_metric(vectors, numbers, None, None)
        secants.turn_with_momentum(vectors, numbers)
        metric = vectors[METRIC].copy()
        direction = vectors[DIRECTION].copy()
        np.testing.assert_allclose(
            direction,
            -metric * state.gradient if expected is None else expected - metric * state.gradient,
            rtol=1e-9,
            atol=1e-12 * np.abs(direction).max(),
        )
        numbers["slope"] = direction @ state.gradient
        rate = -numbers["slope"][0] / (direction @ matrix @ direction) * rng.uniform(0.5, 1.2)
        vectors[TRIAL] = state.x + rate * direction
        vectors[TRIAL_GRADIENT] = matrix @ vectors[TRIAL]
        expected = (
            hager_zhang(direction, state.gradient.copy(), vectors[TRIAL_GRADIENT].copy(), metric, 1.0) * direction
        )
        secants.remember(vectors, state.pairs, numbers, TRIAL, TRIAL_GRADIENT)
        assert numbers["remembered"][0] == 1
        state.x[:], state.gradient[:] = vectors[TRIAL], vectors[TRIAL_GRADIENT]


def test_the_metric_before_the_first_step_gives_steps_of_equal_share():
    x, gradient = np.array([2.0, -3.0, 1e-5, 1e6]), np.array([1e3, -1e-6, 5.0, 0.0])
    state = open_state(x, gradient, 0.1 * np.abs(x), 2)
    state.numbers["norm"] = 1e3
    secants.set_metric(state.vectors, state.numbers, None, None)
    secants.turn_with_pairs(state.vectors, state.pairs, state.numbers, None)
    np.testing.assert_allclose(state.vectors[DIRECTION], [-0.2, 0.3, -1e-6, 0.0], rtol=1e-15)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_all_vectors_are_of_the_dtype_of_x(dtype):
    state = make_state(np.ones(3, dtype), np.ones(3, dtype), 2)
    assert state.vectors.dtype == dtype
    assert state.vectors.shape == (auto_state.FIRST_PAIR + 4, 3)
    assert all(np.shares_memory(view, state.vectors) for view in (state.x, state.gradient, state.best_x))
