"""What the peers are run on: problems and options, as data, the same in every version of Python and NumPy.

Only the standard library and NumPy, and nothing newer than Python 3.7 and NumPy 1.16, where TensorFlow 1.13 lives.

A case is a dict that survives JSON:

``name``, ``peer``
    Unique within a peer; one of `PEERS`.
``options``
    Keyword arguments of the peer's optimizer, by the peer's own names. A learning rate or weight decay that is a
    function of the step is ``{"schedule": [name, *arguments]}``; see `resolve`.
``problem``, ``seed``
    What `data` makes parameters and gradients of: a key of `PROBLEMS`.
``floatx`` (torch, keras)
    The default float type, in which the peer keeps some scalars even if parameters are float64.
``optimizer`` (optax)
    "nadam" or "nadamw".
``exclude_from_weight_decay`` (keras)
    Which parameters do not decay.
``t_offset`` (tf1)
    0: step k uses t = k, as the authors meant; 1: t = k + 1, as TensorFlow 1.13 really does, nearly always.
"""
# ruff: noqa: B905 - zip has no strict in Python 3.7

import os
from collections import namedtuple

import numpy as np

# How many random combinations of options the live tests try for each peer.
COMBINATIONS = int(os.environ.get("COMBINATIONS", "50"))
# How many steps the live tests make with each case, where they do not say otherwise; those of Keras need 30.
STEPS = int(os.environ.get("STEPS", "200"))

INF = float("inf")

KERAS = ["keras_jax", "keras_tensorflow", "keras_torch"]
PEERS = ["torch", *KERAS, "tf_legacy_nadam", "tf_legacy_adam", "tf1", "optax"]

Rows = namedtuple("Rows", "indices values")
Rows.__doc__ = "A sparse gradient: values[i] belongs to row indices[i]; an index may occur more than once."


def problem(seed, steps=200):
    """Parameters, and a list of gradients for every step; the elements differ in magnitude by up to 1000."""
    random = np.random.RandomState(seed)
    params = [random.standard_normal(shape) for shape in [(7,), (3, 4)]]
    scales = [10.0 ** random.uniform(-2.0, 1.0, p.shape) for p in params]
    gradients = [[scale * random.standard_normal(scale.shape) for scale in scales] for _ in range(steps)]
    return params, gradients


def missing_problem(seed, steps=200):
    """On about a third of the steps, never the first, the second parameter has no gradient: None."""
    params, gradients = problem(seed, steps)
    absent = np.random.RandomState(seed + 1).uniform(size=steps) < 0.35
    absent[0] = False
    return params, [[g[0], None if none else g[1]] for g, none in zip(gradients, absent)]


def late_problem(seed, steps=200):
    """The second parameter gets its first gradient at the fourth step, and the first parameter pauses at the tenth."""
    params, gradients = problem(seed, steps)
    for step in range(min(3, steps)):
        gradients[step][1] = None
    if steps > 9:
        gradients[9][0] = None
    return params, gradients


def complex_problem(seed, steps=200):
    """As `problem`, with complex numbers."""
    params, gradients = problem(seed, steps)
    imaginary, imaginary_gradients = problem(seed + 10000, steps)
    join = [[a + 1j * b for a, b in zip(g, h)] for g, h in zip(gradients, imaginary_gradients)]
    return [a + 1j * b for a, b in zip(params, imaginary)], join


def sparse_problem(seed, steps=200, repeats=True):
    """A table whose gradients name rows, several times if `repeats`, and a dense parameter."""
    random = np.random.RandomState(seed)
    params = [random.standard_normal((6, 3)), random.standard_normal(7)]
    scales = [10.0 ** random.uniform(-2.0, 1.0, p.shape) for p in params]
    gradients = []
    for _ in range(steps):
        count = random.randint(1, 9 if repeats else 5)
        indices = random.randint(0, 6, count) if repeats else random.permutation(6)[:count]
        values = scales[0][indices] * random.standard_normal((count, 3))
        gradients.append([Rows(indices.astype(np.int64), values), scales[1] * random.standard_normal(7)])
    return params, gradients


def unique_problem(seed, steps=200):
    """As `sparse_problem`, with no row named twice in a step."""
    return sparse_problem(seed, steps, repeats=False)


