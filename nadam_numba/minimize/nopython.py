"""`minimize` inside the user's own ``@njit`` code: the same steps and bits, in one piece of compiled code."""

import functools
from typing import NamedTuple

import numba
import numpy as np
from numba import types
from numba.core.errors import TypingError
from numba.extending import overload
from numba.np.numpy_support import as_dtype

from nadam_numba import hyperparameters, jit
from nadam_numba.minimize import auto, auto_state, textbook, whole
from nadam_numba.minimize.addresses import functions_at, holds_a_function
from nadam_numba.minimize.auto_state import make_state
from nadam_numba.minimize.bounds import count_free
from nadam_numba.minimize.differences import Differences
from nadam_numba.minimize.frontend import minimize
from nadam_numba.minimize.objective import (
    COMPILED,
    DIFFERENCES,
    evaluate_complex_step,
    evaluate_in_place,
    evaluate_pair,
    evaluate_separately,
    takes_gradient,
)
from nadam_numba.minimize.options import METHODS, Options
from nadam_numba.minimize.result import STOPS

_AUTO_BLANK = np.zeros(1, auto_state.NUMBERS)
_TEXTBOOK_BLANK = textbook.numbers_at_start(None)
_STATUS = np.array([stop.status for stop in STOPS])
_NUMERIC = (
    "learning_rate",
    "beta_1",
    "beta_2",
    "epsilon",
    "momentum_decay",
    "weight_decay",
    "maxiter",
    "maxfev",
    "gtol",
    "ftol",
    "f_target",
    "patience",
    "finite_diff_rel_step",
    "memory",
)
_ALLOWED = (*_NUMERIC, "finite_diff")
_SPARE_PAIRS, _LARGEST_COUNT = auto.SPARE_PAIRS, float(Options().maxfev)


class Result(NamedTuple):
    """What `minimize` returns in ``@njit`` code: see `nadam_numba.minimize`."""

    x: np.ndarray
    fun: float
    jac: np.ndarray
    nit: int
    nfev: int
    status: int
    success: bool


@overload(minimize, prefer_literal=True)
def _minimize(
    fun,
    x0,
    args=(),
    method="nadam",
    jac=None,
    hess=None,
    hessp=None,
    bounds=None,
    constraints=(),
    tol=None,
    callback=None,
    options=None,
):
    if not isinstance(x0, types.Array) or x0.ndim != 1:
        raise TypingError(f"x0 is of type {x0}: it must be a one-dimensional array")
    for name, given in (("hess", hess), ("hessp", hessp), ("callback", callback)):
        if not _is_none(given):
            raise TypingError(f"{name}: minimize takes none in nopython code")
    if not _is_none(constraints) and constraints != types.Tuple(()):
        raise TypingError("constraints: minimize takes none")
    switches = METHODS.get(str(_literal("method", method)).lower())
    if switches is None:
        raise TypingError(f"method={_literal('method', method)!r}: it must be one of {', '.join(map(repr, METHODS))}")
    names = _option_names(options)
    evaluate, values_per_variable = _way(fun, args, jac, options, names)
    x_type = as_dtype(x0.dtype) if x0.dtype == types.float32 else np.dtype(np.float64)
    if names is None:
        policies = _AUTO, _TEXTBOOK
    elif "learning_rate" not in names or _is_string(_type_of_option(options, "learning_rate")):
        policies = (_AUTO,)
        if names and "learning_rate" in names:
            rate = _literal("options: learning_rate", _type_of_option(options, "learning_rate"))
            if rate != "auto":
                raise TypingError(f"options: learning_rate={rate!r}: it must be 'auto' or a number in nopython code")
    else:
        policies = (_TEXTBOOK,)
    arg_types = _types_of(args)
    bound = None if _is_none(bounds) else types.Array(numba.from_dtype(x_type), 1, "C")
    types_given = fun, jac, arg_types, bound
    parts = [_solver(policy, evaluate, values_per_variable, x_type, switches, types_given) for policy in policies]
    as_tuple = _itself if isinstance(args, types.BaseTuple) else _none if _is_none(args) else _alone
    return _make(parts, _reader(options, tol), x_type, _no_bound if bound is None else _bound, as_tuple)


