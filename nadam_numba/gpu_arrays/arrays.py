"""Arrays on a GPU as parameters and gradients: checked, and how their numbers are laid out in memory."""

import dataclasses

import numpy as np

from nadam_numba.arrays import Leaf, brief, layout_of, may_share_memory, place
from nadam_numba.gpu_arrays import device, kernels
from nadam_numba.gpu_arrays.device import place_of
from nadam_numba.interfaces import is_marked

# Libraries whose arrays never change, though they may not say so.
_READ_ONLY = {"jax": "JAX", "jaxlib": "JAX", "tensorflow": "TensorFlow"}


@dataclasses.dataclass(frozen=True, slots=True)
class GpuLeaf(Leaf):
    """One parameter array on a GPU; its state lies there, too, in flat arrays of Numba's.

    Attributes
    ----------
    likeness : ndarray
        Where the array lies, as long as it is a parameter: from `device.place_of`.
    device : int
    """

    likeness: np.ndarray = dataclasses.field(repr=False)
    device: int

    def __reduce__(self):
        """Refuse to be copied or pickled: to copy the likeness would be to read the memory it stands for."""
        raise TypeError(
            f"{self.name} is on a GPU: an optimizer of such arrays can be neither pickled nor deeply copied, as its "
            "state_dict can"
        )

    @property
    def memory(self):
        """An array with its place in memory, shape, strides and dtype, whose elements are not to be touched."""
        return self.likeness

    @property
    def dtype(self):
        """The dtype of its elements, as NumPy calls it."""
        return self.likeness.dtype

    def check(self) -> int:
        """Raise ValueError if the array has become one that a step could not update; else, the handle of its stream."""
        now = place_of(self.array)
        if now is None:
            raise ValueError(f"{self.name} is not on GPU {self.device} any more")
        _check_unmarked(self.name, self.array)
        if now.memory is self.likeness:
            return now.stream
        if not now.memory.flags.writeable:
            raise ValueError(f"{self.name} is read-only: parameters are updated in place")
        if now.memory.shape != self.shape:
            raise ValueError(f"{self.name} has shape {now.memory.shape}: it had {self.shape} when it was handed over")
        if place(now.memory) != place(self.memory):
            raise ValueError(f"{self.name} lies elsewhere in memory than when it was handed over")
        return now.stream

    def is_of(self, array) -> bool:
        """Whether it is the leaf of this very array."""
        now = place_of(array)
        return now is not None and place(now.memory) == place(self.memory)

    # On a card, it does not matter where arrays lie that kernels go through together.

    def zeros(self, dtype, beside=()):
        """A flat array of zeros for its state."""
        return device.zeros(f"the state of {self.name}", self.size, dtype, self.device)

    def array_of_zeros(self):
        """An array of zeros of Numba's, like the parameter."""
        return self.zeros(self.real_dtype)[: self.size].view(self.dtype).reshape(self.shape, order=self.order)

    def empty(self):
        """A flat array of any numbers."""
        return device.empty(f"a copy of {self.name}", self.size, self.real_dtype, self.device)

    def elements(self, beside=()):
        """A flat copy of the array."""
        flat = self.empty()
        with device.on(self.device):
            stream = device.stream(self.device, self.check())
            copy_strided(self, self.memory, flat, stream, is_back=False)
            device.synchronize()
        return flat

    def copy_of(self, flat, beside=()):
        """A copy of a flat array."""
        copied = device.empty(f"a copy of {self.name}", self.size, flat.dtype, self.device)
        with device.on(self.device):
            device.synchronize()
            copied.copy_to_device(flat)
        return copied

    def fetched(self, flat) -> np.ndarray:
        """A flat array on the host."""
        with device.on(self.device):
            return device.fetched(flat)[: self.size]

    def from_host(self, elements: np.ndarray, beside=()):
        """A flat array of these numbers."""
        return device.sent(f"the state of {self.name}", elements, self.device)

    def value(self) -> np.ndarray:
        """A copy of the array on the host."""
        return self.unflatten(self.fetched(self.elements()))

    def assign(self, array: np.ndarray) -> None:
        """Overwrite the array by one on the host."""
        self.overwrite(self.from_host(self.flatten(array)))

    def overwrite(self, flat) -> None:
        """Overwrite the array by a flat one."""
        with device.on(self.device):
            copy_strided(self, self.memory, flat, device.stream(self.device, self.check()), is_back=True)
            device.synchronize()


def copy_strided(leaf: GpuLeaf, memory: np.ndarray, flat, stream, *, is_back: bool) -> None:
    """Copy an array of the leaf's shape and dtype at a place to a flat one in the leaf's order, or back."""
    layout = device.sent(f"the layout of {leaf.name}", _axes(leaf, memory), leaf.device)
    addresses = device.address_of(flat), address(memory), device.address_of(layout)
    device.launch(kernels.copy_strided(leaf.real_dtype, is_back), leaf.size, stream, *addresses, leaf.size)


def _axes(leaf, memory):
    """Number, lengths and strides in bytes of the axes of an array's real numbers, in the order of flat arrays."""
    axes = list(zip(memory.shape, memory.strides, strict=True))
    if leaf.order == "F":
        axes.reverse()
    if memory.dtype.kind == "c":
        axes.append((2, leaf.real_dtype.itemsize))
    return np.array([len(axes), *(length for length, _ in axes), *(stride for _, stride in axes)], np.int64)


def address(memory: np.ndarray) -> int:
    """The address of the first element."""
    return memory.__array_interface__["data"][0]


