"""Whether a contender computes what ours does: a time is worth nothing without that."""

import numpy as np

from nadam_numba.bench.contender import FACTORS

# Of the way that the parameters went. torch and Keras keep some scalars in float32; the steps of another rule, such as
# Adam or another momentum schedule, differ by a tenth and more.
TOLERANCES = {"float32": 1e-3, "float64": 1e-6}
# Units in the last place of the parameters that the rounding of each step may take besides.
_ROUNDINGS = 4


class Disagreement(RuntimeError):
    """A contender's parameters are not those of ours."""


def check(contender):
    """Step a contender and compare it with what is expected of it.

    Parameters
    ----------
    contender : Contender

    Raises
    ------
    Disagreement
        If the parameters have not moved, or are elsewhere.
    """
    if contender.expected is None:
        contender.step()
        contender.finish()
        return
    start = [array.copy() for array in contender.result()]
    for factor in FACTORS:
        contender.scale(factor)
        contender.step()
        contender.finish()
    contender.scale(1.0)
    for number, (begin, theirs, ours) in enumerate(zip(start, contender.result(), contender.expected(), strict=True)):
        way, deviation, allowed = _distances(begin, theirs, ours, contender.tolerance)
        if not (way > 0.0 and deviation <= allowed):
            raise Disagreement(
                f"{contender.name}: after {len(FACTORS)} steps its array {number} deviates by {deviation:.2g} from "
                f"ours, which has moved by {way:.2g}; allowed are {allowed:.2g}"
            )


def _distances(begin, theirs, ours, tolerance):
    """How far our parameters moved, how far theirs are from ours, and how far they may be."""
    if tolerance is None:
        tolerance = TOLERANCES[ours.dtype.name]
    way = float(np.abs(ours - begin).max())
    roundings = _ROUNDINGS * len(FACTORS) * np.finfo(ours.dtype).eps * float(np.abs(ours).max())
    return way, float(np.abs(theirs - ours).max()), tolerance * way + roundings
