"""The floor: a kernel that moves as much memory as a step does, and computes next to nothing."""

import numba
import numpy as np

from nadam_numba import jit
from nadam_numba.bench.contender import Contender
from nadam_numba.bench.memory import aligned_copy


def _move(parameter, first_moment, second_moment, fourth, gradient):
    """Read all arrays and write all but the gradient; the moments may be integers, and `fourth` may be None."""
    one = first_moment.dtype.type(1)
    for i in numba.prange(parameter.size):
        g = gradient[i]
        parameter[i] += g
        first_moment[i] += one
        second_moment[i] += one
        if fourth is not None:
            fourth[i] += g


move_serial = jit.kernel(_move)
move_parallel = jit.kernel(_move, parallel=True)


def arrays_written(case):
    """How many arrays a step writes; it reads these and the gradient.

    Three, and a fourth where an option keeps one more; None where a step also reads the gradient for its norm, or does
    not always do the same.
    """
    if case.options.keys() & {"global_clipnorm", "gradient_accumulation_steps"}:
        return None
    return 4 if case.options.keys() & {"amsgrad", "use_ema"} else 3


def make(case):
    """The contender, on one array of all elements, in as many threads as ours takes for its size.

    None where its traffic would not be that of a step.
    """
    count = arrays_written(case)
    if count is None:
        return None
    generator = np.random.default_rng(0)
    gradient = aligned_copy(generator.standard_normal(case.elements, case.dtype), 3)
    moments = gradient.dtype if case.options.get("state_dtype") is None else np.uint16
    dtypes = (gradient.dtype, moments, moments, gradient.dtype)
    written = [aligned_copy(np.zeros(gradient.size, dtypes[place]), place) for place in range(count)]
    fourth = written[3] if count == 4 else None
    move = move_parallel if jit.use_threads(gradient.size) else move_serial
    return Contender("copy kernel", lambda: move(*written[:3], fourth, gradient), lambda: written)
