"""The NAdam recurrence, written once, as plain scalar maths without a decorator.

``cpu.py`` compiles these functions; left plain, they can be compiled for other targets too. With t = 1, 2, ... the
number of the update, g the gradient, b1 and b2 the decay rates and psi the momentum decay::

    mu_t = b1 (1 - 0.5 * 0.96**(t psi))        P_t = mu_1 mu_2 ... mu_t                 once per step, float64
    m = b1 m + (1 - b1) g                      v = b2 v + (1 - b2) g**2                 per element
    p = p - lr (1 - mu_t) / (1 - P_t) g / d - lr mu_{t+1} / (1 - P_t mu_{t+1}) m / d,   d = sqrt(v / (1 - b2**t)) + eps

The parameter is rounded twice per step, first after the gradient's term, then after the momentum's: the order of
torch.optim.NAdam, whose trajectories are met to the last digits only in that order.

References
----------
T. Dozat, "Incorporating Nesterov Momentum into Adam", ICLR workshop 2016; the schedule of mu and its constants 0.96
and 4e-3 are those of Keras and torch.optim.NAdam.
"""

from math import sqrt


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

    def momentum(t):
        return beta_1 * (1.0 - 0.5 * 0.96 ** (t * momentum_decay))

    # An integer exponent would be compiled to repeated multiplication, which rounds differently from pow.
    t = float(step)
    mu, mu_next = momentum(t), momentum(t + 1.0)
    mu_product = mu_product * mu
    gradient_weight = (1.0 - mu) / (1.0 - mu_product)
    momentum_weight = mu_next / (1.0 - mu_product * mu_next)
    second_moment_correction = 1.0 / (1.0 - beta_2**t)
    return mu_product, gradient_weight, momentum_weight, second_moment_correction


def update_element(
    parameter,
    first_moment,
    second_moment,
    gradient,
    learning_rate,
    beta_1,
    one_minus_beta_1,
    beta_2,
    one_minus_beta_2,
    epsilon,
    gradient_weight,
    momentum_weight,
    second_moment_correction,
):
    """One element's step: the new parameter, first moment and second moment.

    All arguments are scalars of one floating-point type, and no literal stands in the formulas: a Python constant
    would make a float32 kernel compute in float64. The only division is by the root of the second moment.
    """
    first_moment = beta_1 * first_moment + one_minus_beta_1 * gradient
    second_moment = beta_2 * second_moment + one_minus_beta_2 * gradient * gradient
    rate = learning_rate / (sqrt(second_moment * second_moment_correction) + epsilon)
    parameter = parameter - gradient_weight * gradient * rate - momentum_weight * first_moment * rate
    return parameter, first_moment, second_moment
