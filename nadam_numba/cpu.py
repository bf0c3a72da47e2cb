"""The rule on CPU arrays: leaf kernels over one-dimensional contiguous float32 or float64 arrays.

The serial and the parallel kernel give the same bits, whatever the number of threads: each element is computed on
its own, by the same scalar function, and sums are taken over blocks of fixed size in a fixed order.
"""

import numba
import numpy as np

from nadam_numba import jit, rule
from nadam_numba.rule import ElementScalars, Scalars

step_coefficients = jit.scalar(
    rule.step_coefficients,
    momentum_coefficient=jit.scalar(rule.momentum_coefficient),
    nesterov_parts=jit.scalar(rule.nesterov_parts),
)
adam_coefficients = jit.scalar(rule.adam_coefficients)
_conditioned_gradient = jit.scalar(rule.conditioned_gradient)
_moving_average = jit.scalar(rule.moving_average)
_update_element = jit.scalar(rule.update_element, moving_average=_moving_average)
# The orders of operations: how the moments and how the parameter change. Each kernel has one of each bound to it.
_move_tensorflow = jit.scalar(rule.move_tensorflow)
_move_by_increments = jit.scalar(rule.move_by_increments)
_descend_keras = jit.scalar(rule.descend_keras)
ORDERS = {
    "native": {"_move": jit.scalar(rule.move_native), "_descend": jit.scalar(rule.descend_native)},
    "torch": {"_move": jit.scalar(rule.move_torch), "_descend": jit.scalar(rule.descend_torch)},
    "keras": {"_move": _move_by_increments, "_descend": _descend_keras},
    "keras_torch": {"_move": _move_tensorflow, "_descend": _descend_keras},
    "tensorflow": {"_move": _move_tensorflow, "_descend": jit.scalar(rule.descend_tensorflow)},
    "tensorflow_adam": {"_move": _move_by_increments, "_descend": jit.scalar(rule.descend_tensorflow_adam)},
    "optax": {"_move": _move_tensorflow, "_descend": jit.scalar(rule.descend_optax)},
}
_move = _descend = None

# Squares are summed in blocks of this many elements, by this many sums beside each other.
_BLOCK = 2048
_LANES = 8


def _cast(array, scalars):
    """The fields of `rule.ElementScalars`, as a plain tuple, which threads can take, unlike a named one.

    In float32, 1 - 0.999 taken after rounding would be off by 5e-5 of itself.
    """
    dtype = array.dtype.type
    return (
        dtype(scalars.learning_rate),
        dtype(1.0 if scalars.has_decayed else scalars.beta_1),
        dtype(1.0 - scalars.beta_1),
        dtype(scalars.beta_2),
        dtype(1.0 - scalars.beta_2),
        dtype(scalars.epsilon),
        dtype(scalars.gradient_weight),
        dtype(scalars.momentum_weight),
        dtype(scalars.second_moment_correction),
        dtype(scalars.gradient_bias),
        dtype(scalars.momentum_bias),
        dtype(scalars.second_moment_bias),
        dtype(scalars.epsilon_root),
        dtype(scalars.coupled_decay),
        dtype(1.0 - scalars.decay),
        dtype(scalars.subtracted_decay),
        dtype(scalars.gradient_scale),
        dtype(scalars.accumulated_share),
        dtype(scalars.gradient_limit),
        dtype(scalars.gradient_factor),
        dtype(scalars.average_momentum),
        dtype(1.0 - scalars.average_momentum),
        scalars.is_overwritten,
    )


def _element(array, i):
    """``array[i]``, or None if there is no array."""
    if array is None:
        return None
    return array[i]


def _set_element(array, i, value):
    if array is not None:
        array[i] = value


def _part(array, start, stop):
    if array is None:
        return None
    return array[start:stop]


_cast = jit.scalar(_cast)
_part = jit.scalar(_part, makes_arrays=True)
_element = jit.scalar(_element)
_set_element = jit.scalar(_set_element)


def _update(parameter, first_moment, second_moment, largest_moment, average, accumulated, gradient, square, *scalars):
    """Make one step in place.

    Parameters
    ----------
    parameter, first_moment, second_moment : ndarray, shape (n,)
        float32 or float64, contiguous; overwritten.
    largest_moment, average : ndarray, shape (n,), or None
        State of amsgrad and of the moving average; overwritten.
    accumulated : ndarray, shape (n,), or None
        Sum of the gradients of earlier micro-steps; reset to 0.
    gradient : ndarray, shape (n,)
        Of the same dtype; read only.
    square : ndarray, shape (n,), or None
        What stands for the square of the gradient; read only.
    *scalars : float, bool
        The fields of `rule.Scalars`.
    """
    fields = _cast(parameter, Scalars(*scalars))
    zero = parameter.dtype.type(0)
    for i in numba.prange(parameter.size):
        cast = ElementScalars(*fields)
        conditioned = _conditioned_gradient(gradient[i], _element(accumulated, i), cast)
        parameter[i], first_moment[i], second_moment[i], largest, mean = _update_element(
            _move,
            _descend,
            parameter[i],
            first_moment[i],
            second_moment[i],
            _element(largest_moment, i),
            _element(average, i),
            conditioned,
            _element(square, i),
            cast,
        )
        _set_element(largest_moment, i, largest)
        _set_element(average, i, mean)
        _set_element(accumulated, i, zero)


