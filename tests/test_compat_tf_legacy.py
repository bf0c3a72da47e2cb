"""The interfaces to TensorFlow's legacy optimizers, without TensorFlow: calls, errors, state, and formulas in NumPy."""

import copy
import json
import pickle
import warnings

import numpy as np
import pytest

from nadam_numba import schedules
from nadam_numba.compat import tf_legacy

Nadam, Adam = tf_legacy.Nadam, tf_legacy.Adam
BOTH = pytest.mark.parametrize("optimizer", [Nadam, Adam])


def single(number):
    """In single precision, as TensorFlow keeps some of its scalars."""
    return float(np.float32(number))


def problem(seed=0, steps=30):
    random = np.random.default_rng(seed)
    params = [random.standard_normal(5), random.standard_normal((4, 3))]
    return params, [[random.standard_normal(p.shape) for p in params] for _ in range(steps)]


def run(optimizer, params, gradients):
    for step in gradients:
        optimizer.apply_gradients(zip(step, params, strict=True))
    return params


def nadam_reference(params, gradients, rate=1e-3, b1=0.9, b2=0.999, eps=1e-7, psi=4e-3):
    """The formulas of the peer's source, on whole arrays."""
    rate, b1, b2, base = single(rate), single(b1), single(b2), single(0.96)
    m, v, product = [0.0 * p for p in params], [0.0 * p for p in params], 1.0
    params = [p.copy() for p in params]
    for t, step in enumerate(gradients, start=1):
        mu, mu_next = (b1 * (1 - 0.5 * base ** (psi * k)) for k in (t, t + 1))
        product *= mu
        for i, g in enumerate(step):
            m[i] = b1 * m[i] + (1 - b1) * g
            v[i] = b2 * v[i] + (1 - b2) * g * g
            bar = (1 - mu) * g / (1 - product) + mu_next * m[i] / (1 - product * mu_next)
            params[i] = params[i] - rate * bar / (np.sqrt(v[i] / (1 - b2**t)) + eps)
    return params, m, v, product


def adam_reference(params, gradients, rate=1e-3, b1=0.9, b2=0.999, eps=1e-7, decay=0.0, amsgrad=False):
    """The same; `rate` may be a function of the step."""
    b1, b2, decay = single(b1), single(b2), single(decay)
    m, v, largest = ([0.0 * p for p in params] for _ in range(3))
    params = [p.copy() for p in params]
    for t, step in enumerate(gradients, start=1):
        alpha = single(rate(t - 1) if callable(rate) else rate) / (1 + decay * (t - 1))
        alpha *= np.sqrt(1 - b2**t) / (1 - b1**t)
        for i, g in enumerate(step):
            m[i] = m[i] + (g - m[i]) * (1 - b1)
            v[i] = v[i] + (g * g - v[i]) * (1 - b2)
            largest[i] = np.maximum(largest[i], v[i]) if amsgrad else v[i]
            params[i] = params[i] - alpha * m[i] / (np.sqrt(largest[i]) + eps)
    return params, m, v, largest


def assert_close(ours, theirs):
    for array, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(array, other, rtol=1e-13, atol=1e-14)


@pytest.mark.parametrize(
    ("options", "arguments"),
    [
        ({}, {}),
        ({"learning_rate": 0.1, "beta_1": 0.8, "beta_2": 0.9}, {"rate": 0.1, "b1": 0.8, "b2": 0.9}),
        ({"epsilon": 1e-3, "schedule_decay": 0.1}, {"eps": 1e-3, "psi": 0.1}),
        ({"epsilon": 0, "learning_rate": lambda: 0.05}, {"rate": 0.05}),
        ({"epsilon": None, "beta_1": lambda: 0.8}, {"b1": 0.8}),
    ],
)
def test_nadam_follows_the_formulas(options, arguments):
    params, gradients = problem()
    expected, m, v, product = nadam_reference(params, gradients, **arguments)
    optimizer = Nadam(**options)
    assert_close(run(optimizer, params, gradients), expected)
    assert_close(optimizer.get_weights(), [len(gradients), product, *m, *v])


