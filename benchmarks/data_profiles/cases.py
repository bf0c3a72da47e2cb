"""Cases made of a test problem: with bounds, in other units, from another origin.

Everything random comes from generators that are seeded with the problem's name.
"""

import zlib
from typing import NamedTuple

import numpy as np

# Factors of the variables are log-uniform between 10**-DECADES and 10**DECADES.
DECADES = 3.0


class Case(NamedTuple):
    """How the solver sees a problem: x = origin + factors * z, and f(x) as a function of z.

    Attributes
    ----------
    problem : int
        Place of the problem in the list.
    is_bounded : bool
    units : str
        "own": the factors are 1; "rescaled": they are random; "from zero": random, and the origin is x0, so that the
        solver starts at 0.
    seed : int
        Of the factors.
    """

    problem: int
    is_bounded: bool
    units: str
    seed: int


class Box(NamedTuple):
    """Bounds, infinite where there are none."""

    lower: np.ndarray
    upper: np.ndarray


class Units(NamedTuple):
    """The solver's variables z, from those of the problem: x = origin + factors * z."""

    origin: np.ndarray
    factors: np.ndarray

    def to_solver(self, x):
        """The solver's variables."""
        return (x - self.origin) / self.factors

    def to_problem(self, z):
        """The problem's variables."""
        return self.origin + self.factors * z


def make_cases(problem_count, seeds):
    """List the cases of all problems: bounded and not, in their own units, rescaled with each seed, and from zero."""
    units = [("own", 0), *(("rescaled", seed) for seed in range(seeds)), ("from zero", 0)]
    return [
        Case(problem, is_bounded, *unit)
        for problem in range(problem_count)
        for is_bounded in (False, True)
        for unit in units
    ]


def make_units(case, problem):
    """The units of a case."""
    origin, factors = np.zeros_like(problem.x0), np.ones_like(problem.x0)
    if case.units != "own":
        generator = _generator(problem, "units", case.seed)
        factors = 10.0 ** generator.uniform(-DECADES, DECADES, problem.x0.size)
    if case.units == "from zero":
        origin = problem.x0.copy()
    return Units(origin, factors)


def make_box(problem, minimiser, has_fixed):
    """Bounds about the start that cut the minimiser off.

    In a third of the variables (rounded, at least one), of those in which `minimiser` differs from the start, a bound
    lies between the two, after 20 to 80 % of the way. All other bounds lie beyond both, by 10 to 100 % of the larger
    of the way and the size of the start; a quarter of them are infinite. The start is inside.

    Parameters
    ----------
    problem : Problem
    minimiser : ndarray, shape (n,)
        Of the problem without bounds. Only its first three digits count, so that rounding does not change the box.
    has_fixed : bool
        Whether one variable that is not cut is fixed at its start, where there are three or more.
    """
    generator = _generator(problem, "box")
    x0 = problem.x0
    n = x0.size
    way = np.array([float(f"{distance:.2e}") for distance in minimiser - x0])
    size = np.maximum(np.abs(way), np.abs(x0))
    size[size == 0.0] = 1.0
    beyond = generator.uniform(0.1, 1.0, (2, n)) * size
    beyond[generator.random((2, n)) < 0.25] = np.inf
    lower = x0 + np.minimum(way, 0.0) - beyond[0]
    upper = x0 + np.maximum(way, 0.0) + beyond[1]

    order = generator.permutation(n)
    share = generator.uniform(0.2, 0.8, n)
    moved = order[np.abs(way[order]) > 1e-3 * size[order]]
    cut = moved[: max(1, round(n / 3))]
    for i in cut:
        (upper if way[i] > 0.0 else lower)[i] = x0[i] + share[i] * way[i]
    if has_fixed and n >= 3:
        fixed = np.setdiff1d(order, cut, assume_unique=True)[0]
        lower[fixed] = upper[fixed] = x0[fixed]
    return Box(lower, upper)


def _generator(problem, *purpose):
    return np.random.default_rng([zlib.crc32(repr(part).encode()) for part in (problem.name, *purpose)])
