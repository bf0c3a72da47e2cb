"""What an optimizer is given as the gradient of an array: an array, nothing, or the rows that are not zero."""

import dataclasses

import numpy as np

from nadam_numba import cpu
from nadam_numba.arrays import Leaf, brief, matching_array, may_share_memory
from nadam_numba.rule import Scalars


@dataclasses.dataclass(frozen=True, slots=True)
class Rows:
    """A row-sparse gradient: ``values[k]`` belongs to row ``indices[k]`` of the parameter; an index may come twice."""

    indices: np.ndarray  # shape (k,), int64
    values: np.ndarray  # shape (k, numbers per row), of the parameter's real dtype, contiguous


def gradient_of(name: str, value, leaf: Leaf, spans: tuple):
    """The gradient of one leaf, checked.

    Parameters
    ----------
    name : str
        How error messages call `value`.
    value : None, ndarray, tuple or scipy.sparse matrix or array
        A tuple is ``(indices, rows)``.
    leaf : Leaf
    spans : tuple
        Where the parameters lie in memory, from `memory_spans`.

    Returns
    -------
    None, ndarray of shape (leaf.size,), or Rows
        An array is a view of `value` where its layout allows it and no step can overwrite it before it is read.

    Raises
    ------
    TypeError, ValueError
        If `value` is none of these, or its shape or dtype does not fit the leaf.
    """
    if value is None:
        return None
    if isinstance(value, tuple):
        rows = _rows_of_pair(name, value, leaf)
        return Rows(rows.indices, rows.values.copy()) if may_share_memory(rows.values, spans) else rows
    # Asking scipy.sparse itself would import it, which takes longer than all the rest of this package.
    if any(kind.__module__.startswith("scipy.sparse") for kind in type(value).__mro__) and hasattr(value, "tocoo"):
        return _rows_of_matrix(name, value, leaf)
    gradient = leaf.flatten(matching_array(name, value, leaf))
    return gradient.copy() if may_share_memory(gradient, spans) else gradient


def is_finite(gradient: np.ndarray | Rows) -> bool:
    """Whether all its numbers are."""
    return bool(cpu.has_only_finite(gradient.values.reshape(-1) if isinstance(gradient, Rows) else gradient))


def conditioned(gradient: np.ndarray | Rows, scalars: Scalars) -> np.ndarray | Rows:
    """A copy that is scaled and clipped."""
    values = (gradient.values if isinstance(gradient, Rows) else gradient).copy()
    cpu.condition(values.reshape(-1), *scalars)
    return Rows(gradient.indices, values) if isinstance(gradient, Rows) else values


def summed(rows: Rows) -> Rows:
    """Each index once, in rising order, with the sum of its values in the order they came."""
    indices, positions = np.unique(rows.indices, return_inverse=True)
    sums = np.zeros((indices.size, rows.values.shape[1]), rows.values.dtype)
    cpu.add_rows(sums, positions, rows.values)
    return Rows(indices, sums)


def dense(rows: Rows, leaf: Leaf) -> np.ndarray:
    """All rows, in the order of the leaf; values of one index are summed."""
    gradient = np.zeros((leaf.shape[0], rows.values.shape[1]), rows.values.dtype)
    cpu.add_rows(gradient, rows.indices, rows.values)
    return leaf.flatten(gradient.reshape(-1).view(leaf.array.dtype).reshape(leaf.shape))


def _rows_of_pair(name, pair, leaf):
    if len(pair) != 2:
        raise TypeError(f"{name} is a tuple of {len(pair)}: it must be an array, or a pair (indices, rows)")
    if not leaf.shape:
        raise TypeError(f"{name} is a pair (indices, rows): its parameter has no rows, as its shape is ()")
    try:
        indices, rows = (np.asarray(item) for item in pair)
    except ValueError as error:
        raise ValueError(f"{name}={brief(pair)}: indices and rows must be arrays; {error}") from None
    if indices.ndim != 1 or (indices.dtype.kind not in "iu" and indices.size):
        raise TypeError(
            f"{name}[0] has dtype {indices.dtype} and shape {indices.shape}: it must be one-dimensional, of integers"
        )
    wrong = indices[(indices < 0) | (indices >= leaf.shape[0])]
    if wrong.size:
        raise ValueError(f"{name}[0] has the index {wrong[0]}: it must be in [0, {leaf.shape[0]})")
    if rows.dtype != leaf.array.dtype:
        raise TypeError(f"{name}[1] has dtype {rows.dtype}: its parameter has {leaf.array.dtype}")
    shape = (indices.size, *leaf.shape[1:])
    if rows.shape != shape:
        raise ValueError(f"{name}[1] has shape {rows.shape}: it must have {shape}, one row per index")
    return _rows(indices, rows, leaf)


def _rows_of_matrix(name, matrix, leaf):
    if matrix.shape != leaf.shape:
        raise ValueError(f"{name} has shape {matrix.shape}: its parameter has {leaf.shape}")
    if matrix.dtype != leaf.array.dtype:
        raise TypeError(f"{name} has dtype {matrix.dtype}: its parameter has {leaf.array.dtype}")
    matrix = matrix.tocoo()
    row_numbers, *columns = matrix.coords
    indices, positions = np.unique(row_numbers, return_inverse=True)
    rows = np.zeros((indices.size, *leaf.shape[1:]), matrix.dtype)
    np.add.at(rows, (positions, *columns), matrix.data)
    return _rows(indices, rows, leaf)


def _rows(indices, rows, leaf):
    width = leaf.size // leaf.shape[0] if leaf.shape[0] else 0
    values = np.ascontiguousarray(rows).reshape(-1).view(leaf.real_dtype).reshape(indices.size, width)
    return Rows(indices.astype(np.int64), values)
