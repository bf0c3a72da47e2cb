"""tf.keras.optimizers.Nadam of TensorFlow 1.13 on NumPy arrays, which stand for variables; and of Keras 2.2.4."""

import dataclasses
from collections.abc import Callable, Mapping

import numpy as np

from nadam_numba.compat._tensorflow import (
    EPSILON,
    Gradient,
    GradientsAndVariables,
    Variables,
    as_given,
    check_product,
    check_squares,
    checked_scalar_dtype,
    checked_weights,
    limit_of,
    nonnegative_or_none,
    pairs_of,
    value_and_pairs,
)
from nadam_numba.dialects import TF1
from nadam_numba.hyperparameters import Hyperparameters, Options, decay_rate, nonnegative, nonnegative_finite, one_of
from nadam_numba.state import checked_count
from nadam_numba.update import clipped_gradients, update_arrays

_SINGLE = dataclasses.replace(
    TF1,
    learning_rate_dtype=np.float32,
    beta_dtype=np.float32,
    product_beta_dtype=np.float32,
    product_dtype=np.float32,
)
_MOMENTS = ("first_moment", "second_moment")


def _number(name, check, text):
    """A property that reads and sets a number."""

    def get(self):
        return self._numbers[name]

    def set_(self, value):
        self._numbers[name] = check(name, value)

    return property(get, set_, doc=text)


