"""The problems of Moré, Garbow and Hillstrom against their residuals in NumPy and their published values.

The residuals are written from the paper a second time, on whole arrays that may be complex: a complex step then gives
their derivatives without cancellation, so that gradients are compared to within rounding.
"""

import importlib
from pathlib import Path

import numpy as np
import pytest
from numpy.polynomial import chebyshev
from scipy.optimize import least_squares, minimize

with pytest.MonkeyPatch.context() as patch:  # beside tests/problems.py, and without shadowing an installed package
    patch.syspath_prepend(Path(__file__).parent.parent)
    mgh = importlib.import_module("benchmarks.problems.more_garbow_hillstrom")


def counted(n):
    return np.arange(1, n + 1)


def rosenbrock(x):
    return np.stack([10 * (x[1::2] - x[::2] ** 2), 1 - x[::2]]).ravel()


def freudenstein_roth(x):
    return np.array([-13 + x[0] + ((5 - x[1]) * x[1] - 2) * x[1], -29 + x[0] + ((x[1] + 1) * x[1] - 14) * x[1]])


def powell_badly_scaled(x):
    return np.array([1e4 * x[0] * x[1] - 1, np.exp(-x).sum() - 1.0001])


def brown_badly_scaled(x):
    return np.array([x[0] - 1e6, x[1] - 2e-6, x[0] * x[1] - 2])


def beale(x):
    return np.array([1.5, 2.25, 2.625]) - x[0] * (1 - x[1] ** counted(3))


def jennrich_sampson(x, m):
    i = counted(m)
    return 2 + 2 * i - (np.exp(i * x[0]) + np.exp(i * x[1]))


def helical_valley(x):
    turn = np.arctan(x[1] / x[0]) / (2 * np.pi) + (0.5 if x[0].real < 0 else 0.0)
    return np.array([10 * (x[2] - 10 * turn), 10 * (np.sqrt(x[0] ** 2 + x[1] ** 2) - 1), x[2]])


def bard(x, y):
    u = counted(15)
    return y - (x[0] + u / ((16 - u) * x[1] + np.minimum(u, 16 - u) * x[2]))


def gaussian(x, y):
    return x[0] * np.exp(-x[1] * ((8 - counted(15)) / 2 - x[2]) ** 2 / 2) - y


def meyer(x, y):
    return x[0] * np.exp(x[1] / (45 + 5 * counted(16) + x[2])) - y


def gulf(x, t, y):
    distance = np.sqrt((y - x[1]) ** 2)  # an absolute value that keeps the complex step
    return np.exp(-(distance ** x[2]) / x[0]) - t


def box(x, t):
    return np.exp(-t * x[0]) - np.exp(-t * x[1]) - x[2] * (np.exp(-t) - np.exp(-10 * t))


def powell_singular(x):
    a, b, c, d = x.reshape(-1, 4).T
    return np.stack([a + 10 * b, np.sqrt(5) * (c - d), (b - 2 * c) ** 2, np.sqrt(10) * (a - d) ** 2]).ravel()


def wood(x):
    a, b, c, d = x
    return np.array(
        [10 * (b - a**2), 1 - a, np.sqrt(90) * (d - c**2), 1 - c, np.sqrt(10) * (b + d - 2), (b - d) / np.sqrt(10)]
    )


def kowalik_osborne(x, u, y):
    return y - x[0] * (u**2 + u * x[1]) / (u**2 + u * x[2] + x[3])


def brown_dennis(x, t):
    return (x[0] + t * x[1] - np.exp(t)) ** 2 + (x[2] + x[3] * np.sin(t) - np.cos(t)) ** 2


def osborne_1(x, t, y):
    return y - (x[0] + x[1] * np.exp(-t * x[3]) + x[2] * np.exp(-t * x[4]))


def biggs_exp6(x, t, y):
    return x[2] * np.exp(-t * x[0]) - x[3] * np.exp(-t * x[1]) + x[5] * np.exp(-t * x[4]) - y


def osborne_2(x, t, y):
    return y - x[0] * np.exp(-t * x[4]) - (x[1:4] * np.exp(-x[5:8] * (t[:, None] - x[8:]) ** 2)).sum(axis=1)


