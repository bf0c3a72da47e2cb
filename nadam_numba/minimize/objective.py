"""The user's objective in the one form the loops call.

``value, has_gradient = evaluate(fun, jac, args, x, gradient, limit, room)``; each ``evaluate`` serves Python objectives
as it stands and compiled ones compiled. At every call it hands the user a copy of x, which they may write to and keep;
`room` is from `lent.make_room`. The gradient is computed only where the value is at most `limit`, for a line search
throws higher points away unseen; where ``fun`` returns it with the value, it is stored anyhow.
"""

import functools
import inspect
import time
import types
from collections.abc import Callable
from typing import Any, NamedTuple

import numba
import numpy as np
from numba.core.errors import TypingError

from nadam_numba import jit
from nadam_numba.minimize import low_level
from nadam_numba.minimize.differences import (
    DifferencesByMap,
    DifferencesInThreads,
    evaluate_complex_step,
    evaluate_three_point,
    evaluate_two_point,
    make_differences,
)
from nadam_numba.minimize.lent import copy_in, make_room, zeros_in
from nadam_numba.minimize.returned import (
    checked_complex_value,
    checked_gradient,
    checked_value,
    compiles_gradient,
    compiles_value,
    real_number,
    store_gradient,
)
from nadam_numba.minimize.workers import checked_workers, make_workers, nothing

# Launching threads costs microseconds, or milliseconds where all cores are busy, and compiling for them half a second.
_SLOW_GRADIENT_SECONDS = 0.02


class Objective(NamedTuple):
    """How to evaluate the user's functions from Python, and from compiled code if they are compiled themselves.

    `evaluate`, `fun`, `jac`, `args` belong together, and so do the four of `compiled`, which is None where nothing
    is compiled. They may take only what the first evaluation, from Python, has let pass: it tells errors in plain
    words. `jac` is a function, None, or the data of differences. `values_per_gradient` is the number of further calls
    of `fun` that each gradient takes. `close` ends the processes of `workers`. `durations` is told by calls from Python
    of a compiled `fun` whose differences may be better taken in threads: their number, and the seconds of the shortest.
    """

    evaluate: Callable
    fun: Callable
    jac: Any
    args: tuple
    compiled: tuple | None
    has_exact_gradient: bool
    values_per_gradient: int
    close: Callable = nothing
    durations: np.ndarray | None = None


def evaluated(objective, x, gradient, limit):
    """Evaluate an objective from Python: its value, and whether the gradient has been stored."""
    return objective.evaluate(objective.fun, objective.jac, objective.args, x, gradient, limit, make_room(x))


def make_objective(fun, jac, args, x, *, lower=None, upper=None, relative_step=None, workers=None):
    """Choose the way to evaluate `fun` and its gradient at points of the size and dtype of `x`.

    Parameters
    ----------
    fun : callable or scipy.LowLevelCallable
        ``fun(x, *args)`` returns the value. With ``jac=True`` it returns ``(value, gradient)``, or, if it has as many
        required positional parameters, ``fun(x, gradient, *args)`` writes the gradient and returns the value. The
        C functions of a LowLevelCallable are ``double (int n, double *x[, void *user_data])``, and with ``jac=True``
        ``double (int n, double *x, double *gradient[, void *user_data])``.
    jac : callable, scipy.LowLevelCallable, bool, str or None
        ``jac(x, *args)`` returns the gradient, an array, a tuple, a list or, where n is 1, a number; in C,
        ``void (int n, double *x, double *gradient[, void *user_data])``.
        None, False and '2-point' take forward differences, '3-point' central ones, 'cs' complex steps.
    args : tuple
        Further arguments of both; run-time values for compiled functions.
    x : ndarray, shape (n,)
        float32 or float64.
    lower, upper : array_like, shape (n,), optional
        Bounds, which the points of differences keep.
    relative_step : array_like, optional
        Of differences, relative to ``|x|``.
    workers : int or callable, optional
        Who evaluates the points of differences: so many processes for Python objectives, threads for compiled ones, -1
        for as many as there are cores; or ``workers(function, iterable)`` like `map`. The results do not depend on it.

    Returns
    -------
    Objective
        To be closed after use.

    Raises
    ------
    TypeError, ValueError
        If an argument is none of what is allowed.
    """
    workers = checked_workers(workers)
    jac = bool(jac) if isinstance(jac, np.bool_) else jac
    _check_functions(fun, jac, args)
    functions = _user_functions(fun, jac, args)
    if callable(jac) or low_level.is_low_level(jac):
        return _with_separate_gradient(functions, jac, args, x)
    if jac is True:
        return _with_common_gradient(functions, args, x)
    return _with_differences(functions, jac, args, x, lower, upper, relative_step, workers)