@pytest.mark.parametrize(
    ("options", "arguments"),
    [
        ({}, {}),
        ({"learning_rate": 0.1, "decay": 0.3}, {"rate": 0.1, "decay": 0.3}),
        ({"amsgrad": True, "beta_2": 0.5}, {"amsgrad": True, "b2": 0.5}),
        ({"learning_rate": lambda step: 0.1 / (1 + step)}, {"rate": lambda step: 0.1 / (1 + step)}),
    ],
)
def test_adam_follows_the_formulas(options, arguments):
    params, gradients = problem()
    expected, m, v, largest = adam_reference(params, gradients, **arguments)
    optimizer = Adam(**options)
    assert_close(run(optimizer, params, gradients), expected)
    more = largest if "amsgrad" in options else []
    assert_close(optimizer.get_weights(), [len(gradients), *m, *v, *more])


def test_scalars_in_double_precision():
    params, gradients = problem()
    other = [p.copy() for p in params]
    run(Nadam(0.1), params, gradients)
    run(Nadam(0.1, scalar_dtype=np.float64), other, gradients)
    difference = max(np.abs(a - b).max() for a, b in zip(params, other, strict=True))
    assert 1e-12 < difference < 1e-6


def test_only_python_floats_of_a_function_are_rounded():
    (p, q, r), g = (np.ones(3) for _ in range(3)), np.ones(3)
    Adam(lambda: 0.1).apply_gradients([(g, p)])
    Adam(lambda: np.float64(0.1)).apply_gradients([(g, q)])
    Adam(lambda: single(0.1)).apply_gradients([(g, r)])
    assert (p != q).all()
    assert (p == r).all()


def test_sparse_nadam_moves_touched_rows_and_adam_all():
    g = (np.array([1, 3, 1]), np.array([[3.0, -1.0], [1.0, 1.0], [2.0, 5.0]]))
    dense = np.zeros((4, 2))
    np.add.at(dense, *g)
    for optimizer, is_dense in ((Nadam, False), (Adam, True)):
        table, other = np.ones((4, 2)), np.ones((4, 2))
        sparse, full = optimizer(0.1), optimizer(0.1)
        for gradient in (np.ones((4, 2)), g, g):
            before = table.copy()
            sparse.apply_gradients([(gradient, table)])
            full.apply_gradients([(dense if gradient is g else gradient, other)])
        assert_close(sparse.get_weights(), full.get_weights())
        assert (table != before).all(axis=1).tolist() == [is_dense, True, is_dense, True]
        np.testing.assert_allclose(table[[1, 3]], other[[1, 3]], rtol=1e-13)


@BOTH
def test_clipping_comes_before_rows_are_summed(optimizer):
    table = np.zeros((3, 1))
    made = optimizer(clipvalue=2.0, clipnorm=2.0)
    made.apply_gradients([((np.array([1, 1]), np.array([[5.0], [2.0]])), table)])
    m = (1 - single(0.9)) * 2 * np.sqrt(2.0)  # each row has become 2, and then 2 / sqrt(2)
    np.testing.assert_allclose(made.get_slot(table, "m"), [[0.0], [m], [0.0]], rtol=1e-14)


@BOTH
def test_all_gradients_are_clipped_together(optimizer):
    p, q = np.zeros(1), np.zeros(1)
    made = optimizer(global_clipnorm=1.0)
    made.apply_gradients([(np.array([3.0]), p), (np.array([-4.0]), q)])
    slots = [made.get_slot(array, "m").item() / (1 - single(0.9)) for array in (p, q)]
    np.testing.assert_allclose(slots, [0.6, -0.8], rtol=1e-14)


@BOTH
@pytest.mark.parametrize("clip", ["clipnorm", "clipvalue", "global_clipnorm"])
def test_a_limit_of_zero_stops_everything_and_an_infinite_one_nothing(optimizer, clip):
    p, q, r = (np.ones(3) for _ in range(3))
    optimizer(**{clip: 0.0}).apply_gradients([(np.ones(3), p)])
    optimizer(**{clip: np.inf}).apply_gradients([(np.ones(3), q)])
    optimizer().apply_gradients([(np.ones(3), r)])
    assert (p == 1.0).all()
    assert (q == r).all()
    assert (q != 1.0).all()


@BOTH
def test_limits_may_be_changed(optimizer):
    p, q = np.ones(3), np.ones(3)
    made = optimizer()
    made.clipvalue = 0.5
    made.apply_gradients([(np.array([3.0, 0.1, -4.0]), p)])
    optimizer().apply_gradients([(np.array([0.5, 0.1, -0.5]), q)])
    assert made.clipvalue == 0.5
    assert (p == q).all()
    with pytest.raises(ValueError, match=r"clipnorm=-1\.0"):
        made.clipnorm = -1.0


