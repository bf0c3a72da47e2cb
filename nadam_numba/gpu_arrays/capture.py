"""Counts of steps on a device, for steps that are recorded once in a CUDA graph and replayed without Python."""

import numpy as np

from nadam_numba.gpu_arrays import device, kernels
from nadam_numba.hyperparameters import Hyperparameters, Options
from nadam_numba.update import LeafState, conditioning


class Counter:
    """The counts of the arrays of one table, by their kinds, whose arrays have all numbers in common.

    Parameters
    ----------
    states : list of LeafState
    kinds : list of int
        That of each state, from 0 on.
    dtype : dtype
        Of the arrays' real numbers.
    number : int
        That of the device.
    """

    def __init__(self, states: list[LeafState], kinds: list[int], dtype: np.dtype, number: int):
        self.kinds = kinds
        self._states, self._dtype, self._device = states, dtype, number
        self._firsts = [states[kinds.index(kind)] for kind in range(max(kinds) + 1)]
        counts = [(state.iterations, state.mu_product) for state in self._firsts]
        self._counts = device.sent("counts of steps", np.array(counts, np.float64).reshape(-1), number)
        size = len(self._firsts) * len(kernels.SETTINGS)
        self._settings = device.empty("hyperparameters", size, np.float64, number)
        self._known = None

    def renew(self, hypers: dict[int, Hyperparameters], options: Options, stream) -> None:
        """Send the hyperparameters, by the id of each state, if they have changed."""
        known = [_settings(hypers[id(state)], options, state.is_decayed) for state in self._firsts]
        if known != self._known:
            with device.on(self._device):
                self._settings.copy_to_device(np.array(known).reshape(-1), stream=stream)
            self._known = known

    def launch(self, table, gradients: list[int], stream) -> None:
        """Count a step of a table's arrays, and compute its scalars."""
        scalars = table.send_once(gradients, self.kinds, len(self._firsts), stream)
        arrays = map(device.address_of, (self._settings, self._counts))
        kinds = len(self._firsts)
        with device.on(self._device):
            device.launch(kernels.advance(self._dtype), kinds, stream, *arrays, scalars, kinds)

    def catch_up(self) -> int:
        """Let the states know how many steps there were; return how many they did not know of."""
        with device.on(self._device):
            counts = device.fetched(self._counts).reshape(-1, 2)
        steps = int(counts[0, 0]) - self._states[0].iterations
        for state, kind in zip(self._states, self.kinds, strict=True):
            state.iterations, state.mu_product = int(counts[kind, 0]), float(counts[kind, 1])
        return steps


def _settings(hyper, options, is_decayed):
    decay = hyper.weight_decay if is_decayed else 0.0
    scale, _, limit, factor = conditioning(hyper, options)
    return (
        float(hyper.learning_rate),
        hyper.beta_1,
        hyper.beta_2,
        hyper.epsilon,
        hyper.momentum_decay,
        hyper.epsilon_root,
        0.0 if hyper.decoupled_weight_decay else decay,
        decay if hyper.decoupled_weight_decay else 0.0,
        float(hyper.nesterov),
        scale,
        limit,
        factor,
    )


def check_captured(states: list[LeafState], hypers: list[Hyperparameters], gradients: list) -> None:
    """Raise ValueError where a step cannot be recorded as it is."""
    for state, hyper, gradient in zip(states, hypers, gradients, strict=True):
        name = state.leaf.name
        if callable(hyper.learning_rate):
            raise ValueError(f"learning_rate={hyper.learning_rate!r}: with capturable=True it must be a number")
        if gradient is None or not gradient.is_flat or not state.leaf.is_contiguous:
            raise ValueError(
                f"{name}: with capturable=True each parameter must be contiguous and have a gradient that is an array "
                "of the same layout, apart from all parameters"
            )
