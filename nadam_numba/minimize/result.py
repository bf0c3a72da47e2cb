"""How a run of minimize ends: one list of reasons, with SciPy's numbers and words, and the result made of them."""

import enum
import math
import sys


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
    RAISED = 7, "The objective raised an exception."
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


def optimize_result(**fields):
    """A scipy.optimize.OptimizeResult, or what passes for one as long as nobody has imported scipy.optimize.

    That import takes longer than all the rest of a short run.
    """
    return (_optimize_result_class() if "scipy.optimize" in sys.modules else _UnimportedResult)(fields)


def _optimize_result_class():
    from scipy.optimize import OptimizeResult

    return OptimizeResult


class _UnimportedResult(dict):
    """An OptimizeResult to all who read it, ask `isinstance`, print, copy or pickle it; to `type` alone it is none."""

    def __getattr__(self, name):
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None

    __setattr__ = dict.__setitem__
    __delattr__ = dict.__delitem__

    @property
    def __class__(self):
        return _optimize_result_class()

    def __dir__(self):
        return list(self)

    def __repr__(self):
        return repr(_optimize_result_class()(self))

    def __reduce_ex__(self, protocol):
        return _optimize_result_class()(self).__reduce_ex__(protocol)


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
    numbers = state.numbers[0]
    return optimize_result(
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
    stop = Stop.FIXED if math.isfinite(value) else Stop.NONFINITE
    return optimize_result(x=x, fun=value, nit=0, nfev=1, njev=0, nhev=0, **_verdict(stop))


def count_values(numbers, values_per_gradient):
    """How often the objective has been called."""
    return int(numbers["values"]) + values_per_gradient * int(numbers["gradients"])


def _verdict(stop):
    return {"status": stop.status, "success": stop.is_success, "message": stop.message}
