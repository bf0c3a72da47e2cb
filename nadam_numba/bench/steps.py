"""The contenders that step arrays: ours, the floor, and the peers."""

import functools

import numpy as np

from nadam_numba.bench import c_loop, copy_kernel, jax_peers, torch_peer
from nadam_numba.bench.cases import WIDTH, make_arrays
from nadam_numba.bench.contender import (
    BETA_1,
    BETA_2,
    EPSILON,
    FACTORS,
    LEARNING_RATE,
    OURS,
    TORCH_DECAY,
    WITHOUT_OPTION,
    Contender,
    Inputs,
    scaler,
)
from nadam_numba.bench.memory import aligned_copy
from nadam_numba.optimizer import NAdam

# What each needs, and how it is made of a case, inputs, and a number of threads.
PEERS = (
    ("cc", c_loop.make),
    ("torch", torch_peer.make_for_loop),
    ("torch", torch_peer.make_foreach),
    ("torch", torch_peer.make_fused_adam),
    ("optax", jax_peers.make_optax),
    ("keras", jax_peers.make_keras),
)


def contenders(case, available, threads):
    """Ours first, then the copy kernel, then the peers of what is `available` that have the case's options.

    Yields
    ------
    Contender
        One after the other: each is checked before the next one takes memory.
    """
    parameters, gradients = make_arrays(case)
    expected = functools.partial(_expected, case, parameters, gradients)
    inputs = Inputs(parameters, gradients, scaler(gradients), expected)
    yield _ours(case, inputs)
    if case.options:
        yield _ours(case._replace(options={}), inputs)._replace(name=WITHOUT_OPTION)
    floor = copy_kernel.make(case)
    if floor is not None:
        yield floor
    for needed, make in PEERS:
        if needed in available:
            contender = make(case, inputs, threads)
            if contender is not None:
                yield contender


def sparse_contenders(case, available, threads):
    """As `contenders`, for a table of which some rows have a gradient."""
    generator = np.random.default_rng(0)
    table = generator.standard_normal((case.count, WIDTH), case.dtype)
    indices = np.sort(generator.choice(case.count, case.size, replace=False))
    gradient = indices, generator.standard_normal((case.size, WIDTH), case.dtype)
    # With the same rows in every step, both rules move the same ones in the same way.
    expected = functools.partial(_expected_of_table, table, gradient)
    yield _sparse(OURS, table, gradient, expected, lazy_sparse=True)
    yield _sparse("nadam_numba, as dense", table, gradient)
    if "torch" in available:
        yield torch_peer.make_sparse_adam(table, *gradient, threads)


def _sparse(name, table, gradient, expected=None, **options):
    arrays = [table.copy()]
    optimizer = _optimizer(arrays, TORCH_DECAY, **options)
    return Contender(
        name, functools.partial(optimizer.step, [gradient]), lambda: arrays, expected, scaler([gradient[1]])
    )


def _ours(case, inputs):
    arrays = [aligned_copy(parameter, 0) for parameter in inputs.parameters]
    # A single array needs no list around it.
    params, grads = (arrays, inputs.gradients) if len(arrays) > 1 else (arrays[0], inputs.gradients[0])
    optimizer = _optimizer(params, TORCH_DECAY, **case.options)
    return Contender(OURS, functools.partial(optimizer.step, grads), lambda: arrays)


def _optimizer(arrays, momentum_decay, **options):
    return NAdam(arrays, LEARNING_RATE, BETA_1, BETA_2, EPSILON, momentum_decay=momentum_decay, **options)


def _expected(case, parameters, gradients, momentum_decay):
    """Where ours brings the parameters with a peer's momentum schedule."""
    arrays = [aligned_copy(parameter, 0) for parameter in parameters]
    optimizer = _optimizer(arrays, momentum_decay, **case.options)
    for factor in FACTORS:
        optimizer.step([gradient.dtype.type(factor) * gradient for gradient in gradients])
    return arrays


def _expected_of_table(table, gradient):
    """Where ours brings a table by the rule of dense gradients."""
    indices, rows = gradient
    table = table.copy()
    optimizer = _optimizer(table, TORCH_DECAY)
    for factor in FACTORS:
        optimizer.step((indices, rows.dtype.type(factor) * rows))
    return [table]
