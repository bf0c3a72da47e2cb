"""Numbers at addresses, for kernels: one at a time, or four at once, which the card moves as 128 bits.

A table of addresses is what lets one launch step many arrays. A kernel that takes arrays as arguments would have to be
compiled for each number of them, and takes Python some microseconds per array to launch.
"""

import ctypes
import functools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from llvmlite import ir
from numba import types

from nadam_numba import gpu

# Numbers that are moved at once, where addresses allow it.
WIDTH = 4
# What addresses must be multiples of for that.
ALIGNMENT = 16
_GLOBAL = 1  # the address space of the card's memory

_INT64 = np.dtype(np.int64)


class Access(NamedTuple):
    """Functions for kernels that read and write numbers of one dtype.

    Attributes
    ----------
    load : function
        ``load(address, i)``: the i-th number from the address on.
    load_constant : function
        The same for numbers that the kernel does not change, which stay in registers.
    store : function
        ``store(address, i, value)``.
    load_four, store_four : function
        The same for WIDTH numbers from the i-th on: a tuple, or so many arguments. The address is a multiple of
        ALIGNMENT, and i of WIDTH.
    """

    load: Callable
    load_constant: Callable
    store: Callable
    load_four: Callable
    store_four: Callable


@functools.cache
def access(dtype: np.dtype) -> Access:
    """The functions for float32, float64, int64 or uint16."""
    return _simulated(dtype) if gpu.SIMULATES else _compiled(dtype)


def _simulated(dtype):
    c_type, scalar, size = np.ctypeslib.as_ctypes_type(dtype), dtype.type, dtype.itemsize
    scalar = int if dtype == _INT64 else scalar

    def load(address, i):
        return scalar(c_type.from_address(address + i * size).value)

    def store(address, i, value):
        c_type.from_address(address + i * size).value = value

    def load_four(address, i):
        _check_alignment(address + i * size, WIDTH * size)
        return tuple(load(address, i + k) for k in range(WIDTH))

    def store_four(address, i, *values):
        _check_alignment(address + i * size, WIDTH * size)
        for k, value in enumerate(values):
            store(address, i + k, value)

    return Access(load, load, store, load_four, store_four)


def _check_alignment(address, size):
    if address % min(ALIGNMENT, size):
        raise ctypes.ArgumentError(f"misaligned address {address}")


def _compiled(dtype):
    intrinsic, from_dtype = gpu.extensions()
    number = from_dtype(dtype)
    integer = ir.IntType(8 * dtype.itemsize)
    llvm = {"float32": ir.FloatType(), "float64": ir.DoubleType()}.get(dtype.name, integer)
    # Four numbers of two bytes are not as long as what is moved at once.
    alignment = min(ALIGNMENT, WIDTH * dtype.itemsize)
    vector = ir.VectorType(llvm, WIDTH)

    def pointer(builder, address, i, to):
        offset = builder.mul(i, ir.Constant(ir.IntType(64), dtype.itemsize))
        return builder.inttoptr(builder.add(address, offset), to.as_pointer(_GLOBAL))

    def lane(k):
        return ir.Constant(ir.IntType(32), k)

    @intrinsic
    def load(typing_context, address, i):
        def generate(context, builder, signature, arguments):
            return builder.load(pointer(builder, *arguments, llvm))

        return number(types.int64, types.int64), generate

    @intrinsic
    def load_constant(typing_context, address, i):
        def generate(context, builder, signature, arguments):
            loaded = builder.load(pointer(builder, *arguments, llvm))
            loaded.set_metadata("invariant.load", builder.module.add_metadata([]))
            return loaded

        return number(types.int64, types.int64), generate

    @intrinsic
    def store(typing_context, address, i, value):
        def generate(context, builder, signature, arguments):
            *place, value = arguments
            builder.store(value, pointer(builder, *place, llvm))
            return context.get_dummy_value()

        return types.void(types.int64, types.int64, number), generate

    @intrinsic
    def load_four(typing_context, address, i):
        numbers = types.UniTuple(number, WIDTH)

        def generate(context, builder, signature, arguments):
            loaded = builder.load(pointer(builder, *arguments, vector), align=alignment)
            return context.make_tuple(
                builder, numbers, [builder.extract_element(loaded, lane(k)) for k in range(WIDTH)]
            )

        return numbers(types.int64, types.int64), generate

    @intrinsic
    def store_four(typing_context, address, i, first, second, third, fourth):
        def generate(context, builder, signature, arguments):
            address, i, *values = arguments
            stored = ir.Constant(vector, ir.Undefined)
            for k, value in enumerate(values):
                stored = builder.insert_element(stored, value, lane(k))
            builder.store(stored, pointer(builder, address, i, vector), align=alignment)
            return context.get_dummy_value()

        return types.void(types.int64, types.int64, *[number] * WIDTH), generate

    return Access(load, load_constant, store, load_four, store_four)
