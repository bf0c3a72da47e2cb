"""Norms of gradients on a device, and the factors by which these are clipped."""

import math

import numpy as np

from nadam_numba.gpu_arrays import device, kernels


class Clipping:
    """Room for the norms of arrays on one device, one part after the other, and for what follows from them.

    Parameters
    ----------
    limits : list of float or None
        What the norm of each array may be.
    number : int
        That of the device.
    """

    def __init__(self, limits: list[float | None], number: int):
        self.limits, self.device = limits, number
        numbers = np.array([math.inf if limit is None else limit for limit in limits])
        self._sent = device.sent("limits of norms", numbers, number)
        self.found = device.empty("norms of gradients", len(limits), np.float64, number)
        self._singles = device.empty("factors of gradients", len(limits), np.float32, number)
        self._doubles = device.empty("factors of gradients", len(limits), np.float64, number)

    def launch_norms(self, parts: list) -> None:
        """Find the norms."""
        place = device.address_of(self.found)
        for part in parts:
            kernel = kernels.sum_of_squares(part.table.dtype, part.has("accumulated"))
            part.table.launch_norms(kernel, part.stream, place)
            place += self.found.dtype.itemsize * part.table.columns

    def launch(self, parts: list, global_limit: float) -> None:
        """Find the norms and the factors."""
        self.launch_norms(parts)
        arrays = self.found, self._sent, self._singles, self._doubles
        found, limits, singles, doubles = map(device.address_of, arrays)
        count = len(self.limits)
        arguments = found, limits, float(global_limit), singles, doubles, count
        device.launch_blocks(kernels.clip_factors, 1, parts[0].stream, *arguments, shared=kernels.SHARED_BYTES)

    def take(self, factors: list[float]) -> None:
        """Take factors from the host."""
        for array in (self._singles, self._doubles):
            with device.on(self.device):
                array.copy_to_device(np.array(factors, array.dtype))
                device.synchronize()

    def places(self, parts: list) -> dict[int, int]:
        """By the id of each part, the address of the factors of its arrays."""
        places, start = {}, 0
        for part in parts:
            array = self._singles if part.table.dtype == np.float32 else self._doubles
            places[id(part)] = device.address_of(array) + array.dtype.itemsize * start
            start += part.table.columns
        return places
