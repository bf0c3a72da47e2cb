"""NAdam on GPU arrays against the NumPy reference: on a card, or in Numba's simulator with NUMBA_ENABLE_CUDASIM=1."""

import copy
import pickle

import numpy as np
import pytest
from gpu_arrays import (
    SIMULATES,
    Foreign,
    errors_in_ulp,
    gradients_on_gpu,
    on_gpu,
    on_host,
    quick_simulator,  # noqa: F401
    skip_without_gpu,
)
from naive import Optimizer
from test_options import ALONE, random_options

from nadam_numba import NAdam

skip_without_gpu()
pytestmark = pytest.mark.usefixtures("quick_simulator")
DTYPES = [np.float32, np.float64]
ULP_PER_STEP = 4


def problem(seed, dtype, steps, shapes):
    generator = np.random.default_rng(seed)
    params = [np.asarray(generator.standard_normal(shape), dtype) for shape in shapes]
    gradients = [[np.asarray(generator.standard_normal(p.shape), dtype) for p in params] for _ in range(steps)]
    return params, gradients


def check_steps(params, gradients, **options):
    """Step on the GPU, and beside it in NumPy in double precision; compare after each step."""
    exact = np.float64
    if options.get("state_dtype"):
        # Where the last digit differs, moments in bfloat16 may be rounded the other way.
        if not SIMULATES:
            pytest.skip("a card rounds a product and a sum once")
        exact = params[0].dtype.type
    reference = Optimizer([p.astype(exact) for p in params], **options)
    arrays = [on_gpu(p) for p in params]
    is_single = len(arrays) == 1
    optimizer = NAdam(arrays[0] if is_single else arrays, **options)
    for number, step in enumerate(gradients, start=1):
        reference.step([None if g is None else (g[0], exact(g[1])) if isinstance(g, tuple) else exact(g) for g in step])
        there = gradients_on_gpu(step)
        optimizer.step(there[0] if is_single else there)
        for array, expected in zip(arrays, reference.params, strict=True):
            assert errors_in_ulp(on_host(array), expected) <= ULP_PER_STEP * number
    assert optimizer.iterations == reference.updates
    return optimizer, arrays, reference


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("options", ALONE, ids=str)
def test_two_hundred_steps_with_each_option(options, dtype):
    check_steps(*problem(0, dtype, 200, [(7,)]), **options)


@pytest.mark.parametrize("seed", range(200, 208))
def test_options_combined_on_many_arrays(seed, monkeypatch):
    monkeypatch.setattr("nadam_numba.gpu_arrays.kernels.CHUNK", 8)
    dtype = DTYPES[seed % 2]
    params, gradients = problem(seed, dtype, 6, [(5, 3), (17,), (), (8,)])
    generator = np.random.default_rng(seed)
    for step in gradients[1:]:
        step[generator.integers(4)] = None
        step[0] = generator.integers(0, 5, 4), generator.standard_normal((4, 3)).astype(dtype)
    check_steps(params, gradients, **random_options(generator))


def test_one_launch_for_all_arrays(monkeypatch):
    from nadam_numba.gpu_arrays import device

    params, gradients = problem(1, np.float32, 2, [(3,), (2, 2), (), (5,), (1,)])
    arrays = [on_gpu(p) for p in params]
    optimizer = NAdam(arrays)
    optimizer.step(gradients_on_gpu(gradients[0]))
    launches = []
    monkeypatch.setattr(device, "launch_blocks", lambda *arguments, **settings: launches.append(arguments))
    optimizer.step(gradients_on_gpu(gradients[1]))
    assert len(launches) == 1


