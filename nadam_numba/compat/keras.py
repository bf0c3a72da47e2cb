"""keras.optimizers.Nadam of Keras 3 on NumPy arrays: its arguments, methods, errors and numbers, without Keras."""

import copy
import dataclasses
import inspect
import math
import numbers
import os
import re
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np

from nadam_numba import dialects
from nadam_numba.compat._schedules import checked_rate, schedule_as_data, schedule_from_data
from nadam_numba.hyperparameters import Hyperparameters, Options, nonnegative_finite, one_of
from nadam_numba.optimizer import NAdam
from nadam_numba.state import checked_count

_DIALECTS = {
    "tensorflow": dialects.KERAS_TENSORFLOW,
    "jax": dialects.KERAS,
    "torch": dialects.KERAS_TORCH,
}
_CLIPS = ("clipnorm", "clipvalue", "global_clipnorm")


@dataclasses.dataclass(frozen=True, eq=False)
class Variable:
    """An array with a name, for `Nadam.exclude_from_weight_decay`, which finds variables by their names.

    Parameters
    ----------
    value : ndarray
        Updated in place.
    name : str, optional

    Examples
    --------
    >>> import numpy as np
    >>> from nadam_numba.compat.keras import Variable
    >>> Variable(np.zeros(2), name="bias")
    Variable(value=array([0., 0.]), name='bias')
    """

    value: np.ndarray
    name: str = "variable"


def _setting(name, is_settable=True):
    def get(self):
        return self._settings[name]

    def set_(self, value):
        self._configure({**self._settings, name: value})

    doc = f"The argument `{name}`" + ("; may be set between steps." if is_settable else ", read-only.")
    return property(get, set_ if is_settable else None, doc=doc)


