"""The compiled loops over the arrays of a table, which find them by its addresses.

Each looks at all gradients and parameters before it writes anything, and does nothing if one is unusual. Beyond that
they compute nothing by themselves: they hand chunks of the arrays to the kernels of `cpu`.
"""

import functools
import math

import numba
import numpy as np

from nadam_numba import bfloat16, cpu, jit, pointers, rule
from nadam_numba.pointers import WRITEABLE, array_at
from nadam_numba.rule import Scalars

# Rows of a table's places; a column is an array. The addresses of objects: the gradient, the parameter, and one like
# the parameter when the table was made; the flags that a gradient needs, and its bytes; the addresses of the state; the
# seed of the noise that rounds it.
GRADIENT, PARAMETER, LIKENESS, LAYOUT, BYTES = range(5)
FIRST_MOMENT, SECOND_MOMENT, LARGEST_MOMENT, AVERAGE, ACCUMULATED = STATE = tuple(range(5, 10))
SEED = 10
ROWS = 11

# What a loop finds by the one address that it is handed, for to hand it an array takes longer than to step one. The
# addresses of arrays, and how many columns these have; the address of the type that gradients have; what the scalars of
# a step are made of, and how many steps there were.
SETTINGS = np.dtype(
    [(name, np.int64) for name in ("places", "arrays", "chunks", "chunk_count", "spans", "span_count")]
    + [(name, np.int64) for name in ("gradient_type", "factors")]
    + [
        (name, np.float64)
        for name in ("learning_rate", "beta_1", "beta_2", "epsilon", "momentum_decay", "epsilon_root")
    ]
    + [(name, np.float64) for name in ("weight_decay", "gradient_scale", "accumulated_share", "gradient_limit")]
    + [(name, np.float64) for name in ("gradient_factor", "clipnorm", "common_factor")]
    + [(name, np.float64) for name in ("average_momentum", "mu_product")]
    + [(name, np.int64) for name in ("iterations", "nesterov", "decoupled_weight_decay", "is_overwritten")]
)

_SOURCES = bfloat16, cpu, pointers, rule

# Arrays of these dtypes, for `array_at`.
_SETTINGS, _INT64 = np.empty(0, SETTINGS), np.empty(0, np.int64)


def _places(record):
    return array_at(record["places"], (ROWS, record["arrays"]), _INT64)


def _chunks(record):
    return array_at(record["chunks"], (record["chunk_count"], 3), _INT64)


def _find_unusual(table):
    """The column of the first array whose gradient or parameter is not as expected; -1 if all are."""
    record = array_at(table, 1, _SETTINGS)[0]
    places, kind = _places(record), record["gradient_type"]
    spans = array_at(record["spans"], (2, record["span_count"]), _INT64)
    for column in range(places.shape[1]):
        gradient, parameter, likeness = places[GRADIENT, column], places[PARAMETER, column], places[LIKENESS, column]
        layout = places[LAYOUT, column]
        if not pointers.has_type(gradient, kind):
            return column
        if pointers.flags_of(gradient) & layout != layout or not pointers.are_alike(gradient, likeness):
            return column
        layout |= WRITEABLE
        if pointers.flags_of(parameter) & layout != layout or not pointers.are_alike(parameter, likeness):
            return column
        if pointers.elements_of(parameter) != pointers.elements_of(likeness):
            return column
        if _overlaps(pointers.elements_of(gradient), places[BYTES, column], spans):
            return column
    return -1


def _overlaps(start, length, spans):
    """Whether memory overlaps any of the spans: their rising starts, and the furthest end up to each."""
    low, high = 0, spans.shape[1]
    while low < high:
        middle = (low + high) // 2
        if spans[0, middle] < start + length:
            low = middle + 1
        else:
            high = middle
    return low > 0 and spans[1, low - 1] > start


