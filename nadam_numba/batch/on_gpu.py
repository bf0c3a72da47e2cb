"""Batches on a GPU: each thread minimises for one row, by the loops and kernels of the CPU, compiled for the card.

All that a run needs lies in the thread's own memory, whose size has to be known when it is compiled: there is a kernel
for each objective and number of variables.
"""

import contextlib
import functools
import numbers
import time

import numpy as np
from numba import bool_, float64, from_dtype, int64
from numba.core.errors import NumbaError

from nadam_numba import cpu, gpu, jit
from nadam_numba.batch import rows
from nadam_numba.batch.problem import Outcome, slice_rows
from nadam_numba.batch.rows import fit_differences, row_of
from nadam_numba.gpu import cuda
from nadam_numba.gpu_arrays import device
from nadam_numba.gpu_arrays.kernels import device_function
from nadam_numba.minimize import auto, auto_state, textbook, whole
from nadam_numba.minimize.auto_state import X
from nadam_numba.minimize.bounds import count_free
from nadam_numba.minimize.differences import (
    Differences,
    central_points,
    central_quotients,
    evaluate_three_point,
    evaluate_two_point,
    forward_points,
    forward_quotients,
)
from nadam_numba.minimize.frontend import gradient_kind
from nadam_numba.minimize.objective import evaluate_in_place, evaluate_pair, evaluate_separately
from nadam_numba.minimize.result import Stop
from nadam_numba.minimize.returned import real_number, resolution, store_gradient
from nadam_numba.minimize.textbook import RECENT_VALUES
from nadam_numba.minimize.whole import CHUNK, AutoPlan, TextbookPlan, fill

# Rows of one launch; between launches come the clock, the keyboard and the progress.
_ROWS_OF_A_LAUNCH = 2**18
# The most memory of a thread, which the card sets aside for each of the 100,000 and more that it runs at a time.
_MOST_BYTES = 2**15
# Threads of a block, whose place on the card is free for the next one when the slowest of them is done. In the
# simulator, a thread that leaves a function takes `cuda` away from those of its block that are still in there.
_BLOCK = 1 if gpu.SIMULATES else 64
_RUNNING = Stop.RUNNING.code


def check_for_gpus(problem):
    """Raise TypeError or ValueError if a problem is none for GPUs."""
    for name in ("fun", "jac"):
        function = getattr(problem, name)
        is_function = name == "fun" or callable(function)
        if is_function and not gpu.SIMULATES and not hasattr(function, "py_func"):
            raise TypeError(f"{name}={function!r}: device='cuda' takes functions of @njit or of cuda.jit(device=True)")
    if gradient_kind(problem.jac, problem.options) == "cs":
        raise ValueError(
            "jac='cs' (finite_diff='cs'): device='cuda' takes no complex steps, but '2-point' and '3-point'"
        )
    if problem.x0s.shape[1] == 0:
        raise ValueError(f"x0s has shape {problem.x0s.shape}: with device='cuda' there must be a variable")


def solve_on_gpu(problem, objective, outcome, watch):
    """Solve all rows of a batch.

    Parameters
    ----------
    problem : Problem
        Of which `check_for_gpus` has found nothing wrong.
    objective : Objective
        Of `compiled.make_objective_of_rows`.
    outcome : Outcome
        Is filled.
    watch : Watch

    Returns
    -------
    Stop or None
        Why it ended before all rows were done.

    Raises
    ------
    TypeError
        If the functions do not compile for a GPU.
    ValueError
        If a run takes more memory than a thread can have.
    MemoryError
        If the card has no room for the arrays.
    """
    run, state, plan, limits = whole.make_run(objective, problem.switches, problem.options, problem.x0s[0])
    kernel = _kernel_for(problem, objective, run, state, plan)
    args = tuple(_sent_argument(f"args[{k}]", value) for k, value in enumerate(problem.args))
    shared = args, _relative_step(objective), _sent_plan(plan), limits
    for begin in range(0, len(problem.x0s), _ROWS_OF_A_LAUNCH):
        if time.perf_counter() >= watch.deadline:
            return Stop.TIME_LIMIT
        part = slice_rows(problem, begin, begin + _ROWS_OF_A_LAUNCH)
        end = begin + len(part.x0s)
        try:
            _solve_part(kernel, part, shared, Outcome(*(array[begin:end] for array in outcome)))
        except KeyboardInterrupt:
            return Stop.INTERRUPTED
        watch.show(end)
    return None


