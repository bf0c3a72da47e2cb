"""The loop of minimize, written once: run as it stands for Python objectives, compiled for ``@njit`` objectives."""

from typing import NamedTuple

import numpy as np

from nadam_numba import jit
from nadam_numba.cpu import copy_into, largest_magnitude, step_coefficients
from nadam_numba.minimize.result import CONVERGED, NONFINITE, RUNNING
from nadam_numba.rule import NEUTRAL
from nadam_numba.schedules import PlateauState, plateau_step

# Two values of an objective that differ by less, relative to their size, are the same to rounding.
_ROUNDING = 1e-12


class State(NamedTuple):
    """All that changes from iteration to iteration; the arrays are overwritten in place.

    `plateau` is None unless the learning rate is a `reduce_on_plateau`.
    """

    x: np.ndarray
    gradient: np.ndarray
    first_moment: np.ndarray
    second_moment: np.ndarray
    best_x: np.ndarray
    best_gradient: np.ndarray
    value: float
    best_value: float
    best_norm: float
    mu_product: float
    plateau: PlateauState | None
    step: int
    status: int


def start(x, value, gradient, gtol, plateau=None):
    """The state before the first step, at the point `x` with its value and gradient."""
    norm = float(largest_magnitude(gradient))
    is_finite = np.isfinite(value) and np.isfinite(norm)
    status = NONFINITE if not is_finite else CONVERGED if norm <= gtol else RUNNING
    return State(
        x=x,
        gradient=gradient,
        first_moment=np.zeros_like(x),
        second_moment=np.zeros_like(x),
        best_x=x.copy(),
        best_gradient=gradient.copy(),
        value=value,
        best_value=value,
        best_norm=norm,
        mu_product=1.0,
        plateau=plateau,
        step=0,
        status=status,
    )


def iterate(
    update,
    evaluate,
    fun,
    jac,
    args,
    state,
    learning_rates,
    beta_1,
    beta_2,
    epsilon,
    momentum_decay,
    gtol,
    plateau_rule,
):
    """Make one step for each of `learning_rates`, or fewer if a stopping test holds, and return the new state.

    Parameters
    ----------
    update : function
        A kernel of `cpu`.
    evaluate, fun, jac : function
        Of an `Objective`.
    args : tuple
        Further arguments of `fun` and `jac`.
    state : State
        Its arrays are overwritten.
    learning_rates : ndarray, shape (k,)
    beta_1, beta_2, epsilon, momentum_decay : float
        Hyperparameters.
    gtol : float
        Stop where the largest component of the gradient is at most this, provided that the value is the best seen, to
        rounding: elsewhere a flat point may lie above points passed before.
    plateau_rule : tuple or None
        Of a `reduce_on_plateau`, whose rate then counts in place of `learning_rates`. None compiles to nothing.
    """
    x, gradient, first_moment, second_moment, best_x, best_gradient = state[:6]
    value, best_value, best_norm, mu_product, plateau, step, status = state[6:]
    for learning_rate in learning_rates:
        if plateau_rule is not None:
            learning_rate = plateau.learning_rate
        step += 1
        mu_product, gradient_weight, momentum_weight, second_moment_correction = step_coefficients(
            step, mu_product, beta_1, beta_2, momentum_decay
        )
        update(
            x,
            first_moment,
            second_moment,
            None,
            None,
            None,
            gradient,
            None,
            learning_rate,
            beta_1,
            beta_2,
            epsilon,
            gradient_weight,
            momentum_weight,
            second_moment_correction,
            *NEUTRAL,
        )
        value = evaluate(fun, jac, args, x, gradient)
        if plateau_rule is not None:
            plateau = plateau_step(value, plateau, plateau_rule)
        norm = 1.0 * largest_magnitude(gradient)
        if not (np.isfinite(value) and np.isfinite(norm)):
            status = NONFINITE
            break
        # Near a minimum the values are the same to rounding, and only the gradient still tells points apart.
        has_converged = norm <= gtol and value - best_value <= _ROUNDING * abs(best_value)
        if has_converged or value < best_value or (value == best_value and norm < best_norm):
            best_value, best_norm = value, norm
            copy_into(best_x, x)
            copy_into(best_gradient, gradient)
        if has_converged:
            status = CONVERGED
            break
    return State(
        x,
        gradient,
        first_moment,
        second_moment,
        best_x,
        best_gradient,
        value,
        best_value,
        best_norm,
        mu_product,
        plateau,
        step,
        status,
    )


compiled_iterate = jit.driver(iterate)
