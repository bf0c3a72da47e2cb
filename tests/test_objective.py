"""Every kind of objective in one form: the same values and gradients, errors in plain words, nothing aliased."""

import ctypes
import functools
import gc
import math
from collections import namedtuple
from fractions import Fraction

import numba
import numpy as np
import pytest
import scipy.optimize
from marks import COMPILES, WRAPS, compiled, needs_compiler
from numba import carray, cfunc, njit, typed, types
from numba.extending import is_jitted
from scipy import LowLevelCallable

from nadam_numba import jit, minimize
from nadam_numba.minimize import low_level
from nadam_numba.minimize import objective as objective_module
from nadam_numba.minimize.lent import make_room
from nadam_numba.minimize.objective import at_addresses, evaluated, make_objective

X = np.array([1.5, -2.0, 0.25])


def value(x):
    total = 0.0
    for i in range(x.size):
        total += (i + 1.0) * x[i] * x[i]
    return total


def gradient(x):
    result = np.empty(x.size)
    for i in range(x.size):
        result[i] = 2.0 * (i + 1.0) * x[i]
    return result


def pair(x):
    total = 0.0
    result = np.empty(x.size)
    for i in range(x.size):
        total += (i + 1.0) * x[i] * x[i]
        result[i] = 2.0 * (i + 1.0) * x[i]
    return total, result


def in_place(x, g):
    total = 0.0
    for i in range(x.size):
        total += (i + 1.0) * x[i] * x[i]
        g[i] = 2.0 * (i + 1.0) * x[i]
    return total


MEMOIZED = scipy.optimize._optimize.MemoizeJac(pair)
EXPECTED = value(X), gradient(X)


def ways(objective):
    return list(filter(None, (objective[:4], objective.compiled)))


def room(x):
    """As of `lent.make_room` in compiled code."""
    return np.empty_like(x), np.empty_like(x)


def evaluations(objective, x=X, limit=np.inf):
    """``(value, has_gradient, gradient)`` from Python and, where there is one, from the compiled function."""
    found = []
    for evaluate, fun, jac, args in ways(objective):
        result = np.full_like(x, np.nan)
        found.append((*evaluate(fun, jac, args, x, result, limit, room(x)), result))
    return found


def assert_right(objective, count, expected=EXPECTED, rtol=0.0):
    found = evaluations(objective)
    assert len(found) == (count if COMPILES else 1)
    for fun, has_gradient, jac in found:
        assert type(fun) is float
        assert has_gradient
        assert fun == expected[0]
        np.testing.assert_allclose(jac, expected[1], rtol=rtol)


# The kinds of functions


@pytest.mark.parametrize(
    ("fun", "jac", "count"),
    [
        (value, gradient, 1),
        (pair, True, 1),
        (pair, np.True_, 1),
        (in_place, True, 1),
        (lambda x: [value(x), gradient(x), "more"], True, 1),
        (compiled(value), compiled(gradient), 2),
        (compiled(pair), True, 2),
        (compiled(in_place), True, 2),
        (compiled(value), gradient, 1),
        (value, compiled(gradient), 1),
        (lambda x: np.float32(value(x)), lambda x: gradient(x).tolist(), 1),
        (lambda x: np.array([[value(x)]]), lambda x: gradient(x)[None, :], 1),
        (lambda x: np.array(value(x)), lambda x: gradient(x)[:, None], 1),
        (lambda x: Fraction(value(x)), lambda x: [Fraction(g) for g in gradient(x)], 1),
        (MEMOIZED, MEMOIZED.derivative, 1),
        (functools.partial(lambda scale, x: scale * value(x), 1.0), gradient, 1),
    ],
)
def test_exact_gradients(fun, jac, count):
    objective = make_objective(fun, jac, (), X)
    assert objective.has_exact_gradient
    assert objective.values_per_gradient == 0
    assert_right(objective, count)
    objective.close()


@needs_compiler
def test_compiled_functions_that_return_arrays_of_one_element_or_rows():
    single, row = njit(lambda x: np.array([3.5 + x[0]])), njit(lambda x: x.copy().reshape(1, -1))
    assert_right(make_objective(single, row, (), X), 2, (5.0, X))
    for jac in (None, "cs"):
        found = evaluations(make_objective(njit(lambda x: x[1:2]), jac, (), X))
        for _, _, result in found:
            np.testing.assert_allclose(result, [0.0, 1.0, 0.0], atol=1e-7)


@pytest.mark.parametrize("jac", [None, False, np.False_, "2-point", "3-point", "cs"])
@WRAPS
def test_differences(wrap, jac):
    objective = make_objective(wrap(lambda x: x[0] * x[0] + x[1] * x[2]), jac, (), X)
    assert not objective.has_exact_gradient
    assert objective.values_per_gradient == (6 if jac == "3-point" else 3)
    assert_right(objective, 2 if is_jitted(wrap(value)) else 1, (1.75, [3.0, 0.25, -2.0]), rtol=1e-7)


# Gradients that are no arrays

value_of = compiled(value)
gradient_of = compiled(gradient)
Slopes = namedtuple("Slopes", "first second third")


def typed_list(x):
    slopes = typed.List()
    for slope in gradient_of(x):
        slopes.append(slope)
    return slopes


