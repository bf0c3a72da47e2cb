"""Trees of NumPy arrays: an array, None, or lists, tuples and dicts of trees; checked, and matched with gradients."""

import bisect
import collections
import dataclasses
import itertools
from collections.abc import Callable

import numpy as np

DTYPES = tuple(np.dtype(name) for name in ("float32", "float64", "complex64", "complex128"))
_ALLOWED_DTYPES = "float32, float64, complex64 or complex128"
_CACHE_LINE, _PAGE = 64, 4096
# How far vectors of more than a page are moved to lie apart, at most: a hundredth of their length, or some lines.
_SOME_LINES = 8 * _CACHE_LINE

ArrayTree = np.ndarray | list | tuple | dict | None


@dataclasses.dataclass(frozen=True, slots=True)
class Leaf:
    """One parameter array of a tree, and how its elements are laid out in one dimension.

    A complex array is laid out as its real and imaginary parts in turn, which are independent parameters to the rule.
    """

    name: str
    path: str  # the keys and indices that lead to it, joined by "/"
    array: np.ndarray
    shape: tuple
    order: str  # "F" for Fortran-ordered arrays, whose elements are contiguous in that order; "C" for all others
    is_contiguous: bool

    def check(self):
        """Raise ValueError if the array has become one that a step could not update."""
        _check_writeable(self.name, self.array)
        if self.array.shape != self.shape:
            raise ValueError(f"{self.name} has shape {self.array.shape}: it had {self.shape} when it was handed over")

    @property
    def memory(self):
        """An array with its place in memory, shape, strides and dtype: itself."""
        return self.array

    @property
    def dtype(self):
        """The dtype of its elements."""
        return self.array.dtype

    @property
    def size(self):
        """Number of real numbers."""
        return self.memory.size * (2 if self.dtype.kind == "c" else 1)

    @property
    def real_dtype(self):
        """The dtype of its real numbers."""
        return self.memory.real.dtype

    def is_of(self, array):
        """Whether it is the leaf of this very array."""
        array = np.asarray(array)
        return place(array) == place(self.array)

    def flatten(self, array):
        """The numbers of `array`, of the leaf's shape, in the leaf's order: a view where its layout allows it."""
        array = np.asarray(array)
        if array.ndim == 1 and array.flags.c_contiguous and array.dtype.kind == "f":
            return array
        return np.ascontiguousarray(array.reshape(-1, order=self.order)).view(self.real_dtype)

    def unflatten(self, elements):
        """`elements` in the leaf's shape and dtype."""
        return elements.view(self.dtype).reshape(self.shape, order=self.order)

    # Flat arrays of its state, where it lies itself.

    def zeros(self, dtype, beside=()):
        """A flat array of zeros; `beside` has the flat arrays that a step goes through together with it."""
        return zeros(self.size, dtype, (self.array, *beside))

    def elements(self, beside=()):
        """A flat copy of the array."""
        return self.copy_of(self.flatten(self.array), beside)

    def copy_of(self, flat, beside=()):
        """A copy of a flat array."""
        own = zeros(flat.size, flat.dtype, (self.array, *beside))
        own[:] = flat
        return own

    def fetched(self, flat):
        """A flat array in NumPy's memory."""
        return flat

    def from_host(self, elements, beside=()):
        """The flat array of these numbers, which are in NumPy's memory and its own."""
        return self.copy_of(elements, beside)

    def value(self):
        """The array in NumPy's memory."""
        return self.array

    def assign(self, array):
        """Overwrite the array by one in NumPy's memory."""
        self.array[...] = array

    def overwrite(self, flat):
        """Overwrite the array by a flat one."""
        self.array[...] = self.unflatten(flat)


def parameter_tree(name, params, leaf_of=None):
    """A copy of the tree `params` with a checked `Leaf` in place of each array.

    Parameters
    ----------
    name : str
        How error messages call `params`.
    params : array, None, or list, tuple or dict of trees
        Writeable arrays of float32, float64 or their complex kin, of any shape and layout, none of which share memory.
    leaf_of : callable, optional
        ``leaf_of(name, array, path)``, in place of the check for a NumPy array.

    Raises
    ------
    TypeError
        If a leaf is not a NumPy array of these dtypes.
    ValueError
        If there are no arrays, one is read-only or repeats its elements, or two have one path.
    """
    tree = _tree_of_leaves(name, params, leaf_of or numpy_leaf)
    if not leaves(tree):
        raise ValueError(f"{name}={brief(params)} holds no arrays: at least one is needed")
    known = {}
    for leaf in leaves(tree):
        other = known.setdefault(leaf.path, leaf)
        if other is not leaf:
            raise ValueError(
                f"{other.name} and {leaf.name} both have the path {leaf.path!r}, by which states and files know them: "
                "the keys on the way, joined by '/', must differ as text"
            )
    return tree


