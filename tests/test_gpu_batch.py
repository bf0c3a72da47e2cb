"""minimize_batch on a GPU: each row ends as on the CPU, and a row that fails fails alone."""

import numpy as np
import pytest
from gpu_arrays import SIMULATES, skip_without_gpu
from numba import cuda, njit  # noqa: TID251
from scipy.optimize import Bounds

from nadam_numba import best_of, minimize_batch, schedules

skip_without_gpu()

START = np.random.default_rng(0).normal(size=(5, 2))
HEIGHTS = np.linspace(0.5, 1.5, 5)
WEIGHTS = np.array([1.0, 20.0])
LOWER = np.array([[-1.0, -np.inf]] * 3 + [[-np.inf, -np.inf], [2.0, -3.0]])
UPPER = np.array([[0.8, np.inf]] * 3 + [[np.inf, np.inf], [2.0, 3.0]])
FIELDS = ("x", "fun", "jac", "nit", "nfev", "njev", "status", "message")


@njit
def value(x, height, weights):
    along, across = height - x[0], x[1] - x[0] * x[0]
    return weights[0] * along * along + weights[1] * across * across


@njit
def gradient(x, height, weights):
    along, across = height - x[0], x[1] - x[0] * x[0]
    return -2.0 * weights[0] * along - 4.0 * weights[1] * x[0] * across, 2.0 * weights[1] * across


@njit
def pair(x, height, weights):
    return value(x, height, weights), gradient(x, height, weights)


@njit
def in_place(x, slope, height, weights):
    slope[0], slope[1] = gradient(x, height, weights)
    return value(x, height, weights)


WAYS = [(pair, True), (in_place, True), (value, gradient), (value, None), (value, "3-point")]
BOUNDS = [None, [(-1.0, 0.8), (None, None)], np.stack([LOWER, UPPER], axis=-1)]


def on_both(fun, jac, x0s=START, args=WEIGHTS, batch_args=HEIGHTS, **settings):
    return (
        minimize_batch(fun, x0s, args, batch_args, jac=jac, device=device, **settings) for device in ("cuda", "cpu")
    )


def assert_same(found, expected):
    """In the simulator the bits are those of the CPU; a card joins products and sums, and has functions of its own."""
    if SIMULATES:
        for name in FIELDS:
            np.testing.assert_array_equal(found[name], expected[name], name)
    else:
        np.testing.assert_allclose(found.x, expected.x, rtol=1e-5, atol=1e-6)
        np.testing.assert_array_equal(found.success, expected.success)


@pytest.mark.parametrize("bounds", BOUNDS, ids=["free", "shared", "of rows"])
@pytest.mark.parametrize(("fun", "jac"), WAYS)
def test_rows_end_as_on_the_cpu(fun, jac, bounds):
    found, expected = on_both(fun, jac, bounds=bounds)
    assert_same(found, expected)
    assert expected.success.all()


@pytest.mark.parametrize(("fun", "jac"), WAYS)
@pytest.mark.parametrize("bounds", BOUNDS, ids=["free", "shared", "of rows"])
def test_steps_at_given_rates(fun, jac, bounds):
    assert_same(*on_both(fun, jac, bounds=bounds, options={"learning_rate": 0.02, "maxiter": 30}))


@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("adam", {}),
        ("amsgrad", {"epsilon": 1e-6}),
        ("nadamw", {"weight_decay": 0.01}),
        ("nadam", {"weight_decay": 0.01, "momentum_decay": 0.1}),
        ("nadam", {"learning_rate": schedules.cosine_decay(0.05, 30)}),
        ("nadam", {"learning_rate": schedules.reduce_on_plateau(0.3, patience=2)}),
        ("nadam", {"f_target": 0.2}),
        ("nadam", {"ftol": 1e-3}),
        ("nadam", {"maxfev": 20}),
        ("nadam", {"patience": 3, "learning_rate": 0.5}),
    ],
)
def test_methods_and_options(method, options):
    settings = {"learning_rate": 0.02, "maxiter": 30, **options}
    assert_same(*on_both(pair, True, method=method, options=settings))


@pytest.mark.parametrize(
    "options", [{"memory": 0}, {"memory": 2}, {"gtol": 1e-2}, {"maxiter": 3}, {"maxfev": 7}, {"ftol": 1e-4}]
)
def test_options_of_auto(options):
    assert_same(*on_both(pair, True, options=options))


