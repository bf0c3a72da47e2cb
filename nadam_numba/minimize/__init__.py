"""Minimisation of a function of one or more variables, with SciPy's interface."""

from nadam_numba.minimize import nopython  # noqa: F401 - tells Numba of `minimize`
from nadam_numba.minimize.frontend import minimize, nadam

__all__ = ["minimize", "nadam"]
