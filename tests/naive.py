"""The obviously correct NumPy reference: torch.optim.NAdam's formulas, transcribed, on whole arrays.

Every scalar is computed in float64 and rounded once to the dtype of the arrays, as torch does.
"""

import numpy as np


def nadam_step(p, m, v, g, t, mu_product, lr=2e-3, b1=0.9, b2=0.999, eps=1e-8, psi=4e-3):
    """Step number t = 1, 2, ...: the new p, m, v and product of the momentum coefficients; nothing in place."""
    T = p.dtype.type
    mu = b1 * (1 - 0.5 * 0.96 ** (t * psi))
    mu_next = b1 * (1 - 0.5 * 0.96 ** ((t + 1) * psi))
    mu_product = mu_product * mu
    m = T(b1) * m + T(1 - b1) * g
    v = T(b2) * v + T(1 - b2) * g * g
    rate = T(lr) / (np.sqrt(v * T(1 / (1 - b2**t))) + T(eps))
    p = p - T((1 - mu) / (1 - mu_product)) * g * rate
    p = p - T(mu_next / (1 - mu_product * mu_next)) * m * rate
    return p, m, v, mu_product


def nadam_trajectory(p, gradients, **hyperparameters):
    """The points after each step, for given gradients: an array with one row per step."""
    m, v, mu_product = np.zeros_like(p), np.zeros_like(p), 1.0
    points = []
    for t, g in enumerate(gradients, start=1):
        p, m, v, mu_product = nadam_step(p, m, v, g, t, mu_product, **hyperparameters)
        points.append(p)
    return np.array(points)


def torch_trajectory(p, gradients, lr=2e-3, b1=0.9, b2=0.999, eps=1e-8, psi=4e-3):
    """torch.optim.NAdam in torch's own order of operations, which rounds differently: lerp_, addcmul_, two addcdiv_."""
    m, v, mu_product = np.zeros_like(p), np.zeros_like(p), 1.0
    points = []
    for t, g in enumerate(gradients, start=1):
        mu = b1 * (1 - 0.5 * 0.96 ** (t * psi))
        mu_next = b1 * (1 - 0.5 * 0.96 ** ((t + 1) * psi))
        mu_product = mu_product * mu
        m = m + (1 - b1) * (g - m)
        v = b2 * v + (1 - b2) * g * g
        denominator = np.sqrt(v / (1 - b2**t)) + eps
        p = p + -lr * (1 - mu) / (1 - mu_product) * g / denominator
        p = p + -lr * mu_next / (1 - mu_product * mu_next) * m / denominator
        points.append(p)
    return np.array(points)
