"""Memory lent to the user's compiled functions for their arrays: the same at every call, unless somebody keeps it.

Each call of the user's functions gets arrays that are its own: they may be written to and kept. To allocate and free an
array takes as long as half a step of two variables, and few functions keep one; how many references there are to an
array tells whether somebody does. Python keeps count in other ways, so that its functions get new arrays.
"""

import numpy as np
from numba.core.unsafe.refcount import get_refcount
from numba.extending import overload

from nadam_numba import jit
from nadam_numba.cpu import copy_into


def make_room(x):
    """Memory for two arrays like `x`.

    It belongs in a variable that is set outside of the loop that calls the user's functions: Numba counts references
    anew wherever the memory may be one or the other.
    """
    return None, None


@overload(make_room, inline="always")
def _compiled_make_room(x):
    return lambda x: (np.empty_like(x), np.empty_like(x))


def is_kept(room):
    """Whether somebody else has a reference to memory from `make_room`, which is then to be made anew.

    To be asked after a call, not before: where Numba does not optimise, it may always be so.
    """
    return False


@overload(is_kept, inline="always")
def _compiled_is_kept(room):
    # Without a branch: Numba warns of those that a function brings along into the loop that it becomes a part of.
    return lambda room: get_refcount(room[0]) + get_refcount(room[1]) != 2


def copy_in(memory, x):
    """A copy of `x`, made in one of the two arrays of a room."""
    return x.copy()


@overload(copy_in, inline="always")
def _compiled_copy_in(memory, x):
    def copied(memory, x):
        copy_into(memory, x)
        return memory

    return copied


def _clear(memory):
    for i in range(memory.size):
        memory[i] = 0.0


_clear = jit.scalar(_clear)


def zeros_in(memory, x):
    """Zeros in the shape of `x`, made in one of the two arrays of a room."""
    return np.zeros_like(x)


@overload(zeros_in, inline="always")
def _compiled_zeros_in(memory, x):
    def zeros(memory, x):
        _clear(memory)
        return memory

    return zeros
