"""torch.optim.NAdam 2.13: its arguments, methods, errors and numbers, on NumPy arrays or on torch's own tensors.

Nothing here imports torch. Tensors are the matter of a module of its own, which is imported when the first one is seen.
"""

import inspect
import math
import sys
import warnings
from abc import ABCMeta
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from copy import deepcopy
from functools import partial

import numpy as np

from nadam_numba.arrays import check_overlaps, memory_spans, parameter_tree
from nadam_numba.dialects import TORCH, Dialect, exact
from nadam_numba.gradients import gradient_of
from nadam_numba.hooks import RemovableHandle
from nadam_numba.hyperparameters import Hyperparameters, Options, nonnegative_finite, real_number
from nadam_numba.update import LeafState, update_arrays

_MOMENTS = ("exp_avg", "exp_avg_sq")
_OPTIONS = Options()
# What older versions of torch did not save in a group.
_LATER_KEYS = {
    "maximize": False,
    "foreach": None,
    "capturable": False,
    "differentiable": False,
    "decoupled_weight_decay": False,
}


class Parameter:
    """A NumPy array with a place for its gradient: what a leaf tensor is to torch's optimizers.

    Parameters
    ----------
    data : ndarray
        float32, float64, complex64 or complex128, writeable, of any shape and layout. It is kept by reference.

    Raises
    ------
    TypeError
        If `data` is not an array of these dtypes.
    ValueError
        If it is read-only or repeats its elements.

    Examples
    --------
    >>> import numpy as np
    >>> from nadam_numba.compat.torch import Parameter
    >>> weights = Parameter(np.ones(3))
    >>> weights.grad = np.full(3, 0.5)
    >>> weights.shape, np.asarray(weights) is weights.data
    ((3,), True)
    """

    __slots__ = ("__weakref__", "_grad", "leaf")

    def __init__(self, data: np.ndarray):
        if not isinstance(data, np.ndarray):
            raise TypeError(f"data={data!r} is a {type(data).__name__}: it must be a NumPy array")
        self.leaf = parameter_tree("data", data)
        self._grad = None

    @property
    def data(self) -> np.ndarray:
        """The array; its elements may be changed at any time."""
        return self.leaf.array

    @property
    def grad(self) -> np.ndarray | None:
        """The gradient, of the shape and dtype of the parameter, or None.

        Raises
        ------
        TypeError
            If what is set is neither an array nor None.
        RuntimeError
            If its shape or dtype differ from the parameter's, or it is a sparse matrix.
        """
        return self._grad

    @grad.setter
    def grad(self, grad: np.ndarray | None) -> None:
        if type(grad).__module__.startswith("scipy.sparse"):
            raise RuntimeError(f"grad={grad!r}: NAdam does not support sparse gradients")
        if grad is not None:
            if not isinstance(grad, (np.ndarray, np.generic)):
                raise TypeError(f"grad={grad!r} is a {type(grad).__name__}: it must be None or a NumPy array")
            if grad.shape != self.shape:
                raise RuntimeError(f"grad has shape {grad.shape}: its parameter has {self.shape}")
            if grad.dtype != self.dtype:
                raise RuntimeError(f"grad has dtype {grad.dtype}: its parameter has {self.dtype}")
            # NumPy's reductions give scalars where a 0-d array is due.
            grad = np.asarray(grad)
        self._grad = grad

    @property
    def shape(self) -> tuple:
        """The shape of the array."""
        return self.data.shape

    @property
    def ndim(self) -> int:
        """Its number of dimensions."""
        return self.data.ndim

    @property
    def dtype(self) -> np.dtype:
        """Its dtype."""
        return self.data.dtype

    def __array__(self, dtype=None, copy=None) -> np.ndarray:
        """The array itself, or a copy where one is asked for."""
        return np.array(self.data, dtype=dtype, copy=copy)

    def __repr__(self) -> str:
        return f"Parameter({self.data!r})"