def test_variables_share_count_and_product():
    p, q, g = np.ones(3), np.ones(2), np.ones(3)
    optimizer = Nadam(0.1)
    optimizer.apply_gradients([(g, p), (None, q)])
    assert len(optimizer.weights) == 4
    optimizer.apply_gradients([(g, p), (g[:2], q)])
    # The moments of q are those of a first step, but t and P those of the second.
    b1, b2, base = single(0.9), single(0.999), single(0.96)
    mu = [b1 * (1 - 0.5 * base ** (4e-3 * t)) for t in (1, 2, 3)]
    product = mu[0] * mu[1]
    bar = (1 - mu[1]) / (1 - product) + mu[2] * (1 - b1) / (1 - product * mu[2])
    step = single(0.1) * bar / (np.sqrt((1 - b2) / (1 - b2**2)) + 1e-7)
    np.testing.assert_allclose(q, 1 - step, rtol=1e-13)
    assert [w.shape for w in optimizer.weights] == [(), (), (3,), (3,), (2,), (2,)]


@BOTH
def test_state_is_known_by_place(optimizer):
    table = np.ones((4, 3))
    made = optimizer()
    made.apply_gradients([(np.ones((2, 3)), table[:2])])
    made.apply_gradients([(np.ones((2, 3)), table[:2])])
    assert made.get_slot(table[:2], "m").shape == (2, 3)
    assert len(made.get_weights()) == (4 if optimizer is Nadam else 3)
    earlier = r"an array of shape \(2, 3\) of an earlier step"
    with pytest.raises(ValueError, match=rf"{earlier} and grads_and_vars\[0\]\[1\] share memory"):
        made.apply_gradients([(np.ones((4, 3)), table)])
    with pytest.raises(ValueError, match=r"grads_and_vars\[0\]\[1\] and grads_and_vars\[1\]\[1\] share memory"):
        optimizer().apply_gradients([(np.ones((4, 3)), table), (np.ones((2, 3)), table[2:])])


@BOTH
@pytest.mark.parametrize("dtype", ["float32", "complex64", "complex128"])
def test_dtypes_and_layouts(optimizer, dtype):
    p = np.asfortranarray(np.ones((2, 3), dtype))
    q = np.ones((4, 6), dtype)[::2, ::2]
    made = optimizer(0.1)
    for _ in range(3):
        made.apply_gradients([(np.ones((2, 3), dtype), p), (np.ones((2, 3), dtype), q)])
    np.testing.assert_array_equal(p, q)
    assert (p != 1.0).all()
    assert made.get_slot(p, "v").dtype == dtype
    if optimizer is Nadam:
        assert made.weights[1].dtype == np.zeros(0, dtype).real.dtype


@BOTH
def test_iterations_are_a_variable(optimizer):
    one, two, p = optimizer(), optimizer(), np.ones(2)
    two.iterations = one.iterations
    count = one.apply_gradients([(np.ones(2), p)])
    assert count is one.iterations is two.iterations
    two.apply_gradients([(np.ones(2), p)])
    assert (int(count), count.dtype, count.shape) == (2, np.int64, ())
    with pytest.raises(RuntimeError, match="iterations=7"):
        one.iterations = 7
    three = optimizer()
    three.iterations = 7
    assert int(three.iterations) == 7
    with pytest.raises(ValueError, match="iterations=-1"):
        optimizer().iterations = -1


def test_hyperparameters_may_be_set():
    p, q = np.ones(3), np.ones(3)
    optimizer = Nadam()
    optimizer.lr, optimizer.beta_1, optimizer.beta_2 = 0.1, 0.8, lambda: 0.9
    optimizer.schedule_decay, optimizer.epsilon = 0.1, 1e-3
    optimizer.apply_gradients([(np.ones(3), p)])
    Nadam(0.1, 0.8, 0.9, 1e-3, schedule_decay=0.1).apply_gradients([(np.ones(3), q)])
    assert (p == q).all()
    assert (optimizer.learning_rate, optimizer.beta_2, optimizer.decay) == (0.1, 0.9, 0.1)
    with pytest.raises(AttributeError):
        optimizer.leraning_rate = 0.1


