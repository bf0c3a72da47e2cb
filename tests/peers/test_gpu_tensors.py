"""`NAdam` on torch's tensors: on a card, or by Numba's simulator, for which the CPU's tensors lie on the GPU."""

import numpy as np
import pytest
from numba import config

torch = pytest.importorskip("torch")
HAS_CARD = torch.cuda.is_available()
if not (config.ENABLE_CUDASIM or HAS_CARD):
    pytest.skip("neither a GPU nor its simulator, NUMBA_ENABLE_CUDASIM=1", allow_module_level=True)

from nadam_numba import NAdam, interfaces  # noqa: E402
from nadam_numba.gpu_arrays import device  # noqa: E402

DEVICE = "cuda" if HAS_CARD else "cpu"
# Without a card, the one tensor that is on the host.
HOST = torch.ones(4, 4)
TYPES = {torch.float32: "<f4", torch.float64: "<f8", torch.complex64: "<c8", torch.int32: "<i4"}


@pytest.fixture(autouse=True)
def stream(monkeypatch):
    """Without a card, let the CPU's tensors have an interface, and a stream whose number is settable."""
    number = [0]
    if not HAS_CARD:
        interface_of = interfaces.interface_of

        def interface(array):
            """What torch says of tensors on a card."""
            if not isinstance(array, torch.Tensor):
                return interface_of(array)
            if array.layout != torch.strided or array.is_meta or array is HOST:
                return None
            strides = tuple(array.element_size() * stride for stride in array.stride())
            described = {"shape": tuple(array.shape), "strides": None if array.is_contiguous() else strides}
            return described | {"data": (array.data_ptr(), False), "typestr": TYPES[array.dtype], "version": 2}

        def get_device(tensor):
            return -1 if tensor is HOST or tensor.is_meta else 0

        monkeypatch.setattr(torch.Tensor, "get_device", get_device)
        for module in (interfaces, device):
            monkeypatch.setattr(module, "interface_of", interface)
        monkeypatch.setattr(device, "stream_number", lambda array, told: number[0])
    return number


def tensor(*shape, dtype=torch.float32, seed=0):
    return torch.randn(shape, dtype=dtype, generator=torch.Generator().manual_seed(seed)).to(DEVICE)


def is_prepared(optimizer):
    return optimizer._plan is not None and len(optimizer._plan.tables) > 0


def assert_close(tensors, arrays):
    for ours, expected in zip(tensors, arrays, strict=True):
        np.testing.assert_allclose(ours.detach().cpu().numpy(), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.complex64])
def test_steps_are_those_of_arrays(dtype):
    tensors = [tensor(3, 4, dtype=dtype), tensor(5, dtype=dtype, seed=1), tensor(dtype=dtype, seed=2)]
    arrays = [each.cpu().numpy().copy() for each in tensors]
    optimizer, reference = NAdam(tensors, learning_rate=0.1), NAdam(arrays, learning_rate=0.1)
    for number in range(6):
        grads = [tensor(*each.shape, dtype=dtype, seed=10 + number) for each in tensors]
        optimizer.step(grads)
        reference.step([each.cpu().numpy() for each in grads])
        assert is_prepared(optimizer)
        assert_close(tensors, arrays)


@pytest.mark.parametrize("options", [{}, {"nonfinite": "raise"}], ids=["prepared", "general"])
@pytest.mark.parametrize("mark", ["conjugate", "negative"])
@pytest.mark.parametrize("is_alone", [True, False])
def test_gradients_that_are_but_marked(mark, is_alone, options):
    numbers = [tensor(*(4,) * (mark == "conjugate"), dtype=torch.complex64, seed=seed) for seed in range(4)]
    if mark == "conjugate":
        parameter, pairs = tensor(4, dtype=torch.complex64), [(each, each.conj()) for each in numbers]
    else:
        parameter, pairs = tensor(), [(each.imag, each.conj().imag) for each in numbers]
    expected = parameter.cpu().numpy().copy()
    settings = {"learning_rate": 0.1, **options}
    optimizer, reference = NAdam(parameter, **settings), NAdam(expected, **settings)
    for plain, marked in pairs:
        assert marked.is_conj() or marked.is_neg()
        assert marked.data_ptr() == plain.data_ptr()
        for gradient in (marked,) if is_alone else (plain, plain, marked):
            optimizer.step(gradient)
            reference.step(gradient.resolve_conj().resolve_neg().cpu().numpy())
        assert_close([parameter], [expected])


