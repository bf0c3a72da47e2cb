"""The rule in kernels for CUDA: made from the same scalar functions as those for the CPU, over tables of addresses.

A table is for arrays of one real dtype on one device. Its fixed part holds, in rows of int64 with a column for each
array, where its parameter and state are and its seed, then triples (column, first number, how many) for the chunks that
a block of threads each works on. Its other part is sent to the card in each step: where the gradients are, 0 for none;
which scalars an array has; how many steps it has made; and the scalars, in the arrays' dtype, so that kernels for
float32 compute in float32 alone.
"""

import functools
from math import inf, isfinite, sqrt

import numpy as np
from numba import float64

from nadam_numba import bfloat16, jit, rule
from nadam_numba.gpu import SIMULATES, cuda
from nadam_numba.gpu_arrays.access import ALIGNMENT, WIDTH, access
from nadam_numba.rule import ElementScalars

# Threads of a block, of which the simulator makes one of Python's each; numbers that a block works on.
THREADS = 2 if SIMULATES else 256
CHUNK = 4096

# Rows of the fixed part of a table, and of the other one.
PARAMETER, FIRST_MOMENT, SECOND_MOMENT, LARGEST_MOMENT, AVERAGE, ACCUMULATED, SEED, FIRST_CHUNK, CHUNK_COUNT = range(9)
ROWS = 9
GRADIENT, KIND, STEP = range(3)
CHANGING_ROWS = 3
SCALARS = len(ElementScalars._fields)
_BYTES = 8  # of the numbers of tables


def device_function(function, **bound):
    """A function for kernels, with others under some of its global names."""
    return cuda.jit(device=True)(jit.bind(function, **bound))


_conditioned_gradient = device_function(rule.conditioned_gradient, clipped=device_function(rule.clipped))
_moving_average = device_function(rule.moving_average)
update_element = device_function(rule.update_element, moving_average=_moving_average)
_nesterov_parts = device_function(rule.nesterov_parts)
_momentum_coefficient = device_function(rule.momentum_coefficient)
step_coefficients = device_function(
    rule.step_coefficients, momentum_coefficient=_momentum_coefficient, nesterov_parts=_nesterov_parts
)
_adam_coefficients = device_function(rule.adam_coefficients)
_mix, _modulo = device_function(bfloat16.mix), device_function(bfloat16.modulo)
_noise_key = device_function(bfloat16.noise_key, mix=_mix, modulo=_modulo)
_noise_at = device_function(bfloat16.noise_at, mix=_mix, modulo=_modulo)
_noise_of_first, _noise_of_second = device_function(bfloat16.noise_of_first), device_function(bfloat16.noise_of_second)
_noise_to_nearest = device_function(bfloat16.noise_to_nearest)
_rounded, _widened = device_function(bfloat16.rounded), device_function(bfloat16.widened)
# The orders of operations of `cpu.ORDERS` that arrays on a GPU can have.
ORDERS = {
    "native": (device_function(rule.move_native), device_function(rule.descend_native)),
    "torch": (device_function(rule.move_torch), device_function(rule.descend_torch)),
}


_int64_load = access(np.dtype(np.int64)).load_constant
_double = access(np.dtype(np.float64))
# Numbers that are constant during a kernel, and others.
_double_load, _double_load_changing, _double_store = _double.load_constant, _double.load, _double.store


def _place(fixed, changing, columns, block):
    """What a block works on: a column, its first number and the one after the last, and where its gradient is."""
    chunk = fixed + _BYTES * (ROWS * columns + 3 * block)
    column = _int64_load(chunk, 0)
    start = _int64_load(chunk, 1)
    return column, start, start + _int64_load(chunk, 2), _int64_load(changing, GRADIENT * columns + column)


_place = device_function(_place)


def _kernel_for_chunks(work):
    """The kernel in which each block of threads does its work on a chunk of an array, if that has a gradient.

    Parameters
    ----------
    work : function
        ``work(fixed, changing, extra, columns, column, start, stop, gradient)``: the first four are arguments of the
        kernel, the others what `_place` tells.

    Returns
    -------
    dispatcher
        ``kernel[blocks, THREADS, stream](fixed, changing, extra, columns, chunks)``
    """
    work = device_function(work)

    @cuda.jit
    def kernel(fixed, changing, extra, columns, chunks):
        block = cuda.blockIdx.x
        if block < chunks:
            column, start, stop, gradient = _place(fixed, changing, columns, block)
            if gradient != 0:
                work(fixed, changing, extra, columns, column, start, stop, gradient)

    return kernel


