"""The 35 problems of Moré, Garbow and Hillstrom, in the order of the paper.

J. J. Moré, B. S. Garbow and K. E. Hillstrom, Testing Unconstrained Optimization Software, ACM Transactions on
Mathematical Software 7(1), 17-41, 1981. Every objective is the sum of the squares of the paper's residuals; indices
count from zero here and from one there. Where the paper leaves the dimension free, a function makes the problem for
any dimension: ``watson_problem(n=12)``.
"""

import math

import numpy as np
from numba import njit

from .problem import Problem

# fmt: off
BARD_Y = np.array([0.14, 0.18, 0.22, 0.25, 0.29, 0.32, 0.35, 0.39, 0.37, 0.58, 0.73, 0.96, 1.34, 2.10, 4.39])
GAUSSIAN_Y = np.array(
    [0.0009, 0.0044, 0.0175, 0.0540, 0.1295, 0.2420, 0.3521, 0.3989,
     0.3521, 0.2420, 0.1295, 0.0540, 0.0175, 0.0044, 0.0009]
)
MEYER_Y = np.array(
    [34780.0, 28610.0, 23650.0, 19630.0, 16370.0, 13720.0, 11540.0, 9744.0,
     8261.0, 7030.0, 6005.0, 5147.0, 4427.0, 3820.0, 3307.0, 2872.0]
)
KOWALIK_OSBORNE_U = np.array([4.0, 2.0, 1.0, 0.5, 0.25, 0.167, 0.125, 0.1, 0.0833, 0.0714, 0.0625])
KOWALIK_OSBORNE_Y = np.array([0.1957, 0.1947, 0.1735, 0.1600, 0.0844, 0.0627, 0.0456, 0.0342, 0.0323, 0.0235, 0.0246])
OSBORNE_1_Y = np.array(
    [0.844, 0.908, 0.932, 0.936, 0.925, 0.908, 0.881, 0.850, 0.818, 0.784, 0.751,
     0.718, 0.685, 0.658, 0.628, 0.603, 0.580, 0.558, 0.538, 0.522, 0.506, 0.490,
     0.478, 0.467, 0.457, 0.448, 0.438, 0.431, 0.424, 0.420, 0.414, 0.411, 0.406]
)
OSBORNE_2_Y = np.array(
    [1.366, 1.191, 1.112, 1.013, 0.991, 0.885, 0.831, 0.847, 0.786, 0.725, 0.746, 0.679, 0.608,
     0.655, 0.616, 0.606, 0.602, 0.626, 0.651, 0.724, 0.649, 0.649, 0.694, 0.644, 0.624, 0.661,
     0.612, 0.558, 0.533, 0.495, 0.500, 0.423, 0.395, 0.375, 0.372, 0.391, 0.396, 0.405, 0.428,
     0.429, 0.523, 0.562, 0.607, 0.653, 0.672, 0.708, 0.633, 0.668, 0.645, 0.632, 0.591, 0.559,
     0.597, 0.625, 0.739, 0.710, 0.729, 0.720, 0.636, 0.581, 0.428, 0.292, 0.162, 0.098, 0.054]
)
# fmt: on

# The published digits, continued by Newton iterations in extended precision.
WATSON_MINIMA = {6: 2.2876700535524362e-3, 9: 1.3997601380990174e-6, 12: 4.722381105892339e-10}
PENALTY_1_MINIMA = {4: 2.249977500899937e-5, 10: 7.0876514670903697e-5}
PENALTY_2_MINIMA = {4: 9.3762930073554466e-6, 10: 2.9366053745674595e-4}
# For n = 10 the paper gives a local minimum, 6.50395e-3.
CHEBYQUAD_MINIMA = dict.fromkeys((1, 2, 3, 4, 5, 6, 7, 9), 0.0) | {8: 3.51687372567793e-3, 10: 4.7727136963753498e-3}


@njit
def extended_rosenbrock(x):
    """Problems 1 and 21, Rosenbrock and extended Rosenbrock."""
    value, gradient = 0.0, np.empty_like(x)
    for i in range(0, x.size, 2):
        bend = 10.0 * (x[i + 1] - x[i] * x[i])
        slack = 1.0 - x[i]
        value += bend * bend + slack * slack
        gradient[i] = -40.0 * bend * x[i] - 2.0 * slack
        gradient[i + 1] = 20.0 * bend
    return value, gradient


