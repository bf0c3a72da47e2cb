"""torch.optim.NAdam, run."""

import platform

import torch


def versions():
    """What the trajectories depend on."""
    return {"torch": torch.__version__, "python": platform.python_version()}


def run(case, params, gradients):
    """The parameters after each step, as ``{"points": list over steps of lists of arrays}``."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(getattr(torch, case["floatx"]))
    try:
        return {"points": _points(case["options"], params, gradients)}
    finally:
        torch.set_default_dtype(before)


def trajectory(case, params, gradients):
    """The points of `run`."""
    return run(case, params, gradients)["points"]


def _points(options, params, gradients):
    tensors = [torch.tensor(p, requires_grad=True) for p in params]
    optimizer = torch.optim.NAdam(tensors, **options)
    points = []
    for step_gradients in gradients:
        for tensor, gradient in zip(tensors, step_gradients, strict=True):
            tensor.grad = None if gradient is None else torch.tensor(gradient)
        optimizer.step()
        points.append([tensor.detach().numpy().copy() for tensor in tensors])
    return points
