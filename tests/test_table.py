"""Steps by a table of addresses: the bits of the general way, and the general way for whatever is unusual."""

import copy
import pickle
import re
import threading

import numba
import numpy as np
import pytest
from marks import COMPILES, needs_compiler, needs_x86

from nadam_numba import NAdam, cpu, jit, pointers, rule, schedules, table, table_kernels

DTYPES = ["float32", "float64", "complex64", "complex128"]
# Numbers in a chunk where a test uses `small_chunks`: an array of more makes several.
CHUNK = 32


@pytest.fixture
def small_chunks(monkeypatch):
    monkeypatch.setattr(table, "_SMALLEST_CHUNK", CHUNK)


def general(optimizer):
    """An optimizer whose steps go the general way: hooks see each of them."""
    optimizer.register_step_pre_hook(lambda optimizer, args, kwargs: None)
    return optimizer


def steps_by_table(optimizer):
    """Whether the last step did."""
    return optimizer._plan is not None and len(optimizer._plan.tables) > 0


def random_array(rng, shape, dtype, order="C"):
    real = rng.standard_normal(shape)
    array = real + 1j * rng.standard_normal(shape) if np.dtype(dtype).kind == "c" else real
    return np.asarray(array, dtype, order=order)


def a_tree(rng, dtype="float64"):
    """Every structure, and every shape."""
    return {
        "list": [random_array(rng, shape, dtype) for shape in [(3, 4), (), (0,), (CHUNK + 13,)]],
        "nested": {"a": [random_array(rng, 5, "float32")], "b": (random_array(rng, (2, 3, 2), dtype, "F"), None)},
        "nothing": None,
        "flat": {"x": random_array(rng, 7, dtype), "y": random_array(rng, 1, "float64")},
    }


def like(rng, tree):
    """A tree of gradients for a tree of parameters."""
    if isinstance(tree, dict):
        return {key: like(rng, entry) for key, entry in tree.items()}
    if isinstance(tree, (list, tuple)):
        return type(tree)(like(rng, entry) for entry in tree)
    if tree is None:
        return None
    return random_array(rng, tree.shape, tree.dtype, "F" if tree.flags.f_contiguous else "C")


def arrays_of(tree):
    if isinstance(tree, (dict, list, tuple)):
        return [array for entry in (tree.values() if isinstance(tree, dict) else tree) for array in arrays_of(entry)]
    return [] if tree is None else [tree]


def assert_same(optimizer, other):
    """The same parameters and state, in all bits."""
    for ours, theirs in zip(optimizer.states, other.states, strict=True):
        np.testing.assert_array_equal(ours.leaf.array, theirs.leaf.array)
        assert (ours.iterations, ours.mu_product) == (theirs.iterations, theirs.mu_product)
        for name in ("first_moment", "second_moment", "largest_moment", "average", "accumulated"):
            array, expected = getattr(ours, name), getattr(theirs, name)
            assert (array is None) == (expected is None)
            if array is not None:
                np.testing.assert_array_equal(array, expected)
    assert optimizer.iterations == other.iterations
    assert optimizer.state_dict()["micro_steps"] == other.state_dict()["micro_steps"]


OPTIONS = [
    {},
    {"nesterov": False},
    {"amsgrad": True, "beta_2": 0.5},
    {"weight_decay": 0.1},
    {"weight_decay": 0.1, "decoupled_weight_decay": True, "momentum_decay": 1.0},
    {"maximize": True, "clipvalue": 0.3, "epsilon_root": 1e-3},
    {"use_ema": True, "ema_momentum": 0.5, "ema_overwrite_frequency": 3, "loss_scale_factor": 8.0},
    {"learning_rate": schedules.cosine_decay(0.1, 20), "amsgrad": True, "use_ema": True},
    {"clipnorm": 0.7, "maximize": True, "clipvalue": 0.5},
    {"global_clipnorm": 2.0, "learning_rate": schedules.cosine_decay(0.1, 20)},
    {"global_clipnorm": 1e9, "clipnorm": 0.7, "loss_scale_factor": 4.0, "nonfinite": "raise"},
    {"gradient_accumulation_steps": 5, "nonfinite": "skip", "loss_scale_factor": 4.0},
    {"gradient_accumulation_steps": 2, "global_clipnorm": 0.5, "clipnorm": 0.4, "clipvalue": 0.3},
    {"gradient_accumulation_steps": 3, "use_ema": True, "ema_momentum": 0.5, "ema_overwrite_frequency": 2},
    {"state_dtype": "bfloat16"},
    {"state_dtype": "bfloat16", "amsgrad": True, "use_ema": True, "weight_decay": 0.1},
]


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_it_makes_the_steps_of_the_general_way(options, dtype):
    rng = np.random.default_rng(len(str(options)))
    params = a_tree(rng, dtype)
    optimizer = NAdam(params, **options)
    other = general(NAdam(copy.deepcopy(params), **options))
    for _ in range(12):
        grads = like(rng, params)
        kept = copy.deepcopy(grads)
        optimizer.step(grads)
        other.step(grads)
        assert steps_by_table(optimizer)
        assert not steps_by_table(other)
        for array, before in zip(arrays_of(grads), arrays_of(kept), strict=True):
            np.testing.assert_array_equal(array, before)
    assert any(np.bincount(part.chunks[:, 0]).max() > 1 for part in optimizer._plan.tables)
    assert_same(optimizer, other)


