"""nadam_numba.compat.torch beside torch.optim.NAdam: numbers, states, errors, and what torch drives an optimizer by."""

import copy
import gc
import io
import os
import pickle
import subprocess
import sys
import weakref

import numpy as np
import pytest

torch = pytest.importorskip("torch")

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import cases  # noqa: E402 - found on the path just set
import real_torch  # noqa: E402

from nadam_numba.compat.torch import NAdam, Parameter, as_tensors  # noqa: E402

STEPS = 20 if os.environ.get("NUMBA_DISABLE_JIT") == "1" else 200
CASES = cases.single_cases("torch") + [cases.random_case("torch", seed) for seed in range(cases.COMBINATIONS)]
NAMES = [case["name"] for case in CASES]


@pytest.fixture
def double():
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


def assert_close(ours, theirs):
    for a, b in zip(ours, theirs, strict=True):
        a, b = np.asarray(a), np.asarray(b)
        assert a.shape == b.shape
        assert (np.abs(a - b) <= 1e-15 + 1e-14 * np.abs(b)).all(), np.abs(a - b).max()


def points_of_arrays(case, params, gradients, scalar_dtype):
    parameters = [Parameter(p.copy()) for p in params]
    optimizer = NAdam(parameters, **case["options"], scalar_dtype=scalar_dtype)
    for step_gradients in gradients:
        for p, gradient in zip(parameters, step_gradients, strict=True):
            p.grad = gradient
        optimizer.step()
        yield [p.data for p in parameters]


def points_of_tensors(case, params, gradients):
    tensors = [torch.tensor(p, requires_grad=True) for p in params]
    optimizer = NAdam(tensors, **case["options"])
    for step_gradients in gradients:
        for p, gradient in zip(tensors, step_gradients, strict=True):
            p.grad = None if gradient is None else torch.tensor(gradient)
        optimizer.step()
        yield [p.detach().numpy() for p in tensors]


@pytest.mark.parametrize("case", CASES, ids=NAMES)
def test_arrays_follow_torch(case):
    params, gradients = cases.data(case, STEPS)
    theirs = real_torch.trajectory(case, params, gradients)
    scalar_dtype = "float64" if case["floatx"] == "float64" else None
    for point, expected in zip(points_of_arrays(case, params, gradients, scalar_dtype), theirs, strict=True):
        assert_close(point, expected)


@pytest.mark.parametrize("case", CASES, ids=NAMES)
def test_tensors_follow_torch(case, only_kernel):
    params, gradients = cases.data(case, STEPS)
    theirs = real_torch.trajectory(case, params, gradients)
    before = torch.get_default_dtype()
    torch.set_default_dtype(getattr(torch, case["floatx"]))
    try:
        for point, expected in zip(points_of_tensors(case, params, gradients), theirs, strict=True):
            assert_close(point, expected)
    finally:
        torch.set_default_dtype(before)


FLOAT32_TOLERANCE = 2e-6


def tensors_like(seed, *shapes, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator, dtype=dtype) for shape in shapes]


def pairs_of(points, **options):
    """An optimizer of ours and one of torch's, on copies of the same tensors, and both lists of tensors."""
    ours, theirs = ([torch.nn.Parameter(p.clone()) for p in points] for _ in range(2))
    return NAdam(ours, **options), torch.optim.NAdam(theirs, **options), ours, theirs


def give(tensors, gradients):
    for p, gradient in zip(tensors, gradients, strict=True):
        p.grad = None if gradient is None else gradient.clone()


def arrays(tensors):
    return [p.detach().numpy() for p in tensors]


@pytest.fixture
def only_kernel(monkeypatch):
    from nadam_numba.compat import _torch_tensors

    def refuse(*_):
        raise AssertionError("torch's own step was called")

    monkeypatch.setattr(_torch_tensors, "nadam", refuse)


@pytest.fixture
def only_torch(monkeypatch):
    from nadam_numba.compat import _torch_tensors

    def refuse(size):
        raise AssertionError("the kernel was called")

    monkeypatch.setattr(_torch_tensors.cpu, "update_for", refuse)


def test_unrounded_scalars_differ_little():
    case = {"name": "", "peer": "torch", "problem": "dense", "seed": 0, "options": {}, "floatx": "float32"}
    params, gradients = cases.data(case, STEPS)
    theirs = real_torch.trajectory(case, params, gradients)
    unrounded = points_of_arrays(case, params, gradients, "float64")
    largest = max(
        np.abs(a - b).max() for ps, qs in zip(unrounded, theirs, strict=True) for a, b in zip(ps, qs, strict=True)
    )
    assert 1e-15 < largest < 4e-11


# Tensors


def test_is_an_optimizer_of_torch_and_one_of_ours():
    optimizer = NAdam([torch.zeros(3, requires_grad=True)])
    assert isinstance(optimizer, torch.optim.NAdam)
    assert isinstance(optimizer, NAdam)
    assert not isinstance(torch.optim.NAdam([torch.zeros(3, requires_grad=True)]), NAdam)
    assert repr(optimizer) == repr(torch.optim.NAdam([torch.zeros(3, requires_grad=True)]))
    assert optimizer.defaults == torch.optim.NAdam([torch.zeros(3, requires_grad=True)]).defaults


