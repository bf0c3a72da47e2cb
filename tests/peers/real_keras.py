"""keras.optimizers.Nadam of Keras 3, run on the backend that KERAS_BACKEND names when the process starts."""

import importlib
import os
import platform
import warnings

import numpy as np
from cases import Rows, resolve

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import keras

BACKEND = keras.backend.backend()
if BACKEND == "jax":
    import jax

    jax.config.update("jax_enable_x64", True)
if BACKEND == "tensorflow":
    import tensorflow as tf

SCHEDULES = {
    "constant": lambda rate: lambda: rate,
    "exponential_decay": keras.optimizers.schedules.ExponentialDecay,
    "cosine_decay": keras.optimizers.schedules.CosineDecay,
}


def versions():
    """What the trajectories depend on."""
    backend = importlib.import_module(BACKEND)
    return {"keras": keras.__version__, BACKEND: backend.__version__, "python": platform.python_version()}


def run(case, params, gradients):
    """The parameters after each call of `apply`, thus after each micro-step if gradients are accumulated.

    Returns
    -------
    dict
        "points", a list over calls of lists of arrays, and if use_ema, lists of arrays: "averages" after the last call
        and "finalized", the parameters after finalize_variable_values.
    """
    before = keras.config.floatx()
    keras.config.set_floatx(case["floatx"])
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # missing gradients, the ignored decay
            return _run(case, params, gradients)
    finally:
        keras.config.set_floatx(before)


def trajectory(case, params, gradients):
    """The points of `run`."""
    return run(case, params, gradients)["points"]


def _run(case, params, gradients):
    variables = [keras.Variable(p, dtype="float64") for p in params]
    optimizer = keras.optimizers.Nadam(**resolve(case["options"], SCHEDULES))
    optimizer.exclude_from_weight_decay([variables[i] for i in case.get("exclude_from_weight_decay", [])])
    optimizer.build(variables)
    needs_compiling = BACKEND == "jax" and optimizer.gradient_accumulation_steps
    step = _compiled_step(optimizer, variables) if needs_compiling else lambda g: optimizer.apply(g, variables)
    points = []
    for step_gradients in gradients:
        step([_native(gradient, p.shape) for gradient, p in zip(step_gradients, params, strict=True)])
        points.append(_arrays(variables))
    results = {"points": points}
    if optimizer.use_ema:
        results["averages"] = _arrays(optimizer._model_variables_moving_average)
        optimizer.finalize_variable_values(variables)
        results["finalized"] = _arrays(variables)
    return results


def _compiled_step(optimizer, variables):
    """`apply` compiled, as Keras's own trainer calls it with JAX: otherwise each call with accumulation compiles anew.

    XLA fuses multiplications with additions, which changes last digits; so nothing else is compiled.
    """
    apply = jax.jit(optimizer.stateless_apply)

    def step(gradients):
        values = apply([v.value for v in optimizer.variables], gradients, [v.value for v in variables])
        for variable, value in zip(variables + optimizer.variables, values[0] + values[1], strict=True):
            variable.assign(value)

    return step


def _native(gradient, shape):
    if gradient is None:
        return None
    if isinstance(gradient, Rows):
        return tf.IndexedSlices(tf.constant(gradient.values), tf.constant(gradient.indices), tf.constant(shape))
    return keras.ops.convert_to_tensor(gradient, dtype="float64")


def _arrays(variables):
    return [np.array(keras.ops.convert_to_numpy(variable)) for variable in variables]
