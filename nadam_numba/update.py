"""One step of many arrays: norms first, then a single pass over each array."""

import dataclasses
import math
import zlib
from collections.abc import Callable

import numpy as np

from nadam_numba import bfloat16, cpu
from nadam_numba.arrays import Leaf
from nadam_numba.dialects import Dialect
from nadam_numba.gradients import Rows, conditioned, dense, is_finite, summed
from nadam_numba.hyperparameters import Hyperparameters, Options
from nadam_numba.rule import Scalars

# The arrays of a state, which may be None.
STATE_ARRAYS = ("first_moment", "second_moment", "largest_moment", "average", "accumulated")
# Those that may be kept as bits of bfloat16.
MOMENTS = ("first_moment", "second_moment", "largest_moment")


@dataclasses.dataclass(slots=True, eq=False)
class LeafState:
    """What is remembered of one parameter array; moments and sums are flat, in the order of `leaf`.

    Attributes
    ----------
    leaf : Leaf
    first_moment, second_moment : ndarray, shape (leaf.size,)
        Of the leaf's real dtype, or bits of bfloat16, as is the largest moment then.
    largest_moment, average, accumulated : ndarray, shape (leaf.size,), or None
        With amsgrad; with a moving average of the parameter; with accumulation of gradients.
    iterations : int
        Number of updates.
    mu_product : float
        Product of the momentum coefficients so far.
    is_decayed : bool
        Whether weight decay applies to it.
    seed : int
        Of the noise that rounds moments in bfloat16.
    """

    leaf: Leaf
    first_moment: np.ndarray | None = None
    second_moment: np.ndarray | None = None
    largest_moment: np.ndarray | None = None
    average: np.ndarray | None = None
    accumulated: np.ndarray | None = None
    iterations: int = 0
    mu_product: float = 1.0
    is_decayed: bool = True
    seed: int = 0

    @classmethod
    def fresh(cls, leaf: Leaf, options: Options, group: int = 0) -> "LeafState":
        """The state before the first step; `group` is the number of the group that the array is in."""
        dtype = leaf.real_dtype if options.state_dtype is None else bfloat16.BITS
        state = cls(leaf, seed=seed_of(leaf, group))
        state.first_moment = leaf.zeros(dtype, state.arrays)
        state.second_moment = leaf.zeros(dtype, state.arrays)
        if options.use_ema:
            # The average takes the value of the parameter in the first step, if the step reaches it.
            state.average = leaf.elements(state.arrays)
        if options.gradient_accumulation_steps:
            state.accumulated = leaf.zeros(leaf.real_dtype, state.arrays)
        return state

    @classmethod
    def of_copies(cls, leaf: Leaf, arrays: dict, copy: Callable, **others) -> "LeafState":
        """A state of copies of `arrays`, by name, each made by ``copy(array, beside)``; and of other attributes."""
        state = cls(leaf, **others)
        for name in STATE_ARRAYS:
            if arrays[name] is not None:
                setattr(state, name, copy(arrays[name], state.arrays))
        return state

    @property
    def arrays(self) -> list[np.ndarray]:
        """Its arrays, without those that are None."""
        return [array for array in (getattr(self, name) for name in STATE_ARRAYS) if array is not None]

    def copy(self) -> "LeafState":
        """The same with arrays of its own, but for the parameter."""
        attributes = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        arrays = {name: attributes.pop(name) for name in STATE_ARRAYS}
        leaf = attributes.pop("leaf")
        return self.of_copies(leaf, arrays, leaf.copy_of, **attributes)

    def largest_of_zeros(self) -> np.ndarray:
        """What amsgrad's largest moment is before the first step."""
        return self.leaf.zeros(self.second_moment.dtype, self.arrays)


def seed_of(leaf: Leaf, group: int) -> int:
    """A number that differs between the arrays of an optimizer, and does not depend on the order of a dict."""
    return zlib.crc32(f"{group}/{leaf.path}".encode())


NO_UPDATE = Scalars(*[0.0] * 7)
_CONDITIONING = ("gradient_scale", "accumulated_share", "gradient_limit", "gradient_factor")


@dataclasses.dataclass(slots=True, eq=False)
class _Update:
    """One array's part of a step: its state, its gradient, and the numbers for both."""

    state: LeafState
    hyper: Hyperparameters
    gradient: np.ndarray | Rows
    scalars: Scalars


