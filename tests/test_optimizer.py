"""NAdam on trees of arrays: the reference's bits, exact resume, and errors that leave everything untouched."""

import copy
import math
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from marks import needs_compiler
from naive import nadam_step, nadam_trajectory

from nadam_numba import NAdam, cpu, jit, schedules

DTYPES = [np.float32, np.float64]


def make_tree(seed=0):
    generator = np.random.default_rng(seed)
    return {
        "weights": [generator.standard_normal((4, 3)), generator.standard_normal((2, 2, 2)).astype(np.float32)],
        "bias": (generator.standard_normal(5), np.array(0.5)),
        "empty": np.zeros((0, 3)),
    }


def leaves(tree):
    if isinstance(tree, dict):
        return [leaf for subtree in tree.values() for leaf in leaves(subtree)]
    if isinstance(tree, (list, tuple)):
        return [leaf for subtree in tree for leaf in leaves(subtree)]
    return [tree]


def assert_same(tree, other):
    for array, expected in zip(leaves(tree), leaves(other), strict=True):
        np.testing.assert_array_equal(array, expected, strict=True)


def snapshot(optimizer):
    return optimizer.state_dict()


def assert_unchanged(optimizer, before):
    assert_equal_data(snapshot(optimizer), before)


def assert_equal_data(data, other):
    """Nested dicts and lists of arrays and plain values are the same, to the bit."""
    if isinstance(data, dict):
        assert data.keys() == other.keys()
        for key, value in data.items():
            assert_equal_data(value, other[key])
    elif isinstance(data, list):
        assert len(data) == len(other)
        for value, expected in zip(data, other, strict=True):
            assert_equal_data(value, expected)
    elif isinstance(data, np.ndarray):
        np.testing.assert_array_equal(data, other, strict=True)
    else:
        assert data == other


def test_tree_steps_each_array_as_if_alone():
    params, expected = make_tree(), make_tree()
    optimizer = NAdam(params, learning_rate=0.05)
    state = [(np.zeros_like(p), np.zeros_like(p)) for p in leaves(expected)]
    points, mu_product = leaves(expected), 1.0
    for t in range(1, 31):
        gradients = make_tree(seed=t)
        kept = copy.deepcopy(gradients)
        optimizer.step(gradients)
        assert_same(gradients, kept)
        results = [
            nadam_step(p, m, v, g, t, mu_product, lr=0.05)
            for p, (m, v), g in zip(points, state, leaves(gradients), strict=True)
        ]
        points, state, mu_product = [r[0] for r in results], [(r[1], r[2]) for r in results], results[0][3]
    assert_same(params, points)
    assert optimizer.iterations == 30


@pytest.mark.parametrize("dtype", DTYPES)
def test_one_array_from_the_crossover_on(dtype, monkeypatch):
    monkeypatch.setattr(jit, "PARALLEL_CROSSOVER", dict.fromkeys(jit.PARALLEL_CROSSOVER, 1000))
    generator = np.random.default_rng(1)
    p = generator.standard_normal(1003).astype(dtype)
    gradients = generator.standard_normal((3, p.size)).astype(dtype)
    expected = nadam_trajectory(p, gradients)[-1]
    optimizer = NAdam(p)
    for g in gradients:
        optimizer.step(g)
    np.testing.assert_array_equal(p, expected)


LAYOUTS = {
    "C": lambda a: a.copy(order="C"),
    "Fortran": lambda a: np.asfortranarray(a),
    "transposed": lambda a: a.transpose(2, 0, 1).copy().transpose(1, 2, 0),
    "every other": lambda a: np.repeat(a, 2, axis=1)[:, ::2],
    "reversed": lambda a: a[::-1].copy()[::-1],
    "inside a larger array": lambda a: np.pad(a, 1)[1:-1, 1:-1, 1:-1],
}


@pytest.mark.parametrize("gradient_layout", LAYOUTS.values(), ids=LAYOUTS)
@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_layouts_make_no_difference(layout, gradient_layout):
    generator = np.random.default_rng(2)
    start, gradients = generator.standard_normal((4, 5, 6)), generator.standard_normal((5, 4, 5, 6))
    p = layout(start)
    assert p.shape == start.shape
    optimizer = NAdam(p, learning_rate=0.1)
    for g in gradients:
        optimizer.step(gradient_layout(g))
    np.testing.assert_array_equal(p, nadam_trajectory(start, gradients, lr=0.1)[-1])
    assert optimizer.state_dict()["param_groups"][0]["arrays"][0]["first_moment"].shape == start.shape


