"""The interface of optax: formulas transcribed to NumPy, pure and in-place updates, trees, states and errors."""

import collections
import inspect
import io
import math
import pathlib
import pickle
import re

import numpy as np
import pytest

from nadam_numba import schedules
from nadam_numba.compat import optax

Layer = collections.namedtuple("Layer", "kernel bias")
LARGEST_COUNT = 2**31 - 1


def decay(count):
    return 0.1 * 0.9 ** (int(count) / 50)


def nadamw_trajectory(
    p,
    gradients,
    learning_rate,
    b1=0.9,
    b2=0.999,
    eps=1e-8,
    eps_root=0.0,
    mu_dtype=None,
    weight_decay=0.0,
    nesterov=True,
):
    """The formulas in optax's own order, for one array: the points after each step."""
    m, v, points = np.zeros_like(p, mu_dtype), np.zeros_like(p), []
    for count, g in enumerate(gradients):
        t = count + 1
        m_full = (1 - b1) * g + (m * m.dtype.type(b1)).astype(p.dtype)
        v = (1 - b2) * (g.conj() * g).real + b2 * v
        if nesterov:
            m_hat = b1 * (m_full / (1 - b1 ** (t + 1))) + (1 - b1) * (g / (1 - b1**t))
        else:
            m_hat = m_full / (1 - b1**t)
        u = m_hat / (np.sqrt(v / (1 - b2**t) + eps_root) + eps)
        u = u + (weight_decay(count) if callable(weight_decay) else weight_decay) * p
        if learning_rate is not None:
            u = -(learning_rate(count) if callable(learning_rate) else learning_rate) * u
        p = p + u
        m = m_full.astype(m.dtype)
        points.append(p)
    return points


def random_run(dtype=np.float64, steps=60, shape=(4, 3), seed=0):
    generator = np.random.default_rng(seed)

    def draw():
        numbers = generator.standard_normal((2, *shape))
        return (numbers[0] + 1j * numbers[1] if np.dtype(dtype).kind == "c" else numbers[0]).astype(dtype)

    return draw(), [draw() for _ in range(steps)]


def pure_trajectory(solver, p, gradients):
    p, points = p.copy(), []
    state = solver.init(p)
    for g in gradients:
        updates, state = solver.update(g, state, p)
        assert optax.apply_updates(p, updates) is p
        points.append(p.copy())
    return points, state


def in_place_trajectory(solver, p, gradients):
    p, points = p.copy(order="K"), []
    state = solver.init(p)
    for g in gradients:
        state = solver.step(p, g, state)
        points.append(p.copy())
    return points, state


def leaves(tree):
    if isinstance(tree, dict):
        return [leaf for subtree in tree.values() for leaf in leaves(subtree)]
    if isinstance(tree, (list, tuple)):
        return [leaf for subtree in tree for leaf in leaves(subtree)]
    return [] if tree is None else [tree]


def assert_same(tree, other):
    for array, expected in zip(leaves(tree), leaves(other), strict=True):
        np.testing.assert_array_equal(array, expected, strict=True)


def make_params():
    generator = np.random.default_rng(1)
    return {
        "layers": [
            Layer(generator.standard_normal((4, 3)), None),
            Layer(np.asfortranarray(generator.standard_normal((3, 2))), generator.standard_normal(2)),
        ],
        "scale": (np.array(0.5), np.zeros((0, 3))),
        "strided": generator.standard_normal((6, 4))[::2, ::2],
        "single": generator.standard_normal(3).astype(np.float32),
        "phase": generator.standard_normal(4) + 1j * generator.standard_normal(4),
    }


def mapped(function, tree):
    if isinstance(tree, dict):
        return {key: mapped(function, subtree) for key, subtree in tree.items()}
    if isinstance(tree, Layer):
        return Layer(*(mapped(function, subtree) for subtree in tree))
    if isinstance(tree, (list, tuple)):
        return type(tree)(mapped(function, subtree) for subtree in tree)
    return None if tree is None else function(tree)


def make_gradients(params, seed):
    generator = np.random.default_rng(seed)
    return mapped(lambda p: (generator.standard_normal(p.shape) * (1 + (p.dtype.kind == "c"))).astype(p.dtype), params)


