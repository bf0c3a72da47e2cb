"""Schedules: the published formulas in NumPy, recorded values of Keras and torch, and the same bits compiled."""

import copy
import math
import pickle

import numba.core.event
import numpy as np
import pytest
from marks import WRAPS, needs_compiler
from numba import njit
from problems import PROBLEMS
from test_jit import run_python

from nadam_numba import NAdam, minimize, schedules
from nadam_numba.minimize import drivers, run, textbook

STEPS = np.arange(0, 251)

# Each schedule with each of its ways.
SCHEDULES = [
    schedules.constant(0.3),
    schedules.exponential_decay(0.3, 100, 0.7),
    schedules.exponential_decay(0.3, 7, 0.7, staircase=True),
    schedules.inverse_time_decay(0.3, 100, 0.7),
    schedules.inverse_time_decay(0.3, 7, 0.7, staircase=True),
    schedules.polynomial_decay(0.3, 70, 0.1, power=0.5),
    schedules.polynomial_decay(0.3, 7, 0.1, power=2.5, cycle=True),
    schedules.piecewise_constant([3, 10.5, 100], [0.3, 0.2, 0.4, 0.1]),
    schedules.piecewise_constant([], [0.3]),
    schedules.cosine_decay(0.3, 200, 0.25),
    schedules.cosine_decay(0.1, 200, 0.25, warmup_target=0.3, warmup_steps=30),
    schedules.cosine_decay_restarts(0.3, 13),
    schedules.cosine_decay_restarts(0.3, 13, t_mul=1.0, m_mul=0.9, alpha=0.1),
    schedules.cosine_decay_restarts(0.3, 13, t_mul=1.3, m_mul=0.9),
    schedules.one_cycle(0.3, 200),
    schedules.one_cycle(0.3, 200, 0.4, three_phase=True),
    schedules.one_cycle(0.3, 200, 0.4, "linear", 4.0, 10.0),
    schedules.linear_warmup(0.3, 50),
    schedules.linear_warmup(schedules.cosine_decay(0.3, 100), 50, 0.1, 0.9),
    schedules.linear_warmup(schedules.linear_warmup(0.3, 7), 50),
]
PROBLEM = PROBLEMS[0]
FUN, GRADIENT = njit(PROBLEM.fun), njit(PROBLEM.gradient)
schedule_by_schedule = pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)


def at(schedule, steps=STEPS):
    return [schedule(int(step)) for step in steps]


# Formulas


@pytest.mark.parametrize("staircase", [False, True])
def test_exponential_decay(staircase):
    exponent = STEPS // 100 if staircase else STEPS / 100
    rate = schedules.exponential_decay(0.3, 100, 0.7, staircase)
    np.testing.assert_allclose(at(rate), 0.3 * np.power(0.7, exponent), rtol=1e-15)


@pytest.mark.parametrize("staircase", [False, True])
def test_inverse_time_decay(staircase):
    periods = STEPS // 100 if staircase else STEPS / 100
    rate = schedules.inverse_time_decay(0.3, 100, 0.7, staircase)
    np.testing.assert_allclose(at(rate), 0.3 / (1 + 0.7 * periods), rtol=1e-15)


@pytest.mark.parametrize("power", [1.0, 0.5, 2.0, 0.0])
def test_polynomial_decay(power):
    rate = schedules.polynomial_decay(0.3, 200, 0.1, power)
    expected = 0.2 * (1 - np.minimum(STEPS, 200) / 200) ** power + 0.1
    np.testing.assert_allclose(at(rate), expected, rtol=1e-14)


def test_polynomial_decay_by_default_ends_at_keras_own_rate():
    assert schedules.polynomial_decay(0.1, 10)(10) == 1e-4


def test_polynomial_decay_in_cycles():
    rate = schedules.polynomial_decay(0.3, 100, 0.1, 2.0, cycle=True)
    ends = np.where(STEPS == 0, 100, np.ceil(STEPS / 100) * 100)
    np.testing.assert_allclose(at(rate), 0.2 * (1 - STEPS / ends) ** 2 + 0.1, rtol=1e-14)
    assert rate(100) == rate(200) == 0.1
    assert rate(101) > 0.14


def test_a_cycle_that_rounding_ends_before_its_last_step_stays_real():
    # 1 / decay_steps rounds to 5, but 5 * decay_steps is below 1: a root of a negative number must not be taken.
    decay_steps = math.nextafter(0.2, 0.0)
    assert 1 / decay_steps == 5.0
    assert 5.0 * decay_steps < 1.0
    assert schedules.polynomial_decay(0.3, decay_steps, 0.1, 0.5, cycle=True)(1) == 0.1


