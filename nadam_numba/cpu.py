"""The rule on CPU arrays: leaf kernels over one-dimensional contiguous float32 or float64 arrays.

The serial and the parallel kernel give the same bits, whatever the number of threads: each element is computed on
its own, by the same scalar function, and sums are taken over blocks of fixed size in a fixed order.
"""

import math

import numba
import numpy as np
from numba import prange
from numba.extending import overload

from nadam_numba import bfloat16, jit, rule
from nadam_numba.rule import ElementScalars, Scalars

step_coefficients = jit.scalar(
    rule.step_coefficients,
    momentum_coefficient=jit.scalar(rule.momentum_coefficient),
    nesterov_parts=jit.scalar(rule.nesterov_parts),
)
adam_coefficients = jit.scalar(rule.adam_coefficients)
clip_factor = jit.scalar(rule.clip_factor)
_clipped = jit.scalar(rule.clipped)
_only_clips = jit.scalar(rule.only_clips)
_conditioned_gradient = jit.scalar(rule.conditioned_gradient, clipped=_clipped)
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

# Squares are summed in blocks of this many elements, by this many sums beside each other, and some rows at once.
BLOCK = 4096
_LANES = 32
_ROWS = 4
# Sums of squares outside of these are taken again in another unit, a power of 2 so that nothing is rounded.
_SMALLEST_SUM = 1e-280
_SMALL_UNIT, _LARGE_UNIT = 2.0**-600, 2.0**600

_FACTOR = Scalars._fields.index("gradient_factor")
_AFTER_FACTOR = _FACTOR + 1


def _cast(array, scalars):
    """`rule.element_scalars` in the dtype of an array."""
    return _element_scalars(scalars, array.dtype.type)


def _element(array, i):
    """``array[i]``, or None if there is no array."""
    if array is None:
        return None
    return array[i]


def _set_element(array, i, value):
    if array is not None:
        array[i] = value


def _gradient_element(gradient, accumulated, i, cast, only_clips):
    """An element of the gradient as the moments see it; to multiply it by 1 twice would take a tenth of an update."""
    if only_clips and accumulated is None:
        return _clipped(gradient[i], cast)
    return _conditioned_gradient(gradient[i], _element(accumulated, i), cast)


def _part(array, start, stop):
    """``array[start:stop]``, or None if there is no array."""
    return None if array is None else array[start:stop]


@overload(_part)
def _compiled_part(array, start, stop):
    # A function that may return None returns an optional array, and loops over such are not vectorised.
    if isinstance(array, numba.types.NoneType):
        return lambda array, start, stop: None
    return lambda array, start, stop: array[start:stop]


def _widened_element(bits, i, like):
    """What the bits of an element stand for, in the dtype of the array `like`; None if there are none."""
    if bits is None:
        return None
    return like.dtype.type(_widened(bits[i]))


def _set_rounded(bits, i, value, zero):
    """Round to the nearest bfloat16."""
    if bits is not None:
        # What may be None to Numba is no number to it; but a sum of it is.
        number = np.float32(value + zero)
        bits[i] = _rounded(number, _noise_to_nearest(number))


_mix = jit.scalar(bfloat16.mix)
_modulo = jit.scalar(bfloat16.modulo)
_noise_key = jit.scalar(bfloat16.noise_key, mix=_mix, modulo=_modulo)
_noise_at = jit.scalar(bfloat16.noise_at, mix=_mix, modulo=_modulo)
_noise_of_first = jit.scalar(bfloat16.noise_of_first)
_noise_of_second = jit.scalar(bfloat16.noise_of_second)
_noise_to_nearest = jit.scalar(bfloat16.noise_to_nearest)
_rounded = jit.scalar(bfloat16.rounded)
_widened = jit.scalar(bfloat16.widened)
_widened_element = jit.scalar(_widened_element)
_set_rounded = jit.scalar(_set_rounded)
_element_scalars = jit.scalar(rule.element_scalars)
_cast = cast = jit.scalar(_cast)
_element = jit.scalar(_element)
_set_element = jit.scalar(_set_element)
_gradient_element = jit.scalar(_gradient_element)


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
    zero, only_clips = parameter.dtype.type(0), _only_clips(ElementScalars(*fields))
    for i in prange(parameter.size):
        cast = ElementScalars(*fields)
        conditioned = _gradient_element(gradient, accumulated, i, cast, only_clips)
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


