"""Groups of parameters, settings that change between steps, exclusion from decay, and hooks."""

import copy
import pickle
import re

import numpy as np
import pytest

from nadam_numba import NAdam


def assert_same(arrays, others):
    for array, expected in zip(arrays, others, strict=True):
        np.testing.assert_array_equal(array, expected, strict=True)


def make_arrays(seed=0):
    generator = np.random.default_rng(seed)
    return [generator.standard_normal(shape) for shape in ((3, 2), (4,), ())]


OVERRIDES = {
    "learning_rate": 0.3,
    "beta_1": 0.5,
    "beta_2": 0.6,
    "epsilon": 0.1,
    "momentum_decay": 1.0,
    "weight_decay": 0.2,
    "decoupled_weight_decay": True,
    "nesterov": False,
    "amsgrad": True,
    "maximize": True,
    "clipvalue": 0.1,
    "clipnorm": 0.2,
    "epsilon_root": 0.1,
}


@pytest.mark.parametrize("name", OVERRIDES)
@pytest.mark.parametrize("when", ["constructor", "group", "optimizer"])
def test_each_group_steps_as_an_optimizer_of_its_own(name, when):
    common = {"learning_rate": 0.05, "beta_2": 0.9, "weight_decay": 0.1}
    arrays, others = make_arrays(), make_arrays()
    own = {name: OVERRIDES[name]}
    optimizer = NAdam(
        [{"params": arrays[:2], **(own if when == "constructor" else {})}, {"params": arrays[2]}], **common
    )
    if when == "group":
        optimizer.param_groups[0][name] = OVERRIDES[name]
    elif when == "optimizer":
        optimizer.param_groups[1][name] = getattr(optimizer, name)
        setattr(optimizer, name, OVERRIDES[name])
    references = NAdam(others[:2], **{**common, **own}), NAdam(others[2], **common)
    for step in range(5):
        gradients = make_arrays(step + 1)
        optimizer.step([gradients[:2], gradients[2]])
        references[0].step(gradients[:2])
        references[1].step(gradients[2])
    assert_same(arrays, others)
    assert optimizer.param_groups[0][name] == OVERRIDES[name]


def test_a_norm_common_to_all_groups():
    arrays, others = make_arrays(), make_arrays()
    optimizer = NAdam([{"params": array} for array in arrays], global_clipnorm=0.1)
    reference = NAdam(others, global_clipnorm=0.1)
    optimizer.step(make_arrays(1))
    reference.step(make_arrays(1))
    assert_same(arrays, others)


def test_a_group_is_a_dict():
    optimizer = NAdam([{"params": np.ones(2), "beta_1": 0.5}, {"params": np.ones(3)}], learning_rate=0.1)
    group = optimizer.param_groups[0]
    assert dict(group)["beta_1"] == 0.5
    assert len(dict(group)) == len(group) == 14
    assert group["learning_rate"] == 0.1
    optimizer.learning_rate = 0.2
    optimizer.beta_1 = 0.8
    assert [g["learning_rate"] for g in optimizer.param_groups] == [0.2, 0.2]
    assert [g["beta_1"] for g in optimizer.param_groups] == [0.5, 0.8]
    del group["beta_1"]
    assert group["beta_1"] == 0.8
    assert "lr" not in group
    with pytest.raises(KeyError, match="'lr'"):
        group["lr"] = 0.1
    with pytest.raises(KeyError, match="'params'"):
        group["params"] = np.ones(3)
    with pytest.raises(ValueError, match=r"beta_1=1\.0"):
        group["beta_1"] = 1.0
    assert group["beta_1"] == 0.8
    assert repr(group) == "ParameterGroup(1 arrays)"


def test_adding_a_group():
    arrays, others = make_arrays(), make_arrays()
    optimizer = NAdam([{"params": arrays[:2]}], learning_rate=0.1)
    optimizer.step([make_arrays(1)[:2]])
    optimizer.add_param_group({"params": arrays[2], "learning_rate": 0.5})
    optimizer.step([make_arrays(2)[:2], make_arrays(2)[2]])
    references = NAdam(others[:2], learning_rate=0.1), NAdam(others[2], learning_rate=0.5)
    references[0].step(make_arrays(1)[:2])
    references[0].step(make_arrays(2)[:2])
    references[1].step(make_arrays(2)[2])
    assert_same(arrays, others)


