"""Every option of NAdam, alone and combined, to the bit against the NumPy reference; and exact resume for all."""

import copy
import os

import numpy as np
import pytest
from marks import COMPILES, needs_compiler
from naive import Optimizer

from nadam_numba import NAdam, jit, schedules

ALONE = [
    {},
    {"learning_rate": 0.3},
    {"learning_rate": schedules.cosine_decay(0.1, 20)},
    {"momentum_decay": 1.0},
    {"momentum_decay": float("inf")},
    {"momentum_decay": 0.0},
    {"beta_1": 0.0},
    {"beta_2": 0.0},
    {"epsilon": 0.1},
    {"epsilon_root": 1e-3},
    {"nesterov": False},
    {"weight_decay": 0.1},
    {"weight_decay": 0.1, "decoupled_weight_decay": True},
    {"amsgrad": True, "beta_2": 0.5},
    {"maximize": True},
    {"maximize": True, "weight_decay": 0.1},
    {"clipvalue": 0.3},
    {"clipnorm": 0.5},
    {"global_clipnorm": 0.5},
    {"clipvalue": 0.8, "clipnorm": 0.9, "global_clipnorm": 0.7},
    {"use_ema": True},
    {"use_ema": True, "ema_momentum": 0.5, "ema_overwrite_frequency": 3},
    {"loss_scale_factor": 1024.0},
    {"loss_scale_factor": 3.0, "clipvalue": 0.1},
    {"gradient_accumulation_steps": 3},
    {"gradient_accumulation_steps": 2, "use_ema": True, "ema_overwrite_frequency": 2, "clipnorm": 0.4},
    {"state_dtype": "bfloat16"},
    {"state_dtype": "bfloat16", "amsgrad": True, "beta_2": 0.5},
    {"state_dtype": "bfloat16", "gradient_accumulation_steps": 2, "use_ema": True, "ema_overwrite_frequency": 3},
]


def random_options(generator):
    """A combination of options, most of them present in about half of the combinations."""
    candidates = {
        "learning_rate": float(10 ** generator.uniform(-4, 0)),
        "beta_1": float(generator.uniform(0.0, 0.99)),
        "beta_2": float(generator.uniform(0.0, 0.9999)),
        "epsilon": float(10 ** generator.uniform(-10, -1)),
        "epsilon_root": float(10 ** generator.uniform(-10, -1)),
        "momentum_decay": float(generator.choice([0.0, 4e-3, 1.0, np.inf])),
        "weight_decay": float(generator.uniform(0.0, 0.5)),
        "decoupled_weight_decay": True,
        "nesterov": False,
        "amsgrad": True,
        "maximize": True,
        "clipvalue": float(generator.uniform(0.05, 2.0)),
        "clipnorm": float(generator.uniform(0.05, 5.0)),
        "global_clipnorm": float(generator.uniform(0.05, 5.0)),
        "use_ema": True,
        "ema_momentum": float(generator.uniform(0.0, 1.0)),
        "ema_overwrite_frequency": int(generator.integers(1, 5)),
        "loss_scale_factor": float(generator.choice([2.0, 3.0, 1024.0])),
        "gradient_accumulation_steps": int(generator.integers(2, 5)),
    }
    options = {name: value for name, value in candidates.items() if generator.random() < 0.5}
    # Less often, for in Python it takes twice as long.
    return options | ({"state_dtype": "bfloat16"} if generator.random() < 0.2 else {})


CASES = [(options, seed) for seed, options in enumerate(ALONE)]
# Without the compiler the loops over elements take a hundred times as long.
STEPS, COMBINATIONS, LARGE = (25, int(os.environ.get("COMBINATIONS", "50")), 2049) if COMPILES else (8, 10, 65)
CASES += [(random_options(np.random.default_rng(seed)), seed) for seed in range(100, 100 + COMBINATIONS)]


def problem(seed, dtype, steps=STEPS):
    """Parameters, and gradients of which some are None and some are rows."""
    generator = np.random.default_rng(seed)
    params = [generator.standard_normal(shape).astype(dtype) for shape in ((5, 3), (LARGE,), ())]
    gradients = []
    for _ in range(steps):
        step = [np.asarray(generator.standard_normal(p.shape) * 10 ** generator.uniform(-2, 1), dtype) for p in params]
        kind = generator.random()
        if kind < 0.2:
            step[generator.integers(3)] = None
        elif kind < 0.4:
            step[0] = generator.integers(0, 5, 4), generator.standard_normal((4, 3)).astype(dtype)
        gradients.append(step)
    return params, gradients


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("options", "seed"), CASES)
def test_the_bits_of_the_reference(options, seed, dtype):
    params, gradients = problem(seed, dtype)
    reference = Optimizer(params, **options)
    optimizer = NAdam(params, **options)
    for step in gradients:
        reference.step(step)
        optimizer.step(step)
        for p, expected in zip(params, reference.params, strict=True):
            np.testing.assert_array_equal(p, expected, strict=True)
    assert optimizer.iterations == reference.updates
    optimizer.finalize()
    final = reference.averages if options.get("use_ema") else reference.params
    if optimizer.iterations:
        for p, expected in zip(params, final, strict=True):
            np.testing.assert_array_equal(p, expected, strict=True)


@needs_compiler
@pytest.mark.parametrize("seed", range(100, 106))
def test_threads_change_no_bit(seed, monkeypatch):
    options = random_options(np.random.default_rng(seed))
    params, gradients = problem(seed, np.float64, steps=5)
    others = copy.deepcopy(params)
    optimizer, parallel = NAdam(params, **options), NAdam(others, **options)
    for step in gradients:
        optimizer.step(step)
    monkeypatch.setattr(jit, "PARALLEL_CROSSOVER", dict.fromkeys(jit.PARALLEL_CROSSOVER, 1000))
    for step in gradients:
        parallel.step(step)
    for p, other in zip(params, others, strict=True):
        np.testing.assert_array_equal(p, other)


@pytest.mark.parametrize(("options", "seed"), CASES)
def test_resume_is_exact(options, seed, tmp_path):
    params, gradients = problem(seed, np.float32)
    optimizer = NAdam(params, **options)
    at = seed % (STEPS // 2)
    for step in gradients[:at]:
        optimizer.step(step)
    optimizer.save(tmp_path / "checkpoint.npz")
    loaded = [np.full_like(p, np.nan) for p in params]
    resumed = NAdam.load(tmp_path / "checkpoint.npz", loaded, learning_rate=options.get("learning_rate"))
    assert repr(resumed) == repr(optimizer)
    for step in gradients[at:]:
        optimizer.step(step)
        resumed.step(step)
    for p, other in zip(params, loaded, strict=True):
        np.testing.assert_array_equal(p, other)


@pytest.mark.parametrize("dtype", [np.complex64, np.complex128])
@pytest.mark.parametrize(("options", "seed"), CASES[::3])
def test_real_and_imaginary_parts_are_independent_parameters(options, seed, dtype):
    generator = np.random.default_rng(seed)
    real = np.float32 if dtype is np.complex64 else np.float64
    pairs = generator.standard_normal((6, 2)).astype(real)
    array = pairs.view(dtype)[:, 0].copy()
    optimizer, reference = NAdam(array, **options), Optimizer([pairs], **options)
    for _ in range(12):
        g = generator.standard_normal((6, 2)).astype(real)
        optimizer.step(g.view(dtype)[:, 0])
        reference.step([g])
    np.testing.assert_array_equal(array.view(real).reshape(6, 2), reference.params[0])
