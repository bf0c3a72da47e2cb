"""Prepared steps on GPU arrays: the bits of the general way, and the general way for whatever is unusual."""

import copy
import gc
import weakref

import numpy as np
import pytest
from gpu_arrays import (
    SIMULATES,
    Foreign,
    gradients_on_gpu,
    on_gpu,
    on_host,
    quick_simulator,  # noqa: F401
    skip_without_gpu,
)

from nadam_numba import NAdam, schedules

skip_without_gpu()
pytestmark = pytest.mark.usefixtures("quick_simulator")

OPTIONS = [
    {},
    {"nesterov": False, "weight_decay": 0.1},
    {"amsgrad": True, "beta_2": 0.5, "weight_decay": 0.1, "decoupled_weight_decay": True},
    {"maximize": True, "clipvalue": 0.3, "epsilon_root": 1e-3, "loss_scale_factor": 8.0},
    {"use_ema": True, "ema_momentum": 0.5, "ema_overwrite_frequency": 3},
    {"learning_rate": schedules.cosine_decay(0.1, 20), "clipnorm": 0.7},
    {"global_clipnorm": 0.5, "clipnorm": 0.4, "maximize": True},
    {"state_dtype": "bfloat16", "amsgrad": True},
]
# Two tables, one for each real dtype.
SHAPES_AND_DTYPES = [((3, 4), "float32"), ((), "float64"), ((0,), "float32"), ((9,), "float32"), ((5,), "complex128")]


def general(optimizer):
    """An optimizer whose steps go the general way: hooks see each of them."""
    optimizer.register_step_pre_hook(lambda optimizer, args, kwargs: None)
    return optimizer


def is_prepared(optimizer):
    """Whether the last step was."""
    return optimizer._plan is not None and len(optimizer._plan.tables) > 0


def random_arrays(rng):
    arrays = []
    for shape, dtype in SHAPES_AND_DTYPES:
        real, imaginary = rng.standard_normal((2, *shape))
        arrays.append(np.asarray(real + 1j * imaginary if dtype == "complex128" else real, dtype))
    return arrays


def assert_same(optimizer, arrays, other, others):
    """The same parameters and state, in all bits."""
    for array, expected in zip(arrays, others, strict=True):
        np.testing.assert_array_equal(on_host(array), on_host(expected))
    ours, theirs = optimizer.state_dict(), other.state_dict()
    assert ours["iterations"] == theirs["iterations"]
    for group, expected in zip(ours["param_groups"], theirs["param_groups"], strict=True):
        for data, its in zip(group["arrays"], expected["arrays"], strict=True):
            for key, value in data.items():
                np.testing.assert_array_equal(value, its[key])


def both_ways(wrap=list, **options):
    """Two optimizers of equal arrays, the second of which goes the general way, and the arrays of both."""
    params = random_arrays(np.random.default_rng(0))
    arrays, others = ([on_gpu(p) for p in params] for _ in range(2))
    return NAdam(wrap(arrays), **options), arrays, general(NAdam(wrap(others), **copy.deepcopy(options))), others


def step_both(optimizer, other, rng, wrap=list):
    grads = random_arrays(rng)
    optimizer.step(wrap(gradients_on_gpu(grads)))
    other.step(wrap(gradients_on_gpu(grads)))


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_it_makes_the_steps_of_the_general_way(options):
    optimizer, arrays, other, others = both_ways(**options)
    optimizer.exclude_from_weight_decay(names=["[13]"])
    other.exclude_from_weight_decay(names=["[13]"])
    rng = np.random.default_rng(1)
    for number in range(8):
        step_both(optimizer, other, rng)
        assert is_prepared(optimizer) == (number > 0 or not options.get("amsgrad"))
        assert not is_prepared(other)
    assert_same(optimizer, arrays, other, others)


def test_groups_whose_numbers_change():
    def groups(arrays):
        return [{"params": arrays[:3], "weight_decay": 0.1}, {"params": arrays[3:], "learning_rate": 0.05}]

    optimizer, arrays, other, others = both_ways(groups, clipnorm=1.0)
    rng = np.random.default_rng(1)
    for number in range(9):
        for each in (optimizer, other):
            each.learning_rate = 0.1 / (number + 1)
            each.param_groups[1]["weight_decay"] = 0.01 * number
            each.clipnorm = 1.0 if number < 6 else 0.5
            each.nesterov = number != 7
        step_both(optimizer, other, rng, lambda grads: [grads[:3], grads[3:]])
        assert is_prepared(optimizer)
    assert_same(optimizer, arrays, other, others)


