"""How much memory a case takes, and where in memory its arrays lie."""

import os
import pathlib

import numpy as np

# Of the memory that is available; the rest is for what the machine does besides.
_SHARE = 0.8
_CACHE_LINE, _PAGE = 64, 4096


def memory_needed(case, contenders):
    """Bytes that a case takes with so many contenders.

    Each has three arrays of the size of the parameters, some a fourth; parameters and gradients are kept, one more of
    ours is there to compare with, and the peers' steps have arrays in between.
    """
    arrays = contenders * (4 if case.options else 3) + 12
    return arrays * case.elements * np.dtype(case.dtype).itemsize


def memory_available():
    """Bytes that may be taken, or None if the system does not tell."""
    try:
        lines = pathlib.Path("/proc/meminfo").read_text().splitlines()
        available = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration):
        try:
            available = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
        except (AttributeError, OSError, ValueError):
            return None
    return int(_SHARE * available)


def aligned_copy(array, place):
    """A copy that begins with a cache line, and in a quarter of a page of its own.

    A loop over four arrays takes from 88 to 219 us by where malloc has put them, if their vectors straddle cache lines
    or all four have the same place in their pages: that shall not decide who is fast.

    Parameters
    ----------
    array : ndarray, shape (n,)
    place : int
        Of the array among the four of a loop.
    """
    # Small arrays are many, and hardly overlap in their pages.
    is_long = array.nbytes >= 4 * _PAGE
    boundary, offset = (_PAGE, place * _PAGE // 4) if is_long else (_CACHE_LINE, 0)
    memory = np.empty(array.nbytes + 2 * boundary, np.uint8)
    start = -memory.ctypes.data % boundary + offset
    copy = memory[start : start + array.nbytes].view(array.dtype)
    copy[:] = array
    return copy
