"""The functions `minimize` and `nadam`: what they accept, and the run from x0 to the result."""

import contextlib
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from nadam_numba.hyperparameters import true_or_false
from nadam_numba.minimize import auto, rough, textbook
from nadam_numba.minimize.bounds import clip, is_point, make_bounds
from nadam_numba.minimize.callback import make_callback
from nadam_numba.minimize.objective import evaluated, make_objective, with_threads_if_slow
from nadam_numba.minimize.options import METHODS, make_hyperparameters, make_options
from nadam_numba.minimize.polish import polish
from nadam_numba.minimize.result import Stop, make_fixed_result, make_result
from nadam_numba.minimize.run import (
    callback_observer,
    first_chunk,
    history_observer,
    make_fixed_history,
    make_history,
    points_observer,
    progress_observer,
    solve,
)
from nadam_numba.minimize.warn import warn_user
from nadam_numba.progress import progress_bar

if TYPE_CHECKING:
    from scipy.optimize import OptimizeResult


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
    *,
    progress: bool = False,
) -> "OptimizeResult":
    """Minimise a function of one or more variables, with the interface of `scipy.optimize.minimize`.

    Parameters
    ----------
    fun : callable
        The objective, ``fun(x, *args) -> float``, plain Python or compiled with ``@njit``. x has shape (n,). With a
        compiled `fun` (and `jac`, if it is a function) the whole loop runs compiled, and gives the same iterates.
    x0 : array_like, shape (n,)
        Start, which is moved inside the bounds. float32 is kept; integers, bool and float16 become float64.
    args : tuple, optional
        Further arguments of `fun` and `jac`. Anything but a tuple is one argument.
    method : str or callable, optional
        "nadam"; "adam", which does not look ahead; "amsgrad", Adam divided by the root of the largest second moment so
        far; "nadamw" and "adamw", whose `weight_decay` is decoupled. Case does not matter. Anything else is handed to
        `scipy.optimize.minimize` with the arguments as they are; None is SciPy's default.
    jac : callable, True, "2-point", "3-point", "cs" or None, optional
        The gradient ``jac(x, *args) -> array, shape (n,)``, or anything that NumPy makes such an array of; True if
        `fun` returns ``(value, gradient)``; the name of a scheme of differences; None, False and 0 are the option
        `finite_diff`.
    hess, hessp, constraints : optional
        Not used; a RuntimeWarning says so.
    bounds : scipy.optimize.Bounds or sequence of (min, max), optional
        None in place of a number is no bound. The objective is evaluated within, and the result ends within. Variables
        whose bounds are equal are fixed; the `jac` of the result is NaN there if differences were taken.
    tol : float, optional
        Sets the option `gtol`, unless that is given.
    callback : callable, optional
        Called after each iteration, as ``callback(intermediate_result=result)`` if that is its only parameter, where
        ``result`` has x, fun, jac, nit, nfev, njev and learning_rate of the current iterate; else as ``callback(x)``.
        Raise StopIteration to stop, which counts even at the iteration that also converges.
    options : dict, optional
        learning_rate : "auto", float or callable, default "auto"
            "auto" needs no tuning: it takes NAdam's first step and its metric, and chooses direction and length of
            each further step from what it has seen (``docs/minimize.md``). The methods are then the same. A number or
            a schedule makes the textbook method, step by step. It is in units of x: the first steps change each
            variable by about this much. A constant rate ends in an oscillation about the minimum. A schedule is a
            function of the number of steps made (see `nadam_numba.schedules`); it is asked for some steps ahead, and
            must not depend on when it is asked; one that is compiled with ``@njit`` is evaluated by compiled code. Of
            a `reduce_on_plateau`, a copy is told the value after each step.
        beta_1, beta_2, epsilon, momentum_decay : float, default 0.9, 0.999, 1e-8, 4e-3
            See `nadam_numba.NAdam`. "auto" has no use for them.
        weight_decay : float, default 0
            Times x, added to the gradient; or, with "nadamw" and "adamw", the part of x that a step of learning rate 1
            takes away. Not with "auto". The gradient in callbacks, tests and the result is that of `fun` alone.
        maxiter : int, default 20000
            Largest number of iterations; it need not be whole. 0, or less, returns x0.
        maxfev : int, optional
            Largest number of calls of `fun`, with those that differences take.
        gtol : float
            Stop when no component of the gradient, projected onto the bounds, is larger; with a learning rate, at a
            point whose value is the best seen, to rounding. "auto" stops, besides, where the decrease that is still to
            be had is lost in the rounding of the objective, and its default, relative to the first gradient where that
            is less than 1, is next to nothing: 3.7e-11 (float32: 2.4e-5). Otherwise it is 1e-6 (float32: 3.5e-4). With
            differences it is 6.1e-6 (float32: 4.9e-3), for their own error would hide a smaller gradient.
        ftol : float, optional
            Stop when an iteration of "auto" decreases the value by no more than this times the larger of its size and
            1; with a learning rate, when the values of the last 10 iterations and the best one differ by no more.
        f_target : float, optional
            Stop when the value is no larger.
        patience : int, optional
            Stop when so many iterations have not improved the best value.
        max_time : float, optional
            Stop after so many seconds, as soon as an evaluation is over.
        finite_diff : "2-point", "3-point" or "cs", default "2-point"
            How the gradient is taken where `jac` is None.
        finite_diff_rel_step : float or array_like, optional
            Step of the differences, relative to x.
        workers : int or callable, optional
            A function like `map`, or the number of processes, that evaluates the points of differences.
        disp : bool, default False
            Print how the run ended.
        return_all : bool, default False
            Keep all iterates, with x0, in ``result.allvecs``.
        history : int, optional
            Record every so many iterations, the start and the last one in ``result.history``: a dict of the arrays nit,
            fun, gradient_norm (projected) and learning_rate (NaN at the start).
        memory : int, default 10
            Steps that "auto" remembers, each with its change of the gradient: two vectors of n numbers. 0 remembers
            the last direction alone, which takes some more iterations: for n in the millions.
        polish : bool, default False
            Hand the best point to SciPy's L-BFGS-B, and take its point if that is lower. It keeps to `maxfev` and
            `max_time`. `nit` counts none of its iterations.
    progress : bool, optional
        Show a progress bar; needs tqdm (``pip install nadam_numba[progress]``).

    Returns
    -------
    scipy.optimize.OptimizeResult
        x, fun, jac: the best finite point seen, after convergence the point that met `gtol`, with its value and
        gradient (NaN where `maxfev` left none); nit: iterations made; nfev, njev: calls of `fun` and evaluations of
        the gradient; success: whether status is 0; message; status: 0 converged, or `f_target` reached, or all
        variables fixed by bounds; 1 maxiter or maxfev reached; 2 no lower point found, where the message tells
        rounding, noise or a wrong gradient; 3 value or gradient not finite; 4 unbounded below; 5 max_time reached; 6 no
        improvement for `patience` iterations; 98 interrupted from the keyboard; 99 stopped by the callback.
        With "auto", a noisy objective (its values at one point differ) ends at the last point instead of the lowest
        value, which would be the luckiest.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong type or out of range, or `fun` or `jac` return something else than above.
    ImportError
        If `progress` is True and tqdm is not installed.

    Warns
    -----
    scipy.optimize.OptimizeWarning
        If `options` has unknown entries; with `disp`, if the run is no success.
    RuntimeWarning
        If an argument is not used; if "auto" finds the objective noisy or with kinks, and goes on at a learning rate
        that falls to 0 along half a cosine; or if it finds that the objective does not change as its gradient says.

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
    progress = true_or_false("progress", progress)
    if isinstance(method, str) and method.lower() in METHODS:
        return _minimize(fun, x0, args, method, jac, hess, hessp, bounds, constraints, tol, callback, options, progress)
    if progress:
        raise ValueError(f"progress=True with method={method!r}: only {', '.join(map(repr, METHODS))} show it")
    from scipy.optimize import minimize as scipy_minimize

    return scipy_minimize(fun, x0, args, method, jac, hess, hessp, bounds, constraints, tol, callback, options)


def nadam(
    fun: Callable,
    x0: ArrayLike,
    args: Any = (),
    jac: Callable | bool | str | None = None,
    hess: Any = None,
    hessp: Any = None,
    bounds: Any = None,
    constraints: Any = (),
    callback: Callable | None = None,
    tol: float | None = None,
    **options: Any,
) -> "OptimizeResult":
    """NAdam as a method for SciPy: ``scipy.optimize.minimize(fun, x0, method=nadam)``.

    It serves wherever SciPy takes a method that is a function: in `scipy.optimize.minimize`, in the `minimizer_kwargs`
    of `basinhopping`, `dual_annealing` and `shgo`, and as ``polish=partial(minimize, method=nadam)`` in
    `differential_evolution`. `shgo` passes none of the options on: bind them with `functools.partial`, and copy the
    attribute `lower`, which it asks for.

    Parameters
    ----------
    fun, x0, args, jac, hess, hessp, bounds, constraints, callback, tol
        See `nadam_numba.minimize`. SciPy does not tell a method which differences were asked for by `jac`: use the
        option `finite_diff`.
    **options
        Those of `nadam_numba.minimize`.

    Returns
    -------
    scipy.optimize.OptimizeResult
        See `nadam_numba.minimize`.

    Examples
    --------
    >>> import scipy.optimize
    >>> from nadam_numba import nadam
    >>> result = scipy.optimize.minimize(lambda x: (x @ x, 2.0 * x), [3.0, 4.0], jac=True, method=nadam)
    >>> bool(result.success)
    True
    """
    fun, jac = _without_memory(fun, jac)
    return _minimize(fun, x0, args, "nadam", jac, hess, hessp, bounds, constraints, tol, callback, options, False)


# shgo takes every method for a string.
nadam.lower = lambda: "_custom"


def _minimize(fun, x0, args, method, jac, hess, hessp, bounds, constraints, tol, callback, options, progress):
    begin = time.perf_counter()
    _warn_unused(method, hess, hessp, constraints)
    switches = METHODS[method.lower()]
    options = make_options(switches, options, tol)
    callback = make_callback(callback)
    args = args if isinstance(args, tuple) else (args,)
    x = start_vector(x0)
    lower, upper = make_bounds(bounds, x)
    if lower is not None:
        clip(x, lower, upper)
    bar = progress_bar(method) if progress else contextlib.nullcontext()
    deadline = begin + options.max_time
    return run_from(x, fun, jac, args, switches, options, lower, upper, deadline, callback=callback, bar=bar)


def run_from(x, fun, jac, args, switches, options, lower, upper, deadline, *, callback=None, bar=None, warn=warn_user):
    """The result of the run that starts at a point, all arguments checked.

    Parameters
    ----------
    x : ndarray, shape (n,)
        Within the bounds.
    fun, jac, args
        Of `minimize`.
    switches : Method
    options : Options
    lower, upper : ndarray, shape (n,), or None
    deadline : float
        Value of `time.perf_counter` at which the time is over.
    callback : callable, optional
        From `make_callback`.
    bar : context manager, optional
        Yields what shows the progress, or None.
    warn : callable
        Told what is wrong with the objective.
    """
    objective = make_objective(
        fun,
        gradient_kind(jac, options),
        args,
        x,
        lower=lower,
        upper=upper,
        relative_step=options.finite_diff_rel_step,
        workers=options.workers,
    )
    with contextlib.closing(objective):
        if lower is not None and x.size and is_point(lower, upper):
            return _run_fixed(objective, options, x)
        with bar or contextlib.nullcontext() as show:
            result = _run(objective, switches, options, x, lower, upper, callback, show, deadline, warn)
    if lower is not None and not objective.has_exact_gradient:
        result.jac[lower == upper] = np.nan
    if options.disp:
        _print(result)
    return result


def gradient_kind(jac, options):
    """What `make_objective` takes for `jac`: where that is nothing, the option."""
    return options.finite_diff if _is_false(jac) else jac


def _run_fixed(objective, options, x):
    """The result where the bounds leave no choice."""
    value, _ = evaluated(objective, x, np.empty_like(x), -np.inf)
    result = make_fixed_result(x, value)
    if options.return_all:
        result.allvecs = [x.copy()]
    if options.history is not None:
        result.history = make_fixed_history(value)
    if options.disp:
        print(result.message)
    return result


def _run(objective, switches, options, x, lower, upper, callback, show, deadline, warn):
    """The result of the run that starts at `x`."""
    gradient = np.full_like(x, np.nan)
    # No gradient is begun that could not be ended.
    affords_gradient = 1 + objective.values_per_gradient <= options.maxfev
    begin = time.perf_counter()
    value, has_gradient = evaluated(objective, x, gradient, np.inf if affords_gradient else -np.inf)
    chunk = first_chunk(time.perf_counter() - begin)
    objective = with_threads_if_slow(objective)

    start = x, value, gradient, has_gradient, lower, upper
    is_auto = isinstance(options.learning_rate, str)
    if is_auto:
        if options.gtol is None:
            options = options._replace(gtol=auto.default_gtol(objective, x, gradient, lower, upper))
        state, advance = auto.prepare(objective, options, *start)
    else:
        hyper = make_hyperparameters(switches, options, options.learning_rate)
        state, advance = textbook.prepare(objective, hyper, options, *start)
    if not affords_gradient and np.isfinite(value):
        state.numbers["stop"] = Stop.EVALUATION_LIMIT.code

    points, rows, observers = [x.copy()], [], []
    if options.return_all:
        observers.append(points_observer(points))
    if options.history is not None:
        observers.append(history_observer(rows, options.history))
        observers[-1].observe(state)
    if callback is not None:
        observers.append(callback_observer(callback, objective.values_per_gradient))
    if show is not None:
        observers.append(progress_observer(show))
    # Python can look at the clock between any two evaluations.
    longest_chunk = 1 if objective.compiled is None and deadline < np.inf else None
    stop = solve(state, advance, options.maxiter, deadline, observers, chunk, longest_chunk)
    if is_auto and stop is Stop.PRECISION_LOSS:
        state, stop = rough.go_on(objective, switches, options, state, lower, upper, deadline, observers, warn)

    result = make_result(state, stop, objective.values_per_gradient)
    if options.polish:
        polish(result, stop, objective, state, lower, upper, options.maxfev, deadline)
    if options.return_all:
        result.allvecs = points
    if options.history is not None:
        result.history = make_history(rows, state)
    return result


def start_vector(x0):
    """A contiguous copy of `x0` to iterate on, of dtype float32 or float64."""
    x = np.atleast_1d(np.asarray(x0))
    if x.ndim != 1:
        raise ValueError("'x0' must only have one dimension.")
    if x.dtype.kind not in "biuf" or (x.dtype.kind == "f" and x.dtype.itemsize > 8):
        raise TypeError(f"x0 has dtype {x.dtype}: it must be real, of at most double precision")
    return np.array(x, dtype=x.dtype if x.dtype == np.float32 else np.float64)


def _is_false(jac):
    """Whether SciPy takes differences for it: None, False, 0, or anything else that is false and no function."""
    return not callable(jac) and not isinstance(jac, np.ndarray) and not jac


def _without_memory(fun, jac):
    """What the user gave SciPy as ``jac=True``: SciPy hides it in an object that remembers the gradient.

    Compiled functions would be lost to the compiled loop.
    """
    is_memory = type(fun).__name__ == "MemoizeJac" and type(fun).__module__.startswith("scipy.optimize.")
    return (fun.fun, True) if is_memory and jac == fun.derivative else (fun, jac)


def _warn_unused(method, hess, hessp, constraints):
    if hess is not None:
        warn_user(f"Method {method} does not use Hessian information (hess).", RuntimeWarning)
    if hessp is not None:
        warn_user(f"Method {method} does not use Hessian-vector product information (hessp).", RuntimeWarning)
    is_empty = isinstance(constraints, tuple) and not constraints  # the default, and quickly told
    if not is_empty and np.any(constraints):
        warn_user(f"Method {method} cannot handle constraints.", RuntimeWarning)


def _print(result):
    if result.success:
        print(result.message)
    else:
        from scipy.optimize import OptimizeWarning

        warn_user(result.message, OptimizeWarning)
    print(f"         Current function value: {result.fun:f}")
    print(f"         Iterations: {result.nit:d}")
    print(f"         Function evaluations: {result.nfev:d}")
    print(f"         Gradient evaluations: {result.njev:d}")
