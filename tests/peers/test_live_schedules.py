"""Schedules beside the real Keras and torch, with every option."""

import importlib.util
import json
import os
import subprocess
import sys

import numpy as np
import pytest

from nadam_numba import schedules

STEPS = list(range(400))


def at(schedule):
    return [schedule(step) for step in STEPS]


# Keras, in a process of its own: its backend is settled when it is imported, and of its backends only torch's computes
# schedules in float64, and that only from an initial rate of NumPy's float64.

KERAS = [
    ("ExponentialDecay", schedules.exponential_decay, [0.3, 100, 0.7]),
    ("ExponentialDecay", schedules.exponential_decay, [0.3, 100, 0.7, True]),
    ("ExponentialDecay", schedules.exponential_decay, [0.3, 7, 1.01, True]),
    ("ExponentialDecay", schedules.exponential_decay, [0.3, 2.5, 0.0]),
    ("InverseTimeDecay", schedules.inverse_time_decay, [0.3, 100, 0.7]),
    ("InverseTimeDecay", schedules.inverse_time_decay, [0.3, 100, 0.7, True]),
    ("InverseTimeDecay", schedules.inverse_time_decay, [0.3, 2.5, 4.0]),
    ("PolynomialDecay", schedules.polynomial_decay, [0.3, 100]),
    ("PolynomialDecay", schedules.polynomial_decay, [0.3, 100, 0.1, 0.5]),
    ("PolynomialDecay", schedules.polynomial_decay, [0.3, 100, 0.1, 0.5, True]),
    ("PolynomialDecay", schedules.polynomial_decay, [0.1, 7, 0.3, 2.0, True]),
    ("PolynomialDecay", schedules.polynomial_decay, [0.3, 1000, 0.0, 3.0]),
    ("PiecewiseConstantDecay", schedules.piecewise_constant, [[100], [0.3, 0.1]]),
    ("PiecewiseConstantDecay", schedules.piecewise_constant, [[0, 10, 200], [0.3, 0.2, 0.4, 0.1]]),
    ("PiecewiseConstantDecay", schedules.piecewise_constant, [[10.5, 20.5], [0.3, 0.2, 0.1]]),
    ("CosineDecay", schedules.cosine_decay, [0.3, 200]),
    ("CosineDecay", schedules.cosine_decay, [0.3, 200, 0.25]),
    ("CosineDecay", schedules.cosine_decay, [0.3, 200, 0.25, None, 50]),
    ("CosineDecay", schedules.cosine_decay, [0.0, 200, 0.0, 0.3, 50]),
    ("CosineDecay", schedules.cosine_decay, [0.3, 200, 0.1, 0.1, 50]),
    ("CosineDecay", schedules.cosine_decay, [0.1, 200, 0.25, 0.3, 0]),
    ("CosineDecayRestarts", schedules.cosine_decay_restarts, [0.3, 13]),
    ("CosineDecayRestarts", schedules.cosine_decay_restarts, [0.3, 13, 1.0]),
    ("CosineDecayRestarts", schedules.cosine_decay_restarts, [0.3, 13, 1.0, 0.9, 0.1]),
    ("CosineDecayRestarts", schedules.cosine_decay_restarts, [0.3, 13, 2.0, 0.9, 0.1]),
    ("CosineDecayRestarts", schedules.cosine_decay_restarts, [0.3, 10, 1.5, 1.1]),
    ("CosineDecayRestarts", schedules.cosine_decay_restarts, [0.3, 20, 3.0, 0.5, 0.25]),
]

METRICS = {
    "flat": [1.0] * 60,
    # Eighths, for Keras compares metrics in float32.
    "noise": (np.random.default_rng(0).integers(0, 80, 400) / 8).tolist(),
    "falling": (np.maximum(80 - np.arange(400), 24 + np.random.default_rng(1).integers(0, 3, 400)) / 8).tolist(),
}
PLATEAUS = [
    {"mode": mode, "factor": 0.75, "patience": patience, "cooldown": cooldown, "min_delta": min_delta, "min_lr": min_lr}
    for mode in ("min", "max")
    for patience in (0, 1, 3)
    for cooldown in (0, 1, 4)
    for min_delta, min_lr in ((0.0, 0.0), (0.5, 0.01))
]

