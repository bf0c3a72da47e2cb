"""The interface to TensorFlow 1.13's Nadam: calls, errors, state, and formulas in NumPy."""

import copy
import pickle

import numpy as np
import pytest

from nadam_numba.compat import tf1


def problem(seed=0, steps=30):
    random = np.random.default_rng(seed)
    params = [random.standard_normal(5), random.standard_normal((4, 3))]
    return params, [[random.standard_normal(p.shape) for p in params] for _ in range(steps)]


def run(optimizer, params, gradients):
    for step in gradients:
        optimizer.apply_gradients(zip(step, params, strict=True))
    return params


def clipped(gradient, clipnorm, clipvalue):
    if clipnorm is not None:
        gradient = gradient * clipnorm / max(np.sqrt(np.sum(gradient**2)), clipnorm)
    return gradient if clipvalue is None else np.clip(gradient, -clipvalue, clipvalue)


def reference(
    params,
    gradients,
    lr=2e-3,
    beta_1=0.9,
    beta_2=0.999,
    epsilon=1e-7,
    schedule_decay=4e-3,
    t_offset=0,
    clips=(None, None),
):
    """The formulas of the peer's source, on whole arrays: parameters, moments, and the product."""
    m, v, product = [0.0 * p for p in params], [0.0 * p for p in params], 1.0
    params = [p.copy() for p in params]
    for t, step in enumerate(gradients, start=1 + t_offset):
        mu, mu_next = (beta_1 * (1 - 0.5 * 0.96 ** (k * schedule_decay)) for k in (t, t + 1))
        product *= mu
        for i, gradient in enumerate(step):
            g = clipped(gradient, *clips)
            m[i] = beta_1 * m[i] + (1 - beta_1) * g
            v[i] = beta_2 * v[i] + (1 - beta_2) * g * g
            bar = (1 - mu) * g / (1 - product) + mu_next * m[i] / (1 - product * mu_next)
            params[i] = params[i] - lr * bar / (np.sqrt(v[i] / (1 - beta_2**t)) + epsilon)
    return params, m, v, product


def assert_close(ours, theirs):
    for array, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(array, other, rtol=1e-13, atol=1e-14)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"t_offset": 1},
        {"lr": 0.1, "beta_1": 0.8, "beta_2": 0.9, "t_offset": 1},
        {"epsilon": 0.0, "schedule_decay": 0.1},
        {"epsilon": 1e-3, "schedule_decay": np.inf},
    ],
)
def test_follows_the_formulas(options):
    params, gradients = problem()
    expected, m, v, product = reference(params, gradients, **options)
    optimizer = tf1.Nadam(**options)
    assert_close(run(optimizer, params, gradients), expected)
    assert_close(optimizer.get_weights(), [len(gradients), *m, *v])
    assert_close(optimizer.get_weights(m_schedule=True), [len(gradients), product, *m, *v])


def test_the_norm_is_clipped_before_the_values():
    params, gradients = problem()
    optimizer = tf1.Nadam(clipnorm=1.0, clipvalue=0.4)
    first, *_ = reference(params, gradients, clips=(1.0, 0.4))
    g = optimizer.get_gradients(lambda: (0.0, gradients[0]), params)
    assert_close(g, [clipped(x, 1.0, 0.4) for x in gradients[0]])
    assert not np.allclose(g[1], clipped(clipped(gradients[0][1], None, 0.4), 1.0, None))
    assert_close(run(optimizer, params, gradients), first)