def test_a_boundary_is_the_last_step_of_its_piece():
    rate = schedules.piecewise_constant([10, 20], [0.3, 0.2, 0.1])
    assert at(rate, [0, 9, 10, 11, 20, 21, 10**9]) == [0.3, 0.3, 0.3, 0.2, 0.2, 0.1, 0.1]


@pytest.mark.parametrize("alpha", [0.0, 0.25])
def test_cosine_decay(alpha):
    rate = schedules.cosine_decay(0.3, 200, alpha)
    cosine = 0.5 * (1 + np.cos(np.pi * np.minimum(STEPS, 200) / 200))
    np.testing.assert_allclose(at(rate), 0.3 * ((1 - alpha) * cosine + alpha), rtol=1e-14)
    assert rate(10**6) == 0.3 * alpha


def test_cosine_decay_after_a_warmup():
    rate = schedules.cosine_decay(0.1, 100, 0.25, warmup_target=0.3, warmup_steps=50)
    line = 0.1 + 0.2 * STEPS / 50
    cosine = 0.5 * (1 + np.cos(np.pi * np.clip(STEPS - 50, 0, 100) / 100))
    np.testing.assert_allclose(at(rate), np.where(STEPS < 50, line, 0.3 * (0.75 * cosine + 0.25)), rtol=1e-14)
    assert (rate(0), rate(50)) == (0.1, 0.3)


def test_without_a_warmup_target_there_is_no_warmup():
    assert at(schedules.cosine_decay(0.1, 100, warmup_steps=50)) == at(schedules.cosine_decay(0.1, 100))
    assert schedules.cosine_decay(0.1, 100, warmup_target=0.3)(0) == 0.3


@pytest.mark.parametrize("t_mul", [1, 2, 3, 10])
def test_cosine_decay_restarts(t_mul):
    rate = schedules.cosine_decay_restarts(0.3, 5, t_mul, m_mul=0.8, alpha=0.1)
    expected = []
    length, factor = 5, 1.0
    while len(expected) < 6000:
        cosine = 0.5 * factor * (1 + np.cos(np.pi * np.arange(length) / length))
        expected.extend(0.3 * (0.9 * cosine + 0.1))
        length, factor = length * t_mul, factor * 0.8
    # Integers all, so that the restarts fall on steps: there Keras's logarithm would round down for t_mul = 10.
    np.testing.assert_allclose(at(rate, range(6000)), expected[:6000], rtol=1e-10)


@pytest.mark.parametrize("three_phase", [False, True])
@pytest.mark.parametrize("strategy", ["cos", "linear"])
def test_one_cycle(strategy, three_phase):
    total, start, top, end = 200, 0.3 / 25, 0.3, 0.3 / 25 / 1e4
    peak = 0.4 * total - 1
    times, heights = ([0, peak, total - 1], [start, top, end])
    if three_phase:
        times, heights = ([0, peak, 2 * peak, total - 1], [start, top, start, end])
    position = np.interp(np.minimum(STEPS, total - 1), times, range(len(times)))
    piece = np.minimum(position.astype(int), len(times) - 2)
    fraction = position - piece
    if strategy == "cos":
        fraction = (1 - np.cos(np.pi * fraction)) / 2
    expected = np.array(heights)[piece] * (1 - fraction) + np.array(heights)[piece + 1] * fraction
    rate = schedules.one_cycle(0.3, total, 0.4, strategy, three_phase=three_phase)
    np.testing.assert_allclose(at(rate), expected, rtol=1e-12, atol=1e-16)
    assert rate(79) == 0.3
    assert rate(0) == pytest.approx(start, rel=1e-15)
    assert rate(199) == rate(10**6) == pytest.approx(end, rel=1e-10)


@pytest.mark.parametrize("total_steps", [1, 2, 3, 10])
@pytest.mark.parametrize("pct_start", [0.0, 0.1, 0.5, 1.0])
@pytest.mark.parametrize("three_phase", [False, True])
def test_one_cycle_has_a_rate_however_short_its_phases(total_steps, pct_start, three_phase):
    rate = schedules.one_cycle(1.0, total_steps, pct_start, three_phase=three_phase)
    assert all(0.0 < value <= 1.0 for value in at(rate, range(12)))


@pytest.mark.parametrize("end_factor", [1.0, 0.9])
def test_linear_warmup_to_a_constant(end_factor):
    rate = schedules.linear_warmup(0.3, 100, 0.1, end_factor)
    factor = 0.1 + (end_factor - 0.1) * np.minimum(STEPS, 100) / 100
    np.testing.assert_allclose(at(rate), 0.3 * factor, rtol=1e-15)
    assert rate(100) == rate(10**6) == 0.3 * end_factor