def tuple_or_none(x):
    if x[0] > 1e9:
        return None
    return 2.0 * x[0], 4.0 * x[1], 6.0 * x[2]


# At X[:n], and with the same numbers in arrays.
GRADIENTS = [
    (1, lambda x: 2.0 * x[0], gradient),
    (1, lambda x: int(x[0]), lambda x: np.floor(x)),
    (1, lambda x: x[0] > 0.0, lambda x: np.ones(1)),
    (1, lambda x: np.float32(x[0]), lambda x: x),
    (1, lambda x: np.array(2.0 * x[0]), gradient),
    (1, lambda x: (2.0 * x[0],), gradient),
    (1, lambda x: [2.0 * x[0]], gradient),
    (3, lambda x: (2.0 * x[0], 4.0 * x[1], 6.0 * x[2]), gradient),
    (3, lambda x: Slopes(2.0 * x[0], 4.0 * x[1], 6.0 * x[2]), gradient),
    (3, tuple_or_none, gradient),
    (3, lambda x: (int(x[0]), 2, np.float32(x[2])), lambda x: np.array([1.0, 2.0, 0.25])),
    (3, lambda x: (x[0] > 0.0, x[1], 7), lambda x: np.array([1.0, x[1], 7.0])),
    (3, lambda x: (x[0] > 0.0, x[1] > 0.0, True), lambda x: np.array([1.0, 0.0, 1.0])),
    (3, lambda x: [2.0 * x[0], 4.0 * x[1], 6.0 * x[2]], gradient),
    (3, lambda x: [1, 2, 3], lambda x: np.array([1.0, 2.0, 3.0])),
    (3, typed_list, gradient),
]


@pytest.mark.parametrize(("is_common", "dtype"), [(False, np.float32), (True, np.float64)])
@pytest.mark.parametrize(("n", "given", "array"), GRADIENTS)
def test_compiled_gradients_that_are_no_arrays(n, given, array, is_common, dtype):
    x = X[:n].astype(dtype)
    given = njit(given)
    fun, jac = (njit(lambda x: (value_of(x), given(x))), True) if is_common else (value_of, given)
    found = evaluations(make_objective(fun, jac, (), x), x)
    assert len(found) == (2 if COMPILES else 1)
    for number, _, result in found:
        assert number == value(x)
        np.testing.assert_array_equal(result, array(x).astype(dtype), strict=True)


def slopes(x):
    return 4.0 * (x[0] - 1.0) ** 3, 2.0 * (x[1] + 2.0)


@pytest.mark.parametrize(
    ("is_common", "options"), [(False, {"learning_rate": 0.05, "maxiter": 50}), (True, {})], ids=["separate", "common"]
)
@pytest.mark.parametrize(
    "given",
    [
        slopes,
        lambda x: [4.0 * (x[0] - 1.0) ** 3, 2.0 * (x[1] + 2.0)],
        lambda x: ((4.0 * (x[0] - 1.0) ** 3, 2.0 * (x[1] + 2.0)),),  # only Python can read it
    ],
    ids=["tuple", "list", "nested"],
)
def test_runs_do_not_depend_on_the_kind_of_gradient(given, is_common, options):
    def quartic(x):
        return (x[0] - 1.0) ** 4 + (x[1] + 2.0) ** 2

    def run(given):
        fun, jac = (njit(lambda x: (quartic(x), given(x))), True) if is_common else (quartic, given)
        return minimize(fun, [3.0, 3.0], jac=jac, options=options)

    quartic = njit(quartic)
    found, expected = run(njit(given)), run(njit(lambda x: np.array(slopes_of(x))))
    np.testing.assert_array_equal(found.x, expected.x)
    np.testing.assert_array_equal(found.jac, expected.jac)
    assert (found.nit, found.nfev, found.njev) == (expected.nit, expected.nfev, expected.njev)


slopes_of = njit(slopes)


@pytest.mark.parametrize("is_common", [False, True])
@pytest.mark.parametrize(
    "given",
    [
        lambda x: 2.0 * (x[0] - 1.0),
        lambda x: np.array(2.0 * (x[0] - 1.0)),
        lambda x: (2.0 * (x[0] - 1.0),),
        lambda x: [2.0 * (x[0] - 1.0)],
    ],
    ids=["number", "0-d array", "tuple", "list"],
)
def test_gradients_that_scipy_takes(given, is_common):
    def square(x):
        return (x[0] - 1.0) ** 2

    square, given = njit(square), njit(given)
    fun, jac = (njit(lambda x: (square(x), given(x))), True) if is_common else (square, given)
    found, peer = (m(fun, [3.0], jac=jac) for m in (minimize, scipy.optimize.minimize))
    assert found.success
    assert peer.success
    np.testing.assert_allclose(found.x, peer.x, rtol=1e-6)