@njit
def freudenstein_roth(x):
    """Problem 2, Freudenstein and Roth."""
    y = x[1]
    first = x[0] - 13.0 + ((5.0 - y) * y - 2.0) * y
    second = x[0] - 29.0 + ((y + 1.0) * y - 14.0) * y
    slope = first * ((10.0 - 3.0 * y) * y - 2.0) + second * ((3.0 * y + 2.0) * y - 14.0)
    return first * first + second * second, np.array([2.0 * (first + second), 2.0 * slope])


@njit
def powell_badly_scaled(x):
    """Problem 3, Powell badly scaled."""
    left, right = np.exp(-x[0]), np.exp(-x[1])
    first = 1e4 * x[0] * x[1] - 1.0
    second = left + right - 1.0001
    gradient = np.array([2e4 * first * x[1] - 2.0 * second * left, 2e4 * first * x[0] - 2.0 * second * right])
    return first * first + second * second, gradient


@njit
def brown_badly_scaled(x):
    """Problem 4, Brown badly scaled."""
    first, second, third = x[0] - 1e6, x[1] - 2e-6, x[0] * x[1] - 2.0
    gradient = np.array([2.0 * (first + third * x[1]), 2.0 * (second + third * x[0])])
    return first * first + second * second + third * third, gradient


@njit
def beale(x):
    """Problem 5, Beale."""
    y = x[1]
    first = 1.5 - x[0] * (1.0 - y)
    second = 2.25 - x[0] * (1.0 - y * y)
    third = 2.625 - x[0] * (1.0 - y * y * y)
    across = first * (1.0 - y) + second * (1.0 - y * y) + third * (1.0 - y * y * y)
    along = x[0] * (first + 2.0 * second * y + 3.0 * third * y * y)
    return first * first + second * second + third * third, np.array([-2.0 * across, 2.0 * along])


@njit
def jennrich_sampson(x, m):
    """Problem 6, Jennrich and Sampson."""
    value, gradient = 0.0, np.zeros_like(x)
    for i in range(1, m + 1):
        left, right = np.exp(i * x[0]), np.exp(i * x[1])
        residual = 2.0 + 2.0 * i - (left + right)
        value += residual * residual
        gradient[0] -= 2.0 * residual * i * left
        gradient[1] -= 2.0 * residual * i * right
    return value, gradient


@njit(error_model="numpy")
def helical_valley(x):
    """Problem 7, helical valley."""
    turn = np.arctan2(x[1], x[0]) / (2.0 * np.pi)
    if turn < -0.25:  # the paper cuts along the negative second axis, atan2 along the negative first
        turn += 1.0
    radius = np.hypot(x[0], x[1])
    climb = 10.0 * (x[2] - 10.0 * turn)
    wall = 10.0 * (radius - 1.0)
    across, along = x[0] / radius, x[1] / radius
    twist = 100.0 * climb / (np.pi * radius)
    gradient = np.array(
        [twist * along + 20.0 * wall * across, -twist * across + 20.0 * wall * along, 20.0 * climb + 2.0 * x[2]]
    )
    return climb * climb + wall * wall + x[2] * x[2], gradient


@njit(error_model="numpy")
def bard(x, y):
    """Problem 8, Bard."""
    value, gradient = 0.0, np.zeros_like(x)
    for i in range(y.size):
        u, v = i + 1.0, 15.0 - i
        w = min(u, v)
        inverse = 1.0 / (v * x[1] + w * x[2])
        residual = y[i] - (x[0] + u * inverse)
        slope = 2.0 * residual * u * inverse * inverse
        value += residual * residual
        gradient[0] -= 2.0 * residual
        gradient[1] += slope * v
        gradient[2] += slope * w
    return value, gradient


@njit
def gaussian(x, y):
    """Problem 9, Gaussian."""
    value, gradient = 0.0, np.zeros_like(x)
    for i in range(y.size):
        distance = 0.5 * (7.0 - i) - x[2]
        bell = np.exp(-0.5 * x[1] * distance * distance)
        residual = x[0] * bell - y[i]
        slope = residual * x[0] * bell * distance
        value += residual * residual
        gradient[0] += 2.0 * residual * bell
        gradient[1] -= slope * distance
        gradient[2] += 2.0 * slope * x[1]
    return value, gradient


