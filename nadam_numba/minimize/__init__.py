"""Minimisation of a function of one or more variables, with SciPy's interface."""

from nadam_numba.minimize.frontend import minimize, nadam

__all__ = ["minimize", "nadam"]
