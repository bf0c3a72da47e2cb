"""Run the real Keras in a process of its own, for its backend: ``KERAS_BACKEND=... python run_keras.py FOLDER``.

Reads cases.json and ours.npz from the folder, and writes theirs.npz and theirs.json.
"""

import json
import pathlib
import sys
import warnings

import cases
import keras_errors
import numpy as np
import real_keras

from nadam_numba.compat.keras import Nadam


def main(folder):
    given = json.loads((folder / "cases.json").read_text())
    arrays, facts = {}, {"versions": real_keras.versions()}
    for case in given["cases"]:
        params, gradients = cases.data(case)
        result = real_keras.run(case, params, gradients)
        for key in ("averages", "finalized"):
            if key in result:
                arrays[f"{case['name']}.{key}"] = flat(result[key])
        arrays[case["name"]] = np.array([flat(point) for point in result["points"]])
        rate = case["options"].get("learning_rate")
        if isinstance(rate, dict) and rate["schedule"][0] == "cosine_decay":
            arrays[f"{case['name']}.rates"] = rates(case, len(gradients))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        arrays.update(resumed(given["resumed"], np.load(folder / "ours.npz")))
        facts.update(mistakes())
    facts["rates"] = rates_of_their_schedule()
    facts["config"] = real_keras.keras.optimizers.Nadam.from_config(given["config"]).get_config()
    np.savez(folder / "theirs.npz", **arrays)
    (folder / "theirs.json").write_text(json.dumps(facts))


def flat(arrays):
    return np.concatenate([array.ravel() for array in arrays])


def rates(case, steps):
    """The learning rates of a schedule, compiled where the optimizer is."""
    keras = real_keras.keras
    before = keras.config.floatx()
    keras.config.set_floatx(case["floatx"])
    try:
        schedule = cases.resolve(case["options"], real_keras.SCHEDULES)["learning_rate"]
        if real_keras.BACKEND == "jax" and "gradient_accumulation_steps" in case["options"]:
            schedule = real_keras.jax.jit(schedule)
        return np.array([float(schedule(keras.ops.convert_to_tensor(step, dtype="int32"))) for step in range(steps)])
    finally:
        keras.config.set_floatx(before)


def rates_of_their_schedule():
    """The learning rates that ours takes from a schedule object of Keras, and those that it gives."""
    schedule = real_keras.keras.optimizers.schedules.CosineDecay(0.1, 10)
    optimizer, param, pairs = Nadam(schedule), np.zeros(3), []
    for step in range(4):
        pairs.append([optimizer.learning_rate, float(schedule(step))])
        optimizer.apply([np.ones(3)], [param])
    return pairs


def resumed(case, ours):
    """Steps of the real one from a state that ours saved; and a state of its own, with the steps from there."""
    keras = real_keras.keras
    params, gradients = cases.data(case)
    before = keras.config.floatx()
    keras.config.set_floatx(case["floatx"])
    variables = [keras.Variable(ours[f"param_{i}"], dtype="float64") for i in range(len(params))]
    optimizer = keras.optimizers.Nadam(**case["options"])
    optimizer.build(variables)
    optimizer.load_own_variables({name: ours[name] for name in ours.files if not name.startswith("param_")})

    def advance(first, last):
        points = []
        for step in range(first, last):
            optimizer.apply([keras.ops.convert_to_tensor(g, dtype="float64") for g in gradients[step]], variables)
            points.append(flat([keras.ops.convert_to_numpy(v) for v in variables]))
        return np.array(points)

    continued = advance(10, 20)
    store = {}
    optimizer.save_own_variables(store)
    saved = {f"saved.{name}": np.asarray(array) for name, array in store.items()}
    keras.config.set_floatx(before)
    return {"continued": continued, "final": advance(20, 30), **saved}


def mistakes():
    keras = real_keras.keras

    def variables():
        return [keras.Variable(np.ones(3)), keras.Variable(np.ones(2))]

    schedule = keras.optimizers.schedules.ExponentialDecay(0.1, 10, 0.5)
    tables = {"mistakes": keras_errors.MISTAKES, "accepted": keras_errors.ACCEPTED}
    if real_keras.BACKEND != "tensorflow":
        tables["mistakes"] = {**keras_errors.MISTAKES, **keras_errors.MISTAKES_BUT_IN_TENSORFLOW}
    return {
        table: {
            name: keras_errors.raised(mistake, keras.optimizers.Nadam, schedule, variables())
            for name, mistake in found.items()
        }
        for table, found in tables.items()
    }


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