@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 5)])
def test_a_single_array(shape):
    rng = np.random.default_rng(1)
    param = random_array(rng, shape, "float32")
    optimizer, other = NAdam(param), general(NAdam(param.copy()))
    for _ in range(5):
        gradient = random_array(rng, shape, "float32")
        optimizer.step(gradient)
        other.step(gradient)
    assert steps_by_table(optimizer)
    assert_same(optimizer, other)


def test_numpys_scalars_stand_for_arrays_without_dimension():
    params = {"a": np.array(1.0), "b": np.array(2.0, np.float32), "c": np.ones(2)}
    optimizer, other = NAdam(params), general(NAdam(copy.deepcopy(params)))
    for _ in range(3):
        grads = {"a": np.float64(0.3), "b": np.float32(-0.2), "c": np.ones(2)}
        optimizer.step(grads)
        other.step(grads)
        assert steps_by_table(optimizer)
    assert_same(optimizer, other)
    with pytest.raises(TypeError, match=r"grads\['b'\] has dtype float64"):
        optimizer.step(grads | {"b": np.float64(0.1)})


def test_tables_that_are_of_no_use_are_prepared_ever_more_rarely(monkeypatch):
    plans = []
    make_plan = NAdam._make_plan
    monkeypatch.setattr(NAdam, "_make_plan", lambda optimizer: plans.append(0) or make_plan(optimizer))
    optimizer = NAdam([np.ones(3), np.ones(3)])
    for _ in range(100):
        optimizer.step([None, np.ones(3)])
    assert len(plans) < 10
    for _ in range(130):
        optimizer.step([np.ones(3), np.ones(3)])
    assert steps_by_table(optimizer)


def random_options(rng):
    """Some of all options, whatever goes together."""
    return {
        "amsgrad": bool(rng.integers(2)),
        "use_ema": bool(rng.integers(2)),
        "ema_overwrite_frequency": int(rng.integers(1, 4)),
        "gradient_accumulation_steps": [None, 2, 3][rng.integers(3)],
        "clipvalue": [None, 0.5][rng.integers(2)],
        "clipnorm": [None, 0.8][rng.integers(2)],
        "global_clipnorm": [None, 2.0][rng.integers(2)],
        "weight_decay": [0.0, 0.1][rng.integers(2)],
        "decoupled_weight_decay": bool(rng.integers(2)),
        "nesterov": bool(rng.integers(2)),
        "maximize": bool(rng.integers(2)),
        "loss_scale_factor": [None, 4.0][rng.integers(2)],
        "nonfinite": ["propagate", "raise", "skip"][rng.integers(3)],
        "epsilon_root": [0.0, 1e-3][rng.integers(2)],
        "beta_2": 0.5,
    }


@pytest.mark.parametrize("seed", range(12))
def test_any_options_together(seed):
    rng = np.random.default_rng(seed)
    options = random_options(rng)
    params = [random_array(rng, shape, "float32") for shape in [(3, 4), (), (0,), (9000 if COMPILES else 90,)]]
    optimizer, other = NAdam(params, **options), general(NAdam(copy.deepcopy(params), **options))
    for _ in range(7):
        grads = like(rng, params)
        optimizer.step(grads)
        other.step(grads)
        assert steps_by_table(optimizer)
    assert_same(optimizer, other)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize(("wrap", "dtype"), [(lambda array: array, "float32"), (lambda array: [array], "complex128")])
