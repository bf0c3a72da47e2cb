"""What `auto` keeps from evaluation to evaluation.

The kernels take it as three arrays, for Python hands over each array in a tenth of a microsecond, which takes longer
than the arithmetic of a small problem: `vectors`, whose rows are named below, `pairs`, and `numbers`, one record.
"""

from typing import NamedTuple

import numpy as np

from nadam_numba.minimize.state import COMMON_NUMBERS

# Rows of `vectors`, each of length n: the iterate and the best point with their gradients, the trial point with its
# own, the direction of the line search, the inverse metric (0 for variables that a bound holds back), the first step of
# each variable, and the averages that the metric is made of.
X, GRADIENT, BEST_X, BEST_GRADIENT, TRIAL, TRIAL_GRADIENT = range(6)
DIRECTION, METRIC, FIRST_STEP, SQUARED_STEP, SQUARED_CHANGE = range(6, 11)
# From here on: of each secant pair, the step, and in the row after it the change of the gradient.
FIRST_PAIR = 11

# Rows of `pairs`, each as long as the memory: one over the product of step and change, 0 where that tells nothing; and
# the weights of the two-loop recursion.
INVERSE_PRODUCT, WEIGHT = range(2)

NUMBERS = np.dtype(
    [
        *COMMON_NUMBERS,
        ("start_value", np.float64),
        ("largest_norm", np.float64),  # of all iterates
        ("is_placed", np.int64),  # whether the trial point waits for its evaluation
        # The line search: the slope at its origin, the change of the value that it predicts at the trial point, and
        # the largest value at which the gradient is worth taking there.
        ("trials", np.int64),
        ("rate", np.float64),
        ("slope", np.float64),
        ("change", np.float64),
        ("limit", np.float64),
        # Its bracket; `high_rate` is infinite as long as no rate has been too large.
        ("low_rate", np.float64),
        ("low_value", np.float64),
        ("low_slope", np.float64),
        ("high_rate", np.float64),
        ("high_value", np.float64),
        ("high_slope", np.float64),
        # What it has found, as rows of `vectors`, until that is made the iterate.
        ("is_found", np.int64),
        ("found_point", np.int64),
        ("found_gradient", np.int64),
        ("found_value", np.float64),
        ("found_norm", np.float64),
        # The memory: how many pairs, the place of the newest, and the scale of the metric that the pairs tell. Without
        # pairs, how many directions are remembered (1 or 0), and the share of the last one that the next one keeps.
        ("remembered", np.int64),
        ("newest", np.int64),
        ("metric_scale", np.float64),
        ("step_factor", np.float64),  # times which steps are squared for their average, a power of two
        ("change_factor", np.float64),  # the same for changes of the gradient
        ("momentum", np.float64),
        ("is_last_look", np.int64),  # whether the trial point is to show that nothing is left to gain
        ("is_explained", np.int64),  # whether rounding can be why a line search has found nothing
        ("promise", np.float64),  # the decrease that the last direction with a memory predicted
    ]
)


class State(NamedTuple):
    """The arrays of the kernels, and views of their rows: the first five fields are those that `state` describes."""

    x: np.ndarray
    gradient: np.ndarray
    best_x: np.ndarray
    best_gradient: np.ndarray
    numbers: np.ndarray
    first_step: np.ndarray
    vectors: np.ndarray
    pairs: np.ndarray


def make_state(x, gradient, memory):
    """A state at the point `x`, with room for `memory` secant pairs."""
    vectors = np.zeros((FIRST_PAIR + 2 * memory, x.size), x.dtype)
    vectors[X] = vectors[BEST_X] = vectors[TRIAL] = x
    vectors[GRADIENT] = vectors[BEST_GRADIENT] = gradient
    return state_in(vectors, np.zeros((2, memory)), np.zeros(1, NUMBERS))


def state_in(vectors, pairs, numbers):
    """The state that is kept in these arrays."""
    return State(
        x=vectors[X],
        gradient=vectors[GRADIENT],
        best_x=vectors[BEST_X],
        best_gradient=vectors[BEST_GRADIENT],
        numbers=numbers,
        first_step=vectors[FIRST_STEP],
        vectors=vectors,
        pairs=pairs,
    )