class _FormByParameters(ABCMeta):
    """Makes ``NAdam(tensors)`` an optimizer of tensors, and that of a subclass, too."""

    def __call__(cls, *args, **kwargs):
        params = None
        if args:
            params = _repeatable(args[0])
            args = (params, *args[1:])
        elif "params" in kwargs:
            params = kwargs["params"] = _repeatable(kwargs["params"])
        if any(map(_is_tensor, _entries(params))):
            from nadam_numba.compat import _torch_tensors

            return type.__call__(_torch_tensors.form_of(cls), *args, **kwargs)
        return super().__call__(*args, **kwargs)

    @property
    def __signature__(cls):
        return inspect.signature(partial(cls.__init__, None))


class NAdam(metaclass=_FormByParameters):
    """torch.optim.NAdam, on NumPy arrays or on tensors, updated in place.

    Made of `Parameter` objects, it is the optimizer described here, which needs no torch. Made of tensors, it is a
    subclass of torch.optim.NAdam with all that belongs to it, whose step updates float32, float64 and complex tensors
    on the CPU and on CUDA devices in one pass over memory, and leaves all others to torch; to `isinstance` it is one of
    this class, too. Subclasses have both forms, if they take tensors as their first argument and call these methods by
    ``super()``.

    Parameters
    ----------
    params : iterable of Parameter, of pairs (name, Parameter), or of dicts; or the same of tensors
        A dict has the key "params", and sets any of the options below for its group.
    lr : float or array of one element, optional
        Learning rate, finite and >= 0.
    betas : (float, float), optional
        Decay rates of the first and second moment of the gradients, in [0, 1).
    eps : float, optional
        Added to the root of the second moment, finite and >= 0.
    weight_decay : float, optional
        Finite and >= 0. ``weight_decay * parameter`` is added to the gradient.
    momentum_decay : float, optional
        Speed at which the momentum coefficient grows from ``betas[0] / 2`` to ``betas[0]``, >= 0; ``inf`` keeps it
        constant.
    decoupled_weight_decay : bool, optional
        Multiply the parameter by ``1 - lr * weight_decay`` instead.
    foreach : bool, optional
        Changes nothing.
    maximize : bool, optional
        Go up instead of down.
    capturable : bool, optional
        Must be False on arrays, as on all tensors in the memory of the CPU.
    differentiable : bool, optional
        Changes nothing on arrays; not together with `foreach`.
    scalar_dtype : None or "float64", optional
        The product of the momentum coefficients is kept in float32, as torch does by default; or in double precision,
        as torch does after ``torch.set_default_dtype(torch.float64)``, which is what decides for tensors.

    Attributes
    ----------
    param_groups : list of dict
        Each with the key "params" and one per option, which may be set between steps.
    state : dict
        Of each parameter that has been updated a dict with ``step`` and ``mu_product``, numbers, and ``exp_avg`` and
        ``exp_avg_sq``, arrays of its shape and dtype.
    defaults : dict
        The options of groups that have none of their own.

    Raises
    ------
    TypeError
        If `params` is a single parameter, holds anything else, or a set in a group; or an option is no number.
    ValueError
        If there are no parameters, one is in two groups or shares memory with another, some have names and others have
        none, or an option is out of range.
    IndexError
        If `betas` is too short.
    AssertionError
        If `capturable`, or both `foreach` and `differentiable`, are set.

    Notes
    -----
    The real and imaginary parts of a complex array are independent parameters. A parameter whose ``grad`` is None is
    left alone, without decay; each has a count of steps of its own.

    References
    ----------
    T. Dozat, "Incorporating Nesterov Momentum into Adam", ICLR workshop 2016. torch.optim.NAdam in the documentation of
    PyTorch 2.13.

    Examples
    --------
    >>> import numpy as np
    >>> from nadam_numba.compat.torch import NAdam, Parameter
    >>> point = Parameter(np.array([3.0, -2.0]))
    >>> optimizer = NAdam([point], lr=0.1)
    >>> for _ in range(500):
    ...     point.grad = 2.0 * point.data
    ...     optimizer.step()
    >>> bool(np.abs(point.data).max() < 1e-6)
    True
    """

    def __init__(
        self,
        params: Iterable,
        lr: float = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum_decay: float = 4e-3,
        decoupled_weight_decay: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
        scalar_dtype: str | type | None = None,
    ):
        self._dialect = _dialect(scalar_dtype)
        self.defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "momentum_decay": momentum_decay,
            "decoupled_weight_decay": decoupled_weight_decay,
            "maximize": maximize,
            "foreach": foreach,
            "capturable": capturable,
            "differentiable": differentiable,
        }
        _checked(self.defaults)
        if _is_single(params):
            raise TypeError(f"params={params!r}: it must be an iterable of Parameters, of tensors, or of dicts")
        groups = list(params)
        if not groups:
            raise ValueError(
                f"params={params!r} is an empty parameter list: at least one Parameter or tensor is needed"
            )
        self.state = defaultdict(dict)
        self.param_groups = []
        self._start_hooks()
        for group in groups if isinstance(groups[0], dict) else [{"params": groups}]:
            self.add_param_group(group)

    def add_param_group(self, param_group: dict) -> None:
        """Add parameters.

        Parameters
        ----------
        param_group : dict
            The key "params" as in the class, and options of its own. It is copied.

        Raises
        ------
        TypeError, ValueError, IndexError, AssertionError
            As in the class. The optimizer is then unchanged.
        """
        if not isinstance(param_group, dict):
            raise TypeError(f"param_group={param_group!r} is a {type(param_group).__name__}: it must be a dict")
        if "params" not in param_group:
            raise KeyError(f"param_group has the keys {list(param_group)}: it must have 'params'")
        names, params = _names_and_parameters(param_group["params"])
        group = {**self.defaults, **param_group, "params": params}
        if names:
            group["param_names"] = names
        _checked(group)
        if len(set(params)) != len(params):
            warnings.warn("params has the same parameter twice: each step updates it twice", stacklevel=2)
        for number, other in enumerate(self.param_groups):
            theirs = other.get("param_names")
            if (group.get("param_names") is None) != (theirs is None):
                raise ValueError(
                    f"param_group has param_names={group.get('param_names')!r}, param_groups[{number}] has {theirs!r}: "
                    f"all optimizer param groups should be with/without names"
                )
            taken = set(other["params"])
            for index, p in enumerate(params):
                if p in taken:
                    raise ValueError(
                        f"params[{index}]={p!r} is in param_groups[{number}], too: "
                        f"no parameter may appear in more than one parameter group"
                    )
        known = dict.fromkeys(p for g in [*self.param_groups, group] for p in g["params"])
        check_overlaps([p.leaf for p in known])
        self.param_groups.append(group)
        self._spans = memory_spans([p.leaf for p in known])

    def step(self, closure: Callable | None = None):
        """Update all parameters that have a gradient, in place, once.

        Parameters
        ----------
        closure : callable, optional
            Sets the gradients and returns the loss; called first.

        Returns
        -------
        object
            What `closure` returned; None without one.

        Raises
        ------
        TypeError, ValueError, IndexError, AssertionError
            If an option of a group is wrong, as in the class, or a parameter has become read-only or changed its shape.
            Parameters and state are then unchanged.
        RuntimeError
            If a hook that runs before the step returns neither None nor a pair.
        """
        args, kwargs = (self,) if closure is None else (self, closure), {}
        for hook in list(self._step_pre_hooks.values()):
            result = hook(self, args, kwargs)
            if result is not None:
                if not (isinstance(result, tuple) and len(result) == 2):
                    raise RuntimeError(f"{hook!r} returned {result!r}: it must be None or a pair (args, kwargs)")
                args, kwargs = result
        loss = NAdam._step(*args, **kwargs)
        for hook in list(self._step_post_hooks.values()):
            hook(self, args, kwargs)
        return loss

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Set all gradients to None; or, if not `set_to_none`, fill those that there are with zeros."""
        for group in self.param_groups:
            for p in group["params"]:
                if set_to_none:
                    p.grad = None
                elif p.grad is not None:
                    p.grad[...] = 0.0

    def state_dict(self) -> dict:
        """The state in torch's layout: not a copy, but the arrays that the next step changes.

        Returns
        -------
        dict
            ``state`` has the state of each parameter by its number, ``param_groups`` the options of each group and the
            numbers of its parameters. `as_tensors` makes it one that torch loads.
        """
        for hook in list(self._state_dict_pre_hooks.values()):
            hook(self)
        numbers, groups = {}, []
        for group in self.param_groups:
            start = sum(len(saved["params"]) for saved in groups)
            for number, p in enumerate(group["params"], start):
                numbers.setdefault(p, number)
            groups.append({**group, "params": [numbers[p] for p in group["params"]]})
        state_dict = {
            "state": {numbers.get(key, key): value for key, value in self.state.items()},
            "param_groups": groups,
        }
        for hook in list(self._state_dict_post_hooks.values()):
            result = hook(self, state_dict)
            state_dict = state_dict if result is None else result
        return state_dict

    def load_state_dict(self, state_dict: Mapping) -> None:
        """Take over a state and options made by `state_dict`, here or by torch; the arrays are copied.

        Parameters
        ----------
        state_dict : dict
            Moments may be arrays or tensors; they are converted to the dtype of their parameter. The product of the
            momentum coefficients is not, so that going on gives the same numbers as not having stopped.

        Raises
        ------
        TypeError, KeyError, ValueError
            If the number of groups, of parameters in a group, or a shape differs, an entry is missing or out of range.
            The optimizer is then unchanged.
        """
        state_dict = dict(state_dict)
        for hook in list(self._load_state_dict_pre_hooks.values()):
            result = hook(self, state_dict)
            state_dict = state_dict if result is None else result
        groups = [{**_LATER_KEYS, **group} for group in deepcopy(state_dict["param_groups"])]
        if len(groups) != len(self.param_groups):
            raise ValueError(
                f"state_dict has a different number of parameter groups, {len(groups)}: "
                f"this optimizer has {len(self.param_groups)}"
            )
        parameter_of = {}
        for number, (group, own) in enumerate(zip(groups, self.param_groups, strict=True)):
            missing = {"params", *self.defaults} - set(group)
            if missing:
                raise KeyError(f"state_dict['param_groups'][{number}] has no {sorted(missing)}")
            if len(group["params"]) != len(own["params"]):
                raise ValueError(
                    f"state_dict['param_groups'][{number}] has {len(group['params'])} parameters, which doesn't match "
                    f"the size of optimizer's group: {len(own['params'])}"
                )
            parameter_of.update(zip(group["params"], own["params"], strict=True))
            group["params"] = own["params"]
            if "param_names" in own:
                group.setdefault("param_names", own["param_names"])
        state = defaultdict(dict)
        for key, value in state_dict["state"].items():
            if key in parameter_of:
                p = parameter_of[key]
                state[p] = _loaded(f"state_dict['state'][{key!r}]", value, p.leaf)
            else:
                state[key] = value
        self.state = state
        self.param_groups = groups
        for hook in list(self._load_state_dict_post_hooks.values()):
            hook(self)

    def register_step_pre_hook(self, hook: Callable) -> RemovableHandle:
        """Call ``hook(optimizer, args, kwargs)`` before each step.

        Parameters
        ----------
        hook : callable
            `args` begins with the optimizer, as in torch. It returns None, or ``(args, kwargs)`` to step with instead.

        Returns
        -------
        RemovableHandle
            Its method ``remove()`` ends it. Hooks are neither copied nor pickled.
        """
        return RemovableHandle(self._step_pre_hooks, hook)

    def register_step_post_hook(self, hook: Callable) -> RemovableHandle:
        """Call ``hook(optimizer, args, kwargs)`` after each step; as `register_step_pre_hook`."""
        return RemovableHandle(self._step_post_hooks, hook)

    def register_state_dict_pre_hook(self, hook: Callable, prepend: bool = False) -> RemovableHandle:
        """Call ``hook(optimizer)`` before `state_dict`; before the other such hooks, if `prepend`."""
        return _registered(self._state_dict_pre_hooks, hook, prepend)

    def register_state_dict_post_hook(self, hook: Callable, prepend: bool = False) -> RemovableHandle:
        """Call ``hook(optimizer, state_dict)`` after `state_dict`, which returns its result if that is not None."""
        return _registered(self._state_dict_post_hooks, hook, prepend)

    def register_load_state_dict_pre_hook(self, hook: Callable, prepend: bool = False) -> RemovableHandle:
        """Call ``hook(optimizer, state_dict)`` before `load_state_dict`, which loads its result if that is not None."""
        return _registered(self._load_state_dict_pre_hooks, hook, prepend)

    def register_load_state_dict_post_hook(self, hook: Callable, prepend: bool = False) -> RemovableHandle:
        """Call ``hook(optimizer)`` after `load_state_dict`."""
        return _registered(self._load_state_dict_post_hooks, hook, prepend)

    def __repr__(self) -> str:
        lines = [f"{type(self).__name__} ("]
        for number, group in enumerate(self.param_groups):
            lines.append(f"Parameter Group {number}")
            lines += [f"    {key}: {group[key]}" for key in sorted(group) if key != "params"]
        return "\n".join([*lines, ")"])

    def __getstate__(self):
        """What is copied and pickled: all but the hooks, which are often not to be pickled."""
        names = ("defaults", "state", "param_groups", "_dialect")
        return {name: getattr(self, name) for name in names}

    def __setstate__(self, state):
        """Take over a pickled or copied optimizer, whose arrays lie elsewhere in memory now."""
        vars(self).update(state)
        self._start_hooks()
        self._spans = memory_spans([p.leaf for group in self.param_groups for p in group["params"]])

    def _start_hooks(self):
        self._step_pre_hooks, self._step_post_hooks = OrderedDict(), OrderedDict()
        self._state_dict_pre_hooks, self._state_dict_post_hooks = OrderedDict(), OrderedDict()
        self._load_state_dict_pre_hooks, self._load_state_dict_post_hooks = OrderedDict(), OrderedDict()

    def _step(self, closure=None):
        loss = None if closure is None else closure()
        updates = []
        for group in self.param_groups:
            rate, hyper = _checked(group)
            for p in group["params"]:
                if p.grad is not None:
                    p.leaf.check()
                    if self.state[p]:
                        self.state[p].update(_usable("state", self.state[p], p.leaf))
                    updates.append((p, hyper, rate, gradient_of("grad", p.grad, p.leaf, self._spans)))
        for p, hyper, rate, gradient in updates:
            # One at a time: a parameter that is there twice is updated twice.
            state = self.state[p]
            if not state:
                state.update(step=0.0, mu_product=1.0, exp_avg=_zeros(p.leaf))
                state["exp_avg_sq"] = _zeros(p.leaf, [state["exp_avg"]])
            leaf_state = LeafState(
                p.leaf,
                *(p.leaf.flatten(state[key]) for key in _MOMENTS),
                iterations=state["step"],
                mu_product=state["mu_product"],
            )
            update_arrays([(leaf_state, hyper, rate)], [gradient], self._dialect, _OPTIONS)
            state.update(step=leaf_state.iterations, mu_product=leaf_state.mu_product)
        return loss


def as_tensors(state_dict: Mapping) -> dict:
    """A state from `NAdam.state_dict`, with tensors in place of arrays, as torch.optim.NAdam loads it.

    Parameters
    ----------
    state_dict : dict
        Its arrays are copied.

    Returns
    -------
    dict

    Raises
    ------
    ImportError
        If torch is not installed.
    """
    from nadam_numba.compat import _torch_tensors

    return _torch_tensors.as_tensors(state_dict)


def hyperparameters_of(group: Mapping) -> Hyperparameters:
    """The options of a group under their names in the core, but for the learning rate."""
    return Hyperparameters(
        beta_1=group["betas"][0],
        beta_2=group["betas"][1],
        epsilon=group["eps"],
        momentum_decay=group["momentum_decay"],
        weight_decay=group["weight_decay"],
        decoupled_weight_decay=bool(group["decoupled_weight_decay"]),
        maximize=bool(group["maximize"]),
    )


def _checked(group) -> tuple[float, Hyperparameters]:
    """The learning rate of a group and its other options, checked under torch's names."""
    rate = nonnegative_finite("lr", _number("lr", group["lr"]))
    nonnegative_finite("eps", group["eps"])
    for index in range(2):
        try:
            beta = group["betas"][index]
        except (IndexError, TypeError) as error:
            raise type(error)(f"betas={group['betas']!r}: it must be a pair of numbers in [0, 1)") from None
        real_number(f"betas[{index}]", beta, "a number in [0, 1)", lambda v: 0.0 <= v < 1.0)
    nonnegative_finite("weight_decay", group["weight_decay"])
    real_number("momentum_decay", group["momentum_decay"], "a number >= 0", lambda v: 0.0 <= v)
    if group["capturable"]:
        raise AssertionError(f"capturable={group['capturable']!r}: it must be False for arrays in the CPU's memory")
    if group["foreach"] and group["differentiable"]:
        raise AssertionError(
            f"foreach={group['foreach']!r}, differentiable={group['differentiable']!r}: only one may be set"
        )
    return rate, hyperparameters_of(group)