def test_one_array_alone_or_in_a_list(wrap, options, dtype):
    rng = np.random.default_rng(len(str(options)))
    array = random_array(rng, (3, 4), dtype)
    expected = array.copy()
    optimizer, other = NAdam(wrap(array), **options), general(NAdam(wrap(expected), **options))
    for number in range(8):
        gradient = random_array(rng, (3, 4), dtype)
        unusual = [gradient[:, ::-1], np.asfortranarray(gradient), None, (np.array([1, 1]), gradient[:2])]
        gradient = unusual[number % 4] if number in (2, 3, 5) else gradient
        if number == 4:
            optimizer.learning_rate = other.learning_rate = 0.05
        if number == 6:
            optimizer.weight_decay = other.weight_decay = 0.2
        optimizer.step(wrap(gradient))
        other.step(wrap(gradient))
        np.testing.assert_array_equal(array, expected)
    assert steps_by_table(optimizer)
    for wrong in ([gradient, gradient], [[gradient]], gradient.tolist(), gradient[:2], np.ones((3, 4), np.int64), "no"):
        with pytest.raises((TypeError, ValueError), match="grads"):
            optimizer.step(wrong)
    assert_same(optimizer, other)


@needs_compiler
@needs_x86
@pytest.mark.parametrize("parallel", [False, True], ids=["serial", "parallel"])
@pytest.mark.parametrize(
    ("options", "update"),
    [
        ({"amsgrad": True}, table_kernels._update_in_full),
        ({"amsgrad": True, "use_ema": True, "gradient_accumulation_steps": 2}, table_kernels._update_in_full),
        ({"state_dtype": "bfloat16", "amsgrad": True}, cpu.update_bfloat16_serial),
    ],
    ids=str,
)
def test_steps_by_table_are_vectorised(options, update, parallel, monkeypatch):
    monkeypatch.setenv("NADAM_NUMBA_CACHE", "0")  # a kernel loaded from the cache shows no assembly
    optimizer = NAdam([np.zeros(8, np.float32)], **options)
    optimizer.step([np.ones(8, np.float32)])
    step = jit.kernel(table_kernels._step, cpu, rule, parallel=parallel, makes_arrays=True, _update=update)
    (table,) = optimizer._plan.tables
    arrays = [None if array is None else array[:0] for array in table.arrays[0].values()]
    step(*table.update.arguments, np.empty(0, np.float32), *arrays[1:], None)
    (assembly,) = step.inspect_asm().values()
    assert re.search(r"\bv?sqrtps\b", assembly)
    assert re.search(r"\bv?divps\b", assembly)


@pytest.mark.parametrize("scale", [0.0, 1e-200, 1e200, np.inf, np.nan])
@pytest.mark.parametrize("name", ["clipnorm", "global_clipnorm"])
def test_norms_neither_overflow_nor_vanish(name, scale):
    rng = np.random.default_rng(9)
    params = [
        random_array(rng, shape, dtype) for shape, dtype in [((3, 4), "float64"), (5000, "float64"), (5, "float32")]
    ]
    optimizer, other = NAdam(params, **{name: 1e-210}), general(NAdam(copy.deepcopy(params), **{name: 1e-210}))
    for _ in range(3):
        grads = like(rng, params)
        grads[1] *= scale
        with np.errstate(invalid="ignore", over="ignore"):
            optimizer.step(grads)
            other.step(grads)
        assert steps_by_table(optimizer)
    assert_same(optimizer, other)