def test_after_the_warmup_a_schedule_counts_from_its_own_first_step():
    decay = schedules.exponential_decay(0.3, 10, 0.5)
    rate = schedules.linear_warmup(decay, 100, 0.0)
    assert rate(0) == 0.0
    assert rate(50) == 0.15
    assert at(rate, range(100, 150)) == at(decay, range(50))
    asked = []
    schedules.linear_warmup(lambda step: asked.append(step) or 0.1, 5)(3)
    assert asked == [0]


RECORDED = [  # at the steps 0, 1, 25, 60, 100, 150
    # keras 3.15 on its torch backend, which computes in float64
    (
        schedules.exponential_decay(0.3, 40, 0.7, staircase=True),
        [0.3, 0.3, 0.3, 0.21, 0.14699999999999996, 0.10289999999999998],
    ),
    (
        schedules.inverse_time_decay(0.3, 40, 0.7),
        [0.3, 0.29484029484029484, 0.20869565217391303, 0.14634146341463417, 0.10909090909090909, 0.08275862068965517],
    ),
    (
        schedules.polynomial_decay(0.3, 70, 0.1, 2.5, cycle=True),
        [0.3, 0.29293349092685617, 0.16626987937216237, 0.10154271213473155, 0.10872689769509958, 0.10872689769509958],
    ),
    (schedules.piecewise_constant([25, 60], [0.3, 0.2, 0.1]), [0.3, 0.3, 0.3, 0.2, 0.1, 0.1]),
    (
        schedules.cosine_decay(0.1, 100, 0.25, warmup_target=0.3, warmup_steps=30),
        [0.1, 0.10666666666666667, 0.26666666666666666, 0.2536258408829032, 0.12137415911709677, 0.075],
    ),
    (
        schedules.cosine_decay_restarts(0.3, 20, 1.5, 0.9, 0.1),
        [0.3, 0.2983379259803436, 0.25672208655980927, 0.22311695985506025, 0.22417721093811338, 0.04619046703979588],
    ),
    # torch 2.13
    (
        schedules.one_cycle(0.3, 160),
        [
            0.012,
            0.012321569478265959,
            0.17041377959387016,
            0.2901373804948258,
            0.1626081283090722,
            0.004755652663774072,
        ],
    ),
    (
        schedules.one_cycle(0.3, 160, 0.4, "linear", 4.0, 10.0, three_phase=True),
        [0.075, 0.07857142857142857, 0.16428571428571426, 0.28928571428571426, 0.16785714285714284, 0.0259090909090909],
    ),
    (schedules.linear_warmup(0.3, 100, 0.1, 0.9), [0.03, 0.0324, 0.09, 0.174, 0.27, 0.27]),
]


@pytest.mark.parametrize(("schedule", "values"), RECORDED, ids=lambda value: repr(value)[:30])
def test_recorded_values(schedule, values):
    np.testing.assert_allclose(at(schedule, (0, 1, 25, 60, 100, 150)), values, rtol=1e-13)


# What is common to all


@schedule_by_schedule
def test_compiled_and_plain_rates_have_the_same_bits(schedule, monkeypatch):
    expected = at(schedule, range(20_000))
    assert all(type(rate) is float for rate in expected)

    def fail(*_):
        raise AssertionError("evaluated in Python")

    monkeypatch.setattr(schedules, "rate_at", fail)
    np.testing.assert_array_equal(schedules.rates(schedule, range(20_000)), expected)
    for start, stop in ((3, 70), (45, 55), (49, 52), (50, 1000), (19_000, 20_000)):
        np.testing.assert_array_equal(schedules.rates(schedule, range(start, stop)), expected[start:stop])


@needs_compiler
def test_second_process_loads_the_compiled_schedules(tmp_path):
    code = """
    import numpy as np
    from nadam_numba import minimize, schedules
    schedules.rates(schedules.cosine_decay(0.1, 50), range(9))
    schedules.rates(schedules.piecewise_constant([3], [0.1, 0.2]), range(9))
    schedules.rates(schedules.linear_warmup(schedules.exponential_decay(0.1, 50, 0.5), 3), range(9))
    plateau = schedules.reduce_on_plateau(0.1)
    minimize(lambda x: (x @ x, 2 * x), [1.0], jac=True, options={"learning_rate": plateau, "maxiter": 3})
    formulas = ["constant", "exponential_decay", "piecewise_constant", "cosine_decay", "linear_warmup"]
    kernels = [schedules._kernel(getattr(schedules, "_" + formula)) for formula in formulas] + [schedules.plateau_step]
    print(sum(sum(kernel.stats.cache_misses.values()) for kernel in kernels))
    """
    assert [run_python(code, NUMBA_CACHE_DIR=str(tmp_path)).strip() for _ in range(2)] == ["5", "0"]


