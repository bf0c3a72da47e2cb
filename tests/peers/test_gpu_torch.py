"""Tensors on a GPU beside torch.optim.NAdam: on a card, or by Numba's simulator, for which all memory is the GPU's."""

import copy

import numpy as np
import pytest
from numba import config

torch = pytest.importorskip("torch")
HAS_CARD = torch.cuda.is_available()
if not (config.ENABLE_CUDASIM or HAS_CARD):
    pytest.skip("neither a GPU nor its simulator, NUMBA_ENABLE_CUDASIM=1", allow_module_level=True)

import torch_changes  # noqa: E402
from torch_changes import SHAPES, assert_close, set_gradients, tensors  # noqa: E402

from nadam_numba.compat import _torch_gpus, _torch_tensors  # noqa: E402
from nadam_numba.compat.torch import NAdam  # noqa: E402

DEVICE = "cuda" if HAS_CARD else "cpu"
DTYPES = [torch.float32, torch.float64, torch.complex64]


@pytest.fixture(autouse=True)
def simulated(monkeypatch):
    """Without a card, take the CPU's tensors for the GPU's; count the launches."""
    if not HAS_CARD:
        monkeypatch.setattr(_torch_tensors, "_is_on_gpu", lambda tensor: True)
        monkeypatch.setattr(_torch_gpus, "_stream_of", lambda where: 0)
    launches = []
    launch = _torch_gpus.Table.launch
    monkeypatch.setattr(_torch_gpus.Table, "launch", lambda self, *rest: (launches.append(self), launch(self, *rest)))
    return launches


def pair(dtype, **options):
    ours, theirs = tensors(dtype, DEVICE), tensors(dtype, DEVICE)
    return ours, theirs, NAdam(ours, lr=0.05, **options), torch.optim.NAdam(theirs, lr=0.05, **options)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "options", [{}, {"weight_decay": 0.1}, {"weight_decay": 0.1, "decoupled_weight_decay": True}, {"maximize": True}]
)
def test_steps_of_torch(options, dtype, simulated):
    ours, theirs, optimizer, reference = pair(dtype, **options)
    generator = torch.Generator().manual_seed(1)
    for _ in range(20):
        set_gradients(ours, theirs, generator)
        optimizer.step()
        reference.step()
    assert_close(ours, theirs, 20)
    assert len(simulated) == 20  # one launch for all tensors
    for a, b in zip(ours, theirs, strict=True):
        assert optimizer.state[a]["step"] == reference.state[b]["step"]
        assert optimizer.state[a]["mu_product"] == reference.state[b]["mu_product"]


def test_groups_missing_gradients_and_schedulers():
    ours, theirs = tensors(torch.float32, DEVICE), tensors(torch.float32, DEVICE)
    groups = [[{"params": each[:2], "weight_decay": 0.1}, {"params": each[2:], "lr": 0.2}] for each in (ours, theirs)]
    optimizer, reference = NAdam(groups[0], lr=0.05), torch.optim.NAdam(groups[1], lr=0.05)
    schedulers = [torch.optim.lr_scheduler.StepLR(each, 3) for each in (optimizer, reference)]
    generator = torch.Generator().manual_seed(1)
    for number in range(10):
        set_gradients(ours, theirs, generator)
        if number % 3 == 1:
            ours[1].grad = theirs[1].grad = None
        optimizer.step()
        reference.step()
        for scheduler in schedulers:
            scheduler.step()
    assert_close(ours, theirs, 10)


def test_gradient_scaler_unscales_and_skips():
    ours, theirs, optimizer, reference = pair(torch.float32)
    scalers = [torch.amp.GradScaler(DEVICE, init_scale=8.0) for _ in range(2)]
    for number in range(6):
        for each, stepped, scaler in ((ours, optimizer, scalers[0]), (theirs, reference, scalers[1])):
            stepped.zero_grad()
            loss = sum((tensor * tensor).sum() for tensor in each)
            scaler.scale(loss).backward()
            if number == 2:
                each[0].grad[0, 0] = float("inf")
            scaler.step(stepped)
            scaler.update()
    assert scalers[0].get_scale() == scalers[1].get_scale() == 4.0
    assert optimizer.state[ours[0]]["step"] == 5.0
    assert_close(ours, theirs, 6)


def test_states_are_those_of_torch_and_of_arrays():
    ours, theirs, optimizer, reference = pair(torch.float64)
    generator = torch.Generator().manual_seed(1)
    for _ in range(3):
        set_gradients(ours, theirs, generator)
        optimizer.step()
        reference.step()
    # What loads a state in float64 takes the product of the momentum coefficients on in float64.
    again, other = NAdam(ours, lr=0.5), torch.optim.NAdam(theirs, lr=0.5)
    again.load_state_dict(copy.deepcopy(reference.state_dict()))
    other.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    set_gradients(ours, theirs, generator)
    again.step()
    other.step()
    assert_close(ours, theirs, 4)
    moments = [np.asarray(again.state[p]["exp_avg"].cpu()) for p in ours]
    assert [m.shape for m in moments] == SHAPES


def test_parameters_that_move_are_found_again():
    ours, theirs, optimizer, reference = pair(torch.float32)
    generator = torch.Generator().manual_seed(1)
    for number in range(3):
        if number:
            ours[0].data = ours[0].data.clone()
        set_gradients(ours, theirs, generator)
        optimizer.step()
        reference.step()
    assert_close(ours, theirs, 3)


def test_capturable_steps_are_left_to_torch(simulated):
    if not HAS_CARD:
        pytest.skip("torch refuses capturable=True for the CPU's tensors")
    ours, theirs, optimizer, reference = pair(torch.float32, capturable=True)
    set_gradients(ours, theirs, torch.Generator().manual_seed(1))
    optimizer.step()
    reference.step()
    assert_close(ours, theirs, 1)
    assert simulated == []


def test_prepared_steps_notice_what_changes(monkeypatch):
    torch_changes.check(DEVICE, monkeypatch)


@pytest.mark.parametrize("steps", [0, 3])
def test_storages_that_are_too_small(steps):
    ours = tensors(torch.float32, DEVICE)[:3]
    optimizer = NAdam(ours)
    generator = torch.Generator().manual_seed(1)
    for _ in range(steps):
        set_gradients(ours, ours, generator)
        optimizer.step()
    set_gradients(ours, ours, generator)
    before = [tensor.detach().clone() for tensor in ours]
    ours[1].grad.untyped_storage().resize_(0)
    with pytest.raises(RuntimeError, match="storage of 0 bytes"):
        optimizer.step()
    assert all(map(torch.equal, before, ours))
    assert [optimizer.state[tensor].get("step", 0) for tensor in ours] == [steps] * 3


def test_prepared_states_are_saved_as_torch_saves_them(tmp_path):
    ours = tensors(torch.float32, DEVICE)[:3]
    optimizer = NAdam(ours)
    generator = torch.Generator().manual_seed(1)
    for _ in range(3):
        set_gradients(ours, ours, generator)
        optimizer.step()
    torch.save(optimizer.state_dict(), tmp_path / "state.pt")
    saved = torch.load(tmp_path / "state.pt", weights_only=True)
    assert [float(state["step"]) for state in saved["state"].values()] == [3.0] * 3
    torch.optim.NAdam(ours).load_state_dict(saved)
    assert copy.deepcopy(optimizer).state_dict()["state"][0]["step"] == 3.0