PROBLEMS = {
    "dense": problem,
    "missing": missing_problem,
    "late": late_problem,
    "complex": complex_problem,
    "sparse": sparse_problem,
    "unique": unique_problem,
}


def data(case, steps=STEPS):
    """The parameters and the gradients of a case."""
    return PROBLEMS[case["problem"]](case["seed"], steps)


def to_dense(rows, shape):
    """The array that a sparse gradient stands for: repeated rows are summed."""
    array = np.zeros(shape)
    np.add.at(array, rows.indices, rows.values)
    return array


def resolve(options, schedules):
    """Options with ``{"schedule": [name, *arguments]}`` replaced by ``schedules[name](*arguments)``.

    The names are "constant" (value; a function without arguments), "exponential_decay" (initial rate, decay steps,
    decay rate) and "cosine_decay" (initial rate, decay steps, alpha), with the meaning they have in Keras.
    """
    return {name: _resolve(value, schedules) for name, value in options.items()}


def _resolve(value, schedules):
    if isinstance(value, dict) and "schedule" in value:
        name, arguments = value["schedule"][0], value["schedule"][1:]
        return schedules[name](*arguments)
    return value


def single_cases(peer):
    """The cases of a peer in which every option is tried on its own, and those that are easily got wrong together."""
    cases = []
    for settings, table in _TABLES[peer]:
        for name, options in table.items():
            cases.append(_case(peer, name, options, settings))
    names = [case["name"] for case in cases]
    assert len(set(names)) == len(names)
    return cases


def random_case(peer, seed):
    """A random combination of the options of a peer, on a problem of its own."""
    random = np.random.RandomState(seed)
    settings = {"seed": 100 + seed}
    options = _RANDOM[peer](random, settings)
    return _case(peer, f"random_{seed}", options, settings)


def _case(peer, name, options, settings):
    case = {"name": name, "peer": peer, "problem": "dense", "seed": 0, "options": options}
    if peer == "torch" or peer in KERAS:
        case["floatx"] = "float64"
    case.update(settings)
    return case


# Single options. Settings of a table apply to each of its cases.

_EXPONENTIAL = {"schedule": ["exponential_decay", 0.1, 50, 0.9]}
_COSINE = {"schedule": ["cosine_decay", 0.05, 150, 0.1]}
_CONSTANT = {"schedule": ["constant", 0.05]}

_TORCH = [
    (
        {},
        {
            "defaults": {},
            "lr": {"lr": 0.1},
            "small_lr": {"lr": 1e-4},
            "betas": {"betas": [0.8, 0.99]},
            "zero_betas": {"betas": [0.0, 0.0]},
            "eps": {"eps": 1e-3},
            "zero_eps": {"eps": 0.0},
            "weight_decay": {"weight_decay": 0.1},
            "momentum_decay": {"momentum_decay": 0.1},
            "momentum_decay_zero": {"momentum_decay": 0.0},
            "momentum_decay_one": {"momentum_decay": 1.0},
            "momentum_decay_inf": {"momentum_decay": INF},
            "decoupled": {"lr": 0.05, "weight_decay": 0.1, "decoupled_weight_decay": True},
            "decoupled_without_decay": {"decoupled_weight_decay": True},
            "maximize": {"maximize": True},
            "maximize_coupled": {"lr": 0.05, "weight_decay": 0.1, "maximize": True},
            "maximize_decoupled": {
                "lr": 0.05,
                "weight_decay": 0.1,
                "maximize": True,
                "decoupled_weight_decay": True,
                "momentum_decay": INF,
            },
            "foreach": {"lr": 0.1, "foreach": True},
        },
    ),
    ({"problem": "missing"}, {"missing": {"lr": 0.01}, "missing_decay": {"lr": 0.01, "weight_decay": 0.1}}),
    ({"problem": "late"}, {"late": {"lr": 0.1}}),
    (
        {"problem": "complex"},
        {
            "complex": {"lr": 0.01},
            "complex_coupled": {"weight_decay": 0.1, "maximize": True},
            "complex_decoupled": {"lr": 0.1, "weight_decay": 0.1, "decoupled_weight_decay": True},
        },
    ),
    ({"floatx": "float32"}, {"float32_scalars": {}, "float32_scalars_large_lr": {"lr": 0.1}}),
]