class Nadam:
    """keras.optimizers.Nadam of Keras 3, on NumPy arrays, updated in place.

    A variable is a NumPy array of float32 or float64, or an object with such an array as its ``value``: a `Variable`.

    Parameters
    ----------
    learning_rate : float or callable, optional
        A float >= 0; a schedule, which takes the number of calls of `apply` made before (those of
        keras.optimizers.schedules and of `nadam_numba.schedules` do); or a function without arguments.
    beta_1, beta_2 : float, optional
        Decay rates of the first and second moment of the gradients, in [0, 1).
    epsilon : float, optional
        Added to the root of the second moment, finite and >= 0.
    weight_decay : float, optional
        Finite and >= 0. In each update, variables first lose their product with it and the learning rate.
    clipnorm : float, optional
        Scale each gradient down to this norm. As with the other two, 0 and negative numbers do nothing.
    clipvalue : float, optional
        Clip each element of the gradients to +- this number.
    global_clipnorm : float, optional
        Scale all gradients down together to this norm; if it is not finite, all become NaN. At most one of the three.
    use_ema : bool, optional
        Keep an exponential moving average of each variable. It starts at the value after the first update.
    ema_momentum : float, optional
        Part of itself that the average keeps in each call of `apply`, in [0, 1].
    ema_overwrite_frequency : int, optional
        Overwrite variables by their averages every so many updates.
    loss_scale_factor : float, optional
        What the loss was multiplied by, > 0; the gradients are divided by it. See `scale_loss`.
    gradient_accumulation_steps : int, optional
        Average the gradients of so many calls of `apply`, >= 2, before variables are updated; 0 does nothing.
    name : str, optional
        "nadam" by default.
    backend : {"tensorflow", "jax", "torch"}, optional
        Whose rounding of scalars, and whose treatment of missing gradients while gradients are accumulated, is copied.
        By default that of the environment variable KERAS_BACKEND, and "tensorflow" without one, as in Keras.
    floatx : {"float32", "float64"}, optional
        The precision of the learning rate: what ``keras.config.floatx()`` is to Keras.
    scalar_dtype : {None, "float64"}, optional
        "float64" computes all scalars in double precision; None rounds them as Keras does.

    Raises
    ------
    ValueError
        If the learning rate is neither a float nor callable, more than one way to clip is given, an argument is out of
        range, or unknown.
    TypeError
        If an argument is of another type than above.

    Notes
    -----
    The momentum schedule has psi = 1, the decay is decoupled, and all variables share the count of updates and the
    product of the momentum coefficients. A gradient of None is left out, with a warning: its variable neither moves nor
    decays, but its average does move. A row-sparse gradient is a pair ``(indices, rows)``, or a scipy.sparse matrix;
    as in Keras, the second moment takes the sum of the squares of rows of one index, and values are clipped before they
    are summed, unless gradients are accumulated.

    References
    ----------
    T. Dozat, "Incorporating Nesterov Momentum into Adam", ICLR workshop 2016. Keras 3.15, keras.optimizers.Nadam.

    Examples
    --------
    >>> import numpy as np
    >>> from nadam_numba.compat.keras import Nadam
    >>> x = np.linspace(0.0, 1.0, 50)
    >>> y = 3.0 * x + 1.0
    >>> slope, intercept = np.zeros(()), np.zeros(())
    >>> optimizer = Nadam(learning_rate=0.1)
    >>> for _ in range(1000):
    ...     residual = slope * x + intercept - y
    ...     optimizer.apply([np.mean(2 * residual * x), np.mean(2 * residual)], [slope, intercept])
    >>> round(float(slope), 3), round(float(intercept), 3), optimizer.iterations
    (3.0, 1.0, 1000)
    """

    # No other attributes: a mistyped setting is an error.
    __slots__ = (
        "__weakref__",
        "_backend",
        "_engine",
        "_excluded",
        "_excluded_names",
        "_floatx",
        "_is_exact",
        "_iterations",
        "_learning_rate",
        "_name",
        "_own_arguments",
        "_settings",
        "_takes_step",
        "_trainable_variables",
    )

    def __init__(
        self,
        learning_rate: float | Callable = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        weight_decay: float | None = None,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
        use_ema: bool = False,
        ema_momentum: float = 0.99,
        ema_overwrite_frequency: int | None = None,
        loss_scale_factor: float | None = None,
        gradient_accumulation_steps: int | None = None,
        name: str | None = None,
        *,
        backend: str | None = None,
        floatx: str = "float32",
        scalar_dtype: str | None = None,
        **kwargs,
    ):
        if kwargs.pop("decay", None) is not None:
            warnings.warn("decay is an argument that Keras no longer supports: it is ignored", stacklevel=2)
        if kwargs:
            raise ValueError(f"Argument(s) not recognized: {kwargs}")
        self._name = _checked_name("nadam" if name is None else name)
        self._own_arguments = {"backend": backend, "floatx": floatx, "scalar_dtype": scalar_dtype}
        self._backend = _checked_backend(backend)
        self._is_exact = _is_double(scalar_dtype)
        one_of(("float32", "float64"), "floatx", floatx)
        self._floatx = np.float64 if self._is_exact else np.dtype(floatx).type
        self._engine = None
        self._iterations = 0
        self._trainable_variables = []
        self._excluded, self._excluded_names = [], None
        self._set_rate(learning_rate if callable(learning_rate) else self._stored(_a_float(learning_rate)))
        self._configure(
            {
                "weight_decay": weight_decay,
                "clipnorm": clipnorm,
                "global_clipnorm": global_clipnorm,
                "clipvalue": clipvalue,
                "use_ema": use_ema,
                "ema_momentum": ema_momentum,
                "ema_overwrite_frequency": ema_overwrite_frequency,
                "loss_scale_factor": loss_scale_factor,
                "gradient_accumulation_steps": gradient_accumulation_steps,
                "beta_1": beta_1,
                "beta_2": beta_2,
                "epsilon": epsilon,
            }
        )

    name = property(lambda self: self._name, doc="The argument `name`, read-only.")
    beta_1 = _setting("beta_1")
    beta_2 = _setting("beta_2")
    epsilon = _setting("epsilon")
    weight_decay = _setting("weight_decay")
    clipnorm = _setting("clipnorm")
    clipvalue = _setting("clipvalue")
    global_clipnorm = _setting("global_clipnorm")
    use_ema = _setting("use_ema", is_settable=False)
    ema_momentum = _setting("ema_momentum")
    ema_overwrite_frequency = _setting("ema_overwrite_frequency")
    loss_scale_factor = _setting("loss_scale_factor")
    gradient_accumulation_steps = _setting("gradient_accumulation_steps", is_settable=False)

    @property
    def built(self) -> bool:
        """Whether the optimizer knows its variables."""
        return self._engine is not None

    @property
    def iterations(self) -> int:
        """Number of updates: of calls of `apply`, divided by `gradient_accumulation_steps`, if there are any."""
        return self._iterations // self._micro_steps

    @property
    def learning_rate(self) -> float:
        """The rate of the next step. It may be set to a number, unless it is a function; or to a function.

        Raises
        ------
        TypeError
            If a number is set where the learning rate is a schedule, or something else than a number or function.
        AttributeError
            If a number is set where it is a function without arguments.
        ValueError
            If the number is not finite and >= 0.
        """
        if not callable(self._learning_rate):
            return self._learning_rate
        rate = self._learning_rate(self._iterations) if self._takes_step else self._learning_rate()
        return checked_rate("learning_rate()", rate)

    @learning_rate.setter
    def learning_rate(self, learning_rate):
        if callable(learning_rate):
            rate = learning_rate
        elif not callable(self._learning_rate):
            rate = self._stored(checked_rate("learning_rate", learning_rate))
        elif self._takes_step:
            raise TypeError(f"learning_rate={learning_rate!r}: it cannot be set to a number, as it is a schedule")
        else:
            raise AttributeError(f"learning_rate={learning_rate!r}: it cannot be set to a number, as it is a function")
        self._set_rate(rate)
        self._configure(self._settings)

    @property
    def variables(self) -> list[np.ndarray]:
        """The state, as read-only arrays, in Keras's order.

        ``iteration``, the number of calls of `apply`; ``learning_rate``, unless it is a function; and once built: the
        averages, if ``use_ema``; the sums of gradients, if they are accumulated; momentum and velocity of each variable
        in turn; and ``u_product``. The arrays of a variable's shape change with the state, the numbers do not: use
        `get_weights` to keep them.
        """
        arrays = [np.array(self._iterations)]
        if not callable(self._learning_rate):
            arrays.append(np.array(self._learning_rate, self._floatx))
        if self.built:
            arrays += self._views("average") if self.use_ema else []
            arrays += self._views("accumulated") if self.gradient_accumulation_steps else []
            arrays += self._views("first_moment", "second_moment")
            arrays.append(np.array(self._engine.states[0].mu_product, self._dialect.product_dtype))
        for array in arrays:
            array.flags.writeable = False
        return arrays

    def build(self, variables: Sequence) -> None:
        """Take over the variables to be optimized; a second time, do nothing.

        Parameters
        ----------
        variables : list of ndarray or Variable

        Raises
        ------
        TypeError
            If one is not an array of float32 or float64.
        ValueError
            If there are none, one is read-only, or two share memory; or if `exclude_from_weight_decay` was given names
            and a variable has none.
        """
        if self.built:
            return
        variables = list(variables)
        is_decayed = [self._is_decayed(number, variable) for number, variable in enumerate(variables)]
        settings = self._engine_settings(self._settings)
        # The dialect is set when the first variable's dtype is known.
        engine = NAdam.with_dialect(list(map(_array, variables)), *settings, dialects.KERAS, "variables")
        for state, flag in zip(engine.states, is_decayed, strict=True):
            state.is_decayed = flag
        self._engine, self._trainable_variables = engine, variables
        self._configure(self._settings)

    def apply(self, grads: Sequence, trainable_variables: Sequence | None = None) -> None:
        """Make one step: update the variables in place, or add up gradients.

        Parameters
        ----------
        grads : list of None, ndarray, tuple or scipy.sparse matrix
            One per variable, of its shape; never written. Real numbers of another dtype, and Python's, are converted to
            the variable's. An empty list does nothing.
        trainable_variables : list of ndarray or Variable, optional
            The variables of the gradients; by default those of `build`, which the first call may leave out.

        Raises
        ------
        ValueError
            If all gradients are None, their number or a shape does not fit, a variable is unknown or comes twice, or
            none are given before the optimizer is built.
        TypeError
            If a gradient is none of these, or complex.

        Warns
        -----
        UserWarning
            If some gradients are None.
        """
        grads = list(grads)
        if not grads:
            return
        if trainable_variables is None:
            if not self.built:
                raise ValueError(
                    "trainable_variables=None: without variables, the optimizer must have been built: call "
                    "`build(trainable_variables)` first"
                )
            variables = self._trainable_variables
        else:
            variables = list(trainable_variables)
        if len(grads) != len(variables):
            raise ValueError(f"grads has {len(grads)} entries: it must have {len(variables)}, one for each variable")
        if all(gradient is None for gradient in grads):
            raise ValueError("No gradients provided for any variable: all of grads are None")
        self.build(variables)
        ordered = [None] * len(self._trainable_variables)
        for position, gradient in zip(self._positions("trainable_variables", variables), grads, strict=True):
            ordered[position] = _cast(gradient, self._engine.states[position].leaf.array.dtype)
        gradients = self._engine.checked_gradients(ordered)
        learning_rate = self.learning_rate
        missing = [_name_of(v, number) for number, (v, g) in enumerate(zip(variables, grads, strict=True)) if g is None]
        if missing:
            warnings.warn(f"Gradients do not exist for variables {missing}: they are left as they are", stacklevel=2)
        self._engine.advance(gradients, [learning_rate])
        self._iterations += 1

    def apply_gradients(self, grads_and_vars: Iterable) -> int:
        """Call `apply` with pairs of a gradient and its variable; return the number of calls made so far.

        Raises
        ------
        ValueError
            If there are no pairs; or as `apply`.
        """
        pairs = list(grads_and_vars)
        if not pairs:
            raise ValueError("grads_and_vars is empty: it must have a pair of a gradient and a variable")
        grads, variables = zip(*pairs, strict=True)
        self.apply(grads, variables)
        return self._iterations

    def stateless_apply(
        self, optimizer_variables: Sequence, grads: Sequence, trainable_variables: Sequence
    ) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Make one step on copies.

        Parameters
        ----------
        optimizer_variables : list of ndarray
            The state to start from, as `variables` has it.
        grads : list
            As for `apply`.
        trainable_variables : list of ndarray or Variable
            The values to start from, in the order of `build`.

        Returns
        -------
        trainable_variables, optimizer_variables : list of ndarray
            After the step.

        Raises
        ------
        TypeError, ValueError
            If the optimizer has not been built, or lengths, shapes or dtypes do not fit.

        Examples
        --------
        >>> import numpy as np
        >>> from nadam_numba.compat.keras import Nadam
        >>> optimizer = Nadam(learning_rate=0.1)
        >>> weights = np.ones(2)
        >>> optimizer.build([weights])
        >>> (new_weights,), state = optimizer.stateless_apply(optimizer.variables, [np.ones(2)], [weights])
        >>> weights, bool((new_weights < 1.0).all()), int(state[0])
        (array([1., 1.]), True, 1)
        """
        self._check_is_built("stateless_apply")
        _check_length("trainable_variables", trainable_variables, len(self._trainable_variables))
        twin = copy.deepcopy(self)
        twin.set_weights(optimizer_variables)
        arrays = [state.leaf.array for state in twin._engine.states]
        for number, (array, variable) in enumerate(zip(arrays, trainable_variables, strict=True)):
            array[...] = _like(f"trainable_variables[{number}]", _array(variable), array)
        twin.apply(grads)
        return arrays, twin.get_weights()

    def scale_loss(self, loss):
        """`loss` times `loss_scale_factor`, if there is one: what to differentiate in low precision."""
        return loss if self.loss_scale_factor is None else loss * self.loss_scale_factor

    def finalize_variable_values(self, var_list: Sequence) -> None:
        """Overwrite the variables by their averages; without ``use_ema`` or before the first update, do nothing.

        Parameters
        ----------
        var_list : list of ndarray or Variable
            All variables of the optimizer.

        Raises
        ------
        ValueError
            If it is not built, or of other variables.
        """
        if not self.use_ema:
            return
        self._check_is_built("finalize_variable_values")
        _check_length("var_list", var_list, len(self._trainable_variables))
        self._positions("var_list", var_list)
        self._engine.finalize()

    def exclude_from_weight_decay(
        self, var_list: Iterable | None = None, var_names: Iterable[str] | None = None
    ) -> None:
        """Exempt variables from weight decay. A second call replaces what the first one said.

        Parameters
        ----------
        var_list : list of ndarray or Variable, optional
            The very objects that `build` will get.
        var_names : list of str, optional
            Regular expressions; a variable is exempt if one is found in its name.

        Raises
        ------
        ValueError
            If the optimizer has been built already.

        Examples
        --------
        >>> import numpy as np
        >>> from nadam_numba.compat.keras import Nadam, Variable
        >>> kernel, bias = Variable(np.ones((2, 2)), "dense_kernel"), Variable(np.ones(2), "dense_bias")
        >>> optimizer = Nadam(weight_decay=0.1)
        >>> optimizer.exclude_from_weight_decay(var_names=["bias"])
        >>> optimizer.build([kernel, bias])
        """
        if self.built:
            raise ValueError("exclude_from_weight_decay must be called before the optimizer is built")
        names = list(var_names or ())
        self._excluded_names = re.compile("|".join(names)) if names else None
        self._excluded = list(map(_array, var_list or ()))

    def get_weights(self) -> list[np.ndarray]:
        """A copy of `variables`. Keras 3 has no such method; earlier versions had."""
        return [array.copy(order="K") for array in self.variables]

    def set_weights(self, weights: Sequence) -> None:
        """Take over the values of `variables`, as `get_weights` gave them; they are copied.

        Raises
        ------
        TypeError, ValueError
            If the optimizer has not been built, or number, shape or value of the weights do not fit. The optimizer is
            then unchanged.
        """
        self._check_is_built("set_weights")
        self._assign("weights", weights)

    def save_own_variables(self, store) -> None:
        """Write a copy of `variables` into the dict `store`, under the keys "0", "1", ..."""
        for number, array in enumerate(self.get_weights()):
            store[str(number)] = array

    def load_own_variables(self, store: Mapping) -> None:
        """Take over what `save_own_variables`, or that of Keras, wrote for the same variables and settings.

        Raises
        ------
        KeyError, TypeError, ValueError
            If a key is missing, or a value does not fit. The optimizer is then unchanged.

        Warns
        -----
        UserWarning
            If the number of entries is not that of `variables`; nothing is loaded then. An optimizer that has not been
            built has one or two only.
        """
        expected = len(self.variables)
        if len(store.keys()) != expected:
            warnings.warn(
                f"store has {len(store.keys())} variables, the optimizer {self.name!r} has {expected}: nothing is "
                "loaded" + ("" if self.built else "; the optimizer has not been built"),
                stacklevel=2,
            )
            return
        self._assign("store", [store[str(number)] for number in range(expected)])

    def get_config(self) -> dict:
        """The arguments of the constructor, from which `from_config` makes an optimizer like this one, without state.

        Returns
        -------
        dict
            The keys of Keras, and those of the arguments that Keras does not have, if they were given. A schedule of
            `nadam_numba.schedules` is written as Keras writes its own; other functions are left as they are.
        """
        config = {"name": self.name, "learning_rate": schedule_as_data(self._learning_rate), **self._settings}
        defaults = inspect.signature(type(self).__init__).parameters
        own = {key: value for key, value in self._own_arguments.items() if value != defaults[key].default}
        return {**config, **own}

    @classmethod
    def from_config(cls, config: Mapping, custom_objects: Mapping | None = None) -> "Nadam":
        """An optimizer with the settings that `get_config`, or that of Keras, returned.

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
        >>> from nadam_numba.compat.keras import Nadam
        >>> optimizer = Nadam(schedules.cosine_decay(0.1, decay_steps=100), weight_decay=0.01)
        >>> twin = Nadam.from_config(optimizer.get_config())
        >>> twin.learning_rate, twin.weight_decay
        (0.1, 0.01)
        """
        config = dict(config)
        if isinstance(config.get("learning_rate"), Mapping):
            config["learning_rate"] = schedule_from_data(config["learning_rate"], custom_objects or {})
        return cls(**config)

    def __repr__(self) -> str:
        told = "".join(f", {name}={self._settings[name]!r}" for name in ("beta_1", "beta_2", "epsilon"))
        return f"Nadam(learning_rate={self._learning_rate!r}{told}, iterations={self.iterations})"

    @property
    def _micro_steps(self):
        return self.gradient_accumulation_steps or 1

    @property
    def _dialect(self):
        dialect = _DIALECTS[self._backend]
        if self._is_exact:
            return dialects.exact(dialect)
        is_of_floatx = not callable(self._learning_rate) or (self._backend == "torch" and self._takes_step)
        dtype = self._floatx if is_of_floatx else dialect.beta_dtype
        return dataclasses.replace(
            dialect,
            learning_rate_dtype=dtype,
            decay_factor_dtype=np.float64 if dialect.decay_factor_dtype is np.float64 else dtype,
            product_dtype=self._engine.states[0].leaf.real_dtype.type,
        )

    def _configure(self, settings):
        """Take over settings if they are good."""
        engine_settings = self._engine_settings(settings)
        self._settings = settings
        if self.built:
            self._engine.configure(*engine_settings, self._dialect)

    def _engine_settings(self, settings):
        _check_settings(**settings)
        clips = {name: self._limit(name, settings[name]) for name in _CLIPS}
        use_ema = bool(settings["use_ema"])
        hyperparameters = Hyperparameters(
            0.0,  # each step is given its rate
            settings["beta_1"],
            settings["beta_2"],
            settings["epsilon"],
            momentum_decay=1.0,
            weight_decay=0.0 if settings["weight_decay"] is None else settings["weight_decay"],
            decoupled_weight_decay=True,
            clipvalue=clips["clipvalue"],
            clipnorm=clips["clipnorm"],
        )
        options = Options(
            global_clipnorm=clips["global_clipnorm"],
            use_ema=use_ema,
            ema_momentum=settings["ema_momentum"] if use_ema else 0.0,
            ema_overwrite_frequency=(settings["ema_overwrite_frequency"] or None) if use_ema else None,
            loss_scale_factor=settings["loss_scale_factor"],
            gradient_accumulation_steps=settings["gradient_accumulation_steps"] or None,
        )
        if self._backend == "torch":  # which makes tensors of them
            options = dataclasses.replace(options, ema_momentum=float(self._floatx(options.ema_momentum)))
        return hyperparameters, options

    def _limit(self, name, value):
        """What the core takes for an argument that clips."""
        if not isinstance(value, numbers.Real) or isinstance(value, bool):
            return value  # None, or for the core to refuse
        if value <= 0:
            return None
        if self._backend == "torch" and name != "global_clipnorm":  # which makes tensors of them
            with np.errstate(over="ignore"):
                value = float(self._floatx(value))
        return None if name == "clipvalue" and value == math.inf else value

    def _set_rate(self, rate):
        self._learning_rate = rate
        # Asking for the signature takes longer than a step.
        self._takes_step = _is_schedule(rate)

    def _stored(self, rate):
        with np.errstate(over="ignore"):
            return nonnegative_finite("learning_rate", float(self._floatx(rate)))

    def _is_decayed(self, number, variable):
        if any(_array(variable) is array for array in self._excluded):
            return False
        if self._excluded_names is None:
            return True
        name = getattr(variable, "name", None)
        if not isinstance(name, str):
            raise ValueError(
                f"variables[{number}] has no name: where names are excluded from weight decay, all variables must have "
                "one, such as nadam_numba.compat.keras.Variable"
            )
        return self._excluded_names.search(name) is None

    def _positions(self, name, variables):
        """Which of the optimizer's variables these are."""
        known = {id(_array(variable)): position for position, variable in enumerate(self._trainable_variables)}
        positions = []
        for number, variable in enumerate(variables):
            if id(_array(variable)) not in known:
                raise ValueError(
                    f"Unknown variable: {name}[{number}]={variable!r} is none of those the optimizer was built with"
                )
            positions.append(known[id(_array(variable))])
        if len(set(positions)) < len(positions):
            raise ValueError(f"{name} has a variable that comes twice: each may come once")
        return positions

    def _views(self, *names):
        """State of each variable, in its shape."""
        return [state.leaf.unflatten(getattr(state, name)) for state in self._engine.states for name in names]

    def _assign(self, name, values):
        """Overwrite the state by `values`, in the order of `variables`."""
        variables = self.variables
        _check_length(name, values, len(variables))
        values = [
            _like(f"{name}[{number}]", value, variable)
            for number, (value, variable) in enumerate(zip(values, variables, strict=True))
        ]
        remaining = iter(values)
        iterations = checked_count(f"{name}[0]", next(remaining).item())
        rate = self._learning_rate
        if not callable(rate):
            rate = nonnegative_finite(f"{name}[1]", next(remaining).item())
        if self.built:
            self._load(name, iterations, remaining)
        self._iterations, self._learning_rate = iterations, rate

    def _load(self, name, iterations, arrays):
        state = self._engine.state_dict()
        (group,) = state["param_groups"]
        leaves = group["arrays"]
        state["iterations"], state["micro_steps"] = divmod(iterations, self._micro_steps)
        kinds = [["average"]] if self.use_ema else []
        kinds += [["accumulated"]] if self.gradient_accumulation_steps else []
        for names in [*kinds, ["first_moment", "second_moment"]]:
            for leaf in leaves:
                leaf.update({key: next(arrays) for key in names})
        mu_product = next(arrays).item()
        for leaf in leaves:
            leaf.update(iterations=state["iterations"], mu_product=mu_product)
        try:
            self._engine.load_state_dict(state)
        except ValueError as error:
            raise ValueError(f"{name} is no state of this optimizer: {error}") from error

    def _check_is_built(self, method):
        if not self.built:
            raise ValueError(f"{method} needs an optimizer that is built: call `build(trainable_variables)` first")


