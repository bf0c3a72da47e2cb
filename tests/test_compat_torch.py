"""nadam_numba.compat.torch on NumPy arrays, against formulas of its own; torch is not needed."""

import copy
import inspect
import os
import pathlib
import pickle
import re
import subprocess
import sys

import numpy as np
import pytest
from scipy import sparse

from nadam_numba.compat.torch import NAdam, Parameter


def formulas(
    points,
    gradients,
    lr=2e-3,
    betas=(0.9, 0.999),
    eps=1e-8,
    weight_decay=0.0,
    momentum_decay=4e-3,
    decoupled_weight_decay=False,
    maximize=False,
):
    """The points after the steps of the published formulas, in double precision; for real arrays."""
    points = [np.array(p) for p in points]
    memory = [(np.zeros(p.shape), np.zeros(p.shape)) for p in points]
    counts, products = [0] * len(points), [1.0] * len(points)
    b1, b2 = betas
    for step_gradients in gradients:
        for i, gradient in enumerate(step_gradients):
            if gradient is None:
                continue
            counts[i] += 1
            mu, mu_next = (b1 * (1 - 0.96 ** (t * momentum_decay) / 2) for t in (counts[i], counts[i] + 1))
            products[i] *= mu
            g = -gradient if maximize else gradient
            if decoupled_weight_decay:
                points[i] = points[i] - lr * weight_decay * points[i]
            else:
                g = g + weight_decay * points[i]
            m, v = memory[i]
            m, v = memory[i] = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g**2
            ahead = mu_next * m / (1 - products[i] * mu_next) + (1 - mu) * g / (1 - products[i])
            points[i] = points[i] - lr * ahead / (np.sqrt(v / (1 - b2 ** counts[i])) + eps)
    return points


def problem(seed=0, steps=30):
    rng = np.random.default_rng(seed)
    points = [rng.standard_normal(7), rng.standard_normal((3, 4))]
    gradients = [[rng.standard_normal(p.shape) for p in points] for _ in range(steps)]
    for step in (2, 7, 8):
        gradients[step][1] = None
    return points, gradients


def run(optimizer, parameters, gradients):
    for step_gradients in gradients:
        for p, gradient in zip(parameters, step_gradients, strict=True):
            p.grad = gradient
        optimizer.step()


def one(value=1.0, grad=1.0):
    p = Parameter(np.full(3, value))
    p.grad = None if grad is None else np.full(3, grad)
    return p


