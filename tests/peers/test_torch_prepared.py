"""Steps of torch's CPU tensors in one call for all of them, from the second step on."""

import copy

import pytest

torch = pytest.importorskip("torch")

import torch_changes  # noqa: E402
from torch_changes import set_gradients  # noqa: E402

from nadam_numba.compat._torch_prepared import Prepared  # noqa: E402
from nadam_numba.compat.torch import NAdam  # noqa: E402

# The third one goes in threads, where there are any.
SHAPES = [(5, 3), (), (400, 500), (0,), (7,)]


@pytest.fixture
def made(monkeypatch):
    """Whether each of the prepared steps was made."""
    steps, step = [], Prepared.step
    monkeypatch.setattr(Prepared, "step", lambda self, *rest: steps.append(step(self, *rest)) or steps[-1])
    return steps


def tensors(dtype, shapes=SHAPES):
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(shape, dtype=dtype, generator=generator).requires_grad_() for shape in shapes]


def general(optimizer):
    """The optimizer, whose steps are never prepared."""
    optimizer._prepare = lambda *rows: None
    return optimizer


def assert_same(ours, theirs, optimizer, other):
    for a, b in zip(ours, theirs, strict=True):
        assert torch.equal(a.detach(), b.detach())
        for name, value in optimizer.state[a].items():
            assert torch.equal(value, other.state[b][name]), name


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.complex64, torch.complex128])
@pytest.mark.parametrize(
    "options", [{}, {"weight_decay": 0.1, "decoupled_weight_decay": True}, {"maximize": True, "betas": (0.5, 0.9)}]
)
def test_prepared_steps_have_the_same_bits(dtype, options, made):
    shapes = [shape for shape in SHAPES if shape != (0,)]
    ours, theirs = tensors(dtype, shapes), tensors(dtype, shapes)
    groups = [[{"params": each[:2]}, {"params": each[2:], "lr": 0.2}] for each in (ours, theirs)]
    optimizer = NAdam(groups[0], lr=0.05, **options)
    other = general(NAdam(groups[1], lr=0.05, **options))
    generator = torch.Generator().manual_seed(1)
    for _ in range(6):
        set_gradients(ours, theirs, generator)
        optimizer.step()
        other.step()
        assert_same(ours, theirs, optimizer, other)
    assert made == [True] * 5


@pytest.mark.parametrize("count", [1, 3])
def test_one_group_whose_tensors_have_made_different_steps(count, made):
    ours, theirs = tensors(torch.float32)[:count], tensors(torch.float32)[:count]
    optimizer, other = NAdam(ours, lr=0.05), general(NAdam(theirs, lr=0.05))
    generator = torch.Generator().manual_seed(1)
    for number in range(8):
        set_gradients(ours, theirs, generator)
        if number < 3:
            ours[-1].grad = theirs[-1].grad = None
        optimizer.step()
        other.step()
        assert_same(ours, theirs, optimizer, other)
    assert made.count(True) >= 3


def test_counts_whose_memory_has_been_shared(made):
    ours, theirs = tensors(torch.float32, SHAPES[:3]), tensors(torch.float32, SHAPES[:3])
    optimizer, other = NAdam(ours, lr=0.05), general(NAdam(theirs, lr=0.05))
    generator = torch.Generator().manual_seed(1)
    for number in range(6):
        set_gradients(ours, theirs, generator)
        optimizer.step()
        other.step()
        if number == 2:  # as sending it to another process does
            optimizer.state[ours[0]]["step"].share_memory_()
            optimizer.state[ours[0]]["mu_product"].share_memory_()
        assert_same(ours, theirs, optimizer, other)
    assert made.count(True) >= 3


def test_layouts_of_moments_that_change_in_place(made):
    ours, theirs = tensors(torch.float32, [(3, 3)]), tensors(torch.float32, [(3, 3)])
    optimizer, other = NAdam(ours, lr=0.05), general(NAdam(theirs, lr=0.05))
    generator = torch.Generator().manual_seed(1)
    for number in range(6):
        set_gradients(ours, theirs, generator)
        if number == 3:
            for each, stepped in ((ours, optimizer), (theirs, other)):
                stepped.state[each[0]]["exp_avg"].t_()
        optimizer.step()
        other.step()
        assert_same(ours, theirs, optimizer, other)
    assert not all(made)


def test_prepared_steps_notice_what_changes(monkeypatch):
    torch_changes.check("cpu", monkeypatch)


@pytest.mark.parametrize("replaced", [torch.ones(6), torch.ones(3, dtype=torch.float64)], ids=["dtype", "size"])
def test_gradients_of_other_numbers_are_left_to_torch(replaced, made):
    """It looks at gradients when they are set, but not when their data are replaced; its step then raises."""
    ours = tensors(torch.float64, [(6,), (7,)])
    optimizer = NAdam(ours)
    generator = torch.Generator().manual_seed(1)
    for _ in range(2):
        set_gradients(ours, ours, generator)
        optimizer.step()
    ours[0].grad.data = replaced
    with pytest.raises(RuntimeError):
        optimizer.step()
    assert made == [True, False]


def test_versions_count(made):
    ours = tensors(torch.float32, [(3,), (4,)])
    optimizer = NAdam(ours)
    generator = torch.Generator().manual_seed(1)
    for number in range(4):
        set_gradients(ours, ours, generator)
        optimizer.step()
        assert [tensor._version for tensor in ours] == [number + 1] * 2
        moments = [state[name]._version for state in optimizer.state.values() for name in ("exp_avg", "exp_avg_sq")]
        assert moments == [number + 1] * 4
    assert made == [True] * 3


def test_states_are_saved_as_torch_saves_them(tmp_path, made):
    ours = tensors(torch.float32, [(3,), (4,)])
    optimizer = NAdam(ours)
    generator = torch.Generator().manual_seed(1)
    for _ in range(3):
        set_gradients(ours, ours, generator)
        optimizer.step()
    assert made == [True] * 2
    torch.save(optimizer.state_dict(), tmp_path / "state.pt")
    saved = torch.load(tmp_path / "state.pt", weights_only=True)
    assert [float(state["step"]) for state in saved["state"].values()] == [3.0] * 2
    torch.optim.NAdam(ours).load_state_dict(saved)
    assert copy.deepcopy(optimizer).state_dict()["state"][0]["step"] == 3.0
