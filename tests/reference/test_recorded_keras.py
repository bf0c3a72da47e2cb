"""nadam_numba.compat.keras against what the real Keras gave with each backend, read from files."""

import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "peers"))

import cases
import our_keras
import recorded

RECORDS = [record for peer in cases.KERAS for record in recorded.records(peer).values()]


def has_cosine_of_single_precision(case):
    """Whether Keras took a float32 cosine of a library that NumPy's differs from in the last digit."""
    rate = case["options"].get("learning_rate")
    return case["peer"] != "keras_torch" and isinstance(rate, dict) and rate["schedule"][0] == "cosine_decay"


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: f"{record.case['peer']}-{record.case['name']}")
def test_trajectory(record):
    ours = our_keras.run(record.case, *cases.data(record.case))
    # The live tests take the learning rates from Keras itself.
    allowed = 1e8 if has_cosine_of_single_precision(record.case) else 1.0
    for step, theirs in record.points.items():
        assert our_keras.excess(ours["points"][step - 1], theirs) <= allowed
    for key, theirs in record.extras.items():
        assert our_keras.excess(ours[key], theirs) <= allowed