@pytest.mark.parametrize(("optimizer", "name"), [(Nadam, "schedule_decay"), (Adam, "decay")])
def test_decay_is_read_only_when_the_optimizer_is_made(optimizer, name):
    p, q, r = (np.ones(3) for _ in range(3))
    made = optimizer(0.1, **{name: 0.5})
    with pytest.warns(UserWarning, match=r"decay=0\.0 is ignored"):
        made.decay = 0.0
    for one, array in ((made, p), (optimizer(0.1, **{name: 0.5}), q), (optimizer(0.1, **{name: 0.0}), r)):
        run(one, [array], [[np.ones(3)], [-np.ones(3)], [np.ones(3)]])
    assert (p == q).all()
    assert (p != r).all()
    assert made.decay == made.get_config()[name] == 0.5


@BOTH
def test_epsilon_of_zero_is_kept_if_it_is_set_later(optimizer):
    p, q, g = np.ones(3), np.ones(3), np.full(3, 1e-7)
    made = optimizer(0.1, epsilon=0.0)
    assert made.epsilon == 1e-7
    made.epsilon = 0.0
    assert made.epsilon == 0.0
    made.apply_gradients([(g, p)])
    optimizer(0.1).apply_gradients([(g, q)])
    assert (1 - p > 1.5 * (1 - q)).all()
    with pytest.raises(TypeError, match="epsilon=None"):
        made.epsilon = None


class Tensor:
    """What can be made a number, and assigned to."""

    def __init__(self, number):
        self.number = number

    def __float__(self):
        return self.number


RATES = pytest.mark.parametrize(
    ("rate", "number"),
    [
        (0.1, single(0.1)),
        (1, 1.0),
        (np.float32(0.1), single(0.1)),
        (np.float64(0.1), 0.1),
        (np.array(0.1), 0.1),
        (Tensor(0.1), 0.1),
    ],
)


@RATES
@pytest.mark.parametrize(
    ("optimizer", "wrapped"),
    [
        (Nadam, lambda rate: rate),
        (Adam, lambda rate: rate),
        (Nadam, lambda rate: lambda: rate),
        (Adam, lambda rate: lambda: rate),
        (Adam, lambda rate: lambda step: rate),
    ],
)
def test_only_python_numbers_are_rounded(optimizer, wrapped, rate, number):
    p, q = np.ones(3), np.ones(3)
    made = optimizer(wrapped(rate))
    made.apply_gradients([(np.ones(3), p)])
    optimizer(number, scalar_dtype="float64", beta_1=single(0.9), beta_2=single(0.999)).apply_gradients(
        [(np.ones(3), q)]
    )
    np.testing.assert_allclose(1 - p, 1 - q, rtol=3e-9)  # rounding of the rate is 1.5e-8
    again = optimizer.from_config(made.get_config())
    if not callable(made.learning_rate):
        assert again.learning_rate == made.learning_rate
        assert type(again.learning_rate) is type(made.learning_rate)


@BOTH
def test_a_tensor_is_asked_in_each_step(optimizer):
    p, q, g = np.ones(3), np.ones(3), np.ones(3)
    rate = Tensor(0.1)
    made, other = optimizer(rate), optimizer(np.float64(0.1))
    for _ in range(2):
        made.apply_gradients([(g, p)])
        other.apply_gradients([(g, q)])
        rate.number = 0.25
        other.learning_rate = 0.25
        assert made.learning_rate == made.get_config()["learning_rate"] == 0.25
    assert (p == q).all()
    rate.number = -1.0
    with pytest.raises(ValueError, match="learning_rate=-1"):
        made.apply_gradients([(g, p)])
    assert (p == q).all()


@BOTH
def test_a_rate_set_after_a_step_keeps_the_precision_of_the_first(optimizer):
    p, q, g = np.ones(3), np.ones(3), np.ones(3)
    for made, array, later in ((optimizer(0.5), p, np.float64(0.1)), (optimizer(0.5), q, 0.1)):
        made.apply_gradients([(g, array)])
        made.lr = later
        assert type(made.lr) is float
        made.apply_gradients([(g, array)])
    assert (p == q).all()


@BOTH
@pytest.mark.parametrize(
    ("rate", "error"),
    [
        (np.array([0.1]), TypeError),
        (np.array(-0.1), ValueError),
        (Tensor(np.nan), ValueError),
        (np.array("0.1"), TypeError),
        (np.True_, TypeError),
        (0.1j, TypeError),
        (object(), TypeError),
    ],
)
def test_rates_that_are_no_numbers(optimizer, rate, error):
    with pytest.raises(error, match="learning_rate="):
        optimizer(rate)
    with pytest.raises(error, match="learning_rate"):
        optimizer(lambda: rate).apply_gradients([(np.ones(2), np.ones(2))])


