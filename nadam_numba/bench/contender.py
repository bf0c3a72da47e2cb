"""Who takes part in a measurement, in the one form that checks and clocks know."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

OURS = "nadam_numba"
WITHOUT_OPTION = "nadam_numba without it"
# Of the gradients in the steps that are checked: with the same gradient in all of them no decay rate would matter. As
# many as the micro-steps of the case with accumulation.
FACTORS = (1.0, 2.0, -0.25, 4.0)
# All are stepped with these; the momentum decay is each package's own.
LEARNING_RATE, BETA_1, BETA_2, EPSILON = 1e-3, 0.9, 0.999, 1e-8
# What torch, Keras 3 and optax take, or have built in.
TORCH_DECAY, KERAS_DECAY, OPTAX_DECAY = 4e-3, 1.0, float("inf")


def _nothing(*factor):
    """What ends the work of a contender that returns when it is done, and scales gradients that it has not."""


class Inputs(NamedTuple):
    """What contenders are made of.

    Attributes
    ----------
    parameters, gradients : list of ndarray
        Parameters are copied; gradients are shared by all who do not write to them.
    scale : function
        ``scale(factor)`` makes the shared gradients so many times what they were at first.
    expected : function
        ``expected(momentum_decay)`` is where ours goes.
    """

    parameters: list[np.ndarray]
    gradients: list[np.ndarray]
    scale: Callable[[float], None]
    expected: Callable[[float], list[np.ndarray]]


def scaler(arrays):
    """Make the function ``scale(factor)`` of arrays that are scaled in place, exactly if factors are powers of two."""
    current = 1.0

    def scale(factor):
        nonlocal current
        for array in arrays:
            array *= array.dtype.type(factor / current)
        current = factor

    return scale


class Contender(NamedTuple):
    """One of those that are timed in turn.

    Attributes
    ----------
    name : str
    step : function
        One step, or one solve.
    result : function
        The parameters now, as a list of ndarrays.
    expected : function or None
        What `result` must return, but for rounding, after steps from the start with gradients scaled by each of
        `FACTORS`; None where the rule is not NAdam's, so that there is nothing to compare.
    scale : function
        As in `Inputs`.
    finish : function
        Waits until the steps are done.
    iterations : int
        By which the time of `step` is divided.
    tolerance : float or None
        Of the check, relative to the way that the parameters went; None for that of the dtype.
    """

    name: str
    step: Callable[[], object]
    result: Callable[[], list[np.ndarray]]
    expected: Callable[[], list[np.ndarray]] | None = None
    scale: Callable[[float], object] = _nothing
    finish: Callable[[], object] = _nothing
    iterations: int = 1
    tolerance: float | None = None
