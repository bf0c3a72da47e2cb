"""Learning-rate schedules: functions of the number of steps already made, 0 at the first step.

Any function of that kind is a schedule. Those made here have the numbers of Keras 3 and torch, in float64, where some
backends of Keras compute in single precision; they can be pickled, copied and compared. They, and functions compiled
with ``@njit``, are evaluated by compiled code for many steps at once.
"""

import contextlib
import dataclasses
import functools
import itertools
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numba
import numpy as np

from nadam_numba import jit
from nadam_numba.hyperparameters import (
    Schedule,
    accepts,
    fraction,
    nonnegative_finite,
    one_of,
    real_number,
    true_or_false,
)


def constant(learning_rate: float) -> Schedule:
    """Keep the learning rate as it is: for where a function is asked for.

    Parameters
    ----------
    learning_rate : float
        The rate, finite and >= 0.

    Returns
    -------
    callable
        ``step -> learning_rate``

    Raises
    ------
    TypeError, ValueError
        If the argument is not a number in its range.

    Examples
    --------
    >>> from nadam_numba import schedules
    >>> rate = schedules.constant(0.1)
    >>> rate(0), rate(1000)
    (0.1, 0.1)
    """
    return _schedule(_constant, learning_rate=nonnegative_finite("learning_rate", learning_rate))


def exponential_decay(
    initial_learning_rate: float, decay_steps: float, decay_rate: float, staircase: bool = False
) -> Schedule:
    """Multiply the learning rate by `decay_rate` every `decay_steps` steps, smoothly or at once.

    Equal to Keras 3's ExponentialDecay. torch's ExponentialLR(gamma) is ``decay_steps=1, decay_rate=gamma``, its
    StepLR(step_size, gamma) is ``decay_steps=step_size, decay_rate=gamma, staircase=True``.

    Parameters
    ----------
    initial_learning_rate : float
        Rate at the first step, >= 0.
    decay_steps : float
        Number of steps, > 0.
    decay_rate : float
        Factor, >= 0.
    staircase : bool, optional
        Whether the rate is constant between multiples of `decay_steps`.

    Returns
    -------
    callable
        ``step -> initial_learning_rate * decay_rate**(step / decay_steps)``, where a staircase rounds the exponent
        down.

    Raises
    ------
    TypeError, ValueError
        If an argument is not of its type or not in its range.

    Examples
    --------
    >>> from nadam_numba import schedules
    >>> rate = schedules.exponential_decay(0.1, decay_steps=100, decay_rate=0.5)
    >>> rate(0), rate(100)
    (0.1, 0.05)
    """
    return _schedule(
        _exponential_decay,
        initial_learning_rate=nonnegative_finite("initial_learning_rate", initial_learning_rate),
        decay_steps=_positive("decay_steps", decay_steps),
        decay_rate=nonnegative_finite("decay_rate", decay_rate),
        staircase=true_or_false("staircase", staircase),
    )


def inverse_time_decay(
    initial_learning_rate: float, decay_steps: float, decay_rate: float, staircase: bool = False
) -> Schedule:
    """Divide the learning rate by a number that grows by `decay_rate` every `decay_steps` steps, smoothly or at once.

    Equal to Keras 3's InverseTimeDecay.

    Parameters
    ----------
    initial_learning_rate : float
        Rate at the first step, >= 0.
    decay_steps : float
        Number of steps, > 0.
    decay_rate : float
        Growth of the divisor, >= 0.
    staircase : bool, optional
        Whether the rate is constant between multiples of `decay_steps`.

    Returns
    -------
    callable
        ``step -> initial_learning_rate / (1 + decay_rate * step / decay_steps)``, where a staircase rounds
        ``step / decay_steps`` down.

    Raises
    ------
    TypeError, ValueError
        If an argument is not of its type or not in its range.

    Examples
    --------
    >>> from nadam_numba import schedules
    >>> rate = schedules.inverse_time_decay(0.1, decay_steps=100, decay_rate=1.0)
    >>> rate(0), rate(100), rate(300)
    (0.1, 0.05, 0.025)
    """
    return _schedule(
        _inverse_time_decay,
        initial_learning_rate=nonnegative_finite("initial_learning_rate", initial_learning_rate),
        decay_steps=_positive("decay_steps", decay_steps),
        decay_rate=nonnegative_finite("decay_rate", decay_rate),
        staircase=true_or_false("staircase", staircase),
    )