@pytest.mark.parametrize("what", ["none", "rows", "layout", "its parameter"])
def test_unusual_gradients_go_the_general_way(what):
    optimizer, arrays, other, others = both_ways(learning_rate=0.1)
    rng = np.random.default_rng(1)
    for number in range(7):
        for each, params in ((optimizer, arrays), (other, others)):
            grads = gradients_on_gpu(random_arrays(np.random.default_rng(number)))
            if number in (2, 3, 5):
                unusual = {
                    "none": None,
                    "rows": (np.array([2, 0, 2]), on_gpu(np.ones((3, 4), "float32"))),
                    "layout": on_gpu(np.asfortranarray(np.arange(12, dtype="float32").reshape(3, 4))),
                    "its parameter": params[0],
                }
                grads[0] = unusual[what]
            each.step(grads)
        assert is_prepared(optimizer) == (number not in (2, 3, 5)) or what == "its parameter"
    step_both(optimizer, other, rng)
    assert_same(optimizer, arrays, other, others)


def test_arrays_that_change_are_noticed():
    optimizer, arrays, other, others = both_ways(learning_rate=0.1)
    rng = np.random.default_rng(1)
    for _ in range(3):
        step_both(optimizer, other, rng)
    assert is_prepared(optimizer)
    grads = gradients_on_gpu(random_arrays(rng))
    for wrong, error, match in [
        (on_gpu(np.ones((4, 3), "float32")), ValueError, r"grads\[0\] has shape \(4, 3\)"),
        (on_gpu(np.ones((3, 4), "float64")), TypeError, r"grads\[0\] has dtype float64"),
        (np.ones((3, 4), "float32"), TypeError, r"(?s)grads\[0\]=.* on the host"),
        ([1.0], TypeError, r"grads\[0\]"),
    ]:
        with pytest.raises(error, match=match):
            optimizer.step([wrong, *grads[1:]])
        with pytest.raises((TypeError, ValueError), match="grads"):
            optimizer.step(grads[1:])
        assert optimizer.iterations == 3
    step_both(optimizer, other, rng)
    assert_same(optimizer, arrays, other, others)


@pytest.mark.skipif(not SIMULATES, reason="on a card, only other libraries' arrays can change")
def test_parameters_that_change_are_noticed():
    memory = np.linspace(-1.0, 1.0, 6)
    parameter, gradient = Foreign(memory), Foreign(np.ones(6))
    optimizer = NAdam(parameter)
    for _ in range(3):
        optimizer.step(gradient)
    assert is_prepared(optimizer)
    before, described = memory.copy(), parameter.__cuda_array_interface__
    address = described["data"][0]
    for change, match in [
        ({"data": (address, True)}, "read-only"),
        ({"shape": (2, 3)}, "shape"),
        ({"data": (address + 8, False)}, "elsewhere"),
        ({"strides": (-8,)}, "elsewhere"),
    ]:
        parameter.__cuda_array_interface__ = described | change
        with pytest.raises(ValueError, match=match):
            optimizer.step(gradient)
        np.testing.assert_array_equal(memory, before)
    parameter.__cuda_array_interface__ = described
    optimizer.step(gradient)
    assert optimizer.iterations == 4


@pytest.mark.skipif(not SIMULATES, reason="on a card, views of Numba's arrays are contiguous")
def test_a_gradient_that_moves_to_where_a_parameter_is():
    memory = np.linspace(-1.0, 1.0, 24)
    expected = memory[8:].copy()
    optimizer, reference = NAdam(Foreign(memory[8:])), NAdam(expected)
    # Each number of the third is a gradient, after it has been updated as a parameter.
    for gradient in (np.ones(16), np.full(16, 2.0), memory[:16], np.ones(16)):
        reference.step(gradient.copy())
        optimizer.step(Foreign(gradient))
        np.testing.assert_array_equal(memory[8:], expected)


