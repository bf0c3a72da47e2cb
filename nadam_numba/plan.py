"""Steps that are much the same as the last one, prepared once: what is common to arrays on the host and on GPUs.

A plan rests on groups of parameters as they are. It keeps the counts of their steps to itself, until someone asks for
the states.
"""

import dataclasses
import itertools
import math
import threading

import numpy as np

from nadam_numba.arrays import Leaf
from nadam_numba.hyperparameters import Hyperparameters, Options
from nadam_numba.table_kernels import SETTINGS
from nadam_numba.update import LeafState

# In a structure, the place of an array.
_LEAF = object()
# Classes derived from these may give something else each time they are asked.
_LISTS = (list, tuple)


@dataclasses.dataclass(slots=True, eq=False)
class Alike:
    """Arrays of one group that have all numbers of a step in common.

    Attributes
    ----------
    states : list of LeafState
        Their counts are those of `settings` after `write_back`.
    settings : ndarray, shape (1,), of SETTINGS
    """

    states: list[LeafState]
    settings: np.ndarray

    def write_back(self) -> None:
        """Let the states know how many steps there were."""
        settings = self.settings[0]
        iterations, mu_product = int(settings["iterations"]), float(settings["mu_product"])
        if self.states[0].iterations != iterations:
            for state in self.states:
                state.iterations = iterations
                state.mu_product = mu_product


@dataclasses.dataclass(slots=True, eq=False)
class Plan:
    """How the steps of an optimizer are made.

    Attributes
    ----------
    groups : list of ParameterGroup
    hyperparameters : list of Hyperparameters
        Those of the groups, from which the plan was made.
    tables : list of Alike
        Of all groups; empty where nothing can be prepared.
    group_of_table : list of int
    structure : list
        That of each group's tree.
    is_flat : bool
        Whether each group is one array, which is not in a list.
    has_schedules : bool
        Whether the learning rate of a group is a function.
    takes_one : bool
        Whether there is a method `step_one`, of which a step is a single call.
    averaging : tuple
        What the tables know of the moving average.
    busy : Lock
        Held during a step: the tables have room for the gradients of one.
    """

    groups: list
    hyperparameters: list[Hyperparameters]
    tables: list[Alike]
    group_of_table: list[int]
    structure: list
    is_flat: bool
    has_schedules: bool
    takes_one: bool = False
    averaging: tuple = ()
    busy: threading.Lock = dataclasses.field(default_factory=threading.Lock)

    def is_current(self) -> bool:
        """Whether the plan serves the groups as they are; other numbers are taken over."""
        for number, group in enumerate(self.groups):
            if group.hyperparameters is not self.hyperparameters[number] and not self._renew(number):
                return False
        return True

    def _renew(self, number):
        """Take over the hyperparameters of a group, if that changes nothing but numbers."""
        new, old = self.groups[number].hyperparameters, self.hyperparameters[number]
        is_schedule = callable(new.learning_rate) or callable(old.learning_rate)
        if is_schedule or (new.clipnorm is None) != (old.clipnorm is None) or new.amsgrad != old.amsgrad:
            return False
        for table in self.groups[number].tables:
            set_hyperparameters(table.settings, new, table.states[0].is_decayed)
        self.hyperparameters[number] = new
        return True

    def set_rates(self, learning_rates: list[float]) -> None:
        """Take the learning rate of each group."""
        for table, group in zip(self.tables, self.group_of_table, strict=True):
            table.settings["learning_rate"] = learning_rates[group]

    def set_averaging(self, average_momentum: float, is_overwritten: bool) -> None:
        """Take these fields of `rule.Scalars`."""
        averaging = average_momentum, is_overwritten
        if averaging != self.averaging:
            for table in self.tables:
                table.settings["average_momentum"] = average_momentum
                table.settings["is_overwritten"] = is_overwritten
            self.averaging = averaging

    def collected(self, grads) -> list | None:
        """The gradients of all arrays, in order; None if they come in another structure than the parameters."""
        if type(grads) not in _LISTS or len(grads) != len(self.structure):
            return None
        gradients = list(grads) if self.is_flat else []
        if not (self.is_flat or all(map(_collect, grads, self.structure, itertools.repeat(gradients)))):
            return None
        return gradients


