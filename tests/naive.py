"""The obviously correct NumPy reference: torch.optim.NAdam's formulas, transcribed, on whole arrays.

Every scalar is computed in float64 and rounded once to the dtype of the arrays, as torch does.
"""

import functools
import math
import operator
import zlib

import numpy as np


def nadam_step(p, m, v, g, t, mu_product, lr=2e-3, b1=0.9, b2=0.999, eps=1e-8, psi=4e-3):
    """Step number t = 1, 2, ...: the new p, m, v and product of the momentum coefficients; nothing in place."""
    T = p.dtype.type
    mu = b1 * (1 - 0.5 * 0.96 ** (t * psi))
    mu_next = b1 * (1 - 0.5 * 0.96 ** ((t + 1) * psi))
    mu_product = mu_product * mu
    m = T(b1) * m + T(1 - b1) * g
    v = T(b2) * v + T(1 - b2) * g * g
    rate = T(lr) / (np.sqrt(v * T(1 / (1 - b2**t))) + T(eps))
    p = p - T((1 - mu) / (1 - mu_product)) * g * rate
    p = p - T(mu_next / (1 - mu_product * mu_next)) * m * rate
    return p, m, v, mu_product


def nadam_trajectory(p, gradients, **hyperparameters):
    """The points after each step, for given gradients: an array with one row per step."""
    m, v, mu_product = np.zeros_like(p), np.zeros_like(p), 1.0
    points = []
    for t, g in enumerate(gradients, start=1):
        p, m, v, mu_product = nadam_step(p, m, v, g, t, mu_product, **hyperparameters)
        points.append(p)
    return np.array(points)


def torch_trajectory(p, gradients, lr=2e-3, b1=0.9, b2=0.999, eps=1e-8, psi=4e-3):
    """torch.optim.NAdam in torch's own order of operations, which rounds differently: lerp_, addcmul_, two addcdiv_."""
    m, v, mu_product = np.zeros_like(p), np.zeros_like(p), 1.0
    points = []
    for t, g in enumerate(gradients, start=1):
        mu = b1 * (1 - 0.5 * 0.96 ** (t * psi))
        mu_next = b1 * (1 - 0.5 * 0.96 ** ((t + 1) * psi))
        mu_product = mu_product * mu
        m = m + (1 - b1) * (g - m)
        v = b2 * v + (1 - b2) * g * g
        denominator = np.sqrt(v / (1 - b2**t)) + eps
        p = p + -lr * (1 - mu) / (1 - mu_product) * g / denominator
        p = p + -lr * mu_next / (1 - mu_product * mu_next) * m / denominator
        points.append(p)
    return np.array(points)


