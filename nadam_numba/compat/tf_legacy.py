"""tf.keras.optimizers.legacy.Nadam and Adam (OptimizerV2) on NumPy arrays, which stand for variables.

Since TensorFlow 2.16 they are tf_keras.optimizers.legacy.Nadam and Adam.
"""

import dataclasses
import numbers
import warnings
from collections.abc import Callable, Iterable, Mapping

import numpy as np

from nadam_numba.compat._schedules import as_number, schedule_as_data, schedule_from_data
from nadam_numba.compat._tensorflow import (
    EPSILON,
    GradientsAndVariables,
    Variables,
    check_product,
    check_squares,
    checked_scalar_dtype,
    checked_weights,
    limit_of,
    nonnegative_or_none,
    pairs_of,
    value_and_pairs,
)
from nadam_numba.dialects import TF_LEGACY_ADAM, TF_LEGACY_NADAM, exact
from nadam_numba.hyperparameters import (
    Hyperparameters,
    Options,
    accepts,
    decay_rate,
    nonnegative,
    nonnegative_finite,
    true_or_false,
)
from nadam_numba.state import checked_count
from nadam_numba.update import update_arrays

_KWARGS = ("clipnorm", "clipvalue", "lr", "decay", "global_clipnorm")
_CHECKS = {
    "learning_rate": nonnegative_finite,
    "beta_1": decay_rate,
    "beta_2": decay_rate,
    "decay": nonnegative_finite,
    "schedule_decay": nonnegative,
    "epsilon": nonnegative_finite,
}
_MAY_BE_FUNCTIONS = ("learning_rate", "beta_1", "beta_2")
_SLOTS = {"m": "first_moment", "v": "second_moment", "vhat": "largest_moment"}


def _is_schedule(value):
    return callable(value) and not accepts(value)


def _checked(key, name, value):
    """A hyperparameter as a float if TensorFlow has it in single precision, else as an np.float64."""
    number = _CHECKS[key](name, as_number(value))
    # It converts Python's numbers to that, and leaves arrays and tensors in theirs.
    is_python_number = isinstance(value, numbers.Number) and not isinstance(value, np.generic)
    is_single = is_python_number or getattr(value, "dtype", None) == np.float32
    return number if is_single else np.float64(number)


def _hyper(name, text):
    """A property that reads and sets a hyperparameter, which may be a function without arguments."""

    def get(self):
        return self._number(name)

    def set_(self, value):
        self._set_hyper(name, value)

    return property(get, set_, doc=text)


def _decay(name, text):
    """A property that reads a hyperparameter, and warns when it is set."""

    def set_(self, value):
        warnings.warn(
            f"decay={value!r} is ignored, as by TensorFlow, which reads it only when the optimizer is made",
            stacklevel=2,
        )

    return property(lambda self: self._number(name), set_, doc=text)


def _clip(name, text):
    """A property that reads and sets a limit of the gradients."""

    def get(self):
        return getattr(self, f"_{name}")

    def set_(self, value):
        value = nonnegative_or_none(name, value)
        if value is not None and self.gradient_transformers:
            raise ValueError(
                f"{name}={value!r}: it must be None, as there are gradient_transformers={self.gradient_transformers!r}"
            )
        setattr(self, f"_{name}", value)

    return property(get, set_, doc=text)