@schedule_by_schedule
def test_schedules_can_be_pickled_copied_and_compared(schedule):
    for other in (pickle.loads(pickle.dumps(schedule)), copy.copy(schedule), copy.deepcopy(schedule)):
        assert other == schedule
        assert hash(other) == hash(schedule)
        assert at(other) == at(schedule)
    assert [other for other in SCHEDULES if other == schedule] == [schedule]
    assert eval(repr(schedule), vars(schedules).copy()) == schedule


def test_arguments_count_in_comparisons_however_they_were_written():
    assert schedules.cosine_decay(1, 10) == schedules.cosine_decay(np.float32(1.0), decay_steps=10.0, alpha=0)
    assert schedules.cosine_decay(0.1, 10) != schedules.cosine_decay(0.1, 11)
    assert schedules.inverse_time_decay(0.1, 10, 0.5) != schedules.exponential_decay(0.1, 10, 0.5)
    assert repr(schedules.exponential_decay(1, 10, 0.5)) == (
        "exponential_decay(initial_learning_rate=1.0, decay_steps=10.0, decay_rate=0.5, staircase=False)"
    )


def test_what_the_user_passed_is_kept_apart():
    boundaries, values = [10, 20], np.array([0.3, 0.2, 0.1])
    rate = schedules.piecewise_constant(boundaries, values)
    boundaries[0], values[:] = 0, 7.0
    assert at(rate, [5, 15, 25]) == [0.3, 0.2, 0.1]


@schedule_by_schedule
def test_numpy_integers_are_steps_too(schedule):
    assert schedule(np.int64(7)) == schedule(np.int32(7)) == schedule(7)
    assert type(schedule(np.int64(7))) is float


# Bad arguments


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda value: schedules.constant(value), "learning_rate"),
        (lambda value: schedules.exponential_decay(value, 10, 0.5), "initial_learning_rate"),
        (lambda value: schedules.exponential_decay(0.1, 10, value), "decay_rate"),
        (lambda value: schedules.inverse_time_decay(value, 10, 0.5), "initial_learning_rate"),
        (lambda value: schedules.inverse_time_decay(0.1, 10, value), "decay_rate"),
        (lambda value: schedules.polynomial_decay(value, 10), "initial_learning_rate"),
        (lambda value: schedules.polynomial_decay(0.1, 10, value), "end_learning_rate"),
        (lambda value: schedules.polynomial_decay(0.1, 10, power=value), "power"),
        (lambda value: schedules.piecewise_constant([1], [0.1, value]), r"values\[1\]"),
        (lambda value: schedules.cosine_decay(value, 10), "initial_learning_rate"),
        (lambda value: schedules.cosine_decay(0.1, 10, alpha=value), "alpha"),
        (lambda value: schedules.cosine_decay(0.1, 10, warmup_target=value), "warmup_target"),
        (lambda value: schedules.cosine_decay(0.1, 10, warmup_steps=value), "warmup_steps"),
        (lambda value: schedules.cosine_decay_restarts(value, 10), "initial_learning_rate"),
        (lambda value: schedules.cosine_decay_restarts(0.1, 10, m_mul=value), "m_mul"),
        (lambda value: schedules.cosine_decay_restarts(0.1, 10, alpha=value), "alpha"),
        (lambda value: schedules.one_cycle(value, 10), "max_lr"),
        (lambda value: schedules.one_cycle(0.1, 10, pct_start=value), "pct_start"),
        (lambda value: schedules.linear_warmup(value, 10), "learning_rate"),
        (lambda value: schedules.linear_warmup(0.1, 10, start_factor=value), "start_factor"),
        (lambda value: schedules.linear_warmup(0.1, 10, end_factor=value), "end_factor"),
        (lambda value: schedules.reduce_on_plateau(value), "initial_learning_rate"),
        (lambda value: schedules.reduce_on_plateau(0.1, factor=value), "factor"),
        (lambda value: schedules.reduce_on_plateau(0.1, patience=value), "patience"),
        (lambda value: schedules.reduce_on_plateau(0.1, threshold=value), "threshold"),
        (lambda value: schedules.reduce_on_plateau(0.1, cooldown=value), "cooldown"),
        (lambda value: schedules.reduce_on_plateau(0.1, min_lr=value), "min_lr"),
        (lambda value: schedules.reduce_on_plateau(0.1, eps=value), "eps"),
        (lambda value: schedules.reduce_on_plateau(0.1, min_delta=value), "min_delta"),
    ],
)
def test_numbers_must_be_finite_and_not_negative(make, name):
    for value in (-1, math.nan, math.inf):
        with pytest.raises(ValueError, match=name):
            make(value)
    for value in ("0.1", [0.1], True):
        with pytest.raises(TypeError, match=name):
            make(value)