class Optimizer:
    """All of `nadam_numba.NAdam` on a list of real arrays, one whole-array formula after the other.

    A gradient is None, an array, or a pair (indices, rows). Every scalar is computed in float64 and rounded once.
    """

    def __init__(self, params, learning_rate=2e-3, beta_1=0.9, beta_2=0.999, epsilon=1e-8, **options):
        self.params = [p.copy() for p in params]
        self.scalars = learning_rate, beta_1, beta_2, epsilon
        self.options = options
        self.m, self.v, self.largest, self.averages, self.sums = ([np.zeros_like(p) for p in params] for _ in range(5))
        self.t, self.mu_products = [0] * len(params), [1.0] * len(params)
        self.calls = self.updates = 0

    def option(self, name, default=None):
        return self.options.get(name, default)

    def step(self, gradients):
        # The norm of a sparse gradient is summed over its rows alone, in rising order.
        rows = [np.unique(g[0]) if isinstance(g, tuple) else ... for g in gradients]
        gradients = [None if g is None else self.dense(g, p) for g, p in zip(gradients, self.params, strict=True)]
        if self.option("loss_scale_factor"):
            scale = 1.0 / self.option("loss_scale_factor")
            gradients = [None if g is None else g.dtype.type(scale) * g for g in gradients]
        every = self.option("gradient_accumulation_steps", 1)
        self.calls += 1
        if self.calls % every == 0:
            if every > 1:
                # A missing gradient counts as 0, if there were others.
                gradients = [
                    np.zeros_like(s) if g is None and s.any() else g for g, s in zip(gradients, self.sums, strict=True)
                ]
                gradients = [
                    None if g is None else g.dtype.type(1.0 / every) * (g + s)
                    for g, s in zip(gradients, self.sums, strict=True)
                ]
                for number, g in enumerate(gradients):
                    if g is not None:
                        self.sums[number] = np.zeros_like(g)
            for number, g in enumerate(self.clipped(gradients, rows if every == 1 else [...] * len(rows))):
                if g is not None:
                    self.update(number, g)
        else:
            for number, g in enumerate(gradients):
                if g is not None:
                    self.sums[number] = self.sums[number] + g
        if self.option("use_ema", False):
            self.average()
        self.updates += self.calls % every == 0

    def dense(self, gradient, parameter):
        if not isinstance(gradient, tuple):
            return gradient
        array = np.zeros_like(parameter)
        np.add.at(array, gradient[0], gradient[1])
        return array

    def clipped(self, gradients, rows):
        if self.option("clipvalue"):
            limits = [None if g is None else g.dtype.type(self.option("clipvalue")) for g in gradients]
            gradients = [
                None if g is None else np.minimum(np.maximum(g, -c), c) for g, c in zip(gradients, limits, strict=True)
            ]
        squares = [0.0 if g is None else sum_of_squares(g[r]) for g, r in zip(gradients, rows, strict=True)]
        factors = [1.0] * len(gradients)
        if self.option("clipnorm"):
            factors = [self.option("clipnorm") / max(np.sqrt(s), self.option("clipnorm")) for s in squares]
        if self.option("global_clipnorm"):
            norm = math.hypot(*(np.sqrt(s) * factor for s, factor in zip(squares, factors, strict=True)))
            common = self.option("global_clipnorm") / max(norm, self.option("global_clipnorm"))
            factors = [factor * common for factor in factors]
        return [None if g is None else g.dtype.type(f) * g for g, f in zip(gradients, factors, strict=True)]

    def update(self, number, g):
        learning_rate, b1, b2, epsilon = self.scalars
        p, T = self.params[number], g.dtype.type
        learning_rate = learning_rate(self.updates) if callable(learning_rate) else learning_rate
        self.t[number] += 1
        t = self.t[number]
        if self.option("nesterov", True):
            psi = self.option("momentum_decay", 4e-3)
            mu, mu_next = (b1 * (1 - 0.5 * 0.96 ** (float(k) * psi)) for k in (t, t + 1))
            self.mu_products[number] *= mu
            product = self.mu_products[number]
            weights = (1 - mu) / (1 - product), mu_next / (1 - product * mu_next)
        else:
            weights = 0.0, 1 / (1 - b1 ** float(t))
        if self.option("maximize", False):
            g = -g
        decay = self.option("weight_decay", 0.0)
        if decay and self.option("decoupled_weight_decay", False):
            p = T(1 - learning_rate * decay) * p
        elif decay:
            g = g + T(decay) * p
        m = T(b1) * self.m[number] + T(1 - b1) * g
        v = T(b2) * self.v[number] + T(1 - b2) * g * g
        largest = np.maximum(self.largest[number], v)
        used = largest if self.option("amsgrad", False) else v
        kept = m, v, largest
        if self.option("state_dtype"):
            # A single array has no index that leads to it.
            path = str(number) if len(self.params) > 1 else ""
            noise = noise_of(p.shape, zlib.crc32(f"0/{path}".encode()), t - 1)
            kept = to_bfloat16(m, noise % 2**16), to_bfloat16(v, noise // 2**16), to_nearest_bfloat16(largest)
        root = np.sqrt(used * T(1 / (1 - b2 ** float(t))) + T(self.option("epsilon_root", 0.0)))
        rate = T(learning_rate) / (root + T(epsilon))
        p = p - T(weights[0]) * g * rate
        p = p - T(weights[1]) * m * rate
        self.params[number] = p
        self.m[number], self.v[number], self.largest[number] = kept

    def average(self):
        momentum = self.option("ema_momentum", 0.99) if self.updates else 0.0
        for number, p in enumerate(self.params):
            T = p.dtype.type
            # In the first step the average is the parameter, whatever it was.
            previous = self.averages[number] if self.updates else np.zeros_like(p)
            self.averages[number] = T(momentum) * previous + T(1 - momentum) * p
            frequency = self.option("ema_overwrite_frequency")
            if frequency and (self.updates + 1) % frequency == 0:
                self.params[number] = self.averages[number].copy()


def sum_of_squares(array):
    """In blocks of 4096 with 32 sums each: these in order, and then the blocks."""
    squares = array.reshape(-1).astype(np.float64) ** 2
    squares = np.concatenate([squares, np.zeros(-squares.size % 4096)]).reshape(-1, 128, 32)
    sums = np.zeros((squares.shape[0], 32))
    for row in range(128):
        sums = sums + squares[:, row]
    total = 0.0
    for block in sums.tolist():
        total += functools.reduce(operator.add, block, 0.0)
    return total


def noise_of(shape, seed, step):
    """32 random bits for each element of an array, by the formulas in the docstring of `nadam_numba.bfloat16`."""
    (key,) = lowbias32(lowbias32(np.array([step])) ^ seed)
    return lowbias32(np.arange(math.prod(shape)) ^ key).reshape(shape)


def lowbias32(x):
    """C. Wellons' hash of 32-bit numbers, https://github.com/skeeto/hash-prospector, in 64 bits."""
    x = x.astype(np.uint64)
    for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B)):
        x = (x ^ x >> np.uint64(shift)) * np.uint64(factor) % np.uint64(2**32)
    return (x ^ x >> np.uint64(16)).astype(np.int64)


def to_bfloat16(array, noise):
    """Finite numbers, moved away from 0 to a multiple of their last place with the probability of what lies above."""
    x = array.astype(np.float32).astype(np.float64)
    place = 2.0 ** (np.maximum(np.frexp(x)[1], -125) - 8)
    lower = np.floor(np.abs(x) / place)
    above = np.abs(x) / place - lower
    return (np.sign(x) * (lower + (above * 2**16 + noise >= 2**16)) * place).astype(array.dtype)


def to_nearest_bfloat16(array):
    """Halves to even."""
    x = array.astype(np.float32).astype(np.float64)
    place = 2.0 ** (np.maximum(np.frexp(x)[1], -125) - 8)
    return (np.rint(x / place) * place).astype(array.dtype)