def test_ways_to_give_tensors():
    p, q = (torch.nn.Parameter(torch.zeros(3)) for _ in range(2))
    module = torch.nn.Linear(2, 3)
    for params in (
        [p, q],
        (r for r in (p, q)),
        module.parameters(),
        module.named_parameters(),
        [("p", p), ("q", q)],
        [{"params": [p]}, {"params": q, "lr": 0.1}],
        [{"params": (p, q)}],
        [{"params": module.parameters()}],
        [{"params": module.named_parameters()}],
    ):
        optimizer = NAdam(params)
        assert isinstance(optimizer, torch.optim.NAdam)
        assert sum(len(group["params"]) for group in optimizer.param_groups) == 2
    group = {"params": iter([p, q])}
    assert NAdam([group]).param_groups[0] is group
    with pytest.raises(ValueError, match="scalar_dtype='float64'"):
        NAdam([p], scalar_dtype="float64")


def test_tensors_and_parameters_do_not_mix():
    p, q = torch.zeros(3, requires_grad=True), Parameter(np.zeros(3))
    for params in ([p, q], [q, p], [{"params": [p]}, {"params": [q]}]):
        with pytest.raises(TypeError, match="Parameter"):
            NAdam(params)
    with pytest.raises(TypeError, match="Parameter"):
        NAdam([p]).add_param_group({"params": [q]})
    with pytest.raises(TypeError, match="is a Tensor"):
        NAdam([q]).add_param_group({"params": [p]})


