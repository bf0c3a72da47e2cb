"""The stateful optimizer: steps arrays in place, given their gradients."""

import dataclasses
import operator

import numpy as np

from nadam_numba import cpu, rule
from nadam_numba.arrays import (
    ArrayTree,
    leaves,
    matching_arrays,
    may_share_memory,
    memory_spans,
    parameter_tree,
)
from nadam_numba.hyperparameters import Hyperparameters, Schedule, real_number

_STATE_KEYS = ("iterations", "mu_product", "hyperparameters", "first_moments", "second_moments")


class NAdam:
    """NAdam (Adam with Nesterov momentum) on NumPy arrays, updated in place.

    With the default hyperparameters it reproduces torch.optim.NAdam; ``momentum_decay=1`` is Keras 3's Nadam and
    ``momentum_decay=inf`` optax.nadam, whose other defaults differ.

    Parameters
    ----------
    params : ndarray, or list, tuple or dict of such, nested at will
        The arrays to update: float32 or float64, writeable, of any shape and layout. They are kept by reference.
    learning_rate : float or callable, optional
        A finite number >= 0, or a schedule: a function of the number of steps already made, 0 at the first.
    beta_1, beta_2 : float, optional
        Decay rates of the first and second moment of the gradients, in [0, 1).
    epsilon : float, optional
        Added to the root of the second moment, finite and >= 0.
    momentum_decay : float, optional
        Speed at which the momentum coefficient grows from ``beta_1 / 2`` to `beta_1`, >= 0.

    Raises
    ------
    TypeError
        If a leaf is not a float32 or float64 array, or a hyperparameter not a number.
    ValueError
        If there are no arrays, one is read-only, repeats its elements or shares memory with another, or a
        hyperparameter is out of range.

    Notes
    -----
    Non-finite gradients propagate into parameters and state, as in the peers. The state is two arrays of each
    parameter's size and dtype.

    References
    ----------
    T. Dozat, "Incorporating Nesterov Momentum into Adam", ICLR workshop 2016.

    Examples
    --------
    Fit a straight line by gradient descent on the mean squared error:

    >>> import numpy as np
    >>> from nadam_numba import NAdam
    >>> x = np.linspace(0.0, 1.0, 50)
    >>> y = 3.0 * x + 1.0
    >>> params = {"slope": np.zeros(()), "intercept": np.zeros(())}
    >>> optimizer = NAdam(params, learning_rate=0.1)
    >>> for _ in range(1000):
    ...     residual = params["slope"] * x + params["intercept"] - y
    ...     optimizer.step({"slope": np.mean(2 * residual * x), "intercept": np.mean(2 * residual)})
    >>> round(float(params["slope"]), 3), round(float(params["intercept"]), 3)
    (3.0, 1.0)
    """

    def __init__(
        self,
        params: ArrayTree,
        learning_rate: float | Schedule = 2e-3,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        *,
        momentum_decay: float = 4e-3,
    ):
        self._hyperparameters = Hyperparameters(learning_rate, beta_1, beta_2, epsilon, momentum_decay)
        self._tree = parameter_tree(params)
        self._leaves = leaves(self._tree)
        self._spans = memory_spans(self._leaves)
        self._iterations = 0
        self._mu_product = 1.0
        self._first_moments = [np.zeros(leaf.array.size, leaf.array.dtype) for leaf in self._leaves]
        self._second_moments = [np.zeros(leaf.array.size, leaf.array.dtype) for leaf in self._leaves]

    @property
    def iterations(self) -> int:
        """Number of steps made."""
        return self._iterations

    @property
    def hyperparameters(self) -> Hyperparameters:
        """All hyperparameters, read-only."""
        return self._hyperparameters

    @property
    def learning_rate(self) -> float | Schedule:
        """The learning rate, a float or a schedule; may be set between steps."""
        return self._hyperparameters.learning_rate

    @learning_rate.setter
    def learning_rate(self, value: float | Schedule) -> None:
        self._hyperparameters = dataclasses.replace(self._hyperparameters, learning_rate=value)

    def step(self, grads: ArrayTree) -> None:
        """Update the parameters in place, once.

        Parameters
        ----------
        grads : ndarray, or list, tuple or dict of such
            The gradients, in the structure, shapes and dtypes of the parameters; never written.

        Raises
        ------
        TypeError, ValueError
            If structure, shape or dtype of a gradient differ from its parameter's, a parameter has become read-only or
            changed its shape, or a schedule returns no finite number >= 0. Parameters and state are then unchanged, as
            they are after an exception in a schedule.
        """
        hyper = self._hyperparameters
        learning_rate = hyper.learning_rate_at(self._iterations)
        gradients = self._gradients(grads)
        # Uncompiled, it saves the call; the compiled form gives the same bits.
        mu_product, *coefficients = rule.step_coefficients(
            self._iterations + 1, self._mu_product, hyper.beta_1, hyper.beta_2, hyper.momentum_decay
        )
        for leaf, gradient, first_moment, second_moment in zip(
            self._leaves, gradients, self._first_moments, self._second_moments, strict=True
        ):
            elements = leaf.flatten(leaf.array)
            cpu.update_for(elements.size)(
                elements,
                first_moment,
                second_moment,
                gradient,
                learning_rate,
                hyper.beta_1,
                hyper.beta_2,
                hyper.epsilon,
                *coefficients,
            )
            if not leaf.is_contiguous:
                leaf.array[...] = leaf.unflatten(elements)
        self._iterations += 1
        self._mu_product = mu_product

    def state_dict(self) -> dict:
        """A copy of the state: all that is needed, besides the parameters, to go on with the same bits.

        Returns
        -------
        dict
            ``iterations`` (int), ``mu_product`` (float), ``hyperparameters`` (dict of floats; ``learning_rate`` is
            None if it is a schedule, which is code and not state), and ``first_moments``, ``second_moments``: lists of
            arrays in the order and shapes of the parameters.
        """
        hyperparameters = dict(vars(self._hyperparameters))
        if callable(self.learning_rate):
            hyperparameters["learning_rate"] = None
        return {
            "iterations": self._iterations,
            "mu_product": self._mu_product,
            "hyperparameters": hyperparameters,
            "first_moments": self._unflattened(self._first_moments),
            "second_moments": self._unflattened(self._second_moments),
        }

    def load_state_dict(self, state_dict: dict) -> None:
        """Take over a state made by `state_dict`, hyperparameters included; the arrays are copied.

        A learning rate of None keeps this optimizer's own.

        Raises
        ------
        TypeError, ValueError
            If an entry is missing, unknown, out of range, or does not fit the parameters. The optimizer is then
            unchanged.
        """
        _check_keys("state_dict", state_dict, _STATE_KEYS)
        iterations = _iterations(state_dict["iterations"])
        mu_product = real_number(
            "state_dict['mu_product']", state_dict["mu_product"], "a number in [0, 1]", lambda v: 0.0 <= v <= 1.0
        )
        hyperparameters = state_dict["hyperparameters"]
        fields = [field.name for field in dataclasses.fields(Hyperparameters)]
        _check_keys("state_dict['hyperparameters']", hyperparameters, fields)
        if hyperparameters["learning_rate"] is None:
            hyperparameters = {**hyperparameters, "learning_rate": self.learning_rate}
        hyperparameters = Hyperparameters(**hyperparameters)
        first_moments = self._flattened("first_moments", state_dict)
        second_moments = self._flattened("second_moments", state_dict)
        for index, moment in enumerate(second_moments):
            if (moment < 0.0).any():
                raise ValueError(
                    f"state_dict['second_moments'][{index}] has the element {moment.min()}: means of squares are >= 0"
                )

        self._iterations = iterations
        self._mu_product = mu_product
        self._hyperparameters = hyperparameters
        self._first_moments = first_moments
        self._second_moments = second_moments

    def __repr__(self) -> str:
        arguments = ", ".join(f"{name}={value!r}" for name, value in vars(self._hyperparameters).items())
        return f"NAdam({len(self._leaves)} arrays, {arguments}, iterations={self._iterations})"

    def __setstate__(self, state):
        """Take over a pickled or copied optimizer, whose arrays lie elsewhere in memory now."""
        self.__dict__.update(state)
        self._spans = memory_spans(self._leaves)

    def _gradients(self, grads):
        """The elements of each gradient, checked; copied where a step could overwrite them before they are read."""
        for leaf in self._leaves:
            leaf.check()
        arrays = matching_arrays("grads", grads, self._tree)
        gradients = [leaf.flatten(array) for leaf, array in zip(self._leaves, arrays, strict=True)]
        return [gradient.copy() if may_share_memory(gradient, self._spans) else gradient for gradient in gradients]

    def _unflattened(self, moments):
        return [leaf.unflatten(moment).copy() for leaf, moment in zip(self._leaves, moments, strict=True)]

    def _flattened(self, key, state_dict):
        arrays = matching_arrays(f"state_dict[{key!r}]", state_dict[key], self._leaves)
        return [leaf.flatten(np.array(array)) for leaf, array in zip(self._leaves, arrays, strict=True)]


def _check_keys(name, mapping, keys):
    if not isinstance(mapping, dict):
        raise TypeError(f"{name}={mapping!r} is a {type(mapping).__name__}: it must be a dict")
    if set(mapping) != set(keys):
        raise ValueError(f"{name} has the keys {list(mapping)}: it must have {list(keys)}")


def _iterations(value):
    message = f"state_dict['iterations']={value!r}: it must be an integer in [0, 2**53]"
    try:
        value = operator.index(value)
    except TypeError:
        raise TypeError(message) from None
    if not 0 <= value <= 2**53:  # beyond that, counting in float64 would stand still
        raise ValueError(message)
    return value