def _accumulate(accumulated, gradient, scale):
    """Add a micro-step's gradient, times `scale`, to the sum of the earlier ones."""
    factor = accumulated.dtype.type(scale)
    for i in numba.prange(accumulated.size):
        accumulated[i] = factor * gradient[i] + accumulated[i]


def _average(average, parameter, *scalars):
    """Move the average of a parameter that has not been updated; overwrite the parameter if the scalars say so."""
    fields = _cast(parameter, Scalars(*scalars))
    for i in numba.prange(parameter.size):
        cast = ElementScalars(*fields)
        average[i] = _moving_average(average[i], parameter[i], cast)
        parameter[i] = average[i] if cast.is_overwritten else parameter[i]


def _condition(gradient, *scalars):
    """Scale and clip a gradient in place."""
    fields = _cast(gradient, Scalars(*scalars))
    for i in numba.prange(gradient.size):
        gradient[i] = _conditioned_gradient(gradient[i], None, ElementScalars(*fields))


def _sum_of_squares(gradient, accumulated, *scalars):
    """The sum of the squares of a gradient, scaled and clipped, in float64.

    The order of summation depends on the size alone: each block has eight sums beside each other, which the compiler
    can keep in one register, and all are added up at the end.
    """
    fields = _cast(gradient, Scalars(*scalars))
    sums = np.zeros(((gradient.size + _BLOCK - 1) // _BLOCK, _LANES))
    for block in numba.prange(sums.shape[0]):
        cast = ElementScalars(*fields)
        lanes = sums[block]
        values = gradient[block * _BLOCK : (block + 1) * _BLOCK]
        others = _part(accumulated, block * _BLOCK, (block + 1) * _BLOCK)
        for start in range(0, values.size, _LANES):
            for lane in range(min(_LANES, values.size - start)):
                conditioned = _conditioned_gradient(values[start + lane], _element(others, start + lane), cast)
                lanes[lane] += np.float64(conditioned) * np.float64(conditioned)
    total = 0.0
    for block in range(sums.shape[0]):
        for lane in range(_LANES):
            total += sums[block, lane]
    return total


def _has_only_finite(array):
    """Whether no element is infinite or NaN."""
    others = 0
    for i in numba.prange(array.size):
        others += 0 if np.isfinite(array[i]) else 1
    return others == 0


def _add_rows(sums, positions, values):
    """Add row k of `values`, shape (k, width), to row ``positions[k]`` of `sums`; in the order of k."""
    for k in range(positions.size):
        for column in range(sums.shape[1]):
            sums[positions[k], column] += values[k, column]


def _both(function, makes_arrays=False):
    """The kernels of `function` without and with threads, told apart by `jit.use_threads`."""
    serial = jit.kernel(function, rule, makes_arrays=makes_arrays)
    parallel = jit.kernel(function, rule, parallel=True)

    def run(array, *arguments):
        kernel = parallel if jit.use_threads(array.size) else serial
        return kernel(array, *arguments)

    run.__doc__ = function.__doc__
    return run


_KERNELS = {
    (order, parallel): jit.kernel(_update, rule, parallel=parallel, **bound)
    for order, bound in ORDERS.items()
    for parallel in (False, True)
}
update_serial = _KERNELS["native", False]
update_parallel = _KERNELS["native", True]
update_inlined = jit.kernel(_update, rule, is_inlined=True, **ORDERS["native"])
accumulate = _both(_accumulate)
average = _both(_average)
condition = _both(_condition)
sum_of_squares = _both(_sum_of_squares, makes_arrays=True)
has_only_finite = _both(_has_only_finite)
add_rows = jit.kernel(_add_rows)


def update_for(size, order="native"):
    """The kernel for arrays of `size` elements in this process and thread, with one of `ORDERS`."""
    return _KERNELS[order, jit.use_threads(size)]


def _largest_magnitude(array):
    """The infinity norm of a one-dimensional array; NaN if an element is NaN, 0 if there are none."""
    largest = array.dtype.type(0)
    for element in array:
        magnitude = abs(element)
        if not magnitude <= largest:
            if magnitude != magnitude:
                return magnitude
            largest = magnitude
    return largest


largest_magnitude = jit.kernel(_largest_magnitude)


def _copy_into(target, source):
    """Overwrite the one-dimensional array `target`; in a driver it compiles in a fraction of ``target[:] = source``."""
    for i in range(target.size):
        target[i] = source[i]


copy_into = jit.kernel(_copy_into)
