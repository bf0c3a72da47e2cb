"""How libraries tell where their arrays on GPUs are: the CUDA array interface, or DLPack; nothing here loads CUDA."""

import ctypes
import operator
import sys
from typing import NamedTuple

import numpy as np
from numba import config

_SIMULATES = bool(config.ENABLE_CUDASIM)
# Of DLPack's header: the number of CUDA among devices, and the kinds of numbers as NumPy calls them.
_CUDA = 2
_KINDS = {0: "i", 1: "u", 2: "f", 5: "c"}


class _Tensor(ctypes.Structure):
    """DLTensor."""

    _fields_ = (
        ("data", ctypes.c_void_p),
        ("device", ctypes.c_int32 * 2),
        ("axes", ctypes.c_int32),
        ("kind", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("offset", ctypes.c_uint64),
    )


def is_on_gpu(array) -> bool:
    """Whether a library says that this is an array on a GPU."""
    return interface_of(array) is not None or is_exported(array)


def interface_of(array) -> dict | None:
    """The CUDA array interface of an array; None if it has none."""
    kind = type(array)
    if _SIMULATES and hasattr(kind, "__cuda_ndarray__"):
        return array._ary.__array_interface__  # the simulator's arrays are NumPy's, in a wrapper
    if not hasattr(kind, "__cuda_array_interface__"):
        return None
    # torch hides the memory of tensors that require gradients.
    array = array.detach() if hasattr(kind, "detach") else array
    # Tensors of torch and arrays of JAX on the host have none, although their classes do.
    return getattr(array, "__cuda_array_interface__", None)


def is_marked(array) -> bool:
    """Whether torch has but marked it as conjugate or negative: its memory holds other numbers than it stands for."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(array, torch.Tensor) and (array.is_conj() or array.is_neg())


class Described(NamedTuple):
    """Where arrays on GPUs are, and how: of two that are equal, each array is where and as it was.

    Attributes
    ----------
    addresses : list of int
    others : list
        All that may differ between arrays at an address.
    tells_streams : bool
        Whether that includes the streams on which they are written and read.
    """

    addresses: list[int]
    others: list
    tells_streams: bool


def described(arrays: list) -> Described | None:
    """The description of arrays; None if one is not on a GPU, or they are of torch and of others."""
    torch = sys.modules.get("torch")
    are_tensors = {torch is not None and issubclass(kind, torch.Tensor) for kind in set(map(type, arrays))}
    if are_tensors == {True}:
        return described_tensors(torch, arrays)
    if True in are_tensors:
        return None
    addresses, others = [], []
    for array in arrays:
        # Memory of the host may have an interface, too.
        interface = None if isinstance(array, np.ndarray) else interface_of(array)
        if interface is None:
            return None
        address, is_readonly = interface["data"]
        addresses.append(address)
        layout = interface["shape"], interface.get("strides"), interface["typestr"]
        others.append((*layout, is_readonly, interface.get("stream")))
    return Described(addresses, others, tells_streams=True)


def described_tensors(torch, tensors: list) -> Described | None:
    """The same of tensors of torch, wherever they are; to ask these for the interface takes twenty times as long."""
    kind = torch.Tensor
    dtypes = list(map(operator.attrgetter("dtype"), tensors))
    try:
        others = [dtypes, list(map(kind.shape.__get__, tensors)), list(map(kind.stride, tensors))]
        others += [list(map(kind.get_device, tensors)), list(map(kind.is_neg, tensors))]
        if any(dtype.is_complex for dtype in set(dtypes)):
            others.append(list(map(kind.is_conj, tensors)))
        return Described(list(map(kind.data_ptr, tensors)), others, tells_streams=False)
    except RuntimeError:  # sparse ones have no memory of their own
        return None


def is_exported(array) -> bool:
    """Whether DLPack says that an array is on a GPU."""
    if not hasattr(type(array), "__dlpack_device__"):
        return False
    try:
        return int(array.__dlpack_device__()[0]) == _CUDA
    except (BufferError, RuntimeError, TypeError, ValueError):  # on nothing that DLPack knows
        return False


def exported(array) -> tuple:
    """By DLPack: address, whether it is read-only, shape, strides in bytes, and dtype of an array on a GPU."""
    # What has been done to it is done before anything that the default stream gets from now on.
    capsule = array.__dlpack__(stream=1)
    pointer = ctypes.pythonapi.PyCapsule_GetPointer
    pointer.restype, pointer.argtypes = ctypes.c_void_p, (ctypes.py_object, ctypes.c_char_p)
    tensor = _Tensor.from_address(pointer(capsule, b"dltensor"))
    size = tensor.bits * tensor.lanes // 8
    shape = tuple(tensor.shape[: tensor.axes])
    strides = tuple(size * stride for stride in tensor.strides[: tensor.axes]) if tensor.strides else None
    # A kind that NumPy does not have, such as bfloat16, is one that no parameter may have.
    typestr = f"<{_KINDS.get(tensor.kind, 'V')}{size}"
    return (tensor.data or 0) + tensor.offset, False, shape, strides, typestr