@pytest.mark.usefixtures("only_kernel")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.complex64, torch.complex128])
@pytest.mark.parametrize("options", [{}, {"lr": 0.05, "weight_decay": 0.1}, {"maximize": True, "foreach": True}])
def test_dtypes(dtype, options):
    ours, theirs, p, q = pairs_of(tensors_like(0, (5, 3), (), (0, 2), dtype=dtype), **options)
    for step in range(50):
        gradients = tensors_like(100 + step, (5, 3), (), (0, 2), dtype=dtype)
        for optimizer, tensors in ((ours, p), (theirs, q)):
            give(tensors, gradients)
            optimizer.step()
    tolerance = FLOAT32_TOLERANCE if dtype in (torch.float32, torch.complex64) else 1e-14
    torch.testing.assert_close(p, q, rtol=tolerance, atol=tolerance)
    for a, b in zip(p, q, strict=True):
        for key, value in theirs.state[b].items():
            mine = ours.state[a][key]
            assert (mine.dtype, mine.shape, mine.stride()) == (value.dtype, value.shape, value.stride())
            torch.testing.assert_close(mine, value, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("default", [torch.float32, torch.float64])
def test_default_dtype_decides_on_the_product(default):
    before = torch.get_default_dtype()
    torch.set_default_dtype(default)
    try:
        ours, theirs, p, q = pairs_of(tensors_like(0, (3,)))
        for step in range(20):
            gradients = tensors_like(step, (3,))
            give(p, gradients)
            give(q, gradients)
            ours.step()
            theirs.step()
    finally:
        torch.set_default_dtype(before)
    assert ours.state[p[0]]["mu_product"].dtype is default
    assert ours.state[p[0]]["mu_product"] == theirs.state[q[0]]["mu_product"]
    assert ours.state[p[0]]["step"] == 20.0


LAYOUTS = {
    "channels_last": lambda t: t.to(memory_format=torch.channels_last),
    "transposed": lambda t: t.transpose(0, 3).contiguous().transpose(0, 3),
    "permuted": lambda t: t.permute(2, 0, 3, 1).contiguous().permute(1, 3, 0, 2),
}


@pytest.mark.usefixtures("only_kernel")
@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("gradient_layout", ["contiguous", "same", "strided"])
def test_dense_layouts(dtype, layout, gradient_layout):
    point = tensors_like(0, (2, 3, 4, 5), dtype=dtype)[0]
    lay_out_gradient = {
        "contiguous": lambda g: g,
        "same": LAYOUTS[layout],
        "strided": lambda g: torch.stack([g, g], -1)[..., 0],
    }[gradient_layout]
    p, q = torch.nn.Parameter(LAYOUTS[layout](point)), torch.nn.Parameter(point.clone())
    assert not p.is_contiguous()
    ours, theirs = NAdam([p]), torch.optim.NAdam([q])
    for step in range(10):
        (gradient,) = tensors_like(step, (2, 3, 4, 5), dtype=dtype)
        p.grad, q.grad = lay_out_gradient(gradient), gradient
        ours.step()
        theirs.step()
    torch.testing.assert_close(p, q, rtol=1e-14, atol=1e-15)
    assert ours.state[p]["exp_avg"].stride() == p.stride()


@pytest.mark.usefixtures("only_torch")
@pytest.mark.parametrize(
    "make",
    [
        lambda: torch.ones(4, 6, dtype=torch.float64)[:, ::2],
        lambda: torch.ones(3, dtype=torch.bfloat16),
        lambda: torch.ones(3, dtype=torch.float16),
        lambda: torch.ones(3).as_subclass(type("Mine", (torch.Tensor,), {})),
        lambda: torch.ones(3, device="meta"),
    ],
    ids=["strided", "bfloat16", "float16", "subclass", "meta"],
)
def test_torch_steps_what_the_kernel_cannot_take(make):
    p, q = make().detach().requires_grad_(), make().detach().requires_grad_()
    ours, theirs = NAdam([p], lr=0.1), torch.optim.NAdam([q], lr=0.1)
    for _ in range(3):
        p.grad, q.grad = torch.ones_like(p), torch.ones_like(q)
        ours.step()
        theirs.step()
    assert ours.state[p]["exp_avg"].dtype is q.dtype
    if not p.is_meta:
        p, q = (tensor.detach().as_subclass(torch.Tensor) for tensor in (p, q))
        assert torch.equal(p, q)
        assert (p < 1.0).all()


def test_views_that_conjugate_or_negate():
    z = torch.tensor([1.0 + 2.0j, 3.0 - 4.0j])
    assert z.conj().imag.is_neg()
    for cls in (NAdam, torch.optim.NAdam):
        p = torch.ones(2, dtype=torch.complex64, requires_grad=True)
        p.grad = z.conj()
        with pytest.raises(RuntimeError, match="conj"):
            cls([p]).step()
    ours, theirs, p, q = pairs_of([torch.ones(2)])
    for optimizer, tensors in ((ours, p), (theirs, q)):
        tensors[0].grad = z.conj().imag
        optimizer.step()
    assert torch.equal(p[0], q[0])


def test_each_tensor_goes_its_own_way():
    points = [torch.ones(3), torch.ones(3, dtype=torch.bfloat16), torch.ones(2, dtype=torch.complex64)]
    ours, theirs, p, q = pairs_of(points, lr=0.1, weight_decay=0.1)
    for _ in range(5):
        for tensor in p + q:
            tensor.grad = torch.ones_like(tensor)
        ours.step()
        theirs.step()
    torch.testing.assert_close(p, q, rtol=FLOAT32_TOLERANCE, atol=FLOAT32_TOLERANCE)
    assert all(ours.state[tensor]["step"] == 5.0 for tensor in p)


@pytest.mark.parametrize("change", [{"betas": (torch.tensor(0.9), torch.tensor(0.99))}, {"eps": float("inf")}])
@pytest.mark.usefixtures("only_torch")
def test_torch_judges_options_that_ours_would_refuse(change):
    ours, theirs, p, q = pairs_of([torch.ones(3)])
    for optimizer, tensors in ((ours, p), (theirs, q)):
        optimizer.param_groups[0].update(change)
        give(tensors, [torch.ones(3)])
        optimizer.step()
    assert torch.equal(p[0], q[0])


def test_differentiable():
    results = []
    for cls in (NAdam, torch.optim.NAdam):
        rate_free = torch.tensor([1.0, 2.0], dtype=torch.float64, requires_grad=True)
        p = (rate_free * 2.0).requires_grad_()
        p.retain_grad()
        optimizer = cls([p], lr=0.1, differentiable=True)
        p.grad = rate_free * 3.0
        for key in ("exp_avg", "exp_avg_sq"):
            optimizer.state[p][key] = torch.rand(2, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
        optimizer.state[p].update(step=torch.tensor(3.0), mu_product=torch.tensor(0.2, dtype=torch.float64))
        clone = p.clone()
        optimizer.param_groups[0]["params"] = [clone]
        optimizer.state[clone] = optimizer.state.pop(p)
        clone.grad = p.grad
        optimizer.step()
        clone.sum().backward()
        results.append(rate_free.grad)
    assert torch.equal(*results)
    assert not torch.equal(results[0], torch.full((2,), 2.0, dtype=torch.float64))


@pytest.mark.usefixtures("only_kernel")
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-14), (torch.float32, 1e-7)])
def test_tensor_learning_rate(dtype, tolerance):
    """With one in single precision, torch rounds the weights of gradient and momentum to that."""
    ours, theirs, p, q = pairs_of(tensors_like(0, (3,)))
    for optimizer in (ours, theirs):
        optimizer.param_groups[0]["lr"] = torch.tensor(0.1, dtype=dtype)
    schedulers = [torch.optim.lr_scheduler.StepLR(optimizer, 2, 0.5) for optimizer in (ours, theirs)]
    for step in range(8):
        for optimizer, tensors, scheduler in zip((ours, theirs), (p, q), schedulers, strict=True):
            give(tensors, tensors_like(step, (3,)))
            optimizer.step()
            scheduler.step()
    torch.testing.assert_close(p, q, rtol=tolerance, atol=tolerance)
    torch.testing.assert_close(ours.param_groups[0]["lr"], torch.tensor(0.1 / 16, dtype=dtype))