@pytest.mark.skipif(not SIMULATES, reason="needs a gradient that is on no GPU")
@pytest.mark.parametrize("found", [1, None])
def test_a_gradient_that_moves_to_another_device(found, monkeypatch):
    from nadam_numba.gpu_arrays import device

    array = on_gpu(np.ones(3))
    optimizer = NAdam(array)
    for _ in range(3):
        optimizer.step(on_gpu(np.ones(3)))
    assert is_prepared(optimizer)
    before, elsewhere = on_host(array), on_gpu(np.ones(3))

    def device_of(name, address):
        if found is None:
            raise ValueError(f"{name} is at {address:#x}, which is no memory of a GPU")
        return found

    monkeypatch.setattr(device, "device_of", device_of)
    with pytest.raises(ValueError, match="grads is on GPU 1" if found else "grads is at .* no memory of a GPU"):
        optimizer.step(elsewhere)
    np.testing.assert_array_equal(on_host(array), before)
    assert optimizer.iterations == 3


@pytest.mark.skipif(not SIMULATES, reason="the simulator has no streams, so that any numbers will do")
def test_steps_follow_the_streams_of_gradients(monkeypatch):
    from nadam_numba.gpu_arrays import device

    chosen, waits = [], []
    monkeypatch.setattr(device, "stream", lambda number, handle: handle)
    monkeypatch.setattr(device, "wait_for", lambda waiting, other: waits.append((waiting, other)))
    launch = device.launch_blocks

    def noting(kernel, blocks, on_stream, *arguments, **settings):
        chosen.append(on_stream)
        launch(kernel, blocks, 0, *arguments, **settings)

    monkeypatch.setattr(device, "launch_blocks", noting)
    memory, gradients = np.ones(4), np.ones((2, 4))
    optimizer = NAdam(Foreign(memory))
    chosen.clear()
    streams = [7, 7, 7, 9, 9, 7, 7]
    for number, stream in enumerate(streams):
        optimizer.step(Foreign(gradients[number % 2], stream))
    assert chosen == streams
    assert [pair for pair in waits if pair[0] != pair[1]] == [(9, 7), (7, 9)]
    assert is_prepared(optimizer)


@pytest.mark.skipif(not SIMULATES, reason="the simulator has no streams, so that any numbers will do")
@pytest.mark.parametrize("are_new", [True, False])
def test_each_step_waits_for_all_streams(are_new, monkeypatch):
    from nadam_numba.gpu_arrays import device

    waits, launch = [], device.launch_blocks
    monkeypatch.setattr(device, "stream", lambda number, handle: handle)
    monkeypatch.setattr(device, "wait_for", lambda waiting, other: waits.append((waiting, other)))
    monkeypatch.setattr(
        device, "launch_blocks", lambda kernel, blocks, stream, *rest, **more: launch(kernel, blocks, 0, *rest, **more)
    )
    optimizer = NAdam([Foreign(np.ones(4)), Foreign(np.ones(3))])
    grads = [Foreign(np.ones(4), 7), Foreign(np.ones(3), 9)]
    for _ in range(5):
        optimizer.step([Foreign(np.ones(4), 7), Foreign(np.ones(3), 9)] if are_new else grads)
        assert is_prepared(optimizer)
    assert [pair for pair in waits if pair[0] != pair[1]] == [(7, 9)] * 5


@pytest.mark.skipif(not SIMULATES, reason="stands for memory of the host that a card can read")
def test_memory_of_the_host_is_none_of_a_gpu():
    class Mapped(np.ndarray):
        @property
        def __cuda_array_interface__(self):
            return self.__array_interface__

    array = Foreign(np.ones(3))
    optimizer = NAdam(array)
    for _ in range(3):
        optimizer.step(Foreign(np.ones(3)))
    assert is_prepared(optimizer)
    with pytest.raises(TypeError, match="on the host"):
        optimizer.step(np.ones(3).view(Mapped))


