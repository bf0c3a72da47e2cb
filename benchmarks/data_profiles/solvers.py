"""The solvers that are compared, each as a function that minimises with value and gradient from one callable."""

import contextlib
import warnings
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import scipy.optimize

import nadam_numba

from .record import BudgetSpent

OURS = "nadam_numba"
SCIPY_DEFAULT = "L-BFGS-B, its own stops"


class Solver(NamedTuple):
    """A solver.

    Attributes
    ----------
    name : str
    minimize : callable
        ``minimize(objective, z0, args, bounds, budget)``, where ``objective(z, *args) -> (value, gradient)``, `bounds`
        is a `scipy.optimize.Bounds` or None, and `budget` bounds the evaluations.
    takes_bounds, takes_unbounded : bool
        Which problems it is for.
    largest_budget : float
        Evaluations that it gets at most.
    """

    name: str
    minimize: Callable
    takes_bounds: bool = True
    takes_unbounded: bool = True
    largest_budget: float = np.inf


def _nadam_numba(**options):
    def minimize(objective, z0, args, bounds, budget):
        limits = {"maxiter": budget, "maxfev": budget}
        return nadam_numba.minimize(objective, z0, args, jac=True, bounds=bounds, options={**limits, **options})

    return minimize


def _scipy(method, limits=("maxiter",), **options):
    def minimize(objective, z0, args, bounds, budget):
        settings = {**dict.fromkeys(limits, budget), **options}
        return scipy.optimize.minimize(objective, z0, args, method, jac=True, bounds=bounds, options=settings)

    return minimize


def _nelder_mead(objective, z0, args, bounds, budget):
    def value(z, *args):
        return objective(z, *args)[0]

    options = {"maxiter": budget, "maxfev": budget, "xatol": 0.0, "fatol": 0.0}
    return scipy.optimize.minimize(value, z0, args, "Nelder-Mead", bounds=bounds, options=options)


def _in_units_of_start(minimize):
    """The method on variables divided by the size of their start, where that is not 0."""

    def rescaled(objective, z0, args, bounds, budget):
        factors = np.where(z0 == 0.0, 1.0, np.abs(z0))

        def in_units(y, *args):
            value, gradient = objective(factors * y, *args)
            return value, factors * gradient

        if bounds is not None:
            bounds = scipy.optimize.Bounds(bounds.lb / factors, bounds.ub / factors)
        return minimize(in_units, z0 / factors, args, bounds, budget)

    return rescaled


_l_bfgs_b = _scipy("L-BFGS-B", ("maxiter", "maxfun"), ftol=0.0, gtol=0.0)

# SciPy's tests for convergence are off, as far as they can be, so that nothing but the budget or a failing line search
# ends a run; its other options are the defaults.
SOLVERS = (
    Solver(OURS, _nadam_numba()),
    Solver(f"{OURS}, gtol=0", _nadam_numba(gtol=0.0)),
    Solver("L-BFGS-B", _l_bfgs_b),
    Solver(SCIPY_DEFAULT, _scipy("L-BFGS-B", ("maxiter", "maxfun"))),
    Solver("L-BFGS-B on x / abs(x0)", _in_units_of_start(_l_bfgs_b)),
    Solver("BFGS", _scipy("BFGS", gtol=0.0), takes_bounds=False),
    Solver("CG", _scipy("CG", gtol=0.0), takes_bounds=False),
    Solver("TNC", _scipy("TNC", ("maxfun",), ftol=0.0, xtol=0.0, gtol=0.0), takes_unbounded=False),
    Solver("SLSQP", _scipy("SLSQP", ftol=0.0), takes_unbounded=False),
    Solver("Nelder-Mead", _nelder_mead),
)


def solvers_for(is_bounded):
    """Those that solve such problems."""
    return [solver for solver in SOLVERS if (solver.takes_bounds if is_bounded else solver.takes_unbounded)]


def run(solver, recorder, z0, bounds, budget):
    """Let a solver minimise what `recorder` records, until it ends or the budget does.

    Returns
    -------
    str
        The exception that the solver raised by itself, or "".
    """
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            with contextlib.suppress(BudgetSpent):
                solver.minimize(recorder, z0, (), bounds, budget)
        except (ArithmeticError, ValueError, np.linalg.LinAlgError) as error:
            return f"{type(error).__name__}: {error}"
    return ""
