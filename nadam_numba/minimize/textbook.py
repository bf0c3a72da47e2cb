"""The textbook method: a step of the rule at a given learning rate, then the objective at the new point, and again.

The loop is written once: run as it stands for Python objectives, compiled for ``@njit`` objectives.
"""

import functools
import math
from typing import NamedTuple

import numpy as np

from nadam_numba import cpu, jit, pointers, schedules
from nadam_numba import rule as update_rule
from nadam_numba.cpu import adam_coefficients, copy_into, step_coefficients
from nadam_numba.minimize import bounds, differences, lent, objective, result, returned
from nadam_numba.minimize.bounds import clip, projected_norm
from nadam_numba.minimize.drivers import loop_for
from nadam_numba.minimize.lent import is_kept, make_room
from nadam_numba.minimize.result import Stop, count_values
from nadam_numba.minimize.state import COMMON_NUMBERS
from nadam_numba.pointers import borrowed
from nadam_numba.rule import AFTER_DECAY
from nadam_numba.schedules import PlateauState, plateau_step, rates, reduce_on_plateau

# Two values of an objective that differ by less, relative to their size, are the same to rounding.
_ROUNDING = 1e-12

# The method oscillates, so that two equal values in a row are no sign of convergence, but so many iterations are.
_STILL_ITERATIONS = 10
RECENT_VALUES = _STILL_ITERATIONS + 1

# Bounds the memory that the learning rates of one call take.
_LONGEST_CHUNK = 2**14

NUMBERS = np.dtype(
    [
        *COMMON_NUMBERS,
        ("first_iteration", np.int64),  # iterations made before, by another method
        ("mu_product", np.float64),
        ("plateau_rate", np.float64),
        ("plateau_best", np.float64),
        ("plateau_bad_steps", np.int64),
        ("plateau_cooldown_left", np.int64),
    ]
)
_RUNNING, _NONFINITE = Stop.RUNNING.code, Stop.NONFINITE.code
_GRADIENT, _TARGET, _FTOL, _PATIENCE = Stop.GRADIENT.code, Stop.TARGET.code, Stop.FTOL.code, Stop.PATIENCE.code

# What the loop is made of, beside this file; and what is bound to it.
SOURCES = bounds, cpu, differences, lent, objective, pointers, result, returned, schedules, update_rule
_evaluate = _move = _update = None


# Rows of `vectors`, each of length n: the iterate and the best point with their gradients, the moments, where the
# objective was evaluated last; and for steps in units of their own: the unit of each variable, and room for the iterate
# and its gradient in these units.
X, GRADIENT, BEST_X, BEST_GRADIENT, FIRST_MOMENT, SECOND_MOMENT, LARGEST_MOMENT, LAST_X = range(8)
UNIT, X_IN_UNITS, GRADIENT_IN_UNITS = range(8, 11)
ROWS = 11


class State(NamedTuple):
    """All that changes from iteration to iteration, in place: `vectors`, `numbers`, and views of rows.

    The first five fields are those that `state` describes. The kernels take the rows as one array, for Python hands
    over each array in a tenth of a microsecond.
    """

    x: np.ndarray
    gradient: np.ndarray
    best_x: np.ndarray
    best_gradient: np.ndarray
    numbers: np.ndarray
    vectors: np.ndarray
    recent_values: np.ndarray


class Rule(NamedTuple):
    """What the steps are made by."""

    beta_1: float
    beta_2: float
    epsilon: float
    coupled_decay: float
    decoupled_decay: float


class Tests(NamedTuple):
    """When to stop."""

    gtol: float
    ftol: float  # negative: no such test
    f_target: float
    patience: int


