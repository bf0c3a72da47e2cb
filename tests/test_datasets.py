"""The regressions' numbers: SciPy's least squares finds NIST's certified answers from them."""

import numpy as np
import pytest
from scipy.optimize import least_squares

from nadam_numba.datasets import MISRA1A, THURBER


def misra1a(b, x):
    return b[0] * (1 - np.exp(-b[1] * x))


def thurber(b, x):
    return np.polyval(b[3::-1], x) / np.polyval([*b[:3:-1], 1.0], x)


@pytest.mark.parametrize("start", [0, 1])
@pytest.mark.parametrize(("dataset", "model"), [(MISRA1A, misra1a), (THURBER, thurber)], ids=["Misra1a", "Thurber"])
def test_certified_answer(dataset, model, start):
    scale = np.abs(dataset.starts[start])
    fit = least_squares(
        lambda b: model(b, dataset.x) - dataset.y,
        dataset.starts[start],
        x_scale=scale,
        method="lm",
        ftol=1e-15,
        xtol=1e-15,
    )
    np.testing.assert_allclose(2 * fit.cost, dataset.residual_sum_of_squares, rtol=1e-9)
    np.testing.assert_allclose(fit.x, dataset.parameters, rtol=1e-6)