@needs_compiler
def test_layouts_and_read_only_gradients_compile_nothing_new():
    NAdam(np.ones(3)).step(np.ones(3))
    before = cpu.update_serial.signatures
    for layout in (*LAYOUTS.values(), lambda a: a[0, :, 0], lambda a: a[0, 0, 0:1], lambda a: a[:0]):
        gradient = layout(np.ones((4, 5, 6)))
        optimizer = NAdam(layout(np.ones((4, 5, 6))))
        optimizer.step(gradient)
        gradient.flags.writeable = False
        optimizer.step(gradient)
        optimizer.load_state_dict(optimizer.state_dict())
        optimizer.step(gradient)
    assert cpu.update_serial.signatures == before


def test_gradients_that_are_the_parameters():
    # The gradients of x y are y and x: the second must not see the first parameter's new value.
    x, y = np.array([1.0]), np.array([2.0])
    optimizer = NAdam([x, y], learning_rate=0.1)
    copies = [x.copy(), y.copy()]
    reference = NAdam(copies, learning_rate=0.1)
    for _ in range(20):
        optimizer.step([y, x])
        reference.step([copies[1].copy(), copies[0].copy()])
    assert_same([x, y], copies)


@pytest.mark.parametrize("size", [3, pytest.param(2**17, marks=needs_compiler)], ids=["serial", "parallel"])
@pytest.mark.parametrize("shift", [(0, 1), (1, 0), (0, 0)])
def test_gradient_that_overlaps_the_parameter(shift, size):
    memory = np.random.default_rng(0).standard_normal(size + 1)
    p, g = (memory[start : start + size] for start in shift)
    expected = nadam_trajectory(p.copy(), [g.copy()])[-1]
    NAdam(p).step(g)
    np.testing.assert_array_equal(p, expected)


def test_parameter_that_changed_its_shape_leaves_everything_untouched():
    params = [np.ones(4), np.ones((2, 3))]
    optimizer = NAdam(params)
    before = snapshot(optimizer)
    params[1].resize((4, 3), refcheck=False)
    with pytest.raises(ValueError, match=r"params\[1\] has shape \(4, 3\)"):
        optimizer.step([np.ones(4), np.ones((4, 3))])
    assert params[0].tolist() == [1.0] * 4
    assert_unchanged(optimizer, before)


@pytest.mark.parametrize("stride", [1, 2])
def test_parameter_that_became_read_only_leaves_everything_untouched(stride):
    params = [np.ones(4), np.ones(4)[::stride]]
    optimizer = NAdam(params)
    before, kept = snapshot(optimizer), copy.deepcopy(params)
    params[1].flags.writeable = False
    with pytest.raises(ValueError, match=r"params\[1\] is read-only"):
        optimizer.step(kept)
    assert_same(params, kept)
    assert_unchanged(optimizer, before)


def test_gradient_that_is_a_view_of_the_parameter():
    p = np.array([3.0, -1.0, 2.0])
    expected = nadam_trajectory(p, [p[::-1].copy()])[-1]
    NAdam(p).step(p[::-1])
    np.testing.assert_array_equal(p, expected)


@given(
    start=hnp.arrays(np.float64, 4, elements=st.floats(-1e6, 1e6)),
    gradients=hnp.arrays(np.float64, (6, 4), elements=st.floats(-1e100, 1e100)),
    learning_rate=st.floats(0.0, 10.0),
    beta_1=st.floats(0.0, 0.999),
    beta_2=st.floats(0.0, 0.9999),
    epsilon=st.floats(1e-12, 1.0),
    momentum_decay=st.one_of(st.floats(0.0, 2.0), st.just(math.inf)),
)
def test_any_run_has_the_bits_of_the_reference(
    start, gradients, learning_rate, beta_1, beta_2, epsilon, momentum_decay
):
    p = start.copy()
    optimizer = NAdam(p, learning_rate, beta_1, beta_2, epsilon, momentum_decay=momentum_decay)
    for g in gradients:
        optimizer.step(g)
    expected = nadam_trajectory(
        start, gradients, lr=learning_rate, b1=beta_1, b2=beta_2, eps=epsilon, psi=momentum_decay
    )
    np.testing.assert_array_equal(p, expected[-1])