OPTIONS = {
    "defaults": {},
    "schedule": {"learning_rate": decay},
    "none": {"learning_rate": None},
    "uphill": {"learning_rate": -0.01},
    "b1": {"b1": 0.5},
    "zero_b1": {"b1": 0.0},
    "b2": {"b2": 0.9},
    "eps": {"eps": 1e-3},
    "zero_eps": {"eps": 0.0},
    "eps_root": {"eps_root": 1e-3},
    "adam": {"nesterov": False},
    "weight_decay": {"weight_decay": 0.1},
    "weight_decay_schedule": {"weight_decay": decay, "learning_rate": decay},
    "weight_decay_of_none": {"weight_decay": 0.1, "learning_rate": None},
    "float32_mu": {"mu_dtype": "float32"},
    "float16_mu": {"mu_dtype": np.float16, "weight_decay": 0.1},
}


def make(options):
    options = {"learning_rate": 0.01, **options}
    return (optax.nadamw if "weight_decay" in options else optax.nadam)(**options)


@pytest.mark.parametrize("name", OPTIONS)
def test_points_of_the_formulas(name):
    p, gradients = random_run()
    points, _ = pure_trajectory(make(OPTIONS[name]), p, gradients)
    expected = nadamw_trajectory(p, gradients, **{"learning_rate": 0.01, **OPTIONS[name]})
    largest = np.maximum.accumulate(np.abs(expected))
    assert (np.abs(np.array(points) - expected) <= 1e-15 + 1e-14 * largest).all()


@pytest.mark.parametrize("name", ["defaults", "eps_root", "adam", "weight_decay", "complex64_mu"])
def test_points_of_the_formulas_for_complex_numbers(name):
    options = {**OPTIONS, "complex64_mu": {"mu_dtype": "complex64"}}[name]
    p, gradients = random_run(np.complex128)
    points, state = pure_trajectory(make(options), p, gradients)
    expected = nadamw_trajectory(p, gradients, **{"learning_rate": 0.01, **options})
    np.testing.assert_allclose(points, expected, rtol=1e-14, atol=1e-15)
    assert (state[0].nu.imag == 0.0).all()
    assert (state[0].nu.real > 0.0).all()


@pytest.mark.parametrize("dtype", [np.float32, np.complex64])
def test_single_precision(dtype):
    p, gradients = random_run(dtype)
    points, state = pure_trajectory(optax.nadamw(0.01, weight_decay=0.1), p, gradients)
    expected = nadamw_trajectory(
        p.astype(np.complex128), [g.astype(np.complex128) for g in gradients], 0.01, weight_decay=0.1
    )
    np.testing.assert_allclose(points, expected, rtol=2e-6, atol=2e-6)
    assert state[0].mu.dtype == state[0].nu.dtype == points[-1].dtype == dtype


@pytest.mark.parametrize(
    ("name", "dtype"),
    [
        *((name, dtype) for name in OPTIONS for dtype in (np.float64, np.float32)),
        *((name, np.complex128) for name in OPTIONS if "mu" not in name),
    ],
)
def test_step_has_the_bits_of_update_and_apply(name, dtype):
    p, gradients = random_run(dtype, steps=20)
    for array in (p, np.asfortranarray(p), np.repeat(p, 2, axis=1)[:, ::2]):
        pure, state = pure_trajectory(make(OPTIONS[name]), array, gradients)
        in_place, other = in_place_trajectory(make(OPTIONS[name]), array, gradients)
        assert_same(in_place, pure)
        assert_same(other, state)


@pytest.mark.parametrize("solver", [optax.nadam(0.01), optax.nadamw(decay, weight_decay=0.1)], ids=["nadam", "nadamw"])
def test_trees_keep_their_containers(solver):
    params, other = make_params(), make_params()
    state, state_in_place = solver.init(params), solver.init(other)
    for seed in range(3):
        grads = make_gradients(params, seed)
        updates, state = solver.update(grads, state, params)
        returned = optax.apply_updates(params, updates)
        assert returned is params
        state_in_place = solver.step(other, grads, state_in_place)
    assert_same(other, params)
    assert_same(state_in_place, state)
    for tree in (updates, state[0].mu, state[0].nu, state_in_place[0].mu):
        assert list(tree) == list(params)
        assert isinstance(tree["layers"][0], Layer)
        assert tree["layers"][0].bias is None
        assert type(tree["scale"]) is tuple
        assert [leaf.shape for leaf in leaves(tree)] == [leaf.shape for leaf in leaves(params)]
        assert [leaf.dtype for leaf in leaves(tree)] == [leaf.dtype for leaf in leaves(params)]


