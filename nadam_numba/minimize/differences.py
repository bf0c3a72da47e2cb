"""Gradients by finite differences: SciPy's steps and formulas, inside bounds, one source for Python and compiled code.

A gradient is made in three parts: where to evaluate (a kernel), the values there (the only part that calls the user's
function: one by one, in threads, or by the user's own `map`), and the quotients (a kernel). So the bits do not
depend on who evaluates.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import numba
import numpy as np
from numba.extending import overload, register_jitable

from nadam_numba import jit
from nadam_numba.minimize.lent import copy_in
from nadam_numba.minimize.returned import imaginary_part, real_number, resolution
from nadam_numba.minimize.workers import apply


class Differences(NamedTuple):
    """What a difference gradient needs besides the objective and the point; the points are evaluated one by one.

    `free` are the positions of the variables that are not fixed by their bounds. `relative_step` is NaN where the
    default holds.
    """

    lower: np.ndarray
    upper: np.ndarray
    relative_step: np.ndarray
    free: np.ndarray


class DifferencesInThreads(NamedTuple):
    """The same, for compiled code that evaluates the points in so many threads."""

    lower: np.ndarray
    upper: np.ndarray
    relative_step: np.ndarray
    free: np.ndarray
    threads: int


class DifferencesByMap(NamedTuple):
    """The same, for Python; the points are evaluated by a function like `map`."""

    lower: np.ndarray
    upper: np.ndarray
    relative_step: np.ndarray
    free: np.ndarray
    map: Callable


def make_differences(x, lower, upper, relative_step):
    """The data of difference gradients at points of the size and dtype of `x`.

    Parameters
    ----------
    x : ndarray, shape (n,)
    lower, upper : array_like, shape (n,), or None
        Bounds, infinite where there are none; they are rounded to the dtype of `x`.
    relative_step : array_like, shape () or (n,), or None
        Steps relative to ``|x|``; by default a power of the spacing of numbers at 1, relative to ``max(1, |x|)``.

    Raises
    ------
    TypeError, ValueError
        If `relative_step` is not made of finite numbers, one or n of them.
    """
    lower = np.full(x.size, -np.inf) if lower is None else np.asarray(lower, x.dtype).astype(np.float64)
    upper = np.full(x.size, np.inf) if upper is None else np.asarray(upper, x.dtype).astype(np.float64)
    free = np.flatnonzero(lower != upper).astype(np.int64)
    return Differences(lower, upper, _relative_steps(relative_step, x.size), free)


def _relative_steps(relative_step, size):
    if relative_step is None:
        return np.full(size, np.nan)
    steps = np.asarray(relative_step)
    if steps.dtype.kind not in "biuf":
        raise TypeError(f"finite_diff_rel_step={relative_step!r}: it must be a real number or an array of them")
    if steps.shape not in ((), (1,), (size,)) or not np.isfinite(steps).all():
        raise ValueError(f"finite_diff_rel_step={relative_step!r}: it must be finite, one number or of shape ({size},)")
    return np.array(np.broadcast_to(steps, size), dtype=np.float64)


# Where to evaluate. The factor 1.0 makes float64 of float32 in compiled code too.


def _absolute_step(x, i, relative_step, default):
    """The step of variable i, away from 0; the default where the user's is none, or vanishes beside x."""
    start = 1.0 * float(x[i])
    sign = 1.0 if start >= 0.0 else -1.0
    step = relative_step[i] * sign * abs(start)
    if relative_step[i] == relative_step[i] and x.dtype.type(start + step) != x[i]:
        return step
    return default * sign * max(1.0, abs(start))


_absolute_step = jit.scalar(_absolute_step)


def _inside(point, lower, upper):
    """`point` without what rounding may have carried it beyond a bound."""
    return min(max(point, lower), upper)


_inside = jit.scalar(_inside)


