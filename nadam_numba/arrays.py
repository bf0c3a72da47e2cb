"""Trees of NumPy arrays: an array, or lists, tuples and dicts of trees; checked, and matched with their gradients."""

import bisect
import dataclasses
import itertools

import numpy as np

DTYPES = (np.dtype(np.float32), np.dtype(np.float64))

ArrayTree = np.ndarray | list | tuple | dict


@dataclasses.dataclass(frozen=True, slots=True)
class Leaf:
    """One parameter array of a tree, and how its elements are laid out in one dimension."""

    name: str
    array: np.ndarray
    shape: tuple
    order: str  # "F" for Fortran-ordered arrays, whose elements are contiguous in that order; "C" for all others
    is_contiguous: bool

    def check(self):
        """Raise ValueError if the array has become one that a step could not update."""
        _check_writeable(self.name, self.array)
        if self.array.shape != self.shape:
            raise ValueError(f"{self.name} has shape {self.array.shape}: it had {self.shape} when it was handed over")

    def flatten(self, array):
        """The elements of `array`, of the leaf's shape, in the leaf's order: a view where its layout allows it."""
        return np.ascontiguousarray(array.reshape(-1, order=self.order))

    def unflatten(self, elements):
        """`elements` in the leaf's shape."""
        return elements.reshape(self.shape, order=self.order)


def parameter_tree(params):
    """A copy of the tree `params` with a checked `Leaf` in place of each array.

    Parameters
    ----------
    params : array, or list, tuple or dict of trees
        Writeable arrays of float32 or float64, of any shape and layout, none of which share memory.

    Raises
    ------
    TypeError
        If a leaf is not a NumPy array of these dtypes.
    ValueError
        If there are no arrays, or one is read-only, repeats its elements or shares memory with another.
    """
    tree = _tree_of_leaves("params", params)
    if not leaves(tree):
        raise ValueError(f"params={params!r} holds no arrays: at least one is needed")
    _check_overlaps(leaves(tree))
    return tree


def leaves(tree):
    """The leaves of a parameter tree, in a list."""
    if isinstance(tree, dict):
        return [leaf for subtree in tree.values() for leaf in leaves(subtree)]
    if isinstance(tree, list):
        return [leaf for subtree in tree for leaf in leaves(subtree)]
    return [tree]


def matching_arrays(name, values, tree):
    """The arrays of `values`, in the order of the leaves of `tree`, whose structure, shapes and dtypes it has.

    Parameters
    ----------
    name : str
        How error messages call `values`.
    values : array, or list, tuple or dict of such
    tree
        Made by `parameter_tree`, or a list of its leaves.

    Raises
    ------
    TypeError
        If a container stands where an array should, or the reverse, or a dtype differs.
    ValueError
        If lengths, keys or shapes differ.
    """
    arrays = []
    _match(name, values, tree, arrays)
    return arrays


def memory_spans(tree_leaves):
    """Where the arrays of the leaves lie in memory, in the form `may_share_memory` takes."""
    spans = sorted(np.lib.array_utils.byte_bounds(leaf.array) for leaf in tree_leaves)
    starts = [start for start, _ in spans]
    furthest_ends = list(itertools.accumulate((end for _, end in spans), max))
    return starts, furthest_ends


def may_share_memory(array, spans):
    """Whether `array` overlaps any of the spans of memory; may be True for arrays that merely interleave."""
    starts, furthest_ends = spans
    start, end = np.lib.array_utils.byte_bounds(array)
    beginning_before_its_end = bisect.bisect_left(starts, end)
    return beginning_before_its_end > 0 and furthest_ends[beginning_before_its_end - 1] > start


def _tree_of_leaves(name, tree):
    if isinstance(tree, dict):
        return {key: _tree_of_leaves(f"{name}[{key!r}]", subtree) for key, subtree in tree.items()}
    if isinstance(tree, (list, tuple)):
        return [_tree_of_leaves(f"{name}[{index}]", subtree) for index, subtree in enumerate(tree)]
    return _leaf(name, tree)


def _check_writeable(name, array):
    if not array.flags.writeable:
        raise ValueError(f"{name} is read-only: parameters are updated in place")


def _leaf(name, array):
    if not isinstance(array, np.ndarray):
        raise TypeError(f"{name}={array!r} is a {type(array).__name__}: it must be a NumPy array")
    if array.dtype not in DTYPES:
        raise TypeError(f"{name} has dtype {array.dtype}: it must be float32 or float64")
    _check_writeable(name, array)
    repeats = any(stride == 0 and length > 1 for stride, length in zip(array.strides, array.shape, strict=True))
    if repeats and array.size:
        raise ValueError(f"{name} has strides {array.strides}: its elements must each have their own memory")
    order = "F" if array.flags.f_contiguous and not array.flags.c_contiguous else "C"
    return Leaf(name, np.asarray(array), array.shape, order, array.flags.forc)


def _check_overlaps(tree_leaves):
    spans = sorted((*np.lib.array_utils.byte_bounds(leaf.array), number) for number, leaf in enumerate(tree_leaves))
    for position, (_, end, number) in enumerate(spans):
        following = position + 1
        while following < len(spans) and spans[following][0] < end:
            leaf, other = tree_leaves[number], tree_leaves[spans[following][2]]
            if np.shares_memory(leaf.array, other.array):
                raise ValueError(f"{leaf.name} and {other.name} share memory: each would be updated twice per step")
            following += 1


def _match(name, values, tree, arrays):
    if isinstance(tree, dict):
        if not isinstance(values, dict):
            raise TypeError(f"{name}={values!r} is a {type(values).__name__}: it must be a dict")
        if values.keys() != tree.keys():
            raise ValueError(f"{name} has the keys {list(values)}: it must have {list(tree)}")
        for key, subtree in tree.items():
            _match(f"{name}[{key!r}]", values[key], subtree, arrays)
    elif isinstance(tree, list):
        if not isinstance(values, (list, tuple)):
            raise TypeError(f"{name}={values!r} is a {type(values).__name__}: it must be a list or tuple")
        if len(values) != len(tree):
            raise ValueError(f"{name} has {len(values)} entries: it must have {len(tree)}")
        for index, subtree in enumerate(tree):
            _match(f"{name}[{index}]", values[index], subtree, arrays)
    else:
        arrays.append(_matching_array(name, values, tree.array))


def _matching_array(name, array, parameter):
    # NumPy's reductions give scalars where a 0-d array is due.
    if not isinstance(array, (np.ndarray, np.generic)):
        raise TypeError(f"{name}={array!r} is a {type(array).__name__}: it must be a NumPy array")
    if array.dtype != parameter.dtype:
        raise TypeError(f"{name} has dtype {array.dtype}: its parameter has {parameter.dtype}")
    if array.shape != parameter.shape:
        raise ValueError(f"{name} has shape {array.shape}: its parameter has {parameter.shape}")
    # Numba would compile the kernel once more for read-only arrays.
    return np.asarray(array) if array.flags.writeable else np.array(array)