def test_gradients_may_share_memory_with_parameters():
    memory = torch.arange(1.0, 7.0, dtype=torch.float64)
    p, q = (torch.nn.Parameter(t) for t in (memory[:3], memory[3:]))
    r, s = (torch.nn.Parameter(t.clone()) for t in (memory[:3], memory[3:]))
    r.grad, s.grad = memory[2:5].clone(), memory[1:4].clone()
    p.grad, q.grad = memory[2:5], memory[1:4]
    NAdam([p, q], lr=0.1).step()
    torch.optim.NAdam([r, s], lr=0.1).step()
    assert_close(arrays([p, q]), arrays([r, s]))


def test_a_tensor_twice_is_updated_twice():
    results = []
    for cls in (NAdam, torch.optim.NAdam):
        p = torch.ones(3, dtype=torch.float64, requires_grad=True)
        with pytest.warns(UserWarning, match="duplicate parameters"):
            optimizer = cls([p, p])
        p.grad = torch.ones_like(p)
        optimizer.step()
        results.append(p.detach().numpy())
    assert_close(results[:1], results[1:])


def in_new_memory(p, state):
    p.data = p.data.clone()


def in_another_order(p, state):
    p.data = p.data.t()


def in_half_precision(p, state):
    p.data = p.data.half()
    for key in ("exp_avg", "exp_avg_sq"):
        state[key] = state[key].half()


def moment_in_new_memory(p, state):
    state["exp_avg"] = state["exp_avg"] * 2.0


def moment_in_another_order(p, state):
    state["exp_avg_sq"].t_()


@pytest.mark.parametrize(
    "change", [in_new_memory, in_another_order, in_half_precision, moment_in_new_memory, moment_in_another_order]
)
def test_tensors_and_state_can_be_replaced(change):
    ours, theirs, p, q = pairs_of(tensors_like(0, (4, 4)), lr=0.1)
    for step in range(6):
        for optimizer, (tensor,) in ((ours, p), (theirs, q)):
            if step == 3:
                tensor.grad = None
                change(tensor, optimizer.state[tensor])
            tensor.grad = tensors_like(step, (4, 4), dtype=tensor.dtype)[0]
            optimizer.step()
    assert_close(arrays(p), arrays(q))


@pytest.mark.parametrize("layout", ["contiguous", "transposed"])
def test_storages_can_be_resized_after_a_step(layout):
    for cls in (torch.optim.NAdam, NAdam):
        p = torch.nn.Parameter(torch.ones(2, 3) if layout == "contiguous" else torch.ones(3, 2).t())
        p.grad = torch.ones(2, 3)
        optimizer = cls([p])
        optimizer.step()
        for tensor in (p, p.grad, *(optimizer.state[p][key] for key in ("exp_avg", "exp_avg_sq"))):
            tensor.untyped_storage().resize_(0)
            assert tensor.untyped_storage().nbytes() == 0


@pytest.mark.usefixtures("only_kernel")
def test_resized_storages_are_used_where_they_lie_now():
    ours, theirs, p, q = pairs_of(tensors_like(0, *SHAPES))
    for optimizer, tensors in ((ours, p), (theirs, q)):
        steps(optimizer, tensors, range(3))
        for tensor in (tensors[0], optimizer.state[tensors[1]]["exp_avg"]):
            values = tensor.detach().clone()
            tensor.untyped_storage().resize_(0)
            tensor.untyped_storage().resize_(2**16)
            tensor.detach().copy_(values)
        steps(optimizer, tensors, range(3, 6))
    assert_close(arrays(p), arrays(q))


@pytest.mark.parametrize("which", ["parameter", "gradient", "moment"])
def test_tensors_without_memory_are_refused(which):
    p, q = (torch.nn.Parameter(torch.ones(3)) for _ in range(2))
    optimizer = NAdam([p, q])
    for tensor in (p, q):
        tensor.grad = torch.ones(3)
    optimizer.step()
    before = p.detach().clone()
    tensor = {"parameter": q, "gradient": q.grad, "moment": optimizer.state[q]["exp_avg"]}[which]
    tensor.untyped_storage().resize_(4)
    with pytest.raises(RuntimeError, match=r"shape \(3,\) has a storage of 4 bytes"):
        optimizer.step()
    assert torch.equal(p, before)
    assert optimizer.state[p]["step"] == 1.0


def test_a_gradient_that_is_all_zero_without_memory():
    ours, theirs, p, q = pairs_of([torch.ones(3)])
    for optimizer, (tensor,) in ((ours, p), (theirs, q)):
        tensor.grad = torch.ones(3)
        optimizer.step()
        tensor.grad = torch._efficientzerotensor(3)
        optimizer.step()
    torch.testing.assert_close(p, q, rtol=FLOAT32_TOLERANCE, atol=0.0)


