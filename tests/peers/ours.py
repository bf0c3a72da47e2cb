"""Our faces of all peers, run on the shared cases, and how far they are from what the peers gave."""

import cases
import numpy as np
import our_keras
import our_optax
import our_tf1
import our_tf_legacy
import our_torch

ABSOLUTE, RELATIVE = 1e-15, 1e-14

_MODULES = {
    "torch": our_torch,
    "keras_jax": our_keras,
    "keras_tensorflow": our_keras,
    "keras_torch": our_keras,
    "tf_legacy_nadam": our_tf_legacy,
    "tf_legacy_adam": our_tf_legacy,
    "tf1": our_tf1,
    "optax": our_optax,
}


def run(case, params, gradients):
    """What ``run`` of the peer's driver returns, from our face of it."""
    return _MODULES[case["peer"]].run(case, params, gradients)


def deviation(ours, theirs):
    """The largest absolute deviation of arrays in lists, and the largest as a multiple of what is allowed."""
    differences = [np.abs(a - b) for a, b in zip(ours, theirs, strict=True)]
    allowed = [ABSOLUTE + RELATIVE * np.abs(b) for b in theirs]
    excess = max(float(np.max(d / a)) for d, a in zip(differences, allowed, strict=True))
    return max(float(np.max(d)) for d in differences), excess


def deviation_from_record(record, steps):
    """The same over all that is kept of a run of so many steps."""
    results = run(record.case, *cases.data(record.case, steps))
    pairs = [(results["points"][step - 1], theirs) for step, theirs in record.points.items()]
    pairs += [(results[key], theirs) for key, theirs in record.extras.items()]
    return tuple(max(column) for column in zip(*(deviation(*pair) for pair in pairs), strict=True))


def has_power_of_single_precision(case):
    """Whether optax took a float32 power of XLA that NumPy's can differ from in the last digit."""
    return case["peer"] == "optax" and "exponential_decay" in str(case["options"].get("learning_rate"))


def has_cosine_of_single_precision(case):
    """Whether Keras took a float32 cosine of a library that NumPy's differs from in the last digit."""
    rate = case["options"].get("learning_rate")
    return case["peer"] in ("keras_jax", "keras_tensorflow") and str(rate).startswith("{'schedule': ['cosine_decay'")