@WRAPS
@pytest.mark.parametrize(
    "both",
    [
        lambda x: ((x[0] - 1.0) ** 2, 2.0 * (x[0] - 1.0)),
        lambda x: [(x[0] - 1.0) ** 2, 2.0 * (x[0] - 1.0)],
        lambda x: np.array([(x[0] - 1.0) ** 2, 2.0 * (x[0] - 1.0)]),
        lambda x: np.array([(x[0] - 1.0) ** 2, 2.0 * (x[0] - 1.0), 7.0]),
        lambda x: np.array([[(x[0] - 1.0) ** 2], [2.0 * (x[0] - 1.0)]]),
        lambda x: [(x - 1.0) ** 2, 2.0 * (x - 1.0)],
    ],
)
def test_value_and_gradient_may_come_in_anything_that_can_be_indexed(wrap, both):
    both = wrap(both)
    outcomes = evaluations(make_objective(both, True, (), X[:1]), X[:1])
    assert len(outcomes) == (2 if is_jitted(both) else 1)
    for number, _, result in outcomes:
        assert number == 0.25
        np.testing.assert_array_equal(result, [1.0])
    found, peer = (m(both, [3.0], jac=True) for m in (minimize, scipy.optimize.minimize))
    assert found.success
    np.testing.assert_allclose(found.x, peer.x, rtol=1e-6)


@needs_compiler
@pytest.mark.parametrize("jac", [None, "gradient", True, "in place"])
def test_values_that_only_python_can_read(jac):
    def writes(x, g):
        g[:] = 2.0 * x
        return [x[0] ** 2 + x[1] ** 2]

    fun = {
        True: lambda x: ((x[0] ** 2 + x[1] ** 2,), 2.0 * x),
        "in place": writes,
    }.get(jac, lambda x: [x[0] ** 2 + x[1] ** 2])
    given = {"gradient": njit(lambda x: 2.0 * x), "in place": True}.get(jac, jac)
    found = minimize(njit(fun), [1.0, 2.0], jac=given)
    assert found.success
    np.testing.assert_allclose(found.x, 0.0, atol=1e-6)


@needs_compiler
def test_what_else_a_function_returns_does_not_matter():
    jac = njit(lambda x: x + x)
    jac(X + 1j)  # as one who checks it by complex steps
    objective = make_objective(value_of, jac, (), X)
    evaluations(objective)
    assert objective_module.is_readable(objective, X)
    nested = njit(lambda x: ((x[0], x[1], x[2]),))
    objective = make_objective(value_of, nested, (), X)
    assert objective_module.is_readable(objective, X)  # nothing is known yet
    nested(X)
    assert not objective_module.is_readable(objective, X)


@pytest.mark.parametrize("jac", [0, 0.0, "", [], np.False_, False])
def test_whatever_is_false_asks_for_differences(jac):
    def fun(x):
        return (x[0] - 1.0) ** 2

    peer = scipy.optimize.minimize(fun, [3.0], jac=jac)
    found = minimize(fun, [3.0], jac=jac, options={"finite_diff": "3-point"})
    expected = minimize(fun, [3.0], jac="3-point")
    np.testing.assert_array_equal(found.x, expected.x)
    assert found.nfev == expected.nfev
    np.testing.assert_allclose(found.x, peer.x, rtol=1e-5)


class Bowl:
    def __call__(self, x):
        return value(x)

    def fun(self, x, g):
        return in_place(x, g)


def test_instances_and_methods():
    assert_right(make_objective(Bowl(), gradient, (), X), 1)
    assert_right(make_objective(Bowl().fun, True, (), X), 1)


@needs_compiler
def test_functions_in_object_mode_are_for_python():
    objective = make_objective(numba.jit(forceobj=True)(lambda x: float(np.dot(x.tolist(), x.tolist()))), None, (), X)
    assert objective.compiled is None
    assert evaluations(objective)[0][0] == pytest.approx(X @ X)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("fun", "jac"), [(value, gradient), (pair, True), (in_place, True)])
def test_the_gradient_has_the_dtype_of_x(fun, jac, dtype):
    x = X.astype(dtype)
    for wrap in (lambda f: f, njit):
        found = evaluations(make_objective(wrap(fun), jac if jac is True else wrap(jac), (), x), x)
        for number, _, result in found:
            assert type(number) is float
            np.testing.assert_array_equal(result, EXPECTED[1].astype(dtype), strict=True)


class Tensor:
    """Behaves to NumPy as tensors of torch do that require gradients."""

    def __init__(self, array, requires_grad=True):
        self.array, self.requires_grad = np.asarray(array), requires_grad

    def detach(self):
        return Tensor(self.array, requires_grad=False)

    def cpu(self):
        return self

    def __array__(self, dtype=None, copy=None):
        if self.requires_grad:
            raise RuntimeError("Can't call numpy() on Tensor that requires grad.")
        return np.array(self.array, dtype)


def test_tensors_are_detached():
    assert_right(make_objective(lambda x: (Tensor(value(x)), Tensor(gradient(x))), True, (), X), 1)
    assert_right(make_objective(lambda x: Tensor([value(x)]), lambda x: Tensor(gradient(x)), (), X), 1)


def test_torch():
    torch = pytest.importorskip("torch")

    def fun(x):
        x = torch.tensor(x, requires_grad=True)
        total = (torch.arange(1.0, 4.0, dtype=x.dtype) * x * x).sum()
        (result,) = torch.autograd.grad(total, x)
        return total, result

    assert_right(make_objective(fun, True, (), X), 1, rtol=1e-14)


def test_jax():
    jax = pytest.importorskip("jax")
    fun = jax.value_and_grad(lambda x: (jax.numpy.arange(1.0, 4.0) * x * x).sum())
    assert_right(make_objective(fun, True, (), X), 1, rtol=1e-6)


