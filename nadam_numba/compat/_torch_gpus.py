"""Steps of torch's CUDA tensors by the kernels of this package, on torch's streams."""

import operator

import numpy as np
import torch
from torch.autograd.graph import increment_version

from nadam_numba.arrays import ordered_spans
from nadam_numba.dialects import TORCH
from nadam_numba.gpu import device, kernels
from nadam_numba.gpu.tables import Table, grouped
from nadam_numba.rule import Scalars

_REAL_DTYPES = {
    torch.float32: np.dtype(np.float32),
    torch.float64: np.dtype(np.float64),
    torch.complex64: np.dtype(np.float32),
    torch.complex128: np.dtype(np.float64),
}


def step(rows: list[tuple], gradients: list[torch.Tensor], numbers: list[Scalars], tables: dict) -> None:
    """Make one step of tensors on GPUs.

    Parameters
    ----------
    rows : list of tuple
        Of each a parameter, its gradient, and its moments: dense, of one order in memory.
    gradients : list of Tensor
        In the order of their parameters.
    numbers : list of Scalars
    tables : dict
        Kept from step to step.
    """
    items = list(zip(rows, gradients, numbers, strict=True))
    for group in grouped(items, lambda item: (item[0][0].device, _REAL_DTYPES[item[0][0].dtype])):
        tensors = [row for row, _, _ in group]
        first = tensors[0][0]
        number = first.device.index or 0
        with device.on(number):
            stream = device.stream(number, _stream_of(first.device))
            table = _table(tensors, _REAL_DTYPES[first.dtype], number, tables)
            scalars = list(dict.fromkeys(each for _, _, each in group))
            kinds = {each: kind for kind, each in enumerate(scalars)}
            table.send([g.data_ptr() for _, g, _ in group], [kinds[each] for _, _, each in group], scalars, stream)
            table.launch(kernels.update(TORCH.order, table.dtype, False, False, False, False), stream)


def _stream_of(where):
    return torch.cuda.current_stream(where).cuda_stream


def _table(tensors, dtype, number, tables):
    """The table of tensors; made anew when they have moved."""
    rows = np.zeros((7, len(tensors)), np.int64)
    rows[:3] = [[row[k].data_ptr() for row in tensors] for k in (0, 2, 3)]
    sizes = [row[0].numel() * (2 if row[0].is_complex() else 1) for row in tensors]
    known = tables.get((number, dtype))
    if known is None or known[0] != sizes or not np.array_equal(known[1], rows):
        known = tables[number, dtype] = sizes, rows, Table(rows, sizes, dtype, number)
    return known[2]


_gradient_of, _is_sparse = operator.attrgetter("grad"), operator.attrgetter("is_sparse")
_MOMENTS = operator.itemgetter("exp_avg"), operator.itemgetter("exp_avg_sq")
_COUNTS = operator.itemgetter("mu_product"), operator.itemgetter("step")