def test_rows_are_summed_between_the_clipping_of_norm_and_values():
    table = np.zeros((4, 2))
    rows = np.array([1, 1, 3]), np.array([[1.0, 2.0], [3.0, -1.0], [0.5, 0.2]])
    norm = np.sqrt(np.sum(rows[1] ** 2))
    # What TensorFlow 1.13.2 gave.
    expected = [[0.0, 0.0], [0.5, 0.25573858], [0.0, 0.0], [0.12786929, 0.05114772]]
    optimizer = tf1.Nadam(clipnorm=1.0, clipvalue=0.5)
    (gradient,) = optimizer.get_gradients(lambda: (0.0, [rows]), [table])
    np.testing.assert_allclose(gradient, expected, atol=1e-8)
    optimizer.apply_gradients([(rows, table)])
    np.testing.assert_allclose(optimizer.weights[1], 0.1 * gradient, rtol=1e-14)
    ((indices, values),) = tf1.Nadam(clipnorm=1.0).get_gradients(lambda: (0.0, [rows]), [table])
    assert indices.tolist() == [1, 1, 3]
    np.testing.assert_allclose(values, rows[1] / norm, rtol=1e-14)


def test_a_sparse_gradient_is_the_dense_one():
    rows = np.array([1, 1, 3]), np.ones((3, 2))
    dense = np.zeros((4, 2))
    np.add.at(dense, *rows)
    table, other = np.zeros((4, 2)), np.zeros((4, 2))
    run(tf1.Nadam(0.1), [table], [[dense], [rows], [rows]])
    run(tf1.Nadam(0.1), [other], [[dense], [dense], [dense]])
    assert (table == other).all()


def test_limits_of_zero_and_infinity():
    p, q, r = (np.ones(3) for _ in range(3))
    for array, options in ((p, {"clipvalue": 0}), (q, {"clipnorm": np.inf}), (r, {})):
        tf1.Nadam(**options).apply_gradients([(np.ones(3), array)])
    assert (p == 1.0).all()
    assert (q == r).all()
    assert (q != 1.0).all()


def test_scalars_in_single_precision():
    params, gradients = problem()
    expected, *_ = reference(
        params, gradients, lr=float(np.float32(0.1)), beta_1=float(np.float32(0.9)), beta_2=float(np.float32(0.999))
    )
    optimizer = tf1.Nadam(0.1, scalar_dtype="float32")
    run(optimizer, params, gradients)
    assert optimizer.m_schedule.dtype == np.float32
    for array, other in zip(params, expected, strict=True):
        np.testing.assert_allclose(array, other, rtol=1e-5, atol=1e-6)
    double, _ = problem()
    run(tf1.Nadam(0.1, scalar_dtype=np.float64), double, gradients)
    assert (double[0] != params[0]).any()


def test_updates_step_when_they_are_called():
    p, q = np.array([1.0, 2.0]), np.array([1.0, 2.0])
    optimizer = tf1.Nadam(0.1)
    assert (optimizer.weights, optimizer.get_weights(), optimizer.updates) == ([], [], [])
    updates = optimizer.get_updates(lambda scale: (scale * p @ p, [2 * scale * p]), [p])
    assert updates is optimizer.updates
    assert len(optimizer.get_weights()) == 3
    assert updates[0](3.0) == 15.0
    tf1.Nadam(0.1).apply_gradients([(6.0 * q, q)])
    assert (p == q).all()
    # The moments stay where they are.
    before = optimizer.get_weights()
    optimizer.get_updates(lambda: (0.0, [p]), [p])
    assert all((w == other).all() for w, other in zip(optimizer.get_weights(), before, strict=True))


@pytest.mark.parametrize("m_schedule", [False, True])
@pytest.mark.parametrize("options", [{}, {"t_offset": 1, "schedule_decay": 0.1}])
def test_resume(options, m_schedule):
    params, gradients = problem()
    expected = run(tf1.Nadam(0.1, **options), [p.copy() for p in params], gradients)
    first = tf1.Nadam(0.1, **options)
    run(first, params, gradients[:10])
    second = tf1.Nadam.from_config(first.get_config())
    second.get_updates(lambda: None, params)
    second.set_weights(first.get_weights(m_schedule))
    assert second.m_schedule == first.m_schedule
    run(second, params, gradients[10:])
    for array, other in zip(params, expected, strict=True):
        assert (array == other).all()