# Arguments


@WRAPS
@pytest.mark.parametrize("jac", [True, None])
def test_arguments_of_any_types(wrap, jac):
    def fun(x, center, scale, pair, name, function):
        return scale * (x[0] - center[0]) ** 2 + pair[0] * x[1] + len(name) * function(x[2])

    def both(x, center, scale, pair, name, function):
        total = scale * (x[0] - center[0]) ** 2 + pair[0] * x[1] + len(name) * function(x[2])
        return total, np.array([2.0 * scale * (x[0] - center[0]), pair[0], len(name) * 2.0 * x[2]])

    args = (np.array([1.0]), 3, (0.5, 7), "ab", wrap(lambda y: y * y))
    objective = make_objective(wrap(both if jac else fun), jac, args, X)
    found = evaluations(objective)
    for number, _, result in found:
        assert number == 3 * 0.25 - 1.0 + 2 * 0.0625
        np.testing.assert_allclose(result, [3.0, 0.5, 1.0], rtol=1e-6)


def test_functions_that_tell_no_signature_return_their_gradient():
    assert make_objective(min, True, (), X).evaluate is objective_module.evaluate_pair


@WRAPS
def test_functions_that_write_the_gradient_take_arguments(wrap):
    def fun(x, g, center):
        for i in range(x.size):
            g[i] += 2.0 * (x[i] - center[i])  # begins at 0
        return ((x - center) ** 2).sum()

    objective = make_objective(wrap(fun), True, (np.ones(3),), X)
    assert_right(objective, 2 if is_jitted(wrap(value)) else 1, (((X - 1) ** 2).sum(), 2 * (X - 1)))


def test_what_tells_functions_that_write_the_gradient():
    def with_default(x, scale=1.0):
        return value(x), scale * gradient(x)

    def with_any(x, *args, **options):
        return value(x), gradient(x)

    assert_right(make_objective(with_default, True, (), X), 1)
    assert_right(make_objective(with_default, True, (1.0,), X), 1)
    assert_right(make_objective(with_any, True, (), X), 1)
    assert_right(make_objective(with_any, True, (1.0, 2.0), X), 1)
    assert_right(make_objective(lambda x, c: (value(x), gradient(x)), True, (1.0,), X), 1)
    assert_right(make_objective(lambda x, g, c: in_place(x, g), True, (1.0,), X), 1)


@needs_compiler
@pytest.mark.parametrize("jac", [True, "2-point", "3-point", "cs", "function"])
def test_arguments_are_run_time_values(jac):
    linear = njit(lambda x, c, k: (k * (x - c)).sum())
    fun = njit(lambda x, c, k: (linear(x, c, k), k + 0.0 * x)) if jac is True else linear
    given = njit(lambda x, c, k: k + 0.0 * x) if jac == "function" else jac
    signatures = None
    for c, k in ((np.zeros(3), 2.0), (np.ones(3), -3.0)):
        objective = make_objective(fun, given, (c, k), X)
        for number, _, result in evaluations(objective):
            assert number == pytest.approx((k * (X - c)).sum())
            np.testing.assert_allclose(result, k, rtol=1e-6)
        now = len(fun.signatures), len(objective.compiled[0].signatures)
        assert signatures is None or now == signatures
        signatures = now


# The limit


@WRAPS
def test_a_separate_gradient_only_up_to_the_limit(wrap):
    calls = []

    def counted(x):
        calls.append(x)
        return gradient(x)

    objective = make_objective(wrap(value), counted, (), X)
    (outcome,) = evaluations(objective, limit=EXPECTED[0] - 1.0)
    assert outcome[:2] == (EXPECTED[0], False)
    assert not calls
    for found in evaluations(make_objective(wrap(value), wrap(gradient), (), X), limit=0.0):
        assert found[:2] == (EXPECTED[0], False)
        assert np.isnan(found[2]).all()
    for found in evaluations(make_objective(wrap(value), wrap(gradient), (), X), limit=EXPECTED[0]):
        assert found[1]
    for found in evaluations(make_objective(wrap(lambda x: np.nan), wrap(gradient), (), X)):
        assert found[1] is False


@WRAPS
@pytest.mark.parametrize("fun", [pair, in_place])
def test_a_gradient_that_comes_with_the_value_is_always_stored(wrap, fun):
    for number, has_gradient, result in evaluations(make_objective(wrap(fun), True, (), X), limit=-np.inf):
        assert number == EXPECTED[0]
        assert has_gradient
        np.testing.assert_array_equal(result, EXPECTED[1])


# Nothing is aliased


@WRAPS
@pytest.mark.parametrize("jac", ["function", None, "3-point", "cs"])
def test_functions_may_overwrite_x(wrap, jac):
    def careless(x):
        total = x[0] * x[1] + x[2]
        x[:] = 1e9
        return total

    def careless_gradient(x):
        result = np.array([x[1], x[0], 1.0])
        x[:] = 1e9
        return result

    x = X.copy()
    objective = make_objective(wrap(careless), wrap(careless_gradient) if jac == "function" else jac, (), x)
    for number, _, result in evaluations(objective, x):
        assert number == -2.75
        np.testing.assert_allclose(result, [-2.0, 1.5, 1.0], rtol=1e-6)
    np.testing.assert_array_equal(x, X)