class _Functions(NamedTuple):
    """The user's functions: for Python, and, with their arguments, for compiled code."""

    fun: Callable
    jac: Callable | None
    compiled: tuple | None  # (fun, jac, args)
    writes_gradient: bool


def _check_functions(fun, jac, args):
    low = [name for name, function in (("fun", fun), ("jac", jac)) if low_level.is_low_level(function)]
    if "fun" not in low and not callable(fun):
        raise TypeError(f"fun={fun!r} is a {type(fun).__name__}: it must be callable")
    is_allowed = callable(jac) or "jac" in low or jac is None or isinstance(jac, bool)
    if not is_allowed and not (isinstance(jac, str) and jac in DIFFERENCES):
        raise ValueError(
            f"jac={jac!r}: it must be callable, True (fun returns value and gradient, or writes the gradient), None, "
            "'2-point', '3-point' or 'cs'"
        )
    if low and args:
        raise ValueError(f"args={args!r}: a LowLevelCallable {low[0]} takes none, but user_data")
    if "fun" in low and isinstance(jac, str) and jac == "cs":
        raise ValueError("jac='cs' (finite_diff='cs'): a LowLevelCallable fun takes no complex x")


def _user_functions(fun, jac, args):
    is_low = low_level.is_low_level(fun), low_level.is_low_level(jac)
    c_fun = low_level.c_function("fun", fun, low_level.PAIR if jac is True else low_level.VALUE) if is_low[0] else None
    c_jac = low_level.c_function("jac", jac, low_level.GRADIENT) if is_low[1] else None
    python_fun = low_level.from_python(c_fun) if is_low[0] else fun
    python_jac = low_level.from_python(c_jac) if is_low[1] else jac if callable(jac) else None
    writes_gradient = jac is True and (is_low[0] or takes_gradient(fun, args))
    if is_low[0] and (is_low[1] or python_jac is None):
        compiled_jac = low_level.compiled(c_jac) if is_low[1] else None
        compiled = low_level.compiled(c_fun), compiled_jac, low_level.compiled_arguments(c_fun, c_jac)
    else:
        compiled = python_fun, python_jac, args
    is_compiled = jit.is_compiled(compiled[0]) and (compiled[1] is None or jit.is_compiled(compiled[1]))
    return _Functions(python_fun, python_jac, compiled if is_compiled else None, writes_gradient)


def takes_gradient(fun, args):
    """Whether `fun` wants ``(x, gradient, *args)``: a required parameter more than ``(x, *args)``."""
    plain = getattr(fun, "py_func", fun)
    if type(plain) is types.FunctionType:  # the common case, which a signature takes 20 times as long to tell
        return plain.__code__.co_argcount - len(plain.__defaults__ or ()) == 2 + len(args)
    try:
        parameters = inspect.signature(plain).parameters.values()
    except (TypeError, ValueError):  # some built-in functions tell none
        return False
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    required = sum(p.kind in positional and p.default is inspect.Parameter.empty for p in parameters)
    return required == 2 + len(args)