def watson(x):
    t = counted(29)[:, None] / x.real.dtype.type(29)
    j = np.arange(x.size)
    derivative = (j[1:] * x[1:] * t ** j[:-1]).sum(axis=1)
    return np.concatenate([derivative - (x * t**j).sum(axis=1) ** 2 - 1, [x[0], x[1] - x[0] ** 2 - 1]])


def penalty_1(x):
    return np.append(np.sqrt(1e-5) * (x - 1), (x**2).sum() - 0.25)


def penalty_2(x):
    i = counted(x.size)
    y = np.exp(i[1:] / 10) + np.exp(i[:-1] / 10)
    growth = np.exp(x / 10)
    pairs, singles = growth[1:] + growth[:-1] - y, growth[1:] - np.exp(-0.1)
    return np.concatenate([[x[0] - 0.2], np.sqrt(1e-5) * pairs, np.sqrt(1e-5) * singles, [(i[::-1] * x**2).sum() - 1]])


def variably_dimensioned(x):
    weighted = (counted(x.size) * (x - 1)).sum()
    return np.concatenate([x - 1, [weighted, weighted**2]])


def trigonometric(x):
    return x.size - np.cos(x).sum() + counted(x.size) * (1 - np.cos(x)) - np.sin(x)


def brown_almost_linear(x):
    return np.append(x[:-1] + x.sum() - (x.size + 1), x.prod() - 1)


def neighbours(x):
    padded = np.concatenate([[0], x, [0]])
    return padded[:-2], padded[2:]


def discrete_boundary_value(x):
    h, (left, right) = 1 / (x.size + 1), neighbours(x)
    return 2 * x - left - right + h**2 * (x + counted(x.size) * h + 1) ** 3 / 2


def discrete_integral_equation(x):
    h = 1 / (x.size + 1)
    t = counted(x.size) * h
    kernel = np.minimum.outer(t, t) * (1 - np.maximum.outer(t, t))
    return x + h * kernel @ (x + t + 1) ** 3 / 2


def broyden_tridiagonal(x):
    left, right = neighbours(x)
    return (3 - 2 * x) * x - left - 2 * right + 1


def broyden_banded(x):
    offset = np.subtract.outer(counted(x.size), counted(x.size))
    band = (offset <= 5) & (offset >= -1) & (offset != 0)
    return x * (2 + 5 * x**2) + 1 - band @ (x * (1 + x))


def linear_full_rank(x, m):
    return np.append(x, np.zeros(m - x.size)) - 2 / m * x.sum() - 1


def linear_rank_1(x, m):
    return counted(m) * (counted(x.size) * x).sum() - 1


def linear_rank_1_with_zeros(x, m):
    inner = (counted(m) - 1) * (counted(x.size) * x)[1:-1].sum()
    return np.where(counted(m) < m, inner, 0) - 1


def chebyquad(x, m):
    i = counted(m)
    integrals = np.array([0.0 if k % 2 else -1 / (k**2 - 1) for k in i])
    return chebyshev.chebvander(2 * x - 1, m)[:, 1:].mean(axis=0) - integrals


RESIDUALS = [
    *(rosenbrock, freudenstein_roth, powell_badly_scaled, brown_badly_scaled, beale, jennrich_sampson, helical_valley),
    *(bard, gaussian, meyer, gulf, box, powell_singular, wood, kowalik_osborne, brown_dennis, osborne_1, biggs_exp6),
    *(osborne_2, watson, rosenbrock, powell_singular, penalty_1, penalty_2, variably_dimensioned, trigonometric),
    *(brown_almost_linear, discrete_boundary_value, discrete_integral_equation, broyden_tridiagonal, broyden_banded),
    *(linear_full_rank, linear_rank_1, linear_rank_1_with_zeros, chebyquad),
]


