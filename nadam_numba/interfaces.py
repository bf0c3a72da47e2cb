"""How libraries tell where their arrays on GPUs are: the CUDA array interface, or DLPack; nothing here loads CUDA."""

import ctypes

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


def is_exported(array) -> bool:
    """Whether DLPack says that an array is on a GPU."""
    return hasattr(type(array), "__dlpack_device__") and int(array.__dlpack_device__()[0]) == _CUDA


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
