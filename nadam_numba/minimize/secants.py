"""The directions of `auto`: a metric for each variable, and what the last steps tell of the curvature.

The functions take the arrays of `auto_state`.

References
----------
J. Nocedal, S. J. Wright, "Numerical Optimization", 2nd ed., Springer 2006, algorithm 7.4: the two-loop recursion.
W. W. Hager, H. Zhang, "A new conjugate gradient method with guaranteed descent and an efficient line search",
SIAM J. Optim. 16 (2005) 170-192, and "The limited memory conjugate gradient method", SIAM J. Optim. 23 (2013)
2150-2168: the momentum, and its smallest value.
"""

import math

from nadam_numba import cpu, jit
from nadam_numba.minimize.auto_state import (
    DIRECTION,
    FIRST_PAIR,
    FIRST_STEP,
    GRADIENT,
    INVERSE_PRODUCT,
    METRIC,
    SQUARED_CHANGE,
    SQUARED_STEP,
    WEIGHT,
    X,
)
from nadam_numba.minimize.scaling import power_of_two_near_inverse

# Of the moving averages that make the metric, and the size at which a number is given a smaller factor for its square.
_DECAY = 0.9
_LARGEST_SQUARED = 2.0**40
# The smallest gradient, relative to the largest, that counts for the first step of a variable.
_SMALLEST_GRADIENT = 1e-30
# A step along which the gradient changes less, relative to the lengths of both, tells nothing.
_SMALLEST_CURVATURE = 1e-12
# Smaller numbers have no inverse.
_TINY = 2.3e-308
# The least share of the last direction that is kept, in units of that which undoes it.
_SMALLEST_MOMENTUM = 0.4


def _open_memory(vectors, numbers):
    """Begin without pairs, with factors by which no square overflows, nor vanishes."""
    record = numbers[0]
    record["remembered"] = 0
    record["newest"] = -1
    record["metric_scale"] = 1.0
    record["step_factor"] = power_of_two_near_inverse(cpu.largest_magnitude(vectors[FIRST_STEP]))
    record["change_factor"] = power_of_two_near_inverse(cpu.largest_magnitude(vectors[GRADIENT]))


def _set_metric(vectors, numbers, lower, upper):
    """The inverse of the metric, for each variable; 0 where a bound holds it back."""
    record = numbers[0]
    smallest = _SMALLEST_GRADIENT * record["norm"]
    factor = record["change_factor"] / record["step_factor"]
    for i in range(vectors.shape[1]):
        squared_step, squared_change = vectors[SQUARED_STEP, i], vectors[SQUARED_CHANGE, i]
        gradient = vectors[GRADIENT, i]
        if squared_step > 0.0 and squared_change > 0.0:
            vectors[METRIC, i] = factor * (math.sqrt(squared_step) / math.sqrt(squared_change))
        else:
            vectors[METRIC, i] = vectors[FIRST_STEP, i] / max(abs(gradient), smallest)
        if lower is not None:
            x = vectors[X, i]
            if (x <= lower[i] and gradient > 0.0) or (x >= upper[i] and gradient < 0.0):
                vectors[METRIC, i] = 0.0


def _turn_with_pairs(vectors, pairs, numbers, lower):
    """The direction against the gradient, as the metric and the pairs transform it: the two-loop recursion."""
    record = numbers[0]
    size, memory = vectors.shape[1], pairs.shape[1]
    for i in range(size):
        vectors[DIRECTION, i] = -vectors[GRADIENT, i]
    scale = 0.0
    pair = record["newest"]
    for _ in range(record["remembered"]):
        step = FIRST_PAIR + 2 * pair
        change = step + 1
        if lower is not None:
            product = _product_of_free(vectors, step, change)
            pairs[INVERSE_PRODUCT, pair] = 1.0 / product if product > _TINY else 0.0
        inverse_product = pairs[INVERSE_PRODUCT, pair]
        if inverse_product > 0.0:
            if scale == 0.0:
                square = 0.0
                for i in range(size):
                    square += vectors[change, i] * vectors[METRIC, i] * vectors[change, i]
                scale = 1.0 / (inverse_product * square)
            if lower is None:
                product = _product(vectors, step, DIRECTION)
            else:
                product = _product_of_free(vectors, step, DIRECTION)
            weight = product * inverse_product
            for i in range(size):
                vectors[DIRECTION, i] -= weight * vectors[change, i]
            pairs[WEIGHT, pair] = weight
        pair = pair - 1 if pair > 0 else memory - 1
    if scale > 0.0:
        record["metric_scale"] = scale
    scale = record["metric_scale"]
    for i in range(size):
        vectors[DIRECTION, i] *= scale * vectors[METRIC, i]
    for _ in range(record["remembered"]):
        pair = pair + 1 if pair + 1 < memory else 0
        step = FIRST_PAIR + 2 * pair
        change = step + 1
        inverse_product = pairs[INVERSE_PRODUCT, pair]
        if inverse_product > 0.0:
            weight = pairs[WEIGHT, pair] - _product(vectors, change, DIRECTION) * inverse_product
            for i in range(size):
                if lower is None or vectors[METRIC, i] > 0.0:
                    vectors[DIRECTION, i] += weight * vectors[step, i]


