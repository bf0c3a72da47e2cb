"""tf.keras.optimizers.Nadam of TensorFlow 1.13, run in graph mode, with floatx float64. Python 3.7 only.

Its graph leaves open whether the number of the step is read before or after it is counted up, and whether the product
of the momentum coefficients is read before or after it is assigned, so that real runs differ. Where a case has a
``t_offset``, control dependencies are added to the finished graph of the optimizer, which settle both.
"""
# ruff: noqa: B905 - zip has no strict in Python 3.7

import os
import platform
import warnings

import numpy as np

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import tensorflow as tf

K = tf.keras.backend


def versions():
    """What the trajectories depend on."""
    return {"tensorflow": tf.__version__, "python": platform.python_version()}


def run(case, params, gradients):
    """Run the steps of a case.

    Returns
    -------
    dict
        "points": list over steps of lists of arrays.
        "t": the number of the step that each step's formulas used.
        "m_schedule": the product of the momentum coefficients after each step.
        "m_schedule_reads": the two values of it that each step used; they differ where the second race was lost.
    """
    tf.logging.set_verbosity(tf.logging.ERROR)
    K.clear_session()
    K.set_floatx("float64")
    variables = [K.variable(p) for p in params]
    inputs = [K.placeholder(p.shape) for p in params]
    optimizer = tf.keras.optimizers.Nadam(**case["options"])
    loss = tf.add_n([K.sum(variable * x) for variable, x in zip(variables, inputs)])
    updates = optimizer.get_updates(loss, variables)
    (t_read,), m_reads = _reads(optimizer.iterations), _reads(optimizer.m_schedule)
    # Fetched, not among the outputs: updates wait for outputs, which would settle the race for m_schedule.
    seen = []
    fetches = [read.outputs[0] for read in [t_read, *m_reads]]
    step = K.function(inputs, [], updates, fetches=fetches)
    step.fetch_callbacks = dict.fromkeys(step.fetches, seen.append)
    if case["t_offset"] is not None:
        _settle(optimizer, t_read, m_reads, case["t_offset"])
    results = {"points": [], "t": [], "m_schedule": [], "m_schedule_reads": []}
    for step_gradients in gradients:
        del seen[:]
        step(step_gradients)
        results["points"].append([np.array(value) for value in K.batch_get_value(variables)])
        results["t"].append(int(seen[0]) + 1)
        results["m_schedule"].append(float(K.get_value(optimizer.m_schedule)))
        results["m_schedule_reads"].append([float(value) for value in seen[1:]])
    if case["t_offset"] is not None:
        assert results["t"] == [k + case["t_offset"] for k in range(1, len(gradients) + 1)]
        assert all(first == second for first, second in results["m_schedule_reads"])
    return results


def trajectory(case, params, gradients):
    """The points of `run`."""
    return run(case, params, gradients)["points"]


def _reads(variable):
    """The operations that read a variable for the formulas, in the order of their making."""
    return [
        operation
        for operation in _operations(variable, "ReadVariableOp")
        if any(output.consumers() for output in operation.outputs)
    ]


def _operations(variable, kind):
    return sorted((o for o in variable.handle.consumers() if o.type == kind), key=lambda o: o._id)


def _settle(optimizer, t_read, m_reads, t_offset):
    """Add to the graph, which has not run yet, what orders reads and writes."""
    (count,) = _operations(optimizer.iterations, "AssignAddVariableOp")
    assign = _operations(optimizer.m_schedule, "AssignVariableOp")[-1]  # the first one initializes
    if t_offset == 0:
        count._add_control_input(t_read)
    else:
        t_read._add_control_input(count)
    assign._add_control_inputs(m_reads)