class Prepared:
    """The steps of an optimizer whose tensors all lie on one GPU, prepared once.

    To look at each tensor as closely as a first step has to takes Python longer than all the rest. From the second step
    on, what can have changed is compared, list by list; `step` does nothing where anything has, but numbers.

    Parameters
    ----------
    optimizer : torch.optim.Optimizer
        Which has made a step of all its tensors. The tensors of its state that count are replaced by views of one.
    rows : list of tuple
        Of each tensor the parameter, its gradient, its moments, product and step, in the order of the groups.
    table : Table
        Of these tensors.
    """

    def __init__(self, optimizer, rows: list[tuple], table: Table):
        self._table = table
        self._params, _, *self._moments, products, steps = map(list, zip(*rows, strict=True))
        self._lists = [list(group["params"]) for group in optimizer.param_groups]
        self._group_of = np.repeat(np.arange(len(self._lists)), [len(params) for params in self._lists])
        self._products, self._steps = torch.stack(products), torch.stack(steps)
        for state, product, step in zip(optimizer.state.values(), self._products, self._steps, strict=True):
            state["mu_product"], state["step"] = product, step
        self._keys, self._states = list(optimizer.state), list(optimizer.state.values())
        self._counts = [list(map(get, self._states)) for get in _COUNTS]
        self._written = [tensor for row in rows for tensor in (row[0], *row[2:4])]
        self._places = self._present_places()
        spans = ordered_spans((p.data_ptr(), p.data_ptr() + p.nbytes) for p in self._params)
        self._starts, self._ends = map(np.array, spans)
        self._bytes = np.array([p.nbytes for p in self._params])
        self._safe = None

    @classmethod
    def made(cls, optimizer, rows: list[tuple], tables: dict) -> "Prepared | None":
        """The steps after one of these rows, if there is nothing special about them."""
        params = [p for group in optimizer.param_groups for p in group["params"]]
        if len(rows) != len(params) or not _are(params, [row[0] for row in rows]) or len(tables) != 1:
            return None
        is_plain = all(tensor.is_contiguous() for row in rows for tensor in (row[0], *row[2:4]))
        dtypes = {(row[4].dtype, row[5].dtype) for row in rows}
        if not is_plain or len(dtypes) != 1 or not _are(params, optimizer.state) or len(optimizer.state) != len(rows):
            return None
        ((_, _, table),) = tables.values()
        return cls(optimizer, rows, table)

    def step(self, optimizer, scalars_of: list) -> bool:
        """Make a step; False, and nothing is done, if anything is not as it was.

        Parameters
        ----------
        optimizer : torch.optim.Optimizer
        scalars_of : list of function or None
            Of each group, what makes scalars of the dtype of the product, the number of a step, and the product.
        """
        gradients = list(map(_gradient_of, self._params))
        if None in scalars_of or not self._is_current(optimizer) or not _suit(gradients):
            return False
        addresses = _addresses(gradients)
        if addresses != self._safe:
            # Without an address, a tensor is empty, or its storage has been resized.
            if 0 in addresses or self._overlap(np.array(addresses)):
                return False
            self._safe = addresses
        kinds, scalars = self._count(scalars_of)
        first = self._params[0]
        number = first.device.index or 0
        with device.on(number):
            stream = device.stream(number, _stream_of(first.device))
            self._table.send(addresses, kinds, scalars, stream)
            self._table.launch(kernels.update(TORCH.order, self._table.dtype, False, False, False, False), stream)
        increment_version(self._written)
        return True

    def _is_current(self, optimizer):
        groups = [group["params"] for group in optimizer.param_groups]
        return (
            len(groups) == len(self._lists)
            and all(map(_are, groups, self._lists))
            and _are(optimizer.state, self._keys)
            and _are(optimizer.state.values(), self._states)
            and all(_are(list(map(get, self._states)), known) for get, known in zip(_COUNTS, self._counts, strict=True))
            and self._present_places() == self._places
        )

    def _present_places(self):
        return _addresses(self._params), *(_addresses(map(get, self._states)) for get in _MOMENTS)

    def _overlap(self, addresses):
        """Whether a gradient shares memory with a parameter."""
        before = np.searchsorted(self._starts, addresses + self._bytes)
        return bool((self._ends[before - 1] > addresses)[before > 0].any())

    def _count(self, scalars_of):
        """Count a step: of each tensor the kind, and the scalars of each kind."""
        steps, products = self._steps.numpy(), self._products.numpy()
        steps += 1.0
        if len(self._lists) == 1 and (steps == steps[0]).all() and (products == products[0]).all():
            kinds, firsts = np.zeros(steps.size, np.int64), [0]
        else:
            together = np.stack([self._group_of, steps, products.astype(np.float64)])
            _, firsts, kinds = np.unique(together, axis=1, return_index=True, return_inverse=True)
        scalars = []
        made = np.empty(len(firsts))
        for kind, first in enumerate(firsts):
            of_group = scalars_of[self._group_of[first]]
            made[kind], numbers = of_group(self._products.dtype, float(steps[first]), float(products[first]))
            scalars.append(numbers)
        products[:] = made[kinds.reshape(-1)]
        return kinds.reshape(-1), scalars


def _are(some, others):
    """Whether these are the same objects in the same order."""
    return len(some) == len(others) and all(map(operator.is_, some, others))


def _addresses(tensors):
    return list(map(torch.Tensor.data_ptr, tensors))


def _suit(gradients):
    """Whether these are nothing but numbers, in the order that contiguous parameters have."""
    if set(map(type, gradients)) != {torch.Tensor} or any(map(_is_sparse, gradients)):
        return False
    if any(map(torch.Tensor.is_neg, gradients)) or not all(map(torch.Tensor.is_contiguous, gradients)):
        return False
    return not (gradients[0].is_complex() and any(map(torch.Tensor.is_conj, gradients)))
