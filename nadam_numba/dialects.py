"""What the peers do differently apart from their hyperparameters: order of rounding, precision of scalars, counting.

The rule is one, and so is its code; a dialect is the data that makes it speak like one of them to the last digits.
"""

import dataclasses
import math

import numpy as np

from nadam_numba import rule
from nadam_numba.hyperparameters import Hyperparameters


@dataclasses.dataclass(frozen=True)
class Dialect:
    """How a peer carries out the rule.

    Parameters
    ----------
    order : {"native", "torch", "keras", "keras_torch", "tensorflow", "tensorflow_adam", "optax"}
        The order of operations: one of `cpu.ORDERS`.
    ages_together : bool
        Whether a parameter without gradient counts a step, too.
    clips_norm_first : bool
        Whether the norm is clipped before the values rather than after them.
    clips_rows_first : bool
        Whether rows of a sparse gradient are clipped before those of one index are summed; if the norm is clipped
        first, only that is, and the values are clipped afterwards.
    sums_squares : bool
        Whether the second moment takes the sum of the squares of rows of one index, not the square of their sum; with
        a norm for all gradients together it never does.
    moves_touched_rows : bool
        Whether a sparse gradient moves only the rows it touches, although all moments decay.
    sums : {"used", "kept", "dropped"}
        What an update does with the gradients that earlier micro-steps have summed for a parameter that the last one
        has no gradient for.
    learning_rate_dtype, beta_dtype, product_beta_dtype, product_dtype : dtype
        Precision of the learning rate; of the decay rates, 0.96 and the weight decay; of the decay rates and 0.96 in
        the product of the momentum coefficients; and of that product.
    decay_factor_dtype : dtype
        Precision of 1 - learning rate * weight decay, where parameters are multiplied by it.
    norm_dtype : dtype
        Precision in which norms of gradients are compared with what is allowed.
    """

    order: str = "native"
    ages_together: bool = False
    clips_norm_first: bool = False
    clips_rows_first: bool = False
    sums_squares: bool = False
    moves_touched_rows: bool = False
    sums: str = "used"
    learning_rate_dtype: type = np.float64
    beta_dtype: type = np.float64
    product_beta_dtype: type = np.float64
    product_dtype: type = np.float64
    decay_factor_dtype: type = np.float64
    norm_dtype: type = np.float64

    def scalars(
        self, hyper: Hyperparameters, learning_rate: float, step: int, mu_product: float, others: tuple = ()
    ) -> tuple[float, rule.Scalars]:
        """The product of the momentum coefficients, and all numbers of an update, the last of which are `others`."""
        learning_rate = _rounded(learning_rate, self.learning_rate_dtype)
        mu_product, *coefficients = self.coefficients(hyper, learning_rate, step, mu_product)
        return mu_product, rule.Scalars(
            learning_rate,
            _rounded(hyper.beta_1, self.beta_dtype),
            _rounded(hyper.beta_2, self.beta_dtype),
            hyper.epsilon,
            *coefficients,
            hyper.epsilon_root,
            *self._decays(hyper, learning_rate),
            *others,
        )

    def coefficients(self, hyper: Hyperparameters, learning_rate: float, step: int, mu_product: float) -> tuple:
        """The numbers of one step that depend on how many there have been.

        Returns
        -------
        mu_product : float
            Including this step.
        gradient_weight, momentum_weight, second_moment_correction : float
        gradient_bias, momentum_bias, second_moment_bias : float
            Of `rule.Scalars`.
        """
        if self.order == "native":
            return *_native_coefficients(hyper, step, mu_product), 1.0, 1.0, 1.0
        t = float(step)
        beta_1, beta_2 = _rounded(hyper.beta_1, self.beta_dtype), _rounded(hyper.beta_2, self.beta_dtype)
        second_moment_bias = 1.0 - beta_2**t
        if self.order == "tensorflow_adam":
            weight = learning_rate * math.sqrt(second_moment_bias) / (1.0 - beta_1**t)
            return mu_product, 0.0, weight, 1.0, 1.0, 1.0, 1.0
        if not hyper.nesterov:
            return mu_product, 0.0, 1.0, 1.0, 1.0, 1.0 - beta_1**t, second_moment_bias
        if self.order == "optax":
            return mu_product, 1.0 - beta_1, beta_1, 1.0, 1.0 - beta_1**t, 1.0 - beta_1 ** (t + 1.0), second_moment_bias
        mu_product = self._multiply(mu_product, self._mu(t, hyper, self.product_beta_dtype))
        mu, mu_next = (self._mu(t, hyper, self.beta_dtype) for t in (t, t + 1.0))
        parts = rule.nesterov_parts(mu, mu_next, mu_product)
        gradient_weight, gradient_bias, momentum_weight, momentum_bias = parts
        if self.order == "torch":
            gradient_weight = learning_rate * gradient_weight / gradient_bias
            momentum_weight = learning_rate * momentum_weight / momentum_bias
        return mu_product, gradient_weight, momentum_weight, 1.0, gradient_bias, momentum_bias, second_moment_bias

    def _decays(self, hyper, learning_rate):
        """The fields coupled_decay, decay and subtracted_decay of `rule.Scalars`."""
        if not hyper.decoupled_weight_decay:
            return hyper.weight_decay, 0.0, 0.0
        if self.order in ("keras", "optax"):
            return 0.0, 0.0, _rounded(hyper.weight_decay, self.beta_dtype)
        dtype = self.decay_factor_dtype
        factor = dtype(1.0) - dtype(learning_rate) * dtype(hyper.weight_decay)
        return 0.0, 1.0 - float(factor), 0.0

    def clip_factor(self, norm: float, limit: float | None) -> float:
        """What brings the norm of one gradient down to `limit`; NaN if the norm is NaN."""
        if limit is None:
            return 1.0
        return rule.clip_factor(_rounded(norm, self.norm_dtype), limit, _rounded(limit, self.norm_dtype))

    def common_clip_factor(self, norm: float, limit: float) -> float:
        """What brings the norm of all gradients together down to `limit`; NaN if the norm is not finite."""
        if self.norm_dtype is np.float64:
            factor = self.clip_factor(norm, limit)
        else:
            factor = float(self.norm_dtype(limit) * self.norm_dtype(1.0 / (norm if not norm < limit else limit)))
        # A norm that is not finite spoils all gradients, rather than setting the finite ones to 0.
        return factor + (norm - norm)

    def _mu(self, t, hyper, dtype):
        beta_1, base = _rounded(hyper.beta_1, dtype), _rounded(rule.MOMENTUM_BASE, dtype)
        return rule.momentum_coefficient(t, beta_1, hyper.momentum_decay, base)

    def _multiply(self, mu_product, mu):
        return float(self.product_dtype(mu_product) * self.product_dtype(mu))


