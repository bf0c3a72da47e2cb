"""The NAdam recurrence, written once, as plain scalar maths without a decorator.

``cpu.py`` compiles these functions; left plain, they can be compiled for other targets too. With t = 1, 2, ... the
number of the update, g the gradient, b1 and b2 the decay rates and psi the momentum decay::

    mu_t = b1 (1 - 0.5 * 0.96**(t psi))        P_t = mu_1 mu_2 ... mu_t                 once per step, float64
    m = b1 m + (1 - b1) g                      v = b2 v + (1 - b2) g**2                 per element
    p = p - lr (1 - mu_t) / (1 - P_t) g / d - lr mu_{t+1} / (1 - P_t mu_{t+1}) m / d,   d = sqrt(v / (1 - b2**t)) + eps

Adam is the same with other weights: 0 for the gradient, 1 / (1 - b1**t) for the first moment. Everything else is a
switch on the element's update: a number that changes nothing, or an array that is None and costs nothing.

References
----------
T. Dozat, "Incorporating Nesterov Momentum into Adam", ICLR workshop 2016; the schedule of mu and its constants 0.96
and 4e-3 are those of Keras and torch.optim.NAdam. S. J. Reddi, S. Kale, S. Kumar, "On the Convergence of Adam and
Beyond", ICLR 2018 (amsgrad). I. Loshchilov, F. Hutter, "Decoupled Weight Decay Regularization", ICLR 2019.
"""

from math import inf, sqrt
from typing import NamedTuple

MOMENTUM_BASE = 0.96


class Scalars(NamedTuple):
    """All numbers that the update of one array takes; the defaults leave a feature out.

    Attributes
    ----------
    learning_rate, beta_1, beta_2, epsilon : float
        Hyperparameters.
    gradient_weight, momentum_weight, second_moment_correction : float
        From `step_coefficients` or `adam_coefficients`; the peers' own orders have other weights.
    gradient_bias, momentum_bias, second_moment_bias : float
        What the peers' own orders divide by.
    epsilon_root : float
        Added under the root of the second moment.
    coupled_decay : float
        Weight decay that is added to the gradient, times the parameter.
    decay : float
        Part of itself by which a parameter shrinks: learning rate times decoupled weight decay.
    subtracted_decay : float
        Decoupled weight decay where the product with the learning rate and the parameter is subtracted instead.
    gradient_scale, accumulated_share, gradient_limit, gradient_factor : float
        The gradient is multiplied by the scale; if there are earlier micro-steps, added to their sum and multiplied by
        the share; clipped to +- the limit; and multiplied by the factor.
    average_momentum : float
        Part of itself that the moving average of the parameter keeps.
    is_overwritten : bool
        Whether the parameter takes the value of its average.
    has_decayed : bool
        Whether the first moment has been multiplied by `beta_1` already, in a precision of its own.
    """

    learning_rate: float
    beta_1: float
    beta_2: float
    epsilon: float
    gradient_weight: float
    momentum_weight: float
    second_moment_correction: float
    gradient_bias: float = 1.0
    momentum_bias: float = 1.0
    second_moment_bias: float = 1.0
    epsilon_root: float = 0.0
    coupled_decay: float = 0.0
    decay: float = 0.0
    subtracted_decay: float = 0.0
    gradient_scale: float = 1.0
    accumulated_share: float = 1.0
    gradient_limit: float = inf
    gradient_factor: float = 1.0
    average_momentum: float = 0.0
    is_overwritten: bool = False
    has_decayed: bool = False


# The last scalars of an update without any feature, for compiled code, which does not know the defaults.
NEUTRAL = tuple(Scalars._field_defaults.values())
# Those after the weight decay.
AFTER_DECAY = NEUTRAL[list(Scalars._field_defaults).index("decay") + 1 :]