def _solve_part(kernel, problem, shared, outcome):
    """Solve the rows of one launch."""
    bounds = np.empty((2, 1)) if problem.lower is None else np.stack([problem.lower, problem.upper])
    batch_args = tuple(_sent(f"batch_args[{k}]", entries) for k, entries in enumerate(problem.batch_args))
    results = Outcome(*(_sent(name, array) for name, array in zip(Outcome._fields, outcome, strict=True)))
    arguments = _sent("x0s", problem.x0s), _sent("bounds", bounds), batch_args, *shared, results
    try:
        device.launch(kernel, len(problem.x0s), device.stream(0, 0), *arguments, block=_BLOCK)
    except (NumbaError, KeyError) as error:  # which numba-cuda lets through where NumPy has a function that it has not
        raise TypeError(
            "fun or jac does not compile for a GPU, where it can make no arrays: it may return a tuple for a gradient, "
            f"or write the gradient, as fun(x, gradient, *args) with jac=True. {error}"
        ) from error
    fetched = [device.fetched(result) for result in results]  # all, or none after an interrupt
    for array, result in zip(outcome, fetched, strict=True):
        array[...] = result
    # On a card, what raises returns without a trace.
    has_raised = outcome.stop == _RUNNING
    outcome.x[has_raised] = problem.x0s[has_raised]
    outcome.stop[has_raised] = Stop.RAISED.code


def _sent(name, values):
    """A copy of an array on the card."""
    values = np.ascontiguousarray(values)
    return device.sent(name, values.reshape(-1), 0)[: values.size].reshape(values.shape)


def _sent_argument(name, value):
    """An argument as kernels take it: numbers, arrays, and tuples of them."""
    if isinstance(value, tuple):
        return tuple(_sent_argument(f"{name}[{k}]", entry) for k, entry in enumerate(value))
    if isinstance(value, np.ndarray):
        return _sent(name, value) if value.ndim else value[()]
    if isinstance(value, (numbers.Number, np.bool_)) or hasattr(value, "__cuda_array_interface__"):
        return value
    raise TypeError(
        f"{name}={value!r} is a {type(value).__name__}: device='cuda' takes numbers, arrays, tuples of them"
    )


def _relative_step(objective):
    steps = objective.jac.relative_step if isinstance(objective.jac, Differences) else np.empty(1)
    return _sent("finite_diff_rel_step", steps)


def _sent_plan(plan):
    """What kernels can take of a plan: None, and what decides on types, is bound to them."""
    if isinstance(plan, AutoPlan):
        return ()
    beta_1, beta_2, momentum_decay, nesterov = plan.hyper
    hyper = float(beta_1), float(beta_2), float(momentum_decay), int(nesterov)
    return _sent("learning_rate", plan.learning_rates), hyper, tuple(map(float, plan.rule))


# How kernels are made.


def _kernel_for(problem, objective, run, state, plan):
    """The kernel for a problem, to be launched with the arguments of `_solve_rows`."""
    size = problem.x0s.shape[1]
    is_auto = run is whole.run_auto
    # The state, and what the functions below keep of bounds, differences, and the point that the objective gets.
    need = state.vectors.nbytes + state.numbers.nbytes + (state.pairs.nbytes if is_auto else state.recent_values.nbytes)
    need += size * (5 * problem.x0s.itemsize + 6 * 8 + 1)
    if need > _MOST_BYTES:
        raise ValueError(
            f"x0s has shape {problem.x0s.shape}: with device='cuda', a run of {size} variables takes {need} bytes of a "
            f"thread's memory, which has {_MOST_BYTES}; device='cpu' has no such limit"
        )
    jac = problem.jac if callable(problem.jac) else None
    bounds = None if problem.lower is None else problem.lower.ndim
    way = _for_kernels(problem.fun), _for_kernels(jac), objective.evaluate, size, problem.x0s.dtype, bounds
    if is_auto:
        return _kernel_of_auto(*way, state.pairs.shape[1])
    return _kernel_of_textbook(*way, plan.amsgrad, plan.is_constant, plan.plateau_rule, plan.blank.tobytes())


