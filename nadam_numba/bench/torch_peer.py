"""torch's optimizers as contenders."""

from functools import partial

import numpy as np

from nadam_numba.bench.contender import BETA_1, BETA_2, EPSILON, LEARNING_RATE, TORCH_DECAY, Contender
from nadam_numba.bench.memory import aligned_copy

_SETTINGS = {"lr": LEARNING_RATE, "betas": (BETA_1, BETA_2), "eps": EPSILON}


def load(threads):
    """Import torch and set its threads."""
    import torch

    torch.set_num_threads(threads)
    return torch


def make_for_loop(case, inputs, threads):
    """torch.optim.NAdam, array by array; None for options that it has not."""
    return _nadam("torch NAdam, for-loop", False, case, inputs, threads)


def make_foreach(case, inputs, threads):
    """torch.optim.NAdam, operation by operation; None for options that it has not."""
    return _nadam("torch NAdam, foreach", True, case, inputs, threads)


def _nadam(name, foreach, case, inputs, threads):
    torch = load(threads)
    decay, clip = _decay_and_clip(torch, case.options)
    if decay is None:
        return None
    tensors, scale = _tensors(torch, inputs, clip is not None)
    optimizer = torch.optim.NAdam(tensors, **_SETTINGS, momentum_decay=TORCH_DECAY, foreach=foreach, **decay)
    return Contender(
        name,
        _stepper(optimizer, clip, tensors),
        partial(_arrays, tensors),
        partial(inputs.expected, TORCH_DECAY),
        scale,
    )


def make_fused_adam(case, inputs, threads):
    """torch.optim.Adam in one pass: another rule, with the same traffic."""
    torch = load(threads)
    options = dict(case.options)
    amsgrad = options.pop("amsgrad", False)
    decay, clip = _decay_and_clip(torch, options)
    if decay is None:
        return None
    tensors, _ = _tensors(torch, inputs, clip is not None)
    optimizer = torch.optim.Adam(tensors, **_SETTINGS, fused=True, amsgrad=amsgrad, **decay)
    return Contender("torch Adam, fused", _stepper(optimizer, clip, tensors), partial(_arrays, tensors))


def make_sparse_adam(table, indices, rows, threads):
    """torch.optim.SparseAdam on a table: another rule, which touches the same rows."""
    torch = load(threads)
    parameter = torch.from_numpy(table.copy())
    parameter.grad = torch.sparse_coo_tensor(
        torch.from_numpy(indices[np.newaxis]),
        torch.from_numpy(rows),
        table.shape,
        is_coalesced=True,
        check_invariants=False,
    )
    optimizer = torch.optim.SparseAdam([parameter], **_SETTINGS)
    return Contender("torch SparseAdam", optimizer.step, partial(_arrays, [parameter]))


def make_solve(start, rate, gradient, iterations, expected, threads):
    """A loop of torch.optim.NAdam over a gradient in Python."""
    torch = load(threads)
    x = torch.zeros(start.size, dtype=torch.float64)
    slope = torch.zeros_like(x)

    def solve():
        x.copy_(torch.from_numpy(start))
        x.grad = slope
        optimizer = torch.optim.NAdam([x], lr=rate, betas=(BETA_1, BETA_2), eps=EPSILON, foreach=False)
        seen, written = x.numpy(), slope.numpy()
        for _ in range(iterations):
            written[:] = gradient(seen)
            optimizer.step()

    return Contender("torch NAdam loop, Python objective", solve, lambda: [x.numpy()], expected, iterations=iterations)


def _tensors(torch, inputs, is_clipped):
    """Parameters that have their gradients, and what scales these."""
    tensors = [torch.from_numpy(aligned_copy(parameter, 0)) for parameter in inputs.parameters]
    for tensor, gradient in zip(tensors, inputs.gradients, strict=True):
        # torch clips in place.
        tensor.grad = torch.from_numpy(aligned_copy(gradient, 3) if is_clipped else gradient)

    def scale_anew(factor):
        for tensor, gradient in zip(tensors, inputs.gradients, strict=True):
            torch.mul(torch.from_numpy(gradient), factor, out=tensor.grad)

    return tensors, scale_anew if is_clipped else inputs.scale


def _arrays(tensors):
    return [tensor.numpy() for tensor in tensors]


def _stepper(optimizer, clip, tensors):
    if clip is None:
        return optimizer.step

    def step():
        clip(tensors)
        optimizer.step()

    return step


def _decay_and_clip(torch, options):
    """Arguments of the optimizer and a function that clips gradients; None and None if it has not these options."""
    options = dict(options)
    decay = {}
    if options.pop("decoupled_weight_decay", False):
        decay = {"weight_decay": options.pop("weight_decay"), "decoupled_weight_decay": True}
    value, norm = options.pop("clipvalue", None), options.pop("global_clipnorm", None)
    if options:
        return None, None
    if value is not None:
        return decay, partial(torch.nn.utils.clip_grad_value_, clip_value=value)
    if norm is not None:
        return decay, partial(torch.nn.utils.clip_grad_norm_, max_norm=norm)
    return decay, None
