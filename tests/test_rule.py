"""The rule against torch's formulas and against high-precision arithmetic."""

import math
from decimal import Decimal, localcontext

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from naive import nadam_trajectory, torch_trajectory

from nadam_numba import NAdam, cpu, rule

VARIANTS = [{}, {"lr": 0.1}, {"psi": 1.0}, {"psi": math.inf}, {"b1": 0.5, "b2": 0.9}, {"eps": 1e-3}, {"b1": 0.0}]
NAMES = {"lr": "learning_rate", "b1": "beta_1", "b2": "beta_2", "eps": "epsilon", "psi": "momentum_decay"}


def random_run(seed, steps=200, size=19):
    generator = np.random.default_rng(seed)
    return generator.standard_normal(size), generator.standard_normal((steps, size))


def stepped_trajectory(p, gradients, **hyperparameters):
    p = p.copy()
    optimizer = NAdam(p, **{NAMES[name]: value for name, value in hyperparameters.items()})
    points = []
    for g in gradients:
        optimizer.step(g)
        points.append(p.copy())
    return np.array(points)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_trajectory_is_torchs_to_1e_15(variant, seed):
    p, gradients = random_run(seed)
    expected = torch_trajectory(p, gradients, **variant)
    deviation = np.abs(stepped_trajectory(p, gradients, **variant) - expected).max()
    assert deviation <= 1e-15 * np.abs(expected).max()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_trajectory_has_the_bits_of_the_numpy_reference(variant, dtype):
    p, gradients = (array.astype(dtype) for array in random_run(3))
    np.testing.assert_array_equal(
        stepped_trajectory(p, gradients, **variant), nadam_trajectory(p, gradients, **variant), strict=True
    )


@given(
    step=st.integers(1, 10**7),
    mu_product=st.floats(0.0, 1.0),
    beta_1=st.floats(0.0, 0.9999),
    beta_2=st.floats(0.0, 0.9999),
    momentum_decay=st.one_of(st.floats(0.0, 10.0), st.just(math.inf)),
)
def test_compiled_coefficients_have_the_bits_of_python(step, mu_product, beta_1, beta_2, momentum_decay):
    arguments = (step, mu_product, beta_1, beta_2, momentum_decay)
    assert cpu.step_coefficients(*arguments) == rule.step_coefficients(*arguments)


@pytest.mark.parametrize("step", [1, 2, 17, 1000])
def test_coefficients_against_fifty_digits(step):
    with localcontext() as context:
        context.prec = 50
        b1, b2, psi = Decimal("0.9"), Decimal("0.999"), Decimal("0.004")

        def mu(t):
            return b1 * (1 - Decimal("0.5") * Decimal("0.96") ** (t * psi))

        product = math.prod((mu(t) for t in range(1, step + 1)), start=Decimal(1))
        exact = (
            product,
            (1 - mu(step)) / (1 - product),
            mu(step + 1) / (1 - product * mu(step + 1)),
            1 / (1 - b2**step),
        )
    mu_product = 1.0
    for t in range(1, step + 1):
        mu_product, *coefficients = rule.step_coefficients(t, mu_product, 0.9, 0.999, 0.004)
    # 1 - 0.999 in float64 is off by 1e-13 of itself, which the first corrections inherit from the formula.
    np.testing.assert_allclose((mu_product, *coefficients), np.array(exact, dtype=float), rtol=2e-13)
