"""The conventions of scipy.optimize.minimize, one by one, beside SciPy itself."""

import functools
import inspect
import pickle
import warnings

import numpy as np
import pytest
import scipy.optimize
from marks import WRAPS, compiled, needs_compiler
from naive import Optimizer
from problems import PROBLEMS, rosenbrock, rosenbrock_gradient, sphere, sphere_gradient

from nadam_numba import minimize, nadam, schedules
from nadam_numba.minimize import frontend

RATE = {"learning_rate": 0.05}
SHORT = {**RATE, "maxiter": 3}
# Ours, ours through SciPy, and SciPy's own.
OURS = {
    "minimize": minimize,
    "scipy.optimize.minimize": functools.partial(scipy.optimize.minimize, method=nadam),
}
BOTH = pytest.mark.parametrize("ours", OURS.values(), ids=OURS)


def pair(x):
    return rosenbrock(x), rosenbrock_gradient(x)


# Signatures


def test_signature_is_scipys_and_progress():
    ours = inspect.signature(minimize).parameters
    scipys = inspect.signature(scipy.optimize.minimize).parameters
    assert list(ours) == [*scipys, "progress"]
    for name, parameter in scipys.items():
        assert ours[name].kind == parameter.kind
        if name != "method":
            assert ours[name].default == parameter.default
    assert ours["progress"].kind is inspect.Parameter.KEYWORD_ONLY


def test_method_callable_takes_what_scipy_passes():
    result = nadam(
        sphere,
        [5.0, 5.0],
        args=(),
        jac=sphere_gradient,
        hess=None,
        hessp=None,
        bounds=None,
        constraints=(),
        callback=None,
        tol=1e-2,
        **RATE,
    )
    assert isinstance(result, scipy.optimize.OptimizeResult)
    assert result.success
    assert np.abs(result.jac).max() <= 1e-2


# fun, x0, args


@BOTH
@pytest.mark.parametrize("args", [2.0, [2.0, 3.0], np.array([2.0, 3.0]), (2.0,), ([2.0, 3.0],), None, "ab", {"a": 1}])
def test_args(ours, args):
    seen = {"ours": [], "scipy": []}

    def fun(x, *args, name="ours"):
        seen[name].append(args)
        return sphere(x), sphere_gradient(x)

    ours(fun, [5.0, 5.0], args=args, jac=True, options=SHORT)
    scipy.optimize.minimize(functools.partial(fun, name="scipy"), [5.0, 5.0], args=args, jac=True, tol=10.0)
    assert len(seen["ours"][0]) == len(seen["scipy"][0])
    for mine, theirs in zip(seen["ours"][0], seen["scipy"][0], strict=True):
        assert mine is theirs


@BOTH
@pytest.mark.parametrize(
    "x0", [3, [1, 2], (1, 2), [True, False], np.ones(4)[::2], np.ones(2, np.int8), np.ones(2, np.uint64), range(3)]
)
def test_x0_becomes_float64(ours, x0):
    seen = []

    def fun(x):
        seen.append((x.dtype, x.ndim, x.flags.c_contiguous, x.flags.writeable))
        return sphere(x)

    result = ours(fun, x0, options=SHORT)
    assert set(seen) == {(np.dtype(np.float64), 1, True, True)}
    assert result.x.dtype == result.jac.dtype == np.float64
    scipys = scipy.optimize.minimize(sphere, x0, method="BFGS", options={"maxiter": 3})
    assert scipys.x.dtype == result.x.dtype
    assert scipys.x.shape == result.x.shape


@BOTH
def test_float32_is_kept_and_moves(ours):
    x0 = np.array([5.0, 5.0], np.float32)
    result = ours(sphere, x0, options={"learning_rate": schedules.cosine_decay(0.1, 1000)})
    assert result.x.dtype == result.jac.dtype == np.float32
    assert result.success
    np.testing.assert_allclose(result.x, [0.0, 1.0], atol=5e-3)
    assert x0.tolist() == [5.0, 5.0]


