"""nadam_numba.compat.torch on arrays, run on the shared cases as `real_torch` runs the real one."""

from nadam_numba.compat.torch import NAdam, Parameter


def run(case, params, gradients):
    """As `real_torch.run`."""
    parameters = [Parameter(p.copy()) for p in params]
    scalar_dtype = "float64" if case["floatx"] == "float64" else None
    optimizer = NAdam(parameters, **case["options"], scalar_dtype=scalar_dtype)
    points = []
    for step_gradients in gradients:
        for p, gradient in zip(parameters, step_gradients, strict=True):
            p.grad = gradient
        optimizer.step()
        points.append([p.data.copy() for p in parameters])
    return {"points": points}