def _scalars_with(load):
    """A function for kernels that reads the scalars of a column."""

    def scalars_of(changing, columns, column, factor):
        first = changing + _BYTES * CHANGING_ROWS * columns
        n = SCALARS * _int64_load(changing, KIND * columns + column)
        return ElementScalars(
            load(first, n),
            load(first, n + 1),
            load(first, n + 2),
            load(first, n + 3),
            load(first, n + 4),
            load(first, n + 5),
            load(first, n + 6),
            load(first, n + 7),
            load(first, n + 8),
            load(first, n + 9),
            load(first, n + 10),
            load(first, n + 11),
            load(first, n + 12),
            load(first, n + 13),
            load(first, n + 14),
            load(first, n + 15),
            load(first, n + 16),
            load(first, n + 17),
            load(first, n + 18),
            load(first, n + 19) if factor is None else load(first, n + 19) * factor,
            load(first, n + 20),
            load(first, n + 21),
            load(first, n + 22),
        )

    return device_function(scalars_of)


@functools.cache
def update(
    order: str,
    dtype: np.dtype,
    has_largest: bool,
    has_average: bool,
    has_sums: bool,
    has_factors: bool,
    has_bits: bool = False,
):
    """The kernel that makes one step of all arrays of a table that have a gradient.

    Parameters
    ----------
    order : {"native", "torch"}
    dtype : dtype
        float32 or float64.
    has_largest, has_average, has_sums : bool
        Whether there are arrays of these kinds: for amsgrad, the moving average, earlier micro-steps.
    has_factors : bool
        Whether gradients are multiplied by a factor of their array, as the clipping of norms does.
    has_bits : bool
        Whether the moments are bits of bfloat16, rounded as `cpu.update_bfloat16_serial` does.

    Returns
    -------
    dispatcher
        ``kernel[blocks, THREADS, stream](fixed, changing, factors, columns, chunks)``: addresses, and how many.
    """
    load, load_constant, store, load_four, store_four = access(dtype)
    moments = access(bfloat16.BITS if has_bits else dtype)
    load_moment, store_moment = moments.load, moments.store
    load_four_moments, store_four_moments = moments.load_four, moments.store_four
    scalars_of, zero, cast = _scalars_with(load_constant), dtype.type(0), dtype.type
    move, descend = ORDERS[order]

    def element(parameter, first_moment, second_moment, largest, average, accumulated, gradient, scalars, i, key):
        gradient = _conditioned_gradient(gradient, accumulated, scalars)
        if not has_bits:
            return update_element(
                move, descend, parameter, first_moment, second_moment, largest, average, gradient, None, scalars
            )
        noise = _noise_at(0, i, key)
        parameter, first, second, widest, average = update_element(
            move,
            descend,
            parameter,
            cast(_widened(first_moment)),
            cast(_widened(second_moment)),
            cast(_widened(largest)) if has_largest else None,
            average,
            gradient,
            None,
            scalars,
        )
        first_moment = _rounded(np.float32(first), _noise_of_first(noise))
        second_moment = _rounded(np.float32(second), _noise_of_second(noise))
        if has_largest:
            largest = _rounded(np.float32(widest), _noise_to_nearest(np.float32(widest)))
        return parameter, first_moment, second_moment, largest, average

    element = device_function(element)

    def lane(k, i, scalars, key, parameter, first_moment, second_moment, largest, average, accumulated, gradient):
        """The element k of WIDTH that are loaded at once, the first of which is i."""
        return element(
            parameter[k],
            first_moment[k],
            second_moment[k],
            largest[k] if has_largest else None,
            average[k] if has_average else None,
            accumulated[k] if has_sums else None,
            gradient[k],
            scalars,
            i + k,
            key,
        )

    lane = device_function(lane)

    def work(fixed, changing, factors, columns, column, start, stop, gradient):
        factor = load_constant(factors, column) if has_factors else None
        scalars = scalars_of(changing, columns, column, factor)
        parameter = _int64_load(fixed, PARAMETER * columns + column)
        first_moment = _int64_load(fixed, FIRST_MOMENT * columns + column)
        second_moment = _int64_load(fixed, SECOND_MOMENT * columns + column)
        largest = _int64_load(fixed, LARGEST_MOMENT * columns + column)
        average = _int64_load(fixed, AVERAGE * columns + column)
        sums = _int64_load(fixed, ACCUMULATED * columns + column)
        if has_bits:
            key = _noise_key(
                _int64_load(fixed, SEED * columns + column), _int64_load(changing, STEP * columns + column)
            )
        else:
            key = np.uint32(0)
        i = start + cuda.threadIdx.x
        if (parameter | first_moment | second_moment | largest | average | sums | gradient) % ALIGNMENT == 0:
            i = start + WIDTH * cuda.threadIdx.x
            while i + WIDTH <= stop:
                loaded = (
                    load_four(parameter, i),
                    load_four_moments(first_moment, i),
                    load_four_moments(second_moment, i),
                    load_four_moments(largest, i) if has_largest else None,
                    load_four(average, i) if has_average else None,
                    load_four(sums, i) if has_sums else None,
                    load_four(gradient, i),
                )
                p0, m0, v0, u0, e0 = lane(0, i, scalars, key, *loaded)
                p1, m1, v1, u1, e1 = lane(1, i, scalars, key, *loaded)
                p2, m2, v2, u2, e2 = lane(2, i, scalars, key, *loaded)
                p3, m3, v3, u3, e3 = lane(3, i, scalars, key, *loaded)
                store_four(parameter, i, p0, p1, p2, p3)
                store_four_moments(first_moment, i, m0, m1, m2, m3)
                store_four_moments(second_moment, i, v0, v1, v2, v3)
                if has_largest:
                    store_four_moments(largest, i, u0, u1, u2, u3)
                if has_average:
                    store_four(average, i, e0, e1, e2, e3)
                if has_sums:
                    store_four(sums, i, zero, zero, zero, zero)
                i += WIDTH * cuda.blockDim.x
            # What is left are less numbers than are moved at once.
            i = start + (stop - start) // WIDTH * WIDTH + cuda.threadIdx.x
        while i < stop:
            p0, m0, v0, u0, e0 = element(
                load(parameter, i),
                load_moment(first_moment, i),
                load_moment(second_moment, i),
                load_moment(largest, i) if has_largest else None,
                load(average, i) if has_average else None,
                load(sums, i) if has_sums else None,
                load(gradient, i),
                scalars,
                i,
                key,
            )
            store(parameter, i, p0)
            store_moment(first_moment, i, m0)
            store_moment(second_moment, i, v0)
            if has_largest:
                store_moment(largest, i, u0)
            if has_average:
                store(average, i, e0)
            if has_sums:
                store(sums, i, zero)
            i += cuda.blockDim.x

    return _kernel_for_chunks(work)