@njit(error_model="numpy")
def meyer(x, y):
    """Problem 10, Meyer."""
    value, gradient = 0.0, np.zeros_like(x)
    for i in range(y.size):
        inverse = 1.0 / (50.0 + 5.0 * i + x[2])
        growth = np.exp(x[1] * inverse)
        residual = x[0] * growth - y[i]
        slope = 2.0 * residual * x[0] * growth * inverse
        value += residual * residual
        gradient[0] += 2.0 * residual * growth
        gradient[1] += slope
        gradient[2] -= slope * x[1] * inverse
    return value, gradient


@njit(error_model="numpy")
def gulf(x, t, y):
    """Problem 11, Gulf research and development."""
    value, gradient = 0.0, np.zeros_like(x)
    for i in range(t.size):
        gap = y[i] - x[1]
        distance = abs(gap)
        exponent = distance ** x[2] / x[0]
        decay = np.exp(-exponent)
        residual = decay - t[i]
        value += residual * residual
        if distance != 0.0 and decay != 0.0:  # otherwise the limit, zero, would come out as 0 / 0 or 0 * inf
            slope = 2.0 * residual * decay * exponent
            gradient[0] += slope / x[0]
            gradient[1] += slope * x[2] / gap
            gradient[2] -= slope * np.log(distance)
    return value, gradient


@njit
def box(x, t):
    """Problem 12, Box three-dimensional."""
    value, gradient = 0.0, np.zeros_like(x)
    for i in range(t.size):
        left, right = np.exp(-t[i] * x[0]), np.exp(-t[i] * x[1])
        weight = np.exp(-t[i]) - np.exp(-10.0 * t[i])
        residual = left - right - x[2] * weight
        value += residual * residual
        gradient[0] -= 2.0 * residual * t[i] * left
        gradient[1] += 2.0 * residual * t[i] * right
        gradient[2] -= 2.0 * residual * weight
    return value, gradient


@njit
def extended_powell_singular(x):
    """Problems 13 and 22, Powell singular and extended Powell singular."""
    value, gradient = 0.0, np.empty_like(x)
    for i in range(0, x.size, 4):
        first = x[i] + 10.0 * x[i + 1]
        second = x[i + 2] - x[i + 3]
        third = x[i + 1] - 2.0 * x[i + 2]
        fourth = x[i] - x[i + 3]
        value += first**2 + 5.0 * second**2 + third**4 + 10.0 * fourth**4
        gradient[i] = 2.0 * first + 40.0 * fourth**3
        gradient[i + 1] = 20.0 * first + 4.0 * third**3
        gradient[i + 2] = 10.0 * second - 8.0 * third**3
        gradient[i + 3] = -10.0 * second - 40.0 * fourth**3
    return value, gradient


@njit
def wood(x):
    """Problem 14, Wood."""
    first, second = x[1] - x[0] * x[0], 1.0 - x[0]
    third, fourth = x[3] - x[2] * x[2], 1.0 - x[2]
    fifth, sixth = x[1] + x[3] - 2.0, x[1] - x[3]
    value = 100.0 * first**2 + second**2 + 90.0 * third**2 + fourth**2 + 10.0 * fifth**2 + 0.1 * sixth**2
    gradient = np.array(
        [
            -400.0 * first * x[0] - 2.0 * second,
            200.0 * first + 20.0 * fifth + 0.2 * sixth,
            -360.0 * third * x[2] - 2.0 * fourth,
            180.0 * third + 20.0 * fifth - 0.2 * sixth,
        ]
    )
    return value, gradient


@njit(error_model="numpy")
def kowalik_osborne(x, u, y):
    """Problem 15, Kowalik and Osborne."""
    value, gradient = 0.0, np.zeros_like(x)
    for i in range(y.size):
        inverse = 1.0 / (u[i] * (u[i] + x[2]) + x[3])
        quotient = u[i] * (u[i] + x[1]) * inverse
        residual = y[i] - x[0] * quotient
        slope = 2.0 * residual * x[0] * inverse
        value += residual * residual
        gradient[0] -= 2.0 * residual * quotient
        gradient[1] -= slope * u[i]
        gradient[2] += slope * quotient * u[i]
        gradient[3] += slope * quotient
    return value, gradient


@njit
def brown_dennis(x, t):
    """Problem 16, Brown and Dennis."""
    value, gradient = 0.0, np.zeros_like(x)
    for i in range(t.size):
        sine = np.sin(t[i])
        left = x[0] + t[i] * x[1] - np.exp(t[i])
        right = x[2] + sine * x[3] - np.cos(t[i])
        residual = left * left + right * right
        value += residual * residual
        gradient[0] += 4.0 * residual * left
        gradient[1] += 4.0 * residual * left * t[i]
        gradient[2] += 4.0 * residual * right
        gradient[3] += 4.0 * residual * right * sine
    return value, gradient


