"""What the interfaces to TensorFlow's optimizers share: variables they meet one by one, and weights in a list."""

import dataclasses
import math
from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np

from nadam_numba.arrays import Leaf, check_overlaps, memory_spans, parameter_tree, place
from nadam_numba.gradients import Rows, gradient_of
from nadam_numba.hyperparameters import Options, one_of, real_number
from nadam_numba.state import checked_count
from nadam_numba.update import LeafState

EPSILON = 1e-7  # keras.backend.epsilon()

Gradient = np.ndarray | tuple | None
GradientsAndVariables = Iterable[tuple[Gradient, np.ndarray]]


class Pair(NamedTuple):
    """A gradient and its array, and how error messages call them."""

    gradient: Gradient
    array: np.ndarray
    gradient_name: str
    array_name: str


class Variables:
    """The arrays an optimizer has met, in that order, with their state; nothing is ever taken away.

    Parameters
    ----------
    states : list of LeafState
    """

    __slots__ = ("_by_place", "spans", "states")

    def __init__(self, states: Iterable[LeafState] = ()):
        self.states = list(states)
        self._by_place = {place(state.leaf.array): state for state in self.states}
        self.spans = memory_spans([state.leaf for state in self.states])

    def __getstate__(self):
        """What is copied and pickled; the arrays lie elsewhere in memory then."""
        return {"states": self.states}

    def __setstate__(self, state):
        self.__init__(state["states"])

    def __getitem__(self, array: np.ndarray) -> LeafState:
        """The state of `array`; KeyError if it has not been met."""
        state = self._by_place.get(place(array)) if isinstance(array, np.ndarray) else None
        if state is None:
            raise KeyError(f"{array!r}: the optimizer has not met this array yet")
        return state

    def including(self, arrays: Iterable[tuple[np.ndarray, str]]) -> "tuple[Variables, list[LeafState]]":
        """These and `arrays`, each with what error messages call it; and the states of `arrays`.

        Raises
        ------
        TypeError, ValueError
            If one is not an array that can be updated, or shares memory with another.
        """
        fresh, states = {}, []
        for array, name in arrays:
            if not isinstance(array, np.ndarray):
                raise TypeError(f"{name}={array!r} is a {type(array).__name__}: it must be a NumPy array")
            key = place(array)
            if key not in self._by_place and key not in fresh:
                fresh[key] = LeafState.fresh(parameter_tree(name, array), Options())
            states.append(self._by_place.get(key) or fresh[key])
            states[-1].leaf.check()
        if not fresh:
            return self, states
        check_overlaps([_met_earlier(state.leaf) for state in self.states] + [state.leaf for state in fresh.values()])
        return Variables([*self.states, *fresh.values()]), states

    def gradients(self, pairs: list[Pair], states: list[LeafState]) -> list[np.ndarray | Rows | None]:
        """The gradients of `pairs`, checked against the states of their arrays."""
        return [
            gradient_of(pair.gradient_name, pair.gradient, state.leaf, self.spans)
            for pair, state in zip(pairs, states, strict=True)
        ]


def _met_earlier(leaf):
    # Its name is that of another call's argument.
    return dataclasses.replace(leaf, name=f"an array of shape {leaf.shape} of an earlier step")


def pairs_of(name: str, grads_and_vars: GradientsAndVariables) -> list[Pair]:
    """The pairs in a list; `name` is how error messages call them, and TypeError is raised if they are none."""
    pairs = list(grads_and_vars)
    for index, pair in enumerate(pairs):
        if not isinstance(pair, (tuple, list)) or len(pair) != 2:
            raise TypeError(f"{name}[{index}]={pair!r}: it must be a pair (gradient, array)")
    return [Pair(*pair, f"{name}[{index}][0]", f"{name}[{index}][1]") for index, pair in enumerate(pairs)]


def value_and_pairs(loss: Callable, inputs: tuple, name: str, arrays) -> tuple[object, list[Pair]]:
    """Call `loss`, and pair its gradients with `arrays`: one, a list, or a function that is called after it."""
    answer = loss(*inputs)
    if not isinstance(answer, tuple) or len(answer) != 2:
        raise TypeError(f"loss() returned {answer!r}: it must return a pair (value, gradients)")
    value, gradients = answer
    arrays = arrays() if callable(arrays) else arrays
    if isinstance(arrays, np.ndarray):
        arrays, gradients = [arrays], [gradients]
    if not isinstance(gradients, (list, tuple)):
        raise TypeError(f"loss() returned gradients={gradients!r}: it must be a list or tuple, one for each array")
    if len(gradients) != len(arrays):
        raise ValueError(f"loss() returned {len(gradients)} gradients: there are {len(arrays)} arrays")
    pairs = enumerate(zip(gradients, arrays, strict=True))
    return value, [Pair(*pair, f"loss()[1][{index}]", f"{name}[{index}]") for index, pair in pairs]


def as_given(gradient: np.ndarray | Rows, leaf: Leaf) -> np.ndarray | tuple:
    """A checked gradient in the form it was given in."""
    if isinstance(gradient, Rows):
        values = gradient.values.reshape(-1).view(leaf.array.dtype)
        return gradient.indices, values.reshape(gradient.indices.size, *leaf.shape[1:])
    return leaf.unflatten(gradient)


def nonnegative_or_none(name: str, value: float | None) -> float | None:
    """`value` as a float, or None; TypeError or ValueError if it is no number >= 0."""
    return None if value is None else real_number(name, value, "None or a number >= 0", lambda v: v >= 0.0)


def limit_of(clip: float | None) -> float | None:
    """What the core takes for a limit that may be 0 or infinite."""
    if clip is None or clip == math.inf:
        return None
    return clip or math.ulp(0.0)  # which leaves nothing of any gradient


def checked_scalar_dtype(scalar_dtype, allowed: tuple[str, ...]) -> str | None:
    """The name of the dtype, or None; ValueError if it is not allowed."""
    if scalar_dtype is None:
        return None
    try:
        name = np.dtype(scalar_dtype).name
    except TypeError:
        name = scalar_dtype
    return one_of((None, *allowed), "scalar_dtype", name)


def checked_weights(weights: list, current: list[np.ndarray]) -> list[np.ndarray]:
    """`weights` in the dtypes of the `current` ones; TypeError or ValueError if they cannot stand for them."""
    checked = []
    for index, (weight, like) in enumerate(zip(weights, current, strict=True)):
        name, weight = f"weights[{index}]", np.asarray(weight)
        if weight.dtype.kind not in "iufc" or (weight.dtype.kind == "c" and like.dtype.kind != "c"):
            raise TypeError(f"{name} has dtype {weight.dtype}: the optimizer's weight has {like.dtype}")
        if weight.shape != like.shape:
            raise ValueError(f"{name} has shape {weight.shape}: the optimizer's weight has {like.shape}")
        if like.dtype.kind == "i":
            weight = np.array(checked_count(name, int(weight) if weight == np.floor(weight) else weight.item()))
        checked.append(weight.astype(like.dtype))
    return checked


def check_product(name: str, weight: np.ndarray) -> None:
    """ValueError unless `weight` can be a product of momentum coefficients."""
    real_number(name, weight.item(), "a number in [0, 1]", lambda v: 0.0 <= v <= 1.0)


def check_squares(name: str, weight: np.ndarray) -> None:
    """ValueError unless `weight` can be a mean of squares."""
    if (weight.real < 0.0).any() or (weight.imag < 0.0).any():
        raise ValueError(f"{name} has an element < 0: means of squares are >= 0")
