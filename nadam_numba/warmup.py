"""What a program will need is compiled up front: by tiny runs of the functions themselves, which need just that."""

import functools
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numba import njit

from nadam_numba import jit
from nadam_numba.hyperparameters import one_of, true_or_false
from nadam_numba.minimize import minimize as run_minimize
from nadam_numba.optimizer import NAdam

_DTYPES = ("float64", "float32")


def _value(x):
    value = 0.0
    for i in range(x.size):
        value += (x[i] - 1.0) * (x[i] - 1.0)
    return value


def _gradient(x):
    gradient = np.empty_like(x)
    for i in range(x.size):
        gradient[i] = 2.0 * (x[i] - 1.0)
    return gradient


def _pair(x):
    value, gradient = 0.0, np.empty_like(x)
    for i in range(x.size):
        value += (x[i] - 1.0) * (x[i] - 1.0)
        gradient[i] = 2.0 * (x[i] - 1.0)
    return value, gradient


def _in_place(x, gradient):
    value = 0.0
    for i in range(x.size):
        value += (x[i] - 1.0) * (x[i] - 1.0)
        gradient[i] = 2.0 * (x[i] - 1.0)
    return value


# Made where it is needed, and once, so that each is compiled once.
_compiled = functools.cache(njit)

# The kinds of objectives: `fun` and `jac`.
_GRADIENTS = {
    "2-point": (_value, "2-point"),
    "3-point": (_value, "3-point"),
    "function": (_value, _gradient),
    "pair": (_pair, True),
    "in place": (_in_place, True),
}


def warmup(
    *,
    step: bool | Mapping[str, Any] = True,
    minimize: bool | Mapping[str, Any] = True,
    dtypes: str | Iterable[str] = _DTYPES,
    gradients: str | Iterable[str] = tuple(_GRADIENTS),
    bounds: bool = True,
    threads: bool = False,
) -> None:
    """Compile what a program will need, up front, and keep it in the cache on disk.

    Without it, each part is compiled when it is first used. Once in the cache, it serves all later processes: a first
    `NAdam.step` loads it in some milliseconds, and a first `minimize` compiles nothing but the user's function, and
    loads the rest in 0.03 s, where compiling takes 6 to 10 s (2 cores of an AMD EPYC, 2026-11-21). There, the whole
    takes 35 s, "float64" with "2-point" alone and without `bounds` 10 s; where all is in the cache, some seconds.

    Where no folder can be written, and with ``NADAM_NUMBA_CACHE=0``, it serves the present process.

    Parameters
    ----------
    step : bool or dict, optional
        Whether to compile what `NAdam.step` needs; or the keyword arguments of the `NAdam` that is to be used, as
        ``{"amsgrad": True, "global_clipnorm": 1.0}``, for what they add.
    minimize : bool or dict, optional
        Whether to compile what `minimize` needs; or its `options`, where they are to be others than the defaults, as
        ``{"learning_rate": 0.01}``.
    dtypes : str or iterable of str, optional
        "float64", "float32" or both: of the arrays of `NAdam` and of `x0`. For compiled objectives of float32, as for
        those with `args`, a part is left that is compiled for each objective.
    gradients : str or iterable of str, optional
        Where the gradients for `minimize` come from: differences, "2-point" and "3-point"; a "function" `jac`; `fun`
        that returns the "pair" of value and gradient, or that writes the gradient "in place".
    bounds : bool, optional
        Whether there will be bounds in `minimize`, at times.
    threads : bool, optional
        Whether to compile, besides, what `NAdam.step` needs for arrays that are updated in threads. That starts Numba's
        threads.

    Raises
    ------
    TypeError, ValueError
        If an argument is none of what is allowed.

    Examples
    --------
    >>> from nadam_numba import warmup
    >>> warmup(minimize=False, dtypes="float32")
    """
    arguments = _settings("step", step)
    options = _settings("minimize", minimize)
    dtypes = _choices("dtypes", dtypes, _DTYPES)
    gradients = _choices("gradients", gradients, tuple(_GRADIENTS))
    bounds, threads = true_or_false("bounds", bounds), true_or_false("threads", threads)
    for dtype in dtypes:
        if arguments is not None:
            _warm_step(dtype, arguments, threads)
        if options is not None:
            for name in gradients:
                for has_bounds in (False, True) if bounds else (False,):
                    _warm_minimize(dtype, *_GRADIENTS[name], has_bounds, options)


def _settings(name, value):
    """The settings of a part as a dict; None if it is not wanted."""
    if isinstance(value, Mapping):
        return dict(value)
    if not isinstance(value, bool):
        raise TypeError(f"{name}={value!r} is a {type(value).__name__}: it must be True, False or a dict")
    return {} if value else None


def _choices(name, values, allowed):
    values = (values,) if isinstance(values, str) else values
    if not isinstance(values, Iterable):
        raise TypeError(f"{name}={values!r} is a {type(values).__name__}: it must be some of {allowed}")
    return [one_of(allowed, f"an entry of {name}", value) for value in values]


def _warm_step(dtype, arguments, threads):
    sizes = (1, max(jit.PARALLEL_CROSSOVER.values())) if threads else (1,)
    for size in sizes:
        optimizer = NAdam([np.zeros(size, dtype), np.zeros(size, dtype)], **arguments)
        for second in (np.ones(size, dtype), None):  # by table, and the general way
            for _ in range(arguments.get("gradient_accumulation_steps") or 1):
                optimizer.step([np.ones(size, dtype), second])


def _warm_minimize(dtype, fun, jac, has_bounds, options):
    # The loops are shared by compiled objectives of float64 only; what else is shared, Python objectives need, too.
    if dtype == "float64":
        fun, jac = _compiled(fun), _compiled(jac) if callable(jac) else jac
    bounds = [(-9.0, 9.0)] * 2 if has_bounds else None
    run_minimize(fun, np.zeros(2, dtype), jac=jac, bounds=bounds, options={"maxiter": 2, **options})
