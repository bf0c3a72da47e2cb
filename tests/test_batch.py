"""minimize_batch: each row ends as minimize ends, whoever computes it, and fails alone."""

import concurrent.futures
import functools
import multiprocessing
import os
import signal
import threading
import time

import numpy as np
import pytest
from marks import COMPILES, WRAPS, needs_compiler
from numba import cfunc, njit
from scipy.optimize import Bounds, least_squares

from nadam_numba import best_of, minimize, minimize_batch, schedules
from nadam_numba.batch import maps
from nadam_numba.minimize.result import Stop

TIMES = np.linspace(0.0, 3.0, 16)


def misfit(parameters, data, times):
    """Half the sum of squares of a decay's residuals, and its gradient."""
    height, rate, offset = parameters
    value, gradient = 0.0, np.zeros(3, parameters.dtype)
    for i in range(times.size):
        decay = np.exp(-rate * times[i])
        residual = height * decay + offset - data[i]
        value += 0.5 * residual * residual
        gradient[0] += residual * decay
        gradient[1] -= residual * height * decay * times[i]
        gradient[2] += residual
    return value, gradient


def decay_data(count, seed=0):
    rng = np.random.default_rng(seed)
    truth = np.column_stack([rng.uniform(1, 3, count), rng.uniform(0.5, 2, count), rng.uniform(0, 0.5, count)])
    clean = truth[:, :1] * np.exp(-truth[:, 1:2] * TIMES) + truth[:, 2:]
    return clean + 0.02 * rng.standard_normal((count, TIMES.size))


# The same bits in Python and compiled.


def quartic(x, target, weight):
    value = 0.0
    for i in range(x.size):
        square = (x[i] - target[i]) * (x[i] - target[i])
        value += weight * square + square * square
    return value


def quartic_in_place(x, gradient, target, weight):
    value = 0.0
    for i in range(x.size):
        square = (x[i] - target[i]) * (x[i] - target[i])
        value += weight * square + square * square
        gradient[i] = (2.0 * weight + 4.0 * square) * (x[i] - target[i])
    return value


def quartic_gradient(x, target, weight):
    gradient = np.empty_like(x)
    for i in range(x.size):
        square = (x[i] - target[i]) * (x[i] - target[i])
        gradient[i] = (2.0 * weight + 4.0 * square) * (x[i] - target[i])
    return gradient


def quartic_pair(x, target, weight):
    value, gradient = 0.0, np.empty_like(x)
    for i in range(x.size):
        square = (x[i] - target[i]) * (x[i] - target[i])
        value += weight * square + square * square
        gradient[i] = (2.0 * weight + 4.0 * square) * (x[i] - target[i])
    return value, gradient


# Compiled once for all tests.
COMPILED = {
    function: njit(function) for function in (misfit, quartic, quartic_gradient, quartic_in_place, quartic_pair)
}
TARGETS = np.random.default_rng(1).uniform(-2.0, 2.0, (7, 3))
STARTS = np.random.default_rng(2).uniform(-2.0, 2.0, (7, 3))
FIELDS = ("x", "fun", "jac", "nit", "nfev", "njev", "status", "success", "message")


def assert_rows_are(batch, runs):
    for row, run in enumerate(runs):
        for name in FIELDS:
            expected = run.get(name, np.full_like(run.x, np.nan))  # fixed variables leave no gradient
            np.testing.assert_array_equal(batch[name][row], expected, err_msg=f"{name} of row {row}")
            if name in ("x", "jac"):
                assert batch[name].dtype == run.x.dtype


def each_by_minimize(fun, starts, targets, weight=1.5, bounds=None, **arguments):
    shared = bounds is None or np.ndim(bounds) == 2
    return [
        minimize(fun, start, args=(target, weight), bounds=bounds if shared else bounds[row], **arguments)
        for row, (start, target) in enumerate(zip(starts, targets, strict=True))
    ]


def row_bounds():
    """None, one side, both sides, a variable fixed, all of them."""
    bounds = np.tile([[-np.inf, np.inf]], (7, 3, 1))
    bounds[1, 0] = 0.0, np.inf
    bounds[2:] = -0.5, 0.75
    bounds[3, 1] = 0.25, 0.25
    bounds[4] = 0.5, 0.5
    return bounds


