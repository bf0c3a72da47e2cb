"""What is measured: the cases of each group, and the arrays they are made of."""

from typing import NamedTuple

import numpy as np

from nadam_numba.bench.memory import aligned_copy

GROUPS = {
    "sizes": "One array, by its number of elements",
    "arrays": "Many arrays",
    "options": "Options",
    "sparse": "Row-sparse gradients",
    "minimize": "Minimisation of the 2-D Rosenbrock function with its gradient, per iteration",
}
OPTIONS = {
    "none": {},
    "amsgrad": {"amsgrad": True},
    "moving average": {"use_ema": True},
    "global clip": {"global_clipnorm": 1.0},
    "clip by value": {"clipvalue": 1.0},
    "decoupled decay": {"weight_decay": 0.01, "decoupled_weight_decay": True},
    "accumulation of 4": {"gradient_accumulation_steps": 4},
    "bfloat16 moments": {"state_dtype": "bfloat16"},
}
# Arrays that an option makes a step read or write besides the seven.
_FURTHER_ARRAYS = {"amsgrad": 2, "use_ema": 2, "global_clipnorm": 1}
# Columns of the tables of which some rows have a gradient.
WIDTH = 64
_DTYPES = ("float32", "float64")


class Case(NamedTuple):
    """One measurement.

    Attributes
    ----------
    group : str
        One of `GROUPS`.
    name : str
    dtype : str
    count, size : int
        Number of arrays, and elements of each. In the group "sparse" the rows of the table and how many of them have a
        gradient; in "minimize" both are 0.
    options : dict
        Keyword arguments of `nadam_numba.NAdam`.
    """

    group: str
    name: str
    dtype: str
    count: int = 0
    size: int = 0
    options: dict = {}  # noqa: RUF012 - a tuple's default; nobody writes to it

    @property
    def elements(self):
        """Of all parameters."""
        return self.count * (WIDTH if self.group == "sparse" else self.size)

    @property
    def bytes_per_element(self):
        """What a step reads and writes; None where that differs from step to step."""
        if self.group in ("sparse", "minimize") or "gradient_accumulation_steps" in self.options:
            return None
        arrays = 7 + sum(_FURTHER_ARRAYS.get(option, 0) for option in self.options)
        itemsize = np.dtype(self.dtype).itemsize
        if self.options.get("state_dtype") is None:
            return arrays * itemsize
        moments = 6 if "amsgrad" in self.options else 4
        return (arrays - moments) * itemsize + moments * 2


def make_cases(groups, quick=False, largest=None):
    """List the cases of some groups.

    Parameters
    ----------
    groups : sequence of str
        Of `GROUPS`.
    quick : bool
        Small ones that take seconds.
    largest : int, optional
        Leave out those of more elements.

    Returns
    -------
    list of Case
    """
    makers = {"sizes": _sizes, "arrays": _arrays, "options": _options, "sparse": _sparse, "minimize": _minimize}
    cases = [case for group in GROUPS if group in groups for case in makers[group](quick)]
    return [case for case in cases if largest is None or case.elements <= largest]


def _sizes(quick):
    exponents = (1, 3, 5) if quick else range(1, 9)
    return [Case("sizes", f"{10**e:,}", dtype, 1, 10**e) for dtype in _DTYPES for e in exponents]


def _arrays(quick):
    shapes = [(20, 1_000)] if quick else [(100, 10_000), (2_000, 1_000), (2_000, 10)]
    dtypes = _DTYPES[:1] if quick else _DTYPES
    return [Case("arrays", f"{count:,} x {size:,}", dtype, count, size) for dtype in dtypes for count, size in shapes]


def _options(quick):
    sizes = (10_000,) if quick else (1_000_000, 10_000_000)
    dtypes = _DTYPES[:1] if quick else _DTYPES
    return [
        Case("options", f"{name}, {size:,}", dtype, 1, size, options)
        for dtype in dtypes
        for size in sizes
        for name, options in OPTIONS.items()
    ]


def _sparse(quick):
    tables = [(1_000, 10)] if quick else [(100_000, 100), (100_000, 10_000), (1_000_000, 100), (1_000_000, 10_000)]
    return [Case("sparse", f"{touched:,} rows of {rows:,}", "float32", rows, touched) for rows, touched in tables]


def _minimize(quick):
    return [Case("minimize", name, "float64") for name in ("fixed rate", "to the minimum")]


def make_arrays(case):
    """The parameters and gradients of a case, the same each time.

    Returns
    -------
    parameters, gradients : list of ndarray
    """
    generator = np.random.default_rng(0)
    places = [0, 3]  # the moments take those in between
    return tuple(
        [aligned_copy(generator.standard_normal(case.size, case.dtype), place) for _ in range(case.count)]
        for place in places
    )
