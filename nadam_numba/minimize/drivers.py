"""The loops of minimize, each written once, in the form that suits an objective.

A loop ``iterate(fun, jac, args, ...)`` finds the objective's way to be evaluated under the global name `_evaluate`.
"""

import functools

import numba

from nadam_numba import jit
from nadam_numba.minimize.objective import at_addresses, is_readable


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
    at = None if variant is None else at_addresses(objective, x)
    if at is not None:
        jac_type = numba.types.int64 if isinstance(at.jac, int) else numba.typeof(at.jac)
        loop = _address_loop(iterate, at.evaluate, jac_type, example, variant, sources, bound)
        return loop, (at.fun, at.jac, at.args)
    if objective.compiled is not None and is_readable(objective, x):
        evaluate, *functions = objective.compiled
        functions[:2] = (jit.present(part) if jit.is_compiled(part) else part for part in functions[:2])
        return _compiled_loop(iterate, evaluate, bound), functions
    return _python_loop(iterate, objective.evaluate, bound), (objective.fun, objective.jac, objective.args)


@functools.cache
def _python_loop(iterate, evaluate, bound):
    return jit.bind(iterate, _evaluate=evaluate, **dict(bound))


@functools.cache
def _compiled_loop(iterate, evaluate, bound):
    return jit.driver(iterate, _evaluate=evaluate, **dict(bound))


@functools.cache
def _address_loop(iterate, evaluate, jac_type, example, variant, sources, bound):
    arguments = numba.types.int64, jac_type, numba.typeof(()), *map(numba.typeof, example(*variant))
    return jit.address_driver(iterate, arguments, *sources, _evaluate=evaluate, **dict(bound))
