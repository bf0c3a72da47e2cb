"""The hyperparameters of NAdam: their names, defaults and ranges, checked in one place."""

import dataclasses
import inspect
import math
import numbers
from collections.abc import Callable
from functools import partial

import numpy as np

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


def nonnegative(name, value):
    """Return `value` as a float in [0, inf]."""
    return real_number(name, value, "a number >= 0", lambda v: 0.0 <= v)


def decay_rate(name, value):
    """Return `value` as a float in [0, 1)."""
    return real_number(name, value, "a number in [0, 1)", lambda v: 0.0 <= v < 1.0)


def _positive_finite_or_none(name, value):
    if value is None:
        return None
    return real_number(name, value, "None or a finite number > 0", lambda v: 0.0 < v < math.inf)


def fraction(name, value):
    """Return `value` as a float in [0, 1]."""
    return real_number(name, value, "a number in [0, 1]", lambda v: 0.0 <= v <= 1.0)


def true_or_false(name, value):
    """Return `value` as a bool, or say that it must be one."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name}={value!r} is a {type(value).__name__}: it must be True or False")
    return bool(value)


def integer_from(smallest, name, value):
    """Return `value` as an int of at least `smallest`, or None, if it is that."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise TypeError(f"{name}={value!r} is a {type(value).__name__}: it must be None or an integer >= {smallest}")
    if value < smallest:
        raise ValueError(f"{name}={value!r}: it must be None or an integer >= {smallest}")
    return int(value)


def one_of(choices, name, value):
    """Return `value` if it is one of `choices`, or say which there are."""
    allowed = f"it must be one of {', '.join(map(repr, choices))}"
    if not isinstance(value, tuple(map(type, choices))):
        raise TypeError(f"{name}={value!r} is a {type(value).__name__}: {allowed}")
    if value not in choices:
        raise ValueError(f"{name}={value!r}: {allowed}")
    return value


def _rate_or_schedule(name, value):
    return value if callable(value) else nonnegative_finite(name, value)


def check_in_compiled_code(learning_rate, beta_1, beta_2, epsilon, momentum_decay, weight_decay):
    """Refuse what `Hyperparameters` would; in compiled code a message is a constant, and the value stands beside it.

    Raises
    ------
    ValueError
        If one is out of its range.
    """
    if not 0.0 <= learning_rate < math.inf:
        raise ValueError("learning_rate must be a finite number >= 0", learning_rate)
    if not 0.0 <= beta_1 < 1.0:
        raise ValueError("beta_1 must be in [0, 1)", beta_1)
    if not 0.0 <= beta_2 < 1.0:
        raise ValueError("beta_2 must be in [0, 1)", beta_2)
    if not 0.0 <= epsilon < math.inf:
        raise ValueError("epsilon must be a finite number >= 0", epsilon)
    if not 0.0 <= momentum_decay:
        raise ValueError("momentum_decay must be >= 0", momentum_decay)
    if not 0.0 <= weight_decay < math.inf:
        raise ValueError("weight_decay must be a finite number >= 0", weight_decay)


def accepts(function, *arguments):
    """Whether `function` can be called with so many arguments; True if it does not tell."""
    try:
        signature = inspect.signature(getattr(function, "py_func", function))
    except (TypeError, ValueError):  # some builtins tell nothing
        return True
    try:
        signature.bind(*arguments)
    except TypeError:
        return False
    return True


def _check_fields(instance, checks):
    for name, check in checks.items():
        object.__setattr__(instance, name, check(name, getattr(instance, name)))