@pytest.mark.parametrize(
    ("group", "error", "message"),
    [
        (np.ones(3), TypeError, "is a ndarray: it must be a dict"),
        ({"learning_rate": 0.1}, ValueError, "it must have 'params'"),
        ({"params": np.ones(3), "lr": 0.1}, ValueError, "'lr'"),
        ({"params": np.ones(3), "beta_1": 2.0}, ValueError, "group 1: beta_1=2.0"),
        ({"params": [1.0]}, TypeError, r"group 1\['params'\]\[0\]=1.0"),
        ({"params": []}, ValueError, "holds no arrays"),
        ({"params": None}, ValueError, "holds no arrays"),
    ],
)
def test_bad_groups(group, error, message):
    first = np.ones(2)
    optimizer = NAdam([{"params": first}])
    with pytest.raises(error, match=message):
        optimizer.add_param_group(group)
    with pytest.raises(ValueError, match="share memory"):
        optimizer.add_param_group({"params": first[:1]})
    optimizer.step([np.ones(2)])
    assert len(optimizer.param_groups) == 1


def test_a_list_of_groups_is_told_by_all_its_entries():
    with pytest.raises(ValueError, match=r"params\[1\] has the key 'lr'"):
        NAdam([{"params": np.ones(1)}, {"params": np.ones(2), "lr": 1.0}])
    tree = [{"params": np.ones(1)}, np.ones(2)]  # not groups: a list of a dict and an array
    NAdam(tree).step([{"params": np.ones(1)}, np.ones(2)])
    with pytest.raises(ValueError, match="made without groups"):
        NAdam(np.ones(1)).add_param_group({"params": np.ones(1)})


def test_gradients_of_groups_are_a_list():
    optimizer = NAdam([{"params": np.ones(1)}, {"params": np.ones(2)}])
    with pytest.raises(ValueError, match="grads has 1 entries: it must have 2"):
        optimizer.step([np.ones(1)])
    with pytest.raises(TypeError, match=r"grads=.* is a dict"):
        optimizer.step({"params": np.ones(1)})


def test_mistyped_settings_are_errors():
    optimizer = NAdam(np.ones(2))
    with pytest.raises(AttributeError):
        optimizer.lr = 0.1
    with pytest.raises(TypeError, match="amsgrad=1 is a int"):
        optimizer.amsgrad = 1
    assert optimizer.amsgrad is False


def test_amsgrad_may_be_switched_on_later():
    p, g = np.ones(2), np.array([10.0, 1.0])
    optimizer = NAdam(p, beta_2=0.5)
    optimizer.step(g)
    optimizer.amsgrad = True
    optimizer.step(g)
    (state,) = optimizer.states
    np.testing.assert_array_equal(state.largest_moment, state.second_moment)


def test_a_rate_of_several_groups_is_asked_for_once_per_update():
    rates = iter([0.5, 0.25])
    a, b = np.ones(1), np.ones(1)
    groups = [{"params": a}, {"params": b}]
    optimizer = NAdam(groups, learning_rate=lambda: next(rates), gradient_accumulation_steps=2, nonfinite="skip")
    for gradient in (1.0, np.nan, 1.0, 1.0, 1.0):
        optimizer.step([np.array([gradient]), np.array([gradient])])
    np.testing.assert_array_equal(a, b)
    assert list(rates) == []


def test_a_rate_without_arguments():
    rates = iter([0.5, 0.25])
    p, reference = np.ones(2), np.ones(2)
    optimizer, other = NAdam(p, learning_rate=lambda: next(rates)), NAdam(reference, learning_rate=0.5)
    optimizer.step(np.ones(2))
    other.step(np.ones(2))
    other.learning_rate = 0.25
    optimizer.step(np.ones(2))
    other.step(np.ones(2))
    np.testing.assert_array_equal(p, reference)
    with pytest.raises(ValueError, match=r"learning_rate\(0\)=-1"):
        NAdam(p, learning_rate=lambda: -1).step(np.ones(2))


