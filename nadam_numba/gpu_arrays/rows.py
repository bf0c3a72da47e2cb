"""Row-sparse gradients on a GPU: rows of one index summed, in the order they came; rows of a state apart."""

import dataclasses

import numpy as np

from nadam_numba.gpu_arrays import device, kernels
from nadam_numba.gpu_arrays.arrays import GpuLeaf, GpuRows, address
from nadam_numba.update import LeafState

_STATE_ARRAYS = ("first_moment", "second_moment", "largest_moment", "average")


@dataclasses.dataclass(frozen=True, slots=True)
class SortedRows:
    """Which rows of a gradient belong to which row of its parameter, on the device.

    Attributes
    ----------
    indices : device array of int64
        Rows of the parameter that have a gradient, each once, in rising order.
    starts, order : device arrays of int64
        The rows ``order[starts[k]:starts[k + 1]]`` of the gradient belong to row ``indices[k]``.
    count, width : int
        Of `indices`; real numbers in a row.
    """

    indices: object
    starts: object
    order: object
    count: int
    width: int


def sort_rows(leaf: GpuLeaf, gradient: GpuRows) -> SortedRows:
    """Sort the indices on the host."""
    indices, positions = np.unique(gradient.indices, return_inverse=True)
    order = np.argsort(positions, kind="stable")
    starts = np.searchsorted(positions[order], np.arange(indices.size + 1))
    parts = [device.sent("sorted rows", part.astype(np.int64), leaf.device) for part in (indices, starts, order)]
    return SortedRows(*parts, indices.size, leaf.size // leaf.shape[0])


def sum_rows(leaf: GpuLeaf, gradient: GpuRows, rows: SortedRows, result, targets, stream) -> None:
    """Write the sum of the rows of each index to that row of the result which `targets` tells."""
    kernel = kernels.sum_rows(leaf.real_dtype)
    places = [device.address_of(array) for array in (targets, rows.starts, rows.order)]
    threads = rows.count * rows.width
    arguments = device.address_of(result), gradient.address, *places, rows.count, rows.width
    device.launch(kernel, threads, stream, *arguments)


def gathered(state: LeafState, rows: SortedRows, stream) -> LeafState:
    """The state of some rows, as that of an array of its own."""
    leaf, size = state.leaf, rows.count * rows.width

    def rows_of(place, dtype):
        part = device.empty(f"rows of {leaf.name}", size, dtype, leaf.device)
        _move(place, part, rows, stream, is_back=False)
        return part

    arrays = {name: getattr(state, name) for name in _STATE_ARRAYS}
    parts = {
        name: None if flat is None else rows_of(device.address_of(flat), flat.dtype) for name, flat in arrays.items()
    }
    array = rows_of(address(leaf.memory), leaf.real_dtype)
    likeness = device.likeness(device.address_of(array), (size,), leaf.real_dtype)
    own = GpuLeaf(leaf.name, leaf.path, array, (size,), "C", True, likeness, leaf.device)
    counts = {"iterations": state.iterations, "is_decayed": state.is_decayed, "seed": state.seed}
    return LeafState(own, **parts, **counts)


def scatter(touched: LeafState, state: LeafState, rows: SortedRows, stream) -> None:
    """The reverse of `gathered`."""
    _move(address(state.leaf.memory), touched.leaf.array, rows, stream, is_back=True)
    for name in _STATE_ARRAYS:
        flat = getattr(state, name)
        if flat is not None:
            _move(device.address_of(flat), getattr(touched, name), rows, stream, is_back=True)


def _move(place, part, rows, stream, *, is_back):
    kernel = kernels.move_rows(part.dtype, is_back)
    addresses = place, device.address_of(part), device.address_of(rows.indices)
    device.launch(kernel, rows.count * rows.width, stream, *addresses, rows.count, rows.width)
