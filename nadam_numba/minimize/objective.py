"""The user's objective in the one form the loops call: ``evaluate(fun, jac, args, x, gradient, limit)``.

It returns the value and whether it has overwritten `gradient`, which it does if the value is at most `limit`. Each
``evaluate`` function below serves Python objectives as it stands and ``@njit`` objectives compiled. It hands the user
a fresh copy of x at every call.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from nadam_numba import cpu, jit


class Objective(NamedTuple):
    """How to evaluate the user's functions from Python, and from compiled code if they are compiled themselves."""

    evaluate: Callable
    fun: Callable
    jac: Callable | None
    args: tuple
    compiled: tuple | None  # (evaluate, fun, jac, args) for compiled loops
    has_exact_gradient: bool  # the user's own, not a difference
    values_per_gradient: int  # calls of fun that a gradient takes by itself


def make_objective(fun, jac, args, x, *, lower=None, upper=None, relative_step=None, workers=None):
    """Choose the way to evaluate `fun` and its gradient at points of the size and dtype of `x`.

    Raises
    ------
    TypeError
        If `fun` is not callable.
    ValueError
        If `jac` is none of what is allowed.
    """
    if not callable(fun):
        raise TypeError(f"fun={fun!r} is a {type(fun).__name__}: it must be callable")
    if callable(jac):
        evaluate, exact, calls = evaluate_separately, True, 0
        python_fun, python_jac = _checked_value(fun), _checked_gradient(jac, x)
    elif jac is True:
        evaluate, exact, calls = evaluate_pair, True, 0
        python_fun, python_jac = _checked_pair(fun, x), None
    elif jac is None or jac is False or (isinstance(jac, str) and jac == "2-point"):
        evaluate, exact, calls = evaluate_forward_difference, False, x.size
        python_fun, python_jac = _checked_value(fun), None
    else:
        raise ValueError(f"jac={jac!r}: it must be callable, True (fun returns value and gradient), None or '2-point'")
    jac = jac if callable(jac) else None
    is_compiled = jit.is_compiled(fun) and (jac is None or jit.is_compiled(jac))
    compiled = (_COMPILED[evaluate], fun, jac, args) if is_compiled else None
    return Objective(evaluate, python_fun, python_jac, args, compiled, exact, calls)


def evaluate_pair(fun, jac, args, x, gradient, limit):
    """``fun`` returns value and gradient."""
    pair = fun(x.copy(), *args)
    _store_gradient(gradient, pair[1])
    return 1.0 * pair[0], True


def evaluate_separately(fun, jac, args, x, gradient, limit):
    """``jac`` returns the gradient."""
    value = 1.0 * fun(x.copy(), *args)
    if not value <= limit:
        return value, False
    _store_gradient(gradient, jac(x.copy(), *args))
    return value, True


def evaluate_forward_difference(fun, jac, args, x, gradient, limit):
    """The gradient by forward differences, with SciPy's relative step: sqrt(eps) of the dtype of x."""
    # The factor 1.0 makes float64 of whatever type of number the objective returns.
    value = 1.0 * fun(x.copy(), *args)
    if not value <= limit:
        return value, False
    relative_step = np.sqrt(np.float64(np.finfo(x.dtype).eps))
    for i in range(x.size):
        start = np.float64(x[i])
        step = relative_step * max(1.0, abs(start))
        point = x.copy()
        point[i] = start + step if start >= 0.0 else start - step
        exact_step = np.float64(point[i]) - start
        gradient[i] = (1.0 * fun(point, *args) - value) / exact_step
    return value, True


def _store_gradient(gradient, derivative):
    if derivative.size != gradient.size:
        raise ValueError("fun or jac returned a gradient whose size is not that of x")
    cpu.copy_into(gradient, derivative)


_store_gradient = jit.kernel(_store_gradient, cpu)

# Compiled once for all objectives: the user's functions are arguments, so that these stay the same objects and a
# second call with the same functions compiles nothing.
_COMPILED = {
    function: jit.driver(function) for function in (evaluate_pair, evaluate_separately, evaluate_forward_difference)
}


def _checked_value(fun):
    def value_of(x, *args):
        return _as_value("fun", fun(x, *args), jit.is_compiled(fun))

    return value_of


def _checked_gradient(jac, x0):
    def gradient_of(x, *args):
        return _as_gradient("jac", jac(x, *args), x0, jit.is_compiled(jac))

    return gradient_of


def _checked_pair(fun, x0):
    def value_and_gradient_of(x, *args):
        pair = fun(x, *args)
        if not isinstance(pair, (tuple, list)) or len(pair) < 2:
            raise ValueError(f"jac=True, but fun returned {pair!r}: it must return a value and a gradient")
        return _as_value("fun", pair[0], jit.is_compiled(fun)), _as_gradient("fun", pair[1], x0, jit.is_compiled(fun))

    return value_and_gradient_of


def _as_value(name, value, is_scalar_needed):
    """What an objective returned, as a float; compiled loops take scalars only, others arrays of one element too."""
    if isinstance(value, float):  # the common case, on the hot path of Python objectives
        return float(value)
    if is_scalar_needed and isinstance(value, np.ndarray):
        raise ValueError(f"{name} is compiled and returned the array {value!r}: it must return a real scalar")
    array = _as_real_array(name, value)
    if array.size != 1:
        raise ValueError(f"{name} returned {value!r}: it must return a real scalar")
    return float(array.item())


def _as_gradient(name, gradient, x0, is_array_needed):
    """What a gradient function returned, as a contiguous array like `x0`; compiled loops take arrays only."""
    if is_array_needed and not isinstance(gradient, np.ndarray):
        raise TypeError(f"{name} is compiled and returned the gradient {gradient!r}: it must be an array")
    array = np.atleast_1d(_as_real_array(name, gradient))
    if array.shape != x0.shape:
        raise ValueError(f"{name} returned a gradient of shape {array.shape}: it must have the shape of x, {x0.shape}")
    return np.require(array, dtype=x0.dtype, requirements=("C", "W"))


def _as_real_array(name, returned):
    """What the user's function returned, as an array: real numbers of any of Python's or NumPy's kinds."""
    try:
        array = np.asarray(returned)
        if array.dtype.kind == "O" and not any(number is None for number in array.flat):
            array = array.astype(np.float64)  # fractions, decimals, large integers
    except (TypeError, ValueError, OverflowError):
        array = None
    if array is None or array.dtype.kind not in "biuf":
        raise ValueError(f"{name} returned {returned!r}: it must return real numbers")
    return array