def test_float16_becomes_float64():
    assert minimize(sphere, np.ones(2, np.float16), options=SHORT).x.dtype == np.float64


@BOTH
@pytest.mark.parametrize("dtype", [complex, np.complex64, object, "U1", "S1"])
def test_x0_that_is_not_real_is_refused(ours, dtype):
    with pytest.raises(TypeError, match="x0 has dtype"):
        ours(sphere, np.array([1, 2]).astype(dtype))


@pytest.mark.skipif(np.finfo(np.longdouble).bits == 64, reason="a long double is a double")
def test_longdouble_is_refused_rather_than_rounded():
    with pytest.raises(TypeError, match=r"x0 has dtype .*: it must be real, of at most double precision"):
        minimize(sphere, np.ones(2, np.longdouble))


@pytest.mark.parametrize("x0", [[[1.0, 2.0]], np.ones((2, 2))])
def test_shape_of_x0_has_scipys_message(x0):
    messages = []
    for minimizer in (minimize, scipy.optimize.minimize):
        with pytest.raises(ValueError, match="x0") as raised:
            minimizer(sphere, x0)
        messages.append(str(raised.value))
    assert messages[0] == messages[1]


@WRAPS
@pytest.mark.parametrize("jac", [False, None, "2-point"])
def test_no_gradient(wrap, jac):
    result = minimize(wrap(sphere), [5.0, 5.0], jac=jac, options=SHORT)
    assert (result.nfev, result.njev) == (12, 4)


def test_option_stands_for_the_scheme_that_scipy_keeps_from_methods(monkeypatch):
    seen = []
    make = frontend.make_objective

    def watched(fun, jac, *args, relative_step, workers, **kwargs):
        seen.append((jac, relative_step, workers))
        return make(fun, "2-point" if isinstance(jac, str) else jac, *args, **kwargs)

    monkeypatch.setattr(frontend, "make_objective", watched)
    options = {**SHORT, "finite_diff": "3-point", "finite_diff_rel_step": 1e-4, "workers": map}
    minimize(sphere, [5.0, 5.0], options=options)
    minimize(sphere, [5.0, 5.0], jac="cs", options=options)
    minimize(sphere, [5.0, 5.0], jac=sphere_gradient, options=options)
    scipy.optimize.minimize(sphere, [5.0, 5.0], jac="cs", method=nadam, options=options)
    minimize(sphere, [5.0, 5.0], options=SHORT)
    expected = [("3-point", 1e-4, map), ("cs", 1e-4, map), (sphere_gradient, 1e-4, map), ("3-point", 1e-4, map)]
    assert seen == [*expected, ("2-point", None, None)]


# method


@pytest.mark.parametrize("method", ["BFGS", "Nelder-Mead", None, "l-bfgs-b"])
def test_other_methods_are_scipys(method):
    ours = minimize(rosenbrock, [-1.2, 1.0], method=method, options={"maxiter": 20})
    scipys = scipy.optimize.minimize(rosenbrock, [-1.2, 1.0], method=method, options={"maxiter": 20})
    np.testing.assert_array_equal(ours.x, scipys.x)
    assert ours.nfev == scipys.nfev


def test_other_methods_get_all_arguments_as_they_are(monkeypatch):
    seen = []
    monkeypatch.setattr(scipy.optimize, "minimize", lambda *args, **kwargs: seen.append((args, kwargs)))
    arguments = [object() for _ in range(12)]
    for method in ("trust-constr", None, lambda *args: None, 5):
        arguments[3] = method
        minimize(*arguments)
        args, kwargs = seen.pop()
        assert kwargs == {}
        assert all(given is passed for given, passed in zip(arguments, args, strict=True))


@pytest.mark.parametrize(
    ("method", "error"), [("no such method", "Unknown solver no such method"), (5, "no attribute 'lower'")]
)
def test_unknown_methods_are_scipys_errors(method, error):
    for minimizer in (minimize, scipy.optimize.minimize):
        with pytest.raises((ValueError, AttributeError), match=error):
            minimizer(sphere, [5.0, 5.0], method=method)