def test_kinds_of_dicts_are_kept():
    params = collections.OrderedDict(b=np.ones(2), a=collections.defaultdict(list, c=np.ones(1)))
    grads = collections.OrderedDict(b=np.ones(2), a=collections.defaultdict(list, c=np.ones(1)))
    solver = optax.nadam(0.1)
    updates, state = solver.update(grads, solver.init(params))
    for tree in (updates, state[0].mu):
        assert type(tree) is collections.OrderedDict
        assert type(tree["a"]) is collections.defaultdict
        assert list(tree) == ["b", "a"]


def test_order_of_keys_does_not_matter():
    solver = optax.nadamw(0.1)
    params = {"a": np.ones(2), "b": np.zeros(3)}
    state = solver.init({"b": np.zeros(3), "a": np.ones(2)})
    updates, _ = solver.update({"b": np.ones(3), "a": -np.ones(2)}, state, params)
    optax.apply_updates(params, updates)
    assert (params["a"] > 1.0).all()
    assert (params["b"] < 0.0).all()


@pytest.mark.parametrize("tree", [{}, [], (), None])
def test_trees_without_arrays(tree):
    solver = optax.nadam(0.1)
    updates, state = solver.update(tree, solver.init(tree))
    assert updates == tree
    assert state == (optax.ScaleByAdamState(1, tree, tree), optax.EmptyState())
    assert optax.apply_updates(tree, updates) == tree


@pytest.mark.parametrize("name", ["defaults", "float16_mu", "weight_decay_schedule"])
def test_update_leaves_everything_as_it_was(name):
    solver = make(OPTIONS[name])
    params = {"a": np.arange(3.0), "b": [np.array(2.0)]}
    grads = {"a": np.ones(3), "b": [np.array(1.0)]}
    old = solver.update(grads, solver.init(params), params)[1]
    before = pickle.dumps((params, grads, old))
    updates, new = solver.update(grads, old, params)
    assert pickle.dumps((params, grads, old)) == before
    again, new_again = solver.update(grads, old, params)
    assert_same(again, updates)
    assert_same(new_again, new)
    for array in leaves((updates, new[0].mu, new[0].nu)):
        assert not any(np.may_share_memory(array, other) for other in leaves((params, grads, old[0].mu, old[0].nu)))


def test_gradients_and_moments_may_be_read_only():
    solver = optax.nadamw(0.1)
    p = np.ones(3)
    state = solver.init(p)
    arrays = [p, np.ones(3), state[0].mu, state[0].nu]
    for array in arrays:
        array.flags.writeable = False
    updates, new = solver.update(arrays[1], state, p)
    target = np.ones(3)
    stepped = solver.step(target, arrays[1], state)
    np.testing.assert_array_equal(target, p + updates)
    assert_same(stepped, new)


def test_step_takes_over_the_arrays_of_the_state():
    solver = optax.nadam(0.1)
    p = np.ones(3)
    state = solver.init(p)
    new = solver.step(p, np.ones(3), state)
    assert new[0].mu is state[0].mu
    assert new[0].nu is state[0].nu
    assert state[0].count == 0


def test_gradient_may_be_the_parameter_itself():
    solver = optax.nadam(0.1)
    p, q = np.arange(1.0, 5.0), np.arange(1.0, 5.0)
    updates, _ = solver.update(q.copy(), solver.init(q))
    solver.step(p, p, solver.init(p))
    np.testing.assert_array_equal(p, q + updates)
    p = np.arange(1.0, 6.0)
    solver.step([p[:4]], [p[1:]], solver.init([p[:4]]))
    np.testing.assert_allclose(p, [0.85263158, 1.85263158, 2.85263158, 3.85263158, 5.0])


def test_updates_may_share_memory_with_parameters():
    p = np.arange(1.0, 5.0)
    optax.apply_updates([p[:2], p[2:]], [p[2:], p[:2]])
    np.testing.assert_array_equal(p, [4.0, 6.0, 4.0, 6.0])