@pytest.mark.parametrize("dtype", [np.float32, np.complex64, np.complex128])
@pytest.mark.parametrize("layout", ["F", "strided", "reversed", "transposed", "empty", "unaligned"])
def test_any_layout(layout, dtype):
    base = np.arange(60, dtype=dtype).reshape(5, 12) * dtype(0.1)

    def laid_out(array):
        return {
            "F": lambda: np.asfortranarray(array),
            "strided": lambda: array[1:4, ::3],
            "reversed": lambda: array[::-1, 4:7],
            "transposed": lambda: array.reshape(5, 3, 4).transpose(1, 2, 0),
            "empty": lambda: array[:, :0],
            "unaligned": lambda: array.reshape(-1)[1:],
        }[layout]()

    array, gradient = laid_out(base.copy()), laid_out(base[::-1].copy() - dtype(2.0))
    parameter, expected = Foreign(array), array.copy(order="K")
    if not SIMULATES:
        pytest.importorskip("cupy", reason="Numba's arrays on a card have no such layouts")
    optimizer, reference = (
        NAdam(parameter, clipnorm=5.0, weight_decay=0.1),
        NAdam(expected, clipnorm=5.0, weight_decay=0.1),
    )
    # Gradients in the order of their parameter, and in another one.
    for each in (gradient, np.asfortranarray(gradient), np.ascontiguousarray(gradient)):
        optimizer.step(Foreign(each))
        reference.step(each)
    np.testing.assert_allclose(parameter.on_host(), expected, rtol=1e-6)
    saved = optimizer.state_dict()["param_groups"][0]["arrays"][0]
    np.testing.assert_allclose(
        saved["first_moment"], reference.state_dict()["param_groups"][0]["arrays"][0]["first_moment"], rtol=1e-6
    )


class Exported:
    """Memory on the GPU as DLPack tells of it; in the simulator it is NumPy's."""

    def __init__(self, array):
        self.held = array

    def __dlpack_device__(self):
        return 2, 0

    def __dlpack__(self, *, stream):
        assert stream == 1
        return self.held.__dlpack__()


@pytest.mark.skipif(not SIMULATES, reason="test_gpu_card.py takes what libraries export from a card")
@pytest.mark.parametrize("dtype", [np.float32, np.complex128])
def test_dlpack(dtype):
    array, gradient = (np.linspace(-1.0, 1.0, 24).astype(dtype).reshape(4, 6)[:, start::2] for start in (0, 1))
    expected = array.copy()
    NAdam(Exported(array), weight_decay=0.1).step(Exported(gradient))
    NAdam(expected, weight_decay=0.1).step(gradient)
    np.testing.assert_array_equal(array, expected)
    with pytest.raises(TypeError, match="int16"):
        NAdam(Exported(np.arange(3, dtype=np.int16)))


@pytest.mark.skipif(not SIMULATES, reason="needs two GPUs")
@pytest.mark.parametrize("options", [{}, {"clipnorm": 0.3}, {"clipnorm": 0.9, "global_clipnorm": 0.5}])
def test_arrays_on_several_devices(options, monkeypatch):
    from nadam_numba.gpu_arrays import device

    params, gradients = problem(7, np.float32, 3, [(5,), (3,), (4,)])
    arrays = [on_gpu(p) for p in params]
    there = [gradients_on_gpu(step) for step in gradients]
    second = {device.address_of(array) for array in (arrays[1], *(step[1] for step in there))}
    monkeypatch.setattr(device, "device_of", lambda name, address: int(address in second))
    optimizer, reference = NAdam(arrays, **options), NAdam(params, **options)
    launches = []
    launch = device.launch_blocks
    monkeypatch.setattr(
        device, "launch_blocks", lambda *given, **settings: (launches.append(given), launch(*given, **settings))
    )
    for step, on_devices in zip(gradients, there, strict=True):
        optimizer.step(on_devices)
        reference.step(step)
    for array, expected in zip(arrays, params, strict=True):
        np.testing.assert_allclose(on_host(array), expected, rtol=1e-6)
    if not options:
        assert len(launches) == 6  # for each device and step


def test_a_gradient_may_be_the_parameter_itself():
    p = np.linspace(-1.0, 1.0, 9)
    array, expected = on_gpu(p), p.copy()
    NAdam(array).step(array)
    NAdam(expected).step(expected)
    np.testing.assert_array_equal(on_host(array), expected) if SIMULATES else np.testing.assert_allclose(
        on_host(array), expected, rtol=1e-15
    )


@pytest.mark.skipif(not SIMULATES, reason="on a card, views of Numba's arrays are contiguous")
def test_a_gradient_that_overlaps_a_parameter_counts_as_it_was():
    memory = np.linspace(-1.0, 1.0, 12)
    expected = memory[:8].copy()
    NAdam(expected).step(memory[4:].copy())
    NAdam(Foreign(memory[:8])).step(Foreign(memory[4:]))
    np.testing.assert_array_equal(memory[:8], expected)