def test_schedule_and_settable_rate():
    schedule = schedules.cosine_decay(0.1, 5)
    scheduled, set_by_hand = np.ones(3), np.ones(3)
    first, second = NAdam(scheduled, learning_rate=schedule), NAdam(set_by_hand)
    for step in range(8):
        second.learning_rate = schedule(step)
        assert second.learning_rate == schedule(step)
        first.step(2 * scheduled)
        second.step(2 * set_by_hand)
    np.testing.assert_array_equal(scheduled, set_by_hand)


def test_zero_rate_moves_nothing():
    p = np.array([1.0, -2.0])
    NAdam(p, learning_rate=0.0).step(np.array([3.0, 4.0]))
    assert p.tolist() == [1.0, -2.0]


@pytest.mark.parametrize("learning_rate", [0.05, schedules.exponential_decay(0.05, 10, 0.5)], ids=["float", "schedule"])
@pytest.mark.parametrize(
    "through", [copy.deepcopy, lambda state: pickle.loads(pickle.dumps(state))], ids=["copy", "pickle"]
)
def test_resume_is_exact(learning_rate, through):
    straight = make_tree()
    optimizer = NAdam(straight, learning_rate=learning_rate, beta_1=0.8)
    for t in range(10):
        optimizer.step(make_tree(t))
    resumed, state = copy.deepcopy(straight), through(optimizer.state_dict())
    other = NAdam(resumed, learning_rate=learning_rate)
    other.load_state_dict(state)
    for t in range(10, 20):
        optimizer.step(make_tree(t))
        other.step(make_tree(t))
    assert_same(straight, resumed)
    assert_unchanged(other, snapshot(optimizer))
    assert other.hyperparameters.beta_1 == 0.8


def test_state_dict_is_a_copy_and_loading_copies():
    p = np.ones(3)
    optimizer = NAdam(p)
    optimizer.step(p.copy())
    state = optimizer.state_dict()
    before = snapshot(optimizer)
    optimizer.load_state_dict(state)
    state["param_groups"][0]["arrays"][0]["first_moment"][:] = np.nan
    assert_unchanged(optimizer, before)


@pytest.mark.parametrize(
    "through", [copy.deepcopy, lambda item: pickle.loads(pickle.dumps(item))], ids=["copy", "pickle"]
)
def test_a_copied_optimizer_goes_on_with_its_own_arrays(through):
    x, y = np.array([1.0]), np.array([2.0])
    optimizer = NAdam([x, y], learning_rate=schedules.cosine_decay(0.1, 20))
    optimizer.step([y, x])
    other, a, b = through((optimizer, x, y))
    for _ in range(5):
        optimizer.step([y, x])
    assert (a[0], b[0]) != (x[0], y[0])
    for _ in range(5):
        other.step([b, a])  # parameters as gradients: copied only if their place in memory is known
    assert_same([a, b], [x, y])


def test_a_schedule_is_neither_copied_nor_called_by_state_dict_and_repr():
    class Schedule:
        def __call__(self, step):
            raise AssertionError

        def __deepcopy__(self, memo):
            raise AssertionError

    optimizer = NAdam(np.ones(2), learning_rate=Schedule())
    assert optimizer.state_dict()["hyperparameters"]["learning_rate"] is None
    assert "Schedule" in repr(optimizer)


def break_state(key, value):
    return lambda state: state.update({key: value})


def break_leaf(key, value):
    return lambda state: state["param_groups"][0]["arrays"][0].update({key: value})


def break_group(key, value):
    return lambda state: state["param_groups"][0].update({key: value})