PROBLEMS = mgh.problems()
CASES = list(zip(PROBLEMS, RESIDUALS, strict=True))
OTHER_SIZES = [
    (mgh.gulf_problem(100), gulf),
    (mgh.box_problem(3), box),
    (mgh.biggs_exp6_problem(6), biggs_exp6),
    (mgh.watson_problem(2), watson),
    (mgh.watson_problem(12), watson),
    (mgh.extended_rosenbrock_problem(4), rosenbrock),
    (mgh.extended_powell_singular_problem(8), powell_singular),
    (mgh.penalty_1_problem(1), penalty_1),
    (mgh.penalty_2_problem(4), penalty_2),
    (mgh.variably_dimensioned_problem(3), variably_dimensioned),
    (mgh.trigonometric_problem(1), trigonometric),
    (mgh.brown_almost_linear_problem(3), brown_almost_linear),
    (mgh.discrete_boundary_value_problem(1), discrete_boundary_value),
    (mgh.discrete_integral_equation_problem(2), discrete_integral_equation),
    (mgh.broyden_tridiagonal_problem(1), broyden_tridiagonal),
    (mgh.broyden_banded_problem(9), broyden_banded),
    (mgh.linear_full_rank_problem(5, 5), linear_full_rank),
    (mgh.linear_rank_1_problem(3, 7), linear_rank_1),
    (mgh.linear_rank_1_with_zeros_problem(4, 4), linear_rank_1_with_zeros),
    (mgh.chebyquad_problem(9), chebyquad),
]


def label(argument):
    return f"{argument.name}-{argument.x0.size}" if isinstance(argument, mgh.Problem) else argument.__name__


def jacobian(residuals, x, args):
    step = 1e-100
    return np.stack([residuals(x + 1j * step * unit, *args).imag / step for unit in np.eye(x.size)], axis=1)


def value(problem, x):
    return problem.objective(np.array(x, float), *problem.args)[0]


def test_all_thirty_five_are_there_in_order():
    assert [problem.x0.size for problem in PROBLEMS] == (
        [2] * 6 + [3] * 6 + [4] * 4 + [5, 6, 11, 9] + [20] * 2 + [10] * 5 + [20] * 4 + [10] * 3 + [8]
    )
    assert len({problem.name for problem in PROBLEMS}) == 35


@pytest.mark.parametrize(("problem", "residuals"), CASES + OTHER_SIZES, ids=label)
@pytest.mark.parametrize("spread", [0.0, 0.1, 0.4])
def test_value_and_gradient_are_those_of_the_residuals(problem, residuals, spread):
    generator = np.random.default_rng(7)
    x = problem.x0 * (1 + spread * generator.uniform(-1, 1, problem.x0.size))
    x += 0.1 * spread * generator.uniform(-1, 1, x.size)
    before = x.copy()
    with np.errstate(all="ignore"):  # harmless under- and overflow, which only uncompiled code reports
        found, gradient = problem.objective(x, *problem.args)
    np.testing.assert_array_equal(x, before)
    assert gradient.dtype == x.dtype
    assert gradient.shape == x.shape
    expected, derivatives = residuals(x, *problem.args), jacobian(residuals, x, problem.args)
    np.testing.assert_allclose(found, expected @ expected, rtol=1e-12)
    # Where terms cancel, rounding is relative to the terms, not to their sum.
    scale = 2 * np.abs(derivatives).T @ np.abs(expected)
    np.testing.assert_array_less(np.abs(gradient - 2 * derivatives.T @ expected), 1e-12 * scale.max() + 1e-300)


# As implementations of the paper report them; the round ones follow by hand.
AT_START = {
    "Rosenbrock": 24.2,
    "Freudenstein and Roth": 400.5,
    "Powell badly scaled": 1.13526171734838,
    "Brown badly scaled": 999998000003.0,
    "Beale": 14.203125,
    "Jennrich and Sampson": 4171.306161960493,
    "Helical valley": 2500.0,
    "Bard": 41.6817,
    "Gaussian": 3.88810699116688e-06,
    "Meyer": 1.69361e9,
    "Gulf": 12.11070582556949,
    "Box 3-D": 1031.1538106093985,
    "Powell singular": 215.0,
    "Wood": 19192.0,
    "Kowalik and Osborne": 5.31317e-3,
    "Brown and Dennis": 7926693.33699744,
    "Osborne 1": 0.879026,
    "Biggs EXP6": 0.77907007565597,
    "Osborne 2": 2.09342,
    "Watson": 30.0,
    "Extended Rosenbrock": 242.0,
    "Extended Powell singular": 1075.0,
    "Penalty I": 148032.56535,
    "Penalty II": 162.65277656596712,
    "Variably dimensioned": 2198551.1625,
    "Trigonometric": 0.00707575946622261,
    "Brown almost-linear": 273.248,
    "Broyden tridiagonal": 31.0,
    "Broyden banded": 720.0,
    "Linear full rank": 50.0,
    "Linear rank 1": 8658670.0,
    "Linear rank 1 with zero columns and rows": 4067996.0,
    "Chebyquad": 0.0386177,
}