def _with_separate_gradient(functions, jac, args, x):
    fun = functools.partial(_value_of, functions.fun)
    gradient = functools.partial(_gradient_of, functions.jac, x)
    compiled = functions.compiled and (COMPILED[evaluate_separately], *functions.compiled)
    return Objective(evaluate_separately, fun, gradient, args, compiled, True, 0)


def _with_common_gradient(functions, args, x):
    if functions.writes_gradient:
        evaluate, fun = evaluate_in_place, functools.partial(_value_of, functions.fun)
    else:
        evaluate, fun = evaluate_pair, functools.partial(_pair_of, functions.fun, x)
    compiled = functions.compiled and (COMPILED[evaluate], *functions.compiled)
    return Objective(evaluate, fun, None, args, compiled, True, 0)


def _with_differences(functions, jac, args, x, lower, upper, relative_step, workers):
    scheme = jac or "2-point"
    is_complex = scheme == "cs"
    evaluate, values_per_variable = DIFFERENCES[scheme]
    data = make_differences(x, lower, upper, relative_step)
    python_fun = functools.partial(_typed, functions.fun) if jit.is_compiled(functions.fun) else functions.fun
    fun = functools.partial(_value_or_complex_of if is_complex else _value_of, python_fun)
    exact, values_per_gradient = False, values_per_variable * data.free.size
    if functions.compiled and not callable(workers):
        user_fun, _, user_args = functions.compiled
        if is_complex:
            _compile_for_complex(user_fun, user_args)
        compiled_data = data
        if workers is not None and workers != 1:
            compiled_data = _in_threads(data, jit.threads_for_user_code(user_fun, workers))
        durations = np.array([0.0, np.inf]) if workers is None else None
        if workers is None:
            fun = functools.partial(_timed, durations, fun)
        compiled = COMPILED[evaluate], user_fun, compiled_data, user_args
        return Objective(evaluate, fun, data, args, compiled, exact, values_per_gradient, nothing, durations)
    started = make_workers(workers)
    if started is None:
        return Objective(evaluate, fun, data, args, None, exact, values_per_gradient)
    data = DifferencesByMap(*data, started.map)
    return Objective(evaluate, fun, data, args, None, exact, values_per_gradient, started.close)


def _in_threads(data, threads):
    return DifferencesInThreads(*data, threads) if threads > 1 else data


def with_threads_if_slow(objective):
    """After a first evaluation from Python: the same objective, with its differences in threads if they take long.

    Only where nobody has said how many workers there are to be, `fun` is compiled, and threads are safe.
    """
    if objective.durations is None or objective.compiled is None:
        return objective
    calls, seconds = objective.durations
    # The first call may have compiled.
    if calls < 2 or seconds * objective.values_per_gradient < _SLOW_GRADIENT_SECONDS:
        return objective
    evaluate, fun, data, args = objective.compiled
    data = _in_threads(data, jit.threads_for_user_code(fun))
    return objective._replace(compiled=(evaluate, fun, data, args))


def is_readable(objective, x):
    """After a first evaluation from Python: whether compiled code can read what the compiled functions return.

    It cannot read all that NumPy makes an array of: not nested tuples, for example.
    """
    _, fun, jac, args = objective.compiled
    if objective.evaluate is evaluate_pair:
        return _returns(compiles_pair, fun, x, *args)
    if objective.evaluate is evaluate_in_place:
        return _returns(compiles_value, fun, x, x, *args)
    if objective.evaluate is evaluate_separately:
        return _returns(compiles_value, fun, x, *args) and _returns(compiles_gradient, jac, x, *args)
    return _returns(compiles_value, fun, x, *args)


def _returns(is_kind, function, *arguments):
    """Whether what a compiled function returns is of a kind; so is what it has not been compiled for."""
    if all(is_kind(overload.signature.return_type) for overload in function.overloads.values()):
        return True  # telling the types of the arguments takes longer than all of this
    overload = function.overloads.get(tuple(map(numba.typeof, arguments)))
    return overload is None or is_kind(overload.signature.return_type)


