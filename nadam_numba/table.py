"""One step of many arrays in one call of compiled code, which finds them in a table of addresses.

Where Python goes from array to array, checks each gradient and calls a kernel, small arrays take a hundred times as
long as their numbers do. So the way is prepared once, and what remains for each step is to note where the gradients'
objects lie. The table is for the common case alone: whatever is unusual about a gradient, or has changed about a
parameter, is found before anything is updated, and left to the general way, `update`.
"""

import dataclasses
import math
import threading
import time

import numba
import numpy as np

from nadam_numba import cpu, jit, pointers, rule
from nadam_numba.arrays import Leaf
from nadam_numba.hyperparameters import Hyperparameters, Options
from nadam_numba.pointers import ALIGNED, C_CONTIGUOUS, F_CONTIGUOUS, WRITEABLE, array_at
from nadam_numba.update import LeafState

# Rows of a table's `places`; a column is an array. The addresses of objects: the gradient, the parameter, and one like
# the parameter when the table was made; the flags that a gradient needs, and its bytes; the addresses of the state.
GRADIENT, PARAMETER, LIKENESS, LAYOUT, BYTES, FIRST_MOMENT, SECOND_MOMENT, LARGEST_MOMENT, AVERAGE = range(9)
_STATE_ROWS = {
    "first_moment": FIRST_MOMENT,
    "second_moment": SECOND_MOMENT,
    "largest_moment": LARGEST_MOMENT,
    "average": AVERAGE,
}

# What the scalars of a step are made of, and how many steps there were.
SETTINGS = np.dtype(
    [(name, np.float64) for name in ("learning_rate", "beta_1", "beta_2", "epsilon", "momentum_decay", "epsilon_root")]
    + [(name, np.float64) for name in ("weight_decay", "gradient_scale", "gradient_limit", "gradient_factor")]
    + [(name, np.float64) for name in ("average_momentum", "mu_product")]
    + [(name, np.int64) for name in ("iterations", "nesterov", "decoupled_weight_decay", "is_overwritten")]
)

# In a structure, the place of an array.
_LEAF = object()
# Classes derived from these may give something else each time they are asked.
_LISTS = (list, tuple)

# Threads share the work by chunks of an array: at least so many numbers, and about so many chunks.
_SMALLEST_CHUNK = 4096
# The mean size of arrays from which amsgrad goes the general way: in the loop over chunks LLVM does not vectorise it.
_LARGEST_WITH_AMSGRAD = 2048
_CHUNKS = 256


