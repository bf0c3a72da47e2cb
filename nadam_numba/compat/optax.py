"""optax's NAdam on NumPy arrays: `nadam`, `nadamw`, `apply_updates` and the states of optax 0.2.

Gradients, parameters and states are trees: an array, None, or lists, tuples, named tuples and dicts of trees. States
have the structure and the names of optax's own, so that either package goes on from a state of the other.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from nadam_numba import cpu
from nadam_numba.arrays import DTYPES, check_overlaps, may_share_memory, memory_spans, parameter_tree
from nadam_numba.compat._pytrees import each
from nadam_numba.dialects import OPTAX, Dialect, exact
from nadam_numba.hyperparameters import (
    Hyperparameters,
    Schedule,
    decay_rate,
    nonnegative_finite,
    real_number,
    true_or_false,
)
from nadam_numba.state import checked_count

_LARGEST_COUNT = int(np.iinfo(np.int32).max)


class ScaleByAdamState(NamedTuple):
    """Number of updates, first and second moments."""

    count: np.int32
    mu: Any
    nu: Any


class ScaleByScheduleState(NamedTuple):
    """Number of updates, as the schedule of the learning rate sees it."""

    count: np.int32


class WeightDecaySchedule(NamedTuple):
    """Number of updates, as the schedule of the weight decay sees it."""

    count: np.int32


class MaskedState(NamedTuple):
    """The state of a weight decay that has a mask."""

    inner_state: Any


class EmptyState(NamedTuple):
    """The state of what needs none."""


class GradientTransformation(NamedTuple):
    """A pair of functions, made by `nadam` or `nadamw`, and a faster way to do what they do.

    Attributes
    ----------
    init : callable
        ``init(params) -> state``: the state before the first update.
    update : callable
        ``update(grads, state, params=None, **extra_args) -> (updates, state)``: what `apply_updates` is to add to the
        parameters, and the next state. Nothing given is written: an old state stays valid. `params` is needed for
        weight decay only; extra arguments are ignored.

    Notes
    -----
    Gradients and moments may be other arrays that NumPy can read, too, such as those of JAX: of the shape of the
    parameter, and float32, float64, complex64 or complex128. `update` computes in the widest dtype of both.

    The functions raise

    - TypeError if an array is none, or one of another shape or dtype;
    - ValueError if trees differ in structure, if the state is of another kind of optimizer, if `params` is missing for
      weight decay, or if a schedule returns a number that is not allowed.
    """

    init: Callable
    update: Callable

    def step(self, params: Any, grads: Any, state: tuple) -> tuple:
        """Update parameters and state in place.

        The parameters take the very bits that `update` and `apply_updates` give them. If they are real, `mu_dtype` is
        None, and gradients and moments have their dtype, that takes one pass over the memory of each array.

        Parameters
        ----------
        params : tree
            Writeable NumPy arrays, none of which share memory.
        grads : tree
            The gradients; never written.
        state : tuple
            From `init`, `update` or `step`. Its arrays are used for the new state: it is not valid any more. They must
            not share memory.

        Returns
        -------
        tuple
            The new state.

        Raises
        ------
        TypeError, ValueError
            As `update` and `apply_updates`; parameters and state are then unchanged. TypeError, too, if `update` has
            been replaced.

        Examples
        --------
        >>> import numpy as np
        >>> from nadam_numba.compat import optax
        >>> solver = optax.nadam(learning_rate=0.003)
        >>> params = np.array([1.0, 2.0, 3.0])
        >>> state = solver.init(params)
        >>> for _ in range(5):
        ...     state = solver.step(params, 2 * params, state)
        >>> print(f"{np.sum(params**2):.2E}")
        1.38E+01
        """
        solver = getattr(self.update, "__self__", None)
        if not isinstance(solver, _Solver):
            raise TypeError(
                f"update={self.update!r} is not what nadam or nadamw made: step can do only what theirs does, so use "
                "update and apply_updates"
            )
        return solver.step(params, grads, state)


def nadam(
    learning_rate: float | Schedule | None,
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-8,
    eps_root: float = 0.0,
    mu_dtype: Any = None,
    *,
    nesterov: bool = True,
    scalar_dtype: Any = None,
) -> GradientTransformation:
    """NAdam as optax.nadam has it: with a momentum coefficient that is `b1` from the first step on.

    Parameters
    ----------
    learning_rate : float, callable or None
        A finite number; or a schedule, a function of the number of updates already made, an np.int32. A negative rate
        goes up instead of down. None leaves the updates as they are, neither scaled nor of opposite sign, as in optax.
    b1, b2 : float, optional
        Decay rates of the first and second moment, in [0, 1).
    eps, eps_root : float, optional
        Added to the root of the second moment, and under it; finite and >= 0.
    mu_dtype : dtype, optional
        What the first moment is kept in; float16, or bfloat16 of ml_dtypes, halve its memory or more. It is multiplied
        by `b1` in that precision, too, as in optax. By default the parameter's.
    nesterov : bool, optional
        False makes the rule Adam's, as in optax.
    scalar_dtype : None or "float64", optional
        What learning rate and bias corrections are computed in: double precision either way, as in optax where JAX has
        its x64 enabled.

    Returns
    -------
    GradientTransformation
        The functions `init` and `update`, and the method `step`.

    Raises
    ------
    TypeError
        If an argument is not of these types.
    ValueError
        If a number is not in its range.

    Notes
    -----
    Of a complex gradient, the second moment takes the square of the absolute value, so that both parts of an element
    move by one rate, as in optax and unlike torch.

    References
    ----------
    T. Dozat, "Incorporating Nesterov Momentum into Adam", ICLR workshop 2016; optax 0.2.8, ``optax.nadam``.

    Examples
    --------
    >>> import numpy as np
    >>> from nadam_numba.compat import optax
    >>> solver = optax.nadam(learning_rate=0.003)
    >>> params = {"x": np.array([1.0, 2.0, 3.0])}
    >>> state = solver.init(params)
    >>> for _ in range(5):
    ...     grads = {"x": 2 * params["x"]}
    ...     updates, state = solver.update(grads, state, params)
    ...     params = optax.apply_updates(params, updates)
    ...     print(f"{np.sum(params['x']**2):.2E}")
    1.39E+01
    1.39E+01
    1.39E+01
    1.38E+01
    1.38E+01
    """
    hyperparameters = _hyperparameters(b1, b2, eps, eps_root, nesterov)
    return _transformation(hyperparameters, learning_rate, None, None, mu_dtype, scalar_dtype)


def nadamw(
    learning_rate: float | Schedule | None,
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-8,
    eps_root: float = 0.0,
    mu_dtype: Any = None,
    weight_decay: float | Schedule = 1e-4,
    mask: Any = None,
    *,
    nesterov: bool = True,
    scalar_dtype: Any = None,
) -> GradientTransformation:
    """`nadam` with decoupled weight decay, as optax.nadamw has it.

    Parameters
    ----------
    learning_rate, b1, b2, eps, eps_root, mu_dtype, nesterov, scalar_dtype
        As in `nadam`.
    weight_decay : float or callable, optional
        Finite and >= 0, or a schedule of such. Times the parameter, it is added to the update before that is multiplied
        by the learning rate.
    mask : tree of bool, callable or None, optional
        Which arrays decay: a tree as the parameters, where one bool may stand for all arrays below; or a function that
        makes one of the parameters or the gradients. By default all.

    Returns
    -------
    GradientTransformation
        As from `nadam`; ``update`` needs the parameters.

    Raises
    ------
    TypeError
        If an argument is not of these types.
    ValueError
        If a number is not in its range.

    References
    ----------
    I. Loshchilov, F. Hutter, "Decoupled Weight Decay Regularization", ICLR 2019; optax 0.2.8, ``optax.nadamw``.

    Examples
    --------
    >>> import numpy as np
    >>> from nadam_numba.compat import optax
    >>> params = {"weights": np.ones((2, 2)), "bias": np.ones(2)}
    >>> solver = optax.nadamw(0.1, weight_decay=0.5, mask={"weights": True, "bias": False})
    >>> state = solver.init(params)
    >>> grads = {"weights": np.zeros((2, 2)), "bias": np.zeros(2)}
    >>> updates, state = solver.update(grads, state, params)
    >>> optax.apply_updates(params, updates)
    {'weights': array([[0.95, 0.95],
           [0.95, 0.95]]), 'bias': array([1., 1.])}
    """
    hyperparameters = _hyperparameters(b1, b2, eps, eps_root, nesterov)
    if not callable(weight_decay):
        hyperparameters = dataclasses.replace(hyperparameters, weight_decay=_plain(weight_decay))
    return _transformation(hyperparameters, learning_rate, weight_decay, mask, mu_dtype, scalar_dtype)


def apply_updates(params: Any, updates: Any) -> Any:
    """Add `updates` to `params` in place.

    Parameters
    ----------
    params : tree
        Writeable NumPy arrays, none of which share memory.
    updates : tree
        Arrays of the same shapes, in the same structure.

    Returns
    -------
    tree
        `params` itself.

    Raises
    ------
    TypeError
        If an array is none, or one of another shape, or complex where the parameter is real.
    ValueError
        If the trees differ in structure, or a parameter is read-only or shares memory with another. No parameter is
        changed then.

    Examples
    --------
    >>> import numpy as np
    >>> from nadam_numba.compat import optax
    >>> params = [np.zeros(2), None]
    >>> optax.apply_updates(params, [np.ones(2), None])
    [array([1., 1.]), None]
    """
    leaves = _leaves("params", params)
    check_overlaps(leaves)
    spans = memory_spans(leaves)
    pairs = []

    def check(path, parameter, update):
        update = _array(f"updates{path}", update)
        _check_shape(f"updates{path}", update, parameter)
        if parameter.dtype.kind != "c":
            _check_kind(f"updates{path}", update.dtype, parameter.dtype)
        pairs.append((parameter, _apart(update, spans)))

    each(check, {"params": params, "updates": updates})
    for parameter, update in pairs:
        np.add(parameter, update, out=parameter, casting="same_kind")
    return params


def _hyperparameters(b1, b2, eps, eps_root, nesterov):
    return Hyperparameters(
        beta_1=decay_rate("b1", _plain(b1)),
        beta_2=decay_rate("b2", _plain(b2)),
        epsilon=nonnegative_finite("eps", _plain(eps)),
        epsilon_root=nonnegative_finite("eps_root", _plain(eps_root)),
        nesterov=true_or_false("nesterov", nesterov),
        momentum_decay=math.inf,
        decoupled_weight_decay=True,
    )


def _transformation(hyperparameters, learning_rate, weight_decay, mask, mu_dtype, scalar_dtype):
    if learning_rate is None:
        learning_rate = -1.0  # going down by it adds what optax then returns as it is
    elif not callable(learning_rate):
        learning_rate = _finite("learning_rate", _plain(learning_rate))
    if scalar_dtype not in (None, "float64", np.float64):
        raise ValueError(f"scalar_dtype={scalar_dtype!r}: it must be None or 'float64'")
    dialect = OPTAX if scalar_dtype is None else exact(OPTAX)
    solver = _Solver(hyperparameters, learning_rate, weight_decay, mask, _moment_dtype(mu_dtype), dialect)
    return GradientTransformation(solver.init, solver.update)


@dataclasses.dataclass(slots=True, eq=False)
class _Part:
    """The arrays of one parameter, checked.

    Attributes
    ----------
    gradient, mu, nu : ndarray
    is_decayed : bool
        Whether weight decay applies to it.
    parameter : ndarray or None
        None where only its update is asked for, and that without weight decay.
    """

    gradient: np.ndarray
    mu: np.ndarray
    nu: np.ndarray
    is_decayed: bool
    parameter: np.ndarray | None

    @property
    def dtype(self):
        """What an update is computed in."""
        return np.result_type(self.gradient.dtype, self.mu.dtype, self.nu.dtype)

    def moment_leaves(self, path):
        """The leaves of those moments that a step in place can overwrite."""
        moments = {"mu": self.mu, "nu": self.nu}.items()
        return [parameter_tree(f"state[0].{name}{path}", array) for name, array in moments if array.dtype in DTYPES]

    def set_gradient_apart(self, spans):
        """Copy the gradient if writing to the spans of memory could change it."""
        self.gradient = _apart(self.gradient, spans)

    def advance(self, target, scalars, mu_dtype, is_in_place):
        """Step the array `target`, and return the new moments: the same arrays, if those may be overwritten."""
        dtype = self.dtype
        if self.mu.dtype != dtype:
            mu = np.asarray(self.mu * self.mu.dtype.type(scalars.beta_1)).astype(dtype)
            scalars = scalars._replace(has_decayed=True)
        else:
            mu = self.mu if is_in_place else self.mu.copy(order="K")
        nu = self.nu.astype(dtype, copy=not is_in_place)
        moved = target.astype(dtype, copy=False)
        _step(moved, self.gradient.astype(dtype, copy=False), mu, nu, scalars)
        if moved is not target:
            target[...] = moved
        return mu.astype(dtype if mu_dtype is None else mu_dtype, copy=False), nu.astype(self.nu.dtype, copy=False)


@dataclasses.dataclass(slots=True, eq=False)
class _Advanced:
    """What has become of the arrays of one parameter."""

    mu: np.ndarray
    nu: np.ndarray
    updates: np.ndarray | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class _Solver:
    """What the functions of a transformation share.

    Parameters
    ----------
    hyperparameters : Hyperparameters
        All but the learning rate, and the weight decay unless that is a schedule.
    learning_rate : float or callable
    weight_decay : float, callable or None
        None is `nadam`, whose state has no entry for it.
    mask : tree of bool, callable or None
    mu_dtype : dtype or None
    dialect : Dialect
    """

    hyperparameters: Hyperparameters
    learning_rate: float | Schedule
    weight_decay: float | Schedule | None
    mask: Any
    mu_dtype: np.dtype | None
    dialect: Dialect

    def init(self, params):
        """The state before the first update."""

        def zeros_mu(path, parameter):
            array = _array(f"params{path}", parameter)
            if self.mu_dtype is not None:
                _check_kind("mu_dtype", self.mu_dtype, array.dtype)
            return np.zeros_like(array, self.mu_dtype)

        mu = each(zeros_mu, {"params": params})
        nu = each(lambda path, parameter: np.zeros_like(np.asarray(parameter)), {"params": params})
        self._decaying("params", params)
        count = np.int32(0)
        rate_state = ScaleByScheduleState(count) if callable(self.learning_rate) else EmptyState()
        decay_state = WeightDecaySchedule(count) if callable(self.weight_decay) else EmptyState()
        return self._state(ScaleByAdamState(count, mu, nu), decay_state, rate_state)

    def update(self, grads, state, params=None, **extra_args):
        """What is to be added to the parameters, and the next state; nothing given is written."""
        if self.weight_decay is None:
            parameters = {}
        elif params is None:
            raise ValueError("params=None: weight decay needs the current parameters")
        else:
            parameters = {"params": params}
        parts = self._parts(grads, state, parameters)
        scalars, next_state = self._next(state)
        decay = scalars.subtracted_decay
        # The parameter's own decay is not among what zeros lose in a step.
        without_decay = scalars._replace(subtracted_decay=0.0)
        without_rate = without_decay._replace(learning_rate=1.0)

        def advance(path, part):
            updates = np.zeros_like(part.nu, part.dtype)
            is_decayed = part.is_decayed and decay
            its_scalars = without_rate if is_decayed else without_decay
            mu, nu = part.advance(updates, its_scalars, self.mu_dtype, is_in_place=False)
            if is_decayed:
                _decay(updates, part.parameter, decay, scalars.learning_rate)
            return _Advanced(mu, nu, updates)

        advanced = each(advance, {"grads": parts})
        return each(lambda path, part: part.updates, {"grads": advanced}), next_state(advanced)

    def step(self, params, grads, state):
        """Step the parameters in place; the next state takes the arrays of `state`."""
        written = _leaves("params", params)
        parts = self._parts(grads, state, {"params": params})
        each(lambda path, part: written.extend(part.moment_leaves(path)), {"grads": parts})
        check_overlaps(written)
        spans = memory_spans(written)
        each(lambda path, part: part.set_gradient_apart(spans), {"grads": parts})
        scalars, next_state = self._next(state)
        without_decay = scalars._replace(subtracted_decay=0.0)

        def advance(path, part):
            its_scalars = scalars if part.is_decayed else without_decay
            return _Advanced(*part.advance(part.parameter, its_scalars, self.mu_dtype, is_in_place=True))

        return next_state(each(advance, {"grads": parts}))

    def _parts(self, grads, state, parameters):
        """A `_Part` for each gradient, in a tree; `parameters` is {} or has the key "params"."""
        expected = 2 if self.weight_decay is None else 3
        if len(state) != expected:
            raise ValueError(f"state has {len(state)} entries: it must have {expected}, as `init` makes it")

        def part(path, gradient, mu, nu, is_decayed, parameter=None):
            gradient = _array(f"grads{path}", gradient)
            mu = _array(f"state[0].mu{path}", mu, _is_floating)
            nu = _array(f"state[0].nu{path}", nu)
            _check_shape(f"grads{path}", gradient, nu)
            _check_shape(f"state[0].mu{path}", mu, nu)
            _check_kind(f"state[0].mu{path}", mu.dtype, nu.dtype)
            if nu.dtype.kind != "c":
                _check_kind(f"grads{path}", gradient.dtype, nu.dtype)
            if parameters:
                parameter = _array(f"params{path}", parameter)
                _check_shape(f"params{path}", parameter, nu)
                if parameter.dtype != nu.dtype:
                    raise TypeError(f"params{path} has dtype {parameter.dtype}: its state has {nu.dtype}")
            return _Part(gradient, mu, nu, is_decayed, parameter)

        adam, decaying = state[0], self._decaying("grads", grads)
        trees = {"grads": grads, "state[0].mu": adam.mu, "state[0].nu": adam.nu, "mask": decaying, **parameters}
        return each(part, trees)

    def _decaying(self, name, tree):
        """The mask for a tree, with a bool for each array."""
        mask = self.mask(tree) if callable(self.mask) else self.mask

        def spread(path, is_decayed, subtree):
            if not isinstance(is_decayed, (bool, np.bool_)):
                raise ValueError(f"mask{path}={is_decayed!r}: it must be True or False")
            return each(lambda path, leaf: bool(is_decayed), {name: subtree})

        return each(spread, {"mask": True if self.mask is None else mask, name: tree})

    def _next(self, state):
        """The scalars of the next update, and a function that makes the next state of the new moments."""
        count = _count("state[0].count", state[0].count)
        hyper, decay_state = self.hyperparameters, EmptyState()
        learning_rate, rate_state = self.learning_rate, EmptyState()
        if callable(learning_rate):
            learning_rate, rate_count = _scheduled("learning_rate", learning_rate, state[-1], _finite)
            rate_state = ScaleByScheduleState(rate_count)
        if callable(self.weight_decay):
            inner = state[1] if self.mask is None else state[1].inner_state
            weight_decay, decay_count = _scheduled("weight_decay", self.weight_decay, inner, nonnegative_finite)
            hyper, decay_state = dataclasses.replace(hyper, weight_decay=weight_decay), WeightDecaySchedule(decay_count)
        following = _following(count)
        # With constant momentum the product of its coefficients follows from their number: no state has to keep it.
        mu_product = hyper.beta_1 ** float(count)
        _, scalars = self.dialect.scalars(hyper, learning_rate, int(following), mu_product)

        def next_state(advanced):
            mu, nu = (
                each(lambda path, part, name=name: getattr(part, name), {"grads": advanced}) for name in ("mu", "nu")
            )
            return self._state(ScaleByAdamState(following, mu, nu), decay_state, rate_state)

        return scalars, next_state

    def _state(self, adam, decay_state, rate_state):
        if self.weight_decay is None:
            return adam, rate_state
        return adam, decay_state if self.mask is None else MaskedState(decay_state), rate_state


def _step(target, gradient, mu, nu, scalars):
    """Step `target` and its moments in place; all arrays are of one dtype and shape."""
    leaf = parameter_tree("updates", target)
    elements, first, second, flat_gradient = map(leaf.flatten, (target, mu, nu, gradient))
    square = None
    if target.dtype.kind == "c":
        # Both parts of an element share one second moment, which optax keeps as a complex number.
        square = np.repeat(np.square(flat_gradient.reshape(-1, 2)).sum(axis=1), 2)
        second = np.repeat(second[::2], 2)
    update = cpu.update_for(elements.size, OPTAX.order)
    update(elements, first, second, None, None, None, flat_gradient, square, *scalars)
    if square is not None:
        second[1::2] = 0.0
    for array, flat in ((target, elements), (mu, first), (nu, second)):
        if not np.may_share_memory(array, flat):
            array[...] = leaf.unflatten(flat)


def _decay(updates, parameter, decay, learning_rate):
    """Add what the parameter loses by its decay to updates without learning rate, and multiply them by that."""
    leaf = parameter_tree("updates", updates)
    elements = leaf.flatten(updates)
    cpu.accumulate(elements, leaf.flatten(parameter.astype(updates.dtype, copy=False)), -decay)
    elements *= elements.dtype.type(learning_rate)


def _leaves(name, params):
    """The leaves of parameters that are to be written, checked."""
    leaves = []
    each(lambda path, parameter: leaves.append(parameter_tree(f"{name}{path}", parameter)), {name: params})
    return leaves


def _apart(array, spans):
    """`array`, or a copy if writing to the spans could change it."""
    return array.copy() if may_share_memory(array, spans) else array


def _array(name, value, is_allowed=DTYPES.__contains__):
    if not hasattr(value, "__array__"):
        raise TypeError(f"{name}={value!r} is a {type(value).__name__}: it must be an array")
    array = np.asarray(value)
    if not is_allowed(array.dtype):
        raise TypeError(f"{name} has dtype {array.dtype}: it must be float32, float64, complex64 or complex128")
    # Numba would compile the kernel once more for read-only arrays.
    return array if array.flags.writeable else array.copy()


def _check_shape(name, array, model):
    if array.shape != model.shape:
        raise TypeError(f"{name} has shape {array.shape}: its parameter has {model.shape}")


def _check_kind(name, dtype, expected):
    if (dtype.kind == "c") != (expected.kind == "c"):
        raise TypeError(f"{name} has dtype {dtype}: its parameter has {expected}, and one is complex, the other real")


def _is_floating(dtype):
    """Whether numbers of that dtype are real or complex, and no more precise than double; so are those of ml_dtypes."""
    return dtype.kind not in "biu" and np.can_cast(dtype, np.complex128)


def _moment_dtype(mu_dtype):
    if mu_dtype is None:
        return None
    message = f"mu_dtype={mu_dtype!r}: it must be None or a dtype of floating-point numbers that NumPy knows"
    try:
        dtype = np.dtype(mu_dtype)
    except TypeError:
        raise TypeError(message) from None
    if not _is_floating(dtype):
        raise TypeError(message)
    return dtype


def _plain(value):
    """`value`, or the number in an array of no dimensions."""
    return value.item() if getattr(value, "shape", None) == () else value


def _finite(name, value):
    return real_number(name, value, "a finite number", math.isfinite)


def _count(name, value):
    return min(checked_count(name, value), _LARGEST_COUNT)


def _following(count):
    """The count after `count`: it stops at the largest int32, as in optax."""
    return np.int32(min(count, _LARGEST_COUNT - 1) + 1)


def _scheduled(name, schedule, state, check):
    """The value of a schedule, and the next count of its state."""
    count = _count(f"the count of {name}", state.count)
    return check(f"{name}({count})", _plain(schedule(np.int32(count)))), _following(count)
