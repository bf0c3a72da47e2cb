"""The functions `minimize_batch` and `best_of`: what they accept, and the way from the starts to the results."""

import contextlib
import operator
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from nadam_numba import jit
from nadam_numba.batch.bounds import make_batch_bounds
from nadam_numba.batch.compiled import compile_functions, count_threads, make_objective_of_rows, solve_in_threads
from nadam_numba.batch.maps import solve_by_map
from nadam_numba.batch.problem import Problem, Watch, end_early, make_outcome, select_rows
from nadam_numba.batch.serial import solve_one_by_one
from nadam_numba.hyperparameters import integer_from, one_of, true_or_false
from nadam_numba.minimize.low_level import is_low_level
from nadam_numba.minimize.options import METHODS, Options, make_options
from nadam_numba.minimize.result import STOPS, Stop, optimize_result
from nadam_numba.minimize.workers import checked_workers, make_workers
from nadam_numba.progress import rows_bar

if TYPE_CHECKING:
    from scipy.optimize import OptimizeResult

_DEVICES = ("cpu", "cuda")
# Options of `minimize` that are about the course of one run, or about processes.
_REFUSED = ("disp", "return_all", "history", "polish", "workers")
_STATUS = np.array([stop.status for stop in STOPS])
_MESSAGES = np.array([stop.message for stop in STOPS], object)


def minimize_batch(
    fun: Callable,
    x0s: ArrayLike,
    args: Any = (),
    batch_args: Any = (),
    jac: Callable | bool | str | None = None,
    bounds: Any = None,
    method: str = "nadam",
    options: Mapping | None = None,
    *,
    workers: int | Callable | None = None,
    device: str = "cpu",
    progress: bool = False,
) -> "OptimizeResult":
    """Minimise a function from many starts, or for many data: independent problems, of which a row may fail alone.

    Row i minimises ``fun(x, *[a[i] for a in batch_args], *args)`` from ``x0s[i]``, and ends, on the CPU, with the bits
    that `nadam_numba.minimize` ends with, whatever the number of threads or processes.

    Parameters
    ----------
    fun : callable or scipy.LowLevelCallable
        As in `nadam_numba.minimize`. With ``@njit`` functions all rows are solved in compiled code, in threads; the
        code around them is compiled once for all functions of the same types, and kept on disk.
    x0s : array_like, shape (B, n)
        A start in each row, which is moved inside the bounds.
    args : tuple, optional
        Further arguments of `fun` and `jac`, the same in all rows; after those of `batch_args`. Anything but a tuple
        is one argument.
    batch_args : tuple of arrays, shape (B, ...), optional
        Arguments of which each row has its own: a number of a vector, a row of a matrix, and so on. Anything but a
        tuple is one array. With Python functions, any sequences of length B.
    jac : callable, True, "2-point", "3-point", "cs" or None, optional
        As in `nadam_numba.minimize`.
    bounds : scipy.optimize.Bounds, sequence of (min, max) or array of shape (B, n, 2), optional
        Those of all rows; or of each row, where the ends of a `Bounds` are of shape (B, n).
    method : str, optional
        "nadam", "adam", "amsgrad", "nadamw" or "adamw".
    options : dict, optional
        Those of `nadam_numba.minimize`, for each row, but for disp, return_all, history, polish and workers.
        `max_time` is that of the whole batch. A schedule is asked for all of its `maxiter` rates beforehand.
    workers : int or callable, optional
        The number of threads for ``@njit`` functions, by default one for each core, and of processes for Python
        functions, by default none; -1 for as many as there are cores. Or a function like `map`, which is given chunks
        of rows: ``multiprocessing.Pool().map``, the `map` of an executor, or
        ``lambda f, parts: client.gather(client.map(f, list(parts)))`` for a client of Dask.
    device : "cpu" or "cuda", optional
        Where to compute. On a GPU each row has a thread. There `fun` and `jac` are functions of ``@njit`` or of
        ``cuda.jit(device=True)`` that make no arrays: the gradient is a tuple, or is written in place. `args` are
        numbers, arrays and tuples of them; arrays are those of NumPy, which are copied to the card. A row that raises
        has status 7 and its start for x, and no exception is known.
    progress : bool, optional
        Show a progress bar; needs tqdm (``pip install nadam_numba[progress]``).

    Returns
    -------
    scipy.optimize.OptimizeResult
        Arrays with an entry for each row: x and jac, shape (B, n), fun, nit, nfev, njev, status, success, message, as
        in the result of `nadam_numba.minimize`. Status 7 stands for a row whose objective raised an exception; its x is
        the best point before. `exceptions` are pairs of a row and its exception, 10,000 at most. After an interrupt
        from the keyboard (status 98) or the end of `max_time` (5), rows that have not begun have their start for x and
        NaN for fun.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong type or out of range.
    numba.TypingError
        If a compiled function does not compile for the arguments.
    ImportError
        If `progress` is True and tqdm is not installed.
    RuntimeError
        If `device` is "cuda" and there is no GPU that Numba can use.
    MemoryError
        If the GPU has no room for the arrays.

    Examples
    --------
    Fit a decay to each row of data.

    >>> import numpy as np
    >>> from numba import njit
    >>> from nadam_numba import minimize_batch
    >>> @njit
    ... def misfit(parameters, data, times):
    ...     height, rate = parameters
    ...     value, gradient = 0.0, np.zeros(2)
    ...     for i in range(times.size):
    ...         decay = np.exp(-rate * times[i])
    ...         residual = height * decay - data[i]
    ...         value += 0.5 * residual**2
    ...         gradient[0] += residual * decay
    ...         gradient[1] -= residual * height * decay * times[i]
    ...     return value, gradient
    >>> times = np.linspace(0.0, 2.0, 8)
    >>> rates = np.array([0.5, 1.0, 1.5])
    >>> data = 2.0 * np.exp(-rates[:, None] * times)
    >>> result = minimize_batch(misfit, np.ones((3, 2)), args=(times,), batch_args=(data,), jac=True)
    >>> result.x.round(6).tolist()
    [[2.0, 0.5], [2.0, 1.0], [2.0, 1.5]]
    """
    begin = time.perf_counter()
    one_of(_DEVICES, "device", device)
    progress = true_or_false("progress", progress)
    workers = checked_workers(workers)
    problem = _make_problem(fun, x0s, args, batch_args, jac, bounds, method, options)
    if device == "cuda":
        _check_device(problem, workers)
    outcome, exceptions = make_outcome(problem.x0s), {}
    deadline = begin + problem.options.max_time
    if len(problem.x0s):
        with rows_bar(method, len(problem.x0s)) if progress else contextlib.nullcontext(_show_nothing) as show:
            _solve(problem, workers, device, outcome, exceptions, Watch(deadline, show))
    stop = outcome.stop
    message = _MESSAGES[stop]
    for row, error in exceptions.items():
        message[row] = f"The objective raised {type(error).__name__}: {error}"
    return optimize_result(
        x=outcome.x,
        fun=outcome.fun,
        jac=outcome.jac,
        nit=outcome.nit,
        nfev=outcome.nfev,
        njev=outcome.njev,
        status=_STATUS[stop],
        success=_STATUS[stop] == 0,
        message=message,
        exceptions=tuple(sorted(exceptions.items(), key=operator.itemgetter(0))),
    )


