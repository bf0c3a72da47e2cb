"""Memory by its address, for compiled code: numbers in it, and what NumPy keeps of its arrays.

To hand compiled code an array takes Python a tenth of a microsecond, and to ask it for its address a whole one. Where
compiled code knows the place of an array's object, it reads there in nanoseconds what NumPy's headers promise to C.
"""

import ctypes

import numpy as np
from llvmlite import ir
from numba import carray, types
from numba.core import cgutils
from numba.extending import intrinsic, overload

from nadam_numba import jit

# Flags of an array, as in NumPy's header ndarraytypes.h.
C_CONTIGUOUS, F_CONTIGUOUS, ALIGNED, WRITEABLE = 0x1, 0x2, 0x100, 0x400

# What every object begins with ends with the address of its type. Then come, each 8 bytes after the one before: the
# address of the elements, the number of dimensions, the addresses of shape, strides, base and dtype, and the flags.
_HEAD = object.__basicsize__
_TYPE, _ELEMENTS, _DIMENSIONS, _SHAPE, _DTYPE, _FLAGS = (_HEAD + 8 * k for k in (-1, 0, 1, 2, 5, 6))
# The object of a dtype has, after the class of its numbers, their kind, byte order and type number in 8 bytes.
_KIND = _HEAD + 8


@intrinsic
def _as_pointer(typing_context, address):
    def generate(context, builder, signature, arguments):
        return builder.inttoptr(arguments[0], context.get_value_type(types.voidptr))

    return types.voidptr(types.int64), generate


def _reader(bits, numba_type):
    @intrinsic
    def read(typing_context, address):
        def generate(context, builder, signature, arguments):
            return builder.load(builder.inttoptr(arguments[0], ir.IntType(bits).as_pointer()))

        return numba_type(types.int64), generate

    return read


_read_int64, _read_int32 = _reader(64, types.int64), _reader(32, types.int32)


# Each once for uncompiled code, by ctypes, and once for compiled code.


def _pointer(address):
    return ctypes.c_void_p(int(address))


def _int64_at(address):
    return ctypes.c_int64.from_address(int(address)).value


def _int32_at(address):
    return ctypes.c_int32.from_address(int(address)).value


def borrowed(array):
    """The array for code that does not keep it: its references are not counted, each of which takes 5 ns."""
    return array


@intrinsic
def _without_owner(typing_context, array):
    def generate(context, builder, signature, arguments):
        view = context.make_array(array)(context, builder, arguments[0])
        view.meminfo = cgutils.get_null_value(view.meminfo.type)
        view.parent = cgutils.get_null_value(view.parent.type)
        return view._getvalue()

    return array(array), generate


@overload(borrowed)
def _compiled_borrowed(array):
    return lambda array: _without_owner(array)


@overload(_pointer)
def _compiled_pointer(address):
    return lambda address: _as_pointer(address)


@overload(_int64_at)
def _compiled_int64_at(address):
    return lambda address: _read_int64(address)


@overload(_int32_at)
def _compiled_int32_at(address):
    return lambda address: _read_int32(address)


def array_at(address, shape, like):
    """The numbers at an address as an array of the dtype of `like`; None if there is nothing like them."""
    return None if like is None else carray(_pointer(address), shape, like.dtype)


@overload(array_at)
def _compiled_array_at(address, shape, like):
    # A function that may return None returns an optional array, and loops over such are not vectorised.
    if isinstance(like, types.NoneType):
        return lambda address, shape, like: None
    return lambda address, shape, like: carray(_pointer(address), shape, like.dtype)


def _elements_of(array):
    """The address of the elements of the array whose object is at the address `array`."""
    return _int64_at(array + _ELEMENTS)


def _flags_of(array):
    return _int32_at(array + _FLAGS)


def _has_type(thing, kind):
    """Whether the object at one address is exactly of the type at another."""
    return _int64_at(thing + _TYPE) == kind


def _are_alike(array, other):
    """Whether two arrays have numbers of the same dtype, and the same shape."""
    dimensions = _int32_at(array + _DIMENSIONS)
    if _int32_at(other + _DIMENSIONS) != dimensions:
        return False
    if _int64_at(_int64_at(array + _DTYPE) + _KIND) != _int64_at(_int64_at(other + _DTYPE) + _KIND):
        return False
    shape, others = _int64_at(array + _SHAPE), _int64_at(other + _SHAPE)
    differing = 0
    for axis in range(dimensions):
        differing += _int64_at(shape + 8 * axis) != _int64_at(others + 8 * axis)
    return differing == 0


def layout_is_known():
    """Whether arrays of this NumPy, in this Python, are where compiled code looks for them."""
    array = np.zeros((3, 2))[:2]

    def number(offset, kind=ctypes.c_int64):
        return kind.from_address(id(array) + offset).value

    return (
        number(_TYPE) == id(np.ndarray)
        and number(_ELEMENTS) == array.__array_interface__["data"][0]
        and number(_DIMENSIONS, ctypes.c_int32) == 2
        and [ctypes.c_int64.from_address(number(_SHAPE) + 8 * axis).value for axis in range(2)] == [2, 2]
        and number(_DTYPE) == id(array.dtype)
        and ctypes.c_int32.from_address(id(array.dtype) + _KIND + 4).value == array.dtype.num
        and ctypes.c_char.from_address(id(array.dtype) + _KIND).value.decode() == array.dtype.kind
        and number(_FLAGS, ctypes.c_int32) == array.flags.num
    )


elements_of = jit.scalar(_elements_of)
flags_of = jit.scalar(_flags_of)
has_type = jit.scalar(_has_type)
are_alike = jit.scalar(_are_alike)
