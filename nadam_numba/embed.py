"""NAdam inside the user's own ``@njit`` code, and from C: a state and a step, with the bits of `nadam_numba.NAdam`.

`cuda_nadam_weights` and `cuda_nadam_update` are for the user's own CUDA kernels.
"""

import functools
import pathlib
from typing import NamedTuple

import numpy as np
from numba import carray, cfunc, types

from nadam_numba import cpu, jit, rule


class NAdamState(NamedTuple):
    """The state of one optimised array; everything that changes is an array, so that it changes in place.

    Attributes
    ----------
    first_moment, second_moment : ndarray, shape (n,)
        Decaying means of the gradient and its square.
    iterations : ndarray of int64, shape (1,)
        Number of steps made.
    mu_product : ndarray of float64, shape (1,)
        Product of the momentum coefficients so far.
    learning_rate : ndarray of float64, shape (1,)
        May be overwritten between steps.
    beta_1, beta_2, epsilon, momentum_decay : float
        See `nadam_numba.NAdam`.
    """

    first_moment: np.ndarray
    second_moment: np.ndarray
    iterations: np.ndarray
    mu_product: np.ndarray
    learning_rate: np.ndarray
    beta_1: float
    beta_2: float
    epsilon: float
    momentum_decay: float


def _nadam_init(x, learning_rate=2e-3, beta_1=0.9, beta_2=0.999, epsilon=1e-8, momentum_decay=4e-3):
    """Make the state for `x`, in Python or in ``@njit`` code.

    Parameters
    ----------
    x : ndarray, shape (n,)
        float32 or float64; only its size and dtype matter.
    learning_rate, beta_1, beta_2, epsilon, momentum_decay : float, optional
        See `nadam_numba.NAdam`.

    Returns
    -------
    NAdamState

    Raises
    ------
    ValueError
        If a hyperparameter is out of its range, or `x` an array of integers.
    numba.TypingError
        If `x` is not an array of real numbers.

    Examples
    --------
    See `nadam_step`.
    """
    if not 0.0 <= learning_rate < np.inf:
        raise ValueError("learning_rate must be a finite number >= 0", learning_rate)
    if not 0.0 <= beta_1 < 1.0:
        raise ValueError("beta_1 must be in [0, 1)", beta_1)
    if not 0.0 <= beta_2 < 1.0:
        raise ValueError("beta_2 must be in [0, 1)", beta_2)
    if not 0.0 <= epsilon < np.inf:
        raise ValueError("epsilon must be a finite number >= 0", epsilon)
    if not 0.0 <= momentum_decay:
        raise ValueError("momentum_decay must be >= 0", momentum_decay)
    # An integer type has no half; a complex type has no order, which fails to compile.
    if not x.dtype.type(0.5) > 0:
        raise ValueError("x must be of dtype float32 or float64")
    return NAdamState(
        np.zeros(x.size, x.dtype),
        np.zeros(x.size, x.dtype),
        np.zeros(1, np.int64),
        np.ones(1, np.float64),
        np.full(1, learning_rate, np.float64),
        float(beta_1),
        float(beta_2),
        float(epsilon),
        float(momentum_decay),
    )


def _nadam_step(x, gradient, state):
    """Update `x` and `state` in place, once, in Python or in ``@njit`` code; in one thread, without allocation.

    Parameters
    ----------
    x : ndarray, shape (n,)
        float32 or float64; overwritten.
    gradient : ndarray, shape (n,)
        Of the same dtype; read only. It must not overlap `x`, unless it is `x` itself.
    state : NAdamState
        Made by `nadam_init`; its arrays are overwritten.

    Raises
    ------
    ValueError
        If the sizes or dtypes differ.

    Examples
    --------
    >>> import numpy as np
    >>> from numba import njit
    >>> from nadam_numba.embed import nadam_init, nadam_step
    >>> @njit
    ... def descend(x, steps):
    ...     state = nadam_init(x, learning_rate=0.01)
    ...     for _ in range(steps):
    ...         nadam_step(x, 2.0 * x, state)
    >>> x = np.array([1.0, -2.0])
    >>> descend(x, 2000)
    >>> bool(np.abs(x).max() < 1e-6)
    True
    """
    if gradient.size != x.size or state.first_moment.size != x.size:
        raise ValueError("x, gradient and state must be of one size")
    is_floating = x.dtype.type(0.5) > 0 and gradient.dtype.type(0.5) > 0
    if not is_floating or gradient.itemsize != x.itemsize or state.first_moment.itemsize != x.itemsize:
        raise ValueError("x, gradient and state must be of one dtype, float32 or float64")
    state.iterations[0] += 1
    state.mu_product[0], gradient_weight, momentum_weight, second_moment_correction = cpu.step_coefficients(
        state.iterations[0], state.mu_product[0], state.beta_1, state.beta_2, state.momentum_decay
    )
    cpu.update_serial(
        x,
        state.first_moment,
        state.second_moment,
        None,
        None,
        None,
        gradient,
        None,
        state.learning_rate[0],
        state.beta_1,
        state.beta_2,
        state.epsilon,
        gradient_weight,
        momentum_weight,
        second_moment_correction,
        *rule.NEUTRAL,
    )