_KERAS = [
    (
        {},
        {
            "defaults": {},
            "learning_rate": {"learning_rate": 0.1},
            "schedule_exponential": {"learning_rate": _EXPONENTIAL},
            "schedule_cosine": {"learning_rate": _COSINE},
            "learning_rate_function": {"learning_rate": _CONSTANT},
            "beta_1": {"beta_1": 0.5},
            "beta_2": {"beta_2": 0.9},
            "epsilon": {"epsilon": 1e-3},
            "zero_epsilon": {"epsilon": 0.0},
            "weight_decay": {"learning_rate": 0.05, "weight_decay": 0.1},
            "zero_weight_decay": {"weight_decay": 0.0},
            "clipnorm": {"clipnorm": 4.0},
            "clipvalue": {"clipvalue": 1.0},
            "global_clipnorm": {"global_clipnorm": 6.0},
            "zero_clipnorm": {"clipnorm": 0.0},
            "use_ema": {"use_ema": True},
            "ema_momentum": {"use_ema": True, "ema_momentum": 0.5, "learning_rate": 0.05},
            "unused_ema_momentum": {"ema_momentum": 0.5, "ema_overwrite_frequency": 3},
            "ema_overwrite_frequency": {"use_ema": True, "ema_momentum": 0.9, "ema_overwrite_frequency": 7},
            "loss_scale_factor": {"loss_scale_factor": 8.0},
            "gradient_accumulation_steps": {"gradient_accumulation_steps": 4},
            "odd_gradient_accumulation_steps": {"gradient_accumulation_steps": 3, "learning_rate": 0.05},
            "name": {"name": "an_optimizer"},
            "ignored_decay": {"decay": 0.1},
            "accumulation_schedule": {"gradient_accumulation_steps": 4, "learning_rate": _EXPONENTIAL},
            "accumulation_ema": {
                "gradient_accumulation_steps": 4,
                "use_ema": True,
                "ema_momentum": 0.9,
                "ema_overwrite_frequency": 5,
            },
            "accumulation_decay_clip": {
                "gradient_accumulation_steps": 2,
                "weight_decay": 0.1,
                "clipnorm": 2.0,
                "loss_scale_factor": 0.5,
            },
        },
    ),
    (
        {"exclude_from_weight_decay": [0]},
        {"exclude_from_weight_decay": {"learning_rate": 0.05, "weight_decay": 0.1}},
    ),
    (
        {"problem": "missing"},
        {
            "missing": {"learning_rate": 0.01, "weight_decay": 0.1},
            "missing_global_clipnorm": {"learning_rate": 0.01, "global_clipnorm": 2.0},
            "missing_ema": {"use_ema": True, "ema_momentum": 0.9, "ema_overwrite_frequency": 5},
            "missing_accumulation": {"gradient_accumulation_steps": 3},
        },
    ),
    ({"problem": "late"}, {"late": {"learning_rate": 0.1}, "late_ema": {"use_ema": True}}),
    (
        {"floatx": "float32"},
        {
            "float32_scalars": {},
            "float32_scalars_weight_decay": {"learning_rate": 0.1, "weight_decay": 0.1},
            "float32_scalars_schedule": {"learning_rate": _EXPONENTIAL},
            "float32_scalars_ema": {"use_ema": True, "ema_momentum": 0.9},
        },
    ),
]

_KERAS_SPARSE = [
    ({"problem": "unique"}, {"sparse_unique": {"learning_rate": 0.05}}),
    (
        {"problem": "sparse"},
        {
            "sparse": {"learning_rate": 0.05},
            "sparse_weight_decay": {"learning_rate": 0.05, "weight_decay": 0.1},
            "sparse_clipnorm": {"clipnorm": 4.0},
            "sparse_clipvalue": {"clipvalue": 1.0},
            "sparse_global_clipnorm": {"global_clipnorm": 6.0},
            "sparse_accumulation": {"gradient_accumulation_steps": 3},
            "sparse_ema": {"use_ema": True, "ema_momentum": 0.9},
        },
    ),
]

