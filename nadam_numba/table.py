"""One step of many arrays in a call or two of compiled code, which finds them in tables of addresses.

Where Python goes from array to array, checks each gradient and calls a kernel, small arrays take a hundred times as
long as their numbers do. So the way is prepared once, and what remains for each step is to note where the gradients'
objects lie. The table is for the common case alone: whatever is unusual about a gradient, or has changed about a
parameter, is found before anything is updated, and left to the general way, `update`.
"""

import dataclasses
import math
import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from nadam_numba import cpu, jit, pointers, table_kernels
from nadam_numba.dialects import NATIVE
from nadam_numba.hyperparameters import Options
from nadam_numba.plan import Alike, Plan, common_parts, make_settings
from nadam_numba.pointers import ALIGNED, C_CONTIGUOUS, F_CONTIGUOUS
from nadam_numba.table_kernels import BYTES, GRADIENT, PARAMETER, ROWS, SEED, STATE
from nadam_numba.update import STATE_ARRAYS

# Threads share the work by chunks of an array: at least so many numbers, and about so many chunks.
_SMALLEST_CHUNK = 4096
_CHUNKS = 256


class Loop(NamedTuple):
    """A compiled loop over the arrays of a table, with what it takes.

    Attributes
    ----------
    serial, parallel : function
        Of `table_kernels`.
    arguments : tuple
    size : int
        Real numbers in all.
    is_large : bool
        Whether threads might be of use.
    choice : jit.ThreadChoice
        For large tables.
    """

    serial: Callable
    parallel: Callable
    arguments: tuple
    size: int
    is_large: bool
    choice: jit.ThreadChoice

    def run(self):
        """What the loop returns."""
        if not (self.is_large and jit.use_threads(self.size)):
            return self.serial(*self.arguments)
        with_threads = self.choice.pick()
        begin = time.perf_counter()
        result = (self.parallel if with_threads else self.serial)(*self.arguments)
        self.choice.tell(with_threads, time.perf_counter() - begin)
        return result


@dataclasses.dataclass(slots=True, eq=False)
class Table(Alike):
    """Arrays of one group, of one real dtype, that step alike.

    Attributes
    ----------
    arrays : list of dict
        Those of the states, by name.
    chunks : ndarray, shape (c, 3), int64
        Column of an array, the first number of a chunk of it, and how many.
    kept : list of ndarray
        What else is kept for its address.
    positions : ndarray, shape (k,), or None
        Where their gradients are in the list of all of the optimizer's; None if it has no others.
    places : ndarray, shape (rows, k), int64
    update, micro_step, measure, has_only_finite : Loop or None
        None where there is no need of it.
    norms : ndarray, shape (k,)
        Written by `measure`.
    """

    arrays: list[dict]
    chunks: np.ndarray
    kept: list[np.ndarray]
    positions: np.ndarray | None
    places: np.ndarray
    norms: np.ndarray
    update: Loop | None = None
    micro_step: Loop | None = None
    measure: Loop | None = None
    has_only_finite: Loop | None = None

    def step(self) -> bool:
        """Step the arrays; False, and nothing is done, if anything unusual is found."""
        if self.update.run() >= 0:
            return False
        if self.states[0].largest_moment is None and self.arrays[0]["largest_moment"] is not None:
            for state, arrays in zip(self.states, self.arrays, strict=True):
                state.largest_moment = arrays["largest_moment"]
        return True