class _OptimizerV2:
    """What Nadam and Adam have in common."""

    __slots__ = (
        "__weakref__",
        "_clipnorm",
        "_clipvalue",
        "_dialect",
        "_epsilon",
        "_global_clipnorm",
        "_hypers",
        "_iterations",
        "_momentum_cache",
        "_name",
        "_scalar_dtype",
        "_slots",
        "_variables",
        "gradient_aggregator",
        "gradient_transformers",
    )

    def __init__(
        self,
        hyper,
        epsilon,
        name,
        dialect,
        scalar_dtype,
        gradient_aggregator=None,
        gradient_transformers=None,
        **kwargs,
    ):
        for key, value in kwargs.items():
            if key not in _KWARGS:
                raise TypeError(
                    f"Unexpected keyword argument passed to optimizer: {key}={value!r}: allowed are {_KWARGS}"
                )
        if "lr" in kwargs:
            warnings.warn("lr is deprecated: use learning_rate", stacklevel=3)
            rate = kwargs["lr"]
            if not callable(rate):
                _checked("learning_rate", "lr", rate)
            hyper = {**hyper, "learning_rate": rate}
        self._name = name or type(self).__name__.lower()
        self._scalar_dtype = checked_scalar_dtype(scalar_dtype, ("float64",))
        self._dialect = dialect if self._scalar_dtype is None else exact(dialect)
        self._iterations = None
        self._momentum_cache = None
        self._variables = Variables()
        self._slots = {}  # keys are a slot's name and a state, in the order of their making; values are None
        self._hypers = {}
        for key, value in hyper.items():
            self._set_hyper(key, value)
        self.epsilon = EPSILON if epsilon is None else _CHECKS["epsilon"]("epsilon", as_number(epsilon)) or EPSILON
        self.gradient_aggregator = gradient_aggregator
        self.gradient_transformers = list(gradient_transformers or ())
        for key in ("clipnorm", "global_clipnorm", "clipvalue"):
            setattr(self, key, kwargs.get(key))
        if self.clipnorm is not None and self.global_clipnorm is not None:
            raise ValueError(
                f"clipnorm={self.clipnorm!r} and global_clipnorm={self.global_clipnorm!r}: one of them must be None"
            )

    learning_rate = _hyper("learning_rate", "Learning rate, a finite number >= 0 or a tensor of one, or a function.")
    lr = _hyper("learning_rate", "Short for `learning_rate`.")
    beta_1 = _hyper("beta_1", "Decay rate of the first moment, in [0, 1), or a function without arguments.")
    beta_2 = _hyper("beta_2", "Decay rate of the second moment, in [0, 1), or a function without arguments.")
    clipnorm = _clip("clipnorm", "What the norm of each gradient is clipped to, a number >= 0 or None.")
    clipvalue = _clip("clipvalue", "What each element of the gradients is clipped to, a number >= 0 or None.")
    global_clipnorm = _clip("global_clipnorm", "What the norm of all gradients is clipped to, a number >= 0 or None.")

    @property
    def epsilon(self) -> float:
        """Added to the root of the second moment, a finite number >= 0."""
        return self._epsilon

    @epsilon.setter
    def epsilon(self, value: float):
        self._epsilon = _CHECKS["epsilon"]("epsilon", as_number(value))

    @property
    def iterations(self) -> np.ndarray:
        """Number of steps made: an int64 array of shape (), counted up in place.

        Until it is read or a step is made, it may be set, to an integer in [0, 2**53] or to the array of another
        optimizer, which both then count up; RuntimeError afterwards.
        """
        if self._iterations is None:
            self._iterations = np.zeros((), np.int64)
        return self._iterations

    @iterations.setter
    def iterations(self, variable: int | np.ndarray):
        if self._iterations is not None:
            raise RuntimeError(f"iterations={variable!r}: it cannot be replaced once the optimizer's weights exist")
        count = checked_count("iterations", variable)
        is_variable = isinstance(variable, np.ndarray) and variable.dtype == np.int64 and variable.flags.writeable
        self._iterations = variable if is_variable else np.array(count, np.int64)

    @property
    def weights(self) -> list[np.ndarray]:
        """The state: arrays that steps overwrite, in the order of `get_weights`."""
        scalars = [weight for weight in (self._iterations, self._momentum_cache) if weight is not None]
        return scalars + [_slot(state, name) for name, state in self._slots]

    def variables(self) -> list[np.ndarray]:
        """The same as `weights`."""
        return self.weights

    def get_weights(self) -> list[np.ndarray]:
        """Copies of the state: iterations, Nadam's momentum cache, m of each array, v of each array, Adam's vhat.

        Arrays that were met in a later step come after all those. Empty before the first step.
        """
        return [weight.copy() for weight in self.weights]

    def set_weights(self, weights: list) -> None:
        """Take over a state from `get_weights`, here or in TensorFlow, of an optimizer of the same arrays.

        An optimizer that has not made a step must be told its arrays first, by ``_create_all_weights(var_list)``.

        Parameters
        ----------
        weights : list of array_like

        Raises
        ------
        TypeError, ValueError
            If their number, a shape, or a value does not fit. The optimizer is then unchanged.
        """
        weights, current = list(weights), self.weights
        if len(weights) != len(current):
            raise ValueError(
                f"You called `set_weights(weights)` on optimizer {self._name} with a weight list of length "
                f"{len(weights)}: it must have {len(current)}"
            )
        weights = checked_weights(weights, current)
        slots = len(current) - len(self._slots)
        if self._momentum_cache is not None:
            check_product("weights[1]", weights[1])
        for index, (name, _) in enumerate(self._slots, start=slots):
            if name != "m":
                check_squares(f"weights[{index}]", weights[index])
        for weight, value in zip(current, weights, strict=True):
            weight[...] = value

    def get_slot_names(self) -> list[str]:
        """The names of the slots that exist: "m" and "v", Adam's "vhat" with amsgrad; none before the first step."""
        return list(dict.fromkeys(name for name, _ in self._slots))

    def get_slot(self, var: np.ndarray, slot_name: str) -> np.ndarray:
        """The state of one array, in its shape; steps overwrite it.

        Parameters
        ----------
        var : ndarray
        slot_name : {"m", "v", "vhat"}
            First moment, second moment, largest second moment.

        Raises
        ------
        KeyError
            If there is none.
        """
        state = self._variables[var]
        if (slot_name, state) not in self._slots:
            raise KeyError(f"slot_name={slot_name!r}: the slots are {self.get_slot_names()}")
        return _slot(state, slot_name)

    def apply_gradients(
        self,
        grads_and_vars: GradientsAndVariables,
        name: str | None = None,
        experimental_aggregate_gradients: bool = True,
    ) -> np.ndarray:
        """Update arrays in place, once.

        Parameters
        ----------
        grads_and_vars : iterable of (gradient, array)
            The arrays are float32, float64, complex64 or complex128, of any shape and layout, and need not be the same
            in each step. A gradient is an array like its variable; None, which leaves it alone; or, for IndexedSlices,
            a pair ``(indices, rows)`` or a scipy.sparse matrix. Gradients are never written.
        name : str, optional
            Ignored: there is no graph.
        experimental_aggregate_gradients : bool, optional
            Whether to call `gradient_aggregator`.

        Returns
        -------
        ndarray
            `iterations`.

        Raises
        ------
        TypeError, ValueError
            If a pair is none, all gradients are None, one does not fit its array, or a function for a hyperparameter
            returns a value out of range. Arrays and state are then unchanged.
        """
        return self._apply(pairs_of("grads_and_vars", grads_and_vars), experimental_aggregate_gradients)

    def minimize(
        self,
        loss: Callable,
        var_list: list[np.ndarray] | Callable,
        grad_loss: float | None = None,
        name: str | None = None,
        tape: None = None,
    ) -> np.ndarray:
        """Compute gradients, and update arrays in place, once.

        Parameters
        ----------
        loss : callable
            ``loss() -> (value, gradients)``, with one gradient for each array, as NumPy has no tape that records them.
        var_list : list or tuple of ndarray, ndarray, or callable
            The arrays; or a function without arguments that returns them, which is called after `loss`.
        grad_loss : float, optional
            What the gradients are multiplied by.
        name : str, optional
            Ignored.
        tape : None, optional

        Returns
        -------
        ndarray
            `iterations`.

        Raises
        ------
        TypeError, ValueError
            If `loss` is no function or `tape` is not None; if `loss` returns anything else; and as `apply_gradients`.
        """
        if not callable(loss):
            raise ValueError(f"loss={loss!r}, tape={tape!r}: loss must be a function that returns (value, gradients)")
        if tape is not None:
            raise ValueError(f"tape={tape!r}: it must be None, as loss returns its gradients itself")
        _, pairs = value_and_pairs(loss, (), "var_list", var_list)
        if grad_loss is not None:
            pairs = [pair._replace(gradient=_scaled(pair.gradient, grad_loss)) for pair in pairs]
        return self._apply(pairs, True)

    def get_config(self) -> dict:
        """What `from_config` makes the same optimizer of, without its state.

        A schedule of `nadam_numba.schedules` is written as TensorFlow writes its own, any other handed on as it is; of
        a function without arguments, or a tensor, the number it gives now.
        """
        clips = {key: getattr(self, key) for key in ("clipnorm", "clipvalue", "global_clipnorm")}
        config = {"name": self._name, **{key: value for key, value in clips.items() if value is not None}}
        config |= {key: schedule_as_data(self._number(key)) for key in self._hypers} | {"epsilon": self._epsilon}
        return config if self._scalar_dtype is None else config | {"scalar_dtype": self._scalar_dtype}

    @classmethod
    def from_config(cls, config: Mapping, custom_objects: Mapping | None = None) -> "_OptimizerV2":
        """An optimizer from a dict that `get_config` returned, here or in TensorFlow; "lr" is accepted, too.

        Parameters
        ----------
        config : dict
        custom_objects : dict, optional
            Classes of schedules by name, in place of those of `nadam_numba.schedules`.

        Raises
        ------
        TypeError, ValueError
            As in the class; or if the learning rate is a schedule that is not known.

        Examples
        --------
        >>> from nadam_numba import schedules
        >>> from nadam_numba.compat import tf_legacy
        >>> optimizer = tf_legacy.Adam(schedules.cosine_decay(0.1, decay_steps=100))
        >>> config = optimizer.get_config()
        >>> config["learning_rate"]["class_name"]
        'CosineDecay'
        >>> tf_legacy.Adam.from_config(config).learning_rate == optimizer.learning_rate
        True
        """
        config = dict(config)
        if "lr" in config:
            config["learning_rate"] = config.pop("lr")
        if isinstance(config.get("learning_rate"), Mapping):
            config["learning_rate"] = schedule_from_data(config["learning_rate"], custom_objects or {})
        return cls(**config)

    def __repr__(self) -> str:
        count = 0 if self._iterations is None else int(self._iterations)
        config = self.get_config() | {"learning_rate": self._number("learning_rate")}
        settings = ", ".join(f"{key}={value!r}" for key, value in config.items())
        return f"{type(self).__name__}({len(self._variables.states)} arrays, {settings}, iterations={count})"

    def _apply(self, pairs, is_aggregated):
        """Make a step, and return `iterations`."""
        given = [pair for pair in pairs if pair.gradient is not None]
        if not given:
            if pairs:
                raise ValueError(f"No gradients provided for any variable: there are {len(pairs)}, all of them None")
            return self._apply_nothing()
        variables, states = self._variables.including((pair.array, pair.array_name) for pair in given)
        pairs = self._transformed(given, is_aggregated)
        if not pairs:
            raise ValueError("No gradients provided for any variable: gradient_transformers left none")
        moved = states if pairs is given else [variables[pair.array] for pair in pairs]
        gradients = variables.gradients(pairs, moved)
        hyper, options = self._hyperparameters(), Options(global_clipnorm=limit_of(self._global_clipnorm))
        learning_rate = self._learning_rate()

        self._create(variables, states)
        for state in moved:
            # A variable that is met late starts with the count and the product of all.
            state.iterations = int(self._iterations)
            state.mu_product = 1.0 if self._momentum_cache is None else float(self._momentum_cache)
        arrays = [(state, hyper, learning_rate) for state in moved]
        update_arrays(arrays, gradients, self._dialect, options)
        if self._momentum_cache is not None:
            self._momentum_cache[...] = moved[0].mu_product
        self._iterations += 1
        return self._iterations

    def _create_all_weights(self, var_list: Iterable[np.ndarray]) -> None:
        """Make the state of the arrays `var_list`, as the first step does, so that `set_weights` can be called."""
        arrays = list(var_list)
        if not arrays:
            self._apply_nothing()
        self._create(*self._variables.including((array, f"var_list[{i}]") for i, array in enumerate(arrays)))

    def _create(self, variables, states):
        """Take in variables, and make those slots of `states` that are missing."""
        self._variables = variables
        _ = self.iterations
        for name in self._slot_names:
            for state in states:
                if getattr(state, _SLOTS[name]) is None:
                    state.largest_moment = state.largest_of_zeros()
                self._slots.setdefault((name, state))

    def _transformed(self, pairs, is_aggregated):
        aggregators = [self.gradient_aggregator] if is_aggregated and self.gradient_aggregator else []
        # Clipping comes between the two, but excludes the second.
        for transform in aggregators + self.gradient_transformers:
            pairs = transform([(pair.gradient, pair.array) for pair in pairs])
            pairs = pairs_of(f"{transform!r}(grads_and_vars)", pairs)
        return pairs

    def _set_hyper(self, key, value):
        if _is_schedule(value) and not (key == "learning_rate" and self._takes_schedules):
            raise ValueError(
                f"{key}={value!r}: the {type(self).__name__} optimizer takes a number, or a function without "
                f"arguments, for its {key.replace('_', ' ')}"
            )
        if not (callable(value) and key in _MAY_BE_FUNCTIONS):
            number = _checked(key, key, value)
            is_tensor = not isinstance(value, (numbers.Number, np.generic, np.ndarray))
            value = value if is_tensor else self._as_before(key, number)
        self._hypers[key] = value

    def _as_before(self, key, number):
        """`number`, in the precision of the one that it takes the place of, if TensorFlow has made that a variable."""
        previous = self._hypers.get(key)
        is_variable = self._iterations is not None and isinstance(previous, float)
        return type(previous)(number) if is_variable else number

    def _number(self, key):
        """A hyperparameter as the user reads it: what a function returns or a tensor holds, but a schedule as it is."""
        value = self._hypers[key]
        if isinstance(value, float) or _is_schedule(value):
            return value
        return _checked(key, f"{key}()", value()) if callable(value) else _checked(key, key, value)

    def _hyperparameters(self):
        return Hyperparameters(
            beta_1=self._number("beta_1"),
            beta_2=self._number("beta_2"),
            epsilon=self._epsilon,
            clipvalue=limit_of(self._clipvalue),
            clipnorm=limit_of(self._clipnorm),
        )

    def _learning_rate(self):
        value = self._number("learning_rate")
        if callable(value):
            step = 0 if self._iterations is None else int(self._iterations)
            value = _checked("learning_rate", f"learning_rate({step})", value(step))
        return self._rounded(value)

    def _rounded(self, number):
        is_kept = self._scalar_dtype is not None or isinstance(number, np.float64)
        return float(number if is_kept else np.float32(number))


