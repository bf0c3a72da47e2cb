"""How a run of minimize ends: one list of reasons, with SciPy's numbers and words, and the result made of them."""

import enum
import math


class Stop(enum.Enum):
    """Why a run has ended: the status and the message of its result; several reasons share status 0.

    Attributes
    ----------
    status : int
        SciPy's number; 0 is success.
    message : str
    code : int
        Place in this list, by which compiled code knows the reason.
    """

    RUNNING = -1, "The run has not ended."
    GRADIENT = 0, "Optimization terminated successfully."
    FTOL = 0, "Optimization terminated successfully: the objective decreases by no more than `ftol`."
    PRECISION = 0, "Optimization terminated successfully, as far as rounding of the objective lets tell."
    TARGET = 0, "Optimization terminated successfully: the objective has reached `f_target`."
    FIXED = 0, "All independent variables were fixed by bounds."
    ITERATION_LIMIT = 1, "Maximum number of iterations has been exceeded."
    EVALUATION_LIMIT = 1, "Maximum number of function evaluations has been exceeded."
    PRECISION_LOSS = 2, "Desired error not necessarily achieved due to precision loss."
    ROUGH = 2, "Desired error not necessarily achieved, for the objective is noisy or has kinks."
    WRONG_GRADIENT = 2, "The objective does not change as its gradient says."
    NONFINITE = 3, "NaN result encountered."
    UNBOUNDED = 4, "The objective is unbounded below."
    TIME_LIMIT = 5, "Maximum time has been exceeded."
    PATIENCE = 6, "No improvement in the last `patience` iterations."
    INTERRUPTED = 98, "Interrupted from the keyboard."
    CALLBACK = 99, "`callback` raised `StopIteration`."

    def __init__(self, status, message):
        self.status = status
        self.message = message
        self.code = len(self.__class__.__members__)

    @property
    def is_success(self):
        """Whether the run has found what it looked for."""
        return self.status == 0


STOPS = tuple(Stop)


def make_result(state, stop, values_per_gradient):
    """The OptimizeResult of a run: the best point seen and how it was found.

    Parameters
    ----------
    state : NamedTuple
        As `state` describes it.
    stop : Stop
    values_per_gradient : int
        Calls of the objective that a gradient takes by itself.
    """
    from scipy.optimize import OptimizeResult

    numbers = state.numbers[0]
    return OptimizeResult(
        x=state.best_x.copy(),  # a view would keep all of the run's memory
        fun=float(numbers["best_value"]),
        jac=state.best_gradient.copy(),
        nit=int(numbers["iterations"]),
        nfev=count_values(numbers, values_per_gradient),
        njev=int(numbers["gradients"]),
        **_verdict(stop),
    )


def make_fixed_result(x, value):
    """The result where the bounds leave no choice: SciPy's fields, and the numbers that any result here has."""
    from scipy.optimize import OptimizeResult

    stop = Stop.FIXED if math.isfinite(value) else Stop.NONFINITE
    return OptimizeResult(x=x, fun=value, nit=0, nfev=1, njev=0, nhev=0, **_verdict(stop))


def count_values(numbers, values_per_gradient):
    """How often the objective has been called."""
    return int(numbers["values"]) + values_per_gradient * int(numbers["gradients"])


def _verdict(stop):
    return {"status": stop.status, "success": stop.is_success, "message": stop.message}