def compiles_pair(returned):
    """Whether compiled code can read a value and a gradient from a type of Numba."""
    if isinstance(returned, numba.types.BaseTuple):
        return len(returned) > 1 and compiles_value(returned[0]) and compiles_gradient(returned[1])
    entry = getattr(returned, "dtype", None)
    return compiles_value(entry) and compiles_gradient(entry)


class AtAddresses(NamedTuple):
    """An objective for drivers that are compiled once for all objectives of the same types.

    `evaluate`, compiled, is what such a driver has bound to it; it is called with ``(fun, jac, args, ...)``, of which
    `fun`, and `jac` if it is a function, are addresses, and `args` is empty.
    """

    evaluate: Callable
    fun: int
    jac: Any
    args: tuple


def at_addresses(objective, x):
    """What to hand to a `jit.address_driver`, or None where only a driver of the objective's own will do.

    That is where there are args, threads or complex steps, or the compiled functions do not return exactly float64 and
    contiguous float64 arrays.
    """
    if objective.compiled is None or x.dtype != np.float64:
        return None
    _, fun, jac, args = objective.compiled
    fun_type, jac_type = _FUNCTION_TYPES.get(objective.evaluate, (None, None))
    if fun_type is None or args or isinstance(jac, DifferencesInThreads):
        return None
    fun = jit.address_of(fun, fun_type)
    if jac_type is not None:
        jac = jit.address_of(jac, jac_type)
        if jac is None:
            return None
    return None if fun is None else AtAddresses(_AT_ADDRESSES[objective.evaluate], fun, jac, args)


def _function_types():
    number = numba.types.float64
    vector = numba.types.Array(number, 1, "C")
    value = numba.types.FunctionType(number(vector))
    return {
        evaluate_pair: (numba.types.FunctionType(numba.types.Tuple((number, vector))(vector)), None),
        evaluate_in_place: (numba.types.FunctionType(number(vector, vector)), None),
        evaluate_separately: (value, numba.types.FunctionType(vector(vector))),
        evaluate_two_point: (value, None),
        evaluate_three_point: (value, None),
    }


def evaluate_pair(fun, jac, args, x, gradient, limit, room):
    """``fun`` returns value and gradient."""
    pair = fun(copy_in(room[0], x), *args)
    if len(pair) < 2:  # compiled code reads beyond the end of arrays
        raise ValueError("jac=True, but fun returned less than a value and a gradient")
    store_gradient(gradient, pair[1])
    return real_number(pair[0]), True


def evaluate_in_place(fun, jac, args, x, gradient, limit, room):
    """``fun`` writes the gradient, into an array of zeros, and returns the value."""
    derivative = zeros_in(room[1], x)
    value = real_number(fun(copy_in(room[0], x), derivative, *args))
    store_gradient(gradient, derivative)
    return value, True


def evaluate_separately(fun, jac, args, x, gradient, limit, room):
    """``jac`` returns the gradient."""
    value = real_number(fun(copy_in(room[0], x), *args))
    if not value <= limit:
        return value, False
    store_gradient(gradient, jac(copy_in(room[1], x), *args))
    return value, True


# jac -> the way to evaluate, and the further values that it takes for each variable.
DIFFERENCES = {
    "2-point": (evaluate_two_point, 1),
    "3-point": (evaluate_three_point, 2),
    "cs": (evaluate_complex_step, 1),
}

# evaluate -> the types of its functions; None for a `jac` that is none.
_FUNCTION_TYPES = _function_types()

# Compiled once for all objectives: the user's functions are arguments, so that these stay the same objects and a
# second call with the same functions compiles nothing.
COMPILED = {
    function: jit.inlined_driver(function)
    for function in (
        evaluate_pair,
        evaluate_in_place,
        evaluate_separately,
        evaluate_two_point,
        evaluate_three_point,
        evaluate_complex_step,
    )
}


