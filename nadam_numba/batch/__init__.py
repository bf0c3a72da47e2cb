"""Many independent problems at once."""

from nadam_numba.batch.frontend import best_of, minimize_batch

__all__ = ["best_of", "minimize_batch"]