_LEGACY_CLIPS = {
    "clipnorm": {"clipnorm": 4.0},
    "clipvalue": {"clipvalue": 1.0},
    "global_clipnorm": {"global_clipnorm": 6.0},
    "clipvalue_clipnorm": {"clipvalue": 1.0, "clipnorm": 2.0},
    "clipvalue_global_clipnorm": {"clipvalue": 1.0, "global_clipnorm": 3.0},
}
_LEGACY = [
    (
        {},
        dict(
            {
                "defaults": {},
                "learning_rate": {"learning_rate": 0.1},
                "lr": {"lr": 0.05, "learning_rate": 0.01},
                "learning_rate_function": {"learning_rate": _CONSTANT},
                "beta_1": {"beta_1": 0.5},
                "beta_2": {"beta_2": 0.9},
                "epsilon": {"epsilon": 1e-3},
                "zero_epsilon": {"epsilon": 0.0},
                "decay": {"learning_rate": 0.05, "decay": 0.1},  # Nadam ignores it
                "name": {"name": "an_optimizer"},
            },
            **_LEGACY_CLIPS,
        ),
    ),
    ({"problem": "missing"}, {"missing": {"learning_rate": 0.01}, "missing_global_clipnorm": {"global_clipnorm": 2.0}}),
    ({"problem": "late"}, {"late": {"learning_rate": 0.1}}),
    ({"problem": "unique"}, {"sparse_unique": {"learning_rate": 0.05}}),
    (
        {"problem": "sparse"},
        dict({"sparse_" + name: options for name, options in _LEGACY_CLIPS.items()}, sparse={"learning_rate": 0.05}),
    ),
]

_LEGACY_NADAM = [
    (
        {},
        {
            "schedule_decay": {"schedule_decay": 0.1},
            "schedule_decay_zero": {"schedule_decay": 0.0},
            "schedule_decay_one": {"schedule_decay": 1.0},
            "schedule_decay_and_decay": {"schedule_decay": 0.1, "decay": 0.5},
        },
    ),
    ({"problem": "sparse"}, {"sparse_schedule_decay": {"learning_rate": 0.05, "schedule_decay": 0.1}}),
]

_LEGACY_ADAM = [
    (
        {},
        {
            "amsgrad": {"amsgrad": True, "beta_2": 0.9, "learning_rate": 0.05},
            "amsgrad_decay": {"amsgrad": True, "beta_2": 0.9, "decay": 0.1},
            "amsgrad_clipnorm": {"amsgrad": True, "beta_2": 0.9, "clipnorm": 2.0},
            "schedule_exponential": {"learning_rate": _EXPONENTIAL},
            "schedule_cosine": {"learning_rate": _COSINE},
            "schedule_decay": {"learning_rate": _EXPONENTIAL, "decay": 0.1},
        },
    ),
    ({"problem": "missing"}, {"missing_amsgrad": {"amsgrad": True, "beta_2": 0.9}}),
    (
        {"problem": "sparse"},
        {
            "sparse_amsgrad": {"amsgrad": True, "beta_2": 0.9, "learning_rate": 0.05},
            "sparse_amsgrad_clipvalue": {"amsgrad": True, "beta_2": 0.9, "clipvalue": 1.0},
            "sparse_decay": {"learning_rate": 0.05, "decay": 0.1},
        },
    ),
]

_TF1_OPTIONS = {
    "defaults": {},
    "lr": {"lr": 0.1},
    "small_lr": {"lr": 1e-4},
    "beta_1": {"beta_1": 0.5},
    "beta_2": {"beta_2": 0.9},
    "epsilon": {"epsilon": 1e-3},
    "zero_epsilon": {"epsilon": 0.0},
    "schedule_decay": {"schedule_decay": 0.1},
    "schedule_decay_zero": {"schedule_decay": 0.0},
    "schedule_decay_one": {"schedule_decay": 1.0},
    "clipnorm": {"clipnorm": 4.0},
    "clipvalue": {"clipvalue": 1.0},
    "clipnorm_clipvalue": {"clipnorm": 4.0, "clipvalue": 1.0},
}
_TF1 = [
    ({"t_offset": 0}, _TF1_OPTIONS),
    ({"t_offset": 1}, {name + "_raced": options for name, options in _TF1_OPTIONS.items()}),
]

