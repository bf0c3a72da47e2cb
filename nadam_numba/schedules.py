"""Learning-rate schedules: functions of the number of steps already made, 0 at the first step.

Any function of that kind is a schedule. Those made here equal the ones of the same name in Keras 3, and can be pickled.
"""

import inspect
import math
from functools import partial

from nadam_numba.hyperparameters import Schedule, nonnegative_finite, real_number


def exponential_decay(initial_learning_rate: float, decay_steps: float, decay_rate: float) -> Schedule:
    """Multiply the learning rate by `decay_rate` every `decay_steps` steps, smoothly.

    Parameters
    ----------
    initial_learning_rate : float
        Rate at the first step, >= 0.
    decay_steps : float
        Number of steps, > 0.
    decay_rate : float
        Factor, >= 0.

    Returns
    -------
    callable
        ``step -> initial_learning_rate * decay_rate**(step / decay_steps)``

    Raises
    ------
    TypeError, ValueError
        If an argument is not a number in its range.

    Examples
    --------
    >>> from nadam_numba import schedules
    >>> rate = schedules.exponential_decay(0.1, decay_steps=100, decay_rate=0.5)
    >>> rate(0), rate(100)
    (0.1, 0.05)
    """
    initial_learning_rate = nonnegative_finite("initial_learning_rate", initial_learning_rate)
    decay_steps = _number_of_steps(decay_steps)
    decay_rate = nonnegative_finite("decay_rate", decay_rate)
    return partial(_exponential, initial_learning_rate, decay_steps, decay_rate)


def cosine_decay(initial_learning_rate: float, decay_steps: float, alpha: float = 0.0) -> Schedule:
    """Lower the learning rate along half a cosine, from the first step to `decay_steps`; constant afterwards.

    Parameters
    ----------
    initial_learning_rate : float
        Rate at the first step, >= 0.
    decay_steps : float
        Number of steps, > 0.
    alpha : float, optional
        Final rate as a fraction of the initial one, >= 0.

    Returns
    -------
    callable
        The rate as a function of the step.

    Raises
    ------
    TypeError, ValueError
        If an argument is not a number in its range.

    References
    ----------
    I. Loshchilov, F. Hutter, "SGDR: Stochastic Gradient Descent with Warm Restarts", ICLR 2017.

    Examples
    --------
    >>> from nadam_numba import schedules
    >>> rate = schedules.cosine_decay(0.1, decay_steps=100)
    >>> rate(0), rate(50), rate(100)
    (0.1, 0.05, 0.0)
    """
    initial_learning_rate = nonnegative_finite("initial_learning_rate", initial_learning_rate)
    decay_steps = _number_of_steps(decay_steps)
    alpha = nonnegative_finite("alpha", alpha)
    return partial(_cosine, initial_learning_rate, decay_steps, alpha)


def description(schedule: Schedule) -> tuple[str, dict] | None:
    """The name of the function here that made `schedule`, and its arguments by name; None if it was made elsewhere.

    Examples
    --------
    >>> from nadam_numba import schedules
    >>> schedules.description(schedules.exponential_decay(0.1, 100.0, 0.5))
    ('exponential_decay', {'initial_learning_rate': 0.1, 'decay_steps': 100.0, 'decay_rate': 0.5})
    """
    name = _NAMES.get(schedule.func) if isinstance(schedule, partial) else None
    if name is None:
        return None
    return name, dict(inspect.signature(globals()[name]).bind(*schedule.args).arguments)


def _exponential(initial_learning_rate, decay_steps, decay_rate, step):
    return initial_learning_rate * decay_rate ** (step / decay_steps)


def _cosine(initial_learning_rate, decay_steps, alpha, step):
    cosine = 0.5 * (1.0 + math.cos(math.pi * min(step / decay_steps, 1.0)))
    return initial_learning_rate * ((1.0 - alpha) * cosine + alpha)


def _number_of_steps(value):
    return real_number("decay_steps", value, "a finite number > 0", lambda v: 0.0 < v < math.inf)


_NAMES = {_exponential: "exponential_decay", _cosine: "cosine_decay"}