def _scalars(record):
    """The fields of `rule.Scalars` for the next step; and the product of the momentum coefficients with it."""
    step = record["iterations"] + 1
    mu_product, beta_1, beta_2 = float(record["mu_product"]), float(record["beta_1"]), float(record["beta_2"])
    if record["nesterov"]:
        mu_product, gradient_weight, momentum_weight, correction = cpu.step_coefficients(
            step, mu_product, beta_1, beta_2, float(record["momentum_decay"])
        )
    else:
        gradient_weight, momentum_weight, correction = cpu.adam_coefficients(step, beta_1, beta_2)
    learning_rate, weight_decay = float(record["learning_rate"]), float(record["weight_decay"])
    coupled_decay, decay = weight_decay, 0.0
    if record["decoupled_weight_decay"]:
        coupled_decay, decay = 0.0, 1.0 - (1.0 - learning_rate * weight_decay)
    return mu_product, (
        learning_rate,
        beta_1,
        beta_2,
        record["epsilon"],
        gradient_weight,
        momentum_weight,
        correction,
        1.0,
        1.0,
        1.0,
        record["epsilon_root"],
        coupled_decay,
        decay,
        0.0,
        record["gradient_scale"],
        record["accumulated_share"],
        record["gradient_limit"],
        record["gradient_factor"],
        record["average_momentum"],
        record["is_overwritten"] != 0,
        False,
    )


def _write_next(table, numbers):
    """Write the numbers of the next step as elements take them; return the product of momentum coefficients with it.

    Parameters
    ----------
    table : int
        The address of its settings.
    numbers : ndarray, shape (fields of `rule.ElementScalars`,)
    """
    mu_product, scalars = _scalars(array_at(table, 1, _SETTINGS)[0])
    fields = cpu.cast(numbers, Scalars(*scalars))
    # The last one is true or false.
    for field in range(len(fields) - 1):
        numbers[field] = fields[:-1][field]
    numbers[len(fields) - 1] = fields[-1]
    return mu_product


def _count(table, mu_product):
    """Note in settings, by their address, that a step has been made, and the product of momentum coefficients then."""
    settings = array_at(table, 1, _SETTINGS)
    settings[0]["mu_product"] = mu_product
    settings[0]["iterations"] += 1


def _clipped(scalars, factors, column):
    """The scalars of one array, whose norm has a factor of its own unless there are none."""
    if factors is None:
        return scalars
    return cpu.with_factor(scalars, factors[column])


def _gradient_at(places, column, first, size, like):
    return array_at(pointers.elements_of(places[GRADIENT, column]) + first, size, like)


def _parameter_at(places, column, first, size, like):
    return array_at(pointers.elements_of(places[PARAMETER, column]) + first, size, like)


# How the numbers of a chunk are updated: each kernel has one way bound to it.
_update = None
_kernel = None


def _update_in_full(*arguments):
    """`cpu.update_serial`, which needs no numbers for noise."""
    cpu.update_serial(*arguments[:8], *arguments[11:])


def _step(table, like, like_moments, largest_moment, average, accumulated, factors):
    """Make one step of all arrays, unless one is unusual: its column is returned, and -1 after a step.

    Parameters
    ----------
    table : int
        The address of its settings.
    like, like_moments, largest_moment, average, accumulated : ndarray, shape (0,), or None
        Of the dtype of the parameters' real numbers, or of the moments; None where there is none of the kind.
    factors : ndarray of float64, shape (0,), or None
        Whether there is something that brings down the norm of each gradient.
    """
    unusual = find_unusual(table)
    if unusual >= 0:
        return unusual
    settings = array_at(table, 1, _SETTINGS)
    places, chunks = _places(settings[0]), _chunks(settings[0])
    mu_product, scalars = _scalars(settings[0])
    common = cpu.with_factor(scalars, settings[0]["common_factor"])
    factors_of_arrays = array_at(settings[0]["factors"], places.shape[1], factors)
    updates = settings[0]["iterations"]
    for chunk in numba.prange(chunks.shape[0]):
        column, start, size = chunks[chunk, 0], chunks[chunk, 1], chunks[chunk, 2]
        first, first_of_moments = start * like.itemsize, start * like_moments.itemsize
        _update(
            _parameter_at(places, column, first, size, like),
            array_at(places[FIRST_MOMENT, column] + first_of_moments, size, like_moments),
            array_at(places[SECOND_MOMENT, column] + first_of_moments, size, like_moments),
            array_at(places[LARGEST_MOMENT, column] + first_of_moments, size, largest_moment),
            array_at(places[AVERAGE, column] + first, size, average),
            array_at(places[ACCUMULATED, column] + first, size, accumulated),
            _gradient_at(places, column, first, size, like),
            None,
            places[SEED, column],
            updates,
            start,
            *_clipped(common, factors_of_arrays, column),
        )
    count(table, mu_product)
    return -1