def polynomial_decay(
    initial_learning_rate: float,
    decay_steps: float,
    end_learning_rate: float = 1e-4,
    power: float = 1.0,
    cycle: bool = False,
) -> Schedule:
    """Lower the learning rate along a power of the remaining steps, to `end_learning_rate` at `decay_steps`.

    Equal to Keras 3's PolynomialDecay. torch's PolynomialLR(total_iters, power) is ``decay_steps=total_iters,
    end_learning_rate=0``.

    Parameters
    ----------
    initial_learning_rate : float
        Rate at the first step, >= 0.
    decay_steps : float
        Number of steps, > 0.
    end_learning_rate : float, optional
        Rate at `decay_steps`, >= 0.
    power : float, optional
        Exponent, >= 0; 1 is a straight line.
    cycle : bool, optional
        Whether, at each multiple of `decay_steps`, the decay starts again on a line to the next multiple; else the
        rate is constant from `decay_steps` on.

    Returns
    -------
    callable
        ``step -> (initial_learning_rate - end_learning_rate) * (1 - step / decay_steps)**power + end_learning_rate``

    Raises
    ------
    TypeError, ValueError
        If an argument is not of its type or not in its range.

    Examples
    --------
    >>> from nadam_numba import schedules
    >>> rate = schedules.polynomial_decay(0.5, decay_steps=100, end_learning_rate=0.25)
    >>> rate(0), rate(50), rate(1000)
    (0.5, 0.375, 0.25)
    """
    return _schedule(
        _polynomial_decay,
        initial_learning_rate=nonnegative_finite("initial_learning_rate", initial_learning_rate),
        decay_steps=_positive("decay_steps", decay_steps),
        end_learning_rate=nonnegative_finite("end_learning_rate", end_learning_rate),
        power=nonnegative_finite("power", power),
        cycle=true_or_false("cycle", cycle),
    )


def piecewise_constant(boundaries: Sequence[float], values: Sequence[float]) -> Schedule:
    """Keep the learning rate constant between steps given.

    Equal to Keras 3's PiecewiseConstantDecay: a boundary is the last step of its piece. In torch's MultiStepLR a
    milestone is the first step of the next one, so its milestone m is the boundary m - 1 here.

    Parameters
    ----------
    boundaries : sequence of float, length n
        Steps, increasing.
    values : sequence of float, length n + 1
        The rates, >= 0: the first up to and including the step ``boundaries[0]``, the last after
        ``boundaries[-1]``.

    Returns
    -------
    callable
        The rate as a function of the step.

    Raises
    ------
    TypeError, ValueError
        If an element is not a number in its range, the boundaries do not increase, or the lengths do not fit.

    Examples
    --------
    >>> from nadam_numba import schedules
    >>> rate = schedules.piecewise_constant([100, 200], [0.1, 0.05, 0.01])
    >>> rate(0), rate(100), rate(101), rate(1000)
    (0.1, 0.1, 0.05, 0.01)
    """
    boundaries = _numbers("boundaries", boundaries, _finite)
    values = _numbers("values", values, nonnegative_finite)
    if any(right <= left for left, right in itertools.pairwise(boundaries)):
        raise ValueError(f"boundaries={boundaries!r}: they must increase")
    if len(values) != len(boundaries) + 1:
        raise ValueError(f"values={values!r}: there must be {len(boundaries) + 1}, one more than boundaries")
    return _schedule(_piecewise_constant, boundaries=boundaries, values=values)


def cosine_decay(
    initial_learning_rate: float,
    decay_steps: float,
    alpha: float = 0.0,
    warmup_target: float | None = None,
    warmup_steps: float = 0,
) -> Schedule:
    """Lower the learning rate along half a cosine over `decay_steps` steps; constant afterwards.

    Equal to Keras 3's CosineDecay. torch's CosineAnnealingLR(T_max, eta_min) is, up to T_max, ``decay_steps=T_max,
    alpha=eta_min / initial_learning_rate``.

    Parameters
    ----------
    initial_learning_rate : float
        Rate at the first step, >= 0.
    decay_steps : float
        Number of steps of the decay, > 0.
    alpha : float, optional
        Final rate as a fraction of the rate at the start of the decay, >= 0.
    warmup_target : float or None, optional
        If given, the rate goes on a straight line from `initial_learning_rate` to this, >= 0, before it decays.
    warmup_steps : float, optional
        Number of steps on that line, >= 0. Not used without `warmup_target`.

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

    P. Goyal et al., "Accurate, Large Minibatch SGD: Training ImageNet in 1 Hour", 2017 (warm-up).

    Examples
    --------
    >>> from nadam_numba import schedules
    >>> rate = schedules.cosine_decay(0.1, decay_steps=100)
    >>> rate(0), rate(50), rate(100)
    (0.1, 0.05, 0.0)
    >>> rate = schedules.cosine_decay(0.0, decay_steps=100, warmup_target=0.5, warmup_steps=10)
    >>> rate(0), rate(5), rate(10), rate(60), rate(110)
    (0.0, 0.25, 0.5, 0.25, 0.0)
    """
    initial_learning_rate = nonnegative_finite("initial_learning_rate", initial_learning_rate)
    decay_steps = _positive("decay_steps", decay_steps)
    alpha = nonnegative_finite("alpha", alpha)
    warmup_steps = nonnegative_finite("warmup_steps", warmup_steps)
    if warmup_target is None:
        numbers = initial_learning_rate, decay_steps, alpha, initial_learning_rate, 0.0
    else:
        warmup_target = nonnegative_finite("warmup_target", warmup_target)
        numbers = initial_learning_rate, decay_steps, alpha, warmup_target, warmup_steps
    return _schedule(
        _cosine_decay,
        numbers,
        initial_learning_rate=initial_learning_rate,
        decay_steps=decay_steps,
        alpha=alpha,
        warmup_target=warmup_target,
        warmup_steps=warmup_steps,
    )


