"""What Keras and TensorFlow say of learning rates: schedules as configurations, and numbers that may be tensors."""

import inspect
import numbers
from collections.abc import Callable, Mapping

import numpy as np

from nadam_numba import schedules
from nadam_numba.hyperparameters import nonnegative_finite

# Ours and theirs, which take the same arguments.
_NAMES = {
    "exponential_decay": "ExponentialDecay",
    "inverse_time_decay": "InverseTimeDecay",
    "polynomial_decay": "PolynomialDecay",
    "piecewise_constant": "PiecewiseConstantDecay",
    "cosine_decay": "CosineDecay",
    "cosine_decay_restarts": "CosineDecayRestarts",
}


def as_number(value):
    """What an array or tensor without dimensions holds; anything else as it is, for a check to refuse."""
    if isinstance(value, (numbers.Number, np.generic, str)):
        return value
    if isinstance(value, np.ndarray):
        return value[()] if value.ndim == 0 else value
    try:
        return float(value) if np.ndim(value) == 0 else value
    except (TypeError, ValueError):
        return value


def checked_rate(name: str, rate) -> float:
    """A number or a tensor of one as a float; TypeError or ValueError if it is no finite number >= 0."""
    return nonnegative_finite(name, as_number(rate))


def schedule_as_data(learning_rate: float | Callable) -> float | Callable | dict:
    """A schedule of ours as Keras and TensorFlow write their own in configurations; anything else as it is."""
    data = schedules.as_data(learning_rate)
    if data is None:
        return learning_rate
    if data["schedule"] not in _NAMES:  # they have none of the kind
        return {"module": "nadam_numba.schedules", "class_name": data["schedule"], "config": data}
    return {
        "module": "keras.optimizers.schedules",
        "class_name": _NAMES[data["schedule"]],
        "config": data["arguments"],
        "registered_name": None,
    }


def schedule_from_data(data: Mapping, custom_objects: Mapping) -> Callable:
    """The schedule that stands in a configuration, made by `schedule_as_data`, Keras or TensorFlow.

    Parameters
    ----------
    data : dict
        Its keys "class_name" and "config" are read.
    custom_objects : dict
        Classes of other schedules by name.

    Raises
    ------
    TypeError, ValueError
        If a key is missing, the class is not known, or its arguments do not fit.
    """
    missing = [key for key in ("class_name", "config") if key not in data]
    if missing:
        raise ValueError(f"learning_rate={data!r}: as a schedule, it must have {' and '.join(missing)}")
    class_name, arguments = data["class_name"], data["config"]
    if data.get("module") == "nadam_numba.schedules":
        return schedules.from_data("learning_rate", arguments)
    if class_name in custom_objects:
        return custom_objects[class_name].from_config(arguments)
    names = {name: ours for ours, name in _NAMES.items()}
    if class_name not in names:
        raise ValueError(
            f"learning_rate is a schedule of the class {class_name!r}: those known are {', '.join(names)}; give others "
            "in custom_objects"
        )
    function = getattr(schedules, names[class_name])
    known = inspect.signature(function).parameters
    for name, value in arguments.items():
        if name not in known and name != "name" and value:
            raise ValueError(
                f"learning_rate is a schedule with {name}={value!r}: {names[class_name]} has no such argument"
            )
    return function(**{name: value for name, value in arguments.items() if name in known})