@pytest.mark.parametrize("options", [{}, {"amsgrad": True}, {"use_ema": True, "ema_overwrite_frequency": 2}])
def test_lazy_rows_are_those_of_the_host(options):
    generator = np.random.default_rng(3)
    p = generator.standard_normal((6, 2)).astype(np.float32)
    array, expected = on_gpu(p), p.copy()
    settings = {"lazy_sparse": True, "clipnorm": 1.0, **options}
    optimizer, reference = NAdam(array, **settings), NAdam(expected, **settings)
    for indices in ([0, 3, 0], [], [5]):
        rows = generator.standard_normal((len(indices), 2)).astype(np.float32)
        pair = np.array(indices, np.int64)
        optimizer.step((on_gpu(pair) if indices else pair, on_gpu(rows)))
        reference.step((pair, rows))
        np.testing.assert_allclose(on_host(array), expected, rtol=1e-6)


@pytest.mark.filterwarnings("ignore:.*encountered:RuntimeWarning")  # of NumPy, in the simulator
@pytest.mark.parametrize("size", [1e200, 1e-200, np.inf, np.nan])
@pytest.mark.parametrize("option", ["clipnorm", "global_clipnorm"])
def test_norms_of_any_size(option, size):
    p, g = np.ones(5), np.array([1.0, -2.0, 0.5, 0.0, 1.0]) * 1.0
    g[0] = size
    array, expected = on_gpu(p), p.copy()
    limit = 1e-200 if size == 1e-200 else 1.0
    with np.errstate(all="ignore"):
        NAdam(array, **{option: limit}).step(on_gpu(g))
    NAdam(expected, **{option: limit}).step(g)
    np.testing.assert_allclose(on_host(array), expected, rtol=1e-14)


def test_state_moves_between_host_and_gpu(tmp_path):
    params, gradients = problem(5, np.float32, 9, [(3, 2), (4,)])
    settings = {"amsgrad": True, "use_ema": True, "learning_rate": 0.05}
    host = [p.copy() for p in params]
    there = [on_gpu(p) for p in params]
    optimizer = NAdam(there, **settings)
    for step in gradients[:3]:
        optimizer.step(gradients_on_gpu(step))
    optimizer.save(tmp_path / "gpu.npz")
    back = [np.zeros_like(p) for p in params]
    on_the_host = NAdam.load(tmp_path / "gpu.npz", back)
    for step in gradients[3:6]:
        on_the_host.step(step)
    again = [on_gpu(np.zeros_like(p)) for p in params]
    on_the_host.save(tmp_path / "host.npz")
    optimizer = NAdam.load(tmp_path / "host.npz", again)
    copied = copy.copy(optimizer)
    for step in gradients[6:]:
        optimizer.step(gradients_on_gpu(step))
    reference = NAdam(host, **settings)
    for step in gradients:
        reference.step(step)
    for array, expected in zip(again, host, strict=True):
        np.testing.assert_allclose(on_host(array), expected, rtol=1e-6)
    assert (optimizer.iterations, copied.iterations) == (9, 6)
    optimizer.finalize()
    reference.finalize()
    for array, expected in zip(again, host, strict=True):
        np.testing.assert_allclose(on_host(array), expected, rtol=1e-6)


def test_what_was_recorded_on_a_gpu_goes_on_on_the_host():
    optimizer = NAdam(on_gpu(np.ones(3)), capturable=True)
    optimizer.step(on_gpu(np.ones(3)))
    on_the_host = NAdam(np.ones(3))
    on_the_host.load_state_dict(optimizer.state_dict())
    on_the_host.step(np.ones(3))
    assert on_the_host.iterations == 2
    assert not on_the_host.options.capturable


@pytest.mark.skipif(not SIMULATES, reason="a card rounds a product and a sum once")
@pytest.mark.parametrize("options", [{}, {"lazy_sparse": True, "amsgrad": True}])
def test_moments_in_bfloat16_have_the_bits_of_the_host(options, tmp_path):
    generator = np.random.default_rng(8)
    p = generator.standard_normal((4, 3)).astype(np.float32)
    array, expected = on_gpu(p), p.copy()
    settings = {"state_dtype": "bfloat16", "learning_rate": 0.1, **options}
    optimizer, reference = NAdam(array, **settings), NAdam(expected, **settings)

    def step_both():
        rows = generator.standard_normal((2, 3)).astype(np.float32)
        g = generator.standard_normal((4, 3)).astype(np.float32)
        for pair in (g, ([3, 1], rows)):
            optimizer.step((pair[0], on_gpu(pair[1])) if isinstance(pair, tuple) else on_gpu(pair))
            reference.step((np.array(pair[0]), pair[1]) if isinstance(pair, tuple) else pair)

    for _ in range(4):
        step_both()
    optimizer.save(tmp_path / "gpu.npz")
    optimizer = NAdam.load(tmp_path / "gpu.npz", array)
    step_both()
    np.testing.assert_array_equal(on_host(array), expected)
    saved, wanted = (o.state_dict()["param_groups"][0]["arrays"][0] for o in (optimizer, reference))
    np.testing.assert_array_equal(saved["second_moment"], wanted["second_moment"])
    assert optimizer.states[0].second_moment.dtype == np.uint16
    assert copy.copy(optimizer).iterations == 10