@pytest.mark.parametrize("nonfinite", ["raise", "skip"])
@pytest.mark.parametrize("dtypes", [("float64", "float64"), ("float32", "float64")], ids=["a table", "two tables"])
@pytest.mark.parametrize("every", [None, 2])
def test_gradients_that_are_not_finite(nonfinite, dtypes, every):
    def make_params():
        return [np.ones(3, dtypes[0]), np.ones(5000, dtypes[1])]

    def act(optimizer):
        for step in range(6):
            grads = [np.full(3, 0.1 * (step + 1), dtypes[0]), np.full(5000, -0.1, dtypes[1])]
            optimizer.step(grads)
            before = copy.deepcopy(optimizer.state_dict())
            grads[1][4444] = np.inf if step % 2 else np.nan
            if nonfinite == "raise":
                with pytest.raises(FloatingPointError, match=r"the gradient of params\[1\] has"):
                    optimizer.step(grads)
            else:
                optimizer.step(grads)
            np.testing.assert_equal(optimizer.state_dict(), before)

    options = {"nonfinite": nonfinite, "gradient_accumulation_steps": every, "global_clipnorm": 0.5}
    optimizer = assert_both_ways_agree(make_params, act, **options)
    assert optimizer.iterations == 6 // (every or 1)


def test_norms_of_groups_are_clipped_together():
    rng = np.random.default_rng(10)
    params = [[random_array(rng, 4, "float64"), random_array(rng, 3, "float32")], random_array(rng, 5000, "float64")]
    optimizer, other = (
        NAdam([{"params": first, "clipnorm": 0.5}, {"params": second}], global_clipnorm=0.9)
        for first, second in (params, copy.deepcopy(params))
    )
    general(other)
    for step in range(6):
        if step == 3:
            for one in (optimizer, other):
                one.param_groups[0]["clipnorm"] = 0.2
        if step == 4:
            for one in (optimizer, other):
                one.clipnorm = 0.3
        grads = [like(rng, entry) for entry in params]
        optimizer.step(grads)
        other.step(grads)
        assert steps_by_table(optimizer)
    assert_same(optimizer, other)


def test_the_steps_between_updates_ask_for_no_learning_rate():
    calls = []

    def act(optimizer):
        del calls[:]
        for step in range(7):
            optimizer.step([np.full(3, 0.1 * step), np.full(2, 0.2)])
        assert calls == [0, 1]

    def rate(step):
        calls.append(step)
        return 0.1

    options = {"learning_rate": rate, "gradient_accumulation_steps": 3}
    assert_both_ways_agree(lambda: [np.ones(3), np.ones(2)], act, **options)


def test_sums_of_gradients_are_loaded_and_taken_up():
    rng = np.random.default_rng(11)
    params = [random_array(rng, 5, "float64") for _ in range(3)]
    grads = [like(rng, params) for _ in range(6)]
    straight = NAdam(copy.deepcopy(params), gradient_accumulation_steps=4, use_ema=True)
    optimizer = NAdam(params, gradient_accumulation_steps=4, use_ema=True)
    for step in range(6):
        straight.step(grads[step])
        optimizer.step(grads[step])
        if step == 2:
            saved = optimizer.state_dict()
            optimizer = NAdam(params, gradient_accumulation_steps=4, use_ema=True)
            optimizer.load_state_dict(saved)
        elif step == 4:  # the general way in between
            general(optimizer)
    assert_same(optimizer, straight)


EVERYTHING = {
    "amsgrad": True,
    "use_ema": True,
    "clipnorm": 0.8,
    "global_clipnorm": 0.9,
    "gradient_accumulation_steps": 2,
    "nonfinite": "raise",
}


@needs_compiler
@pytest.mark.parametrize("options", [{}, EVERYTHING], ids=["no options", "everything"])
def test_large_arrays_are_shared_among_threads(options):
    rng = np.random.default_rng(2)
    sizes = [max(jit.PARALLEL_CROSSOVER.values()) + 17, 1, 70_001]
    params = [random_array(rng, size, "float32") for size in sizes]
    grads = [random_array(rng, size, "float32") for size in sizes]
    results = []
    for threads in {1, numba.config.NUMBA_NUM_THREADS}:
        before = numba.get_num_threads()
        numba.set_num_threads(threads)
        try:
            optimizer = NAdam([param.copy() for param in params], **options)
            for _ in range(4):
                optimizer.step(grads)
        finally:
            numba.set_num_threads(before)
        assert steps_by_table(optimizer)
        results.append(optimizer)
    other = general(NAdam(params, **options))
    for _ in range(4):
        other.step(grads)
    for optimizer in results:
        assert_same(optimizer, other)