def _for_kernels(function):
    """The user's function as it is now; for the simulator, whose arrays are Python's, as it was uncompiled."""
    if gpu.SIMULATES:
        return getattr(function, "py_func", function)
    return jit.present(function) if jit.is_compiled(function) else function


@functools.lru_cache(64)
def _kernel_of_auto(fun, jac, way, size, dtype, bounds, memory):
    constants = {"_size": size, "_number": from_dtype(dtype)}
    evaluate = device_function(_EVALUATE[way], _fun=fun, _jac=jac, **constants)
    iterate = device_function(auto.iterate, **_BARE, _evaluate=evaluate)
    run = device_function(whole.run_auto, make_room=_no_room, _iterate=iterate, _evaluate=evaluate)
    solve = device_function(
        _solve_auto,
        _run=device_function(whole.run_auto_alone, make_room=_no_room, _run=run, _evaluate=evaluate),
        _vectors=(auto_state.FIRST_PAIR + 2 * memory, size),
        _pairs=(2, max(memory, 1)),
        _memory=memory,
        _blank=np.zeros(1, auto_state.NUMBERS),
        _record=from_dtype(auto_state.NUMBERS),
        **constants,
    )
    return _kernel_that(solve, way, bounds, constants)


@functools.lru_cache(64)
def _kernel_of_textbook(fun, jac, way, size, dtype, bounds, amsgrad, is_constant, plateau_rule, blank):
    constants = {"_size": size, "_number": from_dtype(dtype)}
    evaluate = device_function(_EVALUATE[way], _fun=fun, _jac=jac, **constants)
    update = device_function(cpu._update, prange=range, **cpu.ORDERS["native"])
    move = device_function(textbook._make_move, _update=update)
    iterate = device_function(textbook.iterate, **_BARE, _evaluate=evaluate, _move=move)
    solve = device_function(
        _solve_textbook,
        _run=device_function(whole.run_textbook, make_room=_no_room, _iterate=iterate, _evaluate=evaluate),
        _vectors=(textbook.ROWS, size),
        _blank=np.frombuffer(blank, textbook.NUMBERS),
        _record=from_dtype(textbook.NUMBERS),
        _amsgrad=amsgrad,
        _is_constant=is_constant,
        _plateau_rule=plateau_rule,
        **constants,
    )
    return _kernel_that(solve, way, bounds, constants)


def _kernel_that(solve, way, bounds, constants):
    fit = _fit_differences if way in (evaluate_two_point, evaluate_three_point) else _fit_exact
    take_bounds = device_function(_TAKE_BOUNDS[bounds])
    solve = _unless_it_raises(solve) if gpu.SIMULATES else solve
    fit = device_function(fit, **constants)
    return cuda.jit(jit.bind(_solve_rows, _solve=solve, _fit=fit, _take_bounds=take_bounds, **constants))


def _unless_it_raises(solve):
    """In the simulator exceptions would end the whole batch; on a card, they end their thread."""

    def solve_or_return(*arguments):
        with contextlib.suppress(Exception):
            solve(*arguments)

    return solve_or_return


# The kernels, and what is bound to them: how many variables there are, and of what type; the user's functions, which
# kernels cannot be given as arguments; and what the options decide.

_size, _number, _record, _vectors, _pairs, _memory, _blank = 1, float64, None, (), (), 0, None
_fun = _jac = _evaluate = _run = _solve = _fit = _take_bounds = None
_amsgrad, _is_constant, _plateau_rule = None, True, None