@pytest.mark.parametrize("value", [0, -1, math.nan, math.inf])
@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda value: schedules.exponential_decay(0.1, value, 0.5), "decay_steps"),
        (lambda value: schedules.inverse_time_decay(0.1, value, 0.5), "decay_steps"),
        (lambda value: schedules.polynomial_decay(0.1, value), "decay_steps"),
        (lambda value: schedules.cosine_decay(0.1, value), "decay_steps"),
        (lambda value: schedules.cosine_decay_restarts(0.1, value), "first_decay_steps"),
        (lambda value: schedules.cosine_decay_restarts(0.1, 10, t_mul=value), "t_mul"),
        (lambda value: schedules.one_cycle(0.1, value), "total_steps"),
        (lambda value: schedules.one_cycle(0.1, 10, div_factor=value), "div_factor"),
        (lambda value: schedules.one_cycle(0.1, 10, final_div_factor=value), "final_div_factor"),
        (lambda value: schedules.linear_warmup(0.1, value), "warmup_steps"),
    ],
)
def test_numbers_of_steps_and_divisors_must_be_positive(make, name, value):
    with pytest.raises(ValueError, match=name):
        make(value)


PLATEAU = schedules.reduce_on_plateau(0.1)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: schedules.exponential_decay(0.1, 10, 0.5, 1), TypeError, "staircase=1 is a int"),
        (lambda: schedules.inverse_time_decay(0.1, 10, 0.5, "yes"), TypeError, "staircase='yes'"),
        (lambda: schedules.polynomial_decay(0.1, 10, cycle=None), TypeError, "cycle=None"),
        (lambda: schedules.piecewise_constant([1, 1], [1, 2, 3]), ValueError, "boundaries=.*must increase"),
        (lambda: schedules.piecewise_constant([2, 1], [1, 2, 3]), ValueError, "boundaries=.*must increase"),
        (lambda: schedules.piecewise_constant([1, 2], [1, 2]), ValueError, "values=.*there must be 3"),
        (lambda: schedules.piecewise_constant(1, [1, 2]), TypeError, "boundaries=1 is a int"),
        (lambda: schedules.piecewise_constant([1], 2), TypeError, "values=2 is a int"),
        (lambda: schedules.one_cycle(0.1, 10.5), ValueError, "total_steps=10.5"),
        (lambda: schedules.one_cycle(0.1, 10, pct_start=1.1), ValueError, r"pct_start=1.1: .*\[0, 1\]"),
        (lambda: schedules.one_cycle(0.1, 10, anneal_strategy="poly"), ValueError, "'poly'.*'cos', 'linear'"),
        (lambda: schedules.one_cycle(0.1, 10, three_phase=0), TypeError, "three_phase=0"),
        (lambda: schedules.linear_warmup(0.1, 2.5), ValueError, "warmup_steps=2.5"),
        (lambda: schedules.linear_warmup(0.1, 5, 1.5), ValueError, "start_factor=1.5"),
        (lambda: schedules.linear_warmup(0.1, 5, end_factor=1.5), ValueError, "end_factor=1.5"),
        (lambda: schedules.linear_warmup(PLATEAU, 5), TypeError, "learning_rate=reduce_on_plateau"),
        (lambda: schedules.reduce_on_plateau(0.1, mode="auto"), ValueError, "mode='auto'.*'min', 'max'"),
        (lambda: schedules.reduce_on_plateau(0.1, mode=["min"]), TypeError, r"mode=\['min'\]"),
        (lambda: schedules.reduce_on_plateau(0.1, threshold_mode="x"), ValueError, "threshold_mode='x'"),
        (lambda: schedules.reduce_on_plateau(0.1, factor=1.0), ValueError, "factor=1.0"),
        (lambda: schedules.reduce_on_plateau(0.1, patience=0.5), ValueError, "patience=0.5"),
    ],
)
def test_bad_arguments(make, error, message):
    with pytest.raises(error, match=message):
        make()


# Rates for many steps


def test_constant_rate():
    assert schedules.rate_at(0.5, 7) == 0.5
    assert schedules.rates(0.5, range(3, 6)).tolist() == [0.5, 0.5, 0.5]


@WRAPS
def test_a_function_of_the_users(wrap):
    schedule = wrap(lambda step: 1 / (1 + step))
    assert schedules.rate_at(schedule, 1) == 0.5
    assert schedules.rates(schedule, range(1)).tolist() == [1.0]
    assert schedules.rates(schedule, range(1, 5)).tolist() == [1 / 2, 1 / 3, 1 / 4, 1 / 5]


@pytest.mark.parametrize("number", [1, np.float32(0.5), np.int64(2)])
def test_numbers_of_other_types_become_floats(number):
    rates = schedules.rates(lambda step: number, range(2))
    assert rates.dtype == np.float64
    assert rates.tolist() == [number, number]
    assert type(schedules.rate_at(lambda step: number, 0)) is float