class Nadam:
    """tf.keras.optimizers.Nadam of TensorFlow 1.13.

    Parameters
    ----------
    lr : float, optional
        Learning rate, finite and >= 0.
    beta_1, beta_2 : float, optional
        Decay rates of the first and second moment of the gradients, in [0, 1).
    epsilon : float, optional
        Added to the root of the second moment, finite and >= 0; None is 1e-7.
    schedule_decay : float, optional
        Speed at which the momentum coefficient grows from ``beta_1 / 2`` to `beta_1`, >= 0.
    t_offset : {0, 1}, optional
        Step k = 1, 2, ... uses t = k + t_offset in its formulas. They were meant with 0; but TensorFlow 1.13 reads its
        count of steps after it is counted up, nearly always, which makes 1 of it.
    scalar_dtype : {None, "float32", "float64"}, optional
        ``keras.backend.floatx()``, in whose precision TensorFlow keeps the scalars; None is "float64".
    **kwargs
        ``clipnorm``: what the norm of each gradient is clipped to; then ``clipvalue``: what each element is clipped to;
        numbers >= 0.

    Raises
    ------
    TypeError
        If an argument is unknown, or not a number.
    ValueError
        If one is out of range.

    Notes
    -----
    The rule is that of `nadam_numba.NAdam` with ``momentum_decay=schedule_decay``. It is not that of
    ``tf.contrib.opt.NadamOptimizer``.

    References
    ----------
    T. Dozat, "Incorporating Nesterov Momentum into Adam", ICLR workshop 2016;
    tensorflow/python/keras/optimizers.py in TensorFlow 1.13.2.

    Examples
    --------
    What ``K.function`` makes of the updates in TensorFlow, is here a function that is called for each step:

    >>> import numpy as np
    >>> from nadam_numba.compat import tf1
    >>> slope = np.zeros(())
    >>> def loss(x, y):
    ...     residual = slope * x - y
    ...     return np.mean(residual**2), [np.mean(2 * residual * x)]
    >>> optimizer = tf1.Nadam(lr=0.1)
    >>> (train,) = optimizer.get_updates(loss, [slope])
    >>> x = np.linspace(0.0, 1.0, 20)
    >>> for _ in range(300):
    ...     value = train(x, 3.0 * x)
    >>> int(optimizer.iterations), round(float(slope), 3)
    (300, 3.0)
    """

    __slots__ = (
        "__weakref__",
        "_dialect",
        "_iterations",
        "_m_schedule",
        "_numbers",
        "_scalar_dtype",
        "_t_offset",
        "_variables",
        "updates",
    )

    def __init__(
        self,
        lr: float = 0.002,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float | None = None,
        schedule_decay: float = 0.004,
        *,
        t_offset: int = 0,
        scalar_dtype=None,
        **kwargs,
    ):
        for key, value in kwargs.items():
            if key not in ("clipnorm", "clipvalue"):
                raise TypeError(f"Unexpected keyword argument passed to optimizer: {key}={value!r}")
            nonnegative(key, value)
        self._numbers = {}
        self.lr = lr
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = EPSILON if epsilon is None else epsilon
        self.schedule_decay = schedule_decay
        self.clipnorm = kwargs.get("clipnorm")
        self.clipvalue = kwargs.get("clipvalue")
        self._t_offset = one_of((0, 1), "t_offset", t_offset)
        self._scalar_dtype = checked_scalar_dtype(scalar_dtype, ("float32", "float64"))
        self._dialect = _SINGLE if self._scalar_dtype == "float32" else TF1
        self._iterations = np.zeros((), np.int64)
        self._m_schedule = np.ones((), self._scalar_dtype or np.float64)
        self.updates = []
        self._variables = Variables()

    lr = _number("lr", nonnegative_finite, "Learning rate, finite and >= 0.")
    beta_1 = _number("beta_1", decay_rate, "Decay rate of the first moment, in [0, 1).")
    beta_2 = _number("beta_2", decay_rate, "Decay rate of the second moment, in [0, 1).")
    epsilon = _number("epsilon", nonnegative_finite, "Added to the root of the second moment, finite and >= 0.")
    schedule_decay = _number("schedule_decay", nonnegative, "Speed of the momentum schedule, >= 0.")
    clipnorm = _number("clipnorm", nonnegative_or_none, "What the norm of each gradient is clipped to, >= 0, or None.")
    clipvalue = _number("clipvalue", nonnegative_or_none, "What each element is clipped to after that, >= 0, or None.")

    @property
    def iterations(self) -> np.ndarray:
        """Number of steps made: an int64 array of shape (), counted up in place; may be set to a number."""
        return self._iterations

    @iterations.setter
    def iterations(self, value: int):
        self._iterations[...] = checked_count("iterations", value)

    @property
    def m_schedule(self) -> np.ndarray:
        """Product of the momentum coefficients: an array of shape (), overwritten in place; may be set to a number."""
        return self._m_schedule

    @m_schedule.setter
    def m_schedule(self, value: float):
        check_product("m_schedule", np.asarray(value))
        self._m_schedule[...] = value

    @property
    def t_offset(self) -> int:
        """What is added to the number of a step in its formulas, read-only."""
        return self._t_offset

    @property
    def weights(self) -> list[np.ndarray]:
        """The state: arrays that steps overwrite, in the order of `get_weights`."""
        states = self._variables.states
        if not states:
            return []
        moments = [[state.leaf.unflatten(getattr(state, name)) for state in states] for name in _MOMENTS]
        return [self.iterations, *moments[0], *moments[1]]

    def get_weights(self, m_schedule: bool = False) -> list[np.ndarray]:
        """Copies of the state; an empty list before there are any arrays.

        Parameters
        ----------
        m_schedule : bool, optional
            False gives what TensorFlow 1.13 does, iterations, the first moments, and the second moments; True puts
            `m_schedule` after iterations, as TensorFlow does from 1.14.
        """
        weights = [weight.copy() for weight in self.weights]
        return [weights[0], self.m_schedule.copy(), *weights[1:]] if m_schedule and weights else weights

    def set_weights(self, weights: list) -> None:
        """Take over a state from `get_weights`, in either form, here or in TensorFlow, for the same arrays.

        An optimizer that has not made a step must be told its arrays first, by `get_updates`. A list without
        `m_schedule`, with which TensorFlow 1.13 starts it anew, gets the product that belongs to its iterations.

        Parameters
        ----------
        weights : list of array_like

        Raises
        ------
        TypeError, ValueError
            If their number, a shape, or a value does not fit. The optimizer is then unchanged.
        """
        weights, current = list(weights), self.weights
        is_long = len(current) > 0 and len(weights) == len(current) + 1
        if is_long:
            current = [current[0], self.m_schedule, *current[1:]]
        if len(weights) != len(current):
            raise ValueError(
                f"Length of the specified weight list ({len(weights)}) does not match the number of weights of the "
                f"optimizer ({len(current)})"
            )
        weights = checked_weights(weights, current)
        if is_long:
            check_product("weights[1]", weights[1])
        for index in range(len(weights) - len(self._variables.states), len(weights)):
            check_squares(f"weights[{index}]", weights[index])
        for weight, value in zip(current, weights, strict=True):
            weight[...] = value
        if weights and not is_long:
            self.m_schedule[...] = self._product_after(int(self.iterations))

    def apply_gradients(self, grads_and_vars: GradientsAndVariables) -> None:
        """Do what running the operations of ``get_updates`` did: update arrays in place, once.

        Parameters
        ----------
        grads_and_vars : iterable of (gradient, array)
            The arrays are float32, float64, complex64 or complex128, of any shape and layout, and need not be the same
            in each step. A gradient is an array like its variable; or, for IndexedSlices, a pair ``(indices, rows)`` or
            a scipy.sparse matrix. Gradients are never written.

        Raises
        ------
        TypeError, ValueError
            If there are no pairs, one is none, or a gradient is None or does not fit its array. Arrays and state are
            then unchanged.
        """
        self._apply(pairs_of("grads_and_vars", grads_and_vars))

    def get_gradients(self, loss: Callable, params: list[np.ndarray]) -> list[Gradient]:
        """The clipped gradients of a loss.

        Parameters
        ----------
        loss : callable
            ``loss() -> (value, gradients)``, with one gradient for each array.
        params : list of ndarray

        Returns
        -------
        list of ndarray or (indices, rows)
            New arrays.

        Raises
        ------
        TypeError, ValueError
            If `loss` returns anything else, or a gradient is None or does not fit its array.
        """
        _, pairs = value_and_pairs(loss, (), "params", params)
        _, states, gradients = self._checked(pairs)
        clipped = clipped_gradients(states, self._hyperparameters(), gradients, self._dialect)
        return [as_given(gradient, state.leaf) for gradient, state in zip(clipped, states, strict=True)]

    def get_updates(self, loss: Callable, params: list[np.ndarray]) -> list[Callable]:
        """The updates of the arrays `params`, as functions; makes their moments, unless they have some.

        Parameters
        ----------
        loss : callable
            ``loss(*inputs) -> (value, gradients)``, with one gradient for each array.
        params : list of ndarray

        Returns
        -------
        list of one callable
            ``update(*inputs)`` calls `loss`, makes a step, and returns the value; the inputs stand for placeholders.
            Its errors are those of `get_gradients`.

        Raises
        ------
        TypeError, ValueError
            If one of `params` is not an array that can be updated, or shares memory with another.
        """
        params = list(params)
        if not callable(loss):
            raise TypeError(f"loss={loss!r} is a {type(loss).__name__}: it must be a function")
        named = ((array, f"params[{index}]") for index, array in enumerate(params))
        self._variables, _ = self._variables.including(named)

        def update(*inputs):
            value, pairs = value_and_pairs(loss, inputs, "params", params)
            self._apply(pairs)
            return value

        self.updates = [update]
        return self.updates

    def get_config(self) -> dict:
        """What `from_config` makes the same optimizer of, without its state."""
        config = {key: value for key, value in self._numbers.items() if value is not None}
        if self._t_offset:
            config["t_offset"] = self._t_offset
        return config if self._scalar_dtype is None else config | {"scalar_dtype": self._scalar_dtype}

    @classmethod
    def from_config(cls, config: Mapping) -> "Nadam":
        """An optimizer from a dict that `get_config` returned, here or in TensorFlow."""
        return cls(**config)

    def __repr__(self) -> str:
        settings = ", ".join(f"{key}={value!r}" for key, value in self.get_config().items())
        return f"Nadam({len(self._variables.states)} arrays, {settings}, iterations={int(self.iterations)})"

    def __getstate__(self):
        """What is copied and pickled: all but `updates`, which are functions of the user's."""
        names = [name for name in self.__slots__ if name not in ("__weakref__", "updates")]
        return {name: getattr(self, name) for name in names}

    def __setstate__(self, state):
        """Take over a copied or pickled optimizer."""
        for name, value in state.items():
            setattr(self, name, value)
        self.updates = []

    def _checked(self, pairs):
        """All variables, the states of those in `pairs`, and the checked gradients."""
        for pair in pairs:
            if pair.gradient is None:
                raise ValueError(f"An operation has `None` for gradient: {pair.gradient_name}")
        variables, states = self._variables.including((pair.array, pair.array_name) for pair in pairs)
        return variables, states, variables.gradients(pairs, states)

    def _apply(self, pairs):
        """Make a step."""
        if not pairs:
            raise ValueError("grads_and_vars=[]: at least one pair (gradient, array) is needed")
        variables, states, gradients = self._checked(pairs)
        hyper = self._hyperparameters()

        self._variables = variables
        for state in states:
            state.iterations = int(self.iterations) + self._t_offset
            state.mu_product = float(self.m_schedule)
        update_arrays([(state, hyper, self.lr) for state in states], gradients, self._dialect, Options())
        self.m_schedule[...] = states[0].mu_product
        self._iterations += 1

    def _product_after(self, iterations):
        """What `m_schedule` is after so many steps with the present hyperparameters."""
        hyper, product = self._hyperparameters(), 1.0
        for step in range(1 + self._t_offset, 1 + self._t_offset + iterations):
            earlier = product
            product, *_ = self._dialect.coefficients(hyper, self.lr, step, product)
            if product == earlier:  # 0, or too small to become smaller
                break
        return product

    def _hyperparameters(self):
        return Hyperparameters(
            beta_1=self.beta_1,
            beta_2=self.beta_2,
            epsilon=self.epsilon,
            momentum_decay=self.schedule_decay,
            clipnorm=limit_of(self.clipnorm),
            clipvalue=limit_of(self.clipvalue),
        )