def _update_bfloat16(
    parameter,
    first_moment,
    second_moment,
    largest_moment,
    average,
    accumulated,
    gradient,
    square,
    seed,
    step,
    start,
    *scalars,
):
    """As `_update`, with moments that are bits of bfloat16, widened for the step and rounded after it.

    The first two are rounded at random, as `bfloat16` has it. The largest moment is rounded to the nearest number: it
    moves to what it is told, not by small increments, and what it has been told before leaves it in place.

    Parameters
    ----------
    first_moment, second_moment : ndarray, shape (n,), uint16
    largest_moment : ndarray, shape (n,), uint16, or None
    seed, step, start : int
        Of the array, its number of updates so far, and the place of the first element in it.
    """
    fields = _cast(parameter, Scalars(*scalars))
    dtype = parameter.dtype.type
    zero, only_clips = dtype(0), _only_clips(ElementScalars(*fields))
    key, first_position = _noise_key(seed, step), _modulo(start)
    for i in prange(parameter.size):
        cast = ElementScalars(*fields)
        noise = _noise_at(first_position, i, key)
        conditioned = _gradient_element(gradient, accumulated, i, cast, only_clips)
        parameter[i], first, second, largest, mean = _update_element(
            _move,
            _descend,
            parameter[i],
            dtype(_widened(first_moment[i])),
            dtype(_widened(second_moment[i])),
            _widened_element(largest_moment, i, parameter),
            _element(average, i),
            conditioned,
            _element(square, i),
            cast,
        )
        first_moment[i] = _rounded(np.float32(first), _noise_of_first(noise))
        second_moment[i] = _rounded(np.float32(second), _noise_of_second(noise))
        _set_rounded(largest_moment, i, largest, zero)
        _set_element(average, i, mean)
        _set_element(accumulated, i, zero)


def _widen(numbers, bits):
    """Write what bits of bfloat16 stand for."""
    for i in range(bits.size):
        numbers[i] = _widened(bits[i])


def _round_to_nearest(bits, numbers):
    """Write the bits of the nearest bfloat16."""
    nan = np.float32(np.nan)
    for i in range(bits.size):
        number = np.float32(numbers[i])
        # A NaN that was made by hand may have its mark in the lower half.
        number = number if number == number else nan
        bits[i] = _rounded(number, _noise_to_nearest(number))


def _accumulate(accumulated, gradient, scale):
    """Add a micro-step's gradient, times `scale`, to the sum of the earlier ones."""
    factor = accumulated.dtype.type(scale)
    for i in prange(accumulated.size):
        accumulated[i] = factor * gradient[i] + accumulated[i]


def _average(average, parameter, *scalars):
    """Move the average of a parameter that has not been updated; overwrite the parameter if the scalars say so."""
    fields = _cast(parameter, Scalars(*scalars))
    for i in prange(parameter.size):
        cast = ElementScalars(*fields)
        average[i] = _moving_average(average[i], parameter[i], cast)
        parameter[i] = average[i] if cast.is_overwritten else parameter[i]


def _condition(gradient, *scalars):
    """Scale and clip a gradient in place."""
    fields = _cast(gradient, Scalars(*scalars))
    for i in prange(gradient.size):
        gradient[i] = _conditioned_gradient(gradient[i], None, ElementScalars(*fields))


def _sum_block(gradient, accumulated, fields):
    """The sum of the squares of a block of a gradient, scaled and clipped, in float64.

    Some rows of as many elements as there are sums are taken at once, and the compiler keeps the sums apart in vectors:
    to load and store them for each row takes twice as long where they straddle cache lines.
    """
    cast = ElementScalars(*fields)
    only_clips = _only_clips(cast)
    sums = np.zeros(_LANES)
    end = gradient.size // (_ROWS * _LANES) * (_ROWS * _LANES)
    for start in range(0, end, _ROWS * _LANES):
        rows = gradient[start : start + _ROWS * _LANES]
        others = _part(accumulated, start, start + _ROWS * _LANES)
        for lane in range(_LANES):
            total = sums[lane]
            for row in range(_ROWS):
                i = row * _LANES + lane
                conditioned = np.float64(_gradient_element(rows, others, i, cast, only_clips))
                total += conditioned * conditioned
            sums[lane] = total
    rest, others = gradient[end:], _part(accumulated, end, gradient.size)
    for i in range(rest.size):
        conditioned = np.float64(_gradient_element(rest, others, i, cast, only_clips))
        sums[i % _LANES] += conditioned * conditioned
    total = 0.0
    for lane in range(min(_LANES, gradient.size)):
        total += sums[lane]
    return total