def test_gradients_are_copied():
    kept = np.zeros(3)
    written = []

    def reused(x):
        kept[:] = gradient(x)
        return value(x), kept

    def keeps(x, g):
        written.append(g)
        return in_place(x, g)

    for fun in (reused, keeps):
        ((_, _, result),) = evaluations(make_objective(fun, True, (), X))
        kept[:] = -1.0
        for g in written:
            g[:] = -1.0
        np.testing.assert_array_equal(result, EXPECTED[1])


# The user's own flags and exceptions


@WRAPS
@pytest.mark.parametrize("jac", [True, "in place", None, "3-point", "function"])
def test_exceptions_and_flags_are_the_users(wrap, jac):
    def fun(x, divisor):
        if x[0] < 0.0:
            raise KeyError("mine")
        return 1.0 / divisor

    def both(x, divisor):
        if x[0] < 0.0:
            raise KeyError("mine")
        return 1.0 / divisor, x

    def writes(x, g, divisor):
        if x[0] < 0.0:
            raise KeyError("mine")
        return 1.0 / divisor

    used = wrap({True: both, "in place": writes}.get(jac, fun))
    given = {"in place": True, "function": wrap(lambda x, divisor: x)}.get(jac, jac)
    (good, *_) = objectives = [make_objective(used, given, (divisor,), X) for divisor in (2.0, 0.0)]
    # First from compiled code: the caller's flags would stay.
    for evaluate, function, data, args in reversed(ways(good)):
        assert evaluate(function, data, args, X, np.zeros(3), np.inf, room(X)) == (0.5, True)
        with pytest.raises(KeyError, match="mine"):
            evaluate(function, data, args, -X, np.zeros(3), np.inf, room(X))
    for evaluate, function, data, args in ways(objectives[1]):
        with pytest.raises(ZeroDivisionError):
            evaluate(function, data, args, X, np.zeros(3), np.inf, room(X))


@needs_compiler
def test_drivers_carry_no_flags_that_could_leak():
    plain = njit(lambda: 0).targetoptions
    for function in low_level._COMPILED.values():
        assert function.targetoptions == plain
    for function in objective_module.COMPILED.values():
        assert function.targetoptions == plain | {"inline": "always"}


# One driver for all objectives of the same types

_evaluate = None


def descend(fun, jac, args, x, gradient, steps):
    value = np.inf
    for _ in range(steps):
        value, _ = _evaluate(fun, jac, args, x, gradient, np.inf, make_room(x))
        for i in range(x.size):
            x[i] -= 1e-2 * gradient[i]
    return value


def address_driver(objective):
    vector = types.Array(types.float64, 1, "C")
    arguments = (types.int64, numba.typeof(objective.jac), numba.typeof(()), vector, vector, types.int64)
    return jit.address_driver(descend, arguments, _evaluate=objective.evaluate)


@needs_compiler
@pytest.mark.parametrize("kind", ["pair", "in place", "separate", "2-point", "3-point"])
def test_one_driver_serves_all_objectives_of_the_same_types(kind):
    def make(scale):
        value_of = njit(lambda x: scale * (x[0] * x[0] + x[1]))
        gradient_of = njit(lambda x: scale * np.array([2.0 * x[0], 1.0, 0.0]))

        def writes(x, g):
            if x[0] > 5.0:
                raise KeyError("mine")
            g[:] = gradient_of(x)
            return value_of(x)

        fun, jac = {
            "pair": (njit(lambda x: (value_of(x), gradient_of(x))), True),
            "in place": (njit(writes), True),
            "separate": (value_of, gradient_of),
        }.get(kind, (value_of, kind))
        return make_objective(fun, jac, (), X)

    first = at_addresses(make(1.0), X)
    driver = address_driver(first)
    for scale in (1.0, 3.0):
        objective = make(scale)
        now = at_addresses(objective, X)
        assert now.evaluate is first.evaluate
        x, expected, result, python = X.copy(), X.copy(), np.zeros(3), np.zeros(3)
        found = driver(now.fun, now.jac, now.args, x, result, 5)
        for _ in range(5):
            reached, _ = evaluated(objective, expected, python, np.inf)
            expected -= 1e-2 * python
        assert found == reached
        np.testing.assert_array_equal(x, expected)
        if kind == "in place":
            with pytest.raises(KeyError, match="mine"):
                driver(now.fun, now.jac, now.args, 10.0 * X, result, 1)
    assert len(driver.signatures) == 1


