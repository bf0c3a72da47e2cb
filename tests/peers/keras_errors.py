"""Mistakes that Keras notices: functions of its Nadam, or of one like it, and of two variables."""

import numpy as np


def _function():
    return 0.1


def _set_rate(optimizer, rate):
    optimizer.learning_rate = rate


def _built(nadam, variables):
    optimizer = nadam()
    optimizer.build(variables)
    return optimizer


ONES = [np.ones(3), np.ones(2)]

MISTAKES = {
    "integer_rate": lambda nadam, schedule, v: nadam(1),
    "single_rate": lambda nadam, schedule, v: nadam(np.float32(0.1)),
    "bool_rate": lambda nadam, schedule, v: nadam(True),
    "text_rate": lambda nadam, schedule, v: nadam("0.1"),
    "no_rate": lambda nadam, schedule, v: nadam(None),
    "two_clips": lambda nadam, schedule, v: nadam(clipnorm=1.0, clipvalue=1.0),
    "two_norms": lambda nadam, schedule, v: nadam(clipnorm=1.0, global_clipnorm=1.0),
    "two_clips_one_off": lambda nadam, schedule, v: nadam(clipnorm=0.0, clipvalue=1.0),
    "one_accumulation_step": lambda nadam, schedule, v: nadam(gradient_accumulation_steps=1),
    "negative_accumulation_steps": lambda nadam, schedule, v: nadam(gradient_accumulation_steps=-1),
    "bool_accumulation_steps": lambda nadam, schedule, v: nadam(gradient_accumulation_steps=True),
    "text_accumulation_steps": lambda nadam, schedule, v: nadam(gradient_accumulation_steps="2"),
    "large_ema_momentum": lambda nadam, schedule, v: nadam(use_ema=True, ema_momentum=1.5),
    "negative_ema_momentum": lambda nadam, schedule, v: nadam(use_ema=True, ema_momentum=-0.5),
    "text_ema_momentum": lambda nadam, schedule, v: nadam(use_ema=True, ema_momentum="0.5"),
    "float_frequency": lambda nadam, schedule, v: nadam(use_ema=True, ema_overwrite_frequency=2.0),
    "negative_frequency": lambda nadam, schedule, v: nadam(use_ema=True, ema_overwrite_frequency=-1),
    "unknown_argument": lambda nadam, schedule, v: nadam(lr=0.1),
    "amsgrad": lambda nadam, schedule, v: nadam(amsgrad=True),
    "unknown_key": lambda nadam, schedule, v: nadam.from_config({"schedule_decay": 0.1}),
    "number_as_name": lambda nadam, schedule, v: nadam(name=3),
    "slash_in_name": lambda nadam, schedule, v: nadam(name="a/b"),
    "set_rate_of_schedule": lambda nadam, schedule, v: _set_rate(nadam(schedule), 0.1),
    "apply_unbuilt": lambda nadam, schedule, v: nadam().apply(ONES),
    "no_pairs": lambda nadam, schedule, v: nadam().apply_gradients([]),
    "only_none": lambda nadam, schedule, v: nadam().apply([None, None], v),
    "too_few_gradients": lambda nadam, schedule, v: _built(nadam, v).apply(ONES[:1]),
    "unknown_variable": lambda nadam, schedule, v: _built(nadam, v[:1]).apply(ONES[1:], v[1:]),
    "set_weights_unbuilt": lambda nadam, schedule, v: nadam().set_weights([]),
    "set_weights_shape": lambda nadam, schedule, v: _built(nadam, v).set_weights([np.zeros(4)] * 7),
    "iterations_are_read_only": lambda nadam, schedule, v: setattr(nadam(), "iterations", 3),
}
# TensorFlow has no stateless_apply, zips what it finalizes, and wraps functions in objects that can be assigned to.
MISTAKES_BUT_IN_TENSORFLOW = {
    "set_rate_of_function": lambda nadam, schedule, v: _set_rate(nadam(_function), 0.1),
    "finalize_too_few": lambda nadam, schedule, v: _finalize(nadam, v),
    "stateless_unbuilt": lambda nadam, schedule, v: nadam().stateless_apply([], ONES, v),
    "stateless_too_few": lambda nadam, schedule, v: _built(nadam, v).stateless_apply([], ONES, v),
}
# Keras makes nothing of them; they are errors here.
ACCEPTED = {
    "exclude_when_built": lambda nadam, schedule, v: _built(nadam, v).exclude_from_weight_decay(v),
    "short_weights": lambda nadam, schedule, v: _built(nadam, v).set_weights([np.array(3)]),
    "negative_rate": lambda nadam, schedule, v: nadam(-0.1),
    "beta_of_one": lambda nadam, schedule, v: nadam(beta_1=1.0),
}


def _finalize(nadam, variables):
    optimizer = nadam(use_ema=True)
    optimizer.build(variables)
    optimizer.finalize_variable_values(variables[:1])


def raised(mistake, nadam, schedule, variables):
    """The name of the exception that a mistake raises, or None."""
    try:
        mistake(nadam, schedule, variables)
    except Exception as error:
        return type(error).__name__
    return None