def _product(vectors, first, second):
    """The scalar product of two rows; of four sums beside each other, none waits for another."""
    size = vectors.shape[1]
    sum_0, sum_1, sum_2, sum_3 = 0.0, 0.0, 0.0, 0.0
    for k in range(size // 4):
        i = 4 * k
        sum_0 += vectors[first, i] * vectors[second, i]
        sum_1 += vectors[first, i + 1] * vectors[second, i + 1]
        sum_2 += vectors[first, i + 2] * vectors[second, i + 2]
        sum_3 += vectors[first, i + 3] * vectors[second, i + 3]
    for i in range(size - size % 4, size):
        sum_0 += vectors[first, i] * vectors[second, i]
    return (sum_0 + sum_1) + (sum_2 + sum_3)


def _product_of_free(vectors, first, second):
    """The same, as far as the variables go that no bound holds back."""
    product = 0.0
    for i in range(vectors.shape[1]):
        if vectors[METRIC, i] > 0.0:
            product += vectors[first, i] * vectors[second, i]
    return product


def _turn_with_momentum(vectors, numbers):
    """The direction against the gradient in the metric, and what is kept of the last one."""
    record = numbers[0]
    momentum = record["momentum"] if record["remembered"] > 0 else 0.0
    scale = record["metric_scale"]
    for i in range(vectors.shape[1]):
        vectors[DIRECTION, i] = momentum * vectors[DIRECTION, i] - scale * vectors[METRIC, i] * vectors[GRADIENT, i]


def _remember(vectors, pairs, numbers, point, gradient):
    """Learn from the step that leads to the point in row `point`, with the gradient in row `gradient`."""
    record = numbers[0]
    step_factor, change_factor = record["step_factor"], record["change_factor"]
    product, step_square, change_square, largest_step, largest_change = 0.0, 0.0, 0.0, 0.0, 0.0
    for i in range(vectors.shape[1]):
        step = vectors[point, i] - vectors[X, i]
        change = vectors[gradient, i] - vectors[GRADIENT, i]
        product += step * change
        metric = vectors[METRIC, i]
        if metric > 0.0:
            step_square += step * (step / metric)
            change_square += change * metric * change
        if step != 0.0:
            largest_step = max(largest_step, abs(step))
            largest_change = max(largest_change, abs(change))
            if change == 0.0:
                # Where nothing bends, the next step need not be shorter.
                vectors[FIRST_STEP, i] = max(vectors[FIRST_STEP, i], abs(step))
            step = step_factor * step
            change = change_factor * change
            vectors[SQUARED_STEP, i] = _DECAY * vectors[SQUARED_STEP, i] + (1.0 - _DECAY) * step * step
            vectors[SQUARED_CHANGE, i] = _DECAY * vectors[SQUARED_CHANGE, i] + (1.0 - _DECAY) * change * change
    record["step_factor"] = _factor_for(vectors[SQUARED_STEP], step_factor, largest_step)
    record["change_factor"] = _factor_for(vectors[SQUARED_CHANGE], change_factor, largest_change)
    if product > max(_SMALLEST_CURVATURE * math.sqrt(step_square) * math.sqrt(change_square), _TINY):
        if pairs.shape[1] > 0:
            _remember_pair(vectors, pairs, numbers, point, gradient, product)
        else:
            _remember_direction(vectors, numbers, gradient)


def _factor_for(squares, factor, largest):
    """The factor by which the next numbers are squared, if the last ones reached to `largest`; and the average so."""
    if factor * largest < _LARGEST_SQUARED:
        return factor
    smaller = power_of_two_near_inverse(largest)
    ratio = smaller / factor
    for i in range(squares.size):
        squares[i] *= ratio * ratio
    return smaller


def _remember_pair(vectors, pairs, numbers, point, gradient, product):
    record = numbers[0]
    memory = pairs.shape[1]
    newest = record["newest"] + 1 if record["newest"] + 1 < memory else 0
    record["newest"] = newest
    record["remembered"] = min(record["remembered"] + 1, memory)
    pairs[INVERSE_PRODUCT, newest] = 1.0 / product
    step = FIRST_PAIR + 2 * newest
    for i in range(vectors.shape[1]):
        vectors[step, i] = vectors[point, i] - vectors[X, i]
        vectors[step + 1, i] = vectors[gradient, i] - vectors[GRADIENT, i]


def _remember_direction(vectors, numbers, gradient):
    """The share of the direction that the next one keeps: Hager and Zhang's, in the metric."""
    record = numbers[0]
    curvature, square, cross, along, length = 0.0, 0.0, 0.0, 0.0, 0.0
    for i in range(vectors.shape[1]):
        direction, metric, slope = vectors[DIRECTION, i], vectors[METRIC, i], vectors[gradient, i]
        change = slope - vectors[GRADIENT, i]
        curvature += change * direction
        square += change * metric * change
        cross += change * metric * slope
        along += direction * slope
        if metric > 0.0:
            length += direction * (direction / metric)
    # The square of the curvature would overflow before it does.
    momentum = cross / curvature - 2.0 * (along / curvature) * (square / curvature)
    smallest = _SMALLEST_MOMENTUM * record["slope"] / length
    record["momentum"] = record["metric_scale"] * max(momentum, smallest)
    record["remembered"] = 1


_factor_for = jit.scalar(_factor_for)
_product = jit.scalar(_product)
_product_of_free = jit.scalar(_product_of_free)
_remember_pair = jit.scalar(_remember_pair)
_remember_direction = jit.scalar(_remember_direction)
open_memory = jit.scalar(_open_memory)
set_metric = jit.scalar(_set_metric)
turn_with_pairs = jit.scalar(_turn_with_pairs)
turn_with_momentum = jit.scalar(_turn_with_momentum)
remember = jit.scalar(_remember)