@needs_compiler
def test_compiled_functions_are_called_by_compiled_code_alone(monkeypatch):
    monkeypatch.setattr(schedules, "rate_at", None)
    for result in (np.float64(0.5), np.float32(0.5), np.int64(1)):
        schedule = njit(lambda step, result=result: result)
        assert schedules.rates(schedule, range(3)).tolist() == [result] * 3
    before = len(schedules._fill_by_calling.signatures)
    schedules.rates(schedule, range(9))
    assert len(schedules._fill_by_calling.signatures) == before
    warmup = schedules.linear_warmup(njit(lambda step: 1.0 / (1.0 + step)), 2, 0.5)
    assert schedules.rates(warmup, range(4)).tolist() == [0.5, 0.75, 1.0, 0.5]


@pytest.mark.parametrize(
    ("rate", "error"), [(-1.0, ValueError), (math.nan, ValueError), (math.inf, ValueError), ("x", TypeError)]
)
def test_schedule_that_returns_nonsense_is_named_with_its_step(rate, error):
    def schedule(step):
        return rate if step == 3 else 0.1

    assert schedules.rates(schedule, range(10)).tolist() == [0.1, 0.1, 0.1]
    with pytest.raises(error, match=r"learning_rate\(3\)"):
        schedules.rate_at(schedule, 3)
    with pytest.raises(error, match=r"learning_rate\(3\)"):
        schedules.rates(schedule, range(3, 10))


@pytest.mark.parametrize("bad", [-1.0, math.nan, math.inf])
def test_compiled_schedule_that_returns_nonsense_is_named_with_its_step(bad):
    schedule = njit(lambda step: bad if step == 3 else 0.1)
    for late, first_bad in ((schedule, 3), (schedules.linear_warmup(schedule, 4, 1.0), 7)):
        assert schedules.rates(late, range(10)).tolist() == pytest.approx([0.1] * first_bad, rel=1e-15)
        for steps in (range(first_bad, 10), range(first_bad, first_bad + 1)):
            with pytest.raises(ValueError, match=rf"learning_rate\({first_bad}\)"):
                schedules.rates(late, steps)


@WRAPS
def test_an_error_of_a_schedule_waits_until_its_step_is_reached(wrap):
    def schedule(step):
        if step >= 3:
            raise IndexError("no more rates")
        return 0.1

    assert schedules.rates(wrap(schedule), range(8)).tolist() == [0.1, 0.1, 0.1]
    with pytest.raises(IndexError):
        schedules.rates(wrap(schedule), range(3, 8))
    warmup = schedules.linear_warmup(wrap(schedule), 2, 1.0)
    assert len(schedules.rates(warmup, range(8))) == 5


def test_a_warmup_of_a_schedule_in_error_from_the_first_step():
    with pytest.raises(ValueError, match=r"learning_rate\(2\)"):
        schedules.rates(schedules.linear_warmup(njit(lambda step: -1.0), 5, 0.5), range(2, 20))


def test_a_rate_beyond_floats_is_an_error_when_it_is_reached():
    growth = schedules.exponential_decay(1.0, 1, 2.0)
    assert len(schedules.rates(growth, range(1000, 2000))) == 24
    with pytest.raises(ValueError, match=r"learning_rate\(1024\)=inf"):
        schedules.rates(growth, range(1024, 2000))


@needs_compiler
def test_compiled_functions_that_return_no_number_are_named():
    for result, error in ((True, TypeError), (1j, TypeError)):
        schedule = njit(lambda step, result=result: result)
        with pytest.raises(error, match=r"learning_rate\(0\)"):
            minimize(lambda x: (x @ x, 2 * x), [1.0], jac=True, options={"learning_rate": schedule})


# minimize


def minimized(fun, jac, learning_rate, start, **options):
    options = {"maxiter": 300, "gtol": 0.0, "learning_rate": learning_rate, **options}
    return minimize(fun, start, jac=jac, options=options)


@schedule_by_schedule
def test_python_and_compiled_objectives_make_the_same_iterates(schedule):
    plain = minimized(PROBLEM.fun, PROBLEM.gradient, schedule, PROBLEM.start)
    compiled = minimized(FUN, GRADIENT, schedule, PROBLEM.start)
    asked_one_by_one = minimized(PROBLEM.fun, PROBLEM.gradient, lambda step: schedule(step), PROBLEM.start)
    np.testing.assert_array_equal(compiled.x, plain.x)
    np.testing.assert_array_equal(asked_one_by_one.x, plain.x)
    assert compiled.nit == plain.nit == 300


