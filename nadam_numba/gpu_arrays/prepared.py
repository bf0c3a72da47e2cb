"""Steps of arrays on GPUs that are much the same as the last one, prepared once, as `table` prepares those on the host.

Where arrays, streams and options are those of the last step, what remains for Python is to see that they are, to have
the numbers of the step computed, and to send them; all else is left to the general way, `update`.
"""

import dataclasses
import operator
from collections.abc import Callable

import numpy as np

from nadam_numba.arrays import overlaps
from nadam_numba.dialects import NATIVE
from nadam_numba.gpu_arrays import device, kernels
from nadam_numba.gpu_arrays.arrays import GpuGradient, GpuLeaf, gradient_of
from nadam_numba.gpu_arrays.tables import grouped
from nadam_numba.gpu_arrays.update import Column, GpuSteps, Part
from nadam_numba.hyperparameters import Options
from nadam_numba.interfaces import Described, described
from nadam_numba.plan import Alike, Plan, common_parts, make_settings
from nadam_numba.table_kernels import count, write_next


@dataclasses.dataclass(slots=True, eq=False)
class Launch:
    """The step of the arrays of one table on a device.

    Attributes
    ----------
    part : Part
    kernel : dispatcher
    positions : ndarray, shape (columns,), or None
        Where its arrays are among all of the optimizer's; None if it has all of them.
    alike : list of Alike
        Its arrays, apart where numbers differ.
    settings : list of int
        The addresses of their settings.
    kinds : ndarray, shape (columns,)
        To which of these each array belongs.
    numbers : ndarray, shape (len(alike), SCALARS)
    products : list of float
        The products of the momentum coefficients, with the step that is to be made.
    """

    part: Part
    kernel: object
    positions: np.ndarray | None
    alike: list[Alike]
    settings: list[int]
    kinds: np.ndarray
    numbers: np.ndarray
    products: list[float] = dataclasses.field(default_factory=list)

    def send(self, addresses: np.ndarray) -> None:
        """Send what the next step needs, given the addresses of all gradients."""
        self.products = list(map(write_next, self.settings, self.numbers))
        gradients = addresses if self.positions is None else addresses[self.positions]
        self.part.table.send(gradients, self.kinds, self.numbers, self.part.stream, self._past_steps())

    def _past_steps(self):
        """How many steps each array has made, if that counts: the noise that rounds moments depends on it."""
        if not self.part.has_bits:
            return 0
        return np.array([each.settings["iterations"][0] for each in self.alike])[self.kinds]

    def count(self) -> None:
        """Count the step."""
        for settings, product in zip(self.settings, self.products, strict=True):
            count(settings, product)


