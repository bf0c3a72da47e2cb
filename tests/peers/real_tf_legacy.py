"""tf.keras.optimizers.legacy.Nadam and Adam, run eagerly. They live in tf_keras since TensorFlow 2.16."""

import os
import platform
import warnings

import numpy as np
from cases import Rows, resolve

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import tensorflow as tf

    try:
        import tf_keras
    except ImportError:
        tf_keras = tf.keras

OPTIMIZERS = {"tf_legacy_nadam": tf_keras.optimizers.legacy.Nadam, "tf_legacy_adam": tf_keras.optimizers.legacy.Adam}
SCHEDULES = {
    "constant": lambda rate: lambda: rate,
    "exponential_decay": tf_keras.optimizers.schedules.ExponentialDecay,
    "cosine_decay": tf_keras.optimizers.schedules.CosineDecay,
}


def versions():
    """What the trajectories depend on."""
    return {"tf_keras": tf_keras.__version__, "tensorflow": tf.__version__, "python": platform.python_version()}


def run(case, params, gradients):
    """The parameters after each step, as ``{"points": list over steps of lists of arrays}``."""
    tf.get_logger().setLevel("ERROR")  # missing gradients are reported at every step
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        variables = [tf.Variable(p, dtype=tf.float64) for p in params]
        optimizer = OPTIMIZERS[case["peer"]](**resolve(case["options"], SCHEDULES))
        points = []
        for step_gradients in gradients:
            natives = [_native(g, p.shape) for g, p in zip(step_gradients, params, strict=True)]
            optimizer.apply_gradients(zip(natives, variables, strict=True))
            points.append([np.array(variable) for variable in variables])
    return {"points": points}


def trajectory(case, params, gradients):
    """The points of `run`."""
    return run(case, params, gradients)["points"]


def _native(gradient, shape):
    if gradient is None:
        return None
    if isinstance(gradient, Rows):
        return tf.IndexedSlices(tf.constant(gradient.values), tf.constant(gradient.indices), tf.constant(shape))
    return tf.constant(gradient)