def test_dtypes_may_differ():
    solver = optax.nadam(0.1)
    p = np.ones(3, np.float32)
    updates, state = solver.update(np.ones(3), solver.init(p))
    assert updates.dtype == state[0].mu.dtype == np.float64
    assert state[0].nu.dtype == np.float32
    q = np.ones(3, np.float32)
    stepped = solver.step(q, np.ones(3), solver.init(q))
    optax.apply_updates(p, updates)
    assert_same([p, stepped], [q, state])


def test_numpy_scalars_are_gradients_of_arrays_without_dimensions():
    solver = optax.nadam(0.1)
    x = np.array(1.0)
    updates, _ = solver.update(np.float64(1.0), solver.init(x))
    optax.apply_updates(x, updates)
    assert math.isclose(x, 1.0 - 0.1 * 28 / 19, rel_tol=1e-7)


STATES = [
    (optax.nadam(0.1), "(ScaleByAdamState, EmptyState)"),
    (optax.nadam(None), "(ScaleByAdamState, EmptyState)"),
    (optax.nadam(decay), "(ScaleByAdamState, ScaleByScheduleState)"),
    (optax.nadamw(0.1), "(ScaleByAdamState, EmptyState, EmptyState)"),
    (optax.nadamw(0.1, weight_decay=decay), "(ScaleByAdamState, WeightDecaySchedule, EmptyState)"),
    (optax.nadamw(0.1, mask=True), "(ScaleByAdamState, MaskedState(EmptyState), EmptyState)"),
    (
        optax.nadamw(decay, weight_decay=decay, mask=True),
        "(ScaleByAdamState, MaskedState(WeightDecaySchedule), ScaleByScheduleState)",
    ),
]


def kinds(state):
    def kind(entry):
        inner = f"({kind(entry.inner_state)})" if isinstance(entry, optax.MaskedState) else ""
        return type(entry).__name__ + inner

    return f"({', '.join(map(kind, state))})"


@pytest.mark.parametrize(("solver", "expected"), STATES, ids=[expected for _, expected in STATES])
def test_kinds_of_states(solver, expected):
    p = np.ones(2)
    state = solver.init(p)
    assert kinds(state) == expected
    assert state[0].count.dtype == np.int32
    updated = solver.update(np.ones(2), state, p)[1]
    assert kinds(updated) == expected
    assert updated[0].count == 1
    assert updated[0].count.dtype == np.int32


@pytest.mark.parametrize("solver", [optax.nadam(0.1), optax.nadamw(decay, weight_decay=decay, mask=[True, False])])
def test_pickled_state_resumes_with_the_same_bits(solver):
    params = [np.ones(3), np.ones(2)]
    grads = [[np.full(3, k - 2.5), np.full(2, 1.0 / (k + 1))] for k in range(6)]
    state = solver.init(params)
    for g in grads[:3]:
        state = solver.step(params, g, state)
    solver_again, params_again, state_again = pickle.loads(pickle.dumps((solver, params, state)))
    for g in grads[3:]:
        state = solver.step(params, g, state)
        state_again = solver_again.step(params_again, g, state_again)
    assert_same([params_again, state_again], [params, state])


def test_state_resumes_from_the_arrays_of_a_file():
    solver = optax.nadam(decay)
    p, (g, *gradients) = random_run(steps=5)
    state = solver.step(p, g, solver.init(p))
    file = io.BytesIO()
    np.savez(file, p=p, count=state[0].count, mu=state[0].mu, nu=state[0].nu, schedule_count=state[1].count)
    file.seek(0)
    with np.load(file) as saved:
        q = saved["p"]
        restored = (
            optax.ScaleByAdamState(saved["count"], saved["mu"], saved["nu"]),
            optax.ScaleByScheduleState(saved["schedule_count"]),
        )
    for g in gradients:
        state, restored = solver.step(p, g, state), solver.step(q, g, restored)
    assert_same([q, restored], [p, state])


def test_count_stops_at_the_largest_int32():
    solver = optax.nadam(lambda count: 0.1 if count == LARGEST_COUNT else 0.0)
    p = np.ones(2)
    state = solver.init(p)
    state = (state[0]._replace(count=np.int32(LARGEST_COUNT)), optax.ScaleByScheduleState(np.int32(LARGEST_COUNT)))
    updates, state = solver.update(np.ones(2), state)
    assert state[0].count == state[1].count == LARGEST_COUNT
    assert state[0].count.dtype == np.int32
    # Without correction: (0.9 * 0.1 + 0.1) / sqrt(0.001).
    np.testing.assert_allclose(updates, -0.1 * 0.19 / math.sqrt(0.001), rtol=1e-6)


