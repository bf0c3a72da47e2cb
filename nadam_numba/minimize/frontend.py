"""The function `minimize`: what it accepts, and the run from x0 to the result."""

import math
import time
import warnings
from collections.abc import Callable, Mapping
from types import NoneType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from nadam_numba import cpu
from nadam_numba.hyperparameters import Hyperparameters, nonnegative_finite
from nadam_numba.minimize.callback import make_callback
from nadam_numba.minimize.loop import compiled_iterate, iterate, start
from nadam_numba.minimize.objective import make_objective
from nadam_numba.minimize.result import Status, make_result
from nadam_numba.schedules import cosine_decay, rates, reduce_on_plateau

if TYPE_CHECKING:
    from scipy.optimize import OptimizeResult

# A run returns to Python between chunks of steps, where an interrupt from the keyboard is noticed. Chunks grow until
# they take this many seconds, which hides the cost of the return, or this many steps, which bounds the rates' memory.
_CHUNK_SECONDS = 0.05
_LONGEST_CHUNK = 2**14


def minimize(
    fun: Callable,
    x0: ArrayLike,
    args: Any = (),
    method: str | Callable | None = "nadam",
    jac: Callable | bool | str | None = None,
    hess: Any = None,
    hessp: Any = None,
    bounds: Any = None,
    constraints: Any = (),
    tol: float | None = None,
    callback: Callable | None = None,
    options: Mapping | None = None,
) -> "OptimizeResult":
    """Minimise a function of one or more variables, with the interface of `scipy.optimize.minimize`.

    Parameters
    ----------
    fun : callable
        The objective, ``fun(x, *args) -> float``, plain Python or compiled with ``@njit``. x has shape (n,). With a
        compiled `fun` (and `jac`, if it is a function) the whole loop runs compiled, and gives the same iterates.
    x0 : array_like, shape (n,)
        Start. float32 is kept, integers become float64.
    args : tuple, optional
        Further arguments of `fun` and `jac`.
    method : str or callable, optional
        "nadam". Anything else is handed to `scipy.optimize.minimize` with all arguments.
    jac : callable, True, None or "2-point", optional
        The gradient ``jac(x, *args) -> array, shape (n,)``; True if `fun` returns ``(value, gradient)``; None and
        "2-point" take forward differences, which cost n further calls of `fun` per step.
    hess, hessp : optional
        Not used by "nadam"; a RuntimeWarning says so.
    bounds, constraints : optional
        Not supported by "nadam": ValueError.
    tol : float, optional
        Sets the option `gtol`, unless that is given.
    callback : callable, optional
        Called after each step, as ``callback(intermediate_result=result)`` if that is its only parameter, where
        ``result`` has x, fun, jac, nit of the current iterate; else as ``callback(x)``. Raise StopIteration to stop.
    options : dict, optional
        learning_rate : float or callable
            In units of x: the first steps change each variable by about this much. Either a constant or a schedule, a
            function of the number of steps made (see `nadam_numba.schedules`). A constant rate ends in an oscillation
            about the minimum, so the default falls from 0.1 to 0 over `maxiter` steps along half a cosine. A schedule
            is asked for some steps ahead, and must not depend on when it is asked; one that is compiled with ``@njit``
            is evaluated by compiled code. Of a `reduce_on_plateau`, a copy is told the value after each step.
        beta_1, beta_2, epsilon, momentum_decay : float, default 0.9, 0.999, 1e-8, 4e-3
            See `nadam_numba.NAdam`.
        maxiter : int, default 10000
            Largest number of steps.
        gtol : float
            Stop when no component of the gradient is larger, at a point whose value is the best seen, to rounding. By
            default 1e-6 (float32: 3.5e-4), or 6.1e-6 (float32: 4.9e-3) with forward differences, whose own error would
            hide a smaller gradient.
        disp : bool, default False
            Print how the run ended.

    Returns
    -------
    scipy.optimize.OptimizeResult
        x, fun, jac: the best point seen, after convergence the point that met `gtol`, with its value and gradient;
        nit: steps made; nfev, njev: evaluations of value and gradient; status: 0 converged, 1 maxiter reached, 3 value
        or gradient not finite, 99 stopped by the callback; success: whether status is 0; message.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong type or out of range, or `fun` or `jac` return something else than above.

    Warns
    -----
    scipy.optimize.OptimizeWarning
        If `options` has unknown entries.

    References
    ----------
    T. Dozat, "Incorporating Nesterov Momentum into Adam", ICLR workshop 2016.

    Examples
    --------
    >>> from numba import njit
    >>> from nadam_numba import minimize
    >>> @njit
    ... def rosenbrock(x):
    ...     return (1.0 - x[0]) ** 2 + 100.0 * (x[1] - x[0] ** 2) ** 2
    >>> result = minimize(rosenbrock, [-1.2, 1.0])
    >>> result.x.round(3).tolist()
    [1.0, 1.0]
    """
    if not isinstance(options, (Mapping, NoneType)):
        raise TypeError(f"options={options!r} is a {type(options).__name__}: it must be a dict or None")
    options = dict(options or {})
    if not (isinstance(method, str) and method.lower() == "nadam"):
        from scipy.optimize import minimize as scipy_minimize

        return scipy_minimize(fun, x0, args, method, jac, hess, hessp, bounds, constraints, tol, callback, options)
    _refuse_restrictions(bounds, constraints)
    _warn_unused(hess=hess, hessp=hessp)
    if tol is not None:
        options.setdefault("gtol", tol)
    return _minimize_nadam(fun, x0, args if isinstance(args, tuple) else (args,), jac, callback, **options)


