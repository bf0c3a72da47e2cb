"""What a solver has found after how many evaluations."""

from typing import NamedTuple

import numpy as np


class BudgetSpent(Exception):
    """The solver has asked for an evaluation beyond its budget."""


class History(NamedTuple):
    """The evaluations that found a lower value than all before: their numbers, counted from 1, and these values."""

    evaluations: np.ndarray
    values: np.ndarray


class Recorder:
    """An objective that counts its evaluations, keeps the best point and ends the run when the budget is spent.

    Values that are not finite, or found outside the bounds, are no improvement.

    Parameters
    ----------
    objective : callable
        ``objective(x) -> (value, gradient)``.
    units : Units
        Of the solver's variables.
    box : Box or None
        In the problem's variables.
    budget : int
    """

    def __init__(self, objective, units, box, budget):
        self._objective = objective
        self._units = units
        self._box = None if box is None else _widened(box, units.origin)
        self._budget = budget
        self._improvements = []
        self.count = 0
        self.best_value = np.inf
        self.best_x = None

    def __call__(self, z):
        """Value and gradient with respect to the solver's variables."""
        if self.count == self._budget:
            raise BudgetSpent
        self.count += 1
        x = self._units.to_problem(z)
        value, gradient = self._objective(x)
        if value < self.best_value and value > -np.inf and self._is_inside(x):
            self.best_value, self.best_x = float(value), x
            self._improvements.append((self.count, self.best_value))
        return value, self._units.factors * gradient

    @property
    def history(self):
        """What was found when."""
        evaluations, values = zip(*self._improvements, strict=True) if self._improvements else ((), ())
        return History(np.array(evaluations, np.int64), np.array(values, np.float64))

    def _is_inside(self, x):
        return self._box is None or bool(np.all((self._box.lower <= x) & (x <= self._box.upper)))


def _widened(box, origin):
    """The box and what rounding may add, where its bounds are expressed in the solver's units and back."""
    tiny = 8.0 * np.finfo(np.float64).eps
    margins = [np.where(np.isfinite(bound), tiny * (np.abs(bound) + np.abs(origin)), 0.0) for bound in box]
    return type(box)(box.lower - margins[0], box.upper + margins[1])
