"""The interface of optax beside optax itself: the same numbers, states that either goes on from, the same errors."""

import collections
import functools
import inspect

import numpy as np
import pytest

pytest.importorskip("optax")

import cases
import jax
import jax.numpy as jnp
import optax
import real_optax

from nadam_numba.compat import optax as ours

SINGLE = cases.single_cases("optax")
RANDOM = [cases.random_case("optax", seed) for seed in range(cases.COMBINATIONS)]
CASES = {case["name"]: case for case in SINGLE + RANDOM}
ALL = pytest.mark.parametrize("case", CASES.values(), ids=CASES)
Pair = collections.namedtuple("Pair", "first second")


def as_optax_sees_it(make):
    """A schedule of optax computes in single precision, or not, depending on the type of the count."""

    def maker(*arguments):
        schedule = make(*arguments)
        return lambda count: float(schedule(jnp.asarray(count)))

    return maker


SCHEDULES = {name: as_optax_sees_it(make) for name, make in real_optax.SCHEDULES.items()}


def solvers(case, **more):
    real = getattr(optax, case["optimizer"])(**cases.resolve(case["options"], real_optax.SCHEDULES))
    return getattr(ours, case["optimizer"])(**cases.resolve(case["options"], SCHEDULES), **more), real


def to_jax(tree):
    return jax.tree.map(jnp.asarray, tree)


def to_numpy(tree):
    return jax.tree.map(np.array, tree)


@functools.cache
def real_trajectory(name):
    return real_optax.trajectory(CASES[name], *cases.data(CASES[name]))


def assert_close(values, expected):
    for ours_, theirs in zip(values, expected, strict=True):
        assert (np.abs(ours_ - theirs) <= 1e-15 + 1e-14 * np.abs(theirs)).all()


@ALL
@pytest.mark.parametrize("scalar_dtype", [None, "float64"])
def test_same_points(case, scalar_dtype):
    params, gradients = cases.data(case)
    expected = real_trajectory(case["name"])
    solver, _ = solvers(case, scalar_dtype=scalar_dtype)
    state = solver.init(params)
    for step_gradients, theirs in zip(gradients, expected, strict=True):
        state = solver.step(params, step_gradients, state)
        assert_close(params, theirs)


@ALL
def test_same_updates_and_moments(case):
    params, gradients = cases.data(case)
    solver, real = solvers(case)
    state, real_state = solver.init(params), real.init(to_jax(params))
    for step_gradients in gradients[:50]:
        updates, state = solver.update(step_gradients, state, params)
        real_updates, real_state = real.update(to_jax(step_gradients), real_state, to_jax(params))
        assert_close(updates, to_numpy(real_updates))
        for name in ("mu", "nu"):
            moments, theirs = getattr(state[0], name), to_numpy(getattr(real_state[0], name))
            assert [m.dtype for m in moments] == [m.dtype for m in theirs]
            assert_close(moments, theirs)
        params = to_numpy(optax.apply_updates(to_jax(params), real_updates))


@ALL
def test_either_goes_on_from_a_state_of_the_other(case):
    params, gradients = cases.data(case, 20)
    solver, real = solvers(case)
    state, real_state = solver.init(params), real.init(to_jax(params))
    for step_gradients in gradients[:10]:
        _, state = solver.update(step_gradients, state, params)
        _, real_state = real.update(to_jax(step_gradients), real_state, to_jax(params))
    copied = to_numpy(real_state)  # the classes are still those of optax
    for step_gradients in gradients[10:]:
        updates, state = solver.update(step_gradients, state, params)
        crossed, copied = solver.update(step_gradients, copied, params)
        assert_close(crossed, updates)
    assert type(copied[0]) is ours.ScaleByAdamState

    state = solver.init(params)
    for step_gradients in gradients[:10]:
        _, state = solver.update(step_gradients, state, params)
    for step_gradients in gradients[10:]:
        real_updates, real_state = real.update(to_jax(step_gradients), real_state, to_jax(params))
        crossed, state = real.update(to_jax(step_gradients), to_jax(state), to_jax(params))
        assert_close(to_numpy(crossed), to_numpy(real_updates))
    assert type(state[0]) is optax.ScaleByAdamState


@pytest.mark.parametrize("case", SINGLE, ids=lambda case: case["name"])
def test_resuming_is_exact(case):
    """From the arrays of one state both make the same further updates, as if it had always been theirs."""
    params, gradients = cases.data(case, 20)
    solver, real = solvers(case)
    state = real.init(to_jax(params))
    for step_gradients in gradients:
        _, state = real.update(to_jax(step_gradients), state, to_jax(params))
    g = gradients[0]
    direct, _ = solver.update(g, state, params)
    own_classes = solver.init(params)
    filled = jax.tree.unflatten(jax.tree.structure(own_classes), jax.tree.leaves(to_numpy(state)))
    restored, _ = solver.update(g, filled, params)
    expected, _ = real.update(to_jax(g), state, to_jax(params))
    for a, b in zip(direct, restored, strict=True):
        np.testing.assert_array_equal(a, b)
    assert_close(restored, to_numpy(expected))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_of_the_first_moment(dtype):
    mu_dtype = jnp.dtype(dtype)
    params, gradients = cases.problem(3)
    solver, real = ours.nadamw(0.01, mu_dtype=mu_dtype), optax.nadamw(0.01, mu_dtype=mu_dtype)
    state, values = solver.init(params), to_jax(params)
    real_state = real.init(values)
    for step_gradients in gradients:
        state = solver.step(params, step_gradients, state)
        updates, real_state = real.update(to_jax(step_gradients), real_state, values)
        values = optax.apply_updates(values, updates)
        assert_close(params, to_numpy(values))
        for mu, theirs in zip(state[0].mu, to_numpy(real_state[0].mu), strict=True):
            np.testing.assert_array_equal(mu, theirs, strict=True)


