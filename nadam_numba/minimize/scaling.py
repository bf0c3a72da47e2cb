"""Factors that keep squares within the range of the numbers."""

import math

from nadam_numba import jit

_LARGEST_EXPONENT = 1000


def _power_of_two_near_inverse(number):
    """A factor that brings a finite number to the order of 1; a power of two, for it leaves no rounding behind."""
    exponent = math.frexp(number)[1]
    return math.ldexp(1.0, -min(max(exponent, -_LARGEST_EXPONENT), _LARGEST_EXPONENT))


power_of_two_near_inverse = jit.scalar(_power_of_two_near_inverse)