def prepare(objective, hyper, options, x, value, gradient, has_gradient, lower, upper, units=None):
    """Make the state at the start, and the function that goes on from it.

    Parameters
    ----------
    objective : Objective
    hyper : Hyperparameters
    options : Options
    x, gradient : ndarray, shape (n,)
        The start, within the bounds, and the gradient there.
    value : float
    has_gradient : bool
        Whether `gradient` is that: none is taken where the value is NaN.
    lower, upper : ndarray, shape (n,), or None
    units : ndarray, shape (n,), or None
        In which the steps count, for each variable; 1 by default.

    Returns
    -------
    state : State
    advance : function
        As `run` calls it.
    """
    state, rule, plateau_rule = open_state(hyper, x, gradient)
    gtol = default_gtol(x.dtype, objective.has_exact_gradient) if options.gtol is None else options.gtol
    tests = Tests(gtol, options.ftol, options.f_target, options.patience)
    arrays = state.vectors, state.recent_values, state.numbers
    assess(*arrays, lower, upper, value, has_gradient, True, np.nan, tests)
    if state.numbers["stop"][0] == _NONFINITE:
        state.numbers["best_value"] = value
    if units is not None:
        state.vectors[UNIT] = units

    kinds = hyper.amsgrad or None, units is not None or None
    variant = None if plateau_rule else (lower is not None, *kinds)
    move = MOVES[jit.use_threads(x.size)]
    loop, functions = loop_for(iterate, objective, x, _example, variant, SOURCES, _move=move)
    calls_per_iteration = 1 + objective.values_per_gradient

    def advance(iterations, evaluations):
        done = int(state.numbers["iterations"][0])
        left = options.maxfev - count_values(state.numbers[0], objective.values_per_gradient)
        count = min(iterations, evaluations, left // calls_per_iteration, _LONGEST_CHUNK)
        if count < 1:
            state.numbers["stop"] = Stop.EVALUATION_LIMIT.code
            return
        steps = done - int(state.numbers["first_iteration"][0])
        learning_rates = rates(hyper.schedule, range(steps, steps + count))
        weights = _weights_of_steps(hyper, steps, count, float(state.numbers["mu_product"][0]))
        loop(*functions, *arrays, lower, upper, *kinds, learning_rates, weights, rule, tests, plateau_rule)

    return state, advance


def open_state(hyper, x, gradient):
    """The state at a point, and by what rules it changes: that of the steps, and that of a `reduce_on_plateau`."""
    plateau = hyper.learning_rate if isinstance(hyper.learning_rate, reduce_on_plateau) else None
    state = make_state(x, gradient, plateau)
    is_decoupled = hyper.decoupled_weight_decay
    rule = Rule(
        hyper.beta_1,
        hyper.beta_2,
        hyper.epsilon,
        0.0 if is_decoupled else hyper.weight_decay,
        hyper.weight_decay if is_decoupled else 0.0,
    )
    return state, rule, None if plateau is None else plateau.rule


def make_state(x, gradient, plateau=None):
    """A state at the point `x`."""
    vectors = np.zeros((ROWS, x.size), x.dtype)
    vectors[X] = vectors[BEST_X] = vectors[LAST_X] = x
    vectors[GRADIENT] = vectors[BEST_GRADIENT] = gradient
    return state_in(vectors, np.empty(RECENT_VALUES), numbers_at_start(plateau))


def state_in(vectors, recent_values, numbers):
    """The state that is kept in these arrays."""
    return State(
        x=vectors[X],
        gradient=vectors[GRADIENT],
        best_x=vectors[BEST_X],
        best_gradient=vectors[BEST_GRADIENT],
        numbers=numbers,
        vectors=vectors,
        recent_values=recent_values,
    )


def _example(has_bounds, amsgrad, in_units):
    """Arguments of `iterate` after those of the objective."""
    vector = np.zeros(1)
    state = make_state(vector, vector)
    bound = vector if has_bounds else None
    rule, tests = Rule(0.0, 0.0, 0.0, 0.0, 0.0), Tests(0.0, 0.0, 0.0, 0)
    arrays = state.vectors, state.recent_values, state.numbers
    return *arrays, bound, bound, amsgrad, in_units, vector, np.zeros((1, 4)), rule, tests, None


def default_gtol(dtype, exact_gradient):
    """1e-6, or what rounding lets the gradient reach; a difference is wrong by eps**(1/2) times the curvature."""
    eps = float(np.finfo(dtype).eps)
    return max(1e-6, eps ** (1 / 2)) if exact_gradient else eps ** (1 / 3)


def numbers_at_start(plateau):
    """The numbers of a state, with those of a `reduce_on_plateau`, if that is not None."""
    numbers = np.zeros(1, NUMBERS)
    numbers["best_value"] = numbers["best_norm"] = np.inf
    numbers["iterations"] = -1  # the point itself is none
    numbers["mu_product"] = 1.0
    if plateau is not None:
        for name, number in zip(NUMBERS.names[-4:], plateau.state, strict=True):
            numbers[name] = number
    return numbers


def iterate(
    fun,
    jac,
    args,
    vectors,
    recent_values,
    numbers,
    lower,
    upper,
    amsgrad,
    in_units,
    learning_rates,
    weights,
    rule,
    tests,
    plateau_rule,
):
    """Make one step for each of `learning_rates`, or fewer if a test holds; the arrays are changed in place.

    The names `_evaluate` and `_move` are bound to the objective's way to be evaluated, and to a kernel of this file.

    Parameters
    ----------
    fun, jac, args
        Of an `Objective`.
    vectors, recent_values, numbers : ndarray
        Of a `State`.
    lower, upper : ndarray, shape (n,), or None
        None compiles to nothing, here and in all that follows.
    amsgrad : True or None
    in_units : True or None
        Whether the steps count in units of each variable.
    learning_rates : ndarray, shape (k,)
    weights : ndarray, shape (k, 4)
        Of these steps, from `_weights_of_steps`.
    rule : Rule
    tests : Tests
    plateau_rule : tuple or None
        Of a `reduce_on_plateau`, whose rate then counts in place of `learning_rates`.
    """
    record, x, gradient = numbers[0], borrowed(vectors[X]), borrowed(vectors[GRADIENT])
    k, steps = 0, learning_rates.size
    while k < steps:
        room = make_room(x)
        is_free = True
        while k < steps and is_free:
            learning_rate = float(record["plateau_rate"]) if plateau_rule is not None else learning_rates[k]
            has_moved = _move(vectors, numbers, lower, upper, amsgrad, in_units, learning_rate, weights, k, rule)
            value, has_gradient = float(record["value"]), True
            if has_moved:
                value, has_gradient = _evaluate(fun, jac, args, x, gradient, np.inf, room)
            if plateau_rule is not None:
                _report(value, numbers, plateau_rule)
            assess(vectors, recent_values, numbers, lower, upper, value, has_gradient, has_moved, learning_rate, tests)
            if record["stop"] != _RUNNING:
                return
            k += 1
            is_free = not is_kept(room)


def _make_move(vectors, numbers, lower, upper, amsgrad, in_units, learning_rate, weights, k, rule):
    """Make a step, and say whether it leads anywhere: at a rate that vanishes, or in a corner of the bounds, not."""
    point, x, gradient = vectors[X], vectors[X], vectors[GRADIENT]
    if in_units is not None:
        x, gradient, unit = vectors[X_IN_UNITS], vectors[GRADIENT_IN_UNITS], vectors[UNIT]
        for i in range(x.size):
            x[i] = point[i] / unit[i]
            gradient[i] = vectors[GRADIENT, i] * unit[i]
    _update(
        x,
        vectors[FIRST_MOMENT],
        vectors[SECOND_MOMENT],
        None if amsgrad is None else vectors[LARGEST_MOMENT],
        None,
        None,
        gradient,
        None,
        learning_rate,
        rule.beta_1,
        rule.beta_2,
        rule.epsilon,
        weights[k, 0],
        weights[k, 1],
        weights[k, 2],
        1.0,
        1.0,
        1.0,
        0.0,
        rule.coupled_decay,
        # Rounded as NAdam rounds it.
        1.0 - (1.0 - learning_rate * rule.decoupled_decay),
        *AFTER_DECAY,
    )
    if in_units is not None:
        for i in range(x.size):
            point[i] = x[i] * unit[i]
    clip(point, lower, upper)
    numbers[0]["mu_product"] = weights[k, 3]
    return _differs(point, vectors[LAST_X])


def _weights_of_steps(hyper, first, count, mu_product):
    """What the steps take of their numbers: three powers for each, which cost more than all else of a small step.

    Parameters
    ----------
    hyper : Hyperparameters
    first, count : int
        The number of steps made before, and that of those asked for.
    mu_product : float
        Product of the momentum coefficients so far.

    Returns
    -------
    ndarray, shape (count, 4)
        gradient_weight, momentum_weight and second_moment_correction of `rule.Scalars`, and the product with the step.
    """
    settings = hyper.beta_1, hyper.beta_2, hyper.momentum_decay, hyper.nesterov
    if first + count > _LONGEST_CHUNK:
        weights = np.empty((count, 4))
        fill_weights(weights, first, mu_product, *settings)
        return weights
    return first_weights(*settings)[first : first + count]


@functools.lru_cache(maxsize=8)
def first_weights(*settings):
    """Those of the first steps, which many runs have in common."""
    weights = np.empty((_LONGEST_CHUNK, 4))
    fill_weights(weights, 0, 1.0, *settings)
    return weights


def _fill_weights(weights, first, mu_product, beta_1, beta_2, momentum_decay, nesterov):
    for k in range(weights.shape[0]):
        step = first + k + 1
        if nesterov:
            mu_product, gradient_weight, momentum_weight, correction = step_coefficients(
                step, mu_product, beta_1, beta_2, momentum_decay
            )
        else:
            gradient_weight, momentum_weight, correction = adam_coefficients(step, beta_1, beta_2)
        weights[k, 0], weights[k, 1] = gradient_weight, momentum_weight
        weights[k, 2], weights[k, 3] = correction, mu_product


def _differs(x, last):
    """Whether a point is another one than the last, which is then overwritten by it."""
    differing = 0
    for i in range(x.size):
        differing += x[i] != last[i]
        last[i] = x[i]
    return differing > 0


def _report(value, numbers, plateau_rule):
    """Tell the value to a `reduce_on_plateau`, whose state stands among the numbers."""
    record = numbers[0]
    plateau = PlateauState(
        float(record["plateau_rate"]),
        float(record["plateau_best"]),
        int(record["plateau_bad_steps"]),
        int(record["plateau_cooldown_left"]),
    )
    rate, best, bad_steps, cooldown_left = plateau_step(value, plateau, plateau_rule)
    record["plateau_rate"] = rate
    record["plateau_best"] = best
    record["plateau_bad_steps"] = bad_steps
    record["plateau_cooldown_left"] = cooldown_left


def _assess(vectors, recent_values, numbers, lower, upper, value, has_gradient, is_evaluated, learning_rate, tests):
    """Count an iteration, keep its point if it is the best, and say whether to stop.

    All in one kernel, which an interrupt from the keyboard cannot divide: a best point goes with its value.
    """
    record, x, gradient = numbers[0], vectors[X], vectors[GRADIENT]
    if not has_gradient:
        for i in range(gradient.size):
            gradient[i] = np.nan
    norm = projected_norm(x, gradient, lower, upper)
    iterations = int(record["iterations"]) + 1
    best_value, best_norm = float(record["best_value"]), float(record["best_norm"])
    record["iterations"] = iterations
    record["values"] += int(is_evaluated)
    record["gradients"] += int(has_gradient and is_evaluated)
    record["value"], record["norm"], record["learning_rate"] = value, norm, learning_rate
    if not (math.isfinite(value) and math.isfinite(norm)):
        record["stop"] = _NONFINITE
        return

    # Near a minimum the values are the same to rounding, and only the gradient still tells points apart. Elsewhere a
    # flat point may lie above points passed before.
    has_converged = norm <= tests.gtol and (iterations == 0 or value - best_value <= _ROUNDING * abs(best_value))
    if value < best_value:
        record["best_iteration"] = iterations
    if has_converged or value < best_value or (value == best_value and norm < best_norm):
        best_value = value
        record["best_value"], record["best_norm"] = value, norm
        copy_into(vectors[BEST_X], x)
        copy_into(vectors[BEST_GRADIENT], gradient)
    if tests.ftol >= 0.0:
        recent_values[iterations % recent_values.size] = value

    stop = _RUNNING
    if has_converged:
        stop = _GRADIENT
    elif best_value <= tests.f_target:
        stop = _TARGET
    elif tests.ftol >= 0.0 and _is_still(recent_values, iterations, best_value, tests.ftol):
        stop = _FTOL
    elif iterations - int(record["best_iteration"]) >= tests.patience:
        stop = _PATIENCE
    record["stop"] = stop


def _is_still(recent_values, iterations, best_value, ftol):
    """Whether the last values, and the best, differ by no more than `ftol` of their size, or of 1."""
    if iterations < recent_values.size - 1:
        return False
    largest = best_value
    for i in range(recent_values.size):
        largest = max(largest, float(recent_values[i]))
    return largest - best_value <= ftol * max(abs(largest), abs(best_value), 1.0)


_is_still = jit.scalar(_is_still)
_differs = jit.scalar(_differs)
MOVES = {
    with_threads: jit.kernel(_make_move, *SOURCES, is_inlined=not with_threads, _update=update)
    for with_threads, update in ((False, cpu.update_inlined), (True, cpu.update_parallel))
}
fill_weights = jit.kernel(_fill_weights, cpu, update_rule)
assess = jit.kernel(_assess, *SOURCES, is_inlined=True)
_report = jit.kernel(_report, schedules)