def test_groups_with_settings_of_their_own():
    rng = np.random.default_rng(3)
    first, second = [random_array(rng, 4, "float64"), random_array(rng, 3, "float32")], random_array(rng, 2, "float64")

    def make(copies):
        return NAdam(
            [
                {"params": copy.deepcopy(first) if copies else first, "learning_rate": schedules.cosine_decay(0.1, 9)},
                {"params": second.copy() if copies else second, "weight_decay": 0.1, "amsgrad": True},
            ],
            learning_rate=0.01,
        )

    optimizer, other = make(False), general(make(True))
    third = random_array(rng, 6, "float64")
    for step in range(9):
        for one, array in ((optimizer, third), (other, third.copy())):
            if step == 3:
                one.param_groups[1]["beta_1"] = 0.5
                one.learning_rate = 0.03
            if step == 5:
                one.exclude_from_weight_decay(names=["^$"])
            if step == 7:
                one.add_param_group({"params": array})
        grads = [like(rng, first), like(rng, second)] + ([like(rng, third)] if step >= 7 else [])
        optimizer.step(grads)
        other.step(grads)
        assert steps_by_table(optimizer)
    assert_same(optimizer, other)


def unusual_gradients(rng, params):
    """For the last of two arrays of shape (4, 3): what the general way takes, and what it refuses."""
    usual = random_array(rng, (4, 3), "float64")
    frozen = usual.copy()
    frozen.flags.writeable = False
    yield "none", None
    yield "rows", (np.array([1, 3, 1]), random_array(rng, (3, 3), "float64"))
    yield "fortran", np.asfortranarray(usual)
    yield "strided", random_array(rng, (8, 3), "float64")[::2]
    yield "matrix", usual.view(np.matrix)
    yield "frozen", frozen
    yield "parameter", params[1]
    yield "part of a parameter", params[0].reshape(-1)[:12].reshape(4, 3)
    yield "unaligned", np.frombuffer(b"0" + usual.tobytes(), np.uint8)[1:].view("float64").reshape(4, 3)
    yield "unpickled", pickle.loads(pickle.dumps(usual))
    yield "wrong shape", usual.T.copy()
    yield "wrong size", usual[:2].copy()
    yield "wrong dtype", usual.astype("float32")
    yield "wrong byte order", usual.astype(usual.dtype.newbyteorder())
    yield "a list", usual.tolist()
    yield "a number", 1.0


KINDS = [name for name, _ in unusual_gradients(np.random.default_rng(0), [np.zeros((6, 4)), np.zeros((4, 3))])]


@pytest.mark.parametrize("kind", KINDS)
def test_unusual_gradients_go_the_general_way(kind):
    rng = np.random.default_rng(4)
    params = [random_array(rng, (6, 4), "float64"), random_array(rng, (4, 3), "float64")]
    others = copy.deepcopy(params)
    optimizer, other = NAdam(params), general(NAdam(others))
    usual = like(rng, params)
    seed = int(rng.integers(2**32))
    for step in range(6):
        grads, grads_of_other = list(usual), list(usual)
        if step % 3 == 1:
            grads[1] = dict(unusual_gradients(np.random.default_rng(seed), params))[kind]
            grads_of_other[1] = dict(unusual_gradients(np.random.default_rng(seed), others))[kind]
        errors = []
        for one, its_grads in ((optimizer, grads), (other, grads_of_other)):
            try:
                one.step(its_grads)
                errors.append(None)
            except (TypeError, ValueError) as error:
                errors.append((type(error), str(error)))
        assert errors[0] == errors[1]
        is_refused = kind.startswith(("wrong", "a "))
        assert (errors[0] is not None) == (is_refused and step % 3 == 1)
        if step % 3 == 1 and kind not in ("frozen", "unpickled"):
            assert not steps_by_table(optimizer)
        elif step % 3 != 1:
            assert steps_by_table(optimizer)
        assert_same(optimizer, other)


@pytest.mark.parametrize("grads", [None, 3, [], {}, [1, 2, 3], [[]]], ids=str)
def test_another_structure_is_refused_in_the_same_words(grads):
    params = [np.ones(3), np.ones(2)]
    optimizer = NAdam(params)
    optimizer.step([np.ones(3), np.ones(2)])
    messages = []
    for one in (optimizer, general(NAdam([params[0], params[1].copy()]))):
        with pytest.raises((TypeError, ValueError)) as caught:
            one.step(grads)
        messages.append((caught.type, str(caught.value)))
    assert messages[0] == messages[1]
    assert optimizer.iterations == 1


