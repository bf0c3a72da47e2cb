"""SciPy's two callback conventions as one: a function of the intermediate result that says whether to stop."""

import inspect


def make_callback(callback):
    """Wrap a user's callback.

    Parameters
    ----------
    callback : callable or None
        Called as ``callback(intermediate_result=result)`` if that is its only parameter, else as ``callback(x)``.

    Returns
    -------
    function or None
        Takes an OptimizeResult; returns True if the callback raised StopIteration.

    Raises
    ------
    TypeError
        If `callback` is neither None nor callable.
    """
    if callback is None:
        return None
    if not callable(callback):
        raise TypeError(f"callback={callback!r} is a {type(callback).__name__}: it must be callable")
    takes_result = _parameters(callback) == {"intermediate_result"}

    def wants_to_stop(result):
        try:
            if takes_result:
                callback(intermediate_result=result)
            else:
                callback(result.x)
        except StopIteration:
            return True
        return False

    return wants_to_stop


def _parameters(function):
    try:
        return set(inspect.signature(function).parameters)
    except (TypeError, ValueError):  # some built-in functions tell none
        return set()