def best_of(
    fun: Callable,
    x0s: ArrayLike | int,
    args: Any = (),
    jac: Callable | bool | str | None = None,
    bounds: Any = None,
    method: str = "nadam",
    options: Mapping | None = None,
    *,
    rng: Any = None,
    workers: int | Callable | None = None,
    device: str = "cpu",
    progress: bool = False,
) -> "OptimizeResult":
    """Minimise a function from several starts, and return the lowest result.

    Parameters
    ----------
    fun, args, jac, bounds, method, options, workers, device, progress
        Of `minimize_batch`.
    x0s : array_like, shape (B, n), or int
        The starts; or how many to draw between the bounds, evenly along each variable (a Latin hypercube).
    rng : int or numpy.random.Generator, optional
        With which starts are drawn.

    Returns
    -------
    scipy.optimize.OptimizeResult
        The fields of the row with the lowest value; row: its number; starts: the result of `minimize_batch`.

    Raises
    ------
    TypeError, ValueError
        As `minimize_batch`; or if starts are to be drawn where a bound is missing.

    Examples
    --------
    >>> import numpy as np
    >>> from numba import njit
    >>> from nadam_numba import best_of
    >>> @njit
    ... def rastrigin(x):
    ...     return 10.0 * x.size + np.sum(x**2 - 10.0 * np.cos(2.0 * np.pi * x))
    >>> result = best_of(rastrigin, 200, bounds=[(-5.0, 5.0)] * 2, rng=1)
    >>> bool(result.fun < 1e-9)
    True
    """
    if isinstance(x0s, (int, np.integer)) and not isinstance(x0s, bool):
        x0s = _draw(integer_from(1, "x0s", x0s), bounds, rng)
    settings = {"workers": workers, "device": device, "progress": progress}
    batch = minimize_batch(fun, x0s, args, (), jac, bounds, method, options, **settings)
    if not len(batch.fun):
        raise ValueError("x0s has no rows: it must have at least one")
    row = int(np.argmin(np.where(np.isnan(batch.fun), np.inf, batch.fun)))
    names = ("x", "fun", "jac", "nit", "nfev", "njev", "status", "success", "message")
    return optimize_result(**{name: batch[name][row] for name in names}, row=row, starts=batch)