def test_the_product_of_very_many_steps():
    optimizer = tf1.Nadam()
    optimizer.get_updates(lambda: None, [np.ones(2)])
    optimizer.set_weights([10**12, np.zeros(2), np.zeros(2)])
    assert 0.0 <= optimizer.m_schedule < 1e-300
    assert optimizer.iterations == 10**12


def test_copies_go_on_by_themselves():
    params, gradients = problem()
    first = tf1.Nadam(0.1)
    first.get_updates(lambda: None, params)
    run(first, params, gradients[:10])
    other_params, second = copy.deepcopy((params, first))
    third_params, third = pickle.loads(pickle.dumps((params, first)))
    for made, arrays in ((first, params), (second, other_params), (third, third_params)):
        run(made, arrays, gradients[10:])
        for array, other in zip([*arrays, *made.weights], [*params, *first.weights], strict=True):
            assert (array == other).all()
    assert second.updates == []


def test_attributes_may_be_set():
    p, q = np.ones(3), np.ones(3)
    optimizer = tf1.Nadam()
    optimizer.lr, optimizer.beta_1, optimizer.beta_2 = 0.1, 0.8, 0.9
    optimizer.epsilon, optimizer.schedule_decay, optimizer.clipvalue = 1e-3, 0.1, 0.5
    optimizer.apply_gradients([(np.ones(3), p)])
    other = tf1.Nadam(0.1, 0.8, 0.9, 1e-3, 0.1, clipvalue=0.5)
    other.apply_gradients([(np.ones(3), q)])
    assert (p == q).all()
    assert optimizer.get_config() == other.get_config()
    optimizer.iterations, optimizer.m_schedule = 4, 0.25
    assert (optimizer.weights[0], optimizer.get_weights(True)[1]) == (4, 0.25)
    for name, value in {"lr": -1.0, "beta_1": 1.0, "iterations": -1, "m_schedule": 2.0, "clipnorm": -1.0}.items():
        with pytest.raises(ValueError, match=name):
            setattr(optimizer, name, value)
    with pytest.raises(AttributeError):
        optimizer.learning_rate = 0.1


def test_config():
    config = {"lr": 0.002, "beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-07, "schedule_decay": 0.004}
    assert tf1.Nadam().get_config() == config
    more = {**config, "epsilon": 0.0, "clipnorm": 0.0, "clipvalue": 2.0, "t_offset": 1, "scalar_dtype": "float32"}
    optimizer = tf1.Nadam.from_config(more)
    assert optimizer.get_config() == more
    assert optimizer.t_offset == 1
    assert repr(optimizer).startswith("Nadam(0 arrays, lr=0.002")


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"learning_rate": 0.1}, TypeError, r"optimizer: learning_rate=0\.1"),
        ({"clipnorm": -1.0}, ValueError, r"clipnorm=-1\.0"),
        ({"clipvalue": None}, TypeError, "clipvalue=None"),
        ({"clipnorm": "1"}, TypeError, "clipnorm='1'"),
        ({"lr": "x"}, TypeError, "lr='x'"),
        ({"lr": -1.0}, ValueError, r"lr=-1\.0"),
        ({"beta_2": 1.0}, ValueError, r"beta_2=1\.0"),
        ({"schedule_decay": -1.0}, ValueError, r"schedule_decay=-1\.0"),
        ({"t_offset": 2}, ValueError, "t_offset=2"),
        ({"scalar_dtype": "int64"}, ValueError, "scalar_dtype='int64'"),
        ({"scalar_dtype": "single or double"}, ValueError, "scalar_dtype='single or double'"),
    ],
)
def test_wrong_arguments(options, error, match):
    with pytest.raises(error, match=match):
        tf1.Nadam(**options)