@njit
def osborne_1(x, t, y):
    """Problem 17, Osborne 1."""
    value, gradient = 0.0, np.zeros_like(x)
    for i in range(y.size):
        left, right = np.exp(-t[i] * x[3]), np.exp(-t[i] * x[4])
        residual = y[i] - (x[0] + x[1] * left + x[2] * right)
        value += residual * residual
        gradient[0] -= 2.0 * residual
        gradient[1] -= 2.0 * residual * left
        gradient[2] -= 2.0 * residual * right
        gradient[3] += 2.0 * residual * x[1] * t[i] * left
        gradient[4] += 2.0 * residual * x[2] * t[i] * right
    return value, gradient


@njit
def biggs_exp6(x, t, y):
    """Problem 18, Biggs EXP6."""
    value, gradient = 0.0, np.zeros_like(x)
    for i in range(y.size):
        first, second, third = np.exp(-t[i] * x[0]), np.exp(-t[i] * x[1]), np.exp(-t[i] * x[4])
        residual = x[2] * first - x[3] * second + x[5] * third - y[i]
        value += residual * residual
        gradient[0] -= 2.0 * residual * x[2] * t[i] * first
        gradient[1] += 2.0 * residual * x[3] * t[i] * second
        gradient[2] += 2.0 * residual * first
        gradient[3] -= 2.0 * residual * second
        gradient[4] -= 2.0 * residual * x[5] * t[i] * third
        gradient[5] += 2.0 * residual * third
    return value, gradient


@njit
def osborne_2(x, t, y):
    """Problem 19, Osborne 2."""
    value, gradient, bells = 0.0, np.zeros_like(x), np.empty(4)
    for i in range(y.size):
        decay = np.exp(-t[i] * x[4])
        residual = y[i] - x[0] * decay
        for k in range(1, 4):
            bells[k] = np.exp(-x[k + 4] * (t[i] - x[k + 7]) ** 2)
            residual -= x[k] * bells[k]
        value += residual * residual
        gradient[0] -= 2.0 * residual * decay
        gradient[4] += 2.0 * residual * x[0] * t[i] * decay
        for k in range(1, 4):
            distance = t[i] - x[k + 7]
            slope = 2.0 * residual * x[k] * bells[k] * distance
            gradient[k] -= 2.0 * residual * bells[k]
            gradient[k + 4] += slope * distance
            gradient[k + 7] -= 2.0 * slope * x[k + 4]
    return value, gradient


@njit
def watson(x):
    """Problem 20, Watson."""
    bend = x[1] - x[0] * x[0] - 1.0
    value, gradient = x[0] * x[0] + bend * bend, np.zeros_like(x)
    gradient[0] = 2.0 * x[0] - 4.0 * bend * x[0]
    gradient[1] = 2.0 * bend
    for i in range(1, 30):
        t = i / 29.0
        polynomial, derivative = 0.0, 0.0
        for j in range(x.size - 1, -1, -1):
            derivative = derivative * t + polynomial
            polynomial = polynomial * t + x[j]
        residual = derivative - polynomial * polynomial - 1.0
        value += residual * residual
        power, power_before = 1.0, 0.0
        for j in range(x.size):
            gradient[j] += 2.0 * residual * (j * power_before - 2.0 * polynomial * power)
            power, power_before = power * t, power
    return value, gradient


@njit
def penalty_1(x):
    """Problem 23, penalty I."""
    sphere = -0.25
    for i in range(x.size):
        sphere += x[i] * x[i]
    value, gradient = sphere * sphere, np.empty_like(x)
    for i in range(x.size):
        value += 1e-5 * (x[i] - 1.0) ** 2
        gradient[i] = 2e-5 * (x[i] - 1.0) + 4.0 * sphere * x[i]
    return value, gradient


