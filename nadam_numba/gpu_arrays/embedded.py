"""NAdam inside the user's own CUDA kernels: what `nadam_numba.embed` hands out under these names."""

from nadam_numba.gpu import cuda
from nadam_numba.gpu_arrays import kernels
from nadam_numba.rule import NEUTRAL, ElementScalars, Scalars, element_scalars

_move, _descend = kernels.ORDERS["native"]
_update_element, _step_coefficients = kernels.update_element, kernels.step_coefficients
_element_scalars = kernels.device_function(element_scalars)


def cuda_nadam_weights(step, mu_product, beta_1, beta_2, momentum_decay):
    """All numbers of a step that are the same for all elements, for code in a CUDA kernel.

    Parameters
    ----------
    step : int
        Number of the step, counted from 1.
    mu_product : float
        The first of the numbers that the step before returned; 1.0 before the first.
    beta_1, beta_2, momentum_decay : float
        See `nadam_numba.NAdam`.

    Returns
    -------
    tuple of float
        The product of the momentum coefficients so far, and three weights, for `cuda_nadam_update`.
    """
    return _step_coefficients(step, mu_product, beta_1, beta_2, momentum_decay)


def cuda_nadam_update(
    x, first_moment, second_moment, i, gradient, weights, learning_rate=2e-3, beta_1=0.9, beta_2=0.999, epsilon=1e-8
):
    """Update one element of an array and of its moments, in place, in the code of a CUDA kernel.

    Parameters
    ----------
    x, first_moment, second_moment : array
        float32 or float64, all of one dtype, in any memory of the card; the moments begin as zeros.
    i : int
        Index of the element.
    gradient : float
        The derivative by this element.
    weights : tuple of float
        From `cuda_nadam_weights`, once for all elements of a step.
    learning_rate, beta_1, beta_2, epsilon : float, optional
        See `nadam_numba.NAdam`; the betas are those of the weights.

    Examples
    --------
    See examples/one_problem_per_thread.py.
    """
    dtype = x.dtype.type
    scalars = Scalars(learning_rate, beta_1, beta_2, epsilon, weights[1], weights[2], weights[3], *NEUTRAL)
    scalars = ElementScalars(*_element_scalars(scalars, dtype))
    x[i], first_moment[i], second_moment[i], _, _ = _update_element(
        _move, _descend, x[i], first_moment[i], second_moment[i], None, None, dtype(gradient), None, scalars
    )


cuda_nadam_weights = cuda.jit(device=True)(cuda_nadam_weights)
cuda_nadam_update = cuda.jit(device=True)(cuda_nadam_update)