def test_methods_that_are_functions_go_through_scipy():
    result = minimize(rosenbrock, [-1.2, 1.0], method=nadam, jac=rosenbrock_gradient, tol=1e-3, options=SHORT)
    direct = minimize(rosenbrock, [-1.2, 1.0], jac=rosenbrock_gradient, tol=1e-3, options=SHORT)
    np.testing.assert_array_equal(result.x, direct.x)


@pytest.mark.parametrize("method", ["NAdam", "NADAM", "Adam", "AdamW"])
def test_case_of_the_method_does_not_matter(method):
    assert minimize(sphere, [5.0, 5.0], method=method, options=SHORT).nit == 3


RULES = {
    "nadam": {},
    "nadamw": {"decoupled_weight_decay": True},
    "adam": {"nesterov": False},
    "adamw": {"nesterov": False, "decoupled_weight_decay": True},
    "amsgrad": {"nesterov": False, "amsgrad": True},
}


@WRAPS
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
@pytest.mark.parametrize("method", RULES)
def test_methods_make_the_steps_of_the_reference(wrap, dtype, weight_decay, method):
    x0 = np.array([-1.2, 1.0], dtype)
    reference = Optimizer([x0], 0.03, 0.8, 0.99, 1e-6, momentum_decay=0.01, weight_decay=weight_decay, **RULES[method])
    expected = [x0]
    for _ in range(60):
        reference.step([rosenbrock_gradient(reference.params[0])])
        expected.append(reference.params[0])
    options = {
        "learning_rate": 0.03,
        "beta_1": 0.8,
        "beta_2": 0.99,
        "epsilon": 1e-6,
        "momentum_decay": 0.01,
        "weight_decay": weight_decay,
        "maxiter": 60,
        "gtol": 0.0,
        "return_all": True,
    }
    result = minimize(wrap(rosenbrock), x0, jac=wrap(rosenbrock_gradient), method=method, options=options)
    np.testing.assert_array_equal(result.allvecs, expected)
    # The decay is part of the step, not of the objective.
    np.testing.assert_array_equal(result.jac, rosenbrock_gradient(result.x))


# What is not used


@BOTH
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"hess": lambda x: np.eye(2)}, "does not use Hessian information (hess)."),
        ({"hessp": lambda x, p: p}, "does not use Hessian-vector product information (hessp)."),
        ({"constraints": {"type": "eq", "fun": sphere}}, "cannot handle constraints."),
        ({"constraints": [{"type": "eq", "fun": sphere}]}, "cannot handle constraints."),
        ({"constraints": scipy.optimize.LinearConstraint([1.0, 1.0], 0.0, 10.0)}, "cannot handle constraints."),
    ],
    ids=str,
)
def test_unused_arguments_warn_as_in_scipy(ours, arguments, message):
    with pytest.warns(RuntimeWarning) as warned:
        result = ours(sphere, [5.0, 5.0], options=SHORT, **arguments)
    with pytest.warns(RuntimeWarning) as scipys:
        scipy.optimize.minimize(sphere, [5.0, 5.0], method="CG", **arguments)
    assert [str(warning.message) for warning in warned] == [f"Method nadam {message}"]
    assert [str(warning.message) for warning in scipys] == [f"Method CG {message}"]
    assert warned[0].filename == scipys[0].filename == __file__
    assert result.nit == 3


@BOTH
@pytest.mark.parametrize("constraints", [(), [], None, {}])
def test_no_constraints(ours, constraints):
    assert ours(sphere, [5.0, 5.0], constraints=constraints, options=SHORT).nit == 3


