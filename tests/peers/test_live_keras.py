"""nadam_numba.compat.keras against the real Keras, with each backend that is installed, in a process of its own."""

import importlib.util
import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

if importlib.util.find_spec("keras") is None:
    pytest.skip("could not import 'keras'", allow_module_level=True)

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE))  # the helpers beside this file

import cases  # noqa: E402 - found on the path just set
import keras_errors  # noqa: E402
import our_keras  # noqa: E402

from nadam_numba import schedules  # noqa: E402
from nadam_numba.compat.keras import Nadam  # noqa: E402

BACKENDS = [name for name in ("tensorflow", "jax", "torch") if importlib.util.find_spec(name)]
RESUMED = {
    "name": "resumed",
    "problem": "dense",
    "seed": 7,
    "floatx": "float32",
    "options": {
        "learning_rate": 0.05,
        "weight_decay": 0.1,
        "gradient_accumulation_steps": 3,
        "use_ema": True,
        "ema_momentum": 0.875,
        "ema_overwrite_frequency": 4,
    },
}


def all_cases(backend):
    peer = "keras_" + backend
    return cases.single_cases(peer) + [cases.random_case(peer, seed) for seed in range(cases.COMBINATIONS)]


def resumed_case(backend):
    return {**RESUMED, "peer": "keras_" + backend}


def flat(arrays):
    return np.concatenate([array.ravel() for array in arrays])


def ten_steps(case):
    """Ours after ten calls: in the middle of gathering gradients."""
    params, gradients = cases.data(case)
    optimizer = our_keras.optimizer(case, params)
    for step in range(10):
        our_keras.step(optimizer, gradients[step])
    store = {}
    optimizer.save_own_variables(store)
    return optimizer, params, store


@pytest.fixture(scope="module", params=BACKENDS)
def real(request, tmp_path_factory):
    """The backend, and the arrays and facts of `run_keras`."""
    backend = request.param
    folder = tmp_path_factory.mktemp(backend)
    case = resumed_case(backend)
    given = {"cases": all_cases(backend), "resumed": case, "config": config_with_schedule()}
    (folder / "cases.json").write_text(json.dumps(given))
    _, params, store = ten_steps(case)
    np.savez(folder / "ours.npz", **store, **{f"param_{i}": p for i, p in enumerate(params)})
    environment = {**os.environ, "KERAS_BACKEND": backend}
    process = subprocess.run(
        [sys.executable, str(HERE / "run_keras.py"), str(folder)], env=environment, capture_output=True, text=True
    )
    assert process.returncode == 0, process.stderr[-3000:]
    with np.load(folder / "theirs.npz") as archive:
        return backend, dict(archive), json.loads((folder / "theirs.json").read_text())


def config_with_schedule():
    return Nadam(schedules.exponential_decay(0.1, 50.0, 0.5), weight_decay=0.25, name="mine").get_config()


def test_trajectories(real):
    backend, arrays, _ = real
    excesses = {}
    for case in all_cases(backend):
        name = case["name"]
        if name + ".rates" in arrays:
            rates = arrays[name + ".rates"]
            case["options"] = {**case["options"], "learning_rate": lambda step, rates=rates: float(rates[step])}
        ours = our_keras.run(case, *cases.data(case))
        excess = our_keras.excess(map(flat, ours["points"]), arrays[name])
        for key in ("averages", "finalized"):
            if key in ours:
                excess = max(excess, our_keras.excess([flat(ours[key])], [arrays[f"{name}.{key}"]]))
        excesses[name] = excess
    # A NaN must fail, too.
    assert {name: excess for name, excess in excesses.items() if not excess <= 1.0} == {}


def test_exact_scalars_stay_near(real):
    backend, arrays, _ = real
    names = ["float32_scalars", "float32_scalars_weight_decay", "clipnorm", "float32_scalars_ema"]
    deviations = {}
    for case in all_cases(backend):
        if case["name"] in names:
            ours = our_keras.run(case, *cases.data(case), scalar_dtype="float64")
            deviations[case["name"]] = np.max(np.abs([flat(p) for p in ours["points"]] - arrays[case["name"]]))
    decayed = deviations.pop("float32_scalars_weight_decay")
    assert decayed <= (2e-5 if backend == "torch" else 1e-6)
    assert max(deviations.values()) <= 1e-7
    assert deviations["float32_scalars"] > 0.0


def test_theirs_goes_on_from_ours(real):
    backend, arrays, _ = real
    case = resumed_case(backend)
    optimizer, params, _ = ten_steps(case)
    _, gradients = cases.data(case)
    for step in range(10, 20):
        our_keras.step(optimizer, gradients[step])
        assert our_keras.excess([flat(params)], [arrays["continued"][step - 10]]) <= 1.0


def test_ours_goes_on_from_theirs(real):
    backend, arrays, _ = real
    case = resumed_case(backend)
    params, gradients = cases.data(case)
    position = 0
    for param in params:
        param[...] = arrays["continued"][-1][position : position + param.size].reshape(param.shape)
        position += param.size
    optimizer = our_keras.optimizer(case, params)
    optimizer.load_own_variables({k.removeprefix("saved."): v for k, v in arrays.items() if k.startswith("saved.")})
    for step in range(20, 30):
        our_keras.step(optimizer, gradients[step])
        assert our_keras.excess([flat(params)], [arrays["final"][step - 20]]) <= 1.0


def test_config_goes_there_and_back(real):
    _, _, facts = real
    assert Nadam.from_config(facts["config"]).get_config() == config_with_schedule()


def test_schedule_objects_of_keras(real):
    _, _, facts = real
    assert len({ours for ours, _ in facts["rates"]}) == 4
    assert all(ours == theirs for ours, theirs in facts["rates"])


def test_mistakes_raise_the_same(real):
    _, _, facts = real
    table = {**keras_errors.MISTAKES, **keras_errors.MISTAKES_BUT_IN_TENSORFLOW}
    schedule = schedules.exponential_decay(0.1, 10, 0.5)
    ours = {
        name: keras_errors.raised(table[name], Nadam, schedule, [np.ones(3), np.ones(2)]) for name in facts["mistakes"]
    }
    assert None not in ours.values()
    assert ours == facts["mistakes"]


def test_what_keras_lets_pass(real):
    _, _, facts = real
    assert set(facts["accepted"].values()) == {None}
    schedule = schedules.exponential_decay(0.1, 10, 0.5)
    for mistake in keras_errors.ACCEPTED.values():
        assert keras_errors.raised(mistake, Nadam, schedule, [np.ones(3), np.ones(2)]) == "ValueError"
