"""nadam_numba.compat.tf1, run on the shared cases as `real_tf1` runs the real one."""

from nadam_numba.compat import tf1


def run(case, params, gradients):
    """As `real_tf1.run`."""
    params = [p.copy() for p in params]
    optimizer = tf1.Nadam(t_offset=case["t_offset"], **case["options"])
    points = []
    for step_gradients in gradients:
        optimizer.apply_gradients(zip(step_gradients, params, strict=True))
        points.append([p.copy() for p in params])
    return {"points": points}