def test_schedules_are_asked_for_the_count_before_the_update():
    asked = {"rate": [], "decay": []}
    solver = optax.nadamw(
        lambda count: asked["rate"].append(count) or 0.1, weight_decay=lambda count: asked["decay"].append(count) or 0.1
    )
    p = np.ones(2)
    state = solver.init(p)
    for _ in range(3):
        state = solver.step(p, np.ones(2), state)
    for counts in asked.values():
        assert counts == [0, 1, 2]
        assert all(count.dtype == np.int32 for count in counts)


def test_each_schedule_has_its_own_count():
    solver = optax.nadam(lambda count: 0.1 * (count + 1))
    p = np.zeros(1)
    state = solver.init(p)
    late = (state[0], optax.ScaleByScheduleState(np.int32(9)))
    first, _ = solver.update(np.ones(1), state)
    tenth, _ = solver.update(np.ones(1), late)
    np.testing.assert_allclose(tenth, 10 * first, rtol=1e-15)


def test_schedules_of_this_package():
    p, gradients = random_run(steps=10)
    points, _ = pure_trajectory(optax.nadam(schedules.exponential_decay(0.1, 50, 0.9)), p, gradients)
    expected, _ = pure_trajectory(optax.nadam(decay), p, gradients)
    np.testing.assert_allclose(points, expected, rtol=1e-14)


@pytest.mark.parametrize(
    ("mask", "decayed"),
    [
        (None, [True, True, True]),
        (True, [True, True, True]),
        (False, [False, False, False]),
        ({"a": True, "b": False}, [True, True, False]),
        ({"a": [False, np.True_], "b": True}, [False, True, True]),
        (lambda tree: {"a": tree["b"].ndim == 2, "b": True}, [False, False, True]),
    ],
    ids=["none", "all", "nothing", "prefix", "leaves", "function"],
)
def test_mask(mask, decayed):
    solver = optax.nadamw(0.1, weight_decay=0.5, mask=mask)
    params = {"a": [np.ones(2), np.ones(())], "b": np.ones(3)}
    other = {"a": [np.ones(2), np.ones(())], "b": np.ones(3)}
    grads = {"a": [np.zeros(2), np.zeros(())], "b": np.zeros(3)}
    updates, _ = solver.update(grads, solver.init(params), params)
    optax.apply_updates(params, updates)
    solver.step(other, grads, solver.init(other))
    assert_same(other, params)
    for array, is_decayed in zip(leaves(params), decayed, strict=True):
        np.testing.assert_allclose(array, 0.95 if is_decayed else 1.0, rtol=1e-15)


def test_infinite_parameter_stays_where_nothing_decays():
    solver = optax.nadamw(0.1, weight_decay=0.0)
    p = np.array([np.inf, 1.0])
    updates, _ = solver.update(np.ones(2), solver.init(p), p)
    assert np.isfinite(updates).all()


def test_extra_arguments_are_ignored():
    solver = optax.nadam(0.1)
    p = np.ones(2)
    updates, _ = solver.update(p, solver.init(p), None, value=3.0)
    assert (updates < 0.0).all()


def test_unpacks_into_a_pair():
    init, update = optax.nadam(0.1)
    updates, _ = update(np.ones(2), init(np.ones(2)))
    assert (updates < 0.0).all()


@pytest.mark.parametrize("other", [lambda *arguments: None, [].append])
def test_step_needs_the_update_it_was_made_with(other):
    solver = optax.nadam(0.1)
    p = np.ones(2)
    state = solver.init(p)
    with pytest.raises(TypeError, match=r"update=.* is not what nadam or nadamw made"):
        solver._replace(update=other).step(p, np.ones(2), state)
    assert (p == 1.0).all()
    solver._replace(init=other).step(p, np.ones(2), state)
    assert (p < 1.0).all()


def test_numbers_may_be_arrays_without_dimensions():
    p, gradients = random_run(steps=5)
    numbers = {"learning_rate": 0.01, "b1": 0.8, "b2": 0.99, "eps": 1e-6, "eps_root": 1e-6, "weight_decay": 0.1}
    expected, _ = pure_trajectory(optax.nadamw(**numbers), p, gradients)
    points, _ = pure_trajectory(optax.nadamw(**{k: np.array(v) for k, v in numbers.items()}), p, gradients)
    assert_same(points, expected)