def _make(solvers, read, x_type, bound_of, as_tuple):
    """The implementation: what is read from the arguments, and the call of the code that does the rest."""
    # Known while this is compiled, which leaves out the branches that it does not take.
    chooses_at_run_time = len(solvers) > 1
    by_policy, by_rate = solvers[0], solvers[-1]

    def minimize_in_nopython(
        fun,
        x0,
        args=(),
        method="nadam",
        jac=None,
        hess=None,
        hessp=None,
        bounds=None,
        constraints=(),
        tol=None,
        callback=None,
        options=None,
    ):
        if chooses_at_run_time:
            _check_names(options)
        x = _copied(x0, x_type)
        lower, upper = bound_of(bounds, 0, x), bound_of(bounds, 1, x)
        if chooses_at_run_time and "learning_rate" in options:
            return by_rate(fun, jac, as_tuple(args), x, lower, upper, read(options, tol))
        return by_policy(fun, jac, as_tuple(args), x, lower, upper, read(options, tol))

    return minimize_in_nopython


def _solver(policy, evaluate, values_per_variable, x_type, switches, types_given):
    """A compiled function ``(fun, jac, args, x, lower, upper, numbers)`` that minimises.

    It calls code that is compiled once for all objectives of the same types, and kept on disk. To compile this code
    into each function that minimises would take seconds.
    """
    fun, jac, arg_types, bound = types_given
    is_exact = values_per_variable == 0
    if policy is _AUTO:
        solve, run = _solve_auto, whole.run_auto_alone
        constants = float(auto.gtol_factor(is_exact, x_type)), values_per_variable
        bound_functions = {}
    else:
        solve, run = _solve_textbook, whole.run_textbook
        gtol = float(textbook.default_gtol(x_type, is_exact))
        constants = gtol, values_per_variable, switches.nesterov, switches.decoupled_weight_decay
        bound_functions = {"_amsgrad": _yes if switches.amsgrad else _no_address}
    bound_functions["_jac_of"] = _given_jac if is_exact else _differences
    number = numba.from_dtype(x_type)
    found = None
    is_plain = isinstance(fun, types.Dispatcher) and (not isinstance(jac, types.FunctionType))
    if is_plain and evaluate is not evaluate_complex_step and not any(map(holds_a_function, arg_types)):
        found = functions_at(evaluate, fun.dispatcher, getattr(jac, "dispatcher", None), number, arg_types)
        if found is None:
            raise TypingError("fun or jac return what minimize cannot read: it must be a number, or a gradient")
    if found is None:
        way = COMPILED[evaluate]
        core = jit.driver(solve, _run=whole.compiled(run, way), **bound_functions)
        return numba.njit(
            lambda fun, jac, args, x, lower, upper, numbers: core(fun, jac, args, x, lower, upper, numbers, constants)
        )
    jac_type = types.int64 if isinstance(found.jac, int) else types.none
    vector, bound = types.Array(number, 1, "C"), types.none if bound is None else bound
    numbers_type, constants_type = types.UniTuple(types.float64, len(_NUMERIC)), numba.typeof(constants)
    signature = types.int64, jac_type, types.Tuple(arg_types), vector, bound, bound, numbers_type, constants_type
    core = _core(solve, run, found.evaluate, signature, tuple(bound_functions.items()))
    core_type = types.FunctionType(core.overloads[signature].signature.return_type(*signature))
    core_at, core_address = jit.function_at(core_type), jit.constant_address(jit.address_of(core, core_type))
    fun_address = jit.constant_address(found.fun)
    jac_address = jit.constant_address(found.jac) if isinstance(found.jac, int) else _no_address
    _owners.append(found.owners)  # the code lives as long as that which calls it

    def call(fun, jac, args, x, lower, upper, numbers):
        return core_at(core_address())(fun_address(), jac_address(), args, x, lower, upper, numbers, constants)

    return numba.njit(call)