@BOTH
@pytest.mark.parametrize("first", [lambda: 0.1, "0.1"])
def test_decay_is_a_number(optimizer, first):
    with pytest.raises(TypeError, match="decay="):
        optimizer(**{"schedule_decay" if optimizer is Nadam else "decay": first})


@BOTH
def test_resume(optimizer):
    params, gradients = problem()
    first = optimizer(0.1)
    expected = [p.copy() for p in params]
    run(optimizer(0.1), expected, gradients)
    run(first, params, gradients[:10])
    second = optimizer.from_config(first.get_config())
    second._create_all_weights(params)
    second.set_weights(first.get_weights())
    run(second, params, gradients[10:])
    for array, other in zip(params, expected, strict=True):
        assert (array == other).all()


@BOTH
def test_copies_go_on_by_themselves(optimizer):
    params, gradients = problem()
    first = optimizer(0.1, name="it")
    run(first, params, gradients[:10])
    other_params, second = copy.deepcopy((params, first))
    third_params, third = pickle.loads(pickle.dumps((params, first)))
    for made, arrays in ((first, params), (second, other_params), (third, third_params)):
        run(made, arrays, gradients[10:])
        assert int(made.iterations) == len(gradients)
        for array, other in zip([*arrays, *made.weights], [*params, *first.weights], strict=True):
            assert (array == other).all()


def test_lists_of_the_first_keras_lose_their_vhats():
    p = np.ones(2)
    optimizer = Adam()
    optimizer._create_all_weights([p])
    optimizer.set_weights([np.array(3), np.ones(2), 2 * np.ones(2), np.zeros(1)])
    assert [w.tolist() for w in optimizer.get_weights()] == [3, [1, 1], [2, 2]]
    with pytest.raises(ValueError, match="list of length 5"):
        optimizer.set_weights([np.array(3), *[np.ones(2)] * 4])


@pytest.mark.parametrize(
    ("index", "value", "error"),
    [
        (0, np.array(-1), ValueError),
        (0, np.array(0.5), TypeError),
        (1, np.array(1.5), ValueError),
        (2, np.ones(2), ValueError),
        (2, np.array(["a"] * 3), TypeError),
        (3, -np.ones(3), ValueError),
    ],
)
def test_wrong_weights_change_nothing(index, value, error):
    p = np.ones(3)
    optimizer = Nadam()
    optimizer.apply_gradients([(np.ones(3), p)])
    before = optimizer.get_weights()
    weights = [2 * w for w in before]
    weights[1] = np.array(0.5)
    weights[index] = value
    with pytest.raises(error, match=rf"weights\[{index}\]"):
        optimizer.set_weights(weights)
    for weight, other in zip(optimizer.get_weights(), before, strict=True):
        assert (weight == other).all()


@BOTH
def test_slots(optimizer):
    p = np.ones((2, 2))
    made = optimizer()
    assert (made.get_slot_names(), made.weights, made.get_weights()) == ([], [], [])
    with pytest.raises(KeyError, match="has not met"):
        made.get_slot(p, "m")
    made.apply_gradients([(np.ones((2, 2)), p)])
    assert made.get_slot_names() == ["m", "v"]
    assert made.get_slot(p, "m") == pytest.approx((1 - single(0.9)) * np.ones((2, 2)))
    assert np.shares_memory(made.get_slot(p, "m"), made.variables()[-2])
    with pytest.raises(KeyError, match="vhat"):
        made.get_slot(p, "vhat")
    with pytest.raises(KeyError):
        made.get_slot("p", "m")