def _dialect(scalar_dtype) -> Dialect:
    if scalar_dtype is None:
        return TORCH
    if np.dtype(scalar_dtype) != np.float64:
        raise ValueError(f"scalar_dtype={scalar_dtype!r}: it must be None or 'float64'")
    return exact(TORCH)


def _number(name, value):
    """`value`, or the element of an array, tensor or NumPy scalar."""
    if math.prod(getattr(value, "shape", ())) != 1:
        raise ValueError(f"{name}={value!r}: an array must be 1-element")
    return value.item() if hasattr(value, "item") else value


def _repeatable(params):
    """`params`, with lists in place of what can be iterated over only once."""
    if _is_single(params):
        return params
    params = list(params)
    for item in params:
        if isinstance(item, dict) and isinstance(item.get("params"), Iterator):
            item["params"] = list(item["params"])
    return params


def _entries(params):
    """All that stands for a parameter in what `_repeatable` returned."""
    for item in [params] if _is_single(params) else params:
        entries = item.get("params") if isinstance(item, dict) else [item]
        for entry in [entries] if _is_single(entries) else entries:
            yield entry[1] if isinstance(entry, tuple) and len(entry) == 2 else entry


def _is_single(params):
    """Whether `params` is what it should hold, or nothing of the kind."""
    return isinstance(params, (Parameter, np.ndarray)) or _is_tensor(params) or not isinstance(params, Iterable)