def _forward_points(points, x, lower, upper, relative_step, free, default):
    """Set the coordinates of 2-point differences, shape (1, n): on the other side or nearer beside a bound."""
    for i in free:
        start = 1.0 * float(x[i])
        below, above = start - lower[i], upper[i] - start
        step = _absolute_step(x, i, relative_step, default)
        if abs(step) > max(below, above):
            step = above if above >= below else -below
        elif start + step < lower[i] or start + step > upper[i]:
            step = -step
        points[0, i] = _inside(start + step, lower[i], upper[i])


def _central_points(points, is_one_sided, x, lower, upper, relative_step, free, default):
    """Set the coordinates of the points of 3-point differences, shape (2, n), and whether both lie on one side of x."""
    for i in free:
        start = 1.0 * float(x[i])
        below, above = start - lower[i], upper[i] - start
        step = abs(_absolute_step(x, i, relative_step, default))
        nearest = min(below, above)
        is_one_sided[i] = False
        if step > nearest:
            step = min(step, 0.5 * above) if above >= below else -min(step, 0.5 * below)
            is_one_sided[i] = abs(step) > nearest
            step = step if is_one_sided[i] else nearest
        points[0, i] = _inside(start + step if is_one_sided[i] else start - step, lower[i], upper[i])
        points[1, i] = _inside(start + 2.0 * step if is_one_sided[i] else start + step, lower[i], upper[i])


def _imaginary_steps(steps, x, relative_step, free, default):
    """Set the imaginary parts of the points of complex-step derivatives, shape (1, n)."""
    for i in free:
        steps[0, i] = _absolute_step(x, i, relative_step, default)


# The quotients. The steps are the differences of the points as they are, not as they were meant before rounding.


def _forward_quotients(gradient, x, points, values, value, free):
    gradient[:] = 0.0
    for i in free:
        step = 1.0 * float(points[0, i]) - 1.0 * float(x[i])
        gradient[i] = (float(values[0, i]) - value) / step


def _central_quotients(gradient, x, points, values, value, is_one_sided, free):
    gradient[:] = 0.0
    for i in free:
        first, second = float(values[0, i]), float(values[1, i])
        if is_one_sided[i]:
            step = 1.0 * float(points[1, i]) - 1.0 * float(x[i])
            # Between bounds that no number lies between, the nearer point is one of the others.
            is_between = points[0, i] != x[i] and points[0, i] != points[1, i]
            gradient[i] = (-3.0 * value + 4.0 * first - second if is_between else second - value) / step
        else:
            step = 1.0 * float(points[1, i]) - 1.0 * float(points[0, i])
            gradient[i] = (second - first) / step


def _imaginary_quotients(gradient, steps, values, free):
    gradient[:] = 0.0
    for i in free:
        gradient[i] = float(values[0, i]) / float(steps[0, i])


forward_points = jit.kernel(_forward_points)
central_points = jit.kernel(_central_points)
imaginary_steps = jit.kernel(_imaginary_steps)
forward_quotients = jit.kernel(_forward_quotients)
central_quotients = jit.kernel(_central_quotients)
imaginary_quotients = jit.kernel(_imaginary_quotients)


# The three kinds of gradients, as ways to evaluate an objective.


def evaluate_two_point(fun, jac, args, x, gradient, limit, room):
    """The gradient by forward differences: n further calls of ``fun``."""
    returned = fun(copy_in(room[0], x), *args)
    value = real_number(returned)
    if not value <= limit:
        return value, False
    default = resolution(returned, x) ** (1 / 2)
    points = np.empty((1, x.size), x.dtype)
    forward_points(points, x, jac.lower, jac.upper, jac.relative_step, jac.free, default)
    values = real_values(fun, args, x, points, jac)
    forward_quotients(gradient, x, points, values, value, jac.free)
    return value, True


def evaluate_three_point(fun, jac, args, x, gradient, limit, room):
    """The gradient by central differences: 2n further calls of ``fun``."""
    returned = fun(copy_in(room[0], x), *args)
    value = real_number(returned)
    if not value <= limit:
        return value, False
    default = resolution(returned, x) ** (1 / 3)
    points, is_one_sided = np.empty((2, x.size), x.dtype), np.empty(x.size, np.bool_)
    central_points(points, is_one_sided, x, jac.lower, jac.upper, jac.relative_step, jac.free, default)
    values = real_values(fun, args, x, points, jac)
    central_quotients(gradient, x, points, values, value, is_one_sided, jac.free)
    return value, True


