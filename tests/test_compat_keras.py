"""nadam_numba.compat.keras.Nadam by itself: against independent formulas in NumPy, and its interface."""

import copy
import json
import math
import pathlib
import pickle
import re
import warnings

import numpy as np
import pytest
import scipy.sparse

from nadam_numba import schedules
from nadam_numba.compat.keras import Nadam, Variable

EXACT = {"scalar_dtype": "float64"}


@pytest.fixture(autouse=True)
def _no_backend(monkeypatch):
    monkeypatch.delenv("KERAS_BACKEND", raising=False)


def problem(seed=0, steps=12, dtype=np.float64):
    random = np.random.default_rng(seed)
    params = [random.standard_normal(shape).astype(dtype) for shape in [(5,), (3, 2)]]
    gradients = [[random.standard_normal(p.shape).astype(dtype) for p in params] for _ in range(steps)]
    return params, gradients


def naive(params, gradients, lr=0.001, b1=0.9, b2=0.999, eps=1e-7, wd=0.0, clip=None, k=1, ema=None, every=None):
    """Keras's rule, written from its description; `lr` is a function of the call, `clip` one of the gradients."""
    p = [x.copy() for x in params]
    m, v, sums, averages = ([np.zeros_like(x) for x in p] for _ in range(4))
    product, t, points = 1.0, 0, []
    for call, grads in enumerate(gradients):
        rate = lr(call) if callable(lr) else lr
        before = t
        for s, g in zip(sums, grads, strict=True):
            s += g
        if (call + 1) % k == 0:
            t += 1
            grads = [s / k for s in sums]
            sums = [np.zeros_like(x) for x in p]
            grads = clip(grads) if clip else grads
            mu, mu_next = (b1 * (1 - 0.5 * 0.96**i) for i in (t, t + 1))
            product *= mu
            for i, g in enumerate(grads):
                p[i] = p[i] - rate * wd * p[i]
                m[i] = b1 * m[i] + (1 - b1) * g
                v[i] = b2 * v[i] + (1 - b2) * g * g
                m_hat = mu_next * m[i] / (1 - product * mu_next) + (1 - mu) * g / (1 - product)
                p[i] = p[i] - rate * m_hat / (np.sqrt(v[i] / (1 - b2**t)) + eps)
        if ema is not None:
            momentum = ema if before else 0.0
            averages = [momentum * a + (1 - momentum) * x for a, x in zip(averages, p, strict=True)]
            if every and (before + 1) % every == 0:
                p = [a.copy() for a in averages]
        points.append([x.copy() for x in p])
    return points, averages


def clip_norm(grads):
    return [g * min(1.0, 0.5 / np.linalg.norm(g)) for g in grads]


def clip_value(grads):
    return [np.clip(g, -0.25, 0.25) for g in grads]


def clip_all(grads):
    norm = math.sqrt(sum((g * g).sum() for g in grads))
    return [g * min(1.0, 0.75 / norm) for g in grads]


def points_of(optimizer, params, gradients):
    points = []
    for grads in gradients:
        optimizer.apply(grads, params)
        points.append([p.copy() for p in params])
    return points


def assert_close(ours, theirs, rtol=1e-13):
    for a, b in zip(ours, theirs, strict=True):
        for x, y in zip(a, b, strict=True):
            np.testing.assert_allclose(x, y, rtol=rtol, atol=1e-14)