_owners = []


@functools.cache
def _core(solve, run, evaluate, signature, bound_functions):
    # `_evaluate` is no name of `solve`, but tells those on disk apart.
    bound = {"_evaluate": evaluate, "_run": whole.compiled(run, evaluate), **dict(bound_functions)}
    return jit.address_driver(solve, signature, *_SOURCES, **bound)


_AUTO, _TEXTBOOK = "auto", "textbook"
_run = _jac_of = _amsgrad = None


def _solve_auto(fun, jac, args, x, lower, upper, numbers, constants):
    """Minimise by the policy of "auto"; `numbers` are the options, `constants` what follows from types."""
    factor, values_per_variable = constants
    row_jac = _jac_of(jac, x, lower, upper, numbers[-2])
    free = count_free(lower, upper, x.size)
    state = _auto_state(x, x, min(int(numbers[-1]), x.size + _SPARE_PAIRS))
    plan = whole.AutoPlan(_AUTO_BLANK, np.zeros(1))
    limits = _limits(numbers, factor, np.nan, values_per_variable)
    stop = _run(fun, row_jac, args, state, plan, lower, upper, free, limits, np.zeros(1, np.int64))
    return _result(state.best_x, state.best_gradient, state.numbers[0], values_per_variable * free, stop)


def _solve_textbook(fun, jac, args, x, lower, upper, numbers, constants):
    """Minimise at a given learning rate."""
    gtol, values_per_variable, nesterov, is_decoupled = constants
    row_jac = _jac_of(jac, x, lower, upper, numbers[-2])
    free = count_free(lower, upper, x.size)
    state = _textbook_state(x)
    plan = whole.TextbookPlan(
        _TEXTBOOK_BLANK,
        np.full(whole.CHUNK, numbers[0]),
        np.empty((0, 4)),
        np.empty((whole.CHUNK, 4)),
        (numbers[1], numbers[2], numbers[4], nesterov),
        True,
        _amsgrad(),
        _rule(numbers, is_decoupled),
        None,
    )
    limits = _limits(numbers, 1.0, gtol, values_per_variable)
    stop = _run(fun, row_jac, args, state, plan, lower, upper, free, limits, np.zeros(1, np.int64))
    return _result(state.best_x, state.best_gradient, state.numbers[0], values_per_variable * free, stop)


# What is known when the user's code is compiled.


def _types_of(args):
    """The types of args, a tuple or a single one, as they are at run time."""
    kinds = args.types if isinstance(args, types.BaseTuple) else () if _is_none(args) else (args,)
    return tuple(map(types.unliteral, kinds))


def _is_none(given):
    if isinstance(given, tuple):
        return given == ()
    return given is None or isinstance(given, types.NoneType) or (isinstance(given, types.Omitted) and not given.value)


def _is_string(given):
    return isinstance(given, (types.UnicodeType, types.StringLiteral))


def _literal(name, given):
    """The value of an argument that must be known at compile time."""
    if isinstance(given, types.Omitted):
        return given.value
    if isinstance(given, types.Literal):
        return given.literal_value
    if given is None or isinstance(given, (str, bool)):
        return given
    raise TypingError(f"{name} is of type {given}: it must be written out in nopython code")


def _option_names(options):
    """The names of the options; None if they are known at run time alone."""
    if _is_none(options):
        return ()
    if isinstance(options, types.LiteralStrKeyDict):
        names = tuple(key.literal_value for key in options.literal_value)
    elif isinstance(options, types.BaseNamedTuple):
        names = options.fields
    elif isinstance(options, types.DictType) and isinstance(options.value_type, types.Number):
        return None
    else:
        raise TypingError(f"options is of type {options}: it must be a dict, a named tuple or None")
    for name in names:
        if name not in _ALLOWED:
            raise TypingError(f"options: {name!r} is none of those of nopython code, {', '.join(_ALLOWED)}")
    return names