def cosine_decay_restarts(
    initial_learning_rate: float,
    first_decay_steps: float,
    t_mul: float = 2.0,
    m_mul: float = 1.0,
    alpha: float = 0.0,
) -> Schedule:
    """Lower the learning rate along half a cosine again and again, each time over more steps.

    Equal to Keras 3's CosineDecayRestarts, save at a restart that Keras misses by rounding its logarithm. torch's
    CosineAnnealingWarmRestarts(T_0, T_mult, eta_min) is ``first_decay_steps=T_0, t_mul=T_mult,
    alpha=eta_min / initial_learning_rate``; mind that its T_mult is 1 by default.

    Parameters
    ----------
    initial_learning_rate : float
        Rate at the first step, >= 0.
    first_decay_steps : float
        Number of steps to the first restart, > 0.
    t_mul : float, optional
        Each decay takes this many times the steps of the one before, >= 1.
    m_mul : float, optional
        Each decay starts, apart from `alpha`, from this many times the rate of the one before, >= 0.
    alpha : float, optional
        Rate at the end of each decay as a fraction of the initial one, >= 0.

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
    >>> rate = schedules.cosine_decay_restarts(0.5, first_decay_steps=100)
    >>> rate(0), rate(50), rate(100), rate(200), rate(300)
    (0.5, 0.25, 0.5, 0.25, 0.5)
    """
    return _schedule(
        _cosine_decay_restarts,
        initial_learning_rate=nonnegative_finite("initial_learning_rate", initial_learning_rate),
        first_decay_steps=_positive("first_decay_steps", first_decay_steps),
        t_mul=real_number("t_mul", t_mul, "a finite number >= 1", lambda v: 1.0 <= v < math.inf),
        m_mul=nonnegative_finite("m_mul", m_mul),
        alpha=nonnegative_finite("alpha", alpha),
    )


def one_cycle(
    max_lr: float,
    total_steps: int,
    pct_start: float = 0.3,
    anneal_strategy: str = "cos",
    div_factor: float = 25.0,
    final_div_factor: float = 1e4,
    three_phase: bool = False,
) -> Schedule:
    """Raise the learning rate to `max_lr`, then lower it far below where it began.

    Equal to torch's OneCycleLR, which also changes the momentum unless told otherwise; this changes the rate alone.
    After the last step, where torch raises an error, the last rate is kept.

    Parameters
    ----------
    max_lr : float
        The largest rate, >= 0.
    total_steps : int
        Number of steps of the cycle, >= 1.
    pct_start : float, optional
        Fraction of the steps on which the rate rises, in [0, 1].
    anneal_strategy : "cos" or "linear", optional
        Whether the rate follows half cosines or straight lines.
    div_factor : float, optional
        The rate begins at ``max_lr / div_factor``; > 0.
    final_div_factor : float, optional
        The rate ends at ``max_lr / div_factor / final_div_factor``; > 0.
    three_phase : bool, optional
        Whether the rate falls to where it began as fast as it rose, and then on to the end; else it falls at once.

    Returns
    -------
    callable
        The rate as a function of the step.

    Raises
    ------
    TypeError, ValueError
        If an argument is not of its type or not in its range.

    References
    ----------
    L. N. Smith, N. Topin, "Super-Convergence: Very Fast Training of Neural Networks Using Large Learning Rates", 2018.

    Examples
    --------
    >>> from nadam_numba import schedules
    >>> rate = schedules.one_cycle(1.0, total_steps=20, pct_start=0.5, div_factor=4, final_div_factor=2)
    >>> rate(0), rate(9), rate(19), rate(30)
    (0.25, 1.0, 0.125, 0.125)
    """
    max_lr = nonnegative_finite("max_lr", max_lr)
    total_steps = _whole("total_steps", total_steps, 1)
    pct_start = fraction("pct_start", pct_start)
    anneal_strategy = one_of(("cos", "linear"), "anneal_strategy", anneal_strategy)
    div_factor = _positive("div_factor", div_factor)
    final_div_factor = _positive("final_div_factor", final_div_factor)
    three_phase = true_or_false("three_phase", three_phase)
    return _schedule(
        _one_cycle,
        # Comparing strings would take Numba a second and a half to compile.
        (max_lr, float(total_steps), pct_start, anneal_strategy == "cos", div_factor, final_div_factor, three_phase),
        max_lr=max_lr,
        total_steps=total_steps,
        pct_start=pct_start,
        anneal_strategy=anneal_strategy,
        div_factor=div_factor,
        final_div_factor=final_div_factor,
        three_phase=three_phase,
    )


