"""Steps of torch's tensors that are all much the same from step to step, prepared once."""

import operator
from collections.abc import Callable

import numpy as np
import torch
from torch.autograd.graph import increment_version

from nadam_numba.arrays import ordered_spans

_gradient_of, _is_sparse, _dtype_of = map(operator.attrgetter, ("grad", "is_sparse", "dtype"))
_MOMENTS = operator.itemgetter("exp_avg"), operator.itemgetter("exp_avg_sq")
_COUNTS = operator.itemgetter("mu_product"), operator.itemgetter("step")


class Prepared:
    """The steps of an optimizer whose tensors all are of one dtype, and lie on one device, prepared once.

    To look at each tensor as closely as a first step has to takes Python longer than all the rest. From the second step
    on, what can have changed is compared, list by list; `step` does nothing where anything has, but numbers.

    Parameters
    ----------
    optimizer : torch.optim.Optimizer
        Which has made a step of all its tensors. The tensors of its state that count are replaced by views of one.
    rows : list of tuple
        Of each tensor the parameter, its gradient, its moments, product and step, in the order of the groups.
    launch : callable
        ``launch(addresses, kinds, scalars)`` makes a step of these tensors, given the addresses of their gradients, and
        of each the place of its scalars in a list.
    """

    def __init__(self, optimizer, rows: list[tuple], launch: Callable):
        # Tensors that leave the optimizer must not be kept: they are known by their identities, and their places.
        self._launch = launch
        params, _, first_moments, second_moments, products, steps = map(list, zip(*rows, strict=True))
        self._products, self._steps = torch.stack(products), torch.stack(steps)
        for state, product, step in zip(optimizer.state.values(), self._products, self._steps, strict=True):
            state["mu_product"], state["step"] = product, step
        self._counts = [list(map(get, optimizer.state.values())) for get in _COUNTS]
        self._identities = _identities_of(optimizer)
        lengths = [len(group["params"]) for group in optimizer.param_groups]
        self._group_of = np.repeat(np.arange(len(lengths)), lengths)
        self._is_one_group, self._of_one_kind = not self._group_of.any(), np.zeros(len(params), np.int64)
        self._places = _places_of([*params, *first_moments, *second_moments])
        spans = ordered_spans((p.data_ptr(), p.data_ptr() + p.nbytes) for p in params)
        self._starts, self._ends = map(np.array, spans)
        self._bytes = np.array([p.nbytes for p in params])
        self._dtype, self._sizes = params[0].dtype, [p.numel() for p in params]
        self._safe = None

    @classmethod
    def made(cls, optimizer, rows: list[tuple], launcher: Callable) -> "Prepared | None":
        """The steps after one of these rows, if there is nothing special about them; `launcher` makes their launch."""
        params = [p for group in optimizer.param_groups for p in group["params"]]
        if len(rows) != len(params) or not _are(params, [row[0] for row in rows]):
            return None
        is_plain = all(tensor.is_contiguous() for row in rows for tensor in (row[0], *row[2:4]))
        dtypes = {(row[0].dtype, row[4].dtype, row[5].dtype) for row in rows}
        if not is_plain or len(dtypes) != 1 or not _are(params, optimizer.state) or len(optimizer.state) != len(rows):
            return None
        launch = launcher(rows)
        return None if launch is None else cls(optimizer, rows, launch)

    def step(self, optimizer, scalars_of: list) -> bool:
        """Make a step; False, and nothing is done, if anything is not as it was.

        Parameters
        ----------
        optimizer : torch.optim.Optimizer
        scalars_of : list of function or None
            Of each group, what makes scalars of the dtype of the product, the number of a step, and the product.
        """
        if None in scalars_of or _identities_of(optimizer) != self._identities:
            return False
        states = optimizer.state.values()
        if not all(_are(list(map(get, states)), known) for get, known in zip(_COUNTS, self._counts, strict=True)):
            return False
        written = [*optimizer.state, *(tensor for get in _MOMENTS for tensor in map(get, states))]
        gradients = list(map(_gradient_of, optimizer.state))
        if _places_of(written) != self._places or not self._suit(gradients):
            return False
        addresses = _addresses(gradients)
        if addresses != self._safe:
            if not all(map(_has_memory, gradients)) or self._overlap(np.array(addresses)):
                return False
            self._safe = addresses
        kinds, scalars = self._count(scalars_of)
        self._launch(addresses, kinds, scalars)
        increment_version(written)
        return True

    def _suit(self, gradients):
        """Whether these are nothing but numbers, in the order that contiguous parameters have."""
        if set(map(type, gradients)) != {torch.Tensor} or any(map(_is_sparse, gradients)):
            return False
        if any(map(torch.Tensor.is_neg, gradients)) or not all(map(torch.Tensor.is_contiguous, gradients)):
            return False
        if set(map(_dtype_of, gradients)) != {self._dtype} or list(map(torch.Tensor.numel, gradients)) != self._sizes:
            return False
        return not (self._dtype.is_complex and any(map(torch.Tensor.is_conj, gradients)))

    def _overlap(self, addresses):
        """Whether a gradient shares memory with a parameter."""
        before = np.searchsorted(self._starts, addresses + self._bytes)
        return bool((self._ends[before - 1] > addresses)[before > 0].any())

    def _count(self, scalars_of):
        """Count a step: of each tensor the kind, and the scalars of each kind."""
        # Their memory may be elsewhere than at the last step, if it has been shared with other processes.
        steps, products, dtype = self._steps.numpy(), self._products.numpy(), self._products.dtype
        steps += 1.0
        if self._is_one_group and (steps.size == 1 or (_are_equal(steps) and _are_equal(products))):
            products[:], scalars = scalars_of[0](dtype, float(steps[0]), float(products[0]))
            return self._of_one_kind, [scalars]
        together = np.stack([self._group_of, steps, products.astype(np.float64)])
        _, firsts, kinds = np.unique(together, axis=1, return_index=True, return_inverse=True)
        made = [
            scalars_of[self._group_of[first]](dtype, float(steps[first]), float(products[first])) for first in firsts
        ]
        kinds = kinds.reshape(-1)
        products[:] = np.array([product for product, _ in made])[kinds]
        return kinds, [scalars for _, scalars in made]


def _identities_of(optimizer):
    """Those of the parameters, group by group, and of what goes with each in the state."""
    groups = [list(map(id, group["params"])) for group in optimizer.param_groups]
    return groups, list(map(id, optimizer.state)), list(map(id, optimizer.state.values()))


def _places_of(tensors):
    """Where tensors are, how many numbers each has, of which dtypes, and whether these are as they lie in memory."""
    dtypes = set(map(_dtype_of, tensors))
    are_conjugate = any(dtype.is_complex for dtype in dtypes) and any(map(torch.Tensor.is_conj, tensors))
    is_plain = all(map(torch.Tensor.is_contiguous, tensors)) and not are_conjugate
    return _addresses(tensors), list(map(torch.Tensor.numel, tensors)), dtypes, is_plain


def _are_equal(numbers):
    return bool((numbers == numbers[0]).all())


def _has_memory(tensor):
    """Whether a contiguous tensor has an address, and its storage has not been resized to less than it needs."""
    held = tensor.untyped_storage().nbytes()
    return tensor.data_ptr() != 0 and tensor.storage_offset() * tensor.itemsize + tensor.nbytes <= held


def _are(some, others):
    """Whether these are the same objects in the same order."""
    return len(some) == len(others) and all(map(operator.is_, some, others))


def _addresses(tensors):
    return list(map(torch.Tensor.data_ptr, tensors))
