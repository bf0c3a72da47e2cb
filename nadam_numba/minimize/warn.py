"""Warnings that point at the user's line."""

import sys
import warnings

_INNER = {"nadam_numba", "scipy"}


def warn_user(message, category):
    """Warn as of the first caller that is neither this package nor SciPy, through which a run may have come."""
    level, frame = 2, sys._getframe(1)
    while frame is not None and frame.f_globals.get("__name__", "").partition(".")[0] in _INNER:
        level, frame = level + 1, frame.f_back
    warnings.warn(message, category, stacklevel=level)
