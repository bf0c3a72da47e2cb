"""A whole run in one call of compiled code, from x0 to its end: what batches and `@njit` code are made of.

`run` and the loops go from Python to compiled code and back, with observers in between. Here nothing comes between,
and the arrays of a run serve the next one. The steps are those of `auto` and `textbook`, whose kernels these functions
call, and so are the bits.
"""

import functools
import math
from typing import NamedTuple

import numpy as np

from nadam_numba import jit
from nadam_numba.cpu import copy_into
from nadam_numba.minimize import auto, textbook
from nadam_numba.minimize.auto import Tests, open_run
from nadam_numba.minimize.auto_state import BEST_GRADIENT, BEST_X, GRADIENT, TRIAL, TRIAL_GRADIENT, X, make_state
from nadam_numba.minimize.bounds import clip, projected_norm
from nadam_numba.minimize.lent import make_room
from nadam_numba.minimize.options import make_hyperparameters
from nadam_numba.minimize.result import Stop
from nadam_numba.minimize.rough import ROUNDING
from nadam_numba.minimize.textbook import assess, fill_weights
from nadam_numba.schedules import rates

_RUNNING, _FIXED, _NONFINITE = (Stop[name].code for name in ("RUNNING", "FIXED", "NONFINITE"))
_PRECISION, _PRECISION_LOSS, _ROUGH = Stop.PRECISION.code, Stop.PRECISION_LOSS.code, Stop.ROUGH.code
_ITERATION_LIMIT, _EVALUATION_LIMIT = Stop.ITERATION_LIMIT.code, Stop.EVALUATION_LIMIT.code

# How many steps or evaluations are made between two looks at the signal.
CHUNK = 8
# Bounds the memory that the rates of a schedule take.
_LONGEST_SCHEDULE = 2**22

# What is bound to the functions below: the objective's way to be evaluated, and what is made with it.
_evaluate = _iterate = _run = None


class Limits(NamedTuple):
    """When to stop; `gtol` is NaN where the default holds: `gtol_factor` times the first gradient, or times 1."""

    gtol: float
    gtol_factor: float
    ftol: float  # negative: no such test
    f_target: float
    patience: int
    maxiter: int
    maxfev: int
    values_per_variable: int  # that a gradient takes


class AutoPlan(NamedTuple):
    """What `run_auto` takes beside the state and the limits."""

    blank: np.ndarray  # the numbers of a state at the start
    gtol: np.ndarray  # shape (1,): is set to the one that holds


class TextbookPlan(NamedTuple):
    """What `run_textbook` takes beside the state and the limits."""

    blank: np.ndarray  # the numbers of a state at the start
    learning_rates: np.ndarray  # of all steps that there may be, unless they are all the same
    weights: np.ndarray  # of the first steps
    some_weights: np.ndarray  # room for those of the next ones
    hyper: tuple  # beta_1, beta_2, momentum_decay, nesterov
    is_constant: bool
    amsgrad: bool | None  # None, not False, where the method is another
    rule: textbook.Rule
    plateau_rule: tuple | None


def run_auto(fun, jac, args, state, plan, lower, upper, free, limits, signal):
    """Minimise by the policy of "auto", from the point ``state.x``.

    The names `_evaluate` and `_iterate` are bound to the objective's way to be evaluated, and to the loop made with it.

    Parameters
    ----------
    fun, jac, args
        Of an `Objective`.
    state : auto_state.State
        The result is left here.
    plan : AutoPlan
    lower, upper : ndarray, shape (n,), or None
    free : int
        How many variables the bounds leave free.
    limits : Limits
    signal : ndarray of int64, shape (1,)
        The code of a `Stop` that somebody else writes here ends the run.

    Returns
    -------
    int
        The code of the `Stop`.
    """
    vectors, pairs, numbers = state.vectors, state.pairs, state.numbers
    record, point, gradient = numbers[0], vectors[X], vectors[GRADIENT]
    limit = _begin_auto(vectors, pairs, numbers, lower, upper, free, plan, limits)
    value, has_gradient = _evaluate(fun, jac, args, point, gradient, limit, make_room(point))
    tests = _open_auto(vectors, pairs, numbers, lower, upper, free, plan, limits, value, has_gradient)
    while record["stop"] == _RUNNING:
        left = limits.maxiter - record["iterations"]
        if left <= 0:
            return _ITERATION_LIMIT
        if signal[0] != _RUNNING:
            return signal[0]
        _iterate(fun, jac, args, vectors, pairs, numbers, lower, upper, tests, left, CHUNK)
    return record["stop"]


