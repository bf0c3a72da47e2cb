"""The interfaces to TensorFlow's legacy optimizers against the real ones, step by step."""

import warnings

import numpy as np
import pytest

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # TensorFlow's own, while it is imported
    tf = pytest.importorskip("tensorflow")
    pytest.importorskip("tf_keras")
    import real_tf_legacy

import cases

from nadam_numba.compat import tf_legacy

OURS = {"tf_legacy_nadam": tf_legacy.Nadam, "tf_legacy_adam": tf_legacy.Adam}
CASES = [case for peer in OURS for case in cases.single_cases(peer)]
CASES += [cases.random_case(peer, seed) for peer in OURS for seed in range(cases.COMBINATIONS)]
SCHEDULES = {
    "constant": lambda rate: lambda: rate,
    # Keras computes its schedules in single precision: they are not what is compared here.
    "exponential_decay": lambda *arguments: _keras_schedule("exponential_decay", *arguments),
    "cosine_decay": lambda *arguments: _keras_schedule("cosine_decay", *arguments),
}


def _keras_schedule(name, *arguments):
    schedule = real_tf_legacy.SCHEDULES[name](*arguments)
    return lambda step: schedule(tf.constant(step, tf.float64)).numpy()


def ours(case, **more):
    """The parameters after each step."""
    params, gradients = cases.data(case)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "lr is deprecated|decay is ignored", UserWarning)
        optimizer = OURS[case["peer"]](**cases.resolve(case["options"], SCHEDULES), **more)
    points = []
    for step_gradients in gradients:
        given = [tuple(g) if isinstance(g, cases.Rows) else g for g in step_gradients]
        optimizer.apply_gradients(zip(given, params, strict=True))
        points.append([p.copy() for p in params])
    return points


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case['peer']}-{case['name']}")
def test_same_numbers_after_every_step(case):
    expected = real_tf_legacy.trajectory(case, *cases.data(case))
    for step, (point, theirs) in enumerate(zip(ours(case), expected, strict=True), start=1):
        for array, other in zip(point, theirs, strict=True):
            np.testing.assert_allclose(array, other, rtol=1e-14, atol=1e-15, err_msg=f"after step {step}")


@pytest.mark.parametrize("peer", OURS)
@pytest.mark.parametrize("name", ["defaults", "learning_rate", "decay"])
def test_unrounded_scalars_stay_close(peer, name):
    (case,) = [case for case in cases.single_cases(peer) if case["name"] == name]
    expected = real_tf_legacy.trajectory(case, *cases.data(case))
    deviations = [
        np.abs(array - other).max()
        for point, theirs in zip(ours(case, scalar_dtype="float64"), expected, strict=True)
        for array, other in zip(point, theirs, strict=True)
    ]
    # Rounding of the learning rate alone makes up to 3e-8 of a way of up to 200 times the rate.
    assert 0.0 < max(deviations) <= 1e-5 * case["options"].get("learning_rate", 1e-3)


def real(name):
    """A real optimizer's class."""
    return {"Nadam": real_tf_legacy.OPTIMIZERS["tf_legacy_nadam"], "Adam": real_tf_legacy.OPTIMIZERS["tf_legacy_adam"]}[
        name
    ]


