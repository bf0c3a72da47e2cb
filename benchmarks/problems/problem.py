"""What a test problem consists of."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np


class Problem(NamedTuple):
    """An unconstrained minimisation problem with a known minimum.

    Attributes
    ----------
    name : str
        The published name.
    objective : Callable
        Compiled: ``objective(x, *args)`` returns the value and a new array, the gradient.
    x0 : np.ndarray
        The standard start.
    args : tuple
        Data and sizes that the objective takes besides `x`.
    minimum : float
        The lowest value known; NaN where none is published for the dimension.
    """

    name: str
    objective: Callable
    x0: np.ndarray
    args: tuple
    minimum: float
