"""GPUs as the host sees them: their memory, their streams, launches of kernels."""

import contextlib
import functools
import sys
import types
from typing import NamedTuple

import numpy as np

from nadam_numba.gpu import SIMULATES, cuda
from nadam_numba.gpu_arrays import kernels
from nadam_numba.interfaces import exported, interface_of, is_exported

# Numba warns of launches with fewer blocks; those that have nothing to do end at once.
_LEAST_BLOCKS = 1 if SIMULATES else 128
# Of CUDA's errors.
_OUT_OF_MEMORY = 2
_NOTHING = contextlib.nullcontext()


class Place(NamedTuple):
    """Where an array on a GPU lies, and how.

    Attributes
    ----------
    memory : ndarray
        An array of NumPy's with the same address, shape, strides and dtype. Its elements are not to be touched.
    stream : int
        The handle of the stream on which it is written and read; 0 for the default one.
    """

    memory: np.ndarray
    stream: int


def place_of(array) -> Place | None:
    """The place of an array on a GPU; None of anything else."""
    described = interface_of(array)
    if described is not None:
        strides = described.get("strides")
        memory = _memory(
            *described["data"], tuple(described["shape"]), strides and tuple(strides), described["typestr"]
        )
        return Place(memory, stream_number(array, described.get("stream")))
    if is_exported(array):
        return Place(_memory(*exported(array)), 0)
    return None


# To make an array takes longer than all else here, and most steps are of the same ones.
@functools.lru_cache(2**16)
def _memory(address, is_readonly, shape, strides, typestr):
    interface = {"data": (address, is_readonly), "shape": shape, "strides": strides, "typestr": typestr, "version": 3}
    return np.asarray(types.SimpleNamespace(__array_interface__=interface))


def likeness(address: int, shape: tuple, dtype: np.dtype) -> np.ndarray:
    """An array of NumPy's at an address on a device, C-contiguous, whose elements are not to be touched."""
    interface = {"data": (address, False), "shape": shape, "typestr": np.dtype(dtype).str, "version": 3}
    return np.asarray(types.SimpleNamespace(__array_interface__=interface))


def stream_number(array, told) -> int:
    """The handle of the stream on which an array is written and read, of which its interface tells."""
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(array, torch.Tensor):  # whose interface does not tell
        return torch.cuda.current_stream(array.device).cuda_stream
    return told or 0


def is_numbas(array) -> bool:
    """Whether it is an array of Numba's, which stays where it is."""
    return hasattr(type(array), "__cuda_ndarray__")


def device_of(name: str, address: int) -> int:
    """The number of the device whose memory an address is in; ValueError if it is in none's."""
    if SIMULATES or address == 0:  # empty arrays have no memory
        return 0
    from cuda.bindings import driver as bindings

    cuda.current_context()
    ordinal = bindings.CUpointer_attribute.CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL
    error, device = bindings.cuPointerGetAttribute(ordinal, address)
    if error != bindings.CUresult.CUDA_SUCCESS or device < 0:
        raise ValueError(f"{name} is at {address:#x}, which is no memory of a GPU: it may have been freed")
    return int(device)


def on(device: int):
    """A context in which arrays are made and kernels launched on a device."""
    return _NOTHING if _count() == 1 else cuda.gpus[device]


@functools.cache
def _count():
    return len(cuda.gpus)


@functools.cache
def stream(device: int, number: int):
    """The stream with this handle, for launches and copies."""
    if SIMULATES:
        return 0
    with on(device):
        return cuda.external_stream(number) if number else cuda.default_stream()


def wait_for(waiting, other) -> None:
    """Let a stream go on only when another one has done what it has been given so far."""
    if waiting is not other and not SIMULATES:
        event = cuda.event(timing=False)
        event.record(other)
        event.wait(waiting)


def empty(name: str, size: int, dtype: np.dtype, device: int):
    """An array of `size` numbers of any values on a device; MemoryError with the name if there is no room."""
    try:
        with on(device):
            return cuda.device_array(max(size, 1), dtype)
    except Exception as error:
        if getattr(error, "code", None) != _OUT_OF_MEMORY:
            raise
        need = size * np.dtype(dtype).itemsize
        raise MemoryError(f"{name} needs {need} more bytes on GPU {device}, which has no room for them") from error


def zeros(name: str, size: int, dtype: np.dtype, device: int):
    """As `empty`, of zeros, which are there before anything else is on any stream."""
    array = empty(name, size, dtype, device)
    with on(device):
        launch(kernels.set_zero(np.dtype(dtype)), size, stream(device, 0), address_of(array), size)
        synchronize()
    return array


def sent(name: str, values: np.ndarray, device: int):
    """A copy of one-dimensional values on a device."""
    array = empty(name, values.size, values.dtype, device)
    with on(device):
        if values.size:
            array.copy_to_device(values)
        synchronize()
    return array


def fetched(array) -> np.ndarray:
    """A copy on the host, when all that has been launched on the present device is done."""
    synchronize()
    return array.copy_to_host()


def array_at(array, memory: np.ndarray):
    """Someone else's array, from `place_of`, as one of Numba's."""
    return array if SIMULATES else cuda.as_cuda_array(array)


def synchronize() -> None:
    """Wait for all that has been launched on the present device."""
    cuda.synchronize()


def address_of(array) -> int:
    """Where an array of ours lies."""
    if SIMULATES:
        return array._ary.ctypes.data
    return array.device_ctypes_pointer.value


def launch(kernel, threads: int, on_stream, *arguments, block: int = kernels.THREADS) -> None:
    """Launch a kernel with so many threads, or a few more, in blocks of so many."""
    launch_blocks(kernel, -(-threads // block), on_stream, *arguments, block=block)


def launch_blocks(kernel, blocks: int, on_stream, *arguments, shared: int = 0, block: int = kernels.THREADS) -> None:
    """Launch a kernel with so many blocks, or a few more, each of so many threads and bytes of shared memory."""
    if blocks:
        _configured(kernel, max(blocks, _LEAST_BLOCKS), block, on_stream, shared)(*arguments)


def _configure(kernel, blocks, block, on_stream, shared):
    return kernel[blocks, block, on_stream, shared]


# The simulator's kernels keep but one configuration.
_configured = _configure if SIMULATES else functools.lru_cache(256)(_configure)