@pytest.mark.parametrize(
    ("spoil", "error", "name"),
    [
        (lambda state: state.pop("micro_steps"), ValueError, "micro_steps"),
        (break_state("surprise", 1), ValueError, "surprise"),
        (break_state("iterations", -1), ValueError, "iterations"),
        (break_state("iterations", 1.5), TypeError, "iterations"),
        (break_state("iterations", 10**400), ValueError, "iterations"),
        (break_state("micro_steps", 1), ValueError, "micro_steps"),
        (break_state("hyperparameters", None), TypeError, "hyperparameters"),
        (lambda state: state["hyperparameters"].update(beta_2=2.0), ValueError, "beta_2"),
        (lambda state: state["hyperparameters"].pop("epsilon"), ValueError, "epsilon"),
        (lambda state: state["options"].update(nonfinite="ignore"), ValueError, "nonfinite"),
        (lambda state: state["options"].update(use_ema=True), ValueError, "average"),
        (break_state("param_groups", {}), TypeError, "param_groups"),
        (break_state("param_groups", []), ValueError, "param_groups"),
        (break_state("param_groups", [None]), TypeError, "param_groups"),
        (break_group("surprise", 1), ValueError, "surprise"),
        (break_group("hyperparameters", None), TypeError, "hyperparameters"),
        (break_group("hyperparameters", {"surprise": 1}), ValueError, "surprise"),
        (break_group("hyperparameters", {"beta_1": 1.0}), ValueError, "beta_1"),
        (break_group("arrays", []), ValueError, "arrays"),
        (break_group("arrays", [None]), TypeError, "arrays"),
        (break_leaf("path", "elsewhere"), ValueError, "elsewhere"),
        (break_leaf("mu_product", math.nan), ValueError, "mu_product"),
        (break_leaf("mu_product", "1"), TypeError, "mu_product"),
        (break_leaf("iterations", -1), ValueError, "iterations"),
        (break_leaf("is_decayed", 1), TypeError, "is_decayed"),
        (break_leaf("first_moment", None), ValueError, "first_moment"),
        (break_leaf("first_moment", [0.0, 0.0, 0.0]), TypeError, "first_moment"),
        (break_leaf("second_moment", np.zeros(4)), ValueError, "second_moment"),
        (break_leaf("second_moment", np.zeros(3, np.float32)), TypeError, "second_moment"),
        (break_leaf("second_moment", np.array([0.0, -1.0, 0.0])), ValueError, "second_moment"),
        (break_leaf("largest_moment", np.array([0.0, -1.0, 0.0])), ValueError, "largest_moment"),
    ],
)
def test_bad_state_is_refused_whole(spoil, error, name):
    p = np.ones(3)
    optimizer = NAdam(p, learning_rate=0.1)
    optimizer.step(p.copy())
    before = snapshot(optimizer)
    other = NAdam(np.ones(3), learning_rate=0.7)
    other.step(np.full(3, 5.0))
    state = other.state_dict()
    spoil(state)
    with pytest.raises(error, match=name):
        optimizer.load_state_dict(state)
    assert_unchanged(optimizer, before)
    with pytest.raises(TypeError, match="state_dict"):
        optimizer.load_state_dict([])


def read_only():
    array = np.ones(3)
    array.flags.writeable = False
    return array


def overlapping():
    array = np.ones(6)
    return [array[:4], array[3:]]


@pytest.mark.parametrize(
    ("params", "error", "message"),
    [
        (np.arange(3), TypeError, "params has dtype int64"),
        (np.ones(3, np.float16), TypeError, "params has dtype float16"),
        (np.ones(3, ">f8") if np.little_endian else np.ones(3, "<f8"), TypeError, "params has dtype"),
        (np.array(["a"], object), TypeError, "params has dtype object"),
        ([1.0, 2.0], TypeError, r"params\[0\]=1.0 is a float"),
        (None, ValueError, "params=None holds no arrays"),
        ({"w": [np.ones(2), "x"]}, TypeError, r"params\['w'\]\[1\]='x' is a str"),
        ([], ValueError, r"params=\[\] holds no arrays"),
        ({"a": {}, "b": []}, ValueError, "holds no arrays"),
        ({"w": read_only()}, ValueError, r"params\['w'\] is read-only"),
        ([p := np.ones(3), p], ValueError, r"params\[0\] and params\[1\] share memory"),
        (overlapping(), ValueError, "share memory"),
        (np.lib.stride_tricks.as_strided(np.zeros(1), (5,), (0,)), ValueError, r"params has strides \(0,\)"),
        (np.lib.stride_tricks.as_strided(np.zeros(5), (3, 3), (8, 8)), ValueError, r"params has strides \(8, 8\)"),
        (np.ma.masked_array(np.ones(3)), TypeError, "is a MaskedArray"),
    ],
    ids=str,
)
def test_bad_parameters(params, error, message):
    with pytest.raises(error, match=message):
        NAdam(params)


def test_interleaved_arrays_share_no_memory():
    array = np.ones(6)
    NAdam([array[::2], array[1::2]], learning_rate=0.5).step([np.ones(3), -np.ones(3)])
    assert (array[::2] < 1.0).all()
    assert (array[1::2] > 1.0).all()