def reshape(array):
    array.shape = (4, 3)


def freeze(array):
    array.flags.writeable = False


def resize(array):
    array.resize((100,), refcheck=False)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("change", [reshape, freeze, resize])
@pytest.mark.parametrize("earlier_steps", [0, 2])
def test_a_parameter_that_changed_is_an_error(change, earlier_steps):
    params = [np.ones(3), np.ones((3, 4))]
    grads = [np.ones(3), np.ones((3, 4))]
    optimizer = NAdam(params)
    for _ in range(earlier_steps):
        optimizer.step(grads)
    change(params[1])
    before = copy.deepcopy((params, optimizer.state_dict()))
    with pytest.raises(ValueError, match=r"params\[1\]"):
        optimizer.step(grads)
    np.testing.assert_array_equal(params[0], before[0][0])
    np.testing.assert_equal(optimizer.state_dict(), before[1])


@pytest.mark.parametrize("twin", [copy.copy, copy.deepcopy, lambda o: pickle.loads(pickle.dumps(o))])
def test_copies_go_on_by_themselves(twin):
    rng = np.random.default_rng(5)
    params = [random_array(rng, 5, "float64"), random_array(rng, (2, 2), "float32")]
    optimizer, other = NAdam(params), general(NAdam(copy.deepcopy(params)))
    for _ in range(3):
        grads = like(rng, params)
        optimizer.step(grads)
        other.step(grads)
    copied = twin(optimizer)
    frozen = copied.state_dict()
    grads = like(rng, params)
    optimizer.step(grads)
    other.step(grads)
    assert_same(optimizer, other)
    np.testing.assert_equal(copied.state_dict(), frozen)
    copied.step(grads)
    assert steps_by_table(copied)
    np.testing.assert_equal(copied.state_dict()["param_groups"], optimizer.state_dict()["param_groups"])


def test_a_loaded_state_is_taken_up():
    rng = np.random.default_rng(6)
    params = [random_array(rng, 5, "float64") for _ in range(3)]
    optimizer = NAdam(params)
    trajectory, states = [], []
    grads = like(rng, params)
    for _ in range(6):
        states.append((copy.deepcopy(params), optimizer.state_dict()))
        optimizer.step(grads)
        trajectory.append(copy.deepcopy(params))
    for array, saved in zip(params, states[2][0], strict=True):
        array[...] = saved
    optimizer.load_state_dict(states[2][1])
    for step in range(2, 6):
        optimizer.step(grads)
        np.testing.assert_array_equal(params, trajectory[step])
    assert steps_by_table(optimizer)


def test_an_exception_in_a_schedule_leaves_everything_as_it_was():
    def schedule(step):
        if step == 2:
            raise KeyError("mine")
        return 0.1

    params = [np.ones(3), np.ones(2)]
    optimizer = NAdam(params, learning_rate=schedule)
    grads = [np.ones(3), np.ones(2)]
    for _ in range(2):
        optimizer.step(grads)
    before = copy.deepcopy((params, optimizer.state_dict()))
    with pytest.raises(KeyError, match="mine"):
        optimizer.step(grads)
    np.testing.assert_equal(optimizer.state_dict(), before[1])
    np.testing.assert_equal(params, before[0])


def test_schedules_are_called_once_per_step():
    calls = []

    def schedule(step):
        calls.append(step)
        return 0.1

    params = [np.ones((2, 2)), np.ones(2)]
    optimizer = NAdam(params, learning_rate=schedule)
    for grads in ([np.ones((2, 2)), np.ones(2)], [None, np.ones(2)], [np.ones((2, 2)), np.ones(2)]):
        optimizer.step(grads)
    assert calls == [0, 1, 2]


def assert_both_ways_agree(make_params, act, **options):
    """The same numbers by table and the general way, where ``act(optimizer)`` makes the steps."""
    optimizer, other = NAdam(make_params(), **options), general(NAdam(make_params(), **options))
    for one in (optimizer, other):
        act(one)
    assert_same(optimizer, other)
    return optimizer


class Short(list):
    def __iter__(self):
        return iter([self[0]])


class Scaled(list):
    def __getitem__(self, index):
        return 0.5 * list.__getitem__(self, index)


class Popping(dict):
    def __getitem__(self, key):
        return 0.5 * dict.__getitem__(self, key)