def _step_at(places, chunks, kinds, scalars, like):
    """Make one step of arrays that are at known addresses, by known scalars.

    Parameters
    ----------
    places : ndarray, shape (4, k), int64
        The addresses of parameters, first and second moments, and gradients.
    chunks : ndarray, shape (c, 3), int64
    kinds : ndarray, shape (k,), int64
        For each array, the row of its scalars.
    scalars : ndarray, shape (s, fields of `rule.Scalars`)
    like : ndarray, shape (0,)
        Of the arrays' real dtype.
    """
    for chunk in numba.prange(chunks.shape[0]):
        column, first, size = chunks[chunk, 0], chunks[chunk, 1] * like.itemsize, chunks[chunk, 2]
        _update(
            array_at(places[0, column] + first, size, like),
            array_at(places[1, column] + first, size, like),
            array_at(places[2, column] + first, size, like),
            None,
            None,
            None,
            array_at(places[3, column] + first, size, like),
            None,
            *_scalars_in(scalars[kinds[column]]),
        )


def _scalars_in(row):
    """The fields of `rule.Scalars` from numbers, of which the last two stand for true or false."""
    # A star before an array is nothing that compiled code knows.
    return (
        row[0],
        row[1],
        row[2],
        row[3],
        row[4],
        row[5],
        row[6],
        row[7],
        row[8],
        row[9],
        row[10],
        row[11],
        row[12],
        row[13],
        row[14],
        row[15],
        row[16],
        row[17],
        row[18],
        row[19] != 0.0,
        row[20] != 0.0,
    )


def _accumulate(table, like, average):
    """Make a micro-step of all arrays, as `_step` does a step: sum up the gradients, and move the averages."""
    unusual = find_unusual(table)
    if unusual >= 0:
        return unusual
    record = array_at(table, 1, _SETTINGS)[0]
    places, chunks = _places(record), _chunks(record)
    _, scalars = _scalars(record)
    scale = record["gradient_scale"]
    for chunk in numba.prange(chunks.shape[0]):
        column, first, size = chunks[chunk, 0], chunks[chunk, 1] * like.itemsize, chunks[chunk, 2]
        accumulated = array_at(places[ACCUMULATED, column] + first, size, like)
        cpu.accumulate_serial(accumulated, _gradient_at(places, column, first, size, like), scale)
        if average is not None:
            mean = array_at(places[AVERAGE, column] + first, size, like)
            cpu.average_serial(mean, _parameter_at(places, column, first, size, like), *scalars)
    return -1