@dataclasses.dataclass(slots=True, eq=False, kw_only=True)
class TablePlan(Plan):
    """How the steps of arrays on the host are made.

    Attributes
    ----------
    scalars : list of int
        Where arrays of no dimension are among all.
    global_clipnorm : float or None
        Of the options.
    measured : list of Table
        Those that take norms.
    looks_late : bool
        Whether a single table looks at the gradients right before it steps, and that is early enough.
    first_place : memoryview or None
        Where the first table has the addresses of its gradients.
    """

    scalars: list[int]
    global_clipnorm: float | None
    measured: list[Table]
    looks_late: bool
    first_place: memoryview | None

    def note(self, grads) -> list | None:
        """Note where the gradients of the groups are; return them, which must live on, or None if one is unusual."""
        gradients = self.collected(grads)
        if gradients is None:
            return None
        for position in self.scalars:
            # NumPy's reductions give scalars where a 0-d array is due.
            if isinstance(gradients[position], np.generic):
                gradients[position] = np.asarray(gradients[position])
        if len(gradients) == 1:
            self.first_place[0] = id(gradients[0])
        else:
            objects = np.fromiter(map(id, gradients), np.int64, len(gradients))
            for table in self.tables:
                table.places[GRADIENT] = objects if table.positions is None else objects[table.positions]
        return gradients if self.looks_late or all(map(self._accepts, self.tables)) else None

    def _accepts(self, table):
        if table.has_only_finite is not None:
            return table.has_only_finite.run()
        return table_kernels.find_unusual(table.update.arguments[0]) < 0

    def step_one(self, grads) -> bool:
        """Step the one array; False, and nothing is done, if anything has changed or is unusual.

        The same as `note` and `step`, of which each call takes Python as long as the numbers of a small array do.
        """
        gradient = grads
        if not self.is_flat:
            if type(grads) not in (list, tuple) or len(grads) != 1:
                return False
            gradient = grads[0]
        if self.groups[0].hyperparameters is not self.hyperparameters[0] or not self.busy.acquire(False):
            return False
        try:
            self.first_place[0] = id(gradient)
            return self.tables[0].step()
        finally:
            self.busy.release()

    def step(self) -> bool:
        """Step all arrays; False, and nothing is done, if anything unusual is found."""
        return (not self.measured or self._clip_norms()) and all(map(Table.step, self.tables))

    def micro_step(self) -> bool:
        """Add all gradients to the sums of earlier ones; False, and nothing is done, if anything unusual is found."""
        return all(table.micro_step.run() < 0 for table in self.tables)

    def _clip_norms(self):
        """Set the factors that bring norms down to what is allowed; False if anything unusual is found."""
        if not all(table.measure.run() < 0 for table in self.measured):
            return False
        if self.global_clipnorm is not None:
            norms = np.concatenate([table.norms for table in self.tables])
            if len(self.tables) > 1:
                norms = norms[np.argsort(np.concatenate([table.positions for table in self.tables]))]
            common = NATIVE.common_clip_factor(math.hypot(*norms.tolist()), self.global_clipnorm)
            for table in self.tables:
                table.settings["common_factor"] = common
        return True


def make_plan(groups: list, options: Options, spans: tuple, in_list: bool) -> TablePlan:
    """The plan for groups of parameters, whose spans in memory are as `arrays.memory_spans` tells them.

    Gradients come `in_list`, an entry for each group; or without, where there is but one.
    """
    tables, group_of_table, position = [], [], 0
    spans = np.array(spans, np.int64)
    if _suits(groups):
        for number, group in enumerate(groups):
            its_tables = _make_tables(group.states, position, group.hyperparameters, options, spans)
            tables += its_tables
            group_of_table += [number] * len(its_tables)
            position += len(group.states)
        if len(tables) == 1:
            tables[0].positions = None
    common = common_parts(groups, tables, group_of_table)
    states = [state for group in groups for state in group.states]
    scalars = [number for number, state in enumerate(states) if not state.leaf.shape]
    looks_late = len(tables) == 1 and not common["has_schedules"] and tables[0].has_only_finite is None
    does_more = options.use_ema or options.gradient_accumulation_steps or (tables and tables[0].measure)
    may_be_one = common["is_flat"] or common["structure"] == [1]
    return TablePlan(
        **common,
        takes_one=looks_late and may_be_one and not (in_list or scalars or does_more),
        scalars=scalars,
        global_clipnorm=options.global_clipnorm,
        measured=[table for table in tables if table.measure is not None],
        looks_late=looks_late,
        first_place=memoryview(tables[0].places[GRADIENT]) if tables else None,
    )


def _suits(groups):
    """Whether tables can do all that is asked for."""
    leaves = [state.leaf for group in groups for state in group.states]
    return pointers.layout_is_known() and all(
        leaf.array.flags.forc and leaf.array.shape == leaf.shape and type(leaf.array) is np.ndarray for leaf in leaves
    )


def _make_tables(states, first_position, hyper, options, spans):
    """Those of the arrays of a group, whose first one has this position among all of the optimizer's."""
    kinds = {}
    for position, state in enumerate(states, first_position):
        has_largest = hyper.amsgrad or state.largest_moment is not None
        kind = state.leaf.real_dtype, state.is_decayed, has_largest, state.iterations, state.mu_product
        kinds.setdefault(kind, []).append((position, state))
    return [_make_table(*zip(*members, strict=True), hyper, options, spans) for members in kinds.values()]