@functools.cache
def accumulate(dtype: np.dtype):
    """The kernel that adds the scaled gradients of a micro-step to the sums of earlier ones; arguments of `update`."""
    load, load_constant, store, _, _ = access(dtype)
    scalars_of = _scalars_with(load_constant)

    def work(fixed, changing, factors, columns, column, start, stop, gradient):
        scale = scalars_of(changing, columns, column, None).gradient_scale
        sums = _int64_load(fixed, ACCUMULATED * columns + column)
        i = start + cuda.threadIdx.x
        while i < stop:
            store(sums, i, scale * load(gradient, i) + load(sums, i))
            i += cuda.blockDim.x

    return _kernel_for_chunks(work)


@functools.cache
def average(dtype: np.dtype):
    """The kernel that moves averages of parameters without updating them.

    It takes the arguments of `update`; an array's average moves unless the address of its gradient is 0.
    """
    load, load_constant, store, _, _ = access(dtype)
    scalars_of = _scalars_with(load_constant)

    def work(fixed, changing, factors, columns, column, start, stop, gradient):
        scalars = scalars_of(changing, columns, column, None)
        parameter = _int64_load(fixed, PARAMETER * columns + column)
        mean = _int64_load(fixed, AVERAGE * columns + column)
        i = start + cuda.threadIdx.x
        while i < stop:
            moved = _moving_average(load(mean, i), load(parameter, i), scalars)
            store(mean, i, moved)
            if scalars.is_overwritten:
                store(parameter, i, moved)
            i += cuda.blockDim.x

    return _kernel_for_chunks(work)


