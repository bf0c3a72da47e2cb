"""The loops of minimize, each written once, in the form that suits an objective.

A loop ``iterate(fun, jac, args, ...)`` finds the objective's way to be evaluated under the global name `_evaluate`.
"""

import functools
import weakref

import numba

from nadam_numba import jit
from nadam_numba.minimize.objective import as_first_class, is_readable


def loop_for(iterate, objective, x, example, variant, sources, **bound):
    """Choose the form of a loop: as it stands, compiled for this objective, or compiled once for all of its types.

    Parameters
    ----------
    iterate : function
    objective : Objective
    x : ndarray, shape (n,)
        Of the dtype of the run.
    example : function
        ``example(*variant)`` makes arguments that follow ``fun, jac, args``, of the types that they have in the loop.
    variant : tuple or None
        What decides on these types; None where they are anything else, and the loop is compiled for this objective.
    sources : tuple of modules
        Those that the loop is made of, beside its own.
    **bound : function
        What stands for further global names of `iterate`.

    Returns
    -------
    loop : function
    functions : tuple
        ``fun, jac, args``.
    """
    bound = tuple(bound.items())
    if objective.compiled is None or variant is None:
        return _own_loop(iterate, objective, x, bound)
    evaluate, *functions = objective.compiled
    known = _known_loops.setdefault(functions[0], {})
    key = iterate, evaluate, x.dtype, bool(functions[2]), variant, bound
    # What is not a function, or none, may change from run to run.
    if functions[1] is None and key in known:
        return known[key], functions
    first = as_first_class(objective, x)
    if first is None:
        return _own_loop(iterate, objective, x, bound)
    known[key] = _first_class_loop(iterate, first.evaluate, first.types, example, variant, sources, bound)
    return known[key], (first.fun, first.jac, first.args)


# Of each compiled objective, the loops compiled for its types: to find them takes longer than a small problem.
_known_loops = weakref.WeakKeyDictionary()


def _own_loop(iterate, objective, x, bound):
    """A loop for this objective alone, compiled where compiled code can read what the objective returns."""
    if objective.compiled is None or not is_readable(objective, x):
        return _python_loop(iterate, objective.evaluate, bound), (objective.fun, objective.jac, objective.args)
    evaluate, *functions = objective.compiled
    return _compiled_loop(iterate, evaluate, bound), functions


@functools.cache
def _python_loop(iterate, evaluate, bound):
    return jit.bind(iterate, _evaluate=evaluate, **dict(bound))


@functools.cache
def _compiled_loop(iterate, evaluate, bound):
    return jit.driver(iterate, _evaluate=evaluate, **dict(bound))


@functools.cache
def _first_class_loop(iterate, evaluate, types, example, variant, sources, bound):
    arguments = *types, *map(numba.typeof, example(*variant))
    return jit.first_class_driver(iterate, arguments, *sources, _evaluate=evaluate, **dict(bound))