def linear_warmup(
    learning_rate: float | Schedule, warmup_steps: int, start_factor: float = 1.0 / 3.0, end_factor: float = 1.0
) -> Schedule:
    """Raise the learning rate on a straight line to what it is to be, then follow `learning_rate`.

    Equal, for a constant `learning_rate`, to torch's LinearLR; for a schedule, to torch's SequentialLR of a LinearLR
    and that schedule, which counts its steps from the end of the warm-up, if `end_factor` is 1.

    Parameters
    ----------
    learning_rate : float or callable
        A finite number >= 0, or a schedule, other than `reduce_on_plateau`.
    warmup_steps : int
        Number of steps of the warm-up, >= 1.
    start_factor : float, optional
        The rate at the first step as a fraction of the first of `learning_rate`, in [0, 1].
    end_factor : float, optional
        The fraction from the step `warmup_steps` on, in [0, 1].

    Returns
    -------
    callable
        The rate as a function of the step.

    Raises
    ------
    TypeError, ValueError
        If an argument is not of its type or not in its range.

    Examples
    --------
    >>> from nadam_numba import schedules
    >>> decay = schedules.exponential_decay(0.5, decay_steps=100, decay_rate=0.5)
    >>> rate = schedules.linear_warmup(decay, warmup_steps=10, start_factor=0.0)
    >>> rate(0), rate(5), rate(10), rate(110)
    (0.0, 0.25, 0.5, 0.25)
    """
    if isinstance(learning_rate, reduce_on_plateau):
        raise TypeError(f"learning_rate={learning_rate!r}: it must be a number or a function of the step alone")
    if not callable(learning_rate):
        learning_rate = constant(learning_rate)
    if not accepts(learning_rate, 0):
        raise TypeError(f"learning_rate={learning_rate!r}: it must be a number or a function of the step")
    return _Warmup(
        learning_rate,
        _whole("warmup_steps", warmup_steps, 1),
        fraction("start_factor", start_factor),
        fraction("end_factor", end_factor),
    )


class PlateauState(NamedTuple):
    """All that changes in `reduce_on_plateau`: the rate, the best metric, and two counts."""

    learning_rate: float
    best: float
    bad_steps: int
    cooldown_left: int


class _PlateauRule(NamedTuple):
    """What stays: a metric m is better if ``sign * m + min_delta < sign * best * scale - threshold``."""

    sign: float
    scale: float
    threshold: float
    min_delta: float
    factor: float
    patience: int
    cooldown: int
    min_lr: float
    eps: float