def common_parts(groups: list, tables: list[Alike], group_of_table: list[int]) -> dict:
    """The fields of a `Plan` that are found the same way for all; the groups learn of their tables."""
    for number, group in enumerate(groups):
        group.tables = [table for table, owner in zip(tables, group_of_table, strict=True) if owner == number]
    hyperparameters = [group.hyperparameters for group in groups]
    structure = [_structure_of(group.tree) for group in groups]
    return {
        "groups": groups,
        "hyperparameters": hyperparameters,
        "tables": tables,
        "group_of_table": group_of_table,
        "structure": structure,
        "is_flat": all(entry is _LEAF for entry in structure),
        "has_schedules": any(callable(hyper.learning_rate) for hyper in hyperparameters),
    }


def _structure_of(tree):
    """A tree of leaves as `_collect` takes it: lists and dicts of nothing but leaves, by their lengths and keys."""
    if isinstance(tree, list):
        return len(tree) if all(isinstance(entry, Leaf) for entry in tree) else [_structure_of(entry) for entry in tree]
    if isinstance(tree, dict):
        is_flat = all(isinstance(entry, Leaf) for entry in tree.values())
        return tuple(tree) if is_flat else {key: _structure_of(entry) for key, entry in tree.items()}
    return _LEAF if isinstance(tree, Leaf) else None


def _collect(grads, structure, gradients):
    """Append the gradients of the arrays of a tree, in order; False if the structure is another one."""
    if structure is _LEAF:
        gradients.append(grads)
    elif isinstance(structure, int):
        if type(grads) not in _LISTS or len(grads) != structure:
            return False
        gradients += grads
    elif isinstance(structure, tuple):
        if type(grads) is not dict or len(grads) != len(structure) or not all(map(grads.__contains__, structure)):
            return False
        gradients += map(grads.__getitem__, structure)
    elif isinstance(structure, list):
        if type(grads) not in _LISTS or len(grads) != len(structure):
            return False
        return all(_collect(*pair, gradients) for pair in zip(grads, structure, strict=True))
    elif isinstance(structure, dict):
        if type(grads) is not dict or grads.keys() != structure.keys():
            return False
        return all(_collect(grads[key], entry, gradients) for key, entry in structure.items())
    else:
        return grads is None
    return True


def make_settings(state: LeafState, hyper: Hyperparameters, options: Options) -> np.ndarray:
    """Settings for arrays that are like this one."""
    settings = np.zeros(1, SETTINGS)
    set_hyperparameters(settings, hyper, state.is_decayed)
    settings["gradient_scale"] = 1.0 / (options.loss_scale_factor or 1.0)
    settings["accumulated_share"] = 1.0 / (options.gradient_accumulation_steps or 1)
    settings["common_factor"] = 1.0
    settings["mu_product"] = state.mu_product
    settings["iterations"] = state.iterations
    return settings


def set_hyperparameters(settings: np.ndarray, hyper: Hyperparameters, is_decayed: bool) -> None:
    """Let settings have these hyperparameters; a learning rate that is a function has to be set before each step."""
    for name in ("beta_1", "beta_2", "epsilon", "momentum_decay", "epsilon_root", "nesterov", "decoupled_weight_decay"):
        settings[name] = getattr(hyper, name)
    settings["learning_rate"] = math.nan if callable(hyper.learning_rate) else hyper.learning_rate
    settings["weight_decay"] = hyper.weight_decay if is_decayed else 0.0
    settings["gradient_limit"] = math.inf if hyper.clipvalue is None else hyper.clipvalue
    settings["gradient_factor"] = -1.0 if hyper.maximize else 1.0
    settings["clipnorm"] = math.inf if hyper.clipnorm is None else hyper.clipnorm