def test_one_launch_and_no_look_at_each_array(monkeypatch):
    from nadam_numba.gpu_arrays import device

    params = [np.ones(3, "float32"), np.ones((2, 2), "float32"), np.ones((), "float32")]
    arrays = [on_gpu(p) for p in params]
    optimizer = NAdam(arrays)
    grads = [on_gpu(p) for p in params]
    optimizer.step(grads)
    launches = []
    monkeypatch.setattr(device, "launch_blocks", lambda *arguments, **settings: launches.append(arguments))
    monkeypatch.setattr(type(optimizer), "checked_gradients", None)
    monkeypatch.setattr(type(optimizer), "_make_plan", None)
    optimizer.step(grads)
    optimizer.step([on_gpu(p) for p in params])
    assert len(launches) == 2
    assert optimizer.iterations == 3


def test_own_gradients_are_not_looked_at_again(monkeypatch):
    from nadam_numba.gpu_arrays import prepared

    params = random_arrays(np.random.default_rng(0))
    arrays = [on_gpu(p) for p in params]
    optimizer, reference = NAdam(arrays, learning_rate=0.1), NAdam(params, learning_rate=0.1)
    looked, described = [], prepared.described
    monkeypatch.setattr(prepared, "described", lambda arrays: looked.append(len(arrays)) or described(arrays))
    for number in range(4):
        looked.clear()
        for gradient, own in zip(random_arrays(np.random.default_rng(number)), optimizer.gradients, strict=True):
            if gradient.size:
                own.copy_to_device(gradient)
        optimizer.step()
        reference.step(random_arrays(np.random.default_rng(number)))
        # Neither at Numba's arrays as parameters.
        assert looked == [len(arrays)] if number == 0 else not looked
    for array, expected in zip(arrays, params, strict=True):
        np.testing.assert_allclose(on_host(array), expected, rtol=1e-5)
    optimizer.gradients[0] = on_gpu(np.ones(5, "float32"))
    with pytest.raises(ValueError, match=r"grads\[0\] has shape"):
        optimizer.step()


@pytest.mark.skipif(not SIMULATES, reason="on a card, only other libraries' arrays can change")
def test_own_gradients_that_have_been_replaced_are_looked_at():
    optimizer = NAdam([on_gpu(np.ones(9))])
    foreign = optimizer.gradients[0] = Foreign(np.ones(9))
    for _ in range(3):
        optimizer.step()
    assert is_prepared(optimizer)
    foreign.__cuda_array_interface__ = foreign.__cuda_array_interface__ | {"shape": (3, 3)}
    with pytest.raises(ValueError, match=r"grads\[0\] has shape \(3, 3\)"):
        optimizer.step()


def test_gradients_are_not_kept_alive():
    arrays = [on_gpu(np.ones(3)), on_gpu(np.ones(2))]
    optimizer = NAdam(arrays)
    for _ in range(3):
        grads = [on_gpu(np.ones(3)), on_gpu(np.ones(2))]
        optimizer.step(grads)
    assert is_prepared(optimizer)
    kept = [weakref.ref(gradient) for gradient in grads]
    del grads
    gc.collect()
    assert all(each() is None for each in kept)


def test_a_step_that_fails_on_its_way_counts_nothing(monkeypatch):
    from nadam_numba.gpu_arrays import device

    optimizer, arrays, other, others = both_ways(learning_rate=0.1)
    rng = np.random.default_rng(1)
    for _ in range(2):
        step_both(optimizer, other, rng)

    def fail(*arguments, **settings):
        raise RuntimeError("the card is on fire")

    with monkeypatch.context() as patch:
        patch.setattr(device, "launch_blocks", fail)
        with pytest.raises(RuntimeError, match="on fire"):
            optimizer.step(gradients_on_gpu(random_arrays(rng)))
    assert optimizer.iterations == 2
    step_both(optimizer, other, np.random.default_rng(3))
    assert_same(optimizer, arrays, other, others)


def test_state_may_be_asked_for_saved_and_copied_between_steps(tmp_path):
    optimizer, arrays, other, others = both_ways(learning_rate=0.1)
    rng = np.random.default_rng(1)
    for number in range(9):
        step_both(optimizer, other, rng)
        if number == 2:
            assert [state.iterations for state in optimizer.states] == [3] * len(arrays)
        if number == 4:
            optimizer = copy.copy(optimizer)
        if number == 6:
            optimizer.save(tmp_path / "state.npz")
            optimizer = NAdam.load(tmp_path / "state.npz", arrays)
    assert is_prepared(optimizer)
    assert_same(optimizer, arrays, other, others)