@functools.cache
def mark_nonfinite(dtype: np.dtype):
    """The kernel that marks arrays with elements that are infinite or NaN.

    ``kernel[blocks, THREADS, stream](fixed, changing, marks, columns, chunks)``; `marks` has an int64 for each column,
    which becomes 1.
    """
    load = access(dtype).load
    store_mark = access(np.dtype(np.int64)).store

    def work(fixed, changing, marks, columns, column, start, stop, gradient):
        i = start + cuda.threadIdx.x
        while i < stop:
            if not isfinite(load(gradient, i)):
                # All threads that write here write the same.
                store_mark(marks, column, 1)
            i += cuda.blockDim.x

    return _kernel_for_chunks(work)


# Norms are sums of so many parts, for which a block needs this many bytes of shared memory.
PARTS = 3
SHARED_BYTES = 8 * PARTS * THREADS


def _block_sums(first, second, third):
    """The sums of three values of each thread of a block; in an order that is always the same."""
    # As many bytes as the launch says: threads of the simulator may each make an array of fixed size of their own.
    shared = cuda.shared.array(0, float64)
    thread = cuda.threadIdx.x
    shared[thread] = first
    shared[THREADS + thread] = second
    shared[2 * THREADS + thread] = third
    cuda.syncthreads()
    reach = THREADS // 2
    while reach > 0:
        if thread < reach:
            for part in range(PARTS):
                shared[part * THREADS + thread] += shared[part * THREADS + thread + reach]
        cuda.syncthreads()
        reach //= 2
    return shared[0], shared[THREADS], shared[2 * THREADS]


_block_sums = device_function(_block_sums)

# The parts are of squares that are taken in three units: in the first, those of ordinary numbers neither overflow nor
# vanish, in the others those of the largest and the smallest numbers of float64 do not.
_LARGE, _SMALL = 2.0**500, 2.0**-500
_SHRINK, _GROW = 2.0**-600, 2.0**600


@functools.cache
def sum_of_squares(dtype: np.dtype, has_sums: bool):
    """The kernel that sums the squares of the gradients, scaled and clipped to values, of each chunk in float64.

    ``kernel[blocks, THREADS, stream, SHARED_BYTES](fixed, changing, partial, columns, chunks)``; `partial` has PARTS
    rows of float64 with a column for each chunk.
    """
    load, load_constant, _, _, _ = access(dtype)
    scalars_of = _scalars_with(load_constant)

    @cuda.jit
    def kernel(fixed, changing, partial, columns, chunks):
        block = cuda.blockIdx.x
        if block >= chunks:
            return
        column, start, stop, gradient = _place(fixed, changing, columns, block)
        ordinary, large, small = 0.0, 0.0, 0.0
        if gradient != 0:
            scalars = scalars_of(changing, columns, column, None)
            sums = _int64_load(fixed, ACCUMULATED * columns + column)
            i = start + cuda.threadIdx.x
            while i < stop:
                earlier = load(sums, i) if has_sums else None
                value = float64(_conditioned_gradient(load(gradient, i), earlier, scalars))
                if abs(value) > _LARGE:
                    large += (_SHRINK * value) * (_SHRINK * value)
                elif abs(value) < _SMALL:
                    small += (_GROW * value) * (_GROW * value)
                else:
                    ordinary += value * value
                i += cuda.blockDim.x
        ordinary, large, small = _block_sums(ordinary, large, small)
        if cuda.threadIdx.x == 0:
            _double_store(partial, block, ordinary)
            _double_store(partial, chunks + block, large)
            _double_store(partial, 2 * chunks + block, small)

    return kernel


def _combined(ordinary, large, small):
    """The root of a sum of squares in three parts."""
    if large > 0.0:
        return _GROW * sqrt(large + _SHRINK * (_SHRINK * ordinary))
    if ordinary > 0.0:
        return sqrt(ordinary + _SHRINK * (_SHRINK * small))
    # A NaN is in the ordinary part, and is not greater than 0.
    return _SHRINK * sqrt(small) + sqrt(ordinary)


_combined = device_function(_combined)


@cuda.jit
def norms(fixed, partial, results, columns, chunks):
    """Add up what `sum_of_squares` found: the norm of the gradient of each column; a block for each."""
    column = cuda.blockIdx.x
    if column >= columns:
        return
    first = _int64_load(fixed, FIRST_CHUNK * columns + column)
    count = _int64_load(fixed, CHUNK_COUNT * columns + column)
    ordinary, large, small = 0.0, 0.0, 0.0
    i = first + cuda.threadIdx.x
    while i < first + count:
        ordinary += _double_load(partial, i)
        large += _double_load(partial, chunks + i)
        small += _double_load(partial, 2 * chunks + i)
        i += cuda.blockDim.x
    ordinary, large, small = _block_sums(ordinary, large, small)
    if cuda.threadIdx.x == 0:
        _double_store(results, column, _combined(ordinary, large, small))


