"""The floor: a kernel that moves as much memory as a step does, and computes next to nothing."""

import numba
import numpy as np

from nadam_numba import jit
from nadam_numba.bench.contender import Contender


def _move(parameter, first_moment, second_moment, fourth, gradient):
    """Read all arrays and write all but the gradient; `fourth` may be None."""
    for i in numba.prange(parameter.size):
        g = gradient[i]
        parameter[i] += g
        first_moment[i] += g
        second_moment[i] += g
        if fourth is not None:
            fourth[i] += g


_serial = jit.kernel(_move)
_parallel = jit.kernel(_move, parallel=True)


def arrays_written(case):
    """Three, and a fourth where an option keeps one more array; those and the gradient are read."""
    return 4 if case.options.get("amsgrad") or case.options.get("use_ema") else 3


def make(case):
    """The contender, on one array of all elements, in as many threads as ours takes for its size."""
    generator = np.random.default_rng(0)
    gradient = generator.standard_normal(case.elements, case.dtype)
    written = [np.zeros_like(gradient) for _ in range(arrays_written(case))]
    fourth = written[3] if len(written) == 4 else None
    move = _parallel if jit.use_threads(gradient.size) else _serial
    return Contender("copy kernel", lambda: move(*written[:3], fourth, gradient), lambda: written)