def test_memory_of_tensors_that_have_left_is_freed():
    for cls in (torch.optim.NAdam, NAdam):
        tensors = [torch.nn.Parameter(torch.ones(3)) for _ in range(2)]
        optimizer = cls(tensors)
        for tensor in tensors:
            tensor.grad = torch.ones(3)
        optimizer.step()
        gone = weakref.ref(tensors[0]), weakref.ref(tensors[1].untyped_storage())
        del optimizer.state[tensors[0]], optimizer.param_groups[0]["params"][0]
        tensors[1].data = torch.zeros(3)
        del tensor, tensors
        gc.collect()
        assert [reference() for reference in gone] == [None, None]


def test_autograd_notices_the_update():
    for cls in (torch.optim.NAdam, NAdam):
        p = torch.ones(3, requires_grad=True)
        optimizer = cls([p])
        loss = (p**2).sum()
        loss.backward(retain_graph=True)
        version = p._version
        optimizer.step()
        assert p._version > version
        assert optimizer.state[p]["exp_avg"]._version > 0
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            loss.backward()


def test_inference_mode():
    results = []
    for cls in (NAdam, torch.optim.NAdam):
        p = torch.ones(3, requires_grad=True)
        p.grad = torch.ones(3)
        optimizer = cls([p])
        optimizer.step()
        with torch.inference_mode():
            optimizer.step()
        results.append(p.detach())
    torch.testing.assert_close(*results, rtol=FLOAT32_TOLERANCE, atol=0.0)


def test_sparse_gradients_are_refused():
    p = torch.nn.Parameter(torch.zeros(3, 2))
    q = torch.nn.Parameter(torch.zeros(2))
    p.grad, q.grad = torch.ones(3, 2).to_sparse(), torch.ones(2)
    for cls in (NAdam, torch.optim.NAdam):
        with pytest.raises(RuntimeError, match="NAdam does not support sparse gradients"):
            cls([p]).step()
    with pytest.raises(RuntimeError, match="sparse"):
        NAdam([{"params": [q]}, {"params": [p]}]).step()
    assert (q == 0.0).all()


@pytest.mark.skipif(STEPS < 200, reason="many elements take long in Python")
def test_threads():
    size = 2**20 + 3
    ours, theirs, p, q = pairs_of(tensors_like(0, (size,)))
    for step in range(3):
        for optimizer, tensors in ((ours, p), (theirs, q)):
            give(tensors, tensors_like(step, (size,)))
            optimizer.step()
    assert_close(arrays(p), arrays(q))


# State


def steps(optimizer, tensors, numbers):
    for number in numbers:
        give(tensors, tensors_like(number, *(p.shape for p in tensors)))
        optimizer.step()


SHAPES = (7,), (3, 4)


@pytest.mark.usefixtures("double")
def test_states_of_tensors_go_both_ways():
    _, theirs, _, q = pairs_of(tensors_like(0, *SHAPES), lr=0.05, weight_decay=0.1)
    steps(theirs, q, range(75))
    points = [torch.nn.Parameter(r.detach().clone()) for r in tensors_like(0, *SHAPES)]
    first = torch.optim.NAdam(points, lr=0.05, weight_decay=0.1)
    steps(first, points, range(25))
    second = NAdam(points)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    steps(second, points, range(25, 50))
    third = torch.optim.NAdam(points)
    third.load_state_dict(copy.deepcopy(second.state_dict()))
    steps(third, points, range(50, 75))
    assert_close(arrays(points), arrays(q))
    assert third.param_groups[0]["lr"] == 0.05


def test_states_of_tensors_go_both_ways_in_single_precision():
    """A load makes the product of a double precision tensor double, in both optimizers."""
    results = []
    for classes in ([torch.optim.NAdam] * 3, [torch.optim.NAdam, NAdam, torch.optim.NAdam], [NAdam] * 3):
        points = [torch.nn.Parameter(r) for r in tensors_like(0, *SHAPES)]
        state_dict = None
        for start, cls in zip((0, 25, 50), classes, strict=True):
            optimizer = cls(points, lr=0.05)
            if state_dict is not None:
                optimizer.load_state_dict(state_dict)
            steps(optimizer, points, range(start, start + 25))
            state_dict = copy.deepcopy(optimizer.state_dict())
        results.append(arrays(points))
    assert_close(results[1], results[0])
    assert_close(results[2], results[0])


@pytest.mark.parametrize("scalar_dtype", [None, "float64"])
def test_states_of_arrays_go_both_ways(scalar_dtype):
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32 if scalar_dtype is None else torch.float64)
    try:
        points = [torch.nn.Parameter(r) for r in tensors_like(0, *SHAPES)]
        theirs = torch.optim.NAdam(points, lr=0.05)
        expected = [torch.nn.Parameter(r.detach().clone()) for r in points]
        straight = torch.optim.NAdam(expected, lr=0.05)
        steps(straight, expected, range(50))
        steps(theirs, points, range(25))
        parameters = [Parameter(p.detach().numpy().copy()) for p in points]
        ours = NAdam(parameters, scalar_dtype=scalar_dtype)
        ours.load_state_dict(theirs.state_dict())
        for number in range(25, 50):
            for p, g in zip(parameters, tensors_like(number, *SHAPES), strict=True):
                p.grad = g.numpy()
            ours.step()
        assert_close(parameters, arrays(expected))
        for cls, convert in ((torch.optim.NAdam, as_tensors), (NAdam, dict)):
            tensors = [torch.nn.Parameter(torch.tensor(p.data)) for p in parameters]
            back = cls(tensors)
            back.load_state_dict(convert(ours.state_dict()))
            steps(back, tensors, range(50, 75))
            # torch makes a product that is a number one of its default dtype, which is what `straight` goes on with.
            if cls is torch.optim.NAdam:
                steps(straight, expected, range(50, 75))
            assert_close(arrays(tensors), arrays(expected))
    finally:
        torch.set_default_dtype(before)


