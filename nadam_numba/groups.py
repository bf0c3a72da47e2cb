"""Groups of parameters with hyperparameters of their own."""

import dataclasses
from collections.abc import Iterator, Mapping

from nadam_numba.arrays import ArrayTree, arrays_like, brief
from nadam_numba.hyperparameters import Hyperparameters

_NAMES = tuple(field.name for field in dataclasses.fields(Hyperparameters))


class ParameterGroup(Mapping):
    """Parameters that share their hyperparameters: a dict with the key "params" and one key per hyperparameter.

    Setting a key sets the hyperparameter of this group, whatever those of the optimizer are; deleting it takes up the
    optimizer's again.

    Parameters
    ----------
    params : array tree
        As the user gave it.
    tree
        The same, from `parameter_tree`.
    overrides : dict
        The hyperparameters of its own.
    defaults : Hyperparameters
        Those of the optimizer.
    """

    def __init__(self, params: ArrayTree, tree: ArrayTree, overrides: dict, defaults: Hyperparameters):
        self._params = params
        self._defaults = defaults
        self.tree = tree
        self._states = []
        self.tables = []  # of `table`, which are ahead of the states until these are asked for
        self._gradients = None
        self.overrides = overrides
        self.hyperparameters = dataclasses.replace(defaults, **overrides)

    # Comparing arrays says nothing about groups.
    __eq__ = object.__eq__
    __hash__ = object.__hash__

    @property
    def states(self) -> list:
        """What is remembered of the arrays of the tree, in order."""
        for table in self.tables:
            table.write_back()
        return self._states

    @states.setter
    def states(self, states: list) -> None:
        self._states = states
        self.tables = []

    @property
    def has_gradients(self) -> bool:
        """Whether `gradients` has been asked for."""
        return self._gradients is not None

    @property
    def gradients(self) -> ArrayTree:
        """Arrays to write gradients into, in the structure of the parameters; of each dtype, views of one buffer."""
        if self._gradients is None:
            self._gradients = arrays_like(self.tree)
        return self._gradients

    def drop_tables(self) -> None:
        """Go on from the states, which may then be changed."""
        self.states = self.states

    def __getstate__(self):
        """What is copied and pickled: all but the tables, which hold addresses, and the arrays of gradients."""
        return self.__dict__ | {"_states": self.states, "tables": [], "_gradients": None}

    def copy(self) -> "ParameterGroup":
        """A group of the same arrays, with a state and hyperparameters of its own."""
        other = ParameterGroup(self._params, self.tree, dict(self.overrides), self._defaults)
        other.states = [state.copy() for state in self.states]
        return other

    def set_defaults(self, defaults: Hyperparameters) -> None:
        """Take the hyperparameters of the optimizer where the group has none of its own."""
        self.hyperparameters = dataclasses.replace(defaults, **self.overrides)
        self._defaults = defaults

    def __getitem__(self, name: str):
        """The parameters, or a hyperparameter."""
        if name == "params":
            return self._params
        _check_key(name)
        return getattr(self.hyperparameters, name)

    def __setitem__(self, name: str, value) -> None:
        """Set a hyperparameter of this group."""
        _check_key(name)
        overrides = {**self.overrides, name: value}
        self.hyperparameters = dataclasses.replace(self._defaults, **overrides)
        self.overrides = overrides

    def __delitem__(self, name: str) -> None:
        """Take up the optimizer's hyperparameter again."""
        del self.overrides[name]
        self.set_defaults(self._defaults)

    def __iter__(self) -> Iterator[str]:
        """Iterate over all keys."""
        return iter(("params", *_NAMES))

    def __len__(self) -> int:
        """Count the keys."""
        return 1 + len(_NAMES)

    def __repr__(self) -> str:
        own = "".join(f", {name}={value!r}" for name, value in self.overrides.items())
        return f"ParameterGroup({len(self._states)} arrays{own})"


def is_list_of_groups(params) -> bool:
    """Whether `params` is a list of dicts with a key "params"."""
    return (
        isinstance(params, (list, tuple))
        and len(params) > 0
        and all(isinstance(item, Mapping) and "params" in item for item in params)
    )


def check_group(name: str, group: Mapping) -> None:
    """Raise TypeError or ValueError unless `group` is a dict with the key "params" and otherwise hyperparameters."""
    if not isinstance(group, Mapping):
        raise TypeError(f"{name}={brief(group)} is a {type(group).__name__}: it must be a dict with the key 'params'")
    if "params" not in group:
        raise ValueError(f"{name} has the keys {list(group)}: it must have 'params'")
    for key in group:
        if key != "params" and key not in _NAMES:
            raise ValueError(f"{name} has the key {key!r}: besides 'params' it may have {', '.join(_NAMES)}")


def _check_key(name):
    if name not in _NAMES:
        raise KeyError(f"{name!r}: the hyperparameters of a group are {', '.join(_NAMES)}")