def _is_tensor(value):
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, getattr(torch, "Tensor", ()))


def _names_and_parameters(params):
    """The names, or none, and the parameters of a group, checked."""
    if isinstance(params, set):
        raise TypeError(f"params={params!r} is a set: parameters need to be organized in ordered collections")
    items = [params] if _is_single(params) else list(params)
    names = [item[0] for item in items if isinstance(item, tuple)]
    if names and len(names) != len(items):
        raise ValueError(f"params has names for {len(names)} of {len(items)} parameters: all or none must have names")
    parameters = [item[1] if isinstance(item, tuple) else item for item in items]
    for index, p in enumerate(parameters):
        if not isinstance(p, Parameter):
            raise TypeError(
                f"params[{index}]={p!r} is a {type(p).__name__}: it must be a Parameter of nadam_numba.compat.torch, "
                f"or all must be tensors, in the first argument of the class"
            )
    return names, parameters


def _registered(hooks, hook, prepend):
    handle = RemovableHandle(hooks, hook)
    if prepend:
        hooks.move_to_end(handle, last=False)
    return handle


def _zeros(leaf, beside=()):
    return leaf.unflatten(leaf.zeros(leaf.real_dtype, beside))


def _loaded(name, value, leaf):
    """A copy of what was saved of one parameter, checked and converted; nothing, if nothing was saved."""
    if not value:
        return {}
    missing = {"step", "mu_product", *_MOMENTS} - set(value)
    if missing:
        raise KeyError(f"{name} has the keys {list(value)}: it must have {sorted(missing)}, too")
    copies = {key: np.asarray(value[key]).copy(order="K") for key in _MOMENTS}
    return {**value, **_usable(name, {**value, **copies}, leaf)}


def _usable(name, state, leaf):
    """The entries of a state as the kernel takes them: a view of the moments where their memory allows it."""
    usable = {
        "step": nonnegative_finite(f"{name}['step']", _number("step", state["step"])),
        "mu_product": real_number(
            f"{name}['mu_product']",
            _number("mu_product", state["mu_product"]),
            "a number in [0, 1]",
            lambda v: 0.0 <= v <= 1.0,
        ),
    }
    for key in _MOMENTS:
        moment = np.require(state[key], leaf.array.dtype, [leaf.order, "W"])
        if moment.shape != leaf.shape:
            raise ValueError(f"{name}[{key!r}] has shape {moment.shape}: its parameter has {leaf.shape}")
        usable[key] = moment
    return usable