def update_arrays(
    arrays: list[tuple[LeafState, Hyperparameters, float]],
    gradients: list[np.ndarray | Rows | None],
    dialect: Dialect,
    options: Options,
    averaging: tuple[float, bool] | tuple[()] = (),
) -> set[LeafState]:
    """Step arrays, and their state, in place.

    Parameters
    ----------
    arrays : list of (LeafState, Hyperparameters, learning rate)
    gradients : list of None, ndarray or Rows
        One for each array; None leaves it alone.
    dialect : Dialect
    options : Options
    averaging : (average_momentum, is_overwritten), optional
        Of `rule.Scalars`.

    Returns
    -------
    set of LeafState
        Those of arrays with a gradient.
    """
    updates, counted, known = [], [], {}
    for (state, hyper, learning_rate), gradient in zip(arrays, gradients, strict=True):
        if gradient is None and dialect.sums == "used" and state.accumulated is not None and state.accumulated.any():
            gradient = np.zeros_like(state.accumulated)
        if gradient is None and not dialect.ages_together:
            continue
        # Most arrays have all their numbers in common.
        key = id(hyper), learning_rate, state.iterations, state.mu_product
        if key not in known:
            others = conditioning(hyper, options) + averaging
            known[key] = dialect.scalars(hyper, learning_rate, state.iterations + 1, state.mu_product, others)
        mu_product, scalars = known[key]
        counted.append((state, mu_product))
        if gradient is not None:
            updates.append(_prepare(state, hyper, gradient, scalars, dialect))
    _clip_norms(updates, dialect, options.global_clipnorm)
    for update in updates:
        _apply(update, dialect, options)
    for state, mu_product in counted:
        state.iterations += 1
        state.mu_product = mu_product
    if dialect.sums == "dropped" and options.gradient_accumulation_steps:
        for (state, _, _), gradient in zip(arrays, gradients, strict=True):
            if gradient is None:
                state.accumulated[...] = 0.0
    return {update.state for update in updates}


def accumulate_arrays(
    arrays: list[tuple[LeafState, Hyperparameters, float]], gradients: list[np.ndarray | Rows | None], options: Options
) -> None:
    """Add the gradients of a micro-step to the sums of the earlier ones; parameters as in `update_arrays`."""
    for (state, _, _), gradient in zip(arrays, gradients, strict=True):
        if gradient is not None:
            values = dense(gradient, state.leaf) if isinstance(gradient, Rows) else gradient
            cpu.accumulate(state.accumulated, values, 1.0 / (options.loss_scale_factor or 1.0))


def not_finite(states: list[LeafState], gradients: list[np.ndarray | Rows | None]) -> LeafState | None:
    """The first state whose gradient has an element that is infinite or NaN."""
    for state, gradient in zip(states, gradients, strict=True):
        if gradient is not None and not is_finite(gradient):
            return state
    return None


def move_averages(states: list[LeafState], averaging: tuple[float, bool]) -> None:
    """Move the averages of arrays that are not updated."""
    average_momentum, is_overwritten = averaging
    scalars = NO_UPDATE._replace(average_momentum=average_momentum, is_overwritten=is_overwritten)
    for state in states:
        elements = state.leaf.flatten(state.leaf.array)
        cpu.average(state.average, elements, *scalars)
        _write_back(state.leaf, elements)


def clipped_gradients(
    states: list[LeafState], hyper: Hyperparameters, gradients: list[np.ndarray | Rows], dialect: Dialect
) -> list[np.ndarray | Rows]:
    """Copies of gradients as `update_arrays` would take them after clipping, where no step is to be made."""
    pairs = zip(states, gradients, strict=True)
    scalars = NO_UPDATE._replace(**dict(zip(_CONDITIONING, conditioning(hyper, Options()), strict=True)))
    updates = [_prepare(state, hyper, gradient, scalars, dialect) for state, gradient in pairs]
    _clip_norms(updates, dialect, None)
    return [_clipped(update, dialect) for update in updates]


def conditioning(hyper: Hyperparameters, options: Options) -> tuple[float, float, float, float]:
    """The fields `_CONDITIONING` of `rule.Scalars`, but for the clipping of norms."""
    return (
        1.0 / (options.loss_scale_factor or 1.0),
        # The sum of earlier micro-steps was scaled when it was taken.
        1.0 / (options.gradient_accumulation_steps or 1),
        math.inf if hyper.clipvalue is None else hyper.clipvalue,
        -1.0 if hyper.maximize else 1.0,
    )


def _prepare(state, hyper, gradient, scalars, dialect):
    """The update of one array, but for the clipping of norms."""
    if isinstance(gradient, Rows):
        if state.accumulated is not None:
            gradient = dense(gradient, state.leaf)
        elif not dialect.clips_rows_first:
            gradient = summed(gradient)
    return _Update(state, hyper, gradient, scalars if state.is_decayed else without_decay(scalars))


def without_decay(scalars: Scalars) -> Scalars:
    """The same, but for weight decay."""
    return scalars._replace(coupled_decay=0.0, decay=0.0, subtracted_decay=0.0)


def _clip_norms(updates, dialect, global_clipnorm):
    """Set the factors that bring the norm of each gradient, and of all together, down to what is allowed."""
    if global_clipnorm is None and all(update.hyper.clipnorm is None for update in updates):
        return
    norms = [_norm(update, dialect) for update in updates]
    factors = [dialect.clip_factor(norm, update.hyper.clipnorm) for norm, update in zip(norms, updates, strict=True)]
    if global_clipnorm is not None:
        norm = math.hypot(*(norm * factor for norm, factor in zip(norms, factors, strict=True)))
        common = dialect.common_clip_factor(norm, global_clipnorm)
        factors = [factor * common for factor in factors]
    for update, factor in zip(updates, factors, strict=True):
        field = "gradient_scale" if dialect.clips_norm_first else "gradient_factor"
        update.scalars = update.scalars._replace(**{field: getattr(update.scalars, field) * factor})