@pytest.mark.parametrize("decoupled", [False, True])
def test_exclusion_from_decay(decoupled):
    def make():
        return {"dense": {"kernel": np.ones((2, 2)), "bias": np.ones(2)}, "scale": np.ones(3)}

    params, plain = make(), make()
    optimizer = NAdam(params, weight_decay=0.5, decoupled_weight_decay=decoupled)
    optimizer.exclude_from_weight_decay(arrays=[params["scale"]], names=["^dense/b"])
    reference = NAdam(plain)
    for _ in range(3):
        optimizer.step(make())
        reference.step(make())
    np.testing.assert_array_equal(params["scale"], plain["scale"])
    np.testing.assert_array_equal(params["dense"]["bias"], plain["dense"]["bias"])
    assert (params["dense"]["kernel"] != plain["dense"]["kernel"]).all()


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"arrays": [np.ones(3)]}, ValueError, r"arrays\[0\]"),
        ({"arrays": np.ones(3)}, TypeError, "it must be a list of arrays"),
        ({"arrays": 3}, TypeError, "arrays=3 is a int"),
        ({"names": "bias$"}, TypeError, "names='bias.' is a str: it must be a list of regular expressions"),
        ({"names": 3}, TypeError, "names=3 is a int"),
        ({"names": ["["]}, re.error, r"names\[0\]="),
        ({"names": [3]}, TypeError, r"names\[0\]=3"),
    ],
)
def test_bad_exclusions_change_nothing(arguments, error, message):
    params = {"bias": np.ones(3)}
    optimizer = NAdam(params, weight_decay=0.1)
    with pytest.raises(error, match=message):
        optimizer.exclude_from_weight_decay(**arguments)
    assert optimizer.states[0].is_decayed


def test_scaled_loss():
    assert NAdam(np.ones(1), loss_scale_factor=8.0).scale_loss(2.0) == 16.0
    assert NAdam(np.ones(1)).scale_loss(2.0) == 2.0


def test_hooks_run_in_their_order_and_may_replace_the_gradients():
    p = np.ones(2)
    optimizer = NAdam(p, learning_rate=0.1)
    calls = []
    optimizer.register_step_pre_hook(lambda o, args, kwargs: calls.append(("first", o is optimizer, args[0], kwargs)))
    handle = optimizer.register_step_pre_hook(lambda o, args, kwargs: ((-args[0],), kwargs))
    optimizer.register_step_post_hook(lambda o, args, kwargs: calls.append(("last", o.iterations, args[0].tolist())))
    g = np.ones(2)
    optimizer.step(g)
    assert calls == [("first", True, g, {}), ("last", 1, [-1.0, -1.0])]
    assert (p > 1.0).all()
    handle.remove()
    handle.remove()
    optimizer.step(g)
    assert calls[-1] == ("last", 2, [1.0, 1.0])


def test_bad_hooks():
    p = np.ones(2)
    optimizer = NAdam(p)
    with pytest.raises(TypeError, match="hook=1"):
        optimizer.register_step_pre_hook(1)
    optimizer.register_step_pre_hook(lambda *arguments: 5)
    with pytest.raises(RuntimeError, match="returned 5"):
        optimizer.step(np.ones(2))
    assert (p == 1.0).all()


@pytest.mark.parametrize("through", [copy.deepcopy, lambda item: pickle.loads(pickle.dumps(item))])
def test_copies_have_groups_but_no_hooks(through):
    arrays = make_arrays()
    optimizer = NAdam([{"params": arrays[:2], "amsgrad": True}, {"params": arrays[2]}], use_ema=True)
    optimizer.register_step_pre_hook(lambda *arguments: pytest.fail("called"))
    other, copies = through((optimizer, arrays))
    gradients = make_arrays(1)
    other.step([gradients[:2], gradients[2]])
    other.finalize()
    reference = make_arrays()
    NAdam([{"params": reference[:2], "amsgrad": True}, {"params": reference[2]}]).step([gradients[:2], gradients[2]])
    assert_same(copies, reference)
    assert_same(arrays, make_arrays())
    assert other.param_groups[0]["params"][0] is copies[0]


def test_a_shallow_copy_goes_on_by_itself_with_the_same_arrays():
    p, q = np.ones(2), np.ones(2)
    optimizer, reference = NAdam([{"params": p}], amsgrad=True), NAdam([{"params": q}], amsgrad=True)
    optimizer.step([np.ones(2)])
    other = copy.copy(optimizer)
    other.step([np.ones(2)])
    other.learning_rate = 0.5
    other.add_param_group({"params": np.ones(3)})
    reference.step([np.ones(2)])
    reference.step([np.ones(2)])
    np.testing.assert_array_equal(p, q)
    assert (optimizer.iterations, optimizer.states[0].iterations, len(optimizer.param_groups)) == (1, 1, 1)
    assert optimizer.param_groups[0]["learning_rate"] == 2e-3