@needs_compiler
def test_a_new_schedule_compiles_no_new_loop():
    minimized(FUN, GRADIENT, 0.1, PROBLEM.start)
    for schedule in (*SCHEDULES, njit(lambda step: 0.1 / (1.0 + step))):
        with numba.core.event.install_recorder("numba:compile") as recorder:
            minimized(FUN, GRADIENT, schedule, PROBLEM.start, maxiter=20)
        compiled = {event.data["dispatcher"].py_func.__name__ for _, event in recorder.buffer}
        assert "iterate" not in compiled


# reduce_on_plateau


def reported(plateau, metrics):
    """The learning rate after each report."""
    rates = []
    for step, metric in enumerate(metrics):
        plateau.update(metric)
        rates.append(plateau(step))
    return rates


def test_patience_and_cooldown():
    plateau = schedules.reduce_on_plateau(1.0, factor=0.5, patience=2, cooldown=3)
    # Two bad reports are borne, the third reduces; three are not counted, and again the third reduces.
    assert reported(plateau, [5.0] * 14) == [1.0] * 3 + [0.5] * 6 + [0.25] * 5


def test_patience_and_cooldown_as_keras_counts_them():
    plateau = schedules.reduce_on_plateau(1.0, factor=0.5, patience=2, cooldown=3, min_delta=0.0)
    assert reported(plateau, [5.0] * 12) == [1.0] * 2 + [0.5] * 4 + [0.25] * 4 + [0.125] * 2


@pytest.mark.parametrize(
    ("arguments", "metrics", "is_better"),
    [
        ({"threshold": 0.1}, (10.0, 8.9), True),
        ({"threshold": 0.1}, (10.0, 9.1), False),
        ({"threshold": 0.5, "threshold_mode": "abs"}, (10.0, 9.4), True),
        ({"threshold": 0.5, "threshold_mode": "abs"}, (10.0, 9.5), False),
        ({"min_delta": 0.5}, (10.0, 9.4), True),
        ({"min_delta": 0.5}, (10.0, 9.5), False),
        ({"threshold": 0.1, "mode": "max"}, (10.0, 11.1), True),
        ({"threshold": 0.1, "mode": "max"}, (10.0, 10.9), False),
        ({"threshold": 0.5, "threshold_mode": "abs", "mode": "max"}, (10.0, 10.6), True),
        ({"threshold": 0.5, "threshold_mode": "abs", "mode": "max"}, (10.0, 10.5), False),
        ({"min_delta": 0.5, "mode": "max"}, (10.0, 10.6), True),
        ({"min_delta": 0.5, "mode": "max"}, (10.0, 10.5), False),
        ({}, (10.0, math.nan), False),
        ({"mode": "max"}, (10.0, math.nan), False),
    ],
)
def test_what_an_improvement_is(arguments, metrics, is_better):
    plateau = schedules.reduce_on_plateau(1.0, patience=0, **arguments)
    first, second = reported(plateau, metrics)
    assert first == 1.0
    assert second == (1.0 if is_better else 0.1)
    assert plateau.state.best == metrics[is_better]


def test_the_rate_stops_at_its_least_and_at_its_least_change():
    bounded = schedules.reduce_on_plateau(1.0, factor=0.5, patience=0, min_lr=0.3)
    assert reported(bounded, [1.0] * 4) == [1.0, 0.5, 0.3, 0.3]
    coarse = schedules.reduce_on_plateau(1.0, factor=0.5, patience=0, eps=0.25)
    assert reported(coarse, [1.0] * 4) == [1.0, 0.5, 0.5, 0.5]


def test_state_goes_to_another_plateau():
    metrics = np.random.default_rng(0).uniform(1.0, 2.0, 100).tolist()
    plateau = schedules.reduce_on_plateau(1.0, factor=0.9, patience=1, cooldown=1)
    reported(plateau, metrics[:50])
    state = plateau.state_dict()
    assert state == {"learning_rate": plateau(0), "best": min(metrics[:50]), "bad_steps": 0, "cooldown_left": 1}
    others = [pickle.loads(pickle.dumps(plateau)), copy.deepcopy(plateau)]
    fresh = schedules.reduce_on_plateau(1.0, factor=0.9, patience=1, cooldown=1)
    assert fresh != plateau
    fresh.load_state_dict(state)
    expected = reported(plateau, metrics[50:])
    assert expected[-1] < expected[0]
    assert plateau.state_dict() != state
    for other in (*others, fresh):
        assert other.state_dict() == state
        assert reported(other, metrics[50:]) == expected
        assert other == plateau


STATE = {"learning_rate": 0.1, "best": 1.0, "bad_steps": 0, "cooldown_left": 0}