def test_own_gradients_and_groups():
    p = np.ones((2, 3))
    array, expected = on_gpu(p), p.copy()
    groups = [
        {"params": {"a": array}, "weight_decay": 0.1, "amsgrad": True},
        {"params": on_gpu(np.ones(2, np.float32))},
    ]
    optimizer = NAdam(groups)
    optimizer.exclude_from_weight_decay(arrays=[array])
    gradients = optimizer.gradients
    gradients[0]["a"].copy_to_device(np.full((2, 3), 0.5))
    optimizer.step()
    NAdam(expected, amsgrad=True).step(np.full((2, 3), 0.5))
    np.testing.assert_allclose(on_host(array), expected, rtol=1e-15)


@pytest.mark.skipif(not SIMULATES, reason="test_gpu_card.py records and replays graphs")
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"amsgrad": True, "weight_decay": 0.1},
        {"weight_decay": 0.1, "decoupled_weight_decay": True, "global_clipnorm": 0.5},
        {"nesterov": False, "maximize": True, "clipvalue": 0.3, "clipnorm": 0.2},
    ],
)
def test_recorded_steps_count_on_the_device(options, monkeypatch):
    """What a CUDA graph replays are launches alone: here they are noted, and launched again."""
    from nadam_numba.gpu_arrays import device

    params, gradients = problem(6, np.float32, 1, [(5,), (2, 3)])
    params[1], gradients[0][1] = params[1].astype(np.float64), gradients[0][1].astype(np.float64)
    host, arrays, there = [p.copy() for p in params], [on_gpu(p) for p in params], gradients_on_gpu(gradients[0])
    optimizer = NAdam(arrays, learning_rate=0.01, capturable=True, **options)
    optimizer.step(there)
    launch, noted = device.launch_blocks, []

    def noting(*arguments, **settings):
        noted.append((arguments, settings))
        launch(*arguments, **settings)

    monkeypatch.setattr(device, "launch_blocks", noting)
    optimizer.step(there)
    monkeypatch.undo()
    reference = NAdam(host, learning_rate=0.01, **options)
    for number in range(6):
        if number == 4:
            optimizer.learning_rate = reference.learning_rate = 0.1
        reference.step(gradients[0])
        if number >= 2:
            for arguments, settings in noted:
                launch(*arguments, **settings)
    for array, expected in zip(arrays, host, strict=True):
        np.testing.assert_allclose(on_host(array), expected, rtol=1e-6)
    assert optimizer.iterations == 6
    saved, expected = (o.state_dict()["param_groups"][0]["arrays"][1] for o in (optimizer, reference))
    assert saved["iterations"] == 6
    assert saved["mu_product"] == pytest.approx(expected["mu_product"], rel=1e-14)
    resumed = NAdam(host, learning_rate=0.1, **options)
    resumed.load_state_dict(optimizer.state_dict() | {"options": resumed.state_dict()["options"]})
    optimizer.step(there)
    resumed.step(gradients[0])
    np.testing.assert_allclose(on_host(arrays[1]), host[1], rtol=1e-6)
    assert optimizer.iterations == resumed.iterations == 7


@pytest.mark.parametrize("mode", ["raise", "skip"])
def test_gradients_that_are_not_finite(mode):
    arrays = [on_gpu(np.ones(3)), on_gpu(np.ones(2, np.float32))]
    optimizer = NAdam(arrays, nonfinite=mode)
    bad = [on_gpu(np.ones(3)), on_gpu(np.array([1.0, np.nan], np.float32))]
    if mode == "raise":
        with pytest.raises(FloatingPointError, match=r"params\[1\]"):
            optimizer.step(bad)
    else:
        optimizer.step(bad)
    assert optimizer.iterations == 0
    assert on_host(arrays[0]).tolist() == [1.0] * 3
    optimizer.step([on_gpu(np.ones(3)), None])
    assert optimizer.iterations == 1