def _sum_of_squares(gradient, accumulated, *scalars):
    """The sum of the squares of a gradient, scaled and clipped, in float64.

    The order of summation depends on the size alone: each block has some sums beside each other, which are added up at
    its end, and those of the blocks at the end of all.
    """
    fields = _cast(gradient, Scalars(*scalars))
    sums = np.empty((gradient.size + BLOCK - 1) // BLOCK)
    for block in prange(sums.size):
        start, stop = block * BLOCK, min((block + 1) * BLOCK, gradient.size)
        sums[block] = sum_block(gradient[start:stop], _part(accumulated, start, stop), fields)
    total = 0.0
    for block in range(sums.size):
        total += sums[block]
    return total


def norm(gradient, accumulated, *scalars):
    """The norm of a gradient, scaled and clipped to values; in between, no square overflows or vanishes."""
    squares = sum_of_squares(gradient, accumulated, *scalars)
    if is_sum_exact(squares, gradient):
        return math.sqrt(squares)
    unit = _SMALL_UNIT if squares <= _SMALLEST_SUM else _LARGE_UNIT
    return unit * math.sqrt(sum_of_squares(gradient, accumulated, *with_factor(scalars, 1.0 / unit)))


def _is_sum_exact(squares, gradient):
    """Whether no square of a gradient has overflown or vanished in their sum; those of float32 cannot."""
    return _SMALLEST_SUM < squares < math.inf or gradient.itemsize < 8


def _with_factor(scalars, factor):
    """The fields of `rule.Scalars`, with a gradient multiplied by one more factor in the end."""
    return (*scalars[:_FACTOR], scalars[_FACTOR] * factor, *scalars[_AFTER_FACTOR:])


def _has_only_finite(array):
    """Whether no element is infinite or NaN."""
    others = 0
    for i in prange(array.size):
        others += 0 if np.isfinite(array[i]) else 1
    return others == 0


def _add_rows(sums, positions, values):
    """Add row k of `values`, shape (k, width), to row ``positions[k]`` of `sums`; in the order of k."""
    for k in range(positions.size):
        for column in range(sums.shape[1]):
            sums[positions[k], column] += values[k, column]


def _both(function, makes_arrays=False):
    """The serial kernel of `function`; and what calls it or the one with threads, told apart by `jit.use_threads`."""
    serial = jit.kernel(function, rule, makes_arrays=makes_arrays)
    parallel = jit.kernel(function, rule, parallel=True)

    def run(array, *arguments):
        kernel = parallel if jit.use_threads(array.size) else serial
        return kernel(array, *arguments)

    run.__doc__ = function.__doc__
    return serial, run


_KERNELS = {
    (order, parallel): jit.kernel(_update, rule, parallel=parallel, **bound)
    for order, bound in ORDERS.items()
    for parallel in (False, True)
}
_BFLOAT16_KERNELS = {
    (order, parallel): jit.kernel(_update_bfloat16, rule, bfloat16, parallel=parallel, **bound)
    for order, bound in ORDERS.items()
    for parallel in (False, True)
}
update_serial = _KERNELS["native", False]
update_parallel = _KERNELS["native", True]
update_serial_as_torch = _KERNELS["torch", False]
update_inlined = jit.kernel(_update, rule, is_inlined=True, **ORDERS["native"])
update_bfloat16_serial = _BFLOAT16_KERNELS["native", False]
update_bfloat16_parallel = _BFLOAT16_KERNELS["native", True]
widen = jit.kernel(_widen, bfloat16)
round_to_nearest = jit.kernel(_round_to_nearest, bfloat16)
sum_block = jit.scalar(_sum_block, makes_arrays=True)
is_sum_exact = jit.scalar(_is_sum_exact)
with_factor = jit.scalar(_with_factor)
accumulate_serial, accumulate = _both(_accumulate)
average_serial, average = _both(_average)
_, condition = _both(_condition)
_sum_of_squares_serial, sum_of_squares = _both(_sum_of_squares, makes_arrays=True)
norm_serial = jit.kernel(norm, rule, makes_arrays=True, sum_of_squares=_sum_of_squares_serial)
has_only_finite_serial, has_only_finite = _both(_has_only_finite)
add_rows = jit.kernel(_add_rows)


def update_for(size, order="native"):
    """The kernel for arrays of `size` elements in this process and thread, with one of `ORDERS`."""
    return _KERNELS[order, jit.use_threads(size)]


def update_bfloat16_for(size, order="native"):
    """As `update_for`, for moments in bfloat16."""
    return _BFLOAT16_KERNELS[order, jit.use_threads(size)]


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
