"""Objectives with known minima: plain Python functions that compile as they stand, and give the same bits compiled.

A literal such as 2.0 would not do: beside a float32 it is a float32 to NumPy and a float64 to Numba.
"""

import functools
from typing import NamedTuple

import numpy as np


class Problem(NamedTuple):
    name: str
    fun: object
    gradient: object
    start: np.ndarray
    minimum: np.ndarray

    def pair(self, wrap=lambda f: f):
        """A function that returns value and gradient; compiled if `wrap` compiles."""
        return _pair(wrap(self.fun), wrap(self.gradient), wrap)


@functools.cache
def _pair(fun, gradient, wrap):
    return wrap(lambda x: (fun(x), gradient(x)))


def rosenbrock(x):
    T = x.dtype.type
    total = T(0)
    for i in range(x.size - 1):
        bend = x[i + 1] - x[i] * x[i]
        slack = T(1) - x[i]
        total += T(100) * bend * bend + slack * slack
    return total


def rosenbrock_gradient(x):
    T = x.dtype.type
    gradient = np.zeros(x.size, x.dtype)
    for i in range(x.size - 1):
        bend = x[i + 1] - x[i] * x[i]
        gradient[i] += T(-400) * bend * x[i] - T(2) * (T(1) - x[i])
        gradient[i + 1] += T(200) * bend
    return gradient


def beale(x):
    T = x.dtype.type
    a = T(1.5) - x[0] * (T(1) - x[1])
    b = T(2.25) - x[0] * (T(1) - x[1] * x[1])
    c = T(2.625) - x[0] * (T(1) - x[1] * x[1] * x[1])
    return a * a + b * b + c * c


def beale_gradient(x):
    T = x.dtype.type
    y = x[1]
    a = T(1.5) - x[0] * (T(1) - y)
    b = T(2.25) - x[0] * (T(1) - y * y)
    c = T(2.625) - x[0] * (T(1) - y * y * y)
    gradient = np.zeros(x.size, x.dtype)
    gradient[0] = T(-2) * (a * (T(1) - y) + b * (T(1) - y * y) + c * (T(1) - y * y * y))
    gradient[1] = T(2) * x[0] * (a + T(2) * b * y + T(3) * c * y * y)
    return gradient


def sphere(x):
    T = x.dtype.type
    total = T(0)
    for i in range(x.size):
        total += (x[i] - T(i)) * (x[i] - T(i))
    return total


def sphere_gradient(x):
    T = x.dtype.type
    gradient = np.zeros(x.size, x.dtype)
    for i in range(x.size):
        gradient[i] = T(2) * (x[i] - T(i))
    return gradient


PROBLEMS = [
    Problem("rosenbrock_2", rosenbrock, rosenbrock_gradient, np.array([-1.2, 1.0]), np.ones(2)),
    Problem("rosenbrock_20", rosenbrock, rosenbrock_gradient, np.tile([-1.2, 1.0], 10), np.ones(20)),
    Problem("beale", beale, beale_gradient, np.array([1.0, 1.0]), np.array([3.0, 0.5])),
    Problem("sphere_7", sphere, sphere_gradient, np.zeros(7), np.arange(7.0)),
]