@pytest.mark.parametrize("backend", ["tensorflow", "jax", "torch"])
@pytest.mark.parametrize(
    ("options", "formula"),
    [
        ({}, {}),
        (
            {"learning_rate": 0.1, "beta_1": 0.5, "beta_2": 0.9, "epsilon": 1e-3},
            {"lr": 0.1, "b1": 0.5, "b2": 0.9, "eps": 1e-3},
        ),
        ({"learning_rate": 0.1, "weight_decay": 0.5}, {"lr": 0.1, "wd": 0.5}),
        ({"clipnorm": 0.5}, {"clip": clip_norm}),
        ({"clipvalue": 0.25}, {"clip": clip_value}),
        ({"global_clipnorm": 0.75}, {"clip": clip_all}),
        ({"clipnorm": 0.0}, {}),
        ({"clipvalue": -1.0}, {}),
        ({"gradient_accumulation_steps": 3}, {"k": 3}),
        ({"gradient_accumulation_steps": 0}, {}),
        (
            {"learning_rate": schedules.exponential_decay(0.1, 5, 0.5), "gradient_accumulation_steps": 2},
            {"lr": lambda call: 0.1 * 0.5 ** (call / 5), "k": 2},
        ),
        ({"use_ema": True, "ema_momentum": 0.5, "ema_overwrite_frequency": 3}, {"ema": 0.5, "every": 3}),
        (
            {"use_ema": True, "gradient_accumulation_steps": 2, "ema_overwrite_frequency": 2},
            {"ema": 0.99, "every": 2, "k": 2},
        ),
    ],
)
def test_formula(backend, options, formula):
    params, gradients = problem()
    expected, averages = naive(params, gradients, **formula)
    optimizer = Nadam(**options, backend=backend, **EXACT)
    assert_close(points_of(optimizer, params, gradients), expected)
    if options.get("use_ema"):
        optimizer.finalize_variable_values(params)
        assert_close([params], [averages])


def test_loss_scale():
    params, gradients = problem()
    expected, _ = naive(params, gradients)
    optimizer = Nadam(loss_scale_factor=8.0, **EXACT)
    assert_close(points_of(optimizer, params, [[8.0 * g for g in grads] for grads in gradients]), expected)
    assert optimizer.scale_loss(2.0) == 16.0
    assert Nadam().scale_loss(2.0) == 2.0


def test_float32():
    params, gradients = problem(dtype=np.float32)
    expected, _ = naive([p.astype(float) for p in params], gradients)
    assert_close(points_of(Nadam(), params, gradients), expected, rtol=1e-5)


def test_rounding_of_the_rate_by_backend():
    """One step from 0 with a constant gradient is the learning rate, but for epsilon and the decay rates."""

    def first_step(**options):
        param = np.zeros(())
        Nadam(epsilon=0.0, beta_2=0.0, beta_1=0.0, **options).apply([np.float64(1.0)], [param])
        return -float(param)

    single = float(np.float32(0.1))
    assert first_step(learning_rate=0.1, backend="jax") == single
    assert first_step(learning_rate=0.1, backend="jax", floatx="float64") == 0.1
    assert first_step(learning_rate=0.1, backend="jax", scalar_dtype="float64") == 0.1
    assert first_step(learning_rate=lambda: 0.1, backend="jax") == 0.1
    assert first_step(learning_rate=lambda: 0.1, backend="torch") == 0.1
    assert first_step(learning_rate=lambda step: 0.1, backend="torch") == single
    assert first_step(learning_rate=lambda: 0.1, backend="tensorflow", floatx="float64") == single


def test_decay_factor_of_torch_is_single():
    param = np.ones(())
    Nadam(0.1, weight_decay=0.1, backend="torch").apply([np.float64(0.0)], [param])
    single = np.float32
    assert float(param) == float(single(1.0) - single(0.1) * single(0.1))


def test_backend_is_that_of_keras(monkeypatch):
    def rate(**options):
        return Nadam(learning_rate=lambda: 0.1, beta_2=0.0, beta_1=0.0, epsilon=0.0, **options)

    def step(optimizer):
        param = np.zeros(())
        optimizer.apply([np.float64(1.0)], [param])
        return -float(param)

    assert step(rate()) == float(np.float32(0.1))  # tensorflow
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    assert step(rate()) == 0.1
    monkeypatch.setenv("KERAS_BACKEND", "numpy")
    with pytest.raises(ValueError, match="KERAS_BACKEND='numpy'"):
        Nadam()


def test_sums_of_missing_gradients_by_backend():
    """Only JAX keeps what a variable without gradient in the update has gathered."""

    def sum_after_update(backend):
        params = [np.zeros(2), np.zeros(2)]
        optimizer = Nadam(gradient_accumulation_steps=2, backend=backend)
        optimizer.apply([np.ones(2), np.ones(2)], params)
        with pytest.warns(UserWarning, match="do not exist"):
            optimizer.apply([np.ones(2), None], params)
        return optimizer.variables[3][0]

    assert sum_after_update("jax") == 1.0
    assert sum_after_update("torch") == sum_after_update("tensorflow") == 0.0