# Named like the functions beside it: to who calls it, it is one more way to make a schedule.
@dataclasses.dataclass(frozen=True)
class reduce_on_plateau:
    """Multiply the learning rate by `factor` when a metric has stopped improving.

    Equal to torch's ReduceLROnPlateau, or, if `min_delta` is given, to the callback of that name in Keras 3, but for a
    first metric that is infinite or NaN, which Keras takes as the best. Unlike the other schedules it has a state. With
    `nadam_numba.NAdam`, report the metric by `update`, after each step or more seldom. `nadam_numba.minimize` reports
    the objective's value after each step, to a copy: what was passed stays as it was.

    Parameters
    ----------
    initial_learning_rate : float
        Rate until the first reduction, >= 0.
    mode : "min" or "max", optional
        Whether a lower or a higher metric is better.
    factor : float, optional
        In [0, 1).
    patience : int, optional
        The rate is reduced at the report number ``patience + 1`` in a row that is no improvement; in Keras's rule, at
        number `patience`. >= 0.
    threshold : float, optional
        An improvement is better than the best metric by more than this, >= 0.
    threshold_mode : "rel" or "abs", optional
        Whether the threshold is a fraction of the best metric, as is right for metrics that stay above 0, or is in
        units of the metric.
    cooldown : int, optional
        Number of reports after a reduction that are not counted; in Keras's rule one less. >= 0.
    min_lr : float, optional
        The rate is not reduced below this, >= 0.
    eps : float, optional
        The rate is not reduced by so little or less, >= 0.
    min_delta : float or None, optional
        If given, Keras's rule, with this as the threshold, in units of the metric, >= 0; `threshold`,
        `threshold_mode` and `eps` are then not used.

    Attributes
    ----------
    state : PlateauState
        The current learning rate, the best metric, the number of reports since, and of those left not to count.

    Raises
    ------
    TypeError, ValueError
        If an argument is not of its type or not in its range.

    Examples
    --------
    >>> from nadam_numba import schedules
    >>> rate = schedules.reduce_on_plateau(0.5, factor=0.5, patience=1)
    >>> for metric in (3.0, 2.0, 2.0):
    ...     rate.update(metric)
    >>> rate(3)
    0.5
    >>> rate.update(2.0)
    >>> rate(4)
    0.25
    """

    initial_learning_rate: float
    mode: str = "min"
    factor: float = 0.1
    patience: int = 10
    threshold: float = 1e-4
    threshold_mode: str = "rel"
    cooldown: int = 0
    min_lr: float = 0.0
    eps: float = 1e-8
    min_delta: float | None = dataclasses.field(default=None, kw_only=True)
    state: PlateauState = dataclasses.field(init=False, hash=False)

    def __post_init__(self):
        checked = {
            "initial_learning_rate": nonnegative_finite("initial_learning_rate", self.initial_learning_rate),
            "mode": one_of(("min", "max"), "mode", self.mode),
            "factor": real_number("factor", self.factor, "a number in [0, 1)", lambda v: 0.0 <= v < 1.0),
            "patience": _whole("patience", self.patience, 0),
            "threshold": nonnegative_finite("threshold", self.threshold),
            "threshold_mode": one_of(("rel", "abs"), "threshold_mode", self.threshold_mode),
            "cooldown": _whole("cooldown", self.cooldown, 0),
            "min_lr": nonnegative_finite("min_lr", self.min_lr),
            "eps": nonnegative_finite("eps", self.eps),
        }
        if self.min_delta is not None:
            checked["min_delta"] = nonnegative_finite("min_delta", self.min_delta)
        worst = math.inf if self.mode == "min" else -math.inf
        checked["state"] = PlateauState(checked["initial_learning_rate"], worst, 0, 0)
        for name, value in checked.items():
            object.__setattr__(self, name, value)

    def __call__(self, step: int) -> float:
        """The current learning rate, whatever the step."""
        return self.state.learning_rate

    def update(self, metric: float) -> None:
        """Report the metric, which may reduce the learning rate; one that is NaN is no improvement.

        Raises
        ------
        TypeError
            If it is not a real number.
        """
        metric = real_number("metric", metric, "a real number", lambda v: True)
        object.__setattr__(self, "state", _plateau_step(metric, self.state, self.rule))

    def state_dict(self) -> dict:
        """A copy of the state: a dict of numbers, the fields of `PlateauState`."""
        return self.state._asdict()

    def load_state_dict(self, state_dict: dict) -> None:
        """Take over a state made by `state_dict`; the arguments given at construction stay.

        Raises
        ------
        TypeError, ValueError
            If an entry is missing, unknown or out of range. The state is then unchanged.
        """
        if not isinstance(state_dict, dict):
            raise TypeError(f"state_dict={state_dict!r} is a {type(state_dict).__name__}: it must be a dict")
        if set(state_dict) != set(PlateauState._fields):
            raise ValueError(f"state_dict has the keys {list(state_dict)}: it must have {list(PlateauState._fields)}")
        best = real_number("state_dict['best']", state_dict["best"], "a number", lambda v: v == v)
        state = PlateauState(
            nonnegative_finite("state_dict['learning_rate']", state_dict["learning_rate"]),
            best,
            _whole("state_dict['bad_steps']", state_dict["bad_steps"], 0),
            _whole("state_dict['cooldown_left']", state_dict["cooldown_left"], 0),
        )
        object.__setattr__(self, "state", state)

    @property
    def rule(self) -> tuple:
        """The arguments as the recurrence takes them."""
        sign = 1.0 if self.mode == "min" else -1.0
        scale, threshold, min_delta, eps = 1.0, 0.0, 0.0, self.eps
        patience, cooldown = self.patience, self.cooldown
        if self.min_delta is not None:
            # Keras reduces at the report with which the count reaches `patience`, not beyond it, and already counts
            # the report that ends a cooldown.
            min_delta, eps = self.min_delta, 0.0
            patience, cooldown = max(patience - 1, 0), max(cooldown - 1, 0)
        elif self.threshold_mode == "rel":
            scale = 1.0 - sign * self.threshold
        else:
            threshold = self.threshold
        return _PlateauRule(sign, scale, threshold, min_delta, self.factor, patience, cooldown, self.min_lr, eps)