@needs_compiler
@pytest.mark.parametrize("kind", ["pair", "in place", "separate", "2-point", "3-point"])
def test_objectives_with_args_compile_after_those_without(kind, monkeypatch):
    monkeypatch.setenv("NADAM_NUMBA_CACHE", "0")  # what is loaded from disk compiles nothing that could be in the way

    @njit
    def without_args(x):
        return x[0] * x[0]

    @njit
    def with_args(x, a, b):
        return a * x[0] * x[0] + b

    @njit
    def slope(x):
        return np.array([2.0 * x[0], 0.0, 0.0])

    @njit
    def slope_with_args(x, a, b):
        return np.array([2.0 * a * x[0], 0.0, 0.0])

    @njit
    def pair(x):
        return without_args(x), slope(x)

    @njit
    def pair_with_args(x, a, b):
        return with_args(x, a, b), slope_with_args(x, a, b)

    @njit
    def in_place(x, g):
        g[0] = 2.0 * x[0]
        return x[0] * x[0]

    @njit
    def in_place_with_args(x, g, a, b):
        g[0] = 2.0 * a * x[0]
        return a * x[0] * x[0] + b

    (fun, jac), (fun_with_args, jac_with_args) = {
        "pair": ((pair, True), (pair_with_args, True)),
        "in place": ((in_place, True), (in_place_with_args, True)),
        "separate": ((without_args, slope), (with_args, slope_with_args)),
    }.get(kind, ((without_args, kind), (with_args, kind)))
    address_driver(at_addresses(make_objective(fun, jac, (), X), X))
    objective = make_objective(fun_with_args, jac_with_args, (3.0, 1.0), X)
    evaluate, *functions = objective.compiled
    value = jit.driver(descend, _evaluate=evaluate)(*functions, X.copy(), np.zeros(3), 1)
    assert value == 3.0 * X[0] ** 2 + 1.0


@needs_compiler
def test_address_drivers_keep_the_users_flags():
    fun = njit(lambda x: 1.0 / math.floor(x[0]))
    first = at_addresses(make_objective(fun, None, (), X), X)
    driver = address_driver(first)
    assert driver.targetoptions == njit(lambda: 0).targetoptions
    with pytest.raises(ZeroDivisionError):
        driver(first.fun, first.jac, first.args, 0.1 * X, np.zeros(3), 1)
    with pytest.raises(ZeroDivisionError):
        fun(0.1 * X)


@needs_compiler
def test_what_has_no_form_at_addresses():
    assert at_addresses(make_objective(value, gradient, (), X), X) is None
    assert (
        at_addresses(make_objective(njit(value), njit(gradient), (), X.astype(np.float32)), X.astype(np.float32))
        is None
    )
    for fun, jac, args in [
        (njit(lambda x, c: x[0] * c), None, (1.0,)),
        (njit(lambda x: 1), None, ()),
        (njit(lambda x: np.float32(x[0])), None, ()),
        (njit(value), njit(lambda x: x[::1].reshape(1, -1)), ()),
        (njit(pair), "2-point", ()),
        (njit("float64(float64[:])")(value), None, ()),
        (njit(lambda x: x[0]), "cs", ()),
    ]:
        assert at_addresses(make_objective(fun, jac, args, X), X) is None
    declared = make_objective(njit("float64(float64[::1])")(value), None, (), X)
    assert at_addresses(declared, X) is not None


# Errors


SCALAR = "The user-provided objective function must return a scalar value"


@pytest.mark.parametrize(
    ("fun", "jac", "error", "message"),
    [
        (3, None, TypeError, "fun=3 is a int"),
        (value, "4-point", ValueError, "jac='4-point'.*'3-point' or 'cs'"),
        (value, 7, ValueError, "jac=7"),
        (value, np.zeros(2), ValueError, r"jac=array\(\[0., 0.\]\)"),
        (lambda x: None, None, TypeError, "fun returned None"),
        (lambda x: 1j, None, TypeError, "fun returned 1j"),
        (lambda x: "1", None, TypeError, "fun returned '1'"),
        (lambda x: np.datetime64("2020"), None, TypeError, "fun returned"),
        (lambda x: object(), None, TypeError, "fun returned <object"),
        (lambda x: x, None, ValueError, SCALAR),
        (lambda x: [], None, ValueError, SCALAR),
        (lambda x: 10**400, None, ValueError, "fun returned 1000"),
        (lambda x: (x, x), True, ValueError, SCALAR),
        (value, True, ValueError, r"jac=True, but fun returned .*must return a value and a gradient"),
        (lambda x, g: None, True, TypeError, "fun returned None"),
        (value, lambda x: np.ones(2), ValueError, r"jac returned a gradient of shape \(2,\).*of x, \(3,\)"),
        (value, lambda x: np.ones((3, 3)), ValueError, r"shape \(3, 3\)"),
        (value, lambda x: 1.0, ValueError, r"shape \(1,\)"),
        (value, lambda x: None, TypeError, "jac returned None"),
        (value, lambda x: x * 1j, TypeError, "jac returned .* must return real numbers"),
        (value, lambda x: [[1.0], [1.0, 2.0]], ValueError, "jac returned .* must return real numbers"),
        (lambda x: (1.0, np.ones(4)), True, ValueError, r"fun returned a gradient of shape \(4,\)"),
    ],
    ids=str,
)
def test_bad_functions(fun, jac, error, message):
    with pytest.raises(error, match=message):
        evaluations(make_objective(fun, jac, (), X))


def test_a_square_is_no_vector():
    x = np.ones(4)
    with pytest.raises(ValueError, match=r"shape \(2, 2\)"):
        evaluations(make_objective(value, lambda x: np.ones((2, 2)), (), x), x)