@pytest.mark.parametrize("scalar_dtype", ["float64", np.float64, np.dtype(float)])
def test_scalar_dtype(scalar_dtype):
    p, gradients = random_run(steps=5)
    expected, _ = pure_trajectory(optax.nadam(0.01), p, gradients)
    points, _ = pure_trajectory(optax.nadam(0.01, scalar_dtype=scalar_dtype), p, gradients)
    assert_same(points, expected)


def test_signatures():
    names = ["learning_rate", "b1", "b2", "eps", "eps_root", "mu_dtype"]
    for function, positional in ((optax.nadam, names), (optax.nadamw, [*names, "weight_decay", "mask"])):
        parameters = inspect.signature(function).parameters
        assert list(parameters) == [*positional, "nesterov", "scalar_dtype"]
        assert all(parameters[name].kind is inspect.Parameter.POSITIONAL_OR_KEYWORD for name in positional)
        assert parameters["nesterov"].kind is inspect.Parameter.KEYWORD_ONLY


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"learning_rate": "fast"}, TypeError, r"learning_rate='fast'"),
        ({"learning_rate": math.inf}, ValueError, r"learning_rate=inf: it must be a finite number"),
        ({"learning_rate": np.ones(2)}, TypeError, r"learning_rate=array"),
        ({"b1": 1.0}, ValueError, r"b1=1\.0: it must be a number in \[0, 1\)"),
        ({"b2": -0.1}, ValueError, r"b2=-0\.1"),
        ({"b2": "0.9"}, TypeError, r"b2='0\.9'"),
        ({"eps": math.nan}, ValueError, r"eps=nan"),
        ({"eps_root": -1e-8}, ValueError, r"eps_root=-1e-08"),
        ({"nesterov": 1}, TypeError, r"nesterov=1"),
        ({"mu_dtype": "float33"}, TypeError, r"mu_dtype='float33'"),
        ({"mu_dtype": np.int32}, TypeError, r"mu_dtype=.*int32"),
        ({"mu_dtype": "U3"}, TypeError, r"mu_dtype='U3'"),
        ({"weight_decay": -0.1}, ValueError, r"weight_decay=-0\.1"),
        ({"weight_decay": None}, TypeError, r"weight_decay=None"),
        ({"scalar_dtype": "float32"}, ValueError, r"scalar_dtype='float32'"),
        ({"scalar_dtype": np.float32}, ValueError, r"scalar_dtype=.*float32"),
    ],
)
def test_bad_arguments(options, error, message):
    with pytest.raises(error, match=message):
        optax.nadamw(**{"learning_rate": 0.1, **options})


@pytest.mark.parametrize("function", [optax.nadam, optax.nadamw])
def test_learning_rate_is_required(function):
    with pytest.raises(TypeError, match="learning_rate"):
        function()


@pytest.mark.parametrize(
    ("solver", "params", "error", "message"),
    [
        (optax.nadam(0.1), [1.0], TypeError, r"params\[0\]=1\.0 is a float: it must be an array"),
        (optax.nadam(0.1), {"a": np.ones(2, int)}, TypeError, r"params\['a'\] has dtype int64"),
        (optax.nadam(0.1, mu_dtype="complex64"), np.ones(2), TypeError, r"mu_dtype has dtype complex64"),
        (optax.nadam(0.1, mu_dtype="float32"), np.ones(2, complex), TypeError, r"mu_dtype has dtype float32"),
        (optax.nadamw(0.1, mask=[True]), [np.ones(2)] * 2, ValueError, r"params has the keys \[0, 1\]"),
        (optax.nadamw(0.1, mask={"a": True}), [np.ones(2)], ValueError, r"params=.* it must be a dict, as mask is"),
        (optax.nadamw(0.1, mask=[[True]]), [np.ones(2)], ValueError, r"params\[0\]=.* must be a list, as mask\[0\]"),
        (optax.nadamw(0.1, mask=[None]), [np.ones(2)], ValueError, r"params\[0\]=.* must be a NoneType"),
        (optax.nadamw(0.1, mask=["all"]), [np.ones(2)], ValueError, r"mask\[0\]='all': it must be True or False"),
        (optax.nadamw(0.1, mask=np.array([True])), np.ones(1), ValueError, r"mask=array"),
    ],
)
def test_bad_parameters(solver, params, error, message):
    with pytest.raises(error, match=message):
        solver.init(params)


