"""The objectives of the test problems as a user without a compiler writes them, as fast as NumPy makes them.

Where there are many residuals they are whole-array expressions, elsewhere the scalar Python that is compiled.
"""

import numpy as np

from . import more_garbow_hillstrom as mgh
from . import nist_strd


def uncompiled(objective):
    """The function that does in Python and NumPy what the compiled `objective` does."""
    if objective in nist_strd.MODELS:
        return _regression(nist_strd.MODELS[objective])
    return _WHOLE_ARRAYS.get(objective, getattr(objective, "py_func", objective))


def _regression(model):
    def objective(b, x, y):
        prediction, derivatives = model(b, x.T)
        residuals = y - prediction
        gradient = np.array([(residuals * derivative).sum() for derivative in derivatives])
        return residuals @ residuals, -2.0 * gradient

    return objective


def bard(x, y):
    u = np.arange(1.0, y.size + 1)
    v = 16.0 - u
    w = np.minimum(u, v)
    inverse = 1.0 / (v * x[1] + w * x[2])
    residuals = y - (x[0] + u * inverse)
    slope = 2.0 * residuals * u * inverse * inverse
    return residuals @ residuals, np.array([-2.0 * residuals.sum(), slope @ v, slope @ w])


def gaussian(x, y):
    distance = 3.5 - 0.5 * np.arange(y.size) - x[2]
    bell = np.exp(-0.5 * x[1] * distance * distance)
    residuals = x[0] * bell - y
    slope = residuals * bell * distance * x[0]
    gradient = np.array([2.0 * (residuals @ bell), -(slope @ distance), 2.0 * x[1] * slope.sum()])
    return residuals @ residuals, gradient


def meyer(x, y):
    inverse = 1.0 / (50.0 + 5.0 * np.arange(y.size) + x[2])
    growth = np.exp(x[1] * inverse)
    residuals = x[0] * growth - y
    slope = 2.0 * x[0] * residuals * growth * inverse
    return residuals @ residuals, np.array([2.0 * (residuals @ growth), slope.sum(), -x[1] * (slope @ inverse)])


def gulf(x, t, y):
    gap = y - x[1]
    distance = np.abs(gap)
    exponent = distance ** x[2] / x[0]
    decay = np.exp(-exponent)
    residuals = decay - t
    is_regular = (distance != 0.0) & (decay != 0.0)
    slope = np.where(is_regular, 2.0 * residuals * decay * exponent, 0.0)
    gap = np.where(is_regular, gap, 1.0)
    gradient = np.array([slope.sum() / x[0], (slope / gap).sum() * x[2], -(slope @ np.log(np.abs(gap)))])
    return residuals @ residuals, gradient


def box(x, t):
    left, right = np.exp(-t * x[0]), np.exp(-t * x[1])
    weight = np.exp(-t) - np.exp(-10.0 * t)
    residuals = left - right - x[2] * weight
    moment = residuals * t
    return residuals @ residuals, 2.0 * np.array([-(moment @ left), moment @ right, -(residuals @ weight)])


def kowalik_osborne(x, u, y):
    inverse = 1.0 / (u * (u + x[2]) + x[3])
    quotient = u * (u + x[1]) * inverse
    residuals = y - x[0] * quotient
    slope = x[0] * residuals * inverse
    bent = slope * quotient
    return residuals @ residuals, 2.0 * np.array([-(residuals @ quotient), -(slope @ u), bent @ u, bent.sum()])


def brown_dennis(x, t):
    sine = np.sin(t)
    left = x[0] + t * x[1] - np.exp(t)
    right = x[2] + sine * x[3] - np.cos(t)
    residuals = left * left + right * right
    left *= residuals
    right *= residuals
    return residuals @ residuals, 4.0 * np.array([left.sum(), left @ t, right.sum(), right @ sine])


def osborne_1(x, t, y):
    left, right = np.exp(-t * x[3]), np.exp(-t * x[4])
    residuals = y - (x[0] + x[1] * left + x[2] * right)
    moment = residuals * t
    gradient = np.array(
        [
            -residuals.sum(),
            -(residuals @ left),
            -(residuals @ right),
            x[1] * (moment @ left),
            x[2] * (moment @ right),
        ]
    )
    return residuals @ residuals, 2.0 * gradient


def biggs_exp6(x, t, y):
    first, second, third = np.exp(-t * x[0]), np.exp(-t * x[1]), np.exp(-t * x[4])
    residuals = x[2] * first - x[3] * second + x[5] * third - y
    moment = residuals * t
    gradient = np.array(
        [
            -x[2] * (moment @ first),
            x[3] * (moment @ second),
            residuals @ first,
            -(residuals @ second),
            -x[5] * (moment @ third),
            residuals @ third,
        ]
    )
    return residuals @ residuals, 2.0 * gradient