def _make_table(positions, states, hyper, options, spans):
    likenesses = [state.leaf.array.view() for state in states]
    arrays = [_state_arrays(state, hyper) for state in states]
    places = np.zeros((ROWS, len(states)), np.int64)
    places[SEED] = [state.seed for state in states]
    for column, (state, likeness, by_name) in enumerate(zip(states, likenesses, arrays, strict=True)):
        leaf = state.leaf
        layout = ALIGNED | (F_CONTIGUOUS if leaf.order == "F" else C_CONTIGUOUS)
        places[PARAMETER : BYTES + 1, column] = id(leaf.array), id(likeness), layout, leaf.array.nbytes
        for row, name in zip(STATE, STATE_ARRAYS, strict=True):
            if by_name[name] is not None:
                places[row, column] = by_name[name].__array_interface__["data"][0]
    sizes = [state.leaf.size for state in states]
    chunks = chunks_of(sizes)
    settings, norms = make_settings(states[0], hyper, options), np.zeros(len(states))
    table = Table(list(states), settings, arrays, chunks, likenesses, np.array(positions), places, norms)
    _add_loops(table, hyper, options, spans)
    return table


def _state_arrays(state, hyper):
    """The arrays of a state by name, with the one that amsgrad will need; the state itself gets it with the step."""
    arrays = {name: getattr(state, name) for name in STATE_ARRAYS}
    if hyper.amsgrad and state.largest_moment is None:
        arrays["largest_moment"] = state.largest_of_zeros()
    return arrays


def _add_loops(table, hyper, options, spans):
    """Bind the compiled loops that steps with these settings need to what they take."""
    sizes = [state.leaf.size for state in table.states]
    chunks = table.chunks
    kept, dtype = table.arrays[0], table.states[0].leaf.real_dtype
    factors = None if hyper.clipnorm is None else np.ones(len(sizes))
    like = np.empty(0, dtype)
    average, accumulated = (None if kept[name] is None else like for name in ("average", "accumulated"))
    settings = table.settings
    settings["places"], settings["arrays"] = table.places.ctypes.data, len(sizes)
    settings["chunks"], settings["chunk_count"] = chunks.ctypes.data, len(chunks)
    settings["spans"], settings["span_count"] = spans.ctypes.data, spans.shape[1]
    settings["gradient_type"] = id(np.ndarray)
    if factors is not None:
        settings["factors"] = factors.ctypes.data
        table.kept.append(factors)
    address = settings.ctypes.data

    def loop(kernels, *arguments):
        return make_loop(kernels, sizes, address, *arguments)

    table.kept.append(spans)
    optional = kept["largest_moment"], average, accumulated, factors
    dtypes = (None if array is None else array.dtype for array in optional)
    table.update = loop(table_kernels.step_for(dtype, kept["first_moment"].dtype, *dtypes))
    if accumulated is not None:
        table.micro_step = loop(table_kernels.accumulate, like, average)
    if options.nonfinite != "propagate":
        table.has_only_finite = loop(table_kernels.has_only_finite, like)
    if hyper.clipnorm is not None or options.global_clipnorm is not None:
        blocks = _make_chunks(sizes, cpu.BLOCK)
        sums = np.empty(len(blocks))
        table.measure = loop(table_kernels.measure, like, accumulated, blocks, sums, table.norms, factors)


def make_loop(kernels: tuple[Callable, Callable], sizes: list[int], *arguments) -> Loop:
    """The loop of a serial and a parallel kernel over arrays of these sizes."""
    return Loop(*kernels, arguments, sum(sizes), jit.may_use_threads(sum(sizes)), jit.ThreadChoice())


def chunks_of(sizes: list[int]) -> np.ndarray:
    """Column of an array, the first number of a chunk of it, and how many, for arrays of these sizes; shape (c, 3)."""
    return _make_chunks(sizes, max(_SMALLEST_CHUNK, sum(sizes) // _CHUNKS))


def _make_chunks(sizes, length):
    chunks = [
        (column, start, min(length, size - start))
        for column, size in enumerate(sizes)
        for start in range(0, size, length)
    ]
    return np.array(chunks, np.int64).reshape(-1, 3)