def test_save_deepcopy_and_pickle():
    ours, theirs, p, q = pairs_of(tensors_like(0, *SHAPES))
    steps(ours, p, range(5))
    steps(theirs, q, range(10))
    file = io.BytesIO()
    torch.save(ours.state_dict(), file)
    file.seek(0)
    for copied in (copy.deepcopy(ours), pickle.loads(pickle.dumps(ours))):
        assert type(copied) is type(ours)
        tensors = copied.param_groups[0]["params"]
        steps(copied, tensors, range(5, 10))
        assert_close(arrays(tensors), arrays(q))
    loaded = NAdam(p)
    state_dict = torch.load(file)
    state_dict["state"] = {k: {**v, "mu_product": v["mu_product"].item()} for k, v in state_dict["state"].items()}
    loaded.load_state_dict(state_dict)
    steps(loaded, p, range(5, 10))
    assert_close(arrays(p), arrays(q))


# What torch drives an optimizer by


SCHEDULERS = {
    "StepLR": lambda o: torch.optim.lr_scheduler.StepLR(o, 3, 0.5),
    "OneCycleLR": lambda o: torch.optim.lr_scheduler.OneCycleLR(o, 0.1, total_steps=30),
    "CyclicLR": lambda o: torch.optim.lr_scheduler.CyclicLR(o, 0.01, 0.1, step_size_up=4),
    "ReduceLROnPlateau": lambda o: torch.optim.lr_scheduler.ReduceLROnPlateau(o, patience=1),
    "LambdaLR": lambda o: torch.optim.lr_scheduler.LambdaLR(o, lambda n: 1.0 / (n + 1)),
}


@pytest.mark.parametrize("name", SCHEDULERS)
def test_schedulers(name):
    ours, theirs, p, q = pairs_of(tensors_like(0, *SHAPES), lr=0.1)
    for optimizer, tensors in ((ours, p), (theirs, q)):
        scheduler = SCHEDULERS[name](optimizer)
        for number in range(20):
            give(tensors, tensors_like(number, *SHAPES))
            optimizer.step()
            scheduler.step(*[1.0] * (name == "ReduceLROnPlateau"))
    assert_close(arrays(p), arrays(q))
    assert ours.param_groups[0]["lr"] == theirs.param_groups[0]["lr"]
    assert ours.param_groups[0]["betas"] == theirs.param_groups[0]["betas"]


def test_grad_scaler_skips_a_step_with_an_infinite_gradient():
    results = []
    for cls in (NAdam, torch.optim.NAdam):
        p = torch.ones(3, requires_grad=True)
        optimizer, scaler = cls([p], lr=0.1), torch.amp.GradScaler("cpu", init_scale=8.0)
        for factor in (1.0, float("inf"), 1.0):
            optimizer.zero_grad()
            scaler.scale((p * factor).sum()).backward()
            before = p.detach().clone()
            scaler.step(optimizer)
            scaler.update()
            assert torch.equal(before, p) == (factor == float("inf"))
        assert optimizer.state[p]["step"] == 2.0
        results.append(p.detach())
    torch.testing.assert_close(*results, rtol=FLOAT32_TOLERANCE, atol=0.0)


def test_hooks_run_in_torchs_order():
    from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

    orders = []
    for cls in (NAdam, torch.optim.NAdam):
        torch.optim.NAdam([torch.ones(3, requires_grad=True)])  # which wraps the step of torch's own class
        calls = []
        p = torch.ones(3, requires_grad=True)
        optimizer = cls([p])
        handles = [
            register_optimizer_step_pre_hook(lambda *_, calls=calls: calls.append("global pre")),
            optimizer.register_step_pre_hook(lambda *_, calls=calls: calls.append("pre")),
            optimizer.register_step_post_hook(lambda *_, calls=calls: calls.append("post")),
            register_optimizer_step_post_hook(lambda *_, calls=calls: calls.append("global post")),
        ]
        p.register_hook(lambda _, calls=calls: calls.append("backward"))

        def closure(p=p):
            loss = p.sum()
            loss.backward()
            return loss

        with torch.no_grad():
            assert optimizer.step(closure) == 3.0
        for handle in handles:
            handle.remove()
        orders.append(calls)
    assert orders[0] == orders[1] == ["global pre", "pre", "backward", "post", "global post"]