def test_rows():
    """The first moment takes the sum of rows of one index, the second the sum of their squares."""
    table, rows = np.zeros((4, 2)), np.array([[1.0, 2.0], [3.0, -1.0], [0.5, 0.5]])
    optimizer = Nadam(**EXACT)
    optimizer.apply([(np.array([1, 1, 3]), rows)], [table])
    _, _, momentum, velocity, _ = optimizer.variables
    np.testing.assert_allclose(momentum[1], 0.1 * (rows[0] + rows[1]))
    np.testing.assert_allclose(velocity[1], 0.001 * (rows[0] ** 2 + rows[1] ** 2))
    assert (momentum[[0, 2]] == 0.0).all()


def test_rows_with_loss_scale_and_clipping():
    """Keras cannot divide sparse gradients; the rule is that of its dense ones."""
    rows = np.array([[4.0, 2.0], [4.0, -1.0]])
    table = np.zeros((3, 2))
    optimizer = Nadam(loss_scale_factor=2.0, clipvalue=1.0, **EXACT)
    optimizer.apply([(np.array([1, 1]), rows)], [table])
    np.testing.assert_allclose(optimizer.variables[2][1], [0.2, 0.05])


def test_sparse_matrix_is_as_dense():
    matrix = scipy.sparse.random(6, 3, density=0.4, random_state=0, dtype=np.float64)
    sparse, dense = np.ones((6, 3)), np.ones((6, 3))
    Nadam().apply([matrix.tocsr()], [sparse])
    Nadam().apply([matrix.toarray()], [dense])
    np.testing.assert_array_equal(sparse, dense)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("given", [np.float16, np.float32, np.float64, np.int64, bool])
