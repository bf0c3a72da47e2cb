"""Marks that tests of several files carry."""

import functools
import platform

import pytest
from numba import njit
from numba.extending import is_jitted

COMPILES = is_jitted(njit(lambda: 0))
needs_compiler = pytest.mark.skipif(not COMPILES, reason="nothing is compiled with NUMBA_DISABLE_JIT")
needs_x86 = pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="reads x86-64 assembly")
# One compiled function for each plain one: that of a module is compiled once, however many tests take it.
compiled = functools.cache(njit)
WRAPS = pytest.mark.parametrize("wrap", [lambda f: f, compiled], ids=["Python", "njit"])
MEMORIES = pytest.mark.parametrize("memory", [10, 0])
