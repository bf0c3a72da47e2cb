"""The regressions of NIST: the compiled sums of squares against the formulas in NIST's own files.

A formula is evaluated by NumPy as NIST wrote it, and differentiated by complex steps, which lose no digits.
"""

import functools
import pathlib
import re
import sys

import numpy as np
import pytest
from scipy.optimize import least_squares

from nadam_numba.datasets import MISRA1A, THURBER

# At the end, where the checkout does not hide an installed nadam_numba.
sys.path.append(str(pathlib.Path(__file__).parents[1]))

from benchmarks.problems import nist_strd

EPS = np.finfo(np.float64).eps
FUNCTIONS = {name: getattr(np, name) for name in ("arctan", "cos", "exp", "log", "pi", "sin")}

read = functools.cache(nist_strd.read)
every_regression = pytest.mark.parametrize("name", nist_strd.OBJECTIVES)


def predictions(regression, b):
    formula = regression.model.partition("=")[2].replace("[", "(").replace("]", ")")
    x = regression.x
    predictors = {"x": x} if x.ndim == 1 else {"x1": x[:, 0], "x2": x[:, 1]}
    names = {f"b{k}": parameter for k, parameter in enumerate(b, 1)}
    return eval(formula, {"__builtins__": {}}, {**FUNCTIONS, **predictors, **names})


def jacobian(regression, b):
    steps = 1e-100j * np.eye(len(b))
    columns = [np.imag(predictions(regression, b + step)) / 1e-100 for step in steps]
    return np.stack(np.broadcast_arrays(*columns, regression.y)[:-1], axis=1)


def points(regression):
    return [np.array(b) for b in (*regression.starts, regression.parameters)]


def half_a_unit(number):
    """What rounding to eleven digits may have changed."""
    return 0.5 * 10.0 ** (np.floor(np.log10(np.abs(number))) - 10)


def test_there_are_27_regressions_and_two_starts_of_each():
    problems = nist_strd.problems()
    assert len(nist_strd.OBJECTIVES) == len(set(nist_strd.OBJECTIVES)) == 27
    assert {f"{name}.dat" for name in nist_strd.OBJECTIVES} == {file.name for file in nist_strd.FOLDER.iterdir()}
    assert [problem.name for problem in problems] == [
        f"{name}, start {number}" for name in nist_strd.OBJECTIVES for number in (1, 2)
    ]
    for problem in problems:
        value, gradient = problem.objective(problem.x0, *problem.args)
        assert problem.minimum < value < np.inf
        assert gradient.shape == problem.x0.shape
        assert np.isfinite(gradient).all()


@every_regression
def test_file_is_read_whole(name):
    regression = read(name)
    text = (nist_strd.FOLDER / f"{name}.dat").read_text()

    def stated(title):
        return float(re.search(rf"{title}:\s+(\S+)", text)[1])

    size = len(regression.parameters)
    assert re.search(r"Dataset Name:\s+(\S+)", text)[1] == name
    assert len(regression.y) == len(regression.x) == stated("Number of Observations")
    assert [len(start) for start in regression.starts] == [size, size]
    assert sorted(set(re.findall(r"\bb\d\b", regression.model))) == [f"b{k}" for k in range(1, size + 1)]
    # The file of Rat43 states 9 degrees of freedom; its deviation is that of 15 - 4.
    deviation = np.sqrt(regression.residual_sum_of_squares / (len(regression.y) - size))
    np.testing.assert_allclose(deviation, stated("Residual Standard Deviation"), rtol=2e-10)


@pytest.mark.parametrize("dataset", [MISRA1A, THURBER], ids=lambda dataset: dataset.name)
def test_same_numbers_as_in_the_package(dataset):
    regression = read(dataset.name)
    np.testing.assert_array_equal(regression.x, dataset.x)
    np.testing.assert_array_equal(regression.y, dataset.y)
    assert regression[4:] == dataset[4:]


