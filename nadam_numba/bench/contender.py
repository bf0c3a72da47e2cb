"""Who takes part in a measurement, in the one form that checks and clocks know."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

OURS = "nadam_numba"
# All are stepped with these; the momentum decay is each package's own.
LEARNING_RATE, BETA_1, BETA_2, EPSILON = 1e-3, 0.9, 0.999, 1e-8
# What torch, Keras 3 and optax take, or have built in.
TORCH_DECAY, KERAS_DECAY, OPTAX_DECAY = 4e-3, 1.0, float("inf")


def _nothing():
    """What ends the work of a contender that returns when it is done."""


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
        What `result` must return, but for rounding, after `verify.STEPS` steps from the start; None where the rule is
        not NAdam's, so that there is nothing to compare.
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
    finish: Callable[[], object] = _nothing
    iterations: int = 1
    tolerance: float | None = None