@BOTH
def test_unknown_options_warn_as_in_scipy(ours):
    unknown = {"speed": 1, "eps": 2}
    with pytest.warns(scipy.optimize.OptimizeWarning) as warned:
        result = ours(sphere, [5.0, 5.0], options={**SHORT, **unknown})
    with pytest.warns(scipy.optimize.OptimizeWarning) as scipys:
        scipy.optimize.minimize(sphere, [5.0, 5.0], method="CG", options={"speed": 1, "epps": 2})
    assert [str(warning.message) for warning in warned] == ["Unknown solver options: speed, eps"]
    assert [str(warning.message) for warning in scipys] == ["Unknown solver options: speed, epps"]
    assert warned[0].filename == scipys[0].filename == __file__
    assert result.nit == 3


def test_options_are_not_changed():
    options = {"gtol": 1e-6, **SHORT}
    given = dict(options)
    minimize(sphere, [5.0, 5.0], tol=0.5, options=options)
    assert options == given
    minimize(sphere, [5.0, 5.0], tol=0.5, options=(empty := {}))
    assert empty == {}
    assert minimize(sphere, [5.0, 5.0], options=None).nit > 0


def test_options_that_are_none_are_the_defaults():
    names = ("gtol", "ftol", "f_target", "patience", "maxfev", "max_time", "history", "workers")
    result = minimize(sphere, [5.0, 5.0], options={**SHORT, **dict.fromkeys(names)})
    assert result.nit == 3
    assert "history" not in result


@BOTH
def test_tol_sets_gtol_unless_given(ours):
    arguments = {"jac": sphere_gradient, "tol": 0.5}
    loose = ours(sphere, [5.0, 5.0], **arguments, options=RATE)
    tight = ours(sphere, [5.0, 5.0], **arguments, options={**RATE, "gtol": 1e-2})
    assert loose.success
    assert tight.success
    assert 1e-2 < np.abs(loose.jac).max() <= 0.5
    assert np.abs(tight.jac).max() <= 1e-2


@BOTH
@pytest.mark.parametrize(("maxiter", "nit"), [(100.1, 100), (np.int32(5), 5), (np.float32(2.9), 2), (0, 0), (-1, 0)])
def test_maxiter_need_not_be_whole(ours, maxiter, nit):
    result = ours(rosenbrock, [-1.2, 1.0], options={"learning_rate": 1e-3, "maxiter": maxiter})
    assert (result.nit, result.status, result.success) == (nit, 1, False)
    if nit == 0:
        scipys = scipy.optimize.minimize(rosenbrock, [-1.2, 1.0], method="BFGS", options={"maxiter": maxiter})
        for field in ("status", "success", "message", "nit", "fun"):
            assert result[field] == scipys[field]
        np.testing.assert_array_equal(result.x, scipys.x)


# The result


@BOTH
def test_fields_and_their_types_are_scipys(ours):
    result = ours(sphere, [5.0, 5.0], jac=sphere_gradient, options=RATE)
    scipys = scipy.optimize.minimize(sphere, [5.0, 5.0], jac=sphere_gradient, method="CG")
    assert set(result) == set(scipys)
    for field in scipys:
        if field not in ("x", "jac", "fun", "success"):
            assert type(result[field]) is type(scipys[field])
    assert result.success is True
    assert type(result.fun) is float
    assert result.message == scipys.message
    assert result.status == scipys.status
    for field in ("x", "jac"):
        assert (result[field].shape, result[field].dtype) == (scipys[field].shape, scipys[field].dtype)


def test_failure_is_scipys():
    result = minimize(rosenbrock, [-1.2, 1.0], options=SHORT)
    scipys = scipy.optimize.minimize(rosenbrock, [-1.2, 1.0], method="BFGS", options={"maxiter": 3})
    assert result.success is False
    for field in ("success", "status", "message", "nit"):
        assert result[field] == scipys[field]


def test_result_is_shown_and_pickled():
    result = minimize(rosenbrock, [-1.2, 1.0], options={**SHORT, "history": 1, "return_all": True})
    assert "success: False" in repr(result)
    again = pickle.loads(pickle.dumps(result))
    np.testing.assert_array_equal(again.x, result.x)
    np.testing.assert_array_equal(again.history["fun"], result.history["fun"])