@every_regression
def test_value_and_gradient(name):
    regression = read(name)
    for b in points(regression):
        value, gradient = nist_strd.OBJECTIVES[name](b, regression.x, regression.y)
        prediction, slopes = predictions(regression, b), jacobian(regression, b)
        residual = regression.y - prediction
        # Residuals cancel, so rounding counts in units of what was subtracted. 100 roundings: an exponential or power
        # magnifies those of its argument by that argument, which is below 30, and every sum has its own.
        error = 100 * EPS * (np.abs(regression.y) + np.abs(prediction))
        assert abs(value - residual @ residual) <= 2 * error @ np.abs(residual) + error @ error
        allowed = 2 * (error + 100 * EPS * np.abs(residual)) @ np.abs(slopes)
        assert (np.abs(gradient + 2 * residual @ slopes) <= allowed).all()


@every_regression
def test_certified_sum_of_squares(name):
    regression = read(name)
    b = np.array(regression.parameters)
    value, _ = nist_strd.OBJECTIVES[name](b, regression.x, regression.y)
    # At a minimum, rounded parameters move residuals to first order and the sum to second; the factor leaves room for
    # the curvature of the model, which the Jacobian does not see.
    moved = np.linalg.norm(jacobian(regression, b), axis=0) @ half_a_unit(b)
    rounding = 100 * EPS * np.sqrt(regression.residual_sum_of_squares) * np.linalg.norm(regression.y)
    allowed = half_a_unit(regression.residual_sum_of_squares) + 2 * moved**2 + rounding
    assert abs(value - regression.residual_sum_of_squares) <= allowed


def test_lowest_computed_value_of_lanczos1():
    # Refined from the certified parameters by Gauss-Newton steps with 80-bit residuals.
    b = [0.09510000002742439, 1.0000000001276868, 0.8607000001344207]
    b += [3.0000000002345613, 1.5575999998382153, 5.000000000111519]
    (problem,) = (problem for problem in nist_strd.problems() if problem.name == "Lanczos1, start 2")
    value, _ = problem.objective(np.array(b), *problem.args)
    # The exponential of another system may round otherwise.
    np.testing.assert_allclose(value, problem.minimum, rtol=1e-2)


@every_regression
def test_least_squares_finds_the_certified_parameters(name):
    regression = read(name)
    start = np.array(regression.starts[1])
    fit = least_squares(
        lambda b: predictions(regression, b) - regression.y,
        start,
        jac=lambda b: jacobian(regression, b),
        x_scale=np.abs(start),
        method="lm",
        ftol=1e-15,
        xtol=1e-15,
        gtol=1e-15,
        max_nfev=5000,
    )
    value, _ = nist_strd.OBJECTIVES[name](fit.x, regression.x, regression.y)
    # It stops where the sum no longer falls in double precision, and the sum is flat to first order there.
    np.testing.assert_allclose(fit.x, regression.parameters, rtol=1e-5)
    if name != "Lanczos1":  # see the test of its lowest value
        np.testing.assert_allclose(value, regression.residual_sum_of_squares, rtol=1e-9)


@every_regression
def test_parameters_outside_the_domain_raise_nothing(name):
    regression = read(name)
    b = np.array(regression.parameters)
    with np.errstate(all="ignore"):
        for scale in (0.0, -1.0, 1e-300, 1e300, -1e300):
            value, gradient = nist_strd.OBJECTIVES[name](scale * b, regression.x, regression.y)
            assert isinstance(value, float)
            assert gradient.shape == b.shape


@pytest.mark.parametrize("name", ["Rat42", "Rat43"])
def test_growth_is_zero_and_smooth_where_its_exponential_overflows(name):
    regression = read(name)
    b = np.array(regression.parameters)
    b[1] = 1e3
    with np.errstate(over="ignore"):
        value, gradient = nist_strd.OBJECTIVES[name](b, regression.x, regression.y)
    np.testing.assert_allclose(value, regression.y @ regression.y, rtol=1e-14)
    assert np.isfinite(gradient).all()