def _array(variable):
    return variable if isinstance(variable, np.ndarray) else getattr(variable, "value", variable)


def _name_of(variable, number):
    return getattr(variable, "name", number)


def _like(name, value, example):
    """A copy of `value`, in the dtype of `example`, whose shape it must have."""
    value = np.asarray(value)
    if value.shape != example.shape:
        raise ValueError(f"{name} has shape {value.shape}: it must have {example.shape}")
    return np.array(value, example.dtype)


def _check_length(name, values, length):
    if len(values) != length:
        raise ValueError(f"{name} has {len(values)} entries: it must have {length}")


def _checked_name(name):
    if not isinstance(name, str) or "/" in name:
        raise ValueError(f"name={name!r}: it must be a string without '/'")
    return name


def _checked_backend(backend):
    if backend is None:
        return one_of(tuple(_DIALECTS), "KERAS_BACKEND", os.environ.get("KERAS_BACKEND") or "tensorflow")
    return one_of(tuple(_DIALECTS), "backend", backend)


def _is_double(scalar_dtype):
    if scalar_dtype is None:
        return False
    if scalar_dtype not in ("float64", np.float64):
        raise ValueError(f"scalar_dtype={scalar_dtype!r}: it must be None or 'float64'")
    return True


def _a_float(learning_rate):
    if not isinstance(learning_rate, float):
        raise ValueError(
            f"learning_rate={learning_rate!r} is a {type(learning_rate).__name__}: it must be a float, a schedule, or "
            "a function without arguments"
        )
    return nonnegative_finite("learning_rate", learning_rate)