@dataclasses.dataclass(slots=True, eq=False, kw_only=True)
class PreparedPlan(Plan):
    """How the steps of arrays on GPUs are made.

    Attributes
    ----------
    steps : GpuSteps
    options : Options
    clips : bool
        Whether norms are clipped.
    spans : tuple
        Where the parameters lie in memory, from `arrays.memory_spans`.
    launches : list of Launch
    leaves : list of GpuLeaf
    firsts : list of int
        The first of these on each device.
    parameters : list
        The arrays of the leaves.
    look : callable
        ``look(parameters)`` tells where they are, as far as that may change.
    places : object
        What it told when the plan was made.
    gradients : Described or None
        Of the gradients of the last step.
    own : list
        These themselves, if they were the optimizer's own, which do not move.
    addresses : ndarray, shape (len(leaves),)
        Of these.
    handles : list of int
        Of their streams.
    streams : dict
        For each device, by its number, those on it, each once.
    is_settled : bool
        Whether steps are made on these already.
    """

    steps: GpuSteps
    options: Options
    clips: bool
    spans: tuple
    launches: list[Launch]
    leaves: list[GpuLeaf]
    firsts: list[int]
    parameters: list
    look: Callable
    places: object
    gradients: Described | None = None
    own: list = dataclasses.field(default_factory=list)
    addresses: np.ndarray | None = None
    handles: list[int] = dataclasses.field(default_factory=list)
    streams: dict[int, list[int]] = dataclasses.field(default_factory=dict)
    is_settled: bool = False

    def is_current(self) -> bool:
        """Whether the plan serves the groups as they are; other numbers are taken over."""
        before = [hyper.clipnorm for hyper in self.hyperparameters]
        # The limits of norms are on the device.
        return Plan.is_current(self) and before == [hyper.clipnorm for hyper in self.hyperparameters]

    def note(self, grads) -> list | None:
        """Note where the gradients of the groups are; return them, which must live on, or None if one is unusual."""
        gradients = self.collected(grads)
        if gradients is None or self.look(self.parameters) != self.places:
            return None
        if not (self.own and all(map(operator.is_, gradients, self.own))) and not self._accepts(grads, gradients):
            return None
        self._choose_streams()
        return gradients

    def _accepts(self, grads, gradients):
        """Take the gradients of the groups, and these in a list; False if one is unusual."""
        now = described(gradients)
        if now is None or not (self._are_as_before(gradients, now) or self._take(gradients, now)):
            return False
        trees = [group.gradients if group.has_gradients else None for group in self.groups]
        are_own = all(map(operator.is_, grads, trees)) and all(map(device.is_numbas, gradients))
        self.own = gradients if are_own else []
        return True

    def _are_as_before(self, gradients, now):
        """Whether the gradients differ from those of the last step by nothing but their numbers."""
        return now == self.gradients and (now.tells_streams or self._are_on_same_streams(gradients))

    def _are_on_same_streams(self, gradients):
        return all(device.stream_number(gradients[k], None) == self.handles[k] for k in self.firsts)

    def _take(self, gradients, now):
        """Take gradients that differ in more; False if one is unusual."""
        before = self.gradients
        are_alike = before is not None and now[1:] == before[1:]
        if are_alike and (now.tells_streams or self._are_on_same_streams(gradients)):
            moved = zip(self.leaves, now.addresses, before.addresses, strict=True)
            if not all(self._is_safe(leaf, address) for leaf, address, last in moved if address != last):
                return False
        else:
            checked = list(map(self._checked, self.leaves, gradients))
            if None in checked:
                return False
            self.handles = [gradient.stream for gradient in checked]
            self.streams, self.is_settled = self._streams_by_device(), False
        self.gradients, self.addresses = now, np.array(now.addresses)
        return True

    def _is_safe(self, leaf, address):
        """Whether a gradient like the last one may be at another address: on the device, and apart from parameters."""
        if address == 0 and leaf.size:
            return False
        try:
            is_there = device.device_of(leaf.name, address) == leaf.device
        except ValueError:
            return False
        return is_there and not overlaps((address, address + leaf.memory.nbytes), self.spans)

    def _checked(self, leaf, value):
        """The gradient of a leaf; None if it is not one whose numbers lie in the order of the state."""
        try:
            gradient = gradient_of(leaf.name, value, leaf, self.spans)
        except (TypeError, ValueError):
            return None  # the general way tells what is wrong
        # Of what torch has marked there is a copy.
        is_usual = type(gradient) is GpuGradient and gradient.is_flat and gradient.array is value
        return gradient if is_usual else None

    def _streams_by_device(self):
        by_device = {}
        for leaf, handle in zip(self.leaves, self.handles, strict=True):
            by_device.setdefault(leaf.device, {})[handle] = True
        return {number: list(each) for number, each in by_device.items()}

    def _choose_streams(self):
        """Step on the streams of the gradients; where a device has several, each step waits for the others."""
        if self.is_settled and all(len(each) == 1 for each in self.streams.values()):
            return
        self.steps.choose_streams(self.streams)
        for launch in self.launches:
            launch.part.stream = self.steps.stream(launch.part.table.device)
        self.is_settled = True

    def step(self) -> bool:
        """Step all arrays."""
        for launch in self.launches:
            launch.send(self.addresses)
        places = [0] * len(self.launches)
        if self.clips:
            parts = [launch.part for launch in self.launches]
            places = self.steps.clip(parts, self.options.global_clipnorm, NATIVE)
        for launch, place in zip(self.launches, places, strict=True):
            launch.part.table.launch(launch.kernel, launch.part.stream, place)
        for launch in self.launches:
            launch.count()
        return True