@pytest.mark.parametrize("problem", [problem for problem in PROBLEMS if problem.name in AT_START], ids=label)
def test_value_at_the_standard_start(problem):
    assert value(problem, problem.x0) == pytest.approx(AT_START[problem.name], rel=2e-6)


NAMED = {problem.name: problem for problem in PROBLEMS}
ZEROS = [
    ("Rosenbrock", [1, 1]),
    ("Freudenstein and Roth", [5, 4]),
    ("Brown badly scaled", [1e6, 2e-6]),
    ("Beale", [3, 0.5]),
    ("Helical valley", [1, 0, 0]),
    ("Gulf", [50, 25, 1.5]),
    ("Box 3-D", [1, 10, 1]),
    ("Box 3-D", [10, 1, -1]),
    ("Box 3-D", [3, 3, 0]),
    ("Powell singular", [0, 0, 0, 0]),
    ("Wood", [1, 1, 1, 1]),
    ("Biggs EXP6", [1, 10, 1, 5, 4, 3]),
    ("Extended Rosenbrock", np.ones(20)),
    ("Extended Powell singular", np.zeros(20)),
    ("Variably dimensioned", np.ones(10)),
    ("Trigonometric", np.zeros(10)),
    ("Brown almost-linear", np.ones(10)),
]


@pytest.mark.parametrize(("name", "x"), ZEROS)
def test_published_zeros(name, x):
    assert value(NAMED[name], x) < 1e-28
    assert NAMED[name].minimum == 0.0


# Values from the paper, at its points or nearer ones; with more digits, from NIST, for problems 10, 15 and 17.
MINIMA = [
    ("Powell badly scaled", [1.098e-5, 9.106], 0.0, 1e-6),
    ("Freudenstein and Roth", [11.4128, -0.896805], 48.9842, 2e-6),
    ("Jennrich and Sampson", [0.2578, 0.2578], 124.362, 1e-5),
    ("Bard", [0.8406, -1e8, -1e8], 17.4286, 1e-5),
    ("Meyer", [5.6096364710e-3, 6.1813463463e3, 3.4522363462e2], 87.945855171, 1e-9),
    ("Kowalik and Osborne", [0.19280693458, 0.19128232873, 0.12305650693, 0.13606233068], 3.0750560385e-4, 1e-9),
    ("Kowalik and Osborne", [1e10, -14.0759, -45.2572e10, -28.2315e10], 1.02734e-3, 1e-5),
    ("Brown and Dennis", [-11.5944, 13.2036, -0.4034, 0.2368], 85822.2, 1e-6),
    ("Osborne 1", [0.37541005211, 1.9358469127, -1.4646871366, 0.012867534640, 0.022122699662], 5.4648946975e-5, 1e-8),
    (
        "Trigonometric",
        [0.0551509, 0.0568408, 0.0587639, 0.0609906, 0.0636263, 0.0668432, 0.208162, 0.164363, 0.0850068, 0.0914314],
        2.79506e-5,
        1e-5,
    ),
    ("Biggs EXP6", [1.711416, 17.6831975, 1.16314365, 5.18656, 1.711416, 1.16314365], 5.65565e-3, 1e-6),
    ("Brown almost-linear", [0] * 9 + [11], 1.0, 1e-12),
    ("Linear full rank", -np.ones(10), 10.0, 1e-12),
]


@pytest.mark.parametrize(("name", "x", "minimum", "relative"), MINIMA)
def test_published_minimisers(name, x, minimum, relative):
    assert value(NAMED[name], x) == pytest.approx(minimum, rel=relative, abs=1e-6 if minimum == 0.0 else 0.0)


PUBLISHED = {
    "Jennrich and Sampson": 124.362,
    "Bard": 8.21487e-3,
    "Gaussian": 1.12793e-8,
    "Meyer": 87.9458,
    "Kowalik and Osborne": 3.07505e-4,
    "Brown and Dennis": 85822.2,
    "Osborne 1": 5.46489e-5,
    "Osborne 2": 4.01377e-2,
    "Watson": 1.39976e-6,
    "Penalty I": 7.08765e-5,
    "Penalty II": 2.93660e-4,
    "Linear full rank": 20 - 10,
    "Linear rank 1": 20 * 19 / (2 * 41),
    "Linear rank 1 with zero columns and rows": (20**2 + 3 * 20 - 6) / (2 * 37),
    "Chebyquad": 3.51687e-3,
}
# From the standard start to a minimum that is only local.
LOCAL = {"Freudenstein and Roth": 48.9842536792400, "Trigonometric": 2.79506e-5}