def _is_schedule(function):
    """Whether `function` needs the number of steps."""
    if not callable(function):
        return False
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # some builtins tell nothing
        return False
    try:
        signature.bind()
    except TypeError:
        return True
    return False


def _cast(gradient, dtype):
    """A gradient of real numbers in the dtype of its variable; anything else as it is, for the core to refuse."""
    if isinstance(gradient, tuple) and len(gradient) == 2:
        indices, rows = gradient
        return indices, _cast(np.asarray(rows), dtype)
    if isinstance(gradient, numbers.Real) and not isinstance(gradient, np.generic):
        gradient = np.asarray(gradient)
    # Of arrays and scipy's sparse matrices.
    its_dtype = getattr(gradient, "dtype", dtype)
    if its_dtype == dtype or not (isinstance(its_dtype, np.dtype) and np.can_cast(its_dtype, np.float64)):
        return gradient
    with np.errstate(over="ignore"):
        return gradient.astype(dtype)


def _check_settings(
    *, use_ema, ema_overwrite_frequency, gradient_accumulation_steps, clipnorm, clipvalue, global_clipnorm, **_
):
    """Raise what Keras does, where the core would raise something else or nothing."""
    if sum(clip is not None for clip in (clipnorm, clipvalue, global_clipnorm)) > 1:
        raise ValueError(
            f"clipnorm={clipnorm!r}, clipvalue={clipvalue!r}, global_clipnorm={global_clipnorm!r}: only one of them "
            "may be given"
        )
    if gradient_accumulation_steps and not gradient_accumulation_steps >= 2:
        raise ValueError(f"gradient_accumulation_steps={gradient_accumulation_steps!r}: it must be an integer >= 2")
    frequency = ema_overwrite_frequency
    if use_ema and frequency and (not isinstance(frequency, numbers.Integral) or frequency < 1):
        raise ValueError(f"ema_overwrite_frequency={frequency!r}: it must be None or an integer >= 1")