@pytest.mark.parametrize("options", [{}, {"learning_rate": 0.02, "maxiter": 30}], ids=["auto", "fixed"])
def test_single_precision(options):
    found, expected = on_both(
        pair, True, START.astype(np.float32), WEIGHTS.astype(np.float32), HEIGHTS.astype(np.float32), options=options
    )
    assert found.x.dtype == np.float32
    np.testing.assert_allclose(found.x, expected.x, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(found.fun, expected.fun, rtol=1e-3, atol=1e-4)


def test_a_row_that_fails_fails_alone():
    heights = HEIGHTS.copy()
    heights[2] = np.nan
    found, expected = on_both(pair, True, batch_args=heights)
    assert found.status.tolist() == [0, 0, 3, 0, 0]
    assert_same(found, expected)


def test_a_row_that_raises_fails_alone():
    @njit
    def objective(x, slope, height):
        if height < 0.0 and x[0] > 1.5:
            raise ValueError("no")
        slope[0] = 2.0 * (x[0] - height)
        return (x[0] - height) ** 2

    heights = np.array([1.0, -1.0, 3.0])
    result = minimize_batch(objective, np.full((3, 1), 2.0), (), heights, jac=True, device="cuda")
    assert result.status.tolist() == [0, 7, 0]
    np.testing.assert_allclose(result.x[:, 0], [1.0, 2.0, 3.0], atol=1e-9)
    assert np.isnan(result.fun[1])


def test_arguments_are_numbers_arrays_and_tuples_of_them():
    @njit
    def objective(x, scale, nested):
        centre, offset = nested
        return scale * (x[0] - centre[0]) ** 2 + offset, (2.0 * scale * (x[0] - centre[0]),)

    args = np.array(2.0), (np.array([1.5]), np.float64(3.0))
    result = minimize_batch(objective, np.zeros((2, 1)), args, jac=True, device="cuda")
    np.testing.assert_allclose(result.x, 1.5)
    np.testing.assert_allclose(result.fun, 3.0)
    with pytest.raises(TypeError, match=r"args\[1\]\[0\]=\[1.5\] is a list: device='cuda' takes numbers"):
        minimize_batch(objective, np.zeros((2, 1)), (2.0, ([1.5], 3.0)), jac=True, device="cuda")


def test_a_function_for_kernels():
    @cuda.jit(device=True)
    def bowl(x, slope, centre):
        total = 0.0
        for i in range(x.size):
            distance = x[i] - centre[i]
            slope[i] = 2.0 * distance
            total += distance * distance
        return total

    centres = np.random.default_rng(1).normal(size=(4, 3))
    result = minimize_batch(bowl, np.zeros((4, 3)), (), centres, jac=True, device="cuda")
    assert result.success.all()
    np.testing.assert_allclose(result.x, centres, atol=1e-9)


def test_a_kink_is_told_from_rounding():
    @njit
    def kink(x):
        return abs(x[0]) + abs(x[1] - 1.0), (np.sign(x[0]), np.sign(x[1] - 1.0))

    result = minimize_batch(kink, np.array([[0.3, 0.7]]), jac=True, device="cuda")
    assert not result.success[0]
    assert result.status[0] == 2


def test_best_of_many_starts():
    result = best_of(value, 8, (1.0, WEIGHTS), bounds=[(-2.0, 2.0)] * 2, rng=0, device="cuda")
    np.testing.assert_allclose(result.x, [1.0, 1.0], atol=1e-4)


def test_threads_beyond_the_last_row_do_nothing(monkeypatch):
    monkeypatch.setattr("nadam_numba.gpu_arrays.device._LEAST_BLOCKS", 200)
    assert_same(*on_both(pair, True))


def test_launches_follow_each_other(monkeypatch, capsys):
    pytest.importorskip("tqdm")
    monkeypatch.setattr("nadam_numba.batch.on_gpu._ROWS_OF_A_LAUNCH", 2)
    found, expected = on_both(pair, True, bounds=Bounds(LOWER, UPPER), progress=True)
    assert_same(found, expected)
    assert "5/5" in capsys.readouterr().err


def test_the_end_of_time(monkeypatch):
    monkeypatch.setattr("nadam_numba.batch.on_gpu._ROWS_OF_A_LAUNCH", 2)
    result = minimize_batch(pair, START, WEIGHTS, HEIGHTS, jac=True, options={"max_time": 0.0}, device="cuda")
    assert (result.status == 5).all()
    np.testing.assert_array_equal(result.x, START)


def test_an_interrupt_returns_what_is_finished(monkeypatch):
    from nadam_numba.batch import on_gpu

    launch, launched = on_gpu.device.launch, []

    def interrupted(*arguments, **settings):
        if launched:
            raise KeyboardInterrupt
        launched.append(launch(*arguments, **settings))

    monkeypatch.setattr(on_gpu, "_ROWS_OF_A_LAUNCH", 2)
    monkeypatch.setattr(on_gpu.device, "launch", interrupted)
    result = minimize_batch(pair, START, WEIGHTS, HEIGHTS, jac=True, device="cuda")
    assert result.status.tolist() == [0, 0, 98, 98, 98]


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"workers": 2}, ValueError, "workers=2: device='cuda' takes none"),
        ({"jac": "cs"}, ValueError, "device='cuda' takes no complex steps"),
        ({"options": {"finite_diff": "cs"}}, ValueError, "device='cuda' takes no complex steps"),
        ({"x0s": np.zeros((5, 0))}, ValueError, r"x0s has shape \(5, 0\)"),
        ({"x0s": np.zeros((5, 2000))}, ValueError, r"x0s has shape \(5, 2000\).*674[0-9]{3} bytes.*32768"),
    ],
)
def test_errors_name_what_is_wrong(arguments, error, message):
    given = {"x0s": START, "args": WEIGHTS, "batch_args": HEIGHTS, **arguments}
    with pytest.raises(error, match=message):
        minimize_batch(value, **given, device="cuda")