WAYS = {
    "pair": (quartic_pair, True),
    "in place": (quartic_in_place, True),
    "function": (quartic, quartic_gradient),
    "2-point": (quartic, None),
    "3-point": (quartic, "3-point"),
}
SHARED, OF_ROWS = [(-0.5, 0.75)] * 3, row_bounds()


# Each pair of a way and of bounds takes seconds to compile.
@pytest.mark.parametrize(
    ("way", "bounds"),
    [
        ("pair", None),
        ("pair", OF_ROWS),
        ("in place", SHARED),
        ("function", OF_ROWS),
        ("2-point", OF_ROWS),
        ("3-point", SHARED),
    ],
)
def test_each_row_ends_as_minimize_ends(way, bounds):
    fun, jac = WAYS[way]
    runs = each_by_minimize(fun, STARTS, TARGETS, jac=jac, bounds=bounds)
    for functions in ((fun, jac), (COMPILED[fun], COMPILED.get(jac, jac))):
        batch = minimize_batch(functions[0], STARTS, 1.5, TARGETS, jac=functions[1], bounds=bounds)
        assert_rows_are(batch, runs)


OPTIONS = {
    "rate": {"learning_rate": 0.05, "maxiter": 200},
    "schedule": {"learning_rate": schedules.cosine_decay(0.1, 100), "maxiter": 120},
    "plateau": {"learning_rate": schedules.reduce_on_plateau(0.1, patience=3), "maxiter": 100},
    "many steps": {"learning_rate": 1e-5, "maxiter": 17_000 if COMPILES else 170},
    "decay": {"learning_rate": 0.05, "weight_decay": 0.1, "maxiter": 50},
    "maxiter": {"maxiter": 3},
    "no iteration": {"maxiter": 0},
    "maxfev": {"maxfev": 5},
    "one evaluation": {"maxfev": 1},
    "memory": {"memory": 0},
    "gtol": {"gtol": 1e-2},
    "ftol": {"ftol": 1e-2},
    "f_target": {"f_target": 1.0},
    "patience": {"patience": 1},
}


@pytest.mark.parametrize("name", OPTIONS)
def test_options_are_those_of_minimize(name):
    options = OPTIONS[name]
    runs = each_by_minimize(quartic_pair, STARTS[:3], TARGETS[:3], jac=True, options=options)
    for fun in (quartic_pair, COMPILED[quartic_pair]):
        batch = minimize_batch(fun, STARTS[:3], 1.5, TARGETS[:3], jac=True, options=options)
        assert_rows_are(batch, runs)


@pytest.mark.parametrize("method", ["amsgrad", "ADAMW"])
def test_methods(method):
    fun, options = COMPILED[quartic_pair], {"learning_rate": 0.05, "maxiter": 50, "weight_decay": 0.01}
    batch = minimize_batch(fun, STARTS[:2], args=1.5, batch_args=TARGETS[:2], jac=True, method=method, options=options)
    assert_rows_are(
        batch, each_by_minimize(quartic_pair, STARTS[:2], TARGETS[:2], jac=True, method=method, options=options)
    )


def test_float32():
    starts, targets = STARTS.astype(np.float32), TARGETS.astype(np.float32)
    fun = COMPILED[quartic_pair]
    batch = minimize_batch(fun, starts, args=1.5, batch_args=targets, jac=True)
    assert_rows_are(batch, each_by_minimize(fun, starts, targets, jac=True))


def test_complex_steps():
    @njit
    def fun(x, target):
        return np.sum((x - target) ** 2 + (x - target) ** 4)

    batch = minimize_batch(fun, STARTS, batch_args=TARGETS, jac="cs")
    runs = [minimize(fun, start, args=(target,), jac="cs") for start, target in zip(STARTS, TARGETS, strict=True)]
    assert_rows_are(batch, runs)


def test_integers_are_taken_and_the_caller_keeps_its_arrays():
    starts = np.array([[1, 2], [3, 4]])
    batch = minimize_batch(
        njit(lambda x, a: np.sum((x - a) ** 2)), starts, batch_args=np.array([1, 2]), bounds=[(0, 3)] * 2
    )
    np.testing.assert_allclose(batch.x, [[1, 1], [2, 2]], atol=1e-5)
    assert starts.tolist() == [[1, 2], [3, 4]]