@njit
def penalty_2(x):
    """Problem 24, penalty II."""
    n = x.size
    first, last = x[0] - 0.2, -1.0
    for i in range(n):
        last += (n - i) * x[i] * x[i]
    value, gradient = first * first + last * last, np.empty_like(x)
    for i in range(n):
        gradient[i] = 4.0 * last * (n - i) * x[i]
    gradient[0] += 2.0 * first
    before, target_before = np.exp(0.1 * x[0]), np.exp(0.1)
    for i in range(1, n):
        growth, target = np.exp(0.1 * x[i]), np.exp(0.1 * (i + 1))
        pair = growth + before - (target + target_before)
        single = growth - np.exp(-0.1)
        value += 1e-5 * (pair * pair + single * single)
        gradient[i] += 2e-6 * (pair + single) * growth
        gradient[i - 1] += 2e-6 * pair * before
        before, target_before = growth, target
    return value, gradient


@njit
def variably_dimensioned(x):
    """Problem 25, variably dimensioned."""
    value, weighted = 0.0, 0.0
    for i in range(x.size):
        value += (x[i] - 1.0) ** 2
        weighted += (i + 1) * (x[i] - 1.0)
    square = weighted * weighted
    slope = 2.0 * weighted + 4.0 * square * weighted
    gradient = np.empty_like(x)
    for i in range(x.size):
        gradient[i] = 2.0 * (x[i] - 1.0) + slope * (i + 1)
    return value + square + square * square, gradient


@njit
def trigonometric(x):
    """Problem 26, trigonometric."""
    n = x.size
    common = float(n)
    for i in range(n):
        common -= np.cos(x[i])
    value, total, gradient = 0.0, 0.0, np.empty_like(x)
    for i in range(n):
        cosine, sine = np.cos(x[i]), np.sin(x[i])
        residual = common + (i + 1) * (1.0 - cosine) - sine
        value += residual * residual
        total += residual
        gradient[i] = 2.0 * residual * ((i + 1) * sine - cosine)
    for i in range(n):
        gradient[i] += 2.0 * total * np.sin(x[i])
    return value, gradient


@njit
def brown_almost_linear(x):
    """Problem 27, Brown almost-linear."""
    n = x.size
    total, product, gradient = -(n + 1.0), 1.0, np.empty_like(x)
    for i in range(n):
        total += x[i]
        gradient[i] = product
        product *= x[i]
    last, after = product - 1.0, 1.0
    for i in range(n - 1, -1, -1):
        gradient[i] *= 2.0 * last * after
        after *= x[i]
    value, residuals = last * last, 0.0
    for i in range(n - 1):
        residual = x[i] + total
        value += residual * residual
        residuals += residual
        gradient[i] += 2.0 * residual
    for i in range(n):
        gradient[i] += 2.0 * residuals
    return value, gradient


@njit
def _beside(x, i):
    """The variables before and after `x[i]`, 0 beyond the ends."""
    return x[i - 1] if i > 0 else 0.0, x[i + 1] if i < x.size - 1 else 0.0


@njit
def _add_beside(gradient, i, before, after):
    """Add to the components before and after `gradient[i]`, where there are any."""
    if i > 0:
        gradient[i - 1] += before
    if i < gradient.size - 1:
        gradient[i + 1] += after


@njit
def discrete_boundary_value(x):
    """Problem 28, discrete boundary value."""
    n = x.size
    h = 1.0 / (n + 1.0)
    value, gradient = 0.0, np.zeros_like(x)
    for i in range(n):
        before, after = _beside(x, i)
        cubed = x[i] + (i + 1) * h + 1.0
        residual = 2.0 * x[i] + 0.5 * h * h * cubed**3 - before - after
        value += residual * residual
        gradient[i] += 2.0 * residual * (2.0 + 1.5 * h * h * cubed * cubed)
        _add_beside(gradient, i, -2.0 * residual, -2.0 * residual)
    return value, gradient


@njit
def discrete_integral_equation(x):
    """Problem 29, discrete integral equation."""
    n = x.size
    h = 1.0 / (n + 1.0)
    below, above = 0.0, 0.0
    for i in range(n):
        t = (i + 1) * h
        above += (1.0 - t) * (x[i] + t + 1.0) ** 3
    value, residuals = 0.0, np.empty_like(x)
    weighted_below, weighted_above = 0.0, 0.0
    for i in range(n):
        t = (i + 1) * h
        cube = (x[i] + t + 1.0) ** 3
        below += t * cube
        above -= (1.0 - t) * cube
        residuals[i] = x[i] + 0.5 * h * ((1.0 - t) * below + t * above)
        value += residuals[i] * residuals[i]
        weighted_above += (1.0 - t) * residuals[i]
    gradient = np.empty_like(x)
    for i in range(n):
        t = (i + 1) * h
        weights = t * weighted_above + (1.0 - t) * weighted_below
        gradient[i] = 2.0 * residuals[i] + 3.0 * h * (x[i] + t + 1.0) ** 2 * weights
        weighted_below += t * residuals[i]
        weighted_above -= (1.0 - t) * residuals[i]
    return value, gradient