nadam_init = jit.kernel(_nadam_init, makes_arrays=True)
nadam_step = jit.kernel(_nadam_step, rule, cpu)


class CFunctions(NamedTuple):
    """Functions for C, C++ and Fortran, whose types stand in ``nadam_numba.h``; each has its `address` and `ctypes`.

    Attributes
    ----------
    init : cfunc
        ``nadam_init_function``.
    step : cfunc
        ``nadam_step_function``: one step of arrays of double.
    step_float : cfunc
        ``nadam_step_float_function``: the same for float.
    """

    init: object
    step: object
    step_float: object


def include_folder() -> str:
    """The folder of ``nadam_numba.h``, for the compiler's option ``-I``."""
    return str(pathlib.Path(__file__).parent / "include")


@functools.cache
def c_functions() -> CFunctions:
    """Compile the functions for C, once in a process, which they live as long as.

    Returns
    -------
    CFunctions

    Examples
    --------
    >>> from nadam_numba.embed import c_functions
    >>> c_functions().step.address != 0
    True
    """
    return CFunctions(
        cfunc(_C_INIT)(_c_init),
        cfunc(_c_step_type(types.float64))(_c_step),
        cfunc(_c_step_type(types.float32))(_c_step),
    )


# In a state: the number of steps, an integer, and numbers.
_NUMBERS_OF_STATE = 7
_C_INIT = types.int64(types.voidptr, *[types.float64] * 5)


def _c_step_type(number):
    return types.void(types.voidptr, types.int64, *[types.CPointer(number)] * 4)


def _c_init(state, learning_rate, beta_1, beta_2, epsilon, momentum_decay):
    if not 0.0 <= learning_rate < np.inf:
        return 2
    if not 0.0 <= beta_1 < 1.0:
        return 3
    if not 0.0 <= beta_2 < 1.0:
        return 4
    if not 0.0 <= epsilon < np.inf:
        return 5
    if not 0.0 <= momentum_decay:
        return 6
    carray(state, (1,), np.int64)[0] = 0
    numbers = carray(state, (_NUMBERS_OF_STATE,), np.float64)
    numbers[1], numbers[2] = 1.0, learning_rate
    numbers[3], numbers[4], numbers[5], numbers[6] = beta_1, beta_2, epsilon, momentum_decay
    return 0


def _c_step(state, n, x, gradient, first_moment, second_moment):
    numbers = carray(state, (_NUMBERS_OF_STATE,), np.float64)
    nadam_step(
        carray(x, (n,)),
        carray(gradient, (n,)),
        NAdamState(
            carray(first_moment, (n,)),
            carray(second_moment, (n,)),
            carray(state, (1,), np.int64),
            numbers[1:2],
            numbers[2:3],
            numbers[3],
            numbers[4],
            numbers[5],
            numbers[6],
        ),
    )


_FOR_CUDA = ("cuda_nadam_update", "cuda_nadam_weights")


def __getattr__(name):
    """The functions for CUDA kernels, which are imported when they are first asked for."""
    if name not in _FOR_CUDA:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from nadam_numba import gpu

    gpu.require_compiler()
    from nadam_numba.gpu_arrays import embedded

    return getattr(embedded, name)