class TestErrors:
    """Each names what is wrong, and leaves parameters and state as they were."""

    def refused(self, optimizer, arrays, gradients, kind, match):
        before = [on_host(array) for array in arrays]
        with pytest.raises(kind, match=match):
            optimizer.step(gradients)
        for array, expected in zip(arrays, before, strict=True):
            np.testing.assert_array_equal(on_host(array), expected)
        assert optimizer.iterations == 0
        assert [state["iterations"] for state in optimizer.state_dict()["param_groups"][0]["arrays"]] == [0] * len(
            arrays
        )

    def test_host_and_gpu_mixed(self):
        with pytest.raises(TypeError, match=r"params\['a'\] is a NumPy array, and params\['b'\] is on a GPU"):
            NAdam({"a": np.ones(2), "b": on_gpu(np.ones(2))})

    def test_gradient_on_the_host(self):
        arrays = [on_gpu(np.ones(2)), on_gpu(np.ones(2))]
        self.refused(NAdam(arrays), arrays, [on_gpu(np.ones(2)), np.ones(2)], TypeError, r"grads\[1\].*on the host")

    def test_gpu_gradient_for_a_parameter_on_the_host(self):
        with pytest.raises(TypeError, match=r"grads=.*must be a NumPy array"):
            NAdam(np.ones(2)).step(on_gpu(np.ones(2)))

    @pytest.mark.parametrize(
        ("gradient", "kind", "match"),
        [
            (np.ones(3), ValueError, "shape"),
            (np.ones(2, np.float32), TypeError, "float32"),
        ],
    )
    def test_gradient_of_another_kind(self, gradient, kind, match):
        arrays = [on_gpu(np.ones(2))]
        self.refused(NAdam(arrays), arrays, [on_gpu(gradient)], kind, match)

    @pytest.mark.parametrize(
        ("pair", "kind", "match"),
        [
            (([0, 5], np.ones((2, 2))), ValueError, "index 5"),
            (([0], np.ones((2, 2))), ValueError, "shape"),
            (([0.5], np.ones((1, 2))), TypeError, "integers"),
            (([0], np.ones((1, 2)), 1), TypeError, "tuple of 3"),
        ],
    )
    def test_rows(self, pair, kind, match):
        arrays = [on_gpu(np.ones((3, 2)))]
        self.refused(NAdam(arrays), arrays, [(pair[0], on_gpu(pair[1]), *pair[2:])], kind, match)

    def test_rows_of_what_has_none(self):
        arrays = [on_gpu(np.asfortranarray(np.ones((3, 2))))]
        self.refused(NAdam(arrays), arrays, [([0], on_gpu(np.ones((1, 2))))], ValueError, "C-contiguous")
        arrays = [on_gpu(np.ones(()))]
        self.refused(NAdam(arrays), arrays, [([0], on_gpu(np.ones(1)))], TypeError, "no rows")

    @pytest.mark.skipif(not SIMULATES, reason="needs two GPUs")
    def test_another_device(self, monkeypatch):
        from nadam_numba.gpu_arrays import device

        arrays = [on_gpu(np.ones(2))]
        optimizer = NAdam(arrays)
        monkeypatch.setattr(device, "device_of", lambda name, address: 1)
        self.refused(optimizer, arrays, [on_gpu(np.ones(2))], ValueError, r"grads\[0\] is on GPU 1")

    @pytest.mark.skipif(not SIMULATES, reason="would fill a card")
    def test_out_of_memory(self, monkeypatch):
        from nadam_numba.gpu_arrays import device

        def full(*arguments):
            error = RuntimeError("CUDA_ERROR_OUT_OF_MEMORY")
            error.code = 2
            raise error

        arrays = [on_gpu(np.ones(2)), on_gpu(np.ones(3))]
        gradients = gradients_on_gpu([np.ones(2), np.ones(3)])
        optimizer = NAdam(arrays, amsgrad=True)
        before = [on_host(array) for array in arrays]
        monkeypatch.setattr(device.cuda, "device_array", full)
        with pytest.raises(MemoryError, match=r"the state of params\[0\] needs 16 more bytes on GPU 0"):
            optimizer.step(gradients)
        with pytest.raises(MemoryError, match="params"):
            NAdam(arrays)
        monkeypatch.undo()
        for array, expected in zip(arrays, before, strict=True):
            np.testing.assert_array_equal(on_host(array), expected)
        optimizer.step(gradients)
        assert optimizer.iterations == 1

    def test_read_only_moved_reshaped_or_not_on_a_gpu_any_more(self):
        memory = Foreign(np.ones(4))
        described = dict(memory.__cuda_array_interface__)
        for change, match in [
            ({"data": (described["data"][0], True)}, "read-only"),
            ({"data": (described["data"][0] + 8, False), "shape": (3,)}, "shape"),
            ({"data": (described["data"][0] + 8, False)}, "elsewhere"),
        ]:
            memory.__cuda_array_interface__ = described
            optimizer = NAdam(memory)
            memory.__cuda_array_interface__ = described | change
            with pytest.raises(ValueError, match=match):
                optimizer.step(Foreign(np.ones(4)))
            assert optimizer.iterations == 0

    def test_parameters_that_cannot_be_stepped(self):
        with pytest.raises(TypeError, match="int64"):
            NAdam(on_gpu(np.arange(3)))
        address, _ = Foreign(np.ones(3)).__cuda_array_interface__["data"]
        with pytest.raises(ValueError, match="read-only"):
            NAdam(Foreign(np.ones(3), data=(address, True)))
        with pytest.raises(ValueError, match="strides"):
            NAdam(Foreign(np.ones(3), strides=(0,)))
        array = on_gpu(np.ones(6))
        with pytest.raises(ValueError, match="share memory"):
            NAdam([array[:4], array[3:]])

    @pytest.mark.parametrize(
        ("options", "match"),
        [
            ({"use_ema": True}, "use_ema"),
            ({"gradient_accumulation_steps": 2}, "gradient_accumulation_steps"),
            ({"nonfinite": "skip"}, "nonfinite"),
            ({"lazy_sparse": True}, "lazy_sparse"),
            ({"state_dtype": "bfloat16"}, "state_dtype"),
        ],
    )
    def test_what_cannot_be_recorded(self, options, match):
        with pytest.raises(ValueError, match=match):
            NAdam(on_gpu(np.ones(2)), capturable=True, **options)

    def test_steps_that_cannot_be_recorded(self):
        with pytest.raises(ValueError, match="capturable=True: it is for arrays on GPUs"):
            NAdam(np.ones(2), capturable=True)
        arrays = [on_gpu(np.ones(2))]
        self.refused(NAdam(arrays, capturable=True), arrays, [None], ValueError, "capturable")
        scheduled = NAdam(arrays, learning_rate=lambda step: 0.1, capturable=True)
        self.refused(scheduled, arrays, [on_gpu(np.ones(2))], ValueError, "learning_rate")

    def test_optimizers_that_would_be_pickled_or_deeply_copied(self):
        optimizer = NAdam({"a": on_gpu(np.ones(2))})
        for function in (copy.deepcopy, pickle.dumps):
            with pytest.raises(TypeError, match=r"params\['a'\] is on a GPU: .* state_dict"):
                function(optimizer)

    def test_arrays_that_nobody_may_write_to(self):
        kind = type("Array", (Foreign,), {"__module__": "jaxlib.xla_extension"})
        with pytest.raises(TypeError, match="an array of JAX"):
            NAdam(kind(np.ones(2)))

    def test_arrays_on_the_host_of_classes_that_may_be_on_a_gpu(self):
        class Tensor:
            @property
            def __cuda_array_interface__(self):
                raise AttributeError("on the host")

            def __dlpack_device__(self):
                return 1, 0

        with pytest.raises(TypeError, match="is a Tensor: it must be a NumPy array"):
            NAdam(Tensor())
        arrays = [on_gpu(np.ones(2))]
        self.refused(NAdam(arrays), arrays, [Tensor()], TypeError, "Tensor on the host")

    def test_dialects_of_the_peers_stay_on_the_host(self):
        from nadam_numba.dialects import KERAS
        from nadam_numba.hyperparameters import Hyperparameters, Options

        with pytest.raises(TypeError, match="must be a NumPy array"):
            NAdam.with_dialect(on_gpu(np.ones(2)), Hyperparameters(), Options(), KERAS)