def osborne_2(x, t, y):
    decay = np.exp(-t * x[4])
    distances = t - x[8:11, None]
    bells = np.exp(-x[5:8, None] * distances**2)
    residuals = y - x[0] * decay - x[1:4] @ bells
    gradient = np.empty(11)
    gradient[0] = -2.0 * (residuals @ decay)
    gradient[4] = 2.0 * x[0] * ((residuals * t) @ decay)
    gradient[1:4] = -2.0 * (bells @ residuals)
    slopes = 2.0 * x[1:4, None] * residuals * bells * distances
    gradient[5:8] = (slopes * distances).sum(axis=1)
    gradient[8:11] = -2.0 * slopes.sum(axis=1) * x[5:8]
    return residuals @ residuals, gradient


_POWERS = {}  # of the abscissas of Watson's problem, by the dimension


def watson(x):
    if x.size not in _POWERS:
        powers = (np.arange(1.0, 30.0) / 29.0)[:, None] ** np.arange(x.size)
        _POWERS[x.size] = powers, np.column_stack([np.zeros(29), powers[:, :-1] * np.arange(1.0, x.size)])
    powers, derivatives = _POWERS[x.size]
    polynomial = powers @ x
    residuals = derivatives @ x - polynomial * polynomial - 1.0
    bend = x[1] - x[0] * x[0] - 1.0
    gradient = 2.0 * (residuals @ derivatives) - 4.0 * ((residuals * polynomial) @ powers)
    gradient[0] += 2.0 * x[0] - 4.0 * bend * x[0]
    gradient[1] += 2.0 * bend
    return residuals @ residuals + x[0] * x[0] + bend * bend, gradient


def discrete_boundary_value(x):
    h = 1.0 / (x.size + 1.0)
    shifted = x + np.arange(1, x.size + 1) * h + 1.0
    residuals = 2.0 * x + 0.5 * h * h * shifted**3
    residuals[1:] -= x[:-1]
    residuals[:-1] -= x[1:]
    gradient = 2.0 * residuals * (2.0 + 1.5 * h * h * shifted * shifted)
    gradient[:-1] -= 2.0 * residuals[1:]
    gradient[1:] -= 2.0 * residuals[:-1]
    return residuals @ residuals, gradient


def discrete_integral_equation(x):
    h = 1.0 / (x.size + 1.0)
    t = np.arange(1, x.size + 1) * h
    shifted = x + t + 1.0
    cubes = shifted**3
    below = np.cumsum(t * cubes)
    weighted = (1.0 - t) * cubes
    above = weighted.sum() - np.cumsum(weighted)
    residuals = x + 0.5 * h * ((1.0 - t) * below + t * above)
    from_here = np.cumsum(((1.0 - t) * residuals)[::-1])[::-1]
    before = np.cumsum(t * residuals) - t * residuals
    gradient = 2.0 * residuals + 3.0 * h * shifted**2 * (t * from_here + (1.0 - t) * before)
    return residuals @ residuals, gradient


def broyden_tridiagonal(x):
    residuals = (3.0 - 2.0 * x) * x + 1.0
    residuals[1:] -= x[:-1]
    residuals[:-1] -= 2.0 * x[1:]
    gradient = 2.0 * residuals * (3.0 - 4.0 * x)
    gradient[:-1] -= 2.0 * residuals[1:]
    gradient[1:] -= 4.0 * residuals[:-1]
    return residuals @ residuals, gradient


_BANDS = {}  # who appears in whose residual in Broyden's banded problem, by the dimension


def broyden_banded(x):
    if x.size not in _BANDS:
        offsets = np.arange(x.size) - np.arange(x.size)[:, None]
        _BANDS[x.size] = ((offsets >= -5) & (offsets <= 1) & (offsets != 0)).astype(float)
    band = _BANDS[x.size]
    squares = x * x
    residuals = x * (2.0 + 5.0 * squares) + 1.0 - band @ (x + squares)
    gradient = 2.0 * residuals * (2.0 + 15.0 * squares) - 2.0 * (residuals @ band) * (1.0 + 2.0 * x)
    return residuals @ residuals, gradient


def chebyquad(x, m):
    argument = 2.0 * x - 1.0
    polynomials, slopes = np.empty((m + 1, x.size)), np.empty((m + 1, x.size))
    polynomials[0], polynomials[1] = 1.0, argument
    slopes[0], slopes[1] = 0.0, 2.0
    doubled = 2.0 * argument
    for i in range(2, m + 1):
        polynomials[i] = doubled * polynomials[i - 1] - polynomials[i - 2]
        slopes[i] = 4.0 * polynomials[i - 1] + doubled * slopes[i - 1] - slopes[i - 2]
    residuals = polynomials[1:].sum(axis=1) / x.size
    even = np.arange(2, m + 1, 2)
    residuals[even - 1] += 1.0 / (even * even - 1.0)
    return residuals @ residuals, 2.0 / x.size * (residuals @ slopes[1:])


_WHOLE_ARRAYS = {
    getattr(mgh, function.__name__): function
    for function in (
        bard,
        gaussian,
        meyer,
        gulf,
        box,
        kowalik_osborne,
        brown_dennis,
        osborne_1,
        biggs_exp6,
        osborne_2,
        watson,
        discrete_boundary_value,
        discrete_integral_equation,
        broyden_tridiagonal,
        broyden_banded,
        chebyquad,
    )
}