_single_store = access(np.dtype(np.float32)).store


def _clip_factor(norm, limit):
    """As `dialects.Dialect.clip_factor`, with an infinite limit for none."""
    if limit == inf:
        return 1.0
    return limit / (norm if not norm < limit else limit)


_clip_factor = device_function(_clip_factor)


@cuda.jit
def clip_factors(found, limits, global_limit, singles, doubles, count):
    """What norms are multiplied by so that each, and then all together, are within their limits; in one block.

    `found` and `limits` are addresses of the norms and limits of `count` arrays in float64, infinite for none;
    `singles` and `doubles` are where the factors go in float32 and in float64.
    """
    largest = 0.0
    i = int(cuda.threadIdx.x)
    while i < count:
        norm = _double_load(found, i)
        norm *= _clip_factor(norm, _double_load(limits, i))
        _double_store(doubles, i, norm)
        i += cuda.blockDim.x
    # All threads see all norms, of which the largest is the unit of the sum of squares.
    cuda.syncthreads()
    common = 1.0
    if global_limit < inf:
        for k in range(count):
            other = _double_load_changing(doubles, k)
            # A NaN stays.
            largest = largest if other <= largest or largest != largest else other
        total = 0.0
        if 0.0 < largest < inf:
            i = int(cuda.threadIdx.x)
            while i < count:
                part = _double_load_changing(doubles, i) / largest
                total += part * part
                i += cuda.blockDim.x
        total, _, _ = _block_sums(total, 0.0, 0.0)
        norm = largest * sqrt(total) if 0.0 < largest < inf else largest
        # A norm that is not finite spoils all gradients, rather than setting the finite ones to 0.
        common = _clip_factor(norm, global_limit) + (norm - norm)
    cuda.syncthreads()
    i = int(cuda.threadIdx.x)
    while i < count:
        factor = _clip_factor(_double_load(found, i), _double_load(limits, i)) * common
        _double_store(doubles, i, factor)
        _single_store(singles, i, np.float32(factor))
        i += cuda.blockDim.x


@functools.cache
def copy_strided(dtype: np.dtype, is_back: bool):
    """The kernel that copies an array of any layout to a flat one, or back.

    ``kernel[blocks, THREADS, stream](flat, elements, layout, count)``: addresses of the flat array, of the first
    element of the other, and of its layout in int64: number of axes, their lengths, their strides in bytes.
    """
    load, _, store, _, _ = access(dtype)

    @cuda.jit
    def kernel(flat, elements, layout, count):
        i = int(cuda.blockIdx.x) * cuda.blockDim.x + cuda.threadIdx.x
        if i >= count:
            return
        axes = _int64_load(layout, 0)
        rest, offset = i, 0
        for axis in range(axes, 0, -1):
            length = _int64_load(layout, axis)
            offset += rest % length * _int64_load(layout, axes + axis)
            rest //= length
        if is_back:
            store(elements + offset, 0, load(flat, i))
        else:
            store(flat, i, load(elements + offset, 0))

    return kernel


@functools.cache
def sum_rows(dtype: np.dtype):
    """The kernel that sums rows of one index, in the order they came, into rows of an array.

    ``kernel[blocks, THREADS, stream](result, values, targets, starts, order, count, width)``: row ``targets[k]`` of the
    result is the sum of the rows ``order[starts[k]:starts[k + 1]]`` of the values, for k < `count`.
    """
    load, _, store, _, _ = access(dtype)
    zero = dtype.type(0)

    @cuda.jit
    def kernel(result, values, targets, starts, order, count, width):
        i = int(cuda.blockIdx.x) * cuda.blockDim.x + cuda.threadIdx.x
        if i >= count * width:
            return
        k, place = i // width, i % width
        total = zero
        for j in range(_int64_load(starts, k), _int64_load(starts, k + 1)):
            total += load(values, _int64_load(order, j) * width + place)
        store(result, _int64_load(targets, k) * width + place, total)

    return kernel


