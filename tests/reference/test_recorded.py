"""Our faces beside what the real packages gave once: recorded by record.py, replayed without them."""

import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "peers"))

import cases
import ours
import recorded

RECORDS = {(peer, name): record for peer in cases.PEERS for name, record in recorded.records(peer).items()}


@pytest.mark.parametrize(("peer", "name"), RECORDS)
def test_same_numbers_as_recorded(peer, name):
    record = RECORDS[peer, name]
    rate = str(record.case["options"].get("learning_rate"))
    if peer.startswith("tf_legacy") and "_decay" in rate and sys.platform != "linux":
        pytest.skip("the schedule was computed by the functions of glibc")
    # The live tests take such learning rates from Keras itself.
    allowed = 1e8 if ours.has_cosine_of_single_precision(record.case) else 1.0
    _, excess = ours.deviation_from_record(record, max(record.points))
    assert excess <= allowed


@pytest.mark.parametrize("peer", cases.PEERS)
def test_every_option_and_some_combinations_are_recorded(peer):
    names = {name for other, name in RECORDS if other == peer}
    assert names >= {case["name"] for case in cases.single_cases(peer)}
    assert len(names) >= len(cases.single_cases(peer)) + 10
    assert recorded.metadata(peer)["steps"] == 200


def test_both_counts_of_steps_of_tensorflow_1_are_recorded():
    assert {record.case["t_offset"] for (peer, _), record in RECORDS.items() if peer == "tf1"} == {0, 1}
