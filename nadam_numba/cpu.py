"""The rule on CPU arrays: leaf kernels over one-dimensional contiguous float32 or float64 arrays.

The serial and the parallel kernel give the same bits, whatever the number of threads: each element is computed on
its own, by the same scalar function.
"""

import numba

from nadam_numba import jit, rule

step_coefficients = jit.scalar(rule.step_coefficients)
_update_element = jit.scalar(rule.update_element)


def _cast(
    dtype_of,
    learning_rate,
    beta_1,
    beta_2,
    epsilon,
    gradient_weight,
    momentum_weight,
    second_moment_correction,
):
    """The scalars of the rule in the dtype of the array, in the order `rule.update_element` takes them.

    ``1 - beta`` is taken before rounding: in float32, 1 - 0.999 would be off by 5e-5 of itself.
    """
    dtype = dtype_of.dtype.type
    return (
        dtype(learning_rate),
        dtype(beta_1),
        dtype(1.0 - beta_1),
        dtype(beta_2),
        dtype(1.0 - beta_2),
        dtype(epsilon),
        dtype(gradient_weight),
        dtype(momentum_weight),
        dtype(second_moment_correction),
    )


_cast = jit.scalar(_cast)


def _update(
    parameter,
    first_moment,
    second_moment,
    gradient,
    learning_rate,
    beta_1,
    beta_2,
    epsilon,
    gradient_weight,
    momentum_weight,
    second_moment_correction,
):
    """Make one step in place.

    Parameters
    ----------
    parameter, first_moment, second_moment : ndarray, shape (n,)
        float32 or float64, contiguous; overwritten.
    gradient : ndarray, shape (n,)
        Of the same dtype; read only.
    learning_rate, beta_1, beta_2, epsilon : float
        Hyperparameters.
    gradient_weight, momentum_weight, second_moment_correction : float
        From `step_coefficients`.
    """
    scalars = _cast(
        parameter,
        learning_rate,
        beta_1,
        beta_2,
        epsilon,
        gradient_weight,
        momentum_weight,
        second_moment_correction,
    )
    for i in numba.prange(parameter.size):
        parameter[i], first_moment[i], second_moment[i] = _update_element(
            parameter[i], first_moment[i], second_moment[i], gradient[i], *scalars
        )


update_serial = jit.kernel(_update, rule)
update_parallel = jit.kernel(_update, rule, parallel=True)


def update_for(size):
    """The kernel for arrays of `size` elements in this process and thread."""
    return update_parallel if jit.use_threads(size) else update_serial


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