IN_KERAS = """
import json, sys, types
import keras, numpy as np

assert keras.backend.backend() == "torch"
keras.config.set_floatx("float64")
todo = json.load(sys.stdin)


def rates(name, arguments):
    arguments[0] = np.float64(arguments[0]) if np.isscalar(arguments[0]) else arguments[0]
    if name == "PiecewiseConstantDecay":
        arguments[1] = [np.float64(value) for value in arguments[1]]
    if name == "CosineDecay" and len(arguments) > 3:
        arguments.insert(3, "name")
    schedule = getattr(keras.optimizers.schedules, name)(*arguments)
    return [float(schedule(step)) for step in todo["steps"]]


def reported(options, metrics):
    callback = keras.callbacks.ReduceLROnPlateau("loss", **options)
    optimizer = types.SimpleNamespace(learning_rate=np.float64(1.0))
    callback.set_model(types.SimpleNamespace(optimizer=optimizer))
    callback.on_train_begin()
    after = []
    for epoch, metric in enumerate(metrics):
        callback.on_epoch_end(epoch, {"loss": metric})
        after.append(float(optimizer.learning_rate))
    return after


print(json.dumps({
    "schedules": [rates(name, arguments) for name, arguments in todo["schedules"]],
    "plateaus": [[reported(options, metrics) for metrics in todo["metrics"]] for options in todo["plateaus"]],
}))
"""


