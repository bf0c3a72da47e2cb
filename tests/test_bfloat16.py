"""Moments in bfloat16: how they are rounded, and that steps, states and files have them as they should."""

import copy
import pathlib
import pickle
import sys

import naive
import numpy as np
import pytest
from marks import needs_compiler

from nadam_numba import NAdam, bfloat16, cpu, jit, load_checkpoint

# At the end, where the checkout does not hide an installed nadam_numba.
sys.path.append(str(pathlib.Path(__file__).parents[1]))

from benchmarks import state_dtype as benchmark

DTYPES = ["float32", "float64", "complex64", "complex128"]


def value(bits):
    """What bits of bfloat16 stand for, by the definition of float32."""
    return (np.asarray(bits, np.uint32) << 16).view(np.float32)


def number(bits):
    """The float32 of these bits."""
    return np.uint32(bits).view(np.float32)


def rounded_to_nearest(numbers):
    bits = np.empty(numbers.size, np.uint16)
    cpu.round_to_nearest(bits, numbers)
    return bits


def random_array(rng, shape, dtype, order="C"):
    real = rng.standard_normal(shape)
    array = real + 1j * rng.standard_normal(shape) if np.dtype(dtype).kind == "c" else real
    return np.asarray(array, dtype, order=order)


@pytest.mark.parametrize("noise", [0, 1, 0x7FFF, 0xFFFF])
def test_what_bfloat16_has_stays_as_it_is(noise):
    bits = np.arange(0, 2**16, 1 if noise == 0xFFFF else 97).astype(np.uint16)
    bits = bits[~np.isnan(value(bits))]
    again = [bfloat16.rounded(bfloat16.widened(b), np.uint32(noise)) for b in bits]
    np.testing.assert_array_equal(again, bits)


@pytest.mark.parametrize(
    "x", [1.0 + 2.0**-9, -3.14159, 1.2345e-39, -1e-45, 2.3e38, 0.999999], ids=lambda x: format(x, "g")
)
def test_the_mean_over_all_noise_is_the_number(x):
    x = np.float32(x)
    values = value([bfloat16.rounded(x, np.uint32(noise)) for noise in range(2**16)])
    assert values.mean(dtype=np.float64) == x
    # It is one of the two neighbours.
    assert len(set(values)) == 2
    assert values.min() < x < values.max()


@pytest.mark.parametrize("noise", [0, 1, 0x8000, 0xFFFF])
@pytest.mark.parametrize(
    ("bits", "expected"),
    [
        (0x00000000, 0x0000),
        (0x80000000, 0x8000),
        (0x7F800000, 0x7F80),  # infinity
        (0xFF800000, 0xFF80),
        (0x7F7FFFFF, 0x7F7F),  # the largest finite number, which must stay one
        (0xFF7FFFFF, 0xFF7F),
        (0x7F7F0001, 0x7F7F),
        (0x7FC00000, 0x7FC0),  # NaN
        (0xFFFFFFFF, 0xFFFF),
    ],
)
def test_special_numbers(bits, expected, noise):
    assert bfloat16.rounded(number(bits), np.uint32(noise)) == expected


def test_the_nearest_number():
    rng = np.random.default_rng(0)
    numbers = (rng.standard_normal(3000) * 10.0 ** rng.uniform(-44, 37, 3000)).astype(np.float32)
    halfway = np.array([0x3F808000, 0x3F818000, 0xBF808000, 0x00008000], np.uint32).view(np.float32)
    numbers = np.concatenate([numbers, halfway])
    np.testing.assert_array_equal(value(rounded_to_nearest(numbers)), naive.to_nearest_bfloat16(numbers))
    special = np.array([0x7F800001, 0xFFC00000, 0x7F800000, 0xFF7FFFFF, 0x80000000], np.uint32).view(np.float32)
    assert rounded_to_nearest(special).tolist() == [0x7FC0, 0x7FC0, 0x7F80, 0xFF7F, 0x8000]


def test_the_noise_is_that_of_the_formulas():
    key = bfloat16.noise_key(0xDEADBEEF, 41)
    noise = [bfloat16.noise_at(np.uint32(7), i, key) for i in range(100)]
    np.testing.assert_array_equal(noise, naive.noise_of((107,), 0xDEADBEEF, 41)[7:])
    # From there on positions repeat, and a count of updates, too.
    assert bfloat16.noise_at(np.uint32(2**32 - 1), 8, key) == noise[0]
    assert bfloat16.noise_key(0xDEADBEEF, 2**32 + 41) == key