class ElementScalars(NamedTuple):
    """`Scalars` in the dtype of an array; ``1 - x`` was taken before rounding, and stands beside x.

    If the first moment has decayed already, `beta_1` is 1.
    """

    learning_rate: float
    beta_1: float
    one_minus_beta_1: float
    beta_2: float
    one_minus_beta_2: float
    epsilon: float
    gradient_weight: float
    momentum_weight: float
    second_moment_correction: float
    gradient_bias: float
    momentum_bias: float
    second_moment_bias: float
    epsilon_root: float
    coupled_decay: float
    one_minus_decay: float
    subtracted_decay: float
    gradient_scale: float
    accumulated_share: float
    gradient_limit: float
    gradient_factor: float
    average_momentum: float
    one_minus_average_momentum: float
    is_overwritten: bool


def element_scalars(scalars, cast):
    """The fields of `ElementScalars`, rounded by `cast`; as a plain tuple, which threads can take, unlike a named one.

    In float32, 1 - 0.999 taken after rounding would be off by 5e-5 of itself.
    """
    return (
        cast(scalars.learning_rate),
        cast(1.0 if scalars.has_decayed else scalars.beta_1),
        cast(1.0 - scalars.beta_1),
        cast(scalars.beta_2),
        cast(1.0 - scalars.beta_2),
        cast(scalars.epsilon),
        cast(scalars.gradient_weight),
        cast(scalars.momentum_weight),
        cast(scalars.second_moment_correction),
        cast(scalars.gradient_bias),
        cast(scalars.momentum_bias),
        cast(scalars.second_moment_bias),
        cast(scalars.epsilon_root),
        cast(scalars.coupled_decay),
        cast(1.0 - scalars.decay),
        cast(scalars.subtracted_decay),
        cast(scalars.gradient_scale),
        cast(scalars.accumulated_share),
        cast(scalars.gradient_limit),
        cast(scalars.gradient_factor),
        cast(scalars.average_momentum),
        cast(1.0 - scalars.average_momentum),
        scalars.is_overwritten,
    )


def momentum_coefficient(t, beta_1, momentum_decay, base):
    """mu_t, the weight of the momentum in step t (a float); it grows from about ``beta_1 / 2`` to `beta_1`."""
    return beta_1 * (1.0 - 0.5 * base ** (t * momentum_decay))


def nesterov_parts(mu, mu_next, mu_product):
    """Weight and bias of the gradient, and those of the first moment; the product includes `mu`."""
    return 1.0 - mu, 1.0 - mu_product, mu_next, 1.0 - mu_product * mu_next


def step_coefficients(step, mu_product, beta_1, beta_2, momentum_decay):
    """Everything about one step that is the same for all elements.

    Parameters
    ----------
    step : int
        Number of this update, counted from 1.
    mu_product : float
        Product of the momentum coefficients of all earlier steps; 1.0 before the first.
    beta_1, beta_2 : float
        Decay rates of the first and second moment, in [0, 1).
    momentum_decay : float
        psi, the speed at which the momentum coefficient grows to `beta_1`; ``inf`` makes it constant.

    Returns
    -------
    mu_product : float
        The product including this step.
    gradient_weight, momentum_weight : float
        Weights of the gradient and of the first moment in the direction of descent.
    second_moment_correction : float
        Factor that removes the bias of the second moment towards its initial value 0.
    """
    # An integer exponent would be compiled to repeated multiplication, which rounds differently from pow.
    t = float(step)
    mu = momentum_coefficient(t, beta_1, momentum_decay, MOMENTUM_BASE)
    mu_next = momentum_coefficient(t + 1.0, beta_1, momentum_decay, MOMENTUM_BASE)
    mu_product = mu_product * mu
    gradient_weight, gradient_bias, momentum_weight, momentum_bias = nesterov_parts(mu, mu_next, mu_product)
    gradient_weight, momentum_weight = gradient_weight / gradient_bias, momentum_weight / momentum_bias
    return mu_product, gradient_weight, momentum_weight, 1.0 / (1.0 - beta_2**t)