def test_config():
    config = Nadam(0.1, schedule_decay=0.2, clipnorm=1).get_config()
    assert config == {
        "name": "Nadam",
        "clipnorm": 1.0,
        "learning_rate": 0.1,
        "schedule_decay": 0.2,
        "beta_1": 0.9,
        "beta_2": 0.999,
        "epsilon": 1e-7,
    }
    assert Nadam.from_config(config).get_config() == config
    theirs = {**config, "decay": 0.2, "lr": 0.1}
    del theirs["schedule_decay"], theirs["learning_rate"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert Nadam.from_config(theirs).get_config() == config
    optimizer = Adam(0.5, decay=0.1, amsgrad=True, scalar_dtype="float64", name=None)
    config = optimizer.get_config()
    assert (config["name"], config["learning_rate"], config["scalar_dtype"]) == ("adam", 0.5, "float64")
    assert Adam.from_config(config).get_config() == config
    assert Adam(lambda: 0.5).get_config()["learning_rate"] == 0.5


def test_config_with_schedule():
    schedule = schedules.exponential_decay(0.1, 10, 0.5)
    optimizer = Adam(schedule)
    config = optimizer.get_config()
    assert config["learning_rate"] == {
        "module": "keras.optimizers.schedules",
        "class_name": "ExponentialDecay",
        "config": {"initial_learning_rate": 0.1, "decay_steps": 10.0, "decay_rate": 0.5, "staircase": False},
        "registered_name": None,
    }
    twin = Adam.from_config(json.loads(json.dumps(config)))
    assert twin.learning_rate == optimizer.learning_rate == schedule
    assert "exponential_decay" in repr(twin)
    warmup = schedules.linear_warmup(schedule, 5)  # of a kind that TensorFlow has not
    assert Adam.from_config(json.loads(json.dumps(Adam(warmup).get_config()))).learning_rate == warmup
    with pytest.raises(ValueError, match="Nadam optimizer takes a number"):
        Nadam.from_config({"learning_rate": config["learning_rate"]})


def test_config_with_schedules_of_others():
    class Mine:
        def __call__(self, step):
            return 0.125

        @classmethod
        def from_config(cls, config):
            return cls(**config)

    config = {"lr": {"class_name": "Mine", "config": {}}}
    assert isinstance(Adam.from_config(config, {"Mine": Mine}).learning_rate, Mine)
    with pytest.raises(ValueError, match="'Mine'"):
        Adam.from_config(config)
    with pytest.raises(ValueError, match="must have class_name and config"):
        Adam.from_config({"learning_rate": {}})
    mine = Mine()
    assert Adam(mine).get_config()["learning_rate"] is mine


@BOTH
def test_minimize(optimizer):
    p, q = np.array([1.0, 2.0]), np.array([3.0])
    calls = []

    def loss():
        calls.append(None)
        return p @ p + q @ q, [2 * p, None]

    made = optimizer(0.1)
    assert int(made.minimize(loss, [p, q], grad_loss=0.5, name="step")) == 1
    assert int(made.minimize(loss, lambda: (p, q))) == 2
    assert int(made.minimize(lambda: (1.0, (np.array([1]), np.ones(1))), p)) == 3
    assert len(calls) == 2
    assert q == 3.0
    other, reference = np.array([1.0, 2.0]), optimizer(0.1)
    reference.apply_gradients([(other.copy(), other)])
    reference.apply_gradients([(2 * other, other)])
    reference.apply_gradients([((np.array([1]), np.ones(1)), other)])
    assert (p == other).all()
    with pytest.raises(ValueError, match="loss=1"):
        made.minimize(1.0, [p])
    with pytest.raises(ValueError, match="tape="):
        made.minimize(loss, [p], tape=object())
    with pytest.raises(TypeError, match="pair"):
        made.minimize(lambda: 1.0, [p])
    with pytest.raises(ValueError, match="2 gradients"):
        made.minimize(loss, [p])


@BOTH
def test_gradients_may_be_transformed(optimizer):
    p, q = np.ones(3), np.ones(3)
    made = optimizer(gradient_aggregator=doubled, gradient_transformers=[doubled])
    made.apply_gradients([(np.ones(3), p)])
    assert made.get_slot(p, "m") == pytest.approx(4 * (1 - single(0.9)) * np.ones(3))
    made = optimizer(gradient_aggregator=doubled, gradient_transformers=[doubled])
    made.apply_gradients([(np.ones(3), q)], experimental_aggregate_gradients=False)
    assert made.get_slot(q, "m") == pytest.approx(2 * (1 - single(0.9)) * np.ones(3))
    with pytest.raises(ValueError, match="left none"):
        optimizer(gradient_transformers=[lambda pairs: []]).apply_gradients([(np.ones(3), p)])


def doubled(pairs):
    return [(2 * gradient, array) for gradient, array in pairs]


@BOTH
@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"rho": 1.0}, TypeError, r"optimizer: rho=1\.0"),
        ({"clipnorm": -1.0}, ValueError, r"clipnorm=-1\.0"),
        ({"clipvalue": "1"}, TypeError, "clipvalue='1'"),
        ({"clipnorm": 1.0, "global_clipnorm": 1.0}, ValueError, "one of them must be None"),
        ({"clipvalue": 1.0, "gradient_transformers": [doubled]}, ValueError, "gradient_transformers"),
        ({"learning_rate": "x"}, TypeError, "learning_rate='x'"),
        ({"learning_rate": -1.0}, ValueError, r"learning_rate=-1\.0"),
        ({"beta_1": 1.0}, ValueError, r"beta_1=1\.0"),
        ({"beta_2": lambda step: 0.9}, ValueError, "without arguments"),
        ({"epsilon": -1e-7}, ValueError, "epsilon=-1e-07"),
        ({"scalar_dtype": "float32"}, ValueError, "scalar_dtype='float32'"),
    ],
)
def test_wrong_arguments(optimizer, options, error, match):
    with pytest.raises(error, match=match):
        optimizer(**options)