def _solve_rows(x0s, bounds, batch_args, args, relative_step, plan, limits, outcome):
    """Minimise for the row that has the number of the thread.

    Parameters
    ----------
    x0s : array, shape (B, n)
    bounds : array, shape (2, n) or (2, B, n); any where there are none
    batch_args : tuple of arrays, shape (B, ...)
    args : tuple
    relative_step : array, shape (n,)
        Of differences.
    plan : tuple
        From `_sent_plan`.
    limits : whole.Limits
    outcome : Outcome
        Is filled.
    """
    row = cuda.grid(1)
    if row >= x0s.shape[0]:
        return
    lower_room, upper_room = cuda.local.array(_size, _number), cuda.local.array(_size, _number)
    lower, upper = _take_bounds(bounds, row, lower_room, upper_room)
    room = Differences(
        cuda.local.array(_size, float64),
        cuda.local.array(_size, float64),
        cuda.local.array(_size, float64),
        cuda.local.array(_size, int64),
    )
    jac, free = _fit(room, relative_step, lower, upper)
    _solve(x0s[row], row, jac, row_of(batch_args, row) + args, plan, lower, upper, free, limits, outcome)


def _solve_auto(x0, row, jac, args, plan, lower, upper, free, limits, outcome):
    """Minimise by the policy of "auto"."""
    vectors, pairs = cuda.local.array(_vectors, _number), cuda.local.array(_pairs, float64)
    numbers, blank = cuda.local.array(1, _record), cuda.const.array_like(_blank)
    gtol, signal = cuda.local.array(1, float64), cuda.local.array(1, int64)
    copy_elements(vectors[X], x0)
    signal[0] = _RUNNING
    state = _auto_state_in(vectors, pairs[:, :_memory], numbers)
    stop = _run(None, jac, args, state, AutoPlan(blank, gtol), lower, upper, free, limits, signal)
    _store_end(outcome, row, state, lower, upper, free, limits, stop)


def _solve_textbook(x0, row, jac, args, plan, lower, upper, free, limits, outcome):
    """Minimise at given learning rates."""
    vectors, recent_values = cuda.local.array(_vectors, _number), cuda.local.array(RECENT_VALUES, float64)
    numbers, blank = cuda.local.array(1, _record), cuda.const.array_like(_blank)
    weights, signal = cuda.local.array((CHUNK, 4), float64), cuda.local.array(1, int64)
    copy_elements(vectors[X], x0)
    signal[0] = _RUNNING
    state = _textbook_state_in(vectors, recent_values, numbers)
    learning_rates, hyper, rule = plan
    whole_plan = TextbookPlan(
        blank,
        learning_rates,
        weights[:0],
        weights,
        hyper,
        _is_constant,
        _amsgrad,
        textbook.Rule(rule[0], rule[1], rule[2], rule[3], rule[4]),
        _plateau_rule,
    )
    stop = _run(None, jac, args, state, whole_plan, lower, upper, free, limits, signal)
    _store_end(outcome, row, state, lower, upper, free, limits, stop)


def _store_end(outcome, row, state, lower, upper, free, limits, stop):
    _store(outcome, row, state, limits.values_per_variable * free, stop)
    if limits.values_per_variable > 0:
        _hide_fixed(outcome, row, lower, upper)


def _copy_elements(to, array):
    for i in range(to.size):
        to[i] = array[i]


def _itself(array):
    """What kernels do without: their arrays count no references."""
    return array


def _no_room(x):
    return 0


def _never(room):
    return False


# Bounds, as the thread keeps them.


def _take_none(bounds, row, lower, upper):
    return None, None


def _take_those_of_all(bounds, row, lower, upper):
    for i in range(lower.size):
        lower[i], upper[i] = bounds[0, i], bounds[1, i]
    return lower, upper


def _take_those_of_row(bounds, row, lower, upper):
    for i in range(lower.size):
        lower[i], upper[i] = bounds[0, row, i], bounds[1, row, i]
    return lower, upper


_TAKE_BOUNDS = {None: _take_none, 1: _take_those_of_all, 2: _take_those_of_row}


# What stands for the gradient's function, and how many variables are free.


