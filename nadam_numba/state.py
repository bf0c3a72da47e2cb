"""The state of an optimizer as plain data, and back: what `NAdam.state_dict` and `load_state_dict` are made of."""

import dataclasses
import operator
from collections.abc import Mapping

import numpy as np

from nadam_numba import bfloat16, cpu, schedules
from nadam_numba.arrays import Leaf, matching_array
from nadam_numba.groups import ParameterGroup, check_group
from nadam_numba.hyperparameters import Hyperparameters, Options, real_number, true_or_false
from nadam_numba.update import MOMENTS, STATE_ARRAYS, LeafState

_LEAF_KEYS = ("path", "iterations", "mu_product", "is_decayed", *STATE_ARRAYS)
_GROUP_KEYS = ("hyperparameters", "arrays")
# Options that states of earlier versions do not have, and what these did.
_LATER_OPTIONS = {"state_dtype": None, "capturable": False}


def hyperparameters_as_data(values: Mapping) -> dict:
    """Hyperparameters by name, with data in place of a learning rate that is a function: None if that is code."""
    data = dict(values)
    if callable(data.get("learning_rate")):
        data["learning_rate"] = schedules.as_data(data["learning_rate"])
    return data


def leaf_as_data(state: LeafState) -> dict:
    """The state of one array, the arrays copied and in its shape and dtype."""
    data = {
        "path": state.leaf.path,
        "iterations": state.iterations,
        "mu_product": state.mu_product,
        "is_decayed": state.is_decayed,
    }
    for name in STATE_ARRAYS:
        flat = getattr(state, name)
        data[name] = None if flat is None else _in_shape(state.leaf, _numbers(state.leaf.fetched(flat), state.leaf))
    return data


def group_as_data(group: ParameterGroup) -> dict:
    """A group's own hyperparameters, and the state of its arrays."""
    return {
        "hyperparameters": hyperparameters_as_data(group.overrides),
        "arrays": [leaf_as_data(state) for state in group.states],
    }


def checked_group(
    name: str, data: Mapping, group: ParameterGroup, defaults: Hyperparameters, options: Options
) -> tuple[dict, list[LeafState]]:
    """The inverse of `group_as_data` for a group of the same arrays: its own hyperparameters, and their states.

    Arrays are matched by their paths, since the order of a dict does not matter.
    """
    check_keys(name, data, _GROUP_KEYS)
    overrides = checked_overrides(f"{name}['hyperparameters']", data["hyperparameters"], group["learning_rate"])
    check_group(name, {"params": None, **overrides})
    dataclasses.replace(defaults, **overrides)
    check_length(f"{name}['arrays']", data["arrays"], len(group.states))
    by_path = {}
    for index, item in enumerate(data["arrays"]):
        if not isinstance(item, Mapping):
            raise TypeError(f"{name}['arrays'][{index}]={item!r} is a {type(item).__name__}: it must be a dict")
        by_path[item.get("path")] = f"{name}['arrays'][{index}]", item
    paths = [state.leaf.path for state in group.states]
    if set(by_path) != set(paths):
        raise ValueError(f"{name}['arrays'] has the paths {list(by_path)}: it must have {paths}")
    states = [checked_leaf(*by_path[state.leaf.path], state.leaf, options) for state in group.states]
    for loaded, state in zip(states, group.states, strict=True):
        loaded.seed = state.seed
    return overrides, states


def checked_hyperparameters(name: str, data: Mapping, learning_rate) -> Hyperparameters:
    """The inverse of `hyperparameters_as_data` for all of them; `learning_rate` stands in for one that is None."""
    check_keys(name, data, [field.name for field in dataclasses.fields(Hyperparameters)])
    return Hyperparameters(**checked_overrides(name, data, learning_rate))


def checked_overrides(name: str, data: Mapping, learning_rate) -> dict:
    """The inverse of `hyperparameters_as_data` for some of them."""
    if not isinstance(data, Mapping):
        raise TypeError(f"{name}={data!r} is a {type(data).__name__}: it must be a dict")
    overrides = dict(data)
    if "learning_rate" in overrides and overrides["learning_rate"] is None:
        overrides["learning_rate"] = learning_rate
    elif isinstance(overrides.get("learning_rate"), Mapping):
        overrides["learning_rate"] = schedules.from_data(f"{name}['learning_rate']", overrides["learning_rate"])
    return overrides