@BOTH
def test_lr_is_deprecated_but_wins(optimizer):
    with pytest.warns(UserWarning, match="lr is deprecated"):
        assert optimizer(0.1, lr=0.2).learning_rate == 0.2
    with pytest.warns(UserWarning, match="lr is deprecated"), pytest.raises(ValueError, match=r"lr=-1\.0"):
        optimizer(lr=-1.0)


def test_what_only_one_of_them_takes():
    with pytest.raises(ValueError, match="Nadam optimizer takes a number"):
        Nadam(schedules.exponential_decay(0.1, 10, 0.5))
    with pytest.raises(ValueError, match=r"schedule_decay=-0\.1"):
        Nadam(schedule_decay=-0.1)
    with pytest.warns(UserWarning, match="decay is ignored"):
        assert Nadam(decay=0.5).schedule_decay == 0.004
    with pytest.raises(ValueError, match=r"decay=-0\.1"):
        Adam(decay=-0.1)
    with pytest.raises(TypeError, match="schedule_decay"):
        Adam(schedule_decay=0.1)
    with pytest.raises(TypeError, match="amsgrad=1"):
        Adam(amsgrad=1)
    with pytest.raises(IndexError, match="grads_and_vars"):
        Nadam().apply_gradients([])
    assert int(Adam().apply_gradients([])) == 0


@BOTH
@pytest.mark.parametrize(
    ("pairs", "error", "match"),
    [
        ([np.ones(3)], TypeError, r"grads_and_vars\[0\]"),
        ([(None, np.ones(3))], ValueError, "No gradients provided"),
        ([(np.ones(3), [1.0])], TypeError, r"grads_and_vars\[0\]\[1\]"),
        ([(np.ones(2), np.ones(3))], ValueError, r"grads_and_vars\[0\]\[0\]"),
        ([(np.ones(3, "float32"), np.ones(3))], TypeError, "float32"),
        ([(np.ones(3), np.ones(3, int))], TypeError, "int64"),
    ],
)
def test_wrong_pairs_change_nothing(optimizer, pairs, error, match):
    p = np.ones(3)
    made = optimizer()
    made.apply_gradients([(np.ones(3), p)])
    before, weights = p.copy(), made.get_weights()
    with pytest.raises(error, match=match):
        made.apply_gradients(pairs)
    good = [(np.ones(3), p)] if pairs[0][0] is not None else []
    with pytest.raises(error):
        made.apply_gradients(good + pairs)
    assert (p == before).all()
    assert all((w == other).all() for w, other in zip(made.get_weights(), weights, strict=True))


@BOTH
def test_a_function_that_fails_changes_nothing(optimizer):
    p = np.ones(3)
    made = optimizer(lambda: -1.0)
    with pytest.raises(ValueError, match="learning_rate"):
        made.apply_gradients([(np.ones(3), p)])
    assert (p == 1.0).all()
    assert made.weights == []


@BOTH
def test_an_array_twice_is_updated_twice(optimizer):
    p, q = np.ones(3), np.ones(3)
    made, g = optimizer(0.1), np.ones(3)
    made.apply_gradients([(g, p), (2 * g, p)])
    other = optimizer(0.1)
    other.apply_gradients([(g, q)])
    assert int(made.iterations) == 1
    assert made.get_slot(p, "m") == pytest.approx((0.9 * 0.1 + 0.2) * g, rel=1e-6)
    assert (p < q).all()


@BOTH
def test_repr(optimizer):
    assert repr(optimizer()).startswith(f"{optimizer.__name__}(0 arrays, name='{optimizer.__name__}'")
