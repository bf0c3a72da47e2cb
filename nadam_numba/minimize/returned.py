"""What the user's functions return, checked and brought to one form.

`checked_...` are for Python, where anything may be returned. `real_number`, `store_gradient`, `imaginary_part` and
`resolution` are for the source that is also compiled: from compiled functions they get what has a type that is known
beforehand. `compiles_value` and `compiles_gradient` tell which types they can read there.
"""

from collections.abc import Mapping

import numpy as np
from numba import literal_unroll, types
from numba.extending import overload
from numba.np.numpy_support import as_dtype

from nadam_numba import jit
from nadam_numba.cpu import copy_into

# SciPy's sentence.
_NOT_A_SCALAR = "The user-provided objective function must return a scalar value."
_WRONG_SIZE = "fun or jac returned a gradient whose size is not that of x"
_NUMBERS = types.Integer, types.Float, types.Boolean


def real_number(returned):
    """The value of an objective as a float64."""
    return float(returned)


@overload(real_number)
def _compiled_real_number(returned):
    if isinstance(returned, types.Array) and not isinstance(returned.dtype, types.Complex):

        def only_element(returned):
            if returned.size != 1:
                raise ValueError(_NOT_A_SCALAR)
            return np.float64(returned.flat[0])

        return only_element
    if isinstance(returned, _NUMBERS):
        return lambda returned: np.float64(returned)
    return None


def imaginary_part(returned):
    """The imaginary part of the value of an objective at a complex point."""
    return returned.imag


@overload(imaginary_part)
def _compiled_imaginary_part(returned):
    if isinstance(returned, types.Array) and isinstance(returned.dtype, types.Complex):

        def of_only_element(returned):
            if returned.size != 1:
                raise ValueError(_NOT_A_SCALAR)
            return np.float64(returned.flat[0].imag)

        return of_only_element
    if isinstance(returned, types.Complex):
        return lambda returned: np.float64(returned.imag)
    return None


def resolution(returned, x):
    """The larger spacing of floating-point numbers at 1, of those of the value and those of the point."""
    eps = float(np.finfo(x.dtype).eps)
    return max(eps, float(np.finfo(returned.dtype).eps)) if isinstance(returned, np.floating) else eps


@overload(resolution)
def _compiled_resolution(returned, x):
    value_type = returned.dtype if isinstance(returned, types.Array) else returned
    eps = max(float(np.finfo(as_dtype(t)).eps) for t in (value_type, x.dtype) if isinstance(t, types.Float))
    return lambda returned, x: eps


def store_gradient(gradient, returned):
    """Copy what a gradient function returned into `gradient`; a row or a column is a vector."""
    if returned.size != gradient.size:
        raise ValueError(_WRONG_SIZE)
    if returned.ndim == 1:
        copy_into(gradient, returned)
    else:
        copy_into(gradient, returned.ravel())


def _store_vector(gradient, returned):
    if returned.size != gradient.size:
        raise ValueError(_WRONG_SIZE)
    for i in range(gradient.size):
        gradient[i] = returned[i]


_store_vector = jit.kernel(_store_vector)


def _store_number(gradient, returned):
    if gradient.size != 1:
        raise ValueError(_WRONG_SIZE)
    gradient[0] = returned


def _store_sequence(gradient, returned):
    if len(returned) != gradient.size:
        raise ValueError(_WRONG_SIZE)
    for i in range(gradient.size):
        gradient[i] = returned[i]


def _store_tuple_of_many_types(gradient, returned):
    if len(returned) != gradient.size:
        raise ValueError(_WRONG_SIZE)
    i = 0
    for number in literal_unroll(returned):
        gradient[i] = number
        i += 1  # noqa: SIM113 - Numba does not enumerate such a tuple


@overload(store_gradient)
def _compiled_store_gradient(gradient, returned):
    if isinstance(returned, _NUMBERS):
        return _store_number
    if isinstance(returned, types.Array) and isinstance(returned.dtype, _NUMBERS):
        if returned.ndim == 1:
            return lambda gradient, returned: _store_vector(gradient, returned)
        return store_gradient
    if isinstance(returned, (types.List, types.ListType, types.UniTuple, types.NamedUniTuple)):
        return _store_sequence if isinstance(returned.dtype, _NUMBERS) else None
    if isinstance(returned, types.BaseTuple) and len(returned) and all(isinstance(t, _NUMBERS) for t in returned):
        return _store_tuple_of_many_types
    return None