def checked_options(name: str, data: Mapping) -> Options:
    """Options from a dict that has them all, but for those that came later."""
    if isinstance(data, Mapping):
        data = _LATER_OPTIONS | dict(data)
    check_keys(name, data, [field.name for field in dataclasses.fields(Options)])
    return Options(**data)


def checked_leaf(name: str, data: Mapping, leaf: Leaf, options: Options) -> LeafState:
    """The inverse of `leaf_as_data`; the arrays are copied."""
    check_keys(name, {key: value for key, value in data.items() if key != "parameter"}, _LEAF_KEYS)
    arrays = {key: _checked_array(f"{name}[{key!r}]", data[key], leaf) for key in STATE_ARRAYS}
    needed = {
        "first_moment": True,
        "second_moment": True,
        "average": options.use_ema,
        "accumulated": options.gradient_accumulation_steps is not None,
    }
    for key, is_needed in needed.items():
        if is_needed != (arrays[key] is not None):
            is_what = "None" if is_needed else "an array"
            raise ValueError(f"{name}[{key!r}] is {is_what}, which does not go with {options!r}")
    for key in ("second_moment", "largest_moment"):
        if arrays[key] is not None and (arrays[key] < 0.0).any():
            raise ValueError(f"{name}[{key!r}] has the element {arrays[key].min()}: means of squares are >= 0")
    if options.state_dtype is not None:
        arrays |= {key: _bits(arrays[key]) for key in MOMENTS if arrays[key] is not None}
    mu_product = data["mu_product"]
    return LeafState.of_copies(
        leaf,
        arrays,
        leaf.from_host,
        iterations=checked_count(f"{name}['iterations']", data["iterations"]),
        mu_product=real_number(f"{name}['mu_product']", mu_product, "a number in [0, 1]", lambda v: 0.0 <= v <= 1.0),
        is_decayed=true_or_false(f"{name}['is_decayed']", data["is_decayed"]),
    )


def check_keys(name: str, mapping: Mapping, keys) -> None:
    """Raise TypeError or ValueError unless `mapping` is a dict with exactly these keys."""
    if not isinstance(mapping, Mapping):
        raise TypeError(f"{name}={mapping!r} is a {type(mapping).__name__}: it must be a dict")
    if set(mapping) != set(keys):
        raise ValueError(f"{name} has the keys {list(mapping)}: it must have {list(keys)}")


def check_length(name: str, values, length: int) -> None:
    """Raise TypeError or ValueError unless `values` is a list of this length."""
    if not isinstance(values, (list, tuple)):
        raise TypeError(f"{name}={values!r} is a {type(values).__name__}: it must be a list")
    if len(values) != length:
        raise ValueError(f"{name} has {len(values)} entries: it must have {length}")


def checked_count(name: str, value) -> int:
    """`value` as a number of steps."""
    message = f"{name}={value!r}: it must be an integer in [0, 2**53]"
    try:
        value = operator.index(value)
    except TypeError:
        raise TypeError(message) from None
    if not 0 <= value <= 2**53:  # beyond that, counting in float64 would stand still
        raise ValueError(message)
    return value


def _checked_array(name, array, leaf):
    return None if array is None else leaf.flatten(np.array(matching_array(name, array, leaf)))


def _in_shape(leaf, flat):
    return leaf.unflatten(flat).copy(order="K")


def _numbers(flat, leaf):
    """The numbers of an array of the state, which may be kept as their bits."""
    if flat.dtype != bfloat16.BITS:
        return flat
    numbers = np.empty(flat.size, leaf.real_dtype)
    cpu.widen(numbers, flat)
    return numbers


def _bits(numbers):
    bits = np.empty(numbers.size, bfloat16.BITS)
    cpu.round_to_nearest(bits, numbers)
    return bits