@pytest.fixture(scope="module")
def keras():
    """What Keras says of everything in `KERAS` and `PLATEAUS`."""
    for package in ("keras", "torch"):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed")
    todo = {
        "steps": STEPS,
        "schedules": [[name, arguments] for name, _, arguments in KERAS],
        "plateaus": PLATEAUS,
        "metrics": list(METRICS.values()),
    }
    process = subprocess.run(
        [sys.executable, "-c", IN_KERAS],
        input=json.dumps(todo),
        env={**os.environ, "KERAS_BACKEND": "torch"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert process.returncode == 0, process.stderr
    return json.loads(process.stdout.splitlines()[-1])


@pytest.mark.parametrize("index", range(len(KERAS)), ids=[f"{name}{arguments}" for name, _, arguments in KERAS])
def test_keras(index, keras):
    _, make, arguments = KERAS[index]
    np.testing.assert_allclose(at(make(*arguments)), keras["schedules"][index], rtol=1e-11, atol=1e-16)


@pytest.mark.parametrize("index", range(len(PLATEAUS)), ids=[str(list(options.values())) for options in PLATEAUS])
def test_keras_callback(index, keras):
    for metrics, expected in zip(METRICS.values(), keras["plateaus"][index], strict=True):
        plateau = schedules.reduce_on_plateau(1.0, **PLATEAUS[index])
        np.testing.assert_allclose(reported(plateau, metrics), expected, rtol=1e-6, atol=1e-40)
        assert len(set(expected)) > 1


def reported(plateau, metrics):
    rates = []
    for step, metric in enumerate(metrics):
        plateau.update(metric)
        rates.append(plateau(step))
    return rates


# torch


def torch_rates(make, learning_rate=0.3):
    """The learning rate of each step under a torch scheduler."""
    torch = pytest.importorskip("torch")
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=learning_rate)
    scheduler = make(torch.optim.lr_scheduler, optimizer)
    rates = [optimizer.param_groups[0]["lr"]]
    for _ in STEPS[1:]:
        optimizer.step()
        scheduler.step()
        rates.append(optimizer.param_groups[0]["lr"])
    return rates


@pytest.mark.parametrize("three_phase", [False, True])
@pytest.mark.parametrize("strategy", ["cos", "linear"])
@pytest.mark.parametrize("pct_start", [0.0, 0.1, 0.3, 0.5, 0.77, 1.0])
@pytest.mark.parametrize("factors", [(25.0, 1e4), (2.0, 0.5)])
def test_one_cycle(pct_start, strategy, factors, three_phase):
    arguments = 0.3, len(STEPS), pct_start, strategy, *factors, three_phase
    expected = torch_rates(
        lambda schedulers, optimizer: schedulers.OneCycleLR(
            optimizer,
            0.3,
            len(STEPS),
            pct_start=pct_start,
            anneal_strategy=strategy,
            cycle_momentum=False,
            div_factor=factors[0],
            final_div_factor=factors[1],
            three_phase=three_phase,
        )
    )
    np.testing.assert_array_equal(at(schedules.one_cycle(*arguments)), expected)


@pytest.mark.parametrize("factors", [(1.0 / 3.0, 1.0), (0.1, 0.5), (1.0, 0.0)])
def test_linear_warmup(factors):
    expected = torch_rates(lambda schedulers, optimizer: schedulers.LinearLR(optimizer, *factors, total_iters=50))
    np.testing.assert_allclose(at(schedules.linear_warmup(0.3, 50, *factors)), expected, rtol=1e-12, atol=1e-15)


def test_linear_warmup_before_another_schedule():
    expected = torch_rates(
        lambda schedulers, optimizer: schedulers.SequentialLR(
            optimizer,
            [schedulers.LinearLR(optimizer, 0.1, total_iters=50), schedulers.ExponentialLR(optimizer, 0.99)],
            [50],
        )
    )
    rate = schedules.linear_warmup(schedules.exponential_decay(0.3, 1, 0.99), 50, 0.1)
    np.testing.assert_allclose(at(rate), expected, rtol=1e-12)


@pytest.mark.parametrize(
    ("rate", "make"),
    [
        (schedules.exponential_decay(0.3, 1, 0.99), lambda s, o: s.ExponentialLR(o, 0.99)),
        (schedules.exponential_decay(0.3, 30, 0.5, staircase=True), lambda s, o: s.StepLR(o, 30, 0.5)),
        (schedules.piecewise_constant([29, 79], [0.3, 0.15, 0.075]), lambda s, o: s.MultiStepLR(o, [30, 80], 0.5)),
        (schedules.polynomial_decay(0.3, 100, 0.0, 2.0), lambda s, o: s.PolynomialLR(o, 100, 2.0)),
        (schedules.cosine_decay(0.3, 400, 0.1), lambda s, o: s.CosineAnnealingLR(o, 400, 0.03)),
        (
            schedules.cosine_decay_restarts(0.3, 13, 2.0, alpha=0.1),
            lambda s, o: s.CosineAnnealingWarmRestarts(o, 13, 2, 0.03),
        ),
    ],
    ids=["ExponentialLR", "StepLR", "MultiStepLR", "PolynomialLR", "CosineAnnealingLR", "CosineAnnealingWarmRestarts"],
)
def test_how_the_docstrings_say_to_get_torchs(rate, make):
    np.testing.assert_allclose(at(rate), torch_rates(make), rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize("mode", ["min", "max"])
@pytest.mark.parametrize("patience", [0, 1, 3])
@pytest.mark.parametrize("cooldown", [0, 1, 4])
@pytest.mark.parametrize(("threshold", "threshold_mode"), [(1e-4, "rel"), (0.1, "rel"), (0.0, "abs"), (0.5, "abs")])
@pytest.mark.parametrize(("min_lr", "eps"), [(0.0, 1e-8), (0.01, 0.0), (0.0, 0.05)])
def test_reduce_on_plateau(mode, patience, cooldown, threshold, threshold_mode, min_lr, eps):
    torch = pytest.importorskip("torch")
    options = {
        "mode": mode,
        "factor": 0.75,
        "patience": patience,
        "threshold": threshold,
        "threshold_mode": threshold_mode,
        "cooldown": cooldown,
        "min_lr": min_lr,
        "eps": eps,
    }
    noise = np.random.default_rng(2).normal(0.0, 3.0, 400)
    for metrics in (*METRICS.values(), noise.tolist(), [np.nan, 1.0, np.inf, 1.0, np.nan, 1.0] * 10):
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
        scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, **options)
        expected = []
        for metric in metrics:
            scheduler.step(metric)
            expected.append(optimizer.param_groups[0]["lr"])
        plateau = schedules.reduce_on_plateau(1.0, **options)
        assert reported(plateau, metrics) == expected
        assert plateau.state.best == scheduler.best