@dataclasses.dataclass(slots=True, eq=False)
class Table:
    """Arrays of one group, of one real dtype, that step alike.

    Attributes
    ----------
    states : list of LeafState
        Their counts are those of `settings` after `write_back`.
    positions : ndarray, shape (k,), or None
        Where their gradients are in the list of all of the optimizer's; None if it has no others.
    places : ndarray, shape (rows, k), int64
    chunks : ndarray, shape (c, 3), int64
        Column of an array, its first number, and how many.
    settings : ndarray, shape (1,), of SETTINGS
    like, largest_moment, average : ndarray, shape (0,), or None
        Of the arrays' real dtype; None where there is none of the kind.
    size : int
        Real numbers in all.
    likenesses : list of ndarray
    arrays : list of dict
        Those of the states, by name. Both are kept for their addresses.
    arguments : tuple
        Those of the kernel.
    choice : jit.ThreadChoice
        For large tables.
    """

    states: list[LeafState]
    positions: np.ndarray | None
    places: np.ndarray
    chunks: np.ndarray
    settings: np.ndarray
    like: np.ndarray
    largest_moment: np.ndarray | None
    average: np.ndarray | None
    size: int
    likenesses: list[np.ndarray]
    arrays: list[dict]
    arguments: tuple = ()
    choice: jit.ThreadChoice = dataclasses.field(default_factory=jit.ThreadChoice)

    def step(self) -> bool:
        """Step the arrays; False, and nothing is done, if anything unusual is found."""
        if not self._make_step():
            return False
        if self.largest_moment is not None and self.states[0].largest_moment is None:
            for state, arrays in zip(self.states, self.arrays, strict=True):
                state.largest_moment = arrays["largest_moment"]
        return True

    def _make_step(self):
        if not jit.use_threads(self.size):
            return _step_serial(*self.arguments) < 0
        with_threads = self.choice.pick()
        begin = time.perf_counter()
        found = (_step_parallel if with_threads else _step_serial)(*self.arguments)
        self.choice.tell(with_threads, time.perf_counter() - begin)
        return found < 0

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
    """How the steps of an optimizer are made by tables.

    Attributes
    ----------
    groups : list of ParameterGroup
    tables : list of Table
        Of all groups; empty where the general way is the only one.
    group_of_table : list of int
    structure : list
        That of each group's tree.
    scalars : list of int
        Where arrays of no dimension are among all.
    has_schedules : bool
        Whether the learning rate of a group is a function.
    hyperparameters : list of Hyperparameters
        Those of the groups, from which the tables were made.
    spans : ndarray, shape (2, arrays), int64
        Where the parameters lie, as `arrays.ordered_spans` has it.
    busy : Lock
        Held during a step: the tables have room for the gradients of one.
    """

    groups: list
    tables: list[Table]
    group_of_table: list[int]
    structure: list
    scalars: list[int]
    has_schedules: bool
    hyperparameters: list[Hyperparameters]
    spans: np.ndarray
    busy: threading.Lock = dataclasses.field(default_factory=threading.Lock)

    def is_current(self) -> bool:
        """Whether the tables serve the groups as they are; other numbers are taken over."""
        for number, group in enumerate(self.groups):
            if group.hyperparameters is not self.hyperparameters[number] and not self._renew(number):
                return False
        return True

    def _renew(self, number):
        """Take over the hyperparameters of a group, if that changes nothing but numbers."""
        new, old = self.groups[number].hyperparameters, self.hyperparameters[number]
        is_schedule = callable(new.learning_rate) or callable(old.learning_rate)
        if is_schedule or new.clipnorm is not None or new.amsgrad != old.amsgrad:
            return False
        for table in self.groups[number].tables:
            _set_hyperparameters(table.settings, new, table.states[0].is_decayed)
        self.hyperparameters[number] = new
        return True

    def note(self, grads) -> list | None:
        """Note where the gradients of the groups are; return them, which must live on, or None if one is unusual."""
        gradients = []
        if type(grads) not in _LISTS or len(grads) != len(self.structure):
            return None
        for number, structure in enumerate(self.structure):
            if not _collect(grads[number], structure, gradients):
                return None
        for position in self.scalars:
            # NumPy's reductions give scalars where a 0-d array is due.
            if isinstance(gradients[position], np.generic):
                gradients[position] = np.asarray(gradients[position])
        if len(gradients) == 1:
            self.tables[0].places[GRADIENT, 0] = id(gradients[0])
        else:
            objects = np.fromiter(map(id, gradients), np.int64, len(gradients))
            for table in self.tables:
                table.places[GRADIENT] = objects if table.positions is None else objects[table.positions]
        # A single table looks at the gradients right before it steps.
        is_late = len(self.tables) == 1 and not self.has_schedules
        return gradients if is_late or self._finds() else None

    def _finds(self):
        return all(_find(table.places, self.spans, id(np.ndarray)) < 0 for table in self.tables)

    def set_rates(self, learning_rates: list[float]) -> None:
        """Take the learning rate of each group."""
        for table, group in zip(self.tables, self.group_of_table, strict=True):
            table.settings["learning_rate"] = learning_rates[group]

    def set_averaging(self, average_momentum: float, is_overwritten: bool) -> None:
        """Take these fields of `rule.Scalars`."""
        for table in self.tables:
            table.settings["average_momentum"] = average_momentum
            table.settings["is_overwritten"] = is_overwritten

    def step(self) -> bool:
        """Step all arrays; False, and nothing is done, if anything unusual is found."""
        return all(map(Table.step, self.tables))


def make_plan(groups: list, options: Options, spans: tuple) -> Plan:
    """The plan for groups of parameters, whose spans in memory are as `arrays.memory_spans` tells them."""
    tables, group_of_table, position = [], [], 0
    hyperparameters = [group.hyperparameters for group in groups]
    if _suits(groups, options):
        for number, group in enumerate(groups):
            its_tables = _make_tables(group.states, position, group.hyperparameters, options)
            tables += its_tables
            group_of_table += [number] * len(its_tables)
            position += len(group.states)
        if len(tables) == 1:
            tables[0].positions = None
    has_schedules = any(callable(hyper.learning_rate) for hyper in hyperparameters)
    spans = np.array(spans, np.int64)
    for table in tables:
        table.arguments = (
            table.places,
            table.chunks,
            spans,
            id(np.ndarray),
            table.settings,
            table.like,
            table.largest_moment,
            table.average,
        )
    structure = [_structure_of(group.tree) for group in groups]
    states = [state for group in groups for state in group.states]
    scalars = [number for number, state in enumerate(states) if not state.leaf.shape]
    for number, group in enumerate(groups):
        group.tables = [table for table, owner in zip(tables, group_of_table, strict=True) if owner == number]
    return Plan(groups, tables, group_of_table, structure, scalars, has_schedules, hyperparameters, spans)