def test_add_param_group():
    ours, theirs, p, q = pairs_of(tensors_like(0, *SHAPES), lr=0.1)
    (late,) = tensors_like(5, (2, 2))
    for optimizer, tensors in ((ours, p), (theirs, q)):
        steps(optimizer, tensors, range(3))
        tensors.append(torch.nn.Parameter(late.clone()))
        optimizer.add_param_group({"params": tensors[-1], "lr": 0.5, "decoupled_weight_decay": True})
        steps(optimizer, tensors, range(3, 6))
    assert_close(arrays(p), arrays(q))


@pytest.mark.usefixtures("double")
def test_training_a_network_gives_the_same_losses():
    losses = []
    for cls in (NAdam, torch.optim.NAdam):
        torch.manual_seed(0)
        model = torch.nn.Sequential(
            torch.nn.Conv2d(2, 4, 3), torch.nn.Tanh(), torch.nn.Flatten(), torch.nn.Linear(36, 8), torch.nn.Linear(8, 1)
        ).to(memory_format=torch.channels_last)
        x, y = torch.randn(16, 2, 5, 5), torch.randn(16, 1)
        optimizer = cls(model.parameters(), lr=0.01, weight_decay=1e-3)
        curve = []
        for _ in range(30):
            optimizer.zero_grad()
            loss = torch.nn.functional.mse_loss(model(x), y)
            loss.backward()
            optimizer.step()
            curve.append(loss.item())
        losses.append(curve)
    assert losses[0][-1] < 0.5 * losses[0][0]
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-10)


# Subclasses


class Halving(NAdam):
    """Halves its learning rate after each step, and counts them."""

    factor = 0.5

    def __init__(self, params, lr=0.1, **options):
        super().__init__(params, lr=lr, **options)
        self.defaults["steps"] = 0

    def step(self, closure=None):
        loss = super().step(closure)
        for group in self.param_groups:
            group["lr"] *= self.factor
        self.defaults["steps"] += 1
        return loss


class Quartering(Halving):
    factor = 0.25


@pytest.mark.usefixtures("only_kernel")
@pytest.mark.parametrize(("cls", "factor"), [(Halving, 0.5), (Quartering, 0.25)])
def test_subclasses_take_tensors_and_arrays(cls, factor):
    _, theirs, p, q = pairs_of(tensors_like(0, *SHAPES), lr=0.1, weight_decay=0.1)
    parameters = [Parameter(tensor.detach().numpy().copy()) for tensor in p]
    of_tensors, of_arrays = (cls(params, weight_decay=0.1) for params in (iter(p), parameters))
    for number in range(5):
        steps(of_tensors, p, [number])
        for parameter_, tensor in zip(parameters, p, strict=True):
            parameter_.grad = tensor.grad.numpy()
        of_arrays.step()
        steps(theirs, q, [number])
        theirs.param_groups[0]["lr"] *= factor
    assert_close(arrays(p), arrays(q))
    assert_close(parameters, arrays(q))
    assert of_tensors.defaults["steps"] == of_arrays.defaults["steps"] == 5
    assert type(of_arrays) is cls
    assert isinstance(of_tensors, cls)
    assert isinstance(of_tensors, torch.optim.NAdam)
    assert not isinstance(of_arrays, torch.optim.NAdam)
    assert type(of_tensors) is type(cls(params=p)) is type(type(of_tensors)(p))
    assert repr(of_tensors).startswith(f"{cls.__name__} (\nParameter Group 0")


def test_subclasses_are_copied_and_pickled():
    for cls in (Halving, Quartering):
        p = [torch.nn.Parameter(point) for point in tensors_like(0, *SHAPES)]
        optimizer = cls(p)
        steps(optimizer, p, range(3))
        copies = copy.deepcopy(optimizer), pickle.loads(pickle.dumps(optimizer))
        steps(optimizer, p, range(3, 6))
        for copied in copies:
            assert type(copied) is type(optimizer)
            tensors = copied.param_groups[0]["params"]
            steps(copied, tensors, range(3, 6))
            assert_close(arrays(tensors), arrays(p))
        assert pickle.loads(pickle.dumps(cls)) is cls
        assert pickle.loads(pickle.dumps(type(optimizer))) is type(optimizer)


def test_hooks_of_a_subclass_without_a_step_of_its_own_run_once():
    calls = []
    p = torch.ones(3, requires_grad=True)
    p.grad = torch.ones(3)
    optimizer = type("Mine", (NAdam,), {})([p])
    optimizer.register_step_post_hook(lambda *_: calls.append("post"))
    optimizer.step()
    NAdam([p]).step()
    assert calls == ["post"]
    assert (p < 1.0).all()


def test_tensors_in_another_place_than_the_first_argument():
    class OfModule(NAdam):
        def __init__(self, module):
            super().__init__(module.parameters())

    with pytest.raises(TypeError, match="all must be tensors, in the first argument"):
        OfModule(torch.nn.Linear(2, 1))


# Errors of the real one, each beside ours on arrays and on tensors


def leaf():
    return torch.ones(3, requires_grad=True)


def parameter():
    return Parameter(np.ones(3))


def with_gradient(make):
    p = make()
    p.grad = torch.ones(3) if isinstance(p, torch.Tensor) else np.ones(3)
    return p