def test_fits_agree_with_least_squares():
    data = decay_data(50)
    with np.errstate(over="ignore"):
        batch = minimize_batch(COMPILED[misfit], np.tile([1.0, 1.0, 0.0], (50, 1)), TIMES, data, jac=True)
    assert batch.success.all()
    for row in range(50):
        exact = least_squares(
            lambda p, row=row: p[0] * np.exp(-p[1] * TIMES) + p[2] - data[row],
            [1.0, 1.0, 0.0],
            xtol=1e-15,
            ftol=1e-15,
            gtol=1e-15,
        )
        np.testing.assert_allclose(batch.x[row], exact.x, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("workers", [1, 2, 5, -1])
def test_any_number_of_threads_gives_the_same_bits(workers):
    data = decay_data(60)
    starts = np.tile([1.0, 1.0, 0.0], (60, 1))
    batch = minimize_batch(COMPILED[misfit], starts, TIMES, data, jac=True, workers=workers)
    reference = [minimize(COMPILED[misfit], starts[0], args=(row, TIMES), jac=True) for row in data]
    assert_rows_are(batch, reference)


# One bad row.


def sometimes_bad(x, kind):
    if kind == 1:
        return np.nan
    if kind == 2:
        raise ZeroDivisionError("no such row")
    if kind == 3 and x[0] < 0.7:
        raise KeyError("beyond")
    if kind == 4:
        return -np.exp(x[0] ** 2)
    return np.sum((x - 0.5) ** 2)


@WRAPS
def test_a_bad_row_fails_alone(wrap):
    kinds = np.array([0, 1, 0, 2, 3, 4, 0, 2])
    starts = np.ones((8, 2))
    batch = minimize_batch(wrap(sometimes_bad), starts, batch_args=kinds)
    assert batch.status.tolist() == [0, 3, 0, 7, 7, batch.status[5], 0, 7]
    assert batch.status[5] in (3, 4)
    np.testing.assert_allclose(batch.x[[0, 2, 6]], 0.5, atol=1e-6)
    assert {row: type(error) for row, error in batch.exceptions} == {
        3: ZeroDivisionError,
        4: KeyError,
        7: ZeroDivisionError,
    }
    assert "ZeroDivisionError: no such row" in batch.message[3]
    assert batch.x[3].tolist() == [1.0, 1.0]
    assert np.isnan(batch.fun[3])
    assert not batch.success[[1, 3, 4, 5, 7]].any()
    assert "no such row" in repr(batch)


@needs_compiler
def test_the_best_point_before_an_exception_is_kept():
    batch = minimize_batch(njit(sometimes_bad), np.ones((1, 2)), batch_args=np.array([3]))
    assert batch.x[0, 0] >= 0.7
    assert batch.fun[0] == sometimes_bad(batch.x[0], 3)
    assert batch.nfev[0] > 0


@WRAPS
def test_kinks_are_noticed_without_a_warning(wrap):
    @wrap
    def kinked(x, scale):
        return scale * np.sum(np.abs(x - 1.0)) + np.sum((x - 2.0) ** 2), scale * np.sign(x - 1.0) + 2.0 * (x - 2.0)

    scales, options = np.array([0.0, 5.0]), {"maxiter": 300}
    batch = minimize_batch(kinked, np.full((2, 2), 3.3), batch_args=scales, jac=True, options=options)
    with pytest.warns(RuntimeWarning, match="kinks"):
        run = minimize(kinked, [3.3, 3.3], args=(5.0,), jac=True, options=options)
    assert batch.success[0]
    assert_rows_are({name: batch[name][1:] for name in FIELDS}, [run])


# Forms of functions.


@needs_compiler
def test_functions_of_other_signatures_and_types():
    @njit("f8(f8[:], f8)")
    def declared(x, a):
        return (x[0] - a) ** 2

    @njit
    def with_default(x, a, b=1.0):
        return b * (x[0] - a) ** 2

    @njit
    def of_integers(x, a):
        return int(1000.0 * (x[0] - a) ** 2)

    a = np.array([1.0, 2.0])
    for fun in (declared, with_default):
        np.testing.assert_allclose(minimize_batch(fun, np.zeros((2, 1)), batch_args=a).x[:, 0], a, atol=1e-6)
    runs = [minimize(of_integers, [0.0], args=(entry,)) for entry in a]
    assert_rows_are(minimize_batch(of_integers, np.zeros((2, 1)), batch_args=a), runs)


@needs_compiler
def test_the_users_function_keeps_its_flags():
    @njit
    def divides(x, zero):
        return x[0] ** 2 + (1.0 / zero if x[0] > 5.0 else 0.0)

    batch = minimize_batch(divides, np.array([[1.0], [6.0]]), batch_args=np.zeros(2))
    assert batch.status.tolist() == [0, 7]
    assert isinstance(batch.exceptions[0][1], ZeroDivisionError)
    with pytest.raises(ZeroDivisionError):
        divides(np.array([6.0]), 0.0)


def test_arguments_of_many_types():
    @njit
    def fun(x, number, vector, flag, scale, shift):
        return scale * np.sum((x - number - vector) ** 2) + (shift[0] if flag else 0.0)

    numbers, vectors, flags = np.arange(4), np.arange(8.0).reshape(4, 2), np.array([True, False, True, False])
    batch = minimize_batch(fun, np.zeros((4, 2)), (2.0, (3.0, 1)), (numbers, vectors, flags))
    np.testing.assert_allclose(batch.x, numbers[:, None] + vectors, atol=1e-5)
    np.testing.assert_allclose(batch.fun, np.where(flags, 3.0, 0.0), atol=1e-8)


@needs_compiler
def test_a_function_among_the_arguments():
    @njit
    def square(x):
        return x * x

    @njit
    def fun(x, a, transform):
        return transform(x[0] - a)

    with pytest.warns() as _:  # of Numba, that such functions are an experiment
        batch = minimize_batch(fun, np.zeros((2, 1)), square, np.array([1.0, 2.0]))
    np.testing.assert_allclose(batch.x[:, 0], [1.0, 2.0], atol=1e-6)


def test_no_rows():
    batch = minimize_batch(COMPILED[quartic], np.empty((0, 3)), 1.0, np.empty((0, 3)))
    assert batch.x.shape == (0, 3)
    assert "exceptions: ()" in repr(batch)
    assert batch.fun.shape == batch.status.shape == batch.message.shape == (0,)


# Workers.


def pool_map(context, function):
    with multiprocessing.get_context(context).Pool(2) as pool:
        return function(pool.map)


def thread_map(function):
    with concurrent.futures.ThreadPoolExecutor(3) as executor:
        return function(executor.map)


@WRAPS
@pytest.mark.parametrize("by", [functools.partial(pool_map, "spawn"), thread_map], ids=["processes", "threads"])
def test_map_like_workers_give_the_same_bits(wrap, by):
    fun = COMPILED[misfit] if wrap is njit else misfit
    data, starts = decay_data(9), np.tile([1.0, 1.0, 0.0], (9, 1))
    arguments = {"args": (TIMES,), "batch_args": (data,), "jac": True, "options": {"maxiter": 8}}
    expected = minimize_batch(fun, starts, **arguments)
    batch = by(lambda mapper: minimize_batch(fun, starts, **arguments, workers=mapper))
    for name in FIELDS:
        np.testing.assert_array_equal(batch[name], expected[name])


def test_processes_for_python_functions():
    expected = minimize_batch(quartic, STARTS[:3], 1.5, TARGETS[:3])
    batch = minimize_batch(quartic, STARTS[:3], 1.5, TARGETS[:3], workers=2)
    np.testing.assert_array_equal(batch.x, expected.x)


def test_chunks_of_a_map_cover_all_rows(monkeypatch):
    monkeypatch.setattr(maps, "_CHUNKS_PER_CORE", 1)
    sizes = []

    def mapper(function, parts):
        parts = list(parts)
        sizes.extend(len(part.x0s) for part in parts)
        return map(function, parts)

    targets = np.linspace(0.0, 1.0, 300)
    batch = minimize_batch(njit(lambda x, a: (x[0] - a) ** 2), np.zeros((300, 1)), batch_args=targets, workers=mapper)
    np.testing.assert_allclose(batch.x[:, 0], targets, atol=1e-6)
    assert sum(sizes) == 300


def test_exceptions_come_back_from_a_map():
    batch = minimize_batch(
        njit(sometimes_bad), np.ones((3, 2)), batch_args=np.array([0, 0, 2]), workers=lambda f, parts: map(f, parts)
    )
    assert batch.status.tolist() == [0, 0, 7]
    assert isinstance(batch.exceptions[0][1], ZeroDivisionError)


def test_four_threads_at_once():
    data, starts = decay_data(40), np.tile([1.0, 1.0, 0.0], (40, 1))
    expected = minimize_batch(COMPILED[misfit], starts, TIMES, data, jac=True)
    with concurrent.futures.ThreadPoolExecutor(4) as executor:
        tasks = [executor.submit(minimize_batch, COMPILED[misfit], starts, TIMES, data, jac=True) for _ in range(4)]
        for task in tasks:
            np.testing.assert_array_equal(task.result().x, expected.x)


# Ends before the end.


@pytest.fixture
def interrupts():
    """Interrupts that strike outside of coverage: its lock, which each traced call takes, would stay taken for ever."""

    def interrupt(number, frame):
        if "coverage" not in frame.f_code.co_filename:
            raise KeyboardInterrupt
        signal.setitimer(signal.ITIMER_REAL, 1e-3)

    signals = signal.SIGINT, signal.SIGALRM
    before = [signal.signal(each, interrupt) for each in signals]
    yield
    for each, handler in zip(signals, before, strict=True):
        signal.signal(each, handler)


def interrupt_when(condition):
    """Press Ctrl-C once a condition holds."""

    def watch():
        while not condition():
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=watch, daemon=True).start()


