"""One step of many arrays on GPUs: one launch for all arrays of a dtype on a device, and some more to clip norms."""

import dataclasses
import math

import numpy as np

from nadam_numba.bfloat16 import BITS
from nadam_numba.dialects import Dialect
from nadam_numba.gpu_arrays import device, kernels
from nadam_numba.gpu_arrays.arrays import GpuGradient, GpuLeaf, GpuRows, address, copy_strided, gradient_of
from nadam_numba.gpu_arrays.capture import Counter, check_captured
from nadam_numba.gpu_arrays.clipping import Clipping
from nadam_numba.gpu_arrays.device import place_of
from nadam_numba.gpu_arrays.rows import SortedRows, gathered, scatter, sort_rows, sum_rows
from nadam_numba.gpu_arrays.tables import Table, grouped, numbers_of
from nadam_numba.hyperparameters import Hyperparameters, Options
from nadam_numba.interfaces import is_marked
from nadam_numba.rule import Scalars
from nadam_numba.update import NO_UPDATE, LeafState, conditioning, without_decay

# The arrays of a state, in the order of the rows of a table, which begin with the parameter.
_STATE_ROWS = ("first_moment", "second_moment", "largest_moment", "average", "accumulated")


@dataclasses.dataclass(slots=True, eq=False)
class Column:
    """One array's part of a launch.

    Attributes
    ----------
    state : LeafState
    scalars : Scalars
    gradient : int
        Its address, 0 for none; its numbers are in the order of the state.
    clipnorm : float or None
    """

    state: LeafState
    scalars: Scalars = NO_UPDATE
    gradient: int = 0
    clipnorm: float | None = None


@dataclasses.dataclass(slots=True, eq=False)
class _Touched:
    """Rows of an array that are updated alone."""

    column: Column
    state: LeafState
    rows: SortedRows
    is_overwritten: bool


@dataclasses.dataclass(slots=True, eq=False)
class Part:
    """The columns of one table."""

    table: Table
    columns: list[Column]
    stream: object

    def send(self) -> None:
        """Send the columns' gradients and scalars to the device."""
        scalars = list({id(column.scalars): column.scalars for column in self.columns}.values())
        kinds = {id(each): kind for kind, each in enumerate(scalars)}
        gradients = [column.gradient for column in self.columns]
        numbers = [kinds[id(column.scalars)] for column in self.columns]
        steps = [column.state.iterations for column in self.columns]
        self.table.send(gradients, numbers, numbers_of(scalars, self.table.dtype), self.stream, steps)

    def has(self, name):
        """Whether its arrays have this array of state."""
        return getattr(self.columns[0].state, name) is not None

    @property
    def has_bits(self) -> bool:
        """Whether moments are bits of bfloat16."""
        return self.columns[0].state.first_moment.dtype == BITS

    def update_kernel(self, order: str, has_factors: bool):
        """The kernel that makes a step, in this order of operations, with or without factors from clipping."""
        arrays = self.has("largest_moment"), self.has("average"), self.has("accumulated")
        return kernels.update(order, self.table.dtype, *arrays, has_factors, self.has_bits)