def _native_coefficients(hyper, step, mu_product):
    if hyper.nesterov:
        return rule.step_coefficients(step, mu_product, hyper.beta_1, hyper.beta_2, hyper.momentum_decay)
    return mu_product, *rule.adam_coefficients(step, hyper.beta_1, hyper.beta_2)


def _rounded(number, dtype):
    return number if dtype is np.float64 else float(dtype(number))


NATIVE = Dialect()

# torch keeps the product as a tensor, in its default dtype.
TORCH = Dialect("torch", product_dtype=np.float32)

# Keras keeps the learning rate in single precision; its TensorFlow backend rounds constants on their way, too, and its
# torch backend the decay and norms.
KERAS = Dialect(
    "keras",
    ages_together=True,
    sums_squares=True,
    clips_rows_first=True,
    sums="kept",
    learning_rate_dtype=np.float32,
)
KERAS_TENSORFLOW = dataclasses.replace(KERAS, beta_dtype=np.float32, sums="dropped")
KERAS_TORCH = dataclasses.replace(
    KERAS, order="keras_torch", decay_factor_dtype=np.float32, norm_dtype=np.float32, sums="dropped"
)

# TensorFlow's legacy optimizers keep the decay rates in single precision, too. They round the learning rate before it
# decays over time: the interface does that.
TF_LEGACY_NADAM = Dialect(
    "tensorflow",
    ages_together=True,
    clips_rows_first=True,
    moves_touched_rows=True,
    beta_dtype=np.float32,
    product_beta_dtype=np.float32,
)
TF_LEGACY_ADAM = dataclasses.replace(TF_LEGACY_NADAM, order="tensorflow_adam", moves_touched_rows=False)
TF1 = Dialect("tensorflow", ages_together=True, clips_norm_first=True, clips_rows_first=True)
OPTAX = Dialect("optax", ages_together=True)


def exact(dialect: Dialect) -> Dialect:
    """The same with all scalars in double precision."""
    return dataclasses.replace(
        dialect,
        learning_rate_dtype=np.float64,
        beta_dtype=np.float64,
        product_beta_dtype=np.float64,
        product_dtype=np.float64,
        decay_factor_dtype=np.float64,
        norm_dtype=np.float64,
    )