def make_plan(steps: GpuSteps, groups: list, options: Options, spans: tuple, in_list: bool) -> PreparedPlan:
    """The plan for groups of parameters on GPUs, which `steps` steps; other parameters as in `table.make_plan`."""
    owners = [(state, number) for number, group in enumerate(groups) for state in group.states]
    leaves = [state.leaf for state, _ in owners]
    parameters = [leaf.array for leaf in leaves]
    look = _shapes_of if all(map(device.is_numbas, parameters)) else described
    places = look(parameters)
    is_common = owners and places is not None and _suits(groups, owners, options)
    clips = options.global_clipnorm is not None or any(group["clipnorm"] is not None for group in groups)
    launches = _make_launches(steps, groups, owners, options, clips) if is_common else []
    tables = [each for launch in launches for each in launch.alike]
    owner_of = {id(state): number for state, number in owners}
    devices = [leaf.device for leaf in leaves]
    return PreparedPlan(
        **common_parts(groups, tables, [owner_of[id(each.states[0])] for each in tables]),
        steps=steps,
        options=options,
        clips=clips,
        spans=spans,
        launches=launches,
        leaves=leaves,
        firsts=[devices.index(number) for number in set(devices)],
        parameters=parameters,
        look=look,
        places=places,
    )


def _shapes_of(arrays):
    """The shapes of Numba's arrays, of which nothing else changes."""
    return [array.shape for array in arrays]


def _suits(groups, owners, options):
    """Whether a plan can do all that is asked for."""
    does_more = options.capturable or options.gradient_accumulation_steps or options.nonfinite != "propagate"
    has_all = all(state.largest_moment is not None or not groups[number]["amsgrad"] for state, number in owners)
    return not does_more and has_all and all(state.leaf.is_contiguous and _is_there(state.leaf) for state, _ in owners)


def _is_there(leaf):
    """Whether a parameter is where and as it was when it was handed over."""
    try:
        leaf.check()
    except ValueError:
        return False
    return True


def _make_launches(steps, groups, owners, options, clips):
    columns = [Column(state, clipnorm=groups[number]["clipnorm"]) for state, number in owners]
    positions = {id(state): position for position, (state, _) in enumerate(owners)}
    owner_of = {id(state): number for state, number in owners}
    return [_make_launch(part, groups, options, clips, positions, owner_of) for part in steps.parts(columns)]


def _make_launch(part, groups, options, clips, positions, owner_of):
    """The launch of a part, by the ids of whose states are known their places among all, and their groups."""
    states = [column.state for column in part.columns]
    kinds = grouped(states, lambda s: (owner_of[id(s)], s.is_decayed, s.iterations, s.mu_product))
    hypers = [groups[owner_of[id(each[0])]].hyperparameters for each in kinds]
    alike = [Alike(each, make_settings(each[0], hyper, options)) for each, hyper in zip(kinds, hypers, strict=True)]
    kind_of = {id(state): kind for kind, each in enumerate(kinds) for state in each}
    return Launch(
        part,
        part.update_kernel(NATIVE.order, clips),
        np.array([positions[id(state)] for state in states]) if len(states) < len(positions) else None,
        alike,
        [each.settings.ctypes.data for each in alike],
        np.array([kind_of[id(state)] for state in states]),
        np.zeros((len(alike), kernels.SCALARS), part.table.dtype),
    )
