"""Bounds on the variables: SciPy's two forms as one, points moved inside, and the gradient as far as they let go."""

import numbers

import numpy as np

from nadam_numba import jit


def make_bounds(bounds, x):
    """Check bounds and bring them into the form that the loops take.

    Parameters
    ----------
    bounds : scipy.optimize.Bounds, sequence of (min, max), or None
        None in place of a number is no bound. One bound is that of all variables.
    x : ndarray, shape (n,)
        Only its size and dtype matter.

    Returns
    -------
    lower, upper : ndarray, shape (n,), or None
        New arrays of the dtype of `x`, rounded to the inside; None, both, if no variable has a bound.

    Raises
    ------
    TypeError, ValueError
        If a bound is no number, or there is no number between two; with SciPy's words where it has any.
    """
    if bounds is None:
        return None, None
    lower, upper = _both_ends(bounds)
    if not _has_room(lower, upper):
        _refuse(lower, upper)
    if lower.shape != x.shape:
        try:
            lower, upper = _broadcast(x.shape, lower, upper)
        except ValueError:
            raise ValueError("The number of bounds is not compatible with the length of `x0`.") from None
    if _is_everything(lower, upper):
        return None, None
    return _rounded_inside(lower, upper, x.dtype)


def _refuse(lower, upper):
    """Say which bounds leave no number."""
    for name, ends, opposite in (("lower", lower, np.inf), ("upper", upper, -np.inf)):
        for index in np.flatnonzero(np.isnan(ends) | (ends == opposite)):
            raise ValueError(f"bounds: the {name} bound of variable {index} is {ends[index]}: no number is within it")
    raise ValueError("An upper bound is less than the corresponding lower bound.")


def _both_ends(bounds):
    """Lower and upper bounds as arrays of float64."""
    # To import SciPy's classes takes longer than a short run; who gives an object of theirs has imported them.
    is_object = _is_of_module(bounds, "scipy.optimize", "Bounds")
    if any(_is_of_module(part, "scipy.sparse") for part in ((bounds.lb, bounds.ub) if is_object else (bounds,))):
        raise ValueError("Lower and upper bounds must be dense arrays.")
    if is_object:
        lower, upper = (np.array(end, np.float64, ndmin=1) for end in (bounds.lb, bounds.ub))
        if lower.shape != upper.shape:
            lower, upper = _broadcast(np.broadcast(lower, upper).shape, lower, upper)
        return lower, upper
    try:
        pairs = [tuple(pair) for pair in bounds]
    except TypeError:
        raise TypeError(f"bounds={bounds!r}: it must be a Bounds object or a sequence of pairs (min, max)") from None
    for index, pair in enumerate(pairs):
        if len(pair) != 2:
            raise ValueError(f"bounds[{index}]={pair!r}: it must be a pair (min, max)")
    lower = [_bound(index, pair[0], -np.inf) for index, pair in enumerate(pairs)]
    upper = [_bound(index, pair[1], np.inf) for index, pair in enumerate(pairs)]
    return np.array(lower, np.float64), np.array(upper, np.float64)


def _is_of_module(value, package, name=None):
    """Whether the class of `value` is one of `package`, or derived from one; of that `name`, if given."""
    return any(
        kind.__module__.startswith(package) and (name is None or kind.__name__ == name) for kind in type(value).__mro__
    )


def _broadcast(shape, *arrays):
    """Copies, for views of many places as one are of another type to the kernels."""
    return tuple(np.array(np.broadcast_to(array, shape)) for array in arrays)


def _bound(index, value, none):
    if value is None:
        return none
    number = value.item() if isinstance(value, np.ndarray) and value.size == 1 else value
    if not isinstance(number, numbers.Real):
        raise TypeError(f"bounds[{index}] has the entry {value!r}: it must be a real number or None")
    return float(number)


def _rounded_inside(lower, upper, dtype):
    """The nearest numbers of `dtype` that lie within; where there is none, the nearest."""
    if dtype == np.float64:
        return np.array(lower), np.array(upper)
    with np.errstate(over="ignore"):
        low, high = lower.astype(dtype), upper.astype(dtype)
    inner_low = np.where(low < lower, np.nextafter(low, dtype.type(np.inf)), low)
    inner_high = np.where(high > upper, np.nextafter(high, dtype.type(-np.inf)), high)
    is_empty = inner_low > inner_high
    return np.where(is_empty, low, inner_low), np.where(is_empty, low, inner_high)


def _has_room(lower, upper):
    """Whether there is a number between any two bounds; not where one is NaN."""
    return np.all((lower <= upper) & (lower < np.inf) & (upper > -np.inf))


def _is_everything(lower, upper):
    """Whether no number is out of bounds."""
    return np.all((lower == -np.inf) & (upper == np.inf))


def _is_point(lower, upper):
    """Whether the bounds fix all variables."""
    return np.all(lower == upper)


def _count_free(lower, upper, size):
    """How many variables the bounds leave free."""
    if lower is None:
        return size
    free = 0
    for i in range(size):
        free += lower[i] != upper[i]
    return free


def _clip(x, lower, upper):
    """Move a point to the nearest one within bounds, in place; a NaN stays. Without bounds nothing is done."""
    if lower is None:
        return
    for i in range(x.size):
        if x[i] < lower[i]:
            x[i] = lower[i]
        elif x[i] > upper[i]:
            x[i] = upper[i]


def _projected_norm(x, gradient, lower, upper):
    """The largest component of ``x - clip(x - gradient)``, without the rounding of that; NaN if one is NaN."""
    largest = 0.0
    for i in range(gradient.size):
        component = float(gradient[i])
        if lower is not None:
            if component > 0.0:
                component = min(component, max(float(x[i]) - float(lower[i]), 0.0))
            elif component < 0.0:
                component = max(component, min(float(x[i]) - float(upper[i]), 0.0))
        magnitude = abs(component)
        if not magnitude <= largest:
            if magnitude != magnitude:
                return magnitude
            largest = magnitude
    return largest


_has_room = jit.kernel(_has_room, makes_arrays=True)
_is_everything = jit.kernel(_is_everything, makes_arrays=True)
is_point = jit.kernel(_is_point, makes_arrays=True)
count_free = jit.scalar(_count_free)
clip = jit.kernel(_clip)
projected_norm = jit.kernel(_projected_norm)
