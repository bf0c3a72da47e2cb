"""NAdam inside the user's own ``@njit`` code, and from C: a state and a step, with the bits of `nadam_numba.NAdam`.

`cuda_nadam_weights` and `cuda_nadam_update` are for the user's own CUDA kernels.
"""

import functools
import pathlib
from typing import NamedTuple

import numpy as np
from numba import carray, cfunc, types
from numba.core.errors import TypingError
from numba.extending import overload

from nadam_numba import cpu, hyperparameters, jit, rule


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
    learning_rate : ndarray of float64, shape (k,)
        The rates of the first k steps, of which the last one holds from then on. May be overwritten between steps.
    largest_moment : ndarray, shape (n,) or (0,)
        Largest second moment so far, for amsgrad.
    lower, upper : ndarray, shape (n,) or (0,)
        Bounds, to which each step is projected.
    beta_1, beta_2, epsilon, momentum_decay : float
        See `nadam_numba.NAdam`.
    coupled_decay, decoupled_decay : float
        Weight decay that is added to the gradient, and that which shrinks x.
    """

    first_moment: np.ndarray
    second_moment: np.ndarray
    iterations: np.ndarray
    mu_product: np.ndarray
    learning_rate: np.ndarray
    largest_moment: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    beta_1: float
    beta_2: float
    epsilon: float
    momentum_decay: float
    coupled_decay: float
    decoupled_decay: float


def _nadam_init(
    x,
    learning_rate=2e-3,
    beta_1=0.9,
    beta_2=0.999,
    epsilon=1e-8,
    momentum_decay=4e-3,
    weight_decay=0.0,
    decoupled_weight_decay=False,
    amsgrad=False,
    lower=None,
    upper=None,
):
    """Make the state for `x`, in Python or in ``@njit`` code; its type is the same whatever the options are.

    Parameters
    ----------
    x : ndarray, shape (n,)
        float32 or float64. Its numbers are not read, but where it is: the moments of a long array are laid apart from
        it in their pages, where they do not hold up its steps.
    learning_rate : float or ndarray, shape (k,), optional
        An array has the rates of the first k steps, of which the last one holds from then on. That of a schedule is
        ``nadam_numba.schedules.rates(schedule, range(k))``.
    beta_1, beta_2, epsilon, momentum_decay, weight_decay : float, optional
        See `nadam_numba.NAdam`.
    decoupled_weight_decay, amsgrad : bool, optional
        See `nadam_numba.NAdam`.
    lower, upper : float or ndarray, shape (n,), or None, optional
        Bounds: after each step, x is moved to the nearest point within.

    Returns
    -------
    NAdamState

    Raises
    ------
    ValueError
        If a hyperparameter is out of its range, a bound does not fit `x`, or `x` is an array of integers.
    numba.TypingError
        If `x` is not an array of real numbers.

    Examples
    --------
    See `nadam_step`.
    """
    rates = _filled(learning_rate, 1, np.float64)
    if rates.size == 0:
        raise ValueError("learning_rate must have a rate, or more")
    for rate in rates:
        _check_hyperparameters(rate, beta_1, beta_2, epsilon, momentum_decay, weight_decay)
    # An integer type has no half; a complex type has no order, which fails to compile.
    if not x.dtype.type(0.5) > 0:
        raise ValueError("x must be of dtype float32 or float64")
    lower_bounds, upper_bounds = _filled(lower, x.size, x.dtype), _filled(upper, x.size, x.dtype)
    if (lower is not None and lower_bounds.size != x.size) or (upper is not None and upper_bounds.size != x.size):
        raise ValueError("lower and upper must be numbers or of the size of x")
    for bound in (lower_bounds, upper_bounds):
        if np.isnan(bound).any():
            raise ValueError("lower and upper must not be NaN")
    if lower_bounds.size > 0 and upper_bounds.size > 0:
        for i in range(x.size):
            if lower_bounds[i] > upper_bounds[i]:
                raise ValueError("lower must not be above upper", lower_bounds[i], upper_bounds[i])
    return NAdamState(
        _zeros_beside(x, _PAGE // 4),
        _zeros_beside(x, _PAGE // 2),
        np.zeros(1, np.int64),
        np.ones(1, np.float64),
        rates,
        _zeros_beside(x, _PAGE * 3 // 4) if amsgrad else np.zeros(0, x.dtype),
        lower_bounds,
        upper_bounds,
        float(beta_1),
        float(beta_2),
        float(epsilon),
        float(momentum_decay),
        0.0 if decoupled_weight_decay else float(weight_decay),
        float(weight_decay) if decoupled_weight_decay else 0.0,
    )


_PAGE = 4096


def _zeros_beside(x, distance):
    """Zeros for each number of `x`; if they are many, at a place in their pages that is so many bytes behind that of x.

    `arrays.zeros` tells why.
    """
    if x.size * x.itemsize < 100 * _PAGE:
        return np.zeros(x.size, x.dtype)
    memory = np.zeros(x.size + _PAGE // x.itemsize, x.dtype)
    start = (x.ctypes.data + distance - memory.ctypes.data) % _PAGE // x.itemsize
    return memory[start : start + x.size]


_TOO_MANY_DIMENSIONS = "learning_rate, lower and upper must be numbers or vectors"


def _filled(given, size, dtype):
    """A vector of `size` numbers that are all the given one; a copy of a given vector; an empty one of None."""
    if given is None:
        return np.empty(0, dtype)
    if np.ndim(given) > 1:
        raise ValueError(_TOO_MANY_DIMENSIONS)
    return np.array(given, dtype) if np.ndim(given) else np.full(size, given, dtype)


@overload(_filled)
def _compiled_filled(given, size, dtype):
    if given is None or isinstance(given, types.NoneType) or getattr(given, "value", 0) is None:
        return lambda given, size, dtype: np.empty(0, dtype)
    if isinstance(given, types.Array):
        if given.ndim > 1:
            raise TypingError(_TOO_MANY_DIMENSIONS)
        return lambda given, size, dtype: given.astype(dtype)
    return lambda given, size, dtype: np.full(size, given, dtype)


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
    rates = state.learning_rate
    learning_rate = rates[min(state.iterations[0], rates.size - 1)]
    state.iterations[0] += 1
    state.mu_product[0], gradient_weight, momentum_weight, second_moment_correction = cpu.step_coefficients(
        state.iterations[0], state.mu_product[0], state.beta_1, state.beta_2, state.momentum_decay
    )
    scalars = (
        learning_rate,
        state.beta_1,
        state.beta_2,
        state.epsilon,
        gradient_weight,
        momentum_weight,
        second_moment_correction,
        1.0,
        1.0,
        1.0,
        0.0,
        state.coupled_decay,
        # Rounded as NAdam rounds it.
        1.0 - (1.0 - learning_rate * state.decoupled_decay),
        *rule.AFTER_DECAY,
    )
    first_moment, second_moment, largest_moment = state.first_moment, state.second_moment, state.largest_moment
    if largest_moment.size > 0:
        cpu.update_inlined(x, first_moment, second_moment, largest_moment, None, None, gradient, None, *scalars)
    else:
        cpu.update_inlined(x, first_moment, second_moment, None, None, None, gradient, None, *scalars)
    for i in range(state.lower.size):
        if x[i] < state.lower[i]:
            x[i] = state.lower[i]
    for i in range(state.upper.size):
        if x[i] > state.upper[i]:
            x[i] = state.upper[i]


_check_hyperparameters = jit.scalar(hyperparameters.check_in_compiled_code, makes_arrays=True)
_zeros_beside = jit.scalar(_zeros_beside, makes_arrays=True)
nadam_init = jit.kernel(_nadam_init, hyperparameters, makes_arrays=True)
nadam_step = jit.kernel(_nadam_step, rule, cpu, is_inlined=True)


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
            carray(first_moment, (0,)),
            carray(first_moment, (0,)),
            carray(first_moment, (0,)),
            numbers[3],
            numbers[4],
            numbers[5],
            numbers[6],
            0.0,
            0.0,
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