def rate_at(learning_rate: float | Schedule, step: int) -> float:
    """The learning rate after `step` steps, checked."""
    if not callable(learning_rate):
        return learning_rate
    rate = learning_rate(step)
    # What most schedules return needs no full check, which takes longer than a step.
    is_valid = type(rate) is float and 0.0 <= rate < math.inf
    return rate if is_valid else nonnegative_finite(f"learning_rate({step})", rate)


def rates(learning_rate: float | Schedule, steps: range) -> np.ndarray:
    """The learning rates after each number of steps in the range `steps`, checked: an array of float64.

    It ends before the first step whose rate is in error, unless that is the first of `steps`: a schedule that is
    asked ahead of time must not fail for a step that may never be made.
    """
    if not callable(learning_rate):
        return np.full(len(steps), learning_rate)
    compiled = _compiled_rates(learning_rate, steps) if len(steps) > 1 else ()
    if len(compiled):
        return compiled
    values = []
    for step in steps:
        try:
            values.append(rate_at(learning_rate, step))
        except Exception:
            if not values:
                raise
            break
    return np.array(values)


def as_data(schedule: Schedule) -> dict | None:
    """A schedule made here as plain data, for `from_data`; None for any other function, which is code."""
    if isinstance(schedule, reduce_on_plateau):
        arguments = {field.name: getattr(schedule, field.name) for field in dataclasses.fields(schedule) if field.init}
        return {"schedule": "reduce_on_plateau", "arguments": arguments, "state": schedule.state_dict()}
    if isinstance(schedule, _Schedule):
        arguments = {name: list(v) if isinstance(v, tuple) else v for name, v in schedule.arguments}
        return {"schedule": schedule.formula.__name__[1:], "arguments": arguments}
    if isinstance(schedule, _Warmup):
        arguments = {field.name: getattr(schedule, field.name) for field in dataclasses.fields(schedule)}
        inner = arguments.pop("schedule")
        arguments["learning_rate"] = as_data(inner)
        return None if arguments["learning_rate"] is None else {"schedule": "linear_warmup", "arguments": arguments}
    return None


def from_data(name: str, data: dict) -> Schedule:
    """The schedule that `as_data` made `data` of.

    Raises
    ------
    TypeError, ValueError
        If `data`, which messages call `name`, is nothing that `as_data` makes.
    """
    kind = data.get("schedule")
    if not isinstance(kind, str) or kind not in _MAKERS or not isinstance(data.get("arguments"), dict):
        raise ValueError(f"{name}={data!r}: it must have a schedule, one of {', '.join(_MAKERS)}, and arguments")
    arguments = dict(data["arguments"])
    if isinstance(arguments.get("learning_rate"), dict):
        arguments["learning_rate"] = from_data(f"{name}['arguments']['learning_rate']", arguments["learning_rate"])
    schedule = _MAKERS[kind](**arguments)
    if "state" in data:
        schedule.load_state_dict(data["state"])
    return schedule


def taken_over(saved: float | Schedule, present: float | Schedule) -> float | Schedule:
    """`saved`, or `present`, in the state of that, if both are a `reduce_on_plateau` with the same arguments.

    So the user's own object, which is told the metric, stays the one that is asked for the rate.
    """
    if not (isinstance(saved, reduce_on_plateau) and isinstance(present, reduce_on_plateau)):
        return saved
    if as_data(saved)["arguments"] != as_data(present)["arguments"]:
        return saved
    present.load_state_dict(saved.state_dict())
    return present


_MAKERS = {
    maker.__name__: maker
    for maker in (
        constant,
        exponential_decay,
        inverse_time_decay,
        polynomial_decay,
        piecewise_constant,
        cosine_decay,
        cosine_decay_restarts,
        one_cycle,
        linear_warmup,
        reduce_on_plateau,
    )
}


# The formulas: plain scalar maths without a decorator, run from Python as they stand, compiled for many steps. Steps
# are floats, because Numba makes repeated multiplication of an integer exponent, which rounds differently from pow.


def _constant(step, learning_rate):
    return learning_rate


def _exponential_decay(step, initial_learning_rate, decay_steps, decay_rate, staircase):
    exponent = step / decay_steps
    if staircase:
        exponent = exponent // 1.0
    return initial_learning_rate * decay_rate**exponent