@dataclasses.dataclass(frozen=True, slots=True)
class GpuGradient:
    """A gradient of a parameter on a GPU.

    Attributes
    ----------
    array : object
        As it was given.
    memory : ndarray
        Where it is.
    stream : int
        The handle of its stream.
    is_flat : bool
        Whether its numbers lie in the order of the state, and no step writes there before they are read.
    address : int
        Of its first element.
    """

    array: object
    memory: np.ndarray = dataclasses.field(repr=False)
    stream: int
    is_flat: bool
    address: int


@dataclasses.dataclass(frozen=True, slots=True)
class GpuRows(GpuGradient):
    """A row-sparse gradient: row k of the array belongs to row ``indices[k]`` of the parameter; not `is_flat`."""

    indices: np.ndarray  # shape (k,), int64, on the host


def gpu_leaf(name: str, array, path: str) -> GpuLeaf:
    """The checked leaf of an array on a GPU."""
    library = type(array).__module__.partition(".")[0]
    if library in _READ_ONLY:
        raise TypeError(
            f"{name} is an array of {_READ_ONLY[library]}, which nobody may write to: parameters are updated in place; "
            "nadam_numba.compat.optax returns new arrays instead, on the host"
        )
    now = place_of(array)
    if now is None:
        raise TypeError(f"{name}={brief(array)} is a {type(array).__name__} that is not on a GPU")
    _check_unmarked(name, array)
    order, is_contiguous = layout_of(name, now.memory)
    number = device.device_of(name, address(now.memory))
    return GpuLeaf(name, path, array, now.memory.shape, order, is_contiguous, now.memory, number)


def _check_unmarked(name, array):
    if is_marked(array):
        raise ValueError(f"{name} is marked as conjugate or negative by torch: it must be a tensor of plain numbers")


def gradient_of(name: str, value, leaf: GpuLeaf, spans: tuple) -> GpuGradient | None:
    """The gradient of one leaf, checked, as `gradients.gradient_of` on the host.

    An array must be on the leaf's device. Of a pair ``(indices, rows)``, the indices may be on the host.
    """
    if value is None:
        return None
    if isinstance(value, tuple):
        return _rows(name, value, leaf)
    value = _unmarked(value)
    memory, stream = _place_of_gradient(name, value, leaf)
    if memory.shape != leaf.shape:
        raise ValueError(f"{name} has shape {memory.shape}: its parameter has {leaf.shape}")
    is_flat = memory.flags.c_contiguous if leaf.order == "C" else memory.flags.f_contiguous
    # A gradient that is the parameter itself is read before it is written, number by number.
    is_parameter = leaf.is_contiguous and address(memory) == address(leaf.memory)
    is_safe = is_parameter or not may_share_memory(memory, spans)
    return GpuGradient(value, memory, stream, is_flat and is_safe, address(memory))


def _unmarked(value):
    """The same numbers in memory: a copy, where torch has but marked them as conjugate or negative."""
    return value.resolve_conj().resolve_neg() if is_marked(value) else value


def _place_of_gradient(name, value, leaf):
    now = None if isinstance(value, (np.ndarray, np.generic)) else place_of(value)
    if now is None:
        raise TypeError(
            f"{name}={brief(value)} is a {type(value).__name__} on the host: its parameter is on GPU {leaf.device}"
        )
    if now.memory.dtype != leaf.dtype:
        raise TypeError(f"{name} has dtype {now.memory.dtype}: its parameter has {leaf.dtype}")
    if now.memory.size and device.device_of(name, address(now.memory)) != leaf.device:
        number = device.device_of(name, address(now.memory))
        raise ValueError(f"{name} is on GPU {number}: its parameter is on GPU {leaf.device}")
    return now


def _rows(name, pair, leaf):
    if len(pair) != 2:
        raise TypeError(f"{name} is a tuple of {len(pair)}: it must be an array, or a pair (indices, rows)")
    if not leaf.shape:
        raise TypeError(f"{name} is a pair (indices, rows): its parameter has no rows, as its shape is ()")
    if leaf.order != "C" or not leaf.is_contiguous:
        raise ValueError(
            f"{name} is a pair (indices, rows): on a GPU its parameter must be C-contiguous, and has the strides "
            f"{leaf.memory.strides}"
        )
    indices = _on_host(f"{name}[0]", pair[0])
    if indices.ndim != 1 or (indices.dtype.kind not in "iu" and indices.size):
        raise TypeError(
            f"{name}[0] has dtype {indices.dtype} and shape {indices.shape}: it must be one-dimensional, of integers"
        )
    wrong = indices[(indices < 0) | (indices >= leaf.shape[0])]
    if wrong.size:
        raise ValueError(f"{name}[0] has the index {wrong[0]}: it must be in [0, {leaf.shape[0]})")
    rows = _unmarked(pair[1])
    memory, stream = _place_of_gradient(f"{name}[1]", rows, leaf)
    shape = (indices.size, *leaf.shape[1:])
    if memory.shape != shape:
        raise ValueError(f"{name}[1] has shape {memory.shape}: it must have {shape}, one row per index")
    if not memory.flags.c_contiguous:
        raise ValueError(f"{name}[1] has strides {memory.strides}: on a GPU rows must be C-contiguous")
    return GpuRows(rows, memory, stream, False, address(memory), indices.astype(np.int64))


def _on_host(name, indices):
    """Indices as an array on the host, where they are checked and sorted."""
    now = None if isinstance(indices, (np.ndarray, np.generic, list)) else place_of(indices)
    if now is None:
        return np.asarray(indices)
    if not now.memory.flags.c_contiguous:
        raise ValueError(f"{name} has strides {now.memory.strides}: on a GPU indices must be contiguous")
    return device.fetched(device.array_at(indices, now.memory))
