"""One test problem of the benchmarks."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np


class Problem(NamedTuple):
    """A smooth objective with its start and its lowest known value."""

    name: str
    objective: Callable  # compiled: objective(x, *args) -> (value, gradient)
    x0: np.ndarray
    args: tuple
    minimum: float  # lowest known value