OPTIONS = [
    {},
    {"lr": 0.1},
    {"betas": (0.8, 0.99)},
    {"betas": [0.0, 0.0]},
    {"eps": 1e-3},
    {"weight_decay": 0.1},
    {"momentum_decay": 0.1},
    {"momentum_decay": 0},
    {"momentum_decay": np.inf},
    {"lr": 0.1, "weight_decay": 0.1, "decoupled_weight_decay": True},
    {"maximize": True},
    {"maximize": True, "weight_decay": 0.1},
    {"lr": np.float64(0.1), "weight_decay": np.float32(0.25)},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_formulas(options):
    points, gradients = problem()
    parameters = [Parameter(p.copy()) for p in points]
    run(NAdam(parameters, **options, scalar_dtype="float64"), parameters, gradients)
    for p, expected in zip(parameters, formulas(points, gradients, **options), strict=True):
        np.testing.assert_allclose(p.data, expected, rtol=1e-13, atol=1e-14)


def test_flags_without_effect():
    points, gradients = problem()
    results = []
    for options in ({}, {"foreach": True}, {"foreach": False}, {"differentiable": True}):
        parameters = [Parameter(p.copy()) for p in points]
        run(NAdam(parameters, **options), parameters, gradients)
        results.append(np.concatenate([p.data.ravel() for p in parameters]))
    for result in results[1:]:
        np.testing.assert_array_equal(result, results[0])


def test_product_is_single_precision_unless_asked_otherwise():
    products = []
    for scalar_dtype in (None, "float64", np.float64):
        p = one()
        optimizer = NAdam([p], scalar_dtype=scalar_dtype)
        optimizer.step()
        products.append(optimizer.state[p]["mu_product"])
    assert products[0] == float(np.float32(products[1])) != products[1] == products[2]
    with pytest.raises(ValueError, match="scalar_dtype='float16'"):
        NAdam([p], scalar_dtype="float16")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_complex_is_two_reals(dtype):
    points, gradients = problem()
    double = {"float32": np.complex64, "float64": np.complex128}[dtype]
    z = Parameter((points[0] + 1j * points[0][::-1]).astype(double))
    pair = [Parameter(z.data.real.copy()), Parameter(z.data.imag.copy())]
    options = {"lr": 0.05, "weight_decay": 0.1}
    complex_optimizer, real_optimizer = NAdam([z], **options), NAdam(pair, **options)
    for (g, _), (h, _) in zip(gradients[::2], gradients[1::2], strict=True):
        z.grad = (g + 1j * h).astype(double)
        pair[0].grad, pair[1].grad = z.grad.real.copy(), z.grad.imag.copy()
        complex_optimizer.step()
        real_optimizer.step()
    np.testing.assert_array_equal(z.data.real, pair[0].data)
    np.testing.assert_array_equal(z.data.imag, pair[1].data)
    assert complex_optimizer.state[z]["exp_avg"].dtype == double


@pytest.mark.parametrize(
    "lay_out",
    [
        np.asfortranarray,
        lambda a: np.repeat(a, 2, axis=-1)[..., ::2],
        lambda a: np.moveaxis(np.moveaxis(a, 0, 1).copy(), 0, 1),
        lambda a: np.flip(np.flip(a).copy()),
    ],
    ids=["fortran", "strided", "permuted", "negative"],
)
@pytest.mark.parametrize("lay_out_gradient", [np.ascontiguousarray, np.asfortranarray])
def test_layouts(lay_out, lay_out_gradient):
    rng = np.random.default_rng(1)
    point, gradients = rng.standard_normal((3, 4, 2)), rng.standard_normal((10, 3, 4, 2))
    laid_out, plain = Parameter(lay_out(point.copy())), Parameter(point.copy())
    optimizers = NAdam([laid_out]), NAdam([plain])
    for gradient in gradients:
        laid_out.grad, plain.grad = lay_out_gradient(gradient), gradient
        for optimizer in optimizers:
            optimizer.step()
    np.testing.assert_array_equal(laid_out.data, plain.data)
    np.testing.assert_array_equal(optimizers[0].state[laid_out]["exp_avg"], optimizers[1].state[plain]["exp_avg"])


@pytest.mark.parametrize("shape", [(), (0,), (1,), (2, 0, 3)])
def test_small_shapes(shape):
    p = Parameter(np.ones(shape))
    p.grad = np.ones(shape)
    NAdam([p], lr=0.1).step()
    np.testing.assert_allclose(p.data, formulas([np.ones(shape)], [[np.ones(shape)]], lr=0.1)[0], rtol=1e-6)


@pytest.mark.skipif(os.environ.get("NUMBA_DISABLE_JIT") == "1", reason="two million elements take long in Python")
def test_large_arrays_in_threads():
    rng = np.random.default_rng(2)
    point, gradient = rng.standard_normal(2**21), rng.standard_normal(2**21)
    whole, parts = Parameter(point.copy()), [Parameter(part) for part in np.split(point.copy(), 1024)]
    whole.grad = gradient
    for part, g in zip(parts, np.split(gradient, 1024), strict=True):
        part.grad = g
    NAdam([whole]).step()
    NAdam(parts).step()
    np.testing.assert_array_equal(whole.data, np.concatenate([part.data for part in parts]))


def test_none_is_skipped():
    p, q = one(), one(grad=None)
    optimizer = NAdam([p, q], weight_decay=0.5, decoupled_weight_decay=True)
    optimizer.step()
    assert (q.data == 1.0).all()
    assert not optimizer.state[q]
    q.grad = p.grad
    optimizer.step()
    assert optimizer.state[p]["step"] == 2.0
    assert optimizer.state[q]["step"] == 1.0


def test_gradients_are_not_written_and_may_be_other_parameters():
    p, q = one(2.0), one(3.0)
    p.grad, q.grad = np.asarray(q), np.asarray(p)
    r, s = one(2.0, 3.0), one(3.0, 2.0)
    for optimizer in (NAdam([p, q], maximize=True, weight_decay=0.1), NAdam([r, s], maximize=True, weight_decay=0.1)):
        optimizer.step()
    np.testing.assert_array_equal(p.data, r.data)
    np.testing.assert_array_equal(q.data, s.data)
    gradient = np.full(3, 2.0)
    gradient.flags.writeable = False
    p.grad = gradient
    NAdam([p], maximize=True).step()
    assert (gradient == 2.0).all()


def test_parameter():
    array = np.arange(6.0).reshape(2, 3)
    p = Parameter(array)
    assert p.data is array
    assert np.asarray(p) is array
    assert np.array(p) is not array
    assert np.asarray(p, dtype=np.float32).dtype == np.float32
    assert (p.shape, p.ndim, p.dtype) == ((2, 3), 2, np.float64)
    assert repr(p) == f"Parameter({array!r})"
    assert p.grad is None
    with pytest.raises(TypeError, match=r"data=\[1.0\] is a list"):
        Parameter([1.0])
    with pytest.raises(TypeError, match="int64"):
        Parameter(np.arange(3))
    with pytest.raises(ValueError, match="read-only"):
        Parameter(np.broadcast_to(1.0, 3))
    for wrong, error, message in [
        ([1.0], TypeError, "is a list"),
        (np.ones(6), RuntimeError, r"shape \(6,\).*\(2, 3\)"),
        (np.ones((2, 3), np.float32), RuntimeError, "float32.*float64"),
        (sparse.csr_array(np.eye(2, 3)), RuntimeError, "does not support sparse gradients"),
    ]:
        with pytest.raises(error, match=message):
            p.grad = wrong
        assert p.grad is None


def test_signature_is_torchs():
    parameters = inspect.signature(NAdam).parameters
    assert list(parameters) == [
        "params",
        "lr",
        "betas",
        "eps",
        "weight_decay",
        "momentum_decay",
        "decoupled_weight_decay",
        "foreach",
        "maximize",
        "capturable",
        "differentiable",
        "scalar_dtype",
    ]
    defaults = [p.default for p in parameters.values()][1:]
    assert defaults == [2e-3, (0.9, 0.999), 1e-8, 0, 4e-3, False, None, False, False, False, None]
    assert [p.kind.name for p in parameters.values()] == ["POSITIONAL_OR_KEYWORD"] * 7 + ["KEYWORD_ONLY"] * 5


WRONG_OPTIONS = [
    ({"lr": -1.0}, ValueError, "lr=-1.0"),
    ({"lr": float("nan")}, ValueError, "lr=nan"),
    ({"lr": np.ones(2)}, ValueError, "1-element"),
    ({"lr": "0.1"}, TypeError, "lr='0.1'"),
    ({"eps": -1.0}, ValueError, "eps=-1.0"),
    ({"weight_decay": -1.0}, ValueError, "weight_decay=-1.0"),
    ({"momentum_decay": -1.0}, ValueError, "momentum_decay=-1.0"),
    ({"momentum_decay": float("nan")}, ValueError, "momentum_decay=nan"),
    ({"betas": (1.0, 0.9)}, ValueError, r"betas\[0\]=1.0"),
    ({"betas": (0.9, -0.1)}, ValueError, r"betas\[1\]=-0.1"),
    ({"betas": (0.9,)}, IndexError, r"betas=\(0.9,\)"),
    ({"betas": 0.9}, TypeError, "betas=0.9"),
    ({"capturable": True}, AssertionError, "capturable=True"),
    ({"foreach": True, "differentiable": True}, AssertionError, "differentiable=True"),
]


@pytest.mark.parametrize(("options", "error", "message"), WRONG_OPTIONS, ids=lambda value: str(value)[:40])
def test_wrong_options(options, error, message):
    with pytest.raises(error, match=message):
        NAdam([one()], **options)
    p, optimizer = one(), NAdam([one()])
    with pytest.raises(error, match=message):
        optimizer.add_param_group({"params": [p], **options})
    assert len(optimizer.param_groups) == 1
    optimizer = NAdam([p])
    optimizer.param_groups[0].update(options)
    with pytest.raises(error, match=message):
        optimizer.step()
    assert (p.data == 1.0).all()
    assert not optimizer.state[p]


@pytest.mark.parametrize("option", ["fused", "amsgrad", "learning_rate"])
def test_unknown_options(option):
    with pytest.raises(TypeError, match=option):
        NAdam([one()], **{option: True})


P = Parameter(np.ones(3))
WRONG_PARAMETERS = [
    (P, TypeError, "iterable of Parameters, of tensors, or of dicts"),
    (None, TypeError, "params=None: it must be an iterable of Parameters, of tensors"),
    (5, TypeError, "iterable of Parameters, of tensors, or of dicts"),
    (np.ones(3), TypeError, "iterable of Parameters, of tensors, or of dicts"),
    ([], ValueError, r"params=\[\] is an empty parameter list: at least one Parameter or tensor is needed"),
    ([1], TypeError, r"params\[0\]=1 is a int: it must be a Parameter .* or all must be tensors"),
    ([np.ones(3)], TypeError, r"params\[0\]=.*is a ndarray: it must be a Parameter"),
    ({"a": P}, TypeError, "is a str"),
    ([{"params": {P}}], TypeError, "ordered collections"),
    ([{"params": 5}], TypeError, "is a int"),
    ([{"lr": 0.1}], KeyError, "must have 'params'"),
    ([{"params": [P]}, [P]], TypeError, "must be a dict"),
    (
        [{"params": [P]}, {"params": [P]}],
        ValueError,
        r"params\[0\]=Parameter\(.*\) is in param_groups\[0\], too: .* more than one parameter group",
    ),
    ([("a", P), Parameter(np.ones(2))], ValueError, "names for 1 of 2"),
    (
        [{"params": [("a", P)]}, {"params": [Parameter(np.ones(2))]}],
        ValueError,
        r"param_names=None, param_groups\[0\] has \['a'\]: .* with/without names",
    ),
    ([P, Parameter(P.data[1:])], ValueError, "share memory"),
]


@pytest.mark.parametrize(("params", "error", "message"), WRONG_PARAMETERS, ids=lambda value: str(value)[:40])
def test_wrong_parameters(params, error, message):
    with pytest.raises(error, match=message):
        NAdam(params)


def test_parameters_are_needed():
    with pytest.raises(TypeError, match=r"NAdam.__init__\(\) missing 1 required positional argument: 'params'"):
        NAdam()
    assert len(NAdam(params=(p for p in [P])).param_groups[0]["params"]) == 1


def test_ways_to_give_parameters():
    p, q = one(), one()
    for params in ([p, q], (p, q), (r for r in (p, q)), {p: 0, q: 0}.keys(), [{"params": [p]}, {"params": q}]):
        optimizer = NAdam(params)
        assert [r for group in optimizer.param_groups for r in group["params"]] == [p, q]
    assert set(NAdam({p, q}).param_groups[0]["params"]) == {p, q}
    assert NAdam([{"params": (p, q)}]).param_groups[0]["params"] == [p, q]
    assert NAdam([{"params": iter([p, q])}]).param_groups[0]["params"] == [p, q]
    named = NAdam([("first", p), ("second", q)])
    assert named.param_groups[0]["param_names"] == ["first", "second"]
    assert named.param_groups[0]["params"] == [p, q]


def test_groups():
    points, gradients = problem()
    parameters = [Parameter(p.copy()) for p in points]
    group = {"params": [parameters[1]], "lr": 0.1, "betas": (0.5, 0.9), "maximize": True}
    optimizer = NAdam([{"params": [parameters[0]]}], lr=0.01, scalar_dtype="float64")
    optimizer.add_param_group(group)
    assert group == {"params": [parameters[1]], "lr": 0.1, "betas": (0.5, 0.9), "maximize": True}
    assert optimizer.param_groups[1]["eps"] == 1e-8
    run(optimizer, parameters, gradients)
    expected = formulas(points[:1], [g[:1] for g in gradients], lr=0.01)
    expected += formulas(points[1:], [g[1:] for g in gradients], lr=0.1, betas=(0.5, 0.9), maximize=True)
    for p, point in zip(parameters, expected, strict=True):
        np.testing.assert_allclose(p.data, point, rtol=1e-13, atol=1e-14)


def test_options_can_be_set_between_steps():
    p = one()
    optimizer = NAdam([p])
    optimizer.param_groups[0]["lr"] = 0.0
    optimizer.step()
    assert (p.data == 1.0).all()
    optimizer.param_groups[0]["lr"] = rate = np.array([0.1])
    optimizer.step()
    after = p.data.copy()
    assert (after < 0.95).all()
    rate[...] = 0.0
    optimizer.step()
    np.testing.assert_array_equal(p.data, after)


def test_a_parameter_twice_is_updated_twice():
    p, q = one(), one()
    with pytest.warns(UserWarning, match="same parameter twice"):
        optimizer = NAdam([p, p])
    optimizer.step()
    other = NAdam([q])
    other.step()
    other.step()
    np.testing.assert_array_equal(p.data, q.data)
    assert optimizer.state[p]["step"] == 2.0
    assert optimizer.state_dict()["param_groups"][0]["params"] == [0, 0]


def test_a_refused_step_changes_nothing():
    p, q = one(), one()
    optimizer = NAdam([p, q])
    optimizer.step()
    before = copy.deepcopy(optimizer.state_dict()["state"])
    q.data.flags.writeable = False
    with pytest.raises(ValueError, match="read-only"):
        optimizer.step()
    q.data.flags.writeable = True
    optimizer.state[q]["exp_avg"] = np.ones(2)
    with pytest.raises(ValueError, match=r"'exp_avg'\] has shape \(2,\)"):
        optimizer.step()
    np.testing.assert_array_equal(p.data, q.data)
    np.testing.assert_array_equal(optimizer.state[p]["exp_avg"], before[0]["exp_avg"])
    assert optimizer.state[p]["step"] == 1.0


def test_closure():
    p = one(grad=None)

    def closure():
        p.grad = 2.0 * p.data
        return float((p.data**2).sum())

    optimizer = NAdam([p])
    assert optimizer.step(closure) == 3.0
    assert optimizer.step(closure=closure) < 3.0
    assert optimizer.step() is None
    assert optimizer.state[p]["step"] == 3.0


def test_zero_grad():
    p, q = one(), one(grad=None)
    optimizer = NAdam([p, q])
    gradient = p.grad
    optimizer.zero_grad(set_to_none=False)
    assert p.grad is gradient
    assert (gradient == 0.0).all()
    assert q.grad is None
    optimizer.zero_grad()
    assert p.grad is None


def test_state_dict_layout():
    p, q = Parameter(np.ones((2, 3), np.float32)), one(grad=None)
    p.grad = np.ones((2, 3), np.float32)
    optimizer = NAdam([{"params": [q]}, {"params": [p], "lr": 0.5}])
    assert optimizer.state_dict()["state"] == {}
    optimizer.step()
    state_dict = optimizer.state_dict()
    assert list(state_dict) == ["state", "param_groups"]
    assert list(state_dict["state"]) == [1]
    assert list(state_dict["state"][1]) == ["step", "mu_product", "exp_avg", "exp_avg_sq"]
    assert state_dict["state"][1]["exp_avg"] is optimizer.state[p]["exp_avg"]
    assert state_dict["state"][1]["exp_avg"].dtype == np.float32
    assert [group["params"] for group in state_dict["param_groups"]] == [[0], [1]]
    assert state_dict["param_groups"][1]["lr"] == 0.5
    assert set(state_dict["param_groups"][0]) == {*optimizer.defaults, "params"}


@pytest.mark.parametrize("way", ["state_dict", "pickle", "deepcopy"])
def test_resume_gives_the_same_bits(way):
    points, gradients = problem(steps=40)
    straight = [Parameter(np.array(p, order="F")) for p in points]
    run(NAdam(straight, lr=0.1, weight_decay=0.1), straight, gradients)
    parameters = [Parameter(np.array(p, order="F")) for p in points]
    optimizer = NAdam(parameters, lr=0.1, weight_decay=0.1)
    run(optimizer, parameters, gradients[:15])
    if way == "state_dict":
        state_dict = pickle.loads(pickle.dumps(optimizer.state_dict()))
        parameters = [Parameter(p.data.copy(order="C")) for p in parameters]
        optimizer = NAdam(parameters)
        optimizer.load_state_dict(state_dict)
    else:
        copied = pickle.loads(pickle.dumps(optimizer)) if way == "pickle" else copy.deepcopy(optimizer)
        run(optimizer, parameters, gradients[:1])
        optimizer, parameters = copied, copied.param_groups[0]["params"]
    run(optimizer, parameters, gradients[15:])
    for p, expected in zip(parameters, straight, strict=True):
        np.testing.assert_array_equal(p.data, expected.data)


def test_load_copies_and_converts():
    p = one()
    optimizer = NAdam([p], lr=0.5)
    optimizer.step()
    q = Parameter(np.ones(3, np.float32))
    other = NAdam([q])
    state_dict = optimizer.state_dict()
    state_dict["state"]["extra"] = 1
    other.load_state_dict(state_dict)
    assert other.state[q]["exp_avg"].dtype == np.float32
    assert other.state[q]["mu_product"] == optimizer.state[p]["mu_product"]
    assert other.state["extra"] == 1
    assert other.param_groups[0]["lr"] == 0.5
    assert other.param_groups[0]["params"] == [q]
    before = other.state[q]["exp_avg"].copy()
    optimizer.step()
    np.testing.assert_array_equal(other.state[q]["exp_avg"], before)


def test_load_keeps_or_takes_names_and_fills_in_what_older_versions_lack():
    p, q = one(), one()
    named, other = NAdam([("p", p)]), NAdam([("q", q)])
    state_dict = named.state_dict()
    for key in ("maximize", "foreach", "capturable", "differentiable", "decoupled_weight_decay"):
        del state_dict["param_groups"][0][key]
    other.load_state_dict(state_dict)
    assert other.param_groups[0]["param_names"] == ["p"]
    assert other.param_groups[0]["maximize"] is False
    del state_dict["param_groups"][0]["param_names"]
    other.load_state_dict(state_dict)
    assert other.param_groups[0]["param_names"] == ["p"]
    other.step()


def broken(change):
    p = one()
    optimizer = NAdam([p])
    optimizer.step()
    state_dict = copy.deepcopy(optimizer.state_dict())
    change(state_dict)
    return state_dict


BROKEN = [
    (lambda s: s["param_groups"].append(s["param_groups"][0]), ValueError, "different number of parameter groups"),
    (lambda s: s["param_groups"][0]["params"].append(1), ValueError, "doesn't match the size"),
    (lambda s: s["param_groups"][0].pop("betas"), KeyError, "betas"),
    (lambda s: s["state"][0].pop("mu_product"), KeyError, "mu_product"),
    (lambda s: s["state"][0].update(step=-1), ValueError, r"\['step'\]=-1"),
    (lambda s: s["state"][0].update(step="1"), TypeError, r"\['step'\]='1'"),
    (lambda s: s["state"][0].update(mu_product=1.5), ValueError, r"\['mu_product'\]=1.5"),
    (lambda s: s["state"][0].update(exp_avg=np.ones(2)), ValueError, r"'exp_avg'\] has shape \(2,\)"),
    (lambda s: s.pop("state"), KeyError, "state"),
]


@pytest.mark.parametrize(("change", "error", "message"), BROKEN, ids=[message for _, _, message in BROKEN])
def test_a_refused_load_changes_nothing(change, error, message):
    p = one()
    optimizer = NAdam([p], lr=0.7)
    optimizer.step()
    before = copy.deepcopy(optimizer.state_dict())
    with pytest.raises(error, match=message):
        optimizer.load_state_dict(broken(change))
    after = optimizer.state_dict()
    assert after["param_groups"] == before["param_groups"]
    np.testing.assert_array_equal(after["state"][0]["exp_avg"], before["state"][0]["exp_avg"])


def test_step_hooks():
    p = one(grad=None)
    optimizer, calls = NAdam([p]), []

    def closure():
        calls.append("closure")
        p.grad = np.ones(3)

    def before(optimizer, args, kwargs):
        calls.append(("before", args, kwargs))
        return (optimizer, closure), {}

    handle = optimizer.register_step_pre_hook(before)
    optimizer.register_step_pre_hook(lambda optimizer, args, kwargs: calls.append(("second", args, kwargs)))
    optimizer.register_step_post_hook(lambda optimizer, args, kwargs: calls.append(("after", args, kwargs)))
    optimizer.step()
    closed = (optimizer, closure), {}
    assert calls == [("before", (optimizer,), {}), ("second", *closed), "closure", ("after", *closed)]
    handle.remove()
    calls.clear()
    optimizer.step()
    assert [call[0] for call in calls] == ["second", "after"]
    optimizer.register_step_pre_hook(lambda *_: 5)
    with pytest.raises(RuntimeError, match="returned 5"):
        optimizer.step()
    copy.deepcopy(optimizer).step()


def test_state_dict_hooks():
    optimizer, calls = NAdam([one()]), []
    optimizer.register_state_dict_pre_hook(lambda o: calls.append("pre"))
    optimizer.register_state_dict_pre_hook(lambda o: calls.append("first"), prepend=True)
    optimizer.register_state_dict_post_hook(lambda o, s: {**s, "more": len(calls)})
    optimizer.register_load_state_dict_pre_hook(lambda o, s: calls.append(s.pop("more")))
    optimizer.register_load_state_dict_pre_hook(lambda o, s: {**s, "more": "changed"}, prepend=True)
    optimizer.register_load_state_dict_post_hook(lambda o: calls.append(o.param_groups[0]["lr"]))
    state_dict = optimizer.state_dict()
    assert state_dict["more"] == 2
    optimizer.load_state_dict(state_dict)
    assert calls == ["first", "pre", "changed", 2e-3]
    assert state_dict["more"] == 2


def test_repr():
    assert repr(NAdam([("a", one())], lr=0.5)) == (
        "NAdam (\nParameter Group 0\n    betas: (0.9, 0.999)\n    capturable: False\n"
        "    decoupled_weight_decay: False\n    differentiable: False\n    eps: 1e-08\n    foreach: None\n    lr: 0.5\n"
        "    maximize: False\n    momentum_decay: 0.004\n    param_names: ['a']\n    weight_decay: 0\n)"
    )


def test_subclass():
    class Mine(NAdam):
        def __init__(self, params, extra):
            super().__init__(params, lr=extra)

    p = one()
    optimizer = Mine([p], 0.25)
    assert isinstance(optimizer, NAdam)
    assert optimizer.param_groups[0]["lr"] == 0.25
    assert repr(optimizer).startswith("Mine (")


def test_torch_is_not_imported():
    code = """
import sys
import numpy as np
from nadam_numba.compat.torch import NAdam, Parameter
p = Parameter(np.ones(3))
p.grad = np.ones(3)
optimizer = NAdam([p])
optimizer.step()
optimizer.load_state_dict(optimizer.state_dict())
print("torch" in sys.modules)
"""
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert process.stdout.strip() == "False"


@pytest.mark.parametrize("number", [0, 1])
def test_examples_in_the_documentation(number):
    page = pathlib.Path(__file__).parent.parent / "docs" / "compat" / "torch.md"
    blocks = re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) == 2
    if "import torch\n" in blocks[number]:
        pytest.importorskip("torch")
    names = {}
    exec(blocks[number], names)
    assert len(names["optimizer"].state) > 0