def test_the_noise_of_elements_steps_and_arrays_is_independent():
    fields = [naive.noise_of((50_000,), seed, step) for seed in (0, 1) for step in (0, 1, 1000)]
    halves = [half / 2**16 for noise in fields for half in (noise % 2**16, noise // 2**16)]
    for half in halves:
        # Each of the 16 bits is set in half of all places; chi-squared of 256 bins has mean 255 and deviation 22.6.
        counts = np.bincount((half * 256).astype(int), minlength=256)
        assert abs(((counts - half.size / 256) ** 2).sum() / (half.size / 256) - 255) < 5 * 22.6
        for bit in range(16):
            share = ((half * 2**16).astype(int) >> bit & 1).mean()
            assert abs(share - 0.5) < 5 * 0.5 / np.sqrt(half.size)
    correlations = np.corrcoef([*halves, *(np.roll(half, lag) for half in halves for lag in (1, 2, 64))])
    np.fill_diagonal(correlations, 0.0)
    assert np.abs(correlations).max() < 5.5 / np.sqrt(50_000)


def test_small_increments_are_not_lost():
    """Rounded to the nearest number, the second moment would stay at 1 for ever."""
    size, steps = 2000, 20
    optimizer = NAdam(np.zeros(size, np.float32), state_dtype="bfloat16")
    state_dict = optimizer.state_dict()
    state_dict["param_groups"][0]["arrays"][0]["second_moment"] += np.float32(1.0)
    optimizer.load_state_dict(state_dict)
    for _ in range(steps):
        optimizer.step(np.full(size, np.sqrt(2.0), np.float32))
    second_moment = optimizer.state_dict()["param_groups"][0]["arrays"][0]["second_moment"]
    deviation = second_moment.std() / np.sqrt(size)
    assert abs(second_moment.mean() - (2.0 - 0.999**steps)) < 5 * deviation
    assert deviation < 1e-3


@needs_compiler
def test_the_second_moment_wanders_about_the_exact_one():
    rng = np.random.default_rng(0)
    for beta_2, steps, deviation in ((0.99, 1000, 0.018), (0.999, 5000, 0.043)):
        params = [np.zeros(5000, np.float32) for _ in range(2)]
        rounded = NAdam(params[0], beta_2=beta_2, learning_rate=0.0, state_dtype="bfloat16")
        exact = NAdam(params[1], beta_2=beta_2, learning_rate=0.0)
        for _ in range(steps):
            gradient = rng.standard_normal(5000, np.float32)
            rounded.step(gradient)
            exact.step(gradient)
        ratio = value(rounded.states[0].second_moment) / exact.states[0].second_moment
        assert abs(ratio.mean() - 1.0) < 5 * ratio.std() / np.sqrt(5000)
        assert 0.9 < ratio.std() / deviation < 1.1


def test_special_gradients():
    gradient = np.array([0.0, -0.0, np.nan, np.inf, -np.inf, 1e-45, 3e38, -1e19], np.float32)
    params = np.ones(8, np.float32)
    optimizer = NAdam(params, state_dtype="bfloat16")
    with np.errstate(all="ignore"):
        for _ in range(3):
            optimizer.step(gradient)
    (state,) = optimizer.states
    first, second = value(state.first_moment), value(state.second_moment)
    assert (first[:2] == 0.0).all()
    assert (second[:2] == 0.0).all()
    assert np.isnan([first[2], second[2]]).all()
    assert first[3:5].tolist() == [np.inf, -np.inf]
    assert second[3:5].tolist() == [np.inf, np.inf]
    assert np.isfinite(first[5:]).all()
    assert not (second < 0.0).any()


def test_state_dict_has_numbers_and_files_too(tmp_path):
    rng = np.random.default_rng(1)
    params = {dtype: random_array(rng, (3, 4), dtype, "F") for dtype in DTYPES}
    optimizer = NAdam(params, state_dtype="bfloat16", amsgrad=True, use_ema=True)
    for _ in range(3):
        optimizer.step({dtype: random_array(rng, (3, 4), dtype) for dtype in DTYPES})
    optimizer.save(tmp_path / "checkpoint.npz")
    for saved in (optimizer.state_dict(), load_checkpoint(tmp_path / "checkpoint.npz")):
        assert saved["options"]["state_dtype"] == "bfloat16"
        for state, data in zip(optimizer.states, saved["param_groups"][0]["arrays"], strict=True):
            assert state.average.dtype == state.leaf.real_dtype
            for name in ("first_moment", "second_moment", "largest_moment"):
                flat = getattr(state, name)
                assert (flat.dtype, flat.nbytes) == (np.uint16, 2 * state.leaf.size)
                assert (data[name].dtype, data[name].shape) == (state.leaf.array.dtype, (3, 4))
                np.testing.assert_array_equal(state.leaf.flatten(data[name]), value(flat))
    other = NAdam(copy.deepcopy(params))
    other.load_state_dict(optimizer.state_dict())
    for state, loaded in zip(optimizer.states, other.states, strict=True):
        for name in ("first_moment", "second_moment", "largest_moment"):
            np.testing.assert_array_equal(getattr(loaded, name), getattr(state, name), strict=True)


def test_a_state_in_full_is_taken_over_in_bfloat16_and_back():
    rng = np.random.default_rng(2)
    optimizer = NAdam(np.ones(100))
    for _ in range(3):
        optimizer.step(rng.standard_normal(100))
    full = optimizer.state_dict()
    full["options"]["state_dtype"] = "bfloat16"
    optimizer.load_state_dict(full)
    assert optimizer.options.state_dtype == "bfloat16"
    (data,) = optimizer.state_dict()["param_groups"][0]["arrays"]
    for name in ("first_moment", "second_moment"):
        expected = naive.to_nearest_bfloat16(full["param_groups"][0]["arrays"][0][name])
        np.testing.assert_array_equal(data[name], expected)
    back = optimizer.state_dict()
    back["options"]["state_dtype"] = None
    optimizer.load_state_dict(back)
    (state,) = optimizer.states
    assert state.first_moment.dtype == np.float64
    optimizer.step(np.ones(100))


def test_a_state_that_was_saved_before_there_was_the_option():
    optimizer = NAdam(np.ones(3))
    optimizer.step(np.ones(3))
    saved = optimizer.state_dict()
    del saved["options"]["state_dtype"]
    other = NAdam(np.ones(3), state_dtype="bfloat16")
    other.load_state_dict(saved)
    assert other.options == optimizer.options
    with pytest.raises(ValueError, match=r"state_dict\['options'\] has the keys"):
        other.load_state_dict(saved | {"options": {}})
    with pytest.raises(TypeError, match=r"state_dict\['options'\]=None"):
        other.load_state_dict(saved | {"options": None})


@pytest.mark.parametrize(
    ("state_dtype", "error", "message"),
    [
        ("float16", ValueError, r"state_dtype='float16': it must be one of None, 'bfloat16'"),
        (np.float32, TypeError, r"state_dtype=<class 'numpy.float32'> is a type: it must be one of None, 'bfloat16'"),
    ],
)
def test_other_dtypes(state_dtype, error, message):
    with pytest.raises(error, match=message):
        NAdam(np.ones(3), state_dtype=state_dtype)


def trained(make, gradients, at, through):
    """Parameters after all steps, of which those from `at` on are made by what `through` makes of the optimizer."""
    params = make()
    optimizer = NAdam(params, state_dtype="bfloat16", amsgrad=True, use_ema=True)
    for grads in gradients[:at]:
        optimizer.step(grads)
    optimizer, params = through(optimizer, params)
    for grads in gradients[at:]:
        optimizer.step(grads)
    return params


def reordered(optimizer, params):
    """The same state in an optimizer whose dict has the other order."""
    params = dict(reversed(copy.deepcopy(params).items()))
    other = NAdam(params)
    other.load_state_dict(optimizer.state_dict())
    return other, params


@pytest.mark.parametrize(
    "through",
    [
        lambda optimizer, params: pickle.loads(pickle.dumps((optimizer, params))),
        lambda optimizer, params: copy.deepcopy((optimizer, params)),
        lambda optimizer, params: (copy.copy(optimizer), params),
        reordered,
    ],
    ids=["pickle", "deepcopy", "copy", "reordered"],
)
def test_it_goes_on_with_the_same_bits(through):
    rng = np.random.default_rng(3)

    def make():
        return {"a": np.ones((3, 4), np.float32), "b": np.ones(5)}

    gradients = [{"a": random_array(rng, (3, 4), "float32"), "b": random_array(rng, 5, "float64")} for _ in range(10)]
    expected = trained(make, gradients, 10, lambda *both: both)
    for name, array in trained(make, gradients, 4, through).items():
        np.testing.assert_array_equal(array, expected[name])


@pytest.mark.parametrize("is_by_table", [True, False])
def test_threads_change_no_bit(is_by_table, monkeypatch):
    rng = np.random.default_rng(6)
    params = [rng.standard_normal(size).astype(np.float32) for size in (9000, 3)]
    gradients = [[rng.standard_normal(p.size).astype(np.float32) for p in params] for _ in range(4)]
    results = []
    for crossover in (10**9, 1000):
        monkeypatch.setattr(jit, "PARALLEL_CROSSOVER", dict.fromkeys(jit.PARALLEL_CROSSOVER, crossover))
        arrays = copy.deepcopy(params)
        optimizer = NAdam(arrays, state_dtype="bfloat16")
        if not is_by_table:
            optimizer.register_step_pre_hook(lambda optimizer, args, kwargs: None)
        for grads in gradients:
            optimizer.step(grads)
        results.append(arrays + [state.second_moment for state in optimizer.states])
    for array, expected in zip(*results, strict=True):
        np.testing.assert_array_equal(array, expected)


def test_arrays_of_groups_have_noise_of_their_own():
    arrays = [np.zeros(500, np.float32) for _ in range(3)]
    optimizer = NAdam([{"params": arrays[0]}, {"params": arrays[1]}], state_dtype="bfloat16")
    optimizer.add_param_group({"params": arrays[2]})
    optimizer.step([np.full(500, 0.3, np.float32)] * 3)
    moments = [state.first_moment for state in optimizer.states]
    assert all((one != other).any() for one, other in zip(moments, moments[1:] + moments[:1], strict=True))
    params = [{"params": np.zeros(500, np.float32)} for _ in range(3)]
    other = NAdam(params)
    other.load_state_dict(optimizer.state_dict())
    for optimizer_ in (optimizer, other):
        optimizer_.step([np.full(500, 0.7, np.float32)] * 3)
    for state, expected in zip(other.states, optimizer.states, strict=True):
        np.testing.assert_array_equal(state.second_moment, expected.second_moment)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layout", ["C", "F", "strided", "0-d", "empty"])
def test_layouts(layout, dtype):
    """The noise goes by the order in which the numbers are laid out."""
    rng = np.random.default_rng(4)
    shape = {"0-d": (), "empty": (0, 3)}.get(layout, (5, 4))
    array = random_array(rng, shape, dtype, "F" if layout == "F" else "C")
    if layout == "strided":
        array = np.repeat(array, 2, axis=1)[:, ::2]
    flat = np.ascontiguousarray(array.reshape(-1, order="F" if layout == "F" else "C"))
    optimizer, other = NAdam(array, state_dtype="bfloat16"), NAdam(flat, state_dtype="bfloat16")
    for _ in range(4):
        gradient = random_array(rng, shape, dtype)
        optimizer.step(gradient)
        other.step(gradient.reshape(-1, order="F" if layout == "F" else "C"))
    np.testing.assert_array_equal(array.reshape(-1, order="F" if layout == "F" else "C"), flat)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("order", ["C", "F"])
def test_the_lazy_rule(order, dtype):
    rng = np.random.default_rng(5)
    array = random_array(rng, (6, 3), dtype, order)
    touched, indices = array[[1, 4]].copy(), np.array([4, 1])
    optimizer = NAdam(array, state_dtype="bfloat16", lazy_sparse=True, amsgrad=True)
    # The noise of a touched row goes by its place among these.
    other = NAdam(touched, state_dtype="bfloat16", amsgrad=True)
    before = array.copy()
    for _ in range(4):
        rows = random_array(rng, (2, 3), dtype)
        optimizer.step((indices, rows))
        other.step(rows[::-1])
    np.testing.assert_array_equal(array[[1, 4]], touched)
    untouched = [0, 2, 3, 5]
    np.testing.assert_array_equal(array[untouched], before[untouched])
    (data,) = optimizer.state_dict()["param_groups"][0]["arrays"]
    (expected,) = other.state_dict()["param_groups"][0]["arrays"]
    for name in ("first_moment", "second_moment", "largest_moment"):
        assert not data[name][untouched].any()
        np.testing.assert_array_equal(data[name][[1, 4]], expected[name])


@needs_compiler
def test_training_reaches_the_loss_of_moments_in_full():
    seeds = range(3)
    full, narrow = (
        np.mean([benchmark.train(state_dtype, seed, epochs=8) for seed in seeds], axis=0)
        for state_dtype in benchmark.STATE_DTYPES
    )
    np.testing.assert_allclose(narrow, full, rtol=0.01)


def test_the_gradients_of_the_benchmark():
    generator = np.random.default_rng(0)
    params = {name: array.astype(np.float64) for name, array in benchmark.initial_parameters(generator).items()}
    pixels, digits = (array[:20] for array in benchmark.images())
    pixels = pixels.astype(np.float64)
    _, gradients = benchmark.loss_and_gradients(params, pixels, digits)
    for name, array in params.items():
        direction = generator.standard_normal(array.shape)
        ends = [
            benchmark.loss_and_gradients(params | {name: array + h * direction}, pixels, digits)[0]
            for h in (1e-6, -1e-6)
        ]
        np.testing.assert_allclose((ends[0] - ends[1]) / 2e-6, np.sum(gradients[name] * direction), rtol=1e-5)