class Derived(NAdam):
    """A class of the user's, with attributes of its own."""


class DerivedWithSlots(NAdam):
    __slots__ = ("note",)


@pytest.mark.parametrize("through", [copy.copy, copy.deepcopy, lambda item: pickle.loads(pickle.dumps(item))])
@pytest.mark.parametrize("kind", [Derived, DerivedWithSlots])
def test_derived_classes_are_copied(kind, through):
    optimizer = kind(np.ones(2))
    if kind is Derived:
        optimizer.note = "mine"
    other = through(optimizer)
    assert type(other) is kind
    assert kind is DerivedWithSlots or other.note == "mine"
    other.step(np.ones(2))
    assert other.iterations == 1


class Subarray(np.ndarray):
    """Like numpy.memmap, a class derived from arrays."""


def test_arrays_of_derived_classes_are_copied_with_their_optimizer():
    p = np.ones(4).view(Subarray)
    optimizer = NAdam(p)
    optimizer.step(np.ones(4))
    assert (p < 1.0).all()
    other, q = copy.deepcopy((optimizer, p))
    other.step(np.ones(4))
    assert (q < p).all()
    assert other.param_groups[0]["params"] is q


def test_an_average_of_an_infinite_parameter():
    p = np.array([np.inf, 1.0])
    optimizer = NAdam(p, use_ema=True)
    optimizer.step(np.zeros(2))
    optimizer.finalize()
    assert p.tolist() == [np.inf, 1.0]


def test_a_missing_gradient_at_the_end_of_an_accumulation_counts_as_0():
    p, q = np.ones(1), np.ones(1)
    optimizer, reference = NAdam(p, gradient_accumulation_steps=2), NAdam(q)
    for gradient in (np.ones(1), None, None, None):
        optimizer.step(gradient)
    reference.step(np.array([0.5]))
    np.testing.assert_array_equal(p, q)
    assert optimizer.states[0].iterations == 1


def test_long_values_are_cut_in_messages():
    with pytest.raises(TypeError) as information:
        NAdam(np.ones(3)).step([1.0] * 100_000)
    assert len(str(information.value)) < 400


def test_options_are_checked():
    for options, error, name in [
        ({"ema_momentum": 1.5}, ValueError, "ema_momentum=1.5"),
        ({"ema_overwrite_frequency": 0}, ValueError, "ema_overwrite_frequency=0"),
        ({"ema_overwrite_frequency": 1.0}, TypeError, "ema_overwrite_frequency=1.0"),
        ({"gradient_accumulation_steps": 1}, ValueError, "gradient_accumulation_steps=1"),
        ({"gradient_accumulation_steps": True}, TypeError, "gradient_accumulation_steps=True"),
        ({"loss_scale_factor": 0.0}, ValueError, "loss_scale_factor=0.0"),
        ({"global_clipnorm": -1.0}, ValueError, "global_clipnorm=-1.0"),
        ({"clipvalue": float("nan")}, ValueError, "clipvalue=nan"),
        ({"clipnorm": "1"}, TypeError, "clipnorm='1'"),
        ({"nonfinite": "ignore"}, ValueError, "nonfinite='ignore'"),
        ({"nonfinite": 3}, TypeError, "nonfinite=3"),
        ({"nonfinite": np.array(["raise"])}, TypeError, "nonfinite=array"),
        ({"lazy_sparse": True, "gradient_accumulation_steps": 2}, ValueError, "lazy_sparse=True"),
        ({"use_ema": 1}, TypeError, "use_ema=1"),
        ({"weight_decay": -0.1}, ValueError, "weight_decay=-0.1"),
        ({"weight_decay": float("inf")}, ValueError, "weight_decay=inf"),
        ({"epsilon_root": -1.0}, ValueError, "epsilon_root=-1.0"),
        ({"lazy_sparse": None}, TypeError, "lazy_sparse=None"),
    ]:
        with pytest.raises(error, match=name):
            NAdam(np.ones(1), **options)


def test_repr_tells_what_is_not_default():
    optimizer = NAdam([{"params": np.ones(3)}, {"params": np.ones(2)}], amsgrad=True, use_ema=True)
    assert repr(optimizer).startswith("NAdam(2 arrays in 2 groups, learning_rate=0.002, beta_1=0.9")
    assert "amsgrad=True" in repr(optimizer)
    assert "use_ema=True" in repr(optimizer)
    assert "clipnorm" not in repr(optimizer)