@pytest.mark.parametrize(
    ("pairs", "error", "match"),
    [
        ([], ValueError, "at least one"),
        ([np.ones(3)], TypeError, r"grads_and_vars\[0\]"),
        ([(None, np.ones(3))], ValueError, "`None` for gradient"),
        ([(np.ones(2), np.ones(3))], ValueError, r"grads_and_vars\[0\]\[0\]"),
        ([(np.ones(3), np.ones(3, int))], TypeError, "int64"),
    ],
)
def test_wrong_pairs_change_nothing(pairs, error, match):
    p = np.ones(3)
    optimizer = tf1.Nadam()
    optimizer.apply_gradients([(np.ones(3), p)])
    before, weights = p.copy(), optimizer.get_weights(True)
    with pytest.raises(error, match=match):
        optimizer.apply_gradients(pairs)
    if pairs:
        with pytest.raises(error):
            optimizer.apply_gradients([(np.ones(3), p), *pairs])
    assert (p == before).all()
    assert all((w == other).all() for w, other in zip(optimizer.get_weights(True), weights, strict=True))


@pytest.mark.parametrize("length", [1, 2, 5])
def test_wrong_number_of_weights(length):
    optimizer = tf1.Nadam()
    optimizer.get_updates(lambda: None, [np.ones(3)])
    with pytest.raises(ValueError, match=rf"weight list \({length}\)"):
        optimizer.set_weights([np.ones(3)] * length)
    assert tf1.Nadam().set_weights([]) is None
    with pytest.raises(ValueError, match=r"weight list \(1\)"):
        tf1.Nadam().set_weights([np.array(0)])


def test_wrong_weights_change_nothing():
    p = np.ones(3)
    optimizer = tf1.Nadam()
    optimizer.apply_gradients([(np.ones(3), p)])
    before = optimizer.get_weights(True)
    for index, value in ((0, np.array(-1)), (1, np.array(2.0)), (2, np.ones(2)), (3, -np.ones(3))):
        weights = [0 * w for w in before]
        weights[index] = value
        with pytest.raises(ValueError, match=rf"weights\[{index}\]"):
            optimizer.set_weights(weights)
        assert all((w == other).all() for w, other in zip(optimizer.get_weights(True), before, strict=True))


def test_wrong_losses():
    p, optimizer = np.ones(3), tf1.Nadam()
    with pytest.raises(TypeError, match="loss=1"):
        optimizer.get_updates(1.0, [p])
    with pytest.raises(TypeError, match=r"params\[0\]"):
        optimizer.get_updates(lambda: None, [[1.0]])
    with pytest.raises(TypeError, match="pair"):
        optimizer.get_gradients(lambda: 1.0, [p])
    with pytest.raises(TypeError, match="list or tuple"):
        optimizer.get_gradients(lambda: (1.0, p), [p])
    with pytest.raises(ValueError, match="0 gradients"):
        optimizer.get_gradients(lambda: (1.0, []), [p])
    with pytest.raises(ValueError, match="`None` for gradient"):
        optimizer.get_gradients(lambda: (1.0, [None]), [p])


def test_dtypes_and_layouts():
    for dtype in ("float32", "complex64", "complex128"):
        p, q = np.asfortranarray(np.ones((2, 3), dtype)), np.ones((4, 6), dtype)[::2, ::2]
        g = np.arange(6, dtype=dtype).reshape(2, 3)
        optimizer = tf1.Nadam(0.1)
        run(optimizer, [p, q], [[g, g]] * 3)
        assert (p == q).all()
        assert (p[0, 1:] != 1.0).all()
        (same,) = optimizer.get_gradients(lambda g=g: (0.0, [g]), [p])
        assert (same == g).all()
        assert same is not g


def test_arrays_of_earlier_steps_are_named_so():
    table = np.ones((4, 3))
    optimizer = tf1.Nadam()
    optimizer.apply_gradients([(np.ones((2, 3)), table[:2])])
    earlier = r"an array of shape \(2, 3\) of an earlier step"
    with pytest.raises(ValueError, match=rf"{earlier} and grads_and_vars\[0\]\[1\] share memory"):
        optimizer.apply_gradients([(np.ones((4, 3)), table)])
    assert (table[2:] == 1.0).all()