def adam_coefficients(step, beta_1, beta_2):
    """The last three results of `step_coefficients` for Adam, which does not look ahead."""
    t = float(step)
    return 0.0, 1.0 / (1.0 - beta_1**t), 1.0 / (1.0 - beta_2**t)


def clip_factor(norm, limit, allowed):
    """What brings a norm down to `limit`, which is `allowed` in the precision of the norm; NaN if that is NaN."""
    return limit / (norm if not norm < allowed else allowed)


def conditioned_gradient(gradient, accumulated, scalars):
    """One element of the gradient as the moments see it: scaled, averaged over micro-steps, clipped, scaled again."""
    gradient = scalars.gradient_scale * gradient
    if accumulated is not None:
        gradient = scalars.accumulated_share * (gradient + accumulated)
    return scalars.gradient_factor * clipped(gradient, scalars)


def clipped(gradient, scalars):
    """One element of a gradient within +- the limit."""
    # Comparisons with a NaN are false: it passes.
    gradient = scalars.gradient_limit if gradient > scalars.gradient_limit else gradient
    return -scalars.gradient_limit if gradient < -scalars.gradient_limit else gradient


def only_clips(scalars):
    """Whether `conditioned_gradient` is `clipped`, where there are no earlier micro-steps."""
    return scalars.gradient_scale == 1.0 and scalars.gradient_factor == 1.0


def moving_average(average, parameter, scalars):
    """The average of a parameter, one element, after the parameter has taken a new value."""
    # The first average is the parameter, even if that is infinite.
    if not scalars.average_momentum:
        return parameter
    return scalars.average_momentum * average + scalars.one_minus_average_momentum * parameter


def update_element(
    move, descend, parameter, first_moment, second_moment, largest_moment, average, gradient, square, scalars
):
    """One element's step.

    All numbers are scalars of one floating-point type, and no literal stands in the formulas: a Python constant
    would make a float32 kernel compute in float64.

    Parameters
    ----------
    move, descend : function
        How the moments and the parameter change: one of each below.
    parameter, first_moment, second_moment : float
    largest_moment : float or None
        Largest second moment so far, with amsgrad.
    average : float or None
        Moving average of the parameter.
    gradient : float
        As `conditioned_gradient` returns it.
    square : float or None
        What stands for the square of the gradient, where it is not that.
    scalars : ElementScalars

    Returns
    -------
    tuple
        The new parameter, first moment, second moment, largest second moment and average.
    """
    # An infinite parameter without decay must not make the gradient a NaN.
    if scalars.coupled_decay:
        gradient = gradient + scalars.coupled_decay * parameter
    first_moment, second_moment = move(first_moment, second_moment, gradient, square, scalars)
    moment = second_moment
    if largest_moment is not None:
        # A NaN is taken over, as it compares false.
        largest_moment = largest_moment if largest_moment >= second_moment else second_moment
        moment = largest_moment
    parameter = descend(parameter, first_moment, gradient, moment, scalars)
    if average is not None:
        average = moving_average(average, parameter, scalars)
        parameter = average if scalars.is_overwritten else parameter
    return parameter, first_moment, second_moment, largest_moment, average


# From here on, each peer's own order of operations: where it rounds shows after some hundred steps, and its
# trajectories are met to the last digits only by its own formulas, divisions and all. `move_...` are the moments,
# `descend_...` the parameter; `moment` is the second moment, or the largest one.


def move_native(first_moment, second_moment, gradient, square, scalars):
    """The moments as weighted means of what they were and the gradient or its square."""
    first_moment = scalars.beta_1 * first_moment + scalars.one_minus_beta_1 * gradient
    if square is None:
        return first_moment, scalars.beta_2 * second_moment + scalars.one_minus_beta_2 * gradient * gradient
    return first_moment, scalars.beta_2 * second_moment + scalars.one_minus_beta_2 * square