def run_auto_alone(fun, jac, args, state, plan, lower, upper, free, limits, signal):
    """`run_auto`, for runs that nothing follows: where a line search finds nothing, it tells whether rounding is why.

    The name `_run` is bound to `run_auto`.
    """
    stop = _run(fun, jac, args, state, plan, lower, upper, free, limits, signal)
    if stop == _PRECISION_LOSS:
        record, gradient = state.numbers[0], state.vectors[TRIAL_GRADIENT]
        value, has_gradient = _evaluate(fun, jac, args, state.x, gradient, record["best_value"], make_room(state.x))
        record["values"] += 1
        record["gradients"] += has_gradient
        stop = _stop_without_search(record, value, np.finfo(state.x.dtype).eps)
    return stop


def _stop_without_search(record, value, eps):
    """Where a line search has found nothing: whether rounding can be why, if the same value has come out again."""
    is_noisy = abs(value - record["value"]) > ROUNDING * eps * abs(record["value"])
    if is_noisy:
        return _ROUGH
    return _PRECISION if record["is_explained"] else _PRECISION_LOSS


def _begin_auto(vectors, pairs, numbers, lower, upper, free, plan, limits):
    """Make all but the point what it is at the start; return the value beyond which no gradient is to be taken."""
    clip(vectors[X], lower, upper)
    for row in range(X + 1, vectors.shape[0]):
        fill(vectors[row], 0.0)
    fill(vectors[GRADIENT], np.nan)
    for row in range(pairs.shape[0]):
        fill(pairs[row], 0.0)
    numbers[0] = plan.blank[0]
    return np.inf if _affords_gradient(vectors[X].size, free, limits) else -np.inf


def fill(array, number):
    """Overwrite all elements."""
    for i in range(array.size):
        array[i] = number


def _affords_gradient(size, free, limits):
    """Whether a gradient is of use at the start, and `maxfev` leaves room for it."""
    is_fixed = free == 0 and size > 0
    return 1 + limits.values_per_variable * free <= limits.maxfev and not is_fixed


def _open_auto(vectors, pairs, numbers, lower, upper, free, plan, limits, value, has_gradient):
    """Take the start for the first iterate, and see whether there is anything to do; return the tests of the run."""
    point, gradient, record = vectors[X], vectors[GRADIENT], numbers[0]
    copy_into(vectors[TRIAL], point)
    copy_into(vectors[BEST_X], point)
    copy_into(vectors[BEST_GRADIENT], gradient)
    gtol = limits.gtol
    if gtol != gtol:
        gtol = _default_gtol(point, gradient, lower, upper, limits.gtol_factor)
    plan.gtol[0] = gtol
    per_gradient = limits.values_per_variable * free
    tests = Tests(gtol, limits.ftol, limits.f_target, limits.patience, limits.maxfev, per_gradient)
    if free == 0 and point.size > 0:
        record["best_value"] = value
        record["values"] = 1
        record["stop"] = _FIXED if math.isfinite(value) else _NONFINITE
        fill(vectors[BEST_GRADIENT], np.nan)
        return tests
    open_run(vectors, pairs, numbers, lower, upper, value, has_gradient, tests)
    if math.isfinite(value) and not _affords_gradient(point.size, free, limits):
        record["stop"] = _EVALUATION_LIMIT
    return tests


def _default_gtol(x, gradient, lower, upper, factor):
    """As `auto.default_gtol`, which computes in the precision of x."""
    norm = projected_norm(x, gradient, lower, upper)
    if not math.isfinite(norm):
        return 0.0
    number = x.dtype.type
    return float(number(factor) * number(min(1.0, norm)))