def _measure(table, like, accumulated, blocks, sums, norms, factors):
    """Take the norms of all gradients, unless an array is unusual: its column is returned, and -1 if none is.

    Parameters
    ----------
    table, like, accumulated
        As in `_step`.
    blocks : ndarray, shape (b, 3), int64
        As its chunks, in blocks of `cpu.BLOCK` numbers.
    sums : ndarray, shape (b,)
        Overwritten.
    norms : ndarray, shape (k,)
        Overwritten by the norms, as they are after each has been clipped by itself.
    factors : ndarray, shape (k,), or None
        Overwritten by what brings down the norm of each.
    """
    unusual = find_unusual(table)
    if unusual >= 0:
        return unusual
    record = array_at(table, 1, _SETTINGS)[0]
    places = _places(record)
    _, scalars = _scalars(record)
    fields = cpu.cast(like, Scalars(*scalars))
    for block in numba.prange(blocks.shape[0]):
        column, first, size = blocks[block, 0], blocks[block, 1] * like.itemsize, blocks[block, 2]
        gradient = _gradient_at(places, column, first, size, like)
        others = array_at(places[ACCUMULATED, column] + first, size, accumulated)
        sums[block] = cpu.sum_block(gradient, others, fields)
    norms[:] = 0.0
    for block in range(blocks.shape[0]):
        norms[blocks[block, 0]] += sums[block]
    for column in range(norms.size):
        if cpu.is_sum_exact(norms[column], like):
            norms[column] = math.sqrt(norms[column])
        else:
            size = places[BYTES, column] // like.itemsize
            gradient = _gradient_at(places, column, 0, size, like)
            norms[column] = cpu.norm_serial(
                gradient, array_at(places[ACCUMULATED, column], size, accumulated), *scalars
            )
    if factors is not None:
        limit = float(record["clipnorm"])
        for column in range(norms.size):
            factors[column] = cpu.clip_factor(norms[column], limit, limit)
            norms[column] *= factors[column]
    return -1


def _has_only_finite(table, like):
    """Whether no array is unusual, and no element of a gradient infinite or NaN."""
    if find_unusual(table) >= 0:
        return False
    record = array_at(table, 1, _SETTINGS)[0]
    places, chunks = _places(record), _chunks(record)
    others = 0
    for chunk in numba.prange(chunks.shape[0]):
        column, first, size = chunks[chunk, 0], chunks[chunk, 1] * like.itemsize, chunks[chunk, 2]
        others += 0 if cpu.has_only_finite_serial(_gradient_at(places, column, first, size, like)) else 1
    return others == 0


def _make_entry(arguments):
    def entry(table):
        return _kernel(table, *arguments)

    return entry


@functools.cache
def step_for(*dtypes):
    """The loops that make a step, without and with threads; they take nothing but the address of a table's settings.

    Parameters
    ----------
    *dtypes : dtype or None
        Of each argument of `_step` after the first one. To hand over an array takes a sixth of a microsecond.
    """
    arguments = tuple(None if dtype is None else np.empty(0, dtype) for dtype in dtypes)
    kernels = step_bfloat16 if dtypes[1] == bfloat16.BITS else step
    entry = _make_entry(arguments)
    return tuple(jit.kernel(entry, *_SOURCES, makes_arrays=True, _kernel=kernel) for kernel in kernels)


def _both(function, **bound):
    """The kernels of `function` without and with threads."""
    return tuple(
        jit.kernel(function, *_SOURCES, parallel=parallel, makes_arrays=True, **bound) for parallel in (False, True)
    )


_places = jit.scalar(_places, makes_arrays=True)
_chunks = jit.scalar(_chunks, makes_arrays=True)
_overlaps = jit.scalar(_overlaps)
_scalars = jit.scalar(_scalars)
_clipped = jit.scalar(_clipped)
_scalars_in = jit.scalar(_scalars_in)
_gradient_at = jit.scalar(_gradient_at, makes_arrays=True)
_parameter_at = jit.scalar(_parameter_at, makes_arrays=True)
find_unusual = jit.kernel(_find_unusual, pointers, makes_arrays=True)
count = jit.kernel(_count, pointers, makes_arrays=True)
write_next = jit.kernel(_write_next, *_SOURCES, makes_arrays=True)
_update_in_full = jit.scalar(_update_in_full)
step = _both(_step, _update=_update_in_full)
step_bfloat16 = _both(_step, _update=cpu.update_bfloat16_serial)
step_at_as_torch = _both(_step_at, _update=cpu.update_serial_as_torch)
accumulate = _both(_accumulate)
measure = _both(_measure)
has_only_finite = _both(_has_only_finite)