class Nadam(_OptimizerV2):
    """tf.keras.optimizers.legacy.Nadam.

    Parameters
    ----------
    learning_rate : float or callable, optional
        A finite number >= 0, an array or tensor without dimensions that holds one, or a function without arguments that
        returns either. Schedules are refused, as by TensorFlow.
    beta_1, beta_2 : float or callable, optional
        Decay rates of the first and second moment of the gradients, in [0, 1), or functions without arguments.
    epsilon : float, optional
        Added to the root of the second moment, finite and >= 0; None and 0 become 1e-7. It may be set to 0 later.
    name : str, optional
        Part of `get_config`, and of nothing else.
    schedule_decay : float, optional
        Speed at which the momentum coefficient grows from ``beta_1 / 2`` to `beta_1`, >= 0.
    scalar_dtype : {None, "float64"}, optional
        None rounds the decay rates to single precision, and the learning rate if it is a Python number, as TensorFlow
        does; "float64" does not.
    **kwargs
        ``clipvalue``, then ``clipnorm`` or ``global_clipnorm``: numbers >= 0 that the elements, norms, or common norm
        of the gradients are clipped to. ``gradient_aggregator``: a function from a list of pairs (gradient, array) to
        another, called before that; ``gradient_transformers``: a list of such functions, instead of clipping. ``lr``:
        in place of `learning_rate`, deprecated. ``decay``: ignored, with a warning.

    Raises
    ------
    TypeError
        If an argument is unknown, or not a number.
    ValueError
        If one is out of range, the learning rate is a schedule, or two exclude each other.

    Notes
    -----
    The rule is that of `nadam_numba.NAdam` with ``momentum_decay=schedule_decay``. A sparse gradient makes the moments
    of all rows decay, but moves only the rows it has; rows of one index are clipped before they are summed.

    References
    ----------
    T. Dozat, "Incorporating Nesterov Momentum into Adam", ICLR workshop 2016;
    tf_keras/src/optimizers/legacy/nadam.py in TF-Keras 2.21.

    Examples
    --------
    >>> import numpy as np
    >>> from nadam_numba.compat import tf_legacy
    >>> weights = np.array([10.0, -4.0])
    >>> optimizer = tf_legacy.Nadam(learning_rate=0.2)
    >>> steps = optimizer.minimize(lambda: (0.5 * weights @ weights, [weights]), [weights])
    >>> int(steps), weights.round(1).tolist()
    (1, [9.8, -3.8])
    """

    __slots__ = ()
    _takes_schedules = False
    _slot_names = ("m", "v")

    def __init__(
        self,
        learning_rate: float | Callable = 0.001,
        beta_1: float | Callable = 0.9,
        beta_2: float | Callable = 0.999,
        epsilon: float | None = 1e-7,
        name: str = "Nadam",
        *,
        schedule_decay: float = 0.004,
        scalar_dtype=None,
        **kwargs,
    ):
        if kwargs.pop("decay", None) is not None:
            warnings.warn("decay is ignored, as by TensorFlow: it is schedule_decay that has an effect", stacklevel=2)
        hyper = {
            "learning_rate": learning_rate,
            "schedule_decay": schedule_decay,
            "beta_1": beta_1,
            "beta_2": beta_2,
        }
        super().__init__(hyper, epsilon, name, TF_LEGACY_NADAM, scalar_dtype, **kwargs)

    schedule_decay = _hyper("schedule_decay", "Speed of the momentum schedule, a number >= 0.")
    decay = _decay("schedule_decay", "What TensorFlow calls `schedule_decay` once the optimizer is made, read-only.")

    @classmethod
    def from_config(cls, config: Mapping, custom_objects: Mapping | None = None) -> "Nadam":
        """An optimizer from a dict that `get_config` returned, here or in TensorFlow.

        Parameters
        ----------
        config : dict
            "lr" may stand for "learning_rate", and "decay", as in TensorFlow, for "schedule_decay".
        custom_objects : dict, optional
            Of no use, as schedules are refused.
        """
        config = dict(config)
        if "decay" in config:
            decay = config.pop("decay")
            config.setdefault("schedule_decay", decay)
        return super().from_config(config, custom_objects)

    def _apply_nothing(self):
        raise IndexError("grads_and_vars=[]: at least one pair (gradient, array) is needed")

    def _create(self, variables, states):
        if self._momentum_cache is None:
            dtype = states[0].leaf.real_dtype if self._scalar_dtype is None else np.float64
            self._momentum_cache = np.ones((), dtype)
        super()._create(variables, states)

    def _hyperparameters(self):
        return dataclasses.replace(super()._hyperparameters(), momentum_decay=self._number("schedule_decay"))