def _errors_of(optimizer, *, variable, gradient, unused):
    """Calls that must fail, by what they do, on `optimizer` class with these arrays."""
    schedule = real_tf_legacy.SCHEDULES["exponential_decay"](0.1, 10, 0.9)

    def stepped(**options):
        made = optimizer(**options)
        made.apply_gradients([(gradient, variable)])
        return made

    def set_iterations():
        stepped().iterations = stepped().iterations

    calls = {
        "unknown argument": lambda: optimizer(rho=0.1),
        "negative clipnorm": lambda: optimizer(clipnorm=-1.0),
        "negative clipvalue": lambda: optimizer(clipvalue=-1.0),
        "negative global_clipnorm": lambda: optimizer(global_clipnorm=-1.0),
        "negative lr": lambda: optimizer(lr=-1.0),
        "text as clipnorm": lambda: optimizer(clipnorm="1"),
        "both norms": lambda: optimizer(clipnorm=1.0, global_clipnorm=1.0),
        "clipping and transformers": lambda: optimizer(clipnorm=1.0, gradient_transformers=[list]),
        "no gradients": lambda: optimizer().apply_gradients([(None, variable)]),
        "number of weights": lambda: stepped().set_weights([np.zeros(())]),
        "shape of a weight": lambda: (lambda made: made.set_weights([np.zeros(9) for _ in made.weights]))(stepped()),
        "late iterations": set_iterations,
        "no tape": lambda: optimizer().minimize(1.0, [variable]),
        "slot of an unknown variable": lambda: stepped().get_slot(unused, "m"),
        "unknown slot": lambda: stepped().get_slot(variable, "w"),
    }
    if optimizer.__name__ == "Nadam":
        calls["schedule"] = lambda: optimizer(schedule)
        calls["negative schedule_decay"] = lambda: optimizer(schedule_decay=-1.0)
        calls["no schedule_decay"] = lambda: optimizer(schedule_decay=None)
        calls["nothing to apply"] = lambda: optimizer().apply_gradients([])
    else:
        calls["negative decay"] = lambda: optimizer(decay=-1.0)
        calls["no decay"] = lambda: optimizer(decay=None)
    return calls


def _raised(call):
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*lr.*deprecated", UserWarning)
        try:
            call()
        except Exception as error:
            return type(error)
    return None


@pytest.mark.parametrize("name", ["Nadam", "Adam"])
def test_same_types_of_errors(name):
    theirs = _errors_of(
        real(name),
        variable=tf.Variable(np.ones(2)),
        gradient=tf.constant(np.ones(2)),
        unused=tf.Variable(np.ones(2)),
    )
    mine = _errors_of(getattr(tf_legacy, name), variable=np.ones(2), gradient=np.ones(2), unused=np.ones(2))
    expected = {what: _raised(call) for what, call in theirs.items()}
    assert None not in expected.values()
    assert {what: _raised(call) for what, call in mine.items()} == expected


@pytest.mark.parametrize(("name", "options"), [("Nadam", {}), ("Adam", {}), ("Adam", {"amsgrad": True})])
def test_weights_are_exchanged(name, options):
    params, gradients = cases.problem(0, steps=20)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TensorFlow's own
        variables = [tf.Variable(p) for p in params]
        theirs = real(name)(0.1, **options)
        for step in gradients[:10]:
            theirs.apply_gradients(zip(map(tf.constant, step), variables, strict=True))
    arrays = [variable.numpy().copy() for variable in variables]
    mine = getattr(tf_legacy, name)(0.1, **options)
    mine._create_all_weights(arrays)
    mine.set_weights(theirs.get_weights())
    for step in gradients[10:]:
        mine.apply_gradients(zip(step, arrays, strict=True))
        theirs.apply_gradients(zip(map(tf.constant, step), variables, strict=True))
    for array, variable in zip(arrays, variables, strict=True):
        np.testing.assert_allclose(array, variable.numpy(), rtol=1e-14, atol=1e-15)
    for weight, other in zip(mine.get_weights(), theirs.get_weights(), strict=True):
        assert weight.shape == other.shape
        np.testing.assert_allclose(weight, other, rtol=1e-14, atol=1e-15)


@pytest.mark.parametrize("name", ["Nadam", "Adam"])
def test_configs_are_exchanged(name):
    options = {"schedule_decay": 0.1} if name == "Nadam" else {"decay": 0.1, "amsgrad": True}
    mine = getattr(tf_legacy, name)(0.25, clipnorm=2.0, name="mine", **options)
    theirs = real(name).from_config(mine.get_config())
    again = getattr(tf_legacy, name).from_config(theirs.get_config())
    assert theirs.get_config()["decay"] == 0.1
    assert again.get_config() == mine.get_config()