def _inverse_time_decay(step, initial_learning_rate, decay_steps, decay_rate, staircase):
    periods = step / decay_steps
    if staircase:
        periods = periods // 1.0
    return initial_learning_rate / (1.0 + decay_rate * periods)


def _polynomial_decay(step, initial_learning_rate, decay_steps, end_learning_rate, power, cycle):
    if cycle:
        decay_steps = decay_steps * max(-(-step / decay_steps // 1.0), 1.0)
    fraction = min(step / decay_steps, 1.0)
    return (initial_learning_rate - end_learning_rate) * (1.0 - fraction) ** power + end_learning_rate


def _piecewise_constant(step, boundaries, values):
    piece = 0
    while piece < len(boundaries) and step > boundaries[piece]:
        piece += 1
    return values[piece]


def _cosine_decay(step, initial_learning_rate, decay_steps, alpha, warmup_target, warmup_steps):
    if step < warmup_steps:
        return (warmup_target - initial_learning_rate) * (step / warmup_steps) + initial_learning_rate
    cosine = 0.5 * (1.0 + math.cos(math.pi * min((step - warmup_steps) / decay_steps, 1.0)))
    return warmup_target * ((1.0 - alpha) * cosine + alpha)


def _cosine_decay_restarts(step, initial_learning_rate, first_decay_steps, t_mul, m_mul, alpha):
    fraction = step / first_decay_steps
    if t_mul == 1.0:
        restarts = fraction // 1.0
        fraction = fraction - restarts
    else:
        restarts = math.log(1.0 - fraction * (1.0 - t_mul)) / math.log(t_mul) // 1.0
        # At a restart the logarithm may be wrong by rounding.
        if fraction >= (1.0 - t_mul ** (restarts + 1.0)) / (1.0 - t_mul):
            restarts += 1.0
        fraction = (fraction - (1.0 - t_mul**restarts) / (1.0 - t_mul)) / t_mul**restarts
    cosine = 0.5 * m_mul**restarts * (1.0 + math.cos(math.pi * fraction))
    return initial_learning_rate * ((1.0 - alpha) * cosine + alpha)


def _one_cycle(step, max_lr, total_steps, pct_start, is_cosine, div_factor, final_div_factor, three_phase):
    initial_lr = max_lr / div_factor
    min_lr = initial_lr / final_div_factor
    last = total_steps - 1.0
    peak = pct_start * total_steps - 1.0
    valley = 2.0 * peak
    step = min(step, last)
    if step <= peak:
        first, end, first_lr, end_lr = 0.0, peak, initial_lr, max_lr
    elif not three_phase:
        first, end, first_lr, end_lr = peak, last, max_lr, min_lr
    elif step <= valley:
        first, end, first_lr, end_lr = peak, valley, max_lr, initial_lr
    else:
        first, end, first_lr, end_lr = valley, last, initial_lr, min_lr
    # The rise may end at the first step: then it has no length.
    fraction = (step - first) / (end - first) if end > first else 1.0
    if is_cosine:
        return end_lr + (first_lr - end_lr) / 2.0 * (math.cos(math.pi * fraction) + 1.0)
    return (end_lr - first_lr) * fraction + first_lr


def _linear_warmup(step, warmup_steps, start_factor, end_factor):
    """The factor, not the rate."""
    if step >= warmup_steps:
        return end_factor
    return start_factor + (end_factor - start_factor) * step / warmup_steps


def _plateau_step(metric, state, rule):
    """The state after the report of a metric."""
    learning_rate, best, bad_steps, cooldown_left = state
    if rule.sign * metric + rule.min_delta < rule.sign * best * rule.scale - rule.threshold:
        best, bad_steps = metric, 0
    else:
        bad_steps = bad_steps + 1
    if cooldown_left > 0:
        cooldown_left, bad_steps = cooldown_left - 1, 0
    if bad_steps > rule.patience:
        reduced = max(learning_rate * rule.factor, rule.min_lr)
        if learning_rate - reduced > rule.eps:
            learning_rate = reduced
        cooldown_left, bad_steps = rule.cooldown, 0
    return PlateauState(learning_rate, best, bad_steps, cooldown_left)


plateau_step = jit.kernel(_plateau_step)


@dataclasses.dataclass(frozen=True, repr=False)
class _Schedule:
    """A formula, the numbers it takes after the step, and the arguments they were made from."""

    formula: Callable
    numbers: tuple
    arguments: tuple

    def __call__(self, step: int) -> float:
        try:
            return self.formula(float(step), *self.numbers)
        except OverflowError:
            return math.inf

    def __repr__(self) -> str:
        arguments = ", ".join(f"{name}={value!r}" for name, value in self.arguments)
        return f"{self.formula.__name__[1:]}({arguments})"


@dataclasses.dataclass(frozen=True, repr=False)
class _Warmup:
    """A schedule after a warm-up."""

    schedule: Callable
    warmup_steps: int
    start_factor: float
    end_factor: float

    @property
    def numbers(self):
        return float(self.warmup_steps), self.start_factor, self.end_factor

    def __call__(self, step: int) -> float:
        return _linear_warmup(float(step), *self.numbers) * self.schedule(max(step - self.warmup_steps, 0))

    def __repr__(self) -> str:
        factors = f"start_factor={self.start_factor!r}, end_factor={self.end_factor!r}"
        return f"linear_warmup({self.schedule!r}, warmup_steps={self.warmup_steps!r}, {factors})"


def _schedule(formula, numbers=None, /, **arguments):
    return _Schedule(formula, tuple(arguments.values()) if numbers is None else numbers, tuple(arguments.items()))


# The compiled way. Each loop ends at a rate that is no finite number >= 0. That it may also keeps it from being
# vectorised, for which LLVM could take another library's cosine and pow, with other last digits.

_formula = None  # bound to one of them in each kernel


def _fill(rates, first, numbers):
    """Overwrite `rates` with those from the step `first` on, and return how many are good."""
    for i in range(rates.size):
        rate = _formula(float(first + i), *numbers)
        if not 0.0 <= rate < math.inf:
            return i
        rates[i] = rate
    return rates.size


@functools.cache
def _kernel(formula):
    """`_fill` for a formula, which is bound: a kernel that takes functions cannot be cached on disk."""
    return jit.kernel(_fill, _formula=jit.scalar(formula))


def _fill_by_calling(schedule, rates, first):
    """The same for a function of the user's."""
    for i in range(rates.size):
        rate = schedule(first + i)
        if not 0.0 <= rate < math.inf:
            return i
        rates[i] = rate
    return rates.size


_fill_by_calling = jit.driver(_fill_by_calling)


def _compiled_rates(schedule, steps):
    """The rates before the first in error, by compiled code; none where that cannot evaluate the schedule."""
    if isinstance(schedule, reduce_on_plateau):
        return np.full(len(steps), schedule(steps.start))
    if isinstance(schedule, _Warmup):
        return _compiled_warmup(schedule, steps)
    if isinstance(schedule, _Schedule):
        return _formula_rates(schedule.formula, schedule.numbers, steps)
    values = np.empty(len(steps))
    count = 0
    if jit.is_compiled(schedule):
        # Whatever the user's function raises, it raises again in Python, which finds out at which step.
        with contextlib.suppress(Exception):
            count = _fill_by_calling(schedule, values, steps.start)
            returned = [overload.signature.return_type for overload in schedule.overloads.values()]
            if any(isinstance(number, numba.types.Boolean) for number in returned):
                count = 0
    return values[:count]


def _compiled_warmup(warmup, steps):
    # While the warm-up lasts, the schedule is at its own first step.
    start, stop = steps.start - warmup.warmup_steps, steps.stop - warmup.warmup_steps
    held = min(max(-start, 0), len(steps))
    first = _compiled_rates(warmup.schedule, range(min(held, 1)))
    later = _compiled_rates(warmup.schedule, range(max(start, 0), max(stop, 0)))
    rates = np.concatenate([first.repeat(held), later])
    factors = _formula_rates(_linear_warmup, warmup.numbers, steps)
    # What is missing, Python finds.
    return factors * rates if len(rates) == len(steps) else rates[:0]


def _formula_rates(formula, numbers, steps):
    values = np.empty(len(steps))
    numbers = tuple(np.array(number) if isinstance(number, tuple) else number for number in numbers)
    try:
        count = _kernel(formula)(values, steps.start, numbers)
    except OverflowError:  # uncompiled, where compiled code has an infinite rate
        count = 0
    return values[:count]


def _positive(name, value):
    return real_number(name, value, "a finite number > 0", lambda v: 0.0 < v < math.inf)


def _finite(name, value):
    return real_number(name, value, "a finite number", math.isfinite)


def _whole(name, value, least):
    # Beyond 2**53, counting in float64 would stand still.
    return int(
        real_number(name, value, f"a whole number in [{least}, 2**53]", lambda v: least <= v <= 2**53 and v == v // 1.0)
    )


def _numbers(name, values, check):
    try:
        values = tuple(values)
    except TypeError:
        raise TypeError(f"{name}={values!r} is a {type(values).__name__}: it must be a sequence of numbers") from None
    return tuple(check(f"{name}[{index}]", value) for index, value in enumerate(values))
