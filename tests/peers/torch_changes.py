"""Tensors of several shapes, and all that may change between their steps, beside torch.optim.NAdam."""

import copy

import torch

from nadam_numba.compat._torch_prepared import Prepared
from nadam_numba.compat.torch import NAdam

SHAPES = [(5, 3), (7,), (), (2, 3, 2, 2)]


def tensors(dtype, device, seed=0):
    generator = torch.Generator().manual_seed(seed)
    made = [torch.randn(shape, dtype=dtype, generator=generator).to(device) for shape in SHAPES]
    made[3] = made[3].contiguous(memory_format=torch.channels_last)
    return [tensor.requires_grad_() for tensor in made]


def set_gradients(ours, theirs, generator):
    for a, b in zip(ours, theirs, strict=True):
        b.grad = torch.randn(b.shape, dtype=b.dtype, generator=generator).to(b.device)
        a.grad = b.grad.clone()  # contiguous: in another order than channels_last


def assert_close(ours, theirs, steps):
    for a, b in zip(ours, theirs, strict=True):
        tolerance = 4 * steps * torch.finfo(b.dtype).eps
        torch.testing.assert_close(a.detach(), b.detach(), rtol=tolerance, atol=tolerance)


def check(device, monkeypatch):
    """Tensors that are all contiguous are prepared once; whatever else changes, the steps are torch's."""
    ours, theirs = tensors(torch.float32, device)[:3], tensors(torch.float32, device)[:3]
    groups = [[{"params": each[:2], "weight_decay": 0.1}, {"params": each[2:], "lr": 0.2}] for each in (ours, theirs)]
    optimizer, reference = NAdam(groups[0], lr=0.05), torch.optim.NAdam(groups[1], lr=0.05)
    generator = torch.Generator().manual_seed(1)
    made = []
    prepared_step = Prepared.step
    monkeypatch.setattr(Prepared, "step", lambda self, *rest: made.append(prepared_step(self, *rest)) or made[-1])

    def change(number):
        for each, stepped in ((ours, optimizer), (theirs, reference)):
            state = stepped.state[each[0]]
            if number == 4:
                stepped.param_groups[0]["lr"] = 0.01
            elif number == 6:
                each[1].grad = None
            elif number == 8:
                state["exp_avg"] = state["exp_avg"] * 0.5
            elif number == 10:
                each[0].data = each[0].data.clone()
            elif number == 12:
                state["step"] = state["step"] + 2.0
            elif number == 14:
                each[0].grad = each[0].grad.t().contiguous().t()
            elif number == 16:
                each[0].grad = each[0].detach()
            elif number == 18:
                stepped.load_state_dict(copy.deepcopy(stepped.state_dict()))
            elif number == 20:
                state["exp_avg_sq"].data = state["exp_avg_sq"].data.clone()
            elif number == 22:
                added = torch.ones(2, device=device, requires_grad=True)
                added.grad = torch.ones_like(added)
                each.append(added)
                stepped.add_param_group({"params": [added], "maximize": True})

    for number in range(30):
        set_gradients(ours, theirs, generator)
        change(number)
        optimizer.step()
        reference.step()
        assert_close(ours, theirs, number + 1)
        for a, b in zip(ours, theirs, strict=True):
            assert optimizer.state[a]["step"] == reference.state[b]["step"]
            assert optimizer.state[a]["mu_product"] == reference.state[b]["mu_product"]
    assert made.count(True) > 10
    assert made.count(False) >= 6
