"""Difference gradients: SciPy's, inside bounds, counted, and the same bits whoever evaluates the points."""

import functools
import math
import multiprocessing.dummy
import operator

import numba
import numpy as np
import pytest
from marks import needs_compiler
from numba import njit
from scipy.optimize._numdiff import approx_derivative

from nadam_numba import jit, minimize
from nadam_numba.minimize import objective as objective_module
from nadam_numba.minimize.differences import DifferencesInThreads
from nadam_numba.minimize.objective import make_objective, with_threads_if_slow

SCHEMES = ["2-point", "3-point", "cs"]
START = np.array([-1.2, 30.0, 0.0, 1e-5, -1e6, 0.3])


def smooth(x, weight=1.0):
    total = weight * x[0] * x[1]
    for i in range(x.size):
        total = total + np.sin(x[i]) * (1.0 + i) + 0.01 * x[i] * x[i]
    return total


compiled_smooth = njit(smooth)


def room(x):
    """As of `lent.make_room` in compiled code."""
    return np.empty_like(x), np.empty_like(x)


def gradients(objective, x):
    """The gradients from Python and, where there is one, from the compiled function."""
    found = []
    for evaluate, fun, jac, args in filter(None, (objective[:4], objective.compiled)):
        gradient = np.full_like(x, np.nan)
        value, has_gradient = evaluate(fun, jac, args, x, gradient, np.inf, room(x))
        assert type(value) is float
        assert has_gradient
        found.append(gradient)
    return found


