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
        self._addresses = None
        self._changing = self._host = self._integers = self._numbers = None
        self._sent = self._partial = None

    def send(self, gradients, kinds, numbers: np.ndarray, stream, steps=0) -> None:
        """Send what a step needs.

        Parameters
        ----------
        gradients, kinds, steps : sequence of int, or int
            Of each column: the address of its gradient, 0 for none; the row of its numbers; how many steps it has made.
        numbers : ndarray, shape (kinds, SCALARS)
            From `numbers_of`.
        stream
        """
        self._sent = None
        self._make_room(numbers.shape[0])
        for row, values in ((kernels.GRADIENT, gradients), (kernels.KIND, kinds), (kernels.STEP, steps)):
            self._integers[row] = values
        self._numbers[:] = numbers
        with device.on(self.device):
            self._changing.copy_to_device(self._host, stream=stream)

    def send_once(self, gradients: list[int], kinds: list[int], count: int, stream) -> int:
        """As `send`, with room for the numbers of so many kinds, whose address is returned; nothing is sent twice."""
        if (gradients, kinds) != self._sent:
            self.send(gradients, kinds, np.zeros((count, kernels.SCALARS), self.dtype), stream)
            self._sent = gradients, kinds
        return self._addresses[1] + 8 * kernels.CHANGING_ROWS * self.columns

    def _make_room(self, kinds):
        """Have room, here and on the device, for what is sent with numbers of so many kinds."""
        if self._numbers is not None and len(self._numbers) == kinds:
            return
        integers, numbers = kernels.CHANGING_ROWS * self.columns, kinds * kernels.SCALARS
        host = np.zeros(integers - (-numbers * self.dtype.itemsize // 8), np.int64)
        self._changing = device.empty("a table of addresses", host.size, np.int64, self.device)
        # To ask arrays where they are takes as long as to ask the card to start.
        self._addresses = device.address_of(self._fixed), device.address_of(self._changing)
        self._host, self._integers = host, host[:integers].reshape(kernels.CHANGING_ROWS, self.columns)
        self._numbers = host[integers:].view(self.dtype)[:numbers].reshape(kinds, kernels.SCALARS)

    def launch(self, kernel, stream, extra: int = 0, shared: int = 0) -> None:
        """Launch a kernel that takes a table, with a block for each chunk; `extra` is its third argument."""
        arguments = *self._addresses, extra, self.columns, self.chunks
        with device.on(self.device):
            device.launch_blocks(kernel, self.chunks, stream, *arguments, shared=shared)

    def launch_norms(self, kernel, stream, results: int) -> None:
        """Launch the kernel `sum_of_squares`, and `norms` on what it finds; `results` is where the norms go."""
        if self._partial is None:
            self._partial = device.empty("sums of squares", kernels.PARTS * self.chunks, np.float64, self.device)
        place = device.address_of(self._partial)
        self.launch(kernel, stream, place, kernels.SHARED_BYTES)
        arguments = self._addresses[0], place, results, self.columns, self.chunks
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


def numbers_of(scalars: list[Scalars], dtype: np.dtype) -> np.ndarray:
    """What elements take of scalars of several kinds, a row for each."""
    with np.errstate(over="ignore"):  # beyond the range of float32 is infinite
        return np.array([element_scalars(each, float) for each in scalars]).astype(dtype)


def grouped(items: list, key) -> list[list]:
    """Items in lists by their keys, in the order in which each key came first."""
    found = {}
    for item in items:
        found.setdefault(key(item), []).append(item)
    return list(found.values())
