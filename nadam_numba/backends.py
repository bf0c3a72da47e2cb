"""Where the arrays of an optimizer are: in NumPy's memory, or on GPUs; and what steps them there."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from nadam_numba import gradients, table, update
from nadam_numba.arrays import Leaf, numpy_leaf
from nadam_numba.interfaces import is_on_gpu


class Backend(NamedTuple):
    """What differs between places.

    Attributes
    ----------
    gradient_of : callable
        As `gradients.gradient_of`.
    not_finite, update_arrays, accumulate_arrays, move_averages : callable
        As in `update`.
    make_plan : callable
        As in `table`.
    renew, catch_up : callable
        For steps that can be recorded, as in `gpu_arrays.update.GpuSteps`; None where there are no such.
    """

    gradient_of: Callable
    not_finite: Callable
    update_arrays: Callable
    accumulate_arrays: Callable
    move_averages: Callable
    make_plan: Callable
    renew: Callable | None = None
    catch_up: Callable | None = None


CPU = Backend(
    gradients.gradient_of,
    update.not_finite,
    update.update_arrays,
    update.accumulate_arrays,
    update.move_averages,
    table.make_plan,
)


def leaf_of(name: str, array, path: str) -> Leaf:
    """The checked leaf of a NumPy array, or of one on a GPU."""
    if isinstance(array, (np.ndarray, np.generic)) or not is_on_gpu(array):
        return numpy_leaf(name, array, path)
    # Not before they are needed, for they load CUDA; and the kernels not before what they need is there.
    from nadam_numba import gpu

    gpu.require(f"{name}, an array on a GPU,")
    from nadam_numba.gpu_arrays.arrays import gpu_leaf

    return gpu_leaf(name, array, path)


def backend_of(leaves: list[Leaf]) -> Backend:
    """What steps these leaves; TypeError if they are not all in one kind of memory."""
    on_host = [leaf for leaf in leaves if type(leaf) is Leaf]
    if len(on_host) == len(leaves):
        return CPU
    if on_host:
        other = next(leaf for leaf in leaves if type(leaf) is not Leaf)
        raise TypeError(
            f"{on_host[0].name} is a NumPy array, and {other.name} is on a GPU: an optimizer's arrays must all be in "
            "NumPy's memory, or all on GPUs"
        )
    from nadam_numba.gpu_arrays.prepared import make_plan
    from nadam_numba.gpu_arrays.update import GpuSteps

    steps = GpuSteps()
    return Backend(
        steps.gradient_of,
        steps.not_finite,
        steps.update_arrays,
        steps.accumulate_arrays,
        steps.move_averages,
        functools.partial(make_plan, steps),
        steps.renew,
        steps.catch_up,
    )