_OPTAX_OPTIONS = {
    "learning_rate": {"learning_rate": 0.1},
    "small_learning_rate": {"learning_rate": 1e-4},
    "learning_rate_none": {"learning_rate": None},
    "schedule_exponential": {"learning_rate": _EXPONENTIAL},
    "schedule_cosine": {"learning_rate": _COSINE},
    "b1": {"learning_rate": 0.01, "b1": 0.5},
    "b2": {"learning_rate": 0.01, "b2": 0.9},
    "eps": {"learning_rate": 0.01, "eps": 1e-3},
    "eps_root": {"learning_rate": 0.01, "eps_root": 1e-3},
    "mu_dtype": {"learning_rate": 0.01, "mu_dtype": "float32"},
    "without_nesterov": {"learning_rate": 0.01, "nesterov": False},
}
_OPTAX = [
    ({"optimizer": "nadam"}, _OPTAX_OPTIONS),
    (
        {"optimizer": "nadamw"},
        dict(
            {"nadamw_" + name: options for name, options in _OPTAX_OPTIONS.items()},
            nadamw_weight_decay={"learning_rate": 0.05, "weight_decay": 0.1},
            nadamw_weight_decay_zero={"learning_rate": 0.05, "weight_decay": 0.0},
            nadamw_weight_decay_schedule={"learning_rate": 0.05, "weight_decay": _EXPONENTIAL},
            nadamw_mask={"learning_rate": 0.05, "weight_decay": 0.1, "mask": [False, True]},
            nadamw_mask_none={"learning_rate": 0.05, "weight_decay": 0.1, "mask": [False, False]},
        ),
    ),
    (
        {"optimizer": "nadam", "problem": "complex"},
        {"complex": {"learning_rate": 0.05}, "complex_eps_root": {"learning_rate": 0.05, "eps_root": 1e-3}},
    ),
    ({"optimizer": "nadamw", "problem": "complex"}, {"nadamw_complex": {"learning_rate": 0.05, "weight_decay": 0.1}}),
]

_TABLES = {
    "torch": _TORCH,
    "keras_jax": _KERAS,
    "keras_tensorflow": _KERAS + _KERAS_SPARSE,
    "keras_torch": _KERAS,
    "tf_legacy_nadam": _LEGACY + _LEGACY_NADAM,
    "tf_legacy_adam": _LEGACY + _LEGACY_ADAM,
    "tf1": _TF1,
    "optax": _OPTAX,
}


# Random combinations


def _chance(random, probability=0.5):
    return bool(random.uniform() < probability)


def _one_of(random, values):
    return values[random.randint(len(values))]


def _power(random, low, high):
    return float(10.0 ** random.uniform(low, high))


def _some(random, makers):
    """Each option with probability one half; its value is made in any case, so that options do not hang together."""
    options = {}
    for name, make in makers:
        value = make(random)
        if _chance(random):
            options[name] = value
    return options


def _learning_rate(random):
    return _power(random, -4.0, -1.0)


def _first_beta(random):
    return float(random.uniform(0.3, 0.99))


def _second_beta(random):
    return float(random.uniform(0.9, 0.9999))


def _epsilon(random):
    return _power(random, -12.0, -3.0)


def _weight_decay(random):
    return _power(random, -4.0, 0.0)


def _clip(random):
    return _power(random, -1.0, 1.0)


def _psi(random):
    return _one_of(random, [0.0, 4e-3, 1.0, _power(random, -3.0, 1.0)])


def _schedule(random):
    rate = _learning_rate(random)
    exponential = ["exponential_decay", rate, int(random.randint(10, 200)), float(random.uniform(0.1, 1.0))]
    cosine = ["cosine_decay", rate, int(random.randint(50, 250)), float(random.uniform(0.0, 1.0))]
    return {"schedule": _one_of(random, [exponential, cosine])}


def _flag(random):
    return _chance(random)