@WRAPS
@pytest.mark.usefixtures("interrupts")
def test_an_interrupt_keeps_what_is_finished(wrap):
    @wrap
    def endless_from_five(x, mark):
        mark[0] += 1.0
        return (x[0] - 1.0) ** 2 if mark[1] < 5.0 else -mark[0]

    marks = np.column_stack([np.zeros(9), np.arange(9.0)])
    interrupt_when(lambda: marks[5, 0] > 10.0)
    batch = minimize_batch(
        endless_from_five,
        np.zeros((9, 1)),
        batch_args=marks,
        options={"learning_rate": 0.1, "maxiter": 1e15, "gtol": 1e-2, "max_time": 100.0},
        workers=1,
    )
    assert batch.status.tolist() == [0] * 5 + [98] * 4
    np.testing.assert_allclose(batch.x[:5, 0], 1.0, atol=0.1)
    assert batch.fun[5] < 0.0
    assert np.isnan(batch.fun[6:]).all()


@WRAPS
def test_the_end_of_the_time(wrap):
    @wrap
    def fun(x, a):
        total = 0.0
        for i in range(1000):
            total += np.sqrt(float(i))
        return (x[0] - a) ** 4 + 0.0 * total

    starts = np.broadcast_to(np.zeros(1), (100_000, 1))
    batch = minimize_batch(fun, starts, batch_args=np.ones(len(starts)), options={"max_time": 0.3})
    assert set(batch.status) <= {0, 5}
    assert (batch.status == 5).any()
    unbegun = np.isnan(batch.fun)
    assert (batch.x[unbegun] == 0.0).all()
    assert (batch.nfev[unbegun] == 0).all()
    assert set(batch.message[unbegun]) <= {Stop.TIME_LIMIT.message}