def compiles_value(returned):
    """Whether `real_number` can be compiled for a type of Numba."""
    return _compiled_real_number(_present(returned)) is not None


def compiles_gradient(returned):
    """Whether `store_gradient` can be compiled for a type of Numba."""
    return _compiled_store_gradient(None, _present(returned)) is not None


def _present(returned):
    """The type without the possibility of None, which Numba takes away by itself."""
    return returned.type if isinstance(returned, types.Optional) else returned


def checked_value(returned, name="fun"):
    """The one real number that `returned` is, as a float, or as np.float32 or np.float16 if it is known so coarsely.

    Raises
    ------
    TypeError
        If it is no real number.
    ValueError
        If it is several numbers, or too large.
    """
    if isinstance(returned, float):  # the common case, on the hot path of Python objectives
        return float(returned)
    if isinstance(returned, tuple) and len(returned) == 2:
        raise ValueError(f"{_NOT_A_SCALAR} {name} returned {returned!r}: if that is value and gradient, give jac=True")
    array = _real_array(name, returned)
    if array.size != 1:
        raise ValueError(f"{_NOT_A_SCALAR} {name} returned {returned!r}")
    number = array.reshape(())[()]
    return number if number.dtype in (np.float32, np.float16) else float(number)


def checked_complex_value(returned):
    """The one complex number that an objective made of a complex point.

    Raises
    ------
    TypeError
        If it is not complex.
    ValueError
        If it is several numbers.
    """
    array = np.asarray(_detached(returned))
    if array.dtype.kind != "c":
        raise TypeError(
            f"fun returned {returned!r} for a complex x: finite_diff='cs' (jac='cs') needs a fun that maps complex x "
            "to complex values by analytic functions alone; '2-point' and '3-point' take any fun"
        )
    if array.size != 1:
        raise ValueError(f"{_NOT_A_SCALAR} fun returned {returned!r}")
    return complex(array.item())


def checked_gradient(returned, x, name):
    """What a gradient function returned, as an array of the shape and dtype of `x`.

    It is contiguous and writeable, for other arrays are of other types to Numba.

    Raises
    ------
    TypeError
        If it is not made of real numbers.
    ValueError
        If its shape is not that of `x`, nor that of `x` as a row or a column.
    """
    if type(returned) is np.ndarray and returned.dtype == x.dtype and returned.shape == x.shape:
        return np.require(returned, requirements=("C", "W"))  # the common case, on the hot path of Python objectives
    array = np.atleast_1d(_real_array(name, returned))
    is_vector = array.size == x.size and sum(length != 1 for length in array.shape) <= 1
    if not is_vector:
        raise ValueError(f"{name} returned a gradient of shape {array.shape}: it must have the shape of x, {x.shape}")
    return np.require(array.reshape(x.shape), dtype=x.dtype, requirements=("C", "W"))


def _real_array(name, returned):
    """What the user's function returned, as an array: real numbers of any of Python's or NumPy's kinds."""
    if isinstance(returned, Mapping):  # of those of Numba, NumPy would take the keys
        raise TypeError(f"{name} returned {returned!r}: it must return real numbers")
    try:
        array = np.asarray(_detached(returned))
        if array.dtype.kind == "O" and not any(number is None for number in array.flat):
            array = array.astype(np.float64)  # fractions, decimals, large integers
    except TypeError as error:
        raise TypeError(f"{name} returned {returned!r}: it must return real numbers") from error
    except (ValueError, OverflowError) as error:
        raise ValueError(f"{name} returned {returned!r}: it must return real numbers") from error
    if array.dtype.kind not in "biuf":
        raise TypeError(f"{name} returned {returned!r}: it must return real numbers")
    return array


def _detached(returned):
    """A tensor of torch without its history and in main memory, where NumPy can read it; anything else as it is."""
    return returned.detach().cpu() if hasattr(returned, "detach") and hasattr(returned, "cpu") else returned