class GpuSteps:
    """Steps of the arrays of one optimizer; what they need on devices besides the state is kept from step to step.

    The methods take what the functions of the same names do in `update`, with gradients from `arrays.gradient_of`.
    """

    def __init__(self):
        # Of the tables the columns' numbers; of the columns their states, and what amsgrad adds to these.
        self._tables, self._members, self._tabled = [], [], []
        self._buffers = {}
        self._streams = {}
        self._counters, self._counted, self._missed = [], None, 0
        self._gradients = {}

    def gradient_of(self, name: str, value, leaf: GpuLeaf, spans: tuple) -> GpuGradient | None:
        """As `arrays.gradient_of`; one in the same place as that of the last step is not checked again."""
        last = self._gradients.get(id(leaf))
        if last is not None and not (isinstance(value, (tuple, np.ndarray)) or is_marked(value)):
            now = place_of(value)
            if now is not None and now.memory is last.memory:
                return GpuGradient(value, now.memory, now.stream, last.is_flat, last.address)
        gradient = gradient_of(name, value, leaf, spans)
        if type(gradient) is GpuGradient:
            self._gradients[id(leaf)] = dataclasses.replace(gradient, array=None)
        return gradient

    def update_arrays(
        self,
        arrays: list[tuple[LeafState, Hyperparameters, float]],
        gradients: list[GpuGradient | None],
        dialect: Dialect,
        options: Options,
        averaging: tuple[float, bool] | tuple[()] = (),
    ) -> set[LeafState]:
        """Step arrays, and their state, in place; return the states of those with a gradient."""
        states = [state for state, _, _ in arrays]
        if options.capturable:
            return self._update_captured(arrays, gradients, dialect, options)
        self.choose_streams(_handles(states, gradients))
        _add_largest(arrays, gradients)
        columns, touched, counted, known = [], [], [], {}
        for (state, hyper, learning_rate), gradient in zip(arrays, gradients, strict=True):
            column = Column(state)
            columns.append(column)
            if gradient is None and not _has_sums(state):
                continue
            # Most arrays have all their numbers in common.
            key = id(hyper), learning_rate, state.iterations, state.mu_product, state.is_decayed
            if key not in known:
                others = conditioning(hyper, options) + averaging
                product, scalars = dialect.scalars(hyper, learning_rate, state.iterations + 1, state.mu_product, others)
                known[key] = product, scalars if state.is_decayed else without_decay(scalars)
            mu_product, scalars = known[key]
            counted.append((state, mu_product))
            if isinstance(gradient, GpuRows) and options.lazy_sparse:
                touched.append(self._touched(state, gradient, scalars, hyper.clipnorm))
            else:
                column.scalars, column.clipnorm = scalars, hyper.clipnorm
                column.gradient = self._flat(state.leaf, gradient)
        parts = self.parts(columns) + self._new_parts([each.column for each in touched])
        for part in parts:
            part.send()
        self._launch_update(parts, options, dialect)
        for each in touched:
            self._put_back(each)
        for state, mu_product in counted:
            state.iterations += 1
            state.mu_product = mu_product
        return {state for state, _ in counted}

    def accumulate_arrays(
        self,
        arrays: list[tuple[LeafState, Hyperparameters, float]],
        gradients: list[GpuGradient | None],
        options: Options,
    ) -> None:
        """Add the gradients of a micro-step to the sums of the earlier ones."""
        states = [state for state, _, _ in arrays]
        self.choose_streams(_handles(states, gradients))
        scalars = NO_UPDATE._replace(gradient_scale=1.0 / (options.loss_scale_factor or 1.0))
        columns = [
            Column(state, scalars, 0 if gradient is None else self._flat(state.leaf, gradient))
            for state, gradient in zip(states, gradients, strict=True)
        ]
        for part in self.parts(columns):
            part.send()
            part.table.launch(kernels.accumulate(part.table.dtype), part.stream)

    def move_averages(self, states: list[LeafState], averaging: tuple[float, bool]) -> None:
        """Move the averages of arrays that are not updated."""
        average_momentum, is_overwritten = averaging
        scalars = NO_UPDATE._replace(average_momentum=average_momentum, is_overwritten=is_overwritten)
        # Any address but 0 says that the average is to be moved.
        parts = self._new_parts([Column(state, scalars, gradient=1) for state in states])
        for part in parts:
            part.send()
            self._with_parameters(part, kernels.average(part.table.dtype))

    def not_finite(self, states: list[LeafState], gradients: list[GpuGradient | None]) -> LeafState | None:
        """The first state whose gradient has an element that is infinite or NaN; waits for the device to tell."""
        self.choose_streams(_handles(states, gradients))
        columns = [
            Column(state, gradient=0 if gradient is None else self._flat(state.leaf, gradient))
            for state, gradient in zip(states, gradients, strict=True)
        ]
        found = []
        for part in self.parts(columns):
            marks = device.zeros("marks of gradients", part.table.columns, np.int64, part.table.device)
            part.send()
            part.table.launch(kernels.mark_nonfinite(part.table.dtype), part.stream, device.address_of(marks))
            with device.on(part.table.device):
                marked = device.fetched(marks)
            found += [column.state for column, mark in zip(part.columns, marked, strict=False) if mark]
        return next((state for state in states if state in found), None)

    def choose_streams(self, handles: dict[int, list[int]], waits: bool = True) -> None:
        """Step on the streams on which gradients are written, after what has been done on others.

        Parameters
        ----------
        handles : dict
            For each device, by its number, the handles of the streams of the gradients there, each once.
        waits : bool
            Whether to wait for other streams.
        """
        for number, its_handles in handles.items():
            chosen, *others = [device.stream(number, handle) for handle in its_handles]
            # What is recorded on one stream can wait for nothing else: who records it has waited before.
            if waits:
                with device.on(number):
                    for other in (*others, self._streams.get(number, chosen)):
                        device.wait_for(chosen, other)
            self._streams[number] = chosen

    def stream(self, number: int):
        """The stream on which steps are made on a device."""
        return self._streams.get(number) or device.stream(number, 0)

    def _buffer(self, leaf, purpose):
        """An array of the size of a leaf that is made once."""
        key = id(leaf), purpose
        if key not in self._buffers:
            self._buffers[key] = leaf, leaf.empty()
        return self._buffers[key][1]

    def _flat(self, leaf, gradient):
        """The address of the numbers of a gradient in the order of the state; of zeros, if it is None."""
        if isinstance(gradient, GpuGradient) and gradient.is_flat:
            return gradient.address
        buffer, stream = self._buffer(leaf, "gradient"), self.stream(leaf.device)
        with device.on(leaf.device):
            if gradient is None or isinstance(gradient, GpuRows):
                kernel = kernels.set_zero(leaf.real_dtype)
                device.launch(kernel, leaf.size, stream, device.address_of(buffer), leaf.size)
            else:
                copy_strided(leaf, gradient.memory, buffer, stream, is_back=False)
            if isinstance(gradient, GpuRows) and gradient.indices.size:
                rows = sort_rows(leaf, gradient)
                sum_rows(leaf, gradient, rows, buffer, rows.indices, stream)
        return device.address_of(buffer)

    def _touched(self, state, gradient, scalars, clipnorm):
        leaf, stream = state.leaf, self.stream(state.leaf.device)
        with device.on(leaf.device):
            rows = sort_rows(leaf, gradient)
            sums = device.empty(f"rows of {leaf.name}", rows.count * rows.width, leaf.real_dtype, leaf.device)
            targets = device.sent("sorted rows", np.arange(rows.count), leaf.device)
            sum_rows(leaf, gradient, rows, sums, targets, stream)
            own = gathered(state, rows, stream)
            own.accumulated = None
            device.synchronize()
        is_overwritten = scalars.is_overwritten
        column = Column(own, scalars._replace(is_overwritten=False), device.address_of(sums), clipnorm)
        self._buffers[id(leaf), "rows"] = leaf, sums
        return _Touched(column, state, rows, is_overwritten)

    def _put_back(self, touched):
        state = touched.state
        with device.on(state.leaf.device):
            scatter(touched.column.state, state, touched.rows, self.stream(state.leaf.device))
            device.synchronize()
        if touched.is_overwritten:
            state.leaf.overwrite(state.average)

    def parts(self, columns: list[Column]) -> list[Part]:
        """Columns with their tables, which are made anew only when arrays have changed."""
        if not _are_same(columns, self._tabled):
            groups = _alike(columns)
            self._tables = [self._make_table(group) for group in groups]
            numbers = {id(column): number for number, column in enumerate(columns)}
            self._members = [[numbers[id(column)] for column in group] for group in groups]
            self._tabled = [(column.state, column.state.largest_moment) for column in columns]
        groups = [[columns[number] for number in members] for members in self._members]
        return [self._part(table, group) for table, group in zip(self._tables, groups, strict=True)]

    def _new_parts(self, columns):
        return [self._part(self._make_table(group), group) for group in _alike(columns)]

    def _part(self, table, columns):
        return Part(table, columns, self.stream(table.device))

    def _make_table(self, columns):
        rows = np.zeros((2 + len(_STATE_ROWS), len(columns)), np.int64)
        for number, column in enumerate(columns):
            state, leaf = column.state, column.state.leaf
            rows[0, number], rows[-1, number] = self._parameter(leaf), state.seed
            for row, name in enumerate(_STATE_ROWS, start=1):
                if getattr(state, name) is not None:
                    rows[row, number] = device.address_of(getattr(state, name))
        leaf = columns[0].state.leaf
        return Table(rows, [column.state.leaf.size for column in columns], leaf.real_dtype, leaf.device)

    def _parameter(self, leaf):
        """Where the numbers of a parameter are in the order of the state, during a launch."""
        return address(leaf.memory) if leaf.is_contiguous else device.address_of(self._buffer(leaf, "parameter"))

    def _update_captured(self, arrays, gradients, dialect, options):
        """Make a step that needs nothing of the host, once the same one has been made before."""
        states, hypers = [state for state, _, _ in arrays], [hyper for _, hyper, _ in arrays]
        check_captured(states, hypers, gradients)
        self.choose_streams(_handles(states, gradients), waits=False)
        _add_largest(arrays, gradients)
        columns = [
            Column(state, NO_UPDATE, gradient.address, hyper.clipnorm)
            for state, hyper, gradient in zip(states, hypers, gradients, strict=True)
        ]
        parts = self.parts(columns)
        numbers = {id(state): (id(hyper), state.is_decayed) for state, hyper, _ in arrays}
        kinds = [_kinds(part, numbers) for part in parts]
        if self._counted is not self._tables or kinds != [counter.kinds for counter in self._counters]:
            self._missed += self._caught_up()
            self._counters = [_counter(*pair) for pair in zip(parts, kinds, strict=True)]
            self._counted = self._tables
        self.renew(arrays, options)
        for part, counter in zip(parts, self._counters, strict=True):
            counter.launch(part.table, [column.gradient for column in part.columns], part.stream)
        self._launch_update(parts, options, dialect)
        for state in states:
            state.iterations += 1  # as far as the host knows
        return set(states)

    def renew(self, arrays: list[tuple[LeafState, Hyperparameters, float]], options: Options) -> None:
        """Let replays of a recorded step know hyperparameters that have been set since."""
        hypers = {id(state): hyper for state, hyper, _ in arrays}
        for counter, table in zip(self._counters, self._tables, strict=True):
            counter.renew(hypers, options, self.stream(table.device))

    def catch_up(self) -> int:
        """Let the states know how many steps there were; return how many the host has not known of."""
        missed, self._missed = self._missed + self._caught_up(), 0
        return missed

    def _caught_up(self):
        return max([counter.catch_up() for counter in self._counters], default=0)

    def _launch_update(self, parts, options, dialect):
        factors = self.clip(parts, options.global_clipnorm, dialect)
        for part, place in zip(parts, factors or [0] * len(parts), strict=True):
            self._with_parameters(part, part.update_kernel(dialect.order, factors is not None), place)

    def _with_parameters(self, part, kernel, extra=0):
        """Launch a kernel that changes parameters; those with gaps are copied to arrays without, and back."""
        with device.on(part.table.device):
            strided = [column.state.leaf for column in part.columns if column.gradient]
            strided = [leaf for leaf in strided if not leaf.is_contiguous]
            for leaf in strided:
                copy_strided(leaf, leaf.memory, self._buffer(leaf, "parameter"), part.stream, is_back=False)
            part.table.launch(kernel, part.stream, extra)
            for leaf in strided:
                copy_strided(leaf, leaf.memory, self._buffer(leaf, "parameter"), part.stream, is_back=True)

    def clip(self, parts: list[Part], global_clipnorm: float | None, dialect: Dialect) -> list[int] | None:
        """Where the factors are by which the gradients of each part are clipped; None if none are."""
        columns = [column for part in parts for column in part.columns]
        if global_clipnorm is None and all(column.clipnorm is None for column in columns):
            return None
        by_device = grouped(parts, lambda part: part.table.device)
        if len(by_device) > 1 and global_clipnorm is not None:
            return self._clip_by_host(by_device, parts, global_clipnorm, dialect)
        places = {}
        for group in by_device:
            with device.on(group[0].table.device):
                clipping = self._clipping(group)
                clipping.launch(group, math.inf if global_clipnorm is None else global_clipnorm)
                places |= clipping.places(group)
        return [places[id(part)] for part in parts]

    def _clip_by_host(self, by_device, parts, global_clipnorm, dialect):
        """As `clip` for parts on several devices, whose norms only the host sees together."""
        factors = {}
        for group in by_device:
            with device.on(group[0].table.device):
                clipping = self._clipping(group)
                clipping.launch_norms(group)
                norms = device.fetched(clipping.found)
                columns = [column for part in group for column in part.columns]
                factors[group[0].table.device] = [
                    (norm, dialect.clip_factor(norm, column.clipnorm))
                    for norm, column in zip(norms, columns, strict=False)
                ]
        norm = math.hypot(*(norm * factor for pairs in factors.values() for norm, factor in pairs))
        common = dialect.common_clip_factor(norm, global_clipnorm)
        places = {}
        for group in by_device:
            number = group[0].table.device
            clipping = self._clipping(group)
            clipping.take([factor * common for _, factor in factors[number]])
            places |= clipping.places(group)
        return [places[id(part)] for part in parts]

    def _clipping(self, parts):
        """What is needed to clip the gradients of parts on one device; made anew when the limits change."""
        limits = [column.clipnorm for part in parts for column in part.columns]
        number = parts[0].table.device
        known = self._buffers.get(("clipping", number))
        if known is None or known.limits != limits:
            known = self._buffers["clipping", number] = Clipping(limits, number)
        return known