def state_with(**changes):
    def change(state):
        return (state[0]._replace(**changes), *state[1:])

    return change


ERRORS = {
    "missing_key": ({"a": np.ones(2)}, None, ValueError, r"state\[0\]\.mu has the keys \['a', 'b'\]"),
    "other_container": ([np.ones(2)], None, ValueError, r"state\[0\]\.mu=.* is a dict: it must be a list, as grads is"),
    "tuple_for_list": ({"a": np.ones(2), "b": (np.ones(3),)}, None, ValueError, r"mu\['b'\]=.* must be a tuple"),
    "none": ({"a": None, "b": [np.ones(3)]}, None, ValueError, r"mu\['a'\]=.* must be a NoneType, as grads\['a'\] is"),
    "list_for_array": ({"a": [1.0, 2.0], "b": [np.ones(3)]}, None, ValueError, r"mu\['a'\]=.* must be a list"),
    "array_for_list": ({"a": np.ones(2), "b": np.ones(3)}, None, TypeError, r"state\[0\]\.mu\['b'\]=.* is a list"),
    "number": ({"a": 1.0, "b": [np.ones(3)]}, None, TypeError, r"grads\['a'\]=1\.0 is a float"),
    "shape": ({"a": np.ones(3), "b": [np.ones(3)]}, None, TypeError, r"grads\['a'\] has shape \(3,\).* has \(2,\)"),
    "broadcast": ({"a": np.ones(1), "b": [np.ones(3)]}, None, TypeError, r"grads\['a'\] has shape \(1,\)"),
    "complex": ({"a": np.ones(2, complex), "b": [np.ones(3)]}, None, TypeError, r"grads\['a'\] has dtype complex128"),
    "integer": ({"a": np.ones(2, int), "b": [np.ones(3)]}, None, TypeError, r"grads\['a'\] has dtype int64"),
    "last_leaf": ({"a": np.ones(2), "b": [np.ones(4)]}, None, TypeError, r"grads\['b'\]\[0\] has shape \(4,\)"),
    "short_state": (..., lambda state: state[:2], ValueError, r"state has 2 entries: it must have 3"),
    "no_state": (..., lambda state: None, TypeError, "NoneType"),
    "negative_count": (..., state_with(count=-1), ValueError, r"state\[0\]\.count=-1"),
    "fractional_count": (..., state_with(count=0.5), TypeError, r"state\[0\]\.count=0\.5"),
    "mu_of_integers": (
        ...,
        state_with(mu={"a": np.ones(2, int), "b": [np.ones(3)]}),
        TypeError,
        r"state\[0\]\.mu\['a'\] has dtype int64",
    ),
    "mu_of_other_shape": (
        ...,
        state_with(mu={"a": np.ones(3), "b": [np.ones(3)]}),
        TypeError,
        r"state\[0\]\.mu\['a'\] has shape \(3,\)",
    ),
    "schedule": (..., lambda state: (*state[:2], state[2]._replace(count=7)), ValueError, r"learning_rate\(7\)=inf"),
}


@pytest.mark.parametrize("method", ["update", "step"])
@pytest.mark.parametrize("name", ERRORS)
def test_errors_leave_everything_as_it_was(name, method):
    grads, change, error, message = ERRORS[name]
    solver = optax.nadamw(lambda count: math.inf if count == 7 else 0.1)
    params = {"a": np.ones(2), "b": [np.ones(3)]}
    if grads is ...:
        grads = {"a": np.ones(2), "b": [np.ones(3)]}
    state = solver.step(params, {"a": np.ones(2), "b": [np.ones(3)]}, solver.init(params))
    changed = state if change is None else change(state)
    before = pickle.dumps((params, state))
    arguments = {"update": (grads, changed, params), "step": (params, grads, changed)}
    with pytest.raises(error, match=message):
        getattr(solver, method)(*arguments[method])
    assert pickle.dumps((params, state)) == before


