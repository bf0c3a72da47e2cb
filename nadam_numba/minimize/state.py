"""What each loop of minimize keeps in common: the form in which `run` and `result` read it.

A state is a NamedTuple with the fields x, gradient, best_x, best_gradient (arrays of one dtype) and numbers, an array
of one record that has the fields below, and whatever else the loop needs. A loop changes it in place, so that
nothing is lost when an exception ends it.
"""

import numpy as np

COMMON_NUMBERS = [
    ("value", np.float64),  # of the objective at x
    ("norm", np.float64),  # largest component of the projected gradient there
    ("learning_rate", np.float64),  # of the last step; NaN before the first
    ("best_value", np.float64),
    ("best_norm", np.float64),
    ("best_iteration", np.int64),  # the last that improved best_value
    ("iterations", np.int64),
    ("values", np.int64),  # evaluations of the objective, but for those that gradients take by differences
    ("gradients", np.int64),  # evaluations of the gradient
    ("stop", np.int64),  # code of a `result.Stop`
]
