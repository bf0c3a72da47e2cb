"""Numbers in two bytes: bfloat16, the upper half of a float32, rounded at random so that nothing is lost on average.

NumPy has no bfloat16, so that its bits are kept in uint16. It has 8 significant bits: a second moment changes by a
thousandth of itself in a step, and would never leave its place if it were rounded to the nearest number, 1/256 or more
away. Rounded up with the probability that it has come closer to the upper one, it moves on average as it should.

The random bits are a function of where they are used, not of what was drawn before::

    key = mix(mix(step) ^ seed)        per array and step; the seed is one of the array, the step its count of updates
    noise = mix(position ^ key)        per element; all are taken modulo 2**32

``mix`` is lowbias32 of C. Wellons: a permutation of the 32-bit numbers, in which each bit of the result depends on each
bit of the argument. To the lower half of a float32 are added 16 bits of noise before it is cut off, the lower ones for
the first moment and the upper ones for the second.

References
----------
C. Wellons, "Prospecting for Hash Functions", 2018, https://github.com/skeeto/hash-prospector (public domain).
P. Zamirai et al., "Revisiting BFloat16 Training", arXiv:2010.06192 (stochastic rounding of what is updated).
"""

import numpy as np

BITS = np.dtype(np.uint16)

# All constants are NumPy's, for Python's integers would make compiled code count in 64 bits.
_FIRST_FACTOR, _SECOND_FACTOR = np.uint64(0x7FEB352D), np.uint64(0x846CA68B)
_FIFTEEN, _SIXTEEN, _ONE = np.uint32(15), np.uint32(16), np.uint32(1)
_LOWER_HALF, _JUST_BELOW_HALF, _WITHOUT_SIGN = np.uint32(0xFFFF), np.uint32(0x7FFF), np.uint32(0x7FFFFFFF)
# The largest finite number; what lies above it, if finite, must not be rounded to infinity.
_LARGEST = np.uint32(0x7F7F0000)


def mix(number):
    """A permutation of the numbers of type uint32."""
    number = np.uint32(number ^ (number >> _SIXTEEN))
    number = np.uint32(np.uint64(number) * _FIRST_FACTOR)
    number = np.uint32(number ^ (number >> _FIFTEEN))
    number = np.uint32(np.uint64(number) * _SECOND_FACTOR)
    return np.uint32(number ^ (number >> _SIXTEEN))


def modulo(number):
    """An integer >= 0 modulo 2**32, as uint32."""
    return np.uint32(np.uint64(number))


def noise_key(seed, step):
    """What makes the noise of one array in one step.

    Parameters
    ----------
    seed, step : int
        >= 0; that of the array, and its number of updates so far.
    """
    return mix(np.uint32(mix(modulo(step)) ^ modulo(seed)))


def noise_at(start, i, key):
    """32 random bits for the element at position `start` + `i` of an array, the first of type uint32."""
    # Widened and cut off again, a sum is one of 32 bits to compiled code, and nothing that Python would warn of.
    position = np.uint32(np.uint64(start) + np.uint64(modulo(i)))
    return mix(np.uint32(position ^ key))


def noise_of_first(noise):
    """The 16 bits that round a first moment."""
    return np.uint32(noise & _LOWER_HALF)


def noise_of_second(noise):
    """The 16 bits that round a second moment."""
    return np.uint32(noise >> _SIXTEEN)


def noise_to_nearest(number):
    """What rounds a float32 to the nearest number, and to an even one from halfway, in place of noise."""
    bits = np.float32(number).view(np.uint32)
    return np.uint32(_JUST_BELOW_HALF + np.uint32((bits >> _SIXTEEN) & _ONE))


def rounded(number, noise):
    """The bits of a float32 rounded to bfloat16, which is finite if the float32 is; exact ones stay what they are.

    Infinities and NaNs are cut off: all NaNs that arithmetic makes have their mark in the upper half.
    """
    bits = np.float32(number).view(np.uint32)
    if np.uint32(bits & _WITHOUT_SIGN) < _LARGEST:
        bits = np.uint32(bits + noise)
    return np.uint16(bits >> _SIXTEEN)


def widened(bits):
    """The float32 whose upper half has these bits."""
    return np.uint32(np.uint32(bits) << _SIXTEEN).view(np.float32)
