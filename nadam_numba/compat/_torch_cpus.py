"""Steps of torch's CPU tensors by one call of compiled code for all of them."""

from collections.abc import Callable

import numpy as np
import torch

from nadam_numba import table, table_kernels

_REAL_DTYPES = {torch.float32: np.float32, torch.float64: np.float64}
_GRADIENT = 3


def launcher(rows: list[tuple]) -> Callable:
    """The function ``launch(addresses, kinds, scalars)`` that `_torch_prepared.Prepared` takes.

    Parameters
    ----------
    rows : list of tuple
        Of each tensor the parameter, its gradient, and its moments: contiguous, of one dtype.
    """
    params = [row[0] for row in rows]
    like = np.empty(0, _REAL_DTYPES[params[0].dtype.to_real()])
    places = np.array([[row[k].data_ptr() for row in rows] for k in (0, 2, 3, 1)], np.int64)
    sizes = [p.numel() * (2 if p.is_complex() else 1) for p in params]
    chunks = table.chunks_of(sizes)
    loop = table.make_loop(table_kernels.step_at_as_torch, sizes)

    def launch(addresses, kinds, scalars):
        places[_GRADIENT] = addresses
        loop._replace(arguments=(places, chunks, kinds, np.array(scalars, np.float64), like)).run()

    return launch
