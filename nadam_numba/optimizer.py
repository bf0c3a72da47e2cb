"""The stateful optimizer: steps arrays in place, given their gradients."""

import dataclasses
import os
import re
from collections.abc import Callable, Iterable, Mapping
from functools import partial

import numpy as np

from nadam_numba import backends, checkpoint
from nadam_numba.arrays import (
    ArrayTree,
    brief,
    check_overlaps,
    leaves,
    matching,
    matching_array,
    memory_spans,
    parameter_tree,
)
from nadam_numba.dialects import NATIVE, Dialect
from nadam_numba.groups import ParameterGroup, check_group, is_list_of_groups
from nadam_numba.hooks import Hooks, RemovableHandle
from nadam_numba.hyperparameters import Hyperparameters, Options, Schedule
from nadam_numba.schedules import rate_at, taken_over
from nadam_numba.state import (
    check_keys,
    check_length,
    checked_count,
    checked_group,
    checked_hyperparameters,
    checked_options,
    group_as_data,
    hyperparameters_as_data,
)
from nadam_numba.update import LeafState

_STATE_KEYS = ("iterations", "micro_steps", "hyperparameters", "options", "param_groups")
_ALWAYS_TOLD = ("learning_rate", "beta_1", "beta_2", "epsilon", "momentum_decay")


# Stands for the optimizer's own arrays of gradients.
_OWN = object()


def _fields(instance):
    """A dataclass's fields by name, as they are: dataclasses.asdict would copy the user's schedule."""
    return {field.name: getattr(instance, field.name) for field in dataclasses.fields(instance)}


_DEFAULTS = {**_fields(Hyperparameters()), **_fields(Options())}


def _several(name, values, kind, what):
    """`values` as a list, or an empty one if there are none; TypeError if it is a single one."""
    if values is None:
        return []
    if isinstance(values, kind) or not isinstance(values, Iterable):
        raise TypeError(f"{name}={brief(values)} is a {type(values).__name__}: it must be a list of {what}")
    return list(values)


def _needs_of_rates(state_dict):
    """Whether the learning rate that was saved, and that of each group, is one that has to be given again."""
    settings = [state_dict["hyperparameters"], *(group["hyperparameters"] for group in state_dict["param_groups"])]
    return [data.get("learning_rate", 0.0) is None for data in settings]


def _saved_parameters(state_dict, groups):
    """The parameters in a checkpoint, checked, in the order of the arrays of the groups."""
    arrays = []
    for index, (group, data) in enumerate(zip(groups, state_dict["param_groups"], strict=True)):
        by_path = {item["path"]: item.get("parameter") for item in data["arrays"]}
        for state in group.states:
            path = state.leaf.path
            name = f"checkpoint['param_groups'][{index}], the parameter at {path!r},"
            arrays.append(matching_array(name, by_path[path], state.leaf))
    return arrays


def _hyperparameter(name):
    """A property that reads and sets one of the hyperparameters that all groups share."""

    def get(self):
        return getattr(self._hyperparameters, name)

    def set_(self, value):
        self._set_hyperparameters(dataclasses.replace(self._hyperparameters, **{name: value}))

    return property(get, set_, doc=f"`{name}` of all groups that have none of their own; may be set between steps.")