def _draw(count, bounds, rng):
    """Starts between the bounds: along each variable, one in each of `count` parts."""
    size = len(bounds.lb) if hasattr(bounds, "lb") else len(bounds or ())
    lower, upper = make_batch_bounds(bounds, np.empty((1, size)))
    if lower is None or not np.isfinite(lower).all() or not np.isfinite(upper).all():
        raise ValueError(f"bounds={bounds!r}: to draw {count} starts, each variable needs a lower and an upper bound")
    rng = np.random.default_rng(rng)
    parts = rng.permuted(np.tile(np.arange(count), (lower.size, 1)), axis=1).T
    return lower + (upper - lower) * ((parts + rng.random(parts.shape)) / count)


def _make_problem(fun, x0s, args, batch_args, jac, bounds, method, options):
    """Check the arguments."""
    if not isinstance(method, str) or method.lower() not in METHODS:
        raise ValueError(f"method={method!r}: it must be one of {', '.join(map(repr, METHODS))}")
    switches = METHODS[method.lower()]
    options = make_options(switches, options)
    for name in _REFUSED:
        if getattr(options, name) != Options._field_defaults[name]:
            raise ValueError(f"options: {name}={getattr(options, name)!r} is for a single run, by minimize")
    x0s = np.asarray(x0s)
    if x0s.ndim != 2:
        raise ValueError(f"x0s has shape {x0s.shape}: it must be (B, n), a start in each row")
    if x0s.dtype.kind not in "biuf" or (x0s.dtype.kind == "f" and x0s.dtype.itemsize > 8):
        raise TypeError(f"x0s has dtype {x0s.dtype}: it must be real, of at most double precision")
    x0s = np.ascontiguousarray(x0s, dtype=x0s.dtype if x0s.dtype == np.float32 else np.float64)
    args = args if isinstance(args, tuple) else (args,)
    batch_args = batch_args if isinstance(batch_args, tuple) else (batch_args,)
    if jit.is_compiled(fun):
        batch_args = tuple(np.asarray(entries, order="C") for entries in batch_args)
    for position, entries in enumerate(batch_args):
        if np.ndim(entries) == 0 or len(entries) != len(x0s):
            raise ValueError(
                f"batch_args[{position}] has {'no' if np.ndim(entries) == 0 else len(entries)} rows: it must have "
                f"{len(x0s)}, as x0s"
            )
    if batch_args and is_low_level(fun):
        raise ValueError("batch_args: a LowLevelCallable fun takes none, but user_data")
    return Problem(fun, jac, args, batch_args, x0s, *make_batch_bounds(bounds, x0s), switches, options)


def _check_device(problem, workers):
    """Refuse what cannot be solved on a GPU."""
    # Not before they are needed, for they load CUDA; and the kernels not before what they need is there.
    from nadam_numba import gpu

    gpu.require("device='cuda'")
    from nadam_numba.batch.on_gpu import check_for_gpus

    check_for_gpus(problem)
    if workers is not None:
        raise ValueError(f"workers={workers!r}: device='cuda' takes none")


def _solve(problem, workers, device, outcome, exceptions, watch):
    """Fill the outcome; rows without any bound apart from the others, for they take other ways, with other bits."""
    stop, before = None, 0
    for rows in _groups(problem):
        part = problem if rows is None else select_rows(problem, rows)
        part_outcome = outcome if rows is None else make_outcome(part.x0s)
        part_exceptions = {}
        part_watch = watch._replace(show=lambda done, before=before: watch.show(before + done))
        stop = stop or _solve_group(part, workers, device, part_outcome, part_exceptions, part_watch)
        before += len(part.x0s)
        if rows is not None:
            for whole, piece in zip(outcome, part_outcome, strict=True):
                whole[rows] = piece
        exceptions.update((row if rows is None else int(rows[row]), error) for row, error in part_exceptions.items())
    if stop is not None or (outcome.stop == Stop.RUNNING.code).any():
        end_early(problem, outcome, stop or Stop.INTERRUPTED)


def _groups(problem):
    if problem.lower is None or problem.lower.ndim == 1:
        return [None]
    is_free = np.all((problem.lower == -np.inf) & (problem.upper == np.inf), axis=1)
    return [np.flatnonzero(is_free), np.flatnonzero(~is_free)] if is_free.any() else [None]


def _solve_group(problem, workers, device, outcome, exceptions, watch):
    objective = make_objective_of_rows(problem)
    if device == "cuda":
        from nadam_numba.batch.on_gpu import solve_on_gpu

        return solve_on_gpu(problem, objective, outcome, watch)
    if callable(workers):
        return solve_by_map(problem, workers, outcome, exceptions, watch)
    functions = compile_functions(problem, objective)
    if functions is not None:
        threads = count_threads(functions.owners[0], workers)
        return solve_in_threads(problem, objective, functions, outcome, exceptions, threads, watch)
    processes = make_workers(workers)
    if processes is None:
        return solve_one_by_one(problem, outcome, exceptions, watch)
    with contextlib.closing(processes):
        return solve_by_map(problem, processes.map, outcome, exceptions, watch)


def _show_nothing(done):
    """Show no progress."""
