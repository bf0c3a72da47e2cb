"""The bounds of a batch: the same in all rows, or others in each."""

import numpy as np

from nadam_numba.minimize.bounds import make_bounds


def make_batch_bounds(bounds, x0s):
    """Check the bounds of a batch and bring them into the form that its loops take.

    Parameters
    ----------
    bounds : scipy.optimize.Bounds, sequence of (min, max), array of shape (B, n, 2), or None
        The ends of a `Bounds` may be of shape (B, n).
    x0s : ndarray, shape (B, n)
        Only its shape and dtype matter.

    Returns
    -------
    lower, upper : ndarray, shape (n,) or (B, n), or None
        As from `minimize.bounds.make_bounds`.

    Raises
    ------
    TypeError, ValueError
        If a bound is no number, or there is no number between two.
    """
    ends = _ends_of_rows(bounds)
    if ends is None:
        return make_bounds(bounds, np.empty(x0s.shape[1], x0s.dtype))
    try:
        lower, upper = (np.broadcast_to(end, x0s.shape) for end in ends)
    except ValueError:
        shapes = " and ".join(str(end.shape) for end in ends)
        raise ValueError(f"bounds of shape {shapes}: they must fit x0s, of shape {x0s.shape}") from None
    is_empty = ~((lower <= upper) & (lower < np.inf) & (upper > -np.inf))
    for row, variable in np.argwhere(is_empty):
        raise ValueError(
            f"bounds: no number is between {lower[row, variable]} and {upper[row, variable]}, the bounds of variable "
            f"{variable} in row {row}"
        )
    flat = make_bounds(np.column_stack([lower.ravel(), upper.ravel()]), np.empty(x0s.size, x0s.dtype))
    return tuple(None if end is None else end.reshape(x0s.shape) for end in flat)


def _ends_of_rows(bounds):
    """Lower and upper ends as arrays, if they are those of rows; None if all rows share them."""
    if isinstance(bounds, np.ndarray) and bounds.ndim == 3 and bounds.shape[2] == 2:
        return bounds[..., 0], bounds[..., 1]
    if hasattr(bounds, "lb") and hasattr(bounds, "ub") and max(np.ndim(bounds.lb), np.ndim(bounds.ub)) == 2:
        return np.asarray(bounds.lb, np.float64), np.asarray(bounds.ub, np.float64)
    return None