def test_an_interrupt_of_python_functions():
    calls = []

    def fun(x, a):
        calls.append(a)
        if a == 3.0 and calls.count(3.0) == 2:
            raise KeyboardInterrupt
        return (x[0] - a) ** 2

    batch = minimize_batch(fun, np.zeros((6, 1)), batch_args=np.arange(6.0))
    assert batch.status.tolist() == [0, 0, 0, 98, 98, 98]
    np.testing.assert_allclose(batch.x[:3, 0], [0.0, 1.0, 2.0], atol=1e-6)
    assert np.isnan(batch.fun[4:]).all()


def test_an_interrupt_of_a_map():
    def mapper(function, parts):
        if any(part.batch_args[0].max() > 100 for part in parts):
            raise KeyboardInterrupt
        return map(function, parts)

    batch = minimize_batch(
        lambda x, a: (x[0] - a) ** 2, np.zeros((200, 1)), batch_args=np.arange(200.0), workers=mapper
    )
    assert batch.success[:10].all()
    assert batch.status[-1] == 98


@pytest.mark.parametrize(
    "bounds", [None, Bounds(np.full((7, 3), -np.inf), np.repeat([[1.0], [np.inf]], [3, 4], axis=0))]
)
def test_progress_shows_rows(bounds, capsys):
    pytest.importorskip("tqdm")
    minimize_batch(COMPILED[quartic], STARTS, 1.5, TARGETS, bounds=bounds, progress=True)
    assert "7/7" in capsys.readouterr().err


