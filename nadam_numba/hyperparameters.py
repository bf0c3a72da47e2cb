"""The hyperparameters of NAdam: their names, defaults and ranges, checked in one place."""

import dataclasses
import math
import numbers
from collections.abc import Callable

Schedule = Callable[[int], float]


def real_number(name, value, allowed, accept):
    """Return `value` as a float, or say which argument is wrong, what it is and what is allowed.

    Parameters
    ----------
    name : str
        The argument, as the user knows it.
    value : object
        What the user gave.
    allowed : str
        What may be given, as it stands in the message.
    accept : callable
        Whether a float is in the range.

    Raises
    ------
    TypeError
        If `value` is not a real number.
    ValueError
        If ``accept(value)`` does not hold; a NaN fails every comparison.
    """
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"{name}={value!r} is a {type(value).__name__}: it must be {allowed}")
    try:
        value = float(value)
    except OverflowError:  # an integer beyond the range of floats
        raise ValueError(f"{name} is beyond the range of floats: it must be {allowed}") from None
    if not accept(value):
        raise ValueError(f"{name}={value!r}: it must be {allowed}")
    return value


def nonnegative_finite(name, value):
    """Return `value` as a float in [0, inf)."""
    return real_number(name, value, "a finite number >= 0", lambda v: 0.0 <= v < math.inf)


def _nonnegative(name, value):
    return real_number(name, value, "a number >= 0", lambda v: 0.0 <= v)


def _decay_rate(name, value):
    return real_number(name, value, "a number in [0, 1)", lambda v: 0.0 <= v < 1.0)


def _rate_or_schedule(name, value):
    return value if callable(value) else nonnegative_finite(name, value)


@dataclasses.dataclass(frozen=True)
class Hyperparameters:
    """A checked set of hyperparameters; the defaults are those of torch.optim.NAdam.

    Parameters
    ----------
    learning_rate : float or callable
        A finite number >= 0, or a schedule: a function of the number of steps already made (0 at the first step)
        that returns one.
    beta_1, beta_2 : float
        Decay rates of the first and second moment, in [0, 1).
    epsilon : float
        Added to the root of the second moment, finite and >= 0.
    momentum_decay : float
        psi of the momentum schedule, >= 0; 4e-3 in torch and TensorFlow's legacy Nadam, 1 in Keras 3, ``inf`` (constant
        momentum) in optax.

    Raises
    ------
    TypeError
        If a value is not a real number.
    ValueError
        If a value is out of its range.
    """

    learning_rate: float | Schedule = 2e-3
    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-8
    momentum_decay: float = 4e-3

    def __post_init__(self):
        for name, check in _CHECKS.items():
            object.__setattr__(self, name, check(name, getattr(self, name)))

    def learning_rate_at(self, step: int) -> float:
        """The learning rate after `step` steps, checked."""
        if callable(self.learning_rate):
            rate = self.learning_rate(step)
            # What most schedules return needs no full check, which takes longer than a step.
            is_valid = type(rate) is float and 0.0 <= rate < math.inf
            return rate if is_valid else nonnegative_finite(f"learning_rate({step})", rate)
        return self.learning_rate


_CHECKS = {
    "learning_rate": _rate_or_schedule,
    "beta_1": _decay_rate,
    "beta_2": _decay_rate,
    "epsilon": nonnegative_finite,
    "momentum_decay": _nonnegative,
}
