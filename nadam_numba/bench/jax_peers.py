"""optax and Keras 3 on JAX as contenders: compiled, with donated buffers, which is the fastest way to run them."""

import functools
import os

import numpy as np

from nadam_numba.bench.contender import (
    BETA_1,
    BETA_2,
    EPSILON,
    KERAS_DECAY,
    LEARNING_RATE,
    OPTAX_DECAY,
    Contender,
)


@functools.cache
def load_jax():
    """Import JAX and let it have float64."""
    import jax

    jax.config.update("jax_enable_x64", True)
    return jax


@functools.cache
def load_optax():
    """Import optax after JAX."""
    load_jax()
    import optax

    return optax


@functools.cache
def load_keras():
    """Import Keras with JAX behind it."""
    os.environ["KERAS_BACKEND"] = "jax"
    load_jax()
    import keras

    if keras.config.backend() != "jax":
        raise RuntimeError(f"keras runs on {keras.config.backend()}: it was imported before KERAS_BACKEND was set")
    return keras


def make_optax(case, inputs, threads):
    """optax.nadam; None for options that optax has not."""
    optimizer = _optax_optimizer(load_optax(), case.options)
    if optimizer is None:
        return None
    jax, optax = load_jax(), load_optax()

    def update(state, gradients):
        parameters, moments = state
        updates, moments = optimizer.update(gradients, moments, parameters)
        return optax.apply_updates(parameters, updates), moments

    values = _on_device(jax, inputs.parameters)
    return _compiled("optax nadam, jitted", jax, update, (values, optimizer.init(values)), inputs, OPTAX_DECAY)


def _optax_optimizer(optax, options):
    options = dict(options)
    settings = {"learning_rate": LEARNING_RATE, "b1": BETA_1, "b2": BETA_2, "eps": EPSILON}
    if options.pop("decoupled_weight_decay", False):
        optimizer = optax.nadamw(**settings, weight_decay=options.pop("weight_decay"))
    else:
        optimizer = optax.nadam(**settings)
    if "clipvalue" in options:
        optimizer = optax.chain(optax.clip(options.pop("clipvalue")), optimizer)
    if "global_clipnorm" in options:
        optimizer = optax.chain(optax.clip_by_global_norm(options.pop("global_clipnorm")), optimizer)
    if "gradient_accumulation_steps" in options:
        optimizer = optax.MultiSteps(optimizer, options.pop("gradient_accumulation_steps"))
    return None if options else optimizer


def make_keras(case, inputs, threads):
    """keras.optimizers.Nadam; None for options that it has not."""
    options = dict(case.options)
    if options.pop("amsgrad", False) or "state_dtype" in options:
        return None
    # Keras' weight decay is the decoupled one.
    options.pop("decoupled_weight_decay", None)
    jax, keras = load_jax(), load_keras()
    keras.config.set_floatx(case.dtype)
    variables = [keras.Variable(parameter) for parameter in inputs.parameters]
    optimizer = keras.optimizers.Nadam(LEARNING_RATE, BETA_1, BETA_2, EPSILON, **options)
    optimizer.build(variables)

    def update(state, gradients):
        return optimizer.stateless_apply(state[1], gradients, state[0])

    state = [variable.value for variable in variables], [variable.value for variable in optimizer.variables]
    return _compiled("Keras Nadam on JAX, jitted", jax, update, state, inputs, KERAS_DECAY)


def make_optax_solve(start, rate, iterations, expected):
    """A compiled loop of optax.nadam over a compiled gradient."""
    jax, optax = load_jax(), load_optax()
    optimizer = optax.nadam(rate, BETA_1, BETA_2, EPSILON)

    def value(x):
        return (1.0 - x[0]) ** 2 + 100.0 * (x[1] - x[0] ** 2) ** 2

    def step(carry):
        count, x, moments = carry
        _, gradient = jax.value_and_grad(value)(x)
        updates, moments = optimizer.update(gradient, moments, x)
        return count + 1, optax.apply_updates(x, updates), moments

    @jax.jit
    def run(x):
        return jax.lax.while_loop(lambda carry: carry[0] < iterations, step, (0, x, optimizer.init(x)))[1]

    state = [start]

    def solve():
        state[0] = np.asarray(run(start))

    return Contender("optax nadam, lax.while_loop", solve, lambda: list(state), expected, iterations=iterations)


def _on_device(jax, arrays):
    # A copy, where asarray could hand JAX the caller's memory to donate.
    return [jax.numpy.array(array) for array in arrays]


def _compiled(name, jax, update, state, inputs, momentum_decay):
    compiled = jax.jit(update, donate_argnums=0)
    unscaled = gradients = [jax.numpy.asarray(gradient) for gradient in inputs.gradients]

    def step():
        nonlocal state
        state = compiled(state, gradients)

    def scale(factor):
        nonlocal gradients
        gradients = unscaled if factor == 1.0 else [factor * gradient for gradient in unscaled]

    return Contender(
        name,
        step,
        lambda: [np.asarray(array) for array in state[0]],
        functools.partial(inputs.expected, momentum_decay),
        scale,
        lambda: jax.block_until_ready(state),
    )