@pytest.mark.parametrize(
    ("params", "error", "message"),
    [
        (None, ValueError, "params=None: weight decay needs the current parameters"),
        ([np.ones(2), np.ones(2)], ValueError, r"params has the keys \[0, 1\]"),
        ([None], TypeError, r"params\[0\]=None is a NoneType: it must be an array"),
        ([np.ones(3)], TypeError, r"params\[0\] has shape \(3,\)"),
        ([np.ones(2, np.float32)], TypeError, r"params\[0\] has dtype float32: its state has float64"),
        ([1.0], TypeError, r"params\[0\]=1\.0"),
    ],
)
def test_weight_decay_needs_fitting_parameters(params, error, message):
    solver = optax.nadamw(0.1)
    state = solver.init([np.ones(2)])
    with pytest.raises(error, match=message):
        solver.update([np.ones(2)], state, params)


@pytest.mark.parametrize(
    ("make_bad", "error", "message"),
    [
        (lambda p: np.broadcast_to(p, (2, 2)), ValueError, r"params\[1\] is read-only"),
        (lambda p: p.astype(int), TypeError, r"params\[1\] has dtype int64"),
        (lambda p: 1.0, TypeError, r"params\[1\]=1\.0"),
    ],
)
def test_parameters_that_cannot_be_written(make_bad, error, message):
    solver = optax.nadam(0.1)
    good, ones = np.ones(2), [np.ones(2), np.ones(2)]
    params, state = [good, make_bad(np.ones(2))], solver.init(ones)
    with pytest.raises(error, match=message):
        solver.step(params, ones, state)
    with pytest.raises(error, match=message):
        optax.apply_updates(params, ones)
    np.testing.assert_array_equal(good, 1.0)


def test_parameters_must_not_share_memory():
    p = np.ones(3)
    solver = optax.nadam(0.1)
    with pytest.raises(ValueError, match="share memory"):
        solver.step([p, p[1:]], [np.ones(3), np.ones(2)], solver.init([p, p[1:]]))
    with pytest.raises(ValueError, match="share memory"):
        optax.apply_updates([p, p], [np.ones(3), np.ones(3)])
    np.testing.assert_array_equal(p, 1.0)


def test_moments_must_not_share_memory_in_a_step():
    p, zeros = np.ones(3), np.zeros(3)
    solver = optax.nadam(0.1)
    state = (optax.ScaleByAdamState(0, zeros, zeros), optax.EmptyState())
    with pytest.raises(ValueError, match=r"state\[0\]\.mu and state\[0\]\.nu share memory"):
        solver.step(p, np.ones(3), state)
    np.testing.assert_array_equal(p, 1.0)
    np.testing.assert_array_equal(zeros, 0.0)
    updates, _ = solver.update(np.ones(3), state)
    expected, _ = solver.update(np.ones(3), solver.init(p))
    np.testing.assert_array_equal(updates, expected)


def test_gradient_may_be_a_moment():
    solver = optax.nadam(0.1)
    p = np.ones(6)
    state = solver.step(p, np.arange(6.0), solver.init(p))
    updates, _ = solver.update(state[0].nu[::-1], state)
    expected = p + updates
    solver.step(p, state[0].nu[::-1], state)
    np.testing.assert_array_equal(p, expected)


@pytest.mark.parametrize(
    ("updates", "error", "message"),
    [
        ([np.ones(2), np.ones(2)], TypeError, r"updates\[1\] has shape \(2,\): its parameter has \(3,\)"),
        ([np.ones(2), np.ones(3, complex)], TypeError, r"updates\[1\] has dtype complex128"),
        ([np.ones(2), None], TypeError, r"updates\[1\]=None"),
        ([np.ones(2)], ValueError, r"updates has the keys \[0\]"),
        ({0: np.ones(2), 1: np.ones(3)}, ValueError, r"updates=.* is a dict: it must be a list"),
    ],
)
def test_updates_that_do_not_fit(updates, error, message):
    params = [np.ones(2), np.ones(3)]
    with pytest.raises(error, match=message):
        optax.apply_updates(params, updates)
    assert_same(params, [np.ones(2), np.ones(3)])


def test_examples_of_the_documentation_run():
    page = pathlib.Path(__file__).parents[1] / "docs" / "compat" / "optax.md"
    examples = re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    names = {}
    for example in examples:
        exec(example, names)
    assert np.abs(names["params"]["weights"]).max() < 0.1
    assert names["saved"][0].count == 8