ERRORS = {
    "lr shape": lambda cls, make: cls([make()], lr=torch.ones(2) if make is leaf else np.ones(2)),
    "lr": lambda cls, make: cls([make()], lr=-1.0),
    "lr nan": lambda cls, make: cls([make()], lr=float("nan")),
    "lr str": lambda cls, make: cls([make()], lr="a"),
    "eps": lambda cls, make: cls([make()], eps=-1.0),
    "weight_decay": lambda cls, make: cls([make()], weight_decay=-1.0),
    "momentum_decay": lambda cls, make: cls([make()], momentum_decay=-1.0),
    "beta 1": lambda cls, make: cls([make()], betas=(1.0, 0.5)),
    "beta 2": lambda cls, make: cls([make()], betas=(0.5, -1.0)),
    "betas short": lambda cls, make: cls([make()], betas=(0.5,)),
    "betas scalar": lambda cls, make: cls([make()], betas=0.5),
    "single": lambda cls, make: cls(make()),
    "not iterable": lambda cls, make: cls(5),
    "empty": lambda cls, make: cls([]),
    "set": lambda cls, make: cls([{"params": {make()}}]),
    "other": lambda cls, make: cls([make(), 5]),
    "nested": lambda cls, make: cls([[make()]]),
    "two groups": lambda cls, make: (lambda p: cls([{"params": [p]}, {"params": [p]}]))(make()),
    "names": lambda cls, make: cls([("a", make()), make()]),
    "names of groups": lambda cls, make: cls([{"params": [("a", make())]}, {"params": [make()]}]),
    "group": lambda cls, make: cls([make()]).add_param_group([make()]),
    "group without params": lambda cls, make: cls([{"lr": 0.1, "params": [make()]}, {"lr": 0.1}]),
    "load groups": lambda cls, make: cls([make()]).load_state_dict({"state": {}, "param_groups": []}),
    "load sizes": lambda cls, make: cls([make()]).load_state_dict(cls([make(), make()]).state_dict()),
    "load nothing": lambda cls, make: cls([make()]).load_state_dict({}),
    "capturable": lambda cls, make: cls([with_gradient(make)], capturable=True).step(),
    "differentiable foreach": lambda cls, make: cls([with_gradient(make)], differentiable=True, foreach=True).step(),
    "fused": lambda cls, make: cls([make()], fused=True),
    "amsgrad": lambda cls, make: cls([make()], amsgrad=True),
    "hook": lambda cls, make: (lambda o: (o.register_step_pre_hook(lambda *_: 5), o.step()))(cls([make()])),
    "grad type": lambda cls, make: setattr(make(), "grad", [1.0]),
    "grad shape": lambda cls, make: setattr(make(), "grad", torch.ones(2) if make is leaf else np.ones(2)),
    "grad dtype": lambda cls, make: setattr(
        make(), "grad", torch.ones(3, dtype=torch.float16) if make is leaf else np.ones(3, np.float32)
    ),
}


@pytest.mark.parametrize("name", ERRORS)
def test_errors_are_of_the_same_type(name):
    types = []
    for cls, make in ((torch.optim.NAdam, leaf), (NAdam, leaf), (NAdam, parameter)):
        with pytest.raises(Exception) as caught:  # noqa: PT011 - which one is what is tested
            ERRORS[name](cls, make)
        types.append(caught.type)
    assert types == [types[0]] * 3


@pytest.mark.parametrize("options", [{"capturable": True}, {"differentiable": True, "foreach": True}])
def test_options_that_arrays_refuse_before_the_first_step(options):
    for cls in (torch.optim.NAdam, NAdam):
        p = with_gradient(leaf)
        optimizer = cls([p], **options)
        with pytest.raises(AssertionError):
            optimizer.step()
    with pytest.raises(AssertionError, match=f"{next(iter(options))}=True"):
        NAdam([parameter()], **options)


def test_errors_of_tensors():
    for cls in (NAdam, torch.optim.NAdam):
        with pytest.raises(ValueError, match="non-leaf"):
            cls([leaf() * 2.0])


@pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated:DeprecationWarning")
def test_compiled_step():
    results = []
    for cls in (NAdam, torch.optim.NAdam):
        p = torch.ones(3, requires_grad=True)
        optimizer = cls([p], lr=0.1)
        step = torch.compile(optimizer.step, backend="eager")
        for _ in range(3):
            p.grad = torch.ones(3)
            step()
        results.append(p.detach())
    torch.testing.assert_close(*results, rtol=FLOAT32_TOLERANCE, atol=0.0)


def test_torch_is_imported_only_for_tensors():
    code = """
import sys
import numpy as np
from nadam_numba.compat.torch import NAdam, Parameter
NAdam([Parameter(np.ones(3))]).step()
print("torch" in sys.modules)
import torch
NAdam([Parameter(np.ones(3))]).step()
print("nadam_numba.compat._torch_tensors" in sys.modules)
"""
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300, check=True)
    assert process.stdout.split() == ["False", "False"]