@njit
def broyden_tridiagonal(x):
    """Problem 30, Broyden tridiagonal."""
    value, gradient = 0.0, np.zeros_like(x)
    for i in range(x.size):
        before, after = _beside(x, i)
        residual = (3.0 - 2.0 * x[i]) * x[i] + 1.0 - before - 2.0 * after
        value += residual * residual
        gradient[i] += 2.0 * residual * (3.0 - 4.0 * x[i])
        _add_beside(gradient, i, -2.0 * residual, -4.0 * residual)
    return value, gradient


@njit
def broyden_banded(x):
    """Problem 31, Broyden banded."""
    n = x.size
    value, gradient = 0.0, np.zeros_like(x)
    for i in range(n):
        residual = x[i] * (2.0 + 5.0 * x[i] * x[i]) + 1.0
        first, end = max(0, i - 5), min(n, i + 2)
        for j in range(first, end):
            if j != i:
                residual -= x[j] * (1.0 + x[j])
        value += residual * residual
        for j in range(first, end):
            if j != i:
                gradient[j] -= 2.0 * residual * (1.0 + 2.0 * x[j])
        gradient[i] += 2.0 * residual * (2.0 + 15.0 * x[i] * x[i])
    return value, gradient


@njit
def linear_full_rank(x, m):
    """Problem 32, linear function of full rank."""
    n = x.size
    common = -2.0 / m * x.sum() - 1.0
    value, total, gradient = (m - n) * common * common, (m - n) * common, np.empty_like(x)
    for i in range(n):
        residual = x[i] + common
        value += residual * residual
        total += residual
        gradient[i] = 2.0 * residual
    for i in range(n):
        gradient[i] -= 4.0 / m * total
    return value, gradient


@njit
def linear_rank_1(x, m):
    """Problem 33, linear function of rank 1."""
    weighted = 0.0
    for j in range(x.size):
        weighted += (j + 1) * x[j]
    value, slope, gradient = 0.0, 0.0, np.empty_like(x)
    for i in range(1, m + 1):
        residual = i * weighted - 1.0
        value += residual * residual
        slope += 2.0 * residual * i
    for j in range(x.size):
        gradient[j] = slope * (j + 1)
    return value, gradient


@njit
def linear_rank_1_with_zeros(x, m):
    """Problem 34, linear function of rank 1 with zero columns and rows."""
    weighted = 0.0
    for j in range(1, x.size - 1):
        weighted += (j + 1) * x[j]
    value, slope, gradient = 2.0, 0.0, np.zeros_like(x)
    for i in range(1, m - 1):
        residual = i * weighted - 1.0
        value += residual * residual
        slope += 2.0 * residual * i
    for j in range(1, x.size - 1):
        gradient[j] = slope * (j + 1)
    return value, gradient


@njit
def chebyquad(x, m):
    """Problem 35, Chebyquad."""
    n = x.size
    residuals = np.zeros(m)
    for i in range(1, m, 2):  # even degrees, whose integral is not zero
        residuals[i] = 1.0 / ((i + 1.0) ** 2 - 1.0)
    for j in range(n):
        argument = 2.0 * x[j] - 1.0
        before, polynomial = 1.0, argument
        for i in range(m):
            residuals[i] += polynomial / n
            before, polynomial = polynomial, 2.0 * argument * polynomial - before
    gradient = np.zeros_like(x)
    for j in range(n):
        argument = 2.0 * x[j] - 1.0
        before, polynomial = 1.0, argument
        slope_before, slope = 0.0, 2.0
        for i in range(m):
            gradient[j] += 2.0 / n * residuals[i] * slope
            slope_before, slope = slope, 4.0 * polynomial + 2.0 * argument * slope - slope_before
            before, polynomial = polynomial, 2.0 * argument * polynomial - before
    return np.dot(residuals, residuals), gradient


def gulf_problem(m=99):
    """Problem 11 with `m` residuals, from 3 to 100."""
    t = np.arange(1, m + 1) / 100.0
    return Problem("Gulf", gulf, np.array([5.0, 2.5, 0.15]), (t, 25.0 + (-50.0 * np.log(t)) ** (2.0 / 3.0)), 0.0)