def _type_of_option(options, name):
    if isinstance(options, types.BaseNamedTuple):
        return options.types[options.fields.index(name)]
    return next(kind for key, kind in options.literal_value.items() if key.literal_value == name)


def _way(fun, args, jac, options, names):
    """How the objective is evaluated, and the values that differences take for each variable."""
    if not isinstance(fun, (types.Dispatcher, types.FunctionType)):
        raise TypingError(f"fun is of type {fun}: it must be a compiled function")
    if isinstance(jac, (types.Dispatcher, types.FunctionType)):
        return evaluate_separately, 0
    kind = None if _is_none(jac) else _literal("jac", jac)
    if kind is True:
        count = len(args) if isinstance(args, types.BaseTuple) else 0 if args == () else 1
        if isinstance(fun, types.FunctionType):
            writes = len(fun.signature.args) == 2 + count
        else:
            writes = takes_gradient(fun.dispatcher, (None,) * count)
        return evaluate_in_place if writes else evaluate_pair, 0
    if not kind:
        kind = (
            _literal("finite_diff", _type_of_option(options, "finite_diff"))
            if names and "finite_diff" in names
            else "2-point"
        )
    if kind not in DIFFERENCES:
        raise TypingError(f"jac={kind!r}: it must be a compiled function, True, None, '2-point', '3-point' or 'cs'")
    return DIFFERENCES[kind]


# What is done at run time.


def _reader(options, tol):
    """A compiled function of `options` and `tol` that returns the values of `_NUMERIC` as floats."""
    names = _option_names(options)
    given = Options(learning_rate=0.0)._asdict()
    defaults = {name: repr(np.nan if given[name] is None else float(given[name])) for name in _NUMERIC}
    if not _is_none(tol):
        defaults["gtol"] = "tol"
    values = []
    for name in _NUMERIC:
        is_text = name == "learning_rate" and names and name in names and _is_string(_type_of_option(options, name))
        value = f"options.{name}" if isinstance(options, types.BaseNamedTuple) else f"options[{name!r}]"
        if names is None:
            value = f"({value} if {name!r} in options else {defaults[name]})"
        elif name not in names or is_text:
            value = defaults[name]
        values.append(f"float({value})")
    return _compiled_reader(f"lambda options, tol: ({', '.join(values)})")


@functools.cache
def _compiled_reader(source):
    return numba.njit(eval(source, {"nan": np.nan, "inf": np.inf}))


def _check_names(options):
    """Refuse unknown names in a dict whose names are known at run time alone."""
    for name in options:
        if name not in _NUMERIC:
            raise ValueError("options: a name is none of those of nopython code")


def _limits(numbers, factor, default_gtol, values_per_variable):
    """The limits that the options tell, checked."""
    _, _, _, _, _, _, maxiter, maxfev, gtol, ftol, f_target, patience, _, _ = numbers
    gtol = gtol if gtol == gtol else default_gtol
    if gtol < 0.0 or gtol == np.inf:
        raise ValueError("gtol must be a finite number >= 0", gtol)
    if f_target != f_target:
        raise ValueError("f_target must be a number", f_target)
    if not patience >= 1.0:
        raise ValueError("patience must be a number >= 1", patience)
    if not maxiter == maxiter:
        raise ValueError("maxiter must be a number", maxiter)
    if not maxfev >= 1.0:
        raise ValueError("maxfev must be a number >= 1", maxfev)
    return whole.Limits(
        gtol,
        factor,
        ftol,
        f_target,
        int(min(patience, _LARGEST_COUNT)),
        int(min(max(maxiter, 0.0), _LARGEST_COUNT)),
        int(min(maxfev, _LARGEST_COUNT)),
        values_per_variable,
    )