def _fit_exact(room, relative_step, lower, upper):
    return None, count_free(lower, upper, _size)


def _fit_differences(room, relative_step, lower, upper):
    for i in range(_size):
        room.lower[i], room.upper[i], room.relative_step[i] = -np.inf, np.inf, relative_step[i]
    return fit_differences(room, lower, upper, _size)


# Ways to evaluate an objective, as in `minimize.objective` and `minimize.differences`, in the memory of the thread.


def _evaluate_pair(fun, jac, args, x, gradient, limit, room):
    point = cuda.local.array(_size, _number)
    copy_elements(point, x)
    pair = _fun(point, *args)
    _store_gradient(gradient, pair[1])
    return real_number(pair[0]), True


def _evaluate_in_place(fun, jac, args, x, gradient, limit, room):
    point = cuda.local.array(_size, _number)
    copy_elements(point, x)
    fill(gradient, 0.0)
    return real_number(_fun(point, gradient, *args)), True


def _evaluate_separately(fun, jac, args, x, gradient, limit, room):
    point = cuda.local.array(_size, _number)
    copy_elements(point, x)
    value = real_number(_fun(point, *args))
    if not value <= limit:
        return value, False
    copy_elements(point, x)
    _store_gradient(gradient, _jac(point, *args))
    return value, True


def _evaluate_two_point(fun, jac, args, x, gradient, limit, room):
    point = cuda.local.array(_size, _number)
    points, values = cuda.local.array((1, _size), _number), cuda.local.array((1, _size), float64)
    copy_elements(point, x)
    returned = _fun(point, *args)
    value = real_number(returned)
    if not value <= limit:
        return value, False
    default = resolution(returned, x) ** (1 / 2)
    forward_points(points, x, jac.lower, jac.upper, jac.relative_step, jac.free, default)
    for k in range(jac.free.size):
        i = jac.free[k]
        copy_elements(point, x)
        point[i] = points[0, i]
        values[0, i] = real_number(_fun(point, *args))
    forward_quotients(gradient, x, points, values, value, jac.free)
    return value, True


def _evaluate_three_point(fun, jac, args, x, gradient, limit, room):
    point, is_one_sided = cuda.local.array(_size, _number), cuda.local.array(_size, bool_)
    points, values = cuda.local.array((2, _size), _number), cuda.local.array((2, _size), float64)
    copy_elements(point, x)
    returned = _fun(point, *args)
    value = real_number(returned)
    if not value <= limit:
        return value, False
    default = resolution(returned, x) ** (1 / 3)
    central_points(points, is_one_sided, x, jac.lower, jac.upper, jac.relative_step, jac.free, default)
    for k in range(2 * jac.free.size):
        i = jac.free[k // 2]
        copy_elements(point, x)
        point[i] = points[k % 2, i]
        values[k % 2, i] = real_number(_fun(point, *args))
    central_quotients(gradient, x, points, values, value, is_one_sided, jac.free)
    return value, True


def _store_simulated(gradient, returned):
    """As compiled code does, which takes numbers and tuples, too."""
    store_gradient(gradient, np.atleast_1d(np.asarray(returned)))


_EVALUATE = {
    evaluate_pair: _evaluate_pair,
    evaluate_in_place: _evaluate_in_place,
    evaluate_separately: _evaluate_separately,
    evaluate_two_point: _evaluate_two_point,
    evaluate_three_point: _evaluate_three_point,
}

_store_gradient = _store_simulated if gpu.SIMULATES else store_gradient
copy_elements, _itself = device_function(_copy_elements), device_function(_itself)
_no_room, _never = device_function(_no_room), device_function(_never)
# Arrays on a card have no count of references: each evaluation has room of its own for what it hands over.
_BARE = {"borrowed": _itself, "make_room": _no_room, "is_kept": _never}
# Not those for the CPU: the arrays of the simulator are none for compiled code.
_store, _hide_fixed = device_function(rows._store), device_function(rows._hide_fixed)
_store_end = device_function(_store_end)
_auto_state_in, _textbook_state_in = device_function(auto_state.state_in), device_function(textbook.state_in)