def box_problem(m=10):
    """Problem 12 with `m` residuals, at least 3."""
    # Zero at (1, 10, 1) and (10, 1, -1) and wherever the first two agree and the third is 0.
    return Problem("Box 3-D", box, np.array([0.0, 10.0, 20.0]), (np.arange(1, m + 1) / 10.0,), 0.0)


def biggs_exp6_problem(m=13):
    """Problem 18 with `m` residuals, at least 6."""
    # Zero at (1, 10, 1, 5, 4, 3), a local minimum of 5.65565e-3 for m = 13.
    t = np.arange(1, m + 1) / 10.0
    y = np.exp(-t) - 5.0 * np.exp(-10.0 * t) + 3.0 * np.exp(-4.0 * t)
    return Problem("Biggs EXP6", biggs_exp6, np.array([1.0, 2.0, 1.0, 1.0, 1.0, 1.0]), (t, y), 0.0)


def watson_problem(n=9):
    """Problem 20 in `n` dimensions, from 2 to 31."""
    return Problem("Watson", watson, np.zeros(n), (), WATSON_MINIMA.get(n, math.nan))


def extended_rosenbrock_problem(n=20):
    """Problem 21 in `n` dimensions, a multiple of 2."""
    return Problem("Extended Rosenbrock", extended_rosenbrock, np.tile([-1.2, 1.0], n // 2), (), 0.0)


def extended_powell_singular_problem(n=20):
    """Problem 22 in `n` dimensions, a multiple of 4."""
    x0 = np.tile([3.0, -1.0, 0.0, 1.0], n // 4)
    return Problem("Extended Powell singular", extended_powell_singular, x0, (), 0.0)


def penalty_1_problem(n=10):
    """Problem 23 in `n` dimensions."""
    return Problem("Penalty I", penalty_1, np.arange(1.0, n + 1), (), PENALTY_1_MINIMA.get(n, math.nan))


def penalty_2_problem(n=10):
    """Problem 24 in `n` dimensions."""
    return Problem("Penalty II", penalty_2, np.full(n, 0.5), (), PENALTY_2_MINIMA.get(n, math.nan))


def variably_dimensioned_problem(n=10):
    """Problem 25 in `n` dimensions."""
    return Problem("Variably dimensioned", variably_dimensioned, 1.0 - np.arange(1, n + 1) / n, (), 0.0)


def trigonometric_problem(n=10):
    """Problem 26 in `n` dimensions."""
    # A local minimum of 2.79506e-5 for n = 10 besides.
    return Problem("Trigonometric", trigonometric, np.full(n, 1.0 / n), (), 0.0)


def brown_almost_linear_problem(n=10):
    """Problem 27 in `n` dimensions."""
    # Zero at (a, ..., a, a**(1 - n)) for a with n * a**n - (n + 1) * a**(n - 1) = -1, such as 1; a local minimum
    # of 1 at (0, ..., 0, n + 1).
    return Problem("Brown almost-linear", brown_almost_linear, np.full(n, 0.5), (), 0.0)


def discrete_boundary_value_problem(n=20):
    """Problem 28 in `n` dimensions."""
    t = np.arange(1, n + 1) / (n + 1.0)
    return Problem("Discrete boundary value", discrete_boundary_value, t * (t - 1.0), (), 0.0)


def discrete_integral_equation_problem(n=20):
    """Problem 29 in `n` dimensions."""
    t = np.arange(1, n + 1) / (n + 1.0)
    return Problem("Discrete integral equation", discrete_integral_equation, t * (t - 1.0), (), 0.0)


def broyden_tridiagonal_problem(n=20):
    """Problem 30 in `n` dimensions."""
    return Problem("Broyden tridiagonal", broyden_tridiagonal, np.full(n, -1.0), (), 0.0)


def broyden_banded_problem(n=20):
    """Problem 31 in `n` dimensions."""
    return Problem("Broyden banded", broyden_banded, np.full(n, -1.0), (), 0.0)


def linear_full_rank_problem(n=10, m=20):
    """Problem 32 in `n` dimensions with `m` residuals, at least `n`."""
    return Problem("Linear full rank", linear_full_rank, np.ones(n), (m,), float(m - n))


def linear_rank_1_problem(n=10, m=20):
    """Problem 33 in `n` dimensions with `m` residuals, at least `n`."""
    return Problem("Linear rank 1", linear_rank_1, np.ones(n), (m,), m * (m - 1) / (2.0 * (2 * m + 1)))


def linear_rank_1_with_zeros_problem(n=10, m=20):
    """Problem 34 in `n` dimensions with `m` residuals, at least `n`."""
    minimum = (m * m + 3 * m - 6) / (2.0 * (2 * m - 3))
    return Problem("Linear rank 1 with zero columns and rows", linear_rank_1_with_zeros, np.ones(n), (m,), minimum)


def chebyquad_problem(n=8):
    """Problem 35 in `n` dimensions with as many residuals."""
    return Problem("Chebyquad", chebyquad, np.arange(1, n + 1) / (n + 1.0), (n,), CHEBYQUAD_MINIMA.get(n, math.nan))


def problems() -> list[Problem]:
    """List the 35 problems, in the order of the paper.

    Returns
    -------
    list of Problem
        New each time, so that a start may be written to.
    """
    osborne_2_x0 = np.array([1.3, 0.65, 0.65, 0.7, 0.6, 3.0, 5.0, 7.0, 2.0, 4.5, 5.5])
    return [
        Problem("Rosenbrock", extended_rosenbrock, np.array([-1.2, 1.0]), (), 0.0),
        # A local minimum of 48.9842... at (11.41..., -0.8968...) besides.
        Problem("Freudenstein and Roth", freudenstein_roth, np.array([0.5, -2.0]), (), 0.0),
        Problem("Powell badly scaled", powell_badly_scaled, np.array([0.0, 1.0]), (), 0.0),
        Problem("Brown badly scaled", brown_badly_scaled, np.array([1.0, 1.0]), (), 0.0),
        Problem("Beale", beale, np.array([1.0, 1.0]), (), 0.0),
        Problem("Jennrich and Sampson", jennrich_sampson, np.array([0.3, 0.4]), (10,), 124.36218235561485),
        Problem("Helical valley", helical_valley, np.array([-1.0, 0.0, 0.0]), (), 0.0),
        # 17.4286... besides, in the limit (0.8406..., -inf, -inf).
        Problem("Bard", bard, np.ones(3), (BARD_Y,), 8.2148773065789798e-3),
        Problem("Gaussian", gaussian, np.array([0.4, 1.0, 0.0]), (GAUSSIAN_Y,), 1.1279327696190112e-8),
        Problem("Meyer", meyer, np.array([0.02, 4000.0, 250.0]), (MEYER_Y,), 87.945855170851125),
        gulf_problem(),
        box_problem(),
        Problem("Powell singular", extended_powell_singular, np.array([3.0, -1.0, 0.0, 1.0]), (), 0.0),
        Problem("Wood", wood, np.array([-3.0, -1.0, -3.0, -1.0]), (), 0.0),
        # 1.02734e-3 besides, in the limit (inf, -14.07..., -inf, -inf).
        Problem(
            "Kowalik and Osborne",
            kowalik_osborne,
            np.array([0.25, 0.39, 0.415, 0.39]),
            (KOWALIK_OSBORNE_U, KOWALIK_OSBORNE_Y),
            3.0750560384923778e-4,
        ),
        Problem(
            "Brown and Dennis",
            brown_dennis,
            np.array([25.0, 5.0, -5.0, -1.0]),
            (np.arange(1, 21) / 5.0,),
            85822.201626356309,
        ),
        Problem(
            "Osborne 1",
            osborne_1,
            np.array([0.5, 1.5, -1.0, 0.01, 0.02]),
            (10.0 * np.arange(OSBORNE_1_Y.size), OSBORNE_1_Y),
            5.4648946974829119e-5,
        ),
        biggs_exp6_problem(),
        Problem(
            "Osborne 2",
            osborne_2,
            osborne_2_x0,
            (np.arange(OSBORNE_2_Y.size) / 10.0, OSBORNE_2_Y),
            4.0137736293547758e-2,
        ),
        watson_problem(),
        extended_rosenbrock_problem(),
        extended_powell_singular_problem(),
        penalty_1_problem(),
        penalty_2_problem(),
        variably_dimensioned_problem(),
        trigonometric_problem(),
        brown_almost_linear_problem(),
        discrete_boundary_value_problem(),
        discrete_integral_equation_problem(),
        broyden_tridiagonal_problem(),
        broyden_banded_problem(),
        linear_full_rank_problem(),
        linear_rank_1_problem(),
        linear_rank_1_with_zeros_problem(),
        chebyquad_problem(),
    ]