@dataclasses.dataclass(frozen=True)
class Hyperparameters:
    """A checked set of hyperparameters of the rule, which may differ between groups of parameters.

    The defaults are those of torch.optim.NAdam.

    Parameters
    ----------
    learning_rate : float or callable
        A finite number >= 0; a schedule, which is a function of the number of steps already made (0 at the first step)
        that returns one; or a function without arguments that does.
    beta_1, beta_2 : float
        Decay rates of the first and second moment, in [0, 1).
    epsilon : float
        Added to the root of the second moment, finite and >= 0.
    momentum_decay : float
        psi of the momentum schedule, >= 0; 4e-3 in torch and TensorFlow's legacy Nadam, 1 in Keras 3, ``inf`` (constant
        momentum) in optax.
    weight_decay : float
        Finite and >= 0. It is multiplied by the parameter and added to the gradient; or, if decoupled, the parameter is
        multiplied by ``1 - learning_rate * weight_decay`` instead.
    decoupled_weight_decay : bool
        Which of the two.
    nesterov : bool
        Whether the momentum looks ahead; if not, the rule is Adam's.
    amsgrad : bool
        Divide by the root of the largest second moment so far.
    maximize : bool
        Go up instead of down.
    clipvalue : float or None
        Clip each element of the gradient to +- this number > 0.
    clipnorm : float or None
        Scale each array's gradient down to this norm > 0, after `clipvalue`.
    epsilon_root : float
        Added under the root of the second moment, finite and >= 0 (optax's ``eps_root``).

    Attributes
    ----------
    schedule : float or callable
        The learning rate as a number or as a function of the step, for `schedules.rate_at`.

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
    weight_decay: float = 0.0
    decoupled_weight_decay: bool = False
    nesterov: bool = True
    amsgrad: bool = False
    maximize: bool = False
    clipvalue: float | None = None
    clipnorm: float | None = None
    epsilon_root: float = 0.0

    def __post_init__(self):
        _check_fields(self, _HYPERPARAMETER_CHECKS)
        # Asking for the signature takes longer than a step.
        needs_wrapping = callable(self.learning_rate) and not accepts(self.learning_rate, 0)
        schedule = _WithoutStep(self.learning_rate) if needs_wrapping else self.learning_rate
        object.__setattr__(self, "schedule", schedule)


@dataclasses.dataclass(frozen=True)
class _WithoutStep:
    """A schedule that calls a function without arguments."""

    function: Callable[[], float]

    def __call__(self, step: int) -> float:
        return self.function()


@dataclasses.dataclass(frozen=True)
class Options:
    """Checked settings of a whole optimizer.

    Parameters
    ----------
    global_clipnorm : float or None
        Scale all gradients down together to this norm > 0, after the clipping of each.
    use_ema : bool
        Keep an exponential moving average of the parameters.
    ema_momentum : float
        Part of itself that the average keeps in each step, in [0, 1].
    ema_overwrite_frequency : int or None
        Overwrite the parameters by their averages every so many steps.
    loss_scale_factor : float or None
        What the loss was multiplied by; the gradients are divided by it.
    gradient_accumulation_steps : int or None
        Average the gradients of so many calls of ``step``, >= 2, before the parameters are updated.
    nonfinite : {"propagate", "raise", "skip"}
        What to do about gradients that are not finite.
    lazy_sparse : bool
        Whether a row-sparse gradient updates the rows it touches only.
    state_dtype : {"bfloat16"} or None
        What the moments are kept in; None for the dtype of the parameters.
    capturable : bool
        Whether steps are counted on the GPU, so that they can be recorded and replayed.
    """

    global_clipnorm: float | None = None
    use_ema: bool = False
    ema_momentum: float = 0.99
    ema_overwrite_frequency: int | None = None
    loss_scale_factor: float | None = None
    gradient_accumulation_steps: int | None = None
    nonfinite: str = "propagate"
    lazy_sparse: bool = False
    state_dtype: str | None = None
    capturable: bool = False

    def __post_init__(self):
        _check_fields(self, _OPTION_CHECKS)
        if self.capturable:
            self._check_capturable()
        if self.lazy_sparse and self.gradient_accumulation_steps is not None:
            raise ValueError(
                f"lazy_sparse=True, gradient_accumulation_steps={self.gradient_accumulation_steps}: only one may "
                "be set, as sums of gradients are dense"
            )

    def _check_capturable(self):
        neutral = {
            "use_ema": False,
            "gradient_accumulation_steps": None,
            "nonfinite": "propagate",
            "lazy_sparse": False,
            "state_dtype": None,
        }
        for name, value in neutral.items():
            if getattr(self, name) != value:
                raise ValueError(f"{name}={getattr(self, name)!r}: with capturable=True it must be {value!r}")


_HYPERPARAMETER_CHECKS = {
    "learning_rate": _rate_or_schedule,
    "beta_1": decay_rate,
    "beta_2": decay_rate,
    "epsilon": nonnegative_finite,
    "momentum_decay": nonnegative,
    "weight_decay": nonnegative_finite,
    "decoupled_weight_decay": true_or_false,
    "nesterov": true_or_false,
    "amsgrad": true_or_false,
    "maximize": true_or_false,
    "clipvalue": _positive_finite_or_none,
    "clipnorm": _positive_finite_or_none,
    "epsilon_root": nonnegative_finite,
}
_OPTION_CHECKS = {
    "global_clipnorm": _positive_finite_or_none,
    "use_ema": true_or_false,
    "ema_momentum": fraction,
    "ema_overwrite_frequency": partial(integer_from, 1),
    "loss_scale_factor": _positive_finite_or_none,
    "gradient_accumulation_steps": partial(integer_from, 2),
    "nonfinite": partial(one_of, ("propagate", "raise", "skip")),
    "lazy_sparse": true_or_false,
    "state_dtype": partial(one_of, (None, "bfloat16")),
    "capturable": true_or_false,
}