@functools.cache
def move_rows(dtype: np.dtype, is_back: bool):
    """The kernel that gathers rows of an array into one of their own, or scatters them back.

    ``kernel[blocks, THREADS, stream](array, rows, indices, count, width)``.
    """
    load, _, store, _, _ = access(dtype)

    @cuda.jit
    def kernel(array, rows, indices, count, width):
        i = int(cuda.blockIdx.x) * cuda.blockDim.x + cuda.threadIdx.x
        if i >= count * width:
            return
        place = _int64_load(indices, i // width) * width + i % width
        if is_back:
            store(array, place, load(rows, i))
        else:
            store(rows, i, load(array, place))

    return kernel


@functools.cache
def set_zero(dtype: np.dtype):
    """The kernel that sets numbers to 0: ``kernel[blocks, THREADS, stream](address, count)``."""
    store, zero = access(dtype).store, dtype.type(0)

    @cuda.jit
    def kernel(address, count):
        i = int(cuda.blockIdx.x) * cuda.blockDim.x + cuda.threadIdx.x
        if i < count:
            store(address, i, zero)

    return kernel


# What `advance` computes the scalars of a step from, for each kind of arrays: numbers of float64.
SETTINGS = (
    "learning_rate",
    "beta_1",
    "beta_2",
    "epsilon",
    "momentum_decay",
    "epsilon_root",
    "coupled_decay",
    "decoupled_decay",
    "nesterov",
    "gradient_scale",
    "gradient_limit",
    "gradient_factor",
)


@functools.cache
def advance(dtype: np.dtype):
    """The kernel that counts a step on the device and computes its scalars, so that a step needs nothing of the host.

    ``kernel[1, THREADS, stream](settings, counts, scalars, kinds)``: addresses of SETTINGS of each kind; of the number
    of steps and the product of the momentum coefficients, in float64; and of what `update` reads as scalars.
    """
    store, cast = access(dtype).store, dtype.type
    size = len(SETTINGS)

    @cuda.jit
    def kernel(settings, counts, scalars, kinds):
        kind = int(cuda.blockIdx.x) * cuda.blockDim.x + cuda.threadIdx.x
        if kind >= kinds:
            return
        first, n = size * kind, SCALARS * kind
        learning_rate = _double_load(settings, first)
        beta_1 = _double_load(settings, first + 1)
        beta_2 = _double_load(settings, first + 2)
        step = _double_load_changing(counts, 2 * kind) + 1.0
        product = _double_load_changing(counts, 2 * kind + 1)
        if _double_load(settings, first + 8) != 0.0:
            product, gradient_weight, momentum_weight, correction = step_coefficients(
                step, product, beta_1, beta_2, _double_load(settings, first + 4)
            )
        else:
            gradient_weight, momentum_weight, correction = _adam_coefficients(step, beta_1, beta_2)
        decay = 1.0 - (1.0 - learning_rate * _double_load(settings, first + 7))
        store(scalars, n, cast(learning_rate))
        store(scalars, n + 1, cast(beta_1))
        store(scalars, n + 2, cast(1.0 - beta_1))
        store(scalars, n + 3, cast(beta_2))
        store(scalars, n + 4, cast(1.0 - beta_2))
        store(scalars, n + 5, cast(_double_load(settings, first + 3)))
        store(scalars, n + 6, cast(gradient_weight))
        store(scalars, n + 7, cast(momentum_weight))
        store(scalars, n + 8, cast(correction))
        store(scalars, n + 9, cast(1.0))
        store(scalars, n + 10, cast(1.0))
        store(scalars, n + 11, cast(1.0))
        store(scalars, n + 12, cast(_double_load(settings, first + 5)))
        store(scalars, n + 13, cast(_double_load(settings, first + 6)))
        store(scalars, n + 14, cast(1.0 - decay))
        store(scalars, n + 15, cast(0.0))
        store(scalars, n + 16, cast(_double_load(settings, first + 9)))
        store(scalars, n + 17, cast(1.0))
        store(scalars, n + 18, cast(_double_load(settings, first + 10)))
        store(scalars, n + 19, cast(_double_load(settings, first + 11)))
        store(scalars, n + 20, cast(0.0))
        store(scalars, n + 21, cast(1.0))
        store(scalars, n + 22, cast(0.0))
        _double_store(counts, 2 * kind, step)
        _double_store(counts, 2 * kind + 1, product)

    return kernel