@pytest.mark.parametrize("steps", [0, 3])
def test_parameters_that_are_but_marked(steps):
    parameter, gradient = tensor(4, dtype=torch.complex64), tensor(4, dtype=torch.complex64, seed=1)
    with pytest.raises(ValueError, match="params is marked as conjugate or negative by torch"):
        NAdam(parameter.conj())
    optimizer = NAdam(parameter)
    for _ in range(steps):
        optimizer.step(gradient)
    before = parameter.clone()
    parameter.data = parameter.data.conj()
    with pytest.raises(ValueError, match="params is marked as conjugate or negative by torch"):
        optimizer.step(gradient)
    assert torch.equal(parameter.conj(), before)


def test_tensors_among_other_arrays(stream):
    from numba import cuda  # noqa: TID251

    def make():
        optimizer = NAdam([tensor(3, dtype=torch.complex64), cuda.to_device(np.ones(2))], learning_rate=0.1)
        return optimizer, [state.leaf.array for state in optimizer.states]

    (optimizer, arrays), (other, others) = make(), make()
    other.register_step_pre_hook(lambda optimizer, args, kwargs: None)  # the general way
    gradient, rest = tensor(3, dtype=torch.complex64, seed=1), cuda.to_device(np.ones(2))
    for number in range(6):
        stream[0] = number // 3
        for each in (optimizer, other):
            each.step([gradient.conj() if number in (2, 3) else gradient, rest])
    assert torch.equal(arrays[0], others[0])
    np.testing.assert_array_equal(arrays[1].copy_to_host(), others[1].copy_to_host())


def test_whatever_changes_of_a_tensor():
    parameter, gradient = tensor(4, 4), tensor(4, 4, seed=1)
    expected = parameter.cpu().numpy().copy()
    optimizer, reference = NAdam(parameter, learning_rate=0.1), NAdam(expected, learning_rate=0.1)

    def step():
        optimizer.step(gradient)
        reference.step(gradient.cpu().numpy())
        assert_close([parameter], [expected])

    for _ in range(3):
        step()
    assert is_prepared(optimizer)
    gradient.t_()
    step()
    gradient.t_()
    for _ in range(3):
        step()
    assert is_prepared(optimizer)
    others = gradient.reshape(-1), gradient.reshape(2, 8), gradient.double(), gradient.to_sparse(), gradient.int()
    for wrong in (*others, HOST, torch.ones(4, 4, device="meta")):
        while not is_prepared(optimizer):
            step()
        with pytest.raises((TypeError, ValueError), match="grads"):
            optimizer.step(wrong)
        assert_close([parameter], [expected])
    step()
    before = parameter.data
    parameter.data = before.clone()
    with pytest.raises(ValueError, match="params lies elsewhere in memory"):
        optimizer.step(gradient)
    parameter.data = before
    step()
    assert optimizer.iterations == reference.iterations


@pytest.mark.skipif(HAS_CARD, reason="stands for streams in the simulator")
def test_steps_follow_the_stream_of_the_moment(stream, monkeypatch):
    chosen, launch = [], device.launch_blocks

    def noting(kernel, blocks, on_stream, *arguments, **settings):
        chosen.append(on_stream)
        launch(kernel, blocks, 0, *arguments, **settings)

    monkeypatch.setattr(device, "stream", lambda number, handle: handle)
    monkeypatch.setattr(device, "wait_for", lambda waiting, other: None)
    parameters, gradients = [tensor(3), tensor(2)], [tensor(3), tensor(2)]
    optimizer = NAdam(parameters)
    monkeypatch.setattr(device, "launch_blocks", noting)
    streams = [5, 5, 6, 6, 5]
    for stream[0] in streams:
        optimizer.step(gradients)
        assert is_prepared(optimizer)
    assert chosen == streams


def test_descriptions_tell_tensors_apart():
    made = tensor(4, 4, dtype=torch.complex64)
    others = [made.t(), made.conj(), made.view(torch.float32), made[:2], made.reshape(2, 8), made.clone()]
    known = interfaces.described_tensors(torch, [made])
    assert interfaces.described_tensors(torch, [made.view_as(made)]) == known
    for other in others:
        assert interfaces.described_tensors(torch, [other]) != known
    assert interfaces.described_tensors(torch, [made.to_sparse()]) is None
    assert interfaces.described([made, None]) is None