@pytest.mark.parametrize("problem", PROBLEMS, ids=label)
def test_minimum_agrees_with_the_published_digits(problem):
    # Some of the paper's digits are rounded and some cut off.
    assert problem.minimum == pytest.approx(PUBLISHED.get(problem.name, 0.0), rel=4e-6)


def lowest(problem):
    """The minimum, less what rounding may take from it.

    A residual is rounded relative to its terms, of order 1 or in proportion to the residuals, and enters the sum
    multiplied by itself.
    """
    return problem.minimum * (1 - 1e-11) - 1e-14 * np.sqrt(problem.minimum)


OTHER_MINIMA = [
    (mgh.watson_problem(6), watson),
    (mgh.watson_problem(12), watson),
    (mgh.penalty_1_problem(4), penalty_1),
    (mgh.penalty_2_problem(4), penalty_2),
    (mgh.chebyquad_problem(7), chebyquad),
    (mgh.chebyquad_problem(9), chebyquad),
]


@pytest.mark.parametrize(("problem", "residuals"), CASES + OTHER_MINIMA, ids=label)
def test_least_squares_reaches_the_minimum_and_nothing_below(problem, residuals):
    with np.errstate(all="ignore"):
        found = least_squares(
            residuals,
            problem.x0,
            lambda x, *args: jacobian(residuals, x, args),
            args=problem.args,
            method="lm",
            **dict.fromkeys(("ftol", "xtol", "gtol"), 1e-15),
            max_nfev=2000,
        )
    reached = value(problem, found.x)
    assert reached >= lowest(problem)
    local = pytest.approx(LOCAL.get(problem.name, -1.0), rel=1e-5)
    # Where Biggs EXP6 ends depends on the last bits: it has many stationary points.
    assert reached in (local, pytest.approx(problem.minimum, rel=1e-9, abs=1e-25)) or problem.name == "Biggs EXP6"


def test_chebyquad_in_ten_dimensions_goes_below_the_published_minimum():
    problem = mgh.chebyquad_problem(10)
    x = [0.03299337, 0.15514536, 0.2001892, 0.38326166, 0.38326166, 0.52924948, 0.64035355, 0.71356585, 0.82848182]
    assert value(problem, [*x, 0.92525183]) == pytest.approx(problem.minimum, rel=1e-9)
    assert problem.minimum < 6.50395e-3


@pytest.mark.parametrize("problem", PROBLEMS, ids=label)
def test_bfgs_descends_to_nothing_below_the_minimum(problem):
    with np.errstate(all="ignore"):
        found = minimize(problem.objective, problem.x0, problem.args, "BFGS", jac=True, options={"gtol": 1e-9})
    assert lowest(problem) <= found.fun < value(problem, problem.x0)


@pytest.mark.parametrize("problem", PROBLEMS, ids=label)
def test_no_finite_point_raises(problem):
    n = problem.x0.size
    signs = np.where(np.arange(n) % 2, 1.0, -1.0)
    for x in [
        size * sign for size in (0.0, 1.0, 50.0, 1e10, 1e200) for sign in (np.ones(n), -np.ones(n), signs, -signs)
    ]:
        with np.errstate(all="ignore"):
            found, gradient = problem.objective(x, *problem.args)
        assert isinstance(found, float)
        assert gradient.shape == x.shape


def test_gulf_has_a_gradient_where_a_distance_is_zero():
    problem = mgh.gulf_problem(100)
    assert problem.args[1][-1] == 25.0
    with np.errstate(all="ignore"):
        found, gradient = problem.objective(np.array([50.0, 25.0, 1.5]), *problem.args)
    assert found < 1e-28
    assert np.abs(gradient).max() < 1e-12


def test_the_helical_valley_is_cut_where_the_paper_cuts_it():
    problem = NAMED["Helical valley"]
    below_left, left = value(problem, [-1, -1e-9, 5]), value(problem, [-1, 1e-9, 5])
    assert below_left == pytest.approx(left, abs=1e-5)
    assert abs(value(problem, [-1e-9, -1, 5]) - value(problem, [1e-9, -1, 5])) > 1e3