def evaluate_complex_step(fun, jac, args, x, gradient, limit, room):
    """The gradient by complex steps: n further calls of ``fun``, with complex x."""
    returned = fun(copy_in(room[0], x), *args)
    value = real_number(returned)
    if not value <= limit:
        return value, False
    default = resolution(returned, x) ** (1 / 2)
    steps = np.empty((1, x.size))
    imaginary_steps(steps, x, jac.relative_step, jac.free, default)
    values = imaginary_values(fun, args, x, steps, jac)
    imaginary_quotients(gradient, steps, values, jac.free)
    return value, True


# The values. `coordinates` has a row for each set of points; point (row, i) is x with coordinates[row, i] in place of
# x[i], or beside it as imaginary part.


@register_jitable
def _real_point(x, i, coordinate):
    point = x.copy()
    point[i] = coordinate
    return point


@register_jitable
def _complex_point(x, i, coordinate):
    point = x.astype(np.complex128)
    point[i] = complex(x[i], coordinate)
    return point


@register_jitable
def _real_value(fun, args, x, i, coordinate):
    return real_number(fun(_real_point(x, i, coordinate), *args))


@register_jitable
def _imaginary_value(fun, args, x, i, coordinate):
    return imaginary_part(fun(_complex_point(x, i, coordinate), *args))


def _make_values_in_threads(value_of):
    # An exception in a loop of threads would be lost. It is noted, and raised again when all is over.
    @register_jitable
    def try_value_of(fun, args, x, i, coordinate):
        try:
            value = value_of(fun, args, x, i, coordinate)
        except Exception:
            return np.nan, True
        return value, False

    def values_in_threads(fun, args, x, coordinates, data):
        free, rows = data.free, coordinates.shape[0]
        values = np.empty(coordinates.shape)
        has_failed = np.zeros(coordinates.shape, np.bool_)
        threads_before = numba.get_num_threads()
        numba.set_num_threads(data.threads)
        for k in numba.prange(rows * free.size):
            row, i = k % rows, free[k // rows]
            values[row, i], has_failed[row, i] = try_value_of(fun, args, x, i, coordinates[row, i])
        numba.set_num_threads(threads_before)
        for i in free:
            for row in range(rows):
                if has_failed[row, i]:
                    values[row, i] = value_of(fun, args, x, i, coordinates[row, i])
        return values

    return jit.driver(values_in_threads, parallel=True)


def _make_values(value_of, point_at, number_of):
    """The function that evaluates all points, in the way that the type of its `data` says."""

    def one_by_one(fun, args, x, coordinates, data):
        values = np.empty(coordinates.shape)
        for i in data.free:
            for row in range(coordinates.shape[0]):
                values[row, i] = value_of(fun, args, x, i, coordinates[row, i])
        return values

    def by_map(fun, args, x, coordinates, data):
        positions = [(row, i) for i in data.free for row in range(coordinates.shape[0])]
        points = (point_at(x, i, coordinates[row, i]) for row, i in positions)
        results = apply(data.map, functools.partial(_call, fun, args), points, len(positions))
        values = np.empty(coordinates.shape)
        for (row, i), result in zip(positions, results, strict=True):
            values[row, i] = number_of(result)
        return values

    def values(fun, args, x, coordinates, data):
        way = by_map if isinstance(data, DifferencesByMap) else one_by_one
        return way(fun, args, x, coordinates, data)

    in_threads = _make_values_in_threads(value_of)

    @overload(values)
    def compiled_values(fun, args, x, coordinates, data):
        if data.instance_class is DifferencesInThreads:
            return lambda fun, args, x, coordinates, data: in_threads(fun, args, x, coordinates, data)
        return one_by_one

    return values


def _call(fun, args, point):
    return fun(point, *args)


real_values = _make_values(_real_value, _real_point, real_number)
imaginary_values = _make_values(_imaginary_value, _complex_point, imaginary_part)