def test_gradients_are_converted_to_the_dtype_of_their_variable(dtype, given):
    numbers = np.array([[0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    rows = np.array([2, 0]), np.array([[1.0, 1.0], [0.0, 1.0]])
    pairs = [
        (numbers.astype(given), numbers.astype(dtype)),
        ((rows[0], rows[1].astype(given)), (rows[0], rows[1].astype(dtype))),
        ((rows[0], rows[1].astype(given).tolist()), (rows[0], rows[1].astype(dtype))),
    ]
    if given is not np.float16:  # which scipy.sparse has not
        pairs.append(tuple(scipy.sparse.coo_array(numbers.astype(kind)) for kind in (given, dtype)))
    for gradient, same in pairs:
        p, q = np.ones((3, 2), dtype), np.ones((3, 2), dtype)
        Nadam(0.1).apply([gradient], [p])
        Nadam(0.1).apply([same], [q])
        assert (p != 1.0).any()
        np.testing.assert_array_equal(p, q)


@pytest.mark.parametrize("gradient", [2, 2.0, np.float64(2.0), np.int32(2)])
def test_numbers_are_gradients_of_variables_without_dimensions(gradient):
    p, q = np.ones((), np.float32), np.ones((), np.float32)
    Nadam(0.1, gradient_accumulation_steps=2).apply([gradient], [p])
    assert p == 1.0
    Nadam(0.1).apply([gradient], [p])
    Nadam(0.1).apply([np.float32(2.0)], [q])
    assert p == q != 1.0


def test_gradients_beyond_single_precision_become_infinite():
    p, g = np.ones(2, np.float32), np.array([1e300, 1.0])
    with np.errstate(all="ignore"):  # NumPy would warn where the kernels run uncompiled
        Nadam(0.1).apply([g], [p])
    assert np.isnan(p).tolist() == [True, False]
    assert g.tolist() == [1e300, 1.0]


@pytest.mark.parametrize("backend", ["tensorflow", "jax", "torch"])
@pytest.mark.parametrize("clipvalue", [np.inf, 1e300])
def test_an_infinite_clipvalue_clips_nothing(backend, clipvalue):
    params, gradients = problem()
    others = [p.copy() for p in params]
    optimizer = Nadam(0.1, clipvalue=clipvalue, backend=backend)
    for step in gradients:
        optimizer.apply(step, params)
    plain = Nadam(0.1, backend=backend)
    for step in gradients:
        plain.apply(step, others)
    for p, q in zip(params, others, strict=True):
        np.testing.assert_array_equal(p, q)
    assert Nadam.from_config(optimizer.get_config()).clipvalue == clipvalue


NUMBERS = ["beta_1", "beta_2", "epsilon", "weight_decay", "clipnorm", "clipvalue", "global_clipnorm"]
NUMBERS += ["ema_momentum", "loss_scale_factor"]


@pytest.mark.parametrize("name", NUMBERS)
def test_neither_nan_nor_bools_are_numbers(name):
    with pytest.raises(ValueError, match=f"{name}=nan"):
        Nadam(use_ema=True, **{name: math.nan})
    with pytest.raises(TypeError, match=f"{name}=True"):
        Nadam(use_ema=True, **{name: True})


@pytest.mark.parametrize("name", ["clipnorm", "global_clipnorm"])
def test_norms_are_finite(name):
    with pytest.raises(ValueError, match=f"{name}=inf"):
        Nadam(**{name: math.inf})


@pytest.mark.parametrize("backend", ["tensorflow", "jax", "torch"])
def test_names_are_matched_as_they_were_given(backend):
    variables = [Variable(np.ones(2), "bias"), Variable(np.ones(2), "bias_of_it")]
    optimizer = Nadam(0.1, weight_decay=0.5, backend=backend)
    optimizer.exclude_from_weight_decay(var_names=["bias$"])
    optimizer.apply([np.zeros(2)] * 2, variables)
    assert [v.value[0] for v in variables] == [1.0, pytest.approx(0.95)]


def test_finalize_needs_a_built_optimizer():
    with pytest.raises(ValueError, match="needs an optimizer that is built"):
        Nadam(use_ema=True).finalize_variable_values([np.ones(2)])


def test_missing_gradients():
    params, gradients = problem()
    optimizer = Nadam(weight_decay=0.1, use_ema=True)
    optimizer.apply(gradients[0], params)
    before = params[1].copy()
    with pytest.warns(UserWarning, match=r"variables \[1\]"):
        optimizer.apply([gradients[1][0], None], params)
    np.testing.assert_array_equal(params[1], before)
    assert optimizer.iterations == 2
    with pytest.raises(ValueError, match="No gradients provided"):
        optimizer.apply([None, None], params)
    assert optimizer.iterations == 2


def test_some_variables_in_any_order():
    params, gradients = problem()
    others = [p.copy() for p in params]
    optimizer, other = Nadam(0.1), Nadam(0.1)
    optimizer.build(params)
    other.build(others)
    for a, b in gradients:
        optimizer.apply([b, a], params[::-1])
        other.apply([a, b])
    for p, q in zip(params, others, strict=True):
        np.testing.assert_array_equal(p, q)
    before = params[1].copy()
    optimizer.apply([gradients[0][0]], params[:1])
    np.testing.assert_array_equal(params[1], before)


def test_apply_gradients_counts_calls():
    params, gradients = problem()
    optimizer = Nadam(gradient_accumulation_steps=2)
    counts = [optimizer.apply_gradients(zip(grads, params, strict=True)) for grads in gradients[:3]]
    assert counts == [1, 2, 3]
    assert optimizer.iterations == 1
    optimizer.apply([])
    assert optimizer.apply_gradients(zip(gradients[0], params, strict=True)) == 4


def test_schedules_see_calls():
    seen = []

    def schedule(step):
        seen.append(step)
        return 0.1

    params, gradients = problem()
    points_of(Nadam(schedule, gradient_accumulation_steps=2), params, gradients[:4])
    assert seen == [0, 1, 2, 3]


def test_function_without_arguments_may_have_optional_ones():
    def rate(value=0.25):
        return value

    assert Nadam(rate).learning_rate == 0.25


def test_tensors_as_rates():
    class Tensor:
        def __float__(self):
            return 0.25

    assert Nadam(lambda step: Tensor()).learning_rate == 0.25


@pytest.mark.parametrize("rate", [-0.1, math.nan, math.inf])
def test_bad_rate_of_schedule_leaves_everything(rate):
    params, gradients = problem()
    optimizer = Nadam(lambda step: rate)
    before = [p.copy() for p in params]
    with pytest.raises(ValueError, match="learning_rate"):
        optimizer.apply(gradients[0], params)
    assert optimizer.iterations == 0
    for p, q in zip(params, before, strict=True):
        np.testing.assert_array_equal(p, q)


def test_setting_the_rate():
    optimizer = Nadam(0.1)
    assert optimizer.learning_rate == float(np.float32(0.1))
    optimizer.learning_rate = 1
    assert optimizer.learning_rate == 1.0
    with pytest.raises(ValueError, match=r"learning_rate=-1\.0"):
        optimizer.learning_rate = -1.0
    with pytest.raises(TypeError, match="learning_rate='x'"):
        optimizer.learning_rate = "x"
    optimizer.learning_rate = lambda: 0.5
    assert optimizer.learning_rate == 0.5
    with pytest.raises(AttributeError, match="function"):
        optimizer.learning_rate = 0.1
    optimizer.learning_rate = schedules.cosine_decay(0.1, 10)
    with pytest.raises(TypeError, match="schedule"):
        optimizer.learning_rate = 0.1
    assert len(optimizer.variables) == 1


def test_changed_settings_take_effect():
    params, gradients = problem()
    expected, _ = naive(params, gradients, b1=0.5, clip=clip_norm, wd=0.5)
    optimizer = Nadam(**EXACT)
    optimizer.build(params)
    optimizer.beta_1 = 0.5
    optimizer.clipnorm = 0.5
    optimizer.weight_decay = 0.5
    assert_close(points_of(optimizer, params, gradients), expected)
    with pytest.raises(ValueError, match="only one"):
        optimizer.clipvalue = 1.0
    assert optimizer.clipvalue is None
    with pytest.raises(AttributeError):
        optimizer.use_ema = True
    with pytest.raises(AttributeError):
        optimizer.learning_rte = 0.1


def test_variables():
    params, gradients = problem(dtype=np.float32)
    optimizer = Nadam(0.5, use_ema=True, gradient_accumulation_steps=2)
    assert [v.item() for v in optimizer.variables] == [0, 0.5]
    assert not optimizer.built
    optimizer.apply(gradients[0], params)
    assert optimizer.built
    iteration, rate, *arrays, product = optimizer.variables
    shapes = [(5,), (3, 2)]
    assert [a.shape for a in arrays] == [*shapes, *shapes, (5,), (5,), (3, 2), (3, 2)]
    assert (iteration.item(), rate.item(), product.item()) == (1, 0.5, 1.0)
    assert product.dtype == np.float32
    np.testing.assert_array_equal(arrays[2], gradients[0][0])
    with pytest.raises(ValueError, match="read-only"):
        arrays[0][0] = 1.0
    optimizer.apply(gradients[1], params)
    assert (arrays[2] == 0.0).all()  # they are views
    assert optimizer.variables[-1].item() == pytest.approx(0.9 * (1 - 0.5 * 0.96))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("backend", ["tensorflow", "jax", "torch"])
@pytest.mark.parametrize("way", ["store", "weights", "pickle", "deepcopy", "stateless"])
def test_going_on_with_the_same_bits(dtype, backend, way):
    options = {
        "learning_rate": 0.1,
        "weight_decay": 0.1,
        "gradient_accumulation_steps": 3,
        "use_ema": True,
        "ema_momentum": 0.75,
        "ema_overwrite_frequency": 2,
        "backend": backend,
    }
    params, gradients = problem(dtype=dtype)
    expected = points_of(Nadam(**options), [p.copy() for p in params], gradients)[-1]
    optimizer = Nadam(**options)
    points_of(optimizer, params, gradients[:7])
    if way == "pickle":
        optimizer, params = pickle.loads(pickle.dumps((optimizer, params)))
    elif way == "deepcopy":
        optimizer, params = copy.deepcopy((optimizer, params))
    elif way == "stateless":
        state = optimizer.get_weights()
        for grads in gradients[7:]:
            params, state = optimizer.stateless_apply(state, grads, params)
        assert optimizer.iterations == 2
    else:
        twin = Nadam.from_config(optimizer.get_config())
        twin.build(params)
        if way == "store":
            store = {}
            optimizer.save_own_variables(store)
            twin.load_own_variables(store)
        else:
            twin.set_weights(optimizer.get_weights())
        optimizer = twin
    if way != "stateless":
        points_of(optimizer, params, gradients[7:])
        assert optimizer.iterations == 4
    for p, q in zip(params, expected, strict=True):
        np.testing.assert_array_equal(p, q)


def test_saved_state_is_a_copy():
    params, gradients = problem()
    optimizer = Nadam()
    optimizer.apply(gradients[0], params)
    store = {}
    optimizer.save_own_variables(store)
    kept = store["2"].copy()
    optimizer.apply(gradients[1], params)
    np.testing.assert_array_equal(store["2"], kept)


def test_bad_state_is_refused_and_changes_nothing():
    params, gradients = problem()
    optimizer = Nadam()
    optimizer.apply(gradients[0], params)
    before = optimizer.get_weights()
    for position, value, message in [
        (0, np.array(-1), "weights"),
        (1, np.array(-0.5), "weights"),
        (2, np.zeros(4), "shape"),
        (3, -np.ones(5), "weights .*second_moment"),
        (6, np.array(2.0), "weights .*mu_product"),
    ]:
        weights = list(before)
        weights[position] = value
        with pytest.raises(ValueError, match=message):
            optimizer.set_weights(weights)
    with pytest.raises(ValueError, match="6 entries"):
        optimizer.set_weights(before[:-1])
    with pytest.raises(KeyError):
        optimizer.load_own_variables({f"x{i}": w for i, w in enumerate(before)})
    for a, b in zip(optimizer.get_weights(), before, strict=True):
        np.testing.assert_array_equal(a, b)


def test_loading_another_number_of_variables_is_skipped():
    params, gradients = problem()
    optimizer = Nadam()
    optimizer.apply(gradients[0], params)
    store = {}
    optimizer.save_own_variables(store)
    fresh = Nadam()
    with pytest.warns(UserWarning, match="not been built"):
        fresh.load_own_variables(store)
    assert fresh.iterations == 0
    del store["6"]
    with pytest.warns(UserWarning, match="6 variables"):
        optimizer.load_own_variables(store)


def test_unbuilt_state():
    optimizer = Nadam(0.5)
    optimizer.load_own_variables({"0": np.array(4), "1": np.array(0.25)})
    assert (optimizer.iterations, optimizer.learning_rate) == (4, 0.25)


def test_config():
    optimizer = Nadam(
        0.5,
        0.8,
        0.9,
        1e-3,
        0.1,
        None,
        2.0,
        None,
        True,
        0.5,
        3,
        4.0,
        2,
        "mine",
    )
    config = optimizer.get_config()
    assert config == {
        "name": "mine",
        "learning_rate": 0.5,
        "weight_decay": 0.1,
        "clipnorm": None,
        "global_clipnorm": None,
        "clipvalue": 2.0,
        "use_ema": True,
        "ema_momentum": 0.5,
        "ema_overwrite_frequency": 3,
        "loss_scale_factor": 4.0,
        "gradient_accumulation_steps": 2,
        "beta_1": 0.8,
        "beta_2": 0.9,
        "epsilon": 1e-3,
    }
    assert Nadam.from_config(json.loads(json.dumps(config))).get_config() == config


def test_config_of_defaults():
    config = Nadam().get_config()
    assert config["name"] == "nadam"
    assert config["learning_rate"] == float(np.float32(0.001))
    assert Nadam.from_config(config).get_config() == config
    own = Nadam(backend="jax", floatx="float64", scalar_dtype="float64").get_config()
    assert (own["backend"], own["floatx"], own["scalar_dtype"]) == ("jax", "float64", "float64")
    assert Nadam.from_config(own).get_config() == own


@pytest.mark.parametrize("schedule", [schedules.exponential_decay(0.1, 50, 0.5), schedules.cosine_decay(0.1, 50, 0.1)])
def test_config_with_schedule(schedule):
    config = Nadam(schedule).get_config()
    twin = Nadam.from_config(json.loads(json.dumps(config)))
    assert twin.get_config() == config
    twin.load_own_variables({"0": np.array(20)})
    assert twin.learning_rate == schedule(20)


def test_config_with_function():
    def rate():
        return 0.25

    assert Nadam.from_config(Nadam(rate).get_config()).learning_rate == 0.25


def test_config_with_schedules_of_keras():
    arguments = {"initial_learning_rate": 0.5, "decay_steps": 10, "decay_rate": 0.5, "name": "ExponentialDecay"}
    data = {"class_name": "ExponentialDecay", "config": {**arguments, "staircase": False}}
    assert Nadam.from_config({"learning_rate": data}).learning_rate == 0.5

    class Mine:
        def __call__(self, step):
            return 0.125

        @classmethod
        def from_config(cls, config):
            return cls(**config)

    mine = {"class_name": "Mine", "config": {}}
    assert Nadam.from_config({"learning_rate": mine}, {"Mine": Mine}).learning_rate == 0.125
    with pytest.raises(ValueError, match="'Mine'"):
        Nadam.from_config({"learning_rate": mine})
    unknown = {"class_name": "ExponentialDecay", "config": {**arguments, "bend": 2.0}}
    with pytest.raises(ValueError, match="bend"):
        Nadam.from_config({"learning_rate": unknown})


def test_exclude_from_weight_decay():
    arrays = [np.ones(2) for _ in range(3)]
    variables = [Variable(arrays[0], "kernel"), Variable(arrays[1], "dense_bias"), Variable(arrays[2], "gamma")]
    optimizer = Nadam(0.1, weight_decay=0.5)
    optimizer.exclude_from_weight_decay(var_list=[variables[2]], var_names=["bias"])
    optimizer.apply([np.zeros(2)] * 3, variables)
    assert [a[0] for a in arrays] == [pytest.approx(0.95), 1.0, 1.0]
    with pytest.raises(ValueError, match="before"):
        optimizer.exclude_from_weight_decay([arrays[0]])


def test_names_are_needed_to_exclude_by_name():
    optimizer = Nadam(weight_decay=0.5)
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    with pytest.raises(ValueError, match=r"variables\[0\] has no name"):
        optimizer.build([np.ones(2)])
    assert not optimizer.built
    optimizer.exclude_from_weight_decay()
    optimizer.build([np.ones(2)])


def test_finalize_needs_its_variables():
    params, gradients = problem()
    optimizer = Nadam(use_ema=True)
    with pytest.raises(ValueError, match="built"):
        optimizer.finalize_variable_values(params)
    optimizer.apply(gradients[0], params)
    with pytest.raises(ValueError, match="1 entries"):
        optimizer.finalize_variable_values(params[:1])
    with pytest.raises(ValueError, match="Unknown variable"):
        optimizer.finalize_variable_values([params[0], params[1].copy()])
    Nadam().finalize_variable_values(params)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"learning_rate": 1}, ValueError, "learning_rate=1"),
        ({"learning_rate": np.float32(0.1)}, ValueError, "learning_rate="),
        ({"learning_rate": -0.1}, ValueError, "learning_rate=-0.1"),
        ({"learning_rate": 1e300}, ValueError, "learning_rate=inf"),
        ({"learning_rate": math.nan}, ValueError, "learning_rate=nan"),
        ({"beta_1": 1.0}, ValueError, "beta_1=1.0"),
        ({"epsilon": -1e-7}, ValueError, "epsilon=-1e-07"),
        ({"weight_decay": -0.1}, ValueError, "weight_decay=-0.1"),
        ({"clipnorm": 1.0, "global_clipnorm": 1.0}, ValueError, "only one"),
        ({"clipnorm": 0.0, "clipvalue": 1.0}, ValueError, "only one"),
        ({"clipnorm": math.nan}, ValueError, "clipnorm=nan"),
        ({"gradient_accumulation_steps": 1}, ValueError, "gradient_accumulation_steps=1"),
        ({"gradient_accumulation_steps": 2.5}, TypeError, "gradient_accumulation_steps=2.5"),
        ({"use_ema": True, "ema_momentum": 1.5}, ValueError, "ema_momentum=1.5"),
        ({"use_ema": True, "ema_overwrite_frequency": -1}, ValueError, "ema_overwrite_frequency=-1"),
        ({"use_ema": True, "ema_overwrite_frequency": 2.0}, ValueError, "ema_overwrite_frequency=2.0"),
        ({"loss_scale_factor": 0.0}, ValueError, "loss_scale_factor=0.0"),
        ({"name": "a/b"}, ValueError, "name='a/b'"),
        ({"backend": "mxnet"}, ValueError, "backend='mxnet'"),
        ({"floatx": "float16"}, ValueError, "floatx='float16'"),
        ({"scalar_dtype": "float32"}, ValueError, "scalar_dtype='float32'"),
        ({"lr": 0.1}, ValueError, r"not recognized: \{'lr': 0.1\}"),
    ],
)
def test_bad_arguments(options, error, message):
    with pytest.raises(error, match=message):
        Nadam(**options)