def _rule(numbers, is_decoupled):
    """The rule of the steps that the options tell, checked."""
    learning_rate, beta_1, beta_2, epsilon, momentum_decay, weight_decay, _, _, _, _, _, _, _, _ = numbers
    _check_hyperparameters(learning_rate, beta_1, beta_2, epsilon, momentum_decay, weight_decay)
    coupled, decoupled = (0.0, weight_decay) if is_decoupled else (weight_decay, 0.0)
    return textbook.Rule(beta_1, beta_2, epsilon, coupled, decoupled)


def _textbook_state(x):
    """The state of a run at a given rate, at the point `x`."""
    vectors = np.zeros((textbook.ROWS, x.size), x.dtype)
    vectors[auto_state.X] = x
    return _textbook_state_in(vectors, np.zeros(textbook.RECENT_VALUES), _TEXTBOOK_BLANK.copy())


def _copied(x0, dtype):
    """A contiguous copy of the start, of float32 or float64."""
    x = np.empty(x0.size, dtype)
    for i in range(x.size):
        x[i] = x0[i]
    return x


def _no_bound(bounds, side, x):
    return None


def _bound(bounds, side, x):
    """The lower bounds (side 0) or the upper ones (1), checked."""
    if len(bounds) != x.size:
        raise ValueError("The number of bounds is not compatible with the length of `x0`.")
    ends = np.empty_like(x)
    for i in range(x.size):
        lower, upper = bounds[i]
        if not (lower <= upper and lower < np.inf and upper > -np.inf):
            raise ValueError("An upper bound is less than the corresponding lower bound, or none is a number.")
        ends[i] = upper if side else lower
    return ends


def _given_jac(jac, x, lower, upper, relative_step):
    """The gradient's function as it is."""
    return jac


def _differences(jac, x, lower, upper, relative_step):
    """The data of differences."""
    data_lower, data_upper, free = np.full(x.size, -np.inf), np.full(x.size, np.inf), np.empty(x.size, np.int64)
    count = 0
    for i in range(x.size):
        if lower is not None:
            data_lower[i], data_upper[i] = lower[i], upper[i]
        if data_lower[i] != data_upper[i]:
            free[count] = i
            count += 1
    return Differences(data_lower, data_upper, np.full(x.size, relative_step), free[:count])


def _yes():
    return True


def _no_address():
    return None


def _itself(args):
    return args


def _alone(args):
    return (args,)


def _none(args):
    return ()


def _result(best_x, best_gradient, record, values_per_gradient, stop):
    status = _STATUS[stop]
    return Result(
        best_x.copy(),
        record["best_value"],
        best_gradient.copy(),
        record["iterations"],
        record["values"] + values_per_gradient * record["gradients"],
        status,
        status == 0,
    )


_SOURCES = *whole.SOURCES, whole, hyperparameters
_auto_state_in = jit.scalar(auto_state.state_in, makes_arrays=True)
_auto_state = jit.kernel(make_state, auto_state, makes_arrays=True, state_in=_auto_state_in)
_textbook_state_in = jit.scalar(textbook.state_in, makes_arrays=True)
_textbook_state = jit.kernel(_textbook_state, textbook, makes_arrays=True)
_limits = jit.kernel(_limits, *_SOURCES, makes_arrays=True)
_check_hyperparameters = jit.scalar(hyperparameters.check_in_compiled_code, makes_arrays=True)
_rule = jit.kernel(_rule, *_SOURCES, makes_arrays=True)
_copied = jit.kernel(_copied, makes_arrays=True)
_bound, _differences = numba.njit(_bound), numba.njit(_differences)
_no_bound, _yes, _no_address, _given_jac, _itself, _alone, _none, _check_names = map(
    numba.njit, (_no_bound, _yes, _no_address, _given_jac, _itself, _alone, _none, _check_names)
)
_result = jit.kernel(_result, *_SOURCES, makes_arrays=True)