def zeros(size, dtype, beside=()):
    """A vector of zeros that begins with a cache line, apart from other arrays in their pages.

    NumPy's begin 16 bytes into a line: then every other vector of the processor's lies in two lines. And to a
    processor, what it reads might be what it has just written wherever the two have the same place in their pages, and
    it waits until it knows: a loop that reads one array, and writes another a few lines ahead of it in their pages, is
    held up. `benchmarks/places.py` measures by how much.

    Parameters
    ----------
    size : int
    dtype : dtype
    beside : sequence of ndarray
        Those that a loop goes through together with it.
    """
    length = size * np.dtype(dtype).itemsize
    reach = min(max(length // 100, _SOME_LINES), _PAGE - _CACHE_LINE) if beside and length > _PAGE else 0
    buffer = np.zeros(length + reach + _CACHE_LINE, np.uint8)
    start = -_address(buffer) % _CACHE_LINE
    if reach:
        # Of two places in their pages, this is half a page where they are the same, 0 where they are furthest apart.
        others = [_address(array) - _address(buffer) for array in beside]
        places = range(start, start + reach + 1, _CACHE_LINE)
        start = min(places, key=lambda place: max([abs((place - other) % _PAGE - _PAGE // 2) for other in others]))
    return buffer[start : start + length].view(dtype)


def _address(array):
    return array.__array_interface__["data"][0]


def leaves(tree):
    """The leaves of a parameter tree, in a list; without those that are None."""
    if isinstance(tree, dict):
        return [leaf for subtree in tree.values() for leaf in leaves(subtree)]
    if isinstance(tree, list):
        return [leaf for subtree in tree for leaf in leaves(subtree)]
    return [] if tree is None else [tree]


def arrays_like(tree):
    """A tree of arrays of zeros like those of a parameter tree; all of one dtype in NumPy's memory share a buffer."""
    sizes = collections.Counter()
    for leaf in leaves(tree):
        if type(leaf) is Leaf:
            sizes[leaf.real_dtype] += leaf.size
    return _views_like(tree, {dtype: zeros(size, dtype) for dtype, size in sizes.items()}, collections.Counter())


def _views_like(tree, buffers, used):
    if isinstance(tree, dict):
        return {key: _views_like(subtree, buffers, used) for key, subtree in tree.items()}
    if isinstance(tree, list):
        return [_views_like(subtree, buffers, used) for subtree in tree]
    if tree is None:
        return None
    if type(tree) is not Leaf:
        return tree.array_of_zeros()
    start = used[tree.real_dtype]
    used[tree.real_dtype] += tree.size
    return tree.unflatten(buffers[tree.real_dtype][start : start + tree.size])


def matching(name: str, values: ArrayTree, tree: ArrayTree, take: Callable) -> list:
    """What `take` makes of each of `values`, in the order of the leaves of `tree`, whose structure they have.

    Parameters
    ----------
    name : str
        How error messages call `values`.
    values : array, or list, tuple or dict of such
    tree
        Made by `parameter_tree`, or a list of its leaves.
    take : callable
        ``take(name, value, leaf)``, such as `matching_array`.

    Raises
    ------
    TypeError
        If a container stands where an array should, or the reverse.
    ValueError
        If lengths or keys differ, or a value stands where there is no parameter.
    """
    taken = []
    _match(name, values, tree, take, taken)
    return taken


def matching_array(name, array, leaf):
    """`array` if it has the shape and dtype of the leaf; TypeError or ValueError if not."""
    # NumPy's reductions give scalars where a 0-d array is due.
    if not isinstance(array, (np.ndarray, np.generic)) or isinstance(array, np.ma.MaskedArray):
        raise TypeError(f"{name}={brief(array)} is a {type(array).__name__}: it must be a NumPy array")
    if array.dtype != leaf.dtype:
        raise TypeError(f"{name} has dtype {array.dtype}: its parameter has {leaf.dtype}")
    if array.shape != leaf.shape:
        raise ValueError(f"{name} has shape {array.shape}: its parameter has {leaf.shape}")
    # Numba would compile the kernel once more for read-only arrays.
    return np.asarray(array) if array.flags.writeable else np.array(array)


def check_overlaps(tree_leaves):
    """Raise ValueError if two leaves share memory."""
    spans = sorted((*np.lib.array_utils.byte_bounds(leaf.memory), number) for number, leaf in enumerate(tree_leaves))
    for position, (_, end, number) in enumerate(spans):
        following = position + 1
        while following < len(spans) and spans[following][0] < end:
            leaf, other = tree_leaves[number], tree_leaves[spans[following][2]]
            if np.shares_memory(leaf.memory, other.memory):
                raise ValueError(f"{leaf.name} and {other.name} share memory: each would be updated twice per step")
            following += 1


def memory_spans(tree_leaves):
    """Where the arrays of the leaves lie in memory, in the form `may_share_memory` takes."""
    return ordered_spans(np.lib.array_utils.byte_bounds(leaf.memory) for leaf in tree_leaves)


def may_share_memory(array, spans):
    """Whether `array` overlaps any of the spans of memory; may be True for arrays that merely interleave."""
    return overlaps(np.lib.array_utils.byte_bounds(array), spans)


def ordered_spans(spans):
    """Pairs of the first address and the one after the last, in the form `overlaps` takes."""
    spans = sorted(spans)
    starts = [start for start, _ in spans]
    furthest_ends = list(itertools.accumulate((end for _, end in spans), max))
    return starts, furthest_ends


def overlaps(span, spans):
    """Whether a pair of addresses overlaps any of the spans, from `ordered_spans`."""
    starts, furthest_ends = spans
    start, end = span
    beginning_before_its_end = bisect.bisect_left(starts, end)
    return beginning_before_its_end > 0 and furthest_ends[beginning_before_its_end - 1] > start


def place(array):
    """What tells `array` apart from all others of its time: where it lies in memory, and how."""
    return array.__array_interface__["data"], array.shape, array.strides, array.dtype


def _tree_of_leaves(name, tree, leaf_of, path=()):
    if isinstance(tree, dict):
        return {
            key: _tree_of_leaves(f"{name}[{key!r}]", subtree, leaf_of, (*path, key)) for key, subtree in tree.items()
        }
    if isinstance(tree, (list, tuple)):
        return [
            _tree_of_leaves(f"{name}[{index}]", subtree, leaf_of, (*path, index)) for index, subtree in enumerate(tree)
        ]
    return None if tree is None else leaf_of(name, tree, "/".join(map(str, path)))


def _check_writeable(name, array):
    if not array.flags.writeable:
        raise ValueError(f"{name} is read-only: parameters are updated in place")


def numpy_leaf(name, array, path):
    """The checked leaf of a NumPy array."""
    if not isinstance(array, np.ndarray) or isinstance(array, np.ma.MaskedArray):
        raise TypeError(f"{name}={brief(array)} is a {type(array).__name__}: it must be a NumPy array")
    order, is_contiguous = layout_of(name, array)
    return Leaf(name, path, array, array.shape, order, is_contiguous)


def layout_of(name, memory):
    """The fields `order` and `is_contiguous` of a `Leaf`, checked to be those of a parameter."""
    if memory.dtype not in DTYPES:
        raise TypeError(f"{name} has dtype {memory.dtype}: it must be {_ALLOWED_DTYPES}")
    _check_writeable(name, memory)
    if _may_repeat_elements(memory):
        raise ValueError(f"{name} has strides {memory.strides}: its elements must each have their own memory")
    order = "F" if memory.flags.f_contiguous and not memory.flags.c_contiguous else "C"
    return order, memory.flags.forc


def _may_repeat_elements(array):
    """Whether two elements of `array` may share memory; no slicing or transposing of a whole array leads to that."""
    reach = array.itemsize
    for stride, length in sorted((abs(s), n) for s, n in zip(array.strides, array.shape, strict=True) if n > 1):
        if stride < reach:
            return array.size > 0
        reach = stride * (length - 1) + reach
    return False


def brief(value) -> str:
    """What messages show of a value."""
    text = repr(value)
    return text if len(text) <= 200 else f"{text[:200]}..."


def _match(name, values, tree, take, taken):
    if isinstance(tree, dict):
        if not isinstance(values, dict):
            raise TypeError(f"{name}={brief(values)} is a {type(values).__name__}: it must be a dict")
        if values.keys() != tree.keys():
            raise ValueError(f"{name} has the keys {list(values)}: it must have {list(tree)}")
        for key, subtree in tree.items():
            _match(f"{name}[{key!r}]", values[key], subtree, take, taken)
    elif isinstance(tree, list):
        if not isinstance(values, (list, tuple)):
            raise TypeError(f"{name}={brief(values)} is a {type(values).__name__}: it must be a list or tuple")
        if len(values) != len(tree):
            raise ValueError(f"{name} has {len(values)} entries: it must have {len(tree)}")
        for index, subtree in enumerate(tree):
            _match(f"{name}[{index}]", values[index], subtree, take, taken)
    elif tree is not None:
        taken.append(take(name, values, tree))
    elif values is not None:
        raise ValueError(f"{name}={brief(values)}: it must be None, as its parameter is")