def test_return_all_is_scipys():
    arguments = {"options": {"return_all": True, "maxiter": 3}}
    scipys = scipy.optimize.minimize(rosenbrock, [-1.2, 1.0], method="BFGS", **arguments)
    result = minimize(rosenbrock, [-1.2, 1.0], options={**SHORT, "return_all": True})
    assert type(result.allvecs) is type(scipys.allvecs)
    assert len(result.allvecs) == len(scipys.allvecs) == 4
    np.testing.assert_array_equal(result.allvecs[0], scipys.allvecs[0])


def test_disp_prints_as_scipy(capsys):
    minimizers = {"ours": (minimize, {"method": "nadam"}), "scipy": (scipy.optimize.minimize, {"method": "BFGS"})}
    printed = {}
    for name, (minimizer, arguments) in minimizers.items():
        minimizer(sphere, [0.0, 1.0], jac=sphere_gradient, options={"disp": True}, **arguments)
        printed[name] = capsys.readouterr().out
    assert printed["ours"] == printed["scipy"]


def test_disp_warns_as_scipy(capsys):
    warned, printed = {}, {}
    minimizers = {"ours": (minimize, {"method": "nadam"}), "scipy": (scipy.optimize.minimize, {"method": "BFGS"})}
    for name, (minimizer, arguments) in minimizers.items():
        with pytest.warns(scipy.optimize.OptimizeWarning) as caught:
            minimizer(
                rosenbrock, [-1.2, 1.0], jac=rosenbrock_gradient, options={"disp": True, "maxiter": 0}, **arguments
            )
        warned[name] = [str(warning.message) for warning in caught]
        printed[name] = capsys.readouterr().out
        if name == "ours":
            assert caught[0].filename == __file__
    assert warned["ours"] == warned["scipy"]
    assert printed["ours"] == printed["scipy"]


def test_nothing_is_printed_without_disp(capsys):
    minimize(rosenbrock, [-1.2, 1.0], options=SHORT)
    minimize(rosenbrock, [-1.2, 1.0], options={**SHORT, "disp": False})
    assert capsys.readouterr() == ("", "")


# The method for SciPy


@WRAPS
@pytest.mark.parametrize("jac", ["gradient", True, None])
def test_method_for_scipy_is_minimize(wrap, jac):
    fun = PROBLEMS[0].pair(wrap) if jac is True else wrap(rosenbrock)
    jac = wrap(rosenbrock_gradient) if jac == "gradient" else jac
    bounds = [(None, 0.7), (0.0, None)]
    options = {**RATE, "maxiter": 40}
    ours = minimize(fun, [-1.2, 1.0], jac=jac, bounds=bounds, options=options)
    scipys = scipy.optimize.minimize(fun, [-1.2, 1.0], jac=jac, bounds=bounds, method=nadam, options=options)
    assert set(ours) == set(scipys)
    for field in ours:
        np.testing.assert_array_equal(ours[field], scipys[field])


@needs_compiler
def test_compiled_pairs_stay_compiled_through_scipy(monkeypatch):
    seen = []
    make = frontend.make_objective

    def watched(fun, jac, *args, **kwargs):
        seen.append((fun, jac))
        return make(fun, jac, *args, **kwargs)

    monkeypatch.setattr(frontend, "make_objective", watched)
    fun = PROBLEMS[0].pair(compiled)
    scipy.optimize.minimize(fun, [-1.2, 1.0], jac=True, method=nadam, options=SHORT)
    assert seen == [(fun, True)]


def test_gradient_of_an_object_is_not_mistaken_for_scipys():
    class Model:
        def __init__(self):
            self.fun = None

        def __call__(self, x):
            return sphere(x)

        def derivative(self, x):
            return sphere_gradient(x)

    model = Model()
    assert scipy.optimize.minimize(model, [5.0, 5.0], jac=model.derivative, method=nadam, options=SHORT).nit == 3


def test_default_run_warns_of_nothing():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        minimize(sphere, [5.0, 5.0], jac=sphere_gradient, options=SHORT)