@pytest.mark.parametrize(
    ("state", "error", "message"),
    [
        (None, TypeError, "state_dict=None"),
        ({"best": 1.0}, ValueError, "state_dict has the keys"),
        ({**STATE, "factor": 0.1}, ValueError, "state_dict has the keys"),
        ({**STATE, "learning_rate": -1.0}, ValueError, "learning_rate.*-1.0"),
        ({**STATE, "best": math.nan}, ValueError, "best.*nan"),
        ({**STATE, "best": "x"}, TypeError, "best.*'x'"),
        ({**STATE, "bad_steps": 0.5}, ValueError, "bad_steps.*0.5"),
        ({**STATE, "cooldown_left": -1}, ValueError, "cooldown_left.*-1"),
    ],
)
def test_bad_states(state, error, message):
    plateau = schedules.reduce_on_plateau(0.1)
    with pytest.raises(error, match=message):
        plateau.load_state_dict(state)
    assert plateau == PLATEAU


@pytest.mark.parametrize("metric", ["1.0", None, [1.0], 1j])
def test_a_metric_must_be_a_number(metric):
    plateau = schedules.reduce_on_plateau(0.1)
    with pytest.raises(TypeError, match="metric="):
        plateau.update(metric)
    assert plateau == PLATEAU


def test_plateau_in_nadam_is_told_by_the_user():
    plateau = schedules.reduce_on_plateau(0.5, factor=0.5, patience=0)
    p, expected = np.ones(1), np.ones(1)
    optimizer, reference = NAdam(p, learning_rate=plateau), NAdam(expected)
    for metric, rate in ((1.0, 0.5), (2.0, 0.5), (3.0, 0.25)):
        optimizer.step(np.ones(1))
        reference.learning_rate = rate
        reference.step(np.ones(1))
        plateau.update(metric)
        assert p[0] == expected[0]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    "plateau",
    [
        schedules.reduce_on_plateau(0.5, factor=0.7, patience=5, cooldown=2),
        schedules.reduce_on_plateau(0.5, "max", 0.9, 20, 0.1, "abs", min_lr=1e-3),
        schedules.reduce_on_plateau(0.5, factor=0.7, patience=5, cooldown=2, min_delta=1e-3),
    ],
    ids=repr,
)
@pytest.mark.parametrize("chunk_seconds", [0.0, math.inf], ids=["steps one by one", "long chunks"])
def test_minimize_reports_the_value_after_each_step(plateau, dtype, chunk_seconds, monkeypatch):
    monkeypatch.setattr(run, "_CHUNK_SECONDS", chunk_seconds)
    before = copy.deepcopy(plateau)
    p, told = PROBLEM.start.astype(dtype), copy.deepcopy(plateau)
    optimizer = NAdam(p, learning_rate=told)
    points = []
    for _ in range(300):
        optimizer.step(PROBLEM.gradient(p))
        told.update(float(PROBLEM.fun(p)))
        points.append(p.copy())
    assert told(0) < plateau(0)

    def record(intermediate_result):
        seen.append(intermediate_result.x)

    for fun, jac in ((PROBLEM.fun, PROBLEM.gradient), (FUN, GRADIENT)):
        result = minimized(fun, jac, plateau, PROBLEM.start.astype(dtype))
        best = min(points, key=PROBLEM.fun)
        np.testing.assert_array_equal(result.x, best, strict=True)
        seen = []
        options = {"learning_rate": plateau, "maxiter": 300, "gtol": 0.0}
        minimize(fun, PROBLEM.start.astype(dtype), jac=jac, callback=record, options=options)
        np.testing.assert_array_equal(seen, points, strict=True)
        assert plateau == before


def test_minimize_goes_on_from_the_state_it_is_given():
    used = schedules.reduce_on_plateau(0.5, factor=0.1, patience=0)
    reported(used, [-1e9, 0.0])
    assert used(0) == 0.05
    result = minimized(FUN, GRADIENT, used, PROBLEM.start, maxiter=1)
    expected = minimized(FUN, GRADIENT, 0.05, PROBLEM.start, maxiter=1)
    np.testing.assert_array_equal(result.x, expected.x)


@needs_compiler
def test_other_learning_rates_do_not_carry_the_plateaus_code(monkeypatch):
    loops = []

    def loop_for(*arguments, **bound):
        loop, functions = drivers.loop_for(*arguments, **bound)
        loops.append(loop)
        return loop, functions

    monkeypatch.setattr(textbook, "loop_for", loop_for)
    fun = njit(lambda x, a: (a * x[0] * x[0], 2.0 * a * x))
    codes = []
    for learning_rate in (0.1, PLATEAU):
        minimize(fun, [1.0], args=(1.0,), jac=True, options={"maxiter": 3, "learning_rate": learning_rate})
        codes.append(loops[-1].inspect_llvm(loops[-1].signatures[-1]))
    without, with_plateau = codes
    assert "plateau_step" in with_plateau
    assert "plateau_step" not in without
