"""Tables of addresses, which kernels find their arrays in: for arrays of one real dtype on one device."""

import numpy as np

from nadam_numba.gpu_arrays import device, kernels
from nadam_numba.rule import Scalars, element_scalars


class Table:
    """Addresses on a device, and the scalars that go with them.

    Parameters
    ----------
    rows : ndarray, shape (7, columns), int64
        The addresses of parameters and states, in the order of `kernels`, 0 where there is none; and the seeds.
    sizes : list of int
        How many real numbers the arrays have.
    dtype : dtype
        Of these numbers.
    number : int
        That of the device.
    """

    def __init__(self, rows: np.ndarray, sizes: list[int], dtype: np.dtype, number: int):
        self.columns, self.dtype, self.device = len(sizes), dtype, number
        chunks, counts = _chunks(sizes)
        self.chunks = len(chunks)
        firsts = np.cumsum(counts) - counts
        fixed = np.concatenate([rows.reshape(-1), firsts, counts, chunks.reshape(-1)]).astype(np.int64)
        self._fixed = device.sent("a table of addresses", fixed, number)
        self._changing = self._sent = self._partial = None

    def send(self, gradients: list[int], kinds: list[int], scalars: list[Scalars], stream, steps=0) -> None:
        """Send what a step needs: addresses of gradients, 0 for none; which of the scalars they have; past steps."""
        numbers = np.array([element_scalars(each, float) for each in scalars]).reshape(-1)
        with np.errstate(over="ignore"):  # beyond the range of float32 is infinite
            numbers = numbers.astype(self.dtype)
        self._send(gradients, kinds, numbers, stream, steps)

    def send_once(self, gradients: list[int], kinds: list[int], count: int, stream) -> int:
        """As `send`, with room for the scalars of so many kinds, whose address is returned; nothing is sent twice."""
        if (gradients, kinds) != self._sent:
            self._send(gradients, kinds, np.zeros(count * kernels.SCALARS, self.dtype), stream)
            self._sent = gradients, kinds
        return device.address_of(self._changing) + 8 * kernels.CHANGING_ROWS * self.columns

    def _send(self, gradients, kinds, numbers, stream, steps=0):
        self._sent = None
        changing = np.zeros(kernels.CHANGING_ROWS * self.columns + -(-numbers.nbytes // 8), np.int64)
        changing[: self.columns] = gradients
        changing[self.columns : 2 * self.columns] = kinds
        changing[2 * self.columns : 3 * self.columns] = steps
        changing[3 * self.columns :].view(self.dtype)[: numbers.size] = numbers
        if self._changing is None or self._changing.size != changing.size:
            self._changing = device.empty("a table of addresses", changing.size, np.int64, self.device)
        with device.on(self.device):
            self._changing.copy_to_device(changing, stream=stream)

    def launch(self, kernel, stream, extra: int = 0, shared: int = 0) -> None:
        """Launch a kernel that takes a table, with a block for each chunk; `extra` is its third argument."""
        addresses = device.address_of(self._fixed), device.address_of(self._changing)
        with device.on(self.device):
            device.launch_blocks(
                kernel, self.chunks, stream, *addresses, extra, self.columns, self.chunks, shared=shared
            )

    def launch_norms(self, kernel, stream, results: int) -> None:
        """Launch the kernel `sum_of_squares`, and `norms` on what it finds; `results` is where the norms go."""
        if self._partial is None:
            self._partial = device.empty("sums of squares", kernels.PARTS * self.chunks, np.float64, self.device)
        place = device.address_of(self._partial)
        self.launch(kernel, stream, place, kernels.SHARED_BYTES)
        arguments = device.address_of(self._fixed), place, results, self.columns, self.chunks
        with device.on(self.device):
            device.launch_blocks(kernels.norms, self.columns, stream, *arguments, shared=kernels.SHARED_BYTES)


def _chunks(sizes):
    """Triples (column, first number, how many), and how many of them each column has."""
    chunks = [
        (column, start, min(kernels.CHUNK, size - start))
        for column, size in enumerate(sizes)
        for start in range(0, size, kernels.CHUNK)
    ]
    counts = np.bincount([column for column, _, _ in chunks], minlength=len(sizes)) if chunks else np.zeros(len(sizes))
    return np.array(chunks, np.int64).reshape(-1, 3), counts.astype(np.int64)


def grouped(items: list, key) -> list[list]:
    """Items in lists by their keys, in the order in which each key came first."""
    found = {}
    for item in items:
        found.setdefault(key(item), []).append(item)
    return list(found.values())