def test_variables_that_come_late_share_the_weights_order():
    params, gradients = cases.problem(0, steps=3)
    variables = [tf.Variable(p) for p in params]
    theirs, mine = real("Nadam")(), tf_legacy.Nadam()
    for numbers in ([0], [0, 1], [1, 0]):
        step = gradients[len(numbers)]
        theirs.apply_gradients([(tf.constant(step[i]), variables[i]) for i in numbers])
        mine.apply_gradients([(step[i], params[i]) for i in numbers])
    assert [w.shape for w in mine.get_weights()] == [w.shape for w in theirs.get_weights()]
    for weight, other in zip(mine.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_allclose(weight, other, rtol=1e-14, atol=1e-15)


RATES = {
    "number": lambda: 0.1,
    "float32": lambda: np.float32(0.1),
    "float64": lambda: np.float64(0.1),
    "array": lambda: np.array(0.1),
    "tensor": lambda: tf.constant(0.1),
    "double tensor": lambda: tf.constant(0.1, tf.float64),
    "integer tensor": lambda: tf.constant(1),
    "double variable": lambda: tf.Variable(0.1, dtype=tf.float64),
}


def _points(optimizer, rate, convert, between=lambda made: None):
    """An array after each of some steps; `convert` makes a variable of it, or leaves it."""
    made = optimizer(rate)
    variable = convert(np.array([1.0, -2.0]))
    points = []
    for gradient in np.random.default_rng(0).standard_normal((6, 2)):
        made.apply_gradients([(gradient if convert is np.array else tf.constant(gradient), variable)])
        between(made)
        points.append(np.asarray(variable).copy())
    return points


def _assert_same(optimizer, make_rate, **options):
    mine = _points(getattr(tf_legacy, optimizer), make_rate(), np.array, **options)
    theirs = _points(real(optimizer), make_rate(), tf.Variable, **options)
    np.testing.assert_allclose(mine, theirs, rtol=1e-14, atol=1e-15)


@pytest.mark.parametrize("optimizer", ["Nadam", "Adam"])
@pytest.mark.parametrize("name", RATES)
def test_rates_of_any_kind(optimizer, name):
    make = RATES[name]
    _assert_same(optimizer, make)
    _assert_same(optimizer, lambda: make)
    if name != "double variable":  # to which TensorFlow assigns what is set
        for later in (0.3, np.float64(0.3)):
            _assert_same(optimizer, make, between=lambda made, later=later: setattr(made, "lr", later))


@pytest.mark.parametrize("name", RATES)
def test_schedules_of_any_kind(name):
    class Schedule(real_tf_legacy.tf_keras.optimizers.schedules.LearningRateSchedule):
        def __call__(self, step):
            return RATES[name]()

    _assert_same("Adam", Schedule)


def test_schedules_of_tensorflow():
    kinds = real_tf_legacy.tf_keras.optimizers.schedules
    for make in (
        lambda: kinds.ExponentialDecay(0.1, 3, 0.5),
        lambda: kinds.InverseTimeDecay(0.1, 3, 0.5),
        lambda: kinds.PolynomialDecay(0.1, 4),
        lambda: kinds.PiecewiseConstantDecay([1, 3], [0.1, 0.01, 0.001]),
        lambda: kinds.CosineDecay(0.1, 4),
        lambda: kinds.CosineDecayRestarts(0.1, 2),
    ):
        _assert_same("Adam", make)
        config = real("Adam")(make()).get_config()
        mine = tf_legacy.Adam.from_config(config)
        theirs = real("Adam").from_config(mine.get_config())
        assert type(theirs.learning_rate) is type(make())
        for step in range(6):
            assert mine.learning_rate(step) == pytest.approx(float(make()(step)), rel=1e-6)
            assert float(theirs.learning_rate(step)) == float(make()(step))


@pytest.mark.parametrize(
    ("optimizer", "decay"), [("Nadam", {"schedule_decay": 0.2}), ("Adam", {"decay": 0.2}), ("Adam", {})]
)
def test_decay_and_epsilon_that_are_set_later(optimizer, decay):
    def change(made):
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "decay=0.5 is ignored", UserWarning)
            made.decay = 0.5
        made.epsilon = 0.0

    mine = _points(lambda rate: getattr(tf_legacy, optimizer)(rate, **decay), 0.1, np.array, change)
    theirs = _points(lambda rate: real(optimizer)(rate, **decay), 0.1, tf.Variable, change)
    np.testing.assert_allclose(mine, theirs, rtol=1e-14, atol=1e-15)