def _suits(groups, options):
    """Whether tables can do all that is asked for."""
    is_plain = options.global_clipnorm is None and options.nonfinite == "propagate"
    if not is_plain or options.gradient_accumulation_steps:
        return False
    if not pointers.layout_is_known() or any(group.hyperparameters.clipnorm is not None for group in groups):
        return False
    states = [state for group in groups for state in group.states]
    leaves = [state.leaf for state in states]
    has_largest = any(group.hyperparameters.amsgrad for group in groups) or any(
        state.largest_moment is not None for state in states
    )
    if has_largest and sum(leaf.size for leaf in leaves) > _LARGEST_WITH_AMSGRAD * len(leaves):
        return False
    return all(
        leaf.array.flags.forc and leaf.array.shape == leaf.shape and type(leaf.array) is np.ndarray for leaf in leaves
    )


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


def _make_tables(states, first_position, hyper, options):
    """Those of the arrays of a group, whose first one has this position among all of the optimizer's."""
    kinds = {}
    for position, state in enumerate(states, first_position):
        has_largest = hyper.amsgrad or state.largest_moment is not None
        kind = state.leaf.real_dtype, state.is_decayed, has_largest, state.iterations, state.mu_product
        kinds.setdefault(kind, []).append((position, state))
    return [_make_table(*zip(*members, strict=True), hyper, options) for members in kinds.values()]