def _apply(update, dialect, options):
    """Step one array and its state in place."""
    state, gradient, scalars = update.state, update.gradient, update.scalars
    if update.hyper.amsgrad and state.largest_moment is None:
        state.largest_moment = state.largest_of_zeros()
    if isinstance(gradient, Rows):
        gradient = _clipped(update, dialect)
        scalars = scalars._replace(gradient_scale=1.0, gradient_limit=math.inf, gradient_factor=1.0)
    if isinstance(gradient, Rows):
        _apply_rows(state, gradient, scalars, dialect, options)
    else:
        _apply_dense(state, gradient, None, scalars, dialect)


def _clipped(update, dialect):
    """The gradient of an update, clipped; rows become an array if their values are clipped after their sum."""
    scalars = update.scalars
    is_late = dialect.clips_norm_first and scalars.gradient_limit < math.inf
    if not (is_late and isinstance(update.gradient, Rows)):
        return conditioned(update.gradient, scalars)
    rows = conditioned(update.gradient, scalars._replace(gradient_limit=math.inf))
    rest = scalars._replace(gradient_scale=1.0, gradient_factor=1.0)
    return conditioned(dense(rows, update.state.leaf), rest)


def _norm(update, dialect):
    """The norm of a gradient, scaled and, unless that comes afterwards, clipped to values."""
    scalars = update.scalars._replace(gradient_limit=math.inf) if dialect.clips_norm_first else update.scalars
    if isinstance(update.gradient, Rows):
        return cpu.norm(update.gradient.values.reshape(-1), None, *scalars)
    return cpu.norm(update.gradient, update.state.accumulated, *scalars)


def _apply_dense(state, gradient, square, scalars, dialect):
    elements = state.leaf.flatten(state.leaf.array)
    arrays = state.first_moment, state.second_moment, state.largest_moment, state.average, state.accumulated
    if state.first_moment.dtype == bfloat16.BITS:
        update, place = cpu.update_bfloat16_for(elements.size, dialect.order), (state.seed, state.iterations, 0)
    else:
        update, place = cpu.update_for(elements.size, dialect.order), ()
    update(elements, *arrays, gradient, square, *place, *scalars)
    _write_back(state.leaf, elements)


def _apply_rows(state, rows, scalars, dialect, options):
    is_partial = options.lazy_sparse or dialect.moves_touched_rows
    if is_partial and dialect.clips_rows_first:
        rows = summed(rows)
    if options.lazy_sparse:
        touched = _gather(state, rows.indices)
        _apply_dense(touched, rows.values.reshape(-1), None, scalars._replace(is_overwritten=False), dialect)
        _scatter(touched, state, rows.indices)
        if scalars.is_overwritten:
            state.leaf.array[...] = state.leaf.unflatten(state.average)
    elif dialect.moves_touched_rows:
        touched = _gather(state, rows.indices)
        still = scalars._replace(learning_rate=0.0)
        _apply_dense(state, np.zeros(state.leaf.size, state.leaf.real_dtype), None, still, dialect)
        _apply_dense(touched, rows.values.reshape(-1), None, scalars, dialect)
        _scatter(touched, state, rows.indices)
    else:
        sums_squares = dialect.sums_squares and options.global_clipnorm is None
        square = dense(Rows(rows.indices, rows.values * rows.values), state.leaf) if sums_squares else None
        _apply_dense(state, dense(rows, state.leaf), square, scalars, dialect)


def _gather(state, indices):
    """The state of some rows, as that of an array of its own."""
    leaf = state.leaf

    def rows_of(flat):
        return None if flat is None else _flat(_in_shape(leaf, flat)[indices], flat.dtype)

    array = np.ascontiguousarray(leaf.array[indices])
    return LeafState(
        Leaf(leaf.name, leaf.path, array, array.shape, "C", is_contiguous=True),
        *map(rows_of, (state.first_moment, state.second_moment, state.largest_moment, state.average)),
        iterations=state.iterations,
        seed=state.seed,
    )


def _scatter(touched, state, indices):
    state.leaf.array[indices] = touched.leaf.array
    for name in ("first_moment", "second_moment", "largest_moment", "average"):
        flat = getattr(state, name)
        if flat is not None:
            _in_shape(state.leaf, flat)[indices] = _in_shape(touched.leaf, getattr(touched, name))


def _in_shape(leaf, flat):
    """An array of a state in the shape of its parameter; bits that belong to a complex number are one number there."""
    if flat.dtype != bfloat16.BITS:
        return leaf.unflatten(flat)
    bits = flat.view(np.uint32) if leaf.array.dtype.kind == "c" else flat
    return bits.reshape(leaf.shape, order=leaf.order)


def _flat(array, dtype):
    return np.ascontiguousarray(array).reshape(-1).view(dtype)


def _write_back(leaf, elements):
    if not leaf.is_contiguous:
        leaf.array[...] = leaf.unflatten(elements)