@pytest.mark.parametrize("container", [Short, Scaled])
def test_lists_that_make_their_entries(container):
    def act(optimizer):
        for _ in range(3):
            optimizer.step(container([np.ones(3), np.full(2, 0.5)]))

    assert_both_ways_agree(lambda: [np.ones(3), np.ones(2)], act, learning_rate=0.1, epsilon=1.0)


def test_dicts_that_make_their_entries():
    assert_both_ways_agree(
        lambda: {"a": np.ones(3), "b": np.ones(2)},
        lambda optimizer: optimizer.step(Popping(a=np.ones(3), b=np.ones(2))),
        learning_rate=0.1,
        epsilon=1.0,
    )


@needs_compiler
def test_arrays_of_a_state_may_be_replaced():
    def act(optimizer):
        grads = [np.ones(1 << 17), np.ones(3)]
        optimizer.step(grads)
        optimizer.states[0].first_moment = np.full(1 << 17, 7.0)
        optimizer.states[1].iterations = 9
        optimizer.step(grads)
        optimizer.step(grads)

    assert_both_ways_agree(lambda: [np.zeros(1 << 17), np.zeros(3)], act)


@needs_compiler
def test_one_optimizer_in_two_threads_does_no_harm():
    optimizer = NAdam([np.zeros(60_000), np.zeros(5)])

    def run():
        for _ in range(300):
            optimizer.step([np.ones(60_000), np.ones(5)])

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert np.isfinite(optimizer.states[0].leaf.array).all()


@pytest.mark.parametrize("change", ["beta_1", "clipvalue", "weight_decay", "state"])
def test_schedules_that_change_the_optimizer(change):
    def act(optimizer):
        saved = []

        def rate(step):
            if change == "beta_1":
                optimizer.beta_1 = 0.8 + 0.01 * step
            elif change == "clipvalue":
                optimizer.clipvalue = 0.4 - 0.01 * step
            elif change == "weight_decay":
                optimizer.param_groups[0]["weight_decay"] = 0.01 * step
            elif step == 2:
                optimizer.load_state_dict(saved[0])
            return 0.1

        saved.append(optimizer.state_dict())
        optimizer.learning_rate = rate
        for _ in range(4):
            optimizer.step([np.ones(3), np.full(2, -0.5)])

    assert_both_ways_agree(lambda: [np.ones(3), np.ones(2)], act, global_clipnorm=0.8)


def test_amsgrad_that_ends():
    def act(optimizer):
        optimizer.step([None, np.ones(2)])
        optimizer.amsgrad = False
        for k in range(5):
            optimizer.step([np.full(3, 1 / (k + 1) ** 2), np.full(2, 1 / (k + 1) ** 2)])

    assert_both_ways_agree(lambda: [np.ones(3), np.ones(2)], act, amsgrad=True, beta_2=0.5, learning_rate=0.1)


def test_a_refused_step_makes_no_state():
    optimizer = NAdam([np.ones(3)], amsgrad=True)
    before = optimizer.state_dict()
    with pytest.raises(ValueError, match="shape"):
        optimizer.step([np.ones(4)])
    np.testing.assert_equal(optimizer.state_dict(), before)


def test_advance_goes_on_from_tables():
    def act(optimizer):
        grads = [np.ones(3), np.ones(2)]
        optimizer.step(grads)
        optimizer.advance(optimizer.checked_gradients(grads), [0.1])
        optimizer.step(grads)

    assert_both_ways_agree(lambda: [np.ones(3), np.ones(2)], act)


def test_numbers_that_change_need_no_new_tables(monkeypatch):
    plans = []
    make_plan = NAdam._make_plan
    monkeypatch.setattr(NAdam, "_make_plan", lambda optimizer: plans.append(0) or make_plan(optimizer))

    def act(optimizer):
        for step in range(9):
            optimizer.learning_rate = 0.1 / (step + 1)
            optimizer.param_groups[0]["weight_decay"] = 0.01 * step
            optimizer.maximize = step > 4
            optimizer.clipvalue = 0.9
            optimizer.clipnorm = 0.8 - 0.01 * step
            optimizer.nesterov = step != 7
            optimizer.step([np.ones(3), np.full(2, -0.5)])

    optimizer = assert_both_ways_agree(lambda: [np.ones(3), np.ones(2)], act, clipnorm=1.0)
    assert len(plans) == 1
    assert optimizer.iterations == 9