def _make_table(positions, states, hyper, options):
    leaves = [state.leaf for state in states]
    likenesses = [leaf.array.view() for leaf in leaves]
    arrays = [_state_arrays(state, hyper) for state in states]
    places = np.zeros((9, len(states)), np.int64)
    for column, (leaf, likeness, by_name) in enumerate(zip(leaves, likenesses, arrays, strict=True)):
        layout = ALIGNED | (F_CONTIGUOUS if leaf.order == "F" else C_CONTIGUOUS)
        places[PARAMETER : BYTES + 1, column] = id(leaf.array), id(likeness), layout, leaf.array.nbytes
        for name, row in _STATE_ROWS.items():
            if by_name[name] is not None:
                places[row, column] = by_name[name].__array_interface__["data"][0]
    size = sum(leaf.size for leaf in leaves)
    like = np.empty(0, leaves[0].real_dtype)
    return Table(
        list(states),
        np.array(positions),
        places,
        _make_chunks([leaf.size for leaf in leaves], max(_SMALLEST_CHUNK, size // _CHUNKS)),
        _make_settings(states[0], hyper, options),
        like,
        None if arrays[0]["largest_moment"] is None else like,
        None if arrays[0]["average"] is None else like,
        size,
        likenesses,
        arrays,
    )


def _state_arrays(state, hyper):
    """The arrays of a state by name, with the one that amsgrad will need; the state itself gets it with the step."""
    arrays = {name: getattr(state, name) for name in _STATE_ROWS}
    if hyper.amsgrad and state.largest_moment is None:
        arrays["largest_moment"] = np.zeros_like(state.second_moment)
    return arrays


def _make_chunks(sizes, length):
    chunks = [
        (column, start, min(length, size - start))
        for column, size in enumerate(sizes)
        for start in range(0, size, length)
    ]
    return np.array(chunks, np.int64).reshape(-1, 3)


def _set_hyperparameters(settings, hyper, is_decayed):
    for name in ("beta_1", "beta_2", "epsilon", "momentum_decay", "epsilon_root", "nesterov", "decoupled_weight_decay"):
        settings[name] = getattr(hyper, name)
    settings["learning_rate"] = math.nan if callable(hyper.learning_rate) else hyper.learning_rate
    settings["weight_decay"] = hyper.weight_decay if is_decayed else 0.0
    settings["gradient_limit"] = math.inf if hyper.clipvalue is None else hyper.clipvalue
    settings["gradient_factor"] = -1.0 if hyper.maximize else 1.0


def _make_settings(state, hyper, options):
    settings = np.zeros(1, SETTINGS)
    _set_hyperparameters(settings, hyper, state.is_decayed)
    settings["gradient_scale"] = 1.0 / (options.loss_scale_factor or 1.0)
    settings["mu_product"] = state.mu_product
    settings["iterations"] = state.iterations
    return settings


def _find_unusual(places, spans, kind):
    """The column of the first array whose gradient or parameter is not as expected; -1 if all are."""
    for column in range(places.shape[1]):
        gradient, parameter, likeness = places[GRADIENT, column], places[PARAMETER, column], places[LIKENESS, column]
        layout = places[LAYOUT, column]
        if not pointers.has_type(gradient, kind):
            return column
        if pointers.flags_of(gradient) & layout != layout or not pointers.are_alike(gradient, likeness):
            return column
        layout |= WRITEABLE
        if pointers.flags_of(parameter) & layout != layout or not pointers.are_alike(parameter, likeness):
            return column
        if pointers.elements_of(parameter) != pointers.elements_of(likeness):
            return column
        if _overlaps(pointers.elements_of(gradient), places[BYTES, column], spans):
            return column
    return -1


def _overlaps(start, length, spans):
    """Whether memory overlaps any of the spans: their rising starts, and the furthest end up to each."""
    low, high = 0, spans.shape[1]
    while low < high:
        middle = (low + high) // 2
        if spans[0, middle] < start + length:
            low = middle + 1
        else:
            high = middle
    return low > 0 and spans[1, low - 1] > start


def _scalars(record):
    """The fields of `rule.Scalars` for the next step; and the product of the momentum coefficients with it."""
    step = record["iterations"] + 1
    mu_product, beta_1, beta_2 = float(record["mu_product"]), float(record["beta_1"]), float(record["beta_2"])
    if record["nesterov"]:
        mu_product, gradient_weight, momentum_weight, correction = cpu.step_coefficients(
            step, mu_product, beta_1, beta_2, float(record["momentum_decay"])
        )
    else:
        gradient_weight, momentum_weight, correction = cpu.adam_coefficients(step, beta_1, beta_2)
    learning_rate, weight_decay = float(record["learning_rate"]), float(record["weight_decay"])
    coupled_decay, decay = weight_decay, 0.0
    if record["decoupled_weight_decay"]:
        coupled_decay, decay = 0.0, 1.0 - (1.0 - learning_rate * weight_decay)
    return mu_product, (
        learning_rate,
        beta_1,
        beta_2,
        record["epsilon"],
        gradient_weight,
        momentum_weight,
        correction,
        1.0,
        1.0,
        1.0,
        record["epsilon_root"],
        coupled_decay,
        decay,
        0.0,
        record["gradient_scale"],
        1.0,
        record["gradient_limit"],
        record["gradient_factor"],
        record["average_momentum"],
        record["is_overwritten"] != 0,
        False,
    )


def _step(places, chunks, spans, kind, settings, like, largest_moment, average):
    """Make one step of all arrays, unless one is unusual: its column is returned, and -1 after a step."""
    unusual = _find(places, spans, kind)
    if unusual >= 0:
        return unusual
    mu_product, scalars = _scalars(settings[0])
    itemsize = like.itemsize
    for chunk in numba.prange(chunks.shape[0]):
        column, first, size = chunks[chunk, 0], chunks[chunk, 1] * itemsize, chunks[chunk, 2]
        cpu.update_serial(
            array_at(pointers.elements_of(places[PARAMETER, column]) + first, size, like),
            array_at(places[FIRST_MOMENT, column] + first, size, like),
            array_at(places[SECOND_MOMENT, column] + first, size, like),
            None if largest_moment is None else array_at(places[LARGEST_MOMENT, column] + first, size, like),
            None if average is None else array_at(places[AVERAGE, column] + first, size, like),
            None,
            array_at(pointers.elements_of(places[GRADIENT, column]) + first, size, like),
            None,
            *scalars,
        )
    settings[0]["mu_product"] = mu_product
    settings[0]["iterations"] += 1
    return -1


_overlaps = jit.scalar(_overlaps)
_scalars = jit.scalar(_scalars)
_find = jit.kernel(_find_unusual, pointers)
_step_serial = jit.kernel(_step, cpu, pointers, rule, makes_arrays=True)
_step_parallel = jit.kernel(_step, cpu, pointers, rule, parallel=True)