@needs_compiler
def test_bad_compiled_functions():
    for fun, jac, error, message in [
        (njit(lambda x: x), None, ValueError, SCALAR),
        (njit(lambda x: None), None, TypeError, "fun returned None"),
        (njit(lambda x: 1j), None, TypeError, "fun returned 1j"),
        (njit(value), njit(lambda x: np.ones(2)), ValueError, r"shape \(2,\)"),
        (njit(value), njit(lambda x: (1.0, 2.0)), ValueError, r"shape \(2,\)"),
        (njit(value), njit(lambda x: x[0]), ValueError, r"shape \(1,\)"),
        (njit(value), njit(lambda x: x * 1j), TypeError, "jac returned .* must return real numbers"),
        (njit(value), njit(lambda x: (x[0], x[1] * 1j, x[2])), TypeError, "jac returned .* must return real numbers"),
        (njit(lambda x: (value_of(x), [1j, 1j, 1j])), True, TypeError, "fun returned .* must return real numbers"),
        (njit(value), njit(lambda x: {0: 1.0, 1: 1.0, 2: 1.0}), TypeError, "jac returned .* must return real numbers"),
        (njit(lambda x: x[:1]), True, ValueError, "must return a value and a gradient"),
    ]:
        with pytest.raises(error, match=message):
            evaluations(make_objective(fun, jac, (), X)._replace(compiled=None))


@needs_compiler
@pytest.mark.parametrize(
    "given", [lambda x: x[0], lambda x: (x[0],), lambda x: (x[0], 1), lambda x: [x[0]], lambda x: np.array(x[0])]
)
def test_sizes_that_are_wrong_in_compiled_code(given):
    evaluate, *functions = make_objective(value_of, njit(given), (), X).compiled
    with pytest.raises(ValueError, match="size is not that of x"):
        evaluate(*functions, X, np.zeros(3), np.inf, room(X))


@needs_compiler
def test_sizes_that_change_in_compiled_code():
    fun = njit(lambda x: (1.0, np.ones(3) if x[0] > 0.0 else np.ones(2)))
    evaluate, *functions = make_objective(fun, True, (), X).compiled
    assert evaluate(*functions, X, np.zeros(3), np.inf, room(X)) == (1.0, True)
    with pytest.raises(ValueError, match="size is not that of x"):
        evaluate(*functions, -X, np.zeros(3), np.inf, room(X))
    short = njit(lambda x: np.ones(2) if x[0] > 0.0 else np.ones(1))
    evaluate, *functions = make_objective(short, True, (), X[:1]).compiled
    with pytest.raises(ValueError, match="less than a value and a gradient"):
        evaluate(*functions, -X[:1], np.zeros(1), np.inf, room(X[:1]))
    changing = njit(lambda x: np.ones(1) if x[0] > 0.0 else np.ones(2))
    evaluate, *functions = make_objective(changing, None, (), X).compiled
    with pytest.raises(ValueError, match=SCALAR):
        evaluate(*functions, -X, np.zeros(3), np.inf, room(X))


# LowLevelCallable

C_VALUE = "float64(intc, CPointer(float64))"
C_VALUE_DATA = "float64(intc, CPointer(float64), voidptr)"
C_PAIR = "float64(intc, CPointer(float64), CPointer(float64))"
C_PAIR_DATA = "float64(intc, CPointer(float64), CPointer(float64), voidptr)"
C_GRADIENT = "void(intc, CPointer(float64), CPointer(float64))"
C_GRADIENT_DATA = "void(intc, CPointer(float64), CPointer(float64), voidptr)"


@functools.cache
def c_function(signature, function):
    """The C function of `function`, which takes arrays and the number that the user's data points to."""
    function = njit(function)

    if signature == C_VALUE:

        def low(n, x):
            return function(carray(x, n), 1.0)

    elif signature == C_VALUE_DATA:

        def low(n, x, data):
            return function(carray(x, n), carray(data, 1, np.float64)[0])

    elif signature.endswith("voidptr)"):

        def low(n, x, g, data):
            return function(carray(x, n), carray(g, n), carray(data, 1, np.float64)[0])

    else:

        def low(n, x, g):
            return function(carray(x, n), carray(g, n), 1.0)

    return cfunc(signature)(low)


def scaled(x, scale):
    total = 0.0
    for i in range(x.size):
        total += scale * (i + 1.0) * x[i] * x[i]
    x[0] = 1e9
    return total


def scaled_pair(x, g, scale):
    total = 0.0
    for i in range(x.size):
        total += scale * (i + 1.0) * x[i] * x[i]
        g[i] += scale * 2.0 * (i + 1.0) * x[i]
    return total


def scaled_gradient(x, g, scale):
    for i in range(x.size):
        g[i] = scale * 2.0 * (i + 1.0) * x[i]


def user_data(number):
    return ctypes.cast(ctypes.pointer(ctypes.c_double(number)), ctypes.c_void_p)