class NAdam:
    """NAdam (Adam with Nesterov momentum) on NumPy arrays, or on arrays on GPUs, updated in place.

    With the default hyperparameters it reproduces torch.optim.NAdam; ``momentum_decay=1`` is Keras 3's Nadam and
    ``momentum_decay=inf`` optax.nadam, whose other defaults differ. `nadam_numba.compat` has each peer's own interface,
    with its numbers to the last digits.

    Parameters
    ----------
    params : ndarray, or list, tuple or dict of such, nested at will; or list of dicts
        The arrays to update: float32, float64, complex64 or complex128, writeable, of any shape and layout. They are
        kept by reference. Instead of NumPy's, all may be on GPUs; see docs/gpu.md. None may stand where there is
        nothing to update. A list of dicts ``{"params": ...}`` makes groups; each dict may set those hyperparameters
        below that are marked (*) for its group.
    learning_rate : float or callable, optional
        (*) A finite number >= 0; a schedule, which is a function of the number of updates already made, 0 at the first
        (see `nadam_numba.schedules`); or a function that takes no argument. It is called once per update.
    beta_1, beta_2 : float, optional
        (*) Decay rates of the first and second moment of the gradients, in [0, 1).
    epsilon : float, optional
        (*) Added to the root of the second moment, finite and >= 0.
    momentum_decay : float, optional
        (*) Speed at which the momentum coefficient grows from ``beta_1 / 2`` to `beta_1`, >= 0.
    weight_decay : float, optional
        (*) Finite and >= 0. ``weight_decay * parameter`` is added to the gradient, after clipping.
    decoupled_weight_decay : bool, optional
        (*) Multiply the parameter by ``1 - learning_rate * weight_decay`` instead.
    nesterov : bool, optional
        (*) False makes the rule Adam's.
    amsgrad : bool, optional
        (*) Divide by the root of the largest second moment so far.
    maximize : bool, optional
        (*) Go up instead of down.
    clipvalue : float, optional
        (*) Clip each element of the gradient to +- this number > 0.
    clipnorm : float, optional
        (*) Then scale each array's gradient down to this norm > 0.
    global_clipnorm : float, optional
        Then scale all gradients down together to this norm > 0. If the norm is not finite, all become NaN.
    use_ema : bool, optional
        Keep an exponential moving average of each parameter, as Keras 3 does: it starts at the value after the first
        step, or, for a group added later, at the value then, and moves in each call of `step`. `finalize` overwrites
        the parameters by their averages.
    ema_momentum : float, optional
        Part of itself that the average keeps in each step, in [0, 1].
    ema_overwrite_frequency : int, optional
        Overwrite the parameters by their averages every so many steps, too.
    loss_scale_factor : float, optional
        What the loss was multiplied by, > 0; the gradients are divided by it. See `scale_loss`.
    gradient_accumulation_steps : int, optional
        Average the gradients of so many calls of `step`, >= 2, before the parameters are updated; one that is None
        counts as 0, unless all are.
    nonfinite : {"propagate", "raise", "skip"}, optional
        What to do if a gradient has an element that is not finite: let it spoil parameters and state, as the peers do;
        raise FloatingPointError; or return from `step` with nothing changed, but for what hooks do.
    epsilon_root : float, optional
        (*) Added under the root of the second moment, finite and >= 0 (optax's ``eps_root``).
    lazy_sparse : bool, optional
        Whether a row-sparse gradient updates the rows it touches only, and their state, in time proportional to their
        number. By default the other rows have gradient 0, so that the result is that of a dense gradient. It does not
        go with `gradient_accumulation_steps`, whose sums are dense.
    state_dtype : {"bfloat16"}, optional
        What the moments are kept in, by default the dtype of their parameter. In bfloat16 they take two bytes a number,
        and are rounded at random, up or down with the probabilities that leave them right on average; see Notes. That
        saves memory; a step computes more, and is faster only where memory is slow.
    capturable : bool, optional
        For arrays on GPUs: count steps there, so that `step` can be recorded in a CUDA graph after it has been called
        once with the same arrays; see docs/gpu.md. It goes neither with schedules, moving averages, accumulation or
        row-sparse gradients nor with gradients that are None.

    Raises
    ------
    TypeError
        If a leaf is not an array of these dtypes, or a hyperparameter of another type than above.
    ValueError
        If there are no arrays, one is read-only, repeats its elements or shares memory with another, or a
        hyperparameter is out of range.

    Notes
    -----
    The state is two arrays of each parameter's size and dtype, and one more for each of amsgrad, the moving average
    and accumulation. Each step passes over memory once, and over the gradients once more where a norm is needed or
    `nonfinite` asks for a check. For the time of the step, an array whose elements are not next to each other in memory
    is copied, as is a gradient in another order than its parameter; and a row-sparse gradient that is not lazy takes an
    array of the parameter's size.

    With ``state_dtype="bfloat16"`` a step reads the moments, computes in the parameter's dtype, and rounds what it
    keeps of them. The random bits are a function of the array (its group and path), of its number of updates and of the
    position in it, so that they do not depend on the number of threads, and a resumed run has the same ones. The second
    moment wanders about the exact one with a standard deviation of 4 percent at the default `beta_2`, less at smaller
    ones, and no more than 5 at larger ones. amsgrad's largest one is rounded to the nearest number, and is the largest
    of a value that wanders. Averages and sums of gradients stay in full. The range is that of float32, for float64
    arrays too.

    The settings without (*) are read from ``optimizer.options``; they are set at construction only.

    The real and imaginary parts of a complex array are independent parameters; its gradient is, as in torch, the
    derivative by the real part plus i times the one by the imaginary part.

    An array whose gradient is None is left alone, without decay; it has a count of steps of its own, as in torch.

    References
    ----------
    T. Dozat, "Incorporating Nesterov Momentum into Adam", ICLR workshop 2016. I. Loshchilov, F. Hutter, "Decoupled
    Weight Decay Regularization", ICLR 2019. S. J. Reddi, S. Kale, S. Kumar, "On the Convergence of Adam and Beyond",
    ICLR 2018 (amsgrad).

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

    Groups with their own hyperparameters, which may be changed later:

    >>> weights, bias = np.ones((3, 2)), np.zeros(2)
    >>> optimizer = NAdam([{"params": weights, "weight_decay": 0.01}, {"params": bias}], decoupled_weight_decay=True)
    >>> optimizer.step([np.ones((3, 2)), np.ones(2)])
    >>> optimizer.learning_rate = 1e-4
    >>> optimizer.param_groups[0]["weight_decay"] = 0.0
    """

    # No other attributes: a mistyped hyperparameter is an error.
    __slots__ = (
        "__weakref__",
        "_backend",
        "_dialect",
        "_groups",
        "_has_groups",
        "_hyperparameters",
        "_iterations",
        "_micro_steps",
        "_options",
        "_plan",
        "_post_hooks",
        "_pre_hooks",
        "_spans",
        "_unusual_steps",
    )

    def __init__(
        self,
        params: ArrayTree,
        learning_rate: float | Schedule = 2e-3,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        *,
        momentum_decay: float = 4e-3,
        weight_decay: float = 0.0,
        decoupled_weight_decay: bool = False,
        nesterov: bool = True,
        amsgrad: bool = False,
        maximize: bool = False,
        clipvalue: float | None = None,
        clipnorm: float | None = None,
        global_clipnorm: float | None = None,
        use_ema: bool = False,
        ema_momentum: float = 0.99,
        ema_overwrite_frequency: int | None = None,
        loss_scale_factor: float | None = None,
        gradient_accumulation_steps: int | None = None,
        nonfinite: str = "propagate",
        epsilon_root: float = 0.0,
        lazy_sparse: bool = False,
        state_dtype: str | None = None,
        capturable: bool = False,
    ):
        hyperparameters = Hyperparameters(
            learning_rate,
            beta_1,
            beta_2,
            epsilon,
            momentum_decay=momentum_decay,
            weight_decay=weight_decay,
            decoupled_weight_decay=decoupled_weight_decay,
            nesterov=nesterov,
            amsgrad=amsgrad,
            maximize=maximize,
            clipvalue=clipvalue,
            clipnorm=clipnorm,
            epsilon_root=epsilon_root,
        )
        options = Options(
            global_clipnorm=global_clipnorm,
            use_ema=use_ema,
            ema_momentum=ema_momentum,
            ema_overwrite_frequency=ema_overwrite_frequency,
            loss_scale_factor=loss_scale_factor,
            gradient_accumulation_steps=gradient_accumulation_steps,
            nonfinite=nonfinite,
            lazy_sparse=lazy_sparse,
            state_dtype=state_dtype,
            capturable=capturable,
        )
        self._start(params, hyperparameters, options, NATIVE, "params")

    @classmethod
    def with_dialect(
        cls,
        params: ArrayTree,
        hyperparameters: Hyperparameters,
        options: Options,
        dialect: Dialect,
        name: str = "params",
    ) -> "NAdam":
        """An optimizer that speaks a peer's dialect, and calls `params` as the peer does."""
        optimizer = cls.__new__(cls)
        optimizer._start(params, hyperparameters, options, dialect, name)
        return optimizer

    def _start(self, params, hyperparameters, options, dialect, name):
        self._hyperparameters = hyperparameters
        self._options = options
        self._dialect = dialect
        self._has_groups = is_list_of_groups(params)
        self._groups = []
        self._plan = None
        self._unusual_steps = 0
        self._iterations = 0
        self._micro_steps = 0
        self._pre_hooks, self._post_hooks = Hooks(), Hooks()
        if self._has_groups:
            groups = [self._group(f"{name}[{index}]", group) for index, group in enumerate(params)]
        else:
            groups = [ParameterGroup(params, parameter_tree(name, params, self._leaf_of), {}, hyperparameters)]
        self._add_groups(groups)

    @property
    def _leaf_of(self):
        """What makes leaves of arrays: only the native dialect is spoken on GPUs."""
        return backends.leaf_of if self._dialect == NATIVE else None

    @property
    def iterations(self) -> int:
        """Number of updates made."""
        self._catch_up()
        return self._iterations

    @property
    def param_groups(self) -> tuple[ParameterGroup, ...]:
        """The groups of parameters: dicts whose hyperparameters may be set between steps."""
        return tuple(self._groups)

    @property
    def hyperparameters(self) -> Hyperparameters:
        """The hyperparameters of all groups that have none of their own, read-only."""
        return self._hyperparameters

    @property
    def options(self) -> Options:
        """The settings of the whole optimizer, read-only."""
        return self._options

    @property
    def gradients(self) -> ArrayTree:
        """Arrays to write gradients into, for `step` without arguments to take: in the structure of the parameters.

        Made when first asked for, of zeros; of each group and dtype they are views of one buffer, one after the other.
        `step` leaves them as they are. Copies of the optimizer have none of their own until they are asked.

        Examples
        --------
        >>> import numpy as np
        >>> from nadam_numba import NAdam
        >>> params = {"weights": np.ones((2, 2)), "bias": np.ones(2)}
        >>> optimizer = NAdam(params, learning_rate=0.1)
        >>> optimizer.gradients["weights"][...] = 1.0
        >>> optimizer.step()
        >>> params["bias"].tolist()
        [1.0, 1.0]
        """
        trees = [group.gradients for group in self._groups]
        return trees if self._has_groups else trees[0]

    learning_rate = _hyperparameter("learning_rate")
    beta_1 = _hyperparameter("beta_1")
    beta_2 = _hyperparameter("beta_2")
    epsilon = _hyperparameter("epsilon")
    momentum_decay = _hyperparameter("momentum_decay")
    weight_decay = _hyperparameter("weight_decay")
    decoupled_weight_decay = _hyperparameter("decoupled_weight_decay")
    nesterov = _hyperparameter("nesterov")
    amsgrad = _hyperparameter("amsgrad")
    maximize = _hyperparameter("maximize")
    clipvalue = _hyperparameter("clipvalue")
    clipnorm = _hyperparameter("clipnorm")
    epsilon_root = _hyperparameter("epsilon_root")

    def step(self, grads: ArrayTree = _OWN) -> None:
        """Update the parameters in place, once.

        Parameters
        ----------
        grads : ndarray, or list, tuple or dict of such; or list with one such per group
            The gradients, in the structure, shapes and dtypes of the parameters; never written. None leaves an array
            alone. A row-sparse gradient is a tuple ``(indices, rows)``, where row ``indices[k]`` of the parameter has
            the gradient ``rows[k]``, those of one index being summed, or a scipy.sparse matrix or array. By default,
            `gradients`, which the caller has written into.

        Raises
        ------
        TypeError, ValueError
            If structure, shape or dtype of a gradient differ from its parameter's, a parameter has become read-only or
            changed its shape, or a schedule returns no finite number >= 0. Parameters and state are then unchanged, as
            they are after an exception in a schedule.
        FloatingPointError
            If a gradient is not finite and ``nonfinite="raise"``; with the same promise.
        """
        if grads is _OWN:
            grads = self._own_gradients()
        plan = self._plan
        if plan is not None and plan.takes_one and not (self._pre_hooks or self._post_hooks) and plan.step_one(grads):
            self._iterations += 1
            self._unusual_steps = 0
            return
        if self._steps_by_table(grads):
            self._unusual_steps = 0
            return
        self._unusual_steps += 1
        self._drop_plan()
        grads = self._pre_hooks.before(self, grads)
        gradients = self.checked_gradients(grads)
        if self._accepts(gradients):
            self.advance(gradients, self._learning_rates() if self._completes_update else [0.0] * len(self._groups))
        self._post_hooks.after(self, grads)

    def finalize(self) -> None:
        """Overwrite the parameters by their averages; without ``use_ema`` or before the first step, do nothing."""
        if self._options.use_ema and self._iterations:
            for state in self.states:
                state.leaf.check()
            for state in self.states:
                state.leaf.overwrite(state.average)

    def scale_loss(self, loss):
        """`loss` times `loss_scale_factor`, if there is one: what to differentiate in low precision."""
        factor = self._options.loss_scale_factor
        return loss if factor is None else loss * factor

    def add_param_group(self, group: Mapping) -> None:
        """Add parameters, which `step` then expects the gradients of as a further entry of its list.

        Parameters
        ----------
        group : dict
            The key "params" as in the class, and hyperparameters of its own.

        Raises
        ------
        TypeError, ValueError
            As in the class; or if the optimizer was made without groups. The optimizer is then unchanged.
        """
        if not self._has_groups:
            raise ValueError(
                f"group={brief(group)}: this optimizer was made without groups, so that its gradients have no place "
                "for one: it must be made with params=[{'params': ...}]"
            )
        self._add_groups([self._group(f"group {len(self._groups)}", group)])

    def exclude_from_weight_decay(
        self, arrays: Iterable[np.ndarray] | None = None, names: Iterable[str] | None = None
    ) -> None:
        """Exempt arrays from weight decay.

        Parameters
        ----------
        arrays : iterable of ndarray, optional
            Arrays among the parameters.
        names : iterable of str, optional
            Regular expressions. An array is exempt if one is found in its name: the keys and indices that lead to it
            in its tree, joined by "/".

        Raises
        ------
        TypeError, re.error
            If `arrays` or `names` is not several arrays or regular expressions.
        ValueError
            If one of `arrays` is not among the parameters.

        Examples
        --------
        >>> import numpy as np
        >>> from nadam_numba import NAdam
        >>> params = {"dense": {"kernel": np.ones((2, 2)), "bias": np.ones(2)}}
        >>> optimizer = NAdam(params, weight_decay=0.1)
        >>> optimizer.exclude_from_weight_decay(names=["bias$"])
        """
        excluded = []
        for number, array in enumerate(_several("arrays", arrays, np.ndarray, "arrays")):
            found = [state for state in self.states if state.leaf.is_of(array)]
            if not found:
                raise ValueError(f"arrays[{number}]={brief(array)}: it must be one of the parameters")
            excluded += found
        patterns = []
        for number, name in enumerate(_several("names", names, str, "regular expressions")):
            try:
                patterns.append(re.compile(name))
            except (re.error, TypeError) as error:
                raise type(error)(f"names[{number}]={name!r}: it must be a regular expression; {error}") from None
        for state in self.states:
            if state in excluded or any(pattern.search(state.leaf.path) for pattern in patterns):
                state.is_decayed = False
        self._drop_plan()

    def register_step_pre_hook(self, hook: Callable) -> RemovableHandle:
        """Call ``hook(optimizer, args, kwargs)`` before each step, where `args` is ``(grads,)``.

        Parameters
        ----------
        hook : callable
            It returns None, or ``(args, kwargs)`` to step with instead.

        Returns
        -------
        RemovableHandle
            Its method ``remove()`` ends it. Hooks are neither copied nor pickled, as in torch.
        """
        return self._pre_hooks.add(hook)

    def register_step_post_hook(self, hook: Callable) -> RemovableHandle:
        """Call ``hook(optimizer, args, kwargs)`` after each step; as `register_step_pre_hook`."""
        return self._post_hooks.add(hook)

    def state_dict(self) -> dict:
        """A copy of the state: all that is needed, besides the parameters, to go on with the same bits.

        Returns
        -------
        dict
            ``iterations`` (int), ``micro_steps`` (int, calls of `step` since the last update), ``hyperparameters`` and
            ``options`` (dicts of numbers), and ``param_groups``: for each a dict of its own ``hyperparameters`` and of
            ``arrays``, a list of dicts with the ``path`` of an array (the keys and indices that lead to it), its
            ``iterations``, ``mu_product``, ``is_decayed``, and arrays in its shape and dtype or None; moments in
            bfloat16 as the numbers they stand for. A learning rate that is one of `nadam_numba.schedules` is a dict of
            its name and arguments; any other function is None, for code is not state.
        """
        self._catch_up()
        return {
            "iterations": self._iterations,
            "micro_steps": self._micro_steps,
            "hyperparameters": hyperparameters_as_data(_fields(self._hyperparameters)),
            "options": _fields(self._options),
            "param_groups": [group_as_data(group) for group in self._groups],
        }

    def load_state_dict(self, state_dict: dict) -> None:
        """Take over a state made by `state_dict`, hyperparameters and options included; the arrays are copied.

        A learning rate of None keeps this optimizer's own. A `reduce_on_plateau` with the saved arguments is kept, too,
        and takes over the saved state. Parameters are not touched, even if `state_dict` is what `load_checkpoint`
        returns, which has them. To go on with moments in another `state_dtype`, change that in its ``options``; numbers
        that bfloat16 does not have are rounded to the nearest.

        Raises
        ------
        TypeError, ValueError
            If an entry is missing, unknown, out of range, or does not fit the parameters. The optimizer is then
            unchanged.
        """
        check_keys("state_dict", state_dict, _STATE_KEYS)
        counts = [checked_count(f"state_dict[{key!r}]", state_dict[key]) for key in ("iterations", "micro_steps")]
        hyperparameters = checked_hyperparameters(
            "state_dict['hyperparameters']", state_dict["hyperparameters"], self.learning_rate
        )
        options = checked_options("state_dict['options']", state_dict["options"])
        if self._backend is backends.CPU:
            # Where a state comes from does not matter.
            options = dataclasses.replace(options, capturable=False)
        micro_steps = options.gradient_accumulation_steps or 1
        if counts[1] >= micro_steps:
            raise ValueError(f"state_dict['micro_steps']={counts[1]}: it must be less than {micro_steps}")
        check_length("state_dict['param_groups']", state_dict["param_groups"], len(self._groups))
        loaded = [
            checked_group(f"state_dict['param_groups'][{index}]", data, group, hyperparameters, options)
            for index, (group, data) in enumerate(zip(self._groups, state_dict["param_groups"], strict=True))
        ]

        self._drop_plan()
        self._iterations, self._micro_steps = counts
        self._options = options
        for group, (overrides, states) in zip(self._groups, loaded, strict=True):
            if "learning_rate" in overrides:
                overrides["learning_rate"] = taken_over(overrides["learning_rate"], group["learning_rate"])
            group.overrides = overrides
            group.states = states
        self._backend = backends.backend_of([state.leaf for state in self._present_states])
        rate = taken_over(hyperparameters.learning_rate, self.learning_rate)
        self._set_hyperparameters(dataclasses.replace(hyperparameters, learning_rate=rate))

    def save(self, path: str | os.PathLike) -> None:
        """Write parameters and state to a file, from which `load` goes on with the same bits.

        The file holds arrays and JSON, in NumPy's npz format. An existing one is replaced at once or not at all.

        Parameters
        ----------
        path : str or path-like

        Raises
        ------
        OSError
            If it cannot be written.
        """
        tree = self.state_dict()
        for group, data in zip(self._groups, tree["param_groups"], strict=True):
            for state, its_data in zip(group.states, data["arrays"], strict=True):
                its_data["parameter"] = state.leaf.value()
        checkpoint.save(path, tree)

    @classmethod
    def load(cls, path: str | os.PathLike, params: ArrayTree, learning_rate: float | Schedule | None = None) -> "NAdam":
        """An optimizer of `params` that goes on where `save` was called.

        Parameters
        ----------
        path : str or path-like
            A file written by `save`.
        params : array tree, or list of dicts
            In the structure, shapes and dtypes of those that were saved; overwritten by the saved values. Of dicts that
            make groups, only the keys "params" and "learning_rate" count, the latter as the next argument.
        learning_rate : float or callable, optional
            In place of one that was a function other than `nadam_numba.schedules` makes, for files hold no code. A
            `reduce_on_plateau` with the saved arguments takes over the saved state.

        Raises
        ------
        OSError
            If the file cannot be read.
        CheckpointError
            If it is damaged, of another version, or no checkpoint. It is a ValueError.
        TypeError, ValueError
            If it does not fit `params`, or a learning rate is missing. `params` is then unchanged.

        Examples
        --------
        >>> import numpy as np, pathlib, tempfile
        >>> from nadam_numba import NAdam
        >>> optimizer = NAdam(np.ones(3), amsgrad=True)
        >>> optimizer.step(np.ones(3))
        >>> params = np.zeros(3)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     optimizer.save(pathlib.Path(folder) / "checkpoint.npz")
        ...     optimizer = NAdam.load(pathlib.Path(folder) / "checkpoint.npz", params)
        >>> optimizer.iterations, optimizer.amsgrad, bool((params < 1.0).all())
        (1, True, True)
        """
        state_dict = checkpoint.load_checkpoint(path)
        check_keys("checkpoint", state_dict, _STATE_KEYS)
        if is_list_of_groups(params):
            own = ("params", "learning_rate")
            params = [{key: group[key] for key in own if key in group} for group in params]
        optimizer = cls(params)
        if learning_rate is not None:
            optimizer.learning_rate = learning_rate
        given = [learning_rate, *(group.overrides.get("learning_rate", learning_rate) for group in optimizer._groups)]
        # Copies are loaded first, so that an error leaves the parameters as they were.
        optimizer.load_state_dict(state_dict)
        for index, (rate, needs_one) in enumerate(zip(given, _needs_of_rates(state_dict), strict=True)):
            if needs_one and rate is None:
                where = "" if index == 0 else f" of params[{index - 1}]"
                raise ValueError(f"learning_rate=None: the one{where} that was saved was a function, and must be given")
        for state, array in zip(optimizer.states, _saved_parameters(state_dict, optimizer._groups), strict=True):
            state.leaf.assign(array)
        return optimizer

    def __repr__(self) -> str:
        settings = {**_fields(self._hyperparameters), **_fields(self._options)}
        told = ", ".join(
            f"{name}={value!r}" for name, value in settings.items() if name in _ALWAYS_TOLD or value != _DEFAULTS[name]
        )
        groups = f" in {len(self._groups)} groups" if self._has_groups else ""
        return f"NAdam({len(self.states)} arrays{groups}, {told}, iterations={self.iterations})"

    def __copy__(self):
        """An optimizer of the same arrays that goes on by itself."""
        other = type(self).__new__(type(self))
        other.__setstate__(self.__getstate__() | {"_groups": [group.copy() for group in self._groups]})
        return other

    def __getstate__(self):
        """What is copied and pickled: all but the hooks, which are often not to be pickled."""
        self._catch_up()
        others = ("__weakref__", "_backend", "_pre_hooks", "_post_hooks", "_spans", "_plan", "_unusual_steps")
        names = [name for name in NAdam.__slots__ if name not in others]
        return {name: getattr(self, name) for name in names} | getattr(self, "__dict__", {})

    def __setstate__(self, state):
        """Take over a pickled or copied optimizer, whose arrays lie elsewhere in memory now."""
        for name, value in state.items():
            setattr(self, name, value)
        self._pre_hooks, self._post_hooks = Hooks(), Hooks()
        all_leaves = [state.leaf for state in self._present_states]
        self._spans = memory_spans(all_leaves)
        self._backend = backends.backend_of(all_leaves)
        self._plan = None
        self._unusual_steps = 0

    @property
    def states(self) -> list[LeafState]:
        """What is remembered of each array, in order."""
        self._catch_up()
        return self._present_states

    @property
    def _present_states(self):
        """The same; of steps that are recorded and replayed, with as many as Python has made."""
        self._drop_plan()  # who asks may change it
        return [state for group in self._groups for state in group.states]

    def _group(self, name, group):
        """A new group, checked."""
        check_group(name, group)
        overrides = {key: value for key, value in group.items() if key != "params"}
        tree = parameter_tree(f"{name}['params']", group["params"], self._leaf_of)
        try:
            return ParameterGroup(group["params"], tree, overrides, self._hyperparameters)
        except (TypeError, ValueError) as error:
            raise type(error)(f"{name}: {error}") from None

    def _add_groups(self, groups):
        known = [state.leaf for state in self.states]
        all_leaves = known + [leaf for group in groups for leaf in leaves(group.tree)]
        check_overlaps(all_leaves)
        backend = backends.backend_of(all_leaves)
        if self._options.capturable and backend is backends.CPU:
            raise ValueError("capturable=True: it is for arrays on GPUs, and these are in NumPy's memory")
        self._backend = backend
        for number, group in enumerate(groups, len(self._groups)):
            group.states = [LeafState.fresh(leaf, self._options, number) for leaf in leaves(group.tree)]
        self._groups += groups
        self._spans = memory_spans(all_leaves)
        self._drop_plan()

    def configure(self, hyperparameters: Hyperparameters, options: Options, dialect: Dialect) -> None:
        """Go on with other settings, which must need the same arrays of state."""
        self._drop_plan()
        self._options = options
        self._dialect = dialect
        self._set_hyperparameters(hyperparameters)

    def _set_hyperparameters(self, hyperparameters):
        self._hyperparameters = hyperparameters
        for group in self._groups:
            group.set_defaults(hyperparameters)
        if self._options.capturable:
            self._backend.renew(self._arrays([0.0] * len(self._groups)), self._options)

    def _catch_up(self):
        """Take note of recorded steps that have been replayed."""
        if self._options.capturable and self._groups:
            self._iterations += self._backend.catch_up()

    def checked_gradients(self, grads: ArrayTree) -> list:
        """The gradient of each array, checked: None, its elements, or rows."""
        for state in self._present_states:
            state.leaf.check()
        tree = [group.tree for group in self._groups] if self._has_groups else self._groups[0].tree
        return matching("grads", grads, tree, partial(self._backend.gradient_of, spans=self._spans))

    def _own_gradients(self):
        if not all(group.has_gradients for group in self._groups):
            raise TypeError("step() without grads: write into the arrays of `gradients` first, or give grads")
        return self.gradients

    def _steps_by_table(self, grads):
        """Make the step by `table`, and say so; False where it has to be made the general way."""
        if self._pre_hooks or self._post_hooks:
            return False
        plan = self._plan
        # To prepare tables takes as long as some steps: where they were of no use, they are tried ever more rarely.
        if plan is None and self._unusual_steps & (self._unusual_steps - 1):
            return False
        if plan is None or not plan.is_current():
            plan = self._make_plan()
        if not plan.tables or not plan.busy.acquire(False):
            return False
        try:
            return self._steps_by_plan(plan, grads)
        finally:
            plan.busy.release()

    def _make_plan(self):
        self._drop_plan()
        kind = type(self)
        is_plain = kind.advance is NAdam.advance and kind.checked_gradients is NAdam.checked_gradients
        groups = self._groups if is_plain and self._dialect == NATIVE else []
        self._plan = self._backend.make_plan(groups, self._options, self._spans, self._has_groups)
        return self._plan

    def _steps_by_plan(self, plan, grads):
        noted = plan.note(grads if self._has_groups else (grads,))
        if noted is None:
            return False
        is_update = not self._options.gradient_accumulation_steps or self._completes_update
        if is_update and plan.has_schedules:
            rates = self._learning_rates()
            if self._plan is not plan or not plan.is_current():
                # A schedule has changed the optimizer, and is not to be asked twice.
                self._drop_plan()
                self.advance(self.checked_gradients(grads), rates)
                return True
            plan.set_rates(rates)
        if self._options.use_ema:
            plan.set_averaging(*self._averaging())
        if not (plan.step() if is_update else plan.micro_step()):
            return False
        self._micro_steps = 0 if is_update else self._micro_steps + 1
        self._iterations += is_update
        return True

    def _drop_plan(self):
        """Forget the tables, for something that they rest on changes."""
        for group in self._groups:
            group.drop_tables()
        self._plan = None

    def _accepts(self, gradients):
        """Whether the step is made; FloatingPointError if a gradient is not finite and that is to be told."""
        if self._options.nonfinite == "propagate":
            return True
        state = self._backend.not_finite(self._present_states, gradients)
        if state is not None and self._options.nonfinite == "raise":
            raise FloatingPointError(f"the gradient of {state.leaf.name} has elements that are not finite")
        return state is None

    @property
    def _completes_update(self):
        """Whether the next step is an update, and not one of the micro-steps before it."""
        return self._micro_steps + 1 == (self._options.gradient_accumulation_steps or 1)

    def _learning_rates(self):
        """The rate of each group. A function that several groups have is called once, as it may be an iterator's."""
        known, rates = {}, []
        for hyper in [group.hyperparameters for group in self._groups]:
            if id(hyper.learning_rate) not in known:
                known[id(hyper.learning_rate)] = rate_at(hyper.schedule, self._iterations)
            rates.append(known[id(hyper.learning_rate)])
        return rates

    def _averaging(self):
        """The fields average_momentum and is_overwritten of `rule.Scalars` for the next update."""
        frequency = self._options.ema_overwrite_frequency
        # As the average starts at the first values, it has no bias towards 0.
        return (
            self._options.ema_momentum if self._iterations else 0.0,
            bool(frequency) and (self._iterations + 1) % frequency == 0,
        )

    def advance(self, gradients: list, learning_rates: list[float]) -> None:
        """Make a step, or a micro-step, with checked gradients and a learning rate for each group."""
        self._drop_plan()
        options = self._options
        is_update = self._completes_update
        averaging = self._averaging()
        arrays = self._arrays(learning_rates)
        if is_update:
            moved = self._backend.update_arrays(arrays, gradients, self._dialect, options, averaging)
        else:
            moved = set()
            self._backend.accumulate_arrays(arrays, gradients, options)
        if options.use_ema:
            self._backend.move_averages([state for state in self._present_states if state not in moved], averaging)
        self._micro_steps = 0 if is_update else self._micro_steps + 1
        self._iterations += is_update

    def _arrays(self, learning_rates):
        """The states of all arrays with their hyperparameters, and the learning rates of their groups."""
        return [
            (state, group.hyperparameters, learning_rate)
            for group, learning_rate in zip(self._groups, learning_rates, strict=True)
            for state in group.states
        ]
