"""The user's compiled functions at their addresses: for code that is compiled once for all functions of their types."""

import contextlib
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import numba
from numba import types

from nadam_numba import jit
from nadam_numba.minimize.objective import (
    compiles_pair,
    evaluate_at_addresses,
    evaluate_in_place,
    evaluate_pair,
    evaluate_separately,
)
from nadam_numba.minimize.returned import compiles_gradient, compiles_value


class Functions(NamedTuple):
    """The way to evaluate an objective, and what stands there for `fun` and `jac`; `owners` keep the code alive."""

    evaluate: Callable
    fun: Any
    jac: Any
    owners: tuple


def functions_at(evaluate, fun, jac, number, arg_types):
    """Compile the user's functions for the types of their arguments, and find their addresses.

    Parameters
    ----------
    evaluate : function
        Of `objective`; not the one of complex steps, which calls `fun` with two types.
    fun, jac : dispatcher
        `jac` may be anything where it is no function.
    number : numba.types.Type
        Of the elements of x.
    arg_types : tuple of numba.types.Type
        Of the further arguments.

    Returns
    -------
    Functions or None
        None if the functions return what compiled code cannot read.

    Raises
    ------
    numba.NumbaError
        If they do not compile.
    """
    vector = types.Array(number, 1, "C")
    points = (vector, vector) if evaluate is evaluate_in_place else (vector,)
    readable = compiles_pair if evaluate is evaluate_pair else compiles_value
    fun = _for_types(fun, points + arg_types)
    fun_type, jac_type = _function_type(fun, points + arg_types), None
    if not readable(fun_type.signature.return_type):
        return None
    owners = (fun,)
    if evaluate is evaluate_separately:
        jac = _for_types(jac, (vector, *arg_types))
        jac_type = _function_type(jac, (vector, *arg_types))
        if not compiles_gradient(jac_type.signature.return_type):
            return None
        owners = fun, jac
        jac = jit.address_of(jac, jac_type)
    return Functions(evaluate_at_addresses(evaluate, fun_type, jac_type), jit.address_of(fun, fun_type), jac, owners)


def _for_types(function, argument_types):
    """The function, compiled for these types; or one that calls it, where it has other parameters or signatures."""
    if argument_types not in function.overloads:
        # Not where there are explicit signatures of which this is none, nor where parameters have defaults.
        with contextlib.suppress(RuntimeError, TypeError):
            function.compile(argument_types)
    if argument_types in function.overloads:
        return function
    caller = _caller(jit.present(function), len(argument_types))
    caller.compile(argument_types)
    return caller


@functools.lru_cache(maxsize=64)
def _caller(function, count):
    """A compiled function of so many parameters that calls `function`."""
    parameters = ", ".join(f"argument_{i}" for i in range(count))
    return numba.njit(eval(f"lambda {parameters}: function({parameters})", {"function": function}))


def _function_type(function, argument_types):
    return types.FunctionType(function.overloads[argument_types].signature.return_type(*argument_types))


def holds_a_function(kind):
    """Whether values of a type are functions: what takes such is never found again in the cache on disk."""
    return isinstance(kind, (types.Dispatcher, types.FunctionType)) or any(
        map(holds_a_function, getattr(kind, "types", ()))
    )