def test_complex64_first_moment():
    params, gradients = cases.complex_problem(3)
    solver, real = ours.nadam(0.01, mu_dtype="complex64"), optax.nadam(0.01, mu_dtype="complex64")
    state, values = solver.init(params), to_jax(params)
    real_state = real.init(values)
    for step_gradients in gradients:
        state = solver.step(params, step_gradients, state)
        updates, real_state = real.update(to_jax(step_gradients), real_state, values)
        values = optax.apply_updates(values, updates)
        assert_close(params, to_numpy(values))


@pytest.mark.parametrize("dtype", ["float32", "complex64"])
def test_single_precision(dtype):
    params, gradients = cases.complex_problem(0) if dtype == "complex64" else cases.problem(0)
    params, gradients = ([a.astype(dtype) for a in params], [[a.astype(dtype) for a in g] for g in gradients])
    solver, real = ours.nadam(1e-3), optax.nadam(1e-3)
    state, values = solver.init(params), to_jax(params)
    real_state = real.init(values)
    for step_gradients in gradients:
        state = solver.step(params, step_gradients, state)
        updates, real_state = real.update(to_jax(step_gradients), real_state, values)
        values = optax.apply_updates(values, updates)
        for p, theirs in zip(params, to_numpy(values), strict=True):
            assert p.dtype == theirs.dtype
            np.testing.assert_allclose(p, theirs, rtol=0.0, atol=6.2e-7)


def test_trees():
    def make():
        return {"a": [np.ones(2), (np.ones((2, 3)),)], "b": Pair(np.array(1.0), None), "c": ()}

    mask = {"a": True, "b": False, "c": True}
    solver, real = ours.nadamw(0.1, mask=mask), optax.nadamw(0.1, mask=mask)
    updates, state = solver.update(make(), solver.init(make()), make())
    real_updates, real_state = real.update(to_jax(make()), real.init(to_jax(make())), to_jax(make()))
    assert jax.tree.structure(updates) == jax.tree.structure(real_updates)
    assert jax.tree.structure(state[0].mu) == jax.tree.structure(real_state[0].mu)
    assert_close(jax.tree.leaves(updates), to_numpy(jax.tree.leaves(real_updates)))
    params = make()
    applied = ours.apply_updates(params, updates)
    theirs = optax.apply_updates(to_jax(make()), real_updates)
    assert jax.tree.structure(applied) == jax.tree.structure(theirs)
    assert_close(jax.tree.leaves(applied), to_numpy(jax.tree.leaves(theirs)))


def kinds(tree):
    """The names of the classes and fields of a state."""
    if not hasattr(tree, "_fields"):
        return [kinds(entry) for entry in tree] if type(tree) is tuple else None
    return type(tree).__name__, tree._fields, [kinds(entry) for entry in tree]


@pytest.mark.parametrize("rate", [0.1, None, optax.constant_schedule(0.1)])
@pytest.mark.parametrize("decay", [None, 0.1, optax.constant_schedule(0.1)])
@pytest.mark.parametrize("mask", [None, True, lambda tree: True])
def test_names_of_states(rate, decay, mask):
    options = {} if decay is None else {"weight_decay": decay, "mask": mask}
    name = "nadam" if decay is None else "nadamw"
    p = np.ones(3)
    solver, real = getattr(ours, name)(rate, **options), getattr(optax, name)(rate, **options)
    state, real_state = solver.init(p), real.init(jnp.asarray(p))
    for _ in range(2):
        assert kinds(state) == kinds(real_state)
        for leaf, theirs in zip(jax.tree.leaves(state), jax.tree.leaves(real_state), strict=True):
            assert leaf.dtype == theirs.dtype
            assert leaf.shape == theirs.shape
            np.testing.assert_allclose(leaf, theirs, rtol=1e-15)
        _, state = solver.update(p, state, p)
        _, real_state = real.update(jnp.asarray(p), real_state, jnp.asarray(p))


def test_arguments_and_defaults():
    for function, real in ((ours.nadam, optax.nadam), (ours.nadamw, optax.nadamw)):
        theirs = inspect.signature(real).parameters
        mine = inspect.signature(function).parameters
        assert [*theirs, "scalar_dtype"] == list(mine)
        for name, parameter in theirs.items():
            assert (mine[name].kind, mine[name].default) == (parameter.kind, parameter.default)


