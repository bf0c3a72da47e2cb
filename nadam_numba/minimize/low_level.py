"""`scipy.LowLevelCallable` objectives: C functions given by their addresses.

The addresses are run-time values of the compiled functions below, so that a new C function compiles nothing.
"""

import ctypes
import re
from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from nadam_numba import jit

# What the C function computes -> its C types after `double *x`, without and with `void *user_data`.
VALUE, PAIR, GRADIENT = "a value", "a value and writes the gradient", "nothing and writes the gradient"
_SIGNATURES = {
    VALUE: ("double (int n, double *x)", "double (int n, double *x, void *user_data)"),
    PAIR: (
        "double (int n, double *x, double *gradient)",
        "double (int n, double *x, double *gradient, void *user_data)",
    ),
    GRADIENT: (
        "void (int n, double *x, double *gradient)",
        "void (int n, double *x, double *gradient, void *user_data)",
    ),
}


class CFunction(NamedTuple):
    """A C function: where it lies, its data (an address, 0 for none), and the object that keeps both alive."""

    address: int
    user_data: int
    takes_user_data: bool
    kind: str
    owner: Any


def is_low_level(function):
    """Whether `function` is a `scipy.LowLevelCallable`."""
    if not isinstance(function, tuple):  # which it is
        return False
    from scipy import LowLevelCallable

    return isinstance(function, LowLevelCallable)


def c_function(name, function, kind):
    """The C function in a LowLevelCallable; `name` is that of the argument.

    Raises
    ------
    ValueError
        If its signature is not one of those of `kind`.
    """
    signatures = [_normal(signature) for signature in _SIGNATURES[kind]]
    signature = _normal(function.signature)
    if signature not in signatures:
        allowed = " or ".join(repr(signature) for signature in _SIGNATURES[kind])
        raise ValueError(f"{name} is a LowLevelCallable of signature {function.signature!r}: it must be {allowed}")
    capsule = tuple.__getitem__(function, 0)
    api = ctypes.pythonapi
    get_name = ctypes.PYFUNCTYPE(ctypes.c_char_p, ctypes.py_object)(("PyCapsule_GetName", api))
    get_pointer = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object, ctypes.c_char_p)(("PyCapsule_GetPointer", api))
    get_context = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object)(("PyCapsule_GetContext", api))
    address = get_pointer(capsule, get_name(capsule))
    return CFunction(address, get_context(capsule) or 0, signature == signatures[1], kind, function)


def _normal(signature):
    """A signature without spaces, names of arguments, and words that do not change the call."""
    words = re.sub(r"\b(const|noexcept|nogil)\b", "", signature)
    words = re.sub(r"\*\s*\w+", "*", words)
    words = re.sub(r"\bint\s+\w+", "int", words)
    return re.sub(r"\s", "", words)


def from_python(function):
    """A Python function that calls the C function: ``fun(x)``, or ``fun(x, gradient)``."""
    pointers = [ctypes.c_void_p] * (1 + (function.kind != VALUE) + function.takes_user_data)
    result = None if function.kind == GRADIENT else ctypes.c_double
    call = ctypes.CFUNCTYPE(result, ctypes.c_int, *pointers)(function.address)
    data = (function.user_data,) if function.takes_user_data else ()

    def value(x, owner=function.owner):
        point = np.array(x, np.float64)
        return call(point.size, point.ctypes.data, *data)

    def value_and_gradient(x, gradient, owner=function.owner):
        point, derivative = np.array(x, np.float64), np.zeros(x.size)
        returned = call(point.size, point.ctypes.data, derivative.ctypes.data, *data)
        gradient[:] = derivative
        return returned

    def gradient(x, owner=function.owner):
        point, derivative = np.array(x, np.float64), np.zeros(x.size)
        call(point.size, point.ctypes.data, derivative.ctypes.data, *data)
        return derivative

    return {VALUE: value, PAIR: value_and_gradient, GRADIENT: gradient}[function.kind]


def compiled_arguments(fun, jac):
    """What stands for `args` beside `compiled` functions: the addresses of `fun` and of `jac`, which may be None."""
    jac_addresses = (0, 0) if jac is None else (jac.address, jac.user_data)
    return tuple(map(np.uintp, (fun.address, fun.user_data, *jac_addresses)))


def compiled(function):
    """The compiled function that calls a C function of this kind and signature, with `compiled_arguments` as args."""
    return _COMPILED[function.kind, function.takes_user_data]


def _make_call(result):
    """Make the function that calls the C function at an address; `result` is what it returns."""

    @intrinsic
    def call(typing_context, address, size, pointers):
        def codegen(context, builder, signature, arguments):
            address, size, pointers = arguments
            integer, pointer = ir.IntType(32), ir.IntType(8).as_pointer()
            count = signature.args[2].count
            c_result = ir.VoidType() if result == types.void else ir.DoubleType()
            c_type = ir.FunctionType(c_result, [integer, *[pointer] * count])
            c_arguments = [builder.trunc(size, integer)]
            c_arguments += [builder.inttoptr(builder.extract_value(pointers, i), pointer) for i in range(count)]
            returned = builder.call(builder.inttoptr(address, c_type.as_pointer()), c_arguments)
            return context.get_dummy_value() if result == types.void else returned

        return result(types.uintp, types.intp, types.UniTuple(types.uintp, pointers.count)), codegen

    return call


_call_for_value, _call_for_nothing = _make_call(types.float64), _make_call(types.void)


def _value(x, fun, fun_data, jac, jac_data):
    point = x.astype(np.float64)
    return _call_for_value(fun, point.size, (np.uintp(point.ctypes.data),))


def _value_with_data(x, fun, fun_data, jac, jac_data):
    point = x.astype(np.float64)
    return _call_for_value(fun, point.size, (np.uintp(point.ctypes.data), fun_data))


def _pair(x, gradient, fun, fun_data, jac, jac_data):
    point, derivative = x.astype(np.float64), np.zeros(x.size)
    value = _call_for_value(fun, point.size, (np.uintp(point.ctypes.data), np.uintp(derivative.ctypes.data)))
    for i in range(x.size):
        gradient[i] = derivative[i]
    return value


def _pair_with_data(x, gradient, fun, fun_data, jac, jac_data):
    point, derivative = x.astype(np.float64), np.zeros(x.size)
    pointers = (np.uintp(point.ctypes.data), np.uintp(derivative.ctypes.data), fun_data)
    value = _call_for_value(fun, point.size, pointers)
    for i in range(x.size):
        gradient[i] = derivative[i]
    return value


def _gradient(x, fun, fun_data, jac, jac_data):
    point, derivative = x.astype(np.float64), np.zeros(x.size)
    _call_for_nothing(jac, point.size, (np.uintp(point.ctypes.data), np.uintp(derivative.ctypes.data)))
    return derivative


def _gradient_with_data(x, fun, fun_data, jac, jac_data):
    point, derivative = x.astype(np.float64), np.zeros(x.size)
    _call_for_nothing(jac, point.size, (np.uintp(point.ctypes.data), np.uintp(derivative.ctypes.data), jac_data))
    return derivative


_COMPILED = {
    (VALUE, False): jit.driver(_value),
    (VALUE, True): jit.driver(_value_with_data),
    (PAIR, False): jit.driver(_pair),
    (PAIR, True): jit.driver(_pair_with_data),
    (GRADIENT, False): jit.driver(_gradient),
    (GRADIENT, True): jit.driver(_gradient_with_data),
}