def _random_torch(random, settings):
    settings["problem"] = _one_of(random, ["dense", "dense", "missing", "late", "complex"])
    return _some(
        random,
        [
            ("lr", _learning_rate),
            ("betas", lambda r: [_first_beta(r), _second_beta(r)]),
            ("eps", _epsilon),
            ("weight_decay", _weight_decay),
            ("momentum_decay", lambda r: _one_of(r, [_psi(r), INF])),
            ("decoupled_weight_decay", _flag),
            ("maximize", _flag),
            ("foreach", _flag),
        ],
    )


def _random_keras(random, settings, problems=("dense", "dense", "missing", "late")):
    settings["problem"] = _one_of(random, problems)
    options = _some(
        random,
        [
            ("learning_rate", lambda r: _one_of(r, [_learning_rate(r), _learning_rate(r), _schedule(r)])),
            ("beta_1", _first_beta),
            ("beta_2", _second_beta),
            ("epsilon", _epsilon),
            ("weight_decay", _weight_decay),
            (_one_of(random, ["clipnorm", "clipvalue", "global_clipnorm"]), _clip),
            ("use_ema", lambda r: True),
            ("ema_momentum", lambda r: float(r.uniform(0.0, 1.0))),
            ("ema_overwrite_frequency", lambda r: int(r.randint(1, 20))),
            ("loss_scale_factor", lambda r: _power(r, -1.0, 2.0)),
            ("gradient_accumulation_steps", lambda r: int(r.randint(2, 8))),
        ],
    )
    if settings["problem"] in ("sparse", "unique"):
        options.pop("loss_scale_factor", None)  # a TypeError: IndexedSlices cannot be divided
    return options


def _random_keras_sparse(random, settings):
    return _random_keras(random, settings, ("dense", "missing", "late", "sparse", "unique"))


def _random_legacy(random, settings, more):
    settings["problem"] = _one_of(random, ["dense", "dense", "missing", "late", "sparse", "sparse"])
    return _some(
        random,
        [
            ("learning_rate", _learning_rate),
            ("beta_1", _first_beta),
            ("beta_2", _second_beta),
            ("epsilon", _epsilon),
            ("clipvalue", _clip),
            (_one_of(random, ["clipnorm", "global_clipnorm"]), _clip),
            ("decay", lambda r: _power(r, -3.0, 0.0)),
            *more,
        ],
    )


def _random_legacy_nadam(random, settings):
    return _random_legacy(random, settings, [("schedule_decay", _psi)])


def _random_legacy_adam(random, settings):
    return _random_legacy(random, settings, [("amsgrad", _flag), ("learning_rate", _schedule)])


def _random_tf1(random, settings):
    settings["t_offset"] = int(random.randint(2))
    return _some(
        random,
        [
            ("lr", _learning_rate),
            ("beta_1", _first_beta),
            ("beta_2", _second_beta),
            ("epsilon", _epsilon),
            ("schedule_decay", _psi),
            ("clipnorm", _clip),
            ("clipvalue", _clip),
        ],
    )


def _random_optax(random, settings):
    settings["optimizer"] = _one_of(random, ["nadam", "nadamw"])
    settings["problem"] = _one_of(random, ["dense", "dense", "complex"])
    makers = [
        ("b1", _first_beta),
        ("b2", _second_beta),
        ("eps", _epsilon),
        ("eps_root", _epsilon),
        ("nesterov", _flag),
    ]
    if settings["problem"] != "complex":
        makers.append(("mu_dtype", lambda r: "float32"))
    if settings["optimizer"] == "nadamw":
        makers.append(("weight_decay", lambda r: _one_of(r, [_weight_decay(r), _schedule(r)])))
        makers.append(("mask", lambda r: [_flag(r), _flag(r)]))
    learning_rate = _one_of(random, [_learning_rate(random), _learning_rate(random), _schedule(random)])
    return dict(_some(random, makers), learning_rate=learning_rate)


_RANDOM = {
    "torch": _random_torch,
    "keras_jax": _random_keras,
    "keras_tensorflow": _random_keras_sparse,
    "keras_torch": _random_keras,
    "tf_legacy_nadam": _random_legacy_nadam,
    "tf_legacy_adam": _random_legacy_adam,
    "tf1": _random_tf1,
    "optax": _random_optax,
}