@functools.cache
def evaluate_at_addresses(function, fun_type, jac_type):
    """Compile a way to evaluate objectives for functions that are given by their addresses.

    Parameters
    ----------
    function : function
        One of the above.
    fun_type : numba.types.FunctionType
    jac_type : numba.types.FunctionType or None
        None for a `jac` that is no function.
    """
    # Apart from that of `COMPILED`: once compiled for functions by their types, it takes any function for such.
    evaluate = jit.inlined_driver(function)
    fun_at = jit.function_at(fun_type)
    jac_at = jit.function_at(jac_type) if jac_type else numba.njit(lambda jac: jac)

    def evaluate_at(fun, jac, args, x, gradient, limit, room):
        return evaluate(fun_at(fun), jac_at(jac), args, x, gradient, limit, room)

    evaluate_at.__name__ = f"{function.__name__}_at"
    # By which `jit.address_driver` tells them apart.
    evaluate_at.__qualname__ = f"{evaluate_at.__name__} {fun_type} {jac_type}"
    return jit.inlined_driver(evaluate_at)


_AT_ADDRESSES = {function: evaluate_at_addresses(function, *types) for function, types in _FUNCTION_TYPES.items()}


# What Python calls. Bound by functools.partial, which processes can be sent where the user's function can.


def _value_of(fun, x, *args):
    return checked_value(fun(x, *args))


def _typed(fun, x, *args):
    """What a compiled function returns, a float32 as such: to Python it comes as a float, which takes smaller steps."""
    returned = fun(x, *args)
    overload = fun.overloads.get(tuple(map(numba.typeof, (x, *args)))) if isinstance(returned, float) else None
    is_single = overload is not None and overload.signature.return_type == numba.types.float32
    return np.float32(returned) if is_single else returned


def _timed(durations, value_of, x, *args):
    begin = time.perf_counter()
    value = value_of(x, *args)
    durations[:] = durations[0] + 1, min(durations[1], time.perf_counter() - begin)
    return value


def _value_or_complex_of(fun, x, *args):
    if x.dtype.kind != "c":
        return checked_value(fun(x, *args))
    try:
        returned = fun(x, *args)
    except (TypeError, TypingError) as error:
        raise TypeError(
            f"fun raised {type(error).__name__} for a complex x, which finite_diff='cs' (jac='cs') needs: {error}"
        ) from error
    return checked_complex_value(returned)


def _gradient_of(jac, x0, x, *args):
    return checked_gradient(jac(x, *args), x0, "jac")


def _pair_of(fun, x0, x, *args):
    pair = fun(x, *args)
    try:
        count, value, gradient = len(pair), pair[0], pair[1]
    except (TypeError, LookupError):
        count = 0
    if count < 2:  # arrays of JAX have an entry at any index
        raise ValueError(f"jac=True, but fun returned {pair!r}: it must return a value and a gradient")
    return checked_value(value), checked_gradient(gradient, x0, "fun")


def _compile_for_complex(fun, args):
    """Compile `fun` for complex x, here where an error can say what it is for."""
    signature = (numba.types.Array(numba.types.complex128, 1, "C"), *map(numba.typeof, args))
    try:
        fun.compile(signature)
    except (TypingError, RuntimeError) as error:  # RuntimeError: it has explicit signatures, of which this is none
        raise TypeError(
            f"fun does not compile for a complex x, which finite_diff='cs' (jac='cs') needs: {error}"
        ) from error
    result = fun.overloads[signature].signature.return_type
    if not isinstance(getattr(result, "dtype", result), numba.types.Complex):
        raise TypeError(
            f"fun returns {result} for a complex x: finite_diff='cs' (jac='cs') needs a fun that maps complex x to "
            "complex values by analytic functions alone; '2-point' and '3-point' take any fun"
        )
