"""NAdam, the Adam optimizer with Nesterov momentum, compiled with Numba."""

from nadam_numba import schedules
from nadam_numba.batch import best_of, minimize_batch
from nadam_numba.checkpoint import load_checkpoint
from nadam_numba.minimize import minimize, nadam
from nadam_numba.optimizer import NAdam
from nadam_numba.warmup import warmup

__all__ = ["NAdam", "best_of", "load_checkpoint", "minimize", "minimize_batch", "nadam", "schedules", "warmup"]
__version__ = "0.1.0"