class Adam(_OptimizerV2):
    """tf.keras.optimizers.legacy.Adam.

    Parameters
    ----------
    learning_rate : float or callable, optional
        A finite number >= 0; an array or tensor without dimensions that holds one; a function without arguments that
        returns either; or a schedule, which does so for the number of steps already made: one of
        `nadam_numba.schedules`, of TensorFlow, or any other function.
    beta_1, beta_2 : float or callable, optional
        Decay rates of the first and second moment of the gradients, in [0, 1), or functions without arguments.
    epsilon : float, optional
        Added to the root of the second moment before its bias is corrected ("epsilon hat"), finite and >= 0; None and 0
        become 1e-7. It may be set to 0 later.
    amsgrad : bool, optional
        Divide by the root of the largest second moment so far.
    name : str, optional
        Part of `get_config`, and of nothing else.
    scalar_dtype : {None, "float64"}, optional
        None rounds the decay rates to single precision, and the learning rate and its decay if they are Python numbers,
        as TensorFlow does; "float64" does not.
    **kwargs
        ``decay``: a number >= 0; the learning rate is divided by ``1 + decay * iterations``. ``clipvalue``, then
        ``clipnorm`` or ``global_clipnorm``: numbers >= 0 that the elements, norms, or common norm of the gradients are
        clipped to. ``gradient_aggregator``: a function from a list of pairs (gradient, array) to another, called before
        that; ``gradient_transformers``: a list of such functions, instead of clipping. ``lr``: in place of
        `learning_rate`, deprecated.

    Raises
    ------
    TypeError
        If an argument is unknown, or not a number.
    ValueError
        If one is out of range, or two exclude each other.

    Notes
    -----
    A sparse gradient moves all rows, as the dense one would; rows of one index are clipped before they are summed.

    References
    ----------
    D. P. Kingma, J. Ba, "Adam: A Method for Stochastic Optimization", ICLR 2015; S. J. Reddi, S. Kale, S. Kumar, "On
    the Convergence of Adam and Beyond", ICLR 2018 (amsgrad); tf_keras/src/optimizers/legacy/adam.py in TF-Keras 2.21.

    Examples
    --------
    >>> import numpy as np
    >>> from nadam_numba.compat import tf_legacy
    >>> table = np.zeros((4, 2))
    >>> optimizer = tf_legacy.Adam(learning_rate=0.1, amsgrad=True)
    >>> rows = np.array([1, 1, 3]), np.ones((3, 2))
    >>> int(optimizer.apply_gradients([(rows, table)]))
    1
    >>> table.round(3).tolist()
    [[0.0, 0.0], [-0.1, -0.1], [0.0, 0.0], [-0.1, -0.1]]
    """

    __slots__ = ("_amsgrad",)
    _takes_schedules = True

    def __init__(
        self,
        learning_rate: float | Callable = 0.001,
        beta_1: float | Callable = 0.9,
        beta_2: float | Callable = 0.999,
        epsilon: float | None = 1e-7,
        amsgrad: bool = False,
        name: str = "Adam",
        *,
        scalar_dtype=None,
        **kwargs,
    ):
        hyper = {
            "learning_rate": learning_rate,
            "decay": kwargs.get("decay", 0.0),
            "beta_1": beta_1,
            "beta_2": beta_2,
        }
        super().__init__(hyper, epsilon, name, TF_LEGACY_ADAM, scalar_dtype, **kwargs)
        self._amsgrad = true_or_false("amsgrad", amsgrad)

    decay = _decay("decay", "What makes the learning rate fall, read-only.")

    @property
    def amsgrad(self) -> bool:
        """Whether to divide by the root of the largest second moment so far, read-only."""
        return self._amsgrad

    def set_weights(self, weights: list) -> None:
        """Take over a state, as described in the base class; without amsgrad, a list with vhats loses them."""
        weights, length = list(weights), len(self.weights)
        if not self._amsgrad and len(weights) == 3 * (length // 2) + 1:
            weights = weights[:length]
        super().set_weights(weights)

    def get_config(self) -> dict:
        """What `from_config` makes the same optimizer of, without its state."""
        return super().get_config() | {"amsgrad": self._amsgrad}

    def _apply_nothing(self):
        return self.iterations

    @property
    def _slot_names(self):
        return ("m", "v", "vhat") if self._amsgrad else ("m", "v")

    def _hyperparameters(self):
        return dataclasses.replace(super()._hyperparameters(), nesterov=False, amsgrad=self._amsgrad)

    def _learning_rate(self):
        decay = self._rounded(self._number("decay"))
        step = 0 if self._iterations is None else int(self._iterations)
        return super()._learning_rate() / (1.0 + decay * step)


def _slot(state, name):
    return state.leaf.unflatten(getattr(state, _SLOTS[name]))


def _scaled(gradient, factor):
    if gradient is None:
        return None
    if isinstance(gradient, tuple):
        indices, rows = gradient
        return indices, rows * factor
    return gradient * factor