def descend_native(parameter, first_moment, gradient, moment, scalars):
    """With one division instead of three, by numbers that are quotients already; rounded like torch's otherwise."""
    root = sqrt(moment * scalars.second_moment_correction + scalars.epsilon_root)
    rate = scalars.learning_rate / (root + scalars.epsilon)
    parameter = scalars.one_minus_decay * parameter
    return parameter - scalars.gradient_weight * gradient * rate - scalars.momentum_weight * first_moment * rate


def move_torch(first_moment, second_moment, gradient, square, scalars):
    """torch.optim.NAdam: lerp_ and addcmul_."""
    first_moment = first_moment + scalars.one_minus_beta_1 * (gradient - first_moment)
    return first_moment, scalars.beta_2 * second_moment + scalars.one_minus_beta_2 * gradient * gradient


def descend_torch(parameter, first_moment, gradient, moment, scalars):
    """torch.optim.NAdam: two addcdiv_; the weights include the learning rate."""
    denominator = sqrt(moment / scalars.second_moment_bias) + scalars.epsilon
    parameter = scalars.one_minus_decay * parameter
    parameter = parameter - scalars.gradient_weight * gradient / denominator
    return parameter - scalars.momentum_weight * first_moment / denominator


def move_by_increments(first_moment, second_moment, gradient, square, scalars):
    """Keras 3, and the Adam of TensorFlow."""
    if square is None:
        square = gradient * gradient
    first_moment = first_moment + scalars.one_minus_beta_1 * (gradient - first_moment)
    return first_moment, second_moment + scalars.one_minus_beta_2 * (square - second_moment)


def descend_keras(parameter, first_moment, gradient, moment, scalars):
    """Keras 3, which multiplies by the decay's factor with its torch backend, and subtracts with the others."""
    parameter = scalars.one_minus_decay * parameter
    if scalars.subtracted_decay:
        parameter = parameter - parameter * scalars.subtracted_decay * scalars.learning_rate
    step = scalars.momentum_weight * first_moment / scalars.momentum_bias
    step = step + scalars.gradient_weight * gradient / scalars.gradient_bias
    return parameter - step * scalars.learning_rate / (sqrt(moment / scalars.second_moment_bias) + scalars.epsilon)


def move_tensorflow(first_moment, second_moment, gradient, square, scalars):
    """The Nadam of TensorFlow, Keras 3 with its torch backend, and optax."""
    if square is None:
        square = gradient * gradient
    first_moment = scalars.beta_1 * first_moment + scalars.one_minus_beta_1 * gradient
    return first_moment, scalars.beta_2 * second_moment + scalars.one_minus_beta_2 * square


def descend_tensorflow(parameter, first_moment, gradient, moment, scalars):
    """The Nadam of TensorFlow, legacy and 1.13."""
    step = scalars.gradient_weight * (gradient / scalars.gradient_bias)
    step = step + scalars.momentum_weight * (first_moment / scalars.momentum_bias)
    return parameter - scalars.learning_rate * step / (sqrt(moment / scalars.second_moment_bias) + scalars.epsilon)


def descend_tensorflow_adam(parameter, first_moment, gradient, moment, scalars):
    """The Adam of TensorFlow, whose epsilon stands outside the correction; the weight includes the learning rate."""
    return parameter - first_moment * scalars.momentum_weight / (sqrt(moment) + scalars.epsilon)


def descend_optax(parameter, first_moment, gradient, moment, scalars):
    """optax: the decay is part of the step, and the step is multiplied by the learning rate."""
    step = scalars.momentum_weight * (first_moment / scalars.momentum_bias)
    step = step + scalars.gradient_weight * (gradient / scalars.gradient_bias)
    step = step / (sqrt(moment / scalars.second_moment_bias + scalars.epsilon_root) + scalars.epsilon)
    if scalars.subtracted_decay:
        step = step + scalars.subtracted_decay * parameter
    return parameter - scalars.learning_rate * step