def _minimize_nadam(
    fun,
    x0,
    args,
    jac,
    callback,
    /,
    learning_rate=None,
    beta_1=0.9,
    beta_2=0.999,
    epsilon=1e-8,
    momentum_decay=4e-3,
    maxiter=10_000,
    gtol=None,
    disp=False,
    **unknown_options,
):
    _warn_unknown(unknown_options)
    maxiter = math.floor(nonnegative_finite("maxiter", maxiter))
    if learning_rate is None:
        learning_rate = cosine_decay(0.1, max(maxiter, 1))
    hyper = Hyperparameters(learning_rate, beta_1, beta_2, epsilon, momentum_decay)
    x = _start_vector(x0)
    callback = make_callback(callback)
    objective = make_objective(fun, jac, x)
    gtol = _default_gtol(x.dtype, objective.has_exact_gradient) if gtol is None else nonnegative_finite("gtol", gtol)

    gradient = np.empty_like(x)
    value = objective.evaluate(objective.fun, objective.jac, args, x, gradient)
    plateau = hyper.learning_rate.state if isinstance(hyper.learning_rate, reduce_on_plateau) else None
    state = start(x, value, gradient, gtol, plateau)
    state, status = _run(state, objective, args, hyper, maxiter, gtol, callback)
    result = make_result(state, status, objective.calls_per_evaluation)
    if disp:
        _print(result)
    return result


def _run(state, objective, args, hyper, maxiter, gtol, callback):
    """Iterate, in chunks, until a stopping test holds; the final state and the reason."""
    update = cpu.update_for(state.x.size)
    if objective.compiled:
        loop, functions = compiled_iterate, objective.compiled
    else:
        loop, functions = iterate, (objective.evaluate, objective.fun, objective.jac)
    plateau_rule = None if state.plateau is None else hyper.learning_rate.rule
    chunk = 1
    while state.status == Status.RUNNING:
        if state.step >= maxiter:
            return state, Status.ITERATION_LIMIT
        begin = time.perf_counter()
        steps = range(state.step, min(state.step + chunk, maxiter))
        learning_rates = rates(hyper.schedule, steps)
        state = loop(
            update,
            *functions,
            args,
            state,
            learning_rates,
            hyper.beta_1,
            hyper.beta_2,
            hyper.epsilon,
            hyper.momentum_decay,
            gtol,
            plateau_rule,
        )
        if callback is None:
            is_short = time.perf_counter() - begin < _CHUNK_SECONDS
            chunk = min(2 * chunk, _LONGEST_CHUNK) if is_short else max(chunk // 2, 1)
        elif callback(_intermediate_result(state)):
            return state, Status.CALLBACK_STOPPED
    return state, Status(state.status)


def _intermediate_result(state):
    from scipy.optimize import OptimizeResult

    return OptimizeResult(x=state.x.copy(), fun=state.value, jac=state.gradient.copy(), nit=state.step)


def _start_vector(x0):
    """A contiguous copy of `x0` to iterate on, of dtype float32 or float64."""
    x = np.atleast_1d(np.asarray(x0))
    if x.ndim != 1:
        raise ValueError(f"'x0' must only have one dimension: it has the shape {x.shape}")
    if x.dtype.kind not in "biuf" or x.dtype.itemsize > 8:
        raise TypeError(f"x0 has dtype {x.dtype}: it must be real, of at most double precision")
    return np.array(x, dtype=x.dtype if x.dtype == np.float32 else np.float64)


def _default_gtol(dtype, exact_gradient):
    """1e-6, or what rounding lets the gradient reach; a difference is wrong by eps**(1/2) times the curvature."""
    eps = float(np.finfo(dtype).eps)
    return max(1e-6, eps ** (1 / 2)) if exact_gradient else eps ** (1 / 3)


def _refuse_restrictions(bounds, constraints):
    for name, value, alternatives in (
        ("bounds", bounds, "'L-BFGS-B' or 'trust-constr'"),
        ("constraints", constraints, "'SLSQP' or 'trust-constr'"),
    ):
        is_given = value is not None and (not isinstance(value, (tuple, list, dict)) or len(value) > 0)
        if is_given:
            raise ValueError(f"{name}={value!r}: method 'nadam' takes none; method={alternatives} does")


def _warn_unused(**arguments):
    for name, value in arguments.items():
        if value is not None:
            warnings.warn(f"Method nadam does not use the argument {name}.", RuntimeWarning, stacklevel=3)


def _warn_unknown(options):
    if options:
        from scipy.optimize import OptimizeWarning

        warnings.warn(f"Unknown solver options: {', '.join(options)}", OptimizeWarning, stacklevel=4)


def _print(result):
    print(result.message)
    print(f"         Current function value: {result.fun:f}")
    print(f"         Iterations: {result.nit:d}")
    print(f"         Function evaluations: {result.nfev:d}")
    print(f"         Gradient evaluations: {result.njev:d}")