@needs_compiler
@pytest.mark.parametrize(
    ("kind", "scale", "dtype"),
    [
        ("separate", 1.0, np.float64),
        ("separate", 3.0, np.float32),
        ("pair", 1.0, np.float32),
        ("pair", 3.0, np.float64),
        ("2-point", 1.0, np.float64),
        ("3-point", 3.0, np.float32),
        ("mixed", 3.0, np.float64),
        ("mixed compiled", 1.0, np.float64),
    ],
)
def test_low_level_callables(kind, scale, dtype):
    data = user_data(scale)
    has_data = scale != 1.0

    def make(signature, function):
        c = c_function(signature, function)
        low = LowLevelCallable(c.ctypes, data) if has_data else LowLevelCallable(c.ctypes)
        functions.append(c)  # Numba's own cfunc is what keeps the code alive
        return low

    functions = []
    fun = make(C_VALUE_DATA if has_data else C_VALUE, scaled)
    jac, count = {"separate": (None, 2), "mixed": (lambda x: scale * gradient(x), 1)}.get(kind, (kind, 2))
    if kind == "separate":
        jac = make(C_GRADIENT_DATA if has_data else C_GRADIENT, scaled_gradient)
    if kind == "mixed compiled":
        jac, count = njit(lambda x: scale * gradient_of(x)), 1
    if kind == "pair":
        fun, jac = make(C_PAIR_DATA if has_data else C_PAIR, scaled_pair), True
    x = X.astype(dtype)
    objective = make_objective(fun, jac, (), x)
    del fun, jac
    gc.collect()
    found = evaluations(objective, x)
    assert len(found) == count
    for number, has_gradient, result in found:
        assert type(number) is float
        assert has_gradient
        assert number == scale * EXPECTED[0]
        np.testing.assert_allclose(result, scale * EXPECTED[1], rtol=1e-5 if dtype == np.float64 else 0.02)


@needs_compiler
def test_a_new_low_level_callable_compiles_nothing():
    functions = [c_function(C_VALUE, lambda x, scale, k=k: x[0] * k) for k in (2.0, 3.0)]
    counts = []
    for k, c in enumerate(functions, 2):
        objective = make_objective(LowLevelCallable(c.ctypes), None, (), X)
        assert [found[0] for found in evaluations(objective)] == [X[0] * k] * 2
        counts.append([len(f.signatures) for f in (*low_level._COMPILED.values(), *objective_module.COMPILED.values())])
    assert counts[0] == counts[1]


@needs_compiler
def test_low_level_callables_run_in_threads():
    c = c_function(C_VALUE, scaled)
    found = [
        evaluations(make_objective(LowLevelCallable(c.ctypes), None, (), X, workers=workers))[1]
        for workers in (None, 2)
    ]
    np.testing.assert_array_equal(found[0][2], found[1][2])


@needs_compiler
def test_low_level_callables_from_ctypes_cffi_and_capsules():
    c = c_function(C_VALUE_DATA, scaled)
    data = user_data(1.0)
    prototype = ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_int, ctypes.POINTER(ctypes.c_double), ctypes.c_void_p)
    new_capsule = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p)(
        ("PyCapsule_New", ctypes.pythonapi)
    )
    # As Cython exports its functions.
    name = b"double (int, double *, void *)"
    assert_right(make_objective(LowLevelCallable(prototype(c.address), data), None, (), X), 2, rtol=1e-6)
    assert_right(make_objective(LowLevelCallable(new_capsule(c.address, name, None), data), None, (), X), 2, rtol=1e-6)
    cffi = pytest.importorskip("cffi")
    ffi = cffi.FFI()
    number = ffi.new("double *", 1.0)
    fun = ffi.cast("double (*)(int, const double *, void *)", c.address)
    assert_right(make_objective(LowLevelCallable(fun, ffi.cast("void *", number)), None, (), X), 2, rtol=1e-6)


def python_callback(result, *arguments):
    prototype = ctypes.CFUNCTYPE(result, *arguments)
    return LowLevelCallable(prototype(lambda *a: 0))


POINTER = ctypes.POINTER(ctypes.c_double)


@pytest.mark.parametrize(
    ("fun", "jac", "message"),
    [
        (
            python_callback(ctypes.c_double, ctypes.c_double),
            None,
            r"fun .*'double \(double\)'.*'double \(int n, double",
        ),
        (python_callback(ctypes.c_double, ctypes.c_int, POINTER), True, r"double \*gradient, void \*user_data\)'"),
        (python_callback(ctypes.c_double, ctypes.c_int, POINTER, POINTER), None, "fun is a LowLevelCallable"),
        (value, python_callback(ctypes.c_double, ctypes.c_int, POINTER, POINTER), r"jac .*'void \(int n, double \*x"),
        (python_callback(ctypes.c_double, ctypes.c_int, POINTER), "cs", "jac='cs'.*LowLevelCallable"),
    ],
)
def test_bad_low_level_callables(fun, jac, message):
    with pytest.raises(ValueError, match=message):
        make_objective(fun, jac, (), X)


def test_low_level_callables_take_no_arguments():
    with pytest.raises(ValueError, match=r"args=\(1.0,\).*user_data"):
        make_objective(python_callback(ctypes.c_double, ctypes.c_int, POINTER), None, (1.0,), X)


def test_low_level_callables_made_of_python_functions():
    prototype = ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_int, POINTER)
    fun = LowLevelCallable(prototype(lambda n, x: math.fsum((i + 1) * x[i] * x[i] for i in range(n))))
    assert_right(make_objective(fun, None, (), X), 2, rtol=1e-6)


def test_names_in_signatures_do_not_matter():
    normal = low_level._normal
    for signature in (
        "double (int n, double *x)",
        "double(int, double*)",
        "double (int, const double *x) noexcept nogil",
    ):
        assert normal(signature) == "double(int,double*)"
    assert normal("void (int, double *, double *, void *user_data)") == "void(int,double*,double*,void*)"
