"""Steps of torch's CUDA tensors by the kernels of this package, on torch's streams."""

import numpy as np
import torch

from nadam_numba.dialects import TORCH
from nadam_numba.gpu_arrays import device, kernels
from nadam_numba.gpu_arrays.tables import Table, grouped, numbers_of
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
            kinds_of_group = [kinds[each] for _, _, each in group]
            table.send([g.data_ptr() for _, g, _ in group], kinds_of_group, numbers_of(scalars, table.dtype), stream)
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


def launcher(rows: list[tuple], tables: dict):
    """The function ``launch(addresses, kinds, scalars)`` that `_torch_prepared.Prepared` takes, after `step`.

    None if the rows were not all in one table.
    """
    if len(tables) != 1:
        return None
    ((_, _, table),) = tables.values()
    where = rows[0][0].device

    def launch(addresses, kinds, scalars):
        with device.on(table.device):
            stream = device.stream(table.device, _stream_of(where))
            table.send(addresses, kinds, numbers_of(scalars, table.dtype), stream)
            table.launch(kernels.update(TORCH.order, table.dtype, False, False, False, False), stream)

    return launch
