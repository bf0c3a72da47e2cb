"""How a run of minimize ended, with SciPy's numbers and words."""

import enum


class Status(enum.IntEnum):
    """Why minimize stopped; `MESSAGES` has the sentences."""

    RUNNING = -1
    CONVERGED = 0
    ITERATION_LIMIT = 1
    NONFINITE = 3
    CALLBACK_STOPPED = 99


MESSAGES = {
    Status.CONVERGED: "Optimization terminated successfully.",
    Status.ITERATION_LIMIT: "Maximum number of iterations has been exceeded.",
    Status.NONFINITE: "NaN result encountered.",
    Status.CALLBACK_STOPPED: "`callback` raised `StopIteration`.",
}

# Compiled code reads plain integers.
RUNNING, CONVERGED, NONFINITE = int(Status.RUNNING), int(Status.CONVERGED), int(Status.NONFINITE)


def make_result(state, status, calls_per_evaluation):
    """The OptimizeResult of a run: the best point seen and how it was found."""
    from scipy.optimize import OptimizeResult

    evaluations = state.step + 1
    return OptimizeResult(
        x=state.best_x,
        fun=state.best_value,
        jac=state.best_gradient,
        nit=state.step,
        nfev=evaluations * calls_per_evaluation,
        njev=evaluations,
        status=int(status),
        success=status == Status.CONVERGED,
        message=MESSAGES[status],
    )