@pytest.mark.parametrize(
    ("grads", "error", "message"),
    [
        ([np.ones(3)], TypeError, r"grads=.* is a list: it must be a dict"),
        ({"w": np.ones(3)}, ValueError, r"grads has the keys \['w'\]"),
        ({"w": np.ones(3), "b": [np.ones(2)], "x": np.ones(1)}, ValueError, "grads has the keys"),
        ({"w": np.ones(4), "b": [np.ones(2)]}, ValueError, r"grads\['w'\] has shape \(4,\)"),
        ({"w": np.ones((3, 1)), "b": [np.ones(2)]}, ValueError, r"grads\['w'\] has shape \(3, 1\)"),
        ({"w": np.ones(3, np.float32), "b": [np.ones(2)]}, TypeError, r"grads\['w'\] has dtype float32"),
        ({"w": np.ones(3, int), "b": [np.ones(2)]}, TypeError, r"grads\['w'\] has dtype int64"),
        ({"w": [1.0, 2.0, 3.0], "b": [np.ones(2)]}, TypeError, r"grads\['w'\]=\[1.0, 2.0, 3.0\] is a list"),
        ({"w": np.ones(3), "b": []}, ValueError, r"grads\['b'\] has 0 entries"),
        ({"w": np.ones(3), "b": np.ones(2)}, TypeError, r"grads\['b'\]=.* is a ndarray"),
    ],
    ids=str,
)
def test_bad_gradients_leave_everything_untouched(grads, error, message):
    params = {"w": np.ones(3), "b": [np.ones(2)]}
    optimizer = NAdam(params)
    optimizer.step(copy.deepcopy(params))
    before, kept = snapshot(optimizer), copy.deepcopy(params)
    with pytest.raises(error, match=message):
        optimizer.step(grads)
    assert_same(params, kept)
    assert_unchanged(optimizer, before)


def test_bad_schedule_leaves_everything_untouched():
    p = np.ones(3)
    optimizer = NAdam(p, learning_rate=lambda step: -1.0)
    with pytest.raises(ValueError, match=r"learning_rate\(0\)=-1.0"):
        optimizer.step(p.copy())
    assert p.tolist() == [1.0, 1.0, 1.0]
    assert optimizer.iterations == 0


def test_bad_rate_cannot_be_set():
    optimizer = NAdam(np.ones(3))
    with pytest.raises(ValueError, match="learning_rate=nan"):
        optimizer.learning_rate = math.nan
    assert optimizer.learning_rate == 2e-3


def test_changing_the_callers_dict_later_changes_nothing():
    params = {"w": np.ones(3)}
    optimizer = NAdam(params)
    params["b"] = np.ones(2)
    optimizer.step({"w": np.ones(3)})
    assert (params["w"] < 1.0).all()


def test_repr_tells_the_settings():
    optimizer = NAdam([np.ones(3), np.ones(2)], learning_rate=0.5)
    assert repr(optimizer).startswith("NAdam(2 arrays, learning_rate=0.5, beta_1=0.9")


@pytest.mark.parametrize("params", [{"a/b": 0, "a": {"b": 1}}, {1: 0, "1": 1}, {"a": [0], "a/0": 1}], ids=str)
def test_arrays_have_paths_of_their_own(params):
    arrays = [np.ones(2), np.ones(2)]

    def filled(tree):
        if isinstance(tree, dict):
            return {key: filled(entry) for key, entry in tree.items()}
        return [filled(entry) for entry in tree] if isinstance(tree, list) else arrays[tree]

    with pytest.raises(ValueError, match="both have the path"):
        NAdam(filled(params))


@pytest.mark.parametrize("dtype", ["float32", "complex128"])
def test_state_begins_with_cache_lines(dtype):
    optimizer = NAdam([np.ones(shape, dtype) for shape in [3, (5, 7), ()]], amsgrad=True, use_ema=True)
    optimizer.step([np.ones(shape, dtype) for shape in [3, (5, 7), ()]])
    restored = NAdam([np.ones(shape, dtype) for shape in [3, (5, 7), ()]], amsgrad=True, use_ema=True)
    restored.load_state_dict(optimizer.state_dict())
    for state in [*optimizer.states, *restored.states]:
        for name in ("first_moment", "second_moment", "largest_moment", "average"):
            assert getattr(state, name).ctypes.data % 64 == 0
