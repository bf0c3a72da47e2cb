"""The options of minimize: their names, defaults and ranges, and the methods that set the rule's switches."""

import math
from collections.abc import Callable, Mapping
from functools import partial
from types import NoneType
from typing import Any, NamedTuple

from nadam_numba.hyperparameters import (
    Hyperparameters,
    Schedule,
    integer_from,
    nonnegative,
    nonnegative_finite,
    one_of,
    real_number,
    true_or_false,
)
from nadam_numba.minimize.warn import warn_user

# Counts are 64-bit integers in compiled code; beyond 2**53 no float tells them apart.
_UNLIMITED = 2**53


class Method(NamedTuple):
    """The switches of the rule that a method's name stands for."""

    nesterov: bool = True
    amsgrad: bool = False
    decoupled_weight_decay: bool = False


METHODS = {
    "nadam": Method(),
    "nadamw": Method(decoupled_weight_decay=True),
    "adam": Method(nesterov=False),
    "adamw": Method(nesterov=False, decoupled_weight_decay=True),
    "amsgrad": Method(nesterov=False, amsgrad=True),
}


class Options(NamedTuple):
    """Checked options; `nadam_numba.minimize` says what they mean.

    A limit that was not given is one that is never reached; `gtol` is None until the objective is known.
    """

    learning_rate: float | str | Schedule = "auto"
    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-8
    momentum_decay: float = 4e-3
    weight_decay: float = 0.0
    maxiter: int = 20_000
    maxfev: int = _UNLIMITED
    gtol: float | None = None
    ftol: float = -1.0
    f_target: float = -math.inf
    patience: int = _UNLIMITED
    max_time: float = math.inf
    finite_diff: str = "2-point"
    finite_diff_rel_step: Any = None
    workers: int | Callable | None = None
    disp: bool = False
    return_all: bool = False
    history: int | None = None
    memory: int = 10
    polish: bool = False


def make_options(method, options, tol=None):
    """Check the options of a run, and warn of those that are unknown.

    Parameters
    ----------
    method : Method
    options : Mapping or None
        What the user gave.
    tol : float, optional
        Stands for `gtol`, if that is not given.

    Raises
    ------
    TypeError, ValueError
        If an option is of the wrong type or out of its range.
    """
    if not isinstance(options, (Mapping, NoneType)):
        raise TypeError(f"options={options!r} is a {type(options).__name__}: it must be a dict or None")
    if not options and tol is None:
        return _DEFAULTS
    given = dict(options or {})
    unknown = [name for name in given if name not in Options._fields]
    if unknown:
        from scipy.optimize import OptimizeWarning

        warn_user(f"Unknown solver options: {', '.join(map(str, unknown))}", OptimizeWarning)
    checked = {} if tol is None else {"gtol": nonnegative_finite("tol", tol)}
    for name, value in given.items():
        # None stands for the default.
        if name in _CHECKS and value is not None:
            checked[name] = _CHECKS[name](name, value)
        elif name in _HYPERPARAMETERS:
            checked[name] = value
    result = Options(**checked)
    if checked.keys().isdisjoint(_HYPERPARAMETERS):
        return result
    is_auto = _is_auto(result.learning_rate)
    hyper = make_hyperparameters(method, result, 0.0 if is_auto else result.learning_rate)
    if is_auto and hyper.weight_decay:
        raise ValueError(
            f"weight_decay={hyper.weight_decay!r} with learning_rate='auto': give a learning rate, a number or a "
            "schedule, for the decay has no meaning without"
        )
    return result._replace(**{name: getattr(hyper, name) for name in _HYPERPARAMETERS if name != "learning_rate"})


def make_hyperparameters(method, options, learning_rate):
    """The rule's hyperparameters at a learning rate, checked."""
    names = [name for name in _HYPERPARAMETERS if name != "learning_rate"]
    return Hyperparameters(learning_rate, **{name: getattr(options, name) for name in names}, **method._asdict())


def _is_auto(learning_rate):
    return isinstance(learning_rate, str) and learning_rate == "auto"


def _rate(name, value):
    allowed = "'auto', a finite number >= 0 or a schedule"
    if _is_auto(value) or callable(value):
        return value
    if isinstance(value, str):
        raise ValueError(f"{name}={value!r}: it must be {allowed}")
    return real_number(name, value, allowed, lambda v: 0.0 <= v < math.inf)


def _count(smallest, allowed, name, value):
    """A number that need not be whole, as in SciPy."""
    number = real_number(name, value, allowed, lambda v: smallest <= v)
    return min(math.floor(min(number, _UNLIMITED)), _UNLIMITED)


def _maxiter(name, value):
    # SciPy takes negative numbers for 0.
    return _count(0.0, "", name, max(real_number(name, value, "a number", lambda v: v == v), 0.0))


_HYPERPARAMETERS = ("learning_rate", "beta_1", "beta_2", "epsilon", "momentum_decay", "weight_decay")
_CHECKS = {
    "learning_rate": _rate,
    "maxiter": _maxiter,
    "maxfev": partial(_count, 1.0, "a number >= 1"),
    "gtol": nonnegative_finite,
    "ftol": nonnegative_finite,
    "f_target": partial(real_number, allowed="a number", accept=lambda v: v == v),
    "patience": partial(_count, 1.0, "a number >= 1"),
    "max_time": nonnegative,
    "finite_diff": partial(one_of, ("2-point", "3-point", "cs")),
    "finite_diff_rel_step": lambda name, value: value,  # the objective checks it, which knows the variables
    "workers": lambda name, value: value,
    "disp": lambda name, value: bool(value),  # an integer in SciPy
    "return_all": lambda name, value: bool(value),
    "history": partial(integer_from, 1),
    "memory": partial(integer_from, 0),
    "polish": true_or_false,
}
# The defaults are the same for all methods, and need no check.
_DEFAULTS = Options()