def scipys(x, scheme, **options):
    return approx_derivative(lambda x: smooth(x, 2.0), x, method=scheme, **options)


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("relative_step", [None, 1e-4, 0.0, [1e-3, 1e-9, 1.0, 1e-20, 0.0, 1e-2]], ids=str)
def test_gradients_are_scipys(scheme, relative_step):
    expected = scipys(START, scheme, rel_step=None if relative_step is None else np.array(relative_step))
    for fun in (smooth, compiled_smooth):
        objective = make_objective(fun, scheme, (2.0,), START, relative_step=relative_step)
        for gradient in gradients(objective, START):
            np.testing.assert_allclose(gradient, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_python_and_the_compiled_gradient_are_the_same(scheme):
    for x in (START, START.clip(-30.0, 30.0).astype(np.float32)):
        found = gradients(make_objective(compiled_smooth, scheme, (2.0,), x), x)
        for gradient in found[1:]:
            np.testing.assert_array_equal(gradient, found[0], strict=True)


def bounds_about(x, generator):
    """Bounds as near as the steps, or nearer, or on x, on either side."""
    distances = np.array([0.0, 1e-12, 1e-9, 1e-7, 1e-5, 1.0, np.inf])
    below, above = generator.choice(distances, (2, x.size)) * np.maximum(1.0, np.abs(x))
    above[(below == 0.0) & (above == 0.0)] = 1e-6
    return x - below, x + above


@pytest.mark.parametrize("scheme", SCHEMES)
def test_gradients_inside_bounds_are_scipys(scheme):
    generator = np.random.default_rng(0)
    for relative_step in (None, 1e-7, 1e-4):
        for _ in range(40):
            lower, upper = bounds_about(START, generator)
            points = []

            def watched(x, weight, points=points):
                points.append(x)
                return smooth(x, weight)

            bounds = {"lower": lower, "upper": upper, "relative_step": relative_step}
            (gradient,) = gradients(make_objective(watched, scheme, (2.0,), START, **bounds), START)
            assert all((lower <= point.real).all() and (point.real <= upper).all() for point in points)
            expected_points = []

            def expected_fun(x, points=expected_points):
                points.append(x.copy())
                return smooth(x, 2.0)

            options = {} if scheme == "cs" else {"bounds": (lower, upper)}
            expected = approx_derivative(expected_fun, START, method=scheme, rel_step=relative_step, **options)
            # A bound is kept to the last bit, which moves a point by a rounding of x at most.
            np.testing.assert_allclose(points, expected_points, rtol=3e-16)
            moved = [
                i for i in range(START.size) if any(p[i] != q[i] for p, q in zip(points, expected_points, strict=True))
            ]
            same = np.setdiff1d(np.arange(START.size), moved)
            np.testing.assert_allclose(gradient[same], expected[same], rtol=1e-12, atol=1e-12)


def test_compiled_gradients_inside_bounds():
    generator = np.random.default_rng(1)
    for scheme in SCHEMES:
        for _ in range(20):
            lower, upper = bounds_about(START, generator)
            found = gradients(make_objective(compiled_smooth, scheme, (2.0,), START, lower=lower, upper=upper), START)
            for gradient in found[1:]:
                np.testing.assert_array_equal(gradient, found[0])


@pytest.mark.parametrize("scheme", SCHEMES)
def test_fixed_variables_take_no_evaluations(scheme):
    calls = []

    def counted(x):
        calls.append(x)
        return smooth(x)

    start = START.clip(-3.0, 3.0)
    lower, upper = np.full(6, -np.inf), np.full(6, np.inf)
    lower[[1, 4]] = upper[[1, 4]] = start[[1, 4]]
    objective = make_objective(counted, scheme, (), start, lower=lower, upper=upper)
    (gradient,) = gradients(objective, start)
    assert gradient[1] == gradient[4] == 0.0
    assert (gradient[[0, 2, 3, 5]] != 0.0).all()
    assert objective.values_per_gradient == (8 if scheme == "3-point" else 4)
    assert len(calls) == 1 + objective.values_per_gradient
    assert all((point[[1, 4]] == start[[1, 4]]).all() for point in calls)
    assert len({point.tobytes() for point in calls}) == len(calls)
    everything_fixed = make_objective(counted, scheme, (), start, lower=start, upper=start)
    assert everything_fixed.values_per_gradient == 0
    np.testing.assert_array_equal(gradients(everything_fixed, start)[0], np.zeros(6))


def test_no_variables():
    for scheme in SCHEMES:
        objective = make_objective(lambda x: 7.0, scheme, (), np.zeros(0))
        assert objective.values_per_gradient == 0
        assert gradients(objective, np.zeros(0))[0].shape == (0,)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_float32(scheme):
    x = np.array([-1.2, 3.0, 0.0, 1e-5, -2.0, 0.3], np.float32)
    exact = approx_derivative(lambda x: smooth(x, 2.0), x.astype(np.float64), method="cs")
    seen = set()

    def watched(x, weight):
        seen.add(x.dtype)
        return smooth(x, weight)

    for fun in (watched, compiled_smooth):
        for gradient in gradients(make_objective(fun, scheme, (2.0,), x), x):
            assert gradient.dtype == np.float32
            np.testing.assert_allclose(gradient, exact, rtol=0.01, atol=0.01)
    assert seen == {np.dtype(np.float32), *([np.dtype(np.complex128)] if scheme == "cs" else [])}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("scheme", ["2-point", "3-point"])
def test_values_known_to_single_precision_take_steps_of_single_precision(scheme, dtype):
    def coarse(x):
        return np.float32(x[0] * x[0] + 3.0 * x[1])

    x = np.array([2.0, -1.0], dtype)
    expected = approx_derivative(coarse, x, method=scheme)
    for fun in (coarse, njit(coarse)):
        for gradient in gradients(make_objective(fun, scheme, (), x), x):
            np.testing.assert_allclose(gradient, [4.0, 3.0], rtol=0.01)
            np.testing.assert_allclose(gradient, expected, rtol=1e-2 if dtype == np.float32 else 1e-6)


def test_values_that_are_not_finite():
    def wall(x):
        return np.inf if x[0] > 1.0 else x[0]

    for scheme in ("2-point", "3-point"):
        for fun in (wall, njit(wall)):
            for gradient in gradients(make_objective(fun, scheme, (), np.ones(1)), np.ones(1)):
                assert gradient[0] == np.inf


@pytest.mark.parametrize("scheme", SCHEMES)
def test_no_gradient_above_the_limit(scheme):
    calls = []

    def counted(x):
        calls.append(x)
        return x[0]

    for fun in (counted, njit(lambda x: x[0])):
        objective = make_objective(fun, scheme, (), np.ones(1))
        for evaluate, function, jac, args in filter(None, (objective[:4], objective.compiled)):
            gradient = np.full(1, 5.0)
            assert evaluate(function, jac, args, np.ones(1), gradient, 0.5, room(gradient)) == (1.0, False)
            assert evaluate(function, jac, args, np.full(1, np.nan), gradient, np.inf, room(gradient))[1] is False
            assert gradient[0] == 5.0
    assert len(calls) == 2


# Complex steps


@pytest.mark.filterwarnings("ignore:Casting complex values")
@pytest.mark.parametrize(
    "fun",
    [lambda x: abs(x[0]), lambda x: math.sin(x[0]), lambda x: float(x[0]), lambda x: x[0].real],
    ids=["abs", "math.sin", "float", "real"],
)
def test_complex_steps_of_functions_that_are_not_complex(fun):
    x = np.ones(1)
    objective = make_objective(fun, "cs", (), x)
    with pytest.raises(TypeError, match=r"complex x.*finite_diff='cs'"):
        gradients(objective, x)


@needs_compiler
@pytest.mark.parametrize("fun", [lambda x: abs(x[0]), lambda x: math.floor(x[0])], ids=["abs", "floor"])
def test_complex_steps_of_compiled_functions_that_are_not_complex(fun):
    with pytest.raises(TypeError, match=r"complex x.*finite_diff='cs'"):
        make_objective(njit(fun), "cs", (), np.ones(1))


def test_complex_steps_are_exact():
    def fun(x):
        return np.exp(x[0]) / np.sqrt(np.sin(x[0]) ** 3 + np.cos(x[0]) ** 3)

    x = np.array([1.5])
    for function in (fun, njit(fun)):
        for gradient in gradients(make_objective(function, "cs", (), x, relative_step=1e-20), x):
            assert gradient[0] == pytest.approx(4.05342789389862, rel=1e-13)


# Workers


def by_list(function, points):
    return [function(point) for point in points]


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("fun", [smooth, compiled_smooth], ids=["python", "compiled"])
def test_map_like_workers_give_the_same_bits(fun, scheme):
    (serial, *_) = gradients(make_objective(fun, scheme, (2.0,), START), START)
    with multiprocessing.dummy.Pool(2) as pool:
        for workers in (map, by_list, pool.map, pool.imap):
            objective = make_objective(fun, scheme, (2.0,), START, workers=workers)
            assert objective.compiled is None
            np.testing.assert_array_equal(gradients(objective, START), [serial])


def test_processes_give_the_same_bits():
    objective = make_objective(smooth, "3-point", (2.0,), START, workers=2)
    try:
        for x in (START, START + 1.0):
            np.testing.assert_array_equal(
                gradients(objective, x)[0], gradients(make_objective(smooth, "3-point", (2.0,), x), x)[0]
            )
        with pytest.raises(IndexError):
            gradients(objective, np.ones(1))
    finally:
        objective.close()
    with pytest.raises(ValueError, match="Pool not running"):
        gradients(objective, START)


def test_one_worker_is_no_pool():
    objective = make_objective(smooth, None, (), START, workers=1)
    objective.close()
    assert len(gradients(objective, START)) == 1


@pytest.mark.parametrize(
    ("workers", "error", "message"),
    [
        (0, ValueError, "workers=0"),
        (-2, ValueError, "workers=-2"),
        (1.5, TypeError, "workers=1.5"),
        ("all", TypeError, "workers='all'"),
    ],
)
def test_bad_workers(workers, error, message):
    with pytest.raises(error, match=message):
        make_objective(smooth, None, (), START, workers=workers)


def test_workers_unlike_map():
    with pytest.raises(TypeError, match=r"must be of the form f\(func, iterable\)"):
        gradients(make_objective(smooth, None, (), START, workers=lambda function: []), START)
    with pytest.raises(ValueError, match="returned 1 results for 6 points"):
        gradients(make_objective(smooth, None, (), START, workers=lambda function, points: [1.0]), START)


@pytest.mark.parametrize(
    ("relative_step", "error"), [("small", TypeError), (1j, TypeError), (np.nan, ValueError), ([1e-3] * 2, ValueError)]
)
def test_bad_relative_steps(relative_step, error):
    with pytest.raises(error, match="finite_diff_rel_step="):
        make_objective(smooth, None, (), START, relative_step=relative_step)


# Threads


@needs_compiler
@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("workers", [2, -1])
def test_threads_give_the_same_bits(scheme, workers):
    threads = numba.get_num_threads()
    serial = make_objective(compiled_smooth, scheme, (2.0,), START)
    threaded = make_objective(compiled_smooth, scheme, (2.0,), START, workers=workers)
    if numba.config.NUMBA_NUM_THREADS > 1:
        assert isinstance(threaded.compiled[2], DifferencesInThreads)
    found = [*gradients(serial, START), *gradients(threaded, START)]
    assert len(found) == 4
    for gradient in found[1:]:
        np.testing.assert_array_equal(gradient, found[0])
    assert numba.get_num_threads() == threads


@needs_compiler
@pytest.mark.skipif(numba.config.NUMBA_NUM_THREADS < 2, reason="a single core")
def test_points_are_evaluated_in_several_threads():
    @njit
    def fun(x, threads):
        threads[np.argmax(x)] = numba.get_thread_id()
        return x.sum()

    seen = np.full(4, -1)
    objective = make_objective(fun, None, (seen,), np.zeros(4), workers=2)
    evaluate, *functions = objective.compiled
    evaluate(*functions, np.zeros(4), np.zeros(4), np.inf, room(np.zeros(4)))
    assert set(seen.tolist()) == {0, 1}


@needs_compiler
@pytest.mark.parametrize("scheme", ["2-point", "3-point"])
def test_exceptions_in_threads_reach_the_caller(scheme):
    @njit
    def fun(x):
        if x[2] != 1.0:
            raise KeyError("mine")
        return 1.0 / math.floor(x[3])

    threads = numba.get_num_threads()
    for x, error in ((np.ones(4), KeyError), (np.array([1.0, 1.0, 1.0, 0.0]), ZeroDivisionError)):
        objective = make_objective(fun, scheme, (), x, workers=2)
        evaluate, *functions = objective.compiled
        with pytest.raises(error):
            evaluate(*functions, x, np.zeros(4), np.inf, room(x))
        assert numba.get_num_threads() == threads


@needs_compiler
def test_flags_of_threads_do_not_leak():
    @njit
    def fun(x, divisor):
        return 1.0 / divisor + x[0]

    objective = make_objective(fun, None, (2.0,), np.ones(3), workers=2)
    evaluate, *functions = objective.compiled
    evaluate(*functions, np.ones(3), np.zeros(3), np.inf, room(np.ones(3)))
    with pytest.raises(ZeroDivisionError):
        fun(np.ones(3), 0.0)


@needs_compiler
def test_slow_gradients_go_to_threads_by_themselves(monkeypatch):
    monkeypatch.setattr(jit, "threads_for_user_code", lambda function, requested=None: 2)
    objective = make_objective(compiled_smooth, None, (2.0,), START)
    assert with_threads_if_slow(objective) is objective  # nothing is known yet
    gradients(objective._replace(compiled=None), START)
    fast = with_threads_if_slow(objective)
    assert not isinstance(fast.compiled[2], DifferencesInThreads)
    monkeypatch.setattr(objective_module, "_SLOW_GRADIENT_SECONDS", 0.0)
    slow = with_threads_if_slow(objective)
    assert isinstance(slow.compiled[2], DifferencesInThreads)
    found = gradients(slow, START)
    np.testing.assert_array_equal(found[1], found[0])
    for asked in (
        make_objective(compiled_smooth, None, (2.0,), START, workers=1),
        make_objective(smooth, None, (), START),
    ):
        gradients(asked, START)
        assert with_threads_if_slow(asked) is asked


@needs_compiler
def test_threads_only_where_they_are_safe(monkeypatch):
    @njit(parallel=True)
    def parallel(x):
        total = 0.0
        for i in numba.prange(x.size):
            total += x[i]
        return total

    cores = numba.config.NUMBA_NUM_THREADS
    available = numba.get_num_threads()
    expected = {  # by default, for a function with threads of its own, on demand
        None: (1, 1, 1),
        "omp": (available, available, min(2, cores)),
        "workqueue": (1, 1, min(2, cores)),
    }
    for layer, counts in expected.items():
        monkeypatch.setattr(jit, "_safe_threading_layer", lambda layer=layer: layer)
        found = (
            jit.threads_for_user_code(compiled_smooth),
            jit.threads_for_user_code(parallel),
            jit.threads_for_user_code(compiled_smooth, 2),
        )
        assert found == counts
    assert jit.threads_for_user_code(parallel, 2) == 1
    assert jit.threads_for_user_code(compiled_smooth, -1) == cores
    assert operator.ge(1000, jit.threads_for_user_code(compiled_smooth, 1000))


def test_partial_functions_are_objectives():
    objective = make_objective(functools.partial(smooth, weight=2.0), "2-point", (), START)
    np.testing.assert_array_equal(
        gradients(objective, START)[0], gradients(make_objective(smooth, None, (2.0,), START), START)[0]
    )


@pytest.mark.parametrize("x0", [1.0, np.nextafter(1.0, 2.0)])
def test_central_differences_between_bounds_without_a_number_between(x0):
    bounds = [(1.0, np.nextafter(1.0, 2.0))]
    results = [
        minimize(lambda x: 4.0 * x[0], [x0], jac=scheme, bounds=bounds, options={"maxiter": 0})
        for scheme in ("2-point", "3-point")
    ]
    assert [result.jac.tolist() for result in results] == [[4.0], [4.0]]