def run_textbook(fun, jac, args, state, plan, lower, upper, free, limits, signal):
    """Minimise at given learning rates, from the point ``state.x``.

    The names that are bound, the parameters and what is returned are those of `run_auto`, but for these.

    Parameters
    ----------
    state : textbook.State
    plan : TextbookPlan
    """
    vectors, recent_values, numbers = state.vectors, state.recent_values, state.numbers
    record, point, gradient = numbers[0], vectors[X], vectors[GRADIENT]
    limit = _begin_textbook(vectors, numbers, lower, upper, free, plan.blank, limits)
    value, has_gradient = _evaluate(fun, jac, args, point, gradient, limit, make_room(point))
    tests = _open_textbook(vectors, recent_values, numbers, lower, upper, free, limits, value, has_gradient)
    values_per_gradient = limits.values_per_variable * free
    while record["stop"] == _RUNNING:
        done = record["iterations"]
        if done >= limits.maxiter:
            return _ITERATION_LIMIT
        if signal[0] != _RUNNING:
            return signal[0]
        spent = record["values"] + values_per_gradient * record["gradients"]
        count = min(CHUNK, limits.maxiter - done, (limits.maxfev - spent) // (1 + values_per_gradient))
        if count < 1:
            return _EVALUATION_LIMIT
        if plan.is_constant:
            learning_rates = plan.learning_rates[:count]
        else:
            learning_rates = plan.learning_rates[done : done + count]
            count = learning_rates.size
            if count < 1:
                raise ValueError("learning_rate: the schedule has no rate for a step")
        weights = plan.some_weights[:count]
        _take_weights(weights, plan.weights, done, record["mu_product"], plan.hyper)
        _iterate(
            fun,
            jac,
            args,
            vectors,
            recent_values,
            numbers,
            lower,
            upper,
            plan.amsgrad,
            None,
            learning_rates,
            weights,
            plan.rule,
            tests,
            plan.plateau_rule,
        )
    return record["stop"]


def _take_weights(weights, first_weights, done, mu_product, hyper):
    """The weights of the next steps, from the table of the first ones as long as they last."""
    if done + weights.shape[0] <= first_weights.shape[0]:
        for k in range(weights.shape[0]):
            for i in range(4):
                weights[k, i] = first_weights[done + k, i]
    else:
        beta_1, beta_2, momentum_decay, nesterov = hyper
        fill_weights(weights, done, mu_product, beta_1, beta_2, momentum_decay, nesterov)


def _begin_textbook(vectors, numbers, lower, upper, free, blank, limits):
    """Make all but the point what it is at the start; return the value beyond which no gradient is to be taken."""
    clip(vectors[X], lower, upper)
    for row in range(X + 1, vectors.shape[0]):
        fill(vectors[row], 0.0)
    fill(vectors[GRADIENT], np.nan)
    numbers[0] = blank[0]
    return np.inf if _affords_gradient(vectors.shape[1], free, limits) else -np.inf


def _open_textbook(vectors, recent_values, numbers, lower, upper, free, limits, value, has_gradient):
    """Take the start for the first iterate, and see whether there is anything to do; return the tests of the run."""
    record = numbers[0]
    copy_into(vectors[BEST_X], vectors[X])
    copy_into(vectors[textbook.LAST_X], vectors[X])
    copy_into(vectors[BEST_GRADIENT], vectors[GRADIENT])
    tests = textbook.Tests(limits.gtol, limits.ftol, limits.f_target, limits.patience)
    if free == 0 and vectors.shape[1] > 0:
        record["best_value"] = value
        record["values"] = 1
        record["iterations"] = 0
        record["stop"] = _FIXED if math.isfinite(value) else _NONFINITE
        fill(vectors[BEST_GRADIENT], np.nan)
        return tests
    assess(vectors, recent_values, numbers, lower, upper, value, has_gradient, True, np.nan, tests)
    if record["stop"] == _NONFINITE:
        record["best_value"] = value
    if math.isfinite(value) and not _affords_gradient(vectors.shape[1], free, limits):
        record["stop"] = _EVALUATION_LIMIT
    return tests


fill = jit.scalar(fill)
_affords_gradient = jit.scalar(_affords_gradient)
_default_gtol = jit.scalar(_default_gtol)
_stop_without_search = jit.scalar(_stop_without_search)

# What these functions are made of, beside the objective.
SOURCES = *auto.SOURCES, *textbook.SOURCES, auto, textbook

_begin_auto = jit.kernel(_begin_auto, *SOURCES)
_open_auto = jit.kernel(_open_auto, *SOURCES)
_take_weights = jit.kernel(_take_weights, *SOURCES)
_begin_textbook = jit.kernel(_begin_textbook, *SOURCES)
_open_textbook = jit.kernel(_open_textbook, *SOURCES)


@functools.cache
def compiled(run, evaluate):
    """Compile a run for a way to evaluate objectives, which becomes a part of the loops alone."""
    once = _apart(evaluate)
    if run is run_auto_alone:
        return jit.inlined_driver(run, _evaluate=once, _run=compiled(run_auto, evaluate))
    if run is run_auto:
        iterate = jit.inlined_driver(auto.iterate, _evaluate=evaluate)
    else:
        # In one thread, for there are others beside.
        iterate = jit.driver(textbook.iterate, _evaluate=evaluate, _move=textbook.MOVES[False])
    return jit.inlined_driver(run, _evaluate=once, _iterate=iterate)


@functools.cache
def _apart(evaluate):
    """A way to evaluate objectives that is compiled once, not wherever it is called."""
    return jit.driver(_evaluate_apart, _evaluate=evaluate)


def _evaluate_apart(fun, jac, args, x, gradient, limit, room):
    return _evaluate(fun, jac, args, x, gradient, limit, room)


def make_run(objective, switches, options, x):
    """What the compiled runs of an objective take, and which of them it is.

    Parameters
    ----------
    objective : Objective
        Made without bounds.
    switches : Method
    options : Options
    x : ndarray, shape (n,)
        Only its size and dtype matter.

    Returns
    -------
    run : function
    state, plan, limits
        Its arguments.
    """
    is_auto = isinstance(options.learning_rate, str)
    gtol = options.gtol
    if gtol is None:
        gtol = np.nan if is_auto else textbook.default_gtol(x.dtype, objective.has_exact_gradient)
    limits = Limits(
        float(gtol),
        float(auto.gtol_factor(objective.has_exact_gradient, x.dtype)),
        options.ftol,
        options.f_target,
        options.patience,
        options.maxiter,
        options.maxfev,
        objective.values_per_gradient // max(x.size, 1),
    )
    if is_auto:
        state = make_state(x, x, min(options.memory, x.size + auto.SPARE_PAIRS))
        return run_auto, state, AutoPlan(state.numbers.copy(), np.zeros(1)), limits
    hyper = make_hyperparameters(switches, options, options.learning_rate)
    return run_textbook, *_make_textbook(hyper, options.maxiter, x), limits


def _make_textbook(hyper, maxiter, x):
    state, rule, plateau_rule = textbook.open_state(hyper, x, x)
    is_constant = plateau_rule is not None or not callable(hyper.schedule)
    if not is_constant and maxiter > _LONGEST_SCHEDULE:
        raise ValueError(
            f"learning_rate={hyper.learning_rate!r} with maxiter={maxiter}: schedules are asked for all rates "
            f"beforehand, so that maxiter must be at most {_LONGEST_SCHEDULE}"
        )
    settings = hyper.beta_1, hyper.beta_2, hyper.momentum_decay, hyper.nesterov
    plan = TextbookPlan(
        blank=state.numbers.copy(),
        learning_rates=rates(hyper.schedule, range(CHUNK if is_constant else maxiter)),
        weights=textbook.first_weights(*settings),
        some_weights=np.empty((CHUNK, 4)),
        hyper=settings,
        is_constant=is_constant,
        amsgrad=hyper.amsgrad or None,
        rule=rule,
        plateau_rule=plateau_rule,
    )
    return state, plan