def test_largest_count():
    p = np.ones(2)
    solver, real = ours.nadam(0.1), optax.nadam(0.1)
    state = real.init(jnp.asarray(p))
    state = (state[0]._replace(count=jnp.asarray(2**31 - 1, jnp.int32)), state[1])
    updates, new = solver.update(p, state)
    real_updates, real_new = real.update(jnp.asarray(p), state)
    assert_close([updates], [np.array(real_updates)])
    assert new[0].count == real_new[0].count == 2**31 - 1


def both(call):
    """The exceptions that `call(package, convert)` raises with each package."""
    raised = []
    for package, convert in ((ours, lambda tree: tree), (optax, to_jax)):
        with pytest.raises(Exception) as information:  # noqa: PT011 - the type is what is compared
            call(package, convert)
        raised.append(information.value)
    return raised


def updating(grads, params=None, change=lambda state: state, make=lambda package: package.nadam(0.1)):
    def call(package, convert):
        solver = make(package)
        state = change(solver.init(convert({"a": np.ones(2), "b": [np.ones(3)]})))
        solver.update(convert(grads), state, convert(params))

    return call


GOOD = {"a": np.ones(2), "b": [np.ones(3)]}
ERRORS = {
    "no_rate": lambda package, convert: package.nadam(),
    "no_rate_w": lambda package, convert: package.nadamw(),
    "unknown": lambda package, convert: package.nadam(0.1, momentum_decay=4e-3),
    "too_many": lambda package, convert: package.nadam(0.1, 0.9, 0.999, 1e-8, 0.0, None, True),
    "mu_dtype": lambda package, convert: package.nadam(0.1, mu_dtype="float33"),
    "string": lambda package, convert: package.nadam(0.1).init("abc"),
    "missing_key": updating({"a": np.ones(2)}),
    "more_keys": updating({**GOOD, "c": np.ones(1)}),
    "short_list": updating({"a": np.ones(2), "b": []}),
    "tuple_for_list": updating({"a": np.ones(2), "b": (np.ones(3),)}),
    "ordered": updating(collections.OrderedDict(GOOD)),
    "list_for_dict": updating([np.ones(2), np.ones(3)]),
    "none_for_array": updating({"a": None, "b": [np.ones(3)]}),
    "list_for_array": updating({"a": [np.ones(2)], "b": [np.ones(3)]}),
    "array_for_list": updating({"a": np.ones(2), "b": np.ones(3)}),
    "shape": updating({"a": np.ones(3), "b": [np.ones(3)]}),
    "no_params": updating(GOOD, make=lambda package: package.nadamw(0.1)),
    "no_params_without_decay": updating(GOOD, make=lambda package: package.nadamw(0.1, weight_decay=0.0)),
    "no_params_masked": updating(GOOD, make=lambda package: package.nadamw(0.1, mask=False)),
    "params_structure": updating(GOOD, {"a": np.ones(2)}, make=lambda package: package.nadamw(0.1)),
    "params_list": updating(GOOD, [np.ones(2), np.ones(3)], make=lambda package: package.nadamw(0.1)),
    "params_array_for_list": updating(
        GOOD, {"a": np.ones(2), "b": np.ones(3)}, make=lambda package: package.nadamw(0.1)
    ),
    "short_state": updating(GOOD, change=lambda state: state[:1]),
    "long_state": updating(GOOD, change=lambda state: (*state, state[-1])),
    "state_none": updating(GOOD, change=lambda state: None),
    "state_of_constant_rate": updating(
        GOOD, change=lambda state: (state[0], ()), make=lambda package: package.nadam(lambda count: 0.1)
    ),
    "plain_state": updating(GOOD, change=lambda state: (tuple(state[0]), state[1])),
    "schedule_of_none": updating(
        GOOD,
        change=lambda state: (state[0], state[1]),
        make=lambda package: package.nadam(lambda count: None),
    ),
    "mask_keys": updating(GOOD, GOOD, make=lambda package: package.nadamw(0.1, mask={"a": True})),
    "mask_too_deep": updating(GOOD, GOOD, make=lambda package: package.nadamw(0.1, mask={"a": [True], "b": True})),
    "mask_none": updating(GOOD, GOOD, make=lambda package: package.nadamw(0.1, mask={"a": None, "b": True})),
    "mask_array": updating(
        GOOD, GOOD, make=lambda package: package.nadamw(0.1, mask={"a": np.array([True, False]), "b": True})
    ),
    "apply_structure": lambda package, convert: package.apply_updates(convert([np.ones(2)]), convert({0: np.ones(2)})),
    "apply_length": lambda package, convert: package.apply_updates(convert([np.ones(2)]), convert([])),
    "apply_shape": lambda package, convert: package.apply_updates(convert([np.ones(2)]), convert([np.ones(3)])),
    "apply_none": lambda package, convert: package.apply_updates(convert([np.ones(2)]), [None]),
}


@pytest.mark.parametrize("name", ERRORS)
def test_same_types_of_errors(name):
    mine, theirs = both(ERRORS[name])
    assert type(mine) is type(theirs)