def test_arguments_that_pass():
    Nadam(ema_momentum=5.0, ema_overwrite_frequency=0, clipnorm=-1.0, weight_decay=0.0, use_ema=0)
    assert Nadam(np.float64(0.5)).learning_rate == 0.5
    with pytest.warns(UserWarning, match="decay"):
        Nadam(decay=0.1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Nadam(decay=None)


def test_bad_gradients_leave_everything():
    params, gradients = problem()
    optimizer = Nadam()
    optimizer.apply(gradients[0], params)
    kept = [p.copy() for p in params]
    for grads, error in [
        ([gradients[0][0], np.ones((2, 3))], ValueError),
        ([gradients[0][0], np.ones((3, 2), complex)], TypeError),
        ([gradients[0][0], (np.array([0]), np.ones((1, 2), complex))], TypeError),
        ([gradients[0][0], np.ones((3, 2), np.longdouble)], TypeError),
        ([gradients[0][0], 1.0], ValueError),
        ([gradients[0][0]], ValueError),
        ([gradients[0][0], [1.0]], TypeError),
    ]:
        with pytest.raises(error, match="grads"):
            optimizer.apply(grads, params)
    with pytest.raises(ValueError, match="comes twice"):
        optimizer.apply(gradients[0][:1] * 2, params[:1] * 2)
    with pytest.raises(ValueError, match="Unknown variable"):
        optimizer.apply(gradients[0], [params[0], params[1].copy()])
    with pytest.raises(ValueError, match="must have been built"):
        Nadam().apply(gradients[0])
    assert optimizer.iterations == 1
    for p, q in zip(params, kept, strict=True):
        np.testing.assert_array_equal(p, q)


def test_bad_variables():
    with pytest.raises(TypeError, match=r"variables\[0\] has dtype int64"):
        Nadam().build([np.arange(3, dtype=np.int64)])
    with pytest.raises(ValueError, match="variables"):
        Nadam().build([])
    with pytest.raises(ValueError, match="grads_and_vars"):
        Nadam().apply_gradients([])
    array = np.ones(4)
    with pytest.raises(ValueError, match="share memory"):
        Nadam().build([array, array[1:]])


def test_building_twice_does_nothing():
    params, gradients = problem()
    optimizer = Nadam()
    optimizer.build(params)
    optimizer.build([np.ones(7)])
    optimizer.apply(gradients[0])
    assert optimizer.iterations == 1


def test_views_and_orders():
    """Strided and Fortran-ordered variables are updated as contiguous ones, and so is their state saved."""
    random = np.random.default_rng(0)
    gradients = [random.standard_normal((4, 3)) for _ in range(5)]
    plain, fortran, strided = np.ones((4, 3)), np.asfortranarray(np.ones((4, 3))), np.ones((8, 3))[::2]
    states = []
    for variable in (plain, fortran, strided):
        optimizer = Nadam(0.1)
        for gradient in gradients:
            optimizer.apply([gradient], [variable])
        states.append(optimizer.get_weights())
    for variable, state in zip((fortran, strided), states[1:], strict=True):
        np.testing.assert_array_equal(variable, plain)
        for a, b in zip(state, states[0], strict=True):
            np.testing.assert_array_equal(a, b)


def test_repr():
    assert repr(Nadam(0.5)) == "Nadam(learning_rate=0.5, beta_1=0.9, beta_2=0.999, epsilon=1e-07, iterations=0)"


def test_example_of_the_documentation():
    page = pathlib.Path(__file__).parents[1] / "docs" / "compat" / "keras.md"
    (example,) = re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    exec(compile(example, str(page), "exec"), {})