# Errors at the door.


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"device": "tpu"}, ValueError, "device='tpu'.*'cpu', 'cuda'"),
        ({"x0s": np.zeros(3)}, ValueError, r"x0s has shape \(3,\)"),
        ({"x0s": np.zeros((2, 3), complex)}, TypeError, "x0s has dtype complex128"),
        ({"batch_args": np.zeros((6, 3))}, ValueError, r"batch_args\[0\] has 6 rows: it must have 7"),
        ({"batch_args": (TARGETS, 1.0)}, ValueError, r"batch_args\[1\] has no rows"),
        ({"method": "BFGS"}, ValueError, "method='BFGS'"),
        ({"options": {"history": 1}}, ValueError, "history=1 is for a single run"),
        ({"options": {"workers": 2}}, ValueError, "workers=2 is for a single run"),
        ({"options": {"learning_rate": -1}}, ValueError, "learning_rate=-1"),
        ({"workers": 0}, ValueError, "workers=0"),
        ({"workers": "two"}, TypeError, "workers='two'"),
        ({"progress": 1}, TypeError, "progress=1"),
        ({"jac": "4-point"}, ValueError, "jac='4-point'"),
        ({"bounds": [(0, 1)] * 2}, ValueError, "number of bounds"),
        ({"bounds": np.zeros((6, 3, 2))}, ValueError, r"must fit x0s, of shape \(7, 3\)"),
        ({"bounds": Bounds(np.ones((7, 3)), np.zeros(3))}, ValueError, "variable 0 in row 0"),
    ],
)
def test_errors_name_what_is_wrong(arguments, error, message):
    given = {"x0s": STARTS, "args": 1.5, "batch_args": TARGETS, **arguments}
    with pytest.raises(error, match=message):
        minimize_batch(COMPILED[quartic], **given)


@needs_compiler
def test_a_schedule_of_too_many_steps_is_refused():
    options = {"learning_rate": schedules.constant(0.1), "maxiter": 1e9}
    with pytest.raises(ValueError, match="maxiter=1000000000"):
        minimize_batch(COMPILED[quartic], STARTS, 1.5, TARGETS, options=options)


@needs_compiler
def test_low_level_callables():
    from scipy import LowLevelCallable

    @cfunc("f8(i4, CPointer(f8))")
    def bowl(n, x):
        total = 0.0
        for i in range(n):
            total += (x[i] - 0.25) * (x[i] - 0.25)
        return total

    fun = LowLevelCallable(bowl.ctypes, signature="double (int n, double *x)")
    assert_rows_are(minimize_batch(fun, STARTS), [minimize(fun, start) for start in STARTS])
    with pytest.raises(ValueError, match="LowLevelCallable fun takes none"):
        minimize_batch(fun, STARTS, batch_args=TARGETS)


@needs_compiler
def test_functions_that_do_not_compile_are_told():
    from numba.core.errors import TypingError

    with pytest.raises(TypingError):
        minimize_batch(njit(lambda x, a: x.nonsense), np.zeros((2, 1)), batch_args=np.zeros(2))


# Several starts.


@WRAPS
def test_best_of_finds_the_lowest(wrap):
    @wrap
    def rastrigin(x):
        return 10.0 * x.size + np.sum(x**2 - 10.0 * np.cos(2.0 * np.pi * x))

    result = best_of(rastrigin, 60, bounds=[(-5.0, 5.0)] * 2, rng=3)
    assert result.fun == result.starts.fun.min()
    assert result.x.tolist() == result.starts.x[result.row].tolist()
    assert len(result.starts.fun) == 60
    again = best_of(rastrigin, 60, bounds=Bounds([-5.0, -5.0], [5.0, 5.0]), rng=3)
    assert again.x.tolist() == result.x.tolist()


def test_best_of_given_starts():
    result = best_of(lambda x: np.nan if x[0] > 4 else (x[0] ** 2 - 1) ** 2 + 0.1 * x[0], [[5.0], [2.0], [-2.0]])
    assert result.row == 2
    assert result.x[0] < 0


@pytest.mark.parametrize("bounds", [None, [(0, None)], [(0, np.inf)]])
def test_best_of_draws_within_finite_bounds_only(bounds):
    with pytest.raises(ValueError, match="each variable needs a lower and an upper bound"):
        best_of(lambda x: x[0] ** 2, 5, bounds=bounds)
