"""The textbook method: a step of the rule at a given learning rate, then the objective at the new point, and again.

The loop is written once: run as it stands for Python objectives, compiled for ``@njit`` objectives.
"""

import functools
from typing import NamedTuple

import numpy as np

from nadam_numba import cpu, jit
from nadam_numba import rule as update_rule
from nadam_numba.cpu import adam_coefficients, copy_into, step_coefficients
from nadam_numba.minimize import bounds, differences, objective, result, returned
from nadam_numba.minimize.bounds import clip, projected_norm
from nadam_numba.minimize.drivers import loop_for
from nadam_numba.minimize.result import Stop, count_values
from nadam_numba.minimize.state import COMMON_NUMBERS
from nadam_numba.rule import NEUTRAL, Scalars
from nadam_numba.schedules import PlateauState, plateau_step, rates, reduce_on_plateau

# Two values of an objective that differ by less, relative to their size, are the same to rounding.
_ROUNDING = 1e-12

# The method oscillates, so that two equal values in a row are no sign of convergence, but so many iterations are.
_STILL_ITERATIONS = 10
RECENT_VALUES = _STILL_ITERATIONS + 1

# Bounds the memory that the learning rates of one call take.
_LONGEST_CHUNK = 2**14

_NUMBERS = np.dtype(
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
SOURCES = bounds, cpu, differences, objective, result, returned, update_rule
_evaluate = _update = None

# The scalars of an update after the weight decay.
_AFTER_DECAY = NEUTRAL[list(Scalars._field_defaults).index("decay") + 1 :]


class State(NamedTuple):
    """All that changes from iteration to iteration, in place, and the bounds.

    The first five are those that `state` describes. `largest_moment` is None but for amsgrad, `lower` and `upper` are
    None without bounds.
    """

    x: np.ndarray
    gradient: np.ndarray
    best_x: np.ndarray
    best_gradient: np.ndarray
    numbers: np.ndarray
    first_moment: np.ndarray
    second_moment: np.ndarray
    largest_moment: np.ndarray | None
    recent_values: np.ndarray
    last_x: np.ndarray  # where the objective was evaluated last
    lower: np.ndarray | None
    upper: np.ndarray | None


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
        The start, within the bounds, and the gradient there; the loop takes them over.
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
    state, rule, plateau_rule = open_state(hyper, x, gradient, lower, upper)
    gtol = default_gtol(x.dtype, objective.has_exact_gradient) if options.gtol is None else options.gtol
    tests = Tests(gtol, options.ftol, options.f_target, options.patience)
    assess(*_assessed(state), value, has_gradient, True, np.nan, *tests)
    if state.numbers["stop"][0] == _NONFINITE:
        state.numbers["best_value"] = value
    in_units = None if units is None else (units, np.empty_like(x), np.empty_like(x))

    variant = None if plateau_rule else (hyper.amsgrad, lower is not None, units is not None)
    update = cpu.update_for(x.size)
    loop, functions = loop_for(iterate, objective, x, _example, variant, SOURCES, _update=update)
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
        loop(*functions, state, learning_rates, weights, rule, tests, plateau_rule, in_units)

    return state, advance


def open_state(hyper, x, gradient, lower, upper):
    """The state at a point, and by what rules it changes: that of the steps, and that of a `reduce_on_plateau`."""
    plateau = hyper.learning_rate if isinstance(hyper.learning_rate, reduce_on_plateau) else None
    state = _make_state(x, gradient, hyper.amsgrad, lower, upper, plateau)
    is_decoupled = hyper.decoupled_weight_decay
    rule = Rule(
        hyper.beta_1,
        hyper.beta_2,
        hyper.epsilon,
        0.0 if is_decoupled else hyper.weight_decay,
        hyper.weight_decay if is_decoupled else 0.0,
    )
    return state, rule, None if plateau is None else plateau.rule


def _make_state(x, gradient, amsgrad, lower, upper, plateau=None):
    return State(
        x=x,
        gradient=gradient,
        best_x=x.copy(),
        best_gradient=gradient.copy(),
        numbers=numbers_at_start(plateau),
        first_moment=np.zeros_like(x),
        second_moment=np.zeros_like(x),
        largest_moment=np.zeros_like(x) if amsgrad else None,
        recent_values=np.empty(RECENT_VALUES),
        last_x=x.copy(),
        lower=lower,
        upper=upper,
    )


def _example(amsgrad, has_bounds, has_units):
    """Arguments of `iterate` after those of the objective."""
    vector = np.zeros(1)
    bound = vector if has_bounds else None
    rule = Rule(0.0, 0.0, 0.0, 0.0, 0.0)
    in_units = (vector, vector, vector) if has_units else None
    state, weights = _make_state(vector, vector, amsgrad, bound, bound), np.zeros((1, 4))
    return state, vector, weights, rule, Tests(0.0, 0.0, 0.0, 0), None, in_units


def default_gtol(dtype, exact_gradient):
    """1e-6, or what rounding lets the gradient reach; a difference is wrong by eps**(1/2) times the curvature."""
    eps = float(np.finfo(dtype).eps)
    return max(1e-6, eps ** (1 / 2)) if exact_gradient else eps ** (1 / 3)


def numbers_at_start(plateau):
    """The numbers of a state, with those of a `reduce_on_plateau`, if that is not None."""
    numbers = np.zeros(1, _NUMBERS)
    numbers["best_value"] = numbers["best_norm"] = np.inf
    numbers["iterations"] = -1  # the point itself is none
    numbers["mu_product"] = 1.0
    if plateau is not None:
        for name, number in zip(_NUMBERS.names[-4:], plateau.state, strict=True):
            numbers[name] = number
    return numbers


def iterate(fun, jac, args, state, learning_rates, weights, rule, tests, plateau_rule, in_units):
    """Make one step for each of `learning_rates`, or fewer if a test holds; `state` is changed in place.

    The names `_evaluate` and `_update` are bound to the objective's way to be evaluated, and to a kernel of `cpu`.

    Parameters
    ----------
    fun, jac, args
        Of an `Objective`.
    state : State
    learning_rates : ndarray, shape (k,)
    weights : ndarray, shape (k, 4)
        Of these steps, from `_weights_of_steps`.
    rule : Rule
    tests : Tests
    plateau_rule : tuple or None
        Of a `reduce_on_plateau`, whose rate then counts in place of `learning_rates`. None compiles to nothing.
    in_units : tuple of three ndarrays, shape (n,), or None
        The unit of each variable, and room for x and the gradient in these units. None compiles to nothing.
    """
    record = state.numbers[0]
    for k in range(learning_rates.size):
        learning_rate = float(record["plateau_rate"]) if plateau_rule is not None else learning_rates[k]
        x, gradient = state.x, state.gradient
        if in_units is not None:
            units, x, gradient = in_units
            for i in range(x.size):
                x[i] = state.x[i] / units[i]
                gradient[i] = state.gradient[i] * units[i]
        _update(
            x,
            state.first_moment,
            state.second_moment,
            state.largest_moment,
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
            *_AFTER_DECAY,
        )
        if in_units is not None:
            for i in range(x.size):
                state.x[i] = x[i] * units[i]
        clip(state.x, state.lower, state.upper)
        # At a rate that vanishes, or in a corner of the bounds, a step may lead nowhere.
        has_moved = _moves(state.x, state.last_x)
        value, has_gradient = float(record["value"]), True
        if has_moved:
            value, has_gradient = _evaluate(fun, jac, args, state.x, state.gradient, np.inf)
        if plateau_rule is not None:
            _report(value, state.numbers, plateau_rule)
        stop = assess(
            state.x,
            state.gradient,
            state.best_x,
            state.best_gradient,
            state.numbers,
            state.recent_values,
            state.lower,
            state.upper,
            value,
            has_gradient,
            has_moved,
            learning_rate,
            tests.gtol,
            tests.ftol,
            tests.f_target,
            tests.patience,
        )
        record["mu_product"] = weights[k, 3]
        if stop != _RUNNING:
            break


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
        return fill_weights(np.empty((count, 4)), first, mu_product, *settings)
    return first_weights(*settings)[first : first + count]


@functools.lru_cache(maxsize=8)
def first_weights(*settings):
    """Those of the first steps, which many runs have in common."""
    return fill_weights(np.empty((_LONGEST_CHUNK, 4)), 0, 1.0, *settings)


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
    return weights


def _moves(x, last):
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


def _assessed(state):
    """The arrays that `_assess` takes."""
    return *state[:5], state.recent_values, state.lower, state.upper


def _assess(
    x,
    gradient,
    best_x,
    best_gradient,
    numbers,
    recent_values,
    lower,
    upper,
    value,
    has_gradient,
    is_evaluated,
    learning_rate,
    gtol,
    ftol,
    f_target,
    patience,
):
    """Count an iteration, keep its point if it is the best, and say whether to stop.

    All in one kernel, which an interrupt from the keyboard cannot divide: a best point goes with its value.
    """
    record = numbers[0]
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
    if not (np.isfinite(value) and np.isfinite(norm)):
        record["stop"] = _NONFINITE
        return _NONFINITE

    # Near a minimum the values are the same to rounding, and only the gradient still tells points apart. Elsewhere a
    # flat point may lie above points passed before.
    has_converged = norm <= gtol and (iterations == 0 or value - best_value <= _ROUNDING * abs(best_value))
    if value < best_value:
        record["best_iteration"] = iterations
    if has_converged or value < best_value or (value == best_value and norm < best_norm):
        best_value = value
        record["best_value"], record["best_norm"] = value, norm
        copy_into(best_x, x)
        copy_into(best_gradient, gradient)
    if ftol >= 0.0:
        recent_values[iterations % recent_values.size] = value

    stop = _RUNNING
    if has_converged:
        stop = _GRADIENT
    elif best_value <= f_target:
        stop = _TARGET
    elif ftol >= 0.0 and iterations >= recent_values.size - 1 and _is_still(recent_values, best_value, ftol):
        stop = _FTOL
    elif iterations - int(record["best_iteration"]) >= patience:
        stop = _PATIENCE
    record["stop"] = stop
    return stop


def _is_still(recent_values, best_value, ftol):
    """Whether the last values, and the best, differ by no more than `ftol` of their size, or of 1."""
    largest = best_value
    for i in range(recent_values.size):
        largest = max(largest, float(recent_values[i]))
    return largest - best_value <= ftol * max(abs(largest), abs(best_value), 1.0)


_is_still = jit.scalar(_is_still)
_moves = jit.kernel(_moves)
fill_weights = jit.kernel(_fill_weights, cpu, update_rule)
assess = jit.kernel(_assess, cpu, bounds)
_report = jit.kernel(_report)
