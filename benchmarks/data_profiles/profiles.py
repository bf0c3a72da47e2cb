"""Which problems are solved, and when.

J. J. Moré and S. M. Wild, "Benchmarking Derivative-Free Optimization Algorithms", SIAM J. Optim. 20 (2009) 172-191.
"""

import math

import numpy as np


def target_value(start_value, lowest_value, tolerance):
    """The value at which a problem counts as solved.

    Moré and Wild's test: ``start - value >= (1 - tolerance) * (start - lowest)``.
    """
    return start_value - (1.0 - tolerance) * (start_value - lowest_value)


def evaluations_to_reach(history, target):
    """The number of the first evaluation whose value is `target` or less; infinite if there is none."""
    reached = np.flatnonzero(history.values <= target)
    return float(history.evaluations[reached[0]]) if reached.size else math.inf


def share_solved(costs, budget):
    """The share of problems whose cost is within `budget`."""
    return float(np.mean(np.asarray(costs) <= budget))


def data_profile(costs):
    """The share of problems that are solved, as a function of the cost that is allowed.

    Parameters
    ----------
    costs : array_like
        Of each problem; infinite where it was not solved.

    Returns
    -------
    costs, shares : ndarray
        Of the steps: `shares[i]` of the problems cost no more than `costs[i]`.
    """
    costs = np.asarray(costs, dtype=np.float64)
    solved = np.sort(costs[np.isfinite(costs)])
    return solved, np.arange(1, solved.size + 1) / costs.size


def halves(names):
    """Divide problems in two: the places of every other one, and of those between.

    Starts of one problem, named alike but for what follows a comma, stay together.
    """
    kinds = list(dict.fromkeys(name.partition(",")[0] for name in names))
    numbers = np.array([kinds.index(name.partition(",")[0]) for name in names])
    return np.flatnonzero(numbers % 2 == 0), np.flatnonzero(numbers % 2 == 1)