@pytest.mark.parametrize("method", ["checked_gradients", "advance"])
def test_methods_of_subclasses_are_called(method):
    class Counting(NAdam):
        calls = 0

    def counted(self, *arguments):
        Counting.calls += 1
        return getattr(NAdam, method)(self, *arguments)

    setattr(Counting, method, counted)
    optimizer = Counting([np.ones(3), np.ones(2)])
    for _ in range(3):
        optimizer.step([np.ones(3), np.ones(2)])
    assert Counting.calls == 3


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("dtype", DTYPES)
def test_gradients_are_written_in_place(dtype):
    rng = np.random.default_rng(7)
    params = a_tree(rng, dtype)
    optimizer, other = NAdam(params), general(NAdam(copy.deepcopy(params)))
    with pytest.raises(TypeError, match="gradients"):
        optimizer.step()
    own = optimizer.gradients
    assert optimizer.gradients is own
    for gradient, param in zip(arrays_of(own), arrays_of(params), strict=True):
        assert (gradient.shape, gradient.dtype, gradient.any()) == (param.shape, param.dtype, False)
    shared = [array for array in arrays_of(own) if array.dtype == dtype]
    assert all(array.base is shared[0].base or array.base is shared[0].base.base for array in shared)
    for _ in range(4):
        grads = like(rng, params)
        for target, gradient in zip(arrays_of(own), arrays_of(grads), strict=True):
            target[...] = gradient
        optimizer.step()
        other.step(grads)
        assert steps_by_table(optimizer)
    assert_same(optimizer, other)
    twin = copy.deepcopy(optimizer)
    with pytest.raises(TypeError, match="gradients"):
        twin.step()


def test_gradients_of_groups():
    optimizer = NAdam([{"params": np.ones(2)}, {"params": [np.ones(3)]}])
    optimizer.gradients[1][0][:] = 1.0
    optimizer.add_param_group({"params": np.ones(1)})
    with pytest.raises(TypeError, match="gradients"):
        optimizer.step()
    assert [array.tolist() for array in arrays_of(optimizer.gradients)] == [[0.0] * 2, [1.0] * 3, [0.0]]
    optimizer.step()
    assert optimizer.iterations == 1


def test_parameters_that_are_not_contiguous_go_the_general_way():
    optimizer = NAdam(np.ones((4, 4))[::2, ::2])
    optimizer.step(np.ones((2, 2)))
    assert not steps_by_table(optimizer)


def test_memory_of_no_parameter_is_read_for_a_gradient_that_is_gone():
    # The address of a gradient's object is not used again: each step notes it anew.
    param = np.zeros(1000)
    optimizer = NAdam(param)
    for _ in range(50):
        optimizer.step(np.ones(1000))
    assert (param == param[0]).all()


def test_the_layout_of_arrays_is_known():
    assert pointers.layout_is_known()


def test_flags_and_shapes_are_read():
    array = np.asfortranarray(np.ones((2, 3)))
    assert pointers.flags_of(id(array)) == array.flags.num
    assert pointers.elements_of(id(array)) == array.ctypes.data
    assert pointers.are_alike(id(array), id(np.zeros((2, 3))))
    assert not pointers.are_alike(id(array), id(np.zeros((3, 2))))
    assert not pointers.are_alike(id(array), id(np.zeros(6)))
    assert not pointers.are_alike(id(array), id(np.zeros((2, 3), np.float32)))
    assert not pointers.are_alike(id(array), id(np.zeros((2, 3), np.int64)))
    assert not pointers.are_alike(id(array), id(np.zeros((2, 3), np.dtype(np.float64).newbyteorder())))
    assert pointers.are_alike(id(array), id(pickle.loads(pickle.dumps(array))))
    assert pointers.has_type(id(array), id(np.ndarray))
    assert not pointers.has_type(id(3.0), id(np.ndarray))


def test_chunks_cover_every_number_once():
    for sizes in ([0, 1, 4096, 4097, 100_000], [3_000_000, 5], []):
        seen = [np.zeros(size, int) for size in sizes]
        for column, start, length in table._make_chunks(sizes, 4096):
            seen[column][start : start + length] += 1
        assert all((count == 1).all() for count in seen)