def _handles(states, gradients):
    """For each device the handles of the streams of its gradients."""
    handles = {}
    for state, gradient in zip(states, gradients, strict=True):
        if gradient is not None:
            handles.setdefault(state.leaf.device, {})[gradient.stream] = True
    return {number: list(each) for number, each in handles.items()}


def _kinds(part, numbers):
    """For each array of a part, which ones have the same counts and numbers."""
    known = {}
    keys = [(c.state.iterations, c.state.mu_product, *numbers[id(c.state)]) for c in part.columns]
    return [known.setdefault(key, len(known)) for key in keys]


def _counter(part, kinds):
    return Counter([column.state for column in part.columns], kinds, part.table.dtype, part.table.device)


def _alike(columns):
    """Columns whose arrays one launch can step."""

    def kind(column):
        state = column.state
        has = [getattr(state, name) is not None for name in ("largest_moment", "average", "accumulated")]
        return state.leaf.device, state.leaf.real_dtype, *has

    return grouped(columns, kind)


def _are_same(columns, tabled):
    """Whether these columns' states are those of which tables were made, with the same arrays."""
    return len(columns) == len(tabled) and all(
        column.state is state and state.largest_moment is largest
        for column, (state, largest) in zip(columns, tabled, strict=True)
    )


def _has_sums(state):
    """Whether earlier micro-steps have summed gradients that are not 0; waits for the device to tell."""
    return state.accumulated is not None and bool(state.leaf.fetched(state.accumulated).any())


def _add_largest(arrays, gradients):
    """Add the array that amsgrad needs to the states that have none; to all of them, or to none."""
    added = [
        (state, state.largest_of_zeros())
        for (state, hyper, _), gradient in zip(arrays, gradients, strict=True)
        if hyper.amsgrad and state.largest_moment is None and gradient is not None
    ]
    for state, zeros in added:
        state.largest_moment = zeros
